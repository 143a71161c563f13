"""Hostile input to the optimizer of both sides: the wrong argument is named, nothing crosses but `InputError`."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import equipoise as eq

nan, inf = math.nan, math.inf
GOOD = np.array([0.03, 0.02, 0.01, 0.02])
FIELDS: dict[str, Any] = {
    "utility": GOOD,
    "margin_per_unit": 2.7,
    "entropy_min": 0.9,
    "size_max": 100.0,
    "share_floor": 0.01,
    "share_cap": 0.9,
    "size_cap": inf,
    "fill_probability": 0.5,
    "saturation": None,
}
BID = eq.SideProblem(**FIELDS)
TERMS: dict[str, Any] = {
    "bid": BID,
    "ask": BID,
    "margin": 300.0,
    "combine": "sum",
    "bid_share": (0.2, 0.8),
    "inventory": eq.Inventory(10.0, 1e-5),
    "closing_credit": (0.0, 0.0),
}
PROBLEM = eq.SidesProblem(**TERMS)


def refused(
    call: Callable[..., Any], fields: dict[str, Any], argument: str, index: int | None = None, /, **changes: Any
) -> eq.InputError:
    with pytest.raises(eq.InputError) as caught:
        call(**(fields | changes))
    assert (caught.value.argument, caught.value.index) == (argument, index), str(caught.value)
    return caught.value


def side_refused(argument: str, index: int | None = None, /, **changes: Any) -> eq.InputError:
    return refused(eq.SideProblem, FIELDS, argument, index, **changes)


def terms_refused(argument: str, index: int | None = None, /, **changes: Any) -> None:
    """By the problem and by the call that builds it."""
    refused(eq.SidesProblem, TERMS, argument, index, **changes)
    refused(eq.solve_sides, TERMS, argument, index, **changes)


# One side -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [nan, inf, -inf])
@pytest.mark.parametrize("index", [0, 3, 8, 12])
def test_a_utility_that_is_not_finite_is_named_with_its_index(bad: float, index: int) -> None:
    utility = np.ones(13)
    utility[index] = bad
    assert side_refused("utility", index, utility=utility).requirement == "finite"
    side = eq.SideProblem(np.ones(13), 1.0, 0.0, 1.0)
    assert refused(side.moved, {"utility": utility}, "utility", index).requirement == "finite"
    solver = eq.Solver(eq.SidesProblem(side, side, margin=1.0))
    for name in ("bid_utility", "ask_utility"):
        assert refused(solver.solve, {name: utility}, name, index).requirement == "finite"


NO_ROWS = [
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
]


@pytest.mark.parametrize("utility", NO_ROWS, ids=lambda value: f"{type(value).__name__}-{str(value)[:12]}")
def test_a_utility_that_is_no_row_of_numbers_is_refused(utility: object) -> None:
    side_refused("utility", utility=utility)
    refused(BID.moved, {"utility": utility}, "utility")
    if utility is not None:
        refused(eq.Solver(PROBLEM).solve, {"bid_utility": utility}, "bid_utility")
        refused(eq.Solver(PROBLEM).solve, {"ask_utility": utility}, "ask_utility")


def test_masked_values_are_named() -> None:
    masked = np.ma.masked_array(GOOD, mask=[0, 0, 1, 0])
    side_refused("utility", 2, utility=masked)
    side_refused("size_cap", 2, size_cap=masked)
    refused(BID.moved, {"utility": masked}, "utility", 2)
    refused(eq.certify, {"problem": PROBLEM, "sizes": (GOOD, masked)}, "sizes[1]", 2)


@pytest.mark.parametrize("name", ["entropy_min", "size_max"])
@pytest.mark.parametrize("bad", [nan, inf, -inf, None, "1", True, [1.0], np.array([1.0]), 1j])
def test_a_number_that_is_none_is_refused(name: str, bad: object) -> None:
    side_refused(name, **{name: bad})


def test_limits_on_numbers_hold() -> None:
    side_refused("size_max", size_max=-1e-9)
    assert eq.SideProblem(**(FIELDS | {"entropy_min": -5.0})).entropy_min == -5.0
    assert eq.SideProblem(**(FIELDS | {"size_max": 0})).size_max == 0.0


@pytest.mark.parametrize("name", ["margin_per_unit", "share_floor", "share_cap", "size_cap", "fill_probability"])
@pytest.mark.parametrize("bad", [-0.1, nan, "a", None, True, [[0.1]], np.ones((4, 1))])
def test_a_bound_that_is_none_is_refused(name: str, bad: object) -> None:
    side_refused(name, **{name: bad})


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("margin_per_unit", -1e-9),
        ("margin_per_unit", inf),
        ("share_floor", inf),
        ("share_cap", 1.0000001),
        ("size_cap", nan),
        ("fill_probability", 1.0000001),
    ],
)
def test_a_bound_by_level_names_the_level(name: str, bad: float) -> None:
    row = np.full(4, 0.25)
    row[2] = bad
    side_refused(name, 2, **{name: row})


@pytest.mark.parametrize("name", ["margin_per_unit", "share_floor", "share_cap", "size_cap", "fill_probability"])
@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_rows_of_another_length_are_refused(name: str, count: int) -> None:
    side_refused(name, **{name: np.full(count, 0.25)})


def test_utilities_of_another_length_do_not_fit_a_side_that_is_there() -> None:
    assert "4 levels" in refused(BID.moved, {"utility": np.ones(3)}, "utility").requirement
    solver = eq.Solver(PROBLEM)
    refused(solver.solve, {"bid_utility": np.ones(5)}, "bid_utility")
    refused(solver.solve, {"ask_utility": []}, "ask_utility")


def test_more_levels_than_there_can_be_are_refused() -> None:
    side_refused("utility", utility=np.zeros((1 << 20) + 1))


def test_a_saturation_is_checked_alone_and_against_its_side() -> None:
    refused(eq.Saturation, {"scale": 1.0}, "kind", kind="square")
    refused(eq.Saturation, {"scale": 1.0}, "kind", kind=None)
    for bad in (0.0, -1.0, nan, inf, "1", None, True):
        refused(eq.Saturation, {"kind": "log"}, "scale", scale=bad)
    refused(eq.Saturation, {"kind": "log"}, "scale", 1, scale=[1.0, 0.0])
    side_refused("saturation.scale", saturation=eq.Saturation("log", [1.0, 2.0]))
    for bad in ("log", 1.0, ("log", 1.0)):
        side_refused("saturation", saturation=bad)


def test_an_inventory_is_checked() -> None:
    for bad in (nan, inf, None, "1", True, [1.0]):
        refused(eq.Inventory, {"price_of_risk": 1.0}, "position", position=bad)
    for bad in (-1.0, nan, inf, None, "1"):
        refused(eq.Inventory, {"position": 1.0}, "price_of_risk", price_of_risk=bad)
    for bad in (None, 1, "yes"):
        refused(eq.Inventory, {"position": 1.0, "price_of_risk": 1.0}, "fill_variance", fill_variance=bad)


# Both sides ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bid", "ask"])
@pytest.mark.parametrize("bad", [None, GOOD, "bid", PROBLEM, eq.SideProblem])
def test_a_side_that_is_none_is_refused(name: str, bad: object) -> None:
    terms_refused(name, **{name: bad})


@pytest.mark.parametrize("bad", [nan, inf, -1.0, None, "1", True, [1.0], (1.0, 2.0), np.array([1.0, 2.0]), 1j])
def test_margin_of_one_pot_is_one_number(bad: object) -> None:
    terms_refused("margin", margin=bad)
    if bad is not None:
        refused(eq.Solver(PROBLEM).solve, {"margin": bad}, "margin")


@pytest.mark.parametrize("bad", [nan, inf, -1.0, None, "1", True, [1.0], (1.0,), (1.0, 2.0, 3.0), np.ones((2, 1))])
def test_margin_of_the_worst_side_is_one_number_or_two(bad: object) -> None:
    terms_refused("margin", margin=bad, combine="worst_side")


def test_a_pair_names_the_side() -> None:
    terms_refused("margin", 1, margin=(1.0, nan), combine="worst_side")
    terms_refused("margin", 0, margin=(-1.0, 1.0), combine="worst_side")
    terms_refused("margin", 1, margin=(1.0, "2"), combine="worst_side")
    terms_refused("closing_credit", 0, closing_credit=(inf, 0.0))
    terms_refused("closing_credit", 1, closing_credit=[0.0, -1.0])
    for same in ([100.0, 200.0], np.array([100, 200])):
        assert eq.SidesProblem(BID, BID, margin=same, combine="worst_side").margin == (100.0, 200.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [None, "max", "SUM", "per_side", 1, b"sum"])
def test_a_rule_that_is_not_ours_is_refused(bad: object) -> None:
    terms_refused("combine", combine=bad)


@pytest.mark.parametrize("bad", [0.5, (0.5,), (0.6, 0.4), (-0.1, 0.5), (0.5, 1.1), (nan, 0.5), "ab", (0.1, 0.2, 0.3)])
def test_bounds_on_the_share_are_a_pair_in_order(bad: object) -> None:
    terms_refused("bid_share", bid_share=bad)


@pytest.mark.parametrize("bad", [1.0, None, (1.0,), "ab", (1.0, 2.0, 3.0)])
def test_a_closing_credit_is_a_pair(bad: object) -> None:
    terms_refused("closing_credit", closing_credit=bad)


@pytest.mark.parametrize("bad", [1.0, (1.0, 2.0), "inventory"])
def test_an_inventory_that_is_none_is_refused(bad: object) -> None:
    terms_refused("inventory", inventory=bad)


def test_a_solver_needs_a_problem_and_a_position_needs_an_inventory() -> None:
    for bad in (None, BID, 1.0):
        refused(eq.Solver, {}, "problem", problem=bad)
    without = eq.SidesProblem(BID, BID, margin=300.0)
    refused(eq.Solver(without).solve, {"position": 1.0}, "position")
    for value in (nan, inf, "1", [1.0]):
        refused(eq.Solver(PROBLEM).solve, {"position": value}, "position")


def test_a_certificate_names_what_does_not_fit() -> None:
    good: dict[str, Any] = {"problem": PROBLEM, "sizes": (GOOD, GOOD)}
    refused(eq.certify, good, "problem", problem=BID)
    for bad in (None, 1.0, (GOOD,), (GOOD, GOOD, GOOD), "ab" * 2):
        refused(eq.certify, good, "sizes", sizes=bad)
    refused(eq.certify, good, "sizes[0]", sizes=(GOOD[:3], GOOD))
    refused(eq.certify, good, "sizes[1]", sizes=(GOOD, "abcd"))
    refused(eq.certify, good, "sizes[1]", 3, sizes=(GOOD, [1.0, 1.0, 1.0, -1.0]))
    refused(eq.certify, good, "sizes[0]", 0, sizes=([nan, 1.0, 1.0, 1.0], GOOD))
    for bad in (1.0, (1.0,), PROBLEM):
        refused(eq.certify, good, "multipliers", multipliers=bad)
    refused(eq.certify, good, "multipliers", multipliers=eq.Multipliers(bid_level=[1.0, 2.0]))


def test_multipliers_are_checked() -> None:
    refused(eq.Multipliers, {}, "margin", margin=(1.0, 2.0))
    refused(eq.Multipliers, {}, "margin", 2, margin=(1.0, 2.0, -1.0))
    refused(eq.Multipliers, {}, "temperature", 0, temperature=(inf, 0.0))
    refused(eq.Multipliers, {}, "normaliser", normaliser=1.0)
    refused(eq.Multipliers, {}, "inventory", inventory=nan)
    refused(eq.Multipliers, {}, "bid_level", 1, bid_level=[0.0, -1.0])
    refused(eq.Multipliers, {}, "ask_level", ask_level="caps")


def test_calls_of_the_wrong_shape_are_type_errors() -> None:
    bad: list[Callable[[], Any]] = [
        lambda: eq.SideProblem(GOOD, 1.0, 0.5),  # type: ignore[call-arg]
        lambda: eq.SideProblem(GOOD, 1.0, 0.5, 1.0, 0.0),  # type: ignore[misc]
        lambda: eq.solve_sides(BID, BID),  # type: ignore[call-arg]
        lambda: eq.solve_sides(BID, BID, 1.0),  # type: ignore[misc]
        lambda: eq.solve_sides(BID, BID, margin=1.0, budget=1.0),  # type: ignore[call-arg]
        lambda: eq.Solver(),  # type: ignore[call-arg]
        lambda: eq.SidesResult(),
        lambda: eq.SidesCertificate(),
        lambda: eq.BatchResult(),
    ]
    for call in bad:
        with pytest.raises(TypeError):
            call()


# Forms of the same --------------------------------------------------------------------------------------------------


FORMS = [
    pytest.param(GOOD.tolist(), id="list"),
    pytest.param(tuple(GOOD.tolist()), id="tuple"),
    pytest.param(np.repeat(GOOD, 2)[::2], id="strided"),
    pytest.param(GOOD[::-1].copy()[::-1], id="negative-stride"),
    pytest.param(GOOD.astype(">f8"), id="big-endian"),
    pytest.param(GOOD.astype(np.longdouble), id="long double"),
    pytest.param(np.frombuffer(b"x" + GOOD.tobytes(), dtype=np.uint8)[1:].view(np.float64), id="unaligned"),
    pytest.param(np.asfortranarray(GOOD), id="fortran"),
]


@pytest.mark.parametrize("same", FORMS)
def test_any_form_of_the_same_numbers_is_the_same_side(same: Any) -> None:
    assert eq.SideProblem(**(FIELDS | {"utility": same})) == BID
    assert BID.moved(same) == BID
    caps = eq.SideProblem(**(FIELDS | {"size_cap": GOOD}))
    assert eq.SideProblem(**(FIELDS | {"size_cap": same})) == caps
    assert eq.Solver(PROBLEM).solve(same, same) == eq.Solver(PROBLEM).solve(GOOD, GOOD)
    assert eq.certify(PROBLEM, (same, same)) == eq.certify(PROBLEM, (GOOD, GOOD))


def test_integers_and_scalars_of_numpy_are_numbers() -> None:
    plain = eq.SideProblem([3.0, 2.0], 1.0, 0.5, 10.0, share_floor=0.0, share_cap=1.0, fill_probability=1.0)
    assert eq.SideProblem([3, 2], 1, np.float32(0.5), np.int64(10), share_floor=0, share_cap=np.array(1)) == plain
    result = eq.solve_sides(plain, plain, margin=np.float64(5), combine="sum")
    assert result == eq.solve_sides(plain, plain, margin=5)


def test_numbers_and_rows_are_shown_as_they_were_given() -> None:
    side = eq.SideProblem(**(FIELDS | {"share_cap": [0.9] * 4}))
    assert (side.share_floor, side.fill_probability, side.size_cap) == (0.01, 0.5, inf)
    np.testing.assert_array_equal(side.share_cap, [0.9] * 4)
    np.testing.assert_array_equal(side.margin_per_unit, [2.7] * 4)
    assert side != BID
    assert (side.levels, len(side)) == (4, 4)


def test_one_array_may_be_several_arguments() -> None:
    quarter = np.full(4, 0.25)
    side = eq.SideProblem(
        quarter,
        quarter,
        0.5,
        10.0,
        share_floor=quarter,
        share_cap=quarter,
        size_cap=quarter,
        fill_probability=quarter,
        saturation=eq.Saturation("log", quarter),
    )
    result = eq.solve_sides(side, side, margin=1.0)
    np.testing.assert_allclose(result.bid_size, 0.25, rtol=1e-9)
    assert eq.certify(eq.SidesProblem(side, side, margin=1.0), (quarter, quarter)).violation <= 1e-12


# What comes back ----------------------------------------------------------------------------------------------------


def test_a_side_keeps_its_own_copy_and_hands_out_read_only_arrays() -> None:
    given = {name: np.full(4, 0.25) for name in ("utility", "margin_per_unit", "share_floor", "share_cap", "size_cap")}
    side = eq.SideProblem(**given, entropy_min=0.5, size_max=1.0)
    for array in given.values():
        array[:] = nan
    for name in given:
        array = getattr(side, name)
        assert array is getattr(side, name)
        np.testing.assert_array_equal(array, 0.25)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
        assert array.flags.owndata
    kept = side.utility
    del side
    gc.collect()
    np.testing.assert_array_equal(kept, 0.25)


def test_a_read_only_array_is_accepted_and_left_alone() -> None:
    utility = GOOD.copy()
    utility.flags.writeable = False
    side = eq.SideProblem(utility, 2.7, 0.9, 100.0).moved(utility)
    eq.Solver(eq.SidesProblem(side, side, margin=300.0)).solve(utility, utility)
    np.testing.assert_array_equal(utility, GOOD)


def test_sizes_are_read_only_owned_and_outlive_their_result() -> None:
    solver = eq.Solver(PROBLEM)
    result = solver.solve()
    sizes, multipliers = (result.bid_size, result.ask_size), result.multipliers
    assert sizes[0] is result.bid_size
    assert multipliers is result.multipliers
    kept = [size.copy() for size in sizes]
    solver.solve(GOOD * 0.0, GOOD * 2.0)
    del result, solver
    gc.collect()
    for size, copied in zip(sizes, kept, strict=True):
        np.testing.assert_array_equal(size, copied)
        assert size.flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            size[0] = 1.0
    assert len(multipliers.margin) == 3


def test_problems_survive_copies_and_pickles_and_compare_by_value() -> None:
    rich = eq.SideProblem(
        GOOD,
        GOOD,
        0.9,
        50.0,
        share_floor=[0.0, 0.1, 0.0, 0.0],
        share_cap=0.8,
        size_cap=[10.0, inf, 5.0, 7.0],
        fill_probability=[0.1, 0.2, 0.3, 0.4],
        saturation=eq.Saturation("exponential", [1.0, 2.0, 3.0, 4.0]),
    )
    things = [
        eq.Saturation("log", 2.0),
        eq.Inventory(-3.0, 1e-5, fill_variance=True),
        BID,
        rich,
        rich.moved(GOOD * 2),
        PROBLEM,
        eq.SidesProblem(rich, BID, margin=(1.0, 2.0), combine="worst_side", closing_credit=(0.0, 3.0)),
        eq.solve_sides(**TERMS).multipliers,
        eq.Multipliers(margin=(0.0, 1.0, 2.0), normaliser=(-1.0, inf), bid_level=[1.0, 2.0]),
    ]
    for thing in things:
        for again in (pickle.loads(pickle.dumps(thing)), copy.copy(thing), copy.deepcopy(thing)):
            assert again == thing
            assert repr(again) == repr(thing)
    for number, left in enumerate(things):
        assert left != "something else"
        assert all(left != right for right in things[number + 1 :])
    for frozen in (BID, PROBLEM):
        with pytest.raises(AttributeError):
            frozen.margin = 1.0  # type: ignore[misc]
        with pytest.raises(TypeError):
            hash(frozen)


def test_results_are_frozen_compare_by_value_and_show_what_they_are() -> None:
    result = eq.solve_sides(**TERMS)
    assert result == eq.solve_sides(**TERMS)
    assert result != eq.solve_sides(**(TERMS | {"margin": 299.0}))
    assert result != "result"
    assert copy.copy(result) is result
    assert copy.deepcopy(result) is result
    assert repr(result).startswith("SidesResult(status=OPTIMAL, bid_status=QUOTED, ask_status=QUOTED, bid_total=")
    with pytest.raises(AttributeError):
        result.objective = 1.0  # type: ignore[misc]
    certificate = eq.certify(PROBLEM, (result.bid_size, result.ask_size), result)
    assert repr(certificate).startswith("SidesCertificate(objective=")
    assert copy.deepcopy(certificate) is certificate


def test_a_side_without_levels_is_blocked_and_its_arrays_are_empty() -> None:
    nothing = eq.SideProblem([], 1.0, 0.0, 10.0)
    assert nothing.utility.shape == nothing.margin_per_unit.shape == (0,)
    result = eq.solve_sides(nothing, BID, margin=300.0)
    assert (result.bid_status, result.ask_status) == (eq.SideStatus.BLOCKED, eq.SideStatus.QUOTED)
    assert result.bid_size.shape == (0,)
    np.testing.assert_allclose(result.ask_size @ BID.margin_per_unit, 270.0, rtol=1e-9)


def test_input_errors_survive_a_pickle() -> None:
    error = side_refused("utility", 1, utility=[1.0, nan])
    again = pickle.loads(pickle.dumps(error))
    assert (again.argument, again.index, str(again)) == ("utility", 1, str(error))


def test_threads_share_problems_and_solvers_and_get_their_own_answers() -> None:
    random = np.random.default_rng(5)
    rows = [GOOD * random.uniform(0.9, 1.1, 4) for _ in range(8)]
    expected = [eq.solve_sides(BID.moved(row), BID, margin=300.0) for row in rows]
    shared = eq.Solver(eq.SidesProblem(BID, BID, margin=300.0))
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(50):
            single = eq.solve_sides(BID.moved(rows[number]), BID, margin=300.0)
            solved = shared.solve(rows[number])
            close = np.allclose(solved.bid_size, expected[number].bid_size, rtol=0, atol=1e-3)
            if single != expected[number] or not close:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


class Meddler:
    """Uses the solver while the solver reads it."""

    def __init__(self, solver: eq.Solver) -> None:
        self.solver = solver

    def __array__(self, *_: Any, **__: Any) -> Any:
        self.solver.solve()
        return GOOD


def test_an_argument_that_uses_the_solver_it_is_passed_to_does_no_harm() -> None:
    solver = eq.Solver(PROBLEM)
    solver.solve(Meddler(solver))  # type: ignore[arg-type]
    assert solver.solve().status is eq.SidesStatus.OPTIMAL


# Whatever is passed -------------------------------------------------------------------------------------------------

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


def answered(call: Callable[..., Any], fields: dict[str, Any]) -> tuple[Any, str]:
    """The answer, or None and the name of the argument that is refused."""
    try:
        return call(**fields), ""
    except eq.InputError as error:
        return None, error.argument


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=200)
@given(changes=st.dictionaries(st.sampled_from(sorted(FIELDS)), ANYTHING, min_size=1, max_size=3))
def test_whatever_a_side_is_made_of_there_is_a_side_or_an_input_error(changes: dict[str, Any]) -> None:
    side, refusal = answered(eq.SideProblem, FIELDS | changes)
    if side is None:
        assert refusal in FIELDS
    else:
        assert pickle.loads(pickle.dumps(side)) == side


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=200)
@given(changes=st.dictionaries(st.sampled_from(sorted(TERMS)), ANYTHING, min_size=1, max_size=3))
def test_whatever_terms_are_there_is_an_answer_or_an_input_error(changes: dict[str, Any]) -> None:
    result, refusal = answered(eq.solve_sides, TERMS | changes)
    if result is None:
        assert refusal in TERMS
    else:
        assert isinstance(result.status, eq.SidesStatus)


STACKED = (
    "margin",
    "position",
    "price_of_risk",
    "bid_share",
    "closing_credit",
    "threads",
    "bid_size_cap",
    "ask_utility",
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=200)
@given(changes=st.dictionaries(st.sampled_from(STACKED), ANYTHING, min_size=1, max_size=3))
def test_whatever_is_stacked_there_is_a_batch_or_an_input_error(changes: dict[str, Any]) -> None:
    shared = {"bid": BID, "ask": BID, "margin": 300.0, "inventory": eq.Inventory(0.0, 1e-5)}
    batch, refusal = answered(eq.solve_batch, shared | changes)
    if batch is None:
        assert refusal.partition("[")[0] in changes
    else:
        assert len(batch.statuses) == len(batch)
