"""A batch answers row by row and bit by bit as single calls do, on any number of threads, beside running Python."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

import equipoise as eq

PRICE, LEVELS = 27.11, (10, 7)
PRICE_OF_RISK = 2.2e-5


def side(levels: int, sign: int) -> eq.SideProblem:
    depth = np.linspace(2.0, 40.0, levels)
    probability = 1 - np.exp(-3 * np.exp(-depth / 8))
    return eq.SideProblem(
        probability * (depth - 3 * np.exp(-depth / 8) - 1.5) / 1e4 * PRICE,
        PRICE * (1 - sign * depth / 1e4) / 10,
        entropy_min=0.6 * math.log(levels),
        size_max=120.0,
        fill_probability=probability,
    )


BID, ASK = side(LEVELS[0], 1), side(LEVELS[1], -1)


def utilities(rows: int, shared: eq.SideProblem, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    random = np.random.default_rng(seed)
    return shared.utility * random.uniform(0.8, 1.2, (rows, shared.levels))


def assert_row(batch: eq.BatchResult, row: int, single: eq.SidesResult) -> None:
    """Equal to the last bit, whatever the field."""
    assert batch.statuses[row] is single.status
    assert (batch.bid_statuses[row], batch.ask_statuses[row]) == (single.bid_status, single.ask_status)
    np.testing.assert_array_equal(batch.bid_size[row], single.bid_size)
    np.testing.assert_array_equal(batch.ask_size[row], single.ask_size)
    for name in (
        "objective",
        "dual_bound",
        "gap",
        "relative_gap",
        "violation",
        "bid_temperature",
        "ask_temperature",
        "inventory_price",
        "iterations",
    ):
        np.testing.assert_array_equal(getattr(batch, name)[row], getattr(single, name), err_msg=name)
    np.testing.assert_array_equal(batch.margin_price[row], single.margin_price)


@pytest.mark.parametrize("threads", [None, 1, 2, 3, 16])
def test_rows_are_bit_by_bit_what_single_calls_answer(threads: int | None) -> None:
    rows = 40
    bid_utility, ask_utility = utilities(rows, BID, 1), utilities(rows, ASK, 2)
    margin, position = np.linspace(150.0, 450.0, rows), np.linspace(-60.0, 60.0, rows)
    batch = eq.solve_batch(
        BID,
        ASK,
        bid_utility=bid_utility,
        ask_utility=ask_utility,
        margin=margin,
        inventory=eq.Inventory(0.0, PRICE_OF_RISK),
        position=position,
        threads=threads,
    )
    assert len(batch) == rows
    for row in range(rows):
        single = eq.solve_sides(
            BID.moved(bid_utility[row]),
            ASK.moved(ask_utility[row]),
            margin=margin[row],
            inventory=eq.Inventory(position[row], PRICE_OF_RISK),
        )
        assert_row(batch, row, single)
    assert eq.SidesStatus.OPTIMAL in batch.statuses


def test_the_number_of_threads_changes_no_bit() -> None:
    given: dict[str, Any] = {"bid_utility": utilities(300, BID, 3), "margin": 300.0, "bid_share": (0.3, 0.7)}
    one = eq.solve_batch(BID, ASK, **given, threads=1)
    for threads in (2, 5, 64):
        assert eq.solve_batch(BID, ASK, **given, threads=threads) == one


def test_every_argument_of_a_side_can_be_stacked() -> None:
    rows = 12
    random = np.random.default_rng(4)
    flat = {
        "entropy_min": random.uniform(0.3, 0.7, rows) * math.log(LEVELS[0]),
        "size_max": random.uniform(50.0, 150.0, rows),
        "share_floor": np.full(rows, 0.01),
        "share_cap": np.full(rows, 0.9),
        "size_cap": random.uniform(80.0, 120.0, rows),
        "fill_probability": random.uniform(0.3, 0.9, rows),
        "margin_per_unit": random.uniform(2.6, 2.8, rows),
    }
    one_each = {name: np.repeat(values[:, None], LEVELS[0], axis=1) for name, values in flat.items()}
    inventory = eq.Inventory(10.0, PRICE_OF_RISK)
    batch = eq.solve_batch(
        BID, ASK, margin=250.0, inventory=inventory, **{f"bid_{name}": values for name, values in flat.items()}
    )
    by_level = eq.solve_batch(
        BID,
        ASK,
        margin=250.0,
        inventory=inventory,
        **{f"bid_{name}": flat[name] if name in ("entropy_min", "size_max") else one_each[name] for name in flat},
    )
    for row in range(rows):
        stated = eq.SideProblem(BID.utility, **{name: values[row] for name, values in flat.items()})
        assert_row(batch, row, eq.solve_sides(stated, ASK, margin=250.0, inventory=inventory))
        by_levels = eq.SideProblem(
            BID.utility,
            **{name: flat[name][row] if name in ("entropy_min", "size_max") else one_each[name][row] for name in flat},
        )
        assert_row(by_level, row, eq.solve_sides(by_levels, ASK, margin=250.0, inventory=inventory))


def test_every_term_can_be_stacked() -> None:
    rows = 9
    random = np.random.default_rng(5)
    pairs = random.uniform(100.0, 300.0, (rows, 2))
    shares = np.sort(random.uniform(0.1, 0.9, (rows, 2)), axis=1)
    credit = random.uniform(0.0, 50.0, (rows, 2))
    risk = random.uniform(1e-5, 4e-5, rows)
    batch = eq.solve_batch(
        BID,
        ASK,
        margin=pairs,
        combine="worst_side",
        bid_share=shares,
        closing_credit=credit,
        inventory=eq.Inventory(20.0, 1.0, fill_variance=True),
        price_of_risk=risk,
    )
    for row in range(rows):
        single = eq.solve_sides(
            BID,
            ASK,
            margin=tuple(pairs[row]),
            combine="worst_side",
            bid_share=tuple(shares[row]),
            closing_credit=tuple(credit[row]),
            inventory=eq.Inventory(20.0, risk[row], fill_variance=True),
        )
        assert_row(batch, row, single)


def test_two_rows_of_margin_are_not_a_pair_and_a_pair_is_a_tuple() -> None:
    by_row = eq.solve_batch(BID, ASK, margin=[100.0, 300.0], combine="worst_side")
    assert len(by_row) == 2
    for row, margin in enumerate((100.0, 300.0)):
        assert_row(by_row, row, eq.solve_sides(BID, ASK, margin=margin, combine="worst_side"))
    pair = eq.solve_batch(BID, ASK, margin=(100.0, 300.0), combine="worst_side")
    assert len(pair) == 1
    assert_row(pair, 0, eq.solve_sides(BID, ASK, margin=(100.0, 300.0), combine="worst_side"))


def test_a_row_does_not_see_the_rows_before_it() -> None:
    """Rows that quote nothing between rows that do: what is left of one answer is not in the next."""
    inventory = eq.Inventory(10.0, PRICE_OF_RISK)
    margin = np.tile([300.0, 0.0, 200.0, 0.0], 20)
    size_max = np.tile([100.0, 100.0, 0.0, 0.0], 20)
    batch = eq.solve_batch(BID, ASK, margin=margin, bid_size_max=size_max, inventory=inventory, threads=2)
    for row in range(4):
        limited = eq.SideProblem(
            BID.utility,
            BID.margin_per_unit,
            BID.entropy_min,
            size_max[row],
            fill_probability=BID.fill_probability,
        )
        single = eq.solve_sides(limited, ASK, margin=margin[row], inventory=inventory)
        for again in range(row, 80, 4):
            assert_row(batch, again, single)


def test_an_empty_batch_has_no_rows_and_the_right_shapes() -> None:
    batch = eq.solve_batch(BID, ASK, margin=300.0, bid_utility=np.empty((0, LEVELS[0])))
    assert len(batch) == 0
    assert batch.statuses == ()
    assert batch.status.shape == batch.objective.shape == (0,)
    assert (batch.margin_price.shape, batch.bid_size.shape, batch.ask_size.shape) == ((0, 2), (0, 10), (0, 7))


def test_arrays_are_read_only_typed_and_outlive_inputs_and_result() -> None:
    bid_utility = utilities(6, BID, 6)
    batch = eq.solve_batch(BID, ASK, margin=300.0, bid_utility=bid_utility)
    kinds = {"status": np.int8, "bid_status": np.int8, "ask_status": np.int8, "iterations": np.uint32}
    shapes = {"margin_price": (6, 2), "bid_size": (6, 10), "ask_size": (6, 7)}
    names = [
        *kinds, *shapes, "objective", "dual_bound", "gap", "relative_gap", "violation", "bid_temperature",
        "ask_temperature", "inventory_price",
    ]  # fmt: skip
    for name in names:
        array = getattr(batch, name)
        assert array.dtype == kinds.get(name, np.float64), name
        assert array.shape == shapes.get(name, (6,)), name
        assert array is getattr(batch, name)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    sizes, kept = batch.bid_size, batch.bid_size.copy()
    bid_utility[:] = 0.0
    del batch
    eq.solve_batch(BID, ASK, margin=100.0, bid_utility=utilities(50, BID, 7))
    np.testing.assert_array_equal(sizes, kept)


def test_codes_are_places_in_the_enumerations() -> None:
    batch = eq.solve_batch(BID, ASK, margin=300.0, bid_size_max=[100.0, 0.0], bid_entropy_min=[9.0, 0.0])
    assert batch.bid_statuses == (eq.SideStatus.INFEASIBLE_ENTROPY, eq.SideStatus.BLOCKED)
    for codes, members, enumeration in (
        (batch.status, batch.statuses, eq.SidesStatus),
        (batch.bid_status, batch.bid_statuses, eq.SideStatus),
        (batch.ask_status, batch.ask_statuses, eq.SideStatus),
    ):
        assert [list(enumeration)[code] for code in codes] == list(members)
    assert repr(batch).startswith("BatchResult(rows=2, optimal=")


def refused(argument: str, index: int | None = None, /, **given: Any) -> eq.InputError:
    with pytest.raises(eq.InputError) as caught:
        eq.solve_batch(given.pop("bid", BID), given.pop("ask", ASK), **({"margin": 300.0} | given))
    assert (caught.value.argument, caught.value.index) == (argument, index), str(caught.value)
    return caught.value


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_first_malformed_row_is_named_whatever_the_threads(threads: int) -> None:
    utility = utilities(500, BID, 8)
    utility[450, 2] = math.nan
    utility[217, 3] = math.inf
    error = refused("bid_utility[217]", 3, bid_utility=utility, threads=threads)
    assert error.requirement == "finite"


def test_every_malformed_argument_is_named_with_its_row() -> None:
    ones = np.ones(4)
    bad = ones.copy()
    bad[2] = -1.0
    inventory = eq.Inventory(0.0, PRICE_OF_RISK)
    for name in ("margin_per_unit", "size_max", "share_floor", "size_cap", "fill_probability"):
        refused(f"ask_{name}", 2, **{f"ask_{name}": bad})
    refused("ask_share_cap", 2, ask_share_cap=[1.0, 1.0, 1.5])
    refused("bid_entropy_min", 1, bid_entropy_min=[0.0, math.nan])
    by_level = np.ones((4, LEVELS[1]))
    by_level[3, 5] = 2.0
    refused("ask_fill_probability[3]", 5, ask_fill_probability=by_level)
    refused("margin", 2, margin=bad)
    refused("margin[1]", 0, margin=[[1.0, 1.0], [math.inf, 1.0]], combine="worst_side")
    refused("closing_credit[0]", 1, closing_credit=[[1.0, math.nan]])
    refused("closing_credit", 1, closing_credit=(1.0, -1.0))
    refused("bid_share", 1, bid_share=[[0.1, 0.2], [0.4, 0.3]])
    refused("bid_share", bid_share=(0.4, 0.3))
    refused("position", 1, position=[0.0, math.inf], inventory=inventory)
    refused("price_of_risk", 0, price_of_risk=[-1.0], inventory=inventory)
    refused("position", position=[0.0])
    refused("price_of_risk", price_of_risk=1.0)
    refused("position", position=math.nan, inventory=inventory)


def test_arguments_of_the_wrong_shape_are_named() -> None:
    refused("bid_utility", bid_utility=np.ones(LEVELS[0]))
    refused("bid_utility", bid_utility=np.ones((3, LEVELS[0] + 1)))
    refused("bid_utility", bid_utility=np.ones((3, 2, LEVELS[0])))
    refused("bid_entropy_min", bid_entropy_min=np.ones((3, LEVELS[0])))
    refused("bid_size_cap", bid_size_cap=1.0)
    refused("ask_size_cap", bid_size_cap=np.ones(3), ask_size_cap=np.ones(4))
    refused("margin", bid_size_cap=np.ones(3), margin=np.ones(4))
    refused("margin", margin=np.ones((3, 2)))
    refused("margin", margin=(1.0, 2.0))
    refused("margin", margin=np.ones((3, 3)), combine="worst_side")
    refused("closing_credit", closing_credit=np.ones(3))
    refused("bid_share", bid_share=np.ones(3))
    refused("bid", bid=[1.0])
    refused("ask", ask=None)
    refused("combine", combine="max")
    refused("inventory", inventory=1.0)
    for threads in (0, -1, 1025, 1.0, True, "2"):
        refused("threads", threads=threads)
    refused("bid_utility", 0, bid_utility=np.ma.masked_array(np.ones((1, LEVELS[0])), mask=np.eye(1, LEVELS[0])))


def test_answers_that_fit_no_memory_are_an_error_of_python() -> None:
    nothing = eq.SideProblem([], 1.0, 0.0, 1.0)
    with pytest.raises(MemoryError):
        eq.solve_batch(nothing, nothing, margin=1.0, bid_utility=np.empty((2**59, 0)))
    wide = eq.SideProblem(np.ones(1_000_000), 1.0, 0.0, 1.0)
    with pytest.raises(MemoryError):
        eq.solve_batch(wide, nothing, margin=np.ones(20_000_000))
    with pytest.raises(MemoryError):
        eq.solve_batch(wide, nothing, margin=1.0, bid_margin_per_unit=np.ones(20_000_000))


def test_keywords_that_do_not_exist_are_type_errors() -> None:
    call: Any = eq.solve_batch
    for name in ("utility", "bid_saturation", "ask_", "bids_utility"):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
            call(BID, ASK, margin=1.0, **{name: [1.0]})
    with pytest.raises(TypeError):
        call(BID, ASK)


@pytest.mark.parametrize("form", ["list", "float32", "fortran", "strided", "big-endian", "integers"])
def test_any_form_of_the_same_numbers_gives_the_same_answers(form: str) -> None:
    utility = np.round(1e3 * utilities(5, BID, 9)) + 1.0
    forms: dict[str, Any] = {
        "list": utility.tolist(),
        "float32": utility.astype(np.float32),
        "fortran": np.asfortranarray(utility),
        "strided": np.repeat(utility, 2, axis=1)[:, ::2],
        "big-endian": utility.astype(">f8"),
        "integers": utility.astype(np.int64),
    }
    assert eq.solve_batch(BID, ASK, margin=300.0, bid_utility=forms[form]) == eq.solve_batch(
        BID, ASK, margin=300.0, bid_utility=utility
    )


def large(rows: int) -> dict[str, Any]:
    return {"margin": 300.0, "inventory": eq.Inventory(10.0, PRICE_OF_RISK), "bid_utility": utilities(rows, BID, 10)}


def test_another_python_thread_runs_while_a_batch_does() -> None:
    started = time.perf_counter()
    eq.solve_batch(BID, ASK, **large(200), threads=1)
    given = large(max(200, int(200 * 0.5 / (time.perf_counter() - started))))
    done, ticks = threading.Event(), [0]

    def count() -> None:
        while not done.is_set():
            ticks[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    started = time.perf_counter()
    before = ticks[0]
    eq.solve_batch(BID, ASK, **given, threads=1)
    elapsed, counted = time.perf_counter() - started, ticks[0] - before
    done.set()
    thread.join()
    # A tick takes a millisecond and its share of a busy machine.
    assert counted >= 3
    assert counted >= elapsed / 0.05


def test_threads_may_run_batches_of_the_same_sides_at_once() -> None:
    given = large(200)
    expected = eq.solve_batch(BID, ASK, **given)
    wrong: list[int] = []

    def work(number: int) -> None:
        wrong.extend(number for _ in range(3) if eq.solve_batch(BID, ASK, **given, threads=2) != expected)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Where this runs in the background of a shell, SIGINT is ignored unless it is asked for.
INTERRUPTED = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np
import equipoise as eq
side = eq.SideProblem(np.linspace(1.0, 2.0, 10), 2.7, entropy_min=1.5, size_max=100.0)
margin = np.linspace(200.0, 400.0, 600_000)
print("ready", flush=True)
try:
    eq.solve_batch(side, side, margin=margin, inventory=eq.Inventory(1.0, 1e-5), threads=1)
except KeyboardInterrupt:
    print("interrupted", time.time(), flush=True)
    sys.exit(0)
print("finished", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or sys.platform == "win32", reason="no POSIX signals here")
def test_an_interrupt_stops_a_batch_at_once() -> None:
    # A tenth of a second, and as much again to schedule it. A machine that is busy with other things may not give the
    # two processes their turns in time: one of five tries must do.
    assert any(interrupted_after_s() < 0.3 for _ in range(5))


def interrupted_after_s() -> float:
    """How long a batch went on after the signal; infinity if it was through before."""
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        sent = time.time()
        os.kill(process.pid, signal.SIGINT)
        word, _, at = process.stdout.readline().partition(" ")
        if word != "interrupted":
            return math.inf
        assert process.wait(timeout=10) == 0
        return float(at) - sent
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
