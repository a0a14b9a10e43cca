"""What a benchmark found: means over subjects, from its plan and its records alone.

Only subjects count that every entry has finished with all its seeds, from the plan's first to the
first hole: rows are means over these, or, where an entry is run on some, over those. As long as
there is none, the entries that have finished the first subject are told of without the others.
Entries that are further than the rest are told of apart. Seeds are averaged to a subject, subjects
to a mean. Nothing depends on the order of jobs or where they ran.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, takewhile
from statistics import fmean, stdev
from typing import Any, Final, TypeAlias

from rarebooth import scores
from rarebooth.bench import measures
from rarebooth.bench.plan import Entry, JobSpec, Plan
from rarebooth.bench.record import Record
from rarebooth.catalogue import cost
from rarebooth.choose import Quality
from rarebooth.intervals import Estimate, estimate, paired
from rarebooth.methods import find as find_method

Body: TypeAlias = Mapping[str, Any]
"""What a record holds of a job that is done."""

Seeds: TypeAlias = dict[str, dict[str, list[float]]]
"""Values by measure and subject, one a seed."""

ORACLE: Final = "oracle"
CHOICES: Final = ("fixed", "held-out", ORACLE)
"""Which checkpoint counts. The oracle looks at the scores that it reports."""

JUDGED_BY: Final = ("dino", "diverse")
"""What the oracle chooses by."""

APART: Final = (("dino", "diverse"), ("clip_t", "diverse"))
"""What is told of every subject by itself, at the checkpoint that held-out prompts choose."""

TO_FIXED: Final = "samples_to_fixed"
TO_HELD_OUT: Final = "samples_to_held_out"

COUNTED: Final = (
    TO_FIXED,
    TO_HELD_OUT,
    "samples",
    "class_images",
    "unet_pictures_class_images",
    "unet_pictures_drawing",
)
"""Costs that are the same wherever a job ran; those that no record names are worked out."""


@dataclass(frozen=True)
class Row:
    """Estimates by measure. ``choice``: of ``CHOICES``, a checkpoint's steps, or "" for none.

    A measure that no subject has is left out. Of a difference, ``entry`` is "one less other".
    """

    entry: str
    choice: str
    estimates: Mapping[str, Estimate]


@dataclass(frozen=True)
class Results:
    """What tables show.

    ``subjects``: those that count. ``of``: how many the plan has. ``waiting``: entries that are not
    told of yet. ``drawn``: what each entry's pictures were. ``conventions``: what each metric's
    numbers rest on, by metric. ``references``: rows that no training made. ``differences``: entries
    less those they are compared to, subject by subject. ``steps``: entries at every checkpoint,
    where all are scored. ``validation``: "likeness", "following" and "harmonic" by the prompts that
    choose, at every checkpoint. ``fixed``: the plan's checkpoint, by entry. ``chosen``: how many
    jobs chose which by held-out prompts. ``spread``: standard deviations over the seeds of a
    subject. ``apart``: what ``APART`` names by measure, entry and subject. ``ahead``: by measure,
    of an entry and of another that can be compared to it, in how many subjects the one is ahead,
    and of how many. ``costs``: means of a job, by entry. ``undrawn``: checkpoints that could not be
    drawn, as "subject, entry, seed, steps". ``failed``: jobs that ended with an error, as "subject,
    entry, seed".
    """

    base: str
    subjects: tuple[str, ...]
    of: int
    waiting: tuple[str, ...]
    drawn: tuple[str, ...]
    conventions: Mapping[str, tuple[str, ...]]
    rows: tuple[Row, ...]
    references: tuple[Row, ...]
    differences: tuple[Row, ...]
    steps: tuple[Row, ...]
    validation: tuple[Row, ...]
    fixed: Mapping[str, str]
    chosen: Mapping[str, Mapping[str, int]]
    spread: tuple[Row, ...]
    apart: Mapping[str, Mapping[str, Mapping[str, float]]]
    ahead: Mapping[str, Mapping[str, Mapping[str, tuple[int, int]]]]
    costs: Mapping[str, Mapping[str, float]]
    undrawn: tuple[str, ...]
    failed: tuple[str, ...]


def results(plan: Plan, records: Mapping[JobSpec, Record]) -> Results:
    """Average the records of a plan's jobs; those that are not there yet may be missing."""
    return averaged(plan, told_of(plan, records), records)


def averaged(plan: Plan, told: Plan, records: Mapping[JobSpec, Record]) -> Results:
    """The same of the entries of ``told``, which are some of the plan's."""
    bodies = counted(told, records)
    of_entries = {entry.label: _of(entry, bodies) for entry in told.entries}
    seeds = {
        (entry.label, choice): _seeds(of_entries[entry.label], choice)
        for entry in told.entries
        for choice in CHOICES
        if choice != ORACLE or entry.score == "all"
    }
    apart = {
        f"{metric} {of}": {
            entry.label: _means(seeds[entry.label, "held-out"]).get(f"{metric} {of}", {})
            for entry in told.entries
        }
        for metric, of in APART
    }
    return Results(
        base=next((job.plain["base"] for job in bodies), plan.base),
        subjects=tuple(dict.fromkeys(job.subject for job in bodies)),
        of=len(plan.subjects),
        waiting=tuple(entry.label for entry in plan.entries if entry not in told.entries),
        drawn=_drawn(told),
        conventions=_conventions(bodies.values()),
        rows=tuple(_row(*row, _means(values)) for row, values in seeds.items() if values),
        references=tuple(_references(bodies)),
        differences=tuple(_differences(told, seeds)),
        steps=tuple(
            row
            for entry in told.entries
            if entry.score == "all"
            for row in _steps(entry, of_entries[entry.label])
        ),
        validation=tuple(
            row for entry in told.entries for row in _validation(entry, of_entries[entry.label])
        ),
        fixed={entry.label: str(entry.fixed) for entry in told.entries},
        chosen={
            label: dict(Counter(body["chosen"]["held-out"] for body in own.values()))
            for label, own in of_entries.items()
        },
        spread=tuple(_spread(seeds)),
        apart=apart,
        ahead={name: _ahead(told, columns) for name, columns in apart.items()},
        costs=_costs(told, bodies),
        undrawn=tuple(
            f"{job.subject}, {job.label}, {job.seed}, {steps}"
            for job, body in bodies.items()
            for steps in body.get("undrawn", ())
        ),
        failed=tuple(
            f"{job.subject}, {job.label}, {job.seed}"
            for job in plan.jobs
            if job in records and records[job]["status"] == "failed"
        ),
    )


def told_of(plan: Plan, records: Mapping[JobSpec, Record]) -> Plan:
    """The plan, of those entries that have finished the first subject where not all have."""
    first = plan.jobs_of(plan.subjects[0])
    missing = {job.label for job in first if not _finished([job], records)}
    there = {job.label for job in first} - missing
    if not missing:
        return plan
    return replace(plan, entries=tuple(each for each in plan.entries if each.label in there))


def further_of(plan: Plan, records: Mapping[JobSpec, Record]) -> Plan | None:
    """The plan, of those entries that have finished more subjects than all of ``told_of`` have.

    Of several such groups the one of most jobs; None where there is no other to compare with, or
    where ``told_of`` has as many jobs.
    """
    done = {entry.label: _first_finished(plan, entry, records) for entry in plan.entries}
    found, most = None, len(counted(told_of(plan, records), records))
    for count in sorted({*done.values()}):
        entries = tuple(entry for entry in plan.entries if done[entry.label] >= count)
        group = replace(plan, entries=entries)
        jobs = len(counted(group, records))
        if jobs > most and len(entries) > 1:
            found, most = group, jobs
    return found


def counted(plan: Plan, records: Mapping[JobSpec, Record]) -> dict[JobSpec, Body]:
    """The jobs of the first subjects that are finished with every entry and seed."""
    every = (plan.jobs_of(subject) for subject in plan.subjects)
    groups = takewhile(lambda jobs: _finished(jobs, records), every)
    return {job: records[job]["body"] for group in groups for job in group}


def _first_finished(plan: Plan, entry: Entry, records: Mapping[JobSpec, Record]) -> int:
    """How many of the first subjects an entry has finished, or is not run on."""
    alone = replace(plan, entries=(entry,))
    every = (alone.jobs_of(subject) for subject in plan.subjects)
    return sum(1 for _ in takewhile(lambda jobs: _finished(jobs, records), every))


def _finished(jobs: Iterable[JobSpec], records: Mapping[JobSpec, Record]) -> bool:
    return all(job in records and records[job]["status"] == "done" for job in jobs)


def means_of_entries(
    plan: Plan,
    bodies: Mapping[JobSpec, Body],
    numbers: Callable[[JobSpec, Body], Mapping[str, float | None]],
    names: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Means over an entry's jobs; without those that none of its jobs has."""
    found: dict[str, dict[str, float]] = {}
    for entry in plan.entries:
        own = [numbers(job, body) for job, body in _of(entry, bodies).items()]
        for name in names:
            known = [value for each in own if (value := each.get(name)) is not None]
            if known:
                found.setdefault(entry.label, {})[name] = fmean(known)
    return found


def timed(body: Body) -> Mapping[str, float]:
    """A job's seconds by what they went into; of a CPU's own time where it did all the work."""
    cost = body["cost"]
    return cost[cost.get("timed_by", "cpu_seconds")]


def _of(entry: Entry, bodies: Mapping[JobSpec, Body]) -> dict[JobSpec, Body]:
    return {job: body for job, body in bodies.items() if job.label == entry.label}


def _row(entry: str, choice: str, values: Mapping[str, Mapping[str, float]]) -> Row:
    """A row of one value a subject."""
    found = {name: estimate([*each.values()]) for name, each in values.items() if each}
    return Row(entry, choice, found)


def _seeds(bodies: Mapping[JobSpec, Body], choice: str) -> Seeds:
    found: Seeds = {}
    for job, body in bodies.items():
        scored = _scored(body, choice)
        for measure in measures.ALL:
            value = measure.value(scored)
            if value is not None:
                found.setdefault(measure.name, {}).setdefault(job.subject, []).append(value)
    return found


def _means(seeds: Seeds) -> dict[str, dict[str, float]]:
    return {
        name: {subject: fmean(values) for subject, values in by_subject.items()}
        for name, by_subject in seeds.items()
    }


def _scored(body: Body, choice: str) -> Mapping[str, Any]:
    """The scores of the checkpoint that counts."""
    checkpoints = body["checkpoints"]
    if choice != ORACLE:
        return checkpoints[body["chosen"].get(choice, choice)]["scores"]
    every: list[Mapping[str, Any]] = [each["scores"] for each in checkpoints.values()]
    known = [(scores.value(each, *JUDGED_BY), each) for each in every]
    # Of equal ones the earlier, as where a checkpoint is chosen by held-out prompts.
    return max(known, key=lambda pair: float("-inf") if pair[0] is None else pair[0])[1]


def _references(bodies: Mapping[JobSpec, Body]) -> Iterator[Row]:
    """Rows that no training made; several of a label where entries draw or compare differently."""
    alike: dict[object, dict[JobSpec, Body]] = {}
    for job, body in bodies.items():
        alike.setdefault((job.extent, job.draw, job.leave_one_out), {})[job] = body
    known = {next(iter(own)).label: _by_reference(own) for own in alike.values()}
    for label in measures.REFERENCES:
        rows: dict[str, Row] = {}
        for first, found in known.items():
            row = _row(label, "", found.get(label, {}))
            if row.estimates and row not in rows.values():
                rows[first] = row
        for first, row in rows.items():
            yield row if len(rows) == 1 else replace(row, entry=f"{label}, as with {first}")


def _by_reference(bodies: Mapping[JobSpec, Body]) -> dict[str, dict[str, dict[str, float]]]:
    """Numbers by the label of a reference, by measure and by subject."""
    by_subject: dict[str, list[Mapping[str, Any]]] = {}
    for job, body in bodies.items():
        by_subject.setdefault(job.subject, []).append(_scored(body, "fixed"))
    found: dict[str, dict[str, dict[str, float]]] = {}
    for subject, scored in by_subject.items():
        for label, numbers in measures.references(scored).items():
            for name, value in numbers.items():
                found.setdefault(label, {}).setdefault(name, {})[subject] = value
    return found


def _differences(plan: Plan, seeds: Mapping[tuple[str, str], Seeds]) -> Iterator[Row]:
    for entry in plan.entries:
        for choice in CHOICES if entry.compare_to is not None else ():
            one, other = (
                _means(seeds.get((label, choice), {}))
                for label in (entry.compare_to or "", entry.label)
            )
            found = {name: paired(one[name], other[name]) for name in one if name in other}
            kept = {name: each for name, each in found.items() if each is not None}
            if kept:
                yield Row(f"{entry.compare_to} less {entry.label}", choice, kept)


def _steps(entry: Entry, bodies: Mapping[JobSpec, Body]) -> Iterator[Row]:
    """An entry at its checkpoints, all of which are scored; none where there is but one."""
    if bodies and len(entry.checkpoints) > 1:
        for steps in map(str, entry.checkpoints):
            yield _row(entry.label, steps, _means(_seeds(_with(steps, bodies), steps)))


def _validation(entry: Entry, bodies: Mapping[JobSpec, Body]) -> Iterator[Row]:
    for steps in map(str, entry.checkpoints):
        seeds: Seeds = {}
        for job, body in _with(steps, bodies).items():
            told: Mapping[str, float] = body["checkpoints"][steps]["validation"]
            harmonic = Quality(told["likeness"], told["following"]).harmonic
            for key, value in {**told, "harmonic": harmonic}.items():
                seeds.setdefault(key, {}).setdefault(job.subject, []).append(value)
        if seeds:
            yield _row(entry.label, steps, _means(seeds))


def _with(steps: str, bodies: Mapping[JobSpec, Body]) -> dict[JobSpec, Body]:
    """The jobs in which a checkpoint could be drawn."""
    return {job: body for job, body in bodies.items() if steps in body["checkpoints"]}


def _spread(seeds: Mapping[tuple[str, str], Seeds]) -> Iterator[Row]:
    for row, by_measure in seeds.items():
        found = {
            name: {
                subject: stdev(values) for subject, values in by_subject.items() if len(values) > 1
            }
            for name, by_subject in by_measure.items()
        }
        if any(found.values()):
            yield _row(*row, found)


def _ahead(
    plan: Plan, columns: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, tuple[int, int]]]:
    """In how many subjects an entry's value is larger than another's, and of how many."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for entry, other in permutations(plan.entries, 2):
        one, two = columns[entry.label], columns[other.label]
        shared = [one[subject] - two[subject] for subject in one if subject in two]
        if shared and entry.comparable(other):
            ahead = sum(each > 0 for each in shared)
            found.setdefault(entry.label, {})[other.label] = (ahead, len(shared))
    return found


def _drawn(plan: Plan) -> tuple[str, ...]:
    """What the pictures and seeds of each entry were, where entries differ apart."""
    found: dict[str, list[str]] = {}
    for entry in plan.entries:
        extent, draw, beside = entry.extent, entry.draw, entry.extent.beside("")
        said = (
            f"pictures a prompt: diverse {extent.diverse}, simple {extent.simple}, "
            f"{' and '.join(f'{name} {each.count}' for name, each in beside.items())}, "
            f"validation {extent.validation}; {draw.sampler}, {draw.sampler_steps} steps, guidance "
            f"{draw.guidance:g}; trained with seed {', '.join(map(str, entry.seeds))}"
        )
        left = "; likeness to a photo that was not learnt from" if entry.leave_one_out else ""
        found.setdefault(f"{said}{left}", []).append(entry.label)
    return tuple(f"{', '.join(labels)}: {said}" for said, labels in found.items())


def _conventions(bodies: Iterable[Body]) -> dict[str, tuple[str, ...]]:
    """What was said of each metric; more than one thing where machines differ."""
    said: dict[str, dict[str, None]] = {}
    for body in bodies:
        for metric, convention in body["conventions"].items():
            said.setdefault(metric, {})[convention] = None
    return {metric: tuple(conventions) for metric, conventions in said.items()}


def _costs(plan: Plan, bodies: Mapping[JobSpec, Body]) -> dict[str, dict[str, float]]:
    def of(job: JobSpec, body: Body) -> dict[str, float | None]:
        return {
            **body["cost"],
            TO_FIXED: _samples_to(job, job.fixed),
            TO_HELD_OUT: _samples_to(job, int(body["chosen"]["held-out"])),
        }

    return means_of_entries(plan, bodies, of, COUNTED)


def _samples_to(job: JobSpec, steps: int) -> float:
    """Pictures that pass the U-Net with gradients until so many steps of the last stage."""
    method = find_method(job.method)(**job.settings)
    *earlier, last = cost(method).stages
    before = sum(stage.samples or 0 for stage in earlier)
    return before + (last.samples or 0) * steps / (last.steps or steps)
