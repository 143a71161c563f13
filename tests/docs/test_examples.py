"""The scripts a user copies run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(name: str, cwd: Path) -> str:
    script = ROOT / "examples" / name
    done = subprocess.run([sys.executable, script], cwd=cwd, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_strategy_fills_is_never_refused_and_ends_with_nothing_held(tmp_path: Path) -> None:
    output = run("strategy.py", tmp_path)
    quotes, fills, refused = map(int, re.findall(r"(\d+) (?:quotes|fills|refused)", output))
    assert quotes > 20
    assert fills > 5
    assert refused == 0
    balance, at_venue = re.findall(r"-?\d+\.\d{6}", output)[:2]
    assert balance == at_venue
    assert "held 0.000000, audit clean" in output


def test_the_reservation_flow_shows_the_worked_example_to_the_cent(tmp_path: Path) -> None:
    lines = run("reservation_flow.py", tmp_path).splitlines()
    figures = {line[:42].strip(): re.findall(r"\d+\.\d+", line[42:])[:2] for line in lines}
    assert figures["provider order A reserves 500.00"] == ["1250.500000", "1750.500000"]
    assert figures["the provider confirms A"] == ["1750.500000", "1750.500000"]
    assert figures["the provider refuses B"] == ["1750.500000", "1750.500000"]
    assert "audit: clean" in lines
