"""What a call brings, checked without the store and turned into integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from equipoise.errors import InputError
from equipoise.orders import Order, Side
from equipoise.reservation.ids import id_of
from equipoise.reservation.money import AMOUNT_MAX, Amount, lots_of, units
from equipoise.reservation.records import Terms
from equipoise.reservation.requests import Ask
from equipoise.reservation.steps import COMBINE_RULES, POSITION_MODES

__all__ = ["asks_of", "leg_of", "order_type_of", "terms_of"]

LADDER_MAX = 500
RULES_FOR_QUOTING_ONLY = ("net_contracts", "single_order")
LEGS = (None, "long", "short")


def asks_of(request_id: str, orders: Sequence[Order], holds: Sequence[Amount] | None, scale: int) -> tuple[Ask, ...]:
    """Check a ladder and turn it into integers; `scale` is that of `holds`."""
    if not isinstance(orders, list | tuple):
        raise InputError("orders", None, "a list or tuple of orders", type(orders).__name__)
    if not 1 <= len(orders) <= LADDER_MAX:
        raise InputError("orders", None, f"1-{LADDER_MAX} orders", len(orders))
    for index, order in enumerate(orders):
        if not isinstance(order, Order):
            raise InputError("orders", index, "an Order", type(order).__name__)
    if holds is None:
        charges: list[Any] = [order.hold for order in orders]
    else:
        if len(holds) != len(orders):
            raise InputError("holds", None, f"one amount per order ({len(orders)})", len(holds))
        charges = [units(hold, scale, "holds", index=i, round_up=True) for i, hold in enumerate(holds)]
    asks = []
    ids = set()
    for index, order in enumerate(orders):
        lots, ticks, hold, side = order.lots, order.price_ticks, charges[index], order.side
        if type(lots) is not int or not 0 < lots <= AMOUNT_MAX:
            lots = lots_of(lots, "orders.lots", index)
        if type(ticks) is not int or not 0 < ticks <= AMOUNT_MAX:
            ticks = lots_of(ticks, "orders.price_ticks", index)
        if type(hold) is not int or not 0 <= hold <= AMOUNT_MAX:
            hold = lots_of(hold, "orders.hold", index, least=0)
        if side is not Side.BID and side is not Side.ASK:
            raise InputError("orders.side", index, "a Side", repr(side))
        order_id = order.order_id
        order_id = f"{request_id}:{index}" if order_id is None else id_of(order_id, "orders.order_id", index)
        if order_id in ids:
            raise InputError("orders.order_id", index, "used once in a ladder", repr(order_id))
        ids.add(order_id)
        symbol = id_of(order.symbol, "orders.symbol", index)
        leg = leg_of(order.leg) if order.leg is not None else ""
        if not isinstance(order.reduce_only, bool):
            raise InputError("orders.reduce_only", index, "a bool", type(order.reduce_only).__name__)
        word = "bid" if side is Side.BID else "ask"
        asks.append(Ask(order_id, symbol, leg, word, lots, ticks, hold, order.reduce_only))
    return tuple(asks)


def leg_of(leg: object) -> str:
    """Leg of a hedged position; empty where positions are netted."""
    if leg is None:
        return ""
    if not isinstance(leg, str) or leg not in LEGS:
        raise InputError("leg", None, "'long', 'short' or None", repr(leg))
    return str(leg)


def order_type_of(order_type: str) -> str:
    """A word for the order type."""
    if order_type not in ("limit", "market"):
        raise InputError("order_type", None, "'limit' or 'market'", order_type)
    return order_type


def combine_of(rule: object) -> str:
    """Name of the combine rule of an order-margin rule, or the name itself."""
    name = getattr(rule, "combine", rule)
    name = getattr(name, "value", name)
    if isinstance(name, str) and (name in COMBINE_RULES or name in RULES_FOR_QUOTING_ONLY):
        return name
    raise InputError("rule", None, f"an order-margin rule or one of {', '.join(COMBINE_RULES)}", repr(rule))


def terms_of(
    scale: int,
    rule: object,
    positions: str | None,
    pnl_policy: str,
    mark_age_ms_max: int | None,
    orders_max: int | None,
    order_margin_max: Amount | None,
    margin_max: Amount | None,
    position_lots_max: Mapping[str, int] | None,
    owner_margin_max: Mapping[str, Amount] | None,
    records_max: int | None = None,
) -> Terms:
    """Terms in units of the scale, in canonical order."""
    combine = combine_of(rule)
    mode = positions if positions is not None else ("hedge" if combine == "hedge_legs" else "net")
    if mode not in POSITION_MODES:
        raise InputError("positions", None, f"one of {', '.join(POSITION_MODES)}", positions)
    if pnl_policy not in ("loss_only", "all"):
        raise InputError("pnl_policy", None, "'loss_only' or 'all'", pnl_policy)
    lots = {
        id_of(name, "position_lots_max"): lots_of(most, name, least=0)
        for name, most in (position_lots_max or {}).items()
    }
    owners = {
        id_of(name, "owner_margin_max"): units(most, scale, name) for name, most in (owner_margin_max or {}).items()
    }
    return Terms(
        combine=combine,
        positions=mode,
        pnl_policy=pnl_policy,
        mark_age_ms_max=None if mark_age_ms_max is None else lots_of(mark_age_ms_max, "mark_age_ms_max"),
        orders_max=None if orders_max is None else lots_of(orders_max, "orders_max", least=0),
        order_margin_max=None if order_margin_max is None else units(order_margin_max, scale, "order_margin_max"),
        margin_max=None if margin_max is None else units(margin_max, scale, "margin_max"),
        position_lots_max=tuple(sorted(lots.items())),
        owner_margin_max=tuple(sorted(owners.items())),
        records_max=None if records_max is None else lots_of(records_max, "records_max", least=0),
    )
