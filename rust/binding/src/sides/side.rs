//! What is stated of one side: `SideProblem`, `Saturation`; and `Inventory`, the price of what fills would leave.

use std::sync::{Arc, Mutex, PoisonError};

use equipoise::entropy::Bound as LevelBound;
use equipoise::sides::{self, Budget, Multipliers, Side, Sides, SidesSolver};
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::problem::{AMOUNT, is_amount};
use super::{Levels, Passed, Values};
use crate::arrays::{copied, flag, instance, number, owned, show};
use crate::error::{from_core, input};

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PySideProblem>()?;
    module.add_class::<PySaturation>()?;
    module.add_class::<PyInventory>()
}

/// Everything of a side that stays when utilities move.
pub(super) struct Structure {
    margin: Box<[f64]>,
    margin_array: PyOnceLock<Py<PyArray1<f64>>>,
    entropy_min: f64,
    size_max: f64,
    share_floor: Levels,
    share_cap: Levels,
    size_cap: Levels,
    fill_probability: Levels,
    saturation: Option<Py<PySaturation>>,
    /// Buffers of the last call, for the next: they change how long a solve takes, not its answer.
    buffers: Mutex<Option<Box<SidesSolver>>>,
}

/// A side of more levels gives its buffers back to the system.
const BUFFERED_LEVELS_MAX: usize = 4096;

impl Structure {
    fn same(&self, other: &Self) -> bool {
        let plain = |s: &Self| (s.entropy_min, s.size_max);
        let levels =
            |s: &Self| [&s.share_floor, &s.share_cap, &s.size_cap, &s.fill_probability].map(|l| l.values.clone());
        let saturation = |s: &Self| s.saturation.as_ref().map(|s| (s.get().kind, s.get().scale.values.clone()));
        self.margin == other.margin
            && plain(self) == plain(other)
            && levels(self) == levels(other)
            && saturation(self) == saturation(other)
    }
}

/// One side of a quote: what its levels are worth, what they take, and what limits them.
///
/// The arrays are checked and copied once. `moved` gives the same side with other utilities and shares all else.
///
/// Parameters
/// ----------
/// utility : array_like
///     ``u``: expected value of one unit of size at each level, account currency per unit, shape (K,), K up to 1 048 576,
///     finite. A side without levels is stated by an empty array, and is ``BLOCKED``.
/// margin_per_unit : float or array_like
///     ``m``: margin that one unit of size holds at each level, account currency per unit; finite, not negative.
/// entropy_min : float
///     ``h``: entropy floor on the shares ``size / sum(size)``, nats, at most ``log(K)``. Zero or less means none; more than
///     the shares can reach makes the side ``INFEASIBLE_ENTROPY``, never a relaxation.
/// size_max : float
///     ``Q``: largest total of the side, units of size (contracts); finite, not negative.
/// share_floor, share_cap : float or array_like
///     Smallest and largest share of each level in the side's total: floor at least 0, cap from 0 to 1.
/// size_cap : float or array_like
///     Largest size of each level, units of size; not negative, ``inf`` for none.
/// fill_probability : float or array_like
///     ``lambda``: probability that a level fills within the horizon, from 0 to 1; not a rate. Only the price of inventory
///     looks at it: ``utility`` already contains it.
/// saturation : Saturation, optional
///     How the value of a level saturates with its size; linear when left out.
///
/// Raises
/// ------
/// InputError
///     An argument is malformed; the error names the argument, the index, the requirement.
///
/// Notes
/// -----
/// States ``-sum(s log(s / S)) >= h S``, ``share_floor S <= s <= share_cap S``, ``s <= size_cap``, ``S = sum(s) <= size_max``.
/// O(K) time and memory; `moved` copies the K utilities and nothing else.
///
/// Examples
/// --------
/// >>> import equipoise as eq
/// >>> bid = eq.SideProblem([0.01, 0.02, 0.01], 2.7, entropy_min=0.9, size_max=146.62)
/// >>> bid.levels, bid.share_cap, bid.margin_per_unit.tolist()
/// (3, 1.0, [2.7, 2.7, 2.7])
/// >>> bid.moved([0.03, 0.02, 0.01]).utility.tolist()
/// [0.03, 0.02, 0.01]
#[pyclass(frozen, module = "equipoise", name = "SideProblem")]
pub(crate) struct PySideProblem {
    pub(super) utility: Box<[f64]>,
    utility_array: PyOnceLock<Py<PyArray1<f64>>>,
    structure: Arc<Structure>,
}

#[pymethods]
impl PySideProblem {
    #[new]
    #[pyo3(
        signature = (utility, margin_per_unit, entropy_min, size_max, *, share_floor = Passed(None), share_cap = Passed(None),
            size_cap = Passed(None), fill_probability = Passed(None), saturation = None),
        text_signature = "(utility, margin_per_unit, entropy_min, size_max, *, share_floor=0.0, share_cap=1.0, \
            size_cap=math.inf, fill_probability=1.0, saturation=None)"
    )]
    #[allow(clippy::too_many_arguments, reason = "the public constructor, keyword by keyword")]
    fn new(
        utility: &Bound<'_, PyAny>,
        margin_per_unit: &Bound<'_, PyAny>,
        entropy_min: &Bound<'_, PyAny>,
        size_max: &Bound<'_, PyAny>,
        share_floor: Passed<'_>,
        share_cap: Passed<'_>,
        size_cap: Passed<'_>,
        fill_probability: Passed<'_>,
        saturation: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let utility = copied("utility", utility)?;
        let margin = match Levels::read("margin_per_unit", Some(margin_per_unit), 0.0)?.values {
            Values::Scalar(value) if !is_amount(value) => return Err(input("margin_per_unit", None, AMOUNT, value)),
            Values::Scalar(value) => vec![value; utility.len()].into(),
            Values::Each(values) => values,
        };
        let structure = Structure {
            margin,
            margin_array: PyOnceLock::new(),
            entropy_min: number("entropy_min", entropy_min)?,
            size_max: number("size_max", size_max)?,
            share_floor: Levels::read("share_floor", share_floor.0.as_ref(), 0.0)?,
            share_cap: Levels::read("share_cap", share_cap.0.as_ref(), 1.0)?,
            size_cap: Levels::read("size_cap", size_cap.0.as_ref(), f64::INFINITY)?,
            fill_probability: Levels::read("fill_probability", fill_probability.0.as_ref(), 1.0)?,
            saturation: match saturation {
                None => None,
                Some(value) => Some(instance("saturation", value, "a Saturation or None")?.clone().unbind()),
            },
            buffers: Mutex::new(None),
        };
        let side = Self { utility: utility.into(), utility_array: PyOnceLock::new(), structure: Arc::new(structure) };
        check(side.core(&side.utility))?;
        Ok(side)
    }

    /// The same side with other utilities; everything else is shared, nothing is read again.
    ///
    /// Parameters
    /// ----------
    /// utility : array_like
    ///     As many as before, finite, account currency per unit of size.
    ///
    /// Returns
    /// -------
    /// SideProblem
    ///     A new side; this one stays as it is.
    ///
    /// Raises
    /// ------
    /// InputError
    ///     The utilities are not finite numbers, or not as many as before.
    fn moved(&self, utility: &Bound<'_, PyAny>) -> PyResult<Self> {
        let utility = copied("utility", utility)?;
        self.fits("utility", &utility)?;
        if let Some(index) = utility.iter().position(|value| !value.is_finite()) {
            return Err(input("utility", Some(index), "finite", utility[index]));
        }
        Ok(Self { utility: utility.into(), utility_array: PyOnceLock::new(), structure: self.structure.clone() })
    }

    /// Number of levels, K.
    #[getter]
    fn levels(&self) -> usize {
        self.utility.len()
    }

    /// Value of one unit of size at each level, account currency; read-only, shape (K,).
    #[getter]
    fn utility<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.utility_array.get_or_init(py, || owned(py, &self.utility).unbind()).bind(py).clone()
    }

    /// Margin of one unit of size at each level, account currency; read-only, shape (K,).
    #[getter]
    fn margin_per_unit<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.structure.margin_array.get_or_init(py, || owned(py, &self.structure.margin).unbind()).bind(py).clone()
    }

    /// Entropy floor in nats.
    #[getter]
    fn entropy_min(&self) -> f64 {
        self.structure.entropy_min
    }

    /// Largest total of the side, units of size.
    #[getter]
    fn size_max(&self) -> f64 {
        self.structure.size_max
    }

    /// Smallest share of each level: a float, or a read-only array of shape (K,), as it was given.
    #[getter]
    fn share_floor<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.structure.share_floor.show(py)
    }

    /// Largest share of each level: a float, or a read-only array of shape (K,), as it was given.
    #[getter]
    fn share_cap<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.structure.share_cap.show(py)
    }

    /// Largest size of each level: a float, or a read-only array of shape (K,), as it was given.
    #[getter]
    fn size_cap<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.structure.size_cap.show(py)
    }

    /// Fill probability of each level: a float, or a read-only array of shape (K,), as it was given.
    #[getter]
    fn fill_probability<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.structure.fill_probability.show(py)
    }

    /// How the value of a level saturates, or None.
    #[getter]
    fn saturation(&self, py: Python<'_>) -> Option<Py<PySaturation>> {
        self.structure.saturation.as_ref().map(|saturation| saturation.clone_ref(py))
    }

    fn __len__(&self) -> usize {
        self.utility.len()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.same(other.get()))
    }

    fn __repr__(&self) -> String {
        let Structure { entropy_min, size_max, .. } = &*self.structure;
        format!("SideProblem(levels={}, entropy_min={entropy_min:?}, size_max={size_max:?})", self.utility.len())
    }

    /// Problems never change, so a copy is the problem itself.
    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let side = slf.get();
        let options = PyDict::new(py);
        options.set_item("share_floor", side.share_floor(py))?;
        options.set_item("share_cap", side.share_cap(py))?;
        options.set_item("size_cap", side.size_cap(py))?;
        options.set_item("fill_probability", side.fill_probability(py))?;
        options.set_item("saturation", side.saturation(py))?;
        let arguments = (side.utility(py), side.margin_per_unit(py), side.entropy_min(), side.size_max());
        Ok((rebuild(slf.get_type().as_any(), &options)?, arguments.into_pyobject(py)?))
    }
}

impl PySideProblem {
    pub(super) fn same(&self, other: &Self) -> bool {
        let shared = Arc::ptr_eq(&self.structure, &other.structure);
        self.utility == other.utility && (shared || self.structure.same(&other.structure))
    }

    /// Refuses utilities of another number of levels.
    pub(super) fn fits(&self, argument: &str, utility: &[f64]) -> PyResult<()> {
        let levels = self.structure.margin.len();
        if utility.len() == levels {
            return Ok(());
        }
        Err(input(argument, None, &format!("a row of {levels} levels"), format_args!("{} values", utility.len())))
    }

    /// A solver for one call: the one that the last call left, or a new one.
    pub(super) fn solver(&self) -> Box<SidesSolver> {
        let left = self.structure.buffers.lock().unwrap_or_else(PoisonError::into_inner).take();
        left.unwrap_or_default()
    }

    /// Leaves a solver for the next call.
    pub(super) fn leave(&self, solver: Box<SidesSolver>) {
        if self.utility.len() <= BUFFERED_LEVELS_MAX {
            *self.structure.buffers.lock().unwrap_or_else(PoisonError::into_inner) = Some(solver);
        }
    }

    /// The side as the core reads it, with these utilities.
    pub(super) fn core<'a>(&'a self, utility: &'a [f64]) -> Side<'a> {
        let structure = &*self.structure;
        Side {
            utility,
            margin: &structure.margin,
            fill_probability: structure.fill_probability.bound(),
            entropy_min: structure.entropy_min,
            share_floor: structure.share_floor.bound(),
            share_cap: structure.share_cap.bound(),
            size_cap: structure.size_cap.bound(),
            size_max: structure.size_max,
            saturation: structure.saturation.as_ref().map_or(sides::Saturation::None, |s| s.get().core()),
        }
    }
}

/// A side on its own, checked by the core beside one that has no levels. The core names the arguments of a side by the side
/// it stands on; here it stands on none.
fn check(bid: Side<'_>) -> PyResult<()> {
    let ask = Side {
        utility: &[],
        margin: &[],
        fill_probability: LevelBound::Scalar(0.0),
        share_floor: LevelBound::Scalar(0.0),
        share_cap: LevelBound::Scalar(1.0),
        size_cap: LevelBound::Scalar(f64::INFINITY),
        entropy_min: 0.0,
        size_max: 0.0,
        saturation: sides::Saturation::None,
    };
    let budget = Budget { side: [0.0; 2], total: 0.0 };
    let problem = Sides { side: [bid, ask], budget, bid_share: None, inventory: None };
    let nothing = vec![0.0; bid.utility.len()];
    match sides::certify(&problem, [&nothing, &[]], &Multipliers::default()) {
        Ok(_) => Ok(()),
        Err(mut error) => {
            error.argument = error.argument.strip_prefix("bid.").unwrap_or(error.argument);
            Err(from_core(error))
        }
    }
}

/// What a pickle calls: the class with its keywords bound.
pub(super) fn rebuild<'py>(class: &Bound<'py, PyAny>, keywords: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
    class.py().import("functools")?.getattr("partial")?.call((class,), Some(keywords))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exponential,
    Log,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Exponential => "exponential",
            Self::Log => "log",
        }
    }
}

/// Value of a level that grows less and less with its size.
///
/// Parameters
/// ----------
/// kind : {"exponential", "log"}
///     ``u c (1 - exp(-s / c))``, bounded by ``u c``; or ``u c log(1 + s / c)``, which grows on.
/// scale : float or array_like
///     ``c``: size over which the value of a level bends, units of size; finite and positive, one for all levels or shape
///     (K,).
///
/// Raises
/// ------
/// InputError
///     The kind is not one of the two, or a scale is not finite and positive.
///
/// Notes
/// -----
/// Both have slope ``u`` at zero, so that ``c`` to infinity gives the linear value. Levels of negative utility stay linear:
/// a concave loss would make the problem non-convex.
///
/// Examples
/// --------
/// >>> import equipoise as eq
/// >>> eq.Saturation("log", 20.0)
/// Saturation('log', 20.0)
#[pyclass(frozen, module = "equipoise", name = "Saturation")]
pub(crate) struct PySaturation {
    kind: Kind,
    scale: Levels,
}

#[pymethods]
impl PySaturation {
    #[new]
    fn new(kind: &Bound<'_, PyAny>, scale: &Bound<'_, PyAny>) -> PyResult<Self> {
        const REQUIREMENT: &str = "finite and positive";
        let kind = match kind.cast::<PyString>().ok().and_then(|text| text.to_cow().ok()).as_deref() {
            Some("exponential") => Kind::Exponential,
            Some("log") => Kind::Log,
            _ => return Err(input("kind", None, "\"exponential\" or \"log\"", show(kind))),
        };
        let scale = Levels::read("scale", Some(scale), 0.0)?;
        let bad = |value: &f64| !(*value > 0.0 && value.is_finite());
        match &scale.values {
            Values::Scalar(value) if bad(value) => return Err(input("scale", None, REQUIREMENT, value)),
            Values::Each(values) => {
                if let Some(index) = values.iter().position(bad) {
                    return Err(input("scale", Some(index), REQUIREMENT, values[index]));
                }
            }
            Values::Scalar(_) => (),
        }
        Ok(Self { kind, scale })
    }

    /// "exponential" or "log".
    #[getter]
    fn kind(&self) -> &'static str {
        self.kind.name()
    }

    /// Size over which the value bends: a float, or a read-only array of shape (K,), as it was given.
    #[getter]
    fn scale<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.scale.show(py)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| {
            let other = other.get();
            self.kind == other.kind && self.scale.values == other.scale.values
        })
    }

    fn __repr__(&self) -> String {
        match &self.scale.values {
            Values::Scalar(scale) => format!("Saturation('{}', {scale:?})", self.kind.name()),
            Values::Each(scale) => format!("Saturation('{}', {scale:?})", self.kind.name()),
        }
    }

    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let arguments = (slf.get().kind(), slf.get().scale(py));
        Ok((slf.get_type().into_any(), arguments.into_pyobject(py)?))
    }
}

impl PySaturation {
    fn core(&self) -> sides::Saturation<'_> {
        match self.kind {
            Kind::Exponential => sides::Saturation::Exponential(self.scale.bound()),
            Kind::Log => sides::Saturation::Log(self.scale.bound()),
        }
    }
}

/// The price of the position that fills would leave: the lean towards reducing a position emerges from it.
///
/// Parameters
/// ----------
/// position : float
///     ``q``: units of size, long positive; finite.
/// price_of_risk : float
///     ``eta = gamma_c (sigma price)^2 tau``: account currency per squared unit of size; finite, not negative. See
///     `Shape.price_of_risk`.
/// fill_variance : bool
///     Also charge the variance of each fill. Off: only the expected position counts.
///
/// Raises
/// ------
/// InputError
///     An argument is not a number in its range.
///
/// Notes
/// -----
/// Subtracts ``eta/2 (q + sum(lambda s) over bids - sum(lambda s) over asks)^2`` from the objective, and with
/// `fill_variance` also ``eta/2 sum(lambda (1 - lambda) s^2)``.
///
/// Examples
/// --------
/// >>> import equipoise as eq
/// >>> eq.Inventory(40.0, 2.2049e-5)
/// Inventory(40.0, 2.2049e-5, fill_variance=False)
#[pyclass(frozen, eq, module = "equipoise", name = "Inventory")]
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct PyInventory {
    /// Units of size, long positive.
    #[pyo3(get)]
    pub(super) position: f64,
    /// Account currency per squared unit of size.
    #[pyo3(get)]
    pub(super) price_of_risk: f64,
    /// Whether the variance of each fill is charged too.
    #[pyo3(get)]
    pub(super) fill_variance: bool,
}

#[pymethods]
impl PyInventory {
    #[new]
    #[pyo3(
        signature = (position, price_of_risk, *, fill_variance = Passed(None)),
        text_signature = "(position, price_of_risk, *, fill_variance=False)"
    )]
    fn new(position: &Bound<'_, PyAny>, price_of_risk: &Bound<'_, PyAny>, fill_variance: Passed<'_>) -> PyResult<Self> {
        let position = number("position", position)?;
        if !position.is_finite() {
            return Err(input("position", None, "finite", position));
        }
        let price_of_risk = number("price_of_risk", price_of_risk)?;
        if !(0.0..f64::INFINITY).contains(&price_of_risk) {
            return Err(input("price_of_risk", None, "finite and not negative", price_of_risk));
        }
        let fill_variance = match fill_variance.0 {
            None => false,
            Some(value) => flag("fill_variance", None, &value)?,
        };
        Ok(Self { position, price_of_risk, fill_variance })
    }

    fn __repr__(&self) -> String {
        let Self { position, price_of_risk, fill_variance } = self;
        let fill_variance = if *fill_variance { "True" } else { "False" };
        format!("Inventory({position:?}, {price_of_risk:?}, fill_variance={fill_variance})")
    }

    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let inventory = slf.get();
        let options = PyDict::new(py);
        options.set_item("fill_variance", inventory.fill_variance)?;
        let arguments = (inventory.position, inventory.price_of_risk).into_pyobject(py)?;
        Ok((rebuild(slf.get_type().as_any(), &options)?, arguments))
    }
}

impl PyInventory {
    pub(super) fn core(&self) -> sides::Inventory {
        let Self { position, price_of_risk, fill_variance } = *self;
        sides::Inventory { position, price_of_risk, fill_variance }
    }
}
