//! Wall clock of a whole quote inside Rust: split, both sides, projection, certificate. Prints a hash of the lots: a faster
//! answer must be the same answer.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use equipoise::ladder::{Jitter, JointConfig, LadderConfig, LadderEngine, Optimizer, Policy, Source};
use equipoise::margin::OrderMarginRule;
use equipoise::market::{Account, Market};
use equipoise::project::{Breadth, OnInfeasible, OnUnprofitable};
use equipoise::shape::{DepthSpacing, FillModel, Parameters, Shape};
use equipoise::split::SplitConfig;
use equipoise::units::{Decimal, Instrument, PriceRule};
use std::hint::black_box;

/// Markets gone through, so that no quote repeats the one before.
const MARKETS: i64 = 32;

fn dec(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

/// A market near 27.11 with a tick so fine that no two levels share a price.
fn market(step: i64) -> Market {
    let instrument = Instrument {
        tick: dec("0.0001"),
        lot: dec("0.01"),
        contract_value: Decimal::ONE,
        inverse: false,
        notional_min: dec("10"),
        price_rule: PriceRule::Tick,
    };
    let price = |ticks: i64| Decimal::new(ticks, 4).unwrap();
    Market::new(instrument, price(271_050 + step), price(271_150 + step), price(271_100 + step), None).unwrap()
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

fn engine(levels: usize, buffer: &str) -> LadderEngine {
    LadderEngine::new(LadderConfig {
        levels,
        spacing: DepthSpacing::Geometric { outer_bps: 40.0 },
        inner_bps: None,
        entropy_min: 0.85 * (levels as f64).ln(),
        temperature_factor: 1.0,
        optimizer: Optimizer::Entropy,
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

fn quote(c: &mut Criterion) {
    let mut group = c.benchmark_group("quote");
    let shape = shape();
    let markets: Vec<Market> = (0..MARKETS).map(|step| market(17 * step % 80)).collect();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    // (name, rule, margin available, position, mark buffer in bps)
    let cases = [
        ("sum", "sum", "397.49", "0", "0"),
        ("sum, long", "sum", "397.49", "73.31", "0"),
        ("sum, mark buffer", "sum", "397.49", "0", "40"),
        ("sum, no margin", "sum", "0", "0", "0"),
        ("worst side", "worst_side", "397.49", "0", "0"),
    ];
    for (name, rule, margin, position, buffer) in cases {
        let rule = OrderMarginRule::venue(rule).unwrap();
        for levels in [5, 10, 25, 50] {
            let mut engine = engine(levels, buffer);
            let account =
                Account::new(&markets[0].instrument, dec(margin), dec(position), dec("10"), dec("146.62"), None)
                    .unwrap();
            for market in &markets {
                let quote = engine.quote(market, &account, &rule, Source::Shape(&shape)).unwrap();
                assert!(quote.certificate.ok);
                for lots in quote.bids.lots.iter().chain(&quote.asks.lots) {
                    hash = (hash ^ lots.unsigned_abs()).wrapping_mul(0x0100_0000_01b3);
                }
            }
            let mut index = 0;
            group.bench_function(BenchmarkId::new(name, levels), |b| {
                b.iter(|| {
                    index = (index + 1) % markets.len();
                    engine.quote(black_box(&markets[index]), &account, &rule, Source::Shape(&shape)).unwrap()
                });
            });
        }
    }
    group.finish();
    eprintln!("hash of the lots: {hash:016x}");
}

criterion_group!(benches, quote);
criterion_main!(benches);
