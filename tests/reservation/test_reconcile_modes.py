"""Reconcile where positions are tickets or legs, where charges are counted, and where more than one thing is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.reservation.test_codes import set_status
from tests.reservation.test_reconcile_money import A, spoil

from equipoise.orders import Order, Side
from equipoise.reservation import AccountStatus, Code, OrderState, ReservationBook, VenueFill, VenueOrder, VenueView

Make = Callable[..., Order]


def lose_order(book: ReservationBook, order_id: str = "X") -> None:
    spoil(
        book,
        lambda shelf: (shelf.orders.pop(order_id), shelf.working.pop(order_id, None)),
        f"DELETE FROM orders WHERE order_id = '{order_id}'",
        "DEL",
        f"user_holdings:{{acc}}:{order_id}",
    )


def lose_journal(book: ReservationBook, version: int) -> None:
    def drop(shelf: Any) -> None:
        shelf.journal[:] = [kept for kept in shelf.journal if kept[0] != version]

    spoil(book, drop, f"DELETE FROM journal WHERE version = {version}", "XDEL", "user_journal:{acc}", f"{version}-0")


def lose_symbols(book: ReservationBook) -> None:
    spoil(book, lambda shelf: shelf.rows.clear(), "DELETE FROM symbols", "DEL", "user_symbols:{acc}")


def misname(book: ReservationBook) -> None:
    """A name that leads nowhere: something that can be put right whatever else is lost."""
    spoil(
        book,
        lambda shelf: shelf.aliases.update(ghost="nobody"),
        "INSERT INTO aliases VALUES ('acc', 'ghost', 'nobody')",
        "HSET",
        "user_aliases:{acc}",
        "ghost",
        "nobody",
    )


def rest(book: ReservationBook, order: Make, balance: str = "0.001", **terms: Any) -> None:
    """Order X, ten lots of SYM that hold 0.0004."""
    book.open_account(A, balance, **terms)
    book.reserve(A, [order(lots=10, hold=400, order_id="X")], request_id="r", send="caller")


def trade(book: ReservationBook, order: Make, lots: int, margin: str, **terms: Any) -> None:
    """And `lots` of it traded."""
    rest(book, order, **terms)
    book.fill(A, "X", lots, fill_id="f", margin=margin)


def at_venue(lots: int = 10, filled: int = 0, **more: Any) -> VenueOrder:
    """Order X as the venue has it, at 40 micro-units a lot."""
    names = more if {"order_id", "venue_id"} & more.keys() else {"order_id": "X", **more}
    hold = f"{40 * lots / 1e6:.6f}"
    return VenueOrder(symbol="SYM", side=Side.BID, lots=lots, filled=filled, price_ticks=100, hold=hold, **names)


def kinds(book: ReservationBook, view: VenueView | None = None) -> list[tuple[str, str, str]]:
    return [(item.kind, item.where, item.state) for item in book.reconcile(A, view, apply=True).discrepancies]


@pytest.mark.parametrize("positions", ["net", "tickets"])
def test_i7_charges_per_lot_of_a_lost_record_are_counted_until_the_venue_is_asked(
    book: ReservationBook, order: Make, positions: str
) -> None:
    terms = {"rule": "larger_leg", "positions": positions}
    if positions == "net":
        rest(book, order, "0.0005", **terms)
    else:
        trade(book, order, 10, "0.0004", balance="0.0005", **terms)
    lose_order(book)
    misname(book)
    versions = []
    for _ in range(2):
        assert not book.reconcile(A, apply=True).settled
        versions.append(book.account(A).version)
    # What can be put right is, once.
    assert versions[0] == versions[1]
    assert not [finding for finding in book.audit(A).findings if finding.kind == "alias"]
    book.reserve(A, [order(hold=1, order_id="Y")], request_id="y")
    # Eleven lots at the highest charge for one, 40.
    assert book.account(A).all_units == 440
    assert book.reserve(A, [order(hold=480, symbol="OTHER")], request_id="z").code is Code.INSUFFICIENT_MARGIN
    # When the one that is there goes, the highest charge is still the other's.
    book.cancel(A, "Y")
    assert book.account(A).all_units == 400


def test_i7_what_an_owner_holds_in_a_lost_record_counts_until_the_venue_is_asked(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    book.open_account(A, 1, owner_margin_max={"ann": "0.0005"})
    book.reserve(A, [order(lots=10, hold=400, order_id="X")], request_id="r", owner="ann", send="caller")
    clock.advance(60)
    lose_order(book)
    misname(book)
    assert not book.reconcile(A, apply=True).settled
    more = [order(hold=450)]
    assert book.reserve(A, more, request_id="a", owner="ann").code is Code.OWNER_LIMIT
    # The venue does not have it.
    assert book.reconcile(A, VenueView(as_of_us=clock()), apply=True).settled
    assert book.reserve(A, more, request_id="b", owner="ann").ok
    assert book.audit(A).findings == ()


def test_all_that_is_derived_is_made_anew_in_one_step(book: ReservationBook, order: Make) -> None:
    rest(book, order)
    misname(book)
    spoil(
        book,
        lambda shelf: shelf.owners.update(ann=1),
        "INSERT INTO owners VALUES ('acc', 'ann', 1)",
        "HSET",
        "user_owners:{acc}",
        "ann",
        "1",
    )
    version = book.account(A).version
    assert kinds(book) == [("index", "alias, owner", "applied")]
    assert book.account(A).version == version + 1
    assert book.audit(A).findings == ()


def test_i7_a_lost_ticket_that_still_works_is_held_for_beside_its_position(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    trade(book, order, 4, "0.0003", positions="tickets")
    clock.advance(60)
    lose_order(book)
    for turn in range(3):
        found = kinds(book, VenueView(as_of_us=clock(), positions={"SYM": 4}, orders=(at_venue(filled=4),)))
        assert ("record", "X", "skipped") in found
        assert (("unheld_order", "X", "applied") in found) == (turn == 0)
        # The position's 300, what the lost record held for six lots, and the same for the order that is held for.
        assert (book.account(A).executed_units, book.account(A).all_units) == (300, 780)
        clock.advance(60)
    kept = book.order(A, "X#live")
    assert kept is not None
    assert (kept.working, kept.hold) == (6, 240)
    # A fill from before, by the name that the order has been given since.
    assert book.acknowledge(A, "X#live", "v").done
    fill = VenueFill(fill_id="f", order_id="v", lots=4, margin="0.0003")
    book.reconcile(A, VenueView(as_of_us=clock(), fills=(fill,)), apply=True)
    assert [row.lots for row in book.symbols(A)] == [4]


def test_a_fill_that_a_lost_ticket_missed_is_booked_on_what_is_held_for_in_its_place(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    trade(book, order, 4, "0.0003", positions="tickets")
    clock.advance(60)
    lose_order(book)
    fill = VenueFill(fill_id="g", order_id="X", lots=1, margin="0.00004")
    view = VenueView(as_of_us=clock(), positions={"SYM": 5}, orders=(at_venue(filled=5),), fills=(fill,))
    for _ in range(2):
        found = kinds(book, view)
        assert not [item for item in found if item[0] in ("position", "fill_of_unknown_order")]
        kept = book.order(A, "X#live")
        assert kept is not None
        assert (kept.working, kept.open_lots, kept.hold) == (5, 1, 200)
        assert [row.lots for row in book.symbols(A)] == [5]


@pytest.mark.parametrize("terms", [{}, {"positions": "tickets"}, {"rule": "hedge_legs", "positions": "hedge"}])
def test_a_fill_that_was_booked_on_a_lost_record_is_not_booked_again(
    book: ReservationBook, order: Make, clock: Any, terms: dict[str, Any]
) -> None:
    leg = "long" if terms.get("positions") == "hedge" else None
    book.open_account(A, 1, **terms)
    book.reserve(A, [order(lots=10, hold=400, order_id="X", leg=leg)], request_id="r", send="caller")
    book.fill(A, "X", 4, fill_id="f", margin="0.00016", fee="0.1")
    before = book.account(A)
    clock.advance(60)
    lose_order(book)
    view = VenueView(
        as_of_us=clock(),
        positions={"SYM" if leg is None else ("SYM", leg): 4},
        orders=(at_venue(filled=4, leg=leg, order_id="X"),),
        fills=(VenueFill(fill_id="f", order_id="X", lots=4, margin="0.00016", fee="0.1"),),
    )
    report = book.reconcile(A, view, apply=True)
    assert not {"missed_fill", "position"} & {item.kind for item in report.discrepancies}
    assert [row.lots for row in book.symbols(A)] == [4]
    assert book.account(A).balance_units == before.balance_units
    if terms.get("positions") != "tickets":
        kept = book.order(A, "X")
        assert kept is not None
        assert (kept.working, kept.hold) == (6, 240)
        assert book.account(A).all_units == before.all_units
        assert report.settled
        assert book.reconcile(A, view).ok


@pytest.mark.parametrize("asked", [False, True])
def test_i7_a_position_that_nothing_tells_of_any_more_keeps_its_margin(
    book: ReservationBook, order: Make, clock: Any, asked: bool
) -> None:
    trade(book, order, 10, "0.0004", positions="tickets")
    book.deposit(A, 1, request_id="d")
    clock.advance(60)
    lose_order(book)
    lose_journal(book, 2)
    lose_journal(book, 3)
    view = VenueView(as_of_us=clock(), positions={"SYM": 10}) if asked else None
    for _ in range(2):
        assert not book.reconcile(A, view, apply=True).settled
        assert (book.account(A).executed_units, book.account(A).all_units) == (400, 400)


@pytest.mark.parametrize("asked", [False, True])
def test_i7_a_leg_that_is_lost_with_its_last_record_keeps_its_margin(
    book: ReservationBook, order: Make, clock: Any, asked: bool
) -> None:
    book.open_account(A, 1, rule="hedge_legs", positions="hedge")
    book.reserve(A, [order(lots=10, hold=400, order_id="X", leg="long")], request_id="r", send="caller")
    book.fill(A, "X", 10, fill_id="f", margin="0.0004")
    clock.advance(60)
    lose_symbols(book)
    lose_journal(book, 3)
    view = VenueView(as_of_us=clock(), positions={("SYM", "long"): 10}) if asked else None
    for _ in range(2):
        assert not book.reconcile(A, view, apply=True).settled
        assert (book.account(A).executed_units, book.account(A).all_units) == (400, 400)


@pytest.mark.parametrize("asked", [False, True])
def test_i7_margin_that_a_symbol_has_lost_stays_where_the_journal_has_a_gap(
    book: ReservationBook, order: Make, clock: Any, asked: bool
) -> None:
    trade(book, order, 10, "0.0004")
    clock.advance(60)
    spoil(
        book,
        lambda shelf: shelf.rows.update({("SYM", ""): shelf.rows["SYM", ""]._replace(margin=1)}),
        "UPDATE symbols SET margin = 1",
        "HSET",
        "user_symbols:{acc}",
        "SYM",
        "10 1 0 0 0 0 0 0 0 0 0 0 0 -1 -1",
    )
    lose_journal(book, 2)
    view = VenueView(as_of_us=clock(), positions={"SYM": 10}) if asked else None
    for _ in range(2):
        assert not book.reconcile(A, view, apply=True).settled
        assert (book.account(A).executed_units, book.account(A).all_units) == (400, 400)


def test_totals_too_high_are_put_right_where_every_record_of_the_journal_is_there(
    book: ReservationBook, order: Make
) -> None:
    """It contradicts itself, and yet names every order: there is nothing that nothing tells of."""
    rest(book, order)
    spoil(
        book,
        lambda shelf: shelf.put(shelf.order("X")._replace(hold=399)),
        "UPDATE orders SET hold = 399 WHERE order_id = 'X'",
        "HSET",
        "user_holdings:{acc}:X",
        "reserved_margin",
        "399",
    )
    book.acknowledge(A, "X", "v")
    spoil(
        book,
        lambda shelf: setattr(shelf, "held", shelf.held._replace(all_units=409)),
        "UPDATE accounts SET all_units = 409",
        "HSET",
        "user_portfolio:{acc}",
        "used_margin_all",
        "409",
    )
    assert "journal_chain" in {finding.kind for finding in book.audit(A).findings}
    assert book.reconcile(A, apply=True).settled
    assert book.account(A).all_units == 400
    assert book.audit(A).findings == ()


def test_i7_a_ticket_that_the_larger_side_hides_stays_where_the_journal_has_a_gap(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    trade(book, order, 10, "0.0004", rule="larger_leg", positions="tickets")
    book.reserve(A, [order(Side.ASK, lots=4, hold=160, order_id="S")], request_id="s", send="caller")
    book.fill(A, "S", 4, fill_id="s", margin="0.00016")
    clock.advance(60)
    lose_order(book, "S")
    lose_journal(book, 4)
    lose_journal(book, 5)
    view = VenueView(as_of_us=clock(), positions={("SYM", "long"): 10, ("SYM", "short"): -4})
    assert not book.reconcile(A, view, apply=True).settled
    assert [(row.long_lots, row.short_lots) for row in book.symbols(A)] == [(10, 4)]


def test_i7_an_order_that_the_larger_side_hides_stays_held_until_the_venue_is_asked(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    rest(book, order, rule="worst_side")
    book.reserve(A, [order(Side.ASK, lots=4, hold=300, order_id="S")], request_id="s", send="caller")
    clock.advance(60)
    lose_order(book, "S")
    lose_journal(book, 3)
    assert not book.reconcile(A, apply=True).settled
    assert [(row.hold_bids, row.hold_asks) for row in book.symbols(A)] == [(400, 300)]
    book.reconcile(A, VenueView(as_of_us=clock(), orders=(at_venue(),)), apply=True)
    assert [(row.hold_bids, row.hold_asks) for row in book.symbols(A)] == [(400, 0)]
    assert book.audit(A).findings == ()


def test_i7_what_only_the_totals_tell_of_stays_held_until_the_venue_is_asked(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    rest(book, order)
    clock.advance(60)
    lose_order(book)
    lose_symbols(book)
    lose_journal(book, 2)
    assert not book.reconcile(A, apply=True).settled
    assert book.account(A).all_units == 400
    assert book.reconcile(A, VenueView(as_of_us=clock()), apply=True).settled
    assert book.account(A).all_units == 0


def test_i7_counted_lots_without_a_charge_stay_counted_where_the_journal_has_a_gap(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    rest(book, order, rule="larger_leg")
    # It charges nothing, and its lots count at the dearest charge.
    book.reserve(A, [order(lots=5, hold=0, order_id="free")], request_id="free", send="caller")
    clock.advance(60)
    assert book.account(A).all_units == 600
    lose_order(book, "free")
    lose_journal(book, 3)
    assert not book.reconcile(A, apply=True).settled
    assert book.account(A).all_units == 600
    book.reconcile(A, VenueView(as_of_us=clock(), orders=(at_venue(),)), apply=True)
    assert book.account(A).all_units == 400
    assert book.audit(A).findings == ()


@pytest.mark.parametrize("positions", ["net", "tickets"])
def test_i7_a_lost_symbol_comes_back_with_its_open_loss(book: ReservationBook, order: Make, positions: str) -> None:
    trade(book, order, 10, "0.0004", positions=positions)
    book.reserve(A, [order(lots=1, hold=100, order_id="O", symbol="OTHER")], request_id="o", send="caller")
    book.fill(A, "O", 1, fill_id="o", margin="0.0001")
    book.mark(A, {"SYM": "-0.0003", "OTHER": "-0.0001"})
    assert book.account(A).free_units == 100
    spoil(
        book,
        lambda shelf: shelf.rows.pop(("SYM", "")),
        "DELETE FROM symbols WHERE symbol = 'SYM'",
        "HDEL",
        "user_symbols:{acc}",
        "SYM",
    )
    report = book.reconcile(A, apply=True)
    assert book.account(A).free_units == 100
    # On the way nothing has come free either.
    assert {record.after.free for record in book.history(A, after_version=5)} == {100}
    assert report.settled
    assert {row.symbol: row.open_pnl for row in book.symbols(A)} == {"SYM": -300, "OTHER": -100}
    assert book.audit(A).findings == ()


def test_i7_a_lost_symbol_that_no_journal_tells_keeps_its_open_loss(book: ReservationBook, order: Make) -> None:
    trade(book, order, 10, "0.0004")
    book.mark(A, {"SYM": "-0.0003"})
    lose_symbols(book)
    lose_journal(book, 2)
    misname(book)
    version = book.account(A).version
    assert not book.reconcile(A, apply=True).settled
    assert book.account(A).version == version + 1
    assert book.account(A).free_units == 300


def test_what_is_left_of_an_adopted_order_is_compared_with_the_venue(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    book.open_account(A, 1)
    clock.advance(60)

    def seen(lots: int, filled: int, *fills: VenueFill) -> list[tuple[str, Any, Any]]:
        clock.advance(60)
        view = VenueView(as_of_us=clock(), orders=(at_venue(lots, filled, venue_id="77"),), fills=fills)
        report = book.reconcile(A, view, apply=True)
        return [(item.kind, item.expected, item.found) for item in report.discrepancies]

    assert seen(6, 2) == [("unheld_order", (4, 160), None)]
    assert seen(6, 2) == []
    # It has grown.
    assert seen(12, 2) == [("quantity", 12, 6)]
    # Less is left than is held for: that is safe, and what has traded the position shows.
    assert seen(6, 3) == []
    fill = VenueFill(fill_id="f", order_id="77", lots=1, margin="0.00004")
    assert seen(6, 3, fill) == [("missed_fill", ("f", 1), None)]
    assert seen(6, 3, fill) == []
    assert seen(7, 3, fill) == [("quantity", 7, 6)]


def test_i7_a_lost_record_with_an_open_amendment_is_held_for_at_the_higher_charge(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    book.open_account(A, 1)
    book.reserve(A, [order(lots=4, hold=160, order_id="X")], request_id="r", send="caller")
    book.acknowledge(A, "X", "v")
    book.amend(A, "X", 10, "0.0004", event_id="a")
    clock.advance(60)
    lose_order(book)
    # The venue has not got to it yet.
    assert book.reconcile(A, VenueView(as_of_us=clock(), orders=(at_venue(4),)), apply=True).settled
    assert book.account(A).all_units == 400
    clock.advance(60)
    grown = book.reconcile(A, VenueView(as_of_us=clock(), orders=(at_venue(10),)))
    assert [(item.kind, item.expected, item.found) for item in grown.discrepancies] == [("quantity", 10, 4)]
    assert book.audit(A).findings == ()


def test_recovering_tickets_are_granted_again_only_by_a_view_of_long_and_short_lots(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    book.open_account(A, 1, positions="tickets")
    both = [order(lots=5, hold=400, order_id="L"), order(Side.ASK, lots=5, hold=400, order_id="S")]
    book.reserve(A, both, request_id="r", send="caller")
    for name in "LS":
        book.acknowledge(A, name, f"v{name}")
    set_status(book, AccountStatus.RECOVERING)
    clock.advance(60)
    # Both may have filled: net of each other they are nothing.
    for net in ({"SYM": 0}, {}):
        report = book.reconcile(A, VenueView(as_of_us=clock(), positions=net))
        assert report.discrepancies[-1].note == "a view without lots long and short does not show fills that were lost"
    fills = [VenueFill(fill_id=name, order_id=name, lots=5, margin="0.0004") for name in "LS"]
    said = {("SYM", "long"): 5, ("SYM", "short"): -5}
    report = book.reconcile(A, VenueView(as_of_us=clock(), positions=said))
    assert [item.where for item in report.discrepancies if item.kind == "position"] == ["SYM long", "SYM short"]
    assert book.reconcile(A, VenueView(as_of_us=clock(), positions=said, fills=tuple(fills)), apply=True).settled
    assert str(book.account(A).status) == "ACTIVE"
    assert book.account(A).executed_units == 800
    assert book.reconcile(A, VenueView(as_of_us=clock(), positions=said)).ok


def test_the_balance_of_tickets_is_not_set_by_a_view_of_net_positions(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    trade(book, order, 10, "0.0004", positions="tickets")
    clock.advance(60)
    report = book.reconcile(A, VenueView(as_of_us=clock(), positions={"SYM": 10}, balance="0.002"), apply=True)
    (balance,) = [item for item in report.discrepancies if item.kind == "balance"]
    assert (balance.state, balance.note[:21]) == ("skipped", "without lots long and")
    legs = {("SYM", "long"): 10}
    assert book.reconcile(A, VenueView(as_of_us=clock(), positions=legs, balance="0.002"), apply=True).settled
    assert book.account(A).balance_units == 2000


def test_an_order_that_may_only_reduce_is_held_for_where_positions_are_tickets(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    trade(book, order, 10, "0.0004", positions="tickets")
    clock.advance(60)
    closing = VenueOrder(
        symbol="SYM", side=Side.ASK, lots=5, price_ticks=100, hold="0.0002", order_id="Z", reduce_only=True
    )
    assert book.reconcile(A, VenueView(as_of_us=clock(), orders=(closing,)), apply=True).settled
    assert book.account(A).all_units == 600
    assert book.fill(A, "Z", 5, fill_id="g").flags == ()
    assert book.account(A).executed_units == 600


def test_a_ticket_without_lots_has_no_margin(book: ReservationBook, order: Make) -> None:
    rest(book, order, positions="tickets")
    book.deposit(A, 1, request_id="d")
    spoil(
        book,
        lambda shelf: shelf.put(shelf.order("X")._replace(margin=1)),
        "UPDATE orders SET margin = 1 WHERE order_id = 'X'",
        "HSET",
        "user_holdings:{acc}:X",
        "margin",
        "1",
    )
    lose_journal(book, 2)
    assert book.reconcile(A, apply=True).settled
    assert book.audit(A).findings == ()


@pytest.mark.parametrize("asked", [False, True])
def test_an_order_of_which_nothing_works_is_ended(book: ReservationBook, order: Make, clock: Any, asked: bool) -> None:
    trade(book, order, 10, "0.0001", positions="tickets")
    spoil(
        book,
        lambda shelf: shelf.put(shelf.order("X")._replace(state=OrderState.LIVE)),
        "UPDATE orders SET state = 'LIVE' WHERE order_id = 'X'",
        "HSET",
        "user_holdings:{acc}:X",
        "state",
        "LIVE",
    )
    clock.advance(60)
    view = VenueView(as_of_us=clock(), positions={("SYM", "long"): 10}) if asked else None
    assert book.reconcile(A, view, apply=True).settled
    kept = book.order(A, "X")
    assert kept is not None
    assert (kept.state, kept.working, kept.hold) == (OrderState.FILLED, 0, 0)
    assert book.account(A).live_orders == 0
    assert (book.account(A).executed_units, book.account(A).all_units) == (100, 100)
    assert book.orders(A) == ()
    assert book.audit(A).findings == ()


def test_a_late_fill_after_the_mode_has_changed_is_at_the_leg_where_it_is_booked(
    book: ReservationBook, order: Make, clock: Any
) -> None:
    rest(book, order)
    book.cancel(A, "X")
    assert book.set_terms(A, rule="hedge_legs", positions="hedge", request_id="t").ok
    clock.advance(60)
    late = VenueFill(fill_id="f", order_id="X", lots=4, margin="0.00016")
    report = book.reconcile(A, VenueView(as_of_us=clock(), fills=(late,), positions={("SYM", "long"): 4}), apply=True)
    assert [item.kind for item in report.discrepancies] == ["missed_fill"]
    assert report.settled
