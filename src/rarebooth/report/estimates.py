"""What is computed for a page and is no metric: bands, a Pareto front, smoothed losses."""

from collections.abc import Sequence

import numpy as np

from rarebooth.intervals import FEWEST, estimate


def band(values: Sequence[float | None]) -> tuple[float, float] | None:
    """The bootstrap interval of a mean, without values that are missing; None of too few."""
    there = [value for value in values if value is not None]
    if len(there) < FEWEST:
        return None
    found = estimate(there)
    return found.low, found.high


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
