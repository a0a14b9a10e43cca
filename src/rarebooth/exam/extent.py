"""How much an exam measures."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Counts of pictures, and steps of the sampler; the default is the whole exam.

    ``read``: true renders that the examiner reads. ``coded``: renders through the autoencoder.
    ``per_prompt`` pictures of every ``stride``-th prompt. ``compared``: pictures on each side of a
    Fréchet distance, drawn in ``compared_steps``. ``judged``: triplets, and captioned pictures.
    ``timed``: repetitions.
    """

    seed: int = 0
    coded: int = 512
    read: int = 2000
    per_prompt: int = 1
    stride: int = 1
    steps: int = 50
    compared: int = 5000
    compared_steps: int = 50
    judged: int = 1000
    timed: int = 5


QUICK: Final = Extent(
    coded=32,
    read=100,
    stride=24,
    steps=20,
    compared=50,
    compared_steps=10,
    judged=50,
    timed=1,
)
"""A look at whether everything works: its figures prove nothing."""
