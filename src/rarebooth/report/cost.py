"""What a run took."""

from collections.abc import Mapping, Sequence
from typing import Final

from rarebooth.report.markup import Part, by_run, number, table, text
from rarebooth.report.view import RunView

PASSES: Final = {
    "unet_pictures_training": "training",
    "unet_pictures_class_images": "drawing class images",
    "unet_pictures_drawing": "drawing pictures to score",
}


def cost(runs: Sequence[RunView]) -> Part:
    """Seconds by phase, pictures that went through the U-Net, and shares of the whole."""
    body, absent = by_run(runs, _cost, "no seconds.")
    return Part(
        "Cost",
        "Seconds are of the machine that ran it and say little of another; pictures through the "
        "U-Net compare methods on any machine.",
        body,
        absent,
    )


def _cost(run: RunView) -> str | None:
    phases = run.record.get("seconds", {})
    spent = run.scores.get("cost", {})
    parts: list[str] = []
    if phases:
        parts.append(_bars("Seconds by phase of the run", "Phase", phases))
    # A benchmark books all three itself; a run's own evaluation knows nothing of its training.
    evaluation = spent.get("seconds", {})
    learning = {} if run.learning is None else {"training": run.learning}
    shares = {**learning, **evaluation}
    if evaluation:
        parts.append(_bars("Seconds of training, drawing and scoring", "Part", shares))
    learnt = sum(len(line.get("timesteps", [])) for line in run.losses)
    known = {"unet_pictures_training": learnt, **spent} if learnt else spent
    passes = {label: known[key] for key, label in PASSES.items() if key in known}
    if passes:
        rows = [[label, f"{count:,}"] for label, count in passes.items()]
        parts.append(table("Pictures through the U-Net", ["Part", "Pictures"], rows))
    return "".join(parts) or None


def _bars(caption: str, what: str, seconds: Mapping[str, float]) -> str:
    total, longest = sum(seconds.values()) or 1.0, max(seconds.values()) or 1.0
    rows = [
        [
            text(name),
            number(value),
            f"{100 * value / total:.1f} %",
            f'<span class="bar" style="width:{100 * value / longest:.1f}%"></span>',
        ]
        for name, value in seconds.items()
    ]
    rows.append(["total", number(sum(seconds.values())), "", ""])
    return f'<div class="bars">{table(caption, [what, "Seconds", "Share", ""], rows)}</div>'
