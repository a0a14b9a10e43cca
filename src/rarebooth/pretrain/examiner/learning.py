"""The stage ``examiner``: learn to read pictures, resumable like every stage."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from rarebooth.pretrain.autoencoder import as_input
from rarebooth.pretrain.examiner.labels import UNASKED, questions, targets
from rarebooth.pretrain.examiner.network import ExaminerNetwork
from rarebooth.pretrain.examiner.softening import soften
from rarebooth.pretrain.shards import SIZE, Stock
from rarebooth.pretrain.training import Training, half_precision

FILE: Final = "examiner.safetensors"
ANSWERS: Final = "answers"
"""What the training notes, for ``examiner-pack``."""

_HELD_OUT: Final = 1000


def new_network() -> ExaminerNetwork:
    """The examiner's network, freshly initialised, for the world as it is."""
    return ExaminerNetwork([len(words) for words in questions().values()])


def train_examiner(
    data: Path,
    state: Path,
    *,
    minutes: float,
    batch: int = 64,
    lr: float = 1.5e-3,
    device: str = "cpu",
    seed: int = 0,
    network: Callable[[], ExaminerNetwork] = new_network,
) -> Training:
    """Train, or continue, until ``minutes`` of training have passed in all."""
    torch.manual_seed(seed)
    examiner = network().to(device)
    training = Training(state / FILE, {"examiner": examiner}, minutes=minutes, peak=lr)
    training.resume()
    average: Any = training.averages["examiner"]
    stock = Stock(data, "pictures", device)
    stock.tensors.pop("masks", None)
    right = targets(stock.scenes).to(device)
    held_out = min(_HELD_OUT, len(stock) // 10)

    def refresh() -> None:
        training.record(**_measure(average, stock, right, held_out))

    stock.note(training.notes)
    training.notes[SIZE] = stock.tensors["images"].shape[1]
    training.notes[ANSWERS] = {name: list(words) for name, words in questions().items()}
    for step in training.steps(refresh):
        generator = torch.Generator(device).manual_seed(seed * 1_000_003 + step)
        rows = torch.randint(held_out, len(stock), (batch,), generator=generator, device=device)
        pictures = soften(as_input(stock.tensors["images"][rows]), generator)
        with half_precision(device):
            answers = examiner(pictures)
        training.learn(examiner_loss(answers, right[rows]), batch)
    refresh()
    return training


def examiner_loss(answers: Sequence[Tensor], right: Tensor) -> Tensor:
    """Cross-entropy in nats, summed over the questions; ``right`` is int64 [B, questions]."""
    losses = [
        functional.cross_entropy(logits.float(), right[:, number])
        for number, logits in enumerate(answers)
    ]
    return torch.stack(losses).sum()


@torch.no_grad()
def _measure(
    examiner: ExaminerNetwork, stock: Stock, right: Tensor, count: int
) -> Mapping[str, float]:
    """The share of right answers to each question on the first ``count`` pictures."""
    images = stock.tensors["images"][:count]
    wrong = torch.zeros(right.shape[1], device=right.device)
    for part, known in zip(images.split(100), right[:count].split(100), strict=True):
        answers = examiner(as_input(part))
        found = torch.stack([logits.argmax(1) for logits in answers], 1)
        wrong += ((found != known) & (known != UNASKED)).sum(0)
    shares = (1 - wrong / (right[:count] != UNASKED).sum(0)).tolist()
    return {name: round(share, 4) for name, share in zip(questions(), shares, strict=True)}
