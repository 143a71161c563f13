//! The continuous problem on a support: shares with the smallest orders as floors, at a total consistent with them.

use super::levels::Levels;
use super::lots::Limits;
use crate::entropy::{Bound, SideProblem, SideSolver, entropy};
use crate::status::Status;

/// Attempts at a consistent total; each moves it by the spread of charges times the change in shares, so few are needed.
const ROUNDS_MAX: usize = 6;

/// Shares on a support and what they came from.
#[derive(Clone, Debug, Default)]
pub(super) struct Problem {
    /// What one lot is worth to the choice between levels, for every level: its value, or for a given target the logarithm
    /// of the lots wanted, whose optimum at temperature one is the target itself.
    pub(super) merit: Vec<f64>,
    floor: Vec<f64>,
    cap: Vec<f64>,
    value: Vec<f64>,
    /// Shares in the order of the support.
    pub(super) share: Vec<f64>,
    /// Total in lots.
    pub(super) size: f64,
    /// Multiplier of the entropy floor, merit per nat; finite.
    pub(super) temperature: f64,
    /// Normaliser of the shares.
    pub(super) normaliser: f64,
    /// The merits are those of a given target.
    pub(super) given: bool,
    /// Total wanted by a given target.
    wanted: f64,
}

impl Problem {
    /// Where there is no solution, none of an earlier one may be left to go by: not its shares, not its multipliers.
    fn forget(&mut self) {
        self.share.clear();
        (self.temperature, self.normaliser, self.size) = (0.0, f64::INFINITY, 0.0);
    }

    /// Reads merits for all levels.
    pub(super) fn load(&mut self, levels: &Levels) {
        self.forget();
        self.given = !levels.wish.is_empty();
        self.merit.clear();
        if self.given {
            // Zero wishes are blocked; their logarithm is never used.
            self.merit.extend(levels.wish.iter().map(|wish| wish.max(f64::MIN_POSITIVE).ln()));
            self.wanted = levels.wish.iter().sum();
        } else {
            self.merit.extend_from_slice(&levels.value);
            self.wanted = f64::INFINITY;
        }
    }

    /// Largest total a given target asks for; no limit otherwise.
    pub(super) fn total_wanted(&self) -> i64 {
        // `as` saturates.
        if self.given { (self.wanted * (1.0 + 1e-12) + 1e-9).floor() as i64 } else { i64::MAX }
    }

    /// Solves on `support`; false when floors, caps and entropy do not go together at the total the budget allows.
    pub(super) fn solve(
        &mut self,
        levels: &Levels,
        support: &[usize],
        solver: &mut SideSolver,
        limits: &Limits,
    ) -> bool {
        self.forget();
        let count = support.len() as f64;
        let budget = limits.budget as f64;
        let room: f64 = support.iter().map(|&i| levels.cap[i] as f64).sum();
        let mut largest = room.min(limits.total_max as f64).min(self.wanted);
        if limits.share_floor > 0.0 {
            largest = support.iter().map(|&i| levels.cap[i] as f64 / limits.share_floor).fold(largest, f64::min);
        }
        let mean = support.iter().map(|&i| levels.per_lot[i]).sum::<f64>() / count;
        let least: f64 = support.iter().map(|&i| levels.min[i] as f64).sum();
        let sized = |charge: f64| if charge > 0.0 { largest.min(budget / charge) } else { largest };
        self.size = sized(mean).max(least);
        self.value.clear();
        self.value.extend(support.iter().map(|&i| self.merit[i]));
        for round in 0..ROUNDS_MAX {
            self.bounds(levels, support, limits);
            if !self.shares(solver, limits) {
                return false;
            }
            let charge: f64 = support.iter().zip(&self.share).map(|(&i, share)| levels.per_lot[i] * share).sum();
            let size = sized(charge).max(least);
            let moved = (size - self.size).abs();
            let binds = self.box_binds(levels, support, limits, size);
            // Pinned lots take the same lots from the others at either total, but for a part of this size.
            let least_share = least / self.size;
            let settled = moved * least_share <= 0.25 || moved <= 1e-12 * size || !binds;
            if settled {
                self.size = size;
                return true;
            }
            // The last round's shares are kept with a total that fits the budget.
            self.size = if round + 1 == ROUNDS_MAX { self.size.min(size) } else { size };
        }
        true
    }

    /// Floors and caps in shares at the present total.
    fn bounds(&mut self, levels: &Levels, support: &[usize], limits: &Limits) {
        self.floor.clear();
        self.cap.clear();
        let each = 1.0 / self.size;
        for &i in support {
            let floor = (levels.min[i] as f64 * each).max(limits.share_floor).min(1.0);
            self.floor.push(floor);
            self.cap.push((levels.cap[i] as f64 * each).min(limits.share_cap).clamp(floor, 1.0));
        }
    }

    /// Whether the box of the present total, or that of `size`, touches the shares.
    fn box_binds(&self, levels: &Levels, support: &[usize], limits: &Limits, size: f64) -> bool {
        let relative = |bound: f64, lots: i64| bound == lots as f64 / self.size;
        let touched = (0..support.len()).any(|at| {
            let (i, share) = (support[at], self.share[at]);
            (share <= self.floor[at] && relative(self.floor[at], levels.min[i]))
                || (share >= self.cap[at] && self.cap[at] < limits.share_cap)
        });
        touched
            || support
                .iter()
                .zip(&self.share)
                .any(|(&i, share)| *share < levels.min[i] as f64 / size || *share > levels.cap[i] as f64 / size)
    }

    /// Shares inside the box with the entropy floor.
    fn shares(&mut self, solver: &mut SideSolver, limits: &Limits) -> bool {
        let least: f64 = self.floor.iter().sum();
        if least >= 1.0 - 1e-12 {
            // The smallest orders leave nothing to choose.
            self.share.clear();
            self.share.extend(self.floor.iter().map(|floor| floor / least));
            (self.temperature, self.normaliser) = (0.0, f64::INFINITY);
            return entropy(&self.share) >= limits.entropy_min - 1e-9;
        }
        if self.given && self.scaled_target(limits.entropy_min) {
            return true;
        }
        let most: f64 = self.cap.iter().sum();
        if most < 1.0 {
            if most < 1.0 - 1e-9 {
                return false;
            }
            self.cap.iter_mut().for_each(|cap| *cap = (*cap / most * (1.0 + 1e-12)).min(1.0));
        }
        let problem = SideProblem {
            utility: &self.value,
            entropy_min: limits.entropy_min,
            floor: Bound::Each(&self.floor),
            cap: Bound::Each(&self.cap),
        };
        let Ok(solution) = solver.solve(&problem) else { return false };
        if !matches!(solution.status, Status::Optimal | Status::Inaccurate) {
            return false;
        }
        self.share.clear();
        self.share.extend_from_slice(solver.share());
        let spread = self.value.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        // Where only the flattest point is left, evenness is worth more than any difference in value.
        self.temperature = if solution.temperature.is_finite() { solution.temperature } else { 1e6 * spread + 1.0 };
        self.normaliser = solution.normaliser;
        true
    }

    /// The given proportions moved into the box, if they meet the floor as they are.
    fn scaled_target(&mut self, entropy_min: f64) -> bool {
        let largest = self.value.iter().fold(f64::NEG_INFINITY, |largest, value| largest.max(*value));
        self.share.clear();
        self.share.extend(self.value.iter().map(|value| (value - largest).exp()));
        let factor = clip_factor(&self.share, &self.floor, &self.cap);
        for ((share, &floor), &cap) in self.share.iter_mut().zip(&self.floor).zip(&self.cap) {
            *share = (*share * factor).max(floor).min(cap);
        }
        self.temperature = 1.0;
        self.normaliser = largest - factor.ln();
        entropy(&self.share) >= entropy_min
    }
}

/// The factor `z` with `Σ clip(z e, f, c) = 1`, by bisection in the logarithm and Newton at the end.
fn clip_factor(weights: &[f64], floor: &[f64], cap: &[f64]) -> f64 {
    let total = |factor: f64| -> (f64, f64) {
        let (mut clipped, mut free) = (0.0, 0.0);
        for ((&weight, &floor), &cap) in weights.iter().zip(floor).zip(cap) {
            let raw = factor * weight;
            if raw <= floor {
                clipped += floor;
            } else if raw >= cap {
                clipped += cap;
            } else {
                free += weight;
            }
        }
        (clipped, free)
    };
    let (mut low, mut high) = (0.0_f64, f64::MAX);
    let mut factor = 1.0 / weights.iter().sum::<f64>();
    for _ in 0..200 {
        let (clipped, free) = total(factor);
        let missing = 1.0 - clipped - factor * free;
        if missing.abs() <= 1e-15 {
            break;
        }
        if missing > 0.0 {
            low = factor;
        } else {
            high = factor;
        }
        let newton = (1.0 - clipped) / free;
        let next = if newton > low && newton < high {
            newton
        } else if high == f64::MAX {
            factor * 16.0
        } else if low == 0.0 {
            factor / 16.0
        } else {
            low.sqrt() * high.sqrt()
        };
        if next == factor || !next.is_finite() {
            break;
        }
        factor = next;
    }
    factor
}
