"""The inventory rule against the joint policy on the same tape, seed and account, and how sure the differences are.

Differences are read with a circular block bootstrap over time: both runs are cut into cells of ten seconds, blocks of
cells are drawn with replacement, the same for both, and the middle 95 % of the differences are the interval. It says
how much of a difference another stretch of the same market could have made; it knows nothing of other days.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import InputError
from equipoise.orders import Side
from equipoise.quoter import Policy
from equipoise.record import RunRecord
from equipoise.replay import ReplayConfig, Replayed, replay
from equipoise.tape import Tape

__all__ = ["FILLS_MIN", "Measure", "PolicyComparison", "compare_policies", "compare_runs"]

Floats = NDArray[np.float64]

FILLS_MIN = 200
"""Fewer fills than this in either run carry no statement about profit."""
CELL_S = 10.0
ADVERSE_S = 5.0
"""Seconds over which the mid's move after a fill counts as adverse selection; what comes later is carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One figure of both runs; `low` and `high` bound 95 % of the differences, NaN where no interval is given."""

    name: str
    unit: str
    inventory: float
    joint: float
    low: float = math.nan
    high: float = math.nan

    @property
    def difference(self) -> float:
        """Joint less inventory."""
        return self.joint - self.inventory

    @property
    def finding(self) -> str:
        """What the interval carries: "higher", "lower", or "not told apart"; "too few fills" where there is none."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return "too few fills"
        if self.low > 0:
            return "higher"
        return "lower" if self.high < 0 else "not told apart"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyComparison:
    """Two runs that differ in their policy alone."""

    inventory: RunRecord
    joint: RunRecord
    measures: tuple[Measure, ...]
    block_s: float
    draws: int

    @property
    def fills(self) -> tuple[int, int]:
        """Fills of the inventory run and of the joint run."""
        return len(self.inventory.fills), len(self.joint.fills)

    @property
    def enough(self) -> bool:
        """Whether both runs have fills enough for a statement about profit."""
        return min(self.fills) >= FILLS_MIN

    @property
    def verdict(self) -> str:
        """What may be said about profit, in one sentence."""
        inventory, joint = self.fills
        if not self.enough:
            return (
                f"Too few fills for any statement about profit: {inventory} under the inventory rule, {joint} under "
                f"joint, and at least {FILLS_MIN} each are needed."
            )
        profit = next(measure for measure in self.measures if measure.name == PROFIT)
        between = f"between {profit.low:+.3f} and {profit.high:+.3f} {self.joint.currency}".replace("-", "−")
        if profit.finding == "not told apart":
            return f"The profits are not told apart: the difference lies {between}."
        earned = "more" if profit.finding == "higher" else "less"
        return f"On this tape joint earned {earned}: the difference lies {between}."

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, ready for JSON; None where unknown."""

        def known(value: float) -> float | None:
            return value if math.isfinite(value) else None

        return {
            "fills": list(self.fills),
            "enough": self.enough,
            "verdict": self.verdict,
            "block_s": self.block_s,
            "draws": self.draws,
            "measures": [
                {
                    "name": measure.name,
                    "unit": measure.unit,
                    "inventory": known(measure.inventory),
                    "joint": known(measure.joint),
                    "difference": known(measure.difference),
                    "low": known(measure.low),
                    "high": known(measure.high),
                    "finding": measure.finding,
                }
                for measure in self.measures
            ],
        }


PROFIT = "realised profit"
PARTS = (PROFIT, "spread captured", "adverse selection", "inventory carry", "fees")


@dataclass(frozen=True, slots=True)
class _Cells:
    """Sums by cell of time: what the measures are made of, one row a cell."""

    sums: Floats
    """Columns: seconds, expected edge × s, idle share × s and the seconds it is known for, position × s,
    position² × s, traded value, spread captured, adverse selection, carry, fees."""

    def measures(self, rows: Floats | None = None) -> Floats:
        """The measures in the order of `_names`, of all cells or of some sum of them."""
        total = self.sums.sum(axis=0) if rows is None else rows
        seconds, edge, idle, idle_s, position, square, traded, spread, adverse, carry, fees = total.T
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = position / seconds
            parts = (spread + adverse + carry - fees, spread, adverse, carry, -fees)
            return np.array([edge / seconds, *parts, square / seconds - mean**2, idle / idle_s, traded])


def _names(currency: str) -> tuple[tuple[str, str], ...]:
    return (
        ("expected edge of the orders, mean", f"{currency} a horizon"),
        *((name, currency) for name in PARTS),
        ("inventory variance", "contracts²"),
        ("idle margin, mean", "of available"),
        ("turnover", currency),
    )


def _mid_path(records: tuple[RunRecord, RunRecord]) -> tuple[Floats, Floats]:
    """Times in ns and mids that either run saw, in time order."""
    times: list[Floats] = []
    mids: list[Floats] = []
    for record in records:
        if "time_s" in record.samples:
            times.append(record.started_ns + np.asarray(record.samples["time_s"]) * 1e9)
            mids.append(np.asarray(record.samples["mid"]))
        times.append(np.array([fill.time_ns for fill in record.fills], dtype=np.float64))
        mids.append(np.array([fill.mid for fill in record.fills], dtype=np.float64))
    time, mid = np.concatenate(times), np.concatenate(mids)
    order = np.argsort(time, kind="stable")
    order = order[np.isfinite(mid[order])]
    time, mid = time[order], mid[order]
    # One mid a moment, so that what is captured against it and what the position gains later add up to the cash.
    last = np.r_[np.diff(time) > 0, True]
    return time[last], mid[last]


def _cells(record: RunRecord, path: tuple[Floats, Floats], start: float, count: int) -> _Cells:
    """What one run adds to every cell of time."""
    time, mid = path
    sums = np.zeros((count, 11))

    def add(column: int, at: Floats, values: Floats) -> None:
        index = np.clip(((at - start) / (CELL_S * 1e9)).astype(np.int64), 0, count - 1)
        np.add.at(sums[:, column], index, values)

    def mid_at(at: Floats) -> Floats:
        found: Floats = mid[np.clip(np.searchsorted(time, at, side="right") - 1, 0, None)]
        return found

    fills = record.fills
    at = np.array([fill.time_ns for fill in fills], dtype=np.float64)
    order = np.argsort(at, kind="stable")
    signed = np.array([fill.size if fill.side is Side.BID else -fill.size for fill in fills])[order]
    signed = signed * record.contract_value
    price, fee = (np.array([getattr(fill, name) for fill in fills])[order] for name in ("price", "fee"))
    at = at[order]
    mids = mid_at(at)
    add(6, at, np.abs(signed) * price)
    add(7, at, signed * (mids - price))
    adverse = signed * (mid_at(np.minimum(at + ADVERSE_S * 1e9, time[-1])) - mids)
    add(8, at, adverse)
    add(9, at, -adverse)
    add(10, at, fee)
    # The position between two points of the path; moves of the mid on it are adverse selection first and carry then.
    held = np.r_[0.0, np.cumsum(signed)]
    holds = held[np.searchsorted(at, time[:-1], side="right")]
    add(9, time[:-1], holds * np.diff(mid))
    seconds = np.diff(time) / 1e9
    contracts = holds / record.contract_value
    add(0, time[:-1], seconds)
    add(4, time[:-1], contracts * seconds)
    add(5, time[:-1], contracts**2 * seconds)
    if "time_s" in record.samples and len(record.samples["time_s"]) > 0:
        sampled = record.started_ns + np.asarray(record.samples["time_s"]) * 1e9
        lasts = np.diff(np.r_[sampled, time[-1]]) / 1e9
        add(1, sampled, np.nan_to_num(record.samples["expected_edge"]) * lasts)
        available, usage = record.samples["margin_available"], record.samples["margin_held"]
        known = available > 0
        idle = np.clip(1 - usage[known] / available[known], 0, None)
        add(2, sampled[known], idle * lasts[known])
        add(3, sampled[known], lasts[known])
    return _Cells(sums)


def compare_runs(
    inventory: RunRecord, joint: RunRecord, *, block_s: float = 120.0, draws: int = 2_000, seed: int = 1
) -> PolicyComparison:
    """Compare two runs that differ in their policy alone.

    Parameters
    ----------
    inventory, joint
        Records of the same market, rule, account and seed under each policy.
    block_s
        Length of a bootstrap block, seconds; longer than what one position is remembered for.
    draws
        Bootstrap draws.
    seed
        Of the draws.

    Returns
    -------
    PolicyComparison
        Every measure with its interval; none for what fills decide where there are fewer than `FILLS_MIN`.

    Raises
    ------
    InputError
        The runs are not of these policies, differ in market, rule, account or seed, or recorded nothing.
    """
    for name, record, policy in (("inventory", inventory, "inventory"), ("joint", joint, "joint")):
        if record.policy != policy:
            raise InputError(name, None, f"a run under policy {policy}", record.policy)
        if len(record.samples.get("time_s", ())) < 2:
            raise InputError(name, None, "a run with quotes", "none")
        if "expected_edge" not in record.samples:
            raise InputError(name, None, "a record that holds expected_edge", "one of an earlier version")
    for field in ("symbol", "market_source", "rule", "leverage", "balance_start", "seed"):
        if getattr(inventory, field) != getattr(joint, field):
            raise InputError("joint", None, f"a run with the same {field}", getattr(joint, field))
    path = _mid_path((inventory, joint))
    start, end = float(path[0][0]), float(path[0][-1])
    count = max(1, math.ceil((end - start) / (CELL_S * 1e9)))
    cells = (_cells(inventory, path, start, count), _cells(joint, path, start, count))
    both = np.concatenate([cells[0].sums, cells[1].sums], axis=1)
    length = max(1, min(count, round(block_s / CELL_S)))
    random = np.random.default_rng(seed)
    # Sums of blocks by difference of running sums, around the end of the tape.
    running = np.concatenate([np.zeros((1, both.shape[1])), np.cumsum(np.concatenate([both, both[:length]]), axis=0)])
    blocks = running[length:] - running[:-length]
    starts = random.integers(0, count, size=(draws, math.ceil(count / length)))
    drawn = blocks[starts].sum(axis=1)
    width = both.shape[1] // 2
    differences = cells[1].measures(drawn[:, width:]) - cells[0].measures(drawn[:, :width])
    # The last block reaches beyond the tape's length: sums are drawn for a little more time than there was.
    stretch = count / (length * starts.shape[1])
    enough = min(len(inventory.fills), len(joint.fills)) >= FILLS_MIN
    measures = []
    for index, (name, unit) in enumerate(_names(joint.currency)):
        values = differences[index] * (stretch if name in SUMS else 1.0)
        told = (enough or name in QUOTED) and bool(np.isfinite(values).any())
        low, high = np.nanquantile(values, (0.025, 0.975)) if told else (math.nan, math.nan)
        measures.append(
            Measure(
                name=name,
                unit=unit,
                inventory=float(cells[0].measures()[index]),
                joint=float(cells[1].measures()[index]),
                low=float(low),
                high=float(high),
            )
        )
    return PolicyComparison(
        inventory=inventory, joint=joint, measures=tuple(measures), block_s=length * CELL_S, draws=draws
    )


SUMS = {*PARTS, "turnover"}
"""Measures that add up over time; the others are means."""
QUOTED = {"expected edge of the orders, mean", "idle margin, mean"}
"""Measures that every quote adds to, whatever was filled."""


def compare_policies(
    tape: Callable[[], Tape],
    config: ReplayConfig,
    *,
    progress: Callable[[str, Tape, int], None] | None = None,
) -> tuple[PolicyComparison, tuple[Replayed, Replayed]]:
    """Run a tape under each policy, everything else equal, and compare.

    Parameters
    ----------
    tape
        Opens the tape; called once a run.
    config
        The run; its policy is replaced.
    progress
        Called with (policy, tape, market events so far).

    Returns
    -------
    tuple
        The comparison, and both runs as they ended.
    """
    ended: list[Replayed] = []
    for policy in (Policy.INVENTORY, Policy.JOINT):
        market = tape()

        def show(events: int, _: int, policy: Policy = policy, market: Tape = market) -> None:
            if progress is not None:
                progress(str(policy), market, events)

        plan = replace(config, quoter=replace(config.quoter, policy=policy))
        title = f"{market.symbol} · {config.rule} · {policy}"
        ended.append(replay(market, plan, title=title, progress=show))
    return compare_runs(ended[0].record, ended[1].record), (ended[0], ended[1])
