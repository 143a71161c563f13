"""The reader of Hyperliquid collector folders on written tapes: every planted glitch is found, counted and survived."""

from __future__ import annotations

import gzip
import itertools
import random
import tempfile
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.errors import InputError, TapeError
from equipoise.tape import GLITCHES, BookSnapshot, MarketEvent, Quotes, Taker, Trade, open_tape

LEVELS = 3
T0 = 1_757_015_216_000  # ms
LAG = 300  # ms from exchange to recorder
MS = 10**6

Row = list[str]
Files = dict[str, list[Row]]

HEADERS = {
    "orderbooks": ["timestamp", "sequence", "exchange_timestamp"]
    + [f"{kind}_{i}" for i in range(LEVELS) for kind in ("bid_price", "bid_size", "ask_price", "ask_size")],
    "prices": ["timestamp", "price", "size", "side", "exchange_timestamp"],
    "trades": ["timestamp", "price", "size", "side", "trade_id", "exchange_timestamp"],
}


def seconds(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000:03d}"


def price(ticks: int) -> str:
    return f"{ticks / 100:.2f}"


def book_row(at: int, bid: int = 20_000, ask: int = 20_001, *, local: int | None = None) -> Row:
    row = [seconds(at + LAG if local is None else local), str(at), str(at)]
    for level in range(LEVELS):
        row += [price(bid - level), f"{1 + level}.25", price(ask + level), f"{2 + level}.5"]
    return row


def quote_rows(at: int, bid: int = 20_000, ask: int = 20_001) -> list[Row]:
    local = seconds(at + LAG)
    return [[local, price(bid), "7.5", "bid", str(at)], [local, price(ask), "0.01", "ask", str(at)]]


def trade_row(at: int, number: int, side: str = "buy", *, local: int | None = None) -> Row:
    return [seconds(at + LAG if local is None else local), price(20_001), "1.5", side, str(number), str(at)]


def clean(count: int) -> Files:
    """Snapshots, changes of the best bid and offer, and trades, each every second, 100 ms apart from each other."""
    times = [T0 + 1_000 * i for i in range(count)]
    return {
        "orderbooks": [book_row(at, 20_000 + i % 3, 20_003 + i % 2) for i, at in enumerate(times)],
        "prices": [row for i, at in enumerate(times) for row in quote_rows(at + 100, 20_000 + i % 3, 20_003)],
        "trades": [trade_row(at + 200, 1_000 + i) for i, at in enumerate(times)],
    }


def write(folder: Path, files: Files, *, packed: bool = True) -> Path:
    for kind, rows in files.items():
        text = "\n".join(",".join(row) for row in [HEADERS[kind], *rows]) + "\n"
        if packed:
            (folder / f"{kind}_SOL.csv.gz").write_bytes(gzip.compress(text.encode(), 1))
        else:
            (folder / f"{kind}_SOL.csv").write_text(text)
    return folder


def read(folder: Path, **options: object) -> tuple[list[MarketEvent], dict[str, int]]:
    tape = open_tape(folder, **{"tick": "0.01", "lot": "0.01", **options})  # type: ignore[arg-type]
    events = list(tape)
    assert set(tape.stats) == set(GLITCHES)
    return events, {name: count for name, count in tape.stats.items() if count}


def test_clean_tape_comes_through_whole_and_in_order(tmp_path: Path) -> None:
    events, stats = read(write(tmp_path, clean(5)))
    assert stats == {}
    assert [type(event).__name__ for event in events] == ["BookSnapshot", "Quotes", "Trade"] * 5
    at, local = T0 * MS, (T0 + LAG) * MS
    assert events[0] == BookSnapshot(
        at, local, (20_000, 19_999, 19_998), (125, 225, 325), (20_003, 20_004, 20_005), (250, 350, 450)
    )
    assert events[1] == Quotes(at + 100 * MS, local + 100 * MS, 20_000, 750, 20_003, 1)
    assert events[2] == Trade(at + 200 * MS, local + 200 * MS, 20_001, 150, Taker.BUY, 1_000)


def test_plain_and_compressed_files_read_alike_and_steps_are_inferred(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    packed = open_tape(write(tmp_path / "a", clean(5)))
    plain = open_tape(write(tmp_path / "b", clean(5), packed=False))
    assert list(packed) == list(plain)
    assert (packed.tick, packed.lot, packed.symbol) == (Decimal("0.01"), Decimal("0.01"), "SOL")


# Planted glitches. Each planter inserts rows that a reader has to drop, and says what it has to count.

SLOT = 10  # ms between planted rows; 40 fit between two clean ones


def bad_number(kind: str, text: str, reason: str, column: int, row: Row) -> tuple[Row, Counter[str]]:
    changed = row.copy()
    changed[column] = text
    return changed, Counter({f"{kind}_{reason}": 1})


NUMBERS = st.sampled_from(
    [
        ("nan", "malformed"),
        ("", "malformed"),
        ("-1.0", "malformed"),
        ("inf", "malformed"),
        ("1,5".replace(",", ";"), "malformed"),
        ("0", "malformed"),
        ("1.005", "off_grid"),
        ("200.00000000000000001", "off_grid"),
        ("1e300", "out_of_range"),
        ("99999999999999999999", "out_of_range"),
    ]
)


@st.composite
def book_glitch(draw: st.DrawFn) -> tuple[str, object]:
    return draw(
        st.one_of(
            st.tuples(st.just("repeat"), st.none()),
            st.tuples(st.just("crossed"), st.integers(0, 5)),
            st.tuples(st.just("stale"), st.integers(1, 5_000)),
            st.tuples(st.just("unsorted"), st.none()),
            st.tuples(st.just("short"), st.integers(1, len(HEADERS["orderbooks"]) - 1)),
            st.tuples(st.just("number"), st.tuples(NUMBERS, st.integers(3, 6))),
        )
    )


def plant_book(glitch: tuple[str, object], before: Row, at: int) -> tuple[list[Row], Counter[str]]:
    name, value = glitch
    local = at + LAG
    if name == "repeat":
        return [[seconds(local), *before[1:]]], Counter({"books_repeated": 1})
    if name == "crossed":
        assert isinstance(value, int)
        return [book_row(at, 20_010, 20_010 - value)], Counter({"books_crossed": 1})
    if name == "stale":
        assert isinstance(value, int)
        return [book_row(int(before[2]) - value, local=local)], Counter({"books_stale": 1})
    row = book_row(at)
    if name == "unsorted":
        row[3], row[7] = row[7], row[3]
        return [row], Counter({"books_malformed": 1})
    if name == "short":
        assert isinstance(value, int)
        return [row[:value]], Counter({"books_malformed": 1})
    assert isinstance(value, tuple)
    (text, reason), column = value
    changed, counted = bad_number("books", text, reason, column, row)
    return [changed], counted


@st.composite
def quote_glitch(draw: st.DrawFn) -> tuple[str, object]:
    return draw(
        st.one_of(
            st.tuples(st.just("crossed"), st.integers(0, 5)),
            st.tuples(st.just("stale"), st.none()),
            st.tuples(st.just("number"), st.tuples(NUMBERS, st.integers(1, 2), st.integers(0, 1))),
            st.tuples(st.just("side"), st.integers(0, 1)),
            st.tuples(st.just("time"), st.tuples(st.integers(0, 1), st.sampled_from(["nan", "", "12", "1e9", "-5"]))),
        )
    )


def plant_quotes(glitch: tuple[str, object], before: Row, at: int) -> tuple[list[Row], Counter[str]]:
    name, value = glitch
    if name == "crossed":
        assert isinstance(value, int)
        return quote_rows(at, 20_010, 20_010 - value), Counter({"quotes_crossed": 1})
    if name == "stale":
        old = [[seconds(at + LAG), *row[1:4], str(int(before[4]) - 1)] for row in quote_rows(at)]
        return old, Counter({"quotes_stale": 2})
    rows = quote_rows(at)
    if name == "side":
        assert isinstance(value, int)
        rows[value][3] = "B"
        return rows, Counter({"quotes_malformed": 1, "quotes_incomplete": 1})
    assert isinstance(value, tuple)
    if name == "time":
        which, text = value
        rows[which][4] = text
        reason = "out_of_range" if text == "12" else "malformed"
        return rows, Counter({f"quotes_{reason}": 1, "quotes_incomplete": 1})
    (text, reason), column, which = value
    rows[which], counted = bad_number("quotes", text, reason, column, rows[which])
    return rows, counted + Counter({"quotes_incomplete": 1})


@st.composite
def trade_glitch(draw: st.DrawFn) -> tuple[str, object]:
    return draw(
        st.one_of(
            st.tuples(st.just("duplicate"), st.none()),
            st.tuples(st.just("replayed"), st.integers(1, 100_000)),
            st.tuples(st.just("number"), st.tuples(NUMBERS, st.integers(1, 2))),
            st.tuples(st.just("identity"), st.sampled_from(["", "x", "-4", "1.5", "9" * 30])),
            st.tuples(st.just("time"), st.sampled_from(["nan", "", "-1", "0x10"])),
        )
    )


def plant_trade(glitch: tuple[str, object], before: Row, at: int) -> tuple[list[Row], Counter[str]]:
    name, value = glitch
    if name == "duplicate":
        return [[seconds(at + LAG), *before[1:]]], Counter({"trades_duplicate": 1})
    row = trade_row(at, at)  # an id that no other trade has
    if name == "replayed":
        assert isinstance(value, int)
        row[5] = str(T0 - value)
        return [row], Counter({"trades_replayed": 1})
    if name == "number":
        assert isinstance(value, tuple)
        (text, reason), column = value
        changed, counted = bad_number("trades", text, reason, column, row)
        return [changed], counted
    assert isinstance(value, str)
    row[4 if name == "identity" else 5] = value
    return [row], Counter({"trades_malformed": 1})


@given(
    books=st.lists(st.tuples(st.integers(0, 9), book_glitch()), max_size=12),
    quotes=st.lists(st.tuples(st.integers(0, 9), quote_glitch()), max_size=12),
    trades=st.lists(st.tuples(st.integers(0, 9), trade_glitch()), max_size=12),
)
def test_planted_glitches_are_counted_exactly_and_leave_no_trace(
    books: list[tuple[int, tuple[str, object]]],
    quotes: list[tuple[int, tuple[str, object]]],
    trades: list[tuple[int, tuple[str, object]]],
) -> None:
    files = clean(10)
    expected: Counter[str] = Counter()
    for kind, per_second, planted, plant in (
        ("orderbooks", 1, books, plant_book),
        ("prices", 2, quotes, plant_quotes),
        ("trades", 1, trades, plant_trade),
    ):
        rows = files[kind]
        woven: list[Row] = []
        for second in range(10):
            own = rows[second * per_second : (second + 1) * per_second]
            woven += own
            exchange = int(own[-1][2] if kind == "orderbooks" else own[-1][-1])
            glitches = [glitch for at, glitch in planted if at == second]
            for slot, glitch in enumerate(glitches, start=1):
                bad, counted = plant(glitch, own[-1], exchange + slot * SLOT)
                woven += bad
                expected += counted
        files[kind] = woven
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        events, stats = read(write(Path(one), files))
        assert events == read(write(Path(other), clean(10)))[0]
    assert stats == dict(expected)


# Glitches that are kept


def test_unusable_trade_side_is_kept_as_unknown_and_counted(tmp_path: Path) -> None:
    files = clean(3)
    for row, side in zip(files["trades"], ("BUY", "", "A"), strict=True):
        row[3] = side
    events, stats = read(write(tmp_path, files))
    assert [event.taker for event in events if isinstance(event, Trade)] == [Taker.BUY, Taker.UNKNOWN, Taker.SELL]
    assert stats == {"trades_side_unknown": 1}


def test_trades_of_a_hole_arrive_after_it_late_and_once(tmp_path: Path) -> None:
    files = {
        kind: [row for row in rows if not 2 <= (int(float(row[0]) * 1000) - T0) // 1000 < 20]
        for kind, rows in clean(30).items()
    }
    again = trade_row(T0 + 1_200, 1_001, local=T0 + 20_350)
    inside = trade_row(T0 + 9_000, 77, local=T0 + 20_350)
    files["trades"] = sorted([*files["trades"], again, inside], key=lambda row: float(row[0]))
    events, stats = read(write(tmp_path, files))
    assert stats == {"trades_duplicate": 1, "trades_late": 1, "holes": 1}
    late = next(event for event in events if isinstance(event, Trade) and event.trade_id == 77)
    assert late.local_ns - late.exchange_ns == 11_350 * MS


@pytest.mark.parametrize("offset_ms", [-7_200_000, -1_500, 400, 86_400_000])
def test_clock_offset_of_either_sign_changes_nothing_but_local_time(tmp_path: Path, offset_ms: int) -> None:
    files = clean(5)
    for row in itertools.chain.from_iterable(files.values()):
        row[0] = seconds(round(float(row[0]) * 1000) + offset_ms)
    files["trades"].insert(0, trade_row(T0 - 5_000, 5, local=T0 + LAG + offset_ms))
    events, stats = read(write(tmp_path, files))
    assert stats == {"trades_replayed": 1}
    assert all(event.local_ns - event.exchange_ns == (LAG + offset_ms) * MS for event in events)


def test_local_clock_set_back_keeps_rows_and_order(tmp_path: Path) -> None:
    files = clean(6)
    for row in files["trades"][3:]:
        row[0] = seconds(round(float(row[0]) * 1000) - 1_500)
    events, stats = read(write(tmp_path, files))
    assert len(events) == 18
    assert stats == {"clock_backwards": 1}
    assert all(before.local_ns <= after.local_ns for before, after in itertools.pairwise(events))


@pytest.mark.parametrize(("kind", "column"), [("orderbooks", 2), ("prices", 4), ("orderbooks", 0), ("trades", 0)])
def test_one_stamp_from_the_far_future_costs_one_row_and_not_the_rest(tmp_path: Path, kind: str, column: int) -> None:
    files = clean(40)
    rows = files[kind]
    rows[4][column] = "4102444800.0" if column == 0 else "4102444800000"
    events, stats = read(write(tmp_path, files))
    name = {"orderbooks": "books", "prices": "quotes", "trades": "trades"}[kind]
    assert stats.pop(f"{name}_out_of_range") == 1
    assert stats == ({"quotes_incomplete": 1} if kind == "prices" else {})
    assert len(events) == 119


def test_stamp_an_hour_ahead_is_not_believed_for_ever(tmp_path: Path) -> None:
    files = clean(40)
    files["orderbooks"][4][2] = str(T0 + 3_600_000)
    events, stats = read(write(tmp_path, files))
    assert stats == {"books_stale": 16}
    assert len(events) == 104


def test_changed_side_alone_keeps_the_other_side(tmp_path: Path) -> None:
    files = clean(3)
    files["prices"] = [*quote_rows(T0), quote_rows(T0 + 50, bid=19_990)[0], quote_rows(T0 + 90, ask=20_009)[1]]
    events, stats = read(write(tmp_path, files))
    quotes = [(event.bid_ticks, event.ask_ticks) for event in events if isinstance(event, Quotes)]
    assert quotes == [(20_000, 20_001), (19_990, 20_001), (19_990, 20_009)]
    assert stats == {}


def test_two_changes_in_one_millisecond_are_two_events(tmp_path: Path) -> None:
    files = clean(1)
    files["prices"] = [*quote_rows(T0), *quote_rows(T0, bid=19_999, ask=20_000)]
    events, _ = read(write(tmp_path, files))
    assert sum(isinstance(event, Quotes) for event in events) == 2


def test_empty_levels_behind_a_short_book_are_no_levels(tmp_path: Path) -> None:
    files = clean(2)
    files["orderbooks"][0][-4:] = ["", "", "nan", "nan"]
    events, stats = read(write(tmp_path, files))
    assert isinstance(events[0], BookSnapshot)
    assert (len(events[0].bid_ticks), len(events[0].ask_lots)) == (2, 2)
    assert stats == {}


def test_scientific_notation_is_exact(tmp_path: Path) -> None:
    files = clean(1)
    files["trades"][0][2] = "1e-05"
    events, _ = read(write(tmp_path, files), lot="0.00001")
    assert isinstance(events[2], Trade)
    assert events[2].lots == 1


@given(ticks=st.integers(1, 2**62), places=st.integers(0, 12))
def test_every_price_on_the_grid_is_read_exactly(ticks: int, places: int) -> None:
    from equipoise.tape.grid import Grid

    step = Decimal(1).scaleb(-places)
    assert Grid(step)[format(ticks * step, "f")] == ticks
    assert Grid(step)[str(ticks * step)] == ticks


@given(
    st.lists(st.integers(1, 10**9), min_size=1, max_size=20),
    st.integers(-6, 6),
    st.sampled_from(["1", "2", "2.5", "5"]),
)
def test_inferred_step_divides_every_number_and_no_coarser_one_does(
    counts: list[int], power: int, mantissa: str
) -> None:
    from equipoise.tape.grid import finest_step

    step = Decimal(mantissa).scaleb(power)
    found = finest_step([format(count * step, "f") for count in counts])
    assert found is not None
    assert found >= step
    assert all(count * step % found == 0 for count in counts)
    coarser = [Decimal(m).scaleb(p) for p in range(-7, 13) for m in ("1", "2", "2.5", "5")]
    assert not any(all(count * step % wider == 0 for count in counts) for wider in coarser if wider > found)


# Damage


def test_cut_off_file_delivers_what_is_readable_then_says_so(tmp_path: Path) -> None:
    write(tmp_path, clean(2_000))
    path = tmp_path / "orderbooks_SOL.csv.gz"
    random.seed(1)
    text = "\n".join(",".join([*row[:4], f"{random.random():.2f}1", *row[5:]]) for row in clean(2_000)["orderbooks"])
    packed = gzip.compress((",".join(HEADERS["orderbooks"]) + "\n" + text).encode())
    path.write_bytes(packed[: len(packed) // 2])
    tape = open_tape(tmp_path, tick="0.01", lot="0.001")
    read_before = []
    with pytest.raises(TapeError, match="cut off or damaged") as caught:
        read_before.extend(tape)
    assert caught.value.path == str(path)
    assert sum(isinstance(event, BookSnapshot) for event in read_before) > 500
    stopped = open_tape(tmp_path, tick="0.01", lot="0.001", damaged="stop")
    assert sum(isinstance(event, Trade) for event in stopped) == 2_000
    assert stopped.stats["files_damaged"] == 1


def test_flipped_byte_is_damage_not_a_crash(tmp_path: Path) -> None:
    write(tmp_path, clean(300))
    path = tmp_path / "prices_SOL.csv.gz"
    whole = bytearray(path.read_bytes())
    for at in range(20, len(whole), 97):
        broken = bytearray(whole)
        broken[at] ^= 0xFF
        path.write_bytes(broken)
        with pytest.raises(TapeError):
            list(open_tape(tmp_path, tick="0.01", lot="0.01"))


@pytest.mark.parametrize("content", [b"", b"\n", b"nonsense", b"timestamp,price\n1,2\n", b"\x1f\x8b", b"\xff\xfe\x00"])
def test_file_without_its_columns_is_a_tape_error(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, clean(2))
    (tmp_path / "trades_SOL.csv.gz").write_bytes(content)
    with pytest.raises(TapeError) as caught:
        list(open_tape(tmp_path, tick="0.01", lot="0.01"))
    assert caught.value.path.endswith("trades_SOL.csv.gz")


def test_missing_column_is_named(tmp_path: Path) -> None:
    write(tmp_path, clean(2))
    (tmp_path / "trades_SOL.csv.gz").write_text("timestamp,exchange_timestamp,price,size,side\n")
    with pytest.raises(TapeError, match="lacks the column trade_id"):
        list(open_tape(tmp_path, tick="0.01", lot="0.01"))


def test_headers_alone_are_an_empty_tape(tmp_path: Path) -> None:
    tape = open_tape(write(tmp_path, {kind: [] for kind in HEADERS}), tick="0.01", lot="0.01")
    assert list(tape) == []
    assert tape.progress == 1.0
    with pytest.raises(InputError, match="tick must be given"):
        open_tape(tmp_path)


def test_line_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.tape.files.LINE_BYTES_MAX", 4_096)
    write(tmp_path, clean(2))
    (tmp_path / "trades_SOL.csv.gz").write_text(",".join(HEADERS["trades"]) + "\n" + "1" * 10_000)
    with pytest.raises(TapeError, match="line longer than 4096 bytes"):
        list(open_tape(tmp_path, tick="0.01", lot="0.01"))


def test_memory_of_ids_and_texts_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.tape.recent.IDS_MAX", 3)
    monkeypatch.setattr("equipoise.tape.grid.TEXTS_MAX", 3)
    files = clean(10)
    for i, row in enumerate(files["trades"]):
        row[2] = f"{i + 1}.5"
    files["trades"].append(trade_row(T0 + 9_900, 1_008))
    files["trades"].append(trade_row(T0 + 9_950, 1_001))
    events, stats = read(write(tmp_path, files))
    assert stats == {"trades_duplicate": 1}
    assert [event.lots for event in events if isinstance(event, Trade)][:10] == [150 + 100 * i for i in range(10)]


# The entrance


def test_several_symbols_need_a_choice(tmp_path: Path) -> None:
    write(tmp_path, clean(2))
    for kind in HEADERS:
        (tmp_path / f"{kind}_BTC.csv.gz").write_bytes((tmp_path / f"{kind}_SOL.csv.gz").read_bytes())
    with pytest.raises(InputError, match="symbol must be one of BTC, SOL"):
        open_tape(tmp_path)
    assert open_tape(tmp_path, symbol="BTC").source == f"{tmp_path.name}/BTC"


def test_book_alone_is_a_tape(tmp_path: Path) -> None:
    events, _ = read(write(tmp_path, {"orderbooks": clean(4)["orderbooks"]}))
    assert len(events) == 4


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"tick": 0.01}, "tick"),
        ({"tick": "nan"}, "tick"),
        ({"lot": "0"}, "lot"),
        ({"lot": True}, "lot"),
        ({"lot": "1e400"}, "lot"),
        ({"levels": 0}, "levels"),
        ({"levels": 2.0}, "levels"),
        ({"every_ms": -1}, "every_ms"),
        ({"damaged": "ignore"}, "damaged"),
        ({"symbol": "DOGE"}, "symbol"),
    ],
)
def test_malformed_argument_is_named(tmp_path: Path, options: dict[str, object], argument: str) -> None:
    write(tmp_path, clean(2))
    with pytest.raises(InputError) as caught:
        open_tape(tmp_path, **options)  # type: ignore[arg-type]
    assert caught.value.argument == argument


@pytest.mark.parametrize("name", ["absent", "folder", "notes.txt", "tape.npz"])
def test_path_that_is_no_tape_is_refused_with_what_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("no tape")
    (tmp_path / "tape.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError) as caught:
        open_tape(tmp_path / name)
    assert caught.value.argument == "path"


def test_progress_follows_the_bytes_read(tmp_path: Path) -> None:
    tape = open_tape(write(tmp_path, clean(3_000), packed=False), tick="0.01", lot="0.01")
    seen = [tape.progress for _ in tape]
    assert all(before <= now for before, now in itertools.pairwise(seen))
    assert 0.2 < seen[len(seen) // 2] < 0.8
    assert tape.progress == 1.0


def test_two_readings_under_way_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    tape = open_tape(write(tmp_path, clean(50)))
    alone = list(tape)
    assert list(zip(tape, tape, strict=True)) == list(zip(alone, alone, strict=True))


def test_counters_begin_again_with_every_reading(tmp_path: Path) -> None:
    files = clean(5)
    files["trades"] += [trade_row(T0 + 4_300, 1_004)] * 3
    tape = open_tape(write(tmp_path, files))
    for _ in range(2):
        assert len(list(tape)) == 15
        assert tape.stats["trades_duplicate"] == 3


def test_abandoned_reading_closes_its_files(tmp_path: Path) -> None:
    tape = open_tape(write(tmp_path, clean(50)))
    events = iter(tape)
    first = next(events)
    del events
    assert replace(first) == next(iter(tape))
