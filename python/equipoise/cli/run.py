"""`equipoise run` and `equipoise replay`: quote, hold, place, fill and release over a market."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.summary import summary, summary_text
from equipoise.cli.text import Progress, say, say_json
from equipoise.config import Config, load_config
from equipoise.record import RunRecord, save_record
from equipoise.report import write_report
from equipoise.report.text import integer

if TYPE_CHECKING:
    from equipoise.tape import Tape

__all__ = ["open_market", "run"]


def open_market(paths: Sequence[str], config: Config) -> Tape:
    """The recordings as one tape, or the seeded generator where there are none."""
    from equipoise.tape import generate, open_tape

    if not paths:
        return generate(config.market.seed, config.market.seconds, symbol=config.market.symbol or "SOL")
    return open_tape(paths[0] if len(paths) == 1 else list(paths), symbol=config.market.symbol)


def run(options: argparse.Namespace) -> int:
    """Run the session over a market; 1 when an order was refused for margin or something is still held at the end."""
    from equipoise.replay import replay

    config = load_config(options.config, options=_overrides(options))
    tape = open_market(options.tape, config)
    plan = replace(config.replay(), events_max=options.events)
    with Progress("replay", quiet=options.quiet or options.json) as progress:

        def show(events: int, _: int) -> None:
            share = tape.progress if options.events is None else max(tape.progress, events / options.events)
            progress.update(share, f"{integer(events)} events")

        ended = replay(tape, plan, title=config.report.title, progress=show)
    record = replace(ended.record, settings=config.settings())
    files = _write(record, config)
    holds = ended.flat and ended.used_margin_all == 0 and ended.used_margin_executed == 0
    agree = ended.balance_book == ended.balance_venue
    if options.json:
        closing = {"flat": ended.flat, "margin_held_at_end": ended.used_margin_all, "balances_agree": agree}
        say_json({**summary(record), **closing, "files": files})
    else:
        rows = [
            ["at the end", "flat, nothing held" if holds else "NOT flat, or margin still held"],
            ["balances", "book and venue agree" if agree else "book and venue DIFFER"],
            *([name, path] for name, path in files.items()),
            *(["note", note] for note in record.notes[1:]),
        ]
        say(summary_text(record, rows))
    return 0 if holds and agree and record.refused_for_margin == 0 else 1


def _overrides(options: argparse.Namespace) -> list[str]:
    """Options with a place in the configuration, as overrides of it; those of --set come last and win."""
    named = {"market.symbol": options.symbol, "report.html": options.report, "report.record": options.record}
    return [*(f"{key}={value}" for key, value in named.items() if value is not None), *options.set]


def _write(record: RunRecord, config: Config) -> dict[str, str]:
    """Save what is asked for; the paths by what they are."""
    files: dict[str, str] = {}
    if config.report.record:
        Path(config.report.record).parent.mkdir(parents=True, exist_ok=True)
        files["record"] = str(save_record(record, config.report.record))
    if config.report.html:
        files["report"] = str(write_report([record], config.report.html))
    return files
