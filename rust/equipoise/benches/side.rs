//! How long problem P1 takes, beside a control that no change of the solver can move.
//!
//! The control is what bounds a solve of a usual ladder: a chain in which each step is one vector exponential and one
//! horizontal sum that the next step needs. `side/…` figures are to be read as multiples of it.
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use equipoise::entropy::latency_chain;
use equipoise::entropy::{Bound, SideProblem, SideSolver, Warm};
use equipoise::simd::{Width, widest};
use std::hint::black_box;

/// Utilities of a ladder with some noise, new ones for each solve.
fn ladders(levels: usize) -> Vec<Vec<f64>> {
    let mut state = 7_u64;
    let mut unit = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut normal = move || (0..12).map(|_| unit()).sum::<f64>() - 6.0;
    (0..64).map(|_| (0..levels).map(|_| normal()).collect()).collect()
}

fn side(criterion: &mut Criterion) {
    criterion.bench_function("control/exp_and_sum", |bencher| {
        bencher.iter(|| latency_chain(black_box(16), black_box(0.5), Width::Avx512) / 16.0);
    });
    for width in [Width::Portable, Width::Avx2, Width::Avx512] {
        if width > widest() {
            continue;
        }
        let mut group = criterion.benchmark_group(format!("side/{width:?}"));
        for levels in [5, 10, 25, 50, 200] {
            let ladders = ladders(levels);
            let k = levels as f64;
            let entropy_min = 0.85 * k.ln();
            let boxed = (Bound::Scalar(0.05 / k), Bound::Scalar((4.0 / k).min(1.0)));
            let open = (Bound::Scalar(0.0), Bound::Scalar(1.0));
            for (name, (floor, cap)) in [("open", open), ("boxed", boxed)] {
                let mut solver = SideSolver::limited(width);
                let mut index = 0;
                group.bench_function(BenchmarkId::new(format!("{name}/cold"), levels), |bencher| {
                    bencher.iter(|| {
                        index = (index + 1) % ladders.len();
                        solver.solve(&SideProblem { utility: &ladders[index], entropy_min, floor, cap }).unwrap()
                    });
                });
                let starts: Vec<Warm> = ladders
                    .iter()
                    .map(|utility| {
                        let solution = solver.solve(&SideProblem { utility, entropy_min, floor, cap }).unwrap();
                        Warm { temperature: solution.temperature * 1.001, normaliser: solution.normaliser * 1.001 }
                    })
                    .collect();
                group.bench_function(BenchmarkId::new(format!("{name}/warm"), levels), |bencher| {
                    bencher.iter(|| {
                        index = (index + 1) % ladders.len();
                        let problem = SideProblem { utility: &ladders[index], entropy_min, floor, cap };
                        solver.solve_from(&problem, Some(starts[index])).unwrap()
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, side);
criterion_main!(benches);
