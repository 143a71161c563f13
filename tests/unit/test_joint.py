"""Policy joint through the quoter: budgets, blocked sides, share bounds, the lean, reports, comparisons, jitter."""

from __future__ import annotations

import json
import logging
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import equipoise as eq
from equipoise.quoter import Optimizer, Quoter, QuoterConfig

SHAPE = eq.Shape(
    volatility=1e-4,
    fill_rate=0.3,
    fill_decay=1500,
    horizon_s=10,
    risk_aversion=0.3,
    unit=14.66,
    adverse_bps=3,
    adverse_decay_bps=8,
    fee_bps=1.5,
)
LIMIT = 146.62
LOT = 0.01


def market(**changes: Any) -> eq.Market:
    usual = {"symbol": "HYPE", "bid": "27.109", "ask": "27.111", "mark": "27.11", "tick": "0.001", "lot": "0.01"}
    return eq.Market(**(usual | {"notional_min": 10} | changes))


def state(position: float = 0.0, margin: float = 397.49, limit: float = LIMIT) -> eq.AccountState:
    return eq.AccountState(margin_available=margin, position=position, leverage=10, position_max=limit)


def quote(account: eq.AccountState | None = None, rule: str = "sum", policy: str = "joint", **config: Any) -> eq.Quote:
    settings = {"levels": 5, "depth_inner_bps": 2.0, "entropy_min": 1.2, "policy": policy, **config}
    quoter = Quoter(QuoterConfig(**settings))
    account = state() if account is None else account
    return quoter.quote(market(), account, rule=eq.OrderMarginRule.venue(rule), shape=SHAPE)


def report(of: eq.Quote) -> eq.JointReport:
    assert of.joint is not None
    return of.joint


def test_the_worked_check_of_both_sides_at_three_positions() -> None:
    # Values at one price for both sides, as the check states them, on a grid so fine that prices are not moved.
    fine = market(bid="27.1099999", ask="27.1100001", tick="0.0000001", lot="0.0001", notional_min=0)
    depths = [2.0, 4.0, 8.0, 16.0, 32.0]
    fills = [1 - math.exp(-0.3 * math.exp(-1500 * depth / 1e4) * 10) for depth in depths]
    edges = [depth - 3 * math.exp(-depth / 8) - 1.5 for depth in depths]

    def levels(sign: int) -> eq.Levels:
        scaled = [edge / (1 + sign * depth / 1e4) for edge, depth in zip(edges, depths, strict=True)]
        return eq.Levels(depth_bps=depths, fill_probability=fills, edge_bps=scaled)

    eta = 0.3 * (1e-4 * 27.11) ** 2 * 10
    quoter = Quoter(QuoterConfig(levels=5, entropy_min=1.2, policy="joint", price_of_risk=eta))  # type: ignore[arg-type]
    for position, bids, asks, objective in (
        (0.0, 74.71, 71.91, 1.10782),
        (40.0, 26.41, 120.09, 1.10687),
        (80.0, 0.0, 146.43, 1.10243),
    ):
        found = quoter.quote(fine, state(position), bids=levels(-1), asks=levels(1))
        assert found.bids.total == pytest.approx(bids, abs=0.006)
        assert found.asks.total == pytest.approx(asks, abs=0.006)
        assert report(found).objective == pytest.approx(objective, abs=6e-6)
        assert report(found).objective <= report(found).dual_bound
        assert report(found).regret <= 1e-5


@pytest.mark.parametrize("rule", sorted(eq.OrderMarginRule.venues()))
@pytest.mark.parametrize("position", [-60.0, 0.0, 25.0, LIMIT])
def test_joint_is_never_worse_and_never_holds_more_than_usable_under_any_rule(rule: str, position: float) -> None:
    found = quote(state(position), rule, mark_buffer_bps=40.0)
    joint = report(found)
    assert found.certificate.ok
    assert found.margin_held <= found.certificate.margin_usable
    assert joint.objective >= joint.objective_inventory - 1e-12
    assert joint.dual_bound >= joint.objective
    assert joint.regret == pytest.approx(joint.dual_bound - joint.objective, abs=1e-15)
    assert found.bids.regret >= 0
    assert found.asks.regret >= 0
    assert found.bids.regret + found.asks.regret <= joint.regret + 1e-9


STEPS = eq.LeverageTiers.from_leverage([(0, 50), (5_000, 20), (20_000, 10), (100_000, 5)])
RULES = {name: eq.OrderMarginRule.venue(name) for name in eq.OrderMarginRule.venues()} | {
    "sum, closing": eq.OrderMarginRule("sum", closing=True),
    "sum, tiers": eq.OrderMarginRule("sum", tiers=STEPS),
    "worst_side, tiers": eq.OrderMarginRule("worst_side", tiers=STEPS),
    "larger_leg, tiers": eq.OrderMarginRule("larger_leg", tiers=STEPS),
    "sum, closing, tiers": eq.OrderMarginRule("sum", closing=True, tiers=STEPS),
}


@given(data=st.data())
def test_any_configuration_is_certified_within_its_margin_and_never_worse(data: st.DataObject) -> None:
    draw = data.draw
    count = draw(st.sampled_from([1, 2, 5, 10]))
    depth = sorted(draw(st.lists(st.floats(1, 60), min_size=count, max_size=count)))
    fill, edge = (
        draw(st.lists(values, min_size=count, max_size=count)) for values in (st.floats(0, 1), st.floats(-4, 10))
    )
    share_min = draw(st.sampled_from([0.0, 0.0, 0.4]))
    config = QuoterConfig(
        levels=count,
        entropy_min=draw(st.floats(0, 1.2)) if count > 1 else 0.0,
        policy="joint",  # type: ignore[arg-type]
        price_of_risk=draw(st.sampled_from([0.0, 1e-6, 2e-5, 1e-3])),
        bid_share_min=share_min,
        fill_variance=draw(st.booleans()),
        mark_buffer_bps=draw(st.sampled_from([0.0, 40.0])),
        share_cap=draw(st.sampled_from([1.0, 0.5])) if count > 1 else 1.0,
        share_floor=draw(st.sampled_from([0.0, 0.02])),
        on_infeasible=draw(st.sampled_from(["relax", "refuse"])),
        on_unprofitable=draw(st.sampled_from(["empty", "least_bad"])),
        jitter=draw(st.sampled_from([0.0, 0.3])),
    )
    margin = draw(st.one_of(st.floats(0, 30), st.floats(30, 3_000), st.floats(3_000, 60_000)))
    account = state(
        round(draw(st.floats(-200, 200)), 2), round(margin, 2), draw(st.sampled_from([0.0, 50.0, LIMIT, 1e3]))
    )
    bids = eq.Levels(depth_bps=depth, fill_probability=fill, edge_bps=edge)
    asks = eq.Levels(depth_bps=depth, fill_probability=fill[::-1], edge_bps=edge[::-1])
    found = Quoter(config).quote(
        market(), account, rule=RULES[draw(st.sampled_from(sorted(RULES)))], bids=bids, asks=asks
    )
    joint = report(found)
    assert found.certificate.ok
    assert found.margin_held <= found.certificate.margin_usable
    assert joint.dual_bound >= joint.objective
    both = found.bids.total + found.asks.total
    if joint.bid_share is None:
        assert joint.objective >= joint.objective_inventory
    elif both > 0:
        assert found.bids.total >= share_min * both - 1.001 * LOT
    assert (joint.share_dropped is None) or share_min > 0


def test_a_long_position_leans_to_asks_by_itself_and_a_short_one_mirrors_it() -> None:
    shares = []
    for position in (-50.0, -25.0, 0.0, 25.0, 50.0):
        found = quote(state(position))
        shares.append(found.asks.total / (found.asks.total + found.bids.total))
    assert shares == sorted(shares)
    # Steeper than the inventory rule's 0.5 + 0.2 r.
    assert shares[4] > 0.8
    assert shares[0] < 0.2
    for one, other in zip(shares, reversed(shares), strict=True):
        assert one + other == pytest.approx(1.0, abs=0.01)


@given(order=st.permutations(range(5)), position=st.sampled_from([-30.0, 0.0, 45.0]))
def test_the_order_in_which_levels_are_given_does_not_matter(order: list[int], position: float) -> None:
    depth, fill, edge = [2.0, 4.0, 8.0, 16.0, 32.0], [0.78, 0.65, 0.45, 0.27, 0.02], [0.1, 1.2, 5.4, 14.1, 30.4]

    def levels(at: list[int]) -> eq.Levels:
        columns = ([column[i] for i in at] for column in (depth, fill, edge))
        return eq.Levels(*columns)

    config = QuoterConfig(levels=5, entropy_min=1.2, policy="joint", price_of_risk=2e-5)  # type: ignore[arg-type]
    found, plain = (
        Quoter(config).quote(market(), state(position), bids=levels(at), asks=levels(at[::-1]))
        for at in (order, [0, 1, 2, 3, 4])
    )
    for one, other in ((found.bids, plain.bids), (found.asks, plain.asks)):
        sizes = dict(zip(other.price_ticks.tolist(), other.lots.tolist(), strict=True))
        assert one.price_ticks.size == other.price_ticks.size
        for ticks, lots in zip(one.price_ticks.tolist(), one.lots.tolist(), strict=True):
            # The optimum is the same but for its last digits, which may decide a lot.
            assert abs(sizes[ticks] - lots) <= 1


def test_net_fills_are_continuous_along_a_path_of_inventories() -> None:
    # Fills take off at most what the position adds; a level enters or leaves at its smallest order, on either side, and
    # lots are lost. Where the two ladders are worth the same but for lots, the better of them may change hands.
    step, smallest, most = 0.5, 0.38, 1.2e-3
    path = [quote(state(count * step)) for count in range(-280, 281)]
    fills = [report(found).position_expected - (count - 280) * step for count, found in enumerate(path)]
    changed = 0
    for (one, other), (before, after) in zip(pairwise(map(report, path)), pairwise(fills), strict=True):
        assert one.status == "optimal"
        if one.returned == other.returned == "joint":
            assert -step - 2 * smallest <= after - before <= 2 * smallest
            continue
        changed += 1
        for found in (one, other):
            assert found.objective_joint is not None
            # Five lots a side at the best value of a contract.
            assert found.objective - found.objective_joint <= 10 * LOT * 0.0145
            assert found.objective <= found.objective_continuous <= found.objective + most
    assert changed <= 0.05 * len(path)


def test_the_margin_of_a_blocked_side_flows_to_the_other() -> None:
    found = quote(state(LIMIT))
    assert found.bids.empty is eq.Reason.POSITION
    assert float(found.margin_held) > 0.995 * float(found.split.usable)
    assert found.asks.total > 1.9 * quote(state()).asks.total


def test_a_share_bound_holds_to_one_lot_and_says_what_it_binds() -> None:
    found = quote(bid_share_min=0.6, bid_share_max=0.9)
    both = found.bids.total + found.asks.total
    assert found.bids.total >= 0.6 * both - LOT
    assert found.asks.binding is eq.Binding.SHARE
    assert report(found).bid_share == (0.6, 0.9)
    assert report(found).share_dropped is None
    # The inventory rule's halves do not keep the bound, whatever they are worth.
    assert report(found).returned == "joint"
    assert report(found).because == "share_bound"


def test_a_share_bound_is_dropped_and_reported_when_a_side_cannot_quote() -> None:
    blocked = quote(state(LIMIT), bid_share_min=0.3, bid_share_max=0.7)
    assert report(blocked).share_dropped == "blocked"
    assert report(blocked).bid_share is None
    assert len(blocked.asks) == 5
    poor = quote(state(margin=1.5), bid_share_min=0.3, bid_share_max=0.7)
    assert report(poor).share_dropped == "minimum"
    assert len(poor.bids) + len(poor.asks) == 1
    uneven = quote(entropy_min=1.7, on_infeasible="refuse", bid_share_min=0.3, bid_share_max=0.7)
    assert report(uneven).share_dropped == "entropy"


def test_a_price_of_inventory_empties_the_side_that_would_add_to_the_position() -> None:
    found = quote(state(80.0))
    assert found.bids.empty is eq.Reason.NO_VALUE
    assert found.bids.binding in {eq.Binding.INVENTORY, eq.Binding.MARGIN}
    # Short at the limit, margin in plenty: only the price of inventory stops the side that works the position off.
    levels = eq.Levels(depth_bps=[2, 4, 8], fill_probability=[0.9, 0.8, 0.7], edge_bps=[1, 2, 5])
    config = QuoterConfig(levels=3, entropy_min=0.8, policy="joint", price_of_risk=0.01)  # type: ignore[arg-type]
    account = state(-100.0, margin=3_000.0, limit=100.0)
    steep = Quoter(config).quote(market(), account, bids=levels, asks=levels)
    assert steep.bids.binding is eq.Binding.INVENTORY
    assert steep.asks.binding is eq.Binding.POSITION
    assert report(steep).margin_price == pytest.approx((0.0, 0.0), abs=1e-9)
    assert report(steep).position_expected == pytest.approx(0.0, abs=2.0)


def test_an_entropy_floor_out_of_reach_is_relaxed_or_refused_as_under_the_inventory_rule() -> None:
    for policy in ("inventory", "joint"):
        refused = quote(policy=policy, entropy_min=1.7, on_infeasible="refuse")
        assert refused.bids.empty is eq.Reason.ENTROPY
        assert refused.asks.empty is eq.Reason.ENTROPY
        relaxed = quote(policy=policy, entropy_min=1.7)
        assert relaxed.bids.relaxed
        assert relaxed.asks.relaxed
        assert len(relaxed.bids) == 5
        assert relaxed.certificate.ok


@pytest.mark.parametrize("margin", [0.0, 0.9, 1.1, 2.0, 2.5, 5.0, 11.0])
def test_a_small_account_places_what_it_can_afford(margin: float) -> None:
    found = quote(state(margin=margin))
    assert found.certificate.ok
    # At a minimum of 10 and 10x an order takes 1.003.
    inventory = quote(state(margin=margin), policy="inventory")
    assert (len(found.bids) + len(found.asks) > 0) == (margin >= 1.1)
    assert report(found).objective >= report(found).objective_inventory
    assert report(found).objective_inventory <= report(inventory.under("joint")).objective


def test_sides_without_value_are_quoted_at_their_least_as_configured() -> None:
    levels = eq.Levels(depth_bps=[2, 4, 8], fill_probability=[0.5, 0.4, 0.2], edge_bps=[-3, -2, -1])
    good = eq.Levels(depth_bps=[2, 4, 8], fill_probability=[0.5, 0.4, 0.2], edge_bps=[1, 2, 5])
    for bids, asks in ((levels, levels), (good, levels), (levels, good)):
        config = QuoterConfig(
            levels=3,
            entropy_min=0.8,
            policy="joint",
            price_of_risk=2e-5,
            on_unprofitable="least_bad",  # type: ignore[arg-type]
        )
        found = Quoter(config).quote(market(), state(), bids=bids, asks=asks)
        assert found.certificate.ok
        assert len(found.bids) == 3
        assert len(found.asks) == 3
        assert found.margin_held <= found.split.usable
        none = Quoter(
            QuoterConfig(levels=3, entropy_min=0.8, policy="joint", price_of_risk=2e-5)  # type: ignore[arg-type]
        ).quote(market(), state(), bids=bids, asks=asks)
        assert (len(none.bids) == 0) == (bids is levels)


def test_levels_without_a_shape_need_a_price_of_risk() -> None:
    levels = eq.Levels(depth_bps=[2, 4], fill_probability=[0.5, 0.4], edge_bps=[1, 3])
    quoter = Quoter(QuoterConfig(levels=2, entropy_min=0.5, policy="joint"))  # type: ignore[arg-type]
    with pytest.raises(eq.InputError) as caught:
        quoter.quote(market(), state(), bids=levels, asks=levels)
    assert caught.value.argument == "price_of_risk"
    with pytest.raises(eq.InputError):
        Quoter(QuoterConfig(levels=2, entropy_min=0.5)).quote(market(), state(), bids=levels, asks=levels).compare()


@pytest.mark.parametrize(
    ("config", "argument"),
    [
        ({"policy": "both"}, "policy"),
        ({"optimizer": Optimizer.KELLY}, "optimizer"),
        ({"price_of_risk": -1.0}, "price_of_risk"),
        ({"price_of_risk": float("nan")}, "price_of_risk"),
        ({"bid_share_min": 0.6, "bid_share_max": 0.5}, "bid_share_min"),
        ({"bid_share_max": 1.5}, "bid_share_max"),
        ({"jitter": 1.0}, "jitter"),
        ({"jitter": -0.1}, "jitter"),
        ({"jitter_seed": 1.5}, "jitter_seed"),
        ({"fill_variance": 1}, "fill_variance"),
    ],
)
def test_a_term_out_of_range_is_named(config: dict[str, Any], argument: str) -> None:
    with pytest.raises(eq.InputError) as caught:
        quote(**config)
    assert caught.value.argument == argument


def test_fill_variance_spreads_and_never_raises_the_objective() -> None:
    rich = state(-LIMIT, margin=3_000.0, limit=300.0)
    plain, priced = (quote(rich, price_of_risk=0.01, fill_variance=variance) for variance in (False, True))
    assert report(priced).objective < report(plain).objective
    assert report(priced).dual_bound >= report(priced).objective
    assert priced.bids.total + priced.asks.total < plain.bids.total + plain.asks.total


def test_tightening_never_raises_the_objective() -> None:
    free = report(quote()).objective_continuous
    for tighter in ({"entropy_min": 1.4}, {"share_cap": 0.3}, {"share_floor": 0.1}, {"bid_share_max": 0.4}):
        assert report(quote(**tighter)).objective_continuous <= free + 1e-12
    assert report(quote(state(margin=300.0))).objective_continuous < free


def test_margin_price_is_what_one_more_unit_of_margin_is_worth() -> None:
    price = report(quote()).margin_price
    assert price[0] == price[1]
    more, less = (report(quote(state(margin=397.49 + step))).objective_continuous for step in (1.0, -1.0))
    assert (more - less) / 2 == pytest.approx(price[0], rel=1e-3)


def test_what_the_joint_problem_says_is_shown_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="equipoise.quoter"):
        found = quote(state(25.0))
    line = caplog.records[-1].getMessage()
    for words in ("policy=joint", "returned=joint", "margin_price=", "inventory_price=", "regret="):
        assert words in line
    plain = found.to_dict()
    assert plain["policy"] == "joint"
    assert plain["joint"]["margin_price"] == list(report(found).margin_price)
    assert plain["joint"] == report(found).to_dict()
    json.dumps(plain)
    html = found._repr_html_()
    assert "joint ladder" in html
    assert "margin price" in html
    assert "returned" in repr(report(found))
    silent = quote(policy="inventory")
    assert silent.joint is None
    assert silent.to_dict()["joint"] is None


def test_a_quote_does_not_depend_on_what_was_quoted_before() -> None:
    quoter = Quoter(QuoterConfig(levels=5, depth_inner_bps=2.0, entropy_min=1.2, policy="joint"))  # type: ignore[arg-type]
    first = [quoter.quote(market(), state(position), shape=SHAPE) for position in (-60.0, -20.0, 0.0, 35.0, 90.0)]
    again = [quoter.quote(market(), state(position), shape=SHAPE) for position in (90.0, 35.0, 0.0, -20.0, -60.0)]
    assert first == again[::-1]


def test_comparing_shows_both_policies_for_the_same_input() -> None:
    inventory, joint = quote(state(40.0), policy="inventory"), quote(state(40.0))
    found = inventory.compare()
    assert found.inventory == inventory
    assert found.joint == joint
    assert joint.compare().inventory == inventory
    assert found.gain == pytest.approx(report(joint).objective - report(joint).objective_inventory)
    assert found.gain > 0.01
    for side, total in (("bid", "bids"), ("ask", "asks")):
        rows = [level for level in found.levels() if level.side == side]
        assert sum(level.inventory for level in rows) == pytest.approx(getattr(inventory, total).total)
        assert sum(level.joint for level in rows) == pytest.approx(getattr(joint, total).total)
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["inventory"]["margin_held"] == str(inventory.margin_held)
    assert plain["joint"]["objective"] == report(joint).objective
    assert plain["inventory"]["objective"] == report(joint).objective_inventory
    assert plain["joint"]["ask_share"] > plain["inventory"]["ask_share"] > 0.5
    assert "margin is worth" in found.why
    assert "Comparison(gain=" in repr(found)


def test_a_comparison_as_a_table_escapes_the_symbol() -> None:
    named = market(symbol="<b>X")
    quoter = Quoter(QuoterConfig(levels=5, depth_inner_bps=2.0, entropy_min=1.2))
    html = quoter.quote(named, state(), shape=SHAPE).compare()._repr_html_()
    assert "<b>" not in html
    assert "&lt;b&gt;X" in html
    assert "margin held" in html


def test_jitter_is_off_by_default_and_the_same_for_the_same_seed() -> None:
    for policy in ("inventory", "joint"):
        plain = quote(policy=policy)
        assert quote(policy=policy, jitter=0.0, jitter_seed=9) == plain
        drawn = quote(policy=policy, jitter=0.3, jitter_seed=9)
        assert drawn == quote(policy=policy, jitter=0.3, jitter_seed=9)
        sizes = drawn.bids.lots.tolist(), drawn.asks.lots.tolist()
        assert sizes != (plain.bids.lots.tolist(), plain.asks.lots.tolist())
        other = quote(policy=policy, jitter=0.3, jitter_seed=10)
        assert sizes != (other.bids.lots.tolist(), other.asks.lots.tolist())
        assert drawn.certificate.ok
        assert drawn.margin_held <= drawn.split.usable


@given(
    position=st.floats(-140, 140),
    margin=st.floats(0, 2_000),
    jitter=st.floats(0.01, 0.95),
    seed=st.integers(0, 2**62),
    entropy=st.floats(0, 1.6),
    cap=st.floats(0.2, 1.0),
    policy=st.sampled_from(["inventory", "joint"]),
    rule=st.sampled_from(["sum", "worst_side", "larger_leg", "hedge_legs"]),
)
def test_jitter_keeps_every_constraint(
    position: float, margin: float, jitter: float, seed: int, entropy: float, cap: float, policy: str, rule: str
) -> None:
    account = state(round(position, 2), round(margin, 2))
    found = quote(
        account, rule, policy, jitter=jitter, jitter_seed=seed, entropy_min=entropy, share_cap=cap, depth_inner_bps=None
    )
    assert found.certificate.ok
    for side in (found.bids, found.asks):
        if len(side):
            assert side.entropy >= side.entropy_min_used - 1e-12
            assert all(price * size >= 10 for price, size in zip(side.price, side.size, strict=True))
            if side.relaxed is None:
                assert side.lots.max() < cap * side.lots.sum() + 1
    assert found.margin_held <= found.certificate.margin_usable
