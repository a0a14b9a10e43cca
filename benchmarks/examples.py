"""Learn the shipped examples and place their colours in six scenes between floor and ceiling.

    python benchmarks/examples.py OUT_FOLDER [--record benchmarks/records/examples-NAME.json]

Trains every subject in the package's examples with the embedded base's preset, exactly as
``rarebooth train`` does, and writes one JSON record.
"""

import argparse
import json
import time
import tomllib
from pathlib import Path

import numpy as np

from rarebooth import api, artifact, prompts, sample
from rarebooth.base import Session
from rarebooth.examples import examples
from rarebooth.metrics.asked import asked
from rarebooth.metrics.palette import Truth, truth
from rarebooth.settings import DrawSettings
from rarebooth.tokens import fill
from rarebooth.world.subjects import Individual

PICTURES = 4
FIRST_SEED = 100


def scored(session: Session, phrase: str, truths: dict[str, Truth], draw: DrawSettings) -> dict:
    """Mean overlap and its place between floor and ceiling, over six scenes."""
    rows = {}
    for scene, known in truths.items():
        pictures = sample.draw(
            session,
            [fill(scene, phrase)] * PICTURES,
            range(FIRST_SEED, FIRST_SEED + PICTURES),
            **draw.options,
        )
        rows[scene] = float(np.mean([known.overlap(picture) for picture in pictures]))
    floor = float(np.mean([known.floor for known in truths.values()]))
    ceiling = float(np.mean([known.ceiling for known in truths.values()]))
    mean = float(np.mean(list(rows.values())))
    return {
        "overlap": round(mean, 4),
        "floor": round(floor, 4),
        "ceiling": round(ceiling, 4),
        "placed": round((mean - floor) / (ceiling - floor), 4),
        "scenes": {scene: round(value, 4) for scene, value in rows.items()},
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--record", type=Path)
    arguments = parser.parse_args()
    results = {}
    for folder in sorted(path for path in examples().iterdir() if path.is_dir()):
        about = tomllib.loads((folder / "subject.toml").read_text("utf-8"))
        individual = Individual(about["noun"], about["instance"])
        job = api.plan(folder, {"noun": about["noun"]}, out=arguments.out / folder.name)
        start = time.monotonic()
        for _ in api.train(job):
            pass
        seconds = time.monotonic() - start
        truths = {
            scene: truth(individual, asked(scene), job.base.size) for scene in prompts.SHEET_SCENES
        }
        with Session(job.base) as session:
            draw = job.settings.preset.draw
            base = scored(session, about["noun"], truths, draw)
            learnt = artifact.load(job.folder.subject).delta
            session.wear(learnt)
            tuned = scored(session, learnt.phrases[0], truths, draw)
        results[folder.name] = {"seconds": round(seconds, 1), "base": base, "subject": tuned}
    placed = [result["subject"]["placed"] for result in results.values()]
    record = {"mean_placed": round(float(np.mean(placed)), 4), "subjects": results}
    text = json.dumps(record, indent=2) + "\n"
    if arguments.record:
        arguments.record.write_text(text, "utf-8")
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
