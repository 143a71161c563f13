//! Order-margin rules, their tiers and their answers.

mod acceptance;
mod options;
mod orders;
mod rule;
mod tiers;
mod words;

use equipoise::margin;
use pyo3::prelude::*;

use crate::arrays::decimal;
use crate::error::from_core;
use acceptance::PyAcceptance;
pub(crate) use rule::PyOrderMarginRule;
use tiers::{PyLeverageTiers, fraction_to_decimal};

/// Initial margin rate that grows with a market's open interest:
/// `base + (1 − base) · clamp((open_interest − lower) / (upper − lower), 0, 1)` (dYdX v4).
///
/// Amounts in account currency; the rate as a decimal of 28 digits.
#[pyfunction]
fn open_interest_rate<'py>(
    base: &Bound<'py, PyAny>,
    lower: &Bound<'py, PyAny>,
    upper: &Bound<'py, PyAny>,
    open_interest: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let rate = margin::open_interest_rate(
        decimal("base", base)?,
        decimal("lower", lower)?,
        decimal("upper", upper)?,
        decimal("open_interest", open_interest)?,
    );
    fraction_to_decimal(base.py(), rate.map_err(from_core)?)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyLeverageTiers>()?;
    module.add_class::<PyAcceptance>()?;
    module.add_class::<PyOrderMarginRule>()?;
    module.add_function(wrap_pyfunction!(open_interest_rate, module)?)
}
