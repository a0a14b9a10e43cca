"""The page: every section in its order, one style sheet, and nothing from outside."""

from collections.abc import Sequence
from importlib import resources
from typing import Final

from rarebooth.report.comparison import comparison
from rarebooth.report.cost import cost
from rarebooth.report.curves import curves, tradeoff
from rarebooth.report.drift import drift
from rarebooth.report.grid import grid
from rarebooth.report.headline import headline
from rarebooth.report.loss import loss
from rarebooth.report.markup import Part, text
from rarebooth.report.nearest import nearest
from rarebooth.report.view import RunView

PARTS: Final = (comparison, headline, grid, curves, tradeoff, drift, nearest, loss, cost)

POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Keeps a browser from loading or running anything, whatever names and prompts hold."""


def report(runs: Sequence[RunView]) -> str:
    """One HTML page of one run or several: no script, and nothing is fetched."""
    parts = [part(runs) for part in PARTS]
    shown = [part for part in parts if part.body is not None]
    title = f"rarebooth: {', '.join(run.name for run in runs)}"
    style = resources.files("rarebooth.report").joinpath("page.css").read_text("utf-8")
    links = "".join(
        f'<li><a href="#part-{n}">{part.title}</a></li>' for n, part in enumerate(shown, start=1)
    )
    sections = "".join(_section(n, part) for n, part in enumerate(shown, start=1))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>\n{style}</style></head>\n<body>"
        f"<header><h1>{text(title)}</h1>{''.join(_about(run) for run in runs)}"
        f'<nav aria-label="Sections"><ol>{links}</ol></nav></header>\n'
        f"<main>{sections}{_absent(parts)}</main></body></html>\n"
    )


def _section(number: int, part: Part) -> str:
    return (
        f'<section aria-labelledby="part-{number}"><h2 id="part-{number}">{number} {part.title}'
        f'</h2><p class="reading">{part.reading}</p>{part.body}</section>\n'
    )


def _about(run: RunView) -> str:
    settings, base = run.record.get("settings", {}), run.record.get("base", {})
    facts = {
        "method": settings.get("method"),
        "class": run.noun,
        "base": base.get("name"),
        "photos": len(run.photos) or None,
        "seed": settings.get("seed"),
        "status": run.record.get("status"),
    }
    said = ", ".join(f"{what} {text(fact)}" for what, fact in facts.items() if fact is not None)
    return f"<p><b>{text(run.name)}</b>: {said}</p>"


def _absent(parts: Sequence[Part]) -> str:
    lines = [f"<li>{part.title}: {text(said)}</li>" for part in parts for said in part.absent]
    if not lines:
        return ""
    return f'<section><h2>Not measured</h2><ul class="absent">{"".join(lines)}</ul></section>\n'
