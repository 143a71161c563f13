//! Reading numbers and arrays from Python: exact types in, the wrong argument named.

use equipoise::units::Decimal;
use numpy::{Element, PyArray1, PyArrayMethods, PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString};

use crate::error::input;

/// A contiguous one-dimensional float64 array. The Python layer normalises; anything else here is a caller's mistake.
pub(crate) fn floats<'py>(argument: &str, value: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArray1<'py, f64>> {
    let Ok(array) = value.cast::<PyArray1<f64>>() else {
        return Err(input(argument, None, "a one-dimensional float64 array", kind(value)));
    };
    if !array.is_c_contiguous() {
        return Err(input(argument, None, "contiguous", "a strided array"));
    }
    array.try_readonly().map_err(|error| input(argument, None, "readable", error))
}

/// A new read-only array that owns a copy of `values`.
pub(crate) fn owned<'py, T: Element>(py: Python<'py>, values: &[T]) -> Bound<'py, PyArray1<T>> {
    let array = PyArray1::from_slice(py, values);
    array.readwrite().make_nonwriteable();
    array
}

/// An exact decimal from a `Decimal`, `int`, decimal string, or a float read by its shortest decimal.
pub(crate) fn decimal(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<Decimal> {
    let parsed = if let Ok(float) = value.cast::<PyFloat>() {
        Decimal::from_f64(float.extract()?)
    } else if let Ok(text) = value.cast::<PyString>() {
        Decimal::parse(&text.to_cow()?)
    } else if value.is_instance_of::<PyBool>() {
        return Err(input(argument, None, "a number or decimal text", kind(value)));
    } else if value.is_instance_of::<PyInt>() || kind(value) == "Decimal" {
        Decimal::parse(&value.str()?.to_cow()?)
    } else if let Ok(float) = value.extract::<f64>() {
        // numpy scalars
        Decimal::from_f64(float)
    } else {
        return Err(input(argument, None, "a number or decimal text", kind(value)));
    };
    parsed.ok_or_else(|| input(argument, None, "a finite decimal of at most 18 digits", show(value)))
}

fn kind(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "an unnamed type".to_owned(), |name| name.to_string())
}

fn show(value: &Bound<'_, PyAny>) -> String {
    value.repr().map_or_else(|_| kind(value), |text| text.to_string())
}
