//! What an answer is worth: figures computed from the statement of the problem, the shares and the two multipliers, by code
//! that shares nothing with the searches.
//!
//! Weak duality, for any `T ≥ 0` and any `ν`, with `p*` the box maximiser `clip(exp((u − ν)/T), f, c)`:
//!
//! ```text
//! u·p ≤ ν − T (1 + h) + Σ_i [ (u_i − ν) p*_i − T (p*_i ln p*_i − p*_i) ]       for every feasible p
//! ```

use super::bounds::{Boxes, Feasible, p_ln_p};
use super::rows::Rows;
use super::solve::{Found, Survey};
use super::water::{clip, kl_term, sum};
use super::{GAP_MAX, SideSolution, VIOLATION_MAX};
use crate::lanes::{EXPONENT_MAX, Lanes};
use crate::status::Status;

/// Sums of more levels than this carry their rounding errors along.
const PLAIN_SUM_MAX: usize = 4096;

/// Prices the shares in their row.
#[inline(always)]
pub(super) fn certify<L: Lanes>(
    rows: &Rows<'_>,
    boxes: &Boxes,
    feasible: &Feasible,
    survey: Survey,
    found: Found,
) -> SideSolution {
    let Found { temperature, normaliser, iterations } = found;
    let (mut total, mut objective, mut entropy, mut missed) = (L::zero(), L::zero(), L::zero(), L::zero());
    for index in 0..rows.share.len() {
        let p = L::load(&rows.share[index]);
        total = total.add(p);
        objective = p.mul_add(L::load(&rows.utility[index]), objective);
        entropy = entropy.sub(p_ln_p(p));
        if !matches!(boxes, Boxes::Open) {
            let (floor, cap) = (L::load(&rows.floor[index]), L::load(&rows.cap[index]));
            missed = missed.max(floor.sub(p)).max(p.sub(cap));
        }
    }
    let total = if rows.levels > PLAIN_SUM_MAX { sum(rows.share.as_flattened().iter().copied()) } else { total.sum() };
    let (objective, entropy) = (objective.sum(), entropy.sum());
    let violation = missed.largest().max((total - 1.0).abs()).max(feasible.entropy_asked - entropy);
    let bound = bound::<L>(rows, boxes, feasible, temperature, normaliser);
    // Feasible shares cannot beat the optimum: a bound below them is so by its own rounding, or it is no bound.
    let dual_bound = if bound < objective { objective } else { bound };
    let gap = dual_bound - objective;
    let kept = (bound - objective).abs() <= GAP_MAX * survey.scale() && violation <= VIOLATION_MAX;
    SideSolution {
        status: if kept { Status::Optimal } else { Status::Inaccurate },
        objective,
        entropy,
        entropy_max: feasible.entropy_max,
        temperature,
        normaliser,
        dual_bound,
        gap,
        violation,
        iterations,
    }
}

/// The dual bound at any multipliers: whatever they are, no feasible shares are worth more.
#[inline(always)]
pub(super) fn bound<L: Lanes>(
    rows: &Rows<'_>,
    boxes: &Boxes,
    feasible: &Feasible,
    temperature: f64,
    normaliser: f64,
) -> f64 {
    if temperature == 0.0 {
        bound_cold(rows, normaliser)
    } else if temperature.is_infinite() {
        // The limit of the bound: only the flattest point meets the floor.
        rows.utility.as_flattened().iter().zip(rows.flattest.as_flattened()).map(|(u, p)| u * p).sum()
    } else if feasible.near_max() {
        bound_near_max(rows, feasible, temperature, normaliser)
    } else if matches!(boxes, Boxes::Open) {
        bound_open::<L>(rows, feasible, temperature, normaliser)
    } else {
        bound_boxed::<L>(rows, feasible, temperature, normaliser)
    }
}

/// Whether the quick search did as well as rounding allows; otherwise the ordered one is worth its time.
#[inline(always)]
pub(super) fn convincing(solution: &SideSolution, scale: f64) -> bool {
    solution.gap <= 1e-13 * scale && solution.violation <= 1e-14
}

/// The dual bound where only the sum of shares is bounded beside the entropy: `p*` is the exponential itself.
#[inline(always)]
fn bound_open<L: Lanes>(rows: &Rows<'_>, feasible: &Feasible, temperature: f64, normaliser: f64) -> f64 {
    let rate = L::splat(1.0 / temperature);
    let mut total = L::zero();
    for utility in rows.utility.iter() {
        let x = L::load(utility).sub(L::splat(normaliser)).mul(rate);
        total = total.add(x.max(L::splat(-EXPONENT_MAX)).min(L::splat(EXPONENT_MAX)).exp());
    }
    normaliser + temperature * (total.sum() - (1.0 + feasible.entropy_min))
}

/// The dual bound with boxes.
#[inline(always)]
fn bound_boxed<L: Lanes>(rows: &Rows<'_>, feasible: &Feasible, temperature: f64, normaliser: f64) -> f64 {
    let rate = L::splat(1.0 / temperature);
    let mut total = L::zero();
    for index in 0..rows.utility.len() {
        let x = L::load(&rows.utility[index]).sub(L::splat(normaliser)).mul(rate);
        let raw = x.max(L::splat(-EXPONENT_MAX)).min(L::splat(EXPONENT_MAX)).exp();
        let (floor, cap) = (L::load(&rows.floor[index]), L::load(&rows.cap[index]));
        let p = raw.max(floor).min(cap);
        let log = p.if_equal(floor, L::load(&rows.floor_log[index]), L::load(&rows.cap_log[index]));
        // On a free level ln p = x, and the term is p.
        let clipped = x.mul(p).sub(log).add(p);
        total = total.add(p.if_equal(raw, p, clipped));
    }
    normaliser + temperature * (total.sum() - (1.0 + feasible.entropy_min))
}

/// The dual bound at `T = 0`: levels above the marginal utility at their caps, the others at their floors.
fn bound_cold(rows: &Rows<'_>, normaliser: f64) -> f64 {
    let levels = 0..rows.levels;
    let (utility, floor, cap) = (rows.utility.as_flattened(), rows.floor.as_flattened(), rows.cap.as_flattened());
    let excess: f64 =
        levels.map(|i| (utility[i] - normaliser) * if utility[i] > normaliser { cap[i] } else { floor[i] }).sum();
    normaliser + excess
}

/// The same bound, written around the flattest point `p̂ = clip(t, f, c)`: there `T` is large and the terms above cancel.
///
/// ```text
/// ν − T(1+h) + Σ[…] = u·p* + (1 − Σp*)(ν + T ln t) + T (H_max − h − D),
/// D = Σ p̂ φ(p*/p̂ − 1) + Σ (p* − p̂) ln(p̂/t),     φ(x) = (1+x) ln(1+x) − x
/// ```
fn bound_near_max(rows: &Rows<'_>, feasible: &Feasible, temperature: f64, normaliser: f64) -> f64 {
    let (floor, cap) = (rows.floor.as_flattened(), rows.cap.as_flattened());
    let flattest = rows.flattest.as_flattened();
    let (mut value, mut rest, mut deficit) = (0.0, 1.0, 0.0);
    for (index, &u) in rows.utility.as_flattened()[..rows.levels].iter().enumerate() {
        let raw = ((u - normaliser) / temperature).exp();
        let p = clip(raw, floor[index], cap[index]);
        let flat = flattest[index];
        value += u * p;
        rest -= p;
        if flat > 0.0 {
            deficit += flat * kl_term(p / flat - 1.0) + (p - flat) * (flat / feasible.level).ln();
        }
    }
    value + rest * (normaliser + temperature * feasible.level.ln()) + temperature * (feasible.slack - deficit)
}
