//! Shares between bounds: the flattest of them, and sums that keep their digits.

/// Roundoff that sums of floors or caps may show against one: far below any share that matters, far above rounding.
pub(crate) const SUM_TIE: f64 = 5e-13;

/// `value` moved into `[floor, cap]`.
#[inline(always)]
pub(crate) fn clip(value: f64, floor: f64, cap: f64) -> f64 {
    let above = if value > floor { value } else { floor };
    if above < cap { above } else { cap }
}

/// Sum with the rounding errors carried along (Neumaier), so that a million equal floors still sum to one.
pub(crate) fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut total, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = total + value;
        lost += if total.abs() >= value.abs() { (total - next) + value } else { (value - next) + total };
        total = next;
    }
    total + lost
}

/// The level `t` with `Σ clip(t, f, c) = mass`: Newton on an increasing, piecewise linear function, inside a bracket.
/// Where the floors alone reach the mass, or the caps do not, the nearest end.
pub(crate) fn water_level(bounds: impl Iterator<Item = (f64, f64)> + Clone, mass: f64) -> f64 {
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

/// `−Σ p ln p` of shares that sum to one; the largest entropy exactly where they are all equal.
pub(crate) fn entropy_of(share: &[f64]) -> f64 {
    if share.windows(2).all(|pair| pair[0] == pair[1]) {
        return (share.len() as f64).ln();
    }
    -sum(share.iter().map(|&p| super::p_log_p(p)))
}

/// `(1 + x) ln(1 + x) − x`, without cancellation near zero.
pub(crate) fn kl_term(x: f64) -> f64 {
    if x.abs() < 1e-3 {
        x * x * (0.5 - x * (1.0 / 6.0 - x * (1.0 / 12.0 - x * (1.0 / 20.0 - x / 30.0))))
    } else if x <= -1.0 {
        1.0
    } else {
        (1.0 + x) * x.ln_1p() - x
    }
}
