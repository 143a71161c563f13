//! `LadderEngine` and what it returns: quotes with their split and certificate.

use std::sync::{Arc, Mutex, PoisonError};

use equipoise::ladder::{self, LadderConfig, Optimizer, Source};
use equipoise::older::KellyConfig;
use equipoise::project::{Breadth, OnInfeasible, OnUnprofitable, Relaxed};
use equipoise::shape::DepthSpacing;
use equipoise::status::{Binding, Reason};
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
///     Sum of the charges, and what they may sum to after passing (closing credit not included).
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
///     difference; account currency.
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
///     Margin that one side could not use and the other was given; positive from bids to asks.
/// certificate : Certificate
///     Proof on the final orders.
#[pyclass(frozen, module = "equipoise", name = "Quote")]
pub(crate) struct PyQuote {
    core: Arc<ladder::Quote>,
    market: Py<PyMarket>,
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
    sum: equipoise::margin::OrderMarginRule,
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
        on_unprofitable))]
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
        };
        let core = ladder::LadderEngine::new(config).map_err(|mut error| {
            // The core speaks of spacings; the caller named depths.
            error.argument = match error.argument {
                "inner_bps" => "depth_inner_bps",
                "outer_bps" => "depth_outer_bps",
                "fraction" => "kelly.fraction",
                "toxicity" => "kelly.toxicity",
                "toxicity_decay_bps" => "kelly.toxicity_decay_bps",
                other => other,
            };
            from_core(error)
        })?;
        let sum = equipoise::margin::OrderMarginRule::plain(equipoise::margin::Combine::Sum);
        Ok(Self { core: Mutex::new(core), sum })
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
        let source = match (shape, bids, asks) {
            (Some(shape), None, None) => Source::Shape(&shape.get().core),
            (None, Some(bids), Some(asks)) => Source::Levels { bids: &bids.get().core, asks: &asks.get().core },
            (Some(_), _, _) => return Err(input("shape", None, "given without bids and asks", "both")),
            (None, None, None) => return Err(input("shape", None, "given, or bids and asks", "None")),
            (None, None, Some(_)) => return Err(input("bids", None, "given together with asks", "None")),
            (None, Some(_), None) => return Err(input("asks", None, "given together with bids", "None")),
        };
        let core_market = &market.get().market;
        let account = state.get().on(&core_market.instrument)?;
        let rule = rule.map_or(&self.sum, |rule| &rule.get().rule);
        let mut engine = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let quote = engine.quote(core_market, &account, rule, source).map_err(from_core)?;
        Ok(PyQuote { core: Arc::new(quote), market: market.clone().unbind() })
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyCertificate>()?;
    module.add_class::<PyLadderEngine>()?;
    module.add_class::<PyQuote>()?;
    module.add_class::<PyQuoteSide>()
}
