"""Orders of arrival that earlier systems got wrong. The number is the schedule's; the docs list them."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from equipoise.errors import InputError
from equipoise.orders import Order
from equipoise.reservation import Code, OrderState, ReservationBook

Make = Callable[..., Order]
A = "acc"
THREADS = 64


def all_units(book: ReservationBook) -> int:
    return book.account(A).all_units


def test_schedule_1_64_threads_with_room_for_20_get_exactly_20(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "0.000200")
    gate = threading.Barrier(THREADS)

    def place(client: int) -> list[Code]:
        gate.wait()
        return [proven.reserve(A, [order(hold=10)], request_id=f"{client}-{n}").code for n in range(2)]

    with ThreadPoolExecutor(THREADS) as pool:
        codes = [code for answers in pool.map(place, range(THREADS)) for code in answers]
    assert codes.count(Code.OK) == 20
    assert codes.count(Code.INSUFFICIENT_MARGIN) == 2 * THREADS - 20
    assert all_units(proven) == 200
    assert len(proven.orders(A)) == 20


def test_schedule_2_a_confirmation_while_another_is_placed_keeps_its_hold(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "1")
    proven.reserve(A, [order(hold=100, order_id="a")], request_id="a")
    for first, second in ((0, 1), (1, 0)):
        steps = [
            lambda f=first: proven.fill(A, "a", 1, fill_id="f", margin="0.0001").done or f,
            lambda f=first: proven.reserve(A, [order(hold=50)], request_id=f"b{f}").ok or f,
        ]
        steps[first]()
        steps[second]()
    assert proven.account(A).executed_units == 100
    assert all_units(proven) == 100 + 2 * 50


def test_schedule_3_valuation_or_deposit_while_an_order_is_queued_leaves_its_hold(
    proven: ReservationBook, order: Make
) -> None:
    proven.open_account(A, "1")
    proven.execute(A, order(hold=5), request_id="x")
    proven.reserve(A, [order(hold=100)], request_id="a")
    proven.mark(A, {"SYM": "-0.3"})
    proven.deposit(A, 3, request_id="d")
    proven.revalue(A, "SYM", "0.000006")
    assert all_units(proven) == 106
    assert proven.orders(A)[0].hold == 100


def test_schedule_4_a_confirmation_leaves_every_other_hold(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "1")
    proven.reserve(A, [order(hold=10 + n) for n in range(5)], request_id="r")
    proven.fill(A, "r:2", 1, fill_id="f")
    assert [held.hold for held in proven.orders(A)] == [10, 11, 13, 14]
    assert all_units(proven) == 60


def test_schedule_5_an_event_whose_step_failed_is_not_marked_seen(
    proven: ReservationBook, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven.open_account(A, "1")
    proven.reserve(A, [order(hold=10, order_id="o")], request_id="r")
    from equipoise.reservation import redis_links, steps

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(steps.STEPS, "fill", broken)
        patch.setattr(redis_links.Link, "exchange", broken)
        with pytest.raises(KeyboardInterrupt):
            proven.fill(A, "o", 1, fill_id="f")
    assert proven.fill(A, "o", 1, fill_id="f").code is Code.OK
    assert proven.fill(A, "o", 1, fill_id="f").code is Code.DUPLICATE


def test_schedule_6_a_replayed_fill_after_close_does_not_resurrect(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "1", positions="tickets")
    proven.reserve(A, [order(lots=2, hold=10, order_id="o")], request_id="r")
    fills = [proven.fill(A, "o", 1, fill_id=str(n)) for n in range(2)]
    proven.close(A, "o", event_id="c", realised_pnl="-0.1")
    before = proven.account(A)
    for n, first in enumerate(fills):
        again = proven.fill(A, "o", 1, fill_id=str(n))
        assert (again.code, again.version) == (Code.DUPLICATE, first.version)
    assert proven.close(A, "o", event_id="c", realised_pnl="-0.1").code is Code.DUPLICATE
    assert proven.account(A) == before
    assert all_units(proven) == 0


def test_schedule_7_a_refusal_after_a_fill_leaves_the_position(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "1")
    proven.reserve(A, [order(lots=3, hold=30, order_id="o")], request_id="r")
    proven.fill(A, "o", 1, fill_id="f", margin="0.000010")
    proven.reject(A, "o", reason="post only")
    found = proven.order(A, "o")
    assert found is not None
    assert (found.state, found.reason, found.filled, found.released) == (
        OrderState.CANCELLED,
        "rejected: post only",
        1,
        2,
    )
    assert (proven.account(A).executed_units, all_units(proven)) == (10, 10)
    proven.fill(A, "o", 2, fill_id="g", margin="0.000020")
    assert proven.reject(A, "o", event_id="again").code is Code.DUPLICATE
    assert (proven.account(A).executed_units, all_units(proven)) == (30, 30)


def test_schedule_8_every_order_of_arrival_of_fills_and_an_end_books_the_same_position(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, "1")
    for number, (end, arrival) in enumerate(
        itertools.product(("cancel", "reject", "expire", "sweep"), itertools.permutations(range(3)))
    ):
        name = f"o{number}"
        before = proven.account(A)
        proven.reserve(A, [order(lots=3, hold=10, order_id=name)], request_id=name, send="caller")
        for event in arrival:
            if event < 2:
                proven.fill(A, name, event + 1, fill_id=str(event), margin=f"0.00000{event + 1}")
            elif end == "sweep":
                clock.advance(60)
                proven.sweep(A)
            else:
                {"cancel": proven.cancel, "reject": proven.reject, "expire": proven.expire}[end](A, name)
        found = proven.order(A, name)
        assert found is not None
        assert (found.filled, found.working, found.hold) == (3, 0, 0)
        assert found.terminal
        after = proven.account(A)
        assert after.executed_units - before.executed_units == 3
        assert after.all_units == after.executed_units


def test_schedule_9_a_caller_that_dies_after_the_hold_or_after_the_send(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, "1")
    proven.reserve(A, [order(hold=10, order_id="held")], request_id="1")
    proven.reserve(A, [order(hold=20, order_id="sent")], request_id="2")
    proven.claim(A, "sent", event_id="worker-1")
    clock.advance(3_600)
    proven.sweep(A)
    states = {found.order_id: found.state for found in proven.orders(A, every=True)}
    assert states == {"held": OrderState.CANCELLED, "sent": OrderState.UNKNOWN}
    assert all_units(proven) == 20
    assert proven.claim(A, "held", event_id="worker-2").code is Code.ILLEGAL_TRANSITION
    assert proven.claim(A, "sent", event_id="worker-2").code is Code.ILLEGAL_TRANSITION


def test_schedule_10_five_triggered_orders_in_one_tick_one_affordable(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "0.000015")
    with ThreadPoolExecutor(5) as pool:
        codes = list(pool.map(lambda n: proven.execute(A, order(hold=10), request_id=str(n)).code, range(5)))
    assert sorted(codes) == sorted([Code.OK] + [Code.INSUFFICIENT_MARGIN] * 4)
    assert all_units(proven) == 10


def test_schedule_11_a_fill_dearer_than_its_hold_is_booked_flagged_and_counted(
    proven: ReservationBook, order: Make
) -> None:
    proven.open_account(A, "0.000012")
    proven.reserve(A, [order(hold=10, order_id="o")], request_id="r")
    assert proven.fill(A, "o", 1, fill_id="f", margin="0.000015").flags == ("under_reserved",)
    account = proven.account(A)
    assert (account.executed_units, account.free_units, account.under_reserved) == (15, -3, 1)


def test_schedule_12_a_missing_account_or_price_never_reads_as_zero(proven: ReservationBook, order: Make) -> None:
    with pytest.raises(InputError, match="account_id must be an open account"):
        proven.account("nobody")
    proven.open_account(A, "1")
    proven.reserve(A, [order(hold=10)], request_id="r")
    with pytest.raises(InputError, match="position_margin must be finite"):
        proven.revalue(A, "SYM", "NaN")
    with pytest.raises(InputError, match=r"open_pnl\[SYM\] must be a Decimal"):
        proven.mark(A, {"SYM": None})  # type: ignore[dict-item]
    assert all_units(proven) == 10


def test_schedule_13_venue_ids_are_aliases_and_move_no_money(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "1")
    proven.reserve(A, [order(hold=10, order_id="o"), order(hold=20, order_id="p")], request_id="r")
    before = all_units(proven)
    assert proven.acknowledge(A, "o", "7").ok
    assert proven.acknowledge(A, "o", "8").ok
    assert proven.acknowledge(A, "p", "7", event_id="taken").flags == ("alias_taken",)
    assert all_units(proven) == before
    assert proven.cancel(A, "7").ok
    assert proven.cancel(A, "8").code is Code.DUPLICATE
    assert all_units(proven) == 20


@pytest.mark.parametrize("wait_s", [60, 300, 80_000])
def test_schedule_14_a_retry_much_later_gets_the_first_result(
    proven: ReservationBook, order: Make, clock: Any, wait_s: int
) -> None:
    proven.open_account(A, "1")
    named: dict[str, Any] = {"request_id": "r", "issued_at_us": clock(), "not_after_us": clock() + 5_000_000}
    assert proven.reserve(A, [order(hold=10)], **named).ok
    clock.advance(wait_s)
    assert proven.reserve(A, [order(hold=10)], **named).code is Code.DUPLICATE
    withheld = {**named, "request_id": "withheld"}
    assert proven.reserve(A, [order(hold=10)], **withheld).code is Code.REQUEST_EXPIRED
    assert all_units(proven) == 10


def test_schedule_15_withdraw_and_reserve_race_and_one_wins(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "0.000010")
    for n in range(20):
        gate = threading.Barrier(2)

        def take(gate: threading.Barrier = gate, n: int = n) -> bool:
            gate.wait()
            return proven.withdraw(A, "0.000010", request_id=f"w{n}").ok

        def hold(gate: threading.Barrier = gate, n: int = n) -> bool:
            gate.wait()
            return proven.reserve(A, [order(hold=10)], request_id=f"r{n}").ok

        with ThreadPoolExecutor(2) as pool:
            took, held = pool.submit(take), pool.submit(hold)
            assert took.result() != held.result()
        if took.result():
            proven.deposit(A, "0.000010", request_id=f"d{n}")
        else:
            proven.cancel(A, f"r{n}:0")


def test_schedule_16_null_long_numbers_and_unicode_pass_unchanged(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, 9_007_199_254, scale=6)
    for name in ("null", "9007199254740993", "ключ ключ", "0012", "1e3", "{}", '"'):
        assert proven.reserve(A, [order(order_id=name)], request_id=name, holds=["0.000001"]).granted == (name,)
        assert proven.fill(A, name, 1, fill_id=name).order_id == name
        assert proven.reserve(A, [order(order_id=name)], request_id=name, holds=["0.000001"]).granted == (name,)
    assert proven.account(A).balance_units == 9_007_199_254_000_000


def test_schedule_17_a_close_the_provider_refused_leaves_the_position_closable(
    proven: ReservationBook, order: Make
) -> None:
    proven.open_account(A, "1", positions="tickets")
    proven.execute(A, order(lots=2, hold=10, order_id="t"), request_id="t")
    assert proven.close(A, "t", 3, event_id="c", realised_pnl=0).code is Code.ILLEGAL_TRANSITION
    assert proven.reject(A, "t", event_id="close refused").code is Code.ILLEGAL_TRANSITION
    assert proven.close(A, "t", 2, event_id="c", realised_pnl=0).state is OrderState.CLOSED
    assert all_units(proven) == 0


def test_schedule_18_the_hedge_of_a_full_account_is_granted_and_its_loss_is_charged(
    proven: ReservationBook, order: Make
) -> None:
    proven.open_account(A, "0.000100", rule="worst_side")
    assert proven.reserve(A, [order("bid", 10, 100, order_id="b")], request_id="1").ok
    assert proven.account(A).free_units == 0
    assert proven.reserve(A, [order("ask", 10, 100, order_id="a")], request_id="2").ok
    assert all_units(proven) == 100
    proven.fill(A, "b", 10, fill_id="f", margin="0.000100")
    proven.fill(A, "a", 4, fill_id="f", realised_pnl=0)
    assert all_units(proven) == 60
    assert proven.reserve(A, [order("bid", 1, 41)], request_id="3").code is Code.INSUFFICIENT_MARGIN
    assert proven.reserve(A, [order("bid", 1, 40)], request_id="4").ok
    assert proven.cancel(A, "a").ok
    assert all_units(proven) == 100


def test_schedule_18_removing_one_leg_while_the_other_rests_is_charged(proven: ReservationBook, order: Make) -> None:
    proven.open_account(A, "0.000300", rule="worst_side")
    proven.reserve(A, [order("bid", 10, 100), order("ask", 10, 90)], request_id="r")
    assert all_units(proven) == 100
    proven.cancel(A, "r:0")
    assert all_units(proven) == 90
    proven.cancel(A, "r:1")
    assert all_units(proven) == 0


def test_schedule_19_i6_400_random_holds_and_releases_end_at_exactly_zero(proven: ReservationBook, order: Make) -> None:
    rng = random.Random(19)
    proven.open_account(A, "1000", rule="worst_side")
    resting: list[str] = []
    for n in range(400):
        hold, lots = rng.randint(1, 10**8), rng.randint(1, 977)
        if proven.reserve(A, [order(rng.choice(["bid", "ask"]), lots, hold)], request_id=str(n)).ok:
            resting.append(f"{n}:0")
        if resting and rng.random() < 0.5:
            name = resting.pop(rng.randrange(len(resting)))
            proven.fill(A, name, rng.randint(1, lots), fill_id="f", margin=f"0.{rng.randint(0, 999_999):06d}")
            proven.cancel(A, name)
    for name in resting:
        proven.cancel(A, name)
    lots = proven.symbols(A)[0].lots
    if lots:
        proven.execute(A, order("ask" if lots > 0 else "bid", abs(lots)), request_id="flat", realised_pnl=0)
    account = proven.account(A)
    assert (account.executed_units, account.all_units, account.live_orders) == (0, 0, 0)
