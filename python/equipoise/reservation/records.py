"""What the book keeps: accounts, symbols, orders, journal; and what it answers.

Records are named tuples, not dataclasses: a step replaces them wholesale (never in place), a store row maps onto one
without a copy per field, and the part that changes is one slice, which the journal keeps as it was before and after.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha1
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from equipoise import present
from equipoise._rust import unpack
from equipoise.reservation.codes import AccountStatus, Code, OrderState
from equipoise.reservation.money import MICRO_SCALE, to_decimal

if TYPE_CHECKING:
    import pandas
    import polars

__all__ = [
    "BookAccount",
    "BookOrder",
    "BookSymbol",
    "JournalRecord",
    "OrderChange",
    "OrderOutcome",
    "OutboxEntry",
    "Outcome",
    "SymbolChange",
    "Terms",
    "Totals",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an account may do and how its orders' charges combine. Amounts are in units of the account's scale.

    Parameters
    ----------
    combine
        "sum", "worst_side", "hedge_legs", "per_side" or "larger_leg".
    positions
        "net", "hedge" (long and short leg per symbol) or "tickets" (each order owns lots and margin).
    pnl_policy
        "loss_only": only an open loss counts into `free`; "all": an open profit too.
    mark_age_ms_max
        Refuse growth while the last mark of a symbol with a position is further from now, on either side; None: never.
    orders_max
        Orders that are not terminal, at most.
    order_margin_max
        Hold of one order, at most.
    position_lots_max
        Per symbol: lots of the position if everything resting on one side filled, at most.
    margin_max
        `used_margin_all`, at most.
    owner_margin_max
        Per owner tag: sum of the holds of its orders, at most.
    records_max
        Orders and request ids kept until `archive` lets them go, at most: beyond it growth is refused, facts are not.
    """

    combine: str = "sum"
    positions: str = "net"
    pnl_policy: str = "loss_only"
    mark_age_ms_max: int | None = None
    orders_max: int | None = None
    order_margin_max: int | None = None
    margin_max: int | None = None
    position_lots_max: tuple[tuple[str, int], ...] = ()
    owner_margin_max: tuple[tuple[str, int], ...] = ()
    records_max: int | None = None
    lots_limit: dict[str, int] = field(init=False, repr=False, compare=False)
    owner_limit: dict[str, int] = field(init=False, repr=False, compare=False)
    limited: bool = field(init=False, repr=False, compare=False)
    """Whether an order can meet any of these limits."""
    plain: bool = field(init=False, repr=False, compare=False)
    """Whether nothing limits an order but margin, and its charge is not counted by itself."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "lots_limit", dict(self.position_lots_max))
        object.__setattr__(self, "owner_limit", dict(self.owner_margin_max))
        caps = (self.orders_max, self.order_margin_max, self.margin_max, self.records_max)
        limited = bool(self.lots_limit or self.owner_limit) or any(cap is not None for cap in caps)
        object.__setattr__(self, "limited", limited)
        plain = not limited and self.mark_age_ms_max is None and self.combine != "larger_leg"
        object.__setattr__(self, "plain", plain)


RawTotals = tuple[int, int, int, int]
"""`Totals` as an exact tuple."""
OrderRow = tuple[str, str, int, int, int]
"""`OrderOutcome` as an exact tuple."""
RawOrder = tuple[Any, ...]
"""`BookOrder` as an exact tuple, its state as text."""
RawEntry = tuple[str, int, int, int, tuple[str, ...], int]
"""`OutboxEntry` as an exact tuple."""
RawJournal = tuple[Any, ...]
"""`JournalRecord` as exact tuples, states and codes as text."""
PackedOutcome = tuple[Any, ...]
"""(code, op, version, scale, totals before, totals after, order id, state, flags, order rows)."""
Remembered = tuple[str, int, PackedOutcome | None]
"""An id that has been used: fingerprint of its content, issued_at and the answer; None is a tombstone (abandoned)."""
PackedStep = tuple[int, int, str, int, bytes]
"""(version, at_us, fingerprint, issued_us, journal record and answer packed).

One object in the place of some fifteen that the garbage collector would look at again and again. Of a ladder that is
held whole the scale of the account stands for the answer: see `answer_of_record`.
"""
KeptStep = PackedStep | tuple[int, int, str, int, tuple[RawJournal, PackedOutcome | None]]
"""The same, or record and answer as they are, where they cannot be packed."""


class Totals(NamedTuple):
    """Money of an account at one moment, in integer units of its scale."""

    balance: int
    open_pnl: int
    """Of it, what the pnl policy counts into `free`."""
    executed: int
    """used_margin_executed: margin of positions."""
    all: int
    """used_margin_all: margin of positions and of orders in flight."""

    @property
    def free(self) -> int:
        """Balance + counted pnl - used_margin_all."""
        return self.balance + self.open_pnl - self.all


class BookAccount(NamedTuple):
    """An account. `*_units` are integers of 10^-scale; the properties of the same name are exact decimals."""

    account_id: str
    currency: str
    scale: int
    opened_us: int
    status: AccountStatus
    version: int
    """Steps journalled so far; the latest journal record has this version."""
    balance_units: int
    open_pnl_units: int
    executed_units: int
    all_units: int
    terms: Terms
    terms_version: int
    watermark_us: int
    """Request ids issued at or before are no longer kept."""
    live_orders: int
    late_fills: int
    overfills: int
    under_reserved: int
    pnl_missing: int
    changed_us: int
    records: int
    """Orders and request ids kept."""
    exported_version: int
    """Journal records up to it are stored elsewhere, as `export` was told."""
    trimmed_version: int
    """Journal records up to it have been let go."""

    @property
    def counted_units(self) -> int:
        """Open profit or loss that counts into `free`."""
        pnl = self.open_pnl_units
        return pnl if pnl < 0 or self.terms.pnl_policy == "all" else 0

    @property
    def free_units(self) -> int:
        """Balance + counted pnl - used_margin_all, in units."""
        return self.balance_units + self.counted_units - self.all_units

    @property
    def withdrawable_units(self) -> int:
        """max(0, balance + min(open_pnl, 0) - used_margin_all), in units."""
        return max(0, self.balance_units + min(self.open_pnl_units, 0) - self.all_units)

    @property
    def totals(self) -> RawTotals:
        """Balance, counted pnl, executed and all margin: the fields of `Totals`."""
        pnl = self.open_pnl_units
        if pnl > 0 and self.terms.pnl_policy != "all":
            pnl = 0
        return (self.balance_units, pnl, self.executed_units, self.all_units)

    @property
    def balance(self) -> Decimal:
        """Balance, account currency."""
        return to_decimal(self.balance_units, self.scale)

    @property
    def open_pnl(self) -> Decimal:
        """Profit or loss of open positions as last marked."""
        return to_decimal(self.open_pnl_units, self.scale)

    @property
    def equity(self) -> Decimal:
        """Balance + open_pnl."""
        return to_decimal(self.balance_units + self.open_pnl_units, self.scale)

    @property
    def used_margin_executed(self) -> Decimal:
        """Margin held by positions."""
        return to_decimal(self.executed_units, self.scale)

    @property
    def used_margin_all(self) -> Decimal:
        """Margin held by positions and by orders in flight."""
        return to_decimal(self.all_units, self.scale)

    @property
    def free(self) -> Decimal:
        """Balance + counted pnl - used_margin_all: what another order may take."""
        return to_decimal(self.free_units, self.scale)

    @property
    def withdrawable(self) -> Decimal:
        """What may leave the account now."""
        return to_decimal(self.withdrawable_units, self.scale)

    @property
    def margin_level(self) -> Decimal | None:
        """Equity / used_margin_executed; None without positions."""
        return self.equity / self.used_margin_executed if self.executed_units else None

    @property
    def balance_micros(self) -> int:
        """Balance in micro-units, rounded down."""
        return _micros(self.balance_units, self.scale)

    @property
    def free_micros(self) -> int:
        """Free margin in micro-units, rounded down."""
        return _micros(self.free_units, self.scale)

    @property
    def executed_micros(self) -> int:
        """used_margin_executed in micro-units, rounded up."""
        return -_micros(-self.executed_units, self.scale)

    @property
    def all_micros(self) -> int:
        """used_margin_all in micro-units, rounded up."""
        return -_micros(-self.all_units, self.scale)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values ready for JSON, amounts as exact decimal text."""
        return present.account_dict(self)

    def to_polars(self) -> polars.DataFrame:
        """One row, amounts as floats, as a polars frame (extra `report`)."""
        return present.account_polars(self)

    def to_pandas(self) -> pandas.DataFrame:
        """One row, amounts as floats, as a pandas frame (extra `report`)."""
        return present.account_pandas(self)

    def _repr_html_(self) -> str:
        return present.account_html(self)


def _micros(count: int, scale: int) -> int:
    """Units of 10^-scale as micro-units, rounded down where the scale is finer."""
    return (
        int(count * 10 ** (MICRO_SCALE - scale)) if scale <= MICRO_SCALE else int(count // 10 ** (scale - MICRO_SCALE))
    )


class BookSymbol(NamedTuple):
    """Running totals of one symbol (hedge mode: of one leg), kept by deltas, in units of the account's scale."""

    symbol: str
    leg: str
    lots: int
    """Signed position, long positive."""
    margin: int
    """Position margin; exactly 0 when the position is 0."""
    hold_bids: int
    hold_asks: int
    bid_lots: int
    """Resting lots of bids, those that may only reduce and hold nothing apart."""
    ask_lots: int
    reduce_bid_lots: int
    """Resting lots of bids that may only reduce, whether they hold anything or not."""
    reduce_ask_lots: int
    long_lots: int
    """Tickets: open lots of bought tickets."""
    short_lots: int
    rate_orders: int
    """larger_leg: highest charge per lot among resting orders."""
    rate_tickets: int
    """larger_leg: highest margin per lot among open tickets."""
    open_pnl: int
    marked_us: int
    """as_of of the last accepted mark; -1 before the first."""
    revalued_us: int

    @property
    def reduce_surplus_lots(self) -> int:
        """Resting reduce-only lots beyond the position they could reduce."""
        return max(0, self.reduce_ask_lots - max(self.lots, 0)) + max(0, self.reduce_bid_lots - max(-self.lots, 0))


SYMBOL_START = BookSymbol("", "", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1)


class BookOrder(NamedTuple):
    """An order of the book. Amounts in units of 10^-scale; `reserved_margin` and `margin_taken` are decimals."""

    order_id: str
    symbol: str
    leg: str
    side: str
    lots: int
    price_ticks: int
    scale: int
    hold_start: int
    reduce_only: bool
    reduces: bool
    """May only reduce: marked so, or closing a leg. Charged only where it does not fit the position."""
    order_type: str
    owner: str
    request_id: str
    place: int
    """Place in its ladder."""
    created_us: int
    deadline_us: int
    good_till_us: int | None
    # What follows changes; the journal keeps the slice STATE_AT:STATE_END.
    state: OrderState
    hold: int
    filled: int
    working: int
    released: int
    overfilled: int
    open_lots: int
    """Tickets: lots of the position this order still owns."""
    margin: int
    """Tickets: margin of those lots."""
    hold_released: int
    """Hold given back by refusal, cancel or expiry."""
    flags: tuple[str, ...]
    reason: str
    venue_id: str | None
    cancel_deadline_us: int | None
    outbox: bool
    """Part of an outbox entry, and the venue has not answered yet."""
    amend_id: str | None
    """Event id of the amendment that awaits the venue's answer; None: none does."""
    amend_lots: int
    """Quantity asked for by it, fills included; 0: none."""
    amend_hold: int
    """Charge of the whole amended order."""
    amend_price_ticks: int
    amend_deadline_us: int | None
    changed_us: int
    version: int

    @property
    def reserved_margin(self) -> Decimal:
        """Margin held for what still works."""
        return to_decimal(self.hold, self.scale)

    @property
    def margin_taken(self) -> Decimal:
        """Tickets: margin of the open lots."""
        return to_decimal(self.margin, self.scale)

    @property
    def terminal(self) -> bool:
        """Whether nothing of the order works any more."""
        return self.state.terminal

    @property
    def compacted(self) -> bool:
        """Whether `archive` has let go of everything but what a late fill needs: only these have no request id."""
        return not self.request_id

    @property
    def ordered(self) -> int:
        """Lots the order may come to: filled + working + released. The larger quantity while an amendment is open."""
        return max(self.lots, self.amend_lots)

    @property
    def overdue_us(self) -> int | None:
        """When the order's next answer is due; None where nothing is awaited. UNKNOWN always awaits one."""
        state = self.state
        if state is OrderState.RESERVED or state is OrderState.SENT:
            return self.deadline_us
        if state.terminal:
            return None
        asked = [at for at in (self.cancel_deadline_us, self.amend_deadline_us) if at is not None]
        if state is OrderState.UNKNOWN:
            # What is asked of it puts nothing off.
            asked += (self.deadline_us, self.changed_us)
        return min(asked, default=None)

    @property
    def wire(self) -> tuple[str, str]:
        """(order_status, execution_status) under the names of the stored record."""
        state = self.state
        if state is OrderState.CLOSED:
            return ("CLOSED", "EXECUTED")
        if self.filled + self.overfilled:
            return ("OPEN", "EXECUTED")
        if state is OrderState.REJECTED:
            return ("REJECTED", "REJECTED")
        if state.terminal:
            return ("CANCELLED", "CANCELLED")
        if state is OrderState.LIVE and self.order_type == "limit":
            return ("PENDING", "PENDING")
        return ("QUEUED", "QUEUED")

    @property
    def order_status(self) -> str:
        """First of the two wire names."""
        return self.wire[0]

    @property
    def execution_status(self) -> str:
        """Second of the two wire names."""
        return self.wire[1]

    def to_dict(self) -> dict[str, Any]:
        """The stored record under its wire names: a key that holds nothing is absent."""
        status, execution = self.wire
        fields: dict[str, Any] = {
            "order_id": self.order_id,
            "symbol": self.symbol,
            "side": self.side,
            "state": self.state.value,
            "order_status": status,
            "execution_status": execution,
            "lots": self.lots,
            "filled": self.filled,
            "working": self.working,
            "released": self.released,
        }
        if self.hold:
            fields["reserved_margin"] = self.reserved_margin
        if self.margin:
            fields["margin"] = self.margin_taken
        if self.amend_lots:
            fields["amend_lots"] = self.amend_lots
        if self.hold_released:
            fields["released_margin"] = to_decimal(self.hold_released, self.scale)
        return fields


COMPACTED: dict[str, Any] = {
    "price_ticks": 0,
    "hold_start": 0,
    "reduce_only": False,
    "reduces": False,
    "order_type": "limit",
    "owner": "",
    "request_id": "",
    "created_us": 0,
    "deadline_us": 0,
    "good_till_us": None,
    "reason": "",
    "venue_id": None,
}
"""What an order without fills is left without: it keeps its id, state, symbol, leg, side, quantities and aliases."""
SHRINKS = (OrderState.REJECTED, OrderState.CANCELLED, OrderState.EXPIRED)


def digest_of(orders: Iterable[tuple[str, tuple[Any, ...]]]) -> str:
    """Digest of orders, each its id and the journalled part of it, in whatever order they come.

    A sum of 48 bits over a hash of each order: a store can keep it by adding and taking away what a step changed.
    """
    digest = 0
    for order_id, (state, *figures) in orders:
        text = f'{order_id}\x1f["{state}",{",".join(map(str, figures))}]'
        found = sha1(text.encode()).hexdigest()  # noqa: S324 - finds accidents, not forgers; servers have it too
        digest += int(found[:12], 16)
    return str(digest % 2**48)


new_record = tuple.__new__
"""`new_record(BookOrder, values)` takes a third of the time of a call of the class: for the hot path.

There, values are sums of short tuples: one of more than thirty items, or with a starred item, is built through a list.
"""
STATE_AT = BookOrder._fields.index("state")
STATE_END = BookOrder._fields.index("flags")
OUTBOX_AT = BookOrder._fields.index("outbox")
CHANGED_AT = BookOrder._fields.index("changed_us")
_STATES = {state._value_: state for state in OrderState}


def raw_order(order: BookOrder) -> RawOrder:
    """An order as stores keep it."""
    values: list[Any] = list(order)
    values[STATE_AT] = values[STATE_AT]._value_
    return tuple(values)


def order_of_raw(raw: RawOrder) -> BookOrder:
    """The order as steps know it."""
    values = list(raw)
    values[STATE_AT] = _STATES[values[STATE_AT]]
    return new_record(BookOrder, values)


class OutboxEntry(NamedTuple):
    """Orders of one request that somebody has to send. An entry goes when the venue has answered for all of them."""

    request_id: str
    version: int
    """Version of the account when it was written; entries are listed by it."""
    created_us: int
    deadline_us: int
    order_ids: tuple[str, ...]
    open_orders: int
    """Orders the venue has not answered for."""


def raw_entry(entry: OutboxEntry) -> RawEntry:
    """An outbox entry as stores keep it."""
    return cast(RawEntry, tuple(entry))


class SymbolChange(NamedTuple):
    """One symbol in a journal record: (lots, margin, hold_bids, hold_asks) before and after; None before the first."""

    symbol: str
    leg: str
    before: tuple[int, int, int, int] | None
    after: tuple[int, int, int, int]


class OrderChange(NamedTuple):
    """One order in a journal record: the fields `state` ... `hold_released` before and after; None before the first."""

    order_id: str
    before: tuple[Any, ...] | None
    after: tuple[Any, ...] | None
    """None: archived."""


class JournalRecord(NamedTuple):
    """One step: its cause, and everything it changed, before and after."""

    version: int
    at_us: int
    op: str
    ident: str
    """Request, event or fill id that caused it."""
    order_id: str
    code: Code
    before: Totals
    after: Totals
    symbols: tuple[SymbolChange, ...]
    orders: tuple[OrderChange, ...]
    details: tuple[tuple[str, Any], ...]
    """Further content of the cause: amounts, flags, reason, operator."""


@dataclass(frozen=True, slots=True)
class OrderOutcome:
    """What became of one order of a ladder. Amounts in units of the account's scale."""

    order_id: str
    code: Code
    hold: int
    required: int = 0
    """Refused for margin: rise of used_margin_all it asked for."""
    free: int = 0
    """Refused for margin: free margin it met."""


class Outcome(NamedTuple):
    """Answer of the book to one request.

    A DUPLICATE carries everything the first answer carried. Integer amounts are units of 10^-scale. `totals_before`,
    `totals_after` and `order_rows` are `before`, `after` and `orders` in plain tuples, as the book keeps them.
    """

    code: Code
    op: str
    account_id: str
    version: int = 0
    """Version of the account after the step."""
    scale: int = MICRO_SCALE
    totals_before: RawTotals | None = None
    totals_after: RawTotals | None = None
    order_id: str | None = None
    state: OrderState | None = None
    """State of the order after the step, for operations on one order."""
    flags: tuple[str, ...] = ()
    order_rows: tuple[OrderRow, ...] = ()
    required_units: int | None = None
    free_units: int | None = None

    @property
    def before(self) -> Totals | None:
        """Totals of the account before the step."""
        return None if self.totals_before is None else Totals(*self.totals_before)

    @property
    def after(self) -> Totals | None:
        """Totals of the account after the step."""
        return None if self.totals_after is None else Totals(*self.totals_after)

    @property
    def orders(self) -> tuple[OrderOutcome, ...]:
        """What became of each order of a ladder, in the caller's order."""
        return tuple([OrderOutcome(name, Code(code), *rest) for name, code, *rest in self.order_rows])

    @property
    def ok(self) -> bool:
        """The step was done now, by this call. Only this permits sending after `claim`."""
        return self.code is Code.OK

    @property
    def done(self) -> bool:
        """The effect stands in the book: done now, or by an earlier call with the same id."""
        return self.code is Code.OK or self.code is Code.DUPLICATE

    @property
    def transient(self) -> bool:
        """Whether asking again later may be answered otherwise."""
        return self.code.transient

    @property
    def shortfall_units(self) -> int | None:
        """Margin missing for the grant, in units; None unless refused for margin."""
        if self.required_units is None or self.free_units is None:
            return None
        return self.required_units - self.free_units

    @property
    def required(self) -> Decimal | None:
        """Rise of used_margin_all asked for, of an execution the fall of `free`; None unless refused for margin."""
        return None if self.required_units is None else to_decimal(self.required_units, self.scale)

    @property
    def free(self) -> Decimal | None:
        """Free margin the request met; None unless refused for margin."""
        return None if self.free_units is None else to_decimal(self.free_units, self.scale)

    @property
    def shortfall(self) -> Decimal | None:
        """Margin missing for the grant; None unless refused for margin."""
        missing = self.shortfall_units
        return None if missing is None else to_decimal(missing, self.scale)

    @property
    def granted(self) -> tuple[str, ...]:
        """Ids of the orders of a ladder that are held now."""
        return tuple([row[0] for row in self.order_rows if row[1] == "OK"])


# What a store keeps for long is exact tuples of numbers and text: the garbage collector stops looking at those, while
# a million named tuples or dataclasses would be walked again and again.


def step_of(kept: KeptStep) -> tuple[RawJournal, PackedOutcome | None]:
    """The journal record of a step, and what its id was answered."""
    packed = kept[4]
    journal, answer = unpack(packed) if isinstance(packed, bytes) else packed
    return journal, answer_of_record(journal, answer) if isinstance(answer, int) else answer


def answer_of_record(journal: RawJournal, scale: int) -> PackedOutcome:
    """What a reservation was answered of which every order is held: its journal record tells all of it."""
    version, _, op, _, _, code, before, after, _, orders, _ = journal
    rows = tuple([(order_id, code, state[1], 0, 0) for order_id, _, state in orders])
    return (code, op, version, scale, before, after, None, None, (), rows)


def journal_record(raw: RawJournal) -> JournalRecord:
    """A journal record as callers see it."""
    version, at_us, op, ident, order_id, code, before, after, symbols, orders, details = raw
    return JournalRecord(
        version,
        at_us,
        op,
        ident,
        order_id,
        Code(code),
        Totals(*before),
        Totals(*after),
        tuple([SymbolChange(*change) for change in symbols]),
        tuple([OrderChange(*change) for change in orders]),
        details,
    )


def outcome_of(account_id: str, packed: PackedOutcome) -> Outcome:
    """The outcome that was packed under an id."""
    code, op, version, scale, before, after, order_id, state, flags, rows = packed
    where = None if state is None else OrderState(state)
    return Outcome(Code(code), op, account_id, version, scale, before, after, order_id, where, flags, rows)
