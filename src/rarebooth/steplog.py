"""``steps.jsonl``: one JSON line a step, whose losses are read from the device in blocks."""

import json
import math
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from rarebooth.run import Step
from rarebooth.store import unwritable


class StepLog(AbstractContextManager["StepLog"]):
    """Appends steps to a file: at every ``flush`` and at the end, so that a GPU need not wait."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[tuple[str, int, Tensor]] = []

    def add(self, step: Step) -> None:
        """Note a step, without asking the device for its loss yet."""
        self._waiting.append((step.stage, step.done, step.loss))

    def flush(self) -> None:
        """Write what was noted; a loss that is no number becomes null, as JSON has none."""
        if not self._waiting:
            return
        losses: list[float] = torch.stack([loss for _, _, loss in self._waiting]).tolist()
        lines = [
            json.dumps(
                {"stage": stage, "step": done, "loss": loss if math.isfinite(loss) else None}
            )
            for (stage, done, _), loss in zip(self._waiting, losses, strict=True)
        ]
        self._waiting.clear()
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in lines))
        except OSError as error:
            raise unwritable(self._path, error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The error that ends the run says more than one of writing its last lines.
        with nullcontext() if error is None else suppress(Exception):
            self.flush()
