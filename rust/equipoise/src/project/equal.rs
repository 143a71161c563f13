//! The most equal ladders of a support: one water level, `n_i = clip(t, lots_min_i, lots_cap_i)`.
//!
//! Raising `t` by one lot raises the entropy exactly while `ln t` lies below the mean of `ln n` weighted by lots, and the
//! difference of the two only grows with `t`; so the entropy rises to one peak and falls after it, and every water level
//! with enough entropy lies in one interval around the peak.

use super::ENTROPY_TIE;
use super::levels::Levels;
use super::lots::Limits;

/// A water level and the entropy it gives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) lots: i64,
    pub(super) entropy: f64,
}

/// Figures of the ladder at one water level.
struct At {
    entropy: f64,
    /// `ln t` is below the weighted mean of `ln n`.
    rising: bool,
}

/// Lots of level `i` at water level `t`.
pub(super) fn clip(levels: &Levels, i: usize, t: i64) -> i64 {
    t.clamp(levels.min[i], levels.cap[i])
}

fn at(levels: &Levels, support: &[usize], t: i64) -> At {
    let (mut total, mut sum) = (0.0, 0.0);
    for &i in support {
        let n = clip(levels, i, t) as f64;
        total += n;
        sum += n * n.ln();
    }
    let mean = sum / total;
    At { entropy: total.ln() - mean, rising: (t as f64).ln() < mean - 1e-13 }
}

/// Whether the ladder at water level `t` keeps the budget and the total.
fn affordable(levels: &Levels, support: &[usize], limits: &Limits, t: i64) -> bool {
    let (mut held, mut total) = (0_i128, 0_i128);
    for &i in support {
        let lots = clip(levels, i, t);
        held += i128::from(levels.rate[i].charge(lots));
        total += i128::from(lots);
    }
    held <= i128::from(limits.budget) && total <= i128::from(limits.total_max)
}

/// Largest `t` in `[low, high]` with `holds`, which is true up to some point and false after it, and true at `low`.
fn last(mut low: i64, mut high: i64, mut holds: impl FnMut(i64) -> bool) -> i64 {
    while low < high {
        let middle = low + (high - low) / 2 + (high - low) % 2;
        if holds(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// The most equal affordable ladder, the larger of two alike; `None` when not even the smallest orders are affordable.
pub(super) fn peak(levels: &Levels, support: &[usize], limits: &Limits) -> Option<Level> {
    let top = largest(levels, support, limits)?;
    // Above the peak the entropy is level as long as all are equal, and falls where caps hold some back.
    let rise = last(1, top, |t| t == 1 || at(levels, support, t - 1).rising);
    let best = at(levels, support, rise).entropy;
    let flat = last(rise, top, |t| t == rise || at(levels, support, t).entropy >= best - 1e-14);
    Some(Level { lots: flat, entropy: best })
}

/// The largest affordable water level.
fn largest(levels: &Levels, support: &[usize], limits: &Limits) -> Option<i64> {
    if support.is_empty() || !affordable(levels, support, limits, 1) {
        return None;
    }
    let most = support.iter().map(|&i| levels.cap[i]).max()?;
    Some(last(1, most.max(1), |t| t == 1 || affordable(levels, support, limits, t)))
}

/// The largest and the smallest affordable water level that meets the entropy floor.
pub(super) fn range(levels: &Levels, support: &[usize], limits: &Limits) -> Option<(i64, i64)> {
    let top = largest(levels, support, limits)?;
    let peak = peak(levels, support, limits)?;
    let floor = limits.entropy_min - ENTROPY_TIE;
    if peak.entropy < floor {
        return None;
    }
    let high = last(peak.lots, top, |t| t == peak.lots || at(levels, support, t).entropy >= floor);
    let low =
        peak.lots - last(0, peak.lots - 1, |back| back == 0 || at(levels, support, peak.lots - back).entropy >= floor);
    Some((low, high))
}
