//! How long problem P2 takes, beside a control that no change of the solver can move.
//!
//! The control is what bounds a solve of a usual ladder: a chain in which each step is one vector exponential and one
//! horizontal sum that the next step needs. `sides/…` figures are to be read as multiples of it. Warm: utilities move by
//! 0.1 % from call to call.
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use equipoise::entropy::{Bound, latency_chain};
use equipoise::sides::{Budget, Inventory, Saturation, Side, Sides, SidesSolver};
use equipoise::simd::{Width, widest};
use std::hint::black_box;

const PRICE: f64 = 27.11;
const SIZE_MAX: f64 = 100.0;

/// Standard normal numbers, near enough.
struct Noise(u64);

impl Noise {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// What a ladder without noise is worth, what it is charged and how it fills, level by level.
struct Ladder {
    value: Vec<f64>,
    margin: [Vec<f64>; 2],
    fill: Vec<f64>,
}

impl Ladder {
    fn of(levels: usize) -> Self {
        let step = 16_f64.powf(1.0 / (levels - 1) as f64);
        let depth: Vec<f64> = (0..levels).map(|level| 2.0 * step.powi(level as i32)).collect();
        let fill: Vec<f64> = depth.iter().map(|depth| 1.0 - (-3.0 * (-0.15 * depth).exp()).exp()).collect();
        let edge = |depth: f64| depth - 3.0 * (-depth / 8.0).exp() - 1.5;
        Self {
            value: depth.iter().zip(&fill).map(|(depth, fill)| fill * edge(*depth) * PRICE * 1e-4).collect(),
            margin: [1.0, -1.0]
                .map(|sign| depth.iter().map(|depth| PRICE * (1.0 - sign * depth * 1e-4) / 10.0).collect()),
            fill,
        }
    }

    /// This ladder with noise, for bids and asks.
    fn noisy(&self, noise: &mut Noise) -> [Vec<f64>; 2] {
        [0, 1].map(|_| self.value.iter().map(|value| value * (1.0 + 0.2 * noise.normal())).collect())
    }

    fn problem<'a>(&'a self, case: &str, utility: &'a [Vec<f64>; 2]) -> Sides<'a> {
        let levels = self.value.len() as f64;
        let size_cap = if case == "caps" { 1.5 * SIZE_MAX / levels } else { SIZE_MAX };
        let side = [0, 1].map(|x| Side {
            utility: &utility[x],
            margin: &self.margin[x],
            fill_probability: Bound::Each(&self.fill),
            entropy_min: 0.85 * levels.ln(),
            share_floor: Bound::Scalar(0.0),
            share_cap: Bound::Scalar(1.0),
            size_cap: Bound::Scalar(size_cap),
            size_max: SIZE_MAX,
            saturation: Saturation::None,
        });
        let priced = case == "eta";
        Sides {
            side,
            budget: Budget { side: [f64::INFINITY; 2], total: 0.6 * 2.0 * SIZE_MAX * PRICE / 10.0 },
            bid_share: (!priced).then_some([0.3, 0.7]),
            inventory: priced.then_some(Inventory { position: 40.0, price_of_risk: 2.2049e-5, fill_variance: false }),
        }
    }
}

fn sides(criterion: &mut Criterion) {
    criterion.bench_function("control/exp_and_sum", |bencher| {
        bencher.iter(|| latency_chain(black_box(16), black_box(0.5), Width::Avx512) / 16.0);
    });
    for width in [Width::Portable, Width::Avx2, Width::Avx512] {
        if width > widest() {
            continue;
        }
        let mut group = criterion.benchmark_group(format!("sides/{width:?}"));
        for levels in [10, 25, 50] {
            let ladder = Ladder::of(levels);
            let mut noise = Noise(7);
            let fresh: Vec<_> = (0..32).map(|_| ladder.noisy(&mut noise)).collect();
            let near: Vec<[Vec<f64>; 2]> = (0..32)
                .map(|_| fresh[0].clone().map(|side| side.iter().map(|u| u * (1.0 + 7e-4 * noise.normal())).collect()))
                .collect();
            for case in ["plain", "caps", "eta"] {
                let mut solver = SidesSolver::limited(width);
                let mut index = 0;
                group.bench_function(BenchmarkId::new(format!("{case}/cold"), levels), |bencher| {
                    bencher.iter(|| {
                        index = (index + 1) % fresh.len();
                        solver.solve(&ladder.problem(case, &fresh[index])).unwrap()
                    });
                });
                solver.solve(&ladder.problem(case, &near[0])).unwrap();
                group.bench_function(BenchmarkId::new(format!("{case}/warm"), levels), |bencher| {
                    bencher.iter(|| {
                        index = (index + 1) % near.len();
                        solver.solve_warm(&ladder.problem(case, &near[index])).unwrap()
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, sides);
criterion_main!(benches);
