//! `solve_side`: problem P1 from Python.
//!
//! One call costs about as much as the solve, so the arguments are read without a detour, the result keeps the shares as
//! they are, and the array a caller sees is made when it is asked for. The interpreter lock is kept throughout.

use equipoise::entropy::{Bound as ShareBound, SideProblem, SideSolution, SideSolver};
use equipoise::status::Status;
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyFloat;

use crate::arrays::{normalised, number, owned};
use crate::error::from_core;

/// The answer of `solve_side`.
///
/// Attributes
/// ----------
/// status : Status
///     ``OPTIMAL``, ``INACCURATE``, or why no shares meet the constraints.
/// share : numpy.ndarray
///     Read-only float64 shares in the order of the utilities. They sum to one, or are all zero when the problem is
///     infeasible.
/// objective : float
///     ``utility @ share``, in the unit of the utilities. NaN when infeasible.
/// entropy, entropy_max : float
///     Entropy of the shares, and the largest entropy that floors and caps admit, in nats.
/// temperature : float
///     What one more nat of entropy costs: 0 when the entropy floor is slack, ``inf`` when it leaves a single point.
/// dual_bound : float
///     No feasible shares have a larger objective; computed from the multipliers alone.
/// gap : float
///     ``dual_bound - objective``, never negative; at most ``1e-9 * max|utility|`` when optimal.
/// violation : float
///     Largest amount by which any constraint is missed; at most 1e-12 when optimal.
/// iterations : int
///     Evaluations of the shares at a temperature.
#[pyclass(frozen, module = "equipoise", name = "SideResult")]
pub(crate) struct SideResult {
    solution: SideSolution,
    share: Vec<f64>,
    array: PyOnceLock<Py<PyArray1<f64>>>,
}

#[pymethods]
impl SideResult {
    /// Results never change, so a copy is the result itself.
    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    #[getter]
    fn status(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        status_member(py, self.solution.status)
    }

    #[getter]
    fn share<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.array.get_or_init(py, || owned(py, &self.share).unbind()).bind(py).clone()
    }

    #[getter]
    fn objective(&self) -> f64 {
        self.solution.objective
    }

    #[getter]
    fn entropy(&self) -> f64 {
        self.solution.entropy
    }

    #[getter]
    fn entropy_max(&self) -> f64 {
        self.solution.entropy_max
    }

    #[getter]
    fn temperature(&self) -> f64 {
        self.solution.temperature
    }

    #[getter]
    fn dual_bound(&self) -> f64 {
        self.solution.dual_bound
    }

    #[getter]
    fn gap(&self) -> f64 {
        self.solution.gap
    }

    #[getter]
    fn violation(&self) -> f64 {
        self.solution.violation
    }

    #[getter]
    fn iterations(&self) -> u32 {
        self.solution.iterations
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| {
            let other = other.get();
            self.share == other.share && bits(&self.solution) == bits(&other.solution)
        })
    }

    fn __repr__(&self) -> String {
        let SideSolution { status, objective, entropy, temperature, gap, violation, .. } = self.solution;
        format!(
            "SideResult(status={}, levels={}, objective={objective:?}, entropy={entropy:?}, temperature={temperature:?}, \
             gap={gap:?}, violation={violation:?})",
            status_name(status),
            self.share.len()
        )
    }
}

/// Everything that makes two solutions the same, NaN included.
fn bits(solution: &SideSolution) -> (Status, u32, [u64; 8]) {
    let s = solution;
    let figures =
        [s.objective, s.entropy, s.entropy_max, s.temperature, s.normaliser, s.dual_bound, s.gap, s.violation];
    (s.status, s.iterations, figures.map(f64::to_bits))
}

/// A bound as the caller gave it.
enum Given<'py> {
    Scalar(f64),
    Each(PyReadonlyArray1<'py, f64>),
}

impl<'py> Given<'py> {
    fn read(argument: &str, value: Option<&Bound<'py, PyAny>>, default: f64) -> PyResult<Self> {
        let Some(value) = value else { return Ok(Self::Scalar(default)) };
        if let Ok(float) = value.cast::<PyFloat>() {
            return Ok(Self::Scalar(float.extract()?));
        }
        match number(argument, value) {
            Ok(scalar) => Ok(Self::Scalar(scalar)),
            Err(_) => Ok(Self::Each(normalised(argument, value)?)),
        }
    }

    fn bound(&self) -> PyResult<ShareBound<'_>> {
        Ok(match self {
            Self::Scalar(value) => ShareBound::Scalar(*value),
            Self::Each(values) => ShareBound::Each(values.as_slice()?),
        })
    }
}

/// An argument that was passed, whatever it is; `None` the object is not `None` the absence.
struct Passed<'py>(Option<Bound<'py, PyAny>>);

impl<'py> FromPyObject<'_, 'py> for Passed<'py> {
    type Error = std::convert::Infallible;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> Result<Self, Self::Error> {
        Ok(Self(Some(value.to_owned())))
    }
}

/// Shares of one side's size over its levels: the most valuable that keep an entropy floor.
///
/// Maximises ``utility @ share`` over shares that sum to one, lie between ``floor`` and ``cap``, and have at least the
/// entropy ``entropy_min``. Exact to the stated gap; the same input gives the same bits on the same machine.
///
/// Parameters
/// ----------
/// utility : array_like
///     Value of one unit of size at each level, shape (K,), K from 1 to 1 048 576, finite, any unit.
/// entropy_min : float
///     Entropy floor in nats; at most ``log(K)``. Zero or less means none. Within 1e-12 of the largest entropy it counts
///     as equal to it.
/// floor, cap : float or array_like
///     Smallest and largest share of each level: ``floor`` at least 0, ``cap`` from 0 to 1.
///
/// Returns
/// -------
/// SideResult
///     Shares with a certificate. An infeasible problem is a status with zero shares, never a relaxation.
///
/// Raises
/// ------
/// InputError
///     An argument is malformed; the error names the argument, the index, the requirement.
///
/// Notes
/// -----
/// ``share = clip(exp((utility - nu) / T), floor, cap)`` with ``T`` and ``nu`` the multipliers of the entropy floor and of
/// the sum. O(K) per iteration, a few iterations; O(K log K) where the entropy floor is slack.
///
/// Examples
/// --------
/// >>> import equipoise as eq
/// >>> result = eq.solve_side([3.0, 2.0, 1.0], entropy_min=1.0)
/// >>> result.status, result.share.round(3).tolist()
/// (<Status.OPTIMAL: 'optimal'>, [0.529, 0.3, 0.171])
#[pyfunction]
#[pyo3(
    signature = (utility, *, entropy_min, floor = Passed(None), cap = Passed(None)),
    text_signature = "(utility, *, entropy_min, floor=0.0, cap=1.0)"
)]
fn solve_side(
    utility: &Bound<'_, PyAny>,
    entropy_min: &Bound<'_, PyAny>,
    floor: Passed<'_>,
    cap: Passed<'_>,
) -> PyResult<SideResult> {
    let utility = normalised("utility", utility)?;
    let floor = Given::read("floor", floor.0.as_ref(), 0.0)?;
    let cap = Given::read("cap", cap.0.as_ref(), 1.0)?;
    let problem = SideProblem {
        utility: utility.as_slice()?,
        entropy_min: number("entropy_min", entropy_min)?,
        floor: floor.bound()?,
        cap: cap.bound()?,
    };
    let mut solver = SideSolver::new();
    let solution = solver.solve(&problem).map_err(from_core)?;
    Ok(SideResult { solution, share: solver.into_share(), array: PyOnceLock::new() })
}

fn status_name(status: Status) -> &'static str {
    match status {
        Status::Optimal => "OPTIMAL",
        Status::InfeasibleFloorSum => "INFEASIBLE_FLOOR_SUM",
        Status::InfeasibleCapSum => "INFEASIBLE_CAP_SUM",
        Status::InfeasibleFloorAboveCap => "INFEASIBLE_FLOOR_ABOVE_CAP",
        Status::InfeasibleEntropy => "INFEASIBLE_ENTROPY",
        Status::Inaccurate => "INACCURATE",
    }
}

/// The member of the Python enumeration.
pub(crate) fn status_member(py: Python<'_>, status: Status) -> PyResult<Py<PyAny>> {
    static MEMBERS: [PyOnceLock<Py<PyAny>>; 6] = [const { PyOnceLock::new() }; 6];
    let member = MEMBERS[status as usize].get_or_try_init(py, || {
        Ok::<_, PyErr>(py.import("equipoise.status")?.getattr("Status")?.getattr(status_name(status))?.unbind())
    })?;
    Ok(member.clone_ref(py))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<SideResult>()?;
    module.add_function(wrap_pyfunction!(solve_side, module)?)
}
