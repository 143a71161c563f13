"""The paper venue: our orders against a recorded or generated market, without I/O and without a clock.

Time moves only by what `advance` is given. Requests travel, take effect between two market events, and their answers
travel back; all of it in the order of the venue's time, all of it repeatable from the seed. `docs/venues.md` lists
every modelling choice with the test that holds it.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from random import Random
from typing import TYPE_CHECKING

from equipoise.errors import InputError
from equipoise.orders import Order, Side
from equipoise.tape.events import BookSnapshot, MarketEvent, Quotes, Taker, Trade
from equipoise.venues.contract import (
    Acknowledged,
    Cancelled,
    CancelReason,
    CancelRejected,
    Filled,
    Instrument,
    Liquidity,
    OpenOrder,
    Rejected,
    RejectReason,
    TimeInForce,
    VenueAccount,
    VenueEvent,
)
from equipoise.venues.paper.account import PaperAccount
from equipoise.venues.paper.latency import Latency
from equipoise.venues.paper.margin import MarginDesk
from equipoise.venues.paper.market import ShownMarket
from equipoise.venues.paper.queue import CancelsAhead, Level, OwnSide, Resting, UnseenQueue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from equipoise._rust import Acceptance, OrderMarginRule

__all__ = ["PaperConfig", "PaperVenue"]

_TEXT_MARGIN = "Insufficient margin to place order."
_TEXT_REDUCE_ONLY = "Reduce only order would increase position."
_TEXT_MISSING = "Order was never placed, already canceled, or filled."


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperConfig:
    """How the paper venue behaves.

    Parameters
    ----------
    leverage
        Of the account in this instrument; at least 1.
    balance
        Micro-units at the start.
    maker_fee_bps, taker_fee_bps
        In 10^-4 of the value, negative for a rebate. The defaults are Hyperliquid's base tier for perpetuals.
    latency
        Travel times both ways.
    seed
        Of the travel times.
    cancels_ahead, unseen_queue
        Assumptions about the queue; see `equipoise.venues.paper.queue`.
    orders_max
        Most orders that may rest at a time (Hyperliquid: 1000 for a new account).

    Raises
    ------
    InputError
        A value is out of range.
    """

    leverage: Decimal
    balance: int
    maker_fee_bps: Decimal = Decimal("1.5")
    taker_fee_bps: Decimal = Decimal("4.5")
    latency: Latency = field(default_factory=Latency)
    seed: int = 0
    cancels_ahead: CancelsAhead = CancelsAhead.PESSIMISTIC
    unseen_queue: UnseenQueue = UnseenQueue.LAST_LEVEL
    orders_max: int = 1000

    def __post_init__(self) -> None:
        if not (isinstance(self.leverage, Decimal) and self.leverage.is_finite() and self.leverage >= 1):
            raise InputError("leverage", None, "a Decimal of at least 1", self.leverage)
        if isinstance(self.balance, bool) or not isinstance(self.balance, int) or self.balance < 0:
            raise InputError("balance", None, "micro-units, an int of at least 0", self.balance)
        for name in ("maker_fee_bps", "taker_fee_bps"):
            value = getattr(self, name)
            if not (isinstance(value, Decimal) and value.is_finite()):
                raise InputError(name, None, "a finite Decimal", value)
        if self.orders_max < 1:
            raise InputError("orders_max", None, "at least 1", self.orders_max)


class _Scope(Enum):
    """Which levels a depth event tells about."""

    ALL = 0
    BEST = 1
    BEHIND = 2


@dataclass(frozen=True, slots=True)
class _Request:
    """A request on its way: cancels first, then placements; paired when `replaces`."""

    arrival_ns: int
    cancels: tuple[str, ...] = ()
    orders: tuple[Order, ...] = ()
    time_in_force: TimeInForce = TimeInForce.POST_ONLY
    cancel_all: bool = False
    replaces: bool = False


class PaperVenue:
    """One account in one instrument at a simulated exchange.

    Parameters
    ----------
    instrument
        Steps and minimum order value.
    rule
        The order-margin rule that is checked at placement and at match, usually `OrderMarginRule.venue(...)`.
    config
        Balance, leverage, fees, latency, assumptions, seed.

    Notes
    -----
    The venue's time is the exchange time of the events it is given. Our clock is their local time. `clock_offset_ns`,
    venue minus ours, starts at 0 and rises to the largest `exchange_ns − local_ns` seen, because nothing arrives
    before it happened; requests and answers are converted with it.

    Examples
    --------
    >>> from decimal import Decimal
    >>> from equipoise.venues.contract import Instrument
    >>> hype = Instrument(symbol="HYPE", tick=Decimal("0.001"), lot=Decimal("0.01"), notional_min=Decimal(10))
    >>> hype.price_valid(27_110), hype.notional_reached(36, 27_110), hype.notional_reached(37, 27_110)
    (True, False, True)
    """

    def __init__(self, instrument: Instrument, rule: OrderMarginRule, config: PaperConfig) -> None:
        if instrument.leverage_max is not None and config.leverage > instrument.leverage_max:
            raise InputError("leverage", None, f"at most {instrument.leverage_max}", config.leverage)
        self._instrument = instrument
        self._config = config
        self._random = Random(config.seed)  # noqa: S311  (travel times, nothing secret)
        self._shown = ShownMarket()
        self._margin = MarginDesk(rule, instrument, config.leverage, self._shown)
        self._account = PaperAccount(config.balance, instrument.unit_micros, config.maker_fee_bps, config.taker_fee_bps)
        self._proportional = config.cancels_ahead is CancelsAhead.PROPORTIONAL
        self._bids = OwnSide(is_bid=True)
        self._asks = OwnSide(is_bid=False)
        self._open: dict[str, Resting] = {}
        self._order_ids: set[str] = set()
        self._requests: deque[_Request] = deque()
        self._answers: deque[VenueEvent] = deque()
        self._answer_arrival_ns = -(1 << 62)
        self._answer_drawn = False
        self._now_ns = -(1 << 62)
        self._offset_ns = 0
        self._lag_ns = 0
        self._venue_order_count = 0
        self._refusal_count = 0
        self._counters: Counter[str] = Counter()

    # Reading ---------------------------------------------------------------------------------------------------------

    @property
    def instrument(self) -> Instrument:
        """What is traded here."""
        return self._instrument

    @property
    def now_ns(self) -> int:
        """The venue's time: exchange time of the newest thing it was given."""
        return self._now_ns

    @property
    def clock_offset_ns(self) -> int:
        """Venue clock minus ours, as far as the events prove it."""
        return self._offset_ns

    @property
    def in_flight(self) -> int:
        """Requests and answers still travelling; at 0 both sides know the same."""
        return len(self._requests) + len(self._answers)

    @property
    def mark(self) -> Decimal | None:
        """The venue's mark; None before the first sound market."""
        return self._shown.mark_price(self._instrument.tick)

    @property
    def counters(self) -> dict[str, int]:
        """What happened how often: late trades, stale depth, crossed books."""
        return dict(self._counters)

    def open_orders(self) -> tuple[OpenOrder, ...]:
        """What rests at the venue now, oldest first. Our side may not have heard of it yet."""
        return tuple(
            OpenOrder(
                order_id=order.order_id,
                venue_order_id=order.venue_order_id,
                symbol=self._instrument.symbol,
                side=order.side,
                lots=order.lots,
                lots_left=order.left,
                price_ticks=order.price,
                reduce_only=order.reduce_only,
                time_in_force=order.time_in_force,
                placed_ns=order.placed_ns,
            )
            for order in self._open.values()
        )

    def lots_ahead(self, order_id: str) -> int | None:
        """Lots of others ahead of an open order; None when it is not open."""
        order = self._open.get(order_id)
        return None if order is None else order.ahead

    def margin_required(self) -> int:
        """Requirement of the position and all resting orders at the mark, micro-units."""
        if self._shown.mark is None:
            return 0
        return self._margin.required(self._account.position_lots, self._open.values())

    def margin_position(self) -> int:
        """Requirement of the position alone."""
        if self._shown.mark is None:
            return 0
        return self._margin.required(self._account.position_lots, ())

    def margin_held(self) -> int:
        """What the resting orders hold on top of the position, micro-units."""
        return self.margin_required() - self.margin_position()

    def account(self) -> VenueAccount:
        """The account at the venue now."""
        account, mark = self._account, self._shown.mark
        entry = account.entry_ticks()
        position = self.margin_position()
        return VenueAccount(
            exchange_ns=self._now_ns,
            symbol=self._instrument.symbol,
            balance=account.balance,
            equity=account.balance if mark is None else account.equity(mark),
            position_lots=account.position_lots,
            entry_price=None if entry is None else self._instrument.tick * entry.numerator / entry.denominator,
            unrealised_pnl=0 if mark is None else account.unrealised(mark),
            realised_pnl=account.realised_pnl,
            fees=account.fees,
            margin_position=position,
            margin_orders=self.margin_required() - position,
            mark=self.mark,
        )

    # Requests --------------------------------------------------------------------------------------------------------

    def submit(self, orders: Sequence[Order], at_ns: int, time_in_force: TimeInForce = TimeInForce.POST_ONLY) -> None:
        """Send new orders in one request.

        Parameters
        ----------
        orders
            Each with an `order_id`; checked and placed one by one in this order.
        at_ns
            Our time of sending.
        time_in_force
            Of every order in the request.

        Raises
        ------
        InputError
            An order has no id, or is not of this instrument, or names a leg. What the venue refuses comes as
            `Rejected`.
        """
        self._check(orders)
        self._send(at_ns, orders=tuple(orders), time_in_force=time_in_force)

    def cancel(self, order_ids: Sequence[str], at_ns: int) -> None:
        """Ask for the end of orders; each is answered by `Cancelled` or `CancelRejected`."""
        self._send(at_ns, cancels=tuple(order_ids))

    def replace(
        self,
        order_ids: Sequence[str],
        orders: Sequence[Order],
        at_ns: int,
        time_in_force: TimeInForce = TimeInForce.POST_ONLY,
    ) -> None:
        """Cancel each old order and place the new one, pairwise, in one request.

        An old order that is not open refuses its new one (`MISSING_ORDER`). A new order that is refused for another
        reason leaves the old one cancelled.

        Raises
        ------
        InputError
            As `submit`, or when the two sequences differ in length.
        """
        if len(order_ids) != len(orders):
            raise InputError("orders", None, f"as many as order_ids ({len(order_ids)})", len(orders))
        self._check(orders)
        self._send(at_ns, cancels=tuple(order_ids), orders=tuple(orders), time_in_force=time_in_force, replaces=True)

    def cancel_all(self, at_ns: int) -> None:
        """Ask for the end of everything that rests when the request arrives."""
        self._send(at_ns, cancel_all=True)

    def drain(self, now_ns: int) -> list[VenueEvent]:
        """Answers that have reached us by `now_ns` (our time), in order of arrival; each is given once."""
        answers = self._answers
        arrived = []
        while answers and answers[0].local_ns <= now_ns:
            arrived.append(answers.popleft())
        return arrived

    def next_answer_ns(self) -> int | None:
        """Our time at which the next known answer arrives; None when none is on its way back."""
        return self._answers[0].local_ns if self._answers else None

    # Time ------------------------------------------------------------------------------------------------------------

    def advance(self, to: MarketEvent | int) -> None:
        """Move the venue on to a market event, or to a moment of our time.

        Requests that arrive before the event take effect before it, those that arrive at the same nanosecond after it.

        A moment (int, our clock) is for holes and for the time after the last event. We know the market only up to
        the lag of the newest event, so a moment moves the venue to that much before it: an event that is still on its
        way to us must find the orders that were there when it happened.
        """
        if isinstance(to, int):
            known_ns = to + self._offset_ns - self._lag_ns
            self._run_requests(known_ns + 1)
            self._now_ns = max(self._now_ns, known_ns)
            return
        exchange_ns = to.exchange_ns
        ahead_ns = exchange_ns - to.local_ns
        if ahead_ns > self._offset_ns:
            self._offset_ns = ahead_ns
        self._lag_ns = self._offset_ns - ahead_ns
        if self._requests and self._requests[0].arrival_ns < exchange_ns:
            self._run_requests(exchange_ns)
        if exchange_ns > self._now_ns:
            self._now_ns = exchange_ns
        self._answer_drawn = False
        if isinstance(to, Trade):
            self._on_trade(to)
        else:
            self._on_depth(to)

    def set_mark(self, price: Decimal) -> None:
        """Use this mark (oracle price) from now on instead of the mid."""
        if not (isinstance(price, Decimal) and price.is_finite() and price > 0):
            raise InputError("price", None, "a positive Decimal", price)
        self._shown.set_mark(price, self._instrument.tick)

    def _run_requests(self, before_ns: int) -> None:
        requests = self._requests
        while requests and requests[0].arrival_ns < before_ns:
            request = requests.popleft()
            self._now_ns = max(self._now_ns, request.arrival_ns)
            self._answer_drawn = False
            self._handle(request)

    def _send(
        self,
        at_ns: int,
        *,
        cancels: tuple[str, ...] = (),
        orders: tuple[Order, ...] = (),
        time_in_force: TimeInForce = TimeInForce.POST_ONLY,
        cancel_all: bool = False,
        replaces: bool = False,
    ) -> None:
        travel = self._config.latency.to_venue.draw(self._random)
        # One connection: a request that would overtake an earlier one waits behind it in the queue.
        arrival = at_ns + self._offset_ns + travel
        self._requests.append(_Request(arrival, cancels, orders, time_in_force, cancel_all, replaces))

    def _check(self, orders: Sequence[Order]) -> None:
        for index, order in enumerate(orders):
            if not order.order_id:
                raise InputError("orders", index, "an order with an order_id", order)
            if order.symbol != self._instrument.symbol:
                raise InputError("orders", index, f"an order in {self._instrument.symbol}", order.symbol)
            if order.leg is not None:
                raise InputError("orders", index, "an order without a leg (positions are netted here)", order.leg)

    # Market events ---------------------------------------------------------------------------------------------------

    def _on_depth(self, event: BookSnapshot | Quotes) -> None:
        shown = self._shown
        exchange_ns = event.exchange_ns
        if isinstance(event, Quotes):
            if exchange_ns < shown.best_ns:
                self._counters["stale_depth"] += 1
                return
            shown.take_quotes(event)
            scope = _Scope.BEST
        elif exchange_ns < shown.levels_ns:
            self._counters["stale_depth"] += 1
            return
        else:
            # A snapshot older than the newest quotes still tells about the levels behind them.
            scope = _Scope.ALL if exchange_ns >= shown.best_ns else _Scope.BEHIND
            shown.take_snapshot(event)
        if not self._open:
            return
        self._observe(self._bids, scope, exchange_ns)
        self._observe(self._asks, scope, exchange_ns)
        if not shown.sound:
            self._counters["unsound_book"] += 1
        elif scope is not _Scope.BEHIND:
            if shown.best_ask <= self._bids.best:
                self._fill_through(self._bids, shown.best_ask, exchange_ns)
            if shown.best_bid >= self._asks.best:
                self._fill_through(self._asks, shown.best_bid, exchange_ns)

    def _observe(self, own: OwnSide, scope: _Scope, exchange_ns: int) -> None:
        """Tell our levels of one side what others show there now."""
        is_bid = own is self._bids
        shown = self._shown.bids if is_bid else self._shown.asks
        best = shown.best
        if scope is _Scope.BEST and (best is None or (own.best < best if is_bid else own.best > best)):
            return
        for price, level in own.levels.items():
            behind = best is not None and (price < best if is_bid else price > best)
            # Quotes say nothing about the levels behind them; an older snapshot nothing about the others.
            if scope is not _Scope.ALL and behind is not (scope is _Scope.BEHIND):
                continue
            lots = shown.displayed(price)
            if lots is not None:
                level.observe(lots, exchange_ns, proportional=self._proportional)

    def _on_trade(self, event: Trade) -> None:
        price = event.price_ticks
        self._shown.take_last(price)
        if price <= self._bids.best:
            self._trade_on(self._bids, event, self._aggressor(event) is Taker.SELL)
        if price >= self._asks.best:
            self._trade_on(self._asks, event, self._aggressor(event) is Taker.BUY)

    def _aggressor(self, event: Trade) -> Taker:
        """Who took; where the tape does not know: the side whose quote the price is nearer to."""
        if event.taker is not Taker.UNKNOWN or self._shown.mark is None:
            return event.taker
        mid = self._shown.best_bid + self._shown.best_ask
        if 2 * event.price_ticks == mid:
            return Taker.UNKNOWN
        return Taker.SELL if 2 * event.price_ticks < mid else Taker.BUY

    def _trade_on(self, own: OwnSide, event: Trade, hits_side: bool) -> None:
        price, exchange_ns = event.price_ticks, event.exchange_ns
        beyond = price + 1 if own is self._bids else price - 1
        self._fill_through(own, beyond, exchange_ns)
        level = own.levels.get(price)
        if level is None or not hits_side:
            return
        look = level.interval(exchange_ns)
        if look is None:
            self._counters["late_trades_unplaced"] += 1
        elif look == level.looks:
            self._match_queue(level, event.lots, exchange_ns)
            level.traded += event.lots
        else:
            # The depth we know already contains this trade: what it explains had been taken for cancels.
            self._counters["late_trades"] += 1
            level.rewind(look, exchange_ns)
            self._match_queue(level, event.lots, exchange_ns)
            level.replay(look, exchange_ns, event.lots, proportional=self._proportional)

    # Matching --------------------------------------------------------------------------------------------------------

    def _fill_through(self, own: OwnSide, price: int, exchange_ns: int) -> None:
        """The market went through `price`: everything of ours there or better fills in full, best first."""
        is_bid = own is self._bids
        if own.best < price if is_bid else own.best > price:
            return
        for level in own.from_best():
            if level.price < price if is_bid else level.price > price:
                return
            for order in tuple(level.orders):
                if order.placed_ns < exchange_ns and order.live:
                    self._fill(order, order.left, order.price, Liquidity.MAKER)

    def _match_queue(self, level: Level, lots: int, exchange_ns: int) -> None:
        """A trade of `lots` at our level: first those ahead, then we, in order of arrival."""
        ours = 0
        for order in tuple(level.orders):
            if order.placed_ns >= exchange_ns:
                break
            others = lots - ours
            reach = others - order.ahead
            order.ahead = max(0, order.ahead - others)
            if reach > 0 and order.live:
                ours += self._fill(order, min(reach, order.left), order.price, Liquidity.MAKER)

    def _fill(self, order: Resting, lots: int, price: int, liquidity: Liquidity) -> int:
        """Match up to `lots` of an open order if reduce-only and margin allow, or end it; returns what matched."""
        account, shown = self._account, self._shown
        if order.reduce_only:
            lots = min(lots, self._reducible(order.is_bid))
            if lots == 0:
                self._end(order, CancelReason.REDUCE_ONLY, "Reduce only order canceled.")
                return 0
        mark = shown.mark
        assert mark is not None, "a fill before the first market"  # noqa: S101
        booking = account.booking(lots if order.is_bid else -lots, price, maker=liquidity is Liquidity.MAKER)
        required_before: int | None = None
        order.left -= lots
        required = self._margin.required(booking.position_lots, self._open.values())
        shortfall = required - account.equity_after(booking, mark)
        if shortfall > 0:
            order.left += lots
            required_before = self._margin.required(account.position_lots, self._open.values())
            if required > required_before:
                self._end(order, CancelReason.MARGIN, _TEXT_MARGIN, shortfall)
                return 0
            order.left -= lots
        account.book(booking)
        order.fills += 1
        fill_id = f"{order.venue_order_id}-{order.fills}"
        self._answer(
            Filled(
                event_id=f"fill:{fill_id}",
                exchange_ns=self._now_ns,
                local_ns=self._answer_ns(),
                order_id=order.order_id,
                venue_order_id=order.venue_order_id,
                fill_id=fill_id,
                side=order.side,
                lots=lots,
                price_ticks=price,
                lots_left=order.left,
                fee=booking.fee,
                liquidity=liquidity,
                realised_pnl=booking.realised_pnl,
                position_after=booking.position_lots,
                mark=self._mark_price(),
            )
        )
        if order.left == 0:
            self._forget(order)
        self._drop_spent_reduce_only()
        return lots

    def _reducible(self, is_bid: bool) -> int:
        """Lots of the position that an order of this side could close."""
        return max(0, -self._account.position_lots if is_bid else self._account.position_lots)

    def _drop_spent_reduce_only(self) -> None:
        for order in tuple(self._open.values()):
            if order.reduce_only and order.live and order.left and self._reducible(order.is_bid) == 0:
                self._end(order, CancelReason.REDUCE_ONLY, "Reduce only order canceled.")

    # Requests at the venue -------------------------------------------------------------------------------------------

    def _handle(self, request: _Request) -> None:
        if request.cancel_all:
            for order in tuple(self._open.values()):
                self._end(order, CancelReason.REQUESTED)
        if not request.replaces:
            for order_id in request.cancels:
                self._handle_cancel(order_id, CancelReason.REQUESTED)
            for new in request.orders:
                self._place(new, request.time_in_force)
            return
        for order_id, new in zip(request.cancels, request.orders, strict=True):
            if self._handle_cancel(order_id, CancelReason.REPLACED):
                self._place(new, request.time_in_force)
            else:
                self._refuse(new, RejectReason.MISSING_ORDER, "Cannot modify canceled or filled order")

    def _handle_cancel(self, order_id: str, reason: CancelReason) -> bool:
        order = self._open.get(order_id)
        if order is not None:
            self._end(order, reason)
            return True
        self._refusal_count += 1
        self._answer(
            CancelRejected(
                event_id=f"cancel-refused:{self._refusal_count}",
                exchange_ns=self._now_ns,
                local_ns=self._answer_ns(),
                order_id=order_id,
                text=_TEXT_MISSING,
            )
        )
        return False

    def _place(self, order: Order, time_in_force: TimeInForce) -> None:
        refusal = self._refusal(order, time_in_force)
        if refusal is not None:
            self._refuse(order, *refusal)
            return
        is_bid = order.side is Side.BID
        assert order.order_id is not None  # noqa: S101  (checked when it was sent)
        assert self._shown.mark is not None  # noqa: S101  (NO_MARKET otherwise)
        resting = Resting(
            order_id=order.order_id,
            venue_order_id=str(self._venue_order_count + 1),
            side=order.side,
            is_bid=is_bid,
            lots=order.lots,
            price=order.price_ticks,
            reduce_only=order.reduce_only,
            time_in_force=time_in_force,
            placed_ns=self._now_ns,
            mark=self._shown.mark,
        )
        verdict = self._placement(resting)
        if verdict.refusal in ("margin", "open_loss"):
            self._refuse(order, RejectReason.MARGIN, _TEXT_MARGIN, verdict.shortfall)
            return
        if not verdict.accepted:
            # Some rules count reduce-only orders together: beyond the position, the last one does not fit.
            self._refuse(order, RejectReason.REDUCE_ONLY, _TEXT_REDUCE_ONLY)
            return
        crosses = self._crosses(is_bid, order.price_ticks)
        if time_in_force is TimeInForce.IOC and not crosses:
            self._refuse(
                order,
                RejectReason.NO_LIQUIDITY,
                "Order could not immediately match against any resting orders.",
            )
            return
        self._venue_order_count += 1
        self._order_ids.add(resting.order_id)
        self._open[resting.order_id] = resting
        self._answer(
            Acknowledged(
                event_id=f"ack:{resting.venue_order_id}",
                exchange_ns=self._now_ns,
                local_ns=self._answer_ns(),
                order_id=resting.order_id,
                venue_order_id=resting.venue_order_id,
                lots=resting.lots,
            )
        )
        if crosses:
            self._take(resting)
        if not resting.live:
            return
        if time_in_force is TimeInForce.IOC:
            self._end(resting, CancelReason.IOC)
            return
        side = self._shown.bids if is_bid else self._shown.asks
        resting.ahead = side.ahead(resting.price, self._config.unseen_queue)
        (self._bids if is_bid else self._asks).add(resting, side.displayed(resting.price))

    def _refusal(self, order: Order, time_in_force: TimeInForce) -> tuple[RejectReason, str] | None:
        """First rule that the order breaks, margin and liquidity apart."""
        instrument, price = self._instrument, order.price_ticks
        is_bid = order.side is Side.BID
        if order.order_id in self._order_ids:
            return RejectReason.DUPLICATE_ID, "Client order id already used."
        if order.lots <= 0:
            return RejectReason.LOT, "Order has invalid size."
        if not instrument.price_valid(price):
            return RejectReason.TICK, "Price must be divisible by tick size."
        if not order.reduce_only and not instrument.notional_reached(order.lots, price):
            return RejectReason.MIN_NOTIONAL, f"Order must have minimum value of ${instrument.notional_min:f}."
        if order.reduce_only and self._reducible(is_bid) == 0:
            return RejectReason.REDUCE_ONLY, _TEXT_REDUCE_ONLY
        if self._shown.mark is None:
            return RejectReason.NO_MARKET, "No market data yet."
        if len(self._open) >= self._config.orders_max:
            return RejectReason.ORDER_LIMIT, "Too many open orders."
        if time_in_force is TimeInForce.POST_ONLY and self._crosses(is_bid, price):
            bid, ask = (f"{instrument.price(ticks):f}" for ticks in self._best_with_ours())
            return (
                RejectReason.POST_ONLY,
                f"Post only order would have immediately matched, bbo was {bid}@{ask}.",
            )
        return None

    def _placement(self, candidate: Resting) -> Acceptance:
        """The rule's acceptance of one more resting order at the state of this moment."""
        assert self._shown.mark is not None  # noqa: S101  (NO_MARKET otherwise)
        account = self._account
        available = account.equity(self._shown.mark) - self.margin_position()
        return self._margin.accepts(account.position_lots, self._open.values(), candidate, available)

    def _best_with_ours(self) -> tuple[int, int]:
        bid, ask = self._shown.bids.best, self._shown.asks.best
        bid = self._bids.best if bid is None else max(bid, self._bids.best)
        ask = self._asks.best if ask is None else min(ask, self._asks.best)
        return bid, ask

    def _crosses(self, is_bid: bool, price: int) -> bool:
        bid, ask = self._best_with_ours()
        return price >= ask if is_bid else price <= bid

    def _take(self, order: Resting) -> None:
        """Walk the visible book; orders of our own that stand in the way are cancelled instead of matched."""
        is_bid, limit = order.is_bid, order.price
        opposite = self._shown.asks if is_bid else self._shown.bids
        for price, lots in opposite.takeable():
            if price > limit if is_bid else price < limit:
                break
            self._clear_own(is_bid, price)
            matched = self._fill(order, min(lots, order.left), price, Liquidity.TAKER)
            opposite.take(price, matched)
            if not order.live:
                return
        self._clear_own(is_bid, limit)

    def _clear_own(self, is_bid: bool, limit: int) -> None:
        """End our own orders of the opposite side at `limit` or better: the resting order expires."""
        own = self._asks if is_bid else self._bids
        for level in own.from_best():
            if level.price > limit if is_bid else level.price < limit:
                return
            for order in tuple(level.orders):
                self._end(order, CancelReason.SELF_TRADE)

    # Answers ---------------------------------------------------------------------------------------------------------

    def _refuse(self, order: Order, code: RejectReason, text: str, shortfall: int | None = None) -> None:
        assert order.order_id is not None  # noqa: S101  (checked when it was sent)
        self._refusal_count += 1
        self._answer(
            Rejected(
                event_id=f"refused:{self._refusal_count}",
                exchange_ns=self._now_ns,
                local_ns=self._answer_ns(),
                order_id=order.order_id,
                code=code,
                text=text,
                mark=self.mark,
                shortfall=shortfall,
            )
        )

    def _end(self, order: Resting, reason: CancelReason, text: str = "", shortfall: int | None = None) -> None:
        moved: float | None = None
        if reason is CancelReason.MARGIN and self._shown.mark is not None:
            moved = float(abs(Fraction(self._shown.mark) - order.mark) / order.mark * 10_000)
        self._forget(order)
        self._answer(
            Cancelled(
                event_id=f"cancelled:{order.venue_order_id}",
                exchange_ns=self._now_ns,
                local_ns=self._answer_ns(),
                order_id=order.order_id,
                venue_order_id=order.venue_order_id,
                lots_left=order.left,
                reason=reason,
                text=text,
                mark=self.mark,
                mark_moved_bps=moved,
                shortfall=shortfall,
            )
        )

    def _forget(self, order: Resting) -> None:
        order.live = False
        del self._open[order.order_id]
        (self._bids if order.is_bid else self._asks).remove(order)

    def _mark_price(self) -> Decimal:
        mark = self.mark
        assert mark is not None, "a match before the first market"  # noqa: S101
        return mark

    def _answer_ns(self) -> int:
        """Arrival of the message in which the venue reports the current step; one draw per step."""
        if not self._answer_drawn:
            travel = self._config.latency.to_client.draw(self._random)
            arrival = self._now_ns - self._offset_ns + travel
            # One connection: an answer never overtakes an earlier one.
            self._answer_arrival_ns = max(self._answer_arrival_ns, arrival)
            self._answer_drawn = True
        return self._answer_arrival_ns

    def _answer(self, event: VenueEvent) -> None:
        self._answers.append(event)
