"""What a call brings, checked without the store and turned into integers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from equipoise.errors import InputError
from equipoise.orders import Order, Side
from equipoise.reservation.codes import OrderState
from equipoise.reservation.ids import ID_LENGTH_MAX, id_of, plain
from equipoise.reservation.money import AMOUNT_MAX, Amount, lots_of, units, whole
from equipoise.reservation.records import Terms
from equipoise.reservation.requests import Ask
from equipoise.reservation.steps import COMBINE_RULES, POSITION_MODES

__all__ = [
    "TIME_MAX",
    "asks_of",
    "flag_of",
    "leg_of",
    "limit_of",
    "mapping_of",
    "order_type_of",
    "owner_of",
    "places_of",
    "sequence_of",
    "span_of",
    "states_of",
    "terms_of",
    "terms_version_of",
    "text_of",
    "time_of",
    "timeout_of",
    "url_of",
    "version_of",
]

LADDER_MAX = 500
NAMED_MORE = len(f":{LADDER_MAX - 1}")
"""Characters an order named after its request has beyond it, at most."""
RULES_FOR_QUOTING_ONLY = ("net_contracts", "single_order")
LEGS = (None, "long", "short")
TIME_MAX = AMOUNT_MAX
"""Microseconds since the epoch that every store keeps exactly, at most, before it as well as after it."""
SPAN_MAX_US = 10**15
"""Some thirty years: a span added to the time by any clock is a time."""
TIMEOUT_MS_MAX = 2**31 - 1
"""What the engines take for a time-out."""
TEXT_MAX = 1_000

_Item = TypeVar("_Item")


def time_of(value: object, argument: str) -> int:
    """Microseconds since the epoch: a whole number within 2^53 - 1, before or after."""
    moment = value if type(value) is int else whole(value, argument)
    if not -TIME_MAX <= moment <= TIME_MAX:
        raise InputError(argument, None, "whole microseconds within 2^53 - 1", value)
    return moment


def span_of(value: object, argument: str, unit_us: int, *, least: int = 1) -> int:
    """A span of time in microseconds, given in units of so many."""
    count, most = whole(value, argument), SPAN_MAX_US // unit_us
    if not least <= count <= most:
        raise InputError(argument, None, f"an integer from {least} to {most}", value)
    return count * unit_us


def timeout_of(value: object) -> int:
    """A book's time-out in milliseconds."""
    timeout = whole(value, "timeout_ms")
    if not 1 <= timeout <= TIMEOUT_MS_MAX:
        raise InputError("timeout_ms", None, f"an integer from 1 to {TIMEOUT_MS_MAX}", value)
    return timeout


def url_of(value: object) -> str:
    """A URL of a book."""
    if isinstance(value, str) and _encodable(value) and "\0" not in value and "%00" not in value:
        return value
    # It may carry a password.
    raise InputError("url", None, "text without lone surrogates or NUL characters", type(value).__name__)


def text_of(value: object, argument: str) -> str:
    """Text for people, which may be empty: any characters that can be encoded, up to `TEXT_MAX`."""
    if isinstance(value, str) and len(value) <= TEXT_MAX and (value.isascii() or _encodable(value)):
        return plain(value)
    requirement = f"text of at most {TEXT_MAX} characters without lone surrogates"
    raise InputError(argument, None, requirement, repr(value) if isinstance(value, str) else value)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def flag_of(value: object, argument: str, index: int | None = None) -> bool:
    """True or False, and nothing that merely counts as one."""
    if not isinstance(value, bool):
        raise InputError(argument, index, "a bool", type(value).__name__)
    return value


def owner_of(value: object) -> str:
    """Tag of a strategy; empty: none."""
    return "" if isinstance(value, str) and not value else id_of(value, "owner")


def terms_version_of(value: object) -> int | None:
    """Version of terms; None: whichever."""
    return None if value is None else lots_of(value, "terms_version", least=0)


def version_of(value: object, argument: str) -> int:
    """Version of an account, 0 before its first step."""
    return lots_of(value, argument, least=0)


def limit_of(value: object) -> int:
    """How many records a read returns at most."""
    return lots_of(value, "limit")


def states_of(state: object) -> frozenset[OrderState] | None:
    """The states named, one or several; None: whichever."""
    if state is None:
        return None
    try:
        named = (state,) if isinstance(state, str) else tuple(state)  # type: ignore[arg-type]
        return frozenset([OrderState(one) for one in named])
    except (TypeError, ValueError):
        words = ", ".join(OrderState)
        raise InputError("state", None, f"one or several of {words}", state) from None


def sequence_of(value: object, argument: str, kind: type[_Item]) -> Sequence[_Item]:
    """A list or tuple of items of one kind."""
    if not isinstance(value, list | tuple):
        raise InputError(argument, None, f"a list or tuple of {kind.__name__}", type(value).__name__)
    for index, item in enumerate(value):
        if not isinstance(item, kind):
            raise InputError(argument, index, f"of class {kind.__name__}", type(item).__name__)
    return value


def mapping_of(value: object, argument: str) -> Mapping[Any, Any]:
    """Names and what belongs to them."""
    if not isinstance(value, Mapping):
        raise InputError(argument, None, "a mapping", type(value).__name__)
    return value


def places_of(given: object, argument: str) -> Iterable[tuple[str, str, Any]]:
    """(symbol, leg, what is given for it) of each key, which is a symbol or a pair of both; without a leg it is empty.

    Each place once: a symbol by itself and with an empty leg are the same, and what is given for it would count twice.
    """
    seen = set()
    for key, value in mapping_of(given, argument).items():
        if isinstance(key, tuple) and len(key) != 2:
            raise InputError(argument, None, "given per symbol or per (symbol, leg)", key)
        symbol, leg = key if isinstance(key, tuple) else (key, None)
        place = id_of(symbol, argument), leg_of(None if leg == "" else leg, argument)
        if place in seen:
            raise InputError(argument, None, "given once per symbol and leg", key)
        seen.add(place)
        yield *place, value


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
        if not isinstance(holds, list | tuple):
            raise InputError("holds", None, "a list or tuple of amounts", type(holds).__name__)
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
            raise InputError("orders.side", index, "a Side", side)
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
    if len(request_id) > ID_LENGTH_MAX - NAMED_MORE:
        _refuse_long_names(request_id, asks)
    return tuple(asks)


def _refuse_long_names(request_id: str, asks: Iterable[Ask]) -> None:
    """No order may be held under a name that no later call could give."""
    longest = max(len(ask.order_id) for ask in asks)
    if longest > ID_LENGTH_MAX:
        most = len(request_id) - (longest - ID_LENGTH_MAX)
        raise InputError("request_id", None, f"at most {most} characters, or the orders named", len(request_id))


def leg_of(leg: object, argument: str = "leg") -> str:
    """Leg of a hedged position; empty where positions are netted."""
    if leg is None:
        return ""
    if not isinstance(leg, str) or leg not in LEGS:
        raise InputError(argument, None, "'long', 'short' or None", leg)
    return plain(leg)


def order_type_of(order_type: str) -> str:
    """A word for the order type."""
    if order_type not in ("limit", "market"):
        raise InputError("order_type", None, "'limit' or 'market'", order_type)
    return plain(order_type)


def combine_of(rule: object) -> str:
    """Name of the combine rule of an order-margin rule, or the name itself."""
    name = getattr(rule, "combine", rule)
    name = getattr(name, "value", name)
    if isinstance(name, str) and (name in COMBINE_RULES or name in RULES_FOR_QUOTING_ONLY):
        return plain(name)
    raise InputError("rule", None, f"an order-margin rule or one of {', '.join(COMBINE_RULES)}", rule)


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
    if not isinstance(mode, str) or mode not in POSITION_MODES:
        raise InputError("positions", None, f"one of {', '.join(POSITION_MODES)}", positions)
    if not isinstance(pnl_policy, str) or pnl_policy not in ("loss_only", "all"):
        raise InputError("pnl_policy", None, "'loss_only' or 'all'", pnl_policy)
    lots = {
        id_of(name, "position_lots_max"): lots_of(most, f"position_lots_max[{name}]", least=0)
        for name, most in _limits(position_lots_max, "position_lots_max")
    }
    owners = {
        id_of(name, "owner_margin_max"): units(most, scale, f"owner_margin_max[{name}]")
        for name, most in _limits(owner_margin_max, "owner_margin_max")
    }
    return Terms(
        combine=combine,
        positions=plain(mode),
        pnl_policy=plain(pnl_policy),
        mark_age_ms_max=None if mark_age_ms_max is None else span_of(mark_age_ms_max, "mark_age_ms_max", 1000) // 1000,
        orders_max=None if orders_max is None else lots_of(orders_max, "orders_max", least=0),
        order_margin_max=None if order_margin_max is None else units(order_margin_max, scale, "order_margin_max"),
        margin_max=None if margin_max is None else units(margin_max, scale, "margin_max"),
        position_lots_max=tuple(sorted(lots.items())),
        owner_margin_max=tuple(sorted(owners.items())),
        records_max=None if records_max is None else lots_of(records_max, "records_max", least=0),
    )


def _limits(limits: object, argument: str) -> Iterable[tuple[Any, Any]]:
    """Names and their limits; None: there are none."""
    return () if limits is None else mapping_of(limits, argument).items()
