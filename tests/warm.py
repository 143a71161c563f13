"""Children forked from a parent that has imported everything: a kill costs the run of a child, not its start."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Child"]

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["equipoise.reservation.sqlite", "equipoise.reservation.redis"])


class Child:
    """A process that runs a function; iterating gives the lines it says, and ends when it is gone.

    The function is one of a module that can be imported, and gets what says a line, then the values.
    """

    def __init__(self, work: Callable[..., None], *values: Any) -> None:
        lines, end = _forks.Pipe(duplex=False)
        self._lines = os.fdopen(os.dup(lines.fileno()), encoding="utf-8")
        lines.close()
        self.process = _forks.Process(target=_run, args=(end, work, values))
        self.process.start()
        end.close()

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            # A line that the kill has cut is no line.
            if line.endswith("\n"):
                yield line.strip()

    def kill(self) -> None:
        """SIGKILL, unless it is through."""
        self.process.kill()

    def end(self) -> int:
        """Wait; exit code, negative for a signal."""
        self._lines.close()
        self.process.join()
        code = self.process.exitcode
        self.process.close()
        assert code is not None
        return code

    def killed_after(self, count: int | None, pause: Callable[[], None] = lambda: None) -> list[str]:
        """Kill it a moment after it has said so many lines; what it had said. On a busy machine it may be through."""
        said = []
        for line in self:
            said.append(line)
            if len(said) == count:
                pause()
                self.kill()
        code = self.end()
        assert (code < 0 and count is not None) or (code == 0 and said[-1] == "done"), (code, said[-1:])
        return said


def _run(end: Any, work: Callable[..., None], values: tuple[Any, ...]) -> None:
    # One write a line, so that threads do not mix theirs.
    work(lambda line: os.write(end.fileno(), f"{line}\n".encode()), *values)
