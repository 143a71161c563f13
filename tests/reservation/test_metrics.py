"""Prometheus figures of a book, over HTTP, and the dashboard that shows them."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prometheus_client", reason="the extra `metrics` is not installed")

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from equipoise.errors import StoreUnavailable
from equipoise.orders import Order
from equipoise.reservation import ReservationBook
from equipoise.reservation.awaited import AsyncReservationBook
from equipoise.reservation.metrics import DASHBOARD, BookMetrics, serve_metrics

Make = Callable[..., Order]
A = "acc"


def figures(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of their labels’ names…) of everything exported."""
    text = generate_latest(registry).decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def live(book: ReservationBook, order: Make, clock: Any) -> None:
    book.open_account(A, 10, rule="worst_side")
    book.reserve(A, [order(lots=2, hold=3_000_000), order("ask", hold=1)], request_id="r", send="outbox")
    book.claim(A, "r:0", event_id="w")
    clock.advance(40)
    book.fill(A, "r:0", 1, fill_id="f", margin=2)
    book.reserve(A, [order(hold=1)] * 2, request_id="full", holds=[8, 8])
    book.cancel(A, "r:0")
    book.fill(A, "r:0", 1, fill_id="g", margin="1.5")


def test_the_figures_are_those_of_the_book(book: ReservationBook, order: Make, clock: Any) -> None:
    registry = CollectorRegistry()
    with BookMetrics(book, registry):
        live(book, order, clock)
        found = figures(registry)
    account = book.account(A)
    name = "equipoise_book"
    assert found[f"{name}_balance", A, "USD"] == 10
    assert found[f"{name}_free", A, "USD"] == float(account.free) == 6.5
    assert found[f"{name}_used_margin_all", A, "USD"] == found[f"{name}_used_margin_executed", A, "USD"] == 3.5
    assert found[f"{name}_orders", A, "RESERVED"] == 1
    assert found[f"{name}_holds", A, "RESERVED"] == 0.000001
    assert found[f"{name}_overdue_orders", A] == 1
    assert found[f"{name}_outbox_entries", A] == 1
    assert (found[f"{name}_late_fills", A], found[f"{name}_under_reserved", A]) == (1, 2)
    assert (found[f"{name}_overfills", A], found[f"{name}_pnl_missing", A], found[f"{name}_leak", A]) == (0, 0, 0)
    ages = {key[2]: value for key, value in found.items() if key[0] == f"{name}_order_age_seconds_bucket"}
    assert (ages["30.0"], ages["60.0"], ages["+Inf"]) == (0, 1, 1)
    assert found[f"{name}_steps_total", "OK", "reserve"] == 1
    assert found[f"{name}_steps_total", "INSUFFICIENT_MARGIN", "reserve"] == 1
    assert found[f"{name}_step_seconds_count", "fill"] == 2


def test_every_outbox_entry_is_counted(book: ReservationBook, order: Make) -> None:
    registry = CollectorRegistry()
    with BookMetrics(book, registry):
        book.open_account(A, 10)
        for number in range(120):
            book.reserve(A, [order(hold=1)], request_id=f"r{number}", send="outbox")
        assert figures(registry)["equipoise_book_outbox_entries", A] == book._outbox_size(A) == 120


def test_the_count_of_outbox_entries_has_no_end(order: Make) -> None:
    registry, many = CollectorRegistry(), 10_050
    with ReservationBook.connect("memory:") as book, BookMetrics(book, registry):
        book.open_account(A, 10)
        for number in range(many):
            book.reserve(A, [order(hold=0)], request_id=f"r{number}", send="outbox")
        assert figures(registry)["equipoise_book_outbox_entries", A] == many


def test_an_account_that_cannot_be_read_leaves_the_figures_of_the_others(order: Make, tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with ReservationBook.connect(f"sqlite:///{tmp_path}/m.db") as book, BookMetrics(book, registry):
        for name in ("a", "b", "c"):
            book.open_account(name, 10)
        statement = "UPDATE accounts SET terms = 'x' WHERE account_id = 'b'"
        book._ready().execute(statement)  # type: ignore[attr-defined]
        found = figures(registry)
        assert [found["equipoise_book_unreadable", name] for name in ("a", "b", "c")] == [0, 1, 0]
        assert {key[1] for key in found if key[0] == "equipoise_book_free"} == {"a", "c"}


def test_a_leak_and_an_unknown_order_are_seen(order: Make, clock: Any) -> None:
    registry = CollectorRegistry()
    with ReservationBook.connect("memory:", clock=clock) as book, BookMetrics(book, registry):
        book.open_account(A, 10)
        book.reserve(A, [order(hold=5)], request_id="r", send="caller")
        clock.advance(3_600)
        book.sweep(A)
        shelf = book._shelves[A]  # type: ignore[attr-defined]
        shelf.rows["SYM", ""] = shelf.rows["SYM", ""]._replace(hold_bids=7)
        found = figures(registry)
        assert found["equipoise_book_leak", A] == 0.000002
        assert found["equipoise_book_orders", A, "UNKNOWN"] == 1


def test_store_errors_are_counted_and_raised(book: ReservationBook, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise StoreUnavailable("gone")

    registry = CollectorRegistry()
    monkeypatch.setattr(type(book), "_run", lost)
    with BookMetrics(book, registry), pytest.raises(StoreUnavailable):
        book.sweep(A)
    with BookMetrics(book, registry):
        with pytest.raises(StoreUnavailable):
            book.sweep(A)
        assert figures(registry)["equipoise_book_store_errors_total", "StoreUnavailable"] == 1


def test_closed_metrics_leave_the_book_as_it_was(order: Make, clock: Any) -> None:
    registry = CollectorRegistry()
    with ReservationBook.connect("memory:", clock=clock) as book:
        metrics = BookMetrics(book, registry)
        metrics.close()
        metrics.close()
        live(book, order, clock)
        assert figures(registry) == {}
        assert "_run" not in vars(book)


def test_an_asynchronous_book_is_measured_too(sqlite_path: Path, order: Make) -> None:
    registry = CollectorRegistry()

    async def main() -> None:
        async with await AsyncReservationBook.connect(f"sqlite:///{sqlite_path}?durability=normal") as book:
            with BookMetrics(book, registry):
                await book.open_account(A, 10)
                await asyncio.gather(*(book.reserve(A, [order(hold=1)], request_id=str(n)) for n in range(5)))
                await book.reserve(A, [order(hold=1)], request_id="x", holds=[11])
                found = await asyncio.to_thread(figures, registry)
            assert "_step" not in vars(book)
            assert found["equipoise_book_steps_total", "OK", "reserve"] == 5
            assert found["equipoise_book_steps_total", "INSUFFICIENT_MARGIN", "reserve"] == 1
            assert found["equipoise_book_orders", A, "RESERVED"] == 5
            assert found["equipoise_book_step_seconds_count", "reserve"] == 6

    asyncio.run(main())


def test_prometheus_gets_them_over_http(order: Make, clock: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    registry = CollectorRegistry()
    with ReservationBook.connect("memory:", clock=clock) as book:
        _, stop = serve_metrics(book, port, registry=registry)
        try:
            live(book, order, clock)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        finally:
            stop()
        assert 'equipoise_book_free{account="acc",currency="USD"} 6.5' in text


def test_the_dashboard_shows_every_metric_and_no_other(book: ReservationBook, order: Make, clock: Any) -> None:
    registry = CollectorRegistry()
    with BookMetrics(book, registry):
        live(book, order, clock)
        exported = {name for name, *_ in figures(registry)}
    board = json.loads(Path(DASHBOARD).read_text(encoding="utf-8"))
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"equipoise_book_\w+", target["expr"])
    }
    exported |= {"equipoise_book_store_errors_total"}  # has no sample before the first failure
    assert asked <= exported
    stems = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in exported}
    shown = {re.sub(r"_bucket$", "", name) for name in asked}
    assert {stem for stem in stems if not stem.endswith(("_steps", "_store_errors"))} == shown
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in board["panels"])


def test_the_dashboard_is_whole_enough_to_be_imported() -> None:
    board = json.loads(Path(DASHBOARD).read_text(encoding="utf-8"))
    source = f"${{{board['__inputs'][0]['name']}}}"
    assert board["schemaVersion"] >= 36  # data sources by type and uid
    assert board["title"]
    assert board["uid"]
    (variable,) = board["templating"]["list"]
    assert re.fullmatch(r"label_values\(equipoise_book_\w+, account\)", variable["query"])
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["type"] in {"stat", "timeseries", "heatmap"}
        assert panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
        for asked in (panel, *panel["targets"]):
            assert asked["datasource"] == {"type": "prometheus", "uid": source}
        for target in panel["targets"]:
            # A per-account figure follows the variable.
            assert "account" not in target["expr"] or f'account=~"${variable["name"]}"' in target["expr"]
