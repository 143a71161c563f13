"""The Redis book for asyncio: the steps of all tasks share one connection to a node and are written together.

Only the plain case is handled here: a script that runs and answers. Whatever else a server says (a slot that has moved,
a script it does not know, an alias to be looked up, another home) means that nothing was run, and the step is handed to
the synchronous book in a thread, which knows what to do. A connection that ends, or an answer that does not come, is
`StoreTimeout` for everyone who waits: unknown; the same id settles it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import redis.asyncio as client
import redis.exceptions as failures

from equipoise.errors import StoreTimeout, StoreUnavailable
from equipoise.reservation.awaited import AsyncReservationBook
from equipoise.reservation.forks import generation
from equipoise.reservation.records import Outcome
from equipoise.reservation.redis import Part, RedisBook
from equipoise.reservation.redis_links import KNOWN_S, Address, command, connection_settings, packed, slot_of
from equipoise.reservation.redis_scripts import SCRIPTS
from equipoise.reservation.redis_steps import outcome_from
from equipoise.reservation.redis_wire import PENDING, Replies
from equipoise.reservation.requests import Archive, OpenAccount, Repair, Request, Reserve, Sweep

__all__ = ["RedisInLoop"]

THREADS = 4
"""For reads and for what a step could not settle in the loop."""
GATHERED = 28
"""Steps that are written together: the server runs them while the loop makes the next."""
JOINED_MAX = 64
"""Orders of reservations that go as one command: a server does nothing else meanwhile, about a millisecond."""
_IN_THREAD = (Archive, Sweep, Repair, OpenAccount)
"""Requests of which some take more than one step."""
_Answer = TypeVar("_Answer")


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

    __slots__ = ("account_id", "futures", "orders", "parts", "replies", "until")

    def __init__(self, account_id: str, replies: int, until: float) -> None:
        self.account_id = account_id
        self.replies = replies
        self.until = until
        self.futures: list[asyncio.Future[list[Any]]] = []
        self.parts: list[Part] = []
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


class _Line(asyncio.Protocol):
    """One connection to a node. A step is written at once while nobody waits for another one; of what else is asked in
    a turn of the loop, `GATHERED` are written together, and of these the reservations of one account as one command.
    Answers come in order.

    redis-py connects, authenticates and selects; then the line takes its transport over.
    """

    def __init__(
        self, connection: client.connection.AbstractConnection, book: RedisBook, home: str, timeout_s: float
    ) -> None:
        self._book = book
        self.known = time.monotonic()
        self.broken = False
        self.name(home)
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
        self._replies = Replies()
        self._found: list[Any] = []
        self._transport = cast(asyncio.Transport, self._writer.transport)
        self._transport.set_protocol(self)

    def name(self, home: str) -> None:
        """Note who the node is."""
        self.home = home
        self.home_word = packed([home])

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

    def join(self, account_id: str, part: Part) -> asyncio.Future[list[Any]]:
        """Write a reservation with others of this turn and account; its replies, as of `ask`."""
        if self._loading is None:
            self.load()
        joined = self._joined.get(account_id)
        if joined is None or joined.orders + part.orders > JOINED_MAX:
            joined = self._joined[account_id] = _Joined(account_id, 2 if self._book.wait else 1, self._until())
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
            self._loading = self.ask("", command("SCRIPT", "LOAD", SCRIPTS["reserves"].text), 1)
            self._loading.add_done_callback(_seen)

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
        return self._book.packed_parts(call.account_id, call.parts, self.home_word) + self._book.wait

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


def _seen(future: asyncio.Future[Any]) -> None:
    """Its failure is not to be reported as one that nobody saw."""
    _ = future.cancelled() or future.exception()


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
        self._generation = generation()
        self._closed = False

    async def _in_thread(self, call: Callable[..., _Answer], *values: Any) -> _Answer:
        self._ready()
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *values)

    def _ready(self) -> None:
        if self._closed:
            raise StoreUnavailable("the book is closed")
        if self._generation != generation():
            raise StoreUnavailable("the connections of an asynchronous book do not survive a fork: connect again")
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._lines, self._opening = loop, {}, {}

    async def _line_for(self, account_id: str) -> _Line | None:
        """The line to the node of an account; None: the synchronous book knows where to look, by a new connection."""
        address = self._redis.address_of(slot_of(account_id))
        try:
            return await self._line(address)
        except StoreUnavailable as error:
            # The node may have gone; nothing was sent.
            self._redis.drop_links(address)
            if isinstance(error.__cause__, TimeoutError | failures.TimeoutError):
                # It is silent, and the caller's time is spent: a few threads would make all tasks wait in turn for more
                # of the same. Who asks next goes where the account may be by then.
                self._threads.submit(self._redis.lost, address)
                raise
            return None

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
        line = _Line(connection, self._redis, home, self._timeout_s + (0 if target.durability == "memory" else 1))
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
        book, account_id = self._redis, request.account_id
        line = self._lines.get(book.address_of(slot_of(account_id)))
        if line is None or line.broken or (line.home and time.monotonic() - line.known > KNOWN_S):
            line = await self._line_for(account_id)
            if line is None:
                return await self._in_thread(book.run, request)
        wait = book.wait
        if isinstance(request, Reserve) and line.busy:
            replies = await line.join(account_id, book.packed_part(request))
            if isinstance(replies[0], failures.NoScriptError):
                line.load()
        else:
            head, tail = book.packed_step(request)
            payload = b"%b%b%b%b" % (head, line.home_word, tail, wait)
            replies = await line.ask(account_id, payload, 2 if wait else 1)
        reply = replies[0]
        if not isinstance(reply, bytes) or reply[:1] in (b"K", b"H"):
            return await self._in_thread(book.run, request)
        if wait:
            book.check_wait(replies)
        outcome = outcome_from(request, str(reply, "utf-8"))
        if isinstance(request, Reserve) and request.outbox and outcome.done:
            self._hint(account_id)
        return outcome

    def _hint(self, account_id: str) -> None:
        """Tell workers of an account, without waiting for it; a hint that is lost costs up to the next walk."""
        slot, payload, replies = self._redis.registry.hint_of(account_id)
        line = self._lines.get(self._redis.address_of(slot))
        if line is not None and not line.broken:
            line.ask("", payload, replies).add_done_callback(_seen)
        else:
            self._threads.submit(self._redis.registry.hint, [account_id])

    async def _call(self, name: str, *values: Any, **named: Any) -> Any:
        return await self._in_thread(lambda: getattr(self._redis, name)(*values, **named))

    async def _find_scale(self, account_id: str) -> int | None:
        return await self._in_thread(self._redis.known_scale, account_id)

    async def close_book(self) -> None:
        """Close the connections and join the threads. Idempotent."""
        if self._closed or self._generation != generation():
            return
        self._closed = True
        for line in [*self._lines.values(), *self._retired]:
            line.close()
        self._lines.clear()
        await asyncio.to_thread(self._threads.shutdown)
        self._redis.close_book()
