"""A long seeded life of one book, in pieces that can be resumed.

`python -m tests.reservation.soak memory --operations 10000000` runs one; it stops after `--minutes`, and the same
command goes on from there. The clock is injected and advances by hours, so that sweeper, export and archive do their
work many times over.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pickle
import random
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from inspect import isdatadescriptor
from pathlib import Path
from typing import Any

from tests import servers

from equipoise._rust import Shelf
from equipoise.orders import Order, Side
from equipoise.reservation import Code, OrderState, ReservationBook
from equipoise.reservation.memory import _Shelf

__all__ = ["Soak"]

A = "soak"
RECORDS = (*[name for name, kept in vars(Shelf).items() if isdatadescriptor(kept)], *_Shelf.__slots__)
"""What a memory book keeps of an account."""
SYMBOLS = ("AAA", "BBB", "CCC")
EVENTS = ("claim", "ack", "ack", "fill", "fill", "fill", "amend", "settle", "cancel", "reject", "expire")
LIVE_MAX = 300
BALANCE = 500
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
    sweeps: int = 0
    """How often the sweeper found something."""
    watermarks: int = 0
    """How often archive moved the watermark."""
    trims: int = 0
    """How often archive trimmed the journal."""

    def clock(self) -> int:
        return self.now_us

    def open(self) -> None:
        """Open the account unless it is there."""
        if A not in self.book.accounts():
            limits = {"ann": "180", "bob": "180"}
            assert self.book.open_account(A, BALANCE, rule="worst_side", owner_margin_max=limits).ok

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
        policy = rng.choice(["best_effort", "all_or_nothing"])
        named: dict[str, Any] = {"request_id": name, "send": send, "owner": owner, "policy": policy}
        outcome = self.book.reserve(A, ladder, **named)
        live.extend(outcome.granted)
        if rng.random() < 0.05:
            again = self.book.reserve(A, ladder, **named)
            assert again.code is (Code.DUPLICATE if outcome.ok else outcome.code)
        return outcome.code

    def _event(self, rng: random.Random, name: str, live: list[str]) -> Code:
        place = rng.randrange(len(live))
        order_id, book = live[place], self.book
        event = rng.choice(EVENTS)
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
        before = book.account(A)
        self.sweeps += book.sweep(A).version != before.version
        for order in book.orders(A, OrderState.UNKNOWN):
            assert book.resolve(A, order.order_id, OrderState.CANCELLED, evidence="operator", event_id="soak").ok
        live[:] = [order.order_id for order in book.orders(A)]
        chunk = book.export(A)
        while chunk:
            chunk = book.export(A, confirmed_version=chunk[-1].version)
        assert book.archive(A).ok
        # What was won and lost is settled, so that there is always too little for some and enough for others.
        if drift := BALANCE - before.balance:
            assert book.adjust(A, drift, "correction", request_id=f"settled-{self.now_us}").ok
        after = book.account(A)
        self.watermarks += after.watermark_us > before.watermark_us
        self.trims += after.trimmed_version > before.trimmed_version

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
FLAT = 1.1
"""How much more memory the last piece may have than the first one after the book was warm."""
SLACK_MB = 8.0


@dataclass
class Progress:
    """What has been done by the pieces so far; kept beside the book."""

    piece: int = 0
    now_us: int = START_US
    seconds: float = 0.0
    sweeps: int = 0
    watermarks: int = 0
    trims: int = 0
    first_mb: float = 0.0
    last_mb: float = 0.0
    codes: dict[str, int] = field(default_factory=dict)

    def add(self, soak: Soak, counts: dict[str, int], seconds: float, megabytes: float) -> None:
        """Count a piece that is through; the first one only warms the book."""
        self.piece += 1
        self.now_us = soak.now_us
        self.seconds += seconds
        self.sweeps += soak.sweeps
        self.watermarks += soak.watermarks
        self.trims += soak.trims
        for code, count in counts.items():
            self.codes[code] = self.codes.get(code, 0) + count
        if self.piece == 2:
            self.first_mb = megabytes
        self.last_mb = megabytes
        assert self.piece < 2 or megabytes <= FLAT * self.first_mb + SLACK_MB, (megabytes, self.first_mb)

    def check(self) -> None:
        """Sweeper, watermark and archive have done their work several times."""
        assert min(self.sweeps, self.watermarks, self.trims) >= 3, self


class Home:
    """A book that outlives the process that soaks it, in a folder."""

    def __init__(self, store: str, folder: Path) -> None:
        self.store, self.folder = store, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.server: servers.Server | None = None

    def open(self, clock: Callable[[], int]) -> ReservationBook:
        """The book as the last piece left it."""
        if self.store == "sqlite":
            return ReservationBook.connect(f"sqlite:///{self.folder / 'margin.db'}?durability=normal", clock=clock)
        if self.store == "valkey":
            (self.folder / "server.conf").unlink(missing_ok=True)  # another port
            self.server = servers.Server(folder=self.folder)
            return ReservationBook.connect(self.server.url, clock=clock, timeout_ms=600_000)
        book = ReservationBook.connect("memory:", clock=clock)
        if (self.folder / "memory.pickle").exists():
            for name, records in pickle.loads((self.folder / "memory.pickle").read_bytes()).items():
                shelf = book._shelves[name] = _Shelf()  # type: ignore[attr-defined]
                for kind, kept in records.items():
                    setattr(shelf, kind, kept)
        return book

    def save(self, book: ReservationBook) -> None:
        """Keep what would go with the process."""
        if self.store == "memory":
            shelves = book._shelves.items()  # type: ignore[attr-defined]
            kept = {name: {kind: getattr(shelf, kind) for kind in RECORDS} for name, shelf in shelves}
            (self.folder / "memory.pickle").write_bytes(pickle.dumps(kept))
        if self.server is not None:
            with self.server.client() as client:
                client.save()

    def megabytes(self) -> float:
        """Resident memory of the process that has the book, now."""
        process = "self" if self.server is None or self.server.process is None else self.server.process.pid
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20

    def close(self) -> None:
        """End the server; its folder stays."""
        if self.server is not None:
            self.server.kill()


def main() -> None:
    """Run a soak from the command line; prints one line a piece."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("store", choices=["memory", "sqlite", "valkey"])
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after so many; the same command goes on")
    parser.add_argument("--folder", type=Path, default=Path("out/soak"))
    options = parser.parse_args()
    home = Home(options.store, options.folder / f"{options.store}-{options.seed}")
    note = home.folder / "progress.json"
    progress = Progress(**json.loads(note.read_text())) if note.exists() else Progress()
    stop = time.monotonic() + 60 * options.minutes
    with contextlib.closing(home), home.open(lambda: progress.now_us) as book:
        while progress.piece * PIECE < options.operations and time.monotonic() < stop:
            soak = Soak(book, options.seed, progress.piece, progress.now_us)
            book._clock = soak.clock
            soak.open()
            start = time.perf_counter()
            counts = soak.run(PIECE)
            seconds = time.perf_counter() - start
            assert book.audit(A).findings == ()
            progress.add(soak, counts, seconds, home.megabytes())
            home.save(book)
            note.write_text(json.dumps(asdict(progress)))
            records = book.account(A).records
            words = f"piece {progress.piece}: {PIECE / seconds:.0f}/s, {records} records, {progress.last_mb:.0f} MB"
            print(words, flush=True)
        if progress.piece * PIECE >= options.operations:
            Soak(book, options.seed, progress.piece, progress.now_us).end()
            progress.check()
            print(f"{progress.piece * PIECE} operations, and the book stands at exactly zero: {progress}")


if __name__ == "__main__":
    main()
