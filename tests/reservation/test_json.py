"""What the SQLite store keeps of what is nested in a record: JSON, as the standard library writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise._rust import compact_json
from equipoise.reservation import ReservationBook
from equipoise.reservation.records import Totals
from equipoise.reservation.sqlite_rows import text_of

WHOLE = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.one_of(st.text(max_size=300), st.text('"\\\n\r\t\b\f\0\x1f\x7f/<é\u2028\U0001f600', max_size=20))
ATOMS = st.one_of(st.none(), st.booleans(), WHOLE, st.integers(-300, 300), TEXTS)
NESTED = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=6).map(tuple) | st.lists(inner, max_size=6), max_leaves=40
)


def library(value: object) -> str:
    """As the standard library has it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@given(NESTED)
def test_it_is_what_the_standard_library_writes(nested: Any) -> None:
    assert compact_json(nested) == text_of(nested) == library(nested)


@pytest.mark.parametrize("number", [0, -1, 2**53 - 1, 2**63 - 1, -(2**63)])
def test_numbers_at_the_edges_are_written_out(number: int) -> None:
    assert compact_json((number,)) == library([number])


@pytest.mark.parametrize("code", range(128))
def test_each_character_is_escaped_as_there(code: int) -> None:
    assert compact_json((chr(code),)) == library([chr(code)])


class _Text(str):
    __slots__ = ()


@pytest.mark.parametrize("item", [2**63, -(2**63) - 1, 1.5, {"a": 1}, _Text('x"'), {"a": (1, None)}])
def test_anything_else_is_left_to_the_standard_library(item: object) -> None:
    with pytest.raises(ValueError, match="neither"):
        compact_json((1, ("a", item)))
    assert text_of((1, ("a", item))) == library([1, ["a", item]])


@pytest.mark.parametrize("item", [b"x", object(), {1, 2}])
def test_what_is_no_json_is_refused(item: object) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        text_of((item,))


def test_a_named_tuple_is_a_tuple() -> None:
    assert compact_json(Totals(1, 2, 3, 4)) == "[1,2,3,4]"


def test_depth_is_bounded() -> None:
    deep: tuple[Any, ...] = ()
    for _ in range(15):
        deep = (deep,)
    assert compact_json(deep) == library(deep)
    with pytest.raises(ValueError, match="within one another"):
        compact_json((deep,))
    assert text_of((deep,)) == library((deep,))


def test_text_that_cannot_be_encoded_is_what_the_standard_library_makes_of_it() -> None:
    with pytest.raises(UnicodeEncodeError):
        compact_json(("\ud800",))
    assert text_of(("\ud800",)) == library(["\ud800"])


def test_text_of_a_class_of_its_own_is_kept_and_answered_again(order: Any, tmp_path: Path) -> None:
    with ReservationBook.connect(f"sqlite:///{tmp_path}/book.db") as book:
        book.open_account("a", 1)
        first = book.reserve("a", [order(hold=10)], request_id=_Text('r"'), owner=_Text("é"))
        again = book.reserve("a", [order(hold=10)], request_id=_Text('r"'), owner=_Text("é"))
        assert (first.code, again.code, again.orders) == ("OK", "DUPLICATE", first.orders)
        assert book.history("a")[-1].details == (("owner", "é"),)
        assert book.audit("a").ok
