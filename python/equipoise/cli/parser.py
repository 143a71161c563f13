"""The words of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module

from equipoise._rust import __version__
from equipoise.cli.completion import SHELLS, completion
from equipoise.cli.ledger_parser import add_ledger
from equipoise.cli.text import say

__all__ = ["build_parser"]

Run = Callable[[argparse.Namespace], int]


def _lazy(module: str, name: str) -> Run:
    """A command whose module is imported when it runs, so that help and completion start at once."""

    def run(options: argparse.Namespace) -> int:
        command: Run = getattr(import_module(f"equipoise.cli.{module}"), name)
        return command(options)

    return run


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = argparse.ArgumentParser(
        prog="equipoise",
        description="Quote both sides of a market from one margin, and never promise that margin twice.",
        epilog="Exit codes: 0 good, 1 bad outcome, 2 wrong call or configuration, 3 store, 4 venue, 5 store corrupt, "
        "6 file, 70 defect, 130 interrupted.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"equipoise {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    init = _command(commands, "init", "write a commented configuration file", _lazy("basic", "init"))
    init.add_argument("path", nargs="?", default="equipoise.toml", help="file to write (equipoise.toml)")
    init.add_argument("--force", action="store_true", help="replace a file that is there")

    config = commands.add_parser("config", help="show the configuration or its schema", allow_abbrev=False)
    parts = config.add_subparsers(title="commands", metavar="COMMAND", required=True)
    show = _command(parts, "show", "the configuration as it is used, secrets hidden", _lazy("basic", "config_show"))
    _configured(show)
    _command(parts, "schema", "the configuration as a JSON schema", _lazy("basic", "config_schema"))

    _quote(_command(commands, "quote", "one ladder for one market and account", _lazy("quote", "quote")))

    run = _command(commands, "run", "quote a generated or recorded market on the paper venue", _lazy("run", "run"))
    run.add_argument("tape", nargs="*", help="recordings, one after the other; none: the seeded generator")
    _driven(run)
    replay = _command(commands, "replay", "quote a recorded market on the paper venue", _lazy("run", "run"))
    replay.add_argument("tape", nargs="+", help="recordings, one after the other")
    _driven(replay)

    report = _command(commands, "report", "make the HTML report of saved runs", _lazy("basic", "report"))
    report.add_argument("record", nargs="+", help="records saved by run or replay (.npz)")
    report.add_argument("--out", default="report.html", metavar="FILE", help="file to write (report.html)")
    report.add_argument("--compare", action="store_true", help="compare two records that differ in their policy")
    report.add_argument("--before", metavar="FILE", help="record of the older way, for the before/after table")

    books = commands.add_parser("ledger", help="the reservation book: accounts, holds, journal", allow_abbrev=False)
    steps = books.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def step(name: str, words: str) -> argparse.ArgumentParser:
        made = _command(steps, name, words, _lazy("ledger", "ledger"))
        made.set_defaults(command=name)
        made.add_argument("--book", metavar="URL", help="the book (reservation.url of the configuration)")
        _configured(made)
        return made

    add_ledger(step)

    doctor = _command(commands, "doctor", "check versions, build, store and data", _lazy("doctor", "doctor"))
    _configured(doctor)

    complete = _command(commands, "completion", "print the completion script of a shell", _completion)
    complete.add_argument("shell", choices=SHELLS, help="bash, zsh or fish")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, words: str, run: Run
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".", allow_abbrev=False)
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--debug", action="store_true", help="show where an error happened")
    return parser


def _configured(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="configuration file; the defaults where there is none")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override one key; may be repeated"
    )


def _driven(parser: argparse.ArgumentParser) -> None:
    _configured(parser)
    parser.add_argument("--symbol", help="instrument to replay (market.symbol)")
    parser.add_argument("--policy", choices=POLICIES, help="how both sides share the margin (quoter.policy)")
    parser.add_argument(
        "--compare", action="store_true", help="run the market under both policies, and compare them in the report"
    )
    parser.add_argument("--events", type=_positive, metavar="N", help="stop after N market events")
    parser.add_argument("--report", metavar="FILE", help="report to write (report.html); '' for none")
    parser.add_argument("--record", metavar="FILE", help="record to save (report.record); '' for none")
    parser.add_argument("--quiet", action="store_true", help="no progress line")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _quote(parser: argparse.ArgumentParser) -> None:
    _configured(parser)
    parser.add_argument("--input", metavar="FILE", help="read the options below from a JSON object (-: standard input)")
    market = parser.add_argument_group("market")
    market.add_argument("--symbol", help="name of the instrument (X)")
    for name, words in (
        ("bid", "best bid"),
        ("ask", "best ask"),
        ("mark", "mark price (the middle)"),
        ("tick", "price step (0.01)"),
        ("lot", "size step (0.01)"),
        ("notional-min", "smallest order value (10)"),
    ):
        market.add_argument(f"--{name}", metavar="X", help=words)
    account = parser.add_argument_group("account")
    for name, words in (
        ("margin", "margin available, account currency"),
        ("leverage", "leverage (10)"),
        ("position", "position in contracts, long above 0 (0)"),
        ("position-max", "limit on the position (what the margin carries)"),
    ):
        account.add_argument(f"--{name}", metavar="X", help=words)
    account.add_argument("--rule", metavar="NAME", help="order-margin rule (sum)")
    account.add_argument("--policy", choices=POLICIES, help="how both sides share the margin (inventory)")
    shape = parser.add_argument_group("shape of the ladder", "the worked example of docs/shape.md where not given")
    for name, words in SHAPE:
        shape.add_argument(f"--{name}", metavar="X", help=words)


POLICIES = ("inventory", "joint")
"""Spelled out: the quoter is not imported for help."""

SHAPE = (
    ("volatility", "per root second, as a fraction of price (0.0001)"),
    ("fill-rate", "orders hit at the middle, per second (0.3)"),
    ("fill-decay", "decay of that rate, per fraction of price (1500)"),
    ("horizon-s", "seconds an order may wait (10)"),
    ("risk-aversion", "per unit of account currency (0.3)"),
    ("unit", "reference order in contracts (a tenth of the limit)"),
    ("adverse-bps", "adverse selection at the middle (3)"),
    ("adverse-decay-bps", "depth over which it falls by 1/e (8)"),
    ("fee-bps", "maker fee (1.5)"),
)


def _completion(options: argparse.Namespace) -> int:
    say(completion(build_parser(), options.shell).rstrip("\n"))
    return 0
