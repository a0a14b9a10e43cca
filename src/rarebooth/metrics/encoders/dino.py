"""DINO: pictures by what they show, learnt without words (Caron et al. 2021)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import torch
from torch import Tensor
from transformers import ViTModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from rarebooth.errors import SettingsError
from rarebooth.metrics.encoders.pictures import Pictures, Processor, features
from rarebooth.quiet import quiet

VIT_S16: Final = "facebook/dino-vits16"
"""The network of DINO scores in published tables (Ruiz et al. 2023, sec. 4.1)."""


@dataclass(frozen=True)
class DinoEncoder:
    """A vision transformer, read at its class token, with its picture processor."""

    model: Any
    """A ``ViTModel`` without a pooling layer."""
    processor: Processor
    device: str

    @classmethod
    def open(cls, source: str | Path, device: str = "cpu") -> Self:
        """Open a folder, or a model of the Hub by its id, in float32.

        Raises:
            SettingsError: it cannot be had, or holds no vision transformer.
        """
        try:
            return cls(
                model=_loaded(source).to(device),
                processor=ViTImageProcessorPil.from_pretrained(source),
                device=device,
            )
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"{source} cannot be opened as a vision transformer: {error}. Name a folder that "
                f"ViTModel.from_pretrained can read, or a Hub id like {VIT_S16}."
            ) from error

    @torch.no_grad()
    def images(self, pictures: Pictures) -> Tensor:
        """L2-normalised features of pictures, float32 [N, D].

        The feature is the class token of the last hidden state, after the final layer norm.
        """

        def network(pixels: Tensor) -> Tensor:
            return self.model(pixel_values=pixels).last_hidden_state[:, 0]

        return features(network, self.processor, pictures, self.device)


def _loaded(source: str | Path) -> Any:  # noqa: ANN401  a ViTModel
    with quiet():
        return ViTModel.from_pretrained(source, add_pooling_layer=False, dtype=torch.float32).eval()
