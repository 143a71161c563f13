"""SIGKILL of a process that writes the book, at seeded points, then the same ids again (I17)."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from equipoise.reservation import ReservationBook

pytest.importorskip("apsw", reason="the extra `sqlite` is not installed")

POINTS = int(os.environ.get("CRASH_POINTS", "10"))
WRITER = """
import random, sys
from decimal import Decimal
from equipoise.orders import Order, Side
from equipoise.reservation import ReservationBook

path, seed, durability = sys.argv[1], int(sys.argv[2]), sys.argv[3]
rng = random.Random(seed)
with ReservationBook.connect(f"sqlite:///{path}?durability={durability}", clock=lambda: 10**15) as book:
    book.open_account("acc", 1000, rule="worst_side")
    print("ready", flush=True)
    for n in range(40):
        orders = [
            Order(symbol="SYM", side=rng.choice(list(Side)), lots=rng.randint(1, 9), price_ticks=1,
                  hold=rng.randint(0, 10**6), price=Decimal(1), size=Decimal(1)) for _ in range(4)
        ]
        book.reserve("acc", orders, request_id=f"r{n}", send="outbox")
        print(n, flush=True)
        for place, order in enumerate(orders):
            name = f"r{n}:{place}"
            lots = rng.randint(1, order.lots)
            book.claim("acc", name, event_id="sender")
            if place % 2:
                more = Decimal(rng.randint(0, 10**6)).scaleb(-6)
                word = rng.choice(["accepted", "refused"])
                book.amend("acc", name, rng.randint(1, 12), more, event_id="a", client_id=f"{name}+")
                book.settle_amend("acc", name, word, amend_id="a")
            margin = Decimal(rng.randint(0, 10**6)).scaleb(-6)
            book.fill("acc", name, lots, fill_id="f", margin=margin, realised_pnl="0.01", fee="0.001")
            if n < 39 or place < 2:
                book.cancel("acc", name)
        if n == 20:
            book.export("acc", confirmed_version=50)
print("done", flush=True)
"""


def run(path: Path, seed: int, kill_after: int | None) -> list[str]:
    """Run the writer; with `kill_after`, SIGKILL it a moment after that many lines."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(seed), "normal"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        lines.append(line.strip())
        if len(lines) == kill_after:
            os.kill(child.pid, signal.SIGKILL)
    child.stdout.close()
    code = child.wait()
    # On a busy machine the writer may be through before the kill.
    assert (code == -signal.SIGKILL and kill_after is not None) or (code == 0 and lines[-1] == "done")
    return lines


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
    run(whole, 1, None)
    expected = state(whole)
    rng = random.Random(17)
    killed = tmp_path / "killed.db"
    reached = 0
    for _ in range(POINTS):
        lines = run(killed, 1, rng.randint(1, 40))
        reached += lines[-1] != "done"
        with ReservationBook.connect(f"sqlite:///{killed}?durability=normal") as book:
            assert book.audit("acc").findings == ()
    assert reached
    assert run(killed, 1, None)[-1] == "done"
    assert state(killed) == expected
