//! Does one family of work a stated number of times, for counting instructions:
//! `count FAMILY <levels> <times>`. Run under callgrind by `benches/count.sh`, which subtracts the start-up by counting
//! twice. The counter has no AVX-512, so it sees the AVX2 path.
//!
//! The families `open`, `boxed`, `each`, `warm` and `slack` solve problem P1; `sides`, `sides_warm`, `sides_caps` and
//! `sides_eta` solve problem P2 with as many levels on each side; `quote`, `worst_side` and `buffer` quote both sides: under
//! `sum`, under `worst_side`, and under `sum` with a mark buffer.
#![allow(clippy::print_stdout, clippy::expect_used)]

use equipoise::entropy::{Bound, SideProblem, SideSolver, Warm};
use equipoise::ladder::{Jitter, JointConfig, LadderConfig, LadderEngine, Optimizer, Policy, Source};
use equipoise::margin::OrderMarginRule;
use equipoise::market::{Account, Market};
use equipoise::project::{Breadth, OnInfeasible, OnUnprofitable};
use equipoise::shape::{DepthSpacing, FillModel, Parameters, Shape};
use equipoise::sides::{Budget, Inventory, Saturation, Side, Sides, SidesSolver};
use equipoise::split::SplitConfig;
use equipoise::units::{Decimal, Instrument, PriceRule};

const USAGE: &str = "usage: count <open|boxed|each|warm|slack|sides|sides_warm|sides_caps|sides_eta|quote|worst_side|buffer> \
     <levels> <times>";

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
        "sides" | "sides_warm" | "sides_caps" | "sides_eta" => both_sides(family, levels, times),
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

/// Sum of the objectives of both sides; `sides_warm` moves the utilities by some 0.1 % from call to call.
fn both_sides(family: &str, levels: usize, times: usize) -> f64 {
    const PRICE: f64 = 27.11;
    const SIZE_MAX: f64 = 100.0;
    let k = levels as f64;
    let mut state = 7_u64;
    let mut normal = || {
        let mut sum = -6.0;
        for _ in 0..12 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sum += (state >> 11) as f64 / (1_u64 << 53) as f64;
        }
        sum
    };
    let step = 16_f64.powf(1.0 / (k - 1.0));
    let depth: Vec<f64> = (0..levels).map(|level| 2.0 * step.powi(level as i32)).collect();
    let fill: Vec<f64> = depth.iter().map(|depth| 1.0 - (-3.0 * (-0.15 * depth).exp()).exp()).collect();
    let edge = |depth: f64| (depth - 3.0 * (-depth / 8.0).exp() - 1.5) * PRICE * 1e-4;
    let value: Vec<f64> = depth.iter().zip(&fill).map(|(depth, fill)| fill * edge(*depth)).collect();
    let margin: [Vec<f64>; 2] =
        [1.0, -1.0].map(|sign| depth.iter().map(|depth| PRICE * (1.0 - sign * depth * 1e-4) / 10.0).collect());
    let noise = if family == "sides_warm" { 7e-4 } else { 0.2 };
    let utilities: Vec<[Vec<f64>; 2]> =
        (0..16).map(|_| [0, 1].map(|_| value.iter().map(|value| value * (1.0 + noise * normal())).collect())).collect();
    let size_cap = if family == "sides_caps" { 1.5 * SIZE_MAX / k } else { SIZE_MAX };
    let priced = family == "sides_eta";
    let mut solver = SidesSolver::new();
    let mut total = 0.0;
    for index in 0..times {
        let utility = &utilities[index % utilities.len()];
        let side = [0, 1].map(|x| Side {
            utility: &utility[x],
            margin: &margin[x],
            fill_probability: Bound::Each(&fill),
            entropy_min: 0.85 * k.ln(),
            share_floor: Bound::Scalar(0.0),
            share_cap: Bound::Scalar(1.0),
            size_cap: Bound::Scalar(size_cap),
            size_max: SIZE_MAX,
            saturation: Saturation::None,
        });
        let problem = Sides {
            side,
            budget: Budget { side: [f64::INFINITY; 2], total: 0.6 * 2.0 * SIZE_MAX * PRICE / 10.0 },
            bid_share: (!priced).then_some([0.3, 0.7]),
            inventory: priced.then_some(Inventory { position: 40.0, price_of_risk: 2.2049e-5, fill_variance: false }),
        };
        let solved = if family == "sides_warm" { solver.solve_warm(&problem) } else { solver.solve(&problem) };
        total += solved.expect("the problem is well formed").objective;
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
