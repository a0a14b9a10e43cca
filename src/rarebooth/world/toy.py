"""What a toy has to say about itself to be drawn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from torch import Tensor

from rarebooth.world.figure import Figure
from rarebooth.world.solids import Number
from rarebooth.world.tensors import Sizes, Vec


class Part(NamedTuple):
    """A part of a toy that has one colour.

    ``role`` is "main", "second", "third" (colours drawn per instance) or a fixed colour word;
    ``patterned`` parts carry the instance's pattern.
    """

    name: str
    role: str
    patterned: bool = False


class Piece(NamedTuple):
    """A solid and the index of the part it belongs to."""

    part: int
    distance: Tensor


class Spot(NamedTuple):
    """The disc that the emblem fills, as seen along the toy's ``emblem_axis``."""

    across: float
    height: float
    radius: float


@dataclass(frozen=True)
class Toy:
    """A class of toys; it stands on y = 0, centred on the y axis, its front towards +z.

    ``parts[0]`` is the largest part. ``sizes`` are ranges of proportions, drawn per instance; where
    only the sign of one shows, its range is -1 to 1.
    ``extent`` gives the half width (x), height (y) and half depth (z) that enclose it;
    ``pieces`` the solids at points [M]; ``spot`` the place of the emblem on part
    ``emblem_part``, seen from the front (``emblem_axis`` "z") or from both sides ("x"). ``paint``
    may recolour details: (points, part index, colour [3, M], sizes) -> colour. Views come from
    ``facing`` +- ``turn`` radians, 0 being the front; the camera comes ``closer`` to toys that
    leave their box half empty. Only what has a ``figure`` can wear an outfit.
    """

    parts: tuple[Part, ...]
    sizes: Mapping[str, tuple[float, float]]
    extent: Callable[[Mapping[str, float]], tuple[float, float, float]]
    pieces: Callable[[Vec, Sizes], list[Piece]]
    spot: Callable[[Mapping[str, float]], Spot]
    emblem_part: int
    emblem_axis: Literal["x", "z"] = "z"
    paint: Callable[[Vec, Tensor, Tensor, Sizes], Tensor] | None = None
    facing: float = 0.0
    turn: float = 0.9
    closer: float = 1.0
    gloss: float = 0.25
    figure: Callable[[Mapping[str, Number]], Figure] | None = None
    patterns: tuple[str, ...] = field(
        default=("none", "none", "stripes", "bands", "dots", "checks", "patches")
    )
