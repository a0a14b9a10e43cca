"""The contract between methods and base models, and the session that borrows one.

A family of models is one class in ``bases/`` with the members of ``Base``. A method never sees
which family it trains: it encodes photos, encodes prompts, asks for the denoiser's answer, and
tunes parts through a ``Session`` that gives the base back exactly as it was.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from rarebooth.delta import Blend, Change, Delta, LowRank, Steer, Tail
from rarebooth.errors import ArtifactError, SettingsError
from rarebooth.process import Process


@dataclass(frozen=True)
class Identity:
    """Which model this is: what was asked for, and a digest of the weights that were found.

    ``name`` is an alias, a Hub id or a folder's name, never a path. ``digest`` is a SHA-256 over
    the model's weight files. ``family`` names the class that runs it ("stable-diffusion").
    """

    name: str
    family: str
    digest: str


@dataclass(frozen=True)
class Posterior:
    """The autoencoder's answer for photos: latent mean and deviation, scaled, fp32 [N, C, h, w]."""

    mean: Tensor
    deviation: Tensor

    def sample(self, photo: Tensor, noise: Tensor) -> Tensor:
        """Latents of the photos with these indices [B], drawn anew with ``noise`` [B, C, h, w]."""
        return self.mean[photo] + self.deviation[photo] * noise

    def fixed(self, noise: Tensor) -> "Posterior":
        """One draw of every photo with ``noise`` [N, C, h, w], which every sample then repeats."""
        mean = self.mean + self.deviation * noise.to(self.mean)
        return Posterior(mean, torch.zeros_like(mean))

    def and_then(self, other: "Posterior") -> "Posterior":
        """These photos, followed by others."""
        return Posterior(
            torch.cat([self.mean, other.mean]), torch.cat([self.deviation, other.deviation])
        )


@dataclass(frozen=True)
class Batch:
    """All that is random in one training step, so that a step can be repeated, split or traced.

    ``photo``: int64 [B], which photo. ``timestep``: int64 [B]. ``noise``: fp32 [B, C, h, w], added
    to the latents. ``encoding``: fp32 [B, C, h, w], draws the latents from the autoencoder's
    posterior. ``prompt``: int64 [B], on the CPU, where prompts are words: which of several, for
    methods that have them.
    """

    photo: Tensor
    timestep: Tensor
    noise: Tensor
    encoding: Tensor
    prompt: Tensor

    def chunks(self, count: int) -> Iterator["Batch"]:
        """Split into ``count`` nearly equal batches, in order."""
        fields = (self.photo, self.timestep, self.noise, self.encoding, self.prompt)
        return (Batch(*parts) for parts in zip(*(f.chunk(count) for f in fields), strict=True))


class Base(ABC):
    """A text-to-image diffusion model that can be borrowed."""

    identity: Identity
    process: Process
    size: int
    """Side of the square pictures it draws, in pixels."""
    latent_shape: tuple[int, int, int]
    """(C, h, w) of one picture's latents at ``size``."""
    device: torch.device
    precision: Literal["fp32", "bf16"] = "fp32"
    """What the denoiser multiplies in."""

    @property
    @abstractmethod
    def scheduler_config(self) -> Mapping[str, Any]:
        """The scheduler settings the model came with, as diffusers writes them."""

    @abstractmethod
    def posterior(self, images: np.ndarray) -> Posterior:
        """Encode photos, uint8 [N, size, size, 3], once."""

    @abstractmethod
    def decode(self, latents: Tensor) -> np.ndarray:
        """Turn scaled latents [B, C, h, w] into pictures, uint8 [B, size, size, 3].

        Raises DivergedError where a pixel would not be a finite number.
        """

    @abstractmethod
    def word(self, word: str) -> Tensor:
        """The input embedding of a word that is one token, fp32 [1, D], a copy."""

    @abstractmethod
    def vocabulary(self) -> Mapping[str, int]:
        """Every token of the tokenizer as its vocabulary writes it ("dog</w>"), with its id."""

    @abstractmethod
    def token_count(self, text: str) -> int:
        """How many tokens a text is, without those for start and end."""

    @abstractmethod
    def check_token(self, token: str) -> None:
        """Raise SettingsError if ``token`` cannot become a new word of this model."""

    @abstractmethod
    def condition(self, prompts: Sequence[str], tokens: Mapping[str, Tensor]) -> Tensor:
        """Encode prompts to [B, L, D], reading ``tokens`` (new word -> fp32 [V, D]) as given.

        A word of several vectors takes as many places. Gradients flow to the given embeddings.
        Raises SettingsError where a prompt is so long that a new word would be cut off.
        """

    @abstractmethod
    def denoise(self, noisy: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        """The network's answer, fp32 [B, C, h, w], for noisy latents, timesteps [B], [B, L, D]."""

    @abstractmethod
    def part(self, name: str) -> nn.Module:
        """A trainable part by name: "denoiser" or "text"."""

    @abstractmethod
    def cross_attention(self) -> Sequence[str]:
        """The denoiser's matrices that make keys and values of a prompt, by parameter name."""

    @abstractmethod
    def attention_layers(self, part: str, *, gates: bool = False) -> Sequence[str]:
        """The names that a part's linear layers of attention end with, as PEFT selects them.

        ``gates``: with those of the gated feed-forward layers (GEGLU), where it has any.
        """

    @abstractmethod
    def recomputing(self) -> AbstractContextManager[object]:
        """While inside, the denoiser keeps few intermediate results and forms them again.

        Training takes less memory and more time, to the same gradients. (Gradient checkpointing:
        Chen et al. 2016, arXiv 1604.06174.)
        """

    @abstractmethod
    def release(self) -> None:
        """Give back the memory of all but the denoiser; what was changed there is lost.

        The base reads it again when a prompt is to be encoded or a picture to be decoded.
        """

    @abstractmethod
    def compiled(self, notice: Callable[[str], None]) -> AbstractContextManager[object]:
        """While inside, what the denoiser does to form gradients is compiled by torch.

        To the same result but for rounding; what is drawn is drawn as without. ``notice`` is told
        where torch cannot compile and the denoiser stays as it is.
        """

    @abstractmethod
    def original(self, part: str) -> Callable[[str], Tensor]:
        """A reader of a part's untouched tensors by parameter name, from the files on disk."""


def denoising_loss(
    base: Base, photos: Posterior, batch: Batch, condition: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Mean squared error of the denoiser's answer, one number a sample: fp32 [B].

    ``condition``: [1, L, D] or [B, L, D]. ``mask``: fp32 [B, 1, h, w] of zeros and ones, the places
    that count. (Rombach et al. 2022, eq. 2; the mean over elements.)
    """
    clean = photos.sample(batch.photo, batch.encoding)
    noisy = base.process.add(clean, batch.noise, batch.timestep)
    goal = base.process.goal(clean, batch.noise, batch.timestep)
    answer = base.denoise(noisy, batch.timestep, condition.expand(len(clean), -1, -1))
    error = (answer - goal).square()
    if mask is None:
        return error.mean(dim=(1, 2, 3))
    return (error * mask).mean(dim=(1, 2, 3)) / mask.mean(dim=(1, 2, 3))


class Session(AbstractContextManager["Session"]):
    """Borrows a base: adds words, tunes parts, wears what was learnt, then gives it back.

    What was tuned is restored by reading the base's files again, not from a second copy in memory.
    """

    def __init__(self, base: Base) -> None:
        self.base = base
        self.tokens: dict[str, Tensor] = {}
        self._steer: Steer | None = None
        self._touched: set[str] = set()
        self._undo = ExitStack()

    def token(self, token: str, initial: str | Tensor) -> Tensor:
        """Add a new word that starts as another one, or as given vectors [V, D].

        Returns the leaf fp32 [V, D] that can be trained.
        """
        self.base.check_token(token)
        start = self.base.word(initial) if isinstance(initial, str) else initial.detach().clone()
        vector = start.float().to(self.base.device).requires_grad_()
        self.tokens[token] = vector
        return vector

    def tune(self, part: str, only: Iterable[str] | None = None) -> dict[str, nn.Parameter]:
        """Make weights of a part trainable, fp32: all, or the named; keyed "part.parameter"."""
        module = self.base.part(part)
        self._touched.add(part)
        wanted = None if only is None else set(only)
        chosen = {
            name: parameter
            for name, parameter in module.named_parameters()
            if wanted is None or name in wanted
        }
        for parameter in chosen.values():
            parameter.requires_grad_(True)
        return {f"{part}.{name}": parameter for name, parameter in chosen.items()}

    def release(self) -> None:
        """Have the base give back what a step of the denoiser alone does not need.

        Nothing happens where the text encoder has been changed.
        """
        if "text" not in self._touched:
            self.base.release()

    def lend(self, undo: AbstractContextManager[object]) -> None:
        """Enter a change of the base's modules that is to be undone when the base is given back."""
        self._undo.enter_context(undo)

    def originals(self, names: Iterable[str]) -> dict[str, Tensor]:
        """The base's own values of the named weights, copies on its device."""
        original = self._original()
        return {name: original(name).to(self.base.device) for name in names}

    def change(self, names: Iterable[str]) -> dict[str, Change | LowRank]:
        """The rounded change of the named weights from the base's files: 2 bytes a number."""
        changes: dict[str, Change | LowRank] = {}
        original = self._original()
        for name in names:
            part, _, parameter = name.partition(".")
            tuned = self.base.part(part).get_parameter(parameter)
            changes[name] = Change.between(tuned, original(name))
        return changes

    def wear(self, delta: Delta) -> None:
        """Put a learnt subject on, in place of anything worn or tuned before.

        Raises ArtifactError if it names weights, or holds shapes or widths, that this base does not
        have, or if a changed weight would not be finite.
        """
        self._restore()
        self._require_width(delta)
        self.tokens = {token: vector.to(self.base.device) for token, vector in delta.tokens.items()}
        self._steer = delta.steer
        for token in self.tokens:
            self.base.check_token(token)
        original = self._original()
        for name, change in delta.weights.items():
            part, _, parameter = name.partition(".")
            weight = self._weight(part, parameter, change)
            changed = change.applied(original(name))
            if not bool(torch.isfinite(changed).all()):
                raise ArtifactError(
                    f"With the subject's change, {name} would hold a number that is not finite. "
                    "Take another checkpoint of the run or train it again."
                )
            self._touched.add(part)
            with torch.no_grad():
                weight.copy_(changed)

    def condition(self, prompts: Sequence[str]) -> Tensor:
        """Encode prompts [B, L, D] with what this session has added: words, or a steering."""
        steer = self._steer
        if steer is None:
            return self.base.condition(prompts, self.tokens)
        # As tokenizers find new words: anywhere, in any case.
        word = re.compile(re.escape(steer.word), re.IGNORECASE)
        marked = [bool(word.search(prompt)) for prompt in prompts]
        plain = [" ".join(word.sub(" ", prompt).split()) for prompt in prompts]
        encoded = self.base.condition(plain, self.tokens)
        return torch.stack(
            [steer.steer(row) if mark else row for row, mark in zip(encoded, marked, strict=True)]
        )

    def _require_width(self, delta: Delta) -> None:
        """Raise ArtifactError unless words and steering have the width of this base's prompts."""
        if not delta.tokens and delta.steer is None:
            return
        with torch.no_grad():
            length, width = self.base.condition([""], {}).shape[1:]
        learnt = [(f"word {token!r}", vectors, True) for token, vectors in delta.tokens.items()]
        match delta.steer:
            case Tail(vectors=vectors):
                learnt.append(("steering", vectors, len(vectors) <= length))
            case Blend(embedding=vectors):
                learnt.append(("steering", vectors, len(vectors) == length))
            case None:
                pass
        for name, vectors, fits in learnt:
            if not fits or not len(vectors) or vectors.shape[1:] != (width,):
                raise ArtifactError(
                    f"The subject's {name} has shape {tuple(vectors.shape)}, and a prompt of the "
                    f"base {self.base.identity.name!r} is {length} vectors of {width} numbers. Use "
                    "the base it was trained on."
                )

    def _weight(self, part: str, parameter: str, change: Change | LowRank) -> nn.Parameter:
        try:
            weight = self.base.part(part).get_parameter(parameter)
        except (AttributeError, SettingsError) as error:
            raise ArtifactError(
                f"The subject changes {part}.{parameter}, which the base "
                f"{self.base.identity.name!r} does not have. Use the base it was trained on."
            ) from error
        if not change.fits(weight.shape):
            raise ArtifactError(
                f"The subject's {part}.{parameter} has shape {change.shape}, the base "
                f"{self.base.identity.name!r} has {tuple(weight.shape)}. Use the base it was "
                "trained on."
            )
        return weight

    def _original(self) -> Callable[[str], Tensor]:
        """A reader of the base's own values by part and parameter; asks for each part once."""
        of_part = cache(self.base.original)

        def read(name: str) -> Tensor:
            part, _, parameter = name.partition(".")
            return of_part(part)(parameter)

        return read

    def _restore(self) -> None:
        self._undo.close()
        for part in self._touched:
            module = self.base.part(part)
            original = self.base.original(part)
            with torch.no_grad():
                for name, parameter in module.named_parameters():
                    parameter.copy_(original(name))
            module.requires_grad_(False)
            module.zero_grad(set_to_none=True)
        self._touched.clear()
        self.tokens = {}
        self._steer = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._restore()
        except Exception as failed:
            if error is None:
                raise
            # What came first says how the work ended; an interruption must stay one.
            error.add_note(f"The base could not be given back as it was: {failed}")
