"""The page on methods, docs/methods.md, written from the catalogue.

``python -m rarebooth.methods_page FILE`` writes it.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import fill

from rarebooth import defaults
from rarebooth.catalogue import HEADINGS, LEGEND, Entry, Setting, entry, shown
from rarebooth.methods import TABLE
from rarebooth.settings import preset_for

_WIDTH = 100

_CHOICE = f"""\
Start with `{defaults.METHOD}`, which is what `rarebooth train` does unless told otherwise.

| you want | take |
|---|---|
| the smallest file, and a base that forgets nothing | `textual-inversion` |
| several subjects in one model | `custom-diffusion` |
| to edit one photo | `hiper`, which leaves the base as it is, or `imagic`, which tunes it |
| small files from a method that tunes the U-Net | `dreambooth-lora` or `pivotal-lora` |
| what others compare with | `dreambooth` |
"""


def page() -> str:
    """The page's text, for the methods of this package."""
    entries = [entry(name) for name in TABLE]
    return "\n".join(
        [
            "# Methods\n",
            "<!-- Written by `make docs` from src/rarebooth/methods; change it there. -->\n",
            _filled(
                "How a subject can be learnt: `rarebooth train --method NAME`. `rarebooth methods` "
                "shows the same in a terminal."
            ),
            _CHOICE,
            *_table(HEADINGS, [(_linked(each.name), *each.row[1:]) for each in entries]),
            _filled(LEGEND),
            _filled(
                "Where the embedded base has values of its own, they stand beside the default; "
                f"source: {preset_for(defaults.EMBEDDED).source}."
            ),
            *(line for each in entries for line in _section(each)),
        ]
    )


def _section(entry: Entry) -> Iterator[str]:
    yield f"## {entry.name}\n"
    first, *others = entry.about
    yield _filled(f"{first} {entry.does}")
    for paragraph in others:
        yield _filled(paragraph)
    yield _filled(
        f"Trains: {entry.trains}. Stages: {', '.join(s.name for s in entry.cost.stages)}."
    )
    yield f"```\nrarebooth train photos/ --noun dog --base sd21 --method {entry.name}\n```\n"
    tuned = any(setting.embedded is not None for setting in entry.settings)
    headings = ("flag", "default", *(["embedded base"] if tuned else []), "meaning", "source")
    rows = [_setting_row(setting, tuned=tuned) for setting in entry.settings]
    yield from _table(headings, rows)


def _setting_row(setting: Setting, *, tuned: bool) -> tuple[str, ...]:
    own = "" if setting.embedded is None else f"`{shown(setting.embedded)}`"
    notes = [f"{note[0].upper()}{note[1:]}." for note in (setting.limits, setting.only) if note]
    return (
        f"`{setting.flag}`",
        f"`{shown(setting.default)}`",
        *([own] if tuned else []),
        " ".join([setting.meaning, *notes]),
        setting.source,
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (headings, ["---"] * len(headings), *rows):
        yield f"| {' | '.join(row)} |"
    yield ""


def _linked(name: str) -> str:
    return f"[{name}](#{name})"


def _filled(paragraph: str) -> str:
    """A paragraph in lines, and the empty line after it."""
    return fill(paragraph, _WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), "utf-8")
