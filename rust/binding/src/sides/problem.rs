//! `SidesProblem`: both sides, what their orders may hold, and what the position costs.

use equipoise::sides::{Budget, Sides};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyString, PyTuple};

use super::Passed;
use super::side::{PyInventory, PySideProblem, rebuild};
use crate::arrays::{instance, number, pair, show};
use crate::error::input;

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PySidesProblem>()
}

/// How the venue combines the margin of both sides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Combine {
    /// One pot for both.
    Sum,
    /// The larger side is held.
    WorstSide,
}

impl Combine {
    pub(super) fn read(value: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(value) = value else { return Ok(Self::Sum) };
        match value.cast::<PyString>().ok().and_then(|text| text.to_cow().ok()).as_deref() {
            Some("sum") => Ok(Self::Sum),
            Some("worst_side") => Ok(Self::WorstSide),
            _ => Err(input("combine", None, "\"sum\" or \"worst_side\"", show(value))),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::WorstSide => "worst_side",
        }
    }

    /// What the orders may hold, with what closing orders need not.
    pub(super) fn budget(self, margin: Margin, credit: [f64; 2]) -> Budget {
        let [bid, ask] = margin.sides();
        match self {
            // max(0, x − c_b) + max(0, y − c_a) ≤ M, written without the corners. A side's own bound follows from the bound on
            // both where the other has no credit.
            Self::Sum => Budget {
                side: [
                    if credit[1] > 0.0 { bid + credit[0] } else { f64::INFINITY },
                    if credit[0] > 0.0 { ask + credit[1] } else { f64::INFINITY },
                ],
                total: bid + credit[0] + credit[1],
            },
            Self::WorstSide => Budget { side: [bid + credit[0], ask + credit[1]], total: f64::INFINITY },
        }
    }
}

/// Margin as the caller gave it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Margin {
    One(f64),
    Each([f64; 2]),
}

/// What every margin and credit must be.
pub(super) const AMOUNT: &str = "finite and not negative";

pub(super) fn is_amount(value: f64) -> bool {
    (0.0..f64::INFINITY).contains(&value)
}

impl Margin {
    pub(super) fn read(argument: &str, value: &Bound<'_, PyAny>, combine: Combine) -> PyResult<Self> {
        let scalar = match value.cast::<PyFloat>() {
            Ok(float) => Some(float.extract()?),
            Err(_) => number(argument, value).ok(),
        };
        match (scalar, combine) {
            (Some(scalar), _) if is_amount(scalar) => Ok(Self::One(scalar)),
            (Some(scalar), _) => Err(input(argument, None, AMOUNT, scalar)),
            (None, Combine::Sum) => {
                Err(input(argument, None, "one number where both sides share a pot (combine=\"sum\")", show(value)))
            }
            (None, Combine::WorstSide) => {
                Ok(Self::Each(amounts(argument, value, "one number or a pair (bid, ask) of numbers")?))
            }
        }
    }

    fn sides(self) -> [f64; 2] {
        match self {
            Self::One(both) => [both; 2],
            Self::Each(sides) => sides,
        }
    }
}

/// A pair of amounts of margin.
fn amounts(argument: &str, value: &Bound<'_, PyAny>, requirement: &str) -> PyResult<[f64; 2]> {
    let amounts = pair(argument, value, requirement)?;
    match amounts.iter().position(|amount| !is_amount(*amount)) {
        Some(index) => Err(input(argument, Some(index), AMOUNT, amounts[index])),
        None => Ok(amounts),
    }
}

/// Everything of a problem beside its sides.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Terms {
    pub(super) combine: Combine,
    pub(super) margin: Margin,
    pub(super) closing_credit: [f64; 2],
    pub(super) bid_share: Option<[f64; 2]>,
    pub(super) inventory: Option<PyInventory>,
}

impl Terms {
    pub(super) fn read(
        margin: &Bound<'_, PyAny>,
        combine: Option<&Bound<'_, PyAny>>,
        bid_share: Option<&Bound<'_, PyAny>>,
        inventory: Option<&Bound<'_, PyAny>>,
        closing_credit: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let combine = Combine::read(combine)?;
        Ok(Self {
            combine,
            margin: Margin::read("margin", margin, combine)?,
            closing_credit: closing_credit_of(closing_credit)?,
            bid_share: bid_share.map(bid_share_of).transpose()?,
            inventory: inventory_of(inventory)?,
        })
    }

    pub(super) fn budget(&self) -> Budget {
        self.combine.budget(self.margin, self.closing_credit)
    }
}

pub(super) fn closing_credit_of(value: Option<&Bound<'_, PyAny>>) -> PyResult<[f64; 2]> {
    value.map_or(Ok([0.0; 2]), |value| amounts("closing_credit", value, "a pair (bid, ask) of numbers"))
}

pub(super) fn bid_share_of(value: &Bound<'_, PyAny>) -> PyResult<[f64; 2]> {
    const REQUIREMENT: &str = "None or a pair lo <= hi between 0 and 1";
    let [lo, hi] = pair("bid_share", value, REQUIREMENT)?;
    if 0.0 <= lo && lo <= hi && hi <= 1.0 {
        return Ok([lo, hi]);
    }
    Err(input("bid_share", None, REQUIREMENT, format_args!("({lo}, {hi})")))
}

pub(super) fn inventory_of(value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<PyInventory>> {
    let Some(value) = value else { return Ok(None) };
    Ok(Some(*instance::<PyInventory>("inventory", value, "an Inventory or None")?.get()))
}

pub(super) fn side_of<'a, 'py>(
    argument: &str,
    value: &'a Bound<'py, PyAny>,
) -> PyResult<&'a Bound<'py, PySideProblem>> {
    instance(argument, value, "a SideProblem")
}

/// Both sides of a quote and the margin they share: what `solve_sides` solves and `certify` is about.
///
/// Parameters
/// ----------
/// bid, ask : SideProblem
///     The two sides; they may have different numbers of levels.
/// margin : float or (float, float)
///     ``M``: what the orders may hold, account currency; finite, not negative. A pair (bid, ask) gives each side a budget of
///     its own, under ``combine="worst_side"`` only.
/// combine : {"sum", "worst_side"}
///     ``"sum"``: both sides share one pot. ``"worst_side"``: the venue holds the larger side, so that each side may hold the
///     whole of it (or its own part of a pair).
/// bid_share : (float, float), optional
///     Bounds ``lo <= S_bid / (S_bid + S_ask) <= hi`` on the bids' part of the total size, between 0 and 1. Where one side
///     cannot be quoted and the bound asks for it, neither is.
/// inventory : Inventory, optional
///     Position and price of risk; without it the position costs nothing, and all goes to the side with more value per margin.
/// closing_credit : (float, float)
///     ``c``: margin that bids, and asks, need not hold because they close a position, account currency; finite, not negative.
///
/// Raises
/// ------
/// InputError
///     An argument is malformed; the error names the argument, the index, the requirement.
///
/// Notes
/// -----
/// With ``x = margin_per_unit @ size`` of each side: ``max(0, x_bid - c_bid) + max(0, x_ask - c_ask) <= M`` under ``"sum"``,
/// ``x - c <= M`` for each side under ``"worst_side"``.
///
/// Examples
/// --------
/// >>> import equipoise as eq
/// >>> bid = eq.SideProblem([0.02, 0.01], 2.7, entropy_min=0.6, size_max=100.0)
/// >>> eq.SidesProblem(bid, bid.moved([0.01, 0.01]), margin=300.0)
/// SidesProblem(bid_levels=2, ask_levels=2, margin=300.0, combine='sum')
#[pyclass(frozen, module = "equipoise", name = "SidesProblem")]
pub(crate) struct PySidesProblem {
    bid: Py<PySideProblem>,
    ask: Py<PySideProblem>,
    pub(super) terms: Terms,
}

#[pymethods]
impl PySidesProblem {
    #[new]
    #[pyo3(
        signature = (bid, ask, *, margin, combine = Passed(None), bid_share = None, inventory = None,
            closing_credit = Passed(None)),
        text_signature = "(bid, ask, *, margin, combine='sum', bid_share=None, inventory=None, closing_credit=(0.0, 0.0))"
    )]
    fn new(
        bid: &Bound<'_, PyAny>,
        ask: &Bound<'_, PyAny>,
        margin: &Bound<'_, PyAny>,
        combine: Passed<'_>,
        bid_share: Option<&Bound<'_, PyAny>>,
        inventory: Option<&Bound<'_, PyAny>>,
        closing_credit: Passed<'_>,
    ) -> PyResult<Self> {
        Ok(Self {
            bid: side_of("bid", bid)?.clone().unbind(),
            ask: side_of("ask", ask)?.clone().unbind(),
            terms: Terms::read(margin, combine.0.as_ref(), bid_share, inventory, closing_credit.0.as_ref())?,
        })
    }

    /// The bids.
    #[getter]
    fn bid(&self, py: Python<'_>) -> Py<PySideProblem> {
        self.bid.clone_ref(py)
    }

    /// The asks.
    #[getter]
    fn ask(&self, py: Python<'_>) -> Py<PySideProblem> {
        self.ask.clone_ref(py)
    }

    /// What the orders may hold, account currency: one number, or a pair (bid, ask), as it was given.
    #[getter]
    fn margin<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.terms.margin {
            Margin::One(both) => Ok(PyFloat::new(py, both).into_any()),
            Margin::Each([bid, ask]) => Ok((bid, ask).into_pyobject(py)?.into_any()),
        }
    }

    /// "sum" or "worst_side".
    #[getter]
    fn combine(&self) -> &'static str {
        self.terms.combine.name()
    }

    /// Bounds on the bids' part of the total size, or None.
    #[getter]
    fn bid_share(&self) -> Option<(f64, f64)> {
        self.terms.bid_share.map(|[lo, hi]| (lo, hi))
    }

    /// Position and price of risk, or None.
    #[getter]
    fn inventory(&self) -> Option<PyInventory> {
        self.terms.inventory
    }

    /// Margin that closing bids and asks need not hold, account currency.
    #[getter]
    fn closing_credit(&self) -> (f64, f64) {
        let [bid, ask] = self.terms.closing_credit;
        (bid, ask)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| {
            let other = other.get();
            self.terms == other.terms && self.bid.get().same(other.bid.get()) && self.ask.get().same(other.ask.get())
        })
    }

    fn __repr__(&self) -> String {
        let margin = match self.terms.margin {
            Margin::One(both) => format!("{both:?}"),
            Margin::Each([bid, ask]) => format!("({bid:?}, {ask:?})"),
        };
        format!(
            "SidesProblem(bid_levels={}, ask_levels={}, margin={margin}, combine='{}')",
            self.bid.get().utility.len(),
            self.ask.get().utility.len(),
            self.terms.combine.name()
        )
    }

    /// Problems never change, so a copy is the problem itself.
    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let problem = slf.get();
        let options = PyDict::new(py);
        options.set_item("margin", problem.margin(py)?)?;
        options.set_item("combine", problem.combine())?;
        options.set_item("bid_share", problem.bid_share())?;
        options.set_item("inventory", problem.inventory())?;
        options.set_item("closing_credit", problem.closing_credit())?;
        let arguments = (problem.bid(py), problem.ask(py)).into_pyobject(py)?;
        Ok((rebuild(slf.get_type().as_any(), &options)?, arguments))
    }
}

impl PySidesProblem {
    pub(super) fn sides(&self) -> [&PySideProblem; 2] {
        [self.bid.get(), self.ask.get()]
    }

    /// The problem as the core reads it.
    pub(super) fn core(&self) -> Sides<'_> {
        let [bid, ask] = self.sides();
        stated([bid, ask], [&bid.utility, &ask.utility], &self.terms)
    }
}

/// Both sides with these utilities, on these terms.
pub(super) fn stated<'a>(sides: [&'a PySideProblem; 2], utility: [&'a [f64]; 2], terms: &Terms) -> Sides<'a> {
    Sides {
        side: [sides[0].core(utility[0]), sides[1].core(utility[1])],
        budget: terms.budget(),
        bid_share: terms.bid_share,
        inventory: terms.inventory.map(|inventory| inventory.core()),
    }
}
