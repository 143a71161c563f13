"""A long seeded life of one book, in pieces that can be resumed.

`python -m tests.reservation.soak memory: --operations 10000000` runs one; on a SQLite file it stops after `--minutes`
and the same command goes on from there. The clock is injected and advances by hours, so that sweeper, export and
archive do their work many times over.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from equipoise.orders import Order, Side
from equipoise.reservation import Code, OrderState, ReservationBook

__all__ = ["Soak"]

A = "soak"
SYMBOLS = ("AAA", "BBB", "CCC")
EVENTS = ("claim", "ack", "ack", "fill", "fill", "fill", "amend", "settle", "cancel", "reject", "expire")
LIVE_MAX = 300
UPKEEP = 500
"""Operations between two runs of sweeper, export and archive."""


def micros(count: int) -> Decimal:
    return Decimal(count).scaleb(-6)


@dataclass
class Soak:
    """One piece: `operations` steps drawn from (seed, piece), on the book as the piece before left it."""

    book: ReservationBook
    seed: int
    piece: int
    now_us: int

    def clock(self) -> int:
        return self.now_us

    def open(self) -> None:
        """Open the account unless it is there."""
        if A not in self.book.accounts():
            limits = {"ann": "900", "bob": "900"}
            assert self.book.open_account(A, 2_000, rule="worst_side", owner_margin_max=limits).ok

    def run(self, operations: int) -> dict[str, int]:
        """Count of each answer."""
        rng = random.Random(f"{self.seed}:{self.piece}")
        live = [order.order_id for order in self.book.orders(A)]
        counts: dict[str, int] = {}
        done = 0
        while done < operations:
            name = f"p{self.piece}-{done}"
            draw = rng.random()
            if not live or (draw < 0.3 and len(live) < LIVE_MAX):
                code = self._reserve(rng, name, live)
            elif draw < 0.32:
                step = self.book.deposit if rng.random() < 0.5 else self.book.withdraw
                code = step(A, micros(rng.randint(0, 10**6)), request_id=name).code
            else:
                code = self._event(rng, name, live)
            counts[code.value] = counts.get(code.value, 0) + 1
            done += 1
            if done % UPKEEP == 0:
                self._upkeep(live)
        return counts

    def _reserve(self, rng: random.Random, name: str, live: list[str]) -> Code:
        ladder = [
            Order(
                symbol=rng.choice(SYMBOLS),
                side=rng.choice(list(Side)),
                lots=rng.randint(1, 9),
                price_ticks=1,
                hold=rng.randint(0, 10**7),
                price=Decimal(1),
                size=Decimal(1),
                reduce_only=rng.random() < 0.1,
            )
            for _ in range(rng.randint(1, 4))
        ]
        send = rng.choice(["claim", "caller", "outbox"])
        owner = rng.choice(["", "ann", "bob"])
        outcome = self.book.reserve(A, ladder, request_id=name, send=send, owner=owner, policy="best_effort")
        live.extend(outcome.granted)
        return outcome.code

    def _event(self, rng: random.Random, name: str, live: list[str]) -> Code:
        place = rng.randrange(len(live))
        order_id, book = live[place], self.book
        event = rng.choice(
            ["claim", "ack", "ack", "fill", "fill", "fill", "amend", "settle", "cancel", "reject", "expire"]
        )
        if event == "claim":
            return book.claim(A, order_id, event_id=name).code
        if event == "ack":
            return book.acknowledge(A, order_id, f"v-{name}").code
        if event == "fill":
            margin, pnl = micros(rng.randint(0, 10**7)), micros(rng.randint(-(10**5), 10**5))
            outcome = book.fill(A, order_id, rng.randint(1, 5), fill_id=name, margin=margin, realised_pnl=pnl)
        elif event == "amend":
            return book.amend(A, order_id, rng.randint(1, 12), micros(rng.randint(0, 10**7)), event_id="a").code
        elif event == "settle":
            word = "accepted" if rng.random() < 0.5 else "refused"
            outcome = book.settle_amend(A, order_id, word, amend_id="a")  # type: ignore[arg-type]
        else:
            outcome = {"cancel": book.cancel, "reject": book.reject, "expire": book.expire}[event](A, order_id)
        if outcome.code is Code.ORDER_NOT_FOUND or (outcome.state is not None and outcome.state.terminal):
            live[place] = live[-1]
            live.pop()
        return outcome.code

    def _upkeep(self, live: list[str]) -> None:
        """Eight hours pass: the sweeper labels, UNKNOWN orders are resolved, what is old is exported and let go."""
        book = self.book
        self.now_us += 8 * 3_600_000_000
        book.sweep(A)
        for order in book.orders(A, OrderState.UNKNOWN):
            assert book.resolve(A, order.order_id, OrderState.CANCELLED, evidence="operator", event_id="soak").ok
        live[:] = [order.order_id for order in book.orders(A)]
        chunk = book.export(A)
        while chunk:
            chunk = book.export(A, confirmed_version=chunk[-1].version)
        assert book.archive(A).ok

    def end(self) -> None:
        """Cancel and flatten everything; the book must stand at exactly zero."""
        book = self.book
        for order in book.orders(A):
            assert book.cancel(A, order.order_id, event_id="end").ok
        for row in book.symbols(A):
            if row.lots:
                side = Side.ASK if row.lots > 0 else Side.BID
                out = Order(
                    symbol=row.symbol,
                    side=side,
                    lots=abs(row.lots),
                    price_ticks=1,
                    hold=0,
                    price=Decimal(1),
                    size=Decimal(1),
                )
                name = f"end{self.piece}-{row.symbol}"
                assert book.execute(A, out, request_id=name, realised_pnl=0).ok
        account = book.account(A)
        assert (account.executed_units, account.all_units, account.live_orders) == (0, 0, 0)
        assert book.outbox(A) == ()
        assert book.audit(A).findings == ()


PIECE = 20_000
START_US = 1_700_000_000_000_000


def main() -> None:
    """Run a soak from the command line; prints one line a piece."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("url")
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=9.0)
    options = parser.parse_args()
    file = options.url.partition("?")[0].removeprefix("sqlite:///")
    note = None if options.url == "memory:" else Path(f"{file}.soak")
    state = {"piece": 0, "now_us": START_US} if note is None or not note.exists() else json.loads(note.read_text())
    stop = time.monotonic() + 60 * options.minutes
    with ReservationBook.connect(options.url, clock=lambda: state["now_us"]) as book:
        while state["piece"] * PIECE < options.operations and time.monotonic() < stop:
            soak = Soak(book, options.seed, state["piece"], state["now_us"])
            book._clock = soak.clock
            soak.open()
            start = time.perf_counter()
            counts = soak.run(PIECE)
            seconds = time.perf_counter() - start
            assert book.audit(A).findings == ()
            state = {"piece": state["piece"] + 1, "now_us": soak.now_us}
            if note is not None:
                note.write_text(json.dumps(state))
            megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            records = book.account(A).records
            print(f"piece {state['piece']}: {PIECE / seconds:.0f}/s, {records} records, {megabytes:.0f} MB, {counts}")
        if state["piece"] * PIECE >= options.operations:
            Soak(book, options.seed, state["piece"], state["now_us"]).end()
            print(f"{options.operations} operations: the book stands at exactly zero and the audit is clean")


if __name__ == "__main__":
    main()
