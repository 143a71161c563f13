//! The quick search: a third-order iteration in `log T`, one vector exponential a step.
//!
//! At a temperature `T`, with exponents `x = (u − ρ)/T` and raw shares `z e^x`, the sums `Σ p x^k` over the levels strictly
//! between their bounds give the entropy and its first two derivatives:
//!
//! ```text
//! dH/d log T = v,      d²H/d log T² = −2v − w,      v = Σ p (x − x̄)²,   w = Σ p (x − x̄)³
//! ```
//!
//! Once the step is small the shares follow it by a polynomial and need no further exponential. The search gives up rather
//! than guess: near the largest entropy, at temperature zero, at extreme ranges, or when it does not settle.

use super::Warm;
use super::bounds::{Boxes, Feasible};
use super::rows::Rows;
use super::solve::{Found, Survey};
use crate::lanes::{EXPONENT_MAX, LANES, Lanes};

/// Longer ladders are no place to save nanoseconds; their sums want compensation.
const LEVELS_MAX: usize = 4096;
const ITERATIONS_MAX: u32 = 14;
/// A step in `log T` this small leaves an error of its cube, and the shares follow it without another exponential.
const STEP_SMALL: f64 = 1e-5;
/// Largest step in `log T`.
const STEP_MAX: f64 = 2.0;
/// Raw shares below this are no shares: they stand for exponents at the clamp.
const SHARE_TINY: f64 = 1e-250;
/// Padding of open boxes: its exponential vanishes at any temperature.
const FAR: f64 = -1e300;

/// Multipliers with the shares in their row, or nothing when this search is not the right one.
#[inline(always)]
pub(super) fn search<L: Lanes>(
    rows: &mut Rows<'_>,
    boxes: &Boxes,
    feasible: &Feasible,
    survey: Survey,
    warm: Option<Warm>,
) -> Option<Found> {
    let spread = survey.largest - survey.smallest;
    let ordinary = 1e-100 < spread && survey.scale() < 1e100 && rows.levels <= LEVELS_MAX;
    if !ordinary || feasible.tight || feasible.near_max() || feasible.entropy_min <= 1e-14 {
        return None;
    }
    let moments = centre::<L>(rows, survey.largest);
    let start = match warm {
        Some(warm) if warm.temperature > 1e-100 && warm.temperature < 1e100 => warm.temperature,
        _ => moments.start(feasible.slack),
    };
    if matches!(boxes, Boxes::Open) {
        if moments.ties > 1.0 && feasible.entropy_min <= moments.ties.ln() + 1e-14 {
            return None;
        }
        close_padding(rows);
        return open::<L>(rows, feasible, survey.largest, start);
    }
    if same_boxes_leave_enough(rows, boxes, feasible.entropy_min) {
        return None;
    }
    boxed::<L>(rows, feasible, survey.largest, start)
}

/// Moments of the centred utilities over all levels.
struct Moments {
    variance: f64,
    skew: f64,
    /// Levels at the reference.
    ties: f64,
}

/// Differences from the reference into their row, and their moments.
#[inline(always)]
fn centre<L: Lanes>(rows: &mut Rows<'_>, reference: f64) -> Moments {
    let (mut first, mut second, mut third, mut ties) = (L::zero(), L::zero(), L::zero(), L::zero());
    for (utility, centred) in rows.utility.iter().zip(rows.centred.iter_mut()) {
        let d = L::load(utility).sub(L::splat(reference));
        d.store(centred);
        let square = d.mul(d);
        first = first.add(d);
        second = second.add(square);
        third = square.mul_add(d, third);
        ties = ties.add(d.if_equal(L::zero(), L::splat(1.0), L::zero()));
    }
    // The padding repeats the first level.
    let padding = (rows.utility.len() * LANES - rows.levels) as f64;
    let repeated = rows.utility[0][0] - reference;
    let count = rows.levels as f64;
    let mean = (first.sum() - padding * repeated) / count;
    let second = (second.sum() - padding * repeated * repeated) / count;
    let third = (third.sum() - padding * repeated * repeated * repeated) / count;
    let variance = second - mean * mean;
    Moments {
        variance,
        skew: third - mean * (3.0 * variance + mean * mean),
        ties: ties.sum() - if repeated == 0.0 { padding } else { 0.0 },
    }
}

impl Moments {
    /// Temperature from `H_max − H = w²/2 + s w³/3 + …`, with `w` the standard deviation over `T` and `s` the skewness.
    #[inline(always)]
    fn start(&self, slack: f64) -> f64 {
        let deviation = self.variance.sqrt();
        let w = (2.0 * slack).sqrt();
        let bend = (self.skew / (self.variance * deviation) * w / 3.0).clamp(-0.4, 2.0);
        deviation * (1.0 + bend) / w
    }
}

/// Gives the padding of open boxes no weight.
#[inline(always)]
fn close_padding(rows: &mut Rows<'_>) {
    let levels = rows.levels;
    rows.centred.as_flattened_mut()[levels..].fill(FAR);
    rows.utility.as_flattened_mut()[levels..].fill(FAR);
}

/// With one floor and one cap for all, the filled point without ties has an entropy that does not depend on the utilities,
/// and ties only raise it: where it suffices the temperature is zero.
#[inline(always)]
fn same_boxes_leave_enough(rows: &Rows<'_>, boxes: &Boxes, entropy_min: f64) -> bool {
    let Boxes::Same { floor, cap } = *boxes else { return false };
    let count = rows.levels as f64;
    let room = 1.0 - count * floor;
    let full = (room / (cap - floor)).floor().min(count - 1.0);
    if full.is_nan() || full < 0.0 {
        return false;
    }
    let marginal = floor + (room - full * (cap - floor)).clamp(0.0, 1.0);
    let (floor_log, cap_log) = (rows.floor_log[0][0], rows.cap_log[0][0]);
    // Any bound above the marginal term will do when the rest decides.
    let known = -full * cap_log - (count - full - 1.0) * floor_log;
    known >= entropy_min || known + 0.37 >= entropy_min && known - super::p_log_p(marginal) >= entropy_min
}

/// The step in `log T` towards zero excess, by Halley's method where its bend can be trusted.
#[inline(always)]
fn step(excess: f64, slope: f64, third: f64) -> f64 {
    let newton = -excess / slope;
    let bend = 1.0 - newton * (1.0 + 0.5 * third / slope);
    let step = if bend > 0.25 { newton / bend } else { newton };
    step.clamp(-STEP_MAX, STEP_MAX)
}

/// `e^t`, close enough to steer by, for `|t| ≤ 2`.
#[inline(always)]
fn growth(t: f64) -> f64 {
    let (up, down) = (t + 3.0, t - 3.0);
    (up * up + 3.0) / (down * down + 3.0)
}

/// `e^{−t} − 1` for `|t| ≤ 1e-5`.
#[inline(always)]
fn shrinkage(t: f64) -> f64 {
    -t * (1.0 - t * (0.5 - t / 6.0))
}

/// `e^y` for `|y|` up to a few thousandths.
#[inline(always)]
fn exp_small<L: Lanes>(y: L) -> L {
    let y2 = y.mul_add(L::splat(1.0 / 6.0), L::splat(0.5));
    y.mul_add(y2, L::splat(1.0)).mul_add(y, L::splat(1.0))
}

/// No bounds: shares are exponentials over their sum.
#[inline(always)]
fn open<L: Lanes>(rows: &mut Rows<'_>, feasible: &Feasible, reference: f64, start: f64) -> Option<Found> {
    let mut temperature = start;
    for iterations in 1..=ITERATIONS_MAX {
        let rate = L::splat(1.0 / temperature);
        let mut sums = [L::zero(); 4];
        for (centred, exponential) in rows.centred.iter().zip(rows.exponential.iter_mut()) {
            let x = L::load(centred).mul(rate).max(L::splat(-EXPONENT_MAX));
            let e = x.exp();
            e.store(exponential);
            let (ex, exx) = (e.mul(x), e.mul(x).mul(x));
            sums = [sums[0].add(e), sums[1].add(ex), sums[2].add(exx), exx.mul_add(x, sums[3])];
        }
        let (total, first, second, third) = (sums[0].sum(), sums[1].sum(), sums[2].sum(), sums[3].sum());
        let inverse = 1.0 / total;
        let mean = first * inverse;
        let square = second * inverse;
        let slope = square - mean * mean;
        let bend = third * inverse - mean * (3.0 * square - 2.0 * mean * mean);
        let step = step(total.ln() - mean - feasible.entropy_min, slope, bend);
        if step.abs() <= STEP_SMALL {
            return Some(finish_open::<L>(rows, reference, temperature, step, iterations));
        }
        temperature *= growth(step);
        if temperature.is_nan() || temperature < 1e-100 {
            return None;
        }
    }
    None
}

/// The last, small step without another exponential.
#[inline(always)]
fn finish_open<L: Lanes>(rows: &mut Rows<'_>, reference: f64, temperature: f64, step: f64, iterations: u32) -> Found {
    let rate = L::splat(1.0 / temperature);
    let shrinkage = shrinkage(step);
    let mut total = L::zero();
    for (centred, exponential) in rows.centred.iter().zip(rows.exponential.iter_mut()) {
        let x = L::load(centred).mul(rate).max(L::splat(-EXPONENT_MAX));
        let moved = L::load(exponential).mul(exp_small(x.mul(L::splat(shrinkage))));
        moved.store(exponential);
        total = total.add(moved);
    }
    let total = total.sum();
    let factor = L::splat(1.0 / total);
    for (exponential, share) in rows.exponential.iter().zip(rows.share.iter_mut()) {
        let p = L::load(exponential).mul_add(factor, L::splat(-SHARE_TINY));
        p.max(L::zero()).store(share);
    }
    let temperature = temperature / (1.0 + shrinkage);
    Found { temperature, normaliser: reference + temperature * total.ln(), iterations }
}

/// Sums over the levels of one evaluation with bounds.
struct Boxed {
    /// `Σ clip(z e, f, c)`.
    total: f64,
    /// `Σ p x^k` over free levels.
    free: [f64; 4],
    /// `Σ p ln p` over clipped levels.
    clipped_log: f64,
}

/// With bounds: raw shares `z e^x` are clipped, and `z` is found by Newton on the sum.
#[inline(always)]
fn boxed<L: Lanes>(rows: &mut Rows<'_>, feasible: &Feasible, reference: f64, start: f64) -> Option<Found> {
    let mut temperature = start;
    // Centre of the exponents, less the reference: an estimate of ν once there is one.
    let mut centre = 0.0_f64;
    let mut tolerance = 1e-2;
    for iterations in 1..=ITERATIONS_MAX {
        let rate = 1.0 / temperature;
        let mut total = L::zero();
        for (centred, exponential) in rows.centred.iter().zip(rows.exponential.iter_mut()) {
            let e = exponent::<L>(centred, centre, rate).exp();
            e.store(exponential);
            total = total.add(e);
        }
        let mut factor = if iterations == 1 { 1.0 / total.sum() } else { 1.0 };
        let mut passes = 0;
        let sums = loop {
            let sums = clipped::<L>(rows, centre, rate, factor);
            let missing = 1.0 - sums.total;
            if missing.abs() <= tolerance {
                break sums;
            }
            passes += 1;
            factor *= 1.0 + missing / sums.free[0];
            let trusted = passes <= 8 && factor > 0.0 && factor < 1e200;
            if !trusted {
                return None;
            }
        };
        // What is missing goes to the free levels alone.
        let missing = 1.0 - sums.total;
        let stretch = 1.0 + missing / sums.free[0];
        let shift = (factor * stretch).ln();
        let (mass, first) = (sums.free[0] * stretch, sums.free[1] * stretch);
        let (second, third) = (sums.free[2] * stretch, sums.free[3] * stretch);
        let mean = first / mass;
        let slope = second - first * mean;
        let bend = third - mean * (3.0 * second - 2.0 * first * mean);
        let excess = -(shift * mass + first) - sums.clipped_log - feasible.entropy_min;
        let step = step(excess, slope, bend);
        if step.abs() <= STEP_SMALL && missing.abs() <= 1e-7 {
            let at = (temperature, centre, factor * stretch, mean);
            return finish_boxed::<L>(rows, reference, at, step, iterations);
        }
        tolerance = (1e-2 * step.abs()).clamp(1e-8, 1e-2);
        let next = temperature * growth(step);
        // Levels keep their mass to first order when exponents shrink towards their mean.
        centre += -temperature * shift - (mean + shift) * (next - temperature);
        temperature = next;
        // Far from the reference, differences have lost digits; and a vanishing temperature may be zero.
        let trusted = temperature > 1e-100 && centre.abs() <= 200.0 * temperature;
        if !trusted {
            return None;
        }
    }
    None
}

#[inline(always)]
fn exponent<L: Lanes>(centred: &[f64; LANES], centre: f64, rate: f64) -> L {
    let x = L::load(centred).sub(L::splat(centre)).mul(L::splat(rate));
    x.max(L::splat(-EXPONENT_MAX)).min(L::splat(EXPONENT_MAX))
}

/// Clips at the factor `z` and sums.
#[inline(always)]
fn clipped<L: Lanes>(rows: &Rows<'_>, centre: f64, rate: f64, factor: f64) -> Boxed {
    let (mut total, mut clipped_log, mut free) = (L::zero(), L::zero(), [L::zero(); 4]);
    for index in 0..rows.centred.len() {
        let x = exponent::<L>(&rows.centred[index], centre, rate);
        let (floor, cap) = (L::load(&rows.floor[index]), L::load(&rows.cap[index]));
        let raw = L::load(&rows.exponential[index]).mul(L::splat(factor));
        let p = raw.max(floor).min(cap);
        let log = p.if_equal(floor, L::load(&rows.floor_log[index]), L::load(&rows.cap_log[index]));
        total = total.add(p);
        clipped_log = clipped_log.add(p.if_equal(raw, L::zero(), log));
        let inside = p.if_equal(raw, p, L::zero());
        let (px, pxx) = (inside.mul(x), inside.mul(x).mul(x));
        free = [free[0].add(inside), free[1].add(px), free[2].add(pxx), pxx.mul_add(x, free[3])];
    }
    Boxed {
        total: total.sum(),
        free: [free[0].sum(), free[1].sum(), free[2].sum(), free[3].sum()],
        clipped_log: clipped_log.sum(),
    }
}

/// The last, small step without another exponential, and the exact sum.
#[inline(always)]
fn finish_boxed<L: Lanes>(
    rows: &mut Rows<'_>,
    reference: f64,
    (temperature, centre, factor, mean): (f64, f64, f64, f64),
    step: f64,
    iterations: u32,
) -> Option<Found> {
    let rate = 1.0 / temperature;
    let shrinkage = shrinkage(step);
    for (centred, exponential) in rows.centred.iter().zip(rows.exponential.iter_mut()) {
        let x = exponent::<L>(centred, centre, rate);
        let moved = exp_small(x.sub(L::splat(mean)).mul(L::splat(shrinkage)));
        L::load(exponential).mul(moved).mul(L::splat(factor)).sub(L::splat(SHARE_TINY)).store(exponential);
    }
    let mut stretch = 1.0;
    for _ in 0..6 {
        let (mut total, mut free) = (L::zero(), L::zero());
        for index in 0..rows.exponential.len() {
            let raw = L::load(&rows.exponential[index]).mul(L::splat(stretch));
            let p = raw.max(L::load(&rows.floor[index])).min(L::load(&rows.cap[index]));
            p.store(&mut rows.share[index]);
            total = total.add(p);
            free = free.add(p.if_equal(raw, p, L::zero()));
        }
        let missing = 1.0 - total.sum();
        if missing.abs() <= 4.0 * f64::EPSILON {
            let cooled = temperature / (1.0 + shrinkage);
            let shift = (factor * stretch).ln() - mean * shrinkage;
            return Some(Found { temperature: cooled, normaliser: reference + centre - cooled * shift, iterations });
        }
        stretch *= 1.0 + missing / free.sum();
    }
    None
}
