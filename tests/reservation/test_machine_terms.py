"""Every kind of terms, tickets, limits, suspensions and closes, on every store side by side, beside an oracle.

What `test_machine.py` leaves out: there the terms are those an account is opened with, and nothing but margin refuses.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests import servers
from tests.reservation.conftest import START_US, Clock
from tests.reservation.terms_oracle import MODES, Ledger, Paper, Place, Sheet, Wish

from equipoise.orders import Order, Side
from equipoise.reservation import Code, Outcome, ReservationBook
from equipoise.reservation.sqlite import SqliteBook

SYMBOLS = ("AAA", "BBB")
OWNERS = ("ann", "ann", "")
DAYS_US = 30 * 86_400_000_000


def micros(units: int) -> Decimal:
    return Decimal(units).scaleb(-6)


def asked_for(sheet: Sheet) -> dict[str, Any]:
    """Terms as the book takes them."""
    amounts = {name: getattr(sheet, name) for name in ("order_margin_max", "margin_max")}
    return {
        "rule": sheet.combine,
        "positions": sheet.positions,
        "pnl_policy": sheet.pnl_policy,
        "mark_age_ms_max": sheet.mark_age_ms_max,
        "orders_max": sheet.orders_max,
        "records_max": sheet.records_max,
        "position_lots_max": dict(sheet.position_lots_max),
        "owner_margin_max": {owner: micros(most) for owner, most in sheet.owner_margin_max},
        **{name: None if most is None else micros(most) for name, most in amounts.items()},
    }


def order_of(wish: Wish) -> Order:
    return Order(
        symbol=wish.symbol,
        side=Side(wish.side),
        lots=wish.lots,
        price_ticks=1,
        hold=wish.hold,
        price=Decimal(1),
        size=Decimal(wish.lots),
        order_id=wish.name,
        reduce_only=wish.reduce_only,
        leg=wish.leg,
    )


BEHIND = st.integers(0, 9).map(lambda often: {0: None, 9: 1}.get(often, 0))
"""How many changes of the terms a charge is behind; None: it does not say."""
MODE = st.sampled_from([*MODES, *[mode for mode in MODES if mode[1] == "tickets"]])
LIMITS: dict[str, st.SearchStrategy[Any]] = {
    "mark_age_ms_max": st.integers(1_000, 20_000),
    "orders_max": st.integers(0, 6),
    "order_margin_max": st.integers(5, 30),
    "margin_max": st.integers(10, 150),
    "records_max": st.integers(5, 40),
    "position_lots_max": st.integers(3, 12).map(lambda most: (("AAA", most),)),
    "owner_margin_max": st.integers(0, 60).map(lambda most: (("ann", most),)),
}


@st.composite
def sheets(draw: st.DrawFn, mode: st.SearchStrategy[tuple[str, str]]) -> Sheet:
    """Terms with a few limits; with all of them at once hardly anything would be granted."""
    names = draw(st.lists(st.sampled_from(sorted(LIMITS)), max_size=3, unique=True))
    pnl_policy = draw(st.sampled_from(["loss_only", "all"]))
    return Sheet(*draw(mode), pnl_policy=pnl_policy, **{name: draw(LIMITS[name]) for name in names})


def first_of(reasons: Iterable[Code]) -> Code:
    """Of several reasons to refuse, the one that is answered."""
    return min(reasons, default=Code.OK, key=lambda code: code.precedence)


def is_said(outcome: Outcome, code: Code) -> None:
    assert outcome.code is code, f"{outcome.op} was answered {outcome.code}, not {code}"


class Accounts(RuleBasedStateMachine):
    """One account on each store, and the oracle's."""

    numbers = itertools.count()

    def __init__(self, books: list[ReservationBook], clock: Clock) -> None:
        super().__init__()
        self.books, self.clock = books, clock
        self.name = f"terms-{next(self.numbers)}"
        self.count = self.calm = 0
        clock.now_us = START_US  # An example is the same whatever came before it.
        self.past: list[tuple[str, tuple[Any, ...], dict[str, Any], Outcome]] = []

    def ask(self, name: str, *values: Any, **named: Any) -> Outcome:
        """Put the same question to every store; they must agree (I18)."""
        answers: list[Outcome] = [getattr(book, name)(self.name, *values, **named) for book in self.books]
        for answer in answers[1:]:
            assert answer == answers[0], (name, answer, answers[0])
        if answers[0].ok and name not in ("open_account", "mark"):
            self.past = [*self.past[-9:], (name, values, named, answers[0])]
        return answers[0]

    def fresh(self) -> str:
        self.count += 1
        return f"id{self.count}"

    @property
    def hedged(self) -> bool:
        return self.ledger.sheet.positions == "hedge"

    @initialize(sheet=sheets(MODE), balance=st.integers(0, 40).map(lambda tens: 400 - 10 * tens))
    def open(self, sheet: Sheet, balance: int) -> None:
        self.ledger = Ledger(sheet, balance, opened_us=self.clock())
        assert self.ask("open_account", micros(balance), **asked_for(sheet)).ok

    # Terms and status ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.count >= self.calm)
    @rule(data=st.data(), kept=st.booleans(), never=st.integers(0, 9))
    def set_terms(self, data: st.DataObject, kept: bool, never: int) -> None:
        mode = st.just(self.ledger.sheet.mode) if kept else MODE
        if never == 0:
            mode = st.sampled_from([("worst_side", "tickets"), ("hedge_legs", "net"), ("net_contracts", "net")])
        sheet = data.draw(sheets(mode))
        before, self.calm = self.ledger.all, self.count + 8
        code = self.ledger.set_terms(sheet)
        self.remembered(self.ask("set_terms", request_id=self.fresh(), **asked_for(sheet)), code)
        assert self.ledger.all == before

    @precondition(lambda self: self.count >= self.calm or self.ledger.suspended)
    @rule(often=st.integers(0, 3))
    def suspend(self, often: int) -> None:
        on = not self.ledger.suspended and often == 0
        self.remembered(self.ask("suspend", on, request_id=self.fresh()), Code.OK)
        self.ledger.suspended = on

    def remembered(self, outcome: Outcome, code: Code) -> None:
        """A request that was done stays on record."""
        is_said(outcome, code)
        self.ledger.ids += outcome.ok

    # Asking for more -------------------------------------------------------------------------------------------------

    def wish(self, data: st.DataObject) -> Wish:
        ledger = self.ledger
        known = list(ledger.papers)
        taken = known and data.draw(st.integers(0, 30)) == 0
        misfit = data.draw(st.integers(0, 30)) == 0
        leg = data.draw(st.sampled_from(["long", "short"])) if self.hedged != misfit else None
        wish = Wish(
            data.draw(st.sampled_from(known)) if taken else self.fresh(),
            data.draw(st.sampled_from(SYMBOLS)),
            leg,
            data.draw(st.sampled_from(["bid", "ask"])),
            data.draw(st.integers(1, 7)),
            data.draw(st.integers(1, 35)),
            data.draw(st.integers(0, 30 if ledger.tickets else 4)) == 0,
        )
        more = ledger.open_on(wish.place, "bid") - ledger.open_on(wish.place, "ask")
        if ledger.tickets and more and data.draw(st.booleans()):
            # As much on the other side: the symbol is open, and its lots add up to nothing.
            wish = replace(wish, side="ask" if more > 0 else "bid", lots=abs(more))
        return wish

    @rule(data=st.data(), owner=st.sampled_from(OWNERS), sent=st.booleans(), behind=BEHIND)
    def reserve_all(self, data: st.DataObject, owner: str, sent: bool, behind: int | None) -> None:
        self.reserve(data, owner, best_effort=False, sent=sent, behind=behind)

    @rule(data=st.data(), owner=st.sampled_from(OWNERS), sent=st.booleans(), behind=BEHIND)
    def reserve_what_fits(self, data: st.DataObject, owner: str, sent: bool, behind: int | None) -> None:
        self.reserve(data, owner, best_effort=True, sent=sent, behind=behind)

    def reserve(self, data: st.DataObject, owner: str, *, best_effort: bool, sent: bool, behind: int | None) -> None:
        before = self.ledger
        wishes = [self.wish(data) for _ in range(data.draw(st.integers(1, 4)))]
        if len({wish.name for wish in wishes}) < len(wishes):
            return
        version = None if behind is None else before.terms_version - behind
        after, codes = before.copy(), []
        after.ids += 1
        for wish in wishes:
            trial = after.copy()
            reasons = trial.standing(version, [wish])
            if not reasons:
                trial.admit(wish, owner, "SENT" if sent else "RESERVED")
                reasons = [] if trial.papers[wish.name].free_of_charge else before.marks(self.clock())
            if not reasons and best_effort:
                # The id of the request comes with the first order that is held.
                reasons = trial.beyond(after if Code.OK in codes else before, [wish], owner)
            codes.append(first_of(reasons))
            if not reasons:
                after = trial
        refusals = [code for code in codes if code is not Code.OK]
        if best_effort:
            reasons = [] if Code.OK in codes else refusals
        else:
            reasons = refusals or after.beyond(before, wishes, owner)
        outcome = self.ask(
            "reserve",
            [order_of(wish) for wish in wishes],
            request_id=self.fresh(),
            policy="best_effort" if best_effort else "all_or_nothing",
            send="caller" if sent else "claim",
            owner=owner,
            terms_version=version,
            deadline_us=self.clock() + DAYS_US,
        )
        is_said(outcome, first_of(reasons))
        if outcome.ok:
            self.ledger = after
            assert [item.code for item in outcome.orders] == codes
            assert outcome.granted == tuple(w.name for w, code in zip(wishes, codes, strict=True) if code is Code.OK)
        elif outcome.code is Code.INSUFFICIENT_MARGIN and not best_effort:
            rise, free = after.all - before.all, before.free
            assert (outcome.required_units, outcome.free_units, outcome.shortfall_units) == (rise, free, rise - free)

    @rule(
        data=st.data(),
        owner=st.sampled_from(OWNERS),
        behind=BEHIND,
        pnl=st.integers(-9, 9),
        fee=st.integers(-2, 5),
    )
    def execute(self, data: st.DataObject, owner: str, behind: int | None, pnl: int, fee: int) -> None:
        before, wish = self.ledger, self.wish(data)
        if wish.reduce_only and not before.tickets:
            return  # It is done already, so there is nothing that it could be limited to.
        against = 0 if before.tickets else before.open_on(wish.place, "ask" if wish.side == "bid" else "bid")
        version = None if behind is None else before.terms_version - behind
        after, opened = before.copy(), wish.hold if wish.lots > against else 0
        after.ids += 1
        reasons = before.standing(version, [wish])
        if not reasons:
            after.papers[wish.name] = Paper(wish, opened, owner, "FILLED", filled=wish.lots)
            after.trade(after.papers[wish.name], wish.lots, wish.hold, pnl, fee, self.clock())
            if after.all > before.all or wish.lots > against:
                reasons += before.marks(self.clock())
            reasons += after.beyond(before, [wish], owner, opened=opened, reduces=wish.lots <= against)
        outcome = self.ask(
            "execute",
            order_of(wish),
            request_id=self.fresh(),
            realised_pnl=micros(pnl),
            fee=micros(fee),
            owner=owner,
            terms_version=version,
        )
        is_said(outcome, first_of(reasons))
        if outcome.ok:
            self.ledger = after

    @rule(amount=st.integers(0, 60), out=st.booleans())
    def move_money(self, amount: int, out: bool) -> None:
        if out:
            free = self.ledger.balance + min(0, self.ledger.open_pnl) - self.ledger.all
            code = self.ledger.withdraw(amount, self.clock())
            outcome = self.ask("withdraw", micros(amount), request_id=self.fresh())
            self.remembered(outcome, code)
            if code is Code.INSUFFICIENT_MARGIN:
                assert (outcome.required_units, outcome.free_units, outcome.shortfall_units) == (
                    amount,
                    free,
                    amount - free,
                )
        else:
            self.remembered(self.ask("deposit", micros(amount), request_id=self.fresh()), Code.OK)
            self.ledger.balance += amount

    @precondition(lambda self: self.ledger.tickets and not self.ledger.flat)
    @rule(mode=st.sampled_from([mode for mode in MODES if mode[1] == "net"]))
    def change_positions(self, mode: tuple[str, str]) -> None:
        """Tickets that add up to nothing are positions all the same."""
        sheet = replace(self.ledger.sheet, combine=mode[0], positions=mode[1])
        self.remembered(
            self.ask("set_terms", request_id=self.fresh(), **asked_for(sheet)), self.ledger.copy().set_terms(sheet)
        )

    @precondition(lambda self: self.ledger.sheet.mark_age_ms_max is not None and not self.ledger.flat)
    @rule(beyond=st.booleans(), skipped=st.booleans())
    def age(self, beyond: bool, skipped: bool) -> None:
        """Marks as old as they may be, and older."""
        for place in sorted((at for at in self.ledger.places if self.ledger.open_lots(at)), key=str)[skipped:]:
            flag = self.ledger.mark(place, 0, self.clock(), self.clock())
            assert self.ask("mark", {(place[0], place[1] or ""): 0}).flags == ((flag,) if flag else ())
        self.clock.now_us += (self.ledger.sheet.mark_age_ms_max or 0) * 1000 + beyond
        code = self.ledger.withdraw(0, self.clock())
        self.remembered(self.ask("withdraw", 0, request_id=self.fresh()), code)

    # Facts -----------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.ledger.papers)
    @rule(
        data=st.data(),
        lots=st.integers(1, 8),
        margin=st.integers(0, 90),
        pnl=st.integers(-9, 9),
        fee=st.integers(0, 3),
        told=st.booleans(),
    )
    def fill(self, data: st.DataObject, lots: int, margin: int, pnl: int, fee: int, told: bool) -> None:
        papers = list(self.ledger.papers.values())
        late = data.draw(st.integers(0, 4)) == 4
        paper = data.draw(st.sampled_from([p for p in papers if p.live != late] or papers))
        named = None if self.ledger.tickets and not told else margin
        flags = self.ledger.fill(paper.wish.name, lots, named, pnl, fee, self.clock())
        outcome = self.ask(
            "fill",
            paper.wish.name,
            lots,
            fill_id=self.fresh(),
            margin=None if named is None else micros(named),
            realised_pnl=micros(pnl),
            fee=micros(fee),
        )
        is_said(outcome, Code.OK)
        assert {flag: flag in outcome.flags for flag in flags} == flags

    @precondition(lambda self: self.ledger.papers and (self.ledger.tickets or self.count % 5 == 0))
    @rule(
        data=st.data(),
        lots=st.one_of(st.none(), st.integers(1, 8)),
        pnl=st.integers(-9, 9),
        fee=st.integers(0, 3),
        unknown=st.integers(0, 20),
    )
    def close(self, data: st.DataObject, lots: int | None, pnl: int, fee: int, unknown: int) -> None:
        papers = list(self.ledger.papers.values())
        open_ones = [p for p in papers if p.open_lots] or papers
        paper = data.draw(st.sampled_from(open_ones))
        name = paper.wish.name if unknown else "nobody"
        code = self.ledger.close(name, lots, pnl, fee, self.clock())
        outcome = self.ask("close", name, lots, event_id=self.fresh(), realised_pnl=micros(pnl), fee=micros(fee))
        is_said(outcome, code)

    @precondition(lambda self: self.ledger.papers)
    @rule(
        data=st.data(),
        event=st.sampled_from(["reject", "cancel", "expire"]),
        reason=st.sampled_from(["", "rejected", "rejected: late"]),
    )
    def end(self, data: st.DataObject, event: str, reason: str) -> None:
        name = data.draw(st.sampled_from(list(self.ledger.papers)))
        code = self.ledger.end(name, event)
        is_said(self.ask(event, name, event_id=self.fresh(), reason=reason), code)

    @precondition(lambda self: self.ledger.papers)
    @rule(data=st.data(), claim=st.booleans())
    def note(self, data: st.DataObject, claim: bool) -> None:
        """A suspension stops neither: the margin is held."""
        paper = data.draw(st.sampled_from(list(self.ledger.papers.values())))
        legal = paper.state == "RESERVED" if claim else paper.live
        words = ("claim", paper.wish.name) if claim else ("acknowledge", paper.wish.name, self.fresh())
        is_said(self.ask(*words, event_id=self.fresh()), Code.OK if legal else Code.ILLEGAL_TRANSITION)
        if legal:
            paper.state = "SENT" if claim else "LIVE"

    @precondition(lambda self: self.count % 7 == 0 or not self.ledger.flat)
    @rule(data=st.data(), pnl=st.integers(-200, 200), old_ms=st.sampled_from([0, 0, 900, 5_000, -5_000, -90_000]))
    def mark(self, data: st.DataObject, pnl: int, old_ms: int) -> None:
        leg = data.draw(st.sampled_from(["long", "short"])) if self.hedged else None
        open_ones = sorted((at for at in self.ledger.places if self.ledger.open_lots(at)), key=str)
        anywhere: Place = (data.draw(st.sampled_from(SYMBOLS)), leg)
        place = data.draw(st.sampled_from([*open_ones, anywhere]))
        as_of = self.clock() - old_ms * 1000
        flag = self.ledger.mark(place, pnl, as_of, self.clock())
        outcome = self.ask("mark", {(place[0], place[1] or ""): micros(pnl)}, as_of_us=as_of)
        assert (outcome.code, outcome.flags) == (Code.OK, (flag,) if flag else ())

    @precondition(lambda self: self.ledger.sheet.mark_age_ms_max is not None)
    @rule(ms=st.sampled_from([None, 1, 999, 10_000]))
    def wait(self, ms: int | None) -> None:
        """For as long as a mark may be old at most, for one."""
        self.clock.advance((ms or self.ledger.sheet.mark_age_ms_max or 0) / 1000)

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """An id is answered before anything is asked of terms, status or limits."""
        name, values, named, answer = data.draw(st.sampled_from(self.past))
        assert self.ask(name, *values, **named) == answer._replace(code=Code.DUPLICATE)

    # After every step ------------------------------------------------------------------------------------------------

    @invariant()
    def every_figure_is_the_oracles(self) -> None:
        if not hasattr(self, "ledger"):
            return
        ledger = self.ledger
        accounts = [book.account(self.name) for book in self.books]
        assert all(account == accounts[0] for account in accounts)
        account = accounts[0]
        assert (account.balance_units, account.open_pnl_units) == (ledger.balance, ledger.open_pnl)
        assert (account.executed_units, account.all_units) == (ledger.executed, ledger.all)
        assert (account.free_units, account.withdrawable_units) == (ledger.free, ledger.withdrawable)
        assert (account.live_orders, account.records) == (ledger.live, ledger.records)
        assert (account.late_fills, account.overfills) == (ledger.late_fills, ledger.overfills)
        assert (account.status, account.terms_version) == (
            "SUSPENDED" if ledger.suspended else "ACTIVE",
            ledger.terms_version,
        )
        kept = [book.orders(self.name, every=True) for book in self.books]
        assert all(orders == kept[0] for orders in kept)
        assert {o.order_id: pictured(o) for o in kept[0]} == {
            name: ledger.picture(paper) for name, paper in ledger.papers.items()
        }

    def teardown(self) -> None:
        """Whatever the terms, everything can be ended: by facts alone where there are tickets."""
        if not hasattr(self, "ledger"):
            return
        ledger = self.ledger
        for paper in list(ledger.papers.values()):
            if paper.live:
                assert self.ask("cancel", paper.wish.name, event_id=self.fresh()).code is ledger.end(
                    paper.wish.name, "cancel"
                )
            if paper.open_lots:
                assert self.ask("close", paper.wish.name, event_id=self.fresh(), realised_pnl=0).ok
        self.ask("suspend", False, request_id=self.fresh())
        self.ask("set_terms", request_id=self.fresh(), rule=ledger.sheet.combine, positions=ledger.sheet.positions)
        for (symbol, leg), lots in ledger.lots.items():
            if lots:
                out = Wish(self.fresh(), symbol, leg, "ask" if lots > 0 else "bid", abs(lots), 0)
                assert self.ask("execute", order_of(out), request_id=self.fresh(), realised_pnl=0).ok
        for book in self.books:
            account = book.account(self.name)
            assert (account.executed_units, account.all_units, account.open_pnl_units) == (0, 0, 0)
            assert account.live_orders == 0
            assert book.audit(self.name).findings == ()
        kept = [book.history(self.name, limit=10**6) for book in self.books]
        assert all(journal == kept[0] for journal in kept)


class AtTheLimit(Accounts):
    """Positions that are pressed to their limit, beside orders that may only reduce them: a random ladder seldom is."""

    @initialize(
        mode=st.sampled_from([mode for mode in MODES if mode[1] != "tickets"]),
        most=st.integers(2, 9),
        held=st.integers(-9, 9),
    )
    def open(self, mode: tuple[str, str], most: int, held: int) -> None:  # type: ignore[override]
        sheet = Sheet(*mode, position_lots_max=(("AAA", most),))
        self.ledger = Ledger(sheet, 4_000, opened_us=self.clock())
        assert self.ask("open_account", micros(4_000), **asked_for(sheet)).ok
        if not held:
            return
        # A position to reduce from the first order on.
        side, leg = ("bid", "long") if held > 0 else ("ask", "short")
        wish = Wish(self.fresh(), "AAA", leg if self.hedged else None, side, min(abs(held), most), 20)
        assert self.ask("execute", order_of(wish), request_id=self.fresh(), realised_pnl=0).ok
        self.ledger.ids += 1
        self.ledger.papers[wish.name] = Paper(wish, wish.hold, "", "FILLED", filled=wish.lots)
        self.ledger.trade(self.ledger.papers[wish.name], wish.lots, wish.hold, 0, 0, self.clock())

    def set_terms(self) -> None:  # type: ignore[override]
        """The terms stay."""

    def suspend(self) -> None:  # type: ignore[override]
        """Nobody stops the account."""

    def wish(self, data: st.DataObject) -> Wish:
        wish, ledger = replace(super().wish(data), symbol="AAA"), self.ledger
        against = ledger.open_on(wish.place, "ask" if wish.side == "bid" else "bid")
        if against and data.draw(st.booleans()):
            return replace(wish, reduce_only=True, lots=data.draw(st.integers(1, against + 1)))
        (_, most), *_ = ledger.sheet.position_lots_max
        room = most - ledger.reach(wish.place, wish.side, only_reducing=wish.reduce_only or wish.closes)
        return replace(wish, lots=max(1, room + data.draw(st.integers(-1, 1))))


def pictured(order: Any) -> tuple[Any, ...]:
    done = (order.filled, order.working, order.released, order.overfilled)
    return (order.state, order.hold, *done, order.open_lots, order.margin)


@pytest.fixture
def books(tmp_path: Path, clock: Clock) -> Iterator[list[ReservationBook]]:
    """A book on every store, for as many accounts as are tried."""
    pytest.importorskip("apsw", reason="the extra `sqlite` is not installed")
    with servers.shared().client() as client:
        client.flushall()
    servers.shared_cluster().flush()
    urls = ("memory:", servers.shared().url, servers.shared_cluster().url)
    opened: list[Callable[[], ReservationBook]] = [
        *[lambda url=url: ReservationBook.connect(url, clock=clock) for url in urls],  # type: ignore[misc]
        *[
            lambda apsw=apsw: SqliteBook(  # type: ignore[misc]
                str(tmp_path / f"{apsw}.db"), durability="normal", clock=clock, through_apsw=apsw
            )
            for apsw in (True, False)
        ],
    ]
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(make()) for make in opened]


def test_tickets_limits_terms_and_suspensions_are_those_of_an_oracle_on_every_store(
    books: list[ReservationBook], clock: Clock
) -> None:
    """I1, I2, I3, I6, I9, I11, I14, I15 and I18, and the order of the codes, after every step of any history."""
    most = settings.default.max_examples // 2
    run_state_machine_as_test(
        lambda: Accounts(books, clock),
        settings=settings(deadline=None, max_examples=most, stateful_step_count=40),
    )


def test_positions_at_their_limit_beside_what_may_only_reduce_are_those_of_an_oracle_on_every_store(
    books: list[ReservationBook], clock: Clock
) -> None:
    run_state_machine_as_test(
        lambda: AtTheLimit(books, clock),
        settings=settings(deadline=None, max_examples=settings.default.max_examples // 2, stateful_step_count=20),
    )
