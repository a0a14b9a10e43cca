"""The tables of a benchmark as Markdown; the same text wherever and in whatever order jobs ran."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final

from rarebooth.bench import measures
from rarebooth.bench.measures import Measure
from rarebooth.bench.plan import JobSpec, Plan
from rarebooth.bench.record import Record
from rarebooth.bench.results import (
    JUDGED_BY,
    ORACLE,
    TO_FIXED,
    TO_HELD_OUT,
    Body,
    Results,
    Row,
    counted,
    means_of_entries,
    timed,
)
from rarebooth.intervals import FEWEST, LEVEL, Estimate

FOLLOWED: Final = (*measures.LIKENESS, *measures.BESIDE, *measures.CLASS)
"""What is shown at every checkpoint."""

HEADINGS: Final = {
    TO_FIXED: "samples trained on, to the fixed checkpoint",
    TO_HELD_OUT: "to the held-out one",
    "samples": "to the last",
    "class_images": "class images",
    "unet_pictures_class_images": "U-Net pictures, class images",
    "unet_pictures_drawing": "U-Net pictures, choosing and scoring",
}

VALIDATED: Final = {
    "likeness": "likeness (DINO) ↑",
    "following": "prompt-following (CLIP-T) ↑",
    "harmonic": "harmonic mean ↑",
}

DRAWN_ONCE: Final = (
    "Means of a job. Samples pass the U-Net with gradients; held-out prompts choose when training "
    "has come to the last. A checkpoint that is fixed and held-out at once is drawn once, so that "
    "entries whose two differ more often draw more; the base's own pictures are not counted."
)

AHEAD: Final = (
    "Row against column, at the checkpoints that held-out prompts choose; - where the two drew "
    "different numbers of pictures or were held to other photos."
)

REMEMBERED: Final = (
    "On a CPU its seconds, all threads together; with a GPU seconds by the clock. In brackets the "
    "share of the whole. What no entry changes, true renders and the base's own pictures, is made "
    "once a process and remembered: where one process runs a subject's entries, scoring is dearest "
    "for the first of them, and is no difference of methods. Class images are kept on disk: a job "
    "whose class has some draws none, so that their mean is of few jobs that drew and many that "
    "did not."
)


def markdown(found: Results) -> str:
    """The results as Markdown."""
    if not found.subjects:
        return _lines(
            f"0 of {found.of} subjects are finished with any entry: there is no table yet.",
            _failed(found),
        )
    return _lines(
        f"Base {found.base}, {len(found.subjects)} of {found.of} subjects: "
        f"{', '.join(found.subjects)}. Means over subjects, with bootstrap intervals of {LEVEL} % "
        f"where they are {FEWEST} or more; (n) where only n subjects have a number. Fixed: the "
        "checkpoint that the plan names; held-out: chosen by four prompts of other words and "
        "seeds than any that a score is made from, though their scenes are scored too: of objects "
        "all four (the beach, sunflowers, a mountain, a white rug), of cats and dogs the beach "
        "and the mountain; oracle: the best by "
        f"{' '.join(JUDGED_BY)} of the scores that are shown, for which no user could choose.",
        _waiting(found),
        _undrawn(found),
        _failed(found),
        *chain.from_iterable(
            _section(
                title,
                _grid((*found.rows, *found.references), group, "{:.3f}", found),
                _grid(found.differences, group, "{:+.3f}", heading="difference"),
            )
            for title, group in measures.GROUPS.items()
        ),
        *chain.from_iterable(
            _section(
                f"In how many subjects one is ahead: {measures.called(name)}", _matrix(pairs), AHEAD
            )
            for name, pairs in found.ahead.items()
            if pairs
        ),
        *_section("Which checkpoint", _validation(found)),
        *_section("At every checkpoint", _grid(found.steps, FOLLOWED, "{:.3f}")),
        *_section(
            "Standard deviation over a subject's seeds",
            _grid(found.spread, FOLLOWED, "{:.3f}", found, directed=False),
        ),
        *_section("What a job takes", _plain_table(found.costs, HEADINGS, "{:.0f}"), DRAWN_ONCE),
        *_section(
            "What the numbers rest on",
            "\n".join(f"- {said}" for said in found.drawn),
            "\n".join(f"- {name}: {' / '.join(said)}" for name, said in found.conventions.items()),
        ),
    )


def times_markdown(plan: Plan, records: Mapping[JobSpec, Record]) -> str:
    """Seconds of a job as Markdown: means over the jobs that count, those of each machine apart.

    ``plan``: of the entries that are told of.
    """
    machines: dict[str, dict[JobSpec, Body]] = {}
    for job, body in counted(plan, records).items():
        machine = body["cost"].get("device", "a machine that is not named")
        machines.setdefault(machine, {})[job] = body
    return _lines(*(_times(plan, name, bodies) for name, bodies in machines.items()), REMEMBERED)


def _times(plan: Plan, machine: str, bodies: Mapping[JobSpec, Body]) -> str:
    """The seconds of the jobs that one machine ran."""
    phases = tuple(dict.fromkeys(phase for body in bodies.values() for phase in timed(body)))
    means = means_of_entries(plan, bodies, lambda _, body: timed(body), phases)
    rows: list[list[str]] = []
    for label, each in means.items():
        whole = sum(each.values())
        cells = (
            f"{each[phase]:.1f} ({each[phase] / whole:.0%})" if phase in each else "-"
            for phase in phases
        )
        rows.append([label, *cells, f"{whole:.1f}"])
    jobs = f"{len(bodies)} {'job' if len(bodies) == 1 else 'jobs'}"
    return f"{machine}, {jobs}:\n\n{_table(['entry', *phases, 'all'], rows)}"


def _validation(found: Results) -> str:
    """Every checkpoint by the prompts that choose, and how often it was chosen."""

    def chosen(row: Row) -> str:
        counts = found.chosen[row.entry]
        fixed = "fixed, " if row.choice == found.fixed[row.entry] else ""
        return f"{fixed}{counts.get(row.choice, 0)} of {sum(counts.values())} jobs"

    return _table(
        ["entry", "steps", *VALIDATED.values(), "fixed; chosen by held-out prompts in"],
        [
            [
                row.entry,
                row.choice,
                *(_cell(row.estimates.get(name), "{:.3f}", 0) for name in VALIDATED),
                chosen(row),
            ]
            for row in found.validation
        ],
    )


def _grid(
    rows: Sequence[Row],
    group: Sequence[Measure],
    number: str,
    found: Results | None = None,
    *,
    heading: str = "entry",
    directed: bool = True,
) -> str:
    """A table of estimates; measures that no row has, and rows that have none, are left out.

    ``found``: where the fixed checkpoint's steps are to be told. ``directed``: whether more or less
    is better.
    """
    kept = [each for each in group if any(each.name in row.estimates for row in rows)]
    shown = [row for row in rows if any(each.name in row.estimates for each in kept)]
    if not shown:
        return ""
    told = (row.estimates.get(each.name) for row in shown for each in kept)
    whole = max(each.count for each in told if each is not None)
    signs = measures.arrows() if directed else dict.fromkeys((each.name for each in kept), "")
    return _table(
        [heading, "checkpoint", *(f"{each.called}{signs[each.name]}" for each in kept)],
        [
            [
                row.entry,
                _checkpoint(row, found),
                *(_cell(row.estimates.get(each.name), number, whole) for each in kept),
            ]
            for row in shown
        ],
    )


def _checkpoint(row: Row, found: Results | None) -> str:
    """What tables call the checkpoint that counts."""
    if row.choice == ORACLE:
        return "oracle (optimistic)"
    if row.choice == "fixed" and found is not None:
        return f"fixed: {found.fixed[row.entry]}"
    return row.choice or "-"


def _cell(each: Estimate | None, number: str, whole: int) -> str:
    """An estimate; of how many subjects where that is less than ``whole``."""
    if each is None:
        return "-"
    mean, low, high = (number.format(value) for value in (each.mean, each.low, each.high))
    interval = f" [{low}, {high}]" if each.count >= FEWEST else ""
    return f"{mean}{interval}{f' ({each.count})' if each.count < whole else ''}"


def _matrix(pairs: Mapping[str, Mapping[str, tuple[int, int]]]) -> str:
    def cell(one: str, other: str) -> str:
        ahead, of = pairs[one].get(other, (0, 0))
        return f"{ahead} of {of}" if of else "-"

    rows = ([one, *(cell(one, other) for other in pairs)] for one in pairs)
    return _table(["ahead", *pairs], rows)


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


def _waiting(found: Results) -> str:
    return f"Not told of yet: {', '.join(found.waiting)}." if found.waiting else ""


def _undrawn(found: Results) -> str:
    said = "Checkpoints that could not be drawn, and are left out"
    return f"{said}: {'; '.join(found.undrawn)}." if found.undrawn else ""


def _failed(found: Results) -> str:
    return f"Failed: {'; '.join(found.failed)}." if found.failed else ""


def _lines(*parts: str) -> str:
    """Paragraphs, without empty ones."""
    return "\n\n".join(part for part in parts if part) + "\n"
