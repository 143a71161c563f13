//! Behaviour of the parts that the public interface does not show.
#![allow(clippy::unwrap_used)]

use super::bounds::{clip, sum, water_level};
use super::certificate::kl_term;
use super::{Bound, SideProblem, SideSolver, entropy, entropy_of_lots};

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

#[test]
fn a_usual_ladder_takes_the_quick_search_and_few_evaluations() {
    let utility: Vec<f64> = (0..25).map(|level| (f64::from(level) * 1.7).sin()).collect();
    let mut solver = SideSolver::new();
    let open = SideProblem { utility: &utility, entropy_min: 2.7, floor: Bound::Scalar(0.0), cap: Bound::Scalar(1.0) };
    assert!(solver.solve(&open).unwrap().iterations <= 4);
    let boxed = SideProblem { floor: Bound::Scalar(0.002), cap: Bound::Scalar(0.16), ..open };
    assert!(solver.solve(&boxed).unwrap().iterations <= 6);
}
