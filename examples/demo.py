"""The main job from end to end: quote a market on the paper venue, margin held first, and write the report.

Uses the recorded SOL market beside the project when it is there and the seeded generator when not, and says which.
Run by `make demo`, or with `python -m examples.demo`.
"""

from __future__ import annotations

import argparse
import os
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np

from equipoise.cli.summary import summary_text
from equipoise.cli.text import Progress
from equipoise.quoter import OnUnprofitable, Preset, QuoterConfig
from equipoise.record import BeforeAfter, RunOutcome, save_record
from equipoise.replay import ReplayConfig, Replayed, replay
from equipoise.report import write_report
from equipoise.session import SessionConfig
from equipoise.tape import Tape, open_tape
from examples.mission import table
from examples.older import OlderRun, run_older_way

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 1_800

CONFIG = ReplayConfig(
    rule="sum",
    balance=Decimal(400),
    # The maker fee of Hyperliquid's highest volume tiers; at the base tier of 1.5 bps this market pays no maker.
    maker_fee_bps=Decimal(0),
    quoter=QuoterConfig(
        mark_buffer_bps=40.0,
        depth_outer_bps=12.0,
        preset=Preset.AGGRESSIVE,
        on_unprofitable=OnUnprofitable.LEAST_BAD,
    ),
    session=SessionConfig(maker_fee_bps=0.0, verify=True),
    seed=7,
)


def market() -> Tape:
    """The recorded market, or a generated one."""
    shared = Path(os.environ.get("EQUIPOISE_SHARED", ROOT.parent / "shared")) / "data" / "hyperliquid_20250904"
    if shared.is_dir():
        print("Market: SOL perpetual recorded on Hyperliquid, 2025-09-04 19:46:56 to 20:21:45 UTC (../shared/data)")
        return open_tape(shared, symbol="SOL")
    print(f"Market: generated, {SECONDS} s calibrated on a recorded SOL perpetual, seed 7 (no ../shared/data here)")
    from equipoise.tape import generate

    return generate(seed=7, duration_s=SECONDS)


def outcomes(older: OlderRun, run: Replayed) -> BeforeAfter:
    """The older way and the new one, side by side."""
    samples, counters = run.record.samples, run.record.counters
    below = (samples["entropy_bids"] < samples["entropy_floor_bids"] - 1e-9) | (
        samples["entropy_asks"] < samples["entropy_floor_asks"] - 1e-9
    )
    available = samples["margin_available"]
    held = samples["margin_held"] / np.where(available > 0, available, np.nan)
    return BeforeAfter(
        scenario="same market, account, venue, seed and requote rule",
        before=RunOutcome(
            name="both sides get all the margin, heuristic sizes, nothing held",
            orders_sent=older.orders,
            orders_refused=older.refused_for_margin,
            ladders=older.ladders,
            ladders_below_floor=older.ladders_below_floor,
            idle_share=float(np.mean(older.idle_shares)) if older.idle_shares else float("nan"),
            demand_share_max=older.demand_share_max,
            fills=older.fills,
            equity_change=older.equity_change,
        ),
        after=RunOutcome(
            name="one margin, split, certified, held first",
            orders_sent=counters["orders"],
            orders_refused=run.record.refused_for_margin,
            ladders=counters["quotes"],
            ladders_below_floor=int(np.count_nonzero(below)),
            idle_share=float(np.nanmean(1 - held)),
            demand_share_max=float(np.nanmax(held)),
            fills=len(run.record.fills),
            equity_change=float(samples["equity"][-1]) - float(CONFIG.balance),
        ),
        notes=(
            "The table is about margin. So few fills say nothing about profit, on either side of it.",
            *([f"The venue's answer to the refused orders: {older.refusal_text}"] if older.refusal_text else []),
        ),
    )


def text(comparison: BeforeAfter) -> str:
    """The comparison as lines."""
    rows = [("", "before", "after")]
    for label, name, form in (
        ("orders sent", "orders_sent", "{:,}"),
        ("refused for margin", "orders_refused", "{:,}"),
        ("ladders", "ladders", "{:,}"),
        ("ladders below the entropy floor", "ladders_below_floor", "{:,}"),
        ("margin left idle, mean", "idle_share", "{:.1%}"),
        ("largest demand on the margin", "demand_share_max", "{:.1%}"),
        ("fills", "fills", "{:,}"),
    ):
        old, new = getattr(comparison.before, name), getattr(comparison.after, name)
        rows.append((label, form.format(old), form.format(new)))
    return "\n".join(f"{label:<34}{old:>12}{new:>12}" for label, old, new in rows)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; 0 when nothing was refused for margin and everything ended at zero."""
    parser = argparse.ArgumentParser(description="Quote a market on the paper venue and write the report.")
    parser.add_argument("--out", type=Path, default=ROOT / "out", help="folder for the report")
    parser.add_argument("--events", type=int, default=None, help="stop after so many market events")
    options = parser.parse_args(arguments)
    print(table(), end="\n\n")
    tape = market()
    config = CONFIG if options.events is None else _shortened(options.events)
    with Progress("replay", quiet=False) as progress:
        run = replay(
            tape,
            config,
            title=f"{tape.symbol}: two-sided quotes from one margin",
            progress=lambda events, _: progress.update(tape.progress, f"{events:,} events"),
        )
    shape = run.shape
    older = run_older_way(tape, config, shape) if shape is not None else OlderRun()
    comparison = outcomes(older, run)
    options.out.mkdir(parents=True, exist_ok=True)
    save_record(run.record, options.out / "record.npz")
    report = write_report([run.record], options.out / "report.html", before_after=comparison)
    print(summary_text(run.record), end="\n\n")
    print(text(comparison), end="\n\n")
    differences = sum(count for name, count in run.record.counters.items() if name.endswith("_differences"))
    flat = run.flat and run.used_margin_all == run.used_margin_executed == 0
    agree = run.balance_book == run.balance_venue
    print(f"At the end: {'flat, used margin exactly 0' if flat else 'NOT FLAT'}; ", end="")
    print(f"balances {'agree' if agree else 'DIFFER'}; {differences} differences between quote, book and venue")
    print(f"Report: {report}")
    return 0 if flat and agree and differences == 0 and run.record.refused_for_margin == 0 else 1


def _shortened(events: int) -> ReplayConfig:
    from dataclasses import replace

    return replace(CONFIG, events_max=events)


if __name__ == "__main__":
    sys.exit(main())
