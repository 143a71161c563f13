//! `LeverageTiers`.

use equipoise::margin::{Ratio, Tiers};
use equipoise::units::Decimal;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple, PyType};

use crate::arrays::{collect, decimal, to_decimal};
use crate::error::{from_core, input};

/// Margin rates that grow with size.
///
/// Build it with `steps`, `from_leverage` or `linear`.
///
/// Examples
/// --------
/// >>> from equipoise import LeverageTiers
/// >>> LeverageTiers.from_leverage([(0, 40), (150_000_000, 20)], share="0.5").margin(200_000_000)
/// Decimal('3125000')
#[pyclass(frozen, eq, hash, name = "LeverageTiers", module = "equipoise")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct PyLeverageTiers {
    pub(super) tiers: Tiers,
}

fn pairs(argument: &str, rows: &Bound<'_, PyAny>) -> PyResult<Vec<(Decimal, Decimal)>> {
    const REQUIREMENT: &str = "a sequence of pairs of numbers";
    collect(argument, rows, REQUIREMENT, |index, row| {
        let row = row.cast::<PyTuple>().cloned().or_else(|_| row.cast::<PyList>().map(|row| row.to_tuple()));
        let row = row.ok().filter(|row| row.len() == 2);
        let row = row.ok_or_else(|| input(argument, Some(index), "a pair of numbers", "something else"))?;
        Ok((decimal(argument, &row.get_item(0)?)?, decimal(argument, &row.get_item(1)?)?))
    })
}

pub(super) fn fraction_to_decimal(py: Python<'_>, ratio: Ratio) -> PyResult<Bound<'_, PyAny>> {
    let class = py.import("decimal")?.getattr("Decimal")?;
    class.call1((ratio.num(),))?.div(class.call1((ratio.den(),))?)
}

#[pymethods]
impl PyLeverageTiers {
    /// Step table of (notional_min, margin rate); deductions follow from continuity. The first row starts at 0.
    #[staticmethod]
    fn steps(rows: &Bound<'_, PyAny>) -> PyResult<Self> {
        let rows: Vec<_> = pairs("rows", rows)?.iter().map(|&(bound, rate)| (bound, Ratio::from(rate))).collect();
        Ok(Self { tiers: Tiers::steps(&rows).map_err(from_core)? })
    }

    /// Step table of (notional_min, largest leverage), rate = share / leverage: share 1 for initial margin, ½ for
    /// Hyperliquid's maintenance margin.
    #[staticmethod]
    #[pyo3(signature = (rows, share = None))]
    fn from_leverage(rows: &Bound<'_, PyAny>, share: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let share = share.map_or(Ok(Decimal::ONE), |value| decimal("share", value))?;
        let tiers = Tiers::from_leverage(&pairs("rows", rows)?, Ratio::from(share));
        Ok(Self { tiers: tiers.map_err(from_core)? })
    }

    /// Rate = base + slope × size in contracts.
    #[staticmethod]
    fn linear(base: &Bound<'_, PyAny>, slope: &Bound<'_, PyAny>) -> PyResult<Self> {
        let tiers = Tiers::linear(decimal("base", base)?, decimal("slope", slope)?);
        Ok(Self { tiers: tiers.map_err(from_core)? })
    }

    /// Margin of a position value, `notional × rate − deduction`, without regard to leverage.
    fn margin<'py>(&self, notional: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let value = decimal("notional", notional)?;
        if value.mantissa() < 0 {
            return Err(input("notional", None, "at least 0", value));
        }
        let margin = self.tiers.margin(Ratio::from(value));
        let margin = margin.ok_or_else(|| input("notional", None, "used with a step table, within 128 bits", value))?;
        fraction_to_decimal(notional.py(), margin)
    }

    /// Rows (notional_min, rate, deduction) of a step table; empty for a linear rate.
    #[getter]
    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let rows = match &self.tiers {
            Tiers::Step(rows) => rows.as_slice(),
            _ => &[],
        };
        let rows: PyResult<Vec<_>> = rows
            .iter()
            .map(|row| {
                let rate = fraction_to_decimal(py, row.rate)?;
                Ok((to_decimal(py, row.notional_min)?, rate, fraction_to_decimal(py, row.deduction)?))
            })
            .collect();
        PyTuple::new(py, rows?)
    }

    fn __repr__(&self) -> String {
        match &self.tiers {
            Tiers::None => "LeverageTiers()".to_owned(),
            Tiers::Linear { base, slope } => format!("LeverageTiers.linear({base}, {slope})"),
            Tiers::Step(rows) => format!("LeverageTiers({} rows)", rows.len()),
        }
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let class = PyType::new::<Self>(py);
        match &self.tiers {
            Tiers::Linear { base, slope } => {
                let arguments = (to_decimal(py, *base)?, to_decimal(py, *slope)?);
                Ok((class.getattr("linear")?, arguments.into_pyobject(py)?))
            }
            Tiers::Step(rows) => {
                let rows: PyResult<Vec<_>> = rows
                    .iter()
                    .map(|row| Ok((to_decimal(py, row.notional_min)?, row.rate.num(), row.rate.den())))
                    .collect();
                Ok((class.getattr("_from_fractions")?, (rows?,).into_pyobject(py)?))
            }
            Tiers::None => Ok((class.getattr("_from_fractions")?, (PyTuple::empty(py),).into_pyobject(py)?)),
        }
    }

    /// Inverse of pickling: rates such as 1/3 have no finite decimal.
    #[staticmethod]
    fn _from_fractions(rows: Vec<(Bound<'_, PyAny>, i128, i128)>) -> PyResult<Self> {
        let mut table = Vec::with_capacity(rows.len());
        for (bound, num, den) in rows {
            let rate = Ratio::new(num, den).ok_or_else(|| input("rows", None, "fractions", den))?;
            table.push((decimal("rows", &bound)?, rate));
        }
        Ok(Self { tiers: Tiers::steps(&table).map_err(from_core)? })
    }
}
