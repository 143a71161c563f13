"""The readers on the recorded tapes: every count and figure that their description gives."""

from __future__ import annotations

import gzip
import itertools
import json
import statistics
from bisect import bisect_right
from decimal import Decimal
from pathlib import Path

import pytest

from equipoise.tape import BookSnapshot, MarketEvent, Quotes, Taker, Trade, open_tape

pytestmark = pytest.mark.tape

SECOND = 10**9


def read(shared_data: Path, symbol: str) -> list[MarketEvent]:
    return list(open_tape(shared_data / "hyperliquid_20250904", symbol=symbol))


@pytest.mark.parametrize(
    ("symbol", "tick", "lot", "trades", "quotes", "stats"),
    [
        ("BTC", "1", "0.00001", 6_675 - 30, 13_896, {"trades_late": 88}),
        ("SOL", "0.01", "0.01", 4_437 - 30 - 10, 13_211, {"trades_late": 53, "trades_duplicate": 10}),
    ],
)
def test_hyperliquid_tape_has_the_counts_of_its_description(
    shared_data: Path, symbol: str, tick: str, lot: str, trades: int, quotes: int, stats: dict[str, int]
) -> None:
    tape = open_tape(shared_data / "hyperliquid_20250904", symbol=symbol)
    assert (tape.tick, tape.lot) == (Decimal(tick), Decimal(lot))
    events = list(tape)
    assert sum(isinstance(event, BookSnapshot) for event in events) == 3_785 - 3
    assert sum(isinstance(event, Trade) for event in events) == trades
    assert sum(isinstance(event, Quotes) for event in events) == quotes
    met = {name: count for name, count in tape.stats.items() if count}
    assert met == {"books_repeated": 3, "trades_replayed": 30, "holes": 2, **stats}
    assert tape.progress == 1.0


@pytest.mark.parametrize(
    ("symbol", "mean", "p95", "most", "low", "high", "tick"),
    [("BTC", 1.270, 2, 57, 109_750.5, 110_272.5, 1.0), ("SOL", 1.11, 1, 10, 201.775, 203.275, 0.01)],
)
def test_hyperliquid_books_have_the_spread_and_range_of_their_description(
    shared_data: Path, symbol: str, mean: float, p95: int, most: int, low: float, high: float, tick: float
) -> None:
    books = [event for event in read(shared_data, symbol) if isinstance(event, BookSnapshot)]
    spreads = sorted(book.ask_ticks[0] - book.bid_ticks[0] for book in books)
    # The description counts the three repeated snapshots too; with them BTC has 1.29.
    assert statistics.mean(spreads) == pytest.approx(mean, abs=0.005)
    assert spreads[int(0.95 * len(spreads))] == p95
    assert (spreads[0], spreads[-1]) == (1, most)
    mids = [(book.bid_ticks[0] + book.ask_ticks[0]) / 2 * tick for book in books]
    assert (min(mids), max(mids)) == pytest.approx((low, high))
    assert all(len(book.bid_ticks) == len(book.ask_lots) == 20 for book in books)
    gaps = sorted(later.local_ns - book.local_ns for book, later in itertools.pairwise(books))
    assert gaps[len(gaps) // 2] == pytest.approx(0.54 * SECOND, rel=0.01)


@pytest.mark.parametrize("symbol", ["BTC", "SOL"])
def test_the_reconnect_hole_passes_through_once(shared_data: Path, symbol: str) -> None:
    books = [event.local_ns for event in read(shared_data, symbol) if isinstance(event, BookSnapshot)]
    pauses = [(start - books[0], end - start) for start, end in itertools.pairwise(books)]
    long = [(start / SECOND, pause / SECOND) for start, pause in pauses if pause > 5 * SECOND]
    assert len(long) == 1
    assert long[0][0] == pytest.approx(675.1, abs=0.2)
    assert long[0][1] == pytest.approx(18.0, abs=0.1)


def test_events_of_three_files_come_in_order_of_local_time(shared_data: Path) -> None:
    events = read(shared_data, "BTC")
    assert all(event.local_ns <= later.local_ns for event, later in itertools.pairwise(events))


def test_binance_files_join_over_midnight_with_a_whole_book(shared_data: Path) -> None:
    tape = open_tape(shared_data / "binance")
    assert (tape.symbol, tape.tick, tape.lot) == ("BTCUSDT", Decimal("0.1"), Decimal("0.001"))
    events = list(tape)
    trades = [event for event in events if isinstance(event, Trade)]
    assert len(trades) == 10_701
    assert {trade.taker for trade in trades} == {Taker.BUY, Taker.SELL}
    assert {name: count for name, count in tape.stats.items() if count} == {"diffs_early": 6}
    assert events[-1].local_ns - events[0].local_ns == pytest.approx(480 * SECOND, rel=0.01)
    assert all(event.local_ns <= later.local_ns for event, later in itertools.pairwise(events))
    # The recorder's clock runs behind the venue's.
    behind = [(event.local_ns - event.exchange_ns) / SECOND for event in events]
    assert statistics.median(behind) == pytest.approx(-1.52, abs=0.05)


def test_binance_book_agrees_with_the_best_bid_and_offer_stream_at_every_change(shared_data: Path) -> None:
    ticker: list[tuple[int, tuple[Decimal, ...]]] = []
    updates: dict[int, int] = {}
    for name in ("usdm_btcusdt_20240718.gz", "usdm_btcusdt_20240719.gz"):
        with gzip.open(shared_data / "binance" / name, "rt") as lines:
            for line in lines:
                stamp, _, text = line.partition(" ")
                message = json.loads(text).get("data", {})
                if message.get("e") == "bookTicker":
                    ticker.append((message["u"], tuple(Decimal(message[key]) for key in "bBaA")))
                elif message.get("e") == "depthUpdate":
                    updates[int(stamp)] = message["u"]
    numbers = [number for number, _ in ticker]
    tick, lot = Decimal("0.1"), Decimal("0.001")
    compared = 0
    for event in open_tape(shared_data / "binance", every_ms=0):
        if isinstance(event, BookSnapshot) and event.local_ns in updates:
            before = bisect_right(numbers, updates[event.local_ns]) - 1
            bid, ask = (
                (event.bid_ticks[0] * tick, event.bid_lots[0] * lot),
                (event.ask_ticks[0] * tick, event.ask_lots[0] * lot),
            )
            assert (*bid, *ask) == ticker[before][1]
            compared += 1
    assert compared > 9_000


def test_second_binance_file_alone_has_no_book_but_quotes_and_trades(shared_data: Path) -> None:
    tape = open_tape(shared_data / "binance" / "usdm_btcusdt_20240719.gz")
    kinds = {type(event) for event in tape}
    assert kinds == {Quotes, Trade}
    assert tape.stats["diffs_early"] == 5_696
    assert tape.stats["diffs_unusable"] == 5_696 - 4_096
