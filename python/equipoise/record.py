"""What one run leaves behind: the input of the report, the summary table and the comparisons."""

from __future__ import annotations

import dataclasses
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import InputError
from equipoise.orders import Side

__all__ = ["BeforeAfter", "FillRecord", "RunOutcome", "RunRecord", "load_record", "save_record"]

FORMAT = 1
"""Version of the saved form; a reader refuses one it does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRecord:
    """One fill of an order of ours. Prices and money are floats here: a record is for reading, not for booking."""

    time_ns: int
    order_id: str
    side: Side
    price: float
    size: float
    fee: float
    realised_pnl: float
    mid: float
    position_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run over one market with one account, one rule and one policy.

    `samples` holds equally long float64 arrays, one value per quote cycle, NaN where unknown. Names are fixed:

    ======================  ==========================================================
    time_s                  seconds since the start
    mid, mark               market, quote currency
    equity, balance         account currency
    position                contracts, long positive
    margin_available        what the account had free for quoting
    margin_executed         held by positions
    held_bids, held_asks    held by resting bids, asks (sum of charges)
    margin_held             held by the rule for all resting orders
    part_bids, part_asks    what the split gave each side
    margin_passed           what one side could not use and the other got
    ask_weight              weight of the split, 0…1; policy joint: the asks' part of what is held
    inventory_ratio         position / position_max, −1…1
    entropy_bids, entropy_asks   nats, of the final orders
    entropy_floor_bids, entropy_floor_asks   the floor asked for, nats
    levels_bids, levels_asks     number of orders
    regret                  dual bound − objective of the final orders, account currency
    expected_edge           expected value of the final orders over the horizon, account currency
    margin_price_bids, margin_price_asks   value of one more unit of margin (policy joint)
    inventory_price         what one more contract of position costs, account currency (policy joint)
    quote_us                time of the quote call, microseconds
    ======================  ==========================================================

    `ladders` may hold the orders behind the samples: float64 arrays of shape (samples, levels), best level first, NaN
    where there is no order. Names: `bid_price`, `bid_size`, `ask_price`, `ask_size`.

    `refusals` counts by reason; a reason that did not occur belongs in it with 0, so that the report can show the 0.
    `counters` are whatever else the run counted; `orders` is the number of orders sent. `settings` is the
    configuration as section → key → value text, secrets redacted. `contract_value` is base currency per contract,
    `position_max` the limit on the position in contracts (NaN when there is none).
    """

    title: str
    symbol: str
    market_source: str
    rule: str
    policy: str
    optimizer: str
    leverage: float
    balance_start: float
    seed: int
    started_ns: int
    ended_ns: int
    samples: Mapping[str, NDArray[np.float64]]
    fills: tuple[FillRecord, ...] = ()
    refusals: Mapping[str, int] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    currency: str = "USD"
    contract_value: float = 1.0
    position_max: float = math.nan
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    ladders: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def refused_for_margin(self) -> int:
        """Orders refused because margin was promised that was not there: by the book, at placement or at match.

        A match refused because the mark left the buffer (MARK_MOVED) and what a moving market does to post-only orders
        are counted in `refusals` under their own names, not here.
        """
        return sum(count for reason, count in self.refusals.items() if _is_margin(reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """What one way of quoting came to on a market: one column of the before/after table.

    `orders_refused` counts refusals for margin, by the book or by the venue. `idle_share` is the time-weighted mean of
    margin that was free and held by no order, 0…1 of what was available; `demand_share_max` the most margin one ladder
    asked for, as a share of what was available (above 1: a promise made twice). Both may be NaN when unknown.
    """

    name: str
    orders_sent: int
    orders_refused: int
    ladders: int
    ladders_below_floor: int
    idle_share: float = math.nan
    demand_share_max: float = math.nan
    fills: int = 0
    equity_change: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class BeforeAfter:
    """The older way and the new one on the same market, account, rule and seed."""

    before: RunOutcome
    after: RunOutcome
    scenario: str = ""
    notes: tuple[str, ...] = ()


def _is_margin(reason: str) -> bool:
    name = reason.upper()
    return "MARGIN" in name or name.startswith("BOOK_")


ARRAYS = ("samples", "ladders")


def save_record(record: RunRecord, path: str | Path) -> Path:
    """Save a record as one `.npz` file without pickled objects.

    The same record gives the same bytes.

    Parameters
    ----------
    record
        The run.
    path
        Where to write; replaced when it exists.

    Returns
    -------
    Path
        The path written.
    """
    plain = {
        entry.name: getattr(record, entry.name) for entry in dataclasses.fields(record) if entry.name not in ARRAYS
    }
    plain["fills"] = [dataclasses.asdict(fill) for fill in record.fills]
    for name in ("refusals", "counters", "settings"):
        plain[name] = dict(plain[name])
    text = json.dumps({"format": FORMAT, "record": plain}, sort_keys=False, default=_jsonable)
    arrays = {
        f"{group}.{name}": np.asarray(values, dtype=np.float64)
        for group in ARRAYS
        for name, values in getattr(record, group).items()
    }
    target = Path(path)
    with target.open("wb") as stream:
        np.savez_compressed(stream, record=np.frombuffer(text.encode(), dtype=np.uint8), **arrays)  # type: ignore[arg-type]
    return target


def _jsonable(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


def load_record(path: str | Path) -> RunRecord:
    """Read a record that `save_record` wrote.

    Raises
    ------
    InputError
        The file is missing, damaged, or of a version this package does not know.
    """
    wanted = "a run record saved by this version of equipoise"
    try:
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            contents = {name: np.asarray(archive[name]) for name in archive.files}
        document = json.loads(contents.pop("record").tobytes())
        record = _revived(document["record"], contents) if document["format"] == FORMAT else None
    except FileNotFoundError as error:
        raise InputError("record", None, "a file that exists", path) from error
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError("record", None, wanted, f"{path} ({error})") from error
    if record is None:
        raise InputError("record", None, wanted, f"format {document['format']} in {path}")
    return record


def _revived(plain: dict[str, Any], arrays: Mapping[str, NDArray[np.float64]]) -> RunRecord:
    groups: dict[str, Any] = {name: {} for name in ARRAYS}
    for name, values in arrays.items():
        group, _, key = name.partition(".")
        groups[group][key] = values
    fills = tuple(FillRecord(**{**fill, "side": Side(fill["side"])}) for fill in plain["fills"])
    return RunRecord(**{**plain, **groups, "fills": fills, "notes": tuple(plain["notes"])})
