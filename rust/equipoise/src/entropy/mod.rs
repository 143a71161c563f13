//! The entropy-constrained optimizer of one side (problem P1).
//!
//! Given the utilities `u` of `K` levels, find shares `p`:
//!
//! ```text
//! maximise    Σ u_i p_i
//! subject to  Σ p_i = 1,   f_i ≤ p_i ≤ c_i,   H(p) = −Σ p_i ln p_i ≥ h
//! ```
//!
//! With `T ≥ 0` the multiplier of the entropy floor and `ν` that of the sum (plus `T`), the solution is
//!
//! ```text
//! T > 0:  p_i = clip(exp((u_i − ν) / T), f_i, c_i)
//! T = 0:  levels filled in order of u (fractional knapsack); the tied marginal levels share by clip(t, f_i, c_i)
//! T = ∞:  h equals the largest entropy there is; p_i = clip(t, f_i, c_i)
//! ```
//!
//! `H` grows with `T`, so the floor is a scalar root. It is found in two ways: by a short third-order iteration, one vector
//! exponential a step (`newton`), and, where that does not settle or cannot be trusted, by an ordered search with
//! brackets (`bracket`). Neither is believed: every answer is priced afterwards by a dual bound computed from `(T, ν)` alone
//! (`certificate`). A quick answer that misses the promise is searched for again; a second miss is `Inaccurate`.

mod bounds;
mod bracket;
mod certificate;
mod knapsack;
mod newton;
mod rows;
mod solve;
#[cfg(test)]
mod tests;
pub(crate) mod water;

use crate::error::{Error, Result};
use crate::lanes::Lanes;
use crate::simd::{Kernel, Width, dispatch, widest};
use crate::status::Status;

/// Most levels a side may have.
pub const LEVELS_MAX: usize = 1 << 20;
/// An entropy floor this close to the largest entropy, in nats, counts as equal to it.
pub const ENTROPY_TIE: f64 = 1e-12;
/// Largest gap of an answer called optimal, as a multiple of `max |u|`.
pub const GAP_MAX: f64 = 1e-9;
/// Largest violation of any constraint of an answer called optimal.
pub const VIOLATION_MAX: f64 = 1e-12;

/// A bound on the shares: one number for all levels, or one for each.
#[derive(Clone, Copy, Debug)]
pub enum Bound<'a> {
    /// The same for every level.
    Scalar(f64),
    /// One for each level, as many as there are utilities.
    Each(&'a [f64]),
}

/// Problem P1 as the caller states it.
#[derive(Clone, Copy, Debug)]
pub struct SideProblem<'a> {
    /// Value of one unit of size at each level, in any currency; finite.
    pub utility: &'a [f64],
    /// Entropy floor `h` in nats; finite, non-positive means none.
    pub entropy_min: f64,
    /// Smallest share of each level, finite and not negative.
    pub floor: Bound<'a>,
    /// Largest share of each level, in `[0, 1]`.
    pub cap: Bound<'a>,
}

/// Where to start the search: the multipliers of a solution nearby. They change the work, not the answer.
#[derive(Clone, Copy, Debug)]
pub struct Warm {
    /// Multiplier `T` of the entropy floor, utility per nat.
    pub temperature: f64,
    /// Normaliser `ν`, in units of utility.
    pub normaliser: f64,
}

/// Outcome of P1. Where there is no feasible point the figures are NaN, except `entropy_max` when only the entropy floor is
/// too high.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SideSolution {
    /// Optimal, inaccurate, or why there is no feasible point.
    pub status: Status,
    /// `Σ u_i p_i`.
    pub objective: f64,
    /// `H(p)` in nats.
    pub entropy: f64,
    /// The largest entropy that floors and caps admit, in nats.
    pub entropy_max: f64,
    /// `T`, utility per nat: what one more nat of entropy costs. Zero when the floor is slack, infinite when the floor
    /// leaves a single point.
    pub temperature: f64,
    /// `ν`: `p_i = exp((u_i − ν)/T)` on levels strictly between floor and cap. With `T = 0` the utility of the marginal
    /// level; with `T = ∞`, NaN.
    pub normaliser: f64,
    /// An upper bound on the objective of every feasible point.
    pub dual_bound: f64,
    /// `dual_bound − objective`, never negative.
    pub gap: f64,
    /// The largest amount by which any constraint is missed: sum, floor, cap (in shares), entropy (in nats).
    pub violation: f64,
    /// Evaluations of the shares at a temperature.
    pub iterations: u32,
}

impl SideSolution {
    fn infeasible(status: Status, entropy_max: f64) -> Self {
        Self {
            status,
            objective: f64::NAN,
            entropy: f64::NAN,
            entropy_max,
            temperature: f64::NAN,
            normaliser: f64::NAN,
            dual_bound: f64::NAN,
            gap: f64::NAN,
            violation: f64::NAN,
            iterations: 0,
        }
    }
}

/// Solves P1 and owns the buffers it needs, so that solving again allocates nothing.
///
/// The answer depends on the problem and the machine only, never on what was solved before.
#[derive(Clone, Debug)]
pub struct SideSolver {
    store: rows::Store,
    width: Width,
}

impl Default for SideSolver {
    fn default() -> Self {
        Self::new()
    }
}

impl SideSolver {
    /// A solver with empty buffers; they grow with the first problem.
    #[must_use]
    pub fn new() -> Self {
        Self { store: rows::Store::default(), width: widest() }
    }

    /// A solver that uses no wider instructions than `width`, to compare them.
    #[must_use]
    pub fn limited(width: Width) -> Self {
        Self { store: rows::Store::default(), width: width.min(widest()) }
    }

    /// Shares of the last solution, in the order of the utilities: they sum to one, or are all zero when the problem was
    /// infeasible.
    #[must_use]
    pub fn share(&self) -> &[f64] {
        self.store.share()
    }

    /// The shares of the last solution, without a copy.
    #[must_use]
    pub fn into_share(self) -> Vec<f64> {
        self.store.into_share()
    }

    /// Solves `problem` from scratch.
    ///
    /// # Errors
    /// When an argument is malformed: no or too many levels, a number that is not finite, a bound outside its range or of
    /// the wrong length. An infeasible problem is a status, not an error.
    pub fn solve(&mut self, problem: &SideProblem<'_>) -> Result<SideSolution> {
        self.solve_from(problem, None)
    }

    /// Solves `problem` starting at the multipliers of a solution nearby.
    ///
    /// # Errors
    /// As [`SideSolver::solve`].
    pub fn solve_from(&mut self, problem: &SideProblem<'_>, warm: Option<Warm>) -> Result<SideSolution> {
        dispatch(solve::Solve { problem, store: &mut self.store, warm }, self.width)
    }
}

impl SideSolver {
    /// Multipliers, and shares left in the solver, as the quick search finds them where it does, without the proof that
    /// [`SideSolver::solve`] gives: for a caller that proves the whole of which this is a part. There is at least one level.
    pub(crate) fn unproved(&mut self, problem: &SideProblem<'_>, warm: Option<Warm>) -> Option<Warm> {
        dispatch(solve::Unproved { problem, store: &mut self.store, warm }, self.width)
    }

    /// Entropy of the shares at a given temperature instead of a given entropy floor, nats; zero where the bounds on shares
    /// leave no point. The problem's own entropy floor is not looked at.
    ///
    /// # Errors
    /// As [`SideSolver::solve`]; a temperature that is not positive.
    pub fn entropy_at(&mut self, problem: &SideProblem<'_>, temperature: f64) -> Result<f64> {
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(Error::new("temperature", "positive and finite", temperature));
        }
        // With the floor out of the way the bounds are read, checked and the rows filled.
        let slack = SideProblem { entropy_min: -1.0, ..*problem };
        let solution = self.solve(&slack)?;
        if solution.status != Status::Optimal {
            return Ok(0.0);
        }
        let rows = &mut self.store.rows(problem.utility.len());
        Ok(bracket::entropy_at(rows, solution.normaliser, temperature))
    }
}

/// A chain of `steps` dependent steps, each one vector exponential and one horizontal sum: the control that benches of the
/// solver are read against, since a solve of a usual ladder is a few such steps.
#[must_use]
pub fn latency_chain(steps: u32, start: f64, limit: Width) -> f64 {
    dispatch(Chain { steps, start }, limit)
}

struct Chain {
    steps: u32,
    start: f64,
}

impl Kernel for Chain {
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self) -> f64 {
        let mut value = self.start;
        for _ in 0..self.steps {
            value = 0.125 * L::splat(-value).exp().sum();
        }
        value
    }
}

fn p_log_p(p: f64) -> f64 {
    if p > 0.0 { p * p.ln() } else { 0.0 }
}

/// Entropy in nats of non-negative weights, normalised by their sum; zero when nothing is positive.
#[must_use]
pub fn entropy(weights: &[f64]) -> f64 {
    let total: f64 = weights.iter().filter(|weight| **weight > 0.0).sum();
    if !(total > 0.0 && total.is_finite()) {
        return 0.0;
    }
    -weights.iter().filter(|weight| **weight > 0.0).map(|&weight| p_log_p(weight / total)).sum::<f64>()
}

/// Entropy in nats of integer lots, normalised by their sum; levels without lots count for nothing.
#[must_use]
pub fn entropy_of_lots(lots: &[i64]) -> f64 {
    let total: f64 = lots.iter().filter(|count| **count > 0).map(|&count| count as f64).sum();
    if total <= 0.0 {
        return 0.0;
    }
    -lots.iter().filter(|count| **count > 0).map(|&count| p_log_p(count as f64 / total)).sum::<f64>()
}
