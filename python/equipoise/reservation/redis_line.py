"""One connection of a Redis book for asyncio to one node.

The steps of all tasks share it. A step is written at once while nobody waits for another one; of what else is asked in
a turn of the loop, `GATHERED` are written together, and of these the reservations of one account as one command.
Answers come in order. A connection that ends, or an answer that does not come, is `StoreTimeout` for everyone who
waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, cast

import redis.asyncio as client
import redis.exceptions as failures

from equipoise._rust import PackedReserve, Replies
from equipoise.errors import StoreTimeout
from equipoise.reservation.redis import RedisBook
from equipoise.reservation.redis_links import PIECE, command
from equipoise.reservation.redis_scripts import SCRIPTS
from equipoise.reservation.redis_wire import PENDING, error_of

__all__ = ["Line", "seen"]

GATHERED = 28
"""Steps that are written together: the server runs them while the loop makes the next."""
JOINED_MAX = 64
"""Orders of reservations that go as one command: a server does nothing else meanwhile, about a millisecond."""


def _taken_from(connection: client.connection.AbstractConnection) -> asyncio.StreamWriter:
    """The writer of a connection just made, which the connection then knows nothing of any more."""
    writer = connection._writer  # noqa: SLF001 - redis-py has no public name for it
    assert writer is not None  # noqa: S101 - connected
    connection._reader = connection._writer = None  # noqa: SLF001
    return writer


class _Call:
    """One command on its way, and who awaits its replies."""

    __slots__ = ("future", "payload", "replies", "until")

    def __init__(self, future: asyncio.Future[list[Any]], payload: bytes, replies: int, until: float) -> None:
        self.future = future
        self.payload = payload
        self.replies = replies
        self.until = until

    def answer(self, found: list[Any]) -> None:
        """Give the replies to who awaits them."""
        _answer(self.future, found)

    def fail(self, error: object) -> bool:
        """Say that the answer is unknown; whether anybody was still waiting for it."""
        return _fail(self.future, error)


class _Joined:
    """Several reservations of one account as one command, each with who awaits its reply."""

    __slots__ = ("account_id", "futures", "orders", "parts", "replies", "until", "wait")

    def __init__(self, account_id: str, wait: bytes, until: float) -> None:
        self.account_id = account_id
        self.wait = wait
        """The command that waits for their durability, if any: it is asked for once, and packed later."""
        self.replies = 2 if wait else 1
        self.until = until
        self.futures: list[asyncio.Future[list[Any]]] = []
        self.parts: list[PackedReserve] = []
        self.orders = 0

    def answer(self, found: list[Any]) -> None:
        """Give each its own reply of the list, or all the error that stands in its place."""
        said, *more = found
        each = said if isinstance(said, list) else [said] * len(self.futures)
        for future, reply in zip(self.futures, each, strict=True):
            _answer(future, [reply, *more])

    def fail(self, error: object) -> bool:
        """Say that the answers are unknown; whether anybody was still waiting for one."""
        return [_fail(future, error) for future in self.futures].count(True) > 0


def _answer(future: asyncio.Future[list[Any]], found: list[Any]) -> None:
    if not future.done():
        future.set_result(found)


def _fail(future: asyncio.Future[list[Any]], error: object) -> bool:
    if future.done():
        return False
    future.set_exception(StoreTimeout(f"{error}; ask again with the same id, or abandon it"))
    return True


class Line(asyncio.BufferedProtocol):
    """A connection to a node. redis-py connects, authenticates and selects; then the line takes its transport over."""

    def __init__(
        self, connection: client.connection.AbstractConnection, book: RedisBook, home: str, timeout_s: float
    ) -> None:
        self._book = book
        self.known = time.monotonic()
        self.broken = False
        self.home = home
        # Kept: a writer that is let go closes its transport.
        self._writer = _taken_from(connection)
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Call | _Joined] = deque()
        """Commands without all replies, in the order asked; those of callers who gave up among them."""
        self._timer: asyncio.TimerHandle | None = None
        self._out: list[_Call | _Joined] = []
        """What was asked in this turn of the loop and is not on its way yet."""
        self._gathered = 0
        """Steps in `_out`."""
        self._joined: dict[str, _Joined] = {}
        """By account: the command in `_out` that its next reservation may go with."""
        self._loading: asyncio.Future[list[Any]] | None = None
        self._replies = Replies(PENDING, error_of)
        self._room = memoryview(bytearray(PIECE))
        self._found: list[Any] = []
        self._transport = cast(asyncio.Transport, self._writer.transport)
        self._transport.set_protocol(self)

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._waiting)

    def ask(self, account_id: str, payload: bytes, replies: int) -> asyncio.Future[list[Any]]:
        """Write a step, at once or with others of this turn; its replies, error replies among them."""
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        call = _Call(future, payload, replies, self._until())
        alone = not self._waiting
        self._waiting.append(call)
        if alone:
            self._transport.write(payload)
        else:
            # What is asked of the account later stays behind this.
            self._joined.pop(account_id, None)
            self._out.append(call)
            self._gather()
        return future

    def tell(self, payload: bytes, replies: int) -> asyncio.Future[list[Any]]:
        """The same for what changes no account and nobody awaits: that it fails is not reported as seen by nobody."""
        future = self.ask("", payload, replies)
        future.add_done_callback(seen)
        return future

    def join(self, account_id: str, part: PackedReserve) -> asyncio.Future[list[Any]]:
        """Write a reservation with others of this turn and account; its replies, as of `ask`."""
        if self._loading is None:
            self.load()
        joined = self._joined.get(account_id)
        if joined is None or joined.orders + part.orders > JOINED_MAX:
            joined = self._joined[account_id] = _Joined(account_id, self._book.wait, self._until())
            self._waiting.append(joined)
            self._out.append(joined)
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        joined.futures.append(future)
        joined.parts.append(part)
        joined.orders += part.orders
        self._gather()
        return future

    def load(self) -> None:
        """Send the script that several reservations need; what is asked from here on finds it."""
        if self._loading is None or self._loading.done():
            self._loading = self.tell(command("SCRIPT", "LOAD", SCRIPTS["reserves"].text), 1)

    def _until(self) -> float:
        """When the answer to what is asked now must be there; somebody will look."""
        until = self._loop.time() + self._timeout_s
        if self._timer is None:
            self._timer = self._loop.call_at(until, self._expire)
        return until

    def _gather(self) -> None:
        """One step more to write: with the turn's last, or with enough of them."""
        if not self._gathered:
            self._loop.call_soon(self._flush)
        self._gathered += 1
        if self._gathered == GATHERED:
            self._flush()

    def _flush(self) -> None:
        if self._out and not self.broken:
            self._transport.write(b"".join([self._payload(call) for call in self._out]))
        self._out.clear()
        self._joined.clear()
        self._gathered = 0

    def _payload(self, call: _Call | _Joined) -> bytes:
        if isinstance(call, _Call):
            return call.payload
        return self._book.packed_parts(call.account_id, call.parts, self.home) + call.wait

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Where the next bytes go. Kept: a transport that makes its own makes 256 kB for every reply."""
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """Hand replies to who waits for them."""
        ready, waiting = self._replies, self._waiting
        try:
            ready.feed(bytes(self._room[:nbytes]))
            while (reply := ready.take()) is not PENDING:
                if not waiting:
                    self._fail(failures.ConnectionError("an answer nobody asked for"))
                    return
                found = self._found
                found.append(reply)
                if len(found) == waiting[0].replies:
                    waiting[0].answer(found)
                    waiting.popleft()
                    self._found = []
        except (failures.RedisError, ValueError) as error:
            self._fail(error)

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody who waits can know what became of the step."""
        self._fail(error or failures.ConnectionError("the server closed the connection"))

    def _expire(self) -> None:
        """No answer in time: unknown. Later steps get a line of their own; this one goes on for who still waits."""
        self._timer = None
        now = self._loop.time()
        for call in self._waiting:
            if call.until > now:
                self._timer = self._loop.call_at(call.until, self._expire)
                return
            self.broken |= call.fail("no answer in time")
        if self.broken:
            self._fail(failures.TimeoutError("no answer in time"))

    def _fail(self, error: BaseException) -> None:
        self.broken = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for call in self._waiting:
            call.fail(error)
        self._waiting.clear()
        self._transport.close()

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self._transport.is_closing()

    def close(self) -> None:
        """End the connection; who waits is told that the answer is unknown."""
        self._fail(failures.ConnectionError("the book was closed"))


def seen(future: asyncio.Future[Any]) -> None:
    """That it failed is not reported as seen by nobody."""
    _ = future.cancelled() or future.exception()
