"""A whole two-sided quote from Python, the call included, beside its peers in the same interleaved run.

``python benches/test_quote.py`` prints the table; under pytest it runs once, small, and checks the answers.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import equipoise as eq
from equipoise import _rust
from equipoise.quoter import Quoter, QuoterConfig

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches.harness import PROBLEMS, Call, command_line, interleave, machine, print_rows, ratio, summary
from benches.heuristic_pipeline import heuristic_sizes
from benches.peers import ClarabelSides

Floats = NDArray[np.float64]

TARGET = {10: 20}
OURS = "quote, shape"
PEER = "Clarabel P2 update(q)"
MARGIN, LEVERAGE, MARK = 397.49, 10.0, 27.11
POSITION_MAX = 146.62
SHAPE = eq.Shape(
    volatility=1e-4,
    fill_rate=0.3,
    fill_decay=1500.0,
    horizon_s=10.0,
    risk_aversion=0.3,
    unit=14.66,
    adverse_bps=3.0,
    adverse_decay_bps=8.0,
    fee_bps=1.5,
)


@dataclass(frozen=True, slots=True)
class Case:
    levels: int
    entropy_min: float
    market: eq.Market
    prices: list[tuple[str, str, str]]
    """Best bid, best ask and mark of every problem."""
    depth_bps: Floats
    fill: Floats
    edge: Floats
    ladders: list[tuple[eq.Levels, eq.Levels]]
    """Bids and asks of every problem, as `fill[problem, side]` and `edge[problem, side]`."""

    @classmethod
    def of(cls, levels: int) -> Case:
        # Fill probability falls and edge grows with depth; noise makes every ladder another problem.
        random = np.random.default_rng(levels)
        depth = np.geomspace(4.0, 40.0, levels)
        noise = 1 + 0.2 * random.uniform(-1, 1, (PROBLEMS, 2, levels))
        fill = np.clip((1 - np.exp(-3.0 * np.exp(-0.15 * depth))) * noise, 0.0, 1.0)
        edge = np.broadcast_to(depth - 3.0 * np.exp(-depth / 8.0) - 1.5, fill.shape)
        middles = 27_110 + random.integers(-40, 40, PROBLEMS)
        ladders = [
            (eq.Levels(depth, fill[i, 0], edge[i, 0]), eq.Levels(depth, fill[i, 1], edge[i, 1]))
            for i in range(PROBLEMS)
        ]
        return cls(
            levels=levels,
            entropy_min=0.85 * math.log(levels),
            # A fine tick, so that no two levels share a price and every peer solves the same number of levels.
            market=eq.Market("HYPE", "27.10", "27.12", "27.11", tick="0.0001", lot="0.01", notional_min=10),
            prices=[
                tuple(f"{(middle + step) / 1000:.4f}" for step in (-5, 5, 0))  # type: ignore[misc]
                for middle in middles
            ],
            depth_bps=depth,
            fill=fill,
            edge=edge,
            ladders=ladders,
        )

    def moved(self, problem: int) -> eq.Market:
        bid, ask, mark = self.prices[problem]
        return self.market.moved(bid=bid, ask=ask, mark=mark)

    def quoter(self, **changes: Any) -> Quoter:
        return Quoter(QuoterConfig(levels=self.levels, entropy_min=self.entropy_min, depth_outer_bps=40.0, **changes))

    def utility(self, problem: int) -> tuple[Floats, Floats]:
        """Value per contract at the depths asked for; the quote's own is at the prices it rounds to."""
        value = self.fill[problem] * self.edge[problem] * MARK * 1e-4
        return value[0], value[1]

    def clarabel(self, margin_per_unit: tuple[Floats, Floats] | None = None) -> ClarabelSides:
        flat = np.full(self.levels, MARK / LEVERAGE)
        return ClarabelSides(
            margin_per_unit or (flat, flat),
            entropy_min=self.entropy_min,
            margin=MARGIN,
            side_max=POSITION_MAX,
            order_max=POSITION_MAX,
        )


def account(margin: float = MARGIN) -> eq.AccountState:
    return eq.AccountState(margin_available=margin, position=0, leverage=LEVERAGE, position_max=POSITION_MAX)


def heuristic(case: Case) -> Callable[[int], object]:
    random = np.random.default_rng(0)

    def both(problem: int) -> tuple[Floats, Floats]:
        bid, ask = (
            heuristic_sizes(
                utility,
                entropy_min=case.entropy_min,
                share_min=0.05 / case.levels,
                capacity=MARGIN * LEVERAGE / MARK / 2,
                size_min=10 / MARK,
                random=random,
            )
            for utility in case.utility(problem)
        )
        return bid, ask

    return both


def calls_of(case: Case) -> dict[str, Call]:
    rule = eq.OrderMarginRule.venue("sum")
    state, broke, market = account(), account(0.0), case.market
    prices, ladders = case.prices, case.ladders
    plain, buffered = case.quoter(), case.quoter(mark_buffer_bps=40)
    one = Quoter(QuoterConfig(levels=1))
    single = eq.Levels([10.0], [0.5], [5.0])
    clarabel = case.clarabel()
    utilities = [case.utility(problem) for problem in range(PROBLEMS)]

    def moved(problem: int) -> eq.Market:
        bid, ask, mark = prices[problem]
        return market.moved(bid=bid, ask=ask, mark=mark)

    def built(problem: int) -> eq.Quote:
        bids, asks = (
            eq.Levels(case.depth_bps, case.fill[problem, side], case.edge[problem, side]) for side in range(2)
        )
        return plain.quote(moved(problem), state, rule=rule, bids=bids, asks=asks)

    return {
        "market.moved": (300, moved),
        "boundary": (100, lambda _: one.quote(market, broke, rule=rule, bids=single, asks=single)),
        "empty quote (no margin)": (100, lambda i: plain.quote(moved(i), broke, rule=rule, shape=SHAPE)),
        "quote, levels given": (
            100,
            lambda i: plain.quote(moved(i), state, rule=rule, bids=ladders[i][0], asks=ladders[i][1]),
        ),
        "quote, levels from arrays": (100, built),
        OURS: (100, lambda i: plain.quote(moved(i), state, rule=rule, shape=SHAPE)),
        "quote, shape, mark buffer": (100, lambda i: buffered.quote(moved(i), state, rule=rule, shape=SHAPE)),
        "quote, shape, and orders()": (
            20,
            lambda i: plain.quote(moved(i), state, rule=rule, shape=SHAPE).orders(),
        ),
        PEER: (2, lambda i: clarabel.solve(*utilities[i])),
        "heuristic pipeline, 2 sides": (2, heuristic(case)),
    }


def one_sided(utility: Floats, margin_per_unit: Floats, budget: float, entropy_min: float) -> float:
    """Continuous optimum of one side alone on its own part of the margin."""
    result = eq.solve_side(utility, entropy_min=entropy_min)
    assert result.status is eq.Status.OPTIMAL, result
    return result.objective * min(POSITION_MAX, budget / float(margin_per_unit @ result.share))


def compare_answers(case: Case) -> dict[str, Any]:
    """Hash of our lots, and what our ladders are worth as a share of Clarabel's joint optimum on the same levels."""
    rule, state, quoter = eq.OrderMarginRule.venue("sum"), account(), case.quoter()
    digest = hashlib.sha256()
    apart, rounded = [], []
    for problem in range(PROBLEMS):
        by_shape = quoter.quote(case.moved(problem), state, rule=rule, shape=SHAPE)
        bids, asks = case.ladders[problem]
        quote = quoter.quote(case.moved(problem), state, rule=rule, bids=bids, asks=asks)
        for answer in (by_shape, quote):
            assert answer.certificate.ok, answer
            for side in (answer.bids, answer.asks):
                assert len(side) == case.levels, side.reasons
                digest.update(side.lots.tobytes())
        sides = (quote.bids, quote.asks)
        # What is compared is the same problem for both: the quote's own values at the prices it rounded to.
        utility = (quote.bids.utility, quote.asks.utility)
        margin = (quote.bids.price / LEVERAGE, quote.asks.price / LEVERAGE)
        joint, bid_size, ask_size = case.clarabel(margin).solve(*utility)
        assert margin[0] @ bid_size + margin[1] @ ask_size <= MARGIN * (1 + 1e-6)
        halves = zip(utility, margin, strict=True)
        apart.append(sum(one_sided(u, m, MARGIN / 2, case.entropy_min) for u, m in halves) / joint)
        rounded.append(sum(side.objective for side in sides) / joint)
    return {
        "hash": digest.hexdigest()[:16],
        "one_sided_of_joint": (min(apart), max(apart)),
        "quote_of_joint": (min(rounded), max(rounded)),
        "rounding_loss": max(1 - lots / continuous for lots, continuous in zip(rounded, apart, strict=True)),
    }


def run(levels: list[int], rounds: int) -> dict[str, Any]:
    report: dict[str, Any] = {"machine": machine(), "profile": _rust.BUILD_PROFILE, "cases": {}}
    for count in levels:
        case = Case.of(count)
        answers = compare_answers(case)
        figures = interleave(calls_of(case), rounds)
        report["cases"][count] = answers | {"seconds": summary(figures), "ratio": ratio(figures, PEER, OURS)}
    return report


def show(report: dict[str, Any]) -> None:
    print(report["machine"])
    for count, case in report["cases"].items():
        apart, rounded = case["one_sided_of_joint"], case["quote_of_joint"]
        target = f", target {TARGET[count]}" if count in TARGET else ""
        print(
            f"\nK = {count} a side: lots {case['hash']}; of Clarabel's joint optimum, two one-sided optima are worth "
            f"{apart[0]:.4f} to {apart[1]:.4f}, the quoted lots {rounded[0]:.4f} to {rounded[1]:.4f}, "
            f"whole lots cost at most {case['rounding_loss']:.1e}"
        )
        print_rows(case["seconds"], OURS)
        print(f"Clarabel / {OURS}, median over rounds: {case['ratio']:.0f}{target}")


def test_a_quote_is_worth_no_more_than_the_joint_optimum_and_at_least_most_of_it() -> None:
    report = run([5, 10], rounds=2)
    for case in report["cases"].values():
        for least, most in (case["one_sided_of_joint"], case["quote_of_joint"]):
            assert 0.7 <= least <= most <= 1 + 1e-6
        # Whole lots on two parts are worth no more than the two parts.
        assert case["quote_of_joint"][1] <= case["one_sided_of_joint"][1] + 1e-6
        assert len(case["hash"]) == 16


def main(arguments: list[str] | None = None) -> None:
    command_line(
        __doc__,
        arguments,
        quick=lambda: run([5, 10], 2),
        full=lambda rounds: run([5, 10, 25], rounds),
        show=show,
    )


if __name__ == "__main__":
    main()
