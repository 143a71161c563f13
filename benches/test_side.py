"""Problem P1 from Python, the call included, beside its peers in the same interleaved run.

``python benches/test_side.py`` prints the table; under pytest it runs once, small, and checks the answers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import equipoise as eq
from equipoise import _rust

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches.heuristic_pipeline import heuristic_sizes
from benches.peers import ClarabelSide, slsqp

LADDERS = 32
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
        ladders = value * (1 + 0.3 * random.standard_normal((LADDERS, levels)))
        return cls(levels, 0.85 * math.log(levels), 0.05 / levels, min(1.0, 4.0 / levels), ladders)


def machine() -> str:
    model = platform.processor() or "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        model = next(
            (line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")),
            model,
        )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{model}, {os.cpu_count()} cores, load {load:.1f}, CPython {platform.python_version()}, numpy {np.__version__}"
    )


def refuse_debug() -> None:
    if _rust.BUILD_PROFILE != "release":
        raise SystemExit(f"built with profile {_rust.BUILD_PROFILE!r}: time a release build")


def interleave(calls: dict[str, tuple[int, Callable[[int], object]]], rounds: int) -> dict[str, list[float]]:
    """Seconds a call, one figure a round: in every round each peer runs its batch once, in turn."""
    figures: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name, (batch, call) in calls.items():
            start = time.perf_counter()
            for index in range(batch):
                call((turn + index) % LADDERS)
            figures[name].append((time.perf_counter() - start) / batch)
    return figures


def calls_of(case: Case) -> dict[str, tuple[int, Callable[[int], object]]]:
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
        summary = {
            name: {
                "p50": statistics.median(values),
                "p99": sorted(values)[min(len(values) - 1, int(0.99 * len(values)))],
                "min": min(values),
                "max": max(values),
            }
            for name, values in figures.items()
        }
        report["cases"][count] = {
            "hash": digest,
            "clarabel_difference": clarabel,
            "slsqp_better_by": better,
            "seconds": summary,
            "ratio": statistics.median(
                peer / ours for peer, ours in zip(figures["Clarabel update(q)"], figures["equipoise"], strict=True)
            ),
        }
    return report


def show(report: dict[str, Any]) -> None:
    print(report["machine"])
    for count, case in report["cases"].items():
        target = f", target {TARGET[count]}" if count in TARGET else ""
        print(
            f"\nK = {count}: answers {case['hash']}, Clarabel differs by {case['clarabel_difference']:.1e} of max |u|"
        )
        print(f"{'':28}{'p50 us':>10}{'p99':>10}{'min':>10}{'max':>10}{'of ours':>10}")
        ours = case["seconds"]["equipoise"]["p50"]
        for name, row in case["seconds"].items():
            cells = "".join(f"{row[key] * 1e6:10.2f}" for key in ("p50", "p99", "min", "max"))
            print(f"{name:28}{cells}{row['p50'] / ours:10.2f}")
        print(f"Clarabel / equipoise, median over rounds: {case['ratio']:.0f}{target}")


def test_every_peer_runs_once_and_the_answers_agree() -> None:
    report = run([5, 10], rounds=2)
    for case in report["cases"].values():
        assert case["clarabel_difference"] <= 1e-4
        assert case["slsqp_better_by"] <= 1e-6
        assert len(case["hash"]) == 16


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="two rounds of two sizes, any build")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args(arguments)
    if not options.quick:
        refuse_debug()
    report = run([5, 10], 2) if options.quick else run([5, 10, 25, 50], options.rounds)
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
