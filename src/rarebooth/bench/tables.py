"""The tables of a benchmark, from its plan and its records alone.

Only subjects count that every entry has finished with all its seeds, from the plan's first to the
first hole: rows are means over these, or, where an entry is run on some, over those. Seeds are
averaged to a subject, subjects to a mean. The text depends on nothing else, neither on the order of
jobs nor on where they ran.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from statistics import fmean
from typing import Any, Final, TypeAlias

from rarebooth import metrics, scores
from rarebooth.bench.intervals import LEVEL, Estimate, over_subjects, paired
from rarebooth.bench.plan import Entry, JobSpec, Plan
from rarebooth.bench.record import Record
from rarebooth.catalogue import cost
from rarebooth.methods import find as find_method

Measure: TypeAlias = tuple[str, str]
"""A metric, and what it is of."""

LIKENESS: Final[tuple[Measure, ...]] = (
    ("clip_i", "diverse"),
    ("dino", "diverse"),
    ("clip_i", "simple"),
    ("dino", "simple"),
)
"""Zeng et al. 2024, table 1."""

BESIDE: Final[tuple[Measure, ...]] = (
    ("clip_t", "diverse"),
    ("pres", "class.change"),
    ("drift", "class"),
    ("drift", "unrelated"),
    ("div", "diverse.dino"),
    ("div", "simple.dino"),
    ("div", "simple.lpips"),
    ("entanglement", "diverse"),
    ("placed", "diverse"),
    ("following", "diverse"),
)

PROPERTIES: Final[tuple[Measure, ...]] = (
    ("clip_i", "diverse.properties"),
    ("dino", "diverse.properties"),
    ("clip_t", "diverse.properties"),
    ("placed", "diverse.properties"),
    ("following", "diverse.property"),
)
"""Prompts that contradict the photos, such as "a red {}": likeness falls where they are obeyed."""

ORACLE: Final = "oracle"
CHOICES: Final = {"fixed": "fixed", "held-out": "held-out", ORACLE: "oracle (optimistic)"}
"""Which checkpoint counts, and what tables call it. The oracle looks at the scores it reports."""

JUDGED_BY: Final[Measure] = ("dino", "diverse")
"""What the oracle chooses by."""

TO_FIXED: Final = "samples_to_fixed"

COUNTED: Final = {
    TO_FIXED: "samples trained on, to the fixed checkpoint",
    "samples": "to the last",
    "class_images": "class images",
    "unet_pictures_training": "U-Net pictures, training",
    "unet_pictures_class_images": "U-Net pictures, class images",
    "unet_pictures_drawing": "U-Net pictures, drawing",
}
"""Costs that are the same wherever a job ran, by their names in a record."""


@dataclass(frozen=True)
class Row:
    """Estimates by "metric of"; of a difference, ``entry`` is what the first entry is compared to.

    A measure that no subject has is left out.
    """

    entry: str
    choice: str
    estimates: Mapping[str, Estimate]


@dataclass(frozen=True)
class Results:
    """What ``markdown`` shows.

    ``subjects``: those that count. ``of``: how many the plan has. ``drawn``: what each entry's
    pictures were. ``conventions``: what each
    metric's numbers rest on, by metric. ``differences``: the first entry less each other.
    ``costs``: means of a job, by entry. ``failed``: jobs that ended with an error, as "subject,
    entry, seed".
    """

    base: str
    subjects: tuple[str, ...]
    of: int
    drawn: tuple[str, ...]
    conventions: Mapping[str, tuple[str, ...]]
    rows: tuple[Row, ...]
    differences: tuple[Row, ...]
    costs: Mapping[str, Mapping[str, float]]
    failed: tuple[str, ...]


def results(plan: Plan, records: Mapping[JobSpec, Record]) -> Results:
    """Average the records of a plan's jobs; those that are not there yet may be missing."""
    jobs = _counted(plan, records)
    bodies = {job: records[job]["body"] for job in jobs}
    tables = {
        (entry.label, choice): _values(entry, choice, bodies)
        for entry in plan.entries
        for choice in CHOICES
    }
    rows = [
        Row(entry, choice, {name: over_subjects([*each.values()]) for name, each in table.items()})
        for (entry, choice), table in tables.items()
        if table
    ]
    first = plan.entries[0].label
    left_out = plan.entries[0].leave_one_out
    # Likeness to one photo that was not learnt from is another number than likeness to them all.
    same_photos = {entry.label: entry.leave_one_out == left_out for entry in plan.entries}
    differences: list[Row] = []
    for (entry, choice), table in tables.items():
        ours = tables[first, choice]
        found = {name: paired(ours[name], table[name]) for name in ours if name in table}
        kept = {name: each for name, each in found.items() if each is not None}
        if entry != first and kept and same_photos[entry]:
            differences.append(Row(entry, choice, kept))
    return Results(
        base=jobs[0].plain["base"] if jobs else plan.base,
        subjects=tuple(dict.fromkeys(job.subject for job in jobs)),
        of=len(plan.subjects),
        drawn=_drawn(plan),
        conventions=_conventions(bodies.values()),
        rows=tuple(rows),
        differences=tuple(differences),
        costs=_costs(plan, bodies),
        failed=tuple(
            f"{job.subject}, {job.label}, {job.seed}"
            for job in plan.jobs
            if job in records and records[job]["status"] == "failed"
        ),
    )


def markdown(found: Results) -> str:
    """The results as Markdown."""
    if not found.subjects:
        return _lines(
            f"0 of {found.of} subjects are finished with every entry: there is no table yet.",
            _failed(found),
        )
    return _lines(
        f"Base {found.base}, {len(found.subjects)} of {found.of} subjects: "
        f"{', '.join(found.subjects)}. Means over subjects, with bootstrap intervals of {LEVEL} %; "
        "(n) where only n subjects have a number. Fixed: the checkpoint that the plan names; "
        "held-out: chosen by prompts that no score is made from; oracle: the best by "
        f"{' '.join(JUDGED_BY)} of the scores that are shown, for which no user could choose.",
        _failed(found),
        *_section("Likeness", _grid(found.rows, LIKENESS, "{:.3f}")),
        *_section("Beside likeness", _grid(found.rows, BESIDE, "{:.3f}")),
        *_section(
            f"{found.rows[0].entry} less each other entry, subject by subject",
            _grid(found.differences, LIKENESS, "{:+.3f}"),
            _grid(found.differences, BESIDE, "{:+.3f}"),
        ),
        *_section("Prompts that ask for a property", _grid(found.rows, PROPERTIES, "{:.3f}")),
        *_section("What a job takes", _plain_table(found.costs, COUNTED, "{:.0f}")),
        *_section(
            "What the numbers rest on",
            "\n".join(f"- {said}" for said in found.drawn),
            "\n".join(f"- {name}: {' / '.join(said)}" for name, said in found.conventions.items()),
        ),
    )


def times_markdown(plan: Plan, records: Mapping[JobSpec, Record]) -> str:
    """CPU seconds of a job as Markdown: means over the jobs that count, another on every machine.

    Seconds of all threads together, on whatever machines the jobs ran.
    """
    bodies = {job: records[job]["body"] for job in _counted(plan, records)}
    phases = tuple(
        dict.fromkeys(phase for body in bodies.values() for phase in body["cost"]["cpu_seconds"])
    )
    means = _means_of_entries(plan, bodies, lambda body: body["cost"]["cpu_seconds"], phases)
    whole = {label: {**each, "all": sum(each.values())} for label, each in means.items()}
    return _lines(_plain_table(whole, {name: name for name in (*phases, "all")}, "{:.1f}"))


def _drawn(plan: Plan) -> tuple[str, ...]:
    """What the pictures of each entry were, where entries differ apart."""
    found: dict[str, list[str]] = {}
    for entry in plan.entries:
        extent, draw = entry.extent, entry.draw
        said = (
            f"{extent.diverse} pictures a diverse prompt, {extent.simple} simple, "
            f"{extent.validation} a validation prompt, {extent.others} of the class; "
            f"{draw.sampler}, {draw.sampler_steps} steps, guidance {draw.guidance:g}"
        )
        left = "; likeness to a photo that was not learnt from" if entry.leave_one_out else ""
        found.setdefault(f"{said}{left}", []).append(entry.label)
    return tuple(f"{', '.join(labels)}: {said}" for said, labels in found.items())


def _counted(plan: Plan, records: Mapping[JobSpec, Record]) -> list[JobSpec]:
    """The jobs of the first subjects that are finished with every entry and seed."""

    def finished(jobs: Sequence[JobSpec]) -> bool:
        return all(job in records and records[job]["status"] == "done" for job in jobs)

    groups = takewhile(finished, (plan.jobs_of(subject) for subject in plan.subjects))
    return [job for group in groups for job in group]


def _values(
    entry: Entry, choice: str, bodies: Mapping[JobSpec, Mapping[str, Any]]
) -> dict[str, dict[str, float]]:
    """Values by measure and subject, each the mean of its seeds."""
    found: dict[str, dict[str, list[float]]] = {}
    for job, body in bodies.items():
        if job.label != entry.label or (choice == ORACLE and entry.score != "all"):
            continue
        scored = _scored(body, choice)
        for metric, of in (*LIKENESS, *BESIDE, *PROPERTIES):
            value = scores.value(scored, metric, of)
            if value is not None:
                by_subject = found.setdefault(f"{metric} {of}", {})
                by_subject.setdefault(job.subject, []).append(value)
    return {
        name: {subject: fmean(values) for subject, values in by_subject.items()}
        for name, by_subject in found.items()
    }


def _scored(body: Mapping[str, Any], choice: str) -> Mapping[str, Any]:
    """The scores of the checkpoint that counts."""
    checkpoints = body["checkpoints"]
    if choice != ORACLE:
        return checkpoints[body["chosen"][choice]]["scores"]
    every: list[Mapping[str, Any]] = [each["scores"] for each in checkpoints.values()]
    known = [(scores.value(each, *JUDGED_BY), each) for each in every]
    # Of equal ones the earlier, as where a checkpoint is chosen by held-out prompts.
    return max(known, key=lambda pair: float("-inf") if pair[0] is None else pair[0])[1]


def _conventions(bodies: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """What was said of each metric; more than one thing where machines differ."""
    said: dict[str, dict[str, None]] = {}
    for body in bodies:
        for metric, convention in body["conventions"].items():
            said.setdefault(metric, {})[convention] = None
    return {metric: tuple(conventions) for metric, conventions in said.items()}


def _costs(plan: Plan, bodies: Mapping[JobSpec, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """What a job takes, by entry, of all that is the same wherever it ran."""
    means = _means_of_entries(plan, bodies, lambda body: body["cost"], tuple(COUNTED))
    for job in bodies:
        means[job.label][TO_FIXED] = _samples_to(job, job.fixed)
    return means


def _samples_to(job: JobSpec, steps: int) -> float:
    """Pictures that pass the U-Net with gradients until so many steps of the last stage."""
    method = find_method(job.method)(**job.settings)
    *earlier, last = cost(method).stages
    before = sum(stage.samples or 0 for stage in earlier)
    return before + (last.samples or 0) * steps / (last.steps or steps)


def _means_of_entries(
    plan: Plan,
    bodies: Mapping[JobSpec, Mapping[str, Any]],
    numbers: Callable[[Mapping[str, Any]], Mapping[str, float | None]],
    names: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Means over an entry's jobs; without those that none of its jobs has."""
    found: dict[str, dict[str, float]] = {}
    for entry in plan.entries:
        own = [numbers(body) for job, body in bodies.items() if job.label == entry.label]
        for name in names:
            known = [value for each in own if (value := each.get(name)) is not None]
            if known:
                found.setdefault(entry.label, {})[name] = fmean(known)
    return found


def _grid(rows: Sequence[Row], measures: Sequence[Measure], number: str) -> str:
    """A table of estimates; a measure that no row has is left out."""
    better = {metric.name: metric.better for metric in metrics.every()}
    names = {f"{metric} {of}": better[metric] for metric, of in measures}
    kept = [name for name in names if any(name in row.estimates for row in rows)]
    if not kept:
        return ""
    whole = max(each.count for row in rows for each in row.estimates.values())

    def cell(each: Estimate | None) -> str:
        if each is None:
            return "-"
        mean, low, high = (number.format(value) for value in (each.mean, each.low, each.high))
        return f"{mean} [{low}, {high}]{f' ({each.count})' if each.count < whole else ''}"

    arrows = {"higher": "↑", "lower": "↓"}
    return _table(
        ["entry", "checkpoint", *(f"{name} {arrows[names[name]]}" for name in kept)],
        [
            [row.entry, CHOICES[row.choice], *(cell(row.estimates.get(name)) for name in kept)]
            for row in rows
        ],
    )


def _plain_table(
    means: Mapping[str, Mapping[str, float]], headings: Mapping[str, str], number: str
) -> str:
    return _table(
        ["entry", *headings.values()],
        [
            [label, *(number.format(each[name]) if name in each else "-" for name in headings)]
            for label, each in means.items()
        ],
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _section(title: str, *parts: str) -> tuple[str, ...]:
    """A heading and what stands under it; nothing where nothing does."""
    return (f"### {title}", *parts) if any(parts) else ()


def _failed(found: Results) -> str:
    return f"Failed: {'; '.join(found.failed)}." if found.failed else ""


def _lines(*parts: str) -> str:
    """Paragraphs, without empty ones."""
    return "\n\n".join(part for part in parts if part) + "\n"
