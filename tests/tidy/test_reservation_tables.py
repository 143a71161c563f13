"""The tables of invariants and schedules are whole, and their columns say where a test runs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EVERY_STORE = {"book", "proven"}
"""Fixtures that give one book on each store in turn."""


def rows(label: str) -> dict[int, list[list[str]]]:
    """Names of the tests of each column, by number of the row."""
    found = {}
    for line in (ROOT / "docs/reservation.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 4 and re.fullmatch(rf"{label}\d+", cells[0]):
            found[int(cells[0].removeprefix(label))] = [re.findall(r"`(test_\w+)`", cell) for cell in cells[2:]]
    return found


def arguments() -> dict[str, set[str]]:
    """Arguments of every test of the reservation book and of its crashes."""
    found: dict[str, set[str]] = {}
    for folder in ("reservation", "crash"):
        for path in (ROOT / "tests" / folder).glob("test_*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                    assert node.name not in found, f"two tests are named {node.name}"
                    found[node.name] = {argument.arg for argument in node.args.args}
    return found


def test_every_invariant_and_schedule_names_tests_that_run_where_the_table_says() -> None:
    known = arguments()
    for label in ("I", ""):
        table = rows(label)
        assert list(table) == list(range(1, 20)), label
        for number, (everywhere, on_one) in table.items():
            assert everywhere or on_one, (label, number)
            for name in (*everywhere, *on_one):
                assert name in known, name
            assert all(known[name] & EVERY_STORE for name in everywhere), (label, number)
            assert not any(known[name] & EVERY_STORE for name in on_one), (label, number)
            if not label:
                assert any(name.startswith(f"test_schedule_{number}_") for name in everywhere), number


def test_every_test_that_is_named_for_an_invariant_or_a_schedule_is_in_its_row() -> None:
    tables = {"i": rows("I"), "schedule_": rows("")}
    named = re.compile(r"(i|schedule_)(\d+)_")
    for name in arguments():
        rest = name.removeprefix("test_")
        while (found := named.match(rest)) is not None:
            row = tables[found[1]][int(found[2])]
            assert any(name in column for column in row), name
            rest = rest[found.end() :]
