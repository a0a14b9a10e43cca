"""What a base's configurations may say: nothing is built of a text that asks for too much."""

import math
from collections.abc import Iterator, Mapping, Sequence

from rarebooth.errors import BaseModelError

AGAIN = "Fetch the model again, or pick another with --base."

REPEATED: Sequence[str] = (
    "num_hidden_layers",
    "layers_per_block",
    "transformer_layers_per_block",
    "reverse_transformer_layers_per_block",
)
"""Settings that say how often a layer is built; those of a U-Net multiply, and with its blocks."""

TENSORS_A_LAYER = 8
"""At least: two normalisations and two convolutions, or more, with weight and bias each."""

LARGEST_NUMBER = 1024
"""Whole numbers in a configuration that are no matter, however small the model is."""

LARGEST_SIDE = 4096
"""Places of latents; Stable Diffusion has 64 or 96."""


def require_held(
    config: Mapping[str, object], part: str, shapes: Sequence[tuple[int, ...]]
) -> None:
    """Raise BaseModelError where a configuration asks for more than the weight files hold.

    So it is known before anything is built: one number could keep the machine busy for hours.
    ``shapes``: those of the tensors in the files.
    """
    longest = max((side for shape in shapes for side in shape), default=0)
    blocks = config.get("block_out_channels")
    layers = dict.fromkeys(REPEATED, 1)
    for key, number in _numbers(config):
        if key in layers:
            layers[key] = max(layers[key], number)
        most = LARGEST_SIDE if key == "sample_size" else max(longest, LARGEST_NUMBER)
        if number > most or (number < 0 and not key.endswith("_token_id")):
            raise BaseModelError(
                f"{part}/config.json of the base model says {number!s:.40} for {key!r:.80}; its "
                f"weights allow for 0 to {most}. {AGAIN}"
            )
    asked = math.prod(layers.values()) * (len(blocks) if isinstance(blocks, list) else 1)
    if asked * TENSORS_A_LAYER > len(shapes):
        raise BaseModelError(
            f"{part}/config.json of the base model asks for {asked} layers or more, and its files "
            f"hold {len(shapes)} tensors, which are not so many layers. {AGAIN}"
        )


def _numbers(config: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    """The whole numbers anywhere in a configuration, with the key each stands under."""
    left: list[tuple[str, object]] = list(config.items())
    while left:
        key, value = left.pop()
        match value:
            case dict():
                left.extend((str(inner), each) for inner, each in value.items())
            case list():
                left.extend((key, each) for each in value)
            case int() if not isinstance(value, bool):
                yield key, value
            case _:
                pass


def whole(value: object, what: str, *, least: int = 1, most: int) -> int:
    """The value, if it is a whole number in a range; BaseModelError that says ``what`` is not."""
    if type(value) is int and least <= value <= most:
        return value
    raise BaseModelError(
        f"{what} of the base model is {value!r:.80}; it must be a whole number from {least} to "
        f"{most}. {AGAIN}"
    )


def reason(error: Exception) -> str:
    """The first line of what a library says, with the next where the first only announces it."""
    lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1]).removesuffix(".")
