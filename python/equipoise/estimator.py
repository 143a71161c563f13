"""Streaming estimates of volatility, fill intensity and adverse selection from a tape."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from equipoise._rust import Levels, Shape
from equipoise.errors import InputError
from equipoise.tape.events import BookSnapshot, MarketEvent, Quotes, Taker, Trade

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ArrivalRates", "ShapeEstimator", "ShapeFit"]

_SECOND = 1_000_000_000
_BPS = 1e4
# Weights grow while old ones stand still; beyond this everything is divided by the newest weight.
_WEIGHT_MAX = 1e9
# Mids closer together than this share one place in the history, which bounds it.
_MID_STEP_NS = 10_000_000
# Trades may arrive this much later than the newest event and still find their mid.
_LATE_NS = 3 * _SECOND
# So many events in a row that are older than that are the new truth about the time.
_LATE_RUN_MAX = 1_000
# Markouts that fall due within the same step are settled together, which bounds what is pending.
_MARKOUT_STEP_NS = 100_000_000
_MEMORY_BLOCK = 512
# Fewest trades at a depth, depths, and volatility samples that a fit may rest on.
_TRADES_MIN = 5.0
_DEPTHS_MIN = 3
_SAMPLES_MIN = 30.0
_FLAT_DECAY_BPS = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class ArrivalRates:
    """Trades that would have filled an order resting deeper than each depth.

    Parameters
    ----------
    depth_bps
        Depths from the mid `lag_s` earlier, shape (K,).
    bid, ask
        Trades per second that reach an order on that side at that depth, shape (K,). Sellers fill bids.
    mean
        Mean of both sides: the rate λ(δ) per side, shape (K,).
    count
        (Decayed) number of trades of both sides behind `mean`, shape (K,).
    adverse_bps
        Mean move of the mid against the filled order, from the mid `lag_s` before the trade to `markout_s` after it,
        bps, shape (K,); NaN where no trade has been marked out.
    exposure_s
        (Decayed) seconds of observation.
    """

    depth_bps: NDArray[np.float64]
    bid: NDArray[np.float64]
    ask: NDArray[np.float64]
    mean: NDArray[np.float64]
    count: NDArray[np.float64]
    adverse_bps: NDArray[np.float64]
    exposure_s: float


@dataclass(frozen=True, slots=True)
class ShapeFit:
    """Estimates and their standard errors, which hold for independent arrivals.

    Trades come in clusters, so the true errors are larger; with `count="trades"` by about the square root of the prints
    per sweep.

    Parameters
    ----------
    volatility, volatility_error
        σ per √second, a fraction of price.
    fill_rate
        A, per second and side.
    fill_rate_error
        Standard error of A.
    fill_decay, fill_decay_error
        κ per fraction of price.
    adverse_bps, adverse_decay_bps
        AS₀ and δc in bps. Where measured adverse selection does not fall with depth, as on the tapes we know, δc is 1e6
        (flat) and AS₀ the mean over depths weighted by trades.
    """

    volatility: float
    volatility_error: float
    fill_rate: float
    fill_rate_error: float
    fill_decay: float
    fill_decay_error: float
    adverse_bps: float
    adverse_decay_bps: float


def _zeros(count: int) -> list[float]:
    return [0.0] * count


class _Markout:
    """Trades whose later mid is awaited: the move is sign·(later / reference − 1), whose coefficients add up now."""

    __slots__ = ("counts", "due", "ratios", "signs")

    def __init__(self, due: int, levels: int) -> None:
        self.due = due
        self.ratios = _zeros(levels)
        self.signs = _zeros(levels)
        self.counts = _zeros(levels)

    def add(self, bucket: int, weight: float, sign: float, reference: float) -> None:
        self.ratios[bucket] += weight * sign / reference
        self.signs[bucket] += weight * sign
        self.counts[bucket] += weight


@dataclass(slots=True)
class _Sweep:
    """Prints of one taker side at one time, counted at the deepest bucket so far (−1: none on the grid)."""

    time: int
    bucket: int
    weight: float
    reference: float
    markout: _Markout


class ShapeEstimator:
    """Fits σ, A, κ and adverse selection to market events as they come.

    Causal (an estimate uses only events already given), of constant memory, and tolerant of what tapes do: reconnect
    holes are left out of the observation time, replayed old trades and stale snapshots are dropped, crossed books
    ignored.

    Parameters
    ----------
    depths_bps
        Increasing positive depths at which arrivals are counted, 3 to 64 of them.
    lag_s
        Age of the mid that a trade's depth is measured from: how long a quote rests before it follows. (0, 60].
    markout_s
        Time after a trade at which the mid tells its adverse selection. (0, 600].
    sample_s
        Interval at which the mid is sampled for σ. (0, 600]. Book snapshots lag the price: on the two recorded
        Hyperliquid tapes one-second sampling gives 22 and 28 % less than five-second sampling.
    half_life_s
        Time after which an observation counts half; None never forgets. [10, 1e7].
    warmup_s
        Observation time before `ready`. [0, 1e7].
    hole_s
        Silence of the book after which the mid is unknown until it speaks again, and the time is not counted. Raise
        it for a tape that is silent while nothing changes. (0, 3600].
    count
        "trades": each print counts. "sweeps": prints of one taker side at one exchange time count once, at the deepest.
        An order is filled once by a sweep, so "sweeps" is the rate that its fill probability needs; "trades" is what
        published figures usually count, about four times as many on the recorded tapes.
    clock
        Which time stamps order the events: "exchange" or "local".

    Raises
    ------
    InputError
        An argument is out of range.

    Notes
    -----
    λ(δ) is the number of trades deeper than δ from the mid `lag_s` before the trade, per second, mean of both sides.
    A trade is attributed to the side its taker hits; of an unknown taker to the side of the mid it printed on. The
    fit is ``ln λ(δ) = ln A − κδ`` by least squares over the depths with at least five trades, each weighted by its
    count: the variance of the logarithm of a Poisson count is one over the count. The counts are cumulative and so
    correlated; the standard errors take that into account.

    σ² is the sum of squared log changes of the mid, sampled every `sample_s` (last mid at or before the sampling
    time), over the time sampled.

    An event costs one to two microseconds; memory is bounded by the lag and the markout horizon, not by the tape.

    References
    ----------
    Avellaneda and Stoikov, "High-frequency trading in a limit order book", Quantitative Finance 8 (2008), for the
    exponential intensity of arrivals by depth.

    Examples
    --------
    >>> estimator = ShapeEstimator(warmup_s=300)
    >>> estimator.ready
    False
    """

    def __init__(
        self,
        *,
        depths_bps: Sequence[float] = (1, 2, 3, 5, 7, 10),
        lag_s: float = 2.0,
        markout_s: float = 5.0,
        sample_s: float = 5.0,
        half_life_s: float | None = 1800.0,
        warmup_s: float = 300.0,
        hole_s: float = 10.0,
        count: Literal["trades", "sweeps"] = "trades",
        clock: Literal["exchange", "local"] = "exchange",
    ) -> None:
        self._depths_bps = _checked_depths(depths_bps)
        self._depths = [depth / _BPS for depth in self._depths_bps]
        self._lag_ns = _nanoseconds("lag_s", lag_s, 1e-3, 60.0)
        self._markout_ns = _nanoseconds("markout_s", markout_s, 1e-3, 600.0)
        self._sample_ns = _nanoseconds("sample_s", sample_s, 1e-3, 600.0)
        self._hole_ns = _nanoseconds("hole_s", hole_s, 1e-3, 3600.0)
        self._decay_per_ns = 0.0
        if half_life_s is not None:
            self._decay_per_ns = math.log(2.0) / _nanoseconds("half_life_s", half_life_s, 10.0, 1e7)
        self._warmup_ns = _nanoseconds("warmup_s", warmup_s, 0.0, 1e7)
        self._sweeps = _choice("count", count, ("trades", "sweeps")) == "sweeps"
        self._exchange = _choice("clock", clock, ("exchange", "local")) == "exchange"

        levels = len(self._depths)
        # Clock. `_ready_ns` is when the history first reaches back `lag_s`; observation time counts from there.
        self._now = -1
        self._late_run = 0
        self._ready_ns = 0
        self._observed_ns = 0
        self._weight = 1.0
        self._weight_ns = 0
        # History of mids: parallel lists with a moving start.
        self._mid = 0.0
        self._mid_ns = -1
        self._mid_times: list[int] = []
        self._mids: list[float] = []
        self._head = 0
        # Weighted sums. Arrivals by bucket: element k counts trades deeper than depth k and not deeper than depth k +
        # 1.
        self._exposure = 0.0
        self._asks_hit = _zeros(levels)
        self._bids_hit = _zeros(levels)
        self._sweep_ask: _Sweep | None = None
        self._sweep_bid: _Sweep | None = None
        # Adverse selection: pending by due time, then settled sums.
        self._pending: deque[_Markout] = deque()
        self._marked = _zeros(levels)
        self._marked_count = _zeros(levels)
        # Volatility.
        self._sample_due = -1
        self._sample_mid = 0.0
        self._square_sum = 0.0
        self._square_time = 0.0
        self.ignored = 0

    # Events in

    def update(self, event: MarketEvent) -> None:
        """Take one event.

        Parameters
        ----------
        event
            A book snapshot or a change of the best quotes moves the mid; a trade is an arrival. Events that cannot be
            used (crossed or empty book, no mid to compare with, too old) are counted in `ignored`.

        Raises
        ------
        InputError
            Not a market event.
        """
        if not isinstance(event, (Trade, Quotes, BookSnapshot)):
            raise InputError("event", None, "a market event", type(event).__name__)
        time = event.exchange_ns if self._exchange else event.local_ns
        if isinstance(event, Trade):
            self._trade(time, event.price_ticks, event.taker)
        elif isinstance(event, Quotes):
            self._quotes(time, event.bid_ticks, event.ask_ticks)
        elif event.bid_ticks and event.ask_ticks:
            self._quotes(time, event.bid_ticks[0], event.ask_ticks[0])
        else:
            self.ignored += 1

    def observe(self, events: Iterable[MarketEvent]) -> ShapeEstimator:
        """Take many events, in order; returns itself."""
        update = self.update
        for event in events:
            update(event)
        return self

    # Estimates out

    @property
    def observed_s(self) -> float:
        """Seconds of observation so far, holes left out, nothing forgotten."""
        return self._observed_ns / _SECOND

    @property
    def warmup_s(self) -> float:
        """Observation time that `ready` asks for, seconds."""
        return self._warmup_ns / _SECOND

    @property
    def ready(self) -> bool:
        """Whether a fit has enough: `warmup_s` observed, three depths with five trades each, thirty samples of σ."""
        return self._missing() is None

    def rates(self) -> ArrivalRates:
        """Arrival rates and adverse selection by depth, as measured, without a model."""
        exposure = self._exposure / self._weight / _SECOND
        asks, bids = _deeper(self._asks_hit) / self._weight, _deeper(self._bids_hit) / self._weight
        per_second = 1.0 / exposure if exposure > 0.0 else 0.0
        marked, marked_count = _deeper(self._marked), _deeper(self._marked_count)
        adverse = np.full(len(self._depths), np.nan)
        np.divide(marked * _BPS, marked_count, out=adverse, where=marked_count > 0.0)
        return ArrivalRates(
            depth_bps=np.array(self._depths_bps),
            bid=bids * per_second,
            ask=asks * per_second,
            mean=(asks + bids) * (per_second / 2.0),
            count=asks + bids,
            adverse_bps=adverse,
            exposure_s=exposure,
        )

    def fit(self) -> ShapeFit:
        """Fit the exponential intensity, the volatility and the adverse selection.

        Raises
        ------
        InputError
            Not `ready` yet; the message says what is missing.
        """
        missing = self._missing()
        if missing is not None:
            raise InputError("estimator", None, "ready", missing)
        rates = self.rates()
        used = rates.count >= _TRADES_MIN
        depth = rates.depth_bps[used] / _BPS
        (log_rate, slope), covariance = _weighted_line(depth, np.log(rates.mean[used]), rates.count[used])
        fill_rate = math.exp(float(log_rate))
        volatility = math.sqrt(self._square_sum / self._square_time)
        adverse_bps, adverse_decay_bps = _fit_adverse(rates)
        return ShapeFit(
            volatility=volatility,
            volatility_error=volatility / math.sqrt(2.0 * self._samples()),
            fill_rate=fill_rate,
            fill_rate_error=fill_rate * math.sqrt(float(covariance[0, 0])),
            fill_decay=-float(slope),
            fill_decay_error=math.sqrt(float(covariance[1, 1])),
            adverse_bps=adverse_bps,
            adverse_decay_bps=adverse_decay_bps,
        )

    def shape(
        self,
        *,
        horizon_s: float,
        risk_aversion: float,
        unit: float,
        fee_bps: float,
        **overrides: float | str,
    ) -> Shape:
        """The fitted shape.

        Parameters
        ----------
        horizon_s, risk_aversion, unit, fee_bps
            What no tape can tell; see `Shape`.
        **overrides
            Any other argument of `Shape`, in place of its estimate.

        Raises
        ------
        InputError
            Not `ready` yet, or an override is out of range.
        """
        fit = self.fit()
        arguments: dict[str, float | str] = {
            "volatility": fit.volatility,
            "fill_rate": fit.fill_rate,
            "fill_decay": fit.fill_decay,
            "adverse_bps": fit.adverse_bps,
            "adverse_decay_bps": fit.adverse_decay_bps,
            "horizon_s": horizon_s,
            "risk_aversion": risk_aversion,
            "unit": unit,
            "fee_bps": fee_bps,
            **overrides,
        }
        return Shape(**arguments)  # type: ignore[arg-type]

    def levels(self, *, horizon_s: float, fee_bps: float) -> Levels:
        """Levels at the depths of the grid, valued by what was measured instead of by the exponential models.

        Parameters
        ----------
        horizon_s
            Time a quote is meant to rest, seconds, positive.
        fee_bps
            Maker fee, bps.

        Returns
        -------
        Levels
            Fill probability ``1 − exp(−rate · horizon_s)`` and edge ``depth − measured adverse selection − fee_bps``,
            at the depths where adverse selection has been measured.

        Raises
        ------
        InputError
            Not `ready` yet, or an argument is out of range.
        """
        missing = self._missing()
        if missing is not None:
            raise InputError("estimator", None, "ready", missing)
        if not 0.0 < horizon_s < math.inf:
            raise InputError("horizon_s", None, "positive and finite", horizon_s)
        rates = self.rates()
        known = np.isfinite(rates.adverse_bps)
        return Levels(
            rates.depth_bps[known],
            -np.expm1(-rates.mean[known] * horizon_s),
            rates.depth_bps[known] - rates.adverse_bps[known] - fee_bps,
        )

    # Inside

    def _missing(self) -> str | None:
        if self._observed_ns < self._warmup_ns:
            return f"{self.observed_s:.0f} s of {self.warmup_s:.0f} s observed"
        counts = self.rates().count
        depths = int(np.count_nonzero(counts >= _TRADES_MIN))
        if depths < _DEPTHS_MIN:
            return f"{depths} of {_DEPTHS_MIN} depths with {_TRADES_MIN:.0f} trades each"
        if counts[0] <= counts[counts >= _TRADES_MIN][-1]:
            return "trades that all print deeper than the grid"
        samples = self._samples()
        if samples < _SAMPLES_MIN:
            return f"{samples:.0f} of {_SAMPLES_MIN:.0f} samples of the mid"
        return None

    def _samples(self) -> float:
        """Weighted number of volatility samples behind the estimate."""
        return self._square_time * _SECOND / self._sample_ns / self._weight

    def _advance(self, time: int) -> bool:
        """Move the clock to `time`; False where the event is too old to use."""
        now = self._now
        if time <= now:
            if now - time <= _LATE_NS:
                self._late_run = 0
                return True
            self._late_run += 1
            if self._late_run < _LATE_RUN_MAX:
                return False
            # Not stragglers: the clock had been thrown forward by a wrong stamp, or another tape begins.
            self._restart(time)
            return True
        self._late_run = 0
        if now < 0 or time - now > self._hole_ns:
            self._restart(time)
            return True
        start = max(now, self._ready_ns)
        if self._mid_ns >= 0 and time > start and time - self._mid_ns <= self._hole_ns:
            self._observed_ns += time - start
            self._exposure += self._weight * (time - start)
        self._now = time
        if self._decay_per_ns and time - self._weight_ns > _SECOND:
            self._grow_weight(time)
        return True

    def _restart(self, time: int) -> None:
        """The first event, or the first after a hole: no mid is known, and nothing spans the gap."""
        if self._decay_per_ns and 0 < self._weight_ns < time:
            self._grow_weight(time)
        self._now = self._weight_ns = time
        self._late_run = 0
        self._mid_ns = -1
        self._mid_times.clear()
        self._mids.clear()
        self._head = 0
        self._pending.clear()
        self._sample_due = -1

    def _grow_weight(self, time: int) -> None:
        # A gap of years must not overflow the exponential; after 60 half-lives nothing is left either way.
        self._weight *= math.exp(min((time - self._weight_ns) * self._decay_per_ns, 42.0))
        self._weight_ns = time
        if self._weight > _WEIGHT_MAX:
            scale = 1.0 / self._weight
            for sums in (self._asks_hit, self._bids_hit, self._marked, self._marked_count):
                sums[:] = [value * scale for value in sums]
            self._exposure *= scale
            self._square_sum *= scale
            self._square_time *= scale
            for markout in self._pending:
                for sums in (markout.ratios, markout.signs, markout.counts):
                    sums[:] = [value * scale for value in sums]
            for sweep in (self._sweep_ask, self._sweep_bid):
                if sweep is not None:
                    sweep.weight *= scale
            self._weight = 1.0

    def _quotes(self, time: int, bid_ticks: int, ask_ticks: int) -> None:
        if not 0 < bid_ticks <= ask_ticks or not self._advance(time) or time < self._mid_ns:
            self.ignored += 1
            return
        if 0 <= self._mid_ns < time - self._hole_ns:
            # Trades went on while the book was silent.
            self._restart(time)
        # What falls due before this mid is settled with the one before.
        if self._pending and self._pending[0].due < time:
            self._settle(time)
        mid = (bid_ticks + ask_ticks) * 0.5
        self._sample(time, mid)
        if self._mid_ns < 0:
            self._ready_ns = time + self._lag_ns
        elif mid == self._mid:
            self._mid_ns = time
            return
        self._mid = mid
        self._mid_ns = time
        times = self._mid_times
        if len(times) - self._head > 1 and time - times[-2] < _MID_STEP_NS:
            times[-1] = time
            self._mids[-1] = mid
        else:
            times.append(time)
            self._mids.append(mid)
            self._forget(time)

    def _forget(self, time: int) -> None:
        """Drop mids that no trade can ask for any more, in blocks."""
        times = self._mid_times
        oldest = time - self._lag_ns - _LATE_NS
        head = self._head
        while head + 1 < len(times) and times[head + 1] <= oldest:
            head += 1
        if head >= _MEMORY_BLOCK:
            del times[:head]
            del self._mids[:head]
            head = 0
        self._head = head

    def _sample(self, time: int, mid: float) -> None:
        """Sample the mid that held at each multiple of `sample_s` before `time`."""
        due = self._sample_due
        if due < 0:
            self._sample_mid = mid
            self._sample_due = time + self._sample_ns
        elif time >= due:
            # Over several steps at once the mid did not move: one change, then zeros.
            steps = (time - due) // self._sample_ns + 1
            last = self._mid
            change = math.log(last / self._sample_mid)
            self._square_sum += self._weight * change * change
            self._square_time += self._weight * steps * (self._sample_ns / _SECOND)
            self._sample_mid = last
            self._sample_due = due + steps * self._sample_ns

    def _trade(self, time: int, price_ticks: int, taker: Taker) -> None:
        if not self._advance(time):
            self.ignored += 1
            return
        if self._pending and self._pending[0].due < time:
            self._settle(time)
        place = bisect_right(self._mid_times, time - self._lag_ns, self._head) - 1
        if place < self._head or price_ticks <= 0 or time - self._mid_ns > self._hole_ns:
            self.ignored += 1
            return
        reference = self._mids[place]
        distance = price_ticks / reference - 1.0
        buy = taker is Taker.BUY or (taker is Taker.UNKNOWN and distance > 0.0)
        bucket = bisect_left(self._depths, distance if buy else -distance) - 1
        if self._sweeps:
            self._extend_sweep(time, buy, bucket, reference)
        elif bucket >= 0:
            (self._asks_hit if buy else self._bids_hit)[bucket] += self._weight
            self._markout(time).add(bucket, self._weight, 1.0 if buy else -1.0, reference)

    def _extend_sweep(self, time: int, buy: bool, bucket: int, reference: float) -> None:
        """Count a sweep at its deepest print so far, taking back what it counted before."""
        sweep = self._sweep_ask if buy else self._sweep_bid
        hits = self._asks_hit if buy else self._bids_hit
        sign = 1.0 if buy else -1.0
        if sweep is not None and sweep.time == time:
            if bucket <= sweep.bucket:
                return
            if sweep.bucket >= 0:
                hits[sweep.bucket] -= sweep.weight
                sweep.markout.add(sweep.bucket, -sweep.weight, sign, sweep.reference)
            sweep.bucket = bucket
        else:
            sweep = _Sweep(time, bucket, self._weight, reference, self._markout(time))
            if buy:
                self._sweep_ask = sweep
            else:
                self._sweep_bid = sweep
        if bucket >= 0:
            hits[bucket] += sweep.weight
            sweep.markout.add(bucket, sweep.weight, sign, sweep.reference)

    def _markout(self, time: int) -> _Markout:
        """What falls due `markout_s` after `time`, together with its near neighbours."""
        due = time + self._markout_ns
        if not self._pending or due - self._pending[-1].due >= _MARKOUT_STEP_NS:
            self._pending.append(_Markout(due, len(self._depths)))
        return self._pending[-1]

    def _settle(self, time: int) -> None:
        """Mark out what fell due before `time` with the mid in force."""
        pending, mid = self._pending, self._mid
        while pending and pending[0].due < time:
            markout = pending.popleft()
            for bucket, count in enumerate(markout.counts):
                if count:
                    self._marked[bucket] += markout.ratios[bucket] * mid - markout.signs[bucket]
                    self._marked_count[bucket] += count


def _nanoseconds(name: str, seconds: float, low: float, high: float) -> int:
    if not low <= seconds <= high:
        raise InputError(name, None, f"in [{low:g}, {high:g}] seconds", seconds)
    return round(seconds * _SECOND)


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise InputError(name, None, " or ".join(repr(choice) for choice in choices), repr(value))
    return value


def _checked_depths(depths_bps: Sequence[float]) -> list[float]:
    depths = [float(depth) for depth in depths_bps]
    if not _DEPTHS_MIN <= len(depths) <= 64:
        raise InputError("depths_bps", None, f"{_DEPTHS_MIN} to 64 depths", len(depths))
    for index, depth in enumerate(depths):
        if not (depths[index - 1] if index else 0.0) < depth <= _BPS:
            raise InputError("depths_bps", index, "positive, increasing and at most 1e4", depth)
    return depths


def _deeper(buckets: list[float]) -> NDArray[np.float64]:
    """Sums from each bucket outwards."""
    return np.cumsum(np.array(buckets)[::-1])[::-1].copy()


def _weighted_line(
    x: NDArray[np.float64], y: NDArray[np.float64], count: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intercept and slope of y over x weighted by count, and their covariance for cumulative Poisson counts.

    Counts N_i ≥ N_j at depths x_i < x_j share the N_j deeper trades, so cov(ln N_i, ln N_j) = N_j / (N_i N_j) = 1 /
    N_i.
    """
    design = np.column_stack((np.ones_like(x), x))
    gain = np.linalg.solve((design * count[:, None]).T @ design, (design * count[:, None]).T)
    spread = 1.0 / np.maximum.outer(count, count)
    return gain @ y, gain @ spread @ gain.T


def _fit_adverse(rates: ArrivalRates) -> tuple[float, float]:
    """AS₀ and δc as measured; flat where adverse selection does not fall with depth, zero where it is negative."""
    known = np.isfinite(rates.adverse_bps) & (rates.count >= _TRADES_MIN)
    depth, adverse, count = rates.depth_bps[known], rates.adverse_bps[known], rates.count[known]
    if not count.size:
        return 0.0, _FLAT_DECAY_BPS
    flat = max(float(np.average(adverse, weights=count)), 0.0)
    if count.size < 2 or np.any(adverse <= 0.0):
        return flat, _FLAT_DECAY_BPS
    # The variance of ln(mean) goes with 1 / (count · mean²).
    (log_level, slope), _ = _weighted_line(depth, np.log(adverse), count * adverse**2)
    if slope >= -1.0 / _FLAT_DECAY_BPS:
        return flat, _FLAT_DECAY_BPS
    return min(math.exp(float(log_level)), _FLAT_DECAY_BPS), max(-1.0 / float(slope), 1e-9)
