"""Rows: whether the base draws what it is asked for, read by the examiner."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

from rarebooth.exam.candidate import Candidate
from rarebooth.exam.extent import Extent
from rarebooth.exam.outlook import denoiser_outlook
from rarebooth.exam.row import Row, absent, judged, percent
from rarebooth.metrics.encoders.examiner import Examiner
from rarebooth.metrics.following import wanted
from rarebooth.pretrain.examiner.scenes import wearers
from rarebooth.prompts import dreambench
from rarebooth.world.captions import main_colour
from rarebooth.world.colours import PALETTE
from rarebooth.world.toys import TOYS

BARS: Final = {
    "class": 0.97,
    "context": 0.97,
    "colour": 0.90,
    "property": 0.80,
    "accessory": 0.80,
}

_INDIVIDUALS: Final = 500
"""Looked at to know which colours individuals have: no gray."""


class Asked(NamedTuple):
    """A prompt: the class it names, and what else it asks for.

    ``row``: the row it counts for beside the class's; ``question`` and ``answer``: what the
    examiner must read.
    """

    prompt: str
    toy: str
    row: str
    question: str
    answer: str


def asked() -> list[Asked]:
    """Every class with DreamBench's prompts (Ruiz et al. 2023), and with every colour word.

    Raises:
        SettingsError: a scene of DreamBench that the world does not draw.
    """
    colours = {main_colour(TOYS[0], instance) for instance in range(_INDIVIDUALS)}
    live = wearers()
    found: list[Asked] = []
    for toy in TOYS:
        for template in dreambench(live=toy in live):
            found.append(Asked(template.format(toy), toy, *wanted(template)))
        for colour in PALETTE:
            if colour in colours:
                prompt = re.sub(r"^a (?=[aeio])", "an ", f"a {colour} {toy}")
                found.append(Asked(prompt, toy, "colour", "colour", colour))
    return found


def following_rows(
    candidate: Candidate, examiner: Examiner | None, extent: Extent
) -> Iterator[Row]:
    """The share of pictures in which the examiner reads what the prompt asks for."""
    names = {question: f"base, {question}" for question in BARS}
    bars = {question: f"at least {percent(bar)}" for question, bar in BARS.items()}
    if examiner is None:
        for question in BARS:
            yield absent(names[question], bars[question], "no examiner")
        return
    questions = [each for each in asked()[:: extent.stride] for _ in range(extent.per_prompt)]
    prompts = [each.prompt for each in questions]
    answers = examiner.read(candidate.draw(prompts, extent.seed, extent.steps))
    right: dict[str, list[tuple[str, bool]]] = {question: [] for question in BARS}
    for number, each in enumerate(questions):
        right["class"].append((each.toy, answers["class"][number] == each.toy))
        right[each.row].append((each.answer, answers[each.question][number] == each.answer))
    for question, bar in BARS.items():
        if not right[question]:
            yield absent(names[question], bars[question], "no such prompt among those drawn")
            continue
        share = sum(good for _, good in right[question]) / len(right[question])
        yield judged(
            names[question],
            bars[question],
            f"{percent(share)} of {len(right[question])} pictures; {_worst(right[question])}",
            {
                "share": share,
                "pictures": len(right[question]),
                "guidance": candidate.guidance,
                "steps": extent.steps,
                "wrong": dict(Counter(word for word, good in right[question] if not good)),
            },
            reached=share >= bar,
            wanted=partial(denoiser_outlook, candidate.recipe),
        )


def _worst(answers: Sequence[tuple[str, bool]]) -> str:
    """The three words that go wrong most often."""
    wrong = Counter(word for word, good in answers if not good)
    return f"worst: {', '.join(word for word, _ in wrong.most_common(3)) or 'none'}"
