"""What should have been left alone: the base's picture beside the tuned model's."""

from collections.abc import Sequence
from typing import Final

from rarebooth.report.markup import Part, by_run, captioned, number, picture, text
from rarebooth.report.view import BASE, RunView

SETS: Final = {"class": ("The plain class", 2), "unrelated": ("Unrelated prompts", 1)}
"""What does not name the subject: its title, and how many seeds of each prompt are shown."""


def drift(runs: Sequence[RunView]) -> Part:
    """Pairs of the checkpoint that stands for a run."""
    body, absent = by_run(runs, _drift, "no pictures of other prompts before and after training.")
    return Part(
        "Drift",
        "Left is the untouched base, right the tuned model, with the same prompt and seed: the "
        "more alike, the less was forgotten; drift is 1 - DINO cosine, 0 for equal pictures.",
        body,
        absent,
    )


def _drift(run: RunView) -> str | None:
    if run.shown is None:
        return None
    parts: list[str] = []
    for name, (title, seeds) in SETS.items():
        before, after = run.drawn(BASE, name), run.drawn(run.shown, name)
        by_prompt = run.prompts(run.shown, "drift", name)
        pairs: list[str] = []
        for template in (each for each in after if each in before):
            prompt = template.replace("{}", run.noun)
            said = f"{text(prompt)}<br>drift of the prompt {number(by_prompt.get(template))}"
            pairs += [
                captioned(
                    picture(one, f"base model: {prompt}")
                    + picture(other, f"checkpoint {run.shown}: {prompt}"),
                    said,
                    "pair",
                )
                for one, other in list(zip(before[template], after[template], strict=False))[:seeds]
            ]
        if pairs:
            value = number(run.value(run.shown, "drift", name))
            parts.append(
                f"<p><b>{title}: drift {value} at checkpoint {text(run.shown)}</b></p>"
                f'<div class="pairs">{"".join(pairs)}</div>'
            )
    return "".join(parts) or None
