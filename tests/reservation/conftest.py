"""One book on every store of this version, with a clock the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
import redis
from tests import servers

from equipoise.orders import Order, Side
from equipoise.reservation import ReservationBook
from equipoise.reservation.sqlite import SqliteBook

STORES = ("memory", "sqlite-apsw", "sqlite-stdlib", "valkey", "valkey-cluster")
RULES = (
    ("sum", "net"),
    ("sum", "hedge"),
    ("sum", "tickets"),
    ("worst_side", "net"),
    ("per_side", "net"),
    ("hedge_legs", "hedge"),
    ("larger_leg", "net"),
    ("larger_leg", "tickets"),
)
"""Every combine rule with every kind of positions that it goes with."""
START_US = 1_700_000_000_000_000


class Clock:
    """Microseconds that move only when told."""

    def __init__(self) -> None:
        self.now_us = START_US

    def __call__(self) -> int:
        return self.now_us

    def advance(self, seconds: float) -> None:
        self.now_us += int(seconds * 1_000_000)


def _order(
    side: str = "bid",
    lots: int = 1,
    hold: int = 0,
    *,
    symbol: str = "SYM",
    price_ticks: int = 100,
    order_id: str | None = None,
    reduce_only: bool = False,
    leg: str | None = None,
) -> Order:
    return Order(
        symbol=symbol,
        side=Side(side),
        lots=lots,
        price_ticks=price_ticks,
        hold=hold,
        price=Decimal(price_ticks),
        size=Decimal(lots),
        order_id=order_id,
        reduce_only=reduce_only,
        leg=leg,
    )


@pytest.fixture
def order() -> Callable[..., Order]:
    """order(side, lots, hold in micro-units, ...)."""
    return _order


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client() -> Iterator[redis.Redis]:
    """A plain client of the shared server, emptied."""
    with servers.shared().client() as opened:
        opened.flushall()
        yield opened


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    return tmp_path / "margin.db"


@pytest.fixture(params=STORES)
def book(request: pytest.FixtureRequest, clock: Clock, sqlite_path: Path) -> Iterator[ReservationBook]:
    """An empty book; one run per store."""
    if request.param == "memory":
        opened: ReservationBook = ReservationBook.connect("memory:", clock=clock)
    elif request.param == "valkey":
        server = servers.shared()
        with server.client() as client:
            client.flushall()
        opened = ReservationBook.connect(server.url, clock=clock)
    elif request.param == "valkey-cluster":
        servers.shared_cluster().flush()
        opened = ReservationBook.connect(servers.shared_cluster().url, clock=clock)
    else:
        through_apsw = request.param == "sqlite-apsw"
        if through_apsw:
            pytest.importorskip("apsw", reason="the extra `sqlite` is not installed")
        opened = SqliteBook(str(sqlite_path), durability="normal", clock=clock, through_apsw=through_apsw)
    with opened:
        yield opened


@pytest.fixture
def proven(book: ReservationBook) -> Iterator[ReservationBook]:
    """An empty book whose accounts must pass the audit when the test ends."""
    yield book
    for account_id in book.accounts():
        assert book.audit(account_id).findings == ()
