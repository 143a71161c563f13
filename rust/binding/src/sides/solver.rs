//! `solve_sides`, `certify`, and `Solver`, which keeps its buffers.

use std::sync::{Mutex, PoisonError};

use equipoise::sides::{self, SidesSolver};
use pyo3::prelude::*;

use super::Passed;
use super::problem::{Margin, PySidesProblem, Terms, side_of, stated};
use super::result::{PyMultipliers, PySidesCertificate, PySidesResult};
use super::side::PyInventory;
use crate::arrays::{copied, instance, number, show};
use crate::error::{from_core, input};

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PySolver>()?;
    module.add_function(wrap_pyfunction!(solve_sides, module)?)?;
    module.add_function(wrap_pyfunction!(certify, module)?)
}

/// The most valuable pair of ladders that one margin carries, each with an entropy floor.
///
/// Parameters
/// ----------
/// bid, ask : SideProblem
///     The two sides; they may have different numbers of levels.
/// margin : float or (float, float)
///     What the orders may hold, account currency; a pair (bid, ask) under ``combine="worst_side"`` only.
/// combine : {"sum", "worst_side"}
///     One pot for both sides, or the larger side counts.
/// bid_share : (float, float), optional
///     Bounds on the bids' part of the total size.
/// inventory : Inventory, optional
///     Position and price of risk. Without it, and without a bound on the share, all margin goes to the side with more value
///     per margin.
/// closing_credit : (float, float)
///     Margin that closing bids and asks need not hold. See `SidesProblem` for each of these.
///
/// Returns
/// -------
/// SidesResult
///     Sizes with a certificate: within the stated gap of the best, whatever path the search took. A side that cannot be quoted
///     is empty and says why; the problem itself is never infeasible.
///
/// Raises
/// ------
/// InputError
///     An argument is malformed; the error names the argument, the index, the requirement.
///
/// Notes
/// -----
/// Maximises ``sum(U(s)) - eta/2 (q + sum(lambda s) over bids - sum(lambda s) over asks)^2`` over sizes ``s`` of both sides,
/// where each side keeps ``-sum(s log(s / S)) >= h S`` with ``S = sum(s)``, its shares within floors and caps, its sizes within
/// caps, its total within `size_max`, and both hold what `SidesProblem` allows. The program is convex. O(K) a step; where the
/// structure stays and utilities move, `Solver` is quicker. The interpreter lock is kept.
///
/// Examples
/// --------
/// >>> import equipoise as eq
/// >>> bid = eq.SideProblem([0.03, 0.02, 0.01], 2.7, entropy_min=0.9, size_max=100.0)
/// >>> result = eq.solve_sides(bid, bid.moved([0.02, 0.02, 0.01]), margin=400.0, inventory=eq.Inventory(0.0, 1e-5))
/// >>> result.status, result.bid_status, bool(result.bid_size.sum() > result.ask_size.sum())
/// (<SidesStatus.OPTIMAL: 'optimal'>, <SideStatus.QUOTED: 'quoted'>, True)
#[pyfunction]
#[pyo3(
    signature = (bid, ask, *, margin, combine = Passed(None), bid_share = None, inventory = None,
        closing_credit = Passed(None)),
    text_signature = "(bid, ask, *, margin, combine='sum', bid_share=None, inventory=None, closing_credit=(0.0, 0.0))"
)]
fn solve_sides(
    bid: &Bound<'_, PyAny>,
    ask: &Bound<'_, PyAny>,
    margin: &Bound<'_, PyAny>,
    combine: Passed<'_>,
    bid_share: Option<&Bound<'_, PyAny>>,
    inventory: Option<&Bound<'_, PyAny>>,
    closing_credit: Passed<'_>,
) -> PyResult<PySidesResult> {
    let (bid, ask) = (side_of("bid", bid)?.get(), side_of("ask", ask)?.get());
    let terms = Terms::read(margin, combine.0.as_ref(), bid_share, inventory, closing_credit.0.as_ref())?;
    let mut solver = bid.solver();
    let solution = solver.solve(&stated([bid, ask], [&bid.utility, &ask.utility], &terms)).map_err(from_core)?;
    let result = PySidesResult::of(solution, &solver);
    bid.leave(solver);
    Ok(result)
}

/// What a pair of ladders is worth and the most that any could be: bounds the regret of any ladders, rounded ones included.
///
/// Parameters
/// ----------
/// problem : SidesProblem
///     What the ladders are for.
/// sizes : (array_like, array_like)
///     Sizes of the bids and of the asks, shape (K,) of each side, units of size; finite, not negative. They need not be
///     feasible: how far they are from it is the violation.
/// multipliers : SidesResult or Multipliers, optional
///     What proves the bound. Any multipliers prove a true one; those of an answer to the same problem prove a tight one. Left
///     out, the problem is solved first to get them.
///
/// Returns
/// -------
/// SidesCertificate
///     Computed from the statement of the problem, the sizes and the multipliers alone, by code independent of the search.
///
/// Raises
/// ------
/// InputError
///     Sizes or multipliers do not fit the problem.
///
/// Notes
/// -----
/// Weak duality: ``mu M + gamma C + nu^2 / (2 eta) - nu q`` plus the most that the two totals could be worth at those prices.
/// O(K).
///
/// Examples
/// --------
/// >>> import equipoise as eq
/// >>> bid = eq.SideProblem([0.03, 0.02, 0.01], 2.7, entropy_min=0.9, size_max=100.0)
/// >>> problem = eq.SidesProblem(bid, bid, margin=400.0, inventory=eq.Inventory(0.0, 1e-5))
/// >>> result = eq.solve_sides(bid, bid, margin=400.0, inventory=problem.inventory)
/// >>> certificate = eq.certify(problem, (0.9 * result.bid_size, 0.9 * result.ask_size), result)
/// >>> round(certificate.relative_gap, 2), certificate.violation < 1e-9
/// (0.11, True)
#[pyfunction]
#[pyo3(signature = (problem, sizes, multipliers = None))]
fn certify(
    problem: &Bound<'_, PyAny>,
    sizes: &Bound<'_, PyAny>,
    multipliers: Option<&Bound<'_, PyAny>>,
) -> PyResult<PySidesCertificate> {
    const PAIR: &str = "a pair (bid sizes, ask sizes)";
    let problem = instance::<PySidesProblem>("problem", problem, "a SidesProblem")?.get();
    let (bid, ask) =
        sizes.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>().map_err(|_| input("sizes", None, PAIR, show(sizes)))?;
    let (bid, ask) = (copied("sizes[0]", &bid)?, copied("sizes[1]", &ask)?);
    let [bids, asks] = problem.sides();
    bids.fits("sizes[0]", &bid)?;
    asks.fits("sizes[1]", &ask)?;
    let stated = problem.core();
    let certificate = match multipliers {
        None => {
            let mut solver = SidesSolver::new();
            solver.solve(&stated).map_err(from_core)?;
            sides::certify(&stated, [&bid, &ask], solver.multipliers())
        }
        Some(given) => {
            if let Ok(result) = given.cast::<PySidesResult>() {
                sides::certify(&stated, [&bid, &ask], &result.get().multipliers)
            } else {
                let given = instance::<PyMultipliers>("multipliers", given, "a SidesResult, its multipliers, or None")?;
                sides::certify(&stated, [&bid, &ask], &given.get().core)
            }
        }
    };
    match certificate {
        Ok(core) => Ok(PySidesCertificate { core }),
        Err(mut error) => {
            error.argument = match error.argument {
                "bid_size" => "sizes[0]",
                "ask_size" => "sizes[1]",
                other => other,
            };
            Err(from_core(error))
        }
    }
}

/// Solves one problem again and again as its utilities, margin or position move.
///
/// The structure is read once, the buffers are kept. Every call stands on its own: what is left out is as the problem states
/// it, not as the last call did.
///
/// Parameters
/// ----------
/// problem : SidesProblem
///     Structure, and the values of what a call leaves out.
///
/// Raises
/// ------
/// InputError
///     The argument is not a `SidesProblem`.
///
/// Notes
/// -----
/// Threads may share a solver: they take turns. Two solvers never wait for each other.
///
/// Examples
/// --------
/// >>> import equipoise as eq
/// >>> bid = eq.SideProblem([0.03, 0.02, 0.01], 2.7, entropy_min=0.9, size_max=100.0)
/// >>> solver = eq.Solver(eq.SidesProblem(bid, bid, margin=400.0, inventory=eq.Inventory(0.0, 1e-5)))
/// >>> flat, long = solver.solve(), solver.solve(position=80.0)
/// >>> bool(long.bid_size.sum() < flat.bid_size.sum())
/// True
#[pyclass(frozen, module = "equipoise", name = "Solver")]
pub(crate) struct PySolver {
    problem: Py<PySidesProblem>,
    /// Held for one solve, which touches no Python object.
    solver: Mutex<SidesSolver>,
}

#[pymethods]
impl PySolver {
    #[new]
    fn new(problem: &Bound<'_, PyAny>) -> PyResult<Self> {
        let problem = instance::<PySidesProblem>("problem", problem, "a SidesProblem")?.clone().unbind();
        Ok(Self { problem, solver: Mutex::new(SidesSolver::new()) })
    }

    /// The problem whose structure is solved.
    #[getter]
    fn problem(&self, py: Python<'_>) -> Py<PySidesProblem> {
        self.problem.clone_ref(py)
    }

    /// The best ladders for new utilities, margin or position.
    ///
    /// Parameters
    /// ----------
    /// bid_utility, ask_utility : array_like, optional
    ///     As many as the side has levels, finite, account currency per unit of size.
    /// margin : float or (float, float), optional
    ///     As in `SidesProblem`, by the same rule.
    /// position : float, optional
    ///     Position in units of size, long positive, for a problem with inventory.
    ///
    /// Returns
    /// -------
    /// SidesResult
    ///     As `solve_sides` would return, to the same gap.
    ///
    /// Raises
    /// ------
    /// InputError
    ///     An argument is malformed, or a position is given where the problem has no inventory.
    #[pyo3(signature = (bid_utility = None, ask_utility = None, *, margin = None, position = None))]
    fn solve(
        &self,
        bid_utility: Option<&Bound<'_, PyAny>>,
        ask_utility: Option<&Bound<'_, PyAny>>,
        margin: Option<&Bound<'_, PyAny>>,
        position: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PySidesResult> {
        let problem = self.problem.get();
        let [bids, asks] = problem.sides();
        let bid_utility = bid_utility.map(|value| copied("bid_utility", value)).transpose()?;
        let ask_utility = ask_utility.map(|value| copied("ask_utility", value)).transpose()?;
        let mut terms = problem.terms;
        if let Some(margin) = margin {
            terms.margin = Margin::read("margin", margin, terms.combine)?;
        }
        if let Some(position) = position {
            terms.inventory = Some(moved(terms.inventory, position)?);
        }
        let bid_utility = match &bid_utility {
            None => &bids.utility[..],
            Some(given) => given,
        };
        let ask_utility = match &ask_utility {
            None => &asks.utility[..],
            Some(given) => given,
        };
        bids.fits("bid_utility", bid_utility)?;
        asks.fits("ask_utility", ask_utility)?;
        let stated = stated([bids, asks], [bid_utility, ask_utility], &terms);
        let mut solver = self.solver.lock().unwrap_or_else(PoisonError::into_inner);
        let solution = solver.solve_warm(&stated).map_err(|mut error| {
            error.argument = match error.argument {
                "bid.utility" => "bid_utility",
                "ask.utility" => "ask_utility",
                other => other,
            };
            from_core(error)
        })?;
        Ok(PySidesResult::of(solution, &solver))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Solver({})", self.problem.bind(py).repr()?.to_cow()?))
    }
}

fn moved(inventory: Option<PyInventory>, position: &Bound<'_, PyAny>) -> PyResult<PyInventory> {
    let position = number("position", position)?;
    let Some(inventory) = inventory else {
        return Err(input("position", None, "left out where the problem has no inventory", position));
    };
    if !position.is_finite() {
        return Err(input("position", None, "finite", position));
    }
    Ok(PyInventory { position, ..inventory })
}
