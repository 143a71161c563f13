"""What a step reads, and what it answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from equipoise.reservation.codes import OrderState
from equipoise.reservation.records import (
    BookAccount,
    BookOrder,
    BookSymbol,
    OutboxEntry,
    Outcome,
    PackedStep,
    RawEntry,
    RawJournal,
    RawOrder,
    Remembered,
)

__all__ = ["AWAITING_VENUE", "NOT_TERMINAL", "Effect", "Indexes", "Lease", "RateDeltas", "RateKey", "Upkeep", "View"]

NOT_TERMINAL = frozenset({OrderState.RESERVED, OrderState.SENT, OrderState.LIVE, OrderState.UNKNOWN})

AWAITING_VENUE = frozenset({OrderState.RESERVED, OrderState.SENT, OrderState.UNKNOWN})

RateKey = tuple[str, str, str]
"""(symbol, leg, "orders" | "tickets"): one counted set of charges per lot."""
RateDeltas = dict[RateKey, dict[int, int]]
Lease = tuple[str, int, int]
"""(sweeper, from when, until when) by the store's clock."""


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

    def due(self, before_us: int) -> Iterable[BookOrder]:
        """Orders whose answer was due before a time."""

    def settled(self, until_us: int) -> Iterable[BookOrder]:
        """Terminal orders without an open position of their own, last changed at or before a time."""

    def unfilled(self, until_us: int) -> Iterable[str]:
        """Orders that ended without a fill, last changed at or before a time, and are still kept whole."""

    def forgotten(self, until_us: int) -> int:
        """How many request ids were issued at or before a time."""

    def aged(self, until_us: int) -> int:
        """Highest version such that it and every journal record before it are dated at or before a time."""

    def lease(self) -> Lease | None:
        """Which sweeper took the account last."""

    def request(self, ident: str) -> Remembered | None:
        """What an account-level id was used for."""

    def event(self, order_id: str, ident: str) -> Remembered | None:
        """What an event id of an order was used for."""

    def owned(self, owner: str) -> int:
        """Sum of the holds of an owner's orders."""

    def outbox_entry(self, request_id: str) -> OutboxEntry | None:
        """Outbox entry of a request, while it has one."""

    def outbox_entries(self) -> Iterable[OutboxEntry]:
        """All outbox entries."""

    def every(self) -> Iterable[BookOrder]:
        """All orders, in the order they were made; for repairs only."""

    def rate_top(self, key: RateKey, deltas: dict[int, int]) -> int:
        """Highest rate of a counted set after the deltas; 0 when it is empty."""


@dataclass(slots=True)
class Indexes:
    """Everything that is derived from the orders, to be written in place of what is there.

    Aliases of orders that do not exist go; `aliases` are venue ids of orders that lead nowhere or to another one.
    Owners and rates are None where they are to stay as they are: orders are lost whose part of them is still held.
    """

    live_ids: tuple[str, ...]
    owners: tuple[tuple[str, int], ...] | None
    rates: RateDeltas | None
    outbox: tuple[OutboxEntry, ...]
    aliases: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Upkeep:
    """What an archive or a repair writes beyond what every step does."""

    archived: tuple[str, ...] = ()
    """Orders to delete, with their events and aliases."""
    compacted: tuple[str, ...] = ()
    """Orders to shrink to `COMPACTED`, and whose events to delete."""
    watermark_us: int | None = None
    """Request ids issued at or before are to be deleted."""
    trim_version: int | None = None
    """Journal records up to it are to be folded into the base and deleted."""
    indexes: Indexes | None = None
    """Everything derived from the orders, anew."""
    rebase: bool = False
    """The journal's base becomes the state after this step."""


class Effect(NamedTuple):
    """Answer of a step and everything to be written for it; a refusal writes nothing."""

    outcome: Outcome
    account: BookAccount | None = None
    symbols: tuple[BookSymbol, ...] = ()
    orders: tuple[RawOrder, ...] = ()
    journal: RawJournal | None = None
    request: tuple[str, Remembered] | None = None
    event: tuple[str, str, Remembered] | None = None
    kept: tuple[str, PackedStep] | None = None
    """Instead of `journal` and `request`: the id, and both packed."""
    aliases: tuple[tuple[str, str], ...] = ()
    owners: tuple[tuple[str, int], ...] = ()
    rates: RateDeltas | None = None
    outbox: tuple[tuple[str, RawEntry | None], ...] = ()
    """Outbox entries by request id; None deletes."""
    lease: Lease | None = None
    """The account is a sweeper's for a while; written even if nothing else is."""
    upkeep: Upkeep | None = None
