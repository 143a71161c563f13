"""A quote is a ladder that the rule accepts: on any account, any rule, any levels."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import equipoise as eq
from equipoise.quoter import KellyConfig, Quoter, QuoterConfig

RULES = (*eq.OrderMarginRule.venues(), "sum", "worst_side", "per_side", "hedge_legs", "larger_leg", "net_contracts")
MICRO = 1_000_000


def hype(**changes: object) -> eq.Market:
    given_: dict[str, object] = {
        "symbol": "HYPE",
        "bid": 27.10,
        "ask": 27.12,
        "mark": 27.11,
        "tick": "0.001",
        "lot": "0.01",
        "notional_min": 10,
    }
    return eq.Market(**{**given_, **changes})  # type: ignore[arg-type]


LEVELS = eq.Levels(
    depth_bps=[2.0, 4.0, 8.0, 16.0, 32.0],
    fill_probability=[0.78, 0.65, 0.45, 0.27, 0.02],
    edge_bps=[0.1, 1.2, 5.4, 14.1, 30.4],
)


def rule(name: str) -> eq.OrderMarginRule:
    return eq.OrderMarginRule.venue(name)


def entropy(lots: np.ndarray) -> float:
    share = lots / lots.sum()
    return float(-(share * np.log(share)).sum())


# -- the mission's scenario ---------------------------------------------------------------


def mission(position: float = 0, **config: object) -> eq.Quote:
    state = eq.AccountState(margin_available=397.49, position=position, leverage=10, position_max=146.62)
    quoter = Quoter(QuoterConfig(**config))  # type: ignore[arg-type]
    return quoter.quote(hype(), state, rule=rule("sum"), bids=LEVELS, asks=LEVELS)


def test_mission_flat_account_splits_into_73_31_contracts_a_side_at_mark() -> None:
    quote = mission()
    split = quote.split
    assert split.capacity == pytest.approx(146.62, abs=0.005)
    assert (split.bid_weight, split.ask_weight) == (0.5, 0.5)
    assert split.bid_part + split.ask_part == Decimal("397.49")
    assert float(split.bid_part) * 10 / 27.11 == pytest.approx(73.31, abs=0.005)
    # At their limit prices bids are cheaper than the mark and asks dearer: the totals follow, they are not forced.
    assert quote.bids.total > 73.31 > quote.asks.total
    assert quote.margin_held <= Decimal("397.49")
    assert quote.certificate.ok


def test_mission_long_at_the_limit_leaves_bids_empty_and_passes_their_margin_to_the_asks() -> None:
    quote = mission(146.62)
    assert (quote.split.bid_weight, quote.split.ask_weight) == (pytest.approx(0.3), pytest.approx(0.7))
    assert len(quote.bids) == 0
    assert quote.bids.empty is eq.Reason.POSITION
    assert quote.margin_passed == quote.split.bid_part > 0
    assert quote.asks.held > quote.split.ask_part
    assert quote.margin_held <= Decimal("397.49")


def test_a_side_that_the_entropy_floor_keeps_back_takes_what_the_other_cannot_use() -> None:
    three = eq.Levels(depth_bps=[2, 4, 8], fill_probability=[0.7, 0.5, 0.3], edge_bps=[1, 2, 5])
    state = eq.AccountState(margin_available=397.49, position=146.62, leverage=10, position_max=146.62)
    # Three levels cannot meet 1.5 nats: the floor is relaxed to the most equal ladder, whose total is still bought.
    quote = Quoter(QuoterConfig(entropy_min=1.5)).quote(hype(), state, rule=rule("sum"), bids=three, asks=three)
    assert quote.asks.relaxed == "levels" or quote.asks.relaxed == "lots"
    assert quote.margin_passed == quote.split.bid_part
    assert quote.asks.held > Decimal(397)


@pytest.mark.parametrize(
    ("ratio", "weight"), [(-1, "0.30"), (Fraction(-1, 2), "0.40"), (0, "0.50"), (Fraction(1, 2), "0.60"), (1, "0.70")]
)
def test_weights_follow_the_inventory_rule(ratio: Fraction, weight: str) -> None:
    position = Decimal(str(float(ratio * Fraction("146.62"))))
    state = eq.AccountState(margin_available=397.49, position=position, leverage=10, position_max="146.62")
    split = Quoter().quote(hype(), state, rule=rule("sum"), bids=LEVELS, asks=LEVELS).split
    assert split.ask_weight == pytest.approx(float(weight), abs=1e-12)


def test_both_sides_at_full_capacity_need_twice_the_margin_and_are_refused() -> None:
    # In lots: 146.62 contracts each at the mark of 27.11, 10x.
    required = rule("sum").required_micros(hype(), 10, 0, [True, False], [14662, 14662], [27110, 27110])
    assert required == 794_973_640
    accepted = rule("sum").accepts_micros(
        hype(), 10, 0, None, ([True, False], [14662, 14662], [27110, 27110]), 397_490_000
    )
    assert not accepted
    assert accepted.shortfall == 794_973_640 - 397_490_000


@pytest.mark.parametrize("name", ["worst_side", "per_side"])
def test_rules_that_hold_the_larger_side_carry_nearly_the_whole_capacity_on_each(name: str) -> None:
    state = eq.AccountState(margin_available=397.49, position=0, leverage=10, position_max=200)
    quote = Quoter().quote(hype(), state, rule=rule(name), bids=LEVELS, asks=LEVELS)
    assert quote.certificate.ok
    assert quote.bids.total > 146.0
    assert quote.asks.total > 146.0
    # A ladder sized at the mark is refused by a hair: asks above the mark cost more than the mark says.
    asks = ([False], [14662], [27_200])
    assert not rule(name).accepts_micros(hype(), 10, 0, None, asks, 397_490_000)


# -- what holds on every account ---------------------------------------------------------------

amounts = st.floats(3, 1_000_000).map(lambda value: round(value, 2))


@st.composite
def levels(draw: st.DrawFn, count: int | None = None) -> eq.Levels:
    size = count if count is not None else draw(st.integers(1, 50))
    depth = draw(st.lists(st.floats(0.5, 400).map(lambda x: round(x, 3)), min_size=size, max_size=size, unique=True))
    probability = draw(st.lists(st.floats(0.001, 1), min_size=size, max_size=size))
    edge = draw(st.lists(st.floats(-2, 30), min_size=size, max_size=size))
    return eq.Levels(depth, probability, edge)


@st.composite
def accounts(draw: st.DrawFn, market: eq.Market) -> eq.AccountState:
    equity = draw(amounts)
    leverage = draw(st.integers(1, 50))
    most = max(1, int(equity * leverage / float(market.mark) * 100))
    limit = draw(st.integers(0, 2 * most))
    position = draw(st.integers(-limit, limit))
    return eq.AccountState(
        margin_available=equity,
        position=market.size(position),
        leverage=leverage,
        position_max=market.size(limit),
    )


def check(quote: eq.Quote, state: eq.AccountState, used: eq.OrderMarginRule, config: QuoterConfig) -> None:
    market = quote.market
    assert quote.certificate.ok
    sides, lots, ticks, reduce_only = [], [], [], []
    for is_bid, side in ((True, quote.bids), (False, quote.asks)):
        for size, price in zip(side.lots.tolist(), side.price_ticks.tolist(), strict=True):
            assert size > 0
            assert market.size(size) * market.price(price) >= market.notional_min, "worth less than the minimum"
            assert price < market.ask_ticks if is_bid else price > market.bid_ticks, "crosses"
            sides.append(is_bid)
            lots.append(size)
            ticks.append(price)
            reduce_only.append(side.reduce_only)
        if len(side):
            assert entropy(side.lots) >= side.entropy_min_used - 1e-9
            assert side.entropy_min_used == pytest.approx(config.entropy_floor) or side.relaxed
            assert len(set(side.price_ticks.tolist())) == len(side)
            assert side.dual_bound >= side.objective - 1e-9 * abs(side.objective)
        else:
            assert side.empty is not None
    position = market.lots(state.position)
    arrays = (sides, lots, ticks, reduce_only)
    available = int(state.margin_available * MICRO)
    assert used.accepts_micros(market, state.leverage, position, None, arrays, available)
    limit = market.lots(state.position_max)
    assert int(quote.bids.lots.sum()) <= max(limit - position, abs(position))
    assert int(quote.asks.lots.sum()) <= max(limit + position, abs(position))


@given(data=st.data(), name=st.sampled_from(RULES), floor=st.floats(0, 2.5))
def test_any_account_gets_a_ladder_that_its_rule_accepts(data: st.DataObject, name: str, floor: float) -> None:
    market = hype()
    state = data.draw(accounts(market))
    config = QuoterConfig(entropy_min=floor, mark_buffer_bps=data.draw(st.sampled_from([0, 40])))
    used = rule(name)
    quote = Quoter(config).quote(market, state, rule=used, bids=data.draw(levels()), asks=data.draw(levels()))
    check(quote, state, used, config)


@given(data=st.data(), optimizer=st.sampled_from(["entropy", "proportional", "kelly"]), name=st.sampled_from(RULES))
def test_the_older_optimizers_go_through_the_same_projection(data: st.DataObject, optimizer: str, name: str) -> None:
    market = hype()
    state = data.draw(accounts(market))
    config = QuoterConfig(optimizer=optimizer, entropy_min=data.draw(st.floats(0, 2)))  # type: ignore[arg-type]
    quote = Quoter(config).quote(market, state, rule=rule(name), bids=data.draw(levels()), asks=data.draw(levels()))
    check(quote, state, rule(name), config)


@given(data=st.data())
def test_under_sum_the_held_margin_is_the_sum_of_charges_recomputed_by_hand(data: st.DataObject) -> None:
    market = hype()
    state = data.draw(accounts(market))
    quote = Quoter(QuoterConfig(entropy_min=1.0)).quote(
        market, state, rule=rule("sum"), bids=data.draw(levels()), asks=data.draw(levels())
    )
    total = 0
    for side in (quote.bids, quote.asks):
        for size, price, hold in zip(side.lots.tolist(), side.price_ticks.tolist(), side.hold.tolist(), strict=True):
            value = Fraction(market.size(size)) * Fraction(market.price(price)) * MICRO / Fraction(state.leverage)
            assert hold == (0 if side.reduce_only else math.ceil(value))
            total += hold
    assert quote.margin_held_micros == total <= int(state.margin_available * MICRO)


@given(data=st.data(), seed=st.randoms(use_true_random=False), name=st.sampled_from(RULES))
def test_permuting_the_levels_asked_for_changes_nothing(data: st.DataObject, seed: object, name: str) -> None:
    market = hype()
    state = data.draw(accounts(market))
    asked = data.draw(levels())
    order = list(range(len(asked.depth_bps)))
    seed.shuffle(order)  # type: ignore[attr-defined]
    other = eq.Levels(
        [asked.depth_bps[i] for i in order],
        [asked.fill_probability[i] for i in order],
        [asked.edge_bps[i] for i in order],
    )
    quoter = Quoter(QuoterConfig(entropy_min=1.0))
    one = quoter.quote(market, state, rule=rule(name), bids=asked, asks=asked)
    two = quoter.quote(market, state, rule=rule(name), bids=other, asks=other)
    for side in ("bids", "asks"):
        ladder = [
            dict(zip(s.price_ticks.tolist(), s.lots.tolist(), strict=True))
            for s in (getattr(one, side), getattr(two, side))
        ]
        assert ladder[0] == ladder[1]
        asked_one, asked_two = getattr(one, side).reasons, getattr(two, side).reasons
        assert sorted(asked_one) == sorted(asked_two)


@given(
    data=st.data(),
    scale=st.sampled_from([2, 5, 10, 100]),
    # Not larger_leg: its rate is rounded up per lot, so another lot is another rate by definition.
    name=st.sampled_from(["sum", "worst_side", "per_side", "hedge_legs"]),
)
def test_scaling_the_unit_of_size_and_money_scales_the_quote(data: st.DataObject, scale: int, name: str) -> None:
    state = data.draw(accounts(hype()))
    asked = data.draw(levels())
    big = eq.AccountState(
        margin_available=state.margin_available * scale,
        position=state.position * scale,
        leverage=state.leverage,
        position_max=state.position_max * scale,
    )
    quoter = Quoter(QuoterConfig(entropy_min=1.0))
    one = quoter.quote(hype(), state, rule=rule(name), bids=asked, asks=asked)
    market = hype(lot=Decimal("0.01") * scale, notional_min=10 * scale)
    two = quoter.quote(market, big, rule=rule(name), bids=asked, asks=asked)
    # Charges round up to a micro-unit in both, so the larger quote may fit a lot more.
    assert np.abs(one.bids.lots.sum() - two.bids.lots.sum()) <= 1 + len(one.bids)
    assert one.split.ask_weight == two.split.ask_weight


@given(data=st.data())
def test_unchanged_input_gives_an_identical_quote_whatever_was_quoted_before(data: st.DataObject) -> None:
    market = hype()
    state, other = data.draw(accounts(market)), data.draw(accounts(market))
    asked = data.draw(levels())
    quoter = Quoter(QuoterConfig(entropy_min=1.2))
    first = quoter.quote(market, state, rule=rule("sum"), bids=asked, asks=asked)
    quoter.quote(market, other, rule=rule("larger_leg"), bids=LEVELS, asks=asked)
    assert quoter.quote(market, state, rule=rule("sum"), bids=asked, asks=asked) == first
    assert Quoter(QuoterConfig(entropy_min=1.2)).quote(market, state, rule=rule("sum"), bids=asked, asks=asked) == first


# -- small accounts, inventory, configuration ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("notional", "bids", "asks"),
    # The cheapest valid order is 10.02 to 10.03: each half of 200 or 199 carries nine, each half of 201 ten. Below two
    # orders the flat account's halves meet on the bids.
    [(201, 10, 10), (200, 9, 9), (199, 9, 9), (11, 1, 0), (10.5, 1, 0), (10, 0, 0), (9, 0, 0)],
)
def test_a_small_account_quotes_as_many_orders_as_each_half_affords(notional: float, bids: int, asks: int) -> None:
    flat = eq.Levels(depth_bps=[0.4 * (i + 1) for i in range(20)], fill_probability=[0.5] * 20, edge_bps=[3.0] * 20)
    state = eq.AccountState(margin_available=notional / 10, position=0, leverage=10, position_max=1000)
    quote = Quoter(QuoterConfig(levels=20, entropy_min=0)).quote(hype(), state, rule=rule("sum"), bids=flat, asks=flat)
    assert (len(quote.bids), len(quote.asks)) == (bids, asks)
    if bids + asks == 0:
        assert quote.bids.empty is eq.Reason.NOTIONAL


@pytest.mark.parametrize(("notional", "orders"), [(200, 19), (199, 19), (191, 19), (190, 18), (10.1, 1), (9, 0)])
def test_one_side_of_a_small_account_places_what_the_whole_pot_affords(notional: float, orders: int) -> None:
    flat = eq.Levels(depth_bps=[0.4 * (i + 1) for i in range(20)], fill_probability=[0.5] * 20, edge_bps=[3.0] * 20)
    # Short at the limit: asks are blocked and their half passes to the bids.
    state = eq.AccountState(margin_available=notional / 10, position=-1000, leverage=10, position_max=1000)
    quote = Quoter(QuoterConfig(levels=20, entropy_min=0)).quote(hype(), state, rule=rule("sum"), bids=flat, asks=flat)
    assert len(quote.asks) == 0
    assert (0 if quote.bids.reduce_only else len(quote.bids)) == orders


def test_a_position_without_free_margin_is_worked_off_by_reduce_only_orders() -> None:
    state = eq.AccountState(margin_available=0, position=100, leverage=10, position_max=100)
    quote = Quoter().quote(hype(), state, rule=rule("sum"), bids=LEVELS, asks=LEVELS)
    assert quote.asks.reduce_only
    assert 0 < quote.asks.total <= 100
    assert quote.margin_held == 0
    assert quote.certificate.ok
    assert all(order.hold == 0 and order.reduce_only for order in quote.orders())


def test_over_the_position_limit_the_growing_side_is_empty_and_the_other_only_reduces() -> None:
    state = eq.AccountState(margin_available=1000, position=-120, leverage=10, position_max=100)
    quote = Quoter().quote(hype(), state, rule=rule("sum"), bids=LEVELS, asks=LEVELS)
    assert len(quote.asks) == 0
    assert quote.bids.reduce_only
    assert quote.bids.total <= 120


def test_no_margin_is_said_and_never_a_ladder_without_limits() -> None:
    state = eq.AccountState(margin_available=0, position=0, leverage=10, position_max=1e6)
    quote = Quoter().quote(hype(), state, rule=rule("sum"), bids=LEVELS, asks=LEVELS)
    assert len(quote.bids) == len(quote.asks) == 0
    assert quote.bids.empty is quote.asks.empty is eq.Reason.NO_MARGIN


def test_nothing_of_value_is_not_quoted_unless_told_to() -> None:
    losing = eq.Levels(depth_bps=[2, 4, 8], fill_probability=[0.5, 0.4, 0.3], edge_bps=[-3, -2, -1])
    state = eq.AccountState(margin_available=397.49, position=0, leverage=10, position_max=146.62)
    quiet = Quoter(QuoterConfig(levels=3)).quote(hype(), state, rule=rule("sum"), bids=losing, asks=losing)
    assert quiet.bids.empty is eq.Reason.NO_VALUE
    least = Quoter(QuoterConfig(levels=3, on_unprofitable="least_bad")).quote(  # type: ignore[arg-type]
        hype(), state, rule=rule("sum"), bids=losing, asks=losing
    )
    assert len(least.bids) > 0
    assert least.bids.total < 3


def test_long_inventory_deepens_bids_and_brings_asks_closer() -> None:
    shape = eq.Shape(
        volatility=1e-4,
        fill_rate=0.1,
        fill_decay=1500,
        horizon_s=10,
        risk_aversion=0.3,
        unit=14.66,
        adverse_bps=1,
        adverse_decay_bps=8,
        fee_bps=1.5,
    )

    def inner(position: float) -> tuple[float, float]:
        state = eq.AccountState(margin_available=397.49, position=position, leverage=10, position_max=146.62)
        quote = Quoter().quote(hype(), state, rule=rule("sum"), shape=shape)
        return float(quote.bids.depth_bps[0]), float(quote.asks.depth_bps[0])

    flat, long, short = inner(0), inner(58.64), inner(-58.64)
    assert long[0] > flat[0] > short[0]
    assert long[1] < flat[1] < short[1]
    assert flat[0] == pytest.approx(flat[1], abs=0.5)


def test_a_regime_factor_spreads_the_sizes_and_never_breaks_the_floor() -> None:
    calm = mission(entropy_min=1.0)
    toxic = mission(entropy_min=1.0, temperature_factor=2.0)
    assert toxic.bids.entropy > calm.bids.entropy + 0.05
    assert toxic.bids.entropy_min_used >= 1.0
    capped = mission(entropy_min=1.0, temperature_factor=50.0)
    assert capped.bids == mission(entropy_min=1.0, temperature_factor=3.0).bids


def test_kelly_fractions_give_different_sizes() -> None:
    # Wide depths, so that risk and not margin limits the sizes.
    wide = eq.Levels(depth_bps=[200, 400, 800], fill_probability=[0.3, 0.2, 0.1], edge_bps=[150, 350, 750])
    state = eq.AccountState(margin_available=397.49, position=0, leverage=10, position_max=146.62)

    def total(fraction: float) -> float:
        kelly = KellyConfig(fraction=fraction, toxicity=0.5, toxicity_decay_bps=1_000)
        config = QuoterConfig(levels=3, optimizer="kelly", entropy_min=0.0, kelly=kelly)  # type: ignore[arg-type]
        return Quoter(config).quote(hype(), state, rule=rule("sum"), bids=wide, asks=wide).bids.total

    assert total(0.05) < total(0.25) < total(0.75)


def test_proportional_sizes_follow_probability_times_edge() -> None:
    asked = eq.Levels(depth_bps=[4, 8, 16], fill_probability=[0.25, 0.5, 0.125], edge_bps=[4, 8, 8])
    state = eq.AccountState(margin_available=3974.9, position=0, leverage=10, position_max=14662)
    quote = Quoter(QuoterConfig(levels=3, optimizer="proportional", entropy_min=0.0)).quote(  # type: ignore[arg-type]
        hype(), state, rule=rule("sum"), bids=asked, asks=asked
    )
    # 1 : 4 : 1, up to the difference that rounding the depth makes to the edge.
    assert quote.bids.size / quote.bids.total == pytest.approx([1 / 6, 4 / 6, 1 / 6], abs=0.005)


def test_best_breadth_never_earns_less_than_the_widest_and_keeps_the_floor() -> None:
    state = eq.AccountState(margin_available=8, position=0, leverage=10, position_max=146.62)
    uneven = eq.Levels(depth_bps=[4, 8, 16], fill_probability=[0.5, 0.5, 0.5], edge_bps=[0.5, 1, 15])
    quotes = {
        breadth: Quoter(QuoterConfig(levels=3, entropy_min=0.3, breadth=breadth)).quote(  # type: ignore[arg-type]
            hype(), state, rule=rule("sum"), bids=uneven, asks=uneven
        )
        for breadth in ("widest", "best")
    }
    assert len(quotes["best"].bids) < len(quotes["widest"].bids)
    assert quotes["best"].bids.objective > quotes["widest"].bids.objective
    assert quotes["best"].bids.entropy >= 0.3


def test_linear_spacing_ends_at_the_outer_depth() -> None:
    shape = eq.Shape(
        volatility=1e-4,
        fill_rate=0.3,
        fill_decay=1500,
        horizon_s=10,
        risk_aversion=0.3,
        unit=14.66,
        adverse_bps=1,
        adverse_decay_bps=8,
        fee_bps=0,
    )
    state = eq.AccountState(margin_available=3974.9, position=0, leverage=10, position_max=1466.2)
    config = QuoterConfig(spacing="linear", depth_inner_bps=4, depth_outer_bps=20, entropy_min=1.5)  # type: ignore[arg-type]
    quote = Quoter(config).quote(hype(), state, rule=rule("sum"), shape=shape)
    assert quote.bids.depth_bps.tolist() == pytest.approx([4, 8, 12, 16, 20], abs=0.4)


def test_presets_differ_in_how_evenly_they_spread() -> None:
    spread = [mission(preset=name).bids.entropy for name in ("aggressive", "default", "defensive")]
    assert spread[0] < spread[1] < spread[2]


def test_a_quote_reads_as_dictionary_frames_and_table() -> None:
    quote = mission()
    assert quote.to_dict()["certificate"]["ok"] is True
    polars = pytest.importorskip("polars")
    frame = quote.to_polars()
    assert isinstance(frame, polars.DataFrame)
    assert frame.height == len(quote.bids) + len(quote.asks) == len(quote.to_pandas())
    assert frame["hold"].sum() == pytest.approx(float(quote.margin_held))
    assert "<table>" in quote._repr_html_()
    assert "ok=True" in repr(quote)


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"levels": 0}, "levels"),
        ({"levels": 10**9}, "levels"),
        ({"levels": 2.5}, "levels"),
        ({"entropy_min": math.nan}, "entropy_min"),
        ({"entropy_min": -1.0}, "entropy_min"),
        ({"weight_min": 0.6}, "weight_min"),
        ({"haircut": 1.5}, "haircut"),
        ({"mark_buffer_bps": -1}, "mark_buffer_bps"),
        ({"temperature_factor": 0.5}, "temperature_factor"),
        ({"share_cap": 0.1}, "share_cap"),
        ({"spacing": "cubic"}, "spacing"),
        ({"optimizer": "magic"}, "optimizer"),
        ({"breadth": "narrow"}, "breadth"),
        ({"depth_outer_bps": math.inf}, "depth_outer_bps"),
    ],
)
def test_a_configuration_out_of_range_names_its_field(change: dict[str, object], argument: str) -> None:
    with pytest.raises(eq.InputError) as error:
        Quoter(QuoterConfig(**change))  # type: ignore[arg-type]
    assert error.value.argument == argument


def test_shape_and_levels_exclude_each_other_and_one_is_needed() -> None:
    state = eq.AccountState(margin_available=397.49, position=0, leverage=10, position_max=146.62)
    with pytest.raises(eq.InputError, match="shape"):
        Quoter().quote(hype(), state)
    with pytest.raises(eq.InputError, match="asks"):
        Quoter().quote(hype(), state, bids=LEVELS)
