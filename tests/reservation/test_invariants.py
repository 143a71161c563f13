"""Invariants that no single suite of one kind of step would show, by name and on every store."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from tests.reservation.conftest import RULES

from equipoise.orders import Order
from equipoise.reservation import Code, OrderState, ReservationBook
from equipoise.reservation.redis_links import slot_of
from equipoise.reservation.redis_scripts import SCRIPTS, keys_of

Make = Callable[..., Order]
A = "acc"
LIVE = {OrderState.RESERVED, OrderState.SENT, OrderState.LIVE, OrderState.UNKNOWN}


def rate(margin: int, lots: int) -> int:
    """Charge per lot, rounded up."""
    return (margin + lots - 1) // lots


def margins(book: ReservationBook, rule: str) -> tuple[int, int]:
    """(executed, all) by definition, from the orders in flight, the tickets and the positions alone."""
    executed = everything = 0
    orders = book.orders(A, every=True)
    for row in book.symbols(A):
        mine = [o for o in orders if (o.symbol, o.leg) == (row.symbol, row.leg)]
        live, tickets = [o for o in mine if o.state in LIVE], [o for o in mine if o.open_lots]
        bids, asks = [sum(o.hold for o in live if o.side == side) for side in ("bid", "ask")]
        if rule == "larger_leg":
            # What is held for nothing because it only reduces is no part of a leg.
            live = [o for o in live if not o.reduces or o.hold_start or o.amend_hold]
            rates = [rate(o.margin, o.open_lots) for o in tickets]
            legs = [sum(o.open_lots for o in tickets if o.side == side) for side in ("bid", "ask")]
            if not tickets and row.lots:
                rates, legs = [rate(row.margin, abs(row.lots))], [max(row.lots, 0), max(-row.lots, 0)]
            executed += max(rates, default=0) * max(legs)
            rates += [rate(o.hold_start, o.lots) for o in live]
            rates += [rate(o.amend_hold, o.amend_lots) for o in live if o.amend_lots]
            resting = [sum(o.working for o in live if o.side == side) for side in ("bid", "ask")]
            everything += max(rates, default=0) * max(legs[0] + resting[0], legs[1] + resting[1])
            continue
        executed += row.margin
        if rule in ("worst_side", "per_side"):
            position = row.margin if row.lots >= 0 else -row.margin
            everything += max(abs(position + bids), abs(position - asks))
        else:
            everything += row.margin + bids + asks
    return executed, everything


def drawn(order: Make, rng: random.Random, positions: str, hold: int, **named: Any) -> Order:
    """An order of one to five lots, now and then one that may only reduce."""
    if positions == "hedge":
        named["leg"] = rng.choice(["long", "short"])
    elif positions == "net":
        named["reduce_only"] = rng.random() < 0.3
    return order(rng.choice(["bid", "ask"]), rng.randint(1, 5), hold, **named)


@pytest.mark.parametrize(("rule", "positions"), RULES)
def test_i1_executed_and_all_equal_their_definition_after_every_step(
    proven: ReservationBook, order: Make, clock: Any, rule: str, positions: Any
) -> None:
    proven.open_account(A, 1, rule=rule, positions=positions)
    rng = random.Random(1)
    names: list[str] = []
    for n in range(60):
        name = rng.choice(names) if names else ""
        draw = rng.random()
        if draw < 0.4 or not names:
            ladder = [drawn(order, rng, positions, rng.randint(0, 99)) for _ in range(2)]
            names += proven.reserve(A, ladder, request_id=f"r{n}", send="caller").granted
        elif draw < 0.6:
            proven.fill(A, name, rng.randint(1, 3), fill_id=f"f{n}", margin=f"0.0000{rng.randint(10, 99)}")
        elif draw < 0.7:
            proven.amend(A, name, rng.randint(1, 9), f"0.0000{rng.randint(10, 99)}", event_id=f"a{n}")
        elif draw < 0.8:
            found = proven.order(A, name)
            if found is not None and found.amend_id is not None:
                proven.settle_amend(A, name, rng.choice(["accepted", "refused"]), amend_id=found.amend_id)  # type: ignore[arg-type]
        elif draw < 0.85:
            clock.advance(10)
            proven.sweep(A)
        elif draw < 0.9:
            proven.close(A, name, 1, event_id=f"c{n}", realised_pnl=0)
        else:
            proven.cancel(A, name)
        account = proven.account(A)
        assert (account.executed_units, account.all_units) == margins(proven, rule)
        last = proven.history(A)[-1]
        assert (last.after.executed, last.after.all) == (account.executed_units, account.all_units)


@pytest.mark.parametrize(("rule", "positions"), RULES)
def test_i2_no_grant_makes_free_negative_while_threads_fill_cancel_amend_and_withdraw(
    proven: ReservationBook, order: Make, rule: str, positions: Any
) -> None:
    proven.open_account(A, "0.000500", rule=rule, positions=positions)
    granted: Counter[str] = Counter()

    def work(client: int) -> None:
        rng = random.Random(client)
        # Whichever thread is first finds all of it free; later there may never be enough.
        first = proven.withdraw(A, "0.000020", request_id=f"first{client}")
        granted.update(["withdraw"] if first.ok else [])
        for n in range(8):
            name = f"{client}-{n}"
            ladder = [drawn(order, rng, positions, rng.randint(1, 60)) for _ in range(2)]
            answers = [proven.reserve(A, ladder, request_id=name, send="caller")]
            if answers[0].ok:
                hold = f"0.0000{rng.randint(10, 99)}"
                answers.append(proven.amend(A, f"{name}:1", rng.randint(1, 6), hold, event_id="a"))
                proven.fill(A, f"{name}:0", rng.randint(1, 3), fill_id="f", realised_pnl=0)
                proven.cancel(A, f"{name}:{rng.randint(0, 1)}")
            alone = drawn(order, rng, positions, rng.randint(1, 60))
            answers.append(proven.execute(A, alone, request_id=f"x{name}", realised_pnl=0))
            answers.append(proven.withdraw(A, "0.000020", request_id=f"w{name}"))
            granted.update([answer.op for answer in answers if answer.ok])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert set(granted) == {"reserve", "execute", "amend", "withdraw"}
    found: Counter[str] = Counter()
    for record in proven.history(A, limit=10**6):
        found[record.op] += 1
        if record.op == "withdraw":
            assert record.after.free >= 0
        elif record.op in granted:
            assert record.after.free >= 0 or record.after.all <= record.before.all, record.op
    assert {op: found[op] for op in granted} == granted


def test_i13_every_key_a_step_touches_is_in_the_slot_of_its_account() -> None:
    for account_id in ("acc", "live:6", "счёт", "a" * 200):
        slots = {slot_of(account_id)}
        for key in [*keys_of("desk:", account_id), f"desk:user_holdings:{{{account_id}}}:order-7"]:
            assert key.count("{") == key.count("}") == 1
            assert key[key.index("{") + 1 : key.index("}")] == account_id
            slots.add(slot_of(key[key.index("{") + 1 : key.index("}")]))
        assert len(slots) == 1
    # And a script has no other keys than those it is given.
    for script in SCRIPTS.values():
        assert "user_" not in "".join(
            line for line in script.text.decode().splitlines() if not line.lstrip().startswith("--")
        )


def test_i19_a_clock_that_jumps_over_the_horizon_and_back_applies_and_releases_nothing_again(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    issued = clock()
    named: dict[str, Any] = {"request_id": "r", "issued_at_us": issued, "not_after_us": 9 * 10**15}
    proven.reserve(A, [order(lots=2, hold=10, order_id="o"), order(hold=5, order_id="p")], **named)
    proven.acknowledge(A, "o")
    proven.fill(A, "o", 1, fill_id="f", margin="0.000007")
    proven.mark(A, {"SYM": "-0.1"})
    held = {found.order_id: found.hold for found in proven.orders(A)}

    def same() -> None:
        assert {found.order_id: found.hold for found in proven.orders(A)} == held
        assert proven.account(A).executed_units == 7
        assert proven.fill(A, "o", 1, fill_id="f", margin="0.000007").code is Code.DUPLICATE

    clock.advance(-400 * 86_400)
    proven.archive(A)
    same()
    again = proven.reserve(A, [order(lots=2, hold=10, order_id="o"), order(hold=5, order_id="p")], **named)
    assert again.code is Code.DUPLICATE
    # A mark is ordered by its own time: one of the past is dropped, whatever the clock says.
    assert proven.mark(A, {"SYM": "-0.5"}).flags == ("older",)
    clock.advance(800 * 86_400)
    proven.archive(A)
    same()
    # The id has gone with the horizon: the request is refused, not applied again.
    again = proven.reserve(A, [order(lots=2, hold=10, order_id="x"), order(hold=5, order_id="y")], **named)
    assert again.code is Code.TOO_OLD_FOR_DEDUPE
    clock.advance(-400 * 86_400)
    proven.archive(A)
    same()
    assert proven.account(A).watermark_us >= issued


def test_i19_an_order_that_ended_by_a_clock_far_ahead_keeps_no_later_archive_from_its_work(
    proven: ReservationBook, order: Make, clock: Any
) -> None:
    proven.open_account(A, 1)
    right = clock()
    proven.reserve(A, [order(hold=1, order_id=name) for name in ("ahead", "old")], request_id="r")
    proven.cancel(A, "old")
    clock.now_us = 2**52 + 10**12  # the year 2112
    proven.cancel(A, "ahead")
    assert proven.audit(A).findings == ()
    clock.now_us = right + 86_401_000_000
    for _ in range(2):
        assert proven.archive(A).ok
        assert [found.order_id for found in proven.orders(A, every=True)] == ["ahead"]
        clock.advance(61)
    assert proven.account(A).watermark_us == clock() - 86_461_000_000


def test_every_code_is_reached_on_every_store(proven: ReservationBook, order: Make, clock: Any) -> None:
    now = clock()
    reached = set()

    def note(outcome: Any) -> None:
        reached.add(outcome.code)

    def grow(request_id: str, *orders: Order, account: str = A, **named: Any) -> None:
        note(proven.reserve(account, list(orders) or [order()], request_id=request_id, **named))

    grow("early")
    limits: dict[str, Any] = {
        "orders_max": 3,
        "position_lots_max": {"SYM": 5},
        "owner_margin_max": {"ann": "0.000012"},
        "mark_age_ms_max": 1_000,
    }
    note(proven.open_account(A, "0.0001", **limits))
    note(proven.open_account(A, "2"))
    note(proven.open_account("other", 1, rule="net_contracts"))
    grow("first", order(hold=5, order_id="o"))
    grow("first", order(hold=5, order_id="o"))
    grow("first", order(hold=6, order_id="o"))
    grow("old", issued_at_us=now - 2 * 86_400_000_000)
    grow("late", issued_at_us=now - 10, not_after_us=now - 1)
    note(proven.abandon(A, "gone"))
    grow("gone")
    note(proven.cancel(A, "nobody"))
    grow("twice", order(order_id="o"))
    grow("owner", order(hold=13), owner="ann")
    grow("position", order(lots=6))
    grow("orders", *[order() for _ in range(4)])
    grow("margin", order(hold=101))
    grow("terms", terms_version=9)
    note(proven.deposit(A, Decimal(2**53 - 1).scaleb(-6), request_id="much"))
    note(proven.claim(A, "o", event_id="c"))
    note(proven.claim(A, "o", event_id="d"))
    note(proven.fill(A, "o", 1, fill_id="f"))
    grow("stale")
    note(proven.suspend(A, request_id="s"))
    grow("suspended")
    # The last needs a promotion: `test_accounts_not_found_existing_suspended_and_recovering`.
    assert set(Code) - reached == {Code.ACCOUNT_RECOVERING}
