"""SIGKILL of a process that writes the book, at seeded points, each followed by the same ids (I17)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.crash import writers
from tests.crash.kills import POINTS, Kills, version_of
from tests.warm import Child

pytest.importorskip("apsw", reason="the extra `sqlite` is not installed")


def state(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Raw rows of every table: none may depend on where the writer was killed."""
    with closing(sqlite3.connect(path)) as rows:
        names = [name for (name,) in rows.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        kept = {name: sorted(rows.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in names}
    assert len(kept["orders"]) > 100
    return kept


def test_i17_a_writer_killed_anywhere_is_completed_by_the_same_ids(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole.db", tmp_path / "killed.db"
    kills = Kills(17, POINTS, Child(writers.alone, str(whole), 1))
    expected, last = state(whole), version_of(f"sqlite:///{whole}", writers.A)
    url = f"sqlite:///{killed}?durability=normal"
    for lines, pause in kills:
        said = Child(writers.alone, str(killed), 1).killed_after(lines, pause)
        version = version_of(url, writers.A)
        assert version >= writers.answered(said)
        kills.left(version, last)
        assert Child(writers.alone, str(killed), 1).killed_after(None)[-1] == "done"
        assert version_of(url, writers.A) == last
        assert state(killed) == expected
        for part in tmp_path.glob("killed.db*"):
            part.unlink()
    kills.are_spread(last)
