"""How it used to be done, for comparison only: both sides get all the margin, and nothing is held before it is sent.

Run by `examples/demo.py` over the same market as the session, on the same paper venue, with the same margin rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from benches.heuristic_pipeline import heuristic_sizes

from equipoise import OrderMarginRule, Shape
from equipoise.orders import Order, Side
from equipoise.replay import ReplayConfig
from equipoise.tape import BookSnapshot, Quotes, Tape
from equipoise.venues.contract import Acknowledged, Filled, Instrument, Rejected, RejectReason
from equipoise.venues.paper import PaperConfig, PaperVenue

__all__ = ["OlderRun", "run_older_way"]


@dataclass(slots=True)
class OlderRun:
    """What came of it."""

    ladders: int = 0
    orders: int = 0
    accepted: int = 0
    refused_for_margin: int = 0
    refused_otherwise: int = 0
    ladders_below_floor: int = 0
    fills: int = 0
    demand_share_max: float = 0.0
    idle_shares: list[float] = field(default_factory=list)
    refusal_text: str = ""
    equity_change: float = 0.0


@dataclass(slots=True)
class _Older:
    instrument: Instrument
    config: ReplayConfig
    shape: Shape
    venue: PaperVenue
    rng: np.random.Generator
    run: OlderRun = field(default_factory=OlderRun)
    live: set[str] = field(default_factory=set)

    def side(self, side: Side, best: tuple[int, int]) -> tuple[list[Order], bool]:
        """One side, sized as if it had the account to itself."""
        sign = -1 if side is Side.BID else 1
        mid_ticks = (best[0] + best[1]) / 2
        levels = self.config.quoter.levels
        depth = np.geomspace(2.0, self.config.quoter.depth_outer_bps, levels)
        raw = mid_ticks * (1 + sign * depth * 1e-4)
        ticks = np.floor(raw) if side is Side.BID else np.ceil(raw)
        account = self.venue.account()
        margin = max(0, account.margin_available) / 1e6
        mid = mid_ticks * float(self.instrument.tick)
        floor = self.config.quoter.entropy_floor
        sizes = heuristic_sizes(
            np.asarray(self.shape.utility(depth, mid)),
            entropy_min=floor,
            share_min=0.01,
            capacity=margin * float(self.config.session.leverage) / mid,
            size_min=float(self.config.notional_min) / mid,
            random=self.rng,
        )
        orders = []
        for level, (size, at) in enumerate(zip(sizes.tolist(), ticks.tolist(), strict=True)):
            lots = int(size / float(self.instrument.lot))
            if lots > 0:
                name = f"old-{self.run.ladders}-{side}-{level}"
                orders.append(self.instrument.order(side, lots, int(at), order_id=name))
        share = np.array([order.lots for order in orders], dtype=float)
        share /= max(1.0, share.sum())
        return orders, float(-(share * np.log(share)).sum()) < floor - 1e-9

    def quote(self, best: tuple[int, int], now_ns: int) -> None:
        """Both sides at once, straight to the venue."""
        self.run.ladders += 1
        (bids, bids_short), (asks, asks_short) = self.side(Side.BID, best), self.side(Side.ASK, best)
        self.run.ladders_below_floor += bids_short or asks_short
        orders = bids + asks
        if not orders:
            return
        unit = float(self.instrument.unit_micros) / float(self.config.session.leverage)
        demand = sum(order.lots * order.price_ticks * unit for order in orders)
        available = max(1, self.venue.account().margin_available)
        self.run.demand_share_max = max(self.run.demand_share_max, demand / available)
        self.run.orders += len(orders)
        self.live = {str(order.order_id) for order in orders}
        self.venue.submit(orders, now_ns)

    def answers(self, now_ns: int) -> None:
        """Count what the venue says."""
        for event in self.venue.drain(now_ns):
            match event:
                case Acknowledged():
                    self.run.accepted += 1
                case Rejected(code=RejectReason.MARGIN):
                    self.run.refused_for_margin += 1
                    self.run.refusal_text = event.text
                    self.live.discard(event.order_id)
                case Rejected():
                    self.run.refused_otherwise += 1
                    self.live.discard(event.order_id)
                case Filled():
                    self.run.fills += 1
                    if event.lots_left == 0:
                        self.live.discard(event.order_id)
                case _:
                    self.live.discard(event.order_id)


def run_older_way(tape: Tape, config: ReplayConfig, shape: Shape) -> OlderRun:
    """Replay a market the older way; every two seconds everything is cancelled and quoted again."""
    instrument = Instrument(symbol=tape.symbol, tick=tape.tick, lot=tape.lot, notional_min=config.notional_min)
    paper = PaperConfig(
        leverage=config.session.leverage,
        balance=int(config.balance * 1_000_000),
        maker_fee_bps=config.maker_fee_bps,
        taker_fee_bps=config.taker_fee_bps,
        seed=config.seed,
    )
    venue = PaperVenue(instrument, OrderMarginRule.venue(config.rule), paper)
    older = _Older(instrument, config, shape, venue, np.random.default_rng(config.seed))
    best, quoted_ns, pulling = (0, 0), 0, False
    for count, event in enumerate(tape, start=1):
        if config.events_max is not None and count > config.events_max:
            break
        venue.advance(event)
        now_ns = event.local_ns
        older.answers(now_ns)
        if isinstance(event, Quotes):
            best = (event.bid_ticks, event.ask_ticks)
        elif isinstance(event, BookSnapshot) and event.bid_ticks and event.ask_ticks:
            best = (event.bid_ticks[0], event.ask_ticks[0])
        if best[0] <= 0 or best[0] >= best[1]:
            continue
        due = now_ns - quoted_ns >= config.session.requote_interval_ms * 1_000_000
        if not older.live and (due or pulling):
            pulling = False
            older.quote(best, now_ns)
            quoted_ns = now_ns
        elif older.live and not pulling and due:
            account = venue.account()
            older.run.idle_shares.append(1 - venue.margin_held() / max(1, account.margin_available))
            venue.cancel(tuple(older.live), now_ns)
            pulling = True
    older.run.equity_change = (venue.account().equity - paper.balance) / 1e6
    return older.run
