"""What a caller asks, checked and turned into integers: the only thing a store's step receives.

Requests are data, so that a store may run the step in this process or pack the same fields for a script elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from equipoise.reservation.codes import OrderState
from equipoise.reservation.ids import fingerprint
from equipoise.reservation.records import Terms

__all__ = [
    "Abandon",
    "Adopt",
    "Amend",
    "Archive",
    "Ask",
    "Close",
    "Execute",
    "Export",
    "Fill",
    "FlatOrder",
    "ImportFlat",
    "Mark",
    "Money",
    "OpenAccount",
    "OrderEvent",
    "Repair",
    "Request",
    "Reserve",
    "Resolve",
    "Revalue",
    "SetTerms",
    "SettleAmend",
    "Suspend",
    "Sweep",
]


class Ask(NamedTuple):
    """One order somebody wants margin for; `hold` in units of the account's scale."""

    order_id: str
    symbol: str
    leg: str
    side: str
    lots: int
    price_ticks: int
    hold: int
    reduce_only: bool


@dataclass(slots=True)
class Request:
    """Common to all: the operation, the account, the id of the cause and the content that the id stands for."""

    op: str
    account_id: str
    ident: str
    content: str | tuple[object, ...]
    """Its fingerprint, or what that is to be made of: callers who wait for one another leave it to the one who writes,
    and so make it in a row, not each as soon as it has been woken."""
    expected_version: int | None = field(default=None, kw_only=True)
    """Refuse when the order (repairs: the account) has another version; None: whatever it is."""
    derived: bool = field(default=False, kw_only=True)
    """The id was made from what the event says, so that the same may be said again later and be news (`is_news`)."""
    at_scale: int | None = field(default=None, kw_only=True)
    """Scale that the amounts were counted at; an account of another refuses them before anything else. None: no amount
    depends on it."""

    @property
    def fingerprint(self) -> str:
        """Short text that is equal for equal content."""
        content = self.content
        if isinstance(content, tuple):
            self.content = content = fingerprint(*content)
        return content


@dataclass(slots=True)
class Timed(Request):
    """Account-level request: looked up by id, valid from `issued_us` to `not_after_us`."""

    issued_us: int
    not_after_us: int


@dataclass(slots=True)
class OpenAccount(Timed):
    """Open an account; `horizon_us` is how long request ids are kept at least."""

    currency: str
    scale: int
    balance: int
    terms: Terms
    horizon_us: int


class FlatOrder(NamedTuple):
    """One order of a flat account, as far as it can be read."""

    order_id: str
    symbol: str
    side: str
    lots: int
    state: OrderState
    hold: int
    margin: int


@dataclass(slots=True)
class ImportFlat(OpenAccount):
    """Open an account with the orders and positions of a flat layout."""

    orders: tuple[FlatOrder, ...]
    faults: int
    """How many things were wrong with it."""


@dataclass(slots=True)
class SetTerms(Timed):
    """Replace the terms."""

    terms: Terms


@dataclass(slots=True)
class Suspend(Timed):
    """Suspend growth, or lift the suspension."""

    on: bool


@dataclass(slots=True)
class Abandon(Timed):
    """Make the id `ident` final: its effect, or a tombstone."""


@dataclass(slots=True)
class Archive(Request):
    """Let go of what is older than the horizon; shrink ended orders without fills that are older than `compact_us`."""

    horizon_us: int
    compact_us: int | None
    """None: shrink none."""


@dataclass(slots=True)
class Export(Request):
    """The journal up to a version is stored elsewhere."""

    confirmed_version: int


@dataclass(slots=True)
class Money(Timed):
    """Deposit, withdraw or adjust: a signed change of the balance."""

    amount: int
    kind: str


@dataclass(slots=True)
class Reserve(Timed):
    """Hold margin for a ladder in one step."""

    asks: tuple[Ask, ...]
    best_effort: bool
    in_micros: bool
    """Holds are micro-units, so the account's scale must be 6."""
    terms_version: int | None
    owner: str
    sent: bool
    order_type: str
    deadline_us: int
    good_till_us: int | None
    outbox: bool = False
    """Write an outbox entry in the same step; the orders start RESERVED."""


@dataclass(slots=True)
class Execute(Timed):
    """Local flow: an order that is executed at placement."""

    ask: Ask
    in_micros: bool
    realised_pnl: int | None
    fee: int
    terms_version: int | None
    owner: str
    order_type: str


@dataclass(slots=True)
class Mark(Request):
    """Open profit or loss per (symbol, leg)."""

    values: tuple[tuple[str, str, int], ...]
    as_of_us: int


@dataclass(slots=True)
class Revalue(Timed):
    """Position margin of a symbol as the venue holds it now."""

    symbol: str
    leg: str
    margin: int
    as_of_us: int


@dataclass(slots=True)
class OrderEvent(Request):
    """Claim, acknowledge, reject, request_cancel, cancel or expire of one order."""

    order_id: str
    venue_id: str | None = None
    deadline_us: int | None = None
    reason: str = ""


@dataclass(slots=True)
class Amend(Request):
    """Ask the venue for another total quantity of an order; `hold` is the charge of the whole amended order."""

    order_id: str
    lots: int
    hold: int
    price_ticks: int | None
    """None: unchanged."""
    client_id: str | None
    terms_version: int | None
    deadline_us: int
    not_after_us: int


@dataclass(slots=True)
class SettleAmend(Request):
    """The venue's answer to the amendment that had the event id `amend_id`."""

    order_id: str
    amend_id: str
    accepted: bool
    venue_id: str | None


@dataclass(slots=True)
class Fill(Request):
    """Lots of an order that traded."""

    order_id: str
    lots: int
    margin: int | None
    realised_pnl: int | None
    fee: int


@dataclass(slots=True)
class Close(Request):
    """Lots of a ticket that were closed; lots None: all."""

    order_id: str
    lots: int | None
    realised_pnl: int | None
    fee: int


@dataclass(slots=True)
class Resolve(Request):
    """Evidence about an UNKNOWN order."""

    order_id: str
    outcome: OrderState
    evidence: str
    operator: str


@dataclass(slots=True)
class Adopt(Request):
    """Hold for an order that the venue has and the book does not know."""

    ask: Ask
    venue_id: str | None
    order_type: str = "limit"
    owner: str = ""


@dataclass(slots=True)
class Repair(Request):
    """Put one thing right; `where` names the order or symbol, `position` is (lots, margin) as the journal has it."""

    kind: str
    """order, symbol, index, lookups (of the indexes those that orders are found by), totals, journal or status."""
    where: str
    leg: str
    position: tuple[int, int] | None
    operator: str


@dataclass(slots=True)
class Sweep(Request):
    """Label or end what is past its deadline, unless another sweeper has the lease."""

    sweeper: str = ""
    """Empty: without a lease."""
    lease_us: int = 0
