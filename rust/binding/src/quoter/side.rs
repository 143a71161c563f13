//! `QuoteSide`.

use std::sync::Arc;

use equipoise::ladder;
use equipoise::project::Relaxed;
use equipoise::status::{Binding, Reason};
use equipoise::units::Side;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::arrays::{micros_to_decimal, owned};
use crate::present::{member, present};

fn binding_name(binding: Binding) -> &'static str {
    match binding {
        Binding::None => "NONE",
        Binding::Margin => "MARGIN",
        Binding::Position => "POSITION",
        Binding::LevelCap => "LEVEL_CAP",
        Binding::Notional => "NOTIONAL",
        Binding::Entropy => "ENTROPY",
        Binding::Share => "SHARE",
        Binding::Inventory => "INVENTORY",
        Binding::NoValue => "NO_VALUE",
    }
}

fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Kept => "KEPT",
        Reason::Merged => "MERGED",
        Reason::Notional => "NOTIONAL",
        Reason::Entropy => "ENTROPY",
        Reason::Margin => "MARGIN",
        Reason::Position => "POSITION",
        Reason::NoValue => "NO_VALUE",
        Reason::NoMargin => "NO_MARGIN",
        Reason::Price => "PRICE",
    }
}

/// One side of a quote: the orders that may be sent, innermost first, and what became of every level asked for.
///
/// Attributes
/// ----------
/// price, size : numpy.ndarray
///     Read-only float64, one value an order: limit price in quote currency, size in contracts.
/// price_ticks, lots, hold : numpy.ndarray
///     The same as read-only int64 ticks and lots, and each order's charge in micro-units.
/// depth_bps, fill_probability, edge_bps, utility : numpy.ndarray
///     Depth from the mid, probability of a fill over the horizon, edge per fill, expected value per contract.
/// total : float
///     Sum of the sizes, contracts.
/// held, budget : Decimal
///     Sum of the charges, and what they may sum to after passing (closing credit not included). Under policy `joint` the
///     side's part of the answer.
/// binding : Binding
///     What stopped the side from being larger.
/// reasons : tuple[Reason, ...]
///     Outcome of every level asked for, in the order asked.
/// empty : Reason or None
///     Why there is no order at all.
/// reduce_only : bool
///     Whether the orders may only reduce the position; they then hold nothing.
/// entropy, entropy_min, entropy_min_used : float
///     Entropy of the final lots, the floor asked for and the floor in force, nats.
/// relaxed : str or None
///     Why the floor in force is lower: "levels" or "lots".
/// effective_levels : float
///     exp(entropy).
/// objective, dual_bound, regret : float
///     Expected value of the final orders, an upper bound on any ladder of this side within its budget, and their
///     difference; account currency. Under policy `joint` the regret is read at the joint prices of margin and inventory.
#[pyclass(frozen, module = "equipoise", name = "QuoteSide")]
pub(crate) struct PyQuoteSide {
    pub(super) quote: Arc<ladder::Quote>,
    pub(super) side: Side,
}

impl PyQuoteSide {
    fn core(&self) -> &ladder::SideQuote {
        match self.side {
            Side::Bid => &self.quote.bids,
            Side::Ask => &self.quote.asks,
        }
    }
}

#[pymethods]
impl PyQuoteSide {
    /// Results never change, so a copy is the result itself.
    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    #[getter]
    fn price<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        let instrument = &self.quote.market.instrument;
        let prices: Vec<f64> = self.core().price_ticks.iter().map(|&ticks| instrument.price(ticks)).collect();
        owned(py, &prices)
    }

    #[getter]
    fn size<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        let instrument = &self.quote.market.instrument;
        let sizes: Vec<f64> = self.core().lots.iter().map(|&lots| instrument.size(lots)).collect();
        owned(py, &sizes)
    }

    #[getter]
    fn price_ticks<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        owned(py, &self.core().price_ticks)
    }

    #[getter]
    fn lots<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        owned(py, &self.core().lots)
    }

    #[getter]
    fn hold<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        owned(py, &self.core().hold)
    }

    #[getter]
    fn depth_bps<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        owned(py, &self.core().depth_bps)
    }

    #[getter]
    fn fill_probability<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        owned(py, &self.core().fill_probability)
    }

    #[getter]
    fn edge_bps<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        owned(py, &self.core().edge_bps)
    }

    #[getter]
    fn utility<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        owned(py, &self.core().utility)
    }

    #[getter]
    fn total(&self) -> f64 {
        self.quote.market.instrument.size(self.core().lots_total())
    }

    #[getter]
    fn held<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.core().held())
    }

    #[getter]
    fn budget<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.core().budget)
    }

    #[getter]
    fn binding(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        member(py, "Binding", binding_name(self.core().certificate.binding))
    }

    #[getter]
    fn reasons<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let members: PyResult<Vec<_>> =
            self.core().reasons.iter().map(|&reason| member(py, "Reason", reason_name(reason))).collect();
        PyTuple::new(py, members?)
    }

    #[getter]
    fn empty(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.core().empty.map(|reason| member(py, "Reason", reason_name(reason))).transpose()
    }

    #[getter]
    fn reduce_only(&self) -> bool {
        self.core().reduce_only
    }

    #[getter]
    fn entropy(&self) -> f64 {
        self.core().certificate.entropy
    }

    #[getter]
    fn entropy_min(&self) -> f64 {
        self.core().certificate.entropy_min
    }

    #[getter]
    fn entropy_min_used(&self) -> f64 {
        self.core().certificate.entropy_min_used
    }

    #[getter]
    fn relaxed(&self) -> Option<&'static str> {
        self.core().certificate.relaxed.map(|why| match why {
            Relaxed::Levels => "levels",
            Relaxed::Lots => "lots",
        })
    }

    #[getter]
    fn effective_levels(&self) -> f64 {
        self.core().certificate.effective_levels
    }

    #[getter]
    fn objective(&self) -> f64 {
        self.core().certificate.objective
    }

    #[getter]
    fn dual_bound(&self) -> f64 {
        self.core().certificate.dual_bound
    }

    #[getter]
    fn regret(&self) -> f64 {
        self.core().certificate.regret
    }

    fn to_dict<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "side_dict", slf.into_any())
    }

    fn __len__(&self) -> usize {
        self.core().lots.len()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.core() == other.get().core())
    }

    fn __repr__(&self) -> String {
        let side = self.core();
        format!(
            "QuoteSide(orders={}, total={}, held={}, binding={})",
            side.lots.len(),
            self.total(),
            side.held() as f64 / 1e6,
            binding_name(side.certificate.binding)
        )
    }
}
