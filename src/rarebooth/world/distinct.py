"""What can be seen of individuals, and how few of them may be alike in it.

Any two training individuals of a class differ in at least ``LEAST`` visible traits, and never in
proportions alone. Chance does not see to that, so a few hundred of each class are drawn again:
``python -m rarebooth.world.distinct`` finds them and writes ``redrawn.json``. It is run whenever a
toy is added, or the parts, proportions or patterns of a toy change.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, combinations
from typing import NamedTuple, TypeAlias

import numpy as np

from rarebooth.world.draw import TRAINING_INSTANCES
from rarebooth.world.toys import TOYS, load_toy
from rarebooth.world.traits import REDRAWN, Traits, draw_traits, traits

LEAST = 3
"""Visible traits in which two individuals of a class differ at least."""

PAINT = (
    ("main colour",),
    ("second colour",),
    ("third colour",),
    ("pattern", "pattern colour", "pattern grain"),
    ("emblem", "emblem colour"),
)
"""Visible traits besides the proportions; those in one group are there or absent together."""

_PAINTED = len([*chain(*PAINT)])
_ABSENT = -1

Words: TypeAlias = dict[str, str | int | None]
Pairs: TypeAlias = np.ndarray
"""Positions of individuals: int [N, 2], the smaller one first."""


class Pair(NamedTuple):
    """Two individuals of a class, and the names of the visible traits in which they differ."""

    toy: str
    first: int
    second: int
    differing: tuple[str, ...]


def visible(toy: str, known: Traits) -> Words:
    """The visible traits by name, paint first: words, levels, None for what is not there."""
    shape = load_toy(toy)
    roles = {part.role: c for part, c in zip(shape.parts, known.colours, strict=True)}
    patterned, marked = known.pattern != "none", known.emblem != "none"
    return {
        "main colour": known.main_colour,
        "second colour": roles.get("second"),
        "third colour": roles.get("third"),
        "pattern": known.pattern,
        "pattern colour": known.pattern_colour if patterned else None,
        "pattern grain": known.pattern_grain if patterned else None,
        "emblem": known.emblem,
        "emblem colour": known.emblem_colour if marked else None,
    } | dict(zip(shape.sizes, known.levels, strict=True))


def differing(first: Words, second: Words) -> tuple[str, ...]:
    """Names of the visible traits in which two individuals of a class differ.

    A pattern or an emblem that only one of them has counts once, not again for its colour.
    """
    return tuple(
        name
        for name, seen in first.items()
        if seen != second[name] and seen is not None and second[name] is not None
    )


def too_alike(individuals: Sequence[Words]) -> Pairs:
    """All pairs of one class that differ in fewer than ``LEAST`` visible traits, or in no paint.

    Args:
        individuals: their visible traits.
    """
    codes, groups = _codes(individuals)
    pairs = _sharing_all_but(groups, LEAST - 1)
    unpainted = _sharing(groups[: len(PAINT)])
    pairs = np.unique(np.concatenate([pairs, unpainted]), axis=0)
    all_traits, paint = _counts(codes, pairs)
    return pairs[(all_traits < LEAST) | (paint == 0)]


def nearest_pairs(toys: Sequence[str] = TOYS, count: int = 20) -> list[Pair]:
    """The training individuals of the same class that are most alike, nearest first.

    The number of differing traits decides; then how many of these are paint, as proportions are
    harder to see; then by how many levels proportions differ; then the individuals' numbers.
    """
    found: list[tuple[tuple[int, ...], Pair]] = []
    for toy in toys:
        individuals = [visible(toy, traits(toy, n)) for n in range(TRAINING_INSTANCES)]
        codes, groups = _codes(individuals)
        pairs = _sharing_all_but(groups, LEAST)
        ranks = np.stack([*_counts(codes, pairs), _steps(codes, pairs), *pairs.T], axis=1)
        for rank in ranks[np.lexsort(ranks.T[::-1])[:count]].tolist():
            first, second = rank[-2:]
            names = differing(individuals[first], individuals[second])
            found.append((tuple(rank), Pair(toy, first, second, names)))
    return [pair for _, pair in sorted(found)[:count]]


def redraws(toy: str) -> list[int]:
    """Training instances to draw again, each once for every draw that is put aside.

    The later one of a pair that is too alike is drawn again, until no pair is left.
    """
    again = Counter[int]()
    individuals = [visible(toy, draw_traits(toy, n, 0)) for n in range(TRAINING_INSTANCES)]
    while len(pairs := too_alike(individuals)):
        for later in {int(n) for n in pairs[:, 1]}:
            again[later] += 1
            individuals[later] = visible(toy, draw_traits(toy, later, again[later]))
    return sorted(again.elements())


def _codes(individuals: Sequence[Words]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Traits as numbers [N, traits], paint first, and a key [N] of each group of them."""
    columns: dict[str, np.ndarray] = {}
    for name in individuals[0]:
        words = [individual[name] for individual in individuals]
        number = {word: n for n, word in enumerate(sorted({*words} - {None}, key=str))}
        columns[name] = np.array([number.get(word, _ABSENT) for word in words])
    proportions = ((name,) for name in [*columns][_PAINTED:])
    groups = [_key([columns[name] for name in group]) for group in (*PAINT, *proportions)]
    return np.stack([*columns.values()], axis=1), groups


def _key(columns: Iterable[np.ndarray]) -> np.ndarray:
    """One number [N] for each different row of columns."""
    key = np.zeros(1, np.int64)
    for column in columns:
        key = np.unique(key * (column.max() + 2) + column + 1, return_inverse=True)[1]
    return key


def _sharing_all_but(groups: Sequence[np.ndarray], most: int) -> Pairs:
    """All pairs that differ in at most ``most`` groups of traits."""
    kept = combinations(groups, len(groups) - most)
    return np.unique(np.concatenate([_sharing(some) for some in kept]), axis=0)


def _sharing(groups: Sequence[np.ndarray]) -> Pairs:
    """All pairs whose groups are all equal."""
    key = _key(groups)
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    found = [np.zeros((0, 2), np.int64)]
    step = 1
    while (same := np.flatnonzero(ordered[step:] == ordered[:-step])).size:
        found.append(np.stack([order[same], order[same + step]], axis=1))
        step += 1
    return np.concatenate(found)


def _counts(codes: np.ndarray, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """How many traits differ in each pair, and how many of these are paint."""
    first, second = codes[pairs[:, 0]], codes[pairs[:, 1]]
    differ = (first != second) & (first != _ABSENT) & (second != _ABSENT)
    return differ.sum(axis=1), differ[:, :_PAINTED].sum(axis=1)


def _steps(codes: np.ndarray, pairs: Pairs) -> np.ndarray:
    """By how many levels the proportions of each pair differ in all."""
    first, second = codes[pairs[:, 0], _PAINTED:], codes[pairs[:, 1], _PAINTED:]
    return np.abs(first - second).sum(axis=1)


def _write_redraws() -> None:
    table = {toy: redraws(toy) for toy in TOYS}
    lines = (f"{json.dumps(toy)}: {json.dumps(table[toy], separators=(',', ':'))}" for toy in TOYS)
    REDRAWN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    _write_redraws()
