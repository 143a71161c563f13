"""A run made up from a seed, for what reads records."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest

from equipoise.orders import Side
from equipoise.record import FillRecord, RunRecord

START_NS = 1_757_015_216_000_000_000
LEVELS = 5
DEPTHS = np.geomspace(2.0, 32.0, LEVELS) / 1e4


def synthetic_record(seed: int = 7, count: int = 2_600, **changes: object) -> RunRecord:
    """A random walk with a hole in it, quoted by a simple split, filled where the walk crosses the ladder."""
    random = np.random.default_rng(seed)
    gaps = random.uniform(0.5, 1.1, count)
    if count > 900:
        gaps[845] = 17.9
    time = np.cumsum(gaps) - gaps[0]
    mid = np.round(202.5 * np.exp(np.cumsum(random.normal(0, 4.5e-5, count))), 3)
    leverage, start, limit = 10.0, 400.0, 19.75
    names = [
        "equity",
        "balance",
        "position",
        "margin_available",
        "margin_executed",
        "held_bids",
        "held_asks",
        "margin_held",
        "part_bids",
        "part_asks",
        "margin_passed",
        "ask_weight",
        "inventory_ratio",
        "entropy_bids",
        "entropy_asks",
        "entropy_floor_bids",
        "entropy_floor_asks",
        "levels_bids",
        "levels_asks",
        "regret",
    ]
    samples = {name: np.zeros(count) for name in names}
    ladders = {
        f"{side}_{what}": np.full((count, LEVELS), np.nan) for side in ("bid", "ask") for what in ("price", "size")
    }
    fills: list[FillRecord] = []
    position = cost = 0.0
    balance = start
    for i in range(count):
        executed = abs(position) * mid[i] / leverage
        equity = balance + position * mid[i] - cost
        available = max(0.0, equity - executed)
        ratio = min(1.0, max(-1.0, position / limit))
        weight = min(0.7, max(0.3, 0.5 + 0.2 * ratio))
        held = {}
        for side, share, sign in ((Side.BID, 1 - weight, -1.0), (Side.ASK, weight, 1.0)):
            prices = mid[i] * (1 + sign * (DEPTHS + 1e-4 * ratio))
            p = random.dirichlet(np.full(LEVELS, 40.0))
            sizes = np.floor(p * available * share * leverage / prices * 100) / 100
            ladders[f"{side}_price"][i], ladders[f"{side}_size"][i] = prices, sizes
            held[side] = float((sizes * prices).sum()) / leverage
            q = sizes / sizes.sum() if sizes.sum() > 0 else np.full(LEVELS, 1 / LEVELS)
            samples[f"entropy_{side}s"][i] = -float((q * np.log(np.maximum(q, 1e-300))).sum())
            samples[f"entropy_floor_{side}s"][i] = 1.5 if 900 < i < 1500 else 1.2
            samples[f"levels_{side}s"][i] = LEVELS
            samples[f"held_{side}s"][i] = held[side]
            samples[f"part_{side}s"][i] = available * share
        row = {
            "equity": equity,
            "balance": balance,
            "position": position,
            "margin_available": available,
            "margin_executed": executed,
            "margin_held": held[Side.BID] + held[Side.ASK],
            "ask_weight": weight,
            "inventory_ratio": ratio,
        }
        for name, value in row.items():
            samples[name][i] = value
        if i + 1 < count:
            for side, sign in ((Side.BID, 1.0), (Side.ASK, -1.0)):
                crossed = sign * (ladders[f"{side}_price"][i] - mid[i + 1]) > 0
                for level in np.flatnonzero(crossed | (random.uniform(size=LEVELS) < [0.012, 0.006, 0.002, 0, 0])):
                    price, size = float(ladders[f"{side}_price"][i, level]), float(ladders[f"{side}_size"][i, level])
                    fee = price * size * 1.0e-4
                    before = position
                    position += sign * size
                    realised = 0.0
                    if before * sign < 0:
                        closed = min(size, abs(before))
                        realised = closed * (cost / before - price) * sign
                        cost = cost * (1 - closed / abs(before)) + sign * (size - closed) * price
                    else:
                        cost += sign * size * price
                    balance += realised - fee
                    fills.append(
                        FillRecord(
                            time_ns=START_NS + int((time[i] + 0.3) * 1e9),
                            order_id=f"eq-{i}-{side}-{level}",
                            side=side,
                            price=price,
                            size=size,
                            fee=fee,
                            realised_pnl=realised,
                            mid=float(mid[i]),
                            position_after=position,
                        )
                    )
    record = RunRecord(
        title="SOL perpetual, entropy ladder, one margin",
        symbol="SOL",
        market_source="seeded generator, calibrated on 2 088 s of SOL",
        rule="sum",
        policy="inventory",
        optimizer="entropy",
        leverage=leverage,
        balance_start=start,
        seed=seed,
        started_ns=START_NS,
        ended_ns=START_NS + int(time[-1] * 1e9) if count else START_NS,
        samples={
            "time_s": time,
            "mid": mid,
            "mark": mid,
            "quote_us": np.exp(random.normal(math.log(22.0), 0.25, count)) + (random.uniform(size=count) < 0.01) * 90,
            **samples,
        },
        fills=tuple(fills),
        refusals={"INSUFFICIENT_MARGIN": 0, "MARK_MOVED": 0, "TICK": 0, "MINIMUM_NOTIONAL": 0, "POST_ONLY": 0},
        counters={"quotes": count, "orders": 10 * count, "cancels": 9 * count, "fills": len(fills)},
        notes=("Seeded generator; no recorded tape was read.", "Holds in book, quote and venue agreed at every event."),
        settings={
            "quoter": {"levels": "5", "sensitivity": "0.2", "weight_min": "0.3", "weight_max": "0.7"},
            "account": {"balance": "400", "leverage": "10", "api_key": "must-not-show"},
        },
        position_max=limit,
        ladders=ladders,
    )
    return dataclasses.replace(record, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def make_record() -> Callable[..., RunRecord]:
    """The factory itself, so that a test says what it changes."""
    return synthetic_record
