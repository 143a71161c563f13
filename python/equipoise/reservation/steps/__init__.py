"""The steps of the book: one pure function per operation.

A step reads the records it needs through a `View`, checks everything, computes every new value and only then describes
what to write: an `Effect`. It never writes. A store loads records, runs the step inside its lock or transaction and
writes the effect as a whole, so every store has the same semantics, and a refusal cannot leave anything behind.
The cost of a step depends on the orders it names, never on how many rest (larger_leg: logarithmically).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from equipoise.reservation.steps.accounts import (
    abandon,
    archive,
    export,
    mark,
    move_money,
    open_account,
    revalue,
    set_terms,
    suspend,
)
from equipoise.reservation.steps.amends import amend, settle_amend
from equipoise.reservation.steps.events import acknowledge, claim, end_order, request_cancel, resolve, sweep
from equipoise.reservation.steps.fills import close, fill
from equipoise.reservation.steps.grants import execute
from equipoise.reservation.steps.imports import import_flat
from equipoise.reservation.steps.ladders import reserve
from equipoise.reservation.steps.repairs import adopt, repair
from equipoise.reservation.steps.rules import (
    COMBINE_RULES,
    POSITION_MODES,
    counted,
    counted_rate,
    misleads,
    needs_alias,
    order_rate,
    standing,
    terms_content,
    terms_fault,
)
from equipoise.reservation.steps.view import NOT_TERMINAL, Effect, Indexes, Lease, RateKey, Upkeep, View

__all__ = [
    "COMBINE_RULES",
    "NOT_TERMINAL",
    "POSITION_MODES",
    "STEPS",
    "Effect",
    "Indexes",
    "Lease",
    "RateKey",
    "Upkeep",
    "View",
    "counted",
    "counted_rate",
    "misleads",
    "needs_alias",
    "order_rate",
    "standing",
    "terms_content",
    "terms_fault",
]

STEPS: dict[str, Callable[[View, Any, int], Effect]] = {
    "open_account": open_account,
    "import_flat": import_flat,
    "set_terms": set_terms,
    "suspend": suspend,
    "abandon": abandon,
    "archive": archive,
    "export": export,
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
    "amend": amend,
    "adopt": adopt,
    "repair": repair,
    "settle_amend": settle_amend,
}
