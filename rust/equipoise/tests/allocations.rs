//! What the hot path asks of the allocator: nothing to solve or to project, and for a quote only what it returns.
//!
//! The counter replaces this binary's global allocator and counts by thread, so that tests may run beside each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use allocation_counter::{AllocationInfo, measure};
use equipoise::entropy::{Bound, SideProblem, SideSolver};
use equipoise::ladder::{Jitter, JointConfig, LadderConfig, LadderEngine, Optimizer, Policy, Quote, Source};
use equipoise::margin::{ChargeRate, OrderMarginRule};
use equipoise::market::{Account, Market};
use equipoise::older::KellyConfig;
use equipoise::project::{Breadth, OnInfeasible, OnUnprofitable, ProjectInput, Projector, Target};
use equipoise::shape::{DepthSpacing, FillModel, Parameters, Shape};
use equipoise::sides::{Budget, Saturation, Sides, SidesSolver};
use equipoise::split::SplitConfig;
use equipoise::units::{Decimal, Instrument, PriceRule};

/// Vectors of a [`equipoise::ladder::SideQuote`]: prices, lots, holds, depths, probabilities, edges, values, reasons.
const VECTORS_A_SIDE: u64 = 8;

fn dec(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

/// Noise that differs from call to call and is the same in every run.
fn noise(seed: usize) -> f64 {
    ((seed as f64 * 12.989_8).sin() * 43_758.545_3).fract()
}

#[test]
fn the_counter_sees_an_allocation_that_is_there() {
    let counted = measure(|| drop(std::hint::black_box(vec![1_u8; 100])));
    assert_eq!((counted.count_total, counted.bytes_total), (1, 100));
}

#[test]
fn solving_again_allocates_nothing_whatever_the_bounds() {
    let levels = 50;
    let ladders: Vec<Vec<f64>> =
        (0..20).map(|ladder| (0..levels).map(|level| noise(1 + ladder * levels + level)).collect()).collect();
    let (floors, caps) = (vec![0.001; levels], vec![0.08; levels]);
    let bounds = [
        (Bound::Scalar(0.0), Bound::Scalar(1.0)),
        (Bound::Scalar(0.001), Bound::Scalar(0.08)),
        (Bound::Each(&floors), Bound::Each(&caps)),
    ];
    let mut solver = SideSolver::new();
    let mut solve = |ladder: &[f64]| {
        for (floor, cap) in bounds {
            // No floor, one that binds, the largest there is, and one that nothing meets.
            for entropy_min in [0.0, 3.5, (levels as f64).ln(), 5.0] {
                solver.solve(&SideProblem { utility: ladder, entropy_min, floor, cap }).unwrap();
            }
        }
    };
    solve(&ladders[0]);
    for ladder in &ladders[1..] {
        assert_eq!(measure(|| solve(ladder)).count_total, 0);
    }
}

#[test]
fn solving_both_sides_again_allocates_nothing_whichever_search_answers() {
    let levels = 40;
    let margin = vec![2.711; levels];
    let scale = vec![1.0; levels];
    let ladders: Vec<[Vec<f64>; 2]> = (0..12)
        .map(|ladder| {
            [0, 1].map(|x| (0..levels).map(|i| 1e-3 * (2.0 + noise(1 + (2 * ladder + x) * levels + i))).collect())
        })
        .collect();
    let mut solver = SidesSolver::new();
    let mut solve = |ladder: &[Vec<f64>; 2]| {
        // Shapes and totals, caps in force, saturating values, nothing of value.
        for (size_cap, saturation, sign) in [
            (f64::INFINITY, Saturation::None, 1.0),
            (1.5 * 100.0 / levels as f64, Saturation::None, 1.0),
            (f64::INFINITY, Saturation::Exponential(Bound::Each(&scale)), 1.0),
            (f64::INFINITY, Saturation::None, -1.0),
        ] {
            let utility = ladder.each_ref().map(|side| side.iter().map(|u| sign * u).collect::<Vec<f64>>());
            let problem = Sides {
                side: utility.each_ref().map(|utility| equipoise::sides::Side {
                    utility,
                    margin: &margin,
                    fill_probability: Bound::Scalar(0.5),
                    entropy_min: 0.85 * (levels as f64).ln(),
                    share_floor: Bound::Scalar(0.0),
                    share_cap: Bound::Scalar(1.0),
                    size_cap: Bound::Scalar(size_cap),
                    size_max: 100.0,
                    saturation,
                }),
                budget: Budget { side: [f64::INFINITY; 2], total: 0.6 * 2.0 * 100.0 * 2.711 },
                bid_share: Some([0.3, 0.7]),
                inventory: None,
            };
            // Twice: the answer and the trial change places.
            solver.solve(&problem).unwrap();
            let first = solver.solve(&problem).unwrap();
            let counted = measure(|| {
                assert_eq!(solver.solve(&problem).unwrap(), first);
                solver.solve_warm(&problem).unwrap();
            });
            assert_eq!(counted.count_total, 0, "{size_cap} {saturation:?} {sign}");
        }
    };
    ladders.iter().for_each(&mut solve);
}

/// One side of a market near 27.11 at 10x, lots of 0.01, a smallest order of 10.
struct Side {
    price_ticks: Vec<i64>,
    utility: Vec<f64>,
    charge: Vec<ChargeRate>,
    lots_min: Vec<i64>,
    lots_cap: Vec<i64>,
    wish: Vec<f64>,
}

impl Side {
    fn new(levels: usize, seed: usize) -> Self {
        let price_ticks: Vec<i64> = (0..levels).map(|level| 27_100 - 3 * level as i64).collect();
        Self {
            utility: (0..levels).map(|level| 1e-5 * (level as f64 + noise(seed + level))).collect(),
            charge: price_ticks.iter().map(|&ticks| ChargeRate { num: i128::from(ticks) * 10, den: 10 }).collect(),
            lots_min: price_ticks.iter().map(|&ticks| (1_000_000 + ticks - 1) / ticks).collect(),
            lots_cap: vec![5_000; levels],
            wish: (0..levels).map(|level| 100.0 * noise(seed + level).abs()).collect(),
            price_ticks,
        }
    }

    fn input(&self, budget: i64, target: Target<'_>, breadth: Breadth) -> ProjectInput<'_> {
        ProjectInput {
            price_ticks: &self.price_ticks,
            utility: &self.utility,
            charge: &self.charge,
            lots_min: &self.lots_min,
            lots_cap: &self.lots_cap,
            lots_total_max: 14_662,
            budget,
            entropy_min: 0.85 * (self.utility.len() as f64).ln(),
            share_floor: 0.0,
            share_cap: 1.0,
            target: match target {
                Target::Entropy => Target::Entropy,
                Target::Given(_) => Target::Given(&self.wish),
            },
            breadth,
            on_infeasible: OnInfeasible::Relax,
            on_unprofitable: OnUnprofitable::LeastBad,
        }
    }
}

#[test]
fn projecting_again_allocates_nothing_from_no_margin_to_plenty() {
    let mut projector = Projector::new();
    let mut project = |side: &Side| {
        for budget in [0, 500_000, 6_000_000, 23_000_000, 198_745_000, 50_000_000_000] {
            for target in [Target::Entropy, Target::Given(&[])] {
                for breadth in [Breadth::Widest, Breadth::Best] {
                    projector.project(&side.input(budget, target, breadth)).unwrap();
                }
            }
        }
    };
    let sides: Vec<Side> = (1..8).map(|seed| Side::new(20, 100 * seed)).collect();
    project(&sides[0]);
    for side in &sides[1..] {
        assert_eq!(measure(|| project(side)).count_total, 0);
    }
}

/// A market whose prices move with `step`, so that no quote repeats the one before.
fn market(step: i64) -> Market {
    let instrument = Instrument {
        tick: dec("0.001"),
        lot: dec("0.01"),
        contract_value: Decimal::ONE,
        inverse: false,
        notional_min: dec("10"),
        price_rule: PriceRule::Tick,
    };
    let price = |ticks: i64| Decimal::new(ticks, 3).unwrap();
    Market::new(instrument, price(27_100 + step), price(27_120 + step), price(27_110 + step), None).unwrap()
}

fn account(market: &Market, margin: &str, position: &str) -> Account {
    Account::new(&market.instrument, dec(margin), dec(position), dec("10"), dec("146.62"), None).unwrap()
}

fn shape() -> Shape {
    Shape::new(Parameters {
        volatility: 1e-4,
        fill_rate: 0.3,
        fill_decay: 1_500.0,
        horizon_s: 10.0,
        risk_aversion: 0.3,
        unit: 14.66,
        adverse_bps: 3.0,
        adverse_decay_bps: 8.0,
        fee_bps: 1.5,
        fill_model: FillModel::Intensity,
        depth_min_bps: 0.0,
    })
    .unwrap()
}

fn engine(optimizer: Optimizer, levels: usize, buffer: &str) -> LadderEngine {
    LadderEngine::new(LadderConfig {
        levels,
        spacing: DepthSpacing::Geometric { outer_bps: 60.0 },
        inner_bps: None,
        entropy_min: 0.85 * (levels as f64).ln(),
        temperature_factor: if buffer == "0" { 1.0 } else { 1.5 },
        optimizer,
        split: SplitConfig { mark_buffer_bps: dec(buffer), ..SplitConfig::default() },
        share_floor: 0.0,
        share_cap: 1.0,
        breadth: Breadth::default(),
        on_infeasible: OnInfeasible::Relax,
        on_unprofitable: OnUnprofitable::Empty,
        policy: Policy::Inventory,
        joint: JointConfig::default(),
        jitter: Jitter::default(),
    })
    .unwrap()
}

/// What a quote of `engine` asks for once its buffers have grown, and the quote.
fn counted(engine: &mut LadderEngine, rule: &OrderMarginRule, margin: &str, position: &str) -> (AllocationInfo, Quote) {
    let shape = shape();
    for step in [0, 7] {
        let market = market(step);
        engine.quote(&market, &account(&market, margin, position), rule, Source::Shape(&shape)).unwrap();
    }
    let market = market(11);
    let account = account(&market, margin, position);
    let mut quote = None;
    let info = measure(|| quote = Some(engine.quote(&market, &account, rule, Source::Shape(&shape)).unwrap()));
    (info, quote.unwrap())
}

#[test]
fn a_quote_allocates_only_the_vectors_it_returns() {
    let rule = OrderMarginRule::venue("sum").unwrap();
    for optimizer in [Optimizer::Entropy, Optimizer::Proportional, Optimizer::Kelly(KellyConfig::default())] {
        for levels in [5, 10, 50] {
            for buffer in ["0", "40"] {
                let (info, quote) = counted(&mut engine(optimizer, levels, buffer), &rule, "397.49", "0");
                assert!(quote.bids.lots_total() > 0 && quote.asks.lots_total() > 0);
                assert_eq!(info.count_total, 2 * VECTORS_A_SIDE, "{optimizer:?}, {levels} levels, buffer {buffer}");
            }
        }
    }
}

#[test]
fn a_quote_that_is_sought_under_any_rule_allocates_two_quotes_and_the_queues_of_the_rule_at_most() {
    // Rules that pair or order closing lots queue the orders at each of at most 17 checks, up to 12 vectors a check.
    let queueing = [("bitmex", 17 * 12), ("net_contracts", 17 * 12), ("okx", 12)];
    let plain = ["sum", "worst_side", "per_side", "larger_leg", "hedge_legs", "single_order", "deribit_linear", "mt5"];
    for (name, queues) in plain.map(|name| (name, 0)).into_iter().chain(queueing) {
        let rule = OrderMarginRule::venue(name).unwrap();
        for (margin, position) in [("0", "40"), ("2", "0"), ("23", "-30"), ("397.49", "0"), ("397.49", "100")] {
            let (info, _) = counted(&mut engine(Optimizer::Entropy, 20, "0"), &rule, margin, position);
            // Attempts are written over each other; the best so far and the one at hand are two.
            let most = 2 * 2 * VECTORS_A_SIDE + queues;
            assert!(info.count_total <= most, "{name}, margin {margin}, position {position}: {}", info.count_total);
        }
    }
}
