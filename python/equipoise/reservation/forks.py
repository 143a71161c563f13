"""Whether this process is a fork of the one that opened a book, and what a fork must not take along."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

__all__ = ["Holder", "generation", "not_across_forks"]

_generation = 0


class Holder(Protocol):
    """Has something that must not be open in two processes of one origin."""

    def before_fork(self) -> bool:
        """Let go of it and keep everybody from opening it; whether `after_fork` is to be called."""

    def after_fork(self) -> None:
        """The fork is done, in the parent and in the child."""


_holders: weakref.WeakSet[Holder] = weakref.WeakSet()
_lock = threading.RLock()
"""Held while holders are added, and across a fork; a signal handler that forks meanwhile has it already."""
_waiting: list[Holder] = []


def not_across_forks(holder: Holder) -> None:
    """Have it called around each fork from now on."""
    with _lock:
        _holders.add(holder)


def _before() -> None:
    _lock.acquire()
    _waiting.extend(holder for holder in list(_holders) if holder.before_fork())


def _after() -> None:
    while _waiting:
        _waiting.pop().after_fork()
    _lock.release()


def _forked() -> None:
    global _generation
    _generation += 1
    _after()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_forked)


def generation() -> int:
    """How many forks lie between this process and the first that loaded this module.

    For a look with every step: to ask the system for the process's id takes longer.
    """
    return _generation
