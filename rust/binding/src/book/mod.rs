//! What is hot in a step of the reservation book: the step that holds a ladder (`ladder_step`, whose orders `ladder` judges)
//! and the totals of a symbol (`rows`); and what a step costs beside the work itself, the Redis store's side of the wire and
//! how the memory store (`shelf`) and the SQLite store (`slate`) keep it, a ladder packed (`pack`).

mod answer;
mod calls;
mod effect;
mod json;
mod ladder;
mod ladder_step;
mod nested;
mod pack;
mod record;
mod replies;
mod rows;
mod shelf;
mod slate;
mod view;

use pyo3::prelude::*;

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<calls::PyPackedReserve>()?;
    module.add_class::<calls::PyScriptCalls>()?;
    module.add_class::<ladder_step::PyLadderStep>()?;
    module.add_class::<replies::PyReplies>()?;
    module.add_class::<shelf::PyShelf>()?;
    module.add_class::<slate::PySlate>()?;
    module.add_function(wrap_pyfunction!(json::compact_json, module)?)?;
    module.add_function(wrap_pyfunction!(pack::pack, module)?)?;
    module.add_function(wrap_pyfunction!(pack::unpack, module)?)?;
    for function in [
        wrap_pyfunction!(rows::requirement, module)?,
        wrap_pyfunction!(rows::rested, module)?,
        wrap_pyfunction!(rows::row_fits, module)?,
    ] {
        module.add_function(function)?;
    }
    module.add_function(wrap_pyfunction!(answer::outcome_fields, module)?)
}
