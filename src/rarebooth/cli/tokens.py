"""``rarebooth tokens``: rare words of a base that could name a subject, as DreamBooth names it."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rarebooth.cli.console import is_live, notice, out
from rarebooth.prompts import PLAIN

if TYPE_CHECKING:
    from rarebooth.rare_tokens import Standing

SKS = "sks"
SKS_WARNING = (
    '"sks" is also a rifle (Patil et al., Hugging Face blog, 2022), and its images are in web '
    "data; DreamBooth wants a word with a weak prior (section 3.2)."
)


def command(
    *,
    noun: Annotated[str, typer.Option(help="What the photos show, in one or two words: dog.")],
    base: Annotated[
        str, typer.Option(help="The base model: embedded, sd15, sd21, a folder, or a Hub id.")
    ] = "sd21",
    count: Annotated[int, typer.Option(min=1, help="How many to show.")] = 10,
    check: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD", help="A word to place among them, such as sks; may be repeated."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for a program.")] = False,
) -> None:
    """List rare words of a base that mean little to it, to name a subject with."""
    from rarebooth.bases import open_base
    from rarebooth.rare_tokens import search

    opened = open_base(base, device=device, notice=notice)
    with out().status("reading rare words") if is_live() and not as_json else nullcontext():
        result = search(opened, noun, check or [])
    best = result.candidates[:count]
    total = len(result.candidates)
    if as_json:
        content = {
            "base": opened.identity.name,
            "noun": noun,
            "candidates": total,
            "tokens": [asdict(standing) for standing in best],
            "checked": [asdict(standing) for standing in result.checked],
        }
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        out().print(f"The best of {total} candidates in {opened.identity.name}, before {noun!r}:")
        _table(best)
        if result.checked:
            out().print(f"Checked, with the place among these {total}:")
            _table(result.checked)
        out().print(
            f'Similarity is how little the word changes "{PLAIN.format(noun)}" when it is put '
            f"before {noun}:\nthe cosine of the text encoder's mean output with it and without, 1 "
            "for a word that means nothing."
        )
    if any(standing.word == SKS for standing in (*best, *result.checked)):
        notice(SKS_WARNING)


def _table(standings: Sequence["Standing"]) -> None:
    out().print(f"{'rank':>6}  {'token':12} {'id':>6}  similarity")
    for row in standings:
        number = "-" if row.id is None else str(row.id)
        pieces = "" if row.tokens == 1 else f"  {row.tokens} tokens"
        out().print(f"{row.place:6}  {row.word:12} {number:>6}  {row.similarity:.4f}{pieces}")
