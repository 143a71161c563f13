"""Other ways to solve problem P1, as comparison peers: a conic solver kept prebuilt, and a general optimizer."""

from __future__ import annotations

import clarabel
import numpy as np
import scipy.optimize
import scipy.sparse
from numpy.typing import NDArray

__all__ = ["ClarabelSide", "entropy", "slsqp"]

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
