"""Outcomes that a caller decides on. They are values, never exceptions."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Status"]


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
