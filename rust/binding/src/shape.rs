//! `Shape` and `Levels`: the core structs with vector helpers for researchers.

use std::hash::{DefaultHasher, Hash, Hasher};

use equipoise::shape::{self, DepthSpacing, FillModel, Levels, Parameters, Shape};
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::arrays;
use crate::error::{from_core, input};

/// Bid and ask arrays.
type SidePair<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>);

const LEVELS_MAX: usize = Levels::COUNT_MAX;

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyShape>()?;
    module.add_class::<PyLevels>()
}

/// Depths, fill intensities, adverse selection and edges around the mid.
///
/// Parameters
/// ----------
/// volatility
///     σ: standard deviation of the mid over one second, a fraction of price; in [0, 1].
/// fill_rate
///     A: fills per second and side of an order at depth zero; in [1e-9, 1e9].
/// fill_decay
///     κ: decay of the fill rate per fraction of price; in [1e-9, 1e9].
/// horizon_s
///     τ: time a quote is meant to rest, seconds; in [1e-9, 1e9].
/// risk_aversion
///     γ_c: absolute risk aversion per unit of account currency; in [0, 1e9]. Zero: no skew.
/// unit
///     Reference order, the unit of inventory, in base units; in [1e-9, 1e15].
/// adverse_bps
///     AS₀: expected loss to informed flow of a fill at the mid, bps; in [0, 1e6].
/// adverse_decay_bps
///     δc: depth over which adverse selection falls by e, bps; in [1e-9, 1e6].
/// fee_bps
///     Maker fee, bps; a rebate is negative; in [−1e4, 1e4].
/// fill_model
///     "intensity": 1 − exp(−λ(δ)τ). "first_passage": 2Φ(−δ / (σ√τ)), the chance that the mid touches the order.
/// depth_min_bps
///     Least innermost depth, bps; in [0, 1e6]; 0 unless given.
///
/// Raises
/// ------
/// InputError
///     A parameter is not a number in its range.
///
/// Notes
/// -----
/// Half-spread δ* = ln(1 + γ/κ) / γ + fee with γ = γ_c · unit · price; bid depth δ* + (2q + 1)/2 · C and ask depth
/// δ* − (2q − 1)/2 · C with q = position / unit and C = √(σ²γ / (2κA) · (1 + γ/κ)^(1 + κ/γ)). λ(δ) = A exp(−κδ),
/// edge = δ − AS₀ exp(−δ/δc) − fee, value = fill probability · edge · price. Depths in bps are divided by 1e4 first.
///
/// References
/// ----------
/// Guéant, Lehalle and Fernandez-Tapia, "Dealing with the inventory risk", Mathematics and Financial Economics 7 (2013);
/// Avellaneda and Stoikov, "High-frequency trading in a limit order book", Quantitative Finance 8 (2008).
///
/// Examples
/// --------
/// >>> import equipoise as eq
/// >>> shape = eq.Shape(volatility=1e-4, fill_rate=0.3, fill_decay=1500, horizon_s=10, risk_aversion=0.3, unit=14.66,
/// ...                  adverse_bps=3, adverse_decay_bps=8, fee_bps=1.5)
/// >>> round(shape.half_spread_bps(27.11), 3)
/// 7.915
/// >>> shape.fill_probability([2, 8, 32]).round(3).tolist()
/// [0.892, 0.595, 0.024]
#[pyclass(frozen, eq, name = "Shape", module = "equipoise")]
#[derive(Clone, PartialEq)]
pub(crate) struct PyShape {
    pub(crate) core: Shape,
}

#[pymethods]
impl PyShape {
    #[new]
    #[pyo3(signature = (volatility, fill_rate, fill_decay, horizon_s, risk_aversion, unit, adverse_bps, adverse_decay_bps,
        fee_bps, fill_model = None, depth_min_bps = None),
        text_signature = "(volatility, fill_rate, fill_decay, horizon_s, risk_aversion, unit, adverse_bps, \
        adverse_decay_bps, fee_bps, fill_model=\"intensity\", depth_min_bps=0.0)")]
    #[allow(clippy::too_many_arguments, reason = "the public constructor, keyword by keyword")]
    fn new(
        volatility: &Bound<'_, PyAny>,
        fill_rate: &Bound<'_, PyAny>,
        fill_decay: &Bound<'_, PyAny>,
        horizon_s: &Bound<'_, PyAny>,
        risk_aversion: &Bound<'_, PyAny>,
        unit: &Bound<'_, PyAny>,
        adverse_bps: &Bound<'_, PyAny>,
        adverse_decay_bps: &Bound<'_, PyAny>,
        fee_bps: &Bound<'_, PyAny>,
        fill_model: Option<&Bound<'_, PyAny>>,
        depth_min_bps: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let parameters = Parameters {
            volatility: arrays::number("volatility", volatility)?,
            fill_rate: arrays::number("fill_rate", fill_rate)?,
            fill_decay: arrays::number("fill_decay", fill_decay)?,
            horizon_s: arrays::number("horizon_s", horizon_s)?,
            risk_aversion: arrays::number("risk_aversion", risk_aversion)?,
            unit: arrays::number("unit", unit)?,
            adverse_bps: arrays::number("adverse_bps", adverse_bps)?,
            adverse_decay_bps: arrays::number("adverse_decay_bps", adverse_decay_bps)?,
            fee_bps: arrays::number("fee_bps", fee_bps)?,
            fill_model: fill_model.map_or(Ok(FillModel::Intensity), fill_model_of)?,
            depth_min_bps: optional("depth_min_bps", depth_min_bps)?.unwrap_or(0.0),
        };
        Shape::new(parameters).map(|core| Self { core }).map_err(from_core)
    }

    #[getter]
    fn volatility(&self) -> f64 {
        self.core.parameters().volatility
    }

    #[getter]
    fn fill_rate(&self) -> f64 {
        self.core.parameters().fill_rate
    }

    #[getter]
    fn fill_decay(&self) -> f64 {
        self.core.parameters().fill_decay
    }

    #[getter]
    fn horizon_s(&self) -> f64 {
        self.core.parameters().horizon_s
    }

    #[getter]
    fn risk_aversion(&self) -> f64 {
        self.core.parameters().risk_aversion
    }

    #[getter]
    fn unit(&self) -> f64 {
        self.core.parameters().unit
    }

    #[getter]
    fn adverse_bps(&self) -> f64 {
        self.core.parameters().adverse_bps
    }

    #[getter]
    fn adverse_decay_bps(&self) -> f64 {
        self.core.parameters().adverse_decay_bps
    }

    #[getter]
    fn fee_bps(&self) -> f64 {
        self.core.parameters().fee_bps
    }

    #[getter]
    fn fill_model(&self) -> &'static str {
        fill_model_name(self.core.parameters().fill_model)
    }

    #[getter]
    fn depth_min_bps(&self) -> f64 {
        self.core.parameters().depth_min_bps
    }

    /// The same shape with some parameters changed, by keyword.
    #[pyo3(signature = (**changes))]
    fn replace<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        changes: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let keywords = PyDict::new(py);
        for (name, value) in NAMES.iter().zip(slf.get().arguments(py)?.iter()) {
            keywords.set_item(name, value)?;
        }
        if let Some(changes) = changes {
            keywords.update(changes.as_mapping())?;
        }
        slf.get_type().call((), Some(&keywords))
    }

    /// Half-spread δ* in bps, fee included.
    fn half_spread_bps(&self, price: &Bound<'_, PyAny>) -> PyResult<f64> {
        Ok(self.core.spread(positive("price", price)?).half_bps)
    }

    /// Skew C in bps per reference order of inventory.
    fn skew_bps(&self, price: &Bound<'_, PyAny>) -> PyResult<f64> {
        Ok(self.core.spread(positive("price", price)?).skew_bps)
    }

    /// Risk aversion γ per fraction of price.
    fn risk_aversion_fraction(&self, price: &Bound<'_, PyAny>) -> PyResult<f64> {
        Ok(self.core.risk_aversion_fraction(positive("price", price)?))
    }

    /// Price of inventory η in account currency per base unit squared.
    fn price_of_risk(&self, price: &Bound<'_, PyAny>) -> PyResult<f64> {
        Ok(self.core.price_of_risk(positive("price", price)?))
    }

    /// Innermost depths (bid, ask) in bps, each clipped to `depth_min_bps` … 1e6.
    ///
    /// Parameters
    /// ----------
    /// price
    ///     Mid, positive.
    /// position
    ///     Inventory in base units, long positive; 0 unless given.
    /// position_max
    ///     Limit on |position|, base units. Inventory counts up to max(position_max, unit); without a limit, in full.
    #[pyo3(signature = (price, *, position = None, position_max = None))]
    fn side_depths_bps(
        &self,
        price: &Bound<'_, PyAny>,
        position: Option<&Bound<'_, PyAny>>,
        position_max: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(f64, f64)> {
        let q = self.inventory(position, position_max)?;
        Ok(self.core.depths_bps(q, positive("price", price)?))
    }

    /// Depth ladders (bid, ask) in bps, innermost first, each of `levels` depths that never decrease.
    ///
    /// Parameters
    /// ----------
    /// price, position, position_max
    ///     As in `side_depths_bps`.
    /// levels
    ///     Depths a side, 1 to 1000.
    /// outer_bps
    ///     Geometric: from the innermost depth to this one by a constant ratio, at least 1.1, from 0.01 bps or deeper.
    /// step_bps
    ///     Linear: distance between neighbours. With `ratio` (at least 1) the first of gaps that grow by that ratio.
    ///
    /// Raises
    /// ------
    /// InputError
    ///     An argument is out of range, or the spacing is given in none or several of these ways.
    #[pyo3(signature = (price, levels, *, position = None, position_max = None, outer_bps = None, step_bps = None, ratio = None))]
    #[allow(clippy::too_many_arguments, reason = "the public method, keyword by keyword")]
    fn depths<'py>(
        &self,
        py: Python<'py>,
        price: &Bound<'py, PyAny>,
        levels: &Bound<'py, PyAny>,
        position: Option<&Bound<'py, PyAny>>,
        position_max: Option<&Bound<'py, PyAny>>,
        outer_bps: Option<&Bound<'py, PyAny>>,
        step_bps: Option<&Bound<'py, PyAny>>,
        ratio: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<SidePair<'py>> {
        let asked = arrays::integer("levels", None, levels)?;
        let count = usize::try_from(asked).ok().filter(|count| (1..=LEVELS_MAX).contains(count));
        let levels = count.ok_or_else(|| input("levels", None, "1 to 1000", asked))?;
        let spacing =
            spacing_of(optional("outer_bps", outer_bps)?, optional("step_bps", step_bps)?, optional("ratio", ratio)?)?;
        let (bid, ask) = self.side_depths_bps(price, position, position_max)?;
        let mut out = vec![0.0; levels];
        shape::ladder_depths(bid, &spacing, &mut out);
        let bids = arrays::owned(py, &out);
        shape::ladder_depths(ask, &spacing, &mut out);
        Ok((bids, arrays::owned(py, &out)))
    }

    /// Fills per second at each depth.
    fn fill_rate_at<'py>(&self, py: Python<'py>, depth_bps: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        map_depths(py, depth_bps, |depth| self.core.fill_rate_at(depth))
    }

    /// Probability of a fill over the horizon at each depth.
    fn fill_probability<'py>(&self, py: Python<'py>, depth_bps: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        map_depths(py, depth_bps, |depth| self.core.fill_probability(depth))
    }

    /// Expected adverse selection of a fill at each depth, bps.
    fn adverse_bps_at<'py>(&self, py: Python<'py>, depth_bps: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        map_depths(py, depth_bps, |depth| self.core.adverse_bps_at(depth))
    }

    /// Edge of a fill at each depth, bps.
    fn edge_bps<'py>(&self, py: Python<'py>, depth_bps: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        map_depths(py, depth_bps, |depth| self.core.edge_bps(depth))
    }

    /// Expected value per base unit at each depth, quote currency.
    fn utility<'py>(
        &self,
        py: Python<'py>,
        depth_bps: &Bound<'py, PyAny>,
        price: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let price = positive("price", price)?;
        map_depths(py, depth_bps, |depth| self.core.value_at(depth, price).utility)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut text = Vec::with_capacity(NAMES.len());
        for (name, value) in NAMES.iter().zip(self.arguments(py)?.iter()) {
            text.push(format!("{name}={}", value.repr()?.to_cow()?));
        }
        Ok(format!("Shape({})", text.join(", ")))
    }

    fn __hash__(&self) -> u64 {
        let mut state = DefaultHasher::new();
        for value in self.floats() {
            // Adding zero makes −0.0 and 0.0, which are equal, hash alike.
            (value + 0.0).to_bits().hash(&mut state);
        }
        self.core.parameters().fill_model.hash(&mut state);
        state.finish()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        Ok((slf.get_type().into_any(), slf.get().arguments(py)?))
    }
}

const NAMES: [&str; 11] = [
    "volatility",
    "fill_rate",
    "fill_decay",
    "horizon_s",
    "risk_aversion",
    "unit",
    "adverse_bps",
    "adverse_decay_bps",
    "fee_bps",
    "fill_model",
    "depth_min_bps",
];

impl PyShape {
    fn floats(&self) -> [f64; 10] {
        let p = self.core.parameters();
        [
            p.volatility,
            p.fill_rate,
            p.fill_decay,
            p.horizon_s,
            p.risk_aversion,
            p.unit,
            p.adverse_bps,
            p.adverse_decay_bps,
            p.fee_bps,
            p.depth_min_bps,
        ]
    }

    /// Constructor arguments in the order of `NAMES`.
    fn arguments<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let p = self.core.parameters();
        (
            p.volatility,
            p.fill_rate,
            p.fill_decay,
            p.horizon_s,
            p.risk_aversion,
            p.unit,
            p.adverse_bps,
            p.adverse_decay_bps,
            p.fee_bps,
            fill_model_name(p.fill_model),
            p.depth_min_bps,
        )
            .into_pyobject(py)
    }

    fn inventory(&self, position: Option<&Bound<'_, PyAny>>, position_max: Option<&Bound<'_, PyAny>>) -> PyResult<f64> {
        let position = optional("position", position)?.unwrap_or(0.0);
        if !position.is_finite() {
            return Err(input("position", None, "finite", position));
        }
        let limit = optional("position_max", position_max)?.unwrap_or(f64::INFINITY);
        if limit.is_nan() || limit < 0.0 {
            return Err(input("position_max", None, "at least 0", limit));
        }
        Ok(self.core.inventory_q(position, limit))
    }
}

/// Levels of one side valued by the caller instead of a `Shape`.
///
/// Parameters
/// ----------
/// depth_bps
///     Distances from the mid in bps, shape (K,), 1 ≤ K ≤ 1000, finite; innermost first by custom. Order and duplicates are
///     kept.
/// fill_probability
///     Probability of a fill over the horizon, shape (K,), in [0, 1]; not a rate.
/// edge_bps
///     Edge of a fill net of fee and adverse selection, bps, shape (K,), finite. Where rounding to the tick moves a price
///     by some bps from its depth, the edge moves with it.
///
/// Raises
/// ------
/// InputError
///     Names the array and the index of the first value that does not fit.
///
/// Examples
/// --------
/// >>> import equipoise as eq
/// >>> len(eq.Levels([2, 4, 8], [0.9, 0.8, 0.6], [-1.8, 0.7, 5.4]))
/// 3
#[pyclass(frozen, eq, name = "Levels", module = "equipoise")]
#[derive(Clone, PartialEq)]
pub(crate) struct PyLevels {
    pub(crate) core: Levels,
}

#[pymethods]
impl PyLevels {
    #[new]
    fn new(
        depth_bps: &Bound<'_, PyAny>,
        fill_probability: &Bound<'_, PyAny>,
        edge_bps: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let depth = arrays::normalised("depth_bps", depth_bps)?;
        let probability = arrays::normalised("fill_probability", fill_probability)?;
        let edge = arrays::normalised("edge_bps", edge_bps)?;
        let core = Levels::new(depth.as_slice()?, probability.as_slice()?, edge.as_slice()?).map_err(from_core)?;
        Ok(Self { core })
    }

    #[getter]
    fn depth_bps<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        arrays::owned(py, self.core.depth_bps())
    }

    #[getter]
    fn fill_probability<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        arrays::owned(py, self.core.fill_probability())
    }

    #[getter]
    fn edge_bps<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        arrays::owned(py, self.core.edge_bps())
    }

    fn __len__(&self) -> usize {
        self.core.count()
    }

    fn __repr__(&self) -> String {
        format!(
            "Levels(depth_bps={:?}, fill_probability={:?}, edge_bps={:?})",
            self.core.depth_bps(),
            self.core.fill_probability(),
            self.core.edge_bps()
        )
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let levels = slf.get();
        let arguments = (levels.depth_bps(py), levels.fill_probability(py), levels.edge_bps(py)).into_pyobject(py)?;
        Ok((slf.get_type().into_any(), arguments))
    }
}

fn fill_model_of(name: &Bound<'_, PyAny>) -> PyResult<FillModel> {
    match name.cast::<PyString>().ok().and_then(|text| text.to_cow().ok()).as_deref() {
        Some("intensity") => Ok(FillModel::Intensity),
        Some("first_passage") => Ok(FillModel::FirstPassage),
        _ => Err(input("fill_model", None, "\"intensity\" or \"first_passage\"", arrays::show(name))),
    }
}

fn fill_model_name(model: FillModel) -> &'static str {
    match model {
        FillModel::Intensity => "intensity",
        FillModel::FirstPassage => "first_passage",
    }
}

fn spacing_of(outer_bps: Option<f64>, step_bps: Option<f64>, ratio: Option<f64>) -> PyResult<DepthSpacing> {
    let spacing = match (outer_bps, step_bps, ratio) {
        (Some(outer_bps), None, None) => DepthSpacing::Geometric { outer_bps },
        (None, Some(step_bps), None) => DepthSpacing::Linear { step_bps },
        (None, Some(step_bps), Some(ratio)) => DepthSpacing::Growing { step_bps, ratio },
        _ => return Err(input("spacing", None, "one of outer_bps, step_bps, or step_bps with ratio", "another mix")),
    };
    spacing.check().map_err(from_core)?;
    Ok(spacing)
}

fn optional(argument: &str, value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<f64>> {
    value.map(|value| arrays::number(argument, value)).transpose()
}

fn positive(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    let value = arrays::number(argument, value)?;
    if value > 0.0 && value <= 1e18 { Ok(value) } else { Err(input(argument, None, "in (0, 1e18]", value)) }
}

/// Applies `of` to a float (giving a float) or to an array (giving a new read-only array).
fn map_depths<'py>(
    py: Python<'py>,
    depth_bps: &Bound<'py, PyAny>,
    of: impl Fn(f64) -> f64,
) -> PyResult<Bound<'py, PyAny>> {
    let checked = |index: Option<usize>, depth: f64| {
        if depth.is_finite() { Ok(depth) } else { Err(input("depth_bps", index, "finite", depth)) }
    };
    if let Ok(depth) = arrays::number("depth_bps", depth_bps) {
        return Ok(of(checked(None, depth)?).into_pyobject(py)?.into_any());
    }
    let depths = arrays::normalised("depth_bps", depth_bps)?;
    let mut values = Vec::with_capacity(depths.len()?);
    for (index, &depth) in depths.as_slice()?.iter().enumerate() {
        values.push(of(checked(Some(index), depth)?));
    }
    Ok(arrays::owned(py, &values).into_any())
}
