"""Pieces of HTML. Functions take markup; what comes from data passes through ``text`` first."""

import base64
import html
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image

from rarebooth.photos import Pixels
from rarebooth.report.view import RunView

LARGEST: Final = 128
"""Pixels a side of embedded pictures: some 80 of them must fit into 4 MB as PNG."""


@dataclass(frozen=True)
class Part:
    """A section of a page.

    ``reading``: one sentence on how to read it. ``body``: markup, or None where there is nothing to
    show. ``absent``: what was not measured, one plain sentence each.
    """

    title: str
    reading: str
    body: str | None
    absent: tuple[str, ...] = ()


def text(value: object) -> str:
    """Data as markup."""
    return html.escape(str(value))


def number(value: float | None) -> str:
    """Three digits after the point, or "-"."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls by itself; the first cell of each row is the row's heading."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{caption}"><table>'
        f"<caption>{caption}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody>"
        "</table></div>"
    )


def picture(pixels: Pixels, alt: str) -> str:
    """A picture uint8 [S, S, 3] as PNG inside the page; ``alt`` is plain text.

    Large ones are scaled down; small ones are enlarged by the browser, pixel by pixel.
    """
    image = Image.fromarray(pixels)
    kind = "small" if max(image.size) < LARGEST else "large"
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f'<img class="{kind}" width="{LARGEST}" height="{LARGEST}" alt="{text(alt)}" '
        f'src="data:image/png;base64,{data}">'
    )


def captioned(content: str, caption: str, kind: str = "") -> str:
    """A figure."""
    return f'<figure class="{kind}">{content}<figcaption>{caption}</figcaption></figure>'


def by_run(
    runs: Sequence[RunView], show: Callable[[RunView], str | None], lacking: str
) -> tuple[str | None, tuple[str, ...]]:
    """A body that shows every run under its name, and what is lacking of which."""
    shown = {n: body for n, run in enumerate(runs) if (body := show(run)) is not None}
    absent = tuple(
        lacking if len(runs) == 1 else f"{run.name}: {lacking}"
        for n, run in enumerate(runs)
        if n not in shown
    )
    if len(runs) == 1:
        return shown.get(0), absent
    parts = [f"<h3>{text(runs[n].name)}</h3>{body}" for n, body in shown.items()]
    return "".join(parts) or None, absent
