//! What a step costs beside the work itself: the Redis store's side of the wire, and how the memory store and
//! the SQLite store keep it.

mod answer;
mod calls;
mod json;
mod nested;
mod pack;
mod replies;

use pyo3::prelude::*;

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<calls::PyPackedReserve>()?;
    module.add_class::<calls::PyScriptCalls>()?;
    module.add_class::<replies::PyReplies>()?;
    module.add_function(wrap_pyfunction!(json::compact_json, module)?)?;
    module.add_function(wrap_pyfunction!(pack::pack, module)?)?;
    module.add_function(wrap_pyfunction!(pack::unpack, module)?)?;
    module.add_function(wrap_pyfunction!(answer::outcome_fields, module)?)
}
