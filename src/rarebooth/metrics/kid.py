"""The kernel distance of two sets of features (KID): Binkowski et al. 2018.

The squared maximum mean discrepancy under k(x, y) = (x·y / D + 1)³, without bias also for a few
pictures, so that of equal distributions it is zero on average and may be negative.
"""

from torch import Tensor

from rarebooth.errors import SettingsError


def kernel_distance(one: Tensor, other: Tensor) -> float:
    """The distance of features [N, D] and [N, D]; computed in float64.

    Row n of both may come from the same seed: no row is compared with its own or its partner, the
    form that stays unbiased for pairs (Gretton et al. 2012, lemma 6).

    Raises:
        SettingsError: fewer than two rows, or not as many on both sides.
    """
    count = len(one)
    if count < 2 or len(other) != count:
        raise SettingsError(
            f"A kernel distance needs 2 pictures or more, as many on both sides; here are {count} "
            f"and {len(other)}. Ask for as many of both."
        )
    x, y = one.double(), other.double()
    kernels = _apart(x, x) + _apart(y, y) - 2 * _apart(x, y)
    return float(kernels / (count * (count - 1)))


def _apart(x: Tensor, y: Tensor) -> Tensor:
    """The kernel summed over all rows of different number."""
    kernel = (x @ y.T / x.shape[1] + 1) ** 3
    return kernel.sum() - kernel.trace()
