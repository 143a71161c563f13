//! Problem P1 against vectors from an independent solver, and against its own certificate on random families.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use equipoise::entropy::{Bound, SideProblem, SideSolution, SideSolver, Warm};
use equipoise::simd::{Width, widest};
use equipoise::status::Status;
use proptest::prelude::*;
use serde_json::Value;

#[derive(Clone, Debug)]
struct Case {
    utility: Vec<f64>,
    entropy_min: f64,
    floor: Vec<f64>,
    cap: Vec<f64>,
}

impl Case {
    fn read(value: &Value) -> Self {
        Self {
            utility: numbers(&value["u"]),
            entropy_min: value["h"].as_f64().unwrap(),
            floor: numbers(&value["floor"]),
            cap: numbers(&value["cap"]),
        }
    }

    fn problem(&self) -> SideProblem<'_> {
        SideProblem {
            utility: &self.utility,
            entropy_min: self.entropy_min,
            floor: Bound::Each(&self.floor),
            cap: Bound::Each(&self.cap),
        }
    }

    fn scale(&self) -> f64 {
        self.utility.iter().fold(0.0_f64, |largest, u| largest.max(u.abs()))
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/side.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn assert_promise(case: &Case, solution: &SideSolution, share: &[f64], label: &str) {
    assert_eq!(solution.status, Status::Optimal, "{label}: {solution:?}");
    assert!(solution.violation <= 1e-12, "{label}: {solution:?}");
    assert!(solution.gap >= 0.0 && solution.gap <= 1e-9 * case.scale(), "{label}: {solution:?}");
    let total: f64 = share.iter().sum();
    assert!((total - 1.0).abs() <= 1e-12, "{label}: sum {total}");
}

#[test]
fn vectors_of_an_independent_solver_are_met() {
    let vectors = vectors();
    let mut solver = SideSolver::new();
    let mut seen = 0;
    for family in ["instances", "stress"] {
        for value in vectors[family].as_array().unwrap() {
            let label = format!("{family} {}", value["id"]);
            let case = Case::read(value);
            let solution = solver.solve(&case.problem()).unwrap();
            assert_promise(&case, &solution, solver.share(), &label);
            let objective = value["obj"].as_f64().unwrap();
            let error = (solution.objective - objective).abs();
            assert!(error <= 1e-12 * case.scale(), "{label}: objective off by {error:e}: {solution:?}");
            let temperature = value["T"].as_f64().unwrap();
            if temperature == 0.0 {
                assert_eq!(solution.temperature, 0.0, "{label}");
            } else {
                assert!((solution.temperature / temperature - 1.0).abs() <= 1e-9, "{label}: {solution:?}");
            }
            for (index, (p, expected)) in solver.share().iter().zip(numbers(&value["p"])).enumerate() {
                assert!((p - expected).abs() <= 1e-10, "{label}: share[{index}] {p} not {expected}");
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 140);
}

#[test]
fn infeasible_vectors_name_their_reason_and_the_largest_entropy() {
    let vectors = vectors();
    let mut solver = SideSolver::new();
    let infeasible = vectors["infeasible"].as_array().unwrap();
    assert_eq!(infeasible.len(), 60);
    for value in infeasible {
        let solution = solver.solve(&Case::read(value).problem()).unwrap();
        let expected = match value["reason"].as_str().unwrap() {
            "floors_sum_gt_1" => Status::InfeasibleFloorSum,
            "caps_sum_lt_1" => Status::InfeasibleCapSum,
            "floor_gt_cap" => Status::InfeasibleFloorAboveCap,
            "entropy_gt_max" => Status::InfeasibleEntropy,
            other => panic!("unknown reason {other}"),
        };
        assert_eq!(solution.status, expected, "{value}");
        assert!(solver.share().iter().all(|share| *share == 0.0));
        match value["H_max"].as_f64() {
            Some(entropy_max) => assert!((solution.entropy_max - entropy_max).abs() <= 1e-14, "{value}"),
            None => assert!(solution.entropy_max.is_nan()),
        }
    }
}

/// Deterministic numbers from a seed (SplitMix64): a failing case is a seed and a family.
struct Draw(u64);

impl Draw {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    fn below(&mut self, count: u64) -> u64 {
        self.bits() % count
    }

    fn power(&mut self, low: f64, high: f64) -> f64 {
        10_f64.powf(self.between(low, high))
    }
}

const UTILITIES: u64 = 8;
const BOXES: u64 = 7;
const ENTROPIES: u64 = 6;

fn utilities(draw: &mut Draw, family: u64, levels: usize) -> Vec<f64> {
    let scale = draw.power(-8.0, 8.0);
    let offset = draw.power(-8.0, 8.0);
    (0..levels)
        .map(|index| match family {
            0 => draw.normal(),
            1 => scale * (-(index as f64) * 0.3).exp() * (1.0 + 0.1 * draw.normal()),
            2 => (draw.normal() * 2.0).round() / 2.0,
            3 => 1.0,
            4 => draw.power(-8.0, 8.0) * if draw.below(4) == 0 { -1.0 } else { 1.0 },
            5 => offset + 1e-12 * offset * draw.normal(),
            6 => offset * 1e8 + scale * draw.normal(),
            _ => [1e8, 1e-8, 0.0, 1.0, -1e8][draw.below(5) as usize],
        })
        .collect()
}

fn boxes(draw: &mut Draw, family: u64, levels: usize) -> (Vec<f64>, Vec<f64>) {
    let k = levels as f64;
    let (mut floor, mut cap) = (vec![0.0; levels], vec![1.0; levels]);
    match family {
        0 => {}
        1 => {
            floor.fill(0.05 / k);
            cap.fill((4.0 / k).min(1.0));
        }
        2 => cap.fill(1.0 / k),
        3 => floor.fill(1.0 / k),
        4 => {
            for index in 0..levels {
                floor[index] = draw.between(0.0, 0.9 / k);
                cap[index] = draw.between(1.1 / k, 1.0).min(1.0);
            }
        }
        5 => {
            // Caps that sum to one but for roundoff.
            let weights: Vec<f64> = (0..levels).map(|_| draw.power(-3.0, 0.0)).collect();
            let total: f64 = weights.iter().sum();
            cap = weights.iter().map(|weight| (weight / total).min(1.0)).collect();
        }
        _ => {
            // Some levels pinned, some shut, the rest free.
            for index in 0..levels {
                match draw.below(4) {
                    0 => {
                        floor[index] = 0.5 / k;
                        cap[index] = 0.5 / k;
                    }
                    1 if index > 0 => cap[index] = 0.0,
                    _ => {}
                }
            }
            cap[0] = 1.0;
        }
    }
    (floor, cap)
}

fn instance(seed: u64) -> Case {
    let mut draw = Draw(seed);
    let levels = [1, 2, 3, 5, 7, 8, 9, 10, 16, 17, 25, 50, 65][draw.below(13) as usize];
    let family = draw.below(UTILITIES);
    let utility = utilities(&mut draw, family, levels);
    let family = draw.below(BOXES);
    let (floor, cap) = boxes(&mut draw, family, levels);
    let mut case = Case { utility, entropy_min: -1.0, floor, cap };
    let entropy_max = SideSolver::new().solve(&case.problem()).unwrap().entropy_max;
    case.entropy_min = match draw.below(ENTROPIES) {
        0 => -1.0,
        1 => 0.0,
        2 => entropy_max * draw.unit(),
        3 => 0.85 * entropy_max,
        4 => entropy_max * (1.0 - draw.power(-12.0, -1.0)),
        _ => entropy_max,
    };
    case
}

proptest! {
    #[test]
    fn random_instances_keep_the_promise(seed: u64) {
        let case = instance(seed);
        let mut solver = SideSolver::new();
        let solution = solver.solve(&case.problem()).unwrap();
        assert_promise(&case, &solution, solver.share(), &format!("seed {seed}: {case:?}"));
    }

    #[test]
    fn shares_do_not_depend_on_the_order_of_levels(seed: u64) {
        let case = instance(seed);
        let mut solver = SideSolver::new();
        let solution = solver.solve(&case.problem()).unwrap();
        let share = solver.share().to_vec();
        let reversed = |values: &[f64]| values.iter().rev().copied().collect::<Vec<f64>>();
        let mirror = Case {
            utility: reversed(&case.utility),
            entropy_min: case.entropy_min,
            floor: reversed(&case.floor),
            cap: reversed(&case.cap),
        };
        let other = solver.solve(&mirror.problem()).unwrap();
        prop_assert!((solution.objective - other.objective).abs() <= rounding(&case, &solution), "seed {}", seed);
        if !near_max(&solution, case.entropy_min) {
            for (p, q) in share.iter().zip(solver.share().iter().rev()) {
                prop_assert!((p - q).abs() <= 1e-11, "seed {}: {} {}", seed, p, q);
            }
        }
    }

    #[test]
    fn shares_do_not_depend_on_the_unit_of_utility(seed: u64, exponent in -40_i32..40) {
        let case = instance(seed);
        let mut solver = SideSolver::new();
        let solution = solver.solve(&case.problem()).unwrap();
        let share = solver.share().to_vec();
        let factor = 2_f64.powi(exponent);
        let scaled = Case { utility: case.utility.iter().map(|u| u * factor).collect(), ..case.clone() };
        let other = solver.solve(&scaled.problem()).unwrap();
        prop_assert_eq!(share.as_slice(), solver.share());
        prop_assert_eq!(solution.objective * factor, other.objective);
        prop_assert!(solution.temperature.is_infinite() || solution.temperature * factor == other.temperature);
    }

    #[test]
    fn a_start_from_elsewhere_changes_the_work_and_not_the_answer(seed: u64, power in -3.0..3.0_f64) {
        let case = instance(seed);
        let mut solver = SideSolver::new();
        let cold = solver.solve(&case.problem()).unwrap();
        let share = solver.share().to_vec();
        let start = Warm {
            temperature: cold.temperature * 10_f64.powf(power),
            normaliser: cold.normaliser + cold.temperature * power,
        };
        let warm = solver.solve_from(&case.problem(), Some(start)).unwrap();
        assert_promise(&case, &warm, solver.share(), &format!("seed {seed} warm"));
        if !near_max(&cold, case.entropy_min) {
            for (p, q) in share.iter().zip(solver.share()) {
                prop_assert!((p - q).abs() <= 1e-11, "seed {}: {} {}", seed, p, q);
            }
        }
    }
}

/// What rounding does to the objective: a unit in the last place of the entropy costs `T` times as much.
fn rounding(case: &Case, solution: &SideSolution) -> f64 {
    let temperature = if solution.temperature.is_finite() { solution.temperature } else { 0.0 };
    1e-12 * case.scale() + 4.0 * f64::EPSILON * temperature * solution.entropy_max.max(1.0)
}

/// Close to the largest entropy the shares move like the square root of the distance: only the promise can be compared.
fn near_max(solution: &SideSolution, entropy_min: f64) -> bool {
    solution.entropy_max - entropy_min < 1e-3
}

#[test]
fn narrower_instructions_agree() {
    for seed in 0..2_000 {
        let case = instance(seed);
        let solve = |width| {
            let mut solver = SideSolver::limited(width);
            let solution = solver.solve(&case.problem()).unwrap();
            (solution, solver.into_share())
        };
        let (wide, wide_share) = solve(Width::Avx512);
        let (middle, middle_share) = solve(Width::Avx2);
        if widest() >= Width::Avx2 {
            // The same operations in the same order: bit by bit.
            assert_eq!(wide.objective.to_bits(), middle.objective.to_bits(), "seed {seed}");
            assert_eq!(wide.temperature.to_bits(), middle.temperature.to_bits(), "seed {seed}");
            assert_eq!(wide_share, middle_share, "seed {seed}");
        }
        let (portable, portable_share) = solve(Width::Portable);
        assert_promise(&case, &portable, &portable_share, &format!("seed {seed} portable"));
        assert!((wide.objective - portable.objective).abs() <= 1e-12 * case.scale(), "seed {seed}");
        if !near_max(&wide, case.entropy_min) {
            for (p, q) in wide_share.iter().zip(&portable_share) {
                assert!((p - q).abs() <= 1e-11, "seed {seed}: {p} {q}");
            }
        }
    }
}

#[test]
fn an_answer_does_not_depend_on_what_was_solved_before() {
    let mut kept = SideSolver::new();
    for seed in 0..5_000 {
        let case = instance(seed);
        let used = kept.solve(&case.problem()).unwrap();
        let mut fresh = SideSolver::new();
        let first = fresh.solve(&case.problem()).unwrap();
        assert_eq!(used.objective.to_bits(), first.objective.to_bits(), "seed {seed}");
        assert_eq!(used.dual_bound.to_bits(), first.dual_bound.to_bits(), "seed {seed}");
        assert_eq!(used.temperature.to_bits(), first.temperature.to_bits(), "seed {seed}");
        assert_eq!(kept.share(), fresh.share(), "seed {seed}");
    }
}
