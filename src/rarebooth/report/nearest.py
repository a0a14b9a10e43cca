"""Whether pictures are photos over again."""

from collections.abc import Sequence
from typing import Final

from rarebooth.report.markup import Part, by_run, captioned, number, picture
from rarebooth.report.view import RunView

PAIRS: Final = 8


def nearest(runs: Sequence[RunView]) -> Part:
    """The pictures nearest to a photo, nearest first, each beside that photo."""
    body, absent = by_run(runs, _nearest, "no pictures compared with their nearest photo.")
    return Part(
        "Nearest photos",
        "Left is a picture, right the photo it is nearest to; a flag means that they are more "
        "alike than any two photos are, which a copy would be. It asks you to look: an encoder "
        "that sees little but shape and colour, as the embedded DINO, flags every good likeness.",
        body,
        absent,
    )


def _nearest(run: RunView) -> str | None:
    if not run.nearest:
        return None
    order = sorted(run.nearest, key=lambda each: -each.similarity)[:PAIRS]
    pairs = [
        captioned(
            picture(each.picture, f"picture {rank}")
            + picture(each.photo, f"photo nearest to {rank}"),
            f"DINO cosine {number(each.similarity)}"
            + ('<br><strong class="flag">⚑ copy?</strong>' if each.above else ""),
            "pair flagged" if each.above else "pair",
        )
        for rank, each in enumerate(order, start=1)
    ]
    share = number(run.value(run.shown, "copying", "diverse.above"))
    real = number(run.value(run.shown, "copying", "real"))
    return (
        f"<p>Share of flagged pictures among the diverse ones: {share}. Photos to their nearest "
        f'other photo, on average: {real}.</p><div class="pairs">{"".join(pairs)}</div>'
    )
