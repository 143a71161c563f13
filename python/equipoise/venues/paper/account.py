"""Balance, position and cost of one account in one instrument, in exact integers.

The value of one lot at one tick is a fraction `unit` of micro-units. Costs are kept in the denominator of that
fraction, so nothing is rounded when a position opens. Closing `r` of `|q|` lots releases the average entry by the
remainder formula of the reservation book (cost of `w` remaining lots = b·w + min(x, w) with b, x quotient and
remainder of cost by |q|): it depends on `w` only and is 0 at `w = 0`. Realised profit is booked as the floor of its
running exact total. Hence, whenever flat,

    balance = balance at the start + floor(exact cash flow of all fills) − fees

to the micro-unit, and without the floor where the unit is a whole number of micro-units.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["Booking", "PaperAccount", "fee_micros"]


def fee_micros(value_micros: Fraction, rate_bps: Fraction) -> int:
    """Fee of a fill of that value in micro-units, rounded up: charges away from 0, rebates towards 0."""
    exact = value_micros * rate_bps / 10_000
    return -(-exact.numerator // exact.denominator)


@dataclass(frozen=True, slots=True)
class Booking:
    """What one fill does to the account; booked by `PaperAccount.book` or dropped."""

    position_lots: int
    cost: int
    realised_exact: int
    realised_pnl: int
    fee: int


class PaperAccount:
    """One account in one instrument.

    Parameters
    ----------
    balance
        Micro-units at the start.
    unit_micros
        Value of one lot at a price of one tick, in micro-units.
    maker_fee_bps, taker_fee_bps
        Fee rates in 10^-4 of the value; negative for a rebate.
    """

    __slots__ = (
        "_den",
        "_fee_bps",
        "_num",
        "_realised_exact",
        "balance",
        "cost",
        "fees",
        "position_lots",
        "realised_pnl",
    )

    def __init__(self, balance: int, unit_micros: Fraction, maker_fee_bps: Decimal, taker_fee_bps: Decimal) -> None:
        self.balance = balance
        self.position_lots = 0
        self.cost = 0
        self.fees = 0
        self.realised_pnl = 0
        self._realised_exact = 0
        self._num = unit_micros.numerator
        self._den = unit_micros.denominator
        self._fee_bps = (Fraction(taker_fee_bps), Fraction(maker_fee_bps))

    def booking(self, signed_lots: int, price_ticks: int, *, maker: bool) -> Booking:
        """What a fill would do: `signed_lots` > 0 buys. Nothing is booked."""
        held = self.position_lots
        value = abs(signed_lots) * price_ticks * self._num
        closes = min(abs(held), abs(signed_lots)) if (held > 0) != (signed_lots > 0) else 0
        cost, realised_exact = self.cost, self._realised_exact
        if closes:
            kept = abs(held) - closes
            each, rest = divmod(cost, abs(held))
            cost_kept = each * kept + min(rest, kept)
            gain = closes * price_ticks * self._num - (cost - cost_kept)
            realised_exact += gain if held > 0 else -gain
            cost = cost_kept
        cost += (abs(signed_lots) - closes) * price_ticks * self._num
        return Booking(
            position_lots=held + signed_lots,
            cost=cost,
            realised_exact=realised_exact,
            realised_pnl=realised_exact // self._den - self.realised_pnl,
            fee=fee_micros(Fraction(value, self._den), self._fee_bps[maker]),
        )

    def book(self, booking: Booking) -> None:
        """Make the fill final."""
        self.position_lots = booking.position_lots
        self.cost = booking.cost
        self._realised_exact = booking.realised_exact
        self.realised_pnl += booking.realised_pnl
        self.fees += booking.fee
        self.balance += booking.realised_pnl - booking.fee

    def unrealised(self, mark_half_ticks: int | Fraction) -> int:
        """Profit of the open position at a mark, in micro-units, rounded down."""
        return self._unrealised(self.position_lots, self.cost, mark_half_ticks)

    def equity(self, mark_half_ticks: int | Fraction) -> int:
        """Balance and unrealised profit at a mark, in micro-units, rounded down."""
        return self.balance + self._unrealised(self.position_lots, self.cost, mark_half_ticks)

    def equity_after(self, booking: Booking, mark_half_ticks: int | Fraction) -> int:
        """Equity once the fill is booked."""
        balance = self.balance + booking.realised_pnl - booking.fee
        return balance + self._unrealised(booking.position_lots, booking.cost, mark_half_ticks)

    def entry_ticks(self) -> Fraction | None:
        """Average entry of the open position in ticks; None when flat."""
        return Fraction(self.cost, abs(self.position_lots) * self._num) if self.position_lots else None

    def _unrealised(self, lots: int, cost: int, mark_half_ticks: int | Fraction) -> int:
        if lots == 0:
            return 0
        signed_cost = cost if lots > 0 else -cost
        return (lots * mark_half_ticks * self._num - 2 * signed_cost) // (2 * self._den)
