"""A saved run comes back as it was, and anything else is refused with its name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from equipoise.errors import InputError
from equipoise.orders import Side
from equipoise.record import FillRecord, RunRecord, load_record, save_record


def record(**changes: object) -> RunRecord:
    fill = FillRecord(
        time_ns=5,
        order_id="a",
        side=Side.ASK,
        price=1.5,
        size=2.0,
        fee=0.1,
        realised_pnl=0.0,
        mid=1.4,
        position_after=-2,
    )
    base = RunRecord(
        title="t <b>",
        symbol="X",
        market_source="generator",
        rule="sum",
        policy="inventory",
        optimizer="entropy",
        leverage=10.0,
        balance_start=400.0,
        seed=3,
        started_ns=1,
        ended_ns=9,
        samples={"time_s": np.array([0.0, 1.0]), "mid": np.array([1.5, np.nan])},
        fills=(fill,),
        refusals={"MARGIN": 0},
        counters={"quotes": 2},
        notes=("one", "two"),
        settings={"quoter": {"levels": "5"}},
        ladders={"bid_price": np.array([[1.0, np.nan], [1.0, 0.9]])},
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def plain(run: RunRecord) -> dict[str, object]:
    skipped = {"samples", "ladders", "position_max"}
    return {field.name: getattr(run, field.name) for field in dataclasses.fields(run) if field.name not in skipped}


def test_a_saved_record_loads_as_it_was(tmp_path: Path) -> None:
    run = record()
    back = load_record(save_record(run, tmp_path / "run.npz"))
    assert plain(back) == plain(run)
    assert isinstance(back.fills[0].side, Side)
    for group in ("samples", "ladders"):
        assert getattr(back, group).keys() == getattr(run, group).keys()
        for name, values in getattr(run, group).items():
            np.testing.assert_array_equal(getattr(back, group)[name], values)
    assert np.isnan(back.position_max)


def test_the_same_record_gives_the_same_bytes(tmp_path: Path) -> None:
    first = save_record(record(), tmp_path / "a.npz").read_bytes()
    assert first == save_record(record(), tmp_path / "b.npz").read_bytes()


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="record must be a file that exists"):
        load_record(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"text", b"\x93NUMPY"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.npz").write_bytes(content)
    with pytest.raises(InputError, match="record must be a run record"):
        load_record(tmp_path / "run.npz")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = save_record(record(), tmp_path / "run.npz")
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(InputError, match="record must be a run record"):
        load_record(path)


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    text = b'{"format": 99, "record": {}}'
    with (tmp_path / "run.npz").open("wb") as stream:
        np.savez(stream, record=np.frombuffer(text, dtype=np.uint8))
    with pytest.raises(InputError, match="format 99"):
        load_record(tmp_path / "run.npz")


def test_an_archive_with_foreign_arrays_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "run.npz").open("wb") as stream:
        np.savez(stream, other=np.zeros(2))
    with pytest.raises(InputError, match="record must be a run record"):
        load_record(tmp_path / "run.npz")
