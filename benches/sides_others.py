"""Other ways to solve the plain two-sided problem P2, each set up once where its package allows it.

Every peer takes an `Instance` and then, where its values are linear, new utilities: what is
timed is `solve(bid_utility, ask_utility)`, which returns the objective (account currency) and the sizes (contracts).
All work in the units of `unit_scale`. Clarabel is in `benches.sides_peer` and `benches.peers`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import cvxpy
import ecos
import numpy as np
import scipy.optimize
import scipy.sparse
import scs
from numpy.typing import NDArray

from benches.heuristic_pipeline import heuristic_sizes
from benches.sides_peer import Instance, LadderSide, conic, flattest, linear_rows, objective, unit_scale

__all__ = ["CvxpySides", "EcosSides", "HeuristicSides", "Peer", "ScsSides", "SlsqpSides"]

Floats = NDArray[np.float64]


class Peer(Protocol):
    """What every peer offers."""

    def solve(self, bid_utility: Floats, ask_utility: Floats) -> tuple[float, Floats, Floats]:
        """Objective, bid sizes and ask sizes for new utilities, both arrays of shape (K,) of their side."""
        ...


def _plain(instance: Instance) -> None:
    if any(side.saturation is not None for side in instance.sides) or instance.fill_variance:
        raise ValueError("these peers solve linear values without the variance of fills")


class EcosSides:
    """ECOS: an interior-point method for exponential cones; it has no way to keep a problem, so it sets up each time.

    The matrices are ready beforehand. Its own tolerances, 1e-8.
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        scaled, self._unit = unit_scale(instance)
        program = conic(replace(scaled, price_of_risk=0.0), lean=True)
        first = program.equalities
        order = np.arange(len(program.bounds) - first)
        # Its exponential cone lists (x, z, y) where the program has (x, y, z).
        tail = order[program.inequalities :].reshape(-1, 3)[:, [0, 2, 1]].ravel()
        order = np.concatenate([order[: program.inequalities], tail])
        self._blocks = program.blocks
        equal, cones, bounds = program.matrix[:first], program.matrix[first:][order], program.bounds[first:][order]
        self._dims: dict[str, Any] = {"l": program.inequalities, "q": [], "e": program.exponentials}
        self._cost = program.cost.copy()
        if scaled.price_of_risk > 0:
            # It has no quadratic objective: one more unknown t with t >= eta/2 x^2, that is
            # |(sqrt(2 eta) x, t - 1)| <= t + 1.
            root = np.sqrt(2 * scaled.price_of_risk)
            fills = np.zeros(equal.shape[1])
            for side, block, sign in zip(scaled.sides, self._blocks, (1.0, -1.0), strict=True):
                fills[block] = sign * side.fill_probability
            square = np.zeros((3, equal.shape[1] + 1))
            square[1, :-1] = -root * fills
            square[[0, 2], -1] = -1.0
            limits = np.array([1.0, root * scaled.position, -1.0])
            equal, cones = (scipy.sparse.hstack([rows, np.zeros((rows.shape[0], 1))]) for rows in (equal, cones))
            linear, cones = cones.tocsr()[: program.inequalities], cones.tocsr()[program.inequalities :]
            cones = scipy.sparse.vstack([linear, square, cones])
            bounds = np.insert(bounds, program.inequalities, limits)
            self._dims["q"], self._cost = [3], np.append(self._cost, 1.0)
        self._equal = scipy.sparse.csc_matrix(equal), program.bounds[:first]
        self._cones = scipy.sparse.csc_matrix(cones), bounds
        self._constant = program.constant

    def solve(self, bid_utility: Floats, ask_utility: Floats) -> tuple[float, Floats, Floats]:
        """Objective and sizes for new utilities."""
        _plain(self._instance)
        self._cost[self._blocks[0]] = bid_utility / -self._unit.utility
        self._cost[self._blocks[1]] = ask_utility / -self._unit.utility
        return self.as_stated()

    def as_stated(self) -> tuple[float, Floats, Floats]:
        """Objective and sizes for the utilities in place, saturating values included."""
        found = ecos.solve(self._cost, *self._cones, self._dims, *self._equal, verbose=False)
        # 10: close to optimal, in its own words; the objective is compared.
        if found["info"]["exitFlag"] not in (0, 10):
            raise ArithmeticError(f"ECOS says {found['info']['infostring']}")
        sizes = found["x"] * self._unit.size
        value = -(found["info"]["pcost"] + self._constant) * self._unit.size * self._unit.utility
        return value, sizes[self._blocks[0]], sizes[self._blocks[1]]


class ScsSides:
    """SCS, a first-order method: factorised once, then `update(c)` and a solve that starts from the last answer."""

    def __init__(self, instance: Instance, tolerance: float = 1e-6) -> None:
        self._instance = instance
        scaled, self._unit = unit_scale(instance)
        program = conic(scaled, lean=True)
        self._cost, self._blocks = program.cost.copy(), program.blocks
        self._constant = program.constant
        self._solver = scs.SCS(
            {"P": program.quadratic, "A": program.matrix, "b": program.bounds, "c": program.cost},
            {"z": program.equalities, "l": program.inequalities, "ep": program.exponentials},
            verbose=False,
            eps_abs=tolerance,
            eps_rel=tolerance,
            max_iters=100_000,
        )

    def solve(self, bid_utility: Floats, ask_utility: Floats) -> tuple[float, Floats, Floats]:
        """Objective and sizes for new utilities."""
        _plain(self._instance)
        self._cost[self._blocks[0]] = bid_utility / -self._unit.utility
        self._cost[self._blocks[1]] = ask_utility / -self._unit.utility
        self._solver.update(c=self._cost)
        return self.as_stated()

    def as_stated(self) -> tuple[float, Floats, Floats]:
        """Objective and sizes for the utilities in place, saturating values included."""
        found = self._solver.solve(warm_start=True)
        if found["info"]["status"] != "solved":
            raise ArithmeticError(f"SCS says {found['info']['status']}")
        sizes = found["x"] * self._unit.size
        value = -(found["info"]["pobj"] + self._constant) * self._unit.size * self._unit.utility
        return value, sizes[self._blocks[0]], sizes[self._blocks[1]]


class CvxpySides:
    """The problem as one writes it in cvxpy, utilities as parameters (DPP), compiled once and solved by Clarabel.

    Which values saturate hangs on the sign of their utilities, which no parameter may change: such a problem is
    compiled as it is stated, for `as_stated`.
    """

    def __init__(self, instance: Instance) -> None:
        scaled, self._unit = unit_scale(instance)
        sides = scaled.sides
        self._utility = [cvxpy.Parameter(side.levels) for side in sides]
        for parameter, side in zip(self._utility, sides, strict=True):
            parameter.value = side.utility
        self._sizes = [cvxpy.Variable(side.levels) for side in sides]
        sums = [cvxpy.Variable() for _ in sides]
        rules: list[Any] = []
        for side, size, total in zip(sides, self._sizes, sums, strict=True):
            rules += [
                total == cvxpy.sum(size),
                -cvxpy.sum(cvxpy.rel_entr(size, total * np.ones(side.levels))) >= side.entropy_min * total,
                size >= side.share_floor * total,
                size <= side.share_cap * total,
                total <= side.size_max,
            ]
            capped = np.flatnonzero(np.isfinite(side.size_cap))
            if len(capped):
                rules.append(size[capped] <= side.size_cap[capped])
        held = [side.margin_per_unit @ size for side, size in zip(sides, self._sizes, strict=True)]
        if scaled.combine == "sum":
            rules.append(held[0] + held[1] <= scaled.margin[0])
        else:
            rules += [held[0] <= scaled.margin[0], held[1] <= scaled.margin[1]]
        if scaled.bid_share is not None:
            low, high = scaled.bid_share
            rules += [sums[0] >= low * (sums[0] + sums[1]), sums[0] <= high * (sums[0] + sums[1])]
        if instance.fill_variance:
            raise ValueError("this peer has no variance of fills")
        self._linear = all(side.saturation is None for side in sides)
        value = sum(
            utility @ size if self._linear else _curved(side, size)
            for utility, side, size in zip(self._utility, sides, self._sizes, strict=True)
        )
        if scaled.price_of_risk > 0:
            fills = [side.fill_probability @ size for side, size in zip(sides, self._sizes, strict=True)]
            value -= 0.5 * scaled.price_of_risk * cvxpy.square(scaled.position + fills[0] - fills[1])
        self._problem = cvxpy.Problem(cvxpy.Maximize(value), rules)
        if not self._problem.is_dcp(dpp=True):
            raise ValueError("cvxpy would compile this problem anew each time")

    def solve(self, bid_utility: Floats, ask_utility: Floats) -> tuple[float, Floats, Floats]:
        """Objective and sizes for new utilities, where values are linear."""
        if not self._linear:
            raise ValueError("saturating values have no form with parameters")
        for parameter, utility in zip(self._utility, (bid_utility, ask_utility), strict=True):
            parameter.value = utility / self._unit.utility
        return self.as_stated()

    def as_stated(self) -> tuple[float, Floats, Floats]:
        """Objective and sizes for the utilities it was made with."""
        self._problem.solve(solver=cvxpy.CLARABEL)
        if self._problem.status != cvxpy.OPTIMAL:
            raise ArithmeticError(f"cvxpy says {self._problem.status}")
        bid, ask = (np.asarray(size.value) * self._unit.size for size in self._sizes)
        return float(self._problem.value) * self._unit.size * self._unit.utility, bid, ask


def _curved(side: LadderSide, size: Any) -> Any:
    """Value of a side's sizes where those of positive utility saturate."""
    value = np.where(side.saturating, 0.0, side.utility) @ size
    at = np.flatnonzero(side.saturating)
    if len(at) and side.saturation_scale is not None:
        ratio = cvxpy.multiply(1 / side.saturation_scale[at], size[at])
        curve = 1 - cvxpy.exp(-ratio) if side.saturation == "exponential" else cvxpy.log1p(ratio)
        value += (side.utility * side.saturation_scale)[at] @ curve
    return value


class SlsqpSides:
    """SciPy's SLSQP with gradients over the shares and total of each side, started from half of the flattest ladder.

    In shares and totals every function is smooth, also where a side is empty; over the sizes it is not, and SLSQP
    stops far from the optimum.
    """

    def __init__(self, instance: Instance) -> None:
        self._scaled, self._unit = unit_scale(instance)
        sides = self._scaled.sides
        first, levels = sides[0].levels, sides[0].levels + sides[1].levels
        self._blocks = (slice(0, first), slice(first, levels))
        self._fill = np.concatenate([sides[0].fill_probability, -sides[1].fill_probability])
        rows, bounds, names = linear_rows(self._scaled)
        kept = [name.kind not in ("size_max", "share_floor", "share_cap") for name in names]
        self._rows, self._limits = rows[kept], bounds[kept]
        self._bounds = [
            (float(low), float(high))
            for side in sides
            for low, high in zip(side.share_floor, np.minimum(side.share_cap, 1.0), strict=True)
        ] + [(0.0, float(side.size_max)) for side in sides]
        shares = np.concatenate([flattest(side) for side in sides])
        unit = np.concatenate([shares, [1.0, 1.0]])
        use = self._rows @ unit
        tight = use > 0
        most = [float((self._limits[tight] / use[tight]).min()), *(float(side.size_max) for side in sides)]
        self._start = np.concatenate([shares, [0.5 * min(most)] * 2])
        self._sums = np.zeros((2, levels + 2))
        for index, block in enumerate(self._blocks):
            self._sums[index, block] = 1.0
        self._rules = [
            {"type": "eq", "fun": lambda point: self._sums @ point - 1, "jac": lambda _: self._sums},
            {"type": "ineq", "fun": self._slack, "jac": self._slack_slope},
            {"type": "ineq", "fun": self._excess, "jac": self._excess_slope},
        ]

    def _sizes(self, point: Floats) -> Floats:
        return point[:-2] * np.repeat(point[-2:], [block.stop - block.start for block in self._blocks])

    def _pull_back(self, slopes: Floats, point: Floats) -> Floats:
        """Slopes in the shares and totals from slopes in the sizes and totals, both of shape (rows, levels + 2)."""
        repeated = np.repeat(point[-2:], [block.stop - block.start for block in self._blocks])
        pulled = np.hstack([slopes[:, :-2] * repeated, slopes[:, -2:]])
        for index, block in enumerate(self._blocks):
            pulled[:, index - 2] += slopes[:, block] @ point[block]
        return pulled

    def _slack(self, point: Floats) -> Floats:
        return self._limits - self._rows @ np.concatenate([self._sizes(point), point[-2:]])

    def _slack_slope(self, point: Floats) -> Floats:
        return -self._pull_back(self._rows, point)

    def _excess(self, point: Floats) -> Floats:
        excess = []
        for block, side in zip(self._blocks, self._scaled.sides, strict=True):
            share = np.maximum(point[block], 1e-300)
            excess.append(-(share * np.log(share)).sum() - side.entropy_min)
        return np.array(excess)

    def _excess_slope(self, point: Floats) -> Floats:
        slope = np.zeros((2, len(point)))
        for index, block in enumerate(self._blocks):
            slope[index, block] = -(np.log(np.maximum(point[block], 1e-300)) + 1)
        return slope

    def solve(self, bid_utility: Floats, ask_utility: Floats) -> tuple[float, Floats, Floats]:
        """Objective and sizes for new utilities, however SLSQP ended: compare them before quoting its time."""
        sides = [
            replace(side, utility=utility / self._unit.utility)
            for side, utility in zip(self._scaled.sides, (bid_utility, ask_utility), strict=True)
        ]
        eta, position = self._scaled.price_of_risk, self._scaled.position

        def loss(point: Floats) -> tuple[float, Floats]:
            sizes = self._sizes(point)
            net = position + self._fill @ sizes
            parts = [sizes[block] for block in self._blocks]
            value = sum(float(side.value(part).sum()) for side, part in zip(sides, parts, strict=True))
            marginal = np.concatenate([side.marginal(part) for side, part in zip(sides, parts, strict=True)])
            slope = np.concatenate([eta * net * self._fill - marginal, [0.0, 0.0]])
            return float(0.5 * eta * net**2) - value, self._pull_back(slope[None, :], point)[0]

        found = scipy.optimize.minimize(
            loss,
            self._start,
            jac=True,
            bounds=self._bounds,
            constraints=self._rules,
            method="SLSQP",
            options={"ftol": 1e-10, "maxiter": 500},
        )
        sizes = self._sizes(found.x) * self._unit.size
        return float(-found.fun) * self._unit.size * self._unit.utility, sizes[self._blocks[0]], sizes[self._blocks[1]]


class HeuristicSides:
    """The older way, once a side, each with half of the margin; it knows no other side, no caps and no inventory."""

    SIZE_MIN = 10 / 27.11
    """Smallest order, contracts: 10 of notional at the price of the cases."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._random = np.random.default_rng(0)

    def solve(self, bid_utility: Floats, ask_utility: Floats) -> tuple[float, Floats, Floats]:
        """What the sizes are worth, feasible or not, and the sizes."""
        sizes, sides = [], []
        for side, utility in zip(self._instance.sides, (bid_utility, ask_utility), strict=True):
            sides.append(replace(side, utility=utility))
            sizes.append(
                heuristic_sizes(
                    utility,
                    entropy_min=side.entropy_min,
                    share_min=0.05 / side.levels,
                    capacity=min(side.size_max, 0.5 * self._instance.margin[0] / float(side.margin_per_unit.mean())),
                    size_min=self.SIZE_MIN,
                    random=self._random,
                )
            )
        return objective(replace(self._instance, bid=sides[0], ask=sides[1]), *sizes), sizes[0], sizes[1]
