//! Calls of scripts as the server gets them: EVALSHA with KEYS and ARGV, an array of bulk strings.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyTuple};
use rmp::encode::{ByteBuf, write_bool, write_sint, write_str};

/// Arguments that every step has in front: operation, time, home, wait, id, fingerprint.
const STEP_WORDS: usize = 6;

fn number(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The head of an array or of a bulk string: its kind and its length.
fn head(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    number(out, length);
    out.extend_from_slice(b"\r\n");
}

/// Text as a bulk string.
fn word(out: &mut Vec<u8>, text: &[u8]) {
    head(out, b'$', text.len());
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// A number as a bulk string.
fn number_word(out: &mut Vec<u8>, value: impl itoa::Integer) {
    word(out, itoa::Buffer::new().format(value).as_bytes());
}

fn flag(on: bool) -> &'static str {
    if on { "1" } else { "" }
}

/// A reservation as one argument, in MessagePack: the server reads that four times as fast as a script takes a text apart,
/// and an argument of its own for each part would cost more still.
struct Parts(ByteBuf);

impl Parts {
    fn new(orders: usize) -> Self {
        Self(ByteBuf::with_capacity(192 + orders * 96))
    }

    fn text(&mut self, text: &str) -> &mut Self {
        // Writing to memory does not fail, and the type says so.
        let Ok(()) = write_str(&mut self.0, text);
        self
    }

    fn flag(&mut self, on: bool) -> &mut Self {
        let Ok(()) = write_bool(&mut self.0, on);
        self
    }

    /// A number that the script computes with.
    fn number(&mut self, value: i64) -> &mut Self {
        let Ok(_) = write_sint(&mut self.0, value);
        self
    }

    /// A number that the script writes.
    fn figure(&mut self, value: i64) -> &mut Self {
        self.text(itoa::Buffer::new().format(value))
    }

    /// A number that the script writes, empty where there is none.
    fn optional(&mut self, value: Option<i64>) -> &mut Self {
        match value {
            Some(value) => self.figure(value),
            None => self.text(""),
        }
    }
}

/// `equipoise.reservation.requests.Ask`.
type Ask = (PyBackedStr, PyBackedStr, PyBackedStr, PyBackedStr, i64, i64, i64, bool);

/// `equipoise.reservation.requests.Reserve`, as far as a script is told.
#[derive(FromPyObject)]
struct Reserve<'py> {
    ident: PyBackedStr,
    fingerprint: PyBackedStr,
    issued_us: i64,
    not_after_us: i64,
    asks: Bound<'py, PyTuple>,
    best_effort: bool,
    in_micros: bool,
    at_scale: Option<i64>,
    terms_version: Option<i64>,
    owner: PyBackedStr,
    sent: bool,
    order_type: PyBackedStr,
    deadline_us: i64,
    good_till_us: Option<i64>,
    outbox: bool,
}

impl Reserve<'_> {
    fn asks(&self) -> PyResult<Vec<Ask>> {
        self.asks.iter().map(|ask| ask.extract()).collect()
    }

    /// Everything but the id's own; see lua/reserve.lua.
    fn how(&self, asks: &[Ask], parts: &mut Parts) {
        let plain = is_plain(&self.ident)
            && is_plain(&self.owner)
            && asks.iter().all(|ask| is_plain(&ask.0) && is_plain(&ask.1));
        parts
            .flag(self.best_effort)
            .flag(self.in_micros)
            .flag(self.outbox)
            .flag(plain)
            .optional(self.at_scale)
            .optional(self.terms_version)
            .text(&self.owner)
            .text(if self.sent { "SENT" } else { "RESERVED" })
            .text(&self.order_type)
            .figure(self.deadline_us)
            .optional(self.good_till_us);
        for (order_id, symbol, leg, side, lots, price_ticks, hold, reduce_only) in asks {
            let parts = parts.text(side).number(*lots).figure(*lots).figure(*price_ticks).number(*hold).figure(*hold);
            parts.flag(*reduce_only).text(leg).text(symbol).text(order_id);
        }
    }
}

/// Whether a text between quotation marks is JSON as it is.
fn is_plain(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_control() || byte == b'"' || byte == b'\\')
}

/// A reservation packed as one of several in a call.
#[pyclass(frozen, name = "PackedReserve", module = "equipoise._rust")]
pub(crate) struct PyPackedReserve {
    keys: Vec<u8>,
    parts: ByteBuf,
    outbox: bool,
    /// Orders of the reservation.
    #[pyo3(get)]
    orders: usize,
}

/// Calls of the scripts for one account.
///
/// Parameters
/// ----------
/// keys
///     Those that every script declares.
/// start
///     What the key of an order's record begins with; its id follows.
#[pyclass(frozen, name = "ScriptCalls", module = "equipoise._rust")]
pub(crate) struct PyScriptCalls {
    keys: Vec<u8>,
    count: usize,
    start: String,
}

impl PyScriptCalls {
    /// The call up to its KEYS, with room for arguments of about `room` bytes.
    fn begun(&self, script: &[u8], orders: usize, words: usize, room: usize) -> Vec<u8> {
        let record = self.start.len() + 40;
        let mut out = Vec::with_capacity(script.len() + self.keys.len() + 64 + orders * record + room);
        let keys = self.count + orders;
        head(&mut out, b'*', 3 + keys + words);
        out.extend_from_slice(script);
        number_word(&mut out, keys);
        out.extend_from_slice(&self.keys);
        out
    }

    /// The key of an order's record.
    fn record(&self, out: &mut Vec<u8>, order_id: &str) {
        head(out, b'$', self.start.len() + order_id.len());
        out.extend_from_slice(self.start.as_bytes());
        out.extend_from_slice(order_id.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[pymethods]
impl PyScriptCalls {
    #[new]
    fn new(keys: Vec<PyBackedStr>, start: String) -> Self {
        let mut packed = Vec::new();
        keys.iter().for_each(|key| word(&mut packed, key.as_bytes()));
        Self { keys: packed, count: keys.len(), start }
    }

    /// A call of any script, with the records of these orders among its KEYS.
    fn call<'py>(
        &self,
        py: Python<'py>,
        script: &[u8],
        order_ids: Vec<PyBackedStr>,
        arguments: Vec<PyBackedStr>,
    ) -> Bound<'py, PyBytes> {
        let room = arguments.iter().map(|text| text.len() + 12).sum();
        let mut out = self.begun(script, order_ids.len(), arguments.len(), room);
        order_ids.iter().for_each(|order_id| self.record(&mut out, order_id));
        arguments.iter().for_each(|text| word(&mut out, text.as_bytes()));
        PyBytes::new(py, &out)
    }

    /// A call of lua/reserve.lua for a `Reserve`.
    fn reserve<'py>(
        &self,
        py: Python<'py>,
        script: &[u8],
        request: Reserve<'py>,
        now: &str,
        home: &str,
        wait: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let asks = request.asks()?;
        let mut parts = Parts::new(asks.len());
        request.how(&asks, &mut parts);
        let mut out = self.begun(script, asks.len(), STEP_WORDS + 3, 512 + asks.len() * 128);
        asks.iter().for_each(|ask| self.record(&mut out, &ask.0));
        for text in ["reserve", now, home, flag(wait), &request.ident, &request.fingerprint] {
            word(&mut out, text.as_bytes());
        }
        number_word(&mut out, request.issued_us);
        number_word(&mut out, request.not_after_us);
        word(&mut out, parts.0.as_slice());
        Ok(PyBytes::new(py, &out))
    }

    /// A `Reserve` as one of several; see lua/reserves.lua.
    fn part(&self, request: Reserve<'_>) -> PyResult<PyPackedReserve> {
        let asks = request.asks()?;
        let (mut parts, mut keys) = (Parts::new(asks.len()), Vec::new());
        asks.iter().for_each(|ask| self.record(&mut keys, &ask.0));
        parts.text(&request.ident).text(&request.fingerprint).figure(request.issued_us).number(request.not_after_us);
        // No more than memory holds.
        request.how(&asks, parts.number(asks.len() as i64));
        Ok(PyPackedReserve { keys, parts: parts.0, outbox: request.outbox, orders: asks.len() })
    }

    /// A call of lua/reserves.lua.
    fn reserves<'py>(
        &self,
        py: Python<'py>,
        script: &[u8],
        parts: Vec<PyRef<'py, PyPackedReserve>>,
        now: &str,
        home: &str,
        wait: bool,
    ) -> Bound<'py, PyBytes> {
        let orders = parts.iter().map(|part| part.orders).sum();
        let room = parts.iter().map(|part| part.keys.len() + part.parts.as_slice().len() + 12).sum::<usize>() + 256;
        let mut out = self.begun(script, orders, 5 + parts.len(), room);
        parts.iter().for_each(|part| out.extend_from_slice(&part.keys));
        for text in ["reserve", now, home, flag(wait), flag(parts.iter().any(|part| part.outbox))] {
            word(&mut out, text.as_bytes());
        }
        parts.iter().for_each(|part| word(&mut out, part.parts.as_slice()));
        PyBytes::new(py, &out)
    }
}
