"""What many processes do to one book at the same time, for the tests that count what they were granted."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from decimal import Decimal

from equipoise.orders import Order, Side
from equipoise.reservation import Code, ReservationBook

__all__ = ["FILE_EACH", "on_file", "on_server"]

FILE_EACH = 12


def _order(lots: int) -> Order:
    return Order(symbol="SYM", side=Side.BID, lots=lots, price_ticks=1, hold=10, price=Decimal(1), size=Decimal(1))


def _gate(say: Callable[[str], None], book: ReservationBook) -> None:
    """Say that this process is ready, and wait until the account is opened, so that all begin at once."""
    say("ready")
    while "hot" not in book.accounts():
        time.sleep(0.001)


def on_server(say: Callable[[str], None], url: str, number: int) -> None:
    """Twelve ladders on the account `hot`; says how many orders were granted."""
    rng = random.Random(number)
    granted = 0
    with ReservationBook.connect(url, timeout_ms=60_000) as book:
        _gate(say, book)
        for n in range(12):
            ladder = [_order(1)] * rng.randint(1, 3)
            outcome = book.reserve("hot", ladder, request_id=f"{number}-{n}", policy="best_effort")
            granted += len(outcome.granted)
    say(str(granted))
    say("done")


def on_file(say: Callable[[str], None], path: str, worker: int, threads: int) -> None:
    """Threads that reserve on the account `hot` and trade on one of their own; says what `hot` granted and refused."""
    codes: list[Code] = []
    failures: list[BaseException] = []
    url = f"sqlite:///{path}?durability=normal"
    with ReservationBook.connect(url, timeout_ms=60_000) as book:
        _gate(say, book)

        def work(thread: int) -> None:
            rng = random.Random(worker * 100 + thread)
            for n in range(FILE_EACH):
                name, own = f"{worker}-{thread}-{n}", f"own{worker}"
                codes.append(book.reserve("hot", [_order(2)], request_id=name).code)
                assert book.reserve(own, [_order(2)] * 3, request_id=name).ok
                assert book.fill(own, f"{name}:0", rng.randint(1, 3), fill_id="f", realised_pnl=0).ok
                for place in range(3):
                    book.cancel(own, f"{name}:{place}")

        def watched(thread: int) -> None:
            try:
                work(thread)
            except BaseException as error:
                failures.append(error)

        running = [threading.Thread(target=watched, args=(n,)) for n in range(threads)]
        for one in running:
            one.start()
        for one in running:
            one.join()
    if failures:
        raise failures[0]
    say(f"{codes.count(Code.OK)} {codes.count(Code.INSUFFICIENT_MARGIN)}")
    say("done")
