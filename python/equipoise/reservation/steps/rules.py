"""How the charges of a symbol combine, and which terms the book can keep."""

from __future__ import annotations

from typing import Any

from equipoise.reservation.money import held
from equipoise.reservation.records import BookOrder, Terms

__all__ = [
    "COMBINE_RULES",
    "POSITION_MODES",
    "counted",
    "counted_rate",
    "misleads",
    "needs_alias",
    "order_rate",
    "standing",
    "terms_content",
    "terms_fault",
]


COMBINE_RULES = ("sum", "worst_side", "hedge_legs", "per_side", "larger_leg")
POSITION_MODES = ("net", "hedge", "tickets")


def order_rate(hold_start: int, lots: int) -> int:
    """Charge per lot, rounded up. Partial releases by `held` leave it unchanged."""
    return -(-hold_start // lots)


def counted_rate(order: BookOrder) -> int:
    """Charge per lot that a resting order is counted with: the higher one while an amendment is open."""
    rate = order_rate(order.hold_start, order.lots)
    return max(rate, order_rate(order.amend_hold, order.amend_lots)) if order.amend_lots else rate


def counted(order: BookOrder) -> bool:
    """Whether an order's lots and charge count: not those of one that can only reduce and therefore holds nothing."""
    return not order.reduces or order.hold_start > 0 or order.amend_hold > 0


def needs_alias(order: BookOrder) -> bool:
    """Whether the venue id of an order must lead to an order that works.

    One that was adopted in the place of an ended one leaves the id to that; it may be gone.
    """
    return order.venue_id is not None and not order.terminal and "adopted" not in order.flags


def misleads(venue_id: str, order: BookOrder | None) -> bool:
    """Whether the venue id of a working order leads to nothing, or to another order that works, under another one."""
    if order is None:
        return True
    return not order.terminal and order.order_id != venue_id and order.venue_id not in (None, venue_id)


def standing(order: BookOrder, filled: int) -> tuple[int, int]:
    """(lots still working, what they hold) of a live order once `filled` lots have traded.

    While an amendment is open the venue may be working either version, so each figure is the larger one's.
    """
    working = max(order.lots - filled, 0)
    hold = held(order.hold_start, order.lots, working)
    if order.amend_lots:
        amended = max(order.amend_lots - filled, 0)
        hold = max(hold, held(order.amend_hold, order.amend_lots, amended))
        working = max(working, amended)
    return working, hold


def terms_fault(terms: Terms) -> str | None:
    """Why the book cannot keep an account on these terms; None if it can."""
    if terms.combine not in COMBINE_RULES:
        return "the combine rule needs every resting price or a moving mark"
    if (terms.combine == "hedge_legs") and terms.positions != "hedge":
        return "hedge_legs needs hedge positions"
    if terms.positions == "hedge" and terms.combine not in ("hedge_legs", "sum"):
        return "hedge positions combine by hedge_legs or sum"
    if terms.positions == "tickets" and terms.combine not in ("sum", "larger_leg"):
        return "ticket positions combine by sum or larger_leg"
    return None


def terms_content(terms: Terms) -> tuple[tuple[str, Any], ...]:
    """Terms as name and value pairs, for fingerprints and the journal."""
    return (
        ("combine", terms.combine),
        ("positions", terms.positions),
        ("pnl_policy", terms.pnl_policy),
        ("mark_age_ms_max", terms.mark_age_ms_max),
        ("orders_max", terms.orders_max),
        ("order_margin_max", terms.order_margin_max),
        ("margin_max", terms.margin_max),
        ("position_lots_max", terms.position_lots_max),
        ("owner_margin_max", terms.owner_margin_max),
        # Absent when not set: requests of books that did not know it keep their fingerprints.
        *((("records_max", terms.records_max),) if terms.records_max is not None else ()),
    )
