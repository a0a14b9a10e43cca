"""Metrics of pairs, worked by hand: what a network answers is given, the means are not."""

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch

from rarebooth.metric import Evidence, Judges, PictureSet
from rarebooth.metrics.clip_i import ClipI
from rarebooth.metrics.clip_t import ClipT
from rarebooth.metrics.copying import Copying
from rarebooth.metrics.dino import Dino
from rarebooth.metrics.div import Diversity
from rarebooth.metrics.encoders.remembering import RememberingJudge, RememberingTextJudge
from rarebooth.metrics.pres import Preservation
from rarebooth.prompts import dreambench

EAST, MID, STEEP, NORTH = (1.0, 0.0), (0.8, 0.6), (0.6, 0.8), (0.0, 1.0)
"""Directions whose cosines are 0.8 (E, M), 0.6 (E, S), 0 (E, N), 0.96 (M, S), 0.6, 0.8 (S, N)."""


class Given:
    """A judge that answers a picture by the number it is painted with, and a text by a table."""

    name = "given"
    fed = "numbers"

    def __init__(self, answers, texts=None):
        self._answers = torch.tensor(answers)
        self._texts = texts or {}
        self.looked, self.asked = [], []

    def images(self, pictures):
        self.looked.append([int(picture[0, 0, 0]) for picture in pictures])
        return self._answers[self.looked[-1]]

    def texts(self, texts):
        self.asked += texts
        return torch.tensor([self._texts.get(text, EAST) for text in texts])


class PaintDistance:
    """How far the numbers are apart that two pictures are painted with."""

    name = "paint"

    def between(self, one, other):
        return torch.tensor(np.abs(one[:, 0, 0, 0].astype(float) - other[:, 0, 0, 0]))


def painted(numbers):
    """Pictures uint8 [..., 2, 2, 3], each painted with one number."""
    return np.broadcast_to(
        np.array(numbers, dtype=np.uint8)[..., None, None, None], (*np.shape(numbers), 2, 2, 3)
    )


SNOW, RED = "a {} in the snow", "a red {}"
TEXTS = {"a dog in the snow": EAST, "a red dog": STEEP, "a dog": NORTH, "a photo of a cat": EAST}


def evidence(**changes):
    """Photos 0 and 1; CLIP answers 0 1 2 3 with E S M N, and DINO with E M S N."""
    given = Evidence(
        noun="dog",
        photos=painted([0, 1]),
        subject={"diverse": PictureSet((SNOW, RED), painted([[1, 3], [0, 1]]))},
        others={
            "class": PictureSet(("a {}",), painted([[2, 3]])),
            "unrelated": PictureSet(("a photo of a cat",), painted([[0]])),
        },
        untouched={
            "class": PictureSet(("a {}",), painted([[3, 3]])),
            "unrelated": PictureSet(("a photo of a cat",), painted([[3]])),
        },
        judges=Judges(
            clip=Given([EAST, STEEP, MID, NORTH], TEXTS), dino=Given([EAST, MID, STEEP, NORTH])
        ),
    )
    return replace(given, **changes)


def values(metric, given):
    return {of: score.value for of, score in metric.score(given).items()}


def close(expected):
    return pytest.approx(expected, abs=1e-6)


def test_likeness_to_all_photos():
    # To E and S: S (0.6 + 1) / 2, N (0 + 0.8) / 2; E and S 0.8 each. The photos to each other: 0.6.
    assert values(ClipI(), evidence()) == close(
        {"diverse": 0.7, "diverse.properties": 0.8, "diverse.scenes": 0.6, "real": 0.6}
    )
    # To E and M: M 0.9, N 0.3; E and M 0.9 each. The photos to each other: 0.8.
    assert values(Dino(), evidence()) == close(
        {"diverse": 0.75, "diverse.properties": 0.9, "diverse.scenes": 0.6, "real": 0.8}
    )


def test_a_score_says_what_it_is_the_mean_of():
    scores = Dino().score(evidence())
    assert scores["diverse"].prompts == close({SNOW: 0.6, RED: 0.9})
    assert scores["diverse"].pictures == close(np.array([[0.9, 0.3], [0.9, 0.9]]))
    assert scores["diverse.properties"].prompts == close({RED: 0.9})
    assert scores["diverse.scenes"].pictures == close(np.array([[0.9, 0.3]]))


def test_pictures_and_what_their_prompts_say():
    # Snow is E: S 0.6, N 0. Red is S: E 0.6, S 1. The class is N: M 0.6, N 1. The cat is E.
    clip = Given([EAST, STEEP, MID, NORTH], TEXTS)
    given = evidence(judges=Judges(clip, clip))
    assert values(ClipT(), given) == close(
        {
            "diverse": 0.55,
            "diverse.properties": 0.8,
            "diverse.scenes": 0.3,
            "class": 0.8,
            "class.base": 1.0,
            "unrelated": 1.0,
            "unrelated.base": 0.0,
        }
    )
    assert set(clip.asked) == TEXTS.keys()


def test_only_what_asks_a_property_counts_as_one():
    for live in (False, True):
        templates = dreambench(live=live)
        pictures = PictureSet(templates, painted(np.ones((25, 1))))
        scores = Dino().score(evidence(subject={"diverse": pictures}))
        assert len(scores["diverse.properties"].prompts) == 5
        assert len(scores["diverse.scenes"].prompts) == 20
        assert "a {} wearing a red hat" not in scores["diverse.properties"].prompts
    simple = PictureSet(("a photo of {}",), painted([[0, 1]]))
    assert set(Dino().score(evidence(subject={"simple": simple}))) == {"simple", "real"}


def test_the_class_looks_like_the_photos_more_than_before():
    # To E and M: S (0.6 + 0.96) / 2, N (0 + 0.6) / 2.
    scores = Preservation().score(evidence())
    assert {of: score.value for of, score in scores.items()} == close(
        {"class": 0.54, "class.base": 0.3, "class.change": 0.24}
    )
    assert scores["class.change"].pictures == close(np.array([[0.48, 0.0]]))


def test_pictures_of_a_prompt_are_as_different_as_their_pairs():
    # M and N: 1 - 0.6; E and M: 1 - 0.8; S and N: 1 - 0.8. The base's are two of N.
    given = evidence()
    by_dino = {"diverse.dino": 0.3, "class.dino": 0.2, "class.base.dino": 0.0}
    assert values(Diversity(), given) == close(by_dino)
    # Painted 1 and 3, 0 and 1; 2 and 3; 3 and 3.
    by_both = by_dino | {"diverse.lpips": 1.5, "class.lpips": 1.0, "class.base.lpips": 0.0}
    given = evidence(judges=replace(given.judges, lpips=PaintDistance()))
    assert values(Diversity(), given) == close(by_both)


def test_of_three_pictures_three_pairs_count():
    three = {"simple": PictureSet(("a photo of {}",), painted([[0, 1, 3]]))}
    given = evidence(subject=three, others={}, untouched={})
    given = replace(given, judges=replace(given.judges, lpips=PaintDistance()))
    scores = Diversity().score(given)
    # E M N: 1 - (0.8 + 0 + 0.6) / 3. Painted 0, 1, 3: (1 + 3 + 2) / 3.
    assert scores["simple.dino"].value == close(1 - 1.4 / 3)
    assert scores["simple.lpips"].value == close(2.0)
    assert scores["simple.lpips"].pictures == close(np.array([[2.0, 1.5, 2.5]]))


def test_one_picture_a_prompt_has_no_diversity():
    alone = PictureSet((SNOW, RED), painted([[1], [0]]))
    given = evidence(subject={"diverse": alone}, others={}, untouched={})
    assert Diversity().score(given) == {}


def test_copies_are_nearer_to_a_photo_than_photos_are_to_one_another():
    # Nearest to E and M: M 1, N 0.6; E 1, M 1; the photos lie 0.8 apart.
    assert values(Copying(), evidence()) == close(
        {"diverse": 0.9, "diverse.above": 0.75, "real": 0.8}
    )


def test_copies_are_those_of_photos_that_were_learnt_from():
    # One photo was left out; nothing can have been copied from it.
    given = evidence(photos=painted([2]), learnt=painted([0, 1]))
    assert values(Copying(), given) == values(Copying(), evidence())
    assert values(Dino(), given) != values(Dino(), evidence())


def test_photos_are_not_compared_with_themselves():
    # E, M and S lie 0.8, 0.6 and 0.96 apart; their nearest others 0.8, 0.96 and 0.96.
    given = evidence(photos=painted([0, 1, 2]))
    assert values(Dino(), given)["real"] == close(2.36 / 3)
    assert values(Copying(), given)["real"] == close(2.72 / 3)


def test_of_one_photo_there_is_no_ceiling():
    # To E: M 0.8, N 0; E 1, M 0.8.
    given = evidence(photos=painted([0]))
    assert "real" not in ClipI().score(given)
    assert values(Copying(), given) == close({"diverse": 0.65})


def test_a_picture_is_as_like_itself_as_can_be():
    given = evidence(
        photos=painted([1]), subject={"simple": PictureSet(("a photo of {}",), painted([[1]]))}
    )
    for metric in (ClipI(), Dino(), Copying()):
        assert values(metric, given)["simple"] == close(1.0)


def test_the_order_of_photos_prompts_and_pictures_does_not_count():
    rng = np.random.default_rng(0)
    answers = torch.nn.functional.normalize(torch.tensor(rng.normal(size=(20, 8))), dim=-1)
    texts = dict(
        zip(("a red dog", "a wet dog", "a dog in the snow"), answers.tolist(), strict=False)
    )
    numbers, photos = rng.permutation(15).reshape(3, 5), np.arange(15, 20)
    templates = ("a red {}", "a wet {}", SNOW)

    def scored(order, within, among):
        pictures = PictureSet(
            tuple(templates[row] for row in order), painted(numbers[order][:, within])
        )
        judge = Given(answers.tolist(), texts)
        judges = Judges(clip=judge, dino=judge, lpips=PaintDistance())
        sets = {"class": pictures}
        given = evidence(
            photos=painted(photos[among]),
            subject={"diverse": pictures},
            others=sets,
            untouched=sets,
            judges=judges,
        )
        metrics = (ClipI(), Dino(), ClipT(), Preservation(), Diversity(), Copying())
        return [values(metric, given) for metric in metrics]

    plain = scored([0, 1, 2], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    other = scored([2, 0, 1], [3, 1, 0, 4, 2], [4, 2, 3, 0, 1])
    for before, after in zip(plain, other, strict=True):
        assert after == close(before)


@pytest.mark.parametrize("noun", ["dog", "stuffed animal"])
def test_a_prompt_is_asked_with_its_noun_and_without_the_learnt_word(noun):
    clip = Given([EAST, STEEP, MID, NORTH])
    ClipT().score(evidence(noun=noun, judges=Judges(clip, clip)))
    assert set(clip.asked) == {
        f"a {noun} in the snow",
        f"a red {noun}",
        f"a {noun}",
        "a photo of a cat",
    }


def test_every_picture_and_text_is_encoded_once():
    clip, dino = Given([EAST, STEEP, MID, NORTH], TEXTS), Given([EAST, MID, STEEP, NORTH])
    judges = Judges(
        RememberingTextJudge(clip, "a clip", "as it is"), RememberingJudge(dino, "a dino", "whole")
    )
    given = evidence(judges=judges)
    metrics = (ClipI(), Dino(), ClipT(), Preservation(), Diversity(), Copying())
    for metric in metrics:
        assert values(metric, given) == close(values(metric, evidence()))
    for judge in (clip, dino):
        looked = list(chain.from_iterable(judge.looked))
        assert sorted(looked) == sorted(set(looked))
    # New pictures come in one call, each once, and the answers in the order of the question.
    fresh = Given([EAST, MID, STEEP, NORTH])
    memory = RememberingJudge(fresh, "a dino", "whole")
    memory.images(painted([2]))
    assert (
        memory.images(painted([3, 2, 1, 3])).tolist()
        == torch.tensor([NORTH, STEEP, MID, NORTH]).tolist()
    )
    assert fresh.looked == [[2], [3, 1]]
    assert sorted(clip.asked) == sorted(TEXTS)


def test_pictures_of_equal_bytes_and_other_shape_are_not_confused():
    class Shapes:
        def images(self, pictures):
            return torch.tensor([[float(pictures.shape[1])]] * len(pictures))

    memory = RememberingJudge(Shapes(), "shapes", "whole")
    assert memory.images(np.zeros((1, 2, 8, 3), dtype=np.uint8)).item() == 2
    assert memory.images(np.zeros((1, 4, 4, 3), dtype=np.uint8)).item() == 4


def test_conventions_name_the_network_and_what_it_is_fed():
    judges = Judges(
        RememberingTextJudge(Given([EAST]), "a clip", "as it is"),
        RememberingJudge(Given([EAST]), "a dino", "whole"),
    )
    assert ClipI().convention(judges) == "a clip, as it is"
    assert ClipT().convention(judges).startswith("a clip, as it is; prompts with the class noun")
    assert Diversity().convention(judges) == "1 - cosine by a dino, whole; no LPIPS"
    measured = replace(judges, lpips=PaintDistance())
    assert Diversity().convention(measured) == "1 - cosine by a dino, whole; paint"
    for metric in (Dino(), Preservation(), Copying()):
        assert metric.convention(judges) == "a dino, whole"
    assert Dino().convention(evidence().judges) == "given, numbers"
