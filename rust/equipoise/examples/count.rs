//! Does one family of work a stated number of times, for counting instructions:
//! `count <open|boxed|each|warm|slack|quote|worst_side|buffer> <levels> <times>`. Run under callgrind by `benches/count.sh`,
//! which subtracts the start-up by counting twice. The counter has no AVX-512, so it sees the AVX2 path.
//!
//! The first five solve problem P1; the others quote both sides, with as many levels on each: under `sum`, under
//! `worst_side`, and under `sum` with a mark buffer.
#![allow(clippy::print_stdout, clippy::expect_used)]

use equipoise::entropy::{Bound, SideProblem, SideSolver, Warm};
use equipoise::ladder::{Jitter, JointConfig, LadderConfig, LadderEngine, Optimizer, Policy, Source};
use equipoise::margin::OrderMarginRule;
use equipoise::market::{Account, Market};
use equipoise::project::{Breadth, OnInfeasible, OnUnprofitable};
use equipoise::shape::{DepthSpacing, FillModel, Parameters, Shape};
use equipoise::split::SplitConfig;
use equipoise::units::{Decimal, Instrument, PriceRule};

const USAGE: &str = "usage: count <open|boxed|each|warm|slack|quote|worst_side|buffer> <levels> <times>";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, family, levels, times] = arguments.as_slice() else {
        println!("{USAGE}");
        std::process::exit(2);
    };
    let levels: usize = levels.parse().expect("levels is a number");
    let times: usize = times.parse().expect("times is a number");
    let total = match family.as_str() {
        "quote" => quotes("sum", 0, levels, times),
        "worst_side" => quotes("worst_side", 0, levels, times),
        "buffer" => quotes("sum", 40, levels, times),
        _ => solves(family, levels, times),
    };
    println!("{total}");
}

/// Sum of the objectives.
fn solves(family: &str, levels: usize, times: usize) -> f64 {
    let k = levels as f64;
    let mut state = 7_u64;
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let ladders: Vec<Vec<f64>> =
        (0..16).map(|_| (0..levels).map(|_| (0..12).map(|_| unit()).sum::<f64>() - 6.0).collect()).collect();
    let (floors, caps) = (vec![0.05 / k; levels], vec![(4.0 / k).min(1.0); levels]);
    let (floor, cap) = match family {
        "open" | "warm" => (Bound::Scalar(0.0), Bound::Scalar(1.0)),
        "each" => (Bound::Each(&floors), Bound::Each(&caps)),
        _ => (Bound::Scalar(floors[0]), Bound::Scalar(caps[0])),
    };
    let entropy_min = if family == "slack" { 0.0 } else { 0.85 * k.ln() };
    let mut solver = SideSolver::new();
    let mut warm = None;
    let mut total = 0.0;
    for index in 0..times {
        let utility = &ladders[if family == "warm" { 0 } else { index % ladders.len() }];
        let problem = SideProblem { utility, entropy_min, floor, cap };
        let solution = solver.solve_from(&problem, warm).expect("the problem is well formed");
        if family == "warm" {
            warm = Some(Warm { temperature: 1.001 * solution.temperature, normaliser: 1.001 * solution.normaliser });
        }
        total += solution.objective;
    }
    total
}

/// Sum of the lots of whole quotes for a market that moves.
fn quotes(rule: &str, buffer_bps: i64, levels: usize, times: usize) -> f64 {
    let decimal = |mantissa, scale| Decimal::new(mantissa, scale).expect("a decimal in range");
    let instrument = Instrument {
        tick: decimal(1, 4),
        lot: decimal(1, 2),
        contract_value: Decimal::ONE,
        inverse: false,
        notional_min: decimal(10, 0),
        price_rule: PriceRule::Tick,
    };
    let markets: Vec<Market> = (0..16)
        .map(|step| {
            let price = |ticks: i64| decimal(ticks + 5 * step, 4);
            Market::new(instrument, price(271_050), price(271_150), price(271_100), None).expect("a market")
        })
        .collect();
    let shape = Shape::new(Parameters {
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
    .expect("a shape");
    let mut engine = LadderEngine::new(LadderConfig {
        levels,
        spacing: DepthSpacing::Geometric { outer_bps: 40.0 },
        inner_bps: None,
        entropy_min: 0.85 * (levels as f64).ln(),
        temperature_factor: 1.0,
        optimizer: Optimizer::Entropy,
        split: SplitConfig { mark_buffer_bps: decimal(buffer_bps, 0), ..SplitConfig::default() },
        share_floor: 0.0,
        share_cap: 1.0,
        breadth: Breadth::default(),
        on_infeasible: OnInfeasible::Relax,
        on_unprofitable: OnUnprofitable::Empty,
        policy: Policy::Inventory,
        joint: JointConfig::default(),
        jitter: Jitter::default(),
    })
    .expect("a configuration in range");
    let rule = OrderMarginRule::venue(rule).expect("a rule of that name");
    let account =
        Account::new(&instrument, decimal(39_749, 2), Decimal::ZERO, decimal(10, 0), decimal(14_662, 2), None)
            .expect("an account");
    let mut total = 0;
    for index in 0..times {
        let market = &markets[index % markets.len()];
        let quote = engine.quote(market, &account, &rule, Source::Shape(&shape)).expect("a quote");
        total += quote.bids.lots_total() + quote.asks.lots_total();
    }
    total as f64
}
