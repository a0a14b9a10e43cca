"""Subject by entry as an SVG of coloured cells: which subjects are hard, and for whom."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

ROW: Final = 17
CELL: Final = 52
NAMES: Final = 150
"""Pixels that subjects' names have."""

LETTER: Final = 7.0
"""Pixels of a letter, on average, at 11 pixels."""

COLD: Final = (244, 241, 222)
WARM: Final = (27, 94, 122)


@dataclass(frozen=True)
class Panel:
    """One measure. ``columns``: by the label of the entry, a value by subject."""

    title: str
    columns: Mapping[str, Mapping[str, float]]


def heatmap(subjects: Sequence[str], panels: Sequence[Panel]) -> str:
    """An SVG: a row a subject, beside one another a panel a measure; darker is larger."""
    longest = max(len(label) for panel in panels for label in panel.columns)
    head = 28 + LETTER * longest  # labels stand upright, below the titles
    parts = [
        f'<text x="{NAMES - 6}" y="{_y(head, row) + 12:.1f}" text-anchor="end">'
        f"{html.escape(name)}</text>"
        for row, name in enumerate(subjects)
    ]
    left = float(NAMES)
    for panel in panels:
        parts.append(_panel(panel, subjects, left, head))
        left += CELL * len(panel.columns) + ROW
    height = _y(head, len(subjects)) + 6
    said = "; ".join(panel.title for panel in panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left:.0f} {height:.0f}" '
        f'width="{left:.0f}" height="{height:.0f}" role="img" aria-label="{html.escape(said)}" '
        'font-family="sans-serif" font-size="11" fill="#282828">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _panel(panel: Panel, subjects: Sequence[str], left: float, head: float) -> str:
    known = [value for column in panel.columns.values() for value in column.values()]
    low, high = min(known), max(known)
    parts = [f'<text x="{left:.1f}" y="14" font-weight="bold">{html.escape(panel.title)}</text>']
    for number, (label, column) in enumerate(panel.columns.items()):
        x = left + CELL * number
        at = f"{x + CELL / 2 + 4:.1f} {head - 4:.1f}"
        parts.append(f'<text transform="translate({at}) rotate(-90)">{html.escape(label)}</text>')
        for row, subject in enumerate(subjects):
            if subject in column:
                share = (column[subject] - low) / (high - low) if high > low else 0.5
                parts.append(_cell(column[subject], share, x, _y(head, row)))
    return "".join(parts)


def _cell(value: float, share: float, x: float, y: float) -> str:
    colour = ",".join(
        f"{cold + share * (warm - cold):.0f}" for cold, warm in zip(COLD, WARM, strict=True)
    )
    ink = ' fill="#fff"' if share > 0.5 else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{CELL - 1}" height="{ROW - 1}" '
        f'fill="rgb({colour})"/><text x="{x + CELL / 2:.1f}" y="{y + 12:.1f}" '
        f'text-anchor="middle"{ink}>{value:.3f}</text>'
    )


def _y(head: float, row: int) -> float:
    return head + ROW * row
