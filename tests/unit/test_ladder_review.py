"""What a review of the ladder found: every case here once gave a wrong quote."""

from __future__ import annotations

import copy
import json
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import equipoise as eq
from equipoise.quoter import KellyConfig, Quoter, QuoterConfig

LEVELS = eq.Levels(
    depth_bps=[2.0, 4.0, 8.0, 16.0, 32.0],
    fill_probability=[0.78, 0.65, 0.45, 0.27, 0.02],
    edge_bps=[0.1, 1.2, 5.4, 14.1, 30.4],
)
STEPS = eq.LeverageTiers.from_leverage([(0, 50), (5_000, 20), (20_000, 10), (100_000, 5)])
RULES = {name: eq.OrderMarginRule.venue(name) for name in eq.OrderMarginRule.venues()} | {
    "sum, tiers": eq.OrderMarginRule("sum", tiers=STEPS),
    "worst_side, tiers": eq.OrderMarginRule("worst_side", tiers=STEPS),
    "larger_leg, tiers": eq.OrderMarginRule("larger_leg", tiers=STEPS),
    "hedge_legs, tiers": eq.OrderMarginRule("hedge_legs", tiers=STEPS),
    "sum, linear": eq.OrderMarginRule("sum", tiers=eq.LeverageTiers.linear("0.02", "0.00005")),
    "sum, closing": eq.OrderMarginRule("sum", closing=True),
    "sum, closing, tiers": eq.OrderMarginRule("sum", closing=True, tiers=STEPS),
}
# A rule that looks at one order at a time holds nothing for a ladder: sizes stay at what the account could carry if a
# whole side filled, which is less than the rule would let through.
SINGLE = {"single_order", "dydx"}


def market(**changes: object) -> eq.Market:
    usual: dict[str, object] = {
        "symbol": "HYPE",
        "bid": "27.10",
        "ask": "27.12",
        "mark": "27.11",
        "tick": "0.001",
        "lot": "0.01",
        "notional_min": 10,
    }
    return eq.Market(**(usual | changes))  # type: ignore[arg-type]


def account(
    margin: object = "397.49", position: object = 0, leverage: object = 10, limit: object = 1000
) -> eq.AccountState:
    return eq.AccountState(margin_available=margin, position=position, leverage=leverage, position_max=limit)  # type: ignore[arg-type]


def quote(state: eq.AccountState, rule: str = "sum", *, at: eq.Market | None = None, **config: object) -> eq.Quote:
    at = market() if at is None else at
    return Quoter(QuoterConfig(**config)).quote(at, state, rule=RULES[rule], bids=LEVELS, asks=LEVELS)  # type: ignore[arg-type]


# -- the certificate and the margin left idle -----------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(RULES))
@given(
    balance=st.floats(100, 300_000).map(lambda value: round(value, 2)),
    leverage=st.sampled_from([1, 2, 5, 10, 20, 50]),
    share=st.sampled_from([-0.8, -0.3, 0, 0.3, 0.8]),
    limit=st.sampled_from([1, 5, 1000]),
    buffer=st.sampled_from([0, 40, 300]),
    haircut=st.sampled_from([1, 0.5]),
)
def test_every_rule_certifies_its_quote_within_the_usable_margin(
    name: str, balance: float, leverage: int, share: float, limit: int, buffer: int, haircut: float
) -> None:
    capacity = balance * leverage / 27.11
    state = account(balance, round(share * capacity, 2), leverage, round(limit * capacity, 2))
    made = quote(state, name, mark_buffer_bps=buffer, haircut=haircut)
    assert made.certificate.ok
    assert made.certificate.margin_held <= made.certificate.margin_usable


@pytest.mark.parametrize("name", sorted(set(RULES) - SINGLE))
@pytest.mark.parametrize("share", [-0.8, 0, 0.3])
@pytest.mark.parametrize("balance", [300, 3_000, 30_000])
def test_no_rule_leaves_more_than_a_fiftieth_of_the_margin_idle(name: str, share: float, balance: int) -> None:
    capacity = balance * 10 / 27.11
    state = account(balance, round(share * capacity, 2), 10, round(20 * capacity, 2))
    made = quote(state, name)
    assert made.certificate.ok
    # Where it does not show as held, a ladder only a little larger is refused: the scarce side is full.
    thousandfold = [(order.side, order.price, order.size * 1000, order.reduce_only) for order in made.orders()]
    factor, _ = RULES[name].max_scale(market(), state, thousandfold)
    idle = 1 - made.certificate.margin_held / made.certificate.margin_usable
    assert idle <= Decimal("0.02") or factor * 1000 <= 1.05


def test_a_large_position_limit_does_not_make_a_small_ladder_dear_under_tiers() -> None:
    near, far = (quote(account(3_000, limit=limit), "sum, tiers") for limit in (5_000, 500_000))
    assert near.margin_held == far.margin_held > Decimal(2_990)


def test_a_haircut_binds_the_rules_whose_budgets_are_found_by_search() -> None:
    made = quote(account(1_000, "300"), "net_contracts", haircut=0.25)
    assert made.certificate.margin_held <= Decimal(250)
    assert made.certificate.ok


# -- prices -----------------------------------------------------------------


@given(
    bid_depth=st.floats(-5, 5),
    ask_depth=st.floats(-5, 5),
    spread=st.integers(1, 40),
    position=st.sampled_from([-10, 0, 10]),
    figures=st.sampled_from([None, 4, 5]),
)
def test_own_bids_never_reach_own_asks(
    bid_depth: float, ask_depth: float, spread: int, position: int, figures: int | None
) -> None:
    rule = None if figures is None else eq.PriceRule.significant(figures, decimals_max=3)
    step = 10 if figures == 4 else 1
    bid = 27_100
    at = market(bid=Decimal(bid) / 1000, ask=Decimal(bid + spread * step) / 1000, price_rule=rule)
    bids, asks = (eq.Levels([depth, 20], [0.5, 0.4], [5, 9]) for depth in (bid_depth, ask_depth))
    made = Quoter(QuoterConfig(levels=2)).quote(at, account(position=position), rule=RULES["sum"], bids=bids, asks=asks)
    assert made.bids.price_ticks.max() < min(made.asks.price_ticks.min(), at.ask_ticks)
    assert made.asks.price_ticks.min() > at.bid_ticks
    for ticks in (*made.bids.price_ticks.tolist(), *made.asks.price_ticks.tolist()):
        at.moved(bid=at.price(ticks), ask=at.price(10**6))


@pytest.mark.parametrize(("position", "bid", "ask"), [(0, 27_110, 27_111), (5, 27_109, 27_110), (-5, 27_110, 27_111)])
def test_at_depth_zero_the_side_that_reduces_the_position_gets_the_mid(position: int, bid: int, ask: int) -> None:
    zero = eq.Levels([0, 8], [0.5, 0.4], [5, 9])
    made = Quoter(QuoterConfig(levels=2)).quote(
        market(), account(position=position), rule=RULES["sum"], bids=zero, asks=zero
    )
    assert (made.bids.price_ticks[0], made.asks.price_ticks[0]) == (bid, ask)


def test_a_one_tick_spread_is_joined_and_not_crossed() -> None:
    at = market(bid="27.110", ask="27.111")
    made = Quoter().quote(at, account(), bids=LEVELS, asks=LEVELS)
    assert made.bids.price_ticks.max() <= 27_110
    assert made.asks.price_ticks.min() >= 27_111


def test_a_price_beyond_exact_arithmetic_drops_its_level_and_not_the_quote() -> None:
    far = eq.Levels([2, 1e6], [0.5, 0.5], [5, 5])
    at = market(
        bid=8_000_000_000_000_000, ask=8_100_000_000_000_000, mark=8_050_000_000_000_000, tick=1, lot=1, notional_min=0
    )
    made = Quoter(QuoterConfig(levels=2)).quote(at, account(9e9, leverage=50), rule=RULES["sum"], bids=far, asks=far)
    assert made.asks.reasons[1] is eq.Reason.PRICE
    assert made.bids.reasons[1] is eq.Reason.PRICE


def test_bids_near_zero_merge_and_never_reach_zero() -> None:
    at = market(bid="0.002", ask="0.003", mark="0.002", notional_min=0)
    deep = eq.Levels([2, 5_000, 9_999, 20_000], [0.5] * 4, [5.0] * 4)
    made = Quoter(QuoterConfig(levels=4)).quote(at, account(), rule=RULES["sum"], bids=deep, asks=deep)
    assert made.bids.price_ticks.tolist() == [2, 1]
    assert made.bids.reasons[2:] == (eq.Reason.PRICE, eq.Reason.PRICE)


# -- value -----------------------------------------------------------------


def test_utility_is_per_contract_for_contracts_that_are_not_one_unit() -> None:
    side = quote(account(1_000), at=market(contract_value=100)).bids
    assert side.utility == pytest.approx(side.fill_probability * side.edge_bps * 1e-4 * side.price * 100, rel=1e-12)


def test_utility_of_an_inverse_contract_falls_with_the_price() -> None:
    at = market(
        bid=50_000, ask="50000.5", mark=50_000, tick="0.5", lot=1, contract_value=100, notional_min=0, inverse=True
    )
    made = quote(account(1, limit=100_000), at=at)
    for side in (made.bids, made.asks):
        assert side.utility == pytest.approx(side.fill_probability * side.edge_bps * 1e-4 * 100 / side.price, rel=1e-12)
        assert side.objective == pytest.approx(float(side.utility @ side.size), rel=1e-9)


def test_scaling_the_contract_value_leaves_the_depths_of_a_shape_where_they_are() -> None:
    shape = {"volatility": 1e-4, "fill_rate": 0.1, "fill_decay": 1500, "horizon_s": 10, "risk_aversion": 0.3}
    rest = {"adverse_bps": 1, "adverse_decay_bps": 8, "fee_bps": 1.5}
    one = Quoter().quote(market(), account(position=20), shape=eq.Shape(**shape, unit=14.66, **rest))  # type: ignore[arg-type]
    small = market(contract_value="0.1", lot="0.1")
    ten = Quoter().quote(small, account(position=200, limit=10_000), shape=eq.Shape(**shape, unit=146.6, **rest))  # type: ignore[arg-type]
    assert ten.bids.price_ticks.tolist() == one.bids.price_ticks.tolist()
    assert ten.asks.price_ticks.tolist() == one.asks.price_ticks.tolist()


# -- hedge mode -----------------------------------------------------------------


def test_dust_in_a_hedge_leg_does_not_silence_a_side() -> None:
    made = quote(account(position=("0.01", 0)), "hedge_legs")
    assert len(made.asks) > 0
    assert not made.asks.reduce_only


@pytest.mark.parametrize(
    ("position", "bid_leg", "ask_leg"), [((100, 0), "long", "long"), ((0, 100), "short", "short"), (0, "long", "short")]
)
def test_orders_in_hedge_mode_name_their_leg(position: object, bid_leg: str, ask_leg: str) -> None:
    made = quote(account(position=position), "hedge_legs")
    assert {order.leg for order in made.orders() if order.side == "bid"} == {bid_leg}
    assert {order.leg for order in made.orders() if order.side == "ask"} == {ask_leg}
    assert all(order.leg is None for order in quote(account()).orders())


# -- margin that passes -----------------------------------------------------------------


@given(
    position=st.integers(-14_000, 14_000),
    limit=st.integers(1, 20_000),
    margin=st.integers(1, 600),
    floor=st.sampled_from([0.0, 1.2]),
    edge=st.floats(-3, 3),
    name=st.sampled_from(["sum", "sum, closing", "hedge_legs"]),
)
def test_margin_passes_once_out_of_one_pot_and_never_below_zero(
    position: int, limit: int, margin: int, floor: float, edge: float, name: str
) -> None:
    asks = eq.Levels(LEVELS.depth_bps, LEVELS.fill_probability, LEVELS.edge_bps - 10 + edge)
    state = account(margin, Decimal(position) / 100, 10, Decimal(limit) / 100)
    config = QuoterConfig(entropy_min=floor, on_infeasible="refuse")  # type: ignore[arg-type]
    made = Quoter(config).quote(market(), state, rule=RULES[name], bids=LEVELS, asks=asks)
    split, passed = made.split, made.margin_passed
    assert made.bids.budget == split.bid_part - passed
    assert made.asks.budget == split.ask_part + passed
    assert -split.ask_part <= passed <= split.bid_part
    assert made.certificate.ok


@pytest.mark.parametrize("name", ["worst_side", "per_side", "larger_leg", "net_contracts"])
def test_nothing_passes_where_each_side_has_a_budget_of_its_own(name: str) -> None:
    assert quote(account(position=100, limit=100), name).margin_passed == 0


# -- determinism -----------------------------------------------------------------


def test_the_bound_of_a_side_that_needed_no_solve_does_not_depend_on_what_was_quoted_before() -> None:
    worthless = eq.Levels([1.0, 2.0], [1.0, 1.0], [0.0, 0.0])
    small, other = account(3, "0.37", 10, "0.38"), account(7, "-1.56", 9, "2.32")
    quoter = Quoter(QuoterConfig(entropy_min=1.2))
    first = quoter.quote(market(), small, rule=RULES["sum"], bids=worthless, asks=worthless)
    quoter.quote(market(), other, rule=RULES["larger_leg"], bids=LEVELS, asks=worthless)
    again = quoter.quote(market(), small, rule=RULES["sum"], bids=worthless, asks=worthless)
    assert again.asks.dual_bound == first.asks.dual_bound
    assert again == first


# -- results as values -----------------------------------------------------------------


def test_results_copy_as_themselves_and_compare_by_content() -> None:
    one, two = quote(account()), quote(account())
    for field in ("split", "bids", "asks", "certificate"):
        mine, theirs = getattr(one, field), getattr(two, field)
        assert mine == theirs
        assert copy.deepcopy(mine) == mine
    assert copy.copy(one) is one
    assert one.certificate != quote(account(100)).certificate


@pytest.mark.parametrize("margin", [0, "0.5", "397.49"])
def test_a_quote_reads_as_strict_json_with_what_became_of_every_side(margin: object) -> None:
    made = quote(account(margin))
    plain = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert plain["bids"]["empty"] == (None if len(made.bids) else made.bids.empty.name)  # type: ignore[union-attr]
    assert plain["bids"]["lots"] == made.bids.lots.tolist()


@pytest.mark.parametrize(
    ("config", "argument"),
    [
        ({"levels": -1}, "levels"),
        ({"levels": 10**30}, "levels"),
        ({"depth_outer_bps": None}, "depth_outer_bps"),
        ({"depth_outer_bps": -5, "spacing": "linear"}, "depth_outer_bps"),
        ({"depth_inner_bps": float("nan")}, "depth_inner_bps"),
        ({"depth_inner_bps": "2"}, "depth_inner_bps"),
        ({"entropy_min": "1"}, "entropy_min"),
        ({"temperature_factor": []}, "temperature_factor"),
        ({"share_floor": None}, "share_floor"),
        ({"share_cap": True}, "share_cap"),
        ({"kelly": 0.25}, "kelly"),
        ({"kelly": KellyConfig(fraction="x")}, "kelly.fraction"),  # type: ignore[arg-type]
    ],
)
def test_a_malformed_configuration_names_the_field_the_caller_wrote(config: dict[str, object], argument: str) -> None:
    with pytest.raises(eq.InputError) as error:
        Quoter(QuoterConfig(**config))  # type: ignore[arg-type]
    assert error.value.argument == argument


@pytest.mark.parametrize("argument", ["market", "state", "rule", "shape", "bids", "asks"])
@pytest.mark.parametrize("value", [5, "sum", [], np.ones(3), object()])
def test_a_stranger_in_place_of_an_argument_is_named(argument: str, value: object) -> None:
    given_: dict[str, object] = {"market": market(), "state": account(), "bids": LEVELS, "asks": LEVELS}
    with pytest.raises(eq.InputError) as error:
        Quoter().quote(**(given_ | {argument: value}))  # type: ignore[arg-type]
    assert error.value.argument == argument
