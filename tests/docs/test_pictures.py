"""The pictures in the documents are the ones that their script draws."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

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
