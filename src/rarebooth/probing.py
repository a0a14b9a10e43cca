"""Probes of a run under way, remembered in its log so that a run that continues decides alike."""

import math
from dataclasses import dataclass
from pathlib import Path

from rarebooth import prompts
from rarebooth.base import Session
from rarebooth.plan import Plan
from rarebooth.probe import Probe, looked_on, stalled
from rarebooth.run import Step
from rarebooth.run_files import read_steps
from rarebooth.tokens import fill


@dataclass
class ProbeWatch:
    """Probes a run's last stage, and knows when it has stopped getting better.

    ``seen``: the loss at each probe, by step, in order.
    """

    probe: Probe
    every: int
    patience: int
    stage: str
    prompt: str
    seen: dict[int, float]

    @classmethod
    def of(cls, job: Plan) -> "ProbeWatch":
        """Prepare for a run: on the photo that is left out, or on all where none is."""
        method, settings = job.settings.method, job.settings.train
        images = job.subjects[0].images
        template: str = getattr(method, "prompt", prompts.PLAIN)
        phrase = method.phrases([subject.noun for subject in job.subjects])[0]
        return cls(
            Probe.of(job.base, looked_on(images)),
            settings.probe_every,
            settings.patience,
            method.stages[-1],
            fill(template, phrase),
            _remembered(job.folder.steps, method.stages[-1]),
        )

    def look(self, session: Session, step: Step) -> float | None:
        """The probe's loss after this step, or None where none is due."""
        if step.stage != self.stage or step.done % self.every:
            return None
        loss = self.probe.loss(session, self.prompt)
        if math.isfinite(loss):
            self.seen[step.done] = loss
        return loss

    @property
    def stalled(self) -> bool:
        """Whether patience is at an end."""
        return self.patience > 0 and stalled(list(self.seen.values()), self.patience)

    @property
    def best(self) -> int:
        """The step with the lowest loss; of equal ones the earlier."""
        return min(self.seen, key=lambda step: self.seen[step])


def _remembered(log: Path, stage: str) -> dict[int, float]:
    return {
        entry["step"]: entry["probe"]
        for _, entry in read_steps(log)
        if entry["stage"] == stage and entry.get("probe") is not None
    }
