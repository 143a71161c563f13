//! Records: named tuples that Python code defines.

use pyo3::PyTypeInfo;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyTuple, PyType};

/// A record of a class that is a tuple, of these items (a list or tuple): what makes a tuple makes a named one, where a call of
/// the class would have its constructor run.
pub(super) fn record<'py, T: PyTypeInfo>(
    class: &Bound<'py, PyType>,
    items: Bound<'py, T>,
) -> PyResult<Bound<'py, PyTuple>> {
    static NEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = class.py();
    let new = NEW.get_or_try_init(py, || py.get_type::<PyTuple>().getattr("__new__").map(Bound::unbind))?;
    Ok(new.bind(py).call1((class, items))?.cast_into()?)
}

/// The items of a record with some of them changed. The interpreter copies them at once; each taken by itself costs ten times
/// as much.
pub(super) fn with_items<'py>(
    record: &Bound<'py, PyTuple>,
    changes: impl IntoIterator<Item = (usize, Bound<'py, PyAny>)>,
) -> PyResult<Bound<'py, PyList>> {
    let items = record.to_list();
    for (place, item) in changes {
        items.set_item(place, item)?;
    }
    Ok(items)
}
