"""What is computed for a page and is no metric: bands, a Pareto front, smoothed losses."""

from collections.abc import Sequence
from typing import Final

import numpy as np

RESAMPLES: Final = 1000
COVERAGE: Final = (2.5, 97.5)
"""Percentiles of a 95 % band."""

FEWEST: Final = 5
"""Values below which a bootstrap says nothing of others."""


def band(values: Sequence[float | None]) -> tuple[float, float] | None:
    """The 95 % percentile bootstrap band of a mean (Efron 1979), the same at every call.

    None for fewer than FEWEST values.
    """
    there = np.array([value for value in values if value is not None], dtype=float)
    if len(there) < FEWEST:
        return None
    chosen = np.random.default_rng(0).integers(len(there), size=(RESAMPLES, len(there)))
    low, high = np.percentile(there[chosen].mean(axis=1), COVERAGE)
    return float(low), float(high)


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The points that no other beats in one coordinate and equals or beats in the other.

    More is better in both. The larger the first coordinate, the later; of equal points the first.
    """
    order = sorted(range(len(points)), key=lambda n: (-points[n][0], -points[n][1]))
    kept: list[int] = []
    for n in order:
        if not kept or points[n][1] > points[kept[-1]][1]:
            kept.append(n)
    return kept[::-1]


def smooth(values: Sequence[float]) -> list[float]:
    """Moving means over a tenth of the values, at least nine; fewer towards the ends."""
    reach = max(9, len(values) // 10) // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    middle = np.arange(len(values))
    first = np.maximum(0, middle - reach)
    last = np.minimum(len(values), middle + reach + 1)
    return ((sums[last] - sums[first]) / (last - first)).tolist()
