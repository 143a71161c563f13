"""SIGKILL of a process whose threads share commits: what was answered is there, what was not is completed by its id."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from equipoise.reservation import Code, ReservationBook

pytest.importorskip("apsw", reason="the extra `sqlite` is not installed")

POINTS = max(3, int(os.environ.get("CRASH_POINTS", "10")) // 3)
THREADS, EACH = 16, 25
WRITER = """
import os, sys, threading
from decimal import Decimal
from equipoise.orders import Order, Side
from equipoise.reservation import ReservationBook

path, threads, each = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
book = ReservationBook.connect(f"sqlite:///{path}?durability=normal", clock=lambda: 10**15)
book.open_account("acc", 1000)
order = Order(symbol="SYM", side=Side.BID, lots=2, price_ticks=1, hold=10, price=Decimal(1), size=Decimal(1))
gate = threading.Barrier(threads)

def work(thread):
    gate.wait()
    for n in range(each):
        name = f"{thread}-{n}"
        assert book.reserve("acc", [order], request_id=name).done
        os.write(1, f"reserve {name}\\n".encode())
        assert book.fill("acc", f"{name}:0", 1, fill_id="f", margin="0.000007").done
        os.write(1, f"fill {name}\\n".encode())
        assert book.cancel("acc", f"{name}:0").done
        os.write(1, f"cancel {name}\\n".encode())

workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
book.close_book()
os.write(1, b"done\\n")
"""


def run(path: Path, kill_after: int | None) -> list[str]:
    """Run the writer; with `kill_after`, SIGKILL it a moment after that many answers. What it had been answered."""
    words = [sys.executable, "-c", WRITER, str(path), str(THREADS), str(EACH)]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        lines.append(line.strip())
        if len(lines) == kill_after:
            os.kill(child.pid, signal.SIGKILL)
    child.stdout.close()
    code = child.wait()
    assert (code == -signal.SIGKILL and kill_after is not None) or (code == 0 and lines[-1] == "done")
    return lines


def test_i17_what_a_killed_group_had_answered_is_there_and_the_same_ids_complete_it(tmp_path: Path) -> None:
    path = tmp_path / "margin.db"
    rng = random.Random(23)
    killed = 0
    for _ in range(POINTS):
        lines = run(path, rng.randint(1, 200))
        killed += lines[-1] != "done"
        with ReservationBook.connect(f"sqlite:///{path}?durability=normal", clock=lambda: 10**15) as book:
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
    assert run(path, None)[-1] == "done"
    with ReservationBook.connect(f"sqlite:///{path}?durability=normal") as book:
        assert book.audit("acc").findings == ()
        account = book.account("acc")
        assert account.live_orders == 0
        assert account.all_units == account.executed_units == THREADS * EACH * 7
        assert book.symbols("acc")[0].lots == THREADS * EACH
        assert len(book.orders("acc", every=True)) == THREADS * EACH
