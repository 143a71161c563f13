"""`equipoise ledger` through the real command: what it prints, what it leaves in the book, what it exits with."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from equipoise import cli
from equipoise.errors import StoreCorrupt, StoreError, StoreTimeout, StoreUnavailable
from equipoise.orders import Order, Side
from equipoise.reservation import Code, ReservationBook
from equipoise.reservation.sqlite import SqliteBook

COMMAND = [sys.executable, "-m", "equipoise", "ledger"]
A = "live:6"
BOOK = "sqlite:///margin.db?durability=normal"
LADDER = [
    {"symbol": "HYPE", "side": "bid", "lots": 5, "price_ticks": 27110, "hold": "13.56"},
    {"symbol": "HYPE", "side": "ask", "lots": 5, "price_ticks": 27150, "hold": 13.58, "order_id": "mine"},
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("EQUIPOISE__"):
            monkeypatch.delenv(name)
    return tmp_path


class Shell:
    """Runs commands in this process; `real` runs them as a user does."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.code = 0
        self.err = ""

    def __call__(self, command: str, *words: str, book: str = BOOK) -> str:
        self.code = cli.main(["ledger", command, *words, "--book", book])
        out, self.err = self.capsys.readouterr()
        return out

    def json(self, command: str, *words: str) -> Any:
        return json.loads(self(command, *words, "--json"))


@pytest.fixture
def shell(here: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def real(*words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words, "--book", BOOK], capture_output=True, text=True, input=text, timeout=60, check=False
    )


def test_the_life_of_a_ladder_through_the_real_command(here: Path) -> None:
    assert real("open", A, "--balance", "10000", "--rule", "worst_side").returncode == 0
    held = real("reserve", A, "--input", "-", "--request-id", "q-42", "--send", "outbox", text=json.dumps(LADDER))
    assert held.returncode == 0
    assert held.stdout.splitlines()[0].startswith("OK; free 9986.420000, version 2")
    assert "q-42:0  OK  13.560000" in held.stdout
    again = real("reserve", A, "--input", "-", "--request-id", "q-42", "--send", "outbox", text=json.dumps(LADDER))
    assert again.stdout.startswith("DUPLICATE")
    assert again.returncode == 0
    assert "q-42" in real("outbox", A).stdout
    filled = real("fill", A, "mine", "2", "--fill-id", "f", "--margin", "5.432", "--fee", "0.0005", "--json")
    assert json.loads(filled.stdout)["state"] == "LIVE"
    assert real("cancel", A, "q-42:0", "--reason", "gone").returncode == 0
    assert real("cancel", A, "nobody").returncode == 1
    shown = json.loads(real("show", "--json").stdout)
    assert (shown[0]["account_id"], shown[0]["balance"], shown[0]["free"]) == (A, "9999.999500", "9986.419500")
    assert "live:6: nothing contradicts" in real("audit").stdout
    with ReservationBook.connect(BOOK) as book:
        assert book.account(A).all_units == 13_580_000
        assert book.audit(A).ok


def test_money_moves_once_per_request_id(shell: Shell) -> None:
    shell("open", A, "--balance", "5")
    assert shell.code == 0
    first = shell.json("deposit", A, "2.5")
    assert (first["code"], first["before"]["balance"], first["after"]["balance"]) == ("OK", "5.000000", "7.500000")
    assert first["request_id"].startswith("cli:")
    again = shell.json("deposit", A, "2.5", "--request-id", first["request_id"])
    assert (again["code"], shell.code) == ("DUPLICATE", 0)
    refused = shell.json("withdraw", A, "8")
    assert (refused["code"], refused["shortfall"], shell.code) == ("INSUFFICIENT_MARGIN", "0.500000", 1)
    assert shell.json("adjust", A, "-0.1", "--kind", "fee")["code"] == "OK"
    assert shell.json("show", A)[0]["balance"] == "7.400000"
    shell("adjust", A, "1", "--kind", "gift")
    assert (shell.code, "kind must be one of" in shell.err) == (2, True)


def test_terms_are_set_and_shown(shell: Shell) -> None:
    shell("open", A, "--balance", "5", "--orders-max", "3", "--owner-margin-max", "ann=2", "--scale", "2")
    assert shell.json("terms", A, "--show")["owner_margin_max"] == {"ann": 200}
    changed = shell.json("terms", A, "--position-lots-max", "HYPE=7", "--margin-max", "4.5", "--records-max", "99")
    assert changed["code"] == "OK"
    terms = shell.json("terms", A, "--show")
    assert (terms["orders_max"], terms["position_lots_max"], terms["margin_max"]) == (3, {"HYPE": 7}, 450)
    assert (terms["owner_margin_max"], terms["records_max"]) == ({"ann": 200}, 99)
    assert "records_max" in shell("terms", A, "--show")
    assert shell.json("terms", A, "--rule", "net_contracts")["code"] == "TERMS_INVALID"
    assert shell.code == 1
    shell("terms", A, "--orders-max", "many")
    assert (shell.code, "--orders-max must be a whole number" in shell.err) == (2, True)


def test_terms_that_are_not_named_stay_as_they_are(shell: Shell) -> None:
    shell("open", A, "--rule", "worst_side", "--pnl-policy", "all", "--margin-max", "5", "--mark-age-ms-max", "9")
    before = shell.json("terms", A, "--show")
    assert shell.json("terms", A, "--orders-max", "3", "--owner-margin-max", "ann=2.5")["code"] == "OK"
    changed = {**before, "orders_max": 3, "owner_margin_max": {"ann": 2_500_000}}
    assert shell.json("terms", A, "--show") == changed
    more = ("--position-lots-max", "HYPE=7", "--position-lots-max", "ETH=8", "--owner-margin-max", "bob=1")
    assert shell.json("terms", A, *more)["code"] == "OK"
    lifted = ("--margin-max", "none", "--orders-max", "none", "--position-lots-max", "HYPE=none")
    assert (
        shell.json("terms", A, *lifted, "--owner-margin-max", "ann=none", "--pnl-policy", "loss_only")["code"] == "OK"
    )
    assert shell.json("terms", A, "--show") == {
        **before,
        "margin_max": None,
        "pnl_policy": "loss_only",
        "position_lots_max": {"ETH": 8},
        "owner_margin_max": {"bob": 1_000_000},
    }
    # The one rule with positions of its own brings them, and the next one leaves them behind.
    for rule, positions in (("hedge_legs", "hedge"), ("larger_leg", "net")):
        assert shell.json("terms", A, "--rule", rule)["code"] == "OK"
        terms = shell.json("terms", A, "--show")
        assert (terms["combine"], terms["positions"]) == (rule, positions)
    assert shell.json("terms", A, "--positions", "tickets")["code"] == "OK"
    assert shell.json("terms", A, "--rule", "sum")["code"] == "OK"
    assert shell.json("terms", A, "--show")["positions"] == "tickets"


def test_a_book_whose_path_is_written_with_escapes_is_one_file(shell: Shell, here: Path) -> None:
    shell("open", A, "--balance", "5", book="sqlite:///m%20x.db")
    assert (shell.code, (here / "m x.db").exists()) == (0, True)
    assert A in shell("show", book="sqlite:///m%20x.db")
    assert shell.code == 0


def test_documents_with_wrong_values_are_refused_by_name(shell: Shell, here: Path) -> None:
    shell("open", A, "--balance", "5")
    for said, named in (
        ({"as_of_us": "x"}, "view.as_of_us must be"),
        ({"as_of_us": 1, "positions": [1]}, "view.positions must be"),
        ({"as_of_us": 1, "positions": {"S": "1"}}, "view.positions[S] must be"),
        ({"as_of_us": 1, "balance": "zz"}, "view.balance must be"),
        (
            {"as_of_us": 1, "fills": [{"fill_id": "f", "order_id": "q", "lots": 1, "margin": -1}]},
            "view.fills.margin[0]",
        ),
    ):
        (here / "view.json").write_text(json.dumps({"orders": [], **said}))
        shell("reconcile", A, "--view", "view.json", "--apply")
        assert (shell.code, named in shell.err) == (2, True), shell.err
    for said, named in (
        ({"portfolio": {"balance": "1"}, "holdings": {"o": None}}, "holdings[o] must be"),
        ({"portfolio": None, "holdings": {}}, "portfolio must be"),
        ({"portfolio": {"balance": "1"}, "holdings": [1]}, "holdings must be"),
    ):
        (here / "flat.json").write_text(json.dumps(said))
        shell("import", "other", "flat.json")
        assert (shell.code, named in shell.err) == (2, True), shell.err
    for words in (("history", A, "--limit", "0"), ("history", A, "--after", "-3"), ("outbox", A, "--limit", "-5")):
        shell(*words)
        assert (shell.code, "must be an integer from" in shell.err) == (2, True), shell.err
    assert shell.json("show", A)[0]["version"] == 1


def test_holds_sweep_resolve_and_history(shell: Shell, here: Path) -> None:
    (here / "ladder.json").write_text(json.dumps(LADDER))
    shell("open", A, "--balance", "50")
    shell("reserve", A, "--input", "ladder.json", "--request-id", "r", "--send", "caller")
    assert [order["state"] for order in shell.json("holds", A)] == ["SENT", "SENT"]
    assert "mine" in shell("holds", A, "--state", "SENT", "--symbol", "HYPE")
    assert shell("holds", A, "--overdue") == "no such orders\n"
    with ReservationBook.connect(BOOK, clock=lambda: 9 * 10**15) as later:
        later.sweep(A)
    assert [order["state"] for order in shell.json("holds", A, "--age-ms", "0")] in (["UNKNOWN"] * 2, [])
    assert shell.json("sweep")[0]["code"] == "OK"
    assert "flags" not in shell.json("sweep", "--sweeper", "one")[0]
    assert shell.json("sweep", "--sweeper", "two")[0]["flags"] == ["leased"]
    resolved = shell.json("resolve", A, "mine", "CANCELLED", "--operator", "ann")
    assert (resolved["code"], resolved["state"]) == ("OK", "CANCELLED")
    assert shell.json("reject", A, "mine")["code"] == "ILLEGAL_TRANSITION"
    records = shell.json("history", A, "--after", "1", "--limit", "9")
    assert [record["op"] for record in records] == ["reserve", "sweep", "resolve", "reject"]
    assert records[2]["details"]["operator"] == "ann"
    assert "resolve" in shell("history", A)
    assert [len(shell.json("holds", A, *more)) for more in ([], ["--every"])] == [1, 2]


def test_export_appends_each_record_once_and_archive_follows(shell: Shell, here: Path) -> None:
    shell("open", A, "--balance", "5")
    shell("deposit", A, "1")
    said = shell.json("export", A, "journal.jsonl")
    assert (said["records"], said["exported_version"]) == (2, 2)
    assert shell.json("export", A, "journal.jsonl")["records"] == 0
    shell("deposit", A, "1")
    assert "1 records appended" in shell("export", A, "journal.jsonl")
    lines = [json.loads(line) for line in (here / "journal.jsonl").read_text().splitlines()]
    assert [line["version"] for line in lines] == [1, 2, 3]
    assert lines[2]["after"]["balance"] == 7_000_000
    assert shell.json("archive")[0]["code"] == "OK"
    shell("export", A, "nowhere/journal.jsonl")
    assert shell.code == 6


def test_reconcile_is_a_dry_run_until_told(shell: Shell, here: Path) -> None:
    shell("open", A, "--balance", "50")
    view = {
        "as_of_us": 9 * 10**15,
        "orders": [
            {"symbol": "HYPE", "side": "bid", "lots": 2, "price_ticks": 9, "hold": 1.5, "venue_id": "77"},
        ],
        "fills": [{"fill_id": "f", "order_id": "77", "lots": 1, "fee": "0.1", "margin": "0.75"}],
        "positions": {"HYPE": 1},
        "balance": "49.9",
    }
    (here / "view.json").write_text(json.dumps(view))
    text = shell("reconcile", A, "--view", "view.json")
    assert (shell.code, "found  unheld_order  77" in text) == (1, True)
    assert shell.json("show", A)[0]["version"] == 1
    done = shell.json("reconcile", A, "--view", "view.json", "--apply")
    assert (shell.code, done["settled"]) == (0, True)
    assert shell.json("reconcile", A, "--view", "view.json")["ok"]
    assert shell.code == 0
    for broken in (
        {},
        [],
        {"as_of_us": 1, "orders": [{"side": "up"}]},
        {"as_of_us": 1, "orders": [], "fills": [{"id": 1}]},
        # Orders that are not listed are released: a list that is missing or misspelt is none.
        {"as_of_us": 1},
        {"as_of_us": 1, "orders": [], "fils": []},
    ):
        (here / "view.json").write_text(json.dumps(broken))
        shell("reconcile", A, "--view", "view.json", "--apply")
        assert (shell.code, "--view must be" in shell.err) == (2, True)
    for text in ("[" * 200_000, '{"as_of_us": ' + "1" * 5_000 + "}"):
        (here / "view.json").write_text(text)
        shell("reconcile", A, "--view", "view.json")
        assert (shell.code, "--view must be a JSON document" in shell.err) == (2, True)


def test_positions_of_legs_are_said_by_symbol_and_leg(shell: Shell, here: Path) -> None:
    shell("open", A, "--balance", "50", "--rule", "hedge_legs")
    with ReservationBook.connect(BOOK) as book:
        order = Order(
            symbol="S", side=Side.BID, lots=4, price_ticks=1, hold=0, price=Decimal(1), size=Decimal(1), leg="long"
        )
        assert book.execute(A, order, request_id="x", margin=4).ok
    for legs, code in (({"long": 4}, 0), ({"long": 4, "short": 0}, 0), ({"long": 3}, 1), ({"short": 4}, 1)):
        (here / "view.json").write_text(json.dumps({"as_of_us": 1, "orders": [], "positions": {"S": legs}}))
        shell("reconcile", A, "--view", "view.json")
        assert shell.code == code, legs


def test_what_a_failed_write_left_of_a_line_is_taken_off_before_the_export_goes_on(shell: Shell, here: Path) -> None:
    shell("open", A, "--balance", "5")
    shell("export", A, "journal.jsonl")
    shell("deposit", A, "1")
    whole = (here / "journal.jsonl").read_text()
    kept = [
        (whole + '{"account_id": "live', whole),
        (whole + '{"acc', whole),
        (whole + '{"account_id": "' + "x" * 200_000, whole),
        ('{"account_id": "l', ""),
        ("", ""),
        # What is no torn record stays, on a line of its own.
        (whole.rstrip("\n"), whole),
        ("precious, and no newline", "precious, and no newline\n"),
    ]
    for before, after in kept:
        with ReservationBook.connect(BOOK) as book:
            book._ready().execute("UPDATE accounts SET exported_version = 1")  # type: ignore[attr-defined]
        (here / "journal.jsonl").write_text(before)
        assert shell.json("export", A, "journal.jsonl")["records"] == 1
        found = (here / "journal.jsonl").read_text()
        assert found.startswith(after)
        assert json.loads(found[len(after) :])["version"] == 2


def test_an_account_that_cannot_be_read_keeps_no_other_from_being_looked_at(shell: Shell) -> None:
    for name in ("a", "b", "c"):
        shell("open", name, "--balance", "5")
    with ReservationBook.connect(BOOK) as book:
        statement = "UPDATE accounts SET terms = 'x' WHERE account_id = 'b'"
        book._ready().execute(statement)  # type: ignore[attr-defined]
    for words in (("audit",), ("show",), ("sweep",), ("archive",)):
        text = shell(*words)
        assert (shell.code, "StoreCorrupt" in shell.err or "b" in shell.err) == (5, True), (words, shell.err)
        assert "a" in text.split("\n", 1)[1 if words[0] != "audit" else 0]
        assert "c" in text


@pytest.mark.parametrize("command", ["audit", "show", "sweep", "archive"])
def test_an_account_out_of_reach_keeps_no_other_from_being_looked_at(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    for name in ("a", "b", "c", "d"):
        shell("open", name, "--balance", "5")
    method = "account" if command == "show" else command
    whole = getattr(ReservationBook, method)
    failing: dict[str, StoreError] = {}

    def partly(book: ReservationBook, account_id: str, **named: Any) -> Any:
        if account_id in failing:
            raise failing[account_id]
        return whole(book, account_id, **named)

    monkeypatch.setattr(ReservationBook, method, partly)
    failing |= {"a": StoreUnavailable("its node is gone"), "c": StoreTimeout("no answer")}
    text = shell(command, "a", "b", "c", "d")
    assert (shell.code, shell.err) == (3, "equipoise: its node is gone; account a\n")
    assert re.findall(r"^([a-d])\b", text, re.MULTILINE) == ["b", "d"]
    # Whoever sees this is to stop: it is said before what passes.
    failing["d"] = StoreCorrupt("no record")
    text = shell(command)
    assert (shell.code, shell.err) == (5, "equipoise: no record; account d\n")
    assert re.findall(r"^([a-d])\b", text, re.MULTILINE) == ["b"]


def test_audit_finds_a_contradiction_and_exits_1(shell: Shell) -> None:
    shell("open", A, "--balance", "50")
    with SqliteBook("margin.db", durability="normal") as book:
        book._ready().execute("UPDATE accounts SET all_units = 3")
    text = shell("audit", A)
    assert (shell.code, "expected 0, found 3" in text) == (1, True)
    assert shell.json("audit")[0]["findings"]
    assert shell.json("reconcile", A, "--apply")["settled"]
    shell("audit")
    assert shell.code == 0


def test_import_takes_over_a_flat_account_and_lists_its_faults(shell: Shell, here: Path) -> None:
    order = {"symbol": "EURUSD", "order_type": "BUY", "order_quantity": "0.10"}
    holdings = {"new": {**order, "order_status": "QUEUED", "execution_status": "QUEUED", "reserved_margin": "500.00"}}
    portfolio = {"balance": "10000.00", "used_margin_executed": "0", "used_margin_all": "1750.50"}
    (here / "flat.json").write_text(json.dumps({"portfolio": portfolio, "holdings": holdings}))
    text = shell("import", A, "flat.json", "--lot", "0.01")
    assert shell.code == 0
    assert "total  live:6  used_margin_all  said 1750.50, taken 500.000000" in text
    assert shell.json("show", A)[0]["free"] == "9500.000000"
    (here / "flat.json").write_text(json.dumps({"portfolio": {"balance": "x"}, "holdings": {}}))
    assert shell.json("import", "other", "flat.json")["done"] is False
    assert shell.code == 1


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["show"], 2, "a book that is there"),
        (["open", "a b"], 2, "free of braces and spaces"),
        (["open", "desk", "--balance", "much"], 2, "a decimal number"),
        (["open", "desk", "--position-lots-max", "7"], 2, "NAME=VALUE"),
        (["open", "desk", "--rule", "unheard"], 2, "rule must be"),
    ],
)
def test_a_wrong_call_exits_2_and_says_why(shell: Shell, words: list[str], code: int, says: str) -> None:
    shell(*words)
    assert (shell.code, says in shell.err) == (code, True)


def test_wrong_orders_are_named_by_their_place(shell: Shell, here: Path) -> None:
    shell("open", A, "--balance", "50")
    for listed, says in (
        ({}, "a JSON list of objects"),
        ([{**LADDER[0], "size": 1}], "with size"),
        ([LADDER[0], {"symbol": "X"}], "without hold"),
        ([{**LADDER[0], "side": "buy"}], "of side 'bid' or 'ask'"),
        ([{**LADDER[0], "lots": 1.5}], "orders.lots[0]"),
    ):
        (here / "ladder.json").write_text(json.dumps(listed))
        shell("reserve", A, "--input", "ladder.json")
        assert (shell.code, says in shell.err) == (2, True), shell.err
    (here / "ladder.json").write_text("{")
    shell("reserve", A, "--input", "ladder.json")
    assert (shell.code, "a JSON document" in shell.err) == (2, True)
    (here / "ladder.json").write_bytes(b'[{"symbol": "\xff"}]')
    for words in (("reserve", A, "--input"), ("reconcile", A, "--view"), ("import", A)):
        shell(*words, "ladder.json")
        assert (shell.code, "a JSON document" in shell.err) == (2, True)
    shell("holds", "nobody")
    assert (shell.code, "an open account" in shell.err) == (2, True)


def test_a_book_in_memory_and_a_torn_file_are_refused(shell: Shell, here: Path) -> None:
    shell("show", book="memory:")
    assert (shell.code, "outlives this command" in shell.err) == (2, True)
    for name in ("margin.db", "x" * 300):
        shell("show", book=f"sqlite:///{name}")
        assert (shell.code, "a book that is there" in shell.err) == (2, True)
    (here / "margin.db").write_bytes(b"not a database, but long enough to be read as one" * 40)
    shell("show")
    assert shell.code == 5
    shell("open", A, book="sqlite:///nowhere/margin.db")
    assert shell.code == 3


def test_the_book_may_come_from_the_configuration(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "equipoise.toml").write_text('[reservation]\nurl = "sqlite:///mine.db"\n')
    assert cli.main(["ledger", "open", A, "--config", "equipoise.toml", "--balance", "3"]) == 0
    monkeypatch.setenv("EQUIPOISE__RESERVATION__URL", "sqlite:///mine.db")
    assert cli.main(["ledger", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.partition("\n")[2])[0]["free"] == "3.000000"


def test_an_unknown_outcome_names_the_id_to_ask_again_with(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell("open", A, "--balance", "3")

    def lost(*_: object, **__: object) -> None:
        raise StoreTimeout("disk I/O error")

    monkeypatch.setattr(ReservationBook, "deposit", lost)
    shell("deposit", A, "1")
    assert shell.code == 3
    assert "ask again with --request-id cli:" in shell.err


def test_an_interrupt_while_the_answer_is_awaited_names_the_id(here: Path) -> None:
    pytest.importorskip("redis", reason="the extra `redis` is not installed")
    from tests import servers

    with servers.Server() as server, server.client() as client:
        with ReservationBook.connect(server.url) as book:
            book.open_account(A, 1)
            book.deposit(A, 1, request_id="warm")
        client.execute_command("CLIENT", "PAUSE", 20_000, "WRITE")
        # A job started in the background inherits an ignored interrupt, and so do its children.
        script = "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        script += "from equipoise.cli import main\nsys.exit(main(sys.argv[1:]))\n"
        words = ["ledger", "deposit", A, "7", "--book", server.url]
        process = subprocess.Popen([sys.executable, "-c", script, *words], stderr=subprocess.PIPE, text=True)
        until = time.monotonic() + 20
        while not [one for one in client.client_list() if one["cmd"] == "evalsha"]:
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        client.execute_command("CLIENT", "UNPAUSE")
        assert process.returncode == 130
        assert err.startswith(
            "equipoise: interrupted; whether it was done is unknown: ask again with --request-id cli:"
        )
        again = [*COMMAND, "deposit", A, "7", "--book", server.url, "--request-id", err.split()[-1]]
        assert subprocess.run(again, capture_output=True, check=False).returncode == 0
        with ReservationBook.connect(server.url) as book:
            assert book.account(A).balance == 9


@pytest.mark.parametrize(("output", "code"), [(">&-", 6), (">/dev/full", 6), ("| exec 0<&-", 141)])
def test_an_answer_that_cannot_be_printed_names_the_id_on_standard_error(here: Path, output: str, code: int) -> None:
    assert real("open", A, "--balance", "3").returncode == 0
    # A reader that has gone for certain.
    wait = "sleep 0.3; " if output[0] == "|" else ""
    for more in ([], ["--json"]):
        line = shlex.join([*COMMAND, "deposit", A, "1", "--book", BOOK, *more])
        told = f"{{ {wait}{line}; echo $? >code; }} {output}"
        done = subprocess.run(["bash", "-c", told], capture_output=True, text=True, timeout=60, check=False)
        assert (here / "code").read_text() == f"{code}\n", done.stderr
        said = json.loads(done.stderr)["message"] if more else done.stderr.strip()
        assert "the answer was OK: ask again with --request-id cli:" in said
        assert real("deposit", A, "1", "--request-id", said.split()[-1]).stdout.startswith("DUPLICATE")
    with ReservationBook.connect(BOOK) as book:
        assert book.account(A).balance == 5


def test_words_that_cannot_be_written_change_no_exit_code(here: Path) -> None:
    for output in ("2>&-", "2>/dev/full"):
        line = f"{shlex.join([*COMMAND, 'show', '--book', BOOK])} {output}"
        assert subprocess.run(["bash", "-c", line], timeout=60, check=False).returncode == 2


def test_every_amount_that_is_printed_is_exact(shell: Shell) -> None:
    shell("open", A, "--balance", "0.1", "--scale", "9")
    for _ in range(3):
        shell("deposit", A, "0.100000001")
    assert Decimal(shell.json("show")[0]["balance"]) == Decimal("0.400000003")
    with ReservationBook.connect(BOOK) as book:
        assert book.deposit(A, 1, request_id="x").code is Code.OK
