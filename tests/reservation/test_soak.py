"""A long life in short: seeded operations over months of an injected clock end at exactly zero, and nothing grows."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests import servers
from tests.reservation.soak import A, Home, Soak

from equipoise.reservation import ReservationBook

OPERATIONS = int(os.environ.get("SOAK_OPERATIONS", "10000"))
START_US = 1_700_000_000_000_000


@pytest.mark.parametrize("store", ["memory", "sqlite", "valkey"])
def test_i6_a_long_life_ends_at_exactly_zero_and_nothing_grows(store: str, sqlite_path: Path) -> None:
    now = [START_US]
    if store == "valkey":
        with servers.shared().client() as client:
            client.flushall()
    sqlite = f"sqlite:///{sqlite_path}?durability=normal"
    url = {"memory": "memory:", "sqlite": sqlite, "valkey": servers.shared().url}[store]
    sizes = []
    with ReservationBook.connect(url, clock=lambda: now[0]) as book:
        for piece in range(4):
            soak = Soak(book, 1, piece, now[0])
            book._clock = soak.clock
            soak.open()
            counts = soak.run(OPERATIONS // 4)
            now[0] = soak.now_us
            assert counts["OK"] > OPERATIONS // 8
            assert {"INSUFFICIENT_MARGIN", "OWNER_LIMIT", "ILLEGAL_TRANSITION"} <= set(counts)
            assert min(soak.sweeps, soak.watermarks) >= 3
            assert soak.trims >= 2
            sizes.append(book.account(A).records)
            assert book.audit(A).findings == ()
        soak.end()
        account = book.account(A)
        assert account.trimmed_version > 0
        assert max(sizes[1:]) <= 1.5 * sizes[0] + 500
        versions = account.version - account.trimmed_version
    assert versions < account.version / 2
    if store == "valkey":
        with servers.shared().client() as client:
            assert client.xlen("user_journal:{soak}") <= 5_000
            assert client.hlen("user_requests:{soak}") <= 5_000
            assert client.hlen("user_base:{soak}") <= 5_000
            assert client.dbsize() <= 5_000
    if store == "sqlite":
        with closing(sqlite3.connect(sqlite_path)) as rows:
            for table in ("journal", "requests", "orders", "events", "base_orders"):
                (count,) = rows.execute(f"SELECT count(*) FROM {table}").fetchone()
                assert count <= 5_000, table


def test_a_long_life_in_memory_is_taken_up_where_it_was_left(tmp_path: Path) -> None:
    now, accounts = START_US, []
    for piece in range(2):
        home = Home("memory", tmp_path)
        with home.open(lambda at=now: at) as book:  # type: ignore[misc]
            accounts.append(book.account(A) if piece else None)
            soak = Soak(book, 1, piece, now)
            book._clock = soak.clock
            soak.open()
            soak.run(1_000)
            assert book.audit(A).findings == ()
            home.save(book)
            now = soak.now_us
            if piece:
                soak.end()
            else:
                accounts.append(book.account(A))
    assert accounts[2] == accounts[1]
