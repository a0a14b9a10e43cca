"""The Fréchet distance of two sets of features, taken as two normal distributions.

|m1 - m2|² + tr(C1 + C2 - 2 (C1^½ C2 C1^½)^½): Dowson and Landau 1982; as a measure of generated
pictures, Heusel et al. 2017. The symmetric form needs eigenvalues of symmetric matrices alone.
"""

import torch
from torch import Tensor

from rarebooth.errors import SettingsError


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """The distance of features [N, D] and [M, D], in their squared units; computed in float64.

    Raises:
        SettingsError: fewer than two rows have no covariance.
    """
    for features in (one, other):
        if len(features) < 2:
            raise SettingsError(
                f"A Fréchet distance needs 2 pictures or more on each side; here are "
                f"{len(features)}. Ask for more."
            )
    middle1, spread1 = _moments(one)
    middle2, spread2 = _moments(other)
    root = _root(spread1)
    crossed = torch.linalg.eigvalsh(root @ spread2 @ root).clamp_min(0).sqrt().sum()
    apart = (middle1 - middle2).square().sum()
    # Of equal sets nothing is left but rounding, which may be negative.
    return max(0.0, float(apart + spread1.trace() + spread2.trace() - 2 * crossed))


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    exact = features.double()
    return exact.mean(0), exact.T.cov()


def _root(matrix: Tensor) -> Tensor:
    """The square root of a symmetric positive matrix [D, D]."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T
