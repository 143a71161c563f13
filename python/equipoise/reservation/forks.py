"""Whether this process is a fork of the one that opened a book."""

from __future__ import annotations

import os

__all__ = ["generation"]

_generation = 0


def _forked() -> None:
    global _generation
    _generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def generation() -> int:
    """How many forks lie between this process and the first that loaded this module.

    For a look with every step: to ask the system for the process's id takes longer.
    """
    return _generation
