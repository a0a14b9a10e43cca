"""The networks of the two judges, freshly initialised, in transformers' own classes."""

from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, ViTConfig, ViTModel

from rarebooth.pretrain.networks import PICTURE_SIZE
from rarebooth.pretrain.tokenizer import POSITIONS, Vocabulary

Clip = Any
"""A ``CLIPModel``; its annotations do not survive its decorators."""

Dino = Any
"""A ``ViTModel`` without a pooling layer."""

PATCH: Final = 8

_SPACE: Final = 128
"""Width of the space that CLIP's pictures and texts share."""

_EYES: Final[dict[str, Any]] = {
    "hidden_size": 192,
    "intermediate_size": 576,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "image_size": PICTURE_SIZE,
    "patch_size": PATCH,
}

_READER: Final[dict[str, Any]] = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": POSITIONS,
    "projection_dim": _SPACE,
}


def new_clip(vocabulary: Vocabulary) -> Clip:
    """Pictures [B, 3, 64, 64] in -1..1 and token ids [B, 24] to one space."""
    size, begin, end = len(vocabulary.tokens), vocabulary.begin, vocabulary.end
    marks = {"vocab_size": size, "bos_token_id": begin, "eos_token_id": end, "pad_token_id": end}
    return CLIPModel(
        CLIPConfig(
            text_config={**_READER, **marks},
            vision_config={**_EYES, "projection_dim": _SPACE},
            projection_dim=_SPACE,
        )
    )


def new_dino() -> Dino:
    """Pictures [B, 3, 64, 64] in -1..1 to hidden states [B, 65, 192], the class token first."""
    return ViTModel(ViTConfig(**_EYES), add_pooling_layer=False)


def clip_sees(clip: Clip, pixels: Tensor, kept: Tensor | None = None) -> Tensor:
    """Features [B, D] of pixels [B, 3, S, S]; from ``kept`` tokens [B, n] alone where given."""
    eyes = clip.vision_model
    tokens = eyes.pre_layrnorm(_some(eyes.embeddings(pixels), kept))
    hidden = eyes.encoder(inputs_embeds=tokens).last_hidden_state
    return clip.visual_projection(eyes.post_layernorm(hidden[:, 0]))


def dino_sees(dino: Dino, pixels: Tensor, kept: Tensor | None = None) -> Tensor:
    """Class tokens [B, D] of pixels [B, 3, S, S]; from ``kept`` tokens [B, n] alone where given."""
    hidden = _some(dino.embeddings(pixels), kept)
    for layer in dino.layers:
        hidden = layer(hidden)
    return dino.layernorm(hidden[:, 0])


def keep_patches(masks: Tensor, share: float, favour: float, generator: torch.Generator) -> Tensor:
    """Numbers of the tokens to keep, int64 [B, n]: the class token and a share of the patches.

    ``masks``: [B, S, S], 1 on the toy. Patches are drawn by chance, those on the toy preferred by
    ``favour``: 0 not at all, 1 always. Training on a part of the patches costs a part of the time
    (Li et al. 2023, "Scaling Language-Image Pre-training via Masking").
    """
    toy = functional.avg_pool2d(masks.float()[:, None], PATCH).flatten(1)
    chance = torch.rand(toy.shape, generator=generator, device=toy.device)
    best = (chance + favour * (toy > 0)).topk(round(share * toy.shape[1])).indices
    return torch.cat([torch.zeros_like(best[:, :1]), best + 1], 1)


def _some(tokens: Tensor, kept: Tensor | None) -> Tensor:
    if kept is None:
        return tokens
    return tokens.gather(1, kept[..., None].expand(-1, -1, tokens.shape[-1]))
