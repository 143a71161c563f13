"""The public surface, word for word as the design fixes it, with the details it leaves open filled in."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

import equipoise as eq


@pytest.mark.parametrize("store", ["memory:", "sqlite"])
def test_the_example_of_the_public_surface_runs_from_rule_to_released_margin(store: str, tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    pandas = pytest.importorskip("pandas")
    url = store if store == "memory:" else f"sqlite:///{tmp_path / 'margin.db'}"

    rule = eq.OrderMarginRule.venue("hyperliquid")
    market = eq.Market(symbol="HYPE", bid=27.10, ask=27.12, mark=27.11, tick="0.001", lot="0.01", notional_min=10)
    state = eq.AccountState(margin_available=397.49, position=0, leverage=10, position_max=146.62)
    shape = eq.Shape(
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

    quote = eq.Quoter(eq.QuoterConfig(levels=5)).quote(market, state, rule=rule, shape=shape)
    for sent in (quote.bids.size, quote.asks.price):
        assert isinstance(sent, np.ndarray)
        assert len(sent) == 5
    assert quote.split.ask_weight == 0.5
    assert quote.margin_held <= Decimal("397.49")
    # Sides do not share a budget under this rule: what is left to stop the bids is the position limit.
    assert quote.bids.binding is eq.Binding.POSITION
    assert quote.asks.binding is eq.Binding.MARGIN
    assert quote.certificate.ok is True
    assert isinstance(quote.to_polars(), polars.DataFrame)
    assert isinstance(quote.to_pandas(), pandas.DataFrame)
    assert quote.to_polars().height == len(quote.orders()) == 10
    assert quote._repr_html_().count("<tr>") == 11

    book = eq.ReservationBook.connect(url)
    assert book.open_account("live:6", balance="10000", currency="USD", scale=6, rule=rule).ok
    grant = book.reserve("live:6", quote.orders(), request_id="q-42")
    assert grant.ok
    assert book.account("live:6").used_margin_all == quote.margin_held

    first, *others = grant.granted
    lots = quote.orders()[0].lots
    fill = book.fill("live:6", first, lots=lots, margin="99.22", realised_pnl=0, fee=0, fill_id="f-1")
    assert fill.ok
    assert book.account("live:6").used_margin_executed == Decimal("99.22")
    for number, order_id in enumerate(others):
        assert book.reject("live:6", order_id, event_id=f"e-{number}").ok
    free = book.account("live:6").free
    assert isinstance(free, Decimal)
    assert free == Decimal("9900.78")
    assert book.audit("live:6").ok
    book.close_book()


def test_with_levels_of_the_caller_the_example_quotes_without_a_shape() -> None:
    market = eq.Market(symbol="HYPE", bid=27.10, ask=27.12, mark=27.11, tick="0.001", lot="0.01", notional_min=10)
    state = eq.AccountState(margin_available=397.49, position=0, leverage=10, position_max=146.62)
    levels = eq.Levels(depth_bps=[4, 8, 16], fill_probability=[0.7, 0.5, 0.3], edge_bps=[2, 5, 11])
    for name in ("hyperliquid", "binance_usdm", "okx", "sum", "worst_side"):
        quote = eq.Quoter().quote(market, state, rule=eq.OrderMarginRule.venue(name), bids=levels, asks=levels)
        assert quote.certificate.ok
        assert len(quote.orders()) == 6
