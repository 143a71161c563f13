"""SIGKILL of a process whose threads share commits: what was answered is there, what was not is completed by its id."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.crash import writers
from tests.crash.kills import POINTS, Kills, version_of
from tests.crash.writers import GROUP_EACH, GROUP_THREADS
from tests.warm import Child

from equipoise.reservation import Code, ReservationBook

pytest.importorskip("apsw", reason="the extra `sqlite` is not installed")

STEPS = 3 * GROUP_THREADS * GROUP_EACH


def answered(url: str, said: list[str]) -> int:
    """Number of steps that the killed process has been answered; the book must have all of them."""
    steps = [line.split(" ") for line in said if " " in line]
    with ReservationBook.connect(url, clock=lambda: writers.CLOCK_US) as book:
        for step, name in steps:
            if step == "fill":
                again = book.fill(writers.A, f"{name}:0", 1, fill_id="f", margin="0.000007")
            elif step == "cancel":
                again = book.cancel(writers.A, f"{name}:0")
            else:
                assert book.order(writers.A, f"{name}:0") is not None, name
                continue
            assert again.code is Code.DUPLICATE, (step, name)
    return len(steps)


def complete(url: str) -> None:
    """The book has everything, once."""
    assert version_of(url, writers.A) == 1 + STEPS
    with ReservationBook.connect(url) as book:
        account = book.account(writers.A)
        assert account.live_orders == 0
        assert account.all_units == account.executed_units == GROUP_THREADS * GROUP_EACH * 7
        assert book.symbols(writers.A)[0].lots == GROUP_THREADS * GROUP_EACH
        assert len(book.orders(writers.A, every=True)) == GROUP_THREADS * GROUP_EACH


def test_i17_what_a_killed_group_had_answered_is_there_and_the_same_ids_complete_it(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole.db", tmp_path / "killed.db"
    kills = Kills(23, max(3, POINTS // 3), Child(writers.in_group, str(whole)))
    complete(f"sqlite:///{whole}")
    url = f"sqlite:///{killed}?durability=normal"
    for lines, pause in kills:
        said = Child(writers.in_group, str(killed)).killed_after(lines, pause)
        version = version_of(url, writers.A)
        # Of what each thread had asked last the answer may be lost; and of the account's opening.
        lost = max(0, version - 1) - answered(url, said)
        assert 0 <= lost <= GROUP_THREADS
        kills.left(version, 1 + STEPS)
        assert Child(writers.in_group, str(killed)).killed_after(None)[-1] == "done"
        complete(url)
        for part in tmp_path.glob("killed.db*"):
            part.unlink()
    kills.are_spread(1 + STEPS)
