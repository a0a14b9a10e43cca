"""``benchmarks/speed/README.md``: what is said by hand, and the tables that the records give.

python benchmarks/speed/table.py
"""

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
ABOUT, README = HERE / "about.md", HERE / "README.md"
RECORD = HERE.parent / "records" / "speed-cpu.json"
LIKENESS = HERE.parent / "records" / "speed-likeness.json"
GPU = HERE.parent / "records" / "speed-gpu.json"

Row = Mapping[str, Any]
Rounds = Sequence[Row]

BARS: Final[Mapping[tuple[str, str], float]] = {
    ("dreambooth", "whole_seconds"): 0.55,
    ("dreambooth", "step_seconds"): 0.55,
    ("dreambooth", "peak_bytes"): 0.80,
    ("dreambooth-batch-4", "step_seconds"): 0.62,
    ("textual-inversion", "step_seconds"): 0.60,
    ("sampling", "seconds"): 0.80,
}
"""The ratio, ours to theirs, that is aimed at."""

LIKENESS_BAR: Final = 0.10

TWO_STAGE: Final = "two-stage"
"""Measured on our side alone: the other has no such training."""

ROWS: Final = (
    ("dreambooth", "whole_seconds", "DreamBooth, no prior, 400 steps, batch 1: whole process"),
    ("dreambooth", "cpu_seconds", "the same: CPU time"),
    ("dreambooth", "first_step_seconds", "the same: until the first step"),
    (TWO_STAGE, "whole_seconds", "two-stage, 100 + 400 steps with previews: whole process"),
    ("dreambooth", "step_seconds", "stage-two step, batch 1"),
    ("dreambooth-batch-4", "step_seconds", "stage-two step, batch 4"),
    ("dreambooth", "peak_bytes", "peak memory, DreamBooth, batch 1"),
    (
        "dreambooth-prior",
        "whole_seconds",
        "DreamBooth with 16 class images, 60 steps: whole process",
    ),
    ("textual-inversion", "whole_seconds", "Textual Inversion, 60 steps, batch 4: whole process"),
    ("textual-inversion", "step_seconds", "stage-one step, batch 4"),
    ("sampling", "seconds", "sampling, 16 prompts of 4 pictures, 50 steps"),
)


def write(record: Row, likeness: Row, gpu: Row) -> str:
    """The whole page."""
    parts = [ABOUT.read_text("utf-8").rstrip()]
    if record:
        parts += _sections(record)
    if gpu:
        parts += _on_a_gpu(gpu)
    if likeness:
        parts.append("## Until two-stage is as like as DreamBooth\n\n" + _likeness(likeness))
    return "\n\n".join(parts) + "\n"


def renew() -> None:
    """Write the page anew from the records that there are."""
    README.write_text(write(*records()), "utf-8")


def records() -> Iterator[Row]:
    """What ``write`` wants, empty where there is none."""
    for file in (RECORD, LIKENESS, GPU):
        yield json.loads(file.read_text("utf-8")) if file.is_file() else {}


def _sections(record: Row) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    yield (
        f"## Against diffusers\n\n{record['machine']}, {record['threads']} threads; {versions}. "
        "Medians; in brackets the smallest and the largest ratio of a round."
    )
    rounds: Mapping[str, Rounds] = record["rounds"]
    yield _table(
        ("", "ours", "diffusers", "ratio", "aim", "rounds"),
        (
            _row(rounds[name], key, said, BARS.get((name, key)))
            for name, key, said in ROWS
            if name in rounds
        ),
    )
    growths = [name for name in ("photos", "batch", "steps", "subjects") if name in rounds]
    if growths:
        yield "## As the work grows\n\n" + GROWTH
        for name in growths:
            yield _growth(name, rounds[name])


def _row(rounds: Rounds, key: str, said: str, bar: float | None) -> tuple[str, ...]:
    if not all("theirs" in each for each in rounds):
        alone = _shown(statistics.median(each["ours"][key] for each in rounds), key)
        return said, alone, "", "", "", str(len(rounds))
    own, other = ([each[side][key] for each in rounds] for side in ("ours", "theirs"))
    ratios = [one / two for one, two in zip(own, other, strict=True)]
    apart = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
    shown = (_shown(statistics.median(values), key) for values in (own, other))
    return said, *shown, apart, "" if bar is None else f"{bar:.2f}", str(len(rounds))


def _shown(value: float, key: str) -> str:
    if key == "peak_bytes":
        return f"{value / 1e6:.0f} MB"
    return f"{value * 1000:.0f} ms" if key == "step_seconds" else f"{value:.1f} s"


GROWTH: Final = (
    "Ours alone: two-stage, ten steps of each stage at batch 1 where nothing else is said. "
    "Medians of the rounds."
)

COLUMNS: Final = {
    "first": ("until the first step", "s"),
    "token": ("stage-one step", "ms"),
    "denoiser": ("stage-two step", "ms"),
    "seconds": ("in all", "s"),
    "quoted": ("quoted / taken", ""),
    "left": ("said to be left at a tenth / taken", ""),
}
"""Of each number its heading and unit; the last two were not measured from the beginning."""


def _growth(name: str, rounds: Rounds) -> str:
    sizes = list(rounds[0])
    keys = [key for key in COLUMNS if any(key in each[sizes[0]] for each in rounds)]
    rows = (
        (
            size,
            *(
                _number([each[size][key] for each in rounds if key in each[size]], COLUMNS[key][1])
                for key in keys
            ),
        )
        for size in sizes
    )
    return _table((name, *(COLUMNS[key][0] for key in keys)), rows)


def _number(values: Sequence[float], unit: str) -> str:
    if not values:
        return ""
    median = statistics.median(values)
    if not unit:
        return f"{median:.2f}"
    return f"{median * 1000:.0f} ms" if unit == "ms" else f"{median:.1f} s"


SIDES: Final = ("ours", "ours, compiled", "diffusers")

STEPS: Final = (
    ("denoiser", 1, "stage-two step, batch 1", "dreambooth"),
    ("denoiser", 4, "stage-two step, batch 4", "dreambooth-batch-4"),
    ("token", 1, "stage-one step, batch 1", ""),
    ("token", 4, "stage-one step, batch 4", "textual-inversion"),
)
"""Stage and batch of a GPU's row, how it is called, and whose aim is its own."""

BESIDES: Final = {
    "a picture": ("a picture", "sampling"),
    " steps, batch ": ("a whole two-stage training", ""),
    "low memory": ("training with `--low-memory`", ""),
    "host waits": ("host waits for the GPU", ""),
}
"""By what the other rows of a GPU are told: how they are called if none is there, whose aim."""

MISSING: Final = "not measured yet"


def _on_a_gpu(record: Row) -> Iterator[str]:
    rows: Rounds = record["rows"]
    at = {(row["stage"], row["batch"], row["side"]): row for row in rows if "stage" in row}
    counts = " or ".join(str(count) for count in sorted({row["counted"] for row in at.values()}))
    yield (
        f"## On a GPU\n\n{record['machine']}; torch {record['torch']}; {record['size']} with "
        f"random weights, {record['pixels']} px, {record['precision']}. A large product of bf16 "
        f"matrices runs at {record['ceiling'] / 1e12:.0f} TFLOP/s, which is the ceiling. Medians "
        f"of {counts or 'no'} steps, in brackets the least, and ratios of the medians."
    )
    places = [
        (said, [at.get((stage, batch, side), {}) for side in SIDES], (job, "step_seconds"))
        for stage, batch, said, job in STEPS
    ]
    yield _table(
        ("", "ours", "compiled", "diffusers", "ratio", "ratio, compiled", "aim"),
        (
            (
                said,
                *(_pace(side) for side in sides),
                *(_apart(side, sides[-1], "seconds") for side in sides[:-1]),
                _aim(of),
            )
            for said, sides, of in places
        ),
    )
    yield "Ours / compiled / diffusers:"
    yield _table(
        ("", "of the ceiling", "most GPU memory", "its ratios", "until the first step's end"),
        (
            (
                said,
                _beside(sides, "share", 100, "%"),
                _beside(sides, "peak_bytes", 1e-9, "GB"),
                " / ".join(_apart(side, sides[-1], "peak_bytes") for side in sides[:-1]),
                _beside(sides, "first_seconds", 1, "s"),
            )
            for said, sides, _ in places
        ),
    )
    notices = {notice for row in at.values() for notice in row.get("notices", ())}
    if notices:
        yield "Of what was to be compiled: " + "; ".join(sorted(notices))
    yield _table(("", "ours", "diffusers", "ratio", "aim"), _besides(rows))


def _besides(rows: Rounds) -> Iterator[tuple[str, ...]]:
    for mark, (called, job) in BESIDES.items():
        found = {row["what"]: None for row in rows if mark in row.get("what", "")}
        if not found:
            yield called, MISSING, "", "", ""
        for what in found:
            own, other = (_as_one(rows, what, side) for side in SIDES[::2])
            ratio = _apart(own, other, "seconds")
            yield what, _taken(own), _taken(other), ratio, _aim((job, "seconds"))


def _as_one(rows: Rounds, what: str, side: str) -> Row:
    """A side's row, or the medians of its rows: whole trainings have one a round."""
    own = [row for row in rows if row.get("what") == what and row["side"] == side]
    one = dict(own[0]) if own else {}
    medians = ("seconds", "peak_bytes")
    return one | {key: statistics.median(row[key] for row in own) for key in medians if key in one}


def _pace(row: Row) -> str:
    if not row:
        return MISSING
    return f"{row['seconds'] * 1000:.0f} ms [{row['least'] * 1000:.0f}]"


def _taken(row: Row) -> str:
    parts: list[str] = []
    if "found" in row:
        parts.append(" ".join(row["found"].split()))
    if "seconds" in row:
        parts.append(f"{row['seconds']:.2f} s")
    if "peak_bytes" in row:
        parts.append(f"{row['peak_bytes'] / 1e9:.1f} GB")
    return ", ".join(parts)


def _apart(own: Row, other: Row, key: str) -> str:
    return f"{own[key] / other[key]:.2f}" if key in own and key in other else ""


def _beside(sides: Rounds, key: str, factor: float, unit: str) -> str:
    values = (f"{side[key] * factor:.1f}" if side else "-" for side in sides)
    return f"{' / '.join(values)} {unit}"


def _aim(of: tuple[str, str]) -> str:
    return f"{BARS[of]:.2f}" if of in BARS else ""


def _likeness(record: Row) -> str:
    rows = (
        (
            subject,
            *(
                f"{side['dino']:.3f} after {side['steps']} steps, {side['seconds']:.0f} s"
                for side in (each["ours"], each["theirs"])
            ),
            f"{each['ours']['seconds'] / each['theirs']['seconds']:.2f}",
            f"{LIKENESS_BAR:.2f}",
        )
        for subject, each in record.items()
    )
    machines = ", ".join(sorted({each["machine"] for each in record.values()}))
    table = _table(("subject", "two-stage", "diffusers' DreamBooth", "ratio", "aim"), rows)
    return f"{machines}.\n\n{table}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    renew()
