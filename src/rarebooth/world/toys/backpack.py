"""A backpack: pockets, a flap with a buckle, straps and a handle."""

from collections.abc import Mapping

from rarebooth.world.solids import box, drum, length, ring, rod
from rarebooth.world.tensors import Sizes, Vec
from rarebooth.world.toy import Part, Piece, Spot, Toy

PARTS = (
    Part("body", "main", patterned=True),
    Part("flap", "main"),
    Part("pocket", "second"),
    Part("side pockets", "third"),
    Part("straps", "third"),
    Part("buckle", "white"),
)


def _extent(s: Mapping[str, float]) -> tuple[float, float, float]:
    return s["width"] + 0.11, s["height"] * 2 + 0.14, s["depth"] + 0.2


def _pieces(p: Vec, s: Sizes) -> list[Piece]:
    w, h, d = s["width"], s["height"], s["depth"]
    side = p.x.abs()
    y = p.y - h
    body = box(p.x, y, p.z, w, h, d, 0.12)
    flap = box(p.x, y - h * 0.7, p.z - 0.02, w + 0.02, h * 0.32, d + 0.03, 0.1)
    pocket = box(p.x, p.y - h * 0.5, p.z - d - 0.02, w * 0.74, h * 0.36, 0.1, 0.07)
    lid = box(p.x, p.y - h * 0.8, p.z - d - 0.03, w * 0.78, h * 0.1, 0.11, 0.04)
    pouch = box(side - w - 0.01, p.y - h * 0.45, p.z, 0.09, h * 0.34, d * 0.6, 0.08)
    handle = ring(length(p.x, p.y - h * 2), p.z + d * 0.4, 0.1, 0.026)
    strap = rod(
        side, p.y, p.z, (w * 0.5, h * 1.7, -d), (w * 0.62, h * 0.9, -d - 0.13), 0.05
    ).minimum(rod(side, p.y, p.z, (w * 0.62, h * 0.9, -d - 0.13), (w * 0.7, 0.12, -d), 0.04))
    strips = box(side - w * 0.45, y - h * 0.42, p.z - d - 0.03, 0.035, h * 0.2, 0.03, 0.02)
    buckle = box(p.x, y - h * 0.36, p.z - d - 0.05, 0.065, 0.075, 0.035, 0.02)
    button = drum(length(p.x, p.y - h * 0.8), p.z - d - 0.13, 0.035, 0.03, 0.01)
    return [
        Piece(0, body),
        Piece(1, flap),
        Piece(2, pocket),
        Piece(3, pouch.minimum(lid)),
        Piece(4, handle.minimum(strap).minimum(strips)),
        Piece(5, buckle.minimum(button)),
    ]


def _spot(s: Mapping[str, float]) -> Spot:
    return Spot(0.0, s["height"] * 0.44, 0.15)


TOY = Toy(
    parts=PARTS,
    sizes={"width": (0.33, 0.43), "height": (0.44, 0.54), "depth": (0.17, 0.24)},
    extent=_extent,
    pieces=_pieces,
    spot=_spot,
    emblem_part=2,
)
