"""The stage ``dino``: individuals told apart by self-distillation (Caron et al. 2021).

The two views of a picture are two photographs of the same individual in different scenes. The
teacher, the moving average of the student, sees all of one; the student must give the same answer
from half of the patches of the other (Assran et al. 2022, "Masked Siamese Networks"). Answers are
likenesses to prototypes, of the class token itself: there is no projection head that could keep
the scene out of the answers and leave it in the token, which is what judges compare.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from rarebooth.pretrain.autoencoder import as_input
from rarebooth.pretrain.judges.data import GROUP
from rarebooth.pretrain.judges.exam import Triplets, draw_triplets, triplet_accuracy
from rarebooth.pretrain.judges.networks import Dino, dino_sees, keep_patches, new_dino
from rarebooth.pretrain.shards import Stock
from rarebooth.pretrain.training import Training, half_precision

FILE: Final = "dino.safetensors"

PROTOTYPES: Final = 2048

STUDENT_TEMPERATURE: Final = 0.05
TEACHER_TEMPERATURE: Final = 0.01
"""Sharper than in Caron et al. 2021 (.1 and .04): likenesses of class tokens lie close together,
and trainings are short. With .1 and .05 hardly anything was learnt in the time."""

ROUNDS: Final = 3
"""Of Sinkhorn and Knopp's balancing, in place of a centre (Oquab et al. 2023, sec. 4)."""

PART: Final = 0.5
"""Share of the patches that the student sees."""

_TRIPLETS: Final = 256


class Eyes:
    """A ViT in training, as an encoder that can be examined."""

    def __init__(self, dino: Dino, device: str) -> None:
        self._dino, self._device = dino, device

    def see(self, pixels: Tensor, kept: Tensor | None = None) -> Tensor:
        """L2-normalised class tokens [B, D] of pixels [B, 3, S, S] in -1..1, or of some patches."""
        with half_precision(self._device):
            answer = dino_sees(self._dino, pixels, kept)
        return functional.normalize(answer.float(), dim=-1)

    @torch.no_grad()
    def images(self, pictures: Tensor) -> Tensor:
        """L2-normalised class tokens [N, D] of pictures uint8 [N, S, S, 3]."""
        return torch.cat([self.see(as_input(part.to(self._device))) for part in pictures.split(64)])


def new_triplets() -> Triplets:
    """What a training looks at from time to time."""
    return draw_triplets(_TRIPLETS)


def train_dino(
    data: Path,
    state: Path,
    *,
    minutes: float,
    batch: int = 64,
    lr: float = 1.5e-3,
    device: str = "cpu",
    seed: int = 0,
    network: Callable[[], Dino] = new_dino,
    triplets: Callable[[], Triplets] = new_triplets,
) -> Training:
    """Train, or continue, until ``minutes`` of training have passed in all.

    ``batch``: individuals, each photographed twice. ``triplets``: what the curve's accuracies are
    measured on. The curve also has two entropies of the teacher's answers, as shares of the
    largest: of their mean, which falls to 0 when all pictures look alike, and their own, which
    rises to 1.
    """
    torch.manual_seed(seed)
    dino = network().to(device).train()
    if device == "cpu":
        dino.set_attn_implementation("eager")  # 1.7 times as fast as SDPA on a CPU
    prototypes = nn.Linear(dino.config.hidden_size, PROTOTYPES, bias=False).to(device)
    parts = {"dino": dino, "prototypes": prototypes}
    training = Training(state / FILE, parts, minutes=minutes, peak=lr)
    training.resume()
    student, teacher = Eyes(dino, device), Eyes(training.averages["dino"], device)
    exam = triplets()
    stock = Stock(data, "pictures", device)
    answers = torch.zeros(0, PROTOTYPES)

    def measured() -> dict[str, float]:
        return {"triplets": round(triplet_accuracy(teacher, exam), 4), **entropies(answers)}

    def refresh() -> None:
        stock.refresh()
        stock.note(training.notes)
        if training.step:
            training.record(**measured())

    refresh()
    for step in training.steps(refresh):
        generator = torch.Generator(device).manual_seed(seed * 1_000_003 + step)
        rows = _draw_views(len(stock), batch, generator)
        pixels = as_input(stock.tensors["images"][rows])
        with torch.no_grad():
            likeness = _answers(teacher.see(pixels), training.averages["prototypes"])
            answers = torch.cat([balanced(view) for view in likeness.chunk(2)])
        kept = keep_patches(stock.tensors["masks"][rows], PART, 0.0, generator)
        guesses = _answers(student.see(pixels, kept), prototypes) / STUDENT_TEMPERATURE
        # Each view is guessed from the other.
        goal = answers.roll(len(rows) // 2, 0)
        loss = -(goal * guesses.log_softmax(-1)).sum(-1).mean()
        training.learn(loss, len(rows))
    training.record(**measured())
    return training


@torch.no_grad()
def balanced(likeness: Tensor) -> Tensor:
    """The teacher's answers [B, K], each summing to 1, with every prototype asked for alike.

    Args:
        likeness: cosines of pictures and prototypes, [B, K].
    """
    answers = likeness / TEACHER_TEMPERATURE
    for _ in range(ROUNDS):
        answers = answers.log_softmax(0).log_softmax(1)
    return answers.exp()


def entropies(answers: Tensor) -> dict[str, float]:
    """Entropy of the mean of answers [B, K], and mean of their entropies, as shares of log K."""
    largest = math.log(answers.shape[1])

    def entropy(shares: Tensor) -> float:
        return float(torch.special.entr(shares).sum(-1).mean()) / largest

    return {
        "mean_entropy": round(entropy(answers.mean(0)), 4),
        "entropy": round(entropy(answers), 4),
    }


def _draw_views(count: int, individuals: int, generator: torch.Generator) -> Tensor:
    """Rows of the first view of so many individuals, then of the second.

    They come by groups, so that two of a class stand in the same scene, which then tells nothing.
    """
    groups = torch.randperm(count // GROUP, generator=generator, device=generator.device)
    firsts = GROUP * groups[: individuals // 2]
    return torch.cat([firsts, firsts + 2, firsts + 1, firsts + 3])


def _answers(features: Tensor, prototypes: Any) -> Tensor:  # noqa: ANN401  a Linear
    """Cosines [B, K] of features with prototypes."""
    return features @ functional.normalize(prototypes.weight, dim=-1).T
