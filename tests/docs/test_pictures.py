"""The pictures in the documents are the ones that their script draws."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import equipoise as eq
from docs import pictures

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_a_picture_of_the_model_is_what_its_script_draws(name: str, project_root: Path) -> None:
    stored = (project_root / "docs/images" / f"{name}.svg").read_text()
    drawn = pictures.PICTURES[name]()
    assert NUMBER.sub("#", drawn) == NUMBER.sub("#", stored)
    # Wider instructions round differently; half a pixel is not seen.
    np.testing.assert_allclose(
        [float(text) for text in NUMBER.findall(drawn)], [float(text) for text in NUMBER.findall(stored)], atol=0.5
    )


def test_every_picture_of_the_model_is_shown(project_root: Path) -> None:
    shown = re.findall(r"\]\(images/(\w+)\.svg\)", (project_root / "docs/model.md").read_text())
    assert sorted(shown) == sorted(pictures.PICTURES)


def test_the_search_as_drawn_ends_where_the_optimizer_does() -> None:
    for position in (0.0, 40.0, 80.0):
        below, above = pictures.rounds(position)[-1]
        best = pictures.solved(position).objective
        assert below <= best * (1 + 1e-12)
        assert above >= best * (1 - 1e-12)
        assert above - below <= 1e-11 * best


def held_to_the_rule(position: float) -> eq.SidesResult:
    bids = 0.5 - 0.2 * position / pictures.CAPACITY
    return eq.solve_sides(
        pictures.side(1, position),
        pictures.side(-1, position),
        margin=pictures.MARGIN,
        inventory=eq.Inventory(position, pictures.PRICE_OF_RISK),
        bid_share=(bids, bids),
    )


def left(position: float, result: eq.SidesResult) -> float:
    probability = pictures.side(1, position).fill_probability
    return float(position + probability @ (result.bid_size - result.ask_size))


def test_the_page_says_what_the_rule_costs_and_leaves(project_root: Path) -> None:
    page = (project_root / "docs/model.md").read_text()
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    assert [float(row[0]) for row in rows] == [0.0, 40.0, 80.0]
    for row in rows:
        position = float(row[0])
        best, ruled = pictures.solved(position), held_to_the_rule(position)
        said = [float(text) for text in row[1:]]
        found = [best.bid_size.sum(), best.ask_size.sum(), best.objective, ruled.objective]
        np.testing.assert_allclose(said[:2], found[:2], atol=5e-3)
        np.testing.assert_allclose(said[2:], found[2:], atol=5e-6)
    assert round(left(40.0, held_to_the_rule(40.0))) == 32
    assert held_to_the_rule(120.0).objective < 0.5 * pictures.solved(120.0).objective


def test_between_the_corners_prices_and_shapes_stand_still_and_the_position_goes_home() -> None:
    flat = pictures.solved(0.0)
    for position in (-59.0, -20.0, 40.0, 61.0):
        result = pictures.solved(position)
        np.testing.assert_allclose(result.margin_price, flat.margin_price, rtol=1e-9)
        np.testing.assert_allclose(
            result.bid_size / result.bid_size.sum(), flat.bid_size / flat.bid_size.sum(), atol=1e-7
        )
        np.testing.assert_allclose(left(position, result), 1.08, atol=5e-3)
    assert pictures.solved(62.0).bid_size.sum() == 0.0
    assert pictures.solved(-60.0).ask_size.sum() == 0.0
