"""Run every bench of this folder in turn: each module `test_*.py` has a `main(arguments)` that takes `--quick`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Run all benches with the same arguments."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"benches.{path.stem}")
        print(f"\n== {path.stem.removeprefix('test_')}")
        module.main(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
