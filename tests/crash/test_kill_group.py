"""SIGKILL of a process whose threads share commits: what was answered is there, what was not is completed by its id."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from tests.crash import writers
from tests.crash.writers import GROUP_EACH, GROUP_THREADS
from tests.warm import Child

from equipoise.reservation import Code, ReservationBook

pytest.importorskip("apsw", reason="the extra `sqlite` is not installed")

POINTS = max(3, int(os.environ.get("CRASH_POINTS", "20")) // 3)


def test_i17_what_a_killed_group_had_answered_is_there_and_the_same_ids_complete_it(tmp_path: Path) -> None:
    path = tmp_path / "margin.db"
    rng = random.Random(23)
    killed = 0
    for _ in range(POINTS):
        lines = Child(writers.in_group, str(path)).killed_after(rng.randint(1, 200))
        killed += lines[-1] != "done"
        with ReservationBook.connect(f"sqlite:///{path}?durability=normal", clock=lambda: writers.CLOCK_US) as book:
            assert book.audit("acc").findings == ()
            for line in lines:
                step, _, name = line.partition(" ")
                if step == "fill":
                    again = book.fill("acc", f"{name}:0", 1, fill_id="f", margin="0.000007")
                elif step == "cancel":
                    again = book.cancel("acc", f"{name}:0")
                else:
                    assert step == "done" or book.order("acc", f"{name}:0") is not None
                    continue
                assert again.code is Code.DUPLICATE, line
    assert killed
    assert Child(writers.in_group, str(path)).killed_after(None)[-1] == "done"
    with ReservationBook.connect(f"sqlite:///{path}?durability=normal") as book:
        assert book.audit("acc").findings == ()
        account = book.account("acc")
        assert account.live_orders == 0
        assert account.all_units == account.executed_units == GROUP_THREADS * GROUP_EACH * 7
        assert book.symbols("acc")[0].lots == GROUP_THREADS * GROUP_EACH
        assert len(book.orders("acc", every=True)) == GROUP_THREADS * GROUP_EACH
