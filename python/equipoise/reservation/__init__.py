"""The reservation book: margin is held before an order leaves, and never promised twice."""

from equipoise.reservation.audit import AuditReport, Finding
from equipoise.reservation.codes import AccountStatus, Code, OrderState
from equipoise.reservation.contract import ReservationBook
from equipoise.reservation.money import from_micros
from equipoise.reservation.records import (
    BookAccount,
    BookOrder,
    BookSymbol,
    JournalRecord,
    OrderChange,
    OrderOutcome,
    OutboxEntry,
    Outcome,
    SymbolChange,
    Terms,
    Totals,
)

__all__ = [
    "AccountStatus",
    "AuditReport",
    "BookAccount",
    "BookOrder",
    "BookSymbol",
    "Code",
    "Finding",
    "JournalRecord",
    "OrderChange",
    "OrderOutcome",
    "OrderState",
    "OutboxEntry",
    "Outcome",
    "ReservationBook",
    "SymbolChange",
    "Terms",
    "Totals",
    "from_micros",
]
