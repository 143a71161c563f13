"""Steps and limits of an instrument."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from equipoise.errors import InputError
from equipoise.venues.contract import Instrument


def made(**changes):
    return Instrument(**({"symbol": "X", "tick": Decimal("0.001"), "lot": Decimal("0.01")} | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tick": Decimal(0)}, "tick must be a positive Decimal, got 0"),
        ({"tick": 0.001}, "tick must be a positive Decimal"),
        ({"lot": Decimal("NaN")}, "lot must be a positive Decimal, got NaN"),
        ({"contract_value": Decimal("Infinity")}, "contract_value must be a positive Decimal"),
        ({"notional_min": Decimal(-1)}, "notional_min must be a Decimal of at least 0"),
        ({"significant_figures": 0}, "significant_figures must be at least 1"),
        ({"significant_figures": 5, "tick": Decimal("0.25")}, "power of ten"),
    ],
)
def test_instrument_out_of_range_is_refused_by_name(changes, message):
    with pytest.raises(InputError, match=message):
        made(**changes)


@pytest.mark.parametrize(
    ("ticks", "floor", "ceil"),
    [
        (27_113, 27_113, 27_113),
        (271_134, 271_130, 271_140),
        (123_456_789, 123_456_000, 123_457_000),
        (999_995, 999_990, 1_000_000),
    ],
)
def test_significant_figures_widen_the_grid_but_whole_prices_stay_valid(ticks, floor, ceil):
    x = made(significant_figures=5)
    assert (x.price_floor(ticks), x.price_ceil(ticks)) == (floor, ceil)
    assert x.price_valid(floor)
    assert x.price_valid(ceil)
    assert x.price_valid(ticks) == (floor == ceil)


def test_unit_value_and_minimum_are_exact():
    x = made(notional_min=Decimal(10), tick=Decimal("0.003"), lot=Decimal("0.0001"), contract_value=Decimal("0.1"))
    assert x.unit_micros == Fraction(3, 100)
    assert not x.notional_reached(333_333_333, 1)
    assert x.notional_reached(333_333_334, 1)
