"""Problems P2 and P3 from Python, the call included, beside their peers in the same interleaved run.

``python benches/test_sides.py`` prints the tables; under pytest it runs once, small, and checks the answers.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import equipoise as eq
from equipoise import _rust

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches.harness import PROBLEMS, Call, command_line, interleave, machine, print_rows, ratio, summary
from benches.sides_cases import KINDS, Case, Kind
from benches.sides_others import CvxpySides, EcosSides, HeuristicSides, Peer, ScsSides, SlsqpSides
from benches.sides_peer import ClarabelPrepared, clarabel_sides, objective, violation

Floats = NDArray[np.float64]

FREE, WARM, COLD = "solve_sides", "Solver, moved 0.1 %", "Solver, new ladders"
PEER, ANEW = "Clarabel update(q)", "Clarabel, set up anew"
PLAIN = {10: (60, 100), 25: (200, 300), 50: (300, 400)}
OTHER = {10: 25, 25: 70, 50: 80}
SLSQP_LEVELS = 10
"""SLSQP takes part up to this many levels; beyond, it fails or takes seconds."""


def targets(kind: Kind, levels: int) -> dict[str, int]:
    if kind == "exponential" or levels not in OTHER:
        return {}
    free, warm = PLAIN[levels] if kind == "plain" else (OTHER[levels], OTHER[levels])
    return {FREE: free, WARM: warm}


def ours(case: Case) -> dict[str, Call]:
    bid, ask, given = case.problem.bid, case.problem.ask, case.keywords
    solve, fresh, near = eq.solve_sides, case.fresh, case.near
    cold, warm = eq.Solver(case.problem), eq.Solver(case.problem)
    batch = 20 if case.kind in ("exponential", "caps") else 50
    return {
        FREE: (batch, lambda i: solve(bid.moved(fresh[i][0]), ask.moved(fresh[i][1]), **given)),
        COLD: (batch, lambda i: cold.solve(*fresh[i])),
        WARM: (batch, lambda i: warm.solve(*near[i])),
    }


def boundary(case: Case) -> dict[str, Call]:
    """What cannot be solved faster: a control without the package, and calls with nothing to solve."""
    bid, ask, fresh, solve = case.problem.bid, case.problem.ask, case.fresh, eq.solve_sides
    given = case.keywords | {"margin": 0.0}
    one = eq.SideProblem([1.0], 1.0, 0.0, 1.0)
    broke = eq.Solver(eq.SidesProblem(bid, ask, **given))
    return {
        "control: numpy exp and sum": (200, lambda i: np.exp(fresh[i][0]).sum()),
        "empty call": (200, lambda _: solve(one, one, margin=0.0)),
        "moved, twice": (200, lambda i: (bid.moved(fresh[i][0]), ask.moved(fresh[i][1]))),
        "solve_sides, no margin": (200, lambda i: solve(bid.moved(fresh[i][0]), ask.moved(fresh[i][1]), **given)),
        "Solver, no margin": (200, lambda i: broke.solve(*fresh[i])),
    }


def conic(case: Case, ladders: list[tuple[Floats, Floats]]) -> dict[str, Call]:
    """Clarabel on these utilities."""
    if case.kind == "exponential":
        return {ANEW: (1, lambda i: clarabel_sides(case.instance_at(ladders[i])))}
    prepared = ClarabelPrepared(case.instance)
    return {PEER: (1, lambda i: prepared.solve(*ladders[i]))}


@dataclass(frozen=True)
class Anew:
    """A peer that takes saturating values only as part of a new problem."""

    case: Case
    of: type[EcosSides | ScsSides | CvxpySides]

    def solve(self, bid_utility: Floats, ask_utility: Floats) -> tuple[float, Floats, Floats]:
        """Objective, bid sizes and ask sizes."""
        return self.of(self.case.instance_at((bid_utility, ask_utility))).as_stated()


def others(case: Case, *, slsqp: bool) -> dict[str, Peer]:
    if case.kind == "exponential":
        anew = {"ECOS": EcosSides, "SCS": ScsSides, "cvxpy": CvxpySides}
        peers: dict[str, Peer] = {f"{name}, set up anew": Anew(case, peer) for name, peer in anew.items()}
    else:
        peers = {
            "ECOS": EcosSides(case.instance),
            "SCS, warm": ScsSides(case.instance),
            "cvxpy, DPP": CvxpySides(case.instance),
        }
    peers["heuristic pipeline"] = HeuristicSides(case.instance)
    return peers | ({"SciPy SLSQP": SlsqpSides(case.instance)} if slsqp else {})


def compare_answers(case: Case, problems: int) -> dict[str, Any]:
    """Hash of our sizes; how far our objective is from Clarabel's, as a share of it; what certifies ours."""
    digest = hashlib.sha256()
    prepared = None if case.kind == "exponential" else ClarabelPrepared(case.instance)
    cold, warm = eq.Solver(case.problem), eq.Solver(case.problem)
    worst = dict.fromkeys(("difference", "solver_difference", "relative_gap", "violation", "peer_violation"), 0.0)
    capped = 0
    for index in range(problems):
        for utilities, solver in ((case.fresh[index], cold), (case.near[index], warm)):
            stated = case.instance_at(utilities)
            bid, ask = (side.moved(u) for side, u in zip((case.problem.bid, case.problem.ask), utilities, strict=True))
            result = eq.solve_sides(bid, ask, **case.keywords)
            answers = (result, solver.solve(*utilities))
            certified = eq.certify(
                eq.SidesProblem(bid, ask, **case.keywords), (result.bid_size, result.ask_size), result.multipliers
            )
            for answer in answers:
                assert answer.status is eq.SidesStatus.OPTIMAL, answer
                judged = violation(stated, answer.bid_size, answer.ask_size, negligible=1e-12)
                worst["violation"] = max(worst["violation"], judged)
                worst["relative_gap"] = max(worst["relative_gap"], answer.relative_gap, certified.relative_gap)
            _, *peer = prepared.solve(*utilities) if prepared else clarabel_sides(stated)
            value = objective(stated, result.bid_size, result.ask_size)
            theirs, scale = objective(stated, *peer), max(abs(value), stated.value_scale)
            worst["difference"] = max(worst["difference"], abs(theirs - value) / scale)
            worst["solver_difference"] = max(worst["solver_difference"], abs(answers[1].objective - value) / scale)
            worst["peer_violation"] = max(worst["peer_violation"], violation(stated, *peer, negligible=1e-6))
            for side, size in zip(stated.sides, (result.bid_size, result.ask_size), strict=True):
                digest.update(np.round(size, 4).tobytes())
                capped += int((size >= side.size_cap * (1 - 1e-6)).sum())
    return {"hash": digest.hexdigest()[:16], "capped": capped / (4 * problems * case.levels)} | worst


def slow_peers(case: Case, rounds: int, *, slsqp: bool) -> dict[str, Any]:
    """The other peers beside ours and Clarabel on utilities that move by 0.1 %, and what they answer."""
    kept: dict[str, Peer] = {}
    said: dict[str, str] = {} if slsqp else {"SciPy SLSQP": "takes too long here, left out"}
    for name, peer in others(case, slsqp=slsqp).items():
        differences = []
        try:
            for utilities in case.near[:4]:
                value = eq.Solver(case.problem).solve(*utilities).objective
                differences.append((peer.solve(*utilities)[0] - value) / abs(value))
        except ArithmeticError as error:
            said[name] = f"not timed: {error}"
            continue
        kept[name] = peer
        said[name] = f"objective off by {max(differences, key=abs):+.1e}"
    near, bid, ask, given = case.near, case.problem.bid, case.problem.ask, case.keywords
    solver = eq.Solver(case.problem)
    calls: dict[str, Call] = {
        FREE: (20, lambda i: eq.solve_sides(bid.moved(near[i][0]), ask.moved(near[i][1]), **given)),
        WARM: (20, lambda i: solver.solve(*near[i])),
    }
    calls |= conic(case, near)
    calls |= {name: (1, lambda i, peer=peer: peer.solve(*near[i])) for name, peer in kept.items()}  # type: ignore[misc]
    return {"seconds": summary(interleave(calls, rounds)), "said": said}


def latency(case: Case, calls: int) -> dict[str, dict[str, float]]:
    """Quantiles over single calls, one of each row in turn."""
    one = {name: (1, call) for name, (_, call) in ours(case).items()}
    return {
        name: {
            "p50": float(np.quantile(values, 0.5)),
            "p99": float(np.quantile(values, 0.99)),
            "p99.9": float(np.quantile(values, 0.999)),
            "max": max(values),
        }
        for name, values in interleave(one, calls).items()
    }


def run(levels: list[int], rounds: int, *, problems: int = PROBLEMS, slow_rounds: int) -> dict[str, Any]:
    report: dict[str, Any] = {"machine": machine(), "profile": _rust.BUILD_PROFILE, "cases": []}
    for kind in KINDS:
        for count in levels:
            case = Case.of(kind, count)
            # A P3 peer that is set up anew takes as long as hundreds of ours.
            fewer = max(2, rounds // 10) if kind == "exponential" else rounds
            answers = compare_answers(case, max(2, problems // 8) if kind == "exponential" else problems)
            peer = conic(case, case.fresh)
            figures = interleave(boundary(case) | ours(case) | peer, fewer)
            row: dict[str, Any] = {"kind": kind, "levels": count, "answers": answers, "seconds": summary(figures)}
            row["ratios"] = {name: ratio(figures, *peer, name) for name in (FREE, COLD, WARM)}
            row["targets"] = targets(kind, count)
            row["latency"] = latency(case, 20 * rounds)
            row["slow"] = slow_peers(case, slow_rounds, slsqp=slow_rounds > 1 and count <= SLSQP_LEVELS)
            report["cases"].append(row)
    report["machine_after"] = machine()
    return report


def show(report: dict[str, Any]) -> None:
    print(report["machine"])
    for case in report["cases"]:
        answers = case["answers"]
        print(f"\nK = {case['levels']} a side, {case['kind']}: {KINDS[case['kind']]}")
        print(
            f"answers {answers['hash']}, {answers['capped']:.0%} of levels at their cap; objective within "
            f"{answers['difference']:.1e} of Clarabel's, Solver within {answers['solver_difference']:.1e}; certified "
            f"gap {answers['relative_gap']:.1e}, violation {answers['violation']:.1e} "
            f"(Clarabel's {answers['peer_violation']:.1e})"
        )
        print_rows(case["seconds"], FREE)
        for name, figure in case["ratios"].items():
            target = case["targets"].get(name)
            against = "" if target is None else f", target {target}" + ("" if figure >= target else ": NOT MET")
            print(f"Clarabel / {name}, median over rounds: {figure:.0f}{against}")
        for name, row in case["latency"].items():
            cells = ", ".join(f"{key} {value * 1e6:.2f}" for key, value in row.items())
            print(f"single calls, {name}: {cells} us")
        print("slow peers, fewer rounds of their own, utilities moved 0.1 %:")
        print_rows(case["slow"]["seconds"], FREE)
        for name, words in case["slow"]["said"].items():
            print(f"{name}: {words}")
    print(f"\nafterwards: {report['machine_after']}")


def quick() -> dict[str, Any]:
    return run([5, 10], 2, problems=2, slow_rounds=1)


def test_the_answers_agree_with_clarabel_and_are_certified() -> None:
    report = quick()
    assert {case["kind"] for case in report["cases"]} == set(KINDS)
    for case in report["cases"]:
        answers = case["answers"]
        assert answers["difference"] <= 1e-6, case
        assert answers["solver_difference"] <= 1e-7
        assert answers["relative_gap"] <= 1e-8
        assert answers["violation"] <= 1e-9
        assert len(answers["hash"]) == 16
        assert (ANEW if case["kind"] == "exponential" else PEER) in case["slow"]["seconds"]
        assert any(name.startswith("ECOS") for name in case["slow"]["said"])
        assert (answers["capped"] > 0) == (case["kind"] == "caps")


def main(arguments: list[str] | None = None) -> None:
    command_line(
        __doc__,
        arguments,
        quick=quick,
        full=lambda rounds: run([10, 25, 50], rounds, slow_rounds=max(5, rounds // 10)),
        show=show,
    )


if __name__ == "__main__":
    main()
