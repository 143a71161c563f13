"""Hostile input to `solve_side`: the wrong argument is named, nothing crosses but `InputError`, results stand alone."""

from __future__ import annotations

import gc
import math
import pickle
import threading
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import equipoise as eq

GOOD = np.array([3.0, 2.0, 1.0, 0.5])


def refused(argument: str, index: int | None = None, /, **call: Any) -> eq.InputError:
    arguments: dict[str, Any] = {"utility": GOOD, "entropy_min": 0.5} | call
    with pytest.raises(eq.InputError) as caught:
        eq.solve_side(arguments.pop("utility"), **arguments)
    assert caught.value.argument == argument, str(caught.value)
    assert caught.value.index == index, str(caught.value)
    return caught.value


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("index", [0, 3, 8, 12])
def test_a_utility_that_is_not_finite_is_named_with_its_index(bad: float, index: int) -> None:
    utility = np.ones(13)
    utility[index] = bad
    assert refused("utility", index, utility=utility).requirement == "finite"


@pytest.mark.parametrize(
    "utility",
    [
        [],
        np.empty(0),
        np.ones((2, 2)),
        np.float64(1.0),
        1.0,
        None,
        "levels",
        b"1234",
        [[1.0, 2.0], [3.0]],
        [1.0, None],
        [1.0, "2"],
        [Decimal(1), Decimal(2)],
        np.array([1 + 2j, 3.0]),
        np.array([True, False]),
        np.array(["1", "2"]),
        np.array([1, 2], dtype="datetime64[s]"),
        {1.0, 2.0},
        {"a": 1.0},
        object(),
        np.zeros((1 << 20) + 1),
    ],
    ids=lambda value: f"{type(value).__name__}-{str(value)[:12]}",
)
def test_a_utility_that_is_no_row_of_numbers_is_refused(utility: object) -> None:
    refused("utility", utility=utility)


@pytest.mark.parametrize("entropy_min", [math.nan, math.inf, -math.inf, None, "1", True, [1.0], np.array([1.0]), 1j])
def test_an_entropy_floor_that_is_no_finite_number_is_refused(entropy_min: object) -> None:
    refused("entropy_min", entropy_min=entropy_min)


@pytest.mark.parametrize("name", ["floor", "cap"])
@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, "a", None, True, [[0.1]], np.ones((4, 1))])
def test_a_bound_that_is_no_share_is_refused(name: str, bad: object) -> None:
    refused(name, **{name: bad})


@pytest.mark.parametrize(("name", "bad"), [("floor", -1e-9), ("floor", math.nan), ("cap", -0.1), ("cap", 1.0000001)])
def test_a_bound_by_level_names_the_level(name: str, bad: float) -> None:
    row = np.full(4, 0.25)
    row[2] = bad
    refused(name, 2, **{name: row})


@pytest.mark.parametrize("count", [0, 1, 3, 5])
@pytest.mark.parametrize("name", ["floor", "cap"])
def test_bounds_of_another_length_are_refused(name: str, count: int) -> None:
    refused(name, **{name: np.full(count, 0.25)})


def test_a_cap_above_one_is_a_mistake_and_a_floor_above_one_is_infeasible() -> None:
    refused("cap", cap=1.01)
    assert eq.solve_side(GOOD, entropy_min=0.0, floor=1.01).status is eq.Status.INFEASIBLE_FLOOR_ABOVE_CAP


def test_calls_of_the_wrong_shape_are_type_errors() -> None:
    call: Any = eq.solve_side
    for bad in (lambda: call(GOOD), lambda: call(GOOD, 0.5), lambda: call(GOOD, entropy_min=0.5, caps=1.0)):
        with pytest.raises(TypeError):
            bad()


@pytest.mark.parametrize(
    "same",
    [
        pytest.param(GOOD.tolist(), id="list"),
        pytest.param(tuple(GOOD.tolist()), id="tuple"),
        pytest.param(np.repeat(GOOD, 2)[::2], id="strided"),
        pytest.param(GOOD[::-1].copy()[::-1], id="negative-stride"),
        pytest.param(GOOD.astype(">f8"), id="big-endian"),
        pytest.param(GOOD.astype(np.float32), id="float32"),
        pytest.param(np.frombuffer(b"x" + GOOD.tobytes(), dtype=np.uint8)[1:].view(np.float64), id="unaligned"),
        pytest.param(np.asfortranarray(GOOD), id="fortran"),
    ],
)
def test_any_form_of_the_same_numbers_gives_the_same_answer(same: object) -> None:
    expected = eq.solve_side(GOOD, entropy_min=0.5, floor=0.01)
    assert eq.solve_side(same, entropy_min=0.5, floor=0.01) == expected  # type: ignore[arg-type]


def test_integers_and_scalars_of_numpy_are_numbers() -> None:
    expected = eq.solve_side(np.array([3.0, 2.0]), entropy_min=1.0 / 2)
    assert eq.solve_side([3, 2], entropy_min=0.5) == expected
    assert eq.solve_side(np.array([3, 2], dtype=np.int8), entropy_min=np.float32(0.5)) == expected
    assert eq.solve_side([3, 2], entropy_min=0.5, floor=0, cap=1) == expected
    assert eq.solve_side([3, 2], entropy_min=0.5, floor=np.array(0.0), cap=np.float32(1)) == expected
    by_level = eq.solve_side([3, 2], entropy_min=0.5, floor=[0, 0], cap=[1, 1])
    np.testing.assert_allclose(by_level.share, expected.share, rtol=1e-15)


def test_a_read_only_array_is_accepted_and_left_alone() -> None:
    utility = GOOD.copy()
    utility.flags.writeable = False
    eq.solve_side(utility, entropy_min=0.5, floor=utility * 0.01)
    np.testing.assert_array_equal(utility, GOOD)


def test_one_array_may_be_several_arguments() -> None:
    quarter = np.full(4, 0.25)
    result = eq.solve_side(quarter, entropy_min=0.5, floor=quarter, cap=quarter)
    np.testing.assert_array_equal(result.share, quarter)


def test_shares_are_read_only_owned_and_outlive_their_result() -> None:
    utility = GOOD.copy()
    result = eq.solve_side(utility, entropy_min=0.5)
    share = result.share
    assert share is result.share
    kept = share.copy()
    utility[:] = 0.0
    del result
    gc.collect()
    eq.solve_side(np.arange(4.0), entropy_min=0.2)
    np.testing.assert_array_equal(share, kept)
    with pytest.raises(ValueError, match="read-only"):
        share[0] = 1.0
    assert share.flags.owndata


def test_results_are_frozen_compare_by_value_and_show_what_they_are() -> None:
    result = eq.solve_side(GOOD, entropy_min=0.5)
    assert result == eq.solve_side(GOOD, entropy_min=0.5)
    assert result != eq.solve_side(GOOD, entropy_min=0.6)
    assert result != "result"
    assert repr(result).startswith("SideResult(status=OPTIMAL, levels=4, objective=")
    with pytest.raises(AttributeError):
        result.objective = 1.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        eq.SideResult()


def test_input_errors_survive_a_pickle() -> None:
    error = refused("utility", 1, utility=[1.0, math.nan])
    again = pickle.loads(pickle.dumps(error))
    assert (again.argument, again.index, str(again)) == ("utility", 1, str(error))


def test_a_million_levels_are_solved() -> None:
    utility = np.sin(np.arange(1_000_000.0))
    result = eq.solve_side(utility, entropy_min=13.0, cap=1e-4)
    assert result.status is eq.Status.OPTIMAL, result
    assert abs(math.fsum(result.share) - 1.0) <= 1e-12


def test_threads_get_their_own_answers() -> None:
    ladders = np.random.default_rng(5).standard_normal((8, 25))
    expected = [eq.solve_side(u, entropy_min=2.0) for u in ladders]
    wrong: list[int] = []

    def work(row: int) -> None:
        wrong.extend(row for _ in range(300) if eq.solve_side(ladders[row], entropy_min=2.0) != expected[row])

    threads = [threading.Thread(target=work, args=(row,)) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


ANYTHING = st.one_of(
    st.none(),
    st.floats(),
    st.integers(),
    st.text(max_size=3),
    st.lists(st.one_of(st.floats(), st.none(), st.text(max_size=1)), max_size=4),
    hnp.arrays(
        dtype=st.one_of(hnp.floating_dtypes(), hnp.integer_dtypes(), hnp.boolean_dtypes(), hnp.complex_number_dtypes()),
        shape=hnp.array_shapes(min_dims=0, max_dims=2, max_side=4),
    ),
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(utility=ANYTHING, entropy_min=ANYTHING, floor=ANYTHING, cap=ANYTHING)
def test_whatever_is_passed_there_is_an_answer_or_an_input_error(
    utility: Any, entropy_min: Any, floor: Any, cap: Any
) -> None:
    try:
        result = eq.solve_side(utility, entropy_min=entropy_min, floor=floor, cap=cap)
    except eq.InputError as error:
        named = error.argument
    else:
        assert isinstance(result.status, eq.Status)
        named = "utility"
    assert named in {"utility", "entropy_min", "floor", "cap"}
