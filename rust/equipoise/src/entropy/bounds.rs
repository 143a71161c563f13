//! Feasibility of P1, and its point of largest entropy.

use super::{ENTROPY_TIE, Work, entropy_sum};
use crate::status::Status;

/// Roundoff that sums of floors or caps may show against one: a share of a millionth of a millionth is not a constraint.
const SUM_TIE: f64 = 5e-13;

/// What feasibility leaves for the search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feasible {
    /// The entropy floor in force: the caller's, or the largest entropy where the two count as equal.
    pub(super) entropy_min: f64,
    pub(super) entropy_max: f64,
    /// `entropy_max − entropy_min`.
    pub(super) slack: f64,
    /// The water level `t` of the flattest point `clip(t, f, c)`.
    pub(super) level: f64,
    /// The flattest point is the only feasible one.
    pub(super) tight: bool,
}

/// Decides feasibility exactly and leaves the flattest point in `work.flattest`.
pub(super) fn check(work: &mut Work, entropy_min: f64) -> Result<Feasible, (Status, f64)> {
    if work.floor.iter().zip(&work.cap).any(|(floor, cap)| floor > cap) {
        return Err((Status::InfeasibleFloorAboveCap, f64::NAN));
    }
    if sum(&work.floor) > 1.0 + SUM_TIE {
        return Err((Status::InfeasibleFloorSum, f64::NAN));
    }
    if sum(&work.cap) < 1.0 - SUM_TIE {
        return Err((Status::InfeasibleCapSum, f64::NAN));
    }
    let Work { floor, cap, flattest, .. } = work;
    let level = water_level(floor.iter().copied().zip(cap.iter().copied()), 1.0);
    for ((share, &floor), &cap) in flattest.iter_mut().zip(floor.iter()).zip(cap.iter()) {
        *share = clip(level, floor, cap);
    }
    let uniform = flattest.iter().all(|&share| share == flattest[0]);
    let entropy_max = if uniform { (flattest.len() as f64).ln() } else { entropy_sum(flattest) };
    let slack = entropy_max - entropy_min;
    if slack < -ENTROPY_TIE {
        return Err((Status::InfeasibleEntropy, entropy_max));
    }
    let tight = slack <= ENTROPY_TIE;
    Ok(Feasible {
        entropy_min: if tight { entropy_max } else { entropy_min },
        entropy_max,
        slack: if tight { 0.0 } else { slack },
        level,
        tight,
    })
}

/// `value` moved into `[floor, cap]`.
#[inline(always)]
pub(super) fn clip(value: f64, floor: f64, cap: f64) -> f64 {
    let above = if value > floor { value } else { floor };
    if above < cap { above } else { cap }
}

/// Sum with the rounding errors carried along (Neumaier), so that a million equal floors still sum to one.
pub(super) fn sum(values: &[f64]) -> f64 {
    let (mut total, mut lost) = (0.0_f64, 0.0_f64);
    for &value in values {
        let next = total + value;
        lost += if total.abs() >= value.abs() { (total - next) + value } else { (value - next) + total };
        total = next;
    }
    total + lost
}

/// The level `t` with `Σ clip(t, f, c) = mass`: Newton on an increasing, piecewise linear function, inside a bracket.
/// Where the floors alone reach the mass, or the caps do not, the nearest end.
pub(super) fn water_level(bounds: impl Iterator<Item = (f64, f64)> + Clone, mass: f64) -> f64 {
    let (mut low, mut high, mut count) = (f64::INFINITY, 0.0_f64, 0.0);
    for (floor, cap) in bounds.clone() {
        low = low.min(floor);
        high = high.max(cap);
        count += 1.0;
    }
    let mut level = (mass / count).clamp(low, high);
    for _ in 0..200 {
        let (mut total, mut free) = (0.0, 0.0);
        for (floor, cap) in bounds.clone() {
            total += clip(level, floor, cap);
            free += f64::from(floor < level && level < cap);
        }
        let missing = mass - total;
        if missing > 0.0 {
            low = level;
        } else if missing < 0.0 {
            high = level;
        } else {
            break;
        }
        let newton = level + missing / free;
        let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
        if next == level || (missing / free).abs() <= f64::EPSILON * level {
            break;
        }
        level = next;
    }
    level
}
