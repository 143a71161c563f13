"""The outbox: one entry a request, written with the hold, sent at most once, gone when the venue has answered."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from equipoise.orders import Order
from equipoise.reservation import Code, OrderState, ReservationBook

Make = Callable[..., Order]
A = "acc"

# How an order of an entry may be settled: after each of these events the entry is still there, or gone.
TABLE = """
events                    entry  state
-                         there  RESERVED
claim                     there  SENT
claim sweep               there  UNKNOWN
claim request_cancel      there  SENT
claim acknowledge         gone   LIVE
claim fill                gone   LIVE
claim reject              gone   REJECTED
claim cancel              gone   CANCELLED
claim expire              gone   EXPIRED
claim sweep acknowledge   gone   LIVE
claim sweep resolve       gone   EXPIRED
claim amend accept        gone   LIVE
claim amend refuse        there  SENT
acknowledge               gone   LIVE
cancel                    gone   CANCELLED
sweep                     gone   CANCELLED
claim acknowledge request_cancel sweep  gone  UNKNOWN
"""
HEAD, *ROWS = [line.split() for line in TABLE.strip().splitlines()]


@pytest.mark.parametrize(("events", "entry", "state"), [(row[:-2], *row[-2:]) for row in ROWS])
def test_every_row_of_the_outbox_table(
    proven: ReservationBook, order: Make, clock: Any, events: list[str], entry: str, state: str
) -> None:
    proven.open_account(A, 1)
    proven.reserve(A, [order(lots=3, hold=30, order_id="o")], request_id="r", send="outbox")

    def sweep() -> Any:
        clock.advance(3_600)
        return proven.sweep(A)

    calls: dict[str, Callable[[], Any]] = {
        "claim": lambda: proven.claim(A, "o", event_id="w"),
        "acknowledge": lambda: proven.acknowledge(A, "o", "v"),
        "fill": lambda: proven.fill(A, "o", 1, fill_id="f"),
        "reject": lambda: proven.reject(A, "o"),
        "cancel": lambda: proven.cancel(A, "o"),
        "expire": lambda: proven.expire(A, "o"),
        "request_cancel": lambda: proven.request_cancel(A, "o"),
        "resolve": lambda: proven.resolve(A, "o", OrderState.EXPIRED, evidence="operator"),
        "amend": lambda: proven.amend(A, "o", 4, "0.00004", event_id="a"),
        "accept": lambda: proven.settle_amend(A, "o", "accepted", amend_id="a"),
        "refuse": lambda: proven.settle_amend(A, "o", "refused", amend_id="a"),
        "sweep": sweep,
    }
    for event in events:
        if event != "-":
            assert calls[event]().ok
    found = proven.order(A, "o")
    assert found is not None
    assert found.state == state
    assert [kept.request_id for kept in proven.outbox(A)] == (["r"] if entry == "there" else [])
    assert found.outbox == (entry == "there")
    if state == "CANCELLED" and events == ["sweep"]:
        assert found.reason == "never_sent"


def test_an_entry_is_written_with_the_hold_and_goes_with_its_last_answer(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    first = proven.reserve(A, [order(hold=1)] * 3, request_id="r1", send="outbox", deadline_us=clock() + 7)
    proven.reserve(A, [order(hold=1)], request_id="r2", send="claim")
    proven.reserve(A, [order(hold=1)], request_id="r3", send="caller")
    second = proven.reserve(A, [order(hold=1)], request_id="r4", send="outbox")
    one, two = proven.outbox(A)
    assert (one.request_id, one.version, one.order_ids) == ("r1", first.version, ("r1:0", "r1:1", "r1:2"))
    assert (one.open_orders, one.created_us, one.deadline_us) == (3, clock(), clock() + 7)
    assert proven.outbox(A, after_version=one.version) == (two,)
    assert proven.outbox(A, limit=1) == (one,)
    assert two.version == second.version
    proven.cancel(A, "r1:0")
    proven.acknowledge(A, "r1:1")
    proven.fill(A, "r1:1", 1, fill_id="f")
    assert [entry.open_orders for entry in proven.outbox(A)] == [1, 1]
    proven.cancel(A, "r1:2")
    assert proven.outbox(A) == (two,)


def test_only_what_was_granted_goes_into_the_outbox_and_a_refusal_writes_none(
    proven: ReservationBook, order: Make
) -> None:
    proven.open_account(A, "0.00001")
    assert proven.reserve(A, [order(hold=11)], request_id="r", send="outbox").code is Code.INSUFFICIENT_MARGIN
    assert proven.outbox(A) == ()
    proven.reserve(
        A, [order(hold=6), order(hold=5), order(hold=4)], request_id="q", send="outbox", policy="best_effort"
    )
    assert [entry.order_ids for entry in proven.outbox(A)] == [("q:0", "q:2")]


def test_i8_a_repeat_of_the_request_writes_no_second_entry(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 1)
    for expected in (Code.OK, Code.DUPLICATE):
        assert proven.reserve(A, [order(hold=1)], request_id="r", send="outbox").code is expected
    assert len(proven.outbox(A)) == 1
    assert proven.reserve(A, [order(hold=1)], request_id="r").code is Code.REQUEST_CONFLICT
    proven.cancel(A, "r:0")
    assert proven.reserve(A, [order(hold=1)], request_id="r", send="outbox").code is Code.DUPLICATE
    assert proven.outbox(A) == ()


def test_i8_an_archived_id_whose_entry_is_open_is_not_used_again(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    proven.reserve(A, [order(hold=1, order_id="old")], request_id="r", send="outbox")
    proven.claim(A, "old", event_id="w")
    clock.advance(3 * 86_400)
    proven.sweep(A)
    assert proven.archive(A).ok
    held = proven.outbox(A)
    again = [order(hold=2, order_id="new")]
    refused = proven.reserve(A, again, request_id="r", send="outbox")
    assert (refused.code, refused.transient) == (Code.REQUEST_CONFLICT, False)
    old = clock() - 2 * 86_400_000_000
    assert proven.reserve(A, again, request_id="r", send="outbox", issued_at_us=old).code is Code.TOO_OLD_FOR_DEDUPE
    assert proven.outbox(A) == held
    assert proven.reserve(A, [order(hold=2)] * 2, request_id="q", send="outbox").ok
    assert proven.acknowledge(A, "old").ok
    assert [entry.request_id for entry in proven.outbox(A)] == ["q"]
    assert proven.reserve(A, again, request_id="r", send="outbox").ok
    assert [(entry.request_id, entry.open_orders) for entry in proven.outbox(A)] == [("q", 2), ("r", 1)]


def test_entries_that_were_lost_are_made_anew_each_with_a_version_of_its_own(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    for name in ("r1", "r2", "r3"):
        proven.reserve(A, [order(hold=1)], request_id=name, send="outbox")
        proven.claim(A, f"{name}:0", event_id="w")
    clock.advance(3_600)
    proven.sweep(A)  # one step: all of them were last changed at the same version
    if hasattr(proven, "_shelves"):
        proven._shelves[A].outbox.clear()
    elif hasattr(proven, "_links"):
        for name in ("user_outbox", "user_waiting"):
            proven._command(A, "DEL", f"{name}:{{{A}}}")  # type: ignore[attr-defined]
    else:
        proven._ready().execute("DELETE FROM outbox").fetchall()  # type: ignore[attr-defined]
    assert proven.reconcile(A, apply=True).settled
    entries = proven.outbox(A)
    assert {entry.request_id for entry in entries} == {"r1", "r2", "r3"}
    assert len({entry.version for entry in entries}) == 3


def test_of_many_senders_one_gets_the_claim_of_each_order(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 1)
    proven.reserve(A, [order(hold=1)] * 10, request_id="r", send="outbox")
    gate = threading.Barrier(8)

    def send(worker: int) -> list[str]:
        gate.wait()
        (entry,) = proven.outbox(A)
        return [name for name in entry.order_ids if proven.claim(A, name, event_id=f"w{worker}").ok]

    with ThreadPoolExecutor(8) as pool:
        sent = [name for names in pool.map(send, range(8)) for name in names]
    assert sorted(sent) == sorted(proven.outbox(A)[0].order_ids)


def test_the_sweeper_takes_unsent_orders_and_their_entry_in_one_step(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    proven.reserve(A, [order(hold=1)] * 3, request_id="r", send="outbox")
    proven.claim(A, "r:1", event_id="w")
    clock.advance(3_600)
    version = proven.account(A).version
    assert proven.sweep(A).version == version + 1
    states = [found.state for found in proven.orders(A, every=True)]
    assert states == [OrderState.CANCELLED, OrderState.UNKNOWN, OrderState.CANCELLED]
    assert [entry.open_orders for entry in proven.outbox(A)] == [1]
    assert proven.claim(A, "r:0", event_id="late").code is Code.ILLEGAL_TRANSITION
    assert proven.claim(A, "r:1", event_id="late").code is Code.ILLEGAL_TRANSITION
    proven.resolve(A, "r:1", OrderState.REJECTED, evidence="operator")
    assert proven.outbox(A) == ()
    assert proven.account(A).all_units == 0


def test_the_age_of_an_order_is_the_time_since_it_last_changed(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    proven.reserve(A, [order(order_id="a"), order(order_id="b")], request_id="r", send="caller")
    clock.advance(2)
    proven.acknowledge(A, "b")
    clock.advance(3)
    assert [found.order_id for found in proven.orders(A, age_ms=5_000)] == ["a"]
    assert [found.order_id for found in proven.orders(A, age_ms=3_000)] == ["a", "b"]
    assert proven.orders(A, OrderState.LIVE, age_ms=3_001) == ()
    assert proven.orders(A, [OrderState.SENT], age_ms=0)[0].order_id == "a"


def test_entries_are_listed_in_the_order_in_which_they_were_written(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 1)
    names = ["z", "b", "y", "a"]
    for name in names:
        assert proven.reserve(A, [order()], request_id=name, send="outbox").ok
    assert [entry.request_id for entry in proven.outbox(A)] == names
    paged, after = [], 0
    while found := proven.outbox(A, after_version=after, limit=1):
        paged += [entry.request_id for entry in found]
        after = found[-1].version
    assert paged == names
