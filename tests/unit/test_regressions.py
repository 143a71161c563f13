"""What earlier quoting systems got wrong, one test a failure. Each of these once reached a venue."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import equipoise as eq
from equipoise.estimator import ShapeEstimator
from equipoise.quoter import KellyConfig, Optimizer
from equipoise.recorder import Recorder
from equipoise.session import Action, Cancel, Place, Session, SessionConfig
from equipoise.tape.events import Quotes
from equipoise.venues.contract import Instrument
from equipoise.venues.paper import PaperConfig, PaperVenue

RULES = ("sum", "worst_side", "per_side", "hyperliquid", "binance_usdm", "okx")
DEPTHS = [2.0, 4.0, 8.0, 16.0, 32.0]
LEVELS = eq.Levels(DEPTHS, [0.78, 0.65, 0.45, 0.27, 0.02], [0.1, 1.2, 5.4, 14.1, 30.4])


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


def account(margin: object = "397.49", position: object = 0, limit: object = "146.62") -> eq.AccountState:
    return eq.AccountState(margin_available=margin, position=position, leverage=10, position_max=limit)  # type: ignore[arg-type]


def quote(
    state: eq.AccountState,
    rule: str = "sum",
    *,
    levels: eq.Levels = LEVELS,
    at: eq.Market | None = None,
    **config: object,
) -> eq.Quote:
    quoter = eq.Quoter(eq.QuoterConfig(**config))  # type: ignore[arg-type]
    used = eq.OrderMarginRule.venue(rule)
    return quoter.quote(market() if at is None else at, state, rule=used, bids=levels, asks=levels)


@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_both_sides_together_never_get_more_than_all_the_margin(optimizer: Optimizer) -> None:
    made = quote(account(), optimizer=optimizer)
    value = sum(order.price * order.size for order in made.orders())
    assert value / 10 <= Decimal("397.49")
    assert len(made.bids) > 0 < len(made.asks)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("optimizer", list(Optimizer))
@pytest.mark.parametrize("unprofitable", ["empty", "least_bad"])
@pytest.mark.parametrize("infeasible", ["relax", "refuse"])
@pytest.mark.parametrize("margin", [0, "0.5", 3, 50])
def test_no_path_sizes_by_the_position_limit_alone(
    rule: str, optimizer: Optimizer, unprofitable: str, infeasible: str, margin: object
) -> None:
    losing = eq.Levels(DEPTHS, [0.5] * 5, [-1.0] * 5)
    for levels in (LEVELS, losing):
        made = quote(
            account(margin, limit=1_000_000),
            rule,
            levels=levels,
            optimizer=optimizer,
            on_unprofitable=unprofitable,
            on_infeasible=infeasible,
        )
        for side in (made.bids, made.asks):
            assert sum(side.hold.tolist()) <= int(Decimal(str(margin)) * 1_000_000)
            assert float(side.size @ side.price) <= float(str(margin)) * 10 + 1e-9
            assert len(side) > 0 or side.empty is not None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, Decimal("NaN"), np.float64("nan")])
def test_margin_that_is_no_number_is_refused_and_never_removes_the_limit(bad: object) -> None:
    with pytest.raises(eq.InputError) as error:
        account(bad)
    assert error.value.argument == "margin_available"


@given(
    margin=st.floats(4, 3_000), floor=st.floats(0.2, 1.6), shares=st.lists(st.floats(0.01, 1), min_size=5, max_size=5)
)
def test_the_entropy_floor_holds_on_the_orders_that_are_sent(margin: float, floor: float, shares: list[float]) -> None:
    made = quote(account(round(margin, 2)), levels=eq.Levels(DEPTHS, shares, [1, 2, 5, 14, 30]), entropy_min=floor)
    for side in (made.bids, made.asks):
        if len(side) == 0:
            continue
        share = side.size / side.size.sum()
        entropy = float(-(share * np.log(share)).sum())
        assert entropy >= floor - 1e-9 or (side.relaxed and entropy >= side.entropy_min_used - 1e-9)


def test_raising_orders_to_the_minimum_never_exceeds_the_budget_of_201() -> None:
    # 25 levels share 201: one twenty-fifth is below the minimum of 10, and raising each to it would place 250.
    at = market(bid=10, ask="10.01", mark=10, tick="0.01", lot="0.01")
    asked = eq.Levels([float(10 * (i + 1)) for i in range(25)], [0.5] * 25, [3.0] * 25)
    quoter = eq.Quoter(eq.QuoterConfig(levels=25, entropy_min=0.0))
    state = account("20.1", limit=10_000)
    made = quoter.quote(at, state, rule=eq.OrderMarginRule.venue("sum"), bids=asked, asks=asked)
    values = [order.price * order.size for order in made.orders()]
    assert 19 <= len(values) <= 20
    assert min(values) >= 10
    assert sum(values) <= 201


def test_magnitudes_of_utility_count_and_not_their_rank() -> None:
    near, far = (eq.Levels([4, 8, 16], [0.5] * 3, edges) for edges in ([10, 11, 12], [1, 2, 12]))
    shares = [quote(account(), levels=levels, entropy_min=0.9).bids.size for levels in (near, far)]
    # Same order of the levels, and a different ladder: 12 against 11 is little, 12 against 2 is much.
    assert np.argsort(shares[0]).tolist() == np.argsort(shares[1]).tolist()
    middle = [float(size[1] / size[0]) for size in shares]
    assert middle[0] > 1.2 * middle[1]


def test_equal_levels_share_equally_wherever_they_stand() -> None:
    share = eq.solve_side([1.0, 3.0, 3.0, 3.0, 2.0], entropy_min=1.4).share
    assert share[1] == share[2] == share[3]
    turned = eq.solve_side([2.0, 3.0, 1.0, 3.0, 3.0], entropy_min=1.4).share
    assert turned[[2, 1, 3, 4, 0]].tolist() == share.tolist()


def kelly(fraction: float, equity: float) -> eq.Quote:
    """Wide depths, where risk matters beside margin."""
    wide = eq.Levels([200, 400, 800], [0.3, 0.2, 0.1], [150, 350, 750])
    state = eq.AccountState(margin_available=397.49, position=0, leverage=10, position_max=146.62, equity=equity)
    settings = KellyConfig(fraction=fraction, toxicity=0.5, toxicity_decay_bps=1_000)
    quoter = eq.Quoter(eq.QuoterConfig(optimizer=Optimizer.KELLY, entropy_min=0.0, kelly=settings))
    return quoter.quote(market(), state, rule=eq.OrderMarginRule.venue("sum"), bids=wide, asks=wide)


def test_fractions_of_kelly_do_not_cancel_out() -> None:
    totals = [kelly(fraction, 2).bids.total for fraction in (0.05, 0.25, 0.75)]
    # Far from the margin they are in proportion.
    assert totals[1] == pytest.approx(5 * totals[0], rel=0.05)
    assert totals[2] == pytest.approx(15 * totals[0], rel=0.05)


def test_inventory_of_one_reference_order_skews_prices_by_ticks_and_not_by_a_rounding_error() -> None:
    shape = eq.Shape(
        volatility=1e-4, fill_rate=0.1, fill_decay=1500, horizon_s=10, risk_aversion=0.3, unit=14.66, adverse_bps=1,
        adverse_decay_bps=8, fee_bps=0,
    )  # fmt: skip

    def inner(position: str) -> tuple[int, int]:
        rule = eq.OrderMarginRule.venue("sum")
        made = eq.Quoter().quote(market(), account(position=position), rule=rule, shape=shape)
        return made.bids.price_ticks.max(), made.asks.price_ticks.min()

    # 1.06 bps of 27.11 are 2.9 ticks: both prices move down by it when long, up when short.
    flat, long, short = inner("0"), inner("14.66"), inner("-14.66")
    for side in (0, 1):
        assert 2 <= flat[side] - long[side] <= 4
        assert 2 <= short[side] - flat[side] <= 4


def test_orders_about_to_be_replaced_do_not_count_against_the_new_ones() -> None:
    # A market that stands still: every ladder is the first one again (an earlier system went 102.6, 44, 102.6, 44, …).
    instrument = Instrument(symbol="HYPE", tick=Decimal("0.001"), lot=Decimal("0.01"), notional_min=Decimal(10))
    rule = eq.OrderMarginRule.venue("sum")
    venue = PaperVenue(instrument, rule, PaperConfig(leverage=Decimal(10), balance=397_490_000))
    totals: list[tuple[float, float]] = []

    class Fixed(eq.Quoter):
        """Quotes levels of its own, and keeps the totals."""

        def quote(self, market: eq.Market, state: eq.AccountState, **given_: object) -> eq.Quote:
            made = super().quote(market, state, rule=rule, bids=LEVELS, asks=LEVELS)
            totals.append((made.bids.total, made.asks.total))
            return made

    with eq.ReservationBook.connect("memory:") as book:
        book.open_account("paper:1", "397.49", rule=rule)
        session = Session(
            SessionConfig(),
            instrument=instrument,
            quoter=Fixed(),
            rule=rule,
            book=book,
            estimator=_Measured(),
            recorder=Recorder(5),
        )
        for step in range(1, 300):
            now = step * 100_000_000
            event = Quotes(now, now, 27_100, 10_000, 27_120, 10_000)
            venue.advance(event)
            actions: Sequence[Action] = [
                action for answer in venue.drain(now) for action in session.on_venue(answer, now)
            ]
            for action in (*actions, *session.on_market(event, now)):
                match action:
                    case Place():
                        venue.submit(action.orders, now, action.time_in_force)
                    case Cancel():
                        venue.cancel(action.order_ids, now)
        assert sum(session.refusals.values()) == 0
    assert len(totals) >= 8
    assert len(set(totals)) == 1
    assert sum(totals[0]) > 146


class _Measured(ShapeEstimator):
    """A shape that has been measured already."""

    @property
    def ready(self) -> bool:
        return True

    def shape(self, **_: object) -> eq.Shape:  # type: ignore[override]
        return eq.Shape(
            volatility=1e-4, fill_rate=0.3, fill_decay=1500, horizon_s=10, risk_aversion=0.3, unit=14.66,
            adverse_bps=1, adverse_decay_bps=8, fee_bps=1.5,
        )  # fmt: skip


@given(
    optimizer=st.sampled_from(["entropy", "proportional"]),
    side=st.sampled_from([-1, 1]),
    margin=st.floats(100, 10_000),
    floor=st.sampled_from([None, 0.0, 0.5, 1.0]),
    count=st.integers(1, 8),
    data=st.data(),
)
def test_margin_of_a_blocked_side_is_not_left_idle(
    optimizer: str, side: int, margin: float, floor: float | None, count: int, data: st.DataObject
) -> None:
    limit = round(margin * 10 / 27.11, 2)
    numbers = st.lists(st.floats(0.1, 1), min_size=count, max_size=count)
    asked = eq.Levels([2.0**i for i in range(count)], data.draw(numbers), [10 * x for x in data.draw(numbers)])
    made = quote(
        account(round(margin, 2), round(side * limit, 2), limit),
        levels=asked,
        optimizer=optimizer,
        entropy_min=floor,
    )
    blocked, other = (made.bids, made.asks) if side > 0 else (made.asks, made.bids)
    assert blocked.empty is eq.Reason.POSITION
    assert abs(made.margin_passed) > 0
    # The other side may hold all of it, and does but for lots.
    assert other.held >= Decimal("0.97") * made.certificate.margin_usable
    assert other.binding in (eq.Binding.MARGIN, eq.Binding.ENTROPY)


def test_proportional_sizes_that_spend_the_margin_say_so() -> None:
    made = quote(account(), optimizer="proportional", entropy_min=0.0)
    assert (made.bids.binding, made.asks.binding) == (eq.Binding.MARGIN, eq.Binding.MARGIN)
    near_limit = quote(account(position="140"), optimizer="proportional", entropy_min=0.0)
    assert near_limit.bids.binding is eq.Binding.POSITION


def test_a_small_fraction_of_kelly_is_bound_by_nothing_but_itself() -> None:
    small, large = kelly(0.05, 2), kelly(0.75, 1_000)
    assert small.bids.binding is eq.Binding.NONE
    assert small.margin_held < Decimal("397.49") / 4
    assert large.bids.binding is eq.Binding.MARGIN


@pytest.mark.parametrize("rule", RULES)
def test_asks_are_charged_where_they_rest_and_not_at_the_mid(rule: str) -> None:
    wide = eq.Levels([300.0, 600.0, 900.0], [0.5] * 3, [100.0, 200.0, 300.0])
    made = quote(account(limit=1_000), rule, levels=wide)
    by_limit = sum(
        price * lots for price, lots in zip(made.asks.price_ticks.tolist(), made.asks.lots.tolist(), strict=True)
    )
    by_mid = 27_110 * int(made.asks.lots.sum())
    budget = (Decimal("397.49") / (2 if rule == "sum" else 1)) * 10
    held = Decimal(by_limit) / 100_000
    assert held <= budget
    assert held > Decimal(by_mid) / 100_000 * Decimal("1.03")
    assert float(made.asks.held) * 10 >= float(held) - 1e-6


def test_two_decimal_sizes_never_lose_a_lot_to_truncation() -> None:
    at = market()
    cents = range(1, 20_001)
    assert all(at.lots(cent / 100) == cent for cent in cents)
    # What truncation does to the same sizes: one in twenty loses a lot.
    assert sum(int(cent / 100 / 0.01) != cent for cent in cents) > 500


@given(
    bid=st.integers(20_000, 40_000),
    spread=st.integers(1, 50),
    depths=st.lists(st.floats(0.01, 300), min_size=1, max_size=6),
    figures=st.sampled_from([None, 4]),
)
def test_prices_round_away_from_the_market(bid: int, spread: int, depths: list[float], figures: int | None) -> None:
    step = 10 if figures == 4 else 1
    bid = bid // step * step
    rule = None if figures is None else eq.PriceRule.significant(figures, decimals_max=3)
    at = market(
        bid=Decimal(bid) / 1000,
        ask=Decimal(bid + spread * step) / 1000,
        mark=Decimal(bid) / 1000,
        price_rule=rule,
    )
    asked = eq.Levels(depths, [0.5] * len(depths), [5.0] * len(depths))
    made = quote(account(5_000, limit=10_000), levels=asked, at=at, entropy_min=0.0)
    mid = bid + spread * step / 2
    least = min(depths) * 1e-4
    assert made.bids.price_ticks.max() <= mid * (1 - least) + 1e-5
    assert made.asks.price_ticks.min() >= mid * (1 + least) - 1e-5
    assert made.bids.depth_bps.min() >= min(depths) - 1e-5
    assert made.asks.depth_bps.min() >= min(depths) - 1e-5
