"""Children forked from a parent that has imported everything: a kill costs the run of a child, not its start."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from typing import Any

from tests.crash import writers

__all__ = ["Child"]

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["equipoise.reservation", "equipoise.reservation.redis", "tests.crash.writers"])


class Child:
    """A process that runs a writer; iterating gives the lines it says, and ends when it is gone."""

    def __init__(self, writer: Callable[..., None], *values: Any) -> None:
        self._lines, end = _forks.Pipe(duplex=False)
        self.process = _forks.Process(target=_run, args=(end, writer.__name__, values))
        self.process.start()
        end.close()

    def __iter__(self) -> Iterator[str]:
        with os.fdopen(os.dup(self._lines.fileno()), encoding="utf-8") as lines:
            for line in lines:
                # A line that the kill has cut is no line.
                if line.endswith("\n"):
                    yield line.strip()

    def kill(self) -> None:
        """SIGKILL, unless it is through."""
        self.process.kill()

    def end(self) -> int:
        """Wait; exit code, negative for a signal."""
        self._lines.close()
        self.process.join(100)
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


def _run(end: Any, writer: str, values: tuple[Any, ...]) -> None:
    # One write a line, so that threads do not mix theirs.
    getattr(writers, writer)(lambda line: os.write(end.fileno(), f"{line}\n".encode()), *values)
