"""The Redis book for asyncio: the steps of all tasks share one connection to a node and are written together.

Only the plain case is handled here: a script that runs and answers. Whatever else a server says (a slot that has moved,
a script it does not know, an alias to be looked up, another home) means that nothing was run, and the step is handed to
the synchronous book in a thread, which knows what to do. A connection that ends, or an answer that does not come, is
`StoreTimeout` for everyone who waits: unknown; the same id settles it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import redis.asyncio as client
import redis.exceptions as failures

from equipoise.errors import StoreTimeout, StoreUnavailable
from equipoise.reservation.awaited import AsyncReservationBook
from equipoise.reservation.records import Outcome
from equipoise.reservation.redis import RedisBook
from equipoise.reservation.redis_links import KNOWN_S, Address, connection_settings, packed, slot_of
from equipoise.reservation.redis_steps import outcome_from
from equipoise.reservation.redis_wire import PENDING, Replies
from equipoise.reservation.requests import Archive, OpenAccount, Repair, Request, Reserve, Sweep

__all__ = ["RedisInLoop"]

THREADS = 4
"""For reads and for what a step could not settle in the loop."""
GATHERED = 16
"""Steps that are written together: the server runs them while the loop makes the next."""
_IN_THREAD = (Archive, Sweep, Repair, OpenAccount)
"""Requests of which some take more than one step."""
_Answer = TypeVar("_Answer")


def _taken_from(connection: client.connection.AbstractConnection) -> asyncio.StreamWriter:
    """The writer of a connection just made, which the connection then knows nothing of any more."""
    writer = connection._writer  # noqa: SLF001 - redis-py has no public name for it
    assert writer is not None  # noqa: S101 - connected
    connection._reader = connection._writer = None  # noqa: SLF001
    return writer


class _Line(asyncio.Protocol):
    """One connection to a node. A step is written at once while nobody waits for another one; of what else is asked in
    a turn of the loop, `GATHERED` are written together. Answers come in order.

    redis-py connects, authenticates and selects; then the line takes its transport over.
    """

    def __init__(self, connection: client.connection.AbstractConnection, home: str, timeout_s: float) -> None:
        self.known = time.monotonic()
        self.broken = False
        self.name(home)
        # Kept: a writer that is let go closes its transport.
        self._writer = _taken_from(connection)
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[asyncio.Future[list[Any]], int, float]] = deque()
        """Who waits for how many replies until when, in the order asked; those who gave up among them."""
        self._timer: asyncio.TimerHandle | None = None
        self._out: list[bytes] = []
        """What was asked in this turn of the loop and is not on its way yet."""
        self._replies = Replies()
        self._found: list[Any] = []
        self._transport = cast(asyncio.Transport, self._writer.transport)
        self._transport.set_protocol(self)

    def name(self, home: str) -> None:
        """Note who the node is."""
        self.home = home
        self.home_word = packed([home])

    def ask(self, payload: bytes, replies: int) -> asyncio.Future[list[Any]]:
        """Write a step, at once or with others of this turn; its replies, error replies among them."""
        loop = self._loop
        future: asyncio.Future[list[Any]] = loop.create_future()
        until = loop.time() + self._timeout_s
        alone = not self._waiting
        self._waiting.append((future, replies, until))
        if self._timer is None:
            self._timer = loop.call_at(until, self._expire)
        if alone:
            self._transport.write(payload)
            return future
        out = self._out
        if not out:
            loop.call_soon(self._flush)
        out.append(payload)
        if len(out) == GATHERED:
            self._flush()
        return future

    def _flush(self) -> None:
        if self._out and not self.broken:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def data_received(self, data: bytes) -> None:
        """Hand replies to who waits for them."""
        ready, waiting = self._replies, self._waiting
        try:
            ready.feed(data)
            while (reply := ready.take()) is not PENDING:
                if not waiting:
                    self._fail(failures.ConnectionError("an answer nobody asked for"))
                    return
                found = self._found
                found.append(reply)
                future, replies, _ = waiting[0]
                if len(found) == replies:
                    waiting.popleft()
                    self._found = []
                    if not future.done():
                        future.set_result(found)
        except (failures.RedisError, ValueError) as error:
            self._fail(error)

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody who waits can know what became of the step."""
        self._fail(error or failures.ConnectionError("the server closed the connection"))

    def _expire(self) -> None:
        """No answer in time: unknown. Later steps get a line of their own; this one goes on for who still waits."""
        self._timer = None
        now = self._loop.time()
        for future, _, until in self._waiting:
            if until > now:
                self._timer = self._loop.call_at(until, self._expire)
                return
            if not future.done():
                self.broken = True
                future.set_exception(_unknown("no answer in time"))
        if self.broken:
            self._fail(failures.TimeoutError("no answer in time"))

    def _fail(self, error: BaseException) -> None:
        self.broken = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for future, _, _ in self._waiting:
            if not future.done():
                future.set_exception(_unknown(error))
        self._waiting.clear()
        self._transport.close()

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self._transport.is_closing()

    def close(self) -> None:
        """End the connection; who waits is told that the answer is unknown."""
        self._fail(failures.ConnectionError("the book was closed"))


def _unknown(error: object) -> StoreTimeout:
    return StoreTimeout(f"{error}; ask again with the same id, or abandon it")


class RedisInLoop(AsyncReservationBook):
    """A Redis book whose steps run in the loop. Opened by `AsyncReservationBook.connect("redis://...")`."""

    def __init__(self, book: RedisBook, *, timeout_ms: int, horizon_s: int) -> None:
        super().__init__(clock=book.clock, timeout_ms=timeout_ms, horizon_s=horizon_s)
        self._redis = book
        self._book = book
        self._timeout_s = timeout_ms / 1000
        self._lines: dict[Address, _Line] = {}
        self._retired: list[_Line] = []
        self._opening: dict[Address, asyncio.Task[_Line]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="equipoise-book")
        self._process = os.getpid()
        self._closed = False

    async def _in_thread(self, call: Callable[..., _Answer], *values: Any) -> _Answer:
        self._ready()
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *values)

    def _ready(self) -> None:
        if self._closed:
            raise StoreUnavailable("the book is closed")
        if self._process != os.getpid():
            raise StoreUnavailable("the connections of an asynchronous book do not survive a fork: connect again")
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._lines, self._opening = loop, {}, {}

    async def _line(self, address: Address) -> _Line:
        """The line to a node, of which was known within the last second who it is."""
        line = self._lines.get(address)
        if line is not None and not line.broken:
            if line.home and time.monotonic() - line.known > KNOWN_S:
                line.name(await self._in_thread(self._redis.home_of, address))
                line.known = time.monotonic()
            return line
        opening = self._opening.get(address)
        if opening is None:
            opening = asyncio.get_running_loop().create_task(self._connect(address))
            self._opening[address] = opening
            opening.add_done_callback(lambda _: self._opening.pop(address, None))
        return await asyncio.shield(opening)

    async def _connect(self, address: Address) -> _Line:
        # Asked first: it may raise, and then there is no connection to close.
        home = await self._in_thread(self._redis.home_of, address)
        target = self._redis.target
        settings = connection_settings(target, self._timeout_s) | {"socket_timeout": None}
        connection: client.connection.AbstractConnection
        if address.port:
            kind = client.SSLConnection if target.tls else client.Connection
            connection = kind(host=address.host, port=address.port, **settings)
        else:
            connection = client.UnixDomainSocketConnection(path=address.host, **settings)
        try:
            # A server that stands still takes the connection and never answers the handshake.
            async with asyncio.timeout(self._timeout_s):
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if isinstance(error, TimeoutError | failures.RedisError):
                raise StoreUnavailable(f"{address}: {str(error) or 'no answer in time'}") from error
            raise
        # A node that waits for a disk or a replica gives up before this does: what it says then is known.
        line = _Line(connection, home, self._timeout_s + (0 if target.durability == "memory" else 1))
        before = self._lines.get(address)
        if before is not None:
            # Somebody may still wait there.
            self._retired = [*[old for old in self._retired if not old.closed], before]
        self._lines[address] = line
        return line

    async def _step(self, request: Request) -> Outcome:
        self._ready()
        if isinstance(request, _IN_THREAD):
            return await self._in_thread(self._redis.run, request)
        head, tail, wait = self._redis.packed_step(request)
        address = self._redis.address_of(slot_of(request.account_id))
        try:
            line = self._lines.get(address)
            if line is None or line.broken or (line.home and time.monotonic() - line.known > KNOWN_S):
                line = await self._line(address)
        except StoreUnavailable as error:
            # The node may have gone; nothing was sent.
            self._redis.drop_links(address)
            if isinstance(error.__cause__, TimeoutError | failures.TimeoutError):
                # It is silent, and the caller's time is spent: a few threads would make all tasks wait in turn for more
                # of the same. Who asks next goes where the account may be by then.
                self._threads.submit(self._redis.lost, address)
                raise
            # The synchronous book knows where to look, by a new connection.
            return await self._in_thread(self._redis.run, request)
        replies = await line.ask(b"%b%b%b%b" % (head, line.home_word, tail, wait), 2 if wait else 1)
        reply = replies[0]
        if isinstance(reply, bytes) and reply[:1] not in (b"K", b"H"):
            self._redis.check_wait(replies)
            outcome = outcome_from(request, str(reply, "utf-8"))
            if isinstance(request, Reserve) and request.outbox and outcome.done:
                self._hint(request.account_id)
            return outcome
        return await self._in_thread(self._redis.run, request)

    def _hint(self, account_id: str) -> None:
        """Tell workers of an account, without waiting for it; a hint that is lost costs up to the next walk."""
        slot, payload, replies = self._redis.registry.hint_of(account_id)
        line = self._lines.get(self._redis.address_of(slot))
        if line is not None and not line.broken:
            # Nobody awaits it, so its failure must not be reported as one that nobody saw.
            line.ask(payload, replies).add_done_callback(lambda future: future.cancelled() or future.exception())
        else:
            self._threads.submit(self._redis.registry.hint, [account_id])

    async def _call(self, name: str, *values: Any, **named: Any) -> Any:
        return await self._in_thread(lambda: getattr(self._redis, name)(*values, **named))

    async def _find_scale(self, account_id: str) -> int | None:
        return await self._in_thread(self._redis.known_scale, account_id)

    async def close_book(self) -> None:
        """Close the connections and join the threads. Idempotent."""
        if self._closed or self._process != os.getpid():
            return
        self._closed = True
        for line in [*self._lines.values(), *self._retired]:
            line.close()
        self._lines.clear()
        await asyncio.to_thread(self._threads.shutdown)
        self._redis.close_book()
