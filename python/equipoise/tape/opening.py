"""One entrance to every recorded tape: the format is found by looking at the files."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Literal

from equipoise.errors import InputError
from equipoise.tape.binance import BinanceTape, is_raw_stream
from equipoise.tape.files import LineFile, existing
from equipoise.tape.grid import decimal_step
from equipoise.tape.hyperliquid import HyperliquidTape, recorded_symbols
from equipoise.tape.tape import Tape

__all__ = ["FORMATS", "open_tape"]

FORMATS = (
    "a folder of Hyperliquid collector CSV files (orderbooks_X, prices_X, trades_X)",
    "Binance USDⓈ-M raw stream files (lines of `local_ns {…}`), or a folder of them",
)
"""What `open_tape` recognises. A new reader is a `Tape` of its own, a line here and a branch in `open_tape`."""

Place = str | Path


def open_tape(
    path: Place | Sequence[Place],
    *,
    symbol: str | None = None,
    tick: str | int | Decimal | None = None,
    lot: str | int | Decimal | None = None,
    levels: int = 20,
    every_ms: int = 100,
    damaged: Literal["raise", "stop"] = "raise",
) -> Tape:
    """Open a recorded market tape for reading.

    Parameters
    ----------
    path
        Folder or file; several files that follow each other as a sequence. Compression is recognised by content.
    symbol
        Instrument; needed where a folder holds several.
    tick, lot
        Price and size of one step as exact decimals. None infers the coarsest step of the form 1, 2, 2.5 or 5 times a
        power of ten that the first rows allow. Rows off the grid are dropped and counted, so a wrong step shows in
        `stats`.
    levels
        Levels of each side in a snapshot, 1…1000, where the tape has changes of the book and not snapshots.
    every_ms
        Least local milliseconds between two such snapshots, 0…60 000; 0 gives one after every change.
    damaged
        What to do where a file ends in the middle: "raise" `TapeError` after the last readable event, or "stop" there
        and count `files_damaged`.

    Returns
    -------
    Tape
        Events in order of local time, with `symbol`, `tick`, `lot`, `source`, `progress` and `stats`.

    Raises
    ------
    InputError
        An argument is malformed, the path does not exist, or its format is none of `FORMATS`.
    TapeError
        The file was recognised but cannot be read.
    """
    if damaged not in {"raise", "stop"}:
        raise InputError("damaged", None, "'raise' or 'stop'", repr(damaged))
    _within("levels", levels, 1, 1000)
    _within("every_ms", every_ms, 0, 60_000)
    steps = (
        None if tick is None else decimal_step("tick", tick),
        None if lot is None else decimal_step("lot", lot),
    )
    single = isinstance(path, str | Path)
    places = [existing("path", place) for place in ([path] if isinstance(path, str | Path) else path)]
    if single and places[0].is_dir():
        if recorded_symbols(places[0]):
            return HyperliquidTape(places[0], symbol, *steps, damaged=damaged)
        places = sorted(place for place in places[0].iterdir() if place.is_file() and _raw_stream(place))
    if places and all(place.is_file() and _raw_stream(place) for place in places):
        return BinanceTape(places, symbol, *steps, levels=levels, every_ms=every_ms, damaged=damaged)
    raise InputError("path", None, "one of: " + "; ".join(FORMATS), path)


def _within(argument: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(argument, None, f"an integer from {low} to {high}", repr(value))


def _raw_stream(path: Path) -> bool:
    with LineFile(path, on_damage=lambda: None) as file:
        return is_raw_stream(next(iter(file), ""))
