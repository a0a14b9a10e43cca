"""AdamW (Loshchilov and Hutter 2019) in two forms: after a backward pass, or in it, in less memory.

The training loop drives either by the members of ``Optimiser``. In the backward pass, each weight
is updated as soon as its gradient is there, which is then dropped, so that the gradients of all
weights are never held together; and moments are kept in 8 bits by bitsandbytes (Dettmers et al.
2022, arXiv 2110.02861). That is another arithmetic: gradients are clipped tensor by tensor, because
the norm of all is known only when most have been used.
"""

import importlib
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from rarebooth.errors import SettingsError

EIGHT_BIT: Final = "bitsandbytes"
"""The library that keeps moments in 8 bits; those of fewer than 4096 numbers it keeps in fp32."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a stage is optimised: by AdamW (Loshchilov and Hutter 2019), mostly at a constant rate.

    ``clip``: the largest global gradient norm, or None; in the backward pass, the largest norm of
    each tensor's gradient. ``accumulate``: the batch is worked off in this many pieces, with the
    same result. ``falling``: the learning rate falls linearly to 0. ``rates``: learning rates of
    single parts, by the name before a weight's first point; ``lr`` is everyone else's.
    """

    lr: float
    steps: int
    weight_decay: float
    clip: float | None
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    accumulate: int = 1
    falling: bool = False
    rates: Mapping[str, float] = field(default_factory=dict[str, float])

    def rate(self, name: str) -> float:
        """The learning rate of a weight, by its name."""
        return self.rates.get(name.partition(".")[0], self.lr)


class Optimiser(Protocol):
    """What the training loop asks for, in this order in each step."""

    def slow(self, share: float) -> None:
        """Go on at this share of the learning rates that it began with."""
        ...

    def forming(self) -> AbstractContextManager[None]:
        """Inside, the gradients of one update are formed, piece by piece of its batch."""
        ...

    def clip(self) -> Tensor:
        """Shorten gradients that are held as the recipe says; the global norm that all had."""
        ...

    def step(self) -> None:
        """Update the weights whose gradients are still held, and drop these."""
        ...

    def drop(self) -> None:
        """Drop all gradients without an update."""
        ...

    def slots(self) -> Mapping[str, Mapping[str, Tensor]]:
        """What it remembers from step to step: by slot, then by weight; lent, not copied."""
        ...

    def load(self, slots: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Continue from copies of such slots; SettingsError where they are another run's."""
        ...


class AfterBackward:
    """All weights are updated together, once all their gradients are formed."""

    def __init__(self, weights: Mapping[str, Tensor], recipe: Recipe) -> None:
        self._weights, self._clip = weights, recipe.clip
        self._adamw = torch.optim.AdamW(
            _groups(weights, recipe),
            lr=recipe.lr,
            betas=recipe.betas,
            eps=recipe.eps,
            weight_decay=recipe.weight_decay,
            fused=True,
        )

    def slow(self, share: float) -> None:
        """See ``Optimiser``, as for all that follows."""
        _slow(self._adamw, share)

    def forming(self) -> AbstractContextManager[None]:
        """Nothing happens before all gradients are there."""
        return nullcontext()

    def clip(self) -> Tensor:
        """All gradients are shortened by one factor."""
        return _clipped(self._weights.values(), self._clip)

    def step(self) -> None:
        """All weights."""
        self._adamw.step()
        self.drop()

    def drop(self) -> None:
        """All gradients."""
        self._adamw.zero_grad(set_to_none=True)

    def slots(self) -> Mapping[str, Mapping[str, Tensor]]:
        """The number of steps and both moments of every weight."""
        slots: dict[str, dict[str, Tensor]] = {}
        for name, tensor in self._weights.items():
            for slot, value in self._adamw.state[tensor].items():
                slots.setdefault(slot, {})[name] = value.detach()
        return slots

    def load(self, slots: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Whatever is in the slots."""
        for slot, found in slots.items():
            for name, tensor in self._weights.items():
                # AdamW counts steps in a tensor that a fused optimiser keeps beside the weights.
                kept = saved(found, name, tensor.shape, torch.Size())
                self._adamw.state[tensor][slot] = kept.to(tensor.device, copy=True)


class InBackward:
    """Each weight is updated in the backward pass, from moments in 8 bits, by its own optimiser.

    Batches must be whole: see ``require_whole_batches``. Raises SettingsError: see ``eight_bit``.
    """

    def __init__(self, weights: Mapping[str, Tensor], recipe: Recipe) -> None:
        adamw = eight_bit(next(iter(weights.values())).device).AdamW8bit
        self._weights, self._clip = weights, recipe.clip
        self._each: dict[str, Any] = {
            name: adamw(
                _groups({name: weight}, recipe),
                betas=recipe.betas,
                eps=recipe.eps,
                weight_decay=recipe.weight_decay,
            )
            for name, weight in weights.items()
        }
        self._norms: list[Tensor] = []

    def slow(self, share: float) -> None:
        """See ``Optimiser``, as for all that follows."""
        for optimiser in self._each.values():
            _slow(optimiser, share)

    @contextmanager
    def forming(self) -> Generator[None]:
        """Weights are updated inside, and have no hooks outside, where others may use them."""
        with ExitStack() as hooks:
            for name, weight in self._weights.items():
                hook = weight.register_post_accumulate_grad_hook(self._updater(self._each[name]))
                hooks.callback(hook.remove)
            yield

    def clip(self) -> Tensor:
        """Every gradient was shortened by itself."""
        return torch.nn.utils.get_total_norm(self._norms)

    def step(self) -> None:
        """No weight is left to be updated."""
        self._norms.clear()

    def drop(self) -> None:
        """All gradients, of an earlier stage."""
        for weight in self._weights.values():
            weight.grad = None

    def slots(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Steps, and codes with scales of both moments; only codes, in fp32, of small weights."""
        slots: dict[str, dict[str, Tensor]] = {}
        for name, state in self._states().items():
            for slot, value in state.items():
                if slot not in _CONSTANT:
                    slots.setdefault(slot, {})[name] = torch.as_tensor(value)
        return slots

    def load(self, slots: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Exactly the slots that bitsandbytes would make anew."""
        for name, optimiser in self._each.items():
            optimiser.init_state(optimiser.param_groups[0], self._weights[name], 0, 0)
        for name, state in self._states().items():
            for slot in state.keys() - _CONSTANT:
                value = state[slot]
                shape = value.shape if isinstance(value, Tensor) else torch.Size()
                kept = saved(slots.get(slot, {}), name, shape)
                state[slot] = value.copy_(kept) if isinstance(value, Tensor) else int(kept)

    def _states(self) -> dict[str, dict[str, Any]]:
        return {name: each.state[self._weights[name]] for name, each in self._each.items()}

    def _updater(self, optimiser: Any) -> Callable[[Tensor], None]:  # noqa: ANN401
        def update(weight: Tensor) -> None:
            self._norms.append(_clipped([weight], self._clip))
            optimiser.step()
            weight.grad = None

        return update


_CONSTANT = {"qmap1", "qmap2"}
"""What bitsandbytes keeps beside its moments: the numbers that their 256 codes stand for."""


def eight_bit(device: torch.device) -> Any:  # noqa: ANN401  an optional module
    """The optimisers of bitsandbytes; SettingsError where it is missing, or not for this device."""
    try:
        library = importlib.import_module(EIGHT_BIT)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"low_memory is on, and {EIGHT_BIT}, which keeps AdamW's moments in 8 bits, is not "
            'installed. Install it, pip install "rarebooth[low-memory]", or leave --low-memory out.'
        ) from error
    if device.type == "mps":
        raise SettingsError(
            f"low_memory is on and the device is {device.type}, for which {EIGHT_BIT} has no "
            "optimiser. Use --device cpu, or --gradient-checkpointing without --low-memory."
        )
    return library.optim


def require_whole_batches(accumulate: int, *, split: bool = False) -> None:
    """Raise SettingsError where a batch would be worked off in pieces, with updates in between."""
    if accumulate > 1:
        raise SettingsError(
            f"low_memory is on and accumulate is {accumulate}; a weight is updated as soon as its "
            "gradient is there, and of a batch in pieces all gradients would be held until the "
            "last one. Use --accumulate 1, or --gradient-checkpointing without --low-memory."
        )
    if split:
        raise SettingsError(
            "low_memory and split_batches are both on; where a batch did not fit into memory, some "
            "weights would have been updated by it already, and it could not be tried again in "
            "pieces. Leave one out."
        )


def saved(source: Mapping[str, Tensor], name: str, *shapes: torch.Size) -> Tensor:
    """A tensor of a state, of one of these shapes; SettingsError where the state is another's."""
    tensor = source.get(name)
    if tensor is None or tensor.shape not in shapes:
        found = "is not there" if tensor is None else f"is {list(tensor.shape)} there"
        wanted = " or ".join(str(list(shape)) for shape in shapes)
        raise SettingsError(
            f"The saved state is not one of this run: {name}, {wanted}, {found}. Remove the folder "
            "state to begin anew, or choose another folder with --out."
        )
    return tensor


def _groups(weights: Mapping[str, Tensor], recipe: Recipe) -> list[dict[str, Any]]:
    """The optimiser's groups: one a learning rate."""
    groups: dict[float, list[Tensor]] = {}
    for name, tensor in weights.items():
        groups.setdefault(recipe.rate(name), []).append(tensor)
    return [{"params": tensors, "lr": lr, "peak": lr} for lr, tensors in groups.items()]


def _slow(optimiser: torch.optim.Optimizer, share: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * share


def _clipped(weights: Collection[Tensor], limit: float | None) -> Tensor:
    """Shorten the gradients to a global norm of ``limit``; returns the norm they had.

    As ``torch.nn.utils.clip_grad_norm_``, which reads and writes them all to multiply by 1.
    """
    grads = [weight.grad for weight in weights if weight.grad is not None]
    norm = torch.nn.utils.get_total_norm(grads)
    # On a GPU the host would have to wait for the norm.
    if limit is not None and (norm.device.type != "cpu" or norm > limit):
        torch.nn.utils.clip_grads_with_norm_(weights, limit, norm)
    return norm
