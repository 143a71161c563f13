"""The margin split from Python: the mission's figures, exact parts, limits, hostile input."""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise import AccountState, InputError, Market, OrderMarginRule, Split, SplitConfig, split_margin

HYPE = Market("HYPE", 27.10, 27.12, 27.11, tick="0.001", lot="0.01", notional_min=10)


def split(rule: str = "sum", margin: Any = 397.49, position: Any = 0, limit: Any = 146.62, **config: Any) -> Split:
    state = AccountState(margin, position, 10, limit)
    return split_margin(HYPE, state, OrderMarginRule.venue(rule), SplitConfig(**config))


def test_mission_capacity_is_146_62_contracts_and_each_side_takes_73_31() -> None:
    answer = split()
    assert answer.capacity == pytest.approx(146.6212, abs=5e-5)
    assert (answer.bid_part, answer.ask_part) == (Decimal("198.745"), Decimal("198.745"))
    rule = OrderMarginRule.venue("sum")
    state = AccountState(answer.bid_part, 0, 10, 200)
    assert rule.max_size(HYPE, state, "bid", 27.11) == Decimal("73.31")


@pytest.mark.parametrize(("share", "weight"), [(-1, 0.3), (-0.5, 0.4), (0, 0.5), (0.5, 0.6), (1, 0.7), (2, 0.7)])
def test_ask_weight_follows_the_inventory_ratio(share: float, weight: float) -> None:
    answer = split(position=Decimal("146.62") * Decimal(str(share)))
    assert answer.ask_weight == weight
    assert answer.bid_weight == pytest.approx(1 - weight, abs=1e-15)
    assert answer.inventory_ratio == max(-1.0, min(1.0, share))


@given(
    micros=st.integers(0, 10**12),
    position=st.integers(-20_000, 20_000),
    limit=st.integers(0, 20_000),
    sensitivity=st.integers(0, 1000),
)
def test_pooled_parts_are_exact_floors_and_the_rest_goes_to_the_reducing_side(
    micros: int, position: int, limit: int, sensitivity: int
) -> None:
    answer = split(
        margin=Decimal(micros).scaleb(-6),
        position=Decimal(position).scaleb(-2),
        limit=Decimal(limit).scaleb(-2),
        sensitivity=Decimal(sensitivity).scaleb(-3),
    )
    ratio = max(Fraction(-1), min(Fraction(1), Fraction(position, limit))) if limit else Fraction(0)
    tilted = Fraction(1, 2) + Fraction(sensitivity, 1000) * ratio
    ask = max(Fraction(3, 10), min(Fraction(7, 10), tilted))
    bids, asks = micros * (1 - ask) // 1, micros * ask // 1
    rest = micros - bids - asks
    expected = (bids, asks + rest) if position > 0 else (bids + rest, asks)
    assert (answer.bid_part_micros, answer.ask_part_micros) == expected
    assert answer.bid_part_micros + answer.ask_part_micros == micros
    assert answer.usable == Decimal(micros).scaleb(-6)


@pytest.mark.parametrize("rule", ["worst_side", "per_side", "hyperliquid", "okx"])
def test_weights_tilt_side_budgets_and_do_not_halve_them(rule: str) -> None:
    flat = split(rule)
    assert (flat.bid_part, flat.ask_part, flat.pooled) == (Decimal("397.49"), Decimal("397.49"), False)
    long = split(rule, position=146.62)
    held = Decimal("397.48682")
    assert long.ask_part == Decimal("397.49") + 2 * held
    assert long.bid_part_micros == 397_490_000 * 3 // 7


def test_a_full_position_can_always_be_worked_off() -> None:
    answer = split(margin=0, position=146.62)
    assert (answer.bid_part, answer.ask_part) == (0, 0)
    assert (answer.free_by, answer.bid_free_lots, answer.ask_free_lots) == ("reduce_only", 0, 14_662)
    assert split("worst_side", margin=0, position=146.62).ask_part == 2 * Decimal("397.48682")
    state = AccountState(0, 146.62, 10, 146.62)
    rule = OrderMarginRule.venue("sum")
    assert rule.accepts(HYPE, state, [("ask", 27.12, 146.62, True)]).accepted
    assert not rule.accepts(HYPE, state, [("ask", 27.12, 146.62)]).accepted
    closing = rule.replace(closing=True)
    assert closing.accepts(HYPE, state, [("ask", 27.12, 146.62)]).accepted
    assert split_margin(HYPE, state, closing).free_by == "closing"


def test_position_limits_are_asymmetric() -> None:
    assert (split(position=40).bid_limit_lots, split(position=40).ask_limit_lots) == (10_662, 18_662)
    assert (split(position=200).bid_limit_lots, split(position=200).ask_limit_lots) == (0, 20_000)


def test_hedge_mode_closes_each_leg_for_free() -> None:
    state = AccountState(397.49, (8, 5), 10, 146.62)
    answer = split_margin(HYPE, state, OrderMarginRule.venue("hedge_legs"))
    assert (answer.free_by, answer.bid_free_lots, answer.ask_free_lots) == ("leg", 500, 800)
    assert answer.pooled


def test_buffer_is_kept_for_the_position() -> None:
    assert split(position=100, mark_buffer_bps=40).usable == Decimal("385.5616")
    assert split(haircut="0.9").usable == Decimal("357.741")


def test_config_compares_copies_and_shows_itself() -> None:
    config = SplitConfig(sensitivity=0.3, haircut="0.95")
    for twin in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config)):
        assert (twin, hash(twin)) == (config, hash(config))
    assert config != SplitConfig()
    assert config.sensitivity == Decimal("0.3")
    assert repr(SplitConfig()) == (
        "SplitConfig(sensitivity=0.2, weight_min=0.3, weight_max=0.7, haircut=1, mark_buffer_bps=0)"
    )
    assert split() == split()
    assert repr(split()).startswith("Split(usable=397.49, bid_weight=0.5")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.1, 10_001, "x", True, [], 0.1234567891], ids=ascii)
@pytest.mark.parametrize("name", ["sensitivity", "weight_min", "weight_max", "haircut", "mark_buffer_bps"])
def test_parameter_out_of_range_is_named(name: str, bad: Any) -> None:
    with pytest.raises(InputError) as caught:
        SplitConfig(**{name: bad})
    assert caught.value.argument == name


@pytest.mark.parametrize("name", ["market", "state", "rule", "config"])
def test_argument_of_another_class_is_named(name: str) -> None:
    arguments: dict[str, Any] = {
        "market": HYPE,
        "state": AccountState(1, 0, 1, 1),
        "rule": OrderMarginRule.venue("sum"),
        "config": SplitConfig(),
    }
    with pytest.raises(InputError) as caught:
        split_margin(**(arguments | {name: 5}))
    assert caught.value.argument == name
