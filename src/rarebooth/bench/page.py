"""``benchmarks/README.md``, written from ``about.md`` and the records of each plan.

``python -m rarebooth.bench.page``, run where ``benchmarks`` is, renews it and its figures.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rarebooth.bench import tables
from rarebooth.bench.figures import chosen_of
from rarebooth.bench.running import Benchmark, Figure, open_benchmark

PLANS: Final = ("paper-short", "paper", "ablations")
"""The plans that come with rarebooth, in the page's order."""

CAPTIONS: Final = {
    "likeness": "Likeness in scenes (the paper's Figure 3)",
    "class": "The class after training (Figure 4)",
    "longer-training": "Longer training (Figure 5)",
}

HEATED: Final = "Every subject by every entry, at the checkpoints that held-out prompts choose"

SHOWN: Final = {
    ("likeness", "backpack"),
    ("likeness", "cat"),
    ("class", "cat"),
    ("longer-training", "bear_plushie"),
}
"""The paper's own choice of subjects; others' figures are what ``rarebooth bench`` writes."""


def benchmarks(folder: Path) -> list[Benchmark]:
    """The benchmarks that have records of at least one whole subject."""
    found = (open_benchmark(folder / f"{name}.toml", folder / "records") for name in PLANS)
    return [each for each in found if each.results().subjects]


def page(folder: Path) -> str:
    """The whole page: what is said by hand, then what the records say."""
    about = (folder / "about.md").read_text("utf-8").rstrip()
    sections = (part for each in benchmarks(folder) for part in _sections(each, folder))
    return "\n\n".join((about, *sections)) + "\n"


def _sections(benchmark: Benchmark, folder: Path) -> Iterator[str]:
    yield f"## {benchmark.name}"
    told, *further = benchmark.told()
    yield tables.markdown(told.results).rstrip()
    yield "### Seconds of a job"
    yield told.times.rstrip()
    heated = benchmark.heatmap(folder / "pictures", told.results)
    if heated is not None:
        yield f"![{HEATED}]({heated.path.relative_to(folder)})\n\n*{HEATED}.*"
    for figure in _figures(benchmark, folder):
        caption = f"{CAPTIONS[figure.kind]}: {figure.subject}"
        yield f"![{caption}]({figure.path.relative_to(folder)})\n\n*{caption}{_steps(figure)}.*"
    for beyond in further:
        yield f"## {benchmark.name}, the entries that are further"
        yield tables.markdown(beyond.results).rstrip()
        yield "### Seconds of a job"
        yield beyond.times.rstrip()


def _steps(figure: Figure) -> str:
    """Which checkpoints a figure shows, where it shows one of each entry."""
    if figure.kind == "longer-training":
        return ""
    steps = (f"{label} after {chosen_of(body)}" for label, body in figure.bodies.items())
    return f"; by the checkpoints that held-out prompts chose, {', '.join(steps)} steps"


def _figures(benchmark: Benchmark, folder: Path) -> Iterator[Figure]:
    found = benchmark.figures(folder / "pictures")
    return (figure for figure in found if (figure.kind, figure.subject) in SHOWN)


def main() -> None:
    """Write the page and the figures it shows."""
    folder = Path("benchmarks")
    for each in benchmarks(folder):
        for figure in (*_figures(each, folder), each.heatmap(folder / "pictures", each.results())):
            if figure is not None:
                figure.write()
    (folder / "README.md").write_text(page(folder), "utf-8")


if __name__ == "__main__":
    main()
