"""Other ways to solve problems P1 and P2, as peers to compare with: a prebuilt conic solver, a general optimizer."""

from __future__ import annotations

import clarabel
import numpy as np
import scipy.optimize
import scipy.sparse
from numpy.typing import NDArray

__all__ = ["ClarabelSide", "ClarabelSides", "entropy", "slsqp"]

Floats = NDArray[np.float64]


def entropy(share: Floats) -> float:
    """Entropy in nats."""
    positive = share[share > 0]
    return float(-(positive * np.log(positive)).sum())


class ClarabelSide:
    """P1 in Clarabel, set up once: a new problem is `update(q=-utility)` and `solve()`.

    Variables are the shares p and t with (t, p, 1) in the exponential cone, so that sum t >= h bounds the entropy.
    """

    def __init__(self, levels: int, entropy_min: float, floor: float, cap: float) -> None:
        ones, zeros = np.ones((1, levels)), np.zeros((1, levels))
        identity, nothing = np.eye(levels), np.zeros((levels, levels))
        cones = np.zeros((3 * levels, 2 * levels))
        for level in range(levels):
            cones[3 * level, levels + level] = -1.0
            cones[3 * level + 1, level] = -1.0
        rows = [np.hstack(row) for row in ((ones, zeros), (zeros, -ones), (-identity, nothing), (identity, nothing))]
        one_each = np.tile([0.0, 0.0, 1.0], levels)
        bounds = np.concatenate([[1.0, -entropy_min], np.full(levels, -floor), np.full(levels, cap), one_each])
        kinds = [clarabel.ZeroConeT(1), clarabel.NonnegativeConeT(1 + 2 * levels)]
        kinds += [clarabel.ExponentialConeT()] * levels
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        # Updating needs the problem as it was given.
        settings.presolve_enable = False
        self.levels = levels
        self._pad = np.zeros(levels)
        self._solver = clarabel.DefaultSolver(
            scipy.sparse.csc_matrix((2 * levels, 2 * levels)),
            np.zeros(2 * levels),
            scipy.sparse.csc_matrix(np.vstack([*rows, cones])),
            bounds,
            kinds,
            settings,
        )

    def solve(self, utility: Floats) -> tuple[float, Floats]:
        """Objective and shares for new utilities."""
        self._solver.update(q=np.concatenate([-utility, self._pad]))
        solution = self._solver.solve()
        if str(solution.status) != "Solved":
            raise ArithmeticError(f"Clarabel says {solution.status}")
        return -solution.obj_val, np.array(solution.x)[: self.levels]


class ClarabelSides:
    """P2 in Clarabel under the sum rule, without inventory term and share bound, set up once for both sides.

    Variables: for each side the sizes s, then t, then the total S, with (t, s, S) in the exponential cone, that is
    t <= s ln(S / s), so that sum t >= h S bounds the entropy of s / S from below by h.

    Parameters
    ----------
    margin_per_unit
        Charge of one contract at each level, bids and asks, two arrays of shape (K,).
    entropy_min
        Floor h of each side, nats.
    margin
        What both sides may hold together.
    side_max
        Largest total of a side, contracts.
    order_max
        Largest order, contracts.
    share_floor, share_cap
        Bounds on a level's share of its side.
    """

    def __init__(
        self,
        margin_per_unit: tuple[Floats, Floats],
        *,
        entropy_min: float,
        margin: float,
        side_max: float,
        order_max: float,
        share_floor: float = 0.0,
        share_cap: float = 1.0,
    ) -> None:
        levels = len(margin_per_unit[0])
        width = 2 * levels + 1
        sums, rows, bounds, cones = [], [np.zeros((1, 2 * width))], [margin], []
        for side in range(2):
            first, total = side * width, side * width + 2 * levels
            sizes = slice(first, first + levels)
            logs = slice(first + levels, total)
            rows[0][0, sizes] = margin_per_unit[side]
            add_up = np.zeros((1, 2 * width))
            add_up[0, sizes], add_up[0, total] = 1.0, -1.0
            sums.append(add_up)
            floor = np.zeros((1, 2 * width))
            floor[0, logs], floor[0, total] = -1.0, entropy_min
            low, high, order = (np.zeros((levels, 2 * width)) for _ in range(3))
            low[:, sizes], low[:, total] = -np.eye(levels), share_floor
            high[:, sizes], high[:, total] = np.eye(levels), -share_cap
            order[:, sizes] = np.eye(levels)
            most = np.zeros((1, 2 * width))
            most[0, total] = 1.0
            rows += [floor, low, high, order, most]
            bounds += [0.0] * (1 + 2 * levels) + [order_max] * levels + [side_max]
            cone = np.zeros((3 * levels, 2 * width))
            for level in range(levels):
                cone[3 * level, first + levels + level] = -1.0
                cone[3 * level + 1, first + level] = -1.0
                cone[3 * level + 2, total] = -1.0
            cones.append(cone)
        kinds = [clarabel.ZeroConeT(2), clarabel.NonnegativeConeT(len(bounds))]
        kinds += [clarabel.ExponentialConeT()] * (2 * levels)
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        # Updating needs the problem as it was given.
        settings.presolve_enable = False
        self.levels = levels
        self._cost = np.zeros(2 * width)
        self._sides = (slice(0, levels), slice(width, width + levels))
        self._solver = clarabel.DefaultSolver(
            scipy.sparse.csc_matrix((2 * width, 2 * width)),
            self._cost,
            scipy.sparse.csc_matrix(np.vstack([*sums, *rows, *cones])),
            np.concatenate([[0.0, 0.0], bounds, np.zeros(6 * levels)]),
            kinds,
            settings,
        )

    def solve(self, bid_utility: Floats, ask_utility: Floats) -> tuple[float, Floats, Floats]:
        """Objective, bid sizes and ask sizes for new utilities."""
        cost = self._cost.copy()
        cost[self._sides[0]], cost[self._sides[1]] = -bid_utility, -ask_utility
        self._solver.update(q=cost)
        solution = self._solver.solve()
        if str(solution.status) != "Solved":
            raise ArithmeticError(f"Clarabel says {solution.status}")
        sizes = np.array(solution.x)
        return -solution.obj_val, sizes[self._sides[0]], sizes[self._sides[1]]


def slsqp(utility: Floats, entropy_min: float, floor: float, cap: float) -> tuple[float, Floats]:
    """Objective and shares from SciPy's SLSQP."""
    levels = len(utility)

    def excess(share: Floats) -> float:
        return float(-(share * np.log(np.maximum(share, 1e-300))).sum()) - entropy_min

    result = scipy.optimize.minimize(
        lambda share: -(utility @ share),
        np.full(levels, 1 / levels),
        jac=lambda _: -utility,
        bounds=[(floor, cap)] * levels,
        constraints=[
            {"type": "eq", "fun": lambda share: share.sum() - 1, "jac": lambda _: np.ones(levels)},
            {"type": "ineq", "fun": excess, "jac": lambda share: -(np.log(np.maximum(share, 1e-300)) + 1)},
        ],
        method="SLSQP",
        options={"ftol": 1e-10, "maxiter": 500},
    )
    return float(-result.fun), result.x
