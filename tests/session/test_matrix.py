"""Whole recorded tapes under every rule and balance: nobody is refused for margin that the quoter promised."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from equipoise.quoter import QuoterConfig
from equipoise.replay import ReplayConfig, Replayed, replay
from equipoise.session import SessionConfig
from equipoise.tape import open_tape

RULES = ("sum", "worst_side", "per_side")
BALANCES = (100, 400, 10_000)


def run(folder: Path, symbol: str, rule: str, balance: int, *, adverse_bps: float | None = 0.0) -> Replayed:
    """A replay in which every side has value, so that the ladders spend all the margin they may."""
    tape = open_tape(folder / "hyperliquid_20250904", symbol=symbol)
    config = ReplayConfig(
        rule=rule,
        balance=Decimal(balance),
        quoter=QuoterConfig(mark_buffer_bps=40.0, depth_outer_bps=16.0),
        session=SessionConfig(verify=True, adverse_bps=adverse_bps),
    )
    return replay(tape, config)


def check(ended: Replayed) -> None:
    record = ended.record
    counters = record.counters
    assert record.refusals["MARGIN_AT_PLACEMENT"] == 0
    assert record.refusals["MARGIN_AT_MATCH"] == 0
    # The mark never leaves the buffer between quote and match on these tapes; it would be counted, not hidden.
    assert record.refusals["MARK_MOVED"] == 0
    assert not [name for name in record.refusals if name.startswith("BOOK_")]
    assert counters["quote_differences"] == 0
    assert counters["book_differences"] == 0
    assert counters["venue_differences"] == 0
    assert counters["uncertified_quotes"] == 0
    assert ended.flat
    assert ended.used_margin_all == ended.used_margin_executed == 0
    assert ended.balance_book == ended.balance_venue


@pytest.mark.tape
@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("symbol", ["SOL", "BTC"])
def test_no_order_is_refused_for_margin_over_a_whole_tape(
    shared_data: Path, symbol: str, rule: str, balance: int
) -> None:
    ended = run(shared_data, symbol, rule, balance)
    check(ended)
    counters = ended.record.counters
    # The comparisons were made, and the ladders did spend the margin.
    assert counters["quotes"] > 500
    assert counters["book_comparisons"] > 5_000
    assert counters["venue_comparisons"] > 400
    assert len(ended.record.fills) > 0
    samples = ended.record.samples
    used = samples["margin_held"] / samples["margin_available"]
    assert used.max() > 0.75 if rule == "sum" else used.max() > 0.5


@pytest.mark.tape
def test_with_measured_adverse_selection_it_quotes_less_and_still_ends_at_zero(shared_data: Path) -> None:
    ended = run(shared_data, "SOL", "sum", 400, adverse_bps=None)
    check(ended)
    assert ended.record.counters["empty_quotes"] > 0


@pytest.mark.tape
def test_the_same_tape_and_seed_give_the_same_run(shared_data: Path) -> None:
    one, two = (run(shared_data, "SOL", "sum", 400) for _ in range(2))
    assert one.record.fills == two.record.fills
    assert one.record.refusals == two.record.refusals
    assert one.balance_book == two.balance_book
    for name, values in one.record.samples.items():
        if name != "quote_us":
            assert values.tolist() == pytest.approx(two.record.samples[name].tolist(), abs=0, rel=0, nan_ok=True), name


@pytest.mark.tape
def test_quotes_are_pulled_during_the_hole_of_the_tape(shared_data: Path) -> None:
    ended = run(shared_data, "SOL", "sum", 400)
    assert ended.record.counters["stale_pulls"] >= 1
    gaps = ended.record.samples["time_s"]
    assert (gaps[1:] - gaps[:-1]).max() > 15
