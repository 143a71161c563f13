//! Problem P1 against vectors from an independent solver, and against its own certificate on random families.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use equipoise::entropy::{Bound, SideProblem, SideSolution, SideSolver};
use equipoise::status::Status;
use serde_json::Value;

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
