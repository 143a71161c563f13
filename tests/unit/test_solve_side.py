"""Problem P1 from Python: the vectors of an independent solver, and its own promises."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benches.peers import ClarabelSide, entropy, slsqp

import equipoise as eq

REASONS = {
    "floors_sum_gt_1": eq.Status.INFEASIBLE_FLOOR_SUM,
    "caps_sum_lt_1": eq.Status.INFEASIBLE_CAP_SUM,
    "floor_gt_cap": eq.Status.INFEASIBLE_FLOOR_ABOVE_CAP,
    "entropy_gt_max": eq.Status.INFEASIBLE_ENTROPY,
}


@pytest.fixture(scope="session")
def vectors(project_root: Path) -> dict[str, Any]:
    return json.loads((project_root / "tests/vectors/side.json").read_text())


def solve(case: dict[str, Any]) -> eq.SideResult:
    return eq.solve_side(case["u"], entropy_min=case["h"], floor=case["floor"], cap=case["cap"])


@pytest.mark.parametrize("family", ["instances", "stress"])
def test_vectors_of_an_independent_solver_are_met(vectors: dict[str, Any], family: str) -> None:
    assert len(vectors[family]) >= 60
    for case in vectors[family]:
        result = solve(case)
        scale = max(map(abs, case["u"]))
        label = f"{family} {case['id']}: {result}"
        assert result.status is eq.Status.OPTIMAL, label
        assert result.violation <= 1e-12, label
        assert 0 <= result.gap <= 1e-9 * scale, label
        assert abs(result.objective - case["obj"]) <= 1e-12 * scale, label
        np.testing.assert_allclose(result.share, case["p"], rtol=0, atol=1e-10, err_msg=label)


def test_infeasible_vectors_name_their_reason_and_the_largest_entropy(vectors: dict[str, Any]) -> None:
    assert len(vectors["infeasible"]) == 60
    for case in vectors["infeasible"]:
        result = solve(case)
        assert result.status is REASONS[case["reason"]]
        assert not result.share.any()
        if case["H_max"] is None:
            assert math.isnan(result.entropy_max)
        else:
            assert abs(result.entropy_max - case["H_max"]) <= 1e-14


def test_solutions_agree_with_a_conic_solver_where_that_is_exact() -> None:
    random = np.random.default_rng(11)
    for trial in range(30):
        levels = int(random.integers(2, 26))
        utility = random.standard_normal(levels)
        entropy_min = random.uniform(0.2, 0.95) * math.log(levels)
        floor, cap = 0.05 / levels, min(1.0, 4.0 / levels)
        result = eq.solve_side(utility, entropy_min=entropy_min, floor=floor, cap=cap)
        objective, share = ClarabelSide(levels, entropy_min, floor, cap).solve(utility)
        np.testing.assert_allclose(result.objective, objective, atol=2e-5, err_msg=f"trial {trial}")
        np.testing.assert_allclose(result.share, share, atol=5e-3, err_msg=f"trial {trial}")


def test_no_feasible_point_of_a_general_optimizer_is_better() -> None:
    random = np.random.default_rng(12)
    agreed = 0
    for _ in range(20):
        levels = int(random.integers(3, 9))
        utility = random.standard_normal(levels)
        entropy_min = random.uniform(0.3, 0.9) * math.log(levels)
        result = eq.solve_side(utility, entropy_min=entropy_min)
        objective, share = slsqp(utility, entropy_min, 0.0, 1.0)
        if entropy(share) >= entropy_min - 1e-9 and abs(share.sum() - 1) <= 1e-9:
            assert objective <= result.objective + 1e-7
            agreed += abs(result.objective - objective) <= 1e-5
    # It strays from its start on some of them, and must not stray on all.
    assert agreed >= 10


@pytest.mark.parametrize("levels", [2, 3, 5, 10, 50])
def test_the_logarithm_of_the_levels_is_feasible_and_leaves_one_point(levels: int) -> None:
    result = eq.solve_side(np.arange(levels, dtype=float), entropy_min=math.log(levels))
    assert result.status is eq.Status.OPTIMAL
    assert math.isinf(result.temperature)
    np.testing.assert_allclose(result.share, 1 / levels, rtol=1e-15)
    beyond = eq.solve_side(np.arange(levels, dtype=float), entropy_min=math.log(levels) + 1e-8)
    assert beyond.status is eq.Status.INFEASIBLE_ENTROPY
    assert beyond.entropy_max == math.log(levels)


def test_ties_at_the_margin_share_and_a_slack_floor_costs_nothing() -> None:
    result = eq.solve_side([2.0, 1.0, 1.0, 0.0], entropy_min=0.0, cap=0.5)
    np.testing.assert_array_equal(result.share, [0.5, 0.25, 0.25, 0.0])
    assert result.temperature == 0.0
    assert result.gap == 0.0


def test_equal_utilities_give_the_flattest_shares_at_temperature_zero() -> None:
    result = eq.solve_side(np.full(4, -7.5), entropy_min=1.2, cap=[0.1, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(result.share, [0.1, 0.3, 0.3, 0.3], rtol=1e-15)
    assert (result.temperature, result.objective) == (0.0, -7.5)


def test_one_level_takes_all_and_has_no_entropy_to_give() -> None:
    assert eq.solve_side([5.0], entropy_min=0.0).share.tolist() == [1.0]
    assert eq.solve_side([5.0], entropy_min=0.1).status is eq.Status.INFEASIBLE_ENTROPY


def test_caps_that_sum_to_one_but_for_roundoff_are_feasible() -> None:
    assert sum([0.1] * 10) != 1.0
    caps = np.full(10, 0.1)
    result = eq.solve_side(np.arange(10.0), entropy_min=1.0, cap=caps)
    assert result.status is eq.Status.OPTIMAL
    np.testing.assert_array_equal(result.share, caps)


def test_floors_that_sum_to_one_leave_one_point() -> None:
    floors = np.array([0.1, 0.2, 0.3, 0.4])
    result = eq.solve_side([1.0, 2.0, 3.0, 4.0], entropy_min=1.0, floor=floors)
    assert result.status is eq.Status.OPTIMAL
    np.testing.assert_allclose(result.share, floors, rtol=1e-15)


def test_adding_a_constant_or_changing_the_unit_changes_nothing_but_the_objective() -> None:
    utility = np.random.default_rng(3).standard_normal(12)
    base = eq.solve_side(utility, entropy_min=1.5, cap=0.4)
    for scale, offset in [(1e-8, 0.0), (1e8, 0.0), (3.7, 11.0), (1e4, -1e4)]:
        moved = eq.solve_side(scale * utility + offset, entropy_min=1.5, cap=0.4)
        np.testing.assert_allclose(moved.share, base.share, rtol=1e-9)
        np.testing.assert_allclose(moved.temperature, scale * base.temperature, rtol=1e-9)


def test_a_levels_share_follows_its_utility_not_its_place() -> None:
    random = np.random.default_rng(4)
    utility = random.standard_normal(25)
    base = eq.solve_side(utility, entropy_min=2.0)
    order = random.permutation(25)
    np.testing.assert_allclose(eq.solve_side(utility[order], entropy_min=2.0).share, base.share[order], rtol=1e-12)


def test_what_the_entropy_floor_costs_is_the_temperature() -> None:
    utility = np.random.default_rng(6).standard_normal(10)
    step = 1e-5
    up, down = (eq.solve_side(utility, entropy_min=1.7 + s, cap=0.3) for s in (step, -step))
    slope = (up.objective - down.objective) / (2 * step)
    at = eq.solve_side(utility, entropy_min=1.7, cap=0.3)
    np.testing.assert_allclose(slope, -at.temperature, rtol=1e-6)
