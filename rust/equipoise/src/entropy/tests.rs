//! Behaviour of the parts that the public interface does not show.
#![allow(clippy::unwrap_used)]

use super::solve::{BoundAt, Quick};
use super::water::{clip, kl_term, sum, water_level};
use super::{Bound, SideProblem, SideSolver, entropy, entropy_of_lots};
use crate::simd::{Width, dispatch};
use crate::status::Status;

#[test]
fn a_million_equal_floors_sum_to_one() {
    assert_eq!(sum(std::iter::repeat_n(1e-6, 1_000_000)), 1.0);
}

#[test]
fn the_water_level_reaches_the_mass_between_any_bounds() {
    for bounds in
        [vec![(0.0, 1.0); 3], vec![(0.0, 0.1), (0.5, 0.6), (0.0, 1.0)], vec![(0.2, 0.2), (0.0, 0.9), (0.1, 0.3)]]
    {
        let level = water_level(bounds.iter().copied(), 1.0);
        let total: f64 = bounds.iter().map(|&(floor, cap)| clip(level, floor, cap)).sum();
        assert!((total - 1.0).abs() < 1e-15, "{bounds:?}: {total}");
    }
}

#[test]
fn the_divergence_term_keeps_its_digits_near_zero_and_at_the_end() {
    assert_eq!(kl_term(0.0), 0.0);
    assert_eq!(kl_term(-1.0), 1.0);
    // Against the series where it is short, and across the seam of the two forms.
    assert!((kl_term(1e-8) / (0.5e-16 * (1.0 - 1e-8 / 3.0)) - 1.0).abs() < 1e-15);
    let (below, above) = (kl_term(0.000_999_999_999), kl_term(0.001));
    assert!((above / below - 1.0 - 2e-9).abs() < 1e-11, "{}", above / below - 1.0);
}

#[test]
fn entropy_counts_positive_weights_only() {
    assert!((entropy(&[2.0, 2.0, 0.0, -5.0]) - 2_f64.ln()).abs() < 1e-15);
    assert_eq!(entropy(&[]), 0.0);
    assert_eq!(entropy(&[0.0, f64::NAN]), 0.0);
}

#[test]
fn entropy_of_lots_is_that_of_their_shares() {
    assert!((entropy_of_lots(&[1, 1, 1]) - 3_f64.ln()).abs() < 1e-15);
    assert!((entropy_of_lots(&[2, 1, 1, 0]) - entropy(&[0.5, 0.25, 0.25])).abs() < 1e-15);
    assert_eq!(entropy_of_lots(&[0, 7, 0]), 0.0);
    assert_eq!(entropy_of_lots(&[]), 0.0);
    assert!((entropy_of_lots(&[i64::MAX, i64::MAX]) - 2_f64.ln()).abs() < 1e-15);
}

/// Ladders of a market, with some noise.
fn ladder(levels: usize, seed: usize) -> Vec<f64> {
    (0..levels)
        .map(|level| {
            let depth = 2.0 * 16_f64.powf(level as f64 / levels as f64);
            let edge = depth - 3.0 * (-depth / 8.0).exp() - 1.5;
            edge * (-0.15 * depth).exp() + 0.3 * ((level * 7 + seed * 13) as f64).sin()
        })
        .collect()
}

#[test]
fn usual_ladders_are_answered_by_the_quick_search_in_few_evaluations() {
    let mut answered = 0;
    for levels in [5, 10, 25, 50] {
        for seed in 0..25 {
            let utility = ladder(levels, seed);
            let k = levels as f64;
            for (floor, cap) in [(0.0, 1.0), (0.05 / k, (4.0 / k).min(1.0))] {
                let problem = SideProblem {
                    utility: &utility,
                    entropy_min: 0.85 * k.ln(),
                    floor: Bound::Scalar(floor),
                    cap: Bound::Scalar(cap),
                };
                answered += u32::from(dispatch(Quick(&problem), Width::Avx512));
                assert!(SideSolver::new().solve(&problem).unwrap().iterations <= 8);
            }
        }
    }
    assert!(answered >= 190, "{answered} of 200");
}

#[test]
fn the_dual_bound_holds_at_any_multipliers() {
    for seed in 0..200 {
        let levels = 2 + seed % 12;
        let utility = ladder(levels, seed);
        let k = levels as f64;
        let part = [0.1, 0.5, 0.9, 0.9999][seed % 4];
        for (floor, cap) in [(0.0, 1.0), (0.05 / k, (3.0 / k).min(1.0))] {
            let problem = SideProblem {
                utility: &utility,
                entropy_min: part * k.ln(),
                floor: Bound::Scalar(floor),
                cap: Bound::Scalar(cap),
            };
            let solution = SideSolver::new().solve(&problem).unwrap();
            assert_eq!(solution.status, Status::Optimal);
            let scale = utility.iter().fold(0.0_f64, |largest, u| largest.max(u.abs()));
            for power in -6..6 {
                for offset in -4..5 {
                    let temperature = scale * 3_f64.powi(power);
                    let normaliser = scale * f64::from(offset) * 0.7;
                    let at = BoundAt { problem: &problem, temperature, normaliser };
                    let bound = dispatch(at, Width::Avx512).unwrap();
                    let rounding = 1e-12 * (scale + temperature);
                    assert!(
                        bound >= solution.objective - rounding,
                        "seed {seed} T {temperature} ν {normaliser}: {bound}"
                    );
                }
            }
            let tight =
                BoundAt { problem: &problem, temperature: solution.temperature, normaliser: solution.normaliser };
            let bound = dispatch(tight, Width::Portable).unwrap();
            assert!((bound - solution.objective).abs() <= 1e-9 * scale);
        }
    }
}
