"""No two training individuals of a class are twins, nor is any subject a twin of one of them."""

from itertools import combinations

import pytest

from rarebooth.world import distinct
from rarebooth.world.distinct import LEAST, PAINT, differing, nearest_pairs, too_alike, visible
from rarebooth.world.draw import TRAINING_INSTANCES
from rarebooth.world.subjects import BENCHMARK, EXAMPLES, VALIDATION, example
from rarebooth.world.toys import TOYS, load_toy
from rarebooth.world.traits import EITHER_OR, LEVELS, draw_traits, traits

PAINTED = {name for group in PAINT for name in group}


def seen(toy, count, again=0):
    return [visible(toy, draw_traits(toy, number, again)) for number in range(count)]


@pytest.mark.parametrize("toy", TOYS)
def test_all_training_individuals_and_subjects_of_a_class_differ_visibly(toy):
    subjects = {s.instance for s in (*BENCHMARK, *VALIDATION) if s.toy == toy}
    if toy in EXAMPLES:
        subjects.add(example(toy).instance)
    numbers = [*range(TRAINING_INSTANCES), *sorted(subjects)]
    twins = too_alike([visible(toy, traits(toy, number)) for number in numbers])
    found = [(numbers[first], numbers[second]) for first, second in twins]
    assert found == [], "python -m rarebooth.world.distinct draws twins again"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"main colour": "red"},
        {"second colour": "red", "emblem colour": "red"},
        {"pattern": "none", "pattern colour": None, "pattern grain": None},
        {"emblem": "none", "emblem colour": None, "leg": 9},
        {"leg": 9, "long": 9, "ear": 9, "snout": 9},
    ],
)
def test_planted_twins_are_found(changes):
    individuals = seen("dog", 300)
    assert len(too_alike(individuals)) == 0
    like = next(n for n, w in enumerate(individuals) if "none" not in (w["pattern"], w["emblem"]))
    individuals.append(individuals[like] | changes)
    assert too_alike(individuals).tolist() == [[like, 300]]


@pytest.mark.parametrize(
    "changes",
    [
        {"main colour": "red", "second colour": "red", "third colour": "red"},
        {"emblem": "none", "emblem colour": None, "leg": 9, "ear": 9},
        {"pattern grain": "huge", "leg": 9, "long": 9},
    ],
)
def test_three_differences_are_enough(changes):
    individuals = seen("dog", 300)
    like = next(
        n
        for n, w in enumerate(individuals)
        if "none" not in (w["pattern"], w["emblem"])
        and "red" not in (w["main colour"], w["second colour"], w["third colour"])
    )
    assert len(too_alike([*individuals, individuals[like] | changes])) == 0


@pytest.mark.parametrize("toy", ["boot", "glasses"])
def test_the_check_finds_what_comparing_all_pairs_finds(toy):
    # With the same colours throughout, many are too alike.
    fixed = dict.fromkeys(("main colour", "second colour", "third colour"), "red")
    individuals = [words | fixed for words in seen(toy, 400)]
    expected = []
    for first, second in combinations(range(400), 2):
        names = differing(individuals[first], individuals[second])
        if len(names) < LEAST or not PAINTED & {*names}:
            expected.append([first, second])
    assert len(expected) > 10
    assert too_alike(individuals).tolist() == expected


def test_what_is_drawn_again_is_no_longer_too_alike(monkeypatch):
    monkeypatch.setattr(distinct, "TRAINING_INSTANCES", 2500)
    assert len(too_alike(seen("bowl", 2500))) > 0
    again = distinct.redraws("bowl")
    assert 0 < len(again) < 250
    individuals = [visible("bowl", draw_traits("bowl", n, again.count(n))) for n in range(2500)]
    assert len(too_alike(individuals)) == 0


def test_the_nearest_pairs_are_named_with_their_differences():
    pairs = nearest_pairs(["glasses"], 30)
    assert len(set(pairs)) == 30
    for pair in pairs:
        first, second = (visible("glasses", traits("glasses", n)) for n in pair[1:3])
        assert pair.differing == differing(first, second)
        assert pair.first < pair.second < TRAINING_INSTANCES
    ranks = [(len(p.differing), len(PAINTED & {*p.differing})) for p in pairs]
    assert ranks == sorted(ranks)
    assert ranks[0] == (LEAST, 1)


@pytest.mark.parametrize("toy", TOYS)
def test_levels_of_a_proportion_lie_apart(toy):
    by_level = {}
    for number in range(200):
        known = traits(toy, number)
        for (name, value), level in zip(known.proportions, known.levels, strict=True):
            by_level.setdefault(name, {}).setdefault(level, []).append(value)
    for name, (low, high) in load_toy(toy).sizes.items():
        levels = by_level[name]
        assert len(levels) == (2 if (low, high) == EITHER_OR else LEVELS)
        assert low <= min(levels[0]) < max(levels[len(levels) - 1]) <= high
        for level in range(1, len(levels)):
            assert min(levels[level]) - max(levels[level - 1]) >= 0.19 * (high - low)
