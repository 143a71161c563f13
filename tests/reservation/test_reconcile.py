"""Reconcile: a dry run finds, `apply` repairs step by step, and the audit is clean again; on every store.

Corruptions are planted in the rows themselves, as SQL for the file and as the same thing in memory, or between the book
and the venue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests import servers
from tests.reservation.test_codes import set_status

from equipoise.orders import Order, Side
from equipoise.reservation import (
    AccountStatus,
    Code,
    OrderState,
    ReconcileReport,
    ReservationBook,
    VenueFill,
    VenueOrder,
    VenueView,
)

Make = Callable[..., Order]
A = "acc"


def desk(book: ReservationBook, order: Make, rule: str = "sum") -> None:
    """A position of one lot, three resting orders, one ended, an outbox entry, an owner."""
    book.open_account(A, 1, rule=rule)
    ladder = [order(lots=2, hold=10), order("ask", lots=3, hold=30), order(lots=4, hold=41)]
    book.reserve(A, ladder, request_id="r", owner="ann", send="caller")
    for place in range(3):
        book.acknowledge(A, f"r:{place}", f"v{place}")
    book.fill(A, "r:0", 1, fill_id="f", margin="0.000005")
    book.cancel(A, "r:2")
    book.reserve(A, [order(hold=7)], request_id="w", send="outbox")


PORTFOLIO = "user_portfolio:{acc}"
# What the statements below do, in the keys of a server.
IN_HASHES: dict[str, list[tuple[Any, ...]]] = {
    "UPDATE accounts SET all_units = all_units - 9": [("HINCRBY", PORTFOLIO, "used_margin_all", -9)],
    "UPDATE accounts SET all_units = all_units + 9": [("HINCRBY", PORTFOLIO, "used_margin_all", 9)],
    "UPDATE accounts SET executed_units = 99": [("HSET", PORTFOLIO, "used_margin_executed", 99)],
    "INSERT INTO aliases VALUES ('acc', 'ghost', 'nobody')": [("HSET", "user_aliases:{acc}", "ghost", "nobody")],
    "UPDATE symbols SET hold_bids = hold_bids + 9": [
        ("HSET", "user_symbols:{acc}", "SYM", "1 5 21 30 2 3 0 0 0 0 0 0 0 -1 -1")
    ],
    "UPDATE symbols SET margin = margin + 4": [
        ("HSET", "user_symbols:{acc}", "SYM", "1 9 12 30 2 3 0 0 0 0 0 0 0 -1 -1")
    ],
    "UPDATE orders SET hold = 9 WHERE order_id = 'r:2'": [("HSET", "user_holdings:{acc}:r:2", "reserved_margin", 9)],
    "UPDATE orders SET hold = hold + 9 WHERE order_id = 'r:1'": [
        ("HSET", "user_holdings:{acc}:r:1", "reserved_margin", 39)
    ],
    "DELETE FROM journal WHERE version = 3": [("XDEL", "user_journal:{acc}", "3-0")],
    "UPDATE owners SET held = held + 1": [("HINCRBY", "user_owners:{acc}", "ann", 1)],
    "DELETE FROM outbox": [("DEL", "user_outbox:{acc}"), ("DEL", "user_waiting:{acc}")],
    "DELETE FROM orders WHERE order_id = 'r:1'": [
        ("DEL", "user_holdings:{acc}:r:1"),
        ("ZREM", "user_orders:{acc}", "r:1"),
        ("ZREM", "user_due:{acc}", "r:1"),
    ],
    "DELETE FROM rates": [("DEL", "user_rates:{acc}")],
    "UPDATE accounts SET status = 'RECOVERING', all_units = all_units - 9": [
        ("HINCRBY", PORTFOLIO, "used_margin_all", -9),
        ("HSET", PORTFOLIO, "status", "RECOVERING"),
    ],
    "UPDATE symbols SET bid_lots = 0, hold_asks = 0, rate_orders = 0": [
        ("HSET", "user_symbols:{acc}", "SYM", "1 5 12 0 0 3 0 0 0 0 0 0 0 -1 -1")
    ],
    "UPDATE symbols SET long_lots = 1, margin = 1": [
        ("HSET", "user_symbols:{acc}", "SYM", "2 1 10 0 2 0 0 0 1 0 5 5 0 -1 -1")
    ],
}


def tamper(book: ReservationBook, statement: str, change: Callable[[Any], object]) -> None:
    if hasattr(book, "_shelves"):
        change(book._shelves[A])
    elif hasattr(book, "_links"):
        for words in IN_HASHES[statement]:
            book._command(A, *[str(word) for word in words])  # type: ignore[attr-defined]
    else:
        book._ready().execute(statement).fetchall()  # type: ignore[attr-defined]


def replaced(name: str, **changes: int) -> Callable[[Any], object]:
    return lambda shelf: shelf.put(shelf.order(name)._replace(**changes))


def held(**changes: int) -> Callable[[Any], object]:
    def change(shelf: Any) -> None:
        shelf.held = shelf.held._replace(**{name: getattr(shelf.held, name) + by for name, by in changes.items()})

    return change


def rows(**changes: int) -> Callable[[Any], object]:
    def change(shelf: Any) -> None:
        for key, row in shelf.rows.items():
            shelf.rows[key] = row._replace(**{name: getattr(row, name) + by for name, by in changes.items()})

    return change


def ghost_alias(shelf: Any) -> None:
    shelf.aliases["ghost"] = "nobody"
    shelf.working["nobody"] = None


# What is planted within the book, what must be found, and used_margin_all after the repair.
PLANTED: dict[str, tuple[str, Callable[[Any], object], set[str], int]] = {
    "A too low": ("UPDATE accounts SET all_units = all_units - 9", held(all_units=-9), {"totals"}, 47),
    "A too high": ("UPDATE accounts SET all_units = all_units + 9", held(all_units=9), {"totals"}, 47),
    "E too high": ("UPDATE accounts SET executed_units = 99", held(executed_units=94), {"totals"}, 47),
    "index without record": ("INSERT INTO aliases VALUES ('acc', 'ghost', 'nobody')", ghost_alias, {"index"}, 47),
    "symbol aggregate off": (
        "UPDATE symbols SET hold_bids = hold_bids + 9",
        rows(hold_bids=9),
        {"symbol", "totals"},
        47,
    ),
    "position off": ("UPDATE symbols SET margin = margin + 4", rows(margin=4), {"symbol", "totals"}, 47),
    "orphan hold": (
        "UPDATE orders SET hold = 9 WHERE order_id = 'r:2'",
        replaced("r:2", hold=9),
        {"order"},
        47,
    ),
    "hold off": (
        "UPDATE orders SET hold = hold + 9 WHERE order_id = 'r:1'",
        replaced("r:1", hold=39),
        {"order"},
        47,
    ),
    "journal gap": ("DELETE FROM journal WHERE version = 3", lambda shelf: shelf.journal.pop(2), {"journal"}, 47),
    "owner off": (
        "UPDATE owners SET held = held + 1",
        lambda shelf: shelf.owners.update({name: units + 1 for name, units in shelf.owners.items()}),
        {"index"},
        47,
    ),
    "outbox entry gone": ("DELETE FROM outbox", lambda shelf: shelf.outbox.clear(), {"index"}, 47),
}


@pytest.mark.parametrize("planted", list(PLANTED))
def test_a_planted_corruption_is_found_dry_then_repaired_and_journalled(
    book: ReservationBook, order: Make, planted: str
) -> None:
    desk(book, order)
    assert book.reconcile(A).ok
    assert book.account(A).all_units == 5 + 5 + 30 + 7
    statement, change, kinds, all_after = PLANTED[planted]
    tamper(book, statement, change)
    before = (book.account(A), book.orders(A, every=True), book.history(A))
    assert not book.audit(A).ok
    dry = book.reconcile(A)
    assert kinds <= {item.kind for item in dry.discrepancies} <= kinds | {"symbol", "totals", "index"}
    assert {item.state for item in dry.discrepancies} == {"found"}
    assert (book.account(A), book.orders(A, every=True), book.history(A)) == before
    done = book.reconcile(A, apply=True, operator="ann")
    assert [item.kind for item in done.discrepancies] == [item.kind for item in dry.discrepancies]
    assert done.settled
    assert book.audit(A).findings == ()
    assert book.reconcile(A).ok
    account = book.account(A)
    assert (account.executed_units, account.all_units) == (5, all_after)
    records = book.history(A, after_version=before[0].version)
    assert [record.op for record in records] == ["repair"] * len(done.discrepancies)
    assert dict(records[0].details)["operator"] == "ann"
    if planted == "A too low":
        assert (records[0].before.all, records[0].after.all) == (38, 47)
    book.cancel(A, "r:0")
    book.cancel(A, "r:1")
    assert book.audit(A).findings == ()


def lose_index_entry(book: Any) -> None:
    if hasattr(book, "_shelves"):
        del book._shelves[A].working["r:1"]
    else:
        book._command(A, "ZREM", "user_orders:{acc}", "r:1")


def invent_index_entry(book: Any) -> None:
    if hasattr(book, "_shelves"):
        book._shelves[A].working["ghost"] = None
    else:
        book._command(A, "ZADD", "user_orders:{acc}", "7", "ghost")


def changed_kept(book: Any, change: Callable[[Any], object], *words: str) -> None:
    """One change behind the book's back: of what memory keeps, or of the keys of a server."""
    if hasattr(book, "_shelves"):
        change(book._shelves[A])
    else:
        book._command(A, *words)


def lose_what_is_awaited(book: Any) -> None:
    changed_kept(book, lambda shelf: shelf.working.update({"w:0": None}), "ZREM", "user_due:{acc}", "w:0")


def await_what_is_not_there(book: Any) -> None:
    changed_kept(book, lambda shelf: shelf.working.update(ghost=7), "ZADD", "user_due:{acc}", "7", "ghost")


def await_at_another_time(book: Any) -> None:
    changed_kept(book, lambda shelf: shelf.working.update({"w:0": 2**52}), "ZADD", "user_due:{acc}", str(2**52), "w:0")


def lose_an_ended_order(book: Any) -> None:
    # Memory keeps no index of these.
    changed_kept(book, lambda shelf: shelf.working.pop("w:0"), "ZREM", "user_orders:{acc}", "r:2")


INDEXES = [
    lose_index_entry,
    invent_index_entry,
    lose_what_is_awaited,
    await_what_is_not_there,
    await_at_another_time,
    lose_an_ended_order,
]


@pytest.mark.parametrize("plant", INDEXES, ids=lambda plant: plant.__name__)
@pytest.mark.parametrize("store", ["memory", "valkey"])
def test_i14_a_record_without_index_or_an_index_without_record_is_found_dry_then_repaired_and_journalled(
    order: Make, clock: Any, plant: Callable[[Any], None], store: str
) -> None:
    # Where the index is kept apart from the records; SQLite keeps its own over the rows.
    with servers.shared().client() as client:
        client.flushall()
    with ReservationBook.connect("memory:" if store == "memory" else servers.shared().url, clock=clock) as book:
        desk(book, order)
        before = book.account(A)
        plant(book)
        assert {finding.kind for finding in book.audit(A).findings} == {"index"}
        assert [(item.kind, item.state) for item in book.reconcile(A).discrepancies] == [("index", "found")]
        assert book.account(A) == before
        assert book.reconcile(A, apply=True, operator="ann").settled
        assert {found.order_id for found in book.orders(A)} == {"r:0", "r:1", "w:0"}
        assert len(book.orders(A, every=True)) == 4
        assert [record.op for record in book.history(A, after_version=before.version)] == ["repair"]
        assert book.audit(A).ok
        assert book.cancel(A, "r:1").ok
        assert book.audit(A).ok


@pytest.mark.parametrize("store", ["memory", "valkey"])
def test_i12_an_order_that_the_age_index_lost_is_found_and_swept_after_the_repair(
    order: Make, clock: Any, store: str
) -> None:
    with servers.shared().client() as client:
        client.flushall()
    with ReservationBook.connect("memory:" if store == "memory" else servers.shared().url, clock=clock) as book:
        book.open_account(A, 1)
        book.reserve(A, [order(hold=5)], request_id="w", send="caller")
        lose_what_is_awaited(book)
        clock.advance(3600)
        assert [row for row in book.sweep(A).order_rows if row[1] == "OK"] == []
        assert [finding.kind for finding in book.audit(A).findings] == ["index"]
        assert book.reconcile(A, apply=True, operator="ann").settled
        assert [found.order_id for found in book.orders(A, overdue=True)] == ["w:0"]
        assert [row[0] for row in book.sweep(A).order_rows] == ["w:0"]
        assert book.order(A, "w:0").state is OrderState.UNKNOWN  # type: ignore[union-attr]
        assert book.audit(A).ok


@pytest.mark.parametrize("leads", ["r:0", None])
def test_a_venue_id_that_leads_nowhere_or_to_another_order_is_found_and_mended(
    book: ReservationBook, order: Make, leads: str | None
) -> None:
    desk(book, order)
    statement = "DELETE FROM aliases WHERE alias = 'v1'"
    if leads is not None:
        statement = f"UPDATE aliases SET order_id = '{leads}' WHERE alias = 'v1'"
    words = ("HDEL", "user_aliases:{acc}", "v1") if leads is None else ("HSET", "user_aliases:{acc}", "v1", leads)
    IN_HASHES[statement] = [words]
    tamper(book, statement, lambda shelf: shelf.aliases.update(v1=leads) if leads else shelf.aliases.pop("v1"))
    findings = book.audit(A).findings
    assert [(one.kind, one.where, one.expected, one.found) for one in findings] == [("alias", "v1", "r:1", leads)]
    assert [item.kind for item in book.reconcile(A).discrepancies] == ["index"]
    assert book.reconcile(A, apply=True, operator="ann").settled
    assert book.audit(A).ok
    found = book.order(A, "v1")
    assert found is not None
    assert found.order_id == "r:1"
    assert book.cancel(A, "v1").order_id == "r:1"


def lose_record(book: ReservationBook) -> None:
    statement = "DELETE FROM orders WHERE order_id = 'r:1'"
    tamper(book, statement, lambda shelf: (shelf.orders.pop("r:1"), shelf.working.pop("r:1")))


def venue_orders(*more: VenueOrder) -> tuple[VenueOrder, ...]:
    """What the venue has open when it agrees with the desk."""
    r0 = VenueOrder(
        symbol="SYM", side=Side.BID, lots=2, filled=1, price_ticks=100, hold="0.00001", order_id="r:0", venue_id="v0"
    )
    r1 = VenueOrder(symbol="SYM", side=Side.ASK, lots=3, price_ticks=100, hold="0.00003", order_id="r:1", venue_id="v1")
    return (r0, r1, *more)


def test_i7_a_lost_record_keeps_its_hold_until_the_venue_has_been_asked(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    desk(book, order)
    lose_record(book)
    blind = book.reconcile(A, apply=True)
    assert "record" in {item.kind for item in blind.discrepancies}
    assert not blind.settled
    assert book.account(A).all_units == 47
    clock.advance(60)
    view = VenueView(as_of_us=clock(), orders=venue_orders(), balance=1)
    seen = book.reconcile(A, view, apply=True)
    assert seen.settled
    found = book.order(A, "r:1")
    assert found is not None
    assert (found.state, found.hold, found.flags) == (OrderState.LIVE, 30, ("adopted",))
    assert book.account(A).all_units == 47
    assert book.audit(A).findings == ()


def test_a_lost_record_that_the_venue_has_not_open_is_released(book: ReservationBook, order: Make, clock: Any) -> None:
    desk(book, order)
    lose_record(book)
    clock.advance(60)
    view = VenueView(as_of_us=clock(), orders=venue_orders()[:1])
    assert book.reconcile(A, view, apply=True).settled
    assert book.account(A).all_units == 17
    assert book.audit(A).findings == ()


def run(book: ReservationBook, view: VenueView, expected: list[tuple[str, str, str]]) -> ReconcileReport:
    """Dry run, then apply: (kind, where, state after apply)."""
    before = (book.account(A), book.orders(A, every=True), book.history(A))
    dry = book.reconcile(A, view)
    assert [(item.kind, item.where) for item in dry.discrepancies] == [item[:2] for item in expected]
    assert (book.account(A), book.orders(A, every=True), book.history(A)) == before
    done = book.reconcile(A, view, apply=True)
    assert [(item.kind, item.where, item.state) for item in done.discrepancies] == expected
    assert book.audit(A).findings == ()
    return done


def test_a_view_that_agrees_finds_nothing(proven: ReservationBook, order: Make, clock: Any) -> None:
    desk(proven, order)
    clock.advance(60)
    fills = (VenueFill(fill_id="f", order_id="v0", lots=1),)
    view = VenueView(as_of_us=clock(), orders=venue_orders(), fills=fills, positions={"SYM": 1}, balance=1)
    report = proven.reconcile(A, view)
    assert report.ok
    assert report.unjudged == ()


def test_a_venue_order_without_hold_is_adopted_even_when_free_goes_negative(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    desk(proven, order)
    clock.advance(60)
    stray = VenueOrder(symbol="SYM", side=Side.BID, lots=4, filled=1, price_ticks=9, hold=2, venue_id="v9")
    gone = VenueOrder(symbol="SYM", side=Side.BID, lots=4, price_ticks=9, hold="0.00004", order_id="r:2", venue_id="v2")
    view = VenueView(as_of_us=clock(), orders=venue_orders(stray, gone))
    run(proven, view, [("unheld_order", "v9", "applied"), ("unheld_order", "r:2", "applied")])
    stray_order, gone_order = proven.order(A, "v9"), proven.order(A, "r:2#live")
    assert stray_order is not None
    assert gone_order is not None
    assert (stray_order.lots, stray_order.hold, stray_order.flags) == (3, 1_500_000, ("adopted",))
    assert (gone_order.lots, gone_order.hold) == (4, 40)
    assert proven.account(A).free < 0
    assert proven.reconcile(A, view).ok
    clock.advance(60)
    view = VenueView(as_of_us=clock(), orders=venue_orders())
    run(proven, view, [("ended", "v9", "applied"), ("ended", "r:2#live", "applied")])
    assert proven.account(A).all_units == 47


def test_a_missed_fill_is_booked_once_with_what_the_venue_says_of_it(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    desk(proven, order)
    clock.advance(60)
    fills = (
        VenueFill(fill_id="f", order_id="r:0", lots=1),
        VenueFill(fill_id="g", order_id="v1", lots=2, realised_pnl="-0.1", fee="0.01", margin="0.000008"),
        VenueFill(fill_id="h", order_id="elsewhere", lots=1),
    )
    orders = (venue_orders()[0], VenueOrder(**{**_fields(venue_orders()[1]), "filled": 2}))
    view = VenueView(as_of_us=clock(), orders=orders, fills=fills, positions={"SYM": -1}, balance="0.89")
    run(proven, view, [("missed_fill", "r:1", "applied"), ("fill_of_unknown_order", "elsewhere", "skipped")])
    assert proven.symbols(A)[0].lots == -1
    again = proven.reconcile(A, view, apply=True)
    assert [item.kind for item in again.discrepancies] == ["fill_of_unknown_order"]
    assert str(proven.account(A).balance) == "0.890000"


def _fields(order: VenueOrder) -> dict[str, Any]:
    return {name: getattr(order, name) for name in VenueOrder.__dataclass_fields__}


@pytest.mark.parametrize(("rule", "leg"), [("larger_leg", None), ("hedge_legs", "long")])
def test_an_adopted_order_that_may_only_reduce_is_held_for_like_one_that_was_reserved(
    proven: ReservationBook, order: Make, clock: Any, rule: str, leg: str | None
) -> None:
    proven.open_account(A, "0.000100", rule=rule)
    proven.execute(A, order(lots=3, leg=leg), request_id="x", margin="0.000030")
    stray = [
        VenueOrder(
            symbol="SYM",
            side=Side.ASK,
            lots=lots,
            price_ticks=1,
            hold="0.000200",
            order_id=f"stray {lots}",
            reduce_only=leg is None,
            leg=leg,
        )
        for lots in (2, 4)
    ]
    clock.advance(60)
    view = VenueView(as_of_us=clock(), orders=tuple(stray))
    assert proven.reconcile(A, view, apply=True).settled
    assert [found.hold for found in proven.orders(A)] == [0, 200]
    # The larger leg: four lots to sell at 50 a lot, beside three bought at 10.
    assert proven.account(A).all_units == (50 * 4 if leg is None else 30 + 200)
    assert proven.audit(A).findings == ()
    proven.cancel(A, "stray 4")
    assert proven.account(A).all_units == 30


def test_fills_of_an_adopted_order_are_booked_after_it(proven: ReservationBook, order: Make, clock: Any) -> None:
    proven.open_account(A, 1)
    stray = VenueOrder(symbol="SYM", side=Side.BID, lots=5, filled=2, price_ticks=9, hold="0.00005", venue_id="v9")
    fills = (VenueFill(fill_id="x", order_id="v9", lots=2, margin="0.00002"),)
    view = VenueView(as_of_us=clock(), orders=(stray,), fills=fills, positions={"SYM": 2})
    run(proven, view, [("unheld_order", "v9", "applied"), ("missed_fill", "v9", "applied")])
    found = proven.order(A, "v9")
    assert found is not None
    assert (found.lots, found.filled, found.working, found.hold) == (5, 2, 3, 30)
    assert proven.reconcile(A, view).ok


def test_absence_alone_releases_nothing_in_sent_or_unknown(proven: ReservationBook, order: Make, clock: Any) -> None:
    proven.open_account(A, 1)
    until = clock() + 7_200_000_000
    proven.reserve(A, [order(hold=1, order_id="held")], request_id="1", deadline_us=9 * 10**15)
    proven.reserve(A, [order(hold=2, order_id="sent")], request_id="2", send="caller", deadline_us=9 * 10**15)
    proven.reserve(A, [order(hold=4, order_id="lost")], request_id="3", send="caller")
    proven.reserve(A, [order(hold=8, order_id="timed")], request_id="4", send="caller", good_till_us=until)
    clock.advance(3_600)
    proven.sweep(A)
    clock.advance(60)
    view = VenueView(as_of_us=clock())
    run(proven, view, [("absent", "sent", "skipped"), ("absent", "lost", "skipped"), ("absent", "timed", "skipped")])
    assert proven.account(A).all_units == 15
    clock.advance(3_600)
    view = VenueView(as_of_us=clock())
    run(proven, view, [("absent", "sent", "skipped"), ("absent", "lost", "skipped"), ("absent", "timed", "applied")])
    assert proven.account(A).all_units == 7


def test_open_at_the_venue_ends_sent_unknown_and_an_open_amendment(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    proven.reserve(A, [order(lots=2, hold=2, order_id="sent")], request_id="1", send="caller", deadline_us=9 * 10**15)
    proven.reserve(A, [order(lots=2, hold=4, order_id="grown")], request_id="2", send="caller")
    proven.acknowledge(A, "grown", "v2")
    proven.amend(A, "grown", 5, "0.00001", event_id="a", deadline_us=9 * 10**15)
    clock.advance(60)
    both = [
        VenueOrder(symbol="SYM", side=Side.BID, lots=lots, price_ticks=100, hold=0, order_id=name, venue_id=venue_id)
        for name, lots, venue_id in (("sent", 2, "v1"), ("grown", 5, "v2"))
    ]
    view = VenueView(as_of_us=clock(), orders=tuple(both))
    run(proven, view, [("unacknowledged", "sent", "applied"), ("amended", "grown", "applied")])
    assert [(found.state, found.lots) for found in proven.orders(A)] == [(OrderState.LIVE, 2), (OrderState.LIVE, 5)]
    assert proven.order(A, "v1") is not None


def test_only_orders_unchanged_before_the_view_are_judged(proven: ReservationBook, order: Make, clock: Any) -> None:
    desk(proven, order)
    clock.advance(4)
    view = VenueView(as_of_us=clock())
    report = proven.reconcile(A, view, apply=True)
    assert report.ok
    assert report.unjudged == ("r:0", "r:1")
    # A venue whose clock is ahead makes nothing older than it is.
    assert proven.reconcile(A, VenueView(as_of_us=clock() + 10**9), apply=True).unjudged == ("r:0", "r:1")
    clock.advance(1)
    late = proven.reconcile(A, VenueView(as_of_us=clock()), grace_ms=5_000)
    assert [item.where for item in late.discrepancies] == ["r:0", "r:1"]


def test_what_changes_between_the_look_and_the_repair_is_skipped(
    book: ReservationBook, order: Make, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk(book, order)
    tamper(book, "UPDATE accounts SET all_units = all_units - 9", held(all_units=-9))
    clock.advance(60)
    from equipoise.reservation import reconciling

    whole = reconciling.beside_venue

    def slow(*values: Any) -> Any:
        plans = whole(*values)
        book.acknowledge(A, "r:1", "v1-again")  # somebody is faster
        return plans

    monkeypatch.setattr(reconciling, "beside_venue", slow)
    view = VenueView(as_of_us=clock(), orders=venue_orders()[:1])
    report = book.reconcile(A, view, apply=True)
    assert [(item.kind, item.state, item.note) for item in report.discrepancies] == [
        ("totals", "skipped", "changed since it was looked at"),
        ("ended", "skipped", "changed since it was looked at"),
    ]
    found = book.order(A, "r:1")
    assert found is not None
    assert found.state is OrderState.LIVE


def test_positions_and_quantities_are_reported_and_a_balance_is_booked_as_venue_sync(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    desk(proven, order)
    clock.advance(60)
    orders = (VenueOrder(**{**_fields(venue_orders()[0]), "lots": 9, "filled": 2}), venue_orders()[1])
    view = VenueView(as_of_us=clock(), orders=orders, positions={"SYM": 2, "B": 1}, balance="1.25")
    expected = [
        ("quantity", "r:0", "skipped"),
        ("fills_missing", "r:0", "skipped"),
        ("position", "B", "skipped"),
        ("position", "SYM", "skipped"),
        # A fill that is still to come may be all that the balance lacks.
        ("balance", A, "skipped"),
    ]
    run(proven, view, expected)
    assert str(proven.account(A).balance) == "1.000000"
    orders = (VenueOrder(**{**_fields(venue_orders()[0]), "lots": 9}), venue_orders()[1])
    view = VenueView(as_of_us=clock(), orders=orders, positions={"SYM": 1}, balance="1.25")
    run(proven, view, [("quantity", "r:0", "skipped"), ("balance", A, "applied")])
    assert str(proven.account(A).balance) == "1.250000"
    assert dict(proven.history(A)[-1].details)["kind"] == "venue_sync"


def test_a_recovering_account_grants_again_once_all_is_settled(book: ReservationBook, order: Make, clock: Any) -> None:
    desk(book, order)
    status = AccountStatus.RECOVERING
    tamper(
        book,
        "UPDATE accounts SET status = 'RECOVERING', all_units = all_units - 9",
        lambda shelf: setattr(shelf, "held", shelf.held._replace(status=status, all_units=shelf.held.all_units - 9)),
    )
    clock.advance(60)
    assert book.reserve(A, [order(hold=1)], request_id="n").code is Code.ACCOUNT_RECOVERING
    assert [item.kind for item in book.reconcile(A).discrepancies] == ["totals"]
    view = VenueView(as_of_us=clock(), orders=venue_orders(), positions={"SYM": 1})
    report = book.reconcile(A, view, apply=True)
    assert [(item.kind, item.state) for item in report.discrepancies] == [
        ("totals", "applied"),
        ("recovering", "applied"),
    ]
    assert book.reserve(A, [order(hold=1)], request_id="n").ok


def test_a_recovering_account_grants_again_only_by_a_view_that_shows_everything_that_may_be_lost(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    desk(proven, order)
    set_status(proven, AccountStatus.RECOVERING)
    early = clock() + 1
    clock.advance(60)
    at, positions = clock(), {"SYM": 1}
    traded = (VenueOrder(**{**_fields(venue_orders()[0]), "filled": 2}), venue_orders()[1])
    grown = (VenueOrder(**{**_fields(venue_orders()[0]), "lots": 3}), venue_orders()[1])
    nameless = VenueOrder(symbol="SYM", side=Side.BID, lots=1, price_ticks=100, hold="0.00001")
    stranger = (VenueFill(fill_id="x", order_id="elsewhere", lots=1),)
    repaired = "not everything found is repaired"
    views = [
        (VenueView(as_of_us=0, orders=venue_orders(), positions=positions), "the view is not later than the promotion"),
        (
            VenueView(as_of_us=early, orders=venue_orders(), positions=positions),
            "orders changed too shortly before the view to be judged by it",
        ),
        (
            VenueView(as_of_us=at, orders=venue_orders()),
            "a view without positions does not show fills that were lost",
        ),
        (VenueView(as_of_us=at, orders=traded, positions=positions), repaired),
        (VenueView(as_of_us=at, orders=grown, positions=positions), repaired),
        (VenueView(as_of_us=at, orders=venue_orders(nameless), positions=positions), repaired),
        (VenueView(as_of_us=at, orders=venue_orders(), fills=stranger, positions=positions), repaired),
        (VenueView(as_of_us=at, orders=venue_orders(), positions={"SYM": 2}), repaired),
        # The fill of an order that has ended at the venue is lost: only the position says so.
        (VenueView(as_of_us=at, orders=venue_orders(), positions={}), repaired),
    ]
    for view, why in views:
        report = proven.reconcile(A, view, apply=True)
        item = report.discrepancies[-1]
        assert (item.kind, item.expected, item.found) == ("recovering", "ACTIVE", "RECOVERING")
        assert (item.state, item.note, report.settled) == ("skipped", why, False)
        assert proven.account(A).status is AccountStatus.RECOVERING
        assert proven.claim(A, "w:0", event_id="c").code is Code.ACCOUNT_RECOVERING
    assert not proven.reconcile(A, apply=True).discrepancies
    assert proven.reserve(A, [order(hold=1)], request_id="n").code is Code.ACCOUNT_RECOVERING
    # An order that the venue has not open and that may still arrive there stays held: it is no obstacle.
    sent = [order(hold=3, order_id="sent")]
    set_status(proven, AccountStatus.ACTIVE)
    assert proven.reserve(A, sent, request_id="s", send="caller", deadline_us=9 * 10**15).ok
    set_status(proven, AccountStatus.RECOVERING)
    clock.advance(60)
    report = proven.reconcile(A, VenueView(as_of_us=clock(), orders=venue_orders(), positions=positions), apply=True)
    assert [(item.kind, item.state) for item in report.discrepancies] == [
        ("absent", "skipped"),
        ("recovering", "applied"),
    ]
    assert proven.reserve(A, [order(hold=1)], request_id="n").ok


def test_a_suspension_and_a_recovery_do_not_lift_each_other(proven: ReservationBook, order: Make, clock: Any) -> None:
    desk(proven, order)
    clock.advance(10)
    view = VenueView(as_of_us=clock(), orders=venue_orders(), positions={"SYM": 1})

    def ask(number: int, status: AccountStatus) -> tuple[Code, Code]:
        assert proven.account(A).status is status
        grown = proven.reserve(A, [order(hold=1)], request_id=f"n{number}").code
        return grown, proven.claim(A, "w:0", event_id=f"c{number}").code

    both, recovering = AccountStatus.SUSPENDED_RECOVERING, AccountStatus.RECOVERING
    set_status(proven, recovering)
    assert proven.suspend(A, request_id="on").ok
    assert ask(1, both) == (Code.ACCOUNT_SUSPENDED, Code.ACCOUNT_RECOVERING)
    assert proven.suspend(A, False, request_id="off").ok
    assert ask(2, recovering) == (Code.ACCOUNT_RECOVERING, Code.ACCOUNT_RECOVERING)
    assert proven.suspend(A, request_id="on again").ok
    assert dict(proven.history(A)[-1].details)["status"] == "SUSPENDED_RECOVERING"
    assert [item.expected for item in proven.reconcile(A, view).discrepancies] == ["SUSPENDED"]
    assert proven.reconcile(A, view, apply=True).settled
    assert ask(3, AccountStatus.SUSPENDED) == (Code.ACCOUNT_SUSPENDED, Code.OK)
    assert proven.suspend(A, False, request_id="off again").ok
    assert ask(4, AccountStatus.ACTIVE) == (Code.OK, Code.ILLEGAL_TRANSITION)


@pytest.mark.parametrize("rule", ["worst_side", "larger_leg"])
def test_symbols_of_every_rule_are_summed_anew(book: ReservationBook, order: Make, rule: str) -> None:
    desk(book, order, rule)
    # One that may only reduce and fits, and one that does not and is charged.
    reduce = [order("ask", lots, 60, reduce_only=True, order_id=f"reduce {lots}") for lots in (1, 5)]
    assert [item.hold for item in book.reserve(A, reduce, request_id="s").orders] == [0, 60]
    before = (book.account(A).totals, book.symbols(A))
    tamper(
        book,
        "UPDATE symbols SET bid_lots = 0, hold_asks = 0, rate_orders = 0",
        lambda shelf: shelf.rows.update(
            {k: r._replace(bid_lots=0, hold_asks=0, rate_orders=0) for k, r in shelf.rows.items()}
        ),
    )
    tamper(book, "DELETE FROM rates", lambda shelf: shelf.rates.clear())
    assert not book.audit(A).ok
    assert book.reconcile(A, apply=True).settled
    assert (book.account(A).totals, book.symbols(A)) == before
    assert book.audit(A).findings == ()
    for name in ("r:1", "reduce 1", "reduce 5"):
        book.cancel(A, name)
        assert book.audit(A).findings == ()


def test_tickets_are_summed_anew(book: ReservationBook, order: Make) -> None:
    book.open_account(A, 1, rule="larger_leg", positions="tickets")
    book.execute(A, order(lots=2, hold=9, order_id="t"), request_id="x")
    book.reserve(A, [order(lots=2, hold=10)], request_id="r")
    before = (book.account(A).totals, book.symbols(A))
    tamper(book, "UPDATE symbols SET long_lots = 1, margin = 1", rows(long_lots=-1, margin=-8))
    assert book.reconcile(A, apply=True).settled
    assert (book.account(A).totals, book.symbols(A)) == before
    assert book.audit(A).findings == ()


def test_a_report_reads_as_plain_values(proven: ReservationBook, order: Make, clock: Any) -> None:
    import json

    desk(proven, order)
    clock.advance(60)
    report = proven.reconcile(A, VenueView(as_of_us=clock(), orders=venue_orders(), balance=2))
    said = json.loads(json.dumps(report.to_dict()))
    assert said["discrepancies"][0]["kind"] == "balance"
    assert (said["ok"], said["applied"], said["settled"]) == (False, False, False)
