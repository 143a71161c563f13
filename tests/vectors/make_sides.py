"""Draw and solve the golden instances of the two-sided problem: `python -m tests.vectors.make_sides --out FILE`.

Every instance is drawn from one seed, its inputs are rounded, and it is solved by Clarabel at 1e-11 in units of its own
size. The sizes and multipliers that come back are polished by a Newton iteration on the active constraints and made
feasible. An instance is accepted only if a bound that uses nothing but the multipliers proves the objective: weak
duality, which holds for any multipliers, so neither Clarabel nor the polish has to be trusted.

The problem is stated in `benches.sides_peer`. Nothing here shares code with the package.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from benches.sides_peer import (
    ConicAnswer,
    Instance,
    LadderSide,
    RowName,
    Unit,
    flattest,
    linear_rows,
    objective,
    quotable,
    share_entropy,
    solve_conic,
    violation,
)
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SEED = 20
DIGITS = 7
"""Significant digits of every input, so that the file holds exactly what was solved."""
GAP_MAX = 1e-9
"""What an instance is accepted with, relative."""
GAP_AIM = 1e-12
"""What ends the search for better sizes and multipliers."""
VIOLATION_MAX = 1e-12
"""What feasible sizes may violate any constraint by, by rounding only."""
COUNTS = {
    "inventory": 330,
    "exponential": 220,
    "log": 220,
    "plain": 220,
    "zero": 340,
    "blocked": 220,
    "separate": 220,
    "fill_variance": 220,
}
"""How many instances of each family are drawn."""


# ---- Drawing


def rounded(values: Floats | float, digits: int = DIGITS) -> Any:
    """The values to so many significant digits, each as the nearest float to the short decimal."""
    if isinstance(values, np.ndarray):
        return np.array([float(f"{value:.{digits}g}") for value in values.tolist()])
    return float(f"{values:.{digits}g}")


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True that often."""
    return bool(rng.random() < probability)


def draw_utility(rng: np.random.Generator, levels: int, fill: Floats) -> Floats:
    """Utilities of one side, of order 1: a market's, noise, ties, one value, or mostly toxic."""
    kind = rng.choice(["market", "noise", "ties", "equal", "toxic", "wide"], p=[0.35, 0.2, 0.15, 0.05, 0.15, 0.1])
    if kind == "market":
        depth = np.sort(rng.uniform(1, 32, levels))
        adverse = rng.uniform(0, 6) * np.exp(-depth / rng.uniform(3, 15))
        return fill * (depth - adverse - rng.uniform(0, 3)) / 8
    if kind == "noise":
        return rng.normal(rng.uniform(-0.2, 0.8), rng.uniform(0.05, 1), levels)
    if kind == "ties":
        return rng.choice(rng.normal(0.4, 0.6, 3).round(2), levels)
    if kind == "equal":
        return np.full(levels, rng.uniform(0.1, 1))
    if kind == "toxic":
        return rng.normal(-0.6, 0.8, levels)
    return rng.choice([-1.0, 1.0], levels, p=[0.3, 0.7]) * 10 ** rng.uniform(-4, 0, levels)


def draw_side(rng: np.random.Generator, price: float, leverage: float, capacity: float) -> LadderSide:
    """One side whose limits are drawn around what the margin could carry, `capacity` contracts."""
    levels = int(rng.integers(1, 16))
    decay = rng.uniform(0, 4)
    if chance(rng, 0.15):
        fill = rng.choice([0.0, 0.5, 1.0], levels)
    else:
        fill = np.clip(rng.uniform(0.3, 1) * np.exp(-decay * np.arange(levels) / levels), 0, 1)
    if chance(rng, 0.7):
        charge = price * (1 + rng.choice([-1, 1]) * np.sort(rng.uniform(0, 0.01, levels))) / leverage
    else:
        charge = price * rng.uniform(0.5, 2, levels) / leverage
    floor, cap = np.zeros(levels), np.ones(levels)
    if levels > 1 and chance(rng, 0.35):
        floor = np.full(levels, 1.0) if chance(rng, 0.5) else rng.uniform(0, 1.5, levels) * rng.integers(0, 2, levels)
        floor = floor * rng.uniform(0.02, 0.6) / levels
    if levels > 1 and chance(rng, 0.4):
        cap = np.full(levels, rng.uniform(1.3, 4)) if chance(rng, 0.5) else rng.uniform(1.2, 5, levels)
        cap = np.maximum(np.minimum(cap / levels, 1), 1.1 * floor)
    size_cap = np.full(levels, np.inf)
    roll = rng.random()
    if roll < 0.15:
        size_cap = np.full(levels, capacity * rng.uniform(2, 5))
    elif roll < 0.4:
        size_cap = np.full(levels, capacity * rng.uniform(0.1, 1.2) / levels**0.5)
    elif roll < 0.55:
        size_cap = capacity * rng.uniform(0.05, 1, levels)
        size_cap[rng.random(levels) < 0.3] = np.inf
    side = LadderSide(
        utility=rounded(draw_utility(rng, levels, fill)),
        margin_per_unit=rounded(charge),
        entropy_min=0.0,
        size_max=rounded(capacity * 10 ** rng.uniform(-0.7, 0.5)),
        share_floor=rounded(floor, 4),
        share_cap=rounded(cap, 4),
        size_cap=rounded(size_cap),
        fill_probability=rounded(fill, 5),
    )
    most = share_entropy(flattest(side))
    part = rng.choice([0.0, rng.uniform(0, 0.6), rng.uniform(0.6, 0.95), 0.98], p=[0.1, 0.25, 0.5, 0.15])
    return replace(side, entropy_min=rounded(part * abs(most)))


def scale_values(instance: Instance, factor: float) -> Instance:
    """All utilities and the price of risk times a factor."""
    bid, ask = (replace(side, utility=rounded(side.utility * factor, 9)) for side in instance.sides)
    return replace(instance, bid=bid, ask=ask, price_of_risk=rounded(instance.price_of_risk * factor, 9))


def draw_base(rng: np.random.Generator, combine: str | None = None) -> tuple[Instance, float]:
    """An instance without inventory and share bound, and the contracts that its margin could carry."""
    price, leverage = 10 ** rng.uniform(0, 4), rng.choice([1.0, 3.0, 10.0, 50.0])
    capacity = 10 ** rng.uniform(-1, 3)
    pot = rounded(capacity * price / leverage)
    combine = combine or str(rng.choice(["sum", "worst_side"]))
    other = pot if combine == "sum" else rounded(pot * rng.uniform(0.3, 3))
    bid, ask = (draw_side(rng, price, leverage, capacity) for _ in range(2))
    if chance(rng, 0.07):
        # Two sides worth the same: any split of one pot is optimal.
        ask = bid
    return Instance(bid, ask, (pot, other), "sum" if combine == "sum" else "worst_side"), capacity


def with_share(rng: np.random.Generator, instance: Instance) -> Instance:
    """The instance with a bound on the bids' part, sometimes one that only holds on one end."""
    low, high = sorted(rng.uniform(0, 1, 2).round(3))
    ends = [(0.3, 0.7), (low, high), (low, 1.0), (0.0, high), (low, low)]
    low, high = ends[int(rng.choice(5, p=[0.4, 0.35, 0.1, 0.1, 0.05]))]
    return replace(instance, bid_share=(float(low), float(high)))


def with_inventory(rng: np.random.Generator, instance: Instance, capacity: float) -> Instance:
    """The instance with a position (long, short, none) and a price of risk from negligible to dominant."""
    position = float(rng.choice([0.0, 1.0, -1.0])) * rounded(capacity * 10 ** rng.uniform(-1.5, 0.5))
    return replace(instance, position=position, price_of_risk=rounded(10 ** rng.uniform(-3, 0.7) / capacity))


def with_saturation(rng: np.random.Generator, instance: Instance, kind: Any, capacity: float) -> Instance:
    """The instance with a saturating value on both sides, sometimes on one only."""
    chosen = [True, True] if chance(rng, 0.8) else [chance(rng, 0.5)]
    chosen = chosen if len(chosen) == 2 else [chosen[0], not chosen[0]]
    sides = []
    for side, has in zip(instance.sides, chosen, strict=True):
        scale = capacity * 10 ** rng.uniform(-1.5, 1.5) * np.ones(side.levels)
        if chance(rng, 0.6):
            scale = scale * 10 ** rng.uniform(-0.5, 0.5, side.levels)
        sides.append(replace(side, saturation=kind, saturation_scale=rounded(scale)) if has else side)
    return replace(instance, bid=sides[0], ask=sides[1])


def at_the_edge(rng: np.random.Generator, instance: Instance) -> Instance:
    """Utilities shifted so that the best value of one contract is just below or above 0 on each side.

    Under a share bound the shift is the same on both sides, and it is the mixed value that comes near 0.
    """
    price = instance.price_of_risk * instance.position
    signs = (-1.0, 1.0)
    best = []
    for side, sign in zip(instance.sides, signs, strict=True):
        best.append(best_temperature(side, side.utility + sign * price * side.fill_probability)[1])
    steps = [(-1e-9, 0.1), (-1e-6, 0.15), (-1e-3, 0.2), (-0.3, 0.15), (1e-6, 0.05), (1e-4, 0.1), (1e-2, 0.25)]
    step = [steps[int(index)][0] for index in rng.choice(len(steps), 2, p=[weight for _, weight in steps])]
    if chance(rng, 0.3):
        step = [-abs(one) for one in step]
    size = max(float(np.abs(side.utility).max()) for side in instance.sides)
    if instance.bid_share is None:
        shifts = [step[index] * size - best[index] for index in range(2)]
    else:
        mixed = max(share * best[0] + (1 - share) * best[1] for share in instance.bid_share)
        shifts = [step[0] * size - mixed] * 2
    bid, ask = (
        replace(side, utility=rounded(side.utility + shift, 9))
        for side, shift in zip(instance.sides, shifts, strict=True)
    )
    return replace(instance, bid=bid, ask=ask)


def draw(rng: np.random.Generator, family: str) -> Instance:
    """One instance of a family.

    inventory      eta > 0, both margin rules, with and without share bound, long, short and flat
    exponential    saturating values, eta 0 or not, share bound or not
    log            the same with the other curve
    plain          no inventory term, no share bound, sum rule
    zero           nothing is worth quoting, or only just, by up to 1e-9 of the largest utility
    blocked        one side can hold nothing: no size, no margin, or a floor above its largest entropy
    separate       worst side with different margins, no inventory term, share bound or not
    fill_variance  eta > 0 with the variance of fills
    """
    instance, capacity = draw_base(rng, {"plain": "sum", "separate": "worst_side"}.get(family))
    if family in ("inventory", "fill_variance") or (
        family in ("exponential", "log", "zero", "blocked") and chance(rng, 0.5)
    ):
        instance = with_inventory(rng, instance, capacity)
    if family not in ("plain", "blocked") and chance(rng, 0.4):
        instance = with_share(rng, instance)
    if family in ("exponential", "log"):
        instance = with_saturation(rng, instance, family, capacity)
    if family == "fill_variance":
        instance = replace(instance, fill_variance=True)
        if chance(rng, 0.2):
            instance = with_saturation(rng, instance, rng.choice(["exponential", "log"]).item(), capacity)
    if family == "zero":
        if chance(rng, 0.2):
            sides = [replace(side, utility=-np.abs(side.utility)) for side in instance.sides]
            instance = replace(instance, bid=sides[0], ask=sides[1], position=0.0)
        elif chance(rng, 0.05):
            instance = replace(instance, margin=(0.0, 0.0))
        else:
            instance = at_the_edge(rng, instance)
    if family == "blocked":
        instance = blocked(rng, instance)
    # A share bound on a side that can hold nothing is a case of its own, dropped by the caller of a solver.
    if not all(quotable(instance)) and instance.bid_share is not None:
        instance = replace(instance, bid_share=None)
    # A power of ten keeps the digits, and with them how near to the edge an instance is.
    return scale_values(instance, 10.0 ** int(rng.integers(-3, 4)))


def blocked(rng: np.random.Generator, instance: Instance) -> Instance:
    """The instance with one side that can hold nothing."""
    index = int(rng.integers(2))
    side = instance.sides[index]
    roll = rng.random()
    if roll < 0.75:
        side = replace(side, size_max=0.0)
    elif roll < 0.88 and instance.combine == "worst_side":
        margin = (0.0, instance.margin[1]) if index == 0 else (instance.margin[0], 0.0)
        instance = replace(instance, margin=margin)
    else:
        side = replace(side, entropy_min=rounded(share_entropy(flattest(side)) + 10 ** rng.uniform(-6, 0)))
    return replace(instance, bid=side) if index == 0 else replace(instance, ask=side)


# ---- The bound


class Multipliers(NamedTuple):
    """Everything the bound is computed from.

    margin_price (bid, ask): value of one more unit of margin; equal under "sum".
    temperature (bid, ask): T, value per nat and contract.
    order_price: gamma of each per-order cap, value per contract, two arrays of shape (K,); 0 where there is no cap.
    inventory_price: nu of the inventory term, account currency per contract.
    point: sizes at which concave values are replaced by their tangents; any sizes make a bound.
    """

    margin_price: tuple[float, float]
    temperature: tuple[float, float]
    order_price: tuple[Floats, Floats]
    inventory_price: float
    point: tuple[Floats, Floats]


def contract_value(side: LadderSide, worth: Floats, temperature: float) -> float:
    """Upper bound on worth.p + T (H(p) - h) over the shares p within the bounds; the best over the multiplier of sum p.

    For any nu it is nu - T h + sum max over the box of (worth - nu) p - T p ln p, which is convex in nu.
    """
    low, high = side.share_floor, np.minimum(side.share_cap, 1.0)
    if temperature <= 0:
        # Piecewise linear in nu, so the least is at one of the corners.
        excess = worth[None, :] - worth[:, None]
        return float((worth + np.maximum(excess * low, excess * high).sum(axis=1)).min())
    # Values up to a constant, so that what is added up is small: sum p = 1 for every p that counts.
    shift = float(worth.max())
    centred = worth - shift

    def shares(nu: float) -> Floats:
        return np.clip(np.exp(np.clip((centred - nu) / temperature - 1, -740, 1)), low, high)

    left, right = float(centred.min()) - temperature, 740 * temperature
    for _ in range(200):
        nu = 0.5 * (left + right)
        if nu in (left, right):
            break
        if shares(nu).sum() > 1:
            left = nu
        else:
            right = nu
    p = shares(right)
    logs = np.log(np.where(p > 0, p, 1.0))
    return shift + right - temperature * side.entropy_min + float((p * (centred - right - temperature * logs)).sum())


def best_temperature(side: LadderSide, worth: Floats) -> tuple[float, float]:
    """The T that makes `contract_value` least, and that value; convex in T, so a golden section on ln T finds it.

    A value is charged what rounding may have taken from it at a large T, so that no T wins by rounding.
    """
    best = 0.0, contract_value(side, worth, 0.0)
    if side.entropy_min <= 0:
        return best
    spread = float(worth.max() - worth.min()) or float(np.abs(worth).max()) or 1.0
    ratio = (5**0.5 - 1) / 2
    left, right = np.log(1e-8 * spread), np.log(1e8 * spread)
    inner = right - ratio * (right - left), left + ratio * (right - left)
    values = [contract_value(side, worth, float(np.exp(at))) for at in inner]
    while right - left > 1e-9:
        if values[0] <= values[1]:
            right, inner = inner[1], (inner[1] - ratio * (inner[1] - left), inner[0])
            values = [contract_value(side, worth, float(np.exp(inner[0]))), values[0]]
        else:
            left, inner = inner[0], (inner[1], inner[0] + ratio * (right - inner[0]))
            values = [values[1], contract_value(side, worth, float(np.exp(inner[1])))]
        best = min(best, *((float(np.exp(at)), value) for at, value in zip(inner, values, strict=True)), key=by_value)
    return best


def by_value(pair: tuple[float, float]) -> float:
    """The value of a pair, and what rounding may have taken from it."""
    return pair[1] + 1e-15 * pair[0]


def reduced_worth(instance: Instance, multipliers: Multipliers) -> tuple[list[Floats], float]:
    """Linear worth of a contract at each level, two arrays of shape (K,), and the constant that goes with it."""
    net_price, constant = multipliers.inventory_price, 0.0
    worths = []
    for index, side in enumerate(instance.sides):
        point, gamma = multipliers.point[index], multipliers.order_price[index]
        slope = side.marginal(point)
        constant += float((side.value(point) - slope * point).sum())
        if instance.fill_variance:
            weight = instance.price_of_risk * side.fill_probability * (1 - side.fill_probability)
            slope = slope - weight * point
            constant += 0.5 * float(weight @ point**2)
        sign = 1.0 if index == 0 else -1.0
        worths.append(
            slope
            - sign * net_price * side.fill_probability
            - multipliers.margin_price[index] * side.margin_per_unit
            - gamma
        )
        charged = gamma > 0
        constant += float(gamma[charged] @ side.size_cap[charged])
    if instance.combine == "sum":
        constant += instance.margin[0] * multipliers.margin_price[0]
    else:
        constant += sum(margin * price for margin, price in zip(instance.margin, multipliers.margin_price, strict=True))
    if instance.price_of_risk > 0:
        constant += net_price * (0.5 * net_price / instance.price_of_risk - instance.position)
    return worths, constant


def totals(instance: Instance) -> list[tuple[float, float]]:
    """Corners of what (S_bid, S_ask) may be, 0 among them, by limits that follow from the constraints alone."""
    able = quotable(instance)
    most = [
        min(side.size_max, margin / side.margin_per_unit.min(), side.size_cap.sum()) if can else 0.0
        for side, margin, can in zip(instance.sides, instance.margin, able, strict=True)
    ]
    if instance.bid_share is None:
        return [(0.0, 0.0), (most[0], 0.0), (0.0, most[1]), (most[0], most[1])]
    low, high = instance.bid_share
    corners = [(0.0, 0.0)]
    for share in (low, high):
        rays = [limit / part for limit, part in zip(most, (share, 1 - share), strict=True) if part > 0]
        corners.append((share * min(rays), (1 - share) * min(rays)))
    both = sum(most)
    if both > 0 and low * both <= most[0] <= high * both:
        corners.append((most[0], most[1]))
    return corners


def dual_bound(instance: Instance, multipliers: Multipliers, *, best: bool = False) -> tuple[float, Multipliers]:
    """A bound no feasible sizes exceed, whatever the multipliers; with `best` the temperatures are chosen anew."""
    worths, bound = reduced_worth(instance, multipliers)
    if best:
        pairs = [best_temperature(side, worth) for side, worth in zip(instance.sides, worths, strict=True)]
        old = [
            contract_value(side, worth, temperature)
            for side, worth, temperature in zip(instance.sides, worths, multipliers.temperature, strict=True)
        ]
        values = [pair[1] if by_value(pair) < before else before for pair, before in zip(pairs, old, strict=True)]
        temperature = tuple(
            pair[0] if by_value(pair) < before else kept
            for pair, before, kept in zip(pairs, old, multipliers.temperature, strict=True)
        )
        multipliers = multipliers._replace(temperature=(temperature[0], temperature[1]))
    else:
        values = [
            contract_value(side, worth, temperature)
            for side, worth, temperature in zip(instance.sides, worths, multipliers.temperature, strict=True)
        ]
    able = quotable(instance)
    values = [value if can else 0.0 for value, can in zip(values, able, strict=True)]
    bound += max(values[0] * bids + values[1] * asks for bids, asks in totals(instance))
    return bound, multipliers


# ---- Feasible sizes


def feasible(instance: Instance, sizes: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """The sizes moved as little as it takes to hold every constraint, rounding included.

    Shares are clipped, then mixed with the flattest ones until the entropy floor holds; then totals are scaled down.
    """
    able = quotable(instance)
    shares: list[Floats] = []
    sums: list[float] = []
    for side, size, can in zip(instance.sides, sizes, able, strict=True):
        total = float(size.sum())
        if not can or total <= 0:
            shares.append(np.zeros(side.levels))
            sums.append(0.0)
            continue
        share = to_floor(side, to_simplex(side, size / total))
        positive = share > 0
        sums.append(min(total, side.size_max, float((side.size_cap[positive] / share[positive]).min())))
        shares.append(share)
    held = [
        total * float(side.margin_per_unit @ share)
        for side, total, share in zip(instance.sides, sums, shares, strict=True)
    ]
    if instance.combine == "worst_side":
        sums = [
            total * min(1.0, margin / charge) if charge > 0 else total
            for total, margin, charge in zip(sums, instance.margin, held, strict=True)
        ]
    if instance.bid_share is not None:
        low, high = instance.bid_share
        sums[0] = min(sums[0], sums[1] * high / (1 - high)) if high < 1 else sums[0]
        sums[1] = min(sums[1], sums[0] * (1 - low) / low) if low > 0 else sums[1]
    if instance.combine == "sum":
        charge = sum(
            total * float(side.margin_per_unit @ share)
            for side, total, share in zip(instance.sides, sums, shares, strict=True)
        )
        sums = [total * min(1.0, instance.margin[0] / charge) if charge > 0 else total for total in sums]
    return sums[0] * shares[0], sums[1] * shares[1]


def to_floor(side: LadderSide, share: Floats) -> Floats:
    """Shares mixed with the flattest ones, as little as it takes to meet the entropy floor."""
    if share_entropy(share) >= side.entropy_min:
        return share
    flat = to_simplex(side, flattest(side))
    left, right = 0.0, 1.0
    for _ in range(100):
        middle = 0.5 * (left + right)
        if share_entropy((1 - middle) * share + middle * flat) < side.entropy_min:
            left = middle
        else:
            right = middle
    return (1 - right) * share + right * flat


def to_simplex(side: LadderSide, share: Floats) -> Floats:
    """Shares scaled and clipped so that they sum to 1 within the bounds."""
    low, high = side.share_floor, np.minimum(side.share_cap, 1.0)
    share = np.maximum(share, 0.0)
    for _ in range(60):
        share = np.clip(share, low, high)
        miss = 1 - float(share.sum())
        room = (high - share) if miss > 0 else (share - low)
        if abs(miss) < 1e-16 or room.sum() <= 0:
            break
        # In proportion to the shares where that fits, else to the room.
        weight = np.where(room > 0, share, 0.0)
        weight = weight if (weight.sum() > 0 and (weight * abs(miss) <= room * weight.sum()).all()) else room
        share = share + miss * weight / weight.sum()
    return np.clip(share, low, high)


# ---- The polish


def multipliers_of(instance: Instance, answer: ConicAnswer) -> Multipliers:
    """What the bound needs out of a conic answer."""
    price, temperature = [0.0, 0.0], [0.0, 0.0]
    gamma = [np.zeros(side.levels) for side in instance.sides]
    for name, (dual, _) in answer.multipliers.items():
        if name.kind == "margin":
            for index in (0, 1) if name.side == 2 else (name.side,):
                price[index] = max(dual, 0.0)
        elif name.kind == "entropy":
            temperature[name.side] = max(dual, 0.0)
        elif name.kind == "size_cap":
            gamma[name.side][name.level] = max(dual, 0.0)
    return Multipliers(
        (price[0], price[1]),
        (temperature[0], temperature[1]),
        (gamma[0], gamma[1]),
        answer.inventory_price if instance.price_of_risk > 0 else 0.0,
        (answer.bid_size, answer.ask_size),
    )


class Polish:
    """Newton on stationarity and the active constraints, starting from a conic answer.

    Sides that are not `kept` stay at 0. Where the entropy floor is active the unknowns are ln s, in which stationarity
    is almost linear; elsewhere s. Nothing here has to be right: the bound judges what comes out.

    Attributes
    ----------
    sizes
        Bids, then asks, contracts, shape (K_b + K_a,).
    duals
        Multipliers of the linear rows, shape (rows,).
    active
        Which linear rows are taken to hold with equality, shape (rows,).
    entropic
        On which side the entropy floor is.
    temperature
        Its multiplier T of each side.
    """

    def __init__(self, instance: Instance, answer: ConicAnswer, kept: Sequence[bool]) -> None:
        bid, ask = instance.sides
        levels = bid.levels + ask.levels
        self.instance = instance
        self.kept = kept
        self.blocks = (slice(0, bid.levels), slice(bid.levels, levels))
        rows, bounds, self.names = linear_rows(instance)
        rows = rows[:, :levels] + np.repeat(rows[:, levels:], [bid.levels, ask.levels], axis=1)
        # Rows in units in which their largest entry is 1.
        self.row_unit = np.abs(rows).max(axis=1)
        self.row_unit[self.row_unit == 0] = 1.0
        self.rows, self.bounds = rows / self.row_unit[:, None], bounds / self.row_unit
        self.on = np.concatenate([np.full(side.levels, keep) for side, keep in zip(instance.sides, kept, strict=True)])
        self.sizes = np.where(self.on, np.concatenate([answer.bid_size, answer.ask_size]), 0.0)
        self.scale = float(self.sizes.sum())
        self.worth = max(float(np.abs(side.utility).max()) for side in instance.sides) or 1.0
        self.fill = np.concatenate([bid.fill_probability, -ask.fill_probability])
        spread = np.abs(self.fill) * (1 - np.abs(self.fill))
        self.variance = instance.price_of_risk * spread * instance.fill_variance
        found = np.array([answer.multipliers.get(name, (0.0, np.inf)) for name in self.names])
        self.duals = found[:, 0] * self.row_unit
        self.usable = np.array([name.side == 2 or kept[name.side] for name in self.names])
        slack = found[:, 1] / self.row_unit
        self.active = self.usable & (self.duals / self.worth > slack / max(self.scale, 1e-300))
        heat = [answer.multipliers.get(RowName("entropy", index, -1), (0.0, np.inf)) for index in range(2)]
        self.temperature = [dual for dual, _ in heat]
        self.entropic = [
            keep and dual / self.worth > loose / max(self.scale, 1e-300)
            for keep, (dual, loose) in zip(kept, heat, strict=True)
        ]

    def startable(self) -> bool:
        """Whether every side that is kept has a size to start from."""
        return any(self.kept) and all(
            self.sizes[block].sum() > 0 for block, keep in zip(self.blocks, self.kept, strict=True) if keep
        )

    def residuals(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Gradient, its slopes in the unknowns, normals of the active constraints and how far they are missed."""
        bid, ask = self.instance.sides
        eta = self.instance.price_of_risk
        levels = len(self.sizes)
        net = self.instance.position + float(self.fill @ self.sizes)
        # A step may leave a size below 0, where a curve of value has no meaning.
        pair = np.maximum(self.sizes[self.blocks[0]], 0.0), np.maximum(self.sizes[self.blocks[1]], 0.0)
        gradient = np.concatenate([bid.marginal(pair[0]), ask.marginal(pair[1])])
        gradient -= eta * net * self.fill + self.variance * self.sizes
        gradient -= self.duals[self.active] @ self.rows[self.active]
        slopes = np.diag(np.concatenate([bid.curvature(pair[0]), ask.curvature(pair[1])]) - self.variance)
        slopes = (slopes - eta * np.outer(self.fill, self.fill)) * self.per_unknown()
        normals, misses = [self.rows[self.active]], [self.rows[self.active] @ self.sizes - self.bounds[self.active]]
        for index, side in enumerate(self.instance.sides):
            if self.entropic[index]:
                block = self.blocks[index]
                size = np.maximum(pair[index], 1e-300)
                normal = np.zeros((1, levels))
                normal[0, block] = np.log(size / size.sum()) + side.entropy_min
                gradient -= self.temperature[index] * normal[0]
                slopes[block, block] -= self.temperature[index] * (np.eye(side.levels) - size / size.sum())
                normals.append(normal)
                misses.append(normal[:, block] @ size)
        return gradient, slopes, np.vstack(normals), np.concatenate(misses)

    def logarithmic(self) -> NDArray[np.bool_]:
        """Which unknowns are ln s."""
        return np.repeat(self.entropic, [side.levels for side in self.instance.sides])

    def per_unknown(self) -> Floats:
        """Change of each size for a change of its unknown."""
        return np.where(self.logarithmic(), np.maximum(self.sizes, 1e-300), 1.0)

    def step(self) -> float:
        """One Newton step; its largest part, in the unknowns' own units."""
        logs, columns = self.logarithmic()[self.on], np.flatnonzero(self.on)
        gradient, slopes, normals, misses = self.residuals()
        count, active = len(columns), int(self.active.sum())
        system = np.zeros((count + len(normals), count + len(normals)))
        system[:count, :count] = slopes[np.ix_(columns, columns)]
        system[:count, count:] = -normals[:, columns].T
        system[count:, :count] = (normals * self.per_unknown())[:, columns]
        # In units of the utilities and of the sizes, or least squares would weigh contracts against money.
        units = np.concatenate([np.full(count, self.worth), np.full(len(normals), self.scale)])
        widths = np.concatenate([np.where(logs, 1.0, self.scale), np.full(len(normals), self.worth)])
        target = -np.concatenate([gradient[columns], misses]) / units
        move = np.linalg.lstsq(system * widths / units[:, None], target, rcond=1e-14)[0] * widths
        # A level next to nothing may fall as far as it likes, by hundreds in ln s; everything else moves by 5 at most.
        held = logs & ((move[:count] > 0) | (self.sizes[columns] > 1e-3 * self.scale))
        jump = float(np.abs(move[:count][held]).max(initial=0.0))
        move *= min(1.0, 5.0 / jump) if jump > 0 else 1.0
        self.sizes[columns] = np.where(
            logs, self.sizes[columns] * np.exp(np.where(logs, move[:count], 0.0)), self.sizes[columns] + move[:count]
        )
        self.duals = np.where(self.active, self.duals, 0.0)
        self.duals[self.active] += move[count : count + active]
        for offset, index in enumerate([index for index in range(2) if self.entropic[index]]):
            self.temperature[index] += float(move[count + active + offset])
        if not np.isfinite(move).all() or np.abs(self.sizes).max() > 1e6 * self.scale:
            return float("inf")
        return float(np.abs(move / widths).max())

    def drop_idle_floors(self) -> None:
        """A level whose floor is 0 is never at it while the entropy floor has a price."""
        for row in np.flatnonzero(self.active):
            kind, side, level = self.names[row]
            if kind == "share_floor" and self.entropic[side] and self.instance.sides[side].share_floor[level] <= 0:
                self.active[row] = False

    def revise(self) -> bool:
        """Let violated constraints in and those with a negative multiplier out; whether any moved."""
        over = self.usable & ~self.active & (self.rows @ self.sizes - self.bounds > 1e-13 * self.scale)
        wrong = self.active & (self.duals < -1e-13 * self.worth)
        self.active = (self.active & ~wrong) | over
        moved = bool(wrong.any() or over.any())
        for index, side in enumerate(self.instance.sides):
            if self.entropic[index] and self.temperature[index] < 0:
                self.entropic[index], self.temperature[index], moved = False, 0.0, True
            elif self.kept[index] and not self.entropic[index] and side.entropy_min > 0:
                size = np.maximum(self.sizes[self.blocks[index]], 0.0)
                if share_entropy(size) < side.entropy_min - 1e-14:
                    self.heat_up(index)
                    moved = True
        return moved

    def heat_up(self, index: int) -> None:
        """Take the entropy floor of a side as active, from shares that meet it and a temperature that fits them."""
        side, block = self.instance.sides[index], self.blocks[index]
        total = float(np.maximum(self.sizes[block], 0.0).sum())
        if total <= 0:
            return
        share = to_floor(side, to_simplex(side, np.maximum(self.sizes[block], 0.0) / total))
        self.sizes[block] = total * share
        worth = self.residuals()[0][block]
        logs = np.log(np.maximum(share, 1e-300))
        self.temperature[index] = max(float(np.ptp(worth)) / max(float(np.ptp(logs)), 1e-3), 1e-12 * self.worth)
        self.entropic[index] = True

    def run(self) -> tuple[tuple[Floats, Floats], Multipliers] | None:
        """Sizes and multipliers where the iteration ends, None if it has nowhere to start or runs away."""
        if not self.startable():
            return None
        for _ in range(8):
            for _ in range(25):
                self.drop_idle_floors()
                length = self.step()
                if not np.isfinite(length):
                    return None
                if length < 1e-13:
                    break
            if not self.revise():
                break
        return self.found()

    def found(self) -> tuple[tuple[Floats, Floats], Multipliers]:
        """The present sizes and multipliers, negative ones as 0."""
        duals = np.where(self.active, np.maximum(self.duals, 0.0), 0.0) / self.row_unit
        named = {name: (float(dual), 0.0) for name, dual in zip(self.names, duals, strict=True)}
        for index in range(2):
            heat = self.temperature[index] if self.entropic[index] else 0.0
            named[RowName("entropy", index, -1)] = (max(heat, 0.0), 0.0)
        sizes = np.maximum(self.sizes, 0.0)
        pair = sizes[self.blocks[0]], sizes[self.blocks[1]]
        net_price = self.instance.price_of_risk * (self.instance.position + float(self.fill @ sizes))
        return pair, multipliers_of(self.instance, ConicAnswer(True, "Polished", *pair, named, net_price))


def polish(
    instance: Instance, answer: ConicAnswer, empty: tuple[bool, bool]
) -> tuple[tuple[Floats, Floats], Multipliers] | None:
    """Sizes and multipliers polished with the sides in `empty` held at 0; None if there is nothing to polish."""
    kept = [not out and can for out, can in zip(empty, quotable(instance), strict=True)]
    return Polish(instance, answer, kept).run()


# ---- Accepting


@dataclass
class Accepted:
    """A solved instance and how well it is known.

    `gap` and `conic_error` (what Clarabel's own sizes of the first attempt, made feasible, lack) are relative to
    `scale`; `conic_solved` says whether that attempt met 1e-11.
    """

    instance: Instance
    sizes: tuple[Floats, Floats]
    objective: float
    bound: float
    multipliers: Multipliers
    scale: float
    violation: float
    conic_error: float
    conic_solved: bool
    attempts: int

    @property
    def gap(self) -> float:
        """Bound less objective, relative."""
        return (self.bound - self.objective) / self.scale

    @property
    def rounding(self) -> float:
        """What rounding may do to the gap where the terms of the objective cancel."""
        worth = max(float(np.abs(side.utility).max()) for side in self.instance.sides)
        return 1e-15 * worth * max(side.size_max for side in self.instance.sides) / self.scale


def zeros(instance: Instance) -> tuple[Floats, Floats]:
    """No size at all."""
    return np.zeros(instance.bid.levels), np.zeros(instance.ask.levels)


def nothing(instance: Instance) -> Multipliers:
    """The multipliers of the empty ladder before its temperatures are chosen."""
    price = instance.price_of_risk * instance.position
    return Multipliers((0.0, 0.0), (0.0, 0.0), zeros(instance), price, zeros(instance))


class Search:
    """The best feasible sizes and the least bound offered so far; it starts from the empty ladder."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.sizes = zeros(instance)
        self.value = objective(instance, *self.sizes)
        self.bound, self.multipliers = dual_bound(instance, nothing(instance), best=True)

    @property
    def scale(self) -> float:
        """What gaps are measured against, account currency."""
        return max(abs(self.value), self.instance.value_scale)

    @property
    def gap(self) -> float:
        """Bound less objective, relative."""
        return (self.bound - self.value) / self.scale

    def offer(self, sizes: tuple[Floats, Floats], multipliers: Multipliers) -> float:
        """Take the sizes, made feasible, and the multipliers where they improve; the objective of these sizes."""
        sizes = feasible(self.instance, sizes)
        value = objective(self.instance, *sizes)
        if value > self.value and violation(self.instance, *sizes) <= VIOLATION_MAX:
            self.sizes, self.value = sizes, value
        for best in (False, True):
            # Choosing the temperatures anew is slow, so only where they are needed.
            if best and self.gap < GAP_AIM:
                break
            bound, multipliers = dual_bound(self.instance, multipliers, best=best)
            if bound < self.bound:
                self.bound, self.multipliers = bound, multipliers
        return value


def certify(instance: Instance) -> Accepted:
    """Solve, polish and bound, again in other units while the gap is not small enough."""
    search = Search(instance)
    conic_error, conic_solved, unit, attempt = np.inf, False, None, 0
    utility = max(float(np.abs(side.utility).max()) for side in instance.sides)
    for attempt, tolerance in enumerate((1e-11, 1e-11, 1e-10, 1e-9), start=1):
        answer = solve_conic(instance, tolerance, unit)
        conic_value = search.offer((answer.bid_size, answer.ask_size), multipliers_of(instance, answer))
        totals_found = answer.bid_size.sum(), answer.ask_size.sum()
        both = float(sum(totals_found))
        # Which sides to hold at 0: first as the answer has it, then the other ways.
        patterns = [(False, False), (True, False), (False, True)]
        looks = bool(totals_found[0] < 1e-6 * both), bool(totals_found[1] < 1e-6 * both)
        for empty in sorted(patterns, key=lambda pattern: pattern != looks):
            polished = polish(instance, answer, empty)
            if polished is not None:
                search.offer(*polished)
                if search.gap < GAP_AIM:
                    break
        if attempt == 1:
            conic_error, conic_solved = (search.value - conic_value) / search.scale, answer.solved
        if search.gap < 10 * GAP_AIM:
            break
        # Again in units of what came out: first of its sizes, then of its values too.
        total = both or 1.0
        worth = utility if attempt == 1 else max(abs(search.value) / total, 1e-6 * utility)
        unit = Unit(total, worth, max(instance.margin))
    return Accepted(
        instance=instance,
        sizes=search.sizes,
        objective=search.value,
        bound=search.bound,
        multipliers=search.multipliers,
        scale=search.scale,
        violation=violation(instance, *search.sizes),
        conic_error=conic_error,
        conic_solved=conic_solved,
        attempts=attempt,
    )


# ---- What binds


def binding(accepted: Accepted) -> list[str]:
    """Which constraints hold with equality at the solution, to 1e-9."""
    instance, sizes = accepted.instance, accepted.sizes
    found = set()
    held = [float(side.margin_per_unit @ size) for side, size in zip(instance.sides, sizes, strict=True)]
    pots = [(sum(held), instance.margin[0])] if instance.combine == "sum" else zip(held, instance.margin, strict=True)
    if any(charge > 0 and charge >= pot * (1 - 1e-9) for charge, pot in pots):
        found.add("margin")
    for side, size in zip(instance.sides, sizes, strict=True):
        total = float(size.sum())
        if total <= 0:
            found.add("empty side")
            continue
        tests = {
            "size_max": total >= side.size_max * (1 - 1e-9),
            "size_cap": bool((size >= side.size_cap * (1 - 1e-9)).any()),
            "entropy": side.entropy_min > 0 and share_entropy(size) <= side.entropy_min + 1e-9,
            "share_floor": bool(((side.share_floor > 0) & (size <= side.share_floor * total * (1 + 1e-9))).any()),
            "share_cap": bool(((side.share_cap < 1) & (size >= side.share_cap * total * (1 - 1e-9))).any()),
        }
        found |= {name for name, holds in tests.items() if holds}
    both = float(sizes[0].sum() + sizes[1].sum())
    if both <= 0:
        return ["nothing quoted"]
    if instance.bid_share is not None:
        part = float(sizes[0].sum()) / both
        if part <= instance.bid_share[0] + 1e-9 or part >= instance.bid_share[1] - 1e-9:
            found.add("bid_share")
    return sorted(found)


# ---- The file

DOC = {
    "problem": "max sum U_i(s_i) - price_of_risk/2 (position + sum_b f_i s_i - sum_a f_i s_i)^2, with fill_variance "
    "also - price_of_risk/2 sum f_i (1 - f_i) s_i^2, f = fill_probability; each side, S = sum s: -sum s ln(s/S) >= "
    "entropy_min S, share_floor S <= s <= share_cap S, 0 <= s <= size_cap, S <= size_max; combine sum: m_b.s_b + "
    "m_a.s_a <= margin[0] (= margin[1]), worst_side: m_x.s_x <= margin[x]; bid_share [lo, hi]: lo (S_b + S_a) <= S_b "
    "<= hi (S_b + S_a), null: none. U(s) = u s; where utility > 0 and the side saturates, exponential: u k (1 - "
    "exp(-s/k)), log: u k ln(1 + s/k), k = saturation_scale",
    "inputs": "short decimals of at most 9 significant digits, solved as they stand; a single number stands for every "
    "level, a null size_cap for none",
    "solution": "objective to 15 digits, of feasible sizes before they are rounded to 9 digits, as bid_size and "
    "ask_size are; sizes are not unique where utilities tie: compare objectives; margin_price (bid, ask) multipliers "
    "of the margin; temperature (bid, ask) of -sum s ln(s/S) >= h S, value per nat and contract; inventory_price = "
    "price_of_risk (position + expected fills), 0 without inventory term; multipliers need not be unique",
    "gap": "(bound - objective) / scale, bound by weak duality from the multipliers alone; the optimum lies within it",
    "scale": "max(|objective|, price_of_risk position^2 / 2, 1e-6 max|utility| max(size_max))",
    "binding": "what holds with equality to 1e-9 at these sizes",
    "seed": SEED,
}


def digits(value: float, count: int) -> float:
    """The value to so many significant digits, a negative zero as 0."""
    return float(f"{value:.{count}g}") + 0.0


def row_of(number: int, family: str, accepted: Accepted) -> dict[str, Any]:
    """One entry of the file."""
    sizes = [[digits(one, 9) for one in size.tolist()] for size in accepted.sizes]
    used = accepted.multipliers
    return {
        "id": number,
        "family": family,
        **accepted.instance.to_json(),
        "solution": {
            "objective": digits(accepted.objective, 15),
            "bid_size": sizes[0] if any(sizes[0]) else 0.0,
            "ask_size": sizes[1] if any(sizes[1]) else 0.0,
            "margin_price": [digits(value, 12) for value in used.margin_price],
            "temperature": [digits(value, 12) for value in used.temperature],
            "inventory_price": digits(used.inventory_price, 12),
            "gap": digits(max(accepted.gap, 0.0), 2),
            "binding": binding(accepted),
        },
    }


@dataclass
class Tally:
    """What became of one family."""

    accepted: list[Accepted] = field(default_factory=list)
    rejected: list[tuple[int, str]] = field(default_factory=list)

    def lines(self, family: str) -> Iterable[str]:
        """The report of it."""
        gaps = np.array([one.gap for one in self.accepted])
        errors = np.array([one.conic_error for one in self.accepted])
        yield (
            f"{family:14} accepted {len(gaps):4} rejected {len(self.rejected):2}  gap p50 {np.median(gaps):.1e} "
            f"p99 {np.quantile(gaps, 0.99):.1e} max {gaps.max():.1e} above 1e-11: {int((gaps > 1e-11).sum())}  "
            f"violation max {max(one.violation for one in self.accepted):.1e}  Clarabel met 1e-11 "
            f"in {np.mean([one.conic_solved for one in self.accepted]):.0%} at once, its own sizes lack p50 "
            f"{np.median(errors):.1e} max {errors.max():.1e}  more than one attempt "
            f"{np.mean([one.attempts > 1 for one in self.accepted]):.0%}"
        )
        counts = collections.Counter(name for one in self.accepted for name in binding(one))
        yield f"{'':14} " + ", ".join(f"{name} {count / len(gaps):.0%}" for name, count in counts.most_common())
        for number, why in self.rejected:
            yield f"{'':14} rejected draw {number}: {why}"


def solve_family(family: str, count: int, seed: int = SEED) -> Tally:
    """Draw and solve so many instances of a family; each draw has its own stream, so none depends on another."""
    tally = Tally()
    for number in range(count):
        rng = np.random.default_rng([seed, zlib.crc32(family.encode()), number])
        accepted = certify(draw(rng, family))
        if accepted.violation > VIOLATION_MAX:
            tally.rejected.append((number, f"violation {accepted.violation:.1e}"))
        elif accepted.gap > GAP_MAX:
            tally.rejected.append((number, f"gap {accepted.gap:.1e}, Clarabel solved: {accepted.conic_solved}"))
        elif accepted.gap < -1e-13 - accepted.rounding:
            tally.rejected.append((number, f"objective above its bound, gap {accepted.gap:.1e}"))
        else:
            tally.accepted.append(accepted)
    return tally


def write_gz(path: Path, text: str) -> None:
    """Write compressed, the same bytes for the same text."""
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


def main(arguments: Sequence[str] | None = None, show: Callable[[str], object] = print) -> None:
    """Make the file and report on it.

    Another machine may differ in the last digits: sizes and multipliers pass through LAPACK.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="file to write, .json.gz")
    parser.add_argument("--family", choices=sorted(COUNTS), action="append", help="only this one, may be repeated")
    parser.add_argument("--count", type=int, help="draws of each family instead of the full number")
    options = parser.parse_args(arguments)
    instances: list[dict[str, Any]] = []
    for family, count in COUNTS.items():
        if options.family and family not in options.family:
            continue
        tally = solve_family(family, options.count or count)
        for line in tally.lines(family):
            show(line)
        instances += [row_of(len(instances) + offset, family, one) for offset, one in enumerate(tally.accepted)]
    lines = ",\n".join(json.dumps(row, separators=(",", ":"), allow_nan=False) for row in instances)
    write_gz(options.out, f'{{"doc":{json.dumps(DOC)},\n"instances":[\n{lines}\n]}}\n')
    show(f"{len(instances)} instances, {options.out.stat().st_size / 2**20:.2f} MB")


if __name__ == "__main__":
    main()
