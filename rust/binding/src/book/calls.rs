//! Calls of scripts as the server gets them: EVALSHA with KEYS and ARGV, an array of bulk strings.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyTuple};

/// Between the parts of one argument: each argument of a call costs the server more than to part it in the script.
const PART: u8 = 0x1f;
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

/// One argument of several parts.
struct Parts(Vec<u8>);

impl Parts {
    fn new() -> Self {
        Self(Vec::with_capacity(256))
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(PART);
        self
    }

    fn number(&mut self, value: impl itoa::Integer) -> &mut Self {
        number(&mut self.0, value);
        self.0.push(PART);
        self
    }

    /// A value that may be absent, which is empty text.
    fn optional(&mut self, value: Option<i64>) -> &mut Self {
        match value {
            Some(value) => self.number(value),
            None => self.text(""),
        }
    }

    /// The argument as a bulk string; the next one begins.
    fn end(&mut self, out: &mut Vec<u8>) {
        self.0.pop();
        word(out, &self.0);
        self.0.clear();
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

    /// Everything but the orders and the id's own; see lua/reserve.lua.
    fn how<'a>(&self, parts: &'a mut Parts) -> &'a mut Parts {
        parts
            .text(flag(self.best_effort))
            .text(flag(self.in_micros))
            .text(flag(self.outbox))
            .optional(self.terms_version)
            .text(&self.owner)
            .text(if self.sent { "SENT" } else { "RESERVED" })
            .text(&self.order_type)
            .number(self.deadline_us)
            .optional(self.good_till_us)
    }
}

/// An order, in one argument.
fn asked<'a>(parts: &'a mut Parts, ask: &Ask) -> &'a mut Parts {
    let (order_id, symbol, leg, side, lots, price_ticks, hold, reduce_only) = ask;
    let parts = parts.text(side).number(*lots).number(*price_ticks).number(*hold);
    parts.text(flag(*reduce_only)).text(leg).text(symbol).text(order_id)
}

/// A reservation packed as one of several in a call.
#[pyclass(frozen, name = "PackedReserve", module = "equipoise._rust")]
pub(crate) struct PyPackedReserve {
    keys: Vec<u8>,
    words: Vec<u8>,
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
        let mut parts = Parts::new();
        let mut out = self.begun(script, asks.len(), STEP_WORDS + 3 + asks.len(), 512 + asks.len() * 128);
        asks.iter().for_each(|ask| self.record(&mut out, &ask.0));
        for text in ["reserve", now, home, flag(wait), &request.ident, &request.fingerprint] {
            word(&mut out, text.as_bytes());
        }
        number_word(&mut out, request.issued_us);
        number_word(&mut out, request.not_after_us);
        request.how(&mut parts).end(&mut out);
        asks.iter().for_each(|ask| asked(&mut parts, ask).end(&mut out));
        Ok(PyBytes::new(py, &out))
    }

    /// A `Reserve` as one of several; see lua/reserves.lua.
    fn part(&self, request: Reserve<'_>) -> PyResult<PyPackedReserve> {
        let asks = request.asks()?;
        let (mut parts, mut keys, mut words) = (Parts::new(), Vec::new(), Vec::with_capacity(256 + asks.len() * 128));
        asks.iter().for_each(|ask| self.record(&mut keys, &ask.0));
        parts.text(&request.ident).text(&request.fingerprint).number(request.issued_us).number(request.not_after_us);
        request.how(parts.number(asks.len())).end(&mut words);
        asks.iter().for_each(|ask| asked(&mut parts, ask).end(&mut words));
        Ok(PyPackedReserve { keys, words, orders: asks.len() })
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
        let room = parts.iter().map(|part| part.keys.len() + part.words.len()).sum::<usize>() + 256;
        let mut out = self.begun(script, orders, 4 + parts.len() + orders, room);
        parts.iter().for_each(|part| out.extend_from_slice(&part.keys));
        for text in ["reserve", now, home, flag(wait)] {
            word(&mut out, text.as_bytes());
        }
        parts.iter().for_each(|part| out.extend_from_slice(&part.words));
        PyBytes::new(py, &out)
    }
}
