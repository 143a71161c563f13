"""What a comparison finds, what would repair it, and the report of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from equipoise.reservation.codes import Code
from equipoise.reservation.records import Outcome

__all__ = ["HARMLESS", "Discrepancy", "Plan", "ReconcileReport", "settled_by"]

HARMLESS = frozenset({"absent"})
"""Findings that may stay while an account grants again: what they are about is still held."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One thing that is not as it should be.

    Parameters
    ----------
    kind
        Within the book: order, record, symbol, index, totals, journal. Against the venue: unheld_order, missed_fill,
        unacknowledged, ended, absent, amended, quantity, fills_missing, fill_of_unknown_order, position, balance; and
        recovering.
    where
        Order, symbol or account.
    expected, found
        What the orders, the journal or the venue say, and what the book says.
    repair
        What `apply` does about it; empty: nothing.
    state
        "found" (dry run), "applied" or "skipped".
    note
        Why nothing is or was done.
    """

    kind: str
    where: str
    expected: Any
    found: Any
    repair: str = ""
    state: str = "found"
    note: str = ""


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """What `reconcile` found and did. `ok`: nothing was found. `settled`: everything found was repaired."""

    account_id: str
    version: int
    """Version of the account the findings were made on."""
    applied: bool
    discrepancies: tuple[Discrepancy, ...]
    unjudged: tuple[str, ...] = field(default=())
    """Orders that changed too shortly before the view to be judged by it."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.discrepancies

    @property
    def settled(self) -> bool:
        """Whether nothing is left to repair."""
        return all(item.state == "applied" for item in self.discrepancies)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values ready for JSON."""
        return {
            "account_id": self.account_id,
            "version": self.version,
            "applied": self.applied,
            "ok": self.ok,
            "settled": self.settled,
            "unjudged": list(self.unjudged),
            "discrepancies": [
                {
                    "kind": item.kind,
                    "where": item.where,
                    "expected": _plain(item.expected),
                    "found": _plain(item.found),
                    "repair": item.repair,
                    "state": item.state,
                    "note": item.note,
                }
                for item in self.discrepancies
            ],
        }


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int) else str(value)


class Plan(NamedTuple):
    """A finding with the call that repairs it: the name of a step and its arguments; None: there is none."""

    item: Discrepancy
    step: str | None = None
    values: tuple[Any, ...] = ()
    order_id: str | None = None
    """Order whose version must still be what it was; of an adoption, one that learns the venue's id by it."""


def settled_by(outcome: Outcome) -> tuple[str, str]:
    """(state, note) of a finding whose repair was answered so."""
    if outcome.done:
        return "applied", ""
    why = "changed since it was looked at" if outcome.code is Code.ILLEGAL_TRANSITION else outcome.code.value
    return "skipped", why
