"""Any value in any argument: a defined answer, or an InputError that names it. Runs on a wheel alone."""

from __future__ import annotations

import array
import decimal
import fractions
import gc
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import equipoise as eq

examples = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
nan, inf = math.nan, math.inf


class Text(str):
    """A subclass of str."""

    __slots__ = ()


class Real(float):
    """A subclass of float."""

    __slots__ = ()


class Spiteful:
    """Fails however it is touched."""

    def __float__(self) -> float:
        raise RuntimeError("no float")

    def __index__(self) -> int:
        raise RuntimeError("no index")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __iter__(self) -> Any:
        raise RuntimeError("no items")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no array")

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")


class Endless:
    """Claims a length it has not."""

    def __len__(self) -> int:
        return 10**18

    def __getitem__(self, index: int) -> float:
        if index > 1_000:
            raise IndexError
        return 1.0


def readonly(values: Any) -> np.ndarray[Any, Any]:
    frozen = np.array(values, dtype=float)
    frozen.setflags(write=False)
    return frozen


def hostile() -> list[Any]:
    """Fresh hostile values: scalars first, then everything array-like."""
    return [
        None, True, False, 0, -1, 1, 2, 3, 10**9, 2**53, 2**63, -(2**63), 2**64, 10**30, 10**400, 0.0, -0.0, 0.5, 1.0,
        -1.0, 1e-320, 1e-9, 1e9, 1e18, 1e300, nan, inf, -inf, Real(0.5), np.float64(0.5), np.float32(0.1),
        np.float16(0.1), np.int8(3), np.uint64(2**64 - 1), np.bool_(True), np.longdouble(1), np.complex128(1), 1j,
        "", "x", "nan", "1e400", "0.5", "-1", "\udc80", "1" * 5_000, Text("0.5"), b"0.5", bytearray(b"1"),
        decimal.Decimal("0.5"), decimal.Decimal("NaN"), decimal.Decimal("sNaN"), decimal.Decimal("Infinity"),
        decimal.Decimal("1e-30"), decimal.Decimal(10) ** 40, fractions.Fraction(1, 3), Ellipsis, object(), object, len,
        Spiteful(), Endless(), {}, {"a": 1}, set(), range(3), iter([1.0, 2.0, 3.0]), (x for x in (1.0, 2.0)), [], (),
        [1.0], [0.2, 0.3, 0.5], (3, 2, 1), [nan, 1.0, 2.0], [inf, 1.0], [1.0, "x"], [1.0, None], [[1.0], [2.0, 3.0]],
        [[1.0, 2.0]], [True, False], ["1", "2"], [2**70, 1], [Spiteful()], np.array(0.5), np.array(True), np.array("x"),
        np.zeros(0), np.zeros((3, 0)), np.ones((2, 3)), np.arange(3), np.arange(3, dtype=np.uint8),
        np.array([0.1, 0.2, 0.3], dtype=">f8"), np.array([0.1, 0.2, 0.3], dtype=np.float32), np.arange(6.0)[::2],
        np.arange(6.0)[::-1], np.asfortranarray(np.ones((3, 2)))[:, 0], readonly([0.3, 0.2, 0.5]),
        np.array([1.0, nan, inf]), np.array([1, 2], dtype=object), np.array(["a", "b"]), np.array([1j, 2]),
        np.array([True, False, True]), np.ma.masked_array([1.0, 2.0, 3.0], mask=[0, 1, 0]), np.ma.masked,
        np.ma.masked_array([0.1, 0.2, 0.3]), np.array([(1.0, 2)], dtype=[("a", "f8"), ("b", "i4")]),
        np.array(["2020-01-01"], dtype="datetime64[D]"), np.frombuffer(b"\0" * 25, dtype=np.uint8)[1:].view("f8"),
        memoryview(array.array("d", [0.2, 0.3, 0.5])), memoryview(b"abc"), array.array("d", [1.0, 2.0]),
        np.broadcast_to(0.25, 4), np.full(3, 1e308), np.full(3, -1e308), np.full(3, 5e-324), np.zeros(3),
    ]  # fmt: skip


COUNT = len(hostile())


def market(**changes: Any) -> eq.Market:
    usual: dict[str, Any] = {
        "symbol": "HYPE", "bid": "27.10", "ask": "27.12", "mark": "27.11", "tick": "0.001", "lot": "0.01",
        "notional_min": 10, "contract_value": 1, "price_rule": None, "last": None, "inverse": False,
    }  # fmt: skip
    return eq.Market(**(usual | changes))


MARKET = market()
STATE = eq.AccountState(397.49, 0, 10, 146.62)
OFF_LOT = eq.AccountState(1, "0.005", 1, 1)
LONG = eq.AccountState(397.49, 50, 10, 146.62)
RULE = eq.OrderMarginRule.venue("sum")
LEVELS = eq.Levels([2.0, 8.0, 32.0], [0.8, 0.5, 0.1], [1.0, 5.0, 30.0])
SHAPE_FIELDS: dict[str, Any] = {
    "volatility": 1e-4, "fill_rate": 0.1, "fill_decay": 1500.0, "horizon_s": 10.0, "risk_aversion": 0.3, "unit": 14.66,
    "adverse_bps": 1.0, "adverse_decay_bps": 8.0, "fee_bps": 1.5, "fill_model": "intensity", "depth_min_bps": 0.0,
}  # fmt: skip
SHAPE = eq.Shape(**SHAPE_FIELDS)
ORDERS = [("bid", "27.0", "1"), ("ask", "27.2", "1")]
ARRAYS: dict[str, Any] = {"side": [True, False], "lots": [100, 100], "price_ticks": [27_000, 27_200]}
SIDE_FIELDS: dict[str, Any] = {
    "utility": [0.03, 0.02, 0.01], "margin_per_unit": 2.7, "entropy_min": 0.8, "size_max": 100.0, "share_floor": 0.0,
    "share_cap": 1.0, "size_cap": inf, "fill_probability": 0.5, "saturation": None,
}  # fmt: skip
SIDE = eq.SideProblem(**SIDE_FIELDS)
TERMS: dict[str, Any] = {
    "bid": SIDE, "ask": SIDE, "margin": 300.0, "combine": "sum", "bid_share": (0.2, 0.8),
    "inventory": eq.Inventory(10.0, 1e-5), "closing_credit": (0.0, 0.0),
}  # fmt: skip
SIDES = eq.SidesProblem(**TERMS)
SPLIT_FIELDS = {"sensitivity": 0.2, "weight_min": 0.3, "weight_max": 0.7, "haircut": 1, "mark_buffer_bps": 0}
CONFIG: dict[str, Any] = {
    "levels": 3, "spacing": "geometric", "depth_inner_bps": None, "depth_outer_bps": 32.0, "preset": "default",
    "entropy_min": None, "temperature_factor": 1.0, "optimizer": "entropy", "share_floor": 0.0, "share_cap": 1.0,
    "on_infeasible": "relax", "on_unprofitable": "empty", "kelly": eq.quoter.KellyConfig(), **SPLIT_FIELDS,
}  # fmt: skip
RULE_FIELDS: dict[str, Any] = {
    "combine": "sum", "name": "mine", "buy_price": "limit", "sell_price": "limit", "position_price": "mark",
    "last_premium": 0, "open_loss": False, "fee_reserve": "none", "fee_reserve_bps": 0, "maker_fee": 0, "taker_fee": 0,
    "reduce_only": "free", "closing": False, "triggers": "free", "tiers": None, "tier_basis": "position",
    "balance_basis": "equity", "quantum_micros": 1,
}  # fmt: skip


def quoted(**fields: Any) -> eq.Quote:
    return eq.Quoter(eq.QuoterConfig(**fields)).quote(MARKET, STATE, rule=RULE, bids=LEVELS, asks=LEVELS)


def kelly(**fields: Any) -> eq.Quote:
    return quoted(optimizer="kelly", kelly=eq.quoter.KellyConfig(**fields))


def ladder(**fields: Any) -> eq.Quote:
    return eq.Quoter().quote(**fields)


CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "solve_side": (
        eq.solve_side,
        {"utility": [3.0, 2.0, 1.0], "entropy_min": 0.5, "floor": 0.0, "cap": 1.0},
    ),
    "Saturation": (eq.Saturation, {"kind": "log", "scale": 10.0}),
    "Inventory": (eq.Inventory, {"position": 10.0, "price_of_risk": 1e-5, "fill_variance": False}),
    "SideProblem": (eq.SideProblem, SIDE_FIELDS),
    "SideProblem.moved": (SIDE.moved, {"utility": [0.03, 0.02, 0.01]}),
    "SidesProblem": (eq.SidesProblem, TERMS),
    "solve_sides": (eq.solve_sides, TERMS),
    "solve_sides, worst side": (eq.solve_sides, TERMS | {"combine": "worst_side", "margin": (300.0, 200.0)}),
    "Solver": (eq.Solver, {"problem": SIDES}),
    "Solver.solve": (
        eq.Solver(SIDES).solve,
        {"bid_utility": [0.03, 0.02, 0.01], "ask_utility": None, "margin": 200.0, "position": 1.0},
    ),
    "certify": (eq.certify, {"problem": SIDES, "sizes": ([1.0, 2.0, 1.0], [1.0, 1.0, 1.0]), "multipliers": None}),
    "Multipliers": (
        eq.Multipliers,
        {"margin": (0.0, 0.0, 0.1), "temperature": (0.1, 0.1), "normaliser": (0.0, 0.0), "inventory": 0.0,
         "bid_level": (), "ask_level": [0.0, 0.1, 0.0]},
    ),
    "solve_batch": (
        eq.solve_batch,
        {"bid": SIDE, "ask": SIDE, "margin": [100.0, 200.0, 300.0], "combine": "worst_side", "bid_share": (0.2, 0.8),
         "inventory": eq.Inventory(10.0, 1e-5), "position": [1.0, 2.0, 3.0], "price_of_risk": 1e-5, "threads": 2,
         "closing_credit": (0.0, 0.0), "bid_utility": np.ones((3, 3)), "ask_size_cap": [10.0, 20.0, 30.0]},
    ),
    "Market": (
        market,
        {
            "symbol": "HYPE", "bid": "27.10", "ask": "27.12", "mark": "27.11", "tick": "0.001", "lot": "0.01",
            "notional_min": 10, "contract_value": 1, "price_rule": None, "last": None, "inverse": False,
        },
    ),
    "Market.moved": (MARKET.moved, {"bid": 27.0, "ask": 27.2, "mark": 27.1, "last": 27.1}),
    "Market.ticks": (lambda price: MARKET.ticks(price), {"price": 27}),
    "Market.price": (lambda ticks: MARKET.price(ticks), {"ticks": 27}),
    "Market.lots": (lambda size: MARKET.lots(size), {"size": 27}),
    "Market.size": (lambda lots: MARKET.size(lots), {"lots": 27}),
    "PriceRule.significant": (eq.PriceRule.significant, {"figures": 5, "decimals_max": 3}),
    "AccountState": (
        eq.AccountState,
        {"margin_available": 100, "position": 0, "leverage": 10, "position_max": 10, "equity": 100},
    ),
    "position_max_from_equity": (
        eq.position_max_from_equity,
        {"market": MARKET, "equity": 100, "leverage": 10, "share": 1},
    ),
    "Levels": (
        eq.Levels,
        {"depth_bps": [1.0, 2.0, 3.0], "fill_probability": [0.5, 0.4, 0.3], "edge_bps": [1.0, 2.0, 3.0]},
    ),
    "Shape": (eq.Shape, SHAPE_FIELDS),
    "Shape.replace": (SHAPE.replace, SHAPE_FIELDS),
    "Shape.half_spread_bps": (SHAPE.half_spread_bps, {"price": 27.0}),
    "Shape.skew_bps": (SHAPE.skew_bps, {"price": 27.0}),
    "Shape.price_of_risk": (SHAPE.price_of_risk, {"price": 27.0}),
    "Shape.side_depths_bps": (SHAPE.side_depths_bps, {"price": 27.0, "position": 1.0, "position_max": 10.0}),
    "Shape.depths": (
        SHAPE.depths,
        {"price": 27.0, "levels": 3, "position": 1.0, "position_max": 10.0, "outer_bps": None, "step_bps": 2.0,
         "ratio": 1.5},
    ),
    "Shape.fill_rate_at": (SHAPE.fill_rate_at, {"depth_bps": 1.0}),
    "Shape.fill_probability": (SHAPE.fill_probability, {"depth_bps": 1.0}),
    "Shape.adverse_bps_at": (SHAPE.adverse_bps_at, {"depth_bps": 1.0}),
    "Shape.edge_bps": (SHAPE.edge_bps, {"depth_bps": 1.0}),
    "Shape.utility": (SHAPE.utility, {"depth_bps": 1.0, "price": 27.0}),
    "SplitConfig": (eq.SplitConfig, SPLIT_FIELDS),
    "split_margin": (eq.split_margin, {"market": MARKET, "state": STATE, "rule": RULE, "config": eq.SplitConfig()}),
    "LeverageTiers.steps": (eq.LeverageTiers.steps, {"rows": [(0, "0.02"), (1000, "0.05")]}),
    "LeverageTiers.from_leverage": (eq.LeverageTiers.from_leverage, {"rows": [(0, 50), (1000, 20)], "share": 1}),
    "LeverageTiers.linear": (eq.LeverageTiers.linear, {"base": "0.02", "slope": "0.001"}),
    "LeverageTiers.margin": (eq.LeverageTiers.steps([(0, "0.02")]).margin, {"notional": 10}),
    "open_interest_rate": (eq.open_interest_rate, {"base": "0.05", "lower": 1, "upper": 2, "open_interest": 1}),
    "OrderMarginRule": (eq.OrderMarginRule, RULE_FIELDS),
    "OrderMarginRule.venue": (eq.OrderMarginRule.venue, {"name": "sum"}),
    "OrderMarginRule.replace": (RULE.replace, RULE_FIELDS),
    "required": (RULE.required, {"market": MARKET, "state": LONG, "orders": ORDERS}),
    "required_after": (RULE.required_after, {"market": MARKET, "state": LONG, "orders": ORDERS, "resting": ORDERS}),
    "incremental": (RULE.incremental, {"market": MARKET, "state": LONG, "orders": ORDERS, "resting": ORDERS}),
    "accepts": (RULE.accepts, {"market": MARKET, "state": LONG, "orders": ORDERS, "resting": ORDERS}),
    "max_size": (
        RULE.max_size,
        {"market": MARKET, "state": LONG, "side": "bid", "price": "27", "resting": ORDERS},
    ),
    "max_scale": (RULE.max_scale, {"market": MARKET, "state": LONG, "orders": ORDERS, "resting": ORDERS}),
    "headroom": (RULE.headroom, {"market": MARKET, "state": LONG, "side": "bid", "resting": ORDERS}),
    "free_margin": (RULE.free_margin, {"balance": 100, "open_pnl": 1, "in_use": 1}),
    "required_micros": (
        RULE.required_micros,
        {"market": MARKET, "leverage": 10, "position_lots": 0, **ARRAYS, "reduce_only": [False, False]},
    ),
    "charge_micros": (
        RULE.charge_micros,
        {"market": MARKET, "leverage": 10, "side": True, "lots": 100, "price_ticks": 27_000, "lots_worst": 100},
    ),
    "accepts_micros": (
        RULE.accepts_micros,
        {"market": MARKET, "leverage": 10, "position_lots": 0, "resting": None, "candidates": tuple(ARRAYS.values()),
         "margin_available": 10**9},
    ),
    "QuoterConfig": (quoted, CONFIG),
    "KellyConfig": (kelly, {"fraction": 0.25, "toxicity": 0.15, "toxicity_decay_bps": 10.0}),
    "Quoter": (eq.Quoter, {"config": eq.QuoterConfig()}),
    "Quoter.quote": (
        ladder,
        {"market": MARKET, "state": STATE, "rule": RULE, "shape": None, "bids": LEVELS, "asks": LEVELS},
    ),
}  # fmt: skip


def answered(call: Callable[..., Any], fields: dict[str, Any]) -> Any:
    """The answer, or None after an InputError that is complete; everything else is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call(**fields)
        except eq.InputError as error:
            refusal = error
    assert isinstance(refusal.argument, str)
    assert refusal.argument
    assert refusal.index is None or (isinstance(refusal.index, int) and refusal.index >= 0)
    assert refusal.requirement
    assert len(str(refusal)) < 6_000
    return None


@pytest.mark.parametrize("name", sorted(CALLS))
def test_one_hostile_argument_gives_an_answer_or_a_named_error(name: str) -> None:
    call, fields = CALLS[name]
    assert answered(call, fields) is not None, "the template itself is answered"
    escaped = []
    for argument in fields:
        for value in hostile():
            try:
                answered(call, fields | {argument: value})
            except BaseException as error:
                escaped.append(f"{argument}={type(value).__name__} raised {type(error).__name__}: {error}")
    gc.collect()
    assert not escaped, "\n".join([name, *escaped])


@examples
@given(data=st.data(), name=st.sampled_from(sorted(CALLS)))
def test_two_hostile_arguments_give_an_answer_or_a_named_error(data: st.DataObject, name: str) -> None:
    call, fields = CALLS[name]
    wrong = data.draw(st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=3, unique=True))
    values = hostile()
    answered(call, fields | {argument: values[data.draw(st.integers(0, COUNT - 1))] for argument in wrong})


real = st.floats(allow_nan=True, allow_infinity=True, width=64)


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(
    utility=st.lists(real, max_size=12),
    entropy_min=real,
    floor=st.one_of(real, st.lists(real, max_size=12)),
    cap=st.one_of(real, st.lists(real, max_size=12)),
)
def test_any_floats_give_solve_side_an_answer_that_holds_or_a_named_error(
    utility: list[float], entropy_min: float, floor: Any, cap: Any
) -> None:
    result = answered(eq.solve_side, {"utility": utility, "entropy_min": entropy_min, "floor": floor, "cap": cap})
    if result is None:
        return
    if result.status is eq.Status.OPTIMAL:
        assert abs(result.share.sum() - 1) <= 1e-9
        assert result.violation <= 1e-12
        assert result.dual_bound >= result.objective - 1e-9 * max(map(abs, utility))
    elif result.status is not eq.Status.INACCURATE:
        assert not result.share.any()


numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-(10**20), 10**20),
    st.decimals(allow_nan=True, allow_infinity=True),
    st.decimals(min_value=0, max_value=10**9, places=6),
)


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(data=st.data(), rule=st.sampled_from(eq.OrderMarginRule.venues()), inverse=st.booleans())
def test_any_market_and_account_of_any_numbers_is_quoted_or_named(
    data: st.DataObject, rule: str, inverse: bool
) -> None:
    sane = st.sampled_from(["0.001", "0.01", "1", "10", 27, 10**6, 10**12])
    draw = lambda: data.draw(st.one_of(sane, numbers))  # noqa: E731
    tick, lot = draw(), draw()
    at = answered(
        eq.Market,
        {
            "symbol": "X",
            "bid": draw(),
            "ask": draw(),
            "mark": draw(),
            "tick": tick,
            "lot": lot,
            "notional_min": draw(),
            "contract_value": draw(),
            "inverse": inverse,
        },
    )
    state = answered(
        eq.AccountState,
        {"margin_available": draw(), "position": draw(), "leverage": draw(), "position_max": draw()},
    )
    if at is None or state is None:
        return
    made = answered(ladder, {"market": at, "state": state, "rule": eq.OrderMarginRule.venue(rule), "bids": LEVELS,
                             "asks": LEVELS})  # fmt: skip
    if made is not None:
        assert made.certificate.ok
        assert made.certificate.margin_held <= made.certificate.margin_usable
        answered(lambda: made.to_dict(), {})


# The book -----------------------------------------------------------------------------------------------------------

ORDER: dict[str, Any] = {
    "symbol": "HYPE", "side": eq.Side.BID, "lots": 100, "price_ticks": 27_000, "hold": 2_700_000,
    "price": decimal.Decimal(27), "size": decimal.Decimal(1), "reduce_only": False, "order_id": None, "leg": None,
}  # fmt: skip
BOOK_CALLS: dict[str, dict[str, Any]] = {
    "open_account": {"account_id": "b", "balance": 100, "rule": RULE, "request_id": "open-b"},
    "reserve": {"account_id": "a", "orders": [eq.Order(**ORDER)], "request_id": "r2"},
    "fill": {
        "account_id": "a", "order_id": "r1:0", "lots": 1, "fill_id": "f", "margin": 1, "realised_pnl": 0, "fee": 0,
    },
    "acknowledge": {"account_id": "a", "order_id": "r1:0", "venue_id": "v"},
    "reject": {"account_id": "a", "order_id": "r1:0", "event_id": "e"},
    "cancel": {"account_id": "a", "order_id": "r1:0", "event_id": "e"},
    "request_cancel": {"account_id": "a", "order_id": "r1:0", "deadline_us": 5},
    "revalue": {"account_id": "a", "symbol": "HYPE", "position_margin": 0},
}  # fmt: skip


def patient() -> list[Any]:
    """Without the values whose own methods fail: Python code passes on what they raise."""
    return [
        value for value in hostile() if not isinstance(value[0] if type(value) is list and value else value, Spiteful)
    ]


@pytest.mark.parametrize("name", sorted(BOOK_CALLS))
def test_a_hostile_argument_of_the_book_is_answered_or_named_and_books_nothing_wrong(name: str) -> None:
    escaped = []
    for argument in BOOK_CALLS[name]:
        for value in patient():
            with eq.ReservationBook.connect("memory:", clock=lambda: 1_000_000) as book:
                book.open_account("a", 1_000, rule=RULE, request_id="open")
                book.reserve("a", [eq.Order(**ORDER)], request_id="r1")
                try:
                    answered(getattr(book, name), BOOK_CALLS[name] | {argument: value})
                    assert book.audit("a").ok
                except BaseException as error:
                    escaped.append(f"{argument}={type(value).__name__} raised {type(error).__name__}: {error}")
    assert not escaped, "\n".join([name, *escaped])


@pytest.mark.parametrize("field", sorted(ORDER))
def test_a_hostile_order_is_refused_by_the_book_or_held_as_it_is(field: str) -> None:
    escaped = []
    for value in patient():
        with eq.ReservationBook.connect("memory:", clock=lambda: 1_000_000) as book:
            book.open_account("a", 1_000, rule=RULE, request_id="open")
            order = eq.Order(**(ORDER | {field: value}))
            try:
                answered(book.reserve, {"account_id": "a", "orders": [order], "request_id": "r1"})
                answered(RULE.required, {"market": MARKET, "state": LONG, "orders": [order]})
                assert book.audit("a").ok
            except BaseException as error:
                escaped.append(f"{field}={type(value).__name__} raised {type(error).__name__}: {error}")
    assert not escaped, "\n".join([field, *escaped])


# Extremes that take time if anything takes time ---------------------------------------------------------------------


@pytest.mark.timeout(60)
def test_a_million_levels_are_solved_and_more_are_refused() -> None:
    utility = np.random.default_rng(1).normal(size=10**6)
    result = eq.solve_side(utility, entropy_min=10.0)
    assert result.status is eq.Status.OPTIMAL
    assert result.entropy >= 10.0 - 1e-9
    with pytest.raises(eq.InputError, match="utility"):
        eq.solve_side(np.zeros(2**20 + 1), entropy_min=0.0)
    with pytest.raises(eq.InputError, match="depth_bps"):
        eq.Levels(np.zeros(10**6), np.zeros(10**6), np.zeros(10**6))
    with pytest.raises(eq.InputError):
        eq.Market("X", bid=[0.0] * 10**6, ask=1, mark=1, tick=1, lot=1)  # type: ignore[arg-type]


@pytest.mark.timeout(60)
def test_a_huge_ladder_of_orders_is_counted_or_refused_without_a_hang() -> None:
    count = 100_000
    side, lots = np.ones(count, dtype=bool), np.full(count, 100)
    ticks = np.arange(20_000, 20_000 + count)
    total = eq.OrderMarginRule.venue("worst_side").required_micros(MARKET, 10, 0, side, lots, ticks)
    # One contract each: a tenth of its price, 100 micro-units a tick.
    assert total == 100 * int(ticks.sum())
    with pytest.raises(eq.InputError):
        RULE.required_micros(MARKET, 10, 0, side, lots[:-1], ticks)


# Named precisely ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "argument", "index"),
    [
        (lambda: eq.solve_side([1.0, nan, 2.0], entropy_min=0.1), "utility", 1),
        (lambda: eq.solve_side([1.0, 2.0], entropy_min=0.1, floor=[0.0, nan]), "floor", 1),
        (lambda: eq.solve_side([1.0, 2.0], entropy_min=0.1, cap=[1.0, 2.0]), "cap", 1),
        (lambda: eq.solve_side([1.0, 2.0], entropy_min=nan), "entropy_min", None),
        (lambda: eq.solve_side([], entropy_min=0.1), "utility", None),
        (lambda: eq.solve_side(np.ma.masked_array([1.0, 2.0], mask=[0, 1]), entropy_min=0.1), "utility", 1),
        (lambda: eq.solve_side([1.0, 2.0], entropy_min=np.True_), "entropy_min", None),
        (lambda: eq.Levels([1.0, 2.0], [0.5, 1.5], [1.0, 1.0]), "fill_probability", 1),
        (lambda: eq.Levels([1.0, 2.0], [0.5, 0.5], [1.0, inf]), "edge_bps", 1),
        (lambda: eq.Levels([1.0, 2.0], [0.5], [1.0, 1.0]), "fill_probability", None),
        (lambda: market(bid="27.1005"), "bid", None),
        (lambda: market(ask="27.10"), "ask", None),
        (lambda: market(bid=np.array(True)), "bid", None),
        (lambda: market(mark=nan), "mark", None),
        (lambda: eq.AccountState(nan, 0, 10, 1), "margin_available", None),
        (lambda: eq.AccountState(1, 0, 0.5, 1), "leverage", None),
        (lambda: eq.AccountState(1, (1, -1), 1, 1), "position", 1),
        (
            lambda: ladder(market=MARKET, state=eq.AccountState(1, "0.005", 1, 1), bids=LEVELS, asks=LEVELS),
            "position",
            None,
        ),
        (lambda: RULE.required_micros(MARKET, 10, 0, [True], [-1], [27_000]), "lots", 0),
        (lambda: RULE.required_micros(MARKET, 10, 0, [True, True], [1, 1], [27_000, 0]), "price_ticks", 1),
    ],
)
def test_the_wrong_argument_and_its_index_are_named(call: Callable[[], Any], argument: str, index: int | None) -> None:
    with pytest.raises(eq.InputError) as error:
        call()
    assert (error.value.argument, error.value.index) == (argument, index)


def test_a_wrong_keyword_is_a_type_error_as_everywhere_in_python() -> None:
    with pytest.raises(TypeError):
        eq.solve_side([1.0], entropy=1.0)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        eq.Market()  # type: ignore[call-arg]
