//! Solves one family of problems a stated number of times, for counting instructions:
//! `count <open|boxed|each|warm|slack> <levels> <solves>`. Run under callgrind by `benches/count.sh`, which subtracts the
//! start-up by counting twice. The counter has no AVX-512, so it sees the AVX2 path.
#![allow(clippy::print_stdout, clippy::expect_used)]

use equipoise::entropy::{Bound, SideProblem, SideSolver, Warm};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, family, levels, solves] = arguments.as_slice() else {
        println!("usage: count <open|boxed|each|warm|slack> <levels> <solves>");
        std::process::exit(2);
    };
    let levels: usize = levels.parse().expect("levels is a number");
    let solves: usize = solves.parse().expect("solves is a number");
    let k = levels as f64;
    let mut state = 7_u64;
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let ladders: Vec<Vec<f64>> =
        (0..16).map(|_| (0..levels).map(|_| (0..12).map(|_| unit()).sum::<f64>() - 6.0).collect()).collect();
    let (floors, caps) = (vec![0.05 / k; levels], vec![(4.0 / k).min(1.0); levels]);
    let (floor, cap) = match family.as_str() {
        "open" | "warm" => (Bound::Scalar(0.0), Bound::Scalar(1.0)),
        "each" => (Bound::Each(&floors), Bound::Each(&caps)),
        _ => (Bound::Scalar(floors[0]), Bound::Scalar(caps[0])),
    };
    let entropy_min = if family == "slack" { 0.0 } else { 0.85 * k.ln() };
    let mut solver = SideSolver::new();
    let mut warm = None;
    let mut total = 0.0;
    for index in 0..solves {
        let utility = &ladders[if family == "warm" { 0 } else { index % ladders.len() }];
        let problem = SideProblem { utility, entropy_min, floor, cap };
        let solution = solver.solve_from(&problem, warm).expect("the problem is well formed");
        if family == "warm" {
            warm = Some(Warm { temperature: 1.001 * solution.temperature, normaliser: 1.001 * solution.normaliser });
        }
        total += solution.objective;
    }
    println!("{total}");
}
