"""A vase: a turned profile with rim, foot and, for some, two handles."""

from collections.abc import Mapping

from rarebooth.world.solids import drum, length, ring
from rarebooth.world.tensors import Sizes, Vec
from rarebooth.world.toy import Part, Piece, Spot, Toy

PARTS = (
    Part("body", "main", patterned=True),
    Part("rim", "second"),
    Part("foot", "second"),
    Part("handles", "third"),
    Part("inside", "black"),
)


def _extent(s: Mapping[str, float]) -> tuple[float, float, float]:
    wide = s["belly"] + 0.03
    return wide + max(0.0, s["handles"]) + 0.02, s["tall"] + 0.06, max(wide, s["neck"] + 0.1)


def _pieces(p: Vec, s: Sizes) -> list[Piece]:
    tall, belly, neck = s["tall"], s["belly"], s["neck"]
    radial = length(p.x, p.z)
    t = (p.y / tall).clamp(0.0, 1.0)
    # A quartic bump for the belly plus a line from foot to neck: smooth, and no negative base.
    bump = (t * (1.0 - t) * 4.0).square() * (1.35 - 0.7 * t)
    foot = belly * 0.5
    line = foot + (neck - foot) * t
    profile = line + (belly - (foot + neck) * 0.5).clamp_min(0.05) * bump
    body = (radial - profile).maximum((p.y - tall * 0.5).abs() - tall * 0.5) * 0.75
    rim = ring(radial, p.y - tall, neck, 0.04)
    base = drum(radial, p.y - 0.04, foot + 0.03, 0.045, 0.02)
    bow = s["handles"].clamp_min(0.0)
    handles = ring(
        length(p.x.abs() - neck - bow * 0.35, p.y - tall * 0.76), p.z, bow, 0.035 * (bow > 0)
    ) + 0.5 * (bow <= 0)
    mouth = drum(radial, p.y - tall, neck - 0.02, 0.012, 0.005)
    return [
        Piece(0, body),
        Piece(1, rim),
        Piece(2, base),
        Piece(3, handles),
        Piece(4, mouth),
    ]


def _spot(s: Mapping[str, float]) -> Spot:
    return Spot(0.0, s["tall"] * 0.45, s["belly"] * 0.55)


TOY = Toy(
    parts=PARTS,
    sizes={
        "tall": (0.85, 1.1),
        "belly": (0.27, 0.38),
        "neck": (0.13, 0.24),
        "handles": (-0.14, 0.14),
    },
    extent=_extent,
    pieces=_pieces,
    spot=_spot,
    emblem_part=0,
    gloss=0.5,
)
