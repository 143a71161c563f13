"""What one run leaves behind: the input of the report, the summary table and the comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from equipoise.orders import Side

__all__ = ["FillRecord", "RunRecord"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRecord:
    """One fill of an order of ours. Prices and money are floats here: a record is for reading, not for booking."""

    time_ns: int
    order_id: str
    side: Side
    price: float
    size: float
    fee: float
    realised_pnl: float
    mid: float
    position_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run over one market with one account, one rule and one policy.

    `samples` holds equally long float64 arrays, one value per quote cycle, NaN where unknown. Names are fixed:

    ======================  ==========================================================
    time_s                  seconds since the start
    mid, mark               market, quote currency
    equity, balance         account currency
    position                contracts, long positive
    margin_available        what the account had free for quoting
    margin_executed         held by positions
    held_bids, held_asks    held by resting bids, asks (sum of charges)
    margin_held             held by the rule for all resting orders
    part_bids, part_asks    what the split gave each side
    margin_passed           what one side could not use and the other got
    ask_weight              weight of the split, 0…1
    inventory_ratio         position / position_max, −1…1
    entropy_bids, entropy_asks   nats, of the final orders
    entropy_floor_bids, entropy_floor_asks   the floor asked for, nats
    levels_bids, levels_asks     number of orders
    regret                  dual bound − objective of the final orders, account currency
    quote_us                time of the quote call, microseconds
    ======================  ==========================================================
    """

    title: str
    symbol: str
    market_source: str
    rule: str
    policy: str
    optimizer: str
    leverage: float
    balance_start: float
    seed: int
    started_ns: int
    ended_ns: int
    samples: Mapping[str, NDArray[np.float64]]
    fills: tuple[FillRecord, ...] = ()
    refusals: Mapping[str, int] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
