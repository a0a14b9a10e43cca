"""Custom Diffusion: a word for each subject, and only what the prompt is read with is tuned.

Kumari et al., "Multi-Concept Customization of Text-to-Image Diffusion" (CVPR 2023, arXiv
2212.04488), section 3, and its code. Subjects learnt apart are merged by ``rarebooth.merging``.
Class images are drawn as DreamBooth's are; the paper retrieves real ones, and its script draws them
with eta 1 and guidance 6. Photos are not mirrored; its code mirrors half of them.
"""

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rarebooth.augmentation import PREFIXES, augmented_shelf
from rarebooth.base import Base, Batch, Session
from rarebooth.delta import Delta
from rarebooth.errors import SettingsError
from rarebooth.lesson import Lesson, Shelf
from rarebooth.method import setting
from rarebooth.run import Run, Step, generator_for
from rarebooth.subject import Subject
from rarebooth.weight_training import Constrained, PriorPreserving

_CODE = "its code, configs/custom-diffusion/finetune_addtoken.yaml"
_README = "its README"


@dataclass(frozen=True, kw_only=True)
class CustomDiffusion(PriorPreserving, Constrained):
    """Learn words, and the keys and values of cross-attention; for one subject or several."""

    name = "custom-diffusion"
    paper = "Kumari et al.: Multi-Concept Customization of Text-to-Image Diffusion (CVPR 2023)"
    summary = "new words, and the keys and values that the U-Net makes of prompts; merges subjects"
    changes = frozenset({"token", "denoiser"})
    stages = ("attention",)
    several = True

    token: str = setting(
        "<new1>", "The new word; with several subjects, 1 counts on.", source=_README
    )
    initial_word: str = setting(
        "ktn",
        "What every new word starts from; its code takes pll and ucd for a second and third.",
        source="its code, src/custom_modules.py",
    )
    prompt: str = setting("photo of a {}", "The prompt of every photo.", source=_README)
    class_prompt: str = setting(
        "photo of a {}",
        "What class images are drawn from and trained with; {} is the class noun.",
        source="its code, scripts/finetune_gen.sh",
        where={"prior": True},
    )
    prior: bool = setting(
        True, "Trains on class images too.", source="its code: regularisation images"
    )
    class_images: int = setting(
        200,
        "How many class images there are.",
        source=f"{_README}: 200",
        least=1,
        where={"prior": True},
    )
    augment: bool = setting(
        True, "Shows photos smaller and larger too.", source="its code, src/finetune_data.py"
    )
    variants: int = setting(
        32,
        "Augmented versions of each photo, made once.",
        source="ours: its code makes a new one each step",
        least=1,
        where={"augment": True},
    )
    batch: int = setting(
        4, "Photos a step.", source=f"{_CODE}: 8, half of them class images", least=1
    )
    steps: int = setting(300, "Updates.", source=_CODE, least=1)
    lr: float = setting(8e-5, "Learning rate.", source=f"{_CODE}: 1e-5 times 8", above=0)

    def trained(self, base: Base) -> int:
        """How many numbers the keys' and values' matrices have."""
        names = base.cross_attention()
        return sum(base.part("denoiser").get_parameter(name).numel() for name in names)

    def words(self, count: int) -> list[str]:
        """The new words of so many subjects: "<new1>", "<new2>".

        Raises SettingsError where the token holds no 1 to count from.
        """
        if count > 1 and "1" not in self.token:
            raise SettingsError(
                f"token is {self.token!r}, and {count} subjects are to be learnt; it must hold a 1 "
                "to count from, like <new1>."
            )
        return [self.token.replace("1", str(number)) for number in range(1, count + 1)]

    def phrases(self, nouns: Sequence[str]) -> tuple[str, ...]:
        """Each noun with its own word before it."""
        words = self.words(len(nouns))
        return tuple(f"{word} {noun}" for word, noun in zip(words, nouns, strict=True))

    def fit(
        self, session: Session, subjects: Sequence[Subject], run: Run
    ) -> Generator[Step, None, Delta]:
        """Learn one subject or several. Stage name: "attention"."""
        if not subjects:
            raise SettingsError(f"{self.name} learns one subject or several and was given none.")
        base = session.base
        nouns = [each.noun for each in subjects]
        phrases = self.phrases(nouns)
        words = {w: session.token(w, self.initial_word) for w in self.words(len(subjects))}

        # every photo, told by its subject's word, then class images of every noun
        prompts = [f"{w}{self.prompt.replace('{}', p)}" for p in phrases for w in PREFIXES]
        kinds = list(dict.fromkeys(nouns))
        classes = self.class_shelves(session, run, kinds, first=len(prompts))
        shelves: list[Shelf] = []
        for number, subject in enumerate(subjects):
            first, rng = number * len(PREFIXES), generator_for(run.seed, "variants", number)
            if self.augment:
                shelves.append(augmented_shelf(base, subject.images, self.variants, first, rng))
            else:
                shelves.append(Shelf.told_by(first, base.posterior(subject.images)))
        lesson = Lesson.of(base, shelves, classes, self.prior_weight)
        prompts += self.class_prompts(kinds)

        matrices = session.tune("denoiser", base.cross_attention())
        session.lend(_first_token_held(base))
        weights = {**words, **matrices}

        def loss(batch: Batch) -> Tensor:
            return lesson.loss(batch, session.condition(prompts))

        def learnt() -> Delta:
            vectors = {word: vector.detach().cpu().clone() for word, vector in words.items()}
            return Delta(phrases, vectors, session.change(matrices))

        yield from run.train(
            "attention",
            weights,
            self.recipe(self.lr, self.steps),
            lesson.draw(self.batch * self.accumulate),
            self.held(session, matrices, loss),
            learnt,
        )
        return learnt()


def _first_token_held(base: Base) -> ExitStack:
    """While inside, the start token's keys and values take no part in learning (its code)."""

    def hold(_: nn.Module, __: tuple[Tensor], out: Tensor) -> Tensor:
        return torch.cat([out[:, :1].detach(), out[:, 1:]], dim=1)

    stack = ExitStack()
    for name in base.cross_attention():
        layer = base.part("denoiser").get_submodule(name.removesuffix(".weight"))
        stack.callback(layer.register_forward_hook(hold).remove)
    return stack
