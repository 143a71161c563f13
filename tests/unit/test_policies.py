"""Two runs that differ in their policy: parts of the profit, intervals, and what may be said."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.errors import InputError
from equipoise.orders import Side
from equipoise.policies import FILLS_MIN, PolicyComparison, compare_policies, compare_runs
from equipoise.quoter import QuoterConfig
from equipoise.record import FillRecord, RunRecord, save_record
from equipoise.replay import ReplayConfig
from equipoise.report import render_report
from equipoise.session import SessionConfig
from equipoise.tape import generate, open_tape

START_NS = 1_757_015_216_000_000_000
PARTS = ("spread captured", "adverse selection", "inventory carry", "fees")


def made(policy: str, *, fills: int = 400, edge: float = 0.02, noise: int = 1, **changes: Any) -> RunRecord:
    """A run over one random walk, the same for all, in which buys and sells at `edge` from the mid alternate."""
    count = 2_000
    time = np.arange(count, dtype=np.float64)
    mid = 200 + np.cumsum(np.random.default_rng(3).normal(0, 0.02, count))
    random = np.random.default_rng(noise)
    at = np.sort(random.choice(np.arange(5, count - 5), fills, replace=False))
    rows = []
    for index, second in enumerate(at.tolist()):
        side = Side.BID if index % 2 == 0 else Side.ASK
        price = float(mid[second]) + (edge if side is Side.ASK else -edge)
        rows.append(
            FillRecord(
                time_ns=START_NS + second * 10**9,
                order_id=str(index),
                side=side,
                price=price,
                size=1.0,
                fee=0.001,
                realised_pnl=0.0,
                mid=float(mid[second]),
                position_after=float((index + 1) % 2),
            )
        )
    full = np.full(count, 100.0)
    samples = {
        "time_s": time,
        "mid": mid,
        "margin_available": full,
        "margin_held": full * (0.9 if policy == "joint" else 0.8),
        "expected_edge": np.full(count, 0.5),
    }
    record = RunRecord(
        title=policy,
        symbol="SOL",
        market_source="made",
        rule="sum",
        policy=policy,
        optimizer="entropy",
        leverage=10.0,
        balance_start=400.0,
        seed=1,
        started_ns=START_NS,
        ended_ns=START_NS + count * 10**9,
        samples=samples,
        fills=tuple(rows),
    )
    return dataclasses.replace(record, **changes)


def measure(found: PolicyComparison, name: str) -> Any:
    return next(entry for entry in found.measures if entry.name == name)


def test_profit_is_the_sum_of_its_parts_and_what_cash_and_fees_come_to() -> None:
    inventory, joint = made("inventory"), made("joint", edge=0.03, noise=2)
    found = compare_runs(inventory, joint)
    for name, record in (("inventory", inventory), ("joint", joint)):
        cash = sum(
            (fill.price if fill.side is Side.ASK else -fill.price) * fill.size - fill.fee for fill in record.fills
        )
        total = getattr(measure(found, "realised profit"), name)
        assert total == pytest.approx(cash, abs=1e-9)
        assert sum(getattr(measure(found, part), name) for part in PARTS) == pytest.approx(total, abs=1e-9)
        assert getattr(measure(found, "fees"), name) == pytest.approx(-0.4)
    assert measure(found, "spread captured").inventory == pytest.approx(400 * 0.02)
    assert measure(found, "spread captured").joint == pytest.approx(400 * 0.03)
    assert measure(found, "turnover").joint == pytest.approx(sum(fill.price for fill in joint.fills))
    assert measure(found, "idle margin, mean").difference == pytest.approx(-0.1)
    assert 0.2 < measure(found, "inventory variance").inventory <= 0.25


def test_a_run_against_itself_shows_no_difference() -> None:
    found = compare_runs(made("inventory"), made("joint"))
    assert found.enough
    for entry in found.measures:
        if entry.name != "idle margin, mean":
            assert entry.difference == 0
            assert (entry.low, entry.high) == (0.0, 0.0)
            assert entry.finding == "not told apart"
    assert "not told apart" in found.verdict


def test_a_difference_that_is_there_is_found_and_one_within_the_noise_is_not_claimed() -> None:
    better = compare_runs(made("inventory"), made("joint", edge=0.05))
    profit = measure(better, "realised profit")
    assert profit.finding == "higher"
    assert profit.low < profit.difference < profit.high
    assert "joint earned more" in better.verdict
    worse = compare_runs(made("inventory", edge=0.05), made("joint"))
    assert measure(worse, "realised profit").finding == "lower"
    other = compare_runs(made("inventory"), made("joint", noise=5))
    assert measure(other, "realised profit").finding == "not told apart"


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    inside = 0
    for noise in range(40):
        found = compare_runs(made("inventory", noise=100 + noise), made("joint", noise=200 + noise), draws=400)
        profit = measure(found, "realised profit")
        # Both runs trade the same way: the true difference is zero.
        inside += profit.low <= 0 <= profit.high
    assert inside >= 32


def test_fewer_fills_than_needed_carry_no_statement_about_profit() -> None:
    found = compare_runs(made("inventory"), made("joint", fills=FILLS_MIN - 1))
    assert not found.enough
    assert found.verdict.startswith("Too few fills")
    assert str(FILLS_MIN) in found.verdict
    for name in ("realised profit", *PARTS, "turnover", "inventory variance"):
        assert measure(found, name).finding == "too few fills"
        assert np.isnan(measure(found, name).low)
    # What every quote adds to needs no fills.
    assert measure(found, "idle margin, mean").finding == "lower"
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["enough"] is False
    assert plain["measures"][1]["low"] is None


@pytest.mark.parametrize(
    ("inventory", "joint", "argument"),
    [
        ({"policy": "other"}, {}, "inventory"),
        ({}, {"policy": "other"}, "joint"),
        ({}, {"seed": 2}, "joint"),
        ({}, {"rule": "worst_side"}, "joint"),
        ({}, {"samples": {}}, "joint"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(
    inventory: dict[str, Any], joint: dict[str, Any], argument: str
) -> None:
    with pytest.raises(InputError) as caught:
        compare_runs(dataclasses.replace(made("inventory"), **inventory), dataclasses.replace(made("joint"), **joint))
    assert caught.value.argument == argument


def test_the_report_shows_the_comparison_with_its_caveats() -> None:
    found = compare_runs(made("inventory"), made("joint", fills=50))
    html = render_report([found.inventory, found.joint], policies=found)
    assert 'id="policies"' in html
    assert "Too few fills for any statement about profit" in html
    assert "not of other days" in html
    assert html.index('id="policies"') < html.index('id="run1-summary"')
    assert 'id="policies"' not in render_report([found.inventory])


def study(**changes: Any) -> ReplayConfig:
    """A rebate, so that measured markets have value for a maker; checked event by event."""
    config = ReplayConfig(
        maker_fee_bps=Decimal(-1),
        quoter=QuoterConfig(mark_buffer_bps=40.0, depth_outer_bps=12.0, preset="aggressive"),  # type: ignore[arg-type]
        session=SessionConfig(maker_fee_bps=-1.0, verify=True),
        seed=7,
    )
    return dataclasses.replace(config, **changes)


@pytest.mark.parametrize("rule", ["sum", "worst_side", "hyperliquid"])
def test_a_run_under_joint_is_never_refused_for_margin_and_quote_book_and_venue_agree(rule: str) -> None:
    # Taken as free of adverse selection, the generated market has value for a maker.
    session = SessionConfig(maker_fee_bps=-1.0, adverse_bps=0.0, verify=True)
    found, ended = compare_policies(lambda: generate(7, 600), study(rule=rule, session=session))
    for run, policy in zip(ended, ("inventory", "joint"), strict=True):
        counters = run.record.counters
        assert run.record.policy == policy
        assert run.record.refused_for_margin == 0
        assert run.flat
        assert (run.used_margin_all, run.used_margin_executed) == (0, 0)
        assert run.balance_book == run.balance_venue
        assert counters["orders"] > 100
        assert counters["book_comparisons"] > 100
        assert counters["book_differences"] == 0
        assert counters["venue_comparisons"] > 0
        assert counters["venue_differences"] == 0
        cash = sum(fill.realised_pnl - fill.fee for fill in run.record.fills)
        assert getattr(measure(found, "realised profit"), policy) == pytest.approx(cash, abs=1e-6)
    joint = found.joint.samples
    assert np.isfinite(joint["inventory_price"]).all()
    assert np.isnan(found.inventory.samples["inventory_price"]).all()
    assert found.joint.settings["quoter"]["policy"] == "joint"


@pytest.mark.tape
@pytest.mark.parametrize("symbol", ["SOL", "BTC"])
def test_both_policies_on_a_recorded_tape(shared_data: Path, symbol: str, tmp_path: Path) -> None:
    def tape() -> Any:
        return open_tape(shared_data / "hyperliquid_20250904", symbol=symbol)

    found, ended = compare_policies(tape, study(session=SessionConfig(maker_fee_bps=-1.0)))
    for run in ended:
        assert run.record.refused_for_margin == 0
        assert run.flat
    assert compare_runs(found.inventory, found.joint) == found
    # The recording is half an hour: it must not be made to say more than it can.
    assert found.enough == (min(found.fills) >= FILLS_MIN)
    assert save_record(found.joint, tmp_path / "joint.npz").exists()
