"""Problem P1 from Python, the call included, beside its peers in the same interleaved run.

``python benches/test_side.py`` prints the table; under pytest it runs once, small, and checks the answers.
"""

from __future__ import annotations

import hashlib
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import equipoise as eq
from equipoise import _rust

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches.harness import PROBLEMS, Call, command_line, interleave, machine, print_rows, ratio, summary
from benches.heuristic_pipeline import heuristic_sizes
from benches.peers import ClarabelSide, slsqp

TARGET = {10: 80, 25: 180, 50: 350}


@dataclass(frozen=True, slots=True)
class Case:
    levels: int
    entropy_min: float
    floor: float
    cap: float
    ladders: np.ndarray[Any, np.dtype[np.float64]]

    @classmethod
    def of(cls, levels: int) -> Case:
        # Fill probability falls and edge grows with depth; noise makes every ladder another problem.
        random = np.random.default_rng(levels)
        depth = np.geomspace(2.0, 32.0, levels)
        value = (1 - np.exp(-3.0 * np.exp(-0.15 * depth))) * (depth - 3.0 * np.exp(-depth / 8.0) - 1.5) * 27.11e-4
        ladders = value * (1 + 0.3 * random.standard_normal((PROBLEMS, levels)))
        return cls(levels, 0.85 * math.log(levels), 0.05 / levels, min(1.0, 4.0 / levels), ladders)


def calls_of(case: Case) -> dict[str, Call]:
    rows = list(case.ladders)
    clarabel = ClarabelSide(case.levels, case.entropy_min, case.floor, case.cap)
    random = np.random.default_rng(0)
    capacity = 73.31
    empty = {"entropy_min": 0.0}
    one = np.ones(1)
    solve, h, f, c = eq.solve_side, case.entropy_min, case.floor, case.cap
    floors, caps = np.full(case.levels, f), np.full(case.levels, c)
    return {
        "empty call": (300, lambda _: solve(one, **empty)),
        "arrays only": (300, lambda i: solve(rows[i], entropy_min=99.0, floor=f, cap=c)),
        "equipoise": (300, lambda i: solve(rows[i], entropy_min=h, floor=f, cap=c)),
        "equipoise, bounds by level": (300, lambda i: solve(rows[i], entropy_min=h, floor=floors, cap=caps)),
        "equipoise, no bounds": (300, lambda i: solve(rows[i], entropy_min=h)),
        "Clarabel update(q)": (3, lambda i: clarabel.solve(rows[i])),
        "SciPy SLSQP": (1, lambda i: slsqp(rows[i], h, f, c)),
        "heuristic pipeline": (
            2,
            lambda i: heuristic_sizes(
                rows[i], entropy_min=h, share_min=f, capacity=capacity, size_min=0.37, random=random
            ),
        ),
    }


def compare_answers(case: Case) -> tuple[str, float, float]:
    """Hash of our shares, the largest objective difference to Clarabel and to SLSQP as a share of max |u|."""
    clarabel = ClarabelSide(case.levels, case.entropy_min, case.floor, case.cap)
    digest = hashlib.sha256()
    worst = [0.0, 0.0]
    for utility in case.ladders:
        result = eq.solve_side(utility, entropy_min=case.entropy_min, floor=case.floor, cap=case.cap)
        assert result.status is eq.Status.OPTIMAL, result
        digest.update(np.round(result.share, 9).tobytes())
        scale = float(np.abs(utility).max())
        worst[0] = max(worst[0], abs(clarabel.solve(utility)[0] - result.objective) / scale)
        # SLSQP may stop early or stray: only what it finds above us would be news.
        worst[1] = max(worst[1], (slsqp(utility, case.entropy_min, case.floor, case.cap)[0] - result.objective) / scale)
    return digest.hexdigest()[:16], worst[0], worst[1]


def run(levels: list[int], rounds: int) -> dict[str, Any]:
    report: dict[str, Any] = {"machine": machine(), "profile": _rust.BUILD_PROFILE, "cases": {}}
    for count in levels:
        case = Case.of(count)
        digest, clarabel, better = compare_answers(case)
        figures = interleave(calls_of(case), rounds)
        report["cases"][count] = {
            "hash": digest,
            "clarabel_difference": clarabel,
            "slsqp_better_by": better,
            "seconds": summary(figures),
            "ratio": ratio(figures, "Clarabel update(q)", "equipoise"),
        }
    return report


def show(report: dict[str, Any]) -> None:
    print(report["machine"])
    for count, case in report["cases"].items():
        target = f", target {TARGET[count]}" if count in TARGET else ""
        print(
            f"\nK = {count}: answers {case['hash']}, Clarabel differs by {case['clarabel_difference']:.1e} of max |u|"
        )
        print_rows(case["seconds"], "equipoise")
        print(f"Clarabel / equipoise, median over rounds: {case['ratio']:.0f}{target}")


def test_every_peer_runs_once_and_the_answers_agree() -> None:
    report = run([5, 10], rounds=2)
    for case in report["cases"].values():
        assert case["clarabel_difference"] <= 1e-4
        assert case["slsqp_better_by"] <= 1e-6
        assert len(case["hash"]) == 16


def main(arguments: list[str] | None = None) -> None:
    command_line(
        __doc__,
        arguments,
        quick=lambda: run([5, 10], 2),
        full=lambda rounds: run([5, 10, 25, 50], rounds),
        show=show,
    )


if __name__ == "__main__":
    main()
