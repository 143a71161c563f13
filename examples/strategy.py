"""A small complete strategy to copy: quote, hold the margin, place, fill, release.

The market is generated and the venue is the paper venue, so it runs anywhere: `python examples/strategy.py`. What is
yours to change is `LEVELS`: where you quote, how often you expect to be filled there, and what a fill is worth to you.

The order of work never changes: margin is held in the book *before* an order leaves, and a new ladder is computed only
after the old one is gone. `equipoise run` does the same with stale data, kill switches and a report on top.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import equipoise as eq
from equipoise.tape import BookSnapshot, MarketEvent, Quotes, generate
from equipoise.venues.contract import (
    Acknowledged,
    Cancelled,
    CancelReason,
    Filled,
    Instrument,
    Rejected,
    RejectReason,
    TimeInForce,
    VenueEvent,
)
from equipoise.venues.paper import PaperConfig, PaperVenue

ACCOUNT = "paper:1"
BALANCE = Decimal(400)
LEVERAGE = Decimal(10)
POSITION_MAX = Decimal(15)
REQUOTE_NS = 2_000_000_000
RULE = eq.OrderMarginRule.venue("sum")
LEVELS = eq.Levels(depth_bps=[1, 2, 4, 8], fill_probability=[0.6, 0.45, 0.25, 0.08], edge_bps=[0.4, 1.0, 2.6, 6.0])


class Strategy:
    """One ladder at a time; the book knows what it holds at every moment."""

    def __init__(self, instrument: Instrument, venue: PaperVenue, book: eq.ReservationBook) -> None:
        self.instrument, self.venue, self.book = instrument, venue, book
        self.quoter = eq.Quoter(eq.QuoterConfig(levels=4, mark_buffer_bps=40))
        self.market: eq.Market | None = None
        self.live: set[str] = set()
        self.position_lots = self.quotes = self.fills = self.refused = 0
        self.requote_ns = 0
        self.pulling = False

    def on_market(self, event: MarketEvent, now_ns: int) -> None:
        """New best prices, then: quote when nothing rests, pull when the ladder is old."""
        if isinstance(event, Quotes):
            self.see(event.bid_ticks, event.ask_ticks)
        elif isinstance(event, BookSnapshot) and event.bid_ticks and event.ask_ticks:
            self.see(event.bid_ticks[0], event.ask_ticks[0])
        if not self.live:
            self.pulling = False
            self.place(now_ns)
        elif now_ns >= self.requote_ns and not self.pulling:
            self.pull(now_ns)

    def see(self, bid_ticks: int, ask_ticks: int) -> None:
        """Keep the market as the quoter and the rule see it; the mark is the mid."""
        bid, ask = self.instrument.price(bid_ticks), self.instrument.price(ask_ticks)
        if bid < ask:
            mid = (bid + ask) / 2
            self.market = self.instrument.market(bid, ask, mid, mid)

    def place(self, now_ns: int) -> None:
        """Quote from what is free, hold all of it in one step, then send."""
        if self.market is None:
            return
        symbol, at_venue = self.instrument.symbol, self.venue.account()
        held = RULE.required_micros(self.market, LEVERAGE, self.position_lots, [], [], [])
        self.book.revalue(ACCOUNT, symbol, eq.from_micros(held))
        self.book.mark(ACCOUNT, {symbol: eq.from_micros(at_venue.unrealised_pnl)})
        state = eq.AccountState(
            margin_available=self.book.account(ACCOUNT).free,
            position=self.instrument.size(self.position_lots),
            leverage=LEVERAGE,
            position_max=POSITION_MAX,
        )
        quote = self.quoter.quote(self.market, state, rule=RULE, bids=LEVELS, asks=LEVELS)
        self.quotes += 1
        self.requote_ns = now_ns + REQUOTE_NS
        self.send(list(quote.orders()), f"quote-{self.quotes}", now_ns, TimeInForce.POST_ONLY)

    def send(self, orders: list[eq.Order], request_id: str, now_ns: int, time_in_force: TimeInForce) -> None:
        """Nothing leaves before the book has said OK."""
        if not orders:
            return
        named = [replace(order, order_id=f"{request_id}:{index}") for index, order in enumerate(orders)]
        if self.book.reserve(ACCOUNT, named, request_id=request_id, send="caller").ok:
            self.live = {str(order.order_id) for order in named}
            self.venue.submit(named, now_ns, time_in_force)

    def pull(self, now_ns: int) -> None:
        """Ask for the end of the ladder. Its margin stays held until the venue confirms."""
        self.pulling = True
        for order_id in self.live:
            self.book.request_cancel(ACCOUNT, order_id)
        self.venue.cancel(sorted(self.live), now_ns)

    def on_answer(self, event: VenueEvent) -> None:
        """Every answer of the venue goes into the book as it comes."""
        match event:
            case Acknowledged():
                self.book.acknowledge(ACCOUNT, event.order_id, event.venue_order_id)
            case Filled():
                self.fills += 1
                self.position_lots = event.position_after
                self.book.fill(
                    ACCOUNT,
                    event.order_id,
                    event.lots,
                    fill_id=event.fill_id,
                    realised_pnl=eq.from_micros(event.realised_pnl),
                    fee=eq.from_micros(event.fee),
                )
                if event.lots_left == 0:
                    self.live.discard(event.order_id)
            case Rejected():
                self.refused += event.code is RejectReason.MARGIN
                self.live.discard(event.order_id)
                self.book.reject(ACCOUNT, event.order_id, event_id=event.event_id, reason=event.text)
            case Cancelled():
                self.refused += event.reason is CancelReason.MARGIN
                self.live.discard(event.order_id)
                self.book.cancel(ACCOUNT, event.order_id, event_id=event.event_id, reason=event.text)
            case _:
                # The order had ended before our cancel arrived; what ended it is on its way.
                pass

    def close(self, now_ns: int) -> None:
        """Work off what is left with one reduce-only order through the best price."""
        assert self.market is not None
        side = eq.Side.ASK if self.position_lots > 0 else eq.Side.BID
        ticks = self.market.bid_ticks * 99 // 100 if side is eq.Side.ASK else self.market.ask_ticks * 101 // 100
        order = self.instrument.order(side, abs(self.position_lots), ticks, order_id="", reduce_only=True)
        self.send([order], f"close-{now_ns}", now_ns, TimeInForce.IOC)


def main() -> int:
    """Five generated minutes, then flat; the number of orders refused for margin."""
    tape = generate(11, 300)
    instrument = Instrument(symbol=tape.symbol, tick=tape.tick, lot=tape.lot, notional_min=Decimal(10))
    venue = PaperVenue(instrument, RULE, PaperConfig(leverage=LEVERAGE, balance=int(BALANCE * 1_000_000)))
    with eq.ReservationBook.connect("memory:") as book:
        book.open_account(ACCOUNT, BALANCE, "USD", rule=RULE)
        strategy = Strategy(instrument, venue, book)
        now_ns = 0
        for event in tape:
            now_ns = max(now_ns, event.local_ns)
            venue.advance(event)
            for answer in venue.drain(now_ns):
                strategy.on_answer(answer)
            strategy.on_market(event, now_ns)
        strategy.pull(now_ns)
        while strategy.live or strategy.position_lots:
            now_ns += 100_000_000
            venue.advance(now_ns)
            for answer in venue.drain(now_ns):
                strategy.on_answer(answer)
            if not strategy.live and strategy.position_lots:
                strategy.close(now_ns)
        account = book.account(ACCOUNT)
        print(f"{strategy.quotes} quotes, {strategy.fills} fills, {strategy.refused} refused for margin")
        print(f"balance {account.balance}, at the venue {eq.from_micros(venue.account().balance)}")
        print(f"held {account.used_margin_all}, audit {'clean' if book.audit(ACCOUNT).ok else 'CONTRADICTION'}")
        return strategy.refused


if __name__ == "__main__":
    raise SystemExit(main())
