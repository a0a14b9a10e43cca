"""A benchmark on disk: its plan, its records, and the tables and figures made from them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from rarebooth import hub, store
from rarebooth.bases import open_base
from rarebooth.bench import figures, measures, tables
from rarebooth.bench.estimate import (
    PUBLISHED,
    operations_a_picture,
    seconds_a_picture,
    sustained,
    work_of,
)
from rarebooth.bench.executors import Executor
from rarebooth.bench.heatmap import Panel, heatmap
from rarebooth.bench.job import run_job
from rarebooth.bench.plan import JobSpec, Plan, photos_digest, read_plan
from rarebooth.bench.record import Records
from rarebooth.bench.results import (
    Results,
    averaged,
    further_of,
    results,
    timed,
    told_of,
)
from rarebooth.bench.work import Progress, work
from rarebooth.metrics.encoders.judges import fetch_judges
from rarebooth.metrics.encoders.judges import pending as pending_judges
from rarebooth.sheet import QUALITY

PRECISION: Final = "precision"
"""Among the digests of records, what all their jobs compute in; left out where that is fp32."""

FIGURES = {
    "likeness": figures.likeness,
    "class": figures.of_the_class,
    "longer-training": figures.longer_training,
}
"""Kinds of figures, and who draws them."""


@dataclass(frozen=True)
class Benchmark:
    """A plan whose base was found. ``name``: the plan's file without its ending."""

    name: str
    plan: Plan
    records: Records

    def run(
        self,
        executor: Executor,
        *,
        retry_failed: bool = False,
        progress: Callable[[Progress], None] = lambda _: None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Run what has no record yet; ``notice`` is told of judges that are fetched for it first.

        Raises SettingsError where judges cannot be had.
        """
        if self.pending(retry_failed=retry_failed):
            fetch_judges(self.plan.base, notice)
        work(
            self.plan.jobs,
            partial(run_job, precision=self.records.digests.get(PRECISION, "fp32")),
            self.records,
            executor,
            retry_failed=retry_failed,
            progress=progress,
        )

    def pending(self, *, retry_failed: bool = False) -> list[JobSpec]:
        """The jobs that ``run`` would run."""
        return self.records.pending(self.plan.jobs, retry_failed=retry_failed)

    def failed(self) -> list[str]:
        """What the jobs that failed said, in their order."""
        there = self.records.load(self.plan.jobs).values()
        return [each["error"] for each in there if each["status"] == "failed"]

    def results(self) -> Results:
        """What the records that there are say."""
        return results(self.plan, self.records.load(self.plan.jobs))

    def told(self) -> list["Told"]:
        """The same with its seconds, and after it that of entries further than the rest, if any."""
        records = self.records.load(self.plan.jobs)
        groups = (told_of(self.plan, records), further_of(self.plan, records))
        return [
            Told(averaged(self.plan, group, records), tables.times_markdown(group, records))
            for group in groups
            if group is not None
        ]

    def figures(self, folder: Path) -> Iterator["Figure"]:
        """The figures of subjects of which pictures are kept, where all those jobs have ended."""
        for subject in self.plan.pictures:
            bodies = self._bodies(subject)
            if bodies is not None:
                for kind in FIGURES:
                    path = folder / f"{self.name}-{subject}-{kind}.webp"
                    yield Figure(kind, subject, path, bodies)

    def write(self, folder: Path) -> Iterator[Path]:
        """Write tables and figures; yields every file."""
        told, *further = self.told()
        texts = {"": tables.markdown(told.results), "-times": told.times}
        for beyond in further:
            texts["-further"] = f"{tables.markdown(beyond.results)}\n{beyond.times}"
        if not further:  # there may have been when the benchmark was last written
            (folder / f"{self.name}-further.md").unlink(missing_ok=True)
        for ending, text in texts.items():
            path = folder / f"{self.name}{ending}.md"
            with store.writing(path) as beside:
                beside.write_text(text, encoding="utf-8")
            yield path
        pictures = folder / "pictures"
        for figure in (*self.figures(pictures), self.heatmap(pictures, told.results)):
            if figure is not None:
                figure.write()
                yield figure.path

    def heatmap(self, folder: Path, found: Results) -> "Heatmap | None":
        """The picture of every subject by every entry; None where there is but one subject."""
        panels = [
            Panel(measures.called(name), shown)
            for name, columns in found.apart.items()
            if (shown := {label: each for label, each in columns.items() if each})
        ]
        if len(found.subjects) < 2 or not panels:
            return None
        return Heatmap(folder / f"{self.name}-subjects.svg", found.subjects, panels)

    def _bodies(self, subject: str) -> dict[str, dict[str, Any]] | None:
        """A subject by the jobs that keep pictures of it; None until all are there."""
        jobs = [job for job in self.plan.jobs if job.subject == subject and job.pictures]
        found = self.records.load(jobs)
        done = {job.label: record["body"] for job, record in found.items()}
        return done if jobs and len(done) == len(jobs) and all(done.values()) else None


@dataclass(frozen=True)
class Told:
    """What is told of a group of entries. ``times``: seconds of a job, as Markdown."""

    results: Results
    times: str


@dataclass(frozen=True)
class Figure:
    """A figure to be drawn from records. ``bodies``: what they hold, by the label of the entry."""

    kind: str
    subject: str
    path: Path
    bodies: Mapping[str, Mapping[str, Any]]

    def write(self) -> None:
        """Draw it into its file."""
        with store.writing(self.path) as beside:
            FIGURES[self.kind](self.bodies).save(beside, format="WEBP", quality=QUALITY, method=6)


@dataclass(frozen=True)
class Heatmap:
    """Every subject by every entry, to be drawn."""

    path: Path
    subjects: Sequence[str]
    panels: Sequence[Panel]

    def write(self) -> None:
        """Draw it into its file."""
        with store.writing(self.path) as beside:
            beside.write_text(heatmap(self.subjects, self.panels), "utf-8")


def open_benchmark(
    plan_file: Path, records: Path, notice: Callable[[str], None] = lambda _: None
) -> Benchmark:
    """Read a plan and find its base and photos, without training anything.

    ``notice`` is told what ``hub.find`` tells of the base.

    Raises:
        SettingsError: the plan is wrong, or photos are missing.
        BaseModelError: the base cannot be opened.
    """
    plan = read_plan(plan_file)
    for job in plan.jobs:
        photos_digest(job)
    hub.find(plan.base, notice=notice)  # told where the base is fetched, which opening it does too
    return Benchmark(plan_file.stem, plan, Records(records, _digests(plan.base, plan.precision)))


def outlook(plan: Plan, jobs: list[JobSpec], workers: int, threads: int) -> Iterator[str]:
    """What jobs take, a line at a time: pictures through the U-Net, and the time of that here."""
    total = work_of(jobs)
    yield (
        f"{len(jobs)} of {len(plan.jobs)} jobs are to be run: {total.trained:,} pictures pass the "
        f"U-Net with gradients and {total.forward:,} without."
    )
    if not jobs:
        return
    here = hub.pending(plan.base) is None
    operations = PUBLISHED.get(plan.base)
    if here:
        base = open_base(plan.base, precision=plan.precision)
        hours = total.passes * seconds_a_picture(base, threads) / 3600
        operations = operations_a_picture(base)
        yield (
            f"The U-Net alone takes about {_told(hours)} here on one worker, "
            f"{_told(hours / workers)} on {workers}."
        )
    if operations is None:
        yield "How long that takes can be told once the base is on this machine."
        return
    counted = "" if here else ", counted by the published sizes of its U-Net"
    pace = sustained(operations)
    yield (
        f"That is {total.passes * operations:.1e} operations{counted}: "
        f"{_told(total.passes * operations / pace.rate / 3600)} on a GPU that sustains "
        f"{pace.rate / 1e12:.0f} trillion a second, as an H100 did {pace.when}. Scoring, and "
        "decoding pictures, are not counted."
    )


def scoring(records: Records, jobs: list[JobSpec]) -> Iterator[str]:
    """What scoring took in those jobs that are recorded, as a line; none where none is."""
    done = [each["body"] for each in records.load(jobs).values() if each["status"] == "done"]
    seconds = [timed(body).get("scoring", 0.0) for body in done]
    if seconds:
        yield (
            f"Scoring took {fmean(seconds):.0f} seconds a job in the {len(seconds)} jobs that are "
            "recorded."
        )


def rehearse(
    plan_file: Path,
    records: Path,
    *,
    workers: int = 1,
    threads: int = 1,
    retry_failed: bool = False,
) -> Iterator[str]:
    """What a plan would do, a line at a time; a base that is not here is not fetched."""
    plan = read_plan(plan_file)
    for job in plan.jobs:
        photos_digest(job)
    missing = hub.pending(plan.base)
    if missing is None:
        benchmark = open_benchmark(plan_file, records)
        pending = benchmark.pending(retry_failed=retry_failed)
        yield from outlook(plan, pending, workers, threads)
        yield from scoring(benchmark.records, plan.jobs)
    else:
        yield from outlook(plan, plan.jobs, workers, threads)
        yield f"The base is to be downloaded first: {missing}."
    for missing in pending_judges(plan.base):
        yield f"A judge is to be downloaded first: {missing}."


@cache  # plans share a base, which takes seconds to open; what is kept of it is small
def _digests(name: str, precision: str) -> Mapping[str, str]:
    base = open_base(name, precision=precision)
    digests = {"base": base.identity.digest}
    if base.precision != "fp32":
        digests[PRECISION] = base.precision  # what bf16 found is not mixed with fp32's
    return digests


def _told(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
