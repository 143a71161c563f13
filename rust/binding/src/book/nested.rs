//! Going through what a record has nested in it: tuples of numbers, text and tuples.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyList, PyString, PyTuple};

/// What a step hands over is five deep at most.
pub(super) const DEPTH_MAX: usize = 16;

/// A form in which it is written.
pub(super) trait Form {
    /// Whether lists and named tuples are written like tuples; else they are refused.
    const LOOSE: bool;
    fn none(&mut self);
    fn flag(&mut self, on: bool);
    fn number(&mut self, number: i64);
    fn text(&mut self, text: &str);
    fn begin(&mut self, items: usize);
    /// Between two items.
    fn next(&mut self) {}
    fn end(&mut self) {}
}

fn foreign() -> PyErr {
    PyValueError::new_err("neither a tuple nor a number of 64 bits nor text")
}

/// Write it. ValueError: there is something else in it, or it is too deep; UnicodeEncodeError: text that has no UTF-8.
pub(super) fn write(form: &mut impl Form, item: &Bound<'_, PyAny>) -> PyResult<()> {
    value(form, item, 0)
}

fn value<F: Form>(form: &mut F, item: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
    if let Ok(text) = item.cast_exact::<PyString>() {
        form.text(text.to_str()?);
    } else if let Ok(number) = item.cast_exact::<PyInt>() {
        form.number(number.extract().map_err(|_| foreign())?);
    } else if let Ok(tuple) = item.cast_exact::<PyTuple>() {
        items(form, tuple, depth)?;
    } else if item.is_none() {
        form.none();
    } else if let Ok(flag) = item.cast_exact::<PyBool>() {
        form.flag(flag.is_true());
    } else if !F::LOOSE {
        return Err(foreign());
    } else if let Ok(list) = item.cast_exact::<PyList>() {
        items(form, &list.to_tuple(), depth)?;
    } else {
        items(form, item.cast::<PyTuple>().map_err(|_| foreign())?, depth)?;
    }
    Ok(())
}

fn items<F: Form>(form: &mut F, tuple: &Bound<'_, PyTuple>, depth: usize) -> PyResult<()> {
    if depth == DEPTH_MAX {
        return Err(PyValueError::new_err("too many tuples within one another"));
    }
    form.begin(tuple.len());
    for (place, item) in tuple.iter_borrowed().enumerate() {
        if place > 0 {
            form.next();
        }
        value(form, &item, depth + 1)?;
    }
    form.end();
    Ok(())
}
