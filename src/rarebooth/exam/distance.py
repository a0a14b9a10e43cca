"""Row: how far the base's pictures are from true renders, beside what its autoencoder loses."""

import random
from typing import Final

from rarebooth.exam.candidate import Candidate
from rarebooth.exam.extent import Extent
from rarebooth.exam.outlook import denoiser_outlook
from rarebooth.exam.row import Row, absent, judged
from rarebooth.exam.strangers import Renderer, strangers
from rarebooth.metrics.encoders.examiner import Examiner
from rarebooth.metrics.frechet import frechet_distance
from rarebooth.world.captions import caption

BAR: Final = 3.0
"""Times the reconstructions' distance."""

NAME: Final = "Fréchet distance"
BAR_TEXT: Final = f"base at most {BAR:g} x coded"


def distance_row(
    candidate: Candidate, examiner: Examiner | None, extent: Extent, renderer: Renderer
) -> Row:
    """Distances in the examiner's features from one set of renders to three others.

    To other renders, to those coded and decoded, and to what the base draws for their captions; so
    that all three have the same share of chance in them.
    """
    if examiner is None:
        return absent(NAME, BAR_TEXT, "no examiner")
    count, key = extent.compared, f"compared {extent.seed}"
    scenes = strangers(count, f"{key} mine")
    rng = random.Random(key)
    prompts = [caption(scene, rng) for scene in scenes]
    mine = renderer(scenes, candidate.base.size).images
    truth = renderer(strangers(count, f"{key} truth"), candidate.base.size).images
    sets = {
        "renders": mine,
        "coded": candidate.recode(mine),
        "base": candidate.draw(prompts, extent.seed, extent.compared_steps),
    }
    goal = examiner.features(truth)
    found = {name: frechet_distance(examiner.features(each), goal) for name, each in sets.items()}
    times = found["base"] / found["coded"] if found["coded"] else float("inf")
    figures = ", ".join(f"{name} {distance:.2f}" for name, distance in found.items())
    return judged(
        NAME,
        BAR_TEXT,
        f"{figures} ({times:.1f} x); {count} against {count}, {extent.compared_steps} steps",
        {
            **found,
            "pictures": count,
            "steps": extent.compared_steps,
            "guidance": candidate.guidance,
        },
        reached=times <= BAR,
        wanted=lambda: denoiser_outlook(candidate.recipe),
    )
