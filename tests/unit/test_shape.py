"""`Shape` and `Levels` from Python."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import equipoise as eq

SHAPE = eq.Shape(
    volatility=1e-4,
    fill_rate=0.3,
    fill_decay=1500,
    horizon_s=10,
    risk_aversion=0.3,
    unit=14.66,
    adverse_bps=3,
    adverse_decay_bps=8,
    fee_bps=1.5,
)


def test_shape_survives_pickle_and_compares_by_value() -> None:
    again = pickle.loads(pickle.dumps(SHAPE))
    assert again == SHAPE
    assert hash(again) == hash(SHAPE)
    assert again != SHAPE.replace(fee_bps=0)


def test_vector_helpers_equal_their_scalar_form() -> None:
    depths = np.array([0.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    for helper in (SHAPE.fill_rate_at, SHAPE.fill_probability, SHAPE.adverse_bps_at, SHAPE.edge_bps):
        assert helper(depths).tolist() == [helper(float(depth)) for depth in depths]


def test_nan_depth_is_refused_with_its_index() -> None:
    with pytest.raises(eq.InputError, match=r"depth_bps\[1\] must be finite"):
        SHAPE.edge_bps([1.0, float("nan")])
