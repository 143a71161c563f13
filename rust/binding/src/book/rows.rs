//! Running totals of a symbol as the book keeps them (`equipoise.reservation.records.BookSymbol`).

use equipoise::margin::{Combine, Running};
use equipoise::units::Side;
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::record::{record, with_items};

/// Where the figures of a row begin and end: `lots` to `rate_tickets`.
const FIGURES: std::ops::Range<usize> = 2..14;

fn too_large() -> PyErr {
    PyOverflowError::new_err("a total of a symbol is out of range")
}

pub(super) fn running(row: &Bound<'_, PyTuple>) -> PyResult<Running> {
    let at = |place: usize| row.get_borrowed_item(place)?.extract::<i64>();
    Ok(Running {
        lots: at(2)?,
        margin: at(3)?,
        hold: [at(4)?, at(5)?],
        resting: [at(6)?, at(7)?],
        reducing: [at(8)?, at(9)?],
        open: [at(10)?, at(11)?],
        rate_orders: at(12)?,
        rate_tickets: at(13)?,
    })
}

/// `row`, whose figures are `before`, with those of `after`; a record of the same class.
pub(super) fn with_running<'py>(
    row: &Bound<'py, PyTuple>,
    before: &Running,
    after: &Running,
) -> PyResult<Bound<'py, PyTuple>> {
    let (before, after) = (figures(before), figures(after));
    let changed = FIGURES.zip(before.into_iter().zip(after)).filter(|(_, (before, after))| before != after);
    let changes = changed.map(|(place, (_, after))| Ok((place, after.into_pyobject(row.py())?.into_any())));
    record(&row.get_type(), with_items(row, changes.collect::<PyResult<Vec<_>>>()?)?)
}

/// In the order in which a row has them.
fn figures(totals: &Running) -> [i64; 12] {
    let Running { lots, margin, hold, resting, reducing, open, rate_orders, rate_tickets } = *totals;
    let mut figures = [lots, margin, 0, 0, 0, 0, 0, 0, 0, 0, rate_orders, rate_tickets];
    figures[2..10].copy_from_slice([hold, resting, reducing, open].as_flattened());
    figures
}

pub(super) fn rule(name: &str) -> PyResult<Combine> {
    let known = Combine::ALL.iter().find(|(known, rule)| *known == name && rule.bookable());
    known.map(|(_, rule)| *rule).ok_or_else(|| PyValueError::new_err(format!("no rule of running totals: {name}")))
}

pub(super) fn side(name: &Bound<'_, PyAny>) -> PyResult<Side> {
    Ok(if name.cast::<PyString>()?.to_str()? == "bid" { Side::Bid } else { Side::Ask })
}

pub(super) fn required(totals: &Running, combine: Combine) -> PyResult<(i128, i128)> {
    totals.required(combine).ok_or_else(too_large)
}

pub(super) fn rested_totals(
    totals: Running,
    side: Side,
    hold: i64,
    lots: i64,
    reduces: bool,
    counts: bool,
) -> PyResult<Running> {
    totals.rested(side, hold, lots, reduces, counts).ok_or_else(too_large)
}

/// A sum as a Python number; those of more than 64 bits take a longer way.
pub(super) fn whole<'py>(py: Python<'py>, sum: i128) -> PyResult<Bound<'py, PyAny>> {
    Ok(match i64::try_from(sum) {
        Ok(sum) => sum.into_pyobject(py)?.into_any(),
        Err(_) => sum.into_pyobject(py)?.into_any(),
    })
}

/// (margin of the position alone, margin of position and resting orders) of one symbol and leg under a combine rule.
#[pyfunction]
pub(super) fn requirement<'py>(
    combine: &str,
    row: &Bound<'py, PyTuple>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let (alone, all) = required(&running(row)?, rule(combine)?)?;
    Ok((whole(row.py(), alone)?, whole(row.py(), all)?))
}

/// The symbol's totals with more resting on a side (less: negative).
///
/// `reduces`: may only reduce; `counts`: its lots and its charge count.
#[pyfunction]
#[pyo3(signature = (row, side, hold, lots, *, reduces, counts))]
pub(super) fn rested<'py>(
    row: &Bound<'py, PyTuple>,
    side: &Bound<'py, PyAny>,
    hold: i64,
    lots: i64,
    reduces: bool,
    counts: bool,
) -> PyResult<Bound<'py, PyTuple>> {
    let before = running(row)?;
    with_running(row, &before, &rested_totals(before, self::side(side)?, hold, lots, reduces, counts)?)
}

/// Whether the sums of a symbol stay in range; only the position can be negative.
#[pyfunction]
pub(super) fn row_fits(row: &Bound<'_, PyTuple>) -> PyResult<bool> {
    Ok(running(row)?.fits())
}
