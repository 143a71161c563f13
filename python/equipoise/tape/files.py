"""Lines of recorded files, plain or gzip, with damage told apart from the end and the place in the file known."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Self

from equipoise.errors import InputError, TapeError

__all__ = ["LineFile", "existing"]

LINE_BYTES_MAX = 1 << 24
"""Longest line accepted; a file without line ends must not fill the memory."""


def existing(argument: str, path: str | Path) -> Path:
    """The path, once it is known to exist."""
    place = Path(path)
    if not place.exists():
        raise InputError(argument, None, "an existing file or folder", path)
    return place


class LineFile:
    """One recorded file, read line by line.

    Parameters
    ----------
    path
        Text file, gzip-compressed or not; recognised by its first bytes, not by its name.
    on_damage
        Called once when the file ends in the middle, then the file counts as ended. None raises `TapeError`.
    """

    def __init__(self, path: Path, on_damage: Callable[[], None] | None = None) -> None:
        self.path = path
        self._on_damage = on_damage
        try:
            self.bytes_total = path.stat().st_size
            self._raw = path.open("rb")
            packed = self._raw.read(2) == b"\x1f\x8b"
            self._raw.seek(0)
        except OSError as error:
            raise TapeError(path, f"cannot be read: {error.strerror or error}") from error
        self._lines = io.BufferedReader(gzip.GzipFile(fileobj=self._raw), 1 << 16) if packed else self._raw

    @property
    def bytes_read(self) -> int:
        """Bytes of the file on disk consumed so far."""
        return self.bytes_total if self._raw.closed else self._raw.tell()

    def __iter__(self) -> Iterator[str]:
        """Lines without their ends. Bytes that are not ASCII become U+FFFD, which no number contains."""
        try:
            for line in iter(partial(self._lines.readline, LINE_BYTES_MAX), b""):
                if len(line) == LINE_BYTES_MAX:
                    raise TapeError(self.path, f"has a line longer than {LINE_BYTES_MAX} bytes")
                yield line.rstrip(b"\r\n").decode("ascii", "replace")
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            if self._on_damage is None:
                raise TapeError(self.path, f"is cut off or damaged: {error}") from error
            self._on_damage()
        except OSError as error:
            raise TapeError(self.path, f"cannot be read: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the file; further reading is a mistake."""
        self._lines.close()
        self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
