//! Random instances of every family, each checked against its certificate alone, recomputed.

use crate::case::Solved;
use crate::draw::{FAMILIES, instance};
use crate::judge;
use equipoise::sides::SidesSolver;

/// How many instances: `SIDES_CASES`, or what a test run has time for.
fn count() -> u64 {
    std::env::var("SIDES_CASES").ok().map_or(20_400, |text| text.parse().unwrap())
}

#[test]
fn random_instances_of_every_family_keep_the_promise() {
    let families = FAMILIES.len();
    let mut solver = SidesSolver::new();
    let mut failures = Vec::new();
    let mut iterations = vec![Vec::new(); families];
    let mut worst = vec![0.0_f64; families];
    let mut failed = vec![0; families];
    for seed in 0..count() {
        let family = (seed % families as u64) as usize;
        let case = instance(family, seed);
        let outcome = solver.solve(&case.problem()).unwrap();
        let solved = Solved::of(outcome, &solver);
        iterations[family].push(outcome.iterations);
        worst[family] = worst[family].max(outcome.gap / outcome.scale);
        if let Err(why) = judge::promise(&case, &solved) {
            failed[family] += 1;
            failures.push(format!("{} {seed}: {why}", FAMILIES[family]));
        }
    }
    for family in 0..families {
        let steps = &mut iterations[family];
        steps.sort_unstable();
        let at = |part: usize| steps[(steps.len() - 1) * part / 100];
        println!(
            "{:16} {:6} iterations p50 {:3} p99 {:3} max {:4}  worst gap {:.1e}  failed {}",
            FAMILIES[family],
            steps.len(),
            at(50),
            at(99),
            at(100),
            worst[family],
            failed[family]
        );
    }
    let mut all: Vec<u32> = iterations.concat();
    all.sort_unstable();
    let at = |part: usize| all[(all.len() - 1) * part / 100];
    println!("{:16} {:6} iterations p50 {:3} p99 {:3} max {:4}", "all", all.len(), at(50), at(99), at(100));
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures[..failures.len().min(40)].join("\n"));
}
