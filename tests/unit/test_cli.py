"""Commands print what they found, exit with what it means, and never show a traceback."""

from __future__ import annotations

import io
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import equipoise
from equipoise import cli
from equipoise.cli.completion import SHELLS, completion
from equipoise.cli.parser import build_parser
from equipoise.cli.text import Progress, table
from equipoise.config import Config, config_text, load_config
from equipoise.errors import (
    InputError,
    StoreCorrupt,
    StoreTimeout,
    StoreUnavailable,
    VenueRejected,
    VenueTimeout,
)
from equipoise.record import RunRecord, load_record, save_record
from equipoise.tape.events import BookSnapshot, MarketEvent, Quotes, Taker, Trade

COMMAND = [sys.executable, "-m", "equipoise"]
LADDER = ["--bid", "27.10", "--ask", "27.12", "--margin", "397.49", "--position-max", "146.62", "--tick", "0.001"]


class Walk:
    """A seeded market: books, quotes and trades around a random walk, one event each 200 ms."""

    source = "a seeded walk"
    symbol = "WALK"
    tick = Decimal("0.01")
    lot = Decimal("0.01")

    def __init__(self, count: int = 3_000) -> None:
        self.count = count
        self.progress = 0.0

    def __iter__(self) -> Iterator[MarketEvent]:
        draw = random.Random(5)
        bid = 20_000
        for index in range(self.count):
            self.progress = (index + 1) / self.count
            local = 1_700_000_000_000_000_000 + index * 200_000_000
            bid += draw.choice((-1, 0, 0, 0, 1))
            kind = index % 4
            if kind == 0:
                bids = tuple(bid - step for step in range(5))
                asks = tuple(bid + 1 + step for step in range(5))
                yield BookSnapshot(local, local, bids, (500,) * 5, asks, (500,) * 5)
            elif kind in {1, 3}:
                taker = draw.choice((Taker.BUY, Taker.SELL))
                depth = draw.randint(0, 30)
                price = bid + 1 + depth if taker is Taker.BUY else bid - depth
                yield Trade(local, local, price, draw.randint(1, 400), taker, index)
            else:
                yield Quotes(local, local, bid, 500, bid + 1, 500)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("EQUIPOISE__"):
            monkeypatch.delenv(name)
    return tmp_path


def test_init_writes_the_defaults_and_does_not_replace_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init"]) == 0
    assert (here / "equipoise.toml").read_text() == config_text()
    assert load_config("equipoise.toml", environ={}) == Config()
    (here / "equipoise.toml").write_text("[quoter]\nlevels = 3\n")
    assert cli.main(["init"]) == 2
    assert "--force" in capsys.readouterr().err
    assert (here / "equipoise.toml").read_text() == "[quoter]\nlevels = 3\n"
    assert cli.main(["init", "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": "equipoise.toml"}


def test_config_show_says_what_would_be_used(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "c.toml").write_text("[quoter]\nlevels = 3\n")
    assert cli.main(["config", "show", "--config", "c.toml", "--set", "account.leverage=7", "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)
    assert settings["quoter"]["levels"] == "3"
    assert settings["account"]["leverage"] == "7"
    assert cli.main(["config", "show"]) == 0
    assert "levels = 5" in capsys.readouterr().out


def test_config_schema_is_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Equipoise configuration"


def test_quote_prints_a_ladder_that_fits_its_margin(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["quote", *LADDER]) == 0
    out = capsys.readouterr().out
    held, usable = re.search(r"margin held +([\d.]+) of ([\d.]+)", out).groups()  # type: ignore[union-attr]
    assert Decimal(held) <= Decimal(usable) == Decimal("397.49")
    assert Decimal(held) > Decimal(390), "a single ladder keeps no room for moves of the mark"
    assert [len(re.findall(rf"^{side} +[\d.]+ ", out, re.MULTILINE)) for side in ("bid", "ask")] == [5, 5]
    assert re.search(r"certificate +holds", out)


def test_quote_takes_json_in_and_gives_json_out(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"bid": 27.10, "ask": "27.12", "margin": 397.49, "position_max": 146.62, "tick": "0.001"}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(fields)))
    assert cli.main(["quote", "--input", "-", "--json", "--set", "quoter.levels=3"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["bids"]["price"]) == len(answer["asks"]["price"]) == 3
    assert Decimal(answer["margin_held"]) <= Decimal("397.49")
    (here / "q.json").write_text(json.dumps({**fields, "margn": 3}))
    assert cli.main(["quote", "--input", "q.json"]) == 2
    assert "margn" in capsys.readouterr().err
    (here / "q.json").write_bytes(b'{"bid": "\xff"}')
    assert cli.main(["quote", "--input", "q.json"]) == 2
    assert "--input must be JSON" in capsys.readouterr().err


def test_quote_leaves_the_room_for_the_mark_that_the_file_asks_for(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["quote", *LADDER, "--set", "quoter.mark_buffer_bps=200"]) == 0
    held = re.search(r"margin held +([\d.]+)", capsys.readouterr().out)[1]  # type: ignore[index]
    assert Decimal(held) < Decimal(395)


def test_quote_exits_1_when_nothing_can_be_quoted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["quote", "--bid", "27.1", "--ask", "27.12", "--margin", "0.3"]) == 1
    out = capsys.readouterr().out
    assert "nothing can be quoted" in out
    assert "NOTIONAL" in out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["quote", "--bid", "27.1", "--ask", "27.12"], "--margin"),
        (["quote", "--bid", "27.1x", "--ask", "27.12", "--margin", "1"], "--bid"),
        (["quote", "--bid", "nan", "--ask", "27.12", "--margin", "1"], "--bid"),
        (["quote", "--bid", "27.105", "--ask", "27.12", "--margin", "1"], "bid"),
        (["quote", "--bid", "27.1", "--ask", "27.12", "--margin", "1", "--leverage", "0.5"], "leverage"),
        (["quote", "--bid", "27.1", "--ask", "27.12", "--margin", "1", "--rule", "nowhere"], "rule"),
        (["quote", "--bid=-1", "--ask", "1", "--margin", "1"], "--mark"),
        (["quote", *LADDER, "--set", "quoter.lvels=3"], "quoter.levels"),
        (["quote", *LADDER, "--config", "none.toml"], "config"),
        (["report", "none.npz"], "none.npz"),
        (["run", "none.csv"], "none.csv"),
    ],
)
def test_a_wrong_call_is_one_line_with_the_name_and_exit_2(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    assert cli.main(words) == 2
    err = capsys.readouterr().err
    assert named in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_errors_are_json_too_when_asked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["quote", "--json", *LADDER, "--set", "quoter.lvels=3"]) == 2
    fault = json.loads(capsys.readouterr().err)
    assert fault["argument"] == "quoter.lvels"
    assert fault["exit_code"] == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a", None, "b", "c"), 2),
        (StoreUnavailable("x"), 3),
        (StoreTimeout("x"), 3),
        (StoreCorrupt("x"), 5),
        (VenueRejected("x"), 4),
        (VenueTimeout("x"), 4),
        (PermissionError(13, "denied", "f"), 6),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("x"), 70),
    ],
)
def test_every_error_has_its_exit_code(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(options: object) -> int:
        raise error

    monkeypatch.setattr("equipoise.cli.basic.init", fail)
    assert cli.main(["init"]) == code
    err = capsys.readouterr().err
    assert err.startswith("equipoise: ")
    assert err.count("\n") == 1
    if code == 70:
        assert "defect" in err
        assert cli.main(["init", "--debug"]) == code
        assert "Traceback" in capsys.readouterr().err


def test_usage_errors_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        [],
        ["nothing"],
        ["quote", "--nothing"],
        ["replay"],
        ["completion", "tcsh"],
        ["run", "--events", "0"],
    ):
        with pytest.raises(SystemExit) as caught:
            cli.main(words)
        assert caught.value.code == 2
    assert capsys.readouterr().err


def test_run_quotes_a_market_and_leaves_report_and_record(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.cli.run.open_market", lambda paths, config: Walk())
    code = cli.main(["run", "--json", "--report", "r/page.html", "--record", "r/run.npz"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["files"] == {"record": "r/run.npz", "report": "r/page.html"}
    assert answer["orders"] > 0
    assert answer["flat"]
    assert answer["margin_held_at_end"] == 0
    assert code == (1 if answer["refused_for_margin"] else 0)
    assert (here / "r/page.html").read_text().startswith("<!DOCTYPE html>")
    record = load_record("r/run.npz")
    assert record.settings["quoter"]["levels"] == "5"
    assert cli.main(["report", "r/run.npz", "--out", "again.html"]) == 0
    assert (here / "again.html").read_text() == (here / "r/page.html").read_text()


def test_quote_under_joint_says_which_ladder_it_is_and_at_what_prices(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["quote", *LADDER, "--policy", "joint", "--position", "25"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"ladder +(joint|inventory) \(worth", out)
    for row in ("ask share", "worth", "price of margin", "price of inventory"):
        assert re.search(rf"^{row} +", out, re.MULTILINE)
    assert cli.main(["quote", *LADDER, "--policy", "joint", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["policy"] == "joint"
    assert answer["joint"]["objective"] >= answer["joint"]["objective_inventory"]
    assert cli.main(["quote", *LADDER, "--set", "quoter.policy=joint", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == answer
    assert cli.main(["quote", *LADDER, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["policy"] == "inventory"


def test_run_takes_the_policy_and_compares_both(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.cli.run.open_market", lambda paths, config: Walk())
    cli.main(["run", "--policy", "joint", "--json", "--report", "", "--record", "one.npz"])
    capsys.readouterr()
    assert load_record("one.npz").policy == "joint"
    files = ["--report", "both.html", "--record", "both.npz"]
    code = cli.main(["run", "--compare", "--json", *files])
    answer = json.loads(capsys.readouterr().out)
    assert code == (0 if answer["good"] else 1)
    assert answer["files"] == {
        "record, inventory": "both-inventory.npz",
        "record, joint": "both-joint.npz",
        "report": "both.html",
    }
    assert [run["refused_for_margin"] for run in answer["runs"]] == [0, 0]
    assert {"realised profit", "idle margin, mean", "turnover"} <= {entry["name"] for entry in answer["measures"]}
    joint = load_record("both-joint.npz")
    assert joint.settings["quoter"]["policy"] == "joint"
    assert joint.samples["mid"].tolist() == load_record("one.npz").samples["mid"].tolist()
    assert "Inventory rule against joint policy" in (here / "both.html").read_text()
    assert cli.main(["report", "--compare", "both-joint.npz", "both-inventory.npz", "--out", "again.html"]) == 0
    assert answer["verdict"] in (here / "again.html").read_text()
    capsys.readouterr()
    cli.main(["run", "--compare", "--report", "", "--record", ""])
    out = capsys.readouterr().out
    assert re.search(r"^realised profit, USD +", out, re.MULTILINE)
    assert answer["verdict"] in out
    assert cli.main(["report", "--compare", "both-joint.npz", "--out", "no.html"]) == 2
    assert "--compare" in capsys.readouterr().err


def test_run_prints_every_refusal_reason_with_its_zero(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.cli.run.open_market", lambda paths, config: Walk(2_000))
    cli.main(["run", "--report", "", "--record", "", "--events", "1500"])
    out = capsys.readouterr().out
    for reason in ("MARGIN_AT_PLACEMENT", "MARGIN_AT_MATCH", "MARK_MOVED"):
        assert re.search(rf"{reason} +\d", out)
    assert "flat, nothing held" in out
    assert list(here.iterdir()) == []


def test_run_exits_1_when_an_order_was_refused(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from equipoise import replay as driver

    real = driver.replay

    def refused(*args: Any, **kwargs: Any) -> Any:
        ended = real(*args, **kwargs)
        return dataclasses.replace(ended, record=dataclasses.replace(ended.record, refusals={"MARGIN_AT_MATCH": 1}))

    monkeypatch.setattr(driver, "replay", refused)
    monkeypatch.setattr("equipoise.cli.run.open_market", lambda paths, config: Walk(500))
    assert cli.main(["run", "--report", "", "--record", ""]) == 1


def test_report_compares_two_saved_runs(here: Path, capsys: pytest.CaptureFixture[str], make_record: Any) -> None:
    older: RunRecord = make_record(seed=3, count=80, title="older way", refusals={"MARGIN": 40})
    save_record(make_record(count=80), "new.npz")
    save_record(older, "old.npz")
    assert cli.main(["report", "new.npz", "--before", "old.npz", "--out", "page.html", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 1
    page = (here / "page.html").read_text()
    assert "Before and after" in page
    assert "older way" in page


def test_doctor_reports_versions_and_store(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    checks = {check["check"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["equipoise"]["found"] == equipoise.__version__
    assert checks["store"]["state"] == "note"
    assert {"build", "python", "numpy", "sqlite", "clock", "recorded data"} <= checks.keys()


def test_doctor_finds_a_store_that_cannot_be_used(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--set", "reservation.url=sqlite:///missing/margin.db"]) == 1
    assert re.search(r"^problem +store +missing", capsys.readouterr().out, re.MULTILINE)
    (here / "broken.db").write_bytes(b"SQLite format 3\x00" + b"\xff" * 4_096)
    assert cli.main(["doctor", "--set", "reservation.url=sqlite:///broken.db"]) == 1
    with equipoise.ReservationBook.connect("sqlite:///good.db") as book:
        book.open_account("a", balance="10", currency="USD", rule="sum")
    capsys.readouterr()
    assert cli.main(["doctor", "--set", "reservation.url=sqlite:///good.db"]) == 0
    assert re.search(r"^ok +store +good.db: wal journal, check ok", capsys.readouterr().out, re.MULTILINE)


# -- as a process ----------------------------------------------------------------------------------------------------


def test_the_module_runs_as_a_program(here: Path) -> None:
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"equipoise {equipoise.__version__}\n"


def test_a_reader_that_leaves_early_is_no_error(here: Path) -> None:
    line = f"set -o pipefail; {shlex.join([*COMMAND, 'config', 'schema'])} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() in {"141", "0"}


def test_ctrl_c_ends_with_one_line_and_130(here: Path) -> None:
    # A job started in the background inherits an ignored interrupt, and so do its children.
    script = "import signal, sys, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    script += "from equipoise.cli import basic, main\n"
    script += "basic.init = lambda options: (print('ready', flush=True), time.sleep(30))\nsys.exit(main(['init']))\n"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "equipoise: interrupted\n"


# -- completion ------------------------------------------------------------------------------------------------------


def every_word() -> set[str]:
    words = set()

    def walk(parser: Any) -> None:
        for action in parser._actions:
            words.update(option for option in action.option_strings if option.startswith("--"))
            if hasattr(action, "choices") and isinstance(action.choices, dict):
                for name, child in action.choices.items():
                    words.add(name)
                    walk(child)

    walk(build_parser())
    return words


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_knows_every_command_and_option(shell: str) -> None:
    script = completion(build_parser(), shell)
    for word in every_word():
        assert word.removeprefix("--") in script, word


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_is_valid_for_its_shell(shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    script = completion(build_parser(), shell)
    options = ["-n"] if shell != "fish" else ["--no-execute"]
    done = subprocess.run([program, *options], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("equipoise ", {"init", "config", "quote", "run", "replay", "report", "ledger", "doctor", "completion"}),
        ("equipoise re", {"replay", "report"}),
        ("equipoise config ", {"show", "schema"}),
        ("equipoise ledger re", {"reserve", "reject", "resolve", "reconcile"}),
        ("equipoise config sh", {"show"}),
        ("equipoise completion ", {"bash", "zsh", "fish"}),
        ("equipoise quote --lev", {"--leverage"}),
        ("equipoise run --set a.b=c --eve", {"--events"}),
    ],
)
def test_bash_completes(here: Path, typed: str, expected: set[str]) -> None:
    words = typed.split(" ")
    lines = [
        completion(build_parser(), "bash"),
        f"COMP_WORDS=({' '.join(shlex.quote(word) for word in words)})",
        f"COMP_CWORD={len(words) - 1}",
        "_equipoise",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert expected <= found
    assert {word for word in found if not word.startswith("--")} - expected == set()


# -- text ------------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_shows_share_and_time_left_on_a_terminal_only() -> None:
    seconds = iter([0.0, 10.0, 10.01, 20.0])
    stream = Terminal()
    with Progress("replay", stream=stream, now=lambda: next(seconds)) as progress:
        progress.update(0.25, "5 events")
        progress.update(0.26, "too soon")
        progress.update(0.5, "9 events")
    drawn = stream.getvalue()
    assert "25%  0:30 left  5 events" in drawn
    assert "50%  0:20 left  9 events" in drawn
    assert "too soon" not in drawn
    assert drawn.endswith("\r")
    silent = io.StringIO()
    with Progress("replay", stream=silent) as progress:
        progress.update(0.5)
    with Progress("replay", stream=stream, quiet=True) as progress:
        progress.update(0.5)
    assert silent.getvalue() == ""


def test_tables_align_figures_to_the_right() -> None:
    assert table([["a", "1"], ["bbb", "1,000"]]).splitlines() == ["a        1", "bbb  1,000"]
    assert table([]) == ""


def test_run_without_a_tape_quotes_the_generated_market_and_ends_flat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = cli.main(
        [
            "run",
            "--json",
            "--set",
            "market.seconds=420",
            "--set",
            "quoter.on_unprofitable=least_bad",
            "--report",
            "run.html",
        ]
    )
    printed = json.loads(capsys.readouterr().out)
    assert code == 0
    assert printed["flat"] is True
    assert printed["margin_held_at_end"] == 0
    assert printed["orders"] > 0
    assert (tmp_path / "run.html").stat().st_size > 50_000
