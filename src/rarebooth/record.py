"""``run.json`` as a run goes on: settings, versions, hashes, seconds, status."""

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from rarebooth.folder import RunFolder
from rarebooth.plan import Plan
from rarebooth.run import State

VERSIONED = ("rarebooth", "torch", "diffusers", "transformers", "safetensors", "Pillow", "numpy")


@dataclass
class RunRecord:
    """``run.json`` while the run is under way."""

    folder: RunFolder
    content: dict[str, Any]
    since: float
    current: str

    @staticmethod
    def begin(job: Plan) -> "RunRecord":
        """Write the record of a run that is about to start or to continue."""
        subject, base = job.subject, job.base
        content: dict[str, Any] = {
            "status": "running",
            "settings": job.settings.as_record(),
            "origin": dict(job.settings.origin),
            "preset": {"name": job.settings.preset.name, "source": job.settings.preset.source},
            "base": {
                "name": base.identity.name,
                "family": base.identity.family,
                "digest": base.identity.digest,
            },
            "photos": {
                "digest": subject.digest,
                "used": [photo.name for photo in subject.photos],
                "refused": {refusal.name: refusal.reason for refusal in subject.refused},
                "skipped": list(subject.skipped),
            },
            "device": str(base.device),
            "versions": {
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in VERSIONED},
            },
            "seconds": dict(job.earlier["seconds"]) if job.earlier else {},
            "resumed_from": list(job.earlier["resumed_from"]) if job.earlier else [],
        }
        job.folder.write(content)
        return RunRecord(job.folder, content, time.monotonic(), "preparation")

    def phase(self, name: str) -> None:
        """Book the time since the last call on the phase that it went to."""
        now = time.monotonic()
        seconds = self.content["seconds"]
        # A step's time is known when the step is reported, so it belongs to the name given now.
        seconds[name] = round(seconds.get(name, 0.0) + now - self.since, 3)
        self.since, self.current = now, name

    def resumed(self, state: State | None, damaged: Sequence[str]) -> None:
        """Note which state the run continues from, and which states were found damaged."""
        if state is not None:
            self.content["resumed_from"].append({"stage": state.stage, "step": state.done})
        if damaged:
            self.content["damaged_states"] = list(damaged)
        self.folder.write(self.content)

    def end(self, status: str, error: str | None = None) -> None:
        """Write how the run ended: "finished", "interrupted" or "failed" with its reason."""
        self.phase(self.current)
        self.content["status"] = status
        if error is not None:
            # A record travels with the run: it must not tell where the run once lay.
            for path in (self.folder.path.absolute(), self.folder.path):
                error = error.replace(str(path), "the run folder")
            # Where the folder lies on this machine is nobody else's business.
            self.content["error"] = error.replace(str(self.folder.path), self.folder.path.name)
        else:
            self.content.pop("error", None)
        self.content["checkpoints"] = self.folder.checkpoints()
        self.folder.write(self.content)
