"""Outcomes that a caller decides on. They are values, never exceptions."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Binding", "Reason", "SideStatus", "SidesStatus", "Status"]


class Status(StrEnum):
    """Outcome of the one-sided optimizer, in the order in which reasons are looked for."""

    OPTIMAL = "optimal"
    """Optimal within the reported gap."""
    INFEASIBLE_FLOOR_ABOVE_CAP = "infeasible_floor_above_cap"
    """A floor lies above its cap."""
    INFEASIBLE_FLOOR_SUM = "infeasible_floor_sum"
    """The floors sum to more than one."""
    INFEASIBLE_CAP_SUM = "infeasible_cap_sum"
    """The caps sum to less than one."""
    INFEASIBLE_ENTROPY = "infeasible_entropy"
    """The entropy floor exceeds the largest entropy that floors and caps admit."""
    INACCURATE = "inaccurate"
    """Feasible, but the certified gap or violation is above the promise."""


class Binding(StrEnum):
    """What stopped a side from being larger or more valuable."""

    NONE = "none"
    """Nothing: the side holds all the size that has value."""
    MARGIN = "margin"
    """The side's part of the margin."""
    POSITION = "position"
    """The position limit."""
    LEVEL_CAP = "level_cap"
    """A per-level cap."""
    NOTIONAL = "notional"
    """The minimum notional: what is left buys no valid order."""
    ENTROPY = "entropy"
    """The entropy floor left lots unused."""
    SHARE = "share"
    """The share bound between the sides (joint policy)."""
    INVENTORY = "inventory"
    """The price of inventory (joint policy)."""
    NO_VALUE = "no_value"
    """No level has positive value."""


class Reason(StrEnum):
    """What became of one level of the ladder that was asked for."""

    KEPT = "kept"
    """It stands as solved, up to lots."""
    MERGED = "merged"
    """Rounded onto the price of its neighbour and merged with it."""
    NOTIONAL = "notional"
    """Dropped: the minimum notional at this price does not fit."""
    ENTROPY = "entropy"
    """Dropped or shrunk by the entropy floor on the final lots."""
    MARGIN = "margin"
    """Dropped or shrunk by the side's budget."""
    POSITION = "position"
    """Dropped or shrunk by the position limit."""
    NO_VALUE = "no_value"
    """Dropped: nothing to gain there."""
    NO_MARGIN = "no_margin"
    """Dropped: the side has no margin at all."""
    PRICE = "price"
    """Dropped: its price would not be positive."""


class SidesStatus(StrEnum):
    """Outcome of the optimizer of both sides; in a batch, the code is the place in this order."""

    OPTIMAL = "optimal"
    """Optimal within the reported gap, with at least one side quoted."""
    ZERO = "zero"
    """Quoting nothing is best, or all there is."""
    INACCURATE = "inaccurate"
    """The certified gap or violation is above the promise."""


class SideStatus(StrEnum):
    """What became of one side of the optimizer of both; in a batch, the code is the place in this order."""

    QUOTED = "quoted"
    """Its total is positive."""
    NO_VALUE = "no_value"
    """Quoting it adds no value."""
    NO_BUDGET = "no_budget"
    """Its margin is zero."""
    BLOCKED = "blocked"
    """Its limits on size leave nothing."""
    INFEASIBLE_FLOOR_ABOVE_CAP = "infeasible_floor_above_cap"
    """A floor lies above its cap."""
    INFEASIBLE_FLOOR_SUM = "infeasible_floor_sum"
    """The floors sum to more than one."""
    INFEASIBLE_CAP_SUM = "infeasible_cap_sum"
    """The caps sum to less than one."""
    INFEASIBLE_ENTROPY = "infeasible_entropy"
    """The entropy floor exceeds the largest entropy that floors and caps admit."""
