//! What an answer is worth: figures computed from the statement of the problem, the shares and the two multipliers, by code
//! that shares nothing with the searches.
//!
//! Weak duality, for any `T ≥ 0` and any `ν`, with `p*` the box maximiser `clip(exp((u − ν)/T), f, c)`:
//!
//! ```text
//! u·p ≤ ν − T (1 + h) + Σ_i [ (u_i − ν) p*_i − T (p*_i ln p*_i − p*_i) ]       for every feasible p
//! ```

use super::bounds::{Feasible, clip, sum};
use super::bracket::kl_term;
use super::{Found, GAP_MAX, SideProblem, SideSolution, VIOLATION_MAX, Work, entropy_sum, p_log_p};
use crate::status::Status;

/// Prices the shares in `work.share`.
pub(super) fn certify(problem: &SideProblem<'_>, work: &Work, feasible: &Feasible, found: Found) -> SideSolution {
    let share = &work.share;
    let objective: f64 = problem.utility.iter().zip(share).map(|(u, p)| u * p).sum();
    let largest = problem.utility.iter().fold(0.0_f64, |largest, u| largest.max(u.abs()));
    let entropy = entropy_sum(share);
    let violation = violation(work, problem.entropy_min, entropy);
    // Feasible shares cannot beat the optimum: where the bound falls below them it does so by its own rounding.
    let dual_bound = bound(problem, work, feasible, &found).max(objective);
    let gap = dual_bound - objective;
    let kept = gap <= GAP_MAX * largest && violation <= VIOLATION_MAX;
    SideSolution {
        status: if kept { Status::Optimal } else { Status::Inaccurate },
        objective,
        entropy,
        entropy_max: feasible.entropy_max,
        temperature: found.temperature,
        normaliser: found.normaliser,
        dual_bound,
        gap,
        violation,
        iterations: found.iterations,
    }
}

/// The largest amount by which any constraint is missed.
fn violation(work: &Work, entropy_min: f64, entropy: f64) -> f64 {
    let mut worst = (sum(&work.share) - 1.0).abs().max(entropy_min - entropy);
    for ((&p, &floor), &cap) in work.share.iter().zip(&work.floor).zip(&work.cap) {
        worst = worst.max(floor - p).max(p - cap);
    }
    worst
}

/// The dual bound at the multipliers found.
fn bound(problem: &SideProblem<'_>, work: &Work, feasible: &Feasible, found: &Found) -> f64 {
    let Found { temperature, normaliser, .. } = *found;
    let levels = || (0..problem.utility.len()).map(|i| (problem.utility[i], problem.floor.at(i), problem.cap.at(i)));
    if temperature.is_infinite() {
        // The limit of the bound: only the flattest point meets the floor.
        return problem.utility.iter().zip(&work.flattest).map(|(u, p)| u * p).sum();
    }
    if temperature == 0.0 {
        let excess: f64 =
            levels().map(|(u, floor, cap)| (u - normaliser) * if u > normaliser { cap } else { floor }).sum();
        return normaliser + excess;
    }
    if feasible.slack < 1e-3 * feasible.entropy_max {
        return bound_near_max(problem, work, feasible, found);
    }
    let boxes: f64 = levels()
        .map(|(u, floor, cap)| {
            let raw = ((u - normaliser) / temperature).exp();
            let p = clip(raw, floor, cap);
            if p == raw { temperature * p } else { (u - normaliser) * p - temperature * (p_log_p(p) - p) }
        })
        .sum();
    normaliser - temperature * (1.0 + feasible.entropy_min) + boxes
}

/// The same bound, written around the flattest point `p̂ = clip(t, f, c)`: there `T` is large and the terms above cancel.
///
/// ```text
/// ν − T(1+h) + Σ[…] = u·p* + (1 − Σp*)(ν + T ln t) + T (H_max − h − D),
/// D = Σ p̂ φ(p*/p̂ − 1) + Σ (p* − p̂) ln(p̂/t),     φ(x) = (1+x) ln(1+x) − x
/// ```
fn bound_near_max(problem: &SideProblem<'_>, work: &Work, feasible: &Feasible, found: &Found) -> f64 {
    let Found { temperature, normaliser, .. } = *found;
    let (mut value, mut rest, mut deficit) = (0.0, 1.0, 0.0);
    for (index, &u) in problem.utility.iter().enumerate() {
        let raw = ((u - normaliser) / temperature).exp();
        let p = clip(raw, problem.floor.at(index), problem.cap.at(index));
        let flat = work.flattest[index];
        value += u * p;
        rest -= p;
        if flat > 0.0 {
            deficit += flat * kl_term(p / flat - 1.0) + (p - flat) * (flat / feasible.level).ln();
        }
    }
    value + rest * (normaliser + temperature * feasible.level.ln()) + temperature * (feasible.slack - deficit)
}
