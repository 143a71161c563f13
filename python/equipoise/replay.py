"""Runs a session over a tape on the paper venue: the driver behind `equipoise replay` and `equipoise run`.

The driver carries market events to the venue and to the session in local time, delivers the venue's answers when
they have travelled back, wakes the session at its deadlines, and ends with cancel-all and a reduce-only close. Time
comes from the tape: the same tape, configuration and seed give the same run (only a quote's duration is measured).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from decimal import Decimal
from typing import Any

from equipoise._rust import OrderMarginRule, Shape
from equipoise.errors import InputError
from equipoise.estimator import ShapeEstimator
from equipoise.quoter import Quoter, QuoterConfig
from equipoise.record import RunRecord
from equipoise.recorder import Recorder
from equipoise.reservation.contract import ReservationBook
from equipoise.session import Action, Cancel, Phase, Place, Quoting, Session, SessionConfig
from equipoise.tape import Tape
from equipoise.tape.events import MarketEvent
from equipoise.venues.contract import Instrument
from equipoise.venues.paper import PaperConfig, PaperVenue

__all__ = ["ReplayConfig", "Replayed", "replay"]

CLOSE_LIMIT_NS = 60_000_000_000
"""How long after the tape's end answers may still travel."""
STEP_NS = 50_000_000
"""Step in which time passes once the tape has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayConfig:
    """One run.

    Parameters
    ----------
    rule
        Name of the order-margin rule that quoter, book and venue share.
    balance
        Money at the start, account currency.
    quoter, session
        What to quote and how to act. The mark buffer of both defaults to 40 bps here: the mark moves between the quote
        and the match.
    notional_min
        Smallest order value of the instrument.
    maker_fee_bps, taker_fee_bps
        Fees of the paper venue.
    book
        URL of the reservation book.
    seed
        Of the venue's travel times.
    events_max
        Stop after so many market events; None: the whole tape.
    """

    rule: str = "sum"
    balance: Decimal = Decimal(400)
    quoter: QuoterConfig = field(default_factory=lambda: QuoterConfig(mark_buffer_bps=40.0))
    session: SessionConfig = field(default_factory=SessionConfig)
    notional_min: Decimal = Decimal(10)
    maker_fee_bps: Decimal = Decimal("1.5")
    taker_fee_bps: Decimal = Decimal("4.5")
    book: str = "memory:"
    seed: int = 1
    events_max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How a run ended: its record, and the figures in the book and at the venue when it was over, in micro-units."""

    record: RunRecord
    flat: bool
    used_margin_all: int
    used_margin_executed: int
    balance_book: int
    balance_venue: int
    shape: Shape | None
    """As measured at the end of the tape; None where the warm-up was never over."""


class _Run:
    """State of one replay: the venue, the session, and the local time."""

    def __init__(self, tape: Tape, config: ReplayConfig, book: ReservationBook, quoter: Quoting | None) -> None:
        self.now_ns = 0
        self.config = config
        self.instrument = Instrument(symbol=tape.symbol, tick=tape.tick, lot=tape.lot, notional_min=config.notional_min)
        rule = OrderMarginRule.venue(config.rule).replace(
            maker_fee=config.maker_fee_bps / 10_000, taker_fee=config.taker_fee_bps / 10_000
        )
        paper = PaperConfig(
            leverage=config.session.leverage,
            balance=int(config.balance * 1_000_000),
            maker_fee_bps=config.maker_fee_bps,
            taker_fee_bps=config.taker_fee_bps,
            seed=config.seed,
        )
        if rule.combine == "hedge_legs":
            raise InputError("rule", None, "one for netted positions (the paper venue has no hedge mode)", config.rule)
        self.combine = rule.combine
        self.venue = PaperVenue(self.instrument, rule, paper)
        self.book = book
        self.recorder = Recorder(config.quoter.levels)
        self.estimator = ShapeEstimator()
        self.session = Session(
            config.session,
            instrument=self.instrument,
            quoter=quoter if quoter is not None else Quoter(config.quoter),
            rule=rule,
            book=book,
            estimator=self.estimator,
            recorder=self.recorder,
        )

    def market(self, event: MarketEvent) -> None:
        """One event of the tape, with everything that is due before it."""
        self.time(event.local_ns)
        self.venue.advance(event)
        self.now_ns = max(self.now_ns, event.local_ns)
        answered = self.answers()
        self.act(self.session.on_market(event, self.now_ns))
        if answered and self.config.session.verify:
            self.compare_venue()

    def time(self, until_ns: int) -> None:
        """Wake the session at its deadlines before `until_ns`."""
        while (deadline := self.session.deadline_ns) is not None and deadline < until_ns:
            self.now_ns = max(self.now_ns, deadline)
            self.venue.advance(self.now_ns)
            self.answers()
            before = self.session.phase
            self.act(self.session.on_time(self.now_ns))
            if self.session.phase is before:
                break

    def answers(self) -> bool:
        """Deliver what has travelled back by now; whether there was anything."""
        events = self.venue.drain(self.now_ns)
        for event in events:
            self.act(self.session.on_venue(event, self.now_ns))
            if self.config.session.verify:
                self.compare_book()
        return bool(events)

    def act(self, actions: list[Action]) -> None:
        """Carry out what the session decided."""
        for action in actions:
            match action:
                case Place():
                    self.venue.submit(action.orders, self.now_ns, action.time_in_force)
                case Cancel():
                    self.venue.cancel(action.order_ids, self.now_ns)
        if actions and self.config.session.verify:
            self.compare_book()

    def end(self) -> None:
        """Cancel everything, close the position, wait until the last answer has arrived."""
        self.act(self.session.finish(self.now_ns))
        limit_ns = self.now_ns + CLOSE_LIMIT_NS
        while self.session.phase is not Phase.DONE and self.now_ns < limit_ns:
            self.now_ns += STEP_NS
            self.venue.advance(self.now_ns)
            self.answers()
            self.act(self.session.on_time(self.now_ns))
        self.answers()

    def compare_book(self) -> None:
        """The book against its own definition; every difference is counted."""
        counters = self.session.counters
        counters["book_comparisons"] += 1
        counters["book_differences"] += not _meets_definition(self.book, self.config.session.account, self.combine)

    def compare_venue(self) -> None:
        """The book against the venue, when nothing is in flight and both have seen the same market."""
        market, counters = self.session.market, self.session.counters
        if self.venue.in_flight or market is None or market.mark != self.venue.mark:
            return
        self.session.value_position(market)
        account, at_venue = self.book.account(self.config.session.account), self.venue.account()
        margins = (account.all_units, account.executed_units) == (
            self.venue.margin_required(),
            at_venue.margin_position,
        )
        money = (account.balance_units, self.session.position_lots) == (at_venue.balance, at_venue.position_lots)
        counters["venue_comparisons"] += 1
        counters["venue_differences"] += not (margins and money)


def _meets_definition(book: ReservationBook, account_id: str, combine: str) -> bool:
    """Used margin from live orders and the position alone, by a second, plain reading of the combine rule."""
    orders, rows = book.orders(account_id), book.symbols(account_id)
    position, margin = sum(row.lots for row in rows), sum(row.margin for row in rows)
    bids, asks = (sum(order.hold for order in orders if order.side == side) for side in ("bid", "ask"))
    held = margin + bids + asks
    if combine in ("worst_side", "per_side"):
        signed = margin if position >= 0 else -margin
        held = max(abs(signed + bids), abs(signed - asks))
    elif combine == "larger_leg":
        charged = [order for order in orders if order.hold > 0]
        rates = [-(-order.hold_start // order.lots) for order in charged]
        buys, sells = (sum(order.working for order in charged if order.side == side) for side in ("bid", "ask"))
        rates += [-(-margin // abs(position))] if position else []
        held = max(rates, default=0) * max(buys + max(position, 0), sells + max(-position, 0))
        margin = rates[-1] * abs(position) if position else 0
    account = book.account(account_id)
    return account.all_units == held and account.executed_units == margin


def replay(
    tape: Tape,
    config: ReplayConfig | None = None,
    *,
    title: str = "",
    quoter: Quoting | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Replayed:
    """Quote, hold, place, fill and release over a whole tape.

    Parameters
    ----------
    tape
        From `equipoise.tape`: recorded or generated.
    config
        The run; defaults where None.
    title
        Of the record.
    quoter
        Instead of the one that the configuration describes, for comparisons.
    progress
        Called with (market events so far, local nanoseconds of the last one).

    Returns
    -------
    Replayed
        The record, and whether everything ended at zero.
    """
    config = config if config is not None else ReplayConfig()
    clock = [0]
    with ReservationBook.connect(config.book, clock=lambda: clock[0] // 1000) as book:
        opened = book.open_account(
            config.session.account, config.balance, rule=OrderMarginRule.venue(config.rule), request_id="open"
        )
        if not opened.done:
            raise InputError("rule", None, f"one that the book keeps ({opened.code.name})", config.rule)
        run = _Run(tape, config, book, quoter)
        count = 0
        for count, event in enumerate(tape, start=1):
            clock[0] = max(clock[0], event.local_ns)
            run.market(event)
            if progress is not None and count % 512 == 0:
                progress(count, event.local_ns)
            if config.events_max is not None and count >= config.events_max:
                break
        run.end()
        return _ended(run, tape, config, title, count)


def _ended(run: _Run, tape: Tape, config: ReplayConfig, title: str, events: int) -> Replayed:
    session = run.session
    account = run.book.account(config.session.account)
    at_venue = run.venue.account()
    session.counters["market_events"] = events
    for name, value in run.venue.counters.items():
        session.counters[f"venue_{name}"] += value
    record = run.recorder.record(
        title=title or f"{tape.symbol} · {config.rule}",
        symbol=tape.symbol,
        market_source=tape.source,
        rule=config.rule,
        policy=str(config.quoter.policy),
        optimizer=str(config.quoter.optimizer),
        leverage=float(config.session.leverage),
        balance_start=float(config.balance),
        seed=config.seed,
        ended_ns=run.now_ns,
        refusals=session.refusals,
        counters=session.counters,
        position_max=float(session.position_max or 0),
        settings={"replay": _texts(config), "quoter": _texts(config.quoter), "session": _texts(config.session)},
        notes=_notes(run),
    )
    return Replayed(
        record=record,
        flat=session.phase is Phase.DONE and at_venue.position_lots == 0,
        used_margin_all=account.all_units,
        used_margin_executed=account.executed_units,
        balance_book=account.balance_units,
        balance_venue=at_venue.balance,
        shape=session.shape,
    )


def _texts(config: Any) -> dict[str, str]:
    values = ((entry.name, getattr(config, entry.name)) for entry in fields(config))
    return {name: str(value) for name, value in values if not is_dataclass(value)}


def _notes(run: _Run) -> tuple[str, ...]:
    notes = [f"Shape measured from the tape; nothing was quoted for the first {run.estimator.warmup_s:g} s."]
    if run.session.counters["orders"] == 0:
        notes.append(
            "No order was sent: with the measured adverse selection and this fee no ladder had value. "
            'on_unprofitable = "least_bad" quotes smallest orders all the same.'
        )
    return tuple(notes)
