"""Every outcome code is reached on every store, and precedence decides when several apply."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from equipoise.orders import Order
from equipoise.reservation import AccountStatus, Code, Outcome, ReservationBook
from equipoise.reservation.order_calls import Policy

Make = Callable[..., Order]
A = "acc"
DAY_US = 86_400_000_000


def grow(book: ReservationBook, orders: list[Order], request_id: str = "grow", **named: Any) -> Outcome:
    return book.reserve(A, orders, request_id=request_id, **named)


def set_status(book: ReservationBook, status: AccountStatus) -> None:
    """Put an account into a status only a promoted replica leads to."""
    if hasattr(book, "_shelves"):
        shelf = book._shelves[A]
        shelf.held = shelf.held._replace(status=status)
    elif hasattr(book, "_links"):
        book._command(A, "HSET", f"user_portfolio:{{{A}}}", "status", status.value)  # type: ignore[attr-defined]
    else:
        with book._lock:  # type: ignore[attr-defined]
            book._ready().execute("UPDATE accounts SET status = ?", (status.value,))  # type: ignore[attr-defined]


def test_codes_are_in_the_order_of_precedence_and_say_whether_they_are_transient() -> None:
    listed = """
        OK DUPLICATE REQUEST_CONFLICT TOO_OLD_FOR_DEDUPE REQUEST_EXPIRED REQUEST_ABANDONED ACCOUNT_NOT_FOUND
        ACCOUNT_EXISTS ACCOUNT_SUSPENDED ACCOUNT_RECOVERING ORDER_NOT_FOUND ORDER_EXISTS ILLEGAL_TRANSITION
        TERMS_CHANGED TERMS_INVALID AMOUNT_OVERFLOW STALE_MARK POSITION_LIMIT ORDER_LIMIT OWNER_LIMIT
        INSUFFICIENT_MARGIN
    """
    assert [code.value for code in sorted(Code, key=lambda code: code.precedence)] == listed.split()
    assert Code.INSUFFICIENT_MARGIN.transient
    assert Code.TERMS_CHANGED.transient
    assert not Code.REQUEST_CONFLICT.transient


def test_duplicate_returns_the_first_result_and_conflict_its_own(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "100")
    first = grow(proven, [order(hold=7)])
    again = grow(proven, [order(hold=7)])
    assert again == first._replace(code=Code.DUPLICATE)
    assert again.done
    assert not again.ok
    assert grow(proven, [order(hold=8)]).code is Code.REQUEST_CONFLICT
    assert proven.deposit(A, 1, request_id="grow").code is Code.REQUEST_CONFLICT
    assert proven.fill(A, "grow:0", 1, fill_id="f").ok
    assert proven.fill(A, "grow:0", 2, fill_id="f").code is Code.REQUEST_CONFLICT
    assert proven.cancel(A, "grow:0", event_id="f").code is Code.REQUEST_CONFLICT


@pytest.mark.parametrize("scale", [0, 3, 6, 9])
def test_a_ladder_is_answered_again_whatever_the_scale_of_the_account_and_whatever_was_refused_of_it(
    proven: ReservationBook, order: Make, scale: int
) -> None:
    proven.open_account(A, 9, currency="KWD", scale=scale)
    ladders: list[tuple[list[int], Policy]] = [
        ([3, 4], "all_or_nothing"),
        ([0, 1], "best_effort"),
        ([5, 1], "best_effort"),
    ]

    def ask(turn: int) -> Outcome:
        holds, policy = ladders[turn]
        orders = [order("bid", lots=2), order("ask", symbol="OTHER")]
        return proven.reserve(A, orders, request_id=f"r{turn}", holds=holds, policy=policy)

    first = [ask(turn) for turn in range(3)]
    assert [len(outcome.granted) for outcome in first] == [2, 2, 1]
    assert proven.cancel(A, "r0:0").ok
    assert [ask(turn) for turn in range(3)] == [outcome._replace(code=Code.DUPLICATE) for outcome in first]


def test_too_old_expired_and_abandoned_requests_are_refused(proven: ReservationBook, order: Make, clock: Any) -> None:
    proven.open_account(A, "100")
    now = clock()
    orders = [order(hold=7)]
    assert grow(proven, orders, issued_at_us=now - DAY_US, not_after_us=now - 1).code is Code.TOO_OLD_FOR_DEDUPE
    assert grow(proven, orders, issued_at_us=now - 10, not_after_us=now - 1).code is Code.REQUEST_EXPIRED
    assert proven.abandon(A, "grow").ok
    assert proven.abandon(A, "grow").code is Code.DUPLICATE
    assert grow(proven, orders).code is Code.REQUEST_ABANDONED
    assert grow(proven, orders, issued_at_us=now - 10, not_after_us=now - 1).code is Code.REQUEST_EXPIRED
    held = grow(proven, orders, "other")
    assert proven.abandon(A, "other") == held._replace(code=Code.DUPLICATE)


def test_an_id_that_may_have_been_used_and_let_go_is_not_abandoned(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    """OK would say that it never happened, and its order lives."""
    proven.open_account(A, "100")
    issued = clock()
    assert grow(proven, [order(hold=7)], issued_at_us=issued).ok
    assert proven.acknowledge(A, "grow:0").ok
    assert proven.abandon(A, "never", issued_at_us=issued).ok
    clock.advance(25 * 3600)
    assert proven.archive(A).ok
    before = proven.account(A)
    for name in ("grow", "never"):
        assert proven.abandon(A, name, issued_at_us=issued).code is Code.TOO_OLD_FOR_DEDUPE
    assert proven.account(A) == before
    assert proven.order(A, "grow:0").hold == 7
    # One that was issued since can be.
    assert proven.abandon(A, "later").ok


def test_accounts_not_found_existing_suspended_and_recovering(proven: ReservationBook, order: Make) -> None:
    assert grow(proven, [order()]).code is Code.ACCOUNT_NOT_FOUND
    assert proven.fill(A, "o", 1, fill_id="f").code is Code.ACCOUNT_NOT_FOUND
    assert proven.mark(A, {"SYM": 1}).code is Code.ACCOUNT_NOT_FOUND
    assert proven.open_account(A, "100").ok
    assert proven.open_account(A, "100").code is Code.DUPLICATE
    assert proven.open_account(A, "101").code is Code.ACCOUNT_EXISTS
    assert grow(proven, [order(hold=7, order_id="o")], "before").ok
    assert proven.suspend(A, request_id="s").ok
    for refused in (grow(proven, [order()]), proven.withdraw(A, 1, request_id="w")):
        assert refused.code is Code.ACCOUNT_SUSPENDED
    assert proven.execute(A, order(), request_id="x").code is Code.ACCOUNT_SUSPENDED
    set_status(proven, AccountStatus.RECOVERING)
    assert grow(proven, [order()]).code is Code.ACCOUNT_RECOVERING
    for name in ("o", "nobody"):
        assert proven.claim(A, name, event_id="c").code is Code.ACCOUNT_RECOVERING
    assert proven.fill(A, "o", 1, fill_id="f").ok
    assert proven.deposit(A, 1, request_id="d").ok
    assert proven.suspend(A, False, request_id="u").ok
    assert grow(proven, [order()]).code is Code.ACCOUNT_RECOVERING
    set_status(proven, AccountStatus.ACTIVE)
    assert grow(proven, [order()]).ok


def test_orders_not_found_and_existing(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "100")
    assert proven.cancel(A, "nobody").code is Code.ORDER_NOT_FOUND
    grow(proven, [order(order_id="o")], "1")
    proven.acknowledge(A, "o", "venue-1")
    assert grow(proven, [order(order_id="o")], "2").code is Code.ORDER_EXISTS
    assert grow(proven, [order(order_id="venue-1")], "3").code is Code.ORDER_EXISTS
    assert proven.execute(A, order(order_id="o"), request_id="4").code is Code.ORDER_EXISTS


@pytest.mark.parametrize(
    "terms",
    [
        {"rule": "net_contracts"},
        {"rule": "single_order"},
        {"rule": "hedge_legs", "positions": "net"},
        {"rule": "worst_side", "positions": "tickets"},
        {"rule": "larger_leg", "positions": "hedge"},
    ],
)
def test_terms_the_book_cannot_keep_are_invalid(proven: ReservationBook, terms: dict[str, str]) -> None:
    assert proven.open_account(A, 1, **terms).code is Code.TERMS_INVALID  # type: ignore[arg-type]
    assert proven.accounts() == ()


def test_terms_changed_and_terms_that_do_not_carry_an_order(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "100", rule="sum")
    assert grow(proven, [order(hold=7)], terms_version=1).ok
    assert proven.set_terms(A, request_id="t", rule="sum", orders_max=5).ok
    assert grow(proven, [order(hold=7)], "2", terms_version=1).code is Code.TERMS_CHANGED
    assert proven.execute(A, order(), request_id="x", terms_version=1).code is Code.TERMS_CHANGED
    assert grow(proven, [order(hold=7, leg="long")], "3").code is Code.TERMS_INVALID
    assert proven.set_terms(A, request_id="u", rule="worst_side").code is Code.TERMS_INVALID
    proven.cancel(A, "grow:0")
    assert proven.set_terms(A, request_id="u", rule="worst_side").ok
    assert proven.account(A).terms_version == 3


def test_micro_unit_holds_need_scale_six_and_amounts_do_not(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "100.00", scale=2)
    assert grow(proven, [order(hold=7)]).code is Code.TERMS_INVALID
    assert grow(proven, [order(lots=3)], holds=["0.101"]).ok
    assert proven.account(A).all_units == 11


def test_sums_beyond_2_to_53_overflow_and_nothing_is_written(proven: ReservationBook, order: Make) -> None:
    most = 2**53 - 1
    proven.open_account(A, 0, scale=0, rule="worst_side")
    proven.deposit(A, most, request_id="d")
    assert proven.deposit(A, 1, request_id="e").code is Code.AMOUNT_OVERFLOW
    assert grow(proven, [order()] * 2, holds=[most, 1]).code is Code.AMOUNT_OVERFLOW
    assert grow(proven, [order()], holds=[most]).ok
    assert proven.fill(A, "grow:0", 1, fill_id="1", margin=most).ok
    assert proven.adjust(A, -1, "fee", request_id="a").ok
    grow(proven, [order("ask", lots=2)], "2", holds=[0])
    assert proven.fill(A, "2:0", 2, fill_id="2", margin=most, realised_pnl=most).code is Code.AMOUNT_OVERFLOW
    assert proven.account(A).all_units == most
    proven.open_account("owes", 0, scale=0, mark_age_ms_max=1_000)
    assert proven.adjust("owes", -most, "correction", request_id="c").ok
    assert proven.withdraw("owes", most, request_id="w").code is Code.AMOUNT_OVERFLOW
    assert proven.withdraw("owes", 1, request_id="w").code is Code.AMOUNT_OVERFLOW
    assert proven.adjust("owes", 1, "correction", request_id="d").ok
    assert proven.withdraw("owes", 1, request_id="w").code is Code.INSUFFICIENT_MARGIN


def test_a_figure_out_of_range_comes_before_limits_and_margin(proven: ReservationBook, order: Make, clock: Any) -> None:
    most = 2**53 - 1
    proven.open_account(A, 0, scale=0, order_margin_max=15, mark_age_ms_max=1_000)
    assert proven.adjust(A, 10 - most, "correction", request_id="a").ok
    short = grow(proven, [order(), order()], "fits", holds=[4, 6])
    assert (short.code, short.required_units, short.free_units) == (Code.INSUFFICIENT_MARGIN, 10, 10 - most)
    for policy in ("all_or_nothing", "best_effort"):
        beyond = grow(proven, [order()], policy, holds=[11], policy=policy)
        assert (beyond.code, beyond.required_units, beyond.free_units) == (Code.AMOUNT_OVERFLOW, None, None)
        assert [item.code for item in beyond.orders] == [Code.AMOUNT_OVERFLOW]
        assert grow(proven, [order()], f"{policy} 2", holds=[16], policy=policy).code is Code.AMOUNT_OVERFLOW
    mixed = grow(proven, [order(), order(), order()], "mixed", holds=[11, 0, 10], policy="best_effort")
    codes = [Code.AMOUNT_OVERFLOW, Code.OK, Code.INSUFFICIENT_MARGIN]
    assert (mixed.code, [item.code for item in mixed.orders]) == (Code.OK, codes)
    # A position whose mark is old: one code stands before that too.
    assert proven.fill(A, "mixed:1", 1, fill_id="f").ok
    clock.advance(2)
    assert grow(proven, [order()], "old", holds=[10]).code is Code.STALE_MARK
    for policy in ("all_or_nothing", "best_effort"):
        assert grow(proven, [order()], f"{policy} 3", holds=[11], policy=policy).code is Code.AMOUNT_OVERFLOW
    assert proven.account(A).all_units == 0


@pytest.mark.parametrize("rule", ["worst_side", "larger_leg"])
def test_what_an_owner_holds_out_of_range_comes_before_margin(proven: ReservationBook, order: Make, rule: str) -> None:
    half = 2**52
    proven.open_account(A, 0, scale=0, rule=rule, orders_max=3)
    assert proven.deposit(A, half + 5, request_id="d").ok
    named: dict[str, Any] = {"owner": "ann"}
    assert grow(proven, [order("bid"), order("ask")], "both", holds=[half, half - 1], **named).ok
    assert proven.account(A).free_units == 5
    other = [order(symbol="OTHER")]
    assert grow(proven, other, "1", holds=[6], owner="bob").code is Code.INSUFFICIENT_MARGIN
    beyond = grow(proven, other, "2", holds=[6], **named)
    assert (beyond.code, [item.code for item in beyond.orders]) == (Code.AMOUNT_OVERFLOW, [Code.AMOUNT_OVERFLOW])
    # One order more than there may be, and one that may only reduce and does not.
    reducing = [order("bid", symbol="OTHER", reduce_only=True), order(symbol="OTHER")]
    assert grow(proven, reducing, "3", holds=[3, 1], owner="bob").code is Code.ORDER_LIMIT
    several = grow(proven, reducing, "3", holds=[3, 1], **named)
    codes = [Code.AMOUNT_OVERFLOW, Code.ORDER_LIMIT]
    assert (several.code, [item.code for item in several.orders]) == (Code.AMOUNT_OVERFLOW, codes)
    assert grow(proven, other, "4", holds=[0], **named).ok


def test_a_withdrawal_says_all_that_is_missing_where_nothing_is_free(proven: ReservationBook, order: Make) -> None:
    for account_id, policy in ((A, "loss_only"), ("all", "all")):
        proven.open_account(account_id, "0.000100", pnl_policy=policy)
        assert proven.reserve(account_id, [order(hold=60)], request_id="r", send="caller").ok
        refused = proven.withdraw(account_id, "0.000041", request_id="w")
        assert (refused.required_units, refused.free_units, refused.shortfall_units) == (41, 40, 1)
        assert proven.fill(account_id, "r:0", 1, fill_id="f", margin="0.000060").ok
        assert proven.mark(account_id, {"SYM": "-0.000090"}).ok
        refused = proven.withdraw(account_id, "0.000010", request_id="w")
        assert refused.code is Code.INSUFFICIENT_MARGIN
        assert (refused.required_units, refused.free_units, refused.shortfall_units) == (10, -50, 60)
        # What is missing is enough, and no less is.
        assert proven.deposit(account_id, "0.000059", request_id="d").ok
        assert proven.withdraw(account_id, "0.000010", request_id="w").code is Code.INSUFFICIENT_MARGIN
        assert proven.deposit(account_id, "0.000001", request_id="e").ok
        # An open profit counts for a grant at most.
        assert proven.mark(account_id, {"SYM": "0.000010"}).ok
        assert proven.adjust(account_id, "-0.000110", "correction", request_id="c").ok
        refused = proven.withdraw(account_id, "0.000010", request_id="w")
        assert (refused.required_units, refused.free_units, refused.shortfall_units) == (10, -10, 20)
        assert proven.account(account_id).withdrawable_units == 0


def test_stale_marks_stop_growth_but_not_facts(proven: ReservationBook, order: Make, clock: Any) -> None:
    proven.open_account(A, "100", mark_age_ms_max=1_000)
    assert grow(proven, [order(hold=7), order(hold=7)]).ok
    assert proven.fill(A, "grow:0", 1, fill_id="1").ok
    assert grow(proven, [order(hold=7)], "2").code is Code.STALE_MARK
    assert proven.mark(A, {"SYM": "-1"}).ok
    assert grow(proven, [order(hold=7)], "3").ok
    clock.advance(1.1)
    assert grow(proven, [order(hold=7)], "4").code is Code.STALE_MARK
    assert proven.withdraw(A, 1, request_id="w").code is Code.STALE_MARK
    assert proven.execute(A, order(), request_id="x").code is Code.STALE_MARK
    assert proven.fill(A, "grow:1", 1, fill_id="1").ok
    # What can only reduce needs no margin, so nothing is counted with a mark for it.
    reduce = [order("ask", 2, 9, reduce_only=True), order("ask", 1, 9, reduce_only=True)]
    codes = [item.code for item in grow(proven, reduce, "5", policy="best_effort").orders]
    assert codes == [Code.OK, Code.STALE_MARK]
    assert proven.execute(A, order("ask", 3), request_id="y").code is Code.STALE_MARK
    assert proven.execute(A, order("ask", 1), request_id="y", realised_pnl=0).ok


def test_a_suspended_or_recovering_account_takes_no_new_order_not_even_a_reducing_one(
    proven: ReservationBook, order: Make
) -> None:
    proven.open_account(A, 1)
    proven.execute(A, order(lots=4), request_id="x", margin="0.000004")
    assert grow(proven, [order("ask", 3, 9, reduce_only=True, order_id="o")], send="caller").ok
    proven.suspend(A, request_id="s")
    for code, status in ((Code.ACCOUNT_SUSPENDED, "SUSPENDED"), (Code.ACCOUNT_RECOVERING, "RECOVERING")):
        set_status(proven, AccountStatus(status))
        assert grow(proven, [order("ask", 1, 9, reduce_only=True)], "2").code is code
        assert proven.execute(A, order("ask", 1), request_id="y", realised_pnl=0).code is code
        # What has left goes on reducing, and asking the venue for less of it is no growth.
        assert proven.fill(A, "o", 1, fill_id=status, realised_pnl=0).ok
    assert proven.amend(A, "o", 2, "0.000006", event_id="a").ok
    assert proven.account(A).all_units == 2


def test_limits_by_position_order_and_owner(proven: ReservationBook, order: Make) -> None:
    limits: dict[str, Any] = {
        "orders_max": 3,
        "order_margin_max": "0.00001",
        "margin_max": "0.000025",
        "position_lots_max": {"SYM": 5},
        "owner_margin_max": {"ann": "0.000012"},
    }
    proven.open_account(A, "100", **limits)
    assert grow(proven, [order(lots=6)]).code is Code.POSITION_LIMIT
    assert grow(proven, [order(hold=11)]).code is Code.ORDER_LIMIT
    assert grow(proven, [order(hold=7), order(hold=7)], owner="ann").code is Code.OWNER_LIMIT
    assert grow(proven, [order()] * 4).code is Code.ORDER_LIMIT
    assert grow(proven, [order(hold=9)] * 3).code is Code.ORDER_LIMIT
    assert grow(proven, [order(hold=7, lots=5), order("ask", lots=5)], owner="ann").ok
    assert grow(proven, [order(lots=1)], "2").code is Code.POSITION_LIMIT
    proven.fill(A, "grow:0", 5, fill_id="1")
    assert grow(proven, [order("ask", lots=5)], "3").ok
    assert grow(proven, [order("ask", lots=1)], "4").code is Code.POSITION_LIMIT
    assert grow(proven, [order("ask", lots=5, symbol="B", hold=12)], "5", owner="ann").code is Code.ORDER_LIMIT


def test_an_execution_meets_the_limits_of_a_reservation_for_what_it_opens(proven: ReservationBook, order: Make) -> None:
    limits: dict[str, Any] = {
        "position_lots_max": {"SYM": 2},
        "order_margin_max": "0.000020",
        "owner_margin_max": {"ann": "0.000010"},
    }
    proven.open_account(A, 1)
    assert proven.execute(A, order("ask", 5), request_id="1", margin="0.000005").ok
    proven.set_terms(A, request_id="t", **limits)
    # A position on the other side is opened, although it is a smaller one.
    assert proven.execute(A, order("bid", 9), request_id="2").code is Code.POSITION_LIMIT
    assert proven.execute(A, order("bid", 7), request_id="2", margin="0.000021").code is Code.ORDER_LIMIT
    assert proven.execute(A, order("bid", 7), request_id="2", margin="0.000011", owner="ann").code is Code.OWNER_LIMIT
    assert proven.reserve(A, [order(hold=4)], request_id="r", owner="ann").ok
    assert proven.execute(A, order("bid", 6), request_id="2", margin="0.000007", owner="ann").code is Code.OWNER_LIMIT
    # One that only reduces takes no margin, whatever is named, and meets none of them.
    proven.set_terms(A, request_id="u", mark_age_ms_max=1_000, **limits)
    assert proven.execute(A, order("bid", 7), request_id="2").code is Code.STALE_MARK
    reducing = proven.execute(A, order("bid", 2), request_id="2", margin=9, owner="ann", realised_pnl=0)
    assert (reducing.code, reducing.flags) == (Code.OK, ("margin_ignored",))
    proven.mark(A, {"SYM": 0})
    assert proven.execute(A, order("bid", 4), request_id="3", margin="0.000006", owner="ann", realised_pnl=0).ok
    assert proven.symbols(A)[0].lots == 1


def test_plain_orders_beside_what_may_only_reduce_stay_within_the_position_limit(
    proven: ReservationBook, order: Make
) -> None:
    """What may only reduce can fill first, and then the plain ones from where it has left the position."""
    proven.open_account(A, 1, position_lots_max={"SYM": 10})

    def bids(lots: int, name: str, **named: Any) -> Code:
        return proven.reserve(A, [order("bid", lots, order_id=name, hold=1, **named)], request_id=name).code

    assert proven.execute(A, order("ask", 10), request_id="x", margin="0.00001").ok
    assert bids(20, "alone") is Code.OK
    proven.cancel(A, "alone")
    assert bids(6, "closes", reduce_only=True) is Code.OK
    assert proven.order(A, "closes").hold == 0
    assert bids(15, "p") is Code.POSITION_LIMIT
    assert bids(14, "p") is Code.OK
    proven.claim(A, "p", event_id="c")
    assert proven.amend(A, "p", 15, "0.000001", event_id="a").code is Code.POSITION_LIMIT
    # Of the other side it says nothing, and more of it than there is to close counts only that far.
    assert proven.fill(A, "p", 8, fill_id="f", realised_pnl=0).ok
    assert bids(5, "q") is Code.POSITION_LIMIT
    assert proven.fill(A, "closes", 2, fill_id="g", realised_pnl=0).ok
    assert (proven.symbols(A)[0].lots, proven.symbols(A)[0].reduce_bid_lots) == (0, 4)
    assert bids(4, "q") is Code.OK
    assert bids(1, "r") is Code.POSITION_LIMIT
    for name in ("p", "q"):
        assert proven.fill(A, name, proven.order(A, name).working, fill_id=f"{name}g", margin=0).ok
    assert proven.symbols(A)[0].lots == 10


def test_an_execution_that_was_to_reduce_and_opens_is_charged_and_limited(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 1, position_lots_max={"SYM": 3})
    assert proven.execute(A, order("ask", 4, reduce_only=True), request_id="1").code is Code.POSITION_LIMIT
    assert proven.execute(A, order("ask", 3, reduce_only=True), request_id="1", margin="0.000007").ok
    assert proven.account(A).executed_units == 7


def test_an_execution_of_a_ticket_always_opens(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 1, positions="tickets", position_lots_max={"SYM": 5})
    assert proven.execute(A, order("ask", 5), request_id="1").ok
    assert proven.execute(A, order("bid", 6), request_id="2").code is Code.POSITION_LIMIT
    assert proven.execute(A, order("bid", 5), request_id="2").ok
    assert proven.reserve(A, [order("bid", 1)], request_id="3").code is Code.POSITION_LIMIT


def test_insufficient_margin_says_what_was_required_free_and_missing(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "10")
    grow(proven, [order()], "1", holds=["7"])
    answer = grow(proven, [order(), order()], "2", holds=["2", "3"])
    assert answer.code is Code.INSUFFICIENT_MARGIN
    assert (answer.required, answer.free, answer.shortfall) == (5, 3, 2)
    assert [item.code for item in answer.orders] == [Code.INSUFFICIENT_MARGIN] * 2
    assert proven.withdraw(A, "3.01", request_id="w").shortfall == Decimal("0.01")


def test_best_effort_gives_each_order_its_code_in_the_callers_priority(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "10")
    orders = [order(), order(), order(order_id="old"), order()]
    grow(proven, [order(order_id="old")], "0", holds=[0])
    answer = grow(proven, orders, policy="best_effort", holds=[6, 5, 1, 4])
    assert answer.ok
    codes = [Code.OK, Code.INSUFFICIENT_MARGIN, Code.ORDER_EXISTS, Code.OK]
    assert [item.code for item in answer.orders] == codes
    assert answer.granted == ("grow:0", "grow:3")
    assert (answer.orders[1].required, answer.orders[1].free) == (5_000_000, 4_000_000)
    none = grow(proven, [order(), order(order_id="old")], "2", policy="best_effort", holds=[1, 1])
    assert none.code is Code.ORDER_EXISTS
    assert none.granted == ()


def test_the_first_code_in_precedence_wins(proven: ReservationBook, order: Make, clock: Any) -> None:
    now = clock()
    late = {"issued_at_us": now - 10, "not_after_us": now - 1}
    assert grow(proven, [order()], **late).code is Code.REQUEST_EXPIRED
    proven.open_account(A, 1, orders_max=0)
    grow_all: dict[str, Any] = {"holds": [5], "terms_version": 9}
    assert grow(proven, [order()], **grow_all).code is Code.TERMS_CHANGED
    assert grow(proven, [order()], holds=[5]).code is Code.ORDER_LIMIT
    assert grow(proven, [order(leg="long")], holds=[5]).code is Code.TERMS_INVALID
    proven.suspend(A, request_id="s")
    assert grow(proven, [order()], **grow_all).code is Code.ACCOUNT_SUSPENDED
    assert grow(proven, [order()], **grow_all, **late).code is Code.REQUEST_EXPIRED


def test_a_whole_ladder_meets_the_limits_as_a_whole(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 100, orders_max=2, owner_margin_max={"ann": 0})
    assert proven.reserve(A, [order(hold=1)], request_id="one").ok
    ladder = [order(hold=1), order(hold=1)]
    whole = proven.reserve(A, ladder, request_id="whole", owner="ann")
    # The first is beyond the owner's limit; with it the second is beyond the count, which comes first.
    assert whole.code is Code.ORDER_LIMIT
    assert [row.code for row in whole.orders] == [Code.OWNER_LIMIT, Code.ORDER_LIMIT]
    each = proven.reserve(A, ladder, request_id="each", owner="ann", policy="best_effort")
    assert each.code is Code.OWNER_LIMIT
    assert [row.code for row in each.orders] == [Code.OWNER_LIMIT, Code.OWNER_LIMIT]
    assert proven.account(A).all_units == 1


def test_a_refusal_is_not_remembered_and_leaves_nothing(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 1)
    before = proven.account(A)
    assert grow(proven, [order()], holds=[5]).code is Code.INSUFFICIENT_MARGIN
    assert proven.account(A) == before
    assert proven.orders(A, every=True) == ()
    proven.deposit(A, 10, request_id="d")
    assert grow(proven, [order()], holds=[5]).ok
