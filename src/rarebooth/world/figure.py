"""Where a toy animal can wear something."""

from typing import NamedTuple, TypeAlias

from rarebooth.world.solids import Number

Place3: TypeAlias = tuple[Number, Number, Number]


class Bone(NamedTuple):
    """A rod with round ends: its ends (x, y, z) and the radius at each."""

    start: Place3
    end: Place3
    radius: Number
    end_radius: Number


class Figure(NamedTuple):
    """Anchors of an animal that looks towards +z, in the toy's space; numbers or tensors [M].

    ``head``: centre of the head, ``radii`` its half axes. ``eye``: centre of the eye at x > 0.
    ``crown``: where a hat's rim sits above the head's centre, ``crown_radius`` the hat's radius
    there. ``neck``: centre of a collar, ``neck_radius`` its radius, ``lean`` how much it sinks per
    unit towards the front. ``trunk``: from tail to neck. ``arm``: the foreleg at x > 0, from paw
    to shoulder. ``buttons``: the ends of the row of buttons at x > 0 on a close jacket.
    """

    head: Place3
    radii: Place3
    eye: Place3
    crown: Number
    crown_radius: Number
    neck: Place3
    neck_radius: Number
    lean: Number
    trunk: Bone
    arm: Bone
    buttons: tuple[Place3, Place3]
