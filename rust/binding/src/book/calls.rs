//! Calls of scripts as the server gets them: EVALSHA with KEYS and ARGV, an array of bulk strings.

use std::io::Write;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyTuple};

/// Between the parts of one argument: each argument of a call costs the server more than to part it in the script.
const PART: char = '\x1f';
/// Arguments that every step has in front: operation, time, home, wait, id, fingerprint.
const STEP_WORDS: usize = 6;

/// Text as a bulk string.
fn word(out: &mut Vec<u8>, text: &[u8]) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "${}\r\n", text.len());
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// What is displayed, as a bulk string. `scratch` is overwritten.
fn shown(out: &mut Vec<u8>, scratch: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    scratch.clear();
    let _ = scratch.write_fmt(text);
    word(out, scratch);
}

fn flag(on: bool) -> &'static str {
    if on { "1" } else { "" }
}

/// A value that may be absent, which is empty text.
struct Optional(Option<i64>);

impl std::fmt::Display for Optional {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |value| value.fmt(f))
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

    /// Everything but the orders and the id's own, in one argument; see lua/reserve.lua.
    fn how(&self) -> impl std::fmt::Display {
        format!(
            "{}{PART}{}{PART}{}{PART}{}{PART}{}{PART}{}{PART}{}{PART}{}{PART}{}",
            flag(self.best_effort),
            flag(self.in_micros),
            flag(self.outbox),
            Optional(self.terms_version),
            &*self.owner,
            if self.sent { "SENT" } else { "RESERVED" },
            &*self.order_type,
            self.deadline_us,
            Optional(self.good_till_us),
        )
    }
}

/// An order, in one argument.
fn asked(out: &mut Vec<u8>, scratch: &mut Vec<u8>, ask: &Ask) {
    let (order_id, symbol, leg, side, lots, price_ticks, hold, reduce_only) = ask;
    let only = flag(*reduce_only);
    shown(
        out,
        scratch,
        format_args!(
            "{side}{PART}{lots}{PART}{price_ticks}{PART}{hold}{PART}{only}{PART}{leg}{PART}{symbol}{PART}{order_id}"
        ),
    );
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
        let _ = write!(out, "*{}\r\n", 3 + keys + words);
        out.extend_from_slice(script);
        word(&mut out, keys.to_string().as_bytes());
        out.extend_from_slice(&self.keys);
        out
    }

    /// The key of an order's record.
    fn record(&self, out: &mut Vec<u8>, order_id: &str) {
        let _ = write!(out, "${}\r\n{}{order_id}\r\n", self.start.len() + order_id.len(), self.start);
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
        let (mut scratch, how) = (Vec::with_capacity(256), request.how());
        let mut out = self.begun(script, asks.len(), STEP_WORDS + 3 + asks.len(), 512 + asks.len() * 128);
        asks.iter().for_each(|ask| self.record(&mut out, &ask.0));
        for text in ["reserve", now, home, flag(wait), &request.ident, &request.fingerprint] {
            word(&mut out, text.as_bytes());
        }
        shown(&mut out, &mut scratch, format_args!("{}", request.issued_us));
        shown(&mut out, &mut scratch, format_args!("{}", request.not_after_us));
        shown(&mut out, &mut scratch, format_args!("{how}"));
        asks.iter().for_each(|ask| asked(&mut out, &mut scratch, ask));
        Ok(PyBytes::new(py, &out))
    }

    /// A `Reserve` as one of several; see lua/reserves.lua.
    fn part(&self, request: Reserve<'_>) -> PyResult<PyPackedReserve> {
        let asks = request.asks()?;
        let (mut scratch, mut keys, mut words) = (Vec::with_capacity(256), Vec::new(), Vec::new());
        asks.iter().for_each(|ask| self.record(&mut keys, &ask.0));
        let Reserve { ident, fingerprint, issued_us, not_after_us, .. } = &request;
        let (count, how) = (asks.len(), request.how());
        shown(
            &mut words,
            &mut scratch,
            format_args!("{ident}{PART}{fingerprint}{PART}{issued_us}{PART}{not_after_us}{PART}{count}{PART}{how}"),
        );
        asks.iter().for_each(|ask| asked(&mut words, &mut scratch, ask));
        Ok(PyPackedReserve { keys, words, orders: count })
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
