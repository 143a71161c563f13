"""Tapes of a Binance USDⓈ-M raw stream: lines of ``local_ns {"stream": …, "data": …}``, and REST snapshots among them.

Read are the streams of depth changes (``depthUpdate``: U, u, pu, b, a), of the best bid and offer (``bookTicker``) and
of trades (``trade``). A snapshot is an object with lastUpdateId, bids and asks.
"""

from __future__ import annotations

import json
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from equipoise.errors import InputError, TapeError
from equipoise.tape.events import BookSnapshot, MarketEvent, Quotes, Taker, Trade
from equipoise.tape.files import LineFile
from equipoise.tape.grid import Grid, Unusable, finest_step, plausible
from equipoise.tape.recent import RecentIds, Transit
from equipoise.tape.tape import Tape

__all__ = ["BinanceTape", "is_raw_stream"]

PROBE_LINES = 1024
"""Lines from which symbol, tick and lot are inferred."""
DIFFS_HELD_MAX = 4096
"""Book changes held while waiting for a snapshot; beyond that the oldest go."""

_MS = 10**6
_STAMP_DIGITS = range(16, 20)

Levels = Sequence[Sequence[str]]


def is_raw_stream(line: str) -> bool:
    """Whether a line looks like one of a raw stream."""
    stamp, _, rest = line.partition(" ")
    return stamp.isdecimal() and stamp.isascii() and len(stamp) in _STAMP_DIGITS and rest.startswith("{")


def _message(line: str) -> tuple[int, Mapping[str, Any]] | None:
    if not is_raw_stream(line):
        return None
    stamp, _, rest = line.partition(" ")
    try:
        message = json.loads(rest)
    except (ValueError, RecursionError):
        return None
    return (int(stamp), message) if isinstance(message, dict) else None


def _timely(local_ns: int, message: Mapping[str, Any]) -> bool:
    """Whether local and exchange time can both be right; a wrong local one would misplace everything after it."""
    inner = message.get("data", message)
    exchange_ms = inner.get("T", inner.get("E")) if isinstance(inner, dict) else None
    if not isinstance(exchange_ms, int):
        return True  # a snapshot without time, or what is not read anyway
    try:
        plausible(exchange_ms * _MS, local_ns)
    except Unusable:
        return False
    return True


class _Book:
    """Both sides of the book by price, in ticks and lots, each with its prices in order."""

    def __init__(self, prices: Grid, sizes: Grid) -> None:
        self._prices = prices
        self._sizes = sizes
        self._lots: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._order: tuple[list[int], list[int]] = ([], [])

    def clear(self) -> None:
        """Forget every level."""
        for lots, order in zip(self._lots, self._order, strict=True):
            lots.clear()
            order.clear()

    def parsed(self, levels: Levels) -> list[tuple[int, int]]:
        """Levels as ticks and lots; zero lots is no level."""
        changes = []
        for price, size in levels:
            lots = 0 if not size.strip("0.") and size else self._sizes[size]
            changes.append((self._prices[price], lots))
        return changes

    def apply(self, side: int, changes: list[tuple[int, int]]) -> None:
        """Set the lots of some levels of the bids (0) or asks (1)."""
        lots_at, order = self._lots[side], self._order[side]
        for ticks, lots in changes:
            if lots:
                if ticks not in lots_at:
                    insort(order, ticks)
                lots_at[ticks] = lots
            elif lots_at.pop(ticks, 0):
                del order[bisect_left(order, ticks)]

    def snapshot(self, exchange_ns: int, local_ns: int, levels: int) -> BookSnapshot:
        """The best levels of both sides."""
        bids = self._order[0][: -levels - 1 : -1]
        asks = self._order[1][:levels]
        bid_lots, ask_lots = self._lots
        return BookSnapshot(
            exchange_ns,
            local_ns,
            tuple(bids),
            tuple(bid_lots[ticks] for ticks in bids),
            tuple(asks),
            tuple(ask_lots[ticks] for ticks in asks),
        )


class BinanceTape(Tape):
    """One symbol of a raw stream, in one file or in several that follow each other.

    Parameters
    ----------
    paths
        Files; put in order of their first line's time.
    symbol
        Instrument; None takes the first message's.
    tick, lot
        Price and size steps; None infers them from the first 1 024 lines.
    levels
        Levels of each side in a snapshot, 1…1000.
    every_ms
        Least local time between two snapshots, in milliseconds; 0 gives one after every change.
    damaged
        "raise" a `TapeError` where a file ends in the middle, or "stop" reading that file there and count it.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        symbol: str | None,
        tick: Decimal | None,
        lot: Decimal | None,
        *,
        levels: int = 20,
        every_ms: int = 100,
        damaged: str = "raise",
    ) -> None:
        self._damaged = damaged
        self._levels = levels
        self._every_ns = every_ms * _MS
        self._file: LineFile | None = None
        self._bytes_total = max(1, sum(path.stat().st_size for path in paths))
        self._bytes_done = 0
        probes = sorted((self._probe(path) for path in paths), key=lambda probe: probe.first_ns)
        self._paths = [probe.path for probe in probes]
        symbol = symbol or next((probe.symbol for probe in probes if probe.symbol), None)
        if symbol is None:
            raise InputError("symbol", None, "given, for no line of the tape names it", None)
        tick = tick or finest_step(text for probe in probes for text in probe.prices)
        lot = lot or finest_step(text for probe in probes for text in probe.sizes)
        if tick is None or lot is None:
            argument = "tick" if tick is None else "lot"
            raise InputError(argument, None, "given, for the tape has no numbers to infer it from", None)
        names = " + ".join(path.name for path in self._paths)
        super().__init__(names, symbol, tick, lot)

    @property
    def progress(self) -> float:
        """Bytes read over bytes in all files, 0…1."""
        current = self._file.bytes_read if self._file is not None else 0
        return min(1.0, (self._bytes_done + current) / self._bytes_total)

    def _probe(self, path: Path) -> _Probe:
        probe = _Probe(path)
        with LineFile(path, on_damage=lambda: None) as file:
            for line in islice(file, PROBE_LINES):
                probe.take(_message(line))
        if probe.first_ns == 0:
            raise TapeError(path, "has no line of a raw stream at its beginning")
        return probe

    def _messages(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        counts = self._counts
        self._bytes_done = 0
        local_ns = 0
        for path in self._paths:
            with LineFile(path, None if self._damaged == "raise" else self._count_damage) as file:
                self._file = file
                for line in file:
                    message = _message(line)
                    if message is None or not _timely(*message):
                        counts["messages_malformed"] += bool(line)
                        continue
                    if message[0] < local_ns:
                        counts["clock_backwards"] += 1
                    else:
                        local_ns = message[0]
                    yield local_ns, message[1]
            self._bytes_done += file.bytes_total
            self._file = None

    def _count_damage(self) -> None:
        self._counts["files_damaged"] += 1

    def _events(self) -> Iterator[MarketEvent]:
        stream = _Stream(self._counts, Grid(self.tick), Grid(self.lot), self.symbol)
        snapshot_due_ns = 0
        for local_ns, message in self._messages():
            if "lastUpdateId" in message:
                changed = stream.snapshot(message)
            else:
                outer = message.get("data", message)
                inner: Mapping[str, Any] = outer if isinstance(outer, dict) else {}
                kind = inner.get("e")
                changed = False
                if inner.get("s") != self.symbol:
                    self._counts["messages_unknown"] += 1
                elif kind == "depthUpdate":
                    changed = stream.diff(inner)
                elif kind == "bookTicker":
                    quotes = stream.quotes(inner, local_ns)
                    if quotes is not None:
                        yield quotes
                elif kind == "trade":
                    trade = stream.trade(inner, local_ns)
                    if trade is not None:
                        yield trade
                else:
                    self._counts["messages_unknown"] += 1
            if changed and local_ns >= snapshot_due_ns:
                book = stream.book(local_ns, self._levels)
                if book is not None:
                    snapshot_due_ns = local_ns + self._every_ns
                    yield book


class _Probe:
    """What the first lines of a file tell."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first_ns = 0
        self.symbol: str | None = None
        self.prices: set[str] = set()
        self.sizes: set[str] = set()

    def take(self, stamped: tuple[int, Mapping[str, Any]] | None) -> None:
        if stamped is None:
            return
        local_ns, message = stamped
        self.first_ns = self.first_ns or local_ns
        outer = message.get("data", message)
        inner: Mapping[str, Any] = outer if isinstance(outer, dict) else {}
        if self.symbol is None and isinstance(inner.get("s"), str):
            self.symbol = inner["s"]
        for keys, texts in (("pba", self.prices), ("qBA", self.sizes)):  # of a trade or a best bid and offer
            texts.update(inner[key] for key in keys if isinstance(inner.get(key), str))
        for key in ("b", "a", "bids", "asks"):
            levels = inner.get(key)
            for level in levels if isinstance(levels, list) else ():
                if isinstance(level, list) and len(level) >= 2 and all(isinstance(text, str) for text in level[:2]):
                    self.prices.add(level[0])
                    self.sizes.add(level[1])


class _Stream:
    """State that the messages of one symbol build up: the book, its sequence, the ids seen."""

    def __init__(self, counts: dict[str, int], prices: Grid, sizes: Grid, symbol: str) -> None:
        self._counts = counts
        self._prices = prices
        self._sizes = sizes
        self._symbol = symbol
        self._book = _Book(prices, sizes)
        self._held: deque[Mapping[str, Any]] = deque()
        self._synced = False
        self._snapshot_id = 0
        self._last_id = 0
        self._ticker_id = 0
        self._exchange_ns = 0
        self._ids = RecentIds()
        self._transit = Transit()

    def snapshot(self, message: Mapping[str, Any]) -> bool:
        """Anchor the book at a REST snapshot and apply what was held for it; whether the book is usable."""
        try:
            number = _integer(message, "lastUpdateId")
            if self._synced and number <= self._last_id:
                return False  # older than the book we have
            bids, asks = self._book.parsed(message["bids"]), self._book.parsed(message["asks"])
            exchange_ns = _integer(message, "T") * _MS if "T" in message else self._exchange_ns
        except (Unusable, KeyError, TypeError, ValueError, AttributeError):
            self._counts["messages_malformed"] += 1
            return False
        self._book.clear()
        self._book.apply(0, bids)
        self._book.apply(1, asks)
        self._exchange_ns = exchange_ns
        self._snapshot_id = self._last_id = number
        self._synced = True
        held, self._held = self._held, deque()
        for diff in held:
            self._apply(diff)
        return self._synced

    def diff(self, message: Mapping[str, Any]) -> bool:
        """Take one change of the book; whether the book changed and is usable."""
        if self._synced:
            return self._apply(message)
        self._counts["diffs_early"] += 1
        self._held.append(message)
        if len(self._held) > DIFFS_HELD_MAX:
            self._held.popleft()
            self._counts["diffs_unusable"] += 1
        return False

    def _apply(self, message: Mapping[str, Any]) -> bool:
        if not self._synced:  # a gap among the held changes
            self._counts["diffs_unusable"] += 1
            return False
        try:
            last, before = _integer(message, "u"), _integer(message, "pu")
            exchange_ns = _integer(message, "T") * _MS
            if last <= self._snapshot_id or last <= self._last_id:
                return False  # contained in the snapshot, or repeated
            if before > self._last_id if self._last_id == self._snapshot_id else before != self._last_id:
                return self._lose()
            bids, asks = self._book.parsed(message["b"]), self._book.parsed(message["a"])
        except (Unusable, KeyError, TypeError, ValueError, AttributeError):
            self._counts["diffs_unusable"] += 1
            return self._lose()
        self._last_id = last
        self._exchange_ns = exchange_ns
        self._book.apply(0, bids)
        self._book.apply(1, asks)
        return True

    def _lose(self) -> bool:
        self._counts["sequence_gaps"] += 1
        self._synced = False
        self._book.clear()
        return False

    def book(self, local_ns: int, levels: int) -> BookSnapshot | None:
        """The best levels now, or None where there are no two sides to show."""
        book = self._book.snapshot(self._exchange_ns, local_ns, levels)
        if not book.bid_ticks or not book.ask_ticks:
            return None
        if book.bid_ticks[0] >= book.ask_ticks[0]:
            self._counts["books_crossed"] += 1
            return None
        return book

    def quotes(self, message: Mapping[str, Any], local_ns: int) -> Quotes | None:
        """Best bid and offer of a bookTicker message."""
        try:
            number, exchange_ns = _integer(message, "u"), _integer(message, "T") * _MS
            bid, bid_lots = self._prices[message["b"]], self._sizes[message["B"]]
            ask, ask_lots = self._prices[message["a"]], self._sizes[message["A"]]
        except Unusable as error:
            self._counts[f"quotes_{error.reason}"] += 1
            return None
        except (KeyError, TypeError):
            self._counts["quotes_malformed"] += 1
            return None
        if number < self._ticker_id:
            self._counts["quotes_stale"] += 1
            return None
        self._ticker_id = number
        if bid >= ask:
            self._counts["quotes_crossed"] += 1
            return None
        return Quotes(exchange_ns, local_ns, bid, bid_lots, ask, ask_lots)

    def trade(self, message: Mapping[str, Any], local_ns: int) -> Trade | None:
        """A trade, unless it repeats one or did not happen on the book."""
        if message.get("X", "MARKET") != "MARKET":
            self._counts["trades_off_book"] += 1
            return None
        try:
            number, exchange_ns = _integer(message, "t"), _integer(message, "T") * _MS
            ticks, lots = self._prices[message["p"]], self._sizes[message["q"]]
        except Unusable as error:
            self._counts[f"trades_{error.reason}"] += 1
            return None
        except (KeyError, TypeError):
            self._counts["trades_malformed"] += 1
            return None
        if self._ids.seen(number):
            self._counts["trades_duplicate"] += 1
            return None
        maker_buys = message.get("m")
        taker = Taker.UNKNOWN if not isinstance(maker_buys, bool) else Taker.SELL if maker_buys else Taker.BUY
        self._counts["trades_side_unknown"] += taker is Taker.UNKNOWN
        self._counts["trades_late"] += self._transit.late(exchange_ns, local_ns)
        return Trade(exchange_ns, local_ns, ticks, lots, taker, number)


def _integer(message: Mapping[str, Any], key: str) -> int:
    value = message[key]
    if not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise Unusable("malformed")
    return value
