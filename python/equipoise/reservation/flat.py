"""The flat layout of older systems: one hash of decimal strings an account, one an order, and totals kept by hand.

======================================  ==============================================================================
hash                                    fields
======================================  ==============================================================================
``user_portfolio:{ACCOUNT}``            ``balance``, ``used_margin_executed``, ``used_margin_all``
``user_holdings:{ACCOUNT}:ORDER``       ``order_status``, ``execution_status``, ``symbol``, ``order_type`` (BUY or
                                        SELL), ``order_quantity``, ``reserved_margin``, ``margin``
======================================  ==============================================================================

The totals are not believed: they are summed anew over the orders, and what differs is listed. Nothing that may still be
live at a provider is released.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from equipoise.errors import InputError
from equipoise.reservation.arguments import mapping_of
from equipoise.reservation.codes import OrderState
from equipoise.reservation.ids import id_of, is_id, plain
from equipoise.reservation.money import AMOUNT_MAX, to_decimal, units
from equipoise.reservation.records import Outcome
from equipoise.reservation.requests import FlatOrder

__all__ = ["FlatFault", "FlatImport", "read_flat"]

STATES = {
    ("QUEUED", "QUEUED"): OrderState.UNKNOWN,  # may be live: only evidence may release it
    ("PENDING", "PENDING"): OrderState.LIVE,
    ("OPEN", "EXECUTED"): OrderState.FILLED,
    ("REJECTED", "REJECTED"): OrderState.REJECTED,
    ("CANCELLED", "CANCELLED"): OrderState.CANCELLED,
    ("CLOSED", "EXECUTED"): OrderState.CLOSED,
}
SIDES = {"BUY": "bid", "SELL": "ask"}


@dataclass(frozen=True, slots=True)
class FlatFault:
    """One thing that was wrong with a flat account.

    Parameters
    ----------
    kind
        "total" (a total is not the sum of its orders), "status" (no such pair of statuses), "amount" (an amount is
        missing where there must be one, or there where there must be none), "field" (symbol, side or quantity missing),
        "unreadable" (not an exact amount, or out of range: nothing is imported).
    where
        Order id, or the account.
    field
        The field that is wrong.
    said
        What it said; None: it was not there.
    taken
        What is taken instead.
    """

    kind: str
    where: str
    field: str
    said: str | None
    taken: str


@dataclass(frozen=True, slots=True)
class FlatImport:
    """What became of an import: the outcome of its one step (None: nothing was imported), and what was wrong."""

    outcome: Outcome | None
    faults: tuple[FlatFault, ...]

    @property
    def done(self) -> bool:
        """Whether the account is in the book."""
        return self.outcome is not None and self.outcome.done

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values ready for JSON."""
        return {
            "code": None if self.outcome is None else str(self.outcome.code),
            "done": self.done,
            "faults": [
                {"kind": f.kind, "where": f.where, "field": f.field, "said": f.said, "taken": f.taken}
                for f in self.faults
            ],
        }


def read_flat(
    account_id: str,
    portfolio: Mapping[str, str],
    holdings: Mapping[str, Mapping[str, str]],
    scale: int,
    lot: Decimal,
) -> tuple[int | None, tuple[FlatOrder, ...], tuple[FlatFault, ...]]:
    """(balance in units or None when something cannot be read, orders, what was wrong)."""
    for order_id, fields in mapping_of(holdings, "holdings").items():
        mapping_of(fields, f"holdings[{id_of(order_id, 'holdings')}]")
    mapping_of(portfolio, "portfolio")
    reader = _Reader(scale, lot)
    balance = reader.amount(account_id, "balance", portfolio.get("balance"), signed=True)
    if balance is None:
        reader.fault("unreadable", account_id, "balance", portfolio.get("balance"), "nothing")
    orders = tuple([reader.order(plain(order_id), fields) for order_id, fields in holdings.items()])
    executed = sum(order.margin for order in orders)
    totals = {"used_margin_executed": executed, "used_margin_all": executed + sum(order.hold for order in orders)}
    for name, total in totals.items():
        said = reader.amount(account_id, name, portfolio.get(name))
        if said != total:
            reader.fault("total", account_id, name, portfolio.get(name), str(to_decimal(total, scale)))
    unreadable = any(fault.kind == "unreadable" for fault in reader.faults)
    return (None if unreadable else balance), orders, tuple(reader.faults)


def _word(fields: Mapping[str, str], name: str) -> str:
    """A text among the fields; empty where there is none."""
    value = fields.get(name)
    return plain(value) if isinstance(value, str) else ""


class _Reader:
    """Reads one flat account and notes what is wrong with it."""

    def __init__(self, scale: int, lot: Decimal) -> None:
        self.scale, self.lot = scale, lot
        self.faults: list[FlatFault] = []

    def fault(self, kind: str, where: str, name: str, said: str | None, taken: str) -> None:
        self.faults.append(FlatFault(kind, where, name, said, taken))

    def amount(self, where: str, name: str, text: str | None, *, signed: bool = False) -> int | None:
        """Units of a decimal string, finer ones rounded up; None when it is not there."""
        if text is None or text == "":
            return None
        try:
            return units(text, self.scale, name, signed=signed, round_up=True)
        except InputError:
            self.fault("unreadable", where, name, str(text), "nothing")
            return None

    def order(self, order_id: str, fields: Mapping[str, str]) -> FlatOrder:
        """One order; what may be live stays held."""
        pair = (_word(fields, "order_status"), _word(fields, "execution_status"))
        state = STATES.get(pair)
        if state is None:
            state = OrderState.UNKNOWN
            self.fault("status", order_id, "order_status", "/".join(pair), "UNKNOWN, held until there is evidence")
        reserved = self.amount(order_id, "reserved_margin", fields.get("reserved_margin"))
        margin = self.amount(order_id, "margin", fields.get("margin"))
        hold = taken = 0
        if state is OrderState.FILLED:
            taken = self.needed(order_id, "margin", margin, reserved)
            self.stray(order_id, "reserved_margin", reserved)
        elif state.terminal:
            self.stray(order_id, "reserved_margin", reserved)
            self.stray(order_id, "margin", margin)
        else:
            hold = self.needed(order_id, "reserved_margin", reserved, margin)
            if reserved is not None:
                self.stray(order_id, "margin", margin)
        side = SIDES.get(_word(fields, "order_type").upper().partition("_")[0])
        if side is None:
            self.fault("field", order_id, "order_type", fields.get("order_type"), "bid")
        symbol = _word(fields, "symbol")
        if not is_id(symbol):
            self.fault("field", order_id, "symbol", symbol or None, "?")
            symbol = "?"
        return FlatOrder(order_id, symbol, side or "bid", self.lots(order_id, fields), state, hold, taken)

    def needed(self, order_id: str, name: str, amount: int | None, other: int | None) -> int:
        """An amount that must be there; the other one stands in for it, so that nothing is released."""
        if amount is None:
            self.fault("amount", order_id, name, None, str(to_decimal(other or 0, self.scale)))
        return (other or 0) if amount is None else amount

    def stray(self, order_id: str, name: str, amount: int | None) -> None:
        """An amount that must not be there any more."""
        if amount:
            self.fault("amount", order_id, name, str(to_decimal(amount, self.scale)), "nothing")

    def lots(self, order_id: str, fields: Mapping[str, str]) -> int:
        """Whole lots of the quantity, rounded up."""
        text = fields.get("order_quantity")
        try:
            exact = Decimal(text or "0") / self.lot
            count = -int(-exact // 1) if exact.is_finite() and abs(exact) <= AMOUNT_MAX else 0
        except (ArithmeticError, ValueError, TypeError):
            exact, count = Decimal(0), 0
        if count < 1 or count != exact:
            count = max(count, 1)
            self.fault("field", order_id, "order_quantity", text, f"{count} lots")
        return count
