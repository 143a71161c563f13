//! The answer of a step, read from the journal record that its script replies with.

use std::borrow::Cow;

use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// Text that is borrowed unless something in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A journal record as a script writes it; see `finish` of lua/prelude.lua.
#[derive(Deserialize)]
struct Record<'a> {
    version: i64,
    _now: IgnoredAny,
    #[serde(borrow)]
    op: Text<'a>,
    _ident: IgnoredAny,
    order_id: Text<'a>,
    code: Text<'a>,
    before: [i64; 4],
    after: [i64; 4],
    _symbols: IgnoredAny,
    orders: &'a RawValue,
    details: &'a RawValue,
    state: Option<Text<'a>>,
    refused: &'a RawValue,
}

/// An order that was held: its id, what it was, and its state and figures, of which the second is the hold.
#[derive(Deserialize)]
struct Held<'a>(#[serde(borrow)] Text<'a>, IgnoredAny, State);

#[derive(Deserialize)]
#[allow(dead_code, reason = "the other figures are read to be sure that they are there")]
struct State(IgnoredAny, i64, i64, i64, i64, i64, i64, i64, i64);

/// An order that was not: its place, id, code, required and free margin.
#[derive(Deserialize)]
struct Refused<'a>(usize, #[serde(borrow)] Text<'a>, Text<'a>, i64, i64);

/// Something in a reply that no script writes.
fn foreign(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> PyResult<T> {
    serde_json::from_str(text).map_err(foreign)
}

/// What a dictionary has for a word.
fn meant<'py>(words: &Bound<'py, PyDict>, word: &str) -> PyResult<Bound<'py, PyAny>> {
    words.get_item(word)?.ok_or_else(|| PyKeyError::new_err(word.to_owned()))
}

/// Flags that a step raised: the last of its details, if any.
fn flags<'py>(py: Python<'py>, details: &str) -> PyResult<Bound<'py, PyTuple>> {
    if details == "[]" {
        return Ok(PyTuple::empty(py));
    }
    let named: Vec<(Text<'_>, &RawValue)> = read(details)?;
    let Some((name, raised)) = named.last() else { return Ok(PyTuple::empty(py)) };
    let raised: Vec<Text<'_>> = if name.0 == "flags" { read(raised.get())? } else { Vec::new() };
    PyTuple::new(py, raised.iter().map(|flag| &*flag.0))
}

/// Rows of a ladder: what was held, in order, with what was refused at its place.
fn rows<'py>(py: Python<'py>, orders: &str, refused: &str) -> PyResult<Bound<'py, PyTuple>> {
    let held: Vec<Held<'_>> = read(orders)?;
    let mut rows = held.iter().map(|Held(id, _, state)| (&*id.0, "OK", state.1, 0, 0)).collect::<Vec<_>>();
    let refused: Vec<Refused<'_>> = read(refused)?;
    for Refused(place, id, code, required, free) in &refused {
        rows.insert(*(place.min(&rows.len())), (&*id.0, &*code.0, 0, *required, *free));
    }
    PyTuple::new(py, rows)
}

/// Fields of the `Outcome` that a reply "O<scale><record>" or "D<scale><record>" stands for.
///
/// `codes` and `states` are members by their text. Raises ValueError or KeyError where the reply is not a script's.
#[pyfunction]
pub(super) fn outcome_fields<'py>(
    py: Python<'py>,
    reply: &[u8],
    account_id: &Bound<'py, PyString>,
    codes: &Bound<'py, PyDict>,
    states: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyTuple>> {
    let [kind, scale @ b'0'..=b'9', record @ ..] = reply else { return Err(foreign("no scale")) };
    // All of it: text that is passed over would be taken for whatever its bytes are.
    let record: Record<'_> = read(std::str::from_utf8(record).map_err(foreign)?)?;
    let code = if *kind == b'D' && record.code.0 == "OK" { "DUPLICATE" } else { &*record.code.0 };
    let ladder = matches!(&*record.op.0, "reserve" | "sweep");
    let state = record.state.map(|state| meant(states, &state.0)).transpose()?;
    let rows = if ladder { rows(py, record.orders.get(), record.refused.get())? } else { PyTuple::empty(py) };
    let fields: [Bound<'py, PyAny>; 13] = [
        meant(codes, code)?,
        PyString::new(py, &record.op.0).into_any(),
        account_id.clone().into_any(),
        record.version.into_pyobject(py)?.into_any(),
        (scale - b'0').into_pyobject(py)?.into_any(),
        PyTuple::new(py, record.before)?.into_any(),
        PyTuple::new(py, record.after)?.into_any(),
        Some(&*record.order_id.0).filter(|id| !id.is_empty()).into_pyobject(py)?,
        state.into_pyobject(py)?,
        flags(py, record.details.get())?.into_any(),
        rows.into_any(),
        py.None().into_bound(py),
        py.None().into_bound(py),
    ];
    PyTuple::new(py, fields)
}
