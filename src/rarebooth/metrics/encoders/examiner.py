"""Reading pictures: class, context, colour, property and accessory."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from rarebooth.defaults import EMBEDDED
from rarebooth.errors import ResourceError
from rarebooth.photos import Pixels
from rarebooth.pretrain.autoencoder import as_input
from rarebooth.pretrain.examiner.labels import Answers
from rarebooth.pretrain.examiner.network import ExaminerNetwork
from rarebooth.pretrain.examiner.packing import CONFIG, WEIGHTS

_AT_ONCE: Final = 100


@dataclass(frozen=True)
class Examiner:
    """A trained network, the answers it knows, and the edge of the pictures it was trained on.

    Pictures are uint8 [N, S, S, 3], of any size.
    """

    name: str
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
        network = network.float().requires_grad_(False).to(device)
        return cls(folder.name, network, answers, config["size"])

    def read(self, pictures: Tensor | Pixels) -> dict[str, list[str]]:
        """The answer to each question, N of them."""
        found: dict[str, list[str]] = {name: [] for name in self.answers}
        for features in self._looked(pictures):
            for head, (name, words) in zip(self.network.heads, self.answers.items(), strict=True):
                numbers: list[int] = head(features).argmax(1).tolist()
                found[name].extend(words[number] for number in numbers)
        return found

    def features(self, pictures: Tensor | Pixels) -> Tensor:
        """What the answers are read from, fp32 [N, 128], on the CPU."""
        return torch.cat([features.cpu() for features in self._looked(pictures)])

    def _looked(self, pictures: Tensor | Pixels) -> Iterable[Tensor]:
        device = self.network.join.weight.device
        given = pictures if isinstance(pictures, Tensor) else torch.tensor(pictures)
        for part in given.split(_AT_ONCE):
            shown = as_input(part.to(device))
            if shown.shape[-1] != self.size:
                shown = functional.interpolate(
                    shown, self.size, mode="bilinear", antialias=True, align_corners=False
                )
            with torch.no_grad():
                yield self.network.features(shown)


def open_examiner(device: str = "cpu") -> Examiner:
    """Read the examiner that comes with rarebooth.

    Raises:
        ResourceError: it is missing or damaged.
    """
    folder = Path(str(resources.files("rarebooth"))) / "assets" / "examiner"
    return replace(Examiner.load(folder, device), name=f"{EMBEDDED}/examiner")
