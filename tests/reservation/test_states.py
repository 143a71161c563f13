"""The state table, cell by cell, on every store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from equipoise.orders import Order
from equipoise.reservation import Code, OrderState, Outcome, ReservationBook

Make = Callable[..., Order]
A = "acc"

# Rows: where the order stands. Cells: the answer, and where it stands afterwards if elsewhere.
# ok = OK, ill = ILLEGAL_TRANSITION, dup = DUPLICATE, +flag = flag of the outcome.
TABLE = """
from       claim    acknowledge fill                 reject          cancel         expire       request_cancel sweep        resolve                amend        settle
RESERVED   ok>SENT  ok>LIVE     ok>LIVE              ok>REJECTED     ok>CANCELLED   ok>EXPIRED   ok             ok>CANCELLED ill                    ill          ill
SENT       ill      ok>LIVE     ok>LIVE              ok>REJECTED     ok>CANCELLED   ok>EXPIRED   ok             ok>UNKNOWN   ill                    ok           ill
LIVE       ill      ok          ok                   ok>REJECTED     ok>CANCELLED   ok>EXPIRED   ok             ok           ill                    ok           ill
PARTIAL    ill      ok          ok                   ok>CANCELLED    ok>CANCELLED   ok>EXPIRED   ok             ok           ill                    ok           ill
CANCELLING ill      ok          ok                   ok>REJECTED     ok>CANCELLED   ok>EXPIRED   ok             ok>UNKNOWN   ill                    ok           ill
UNKNOWN    ill      ok>LIVE     ok>LIVE              ok>REJECTED     ok>CANCELLED   ok>EXPIRED   ok             ok           ok>EXPIRED             ill          ill
FILLED     ill      ill         ok+overfill          ill             ill            ill          ill            ok           ill                    ill          ill
REJECTED   ill      ill         ok+late_fill         dup             ill            ill          ill            ok           ill                    ill          ill
CANCELLED  ill      ill         ok+late_fill         ill             dup            ill          ill            ok           ill                    ill          ill
CUT        ill      ill         ok+late_fill         dup             dup            ill          ill            ok           ill                    ill          ill
EXPIRED    ill      ill         ok+late_fill         ill             ill            dup          ill            ok           ill                    ill          ill
AMENDING   ill      ok          ok                   ok>REJECTED     ok>CANCELLED   ok>EXPIRED   ok             ok>UNKNOWN   ill                    ill          ok
CLOSED     ill      ill         ok+overfill          ill             ill            ill          ill            ok           ill                    ill          ill
"""  # noqa: E501 - one line per state reads as a table
HEAD, *ROWS = [line.split() for line in TABLE.strip().splitlines()]
CELLS = [(row[0], event, cell) for row in ROWS for event, cell in zip(HEAD[1:], row[1:], strict=True)]
CODES = {"ok": Code.OK, "ill": Code.ILLEGAL_TRANSITION, "dup": Code.DUPLICATE}
NAMES = {"PARTIAL": "LIVE", "CANCELLING": "LIVE", "AMENDING": "LIVE", "CUT": "CANCELLED"}


def bring(book: ReservationBook, order: Make, start: str, clock: object) -> None:
    """Open an account with one order of three lots in the named state."""
    tickets = start == "CLOSED"
    book.open_account(A, "1000", rule="sum", positions="tickets" if tickets else "net")
    send = "claim" if start == "RESERVED" else "caller"
    book.reserve(A, [order(lots=3, hold=30_000_001, order_id="o")], request_id="r", send=send)  # type: ignore[arg-type]
    if start in {"LIVE", "PARTIAL", "CANCELLING", "AMENDING", "CUT"}:
        assert book.acknowledge(A, "o", "v0").ok
    if start in {"PARTIAL", "CUT"}:
        assert book.fill(A, "o", 1, fill_id="f0").ok
    if start == "CUT":
        assert book.reject(A, "o", event_id="first").ok
    if start == "CANCELLING":
        assert book.request_cancel(A, "o").ok
    if start == "AMENDING":
        assert book.amend(A, "o", 5, 50, event_id="a0").ok
    if start == "UNKNOWN":
        clock.advance(3_600)  # type: ignore[attr-defined]
        assert book.sweep(A).ok
    if start in {"FILLED", "CLOSED"}:
        assert book.fill(A, "o", 3, fill_id="f0").ok
    if tickets:
        assert book.close(A, "o", event_id="c0", realised_pnl=0).ok
    if start in {"REJECTED", "CANCELLED", "EXPIRED"}:
        ends = {"REJECTED": book.reject, "CANCELLED": book.cancel, "EXPIRED": book.expire}
        assert ends[start](A, "o", event_id="first").ok


def send_event(book: ReservationBook, event: str, clock: object) -> Outcome:
    """One event with an id of its own."""
    if event == "claim":
        return book.claim(A, "o", event_id="e")
    if event == "acknowledge":
        return book.acknowledge(A, "o", "v1", event_id="e")
    if event == "fill":
        return book.fill(A, "o", 1, fill_id="e", realised_pnl=0)
    if event == "request_cancel":
        return book.request_cancel(A, "o", event_id="e")
    if event == "amend":
        return book.amend(A, "o", 4, 40, event_id="e", deadline_us=9 * 10**15)
    if event == "settle":
        return book.settle_amend(A, "o", "accepted", amend_id="a0", event_id="e")
    if event == "sweep":
        clock.advance(3_600)  # type: ignore[attr-defined]
        return book.sweep(A)
    if event == "resolve":
        return book.resolve(A, "o", OrderState.EXPIRED, evidence="operator", operator="ann", event_id="e")
    ends = {"reject": book.reject, "cancel": book.cancel, "expire": book.expire}
    return ends[event](A, "o", event_id="e")


@pytest.mark.parametrize(("start", "event", "cell"), CELLS, ids=[f"{s}-{e}" for s, e, _ in CELLS])
def test_every_cell_of_the_state_table(
    proven: ReservationBook, order: Make, clock: object, start: str, event: str, cell: str
) -> None:
    bring(proven, order, start, clock)
    before = proven.order(A, "o")
    assert before is not None
    assert before.state == NAMES.get(start, start)
    cell, _, flag = cell.partition("+")
    word, _, state = cell.partition(">")
    outcome = send_event(proven, event, clock)
    after = proven.order(A, "o")
    assert after is not None
    assert outcome.code is CODES[word]
    assert after.state == (state or before.state)
    assert flag == "" or flag in outcome.flags
    assert after.terminal == (after.hold == 0)
    assert after.ordered == after.filled + after.working + after.released
    if outcome.order_id is not None:
        again = send_event(proven, event, clock)
        assert again.code is (Code.DUPLICATE if outcome.code is Code.OK else outcome.code)
        assert proven.order(A, "o") == after


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("reason", ["rejected", "rejected: by the desk", "rejected by the desk", ""])
def test_a_cancel_is_not_taken_for_a_refusal_whatever_its_reason_says(
    proven: ReservationBook, order: Make, reason: str, *, filled: bool
) -> None:
    bring(proven, order, "PARTIAL" if filled else "LIVE", None)
    assert proven.cancel(A, "o", reason=reason).ok
    assert proven.reject(A, "o").code is Code.ILLEGAL_TRANSITION
    assert proven.cancel(A, "o", event_id="again").code is Code.DUPLICATE
    found = proven.order(A, "o")
    assert found is not None
    assert found.state is OrderState.CANCELLED
    # What a refusal leaves is the refusal's alone; everything else is kept as it was given.
    assert found.reason == (f"cancelled: {reason}" if reason[:10] in ("rejected", "rejected: ") else reason)
    said = next(dict(record.details) for record in proven.history(A) if record.op == "cancel")
    assert said == ({"reason": reason} if reason else {})


@pytest.mark.parametrize("reason", ["", "post only"])
def test_a_refusal_after_a_fill_is_known_as_one_whatever_its_reason(
    proven: ReservationBook, order: Make, reason: str
) -> None:
    bring(proven, order, "PARTIAL", None)
    assert proven.reject(A, "o", reason=reason).state is OrderState.CANCELLED
    assert proven.reject(A, "o", event_id="again").code is Code.DUPLICATE


def test_i4_terminal_states_absorb_and_both_answers_are_journalled(proven: ReservationBook, order: Make) -> None:
    bring(proven, order, "FILLED", None)
    version = proven.account(A).version
    assert proven.cancel(A, "o").code is Code.ILLEGAL_TRANSITION
    assert proven.cancel(A, "o", event_id="again").code is Code.ILLEGAL_TRANSITION
    codes = [record.code for record in proven.history(A, after_version=version)]
    assert codes == [Code.ILLEGAL_TRANSITION, Code.ILLEGAL_TRANSITION]


def test_an_acknowledgement_after_the_end_keeps_the_alias(proven: ReservationBook, order: Make) -> None:
    bring(proven, order, "CANCELLED", None)
    assert proven.acknowledge(A, "o", "venue-9").code is Code.ILLEGAL_TRANSITION
    found = proven.order(A, "venue-9")
    assert found is not None
    assert (found.order_id, found.state) == ("o", OrderState.CANCELLED)


def test_unknown_still_holds_until_there_is_evidence(proven: ReservationBook, order: Make, clock: object) -> None:
    bring(proven, order, "UNKNOWN", clock)
    assert proven.account(A).all_units == 30_000_001
    proven.sweep(A)
    assert proven.account(A).all_units == 30_000_001


def test_an_event_that_is_news_again_is_not_taken_for_its_repeat_under_the_same_default_id(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    bring(proven, order, "SENT", clock)
    asked_us = clock() + 1_000_000

    def stands(state: OrderState) -> None:
        found = proven.order(A, "o")
        assert found is not None
        assert found.state is state

    def news(ask: Callable[[], Outcome], state: OrderState) -> None:
        # Said once it is done; said again while it is so, it is a repeat.
        first, version = ask(), proven.account(A).version
        assert first.code is Code.OK
        stands(state)
        again = ask()
        assert (again.code, again.version) == (Code.DUPLICATE, first.version)
        assert proven.account(A).version == version

    def forget() -> None:
        clock.advance(60)
        assert proven.sweep(A).ok
        stands(OrderState.UNKNOWN)

    acknowledge = lambda: proven.acknowledge(A, "o", "v")  # noqa: E731
    live = lambda: proven.resolve(A, "o", OrderState.LIVE, evidence="venue")  # noqa: E731
    cancelling = lambda: proven.request_cancel(A, "o", deadline_us=asked_us)  # noqa: E731
    news(acknowledge, OrderState.LIVE)
    for _ in range(2):
        news(cancelling, OrderState.LIVE)
        forget()
        news(acknowledge, OrderState.LIVE)
        # The cancel is unanswered as before.
        forget()
        news(live, OrderState.LIVE)
    # An id of the caller's own names one event for good.
    assert proven.acknowledge(A, "o", "v", event_id="e").code is Code.DUPLICATE
    assert proven.request_cancel(A, "o", deadline_us=clock(), event_id="c").ok
    forget()
    assert proven.acknowledge(A, "o", "v", event_id="f").ok
    forget()
    assert proven.acknowledge(A, "o", "v", event_id="f").code is Code.DUPLICATE
    stands(OrderState.UNKNOWN)
    assert proven.account(A).all_units == 30_000_001
    assert proven.cancel(A, "o").ok
    assert acknowledge().code is Code.DUPLICATE
    assert cancelling().code is Code.DUPLICATE
    assert live().code is Code.DUPLICATE
    stands(OrderState.CANCELLED)


def test_a_claim_permits_nothing_past_the_deadline_past_good_till_or_once_a_cancel_was_asked_for(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    soon, later = clock() + 1_000_000, 9 * 10**15
    for name, named in (
        ("due", {"deadline_us": soon}),
        ("due, taken", {"deadline_us": soon}),
        ("till", {"deadline_us": later, "good_till_us": soon}),
        ("till, taken", {"deadline_us": later, "good_till_us": soon}),
        ("asked", {"deadline_us": later}),
    ):
        assert proven.reserve(A, [order(hold=10, order_id=name)], request_id=name, **named).ok
    assert proven.request_cancel(A, "asked", deadline_us=later).ok
    clock.advance(1)
    for name in ("due, taken", "till, taken"):
        assert proven.claim(A, name, event_id="c").ok
    clock.now_us += 1
    for name in ("due", "till", "asked"):
        assert proven.claim(A, name, event_id="c").code is Code.ILLEGAL_TRANSITION
        found = proven.order(A, name)
        assert found is not None
        assert (found.state, found.hold) == (OrderState.RESERVED, 10)
    # The next sweep says the same of the one that is due.
    proven.sweep(A)
    assert {o.order_id: o.state for o in proven.orders(A, every=True)} == {
        "due": OrderState.CANCELLED,
        "due, taken": OrderState.UNKNOWN,
        "till": OrderState.RESERVED,
        "till, taken": OrderState.SENT,
        "asked": OrderState.RESERVED,
    }


def test_not_at_the_venue_is_evidence_only_after_good_till(proven: ReservationBook, order: Make, clock: object) -> None:
    proven.open_account(A, "1000")
    until = clock() + 7_200_000_000  # type: ignore[operator]
    proven.reserve(A, [order(hold=5, order_id="o")], request_id="r", send="caller", good_till_us=until)
    clock.advance(3_600)  # type: ignore[attr-defined]
    proven.sweep(A)
    early = proven.resolve(A, "o", OrderState.CANCELLED, evidence="not_at_venue", event_id="1")
    assert early.code is Code.ILLEGAL_TRANSITION
    clock.advance(3_601)  # type: ignore[attr-defined]
    assert proven.resolve(A, "o", OrderState.CANCELLED, evidence="not_at_venue", event_id="2").ok
    assert proven.account(A).all_units == 0


def test_i12_an_overdue_order_is_seen_without_a_sweeper(proven: ReservationBook, order: Make, clock: object) -> None:
    bring(proven, order, "SENT", clock)
    assert proven.orders(A, overdue=True) == ()
    clock.advance(3_600)  # type: ignore[attr-defined]
    assert [late.order_id for late in proven.orders(A, overdue=True)] == ["o"]
    assert proven.orders(A)[0].state is OrderState.SENT


def test_i19_clock_jumps_release_reapply_and_delete_nothing(
    proven: ReservationBook, order: Make, clock: object
) -> None:
    bring(proven, order, "PARTIAL", clock)
    before = proven.account(A)
    for jump in (-(10**9), 2 * 10**9):
        clock.advance(jump)  # type: ignore[attr-defined]
        proven.sweep(A)
        assert proven.fill(A, "o", 1, fill_id="f0").code is Code.DUPLICATE
        assert proven.account(A) == before


def test_i19_a_jump_ahead_releases_only_what_was_never_sent_and_permits_it_no_more(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    for name, send in (("held", "claim"), ("entry", "outbox"), ("sent", "caller"), ("live", "caller")):
        proven.reserve(A, [order(hold=10, order_id=name)], request_id=name, send=send)  # type: ignore[arg-type]
    proven.acknowledge(A, "live", "v")
    clock.advance(10**6)
    # Nobody has the bytes of these, and from now on nobody gets them: the release promises no margin twice.
    assert proven.claim(A, "held", event_id="c").code is Code.ILLEGAL_TRANSITION
    assert proven.sweep(A).granted == ("held", "entry", "sent")
    clock.advance(-(10**6))
    for name in ("held", "entry"):
        found = proven.order(A, name)
        assert found is not None
        assert (found.state, found.reason, found.hold) == (OrderState.CANCELLED, "never_sent", 0)
        assert proven.claim(A, name, event_id="d").code is Code.ILLEGAL_TRANSITION
    assert proven.outbox(A) == ()
    assert proven.account(A).all_units == 20
    assert proven.reserve(A, [order(hold=10, order_id="held")], request_id="held").code is Code.DUPLICATE
    assert proven.account(A).all_units == 20
