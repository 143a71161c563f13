"""`Shape` and `Levels` from Python: formulas against SciPy and the exact solution, properties, hostile input."""

from __future__ import annotations

import copy
import math
import pickle
from decimal import Decimal

import clarabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import linalg, sparse, special

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
PRICE = 27.11
# γ per fraction of price is then the risk aversion itself.
UNIT_PRICE = 1.0


def bare(gamma: float, kappa: float, sigma: float, rate: float) -> eq.Shape:
    """A shape without fee whose γ per fraction of price, at price 1, is `gamma`."""
    return SHAPE.replace(
        risk_aversion=gamma, unit=1, fill_decay=kappa, volatility=sigma, fill_rate=rate, fee_bps=0, adverse_bps=0
    )


# The half-spread and the skew


def exact_depths_bps(
    gamma: float, kappa: float, sigma: float, rate: float, limit: int, horizon_s: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Optimal bid and ask depths for inventories −limit…limit (NaN where a side may not trade).

    Guéant, Lehalle, Fernandez-Tapia (2013), theorem 1: with v' = M v, M tridiagonal with α q² on the diagonal and −η
    beside it, α = κγσ²/2, η = A (1 + γ/κ)^−(1 + κ/γ), the bid depth at q is ln(v_q / v_{q+1}) / κ + ln(1 + γ/κ) / γ.
    Without a horizon v is the eigenvector of the least eigenvalue (their theorem 2).
    """
    alpha = 0.5 * kappa * gamma * sigma**2
    eta = rate * (1 + gamma / kappa) ** -(1 + kappa / gamma)
    q = np.arange(-limit, limit + 1)
    if horizon_s is None:
        _, vectors = linalg.eigh_tridiagonal(alpha * q**2.0, np.full(2 * limit, -eta), select="i", select_range=(0, 0))
        v = np.abs(vectors[:, 0])
    else:
        matrix = np.diag(alpha * q**2.0) - eta * (np.eye(q.size, k=1) + np.eye(q.size, k=-1))
        v = linalg.expm(-matrix * horizon_s) @ np.ones(q.size)
    half = math.log1p(gamma / kappa) / gamma
    step = np.log(v[:-1] / v[1:]) / kappa
    bid = np.append(half + step, np.nan) * 1e4
    ask = np.append(np.nan, half - step) * 1e4
    return bid, ask


def test_half_spread_of_the_textbook_numbers_is_6_666_bps_before_fee() -> None:
    shape = bare(0.3, 1500, 1e-4, 0.1)
    assert shape.half_spread_bps(UNIT_PRICE) == pytest.approx(6.666, abs=5e-4)
    assert shape.replace(fee_bps=1.5).half_spread_bps(UNIT_PRICE) == pytest.approx(8.166, abs=5e-4)


def test_depths_of_the_worked_example_asymptotic_and_exact() -> None:
    numbers = (120.0, 1500.0, 1e-4, 0.1)
    shape = bare(*numbers)
    assert shape.skew_bps(UNIT_PRICE) == pytest.approx(1.063, abs=5e-4)
    assert shape.side_depths_bps(UNIT_PRICE, position=1) == pytest.approx((8.008, 5.882), abs=5e-4)
    bid, ask = exact_depths_bps(*numbers, limit=30, horizon_s=None)
    assert (bid[31], ask[31]) == pytest.approx((8.054, 5.865), abs=5e-4)


def test_risk_aversion_per_fraction_and_price_of_risk_of_the_worked_example() -> None:
    assert SHAPE.risk_aversion_fraction(PRICE) == pytest.approx(119, abs=0.5)
    assert SHAPE.price_of_risk(PRICE) == pytest.approx(2.2049e-5, abs=5e-10)


def test_exact_solution_of_a_finite_horizon_tends_to_its_stationary_one() -> None:
    numbers = (120.0, 1500.0, 1e-4, 0.1)
    wanted = exact_depths_bps(*numbers, limit=12, horizon_s=None)[0][:-1]
    distances = [
        np.abs(exact_depths_bps(*numbers, limit=12, horizon_s=horizon)[0][:-1] - wanted).max()
        for horizon in (60.0, 600.0, 6_000.0)
    ]
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 1e-6


@pytest.mark.parametrize(
    "numbers",
    [(120.0, 1500.0, 1e-4, 0.1), (30.0, 3500.0, 1.3e-4, 0.67), (400.0, 4300.0, 6e-5, 0.78), (5.0, 1500.0, 1e-4, 1.0)],
)
def test_asymptotic_depths_stay_near_the_exact_ones_for_small_inventories(
    numbers: tuple[float, float, float, float],
) -> None:
    shape = bare(*numbers)
    limit = 60
    bid, ask = exact_depths_bps(*numbers, limit=limit, horizon_s=None)
    skew = shape.skew_bps(UNIT_PRICE)
    for q in range(-5, 6):
        near = shape.side_depths_bps(UNIT_PRICE, position=q)
        exact = (bid[limit + q], ask[limit + q])
        # The approximation replaces differences by derivatives in q: its error is a few per cent of the skew it states.
        assert np.abs(np.maximum(exact, 0) - near).max() < 0.06 * skew * (1 + abs(q)), q


def test_formulas_equal_their_plain_numpy_form() -> None:
    sigma, rate, kappa, fee = 1e-4, 0.3, 1500.0, 1.5
    gamma = 0.3 * 14.66 * PRICE
    half = 1e4 * np.log(1 + gamma / kappa) / gamma + fee
    skew = 1e4 * np.sqrt(sigma**2 * gamma / (2 * kappa * rate) * (1 + gamma / kappa) ** (1 + kappa / gamma))
    assert SHAPE.half_spread_bps(PRICE) == pytest.approx(half, rel=1e-12)
    assert SHAPE.skew_bps(PRICE) == pytest.approx(skew, rel=1e-12)
    q = 20 / 14.66
    wanted = (half + (2 * q + 1) / 2 * skew, half - (2 * q - 1) / 2 * skew)
    assert SHAPE.side_depths_bps(PRICE, position=20) == pytest.approx(wanted, rel=1e-12)

    depth = np.array([-1.0, 0.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    arrivals = rate * np.exp(-kappa * depth / 1e4)
    adverse = 3 * np.exp(-np.maximum(depth, 0) / 8)
    assert np.allclose(SHAPE.fill_rate_at(depth), arrivals, rtol=1e-14)
    assert np.allclose(SHAPE.fill_probability(depth), -special.expm1(-arrivals * 10), rtol=1e-14)
    assert np.allclose(SHAPE.adverse_bps_at(depth), adverse, rtol=1e-14)
    assert np.allclose(SHAPE.edge_bps(depth), depth - adverse - fee, rtol=1e-13)
    value = -special.expm1(-arrivals * 10) * (depth - adverse - fee) * 1e-4 * PRICE
    assert np.allclose(SHAPE.utility(depth, PRICE), value, rtol=1e-13)


# First passage


def test_first_passage_is_relative_to_itself_in_the_far_tail() -> None:
    shape = SHAPE.replace(fill_model="first_passage", volatility=1e-4, horizon_s=1)
    # σ√τ is one basis point: depth in bps is the number of standard deviations.
    z = np.concatenate([np.linspace(1e-6, 37, 400), np.logspace(-9, 0, 50)])
    got = shape.fill_probability(z)
    # An ulp of the depth in the exponent is worth z² ulps of the result: start from the floats the core sees.
    scaled = (z / 1e4) / 1e-4
    assert np.abs(got / special.erfc(scaled / math.sqrt(2)) - 1).max() < 1e-12
    assert np.abs(got / (2 * special.ndtr(-scaled)) - 1).max() < 1e-12
    assert np.abs(got / np.exp(special.log_ndtr(-scaled) + math.log(2)) - 1).max() < 1e-12


def test_first_passage_is_certain_at_the_mid_and_impossible_without_movement() -> None:
    shape = SHAPE.replace(fill_model="first_passage")
    assert shape.fill_probability([-5.0, 0.0]).tolist() == [1.0, 1.0]
    assert shape.replace(volatility=0).fill_probability([0.0, 1e-9]).tolist() == [1.0, 0.0]


def test_first_passage_agrees_with_a_simulated_walk() -> None:
    rng = np.random.default_rng(5)
    steps, paths = 2_000, 4_000
    highest = np.maximum(np.cumsum(rng.normal(0, 1e-4 * math.sqrt(10 / steps), (paths, steps)), axis=1).max(axis=1), 0)
    shape = SHAPE.replace(fill_model="first_passage")
    for depth in (1.0, 3.0, 6.0):
        # A walk seen only at its steps overshoots by .5826 step deviations (Broadie, Glasserman, Kou 1997).
        barrier = depth / 1e4 - 0.5826 * 1e-4 * math.sqrt(10 / steps)
        assert np.mean(highest >= barrier) == pytest.approx(shape.fill_probability(depth), abs=0.03)


# The two-sided worked example, through an independent solver


def two_sided(position: float) -> tuple[float, float, float]:
    """Totals and objective of the joint program with the shape's utilities, by Clarabel."""
    levels, leverage, margin, entropy_min = 5, 10.0, 397.49, 1.2
    bid, ask = SHAPE.replace(depth_min_bps=0).depths(PRICE, levels, step_bps=2, ratio=2)
    depth = np.array([2.0, 4.0, 8.0, 16.0, 32.0])
    assert np.allclose(np.diff(bid), np.diff(depth))
    assert np.allclose(np.diff(ask), np.diff(depth))
    fills = np.tile(SHAPE.fill_probability(depth), 2)
    utility = np.tile(SHAPE.utility(depth, PRICE), 2)
    price = PRICE * (1 + np.concatenate([-depth, depth]) / 1e4)
    sign = np.repeat([1.0, -1.0], levels)
    eta = SHAPE.price_of_risk(PRICE)
    lean = sign * fills
    # Variables: sizes s (10), then x ≤ −s ln(s/S) (10).
    total = np.zeros((2, 20))
    spread = np.zeros((2, 20))
    for side in range(2):
        total[side, side * levels : (side + 1) * levels] = 1
        spread[side, 10 + side * levels : 10 + (side + 1) * levels] = 1
    rows = [np.append(price / leverage, np.zeros(10))[None, :], total, entropy_min * total - spread, -np.eye(10, 20)]
    right = [[margin], [146.62 - position, 146.62 + position], [0, 0], np.zeros(10)]
    for index in range(10):
        cone = np.zeros((3, 20))
        cone[0, 10 + index] = cone[1, index] = -1
        cone[2] = -total[index // levels]
        rows.append(cone)
        right.append(np.zeros(3))
    quadratic = np.zeros((20, 20))
    quadratic[:10, :10] = eta * np.outer(lean, lean)
    linear = np.append(eta * position * lean - utility, np.zeros(10))
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-9
    problem = clarabel.DefaultSolver(
        sparse.csc_matrix(np.triu(quadratic)),
        linear,
        sparse.csc_matrix(np.vstack(rows)),
        np.concatenate(right).astype(float),
        [clarabel.NonnegativeConeT(15), *[clarabel.ExponentialConeT()] * 10],
        settings,
    )
    size = np.array(problem.solve().x)[:10]
    objective = utility @ size - 0.5 * eta * (position + lean @ size) ** 2
    return float(size[:levels].sum()), float(size[levels:].sum()), float(objective)


@pytest.mark.parametrize(
    ("position", "bids", "asks", "objective"),
    [(0, 74.71, 71.91, 1.10782), (40, 26.41, 120.09, 1.10687), (80, 0.0, 146.43, 1.10243)],
)
def test_utilities_reproduce_the_two_sided_worked_example(
    position: float, bids: float, asks: float, objective: float
) -> None:
    got = two_sided(position)
    assert got[:2] == pytest.approx((bids, asks), abs=0.05)
    assert got[2] == pytest.approx(objective, abs=2e-5)


# Ladders of depths


def test_geometric_ladder_runs_from_the_innermost_depth_to_the_outer_one() -> None:
    shape = bare(0.0, 5000, 0, 0.1)  # 1/κ is 2 bps, and nothing skews
    bid, ask = shape.depths(PRICE, 5, outer_bps=32)
    assert bid == pytest.approx([2, 4, 8, 16, 32])
    assert ask.tolist() == bid.tolist()
    assert shape.depths(PRICE, 3, step_bps=1.5)[0] == pytest.approx([2, 3.5, 5])
    assert shape.depths(PRICE, 5, step_bps=2, ratio=2)[0] == pytest.approx([2, 4, 8, 16, 32])


def test_depth_minimum_holds_where_the_skew_would_cross_the_mid() -> None:
    shape = SHAPE.replace(risk_aversion=30, depth_min_bps=0.5)
    bid, ask = shape.side_depths_bps(PRICE, position=146.62)
    assert ask == 0.5
    assert bid > 2 * shape.half_spread_bps(PRICE)


def test_inventory_is_clipped_to_the_position_limit_but_one_reference_order_always_counts() -> None:
    within = SHAPE.side_depths_bps(PRICE, position=100, position_max=100)
    assert SHAPE.side_depths_bps(PRICE, position=400, position_max=100) == within
    one = SHAPE.side_depths_bps(PRICE, position=14.66)
    assert SHAPE.side_depths_bps(PRICE, position=400, position_max=0) == one


# Properties

POSITIVE = {
    "volatility": st.floats(1e-6, 1e-2),
    "fill_rate": st.floats(1e-3, 1e2),
    "fill_decay": st.floats(10, 1e5),
    "horizon_s": st.floats(1e-2, 1e4),
    "risk_aversion": st.floats(0, 10),
    "unit": st.floats(1e-3, 1e4),
    "adverse_bps": st.floats(0, 50),
    "adverse_decay_bps": st.floats(0.1, 1e3),
    "fee_bps": st.floats(-5, 10),
    "fill_model": st.sampled_from(["intensity", "first_passage"]),
}
SHAPES = st.builds(eq.Shape, **POSITIVE)


@given(SHAPES, st.lists(st.floats(-100, 1e4), min_size=1, max_size=30))
def test_vector_helpers_equal_their_scalar_form(shape: eq.Shape, depths: list[float]) -> None:
    array = np.array(depths)
    for helper in (shape.fill_rate_at, shape.fill_probability, shape.adverse_bps_at, shape.edge_bps):
        assert helper(array).tolist() == [helper(depth) for depth in depths]
    assert shape.utility(array, PRICE).tolist() == [shape.utility(depth, PRICE) for depth in depths]
    assert shape.edge_bps(array[::-1]).tolist() == shape.edge_bps(array).tolist()[::-1]


@given(SHAPES, st.lists(st.floats(0, 1e4), min_size=2, max_size=30).map(sorted))
def test_deeper_orders_fill_less_and_earn_more(shape: eq.Shape, depths: list[float]) -> None:
    probability, edge = shape.fill_probability(depths), shape.edge_bps(depths)
    assert np.all((probability >= 0) & (probability <= 1))
    assert np.all(np.diff(probability) <= 4e-16)
    assert np.all(np.diff(edge) >= -1e-9)


@given(SHAPES, st.floats(0.01, 1e5), st.floats(-1e4, 1e4), st.floats(0, 1e4))
def test_sides_mirror_each_other_and_lean_against_inventory(
    shape: eq.Shape, price: float, position: float, more: float
) -> None:
    bid, ask = shape.side_depths_bps(price, position=position)
    assert shape.side_depths_bps(price, position=-position) == (ask, bid)
    bid_longer, ask_longer = shape.side_depths_bps(price, position=position + more)
    assert bid_longer >= bid
    assert ask_longer <= ask


@given(SHAPES, st.floats(0.01, 1e5), st.floats(-20, 20), st.sampled_from([2.0**-7, 0.25, 4.0, 2.0**10]))
def test_depths_in_bps_do_not_depend_on_the_currency_prices_are_quoted_in(
    shape: eq.Shape, price: float, q: float, scale: float
) -> None:
    # Money counted in cents: prices a hundredfold, risk aversion per cent a hundredth.
    rescaled = shape.replace(risk_aversion=shape.risk_aversion / scale)
    position = q * shape.unit
    wanted = shape.side_depths_bps(price, position=position)
    tolerance = 1e-9 * (1 + abs(q)) * (1 + shape.skew_bps(price))
    assert rescaled.side_depths_bps(price * scale, position=position) == pytest.approx(wanted, rel=1e-9, abs=tolerance)


@given(SHAPES)
def test_shape_survives_pickle_copy_and_repr(shape: eq.Shape) -> None:
    for again in (
        pickle.loads(pickle.dumps(shape)),
        copy.deepcopy(shape),
        shape.replace(),
        eval(repr(shape), {"Shape": eq.Shape}),
    ):
        assert again == shape
        assert hash(again) == hash(shape)


# Hostile input


@pytest.mark.parametrize("name", [name for name in POSITIVE if name != "fill_model"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1e5, 1e300, "1", None, True, [1.0]])
def test_parameters_refuse_what_is_no_number_in_range_by_name(name: str, value: object) -> None:
    with pytest.raises(eq.InputError) as caught:
        SHAPE.replace(**{name: value})  # type: ignore[arg-type]
    assert caught.value.argument == name


def test_parameters_take_ints_decimals_and_numpy_scalars() -> None:
    assert SHAPE.replace(fee_bps=np.float64(1.5), fill_decay=1500, adverse_bps=Decimal(3)) == SHAPE
    assert SHAPE.replace(fee_bps=-0.0) == SHAPE.replace(fee_bps=0.0)
    assert hash(SHAPE.replace(fee_bps=-0.0)) == hash(SHAPE.replace(fee_bps=0.0))


def test_unknown_model_and_unknown_parameter_are_refused() -> None:
    with pytest.raises(eq.InputError, match=r'fill_model must be "intensity" or "first_passage", got .normal.'):
        SHAPE.replace(fill_model="normal")
    with pytest.raises(TypeError, match="alpha"):
        SHAPE.replace(alpha=1.0)


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf"), "27.11"])
def test_prices_that_are_not_positive_are_refused(price: float) -> None:
    for call in (
        lambda: SHAPE.utility(2.0, price),
        lambda: SHAPE.half_spread_bps(price),
        lambda: SHAPE.skew_bps(price),
        lambda: SHAPE.price_of_risk(price),
        lambda: SHAPE.risk_aversion_fraction(price),
        lambda: SHAPE.side_depths_bps(price),
        lambda: SHAPE.depths(price, 5, outer_bps=32),
    ):
        with pytest.raises(eq.InputError, match=r"^price must be"):
            call()


def test_depth_arrays_are_refused_by_index_and_kind() -> None:
    with pytest.raises(eq.InputError, match=r"depth_bps\[1\] must be finite, got NaN"):
        SHAPE.edge_bps([1.0, float("nan")])
    with pytest.raises(eq.InputError, match="depth_bps must be finite, got inf"):
        SHAPE.edge_bps(float("inf"))
    for bad in ("2", None, [[1.0]], [True], ["1"], np.array([1j])):
        with pytest.raises(eq.InputError, match=r"^depth_bps must be"):
            SHAPE.fill_probability(bad)  # type: ignore[arg-type]
    assert SHAPE.fill_probability([]).size == 0


@pytest.mark.parametrize(
    "spacing",
    [
        {},
        {"outer_bps": 32, "step_bps": 1},
        {"ratio": 2},
        {"outer_bps": 0},
        {"step_bps": -1},
        {"step_bps": 1, "ratio": 0.5},
        {"outer_bps": float("nan")},
    ],
)
def test_spacings_that_say_too_much_too_little_or_nonsense_are_refused(spacing: dict[str, float]) -> None:
    with pytest.raises(eq.InputError):
        SHAPE.depths(PRICE, 5, **spacing)


@pytest.mark.parametrize("levels", [0, 1001])
def test_level_counts_out_of_range_are_refused(levels: int) -> None:
    with pytest.raises(eq.InputError, match="levels must be 1 to 1000"):
        SHAPE.depths(PRICE, levels, outer_bps=32)


def test_positions_and_limits_must_be_numbers() -> None:
    with pytest.raises(eq.InputError, match="position must be finite, got NaN"):
        SHAPE.side_depths_bps(PRICE, position=float("nan"))
    with pytest.raises(eq.InputError, match="position_max must be at least 0, got -1"):
        SHAPE.side_depths_bps(PRICE, position_max=-1)


# Levels of the caller


def test_levels_own_read_only_copies_and_compare_by_value() -> None:
    depth = np.array([2.0, 4.0, 4.0])
    levels = eq.Levels(depth, [0.5, 0.25, 0.2], (1, 3, 3))
    depth[0] = 99.0
    assert levels.depth_bps.tolist() == [2.0, 4.0, 4.0]
    assert len(levels) == 3
    for array in (levels.depth_bps, levels.fill_probability, levels.edge_bps):
        assert not array.flags.writeable
    again = pickle.loads(pickle.dumps(levels))
    assert again == levels
    assert eval(repr(levels), {"Levels": eq.Levels}) == levels
    assert levels != eq.Levels([2.0, 4.0, 4.0], [0.5, 0.25, 0.2], [1, 3, 3.5])


@pytest.mark.parametrize(
    ("arguments", "argument", "index"),
    [
        (([], [], []), "depth_bps", None),
        (([1.0, 2.0], [0.1], [1.0, 1.0]), "fill_probability", None),
        (([1.0], [0.1], []), "edge_bps", None),
        (([1.0, float("nan")], [0.1, 0.1], [1.0, 1.0]), "depth_bps", 1),
        (([1.0, 2.0], [0.1, 1.0001], [1.0, 1.0]), "fill_probability", 1),
        (([1.0], [-0.1], [1.0]), "fill_probability", 0),
        (([1.0], [0.1], [float("inf")]), "edge_bps", 0),
        (([[1.0]], [0.1], [1.0]), "depth_bps", None),
        ((["1"], [0.1], [1.0]), "depth_bps", None),
    ],
)
def test_levels_refuse_bad_arrays_by_name_and_index(
    arguments: tuple[object, object, object], argument: str, index: int | None
) -> None:
    with pytest.raises(eq.InputError) as caught:
        eq.Levels(*arguments)  # type: ignore[arg-type]
    assert (caught.value.argument, caught.value.index) == (argument, index)
