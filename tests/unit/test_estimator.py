"""`ShapeEstimator`: recovers what made the data, survives what tapes do, reproduces the published figures."""

from __future__ import annotations

import csv
import gzip
import math
import time
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import equipoise as eq
from equipoise.errors import InputError
from equipoise.estimator import ShapeEstimator
from equipoise.tape.events import BookSnapshot, MarketEvent, Quotes, Taker, Trade

SECOND = 10**9
MID = 10**9  # ticks: fine enough that rounding to them is no part of a test


def quotes(seconds: float, mid: float = MID) -> Quotes:
    at = round(seconds * SECOND)
    return Quotes(at, at, round(mid) - 1, 1, round(mid) + 1, 1)


def trade(seconds: float, depth_bps: float, taker: Taker = Taker.BUY, mid: float = MID) -> Trade:
    at = round(seconds * SECOND)
    price = mid * (1 + (-1 if taker is Taker.SELL else 1) * depth_bps / 1e4)
    return Trade(at, at, round(price), 1, taker, 0)


def synthetic(
    seed: int, *, seconds: float, fill_rate: float, fill_decay: float, volatility: float
) -> Iterator[MarketEvent]:
    """A Brownian mid every 100 ms, and Poisson trades at exponential depths from the mid two seconds earlier."""
    rng = np.random.default_rng(seed)
    grid = np.arange(0.0, seconds, 0.1)
    mids = MID * np.exp(np.cumsum(rng.normal(0.0, volatility * math.sqrt(0.1), grid.size)))
    events: list[tuple[float, MarketEvent]] = [
        (at, quotes(at, mid)) for at, mid in zip(grid.tolist(), mids.tolist(), strict=True)
    ]
    for taker in (Taker.BUY, Taker.SELL):
        times = np.sort(rng.uniform(2.0, seconds, rng.poisson(fill_rate * (seconds - 2.0))))
        depths = rng.exponential(1e4 / fill_decay, times.size)
        for at, depth in zip(times.tolist(), depths.tolist(), strict=True):
            reference = mids[np.searchsorted(grid, at - 2.0, side="right") - 1]
            events.append((at, trade(at, depth, taker, float(reference))))
    events.sort(key=lambda pair: pair[0])
    return (event for _, event in events)


def test_known_intensity_and_volatility_are_recovered_within_their_standard_errors() -> None:
    true = {"fill_rate": 0.6, "fill_decay": 3000.0, "volatility": 1.2e-4}
    scores = []
    for seed in range(30):
        events = synthetic(seed, seconds=1_000.0, **true)
        fit = ShapeEstimator(half_life_s=None, sample_s=1.0).observe(events).fit()
        scores.append([(getattr(fit, name) - value) / getattr(fit, name + "_error") for name, value in true.items()])
    z = np.array(scores)
    # Standard normal scores if the estimates are unbiased and the errors honest.
    assert np.all(np.abs(z) < 4.5)
    assert np.all(np.abs(z.mean(axis=0)) < 4.0 / math.sqrt(len(z)))
    assert np.all((z.std(axis=0) > 0.7) & (z.std(axis=0) < 1.2))


def test_fitted_shape_carries_the_estimates_and_takes_overrides() -> None:
    estimator = ShapeEstimator(half_life_s=None).observe(
        synthetic(1, seconds=600.0, fill_rate=1.0, fill_decay=2000.0, volatility=1e-4)
    )
    fit = estimator.fit()
    shape = estimator.shape(horizon_s=10, risk_aversion=0.3, unit=5, fee_bps=1.5, adverse_bps=3, adverse_decay_bps=8)
    assert (shape.volatility, shape.fill_rate, shape.fill_decay) == (fit.volatility, fit.fill_rate, fit.fill_decay)
    assert (shape.adverse_bps, shape.adverse_decay_bps, shape.horizon_s) == (3, 8, 10)
    levels = estimator.levels(horizon_s=10, fee_bps=1.5)
    assert np.allclose(levels.fill_probability, shape.fill_probability(levels.depth_bps), atol=0.1)


def test_warm_up_says_what_is_missing_until_it_is_over() -> None:
    estimator = ShapeEstimator(warmup_s=100.0, sample_s=1.0)
    with pytest.raises(InputError, match="0 s of 100 s observed"):
        estimator.fit()
    estimator.observe(quotes(second / 2) for second in range(220))
    assert estimator.observed_s == pytest.approx(109.5 - 2.0)
    assert not estimator.ready
    with pytest.raises(InputError, match="0 of 3 depths with 5 trades"):
        estimator.shape(horizon_s=10, risk_aversion=0.3, unit=5, fee_bps=1.5)
    estimator.observe(trade(109.5, depth) for depth in (1.5, 2.5, 4.0) for _ in range(5))
    assert estimator.ready
    assert estimator.warmup_s == 100.0
    late = ShapeEstimator(warmup_s=0.0, sample_s=10.0).observe(quotes(second / 2) for second in range(220))
    late.observe(trade(109.5, depth) for depth in (1.5, 2.5, 4.0) for _ in range(5))
    with pytest.raises(InputError, match="10 of 30 samples"):
        late.fit()


def test_depth_is_measured_from_the_mid_two_seconds_earlier() -> None:
    events = [quotes(0), quotes(5, MID * 1.0005), trade(6.9, 4.0), trade(7.1, 4.0)]
    # Before 7.0 s the reference is the first mid and the trade 4 bps deep; after it, the trade is at -1 bps.
    assert ShapeEstimator().observe(events).rates().count.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]


def test_buyers_fill_asks_sellers_fill_bids_and_an_unknown_taker_the_side_it_printed_on() -> None:
    unknown = Trade(5 * SECOND, 5 * SECOND, round(MID * (1 - 8e-4)), 1, Taker.UNKNOWN, 0)
    events = [quotes(0), quotes(4), trade(5, 4.0), trade(5, -4.0), trade(5, 2.5, Taker.SELL), unknown, quotes(12)]
    rates = ShapeEstimator(half_life_s=None).observe(events).rates()
    assert rates.exposure_s == pytest.approx(10.0)
    assert rates.ask.tolist() == pytest.approx([0.1, 0.1, 0.1, 0, 0, 0])
    assert rates.bid.tolist() == pytest.approx([0.2, 0.2, 0.1, 0.1, 0.1, 0])
    assert rates.mean.tolist() == pytest.approx(((rates.ask + rates.bid) / 2).tolist())


def test_a_sweep_counts_once_at_its_deepest_print_on_each_side() -> None:
    prints = [trade(5, depth) for depth in (0.5, 1.5, 6.0, 4.0)] + [trade(5, 2.5, Taker.SELL), trade(5.1, 1.5)]
    rates = (
        ShapeEstimator(half_life_s=None, count="sweeps").observe([quotes(0), *prints, quotes(9), quotes(11)]).rates()
    )
    assert rates.count.tolist() == [3.0, 2.0, 1.0, 1.0, 0.0, 0.0]
    assert np.isfinite(rates.adverse_bps).tolist() == [True, True, True, True, False, False]


def test_adverse_selection_is_the_move_of_the_mid_from_quote_to_markout() -> None:
    events = [
        quotes(0),
        trade(3, 4.0),
        quotes(4, MID * (1 + 2e-4)),
        quotes(7.9, MID * (1 + 3e-4)),
        quotes(8.1, MID * 2),
        trade(9.9, 8.0, Taker.SELL, MID * (1 + 3e-4)),
        quotes(20),
    ]
    adverse = ShapeEstimator(half_life_s=None, hole_s=60.0).observe(events).rates().adverse_bps
    # The buyer at 3 s is marked at 8 s with the mid of 7.9 s; the seller at 9.9 s against a mid that had doubled.
    assert adverse[3] == pytest.approx(-1e4 * (2 / 1.0003 - 1))
    assert adverse[0] == pytest.approx((3.0 + adverse[3]) / 2)


def test_measured_adverse_selection_that_falls_with_depth_is_fitted_exponentially() -> None:
    estimator = ShapeEstimator(half_life_s=None, warmup_s=0.0, markout_s=0.5, sample_s=0.5)
    start = 0.0
    for depth in np.repeat([1.5, 2.5, 4.0, 6.0, 8.0, 12.0], 8).tolist():
        estimator.observe([quotes(start), quotes(start + 2.5), trade(start + 2.5, depth)])
        estimator.observe([quotes(start + 2.6, MID * (1 + 3e-4 * math.exp(-depth / 8))), quotes(start + 3.5)])
        start += 6.0
    fit = estimator.fit()
    # Cumulative means weigh deeper trades in, so the fitted decay is longer than that of single trades.
    assert 1.5 < fit.adverse_bps < 3.0
    assert 8.0 < fit.adverse_decay_bps < 40.0


def test_a_hole_is_left_out_of_the_time_and_of_the_volatility() -> None:
    before = [*(quotes(second) for second in range(61)), trade(59.5, 3.0)]
    after = [quotes(second, MID * 1.1) for second in range(500, 561)]
    estimator = ShapeEstimator(half_life_s=None, sample_s=1.0).observe([*before, trade(501, 3.0), *after])
    assert estimator.observed_s == pytest.approx(2 * 58.0)
    # The second trade came before the mid was known again, the first was not marked out in time, and the jump of 10 %
    # across the hole is no volatility.
    assert estimator.rates().count[0] == 1.0
    assert np.isnan(estimator.rates().adverse_bps[0])
    assert estimator._square_sum == 0.0


def test_volatility_takes_the_mid_that_held_at_each_sampling_time() -> None:
    mids = [(0.0, 0), (0.9, 1), (1.1, 3), (3.5, 4), (4.5, 0)]
    estimator = ShapeEstimator(half_life_s=None, sample_s=1.0)
    estimator.observe(quotes(at, MID * (1 + bps / 1e4)) for at, bps in mids)
    # Samples at 0, 1, 2, 3, 4 s: 0, 1, 3, 3, 4 bps.
    steps = np.diff(np.log1p(np.array([0, 1, 3, 3, 4]) / 1e4))
    assert estimator._square_sum == pytest.approx(np.sum(steps**2), rel=1e-4)
    assert estimator._square_time == 4.0


def test_a_silent_book_beside_running_trades_is_a_hole() -> None:
    trades = [trade(second, 3.0) for second in range(3, 100)]
    estimator = ShapeEstimator(half_life_s=None).observe([quotes(0), *trades, quotes(100, MID * 1.01)])
    assert estimator.observed_s == pytest.approx(8.0)
    assert estimator.rates().count[0] == 8.0  # those at 3, 4, …, 10 s
    # The mid from before the silence is no reference for what follows it, nor a start for volatility.
    after = [trade(101, 200.0), *(quotes(second, MID * 1.01) for second in range(101, 110))]
    assert estimator.observe(after).rates().count[0] == 8.0
    assert estimator._square_sum == 0.0


def test_glitches_are_ignored_and_counted() -> None:
    crossed = Quotes(6 * SECOND, 6 * SECOND, MID + 5, 1, MID - 5, 1)
    negative = Quotes(6 * SECOND, 6 * SECOND, -5, 1, MID, 1)
    empty = BookSnapshot(6 * SECOND, 6 * SECOND, (), (), (MID,), (1,))
    stale = quotes(4, MID * 1.5)
    replayed = trade(1, 3.0)
    worthless = Trade(6 * SECOND, 6 * SECOND, 0, 1, Taker.SELL, 0)
    estimator = ShapeEstimator().observe([quotes(0), quotes(5), crossed, negative, empty, stale, replayed, worthless])
    assert estimator.ignored == 6
    assert estimator.rates().count[0] == 0.0
    locked = Quotes(6 * SECOND, 6 * SECOND, MID, 1, MID, 1)
    assert estimator.observe([locked]).ignored == 6


def test_a_time_stamp_from_the_far_future_does_not_stop_the_estimator_for_good() -> None:
    estimator = ShapeEstimator(half_life_s=None).observe([quotes(0), quotes(1), quotes(1e9)])
    estimator.observe(quotes(2 + step / 10) for step in range(2_000))
    assert estimator.ignored < 1_001
    assert 95.0 < estimator.observed_s < 100.0


def test_old_observations_fade_with_the_half_life() -> None:
    estimator = ShapeEstimator(half_life_s=100.0)
    estimator.observe([quotes(second) for second in range(10)])
    estimator.observe([trade(9, 3.0)] * 8)
    assert estimator.rates().count[0] == pytest.approx(8.0, rel=0.01)
    estimator.observe(quotes(second) for second in range(9, 310))
    assert estimator.rates().count[0] == pytest.approx(1.0, rel=0.03)
    # Old time fades with old trades: an exposure of at most half-life / ln 2.
    assert estimator.rates().exposure_s == pytest.approx(100 / math.log(2) * (1 - 0.5**3.08), rel=0.03)


def test_weights_are_rescaled_without_a_trace_over_many_half_lives() -> None:
    long = ShapeEstimator(half_life_s=10.0, sample_s=1.0, count="sweeps")
    short = ShapeEstimator(half_life_s=10.0, sample_s=1.0, count="sweeps")

    def cycle(start: int, end: int) -> Iterator[MarketEvent]:
        for second in range(start, end):
            yield quotes(second, MID * (1 + 1e-4 * (second % 2)))
            yield trade(second, 3.0 + second % 3)

    long.observe(cycle(0, 3_000))
    short.observe(cycle(2_400, 3_000))
    assert long._weight < 1e9
    for name in ("count", "mean", "adverse_bps"):
        assert np.allclose(getattr(long.rates(), name), getattr(short.rates(), name), rtol=1e-9, equal_nan=True)
    assert long._square_sum / long._square_time == pytest.approx(short._square_sum / short._square_time)
    # A gap of ten years leaves numbers, not overflows.
    long.observe(cycle(3 * 10**8, 3 * 10**8 + 60))
    assert np.isfinite(long.rates().mean).all()


def test_a_sweep_that_spans_a_rescaling_of_weights_is_still_counted_once() -> None:
    split = ShapeEstimator(half_life_s=10.0, count="sweeps")
    whole = ShapeEstimator(half_life_s=10.0, count="sweeps")
    for second in range(0, 900, 2):
        # The deeper print of the same instant is reported after the clock has moved on.
        split.observe([quotes(second), trade(second + 0.1, 1.5), quotes(second + 1.5), trade(second + 0.1, 6.0)])
        whole.observe([quotes(second), trade(second + 0.1, 6.0), quotes(second + 1.5)])
        assert split.rates().count.tolist() == pytest.approx(whole.rates().count.tolist(), abs=1e-12)


def test_memory_does_not_grow_with_the_tape() -> None:
    estimator = ShapeEstimator()
    for step in range(100_000):
        # A new mid every millisecond, a trade every two.
        estimator.update(quotes(step / 1e3, MID + step))
        if step % 2:
            estimator.update(trade(step / 1e3, 3.0))
    assert len(estimator._mid_times) == len(estimator._mids) < 2_500
    assert len(estimator._pending) <= 51


def test_estimates_do_not_depend_on_what_comes_later() -> None:
    events = list(synthetic(3, seconds=700.0, fill_rate=1.0, fill_decay=2500.0, volatility=1e-4))
    cut = len(events) // 2
    at_once = ShapeEstimator().observe(events[:cut]).fit()
    streamed = ShapeEstimator().observe(events[:cut])
    seen = streamed.fit()
    streamed.observe(events[cut:])
    assert seen == at_once
    assert streamed.fit() != seen


@given(
    st.lists(
        st.tuples(
            st.integers(0, 4_000),
            st.one_of(st.integers(-30, 30), st.tuples(st.integers(-120, 120), st.sampled_from(list(Taker)[:2]))),
        ),
        max_size=60,
    )
)
def test_counts_equal_those_of_a_search_over_the_whole_history(steps: list[tuple[int, object]]) -> None:
    """An oracle that keeps everything and searches it; times in milliseconds, mids and prices in tenths of a bp."""
    history: list[tuple[int, float]] = []
    clock, wanted = 0, np.zeros(6)
    estimator = ShapeEstimator(half_life_s=None, lag_s=2.0)
    for gap, what in steps:
        clock += gap
        if isinstance(what, int):
            event: MarketEvent = quotes(clock / 1e3, MID + what * 10_000)
            if history and history[-1][0] > clock - 10:
                continue  # the history merges such neighbours
            history.append((clock, MID + what * 10_000))
        elif isinstance(what, tuple):
            event = trade(clock / 1e3, what[0] / 10, what[1])
            place = bisect_right([at for at, _ in history], clock - 2_000) - 1
            if place >= 0 and clock - history[-1][0] <= 10_000:
                depth = (event.price_ticks / history[place][1] - 1) * (1 if what[1] is Taker.BUY else -1)
                wanted += depth > np.array([1, 2, 3, 5, 7, 10]) / 1e4
        estimator.update(event)
        if history and clock - history[-1][0] > 10_000:
            history.clear()
    assert estimator.rates().count.tolist() == wanted.tolist()


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("depths_bps", [1, 2]),
        ("depths_bps", [1, 3, 2]),
        ("depths_bps", [0, 1, 2]),
        ("depths_bps", [1, 2, float("nan")]),
        ("lag_s", 0.0),
        ("markout_s", float("nan")),
        ("sample_s", -1.0),
        ("half_life_s", 1.0),
        ("warmup_s", float("inf")),
        ("hole_s", 0.0),
        ("count", "fills"),
        ("clock", "wall"),
    ],
)
def test_bad_settings_are_refused_by_name(argument: str, value: object) -> None:
    with pytest.raises(InputError) as caught:
        ShapeEstimator(**{argument: value})  # type: ignore[arg-type]
    assert caught.value.argument == argument


def test_what_is_no_market_event_is_refused() -> None:
    with pytest.raises(InputError, match="event must be a market event, got dict"):
        ShapeEstimator().update({})  # type: ignore[arg-type]


# The recorded tapes


def recorded(folder: Path, coin: str, tick: float) -> list[MarketEvent]:
    """Books and trades in the order they were received, repeated trades left out."""
    rows: list[tuple[float, MarketEvent]] = []
    with gzip.open(folder / f"orderbooks_{coin}.csv.gz", "rt") as lines:
        for row in csv.DictReader(lines):
            local = float(row["timestamp"])
            bid, ask = (round(float(row[f"{side}_price_0"]) / tick) for side in ("bid", "ask"))
            stamp = int(row["exchange_timestamp"]) * 10**6
            rows.append((local, BookSnapshot(stamp, round(local * 1e9), (bid,), (1,), (ask,), (1,))))
    seen = set()
    with gzip.open(folder / f"trades_{coin}.csv.gz", "rt") as lines:
        for row in csv.DictReader(lines):
            if row["trade_id"] in seen:
                continue
            seen.add(row["trade_id"])
            local, price = float(row["timestamp"]), round(float(row["price"]) / tick)
            stamp = int(row["exchange_timestamp"]) * 10**6
            print_ = Trade(stamp, round(local * 1e9), price, 1, Taker(row["side"]), int(row["trade_id"]))
            rows.append((local, print_))
    rows.sort(key=lambda pair: pair[0])
    return [event for _, event in rows]


@pytest.mark.tape
@pytest.mark.parametrize(
    ("coin", "tick", "near", "far", "fill_decay"),
    [("SOL", 0.01, 0.449, 0.019, 3_500.0), ("BTC", 1.0, 0.531, 0.011, 4_300.0)],
)
def test_recorded_tapes_give_the_published_rates_and_decay(
    shared_data: Path, coin: str, tick: float, near: float, far: float, fill_decay: float
) -> None:
    events = recorded(shared_data / "hyperliquid_20250904", coin, tick)
    started = time.perf_counter()
    estimator = ShapeEstimator(half_life_s=None).observe(events)
    per_second = len(events) / (time.perf_counter() - started)
    rates = estimator.rates()
    # The published rates divide by the whole recording; here 1 % of it, hole and first lag, is not observed.
    assert rates.mean[0] == pytest.approx(near, rel=0.015)
    assert rates.mean[-1] == pytest.approx(far, rel=0.03)
    two_point = math.log(rates.mean[0] / rates.mean[-1]) / 9e-4
    assert two_point == pytest.approx(fill_decay, rel=0.01)
    assert estimator.fit().fill_decay == pytest.approx(fill_decay, rel=0.07)
    assert 2_060 < estimator.observed_s < 2_072
    # Deep fills are not the gentler ones here: nothing to fit a decay to.
    assert rates.adverse_bps[-1] > rates.adverse_bps[0] > 3.0
    assert estimator.fit().adverse_decay_bps == 1e6
    textbook = eq.Shape(1e-4, 0.3, 1500, 10, 0.3, 14.66, 3, 8, 1.5)
    assert 0.02 < estimator.levels(horizon_s=10, fee_bps=1.5).fill_probability[-1] / 1.0 < 0.25
    assert textbook.fill_rate_at(10.0) > 3 * rates.mean[-1]
    assert per_second > 20_000  # a hundredfold below what is usual: only a change of order fails


@pytest.mark.tape
def test_sweeps_on_a_recorded_tape_are_about_a_quarter_of_the_prints(shared_data: Path) -> None:
    events = recorded(shared_data / "hyperliquid_20250904", "SOL", 0.01)
    prints = ShapeEstimator(half_life_s=None).observe(events).rates()
    sweeps = ShapeEstimator(half_life_s=None, count="sweeps").observe(events).rates()
    assert 0.2 < sweeps.count[0] / prints.count[0] < 0.3
    assert np.all(sweeps.count <= prints.count)
