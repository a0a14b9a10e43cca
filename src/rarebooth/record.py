"""``run.json`` as a run goes on: settings, versions, hashes, seconds, status."""

import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from rarebooth import __version__
from rarebooth.choose import Choice
from rarebooth.class_images import cache_folder
from rarebooth.errors import told_without_paths
from rarebooth.optimisers import EIGHT_BIT
from rarebooth.plan import Plan
from rarebooth.run import State

VERSIONED = ("torch", "diffusers", "transformers", "safetensors", "Pillow", "numpy")


@dataclass
class RunRecord:
    """``run.json`` while the run is under way.

    ``content``: what is written. ``since``: when the time began that is not booked yet.
    """

    job: Plan
    content: dict[str, Any]
    since: float

    @staticmethod
    def begin(job: Plan) -> "RunRecord":
        """Write the record of a run that is about to start or to continue."""
        base = job.base
        used = (*VERSIONED, EIGHT_BIT) if job.settings.train.low_memory else VERSIONED
        # Read again: the same plan may have been trained from before, and been interrupted.
        earlier = job.folder.read() or {}
        preset = job.settings.preset
        preview = {} if preset.preview == preset.draw else {"preview": asdict(preset.preview)}
        content: dict[str, Any] = {
            "status": "running",
            "settings": job.settings.as_record(),
            "origin": dict(job.settings.origin),
            "preset": {"name": preset.name, "source": preset.source},
            "drawing": asdict(preset.draw),
            **preview,
            "base": {
                "name": base.identity.name,
                "family": base.identity.family,
                "digest": base.identity.digest,
            },
            "photos": {
                "digest": job.photos_digest,
                "used": [photo.name for each in job.subjects for photo in each.photos],
                "refused": {
                    refusal.name: refusal.reason
                    for each in job.subjects
                    for refusal in each.refused
                },
                "skipped": [name for each in job.subjects for name in each.skipped],
            },
            "class_photos": job.class_photos_digest,
            "device": str(base.device),
            "precision": base.precision,
            "versions": {
                "python": platform.python_version(),
                "rarebooth": __version__,  # metadata has none where it is not installed
                **{name: metadata.version(name) for name in used},
            },
            "seconds": dict(earlier.get("seconds", {})),
            "resumed_from": list(earlier.get("resumed_from", [])),
            "recommended": earlier.get("recommended"),
            "choice": earlier.get("choice"),
            "stopped_early": earlier.get("stopped_early"),
        }
        job.folder.write(content)
        return RunRecord(job, content, time.monotonic())

    def book(self, phase: str) -> None:
        """Book the time since the last call on the phase that has just ended.

        A stage's first step includes what the method prepares for it, such as encoding the photos.
        """
        now = time.monotonic()
        seconds = self.content["seconds"]
        seconds[phase] = round(seconds.get(phase, 0.0) + now - self.since, 3)
        self.since = now

    def resumed(self, state: State | None, damaged: Sequence[str]) -> None:
        """Note which state the run continues from, and which states were found damaged."""
        if state is not None:
            self.content["resumed_from"].append({"stage": state.stage, "step": state.done})
        if damaged:
            self.content["damaged_states"] = list(damaged)
        self.job.folder.write(self.content)

    @property
    def recommended(self) -> str | None:
        """The recommended checkpoint, once all steps are taken and as long as it is there."""
        name: str | None = self.content["recommended"]
        there = name is not None and self.job.folder.checkpoint(name).is_file()
        return name if there else None

    def recommend(self, checkpoint: str) -> None:
        """Note that all steps are taken: a run that continues from here takes none."""
        self.content["recommended"] = checkpoint
        self.content["choice"] = None  # an earlier one was of checkpoints that were lost since
        self.job.folder.write(self.content)

    def stopped_early(self, step: int, best: int) -> None:
        """Note that training ended at a step because its probe had been best at an earlier one."""
        self.content["stopped_early"] = {"step": step, "best_probe": best}

    @property
    def chosen(self) -> bool:
        """Whether the recommended checkpoint was chosen as is asked for now."""
        choice = self.content["choice"]
        if choice is None or self.recommended is None:
            return False
        return choice["rule"] == self.job.settings.train.choose

    def choose(self, choice: Choice) -> None:
        """Note which checkpoint is recommended, and why."""
        self.content["recommended"] = choice.checkpoint
        self.content["choice"] = {
            "rule": choice.rule,
            "why": choice.why,
            "qualities": {
                name: {**asdict(each), "harmonic": each.harmonic}
                for name, each in choice.qualities.items()
            },
        }
        self.job.folder.write(self.content)

    def end(self, status: str, error: Exception | None = None) -> None:
        """Write how the run ended: "finished", "interrupted" or "failed" with its reason."""
        self.content["status"] = status
        if error is not None:
            self.content["error"] = self._without_paths(error)
        self.content["checkpoints"] = self.job.folder.checkpoints()
        self.job.folder.write(self.content)

    def _without_paths(self, error: Exception) -> str:
        """The error as a record may tell it: with no path, also where one holds spaces."""
        job = self.job
        asked = [job.folder.path, *job.photos_at, Path(job.base_asked), cache_folder(os.environ)]
        if job.class_photos_at is not None:
            asked.append(job.class_photos_at)
        places = [*asked, *_of_system(error), Path.home(), Path.cwd(), Path(tempfile.gettempdir())]
        known = {each for path in places for each in (path.absolute(), path.resolve())}
        # The longest first: what is left of a path whose beginning is gone is none any more.
        told = sorted((str(path) for path in known if path != Path(path.anchor)), key=len)
        return told_without_paths(error, *reversed(told))


def _of_system(error: BaseException | None) -> Iterator[Path]:
    """The files that the system's errors behind an error are of."""
    while error is not None:
        if isinstance(error, OSError):
            for name in (error.filename, error.filename2):
                if isinstance(name, str | Path):
                    yield Path(name)
        error = error.__cause__ or error.__context__
