//! Nested tuples of numbers and text as bytes: what the memory store keeps of a step, and in what form a ladder is handed
//! to the SQLite store, which writes the columns of it.
//!
//! One object in the place of some fifteen, which the garbage collector would go through again and again. The bytes leave
//! neither the process nor its memory, so the form may change from one version to the next.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyString, PyTuple};

use super::json::Json;
use super::nested::{DEPTH_MAX, Form, write};

/// First byte of a value; a whole number from 0 to `SMALL_MAX` is `SMALL` and itself.
const NONE: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const NUMBER: u8 = 3;
const TEXT: u8 = 4;
const TUPLE: u8 = 5;
const SMALL: u8 = 16;
const SMALL_MAX: u64 = (u8::MAX - SMALL) as u64;
/// The packed form.
pub(super) struct Packed(Vec<u8>);

impl Packed {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(512))
    }

    pub(super) fn bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0)
    }

    /// Numbers one after the other.
    pub(super) fn numbers(&mut self, numbers: &[i64]) {
        numbers.iter().for_each(|number| self.number(*number));
    }

    /// A tuple of numbers.
    pub(super) fn tuple(&mut self, numbers: &[i64]) {
        self.begin(numbers.len());
        self.numbers(numbers);
    }

    /// A whole number, seven bits a byte, the lowest first.
    fn length(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

impl Form for Packed {
    const LOOSE: bool = false;

    fn none(&mut self) {
        self.0.push(NONE);
    }

    fn flag(&mut self, on: bool) {
        self.0.push(if on { TRUE } else { FALSE });
    }

    fn number(&mut self, number: i64) {
        if let Ok(small @ 0..=SMALL_MAX) = u64::try_from(number) {
            self.0.push(SMALL + small as u8);
        } else {
            self.0.push(NUMBER);
            // The sign goes into the lowest bit, so that small negative numbers are short too.
            self.length((number << 1 ^ number >> 63) as u64);
        }
    }

    fn text(&mut self, text: &str) {
        self.0.push(TEXT);
        self.length(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn begin(&mut self, items: usize) {
        self.0.push(TUPLE);
        self.length(items as u64);
    }
}

/// A tuple of exact tuples, ints, strs, bools and None as bytes. Raises ValueError where there is anything else in it.
#[pyfunction]
pub(super) fn pack<'py>(nested: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyBytes>> {
    let mut packed = Packed::new();
    write(&mut packed, nested)?;
    Ok(packed.bytes(nested.py()))
}

/// The rest of the bytes.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> PyResult<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> PyResult<u8> {
        self.take(1).map(|taken| taken[0])
    }

    fn length(&mut self) -> PyResult<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(cut())
    }

    fn value<'py>(&mut self, py: Python<'py>, depth: usize) -> PyResult<Bound<'py, PyAny>> {
        Ok(match self.byte()? {
            NONE => py.None().into_bound(py),
            FALSE => PyBool::new(py, false).to_owned().into_any(),
            TRUE => PyBool::new(py, true).to_owned().into_any(),
            NUMBER => self.number()?.into_pyobject(py)?.into_any(),
            TEXT => PyString::new(py, self.text()?).into_any(),
            TUPLE if depth < DEPTH_MAX => {
                let items = (0..self.items()?).map(|_| self.value(py, depth + 1)).collect::<PyResult<Vec<_>>>()?;
                PyTuple::new(py, items)?.into_any()
            }
            small @ SMALL.. => (small - SMALL).into_pyobject(py)?.into_any(),
            _ => return Err(cut()),
        })
    }

    /// How many items the tuple has that comes next; every item has a byte at least, so there are no more than bytes.
    fn items(&mut self) -> PyResult<usize> {
        let count = usize::try_from(self.length()?)?;
        if count > self.0.len() { Err(cut()) } else { Ok(count) }
    }

    fn number(&mut self) -> PyResult<i64> {
        let folded = self.length()?;
        Ok((folded >> 1) as i64 ^ -((folded & 1) as i64))
    }

    fn text(&mut self) -> PyResult<&'a str> {
        let count = usize::try_from(self.length()?)?;
        std::str::from_utf8(self.take(count)?).map_err(|_| cut())
    }

    /// Write the next value in another form.
    fn write(&mut self, form: &mut impl Form, depth: usize) -> PyResult<()> {
        match self.byte()? {
            NONE => form.none(),
            FALSE => form.flag(false),
            TRUE => form.flag(true),
            NUMBER => form.number(self.number()?),
            TEXT => form.text(self.text()?),
            TUPLE if depth < DEPTH_MAX => {
                let count = self.items()?;
                self.write_items(form, count, depth)?;
            }
            small @ SMALL.. => form.number((small - SMALL).into()),
            _ => return Err(cut()),
        }
        Ok(())
    }

    /// Write so many values as one tuple.
    fn write_items(&mut self, form: &mut impl Form, count: usize, depth: usize) -> PyResult<()> {
        form.begin(count);
        for place in 0..count {
            if place > 0 {
                form.next();
            }
            self.write(form, depth + 1)?;
        }
        form.end();
        Ok(())
    }
}

fn cut() -> PyErr {
    PyValueError::new_err("not what `pack` has made")
}

/// What has been packed. Raises ValueError where the bytes are not of `pack`.
#[pyfunction]
pub(super) fn unpack<'py>(py: Python<'py>, packed: &[u8]) -> PyResult<Bound<'py, PyTuple>> {
    let mut rest = Rest(packed);
    let nested = rest.value(py, 0)?;
    match nested.cast_into::<PyTuple>() {
        Ok(nested) if rest.0.is_empty() => Ok(nested),
        _ => Err(cut()),
    }
}

/// Fields of a journal record that have a column of their own; the others share one.
const COLUMNS: usize = 6;

/// What the SQLite store writes of a packed step: the journal's record, whose nested fields are JSON, and the answer to
/// the id as JSON, None where there is none or the record tells it. An error where the bytes are not a step of `pack`.
pub(super) fn columns<'py>(py: Python<'py>, packed: &[u8]) -> PyResult<(Vec<Bound<'py, PyAny>>, Option<String>)> {
    let mut rest = Rest(packed);
    if (rest.byte()?, rest.items()?, rest.byte()?) != (TUPLE, 2, TUPLE) {
        return Err(cut());
    }
    let nested = rest.items()?.checked_sub(COLUMNS).ok_or_else(cut)?;
    let mut row = (0..COLUMNS).map(|_| rest.value(py, 2)).collect::<PyResult<Vec<_>>>()?;
    let mut record = Json::new();
    rest.write_items(&mut record, nested, 1)?;
    row.push(PyString::new(py, &record.into_text()).into_any());
    let answer = match rest.0.first() {
        Some(&TUPLE) => {
            let mut answer = Json::new();
            rest.write(&mut answer, 1)?;
            Some(answer.into_text())
        }
        // None; or the scale of the account, beside which the record tells the answer.
        Some(&(NONE | NUMBER | SMALL..)) => rest.value(py, 1).map(|_| None)?,
        _ => return Err(cut()),
    };
    if !rest.0.is_empty() {
        return Err(cut());
    }
    Ok((row, answer))
}
