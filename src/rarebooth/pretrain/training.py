"""A training that runs for a given time, and can be stopped and continued at any moment.

The whole state is one file: weights, their moving average, optimiser and progress. It is written
beside and renamed, so a crash loses two minutes at most.
"""

import copy
import json
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, Final

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rarebooth.errors import DivergedError
from rarebooth.store import writing

LOG: Final = logging.getLogger("rarebooth.pretrain")

FLAT: Final = 0.5
"""The learning rate stays at its peak for this share of the time, then falls by a cosine."""

LAST: Final = 0.01
"""Where it ends, as a share of the peak."""

WARM_UP: Final = 100
"""Steps in which it rises to the peak."""

SAVE_EVERY: Final = 120.0
LOG_EVERY: Final = 15.0
"""Seconds."""

_LOSS_MEMORY: Final = 0.99


def schedule(share: float, step: int) -> float:
    """The learning rate as a share of its peak, after ``share`` (0..1) of the time."""
    warm = min(1.0, (step + 1) / WARM_UP)
    if share <= FLAT:
        return warm
    fallen = min(1.0, (share - FLAT) / (1 - FLAT))
    return warm * (LAST + (1 - LAST) * (1 + math.cos(math.pi * fallen)) / 2)


def memory(step: int) -> float:
    """How much of the moving average stays at a step: it remembers a tenth of the steps so far."""
    return min(0.9995, 1 - 10 / (step + 10))


def half_precision(device: str) -> AbstractContextManager[Any]:
    """Compute in bfloat16 where that is fast; weights, losses and gradients stay in float32.

    Fast: on CUDA, and on CPUs with AVX-512, where it halves the time of a step. Elsewhere nothing
    is changed: a CPU without AVX-512 emulates bfloat16, and a step of the U-Net (batch 32, one
    thread of an AMD EPYC of family 25, AVX2) took 45 s instead of the 2.2 s of float32.
    """
    kind = torch.device(device).type
    if kind == "cuda" or (
        kind == "cpu" and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    ):
        return torch.autocast(kind, torch.bfloat16)
    return nullcontext()


class Training:
    """Networks being trained, and how far they are.

    ``averages`` are the networks with the moving average of their weights; ``notes`` is what a
    stage wants to remember, in JSON's types; ``pictures`` counts those seen, with repeats.
    """

    def __init__(
        self,
        file: Path,
        networks: Mapping[str, nn.Module],
        *,
        minutes: float,
        peak: float,
        save_every: float = SAVE_EVERY,
    ) -> None:
        self.networks = dict(networks)
        self.averages = {
            name: copy.deepcopy(network).requires_grad_(False) for name, network in networks.items()
        }
        self.notes: dict[str, Any] = {}
        self.step, self.pictures, self.seconds, self.loss = 0, 0, 0.0, math.nan
        self._file, self._budget, self._peak = file, 60 * minutes, peak
        self._save_every = save_every
        self._weights = _weights(self.networks)
        self._averaged = _weights(self.averages)
        fused = all(weight.device.type in {"cpu", "cuda"} for weight in self._weights.values())
        self._optimiser = torch.optim.AdamW(
            self._weights.values(), lr=peak, betas=(0.9, 0.99), weight_decay=0.01, fused=fused
        )
        self._recent: Tensor | None = None
        self._stop = False

    @property
    def share(self) -> float:
        """How much of the time has passed, 0..1."""
        return min(1.0, self.seconds / self._budget)

    def steps(self, refresh: Callable[[], None]) -> Iterator[int]:
        """Yield the number of each step until time is up or the process is asked to end.

        The caller must call ``learn`` once per step. ``refresh`` is called after each save. The
        state is saved at the end, whatever ends it, except an error.
        """
        before = {s: signal.signal(s, self._end) for s in (signal.SIGTERM, signal.SIGINT)}
        saved = logged = last = time.perf_counter()
        try:
            while self.seconds < self._budget and not self._stop:
                yield self.step
                now = time.perf_counter()
                self.seconds += now - last
                last = now
                if now - logged >= LOG_EVERY:
                    logged = now
                    self.record()
                if now - saved >= self._save_every:
                    self.save()
                    refresh()
                    saved = time.perf_counter()
            self.save()
        finally:
            for which, handler in before.items():
                signal.signal(which, handler)

    def learn(self, loss: Tensor, pictures: int) -> None:
        """Take one step down the loss of a batch of so many pictures."""
        loss.backward()
        trained = [weight for weight in self._weights.values() if weight.grad is not None]
        nn.utils.clip_grad_norm_(trained, 1.0)
        for group in self._optimiser.param_groups:
            group["lr"] = self._peak * schedule(self.share, self.step)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        keep = memory(self.step)
        with torch.no_grad():
            torch._foreach_lerp_(  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
                list(self._averaged.values()), list(self._weights.values()), 1 - keep
            )
        value = loss.detach()
        old = value if self._recent is None else self._recent
        self._recent = value.lerp(old, min(_LOSS_MEMORY, self.step / (self.step + 1)))
        self.step += 1
        self.pictures += pictures

    def record(self, **more: float) -> None:
        """Add a line to the curve.

        Raises:
            DivergedError: the loss is no longer a number.
        """
        self.loss = math.nan if self._recent is None else float(self._recent)
        if self._recent is not None and not math.isfinite(self.loss):
            raise DivergedError(
                f"The loss is {self.loss} after step {self.step}. The state before it is in "
                f"{self._file}; continue from there with a smaller --lr."
            )
        line = {
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "pictures": self.pictures,
            "loss": round(self.loss, 5),
            "lr": self._peak * schedule(self.share, self.step),
            **more,
        }
        LOG.info("%s", json.dumps(line))
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._curve_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Commit the state; DivergedError, and no file, if the loss is no longer a number."""
        if self._recent is not None:
            self.record()
        tensors = {f"weights.{name}": value for name, value in self._weights.items()}
        tensors |= {f"averages.{name}": value for name, value in self._averaged.items()}
        for name, weight in self._weights.items():
            for key, value in self._optimiser.state[weight].items():
                tensors[f"optimiser.{name}.{key}"] = value
        progress = {
            "step": self.step,
            "seconds": self.seconds,
            "pictures": self.pictures,
            "loss": self.loss,
            "notes": self.notes,
        }
        cpu = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with writing(self._file) as beside:
            save_file(cpu, beside, metadata={"progress": json.dumps(progress)})

    def resume(self) -> bool:
        """Continue from the file; False if there is none."""
        if not self._file.exists():
            return False
        progress = read_progress(self._file)
        self.step, self.seconds = progress["step"], progress["seconds"]
        self.pictures, self.notes = progress["pictures"], progress["notes"]
        device = next(iter(self._weights.values())).device
        tensors = load_file(self._file, device=str(device))
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(tensors[f"weights.{name}"])
                self._averaged[name].copy_(tensors[f"averages.{name}"])
                keys = [key for key in tensors if key.startswith(f"optimiser.{name}.")]
                state = {key.rpartition(".")[2]: tensors[key] for key in keys}
                if state:
                    self._optimiser.state[weight] = state
        if math.isfinite(progress["loss"]):
            self._recent = torch.tensor(progress["loss"], device=device)
        self._cut_curve()
        return True

    @property
    def _curve_file(self) -> Path:
        return self._file.with_suffix(".jsonl")

    def _cut_curve(self) -> None:
        """Forget the lines of steps that are about to be taken again."""
        kept = [line for line in read_curve(self._file) if line["step"] <= self.step]
        with writing(self._curve_file) as beside:
            beside.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def _end(self, _signal: int, _frame: FrameType | None) -> None:
        self._stop = True


def read_progress(file: Path) -> dict[str, Any]:
    """How far the training is whose state this is."""
    with safe_open(file, framework="pt") as opened:
        return json.loads(opened.metadata()["progress"])


def read_averages(file: Path, network: nn.Module, name: str) -> None:
    """Load the moving average of a network's weights from a state."""
    with safe_open(file, framework="pt") as opened:
        weights = {key: opened.get_tensor(f"averages.{name}.{key}") for key in network.state_dict()}
    network.load_state_dict(weights)


def read_curve(file: Path) -> list[dict[str, Any]]:
    """The lines of the curve that belongs to a state."""
    curve = file.with_suffix(".jsonl")
    if not curve.exists():
        return []
    return [json.loads(line) for line in curve.read_text(encoding="utf-8").splitlines() if line]


def _weights(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": weight
        for name, network in networks.items()
        for key, weight in network.named_parameters()
    }
