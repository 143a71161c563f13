"""Market, account and price rule: exact decimals, grids, values that compare and pickle, hostile input."""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import equipoise as eq
from equipoise import AccountState, InputError, Market, PriceRule


def hype(**changes: Any) -> Market:
    fields: dict[str, Any] = {
        "symbol": "HYPE",
        "bid": 27.10,
        "ask": 27.12,
        "mark": 27.11,
        "tick": "0.001",
        "lot": "0.01",
        "notional_min": 10,
    }
    return Market(**(fields | changes))


def test_floats_are_read_by_their_shortest_decimal() -> None:
    market = hype()
    assert (market.bid, market.ask, market.mark) == (Decimal("27.1"), Decimal("27.12"), Decimal("27.11"))
    assert (market.bid_ticks, market.ask_ticks) == (27_100, 27_120)
    assert market.mid == Decimal("27.11")
    assert hype(bid=27.101).mid == Decimal("27.1105")
    assert (market.lots(0.29), market.lots(-34.5), market.ticks(27.11)) == (29, -3450, 27_110)
    assert (market.size(29), market.price(27_110)) == (Decimal("0.29"), Decimal("27.11"))
    assert hype(bid=np.float64(27.1), lot=Decimal("0.01"), tick=0.001) == market


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_ticks_and_lots_round_trip_through_floats(ticks: int, lots: int) -> None:
    market = hype()
    assert market.ticks(float(market.price(ticks))) == ticks
    assert market.lots(float(market.size(lots))) == lots
    assert market.lots(market.size(-lots)) == -lots


def test_moved_changes_only_what_is_given() -> None:
    market = hype(last=27)
    moved = market.moved(bid="27.05", mark=27.2)
    assert (moved.bid, moved.ask, moved.mark, moved.last) == tuple(map(Decimal, ("27.05", "27.12", "27.2", "27")))
    assert (moved.symbol, moved.lot, moved.notional_min) == ("HYPE", Decimal("0.01"), 10)
    assert market.moved() == market
    assert market.moved(bid=27.13, ask=27.14).ask_ticks == 27_140


def test_last_defaults_to_the_mark_and_contract_value_to_one() -> None:
    market = hype()
    assert (market.last, market.contract_value, market.inverse, market.price_rule) == (market.mark, 1, False, None)


def test_significant_figures_are_checked_on_best_prices_and_helpers() -> None:
    rule = PriceRule.significant(5, decimals_max=3)
    market = hype(price_rule=rule)
    assert market.price_rule == rule
    assert (rule.figures, rule.decimals_max) == (5, 3)
    fine = hype(bid=271.13, ask=271.14, price_rule=rule)
    assert fine.bid_ticks == 271_130
    with pytest.raises(InputError, match=r"bid must be a price with the significant figures .*, got 271\.135"):
        fine.moved(bid="271.135")
    with pytest.raises(InputError, match="price must be a price with the significant figures"):
        fine.ticks("271.135")
    # Whole prices are always valid.
    assert hype(bid=123_456, ask=123_457, price_rule=rule).bid == 123_456
    with pytest.raises(InputError, match="price_rule"):
        hype(price_rule=PriceRule.significant(5, decimals_max=2))
    with pytest.raises(InputError, match="tick must be a power of ten"):
        hype(tick="0.005", price_rule=PriceRule.significant(5))


def test_values_compare_hash_copy_pickle_and_show_themselves() -> None:
    rule = PriceRule.significant(5, decimals_max=3)
    account = AccountState(397.49, 0, 10, 146.62)
    inverse = Market("BTC-USD", 49_999.5, 50_000, 50_000, tick=0.5, lot=1, contract_value=100, inverse=True)
    things = (
        hype(),
        hype(price_rule=rule, last=27),
        inverse,
        account,
        AccountState(1, (3, 4), 1, 0, equity=5),
        rule,
        PriceRule.significant(4),
        PriceRule.tick(),
    )
    for thing in things:
        for twin in (pickle.loads(pickle.dumps(thing)), copy.copy(thing), copy.deepcopy(thing)):
            assert twin == thing
            assert hash(twin) == hash(thing)
    assert len(set(things)) == len(things)
    assert repr(hype()) == "Market('HYPE', bid=27.1, ask=27.12, mark=27.11, tick=0.001, lot=0.01)"
    assert repr(account) == "AccountState(margin_available=397.49, position=0, leverage=10, position_max=146.62)"
    assert hype() != hype(symbol="BTC")
    assert hype() != "HYPE"
    assert not hype() == None  # noqa: E711, SIM201


def test_account_keeps_what_it_was_given() -> None:
    account = AccountState("397.4900001", -3, 12.5, 146.625, equity=400)
    assert account.margin_available == Decimal("397.4900001")
    assert (account.position, account.leverage, account.position_max) == (-3, Decimal("12.5"), Decimal("146.625"))
    assert account.equity == 400
    assert AccountState(1, 0, 1, 0).equity is None
    assert AccountState(1, (3, 4), 1, 0).position == (3, 4)


def test_position_off_the_lot_is_found_when_a_market_is_at_hand() -> None:
    account = AccountState(1, 0.005, 1, 0)
    with pytest.raises(InputError, match=r"position must be a multiple of the lot, got 0\.005"):
        eq.OrderMarginRule.venue("sum").required(hype(), account)


def test_position_limit_derives_from_equity() -> None:
    assert eq.position_max_from_equity(hype(), 397.49, 10) == Decimal("146.62")
    assert eq.position_max_from_equity(hype(), 397.49, 10, share=0.5) == Decimal("73.31")
    assert eq.position_max_from_equity(hype(), -1, 10) == 0
    inverse = Market("BTC-USD", 49_999.5, 50_000, 50_000, tick=0.5, lot=1, contract_value=100, inverse=True)
    assert eq.position_max_from_equity(inverse, "0.01", 10) == 50


BAD = [
    float("nan"),
    float("inf"),
    -float("inf"),
    1e300,
    "x",
    "",
    "1_0",
    None,
    True,
    np.bool_(False),
    np.array([1.0]),
    np.array(1.0 + 1j),
    [],
    {},
    object(),
    10**40,
    "\ud800",
    b"1",
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("Infinity"),
    Decimal("1e-30"),
    1j,
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: ascii(bad)[:20])
def test_a_number_that_is_none_is_named(bad: Any) -> None:
    market = hype()
    calls: dict[str, list[Any]] = {
        name: [lambda name=name: hype(**{name: bad})] for name in ("bid", "ask", "mark", "tick", "lot")
    }
    if bad is not None:
        for name in ("last", "notional_min", "contract_value"):
            calls[name] = [lambda name=name: hype(**{name: bad})]
        for name in ("bid", "ask", "mark", "last"):
            calls[name].append(lambda name=name: market.moved(**{name: bad}))
        calls["equity"] = [lambda: AccountState(1, 1, 1, 1, equity=bad)]
        calls["share"] = [lambda: eq.position_max_from_equity(market, 1, 1, bad)]
    calls["margin_available"] = [lambda: AccountState(bad, 1, 1, 1)]
    calls["position"] = [lambda: AccountState(1, bad, 1, 1), lambda: AccountState(1, (1, bad), 1, 1)]
    calls["leverage"] = [lambda: AccountState(1, 1, bad, 1), lambda: eq.position_max_from_equity(market, 1, bad)]
    calls["position_max"] = [lambda: AccountState(1, 1, 1, bad)]
    calls["equity"] = [*calls.get("equity", []), lambda: eq.position_max_from_equity(market, bad, 1)]
    calls["price"] = [lambda: market.ticks(bad)]
    calls["size"] = [lambda: market.lots(bad)]
    for argument, attempts in calls.items():
        for attempt in attempts:
            with pytest.raises(InputError) as caught:
                attempt()
            assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("symbol", lambda: hype(symbol=5)),
        ("symbol", lambda: hype(symbol=None)),
        ("bid", lambda: hype(bid=0)),
        ("bid", lambda: hype(bid=-27)),
        ("bid", lambda: hype(bid="27.1005")),
        ("bid", lambda: hype(bid="0.0005")),
        ("ask", lambda: hype(ask="27.1205")),
        ("ask", lambda: hype(ask=27.10)),
        ("ask", lambda: hype(ask=27.09)),
        ("ask", lambda: hype().moved(ask=27.10)),
        ("bid", lambda: hype().moved(bid=27.12)),
        ("ask", lambda: hype(ask=2**53, bid=1)),
        ("mark", lambda: hype(mark=0)),
        ("mark", lambda: hype(mark=-1)),
        ("mark", lambda: hype().moved(mark=0)),
        ("last", lambda: hype(last=-1)),
        ("tick", lambda: hype(tick=0)),
        ("tick", lambda: hype(tick=-0.001)),
        ("lot", lambda: hype(lot=0)),
        ("contract_value", lambda: hype(contract_value=0)),
        ("notional_min", lambda: hype(notional_min=-1)),
        ("inverse", lambda: hype(inverse="yes")),
        ("inverse", lambda: hype(inverse=1)),
        ("price_rule", lambda: hype(price_rule=5)),
        ("figures", lambda: PriceRule.significant(0)),
        ("figures", lambda: PriceRule.significant(19)),
        ("figures", lambda: PriceRule.significant(5.0)),
        ("figures", lambda: PriceRule.significant(True)),
        ("decimals_max", lambda: PriceRule.significant(5, decimals_max=19)),
        ("decimals_max", lambda: PriceRule.significant(5, decimals_max=-1)),
        ("ticks", lambda: hype().price(1.0)),
        ("ticks", lambda: hype().price(2**64)),
        ("lots", lambda: hype().size("1")),
        ("leverage", lambda: AccountState(1, 0, 0.99, 1)),
        ("leverage", lambda: AccountState(1, 0, 0, 1)),
        ("leverage", lambda: AccountState(1, 0, -10, 1)),
        ("position_max", lambda: AccountState(1, 0, 1, -1)),
        ("position", lambda: AccountState(1, (1, -1), 1, 1)),
        ("position", lambda: AccountState(1, (1,), 1, 1)),
        ("position", lambda: AccountState(1, (1, 2, 3), 1, 1)),
        ("margin_available", lambda: AccountState(10**10, 0, 1, 1)),
        ("equity", lambda: AccountState(1, 0, 1, 1, equity=10**10)),
        ("market", lambda: eq.position_max_from_equity(None, 1, 1)),
        ("share", lambda: eq.position_max_from_equity(hype(), 1, 1, 0)),
        ("leverage", lambda: eq.position_max_from_equity(hype(), 1, 0.5)),
    ],
)
def test_value_out_of_range_or_off_the_grid_is_named(argument: str, call: Any) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.argument == argument


@given(
    numbers=st.lists(
        st.one_of(st.floats(), st.integers(), st.decimals(), st.text(max_size=4), st.booleans(), st.none()),
        min_size=9,
        max_size=9,
    )
)
def test_any_fields_give_a_market_or_an_input_error(numbers: list[Any]) -> None:
    try:
        market = Market("X", *numbers[:7])
        assert 0 < market.bid_ticks < market.ask_ticks
        AccountState(*numbers[5:9])
    except InputError:
        pass
