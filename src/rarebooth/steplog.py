"""``steps.jsonl``: one JSON line a step, whose losses are read from the device in blocks."""

import json
import math
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import torch
from torch import Tensor

from rarebooth.run import Step
from rarebooth.store import flush, unwritable


class _Line(NamedTuple):
    """What is written of a step: a few numbers, where the step itself holds its whole batch."""

    stage: str
    done: int
    loss: Tensor
    losses: Tensor
    timesteps: Tensor
    probe: float | None


class StepLog(AbstractContextManager["StepLog"]):
    """Appends steps to a file: at every ``flush`` and at the end, so that a GPU need not wait."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[_Line] = []

    def add(self, step: Step, probe: float | None = None) -> None:
        """Note a step, without asking the device for its loss yet; ``probe``: see ``probe``."""
        timesteps = step.batch.timestep
        self._waiting.append(_Line(step.stage, step.done, step.loss, step.losses, timesteps, probe))

    def flush(self) -> None:
        """Write what was noted; a loss that is no number becomes null, as JSON has none.

        A line holds the mean loss, and the loss and timestep of every sample.
        """
        if not self._waiting:
            return
        means: list[float] = torch.stack([line.loss for line in self._waiting]).tolist()
        lines = [
            json.dumps(
                {
                    "stage": line.stage,
                    "step": line.done,
                    "loss": _number(mean),
                    "losses": [_number(loss) for loss in line.losses.tolist()],
                    "timesteps": line.timesteps.tolist(),
                    **({} if line.probe is None else {"probe": _number(line.probe)}),
                }
            )
            for line, mean in zip(self._waiting, means, strict=True)
        ]
        self._waiting.clear()
        text = "".join(f"{line}\n" for line in lines)
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text)
            flush(self._path)  # a state that outlives a power cut counts on these lines
        except OSError as error:
            raise unwritable(self._path, error, len(text)) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The error that ends the run says more than one of writing its last lines.
        with nullcontext() if error is None else suppress(Exception):
            self.flush()


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
