"""A plain yellow shirt with short sleeves."""

from rarebooth.world.figure import Figure
from rarebooth.world.garments import jacket
from rarebooth.world.outfit import Outfit
from rarebooth.world.tensors import Vec
from rarebooth.world.toy import Part, Piece


def _pieces(p: Vec, f: Figure) -> list[Piece]:
    return [Piece(0, jacket(p, f, 0.04, -0.1, 0.5))]


OUTFIT = Outfit(
    phrases=("wearing a yellow shirt", "in a yellow shirt", "with a yellow shirt"),
    parts=(Part("shirt", "yellow"),),
    pieces=_pieces,
)
