"""Results read as dictionaries, frames and tables, and say so where a frame library is missing."""

from __future__ import annotations

import builtins
import importlib
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

import equipoise as eq
from equipoise import present
from equipoise.orders import Order, Side
from equipoise.reservation import ReservationBook
from equipoise.reservation.audit import AuditReport, Finding
from equipoise.reservation.records import BookAccount


def market(symbol: str = "HYPE") -> eq.Market:
    return eq.Market(symbol, "27.10", "27.12", "27.11", tick="0.001", lot="0.01", notional_min=10)


def split(position: float = 73.31, rule: str = "sum") -> eq.Split:
    state = eq.AccountState(margin_available=397.49, position=position, leverage=10, position_max=146.62)
    return eq.split_margin(market(), state, eq.OrderMarginRule.venue(rule))


def quote(symbol: str = "HYPE") -> eq.Quote:
    state = eq.AccountState(margin_available=397.49, position=0, leverage=10, position_max=146.62)
    levels = eq.Levels(depth_bps=[4, 8, 16], fill_probability=[0.7, 0.5, 0.3], edge_bps=[2, 5, 11])
    return eq.Quoter(eq.QuoterConfig(levels=3)).quote(market(symbol), state, bids=levels, asks=levels)


@pytest.fixture
def account() -> Iterator[BookAccount]:
    with ReservationBook.connect("memory:") as book:
        assert book.open_account("<acct>", "1000.25", "USD").ok
        order = Order(
            symbol="HYPE",
            side=Side.BID,
            lots=100,
            price_ticks=27_100,
            hold=2_710_000,
            price=Decimal("27.100"),
            size=Decimal("1.00"),
            order_id="a",
        )
        assert book.reserve("<acct>", [order], request_id="a").ok
        yield book.account("<acct>")


CLEAN = AuditReport("acct", 7, 3, 7, ())
BROKEN = AuditReport("acct", 7, 3, 7, (Finding("executed", "<b>totals</b>", 5, (1, None, Decimal("2.5"))),))


def test_a_split_reads_as_dictionary_with_exact_amounts() -> None:
    plain = split().to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert (plain["ask_weight"], plain["bid_part"], plain["ask_part"]) == (0.6, "158.996", "238.494")
    assert (plain["ask_free_lots"], plain["free_by"], plain["pooled"]) == (7_331, "reduce_only", True)
    assert Decimal(plain["bid_part"]) + Decimal(plain["ask_part"]) == Decimal(plain["usable"])


def test_a_split_reads_as_frames_with_one_row_a_side() -> None:
    pytest.importorskip("polars")
    pytest.importorskip("pandas")
    frame, table = split().to_polars(), split().to_pandas()
    assert frame["side"].to_list() == table["side"].tolist() == ["bid", "ask"]
    assert frame["weight"].to_list() == table["weight"].tolist() == [0.4, 0.6]
    assert frame["part"].sum() == pytest.approx(397.49)
    assert frame.columns == list(table.columns)


def test_a_split_reads_as_a_table_with_asks_above_bids() -> None:
    html = split()._repr_html_()
    assert html.index("<th>ask</th><td>0.60</td>") < html.index("<th>bid</th><td>0.40</td>")
    assert "one pot" in html
    assert "each its own" in split(rule="worst_side")._repr_html_()


def test_an_account_of_the_book_reads_as_dictionary_with_exact_amounts(account: BookAccount) -> None:
    plain = account.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert Decimal(plain["used_margin_all"]) == Decimal("2.71")
    assert Decimal(plain["free"]) == Decimal("997.54")
    assert (plain["margin_level"], plain["live_orders"], plain["status"]) == (None, 1, str(account.status))
    assert plain["terms"]["combine"] == account.terms.combine
    assert plain["terms"]["position_lots_max"] == {}
    assert "lots_limit" not in plain["terms"]


def test_an_account_of_the_book_reads_as_frames_with_one_row(account: BookAccount) -> None:
    pytest.importorskip("polars")
    pytest.importorskip("pandas")
    frame, table = account.to_polars(), account.to_pandas()
    assert (frame.height, len(table)) == (1, 1)
    assert frame["free"].item() == table["free"].item() == 997.54
    assert frame["live_orders"].item() == 1
    assert frame.columns == list(table.columns)


def test_an_account_of_the_book_reads_as_a_table(account: BookAccount) -> None:
    html = account._repr_html_()
    assert "&lt;acct&gt;" in html
    assert "<th>free</th><td>997.540000</td>" in html


def test_an_audit_reads_as_dictionary_whatever_a_finding_holds() -> None:
    assert CLEAN.to_dict()["ok"] is True
    plain = BROKEN.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["findings"] == [
        {"kind": "executed", "where": "<b>totals</b>", "expected": 5, "found": [1, None, "2.5"]},
    ]


def test_an_audit_reads_as_frames_with_a_row_a_finding_and_the_columns_without() -> None:
    polars = pytest.importorskip("polars")
    pytest.importorskip("pandas")
    columns = ["kind", "where", "expected", "found"]
    for report, rows in ((CLEAN, 0), (BROKEN, 1)):
        frame, table = report.to_polars(), report.to_pandas()
        assert frame.schema == dict.fromkeys(columns, polars.String)
        assert list(table.columns) == columns
        assert (frame.height, len(table)) == (rows, rows)
    assert BROKEN.to_polars()["expected"].to_list() == ["5"]


def test_an_audit_reads_as_a_table_that_runs_no_markup() -> None:
    assert "nothing contradicts" in CLEAN._repr_html_()
    html = BROKEN._repr_html_()
    assert "&lt;b&gt;totals&lt;/b&gt;" in html
    assert "<b>" not in html


def test_a_quote_reads_as_a_table_that_runs_no_markup() -> None:
    html = quote("<script>")._repr_html_()
    assert "&lt;script&gt;" in html
    assert html.count("<tr>") == 1 + 6
    assert html.index("<th>ask</th>") < html.index("<th>bid</th>")


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_a_frame_without_its_library_names_the_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(present, "import_module", missing)
    for result in (quote(), split(), CLEAN):
        with pytest.raises(ImportError, match=rf"{library}.*equipoise\[report\]"):
            getattr(result, f"to_{library}")()


def test_dictionaries_and_tables_import_no_frame_library(account: BookAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    def watched(name: str, *rest: Any) -> Any:
        assert name.split(".")[0] not in ("polars", "pandas")
        return imported(name, *rest)

    imported = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", watched)
    importlib.reload(present)
    for result in (quote(), split(), CLEAN, account):
        assert result.to_dict()
        assert result._repr_html_().startswith("<table>")
