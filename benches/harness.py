"""What every wall-clock bench shares: interleaved timing, its summary as a table, the machine, the command line."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from equipoise import _rust

__all__ = [
    "PROBLEMS",
    "Call",
    "bound_to",
    "command_line",
    "cores",
    "interleave",
    "machine",
    "print_rows",
    "ratio",
    "refuse_debug",
    "summary",
]

PROBLEMS = 32
"""Different problems a bench goes through, so that no call repeats the one before."""

Call = tuple[int, Callable[[int], object]]
"""How often a call is made in its turn, and the call; it is given the index of a problem."""


def cores() -> set[int]:
    """Those that this process may run on; none where the system does not say."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


@contextmanager
def bound_to(some: set[int]) -> Iterator[None]:
    """The calling thread, and those it starts, on these cores, where the system allows it."""
    before = cores()
    if before:
        os.sched_setaffinity(0, some)
    try:
        yield
    finally:
        if before:
            os.sched_setaffinity(0, before)


def machine() -> str:
    """Processor, cores, load and versions."""
    model = platform.processor() or "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        model = next(
            (line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")),
            model,
        )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{model}, {os.cpu_count()} cores, load {load:.1f}, CPython {platform.python_version()}, numpy {np.__version__}"
    )


def refuse_debug() -> None:
    """Stop unless the extension is a release build."""
    if _rust.BUILD_PROFILE != "release":
        raise SystemExit(f"built with profile {_rust.BUILD_PROFILE!r}: time a release build")


def interleave(calls: Mapping[str, Call], rounds: int, *, both_ways: bool = False) -> dict[str, list[float]]:
    """Seconds a call, one figure a round: in every round each peer runs its batch once, in turn.

    `both_ways`: every other round in the opposite order, where it matters after whom one comes.
    """
    figures: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        order = list(calls.items())
        for name, (batch, call) in reversed(order) if both_ways and turn % 2 else order:
            start = time.perf_counter()
            for index in range(batch):
                call((turn + index) % PROBLEMS)
            figures[name].append((time.perf_counter() - start) / batch)
    return figures


def summary(figures: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """Median, 99th and 99.9th percentile, least and most of each row."""
    return {
        name: {
            "p50": statistics.median(values),
            "p99": sorted(values)[min(len(values) - 1, int(0.99 * len(values)))],
            "p999": sorted(values)[min(len(values) - 1, int(0.999 * len(values)))],
            "min": min(values),
            "max": max(values),
        }
        for name, values in figures.items()
    }


def ratio(figures: Mapping[str, list[float]], peer: str, ours: str) -> float:
    """Median over rounds of what the peer takes over what we take: both measured in the same moment."""
    return statistics.median(theirs / own for theirs, own in zip(figures[peer], figures[ours], strict=True))


def print_rows(seconds: Mapping[str, Mapping[str, float]], ours: str) -> None:
    """A table in microseconds, the last column in units of our row."""
    print(f"{'':28}{'p50 us':>10}{'p99':>10}{'min':>10}{'max':>10}{'of ours':>10}")
    for name, row in seconds.items():
        cells = "".join(f"{row[key] * 1e6:10.2f}" for key in ("p50", "p99", "min", "max"))
        print(f"{name:28}{cells}{row['p50'] / seconds[ours]['p50']:10.2f}")


def command_line(
    description: str | None,
    arguments: list[str] | None,
    *,
    quick: Callable[[], dict[str, Any]],
    full: Callable[[int], dict[str, Any]],
    show: Callable[[dict[str, Any]], None],
) -> None:
    """Run a bench by its arguments: `--quick`, `--rounds N`, `--json FILE`."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0] if description else None)
    parser.add_argument("--quick", action="store_true", help="two rounds of two sizes, any build")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args(arguments)
    if not options.quick:
        refuse_debug()
    report = quick() if options.quick else full(options.rounds)
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
