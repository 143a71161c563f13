//! `LadderEngine` and what it returns: quotes with their split and certificate.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use equipoise::ladder::{
    self, Because, Jitter, JointConfig, LadderConfig, Optimizer, Policy, Returned, ShareDropped, Source,
};
use equipoise::margin::{Combine, OrderMarginRule};
use equipoise::older::KellyConfig;
use equipoise::project::{Breadth, OnInfeasible, OnUnprofitable, Relaxed};
use equipoise::shape::DepthSpacing;
use equipoise::status::{Binding, Reason, SidesStatus};
use equipoise::units::Side;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use crate::arrays::{instance, integer, micros_to_decimal, number, owned};
use crate::error::{from_core, input};
use crate::margin::PyOrderMarginRule;
use crate::market::{PyAccountState, PyMarket};
use crate::shape::{PyLevels, PyShape};
use crate::split::{PySplit, PySplitConfig};

/// Member of an enumeration of `equipoise.status`.
fn member(py: Python<'_>, class: &str, name: &str) -> PyResult<Py<PyAny>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = MODULE.get_or_try_init(py, || py.import("equipoise.status").map(Bound::unbind))?;
    Ok(module.bind(py).getattr(class)?.getattr(name)?.unbind())
}

/// A function of `equipoise.present` applied to a result: presentation is Python's business.
pub(crate) fn present<'py>(py: Python<'py>, function: &str, result: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    py.import("equipoise.present")?.getattr(function)?.call1((result,))
}

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
    quote: Arc<ladder::Quote>,
    side: Side,
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

/// Proof on the final, rounded orders.
///
/// Attributes
/// ----------
/// ok : bool
///     The rule accepts the orders at the stated state, they hold no more than `margin_usable`, and each side keeps its
///     budget, its limits and its entropy floor (or names the relaxation).
/// accepted : bool
///     The venue's own rule on the final orders.
/// margin_held, margin_usable : Decimal
///     What the rule holds for the orders on top of the position, and what it may hold.
/// required_before, required_after : Decimal
///     Requirement of the rule without and with the orders.
#[pyclass(frozen, module = "equipoise", name = "Certificate")]
pub(crate) struct PyCertificate {
    quote: Arc<ladder::Quote>,
}

#[pymethods]
impl PyCertificate {
    /// Results never change, so a copy is the result itself.
    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    #[getter]
    fn ok(&self) -> bool {
        self.quote.certificate.ok
    }

    #[getter]
    fn accepted(&self) -> bool {
        self.quote.certificate.acceptance.accepted
    }

    #[getter]
    fn margin_held<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.quote.certificate.margin_held)
    }

    #[getter]
    fn margin_usable<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.quote.certificate.margin_usable)
    }

    #[getter]
    fn required_before<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.quote.certificate.acceptance.required_before)
    }

    #[getter]
    fn required_after<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.quote.certificate.acceptance.required_after)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.quote.certificate == other.get().quote.certificate)
    }

    fn __repr__(&self) -> String {
        let certificate = &self.quote.certificate;
        format!(
            "Certificate(ok={}, margin_held={}, margin_usable={})",
            if certificate.ok { "True" } else { "False" },
            certificate.margin_held as f64 / 1e6,
            certificate.margin_usable as f64 / 1e6
        )
    }
}

/// A two-sided quote: rounded orders that may be sent, and the proof that they fit one margin.
///
/// Attributes
/// ----------
/// market : Market
///     The market it was made for.
/// split : Split
///     How the margin was shared.
/// bids, asks : QuoteSide
///     The orders.
/// margin_held : Decimal
///     What the rule holds for all orders on top of the position.
/// margin_passed : Decimal
///     Margin that one side could not use and the other was given; positive from bids to asks. Zero where the joint answer
///     was returned: there is nothing to pass.
/// policy : str
///     "inventory" or "joint".
/// joint : JointReport or None
///     Under policy `joint`: objective, dual bound, prices, and which of the two ladders this is.
/// certificate : Certificate
///     Proof on the final orders.
#[pyclass(frozen, module = "equipoise", name = "Quote")]
pub(crate) struct PyQuote {
    core: Arc<ladder::Quote>,
    market: Py<PyMarket>,
    input: Arc<Input>,
}

/// The rule where none is given: the strictest.
static SUM: LazyLock<OrderMarginRule> = LazyLock::new(|| OrderMarginRule::plain(Combine::Sum));

/// What a quote was made from, to make it again under the other policy.
struct Input {
    config: LadderConfig,
    state: Py<PyAccountState>,
    rule: Option<Py<PyOrderMarginRule>>,
    shape: Option<Py<PyShape>>,
    bids: Option<Py<PyLevels>>,
    asks: Option<Py<PyLevels>>,
}

impl Input {
    fn quote(
        &self,
        py: Python<'_>,
        engine: &mut ladder::LadderEngine,
        market: &Py<PyMarket>,
    ) -> PyResult<ladder::Quote> {
        let market = &market.bind(py).get().market;
        let account = self.state.bind(py).get().on(&market.instrument)?;
        let source = match (&self.shape, &self.bids, &self.asks) {
            (Some(shape), _, _) => Source::Shape(&shape.bind(py).get().core),
            (None, Some(bids), Some(asks)) => {
                Source::Levels { bids: &bids.bind(py).get().core, asks: &asks.bind(py).get().core }
            }
            _ => return Err(input("shape", None, "given, or bids and asks", "None")),
        };
        let rule = self.rule.as_ref().map_or(&*SUM, |rule| &rule.bind(py).get().rule);
        engine.quote(market, &account, rule, source).map_err(from_core)
    }
}

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
///     The same of the continuous answer, of that answer in lots (None where it was not certified), and of the inventory
///     policy's ladder.
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
    report: ladder::JointReport,
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

#[pymethods]
impl PyQuote {
    /// Results never change, so a copy is the result itself.
    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    #[getter]
    fn market(&self, py: Python<'_>) -> Py<PyMarket> {
        self.market.clone_ref(py)
    }

    #[getter]
    fn split(&self) -> PySplit {
        PySplit { split: self.core.split }
    }

    #[getter]
    fn bids(&self) -> PyQuoteSide {
        PyQuoteSide { quote: Arc::clone(&self.core), side: Side::Bid }
    }

    #[getter]
    fn asks(&self) -> PyQuoteSide {
        PyQuoteSide { quote: Arc::clone(&self.core), side: Side::Ask }
    }

    #[getter]
    fn certificate(&self) -> PyCertificate {
        PyCertificate { quote: Arc::clone(&self.core) }
    }

    #[getter]
    fn margin_held<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.core.certificate.margin_held)
    }

    #[getter]
    fn margin_held_micros(&self) -> i64 {
        self.core.certificate.margin_held
    }

    #[getter]
    fn margin_passed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.core.margin_passed)
    }

    #[getter]
    fn policy(&self) -> &'static str {
        match self.core.policy {
            Policy::Inventory => "inventory",
            Policy::Joint => "joint",
        }
    }

    #[getter]
    fn joint(&self) -> Option<PyJointReport> {
        self.core.joint.map(|report| PyJointReport { report })
    }

    /// The same input quoted under another policy; everything else of the configuration stays.
    fn under(&self, py: Python<'_>, policy: &str) -> PyResult<Self> {
        let policy = choice("policy", policy, &POLICIES)?;
        if policy == self.core.policy {
            let (core, input) = (Arc::clone(&self.core), Arc::clone(&self.input));
            return Ok(Self { core, market: self.market.clone_ref(py), input });
        }
        let config = LadderConfig { policy, ..self.input.config.clone() };
        let mut engine = ladder::LadderEngine::new(config.clone()).map_err(named)?;
        let core = Arc::new(self.input.quote(py, &mut engine, &self.market)?);
        let kept = |object: &Option<Py<PyLevels>>| object.as_ref().map(|levels| levels.clone_ref(py));
        let input = Arc::new(Input {
            config,
            state: self.input.state.clone_ref(py),
            rule: self.input.rule.as_ref().map(|rule| rule.clone_ref(py)),
            shape: self.input.shape.as_ref().map(|shape| shape.clone_ref(py)),
            bids: kept(&self.input.bids),
            asks: kept(&self.input.asks),
        });
        Ok(Self { core, market: self.market.clone_ref(py), input })
    }

    /// The inventory rule against the joint policy for the same input: value, margin, sizes, and why.
    fn compare<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "quote_compare", slf.into_any())
    }

    /// The orders as `Order` values, innermost bids first, then innermost asks first.
    fn orders<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "quote_orders", slf.into_any())
    }

    /// Plain Python values, ready for JSON.
    fn to_dict<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "quote_dict", slf.into_any())
    }

    /// One row an order, as a polars frame (extra `report`).
    fn to_polars<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "quote_polars", slf.into_any())
    }

    /// One row an order, as a pandas frame (extra `report`).
    fn to_pandas<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "quote_pandas", slf.into_any())
    }

    fn _repr_html_<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "quote_html", slf.into_any())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.core == other.get().core)
    }

    fn __repr__(&self) -> String {
        let quote = &self.core;
        format!(
            "Quote(bids={}, asks={}, margin_held={}, margin_usable={}, ok={})",
            quote.bids.lots.len(),
            quote.asks.lots.len(),
            quote.certificate.margin_held as f64 / 1e6,
            quote.certificate.margin_usable as f64 / 1e6,
            if quote.certificate.ok { "True" } else { "False" },
        )
    }
}

/// The quoting pipeline with its buffers; `equipoise.Quoter` is its public face.
#[pyclass(frozen, module = "equipoise._rust", name = "LadderEngine")]
pub(crate) struct PyLadderEngine {
    // The interpreter lock makes contention impossible today; the mutex keeps the class sound without it.
    core: Mutex<ladder::LadderEngine>,
}

const POLICIES: [(&str, Policy); 2] = [("inventory", Policy::Inventory), ("joint", Policy::Joint)];

/// The core speaks of spacings; the caller named depths.
fn named(mut error: equipoise::Error) -> PyErr {
    error.argument = match error.argument {
        "inner_bps" => "depth_inner_bps",
        "outer_bps" => "depth_outer_bps",
        "fraction" => "kelly.fraction",
        "toxicity" => "kelly.toxicity",
        "toxicity_decay_bps" => "kelly.toxicity_decay_bps",
        other => other,
    };
    from_core(error)
}

fn choice<T: Copy>(argument: &str, value: &str, table: &[(&str, T)]) -> PyResult<T> {
    table.iter().find(|(name, _)| *name == value).map(|&(_, found)| found).ok_or_else(|| {
        let names: Vec<&str> = table.iter().map(|&(name, _)| name).collect();
        input(argument, None, &format!("one of {}", names.join(", ")), value)
    })
}

#[pymethods]
impl PyLadderEngine {
    #[new]
    #[pyo3(signature = (*, levels, spacing, depth_inner_bps, depth_outer_bps, entropy_min, temperature_factor, optimizer,
        kelly_fraction, kelly_toxicity, kelly_toxicity_decay_bps, split, share_floor, share_cap, breadth, on_infeasible,
        on_unprofitable, policy, price_of_risk, bid_share, fill_variance, jitter, jitter_seed))]
    #[expect(clippy::too_many_arguments, reason = "one argument a configuration field, all by name")]
    fn new(
        levels: &Bound<'_, PyAny>,
        spacing: &str,
        depth_inner_bps: Option<&Bound<'_, PyAny>>,
        depth_outer_bps: &Bound<'_, PyAny>,
        entropy_min: &Bound<'_, PyAny>,
        temperature_factor: &Bound<'_, PyAny>,
        optimizer: &str,
        kelly_fraction: &Bound<'_, PyAny>,
        kelly_toxicity: &Bound<'_, PyAny>,
        kelly_toxicity_decay_bps: &Bound<'_, PyAny>,
        split: &Bound<'_, PySplitConfig>,
        share_floor: &Bound<'_, PyAny>,
        share_cap: &Bound<'_, PyAny>,
        breadth: &str,
        on_infeasible: &str,
        on_unprofitable: &str,
        policy: &str,
        price_of_risk: Option<&Bound<'_, PyAny>>,
        bid_share: Option<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
        fill_variance: bool,
        jitter: &Bound<'_, PyAny>,
        jitter_seed: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let kelly = KellyConfig {
            fraction: number("kelly.fraction", kelly_fraction)?,
            toxicity: number("kelly.toxicity", kelly_toxicity)?,
            toxicity_decay_bps: number("kelly.toxicity_decay_bps", kelly_toxicity_decay_bps)?,
        };
        let optimizers = [
            ("entropy", Optimizer::Entropy),
            ("proportional", Optimizer::Proportional),
            ("kelly", Optimizer::Kelly(kelly)),
        ];
        let asked = integer("levels", None, levels)?;
        let levels = usize::try_from(asked).map_err(|_| input("levels", None, "between 1 and 1000", asked))?;
        let depth_outer_bps = number("depth_outer_bps", depth_outer_bps)?;
        let linear = choice("spacing", spacing, &[("geometric", false), ("linear", true)])?;
        let config = LadderConfig {
            levels,
            spacing: if linear {
                DepthSpacing::Even { outer_bps: depth_outer_bps }
            } else {
                DepthSpacing::Geometric { outer_bps: depth_outer_bps }
            },
            inner_bps: depth_inner_bps.map(|value| number("depth_inner_bps", value)).transpose()?,
            entropy_min: number("entropy_min", entropy_min)?,
            temperature_factor: number("temperature_factor", temperature_factor)?,
            optimizer: choice("optimizer", optimizer, &optimizers)?,
            split: split.get().config,
            share_floor: number("share_floor", share_floor)?,
            share_cap: number("share_cap", share_cap)?,
            breadth: choice("breadth", breadth, &[("widest", Breadth::Widest), ("best", Breadth::Best)])?,
            on_infeasible: choice(
                "on_infeasible",
                on_infeasible,
                &[("relax", OnInfeasible::Relax), ("refuse", OnInfeasible::Refuse)],
            )?,
            on_unprofitable: choice(
                "on_unprofitable",
                on_unprofitable,
                &[("empty", OnUnprofitable::Empty), ("least_bad", OnUnprofitable::LeastBad)],
            )?,
            policy: choice("policy", policy, &POLICIES)?,
            joint: JointConfig {
                price_of_risk: price_of_risk.map(|value| number("price_of_risk", value)).transpose()?,
                bid_share: bid_share
                    .map(|(lo, hi)| Ok::<_, PyErr>([number("bid_share", &lo)?, number("bid_share", &hi)?]))
                    .transpose()?,
                fill_variance,
            },
            jitter: Jitter {
                strength: number("jitter", jitter)?,
                seed: u64::from_ne_bytes(integer("jitter_seed", None, jitter_seed)?.to_ne_bytes()),
            },
        };
        let core = ladder::LadderEngine::new(config).map_err(named)?;
        Ok(Self { core: Mutex::new(core) })
    }

    fn quote(
        &self,
        market: &Bound<'_, PyAny>,
        state: &Bound<'_, PyAny>,
        rule: Option<&Bound<'_, PyAny>>,
        shape: Option<&Bound<'_, PyAny>>,
        bids: Option<&Bound<'_, PyAny>>,
        asks: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyQuote> {
        let market = instance::<PyMarket>("market", market, "a Market")?;
        let state = instance::<PyAccountState>("state", state, "an AccountState")?;
        let rule = rule.map(|value| instance::<PyOrderMarginRule>("rule", value, "an OrderMarginRule")).transpose()?;
        let shape = shape.map(|value| instance::<PyShape>("shape", value, "a Shape")).transpose()?;
        let bids = bids.map(|value| instance::<PyLevels>("bids", value, "Levels")).transpose()?;
        let asks = asks.map(|value| instance::<PyLevels>("asks", value, "Levels")).transpose()?;
        match (shape, bids, asks) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => {}
            (Some(_), _, _) => return Err(input("shape", None, "given without bids and asks", "both")),
            (None, None, None) => return Err(input("shape", None, "given, or bids and asks", "None")),
            (None, None, Some(_)) => return Err(input("bids", None, "given together with asks", "None")),
            (None, Some(_), None) => return Err(input("asks", None, "given together with bids", "None")),
        }
        let (py, market) = (market.py(), market.clone().unbind());
        let mut engine = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let given = Input {
            config: engine.config().clone(),
            state: state.clone().unbind(),
            rule: rule.map(|rule| rule.clone().unbind()),
            shape: shape.map(|shape| shape.clone().unbind()),
            bids: bids.map(|levels| levels.clone().unbind()),
            asks: asks.map(|levels| levels.clone().unbind()),
        };
        let core = Arc::new(given.quote(py, &mut engine, &market)?);
        Ok(PyQuote { core, market, input: Arc::new(given) })
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyCertificate>()?;
    module.add_class::<PyJointReport>()?;
    module.add_class::<PyLadderEngine>()?;
    module.add_class::<PyQuote>()?;
    module.add_class::<PyQuoteSide>()
}
