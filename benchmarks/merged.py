"""Draw two subjects that Custom Diffusion learnt apart, each alone and from their merged file.

    python benchmarks/merged.py OUT_FOLDER [--subjects teapot_1 backpack_1]

On the embedded base with its preset, but each subject starts from a rare word of its own: words
that start alike cannot be told apart (docs/log.md). Writes one sheet and one JSON record.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from side_by_side import FIRST_SEED, SCENES, TEMPLATES, learn, preset_method

from rarebooth import sample
from rarebooth.base import Base, Session
from rarebooth.bases import open_base
from rarebooth.delta import Delta
from rarebooth.merging import captions, merge
from rarebooth.metrics.asked import Asked, asked
from rarebooth.metrics.palette import truth
from rarebooth.settings import preset_for
from rarebooth.sheet import Row, contact_sheet
from rarebooth.subject import read_folder
from rarebooth.tokens import fill
from rarebooth.world.subjects import VALIDATION, find, write_photos

WORDS = ("sks", "zwx")


def drawn(base: Base, delta: Delta, phrase: str) -> np.ndarray:
    """One picture of each template."""
    with Session(base) as session:
        session.wear(delta)
        prompts = [fill(template, phrase) for template in TEMPLATES]
        seeds = range(FIRST_SEED, FIRST_SEED + len(prompts))
        return sample.draw(session, prompts, seeds, **preset_for("embedded").draw.options)


def main() -> None:
    """Train both, merge them, draw everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--subjects",
        nargs=2,
        default=("teapot_1", "backpack_1"),
        choices=[each.name for each in VALIDATION],
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    base = open_base("embedded")
    learnt: list[Delta] = []
    rows: list[Row] = []
    record: dict[str, dict[str, float]] = {}
    for number, name in enumerate(arguments.subjects):
        individual = find(name)
        with TemporaryDirectory() as folder:
            write_photos(individual, Path(folder), base.size)
            subject = read_folder(Path(folder), individual.toy, base.size)
        method = replace(
            preset_method("custom-diffusion"),
            token=f"<new{number + 1}>",
            initial_word=WORDS[number],
        )
        learnt.append(learn(base, method, subject))
        rows.append(Row(f"photos of the {subject.noun}", subject.images[: len(TEMPLATES)]))
        rows.append(Row("learnt alone", drawn(base, learnt[-1], learnt[-1].phrases[0])))
    merged = merge(base, learnt, captions())
    for number, name in enumerate(arguments.subjects):
        pictures = drawn(base, merged, merged.phrases[number])
        rows.append(Row(f"both merged, asked for {merged.phrases[number]}", pictures))
        individual = find(name)
        truths = [truth(individual, Asked(), base.size)]
        truths += [truth(individual, asked(template), base.size) for template in TEMPLATES[1:]]
        record[name] = {
            "alone": _placed(truths, rows[2 * number + 1].pictures),
            "merged": _placed(truths, pictures),
        }
    contact_sheet(rows, ["simple prompt", *SCENES]).save(arguments.out / "merged.png")
    about = {"base": base.identity.digest, "placed": record}
    (arguments.out / "merged.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")


def _placed(truths: list, pictures: np.ndarray) -> float:
    """Mean place between floor and ceiling."""
    each = [known.placed(known.overlap(p)) for known, p in zip(truths, pictures, strict=True)]
    return round(float(np.mean(each)), 3)


if __name__ == "__main__":
    main()
