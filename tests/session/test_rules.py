"""Replays of a generated market under the rules that the recorded matrix leaves out; they need no recording."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

import equipoise as eq
from equipoise.quoter import OnUnprofitable, QuoterConfig
from equipoise.replay import ReplayConfig, replay
from equipoise.session import SessionConfig
from equipoise.tape import generate

CONFIG = ReplayConfig(
    balance=Decimal(400),
    quoter=QuoterConfig(mark_buffer_bps=40.0, depth_outer_bps=12.0, on_unprofitable=OnUnprofitable.LEAST_BAD),
    session=SessionConfig(verify=True, adverse_bps=0.0),
)


@pytest.mark.parametrize(
    "rule", ["sum", "worst_side", "per_side", "larger_leg", "hyperliquid", "hyperliquid_conservative", "okx", "mt5"]
)
def test_a_generated_market_ends_flat_without_a_refusal_or_a_difference(rule: str) -> None:
    ended = replay(generate(seed=3, duration_s=600), replace(CONFIG, rule=rule))
    record = ended.record
    assert record.counters["quotes"] > 50
    assert record.refused_for_margin == 0
    assert {name: count for name, count in record.counters.items() if name.endswith("_differences")} == {
        "quote_differences": 0,
        "book_differences": 0,
        "venue_differences": 0,
    }
    assert ended.flat
    assert ended.used_margin_all == ended.used_margin_executed == 0
    assert ended.balance_book == ended.balance_venue


def test_a_quoter_that_promises_the_margin_twice_is_stopped_by_the_book_and_counted() -> None:
    class Double:
        """The older mistake: every quote is made as if there were twice the margin."""

        def __init__(self) -> None:
            self._quoter = eq.Quoter(CONFIG.quoter)

        def quote(
            self, market: eq.Market, state: eq.AccountState, *, rule: eq.OrderMarginRule, shape: eq.Shape
        ) -> eq.Quote:
            doubled = eq.AccountState(
                margin_available=2 * state.margin_available,
                position=state.position,
                leverage=state.leverage,
                position_max=2 * state.position_max,
            )
            return self._quoter.quote(market, doubled, rule=rule, shape=shape)

    ended = replay(generate(seed=3, duration_s=450), replace(CONFIG, rule="sum"), quoter=Double())
    assert ended.record.refusals["BOOK_INSUFFICIENT_MARGIN"] > 0
    assert ended.record.counters["orders"] == 0
    assert ended.record.refused_for_margin > 0


def test_hedge_mode_is_refused_by_name_before_anything_runs() -> None:
    with pytest.raises(eq.InputError) as error:
        replay(generate(seed=3, duration_s=60), replace(CONFIG, rule="hedge_legs"))
    assert error.value.argument == "rule"


def test_the_sqlite_book_gives_the_same_run_as_the_memory_book(tmp_path: object) -> None:
    runs = [
        replay(generate(seed=5, duration_s=420), replace(CONFIG, book=url))
        for url in ("memory:", f"sqlite:///{tmp_path}/margin.db?durability=normal")
    ]
    assert runs[0].record.fills == runs[1].record.fills
    assert runs[0].record.counters == runs[1].record.counters
    assert runs[0].balance_book == runs[1].balance_book
