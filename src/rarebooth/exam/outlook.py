"""What a missed bar would take, by the curves in the recipes.

The last part of a curve says what a doubling of the pictures seen has brought; that it would go on
so is an assumption, so every sentence says that it extrapolates.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

NO_CURVE: Final = "the recipe holds no curve to extrapolate from"

_FLAT: Final = 0.005
"""A fall per doubling below this is noise."""

_MOST_DOUBLINGS: Final = 12


def autoencoder_outlook(recipe: Mapping[str, Any], missing: float) -> str:
    """The pictures and minutes that would add so many decibels.

    The loss is mostly absolute error, so its fall is taken for the fall of the error's amplitude.
    """
    stage = recipe.get("autoencoder", {})
    fall = per_doubling(stage.get("loss", ()))
    if fall is None:
        return NO_CURVE
    if fall > 1 - _FLAT:
        return f"{missing:.1f} dB; the curve is flat, so more of the same training would not do"
    gain = -20 * math.log10(fall)
    return (
        f"{missing:.1f} dB; extrapolating {gain:.2f} dB per doubling of pictures in the second half"
        f" of the curve: {_training(recipe, stage, missing / gain)}"
    )


def denoiser_outlook(recipe: Mapping[str, Any]) -> str:
    """What the denoiser's training was, and what its curve still promises."""
    stage = recipe.get("denoiser", {})
    fall = per_doubling(stage.get("loss", ()))
    if fall is None:
        return NO_CURVE
    return (
        f"the loss fell by {100 * (1 - fall):.1f} % per doubling of pictures in the second half of "
        f"the curve; extrapolating another doubling: {_training(recipe, stage, 1)}. The curve does "
        "not say how many answers that turns right"
    )


def answers_outlook(
    recipe: Mapping[str, Any], curve: Sequence[Sequence[float]], share: float, bar: float
) -> str:
    """The pictures and minutes that would lower the share of wrong answers to the bar's.

    ``curve``: (pictures or steps, share of right answers). ``share``: what was found.
    """
    fall = per_doubling([(seen, 1 - right) for seen, right in curve if right < 1])
    if fall is None:
        return NO_CURVE
    if fall > 1 - _FLAT:
        return "the curve is flat, so more of the same training would not do"
    doublings = math.log((1 - bar) / (1 - share)) / math.log(fall)
    return (
        f"extrapolating {100 * (1 - fall):.0f} % fewer errors per doubling of pictures in the "
        f"second half of the curve: {_training(recipe, recipe, doublings)}"
    )


def per_doubling(curve: Sequence[Sequence[float]]) -> float | None:
    """The factor by which a curve of (steps or pictures, value) changed per doubling, at last.

    Between the middle of the curve and its end; None where it is too short to tell.

    >>> per_doubling([(1, 9.0), (10, 4.0), (20, 2.0)])
    0.5
    """
    if len(curve) < 2:
        return None
    end, last = curve[-1]
    middle, before = next(((x, y) for x, y in curve if x >= end / 2), curve[-1])
    if not 0 < middle < end or before <= 0 or last <= 0:
        return None
    return float((last / before) ** (1 / math.log2(end / middle)))


def _training(recipe: Mapping[str, Any], stage: Mapping[str, Any], doublings: float) -> str:
    pictures, minutes = stage.get("pictures", 0), stage.get("minutes", 0)
    known = f"after {pictures:,} in {minutes:g} minutes on {recipe.get('machine', 'one machine')}"
    if doublings > _MOST_DOUBLINGS:
        return f"more than {_MOST_DOUBLINGS} doublings, {known}; another recipe is wanted"
    times = 2**doublings
    return f"{_about(pictures * times)} pictures in all, {_about(minutes * times)} minutes, {known}"


def _about(number: float) -> str:
    """Two digits are all that an extrapolation has.

    >>> _about(783_151)
    'about 780,000'
    """
    return f"about {float(f'{number:.2g}'):,.0f}"
