"""The Redis book for asyncio: the steps of all tasks share one connection to a node (`redis_line`).

Only the plain case is handled here: a script that runs and answers, or is loaded first. Whatever else a server says (a
slot that has moved, an alias to be looked up, another home) means that nothing was run, and the step is handed to the
synchronous book in a thread, which knows what to do. A connection that ends, or an answer that does not come, is
`StoreTimeout` for everyone who waits: unknown; the same id settles it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import redis.asyncio as client
import redis.exceptions as failures

from equipoise.errors import StoreUnavailable
from equipoise.reservation.awaited import AsyncReservationBook
from equipoise.reservation.forks import generation
from equipoise.reservation.records import Outcome
from equipoise.reservation.redis import RedisBook
from equipoise.reservation.redis_hints import LoopHints
from equipoise.reservation.redis_line import Line, seen
from equipoise.reservation.redis_links import (
    KNOWN_S,
    Address,
    command,
    connection_settings,
    failure_of,
    is_stopped,
    slot_of,
)
from equipoise.reservation.redis_scripts import SCRIPTS
from equipoise.reservation.redis_steps import outcome_from
from equipoise.reservation.requests import Archive, OpenAccount, Repair, Request, Reserve, Sweep

__all__ = ["RedisInLoop"]

THREADS = 4
"""For reads; as many others for the scales of accounts, and for steps that the loop could not settle. A node that is
silent or puts steps off holds each of them for its time-out: nobody of another kind is to wait for that."""
NODES_MOST = 32
"""Threads that ask nodes who they are, one a node: every step needs that once a second, whatever another node does."""
_IN_THREAD = (Archive, Sweep, Repair, OpenAccount)
"""Requests of which some take more than one step."""
_Answer = TypeVar("_Answer")


class RedisInLoop(AsyncReservationBook):
    """A Redis book whose steps run in the loop. Opened by `AsyncReservationBook.connect("redis://...")`."""

    def __init__(self, book: RedisBook, *, timeout_ms: int, horizon_s: int) -> None:
        super().__init__(clock=book.clock, timeout_ms=timeout_ms, horizon_s=horizon_s)
        self._redis = book
        self._book = book
        self._timeout_s = timeout_ms / 1000
        self._lines: dict[Address, Line] = {}
        self._retired: list[Line] = []
        self._opening: dict[Address, asyncio.Task[Line]] = {}
        self._naming: dict[Address, asyncio.Task[str]] = {}
        """Nodes that are being asked who they are."""
        self._tried: dict[Address, float] = {}
        """When a line for hints was last opened."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._moving = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="equipoise-book")
        self._scales = ThreadPoolExecutor(THREADS, thread_name_prefix="equipoise-scales")
        self._homes = ThreadPoolExecutor(NODES_MOST, thread_name_prefix="equipoise-homes")
        self._put_off = ThreadPoolExecutor(THREADS, thread_name_prefix="equipoise-steps")
        self._hints = LoopHints(book.registry, self._threads, self._line_for_hints)
        self._generation = generation()

    async def _in_thread(self, threads: ThreadPoolExecutor, call: Callable[..., _Answer], *values: Any) -> _Answer:
        """A call of the synchronous book; begun within the time-out, or not at all."""
        self._ready()
        begun = threads.submit(call, *values)
        answer = asyncio.wrap_future(begun)
        try:
            done, _ = await asyncio.wait({answer}, timeout=self._timeout_s)
        except asyncio.CancelledError:
            # Nobody waits for it any more: what has not begun is not to be done later.
            begun.cancel()
            answer.cancel()
            raise
        if not done and begun.cancel():
            raise StoreUnavailable("nothing was sent: other calls wait for a node that is silent or puts them off")
        return await answer

    async def _in_turn(self, request: Request) -> Outcome:
        """A step that the loop could not settle."""
        return await self._in_thread(self._put_off, self._redis.run, request)

    def _ready(self) -> None:
        if self._closed:
            raise StoreUnavailable("the book is closed")
        if self._generation != generation():
            raise StoreUnavailable("the connections of an asynchronous book do not survive a fork: connect again")
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._move_to(loop)

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve another loop from here on, if the one before is through: lines belong to the loop that made them."""
        with self._moving:
            if self._loop is not None and self._loop is not loop and self._loop.is_running():
                raise StoreUnavailable(
                    "an asynchronous book of Redis serves one event loop at a time; another one runs: connect in each"
                )
            self._loop, self._lines, self._retired, self._opening, self._naming = loop, {}, [], {}, {}

    async def _line_for(self, account_id: str) -> Line | None:
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
                self._put_off.submit(self._redis.lost, address)
                raise
            return None

    async def _line(self, address: Address) -> Line:
        """The line to a node, of which was known within the last second who it is."""
        line = self._lines.get(address)
        if line is not None and not line.broken:
            if line.home and time.monotonic() - line.known > KNOWN_S:
                line.home = await asyncio.shield(self._once(self._naming, address, self._home))
                line.known = time.monotonic()
            return line
        return await asyncio.shield(self._open(address))

    def _open(self, address: Address) -> asyncio.Task[Line]:
        """A new line to a node, once for all who want it."""
        return self._once(self._opening, address, self._connect)

    def _once(
        self,
        under_way: dict[Address, asyncio.Task[_Answer]],
        address: Address,
        begin: Callable[[Address], Coroutine[Any, Any, _Answer]],
    ) -> asyncio.Task[_Answer]:
        """What is under way for a node, or is begun now: once for all who want it."""
        task = under_way.get(address)
        if task is None:
            task = under_way[address] = asyncio.get_running_loop().create_task(begin(address))
            task.add_done_callback(lambda _: under_way.pop(address, None))
        return task

    async def _home(self, address: Address) -> str:
        return await self._in_thread(self._homes, partial(self._redis.home_of, address, for_steps=True))

    async def _connect(self, address: Address) -> Line:
        # Asked first: it may raise, and then there is no connection to close.
        home = await self._home(address)
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
        if self._closed:
            await connection.disconnect(nowait=True)
            raise StoreUnavailable("the book is closed")
        # A node that waits for a disk or a replica gives up before this does: what it says then is known.
        line = Line(connection, self._redis, home, self._timeout_s + (0 if target.durability == "memory" else 1))
        before = self._lines.get(address)
        if before is not None:
            # Somebody may still wait there.
            self._retired = [*[old for old in self._retired if not old.closed], before]
        self._lines[address] = line
        return line

    async def _step(self, request: Request) -> Outcome:
        self._ready()
        if isinstance(request, _IN_THREAD):
            return await self._in_turn(request)
        book, account_id = self._redis, request.account_id
        line = self._lines.get(book.address_of(slot_of(account_id)))
        if line is None or line.broken or (line.home and time.monotonic() - line.known > KNOWN_S):
            line = await self._line_for(account_id)
            if line is None:
                return await self._in_turn(request)
        replies: list[Any] = []
        if isinstance(request, Reserve) and line.busy:
            replies = await line.join(account_id, book.packed_part(request))
            if isinstance(replies[0], failures.NoScriptError):
                line.load()
                replies.clear()
        if not replies:
            replies = await self._asked(line, request)
        if isinstance(replies[0], failures.NoScriptError):
            line.tell(command("SCRIPT", "LOAD", SCRIPTS[request.op].text), 1)
            replies = await self._asked(line, request)
        reply = replies[0]
        if is_stopped(reply):
            # Perhaps half done: not to be asked again. What comes later asks first what the user may still do.
            self._leave(line)
            raise failure_of(reply) from reply
        if not isinstance(reply, bytes) or reply[:1] in (b"K", b"H", b"S"):
            return await self._in_turn(request)
        book.check_wait(replies)
        outcome = outcome_from(request, reply)
        if isinstance(request, Reserve) and request.outbox and outcome.done:
            self._hints.give(account_id)
        return outcome

    def _leave(self, line: Line) -> None:
        """Ask nothing more on a line; somebody may still wait there."""
        for address, known in [*self._lines.items()]:
            if known is line:
                del self._lines[address]
                self._redis.drop_links(address)
                self._retired = [*[old for old in self._retired if not old.closed], line]

    def _asked(self, line: Line, request: Request) -> asyncio.Future[list[Any]]:
        """A step by itself on its way; its replies."""
        wait = self._redis.wait
        return line.ask(request.account_id, self._redis.packed_step(request, line.home) + wait, 2 if wait else 1)

    def _line_for_hints(self, slot: int) -> Line | None:
        """The line to the node of a slot; where there is none it is being opened, at most once a second."""
        address = self._redis.address_of(slot)
        line = self._lines.get(address)
        if line is not None and not line.broken:
            return line
        now = time.monotonic()
        if not self._closed and now - self._tried.get(address, 0.0) > KNOWN_S:
            self._tried[address] = now
            # Handing a hint to a thread costs the loop nearly as much as a step.
            self._open(address).add_done_callback(seen)
        return None

    async def _call(self, name: str, *values: Any, **named: Any) -> Any:
        return await self._in_thread(self._threads, lambda: getattr(self._redis, name)(*values, **named))

    async def _find_scale(self, account_id: str) -> int | None:
        return await self._in_thread(self._scales, self._redis.known_scale, account_id)

    async def _close(self) -> None:
        if self._generation != generation():
            return
        loop = asyncio.get_running_loop()
        try:
            if self._loop is loop:
                # Each finds the book closed.
                await asyncio.gather(*self._opening.values(), *self._naming.values(), return_exceptions=True)
        finally:
            lines = [*self._lines.values(), *self._retired]
            self._lines, self._retired = {}, []
            if self._loop is loop:
                _close_all(lines)
            elif self._loop is not None and self._loop.is_running():
                with contextlib.suppress(RuntimeError):  # it has ended meanwhile, and its lines with it
                    self._loop.call_soon_threadsafe(_close_all, lines)
            # One piece of work: once begun it is done, whatever becomes of the loop.
            await loop.run_in_executor(None, self._end)

    def _end(self) -> None:
        """Join the threads and close their connections."""
        for threads in (self._threads, self._scales, self._homes, self._put_off):
            threads.shutdown()
        self._redis.close_book()


def _close_all(lines: list[Line]) -> None:
    for line in lines:
        line.close()
