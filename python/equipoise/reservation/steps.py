"""The steps of the book: one pure function per operation.

A step reads the records it needs through a `View`, checks everything, computes every new value and only then describes
what to write: an `Effect`. It never writes. A store loads records, runs the step inside its lock or transaction and
writes the effect as a whole, so every store has the same semantics, and a refusal cannot leave anything behind.
The cost of a step depends on the orders it names, never on how many rest (larger_leg: logarithmically).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from equipoise.reservation.codes import AccountStatus, Code, OrderState
from equipoise.reservation.money import AMOUNT_MAX, MICRO_SCALE, held
from equipoise.reservation.records import (
    STATE_AT,
    STATE_END,
    SYMBOL_START,
    BookAccount,
    BookOrder,
    BookSymbol,
    OrderRow,
    Outcome,
    RawJournal,
    Remembered,
    Terms,
    outcome_of,
)
from equipoise.reservation.requests import (
    Abandon,
    Archive,
    Ask,
    Close,
    Execute,
    Fill,
    Mark,
    Money,
    OpenAccount,
    OrderEvent,
    Request,
    Reserve,
    Resolve,
    Revalue,
    SetTerms,
    Suspend,
    Sweep,
    Timed,
)

__all__ = ["Effect", "RateKey", "View", "order_rate", "requirement", "terms_fault"]

RESERVED, SENT, LIVE, UNKNOWN = OrderState.RESERVED, OrderState.SENT, OrderState.LIVE, OrderState.UNKNOWN
FILLED, REJECTED, CANCELLED, EXPIRED, CLOSED = (
    OrderState.FILLED,
    OrderState.REJECTED,
    OrderState.CANCELLED,
    OrderState.EXPIRED,
    OrderState.CLOSED,
)
OK = Code.OK
NOT_TERMINAL = frozenset({RESERVED, SENT, LIVE, UNKNOWN})
AWAITING_VENUE = frozenset({RESERVED, SENT, UNKNOWN})

RateKey = tuple[str, str, str]
"""(symbol, leg, "orders" | "tickets"): one counted set of charges per lot."""
RateDeltas = dict[RateKey, dict[int, int]]


class View(Protocol):
    """Records of one account as they stand at the start of a step."""

    def account(self) -> BookAccount | None:
        """The account, if it exists."""

    def symbol(self, symbol: str, leg: str) -> BookSymbol | None:
        """Running totals of a symbol and leg."""

    def symbols(self) -> Iterable[BookSymbol]:
        """Running totals of every symbol and leg."""

    def order(self, order_id: str) -> BookOrder | None:
        """An order by its id or by an alias."""

    def live(self) -> Iterable[BookOrder]:
        """Orders that are not terminal."""

    def settled(self, until_us: int) -> Iterable[BookOrder]:
        """Terminal orders without an open position of their own, last changed at or before a time."""

    def request(self, ident: str) -> Remembered | None:
        """What an account-level id was used for."""

    def event(self, order_id: str, ident: str) -> Remembered | None:
        """What an event id of an order was used for."""

    def owned(self, owner: str) -> int:
        """Sum of the holds of an owner's orders."""

    def rate_top(self, key: RateKey, deltas: dict[int, int]) -> int:
        """Highest rate of a counted set after the deltas; 0 when it is empty."""


@dataclass(slots=True)
class Effect:
    """Answer of a step and everything to be written for it; a refusal writes nothing."""

    outcome: Outcome
    account: BookAccount | None = None
    symbols: tuple[BookSymbol, ...] = ()
    orders: tuple[BookOrder, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    owners: tuple[tuple[str, int], ...] = ()
    rates: RateDeltas | None = None
    journal: RawJournal | None = None
    request: tuple[str, Remembered] | None = None
    event: tuple[str, str, Remembered] | None = None
    archived: tuple[str, ...] = ()
    """Orders to delete, with their events and aliases."""
    watermark_us: int | None = None
    """Request ids issued at or before are to be deleted."""


# --- what a symbol requires -----------------------------------------------------------------------------------------


def _require_sum(row: BookSymbol) -> tuple[int, int]:
    return row.margin, row.margin + row.hold_bids + row.hold_asks


def _require_worst_side(row: BookSymbol) -> tuple[int, int]:
    margin = row.margin
    signed = margin if row.lots >= 0 else -margin
    return margin, max(abs(signed + row.hold_bids), abs(signed - row.hold_asks))


def _require_larger_leg(row: BookSymbol) -> tuple[int, int]:
    if row.long_lots or row.short_lots:
        long, short, rate = row.long_lots, row.short_lots, row.rate_tickets
    else:
        long, short = max(row.lots, 0), max(-row.lots, 0)
        rate = -(-row.margin // (long + short)) if row.lots else 0
    return (
        rate * max(long, short),
        max(rate, row.rate_orders) * max(long + row.bid_lots, short + row.ask_lots),
    )


COMBINE_RULES: dict[str, Callable[[BookSymbol], tuple[int, int]]] = {
    "sum": _require_sum,
    "worst_side": _require_worst_side,
    "per_side": _require_worst_side,
    "hedge_legs": _require_sum,  # legs are rows of their own, and what closes a leg holds nothing
    "larger_leg": _require_larger_leg,
}
POSITION_MODES = ("net", "hedge", "tickets")


def requirement(combine: str, row: BookSymbol) -> tuple[int, int]:
    """(margin of the position alone, margin of position and resting orders) of one symbol and leg."""
    return COMBINE_RULES[combine](row)


def order_rate(hold_start: int, lots: int) -> int:
    """Charge per lot, rounded up. Partial releases by `held` leave it unchanged."""
    return -(-hold_start // lots)


def terms_fault(terms: Terms) -> str | None:
    """Why the book cannot keep an account on these terms; None if it can."""
    if terms.combine not in COMBINE_RULES:
        return "the combine rule needs every resting price or a moving mark"
    if (terms.combine == "hedge_legs") and terms.positions != "hedge":
        return "hedge_legs needs hedge positions"
    if terms.positions == "hedge" and terms.combine not in ("hedge_legs", "sum"):
        return "hedge positions combine by hedge_legs or sum"
    if terms.positions == "tickets" and terms.combine not in ("sum", "larger_leg"):
        return "ticket positions combine by sum or larger_leg"
    return None


# --- shared parts ---------------------------------------------------------------------------------------------------


def _refuse(code: Code, request: Request, account: BookAccount | None, **more: Any) -> Effect:
    """A refusal: nothing is written."""
    if account is None:
        return Effect(Outcome(code, request.op, request.account_id, **more))
    totals = account.totals
    return Effect(Outcome(code, request.op, request.account_id, account.version, account.scale, totals, totals, **more))


def _again(found: Remembered, request: Request, account: BookAccount | None) -> Effect:
    """Answer to an id that has been used: the first result, or a conflict when the content differs."""
    fingerprint, _, packed = found
    if fingerprint != request.fingerprint or packed is None:
        return _refuse(Code.REQUEST_CONFLICT, request, account)
    first = outcome_of(request.account_id, packed)
    return Effect(first._replace(code=Code.DUPLICATE) if first.code is OK else first)


def _gate(view: View, request: Timed, account: BookAccount | None, now: int) -> Effect | None:
    """Id first, then the watermark, then the validity, then the tombstone."""
    found = view.request(request.ident) if request.ident else None
    if found is not None and found[2] is not None:
        return _again(found, request, account)
    if account is not None and request.issued_us <= account.watermark_us:
        return _refuse(Code.TOO_OLD_FOR_DEDUPE, request, account)
    if now > request.not_after_us:
        return _refuse(Code.REQUEST_EXPIRED, request, account)
    if found is not None:
        return _refuse(Code.REQUEST_ABANDONED, request, account)
    return None


def _growth_gate(request: Request, account: BookAccount) -> Effect | None:
    """Accounts that may not ask for more."""
    if account.status is AccountStatus.ACTIVE:
        return None
    suspended = account.status is AccountStatus.SUSPENDED
    return _refuse(Code.ACCOUNT_SUSPENDED if suspended else Code.ACCOUNT_RECOVERING, request, account)


def _stale(view: View, account: BookAccount, now: int) -> bool:
    """Whether a position has not been marked for longer than the terms allow."""
    age_ms = account.terms.mark_age_ms_max
    if age_ms is None:
        return False
    oldest = now - age_ms * 1000
    return any(row.marked_us < oldest and (row.lots or row.long_lots or row.short_lots) for row in view.symbols())


def _row(view: View, symbol: str, leg: str) -> BookSymbol:
    """The symbol's totals, or fresh ones."""
    found = view.symbol(symbol, leg)
    return found if found is not None else SYMBOL_START._replace(symbol=symbol, leg=leg)


def _order_change(before: BookOrder | None, after: BookOrder) -> tuple[Any, ...]:
    """(order id, state before, state after): an `OrderChange` as an exact tuple."""
    return (after[0], None if before is None else _snapshot(before), _snapshot(after))


def _snapshot(order: BookOrder) -> tuple[Any, ...]:
    """The journalled part of an order."""
    return (order.state._value_, *order[STATE_AT + 1 : STATE_END])


def _fits(row: BookSymbol) -> bool:
    """Whether sums of a symbol stay in range."""
    return (
        row.hold_bids <= AMOUNT_MAX
        and row.hold_asks <= AMOUNT_MAX
        and row.margin <= AMOUNT_MAX
        and -AMOUNT_MAX <= row.lots <= AMOUNT_MAX
        and row.bid_lots <= AMOUNT_MAX
        and row.ask_lots <= AMOUNT_MAX
    )


def _account_fits(account: BookAccount) -> bool:
    """Whether the account's figures stay in range."""
    return (
        -AMOUNT_MAX <= account.balance_units <= AMOUNT_MAX
        and 0 <= account.executed_units <= AMOUNT_MAX
        and 0 <= account.all_units <= AMOUNT_MAX
        and -AMOUNT_MAX <= account.free_units <= AMOUNT_MAX
    )


class _Draft:
    """The next state of one account while a step computes it."""

    __slots__ = (
        "account",
        "aliases",
        "balance",
        "counts",
        "details",
        "live",
        "now",
        "order_pairs",
        "owners",
        "pnl",
        "rates",
        "request",
        "rows",
        "status",
        "terms",
        "terms_version",
        "view",
        "watermark_us",
    )

    def __init__(self, view: View, request: Request, account: BookAccount, now: int) -> None:
        self.view = view
        self.request = request
        self.account = account
        self.now = now
        self.balance = account.balance_units
        self.pnl = account.open_pnl_units
        self.live = account.live_orders
        self.status = account.status
        self.watermark_us = account.watermark_us
        self.terms = account.terms
        self.terms_version = account.terms_version
        self.counts = (account.late_fills, account.overfills, account.under_reserved, account.pnl_missing)
        self.rows: dict[tuple[str, str], tuple[BookSymbol | None, BookSymbol]] = {}
        self.order_pairs: list[tuple[BookOrder | None, BookOrder]] = []
        self.aliases: tuple[tuple[str, str], ...] = ()
        self.owners: dict[str, int] = {}
        self.rates: RateDeltas | None = None
        self.details: tuple[tuple[str, Any], ...] = ()

    @property
    def version(self) -> int:
        """Version the account has after this step."""
        return self.account.version + 1

    def row(self, symbol: str, leg: str) -> BookSymbol:
        """Current totals of a symbol within the step."""
        pair = self.rows.get((symbol, leg))
        return pair[1] if pair is not None else _row(self.view, symbol, leg)

    def put_row(self, row: BookSymbol) -> None:
        """Replace a symbol's totals."""
        key = (row.symbol, row.leg)
        pair = self.rows.get(key)
        self.rows[key] = (self.view.symbol(*key) if pair is None else pair[0], row)

    def own(self, owner: str, change: int) -> None:
        """Change what an owner holds."""
        if owner and change:
            held_now = self.owners.get(owner)
            self.owners[owner] = (self.view.owned(owner) if held_now is None else held_now) + change

    def rate(self, row: BookSymbol, kind: str, rate: int, change: int) -> BookSymbol:
        """Count a rate in or out; returns the row with the set's maximum renewed."""
        if self.rates is None:
            self.rates = {}
        deltas = self.rates.setdefault((row.symbol, row.leg, kind), {})
        deltas[rate] = deltas.get(rate, 0) + change
        top = self.view.rate_top((row.symbol, row.leg, kind), deltas)
        return row._replace(rate_orders=top) if kind == "orders" else row._replace(rate_tickets=top)

    def totals(self) -> tuple[int, int]:
        """(used_margin_executed, used_margin_all) with the rows of this step."""
        require = COMBINE_RULES[self.account.terms.combine]
        executed, everything = self.account.executed_units, self.account.all_units
        for before, after in self.rows.values():
            if before is not None:
                was_executed, was_all = require(before)
                executed -= was_executed
                everything -= was_all
            now_executed, now_all = require(after)
            executed += now_executed
            everything += now_all
        return executed, everything

    def next_account(self) -> BookAccount:
        """The account after the step."""
        before = self.account
        executed, everything = self.totals()
        return BookAccount(
            before.account_id,
            before.currency,
            before.scale,
            before.opened_us,
            self.status,
            before.version + 1,
            self.balance,
            self.pnl,
            executed,
            everything,
            self.terms,
            self.terms_version,
            self.watermark_us,
            self.live,
            *self.counts,
            self.now,
        )

    def finish(
        self,
        *,
        after: BookAccount | None = None,
        code: Code = OK,
        order_id: str | None = None,
        state: OrderState | None = None,
        flags: tuple[str, ...] = (),
        orders: tuple[OrderRow, ...] = (),
    ) -> Effect:
        """Outcome, journal record and everything to write; AMOUNT_OVERFLOW when a figure would leave the range."""
        request, before = self.request, self.account
        if after is None:
            after = self.next_account()
        symbols, changes = [], []
        fits = _account_fits(after)
        for old, row in self.rows.values():
            symbols.append(row)
            changes.append((row[0], row[1], None if old is None else old[2:6], row[2:6]))
            fits = fits and _fits(row)
        if not fits:
            return _refuse(Code.AMOUNT_OVERFLOW, request, before, order_id=order_id)
        was, then = before.totals, after.totals
        op, ident, version, text = request.op, request.ident, after.version, code._value_
        journal = (
            version,
            self.now,
            op,
            ident,
            order_id or "",
            text,
            was,
            then,
            tuple(changes),
            tuple([_order_change(old, new) for old, new in self.order_pairs]),
            (*self.details, ("flags", flags)) if flags else self.details,
        )
        effect = Effect(
            Outcome(code, op, before.account_id, version, before.scale, was, then, order_id, state, flags, orders),
            after,
            tuple(symbols),
            tuple([new for _, new in self.order_pairs]),
            self.aliases,
            tuple(self.owners.items()) if self.owners else (),
            self.rates,
            journal,
        )
        state_text = None if state is None else state._value_
        packed = (text, op, version, before.scale, was, then, order_id, state_text, flags, orders)
        if isinstance(request, Timed):
            if ident:
                effect.request = (ident, (request.fingerprint, request.issued_us, packed))
        elif order_id is not None:
            effect.event = (order_id, ident, (request.fingerprint, self.now, packed))
        return effect


# --- accounts -------------------------------------------------------------------------------------------------------


def open_account(view: View, request: OpenAccount, now: int) -> Effect:
    """Open an account with its first balance and terms."""
    account = view.account()
    refusal = _gate(view, request, account, now)
    if refusal is not None:
        return refusal
    if account is not None:
        return _refuse(Code.ACCOUNT_EXISTS, request, account)
    if terms_fault(request.terms) is not None:
        return _refuse(Code.TERMS_INVALID, request, None)
    blank = BookAccount(
        request.account_id,
        request.currency,
        request.scale,
        now,
        AccountStatus.ACTIVE,
        0,
        0,
        0,
        0,
        0,
        request.terms,
        1,
        now - request.horizon_us,
        0,
        0,
        0,
        0,
        0,
        now,
    )
    draft = _Draft(view, request, blank, now)
    draft.balance = request.balance
    draft.details = (("currency", request.currency), ("scale", request.scale), ("terms", terms_content(request.terms)))
    return draft.finish()


def terms_content(terms: Terms) -> tuple[tuple[str, Any], ...]:
    """Terms as name and value pairs, for fingerprints and the journal."""
    return (
        ("combine", terms.combine),
        ("positions", terms.positions),
        ("pnl_policy", terms.pnl_policy),
        ("mark_age_ms_max", terms.mark_age_ms_max),
        ("orders_max", terms.orders_max),
        ("order_margin_max", terms.order_margin_max),
        ("margin_max", terms.margin_max),
        ("position_lots_max", terms.position_lots_max),
        ("owner_margin_max", terms.owner_margin_max),
    )


def _account_step(view: View, request: Timed, now: int) -> tuple[BookAccount | None, Effect | None]:
    """The account, or the answer that ends the step."""
    account = view.account()
    refusal = _gate(view, request, account, now)
    if refusal is None and account is None:
        refusal = _refuse(Code.ACCOUNT_NOT_FOUND, request, None)
    return account, refusal


def set_terms(view: View, request: SetTerms, now: int) -> Effect:
    """Replace the terms; combine and positions only when flat with no live orders."""
    account, refusal = _account_step(view, request, now)
    if refusal is not None or account is None:
        return cast(Effect, refusal)
    new, old = request.terms, account.terms
    if terms_fault(new) is not None:
        return _refuse(Code.TERMS_INVALID, request, account)
    if new.combine != old.combine or new.positions != old.positions:
        busy = account.live_orders or any(row.lots or row.long_lots or row.short_lots for row in view.symbols())
        if busy:
            return _refuse(Code.TERMS_INVALID, request, account)
    draft = _Draft(view, request, account, now)
    draft.terms = new
    draft.terms_version = account.terms_version + 1
    draft.details = (("terms", terms_content(new)),)
    return draft.finish()


def suspend(view: View, request: Suspend, now: int) -> Effect:
    """Refuse growth from now on, or lift that."""
    account, refusal = _account_step(view, request, now)
    if refusal is not None or account is None:
        return cast(Effect, refusal)
    draft = _Draft(view, request, account, now)
    draft.status = AccountStatus.SUSPENDED if request.on else AccountStatus.ACTIVE
    draft.details = (("status", draft.status.value),)
    return draft.finish()


def abandon(view: View, request: Abandon, now: int) -> Effect:
    """Return the effect of an id, or plant a tombstone that refuses a late arrival."""
    account = view.account()
    if account is None:
        return _refuse(Code.ACCOUNT_NOT_FOUND, request, None)
    found = view.request(request.ident)
    if found is not None:
        if found[2] is not None:
            return Effect(outcome_of(request.account_id, found[2])._replace(code=Code.DUPLICATE))
        return _refuse(Code.DUPLICATE, request, account)
    effect = _Draft(view, request, account, now).finish()
    effect.request = (request.ident, (request.fingerprint, request.issued_us, None))
    return effect


def archive(view: View, request: Archive, now: int) -> Effect:
    """Delete request ids and settled orders older than the horizon; the watermark moves forward only."""
    account = view.account()
    if account is None:
        return _refuse(Code.ACCOUNT_NOT_FOUND, request, None)
    watermark = now - request.horizon_us
    if watermark <= account.watermark_us:
        totals = account.totals
        return Effect(Outcome(OK, request.op, account.account_id, account.version, account.scale, totals, totals))
    draft = _Draft(view, request, account, now)
    draft.watermark_us = watermark
    gone = list(view.settled(watermark))
    draft.details = (("watermark_us", watermark), ("orders", len(gone)))
    effect = draft.finish()
    if effect.journal is not None:
        changes = tuple([(order.order_id, _snapshot(order), None) for order in gone])
        effect.journal = (*effect.journal[:9], changes, *effect.journal[10:])
    effect.archived = tuple([order.order_id for order in gone])
    effect.watermark_us = watermark
    return effect


def move_money(view: View, request: Money, now: int) -> Effect:
    """Deposit, withdraw or adjust the balance."""
    account, refusal = _account_step(view, request, now)
    if refusal is not None or account is None:
        return cast(Effect, refusal)
    if request.op == "withdraw":
        refusal = _growth_gate(request, account)
        if refusal is not None:
            return refusal
        if _stale(view, account, now):
            return _refuse(Code.STALE_MARK, request, account)
        room = account.withdrawable_units
        if -request.amount > room:
            return _refuse(Code.INSUFFICIENT_MARGIN, request, account, required_units=-request.amount, free_units=room)
    draft = _Draft(view, request, account, now)
    draft.balance += request.amount
    draft.details = (("amount", request.amount), ("kind", request.kind))
    return draft.finish()


def mark(view: View, request: Mark, now: int) -> Effect:  # noqa: ARG001 - every step has the same signature
    """Take in open profit or loss; ordered by as_of, not journalled, never touches used margin."""
    account = view.account()
    if account is None:
        return _refuse(Code.ACCOUNT_NOT_FOUND, request, None)
    pnl = account.open_pnl_units
    rows: list[BookSymbol] = []
    flags: set[str] = set()
    for symbol, leg, value in request.values:
        row = view.symbol(symbol, leg)
        if row is None or not (row.lots or row.long_lots or row.short_lots):
            flags.add("no_position")
        elif request.as_of_us < row.marked_us:
            flags.add("older")
        else:
            pnl += value - row.open_pnl
            rows.append(row._replace(open_pnl=value, marked_us=request.as_of_us))
    after = account._replace(open_pnl_units=pnl)
    if not -AMOUNT_MAX <= pnl <= AMOUNT_MAX or not _account_fits(after):
        return _refuse(Code.AMOUNT_OVERFLOW, request, account)
    outcome = Outcome(
        OK,
        request.op,
        account.account_id,
        account.version,
        account.scale,
        account.totals,
        after.totals,
        flags=tuple(sorted(flags)),
    )
    return Effect(outcome, after if rows else None, tuple(rows))


def revalue(view: View, request: Revalue, now: int) -> Effect:
    """Move a position's margin to what the venue holds for it now."""
    account, refusal = _account_step(view, request, now)
    if refusal is not None or account is None:
        return cast(Effect, refusal)
    terms = account.terms
    if terms.positions == "tickets" or (terms.positions == "hedge") != bool(request.leg):
        return _refuse(Code.TERMS_INVALID, request, account)
    row = _row(view, request.symbol, request.leg)
    if not row.lots and request.margin:
        return _refuse(Code.ILLEGAL_TRANSITION, request, account)
    older = request.as_of_us < row.revalued_us
    if older or (request.margin == row.margin and not request.ident):
        totals = account.totals
        flags = ("older",) if older else ()
        outcome = Outcome(
            OK, request.op, account.account_id, account.version, account.scale, totals, totals, flags=flags
        )
        moved = not older and row.revalued_us != request.as_of_us and row.lots != 0
        return Effect(outcome, symbols=(row._replace(revalued_us=request.as_of_us),) if moved else ())
    draft = _Draft(view, request, account, now)
    draft.put_row(row._replace(margin=request.margin, revalued_us=request.as_of_us))
    return draft.finish()


# --- asking for margin ----------------------------------------------------------------------------------------------


def _terms_allow(terms: Terms, account: BookAccount, ask: Ask, *, in_micros: bool) -> bool:
    """Whether the account's terms can carry this order at all."""
    if in_micros and account.scale != MICRO_SCALE:
        return False
    if (terms.positions == "hedge") != bool(ask.leg):
        return False
    return not (ask.reduce_only and terms.positions == "tickets")


def _closes_leg(ask: Ask) -> bool:
    return (ask.leg == "long" and ask.side == "ask") or (ask.leg == "short" and ask.side == "bid")


def _with_order(row: BookSymbol, ask: Ask, hold: int, *, reduces: bool) -> BookSymbol:
    """The symbol's totals with one more resting order."""
    if ask.side == "bid":
        if reduces:
            return row._replace(hold_bids=row.hold_bids + hold, reduce_bid_lots=row.reduce_bid_lots + ask.lots)
        return _rest(row, hold, 0, ask.lots, 0)
    if reduces:
        return row._replace(hold_asks=row.hold_asks + hold, reduce_ask_lots=row.reduce_ask_lots + ask.lots)
    return _rest(row, 0, hold, 0, ask.lots)


def _rest(row: BookSymbol, hold_bids: int, hold_asks: int, bid_lots: int, ask_lots: int) -> BookSymbol:
    """Add to the resting totals: the hot path of a ladder, so no keyword replacement."""
    return BookSymbol._make(
        (
            *row[:4],
            row[4] + hold_bids,
            row[5] + hold_asks,
            row[6] + bid_lots,
            row[7] + ask_lots,
            *row[8:],
        )
    )


def _over_position_limit(terms: Terms, row: BookSymbol, side: str) -> bool:
    """Whether the position would exceed its limit if everything resting on this side filled."""
    limit = terms.lots_limit.get(row.symbol)
    if limit is None:
        return False
    if terms.positions == "tickets":
        return (row.long_lots + row.bid_lots if side == "bid" else row.short_lots + row.ask_lots) > limit
    return (row.lots + row.bid_lots if side == "bid" else row.ask_lots - row.lots) > limit


class _Ladder:
    """Running state while the orders of one `reserve` are judged one by one."""

    __slots__ = ("account", "all_units", "count", "draft", "owned", "require", "seen", "stale", "terms")

    def __init__(self, draft: _Draft, owner: str, *, stale: bool) -> None:
        self.draft = draft
        self.account = draft.account
        self.terms = draft.account.terms
        self.require = COMBINE_RULES[self.terms.combine]
        self.all_units = self.account.all_units
        self.count = self.account.live_orders
        self.owned = draft.view.owned(owner) if owner in self.terms.owner_limit else 0
        self.stale = stale
        self.seen: dict[tuple[str, str], BookSymbol] = {}

    def judge(self, request: Reserve, ask: Ask) -> tuple[Code, int, int, bool]:
        """(code, hold, rise of used_margin_all, reduces) of one order; takes it in when nothing forbids it."""
        draft, terms = self.draft, self.terms
        if draft.view.order(ask.order_id) is not None:
            return Code.ORDER_EXISTS, 0, 0, False
        if not _terms_allow(terms, self.account, ask, in_micros=request.in_micros):
            return Code.TERMS_INVALID, 0, 0, False
        key = (ask.symbol, ask.leg)
        row = self.seen.get(key)
        if row is None:
            row = _row(draft.view, ask.symbol, ask.leg)
        hold, reduces = _hold_of(terms, row, ask)
        after = _with_order(row, ask, hold, reduces=reduces)
        larger = terms.combine == "larger_leg" and not reduces
        if larger:
            after = draft.rate(after, "orders", order_rate(hold, ask.lots), 1)
        rise = self.require(after)[1] - self.require(row)[1]
        code = self._limits(request, ask, after, hold, rise, reduces=reduces)
        if code is OK and request.best_effort and rise > 0:
            free = self.account.free_units - (self.all_units - self.account.all_units)
            if free < rise:
                code = Code.INSUFFICIENT_MARGIN
        if code is not OK:
            if larger:
                draft.rate(after, "orders", order_rate(hold, ask.lots), -1)
            return code, hold, rise, reduces
        self.seen[key] = after
        self.all_units += rise
        self.count += 1
        self.owned += hold
        return OK, hold, rise, reduces

    def _limits(self, request: Reserve, ask: Ask, after: BookSymbol, hold: int, rise: int, *, reduces: bool) -> Code:
        """First limit, in order of precedence, that the order meets."""
        terms = self.terms
        if self.all_units + rise > AMOUNT_MAX or not _fits(after):
            return Code.AMOUNT_OVERFLOW
        if self.stale:
            return Code.STALE_MARK
        if not reduces and _over_position_limit(terms, after, ask.side):
            return Code.POSITION_LIMIT
        if (
            (terms.orders_max is not None and self.count >= terms.orders_max)
            or (terms.order_margin_max is not None and hold > terms.order_margin_max)
            or (terms.margin_max is not None and rise > 0 and self.all_units + rise > terms.margin_max)
        ):
            return Code.ORDER_LIMIT
        limit = terms.owner_limit.get(request.owner)
        if limit is not None and hold and self.owned + hold > limit:
            return Code.OWNER_LIMIT
        return OK


def _hold_of(terms: Terms, row: BookSymbol, ask: Ask) -> tuple[int, bool]:
    """(what an order holds, whether it counts as reducing)."""
    if terms.positions == "hedge" and _closes_leg(ask):
        return 0, True
    if not ask.reduce_only:
        return ask.hold, False
    if ask.side == "bid":
        fits = row.reduce_bid_lots + ask.lots <= -row.lots
    else:
        fits = row.reduce_ask_lots + ask.lots <= row.lots
    return (0 if fits else ask.hold), True


def reserve(view: View, request: Reserve, now: int) -> Effect:
    """Hold margin for a whole ladder: all of it, or what fits in the caller's order."""
    account, refusal = _account_step(view, request, now)
    if refusal is not None or account is None:
        return cast(Effect, refusal)
    refusal = _growth_gate(request, account)
    if refusal is not None:
        return refusal
    draft = _Draft(view, request, account, now)
    ladder = _Ladder(draft, request.owner, stale=_stale(view, account, now))
    changed = request.terms_version is not None and request.terms_version != account.terms_version
    outcomes: list[OrderRow] = []
    worst = OK
    state = SENT if request.sent else RESERVED
    version, scale, free = account.version + 1, account.scale, account.free_units
    pairs = draft.order_pairs
    holds = 0
    for place, ask in enumerate(request.asks):
        code, hold, rise, reduces = ladder.judge(request, ask)
        if changed and (code is OK or code.precedence > Code.TERMS_CHANGED.precedence):
            code = Code.TERMS_CHANGED
        if code is not OK:
            if worst is OK or code.precedence < worst.precedence:
                worst = code
            met = free - (ladder.all_units - account.all_units)
            asked = (rise, met) if code is Code.INSUFFICIENT_MARGIN else (0, 0)
            outcomes.append((ask.order_id, code._value_, 0, *asked))
            continue
        outcomes.append((ask.order_id, "OK", hold, 0, 0))
        holds += hold
        pairs.append((None, _new_order(request, ask, place, hold, reduces, state, scale, version, now)))
    if not request.best_effort:
        rise = ladder.all_units - account.all_units
        if worst is OK and rise > 0 and free < rise:
            worst = Code.INSUFFICIENT_MARGIN
        if worst is not OK:
            return _refuse_ladder(request, account, worst, outcomes, rise)
    elif not pairs:
        return _refuse_ladder(request, account, worst, outcomes, 0)
    for row in ladder.seen.values():
        draft.put_row(row)
    draft.live = ladder.count
    draft.own(request.owner, holds)
    draft.details = (("owner", request.owner),) if request.owner else ()
    return draft.finish(orders=tuple(outcomes))


def _refuse_ladder(request: Reserve, account: BookAccount, code: Code, outcomes: list[OrderRow], rise: int) -> Effect:
    """Nothing of the ladder is held; orders without a fault of their own carry the ladder's code."""
    orders = tuple([row if row[1] != "OK" else (row[0], code._value_, 0, 0, 0) for row in outcomes])
    if code is not Code.INSUFFICIENT_MARGIN:
        return _refuse(code, request, account, order_rows=orders)
    if request.best_effort:
        first = next(row for row in outcomes if row[1] == code)
        return _refuse(code, request, account, order_rows=orders, required_units=first[3], free_units=first[4])
    return _refuse(code, request, account, order_rows=orders, required_units=rise, free_units=account.free_units)


def _new_order(
    request: Reserve | Execute,
    ask: Ask,
    place: int,
    hold: int,
    reduces: bool,
    state: OrderState,
    scale: int,
    version: int,
    now: int,
) -> BookOrder:
    """Record of an order that has just got its hold."""
    timed = isinstance(request, Reserve)
    return BookOrder(
        ask.order_id,
        ask.symbol,
        ask.leg,
        ask.side,
        ask.lots,
        ask.price_ticks,
        scale,
        hold,
        ask.reduce_only,
        reduces,
        request.order_type,
        request.owner,
        request.ident,
        place,
        now,
        request.deadline_us if timed else now,  # type: ignore[union-attr]
        request.good_till_us if timed else None,  # type: ignore[union-attr]
        state,
        hold,
        0,
        ask.lots,
        0,
        0,
        0,
        0,
        0,
        (),
        "",
        None,
        None,
        now,
        version,
    )


def execute(view: View, request: Execute, now: int) -> Effect:
    """Local flow: take the margin and open the position in one step, if it is free."""
    account, refusal = _account_step(view, request, now)
    if refusal is None and account is not None:
        refusal = _growth_gate(request, account)
    if refusal is not None or account is None:
        return cast(Effect, refusal)
    ask, terms = request.ask, account.terms
    if view.order(ask.order_id) is not None:
        return _refuse(Code.ORDER_EXISTS, request, account)
    if request.terms_version is not None and request.terms_version != account.terms_version:
        return _refuse(Code.TERMS_CHANGED, request, account)
    if not _terms_allow(terms, account, ask, in_micros=request.in_micros):
        return _refuse(Code.TERMS_INVALID, request, account)
    draft = _Draft(view, request, account, now)
    order = _new_order(request, ask, 0, 0, ask.reduce_only, FILLED, account.scale, draft.version, now)
    before = _row(view, ask.symbol, ask.leg)
    trade = _trade(draft, before, order, ask.lots, ask.hold, request.realised_pnl, request.fee)
    row, order = trade.row, trade.order
    order = order._replace(filled=ask.lots, working=0, flags=trade.flags)
    draft.put_row(row)
    draft.order_pairs.append((None, order))
    draft.counts = (*draft.counts[:3], draft.counts[3] + trade.pnl_missing)
    after = draft.next_account()
    code = _execute_limits(draft, before, after, ask, row, stale=_stale(view, account, now))
    if code is Code.INSUFFICIENT_MARGIN:
        rise = account.free_units - after.free_units
        return _refuse(code, request, account, required_units=rise, free_units=account.free_units)
    if code is not OK:
        return _refuse(code, request, account)
    return draft.finish(after=after, order_id=order.order_id, state=order.state, flags=trade.flags)


def _execute_limits(
    draft: _Draft, before: BookSymbol, after: BookAccount, ask: Ask, row: BookSymbol, *, stale: bool
) -> Code:
    """First limit that an immediate execution meets."""
    account = draft.account
    terms = account.terms
    rise = after.all_units - account.all_units
    if not _account_fits(after) or not _fits(row):
        return Code.AMOUNT_OVERFLOW
    if stale:
        return Code.STALE_MARK
    if abs(row.lots) > abs(before.lots) and _over_position_limit(terms, row, ask.side):
        return Code.POSITION_LIMIT
    if (terms.order_margin_max is not None and ask.hold > terms.order_margin_max) or (
        terms.margin_max is not None and rise > 0 and after.all_units > terms.margin_max
    ):
        return Code.ORDER_LIMIT
    if rise > 0 and after.free_units < 0:
        return Code.INSUFFICIENT_MARGIN
    return OK


# --- fills ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Trade:
    """What lots that traded did to the position."""

    row: BookSymbol
    order: BookOrder
    opened: int
    margin: int
    flags: tuple[str, ...]
    pnl_missing: int


def _trade(
    draft: _Draft, row: BookSymbol, order: BookOrder, lots: int, margin: int, pnl: int | None, fee: int
) -> _Trade:
    """Move position and balance by lots that traded; `margin` is for the lots that open."""
    bid = order.side == "bid"
    signed = lots if bid else -lots
    flags: list[str] = []
    closed, open_pnl = 0, row.open_pnl
    if draft.account.terms.positions == "tickets":
        if draft.terms.combine == "larger_leg":
            row = _ticket_rate(draft, row, order, lots, margin)
        order = order._replace(open_lots=order.open_lots + lots, margin=order.margin + margin)
        row = row._replace(
            lots=row.lots + signed,
            margin=row.margin + margin,
            long_lots=row.long_lots + (lots if bid else 0),
            short_lots=row.short_lots + (0 if bid else lots),
        )
    else:
        size = abs(row.lots)
        if (row.lots < 0) if bid else (row.lots > 0):
            closed = min(lots, size)
        kept = row.margin
        if closed:
            kept = held(kept, size, size - closed)
            open_pnl = _pro_rata(open_pnl, size, size - closed)
        if closed < lots:
            kept += margin
        elif margin:
            flags.append("margin_ignored")
            margin = 0
        row = row._replace(lots=row.lots + signed, margin=kept, open_pnl=open_pnl)
        if row.leg and row.lots and (row.lots > 0) != (row.leg == "long"):
            flags.append("leg_overshoot")
    missing = int(pnl is None and closed > 0)
    if missing:
        flags.append("pnl_missing")
    draft.balance += (pnl or 0) - fee
    draft.pnl += open_pnl - draft.row(row.symbol, row.leg).open_pnl
    draft.details += (("lots", lots), ("margin", margin), ("realised_pnl", pnl), ("fee", fee))
    return _Trade(row, order, lots - closed, margin, tuple(flags), missing)


def _pro_rata(amount: int, lots: int, left: int) -> int:
    """Signed amount for the lots that are left."""
    return held(amount, lots, left) if amount >= 0 else -held(-amount, lots, left)


def _ticket_rate(draft: _Draft, row: BookSymbol, order: BookOrder, lots: int, margin: int) -> BookSymbol:
    """Exchange a ticket's rate when it grows (lots > 0) or shrinks."""
    if order.open_lots:
        row = draft.rate(row, "tickets", order_rate(order.margin, order.open_lots), -1)
    if order.open_lots + lots:
        row = draft.rate(row, "tickets", order_rate(order.margin + margin, order.open_lots + lots), 1)
    return row


def _order_step(view: View, request: Request, order_id: str) -> tuple[BookAccount, BookOrder] | Effect:
    """Account and order, or the answer that ends the step."""
    account = view.account()
    if account is None:
        return _refuse(Code.ACCOUNT_NOT_FOUND, request, None)
    order = view.order(order_id)
    if order is None:
        return _refuse(Code.ORDER_NOT_FOUND, request, account)
    found = view.event(order.order_id, request.ident)
    if found is not None:
        return _again(found, request, account)
    return account, order


def _less_resting(row: BookSymbol, order: BookOrder, hold: int, lots: int) -> BookSymbol:
    """The symbol's totals with less of an order resting."""
    if order.side == "bid":
        if order.reduces:
            return row._replace(hold_bids=row.hold_bids - hold, reduce_bid_lots=row.reduce_bid_lots - lots)
        return _rest(row, -hold, 0, -lots, 0)
    if order.reduces:
        return row._replace(hold_asks=row.hold_asks - hold, reduce_ask_lots=row.reduce_ask_lots - lots)
    return _rest(row, 0, -hold, 0, -lots)


def _changed(order: BookOrder, draft: _Draft, *values: Any) -> BookOrder:
    """The order with new values for `state` ... `cancel_deadline_us`, stamped with time and version."""
    return BookOrder._make((*order[:STATE_AT], *values, draft.now, draft.version))


def fill(view: View, request: Fill, now: int) -> Effect:
    """Book lots that traded: hold to position, result and fee to the balance, in any state of the order."""
    found = _order_step(view, request, request.order_id)
    if isinstance(found, Effect):
        return found
    account, order = found
    draft = _Draft(view, request, account, now)
    lots, was_terminal = request.lots, order.state not in NOT_TERMINAL
    taken = min(lots, order.working)
    working = order.working - taken
    late = min(lots - taken, order.released)
    over = lots - taken - late
    hold = held(order.hold_start, order.lots, working) if taken else order.hold
    given = order.hold - hold
    row = draft.row(order.symbol, order.leg)
    if taken:
        row = _less_resting(row, order, given, taken)
        if not working and not order.reduces and account.terms.combine == "larger_leg":
            row = draft.rate(row, "orders", order_rate(order.hold_start, order.lots), -1)
    flags: tuple[str, ...] = ()
    if was_terminal and order.state is not FILLED and order.state is not CLOSED:
        flags += ("late_fill",)
    if over:
        flags += ("overfill",)
    margin = request.margin
    if margin is None:
        margin, flags = _margin_from_hold(row, order, lots, given, flags)
    trade = _trade(draft, row, order, lots, margin, request.realised_pnl, request.fee)
    row = trade.row
    if trade.opened and trade.margin > given:
        flags += ("under_reserved",)
    if row.reduce_surplus_lots:
        flags += ("reduce_only_surplus",)
    flags += trade.flags
    state = order.state if was_terminal else (LIVE if working else FILLED)
    ended = not was_terminal and not working
    late_fills, overfills, under_reserved, pnl_missing = draft.counts
    draft.counts = (
        late_fills + ("late_fill" in flags),
        overfills + ("overfill" in flags),
        under_reserved + ("under_reserved" in flags),
        pnl_missing + trade.pnl_missing,
    )
    after = _changed(
        order,
        draft,
        state,
        hold,
        order.filled + taken + late,
        working,
        order.released - late,
        order.overfilled + over,
        trade.order.open_lots,
        trade.order.margin,
        order.hold_released,
        tuple(sorted({*order.flags, *flags})) if flags else order.flags,
        order.reason,
        order.venue_id,
        None if ended else order.cancel_deadline_us,
    )
    draft.put_row(row)
    draft.order_pairs.append((order, after))
    draft.own(order.owner, -given)
    draft.live -= ended
    return draft.finish(order_id=order.order_id, state=state, flags=flags)


def _margin_from_hold(
    row: BookSymbol, order: BookOrder, lots: int, given: int, flags: tuple[str, ...]
) -> tuple[int, tuple[str, ...]]:
    """Margin of a fill that does not name one: the released hold's part for the lots that open."""
    opposes = (row.lots < 0) if order.side == "bid" else (row.lots > 0)
    closed = min(lots, abs(row.lots)) if opposes else 0
    opened = lots - closed
    margin = held(given, lots, opened)
    if opened and not margin:
        flags += ("margin_missing",)
    return margin, flags


# --- order events ---------------------------------------------------------------------------------------------------


def _noted(draft: _Draft, order: BookOrder, code: Code) -> Effect:
    """Journal an event that changes nothing, so that its repeat gets the same answer."""
    return draft.finish(code=code, order_id=order.order_id, state=order.state)


def _ended(draft: _Draft, order: BookOrder, state: OrderState, reason: str) -> BookOrder:
    """Release what an order still holds and give it a terminal state."""
    row = draft.row(order.symbol, order.leg)
    row = _less_resting(row, order, order.hold, order.working)
    if not order.reduces and draft.account.terms.combine == "larger_leg":
        row = draft.rate(row, "orders", order_rate(order.hold_start, order.lots), -1)
    after = _changed(
        order,
        draft,
        state,
        0,
        order.filled,
        0,
        order.released + order.working,
        order.overfilled,
        order.open_lots,
        order.margin,
        order.hold_released + order.hold,
        order.flags,
        reason,
        order.venue_id,
        None,
    )
    draft.put_row(row)
    draft.order_pairs.append((order, after))
    draft.own(order.owner, -order.hold)
    draft.live -= 1
    return after


def _restated(
    draft: _Draft, order: BookOrder, state: OrderState, venue_id: str | None, cancel_deadline_us: int | None
) -> BookOrder:
    """Give an order another state that still holds what it held."""
    after = _changed(
        order, draft, state, *order[STATE_AT + 1 : STATE_END], order.flags, order.reason, venue_id, cancel_deadline_us
    )
    draft.order_pairs.append((order, after))
    return after


def claim(view: View, request: OrderEvent, now: int) -> Effect:
    """Take an order into a sender's hands; only this call's OK permits the bytes."""
    found = _order_step(view, request, request.order_id)
    if isinstance(found, Effect):
        return found
    account, order = found
    if account.status is AccountStatus.RECOVERING:
        return _refuse(Code.ACCOUNT_RECOVERING, request, account)
    if order.state is not RESERVED:
        return _refuse(Code.ILLEGAL_TRANSITION, request, account, order_id=order.order_id, state=order.state)
    draft = _Draft(view, request, account, now)
    _restated(draft, order, SENT, order.venue_id, order.cancel_deadline_us)
    return draft.finish(order_id=order.order_id, state=SENT)


def acknowledge(view: View, request: OrderEvent, now: int) -> Effect:
    """The venue knows the order, under its own id."""
    found = _order_step(view, request, request.order_id)
    if isinstance(found, Effect):
        return found
    account, order = found
    draft = _Draft(view, request, account, now)
    venue_id = request.venue_id
    known = view.order(venue_id) if venue_id is not None else None
    flags: tuple[str, ...] = ()
    if known is not None and known.order_id != order.order_id:
        flags = ("alias_taken",)
    elif venue_id is not None and known is None:
        draft.aliases = ((venue_id, order.order_id),)
    draft.details = (("venue_id", venue_id),)
    kept_id = order.venue_id if order.venue_id is not None or flags else venue_id
    terminal = order.state not in NOT_TERMINAL
    if order.state is LIVE and not draft.aliases and kept_id == order.venue_id and not flags:
        return _refuse(Code.DUPLICATE, request, account, order_id=order.order_id, state=LIVE)
    state = order.state if terminal else LIVE
    _restated(draft, order, state, kept_id, order.cancel_deadline_us)
    code = Code.ILLEGAL_TRANSITION if terminal else OK
    return draft.finish(code=code, order_id=order.order_id, state=state, flags=flags)


def request_cancel(view: View, request: OrderEvent, now: int) -> Effect:
    """Note that a cancel has been asked of the venue; frees nothing."""
    found = _order_step(view, request, request.order_id)
    if isinstance(found, Effect):
        return found
    account, order = found
    if order.state not in NOT_TERMINAL:
        return _refuse(Code.ILLEGAL_TRANSITION, request, account, order_id=order.order_id, state=order.state)
    draft = _Draft(view, request, account, now)
    draft.details = (("deadline_us", request.deadline_us),)
    _restated(draft, order, order.state, order.venue_id, request.deadline_us)
    return draft.finish(order_id=order.order_id, state=order.state)


ENDS = {"reject": REJECTED, "cancel": CANCELLED, "expire": EXPIRED}


def end_order(view: View, request: OrderEvent, now: int) -> Effect:
    """The venue refused, cancelled or expired the order: release what it still holds."""
    found = _order_step(view, request, request.order_id)
    if isinstance(found, Effect):
        return found
    account, order = found
    draft = _Draft(view, request, account, now)
    target, reason = _end_of(order, ENDS[request.op], request.reason)
    if request.reason:
        draft.details = (("reason", request.reason),)
    if order.state not in NOT_TERMINAL:
        same = order.state is target
        if request.op == "reject":
            same = order.state is REJECTED or (order.state is CANCELLED and order.reason.startswith("rejected"))
        return _noted(draft, order, Code.DUPLICATE if same else Code.ILLEGAL_TRANSITION)
    _ended(draft, order, target, reason)
    return draft.finish(order_id=order.order_id, state=target)


def _end_of(order: BookOrder, asked: OrderState, reason: str) -> tuple[OrderState, str]:
    """(terminal state, reason): a refusal after a fill only ends the remainder."""
    if asked is not REJECTED:
        return asked, reason
    reason = f"rejected: {reason}" if reason else "rejected"
    return (CANCELLED if order.filled or order.overfilled else REJECTED), reason


def resolve(view: View, request: Resolve, now: int) -> Effect:
    """End the UNKNOWN state of an order by evidence."""
    found = _order_step(view, request, request.order_id)
    if isinstance(found, Effect):
        return found
    account, order = found
    # That a venue does not know an id proves nothing while the order could still arrive there.
    premature = request.evidence == "not_at_venue" and (order.good_till_us is None or now <= order.good_till_us)
    if order.state is not UNKNOWN or premature:
        return _refuse(Code.ILLEGAL_TRANSITION, request, account, order_id=order.order_id, state=order.state)
    draft = _Draft(view, request, account, now)
    draft.details = (("evidence", request.evidence), ("operator", request.operator))
    if request.outcome is LIVE:
        _restated(draft, order, LIVE, order.venue_id, None)
        return draft.finish(order_id=order.order_id, state=LIVE)
    target, reason = _end_of(order, request.outcome, request.evidence)
    _ended(draft, order, target, reason)
    return draft.finish(order_id=order.order_id, state=target)


def sweep(view: View, request: Sweep, now: int) -> Effect:
    """Cancel what was never sent, and label what is overdue UNKNOWN. Frees nothing that may be live."""
    account = view.account()
    if account is None:
        return _refuse(Code.ACCOUNT_NOT_FOUND, request, None)
    draft = _Draft(view, request, account, now)
    overdue = [order for order in view.live() if order.overdue_us is not None and order.overdue_us < now]
    outcomes: list[OrderRow] = []
    for order in sorted(overdue, key=lambda order: (order.created_us, order.version, order.place)):
        if order.state is RESERVED:
            _ended(draft, order, CANCELLED, "never_sent")
        elif order.state is not UNKNOWN:
            _restated(draft, order, UNKNOWN, order.venue_id, order.cancel_deadline_us)
        else:
            continue
        outcomes.append((order.order_id, "OK", draft.order_pairs[-1][1].hold, 0, 0))
    if not outcomes:
        totals = account.totals
        return Effect(Outcome(OK, request.op, account.account_id, account.version, account.scale, totals, totals))
    return draft.finish(orders=tuple(outcomes))


def close(view: View, request: Close, now: int) -> Effect:
    """Close lots of a ticket: margin and result in one step."""
    found = _order_step(view, request, request.order_id)
    if isinstance(found, Effect):
        return found
    account, order = found
    lots = order.open_lots if request.lots is None else request.lots
    if not order.open_lots or lots > order.open_lots:
        return _refuse(Code.ILLEGAL_TRANSITION, request, account, order_id=order.order_id, state=order.state)
    draft = _Draft(view, request, account, now)
    left = order.open_lots - lots
    margin = held(order.margin, order.open_lots, left)
    row = draft.row(order.symbol, order.leg)
    if account.terms.combine == "larger_leg":
        row = _ticket_rate(draft, row, order, -lots, margin - order.margin)
    gross = row.long_lots + row.short_lots
    open_pnl = _pro_rata(row.open_pnl, gross, gross - lots)
    bid = order.side == "bid"
    draft.pnl += open_pnl - row.open_pnl
    draft.put_row(
        row._replace(
            lots=row.lots - (lots if bid else -lots),
            margin=row.margin - (order.margin - margin),
            long_lots=row.long_lots - (lots if bid else 0),
            short_lots=row.short_lots - (0 if bid else lots),
            open_pnl=open_pnl,
        )
    )
    missing = request.realised_pnl is None
    flags = ("pnl_missing",) if missing else ()
    draft.counts = (*draft.counts[:3], draft.counts[3] + missing)
    draft.balance += (request.realised_pnl or 0) - request.fee
    draft.details = (("lots", lots), ("realised_pnl", request.realised_pnl), ("fee", request.fee))
    terminal = order.state not in NOT_TERMINAL
    state = CLOSED if terminal and not left else order.state
    after = order._replace(state=state, open_lots=left, margin=margin, changed_us=now, version=draft.version)
    draft.order_pairs.append((order, after))
    return draft.finish(order_id=order.order_id, state=state, flags=flags)


STEPS: dict[str, Callable[[View, Any, int], Effect]] = {
    "open_account": open_account,
    "set_terms": set_terms,
    "suspend": suspend,
    "abandon": abandon,
    "archive": archive,
    "deposit": move_money,
    "withdraw": move_money,
    "adjust": move_money,
    "mark": mark,
    "revalue": revalue,
    "reserve": reserve,
    "execute": execute,
    "claim": claim,
    "acknowledge": acknowledge,
    "fill": fill,
    "reject": end_order,
    "cancel": end_order,
    "expire": end_order,
    "request_cancel": request_cancel,
    "resolve": resolve,
    "sweep": sweep,
    "close": close,
}
