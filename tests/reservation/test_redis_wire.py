"""What passes between the Redis store and a server: packed calls, replies, and the answers in them."""

from __future__ import annotations

import contextlib
import json
import mmap
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgpack
import pytest
import redis
import redis.exceptions as failures
from hypothesis import given
from hypothesis import strategies as st

from equipoise._rust import Replies, ScriptCalls, outcome_fields
from equipoise.errors import StoreCorrupt
from equipoise.reservation.codes import Code, OrderState
from equipoise.reservation.foreign import UNREADABLE
from equipoise.reservation.records import Outcome
from equipoise.reservation.redis_steps import outcome_from
from equipoise.reservation.redis_wire import PENDING, error_of
from equipoise.reservation.requests import Abandon, Ask, Reserve

CODES = {code.value: code for code in Code}
STATES = {state.value: state for state in OrderState}
SCRIPT = b"$7\r\nEVALSHA\r\n$3\r\nabc\r\n"
KEYS = ("user_a:{acc}", "p:user_b:{é}")
START = "user_holdings:{acc}:"
MEMORY = Path("/proc/self/statm")

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
amounts = st.integers(-(2**53) + 1, 2**53 - 1)


# --- calls ----------------------------------------------------------------------------------------------------------

any_texts = texts | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)

asks = st.builds(
    Ask,
    order_id=any_texts,
    symbol=texts,
    leg=st.sampled_from(["", "long", "short"]),
    side=st.sampled_from(["bid", "ask"]),
    lots=st.integers(1, 2**53 - 1),
    price_ticks=amounts,
    hold=amounts,
    reduce_only=st.booleans(),
)
reservations = st.builds(
    Reserve,
    st.just("reserve"),
    st.just("acc"),
    texts,
    texts,
    amounts,
    amounts,
    st.lists(asks, min_size=1, max_size=4).map(tuple),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(0, 2**53 - 1),
    any_texts,
    st.booleans(),
    st.sampled_from(["limit", "market"]),
    amounts,
    st.none() | amounts,
    st.booleans(),
    at_scale=st.none() | st.integers(0, 8),
)


def packed_by_redis_py(order_ids: list[str], arguments: Sequence[str | bytes]) -> bytes:
    keys = [*KEYS, *[START + order_id for order_id in order_ids]]
    packed = redis.Connection().pack_command("EVALSHA", "abc", len(keys), *keys, *arguments)
    return b"".join(packed)


def how(request: Reserve) -> list[object]:
    """As the head of lua/reserve.lua has it."""
    flags = [request.best_effort, request.in_micros, request.outbox]
    said = [request.ident, request.owner, *[text for ask in request.asks for text in (ask.order_id, ask.symbol)]]
    plain = not any(re.search(r'[\x00-\x1f\x7f"\\]', text) for text in said)
    scale, terms, until = [
        "" if value is None else str(value) for value in (request.at_scale, request.terms_version, request.good_till_us)
    ]
    state = "SENT" if request.sent else "RESERVED"
    times = [str(request.deadline_us), until]
    orders = [value for ask in request.asks for value in asked(ask)]
    return [*flags, plain, scale, terms, request.owner, state, request.order_type, *times, *orders]


def asked(ask: Ask) -> list[object]:
    figures = [ask.lots, str(ask.lots), str(ask.price_ticks), ask.hold, str(ask.hold), ask.reduce_only]
    return [ask.side, *figures, ask.leg, ask.symbol, ask.order_id]


def in_messagepack(values: Sequence[object]) -> bytes:
    return b"".join([msgpack.packb(value) for value in values])


@given(st.lists(texts, max_size=4), st.lists(texts, max_size=6))
def test_a_packed_call_is_that_of_redis_py(order_ids: list[str], arguments: list[str]) -> None:
    assert ScriptCalls(KEYS, START).call(SCRIPT, order_ids, arguments) == packed_by_redis_py(order_ids, arguments)


@given(reservations, texts, texts, st.booleans())
def test_a_packed_reservation_is_the_words_that_its_script_expects(
    request: Reserve, now: str, home: str, wait: bool
) -> None:
    step = ["reserve", now, home, "1" if wait else "", request.ident, request.fingerprint]
    times = [str(request.issued_us), str(request.not_after_us)]
    words = [*step, *times, in_messagepack(how(request))]
    expected = packed_by_redis_py([ask.order_id for ask in request.asks], words)
    assert ScriptCalls(KEYS, START).reserve(SCRIPT, request, now, home, wait) == expected


@given(st.lists(reservations, min_size=1, max_size=4), texts, texts, st.booleans())
def test_packed_reservations_are_the_words_that_their_script_expects(
    requests: list[Reserve], now: str, home: str, wait: bool
) -> None:
    calls = ScriptCalls(KEYS, START)
    parts = [calls.part(request) for request in requests]
    assert [part.orders for part in parts] == [len(request.asks) for request in requests]
    outbox = "1" if any(request.outbox for request in requests) else ""
    words: list[str | bytes] = ["reserve", now, home, "1" if wait else "", outbox]
    for r in requests:
        words.append(in_messagepack([r.ident, r.fingerprint, str(r.issued_us), r.not_after_us, len(r.asks), *how(r)]))
    expected = packed_by_redis_py([ask.order_id for r in requests for ask in r.asks], words)
    assert calls.reserves(SCRIPT, parts, now, home, wait) == expected


def test_text_that_cannot_be_encoded_is_packed_into_nothing() -> None:
    with pytest.raises(UnicodeEncodeError):
        ScriptCalls(KEYS, START).call(SCRIPT, [], ["\ud800"])


# --- answers --------------------------------------------------------------------------------------------------------

totals = st.tuples(amounts, amounts, amounts, amounts)
changes = st.builds(
    lambda order_id, hold: [order_id, None, ["RESERVED", hold, 0, 5, 0, 0, 0, 0, 0]], texts, st.integers(0, 2**53 - 1)
)
records = st.fixed_dictionaries(
    {
        "version": st.integers(1, 2**53 - 1),
        "now": amounts,
        "op": st.sampled_from(["reserve", "sweep", "fill", "cancel"]),
        "ident": texts,
        "order_id": texts,
        "code": st.sampled_from([code.value for code in Code]),
        "before": totals,
        "after": totals,
        "symbols": st.just([["HYPE", "", None, [1, 2, 3, 4]]]),
        "orders": st.lists(changes, max_size=3),
        "details": st.lists(st.tuples(st.sampled_from(["send", "flag", "owner"]), texts | amounts), max_size=2),
        "flags": st.none() | st.lists(texts, max_size=3),
        "state": st.none() | st.sampled_from([state.value for state in OrderState]),
        "refused": st.lists(st.tuples(st.integers(0, 5), texts, texts, amounts, amounts), max_size=3),
    }
)


HEAD = ["version", "now", "op", "ident", "order_id", "code", "before", "after"]
RECORD = [*HEAD, "symbols", "orders", "details", "state", "refused"]


def reply_of(kind: str, scale: int, record: dict[str, Any], *, ascii_only: bool) -> bytes:
    """A record as a script replies with it; `flags` are the last of its details."""
    details = [*record["details"], *([] if record["flags"] is None else [["flags", record["flags"]]])]
    values = [(record | {"details": details})[name] for name in RECORD]
    return f"{kind}{scale}{json.dumps(values, ensure_ascii=ascii_only)}".encode()


@given(st.sampled_from("OD"), st.integers(0, 9), records, st.booleans())
def test_the_answer_in_a_journal_record(kind: str, scale: int, record: dict[str, Any], ascii_only: bool) -> None:
    fields = outcome_fields(reply_of(kind, scale, record, ascii_only=ascii_only), "acc", CODES, STATES)
    rows = [(order_id, "OK", after[1], 0, 0) for order_id, _, after in record["orders"]]
    for place, order_id, code, required, free in record["refused"]:
        rows.insert(place, (order_id, code, 0, required, free))
    code = CODES[record["code"]]
    expected = Outcome(
        Code.DUPLICATE if kind == "D" and code is Code.OK else code,
        record["op"],
        "acc",
        record["version"],
        scale,
        record["before"],
        record["after"],
        record["order_id"] or None,
        STATES.get(record["state"]),
        tuple(record["flags"] or ()),
        tuple(rows) if record["op"] in ("reserve", "sweep") else (),
    )
    assert Outcome(*fields) == expected
    assert all(type(row) is tuple for row in (*fields[5:7], *fields[9:11], *fields[10]))


@given(records, st.data())
def test_an_answer_that_no_script_writes_is_corrupt_and_no_other_error(
    record: dict[str, Any], data: st.DataObject
) -> None:
    reply = bytearray(reply_of("O", 6, record, ascii_only=False))
    place = data.draw(st.integers(0, len(reply) - 1))
    harm = data.draw(st.sampled_from(["cut", "change", "put in", "nothing at all"]))
    if harm == "cut":
        del reply[place:]
    elif harm == "change":
        reply[place] = data.draw(st.integers(0, 255))
    elif harm == "put in":
        reply[place:place] = data.draw(st.binary(min_size=1, max_size=4))
    else:
        reply.clear()
    with contextlib.suppress(*UNREADABLE):
        outcome_fields(bytes(reply), "acc", CODES, STATES)
    with contextlib.suppress(StoreCorrupt):
        outcome_from(Abandon("abandon", "acc", "i", "f", 0, 1), bytes(reply))


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "[1,2]", "[]", "1", "null", "[1.5" + ",0" * 12 + "]"])
def test_a_record_of_another_shape_is_no_answer(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        outcome_fields(b"O6" + text.encode(), "acc", CODES, STATES)


# --- replies --------------------------------------------------------------------------------------------------------


def packed(value: Any) -> bytes:
    """A reply as a server would write it."""
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    return b"*%d\r\n%b" % (len(value), b"".join(map(packed, value)))


replies = st.recursive(
    st.none() | st.integers(-(2**60), 2**60) | st.binary(max_size=12) | st.just(b"\r\n$3\r\n"),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(replies, min_size=1, max_size=5), st.data())
def test_replies_come_out_as_they_went_in_wherever_the_bytes_are_parted(values: list[Any], data: st.DataObject) -> None:
    stream = b"".join(map(packed, values))
    reader, found = Replies(PENDING, error_of), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        reader.feed(stream[:size])
        stream = stream[size:]
        while (reply := reader.take()) is not PENDING:
            found.append(reply)
    assert found == values


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        (b"-NOSCRIPT No matching script", failures.NoScriptError, "No matching script"),
        (b"-MOVED 866 127.0.0.1:7001", failures.MovedError, "866 127.0.0.1:7001"),
        (b"-TRYAGAIN Multiple keys", failures.TryAgainError, "Multiple keys"),
        (b"-LOADING the dataset", failures.BusyLoadingError, "the dataset"),
        (b"-OOM command not allowed", failures.OutOfMemoryError, "command not allowed"),
        (b"-ERR unknown command", failures.ResponseError, "unknown command"),
        (b"-CORRUPT terms", failures.ResponseError, "CORRUPT terms"),
    ],
)
def test_error_replies_are_values_of_the_kinds_of_redis_py(said: bytes, kind: type, text: str) -> None:
    reader = Replies(PENDING, error_of)
    reader.feed(said + b"\r\n*2\r\n+OK\r\n-ERR inside\r\n")
    error = reader.take()
    assert type(error) is kind
    assert str(error) == text
    first, second = reader.take()
    assert (first, str(second)) == (b"OK", "inside")


def test_bytes_that_are_no_reply_end_the_connection() -> None:
    reader = Replies(PENDING, error_of)
    reader.feed(b"HTTP/1.1 400 Bad Request\r\n")
    with pytest.raises(failures.ConnectionError, match="not a reply"):
        reader.take()


def test_nothing_is_none_whether_it_is_said_as_a_string_or_as_an_array() -> None:
    reader = Replies(PENDING, error_of)
    reader.feed(b"*-1\r\n*2\r\n$-1\r\n*-1\r\n")
    assert reader.take() is None
    assert reader.take() == [None, None]


@pytest.mark.skipif(not MEMORY.exists(), reason="this system does not say what memory a process has")
def test_a_connection_gives_back_the_room_that_a_large_reply_took() -> None:
    def pages() -> int:
        return int(MEMORY.read_text().split()[1])

    size = 1 << 26  # more than an allocator keeps for later
    reader, large = Replies(PENDING, error_of), packed(bytes(size))
    before = pages()
    reader.feed(large)
    assert pages() - before > 0.9 * size / mmap.PAGESIZE
    assert len(reader.take()) == size
    assert pages() - before < 0.1 * size / mmap.PAGESIZE
