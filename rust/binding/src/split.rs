//! `SplitConfig`, `Split`, `split_margin`.

use equipoise::split::{self, FreeBy, Split, SplitConfig};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::arrays::{decimal, instance, micros_to_decimal, to_decimal};
use crate::error::from_core;
use crate::margin::PyOrderMarginRule;
use crate::market::{PyAccountState, PyMarket};
use crate::present::present;

/// Parameters of the inventory-weighted split.
///
/// Parameters
/// ----------
/// sensitivity
///     Change of the ask weight from a flat to a full position, 0 to 1.
/// weight_min, weight_max
///     Bounds of the ask weight, 0 to ½ and ½ to 1.
/// haircut
///     Share of the available margin that is used, 0 to 1.
/// mark_buffer_bps
///     Margin kept against a move of the mark between check and match, in bps of the position's value; 0 to 10 000.
///
/// Raises
/// ------
/// InputError
///     A parameter is out of range or has more than 9 decimals.
#[pyclass(frozen, eq, hash, name = "SplitConfig", module = "equipoise")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PySplitConfig {
    pub(crate) config: SplitConfig,
}

#[pymethods]
impl PySplitConfig {
    #[new]
    #[pyo3(signature = (sensitivity = None, weight_min = None, weight_max = None, haircut = None, mark_buffer_bps = None))]
    fn new(
        sensitivity: Option<&Bound<'_, PyAny>>,
        weight_min: Option<&Bound<'_, PyAny>>,
        weight_max: Option<&Bound<'_, PyAny>>,
        haircut: Option<&Bound<'_, PyAny>>,
        mark_buffer_bps: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let usual = SplitConfig::default();
        let read = |argument, value: Option<&Bound<'_, PyAny>>, usual| {
            value.map_or(Ok(usual), |value| decimal(argument, value))
        };
        let config = SplitConfig {
            sensitivity: read("sensitivity", sensitivity, usual.sensitivity)?,
            weight_min: read("weight_min", weight_min, usual.weight_min)?,
            weight_max: read("weight_max", weight_max, usual.weight_max)?,
            haircut: read("haircut", haircut, usual.haircut)?,
            mark_buffer_bps: read("mark_buffer_bps", mark_buffer_bps, usual.mark_buffer_bps)?,
        };
        Ok(Self { config: config.checked().map_err(from_core)? })
    }

    /// Change of the ask weight from a flat to a full position.
    #[getter]
    fn sensitivity<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.config.sensitivity)
    }

    /// Smallest ask weight.
    #[getter]
    fn weight_min<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.config.weight_min)
    }

    /// Largest ask weight.
    #[getter]
    fn weight_max<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.config.weight_max)
    }

    /// Share of the available margin that is used.
    #[getter]
    fn haircut<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.config.haircut)
    }

    /// Buffer against a move of the mark, in bps.
    #[getter]
    fn mark_buffer_bps<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.config.mark_buffer_bps)
    }

    fn __repr__(&self) -> String {
        let config = &self.config;
        format!(
            "SplitConfig(sensitivity={}, weight_min={}, weight_max={}, haircut={}, mark_buffer_bps={})",
            config.sensitivity, config.weight_min, config.weight_max, config.haircut, config.mark_buffer_bps
        )
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
        let arguments = (
            self.sensitivity(py)?,
            self.weight_min(py)?,
            self.weight_max(py)?,
            self.haircut(py)?,
            self.mark_buffer_bps(py)?,
        );
        Ok((PyType::new::<Self>(py), arguments.into_pyobject(py)?))
    }
}

/// Budgets and limits of both sides of a quote. Amounts are exact decimals of account currency, sizes integer lots.
#[pyclass(frozen, eq, name = "Split", module = "equipoise")]
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct PySplit {
    pub(crate) split: Split,
}

#[pymethods]
impl PySplit {
    /// Results never change, so a copy is the result itself.
    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    /// Contracts that the available margin carries at the mark.
    #[getter]
    fn capacity(&self) -> f64 {
        self.split.capacity
    }

    /// Margin before haircut and buffer.
    #[getter]
    fn margin_available<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.split.margin_available)
    }

    /// Margin that the quote may use.
    #[getter]
    fn usable<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.split.usable)
    }

    /// Position over its limit, from −1 to 1.
    #[getter]
    fn inventory_ratio(&self) -> f64 {
        self.split.inventory_ratio
    }

    /// Weight of the bids.
    #[getter]
    fn bid_weight(&self) -> f64 {
        self.split.bid_weight
    }

    /// Weight of the asks.
    #[getter]
    fn ask_weight(&self) -> f64 {
        self.split.ask_weight
    }

    /// Budget of the bids.
    #[getter]
    fn bid_part<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.split.bid_part)
    }

    /// Budget of the asks.
    #[getter]
    fn ask_part<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        micros_to_decimal(py, self.split.ask_part)
    }

    /// Budget of the bids in micro-units.
    #[getter]
    fn bid_part_micros(&self) -> i64 {
        self.split.bid_part
    }

    /// Budget of the asks in micro-units.
    #[getter]
    fn ask_part_micros(&self) -> i64 {
        self.split.ask_part
    }

    /// Whether both parts come out of one pot.
    #[getter]
    fn pooled(&self) -> bool {
        self.split.pooled
    }

    /// Most lots the bids may hold together.
    #[getter]
    fn bid_limit_lots(&self) -> i64 {
        self.split.bid_limit_lots
    }

    /// Most lots the asks may hold together.
    #[getter]
    fn ask_limit_lots(&self) -> i64 {
        self.split.ask_limit_lots
    }

    /// Bid lots that close a position without holding margin, on top of the part.
    #[getter]
    fn bid_free_lots(&self) -> i64 {
        self.split.bid_free_lots
    }

    /// Ask lots that close a position without holding margin, on top of the part.
    #[getter]
    fn ask_free_lots(&self) -> i64 {
        self.split.ask_free_lots
    }

    /// What makes them free: "nothing", "closing", "reduce_only" (send them so) or "leg".
    #[getter]
    fn free_by(&self) -> &'static str {
        match self.split.free_by {
            FreeBy::Nothing => "nothing",
            FreeBy::Closing => "closing",
            FreeBy::ReduceOnly => "reduce_only",
            FreeBy::Leg => "leg",
        }
    }

    /// Plain Python values, ready for JSON.
    fn to_dict<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "split_dict", slf.into_any())
    }

    /// One row a side, as a polars frame (extra `report`).
    fn to_polars<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "split_polars", slf.into_any())
    }

    /// One row a side, as a pandas frame (extra `report`).
    fn to_pandas<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "split_pandas", slf.into_any())
    }

    fn _repr_html_<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        present(slf.py(), "split_html", slf.into_any())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "Split(usable={}, bid_weight={}, ask_weight={}, bid_part={}, ask_part={}, pooled={})",
            self.usable(py)?,
            self.split.bid_weight,
            self.split.ask_weight,
            self.bid_part(py)?,
            self.ask_part(py)?,
            if self.split.pooled { "True" } else { "False" },
        ))
    }
}

/// Split the account's margin between bids and asks by inventory.
///
/// Parameters
/// ----------
/// market, state, rule
///     Where, how much, and what the venue holds.
/// config
///     Parameters; the defaults of `SplitConfig` when None.
///
/// Returns
/// -------
/// Split
///     Under `sum` and `hedge_legs` the parts sum to the usable margin to the micro-unit. Under `worst_side`, `per_side` and
///     `larger_leg` each side has its own budget, closing credit included.
///
/// Examples
/// --------
/// >>> import equipoise as eq
/// >>> market = eq.Market("HYPE", 27.10, 27.12, 27.11, tick="0.001", lot="0.01")
/// >>> state = eq.AccountState(397.49, position=146.62, leverage=10, position_max=146.62)
/// >>> split = eq.split_margin(market, state, eq.OrderMarginRule.venue("sum"))
/// >>> split.ask_weight, split.bid_part, split.ask_part
/// (0.7, Decimal('119.247'), Decimal('278.243'))
#[pyfunction]
#[pyo3(signature = (market, state, rule, config = None))]
fn split_margin(
    market: &Bound<'_, PyAny>,
    state: &Bound<'_, PyAny>,
    rule: &Bound<'_, PyAny>,
    config: Option<&Bound<'_, PyAny>>,
) -> PyResult<PySplit> {
    let core = &instance::<PyMarket>("market", market, "a Market")?.get().market;
    let account = instance::<PyAccountState>("state", state, "an AccountState")?.get().on(&core.instrument)?;
    let rule = &instance::<PyOrderMarginRule>("rule", rule, "an OrderMarginRule")?.get().rule;
    let config = match config {
        None => SplitConfig::default(),
        Some(given) => instance::<PySplitConfig>("config", given, "a SplitConfig")?.get().config,
    };
    let split = split::split(&config, rule, core, &account).map_err(from_core)?;
    Ok(PySplit { split })
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PySplitConfig>()?;
    module.add_class::<PySplit>()?;
    module.add_function(wrap_pyfunction!(split_margin, module)?)
}
