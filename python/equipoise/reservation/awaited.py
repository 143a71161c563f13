"""The reservation book for asyncio: the same methods, awaited.

A call is checked and turned into a request in the caller's task, by the same code as the synchronous book's; only the
step itself goes to the store. A store provides three things: `_step` for a request, `_call` for a whole call (reads,
and what takes several steps), and `_find_scale`.

Cancelling a task that awaits a step does not take the step back: whether it was done is unknown, as after a time-out,
and the same id settles it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from equipoise.errors import InputError, StoreUnavailable
from equipoise.reservation.account_calls import AccountCalls
from equipoise.reservation.arguments import span_of, url_of
from equipoise.reservation.contract import REDIS_SCHEMES, Clock, ReservationBook
from equipoise.reservation.forks import generation
from equipoise.reservation.group import GROUP_MAX, Group, GroupMember
from equipoise.reservation.ids import account_id_of, id_of
from equipoise.reservation.money import MICRO_SCALE
from equipoise.reservation.order_calls import OrderCalls
from equipoise.reservation.records import Outcome
from equipoise.reservation.requests import Request
from equipoise.reservation.scales import OtherScale
from equipoise.reservation.sqlite import SqliteBook
from equipoise.reservation.workers import AsyncWorker, partitions_of

__all__ = ["AsyncReservationBook", "RequestMaker"]

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


class RequestMaker(AccountCalls, OrderCalls):
    """Checks calls and makes their requests; knows no store. `scales` is what has been learnt of accounts."""

    def __init__(self, *, clock: Clock | None, timeout_ms: int, horizon_s: int) -> None:
        super().__init__(clock=clock, timeout_ms=timeout_ms, horizon_s=horizon_s)
        self.scales: dict[str, int] = {}

    def _run(self, request: Request) -> Outcome:
        # Callers of a maker take what comes out of it for the request that it is.
        return cast(Outcome, request)

    def _scale(self, account_id: str) -> int:
        return self.scales.get(account_id, MICRO_SCALE)


def _stepwise(
    method: Callable[Concatenate[RequestMaker, str, _Given], Outcome],
) -> Callable[Concatenate[AsyncReservationBook, str, _Given], Coroutine[Any, Any, Outcome]]:
    """A method that makes one request: made here, run by the store."""

    @wraps(method)
    async def call(
        self: AsyncReservationBook, account_id: str, /, *values: _Given.args, **named: _Given.kwargs
    ) -> Outcome:
        maker = self._maker
        if not isinstance(account_id, str) or account_id not in maker.scales:
            scale = await self._find_scale(account_id_of(account_id))
            if scale is not None:
                maker.scales[account_id] = scale
        # What a maker gives out for an outcome is a request.
        request: Any = method(maker, account_id, *values, **named)
        try:
            outcome = await self._step(request)
        except OtherScale as other:
            maker.scales[account_id] = other.scale
            again: Any = method(maker, account_id, *values, **named)
            outcome = await self._step(again)
        if outcome.version:
            maker.scales[account_id] = outcome.scale
        return outcome

    return cast("Callable[Concatenate[AsyncReservationBook, str, _Given], Coroutine[Any, Any, Outcome]]", call)


def _whole(
    method: Callable[Concatenate[ReservationBook, _Given], _Answer],
) -> Callable[Concatenate[AsyncReservationBook, _Given], Coroutine[Any, Any, _Answer]]:
    """A method that reads, or takes several steps: run by the store from beginning to end."""

    @wraps(method)
    async def call(self: AsyncReservationBook, /, *values: _Given.args, **named: _Given.kwargs) -> _Answer:
        return cast(_Answer, await self._call(method.__name__, *values, **named))

    # Reads are abstract in the synchronous book, and `wraps` copies that.
    call.__dict__.pop("__isabstractmethod__", None)
    return cast("Callable[Concatenate[AsyncReservationBook, _Given], Coroutine[Any, Any, _Answer]]", call)


class AsyncReservationBook(ABC):
    """`ReservationBook` for asyncio. Open one with `await AsyncReservationBook.connect`; an async context manager.

    Examples
    --------
    >>> import asyncio
    >>> async def main() -> str:
    ...     async with await AsyncReservationBook.connect("memory:") as book:
    ...         await book.open_account("live:6", balance="100")
    ...         await book.withdraw("live:6", "0.5", request_id="w")
    ...         return str((await book.account("live:6")).free)
    >>> asyncio.run(main())
    '99.500000'
    """

    def __init__(self, *, clock: Clock | None, timeout_ms: int, horizon_s: int) -> None:
        self._maker = RequestMaker(clock=clock, timeout_ms=timeout_ms, horizon_s=horizon_s)
        self._closed = False
        self._closing: asyncio.Task[None] | None = None

    @staticmethod
    async def connect(
        url: str, *, clock: Clock | None = None, timeout_ms: int = 5_000, horizon_s: int = 86_400
    ) -> AsyncReservationBook:
        """Open a book; the arguments and errors of `ReservationBook.connect`.

        A memory book runs in the caller's task, a SQLite book in one thread of its own, which `close_book` joins. The
        steps of a Redis book run in the loop and share a connection; its reads run in a few threads.
        """

        def open_book() -> ReservationBook:
            return ReservationBook.connect(url, clock=clock, timeout_ms=timeout_ms, horizon_s=horizon_s)

        if url_of(url).partition(":")[0] in REDIS_SCHEMES:
            opened = await asyncio.to_thread(open_book)
            # Needs the client of the extra `redis`, which is there once a book is open.
            from equipoise.reservation.redis_awaited import RedisInLoop

            return RedisInLoop(cast(Any, opened), timeout_ms=timeout_ms, horizon_s=horizon_s)
        settings: dict[str, Any] = {"clock": clock, "timeout_ms": timeout_ms, "horizon_s": horizon_s}
        if not url.startswith("sqlite:"):
            return _InTask(open_book(), **settings)
        book = _InThread(**settings)
        await book.open(open_book)
        return book

    _book: ReservationBook | None

    @property
    def reader(self) -> ReservationBook:
        """The synchronous half of the book, for reads from another thread: metrics."""
        if self._book is None:
            raise StoreUnavailable("the book is not open")
        return self._book

    # What a store provides -------------------------------------------------------------------------------------------

    @abstractmethod
    async def _step(self, request: Request) -> Outcome:
        """Run one step atomically."""

    @abstractmethod
    async def _call(self, name: str, *values: Any, **named: Any) -> Any:
        """Run a whole method of the synchronous book."""

    @abstractmethod
    async def _find_scale(self, account_id: str) -> int | None:
        """Scale of an account; None when there is none."""

    @abstractmethod
    async def _close(self) -> None:
        """Release the store; once more, where the loop in which that was begun has ended before it was done."""

    async def close_book(self) -> None:
        """Finish what has been asked and release the store; idempotent.

        It goes on where the caller is cancelled meanwhile, and each further call waits for its end.
        """
        self._closed = True
        loop, closing = asyncio.get_running_loop(), self._closing
        if closing is None or closing.cancelled() or closing.get_loop() is not loop:
            closing = self._closing = loop.create_task(self._close())
        await asyncio.shield(closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close_book()

    # The methods of the book -----------------------------------------------------------------------------------------

    open_account = _stepwise(ReservationBook.open_account)
    set_terms = _stepwise(ReservationBook.set_terms)
    suspend = _stepwise(ReservationBook.suspend)
    abandon = _stepwise(ReservationBook.abandon)
    deposit = _stepwise(ReservationBook.deposit)
    withdraw = _stepwise(ReservationBook.withdraw)
    adjust = _stepwise(ReservationBook.adjust)
    mark = _stepwise(ReservationBook.mark)
    revalue = _stepwise(ReservationBook.revalue)
    reserve = _stepwise(ReservationBook.reserve)
    execute = _stepwise(ReservationBook.execute)
    claim = _stepwise(ReservationBook.claim)
    acknowledge = _stepwise(ReservationBook.acknowledge)
    fill = _stepwise(ReservationBook.fill)
    reject = _stepwise(ReservationBook.reject)
    cancel = _stepwise(ReservationBook.cancel)
    expire = _stepwise(ReservationBook.expire)
    request_cancel = _stepwise(ReservationBook.request_cancel)
    amend = _stepwise(ReservationBook.amend)
    settle_amend = _stepwise(ReservationBook.settle_amend)
    resolve = _stepwise(ReservationBook.resolve)
    sweep = _stepwise(ReservationBook.sweep)
    archive = _stepwise(ReservationBook.archive)
    close = _stepwise(ReservationBook.close)
    accounts = _whole(ReservationBook.accounts)
    account = _whole(ReservationBook.account)
    order = _whole(ReservationBook.order)
    orders = _whole(ReservationBook.orders)
    symbols = _whole(ReservationBook.symbols)
    history = _whole(ReservationBook.history)
    outbox = _whole(ReservationBook.outbox)
    audit = _whole(ReservationBook.audit)
    export = _whole(ReservationBook.export)
    reconcile = _whole(ReservationBook.reconcile)
    import_flat = _whole(ReservationBook.import_flat)
    rebuild_registry = _whole(ReservationBook.rebuild_registry)

    def worker(
        self, name: str, *, partition: int | None = None, poll_ms: int = 10, takeover_ms: int = 5_000
    ) -> AsyncWorker:
        """An asynchronous iterator over what somebody has to send; the arguments of `ReservationBook.worker`."""
        partitions, takeover = partitions_of(partition), span_of(takeover_ms, "takeover_ms", 1000) // 1000
        reader = self.reader._outbox_reader(id_of(name, "name"), partitions, takeover)  # noqa: SLF001
        return AsyncWorker(self, reader, name, poll_ms)


def _scale_in(book: ReservationBook, account_id: str) -> int | None:
    """Scale of an account; None, which is not remembered, while there is none."""
    try:
        return book.account(account_id).scale
    except InputError:
        return None


class _InTask(AsyncReservationBook):
    """A book whose steps take microseconds and wait for nothing: run where they are asked for."""

    def __init__(self, book: ReservationBook, **settings: Any) -> None:
        super().__init__(**settings)
        self._book: ReservationBook = book

    async def _step(self, request: Request) -> Outcome:
        return self._book._run(request)  # noqa: SLF001 - the two are halves of one book

    async def _call(self, name: str, *values: Any, **named: Any) -> Any:
        return getattr(self._book, name)(*values, **named)

    async def _find_scale(self, account_id: str) -> int | None:
        return _scale_in(self._book, account_id)

    async def _close(self) -> None:
        self._book.close_book()


class _Asked:
    """Something for the worker to do, and who awaits it."""

    __slots__ = ("answer", "call", "loop", "member")

    def __init__(self, member: GroupMember | None, call: Callable[[], Any] | None) -> None:
        self.member, self.call = member, call
        self.loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Any] = self.loop.create_future()


class _InThread(AsyncReservationBook):
    """A SQLite book in one thread of its own; the steps that wait for it share a transaction."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._asked: SimpleQueue[_Asked | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="equipoise-book", daemon=True)
        self._generation = generation()
        self._book: SqliteBook | None = None

    async def open(self, open_book: Callable[[], ReservationBook]) -> None:
        """Start the worker and open the file in it."""

        def opened() -> None:
            # Kept here, not by who awaits it: that may be cancelled by then.
            self._book = cast(SqliteBook, open_book())

        self._thread.start()
        try:
            await self._ask(_Asked(None, opened))
        except BaseException:
            self._closed = True
            self._asked.put(_Asked(None, self._let_go))
            await asyncio.to_thread(self._stop)
            raise

    def _let_go(self) -> None:
        """Close the file, if it is open."""
        if self._book is not None:
            self._book.close_book()

    def _ask(self, asked: _Asked) -> Awaitable[Any]:
        if self._closed:
            raise StoreUnavailable("the book is closed")
        if self._generation != generation():
            raise StoreUnavailable("the thread of an asynchronous book does not survive a fork: connect again")
        self._asked.put(asked)
        return asked.answer

    async def _step(self, request: Request) -> Outcome:
        return cast(Outcome, await self._ask(_Asked(GroupMember(request), None)))

    async def _call(self, name: str, *values: Any, **named: Any) -> Any:
        return await self._ask(_Asked(None, lambda: getattr(self._book, name)(*values, **named)))

    async def _find_scale(self, account_id: str) -> int | None:
        book = self._book
        assert book is not None  # noqa: S101 - set by open
        return cast("int | None", await self._ask(_Asked(None, lambda: _scale_in(book, account_id))))

    async def _close(self) -> None:
        if self._generation != generation() or not self._thread.is_alive():
            return
        closing = _Asked(None, self._let_go)
        self._asked.put(closing)
        try:
            await closing.answer
        finally:
            # Not in the loop: the thread may wait for the file before it gets there.
            await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        self._asked.put(None)
        self._thread.join()

    # In the worker ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Do what is asked in the order asked; steps that wait side by side go into one transaction."""
        kept: _Asked | None = None
        while True:
            asked = self._asked.get() if kept is None else kept
            kept = None
            if asked is None:
                return
            if asked.member is None:
                _do(asked)
                continue
            group = [asked]
            while len(group) < GROUP_MAX:
                try:
                    further = self._asked.get_nowait()
                except Empty:
                    break
                if further is None:
                    self._run_steps(group)
                    return
                if further.member is None:
                    kept = further
                    break
                group.append(further)
            self._run_steps(group)

    def _run_steps(self, group: list[_Asked]) -> None:
        members = [asked.member for asked in group if asked.member is not None]
        defect: Exception | None = None
        try:
            assert self._book is not None  # noqa: S101 - nothing is asked before it is open
            self._book._run_group(Group(members))  # noqa: SLF001 - the two are halves of one book
        except Exception as error:
            defect = error
        answers: list[_Told] = []
        for asked, member in zip(group, members, strict=True):
            failure = defect if member.error is None else member.error
            if member.error is not None:
                member.error.__cause__ = member.cause
            answers.append((asked, None if failure is not None else member.outcome, failure))
        _tell(answers)


_Told = tuple[_Asked, Any, BaseException | None]
"""Who asked, and the value or the error that stands for an answer."""


def _do(asked: _Asked) -> None:
    try:
        value = None if asked.call is None else asked.call()
    except BaseException as error:
        _tell([(asked, None, error)])
    else:
        _tell([(asked, value, None)])


def _tell(answers: list[_Told]) -> None:
    """Wake who awaits the answers, each in its own loop: a loop is woken once for all that are for it."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Told]] = {}
    for told in answers:
        by_loop.setdefault(told[0].loop, []).append(told)
    for loop, told_there in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it who awaits
            loop.call_soon_threadsafe(_settle, told_there)


def _settle(answers: list[_Told]) -> None:
    for asked, value, error in answers:
        # Nobody may be there any more.
        if asked.answer.done():
            continue
        if error is None:
            asked.answer.set_result(value)
        else:
            asked.answer.set_exception(error)
