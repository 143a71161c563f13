//! Reading numbers and arrays from Python: exact types in, the wrong argument named.

use equipoise::units::Decimal;
use numpy::{
    Element, PyArray1, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyReadonlyArray1, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::PyTypeCheck;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyFloat, PyInt, PyList, PyString, PyTuple, PyType};

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
        && value.is_exact_instance_of::<PyUntypedArray>()
    {
        return array.try_readonly().map_err(|error| input(argument, None, "readable", error));
    }
    floats(argument, &plain(argument, value, &[1], REQUIREMENT)?)
}

/// Any array of real numbers of some rank as an aligned C-contiguous float64 array.
fn plain<'py>(
    argument: &str,
    value: &Bound<'py, PyAny>,
    ranks: &[usize],
    requirement: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    refuse_masked(argument, value)?;
    let numpy = py.import("numpy")?;
    let array =
        numpy.call_method1("asarray", (value,)).map_err(|error| input(argument, None, requirement, error.value(py)))?;
    let kind: String = array.getattr("dtype")?.getattr("kind")?.extract()?;
    let rank: usize = array.getattr("ndim")?.extract()?;
    let size: usize = array.getattr("size")?.extract()?;
    // An empty list has no type of its own: the core says what is wrong with it.
    if !ranks.contains(&rank) || (!matches!(kind.as_str(), "f" | "i" | "u") && size > 0) {
        let got =
            format!("{} of shape {} and dtype {}", self::kind(value), array.getattr("shape")?, array.getattr("dtype")?);
        return Err(input(argument, None, requirement, got));
    }
    numpy.call_method1("require", (array, "f8", ("C", "A")))
}

/// A copy of one- or two-dimensional real numbers, row after row, and their shape.
pub(crate) fn stacked(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<(Vec<f64>, Vec<usize>)> {
    const REQUIREMENT: &str = "an array of real numbers, stacked by row";
    let read = |value: &Bound<'_, PyAny>| {
        let array = value.cast::<PyArrayDyn<f64>>().ok()?;
        let usual = matches!(array.ndim(), 1 | 2) && array.is_c_contiguous();
        if usual { Some((array.to_vec().ok()?, array.shape().to_vec())) } else { None }
    };
    if value.is_exact_instance_of::<PyUntypedArray>()
        && let Some(copy) = read(value)
    {
        return Ok(copy);
    }
    let array = plain(argument, value, &[1, 2], REQUIREMENT)?;
    read(&array).ok_or_else(|| input(argument, None, REQUIREMENT, kind(value)))
}

/// A copy of any one-dimensional sequence of real numbers.
pub(crate) fn copied(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<f64>> {
    if let Ok(array) = value.cast::<PyArray1<f64>>()
        && value.is_exact_instance_of::<PyUntypedArray>()
        && let Ok(values) = array.to_vec()
    {
        return Ok(values);
    }
    Ok(normalised(argument, value)?.as_slice()?.to_vec())
}

/// Two numbers: a tuple, a list, an array.
pub(crate) fn pair(argument: &str, value: &Bound<'_, PyAny>, requirement: &str) -> PyResult<[f64; 2]> {
    let wrong = || input(argument, None, requirement, show(value));
    if let Ok(tuple) = value.cast::<PyTuple>() {
        if tuple.len() != 2 {
            return Err(wrong());
        }
        let read = |index: usize| -> PyResult<f64> {
            let item = tuple.get_item(index)?;
            number(argument, &item).map_err(|_| input(argument, Some(index), "a real number", kind(&item)))
        };
        return Ok([read(0)?, read(1)?]);
    }
    let values = normalised(argument, value).map_err(|_| wrong())?;
    <[f64; 2]>::try_from(values.as_slice()?).map_err(|_| wrong())
}

/// A masked array says that some of its values do not count; `numpy.asarray` would count them all the same.
fn refuse_masked(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    if value.is_instance_of::<PyUntypedArray>()
        && !value.is_exact_instance_of::<PyUntypedArray>()
        && let Ok(mask) = value.getattr("mask")
        && let Ok(flat) = value.py().import("numpy")?.call_method1("flatnonzero", (mask,))
        && let Ok(first) = flat.get_item(0)
    {
        return Err(input(argument, first.extract().ok(), "free of masked values", kind(value)));
    }
    Ok(())
}

/// Whether an array, or something that reads as a number without being one: a bool of Python or numpy, text.
fn no_number(value: &Bound<'_, PyAny>) -> bool {
    if let Ok(array) = value.cast::<PyUntypedArray>() {
        return array.ndim() > 0 || array.dtype().kind() == b'b' || !value.is_exact_instance_of::<PyUntypedArray>();
    }
    value.is_instance_of::<PyBool>() || value.is_instance_of::<PyString>() || kind_is_bool(value)
}

/// A real number: float, int, or numpy scalar. Not a bool, not text, not an array of one.
pub(crate) fn number(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    if let Ok(float) = value.cast::<PyFloat>() {
        return float.extract();
    }
    if !no_number(value)
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
    const REQUIREMENT: &str = "a number or decimal text";
    let parsed = if let Ok(float) = value.cast::<PyFloat>() {
        Decimal::from_f64(float.extract()?)
    } else if let Ok(text) = value.cast::<PyString>() {
        Decimal::parse(&text.to_cow().map_err(|_| input(argument, None, REQUIREMENT, show(value)))?)
    } else if value.is_instance_of::<PyBool>() {
        return Err(input(argument, None, REQUIREMENT, kind(value)));
    } else if value.is_instance_of::<PyInt>() {
        value.extract::<i64>().ok().and_then(|whole| Decimal::new(whole, 0))
    } else if value.is_instance(decimal_type(value.py())?)? {
        Decimal::parse(&value.str()?.to_cow()?)
    } else {
        // numpy scalars; their booleans read as floats too
        match value.extract::<f64>() {
            Ok(float) if !no_number(value) => Decimal::from_f64(float),
            _ => return Err(input(argument, None, REQUIREMENT, kind(value))),
        }
    };
    parsed.ok_or_else(|| input(argument, None, "a finite decimal of at most 18 digits", show(value)))
}

fn decimal_type(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static DECIMAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    DECIMAL.import(py, "decimal", "Decimal")
}

/// A decimal as Python's `decimal.Decimal`.
pub(crate) fn to_decimal(py: Python<'_>, value: Decimal) -> PyResult<Bound<'_, PyAny>> {
    decimal_type(py)?.call1((value.to_string(),))
}

/// Micro-units as Python's `decimal.Decimal`.
pub(crate) fn micros_to_decimal(py: Python<'_>, micros: i64) -> PyResult<Bound<'_, PyAny>> {
    to_decimal(py, Decimal::new(micros, 6).unwrap_or(Decimal::ZERO))
}

/// An instance of one of our classes.
pub(crate) fn instance<'a, 'py, T: PyTypeCheck>(
    argument: &str,
    value: &'a Bound<'py, PyAny>,
    requirement: &str,
) -> PyResult<&'a Bound<'py, T>> {
    value.cast::<T>().map_err(|_| input(argument, None, requirement, show(value)))
}

/// A bool, numpy's included.
pub(crate) fn flag(argument: &str, index: Option<usize>, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.extract::<bool>().map_err(|_| input(argument, index, "a bool", show(value)))
}

/// An integer of at most 64 bits; not a bool, not a float.
pub(crate) fn integer(argument: &str, index: Option<usize>, value: &Bound<'_, PyAny>) -> PyResult<i64> {
    if value.is_instance_of::<PyBool>() || kind_is_bool(value) {
        return Err(input(argument, index, "an integer", show(value)));
    }
    value.extract::<i64>().map_err(|_| input(argument, index, "a 64-bit integer", show(value)))
}

fn kind_is_bool(value: &Bound<'_, PyAny>) -> bool {
    !value.is_instance_of::<PyInt>() && kind(value).starts_with("bool")
}

/// A list, tuple or one-dimensional array of integers.
pub(crate) fn integers(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    if let Ok(array) = value.cast::<PyArray1<i64>>() {
        let view = array.try_readonly().map_err(|error| input(argument, None, "readable", error))?;
        return Ok(view.as_array().to_vec());
    }
    collect(argument, value, "a sequence of integers", |index, item| integer(argument, Some(index), item))
}

/// Every item of a list, tuple or other iterable, read by `read`.
pub(crate) fn collect<'py, T>(
    argument: &str,
    value: &Bound<'py, PyAny>,
    requirement: &str,
    read: impl Fn(usize, &Bound<'py, PyAny>) -> PyResult<T>,
) -> PyResult<Vec<T>> {
    if let Ok(list) = value.cast::<PyList>() {
        return list.iter().enumerate().map(|(index, item)| read(index, &item)).collect();
    }
    if value.is_instance_of::<PyString>() {
        return Err(input(argument, None, requirement, show(value)));
    }
    let items = value.try_iter().map_err(|_| input(argument, None, requirement, kind(value)))?;
    items.enumerate().map(|(index, item)| read(index, &item?)).collect()
}

pub(crate) fn kind(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "an unnamed type".to_owned(), |name| name.to_string())
}

/// The value as text for an error message, which must stay readable whatever was passed.
pub(crate) fn show(value: &Bound<'_, PyAny>) -> String {
    const CHARACTERS_MAX: usize = 120;
    let text = value.repr().map_or_else(|_| kind(value), |text| text.to_string());
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}… ({})", &text[..end], kind(value)),
        None => text,
    }
}
