//! The inventory term: the worked check of the specification, the lean, continuity.

use crate::case::{Case, Ladder};
use crate::draw::instance;
use crate::judge;
use equipoise::sides::{Budget, Inventory};
use equipoise::status::SidesStatus;

/// The worked check of the specification: 5 levels a side, one pot, at an inventory.
fn worked(position: f64) -> Case {
    let (price, leverage, margin) = (27.11, 10.0, 397.49);
    let depths = [2.0_f64, 4.0, 8.0, 16.0, 32.0];
    let side = |sign: f64| {
        let fill = depths.map(|depth| -(-0.3 * (-1500.0 * depth * 1e-4).exp() * 10.0).exp_m1());
        let edge = depths.map(|depth| depth - 3.0 * (-depth / 8.0).exp() - 1.5);
        let utility: Vec<f64> = fill.iter().zip(edge).map(|(fill, edge)| fill * edge * 1e-4 * price).collect();
        let charge: Vec<f64> = depths.iter().map(|depth| price * (1.0 + sign * depth * 1e-4) / leverage).collect();
        let mut ladder = Ladder::open(&utility, &charge);
        ladder.fill = fill.to_vec();
        ladder.entropy_min = 1.2;
        ladder.size_max = 146.62 + sign * position;
        ladder
    };
    Case {
        side: [side(-1.0), side(1.0)],
        budget: Budget { side: [f64::INFINITY; 2], total: margin },
        share: None,
        inventory: Some(Inventory {
            position,
            price_of_risk: 0.3 * (1e-4 * price) * (1e-4 * price) * 10.0,
            fill_variance: false,
        }),
    }
}

#[test]
fn the_worked_check_holds_to_its_printed_digits() {
    assert!((worked(0.0).eta() - 2.2049e-5).abs() < 0.5e-9);
    let expected = [(0.0, 74.71, 71.91, 1.10782), (40.0, 26.41, 120.09, 1.10687), (80.0, 0.0, 146.43, 1.10243)];
    for (position, bids, asks, objective) in expected {
        let solved = worked(position).solve();
        assert!((solved.total(0) - bids).abs() <= 0.005 + 1e-9, "{position}: {}", solved.total(0));
        assert!((solved.total(1) - asks).abs() <= 0.005 + 1e-9, "{position}: {}", solved.total(1));
        assert!((solved.outcome.objective - objective).abs() <= 0.5e-5 + 1e-12, "{:?}", solved.outcome);
    }
}

#[test]
fn a_long_position_leans_to_asks_by_itself() {
    let part = |position: f64| {
        let solved = worked(position).solve();
        solved.total(1) / (solved.total(0) + solved.total(1))
    };
    let parts: Vec<f64> = (-120..=120).map(|position| part(f64::from(position))).collect();
    for pair in parts.windows(2) {
        assert!(pair[1] >= pair[0] - 1e-7, "{pair:?}");
    }
    assert!(parts[0] < 0.01 && parts[240] > 0.99 && (parts[120] - 0.5).abs() < 0.02);
}

#[test]
fn objective_and_net_fills_are_continuous_in_inventory() {
    let mut cases = vec![worked(0.0)];
    cases.extend((0..40).map(|seed| instance([0, 3, 12, 15][(seed % 4) as usize], seed)));
    for (number, mut case) in cases.into_iter().enumerate() {
        let utility = case.side.iter().flat_map(|side| &side.utility).fold(0.0_f64, |most, u| most.max(u.abs()));
        let size = case.side[0].size_max.max(case.side[1].size_max);
        let eta = if number == 0 { case.eta() } else { utility / size };
        let mut before: Option<(f64, f64, f64)> = None;
        let step = size / 100.0;
        for position in -100..=100 {
            let position = f64::from(position) * step;
            case.inventory = Some(Inventory { position, price_of_risk: eta, fill_variance: false });
            let solved = case.solve();
            let outcome = solved.outcome;
            assert_ne!(outcome.status, SidesStatus::Inaccurate);
            // Of the objective the square is strictly concave: a gap moves net fills by no more than its root.
            let fills = judge::net_fills(&case, solved.sizes());
            let loose = (2.0 * (outcome.gap + 1e-12 * outcome.scale) / eta).sqrt();
            // Fills answer a step of inventory by at most the step, and never in the same direction.
            if let Some((last, value, price)) = before {
                let move_ = fills - last;
                assert!(move_ <= 2.0 * loose && move_ >= -step - 2.0 * loose, "{number} at {position}: {move_:e}");
                let slope = (outcome.objective - value) / step;
                let noise = 2.0 * (outcome.gap + 1e-12 * outcome.scale) / step + eta * loose;
                let (low, high) = (-outcome.inventory_price, -price);
                assert!(
                    slope >= low.min(high) - noise && slope <= low.max(high) + noise,
                    "{number} at {position}: {slope:e} {low:e} {high:e}"
                );
            }
            assert!((outcome.inventory_price - eta * (position + fills)).abs() <= eta * loose + 1e-9 * utility);
            before = Some((fills, outcome.objective, outcome.inventory_price));
        }
    }
}
