"""What is kept of a step: nested numbers and text as bytes, what they were again, and as columns of a file."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise._rust import Slate, compact_json, pack, unpack
from equipoise.reservation import ReservationBook

WHOLE = st.integers(-(2**63), 2**63 - 1)
ATOMS = st.one_of(st.none(), st.booleans(), WHOLE, st.integers(-300, 300), st.text(max_size=300))
NESTED = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=6).map(tuple), max_leaves=40)
TUPLES = st.lists(NESTED, max_size=6).map(tuple)


def alike(one: Any, other: Any) -> bool:
    """Equal, and of the same classes: True is not 1."""
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


@given(TUPLES)
def test_what_was_packed_is_the_same_again(nested: tuple[Any, ...]) -> None:
    assert alike(unpack(pack(nested)), nested)


@pytest.mark.parametrize("number", [0, 239, 240, -1, 127, 128, 2**53 - 1, -(2**53), 2**63 - 1, -(2**63)])
def test_numbers_at_the_edges(number: int) -> None:
    assert unpack(pack((number,))) == (number,)


class _Text(str):
    __slots__ = ()


@pytest.mark.parametrize("item", [2**63, -(2**63) - 1, 1.5, b"x", [1], _Text("x"), object()])
def test_anything_else_is_refused(item: object) -> None:
    with pytest.raises(ValueError, match="neither"):
        pack((1, ("a", item)))


def test_text_that_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        pack(("\ud800",))


def test_depth_is_bounded_both_ways() -> None:
    deep: tuple[Any, ...] = ()
    for _ in range(15):
        deep = (deep,)
    assert unpack(pack(deep)) == deep
    with pytest.raises(ValueError, match="within one another"):
        pack((deep,))
    with pytest.raises(ValueError, match="pack"):
        unpack(b"\x05\x01" * 1_000_000)


@given(st.binary(max_size=60))
def test_bytes_from_elsewhere_are_refused_or_a_tuple(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(unpack(data), tuple)


@given(TUPLES, st.data())
def test_bytes_that_were_cut_are_refused(nested: tuple[Any, ...], data: st.DataObject) -> None:
    packed = pack(nested)
    with pytest.raises(ValueError, match="pack"):
        unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])
    with pytest.raises(ValueError, match="pack"):
        unpack(packed + b"\x00")


FIELDS = st.lists(ATOMS, min_size=6, max_size=6).map(tuple)


def step_columns(packed: bytes) -> tuple[tuple[Any, ...], str | None]:
    """What the SQLite store writes of a packed step: the journal record, and the answer where that does not tell it."""
    slate = Slate("a")
    kept = ("r", (1, 2, "content", 3, packed))
    effect: Any = (None, ("a",), (), (), None, None, None, kept, (), (), None, (), None, None)
    try:
        slate.take_ladder(effect)
    except ValueError:
        assert not any((slate.new_journal, slate.new_requests, slate.changed))
        raise
    (account, *row, in_journal), (request,) = slate.new_journal[0], slate.new_requests.values()
    answer = request[4]
    assert account == "a"
    if answer is None:
        assert (in_journal, request) == ("content", ("a", "r", None, 3, None, 1))
    else:
        assert (in_journal, request) == (None, ("a", "r", "content", 3, answer, None))
    return tuple(row), answer


@given(FIELDS, TUPLES, st.one_of(st.none(), NESTED))
def test_columns_of_a_step_are_what_is_unpacked_of_it_as_json(
    fields: tuple[Any, ...], nested: tuple[Any, ...], answer: Any
) -> None:
    packed = pack((fields + nested, answer))
    if isinstance(answer, str | bool):
        with pytest.raises(ValueError, match="pack"):
            step_columns(packed)
        return
    columns, text = step_columns(packed)
    assert alike(columns, (*fields, compact_json(nested)))
    assert text == (compact_json(answer) if isinstance(answer, tuple) else None)


@given(FIELDS, TUPLES, NESTED, st.data())
def test_columns_are_read_of_a_whole_step_only(
    fields: tuple[Any, ...], nested: tuple[Any, ...], answer: Any, data: st.DataObject
) -> None:
    packed = pack((fields + nested, answer))
    for wrong in (packed[: data.draw(st.integers(0, len(packed) - 1))], packed + b"\x00", pack((fields[:5], answer))):
        with pytest.raises(ValueError, match="pack"):
            step_columns(wrong)
    for shape in ((), (1, 2), (fields,), (fields, answer, 1)):
        with pytest.raises(ValueError, match="pack"):
            step_columns(pack(shape))


@given(st.binary(max_size=60))
def test_bytes_from_elsewhere_are_refused_or_have_columns(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        columns, _ = step_columns(data)
        assert len(columns) == 7


def test_a_step_with_text_of_a_class_of_its_own_is_kept_and_answered_again(order: Any) -> None:
    with ReservationBook.connect("memory:") as book:
        book.open_account("a", 1)
        first = book.reserve("a", [order(hold=10)], request_id=_Text("r"), owner=_Text("o"))
        again = book.reserve("a", [order(hold=10)], request_id=_Text("r"), owner=_Text("o"))
        assert (first.code, again.code, again.orders) == ("OK", "DUPLICATE", first.orders)
        assert book.history("a")[-1].ident == "r"
        assert book.audit("a").ok
