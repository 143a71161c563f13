"""The reader of Binance raw streams on written streams: the book's sequence, and every glitch a recorder leaves."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.errors import InputError, TapeError
from equipoise.tape import GLITCHES, BookSnapshot, MarketEvent, Quotes, Taker, Trade, open_tape

T0 = 1_721_347_020_000  # ms, venue
BEHIND = 1_500  # ms by which the recorder's clock is behind

Line = tuple[int, dict[str, Any]]
Level = tuple[str, str]


def stream(kind: str, at: int, **fields: object) -> Line:
    name = {"depthUpdate": "depth@0ms", "bookTicker": "bookTicker", "trade": "trade"}.get(kind, kind)
    return at, {"stream": f"btcusdt@{name}", "data": {"e": kind, "E": at, "T": at, "s": "BTCUSDT", **fields}}


def diff(at: int, last: int, before: int, bids: Sequence[Level] = (), asks: Sequence[Level] = ()) -> Line:
    return stream("depthUpdate", at, U=before + 1, u=last, pu=before, b=[*map(list, bids)], a=[*map(list, asks)])


def snapshot(at: int, number: int, bids: Sequence[Level] = (), asks: Sequence[Level] = ()) -> Line:
    bids = bids or [("100.0", "1.000"), ("99.9", "2.000")]
    asks = asks or [("100.1", "1.500"), ("100.2", "2.500")]
    return at, {"lastUpdateId": number, "E": at, "T": at, "bids": [*map(list, bids)], "asks": [*map(list, asks)]}


def ticker(at: int, number: int, bid: str = "100.0", ask: str = "100.1") -> Line:
    return stream("bookTicker", at, u=number, b=bid, B="1.000", a=ask, A="1.500")


def trade(at: int, number: int, **fields: object) -> Line:
    return stream("trade", at, **{"t": number, "p": "100.1", "q": "0.250", "X": "MARKET", "m": False, **fields})


def text(lines: Sequence[Line | str]) -> str:
    written = [
        line if isinstance(line, str) else f"{(line[0] - BEHIND) * 10**6} {json.dumps(line[1])}" for line in lines
    ]
    return "\n".join(written) + "\n"


def read(folder: Path, lines: Sequence[Line | str], **options: Any) -> tuple[list[MarketEvent], dict[str, int]]:
    path = folder / "usdm.gz"
    path.write_bytes(gzip.compress(text(lines).encode()))
    tape = open_tape(path, **{"symbol": "BTCUSDT", "tick": "0.1", "lot": "0.001", "every_ms": 0, **options})
    events = list(tape)
    assert set(tape.stats) == set(GLITCHES)
    return events, {name: count for name, count in tape.stats.items() if count}


def books(events: Sequence[MarketEvent]) -> list[tuple[tuple[int, ...], ...]]:
    return [
        (event.bid_ticks, event.bid_lots, event.ask_ticks, event.ask_lots)
        for event in events
        if isinstance(event, BookSnapshot)
    ]


START = ((1000, 999), (1000, 2000), (1001, 1002), (1500, 2500))


def test_snapshot_then_changes_build_the_book(tmp_path: Path) -> None:
    events, stats = read(
        tmp_path,
        [
            snapshot(T0, 10),
            diff(T0 + 50, 12, 10, bids=[("100.0", "0.000"), ("99.8", "3.000")], asks=[("100.1", "0.500")]),
            diff(T0 + 90, 15, 12, bids=[("100.0", "4.000")], asks=[("100.3", "0.000")]),
        ],
    )
    assert books(events) == [
        START,
        ((999, 998), (2000, 3000), (1001, 1002), (500, 2500)),
        ((1000, 999, 998), (4000, 2000, 3000), (1001, 1002), (500, 2500)),
    ]
    assert stats == {}
    assert events[0].exchange_ns == T0 * 10**6
    assert events[0].local_ns == (T0 - BEHIND) * 10**6


def test_changes_before_the_snapshot_are_held_and_those_it_contains_left_out(tmp_path: Path) -> None:
    lines = [
        diff(T0, 8, 5, bids=[("90.0", "9.000")]),
        diff(T0 + 10, 12, 8, bids=[("99.8", "3.000")]),
        diff(T0 + 20, 14, 12, asks=[("100.1", "0.700")]),
        snapshot(T0 + 30, 10),
        diff(T0 + 40, 15, 14, asks=[("100.1", "0.800")]),
    ]
    events, stats = read(tmp_path, lines)
    assert stats == {"diffs_early": 3}
    assert books(events) == [
        ((1000, 999, 998), (1000, 2000, 3000), (1001, 1002), (700, 2500)),
        ((1000, 999, 998), (1000, 2000, 3000), (1001, 1002), (800, 2500)),
    ]


def test_missing_change_drops_the_book_until_the_next_snapshot(tmp_path: Path) -> None:
    lines = [
        snapshot(T0, 10),
        diff(T0 + 10, 12, 10, bids=[("99.8", "3.000")]),
        diff(T0 + 30, 16, 14, bids=[("99.7", "3.000")]),
        diff(T0 + 40, 18, 16, bids=[("99.6", "3.000")]),
        ticker(T0 + 45, 19),
        snapshot(T0 + 50, 17),
        diff(T0 + 60, 20, 18, bids=[("100.0", "5.000")]),
    ]
    events, stats = read(tmp_path, lines)
    assert stats == {"sequence_gaps": 1, "diffs_early": 1}
    assert [type(event).__name__ for event in events] == ["BookSnapshot"] * 2 + ["Quotes"] + ["BookSnapshot"] * 2
    assert books(events)[2:] == [
        ((1000, 999, 996), (1000, 2000, 3000), (1001, 1002), (1500, 2500)),
        ((1000, 999, 996), (5000, 2000, 3000), (1001, 1002), (1500, 2500)),
    ]


def test_gap_between_snapshot_and_first_change_is_seen(tmp_path: Path) -> None:
    events, stats = read(tmp_path, [snapshot(T0, 10), diff(T0 + 10, 14, 12, bids=[("99.8", "3.000")])])
    assert stats == {"sequence_gaps": 1}
    assert books(events) == [START]


def test_repeated_changes_and_older_snapshots_change_nothing(tmp_path: Path) -> None:
    change = diff(T0 + 10, 12, 10, bids=[("99.8", "3.000")])
    events, stats = read(tmp_path, [snapshot(T0, 10), change, change, snapshot(T0 + 20, 11)])
    assert stats == {}
    assert len(books(events)) == 2


@pytest.mark.parametrize(
    "bad",
    [
        {"b": [["100.05", "1.000"]]},
        {"b": [["nan", "1.000"]]},
        {"b": [["100.0", ""]]},
        {"b": [["100.0"]]},
        {"b": [[None, "1.000"]]},
        {"b": "100.0"},
        {"b": None},
        {"u": "12"},
        {"u": -1},
        {"pu": None},
        {"a": [["1e30", "1.000"]]},
        {"a": [[["100.0"], "1.000"]]},
    ],
)
def test_unusable_change_drops_the_book_instead_of_guessing(tmp_path: Path, bad: dict[str, object]) -> None:
    change = diff(T0 + 10, 12, 10)
    change[1]["data"].update(bad)
    events, stats = read(tmp_path, [snapshot(T0, 10), change, diff(T0 + 20, 13, 12)])
    assert stats == {"diffs_unusable": 1, "sequence_gaps": 1, "diffs_early": 1}
    assert books(events) == [START]


def test_crossed_book_is_not_shown(tmp_path: Path) -> None:
    lines = [
        snapshot(T0, 10),
        diff(T0 + 10, 12, 10, bids=[("100.1", "3.000")]),
        diff(T0 + 20, 13, 12, asks=[("100.1", "0.000")]),
    ]
    events, stats = read(tmp_path, lines)
    assert stats == {"books_crossed": 1}
    assert books(events)[1:] == [((1001, 1000, 999), (3000, 1000, 2000), (1002,), (2500,))]


def test_snapshots_are_no_closer_than_asked_and_no_deeper(tmp_path: Path) -> None:
    lines = [snapshot(T0, 10), *(diff(T0 + 10 * i, 10 + i, 9 + i, bids=[("99.5", f"{i}.000")]) for i in range(1, 101))]
    events, _ = read(tmp_path, lines, every_ms=100, levels=1)
    assert len(events) == 11
    assert all(isinstance(event, BookSnapshot) and len(event.bid_ticks) == 1 for event in events)


def test_best_bid_and_offer_glitches_are_counted_and_dropped(tmp_path: Path) -> None:
    lines = [
        ticker(T0, 5),
        ticker(T0 + 1, 6, bid="100.1"),
        ticker(T0 + 2, 7, bid="100.2"),
        ticker(T0 + 3, 4),
        ticker(T0 + 4, 8, bid="100.05"),
        ticker(T0 + 5, 9, bid="nan"),
        ticker(T0 + 6, 10, ask="1e40"),
        ticker(T0 + 7, 11),
    ]
    events, stats = read(tmp_path, lines)
    assert [event.exchange_ns // 10**6 - T0 for event in events] == [0, 7]
    assert stats == {
        "quotes_crossed": 2,
        "quotes_stale": 1,
        "quotes_off_grid": 1,
        "quotes_malformed": 1,
        "quotes_out_of_range": 1,
    }


def test_trade_glitches_are_counted(tmp_path: Path) -> None:
    lines = [
        trade(T0, 1),
        trade(T0 + 1, 1),
        trade(T0 + 2, 2, X="INSURANCE_FUND"),
        trade(T0 + 3, 3, m=True),
        trade(T0 + 4, 4, m=None),
        trade(T0 + 5, 5, q="0.0005"),
        trade(T0 + 6, 6, p="0"),
        trade(T0 + 7, 7, p=None),
        trade(T0 + 8, -1),
        trade(T0 + 9, 9, q="1e25"),
    ]
    late = trade(T0 - 5_000, 10)
    events, stats = read(tmp_path, [*lines, (T0 + 10, late[1])])
    trades = [event for event in events if isinstance(event, Trade)]
    assert [(event.trade_id, event.taker) for event in trades] == [
        (1, Taker.BUY),
        (3, Taker.SELL),
        (4, Taker.UNKNOWN),
        (10, Taker.BUY),
    ]
    assert stats == {
        "trades_duplicate": 1,
        "trades_off_book": 1,
        "trades_side_unknown": 1,
        "trades_off_grid": 1,
        "trades_malformed": 3,
        "trades_out_of_range": 1,
        "trades_late": 1,
    }


def test_lines_that_are_no_messages_are_counted(tmp_path: Path) -> None:
    other = ticker(T0 + 1, 6)
    other[1]["data"]["s"] = "ETHUSDT"
    lines: list[Line | str] = [
        ticker(T0, 5),
        "1721347020000000000 {broken",
        "1721347020000000000 [1, 2]",
        "half past ten {}",
        "",
        "1721347020000000000 " + "[" * 100_000,
        other,
        stream("forceOrder", T0 + 2),
        (T0 + 3, {"data": 5}),
        ticker(T0 + 4, 7),
    ]
    events, stats = read(tmp_path, lines)
    assert len(events) == 2
    assert stats == {"messages_malformed": 4, "messages_unknown": 3}


def test_one_local_stamp_from_the_future_does_not_displace_the_rest(tmp_path: Path) -> None:
    lines: list[Line | str] = [ticker(T0 + i, i) for i in range(1, 6)]
    lines[2] = f"4102444800000000000 {json.dumps(ticker(T0 + 3, 3)[1])}"
    events, stats = read(tmp_path, lines)
    assert [event.exchange_ns // 10**6 - T0 for event in events] == [1, 2, 4, 5]
    assert stats == {"messages_malformed": 1}


def test_local_clock_set_back_keeps_rows_and_order(tmp_path: Path) -> None:
    lines = [ticker(T0, 1), ticker(T0 + 500, 2), (T0 + 300, ticker(T0 + 600, 3)[1]), ticker(T0 + 700, 4)]
    events, stats = read(tmp_path, lines)
    assert stats == {"clock_backwards": 1}
    assert [event.local_ns // 10**6 - T0 + BEHIND for event in events] == [0, 500, 500, 700]


def test_files_are_joined_by_their_first_line_whatever_their_names(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(text([diff(T0 + 10, 12, 10), trade(T0 + 11, 2)]).encode()))
    (tmp_path / "b.txt").write_text(text([snapshot(T0, 10), trade(T0 + 1, 1)]))
    (tmp_path / "README").write_text("about these files")
    tape = open_tape(tmp_path, every_ms=0)
    assert [type(event).__name__ for event in tape] == ["BookSnapshot", "Trade", "BookSnapshot", "Trade"]
    assert tape.source == "b.txt + a.gz"
    assert (tape.symbol, str(tape.tick), str(tape.lot)) == ("BTCUSDT", "0.1", "0.25")
    assert tape.progress == 1.0
    assert list(open_tape([tmp_path / "a.gz", tmp_path / "b.txt"], every_ms=0)) == list(tape)


def test_cut_off_stream_is_damage(tmp_path: Path) -> None:
    random.seed(2)
    lines = [ticker(T0 + i, i, bid=f"{random.randint(1, 999)}.1", ask="1000.0") for i in range(1, 2_000)]
    packed = gzip.compress(text(lines).encode())
    (tmp_path / "cut.gz").write_bytes(packed[: len(packed) // 2])
    seen: list[MarketEvent] = []
    with pytest.raises(TapeError, match="cut off or damaged"):
        seen.extend(open_tape(tmp_path / "cut.gz", lot="0.001"))
    stopped = open_tape(tmp_path / "cut.gz", lot="0.001", damaged="stop")
    assert list(stopped) == seen
    assert all(isinstance(event, Quotes) for event in seen)
    assert len(seen) > 500
    assert stopped.stats["files_damaged"] == 1


def test_stream_without_a_symbol_or_numbers_asks_for_them(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text(text([(T0, {"lastUpdateId": 1, "bids": [], "asks": []})]))
    with pytest.raises(InputError, match="symbol must be given"):
        open_tape(tmp_path / "x.txt")
    with pytest.raises(InputError, match="tick must be given"):
        open_tape(tmp_path / "x.txt", symbol="BTCUSDT")
    assert list(open_tape(tmp_path / "x.txt", symbol="BTCUSDT", tick="0.1", lot="0.001")) == []


@given(
    moves=st.lists(
        st.tuples(st.booleans(), st.integers(1, 30), st.integers(0, 5)),
        min_size=1,
        max_size=60,
    ),
    early=st.integers(0, 20),
)
def test_book_is_what_a_plain_dictionary_says_after_every_change(
    moves: list[tuple[bool, int, int]], early: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Random changes, the first of them before the snapshot; the oracle sorts a dictionary from scratch each time."""
    bids = {1000 - k: 1 for k in range(3)}
    asks = {1001 + k: 1 for k in range(3)}
    lines: list[Line] = []
    expected = []
    early = min(early, len(moves) - 1)
    for count, (buys, distance, lots) in enumerate(moves):
        price, side = (1001 - distance, bids) if buys else (1000 + distance, asks)
        change = [(f"{price / 10:.1f}", f"{lots / 1000:.3f}")]
        lines.append(diff(T0 + count, 101 + count, 100 + count, *((change, ()) if buys else ((), change))))
        if lots:
            side[price] = lots
        else:
            side.pop(price, None)
        if count == early:
            shot = [[(f"{p / 10:.1f}", f"{q / 1000:.3f}") for p, q in levels.items()] for levels in (bids, asks)]
            if not all(shot):
                return
            lines.append(snapshot(T0 + count, 101 + count, *shot))
        if count >= early and bids and asks:
            best = sorted(bids, reverse=True)[:20], sorted(asks)[:20]
            expected.append(
                (tuple(best[0]), tuple(bids[p] for p in best[0]), tuple(best[1]), tuple(asks[p] for p in best[1]))
            )
    events, stats = read(tmp_path_factory.mktemp("stream"), lines)
    assert books(events) == expected
    assert set(stats) <= {"diffs_early"}
