"""A drinks can: label, shoulder, metal lid and a pull tab."""

from collections.abc import Mapping

from rarebooth.world.solids import box, drum, length, ring
from rarebooth.world.tensors import Sizes, Vec
from rarebooth.world.toy import Part, Piece, Spot, Toy

PARTS = (
    Part("label", "main", patterned=True),
    Part("band", "second"),
    Part("lid", "gray"),
    Part("tab", "third"),
)


def _extent(s: Mapping[str, float]) -> tuple[float, float, float]:
    return s["radius"] + 0.02, s["tall"] + 0.05, s["radius"] + 0.02


def _pieces(p: Vec, s: Sizes) -> list[Piece]:
    r, h = s["radius"], s["tall"] * 0.5
    radial = length(p.x, p.z)
    y = p.y - h
    label = drum(radial, y, r, h - 0.12, 0.01)
    bands = drum(radial, y.abs() - h * s["band"], r + 0.008, 0.05, 0.008)
    # Bare metal narrows towards the lid and the bottom.
    lean = (y.abs() - h + 0.14).clamp_min(0.0) * 0.75
    metal = drum(radial + lean, y, r - 0.005, h - 0.02, 0.01) * 0.8
    lid = metal.minimum(ring(radial, y.abs() - h + 0.028, r - 0.1, 0.028))
    tab = box(p.x, y - h - 0.005, p.z - r * 0.2, 0.07, 0.022, 0.14, 0.012)
    return [Piece(0, label), Piece(1, bands), Piece(2, lid), Piece(3, tab)]


def _spot(s: Mapping[str, float]) -> Spot:
    return Spot(0.0, s["tall"] * 0.5, s["radius"] * 0.68)


TOY = Toy(
    parts=PARTS,
    sizes={"radius": (0.27, 0.35), "tall": (0.88, 1.08), "band": (0.56, 0.7)},
    extent=_extent,
    pieces=_pieces,
    spot=_spot,
    emblem_part=0,
    gloss=0.8,
)
