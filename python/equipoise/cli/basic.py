"""Commands about files: init, config, report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.text import say, say_json
from equipoise.config import config_schema as schema_of_config
from equipoise.config import config_text, load_config
from equipoise.errors import InputError
from equipoise.record import BeforeAfter, RunRecord, load_record
from equipoise.report import outcome, write_report

if TYPE_CHECKING:
    from equipoise.policies import PolicyComparison

__all__ = ["config_schema", "config_show", "init", "report"]


def init(options: argparse.Namespace) -> int:
    """Write the commented default configuration."""
    path = Path(options.path)
    if path.exists() and not options.force:
        raise InputError("path", None, "a file that is not there yet (--force replaces it)", path)
    path.write_text(config_text(), encoding="utf-8")
    if options.json:
        say_json({"path": str(path)})
    else:
        say(f"wrote {path}; next: equipoise run --config {path}")
    return 0


def config_show(options: argparse.Namespace) -> int:
    """The configuration as it would be used."""
    settings = load_config(options.config, options=options.set).settings()
    if options.json:
        say_json(settings)
        return 0
    for section, values in settings.items():
        say(f"[{section}]")
        for name, value in values.items():
            say(f"{name} = {value}" if value else f"{name} is not set")
        say()
    return 0


def config_schema(options: argparse.Namespace) -> int:
    """The JSON schema of the configuration file."""
    del options
    say_json(schema_of_config())
    return 0


def report(options: argparse.Namespace) -> int:
    """Make the page of saved runs."""
    records = [load_record(path) for path in options.record]
    pair = None
    if options.before is not None:
        older, newer = load_record(options.before), records[0]
        if older.title == newer.title:
            pair = BeforeAfter(before=outcome(older, "Before"), after=outcome(newer, "After"))
        else:
            pair = BeforeAfter(before=outcome(older, older.title), after=outcome(newer, newer.title))
    path = write_report(records, options.out, before_after=pair, policies=_policies(options.compare, records))
    if options.json:
        say_json({"report": str(path), "records": len(records), "bytes": path.stat().st_size})
    else:
        say(f"wrote {path}")
    return 0


def _policies(wanted: bool, records: list[RunRecord]) -> PolicyComparison | None:
    """The comparison of two records that differ in their policy, whichever comes first."""
    if not wanted:
        return None
    from equipoise.policies import compare_runs

    if sorted(record.policy for record in records) != ["inventory", "joint"]:
        found = ", ".join(record.policy for record in records)
        raise InputError("--compare", None, "two records, one under each policy", found)
    inventory, joint = sorted(records, key=lambda record: record.policy)
    return compare_runs(inventory, joint)
