"""Which checkpoint is recommended and why, and the key numbers of all."""

from collections.abc import Mapping, Sequence
from typing import Final

from rarebooth.metric import Metric
from rarebooth.report.figures import Figure, best, columns, heading, known
from rarebooth.report.markup import Part, by_run, number, table, text
from rarebooth.report.view import RunView

RULES: Final = {
    "held-out": "Chosen on prompts and seeds that no score is made from but the column Held-out.",
    "last": "It is the last one; none was compared with another.",
}

HELD_OUT: Final = '<span class="unbroken">Held-out ↑</span>'


def headline(runs: Sequence[RunView]) -> Part:
    """The recommendation, and a row of numbers for each checkpoint."""
    metrics = known()
    body, absent = by_run(runs, lambda run: _headline(run, metrics), "no scores.")
    if body is not None:
        rows = [
            [
                heading(figure, metrics[figure.metric]),
                f'<span class="sentence">{figure.meaning}</span>',
                *(_convention(run, figure) for run in runs),
            ]
            for figure in columns(runs)
        ]
        held_out = "harmonic mean of DINO and CLIP-T on prompts that choose a checkpoint"
        rows.insert(0, [HELD_OUT, held_out, *("as DINO, CLIP-T" for _ in runs)])
        heads = ["Convention"] if len(runs) == 1 else [text(run.name) for run in runs]
        body += table("What the numbers mean and rest on", ["Number", "Meaning", *heads], rows)
    return Part(
        "Recommended checkpoint and key numbers",
        "Likeness (CLIP-I, DINO) praises copies of the photos, so read it together with CLIP-T, "
        "which says whether prompts are followed; the best of each column is bold.",
        body,
        absent,
    )


def _headline(run: RunView, metrics: Mapping[str, Metric]) -> str | None:
    names = [name for name in run.checkpoints if run.about(name)]
    said = _recommendation(run)
    if not names:
        return said
    figures = columns([run])
    harmonic = {name: run.about(name).get("validation", {}).get("harmonic") for name in names}
    cells = {name: [number(harmonic[name])] for name in names}
    for figure in figures:
        values = {name: run.value(name, figure.metric, figure.of) for name in names}
        top = best(list(values.values()), metrics[figure.metric].better)
        for name, value in values.items():
            shown = number(value)
            cells[name].append(f"<b>{shown}</b>" if value is not None and value == top else shown)
    mark = {run.recommended: "<small>recommended</small>"}
    rows = [[text(name) + mark.get(name, ""), *cells[name]] for name in names]
    rows.append(["photos", "-", *(_photos(run, figure) for figure in figures)])
    head = [
        "Checkpoint",
        HELD_OUT,
        *(heading(f, metrics[f.metric]) for f in figures),
    ]
    return (said or "<p>No checkpoint is recommended.</p>") + table("Scores", head, rows)


def _recommendation(run: RunView) -> str | None:
    choice = run.record.get("choice") or {}
    if run.recommended is None:
        return None
    rule = run.scores.get("rule") or choice.get("rule")
    why = run.scores.get("why") or choice.get("why") or ""
    said = f'<p class="lead">Recommended: <b>checkpoint {text(run.recommended)}</b></p>'
    said += f"<p>{text(why)} {RULES.get(str(rule), '')}</p>"
    other = run.scores.get("best_held_out")
    if other not in {None, run.recommended} and run.about(run.recommended):
        said += f"<p>Judged anew, checkpoint {text(other)} does best on the held-out prompts.</p>"
    return said


def _photos(run: RunView, figure: Figure) -> str:
    """What photos score among themselves, where a metric says so: the ceiling of likeness."""
    if figure.metric not in {"clip_i", "dino"}:
        return "-"
    return number(run.value(run.shown, figure.metric, "real"))


def _convention(run: RunView, figure: Figure) -> str:
    return text(run.scores.get("conventions", {}).get(figure.metric, "-"))
