"""Low-rank adapters on a borrowed base: PEFT's layers while they train, plain tensors afterwards.

Hu et al. 2022, "LoRA"; Liu et al. 2024, "DoRA". PEFT's own layers do the arithmetic, so that what
is trained here is what its users know.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rarebooth.base import Base, Session
from rarebooth.delta import LowRank
from rarebooth.errors import SettingsError

if TYPE_CHECKING:
    from peft import LoraConfig

_NAME = "default"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How large adapters are: ``up @ down`` of ``rank``, times ``alpha / rank``.

    ``dora``: rows keep a learnt norm. ``gates``: adapts gated feed-forward layers too.
    """

    rank: int
    alpha: float
    dora: bool = False
    gates: bool = False


@dataclass(frozen=True)
class Adapters:
    """The adapters of one part of a base; ``weights`` can be trained, keyed "part.layer.matrix"."""

    part: str
    weights: Mapping[str, nn.Parameter]
    _layers: Mapping[str, Any]

    def change(self) -> dict[str, LowRank]:
        """What the adapters have learnt, by the weights that they change, copies on the CPU."""
        return {
            f"{self.part}.{name}.weight": LowRank(
                up=_copy(layer.lora_B[_NAME].weight) * layer.scaling[_NAME],
                down=_copy(layer.lora_A[_NAME].weight),
                magnitude=_copy(_magnitude(layer)) if _NAME in _magnitudes(layer) else None,
            )
            for name, layer in self._layers.items()
        }


def adapter_size(base: Base, part: str, shape: Shape) -> int:
    """How many numbers the adapters of a part have."""
    ends = tuple(f".{end}" for end in base.attention_layers(part, gates=shape.gates))
    layers = [m for name, m in base.part(part).named_modules() if f".{name}".endswith(ends)]
    sides = sum(sum(layer.get_parameter("weight").shape[:2]) for layer in layers)
    rows = sum(len(layer.get_parameter("weight")) for layer in layers) if shape.dora else 0
    return shape.rank * sides + rows


def adapt(session: Session, part: str, shape: Shape, rng: torch.Generator) -> Adapters:
    """Put adapters on a part's attention until the session gives the base back.

    ``down`` starts as normal noise of deviation 1/rank (diffusers' "gaussian") and ``up`` as zero,
    so that nothing changes before the first step.

    Raises:
        SettingsError: a part without such layers.
    """
    module = session.base.part(part)
    targets = session.base.attention_layers(part, gates=shape.gates)
    if not targets:
        raise SettingsError(f"The {part} of this base has no attention that could be adapted.")
    # Here, because PEFT imports transformers, which a method's help and its errors can do without.
    from peft import LoraConfig  # noqa: PLC0415

    scale: Any = shape.alpha  # PEFT declares whole numbers and takes any
    config = LoraConfig(
        r=shape.rank,
        lora_alpha=scale,
        target_modules=list(targets),
        use_dora=shape.dora,
        init_lora_weights=True,
    )
    session.lend(_injected(module, config))
    layers = _wrapped(module)
    weights: dict[str, nn.Parameter] = {}
    for name, layer in layers.items():
        down, up = layer.lora_A[_NAME].weight, layer.lora_B[_NAME].weight
        with torch.no_grad():
            noise = torch.randn(down.shape, generator=rng) / shape.rank
            down.copy_(noise)
        weights |= {f"{part}.{name}.down": down, f"{part}.{name}.up": up}
        if shape.dora:
            weights[f"{part}.{name}.magnitude"] = _magnitude(layer)
    for weight in weights.values():
        weight.requires_grad_(True)
    return Adapters(part, weights, layers)


@contextmanager
def _injected(module: nn.Module, config: "LoraConfig") -> Generator[None]:
    """PEFT's layers around those that the configuration selects; afterwards they are as before."""
    from peft import inject_adapter_in_model  # noqa: PLC0415  as in ``adapt``

    before = set(vars(module))
    # PEFT draws first values from the global generator, which nobody here may move.
    with torch.random.fork_rng(devices=[]):
        inject_adapter_in_model(config, module, _NAME)
    try:
        yield
    finally:
        for name, layer in _wrapped(module).items():
            parent, _, child = name.rpartition(".")
            setattr(module.get_submodule(parent), child, layer.get_base_layer())
        for attribute in set(vars(module)) - before:
            delattr(module, attribute)
        module.requires_grad_(False)


def _wrapped(module: nn.Module) -> dict[str, Any]:
    """PEFT's layers in a module, by name."""
    from peft.tuners.lora import LoraLayer  # noqa: PLC0415  as in ``adapt``

    return {name: layer for name, layer in module.named_modules() if isinstance(layer, LoraLayer)}


def _magnitudes(layer: Any) -> Any:  # noqa: ANN401  PEFT's layers are loosely typed
    return layer.lora_magnitude_vector


def _magnitude(layer: Any) -> nn.Parameter:  # noqa: ANN401
    return _magnitudes(layer)[_NAME].weight


def _copy(weight: Tensor) -> Tensor:
    """A matrix, or a convolution's kernel flattened to one, or a vector."""
    copied = weight.detach().float().cpu().clone()
    return copied.flatten(1) if copied.dim() > 1 else copied
