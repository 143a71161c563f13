"""The reservation book as callers see it; the same on every store.

Every operation checks what is visible without the store (types, signs, ranges, ids) and raises `InputError` for it;
turns amounts into integers of the account's scale; and hands a request to the store, whose single atomic step answers
with an `Outcome`. Expected answers (refused, duplicate) are codes, never exceptions. A store that fails raises
`StoreUnavailable` (nothing happened), `StoreTimeout` (unknown: ask again with the same id) or `StoreCorrupt` (stop).

Times are integer microseconds since the epoch, from the store's clock. A retry carries the same id, content and
issued_at.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Literal, Self
from urllib.parse import parse_qsl, unquote

from equipoise.errors import InputError
from equipoise.orders import Order
from equipoise.reservation.arguments import asks_of, leg_of, order_type_of, terms_of
from equipoise.reservation.audit import AuditReport, Holdings, audit
from equipoise.reservation.codes import Code, OrderState
from equipoise.reservation.flat import FlatImport, read_flat
from equipoise.reservation.ids import account_id_of, fingerprint, id_of
from equipoise.reservation.money import MICRO_SCALE, SCALE_MAX, Amount, lots_of, to_decimal, units, whole
from equipoise.reservation.reconcile import Discrepancy, Plan, ReconcileReport, VenueView, compare, settled_by
from equipoise.reservation.records import BookAccount, BookOrder, BookSymbol, JournalRecord, OutboxEntry, Outcome
from equipoise.reservation.requests import (
    Abandon,
    Adopt,
    Amend,
    Archive,
    Ask,
    Close,
    Execute,
    Export,
    Fill,
    ImportFlat,
    Mark,
    Money,
    OpenAccount,
    OrderEvent,
    Repair,
    Request,
    Reserve,
    Resolve,
    Revalue,
    SetTerms,
    SettleAmend,
    Suspend,
    Sweep,
)
from equipoise.reservation.steps import terms_content

__all__ = ["Clock", "ReservationBook", "system_clock"]

Clock = Callable[[], int]
ADJUST_KINDS = ("correction", "fee", "funding", "interest", "swap", "venue_sync")
EVIDENCE = ("not_at_venue", "operator", "venue")
Policy = Literal["all_or_nothing", "best_effort"]


def system_clock() -> int:
    """Microseconds since the epoch by this host's clock."""
    return time.time_ns() // 1000


class ReservationBook(ABC):
    """Holds margin for orders in flight. Open one with `ReservationBook.connect`; it is a context manager.

    Safe to use from many threads. One book per process: after a fork a memory book raises and a SQLite book reopens.

    Examples
    --------
    >>> from decimal import Decimal
    >>> from equipoise.orders import Order, Side
    >>> with ReservationBook.connect("memory:") as book:
    ...     _ = book.open_account("live:6", balance="100", currency="USD", rule="sum")
    ...     order = Order(symbol="HYPE", side=Side.BID, lots=5, price_ticks=27110, hold=13_560_000,
    ...                   price=Decimal("27.110"), size=Decimal("0.05"))
    ...     grant = book.reserve("live:6", [order], request_id="q-42")
    ...     grant.code, grant.granted, book.account("live:6").free
    (<Code.OK: 'OK'>, ('q-42:0',), Decimal('86.440000'))
    """

    def __init__(self, *, clock: Clock | None = None, timeout_ms: int = 5_000, horizon_s: int = 86_400) -> None:
        self._clock: Clock = clock or system_clock
        self._timeout_us = lots_of(timeout_ms, "timeout_ms") * 1000
        self._horizon_us = lots_of(horizon_s, "horizon_s") * 1_000_000

    @staticmethod
    def connect(
        url: str, *, clock: Clock | None = None, timeout_ms: int = 5_000, horizon_s: int = 86_400
    ) -> ReservationBook:
        """Open a book.

        Parameters
        ----------
        url
            "memory:", or "sqlite:///path?durability=full" (default: every answer survives a power cut) or "normal"
            (survives the process, not the power). Three slashes begin a relative path, four an absolute one.
        clock
            Microseconds since the epoch; the store's only source of time. Default: the host's clock.
        timeout_ms
            How long a call may wait for the store; also the default validity of a request.
        horizon_s
            How long request ids are kept at least.

        Raises
        ------
        InputError
            Unknown scheme or option.
        StoreUnavailable, StoreCorrupt
            The store cannot be opened, or its content cannot be trusted.
        """
        # The stores import this module for the contract they fulfil.
        from equipoise.reservation.memory import MemoryBook
        from equipoise.reservation.sqlite import SqliteBook

        scheme, _, rest = url.partition(":")
        path, _, query = rest.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        if scheme == "memory":
            if path or options:
                raise InputError("url", None, "'memory:' without path or options", url)
            return MemoryBook(clock=clock, timeout_ms=timeout_ms, horizon_s=horizon_s)
        if scheme == "sqlite" and path.startswith("///") and len(path) > 3:
            durability = options.pop("durability", "full")
            if options or durability not in ("full", "normal"):
                raise InputError("url", None, "free of options but durability=full or normal", url)
            return SqliteBook(
                unquote(path[3:]), durability=durability, clock=clock, timeout_ms=timeout_ms, horizon_s=horizon_s
            )
        raise InputError("url", None, "'memory:' or 'sqlite:///path'", url)

    # What a store provides -------------------------------------------------------------------------------------------

    @abstractmethod
    def _run(self, request: Request) -> Outcome:
        """Run one step atomically."""

    @abstractmethod
    def _scale(self, account_id: str) -> int:
        """Scale of an account; MICRO_SCALE when there is none (the step will say so)."""

    @abstractmethod
    def close_book(self) -> None:
        """Release the store; idempotent. To close a ticket is `close`."""

    @abstractmethod
    def accounts(self) -> tuple[str, ...]:
        """Ids of all accounts, sorted."""

    @abstractmethod
    def account(self, account_id: str) -> BookAccount:
        """The account as of its latest step.

        Raises
        ------
        InputError
            There is no such account.
        """

    @abstractmethod
    def order(self, account_id: str, order_id: str) -> BookOrder | None:
        """An order by its id or one of its aliases (venue ids); None where there is none."""

    @abstractmethod
    def orders(
        self,
        account_id: str,
        state: OrderState | Iterable[OrderState] | None = None,
        *,
        symbol: str | None = None,
        overdue: bool = False,
        age_ms: int | None = None,
        every: bool = False,
    ) -> tuple[BookOrder, ...]:
        """Orders in the order they were made: those that are not terminal, or those in the named states.

        `overdue` keeps those whose answer is past its deadline now, whether or not a sweeper has run: unsent, sent,
        cancelling, amending, and every UNKNOWN one. `age_ms` keeps those that have not changed for at least that long.
        `every` adds terminal ones.
        """

    @abstractmethod
    def symbols(self, account_id: str) -> tuple[BookSymbol, ...]:
        """Running totals per symbol (hedge: and leg), sorted."""

    @abstractmethod
    def history(self, account_id: str, *, after_version: int = 0, limit: int = 1_000) -> tuple[JournalRecord, ...]:
        """Journal records with a version above `after_version`, oldest first, at most `limit`."""

    @abstractmethod
    def outbox(self, account_id: str, *, after_version: int = 0, limit: int = 100) -> tuple[OutboxEntry, ...]:
        """Outbox entries written after a version, oldest first, at most `limit`.

        A sender claims each order of an entry, and only the claim's OK permits the bytes. An order that is SENT or
        UNKNOWN is never sent again: ask the venue by client id. An entry goes in the step in which the last of its
        orders becomes LIVE or ends.
        """

    @abstractmethod
    def _holdings(self, account_id: str) -> Holdings:
        """Everything kept of an account at one version."""

    @abstractmethod
    def _knows_event(self, account_id: str, order_id: str, ident: str) -> bool:
        """Whether an event id of an order has been used."""

    def audit(self, account_id: str) -> AuditReport:
        """Prove the account's totals from its orders alone and from its journal alone. Reads only; O(history)."""
        return audit(self._holdings(account_id_of(account_id)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_book()

    # Accounts --------------------------------------------------------------------------------------------------------

    def open_account(
        self,
        account_id: str,
        balance: Amount = 0,
        currency: str = "USD",
        *,
        scale: int = MICRO_SCALE,
        rule: object = "sum",
        positions: str | None = None,
        pnl_policy: str = "loss_only",
        mark_age_ms_max: int | None = None,
        orders_max: int | None = None,
        order_margin_max: Amount | None = None,
        margin_max: Amount | None = None,
        position_lots_max: Mapping[str, int] | None = None,
        owner_margin_max: Mapping[str, Amount] | None = None,
        records_max: int | None = None,
        request_id: str | None = None,
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Open an account.

        Parameters
        ----------
        account_id
            Printable, without braces or spaces.
        balance
            First balance, may be negative.
        currency
            One per account; conversion is the caller's.
        scale
            Decimal places of every amount of the account, 0-9, fixed from now on. Orders of the quoter carry
            micro-units and need the default, 6.
        rule
            How charges combine: an order-margin rule, or the name of its combine rule ("sum", "worst_side", "per_side",
            "hedge_legs", "larger_leg").
        positions
            "net", "hedge" or "tickets"; default "hedge" for hedge_legs, else "net".
        request_id
            Default: derived from the content, so that the same call repeated is a DUPLICATE.

        Returns
        -------
        Outcome
            OK, DUPLICATE, REQUEST_CONFLICT, REQUEST_EXPIRED, ACCOUNT_EXISTS, TERMS_INVALID or AMOUNT_OVERFLOW. The
            remaining parameters are described at `Terms`.
        """
        account_id_of(account_id)
        places = lots_of(scale, "scale", least=0)
        if places > SCALE_MAX:
            raise InputError("scale", None, f"0-{SCALE_MAX}", scale)
        amount = units(balance, places, "balance", signed=True)
        terms = terms_of(
            places,
            rule,
            positions,
            pnl_policy,
            mark_age_ms_max,
            orders_max,
            order_margin_max,
            margin_max,
            position_lots_max,
            owner_margin_max,
            records_max,
        )
        print_ = fingerprint("open_account", amount, id_of(currency, "currency"), places, terms_content(terms))
        ident = f"open:{print_}"[:200] if request_id is None else id_of(request_id, "request_id")
        issued, until = self._validity(issued_at_us, not_after_us)
        return self._run(
            OpenAccount(
                "open_account",
                account_id,
                ident,
                print_,
                issued,
                until,
                currency,
                places,
                amount,
                terms,
                self._horizon_us,
            )
        )

    def import_flat(
        self,
        account_id: str,
        portfolio: Mapping[str, str],
        holdings: Mapping[str, Mapping[str, str]],
        *,
        currency: str = "USD",
        scale: int = MICRO_SCALE,
        lot: Amount = 1,
        request_id: str | None = None,
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> FlatImport:
        """Take an account over from the flat layout of decimal strings, in one step; says what was wrong with it.

        Rule `sum`, ticket positions. Totals are summed anew over the orders. A queued order becomes UNKNOWN and stays
        held until there is evidence; so does one whose status is not known. Nothing is imported when an amount cannot
        be read.

        Parameters
        ----------
        portfolio
            Fields of the account: balance, used_margin_executed, used_margin_all.
        holdings
            Fields of each order by its id.
        lot
            Quantity of one lot.
        """
        account_id_of(account_id)
        places = lots_of(scale, "scale", least=0)
        if places > SCALE_MAX:
            raise InputError("scale", None, f"0-{SCALE_MAX}", scale)
        size = to_decimal(units(lot, SCALE_MAX, "lot"), SCALE_MAX)
        if not size:
            raise InputError("lot", None, "positive", lot)
        balance, orders, faults = read_flat(account_id, portfolio, holdings, places, size)
        if balance is None:
            return FlatImport(None, faults)
        terms = terms_of(places, "sum", "tickets", "loss_only", None, None, None, None, None, None)
        content = fingerprint("import_flat", balance, id_of(currency, "currency"), places, tuple(map(tuple, orders)))
        ident = f"import:{content}"[:200] if request_id is None else id_of(request_id, "request_id")
        issued, until = self._validity(issued_at_us, not_after_us)
        opened = (currency, places, balance, terms, self._horizon_us, orders, len(faults))
        request = ImportFlat("import_flat", account_id, ident, content, issued, until, *opened)
        return FlatImport(self._run(request), faults)

    def set_terms(
        self,
        account_id: str,
        *,
        request_id: str,
        rule: object = "sum",
        positions: str | None = None,
        pnl_policy: str = "loss_only",
        mark_age_ms_max: int | None = None,
        orders_max: int | None = None,
        order_margin_max: Amount | None = None,
        margin_max: Amount | None = None,
        position_lots_max: Mapping[str, int] | None = None,
        owner_margin_max: Mapping[str, Amount] | None = None,
        records_max: int | None = None,
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Replace all terms; touches no existing hold.

        Another combine rule or position mode is taken only when flat with no live orders (TERMS_INVALID otherwise).
        """
        terms = terms_of(
            self._scale(account_id_of(account_id)),
            rule,
            positions,
            pnl_policy,
            mark_age_ms_max,
            orders_max,
            order_margin_max,
            margin_max,
            position_lots_max,
            owner_margin_max,
            records_max,
        )
        content = fingerprint("set_terms", terms_content(terms))
        issued, until = self._validity(issued_at_us, not_after_us)
        ident = id_of(request_id, "request_id")
        return self._run(SetTerms("set_terms", account_id, ident, content, issued, until, terms))

    def suspend(
        self,
        account_id: str,
        on: bool = True,
        *,
        request_id: str,
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Refuse growth from now on (`on=False` lifts it). Facts are booked all the same."""
        issued, until = self._validity(issued_at_us, not_after_us)
        ident = id_of(request_id, "request_id")
        content = fingerprint("suspend", bool(on))
        return self._run(Suspend("suspend", account_id_of(account_id), ident, content, issued, until, bool(on)))

    def abandon(self, account_id: str, request_id: str, *, issued_at_us: int | None = None) -> Outcome:
        """Make a request final: DUPLICATE with its effect, or OK and a late arrival will be REQUEST_ABANDONED."""
        issued, until = self._validity(issued_at_us, None)
        ident = id_of(request_id, "request_id")
        return self._run(Abandon("abandon", account_id_of(account_id), ident, "abandon", issued, until))

    def deposit(
        self,
        account_id: str,
        amount: Amount,
        *,
        request_id: str,
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Add to the balance."""
        return self._money("deposit", account_id, amount, "deposit", request_id, issued_at_us, not_after_us)

    def withdraw(
        self,
        account_id: str,
        amount: Amount,
        *,
        request_id: str,
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Take from the balance; INSUFFICIENT_MARGIN beyond `withdrawable`, which looks at every hold."""
        return self._money("withdraw", account_id, amount, "withdraw", request_id, issued_at_us, not_after_us)

    def adjust(
        self,
        account_id: str,
        amount: Amount,
        kind: str,
        *,
        request_id: str,
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Book a signed fact on the balance: fee, funding, swap, interest, correction or venue_sync. Never refused."""
        if kind not in ADJUST_KINDS:
            raise InputError("kind", None, f"one of {', '.join(ADJUST_KINDS)}", kind)
        return self._money("adjust", account_id, amount, kind, request_id, issued_at_us, not_after_us)

    def _money(
        self,
        op: str,
        account_id: str,
        amount: Amount,
        kind: str,
        request_id: str,
        issued_at_us: int | None,
        not_after_us: int | None,
    ) -> Outcome:
        scale = self._scale(account_id_of(account_id))
        count = units(amount, scale, "amount", signed=op == "adjust")
        count = -count if op == "withdraw" else count
        issued, until = self._validity(issued_at_us, not_after_us)
        content = fingerprint(op, count, kind)
        return self._run(Money(op, account_id, id_of(request_id, "request_id"), content, issued, until, count, kind))

    def mark(
        self, account_id: str, open_pnl: Mapping[str | tuple[str, str], Amount], *, as_of_us: int | None = None
    ) -> Outcome:
        """Push open profit or loss per symbol (hedge: per (symbol, leg)).

        An older `as_of_us` than the symbol's last is dropped (flag `older`), and so is a mark for a symbol without a
        position (flag `no_position`). Never touches used margin; not journalled.
        """
        scale = self._scale(account_id_of(account_id))
        values = []
        for key, value in open_pnl.items():
            symbol, leg = key if isinstance(key, tuple) else (key, "")
            values.append((id_of(symbol, "open_pnl"), leg, units(value, scale, f"open_pnl[{symbol}]", signed=True)))
        as_of = self._clock() if as_of_us is None else whole(as_of_us, "as_of_us")
        return self._run(Mark("mark", account_id, "", "", tuple(values), as_of))

    def revalue(
        self,
        account_id: str,
        symbol: str,
        position_margin: Amount,
        *,
        leg: str | None = None,
        as_of_us: int | None = None,
        request_id: str | None = None,
    ) -> Outcome:
        """Set the margin of a position to what a venue that holds positions at mark holds for it now.

        Sets an absolute figure, so an id is needed only to remember the answer; an older `as_of_us` is dropped (flag
        `older`), an unchanged figure is OK without a journal record. A fact: never refused for margin.
        """
        scale = self._scale(account_id_of(account_id))
        margin = units(position_margin, scale, "position_margin", round_up=True)
        now = self._clock()
        as_of = now if as_of_us is None else whole(as_of_us, "as_of_us")
        ident = "" if request_id is None else id_of(request_id, "request_id")
        content = fingerprint("revalue", symbol, leg, margin) if ident else ""
        until = now + self._timeout_us
        return self._run(
            Revalue(
                "revalue", account_id, ident, content, now, until, id_of(symbol, "symbol"), leg_of(leg), margin, as_of
            )
        )

    # Asking for margin -----------------------------------------------------------------------------------------------

    def reserve(
        self,
        account_id: str,
        orders: Sequence[Order],
        *,
        request_id: str,
        policy: Policy = "all_or_nothing",
        holds: Sequence[Amount] | None = None,
        terms_version: int | None = None,
        owner: str = "",
        send: Literal["claim", "caller", "outbox"] = "claim",
        order_type: Literal["limit", "market"] = "limit",
        deadline_us: int | None = None,
        good_till_us: int | None = None,
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Hold margin for a ladder of 1-500 orders, both sides, in one step.

        Parameters
        ----------
        orders
            In the caller's priority. An order without an id is named f"{request_id}:{index}". Its `hold` is
            micro-units, so the account's scale must be 6 (TERMS_INVALID otherwise) unless `holds` is given.
        request_id
            Same id and content again: DUPLICATE with the first result.
        policy
            "all_or_nothing" checks the end state of the whole ladder; "best_effort" goes order by order, with a code
            for each, and is OK when at least one is held.
        holds
            Charge of each order as an amount of the account's currency, rounded up to its scale; replaces `hold`.
        terms_version
            Version the charges were computed under; TERMS_CHANGED when the account's has moved on.
        owner
            Tag of the strategy, for `owner_margin_max`.
        send
            "claim": orders start RESERVED and a sender must `claim` each before its bytes leave; "outbox": the same,
            and the step writes an entry that `outbox` shows to whoever sends; "caller": the caller sends them itself
            now, they start SENT.
        deadline_us
            When an answer is due; default six times the call's time-out from issued_at.
        good_till_us
            Until when the venue may still accept the orders, where the venue has such a field.
        issued_at_us, not_after_us
            When the request was made and until when it may take effect.

        Returns
        -------
        Outcome
            With a code, and one `OrderOutcome` per order. Granted iff used_margin_all does not rise, or `free` after
            the step is zero or more. INSUFFICIENT_MARGIN carries required, free and shortfall.
        """
        account_id_of(account_id)
        ident = id_of(request_id, "request_id")
        if policy not in ("all_or_nothing", "best_effort"):
            raise InputError("policy", None, "'all_or_nothing' or 'best_effort'", policy)
        if send not in ("claim", "caller", "outbox"):
            raise InputError("send", None, "'claim', 'caller' or 'outbox'", send)
        scale = MICRO_SCALE if holds is None else self._scale(account_id)
        asks = asks_of(ident, orders, holds, scale)
        if owner:
            id_of(owner, "owner")
        issued, until = self._validity(issued_at_us, not_after_us)
        best_effort = policy == "best_effort"
        in_micros = holds is None
        content = fingerprint(asks, best_effort, in_micros, terms_version, owner, send, order_type, good_till_us)
        deadline = issued + 6 * self._timeout_us if deadline_us is None else whole(deadline_us, "deadline_us")
        return self._run(
            Reserve(
                "reserve",
                account_id,
                ident,
                content,
                issued,
                until,
                asks,
                best_effort,
                in_micros,
                terms_version,
                owner,
                send == "caller",
                order_type_of(order_type),
                deadline,
                good_till_us,
                send == "outbox",
            )
        )

    def execute(
        self,
        account_id: str,
        order: Order,
        *,
        request_id: str,
        margin: Amount | None = None,
        realised_pnl: Amount | None = None,
        fee: Amount = 0,
        terms_version: int | None = None,
        owner: str = "",
        order_type: Literal["limit", "market"] = "market",
        issued_at_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Local flow: the order is executed at placement, margin and position in one step.

        `margin` is what the opened lots take (default the order's `hold`, micro-units); `realised_pnl` and `fee` are
        the result of the lots that reduce. Refused like a `reserve`.
        """
        account_id_of(account_id)
        ident = id_of(request_id, "request_id")
        scale = self._scale(account_id)
        ask = asks_of(ident, [order], None if margin is None else [margin], scale)[0]
        pnl = None if realised_pnl is None else units(realised_pnl, scale, "realised_pnl", signed=True)
        cost = units(fee, scale, "fee", signed=True)
        issued, until = self._validity(issued_at_us, not_after_us)
        content = fingerprint("execute", ask, pnl, cost, terms_version, owner, order_type)
        if owner:
            id_of(owner, "owner")
        return self._run(
            Execute(
                "execute",
                account_id,
                ident,
                content,
                issued,
                until,
                ask,
                margin is None,
                pnl,
                cost,
                terms_version,
                owner,
                order_type_of(order_type),
            )
        )

    # Facts about orders ----------------------------------------------------------------------------------------------

    def claim(self, account_id: str, order_id: str, *, event_id: str) -> Outcome:
        """Take a RESERVED order into a sender's hands. Only OK permits the bytes; DUPLICATE does not."""
        return self._event("claim", account_id, order_id, event_id, ())

    def acknowledge(
        self, account_id: str, order_id: str, venue_id: str | None = None, *, event_id: str | None = None
    ) -> Outcome:
        """The venue has the order, under `venue_id`, which becomes an alias. Moves no money."""
        if venue_id is not None:
            id_of(venue_id, "venue_id")
        ident = f"acknowledge:{venue_id}"[:200] if event_id is None else event_id
        return self._event("acknowledge", account_id, order_id, ident, (venue_id,), venue_id=venue_id)

    def fill(
        self,
        account_id: str,
        order_id: str,
        lots: int,
        *,
        fill_id: str,
        margin: Amount | None = None,
        realised_pnl: Amount | None = None,
        fee: Amount = 0,
    ) -> Outcome:
        """Book lots that traded: the hold shrinks, the position and the balance move, all in one step.

        Parameters
        ----------
        lots
            Lots of this fill.
        fill_id
            The venue's id of the fill; the same again is a DUPLICATE.
        margin
            Position margin of the lots that *open*, rounded up to the scale; default what the hold releases for them.
            May exceed the hold (flag `under_reserved`). Ignored (flag `margin_ignored`) when nothing opens.
        realised_pnl
            Result of the lots that *reduce*; missing counts as 0 (flag `pnl_missing`).
        fee
            Taken from the balance; negative for a rebate.

        Returns
        -------
        Outcome
            OK in every state of the order: after a terminal state with flag `late_fill` or `overfill`.
        """
        scale = self._scale(account_id_of(account_id))
        count = lots_of(lots, "lots")
        taken = None if margin is None else units(margin, scale, "margin", round_up=True)
        pnl = None if realised_pnl is None else units(realised_pnl, scale, "realised_pnl", signed=True)
        cost = 0 if type(fee) is int and fee == 0 else units(fee, scale, "fee", signed=True)
        content = fingerprint("fill", count, taken, pnl, cost)
        ident = id_of(fill_id, "fill_id")
        return self._run(Fill("fill", account_id, ident, content, id_of(order_id, "order_id"), count, taken, pnl, cost))

    def reject(self, account_id: str, order_id: str, *, event_id: str = "reject", reason: str = "") -> Outcome:
        """The venue refused the order; what it held is released. After a fill only the remainder ends (CANCELLED)."""
        return self._event("reject", account_id, order_id, event_id, (), reason=reason)

    def cancel(self, account_id: str, order_id: str, *, event_id: str = "cancel", reason: str = "") -> Outcome:
        """The venue confirmed the cancel; what still works is released."""
        return self._event("cancel", account_id, order_id, event_id, (), reason=reason)

    def expire(self, account_id: str, order_id: str, *, event_id: str = "expire", reason: str = "") -> Outcome:
        """The venue expired the order; what still works is released."""
        return self._event("expire", account_id, order_id, event_id, (), reason=reason)

    def request_cancel(
        self, account_id: str, order_id: str, *, deadline_us: int | None = None, event_id: str | None = None
    ) -> Outcome:
        """Note that a cancel was asked of the venue, answer due by `deadline_us`. Frees nothing."""
        deadline = self._clock() + self._timeout_us if deadline_us is None else whole(deadline_us, "deadline_us")
        ident = f"request_cancel:{deadline}" if event_id is None else event_id
        # Without a deadline of the caller's, the default differs from call to call and is not content.
        content = () if deadline_us is None else (deadline,)
        return self._event("request_cancel", account_id, order_id, ident, content, deadline_us=deadline)

    def amend(
        self,
        account_id: str,
        order_id: str,
        lots: int,
        hold: Amount,
        *,
        event_id: str,
        price_ticks: int | None = None,
        client_id: str | None = None,
        terms_version: int | None = None,
        deadline_us: int | None = None,
        not_after_us: int | None = None,
    ) -> Outcome:
        """Ask the venue for another quantity of an order that is SENT or LIVE; until its answer the larger is held.

        One amendment of an order at a time. Where the venue replaces an order by a new one that can coexist with fills
        of the old, `reserve` the new and `request_cancel` the old instead.

        Parameters
        ----------
        lots
            Total quantity, what has filled included.
        hold
            Charge of the whole amended order, as if nothing of it had filled; rounded up to the scale.
        event_id
            Names the amendment; `settle_amend` repeats it.
        price_ticks
            New price; default unchanged.
        client_id
            Second client id under which the order is known from now on.
        deadline_us
            When the venue's answer is due; default the call's time-out from now.
        not_after_us
            Until when the amendment may take effect; default the deadline.

        Returns
        -------
        Outcome
            Refused like a `reserve` when it asks for more; otherwise only for its state.
        """
        scale = self._scale(account_id_of(account_id))
        quantity = lots_of(lots, "lots")
        charge = units(hold, scale, "hold", round_up=True)
        ticks = None if price_ticks is None else lots_of(price_ticks, "price_ticks")
        alias = None if client_id is None else id_of(client_id, "client_id")
        deadline = self._clock() + self._timeout_us if deadline_us is None else whole(deadline_us, "deadline_us")
        until = deadline if not_after_us is None else whole(not_after_us, "not_after_us")
        # Deadlines that default from the clock differ from call to call and are not content.
        content = fingerprint("amend", quantity, charge, ticks, alias, terms_version)
        ident, where = id_of(event_id, "event_id"), id_of(order_id, "order_id")
        return self._run(
            Amend(
                "amend",
                account_id,
                ident,
                content,
                where,
                quantity,
                charge,
                ticks,
                alias,
                terms_version,
                deadline,
                until,
            )
        )

    def settle_amend(
        self,
        account_id: str,
        order_id: str,
        outcome: Literal["accepted", "refused"],
        *,
        amend_id: str,
        venue_id: str | None = None,
        event_id: str | None = None,
    ) -> Outcome:
        """The venue's answer to the amendment with the event id `amend_id`; what is held beyond it is released.

        `venue_id` is the venue's id of the amended order, which becomes an alias. ILLEGAL_TRANSITION when that
        amendment is not open (any more).
        """
        if outcome not in ("accepted", "refused"):
            raise InputError("outcome", None, "'accepted' or 'refused'", outcome)
        amended = id_of(amend_id, "amend_id")
        if venue_id is not None:
            id_of(venue_id, "venue_id")
        ident = f"settle:{outcome}:{amended}"[:200] if event_id is None else id_of(event_id, "event_id")
        content = fingerprint("settle_amend", amended, outcome, venue_id)
        where = id_of(order_id, "order_id")
        return self._run(
            SettleAmend(
                "settle_amend",
                account_id_of(account_id),
                ident,
                content,
                where,
                amended,
                outcome == "accepted",
                venue_id,
            )
        )

    def resolve(
        self,
        account_id: str,
        order_id: str,
        outcome: OrderState,
        *,
        evidence: Literal["venue", "operator", "not_at_venue"],
        operator: str = "",
        event_id: str | None = None,
    ) -> Outcome:
        """End an UNKNOWN order by evidence: LIVE, REJECTED, CANCELLED or EXPIRED (fills are booked by `fill`).

        "not_at_venue" (the venue does not know the client id) is evidence only after `good_till_us` has passed.
        """
        if outcome not in (OrderState.LIVE, OrderState.REJECTED, OrderState.CANCELLED, OrderState.EXPIRED):
            raise InputError("outcome", None, "LIVE, REJECTED, CANCELLED or EXPIRED", outcome)
        if evidence not in EVIDENCE:
            raise InputError("evidence", None, f"one of {', '.join(EVIDENCE)}", evidence)
        state = OrderState(outcome)
        ident = f"resolve:{state.value}:{evidence}" if event_id is None else id_of(event_id, "event_id")
        content = fingerprint("resolve", state.value, evidence)
        where = id_of(order_id, "order_id")
        return self._run(
            Resolve("resolve", account_id_of(account_id), ident, content, where, state, evidence, operator)
        )

    def sweep(self, account_id: str) -> Outcome:
        """Cancel RESERVED orders past their deadline (never sent); label overdue SENT and cancelling orders UNKNOWN.

        Frees nothing that may be live. Safe to run at any time and many times over.
        """
        return self._run(Sweep("sweep", account_id_of(account_id), "", ""))

    def archive(self, account_id: str) -> Outcome:
        """Let go of what is older than the book's `horizon_s`; writes a checkpoint into the journal.

        Lets go of request ids, of settled orders (terminal, flat), and of those journal records that `export` has
        confirmed. Moves the dedupe watermark forward, never past now - horizon: a request issued at or before it is
        TOO_OLD_FOR_DEDUPE. The checkpoint has the totals of account and symbols, the orders let go, and a digest of
        those that stand. Nothing is archived unless this is called.
        """
        return self._run(Archive("archive", account_id_of(account_id), "", "", self._horizon_us))

    def export(
        self, account_id: str, *, confirmed_version: int | None = None, limit: int = 1_000
    ) -> tuple[JournalRecord, ...]:
        """Next journal records that are not stored elsewhere yet, oldest first, at most `limit`.

        Parameters
        ----------
        confirmed_version
            Version of the last record that the caller has stored safely; `archive` may trim up to it. Forward only.

        Raises
        ------
        InputError
            There is no such account, or it has no such version.

        Examples
        --------
        >>> book = ReservationBook.connect("memory:")
        >>> _ = book.open_account("desk", 5)
        >>> chunk, stored = book.export("desk"), []
        >>> while chunk:
        ...     stored.extend(chunk)
        ...     chunk = book.export("desk", confirmed_version=chunk[-1].version)
        >>> [record.op for record in stored], book.account("desk").exported_version
        (['open_account'], 1)
        """
        if confirmed_version is not None:
            version = lots_of(confirmed_version, "confirmed_version", least=0)
            outcome = self._run(Export("export", account_id_of(account_id), "", "", version))
            if outcome.code is Code.ILLEGAL_TRANSITION:
                raise InputError("confirmed_version", None, f"at most {outcome.version}", version)
        return self.history(account_id, after_version=self.account(account_id).exported_version, limit=limit)

    def reconcile(
        self,
        account_id: str,
        view: VenueView | None = None,
        *,
        apply: bool = False,
        grace_ms: int = 5_000,
        operator: str = "",
    ) -> ReconcileReport:
        """Compare an account with itself and with what the venue says; with `apply`, repair what differs.

        Parameters
        ----------
        view
            What the venue says; None: the book is compared with itself only.
        apply
            False: a dry run that changes nothing. True: every finding is repaired by a step of its own, journalled,
            and refused (skipped) when what it is about has changed since; findings without a repair are reported.
        grace_ms
            Orders that changed less than this before the view are not judged by it.
        operator
            Who asks; kept in the journal.

        Returns
        -------
        ReconcileReport
            Absence at the venue releases a LIVE order, and an UNKNOWN one whose `good_till_us` has passed; it releases
            nothing that is RESERVED, SENT or otherwise UNKNOWN. A difference of positions is reported, never booked.
        """
        kept = self._holdings(account_id_of(account_id))
        scale = kept.account.scale
        plans, unjudged = compare(
            kept,
            view,
            self._clock(),
            lots_of(grace_ms, "grace_ms", least=0) * 1000,
            lambda amount, up: units(amount, scale, "view", signed=not up, round_up=up),
            lambda order_id, ident: self._knows_event(account_id, order_id, ident),
        )
        items = [plan.item for plan in plans]
        if apply:
            versions = {name: order.version for name, order in kept.orders.items()}
            items = list(self._repairs(account_id, plans, view, kept.account.version, versions, operator))
        return ReconcileReport(account_id, kept.account.version, apply, tuple(items), unjudged)

    def _repairs(
        self,
        account_id: str,
        plans: Sequence[Plan],
        view: VenueView | None,
        version: int,
        versions: dict[str, int],
        operator: str,
    ) -> Iterator[Discrepancy]:
        """Do what each finding says, in order; the versions expected move with our own steps only."""
        settled = True
        for plan in plans:
            if plan.step == "noted":
                yield replace(plan.item, state="applied")
                continue
            if plan.step is None:
                settled = settled and plan.item.kind not in ("record", "symbol", "totals", "journal")
                yield replace(plan.item, state="skipped")
                continue
            if plan.step == "status" and not settled:
                yield replace(plan.item, state="skipped", note="something within the book is not repaired")
                continue
            if plan.step in ("order", "symbol", "index", "totals", "journal", "status"):
                where, leg, position = plan.values or (account_id, "", None)
                ident = f"{plan.step}:{where}"[:200]
                outcome = self._run(
                    Repair(
                        "repair",
                        account_id,
                        ident,
                        "",
                        plan.step,
                        where,
                        leg,
                        position,
                        operator,
                        expected_version=version,
                    )
                )
            else:
                assert view is not None  # noqa: S101 - only a view leads to these
                outcome = self._by_the_venue(account_id, plan, view, versions)
            if outcome.code is Code.OK and outcome.version == version + 1:
                version = outcome.version
                if outcome.order_id is not None:
                    versions[outcome.order_id] = version
                elif plan.step == "order":
                    versions[plan.values[0]] = version
            state, note = settled_by(outcome)
            settled = settled and state == "applied"
            yield replace(plan.item, state=state, note=note)

    def _by_the_venue(self, account_id: str, plan: Plan, view: VenueView, versions: Mapping[str, int]) -> Outcome:
        """One repair that books what the venue says."""
        name = plan.order_id
        expected = None if name is None else versions[name]
        # One id for each thing said of an order as it stands: the same view, applied again, repeats nothing.
        mark = f"reconcile:{view.as_of_us}:{plan.step}" if name is None else f"reconcile:{plan.step}:{expected}"
        if plan.step == "adopt":
            venue, order_id, lots, hold = plan.values
            side = venue.side.value
            ask = Ask(order_id, venue.symbol, leg_of(venue.leg), side, lots, venue.price_ticks, hold, venue.reduce_only)
            content = fingerprint("adopt", tuple(ask))
            return self._run(Adopt("adopt", account_id, "adopt", content, ask, venue.venue_id))
        if plan.step == "fill":
            fill = plan.values[0]
            return self.fill(
                account_id,
                fill.order_id,
                fill.lots,
                fill_id=fill.fill_id,
                margin=fill.margin,
                realised_pnl=fill.realised_pnl,
                fee=fill.fee,
            )
        if plan.step == "adjust":
            account = self.account(account_id)
            found = units(view.balance or 0, account.scale, "balance", signed=True) - account.balance_units
            return self.adjust(account_id, to_decimal(found, account.scale), "venue_sync", request_id=mark)
        assert name is not None  # noqa: S101 - the rest is about one order
        if plan.step == "acknowledge":
            venue_id = plan.values[0]
            return self._event(
                "acknowledge", account_id, name, mark, (venue_id,), venue_id=venue_id, expected_version=expected
            )
        if plan.step == "settle_amend":
            return self.settle_amend(account_id, name, "accepted", amend_id=plan.values[0])
        if plan.step == "resolve":
            return self.resolve(account_id, name, OrderState.CANCELLED, evidence="not_at_venue", event_id=mark)
        reason = "not open at the venue"
        return self._event("cancel", account_id, name, mark, (), reason=reason, expected_version=expected)

    def close(
        self,
        account_id: str,
        order_id: str,
        lots: int | None = None,
        *,
        event_id: str,
        realised_pnl: Amount | None = None,
        fee: Amount = 0,
    ) -> Outcome:
        """Close lots of a ticket (default all): margin released and result booked in one step. Only with tickets."""
        scale = self._scale(account_id_of(account_id))
        count = None if lots is None else lots_of(lots, "lots")
        pnl = None if realised_pnl is None else units(realised_pnl, scale, "realised_pnl", signed=True)
        cost = units(fee, scale, "fee", signed=True)
        content = fingerprint("close", count, pnl, cost)
        ident = id_of(event_id, "event_id")
        return self._run(Close("close", account_id, ident, content, id_of(order_id, "order_id"), count, pnl, cost))

    def _event(
        self,
        op: str,
        account_id: str,
        order_id: str,
        event_id: str,
        content: tuple[object, ...],
        *,
        venue_id: str | None = None,
        deadline_us: int | None = None,
        reason: str = "",
        expected_version: int | None = None,
    ) -> Outcome:
        return self._run(
            OrderEvent(
                op,
                account_id_of(account_id),
                id_of(event_id, "event_id"),
                fingerprint(op, *content),
                id_of(order_id, "order_id"),
                venue_id,
                deadline_us,
                reason,
                expected_version=expected_version,
            )
        )

    def _moments(self, *, overdue: bool, age_ms: int | None) -> tuple[int | None, int | None]:
        """(time by which an answer was due, time since which nothing changed) of a read; None: no matter."""
        now = self._clock() if overdue or age_ms is not None else 0
        since = None if age_ms is None else now - lots_of(age_ms, "age_ms", least=0) * 1000
        return (now if overdue else None), since

    def _validity(self, issued_at_us: int | None, not_after_us: int | None) -> tuple[int, int]:
        """(issued_at, not_after), defaulted from the clock and the call's time-out."""
        issued = self._clock() if issued_at_us is None else whole(issued_at_us, "issued_at_us")
        return issued, issued + self._timeout_us if not_after_us is None else whole(not_after_us, "not_after_us")
