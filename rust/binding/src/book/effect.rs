//! What a step leaves to be written, `equipoise.reservation.steps.view.Effect`, as far as a ladder has it.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

pub(super) const ACCOUNT: usize = 1;
pub(super) const SYMBOLS: usize = 2;
pub(super) const ORDERS: usize = 3;
/// The id, and journal record and answer packed.
pub(super) const KEPT: usize = 7;
pub(super) const OWNERS: usize = 9;
pub(super) const OUTBOX: usize = 11;

/// What a record has at a place, where that is a tuple.
pub(super) fn tuple_at<'py>(record: &Bound<'py, PyTuple>, place: usize) -> PyResult<Bound<'py, PyTuple>> {
    Ok(record.get_item(place)?.cast_into()?)
}
