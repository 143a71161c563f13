"""Forks of a test's own process."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

__all__ = ["forked", "is_true_of"]


def forked(check: Callable[[], object]) -> int:
    """Run a check in a fork; its process id.

    Whatever happens in the child ends it there: a child that got out would go on as a second runner of the same tests,
    on the same pipes.
    """
    child = os.fork()
    if child == 0:
        code = 2
        try:
            code = 0 if check() else 1
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def is_true_of(child: int) -> bool:
    """Whether the check held in that child; waits for it."""
    return os.waitpid(child, 0)[1] == 0
