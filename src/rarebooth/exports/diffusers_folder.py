"""A whole model in diffusers' layout that knows the subject: for every program that reads one.

What was learnt is in the weights, the vocabulary and the embedding table, so nothing of rarebooth
is needed to draw it. Only safetensors and text are written, the weights in fp32.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AddedToken, CLIPTokenizer

from rarebooth import hub, model_index
from rarebooth.base import Base, Session
from rarebooth.errors import ArtifactError, SettingsError
from rarebooth.exports import Source
from rarebooth.store import write_json

HELD = ("scheduler", "text_encoder", "tokenizer", "unet", "vae")
"""The parts of a pipeline that the export holds; rarebooth draws without a safety checker."""

PLACES = ("_name_or_path", "name_or_path", "special_tokens_map_file", "tokenizer_file")
"""Where libraries write into a configuration from which folder it came."""

LOADING = ("is_local", "local_files_only")
"""How a tokenizer was loaded, which transformers 5 writes as if it were a setting."""

TABLE = "text_model.embeddings.token_embedding.weight"


@dataclass(frozen=True)
class DiffusersFolder:
    """A folder for ``DiffusionPipeline.from_pretrained``."""

    def write(self, source: Source, folder: Path) -> str:
        """Write the model.

        Raises SettingsError where encoded prompts are steered, which no file says, and
        ArtifactError where a number would not be finite.
        """
        learnt = source.learnt
        if learnt.delta.steer is not None:
            raise SettingsError(
                f"{learnt.header.method} changes a prompt after it is encoded, which no model in "
                "diffusers' layout can say. Draw this subject with `rarebooth generate`."
            )
        words = learnt.delta.tokens
        _require_apart(words)
        base, origin = source.borrow()
        tokenizer = _tokenizer(origin, base, words)
        with Session(base) as session:
            session.wear(learnt.delta)
            _write_unet(folder, origin, base)
            _write_text_encoder(folder, origin, base, tokenizer, words)
        _write_tokenizer(folder, origin, tokenizer)
        _write_part(folder, origin, "vae", _stored(origin, "vae"))
        _write_config(folder, origin, "scheduler/scheduler_config.json")
        index = hub.read_json(origin / model_index.FILE)
        lacking = [key for key in index if isinstance(index[key], list) and key not in HELD]
        changed = {
            **{key: [None, None] for key in lacking},
            **{key: list(known) for key, known in model_index.KNOWN.items()},
            "requires_safety_checker": False,
        }
        _write_config(folder, origin, model_index.FILE, changed)
        return f"pipe = DiffusionPipeline.from_pretrained({json.dumps(str(source.out))})"


def pieces(word: str, count: int) -> list[str]:
    """What a word of several vectors is called: as diffusers expands it in a prompt.

    >>> pieces("<cat>", 3)
    ['<cat>', '<cat>_1', '<cat>_2']
    """
    return [word, *(f"{word}_{number}" for number in range(1, count))]


def _require_apart(words: Mapping[str, Tensor]) -> None:
    """Raise SettingsError where diffusers would take one new word for a part of another."""
    for word in words:
        for other in words:
            if word != other and word.lower() in other.lower():
                raise SettingsError(
                    f"The new word {word!r} is a part of the new word {other!r}, which diffusers "
                    "cannot tell apart. Draw these subjects with `rarebooth generate`, or train "
                    "one of them with another --token."
                )


def _tokenizer(origin: Path, base: Base, words: Mapping[str, Tensor]) -> CLIPTokenizer:
    tokenizer: Any = CLIPTokenizer.from_pretrained(origin / "tokenizer", local_files_only=True)
    for word, vectors in words.items():
        for piece in pieces(word, len(vectors)):
            base.check_token(piece)
            # Found in any case, a word is reported in lower case, and diffusers then does not know
            # that it has further vectors.
            tokenizer.add_tokens([AddedToken(piece, normalized=len(vectors) == 1)])
    return tokenizer


def _write_tokenizer(folder: Path, origin: Path, tokenizer: CLIPTokenizer) -> None:
    tokenizer.save_pretrained(folder / "tokenizer")
    config = hub.read_json(folder / "tokenizer" / "tokenizer_config.json")
    write_json(
        folder / "tokenizer" / "tokenizer_config.json",
        {key: value for key, value in config.items() if key not in {*PLACES, *LOADING}},
    )
    # transformers 4 and many other programs read the vocabulary from these.
    for name in ("vocab.json", "merges.txt", "special_tokens_map.json"):
        if (origin / "tokenizer" / name).is_file():
            shutil.copyfile(origin / "tokenizer" / name, folder / "tokenizer" / name)
    special = set(tokenizer.all_special_tokens)
    added = tokenizer.get_added_vocab()
    write_json(
        folder / "tokenizer" / "added_tokens.json",
        {token: number for token, number in added.items() if token not in special},
    )


def _write_unet(folder: Path, origin: Path, base: Base) -> None:
    # The side at which the subject was learnt is the one that the pipeline draws by itself.
    size = {"sample_size": base.latent_shape[-1]}
    _write_part(folder, origin, "unet", base.part("denoiser").state_dict(), size)


def _write_text_encoder(
    folder: Path,
    origin: Path,
    base: Base,
    tokenizer: CLIPTokenizer,
    words: Mapping[str, Tensor],
) -> None:
    # The spelling of the Hub, which transformers from 5.6 on reads and no longer writes.
    tensors = {
        f"text_model.{name.removeprefix('text_model.')}": tensor
        for name, tensor in base.part("text").state_dict().items()
    }
    table = tensors[TABLE]
    grown = table.new_zeros(max(len(tokenizer), len(table)), table.shape[1])
    grown[: len(table)] = table
    for word, vectors in words.items():
        numbers = tokenizer.convert_tokens_to_ids(pieces(word, len(vectors)))
        grown[torch.tensor(numbers)] = vectors.to(grown)
    tensors[TABLE] = grown
    size = {"vocab_size": len(grown)}
    _write_part(folder, origin, "text_encoder", tensors, size)


def _stored(origin: Path, part: str) -> dict[str, Tensor]:
    """A part's tensors as its files hold them, in fp32."""
    tensors: dict[str, Tensor] = {}
    for path in hub.weight_files(origin, part):
        tensors |= load_file(path)
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def _write_part(
    folder: Path,
    origin: Path,
    part: str,
    tensors: Mapping[str, Tensor],
    changed: Mapping[str, Any] | None = None,
) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ArtifactError(
                f"{part} would hold a number that is not finite in {name}, so nothing was "
                "exported. Take another checkpoint of the run, or fetch the base again."
            )
    (folder / part).mkdir()
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        folder / part / f"{hub.WEIGHTS[part]}.safetensors",
        {"format": "pt"},
    )
    _write_config(folder, origin, f"{part}/config.json", changed)


def _write_config(
    folder: Path, origin: Path, name: str, changed: Mapping[str, Any] | None = None
) -> None:
    """The base's own configuration, but for what has changed, the type, where it lay, and code."""
    config = {**hub.read_json(origin / name), **(changed or {})}
    for key in ("dtype", "torch_dtype"):
        if key in config:
            config[key] = "float32"
    left_out = {*PLACES, *model_index.CODE_KEYS}
    write_json(folder / name, {key: config[key] for key in config if key not in left_out})
