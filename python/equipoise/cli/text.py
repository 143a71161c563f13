"""What commands print: aligned tables, JSON, a progress line on a terminal."""

from __future__ import annotations

import errno
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Self, TextIO

from equipoise.report.text import clock

__all__ = ["Progress", "flush", "say", "say_json", "table"]

REDRAW_S = 0.1


def say(text: str = "") -> None:
    """One line, or several, on standard output."""
    if sys.stdout is None:
        # So Python has it where the process was begun without.
        raise OSError(errno.EBADF, "standard output is closed")
    sys.stdout.write(text + "\n")


def flush() -> None:
    """Have what was said written; a failure shows here as a rule."""
    if sys.stdout is not None:
        sys.stdout.flush()


def say_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """One JSON document on standard output; what is not a number becomes null, decimals become text."""
    say(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def table(rows: Sequence[Sequence[str]], *, head: Sequence[str] = (), left: Sequence[int] = (0,)) -> str:
    """Columns aligned with blanks: those in `left` to the left, the others to the right.

    >>> print(table([["bids", "1,024.5"], ["asks", "3.0"]], head=["side", "size"]))
    side     size
    ----  -------
    bids  1,024.5
    asks      3.0
    """
    body = [list(row) for row in rows]
    columns = zip_longest(*([list(head)] if head else []), *body, fillvalue="")
    widths = [max(map(len, column)) for column in columns]
    lines = [list(head), ["-" * width for width in widths], *body] if head else body
    texts = []
    for line in lines:
        cells = [cell.ljust(widths[i]) if i in left else cell.rjust(widths[i]) for i, cell in enumerate(line)]
        texts.append("  ".join(cells).rstrip())
    return "\n".join(texts)


class Progress:
    """A line that is redrawn in place with the share done and the time left. Silent unless the stream is a terminal.

    Parameters
    ----------
    label
        What is going on.
    stream
        Where to draw; standard error by default, so that output can be piped.
    now
        Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        label: str,
        *,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
        quiet: bool = False,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._shown = not quiet and self._stream.isatty()
        self._label, self._now = label, now
        self._start = now()
        self._drawn = -math.inf
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        if self._shown and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0

    def update(self, share: float, words: str = "") -> None:
        """`share` of the whole is done, 0…1."""
        at = self._now()
        if not self._shown or at - self._drawn < REDRAW_S:
            return
        self._drawn = at
        share = min(1.0, max(0.0, share))
        left = clock((at - self._start) * (1 - share) / share) if share > 0 else "?"
        line = f"{self._label} [{'#' * round(24 * share):<24}] {share:4.0%}  {left} left  {words}"
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)
