//! The two older optimizers behind the interface of the entropy optimizer, and the regime factor on its temperature.
//!
//! * [`proportional`]: sizes in proportion to what a level earns; no view on risk.
//! * [`kelly`]: a fraction of the growth-optimal size, level by level, under one margin constraint.
//!
//! Both return sizes that the integer-lot projection takes as its target, so minimums, caps, margin and the entropy floor
//! hold for them as for the entropy optimizer.

use crate::entropy::{Bound, SideProblem, SideSolver};
use crate::error::{Error, Result};

/// Largest regime factor on the temperature.
pub const TEMPERATURE_FACTOR_MAX: f64 = 3.0;

/// Largest number the Kelly problem takes: products of three of them stay finite.
const LARGEST: f64 = 1e100;

/// Shares in proportion to the positive part of the utilities (fill probability × edge): 25, 100, 25 gives 1/6, 2/3, 1/6.
/// False, and all shares zero, when nothing is positive.
///
/// # Panics
/// Never: levels beyond the shorter slice are left alone.
pub fn proportional(utility: &[f64], share: &mut [f64]) -> bool {
    let largest = utility.iter().fold(0.0_f64, |largest, u| largest.max(*u));
    if !(largest > 0.0 && largest.is_finite()) {
        share.fill(0.0);
        return false;
    }
    // Over the largest first: sums of finite numbers may not be finite.
    let total: f64 = utility.iter().map(|u| u.max(0.0) / largest).sum();
    for (share, u) in share.iter_mut().zip(utility) {
        *share = u.max(0.0) / largest / total;
    }
    true
}

/// Parameters of the fractional Kelly optimizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KellyConfig {
    /// Share φ of full Kelly, above 0, at most 1.
    pub fraction: f64,
    /// Probability α₀ that a fill at the touch is adverse, 0…1.
    pub toxicity: f64,
    /// Depth δ_α over which that probability falls by 1/e, bps.
    pub toxicity_decay_bps: f64,
}

impl Default for KellyConfig {
    fn default() -> Self {
        Self { fraction: 0.25, toxicity: 0.15, toxicity_decay_bps: 10.0 }
    }
}

/// Gain of one contract filled at a level: a fill earns the capture, or with some probability loses the adverse move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KellyValue {
    /// Expected gain e of one contract, account currency.
    pub edge: f64,
    /// Variance v of that gain, account currency squared.
    pub variance: f64,
}

impl KellyConfig {
    /// Gain of one contract at `depth_bps` with capture `SC` (depth less fee) and adverse move `AS`, both in bps of `price`:
    /// `α = α₀ e^{−δ/δ_α}`, `e = ((1−α) SC − α AS) · price · 1e-4`, `v = α (1−α) (SC + AS)² (price · 1e-4)²`.
    #[must_use]
    pub fn value(&self, depth_bps: f64, capture_bps: f64, adverse_bps: f64, price: f64) -> KellyValue {
        let alpha = (self.toxicity * (-depth_bps / self.toxicity_decay_bps).exp()).clamp(0.0, 1.0);
        let unit = price * 1e-4;
        let spread = (capture_bps + adverse_bps) * unit;
        KellyValue {
            edge: ((1.0 - alpha) * capture_bps - alpha * adverse_bps) * unit,
            variance: alpha * (1.0 - alpha) * spread * spread,
        }
    }
}

/// `max Σ π_i (e_i s_i − v_i s_i² / (2 φ W))` subject to `Σ m_i s_i ≤ M`, `0 ≤ s_i ≤ C_i`.
#[derive(Clone, Copy, Debug)]
pub struct KellyProblem<'a> {
    /// Expected gain e of one unit at each level, account currency; finite.
    pub edge: &'a [f64],
    /// Variance v of that gain; finite, not negative. Zero makes the level linear.
    pub variance: &'a [f64],
    /// Weight π of each level, its fill probability; finite, not negative.
    pub weight: &'a [f64],
    /// Margin m of one unit, account currency; finite, not negative.
    pub margin_per_unit: &'a [f64],
    /// Largest size C of each level; finite, not negative.
    pub size_cap: &'a [f64],
    /// φ·W: fraction of full Kelly times equity, account currency; positive, finite.
    pub fraction_equity: f64,
    /// Margin M, account currency; finite, not negative.
    pub margin: f64,
}

/// Multiplier and value of a Kelly solution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KellySolution {
    /// Price μ of margin: value of one more unit of it. Zero when margin is left over.
    pub margin_price: f64,
    /// `Σ π (e s − v s²/(2φW))` of the sizes.
    pub objective: f64,
    /// An upper bound on the objective of any feasible sizes, from the price of margin alone.
    pub dual_bound: f64,
}

impl KellyProblem<'_> {
    fn check(&self, size: &[f64]) -> Result<()> {
        const SIGNED: &str = "between -1e100 and 1e100";
        const POSITIVE: &str = "between 0 and 1e100";
        const MARGIN: &str = "0, or between 1e-100 and 1e100";
        let levels = self.edge.len();
        let rows: [(&'static str, &[f64], &'static str, f64); 5] = [
            ("edge", self.edge, SIGNED, -LARGEST),
            ("variance", self.variance, POSITIVE, 0.0),
            ("weight", self.weight, POSITIVE, 0.0),
            ("margin_per_unit", self.margin_per_unit, MARGIN, 0.0),
            ("size_cap", self.size_cap, POSITIVE, 0.0),
        ];
        for (name, values, requirement, smallest) in rows {
            if values.len() != levels {
                return Err(Error::new(name, "as long as edge", format_args!("{} values", values.len())));
            }
            if let Some(index) = values.iter().position(|value| !(smallest..=LARGEST).contains(value)) {
                return Err(Error::at(name, index, requirement, values[index]));
            }
        }
        if let Some(index) = self.margin_per_unit.iter().position(|margin| *margin > 0.0 && *margin < 1.0 / LARGEST) {
            return Err(Error::at("margin_per_unit", index, MARGIN, self.margin_per_unit[index]));
        }
        if size.len() != levels {
            return Err(Error::new("size", "as long as edge", format_args!("{} values", size.len())));
        }
        if !(1.0 / LARGEST..=LARGEST).contains(&self.fraction_equity) {
            return Err(Error::new("fraction_equity", "between 1e-100 and 1e100", self.fraction_equity));
        }
        if !(0.0..=LARGEST).contains(&self.margin) {
            return Err(Error::new("margin", POSITIVE, self.margin));
        }
        Ok(())
    }

    /// Largest useful size of a level: its cap, and where its marginal value reaches zero.
    fn size_max(&self, level: usize) -> f64 {
        let (edge, variance) = (self.edge[level], self.variance[level]);
        if !(edge > 0.0 && self.weight[level] > 0.0) {
            return 0.0;
        }
        let own = if variance > 0.0 { self.fraction_equity * edge / variance } else { f64::INFINITY };
        own.min(self.size_cap[level])
    }

    /// Margin prices between which a level's size falls from its largest to zero.
    fn prices(&self, level: usize) -> (f64, f64) {
        let per_margin = self.weight[level] / self.margin_per_unit[level];
        let slope = self.variance[level] * self.size_max(level) / self.fraction_equity;
        (per_margin * (self.edge[level] - slope).max(0.0), per_margin * self.edge[level])
    }

    /// Size of a level at a margin price; where it jumps (no variance), the size below the jump.
    fn size_at(&self, level: usize, price: f64) -> f64 {
        let largest = self.size_max(level);
        if largest == 0.0 || self.margin_per_unit[level] == 0.0 {
            return largest;
        }
        let (bottom, top) = self.prices(level);
        if price <= bottom {
            largest
        } else if price >= top {
            0.0
        } else {
            // Between the two, in proportion: no division by a variance that may be tiny.
            largest * ((top - price) / (top - bottom))
        }
    }

    /// Margin used at a price, and with sizes at the price's own jumps left out.
    fn usage(&self, price: f64) -> (f64, f64) {
        let mut used = (0.0, 0.0);
        for level in 0..self.edge.len() {
            let margin = self.margin_per_unit[level] * self.size_at(level, price);
            used.0 += margin;
            if self.prices(level) != (price, price) {
                used.1 += margin;
            }
        }
        used
    }

    /// `Σ π (e s − v s²/(2φW))`.
    fn value(&self, size: &[f64]) -> f64 {
        let term = |level: usize| {
            let s = size[level];
            self.weight[level] * s * (self.edge[level] - 0.5 * self.variance[level] * s / self.fraction_equity)
        };
        (0..size.len()).map(term).sum()
    }

    /// `M μ + Σ max_{0 ≤ s ≤ C} [π (e s − v s²/(2φW)) − μ m s]`: a bound for any μ ≥ 0.
    fn bound(&self, price: f64) -> f64 {
        let term = |level: usize| {
            let gain = self.weight[level] * self.edge[level] - price * self.margin_per_unit[level];
            let curve = self.weight[level] * self.variance[level] / self.fraction_equity;
            if gain <= 0.0 {
                return 0.0;
            }
            let s = (gain / curve).min(self.size_cap[level]);
            s * (gain - 0.5 * curve * s)
        };
        price * self.margin + (0..self.edge.len()).map(term).sum::<f64>()
    }
}

/// Fractional Kelly sizes into `size`: `s_i = clip(φ W (e_i − μ m_i/π_i) / v_i, 0, C_i)` with the smallest `μ ≥ 0` that
/// keeps the margin. The breakpoints of the usage are searched exactly; `v → 0` is the fractional knapsack.
///
/// # Errors
/// A number out of its range, or slices of different lengths.
pub fn kelly(problem: &KellyProblem<'_>, size: &mut [f64]) -> Result<KellySolution> {
    problem.check(size)?;
    let levels = size.len();
    let price = margin_price(problem);
    let (used, without_jumps) = problem.usage(price);
    // Levels without variance that are worth exactly the price share what the others leave.
    let jumping = used - without_jumps;
    let fraction = if jumping > 0.0 { ((problem.margin - without_jumps) / jumping).clamp(0.0, 1.0) } else { 1.0 };
    for (level, size) in size.iter_mut().enumerate() {
        let whole = problem.size_at(level, price);
        *size = if price > 0.0 && problem.prices(level) == (price, price) { whole * fraction } else { whole };
    }
    // A last rounding must not exceed the margin.
    let held: f64 = (0..levels).map(|level| problem.margin_per_unit[level] * size[level]).sum();
    if held > problem.margin {
        let shrink = problem.margin / held * (1.0 - f64::EPSILON);
        for (size, margin) in size.iter_mut().zip(problem.margin_per_unit) {
            if *margin > 0.0 {
                *size *= shrink;
            }
        }
    }
    let objective = problem.value(size);
    Ok(KellySolution { margin_price: price, objective, dual_bound: problem.bound(price).max(objective) })
}

/// The smallest price at which the margin suffices: between two neighbouring breakpoints the usage is a line.
fn margin_price(problem: &KellyProblem<'_>) -> f64 {
    if problem.usage(0.0).0 <= problem.margin {
        return 0.0;
    }
    // The usage is not increasing: find the neighbouring breakpoints around the crossing.
    let (mut low, mut high) = (0.0_f64, f64::INFINITY);
    loop {
        let between = |price: f64| low < price && price < high;
        let inside = || {
            (0..problem.edge.len())
                .filter(|&level| problem.margin_per_unit[level] > 0.0 && problem.size_max(level) > 0.0)
                .flat_map(|level| <[f64; 2]>::from(problem.prices(level)))
                .filter(|&price| between(price))
        };
        let count = inside().count();
        let Some(pivot) = middle(inside(), count) else { break };
        let (used, without_jumps) = problem.usage(pivot);
        if without_jumps > problem.margin {
            low = pivot;
        } else if used > problem.margin {
            return pivot;
        } else {
            high = pivot;
        }
    }
    if high.is_infinite() {
        return low;
    }
    let (at_low, at_high) = (problem.usage(low).1, problem.usage(high).0);
    if at_low > at_high {
        low + (high - low) * ((at_low - problem.margin) / (at_low - at_high)).clamp(0.0, 1.0)
    } else {
        high
    }
}

/// A value near the middle of the values: the mean of their ends would be off where they span many magnitudes.
fn middle(values: impl Iterator<Item = f64> + Clone, count: usize) -> Option<f64> {
    // The one of rank count/2 among a few candidates spread over the list.
    values
        .clone()
        .step_by((count / 8).max(1))
        .min_by_key(|candidate| values.clone().filter(|value| value < candidate).count().abs_diff(count / 2))
}

/// Entropy floor after the regime factor: the entropy of the optimum at `factor` times its temperature, never below
/// `entropy_min` and always feasible. With the entropy floor slack (`T = 0`), or met by a single point, the factor has no
/// effect and the floor comes back as it went in.
///
/// # Errors
/// As the solver; a factor below one or not finite.
pub fn tempered(
    solver: &mut SideSolver,
    utility: &[f64],
    entropy_min: f64,
    share_floor: f64,
    share_cap: f64,
    factor: f64,
) -> Result<f64> {
    if !(1.0..=f64::MAX).contains(&factor) {
        return Err(Error::new("factor", "finite and at least 1", factor));
    }
    let problem =
        SideProblem { utility, entropy_min, floor: Bound::Scalar(share_floor), cap: Bound::Scalar(share_cap) };
    let solution = solver.solve(&problem)?;
    if !(solution.temperature > 0.0 && solution.temperature.is_finite()) {
        return Ok(entropy_min);
    }
    let raised = solver.entropy_at(&problem, solution.temperature * factor.min(TEMPERATURE_FACTOR_MAX))?;
    Ok(raised.max(entropy_min).min(solution.entropy_max))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn proportional_shares_of_25_100_25_are_a_sixth_two_thirds_a_sixth() {
        let mut share = [0.0; 3];
        assert!(proportional(&[25.0, 100.0, 25.0], &mut share));
        for (share, expected) in share.iter().zip([1.0 / 6.0, 2.0 / 3.0, 1.0 / 6.0]) {
            assert!((share - expected).abs() < 1e-15);
        }
    }

    #[test]
    fn proportional_gives_nothing_to_levels_without_value() {
        let mut share = [9.0; 3];
        assert!(proportional(&[-5.0, 2.0, 0.0], &mut share));
        assert_eq!(share, [0.0, 1.0, 0.0]);
        assert!(!proportional(&[-5.0, 0.0, -1.0], &mut share));
        assert_eq!(share, [0.0; 3]);
    }

    #[test]
    fn kelly_values_follow_the_stated_formulas() {
        let config = KellyConfig::default();
        let KellyValue { edge, variance } = config.value(10.0, 8.5, 3.0, 27.11);
        let alpha = 0.15 * (-1.0_f64).exp();
        let unit = 27.11e-4;
        assert!((edge - ((1.0 - alpha) * 8.5 - alpha * 3.0) * unit).abs() < 1e-18);
        assert!((variance - alpha * (1.0 - alpha) * (11.5 * unit).powi(2)).abs() < 1e-18);
    }

    fn solve(fraction: f64, variance: [f64; 3], margin: f64) -> ([f64; 3], KellySolution) {
        let problem = KellyProblem {
            edge: &[0.02, 0.03, 0.01],
            variance: &variance,
            weight: &[0.5, 0.3, 0.9],
            margin_per_unit: &[2.7, 2.8, 2.6],
            size_cap: &[100.0; 3],
            fraction_equity: fraction * 400.0,
            margin,
        };
        let mut size = [0.0; 3];
        let solution = kelly(&problem, &mut size).unwrap();
        (size, solution)
    }

    #[test]
    fn fractions_of_kelly_give_different_sizes() {
        let totals = [0.05, 0.25, 0.75].map(|fraction| solve(fraction, [0.1, 0.2, 0.1], 400.0).0);
        assert!(totals[0].iter().sum::<f64>() < totals[1].iter().sum::<f64>());
        assert_ne!(totals[1], totals[2]);
        // Where margin binds, both use it all and differ in shape.
        let tight = [0.25, 0.75].map(|fraction| solve(fraction, [0.1, 0.2, 0.1], 100.0).0);
        assert_ne!(tight[0], tight[1]);
    }

    #[test]
    fn a_vanishing_variance_is_the_fractional_knapsack() {
        let (linear, solution) = solve(0.25, [0.0; 3], 400.0);
        // Value per margin: 0.5·0.02/2.7, 0.3·0.03/2.8, 0.9·0.01/2.6: the first level, then the third.
        assert_eq!(linear[0], 100.0);
        assert!((linear[2] - 130.0 / 2.6).abs() < 1e-12 && linear[1] == 0.0, "{linear:?}");
        assert!((solution.margin_price - 0.009 / 2.6).abs() < 1e-15);
        let (nearly, _) = solve(0.25, [1e-10; 3], 400.0);
        for (a, b) in linear.iter().zip(nearly) {
            assert!((a - b).abs() < 1e-3, "{linear:?} {nearly:?}");
        }
    }

    #[test]
    fn malformed_kelly_input_is_named() {
        let problem = KellyProblem {
            edge: &[1.0, f64::NAN],
            variance: &[1.0, 1.0],
            weight: &[1.0, 1.0],
            margin_per_unit: &[1.0, 1.0],
            size_cap: &[1.0, 1.0],
            fraction_equity: 1.0,
            margin: 1.0,
        };
        let error = kelly(&problem, &mut [0.0; 2]).unwrap_err();
        assert_eq!((error.argument, error.index), ("edge", Some(1)));
        let error = kelly(&KellyProblem { edge: &[1.0], ..problem }, &mut [0.0]).unwrap_err();
        assert_eq!(error.argument, "variance");
    }

    proptest! {
        #[test]
        fn kelly_sizes_are_feasible_and_reach_their_dual_bound(
            rows in proptest::collection::vec(
                (-0.05..0.1_f64, prop_oneof![Just(0.0), 1e-6..1.0_f64], 0.0..1.0_f64, 0.01..5.0_f64, 0.0..50.0_f64), 1..20),
            fraction_equity in 1.0..1000.0_f64,
            share in prop_oneof![Just(0.0), 0.0..1.5_f64],
        ) {
            let column = |pick: fn(&(f64, f64, f64, f64, f64)) -> f64| rows.iter().map(pick).collect::<Vec<f64>>();
            let (edge, variance, weight) = (column(|r| r.0), column(|r| r.1), column(|r| r.2));
            let (margin_per_unit, size_cap) = (column(|r| r.3), column(|r| r.4));
            let wanted: f64 = margin_per_unit.iter().zip(&size_cap).map(|(m, c)| m * c).sum();
            let problem = KellyProblem {
                edge: &edge, variance: &variance, weight: &weight, margin_per_unit: &margin_per_unit, size_cap: &size_cap,
                fraction_equity, margin: wanted * share,
            };
            let mut size = vec![0.0; rows.len()];
            let solution = kelly(&problem, &mut size).unwrap();
            let held: f64 = size.iter().zip(&margin_per_unit).map(|(s, m)| s * m).sum();
            prop_assert!(held <= problem.margin * (1.0 + 1e-15));
            prop_assert!(size.iter().zip(&size_cap).all(|(s, c)| *s >= 0.0 && s <= c));
            let gap = solution.dual_bound - solution.objective;
            let scale: f64 = (0..rows.len()).map(|i| weight[i] * edge[i].abs() * size_cap[i]).sum();
            prop_assert!(gap <= 1e-12 * scale, "{solution:?} {size:?}");
        }

        #[test]
        fn a_raised_temperature_raises_the_entropy_floor_and_stays_feasible(
            utility in proptest::collection::vec(-1.0..1.0_f64, 1..20), part in 0.0..1.0_f64, factor in 1.0..5.0_f64,
        ) {
            let mut solver = SideSolver::new();
            let entropy_min = part * (utility.len() as f64).ln();
            let raised = tempered(&mut solver, &utility, entropy_min, 0.0, 1.0, factor).unwrap();
            prop_assert!(raised >= entropy_min);
            let problem = SideProblem { utility: &utility, entropy_min: raised, floor: Bound::Scalar(0.0), cap: Bound::Scalar(1.0) };
            let solution = solver.solve(&problem).unwrap();
            prop_assert_eq!(solution.status, crate::status::Status::Optimal);
        }
    }

    #[test]
    fn the_regime_factor_is_capped_at_three_and_idle_at_temperature_zero() {
        let mut solver = SideSolver::new();
        let utility = [3.0, 2.0, 1.0];
        let at = |factor| tempered(&mut SideSolver::new(), &utility, 0.5, 0.0, 1.0, factor).unwrap();
        assert!(at(1.0) <= at(2.0) && at(2.0) < at(3.0));
        assert_eq!(at(3.0), at(30.0));
        assert_eq!(tempered(&mut solver, &utility, 0.0, 0.0, 1.0, 3.0).unwrap(), 0.0);
        assert!(tempered(&mut solver, &utility, 0.5, 0.0, 1.0, f64::NAN).is_err());
    }

    #[test]
    fn tempered_entropy_is_that_of_the_exponential_family() {
        let utility = [3.0, 2.0, 1.0, 0.5];
        let mut solver = SideSolver::new();
        let problem =
            SideProblem { utility: &utility, entropy_min: 0.9, floor: Bound::Scalar(0.0), cap: Bound::Scalar(1.0) };
        let temperature = 2.0 * solver.solve(&problem).unwrap().temperature;
        let weights = utility.map(|u| (u / temperature).exp());
        let raised = tempered(&mut solver, &utility, 0.9, 0.0, 1.0, 2.0).unwrap();
        assert!((raised - crate::entropy::entropy(&weights)).abs() < 1e-13);
    }
}
