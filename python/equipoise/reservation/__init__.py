"""The reservation book: margin is held before an order leaves, and never promised twice."""

from equipoise.reservation.audit import AuditReport, Finding
from equipoise.reservation.codes import AccountStatus, Code, OrderState
from equipoise.reservation.contract import ReservationBook
from equipoise.reservation.discrepancies import Discrepancy, ReconcileReport
from equipoise.reservation.flat import FlatFault, FlatImport
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
from equipoise.reservation.venue import VenueFill, VenueOrder, VenueView
from equipoise.reservation.workers import PARTITIONS, AsyncWorker, Delivery, Worker, partition_of

__all__ = [
    "PARTITIONS",
    "AccountStatus",
    "AsyncWorker",
    "AuditReport",
    "BookAccount",
    "BookOrder",
    "BookSymbol",
    "Code",
    "Delivery",
    "Discrepancy",
    "Finding",
    "FlatFault",
    "FlatImport",
    "JournalRecord",
    "OrderChange",
    "OrderOutcome",
    "OrderState",
    "OutboxEntry",
    "Outcome",
    "ReconcileReport",
    "ReservationBook",
    "SymbolChange",
    "Terms",
    "Totals",
    "VenueFill",
    "VenueOrder",
    "VenueView",
    "Worker",
    "from_micros",
    "partition_of",
]
