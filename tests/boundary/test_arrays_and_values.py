"""Arrays in and out, frozen results, copies, threads: what crosses stays what it is. Runs on a wheel alone."""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import equipoise as eq

MARKET = eq.Market("HYPE", "27.10", "27.12", "27.11", tick="0.001", lot="0.01", notional_min=10)
LEVELS = eq.Levels([2.0, 4.0, 8.0, 16.0, 32.0], [0.8, 0.6, 0.4, 0.2, 0.1], [0.1, 1.2, 5.4, 14.1, 30.4])
RULE = eq.OrderMarginRule.venue("sum")
SHAPE = eq.Shape(1e-4, 0.1, 1500.0, 10.0, 0.3, 14.66, 1.0, 8.0, 1.5)
SIGNIFICANT = eq.PriceRule.significant(5, decimals_max=3)


def state(margin: Any = "397.49", position: Any = 0) -> eq.AccountState:
    return eq.AccountState(margin, position, 10, 1000)


def quote(margin: Any = "397.49") -> eq.Quote:
    return eq.Quoter().quote(MARKET, state(margin), rule=RULE, bids=LEVELS, asks=LEVELS)


VALUES: list[Any] = [
    MARKET,
    eq.Market("X", 99, 100, 99, 1, 1, price_rule=SIGNIFICANT.tick(), contract_value=100, inverse=True, last=98),
    eq.Market("Y", 27, 28, 27, "0.001", 1, price_rule=SIGNIFICANT),
    state(),
    eq.AccountState(1, (3, 2), 10, 5, equity=7),
    eq.PriceRule.tick(),
    SIGNIFICANT,
    SHAPE,
    LEVELS,
    eq.SplitConfig(sensitivity="0.1", mark_buffer_bps=40),
    RULE,
    eq.OrderMarginRule.venue("binance_usdm").replace(tiers=eq.LeverageTiers.from_leverage([(0, 50), (1000, 20)])),
    eq.LeverageTiers.steps([(0, "0.02"), (1000, "0.05")]),
    eq.LeverageTiers.linear("0.02", "0.001"),
    eq.QuoterConfig(levels=3, optimizer="kelly"),
    eq.quoter.KellyConfig(),
    eq.InputError("edge_bps", 3, "finite", "nan"),
    quote().orders()[0],
    eq.Status.OPTIMAL,
    eq.Reason.KEPT,
]
RESULTS: list[Callable[[], Any]] = [
    lambda: eq.solve_side([3.0, 2.0, 1.0], entropy_min=0.9),
    lambda: eq.solve_side([3.0, 2.0, 1.0], entropy_min=2.0),
    quote,
    lambda: quote().bids,
    lambda: quote(0).asks,
    lambda: quote().certificate,
    lambda: eq.split_margin(MARKET, state(), RULE),
    lambda: RULE.accepts(MARKET, state(), [("bid", 27, 1)]),
]

# Values -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
def test_a_value_survives_pickle_and_copy_at_every_protocol(value: Any) -> None:
    twins = [pickle.loads(pickle.dumps(value, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    for twin in (*twins, copy.copy(value), copy.deepcopy(value)):
        assert type(twin) is type(value)
        assert repr(twin) == repr(value)
        if not isinstance(value, Exception):
            assert twin == value


@pytest.mark.parametrize("value", VALUES[:16], ids=lambda value: f"{type(value).__name__}")
def test_a_value_is_frozen_and_equals_only_its_kind(value: Any) -> None:
    name = next(name for name in dir(value) if not name.startswith("_") and not callable(getattr(value, name)))
    with pytest.raises((AttributeError, TypeError)):
        setattr(value, name, 1)
    with pytest.raises((AttributeError, TypeError)):
        value.a_new_attribute = 1
    assert value != 1
    assert value != "text"
    assert value is not None
    assert value != object()


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
def test_equal_values_hash_alike_where_they_hash(value: Any) -> None:
    if type(value).__hash__ is None or isinstance(value, Exception):
        pytest.skip("not hashable, or compared by identity")
    assert hash(copy.deepcopy(value)) == hash(value)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
def test_the_text_of_a_value_names_its_class_and_evaluates_where_it_says_everything(value: Any) -> None:
    text = repr(value)
    assert type(value).__name__ in text
    if isinstance(value, eq.AccountState | eq.PriceRule | eq.Levels | eq.Shape | eq.SplitConfig):
        assert eval(text, vars(eq).copy()) == value


@pytest.mark.parametrize("make", RESULTS)
def test_a_result_is_frozen_compares_by_content_and_copies_as_itself(make: Callable[[], Any]) -> None:
    one, two = make(), make()
    assert one == two
    assert one != 1
    assert one != object()
    name = next(name for name in dir(one) if not name.startswith("_") and not callable(getattr(one, name)))
    with pytest.raises((AttributeError, TypeError)):
        setattr(one, name, 1)
    with pytest.raises((AttributeError, TypeError)):
        delattr(one, name)
    with pytest.raises((AttributeError, TypeError)):
        one.a_new_attribute = 1
    assert type(one).__name__ in repr(one)
    assert copy.copy(one) == one
    assert copy.deepcopy(one) == one


def test_classes_say_where_they_live_and_cannot_be_made_by_hand_or_subclassed() -> None:
    for kind in (eq.Quote, eq.QuoteSide, eq.Certificate, eq.Split, eq.SideResult, eq.Acceptance):
        assert kind.__module__ == "equipoise"
        with pytest.raises(TypeError):
            kind()
        with pytest.raises(TypeError):
            type("Mine", (kind,), {})


def test_orders_are_frozen_keyword_values() -> None:
    order = quote().orders()[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        order.lots = 1  # type: ignore[misc]
    assert dataclasses.replace(order, order_id="a").order_id == "a"
    assert isinstance(order.price, Decimal)


# Arrays out ---------------------------------------------------------------------------------------------------------


def arrays_of(result: Any) -> dict[str, np.ndarray[Any, Any]]:
    names = [name for name in dir(result) if not name.startswith("_")]
    found = {name: getattr(result, name) for name in names}
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}


@pytest.mark.parametrize("make", [*RESULTS, lambda: LEVELS])
def test_arrays_of_a_result_are_read_only_own_their_data_and_outlive_it(make: Callable[[], Any]) -> None:
    result = make()
    arrays = arrays_of(result)
    before = {name: array.copy() for name, array in arrays.items()}
    for array in arrays.values():
        assert array.flags.owndata
        assert not array.flags.writeable
        assert array.flags.c_contiguous
        assert array.dtype in (np.float64, np.int64)
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0
    del result
    gc.collect()
    junk = [np.random.default_rng(1).normal(size=64) for _ in range(200)]
    assert len(junk) == 200
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[name])


def test_functions_of_a_shape_return_new_read_only_arrays() -> None:
    depth = np.array([1.0, 2.0])
    for call in (SHAPE.fill_rate_at, SHAPE.fill_probability, SHAPE.adverse_bps_at, SHAPE.edge_bps):
        out = call(depth)
        assert out.base is None
        assert not out.flags.writeable
        assert not np.shares_memory(out, depth)
        assert isinstance(call(1.0), float)


# Arrays in ----------------------------------------------------------------------------------------------------------


def disguises(values: list[float]) -> list[Any]:
    """The same numbers in every form an array can take."""
    plain = np.array(values)
    padded = np.zeros(2 * len(values))
    padded[::2] = values
    frozen = plain.copy()
    frozen.setflags(write=False)
    unaligned = np.frombuffer(b"\0" + plain.tobytes(), dtype=np.uint8)[1:].view("f8")
    return [
        values,
        tuple(values),
        plain,
        padded[::2],
        plain[::-1].copy()[::-1],
        frozen,
        unaligned,
        plain.astype(">f8"),
        np.ma.masked_array(plain),
        np.asfortranarray(np.stack([plain, plain], axis=1))[:, 1],
        memoryview(plain),
        [np.float64(value) for value in values],
    ]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=12))
def test_the_same_numbers_in_any_dtype_stride_or_order_give_the_same_bits(values: list[float]) -> None:
    first = eq.solve_side(values, entropy_min=0.0)
    for form in disguises(values):
        assert eq.solve_side(form, entropy_min=0.0) == first
    expected = eq.Levels(values, [0.5] * len(values), values)
    for form in disguises(values):
        assert eq.Levels(form, [0.5] * len(values), form) == expected


def test_input_arrays_are_neither_changed_nor_kept_and_may_be_one_and_the_same() -> None:
    values = np.array([0.5, 0.3, 0.2])
    before = values.copy()
    result = eq.solve_side(values, entropy_min=0.1, floor=values, cap=values)
    assert result.share.tolist() == before.tolist()
    levels = eq.Levels(values, values, values)
    np.testing.assert_array_equal(values, before)
    made = eq.Quoter(eq.QuoterConfig(levels=3)).quote(MARKET, state(), bids=levels, asks=levels)
    values[:] = -7.0
    assert levels.depth_bps.tolist() == before.tolist()
    assert result.share.tolist() == before.tolist()
    assert made == eq.Quoter(eq.QuoterConfig(levels=3)).quote(MARKET, state(), bids=levels, asks=levels)
    values.resize(100, refcheck=True)


def test_the_array_of_a_result_can_be_the_next_input() -> None:
    share = eq.solve_side([3.0, 2.0, 1.0], entropy_min=0.9).share
    again = eq.solve_side(share, entropy_min=0.9, cap=np.maximum(share, 0.9))
    assert again.status is eq.Status.OPTIMAL


# Threads ------------------------------------------------------------------------------------------------------------


def test_eight_threads_on_one_quoter_and_eight_quoters_get_the_answers_of_one() -> None:
    shared = eq.Quoter(eq.QuoterConfig(levels=5, entropy_min=1.2))
    rules = [eq.OrderMarginRule.venue(name) for name in ("sum", "worst_side", "net_contracts", "hedge_legs")]
    asked = [(state(100 + 13 * index, (index % 7) - 3), rules[index % 4]) for index in range(60)]

    def make(quoter: eq.Quoter, index: int) -> eq.Quote:
        account, rule = asked[index]
        return quoter.quote(MARKET, account, rule=rule, bids=LEVELS, asks=LEVELS)

    expected = [make(eq.Quoter(shared.config), index) for index in range(60)]
    start = threading.Barrier(8)

    def work(thread: int) -> bool:
        own = eq.Quoter(shared.config)
        start.wait(30)
        order = np.random.default_rng(thread).permutation(60).tolist()
        return all(make(shared, i) == expected[i] and make(own, i) == expected[i] for i in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_eight_threads_solving_sides_get_the_answers_of_one() -> None:
    problems = [np.random.default_rng(seed).normal(size=5 + seed) for seed in range(40)]
    expected = [eq.solve_side(utility, entropy_min=1.0) for utility in problems]

    def work(_: int) -> bool:
        return all(eq.solve_side(u, entropy_min=1.0) == e for u, e in zip(problems, expected, strict=True))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_a_quoter_still_quotes_after_refused_input() -> None:
    quoter = eq.Quoter()
    first = quoter.quote(MARKET, state(), bids=LEVELS, asks=LEVELS)
    for _ in range(3):
        with pytest.raises(eq.InputError):
            quoter.quote(MARKET, state(position="0.005"), bids=LEVELS, asks=LEVELS)
    assert quoter.quote(MARKET, state(), bids=LEVELS, asks=LEVELS) == first
