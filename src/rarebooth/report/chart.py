"""Line and scatter charts as SVG inside the page; colours are the style sheet's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rarebooth.report.markup import text

Point = tuple[float, float]

WIDTH: Final = 360
HEIGHT: Final = 230
LEFT: Final = 50
RIGHT: Final = 14
TOP: Final = 12
BOTTOM: Final = 42
COLOURS: Final = 6
"""How many there are in the style sheet; shapes and dashes change with them."""

MARKS: Final = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
    "M-3.7-3.7h7.4v7.4h-7.4z",
    "M0-5L4.6 3.4H-4.6z",
    "M0-5.2L5.2 0L0 5.2L-5.2 0z",
    "M0 5L4.6-3.4H-4.6z",
)
DASHES: Final = ("", "6 3", "2 3", "8 3 2 3")
"""By series: a chart is read without its colours as well."""


@dataclass(frozen=True)
class Series:
    """What belongs together.

    ``dots``: values as they are, small. ``band``: (x, low, high). ``labels``: plain text beside
    each of ``points``. ``line``, ``marks``: how points are drawn. ``ringed``: which to point out.
    """

    label: str
    points: Sequence[Point]
    dots: Sequence[Point] = ()
    band: Sequence[tuple[float, float, float]] = ()
    labels: Sequence[str] = ()
    line: bool = True
    marks: bool = True
    ringed: int | None = None


@dataclass(frozen=True)
class Axis:
    """From data to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[float]:
        """Round numbers, some five."""
        rough = (self.high - self.low) / 5
        power = 10 ** math.floor(math.log10(rough))
        step = next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= rough)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [n * step for n in range(first, last + 1)]


def chart(
    title: str,
    across: str,
    series: Sequence[Series],
    *,
    up: str = "",
    stairs: Sequence[Point] = (),
) -> str:
    """A figure; ``title``, ``across`` and ``up`` are plain text. ``stairs``: a Pareto front."""
    places = [point for each in series for point in (*each.points, *each.dots)]
    bands = [(x, y) for each in series for x, *ends in each.band for y in ends]
    right = _axis([x for x, _ in places], LEFT, WIDTH - RIGHT)
    high = _axis([y for _, y in (*places, *bands)], HEIGHT - BOTTOM, TOP)
    drawn = [_frame(right, high, across), _stairs(stairs, right, high)]
    drawn += [_series(n, each, right, high) for n, each in enumerate(series)]
    drawn.append(_labels(series, right, high))
    said = f"{title}: {', '.join(each.label for each in series)}, by {across}"
    svg = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(said)}">'
        f"{''.join(drawn)}</svg>"
    )
    legend = "".join(_key(n, each) for n, each in enumerate(series)) if len(series) > 1 else ""
    above = f'<p class="up">{text(up)}</p>' if up else ""
    return (
        f'<figure class="chart"><figcaption><b>{text(title)}</b>{legend}</figcaption>{above}{svg}'
        "</figure>"
    )


def _axis(values: Sequence[float], start: float, end: float) -> Axis:
    low, high = min(values), max(values)
    air = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(low - air, high + air, start, end)


def _frame(right: Axis, high: Axis, across: str) -> str:
    parts: list[str] = []
    for tick in high.ticks:
        y = high(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{tick:.4g}</text>')
    floor = HEIGHT - BOTTOM
    for tick in right.ticks:
        parts.append(f'<path class="axis" d="M{right(tick)} {floor}v4"/>')
        parts.append(
            f'<text x="{right(tick)}" y="{floor + 17}" text-anchor="middle">{tick:.4g}</text>'
        )
    parts.append(f'<path class="axis" d="M{LEFT} {floor}H{WIDTH - RIGHT}"/>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{text(across)}</text>')
    return "".join(parts)


def _series(number: int, series: Series, right: Axis, high: Axis) -> str:
    at = [(right(x), high(y)) for x, y in series.points]
    parts: list[str] = []
    if series.band:
        there = [(right(x), high(low)) for x, low, _ in series.band]
        back = [(right(x), high(up)) for x, _, up in reversed(series.band)]
        parts.append(f'<path class="band" d="{_path((*there, *back))}z"/>')
    if series.dots:
        dots = "".join(f"M{right(x)} {high(y)}h0" for x, y in series.dots)
        parts.append(f'<path class="dots" d="{dots}"/>')
    if series.line and len(at) > 1:
        parts.append(f'<path class="line"{_dashes(number)} d="{_path(at)}"/>')
    if series.ringed is not None:
        x, y = at[series.ringed]
        parts.append(f'<circle class="ring" cx="{x}" cy="{y}" r="9"/>')
    if series.marks:
        parts += [_mark(number, x, y) for x, y in at]
    return f'<g class="s{number % COLOURS}">{"".join(parts)}</g>'


def _stairs(points: Sequence[Point], right: Axis, high: Axis) -> str:
    """What is reached at least, from the left edge to the floor."""
    if not points:
        return ""
    at = [(right(x), high(y)) for x, y in points]
    steps = "".join(f"V{y}H{x}" for x, y in at)
    return f'<path class="front" d="M{right.start} {at[0][1]}{steps}V{high.start}"/>'


def _labels(series: Sequence[Series], right: Axis, high: Axis) -> str:
    """Labels beside their points, each where it lies on none of the points and labels before."""
    marks = [(right(x), high(y)) for each in series if each.labels for x, y in each.points]
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in marks]
    parts: list[str] = []
    names = [label for each in series for label in each.labels]
    for (x, y), name in zip(marks, names, strict=True):
        width = 6.5 * len(name)
        boxes = [
            (x + dx - before * width, y + dy - 10, x + dx + (1 - before) * width, y + dy + 2)
            for dx, dy, before in (
                (11, 4, 0), (-11, 4, 1), (0, -9, 0.5), (0, 18, 0.5), (7, -7, 0), (7, 15, 0),
                (-7, -7, 1), (-7, 15, 1),
            )
        ]  # fmt: skip
        inside = [box for box in boxes if box[0] > LEFT and box[2] < WIDTH]
        free = [box for box in inside if not any(_meet(box, other) for other in taken)]
        left, _, _, bottom = box = (free or inside or boxes)[0]
        taken.append(box)
        parts.append(f'<text class="label" x="{left:.1f}" y="{bottom - 2:.1f}">{text(name)}</text>')
    return "".join(parts)


def _meet(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _key(number: int, series: Series) -> str:
    line = f'<path class="line"{_dashes(number)} d="M1 7H27"/>' if series.line else ""
    mark = _mark(number, 14, 7) if series.marks else ""
    return (
        f'<span class="key"><svg viewBox="0 0 28 14" width="28" height="14" aria-hidden="true">'
        f'<g class="s{number % COLOURS}">{line}{mark}</g></svg>{text(series.label)}</span>'
    )


def _mark(number: int, x: float, y: float) -> str:
    return f'<path class="mark" transform="translate({x} {y})" d="{MARKS[number % len(MARKS)]}"/>'


def _dashes(number: int) -> str:
    dashes = DASHES[number % len(DASHES)]
    return f' stroke-dasharray="{dashes}"' if dashes else ""


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in points)
