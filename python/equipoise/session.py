"""The trading session: quote, hold margin, place, book what happens, pull, close.

`Session` is a state machine without I/O. A driver feeds it market events, venue events and the time, and carries out
the actions it returns, so one object runs in a replay, on the paper venue in real time, and before a live adapter.

One cycle::

    QUIET ──quote, reserve, place──▶ WORKING ──moved, filled, aged, stale──▶ PULLING ──all confirmed──▶ QUIET

Orders about to be replaced still hold margin, so a new ladder is computed only after every cancel is confirmed: the
margin the quoter sees is the margin that the book and the venue will see.

What happens when something fails:

* the venue refuses an order for margin: its hold is released, the refusal is counted, and the session waits
  `backoff_ms`; a refusal is a defect of the rule or a moved mark, never something to repeat at once;
* a match is refused for margin: counted as MARK_MOVED when the mark has left `mark_buffer_bps` since the quote, as
  MARGIN_AT_MATCH otherwise;
* market data stop: everything is pulled once the newest event is older than `stale_after_ms`;
* an answer is lost (`Unresolved`): the hold stays, nothing is sent again, and quoting stops until the order's fate is
  known.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from time import perf_counter_ns
from typing import TYPE_CHECKING, Protocol

from equipoise._rust import AccountState, Market
from equipoise.orders import Order, Side
from equipoise.reservation.codes import Code
from equipoise.reservation.money import to_decimal
from equipoise.tape.events import BookSnapshot, MarketEvent, Quotes, Trade
from equipoise.venues.contract import (
    Acknowledged,
    Cancelled,
    CancelReason,
    Filled,
    Instrument,
    Rejected,
    RejectReason,
    TimeInForce,
    Unresolved,
    VenueEvent,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from equipoise._rust import OrderMarginRule, Quote, Shape
    from equipoise.estimator import ShapeEstimator
    from equipoise.recorder import Recorder
    from equipoise.reservation.contract import ReservationBook

__all__ = ["Action", "Cancel", "Phase", "Place", "Quoting", "Session", "SessionConfig"]

_log = logging.getLogger(__name__)

MILLI = 1_000_000
"""Nanoseconds in a millisecond."""
SCALE = 6
"""Amounts are micro-units."""


class Phase(StrEnum):
    """Where the session is in its cycle."""

    WARMUP = "warmup"
    """Nothing is quoted until the shape has been measured."""
    QUIET = "quiet"
    """Nothing rests, nothing is in flight."""
    WORKING = "working"
    """Orders rest or are on their way."""
    PULLING = "pulling"
    """Cancels are on their way."""
    CLOSING = "closing"
    """The run ends: orders are pulled, then the position is worked off."""
    DONE = "done"
    """Flat, nothing held."""


@dataclass(frozen=True, slots=True)
class Place:
    """Send these orders; their margin is held."""

    orders: tuple[Order, ...]
    time_in_force: TimeInForce


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask for the end of these orders."""

    order_ids: tuple[str, ...]


Action = Place | Cancel


class Quoting(Protocol):
    """What the session needs of a quoter."""

    def quote(self, market: Market, state: AccountState, *, rule: OrderMarginRule, shape: Shape) -> Quote:
        """A two-sided ladder for this market and account."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """How a session behaves.

    Parameters
    ----------
    account
        Account id in the reservation book.
    leverage
        Leverage at the venue, at least 1.
    position_max
        Limit on |position| in contracts; None: what the starting balance carries at the first mark.
    requote_interval_ms
        Age at which resting orders are replaced.
    requote_move_bps
        Move of the mid since the quote that replaces them earlier.
    stale_after_ms
        Age of the newest market event at which everything is pulled.
    backoff_ms
        Pause after a margin refusal.
    mark_buffer_bps
        Move of the mark the quoter provides for; a refused match beyond it counts as MARK_MOVED.
    close_slippage_bps
        How far through the best price the closing orders may reach.
    horizon_s
        Time over which a level may fill: the horizon of the shape.
    risk_aversion
        Absolute risk aversion per unit of account currency.
    unit_share
        Reference order of the shape, as a share of `position_max`.
    maker_fee_bps
        Fee that edges are net of.
    adverse_bps
        Adverse selection at the touch; None: as measured.
    refit_ms
        How often the shape is fitted again.
    verify
        Compare quote, book and venue, and the book with its own definition, after every event. Differences are counted.
    """

    account: str = "paper:1"
    leverage: Decimal = Decimal(10)
    position_max: Decimal | None = None
    requote_interval_ms: int = 2_000
    requote_move_bps: float = 1.0
    stale_after_ms: int = 2_000
    backoff_ms: int = 5_000
    mark_buffer_bps: float = 40.0
    close_slippage_bps: float = 50.0
    horizon_s: float = 10.0
    risk_aversion: float = 0.3
    unit_share: float = 0.1
    maker_fee_bps: float = 1.5
    adverse_bps: float | None = None
    refit_ms: int = 10_000
    verify: bool = False


class Session:
    """One symbol, one account, one quoter. See the module for the cycle and what happens on failure.

    Parameters
    ----------
    config
        Behaviour.
    instrument
        Steps and minimum order of what is traded.
    quoter, rule
        What to quote, and what the venue holds for it.
    book
        Where margin is held. The account must be open and funded.
    estimator
        Measures the shape; nothing is quoted before it is ready.
    recorder
        Takes samples and fills for the report.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        instrument: Instrument,
        quoter: Quoting,
        rule: OrderMarginRule,
        book: ReservationBook,
        estimator: ShapeEstimator,
        recorder: Recorder,
    ) -> None:
        self.config = config
        self.phase = Phase.WARMUP
        self.counters: Counter[str] = Counter(quotes=0, empty_quotes=0, orders=0, stale_pulls=0)
        if config.verify:
            self.counters.update(quote_differences=0, uncertified_quotes=0)
        self.refusals: Counter[str] = Counter(MARGIN_AT_PLACEMENT=0, MARGIN_AT_MATCH=0, MARK_MOVED=0)
        self.market: Market | None = None
        self.quote: Quote | None = None
        self.position_lots = 0
        self.position_max: Decimal | None = config.position_max
        self._instrument = instrument
        self._quoter = quoter
        self._rule = rule
        self._book = book
        self._estimator = estimator
        self._recorder = recorder
        self._live: dict[str, Order] = {}
        self._unresolved: set[str] = set()
        self._now_ns = 0
        self._data_ns = 0
        self._quoted_ns = 0
        self._quoted_mid = 0.0
        self._quoted_mark = Decimal(0)
        self._best = (0, 0)
        self._last: Decimal | None = None
        self._shape: Shape | None = None
        self._fitted_ns = 0
        self._touched = False
        self._resume_ns = 0
        self._cycle = 0
        # Signed cash flow of all fills less what was realised: with the position's value it gives the open result.
        self._carried = Fraction(0)

    # -- inputs ------------------------------------------------------------------------------------------------------

    def on_market(self, event: MarketEvent, now_ns: int) -> list[Action]:
        """A market event arrived."""
        self._now_ns = now_ns
        self._data_ns = now_ns
        self._estimator.update(event)
        if isinstance(event, Quotes):
            self._move(event.bid_ticks, event.ask_ticks)
        elif isinstance(event, BookSnapshot) and event.bid_ticks and event.ask_ticks:
            self._move(event.bid_ticks[0], event.ask_ticks[0])
        elif isinstance(event, Trade):
            self._last = self._instrument.price(event.price_ticks)
            if self.market is not None:
                self.market = self.market.moved(last=self._last)
        return self._act()

    def on_venue(self, event: VenueEvent, now_ns: int) -> list[Action]:
        """The venue answered."""
        self._now_ns = now_ns
        self.counters[type(event).__name__.lower()] += 1
        match event:
            case Acknowledged():
                self._book.acknowledge(self.config.account, event.order_id, event.venue_order_id)
            case Filled():
                self._on_fill(event)
            case Rejected():
                self._on_reject(event)
            case Cancelled():
                self._on_cancelled(event)
            case Unresolved():
                self._unresolved.add(event.order_id)
            case _:
                # The order had ended before the cancel arrived; its fill or refusal is on its way.
                return self._act()
        if not isinstance(event, Unresolved):
            # Whatever happened to the order, its fate is known now.
            self._unresolved.discard(event.order_id)
        return self._act()

    def on_time(self, now_ns: int) -> list[Action]:
        """Time passed without an event."""
        self._now_ns = now_ns
        return self._act()

    def finish(self, now_ns: int) -> list[Action]:
        """End the run: pull everything, then work off the position with reduce-only orders."""
        self._now_ns = now_ns
        if self.phase is not Phase.DONE:
            self.phase = Phase.CLOSING
        pulls = self._pull()
        return pulls or self._act()

    @property
    def deadline_ns(self) -> int | None:
        """When `on_time` must be called if nothing arrives before."""
        if self.phase is Phase.WORKING and self._data_ns:
            return self._data_ns + self.config.stale_after_ms * MILLI
        return None

    @property
    def live(self) -> tuple[str, ...]:
        """Ids of the orders that rest or are in flight."""
        return tuple(self._live)

    @property
    def shape(self) -> Shape | None:
        """The shape as last measured; None before the first quote."""
        return self._shape

    @property
    def mid(self) -> float:
        """Middle of the best prices; 0 before the first."""
        return float(self._instrument.tick) * (self._best[0] + self._best[1]) / 2

    @property
    def open_pnl(self) -> int:
        """Unrealised profit and loss at the mark, micro-units, rounded down."""
        if self.position_lots == 0 or self.market is None:
            return 0
        mark_ticks = Fraction(self.market.mark) / Fraction(self._instrument.tick)
        return int((mark_ticks * self.position_lots * self._instrument.unit_micros + self._carried) // 1)

    # -- decisions ---------------------------------------------------------------------------------------------------

    def _act(self) -> list[Action]:
        match self.phase:
            case Phase.WARMUP:
                if self._estimator.ready and self.market is not None:
                    self.phase = Phase.QUIET
                    return self._place_ladder()
            case Phase.QUIET:
                return self._place_ladder()
            case Phase.WORKING:
                if not self._live:
                    self.phase = Phase.QUIET
                    return self._place_ladder()
                if self._must_pull():
                    self.phase = Phase.PULLING
                    return self._pull()
            case Phase.PULLING:
                if not self._live:
                    self.phase = Phase.QUIET
                    return self._place_ladder()
            case Phase.CLOSING:
                if not self._live:
                    return self._close_position()
            case Phase.DONE:
                pass
        return []

    def _must_pull(self) -> bool:
        config = self.config
        if self._now_ns - self._data_ns >= config.stale_after_ms * MILLI:
            self.counters["stale_pulls"] += 1
            return True
        age = self._now_ns - self._quoted_ns
        moved = abs(self.mid - self._quoted_mid) >= config.requote_move_bps * 1e-4 * self._quoted_mid
        return self._touched or moved or age >= config.requote_interval_ms * MILLI

    def _pull(self) -> list[Action]:
        if not self._live:
            return []
        for order_id in self._live:
            self._book.request_cancel(self.config.account, order_id)
        return [Cancel(tuple(self._live))]

    def _move(self, bid_ticks: int, ask_ticks: int) -> None:
        if (bid_ticks, ask_ticks) == self._best or bid_ticks >= ask_ticks:
            return
        self._best = (bid_ticks, ask_ticks)
        bid, ask = self._instrument.price(bid_ticks), self._instrument.price(ask_ticks)
        mid = (bid + ask) / 2
        if self.market is None:
            self.market = self._instrument.market(bid, ask, mid, self._last or mid)
        else:
            self.market = self.market.moved(bid=bid, ask=ask, mark=mid, last=self._last or mid)

    # -- quoting -----------------------------------------------------------------------------------------------------

    def _place_ladder(self) -> list[Action]:
        stale = self._now_ns - self._data_ns >= self.config.stale_after_ms * MILLI
        if stale or self._now_ns < self._resume_ns or self._unresolved or self.market is None:
            return []
        self._cycle += 1
        self.value_position(self.market)
        state = self._account_state(self.market)
        shape = self._fitted()
        started = perf_counter_ns()
        quote = self._quoter.quote(self.market, state, rule=self._rule, shape=shape)
        quote_us = (perf_counter_ns() - started) / 1_000
        self.quote = quote
        self._quoted_ns, self._quoted_mid, self._touched = self._now_ns, self.mid, False
        self._quoted_mark = self.market.mark
        self.counters["quotes"] += 1
        orders = self._hold(quote.orders(), f"quote-{self._cycle}")
        self._sample(self.market, quote, quote_us)
        if not orders:
            self.counters["empty_quotes"] += 1
            self._resume_ns = max(self._resume_ns, self._now_ns + self.config.requote_interval_ms * MILLI)
            return []
        if self.config.verify:
            self._verify_hold(quote)
        self.phase = Phase.WORKING
        self.counters["orders"] += len(orders)
        return [Place(orders, TimeInForce.POST_ONLY)]

    def _hold(self, orders: Sequence[Order], request_id: str) -> tuple[Order, ...]:
        """Hold the margin of all orders or of none; the orders with their ids when it is held."""
        if not orders:
            return ()
        named = tuple(replace(order, order_id=f"{request_id}:{index}") for index, order in enumerate(orders))
        outcome = self._book.reserve(self.config.account, named, request_id=request_id, send="caller")
        if not outcome.ok:
            # The quoter promised what the book does not have: never sent, never hidden.
            self.refusals[f"BOOK_{outcome.code.name}"] += len(named)
            _log.warning("%s: the book refused %d orders: %s", request_id, len(named), outcome.code.name)
            self._resume_ns = self._now_ns + self.config.backoff_ms * MILLI
            return ()
        self._live = {str(order.order_id): order for order in named}
        return named

    def _account_state(self, market: Market) -> AccountState:
        account = self._book.account(self.config.account)
        if self.position_max is None:
            lots = Fraction(account.balance) * Fraction(self.config.leverage) / Fraction(market.mark)
            self.position_max = self._instrument.lot * int(lots / Fraction(self._instrument.lot))
        return AccountState(
            margin_available=account.free,
            position=self._instrument.size(self.position_lots),
            leverage=self.config.leverage,
            position_max=self.position_max,
            equity=account.equity,
        )

    def _fitted(self) -> Shape:
        """The shape, measured anew every `refit_ms`."""
        if self._shape is None or self._now_ns - self._fitted_ns >= self.config.refit_ms * MILLI:
            self._fitted_ns = self._now_ns
            overrides = {} if self.config.adverse_bps is None else {"adverse_bps": self.config.adverse_bps}
            self._shape = self._estimator.shape(
                horizon_s=self.config.horizon_s,
                risk_aversion=self.config.risk_aversion,
                unit=self.config.unit_share * float(self.position_max or 0) or float(self._instrument.lot),
                fee_bps=self.config.maker_fee_bps,
                **overrides,
            )
        return self._shape

    def value_position(self, market: Market) -> None:
        """Bring the book's position margin and open result to the present mark, as the venue counts them."""
        account, symbol = self.config.account, self._instrument.symbol
        margin = self._rule.required_micros(market, self.config.leverage, self.position_lots, [], [], [])
        self._book.revalue(account, symbol, to_decimal(margin, SCALE))
        self._book.mark(account, {symbol: to_decimal(self.open_pnl, SCALE)})

    def _close_position(self) -> list[Action]:
        if self.position_lots == 0:
            self.phase = Phase.DONE
            return []
        side = Side.ASK if self.position_lots > 0 else Side.BID
        reach = self.config.close_slippage_bps * 1e-4
        if side is Side.ASK:
            price = self._instrument.price_floor(int(self._best[0] * (1 - reach)))
        else:
            price = self._instrument.price_ceil(int(self._best[1] * (1 + reach)) + 1)
        self._cycle += 1
        order = self._instrument.order(side, abs(self.position_lots), price, order_id="", reduce_only=True)
        orders = self._hold([order], f"close-{self._cycle}")
        self.counters["closing_orders"] += len(orders)
        return [Place(orders, TimeInForce.IOC)] if orders else []

    # -- what the venue says -----------------------------------------------------------------------------------------

    def _on_fill(self, event: Filled) -> None:
        assert self.market is not None, "a fill before any market"  # noqa: S101
        before = self.position_lots
        signed = event.lots if event.side is Side.BID else -event.lots
        closing = min(event.lots, abs(before)) if before * signed < 0 else 0
        opened = event.lots - closing
        margin = 0
        if opened:
            margin = self._rule.charge_micros(
                self.market, self.config.leverage, event.side is Side.BID, opened, event.price_ticks
            )
        outcome = self._book.fill(
            self.config.account,
            event.order_id,
            event.lots,
            fill_id=event.fill_id,
            margin=to_decimal(margin, SCALE),
            realised_pnl=to_decimal(event.realised_pnl, SCALE),
            fee=to_decimal(event.fee, SCALE),
        )
        if outcome.code in (Code.DUPLICATE, Code.REQUEST_CONFLICT):
            # Feeds repeat themselves after a reconnect; the position moves once.
            self.counters["repeated_fills"] += 1
            return
        self.position_lots = before + signed
        self._carried -= signed * event.price_ticks * self._instrument.unit_micros + event.realised_pnl
        if event.lots_left == 0:
            self._live.pop(event.order_id, None)
        self._touched = True
        self.counters["maker_fills" if event.liquidity.value == "maker" else "taker_fills"] += 1
        self._recorder.fill(self._now_ns, self.market, event)

    def _on_reject(self, event: Rejected) -> None:
        repeated = self._live.pop(event.order_id, None) is None
        self._book.reject(self.config.account, event.order_id, event_id=event.event_id, reason=event.text)
        if repeated:
            return
        if event.code is RejectReason.MARGIN:
            self.refusals["MARGIN_AT_PLACEMENT"] += 1
            _log.warning("%s: refused for margin: %s", event.order_id, event.text)
            self._resume_ns = self._now_ns + self.config.backoff_ms * MILLI
        else:
            self.refusals[event.code.name] += 1

    def _on_cancelled(self, event: Cancelled) -> None:
        repeated = self._live.pop(event.order_id, None) is None
        self._book.cancel(self.config.account, event.order_id, event_id=event.event_id, reason=event.reason.value)
        if not repeated and event.reason is CancelReason.MARGIN:
            name = "MARK_MOVED" if self._mark_moved(event) else "MARGIN_AT_MATCH"
            self.refusals[name] += 1
            _log.warning("%s: %s, %d lots, mark %s", event.order_id, name, event.lots_left, event.mark)

    def _mark_moved(self, event: Cancelled) -> bool:
        """Whether the mark has left the buffer around the mark that the ladder was quoted at."""
        if event.mark is None or not self._quoted_mark:
            return event.mark_moved_bps is not None and event.mark_moved_bps > self.config.mark_buffer_bps
        buffer = Decimal(repr(self.config.mark_buffer_bps))
        return abs(event.mark - self._quoted_mark) * 10_000 > self._quoted_mark * buffer

    # -- notes -------------------------------------------------------------------------------------------------------

    def _sample(self, market: Market, quote: Quote, quote_us: float) -> None:
        account = self._book.account(self.config.account)
        self._recorder.sample(
            self._now_ns,
            market,
            quote,
            balance=account.balance_units,
            open_pnl=self.open_pnl,
            position_lots=self.position_lots,
            margin_executed=account.executed_units,
            quote_us=quote_us,
        )

    def _verify_hold(self, quote: Quote) -> None:
        """What the quote says it holds is what the book holds for it, to the micro-unit."""
        account = self._book.account(self.config.account)
        if account.all_units - account.executed_units != quote.margin_held_micros:
            self.counters["quote_differences"] += 1
        if not quote.certificate.ok:
            self.counters["uncertified_quotes"] += 1
