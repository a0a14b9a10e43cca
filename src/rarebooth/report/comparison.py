"""Several runs beside one another, each by its recommended checkpoint."""

from collections.abc import Sequence

from rarebooth.report.figures import Figure, best, columns, heading, known
from rarebooth.report.markup import Part, number, table, text
from rarebooth.report.view import RunView


def comparison(runs: Sequence[RunView]) -> Part:
    """A row a run; of more than two also who beats whom in what; None of a single run."""
    return Part(
        "Comparison",
        "Each run stands for itself by its recommended checkpoint, or by its last where that one "
        "was not scored; the best of each column is bold, and small differences are noise. Seconds "
        "are those of learning, without class images, which runs share.",
        _comparison(runs) if len(runs) > 1 else None,
    )


def wins(
    values: Sequence[Sequence[float | None]], better: Sequence[str | None]
) -> list[list[tuple[list[int], int]]]:
    """Which figures each run wins against each other, and of how many both have.

    ``values``: a row a run, a column a figure, for which ``better`` says "higher" or "lower"; a
    figure of which neither is better does not count.
    """
    table: list[list[tuple[list[int], int]]] = []
    for one in values:
        row: list[tuple[list[int], int]] = []
        for other in values:
            won: list[int] = []
            both = 0
            for figure, (mine, theirs) in enumerate(zip(one, other, strict=True)):
                if mine is None or theirs is None or better[figure] is None:
                    continue
                both += 1
                if (mine > theirs) if better[figure] == "higher" else (mine < theirs):
                    won.append(figure)
            row.append((won, both))
        table.append(row)
    return table


def _comparison(runs: Sequence[RunView]) -> str:
    figures = columns(runs)
    metrics = known()
    better = [metrics[figure.metric].better for figure in figures]
    values = [[run.value(run.shown, f.metric, f.of) for f in figures] for run in runs]
    tops = [
        best(column, way) for column, way in zip(zip(*values, strict=True), better, strict=True)
    ]
    rows = [
        [
            text(run.name),
            text(run.record.get("settings", {}).get("method", "-")),
            text(run.shown or "-"),
            *(
                f"<b>{number(value)}</b>" if value is not None and value == top else number(value)
                for value, top in zip(row, tops, strict=True)
            ),
            number(run.learning),
        ]
        for run, row in zip(runs, values, strict=True)
    ]
    heads = [heading(figure, metrics[figure.metric]) for figure in figures]
    head = ["Run", "Method", "Checkpoint", *heads, '<span class="unbroken">Seconds ↓</span>']
    body = "".join(f'<p class="warning">{said}</p>' for said in _unlike(runs))
    body += table("Runs", head, rows)
    return body + (_matrix(runs, figures, wins(values, better)) if len(runs) > 2 else "")


def _matrix(
    runs: Sequence[RunView], figures: Sequence[Figure], won: list[list[tuple[list[int], int]]]
) -> str:
    rows = [
        [
            text(run.name),
            *(
                f"{len(names)} of {both}<small>{', '.join(figures[n].label for n in names)}</small>"
                if them != me
                else ""
                for them, (names, both) in enumerate(won[me])
            ),
        ]
        for me, run in enumerate(runs)
    ]
    head = ["Row beats column in", *(text(run.name) for run in runs)]
    return table("Wins by metric", head, rows)


def _unlike(runs: Sequence[RunView]) -> list[str]:
    """What forbids a comparison: the same number would mean another thing."""
    found: list[str] = []
    for what, of in {
        "photos": [run.record.get("photos", {}).get("digest") for run in runs],
        "base models": [run.record.get("base", {}).get("digest") for run in runs],
        "encoders": [run.scores.get("conventions") for run in runs],
        "numbers of pictures": [run.scores.get("extent") for run in runs],
        "ways of drawing": [run.scores.get("drawing") for run in runs],
        "precisions": [run.scores.get("precision") for run in runs],
    }.items():
        known = [value for value in of if value is not None]
        if any(value != known[0] for value in known[1:]):
            found.append(f"These runs have different {what}: their numbers are not comparable.")
    return found
