"""Checkpoint by prompt, with the same seed in a column."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from rarebooth.photos import Pixels
from rarebooth.report.markup import Part, by_run, picture, table, text
from rarebooth.report.view import BASE, RunView

PROMPTS: Final = 6
"""Columns: more would make a page of several checkpoints too large to send."""

PHOTOS: Final = 8

SETS: Final = ("diverse", "simple", "validation")
"""What columns are taken from: the first that any checkpoint has."""


def grid(runs: Sequence[RunView]) -> Part:
    """Photos, then the base's row, then a row a checkpoint."""
    body, absent = by_run(runs, _grid, "no pictures of the subject.")
    return Part(
        "Checkpoints by prompts",
        "A column has one prompt and one seed, so that only training differs from row to row: look "
        "for the subject arriving, and for the scene staying.",
        body,
        absent,
    )


def _grid(run: RunView) -> str | None:
    for name in SETS:
        rows = {row: run.drawn(row, name) for row in (BASE, *run.checkpoints)}
        rows = {row: drawn for row, drawn in rows.items() if drawn}
        if set(rows) - {BASE}:
            return (_photos(run) if len(run.photos) else "") + _table(run, name, rows)
    return None


def _photos(run: RunView) -> str:
    shown = [
        picture(photo, f"photo {n} of {len(run.photos)}")
        for n, photo in enumerate(run.photos[:PHOTOS], start=1)
    ]
    caption = "<figcaption>The photos</figcaption>"
    return f'<figure class="strip">{caption}{"".join(shown)}</figure>'


def _table(run: RunView, name: str, rows: Mapping[str, Mapping[str, Pixels]]) -> str:
    # Spread over the protocol, so that scenes, outfits and properties are all there.
    templates = list(next(drawn for row, drawn in rows.items() if row != BASE))
    spread = np.linspace(0, len(templates) - 1, min(PROMPTS, len(templates))).round().astype(int)
    chosen = [templates[n] for n in spread]
    prompts = [template.replace("{}", run.noun) for template in chosen]
    cells: list[list[str]] = []
    for row, drawn in rows.items():
        label = "base model" if row == BASE else f"checkpoint {row}"
        mark = "<small>recommended</small>" if row == run.recommended else ""
        cells.append(
            [
                text(label) + mark,
                *(
                    picture(drawn[template][0], f"{label}: {prompt}") if template in drawn else "-"
                    for template, prompt in zip(chosen, prompts, strict=True)
                ),
            ]
        )
    head = ["", *(text(prompt) for prompt in prompts)]
    caption = f"Pictures of the {name} prompts; the learnt word stands before the noun"
    return f'<div class="pictures">{table(caption, head, cells)}</div>'
