"""The session's state machine on the real paper venue and the real book, failure by failure, driven by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from equipoise import AccountState, Market, OrderMarginRule, Quote, ReservationBook, Shape
from equipoise.orders import Side
from equipoise.quoter import Quoter, QuoterConfig
from equipoise.recorder import Recorder
from equipoise.session import Action, Cancel, Phase, Place, Session, SessionConfig
from equipoise.tape.events import MarketEvent, Quotes, Taker, Trade
from equipoise.venues.contract import (
    Acknowledged,
    Cancelled,
    CancelReason,
    CancelRejected,
    Filled,
    Instrument,
    Liquidity,
    Rejected,
    RejectReason,
    Unresolved,
    VenueEvent,
)
from equipoise.venues.paper import Latency, PaperConfig, PaperVenue

MS = 1_000_000
HYPE = Instrument(symbol="HYPE", tick=Decimal("0.001"), lot=Decimal("0.01"), notional_min=Decimal(10))
SHAPE = Shape(1e-4, 0.3, 1500.0, 10.0, 0.3, 14.66, 0.0, 8.0, 0.0)
BALANCE = 400


class Measured:
    """An estimator whose answer is known; ready when told."""

    warmup_s = 60.0

    def __init__(self) -> None:
        self.ready = True

    def update(self, event: MarketEvent) -> None:
        """Nothing is measured."""

    def shape(self, **_: Any) -> Shape:
        """Always the same."""
        return SHAPE


class Boasting:
    """A quoter that promises three times what the account has."""

    def quote(self, market: Market, state: AccountState, *, rule: OrderMarginRule, shape: Shape) -> Quote:
        """The quote of a richer account."""
        rich = AccountState(state.margin_available * 3, state.position, state.leverage, state.position_max)
        return Quoter(QuoterConfig(levels=3)).quote(market, rich, rule=rule, shape=shape)


class Desk:
    """Session, venue and book, and a hand that moves the time. `hold_back` keeps answers from reaching the session."""

    def __init__(
        self,
        book: ReservationBook,
        *,
        rule: str = "sum",
        venue_balance: int = BALANCE,
        quoter: Any = None,
        latency: Latency | None = None,
        **settings: Any,
    ) -> None:
        self.rule = OrderMarginRule.venue(rule)
        assert book.open_account("paper:1", Decimal(BALANCE), rule=self.rule, request_id="open").done
        self.book = book
        self.estimator = Measured()
        self.venue = PaperVenue(
            HYPE,
            self.rule,
            PaperConfig(
                leverage=Decimal(10),
                balance=venue_balance * 1_000_000,
                latency=latency if latency is not None else Latency.constant(5 * MS, 5 * MS),
            ),
        )
        self.config = SessionConfig(verify=True, **settings)
        self.session = Session(
            self.config,
            instrument=HYPE,
            quoter=quoter if quoter is not None else Quoter(QuoterConfig(levels=3, mark_buffer_bps=40.0)),
            rule=self.rule,
            book=book,
            estimator=self.estimator,  # type: ignore[arg-type]
            recorder=Recorder(3),
        )
        self.now = 1_000 * MS
        self.trades = 0
        self.placed: list[Place] = []
        self.cancels: list[Cancel] = []
        self.seen: list[VenueEvent] = []
        self.hold_back: Callable[[VenueEvent], bool] = lambda event: False
        self.held_back: list[VenueEvent] = []

    def act(self, actions: list[Action]) -> list[Action]:
        for action in actions:
            if isinstance(action, Place):
                self.placed.append(action)
                self.venue.submit(action.orders, self.now, action.time_in_force)
            else:
                self.cancels.append(action)
                self.venue.cancel(action.order_ids, self.now)
        return actions

    def say(self, event: VenueEvent) -> list[Action]:
        """Tell the session something, without the venue."""
        done = self.act(self.session.on_venue(event, self.now))
        self.check()
        return done

    def answers(self) -> None:
        for event in self.venue.drain(self.now):
            if self.hold_back(event):
                self.held_back.append(event)
                continue
            self.seen.append(event)
            self.say(event)

    def wait(self, milliseconds: int, *, tell_time: bool = False) -> None:
        for _ in range(milliseconds):
            self.now += MS
            self.venue.advance(self.now)
            self.answers()
            if tell_time:
                self.act(self.session.on_time(self.now))

    def quotes(self, bid: int = 27_100, ask: int = 27_120) -> None:
        event = Quotes(self.now, self.now, bid, 10**6, ask, 10**6)
        self.venue.advance(event)
        self.answers()
        self.act(self.session.on_market(event, self.now))
        self.check()

    def trade(self, price: int, lots: int, taker: Taker = Taker.SELL) -> None:
        self.trades += 1
        event = Trade(self.now, self.now, price, lots, taker, self.trades)
        self.venue.advance(event)
        self.answers()
        self.act(self.session.on_market(event, self.now))
        self.check()

    def working(self) -> Desk:
        """Until the ladder rests."""
        self.quotes()
        self.wait(11)
        assert self.session.phase is Phase.WORKING
        assert len(self.venue.open_orders()) == len(self.session.live) > 0
        return self

    def finish(self) -> None:
        self.act(self.session.finish(self.now))
        for _ in range(40):
            self.wait(5, tell_time=True)
            if self.session.phase is Phase.DONE:
                break

    def check(self) -> None:
        """A and E by their definition from live orders and the position, after every event."""
        account = self.book.account("paper:1")
        margin = sum(row.margin for row in self.book.symbols("paper:1"))
        held = sum(order.hold for order in self.book.orders("paper:1"))
        assert account.executed_units == margin
        if self.rule.name == "sum":
            assert account.all_units == margin + held
        assert self.book.audit("paper:1").ok

    def done(self) -> None:
        """Flat, nothing held, the same money in book and venue."""
        account, at_venue = self.book.account("paper:1"), self.venue.account()
        assert self.session.phase is Phase.DONE
        assert (self.session.position_lots, at_venue.position_lots) == (0, 0)
        assert (account.all_units, account.executed_units) == (0, 0)
        assert account.balance_units == at_venue.balance
        assert self.venue.open_orders() == ()
        assert self.book.orders("paper:1") == ()

    def fill(self, lots: int, order_id: str, *, left: int, name: str = "own-1") -> Filled:
        """A fill as the venue would tell it."""
        order = next(order for place in self.placed for order in place.orders if order.order_id == order_id)
        return Filled(
            event_id=f"fill:{name}",
            exchange_ns=self.now,
            local_ns=self.now,
            order_id=order_id,
            venue_order_id="1",
            fill_id=name,
            side=order.side,
            lots=lots,
            price_ticks=order.price_ticks,
            lots_left=left,
            fee=100,
            liquidity=Liquidity.MAKER,
            realised_pnl=0,
            position_after=lots,
            mark=Decimal("27.11"),
        )


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """Desks on either store."""
    books: list[ReservationBook] = []

    def build(**settings: Any) -> Desk:
        url = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/book{len(books)}?durability=normal"
        clock = [1_000_000]
        books.append(ReservationBook.connect(url, clock=lambda: clock[0]))
        return Desk(books[-1], **settings)

    yield build
    for book in books:
        book.close_book()


def stamp(desk: Desk, order_id: str, event_id: str = "e1") -> dict[str, Any]:
    return {"event_id": event_id, "exchange_ns": desk.now, "local_ns": desk.now, "order_id": order_id}


# The cycle ----------------------------------------------------------------------------------------------------------


def test_nothing_is_quoted_in_warm_up_and_the_first_ready_event_quotes(make: Callable[..., Desk]) -> None:
    desk = make()
    desk.estimator.ready = False
    for _ in range(5):
        desk.wait(100)
        desk.quotes()
    assert (desk.session.phase, desk.placed) == (Phase.WARMUP, [])
    desk.estimator.ready = True
    desk.quotes(27_101, 27_121)
    assert desk.session.phase is Phase.WORKING
    assert len(desk.placed) == 1
    assert desk.session.counters["quote_differences"] == 0


def test_a_ready_estimator_without_a_market_quotes_nothing(make: Callable[..., Desk]) -> None:
    desk = make()
    assert desk.act(desk.session.on_time(desk.now)) == []
    assert desk.session.phase is Phase.WARMUP


def test_a_moved_market_pulls_everything_and_quotes_again_only_when_all_is_confirmed(make: Callable[..., Desk]) -> None:
    desk = make().working()
    live = desk.session.live
    desk.quotes(27_110, 27_130)
    assert desk.session.phase is Phase.PULLING
    assert desk.cancels[-1].order_ids == live
    assert len(desk.placed) == 1
    assert desk.book.account("paper:1").all_units > 0
    desk.wait(11)
    assert desk.session.phase is Phase.WORKING
    assert len(desk.placed) == 2
    assert not set(live) & set(desk.session.live)


def test_an_aged_ladder_is_replaced(make: Callable[..., Desk]) -> None:
    desk = make(requote_interval_ms=300).working()
    desk.wait(200)
    desk.quotes()
    assert desk.session.phase is Phase.WORKING
    desk.wait(100)
    desk.quotes()
    assert desk.session.phase is Phase.PULLING


# What the docstring says about failures -----------------------------------------------------------------------------


def test_orders_the_venue_refuses_for_margin_release_their_hold_and_the_session_backs_off(
    make: Callable[..., Desk],
) -> None:
    desk = make(venue_balance=1, backoff_ms=500)
    desk.quotes()
    sent = len(desk.placed[0].orders)
    desk.wait(11)
    assert desk.session.refusals["MARGIN_AT_PLACEMENT"] == sent
    assert desk.session.live == ()
    assert desk.book.account("paper:1").all_units == 0
    desk.wait(100)
    desk.quotes()
    assert len(desk.placed) == 1, "quoted again before the pause was over"
    desk.wait(500)
    desk.quotes()
    assert len(desk.placed) == 2


def test_a_ladder_the_book_refuses_is_never_sent_and_never_hidden(make: Callable[..., Desk]) -> None:
    desk = make(quoter=Boasting(), backoff_ms=500)
    desk.quotes()
    assert desk.placed == []
    assert desk.session.refusals["BOOK_INSUFFICIENT_MARGIN"] > 0
    assert desk.book.account("paper:1").all_units == 0
    first = desk.session.refusals["BOOK_INSUFFICIENT_MARGIN"]
    desk.wait(100)
    desk.quotes()
    assert desk.session.refusals["BOOK_INSUFFICIENT_MARGIN"] == first


@pytest.mark.parametrize(
    ("moved", "counted"),
    [(None, "MARGIN_AT_MATCH"), (39.9, "MARGIN_AT_MATCH"), (40.0, "MARGIN_AT_MATCH"), (40.1, "MARK_MOVED")],
)
def test_a_match_refused_for_margin_is_counted_by_how_far_the_mark_has_moved(
    make: Callable[..., Desk], moved: float | None, counted: str
) -> None:
    desk = make().working()
    order_id = desk.session.live[0]
    held = desk.book.account("paper:1").all_units
    refused = Cancelled(
        **stamp(desk, order_id), venue_order_id="1", lots_left=1, reason=CancelReason.MARGIN, mark_moved_bps=moved
    )
    desk.say(refused)
    assert desk.session.refusals[counted] == 1
    assert sum(desk.session.refusals.values()) == 1
    assert order_id not in desk.session.live
    assert desk.book.account("paper:1").all_units < held
    desk.say(refused)
    assert sum(desk.session.refusals.values()) == 1, "the same answer again counted twice"


@pytest.mark.parametrize(
    ("bps", "counted"),
    [("40", "MARGIN_AT_MATCH"), ("40.0001", "MARK_MOVED"), ("-40", "MARGIN_AT_MATCH"), ("-40.0001", "MARK_MOVED")],
)
def test_the_move_is_measured_from_the_mark_of_the_quote_and_not_of_the_acceptance(
    make: Callable[..., Desk], caplog: pytest.LogCaptureFixture, bps: str, counted: str
) -> None:
    desk = make().working()
    assert desk.session.quote is not None
    mark = desk.session.quote.market.mark * (1 + Decimal(bps) / 10_000)
    order_id = desk.session.live[0]
    # What the venue measured from its own acceptance says the opposite, and does not count.
    since_acceptance = 0.0 if counted == "MARK_MOVED" else 90.0
    refused = Cancelled(
        **stamp(desk, order_id),
        venue_order_id="1",
        lots_left=1,
        reason=CancelReason.MARGIN,
        mark=mark,
        mark_moved_bps=since_acceptance,
    )
    desk.say(refused)
    assert desk.session.refusals[counted] == 1
    assert sum(desk.session.refusals.values()) == 1
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{order_id}: {counted}, 1 lots")


def test_stale_data_pull_everything_and_nothing_is_quoted_until_data_return(make: Callable[..., Desk]) -> None:
    desk = make(stale_after_ms=500, requote_interval_ms=60_000).working()
    assert desk.session.deadline_ns == desk.now - 11 * MS + 500 * MS
    desk.wait(480, tell_time=True)
    assert desk.session.phase is Phase.WORKING
    desk.wait(40, tell_time=True)
    assert desk.session.counters["stale_pulls"] == 1
    assert (desk.session.phase, desk.session.live) == (Phase.QUIET, ())
    assert desk.book.account("paper:1").all_units == 0
    desk.wait(1_000, tell_time=True)
    assert len(desk.placed) == 1
    desk.quotes()
    assert len(desk.placed) == 2


@pytest.mark.parametrize("fate", ["acknowledged", "filled", "rejected", "cancelled"])
def test_a_lost_answer_keeps_the_hold_and_stops_quoting_until_its_fate_is_known(
    make: Callable[..., Desk], fate: str
) -> None:
    desk = make()
    desk.quotes()
    lost = desk.placed[0].orders[0]
    assert lost.order_id is not None
    desk.hold_back = lambda event: getattr(event, "order_id", None) == lost.order_id
    desk.wait(11)
    desk.say(Unresolved(**stamp(desk, lost.order_id), text="no answer in 5 s"))
    desk.quotes(27_104, 27_124)
    desk.wait(20)
    assert desk.session.live == (lost.order_id,)
    assert desk.book.account("paper:1").all_units == lost.hold > 0
    for _ in range(3):
        desk.wait(3_000)
        desk.quotes()
    assert len(desk.placed) == 1
    end = stamp(desk, lost.order_id, "fate")
    event: VenueEvent = {
        "acknowledged": Acknowledged(**end, venue_order_id="77", lots=lost.lots),
        "filled": desk.fill(lost.lots, lost.order_id, left=0),
        "rejected": Rejected(**end, code=RejectReason.OTHER, text="no"),
        "cancelled": Cancelled(**end, venue_order_id="77", lots_left=lost.lots, reason=CancelReason.OTHER),
    }[fate]
    desk.say(event)
    if fate == "acknowledged":
        desk.say(Cancelled(**stamp(desk, lost.order_id, "c"), venue_order_id="77", lots_left=lost.lots,
                           reason=CancelReason.REQUESTED))  # fmt: skip
    assert len(desk.placed) == 2, "quoting never resumed"


# Fills, in every order of arrival -----------------------------------------------------------------------------------


def test_partial_fills_move_hold_to_position_and_requote(make: Callable[..., Desk]) -> None:
    desk = make().working()
    bid = next(order for order in desk.placed[0].orders if order.side is Side.BID)
    desk.trade(bid.price_ticks - 5, 50)
    desk.wait(11)
    fills = [event for event in desk.seen if isinstance(event, Filled)]
    assert fills
    assert desk.session.position_lots == sum(event.lots for event in fills) == desk.venue.account().position_lots
    desk.finish()
    desk.done()


def test_a_fill_that_arrives_after_the_cancel_still_moves_position_and_money(make: Callable[..., Desk]) -> None:
    desk = make().working()
    order_id = desk.session.live[0]
    desk.say(Cancelled(**stamp(desk, order_id), venue_order_id="1", lots_left=5, reason=CancelReason.REQUESTED))
    before = desk.book.account("paper:1")
    desk.say(desk.fill(5, order_id, left=0))
    after = desk.book.account("paper:1")
    assert desk.session.position_lots == 5
    assert after.executed_units > before.executed_units
    assert after.balance_units == before.balance_units - 100


def test_the_same_fill_told_twice_moves_the_position_once(make: Callable[..., Desk]) -> None:
    desk = make().working()
    order_id = desk.session.live[0]
    fill = desk.fill(5, order_id, left=100)
    desk.say(fill)
    desk.say(replace(fill, event_id="again"))
    assert desk.session.position_lots == 5
    assert desk.session.counters["repeated_fills"] == 1
    assert desk.book.account("paper:1").balance_units == BALANCE * 1_000_000 - 100


def test_one_refused_order_among_many_releases_only_its_own_hold(make: Callable[..., Desk]) -> None:
    desk = make()
    desk.quotes()
    orders = desk.placed[0].orders
    before = desk.book.account("paper:1").all_units
    refused = orders[1]
    assert refused.order_id is not None
    desk.say(Rejected(**stamp(desk, refused.order_id), code=RejectReason.POST_ONLY, text="would have matched"))
    assert desk.session.refusals["POST_ONLY"] == 1
    assert desk.book.account("paper:1").all_units == before - refused.hold
    assert len(desk.session.live) == len(orders) - 1
    assert desk.session.phase is Phase.WORKING


def test_a_refused_cancel_waits_for_the_fill_that_beat_it(make: Callable[..., Desk]) -> None:
    desk = make().working()
    order = desk.placed[0].orders[0]
    assert order.order_id is not None
    desk.hold_back = lambda event: getattr(event, "order_id", None) == order.order_id
    desk.quotes(27_104, 27_124)
    desk.wait(11)
    assert desk.session.phase is Phase.PULLING
    desk.say(CancelRejected(**stamp(desk, order.order_id, "late"), text="already filled"))
    assert desk.session.phase is Phase.PULLING
    assert desk.session.live == (order.order_id,)
    desk.say(desk.fill(order.lots, order.order_id, left=0))
    assert desk.session.phase is Phase.WORKING
    assert desk.session.position_lots == (order.lots if order.side is Side.BID else -order.lots)


# The end ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("rule", ["sum", "worst_side", "per_side"])
def test_finishing_from_any_phase_ends_flat_with_nothing_held(
    make: Callable[..., Desk], phase: Phase, rule: str
) -> None:
    desk = make(rule=rule)
    desk.estimator.ready = phase is not Phase.WARMUP
    desk.quotes()
    if phase is not Phase.WARMUP:
        desk.wait(11)
        ladder = desk.placed[0].orders
        bid = max((order for order in ladder if order.side is Side.BID), key=lambda order: order.price_ticks)
        desk.trade(bid.price_ticks - 1, bid.lots // 2)
        if phase is not Phase.PULLING:
            desk.wait(30)
        if phase is Phase.QUIET:
            desk.wait(2_100, tell_time=True)
        if phase in (Phase.CLOSING, Phase.DONE):
            desk.act(desk.session.finish(desk.now))
        if phase is Phase.DONE:
            desk.finish()
        if phase is Phase.PULLING:
            desk.quotes(27_080, 27_100)
            while desk.session.phase is not Phase.PULLING:
                desk.wait(1)
    assert desk.session.phase is phase
    desk.finish()
    desk.done()
    placed = len(desk.placed)
    desk.wait(50)
    desk.quotes(27_200, 27_220)
    assert len(desk.placed) == placed, "quoted after the end"
    assert desk.act(desk.session.finish(desk.now)) == []


def test_a_close_that_fills_only_in_part_is_sent_again_until_flat(make: Callable[..., Desk]) -> None:
    desk = make().working()
    bid = max((o for o in desk.placed[0].orders if o.side is Side.BID), key=lambda o: o.price_ticks)
    desk.trade(bid.price_ticks - 5, bid.lots)
    desk.wait(11)
    thin = Quotes(desk.now, desk.now, 27_100, 3, 27_120, 3)
    desk.venue.advance(thin)
    desk.finish()
    desk.wait(1)
    while desk.session.phase is not Phase.DONE and desk.now < 20_000 * MS:
        desk.quotes()
        desk.wait(20, tell_time=True)
    desk.done()


def test_a_session_that_never_saw_a_market_is_done_at_once(make: Callable[..., Desk]) -> None:
    desk = make()
    assert desk.act(desk.session.finish(desk.now)) == []
    desk.done()


# One record, whatever the store -------------------------------------------------------------------------------------


def history(book: ReservationBook) -> list[Any]:
    rows = [asdict(row) if hasattr(row, "__dataclass_fields__") else tuple(row) for row in book.history("paper:1")]
    return [str(row) for row in rows]


@pytest.mark.parametrize("rule", ["sum", "worst_side", "per_side"])
def test_both_stores_keep_the_same_record_of_the_same_market(tmp_path: Path, rule: str) -> None:
    told = []
    for url in ("memory:", f"sqlite:///{tmp_path}/book?durability=normal"):
        with ReservationBook.connect(url, clock=lambda: 1_000_000) as book:
            desk = Desk(book, rule=rule, latency=Latency(), requote_interval_ms=400)
            path = [0, 3, 6, 2, -4, -9, -3, 5, 12, 20, 11, 4, 0, -8]
            for step, (before, shift) in enumerate(pairwise(path * 4)):
                desk.quotes(27_100 + shift, 27_120 + shift)
                desk.wait(60)
                falling = shift < before
                price = 27_085 + shift if falling else 27_135 + shift
                desk.trade(price, 40 + step, Taker.SELL if falling else Taker.BUY)
                desk.wait(140)
            desk.finish()
            while desk.session.phase is not Phase.DONE and desk.now < 60_000 * MS:
                desk.quotes()
                desk.wait(200, tell_time=True)
            desk.done()
            session = desk.session
            fills = [event for event in desk.seen if isinstance(event, Filled)]
            told.append((history(book), fills, session.counters, session.refusals, desk.placed, desk.cancels))
            assert len(fills) >= 8
            assert session.counters["quote_differences"] == session.counters["uncertified_quotes"] == 0
            assert session.refusals["MARGIN_AT_PLACEMENT"] == session.refusals["MARGIN_AT_MATCH"] == 0
    assert told[0] == told[1]
