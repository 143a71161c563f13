"""Order-margin rules from Python: golden vectors, an oracle in fractions that shares no code, hostile input."""

from __future__ import annotations

import copy
import json
import pickle
from decimal import Decimal
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import equipoise as eq
from equipoise import AccountState, InputError, LeverageTiers, Market, OrderMarginRule

VENUES = (
    "hyperliquid",
    "hyperliquid_conservative",
    "binance_usdm",
    "binance_usdm_hedge",
    "okx",
    "okx_hedge",
    "bybit",
    "deribit_linear",
    "bitmex",
    "mt5",
    "dydx",
)
COMBINE = ("sum", "worst_side", "hedge_legs", "per_side", "larger_leg", "net_contracts", "single_order")


def venue(name: str) -> OrderMarginRule:
    return OrderMarginRule.venue(name)


def market(mark: Any = "27.11", tick: Any = "0.001", lot: Any = "0.01", **more: Any) -> Market:
    mark, tick = Decimal(str(mark)), Decimal(str(tick))
    bid = mark // tick * tick
    return Market("X", bid, bid + tick, mark, tick=tick, lot=lot, **more)


def state(margin: Any = 0, position: Any = 0, leverage: Any = 10, **more: Any) -> AccountState:
    return AccountState(margin, position, leverage, more.pop("position_max", 10**6), **more)


def micros(amount: Any) -> int:
    scaled = Fraction(str(amount)) * 10**6
    assert scaled.denominator == 1
    return int(scaled)


HYPE = Market("HYPE", 27.10, 27.12, 27.11, tick="0.001", lot="0.01", notional_min=10)


# --- golden vectors -------------------------------------------------------------------------------------------------

NOT_COVERED = {("kraken_futures", "fixture"): "states three figures of an account and no inputs to compute them from"}


def trade_sizes_2023(inp: dict[str, Any], out: dict[str, Any]) -> None:
    size = Decimal(inp["szi"])
    mark = Decimal(inp["positionValue"]) / abs(size)
    exponent = min(int(Decimal(text).as_tuple().exponent) for text in (out["maxBuy"], out["maxSell"], inp["szi"]))
    shown = market(mark, tick=Decimal(1).scaleb(int(mark.as_tuple().exponent)), lot=Decimal(1).scaleb(exponent))
    rule = OrderMarginRule("single_order", closing=True)
    free = Decimal(inp["accountValue"]) - Decimal(inp["totalMarginUsed"])
    account = state(free, size, inp["leverage"])
    assert rule.max_size(shown, account, "bid", mark) == Decimal(out["maxBuy"])
    assert rule.max_size(shown, account, "ask", mark) == Decimal(out["maxSell"])
    # The payload truncates to micro-units, the rule rounds up.
    assert 0 <= rule.required(shown, account) - Decimal(out["marginUsed"]) <= Decimal("0.000001")


def max_trade_size(inp: dict[str, Any], out: dict[str, Any]) -> None:
    shown = market(inp["markPx"], tick="0.0001", lot=Decimal(1).scaleb(-inp["szDecimals"]))
    account = state(inp["availableToTrade"][:-4], 0, inp["leverage"])
    assert venue("hyperliquid").max_size(shown, account, "bid", inp["markPx"]) == Decimal(out["maxTradeSz"])


def side_split(inp: dict[str, Any], out: dict[str, Any]) -> None:
    shown = market(inp["markPx"], tick="0.1", lot="0.00001")
    account = state(f"{float(inp['availBuy']):.6f}", out["positionSz"], inp["leverage"])
    rule = venue("hyperliquid")
    assert rule.required(shown, account) == Decimal(out["marginUsed"])
    assert float(rule.headroom(shown, account, "ask")) == pytest.approx(float(inp["availSell"]), abs=5e-7)
    assert rule.max_size(shown, account, "bid", inp["markPx"]) == Decimal(inp["maxBuy"])
    assert rule.max_size(shown, account, "ask", inp["markPx"]) == Decimal(inp["maxSell"])


def one_side_reserve(inp: dict[str, Any], out: dict[str, Any]) -> None:
    ((size, price),) = inp["restingBuy"]
    shown, account = market(50, tick=1, lot=1), state(inp["equity"], 0, inp["leverage"])
    for side, expected in (("bid", out["availBuy"]), ("ask", out["availSell"])):
        assert venue("hyperliquid").headroom(shown, account, side, [("bid", price, size)]) == expected


def limit_price_reserve(inp: dict[str, Any], out: dict[str, Any]) -> None:
    shown, account = market(64500, tick="0.01", lot="0.00001"), state(inp["available"], 0, inp["leverage"])
    order = [("ask", inp["limitPx"], inp["sz"])]
    assert venue("hyperliquid").required(shown, account, order) == Decimal(out["reserve_recomputed"])
    assert bool(venue("hyperliquid").accepts(shown, account, order)) is out["accepted"]


def maintenance(inp: dict[str, Any], out: dict[str, Any]) -> None:
    tiers = LeverageTiers.from_leverage([tuple(row) for row in inp["tiers"]], share="0.5")
    assert [tiers.margin(notional) for notional in inp["notional"]] == out["mm"]


def one_way(inp: dict[str, Any], out: dict[str, Any]) -> None:
    shown, account = market(inp["mark"], tick=1, lot="0.1"), state(0, inp["pos"], inp["leverage"])
    orders = [("bid", price, size) for size, price in inp["bids"]]
    orders += [("ask", price, size) for size, price in inp["asks"]]
    for name in ("binance_usdm", "okx", "worst_side"):
        assert venue(name).required(shown, account, orders) == out["im"]


def binance_cost(inp: dict[str, Any], out: dict[str, Any], side: str) -> None:
    shown = market(inp["mark"], tick="0.01", lot=1, last=inp["last"])
    held = venue("binance_usdm").required(shown, state(0, 0, inp["leverage"]), [(side, inp["px"], inp["qty"])])
    margin = "462.665" if side == "bid" else out["im"]
    assert held == Fraction(ceil((Fraction(margin) + Fraction(str(out["open_loss"]))) * 10**6), 10**6)


def bybit_cost(inp: dict[str, Any], out: dict[str, Any]) -> None:
    rule = venue("bybit").replace(taker_fee=inp["taker"])
    shown, account = market(inp["px"], tick=1, lot=1), state(0, 0, inp["leverage"])
    assert rule.required(shown, account, [("bid", inp["px"], inp["qty"])]) == Decimal(str(out["cost"]))


def deribit(inp: dict[str, Any], out: dict[str, Any]) -> None:
    rule = venue("deribit_linear").replace(tiers=LeverageTiers.linear(inp["base"], inp["slope"]))
    shown = market(inp["index"], tick=1, lot=1)
    assert rule.required(shown, state(0, inp["size"], 50)) == out["im"]
    assert rule.required(shown, state(0, 0, 50), [("ask", inp["index"], inp["size"])]) == out["im"]


def bitmex(inp: dict[str, Any], out: dict[str, Any]) -> None:
    assert out["charged"].endswith("=2750*r*m")
    orders = [("bid", price, size) for size, price in inp["bids"]]
    orders += [("ask", price, size) for size, price in inp["asks"]]
    shown = Market("X", 100, 150, 125, tick=1, lot=1)
    assert venue("bitmex").required(shown, state(0, 0, 100), orders) == Decimal("27.5")


def mt5_in_flight(inp: dict[str, Any], out: dict[str, Any]) -> None:
    shown = market(1, tick=1, lot="0.01", contract_value=100_000)
    cents = Decimal("0.01")

    def held(position: Any, orders: list[Any]) -> Decimal:
        return venue("mt5").required(shown, state(0, position, 300), orders).quantize(cents)

    assert held("-0.02", []) == Decimal(inp["margin"])
    assert held("-0.02", [("bid", 1, "0.03")]) == Decimal(out["buy_003_started"])
    assert held("0.01", []) == Decimal(out["buy_003_filled"])
    assert held("-0.02", [("ask", 1, "0.03")]) == Decimal(out["sell_003_started"])


def mt5_conversion(inp: dict[str, Any], out: dict[str, Any]) -> None:
    rule = venue("mt5").replace(tiers=LeverageTiers.steps([(0, inp["rate"])]))
    assert rule.required(market(inp["ask"], tick="0.0001", lot=1), state(0, inp["base_eur"], 1)) == Decimal(out["usd"])


def open_interest(inp: dict[str, Any], out: dict[str, Any]) -> None:
    rate = eq.open_interest_rate(inp["base"], inp["lower"], inp["upper"], inp["oi_notional"])
    assert rate == Decimal(out["imf"])


def okx_free(inp: dict[str, Any], out: dict[str, Any]) -> None:
    assert venue("okx").free_margin(inp["balance"], sum(inp["upnl"]), inp["in_use"]) == out["free"]
    assert venue("okx").free_margin(1, -5, 0) == 0


def net_equity(inp: dict[str, Any], out: dict[str, Any]) -> None:
    used = Decimal(inp["pos_margin"]) + Decimal(inp["order_margin"])
    assert venue("sum").free_margin(inp["total"], in_use=used) == Decimal(out["available"])


CHECKS = {
    ("hyperliquid", "max_trade_sizes_no_order_reserve_2023"): trade_sizes_2023,
    ("hyperliquid", "activeAssetData_identity"): max_trade_size,
    ("hyperliquid", "position_side_split_2026"): side_split,
    ("hyperliquid", "order_reserve_one_side"): one_side_reserve,
    ("hyperliquid", "resting_price_is_limit_price"): limit_price_reserve,
    ("hyperliquid", "tier_maintenance"): maintenance,
    ("binance_usdm", "one_way_requirement"): one_way,
    ("binance_usdm", "cost_long"): lambda inp, out: binance_cost(inp, out, "bid"),
    ("binance_usdm", "cost_short"): lambda inp, out: binance_cost(inp, out, "ask"),
    ("bybit", "order_cost_linear_buy"): bybit_cost,
    ("bybit", "order_cost_linear_buy_old"): bybit_cost,
    ("okx", "free_margin"): okx_free,
    ("deribit_linear_sm", "im"): deribit,
    ("dydx_v4", "oimf"): open_interest,
    ("bitmex_legacy", "two_sided"): bitmex,
    ("mt5", "inflight_only_increases"): mt5_in_flight,
    ("mt5", "conversion_and_rate"): mt5_conversion,
    ("backpack", "net_equity_available"): net_equity,
}


def vectors() -> list[dict[str, Any]]:
    path = Path(__file__).resolve().parents[1] / "vectors" / "order_margin.json"
    entries: list[dict[str, Any]] = json.loads(path.read_text())
    return entries


@pytest.mark.parametrize("entry", vectors(), ids=lambda entry: f"{entry['venue']}-{entry['kind']}")
def test_golden_vector_is_reproduced(entry: dict[str, Any]) -> None:
    key = (entry["venue"], entry["kind"])
    if key in NOT_COVERED:
        assert entry["inp"] == {}, "there are inputs now: cover it"
        return
    CHECKS[key](entry["inp"], entry["out"])


def test_every_golden_vector_is_covered_or_listed_with_a_reason() -> None:
    keys = {(entry["venue"], entry["kind"]) for entry in vectors()}
    assert len(vectors()) == 25
    assert keys == set(CHECKS) | set(NOT_COVERED)
    assert all(NOT_COVERED.values())


# --- an oracle in fractions -----------------------------------------------------------------------------------------


def up(value: Fraction) -> int:
    return ceil(value * 10**6)


def oracle(rule: OrderMarginRule, shown: Market, leverage: Fraction, position: int, orders: list[Any]) -> int:
    """The requirement by the book's definitions, written again from the specification, for rules without tiers."""
    lot = Fraction(shown.lot) * Fraction(shown.contract_value)
    tick, mark, last = Fraction(shown.tick), Fraction(shown.mark), Fraction(shown.last)

    def value(price: Fraction) -> Fraction:
        return lot / price if shown.inverse else lot * price

    def charged_price(basis: str, limit: Fraction) -> Fraction:
        return {
            "limit": limit,
            "mark": mark,
            "max_limit_best_bid": max(limit, Fraction(shown.bid)),
            "min_limit_best_ask": min(limit, Fraction(shown.ask)),
            "max_last_mark_limit": max(last * (1 + Fraction(rule.last_premium)), mark, limit),
        }[basis]

    def rate(is_bid: bool, ticks: int) -> Fraction:
        limit = ticks * tick
        worth = value(charged_price(rule.buy_price if is_bid else rule.sell_price, limit))
        taker = Fraction(rule.taker_fee)
        fee = {
            "none": Fraction(0),
            "maker": max(Fraction(0), Fraction(rule.maker_fee)),
            "taker": taker,
            "taker_open_close": taker + taker * (1 - 1 / leverage if is_bid else 1 + 1 / leverage),
            "flat": Fraction(rule.fee_reserve_bps) / 10_000,
        }[rule.fee_reserve]
        total = worth * (1 / leverage + fee)
        if rule.open_loss:
            gain = value(mark) - value(limit)
            total += max(Fraction(0), -gain if is_bid is not shown.inverse else gain)
        return total

    held = up(abs(position) * value(mark) / leverage)
    charges: dict[bool, list[tuple[Fraction, int]]] = {True: [], False: []}
    left = {True: max(0, -position), False: max(0, position)}
    credit = (rule.closing and rule.combine == "sum") or rule.combine == "net_contracts"
    for is_bid, lots, ticks, reduce_only in sorted(orders, key=lambda o: -o[2] if o[0] else o[2]):
        free = min(left[is_bid], lots)
        left[is_bid] -= free
        if not reduce_only:
            charges[is_bid].append((rate(is_bid, ticks), lots - free if credit else lots))
    bids, asks = (sum(up(unit * lots) for unit, lots in charges[side]) for side in (True, False))
    signed = held if position > 0 else -held
    if rule.combine in {"sum", "hedge_legs"}:
        return held + bids + asks
    if rule.combine in {"worst_side", "per_side"}:
        return max(abs(signed + bids), abs(signed - asks))
    if rule.combine == "larger_leg":
        rates = [up(unit) for side in charges.values() for unit, lots in side if lots]
        rates += [up(value(mark) / leverage)] if position else []
        legs = [sum(lots for _, lots in charges[side]) for side in (True, False)]
        return max(rates, default=0) * max(max(position, 0) + legs[0], max(-position, 0) + legs[1])
    assert rule.combine == "net_contracts"
    sides = [sorted((unit for unit, lots in charges[side] for _ in range(lots)), reverse=True) for side in charges]
    longest = max(map(len, sides))
    both = [side + [Fraction(0)] * (longest - len(side)) for side in sides]
    return held + ceil(sum(max(a, b) for a, b in zip(*both, strict=True)) * 10**6)


ORDERS = st.lists(st.tuples(st.booleans(), st.integers(0, 60), st.integers(26_000, 28_500), st.booleans()), max_size=8)
BASES = st.sampled_from(["limit", "mark", "max_limit_best_bid", "min_limit_best_ask", "max_last_mark_limit"])


@given(
    combine=st.sampled_from([name for name in COMBINE if name != "single_order"]),
    options=st.fixed_dictionaries(
        {
            "buy_price": BASES,
            "sell_price": BASES,
            "last_premium": st.sampled_from(["0", "0.0015", "0.01"]),
            "open_loss": st.booleans(),
            "fee_reserve": st.sampled_from(["none", "maker", "taker", "taker_open_close", "flat"]),
            "fee_reserve_bps": st.just("2.5"),
            "maker_fee": st.sampled_from(["0.0002", "-0.0001"]),
            "taker_fee": st.just("0.00055"),
            "closing": st.booleans(),
        }
    ),
    leverage=st.sampled_from(["1", "3", "7", "12.5", "40"]),
    position=st.integers(-90, 90),
    orders=ORDERS,
    inverse=st.booleans(),
    last=st.sampled_from(["26.9", "27.11", "27.4"]),
)
def test_requirement_equals_an_oracle_in_fractions(
    combine: Any, options: dict[str, Any], leverage: str, position: int, orders: list[Any], inverse: bool, last: str
) -> None:
    rule = OrderMarginRule(combine, **options)
    shown = Market("X", 27.10, 27.12, 27.11, tick="0.001", lot="0.01", contract_value=3, last=last, inverse=inverse)
    sides, lots, ticks, flags = (list(column) for column in zip(*orders, strict=True)) if orders else ([],) * 4
    expected = oracle(rule, shown, Fraction(leverage), position, orders)
    got = rule.required_micros(shown, leverage, position, sides, lots, ticks, flags)
    # Rates of net_contracts are rounded up to a millionth of a micro-unit per lot.
    slack = 1 if combine == "net_contracts" else 0
    assert expected <= got <= expected + slack


@given(orders=ORDERS, position=st.integers(-90, 90), available=st.integers(0, 300_000_000))
def test_acceptance_is_the_stated_inequality(orders: list[Any], position: int, available: int) -> None:
    half = len(orders) // 2
    columns = [tuple(list(column) for column in zip(*part, strict=True)) for part in (orders[:half], orders[half:])]
    resting, candidates = (column or ([], [], [], []) for column in columns)
    joined = tuple(a + b for a, b in zip(resting, candidates, strict=True))
    for name in ("sum", "worst_side", "per_side", "larger_leg", "net_contracts"):
        rule = venue(name)
        answer = rule.accepts_micros(HYPE, 10, position, resting, candidates, available)
        alone = rule.required_micros(HYPE, 10, position, [], [], [])
        before = rule.required_micros(HYPE, 10, position, *resting)
        after = rule.required_micros(HYPE, 10, position, *joined)
        assert (answer.position_only, answer.required_before, answer.required_after) == (alone, before, after)
        accepted = after - alone <= available or after <= before
        assert (answer.accepted, bool(answer)) == (accepted, accepted)
        assert answer.shortfall == (0 if accepted else after - alone - available)
        assert answer.refusal == (None if accepted else "margin")


# --- decimals for people --------------------------------------------------------------------------------------------


def test_mission_scenario_is_the_same_for_people_and_in_integers() -> None:
    account = AccountState(397.49, position=0, leverage=10, position_max=146.62)
    half = [("bid", 27.11, 73.31), ("ask", 27.11, "73.31")]
    full = [("bid", 27.11, 146.62), ("ask", 27.11, 146.62)]
    rule = venue("sum")
    assert rule.required(HYPE, account, half) == Decimal("397.48682")
    assert rule.accepts(HYPE, account, half).accepted
    assert rule.accepts(HYPE, account, full).shortfall == micros("397.48364")
    assert rule.required_micros(HYPE, 10, 0, [True, False], [7331, 7331], [27110, 27110]) == micros("397.48682")
    for name in ("worst_side", "per_side", "hyperliquid"):
        assert venue(name).accepts(HYPE, account, full).accepted
        quoted = [("bid", 27.10, 146.62), ("ask", 27.12, 146.62)]
        assert venue(name).accepts(HYPE, account, quoted).refusal == "margin"
        factor, sizes = venue(name).max_scale(HYPE, account, quoted)
        assert (factor, sizes) == (Fraction(14_656, 14_662), (Decimal("146.56"), Decimal("146.56")))


def test_orders_are_taken_as_tuples_and_as_order_objects() -> None:
    order = eq.Order(
        symbol="HYPE",
        side=eq.Side.ASK,
        lots=100,
        price_ticks=27_120,
        hold=0,
        price=Decimal("27.12"),
        size=Decimal(1),
    )
    account, rule = state(1000, 5), venue("sum")
    as_tuple = rule.required(HYPE, account, [(eq.Side.ASK, "27.12", 1)])
    assert rule.required(HYPE, account, [order]) == as_tuple == Decimal("16.267")
    assert rule.required(HYPE, account, [("ask", "27.12", 1, True)]) == Decimal("13.555")
    assert rule.incremental(HYPE, account, [order]) == Decimal("2.712")
    assert rule.required_after(HYPE, account, [order], resting=[order]) == Decimal("18.979")


def test_hedge_legs_take_positions_as_pairs_and_orders_with_legs() -> None:
    def order(side: eq.Side, leg: str | None) -> eq.Order:
        return eq.Order(
            symbol="X", side=side, lots=2, price_ticks=100, hold=0, price=Decimal(100), size=Decimal(2), leg=leg
        )

    shown = market(100, tick=1, lot=1)
    rule, account = venue("hedge_legs"), state(1000, (3, 4))
    assert rule.required(shown, account) == 70
    assert rule.required(shown, account, [order(eq.Side.BID, "long"), order(eq.Side.ASK, "long")]) == 90
    assert rule.required_micros(shown, 10, (3, 4), [], [], []) == 70_000_000
    beyond = [order(eq.Side.ASK, "long"), order(eq.Side.ASK, "long")]
    assert rule.accepts(shown, account, beyond).refusal == "leg"


def test_fast_forms_take_lists_and_arrays_alike() -> None:
    sides, lots, ticks = [True, True, False], [700, 733, 733], [27_100, 27_090, 27_120]
    rule = venue("per_side")
    plain = rule.required_micros(HYPE, 10, -55, sides, lots, ticks)
    for side in (np.array(sides), np.array(sides, dtype=np.int8), ["bid", "bid", "ask"], (1, 1, 0)):
        for kind in (np.int64, np.int32):
            arrays = np.array(lots, dtype=kind), np.array(ticks, dtype=kind)
            assert rule.required_micros(HYPE, Decimal(10), -55, side, *arrays) == plain
    strided = np.repeat(np.array(lots), 2)[::2]
    assert rule.required_micros(HYPE, 10, -55, sides, strided, tuple(ticks)) == plain
    charges = [rule.charge_micros(HYPE, 10, side, n, p) for side, n, p in zip(sides, lots, ticks, strict=True)]
    flat = rule.required_micros(HYPE, 10, 0, sides, lots, ticks)
    assert flat == max(charges[0] + charges[1], charges[2])


@given(lots=st.integers(0, 10**6), ticks=st.integers(1, 10**6))
def test_charge_of_an_order_is_its_value_over_leverage_rounded_up(lots: int, ticks: int) -> None:
    assert venue("sum").charge_micros(HYPE, 7, "bid", lots, ticks) == ceil(Fraction(lots * ticks * 10, 7))


# --- the rule as a value --------------------------------------------------------------------------------------------


def test_presets_and_bare_rules_are_listed_and_unknown_names_are_refused_with_the_list() -> None:
    assert OrderMarginRule.venues() == VENUES + COMBINE
    for name in OrderMarginRule.venues():
        assert venue(name).name == name
        assert repr(venue(name)) == f"OrderMarginRule.venue('{name}')"
    with pytest.raises(InputError, match=r"name must be one of hyperliquid, .* single_order, got 'ftx'"):
        venue("ftx")


def test_standing_is_data_and_a_changed_rule_has_none() -> None:
    rule = venue("binance_usdm")
    assert rule.exact
    assert {code for code, _ in rule.standing} == {"C"}
    assert {code for code, _ in venue("hyperliquid").standing} == {"C", "M", "D"}
    assert not venue("hyperliquid").exact
    assert venue("hyperliquid").notes
    changed = rule.replace(open_loss=False)
    assert (changed.exact, changed.standing, changed.open_loss) == (False, (), False)
    assert changed.name == "custom worst_side"
    assert rule.replace() == rule


def test_rules_compare_hash_copy_and_pickle() -> None:
    tiers = LeverageTiers.from_leverage([(0, 3), (100, 2)])
    custom = OrderMarginRule(
        "sum", name="mine", closing=True, tiers=tiers, sell_price="max_last_mark_limit", last_premium="0.0015"
    )
    for rule in (*map(venue, OrderMarginRule.venues()), custom, custom.replace(fee_reserve="flat", fee_reserve_bps=3)):
        for twin in (pickle.loads(pickle.dumps(rule)), copy.copy(rule), copy.deepcopy(rule)):
            assert twin == rule
            assert hash(twin) == hash(rule)
            assert repr(twin) == repr(rule)
    assert custom.name == "mine"
    assert custom != venue("sum")
    assert custom != "sum"
    assert len({venue("sum"), venue("sum"), custom}) == 2


def test_tiers_compare_pickle_and_show_their_deductions() -> None:
    tiers = LeverageTiers.from_leverage([(0, 40), (150_000_000, 20)], share="0.5")
    assert tiers.rows == ((0, Decimal("0.0125"), 0), (150_000_000, Decimal("0.025"), 1_875_000))
    thirds = LeverageTiers.from_leverage([(0, 3)])
    linear = LeverageTiers.linear("0.02", "0.00005")
    for each in (tiers, thirds, linear):
        assert pickle.loads(pickle.dumps(each)) == each
    assert linear.rows == ()
    assert tiers != thirds


def test_objects_are_frozen() -> None:
    for thing, name in ((venue("sum"), "closing"), (HYPE, "mark"), (state(), "leverage")):
        with pytest.raises(AttributeError):
            setattr(thing, name, 1)


# --- hostile input --------------------------------------------------------------------------------------------------

NUMBERS = [float("nan"), float("inf"), -float("inf"), 1e300, "x", "", "nan", "1e400", Decimal("NaN"), None, True]
NUMBERS += [np.bool_(True), np.array([1.0, 2.0]), [], object(), 10**40, "\ud800", b"1"]


@pytest.mark.parametrize("bad", NUMBERS, ids=lambda bad: ascii(bad)[:20])
def test_a_number_that_is_none_is_named(bad: Any) -> None:
    rule = venue("sum")
    calls: list[tuple[str, Any]] = [
        ("leverage", lambda: rule.required_micros(HYPE, bad, 0, [], [], [])),
        ("leverage", lambda: rule.charge_micros(HYPE, bad, "bid", 1, 1)),
        ("price", lambda: rule.required(HYPE, state(), [("bid", bad, 1)])),
        ("size", lambda: rule.required(HYPE, state(), [("bid", 27, bad)])),
        ("price", lambda: rule.max_size(HYPE, state(), "bid", bad)),
        ("balance", lambda: rule.free_margin(bad)),
        ("maker_fee", lambda: rule.replace(maker_fee=bad)),
        ("last_premium", lambda: rule.replace(last_premium=bad)),
        ("notional", lambda: LeverageTiers.steps([(0, 1)]).margin(bad)),
        ("base", lambda: eq.open_interest_rate(bad, 0, 1, 0)),
    ]
    for argument, call in calls:
        with pytest.raises(InputError) as caught:
            call()
        assert caught.value.argument == argument


@pytest.mark.parametrize("bad", [1.0, "1", None, True, 2**70, float("nan"), np.bool_(True), [], Decimal(1)], ids=ascii)
def test_an_integer_that_is_none_is_named_with_its_index(bad: Any) -> None:
    rule = venue("sum")
    calls: list[tuple[str, int | None, Any]] = [
        ("position_lots", None, lambda: rule.required_micros(HYPE, 10, bad, [], [], [])),
        ("lots", 1, lambda: rule.required_micros(HYPE, 10, 0, [True, True], [1, bad], [1, 1])),
        ("price_ticks", 0, lambda: rule.required_micros(HYPE, 10, 0, [True], [1], [bad])),
        ("lots", None, lambda: rule.charge_micros(HYPE, 10, "bid", bad, 1)),
        ("margin_available", None, lambda: rule.accepts_micros(HYPE, 10, 0, None, None, bad)),
        ("quantum_micros", None, lambda: rule.replace(quantum_micros=bad)),
    ]
    for argument, index, call in calls:
        with pytest.raises(InputError) as caught:
            call()
        assert (caught.value.argument, caught.value.index) == (argument, index)


@pytest.mark.parametrize(
    ("argument", "index", "call"),
    [
        ("lots", 0, lambda rule: rule.required_micros(HYPE, 10, 0, [True], [-1], [1])),
        ("price_ticks", 1, lambda rule: rule.required_micros(HYPE, 10, 0, [True, True], [1, 1], [1, 0])),
        ("lots", None, lambda rule: rule.required_micros(HYPE, 10, 0, [True], [1, 2], [1])),
        ("price_ticks", None, lambda rule: rule.required_micros(HYPE, 10, 0, [True], [1], [])),
        ("reduce_only", None, lambda rule: rule.required_micros(HYPE, 10, 0, [True], [1], [1], [])),
        ("reduce_only", 0, lambda rule: rule.required_micros(HYPE, 10, 0, [True], [1], [1], ["no"])),
        ("side", 1, lambda rule: rule.required_micros(HYPE, 10, 0, [True, "buy"], [1, 1], [1, 1])),
        ("side", 0, lambda rule: rule.required_micros(HYPE, 10, 0, [-1], [1], [1])),
        ("side", 0, lambda rule: rule.required_micros(HYPE, 10, 0, np.array([-1], dtype=np.int8), [1], [1])),
        ("side", None, lambda rule: rule.required_micros(HYPE, 10, 0, 7, [1], [1])),
        ("lots", None, lambda rule: rule.required_micros(HYPE, 10, 0, [True], "1", [1])),
        ("lots", 0, lambda rule: rule.required_micros(HYPE, 10, 0, [True], np.ones(1), [1])),
        ("lots", 0, lambda rule: rule.required_micros(HYPE, 10, 0, [True], np.ones((1, 1), dtype=np.int64), [1])),
        ("position_lots", None, lambda rule: rule.required_micros(HYPE, 10, 2**53, [], [], [])),
        ("position_lots", None, lambda rule: rule.required_micros(HYPE, 10, (1, -1), [], [], [])),
        ("position_lots", None, lambda rule: rule.required_micros(HYPE, 10, (1,), [], [], [])),
        ("leverage", None, lambda rule: rule.required_micros(HYPE, "0.99", 0, [], [], [])),
        ("leverage", None, lambda rule: rule.required_micros(HYPE, -10, 0, [], [], [])),
        ("market", None, lambda rule: rule.required_micros(None, 10, 0, [], [], [])),
        ("market", None, lambda rule: rule.required("HYPE", state())),
        ("state", None, lambda rule: rule.required(HYPE, None)),
        ("orders", None, lambda rule: rule.required(HYPE, state(), 5)),
        ("orders", None, lambda rule: rule.required(HYPE, state(), "bid")),
        ("orders", 0, lambda rule: rule.required(HYPE, state(), [("bid", 1)])),
        ("orders", 0, lambda rule: rule.required(HYPE, state(), [None])),
        ("side", 0, lambda rule: rule.required(HYPE, state(), [("b", 27, 1)])),
        ("price", 0, lambda rule: rule.required(HYPE, state(), [("bid", "27.0005", 1)])),
        ("size", 1, lambda rule: rule.required(HYPE, state(), [("bid", 27, 1), ("bid", 27, "0.005")])),
        ("lots", 0, lambda rule: rule.required(HYPE, state(), [("bid", 27, -1)])),
        ("side", None, lambda rule: rule.max_size(HYPE, state(), "long", 27)),
        ("price", None, lambda rule: rule.max_size(HYPE, state(), "bid", 0)),
        ("price", None, lambda rule: rule.max_size(HYPE, state(), "bid", -27)),
        ("resting", None, lambda rule: rule.accepts_micros(HYPE, 10, 0, [1], None, 0)),
        ("candidates", None, lambda rule: rule.accepts_micros(HYPE, 10, 0, None, (1, 2), 0)),
        ("lots", None, lambda rule: rule.required_micros(HYPE, 1, 0, [True], [2**62], [2**62])),
        ("combine", None, lambda rule: OrderMarginRule("biggest")),
        ("combine", None, lambda rule: OrderMarginRule(None)),
        ("option", None, lambda rule: OrderMarginRule("sum", closed=True)),
        ("closing", None, lambda rule: rule.replace(closing="yes")),
        ("reduce_only", None, lambda rule: rule.replace(reduce_only=True)),
        ("triggers", None, lambda rule: rule.replace(triggers="never")),
        ("tiers", None, lambda rule: rule.replace(tiers=[(0, 1)])),
        ("name", None, lambda rule: rule.replace(name=5)),
        ("name", None, lambda rule: venue(None)),
        ("taker_fee", None, lambda rule: rule.replace(taker_fee=2)),
        ("fee_reserve_bps", None, lambda rule: rule.replace(fee_reserve_bps=-1)),
        ("quantum_micros", None, lambda rule: rule.replace(quantum_micros=0)),
        ("rows", 0, lambda rule: LeverageTiers.steps([(1, "0.1")])),
        ("rows", 1, lambda rule: LeverageTiers.steps([(0, "0.2"), (5, "0.1")])),
        ("rows", 1, lambda rule: LeverageTiers.steps([(0, "0.1"), (0, "0.2")])),
        ("rows", 0, lambda rule: LeverageTiers.steps([(0, 0)])),
        ("rows", 0, lambda rule: LeverageTiers.steps([5])),
        ("rows", None, lambda rule: LeverageTiers.steps([])),
        ("rows", None, lambda rule: LeverageTiers.steps(None)),
        ("rows", 0, lambda rule: LeverageTiers.from_leverage([(0, 0)])),
        ("base", None, lambda rule: LeverageTiers.linear(0, 0)),
        ("slope", None, lambda rule: LeverageTiers.linear(1, -1)),
        ("upper", None, lambda rule: eq.open_interest_rate("0.05", 5, 5, 5)),
    ],
)
def test_malformed_input_is_named(argument: str, index: int | None, call: Any) -> None:
    with pytest.raises(InputError) as caught:
        call(venue("sum"))
    assert (caught.value.argument, caught.value.index) == (argument, index)


@given(
    numbers=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3),
    side=st.booleans(),
    available=st.integers(-(2**63), 2**63 - 1),
    leverage=st.integers(1, 2**62),
)
def test_any_integers_give_an_answer_or_an_input_error(
    numbers: list[int], side: bool, available: int, leverage: int
) -> None:
    lots, ticks, position = numbers
    for name in OrderMarginRule.venues():
        try:
            answer = venue(name).accepts_micros(
                HYPE, leverage, position, ([side], [lots], [ticks]), ([not side], [lots], [ticks]), available
            )
        except InputError:
            continue
        assert answer.required_after >= answer.position_only >= 0
