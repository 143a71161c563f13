//! Properties and published figures of `equipoise::shape`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use equipoise::shape::{
    DEPTH_MAX_BPS, DepthSpacing, FillModel, GEOMETRIC_RATIO_MIN, Levels, Parameters, Shape, depth_of_price_bps, erfc,
    first_passage, ladder_depths, normal_cdf, price_at_depth, spread,
};
use equipoise::units::Side;
use proptest::prelude::*;

fn example() -> Parameters {
    Parameters {
        volatility: 1e-4,
        fill_rate: 0.3,
        fill_decay: 1500.0,
        horizon_s: 10.0,
        risk_aversion: 0.3,
        unit: 14.66,
        adverse_bps: 3.0,
        adverse_decay_bps: 8.0,
        fee_bps: 1.5,
        fill_model: FillModel::Intensity,
        depth_min_bps: 0.0,
    }
}

fn close(got: f64, wanted: f64, tolerance: f64) {
    assert!((got - wanted).abs() <= tolerance, "got {got}, wanted {wanted} within {tolerance}");
}

#[test]
fn half_spread_of_the_textbook_numbers_is_6_666_bps_before_fee() {
    close(spread(0.3, 1500.0, 1e-4, 0.1, 0.0).half_bps, 6.666, 5e-4);
    close(spread(0.3, 1500.0, 1e-4, 0.1, 1.5).half_bps, 8.166, 5e-4);
}

#[test]
fn asymptotic_depths_match_the_worked_example() {
    let worked = spread(120.0, 1500.0, 1e-4, 0.1, 0.0);
    close(worked.skew_bps, 1.063, 5e-4);
    close(worked.depth_bps(Side::Bid, 1.0), 8.008, 5e-4);
    close(worked.depth_bps(Side::Ask, 1.0), 5.882, 5e-4);
    let shape = Shape::new(example()).unwrap();
    close(shape.risk_aversion_fraction(27.11), 119.0, 0.5);
    close(shape.price_of_risk(27.11), 2.2049e-5, 5e-10);
}

#[test]
fn risk_neutral_limit_has_half_spread_one_over_kappa_and_no_skew() {
    let neutral = spread(0.0, 1500.0, 1e-4, 0.1, 0.0);
    close(neutral.half_bps, 1e4 / 1500.0, 1e-12);
    assert!(neutral.skew_bps == 0.0);
    let nearly = spread(1e-12, 1500.0, 1e-4, 0.1, 0.0);
    close(nearly.half_bps, neutral.half_bps, 1e-9);
}

#[test]
fn geometric_depths_from_2_to_32_over_five_levels_double() {
    let mut out = [0.0; 5];
    assert_eq!(ladder_depths(2.0, &DepthSpacing::Geometric { outer_bps: 32.0 }, &mut out), 5);
    for (got, wanted) in out.iter().zip([2.0, 4.0, 8.0, 16.0, 32.0]) {
        close(*got, wanted, 1e-12);
    }
    ladder_depths(2.0, &DepthSpacing::Growing { step_bps: 2.0, ratio: 2.0 }, &mut out);
    assert_eq!(out, [2.0, 4.0, 8.0, 16.0, 32.0]);
    ladder_depths(2.0, &DepthSpacing::Linear { step_bps: 1.5 }, &mut out);
    assert_eq!(out, [2.0, 3.5, 5.0, 6.5, 8.0]);
}

#[test]
fn given_depths_are_kept_as_they_stand_and_counted() {
    let given = DepthSpacing::Given(vec![5.0, 3.0, 3.0]);
    given.check().unwrap();
    let mut out = [0.0; 5];
    assert_eq!(ladder_depths(1.0, &given, &mut out), 3);
    assert_eq!(out[..3], [5.0, 3.0, 3.0]);
    assert_eq!(ladder_depths(1.0, &given, &mut out[..2]), 2);
    assert_eq!(ladder_depths(1.0, &given, &mut []), 0);
}

#[test]
fn geometric_ladder_skewed_past_its_outer_depth_keeps_its_levels_apart() {
    let mut out = [0.0; 4];
    ladder_depths(50.0, &DepthSpacing::Geometric { outer_bps: 32.0 }, &mut out);
    for pair in out.windows(2) {
        close(pair[1] / pair[0], GEOMETRIC_RATIO_MIN, 1e-12);
    }
    ladder_depths(0.0, &DepthSpacing::Geometric { outer_bps: 32.0 }, &mut out);
    assert!(out[0] > 0.0 && out.windows(2).all(|pair| pair[1] > pair[0]));
    close(out[3], 32.0, 1e-11);
}

#[test]
fn erfc_is_relative_to_itself_far_out() {
    // Reference values computed with 40-digit arithmetic.
    for (x, wanted) in [
        (0.0, 1.0),
        (1e-9, 0.999_999_998_871_620_8),
        (0.5, 0.479_500_122_186_953_5),
        (1.0, 0.157_299_207_050_285_13),
        (3.0, 2.209_049_699_858_544e-5),
        (10.0, 2.088_487_583_762_545e-45),
        (20.0, 5.395_865_611_607_901e-176),
        (26.0, 5.663_192_408_856_143e-296),
        (-1.0, 1.842_700_792_949_715),
    ] {
        assert!((erfc(x) / wanted - 1.0).abs() < 1e-12, "erfc({x}) = {:e}, wanted {wanted:e}", erfc(x));
    }
    assert_eq!((erfc(f64::INFINITY), erfc(f64::NEG_INFINITY)), (0.0, 2.0));
    assert!(erfc(f64::NAN).is_nan());
    close(normal_cdf(0.0), 0.5, 1e-16);
}

#[test]
fn first_passage_is_certain_at_the_mid_and_impossible_without_movement() {
    assert_eq!([first_passage(0.0, 1e-3), first_passage(-1.0, 0.0), first_passage(1e-9, 0.0)], [1.0, 1.0, 0.0]);
}

#[test]
fn inventory_is_clipped_to_the_position_limit_but_one_reference_order_always_counts() {
    let shape = Shape::new(Parameters { unit: 10.0, ..example() }).unwrap();
    for ((position, limit), wanted) in [
        ((25.0, 100.0), 2.5),
        ((250.0, 100.0), 10.0),
        ((-250.0, 100.0), -10.0),
        ((50.0, 0.0), 1.0),
        ((-5.0, 0.0), -0.5),
        ((1e300, f64::INFINITY), 1e299),
    ] {
        assert!((shape.inventory_q(position, limit) / wanted - 1.0).abs() < 1e-15, "{position} of {limit}");
    }
}

#[test]
fn a_level_rounded_away_from_its_depth_earns_the_difference() {
    let levels = Levels::new(&[2.0, 4.0], &[0.5, 0.25], &[1.0, 3.0]).unwrap();
    let rounded = levels.value_at(1, 4.3, 100.0).unwrap();
    close(rounded.edge_bps, 3.3, 1e-12);
    close(rounded.utility, 0.25 * 3.3e-4 * 100.0, 1e-15);
    assert!(levels.value_at(2, 4.0, 100.0).is_none());
}

#[test]
fn every_parameter_refuses_nan_infinities_and_its_range_by_name() {
    type Set = fn(&mut Parameters, f64);
    let fields: [(&str, Set, &[f64]); 10] = [
        ("volatility", |p, v| p.volatility = v, &[-1e-9, 1.1]),
        ("fill_rate", |p, v| p.fill_rate = v, &[0.0, -1.0]),
        ("fill_decay", |p, v| p.fill_decay = v, &[0.0, -1.0]),
        ("horizon_s", |p, v| p.horizon_s = v, &[0.0, -1.0]),
        ("risk_aversion", |p, v| p.risk_aversion = v, &[-1e-9]),
        ("unit", |p, v| p.unit = v, &[0.0, -1.0]),
        ("adverse_bps", |p, v| p.adverse_bps = v, &[-1e-9]),
        ("adverse_decay_bps", |p, v| p.adverse_decay_bps = v, &[0.0]),
        ("fee_bps", |p, v| p.fee_bps = v, &[-10_001.0, 10_001.0]),
        ("depth_min_bps", |p, v| p.depth_min_bps = v, &[-1e-9]),
    ];
    for (name, set, bad) in fields {
        for &value in bad.iter().chain(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]) {
            let mut parameters = example();
            set(&mut parameters, value);
            assert_eq!(Shape::new(parameters).unwrap_err().argument, name, "{value}");
        }
    }
}

#[test]
fn levels_and_spacings_refuse_hostile_numbers_by_name_and_index() {
    let at = |result: equipoise::Result<Levels>| result.map_err(|error| (error.argument, error.index)).unwrap_err();
    assert_eq!(at(Levels::new(&[], &[], &[])), ("depth_bps", None));
    assert_eq!(at(Levels::new(&[1.0, 2.0], &[0.1], &[1.0, 1.0])), ("fill_probability", None));
    assert_eq!(at(Levels::new(&[1.0], &[0.1], &[])), ("edge_bps", None));
    assert_eq!(at(Levels::new(&[1.0, f64::NAN], &[0.1; 2], &[1.0; 2])), ("depth_bps", Some(1)));
    assert_eq!(at(Levels::new(&[1.0, 2.0], &[0.1, 1.1], &[1.0; 2])), ("fill_probability", Some(1)));
    assert_eq!(at(Levels::new(&[1.0], &[f64::NAN], &[1.0])), ("fill_probability", Some(0)));
    assert_eq!(at(Levels::new(&[1.0], &[0.1], &[f64::INFINITY])), ("edge_bps", Some(0)));
    for spacing in [
        DepthSpacing::Linear { step_bps: 0.0 },
        DepthSpacing::Linear { step_bps: f64::NAN },
        DepthSpacing::Geometric { outer_bps: f64::INFINITY },
        DepthSpacing::Growing { step_bps: 1.0, ratio: 0.5 },
        DepthSpacing::Given(vec![]),
        DepthSpacing::Given(vec![1.0, f64::NAN]),
    ] {
        assert!(spacing.check().is_err(), "{spacing:?}");
    }
}

fn parameters() -> impl Strategy<Value = Parameters> {
    let positive = |low: f64, high: f64| (low.ln()..high.ln()).prop_map(f64::exp);
    (
        (positive(1e-9, 1.0), positive(1e-9, 1e9), positive(1e-9, 1e9), positive(1e-9, 1e9)),
        (positive(1e-12, 1e9), positive(1e-9, 1e15), 0.0..1e3, positive(1e-9, 1e6), -1e2..1e2, any::<bool>()),
    )
        .prop_map(
            |((volatility, fill_rate, fill_decay, horizon_s), (gamma, unit, adverse, decay, fee, passage))| {
                Parameters {
                    volatility,
                    fill_rate,
                    fill_decay,
                    horizon_s,
                    risk_aversion: gamma,
                    unit,
                    adverse_bps: adverse,
                    adverse_decay_bps: decay,
                    fee_bps: fee,
                    fill_model: if passage { FillModel::FirstPassage } else { FillModel::Intensity },
                    depth_min_bps: 0.0,
                }
            },
        )
}

proptest! {
    #[test]
    fn fill_probability_is_a_probability_and_never_rises_with_depth(p in parameters(), a in -1e6..1e6, b in -1e6..1e6) {
        let shape = Shape::new(p).unwrap();
        let (near, far) = (f64::min(a, b), f64::max(a, b));
        let (likely, unlikely) = (shape.fill_probability(near), shape.fill_probability(far));
        prop_assert!((0.0..=1.0).contains(&likely) && (0.0..=1.0).contains(&unlikely));
        prop_assert!(likely >= unlikely - 4e-16, "{likely} < {unlikely}");
    }

    #[test]
    fn edge_never_falls_with_depth(p in parameters(), a in -1e6..1e6, b in -1e6..1e6) {
        let shape = Shape::new(p).unwrap();
        let (near, far) = (f64::min(a, b), f64::max(a, b));
        prop_assert!(shape.edge_bps(far) >= shape.edge_bps(near) - 1e-9);
    }

    #[test]
    fn bid_depth_at_q_is_ask_depth_at_minus_q_and_rises_with_q(
        p in parameters(), price in 1e-6..1e9, q in -1e6..1e6, more in 0.0..1e6,
    ) {
        let shape = Shape::new(p).unwrap();
        let bid = shape.side_depth_bps(Side::Bid, q, price);
        prop_assert!(bid == shape.side_depth_bps(Side::Ask, -q, price));
        prop_assert!(shape.side_depth_bps(Side::Bid, q + more, price) >= bid);
        prop_assert!(shape.side_depth_bps(Side::Ask, q + more, price) <= shape.side_depth_bps(Side::Ask, q, price));
        prop_assert_eq!(shape.depths_bps(q, price), (bid, shape.side_depth_bps(Side::Ask, q, price)));
        prop_assert!((0.0..=DEPTH_MAX_BPS).contains(&bid));
    }

    #[test]
    fn depths_do_not_change_when_price_is_scaled_and_risk_aversion_unscaled(
        p in parameters(), price in 1e-3..1e6, scale in 1e-3..1e3, q in -50.0..50.0,
    ) {
        let shape = Shape::new(p).unwrap();
        let scaled = Parameters { risk_aversion: p.risk_aversion / scale, ..p };
        prop_assume!(scaled.risk_aversion <= 1e9);
        let (bid, ask) = shape.depths_bps(q, price);
        let (bid_scaled, ask_scaled) = Shape::new(scaled).unwrap().depths_bps(q, price * scale);
        // The difference of two large terms may be small: compare on their scale.
        let spread = shape.spread(price);
        let size = 1e-12 * (1.0 + spread.half_bps.abs() + (q.abs() + 1.0) * spread.skew_bps);
        prop_assert!((bid - bid_scaled).abs() <= size && (ask - ask_scaled).abs() <= size);
    }

    #[test]
    fn no_number_in_range_gives_a_number_that_is_not_finite(
        p in parameters(), price in 1e-9..1e18_f64, position in -1e18..1e18, limit in 0.0..1e18, depth in -1e6..1e6,
    ) {
        let shape = Shape::new(p).unwrap();
        let (bid, ask) = shape.depths_bps(shape.inventory_q(position, limit), price);
        let value = shape.value_at(depth, price);
        for number in [bid, ask, value.fill_probability, value.adverse_bps, value.edge_bps, value.utility] {
            prop_assert!(number.is_finite());
        }
        prop_assert_eq!(value.edge_bps, shape.edge_bps(depth));
        prop_assert_eq!(value.fill_probability, shape.fill_probability(depth));
    }

    #[test]
    fn spaced_depths_start_at_the_inner_one_and_never_fall(
        inner in 0.0..1e3, size in 1e-3..1e3, ratio in 1.0..4.0, levels in 1_usize..60,
    ) {
        let mut out = vec![f64::NAN; levels];
        for spacing in [
            DepthSpacing::Linear { step_bps: size },
            DepthSpacing::Geometric { outer_bps: size },
            DepthSpacing::Growing { step_bps: size, ratio },
        ] {
            prop_assert_eq!(ladder_depths(inner, &spacing, &mut out), levels);
            prop_assert!(out.windows(2).all(|pair| pair[1] >= pair[0]), "{:?} {:?}", spacing, out);
            prop_assert!(out.iter().all(|depth| (0.0..=DEPTH_MAX_BPS).contains(depth)));
            prop_assert!((out[0] - inner).abs() <= 0.01);
        }
    }

    #[test]
    fn depth_of_a_price_inverts_price_at_a_depth(mid in 1e-3..1e6, depth in -9e3..9e3) {
        for side in [Side::Bid, Side::Ask] {
            let back = depth_of_price_bps(side, price_at_depth(side, depth, mid), mid);
            prop_assert!((back - depth).abs() < 1e-9);
        }
    }
}
