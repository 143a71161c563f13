"""Tapes of the Hyperliquid collector: a folder of CSV files with book snapshots, best bid and offer, and trades.

`orderbooks_X.csv`: ``timestamp`` (local, seconds), ``exchange_timestamp`` (milliseconds), ``bid_price_i, bid_size_i,
ask_price_i, ask_size_i`` for i = 0, 1, …. `prices_X.csv`: ``timestamp, price, size, side (bid|ask),
exchange_timestamp``; one change of the best bid and offer is two rows. `trades_X.csv`: ``timestamp, price, size, side
(buy|sell, the taker's), trade_id, exchange_timestamp``. Columns are found by name, further ones are ignored, and each
file may be compressed with gzip.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from heapq import merge
from itertools import islice
from operator import itemgetter
from pathlib import Path

from equipoise.errors import InputError, TapeError
from equipoise.tape.events import BookSnapshot, MarketEvent, Quotes, Taker, Trade
from equipoise.tape.files import LineFile
from equipoise.tape.grid import Grid, Unusable, finest_step, nanoseconds, plausible
from equipoise.tape.recent import RecentIds, Transit, VenueClock
from equipoise.tape.tape import Tape

__all__ = ["HyperliquidTape", "recorded_symbols"]

KINDS = ("orderbooks", "prices", "trades")
PROBE_ROWS = 256
"""Rows of each file from which tick and lot are inferred."""

_EMPTY_LEVEL = frozenset({"", "0", "0.0", "nan", "NaN"})
_TAKERS = {"buy": Taker.BUY, "sell": Taker.SELL, "b": Taker.BUY, "a": Taker.SELL}


def _path(folder: Path, kind: str, symbol: str) -> Path | None:
    return next((path for end in (".csv.gz", ".csv") if (path := folder / f"{kind}_{symbol}{end}").is_file()), None)


def recorded_symbols(folder: Path) -> list[str]:
    """Symbols of which the folder has book snapshots, sorted."""
    names = (path.name for end in (".csv", ".csv.gz") for path in folder.glob(f"orderbooks_*{end}"))
    return sorted({name.removeprefix("orderbooks_").removesuffix(".gz").removesuffix(".csv") for name in names})


class _Columns:
    """Rows of one file with its columns found by name."""

    def __init__(self, file: LineFile) -> None:
        self.file = file
        self._lines = iter(file)
        header = next(self._lines, "")
        self.names = header.split(",")
        if "timestamp" not in self.names or "exchange_timestamp" not in self.names:
            raise TapeError(file.path, "has no header with the columns timestamp and exchange_timestamp")

    def at(self, *names: str) -> Callable[[Sequence[str]], tuple[str, ...]]:
        """Getter of these columns, always as a tuple."""
        missing = [name for name in names if name not in self.names]
        if missing:
            raise TapeError(self.file.path, f"lacks the column {missing[0]}")
        indices = [self.names.index(name) for name in names]
        if len(indices) > 1:
            return itemgetter(*indices)
        only = indices[0]
        return lambda row: (row[only],)

    def levels(self) -> int:
        """How many levels the book's columns have."""
        count = sum(name.startswith("bid_price_") for name in self.names)
        if count == 0:
            raise TapeError(self.file.path, "lacks the column bid_price_0")
        return count

    def __iter__(self) -> Iterator[list[str]]:
        return (line.split(",") for line in self._lines if line)


class HyperliquidTape(Tape):
    """One symbol of a folder that the Hyperliquid collector wrote.

    Parameters
    ----------
    folder
        Folder with `orderbooks_X`, `prices_X` and `trades_X`; the last two may be absent.
    symbol
        Which X; None when the folder has one.
    tick, lot
        Price and size steps; None infers them from the first 256 rows of each file.
    damaged
        "raise" a `TapeError` where a file ends in the middle, or "stop" reading that file there and count it.
    """

    def __init__(
        self, folder: Path, symbol: str | None, tick: Decimal | None, lot: Decimal | None, *, damaged: str = "raise"
    ) -> None:
        symbols = recorded_symbols(folder)
        if symbol is None and len(symbols) == 1:
            symbol = symbols[0]
        if symbol not in symbols:
            raise InputError("symbol", None, f"one of {', '.join(symbols)}", symbol)
        self._damaged = damaged
        self._paths = {kind: path for kind in KINDS if (path := _path(folder, kind, symbol)) is not None}
        self._files: list[LineFile] = []
        self._bytes_total = max(1, sum(path.stat().st_size for path in self._paths.values()))
        self._start_exchange_ns = 0
        prices, sizes = self._probe()
        tick = tick or finest_step(prices)
        lot = lot or finest_step(sizes)
        if tick is None or lot is None:
            argument = "tick" if tick is None else "lot"
            raise InputError(argument, None, "given, for the tape has no numbers to infer it from", None)
        super().__init__(f"{folder.name}/{symbol}", symbol, tick, lot)

    @property
    def progress(self) -> float:
        """Bytes read over bytes in all files, 0…1."""
        return min(1.0, sum(file.bytes_read for file in self._files) / self._bytes_total)

    def _probe(self) -> tuple[set[str], set[str]]:
        """Price and size texts of the first rows; also finds the exchange time at which the recording begins."""
        prices: set[str] = set()
        sizes: set[str] = set()
        starts: list[int] = []
        for kind, path in self._paths.items():
            with LineFile(path, on_damage=lambda: None) as file:
                columns = _Columns(file)
                price, size = (
                    [index for index, name in enumerate(columns.names) if word in name.split("_")]
                    for word in ("price", "size")
                )
                times = columns.at("timestamp", "exchange_timestamp")
                rows = [row for row in islice(columns, PROBE_ROWS) if len(row) == len(columns.names)]
                prices.update(row[index] for row in rows for index in price)
                sizes.update(row[index] for row in rows for index in size)
                if kind != "trades":
                    starts += _first_time(times(row) for row in rows)
        self._start_exchange_ns = min(starts, default=0)
        return prices, sizes

    def _open(self, kind: str, files: list[LineFile]) -> _Columns | None:
        path = self._paths.get(kind)
        if path is None:
            return None
        file = LineFile(path, None if self._damaged == "raise" else self._count_damage)
        files.append(file)
        return _Columns(file)

    def _count_damage(self) -> None:
        self._counts["files_damaged"] += 1

    def _events(self) -> Iterator[MarketEvent]:
        self._files = files = list[LineFile]()
        trades, quotes, books = (self._open(kind, files) for kind in ("trades", "prices", "orderbooks"))
        prices, sizes = Grid(self.tick), Grid(self.lot)
        streams = list[Iterator[tuple[int, int, MarketEvent]]]()
        # A trade comes before the quotes and the book of the same instant: it explains their change.
        if trades is not None:
            streams.append(self._trades(trades, prices, sizes))
        if quotes is not None:
            streams.append(self._quotes(quotes, prices, sizes))
        if books is not None:
            streams.append(self._books(books, prices, sizes))
        try:
            for _, _, event in merge(*streams):
                yield event
        finally:
            for file in files:
                file.close()

    def _books(self, columns: _Columns, prices: Grid, sizes: Grid) -> Iterator[tuple[int, int, BookSnapshot]]:
        counts = self._counts
        levels = range(columns.levels())
        times = columns.at("timestamp", "exchange_timestamp")
        kinds = ("bid_price", "bid_size", "ask_price", "ask_size")
        sides = [columns.at(*(f"{kind}_{i}" for i in levels)) for kind in kinds]
        to_ticks, to_lots = prices.__getitem__, sizes.__getitem__
        clock = VenueClock()
        local_ns = 0
        last: BookSnapshot | None = None
        for row in columns:
            try:
                row_local_ns, exchange_ns = _stamps(*times(row))
                bid_price, bid_size, ask_price, ask_size = (side(row) for side in sides)
                if bid_price[-1] in _EMPTY_LEVEL or ask_price[-1] in _EMPTY_LEVEL:
                    bid_price, bid_size = _unpadded(bid_price, bid_size)
                    ask_price, ask_size = _unpadded(ask_price, ask_size)
                bid_ticks, bid_lots = tuple(map(to_ticks, bid_price)), tuple(map(to_lots, bid_size))
                ask_ticks, ask_lots = tuple(map(to_ticks, ask_price)), tuple(map(to_lots, ask_size))
            except (Unusable, IndexError) as error:
                counts[f"books_{_reason(error)}"] += 1
                continue
            if not _falling(bid_ticks) or not _falling(ask_ticks[::-1]):
                counts["books_malformed"] += 1
                continue
            if bid_ticks[0] >= ask_ticks[0]:
                counts["books_crossed"] += 1
                continue
            if clock.older(exchange_ns):
                counts["books_stale"] += 1
                continue
            book = BookSnapshot(exchange_ns, local_ns, bid_ticks, bid_lots, ask_ticks, ask_lots)
            if book == last:
                counts["books_repeated"] += 1
                continue
            local_ns = self._forward(local_ns, row_local_ns)
            last = BookSnapshot(exchange_ns, local_ns, bid_ticks, bid_lots, ask_ticks, ask_lots)
            yield local_ns, 2, last

    def _quotes(self, columns: _Columns, prices: Grid, sizes: Grid) -> Iterator[tuple[int, int, Quotes]]:
        counts = self._counts
        fields = columns.at("timestamp", "exchange_timestamp", "side", "price", "size")
        pair, clock = _QuotePair(counts), VenueClock()
        local_ns = 0
        for row in columns:
            side, exchange_ns = "", 0
            try:
                local, exchange, side, price, size = fields(row)
                row_local_ns, exchange_ns = _stamps(local, exchange)
            except (Unusable, IndexError) as error:
                counts[f"quotes_{_reason(error)}"] += 1
            if exchange_ns and clock.older(exchange_ns):
                counts["quotes_stale"] += 1
                continue
            if pair.ends_before(exchange_ns, side):
                quotes = pair.take()
                if quotes is not None:
                    yield quotes.local_ns, 1, quotes
            if exchange_ns == 0:
                pair.spoil(side)
                continue
            local_ns = self._forward(local_ns, row_local_ns)
            pair.date(exchange_ns, local_ns)
            try:
                pair.put(_side(side), (prices[price], sizes[size]))
            except Unusable as error:
                counts[f"quotes_{error.reason}"] += 1
                pair.spoil(side)
        quotes = pair.take()
        if quotes is not None:
            yield quotes.local_ns, 1, quotes

    def _trades(self, columns: _Columns, prices: Grid, sizes: Grid) -> Iterator[tuple[int, int, Trade]]:
        counts = self._counts
        fields = columns.at("timestamp", "exchange_timestamp", "price", "size", "side", "trade_id")
        ids, transit = RecentIds(), Transit()
        local_ns = 0
        for row in columns:
            try:
                local, exchange, price, size, side, number = fields(row)
                row_local_ns, exchange_ns = _stamps(local, exchange)
                ticks, lots, trade_id = prices[price], sizes[size], _identity(number)
            except (Unusable, IndexError) as error:
                counts[f"trades_{_reason(error)}"] += 1
                continue
            if ids.seen(trade_id):
                counts["trades_duplicate"] += 1
                continue
            if exchange_ns < self._start_exchange_ns:
                counts["trades_replayed"] += 1
                continue
            taker = _TAKERS.get(side.lower(), Taker.UNKNOWN)
            if taker is Taker.UNKNOWN:
                counts["trades_side_unknown"] += 1
            local_ns = self._forward(local_ns, row_local_ns)
            if transit.late(exchange_ns, local_ns):
                counts["trades_late"] += 1
            yield local_ns, 0, Trade(exchange_ns, local_ns, ticks, lots, taker, trade_id)

    def _forward(self, before_ns: int, local_ns: int) -> int:
        if local_ns >= before_ns:
            return local_ns
        self._counts["clock_backwards"] += 1
        return before_ns


class _QuotePair:
    """Collects the rows of one change of the best bid and offer."""

    def __init__(self, counts: dict[str, int]) -> None:
        self._counts = counts
        self._known: dict[str, tuple[int, int]] = {}
        self._sides: set[str] = set()
        self._spoilt = False
        self._exchange_ns = 0
        self._local_ns = 0

    def ends_before(self, exchange_ns: int, side: str) -> bool:
        """Whether a row of this exchange time (0 where unreadable) and side begins another change."""
        if not self._sides:
            return False
        other_time = exchange_ns and self._exchange_ns and exchange_ns != self._exchange_ns
        return bool(other_time) or side in self._sides or (exchange_ns == 0 and len(self._sides) > 1)

    def date(self, exchange_ns: int, local_ns: int) -> None:
        """Note when the change happened and when the row that follows was recorded."""
        self._exchange_ns, self._local_ns = exchange_ns, local_ns

    def put(self, side: str, level: tuple[int, int]) -> None:
        """Add one side's price in ticks and size in lots."""
        self._sides.add(side)
        self._known[side] = level

    def spoil(self, side: str) -> None:
        """Note an unusable row of this change: the other side must not be applied alone."""
        self._sides.add(side)
        self._known.pop(side, None)
        self._spoilt = True

    def take(self) -> Quotes | None:
        """The change as an event, or None when it cannot be used; starts the next one."""
        if not self._sides:
            return None
        spoilt, self._spoilt = self._spoilt, False
        exchange_ns, self._exchange_ns = self._exchange_ns, 0
        self._sides.clear()
        bid, ask = self._known.get("bid"), self._known.get("ask")
        if spoilt or bid is None or ask is None:
            self._counts["quotes_incomplete"] += 1
            return None
        if bid[0] >= ask[0]:
            self._counts["quotes_crossed"] += 1
            return None
        return Quotes(exchange_ns, self._local_ns, bid[0], bid[1], ask[0], ask[1])


def _first_time(rows: Iterator[tuple[str, ...]]) -> list[int]:
    """Exchange time of the first row whose times are readable; nothing where none is."""
    for row in rows:
        try:
            return [_stamps(*row)[1]]
        except Unusable:
            continue
    return []


def _stamps(local: str, exchange: str) -> tuple[int, int]:
    local_ns, exchange_ns = nanoseconds(local, 9), nanoseconds(exchange, 6)
    plausible(exchange_ns, local_ns)
    return local_ns, exchange_ns


def _reason(error: Unusable | IndexError) -> str:
    return error.reason if isinstance(error, Unusable) else "malformed"


def _side(text: str) -> str:
    if text not in {"bid", "ask"}:
        raise Unusable("malformed")
    return text


def _identity(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 20:
        raise Unusable("malformed")
    return int(text)


def _falling(ticks: tuple[int, ...]) -> bool:
    return bool(ticks) and all(map(operator.gt, ticks, ticks[1:]))


def _unpadded(prices: tuple[str, ...], sizes: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Without the empty levels a recorder writes behind the last one of a short book."""
    count = len(prices)
    while count and prices[count - 1] in _EMPTY_LEVEL and sizes[count - 1] in _EMPTY_LEVEL:
        count -= 1
    return prices[:count], sizes[:count]
