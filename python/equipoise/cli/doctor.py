"""`equipoise doctor`: what is installed, how it was built, and whether the store keeps what it is told."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy

from equipoise._rust import BUILD_PROFILE, __version__
from equipoise.cli.text import say, say_json, table
from equipoise.config import Config, load_config
from equipoise.redaction import redact

__all__ = ["doctor"]

OPTIONAL = ("apsw", "polars", "pandas", "redis", "httpx")
DATA = "EQUIPOISE_SHARED"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: "ok", "note" (works, but know this) or "problem"."""

    name: str
    state: str
    words: str


def doctor(options: argparse.Namespace) -> int:
    """Check everything; 1 when something is a problem."""
    config = load_config(options.config, options=options.set)
    checks = [*_versions(), *_clock(), *_store(config), *_outputs(config), *_data()]
    problems = sum(check.state == "problem" for check in checks)
    if options.json:
        rows = [{"check": check.name, "state": check.state, "found": check.words} for check in checks]
        say_json({"checks": rows, "problems": problems})
    else:
        say(table([[check.state, check.name, check.words] for check in checks], left=(0, 1, 2)))
    return 1 if problems else 0


def _versions() -> Iterator[Check]:
    yield Check("equipoise", "ok", __version__)
    debug = BUILD_PROFILE != "release"
    yield Check("build", "note" if debug else "ok", f"{BUILD_PROFILE}{', slow: build with --release' if debug else ''}")
    yield Check("python", "ok", f"{platform.python_version()} ({sys.implementation.name}), {platform.system()}")
    yield Check("numpy", "ok", numpy.__version__)
    for name in OPTIONAL:
        try:
            yield Check(name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Check(name, "note", "not installed (optional)")


def _clock() -> Iterator[Check]:
    now, resolution = time.gmtime(), time.get_clock_info("time").resolution
    state = "ok" if now.tm_year >= 2024 and resolution <= 1e-3 else "problem"
    yield Check("clock", state, f"{time.strftime('%Y-%m-%d %H:%M:%S', now)} UTC, resolution {resolution:.0e} s")


def _store(config: Config) -> Iterator[Check]:
    yield _sqlite_library()
    url = config.reservation.url
    scheme = url.partition(":")[0]
    if scheme == "memory":
        yield Check("store", "note", "memory: holds are gone when the process ends")
    elif scheme == "sqlite":
        yield from _sqlite_file(url)
    else:
        yield Check("store", "note", f"{redact('url', url)}: not checked by this version")


def _sqlite_library() -> Check:
    from equipoise.reservation.sqlite_engine import SQLITE_OLDEST, wal_reset_is_fixed

    try:
        words = f"{metadata.version('apsw').rpartition('.')[0]} through apsw"
    except metadata.PackageNotFoundError:
        words = f"{sqlite3.sqlite_version} of the standard library"
    major, minor, patch = (int(part) for part in words.split()[0].split(".")[:3])
    if (major, minor, patch) < SQLITE_OLDEST:
        return Check("sqlite", "problem", f"{words}; {'.'.join(map(str, SQLITE_OLDEST))} or later is needed")
    if not wal_reset_is_fixed((major, minor, patch)) and "apsw" not in words:
        return Check(
            "sqlite", "note", f"{words}: one process at a time; install apsw to share a book between processes"
        )
    return Check("sqlite", "ok", words)


def _sqlite_file(url: str) -> Iterator[Check]:
    where = Path(url.partition("://")[2].partition("?")[0].removeprefix("/"))
    if not (where.parent.is_dir() and os.access(where.parent, os.W_OK)):
        yield Check("store", "problem", f"{where.parent} is not a folder that can be written to")
        return
    yield _flush(where.parent)
    if not where.exists():
        yield Check("store", "ok", f"{where} does not exist yet; it will be made")
        return
    try:
        with contextlib.closing(sqlite3.connect(f"file:{where}?mode=ro", uri=True, timeout=1.0)) as connection:
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            sound = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        yield Check("store", "problem", f"{where}: {error}")
        return
    state = "ok" if (mode, sound) == ("wal", "ok") else "problem"
    yield Check("store", state, f"{where}: {mode} journal, check {sound}")


def _flush(folder: Path) -> Check:
    """How long the disk takes to keep something; a disk that takes no time at all keeps nothing."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(5):
            file.write(b"\0" * 4096)
            file.flush()
            start = time.perf_counter()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - start) * 1e3)
    half = sorted(times)[2]
    words = f"a flush takes {half:.2f} ms"
    return Check(
        "disk", "note" if half < 0.01 else "ok", f"{words}: it may not reach the disk" if half < 0.01 else words
    )


def _outputs(config: Config) -> Iterator[Check]:
    for name in ("html", "record"):
        target = getattr(config.report, name)
        if not target:
            continue
        folder = Path(target).parent
        while not folder.exists():
            folder = folder.parent
        writable = folder.is_dir() and os.access(folder, os.W_OK)
        words = target if writable else f"{target} cannot be written"
        yield Check(f"report.{name}", "ok" if writable else "problem", words)


def _data() -> Iterator[Check]:
    folder = Path(os.environ.get(DATA, "../shared")) / "data"
    if folder.is_dir():
        yield Check("recorded data", "ok", str(folder))
    else:
        yield Check("recorded data", "note", f"none in {folder}; run uses the seeded generator")
