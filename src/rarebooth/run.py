"""The one training loop: a generator of steps that knows nothing of files, bars or methods.

A method calls ``Run.train`` once a stage and passes its steps on; whoever reads the steps decides
what to show, save or stop. All randomness of a step is a function of (seed, stage, step), so that a
resumed run continues with the same draws: bit for bit on a CPU, to tolerance on a GPU, where some
kernels add in any order.
"""

import hashlib
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rarebooth.base import Base, Batch
from rarebooth.class_images import Drawn, Source
from rarebooth.delta import Delta
from rarebooth.errors import DivergedError, is_out_of_memory
from rarebooth.optimisers import (
    AfterBackward,
    InBackward,
    Optimiser,
    Recipe,
    require_whole_batches,
    saved,
)
from rarebooth.process import sent

GPU_CHECK_EVERY = 10
"""Steps between looks at the loss on a GPU, where each look makes the host wait."""


@dataclass(frozen=True)
class State:
    """Enough to continue: where training stands and the tensors it stands on.

    ``finished``: the trained tensors of earlier stages, by stage. ``weights``: those of the stage
    under way, by name. ``optimiser``: its slots ("exp_avg"), each with tensors by these names.
    ``pieces``: in how many a batch was worked off, by the recipe or because memory asked for it.
    """

    stage: str
    done: int
    finished: Mapping[str, Mapping[str, Tensor]]
    weights: Mapping[str, Tensor]
    optimiser: Mapping[str, Mapping[str, Tensor]]
    pieces: int = 1


@dataclass(frozen=True)
class Step:
    """One finished update.

    ``done`` of ``total`` updates of ``stage``. ``loss``: fp32 [], still on the device, the mean
    of ``losses``, fp32 [B]. ``batch``: what was drawn. ``snapshot`` forms what has been learnt so
    far, in memory of its own. ``state`` lends what a resume needs: the very tensors that the next
    step changes, so that no second copy of weights and moments is held. Both must be called before
    the next step is asked for; both raise DivergedError where a step up to this one went wrong.
    """

    stage: str
    done: int
    total: int
    loss: Tensor
    losses: Tensor
    batch: Batch
    snapshot: Callable[[], Delta]
    state: Callable[[], State]


def generator_for(seed: int, *position: str | int) -> torch.Generator:
    """A CPU random generator that is a function of the seed and a position alone."""
    key = "/".join(str(part) for part in (seed, *position))
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return torch.Generator().manual_seed(number & (2**63 - 1))


def draw_batch(
    base: Base, photos: int, count: int, *, prompts: int = 1, timesteps: int | None = None
) -> Callable[[torch.Generator], Batch]:
    """A drawer of batches: photos with replacement, timesteps uniform, noise normal.

    ``prompts``: how many there are to choose from, uniformly. ``timesteps``: only the first so
    many. Everything is drawn on the CPU, so that every device sees the same numbers.
    """
    last = timesteps or base.process.timesteps

    def draw(rng: torch.Generator) -> Batch:
        shape = (count, *base.latent_shape)
        photo = torch.randint(photos, (count,), generator=rng)
        timestep = torch.randint(last, (count,), generator=rng)
        noise, encoding = (torch.randn(shape, generator=rng) for _ in range(2))
        prompt = torch.randint(prompts, (count,), generator=rng)
        drawn = (photo, timestep, noise, encoding)
        photo, timestep, noise, encoding = (sent(each, base.device) for each in drawn)
        return Batch(photo, timestep, noise, encoding, prompt)

    return draw


@dataclass
class Run:
    """A training run: its seed, the state it continues from, if any, and who draws class images.

    ``split``: a batch that does not fit into memory is worked off in twice as many pieces, as often
    as it takes; ``notice`` is told of that. ``low_memory``: weights are updated in the backward
    pass, from moments in 8 bits (see ``optimisers``). ``shown``: what the pictures of batches are
    called, without class images, which come after them.
    """

    seed: int
    resume: State | None = None
    class_images: Source = field(default_factory=Drawn)
    split: bool = False
    notice: Callable[[str], None] = lambda _: None
    low_memory: bool = False
    shown: Sequence[str] = ()
    finished: dict[str, Mapping[str, Tensor]] = field(
        init=False, default_factory=dict[str, Mapping[str, Tensor]]
    )

    def train(
        self,
        stage: str,
        weights: Mapping[str, Tensor],
        recipe: Recipe,
        draw: Callable[[torch.Generator], Batch],
        loss: Callable[[Batch], Tensor],
        snapshot: Callable[[], Delta],
        after: Callable[[], None] = lambda: None,
    ) -> Generator[Step, None, None]:
        """Optimise ``weights`` for ``recipe.steps`` updates, yielding after each.

        ``draw`` must take all its randomness from the generator it is given; ``loss`` returns one
        number a sample, [B]; ``after`` may correct the weights after each update, from nothing but
        themselves. Raises DivergedError when the loss or its gradient is no longer
        finite: on a CPU before the update, on a GPU up to ``GPU_CHECK_EVERY`` steps later and with
        ``low_memory`` right after it, but always before a snapshot or a state could hold it.
        SettingsError where ``low_memory`` cannot be had.
        """
        if self.resume is not None and stage in self.resume.finished:
            _copy(self.resume.finished[stage], weights)
            self._finish(stage, weights)
            return
        if self.low_memory:
            require_whole_batches(recipe.accumulate, split=self.split)
        optimiser = (InBackward if self.low_memory else AfterBackward)(weights, recipe)
        begin, pieces = 0, recipe.accumulate
        if self.resume is not None and self.resume.stage == stage:
            begin, pieces = self.resume.done, max(pieces, self.resume.pieces)
            _copy(self.resume.weights, weights)
            optimiser.load(self.resume.optimiser)
            self.resume = None
        # A loss of an earlier stage may have left gradients here, which no state would hold.
        optimiser.drop()
        watch = _Watch(stage, recipe, self.shown)

        def sound_snapshot() -> Delta:
            watch.look()
            return snapshot()

        for done in range(begin + 1, recipe.steps + 1):
            batch = draw(generator_for(self.seed, stage, done))
            if recipe.falling:
                optimiser.slow(1 - (done - 1) / recipe.steps)
            with _deterministic(), optimiser.forming():
                mean_loss, losses, pieces = self._backward(loss, batch, pieces, optimiser)
            watch.add(done, batch, mean_loss, optimiser.clip())
            if (
                mean_loss.device.type == "cpu"
                or done % GPU_CHECK_EVERY == 0
                or done == recipe.steps
            ):
                watch.look()
            optimiser.step()
            with torch.no_grad():
                after()

            def state(done: int = done, pieces: int = pieces) -> State:
                watch.look()
                finished = {name: _lent(tensors) for name, tensors in self.finished.items()}
                return State(stage, done, finished, _lent(weights), optimiser.slots(), pieces)

            yield Step(stage, done, recipe.steps, mean_loss, losses, batch, sound_snapshot, state)
        self._finish(stage, weights)

    def _backward(
        self,
        loss: Callable[[Batch], Tensor],
        batch: Batch,
        pieces: int,
        optimiser: Optimiser,
    ) -> tuple[Tensor, Tensor, int]:
        """Form the gradients; mean loss, loss of every sample, and in how many pieces it went."""
        count = len(batch.photo)
        while True:
            try:
                return *_backward(loss, batch, pieces), pieces
            except (MemoryError, RuntimeError) as error:
                if not self.split or pieces >= count or not is_out_of_memory(error):
                    raise
            # Not where the error is at hand: its frames hold the tensors that did not fit.
            optimiser.drop()
            if batch.noise.device.type == "cuda":
                torch.cuda.empty_cache()
            pieces = min(2 * pieces, count)
            self.notice(
                f"The memory is not enough for {count} pictures at once: from here on they are "
                f"worked off in {pieces} pieces."
            )

    def _finish(self, stage: str, weights: Mapping[str, Tensor]) -> None:
        """Freeze a stage's tensors, and remember them for a resume in a later stage."""
        for tensor in weights.values():
            tensor.requires_grad_(False)
        self.finished[stage] = weights


def _backward(loss: Callable[[Batch], Tensor], batch: Batch, pieces: int) -> tuple[Tensor, Tensor]:
    """Form the gradients; returns the mean loss and the loss of every sample."""
    count = len(batch.photo)
    total = torch.zeros((), device=batch.noise.device)
    each: list[Tensor] = []
    for piece in batch.chunks(pieces):
        losses = loss(piece)
        share = losses.sum() / count
        share.backward()
        total += share.detach()
        each.append(losses.detach())
    return total, torch.cat(each)


class _Watch:
    """Losses and gradient norms that nobody has looked at, so that one look serves many steps."""

    def __init__(self, stage: str, recipe: Recipe, shown: Sequence[str]) -> None:
        self._stage, self._recipe, self._shown = stage, recipe, shown
        self._unseen: list[tuple[int, Batch, Tensor]] = []

    def add(self, done: int, batch: Batch, loss: Tensor, norm: Tensor) -> None:
        self._unseen.append((done, batch, torch.stack([loss.float(), norm.float()])))

    def look(self) -> None:
        """Raise DivergedError for the first step since the last look that was not finite."""
        seen, self._unseen = self._unseen, []
        if not seen:
            return
        numbers: list[list[float]] = torch.stack([pair for _, _, pair in seen]).tolist()
        for (done, batch, _), pair in zip(seen, numbers, strict=True):
            for what, value in zip(("loss", "gradient's norm"), pair, strict=True):
                if not math.isfinite(value):
                    raise DivergedError(
                        f"The {what} became {value} at step {done} of stage {self._stage!r} "
                        f"({self._called(batch)}). "
                        "What was saved before is sound. Lower the learning rate (now "
                        f"{self._recipe.lr:g}) or use --precision fp32, with another --out."
                    )

    def _called(self, batch: Batch) -> str:
        """The pictures of a batch, each with its timestep."""
        photos = len(self._shown)

        def name(number: int) -> str:
            if number < photos:
                return f"photo {self._shown[number]!r}"
            return f"class image {number - photos + 1}" if photos else f"picture {number + 1}"

        pairs = zip(batch.photo.tolist(), batch.timestep.tolist(), strict=True)
        return ", ".join(f"{name(number)} at timestep {timestep}" for number, timestep in pairs)


@contextmanager
def _deterministic() -> Generator[None]:
    """Let cuDNN take the same kernel each time, one whose sums have one order."""
    cudnn: Any = torch.backends.cudnn
    before = (cudnn.deterministic, cudnn.benchmark)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


def _lent(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in tensors.items()}


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(saved(source, name, tensor.shape))
