//! Randomised shares that keep the entropy floor: a Dirichlet draw around the optimum, mixed with the flattest shares by the
//! smallest part that meets the floor.
//!
//! The draw of a level depends on the seed, its side and its price alone, so that an order whose price stays keeps its part
//! of the noise, unchanged input gives unchanged orders, and the order in which levels are given does not matter. Only
//! additions, multiplications, divisions and square roots are used: the same numbers on every machine.

use super::config::Jitter;
use crate::entropy::entropy;
use crate::units::Side;

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Clone, Copy, Debug)]
struct Generator(u64);

impl Generator {
    /// A stream of its own for every seed, side and price.
    fn of(seed: u64, side: Side, price_ticks: i64) -> Self {
        let mut generator = Self(seed);
        for word in [side.sign() as u64, price_ticks as u64] {
            generator.0 = generator.bits() ^ word;
        }
        generator
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1), never an end.
    fn unit(&mut self) -> f64 {
        ((self.bits() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    /// Standard normal, by Marsaglia's polar method.
    fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * ln(square) / square).sqrt();
            }
        }
    }

    /// Gamma with the given shape and scale one (Marsaglia and Tsang 2000); shapes below one by a power of a uniform.
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape <= 0.0 {
            return 0.0;
        }
        if shape < 1.0 {
            let power = ln(self.unit()) / shape;
            return self.gamma(shape + 1.0) * exp(power);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let cube = 1.0 + c * x;
            if cube <= 0.0 {
                continue;
            }
            let v = cube * cube * cube;
            if ln(self.unit()) < 0.5 * x * x + d * (1.0 - v + ln(v)) {
                return d * v;
            }
        }
    }
}

/// Natural logarithm of a positive normal number from basic operations: the platform's own differs in the last digit.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as f64 - 1023.0;
    let mut m = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1.0;
    }
    // ln m = 2 atanh t with |t| ≤ 0.172: the first term left out is below 1e-17.
    let t = (m - 1.0) / (m + 1.0);
    let square = t * t;
    let mut sum = 0.0;
    for odd in (1..=21).rev().step_by(2) {
        sum = sum * square + 1.0 / f64::from(odd);
    }
    exponent * std::f64::consts::LN_2 + 2.0 * t * sum
}

/// `e^x` for `x ≤ 0` from basic operations; zero below −700.
fn exp(x: f64) -> f64 {
    if x < -700.0 {
        return 0.0;
    }
    // x = k ln 2 + r with |r| ≤ ln 2 / 2.
    let k = (x / std::f64::consts::LN_2).round();
    let r = x - k * std::f64::consts::LN_2;
    let mut sum = 1.0;
    for term in (1..=18).rev() {
        sum = 1.0 + sum * r / f64::from(term);
    }
    sum * f64::from_bits(((1023.0 + k) as u64) << 52)
}

/// Moves `share` (not negative, summing to one) to randomised shares within floor and cap whose entropy is at least
/// `entropy_min`, or the flattest shares where even those have less. `false`, and nothing changed, where there is nothing to
/// randomise.
pub(super) fn jittered(
    jitter: Jitter,
    side: Side,
    price_ticks: &[i64],
    entropy_min: f64,
    (floor, cap): (f64, f64),
    share: &mut [f64],
) -> bool {
    let count = share.len() as f64;
    let (floor, cap) = (floor.min(1.0 / count), cap.max(1.0 / count));
    if jitter.strength <= 0.0 || share.len() < 2 {
        return false;
    }
    let before = share.to_vec();
    // The variance of a share is p (1 − p) / (c + 1).
    let concentration = 1.0 / (jitter.strength * jitter.strength) - 1.0;
    for (share, &ticks) in share.iter_mut().zip(price_ticks) {
        *share = Generator::of(jitter.seed, side, ticks).gamma(*share * concentration);
    }
    let drawn: f64 = share.iter().sum();
    if !(drawn > 0.0 && drawn.is_finite()) {
        share.copy_from_slice(&before);
    }
    into_box(share, floor, cap);
    // Entropy is concave along the segment and largest at its end: it only grows.
    let flat = 1.0 / count;
    let draw = share.to_vec();
    let mixed = |share: &mut [f64], part: f64| {
        for (share, draw) in share.iter_mut().zip(&draw) {
            *share = (1.0 - part) * draw + part * flat;
        }
        entropy(share) >= entropy_min
    };
    if mixed(share, 0.0) {
        return true;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if mixed(share, middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    mixed(share, high);
    true
}

/// Least weight of a level, in parts of all: one that drew nothing must still reach what floors and caps leave to it.
const WEIGHT_LEAST: f64 = 1e-12;

/// Scales weights, not all zero, into shares that sum to one, each within floor and cap.
fn into_box(weights: &mut [f64], floor: f64, cap: f64) {
    let total: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight = (*weight / total).max(WEIGHT_LEAST));
    let sum = |factor: f64| weights.iter().map(|weight| (weight * factor).clamp(floor, cap)).sum::<f64>();
    // The sum grows with the factor, from the floors to the caps; where the caps just sum to one it may not get there.
    let (mut low, mut high) = (0.0, 1.0);
    while sum(high) < 1.0 && high < 1.0 / WEIGHT_LEAST {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if sum(middle) < 1.0 { low = middle } else { high = middle }
    }
    let factor = high;
    weights.iter_mut().for_each(|weight| *weight = (*weight * factor).clamp(floor, cap));
    let total: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= total);
}

#[cfg(test)]
mod tests {
    use super::{Generator, exp, jittered, ln};
    use crate::entropy::entropy;
    use crate::ladder::Jitter;
    use crate::units::Side;
    use proptest::prelude::*;

    #[test]
    fn the_functions_agree_with_the_platform() {
        for x in [1e-300, 1e-9, 0.3, 0.999_999, 1.0, 1.5, 7.0, 1e9] {
            assert!((ln(x) - f64::ln(x)).abs() <= 4e-16 * f64::ln(x).abs() + 1e-16, "{x}");
        }
        for x in [0.0, -1e-9, -0.3, -1.0, -30.0, -690.0] {
            assert!((exp(x) / f64::exp(x) - 1.0).abs() <= 1e-13, "{x}");
        }
        assert_eq!(exp(-701.0), 0.0);
    }

    #[test]
    fn a_stream_is_the_same_everywhere() {
        let mut stream = Generator::of(7, Side::Bid, 27_110);
        assert_eq!(stream.bits(), PINNED_BITS);
        assert_eq!(stream.gamma(0.4).to_bits(), PINNED_SMALL.to_bits());
        assert_eq!(stream.gamma(5.0).to_bits(), PINNED_LARGE.to_bits());
    }

    // From the same recipe written in another language.
    const PINNED_BITS: u64 = 17_934_085_302_956_947_977;
    const PINNED_SMALL: f64 = 0.011_139_492_311_259_176;
    const PINNED_LARGE: f64 = 3.855_734_467_199_144_3;

    #[test]
    fn draws_have_the_mean_and_the_spread_they_were_asked_for() {
        let (share, strength) = ([0.5, 0.3, 0.2], 0.2);
        let (mut sum, mut squares) = ([0.0; 3], [0.0; 3]);
        let draws = 20_000_u32;
        for seed in 0..draws {
            let mut drawn = share;
            let jitter = Jitter { strength, seed: u64::from(seed) };
            assert!(jittered(jitter, Side::Ask, &[10, 11, 12], 0.0, (0.0, 1.0), &mut drawn));
            for i in 0..3 {
                sum[i] += drawn[i];
                squares[i] += drawn[i] * drawn[i];
            }
        }
        let count = f64::from(draws);
        for i in 0..3 {
            let (mean, p) = (sum[i] / count, share[i]);
            let deviation = (squares[i] / count - mean * mean).sqrt();
            let wanted = strength * (p * (1.0 - p)).sqrt();
            assert!((mean - p).abs() < 5.0 * wanted / count.sqrt(), "{i}: {mean}");
            assert!((deviation / wanted - 1.0).abs() < 0.05, "{i}: {deviation} {wanted}");
        }
    }

    proptest! {
        #[test]
        fn shares_stay_in_their_box_and_above_the_floor(
            weights in prop::collection::vec(0.001..1.0_f64, 2..12),
            strength in 0.01..0.99_f64,
            part in 0.0..1.0_f64,
            tight in 0.0..1.0_f64,
            seed: u64,
        ) {
            let count = weights.len() as f64;
            let ticks: Vec<i64> = (0..weights.len() as i64).map(|i| 1_000 + i).collect();
            let (floor, cap) = (tight * 0.9 / count, 1.0 / count + (1.0 - tight) * (1.0 - 1.0 / count));
            let entropy_min = part * count.ln();
            let total: f64 = weights.iter().sum();
            let share: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
            let draw = |seed| {
                let mut drawn = share.clone();
                jittered(Jitter { strength, seed }, Side::Bid, &ticks, entropy_min, (floor, cap), &mut drawn);
                drawn
            };
            let drawn = draw(seed);
            prop_assert!((drawn.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(drawn.iter().all(|p| *p >= floor - 1e-9 && *p <= cap + 1e-9), "{:?}", drawn);
            prop_assert!(entropy(&drawn) >= entropy_min - 1e-9);
            prop_assert_eq!(&drawn, &draw(seed));
            // Levels given in another order draw the same.
            let reversed: Vec<f64> = share.iter().rev().copied().collect();
            let ticks: Vec<i64> = ticks.iter().rev().copied().collect();
            let mut other = reversed;
            jittered(Jitter { strength, seed }, Side::Bid, &ticks, entropy_min, (floor, cap), &mut other);
            for (a, b) in drawn.iter().zip(other.iter().rev()) {
                prop_assert!((a - b).abs() < 1e-9);
            }
        }
    }
}
