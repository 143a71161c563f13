//! Wall clock of one projected side, with the solver's part priced by itself. Prints a hash of the lots: a faster answer must
//! be the same answer.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use equipoise::entropy::{Bound, SideProblem, SideSolver};
use equipoise::margin::ChargeRate;
use equipoise::project::{Breadth, OnInfeasible, OnUnprofitable, ProjectInput, Projector, Target};
use std::hint::black_box;

/// A market-like side: prices near 27.11, 10x, lots of 0.01, a smallest order of 10.
struct Side {
    price_ticks: Vec<i64>,
    utility: Vec<f64>,
    charge: Vec<ChargeRate>,
    lots_min: Vec<i64>,
    lots_cap: Vec<i64>,
    budget: i64,
    entropy_min: f64,
}

impl Side {
    fn new(levels: usize, budget: i64) -> Self {
        let depth = |i: usize| 2.0 + 30.0 * i as f64 / levels as f64;
        let price_ticks: Vec<i64> = (0..levels).map(|i| 27_110 - (2.711 * depth(i)) as i64).collect();
        let utility = (0..levels).map(|i| {
            let depth = depth(i);
            let fill = 1.0 - (-3.0 * (-0.15 * depth).exp()).exp();
            fill * (depth - 3.0 * (-depth / 8.0).exp() - 1.5) * 27.11e-6
        });
        Self {
            utility: utility.collect(),
            charge: price_ticks.iter().map(|&ticks| ChargeRate { num: i128::from(ticks) * 10, den: 10 }).collect(),
            lots_min: price_ticks.iter().map(|&ticks| (1_000_000 + ticks - 1) / ticks).collect(),
            lots_cap: vec![i64::MAX; levels],
            price_ticks,
            budget,
            entropy_min: 0.85 * (levels as f64).ln(),
        }
    }

    fn input(&self, breadth: Breadth) -> ProjectInput<'_> {
        ProjectInput {
            price_ticks: &self.price_ticks,
            utility: &self.utility,
            charge: &self.charge,
            lots_min: &self.lots_min,
            lots_cap: &self.lots_cap,
            lots_total_max: 14_662,
            budget: self.budget,
            entropy_min: self.entropy_min,
            share_floor: 0.0,
            share_cap: 1.0,
            target: Target::Entropy,
            breadth,
            on_infeasible: OnInfeasible::Relax,
            on_unprofitable: OnUnprofitable::Empty,
        }
    }
}

fn projection(c: &mut Criterion) {
    let mut group = c.benchmark_group("project");
    let cases = [
        ("mission", 5, 198_745_000, Breadth::Widest),
        ("typical", 10, 198_745_000, Breadth::Widest),
        ("typical", 25, 198_745_000, Breadth::Widest),
        ("typical", 50, 198_745_000, Breadth::Widest),
        ("small account, widest", 10, 6_000_000, Breadth::Widest),
        ("small account, best", 10, 6_000_000, Breadth::Best),
    ];
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (name, levels, budget, breadth) in cases {
        let side = Side::new(levels, budget);
        let mut projector = Projector::new();
        for lots in &projector.project(&side.input(breadth)).unwrap().lots {
            hash = (hash ^ lots.unsigned_abs()).wrapping_mul(0x0100_0000_01b3);
        }
        group.bench_function(BenchmarkId::new(name, levels), |b| {
            b.iter(|| black_box(projector.project(black_box(&side.input(breadth)))).unwrap().certificate.held);
        });
    }
    for levels in [10, 50] {
        let side = Side::new(levels, 198_745_000);
        let mut solver = SideSolver::new();
        group.bench_function(BenchmarkId::new("solver alone", levels), |b| {
            b.iter(|| {
                let problem = SideProblem {
                    utility: &side.utility,
                    entropy_min: side.entropy_min,
                    floor: Bound::Scalar(0.005),
                    cap: Bound::Scalar(1.0),
                };
                solver.solve(black_box(&problem)).unwrap().objective
            });
        });
    }
    group.finish();
    eprintln!("hash of the lots: {hash:016x}");
}

criterion_group!(benches, projection);
criterion_main!(benches);
