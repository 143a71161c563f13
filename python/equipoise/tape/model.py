"""The figures from which a market is generated: quantile tables and a few probabilities, measured on a tape."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from equipoise.errors import InputError
from equipoise.tape.grid import decimal_step

__all__ = ["CLASSES", "LEVELS", "LEVEL_QUANTILES", "PAUSES_S", "QUANTILES", "MarketModel", "Table"]

Table = tuple[float, ...]
"""Values of a quantity at fixed quantiles; between them it is taken as linear."""

LEVELS = 20
QUANTILES: Table = (0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 1)
"""Quantiles of every table but `level_lots`."""
LEVEL_QUANTILES: Table = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
"""Quantiles of `level_lots`, the sizes of one level of the book."""
CLASSES: Table = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
"""Quantiles of the size of a sweep that part the eight classes of sizes."""
PAUSES_S: Table = (1.0, 3.0, 10.0)
"""Times since the last step, seconds, that part the four values of `step_repeats`."""

_TICKS_MIN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketModel:
    """Order flow of one instrument, as measured by `equipoise.tape.calibrate`.

    Prices move by *steps*: one side of the book gives way by some ticks and the other follows a moment later. A step
    repeats the direction of the one before more often than not, which is what makes the market trend for seconds and
    hurts a resting order. Takers come in *sweeps*: prints of one taker at one instant. A share of the sweeps takes the
    whole touch and is a step. Two states of activity make calm and busy minutes.

    Parameters
    ----------
    fitted_on
        Tape that the figures were measured on.
    price, tick, lot
        Price at the start and steps of the generated instrument.
    reference_price, reference_tick, reference_lot
        The same of the measured one: tables in ticks keep their size in basis points, tables in lots their notional.
    sweep_gap_s
        Time between two sweeps, seconds.
    sweep_lots
        Size of a sweep, lots.
    sweep_breaks
        Probability that a sweep takes the whole touch, for each class of sizes.
    sweep_rows
        Mean number of prints of a sweep that stays at one price, for each class of sizes.
    walk_rows
        Mean number of prints at each price of a sweep that walks through several, for each class of sizes.
    break_walks
        Probability that a sweep which starts a step of two ticks or more prints at each price it passes, for each
        class of sizes.
    break_ticks, block_ticks
        Size of a step that a sweep starts, ticks: of a sweep below and in the upper fiftieth of the sizes.
    step_gap_s
        Time between two steps that no sweep started, seconds.
    step_ticks
        Size of such a step, ticks.
    step_repeats
        Probability that a step has the direction of the one before, by the time since (`PAUSES_S`).
    step_together
        Probability that both sides move at once.
    follow_s
        Time until the second side follows otherwise, seconds.
    activity_swing, activity_memory_s
        Sweeps and steps come (1 ± swing) times as often, and the sign is forgotten with this time constant, seconds.
    quote_gap_s
        Time between two changes of a size at the touch that no sweep caused, seconds.
    quote_both
        Probability that such a change concerns both sides.
    touch_lots
        Size of a best level, lots.
    touch_walk
        How far a change moves a best level within its own distribution, 0…1.
    touch_pace
        Factor of that for each tenth of the distribution, thinnest first: thin levels fill up fast.
    exposed_lots, improved_lots
        Size of a new best level which the old one laid open by vanishing, or which was put inside the spread, lots.
    level_lots
        Size of each level of the book, lots, at `LEVEL_QUANTILES`.
    level_changes
        Probability that a level changes its size from one snapshot to the next.
    level_walk
        How far such a change moves it within its own distribution, 0…1.
    book_gap_s
        Time between two snapshots, seconds.
    transit_s
        Local minus exchange time, seconds.
    """

    fitted_on: str
    price: Decimal
    tick: Decimal
    lot: Decimal
    reference_price: Decimal
    reference_tick: Decimal
    reference_lot: Decimal
    sweep_gap_s: Table
    sweep_lots: Table
    sweep_breaks: Table
    sweep_rows: Table
    walk_rows: Table
    break_walks: Table
    break_ticks: Table
    block_ticks: Table
    step_gap_s: Table
    step_ticks: Table
    step_repeats: Table
    step_together: float
    follow_s: Table
    activity_swing: float
    activity_memory_s: float
    quote_gap_s: Table
    quote_both: float
    touch_lots: Table
    touch_walk: Table
    touch_pace: Table
    exposed_lots: Table
    improved_lots: Table
    level_lots: tuple[Table, ...]
    level_changes: Table
    level_walk: Table
    book_gap_s: Table
    transit_s: Table

    @classmethod
    def sol_20250904(cls) -> MarketModel:
        """SOL perpetual on Hyperliquid, 2025-09-04 19:46:56 to 20:21:45 UTC.

        Measured by `calibrate` on the collector's tape of that time (2 088 s, 3 782 snapshots, 13 211 changes of the
        best bid and offer, 4 397 trades; published for educational and research use). `docs/tapes.md` holds the
        generated market against the tape.
        """
        from equipoise.tape._sol_20250904 import SOL_20250904

        return SOL_20250904

    def at(self, price: str | int | Decimal, tick: str | int | Decimal, lot: str | int | Decimal) -> MarketModel:
        """The same market at another price and on another grid.

        Steps keep their size in basis points, the book its notional per basis point, takers their notional.

        Raises
        ------
        InputError
            Not positive decimals, the price not on the tick, or below 200 ticks (20 levels must fit under it).

        Examples
        --------
        >>> hype = MarketModel.sol_20250904().at("27.11", "0.001", "0.01")
        >>> round(hype.ticks_factor, 2), round(hype.lots_factor, 2)
        (1.34, 7.48)
        """
        price, tick, lot = (
            decimal_step(name, value) for name, value in (("price", price), ("tick", tick), ("lot", lot))
        )
        if price % tick or price < _TICKS_MIN * tick:
            raise InputError("price", None, f"a multiple of the tick {tick} and at least {_TICKS_MIN} ticks", price)
        return replace(self, price=price, tick=tick, lot=lot)

    @property
    def ticks_factor(self) -> float:
        """Ticks here for one tick of the measured instrument, at equal basis points."""
        return float(self.reference_tick / self.reference_price * self.price / self.tick)

    @property
    def lots_factor(self) -> float:
        """Lots here for one lot of the measured instrument, at equal notional."""
        return float(self.reference_price * self.reference_lot / (self.price * self.lot))
