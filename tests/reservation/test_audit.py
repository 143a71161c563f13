"""The audit finds what has been tampered with, on every store (I1, I9, I14)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests import servers

from equipoise._rust import pack, unpack
from equipoise.errors import InputError
from equipoise.orders import Order
from equipoise.reservation import Code, ReservationBook

Make = Callable[..., Order]
A = "acc"

# What is planted: SQL for the file, the same in memory, and the findings that must name it.
PLANTED: dict[str, tuple[str, Callable[[Any], None], set[str]]] = {
    "all too low": (
        "UPDATE accounts SET all_units = all_units - 1",
        lambda shelf: setattr(shelf, "held", shelf.held._replace(all_units=shelf.held.all_units - 1)),
        {"all", "journal_state"},
    ),
    "executed too high": (
        "UPDATE accounts SET executed_units = executed_units + 1",
        lambda shelf: setattr(shelf, "held", shelf.held._replace(executed_units=shelf.held.executed_units + 1)),
        {"executed", "journal_state"},
    ),
    "symbol off": (
        "UPDATE symbols SET hold_bids = hold_bids + 1",
        lambda shelf: shelf.rows.update({k: r._replace(hold_bids=r.hold_bids + 1) for k, r in shelf.rows.items()}),
        {"symbol", "all", "journal_state"},
    ),
    "hold off": (
        "UPDATE orders SET hold = hold + 1 WHERE order_id = 'r:0'",
        lambda shelf: shelf.put(shelf.order("r:0")._replace(hold=shelf.order("r:0").hold + 1)),
        {"order", "symbol", "owner", "journal_state"},
    ),
    "outbox entry without order": (
        "UPDATE outbox SET open_orders = 2",
        lambda shelf: shelf.outbox.update({"w": (*shelf.outbox["w"][:5], 2)}),
        {"outbox"},
    ),
    "record without account of it": (
        "DELETE FROM orders WHERE order_id = 'r:1'",
        lambda shelf: (shelf.orders.pop("r:1"), shelf.working.pop("r:1")),
        {"symbol", "live_orders", "journal_state", "owner", "records"},
    ),
    "journal gap": (
        "DELETE FROM journal WHERE version = 3",
        lambda shelf: shelf.journal.pop(2),
        {"journal_gap", "journal_chain"},
    ),
    "alias without order": (
        "UPDATE aliases SET order_id = 'nobody'",
        lambda shelf: shelf.aliases.update(dict.fromkeys(shelf.aliases, "nobody")),
        {"alias"},
    ),
    "owner off": (
        "UPDATE owners SET held = held + 1",
        lambda shelf: shelf.owners.update({name: held + 1 for name, held in shelf.owners.items()}),
        {"owner"},
    ),
}

# The same in the keys of a server.
PLANTED_IN_HASHES: dict[str, list[tuple[Any, ...]]] = {
    "all too low": [("HINCRBY", "user_portfolio:{acc}", "used_margin_all", -1)],
    "executed too high": [("HINCRBY", "user_portfolio:{acc}", "used_margin_executed", 1)],
    "symbol off": [("HSET", "user_symbols:{acc}", "SYM", "1 5 16 0 3 0 0 0 0 0 0 0 0 -1 -1")],
    "hold off": [("HINCRBY", "user_holdings:{acc}:r:0", "reserved_margin", 1)],
    "outbox entry without order": [("HSET", "user_waiting:{acc}", "w", "5 2")],
    "record without account of it": [
        ("DEL", "user_holdings:{acc}:r:1"),
        ("ZREM", "user_orders:{acc}", "r:1"),
        ("ZREM", "user_due:{acc}", "r:1"),
    ],
    "journal gap": [("XDEL", "user_journal:{acc}", "3-0")],
    "alias without order": [("HSET", "user_aliases:{acc}", "venue-1", "nobody")],
    "owner off": [("HINCRBY", "user_owners:{acc}", "ann", 1)],
}


@pytest.mark.parametrize("planted", list(PLANTED))
def test_i1_i9_i14_a_planted_contradiction_is_found(book: ReservationBook, order: Make, planted: str) -> None:
    book.open_account(A, "1")
    book.reserve(A, [order(lots=2, hold=10), order(lots=2, hold=10)], request_id="r", owner="ann")
    book.acknowledge(A, "r:0", "venue-1")
    book.fill(A, "r:0", 1, fill_id="f", margin="0.000005")
    book.reserve(A, [order()], request_id="w", send="outbox")
    assert book.audit(A).ok
    statement, tamper, kinds = PLANTED[planted]
    if hasattr(book, "_shelves"):
        tamper(book._shelves[A])
    elif hasattr(book, "_links"):
        for words in PLANTED_IN_HASHES[planted]:
            book._command(A, *[str(word) for word in words])  # type: ignore[attr-defined]
    else:
        book._ready().execute(statement).fetchall()  # type: ignore[attr-defined]
    report = book.audit(A)
    assert {finding.kind for finding in report.findings} == kinds


def test_the_memory_index_of_live_orders_is_a_bijection_with_their_records(order: Make) -> None:
    with ReservationBook.connect("memory:") as book:
        book.open_account(A, "1")
        book.reserve(A, [order(hold=10)], request_id="r")
        shelf = book._shelves[A]  # type: ignore[attr-defined]
        shelf.working["ghost"] = None
        assert {finding.kind for finding in book.audit(A).findings} == {"index"}
        del shelf.working["ghost"], shelf.working["r:0"]
        assert {finding.kind for finding in book.audit(A).findings} == {"index"}


def test_i13_a_step_names_one_account_and_touches_no_other(proven: ReservationBook, order: Make) -> None:
    for name in ("a", "b"):
        proven.open_account(name, "1")
        proven.reserve(name, [order(hold=10, order_id="same")], request_id="same")
    kept = (proven.account("b"), proven.orders("b"), proven.history("b"))
    proven.fill("a", "same", 1, fill_id="f")
    proven.deposit("a", 1, request_id="d")
    assert (proven.account("b"), proven.orders("b"), proven.history("b")) == kept


def test_a_write_interrupted_in_memory_is_finished_before_the_next_read(
    order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from equipoise.reservation import memory

    whole = memory._Shelf.write

    def torn(self: Any, effect: Any, counts: Any) -> None:
        for row in effect.symbols:
            self.rows[row.symbol, row.leg] = row
        raise KeyboardInterrupt

    with ReservationBook.connect("memory:") as book:
        book.open_account(A, "1", rule="larger_leg")
        with monkeypatch.context() as patch:
            patch.setattr(memory._Shelf, "write", torn)
            with pytest.raises(KeyboardInterrupt):
                book.reserve(A, [order(hold=10)], request_id="r")
        assert memory._Shelf.write is whole
        assert book.account(A).all_units == 10
        assert book.audit(A).findings == ()


def test_i15_withdrawable_never_exceeds_what_is_free(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 10, pnl_policy="all")
    proven.execute(A, order(lots=1), request_id="x", margin=4)
    for pnl in (-9, -3, 0, 3, 9):
        proven.mark(A, {"SYM": pnl})
        account = proven.account(A)
        assert account.withdrawable <= max(0, account.free)
        left = 10 + min(pnl, 0) - 4
        assert account.withdrawable == max(0, left)
        # Below zero, what is missing to zero is missing too.
        assert proven.withdraw(A, account.withdrawable + 1, request_id=str(pnl)).shortfall == 1 + max(0, -left)


def test_i10_a_positions_margin_and_its_realised_loss_move_in_one_step(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 10)
    proven.execute(A, order(lots=2), request_id="x", margin=8)
    proven.reserve(A, [order("ask", lots=2, order_id="o", reduce_only=True)], request_id="r")
    outcome = proven.fill(A, "o", 2, fill_id="f", realised_pnl=-7)
    assert outcome.before is not None
    assert outcome.after is not None
    assert (outcome.before.free, outcome.after.free) == (2_000_000, 3_000_000)


def test_archive_lets_go_of_settled_orders_and_old_ids_and_the_audit_stays_clean(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, "1", positions="tickets")
    early = clock()
    proven.reserve(A, [order(lots=2, hold=10) for _ in range(4)], request_id="r")
    proven.acknowledge(A, "r:0", "venue-0")
    proven.cancel(A, "r:0")
    proven.fill(A, "r:1", 2, fill_id="f")
    proven.fill(A, "r:2", 2, fill_id="f")
    proven.close(A, "r:2", event_id="c", realised_pnl=0)
    assert proven.archive(A).version == proven.account(A).version
    clock.advance(86_401)
    proven.reserve(A, [order(hold=3)], request_id="s")
    before = proven.account(A)
    done = proven.archive(A)
    assert done.ok
    assert proven.archive(A).version == done.version == before.version + 1
    assert [kept.order_id for kept in proven.orders(A, every=True)] == ["r:1", "r:3", "s:0"]
    assert proven.order(A, "venue-0") is None
    assert proven.account(A).totals == before.totals
    late = proven.reserve(A, [order(lots=2, hold=10)] * 4, request_id="r", issued_at_us=early)
    assert late.code is Code.TOO_OLD_FOR_DEDUPE
    assert proven.reserve(A, [order(hold=3)], request_id="s").code is Code.DUPLICATE
    gone = proven.history(A, after_version=before.version)[0]
    assert [(change.order_id, change.after) for change in gone.orders] == [("r:0", None), ("r:2", None)]
    assert proven.audit(A).findings == ()
    clock.advance(-(10**6))
    assert proven.archive(A).version == done.version


def test_a_memory_book_that_exports_and_archives_keeps_its_size(order: Make, clock: Any) -> None:
    with ReservationBook.connect("memory:", clock=clock, horizon_s=60) as book:
        book.open_account(A, "1")
        for n in range(300):
            book.reserve(A, [order(hold=3)] * 3, request_id=str(n))
            for place in range(3):
                book.cancel(A, f"{n}:{place}")
            clock.advance(1)
            book.export(A, confirmed_version=book.account(A).version)
            book.archive(A)
        shelf = book._shelves[A]  # type: ignore[attr-defined]
        sizes = [len(shelf.orders), len(shelf.events), len(shelf.requests), len(shelf.journal), len(shelf.base.orders)]
        assert max(sizes) <= 62 * 5
        assert book.audit(A).findings == ()


def test_archive_trims_only_what_export_has_confirmed_and_the_audit_starts_from_there(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, "1", rule="worst_side")
    for n in range(6):
        proven.reserve(A, [order("bid", 2, 10), order("ask", 2, 9)], request_id=str(n))
        proven.fill(A, f"{n}:0", 1, fill_id="f", margin="0.000004")
        proven.cancel(A, f"{n}:1")
    whole = proven.history(A, limit=10**6)
    clock.advance(86_401)
    proven.deposit(A, 1, request_id="d")
    proven.archive(A)
    assert proven.history(A, limit=10**6)[:-2] == whole  # nothing was confirmed
    stored = []
    chunk = proven.export(A, limit=4)
    while chunk and len(stored) < 12:
        stored.extend(chunk)
        chunk = proven.export(A, limit=4, confirmed_version=chunk[-1].version)
    assert tuple(stored) == whole[:12]
    assert proven.account(A).exported_version == 12
    assert proven.export(A, limit=1, confirmed_version=3)[0].version == 13  # forward only
    clock.advance(1)
    done = proven.archive(A)
    assert proven.account(A).trimmed_version == 12
    left = proven.history(A, limit=10**6)
    assert [record.version for record in left] == list(range(13, done.version + 1))
    checkpoint = dict(left[-1].details)
    assert checkpoint["trimmed_version"] == 12
    assert checkpoint["open_orders"] == len(proven.orders(A)) == 6
    assert [change.symbol for change in left[-1].symbols] == ["SYM"]
    assert proven.audit(A).findings == ()
    proven.cancel(A, "5:0")
    with pytest.raises(InputError, match="confirmed_version must be at most"):
        proven.export(A, confirmed_version=10**6)


def test_a_checkpoint_whose_digest_is_not_that_of_its_orders_is_found(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    book.open_account(A, "1")
    book.reserve(A, [order(hold=3)], request_id="r")
    clock.advance(86_401)
    book.archive(A)
    assert book.audit(A).ok
    digest = dict(book.history(A)[-1].details)["digest"]
    if hasattr(book, "_shelves"):
        journal = book._shelves[A].journal
        record, answer = unpack(journal[-1][4])
        details = tuple(("digest", "0") if n == "digest" else (n, v) for n, v in record[10])
        journal[-1] = (*journal[-1][:4], pack(((*record[:10], details), answer)))
    elif hasattr(book, "_links"):
        # A stream takes no changed entry: the running digest is what the next checkpoint says.
        book._command(A, "HSET", f"user_portfolio:{{{A}}}", "digest", "1-1")  # type: ignore[attr-defined]
        clock.advance(1)
        book.archive(A)
    else:
        sql = f"UPDATE journal SET record = replace(record, '{digest}', '0') WHERE op = 'archive'"
        book._ready().execute(sql).fetchall()  # type: ignore[attr-defined]
    assert [finding.kind for finding in book.audit(A).findings] == ["journal_chain"]


def test_a_digest_of_two_sums_from_before_goes_on_as_the_first_of_them(order: Make, clock: Any) -> None:
    with servers.shared().client() as client, ReservationBook.connect(servers.shared().url, clock=clock) as book:
        client.flushall()
        book.open_account(A, "1")
        book.reserve(A, [order(hold=3), order(hold=4)], request_id="r")
        key = f"user_portfolio:{{{A}}}"
        client.hset(key, "digest", client.hget(key, "digest").decode() + "-77")
        book.cancel(A, "r:0")
        clock.advance(86_401)
        book.archive(A)
        client.hset(key, "digest", client.hget(key, "digest").decode() + "-77")
        clock.advance(1)
        book.archive(A)
        assert dict(book.history(A)[-1].details)["digest"].endswith("-77")
        assert book.audit(A).findings == ()


def test_a_cap_on_what_is_kept_refuses_growth_and_never_facts(proven: ReservationBook, order: Make, clock: Any) -> None:
    proven.open_account(A, 10, records_max=6)
    assert proven.account(A).records == 1
    assert proven.reserve(A, [order()] * 2, request_id="r").ok
    assert proven.account(A).records == 4
    assert proven.reserve(A, [order()] * 2, request_id="q").code is Code.ORDER_LIMIT
    assert proven.reserve(A, [order()] * 2, request_id="q", policy="best_effort").granted == ("q:0",)
    assert proven.account(A).records == 6
    assert proven.execute(A, order(), request_id="x").code is Code.ORDER_LIMIT
    assert proven.reserve(A, [order()], request_id="z").code is Code.ORDER_LIMIT
    for fact in (
        proven.fill(A, "r:0", 1, fill_id="f"),
        proven.cancel(A, "r:1"),
        proven.acknowledge(A, "q:0"),
        proven.cancel(A, "q:0"),
        proven.deposit(A, 1, request_id="d"),
        proven.abandon(A, "never"),
    ):
        assert fact.ok
    assert proven.account(A).records == 8
    assert proven.withdraw(A, 1, request_id="w").ok, "nobody is kept from free money"
    clock.advance(86_401)
    assert proven.archive(A).ok
    assert proven.account(A).records == 0
    assert proven.reserve(A, [order()], request_id="z").ok
