"""The two older optimizers through the quoter: same split, same projection, different sizes."""

from __future__ import annotations

import numpy as np
import pytest

import equipoise as eq
from equipoise.quoter import KellyConfig, Optimizer

RULE = eq.OrderMarginRule.venue("hyperliquid")
MARKET = eq.Market(symbol="HYPE", bid=27.10, ask=27.12, mark=27.11, tick="0.001", lot="0.01", notional_min=10)
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


def state(equity: float = 397.49) -> eq.AccountState:
    return eq.AccountState(margin_available=397.49, position=0, leverage=10, position_max=146.62, equity=equity)


def quote(optimizer: Optimizer, fraction: float = 0.25, equity: float = 397.49) -> eq.Quote:
    settings = eq.QuoterConfig(optimizer=optimizer, kelly=KellyConfig(fraction=fraction), entropy_min=0.0)
    return eq.Quoter(settings).quote(MARKET, state(equity), rule=RULE, shape=SHAPE)


def test_proportional_sizes_follow_the_utilities_up_to_lots() -> None:
    side = quote(Optimizer.PROPORTIONAL).bids
    share = side.size / side.size.sum()
    np.testing.assert_allclose(share, side.utility / side.utility.sum(), atol=0.01)


def test_fractions_of_kelly_give_different_sizes() -> None:
    # With little equity the risk of a fill matters beside the margin; with much, every fraction fills the margin alike.
    shapes = [tuple(quote(Optimizer.KELLY, fraction, equity=2.0).bids.size) for fraction in (0.05, 0.25, 0.75)]
    assert len(set(shapes)) == 3, shapes


@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_every_optimizer_keeps_the_margin_and_the_certificate(optimizer: Optimizer) -> None:
    result = quote(optimizer)
    assert result.certificate.ok
    assert result.margin_held <= 397.49


def test_a_higher_temperature_spreads_sizes_and_never_breaks_the_floor() -> None:
    def entropy(factor: float) -> float:
        settings = eq.QuoterConfig(entropy_min=1.2, temperature_factor=factor)
        size = eq.Quoter(settings).quote(MARKET, state(), rule=RULE, shape=SHAPE).bids.size
        share = size / size.sum()
        return float(-(share * np.log(share)).sum())

    assert 1.2 - 1e-12 <= entropy(1.0) < entropy(2.0) <= entropy(3.0) + 1e-9
