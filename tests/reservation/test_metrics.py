"""Prometheus figures of a book, over HTTP, and the dashboard that shows them."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prometheus_client", reason="the extra `metrics` is not installed")

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests import servers

from equipoise.errors import InputError, StoreUnavailable
from equipoise.orders import Order
from equipoise.reservation import ReservationBook
from equipoise.reservation.awaited import AsyncReservationBook
from equipoise.reservation.metrics import DASHBOARD, BookMetrics, serve_metrics
from equipoise.reservation.redis_links import slot_of

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


def scraped(port: int) -> tuple[int, str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.status, answer.read().decode()


def test_a_store_that_is_gone_leaves_what_is_counted_and_says_so(order: Make) -> None:
    registry, port = CollectorRegistry(), servers.free_port()
    Counter("other_things", "Of the application", registry=registry).inc(3)
    with servers.Server("appendonly yes") as server, ReservationBook.connect(server.url, timeout_ms=300) as book:
        _, stop = serve_metrics(book, port, registry=registry)
        try:
            for name in ("a", "b"):
                book.open_account(name, 10)
            assert figures(registry)["equipoise_book_up",] == 1
            server.kill()
            for _ in range(2):
                status, text = scraped(port)
            assert status == 200
            assert "other_things_total 3.0" in text
            assert "equipoise_book_up 0.0" in text
            assert 'equipoise_book_steps_total{code="OK",op="open_account"} 2.0' in text
            assert re.search(r'equipoise_book_store_errors_total{kind="StoreUnavailable"} [1-9]', text)
            found = figures(registry)
            assert [found["equipoise_book_unreadable", name] for name in ("a", "b")] == [1, 1]
            assert not [key for key in found if key[0] == "equipoise_book_free"]
            server.start()
            found = figures(registry)
            assert (found["equipoise_book_up",], found["equipoise_book_free", "a", "USD"]) == (1, 10)
            assert [found["equipoise_book_unreadable", name] for name in ("a", "b")] == [0, 0]
        finally:
            stop()


def test_a_master_that_stands_still_is_waited_for_once_and_leaves_the_figures_of_the_others(order: Make) -> None:
    registry, cluster = CollectorRegistry(), servers.Cluster()
    try:
        for node in cluster.nodes:
            cluster.ask(node, "CONFIG", "SET", "cluster-node-timeout", "60000")
        names = [f"acc{n}" for n in range(60)]
        lost = {name for name in names if slot_of(name) >= 10923}
        with ReservationBook.connect(cluster.url, timeout_ms=300) as book, BookMetrics(book, registry):
            for name in names:
                book.open_account(name, 10)
            assert len({key[1] for key in figures(registry) if key[0] == "equipoise_book_free"}) == 60
            cluster.masters[2].signal(signal.SIGSTOP)
            began = time.monotonic()
            found = figures(registry)
            # One account after the other would take six seconds.
            assert len(lost) > 10
            assert time.monotonic() - began < 2.5
            assert found["equipoise_book_up",] == 0
            assert {key[1] for key in found if key[0] == "equipoise_book_free"} == set(names) - lost
            assert {key[1] for key, value in found.items() if key[0] == "equipoise_book_unreadable" and value} == lost
            cluster.masters[2].signal(signal.SIGCONT)
    finally:
        cluster.stop()


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


def test_whoever_measures_a_book_stops_alone(order: Make) -> None:
    def steps(registry: CollectorRegistry) -> float | None:
        return figures(registry).get(("equipoise_book_steps_total", "OK", "deposit"))

    for first_goes_first in (True, False):
        one, two = CollectorRegistry(), CollectorRegistry()
        with ReservationBook.connect("memory:") as book:
            book.open_account(A, 10)
            both = [BookMetrics(book, one), BookMetrics(book, two)]
            book.deposit(A, 1, request_id="1")
            assert (steps(one), steps(two)) == (1, 1)
            for number, metrics in enumerate(both if first_goes_first else reversed(both), start=2):
                metrics.close()
                book.deposit(A, 1, request_id=str(number))
                left = {id(two) if first_goes_first else id(one)} if number == 2 else set()
                for registry in (one, two):
                    assert (steps(registry) == 2) == (id(registry) in left)
            assert figures(one) == figures(two) == {}


def test_a_registry_has_the_figures_of_one_book(order: Make) -> None:
    registry = CollectorRegistry()
    with ReservationBook.connect("memory:") as book, ReservationBook.connect("memory:") as other:
        with BookMetrics(book, registry), pytest.raises(InputError, match="registry"):
            BookMetrics(other, registry)
        assert "_run" not in vars(other)
        with BookMetrics(other, registry):
            other.open_account(A, 10)
            assert figures(registry)["equipoise_book_balance", A, "USD"] == 10


def test_a_port_that_is_taken_leaves_nothing_behind(order: Make) -> None:
    registry = CollectorRegistry()
    with ReservationBook.connect("memory:") as book, socket.create_server(("127.0.0.1", 0)) as taken:
        for _ in range(2):
            with pytest.raises(OSError, match="in use"):
                serve_metrics(book, taken.getsockname()[1], registry=registry)
            assert "_run" not in vars(book)
            assert figures(registry) == {}


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
