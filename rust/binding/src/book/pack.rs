//! Nested tuples of numbers and text as bytes: what the memory store keeps of a step.
//!
//! One object in the place of some fifteen, which the garbage collector would go through again and again. Nobody but
//! that store reads them, in the same process, so the form may change from one version to the next.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyInt, PyString, PyTuple};

/// First byte of a value; a whole number from 0 to `SMALL_MAX` is `SMALL` and itself.
const NONE: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const NUMBER: u8 = 3;
const TEXT: u8 = 4;
const TUPLE: u8 = 5;
const SMALL: u8 = 16;
const SMALL_MAX: u64 = (u8::MAX - SMALL) as u64;
/// What a step hands over is five deep at most.
const DEPTH_MAX: usize = 16;

/// A whole number, seven bits a byte, the lowest first.
fn length(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn value(out: &mut Vec<u8>, item: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
    if let Ok(text) = item.cast_exact::<PyString>() {
        let text = text.to_str()?;
        out.push(TEXT);
        length(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    } else if let Ok(number) = item.cast_exact::<PyInt>() {
        let number: i64 = number.extract().map_err(|_| foreign())?;
        if let Ok(small @ 0..=SMALL_MAX) = u64::try_from(number) {
            out.push(SMALL + small as u8);
        } else {
            out.push(NUMBER);
            // The sign goes into the lowest bit, so that small negative numbers are short too.
            length(out, (number << 1 ^ number >> 63) as u64);
        }
    } else if let Ok(items) = item.cast_exact::<PyTuple>() {
        tuple(out, items, depth)?;
    } else if item.is_none() {
        out.push(NONE);
    } else if let Ok(flag) = item.cast_exact::<PyBool>() {
        out.push(if flag.is_true() { TRUE } else { FALSE });
    } else {
        return Err(foreign());
    }
    Ok(())
}

fn foreign() -> PyErr {
    PyValueError::new_err("neither a tuple nor a number of 64 bits nor text")
}

fn tuple(out: &mut Vec<u8>, items: &Bound<'_, PyTuple>, depth: usize) -> PyResult<()> {
    if depth == DEPTH_MAX {
        return Err(PyValueError::new_err("too many tuples within one another"));
    }
    out.push(TUPLE);
    length(out, items.len() as u64);
    items.iter_borrowed().try_for_each(|item| value(out, &item, depth + 1))
}

/// A tuple of exact tuples, ints, strs, bools and None as bytes. Raises ValueError where there is anything else in it.
#[pyfunction]
pub(super) fn pack<'py>(nested: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyBytes>> {
    let mut out = Vec::with_capacity(512);
    tuple(&mut out, nested, 0)?;
    Ok(PyBytes::new(nested.py(), &out))
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
            NUMBER => {
                let folded = self.length()?;
                ((folded >> 1) as i64 ^ -((folded & 1) as i64)).into_pyobject(py)?.into_any()
            }
            TEXT => {
                let count = usize::try_from(self.length()?)?;
                PyString::new(py, std::str::from_utf8(self.take(count)?).map_err(|_| cut())?).into_any()
            }
            TUPLE if depth < DEPTH_MAX => {
                let count = usize::try_from(self.length()?)?;
                if count > self.0.len() {
                    return Err(cut()); // every item has a byte at least: no length makes more room than there are bytes
                }
                let items = (0..count).map(|_| self.value(py, depth + 1)).collect::<PyResult<Vec<_>>>()?;
                PyTuple::new(py, items)?.into_any()
            }
            small @ SMALL.. => (small - SMALL).into_pyobject(py)?.into_any(),
            _ => return Err(cut()),
        })
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
