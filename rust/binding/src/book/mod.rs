//! The Redis store's side of the wire: what a step costs beside the server's work is made here.

mod answer;
mod calls;
mod pack;
mod replies;

use pyo3::prelude::*;

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<calls::PyPackedReserve>()?;
    module.add_class::<calls::PyScriptCalls>()?;
    module.add_class::<replies::PyReplies>()?;
    module.add_function(wrap_pyfunction!(pack::pack, module)?)?;
    module.add_function(wrap_pyfunction!(pack::unpack, module)?)?;
    module.add_function(wrap_pyfunction!(answer::outcome_fields, module)?)
}
