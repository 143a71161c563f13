//! `JointReport`.

use equipoise::ladder::{self, Because, Returned, ShareDropped};
use equipoise::status::SidesStatus;
use pyo3::prelude::*;

use crate::present::present;

/// What the joint problem says of a quote. Pairs are (bids, asks).
///
/// Attributes
/// ----------
/// status : str
///     Of the continuous problem: "optimal", "zero" or "inaccurate".
/// returned : str
///     Which ladder the quote carries: "joint", or the "inventory" policy's.
/// because : str
///     Why: "worth_more" or "worth_the_same" on final lots, "inaccurate" (the solver could not certify its answer), or
///     "share_bound" (the other does not keep it).
/// objective, dual_bound, regret : float
///     Expected value of the final orders less the price of inventory; a bound that no ladders within the same
///     constraints exceed, whole lots or not; their difference. Account currency.
/// objective_continuous, objective_joint, objective_inventory : float
///     The same of the continuous answer (before a side whose part bought no order was left out), of the joint answer in
///     lots (None where it was not certified), and of the inventory policy's ladder.
/// margin_price : tuple[float, float]
///     Value of one more unit of margin on bids and on asks; equal where they share one pot.
/// price_of_risk : float
///     η, account currency per squared contract.
/// inventory_price : float
///     ν = η · expected position: what one more contract of position costs, account currency.
/// position_expected : float
///     Contracts after the horizon, fills of the final orders at their probabilities included.
/// bid_share : tuple[float, float] or None
///     Bounds in force on the bids' part of the contracts quoted.
/// share_dropped : str or None
///     Why bounds that were asked for are not: "blocked", "minimum" or "entropy".
/// iterations : int
///     Steps of the solver.
#[pyclass(frozen, module = "equipoise", name = "JointReport")]
pub(crate) struct PyJointReport {
    pub(super) report: ladder::JointReport,
}

#[pymethods]
impl PyJointReport {
    #[getter]
    fn status(&self) -> &'static str {
        match self.report.status {
            SidesStatus::Optimal => "optimal",
            SidesStatus::Zero => "zero",
            SidesStatus::Inaccurate => "inaccurate",
        }
    }

    #[getter]
    fn returned(&self) -> &'static str {
        match self.report.returned {
            Returned::Joint => "joint",
            Returned::Inventory => "inventory",
        }
    }

    #[getter]
    fn because(&self) -> &'static str {
        match self.report.because {
            Because::WorthMore => "worth_more",
            Because::WorthTheSame => "worth_the_same",
            Because::Inaccurate => "inaccurate",
            Because::ShareBound => "share_bound",
        }
    }

    #[getter]
    fn objective(&self) -> f64 {
        self.report.objective
    }

    #[getter]
    fn dual_bound(&self) -> f64 {
        self.report.dual_bound
    }

    #[getter]
    fn regret(&self) -> f64 {
        self.report.regret
    }

    #[getter]
    fn objective_continuous(&self) -> f64 {
        self.report.objective_continuous
    }

    #[getter]
    fn objective_joint(&self) -> Option<f64> {
        self.report.objective_joint
    }

    #[getter]
    fn objective_inventory(&self) -> f64 {
        self.report.objective_inventory
    }

    #[getter]
    fn margin_price(&self) -> (f64, f64) {
        self.report.margin_price.into()
    }

    #[getter]
    fn price_of_risk(&self) -> f64 {
        self.report.price_of_risk
    }

    #[getter]
    fn inventory_price(&self) -> f64 {
        self.report.inventory_price
    }

    #[getter]
    fn position_expected(&self) -> f64 {
        self.report.position_expected
    }

    #[getter]
    fn bid_share(&self) -> Option<(f64, f64)> {
        self.report.bid_share.map(Into::into)
    }

    #[getter]
    fn share_dropped(&self) -> Option<&'static str> {
        self.report.share_dropped.map(|why| match why {
            ShareDropped::Blocked => "blocked",
            ShareDropped::Minimum => "minimum",
            ShareDropped::Entropy => "entropy",
        })
    }

    #[getter]
    fn iterations(&self) -> u32 {
        self.report.iterations
    }

    fn to_dict<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "joint_dict", slf.into_any())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.report == other.get().report)
    }

    fn __repr__(&self) -> String {
        format!(
            "JointReport(returned={:?}, because={:?}, objective={}, dual_bound={}, margin_price=({}, {}))",
            self.returned(),
            self.because(),
            self.report.objective,
            self.report.dual_bound,
            self.report.margin_price[0],
            self.report.margin_price[1]
        )
    }
}
