"""What every tape offers: the instrument, the events in order of local time, how far it is, what it had to mend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType

from equipoise.tape.events import MarketEvent

__all__ = ["GLITCHES", "HOLE_NS", "Tape"]

HOLE_NS = 2_000_000_000
"""A pause longer than this between two events counts as a hole: the age at which a session takes data for stale."""

GLITCHES: Mapping[str, str] = MappingProxyType(
    {
        "books_crossed": "snapshot whose best bid is at or above its best ask: dropped",
        "books_malformed": "snapshot with missing, non-numeric, non-positive or unsorted values: dropped",
        "books_off_grid": "snapshot with a price or size between the steps of tick or lot: dropped",
        "books_out_of_range": "snapshot with a number beyond 64-bit integers: dropped",
        "books_repeated": "snapshot equal to the one before it, exchange time included: dropped",
        "books_stale": "snapshot older by the venue's clock than the one before it: dropped",
        "quotes_crossed": "best bid at or above the best ask once both rows are applied: dropped",
        "quotes_incomplete": "change of the best bid and offer of which a side is unusable or was never seen: dropped",
        "quotes_malformed": "row of the best bid or offer with missing, non-numeric or non-positive values: dropped",
        "quotes_off_grid": "row of the best bid or offer between the steps of tick or lot: dropped",
        "quotes_out_of_range": "row of the best bid or offer with a number beyond 64-bit integers: dropped",
        "quotes_stale": "row of the best bid or offer older by the venue's clock than the one before it: dropped",
        "trades_duplicate": "trade whose id was among the last 65 536: dropped",
        "trades_late": "trade that took over 2 s longer to arrive than the fastest message so far: kept",
        "trades_malformed": "trade with missing, non-numeric or non-positive values: dropped",
        "trades_off_book": "print that did not happen on the book (insurance fund, deleveraging): dropped",
        "trades_off_grid": "trade between the steps of tick or lot: dropped",
        "trades_out_of_range": "trade with a number beyond 64-bit integers: dropped",
        "trades_replayed": "trade from before the recording, which venues repeat on subscribe: dropped",
        "trades_side_unknown": "trade that does not say who crossed the spread: kept, Taker.UNKNOWN",
        "clock_backwards": "row whose local time lies before its predecessor's: kept, at the predecessor's time",
        "diffs_early": "book change that arrived before its snapshot: held, then applied unless contained in it",
        "diffs_unusable": "book change with malformed values or without a snapshot to apply it to: not applied",
        "sequence_gaps": "missing book change: the book is dropped until the next snapshot",
        "messages_malformed": "line of a raw stream that is not a message: dropped",
        "messages_unknown": "message of a kind or symbol that is not read: dropped",
        "files_damaged": "file that ends in the middle (recorder killed, copy cut off): read up to there",
        "holes": "pause of more than 2 s between two events: passed through, for the stale guard to see",
    }
)
"""Every glitch a tape counts, and what is done about it."""


class Tape(ABC):
    """Market events of one instrument, in order of local time.

    Iterating reads from the start, each time anew, in constant memory. The counters and the progress belong to the
    iteration that started last.

    Attributes
    ----------
    source
        Where the events come from, for titles and records.
    symbol
        Instrument at the venue.
    tick, lot
        Price of one tick and size of one lot, exact.
    """

    source: str
    symbol: str
    tick: Decimal
    lot: Decimal

    def __init__(self, source: str, symbol: str, tick: Decimal, lot: Decimal) -> None:
        self.source = source
        self.symbol = symbol
        self.tick = tick
        self.lot = lot
        self._counts = dict.fromkeys(GLITCHES, 0)
        self._hole_ns_max = 0

    @abstractmethod
    def _events(self) -> Iterator[MarketEvent]:
        """Events from the start in order of local time."""

    @property
    @abstractmethod
    def progress(self) -> float:
        """Part of the tape that has been read, 0…1; a progress bar's fraction."""

    @property
    def stats(self) -> dict[str, int]:
        """How often each glitch of `GLITCHES` was met, zeros included."""
        return dict(self._counts)

    @property
    def hole_ns_max(self) -> int:
        """Longest pause between two events, in nanoseconds of local time."""
        return self._hole_ns_max

    def __iter__(self) -> Iterator[MarketEvent]:
        """Read from the start; counters begin at zero again.

        Raises
        ------
        TapeError
            The tape is damaged. Everything before the damage has been delivered.
        """
        self._counts = counts = dict.fromkeys(GLITCHES, 0)
        self._hole_ns_max = 0
        before_ns = 0
        for event in self._events():
            pause_ns = event.local_ns - before_ns
            if pause_ns > self._hole_ns_max and before_ns:
                self._hole_ns_max = pause_ns
            if pause_ns > HOLE_NS and before_ns:
                counts["holes"] += 1
            before_ns = event.local_ns
            yield event

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source!r}, symbol={self.symbol!r}, tick={self.tick}, lot={self.lot})"
