"""Problem P1 from Python: the vectors of an independent solver, and its own promises."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
