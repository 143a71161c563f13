//! The search that always ends: temperature bracketed in the logarithm, normaliser bracketed inside it.
//!
//! Differences are taken from the marginal level of the knapsack. Any other reference, the largest utility above all, can
//! lie hundreds of temperatures away when caps bind, and the exponentials underflow.

use super::bounds::Feasible;
use super::rows::Rows;
use super::solve::Found;
use super::water::{clip, entropy_of, kl_term};
use crate::lanes::EXPONENT_MAX;

/// Largest factor of one temperature step.
const STEP_MAX: f64 = 16.0;
const ITERATIONS_MAX: u32 = 400;

/// Shares at one temperature, summed up.
struct Evaluation {
    /// `H − h`.
    excess: f64,
    /// `dH / d log T`.
    slope: f64,
    /// Logarithm of the factor from exponentials to shares: `ν = −T · shift`.
    shift: f64,
}

/// The rows of a search, without their padding.
struct Levels<'a> {
    centred: &'a [f64],
    floor: &'a [f64],
    cap: &'a [f64],
    flattest: &'a [f64],
    exponential: &'a mut [f64],
    share: &'a mut [f64],
}

impl<'a> Levels<'a> {
    fn of(rows: &'a mut Rows<'_>) -> Self {
        let count = rows.levels;
        Self {
            centred: &rows.centred.as_flattened()[..count],
            floor: &rows.floor.as_flattened()[..count],
            cap: &rows.cap.as_flattened()[..count],
            flattest: &rows.flattest.as_flattened()[..count],
            exponential: &mut rows.exponential.as_flattened_mut()[..count],
            share: &mut rows.share.as_flattened_mut()[..count],
        }
    }
}

/// Finds `T > 0` with `H(p(T)) = h`, given that the knapsack misses the floor and the flattest point exceeds it. Reads the
/// row of differences from the marginal level; the normaliser returned is relative to that level too.
pub(super) fn search(rows: &mut Rows<'_>, feasible: &Feasible, start: Option<f64>) -> Found {
    let work = &mut Levels::of(rows);
    let near = feasible.near_max();
    let noise = if near {
        4.0 * f64::EPSILON * (2.0 * feasible.slack).sqrt()
    } else {
        2.0 * f64::EPSILON * feasible.entropy_max.max(1.0)
    };
    let (mut low, mut high) = (0.0_f64, f64::INFINITY);
    let mut temperature =
        start.filter(|start| start.is_finite() && *start > 0.0).unwrap_or_else(|| guess(work, feasible));
    let mut iterations = 0;
    loop {
        let at = evaluate(work, feasible, temperature, near);
        iterations += 1;
        if at.excess >= 0.0 {
            high = high.min(temperature);
        } else {
            low = low.max(temperature);
        }
        let done = (0.0..=noise).contains(&at.excess);
        if done || iterations >= ITERATIONS_MAX {
            return Found { temperature, normaliser: -temperature * at.shift, iterations };
        }
        let next = step(temperature, &at, low, high, noise);
        if next == temperature || !(low < next && next < high) {
            // The bracket is one unit in the last place wide: the end that keeps the floor is the answer.
            let at = evaluate(work, feasible, high, near);
            return Found { temperature: high, normaliser: -high * at.shift, iterations: iterations + 1 };
        }
        temperature = next;
    }
}

/// Entropy of the shares at one temperature; the rows hold the problem, and `critical` is its marginal utility.
pub(super) fn entropy_at(rows: &mut Rows<'_>, critical: f64, temperature: f64) -> f64 {
    let count = rows.levels;
    for (centred, utility) in rows.centred.as_flattened_mut().iter_mut().zip(rows.utility.as_flattened()) {
        *centred = utility - critical;
    }
    let mut work = Levels::of(rows);
    let feasible =
        Feasible { entropy_min: 0.0, entropy_max: 1.0, entropy_asked: 0.0, slack: 1.0, level: 0.0, tight: false };
    evaluate(&mut work, &feasible, temperature, false);
    entropy_of(&rows.share.as_flattened()[..count])
}

/// Start from the expansion `H = H_max − Var(u)/(2T²)` at high temperature.
fn guess(work: &Levels<'_>, feasible: &Feasible) -> f64 {
    let Levels { centred, flattest, floor, cap, .. } = work;
    let free = |index: &usize| floor[*index] < feasible.level && feasible.level < cap[*index];
    let moments = (0..centred.len())
        .filter(free)
        .fold((0.0, 0.0), |(mass, first), index| (mass + flattest[index], first + flattest[index] * centred[index]));
    let mean = moments.1 / moments.0;
    let variance: f64 =
        (0..centred.len()).filter(free).map(|index| flattest[index] * (centred[index] - mean).powi(2)).sum();
    let start = (variance / (2.0 * feasible.slack)).sqrt();
    let spread = centred.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    if start > 0.0 && start.is_finite() { start } else { spread }
}

/// Newton in `log T`, kept inside the bracket; where it has nothing to go by, the middle of the bracket.
fn step(temperature: f64, at: &Evaluation, low: f64, high: f64, noise: f64) -> f64 {
    // Aim at the feasible side, or the last step stalls a unit short of it.
    let aim = if at.excess < 0.0 { at.excess - 0.5 * noise } else { at.excess - 0.25 * noise };
    let factor = (-aim / at.slope).exp();
    let newton = temperature * factor;
    let trusted = (1.0 / STEP_MAX..=STEP_MAX).contains(&factor);
    if trusted && newton != temperature && low < newton && newton < high {
        return newton;
    }
    if trusted && newton == temperature {
        return if at.excess < 0.0 { temperature.next_up() } else { temperature.next_down() };
    }
    if high.is_infinite() {
        temperature * STEP_MAX
    } else if low == 0.0 {
        temperature / STEP_MAX
    } else {
        (low.sqrt() * high.sqrt()).clamp(low, high)
    }
}

/// Shares at `temperature` into their row, exactly normalised.
fn evaluate(work: &mut Levels<'_>, feasible: &Feasible, temperature: f64, near: bool) -> Evaluation {
    let Levels { centred, floor, cap, flattest, exponential, share } = work;
    let exponent = |index: usize| (centred[index] / temperature).clamp(-EXPONENT_MAX, EXPONENT_MAX);
    for (index, e) in exponential.iter_mut().enumerate() {
        *e = exponent(index).exp();
    }
    let factor = normalise(exponential, floor, cap);
    let shift = factor.ln();
    let (mut entropy, mut deficit) = (0.0, 0.0);
    let (mut mass, mut first) = (0.0, 0.0);
    for index in 0..share.len() {
        let raw = factor * exponential[index];
        let p = clip(raw, floor[index], cap[index]);
        share[index] = p;
        if floor[index] < raw && raw < cap[index] {
            let log = exponent(index) + shift;
            entropy -= p * log;
            mass += p;
            first += p * log;
        } else {
            entropy -= super::p_log_p(p);
        }
        let flat = flattest[index];
        if near && flat > 0.0 {
            deficit += flat * kl_term(p / flat - 1.0) + (p - flat) * (flat / feasible.level).ln();
        }
    }
    let mean = first / mass;
    let free = (0..share.len()).filter(|&index| {
        let raw = factor * exponential[index];
        floor[index] < raw && raw < cap[index]
    });
    let slope = free.map(|index| share[index] * (exponent(index) + shift - mean).powi(2)).sum();
    let excess = if near { feasible.slack - deficit } else { entropy - feasible.entropy_min };
    Evaluation { excess, slope, shift }
}

/// The factor `z` with `Σ clip(z e, f, c) = 1`.
fn normalise(exponential: &[f64], floor: &[f64], cap: &[f64]) -> f64 {
    let (mut low, mut high) = (0.0_f64, f64::INFINITY);
    let mut factor = 1.0_f64;
    let mut reach = 16.0_f64;
    for _ in 0..400 {
        let (mut clipped, mut free) = (0.0, 0.0);
        for ((e, &floor), &cap) in exponential.iter().zip(floor).zip(cap) {
            let raw = factor * e;
            if raw <= floor {
                clipped += floor;
            } else if raw >= cap {
                clipped += cap;
            } else {
                free += e;
            }
        }
        let missing = 1.0 - clipped - factor * free;
        if missing > 0.0 {
            low = factor;
        } else if missing < 0.0 {
            high = factor;
        }
        if missing.abs() <= f64::EPSILON {
            break;
        }
        let newton = (1.0 - clipped) / free;
        let next = if newton > low && newton < high {
            newton
        } else if high.is_infinite() {
            reach *= reach.min(1e60);
            factor * reach
        } else if low == 0.0 {
            reach *= reach.min(1e60);
            factor / reach
        } else {
            low.sqrt() * high.sqrt()
        };
        if next == factor || !(low < next && next < high) {
            break;
        }
        factor = next;
    }
    factor
}
