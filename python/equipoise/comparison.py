"""The inventory rule against the joint policy for one input: `Quote.compare()`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from equipoise.errors import InputError
from equipoise.orders import Side

if TYPE_CHECKING:
    from equipoise._rust import JointReport, Quote, QuoteSide

__all__ = ["ComparedLevel", "Comparison"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedLevel:
    """One price, and what each policy quotes there in contracts; zero where it has no order."""

    side: Side
    price: float
    inventory: float
    joint: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two quotes of one market, account, rule and shape, judged by the joint objective.

    Parameters
    ----------
    inventory, joint
        The quote under each policy. The joint one is worth at least as much: it carries the inventory policy's ladder
        where that is better after lots.
    """

    inventory: Quote
    joint: Quote

    @property
    def report(self) -> JointReport:
        """What the joint problem says."""
        report = self.joint.joint
        if report is None:
            raise InputError("joint", None, "a quote under policy joint", self.joint.policy)
        return report

    @property
    def gain(self) -> float:
        """By how much the joint quote is worth more, account currency; never negative."""
        return self.report.objective - self.report.objective_inventory

    @property
    def why(self) -> str:
        """In one sentence."""
        report = self.report
        bids, asks = self.joint.bids.binding.name, self.joint.asks.binding.name
        prices = f"margin is worth {report.margin_price[0]:.3g} on bids and {report.margin_price[1]:.3g} on asks"
        position = f"a contract of position costs {report.inventory_price:+.3g}"
        if report.returned == "joint":
            return f"{prices}, {position}; bids are bound by {bids}, asks by {asks}"
        if report.because == "inaccurate":
            return "the joint answer could not be certified: the inventory rule's ladder stands"
        return f"after lots the inventory rule's ladder is worth more; {prices}, {position}"

    def levels(self) -> tuple[ComparedLevel, ...]:
        """Every price that either policy quotes, asks from the outermost in, then bids from the innermost out."""
        rows: list[ComparedLevel] = []
        for side in (Side.ASK, Side.BID):
            inventory, joint = (_sizes(_side(quote, side)) for quote in (self.inventory, self.joint))
            rows.extend(
                ComparedLevel(side=side, price=price, inventory=inventory.get(price, 0.0), joint=joint.get(price, 0.0))
                for price in sorted({*inventory, *joint}, reverse=True)
            )
        return tuple(rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, ready for JSON."""
        return {
            "gain": self.gain,
            "why": self.why,
            "inventory": _figures(self.inventory, self.report.objective_inventory),
            "joint": {**_figures(self.joint, self.report.objective), **self.report.to_dict()},
            "levels": [
                {"side": str(level.side), "price": level.price, "inventory": level.inventory, "joint": level.joint}
                for level in self.levels()
            ],
        }

    def __repr__(self) -> str:
        inventory, joint = (_figures(quote, 0.0) for quote in (self.inventory, self.joint))
        return (
            f"Comparison(gain={self.gain:.6g}, value={self.report.objective_inventory:.6g} -> "
            f"{self.report.objective:.6g}, held={inventory['margin_held']} -> {joint['margin_held']}, "
            f"bids={inventory['bids']:g} -> {joint['bids']:g}, asks={inventory['asks']:g} -> {joint['asks']:g}, "
            f"why={self.why!r})"
        )

    def _repr_html_(self) -> str:
        """A table for notebooks: asks above, bids below."""
        from equipoise.present import table_html

        report = self.report
        rows: list[tuple[str, ...]] = [
            (str(level.side), f"{level.price:g}", f"{level.inventory:g}", f"{level.joint:g}") for level in self.levels()
        ]
        values = (report.objective_inventory, report.objective)
        rows.append(("value", "", *(f"{value:.6g}" for value in values)))
        rows.append(("margin held", "", *(str(quote.margin_held) for quote in (self.inventory, self.joint))))
        caption = (
            f"{self.joint.market.symbol}: joint is worth {self.gain:.6g} more, {report.objective:.6g} of at most "
            f"{report.dual_bound:.6g}; {self.why}"
        )
        return table_html(caption, ("", "price", "inventory", "joint"), rows)


def _side(quote: Quote, side: Side) -> QuoteSide:
    return quote.bids if side is Side.BID else quote.asks


def _sizes(side: QuoteSide) -> dict[float, float]:
    return dict(zip(side.price.tolist(), side.size.tolist(), strict=True))


def _figures(quote: Quote, objective: float) -> dict[str, Any]:
    bids, asks = quote.bids, quote.asks
    both = bids.total + asks.total
    usable = Decimal(quote.certificate.margin_usable)
    return {
        "objective": objective,
        "margin_held": str(quote.margin_held),
        "idle": float(1 - quote.margin_held / usable) if usable > 0 else None,
        "bids": bids.total,
        "asks": asks.total,
        "ask_share": asks.total / both if both > 0 else None,
        "bids_binding": bids.binding.name,
        "asks_binding": asks.binding.name,
    }
