"""The two-sided ladders that the benches of problems P2 and P3 solve, stated for the package and for its peers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import equipoise as eq
from benches.harness import PROBLEMS
from benches.sides_peer import Instance, LadderSide

__all__ = ["KINDS", "Case", "Kind"]

Floats = NDArray[np.float64]
Kind = Literal["plain", "caps", "eta", "exponential"]

KINDS: dict[Kind, str] = {
    "plain": "no inventory term, share bound (0.3, 0.7), per-order caps present and not binding",
    "caps": "no inventory term, share bound (0.3, 0.7), per-order caps binding",
    "eta": "inventory term, no share bound, per-order caps present and not binding",
    "exponential": "values that saturate (problem P3), inventory term, no share bound",
}

PRICE, LEVERAGE = 27.11, 10.0
SIZE_MAX = 100.0
"""Largest total of a side, contracts."""
MARGIN = 0.6 * 2 * SIZE_MAX * PRICE / LEVERAGE
"""60 % of what both sides at their largest would hold, account currency."""
POSITION, PRICE_OF_RISK = 40.0, 2.2049e-5
BID_SHARE = (0.3, 0.7)


@dataclass(frozen=True, slots=True)
class Case:
    """One structure, and the utilities that go through it.

    Attributes
    ----------
    instance
        The structure as the peers read it; its utilities are those of a ladder without noise.
    problem
        The same as the package reads it.
    fresh
        Utilities (bid, ask) with 20 % of noise: every problem is another ladder.
    near
        Utilities (bid, ask) that move by 0.1 % from each problem to the next.
    """

    kind: Kind
    levels: int
    instance: Instance
    problem: eq.SidesProblem
    fresh: list[tuple[Floats, Floats]]
    near: list[tuple[Floats, Floats]]

    @classmethod
    def of(cls, kind: Kind, levels: int) -> Case:
        depth = np.geomspace(2.0, 32.0, levels)
        fill = 1 - np.exp(-3.0 * np.exp(-0.15 * depth))
        value = fill * (depth - 3.0 * np.exp(-depth / 8.0) - 1.5) * PRICE * 1e-4
        # So much more than the mean stops some levels of a ladder with this entropy floor; the side's limit stops none.
        size_cap = 1.5 * SIZE_MAX / levels if kind == "caps" else SIZE_MAX

        def side(sign: int) -> LadderSide:
            return LadderSide(
                utility=value,
                margin_per_unit=PRICE * (1 - sign * depth * 1e-4) / LEVERAGE,
                entropy_min=0.85 * math.log(levels),
                size_max=SIZE_MAX,
                share_floor=np.zeros(levels),
                share_cap=np.ones(levels),
                size_cap=np.full(levels, size_cap),
                fill_probability=fill,
                saturation="exponential" if kind == "exponential" else None,
                saturation_scale=np.full(levels, 2 * SIZE_MAX / levels) if kind == "exponential" else None,
            )

        priced = kind in ("eta", "exponential")
        instance = Instance(
            bid=side(1),
            ask=side(-1),
            margin=(MARGIN, MARGIN),
            bid_share=None if priced else BID_SHARE,
            position=POSITION if priced else 0.0,
            price_of_risk=PRICE_OF_RISK if priced else 0.0,
        )
        random = np.random.default_rng(levels)
        fresh = value * (1 + 0.2 * random.standard_normal((PROBLEMS, 2, levels)))
        near = fresh[0] * (1 + 1e-3 / math.sqrt(2) * random.standard_normal((PROBLEMS, 2, levels)))
        rows = [[(of_bid, of_ask) for of_bid, of_ask in utilities] for utilities in (fresh, near)]
        return cls(kind, levels, instance, problem_of(instance), *rows)

    @property
    def keywords(self) -> dict[str, Any]:
        """What `solve_sides` takes beside the sides."""
        problem = self.problem
        return {"margin": problem.margin, "bid_share": problem.bid_share, "inventory": problem.inventory}

    def instance_at(self, utilities: tuple[Floats, Floats]) -> Instance:
        """The peers' instance with these utilities."""
        bid, ask = (replace(side, utility=u) for side, u in zip(self.instance.sides, utilities, strict=True))
        return replace(self.instance, bid=bid, ask=ask)


def problem_of(instance: Instance) -> eq.SidesProblem:
    """The package's own statement of an instance under the rule `sum`."""

    def side(stated: LadderSide) -> eq.SideProblem:
        scale = stated.saturation_scale
        return eq.SideProblem(
            stated.utility,
            stated.margin_per_unit,
            stated.entropy_min,
            stated.size_max,
            size_cap=stated.size_cap,
            fill_probability=stated.fill_probability,
            saturation=None if scale is None else eq.Saturation(stated.saturation, scale),
        )

    priced = instance.price_of_risk > 0
    return eq.SidesProblem(
        side(instance.bid),
        side(instance.ask),
        margin=instance.margin[0],
        bid_share=instance.bid_share,
        inventory=eq.Inventory(instance.position, instance.price_of_risk) if priced else None,
    )
