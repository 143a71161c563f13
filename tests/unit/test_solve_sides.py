"""Problems P2 and P3 from Python: the worked check, the vectors of an independent solver, and their own promises."""

from __future__ import annotations

import gzip
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import equipoise as eq

PRICE, LEVERAGE, MARGIN = 27.11, 10.0, 397.49
CAPACITY = MARGIN * LEVERAGE / PRICE
PRICE_OF_RISK = 0.3 * (1e-4 * PRICE) ** 2 * 10


def worked(position: float, **terms: Any) -> eq.SidesProblem:
    """Five levels a side from 2 to 32 bps around 27.11, ten times leverage."""
    depth = np.array([2.0, 4.0, 8.0, 16.0, 32.0])
    probability = 1 - np.exp(-0.3 * np.exp(-1500 * depth / 1e4) * 10)
    utility = probability * (depth - 3 * np.exp(-depth / 8) - 1.5) / 1e4 * PRICE
    sides = [
        eq.SideProblem(
            utility,
            PRICE * (1 - sign * depth / 1e4) / LEVERAGE,
            entropy_min=1.2,
            size_max=CAPACITY - sign * position,
            fill_probability=probability,
        )
        for sign in (1, -1)
    ]
    given: dict[str, Any] = {"margin": MARGIN, "inventory": eq.Inventory(position, PRICE_OF_RISK)}
    return eq.SidesProblem(*sides, **(given | terms))


def solve(problem: eq.SidesProblem, **changes: Any) -> eq.SidesResult:
    terms = {name: getattr(problem, name) for name in ("margin", "combine", "bid_share", "inventory", "closing_credit")}
    return eq.solve_sides(problem.bid, problem.ask, **(terms | changes))


def market(seed: int, levels: tuple[int, int] = (10, 7), **terms: Any) -> eq.SidesProblem:
    """Two sides as a quoter would state them, a little different for every seed."""
    random = np.random.default_rng(seed)
    sides = []
    for count, sign in zip(levels, (-1, 1), strict=True):
        depth = np.linspace(2.0, 40.0, count) * random.uniform(0.8, 1.2)
        probability = 1 - np.exp(-3 * np.exp(-depth / random.uniform(5, 12)))
        utility = probability * (depth - 3 * np.exp(-depth / 8) - 1.5 + random.normal(0, 0.3, count)) / 1e4 * PRICE
        sides.append(
            eq.SideProblem(
                utility,
                PRICE * (1 + sign * depth / 1e4) / LEVERAGE,
                entropy_min=random.uniform(0.4, 0.8) * math.log(count),
                size_max=random.uniform(80.0, 160.0),
                fill_probability=probability,
            )
        )
    given: dict[str, Any] = {
        "margin": random.uniform(200.0, 400.0),
        "inventory": eq.Inventory(random.uniform(-60.0, 60.0), PRICE_OF_RISK),
    }
    return eq.SidesProblem(*sides, **(given | terms))


def assert_optimal(result: eq.SidesResult, label: object = "") -> None:
    note = f"{label}: {result}"
    assert result.status is eq.SidesStatus.OPTIMAL, note
    assert result.violation <= 1e-10, note
    assert -1e-12 <= result.relative_gap <= 1e-8, note
    assert result.gap == result.dual_bound - result.objective, note


@pytest.mark.parametrize(
    ("position", "bids", "asks", "objective"),
    [(0.0, 74.71, 71.91, 1.10782), (40.0, 26.41, 120.09, 1.10687), (80.0, 0.0, 146.43, 1.10243)],
)
def test_the_worked_check_leans_against_the_position(
    position: float, bids: float, asks: float, objective: float
) -> None:
    result = solve(worked(position))
    assert_optimal(result)
    assert abs(result.bid_size.sum() - bids) <= 5e-3
    assert abs(result.ask_size.sum() - asks) <= 5e-3
    assert abs(result.objective - objective) <= 5e-6
    assert result.bid_status is (eq.SideStatus.QUOTED if bids else eq.SideStatus.NO_VALUE)
    assert result.ask_status is eq.SideStatus.QUOTED
    assert result.margin_price[0] == result.margin_price[1] > 0


@pytest.fixture(scope="session")
def vectors(project_root: Path) -> list[dict[str, Any]]:
    with gzip.open(project_root / "tests/vectors/sides_share.json.gz", "rt") as file:
        instances: list[dict[str, Any]] = json.load(file)["instances"]
    return [case for case in instances if case["solution"]["status"] == "optimal"]


def stated(case: dict[str, Any]) -> eq.SidesProblem:
    def side(given: dict[str, Any]) -> eq.SideProblem:
        return eq.SideProblem(
            given["u"],
            given["m"],
            given["h"],
            given["Q"],
            share_floor=given["rel_floor"],
            share_cap=given["rel_cap"],
            size_cap=[math.inf if cap is None else cap for cap in given["abs_cap"]],
        )

    return eq.SidesProblem(
        side(case["bid"]),
        side(case["ask"]),
        margin=case["M"],
        combine={"sum": "sum", "max": "worst_side"}[case["rule"]],  # type: ignore[arg-type]
        bid_share=(case["share_lo"], case["share_hi"]),
    )


def test_vectors_of_an_independent_solver_are_met(vectors: list[dict[str, Any]]) -> None:
    assert len(vectors) == 79
    for case in vectors:
        result = solve(stated(case))
        label = f"{case['id']} {case['family']} {case['rule']}"
        assert_optimal(result, label)
        expected = case["solution"]["obj"]
        assert abs(result.objective - expected) <= 1e-9 * abs(expected), label
        if case["unique_like"]:
            for size, vector in ((result.bid_size, "s_bid"), (result.ask_size, "s_ask")):
                total = sum(case["solution"]["s_bid"]) + sum(case["solution"]["s_ask"])
                np.testing.assert_allclose(size, case["solution"][vector], rtol=0, atol=1e-4 * total, err_msg=label)


def golden_side(given: dict[str, Any]) -> eq.SideProblem:
    caps = given["size_cap"]
    if isinstance(caps, list):
        caps = [math.inf if cap is None else cap for cap in caps]
    names = ("utility", "margin_per_unit", "entropy_min", "size_max", "share_floor", "share_cap", "fill_probability")
    return eq.SideProblem(
        **{name: given[name] for name in names},
        size_cap=math.inf if caps is None else caps,
        saturation=eq.Saturation(given["saturation"], given["saturation_scale"]) if given.get("saturation") else None,
    )


def golden_problem(case: dict[str, Any]) -> eq.SidesProblem:
    return eq.SidesProblem(
        golden_side(case["bid"]),
        golden_side(case["ask"]),
        margin=case["margin"][0] if case["combine"] == "sum" else tuple(case["margin"]),
        combine=case["combine"],
        bid_share=case["bid_share"],
        inventory=eq.Inventory(case["position"], case["price_of_risk"], fill_variance=case["fill_variance"]),
    )


def test_every_kind_of_problem_is_read_and_answered_as_independent_solvers_do(project_root: Path) -> None:
    """Extremes included."""
    with gzip.open(project_root / "tests/vectors/sides.json.gz", "rt") as file:
        cases = json.load(file)["instances"]
    assert len(cases) >= 1_900
    for case in cases:
        problem, theirs = golden_problem(case), case["solution"]["objective"]
        result = solve(problem)
        label = f"{case['id']} {case['family']}: {result}"
        assert result.status is not eq.SidesStatus.INACCURATE, label
        largest = max(np.abs(side.utility).max() for side in (problem.bid, problem.ask))
        room = max(problem.bid.size_max, problem.ask.size_max)
        risk = 0.5 * case["price_of_risk"] * case["position"] ** 2
        assert abs(result.objective - theirs) <= 1e-9 * max(abs(theirs), risk, 1e-6 * largest * room), label
        assert result.violation <= 1e-10, label
        assert result.relative_gap <= 1e-8, label


def test_the_ladders_of_an_independent_solver_are_certified_by_our_multipliers(vectors: list[dict[str, Any]]) -> None:
    for case in vectors[::4]:
        problem, theirs = stated(case), case["solution"]
        certificate = eq.certify(problem, (theirs["s_bid"], theirs["s_ask"]), solve(problem))
        assert abs(certificate.objective - theirs["obj"]) <= 1e-12 * abs(theirs["obj"])
        assert abs(certificate.relative_gap) <= 1e-8
        assert certificate.violation <= 1e-9


def test_every_constraint_holds_when_written_out_in_numpy() -> None:
    for seed in range(12):
        problem = market(seed, bid_share=(0.3, 0.7), closing_credit=(40.0, 0.0))
        result = solve(problem)
        assert_optimal(result, seed)
        held = 0.0
        totals = []
        for side, size, credit in (
            (problem.bid, result.bid_size, 40.0),
            (problem.ask, result.ask_size, 0.0),
        ):
            total = size.sum()
            totals.append(total)
            share = size[size > 0] / total
            assert -(share * np.log(share)).sum() >= side.entropy_min - 1e-9
            assert total <= side.size_max * (1 + 1e-10)
            held += max(0.0, size @ side.margin_per_unit - credit)
        assert held <= problem.margin * (1 + 1e-10)  # type: ignore[operator]
        assert 0.3 - 1e-9 <= totals[0] / sum(totals) <= 0.7 + 1e-9


def test_the_objective_is_the_one_in_the_documentation() -> None:
    for variance in (False, True):
        problem = market(3, inventory=eq.Inventory(25.0, PRICE_OF_RISK, fill_variance=variance))
        result = solve(problem)
        value, expected, spread = 0.0, 25.0, 0.0
        for side, size, sign in ((problem.bid, result.bid_size, 1), (problem.ask, result.ask_size, -1)):
            value += side.utility @ size
            expected += sign * (side.fill_probability @ size)
            spread += (side.fill_probability * (1 - side.fill_probability)) @ size**2
        value -= 0.5 * PRICE_OF_RISK * (expected**2 + variance * spread)
        np.testing.assert_allclose(result.objective, value, rtol=1e-12)


@pytest.mark.parametrize("kind", ["exponential", "log"])
def test_value_that_saturates_late_is_value_that_does_not(kind: Any) -> None:
    problem = market(5)

    def saturated(scale: float) -> eq.SidesResult:
        sides = [
            eq.SideProblem(
                side.utility,
                side.margin_per_unit,
                side.entropy_min,
                side.size_max,
                fill_probability=side.fill_probability,
                saturation=eq.Saturation(kind, scale),
            )
            for side in (problem.bid, problem.ask)
        ]
        return eq.solve_sides(*sides, margin=problem.margin, inventory=problem.inventory)

    linear = solve(problem)
    late, early = saturated(1e9), saturated(20.0)
    for result in (late, early):
        assert_optimal(result, kind)
    np.testing.assert_allclose(late.objective, linear.objective, rtol=1e-6)
    assert early.objective < 0.95 * linear.objective
    # Spread thinner: the largest order is smaller in the side's total.
    assert early.ask_size.max() / early.ask_size.sum() < linear.ask_size.max() / linear.ask_size.sum() + 1e-9


def test_without_inventory_or_share_bound_all_goes_to_the_better_side() -> None:
    bid = eq.SideProblem([0.02, 0.01], 2.7, entropy_min=0.6, size_max=200.0)
    result = eq.solve_sides(bid, bid.moved([0.01, 0.01]), margin=300.0)
    assert_optimal(result)
    assert result.ask_size.sum() <= 1e-9 * result.bid_size.sum()
    np.testing.assert_allclose(result.bid_size @ bid.margin_per_unit, 300.0, rtol=1e-10)


def test_what_a_unit_of_margin_is_worth_is_the_margin_price() -> None:
    problem = worked(20.0)
    step = 1e-3
    up, down = (solve(problem, margin=MARGIN + s).objective for s in (step, -step))
    price = solve(problem).margin_price
    assert price[0] == price[1]
    np.testing.assert_allclose((up - down) / (2 * step), price[0], rtol=1e-4)


def test_worst_side_gives_each_side_the_pot_and_a_pair_gives_each_its_own() -> None:
    problem = worked(0.0)
    both = solve(problem, combine="worst_side", margin=200.0)
    same = solve(problem, combine="worst_side", margin=(200.0, 200.0))
    assert_optimal(both)
    assert both == same
    for side, size in ((problem.bid, both.bid_size), (problem.ask, both.ask_size)):
        np.testing.assert_allclose(size @ side.margin_per_unit, 200.0, rtol=1e-9)
    tilted = solve(problem, combine="worst_side", margin=(100.0, 200.0))
    np.testing.assert_allclose(tilted.bid_size @ problem.bid.margin_per_unit, 100.0, rtol=1e-9)
    assert tilted.margin_price[0] > tilted.margin_price[1]


def test_a_closing_credit_is_margin_for_that_side_alone() -> None:
    problem = worked(80.0)
    flat = solve(problem)
    credited = solve(problem, closing_credit=(0.0, 50.0))
    assert_optimal(credited)
    assert credited.objective > flat.objective
    held = credited.ask_size @ problem.ask.margin_per_unit
    np.testing.assert_allclose(held + credited.bid_size @ problem.bid.margin_per_unit, MARGIN + 50.0, rtol=1e-9)
    # With no margin left, bids have nothing and asks have their credit.
    closing = solve(problem, margin=0.0, closing_credit=(0.0, 50.0))
    assert closing.bid_size.sum() == 0.0
    np.testing.assert_allclose(closing.ask_size @ problem.ask.margin_per_unit, 50.0, rtol=1e-9)
    # Under worst_side each budget has its own credit.
    worst = solve(problem, combine="worst_side", margin=100.0, closing_credit=(0.0, 50.0))
    assert worst.ask_size @ problem.ask.margin_per_unit <= 150.0 * (1 + 1e-10)
    assert worst.ask_size @ problem.ask.margin_per_unit > 100.0


def test_a_credit_that_cannot_all_be_used_binds_on_its_side() -> None:
    """max(0, x - c_b) + max(0, y - c_a) <= M: a side never uses the other's credit."""
    bid = eq.SideProblem([0.02, 0.02], 2.0, entropy_min=0.6, size_max=1_000.0)
    result = eq.solve_sides(bid, bid.moved([1e-5, 1e-5]), margin=100.0, closing_credit=(30.0, 60.0))
    assert_optimal(result)
    np.testing.assert_allclose(result.bid_size @ bid.margin_per_unit, 130.0, rtol=1e-9)
    np.testing.assert_allclose(result.ask_size @ bid.margin_per_unit, 60.0, rtol=1e-9)
    assert result.margin_price[0] > result.margin_price[1] > 0


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"size_max": 0.0}, eq.SideStatus.BLOCKED),
        ({"size_cap": 0.0}, eq.SideStatus.BLOCKED),
        ({"share_floor": 0.6}, eq.SideStatus.INFEASIBLE_FLOOR_SUM),
        ({"share_cap": 0.4}, eq.SideStatus.INFEASIBLE_CAP_SUM),
        ({"share_floor": [0.5, 0.0], "share_cap": [0.4, 0.9]}, eq.SideStatus.INFEASIBLE_FLOOR_ABOVE_CAP),
        ({"entropy_min": 0.7}, eq.SideStatus.INFEASIBLE_ENTROPY),
    ],
)
def test_a_side_that_cannot_be_quoted_says_why_and_leaves_the_margin_to_the_other(
    changes: dict[str, Any], status: eq.SideStatus
) -> None:
    given: dict[str, Any] = {"entropy_min": 0.6, "size_max": 100.0} | changes
    bid = eq.SideProblem([0.02, 0.01], 2.0, **given)
    ask = eq.SideProblem([0.02, 0.01], 2.0, entropy_min=0.6, size_max=100.0)
    result = eq.solve_sides(bid, ask, margin=100.0)
    assert_optimal(result)
    assert (result.bid_status, result.ask_status) == (status, eq.SideStatus.QUOTED)
    assert not result.bid_size.any()
    np.testing.assert_allclose(result.ask_size @ ask.margin_per_unit, 100.0, rtol=1e-9)


def test_no_margin_quotes_nothing_and_says_so() -> None:
    bid = eq.SideProblem([0.02, 0.01], 2.0, entropy_min=0.6, size_max=100.0)
    result = eq.solve_sides(bid, bid, margin=0.0)
    assert result.status is eq.SidesStatus.ZERO
    assert (result.bid_status, result.ask_status) == (eq.SideStatus.NO_BUDGET, eq.SideStatus.NO_BUDGET)
    assert not result.bid_size.any()
    assert not result.ask_size.any()


def test_no_value_quotes_nothing_and_proves_it() -> None:
    bid = eq.SideProblem([-0.02, -0.01], 2.0, entropy_min=0.6, size_max=100.0)
    result = eq.solve_sides(bid, bid, margin=100.0)
    assert result.status is eq.SidesStatus.ZERO
    assert (result.bid_status, result.ask_status) == (eq.SideStatus.NO_VALUE, eq.SideStatus.NO_VALUE)
    assert (result.objective, result.gap, result.relative_gap) == (0.0, 0.0, 0.0)


def test_any_multipliers_prove_a_bound_and_those_of_the_answer_a_tight_one() -> None:
    random = np.random.default_rng(2)
    problem = market(8)
    result = solve(problem)
    assert_optimal(result)
    ladders = (result.bid_size, result.ask_size)
    tight = eq.certify(problem, ladders, result)
    assert tight == eq.certify(problem, ladders, result.multipliers) == eq.certify(problem, ladders)
    assert (tight.objective, tight.dual_bound, tight.violation) == (
        result.objective,
        result.dual_bound,
        result.violation,
    )
    for _ in range(50):
        wild = eq.Multipliers(
            margin=(0.0, 0.0, random.exponential(0.01)),
            temperature=tuple(random.exponential(0.02, 2)),
            inventory=random.normal(0, 1e-3),
        )
        assert eq.certify(problem, ladders, wild).dual_bound >= result.objective


def test_rounded_ladders_are_worth_less_by_no_more_than_their_gap() -> None:
    problem = market(9)
    result = solve(problem)
    rounded = (np.floor(result.bid_size), np.floor(result.ask_size))
    certificate = eq.certify(problem, rounded, result)
    loss = result.objective - certificate.objective
    assert 0 < loss <= certificate.gap + 1e-12 * result.objective
    too_large = eq.certify(problem, (result.bid_size * 2, result.ask_size * 2), result)
    assert too_large.violation > 0.5


def test_a_solver_answers_as_a_single_call_does_whatever_it_solved_before() -> None:
    problem = market(11)
    solver = eq.Solver(problem)
    assert solver.problem is problem
    random = np.random.default_rng(0)
    for _ in range(20):
        bid_utility = problem.bid.utility * random.uniform(0.9, 1.1, problem.bid.levels)
        margin, position = random.uniform(100.0, 400.0), random.uniform(-60.0, 60.0)
        answer = solver.solve(bid_utility, margin=margin, position=position)
        single = eq.solve_sides(
            problem.bid.moved(bid_utility),
            problem.ask,
            margin=margin,
            inventory=eq.Inventory(position, PRICE_OF_RISK),
        )
        assert_optimal(answer)
        np.testing.assert_allclose(answer.objective, single.objective, rtol=1e-8)
    # What is left out is as the problem states it, not as the last call did.
    np.testing.assert_allclose(solver.solve().objective, solve(problem).objective, rtol=1e-8)


def test_what_a_side_was_solved_for_before_changes_no_bit() -> None:
    problem = market(17)
    random = np.random.default_rng(1)
    for _ in range(30):
        utility = problem.bid.utility * random.uniform(0.5, 1.5, problem.bid.levels)
        terms = {"margin": random.choice([0.0, 100.0, 350.0]), "inventory": eq.Inventory(random.normal(0, 40), 2e-5)}
        used = eq.solve_sides(problem.bid.moved(utility), problem.ask, **terms)
        unused = pickle.loads(pickle.dumps(problem.bid))
        assert eq.solve_sides(unused.moved(utility), problem.ask, **terms) == used


def test_swapping_the_sides_and_the_sign_of_the_position_swaps_the_answer() -> None:
    problem = market(13)
    inventory = problem.inventory
    assert inventory is not None
    swapped = eq.solve_sides(
        problem.ask,
        problem.bid,
        margin=problem.margin,
        inventory=eq.Inventory(-inventory.position, inventory.price_of_risk),
    )
    result = solve(problem)
    np.testing.assert_allclose(swapped.objective, result.objective, rtol=1e-8)
    np.testing.assert_allclose(swapped.ask_size, result.bid_size, rtol=0, atol=1e-3 * result.bid_size.sum())
    np.testing.assert_allclose(swapped.bid_size, result.ask_size, rtol=0, atol=1e-3 * result.ask_size.sum())


def test_a_side_moves_without_touching_the_one_it_came_from() -> None:
    side = market(1).bid
    utility = side.utility.copy()
    moved = side.moved(2 * utility)
    np.testing.assert_array_equal(moved.utility, 2 * utility)
    np.testing.assert_array_equal(side.utility, utility)
    assert moved.margin_per_unit is side.margin_per_unit
    assert moved != side
    assert moved.moved(utility) == side
