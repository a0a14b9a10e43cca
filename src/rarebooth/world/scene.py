"""A scene of the miniature world: which toy, where, and how it is photographed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scene:
    """Everything that determines one rendered picture.

    ``toy`` is a class noun ("backpack"); ``instance`` seeds the hidden traits, so that equal
    (toy, instance) means the same individual; ``place`` names an entry of ``world.places``;
    ``shot`` seeds view, pose and light; ``quality`` is one of DreamBench's property prompts
    ("red", "purple", "shiny", "wet", "cube shaped") or None; ``outfit`` names an entry of
    ``world.outfits`` that a dog or a cat wears, or None.
    """

    toy: str
    instance: int
    place: str
    shot: int
    quality: str | None = None
    outfit: str | None = None
