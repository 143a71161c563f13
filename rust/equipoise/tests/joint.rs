//! Policy `joint` against the inventory policy: by its own measure never worse, within the same budget, under every rule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use equipoise::entropy::{Bound, SideProblem, SideSolver};
use equipoise::ladder::{
    Jitter, JointConfig, LadderConfig, LadderEngine, Optimizer, Policy, Quote, Returned, SideQuote, Source,
};
use equipoise::margin::{Combine, OrderMarginRule};
use equipoise::market::{Account, Market};
use equipoise::project::{Breadth, OnInfeasible, OnUnprofitable};
use equipoise::shape::{DepthSpacing, Levels};
use equipoise::split::SplitConfig;
use equipoise::status::SidesStatus;
use equipoise::units::{Decimal, Instrument, PriceRule};
use proptest::prelude::*;

const LOT: f64 = 0.01;

fn dec(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

fn market() -> Market {
    let instrument = Instrument {
        tick: dec("0.001"),
        lot: dec("0.01"),
        contract_value: Decimal::ONE,
        inverse: false,
        notional_min: dec("10"),
        price_rule: PriceRule::Tick,
    };
    Market::new(instrument, dec("27.109"), dec("27.111"), dec("27.11"), None).unwrap()
}

fn config(policy: Policy, eta: f64, entropy_min: f64, levels: usize) -> LadderConfig {
    LadderConfig {
        levels,
        spacing: DepthSpacing::Geometric { outer_bps: 32.0 },
        inner_bps: None,
        entropy_min,
        temperature_factor: 1.0,
        optimizer: Optimizer::Entropy,
        split: SplitConfig::default(),
        share_floor: 0.0,
        share_cap: 1.0,
        breadth: Breadth::default(),
        on_infeasible: OnInfeasible::Relax,
        on_unprofitable: OnUnprofitable::Empty,
        policy,
        joint: JointConfig { price_of_risk: Some(eta), ..JointConfig::default() },
        jitter: Jitter::default(),
    }
}

/// The joint objective of final orders, from their own columns.
fn worth(quote: &Quote, position: f64, eta: f64) -> f64 {
    let value =
        |side: &SideQuote| -> f64 { side.utility.iter().zip(&side.lots).map(|(u, &n)| u * n as f64 * LOT).sum() };
    let fills = |side: &SideQuote| -> f64 {
        side.fill_probability.iter().zip(&side.lots).map(|(p, &n)| p * n as f64 * LOT).sum()
    };
    let expected = position + fills(&quote.bids) - fills(&quote.asks);
    value(&quote.bids) + value(&quote.asks) - 0.5 * eta * expected * expected
}

/// Utilities, charges per contract and fill probabilities of all levels of a side, from a quote that has orders on each.
struct Case {
    bids: Levels,
    asks: Levels,
    margin: i64,
    position: i64,
    eta: f64,
    entropy_min: f64,
}

fn levels(depth: &[f64], fill: &[f64], edge: &[f64]) -> Levels {
    let mut sorted = depth.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = depth.len();
    Levels::new(&sorted, &fill[..n], &edge[..n]).unwrap()
}

prop_compose! {
    fn a_case()(
        k in 1_usize..7,
        depth in prop::collection::vec(1.0..60.0_f64, 12),
        fill in prop::collection::vec(0.01..1.0_f64, 12),
        edge in prop::collection::vec(-1.0..12.0_f64, 12),
        margin in prop_oneof![1.0..60.0_f64, 60.0..2_000.0_f64],
        position in -14_000_i64..14_000,
        eta in prop_oneof![Just(0.0), 1e-6..1e-3_f64],
        part in 0.0..0.99_f64,
    ) -> Case {
        Case {
            bids: levels(&depth[..k], &fill[..k], &edge[..k]),
            asks: levels(&depth[6..6 + k], &fill[6..6 + k], &edge[6..6 + k]),
            margin: (margin * 1e6) as i64,
            position,
            eta,
            entropy_min: part * (k as f64).ln(),
        }
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "margin {} position {} eta {} h {} bids {:?} asks {:?}",
            self.margin, self.position, self.eta, self.entropy_min, self.bids, self.asks
        )
    }
}

fn account(case: &Case) -> Account {
    Account {
        margin_available: case.margin,
        position_lots: case.position,
        hedged_lots: 0,
        leverage: dec("10"),
        position_max_lots: 14_662,
        equity: None,
    }
}

fn quote(case: &Case, rule: &OrderMarginRule, policy: Policy) -> Quote {
    let count = case.bids.depth_bps().len();
    let mut engine = LadderEngine::new(config(policy, case.eta, case.entropy_min, count)).unwrap();
    let source = Source::Levels { bids: &case.bids, asks: &case.asks };
    engine.quote(&market(), &account(case), rule, source).unwrap()
}

proptest! {
    #[test]
    fn joint_is_never_worse_on_final_orders_under_every_rule(case in a_case(), pick in 0..2 * Combine::ALL.len()) {
        let (name, combine) = Combine::ALL[pick / 2];
        let closing = pick % 2 == 1;
        let rule = OrderMarginRule { closing, ..OrderMarginRule::plain(combine) };
        let (inventory, joint) = (quote(&case, &rule, Policy::Inventory), quote(&case, &rule, Policy::Joint));
        let report = joint.joint.unwrap();
        let position = case.position as f64 * LOT;
        let (least, value) = (worth(&inventory, position, case.eta), worth(&joint, position, case.eta));
        let scale = 1e-9 * (1.0 + least.abs() + 0.5 * case.eta * position * position);
        prop_assert!(joint.certificate.ok, "{name} {joint:?}");
        prop_assert!(joint.certificate.margin_held <= joint.certificate.margin_usable, "{name}");
        prop_assert_eq!(joint.split.usable, inventory.split.usable);
        prop_assert!(value >= least - scale, "{name}: {value} below {least}");
        prop_assert!((report.objective - value).abs() <= scale, "{name}");
        prop_assert!((report.objective_inventory - least).abs() <= scale, "{name}");
        prop_assert!(report.dual_bound >= value - scale, "{name}: {report:?}");
        prop_assert!(report.regret >= -scale);
        let parts = joint.bids.certificate.regret + joint.asks.certificate.regret;
        prop_assert!(parts <= report.regret + scale + 1e-6 * report.dual_bound.abs(), "{name}: {parts} {report:?}");
        if report.returned == Returned::Inventory {
            prop_assert_eq!(&joint.bids.lots, &inventory.bids.lots);
            prop_assert_eq!(&joint.asks.lots, &inventory.asks.lots);
        }
    }

    #[test]
    fn the_continuous_answer_is_worth_more_than_the_inventory_rule_before_lots(case in a_case(), worst: bool) {
        let rule = OrderMarginRule::plain(if worst { Combine::WorstSide } else { Combine::Sum });
        let joint = quote(&case, &rule, Policy::Joint);
        let report = joint.joint.unwrap();
        // Only where every level of both sides carries an order are all its figures in the quote.
        let k = case.bids.depth_bps().len();
        if report.status == SidesStatus::Inaccurate || joint.bids.lots.len() < k || joint.asks.lots.len() < k {
            return Ok(());
        }
        let position = case.position as f64 * LOT;
        let (mut value, mut expected) = (0.0, position);
        for (side, part, sign, limit) in [
            (&joint.bids, joint.split.bid_part, 1.0, joint.split.bid_limit_lots),
            (&joint.asks, joint.split.ask_part, -1.0, joint.split.ask_limit_lots),
        ] {
            let mut solver = SideSolver::new();
            let problem = SideProblem {
                utility: &side.utility,
                entropy_min: case.entropy_min,
                floor: Bound::Scalar(0.0),
                cap: Bound::Scalar(1.0),
            };
            let solution = solver.solve(&problem).unwrap();
            if solution.objective <= 0.0 {
                continue;
            }
            let prices = side.price_ticks.iter().map(|&ticks| ticks as f64 * 0.001 / 10.0);
            let charge: f64 = prices.zip(solver.share()).map(|(m, p)| m * p).sum();
            let size = (part as f64 * 1e-6 / charge).min(limit as f64 * LOT);
            value += solution.objective * size;
            let fill: f64 = side.fill_probability.iter().zip(solver.share()).map(|(f, p)| f * p).sum();
            expected += sign * fill * size;
        }
        let least = value - 0.5 * case.eta * expected * expected;
        let scale = 1e-7 * (report.dual_bound.abs() + 0.5 * case.eta * position * position + 1e-6);
        prop_assert!(report.objective_continuous >= least - scale, "{} below {least}", report.objective_continuous);
        prop_assert!(report.dual_bound >= report.objective_continuous - scale);
    }

    #[test]
    fn jitter_keeps_every_constraint_and_repeats(case in a_case(), strength in 0.01..0.9_f64, seed: u64) {
        for policy in [Policy::Inventory, Policy::Joint] {
            let k = case.bids.depth_bps().len();
            let config = LadderConfig {
                jitter: Jitter { strength, seed },
                ..config(policy, case.eta, case.entropy_min, k)
            };
            let rule = OrderMarginRule::plain(Combine::Sum);
            let source = Source::Levels { bids: &case.bids, asks: &case.asks };
            let mut engine = LadderEngine::new(config).unwrap();
            let first = engine.quote(&market(), &account(&case), &rule, source).unwrap();
            let again = engine.quote(&market(), &account(&case), &rule, source).unwrap();
            prop_assert_eq!(&first, &again);
            prop_assert!(first.certificate.ok, "{:?} {:?}", policy, first);
            prop_assert!(first.bids.held() + first.asks.held() <= first.split.usable || first.bids.reduce_only || first.asks.reduce_only);
            for side in [&first.bids, &first.asks] {
                if !side.lots.is_empty() {
                    prop_assert!(side.certificate.entropy >= side.certificate.entropy_min_used - 1e-12);
                }
            }
        }
    }
}
