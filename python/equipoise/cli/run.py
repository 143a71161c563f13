"""`equipoise run` and `equipoise replay`: quote, hold, place, fill and release over a market."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.summary import summary, summary_text
from equipoise.cli.text import Progress, say, say_json, table
from equipoise.config import Config, load_config
from equipoise.quoter import Policy
from equipoise.record import RunRecord, save_record
from equipoise.report import write_report
from equipoise.report.text import integer, significant

if TYPE_CHECKING:
    from equipoise.policies import PolicyComparison
    from equipoise.replay import Replayed
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
    if options.compare:
        return _both(options, config)
    tape = open_market(options.tape, config)
    plan = replace(config.replay(), events_max=options.events)
    with Progress("replay", quiet=options.quiet or options.json) as progress:

        def show(events: int, _: int) -> None:
            share = tape.progress if options.events is None else max(tape.progress, events / options.events)
            progress.update(share, f"{integer(events)} events")

        ended = replay(tape, plan, title=config.report.title, progress=show)
    record = replace(ended.record, settings=config.settings())
    files = _write(record, config)
    holds, agree = _ended(ended)
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


def _ended(run: Replayed) -> tuple[bool, bool]:
    """Whether nothing is held at the end, and whether book and venue agree on the balance."""
    holds = run.flat and run.used_margin_all == 0 and run.used_margin_executed == 0
    return holds, run.balance_book == run.balance_venue


def _both(options: argparse.Namespace, config: Config) -> int:
    """Both policies on the same market; 1 when either run ended as `run` says it must not."""
    from equipoise.policies import compare_policies

    plan = replace(config.replay(), events_max=options.events)
    with Progress("replay", quiet=options.quiet or options.json) as progress:

        def show(policy: str, tape: Tape, events: int) -> None:
            share = tape.progress if options.events is None else max(tape.progress, events / options.events)
            progress.update(0.5 * (share + (policy == "joint")), f"{policy}, {integer(events)} events")

        found, ended = compare_policies(lambda: open_market(options.tape, config), plan, progress=show)
    files = _write_both(found, config)
    good = all(_ended(run) == (True, True) and run.record.refused_for_margin == 0 for run in ended)
    if options.json:
        say_json({**found.to_dict(), "runs": [summary(run.record) for run in ended], "good": good, "files": files})
        return 0 if good else 1
    rows = [
        [
            f"{measure.name}, {measure.unit}",
            *(significant(value, 4) for value in (measure.inventory, measure.joint, measure.difference)),
            f"{significant(measure.low, 3)} … {significant(measure.high, 3)}" if math.isfinite(measure.low) else "",
            measure.finding,
        ]
        for measure in found.measures
    ]
    say(table(rows, head=["", "inventory", "joint", "difference", "95 % interval", "joint is"], left=(0, 5)))
    say()
    refused = sum(run.record.refused_for_margin for run in ended)
    closing = [
        ["fills", " and ".join(integer(count) for count in found.fills)],
        ["refused for margin", integer(refused)],
        ["at the end", "flat, nothing held, balances agree" if good or refused else "NOT flat, or balances DIFFER"],
        *([name, path] for name, path in files.items()),
    ]
    say(table(closing, left=(0, 1)))
    say()
    say(found.verdict)
    return 0 if good else 1


def _write_both(found: PolicyComparison, config: Config) -> dict[str, str]:
    """Save what is asked for; a record's file name ends in its policy."""
    records = []
    files: dict[str, str] = {}
    for record in (found.inventory, found.joint):
        chosen = replace(config, quoter=replace(config.quoter, policy=Policy(record.policy)))
        records.append(replace(record, settings=chosen.settings()))
        if config.report.record:
            path = Path(config.report.record)
            path.parent.mkdir(parents=True, exist_ok=True)
            path = path.with_stem(f"{path.stem}-{record.policy}")
            files[f"record, {record.policy}"] = str(save_record(records[-1], path))
    if config.report.html:
        files["report"] = str(write_report(records, config.report.html, policies=found))
    return files


def _overrides(options: argparse.Namespace) -> list[str]:
    """Options with a place in the configuration, as overrides of it; those of --set come last and win."""
    named = {
        "market.symbol": options.symbol,
        "quoter.policy": options.policy,
        "report.html": options.report,
        "report.record": options.record,
    }
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
