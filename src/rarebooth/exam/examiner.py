"""Reading pictures: class, context, colour, property and accessory."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from rarebooth.errors import ResourceError
from rarebooth.pretrain.autoencoder import as_input
from rarebooth.pretrain.examiner.labels import Answers
from rarebooth.pretrain.examiner.network import ExaminerNetwork
from rarebooth.pretrain.examiner.packing import CONFIG, WEIGHTS

_AT_ONCE: Final = 100


@dataclass(frozen=True)
class Examiner:
    """A trained network, the answers it knows, and the edge of the pictures it was trained on."""

    network: ExaminerNetwork
    answers: Answers
    size: int

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "Examiner":
        """Read what the stage ``examiner-pack`` wrote.

        Raises:
            ResourceError: the folder holds no examiner, or a damaged one.
        """
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            answers: Answers = config["answers"]
            network = ExaminerNetwork([len(words) for words in answers.values()])
            network.load_state_dict(load_file(folder / WEIGHTS))
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ResourceError(
                f"{folder} holds no examiner that can be read ({error}). Train one: python -m "
                "rarebooth.pretrain examiner --help"
            ) from error
        return cls(network.float().requires_grad_(False).to(device), answers, config["size"])

    def read(self, pictures: Tensor) -> dict[str, list[str]]:
        """The answer to each question about pictures uint8 [N, S, S, 3], N of them."""
        found: dict[str, list[str]] = {name: [] for name in self.answers}
        for features in self._looked(pictures):
            for head, (name, words) in zip(self.network.heads, self.answers.items(), strict=True):
                numbers: list[int] = head(features).argmax(1).tolist()
                found[name].extend(words[number] for number in numbers)
        return found

    def features(self, pictures: Tensor) -> Tensor:
        """What the answers are read from, fp32 [N, 128], on the CPU."""
        return torch.cat([features.cpu() for features in self._looked(pictures)])

    def _looked(self, pictures: Tensor) -> Iterable[Tensor]:
        device = self.network.join.weight.device
        for part in pictures.split(_AT_ONCE):
            given = as_input(part.to(device))
            if given.shape[-1] != self.size:
                given = functional.interpolate(
                    given, self.size, mode="bilinear", antialias=True, align_corners=False
                )
            with torch.no_grad():
                yield self.network.features(given)
