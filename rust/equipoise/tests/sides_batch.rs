//! A batch of two-sided problems: rows as single calls answer them, the first malformed row, a caller who stops.

#![allow(clippy::unwrap_used, missing_docs)]

use std::num::NonZeroUsize;

use equipoise::entropy::Bound;
use equipoise::sides::{Budget, Inventory, Saturation, Side, Sides, SidesSolver, Stopped, solve_batch};

const BIDS: [f64; 5] = [0.010, 0.024, 0.031, 0.019, 0.004];
const ASKS: [f64; 4] = [0.012, 0.026, 0.022, 0.009];
const MARGIN: [f64; 5] = [2.7; 5];

fn side(utility: &[f64]) -> Side<'_> {
    Side {
        utility,
        margin: &MARGIN[..utility.len()],
        fill_probability: Bound::Scalar(0.6),
        entropy_min: 0.8,
        share_floor: Bound::Scalar(0.0),
        share_cap: Bound::Scalar(1.0),
        size_cap: Bound::Scalar(f64::INFINITY),
        size_max: 120.0,
        saturation: Saturation::None,
    }
}

/// The rows differ in margin and position.
fn row(index: usize) -> Sides<'static> {
    Sides {
        side: [side(&BIDS), side(&ASKS)],
        budget: Budget { side: [f64::INFINITY; 2], total: 200.0 + index as f64 },
        bid_share: None,
        inventory: Some(Inventory { position: index as f64 - 50.0, price_of_risk: 2e-5, fill_variance: false }),
    }
}

fn threads(count: usize) -> Option<NonZeroUsize> {
    NonZeroUsize::new(count)
}

#[test]
fn rows_are_what_single_calls_answer_whatever_the_threads() {
    let rows = 97;
    let one = solve_batch(rows, [5, 4], row, threads(1), || true).unwrap();
    for count in [2, 3, 200] {
        assert_eq!(solve_batch(rows, [5, 4], row, threads(count), || true).unwrap(), one);
    }
    for index in 0..rows {
        let mut solver = SidesSolver::new();
        assert_eq!(solver.solve(&row(index)).unwrap(), one.solution[index], "row {index}");
        let [bids, asks] = solver.size();
        assert_eq!(bids, &one.size[0][5 * index..][..5], "row {index}");
        assert_eq!(asks, &one.size[1][4 * index..][..4], "row {index}");
    }
}

#[test]
fn answers_that_fit_no_memory_are_an_error() {
    assert_eq!(solve_batch(usize::MAX, [5, 4], row, None, || true), Err(Stopped::Memory));
    assert_eq!(solve_batch(1 << 40, [1 << 20, 4], row, None, || true), Err(Stopped::Memory));
}

#[test]
fn no_rows_and_no_levels_are_batches_too() {
    let none = solve_batch(0, [5, 4], row, None, || true).unwrap();
    assert!(none.solution.is_empty() && none.size.iter().all(Vec::is_empty));
    let empty = Sides { side: [side(&[]), side(&[])], ..row(0) };
    assert_eq!(solve_batch(40, [0, 0], |_| empty, threads(2), || true).unwrap().solution.len(), 40);
}

#[test]
fn the_first_malformed_row_is_named_whatever_the_threads() {
    let malformed = |index: usize| {
        let mut sides = row(index);
        if matches!(index, 61 | 62 | 190) {
            sides.side[1].size_max = f64::NAN;
        }
        sides
    };
    for count in [1, 2, 5] {
        let Err(Stopped::Malformed { row, error }) = solve_batch(200, [5, 4], malformed, threads(count), || true)
        else {
            unreachable!("a malformed row was solved");
        };
        assert_eq!((row, error.argument), (61, "ask.size_max"));
    }
}

#[test]
fn a_caller_who_does_not_go_on_stops_the_threads() {
    let slow = |index: usize| {
        std::thread::sleep(std::time::Duration::from_millis(1));
        row(index)
    };
    let mut asked = 0;
    let stopped = solve_batch(1_000_000, [5, 4], slow, threads(2), || {
        asked += 1;
        asked < 3
    });
    assert_eq!(stopped, Err(Stopped::Asked));
    assert_eq!(asked, 3);
}
