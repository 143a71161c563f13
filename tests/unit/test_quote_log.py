"""What every quote says about itself, and what an import costs."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

import equipoise as eq

MARKET = eq.Market(symbol="HYPE", bid=27.10, ask=27.12, mark=27.11, tick="0.001", lot="0.01", notional_min=10)
LEVELS = eq.Levels([2.0, 4.0, 8.0], [0.7, 0.5, 0.3], [1.0, 2.0, 5.0])


def quote(position: object, margin: object = "397.49") -> eq.Quote:
    state = eq.AccountState(margin_available=margin, position=position, leverage=10, position_max="146.62")  # type: ignore[arg-type]
    config = eq.QuoterConfig(entropy_min=1.0)
    return eq.Quoter(config).quote(MARKET, state, rule=eq.OrderMarginRule.venue("sum"), bids=LEVELS, asks=LEVELS)


def test_a_quote_is_one_line_at_info_with_split_limits_and_what_bound(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="equipoise.quoter"):
        quote("146.62")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("equipoise.quoter", logging.INFO)
    for part in (
        "HYPE capacity=146.621 available=397.49 usable=397.49 r=1 weights=0.3/0.7",
        "parts=119.247/278.243 passed=119.247",
        "limits_lots=0/29324",
        "bids=[empty POSITION]",
        "MARGIN] certified=True",
    ):
        assert part in record.getMessage()


def test_the_line_says_why_there_is_no_order(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="equipoise.quoter"):
        quote(0, 0)
    assert "bids=[empty NO_MARGIN] asks=[empty NO_MARGIN]" in caplog.text


def test_nothing_is_written_or_composed_above_info(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.quoter._line", lambda _: pytest.fail("composed for nobody"))
    with caplog.at_level(logging.WARNING, logger="equipoise.quoter"):
        quote(0)
    assert caplog.records == []


def test_importing_equipoise_leaves_the_tape_readers_alone_until_a_tape_is_measured() -> None:
    script = (
        "import sys, equipoise as eq; before = 'equipoise.tape' in sys.modules;"
        "assert 'ShapeEstimator' in dir(eq); eq.ShapeEstimator; print(before, 'equipoise.tape' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout
    assert output.split() == ["False", "True"]
