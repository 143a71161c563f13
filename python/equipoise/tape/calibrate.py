"""Measures on a tape what the market generator needs, and what tells whether it succeeded.

`calibrate` turns the events of a tape into a `MarketModel`; `figures` reduces any stream of events, recorded or
generated, to the numbers that are compared. Both read the events once and need numpy only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import InputError
from equipoise.tape.events import BookSnapshot, MarketEvent, Quotes, Taker, Trade
from equipoise.tape.model import CLASSES, LEVEL_QUANTILES, LEVELS, PAUSES_S, QUANTILES, MarketModel, Table

__all__ = ["MarketFigures", "calibrate", "figures"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOLE_S = 5.0
"""A pause of quotes longer than this is a hole: gaps and returns across it are not measured."""
_BLOCK = CLASSES.index(0.98) + 1
FOLLOW_S_MAX = 2.0
"""A spread that stays open longer than this is not taken for a step whose second side is under way."""


@dataclass(frozen=True, slots=True)
class _Quotes:
    """Best bids and offers as columns, by exchange time in seconds."""

    time: Floats
    bid: Ints
    ask: Ints
    bid_lots: Ints
    ask_lots: Ints

    @property
    def mid(self) -> Floats:
        return (self.bid + self.ask) / 2.0

    def at(self, times: Floats) -> Ints:
        """Index of the last change at or before each time."""
        return np.maximum(np.searchsorted(self.time, times, side="right") - 1, 0)


@dataclass(frozen=True, slots=True)
class _Sweeps:
    """Prints of one taker at one instant taken together, by exchange time."""

    time: Floats
    sign: Ints
    lots: Ints
    rows: Ints
    levels: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketFigures:
    """What a stream of market events looks like.

    Parameters
    ----------
    seconds
        From the first to the last change of the best bid and offer, holes left out.
    quotes_per_s, books_per_s, trades_per_s, sweeps_per_s, steps_per_s
        Changes of the best bid and offer, snapshots, prints, prints of one taker at one instant taken together, and
        moves of the mid (a move whose second side follows is one).
    spread_ticks
        Mean over time, ticks.
    spread_one
        Part of the time with a spread of one tick.
    volatility_bps
        Standard deviation of the mid's change over 0.25, 1, 5 and 30 s, over the root of that time, bps.
    reach_per_s
        Trades deeper than 1, 2, 3, 5, 7 and 10 bps of the mid 2 s earlier, per second, mean of both sides.
    sweep_reach_per_s
        The same for sweeps, each at its deepest.
    trade_lots
        Quartiles and mean of a trade, lots.
    touch_lots
        Quartiles of the best level's size, lots.
    depth_lots
        Median size of levels 0, 5, 10 and 19 of the snapshots, lots.
    impact_bps
        Mean move of the mid in the taker's direction 0.1, 1 and 5 s after a sweep, bps.
    dispersion
        Variance over mean of the number of sweeps in 10 and 60 s; 1 for independent arrivals.
    """

    seconds: float
    quotes_per_s: float
    books_per_s: float
    trades_per_s: float
    sweeps_per_s: float
    steps_per_s: float
    spread_ticks: float
    spread_one: float
    volatility_bps: tuple[float, ...]
    reach_per_s: tuple[float, ...]
    sweep_reach_per_s: tuple[float, ...]
    trade_lots: tuple[float, ...]
    touch_lots: tuple[float, ...]
    depth_lots: tuple[float, ...]
    impact_bps: tuple[float, ...]
    dispersion: tuple[float, ...]


REACH_BPS = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0)
VOLATILITY_S = (0.25, 1.0, 5.0, 30.0)
IMPACT_S = (0.1, 1.0, 5.0)


def figures(events: Iterable[MarketEvent]) -> MarketFigures:
    """Reduce a stream of market events to the figures that a generated one is held against.

    Raises
    ------
    InputError
        Fewer than 100 changes of the best bid and offer, 20 trades or 20 snapshots of 20 levels.
    """
    quotes, trades, books = _columns(events)
    sweeps = _sweeps(trades)
    pauses = np.diff(quotes.time)
    lengths = np.where(pauses > HOLE_S, 0.0, pauses)
    seconds = float(lengths.sum())
    spread = (quotes.ask - quotes.bid)[:-1]
    sizes = np.array([trade.lots for trade in trades], dtype=np.float64)
    touch = np.concatenate([quotes.bid_lots, quotes.ask_lots]).astype(np.float64)
    depth = np.array([book.bid_lots for book in books] + [book.ask_lots for book in books], dtype=np.float64)
    return MarketFigures(
        seconds=seconds,
        quotes_per_s=len(quotes.time) / seconds,
        books_per_s=len(books) / seconds,
        trades_per_s=len(trades) / seconds,
        sweeps_per_s=len(sweeps.time) / seconds,
        steps_per_s=len(_steps(quotes)[0]) / seconds,
        spread_ticks=float((spread * lengths).sum() / seconds),
        spread_one=float(lengths[spread == 1].sum() / seconds),
        volatility_bps=tuple(_volatility(quotes, horizon) for horizon in VOLATILITY_S),
        reach_per_s=_reach(quotes, trades, sweeps, seconds, whole=False),
        sweep_reach_per_s=_reach(quotes, trades, sweeps, seconds, whole=True),
        trade_lots=(*_quantiles(sizes, (0.25, 0.5, 0.75)), float(sizes.mean())),
        touch_lots=tuple(_quantiles(touch, (0.25, 0.5, 0.75))),
        depth_lots=tuple(float(value) for value in np.median(depth[:, [0, 5, 10, 19]], axis=0)),
        impact_bps=tuple(_impact(quotes, sweeps, delay) for delay in IMPACT_S),
        dispersion=tuple(_dispersion(quotes, sweeps, window) for window in (10.0, 60.0)),
    )


def calibrate(events: Iterable[MarketEvent], *, tick: Decimal, lot: Decimal, fitted_on: str) -> MarketModel:
    """Measure a tape and return the model that generates its like.

    Every figure is a count or a quantile of the tape; the only fitted ones are the two of the activity, from the
    variance of the number of sweeps in 10 and in 60 s.

    Parameters
    ----------
    events
        Of one instrument with books of 20 levels, quotes and trades.
    tick, lot
        Of the instrument.
    fitted_on
        Where the figures come from, for the model's record.

    Raises
    ------
    InputError
        Too few events; see `figures`.
    """
    quotes, trades, books = _columns(events)
    sweeps = _sweeps(trades)
    step_times, step_ticks, follow_s, together = _steps(quotes)
    by_sweep = _nearest(step_times, sweeps.time) < 0.002
    calm_gaps = np.diff(step_times[~by_sweep])
    before = np.maximum(np.searchsorted(quotes.time, sweeps.time - 1e-6) - 1, 0)
    facing = np.where(sweeps.sign > 0, quotes.ask_lots[before], quotes.bid_lots[before])
    rank = (np.argsort(np.argsort(sweeps.lots, kind="stable")) + 0.5) / len(sweeps.lots)
    sizes = np.searchsorted(CLASSES, rank, side="right")
    breaks = sweeps.lots >= facing
    swing, memory_s = _activity(quotes, sweeps)
    exposed, improved = _new_touches(quotes)
    touch = np.sort(np.concatenate([quotes.bid_lots, quotes.ask_lots])).astype(np.float64)
    depth = np.array([book.bid_lots for book in books] + [book.ask_lots for book in books], dtype=np.float64)
    repeats = np.sign(step_ticks[1:]) == np.sign(step_ticks[:-1])
    pauses = np.searchsorted(PAUSES_S, np.diff(step_times), side="right")
    walk, pace = _touch_walk(quotes, touch)
    own_changes = _size_only(quotes) & (_nearest(quotes.time, sweeps.time) > 0.002)
    transit = np.array([(event.local_ns - event.exchange_ns) / 1e9 for event in books])
    single = sweeps.levels == 1
    classes = range(len(CLASSES) + 1)
    started = sizes[np.abs(sweeps.time[:, None] - step_times[by_sweep][None, :]).argmin(axis=0)]
    started_ticks = np.abs(step_ticks[by_sweep])
    return MarketModel(
        fitted_on=fitted_on,
        price=Decimal(round(float(np.median(quotes.mid)) * 2)) * tick / 2,
        tick=tick,
        lot=lot,
        reference_price=Decimal(round(float(np.median(quotes.mid)) * 2)) * tick / 2,
        reference_tick=tick,
        reference_lot=lot,
        sweep_gap_s=_table(np.diff(sweeps.time), longest=15.0),
        sweep_lots=_table(sweeps.lots.astype(np.float64)),
        sweep_breaks=_rounded([float(breaks[sizes == k].mean()) for k in classes]),
        sweep_rows=_rounded([float(sweeps.rows[single & (sizes == k)].mean()) for k in classes]),
        walk_rows=_rounded([_rows_per_level(sweeps, ~single & (sizes == k)) for k in classes]),
        break_walks=_rounded([_walks(~single & (sizes == k), breaks & (sizes == k), started_ticks) for k in classes]),
        step_gap_s=_table(calm_gaps, longest=30.0),
        break_ticks=_table(started_ticks[started < _BLOCK]),
        block_ticks=_table(started_ticks[started >= _BLOCK]),
        step_ticks=_table(np.abs(step_ticks[~by_sweep])),
        step_repeats=_rounded([float(repeats[pauses == k].mean()) for k in range(len(PAUSES_S) + 1)]),
        step_together=_rounded([together])[0],
        follow_s=_table(follow_s),
        activity_swing=swing,
        activity_memory_s=memory_s,
        quote_gap_s=_table(np.diff(quotes.time[own_changes]), longest=HOLE_S),
        quote_both=_rounded([_both_sides(quotes)])[0],
        touch_lots=_table(touch),
        touch_walk=_table(walk),
        touch_pace=_rounded(pace),
        exposed_lots=_table(exposed),
        improved_lots=_table(improved),
        level_lots=tuple(_significant(np.quantile(depth[:, level], LEVEL_QUANTILES)) for level in range(LEVELS)),
        level_changes=_rounded(_level_changes(books)),
        level_walk=_table(_level_walk(books, depth)),
        book_gap_s=_table(np.diff([book.exchange_ns / 1e9 for book in books]), longest=2.0),
        transit_s=_table(transit),
    )


def _columns(events: Iterable[MarketEvent]) -> tuple[_Quotes, list[Trade], list[BookSnapshot]]:
    by_kind: dict[type, list[MarketEvent]] = {Quotes: [], Trade: [], BookSnapshot: []}
    for event in events:
        by_kind[type(event)].append(event)
    quotes = sorted((event for event in by_kind[Quotes] if isinstance(event, Quotes)), key=lambda q: q.exchange_ns)
    trades = sorted((event for event in by_kind[Trade] if isinstance(event, Trade)), key=lambda t: t.exchange_ns)
    books = [event for event in by_kind[BookSnapshot] if isinstance(event, BookSnapshot)]
    books = [book for book in books if min(len(book.bid_ticks), len(book.ask_ticks)) >= LEVELS]
    if len(quotes) < 100 or len(trades) < 20 or len(books) < 20:
        counts = f"{len(quotes)} quotes, {len(trades)} trades, {len(books)} snapshots"
        raise InputError("events", None, f"100 quotes, 20 trades and 20 snapshots of {LEVELS} levels or more", counts)
    return (
        _Quotes(
            np.array([quote.exchange_ns for quote in quotes]) / 1e9,
            np.array([quote.bid_ticks for quote in quotes]),
            np.array([quote.ask_ticks for quote in quotes]),
            np.array([quote.bid_lots for quote in quotes]),
            np.array([quote.ask_lots for quote in quotes]),
        ),
        trades,
        books,
    )


def _sweeps(trades: Sequence[Trade]) -> _Sweeps:
    rows: list[list[int]] = []
    for trade in trades:
        sign = 1 if trade.taker is Taker.BUY else -1
        if rows and rows[-1][:2] == [trade.exchange_ns, sign]:
            last = rows[-1]
            last[2] += trade.lots
            last[3] += 1
            last[4], last[5] = min(last[4], trade.price_ticks), max(last[5], trade.price_ticks)
        else:
            rows.append([trade.exchange_ns, sign, trade.lots, 1, trade.price_ticks, trade.price_ticks])
    table = np.array(rows, dtype=np.int64)
    return _Sweeps(table[:, 0] / 1e9, table[:, 1], table[:, 2], table[:, 3], table[:, 5] - table[:, 4] + 1)


def _steps(quotes: _Quotes) -> tuple[Floats, Floats, Floats, float]:
    """Moves of the mid: when, by how many ticks, how long the second side took, which part moved both at once.

    A step opens the spread on one side and the other side follows; or both sides move together.
    """
    times: list[float] = []
    ticks: list[float] = []
    follows: list[float] = []
    both = 0
    opened = -np.inf
    rest = int(np.median(quotes.ask - quotes.bid))
    bids, asks, when = quotes.bid.tolist(), quotes.ask.tolist(), quotes.time.tolist()
    for k in range(1, len(when)):
        bid, ask = bids[k] - bids[k - 1], asks[k] - asks[k - 1]
        if bid == 0 and ask == 0:
            continue
        widening, narrowing = ask - bid > 0, ask - bid < 0
        if narrowing:
            if when[k] - opened < FOLLOW_S_MAX:
                follows.append(when[k] - opened)
            opened = -np.inf
            continue
        lead = ask if abs(ask) >= abs(bid) else bid
        if when[k] - when[k - 1] > HOLE_S:
            continue
        times.append(when[k])
        ticks.append(float(lead))
        both += not widening
        if widening and asks[k - 1] - bids[k - 1] <= rest:
            opened = when[k]
    return np.array(times), np.array(ticks), np.array(follows), both / max(1, len(times))


def _nearest(times: Floats, others: Floats) -> Floats:
    """Distance of each time to the nearest of the others."""
    right = np.searchsorted(others, times)
    left_gap = times - others[np.maximum(right - 1, 0)]
    right_gap = others[np.minimum(right, len(others) - 1)] - times
    return np.minimum(np.abs(left_gap), np.abs(right_gap))


def _volatility(quotes: _Quotes, horizon_s: float) -> float:
    grid = np.arange(quotes.time[0], quotes.time[-1], 0.25)
    at = quotes.at(grid)
    stale = grid - quotes.time[at] > HOLE_S
    lag = round(horizon_s / 0.25)
    # A return is left out when a hole lies anywhere inside it.
    holes = np.concatenate([[0], np.cumsum(stale)])
    clean = holes[lag + 1 :] == holes[: len(grid) - lag]
    mid = quotes.mid[at]
    moves = (mid[lag:] - mid[:-lag])[clean[: len(mid) - lag]]
    return float(moves.std() / mid.mean() * 1e4 / np.sqrt(horizon_s))


def _reach(
    quotes: _Quotes, trades: Sequence[Trade], sweeps: _Sweeps, seconds: float, *, whole: bool
) -> tuple[float, ...]:
    times = np.array([trade.exchange_ns for trade in trades]) / 1e9
    prices = np.array([trade.price_ticks for trade in trades], dtype=np.float64)
    signs = np.where([trade.taker is Taker.BUY for trade in trades], 1.0, -1.0)
    mid = quotes.mid[quotes.at(times - 2.0)]
    depth = (prices - mid) * signs / mid * 1e4
    if whole:
        starts = np.concatenate([[0], np.cumsum(sweeps.rows)[:-1]])
        depth = np.maximum.reduceat(depth, starts)
    return tuple(float((depth > reach).sum() / seconds / 2.0) for reach in REACH_BPS)


def _impact(quotes: _Quotes, sweeps: _Sweeps, delay_s: float) -> float:
    before = quotes.mid[np.maximum(np.searchsorted(quotes.time, sweeps.time - 1e-6) - 1, 0)]
    after = quotes.mid[quotes.at(sweeps.time + delay_s)]
    return float(((after - before) * sweeps.sign / before).mean() * 1e4)


def _dispersion(quotes: _Quotes, sweeps: _Sweeps, window_s: float) -> float:
    counts, edges = np.histogram(sweeps.time, np.arange(quotes.time[0], quotes.time[-1], window_s))
    hole_ends = quotes.time[1:][np.diff(quotes.time) > HOLE_S]
    holed = np.zeros(len(counts), dtype=bool)
    for end in hole_ends.tolist():
        begin = quotes.time[np.searchsorted(quotes.time, end) - 1]
        holed |= (edges[:-1] < end) & (edges[1:] > begin)
    counts = counts[~holed]
    return float(counts.var() / counts.mean()) if len(counts) > 1 else float("nan")


def _activity(quotes: _Quotes, sweeps: _Sweeps) -> tuple[float, float]:
    """Swing c and memory τ of a two-state rate λ(1 ± c), from the dispersion in 10 and in 60 s.

    Counts of a rate with autocorrelation exp(−t/τ) have the dispersion F₀ + λc²g(T),
    g(T) = 2τ(1 − τ/T·(1 − exp(−T/τ))).
    """
    rate = len(sweeps.time) / (quotes.time[-1] - quotes.time[0])
    gaps = np.diff(sweeps.time)
    base = float(np.var(gaps[gaps < 15.0]) / np.mean(gaps[gaps < 15.0]) ** 2)
    short, long = (max(1e-6, _dispersion(quotes, sweeps, window) - base) for window in (10.0, 60.0))

    def weight(window: float, memory: float) -> float:
        return float(2 * memory * (1 - memory / window * -np.expm1(-window / memory)))

    memories = np.geomspace(2.0, 600.0, 400)
    ratios = np.array([weight(60.0, memory) / weight(10.0, memory) for memory in memories])
    memory = float(memories[int(np.argmin(np.abs(ratios - long / short)))])
    swing = float(np.sqrt(short / (rate * weight(10.0, memory))))
    return round(min(swing, 0.9), 2), float(round(memory))


def _size_only(quotes: _Quotes) -> NDArray[np.bool_]:
    same = (np.diff(quotes.bid) == 0) & (np.diff(quotes.ask) == 0)
    return np.concatenate([[False], same])


def _both_sides(quotes: _Quotes) -> float:
    changed = _size_only(quotes)[1:]
    both = (np.diff(quotes.bid_lots) != 0) & (np.diff(quotes.ask_lots) != 0)
    return float(both[changed].mean())


def _new_touches(quotes: _Quotes) -> tuple[Floats, Floats]:
    """Sizes of a best level that a vanished one laid open, and of one that was put inside the spread."""
    bid, ask = np.diff(quotes.bid), np.diff(quotes.ask)
    exposed = np.concatenate([quotes.bid_lots[1:][bid < 0], quotes.ask_lots[1:][ask > 0]])
    improved = np.concatenate([quotes.bid_lots[1:][bid > 0], quotes.ask_lots[1:][ask < 0]])
    return exposed.astype(np.float64), improved.astype(np.float64)


def _touch_walk(quotes: _Quotes, ordered: Floats) -> tuple[Floats, list[float]]:
    """How far a change of size moves the best level in its own distribution, 0…1, and the pace of each tenth of it."""
    same = _size_only(quotes)[1:]
    moves, places = [], []
    for lots in (quotes.bid_lots, quotes.ask_lots):
        place = np.searchsorted(ordered, lots) / len(ordered)
        changed = same & (np.diff(lots) != 0)
        moves.append(np.abs(np.diff(place))[changed])
        places.append(place[:-1][changed])
    move, tenth = np.concatenate(moves), np.minimum((np.concatenate(places) * 10).astype(np.int64), 9)
    pace = [float(move[tenth == k].mean() / move.mean()) for k in range(10)]
    return move / np.array(pace)[tenth], pace


def _walks(walked: NDArray[np.bool_], broke: NDArray[np.bool_], ticks: Floats) -> float:
    """Part of the sweeps starting a step of two ticks or more that print at each price of it."""
    return min(1.0, float(walked.sum() / max(1, broke.sum()) / (ticks >= 2).mean()))


def _rows_per_level(sweeps: _Sweeps, which: NDArray[np.bool_]) -> float:
    return float(sweeps.rows[which].sum() / max(1, sweeps.levels[which].sum()))


def _kept_levels(books: Sequence[BookSnapshot]) -> Iterable[tuple[int, int, int]]:
    """Level, lots before and lots after of every price that is in two snapshots following each other."""
    for book, later in pairwise(books):
        if later.exchange_ns - book.exchange_ns > 10**9:
            continue
        for ticks, lots, ticks_later, lots_later in (
            (book.bid_ticks, book.bid_lots, later.bid_ticks, later.bid_lots),
            (book.ask_ticks, book.ask_lots, later.ask_ticks, later.ask_lots),
        ):
            known = dict(zip(ticks, lots, strict=True))
            for level, (tick, now) in enumerate(zip(ticks_later[:LEVELS], lots_later[:LEVELS], strict=True)):
                if tick in known:
                    yield level, known[tick], now


def _level_changes(books: Sequence[BookSnapshot]) -> list[float]:
    changed, met = np.zeros(LEVELS), np.zeros(LEVELS)
    for level, before, now in _kept_levels(books):
        met[level] += 1
        changed[level] += before != now
    return [float(value) for value in changed / np.maximum(met, 1)]


def _level_walk(books: Sequence[BookSnapshot], depth: Floats) -> Floats:
    ordered = [np.sort(depth[:, level]) for level in range(LEVELS)]
    triples = np.array([triple for triple in _kept_levels(books) if triple[1] != triple[2] and triple[0] > 0])
    moves = []
    for level in range(1, LEVELS):
        of_level = triples[triples[:, 0] == level]
        before, now = (np.searchsorted(ordered[level], of_level[:, column]) for column in (1, 2))
        moves.append(np.abs(now - before) / len(ordered[level]))
    return np.concatenate(moves)


def _table(values: Sequence[float] | Floats, longest: float = np.inf) -> Table:
    kept = np.asarray(values, dtype=np.float64)
    return _significant(np.quantile(kept[kept < longest], QUANTILES))


def _quantiles(values: Floats, at: Sequence[float]) -> list[float]:
    return [float(value) for value in np.quantile(values, at)]


def _significant(values: Floats) -> Table:
    """Rounded to three significant figures: more is noise of one half hour."""
    return tuple(float(f"{value:.3g}") for value in values.tolist())


def _rounded(values: Sequence[float]) -> Table:
    return tuple(round(value, 3) for value in values)
