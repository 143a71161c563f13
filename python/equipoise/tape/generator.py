"""The seeded market generator: a tape of any length that behaves like a measured one.

The same seed gives the same events on every machine: the only source of chance is the raw output of PCG64, and the only
arithmetic on it is addition, multiplication, division and comparison of doubles, which IEEE 754 fixes to the last bit.
Logarithms and library distributions, whose last bit differs between platforms and versions, are avoided by drawing from
quantile tables.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush

import numpy as np

from equipoise.errors import InputError
from equipoise.tape.events import BookSnapshot, MarketEvent, Quotes, Taker, Trade
from equipoise.tape.model import CLASSES, LEVEL_QUANTILES, LEVELS, PAUSES_S, QUANTILES, MarketModel, Table
from equipoise.tape.tape import Tape

__all__ = ["GeneratedTape", "generate"]

START_NS = 1_757_015_216_000_000_000
"""Start of a generated tape unless given: 2025-09-04 19:46:56 UTC."""
DURATION_S_MAX = 30 * 86_400
SECOND = 1_000_000_000
MS = 1_000_000

_BATCH = 4096
_ROWS_MAX = 200
_PREPARE_NS = 70 * MS
"""How long before a sweep the touch shows the size that the sweep will meet: one block of the venue."""
_DEPTH_KEPT = 3 * LEVELS
"""Levels behind the touch whose sizes are remembered."""

_BLOCK = CLASSES.index(0.98) + 1
_STEP, _FOLLOW, _SWEEP, _STRIKE, _TOUCH, _BOOK, _ACTIVITY = range(7)


class _Chance:
    """Uniform numbers in [0, 1) and draws from quantile tables."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)
        self._pool: list[float] = []

    def uniform(self) -> float:
        """The next number: the upper 53 bits of the generator's next output."""
        if not self._pool:
            raw = self._bits.random_raw(_BATCH)
            self._pool = ((raw >> np.uint64(11)) * 2.0**-53).tolist()[::-1]
        return self._pool.pop()

    def of(self, table: Table) -> float:
        """A draw from a table over `QUANTILES`."""
        return _value(table, QUANTILES, self.uniform())

    def happens(self, probability: float) -> bool:
        """Whether an event of this probability happens."""
        return self.uniform() < probability

    def whole(self, value: float) -> int:
        """A neighbouring whole number whose expectation is the value; 0 or more."""
        low = int(value)
        return low + (self.uniform() < value - low)

    def runs(self, mean: float) -> int:
        """A count of 1 or more with this mean and a geometric tail."""
        count = 1
        again = (mean - 1.0) / mean
        while count < _ROWS_MAX and self.uniform() < again:
            count += 1
        return count

    def parts(self, total: int, count: int) -> list[int]:
        """Positive whole parts of a total; fewer than asked where the total is small."""
        parts = []
        for remaining in range(min(count, total) - 1, 0, -1):
            part = 1 + int((total - remaining - 1) * self.uniform() / remaining)
            parts.append(part)
            total -= part
        parts.append(total)
        return parts


def _value(table: Table, quantiles: Table, place: float) -> float:
    """Value at a quantile, linear in between, the end values outside."""
    right = bisect_right(quantiles, place)
    if right == 0:
        return table[0]
    if right == len(table):
        return table[-1]
    left = right - 1
    part = (place - quantiles[left]) / (quantiles[right] - quantiles[left])
    return table[left] + (table[right] - table[left]) * part


def _place(table: Table, quantiles: Table, value: float) -> float:
    """Quantile of a value, the inverse of `_value`."""
    right = bisect_right(table, value)
    if right == 0:
        return quantiles[0]
    if right == len(table):
        return quantiles[-1]
    left = right - 1
    part = (value - table[left]) / (table[right] - table[left])
    return quantiles[left] + (quantiles[right] - quantiles[left]) * part


def generate(
    seed: int,
    duration_s: float,
    *,
    model: MarketModel | None = None,
    symbol: str = "SOL",
    start_ns: int = START_NS,
    holes_s: Sequence[tuple[float, float]] = (),
) -> GeneratedTape:
    """Generate the tape of a market that never was.

    Parameters
    ----------
    seed
        0…2^63 − 1. The same seed and arguments give bit-identical events everywhere.
    duration_s
        Length in seconds, more than 0 and up to 30 days.
    model
        Order flow; None is `MarketModel.sol_20250904`. Use `MarketModel.at` for another price and grid.
    symbol
        Name to give the instrument.
    start_ns
        Exchange time of the start, nanoseconds since the epoch, a whole number of milliseconds.
    holes_s
        Starts and lengths, in seconds from the start, of times from which nothing is recorded, as after a lost
        connection. The market goes on meanwhile.

    Returns
    -------
    GeneratedTape
        Events as from a recorded tape: snapshots of 20 levels, best bid and offer, trades at or through the touch.

    Raises
    ------
    InputError
        An argument is out of its range.

    Examples
    --------
    >>> tape = generate(7, 60)
    >>> events = list(tape)
    >>> type(events[0]).__name__, tape.symbol, tape.tick
    ('BookSnapshot', 'SOL', Decimal('0.01'))
    >>> events == list(tape)
    True
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 63:
        raise InputError("seed", None, "an integer from 0 to 2^63 − 1", repr(seed))
    if isinstance(duration_s, bool) or not isinstance(duration_s, int | float) or not 0 < duration_s <= DURATION_S_MAX:
        raise InputError("duration_s", None, f"more than 0 and at most {DURATION_S_MAX} seconds", repr(duration_s))
    if not isinstance(start_ns, int) or not 0 <= start_ns < 1 << 62 or start_ns % MS:
        raise InputError("start_ns", None, "a whole number of milliseconds in nanoseconds, below 2^62", repr(start_ns))
    for index, hole in enumerate(holes_s):
        if len(hole) != 2 or not all(0 <= part <= DURATION_S_MAX for part in hole):
            raise InputError("holes_s", index, "a start and a length in seconds, neither negative", repr(hole))
    return GeneratedTape(seed, duration_s, model or MarketModel.sol_20250904(), symbol, start_ns, tuple(holes_s))


class GeneratedTape(Tape):
    """A market made by `generate`.

    Attributes
    ----------
    model
        What it is made from.
    seed
        What makes it this one.
    """

    def __init__(
        self,
        seed: int,
        duration_s: float,
        model: MarketModel,
        symbol: str,
        start_ns: int,
        holes_s: tuple[tuple[float, float], ...],
    ) -> None:
        super().__init__(f"generated like {model.fitted_on}, seed {seed}", symbol, model.tick, model.lot)
        self.model = model
        self.seed = seed
        self._start_ns = start_ns
        self._length_ns = int(duration_s * SECOND)
        self._holes_ns = [(start_ns + int(at * SECOND), start_ns + int((at + long) * SECOND)) for at, long in holes_s]
        self._now_ns = 0

    @property
    def progress(self) -> float:
        """Part of the duration generated so far, 0…1."""
        return min(1.0, self._now_ns / self._length_ns)

    def _events(self) -> Iterator[MarketEvent]:
        market = _Market(self.model, _Chance(self.seed), self._start_ns)
        self._now_ns = 0
        for event in market.run(self._length_ns):
            self._now_ns = event.exchange_ns - self._start_ns
            if not any(begin <= event.exchange_ns < end for begin, end in self._holes_ns):
                yield event
        self._now_ns = self._length_ns


class _Market:
    """The simulated book and the clocks that change it. Times are nanoseconds since the start."""

    def __init__(self, model: MarketModel, chance: _Chance, start_ns: int) -> None:
        self._model = model
        self._chance = chance
        self._start_ns = start_ns
        self._stretch = model.ticks_factor
        self._lots = model.lots_factor
        self._thin = model.lots_factor / model.ticks_factor
        middle = int(model.price / model.tick)
        self._rest = 1
        self._touch = {-1: middle, 1: middle + 1}  # best price by side: bids −1, asks +1
        self._book: dict[int, dict[int, int]] = {-1: {}, 1: {}}
        self._direction = 1
        self._step_ns = 0
        self._lagging = 0  # side that has still to follow the last step
        self._busy = chance.happens(0.5)
        self._queue: list[tuple[int, int, int, tuple[float, bool, int]]] = []
        self._sequence = 0
        self._trade_id = 0
        self._local_ns = 0
        self._transit_ns = int(chance.of(model.transit_s) * SECOND)
        self._transit_since_ns = 0
        for side in (-1, 1):
            self._set_touch(side, self._touch[side], model.touch_lots)

    # Time

    def _schedule(self, at_ns: int, kind: int, what: tuple[float, bool, int] = (0.0, False, 0)) -> None:
        self._sequence += 1
        heappush(self._queue, (at_ns, self._sequence, kind, what))

    def _later(self, now_ns: int, table: Table, rate: float = 1.0) -> int:
        return now_ns + max(MS, int(self._chance.of(table) / rate * SECOND))

    @property
    def _rate(self) -> float:
        swing = self._model.activity_swing
        return 1.0 + swing if self._busy else 1.0 - swing

    def _stamps(self, now_ns: int) -> tuple[int, int]:
        """Exchange and local time of what happens now: whole milliseconds, and first in first out."""
        exchange_ns = self._start_ns + now_ns // MS * MS
        # The delay is one state of the line, redrawn about once a second.
        if self._chance.uniform() * SECOND < now_ns - self._transit_since_ns:
            self._transit_ns = int(self._chance.of(self._model.transit_s) * SECOND)
        self._transit_since_ns = now_ns
        self._local_ns = max(self._local_ns, exchange_ns + self._transit_ns)
        return exchange_ns, self._local_ns

    def run(self, length_ns: int) -> Iterator[MarketEvent]:
        """Everything that happens before the end."""
        model = self._model
        yield self._snapshot(0)
        yield self._quotes(0)
        self._schedule(self._later(0, model.sweep_gap_s, self._rate), _SWEEP)
        self._schedule(self._later(0, model.step_gap_s, self._rate), _STEP)
        self._schedule(self._later(0, model.quote_gap_s), _TOUCH)
        self._schedule(self._later(0, model.book_gap_s), _BOOK)
        self._schedule(SECOND, _ACTIVITY)
        while True:
            now_ns, _, kind, what = heappop(self._queue)
            if now_ns >= length_ns:
                return
            if kind == _TOUCH:
                self._schedule(self._later(now_ns, model.quote_gap_s), _TOUCH)
                if self._breathe():
                    yield self._quotes(now_ns)
            elif kind == _BOOK:
                self._schedule(self._later(now_ns, model.book_gap_s), _BOOK)
                yield self._snapshot(now_ns)
            elif kind == _SWEEP:
                self._schedule(self._later(now_ns, model.sweep_gap_s, self._rate), _SWEEP)
                if self._prepare(now_ns):
                    yield self._quotes(now_ns)
            elif kind == _STRIKE:
                yield from self._strike(now_ns, *what)
            elif kind == _STEP:
                self._schedule(self._later(now_ns, model.step_gap_s, self._rate), _STEP)
                if self._step(now_ns, self._turn(now_ns), self._step_ticks(model.step_ticks)):
                    yield self._quotes(now_ns)
            elif kind == _FOLLOW:
                if self._follow():
                    yield self._quotes(now_ns)
            else:
                self._schedule(now_ns + SECOND, _ACTIVITY)
                self._busy ^= self._chance.happens(0.5 / model.activity_memory_s)

    # Events

    def _quotes(self, now_ns: int) -> Quotes:
        bid, ask = self._touch[-1], self._touch[1]
        return Quotes(*self._stamps(now_ns), bid, self._book[-1][bid], ask, self._book[1][ask])

    def _snapshot(self, now_ns: int) -> BookSnapshot:
        for side in (-1, 1):
            self._settle(side)
        bids = range(self._touch[-1], self._touch[-1] - LEVELS, -1)
        asks = range(self._touch[1], self._touch[1] + LEVELS)
        bid_lots, ask_lots = self._book[-1], self._book[1]
        return BookSnapshot(
            *self._stamps(now_ns),
            tuple(bids),
            tuple(bid_lots[price] for price in bids),
            tuple(asks),
            tuple(ask_lots[price] for price in asks),
        )

    def _settle(self, side: int) -> None:
        """Give every visible level a size, let some change, and forget what is far away."""
        model, chance, book = self._model, self._chance, self._book[side]
        touch = self._touch[side]
        for level in range(1, LEVELS):
            price = touch + side * level
            table = model.level_lots[level]
            lots = book.get(price)
            if lots is None:
                book[price] = self._sized(_value(table, LEVEL_QUANTILES, chance.uniform()), self._thin)
            elif chance.happens(model.level_changes[level]):
                place = self._walked(_place(table, LEVEL_QUANTILES, lots / self._thin), model.level_walk)
                book[price] = self._sized(_value(table, LEVEL_QUANTILES, place), self._thin)
        if len(book) > _DEPTH_KEPT:
            for price in [price for price in book if not 0 <= (price - touch) * side < _DEPTH_KEPT]:
                del book[price]

    # The touch

    def _sized(self, lots: float, factor: float) -> int:
        return max(1, int(lots * factor))

    def _walked(self, place: float, walk: Table, pace: float = 1.0) -> float:
        """A place moved by a draw in either direction, reflected at 0 and 1."""
        move = min(1.0, self._chance.of(walk) * pace)
        place += move if self._chance.happens(0.5) else -move
        return -place if place < 0.0 else 2.0 - place if place > 1.0 else place

    def _set_touch(self, side: int, price: int, table: Table) -> None:
        self._touch[side] = price
        self._book[side][price] = self._sized(self._chance.of(table), self._thin)

    def _breathe(self) -> bool:
        """Change a size at the touch; whether any changed."""
        model, chance = self._model, self._chance
        first = -1 if chance.happens(0.5) else 1
        changed = False
        for side in (first, -first) if chance.happens(model.quote_both) else (first,):
            price, book = self._touch[side], self._book[side]
            place = _place(model.touch_lots, QUANTILES, book[price] / self._thin)
            place = self._walked(place, model.touch_walk, model.touch_pace[min(9, int(place * 10.0))])
            lots = self._sized(_value(model.touch_lots, QUANTILES, place), self._thin)
            changed |= lots != book[price]
            book[price] = lots
        return changed

    # Steps

    def _turn(self, now_ns: int) -> int:
        """Direction of the next step."""
        pause = bisect_right(PAUSES_S, (now_ns - self._step_ns) / SECOND)
        if not self._chance.happens(self._model.step_repeats[pause]):
            self._direction = -self._direction
        if self._touch[-1] < 2 * _DEPTH_KEPT:
            self._direction = 1  # keep all levels above zero
        return self._direction

    def _step_ticks(self, table: Table) -> int:
        ticks = self._chance.of(table) * self._stretch
        if ticks < 1.0:  # a coarser grid: fewer steps, the same variance
            return int(self._chance.happens(ticks * ticks))
        return max(1, self._chance.whole(ticks))

    def _step(self, now_ns: int, side: int, ticks: int) -> bool:
        """Let the asks (side 1) or bids (−1) give way; whether the best bid or offer changed."""
        if ticks == 0:
            return False
        model, chance = self._model, self._chance
        book = self._book[side]
        old = self._touch[side]
        for price in range(old, old + side * ticks, side):
            book.pop(price, None)
        self._set_touch(side, old + side * ticks, model.exposed_lots)
        self._lagging = -side
        self._step_ns = now_ns
        if chance.happens(model.step_together):
            self._follow()
        else:
            self._schedule(self._later(now_ns, model.follow_s), _FOLLOW)
        return True

    def _follow(self) -> bool:
        """Let the other side close the spread after a step; whether it had to."""
        side = self._lagging
        if side == 0:
            return False
        self._lagging = 0
        rest = max(1, self._chance.whole(self._stretch))
        price = self._touch[-side] + side * rest
        if (self._touch[side] - price) * side <= 0:
            return False
        self._set_touch(side, price, self._model.improved_lots)
        return True

    # Sweeps

    def _prepare(self, now_ns: int) -> bool:
        """Decide on a sweep and let the touch it will meet appear first; whether that changed the touch."""
        model, chance = self._model, self._chance
        place = chance.uniform()
        breaks = chance.happens(model.sweep_breaks[bisect_right(CLASSES, place)])
        side = self._turn(now_ns) if breaks else (-1 if chance.happens(0.5) else 1)
        self._schedule(now_ns + _PREPARE_NS, _STRIKE, (place, breaks, side))
        return self._meet(place, breaks, side)

    def _meet(self, place: float, breaks: bool, side: int) -> bool:
        """Thin the touch that a sweep is to break, or strengthen one that has to hold; whether it was needed."""
        price, book = self._touch[side], self._book[side]
        lots = self._sweep_size(place)
        if breaks == (lots >= book[price]):
            return False
        if breaks:
            book[price] = max(1, int(lots * (0.5 + 0.5 * self._chance.uniform())))
        else:
            book[price] = lots + self._sized(self._chance.of(self._model.exposed_lots), self._thin)
        return True

    def _sweep_size(self, place: float) -> int:
        return self._sized(_value(self._model.sweep_lots, QUANTILES, place), self._lots)

    def _strike(self, now_ns: int, place: float, breaks: bool, side: int) -> Iterator[MarketEvent]:
        """A taker buys from the asks (side 1) or sells to the bids (−1)."""
        if self._meet(place, breaks, side):  # the book moved since it was prepared
            yield self._quotes(now_ns)
        model, chance = self._model, self._chance
        lots, price = self._sweep_size(place), self._touch[side]
        size = bisect_right(CLASSES, place)
        if not breaks:
            yield from self._prints(now_ns, side, price, lots, chance.runs(model.sweep_rows[size]))
            self._book[side][price] -= lots
            yield self._quotes(now_ns)
            return
        ticks = max(1, self._step_ticks(model.block_ticks if size >= _BLOCK else model.break_ticks))
        walks = ticks > 1 and chance.happens(model.break_walks[size])
        at_touch = min(lots, self._book[side][price])
        levels = min(ticks, 1 + lots - at_touch) if walks else 1
        # What the touch did not hold is met behind it; a taker who does not walk leaves it.
        sizes = [at_touch, *chance.parts(lots - at_touch, levels - 1)] if levels > 1 else [at_touch]
        rows = model.walk_rows[size] if len(sizes) > 1 else model.sweep_rows[size]
        for level, part in enumerate(sizes):
            yield from self._prints(now_ns, side, price + side * level, part, chance.runs(max(1.0, rows)))
        self._step(now_ns, side, ticks)
        yield self._quotes(now_ns)

    def _prints(self, now_ns: int, side: int, price: int, lots: int, rows: int) -> Iterator[Trade]:
        exchange_ns, local_ns = self._stamps(now_ns)
        taker = Taker.BUY if side == 1 else Taker.SELL
        for part in self._chance.parts(lots, rows):
            self._trade_id += 1
            yield Trade(exchange_ns, local_ns, price, part, taker, self._trade_id)
