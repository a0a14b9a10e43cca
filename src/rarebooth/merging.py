"""Subjects that Custom Diffusion learnt apart, put into one change of the base, in closed form.

Kumari et al., "Multi-Concept Customization of Text-to-Image Diffusion" (CVPR 2023, arXiv
2212.04488), section 3.3 and its code (src/composenW.py, src/diffusers_composenW.py). For each
matrix W0 that makes keys or values, the merged one is the W that changes least what captions of
other things become, ``||(W - W0) R^T||_F``, among those that make of every subject's own prompts
exactly what its own matrix W_k made of them: ``W c = W_k c`` for the rows c of C. With
``G = R^T R`` and ``D = C G^-1`` that is ``W = W0 + E (D C^T)^-1 D``, where the columns of E are
``(W_k - W0) c``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, cycle
from typing import Final

import torch
from torch import Tensor

from rarebooth.base import Base
from rarebooth.delta import Change, Delta
from rarebooth.errors import SettingsError
from rarebooth.prompts import PLAIN, TEMPLATES, dreambench

PROMPTS: Final = ("{}", "photo of a {}", PLAIN)
"""What must stay as it was learnt: the phrase, and its code's prompts, of diffusers and CompVis."""

EXACTNESS: Final = 1e-6
"""The largest relative error with which a subject's keys and values may be kept."""

ROUNDING: Final = 0.05
"""The largest part of what is to be kept that may be lost to 16 bits (ours).

On the embedded base, a dog and a teapot of 100 steps lost 0.008 of it where their words had started
from two words, and 0.24 to 0.30 from one; then other prompts were further off than with no merge.
"""

RIDGE: Final = 1e-6
"""Added to a singular G, times its mean eigenvalue (ours: its code needs a G that is not)."""

AT_ONCE: Final = 32
"""Captions encoded together."""

_LIVE_NOUNS: Final = ("cat", "dog")
_OBJECT_NOUNS: Final = (
    *("backpack", "stuffed animal", "bowl", "can", "candle", "clock", "sneaker", "toy", "boot"),
    *("glasses", "cartoon", "teapot", "vase"),
)
"""DreamBench's classes (Ruiz et al. 2023, data set)."""


def captions() -> list[str]:
    """What a merge should leave alone, about 400 captions; its code reads 200 of a web data set.

    DreamBench's prompts of each of its classes, and the object templates of Textual Inversion.
    """
    classes = [(noun, True) for noun in _LIVE_NOUNS] + [(noun, False) for noun in _OBJECT_NOUNS]
    told = [(scene, noun) for noun, live in classes for scene in dreambench(live=live)]
    told += zip(TEMPLATES["object"], cycle(noun for noun, _ in classes), strict=False)
    return [template.replace("{}", noun) for template, noun in told]


@torch.no_grad()
def merge(base: Base, deltas: Sequence[Delta], regular: Sequence[str]) -> Delta:
    """One delta that draws all the subjects; ``regular`` are captions to leave alone.

    ``base``: as it came, with nothing worn or tuned. Formed in float64 and then rounded as every
    change is. A word that an earlier subject has becomes the first of "<new1>", "<new2>", ... that
    is free.

    Raises:
        SettingsError: a delta that is not custom-diffusion's, or subjects too many to keep all of
            them, or with words too alike.
    """
    names = [f"denoiser.{name}" for name in base.cross_attention()]
    for delta in deltas:
        _require_keys_and_values(base, delta, names)
    concepts = _concepts(deltas)
    told = [_told(base, concept) for concept in concepts]
    first = _first_of_equal(torch.cat(told))
    all_told = torch.cat(told)[first]
    kept = least_change(_encoded(base, regular), all_told)
    changes: dict[str, Change] = {}
    asked = lost = 0.0
    for name in names:
        shifts = [
            concept.changes[name].expand().double() @ rows.T
            for concept, rows in zip(concepts, told, strict=True)
        ]
        shift = torch.cat(shifts, dim=1)[:, first]
        change = shift @ kept
        changes[name] = Change.between(change, torch.zeros_like(change))
        asked += float(shift.square().sum())
        lost += float((changes[name].expand().double() @ all_told.T - shift).square().sum())
    if lost > ROUNDING**2 * asked:
        raise SettingsError(
            "These subjects cannot be merged: to this base their words are nearly the same, and "
            "keeping all of them takes a change so large that it holds none of them exactly. Train "
            "each from another --initial-word (`rarebooth tokens` lists rare ones), or for longer."
        )
    phrases = tuple(concept.phrase for concept in concepts)
    return Delta(phrases, {concept.word: concept.vector for concept in concepts}, changes)


def least_change(regular: Tensor, told: Tensor) -> Tensor:
    """The matrix M with which ``E M`` is the least change that turns ``told`` by E.

    ``regular``: float64 [N, D], features to leave alone. ``told``: float64 [S, D], no two rows
    alike. E would be [out, S]. Returns ``(D C^T)^-1 D``, float64 [S, D], with ``M told^T = 1``.

    Raises:
        SettingsError: rows of ``told`` that depend on one another.
    """
    gram = regular.T @ regular
    width = len(gram)
    # Features are float32, so directions in which they are smaller than that hold only rounding.
    noise = width * torch.finfo(torch.float32).eps
    if torch.linalg.matrix_rank(gram, rtol=noise**2, hermitian=True) < width:
        gram += RIDGE * gram.trace() / width * torch.eye(width, dtype=gram.dtype)
    spread = torch.linalg.solve(gram, told.T).T
    found, _ = torch.linalg.solve_ex(spread @ told.T, spread)
    error = (found @ told.T - torch.eye(len(told), dtype=told.dtype)).abs().max()
    if not error <= EXACTNESS:  # it may be nan
        raise SettingsError(
            f"These subjects cannot be merged: their prompts are {len(told)} features to keep, and "
            f"what this base reads, {width} numbers each, cannot tell them apart. Merge fewer, or "
            "none that is nearly another one."
        )
    return found


@dataclass(frozen=True)
class _Concept:
    """One subject of a delta: its word, the vectors of it [V, D], its noun, and the changes."""

    word: str
    vector: Tensor
    noun: str
    changes: Mapping[str, Change]

    @property
    def phrase(self) -> str:
        return f"{self.word} {self.noun}"


def _require_keys_and_values(base: Base, delta: Delta, names: Sequence[str]) -> None:
    """Raise SettingsError unless a delta is words, and changes of exactly the named matrices."""
    called = ", ".join(repr(phrase) for phrase in delta.phrases)
    if delta.steer is not None:
        given = "steers encoded prompts"
    elif other := delta.weights.keys() - set(names):
        given = f"changes {min(other)}"
    elif missing := set(names) - delta.weights.keys():
        given = f"does not change {min(missing)}"
    elif low := [name for name in names if not _fits(base, delta, name)]:
        given = f"changes {low[0]} by another kind or shape of matrix"
    elif not delta.tokens or sorted(delta.tokens) != sorted(word for word, _ in _called(delta)):
        given = f"has the new words {', '.join(delta.tokens) or 'none'}"
    else:
        return
    raise SettingsError(
        "Merging is defined for custom-diffusion only, which learns a word for each subject and "
        f"changes the keys and values of cross-attention; the subject {called} {given}. Train it "
        "with --method custom-diffusion."
    )


def _fits(base: Base, delta: Delta, name: str) -> bool:
    part, _, parameter = name.partition(".")
    change = delta.weights[name]
    return isinstance(change, Change) and change.fits(
        base.part(part).get_parameter(parameter).shape
    )


def _called(delta: Delta) -> Iterator[tuple[str, str]]:
    """The word and the noun of every phrase."""
    for phrase in delta.phrases:
        word, _, noun = phrase.partition(" ")
        yield word, noun


def _concepts(deltas: Sequence[Delta]) -> list[_Concept]:
    """All subjects, in order, each by a word of its own; tokenizers find words in any case."""
    given = {word.lower() for delta in deltas for word in delta.tokens}
    free = (each for each in map("<new{}>".format, count(1)) if each not in given)
    taken: set[str] = set()
    concepts: list[_Concept] = []
    for delta in deltas:
        changes = {name: each for name, each in delta.weights.items() if isinstance(each, Change)}
        for word, noun in _called(delta):
            own = next(free) if word.lower() in taken else word
            taken.add(own.lower())
            concepts.append(_Concept(own, delta.tokens[word], noun, changes))
    return concepts


def _told(base: Base, concept: _Concept) -> Tensor:
    """What the base reads in a subject's prompts, float64 [S, D]: from its word to the end token.

    Before its word the subjects' prompts are the same and their matrices are not, so that nothing
    could keep all of them; its code leaves these places out too.
    """
    prompts = [template.replace("{}", concept.phrase) for template in PROMPTS]
    encoded = base.condition(prompts, {concept.word: concept.vector.to(base.device)})
    rows: list[Tensor] = []
    for template, encoding in zip(PROMPTS, encoded, strict=True):
        first = 1 + base.token_count(template.removesuffix("{}"))
        end = first + len(concept.vector) + base.token_count(concept.noun)
        rows.append(encoding[first : end + 1])
    return torch.cat(rows).cpu().double()


def _encoded(base: Base, captions: Sequence[str]) -> Tensor:
    """What the base reads in captions, float64 [N, D]: from the first word to the end token."""
    rows: list[Tensor] = []
    for begin in range(0, len(captions), AT_ONCE):
        some = captions[begin : begin + AT_ONCE]
        for caption, encoding in zip(some, base.condition(some, {}), strict=True):
            rows.append(encoding[1 : base.token_count(caption) + 2].cpu())
    return torch.cat(rows).double()


def _first_of_equal(rows: Tensor) -> list[int]:
    """The places of rows that are not exactly as an earlier one."""
    places: dict[bytes, int] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.numpy().tobytes(), place)
    return list(places.values())
