"""Gray cobblestones and a row of old houses."""

from torch import Tensor

from rarebooth.world.noise import cells, noise
from rarebooth.world.place import Backdrop, Ground, Place
from rarebooth.world.tensors import mix, ramp, rgb


def _ground(g: Ground) -> Tensor:
    x, z = g.x * 2.25, g.z * 2.8
    row = z.floor()
    x = x + 0.5 * row + noise(x, z) * 0.3
    column = x.floor()
    luck = cells(column, row)
    px, pz = (x - column - 0.5).abs(), (z - row - 0.5).abs()
    edge = (px * px * px * px + pz * pz * pz * pz).sqrt().sqrt()
    stone = mix(rgb((0.46, 0.46, 0.49), g.x), rgb((0.7, 0.69, 0.68), g.x), luck[0])
    stone = stone * (1.1 - 0.8 * edge * edge)
    gap = ramp(edge, 0.36, 0.5)
    near = mix(stone, rgb((0.25, 0.24, 0.24), g.x), gap)
    return mix(near, rgb((0.43, 0.42, 0.42), g.x), ramp(g.far, 2.5, 7.0))


def _sky(b: Backdrop) -> Tensor:
    return mix(rgb((0.85, 0.9, 0.95), b.u), rgb((0.6, 0.76, 0.92), b.u), ramp(b.v, 0.1, 0.4))


def _front(b: Backdrop, colour: Tensor) -> Tensor:
    v = b.v + 0.1
    x = (b.u + b.chance[0]) * 2.6
    house = x.floor()
    luck = cells(house, house * 0.0 + 8.0)
    wall = mix(rgb((0.86, 0.6, 0.42), b.u), rgb((0.92, 0.82, 0.62), b.u), luck[0])
    wall = mix(wall, rgb((0.72, 0.42, 0.32), b.u), (luck[1] > 0.6).to(wall.dtype))
    across, up = (x - house) * 2.0, v * 5.0 - 0.25
    wx, wy = (across - across.floor() - 0.5).abs(), (up - up.floor() - 0.5).abs()
    frame = (wx < 0.34) & (wy < 0.38) & (up > 0.0)
    pane = (wx < 0.22) & (wy < 0.28) & (up > 0.0)
    wall = mix(wall, rgb((0.95, 0.92, 0.86), b.u), frame.to(wall.dtype))
    wall = mix(wall, rgb((0.22, 0.29, 0.38), b.u), pane.to(wall.dtype))
    curb = mix(wall, rgb((0.36, 0.35, 0.36), b.u), ramp(v, 0.035, 0.03))
    roof = 0.34 + 0.06 * luck[2]
    curb = mix(curb, rgb((0.45, 0.22, 0.18), b.u), ramp(v, roof, roof + 0.003))
    return mix(colour, curb, ((v > 0.0) & (v < roof + 0.08)).to(colour.dtype))


PLACE = Place(
    phrases=(
        "on a cobblestone street",
        "on cobblestones",
        "on a street paved with cobblestones",
    ),
    ground=_ground,
    sky=_sky,
    front=_front,
    elevation=(0.14, 0.34),
)
