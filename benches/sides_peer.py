"""The two-sided problem (P2, P3) written down once for tests and benches, judged in numpy and solved by Clarabel.

Nothing here shares code with the package: `objective` and `violation` judge any sizes, `clarabel_sides` solves any
instance through exponential cones, `ClarabelPrepared` is set up once and solves again for new utilities.

The problem, over the sizes s of bids and asks:

    max  sum U_i(s_i) - eta/2 (q + sum_b l_i s_i - sum_a l_i s_i)^2   [- eta/2 sum l_i (1 - l_i) s_i^2]
    s.t. each side, S = sum s:  -sum s ln(s / S) >= h S,  f_i S <= s_i <= c_i S,  0 <= s_i <= C_i,  S <= Q
         margin:                m_b s_b + m_a s_a <= M  ("sum"),  or each side <= its own  ("worst_side")
         share, if any:         lo (S_b + S_a) <= S_b <= hi (S_b + S_a)

U_i(s) is u_i s, or where u_i > 0 and the side saturates u_i k_i (1 - exp(-s / k_i)) or u_i k_i ln(1 + s / k_i).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import clarabel
import numpy as np
import scipy.sparse
from numpy.typing import NDArray

__all__ = [
    "ClarabelPrepared",
    "Conic",
    "ConicAnswer",
    "Instance",
    "LadderSide",
    "RowName",
    "Unit",
    "clarabel_sides",
    "conic",
    "flattest",
    "linear_rows",
    "objective",
    "quotable",
    "share_entropy",
    "solve_conic",
    "unit_scale",
    "violation",
]

Floats = NDArray[np.float64]
Saturation = Literal["exponential", "log"]
Combine = Literal["sum", "worst_side"]


@dataclass(frozen=True)
class LadderSide:
    """What one side brings to the problem; every array has shape (K,).

    Attributes
    ----------
    utility
        Value u of one contract, account currency.
    margin_per_unit
        Charge m of one contract, account currency, positive.
    entropy_min
        Floor h of the entropy of the shares, nats.
    size_max
        Largest total Q, contracts.
    share_floor, share_cap
        Bounds on a level's share of the side's total, ratios.
    size_cap
        Largest size C of a level, contracts; infinite where there is none.
    fill_probability
        Probability l in [0, 1] that a level fills within the horizon.
    saturation
        How the value of a level with positive utility saturates, if it does.
    saturation_scale
        Scale k of it, contracts; None without saturation.
    """

    utility: Floats
    margin_per_unit: Floats
    entropy_min: float
    size_max: float
    share_floor: Floats
    share_cap: Floats
    size_cap: Floats
    fill_probability: Floats
    saturation: Saturation | None = None
    saturation_scale: Floats | None = None

    @property
    def levels(self) -> int:
        """How many levels K the side has."""
        return len(self.utility)

    @property
    def saturating(self) -> NDArray[np.bool_]:
        """Which levels have a saturating value, shape (K,)."""
        return (self.utility > 0) & (self.saturation is not None)

    def value(self, size: Floats) -> Floats:
        """Value of each level's size without the inventory term, account currency, shape (K,)."""
        value = self.utility * size
        if self.saturation is not None and self.saturation_scale is not None:
            ratio = size / self.saturation_scale
            curve = -np.expm1(-ratio) if self.saturation == "exponential" else np.log1p(ratio)
            value = np.where(self.saturating, self.utility * self.saturation_scale * curve, value)
        return value

    def marginal(self, size: Floats) -> Floats:
        """Value of one more contract at each level's size, account currency, shape (K,)."""
        if self.saturation is None or self.saturation_scale is None:
            return self.utility
        ratio = size / self.saturation_scale
        slope = np.exp(-ratio) if self.saturation == "exponential" else 1 / (1 + ratio)
        return np.where(self.saturating, self.utility * slope, self.utility)

    def curvature(self, size: Floats) -> Floats:
        """Slope of `marginal`, account currency per contract, shape (K,); never positive."""
        if self.saturation is None or self.saturation_scale is None:
            return np.zeros(self.levels)
        ratio = size / self.saturation_scale
        bend = np.exp(-ratio) if self.saturation == "exponential" else 1 / (1 + ratio) ** 2
        return np.where(self.saturating, -self.utility / self.saturation_scale * bend, 0.0)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists; an array of equal entries is one number, an infinite cap is null."""
        row: dict[str, Any] = {
            "utility": self.utility.tolist(),
            "margin_per_unit": _short(self.margin_per_unit),
            "entropy_min": self.entropy_min,
            "size_max": self.size_max,
            "share_floor": _short(self.share_floor),
            "share_cap": _short(self.share_cap),
            "size_cap": _short(self.size_cap),
            "fill_probability": _short(self.fill_probability),
        }
        if self.saturation is not None and self.saturation_scale is not None:
            row |= {"saturation": self.saturation, "saturation_scale": _short(self.saturation_scale)}
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> LadderSide:
        """Read what `to_json` wrote."""
        levels = len(row["utility"])
        saturation = row.get("saturation")
        return cls(
            utility=np.array(row["utility"], dtype=np.float64),
            margin_per_unit=_long(row["margin_per_unit"], levels),
            entropy_min=float(row["entropy_min"]),
            size_max=float(row["size_max"]),
            share_floor=_long(row["share_floor"], levels),
            share_cap=_long(row["share_cap"], levels),
            size_cap=_long(row["size_cap"], levels),
            fill_probability=_long(row["fill_probability"], levels),
            saturation=saturation,
            saturation_scale=None if saturation is None else _long(row["saturation_scale"], levels),
        )


@dataclass(frozen=True)
class Instance:
    """One two-sided problem.

    Attributes
    ----------
    bid, ask
        The sides.
    margin
        What (bid, ask) may hold, account currency. Under "sum" both entries are the one pot.
    combine
        How the held margins of the sides add up.
    bid_share
        Bounds (lo, hi) on the bids' part of all contracts, or None.
    position
        Inventory q, contracts, long is positive.
    price_of_risk
        Eta, account currency per contract squared; 0 is no inventory term.
    fill_variance
        Whether the variance of the fills is charged as well.
    """

    bid: LadderSide
    ask: LadderSide
    margin: tuple[float, float]
    combine: Combine = "sum"
    bid_share: tuple[float, float] | None = None
    position: float = 0.0
    price_of_risk: float = 0.0
    fill_variance: bool = False

    def __post_init__(self) -> None:
        if self.combine == "sum" and self.margin[0] != self.margin[1]:
            raise ValueError("one pot has one margin")

    @property
    def sides(self) -> tuple[LadderSide, LadderSide]:
        """Bids, then asks."""
        return self.bid, self.ask

    @property
    def value_scale(self) -> float:
        """What a gap is measured against where the objective is small, account currency."""
        utility = max(float(np.abs(side.utility).max()) for side in self.sides)
        sizes = max(side.size_max for side in self.sides)
        return max(abs(0.5 * self.price_of_risk * self.position**2), 1e-6 * utility * sizes)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists."""
        row: dict[str, Any] = {"bid": self.bid.to_json(), "ask": self.ask.to_json()}
        row |= {"margin": list(self.margin), "combine": self.combine, "bid_share": None}
        if self.bid_share is not None:
            row["bid_share"] = list(self.bid_share)
        row |= {"position": self.position, "price_of_risk": self.price_of_risk, "fill_variance": self.fill_variance}
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Instance:
        """Read what `to_json` wrote."""
        share = row["bid_share"]
        return cls(
            bid=LadderSide.from_json(row["bid"]),
            ask=LadderSide.from_json(row["ask"]),
            margin=(float(row["margin"][0]), float(row["margin"][1])),
            combine=row["combine"],
            bid_share=None if share is None else (float(share[0]), float(share[1])),
            position=float(row["position"]),
            price_of_risk=float(row["price_of_risk"]),
            fill_variance=bool(row["fill_variance"]),
        )


def _short(values: Floats) -> float | list[float | None] | None:
    plain = [None if np.isinf(value) else value for value in values.tolist()]
    return plain[0] if all(value == plain[0] for value in plain) else plain


def _long(values: Any, levels: int) -> Floats:
    listed = values if isinstance(values, list) else [values] * levels
    return np.array([np.inf if value is None else value for value in listed], dtype=np.float64)


# ---- The judge


def share_entropy(size: Floats) -> float:
    """Entropy of size / sum(size), nats; 0 for no size at all."""
    positive = size[size > 0]
    share = positive / positive.sum() if len(positive) else positive
    return float(-(share * np.log(share)).sum())


def objective(instance: Instance, bid_size: Floats, ask_size: Floats) -> float:
    """What the problem maximises, account currency; sizes in contracts, shape (K,) of their side."""
    value = float(instance.bid.value(bid_size).sum() + instance.ask.value(ask_size).sum())
    bid_fill, ask_fill = instance.bid.fill_probability, instance.ask.fill_probability
    net = instance.position + bid_fill @ bid_size - ask_fill @ ask_size
    value -= 0.5 * instance.price_of_risk * float(net) ** 2
    if instance.fill_variance:
        spread = bid_fill * (1 - bid_fill) @ bid_size**2 + ask_fill * (1 - ask_fill) @ ask_size**2
        value -= 0.5 * instance.price_of_risk * float(spread)
    return value


def violation(instance: Instance, bid_size: Floats, ask_size: Floats, *, negligible: float = 0.0) -> float:
    """Largest violation of any constraint, 0 if there is none.

    Margin, totals and per-order caps relative to their limit (infinite where the limit is 0 and exceeded), shares
    relative to the total, entropy in nats. A size that is not finite violates infinitely.

    The shape of a side whose total is at most the part `negligible` of its limit is not judged: solvers that stop at a
    tolerance leave a side empty only about, in no shape at all. With 0 every size counts.
    """
    if not (np.isfinite(bid_size).all() and np.isfinite(ask_size).all()):
        return float("inf")
    worst = [0.0]
    totals, held = [], []
    for side, size in zip(instance.sides, (bid_size, ask_size), strict=True):
        total = float(size.sum())
        totals.append(total)
        held.append(float(side.margin_per_unit @ size))
        if not size.any():
            continue
        if abs(total) <= negligible * side.size_max:
            continue
        if total <= 0:
            return float("inf")
        worst += [
            float(-size.min()) / total,
            side.entropy_min - share_entropy(size),
            float((side.share_floor - size / total).max()),
            float((size / total - side.share_cap).max()),
            _over(total, side.size_max),
            *(_over(one, most) for one, most in zip(size.tolist(), side.size_cap.tolist(), strict=True)),
        ]
    if instance.combine == "sum":
        worst.append(_over(sum(held), instance.margin[0]))
    else:
        worst += [_over(held[0], instance.margin[0]), _over(held[1], instance.margin[1])]
    if instance.bid_share is not None and sum(totals) > negligible * max(side.size_max for side in instance.sides):
        part = totals[0] / sum(totals)
        worst += [instance.bid_share[0] - part, part - instance.bid_share[1]]
    return max(worst)


def _over(amount: float, limit: float) -> float:
    if amount <= limit:
        return 0.0
    return (amount - limit) / limit if limit > 0 else float("inf")


# ---- The problem as a cone program


def flattest(side: LadderSide) -> Floats:
    """Shares of largest entropy within the bounds, shape (K,); sums to less than 1 if the caps do."""
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        if np.clip(middle, side.share_floor, side.share_cap).sum() < 1:
            low = middle
        else:
            high = middle
    shares: Floats = np.clip(high, side.share_floor, side.share_cap)
    return shares


def quotable(instance: Instance) -> tuple[bool, bool]:
    """Which of (bid, ask) may hold anything at all: limits, budget, floors and caps leave room for it."""
    able = []
    for side, margin in zip(instance.sides, instance.margin, strict=True):
        bounds = (side.share_floor <= side.share_cap).all() and side.share_floor.sum() <= 1 <= side.share_cap.sum()
        room = side.size_max > 0 and margin > 0 and bool((side.size_cap[side.share_floor > 0] > 0).all())
        able.append(bool(bounds) and room and share_entropy(flattest(side)) >= side.entropy_min)
    if instance.bid_share is not None:
        low, high = instance.bid_share
        if (low > 0 and not able[0]) or (high < 1 and not able[1]):
            return False, False
    return able[0], able[1]


class RowName(NamedTuple):
    """Which constraint a row is: its kind, its side (0 bids, 1 asks, 2 both) and its level (-1 for a whole side)."""

    kind: str
    side: int
    level: int


def linear_rows(instance: Instance) -> tuple[Floats, Floats, list[RowName]]:
    """Rows G, g of G (s_b, s_a, S_b, S_a) <= g that can bind, with their names.

    Returns
    -------
    rows
        Shape (rows, K_b + K_a + 2).
    bounds
        Shape (rows,).
    names
        One for each row.
    """
    levels = (instance.bid.levels, instance.ask.levels)
    width = sum(levels) + 2
    rows: list[Floats] = []
    bounds: list[float] = []
    names: list[RowName] = []

    def add(kind: str, side: int, level: int, entries: list[tuple[int | slice, float | Floats]], bound: float) -> None:
        row = np.zeros(width)
        for columns, value in entries:
            row[columns] += value
        rows.append(row)
        bounds.append(bound)
        names.append(RowName(kind, side, level))

    starts = (0, levels[0])
    blocks = [slice(start, start + count) for start, count in zip(starts, levels, strict=True)]
    charges = [(block, side.margin_per_unit) for block, side in zip(blocks, instance.sides, strict=True)]
    if instance.combine == "sum":
        add("margin", 2, -1, [*charges], instance.margin[0])
    else:
        for index in range(2):
            if levels[index]:
                add("margin", index, -1, [charges[index]], instance.margin[index])
    for index, side in enumerate(instance.sides):
        total = width - 2 + index
        if not levels[index]:
            continue
        add("size_max", index, -1, [(total, 1.0)], side.size_max)
        for level in range(side.levels):
            column = starts[index] + level
            add("share_floor", index, level, [(column, -1.0), (total, side.share_floor[level])], 0.0)
            if side.share_cap[level] < 1:
                add("share_cap", index, level, [(column, 1.0), (total, -side.share_cap[level])], 0.0)
            if np.isfinite(side.size_cap[level]):
                add("size_cap", index, level, [(column, 1.0)], side.size_cap[level])
    if instance.bid_share is not None:
        low, high = instance.bid_share
        bids, asks = width - 2, width - 1
        if low > 0:
            add("bid_share_floor", 2, -1, [(bids, low - 1), (asks, low)], 0.0)
        if high < 1:
            add("bid_share_cap", 2, -1, [(bids, 1 - high), (asks, -high)], 0.0)
    return np.array(rows), np.array(bounds), names


@dataclass(frozen=True)
class Conic:
    """min x'Px/2 + q'x subject to Ax + slack = b, slack in {0}, then nonnegative, then exponential cones.

    The objective of the instance is `-(x'Px/2 + q'x + constant)`.

    x holds s_b, s_a, S_b, S_a, the net fills if they have a price, then the logarithmic parts: t with
    t <= s ln(S / s) for a side with an entropy floor, w >= exp(-s / k) or r <= ln(1 + s / k) for a level that
    saturates. An exponential cone is (x, y, z) with y exp(x / y) <= z.
    """

    quadratic: scipy.sparse.csc_matrix
    cost: Floats
    matrix: scipy.sparse.csc_matrix
    bounds: Floats
    equalities: int
    inequalities: int
    exponentials: int
    constant: float
    blocks: tuple[slice, slice]
    names: list[RowName] = field(default_factory=list)


def conic(instance: Instance, *, lean: bool = False) -> Conic:
    """The cone program of an instance, both of whose sides are quotable or have no levels.

    A lean program leaves out the rows s >= 0 that the cones of the entropy imply: quicker, but their multipliers, which
    say what level is empty where the entropy floor is slack, are then hidden in the cones.
    """
    bid, ask = instance.sides
    levels = bid.levels + ask.levels
    blocks = (slice(0, bid.levels), slice(bid.levels, levels))
    totals = (levels, levels + 1)
    # A floor of 0 always holds, and with it the cones would have no interior.
    entropic = [side.levels > 0 and side.entropy_min > 0 for side in instance.sides]
    priced = instance.price_of_risk > 0
    width = levels + 2 + priced
    starts = []
    for side, has in zip(instance.sides, entropic, strict=True):
        starts.append(width)
        width += side.levels * has
    curves = []
    for side in instance.sides:
        curves.append(width)
        width += int(side.saturating.sum())

    cost, quadratic, constant = np.zeros(width), np.zeros(width), 0.0
    equal, equal_bounds = [], []
    cones, cone_bounds = [], []
    for index, side in enumerate(instance.sides):
        first = blocks[index].start
        row = np.zeros(width)
        row[blocks[index]], row[totals[index]] = 1.0, -1.0
        equal.append(row)
        equal_bounds.append(0.0)
        cost[blocks[index]] = np.where(side.saturating, 0.0, -side.utility)
        if instance.fill_variance:
            quadratic[blocks[index]] = instance.price_of_risk * side.fill_probability * (1 - side.fill_probability)
        if entropic[index]:
            for level in range(side.levels):
                cone = np.zeros((3, width))
                cone[0, starts[index] + level] = -1.0
                cone[1, first + level] = -1.0
                cone[2, totals[index]] = -1.0
                cones.append(cone)
                cone_bounds += [0.0, 0.0, 0.0]
        for offset, level in enumerate(np.flatnonzero(side.saturating).tolist()):
            assert side.saturation_scale is not None
            scale, worth = side.saturation_scale[level], side.utility[level] * side.saturation_scale[level]
            column = curves[index] + offset
            cone = np.zeros((3, width))
            if side.saturation == "exponential":
                cone[0, first + level], cone[2, column] = 1.0 / scale, -1.0
                cone_bounds += [0.0, 1.0, 0.0]
                cost[column] = worth
                constant -= worth
            else:
                cone[0, column], cone[2, first + level] = -1.0, -1.0 / scale
                cone_bounds += [0.0, 1.0, 1.0]
                cost[column] = -worth
            cones.append(cone)
    if priced:
        row = np.zeros(width)
        row[blocks[0]], row[blocks[1]], row[levels + 2] = -bid.fill_probability, ask.fill_probability, 1.0
        equal.append(row)
        equal_bounds.append(0.0)
        quadratic[levels + 2] = instance.price_of_risk
        cost[levels + 2] = instance.price_of_risk * instance.position
        constant += 0.5 * instance.price_of_risk * instance.position**2

    linear, bounds, names = linear_rows(instance)
    wanted = [
        not (lean and name.kind == "share_floor" and entropic[name.side])
        or instance.sides[name.side].share_floor[name.level] > 0
        for name in names
    ]
    linear, bounds = linear[wanted], bounds[wanted]
    names = [name for name, want in zip(names, wanted, strict=True) if want]
    rows = np.hstack([linear, np.zeros((len(linear), width - levels - 2))])
    for index, side in enumerate(instance.sides):
        if entropic[index]:
            row = np.zeros(width)
            row[starts[index] : starts[index] + side.levels] = -1.0
            row[totals[index]] = side.entropy_min
            rows, bounds = np.vstack([rows, row]), np.append(bounds, 0.0)
            names.append(RowName("entropy", index, -1))
    return Conic(
        quadratic=scipy.sparse.csc_matrix(scipy.sparse.diags(quadratic)),
        cost=cost,
        matrix=scipy.sparse.csc_matrix(np.vstack([*equal, rows, *cones])),
        bounds=np.concatenate([equal_bounds, bounds, cone_bounds]),
        equalities=len(equal),
        inequalities=len(rows),
        exponentials=len(cones),
        constant=constant,
        blocks=blocks,
        names=names,
    )


def _clarabel(program: Conic, tolerance: float | None, *, updatable: bool) -> clarabel.DefaultSolver:
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_iter = 400
    # Updating needs the problem as it was given.
    settings.presolve_enable = not updatable
    if tolerance is not None:
        for name in ("gap_abs", "gap_rel", "feas"):
            setattr(settings, f"tol_{name}", tolerance)
            setattr(settings, f"reduced_tol_{name}", tolerance)
    kinds = [clarabel.ZeroConeT(program.equalities), clarabel.NonnegativeConeT(program.inequalities)]
    kinds += [clarabel.ExponentialConeT()] * program.exponentials
    return clarabel.DefaultSolver(program.quadratic, program.cost, program.matrix, program.bounds, kinds, settings)


# ---- Clarabel, any instance


class Unit(NamedTuple):
    """What one unit of a scaled instance is worth: contracts, account currency a contract, margin."""

    size: float
    utility: float
    margin: float


def unit_scale(instance: Instance, unit: Unit | None = None) -> tuple[Instance, Unit]:
    """The instance in units in which its limits and utilities are about 1; values scale by `size * utility`.

    Without a given unit, sizes are measured by the most that a side could hold and utilities by the largest one.
    """
    if unit is None:
        most = [
            min(side.size_max, margin / side.margin_per_unit.min(), side.size_cap.sum())
            for side, margin in zip(instance.sides, instance.margin, strict=True)
            if side.levels
        ]
        utility = max(float(np.abs(side.utility).max()) for side in instance.sides if side.levels)
        unit = Unit(max(most) or 1.0, utility or 1.0, max(instance.margin) or 1.0)
    size, utility, margin = unit

    def scaled(side: LadderSide) -> LadderSide:
        return replace(
            side,
            utility=side.utility / utility,
            margin_per_unit=side.margin_per_unit * (size / margin),
            size_max=side.size_max / size,
            size_cap=side.size_cap / size,
            saturation_scale=None if side.saturation_scale is None else side.saturation_scale / size,
        )

    return replace(
        instance,
        bid=scaled(instance.bid),
        ask=scaled(instance.ask),
        margin=(instance.margin[0] / margin, instance.margin[1] / margin),
        position=instance.position / size,
        price_of_risk=instance.price_of_risk * (size / utility),
    ), unit


@dataclass(frozen=True)
class ConicAnswer:
    """What Clarabel returned, in the units of the instance it was given.

    Attributes
    ----------
    solved
        Whether every tolerance was met.
    status
        Clarabel's word for it.
    bid_size, ask_size
        Contracts, zeros on a side that is not quotable.
    multipliers
        Multiplier and slack of each row by name.
    inventory_price
        Eta times the expected position, account currency per contract.
    """

    solved: bool
    status: str
    bid_size: Floats
    ask_size: Floats
    multipliers: dict[RowName, tuple[float, float]]
    inventory_price: float


def _without(side: LadderSide) -> LadderSide:
    """The side with no levels at all."""
    scale = side.saturation_scale
    return replace(
        side,
        **{
            name: getattr(side, name)[:0]
            for name in ("utility", "margin_per_unit", "share_floor", "share_cap", "size_cap", "fill_probability")
        },
        saturation_scale=None if scale is None else scale[:0],
    )


def solve_conic(instance: Instance, tolerance: float = 1e-11, unit: Unit | None = None) -> ConicAnswer:
    """One attempt of Clarabel at an instance scaled to `unit`, a side that is not quotable left out."""
    able = quotable(instance)
    sizes = [np.zeros(side.levels) for side in instance.sides]
    if not any(able):
        return ConicAnswer(True, "Empty", sizes[0], sizes[1], {}, instance.price_of_risk * instance.position)
    live = replace(
        instance,
        bid=instance.bid if able[0] else _without(instance.bid),
        ask=instance.ask if able[1] else _without(instance.ask),
        bid_share=instance.bid_share if all(able) else None,
    )
    scaled, unit = unit_scale(live, unit)
    program = conic(scaled)
    solution = _clarabel(program, tolerance, updatable=False).solve()
    found, slack, dual = np.array(solution.x), np.array(solution.s), np.array(solution.z)
    multipliers = {}
    for row, name in enumerate(program.names, start=program.equalities):
        # A row's multiplier is value over what the row counts: margin, contracts, or nats times contracts.
        value_unit = unit.utility * unit.size / unit.margin if name.kind == "margin" else unit.utility
        slack_unit = unit.margin if name.kind == "margin" else unit.size
        multipliers[name] = float(dual[row]) * value_unit, float(slack[row]) * float(slack_unit)
    for index in range(2):
        if able[index]:
            sizes[index] = np.maximum(found[program.blocks[index]], 0.0) * unit.size
    net = instance.position + instance.bid.fill_probability @ sizes[0] - instance.ask.fill_probability @ sizes[1]
    return ConicAnswer(
        solved=str(solution.status) == "Solved",
        status=str(solution.status),
        bid_size=sizes[0],
        ask_size=sizes[1],
        multipliers=multipliers,
        inventory_price=instance.price_of_risk * float(net),
    )


def clarabel_sides(problem: Instance) -> tuple[float, Floats, Floats]:
    """Objective, bid sizes and ask sizes of any instance, to the tightest tolerance that Clarabel reaches.

    The objective is the one of the returned sizes, which hold the constraints to about the tolerance reached; it is
    within some 1e-11 of the largest utility times the largest total, besides 1e-9 of itself, of the optimum. Sizes
    worth no more than the empty ladder are returned as 0.

    Raises
    ------
    ArithmeticError
        If Clarabel reaches no tolerance from 1e-11 to 1e-8.
    """
    empty = np.zeros(problem.bid.levels), np.zeros(problem.ask.levels)
    statuses = []
    for tolerance in (1e-11, 1e-10, 1e-9, 1e-8):
        answer = solve_conic(problem, tolerance)
        if answer.solved:
            # The apex of the cones is where an interior point is least exact, and 0 is always feasible.
            found = answer.bid_size, answer.ask_size
            sizes = max(empty, found, key=lambda pair: objective(problem, *pair))
            return objective(problem, *sizes), *sizes
        statuses.append(answer.status)
    raise ArithmeticError(f"Clarabel says {', '.join(statuses)}")


# ---- Clarabel, set up once


class ClarabelPrepared:
    """An instance without saturation, set up once: new utilities are `update(q)` and `solve()`.

    Beyond `benches.peers.ClarabelSides` it takes inventory term, worst side, share bound and bounds by level.
    Scaled to unit size, Clarabel's own tolerances unless given.
    """

    def __init__(self, instance: Instance, tolerance: float | None = None) -> None:
        if any(side.saturation is not None for side in instance.sides):
            raise ValueError("a saturating value is not in the linear cost")
        scaled, self._unit = unit_scale(instance)
        program = conic(scaled, lean=True)
        self._cost = program.cost.copy()
        self._blocks = program.blocks
        self._constant = program.constant
        self._solver = _clarabel(program, tolerance, updatable=True)

    def solve(self, bid_utility: Floats, ask_utility: Floats) -> tuple[float, Floats, Floats]:
        """Objective, bid sizes and ask sizes for new utilities."""
        self._cost[self._blocks[0]] = bid_utility / -self._unit.utility
        self._cost[self._blocks[1]] = ask_utility / -self._unit.utility
        self._solver.update(q=self._cost)
        solution = self._solver.solve()
        if str(solution.status) != "Solved":
            raise ArithmeticError(f"Clarabel says {solution.status}")
        sizes = np.array(solution.x) * self._unit.size
        value = -(solution.obj_val + self._constant) * self._unit.size * self._unit.utility
        return value, sizes[self._blocks[0]], sizes[self._blocks[1]]
