"""Stable Diffusion 1.x and 2.x: latent diffusion with a U-Net and one CLIP text encoder.

Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models" (2022). Read from a
folder in diffusers' layout; weights are held in fp32, whatever the files hold.
"""

import copy
import json
import math
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from rarebooth import hub
from rarebooth.base import Base, Identity, Posterior
from rarebooth.bases.compiling import compiled
from rarebooth.bases.configuration import LARGEST_SIDE, reason, require_held, whole
from rarebooth.bases.device import Precision, hold_to, pick_device, pick_precision
from rarebooth.bases.held import Held
from rarebooth.errors import BaseModelError, DivergedError, SettingsError, is_out_of_memory
from rarebooth.process import Process, sent
from rarebooth.quiet import quiet
from rarebooth.tokens import add_token, word_id

PIPELINE = "StableDiffusionPipeline"
FAMILY = "stable-diffusion"

_CLASSES: Mapping[str, Any] = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
}
_TRAINABLE = ("denoiser", "text")

_ATTENTION = {
    "denoiser": ("to_q", "to_k", "to_v", "to_out.0"),
    "text": ("q_proj", "k_proj", "v_proj", "out_proj"),
}
"""The layers that diffusers' LoRA scripts adapt (examples/dreambooth/train_dreambooth_lora.py)."""

_GATES: Mapping[str, tuple[str, ...]] = {"denoiser": ("ff.net.0.proj",), "text": ()}
""""GEGLU", which cloneofsimo/lora adapts besides (lora_diffusion/lora.py)."""

_SCHEDULE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
    "prediction_type",
)
"""The scheduler settings that say what was trained; the others only concern sampling."""

LONGEST_PROCESS = 100_000
"""Timesteps; Stable Diffusion has 1000."""

SHORTEST_PROMPT = 3
"""Tokens that a text encoder must read: start, one, end."""

MOST_READ = 4096
"""Prompts whose tokens are kept on the device: 3 MB of them."""


@dataclass(frozen=True)
class Parts:
    """The networks and the tokenizer of one model, as its files hold them."""

    unet: UNet2DConditionModel
    vae: Held[AutoencoderKL]
    text_encoder: Held[CLIPTextModel]
    tokenizer: CLIPTokenizer


class Weights:
    """Where the tensors of one part lie in its files, by parameter name.

    Raises BaseModelError if a parameter of ``module`` is not in the files, or has another shape.
    """

    def __init__(self, files: Sequence[Path], module: nn.Module) -> None:
        stored: dict[str, tuple[Path, Any]] = {}
        self._stamps: dict[Path, tuple[int, int, int]] = {}
        for path in files:
            reader: Any = _open(path)
            self._stamps[path] = _stamp(path)
            stored |= dict.fromkeys(reader.keys(), (path, reader))
        self._place: dict[str, tuple[Path, str]] = {}
        for name, parameter in module.named_parameters():
            key = next((key for key in _spellings(name) if key in stored), None)
            part = files[0].parent.name
            if key is None:
                raise BaseModelError(
                    f"The base model is incomplete: its {part} lacks the tensor {name}. Fetch the "
                    "model again, or pick another with --base."
                )
            path, reader = stored[key]
            shape = tuple(reader.get_slice(key).get_shape())
            if shape != tuple(parameter.shape):
                raise BaseModelError(
                    f"{part}/config.json does not fit the weights: {name} should be "
                    f"{tuple(parameter.shape)} and is {shape} in the file."
                )
            self._place[name] = path, key

    def reader(self) -> Callable[[str], Tensor]:
        """Gives tensors by parameter name, fp32 on the CPU; maps the files as long as it is held.

        No longer: what was read of a mapped file counts as memory of this process. Raises
        BaseModelError that names a file which is no longer the one that was loaded.
        """
        opened = cache(self._open_unchanged)

        def read(name: str) -> Tensor:
            path, key = self._place[name]
            tensor: Tensor = opened(path).get_tensor(key)
            return tensor.float()

        return read

    def _open_unchanged(self, path: Path) -> Any:  # noqa: ANN401  safetensors ships no types
        try:
            same = _stamp(path) == self._stamps[path]
        except OSError:
            same = False
        if not same:
            raise BaseModelError(
                f"{path.parent.name}/{path.name} of the base model was replaced or removed since "
                "it was loaded, so that its weights cannot be read again. Leave a base's files "
                "alone while it is in use, and start again."
            )
        return _open(path)


class StableDiffusion(Base):
    """A Stable Diffusion model that can be borrowed; ``load`` makes one."""

    def __init__(
        self,
        parts: Parts,
        originals: Mapping[str, Weights],
        identity: Identity,
        scheduler_config: Mapping[str, Any],
        process: Process,
        size: int,
        notice: Callable[[str], None],
        *,
        precision: Precision,
    ) -> None:
        self.identity = identity
        self.process = process
        self.size = size
        self.device = parts.unet.device
        self._parts = parts
        self._originals = originals
        self._scheduler_config = scheduler_config
        self._notice = notice
        self._cut: set[str] = set()
        self.precision = precision
        self._scale = _scale(parts.vae())
        side = size // _vae_factor(parts.vae())
        self.latent_shape = (parts.unet.config["in_channels"], side, side)
        self._prompt_length = _prompt_length(parts)
        self._tokenizers: dict[tuple[str, ...], CLIPTokenizer] = {(): parts.tokenizer}
        self._read: dict[tuple[str, tuple[tuple[str, int], ...]], Tensor] = {}

    @classmethod
    def load(
        cls,
        folder: Path,
        name: str,
        device: str = "auto",
        precision: str = "auto",
        resolution: int | None = None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Read a model from a folder; ``name`` is what it will be called in what is learnt.

        ``notice`` is told, once, of each prompt whose end the model does not read.

        Raises:
            BaseModelError: something is missing, damaged, or of a kind that cannot be trained.
            SettingsError: a device, precision or resolution that cannot be had.
        """
        place = pick_device(device)
        compute = pick_precision(precision, place)
        hold_to(compute, place)
        hub.pipeline_kind(folder, (PIPELINE,))
        hub.require_known_parts(folder)
        hub.require_complete(folder)
        files = {part: hub.weight_files(folder, part) for part in _CLASSES}
        for part, paths in files.items():
            config = hub.read_json(folder / part / "config.json")
            require_held(config, part, [shape for path in paths for shape in _shapes(path)])
        scheduler_config = hub.read_json(folder / "scheduler" / "scheduler_config.json")
        process, schedule = _process(scheduler_config, place)

        def network(part: str) -> Any:  # noqa: ANN401  one of _CLASSES
            return _network(folder, part, fp16=".fp16" in files[part][0].name, device=place)

        parts = Parts(
            unet=network("unet"),
            vae=Held(lambda: network("vae")),
            text_encoder=Held(lambda: network("text_encoder")),
            tokenizer=_tokenizer(folder),
        )
        _require_fit(parts)
        size = _size(parts, resolution)
        originals = {
            "denoiser": Weights(files["unet"], parts.unet),
            "text": Weights(files["text_encoder"], parts.text_encoder()),
        }
        vocabulary = hub.tokenizer_files(folder)
        weights = [path for paths in files.values() for path in paths]
        content = hub.weights_digest(folder, [*weights, *vocabulary])
        identity = Identity(name, FAMILY, sha256(f"{content} {schedule}".encode()).hexdigest())
        return cls(
            parts,
            originals,
            identity,
            scheduler_config,
            process,
            size,
            notice,
            precision=compute,
        )

    @property
    def scheduler_config(self) -> Mapping[str, Any]:
        """The scheduler settings the model came with, as diffusers writes them."""
        return self._scheduler_config

    @torch.no_grad()
    def posterior(self, images: np.ndarray) -> Posterior:
        """Encode photos, uint8 [N, size, size, 3], one at a time to bound memory.

        Training needs no more of the autoencoder, which is given back until pictures are decoded.
        """
        expected = (self.size, self.size, 3)
        if images.dtype != np.uint8 or images.shape[1:] != expected or not len(images):
            raise SettingsError(
                f"Photos must be uint8 {('N', *expected)} for this base; they are {images.dtype} "
                f"{images.shape}."
            )
        means: list[Tensor] = []
        deviations: list[Tensor] = []
        for image in images:
            pixels = torch.tensor(image, device=self.device).permute(2, 0, 1).contiguous()[None]
            latent = self._parts.vae().encode(pixels.float() / 255 * 2 - 1, return_dict=False)[0]
            means.append(latent.mean * self._scale)
            deviations.append(latent.std * self._scale)
        self._parts.vae.release()
        return Posterior(torch.cat(means), torch.cat(deviations))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> np.ndarray:
        """Turn scaled latents [B, C, h, w] into pictures, uint8 [B, size, size, 3].

        One at a time: it bounds memory, and a picture does not depend on its neighbours' number.
        DivergedError where a pixel is not finite, which would be black.
        """
        vae: Any = self._parts.vae()
        pictures: list[Tensor] = []
        for latent in latents.to(self.device, torch.float32) / self._scale:
            pixels = vae.decode(latent[None], return_dict=False)[0][0]
            if not bool(torch.isfinite(pixels).all()):
                raise DivergedError(
                    "A picture was decoded to pixels that are not finite numbers, and would be "
                    "black. Use an earlier checkpoint, another seed, or a base whose autoencoder "
                    "is whole."
                )
            unit = (pixels / 2 + 0.5).clamp(0, 1)
            pictures.append((unit * 255).round().to(torch.uint8).permute(1, 2, 0).cpu())
        return torch.stack(pictures).numpy()

    def word(self, word: str) -> Tensor:
        """The input embedding of a word that is one token, fp32 [1, D], a copy."""
        row = word_id(self._parts.tokenizer, word)
        return self._table.weight[row].detach().clone()[None]

    def vocabulary(self) -> Mapping[str, int]:
        """Every token of the tokenizer as its vocabulary writes it ("dog</w>"), with its id."""
        return self._parts.tokenizer.get_vocab()

    def token_count(self, text: str) -> int:
        """How many tokens a text is, without those for start and end."""
        return len(self._parts.tokenizer.encode(text, add_special_tokens=False))

    def check_token(self, token: str) -> None:
        """Raise SettingsError if ``token`` cannot become a new word of this model."""
        self._tokenizer_with((token,))

    def condition(self, prompts: Sequence[str], tokens: Mapping[str, Tensor]) -> Tensor:
        """Encode prompts to [B, L, D], reading ``tokens`` (new word -> fp32 [V, D]) as given.

        A word of several vectors takes as many places. As Stable Diffusion was trained: padded to
        full length, without an attention mask, the last hidden state after the final norm, fp32.
        """
        pieces = {
            piece: vector[row : row + 1]
            for token, vector in tokens.items()
            for row, piece in enumerate(_pieces(token, len(vector)))
        }
        tokenizer = self._tokenizer_with(tuple(pieces))
        vectors = {_id(tokenizer, piece): vector for piece, vector in pieces.items()}
        distinct = list(dict.fromkeys(prompts))
        ids = torch.stack([self._ids(tokenizer, prompt, tokens, pieces) for prompt in distinct])
        with torch.autocast(self.device.type, enabled=False), _injected(self._table, vectors):
            encoded: Tensor = self._parts.text_encoder()(ids).last_hidden_state
        if len(distinct) == len(prompts):
            return encoded
        order = torch.tensor([distinct.index(prompt) for prompt in prompts])
        return encoded[sent(order, self.device)]

    def denoise(self, noisy: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        """The network's answer, fp32 [B, C, h, w], for noisy latents, timesteps [B], [B, L, D]."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            answer: Tensor = self._parts.unet(noisy, timestep, condition, return_dict=False)[0]
        return answer.float()

    def part(self, name: str) -> nn.Module:
        """A trainable part by name: "denoiser" or "text"."""
        return self._parts.unet if self._known(name) == "denoiser" else self._parts.text_encoder()

    def cross_attention(self) -> Sequence[str]:
        """The denoiser's matrices that make keys and values of a prompt, by parameter name."""
        names = (name for name, _ in self._parts.unet.named_parameters())
        return [name for name in names if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))]

    def attention_layers(self, part: str, *, gates: bool = False) -> Sequence[str]:
        """The names that a part's linear layers of attention end with, as PEFT selects them."""
        return _ATTENTION[self._known(part)] + (_GATES[part] if gates else ())

    @contextmanager
    def recomputing(self) -> Generator[None]:
        """While inside, the U-Net's blocks form their intermediate results again."""
        self._parts.unet.enable_gradient_checkpointing()
        try:
            yield
        finally:
            self._parts.unet.disable_gradient_checkpointing()

    def release(self) -> None:
        """Give back the text encoder and the autoencoder, until they are needed again."""
        self._parts.text_encoder.release()
        self._parts.vae.release()

    def compiled(self, notice: Callable[[str], None]) -> AbstractContextManager[object]:
        """While inside, the U-Net's transformer blocks are compiled where gradients are formed."""
        return compiled(self._parts.unet, BasicTransformerBlock, notice)

    def original(self, part: str) -> Callable[[str], Tensor]:
        """A reader of a part's untouched tensors by parameter name, from the files on disk."""
        return self._originals[self._known(part)].reader()

    @property
    def _table(self) -> nn.Embedding:
        table = self._parts.text_encoder().get_input_embeddings()
        assert isinstance(table, nn.Embedding)
        return table

    def _known(self, part: str) -> str:
        if part not in _TRAINABLE:
            raise SettingsError(
                f"Stable Diffusion has no part {part!r} to train; it has {', '.join(_TRAINABLE)}."
            )
        return part

    def _tokenizer_with(self, tokens: tuple[str, ...]) -> CLIPTokenizer:
        """A copy of the tokenizer with new words; the base's own is never changed."""
        if tokens not in self._tokenizers:
            tokenizer = copy.deepcopy(self._parts.tokenizer)
            for token in tokens:
                add_token(tokenizer, token)
            self._tokenizers[tokens] = tokenizer
        return self._tokenizers[tokens]

    def _ids(
        self,
        tokenizer: CLIPTokenizer,
        prompt: str,
        tokens: Mapping[str, Tensor],
        pieces: Iterable[str],
    ) -> Tensor:
        """The tokens of a prompt, int64 [L], which stay on the device for the steps to come."""
        key = (prompt, tuple((token, len(vectors)) for token, vectors in tokens.items()))
        if key not in self._read:
            spelled = _spell_out(prompt, tokens)
            self._require_whole(tokenizer, spelled, pieces)
            read = tokenizer(
                spelled,
                padding="max_length",
                max_length=self._prompt_length,
                truncation=True,
                return_tensors="pt",
            )
            if len(self._read) >= MOST_READ:
                self._read.clear()
            self._read[key] = sent(read.input_ids[0], self.device)
        return self._read[key]

    def _require_whole(self, tokenizer: CLIPTokenizer, prompt: str, pieces: Iterable[str]) -> None:
        """Refuse a prompt so long that a new word would be cut off; tell of another that is cut."""
        read = self._prompt_length - 1  # the last place is the end token's
        late: list[int] = tokenizer(prompt, verbose=False).input_ids[read:]
        if len(late) > 1 and prompt not in self._cut:  # the end token always comes last
            self._cut.add(prompt)
            self._notice(
                f"The prompt {prompt!r} is too long: this base reads {read - 1} tokens, and "
                f"{len(late) - 1} at its end are not read."
            )
        for piece in pieces:
            if _id(tokenizer, piece) in late:
                raise SettingsError(
                    f"The prompt {prompt!r} is too long: this base reads {read - 1} tokens, "
                    f"and {piece!r} comes after them. Shorten it."
                )


def _open(path: Path) -> Any:  # noqa: ANN401  safetensors ships no types
    """Map a safetensors file into memory; its header is checked against its length."""
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        if is_out_of_memory(error):
            raise
        raise BaseModelError(
            f"{path.parent.name}/{path.name} of the base model is damaged or was not fetched whole "
            f"({error}). Delete it and fetch it again."
        ) from error


def _stamp(path: Path) -> tuple[int, int, int]:
    """What tells a file from another one in its place; nothing is read of it."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _shapes(path: Path) -> list[tuple[int, ...]]:
    reader = _open(path)
    return [tuple(reader.get_slice(key).get_shape()) for key in reader.keys()]  # noqa: SIM118


def _id(tokenizer: CLIPTokenizer, token: str) -> int:
    found = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found


def _pieces(token: str, count: int) -> list[str]:
    """What a word of several vectors is to the tokenizer: as many words, the first its own."""
    return [token, *(f"{token}~{number}" for number in range(1, count))]


def _spell_out(prompt: str, tokens: Mapping[str, Tensor]) -> str:
    """Write every word of several vectors as its pieces; tokenizers find words in any case."""
    for token, vector in tokens.items():
        if len(vector) > 1:
            pieces = " ".join(_pieces(token, len(vector)))
            prompt = re.sub(re.escape(token), lambda _, text=pieces: text, prompt, flags=re.I)
    return prompt


def _spellings(name: str) -> tuple[str, ...]:
    """How files may call a parameter: CLIPTextModel lost its "text_model." in transformers 5.6."""
    return name, f"text_model.{name}", name.removeprefix("text_model.")


def _network(folder: Path, part: str, *, fp16: bool, device: torch.device) -> Any:  # noqa: ANN401  one of _CLASSES
    """One part as its files say, fp32, with nothing to be trained."""
    dtype = {"dtype" if part == "text_encoder" else "torch_dtype": torch.float32}
    try:
        with quiet():
            network, report = _CLASSES[part].from_pretrained(
                folder / part,
                use_safetensors=True,
                local_files_only=True,
                variant="fp16" if fp16 else None,
                output_loading_info=True,
                **dtype,
            )
    except Exception as error:  # a wrong configuration fails anywhere in the libraries' code
        if is_out_of_memory(error):
            raise
        raise BaseModelError(
            f"The {part} of the base model cannot be loaded: {reason(error)}. Fetch the model "
            "again, or pick another with --base."
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise BaseModelError(
            f"The base model is incomplete: its {part} lacks {len(missing)} tensors, the first "
            f"{missing[0]}. Fetch the model again, or pick another with --base."
        )
    return network.eval().requires_grad_(requires_grad=False).to(device)


def _tokenizer(folder: Path) -> CLIPTokenizer:
    try:
        with quiet():
            return CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception
        if is_out_of_memory(error):
            raise
        raise BaseModelError(
            f"The tokenizer of the base model cannot be loaded: {reason(error)}. Fetch the model "
            "again."
        ) from error


def _process(config: Mapping[str, Any], device: torch.device) -> tuple[Process, str]:
    """The noising process, and the settings it follows from as text."""
    file = "scheduler/scheduler_config.json"
    timesteps = whole(
        config.get("num_train_timesteps", 1000),
        f"num_train_timesteps in {file}",
        most=LONGEST_PROCESS,
    )
    whole(config.get("steps_offset", 0), f"steps_offset in {file}", least=0, most=timesteps)
    try:
        scheduler: Any = DDPMScheduler.from_config(dict(config))
    except Exception as error:  # as where networks are loaded
        if is_out_of_memory(error):
            raise
        raise BaseModelError(
            f"{file} of the base model cannot be used: {reason(error)}. Fetch the model again, or "
            "pick another with --base."
        ) from error
    settings: Mapping[str, Any] = scheduler.config
    kept: Tensor = scheduler.alphas_cumprod
    if kept.shape != (timesteps,) or not bool(((kept >= 0) & (kept <= 1)).all()):
        raise BaseModelError(
            f"{file} of the base model says no noise schedule of {timesteps} timesteps: their "
            "betas must be numbers from 0 to 1. Fetch the model again, or pick another with --base."
        )
    schedule = json.dumps({key: settings[key] for key in _SCHEDULE})
    return Process(kept.to(device), settings["prediction_type"]), schedule


def _scale(vae: AutoencoderKL) -> float:
    scale = vae.config["scaling_factor"]
    if type(scale) not in (int, float) or not math.isfinite(scale) or scale <= 0:
        raise BaseModelError(
            f"vae/config.json of the base model says scaling_factor {scale!r:.80}; it must be a "
            "number above 0. Fetch the model again, or pick another with --base."
        )
    return float(scale)


def _prompt_length(parts: Parts) -> int:
    """Tokens of a prompt that the text encoder reads, with those for start and end."""
    said = parts.tokenizer.model_max_length
    encoded: int = parts.text_encoder().config.max_position_embeddings
    # A tokenizer that names no length has 10^30, which is not wrong.
    length = min(said, encoded) if type(said) is int else said
    what = "model_max_length in tokenizer/tokenizer_config.json"
    return whole(length, what, least=SHORTEST_PROMPT, most=encoded)


def _require_fit(parts: Parts) -> None:
    """Raise BaseModelError where the parts are no text-to-image model together."""
    unet, latent = parts.unet.config, parts.vae().config["latent_channels"]
    if unet["in_channels"] != latent or unet["out_channels"] != latent:
        raise BaseModelError(
            f"The base model's U-Net reads {unet['in_channels']} channels and its autoencoder has "
            f"{latent}: an inpainting, depth or editing model. Pick a text-to-image model with "
            "--base."
        )
    width = parts.text_encoder().config.hidden_size
    if unet["cross_attention_dim"] != width:
        raise BaseModelError(
            f"The base model's U-Net listens to {unet['cross_attention_dim']} numbers a token and "
            f"its text encoder says {width}: the parts are of different models."
        )
    rows = parts.text_encoder().config.vocab_size
    if len(parts.tokenizer) > rows:
        raise BaseModelError(
            f"The base model's tokenizer knows {len(parts.tokenizer)} tokens and its text encoder "
            f"{rows}: the parts are of different models."
        )


def _vae_factor(vae: AutoencoderKL) -> int:
    return 2 ** (len(vae.config["block_out_channels"]) - 1)


def _size(parts: Parts, resolution: int | None) -> int:
    factor = _vae_factor(parts.vae())
    own: int | None = parts.unet.config["sample_size"]
    if own is not None:
        whole(own, "sample_size in unet/config.json", most=LARGEST_SIDE)
    if resolution is None and own is None:
        raise SettingsError("This base does not say its picture size; give it with --resolution.")
    size = resolution if resolution is not None else (own or 0) * factor
    step = factor * 2 ** (len(parts.unet.config["block_out_channels"]) - 1)
    if size < step or size % step:
        raise SettingsError(
            f"resolution is {size}; for this base it must be a multiple of {step} pixels."
        )
    return size


@contextmanager
def _injected(table: nn.Embedding, vectors: Mapping[int, Tensor]) -> Generator[None, None, None]:
    """While inside, the table answers the given ids with the given vectors [1, D].

    The ids lie beyond the table or shadow rows of it; its weights are neither read for them nor
    changed, and gradients flow to the vectors.
    """
    asked: list[Tensor] = []

    def hide(_: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        (ids,) = args
        asked.append(ids)
        for number in vectors:
            ids = ids.masked_fill(ids == number, 0)
        return (ids,)

    def inject(_: nn.Module, __: tuple[Tensor], rows: Tensor) -> Tensor:
        ids = asked.pop()
        for number, vector in vectors.items():
            rows = torch.where((ids == number)[..., None], vector.to(rows), rows)
        return rows

    if not vectors:
        yield
        return
    hooks = (table.register_forward_pre_hook(hide), table.register_forward_hook(inject))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
