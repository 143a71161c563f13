"""The next state of an account while a step computes it, and the answers that end a step early."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from equipoise._rust import requirement, rested, row_fits
from equipoise.errors import StoreCorrupt
from equipoise.reservation.codes import AccountStatus, Code, OrderState
from equipoise.reservation.money import AMOUNT_MAX
from equipoise.reservation.records import (
    CHANGED_AT,
    OUTBOX_AT,
    STATE_AT,
    STATE_END,
    SYMBOL_START,
    BookAccount,
    BookOrder,
    BookSymbol,
    OrderRow,
    OutboxEntry,
    Outcome,
    RawEntry,
    Remembered,
    new_record,
    outcome_of,
    raw_entry,
    raw_order,
)
from equipoise.reservation.requests import Request, Timed
from equipoise.reservation.steps.rules import counted
from equipoise.reservation.steps.view import AWAITING_VENUE, NOT_TERMINAL, Effect, RateDeltas, RateKey, View

__all__ = [
    "Draft",
    "account_fits",
    "account_step",
    "answer_again",
    "blank_row",
    "changed_order",
    "given_back",
    "growth_gate",
    "id_gate",
    "is_news",
    "less_resting",
    "marks_stale",
    "order_step",
    "refuse",
    "replaces",
    "row_of",
    "snapshot",
    "without_amendment",
]

OK, ACTIVE = Code.OK, AccountStatus.ACTIVE
CLOCK_AHEAD_US = 10_000_000
"""How far a time may be ahead of the store's clock and still be by a clock that is right: those of hosts differ."""
HOLD_BIDS, RESTING_END = BookSymbol._fields.index("hold_bids"), BookSymbol._fields.index("long_lots")


def refuse(code: Code, request: Request, account: BookAccount | None, **more: Any) -> Effect:
    """A refusal: nothing is written."""
    if account is None:
        return Effect(Outcome(code, request.op, request.account_id, **more))
    totals = account.totals
    return Effect(Outcome(code, request.op, request.account_id, account.version, account.scale, totals, totals, **more))


def answer_again(found: Remembered, request: Request, account: BookAccount | None) -> Effect:
    """Answer to an id that has been used: the first result, or a conflict when the content differs."""
    fingerprint, _, packed = found
    if fingerprint != request.fingerprint or packed is None:
        return refuse(Code.REQUEST_CONFLICT, request, account)
    first = outcome_of(request.account_id, packed)
    return Effect(first._replace(code=Code.DUPLICATE) if first.code is OK else first)


def id_gate(view: View, request: Timed, account: BookAccount | None, now: int) -> Effect | None:
    """Id first, then the watermark, then the validity, then the tombstone."""
    found = view.request(request.ident) if request.ident else None
    if found is not None and found[2] is not None:
        return answer_again(found, request, account)
    if account is not None and request.issued_us <= account.watermark_us:
        return refuse(Code.TOO_OLD_FOR_DEDUPE, request, account)
    if now > request.not_after_us:
        return refuse(Code.REQUEST_EXPIRED, request, account)
    if found is not None:
        return refuse(Code.REQUEST_ABANDONED, request, account)
    return None


def growth_gate(request: Request, account: BookAccount) -> Effect | None:
    """Accounts that may not ask for more."""
    if account.status is ACTIVE:
        return None
    return refuse(Code.ACCOUNT_SUSPENDED if account.status.suspended else Code.ACCOUNT_RECOVERING, request, account)


def marks_stale(view: View, account: BookAccount, now: int) -> bool:
    """Whether a position's last mark is further from now than the terms allow.

    Ahead of the clock as well: how old a mark by a clock that was wrong is nobody knows.
    """
    age_ms = account.terms.mark_age_ms_max
    if age_ms is None:
        return False
    oldest, newest = now - age_ms * 1000, now + age_ms * 1000
    return any(
        not oldest <= row.marked_us <= newest and (row.lots or row.long_lots or row.short_lots)
        for row in view.symbols()
    )


def replaces(as_of_us: int, last_us: int, account: BookAccount, now: int) -> bool:
    """Whether what is known as of a time takes the place of what was known as of `last_us`.

    The later does, but for a time that is far ahead: that was by a wrong clock, and would keep everything out until the
    clock is there. Unless this one is from before the account was opened: then it is the clock of now that is wrong.
    """
    return as_of_us >= last_us or account.opened_us <= as_of_us <= now + CLOCK_AHEAD_US < last_us


def row_of(view: View, symbol: str, leg: str) -> BookSymbol:
    """The symbol's totals, or fresh ones."""
    found = view.symbol(symbol, leg)
    return found if found is not None else blank_row(symbol, leg)


def blank_row(symbol: str, leg: str) -> BookSymbol:
    """Totals of a symbol that the account has not had yet."""
    return SYMBOL_START._replace(symbol=symbol, leg=leg)


def snapshot(order: BookOrder) -> tuple[Any, ...]:
    """The journalled part of an order."""
    return (order.state._value_, *order[STATE_AT + 1 : STATE_END])


def given_back(order: BookOrder, hold: int) -> int:
    """`hold_released` of an order that gives back more: no fact is refused because it has told enough already."""
    return min(order.hold_released + hold, AMOUNT_MAX)


def account_fits(account: BookAccount) -> bool:
    """Whether the account's figures stay in range."""
    balance, pnl = account.balance_units, account.open_pnl_units
    executed, everything = account.executed_units, account.all_units
    counted = pnl if pnl < 0 or account.terms.pnl_policy == "all" else 0
    return (
        -AMOUNT_MAX <= balance <= AMOUNT_MAX
        and -AMOUNT_MAX <= pnl <= AMOUNT_MAX
        and 0 <= executed <= AMOUNT_MAX
        and 0 <= everything <= AMOUNT_MAX
        and -AMOUNT_MAX <= balance + counted - everything <= AMOUNT_MAX
    )


class Draft:
    """The next state of one account while a step computes it."""

    __slots__ = (
        "account",
        "aliases",
        "balance",
        "counts",
        "details",
        "entries",
        "forgotten",
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
        "trimmed_version",
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
        self.trimmed_version = account.trimmed_version
        self.forgotten = 0
        self.terms = account.terms
        self.terms_version = account.terms_version
        self.counts = (account.late_fills, account.overfills, account.under_reserved, account.pnl_missing)
        self.rows: dict[tuple[str, str], tuple[BookSymbol | None, BookSymbol]] = {}
        self.order_pairs: list[tuple[BookOrder | None, BookOrder]] = []
        self.aliases: tuple[tuple[str, str], ...] = ()
        self.owners: dict[str, int] = {}
        self.rates: RateDeltas | None = None
        self.entries: dict[str, OutboxEntry | None] | None = None
        self.details: tuple[tuple[str, Any], ...] = ()

    @property
    def version(self) -> int:
        """Version the account has after this step."""
        return self.account.version + 1

    def row(self, symbol: str, leg: str) -> BookSymbol:
        """Current totals of a symbol within the step."""
        pair = self.rows.get((symbol, leg))
        return pair[1] if pair is not None else row_of(self.view, symbol, leg)

    def put_row(self, row: BookSymbol) -> None:
        """Replace a symbol's totals."""
        key = (row.symbol, row.leg)
        pair = self.rows.get(key)
        self.rows[key] = (self.view.symbol(*key) if pair is None else pair[0], row)

    def own(self, owner: str, change: int) -> None:
        """Change what an owner holds. Where that is less than one order does, the sum is lost."""
        if owner and change:
            held_now = self.owners.get(owner)
            owned = self.owners[owner] = (self.view.owned(owner) if held_now is None else held_now) + change
            if owned < 0:
                raise StoreCorrupt(f"{owner} owns less than an order of its own holds")

    def settle_outbox(self, request_id: str) -> None:
        """One order of an outbox entry needs no sender any more; the last one takes the entry away."""
        if self.entries is None:
            self.entries = {}
        entry = self.entries[request_id] if request_id in self.entries else self.view.outbox_entry(request_id)
        if entry is not None:
            left = entry.open_orders - 1
            self.entries[request_id] = entry._replace(open_orders=left) if left > 0 else None

    def rate(self, row: BookSymbol, kind: str, rate: int, change: int) -> BookSymbol:
        """Count a rate in or out; returns the row with the set's maximum renewed."""
        self.count_rate((row.symbol, row.leg, kind), rate, change)
        return self.with_top(row, kind)

    def count_rate(self, key: RateKey, rate: int, change: int) -> None:
        """Count a rate in or out; the row's maximum is to be renewed afterwards."""
        if self.rates is None:
            self.rates = {}
        deltas = self.rates.setdefault(key, {})
        deltas[rate] = deltas.get(rate, 0) + change

    def with_top(self, row: BookSymbol, kind: str) -> BookSymbol:
        """The row with the maximum of a set in which rates were counted. Looks at every rate that was."""
        key = (row.symbol, row.leg, kind)
        top = self.view.rate_top(key, {} if self.rates is None else self.rates[key])
        return row._replace(rate_orders=top) if kind == "orders" else row._replace(rate_tickets=top)

    def totals(self) -> tuple[int, int]:
        """(used_margin_executed, used_margin_all) with the rows of this step."""
        account = self.account
        executed, everything = account.executed_units, account.all_units
        if self.rows:
            combine = account.terms.combine
            for before, after in self.rows.values():
                if before is not None:
                    was_executed, was_all = requirement(combine, before)
                    executed -= was_executed
                    everything -= was_all
                now_executed, now_all = requirement(combine, after)
                executed += now_executed
                everything += now_all
        return executed, everything

    def next_account(self) -> BookAccount:
        """The account after the step."""
        before = self.account
        executed, everything = self.totals()
        request = self.request
        records = before.records - self.forgotten
        for old, _ in self.order_pairs:
            if old is None:
                records += 1
        if request.ident and isinstance(request, Timed):
            records += 1
        late_fills, overfills, under_reserved, pnl_missing = self.counts
        return new_record(
            BookAccount,
            (
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
                late_fills,
                overfills,
                under_reserved,
                pnl_missing,
                self.now,
                records,
                before.exported_version,
                self.trimmed_version,
            ),
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
        symbols, moves = [], []
        fits = account_fits(after)
        for old_row, row in self.rows.values():
            symbols.append(row)
            moves.append((row[0], row[1], None if old_row is None else old_row[2:6], row[2:6]))
            fits = fits and row_fits(row)
        # Under rules that do not add up, an owner's holds may exceed what the account holds.
        if not fits or (self.owners and any(held > AMOUNT_MAX for held in self.owners.values())):
            return refuse(Code.AMOUNT_OVERFLOW, request, before, order_id=order_id)
        written, changes = [], []
        for old, new in self.order_pairs:
            written.append(raw_order(new))
            changes.append((new[0], None if old is None else snapshot(old), snapshot(new)))
        op, ident, version, scale, text = request.op, request.ident, after.version, after.scale, code._value_
        was, then, details = before.totals, after.totals, self.details
        if flags:
            details = (*details, ("flags", flags))
        state_text = None if state is None else state._value_
        answer = (text, op, version, scale, was, then, order_id, state_text, flags, orders)
        request_used = event_used = None
        if isinstance(request, Timed):
            if ident:
                request_used = (ident, (request.fingerprint, request.issued_us, answer))
        elif order_id is not None:
            event_used = (order_id, ident, (request.fingerprint, self.now, answer))
        outbox: tuple[tuple[str, RawEntry | None], ...] = ()
        if self.entries is not None:
            outbox = tuple([(name, entry and raw_entry(entry)) for name, entry in self.entries.items()])
        return Effect(
            new_record(
                Outcome,
                (code, op, after.account_id, version, scale, was, then, order_id, state, flags, orders, None, None),
            ),
            after,
            tuple(symbols),
            tuple(written),
            (
                version,
                self.now,
                op,
                ident,
                order_id or "",
                text,
                was,
                then,
                tuple(moves),
                tuple(changes),
                details,
            ),
            request_used,
            event_used,
            None,
            self.aliases,
            tuple(self.owners.items()),
            self.rates,
            outbox,
        )


def account_step(view: View, request: Timed, now: int) -> tuple[BookAccount | None, Effect | None]:
    """The account, or the answer that ends the step."""
    account = view.account()
    refusal = id_gate(view, request, account, now)
    if refusal is None and account is None:
        refusal = refuse(Code.ACCOUNT_NOT_FOUND, request, None)
    return account, refusal


def is_news(order: BookOrder, op: str) -> bool:
    """Whether an event with a derived id that was used before says something that is not so any more.

    The venue may be found to have an order more than once, and a cancel be asked for again after `resolve` took the
    first one off.
    """
    if op == "request_cancel":
        return order.cancel_deadline_us is None and order.state in NOT_TERMINAL
    return order.state is OrderState.UNKNOWN


def order_step(
    view: View,
    request: Request,
    order_id: str,
    *,
    gate: Callable[[Request, BookAccount], Effect | None] | None = None,
) -> tuple[BookAccount, BookOrder] | Effect:
    """Account and order, or the answer that ends the step.

    `gate`: what the account refuses, unless the id has been used before, whatever there is to say of the order.
    """
    account = view.account()
    if account is None:
        return refuse(Code.ACCOUNT_NOT_FOUND, request, None)
    order = view.order(order_id)
    if order is not None:
        found = view.event(order.order_id, request.ident)
        if found is not None and not (request.derived and is_news(order, request.op)):
            return answer_again(found, request, account)
    refusal = None if gate is None else gate(request, account)
    if refusal is not None:
        return refusal
    if order is None:
        return refuse(Code.ORDER_NOT_FOUND, request, account)
    if request.expected_version is not None and order.version != request.expected_version:
        return refuse(Code.ILLEGAL_TRANSITION, request, account, order_id=order.order_id, state=order.state)
    return account, order


def changed_order(order: BookOrder, draft: Draft, *values: Any) -> BookOrder:
    """The order with new values for `state` ... `cancel_deadline_us`, stamped with time and version.

    The first state that needs no sender settles the order's place in the outbox.
    """
    outbox = order.outbox
    if outbox and values[0] not in AWAITING_VENUE:
        outbox = False
        draft.settle_outbox(order.request_id)
    after: list[Any] = list(order)
    after[STATE_AT:OUTBOX_AT] = values
    after[OUTBOX_AT], after[CHANGED_AT:] = outbox, (draft.now, draft.version)
    return new_record(BookOrder, after)


def without_amendment(order: BookOrder) -> BookOrder:
    """The order once no amendment is open any more.

    Lots filled beyond the agreed quantity prove that the venue had taken the amendment; then its terms stay.
    """
    if order.filled > order.lots:
        order = order._replace(lots=order.amend_lots, hold_start=order.amend_hold, price_ticks=order.amend_price_ticks)
    return order._replace(amend_id=None, amend_lots=0, amend_hold=0, amend_price_ticks=0, amend_deadline_us=None)


def less_resting(row: BookSymbol, order: BookOrder, hold: int, lots: int) -> BookSymbol:
    """The symbol's totals with less of an order resting.

    Where that is more than rests in all, the totals are lost or are those of another order.
    """
    row = rested(row, order.side, -hold, -lots, reduces=order.reduces, counts=counted(order))
    resting: tuple[Any, ...] = row[HOLD_BIDS:RESTING_END]
    if min(resting) < 0:
        raise StoreCorrupt(f"less of {row.symbol} rests than of {order.order_id}")
    return row
