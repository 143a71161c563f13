//! What Python does for the results: presentation, and the members of its enumerations.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// Member of an enumeration of `equipoise.status`.
pub(crate) fn member(py: Python<'_>, class: &str, name: &str) -> PyResult<Py<PyAny>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = MODULE.get_or_try_init(py, || py.import("equipoise.status").map(Bound::unbind))?;
    Ok(module.bind(py).getattr(class)?.getattr(name)?.unbind())
}

/// A function of `equipoise.present` applied to a result: presentation is Python's business.
pub(crate) fn present<'py>(py: Python<'py>, function: &str, result: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    py.import("equipoise.present")?.getattr(function)?.call1((result,))
}
