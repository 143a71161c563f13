"""Collects what a run leaves behind, one sample a quote and one row a fill, and turns it into a `RunRecord`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from equipoise.record import FillRecord, RunRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from equipoise._rust import Market, Quote
    from equipoise.venues.contract import Filled

__all__ = ["Recorder"]

MICROS = 1_000_000
LADDER = ("bid_price", "bid_size", "ask_price", "ask_size")


class Recorder:
    """Grows with the run; `record` may be called at any time.

    Parameters
    ----------
    levels
        Most levels a side can have: width of the ladder arrays.
    """

    def __init__(self, levels: int) -> None:
        self._levels = levels
        self._samples: dict[str, list[float]] = {}
        self._ladders: dict[str, list[list[float]]] = {name: [] for name in LADDER}
        self._fills: list[FillRecord] = []
        self._start_ns: int | None = None

    def sample(
        self,
        now_ns: int,
        market: Market,
        quote: Quote,
        *,
        balance: int,
        open_pnl: int,
        position_lots: int,
        margin_executed: int,
        quote_us: float,
    ) -> None:
        """Note one quote and the account it was made for. Money in micro-units."""
        if self._start_ns is None:
            self._start_ns = now_ns
        split, bids, asks, joint = quote.split, quote.bids, quote.asks, quote.joint
        values = {
            "time_s": (now_ns - self._start_ns) / 1e9,
            "mid": float(market.mid),
            "mark": float(market.mark),
            "equity": (balance + open_pnl) / MICROS,
            "balance": balance / MICROS,
            "position": float(market.size(position_lots)),
            "margin_available": float(split.usable),
            "margin_executed": margin_executed / MICROS,
            "held_bids": float(bids.held),
            "held_asks": float(asks.held),
            "margin_held": float(quote.margin_held),
            "part_bids": float(split.bid_part),
            "part_asks": float(split.ask_part),
            "margin_passed": float(quote.margin_passed),
            "ask_weight": split.ask_weight if joint is None else _ask_weight(quote),
            "inventory_ratio": split.inventory_ratio,
            "entropy_bids": bids.entropy if len(bids) else math.nan,
            "entropy_asks": asks.entropy if len(asks) else math.nan,
            "entropy_floor_bids": bids.entropy_min_used if len(bids) else math.nan,
            "entropy_floor_asks": asks.entropy_min_used if len(asks) else math.nan,
            "levels_bids": float(len(bids)),
            "levels_asks": float(len(asks)),
            "regret": bids.regret + asks.regret if joint is None else joint.regret,
            "expected_edge": bids.objective + asks.objective,
            "margin_price_bids": math.nan if joint is None else joint.margin_price[0],
            "margin_price_asks": math.nan if joint is None else joint.margin_price[1],
            "inventory_price": math.nan if joint is None else joint.inventory_price,
            "quote_us": quote_us,
        }
        for name, value in values.items():
            self._samples.setdefault(name, []).append(value)
        for name, column in zip(LADDER, (bids.price, bids.size, asks.price, asks.size), strict=True):
            row = column.tolist()
            self._ladders[name].append(row + [math.nan] * (self._levels - len(row)))

    def fill(self, now_ns: int, market: Market, event: Filled) -> None:
        """Note one fill of ours."""
        self._fills.append(
            FillRecord(
                time_ns=now_ns,
                order_id=event.order_id,
                side=event.side,
                price=float(market.price(event.price_ticks)),
                size=float(market.size(event.lots)),
                fee=event.fee / MICROS,
                realised_pnl=event.realised_pnl / MICROS,
                mid=float(market.mid),
                position_after=float(market.size(event.position_after)),
            )
        )

    def record(
        self,
        *,
        title: str,
        symbol: str,
        market_source: str,
        rule: str,
        policy: str,
        optimizer: str,
        leverage: float,
        balance_start: float,
        seed: int,
        ended_ns: int,
        refusals: Mapping[str, int],
        counters: Mapping[str, int],
        position_max: float,
        settings: Mapping[str, Mapping[str, str]],
        notes: tuple[str, ...],
    ) -> RunRecord:
        """Everything so far, as arrays."""
        return RunRecord(
            title=title,
            symbol=symbol,
            market_source=market_source,
            rule=rule,
            policy=policy,
            optimizer=optimizer,
            leverage=leverage,
            balance_start=balance_start,
            seed=seed,
            started_ns=self._start_ns or ended_ns,
            ended_ns=ended_ns,
            samples={name: np.array(values) for name, values in self._samples.items()},
            fills=tuple(self._fills),
            refusals=dict(refusals),
            counters=dict(counters),
            notes=notes,
            position_max=position_max,
            settings=settings,
            ladders={name: np.array(rows) for name, rows in self._ladders.items()},
        )


def _ask_weight(quote: Quote) -> float:
    """The asks' part of what the orders hold; NaN where nothing is held. Nothing fixes it under policy joint."""
    both = quote.bids.held + quote.asks.held
    return float(quote.asks.held / both) if both > 0 else math.nan
