"""The older way to size a ladder, as a comparison peer only: it keeps none of its promises.

Ranks replace magnitudes, the entropy floor is met before noise and filters undo it, and two identical calls disagree.
Nothing in the package uses it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["heuristic_sizes"]

Floats = NDArray[np.float64]

BISECTIONS = 50
DRAWS = 5
CONCENTRATION = 50.0
KEPT_FROM = 0.8
RAISE_MAX = 1.5


def _entropy(share: Floats) -> float:
    return float(-(share * np.log(np.maximum(share, 1e-300))).sum())


def _softmax(score: Floats, temperature: float) -> Floats:
    weight = np.exp((score - score.max()) / temperature)
    return weight / weight.sum()


def heuristic_sizes(
    utility: Floats,
    *,
    entropy_min: float,
    share_min: float,
    capacity: float,
    size_min: float,
    random: np.random.Generator,
) -> Floats:
    """Sizes of one side.

    Parameters
    ----------
    utility
        Value of each level, shape (K,).
    entropy_min
        Entropy floor in nats, met by the shares before noise and filters.
    share_min
        Smallest share mixed into every level.
    capacity
        Total size to place, contracts.
    size_min
        Smallest order, contracts: below 0.8 of it an order is dropped, from there to it the order is raised.
    random
        Source of the Dirichlet draws.
    """
    levels = len(utility)
    ranks = np.argsort(np.argsort(utility, kind="stable"), kind="stable")
    score = 2.0 * ranks / max(levels - 1, 1) - 1.0
    cold, hot = 1e-3, 1e3
    for _ in range(BISECTIONS):
        temperature = float(np.sqrt(cold * hot))
        if _entropy(_softmax(score, temperature)) < entropy_min:
            cold = temperature
        else:
            hot = temperature
    share = (1.0 - levels * share_min) * _softmax(score, hot) + share_min
    share = random.dirichlet(np.maximum(CONCENTRATION * share, 1e-3), DRAWS).mean(axis=0)
    size = share * capacity
    kept = size >= KEPT_FROM * size_min
    freed = float(size[~kept].sum())
    before = size
    size = np.where(kept, np.maximum(size, size_min), 0.0)
    if freed > 0 and kept.any():
        grown = size + freed * size / size.sum()
        size = np.minimum(grown, RAISE_MAX * np.maximum(before, size_min) * kept)
    return size
