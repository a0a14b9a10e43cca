"""How sure a mean over subjects or prompts is: the percentile bootstrap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

DRAWS: Final = 10_000
SEED: Final = 0
"""The same for every interval, so that a table made twice is the same table."""

LEVEL: Final = 95
"""Percent."""

FEWEST: Final = 5
"""Values below which an interval is not shown: that of two is the two, whatever they are."""


@dataclass(frozen=True)
class Estimate:
    """A mean of ``count`` values; ``LEVEL`` % of resampled means lie from ``low`` to ``high``."""

    mean: float
    low: float
    high: float
    count: int


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of at least one value, with its percentile bootstrap interval.

    Source: Efron and Tibshirani 1993, section 13.3.
    """
    known = np.asarray(values, dtype=np.float64)
    picks = np.random.default_rng(SEED).integers(len(known), size=(DRAWS, len(known)))
    means = known[picks].mean(axis=1)
    low, high = np.percentile(means, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return Estimate(float(known.mean()), float(low), float(high), len(known))


def paired(one: Mapping[str, float], other: Mapping[str, float]) -> Estimate | None:
    """The mean of ``one - other`` over the subjects that both have; None where they share none."""
    shared = [one[subject] - other[subject] for subject in one if subject in other]
    return estimate(shared) if shared else None
