"""``rarebooth bench``: a plan in, records and tables out."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rarebooth.cli.console import notice, out
from rarebooth.defaults import EMBEDDED
from rarebooth.errors import BenchmarkError

if TYPE_CHECKING:
    from rarebooth.bench.executors import Executor
    from rarebooth.bench.plan import Plan
    from rarebooth.bench.work import Progress


def command(
    plan_file: Annotated[Path, typer.Argument(metavar="PLAN", help="The benchmark's TOML file.")],
    *,
    records: Annotated[Path, typer.Option(help="The folder of records, one for each job.")] = Path(
        "benchmarks/records"
    ),
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Where tables and figures go. Default: results, beside the records."
        ),
    ] = None,
    executor: Annotated[
        Literal["inline", "pool", "ray"],
        typer.Option(help="Where jobs run: in this process, in some of this machine, or on Ray."),
    ] = "pool",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes of the pool. Default: as many as there are CPUs for their threads on "
            "the embedded base, else one.",
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each job.")] = 1,
    address: Annotated[str | None, typer.Option(help="An existing Ray cluster.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run jobs again that failed.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is to be done and what it takes.")
    ] = False,
) -> None:
    """Run a benchmark, or what is missing of it, and write its tables.

    A job that has its record is not run again, so that a benchmark that was killed continues; one
    that failed is run again with --retry-failed, and the command ends with an error until then.
    """
    from rarebooth.bench.plan import read_plan
    from rarebooth.bench.running import open_benchmark, outlook, rehearse

    plan = read_plan(plan_file)
    for sentence in _idle(executor, workers, address, plan):
        notice(sentence)
    place = out_folder or records.parent / "results"
    count = 1 if executor == "inline" else workers or _processes(plan, threads)
    if dry_run:
        lines = rehearse(
            plan_file, records, workers=count, threads=threads, retry_failed=retry_failed
        )
        for line in lines:
            out().print(line)
        return
    benchmark = open_benchmark(plan_file, records, notice)
    pending = benchmark.pending(retry_failed=retry_failed)
    for line in outlook(benchmark.plan, pending, count, threads):
        out().print(line)
    benchmark.run(
        _executor(executor, count, threads, address),
        retry_failed=retry_failed,
        progress=_say,
        notice=notice,
    )
    for path in benchmark.write(place):
        out().print(f"wrote {path}")
    failed = benchmark.failed()
    if failed:
        raise BenchmarkError(
            f"{len(failed)} of {len(plan.jobs)} jobs failed, and the tables end before the first "
            "subject of theirs. Mend what they told, and give the same command with "
            f"--retry-failed. The first one told: {failed[0]}"
        )


def _idle(executor: str, workers: int | None, address: str | None, plan: "Plan") -> Iterator[str]:
    """A sentence for each setting, of the command or of the plan, that has no effect."""
    if workers is not None and executor != "pool":
        yield f"--workers has no effect here: {executor} has no processes of its own to count."
    if address is not None and executor != "ray":
        yield "--address has no effect here: it goes with --executor ray."
    for entry in plan.entries:
        yield from (f"[entries.{entry.label}]: {sentence}" for sentence in entry.idle)


def _say(step: "Progress") -> None:
    job, error = step.job, step.outcome.error
    ending = "done" if error is None else f"failed: {error}"
    out().print(f"{step.done}/{step.total} {job.subject} {job.label} seed {job.seed}: {ending}")
    for name, why in (step.outcome.body or {}).get("undrawn", {}).items():
        out().print(f"Checkpoint {name} cannot be drawn and is left out: {why}")


def _processes(plan: "Plan", threads: int) -> int:
    """How many jobs a machine bears at once: of a real base, whose training fills it, one."""
    if plan.base != EMBEDDED:
        return 1
    allowed = getattr(os, "sched_getaffinity", None)  # of Linux; os.cpu_count counts others' too
    count = len(allowed(0)) if allowed else os.cpu_count() or 1
    return max(1, count // threads)


def _executor(kind: str, workers: int, threads: int, address: str | None) -> "Executor":
    if kind == "ray":
        from rarebooth.bench.executors.ray import Ray

        return Ray(address, threads)
    if kind == "pool":
        from rarebooth.bench.executors.pool import Pool

        return Pool(workers, threads)
    from rarebooth.bench.executors.inline import Inline

    return Inline(threads)
