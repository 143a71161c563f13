"""`solve_batch` on one thread and on two beside single calls in the same interleaved run.

``python benches/test_batch.py`` prints the table; under pytest it runs once, small, and checks that no bit differs.
"""

from __future__ import annotations

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import equipoise as eq
from equipoise import _rust

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches.harness import Call, command_line, interleave, machine, print_rows, ratio, summary
from benches.sides_cases import KINDS, Case, Kind

SINGLE, ONE, TWO = "solve_sides, row by row", "solve_batch, 1 thread", "solve_batch, 2 threads"
CONTROL_ONE, CONTROL_TWO = "control: sha256, 1 thread", "control: sha256, 2 threads"
THREADS = 2
TARGET = 0.8 * THREADS
"""Ladders per second on two threads over those of one: of two cores, at least 0.8 each."""


def rows_of(case: Case, rows: int) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    random = np.random.default_rng(case.levels)
    noise = 1 + 0.2 * random.standard_normal((2, rows, case.levels))
    return {"bid_utility": case.instance.bid.utility * noise[0], "ask_utility": case.instance.ask.utility * noise[1]}


def calls_of(case: Case, rows: int) -> dict[str, Call]:
    bid, ask, given = case.problem.bid, case.problem.ask, case.keywords
    stacked = rows_of(case, rows)
    pairs = list(zip(stacked["bid_utility"], stacked["ask_utility"], strict=True))
    # What two threads are worth on this machine, now: hashing lets go of the interpreter too.
    block, pool = bytes(4096 * rows), ThreadPoolExecutor(THREADS)

    def single(_: int) -> None:
        for of_bid, of_ask in pairs:
            eq.solve_sides(bid.moved(of_bid), ask.moved(of_ask), **given)

    def hashed(count: int) -> None:
        for done in [pool.submit(lambda: hashlib.sha256(block).digest()) for _ in range(count)]:
            done.result()

    return {
        SINGLE: (1, single),
        ONE: (1, lambda _: eq.solve_batch(bid, ask, **given, **stacked, threads=1)),
        TWO: (1, lambda _: eq.solve_batch(bid, ask, **given, **stacked, threads=THREADS)),
        CONTROL_ONE: (2, lambda _: hashed(1)),
        CONTROL_TWO: (1, lambda _: hashed(2)),
    }


def compare_answers(case: Case, rows: int) -> str:
    """Hash of the sizes; every row of both batches is the single call's to the last bit."""
    bid, ask, given = case.problem.bid, case.problem.ask, case.keywords
    stacked = rows_of(case, rows)
    one, two = (eq.solve_batch(bid, ask, **given, **stacked, threads=threads) for threads in (1, THREADS))
    assert one == two
    for row in range(rows):
        single = eq.solve_sides(bid.moved(stacked["bid_utility"][row]), ask.moved(stacked["ask_utility"][row]), **given)
        assert single.status is eq.SidesStatus.OPTIMAL, single
        assert np.array_equal(one.bid_size[row], single.bid_size), row
        assert np.array_equal(one.ask_size[row], single.ask_size), row
        assert one.objective[row] == single.objective, row
        assert one.dual_bound[row] == single.dual_bound, row
    digest = hashlib.sha256(np.round(one.bid_size, 4).tobytes() + np.round(one.ask_size, 4).tobytes())
    return digest.hexdigest()[:16]


def run(levels: list[int], rounds: int, rows: int, kinds: tuple[Kind, ...] = ("plain", "eta")) -> dict[str, Any]:
    report: dict[str, Any] = {"machine": machine(), "profile": _rust.BUILD_PROFILE, "rows": rows, "cases": []}
    for kind in kinds:
        for count in levels:
            case = Case.of(kind, count)
            digest = compare_answers(case, rows)
            figures = interleave(calls_of(case, rows), rounds)
            # Two calls in turn and two at once are as much work: both figures for the two.
            figures[CONTROL_ONE] = [2 * value for value in figures[CONTROL_ONE]]
            figures = {name: [value / rows for value in values] for name, values in figures.items()}
            report["cases"].append(
                {
                    "kind": kind,
                    "levels": count,
                    "hash": digest,
                    "seconds": summary(figures),
                    "threads": ratio(figures, ONE, TWO),
                    "threads_control": ratio(figures, CONTROL_ONE, CONTROL_TWO),
                    "one_over_single": ratio(figures, SINGLE, ONE),
                    "two_over_single": ratio(figures, SINGLE, TWO),
                }
            )
    report["machine_after"] = machine()
    return report


def show(report: dict[str, Any]) -> None:
    print(report["machine"])
    for case in report["cases"]:
        print(f"\nK = {case['levels']} a side, {report['rows']} rows, {case['kind']}: {KINDS[case['kind']]}")
        print(f"answers {case['hash']}, every bit that of the single call; microseconds a ladder:")
        print_rows(case["seconds"], ONE)
        rates = {name: 1 / case["seconds"][name]["p50"] for name in (SINGLE, ONE, TWO)}
        print("ladders per second: " + ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items()))
        met = "" if case["threads"] >= TARGET else ": NOT MET"
        print(
            f"2 threads over 1: {case['threads']:.2f}, target {TARGET:.1f}{met} "
            f"(the control, which the machine bounds alone: {case['threads_control']:.2f})"
        )
        more = "" if case["one_over_single"] > 1 else ": NOT MET"
        print(
            f"a core in a batch over single calls: {case['one_over_single']:.2f}, target above 1{more}; "
            f"both cores over single calls: {case['two_over_single']:.2f}"
        )
    print(f"\nafterwards: {report['machine_after']}")


def test_batches_answer_as_single_calls_bit_by_bit() -> None:
    report = run([5, 10], rounds=2, rows=64, kinds=("plain", "caps", "eta"))
    assert len(report["cases"]) == 6
    for case in report["cases"]:
        assert len(case["hash"]) == 16


def main(arguments: list[str] | None = None) -> None:
    command_line(
        __doc__,
        arguments,
        quick=lambda: run([5, 10], 2, 64),
        full=lambda rounds: run([10, 25, 50], max(10, rounds // 4), 1000, ("plain", "caps", "eta")),
        show=show,
    )


if __name__ == "__main__":
    main()
