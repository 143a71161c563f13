"""What a venue says of an account, and the check of it before anything is compared or repaired.

Whatever is of a wrong type or out of range is refused here as a whole, by name and place: reconcile repairs step by
step, and an error half way would leave what came before it done and reported by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from equipoise.errors import InputError
from equipoise.orders import Side
from equipoise.reservation.arguments import flag_of, leg_of, places_of, sequence_of, time_of
from equipoise.reservation.ids import id_of
from equipoise.reservation.money import AMOUNT_MAX, Amount, lots_of, units, whole

__all__ = ["VenueFill", "VenueOrder", "VenueView", "checked_view"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueOrder:
    """An open order as the venue has it.

    Parameters
    ----------
    order_id, venue_id
        Client id and the venue's id. Of an order without either the report says that it is not held: the book has no
        name for it.
    lots, filled
        Quantity of the order, and what of it has traded.
    price_ticks
        Limit price; 0 for an order without one (a market or stop order), which is held like any other.
    hold
        Charge of the whole order under the account's terms: what an adopted order holds.
    """

    symbol: str
    side: Side
    lots: int
    price_ticks: int
    hold: Amount
    order_id: str | None = None
    venue_id: str | None = None
    filled: int = 0
    reduce_only: bool = False
    leg: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueFill:
    """A fill as the venue reports it; the arguments of `ReservationBook.fill`. `order_id` may be the venue's id."""

    fill_id: str
    order_id: str
    lots: int
    margin: Amount | None = None
    realised_pnl: Amount | None = None
    fee: Amount = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueView:
    """What a venue says of an account as of one moment.

    Parameters
    ----------
    as_of_us
        When it was true.
    orders
        *All* open orders: absence is evidence.
    fills
        Fills since some cursor of the caller's, with overlap: those the book knows are passed over.
    positions
        Signed lots per symbol, or per (symbol, leg); None: not asked. Of tickets those of legs "long" and "short" show
        more than net ones.
    balance
        None: not asked.
    """

    as_of_us: int
    orders: tuple[VenueOrder, ...] = ()
    fills: tuple[VenueFill, ...] = ()
    positions: Mapping[str | tuple[str, str], int] | None = None
    balance: Amount | None = None


def checked_view(view: VenueView, scale: int) -> VenueView:
    """The view with its amounts as the account can book them, or InputError; `scale` is the account's."""
    if not isinstance(view, VenueView):
        raise InputError("view", None, "a VenueView", type(view).__name__)
    orders = sequence_of(view.orders, "view.orders", VenueOrder)
    fills = sequence_of(view.fills, "view.fills", VenueFill)
    return VenueView(
        as_of_us=time_of(view.as_of_us, "view.as_of_us"),
        orders=tuple([_order(order, index, scale) for index, order in enumerate(orders)]),
        fills=tuple([_fill(fill, index, scale) for index, fill in enumerate(fills)]),
        positions=None if view.positions is None else _positions(view.positions),
        balance=_amount(view.balance, scale, "view.balance", signed=True),
    )


def _amount(
    amount: Amount | None, scale: int, argument: str, index: int | None = None, *, signed: bool = False
) -> Amount | None:
    """An amount that may be missing: one that is signed must be exact, any other is rounded up when it is booked."""
    if amount is not None:
        units(amount, scale, argument, index=index, signed=signed, round_up=not signed)
    return amount


def _named(ident: str | None, argument: str, index: int) -> str | None:
    """An id that may be missing."""
    return None if ident is None else id_of(ident, argument, index)


def _order(order: VenueOrder, index: int, scale: int) -> VenueOrder:
    if not isinstance(order.side, Side):
        raise InputError("view.orders.side", index, "a Side", order.side)
    units(order.hold, scale, "view.orders.hold", index=index, round_up=True)
    flag_of(order.reduce_only, "view.orders.reduce_only", index)
    return replace(
        order,
        order_id=_named(order.order_id, "view.orders.order_id", index),
        venue_id=_named(order.venue_id, "view.orders.venue_id", index),
        leg=leg_of(order.leg, "view.orders.leg") or None,
        symbol=id_of(order.symbol, "view.orders.symbol", index),
        lots=lots_of(order.lots, "view.orders.lots", index),
        price_ticks=lots_of(order.price_ticks, "view.orders.price_ticks", index, least=0),
        filled=lots_of(order.filled, "view.orders.filled", index, least=0),
    )


def _fill(fill: VenueFill, index: int, scale: int) -> VenueFill:
    fill_id = id_of(fill.fill_id, "view.fills.fill_id", index)
    order_id = id_of(fill.order_id, "view.fills.order_id", index)
    _amount(fill.margin, scale, "view.fills.margin", index)
    _amount(fill.realised_pnl, scale, "view.fills.realised_pnl", index, signed=True)
    units(fill.fee, scale, "view.fills.fee", index=index, signed=True)
    return replace(fill, fill_id=fill_id, order_id=order_id, lots=lots_of(fill.lots, "view.fills.lots", index))


def _positions(positions: object) -> Mapping[str | tuple[str, str], int]:
    """Signed lots per (symbol, leg), each named once."""
    found: dict[str | tuple[str, str], int] = {}
    for symbol, leg, lots in places_of(positions, "view.positions"):
        count = whole(lots, f"view.positions[{symbol}]")
        if not -AMOUNT_MAX <= count <= AMOUNT_MAX:
            raise InputError(f"view.positions[{symbol}]", None, "lots within 2^53 - 1", lots)
        found[symbol, leg] = count
    return found
