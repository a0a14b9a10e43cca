"""The stage ``latents``: encode every shard of pictures once, with the frozen encoder."""

from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from rarebooth.errors import ResourceError
from rarebooth.pretrain.autoencoder import FILE, FROZEN, SCALE, encode, encoder_digest
from rarebooth.pretrain.networks import Autoencoder, new_autoencoder
from rarebooth.pretrain.shards import (
    ENCODER,
    SIZE,
    Shard,
    numbers_of,
    path_of,
    read_facts,
    read_shard,
    write_shard,
)
from rarebooth.pretrain.training import LOG, read_averages, read_progress


def make_latents(
    data: Path,
    state: Path,
    *,
    device: str = "cpu",
    networks: Callable[[int], Autoencoder] = new_autoencoder,
) -> int:
    """Encode the shards that are not encoded yet, or by another encoder; returns how many.

    Raises:
        ResourceError: the encoder is still learning.
    """
    file = state / FILE
    notes = read_progress(file)["notes"] if file.exists() else {}
    if FROZEN not in notes:
        raise ResourceError(
            f"{file} holds no frozen encoder yet. Run the stage `autoencoder` until it says so; "
            "latents made before would be worthless."
        )
    autoencoder = networks(notes[SIZE]).to(device).requires_grad_(False)
    read_averages(file, autoencoder, "vae")
    digest = encoder_digest(autoencoder)
    made = 0
    for number in numbers_of(data, "pictures"):
        target = path_of(data, "latents", number)
        if _encoded_by(target) == digest:
            continue
        shard = read_shard(path_of(data, "pictures", number))
        mean, deviation = encode(autoencoder, shard.tensors["images"], device)
        tensors = {"mean": mean.half().cpu(), "deviation": deviation.half().cpu()}
        facts = {**shard.facts, ENCODER: digest, SCALE: str(notes[SCALE])}
        write_shard(target, Shard(tensors, shard.scenes, facts))
        LOG.info("%s", target.name)
        made += 1
    return made


def _encoded_by(latents: Path) -> str | None:
    try:
        return read_facts(latents).get(ENCODER)
    except (OSError, SafetensorError):
        return None
