"""SIGKILL of a process that writes the book, at seeded points, then the same ids again (I17)."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.crash import writers
from tests.warm import Child

from equipoise.reservation import ReservationBook

pytest.importorskip("apsw", reason="the extra `sqlite` is not installed")

POINTS = int(os.environ.get("CRASH_POINTS", "20"))


def state(path: Path) -> list[tuple[object, ...]]:
    """Raw rows that must not depend on where the writer was killed."""
    with closing(sqlite3.connect(path)) as rows:
        wanted = (
            "SELECT * FROM accounts",
            "SELECT * FROM symbols",
            "SELECT * FROM orders ORDER BY order_id",
            "SELECT version, op, ident, record FROM journal ORDER BY version",
            "SELECT count(*) FROM events",
            "SELECT * FROM aliases ORDER BY alias",
            "SELECT * FROM outbox",
        )
        return [row for query in wanted for row in rows.execute(query).fetchall()]


def test_i17_a_writer_killed_anywhere_is_completed_by_the_same_ids(tmp_path: Path) -> None:
    whole = tmp_path / "whole.db"
    Child(writers.alone, str(whole), 1).killed_after(None)
    expected = state(whole)
    rng = random.Random(17)
    killed = tmp_path / "killed.db"
    reached = 0
    for _ in range(POINTS):
        child = Child(writers.alone, str(killed), 1)
        reached += child.killed_after(rng.randint(1, 40), lambda: time.sleep(rng.random() * 0.004))[-1] != "done"
        with ReservationBook.connect(f"sqlite:///{killed}?durability=normal") as book:
            assert book.audit("acc").findings == ()
    assert reached >= POINTS // 2
    assert Child(writers.alone, str(killed), 1).killed_after(None)[-1] == "done"
    assert state(killed) == expected
