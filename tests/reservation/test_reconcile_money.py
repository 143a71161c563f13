"""Reconcile never frees what it cannot tell, and books nothing of the venue's twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from equipoise.orders import Order, Side
from equipoise.reservation import (
    Code,
    OrderState,
    ReservationBook,
    VenueFill,
    VenueOrder,
    VenueView,
    reconciling,
)

A = "acc"
Make = Callable[..., Order]


def spoil(book: ReservationBook, change: Callable[[Any], object], statement: str, *words: str) -> None:
    """One change behind the book's back: of what memory keeps, of a file's rows, or of a server's keys."""
    if hasattr(book, "_shelves"):
        change(book._shelves[A])
    elif hasattr(book, "_links"):
        book._command(A, *words)  # type: ignore[attr-defined]
    else:
        book._ready().execute(statement).fetchall()  # type: ignore[attr-defined]


def trade(book: ReservationBook, order: Make, **terms: Any) -> None:
    """Ten lots of SYM that take 0.0004 of 0.001, and an order of five."""
    book.open_account(A, "0.001", **terms)
    book.reserve(A, [order(lots=10, hold=400, order_id="X")], request_id="r", send="caller")
    book.fill(A, "X", 10, fill_id="f", margin="0.0004")
    book.reserve(A, [order(lots=5, hold=5, order_id="Y")], request_id="y", send="caller")


def lose_symbol(book: ReservationBook) -> None:
    spoil(book, lambda shelf: shelf.rows.clear(), "DELETE FROM symbols", "DEL", "user_symbols:{acc}")


def lose_ticket(book: ReservationBook) -> None:
    statement = "DELETE FROM orders WHERE order_id = 'X'"
    spoil(book, lambda shelf: shelf.orders.pop("X"), statement, "DEL", "user_holdings:{acc}:X")


def is_full(book: ReservationBook, order: Make) -> None:
    """Neither the position's margin nor the hold has come free."""
    assert book.account(A).all_units == 405
    assert book.reserve(A, [order(hold=596)], request_id="more").code is Code.INSUFFICIENT_MARGIN


@pytest.mark.parametrize("traded", [False, True])
@pytest.mark.parametrize("send", ["caller", "claim", "outbox"])
def test_i8_a_request_whose_order_is_lost_is_not_granted_again(
    book: ReservationBook, order: Make, send: Any, traded: bool
) -> None:
    book.open_account(A, "0.001")
    ask = [order(hold=60)]
    first = book.reserve(A, ask, request_id="r", send=send)
    if traded:
        book.fill(A, "r:0", 1, fill_id="f", margin="0.00006")
    statement = "DELETE FROM orders WHERE order_id = 'r:0'"
    spoil(book, lambda shelf: shelf.orders.pop("r:0"), statement, "DEL", "user_holdings:{acc}:r:0")
    for _ in range(2):
        again = book.reserve(A, ask, request_id="r", send=send)
        assert (again.code, again.version) == (Code.DUPLICATE, first.version)
        assert book.account(A).all_units == 60
        report = book.reconcile(A, apply=True)
        # Of one that may rest at the venue nobody has said what became of it.
        assert traded or not report.ok


def test_i7_a_lost_symbol_is_restored_with_the_position_that_the_journal_has(
    book: ReservationBook, order: Make
) -> None:
    trade(book, order)
    lose_symbol(book)
    report = book.reconcile(A, apply=True)
    assert report.settled
    assert book.audit(A).findings == ()
    assert [(row.symbol, row.lots, row.margin) for row in book.symbols(A)] == [("SYM", 10, 400)]
    is_full(book, order)
    # On the way the totals have never been less.
    assert {record.after.all for record in book.history(A, after_version=4)} == {405}
    # And that is the end of it: what is found later is repaired as ever.
    spoil(
        book,
        lambda shelf: shelf.owners.update(ann=1),
        "INSERT INTO owners VALUES ('acc', 'ann', 1)",
        "HSET",
        "user_owners:{acc}",
        "ann",
        "1",
    )
    assert book.reconcile(A, apply=True).settled
    assert book.audit(A).findings == ()


def test_i7_a_lost_symbol_that_no_journal_tells_keeps_what_it_takes(book: ReservationBook, order: Make) -> None:
    trade(book, order)
    lose_symbol(book)
    statement = "DELETE FROM journal WHERE version = 2"
    spoil(book, lambda shelf: shelf.journal.pop(1), statement, "XDEL", "user_journal:{acc}", "2-0")
    # What else is off is put right meanwhile.
    statement = "INSERT INTO aliases VALUES ('acc', 'ghost', 'nobody')"
    spoil(
        book,
        lambda shelf: shelf.aliases.update(ghost="nobody"),
        statement,
        "HSET",
        "user_aliases:{acc}",
        "ghost",
        "nobody",
    )
    for _ in range(2):
        assert not book.reconcile(A, apply=True).settled
        is_full(book, order)


def test_i7_a_lost_ticket_keeps_what_its_position_takes_whatever_the_venue_has_open(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    trade(book, order, positions="tickets")
    clock.advance(60)
    lose_ticket(book)
    still = VenueOrder(symbol="SYM", side=Side.BID, lots=5, price_ticks=100, hold="0.000005", order_id="Y")
    for view in (None, VenueView(as_of_us=clock(), orders=(still,)), None):
        report = book.reconcile(A, view, apply=True)
        assert not report.settled
        (record,) = [item for item in report.discrepancies if item.kind == "record"]
        assert (record.where, record.state) == ("X", "skipped")
        is_full(book, order)
    assert not book.audit(A).ok


def test_what_a_ticket_owns_is_what_the_journal_has(book: ReservationBook, order: Make) -> None:
    trade(book, order, positions="tickets")
    spoil(
        book,
        lambda shelf: shelf.put(shelf.order("X")._replace(margin=0)),
        "UPDATE orders SET margin = 0 WHERE order_id = 'X'",
        "HDEL",
        "user_holdings:{acc}:X",
        "margin",
    )
    assert not book.audit(A).ok
    assert book.reconcile(A, apply=True).settled
    assert book.audit(A).findings == ()
    is_full(book, order)


def test_a_report_says_settled_only_when_nothing_contradicts(book: ReservationBook, order: Make) -> None:
    trade(book, order)
    book.cancel(A, "Y")
    spoil(
        book,
        lambda shelf: shelf.orders.pop("Y"),
        "DELETE FROM orders WHERE order_id = 'Y'",
        "DEL",
        "user_holdings:{acc}:Y",
    )
    assert not book.audit(A).ok
    assert book.reconcile(A, apply=True).settled
    assert book.audit(A).findings == ()


def test_a_balance_that_moved_after_the_view_is_not_set_back(proven: ReservationBook, order: Make, clock: Any) -> None:
    proven.open_account(A, 1000)
    clock.advance(60)
    view = VenueView(as_of_us=clock(), balance=1000)
    clock.advance(1)
    proven.deposit(A, 500, request_id="d")
    report = proven.reconcile(A, view, apply=True)
    assert [(item.kind, item.state) for item in report.discrepancies] == [("balance", "skipped")]
    assert proven.account(A).balance == 1500
    # Nor one that moved shortly before: the venue's clock is another one.
    clock.advance(1)
    assert not proven.reconcile(A, VenueView(as_of_us=clock(), balance=1000), apply=True).settled
    clock.advance(60)
    assert proven.reconcile(A, VenueView(as_of_us=clock(), balance=1499), apply=True).settled
    assert proven.account(A).balance == 1499


def test_a_balance_that_moves_between_the_look_and_the_repair_is_left(
    proven: ReservationBook, order: Make, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven.open_account(A, 1000)
    clock.advance(60)
    whole = reconciling.beside_venue

    def slow(*values: Any) -> Any:
        plans = whole(*values)
        proven.withdraw(A, 400, request_id="w")  # somebody is faster
        return plans

    monkeypatch.setattr(reconciling, "beside_venue", slow)
    report = proven.reconcile(A, VenueView(as_of_us=clock(), balance="999.99"), apply=True)
    (item,) = report.discrepancies
    assert (item.kind, item.state, item.note) == ("balance", "skipped", "changed since it was looked at")
    assert proven.account(A).balance == 600


def test_an_order_that_is_open_at_the_venue_again_and_again_is_held_each_time(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    proven.reserve(A, [order(lots=10, hold=100, order_id="X")], request_id="r", send="caller")
    proven.acknowledge(A, "X", "V")
    there = VenueOrder(symbol="SYM", side=Side.BID, lots=10, price_ticks=100, hold="0.0001", order_id="X", venue_id="V")
    for turn in range(4):
        for orders, held in (((there,), 100), ((), 0)):
            clock.advance(60)
            report = proven.reconcile(A, VenueView(as_of_us=clock(), orders=orders), apply=True)
            assert report.settled, turn
            assert proven.account(A).all_units == held, turn
            assert proven.reconcile(A, VenueView(as_of_us=clock(), orders=orders)).ok, turn
    assert len(proven.orders(A, every=True)) == 4


@pytest.mark.parametrize("booked_before", [False, True])
@pytest.mark.parametrize(("name", "client_id"), [("X", "X"), ("V", None)])
def test_an_order_that_has_ended_keeps_its_venue_id_and_its_fills_are_booked_once(
    proven: ReservationBook, order: Make, clock: Any, name: str, client_id: str | None, booked_before: bool
) -> None:
    proven.open_account(A, 1)
    proven.reserve(A, [order(lots=10, hold=100, order_id=name)], request_id="r", send="caller")
    proven.acknowledge(A, name, "V")
    if booked_before:
        proven.fill(A, "V", 2, fill_id="F", fee="0.1", margin="0.00002")
    proven.cancel(A, name)
    terms: dict[str, Any] = {"symbol": "SYM", "side": Side.BID, "lots": 10, "price_ticks": 100, "hold": "0.0001"}
    there = VenueOrder(order_id=client_id, venue_id="V", filled=2, **terms)
    fills = (VenueFill(fill_id="F", order_id="V", lots=2, fee="0.1", margin="0.00002"),)
    for _ in range(3):
        clock.advance(60)
        view = VenueView(as_of_us=clock(), orders=(there,), fills=fills, positions={"SYM": 2}, balance="0.9")
        assert proven.reconcile(A, view, apply=True).settled
        assert proven.symbols(A)[0].lots == 2
        assert proven.account(A).all_units == 100
    assert proven.fill(A, "V", 2, fill_id="F", fee="0.1", margin="0.00002").code is Code.DUPLICATE
    # Once the one before is gone, what comes for the venue's order comes for the one in its place.
    clock.advance(90_000)
    proven.archive(A)
    assert [found.order_id for found in proven.orders(A, every=True)] == [f"{name}#live"]
    assert proven.audit(A).findings == ()
    partly = VenueOrder(order_id=client_id, venue_id="V", filled=4, **terms)
    more = (VenueFill(fill_id="G", order_id="V", lots=2, margin="0.00002"),)
    for _ in range(2):
        clock.advance(60)
        view = VenueView(as_of_us=clock(), orders=(partly,), fills=more, positions={"SYM": 4})
        assert proven.reconcile(A, view, apply=True).settled
        assert (proven.symbols(A)[0].lots, len(proven.orders(A, every=True))) == (4, 1)


def test_a_fill_that_names_its_order_by_a_venue_id_of_the_same_view_is_booked_once(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1000)
    proven.reserve(A, [order(lots=10, hold=100, order_id="X")], request_id="r", send="caller")
    proven.acknowledge(A, "X")
    clock.advance(60)
    there = VenueOrder(
        symbol="SYM",
        side=Side.BID,
        lots=10,
        filled=4,
        price_ticks=100,
        hold="0.0001",
        order_id="X",
        venue_id="V",
    )
    fill = VenueFill(fill_id="f", order_id="V", lots=4, margin="0.00004", fee=1)
    view = VenueView(as_of_us=clock(), orders=(there,), fills=(fill, fill), positions={"SYM": 4}, balance=999)
    assert [item.kind for item in proven.reconcile(A, view).discrepancies] == ["missed_fill"]
    assert proven.reconcile(A, view, apply=True).settled
    assert (proven.account(A).balance, proven.symbols(A)[0].lots) == (999, 4)
    assert proven.reconcile(A, view).ok
    found = proven.order(A, "X")
    assert found is not None
    assert (found.filled, found.state) == (4, OrderState.LIVE)


def test_a_ticket_whose_venue_id_went_to_an_order_that_is_gone_contradicts_nothing(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1, positions="tickets")
    proven.reserve(A, [order(lots=4, hold=40, order_id="X")], request_id="r", send="caller")
    proven.acknowledge(A, "X", "V")
    proven.fill(A, "X", 4, fill_id="f")
    there = VenueOrder(symbol="SYM", side=Side.BID, lots=4, price_ticks=100, hold="0.00004", order_id="X", venue_id="V")
    for orders in ((there,), ()):
        clock.advance(60)
        assert proven.reconcile(A, VenueView(as_of_us=clock(), orders=orders), apply=True).settled
    clock.advance(90_000)
    proven.archive(A)
    assert [found.order_id for found in proven.orders(A, every=True)] == ["X"]
    assert proven.audit(A).findings == ()
    assert proven.close(A, "X", event_id="c", realised_pnl=0).state is OrderState.CLOSED


def test_an_open_result_without_a_position_is_taken_off(book: ReservationBook, order: Make) -> None:
    trade(book, order)
    book.reserve(A, [order("ask", lots=10, hold=0, order_id="Z")], request_id="z", send="caller")
    book.fill(A, "Z", 10, fill_id="f", realised_pnl=0)
    spoil(
        book,
        lambda shelf: shelf.rows.update({("SYM", ""): shelf.rows["SYM", ""]._replace(open_pnl=-29)}),
        "UPDATE symbols SET open_pnl = -29",
        "HSET",
        "user_symbols:{acc}",
        "SYM",
        "0 0 5 0 5 0 0 0 0 0 0 0 -29 -1 -1",
    )
    assert not book.audit(A).ok
    assert book.reconcile(A, apply=True).settled
    assert book.audit(A).findings == ()
    assert book.account(A).open_pnl_units == 0


def test_i7_a_lost_symbol_that_began_anew_keeps_what_its_position_took(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    trade(book, order)
    lose_symbol(book)
    assert book.reserve(A, [order(hold=1)], request_id="anew").ok
    for _ in range(3):
        clock.advance(60)
        assert not book.reconcile(A, apply=True).settled
        assert book.account(A).all_units >= 405
    assert book.reserve(A, [order(hold=700)], request_id="more").code is Code.INSUFFICIENT_MARGIN


def test_i7_a_lost_record_is_not_released_by_a_view_from_before_it(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    book.open_account(A, "0.001")
    clock.advance(60)
    early = VenueView(as_of_us=clock())
    clock.advance(60)
    book.reserve(A, [order(lots=10, hold=400, order_id="X")], request_id="r", send="caller")
    lose_ticket(book)
    assert not book.reconcile(A, early, apply=True).settled
    assert not book.reconcile(A, VenueView(as_of_us=clock()), apply=True).settled, "nor by one from the same moment"
    assert book.account(A).all_units == 400
    clock.advance(60)
    assert book.reconcile(A, VenueView(as_of_us=clock()), apply=True).settled
    assert book.account(A).all_units == 0
    assert book.audit(A).findings == ()


def test_i7_a_lost_record_is_held_for_again_before_its_hold_is_let_go(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    book.open_account(A, "0.001")
    book.reserve(A, [order(lots=10, hold=400, order_id="X")], request_id="r", send="caller")
    lose_ticket(book)
    clock.advance(60)
    there = VenueOrder(symbol="SYM", side=Side.BID, lots=10, price_ticks=100, hold="0.0004", order_id="X")
    assert book.reconcile(A, VenueView(as_of_us=clock(), orders=(there,)), apply=True).settled
    assert book.account(A).all_units == 400
    assert book.audit(A).findings == ()
    assert min(record.after.all for record in book.history(A, after_version=2)) == 400


def test_i7_what_nothing_tells_of_any_more_stays_held_until_the_venue_is_asked(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    book.open_account(A, "0.001")
    book.reserve(A, [order(lots=10, hold=400, order_id="X")], request_id="r", send="caller")
    lose_ticket(book)
    statement = "DELETE FROM journal WHERE version = 2"
    spoil(book, lambda shelf: shelf.journal.pop(1), statement, "XDEL", "user_journal:{acc}", "2-0")
    for _ in range(2):
        assert not book.reconcile(A, apply=True).settled
        assert book.account(A).all_units == 400


def test_a_balance_waits_for_positions_while_a_fill_may_be_on_its_way(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1000)
    proven.reserve(A, [order(lots=10, hold=100, order_id="X")], request_id="r", send="caller")
    clock.advance(60)
    there = VenueOrder(symbol="SYM", side=Side.BID, lots=10, filled=3, price_ticks=1, hold=0, order_id="X")
    for orders in ((), (there,)):
        view = VenueView(as_of_us=clock(), orders=orders, balance=997)
        report = proven.reconcile(A, view, apply=True)
        assert [item.state for item in report.discrepancies if item.kind == "balance"] == ["skipped"]
    assert proven.account(A).balance == 1000
    proven.cancel(A, "X")
    clock.advance(60)
    assert proven.reconcile(A, VenueView(as_of_us=clock(), balance=997), apply=True).settled
    assert proven.account(A).balance == 997


def test_i7_an_order_that_is_mended_does_not_begin_a_lost_symbol_anew(book: ReservationBook, order: Make) -> None:
    trade(book, order)
    lose_symbol(book)
    statement = "DELETE FROM journal WHERE version = 2"
    spoil(book, lambda shelf: shelf.journal.pop(1), statement, "XDEL", "user_journal:{acc}", "2-0")
    spoil(
        book,
        lambda shelf: shelf.put(shelf.order("Y")._replace(hold=4)),
        "UPDATE orders SET hold = 4 WHERE order_id = 'Y'",
        "HSET",
        "user_holdings:{acc}:Y",
        "reserved_margin",
        "4",
    )
    for _ in range(3):
        assert not book.reconcile(A, apply=True).settled
        assert book.symbols(A) == ()
        assert book.account(A).all_units == 405


def test_margin_without_a_position_is_taken_off_although_the_journal_has_a_gap(
    book: ReservationBook, order: Make
) -> None:
    book.open_account(A, 1)
    book.reserve(A, [order(hold=5, order_id="X")], request_id="r", send="caller")
    book.cancel(A, "X")
    statement = "DELETE FROM journal WHERE version = 2"
    spoil(book, lambda shelf: shelf.journal.pop(1), statement, "XDEL", "user_journal:{acc}", "2-0")
    spoil(
        book,
        lambda shelf: shelf.rows.update({("SYM", ""): shelf.rows["SYM", ""]._replace(margin=7)}),
        "UPDATE symbols SET margin = 7",
        "HSET",
        "user_symbols:{acc}",
        "SYM",
        "0 7 0 0 0 0 0 0 0 0 0 0 0 -1 -1",
    )
    assert book.reconcile(A, apply=True).settled
    assert book.audit(A).findings == ()
    assert book.account(A).all_units == 0


def test_a_balance_waits_for_a_fill_that_could_not_be_booked(proven: ReservationBook, order: Make, clock: Any) -> None:
    proven.open_account(A, 1000)
    proven.reserve(A, [order(lots=10, hold=100, order_id="X")], request_id="r", send="caller")
    proven.acknowledge(A, "X")
    clock.advance(60)
    there = VenueOrder(symbol="SYM", side=Side.BID, lots=10, filled=4, price_ticks=100, hold="0.0001", order_id="X")
    beyond = VenueFill(fill_id="f", order_id="X", lots=4, margin="9007199254.74099", fee=1)
    view = VenueView(as_of_us=clock(), orders=(there,), fills=(beyond,), positions={"SYM": 4}, balance=995)
    report = proven.reconcile(A, view, apply=True)
    assert [(item.kind, item.state, item.note) for item in report.discrepancies] == [
        ("missed_fill", "skipped", "AMOUNT_OVERFLOW"),
        ("balance", "skipped", "waits for a fill that is not booked"),
    ]
    assert proven.account(A).balance == 1000


def test_a_step_that_meets_what_could_not_be_put_right_is_skipped_and_the_rest_is_done(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    trade(book, order)
    book.acknowledge(A, "Y")
    book.reserve(A, [order(lots=1, hold=1, order_id="Z", symbol="OTHER")], request_id="z", send="caller")
    clock.advance(60)
    lose_symbol(book)
    for version in (2, 5):
        spoil(
            book,
            lambda shelf, gone=version: shelf.journal.remove(next(kept for kept in shelf.journal if kept[0] == gone)),
            f"DELETE FROM journal WHERE version = {version}",
            "XDEL",
            "user_journal:{acc}",
            f"{version}-0",
        )
    # Y ended at the venue, Z is open: nobody knows any more what SYM takes.
    still = VenueOrder(symbol="OTHER", side=Side.BID, lots=1, price_ticks=100, hold="0.000001", order_id="Z")
    report = book.reconcile(A, VenueView(as_of_us=clock(), orders=(still,)), apply=True)
    states = {(item.kind, item.where): item.state for item in report.discrepancies}
    assert states["ended", "Y"] == "skipped"
    assert states["unacknowledged", "Z"] == "applied"
    assert book.account(A).all_units == 406


def test_a_balance_waits_for_a_fill_that_meets_what_could_not_be_put_right(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    book.open_account(A, 1_000)
    book.reserve(A, [order(lots=10, hold=400, order_id="X")], request_id="r", send="caller")
    clock.advance(60)
    lose_symbol(book)
    statement = "DELETE FROM journal WHERE version = 2"
    spoil(book, lambda shelf: shelf.journal.pop(1), statement, "XDEL", "user_journal:{acc}", "2-0")
    still = VenueOrder(symbol="SYM", side=Side.BID, lots=10, filled=2, price_ticks=100, hold="0.0004", order_id="X")
    fill = VenueFill(fill_id="f", order_id="X", lots=2, margin="0.00008", fee="0.1")
    view = VenueView(as_of_us=clock(), orders=(still,), fills=(fill,), positions={"SYM": 2}, balance="1004.9")
    states = {item.kind: item.state for item in book.reconcile(A, view, apply=True).discrepancies}
    assert (states["missed_fill"], states["balance"]) == ("skipped", "skipped")
    assert book.account(A).balance == 1_000


def test_validity_that_passed_after_the_view_is_no_evidence(proven: ReservationBook, order: Make, clock: Any) -> None:
    proven.open_account(A, 1)
    deadline, good_till = clock() + 5_000_000, clock() + 60_000_000
    lots = [order(lots=6, hold=600, order_id="X")]
    proven.reserve(A, lots, request_id="r", send="caller", deadline_us=deadline, good_till_us=good_till)
    clock.advance(10)
    proven.sweep(A)
    clock.advance(20)
    before = VenueView(as_of_us=clock())
    # After it, and while it was valid, the venue may have taken the order.
    clock.advance(60)
    (absent,) = proven.reconcile(A, before, apply=True, grace_ms=0).discrepancies
    assert (absent.kind, absent.state) == ("absent", "skipped")
    assert proven.account(A).all_units == 600
    assert proven.reconcile(A, VenueView(as_of_us=clock()), apply=True, grace_ms=0).settled
    assert proven.account(A).all_units == 0


@pytest.mark.parametrize("first", ["X", "v"])
@pytest.mark.parametrize("then", ["call", "view"])
def test_a_fill_of_an_order_that_was_ended_by_mistake_is_booked_once_by_either_name(
    proven: ReservationBook, order: Make, clock: Any, first: str, then: str
) -> None:
    proven.open_account(A, 1)
    proven.reserve(A, [order(lots=6, hold=600, order_id="X")], request_id="r", send="caller")
    # The acknowledgement is lost, so that the venue's id is not known.
    clock.advance(60)
    proven.sweep(A)
    proven.resolve(A, "X", OrderState.CANCELLED, evidence="operator", event_id="e")
    clock.advance(60)
    still = VenueOrder(symbol="SYM", side=Side.BID, lots=6, price_ticks=100, hold="0.0006", order_id="X", venue_id="v")
    # The steps of one call expect the version that the last of them has left.
    view = VenueView(as_of_us=clock(), orders=(still,), positions={}, balance="1.5")
    assert proven.reconcile(A, view, apply=True).settled
    assert proven.account(A).balance_units == 1_500_000
    again = {"X": "v", "v": "X"}[first]
    assert proven.fill(A, first, 6, fill_id="f", margin="0.0006").ok
    clock.advance(60)
    if then == "call":
        assert proven.fill(A, again, 6, fill_id="f", margin="0.0006").code is Code.DUPLICATE
    fill = VenueFill(fill_id="f", order_id=again, lots=6, margin="0.0006")
    report = proven.reconcile(A, VenueView(as_of_us=clock(), fills=(fill,), positions={"SYM": 6}), apply=True)
    assert [(item.kind, item.where) for item in report.discrepancies] == [("ended", "X#live")]
    assert [row.lots for row in proven.symbols(A)] == [6]
    assert proven.account(A).all_units == 600


def test_an_order_whose_missed_fill_shows_that_it_was_at_the_venue_is_ended_in_one_call(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    proven.reserve(A, [order(lots=6, hold=600, order_id="X")], request_id="r", send="caller")
    clock.advance(60)
    fill = VenueFill(fill_id="f", order_id="X", lots=2, margin="0.0002")
    view = VenueView(as_of_us=clock(), fills=(fill,), positions={"SYM": 2})
    report = proven.reconcile(A, view, apply=True)
    assert [(item.kind, item.state) for item in report.discrepancies] == [
        ("missed_fill", "applied"),
        ("ended", "applied"),
    ]
    assert proven.account(A).all_units == 200
