//! Reading numbers and arrays from Python: exact types in, the wrong argument named.

use equipoise::units::Decimal;
use numpy::{Element, PyArray1, PyArrayMethods, PyReadonlyArray1, PyUntypedArray, PyUntypedArrayMethods};
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

/// Any one-dimensional sequence of real numbers as a contiguous float64 array. An array that is one already passes as it
/// is; lists, integers, other widths, strides and byte orders go through `numpy.asarray` here, and only here.
pub(crate) fn normalised<'py>(argument: &str, value: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArray1<'py, f64>> {
    const REQUIREMENT: &str = "a one-dimensional array of real numbers";
    if let Ok(array) = value.cast::<PyArray1<f64>>()
        && array.is_c_contiguous()
        && array.is_aligned()
    {
        return array.try_readonly().map_err(|error| input(argument, None, "readable", error));
    }
    let py = value.py();
    let numpy = py.import("numpy")?;
    let array =
        numpy.call_method1("asarray", (value,)).map_err(|error| input(argument, None, REQUIREMENT, error.value(py)))?;
    let kind: String = array.getattr("dtype")?.getattr("kind")?.extract()?;
    let rank: usize = array.getattr("ndim")?.extract()?;
    let size: usize = array.getattr("size")?.extract()?;
    // An empty list has no type of its own: the core says what is wrong with it.
    if rank != 1 || (!matches!(kind.as_str(), "f" | "i" | "u") && size > 0) {
        let got =
            format!("{} of shape {} and dtype {}", self::kind(value), array.getattr("shape")?, array.getattr("dtype")?);
        return Err(input(argument, None, REQUIREMENT, got));
    }
    let plain = numpy.call_method1("require", (array, "f8", ("C", "A")))?;
    floats(argument, &plain)
}

/// A real number: float, int, or numpy scalar. Not a bool, not text, not an array of one.
pub(crate) fn number(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    if let Ok(float) = value.cast::<PyFloat>() {
        return float.extract();
    }
    let array = value.cast::<PyUntypedArray>().is_ok_and(|array| array.ndim() > 0);
    if !array
        && !value.is_instance_of::<PyBool>()
        && !value.is_instance_of::<PyString>()
        && let Ok(number) = value.extract::<f64>()
    {
        return Ok(number);
    }
    Err(input(argument, None, "a real number", kind(value)))
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
