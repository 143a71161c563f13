"""I18 for callers that share a transaction: what a step reads of what the steps before it have not written yet."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.reservation.test_redis_same import TERMS, A, History

from equipoise.orders import Order
from equipoise.reservation import Code, Outcome, ReservationBook
from equipoise.reservation.group import Group, GroupMember
from equipoise.reservation.requests import Request
from equipoise.reservation.sqlite import SqliteBook


class Grouped(History):
    """A random history, step by step in memory, and in a file in groups of 1 to 12 steps."""

    def __init__(self, memory: ReservationBook, rows: SqliteBook, clock: Any, seed: int, terms: dict[str, Any]) -> None:
        super().__init__([memory], clock, seed, terms)
        self.rows = rows
        self.at_us = clock()
        rows._clock = lambda: self.at_us
        self.waiting: list[tuple[Request, Outcome]] = []
        self.sizes = random.Random(seed)
        self.size = 1

    def ask(self, op: str, *values: Any, **named: Any) -> Outcome:
        if self.clock() != self.at_us:
            self.run_group()  # at the time at which memory has run them
            self.at_us = self.clock()
        answer = super().ask(op, *values, **named)
        if op == "export":  # a step, and then a read
            self.run_group()
            assert self.rows.export(A, *values, **named) == answer
            return answer

        def run(request: Request) -> Outcome:
            self.waiting.append((request, answer))
            return answer

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.rows, "_run", run)
            assert getattr(self.rows, op)(A, *values, **named) == answer
        if len(self.waiting) >= self.size:
            self.run_group()
        return answer

    def run_group(self) -> None:
        group = Group([GroupMember(request) for request, _ in self.waiting])
        self.rows._run_group(group)
        for member, (request, answer) in zip(group, self.waiting, strict=True):
            assert member.answer() == answer, request
        self.waiting.clear()
        self.size = self.sizes.randint(1, 12)

    def compare(self) -> None:
        self.run_group()
        self.books.append(self.rows)
        super().compare()
        self.books.pop()


@pytest.mark.parametrize("terms", TERMS, ids=lambda terms: "-".join(str(value) for value in terms.values())[:30])
@pytest.mark.parametrize("seed", range(2))
def test_i18_steps_that_share_a_transaction_answer_and_keep_the_same_as_one_by_one(
    clock: Any, sqlite_path: Path, terms: dict[str, Any], seed: int
) -> None:
    with (
        ReservationBook.connect("memory:", clock=clock) as memory,
        SqliteBook(str(sqlite_path), durability="normal", clock=clock) as rows,
    ):
        history = Grouped(memory, rows, clock, seed, terms)
        assert history.ask("open_account", balance="0.000300", **terms).ok
        history.run_group()
        for number in range(250):
            history.step()
            if number % 50 == 0:
                history.compare()
        history.compare()
        assert rows.audit(A).findings == memory.audit(A).findings == ()


@contextlib.contextmanager
def opened(clock: Any, path: Path, **terms: Any) -> Iterator[Grouped]:
    """A history by hand, on an account in memory and in a file; both are the same at the end."""
    with (
        ReservationBook.connect("memory:", clock=clock) as memory,
        SqliteBook(str(path), durability="normal", clock=clock) as rows,
    ):
        history = Grouped(memory, rows, clock, 0, {"rule": "sum"})
        assert history.ask("open_account", balance="0.000300", **terms).ok
        history.run_group()
        yield history
        history.compare()


@pytest.mark.parametrize("more", [0, 1])
def test_an_order_id_that_a_step_of_the_same_transaction_took_is_taken(
    clock: Any, sqlite_path: Path, order: Callable[..., Order], more: int
) -> None:
    """Asking for the age of the marks writes what the transaction has kept so far, between two looks at the ids."""
    with opened(clock, sqlite_path, mark_age_ms_max=1_000) as history:
        history.size = 2
        assert history.ask("reserve", [order(hold=5, order_id="o")], request_id="1").ok
        # Refused either way: what is granted would meet the order in the file.
        again = [order(hold=999, order_id="o"), *[order(hold=5)] * more]
        assert history.ask("reserve", again, request_id="2").code is Code.ORDER_EXISTS
        assert history.waiting == []


def test_a_name_that_a_step_of_the_same_transaction_gave_to_an_order_is_taken(
    clock: Any, sqlite_path: Path, order: Callable[..., Order]
) -> None:
    with opened(clock, sqlite_path) as history:
        assert history.ask("reserve", [order(hold=5, order_id="o")], request_id="1", send="caller").ok
        history.run_group()
        history.size = 2
        assert history.ask("acknowledge", "o", "v").ok
        assert history.ask("reserve", [order(hold=5, order_id="v")], request_id="2").code is Code.ORDER_EXISTS
        assert history.waiting == []


def test_a_request_id_that_a_step_of_the_same_transaction_used_is_used(
    clock: Any, sqlite_path: Path, order: Callable[..., Order]
) -> None:
    """Asking for the age of the marks writes what the transaction has kept so far, the request id with it."""
    with opened(clock, sqlite_path, mark_age_ms_max=1_000) as history:
        history.size = 3
        assert history.ask("reserve", [order(hold=5)], request_id="1").ok
        assert history.ask("reserve", [order(hold=5)], request_id="2").ok
        assert history.ask("reserve", [order(hold=5)], request_id="1").code is Code.DUPLICATE
        assert history.waiting == []
