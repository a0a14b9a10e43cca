"""Metrics against the truth: the untouched base, and what the miniature world can render."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rarebooth.errors import SettingsError
from rarebooth.metric import Evidence, Judges, PictureSet
from rarebooth.metrics.asked import asked
from rarebooth.metrics.class_quality import ClassQuality
from rarebooth.metrics.drift import Drift
from rarebooth.metrics.encoders.judges import open_judges
from rarebooth.metrics.entanglement import Entanglement, parts
from rarebooth.metrics.following import Following
from rarebooth.metrics.kid import kernel_distance
from rarebooth.metrics.lab import lab
from rarebooth.metrics.palette import truth
from rarebooth.metrics.placed import Placed
from rarebooth.metrics.placement import stranger_renders, true_renders
from rarebooth.metrics.sharp import Sharpness
from rarebooth.metrics.sharpness import sharpness
from rarebooth.prompts import PLAIN
from rarebooth.protocols import UNRELATED
from rarebooth.world.render import render
from rarebooth.world.subjects import example

SIZE, COUNT = 32, 6
SNOW = "a {} in the snow"
TEAPOT = example("teapot")
TEAPOTS, DOGS = (prompt for _, prompt in UNRELATED[:2])


@pytest.fixture(scope="module")
def judges():
    return open_judges("embedded")


@pytest.fixture(scope="module")
def photos():
    scenes = TEAPOT.scenes(TEAPOT.photo_places, TEAPOT.instance)
    return render(scenes, size=SIZE).images.numpy()


def drawn(who, *templates):
    """Renders that no truth was made from, as if a model had drawn them."""
    shown = [who(TEAPOT, asked(template), SIZE, COUNT, 6_000_000) for template in templates]
    return PictureSet(templates, np.stack([each.images for each in shown]))


@pytest.fixture(scope="module")
def same():
    """The subject itself in each of two protocols, with nothing beside it."""
    return {"diverse": drawn(true_renders, SNOW), "simple": drawn(true_renders, PLAIN)}


@pytest.fixture(scope="module")
def others():
    return {"diverse": drawn(stranger_renders, SNOW), "simple": drawn(stranger_renders, PLAIN)}


class Given:
    """Answers by the number that a picture is painted with."""

    name = "given"
    fed = "numbers"

    def __init__(self, *answers):
        self.answers = answers

    def images(self, pictures):
        return torch.tensor([self.answers[picture[0, 0, 0]] for picture in pictures])

    def texts(self, texts):
        raise AssertionError("no metric here compares pictures with texts")

    def read(self, pictures):
        rows = [self.answers[picture[0, 0, 0]] for picture in pictures]
        return {question: [row[question] for row in rows] for question in self.answers[0]}

    def between(self, one, other):
        return torch.tensor(np.abs(one[:, 0, 0, 0].astype(float) - other[:, 0, 0, 0]))


def painted(templates, numbers):
    numbers = np.array(numbers, dtype=np.uint8)[..., None, None, None]
    return PictureSet(templates, np.broadcast_to(numbers, (*numbers.shape[:2], 4, 4, 3)))


def evidence(judges, photos=None, subject=None, tuned=None, base=None):
    blank = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    given = blank if photos is None else photos
    return Evidence("teapot", given, subject or {}, tuned or {}, base or {}, judges, TEAPOT)


def test_the_subject_itself_lies_at_the_ceiling_and_others_at_the_floor(
    judges, photos, same, others
):
    high = Placed().score(evidence(judges, photos, same))
    low = Placed().score(evidence(judges, photos, others))
    assert set(high) >= {"diverse", "diverse.dino", "simple", "simple.dino"}
    for name in ("diverse", "diverse.dino", "simple", "simple.dino"):
        assert high[name].value == pytest.approx(1, abs=0.2), name
        assert low[name].value == pytest.approx(0, abs=0.35), name
    each = high["diverse"].pictures
    assert each is not None
    assert each.shape == (1, COUNT)


def test_a_class_that_became_the_subject_has_leaked(judges, photos, same, others):
    tuned, base = {"class": same["simple"]}, {"class": others["simple"]}
    found = Placed().score(evidence(judges, photos, tuned=tuned, base=base))
    low = Placed().score(evidence(judges, photos, tuned=base, base=base))
    assert found["class"].value == pytest.approx(1, abs=0.2)
    assert found["class.leak"].value == pytest.approx(found["class"].value - low["class"].value)
    assert low["class.leak"].value == 0


def test_a_truth_is_rendered_once():
    assert truth(TEAPOT, asked(SNOW), SIZE) is truth(TEAPOT, asked(SNOW), SIZE)


def test_only_miniatures_are_compared_with_the_truth(judges, photos, same):
    known = evidence(replace(judges, reader=None), photos, same)
    unknown = replace(known, individual=None)
    assert not Placed().score(unknown)
    assert not Entanglement().score(unknown)
    assert not Following().score(unknown)


def test_an_untouched_base_has_not_changed(judges, photos, same, others):
    beside = {"class": others["simple"], "unrelated": drawn(true_renders, SNOW)}
    beside["unrelated"] = replace(beside["unrelated"], templates=(TEAPOTS,))
    given = evidence(judges, photos, same, tuned=beside, base=beside)
    drift = Drift().score(given)
    assert {name: each.value for name, each in drift.items()} == {
        "class": 0,
        "unrelated": 0,
        "unrelated.class_lost": 0,
    }
    quality = ClassQuality().score(given)
    assert quality["class.frechet"].value == pytest.approx(0, abs=1e-6)
    assert quality["class.kid"].value == pytest.approx(0, abs=1e-9)
    sharp = Sharpness().score(given)
    assert (sharp["class"].value, sharp["class.ratio"].value) == (0, 1)


def test_a_class_that_became_the_subject_is_another_distribution(judges, photos, same, others):
    tuned, base = {"class": same["simple"]}, {"class": others["simple"]}
    found = ClassQuality().score(evidence(judges, photos, tuned=tuned, base=base))
    assert found["class.frechet"].value > 0.05
    assert found["class.kid"].value > 0.1


def test_drift_worked_by_hand():
    looks = Given([1.0, 0.0], [0.8, 0.6], [0.0, 1.0])
    cat, dog = {"class": ["cat"]}, {"class": ["dog"]}
    reads = Given(*({"class": each["class"][0]} for each in (dog, cat, dog)))
    templates = (TEAPOTS, DOGS)
    tuned = {"unrelated": painted(templates, [[1, 0], [1, 1]])}
    base = {"unrelated": painted(templates, [[0, 0], [0, 2]])}
    found = Drift().score(evidence(Judges(looks, looks, looks, reads), tuned=tuned, base=base))
    # 1 - 0.8 and 0; 1 - 0.8 and 1 - 0.6.
    assert found["unrelated"].prompts[TEAPOTS] == pytest.approx(0.1)
    assert found["unrelated"].prompts[DOGS] == pytest.approx(0.3)
    assert found["unrelated"].value == pytest.approx(0.2)
    assert found["unrelated.lpips"].value == pytest.approx((1 + 0 + 1 + 1) / 4)
    # Nothing ever showed a teapot; both dogs became cats.
    assert found["unrelated.class_lost"].prompts == {TEAPOTS: 0, DOGS: 1}


def test_the_kernel_distance_worked_by_hand():
    one, other = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    # Within: 1 and 3³. Across, but for partners: 0 and 2 give 1, 1 and 1 give 8.
    assert kernel_distance(one, other) == pytest.approx(1 + 27 - 2 * 4.5)
    assert kernel_distance(one.double(), one.double()) == 0
    # k = (x·y / 2 + 1)³ of two numbers a row: 1; 2³; 1 and 1.
    wide = torch.tensor([[0.0, 0.0], [3.0, 1.0]]), torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    assert kernel_distance(*wide) == pytest.approx(1 + 8 - 1 - 2.5**3)
    for pair in ((one[:1], other[:1]), (one, other[:1])):
        with pytest.raises(SettingsError, match="2 pictures or more"):
            kernel_distance(*pair)


def test_the_kernel_distance_of_equal_distributions_is_zero_on_average():
    rng = torch.Generator().manual_seed(0)
    pairs = torch.randn(400, 2, 6, 3, generator=rng)
    equal = torch.tensor([kernel_distance(one, other) for one, other in pairs])
    moved = torch.tensor([kernel_distance(one, other + 0.5) for one, other in pairs])
    assert abs(equal.mean()) < 3 * equal.std() / 20
    assert moved.mean() > 6 * moved.std() / 20


def test_sharpness_worked_by_hand():
    picture = np.zeros((3, 4, 3), dtype=np.uint8)
    picture[1, 1] = 100
    # The Laplacian is -400 at the point and 100 beside it.
    assert sharpness(picture) == pytest.approx(250**2)
    assert sharpness(np.stack([picture, picture // 2])).tolist() == pytest.approx([250**2, 125**2])


def test_pictures_of_half_the_contrast_are_two_doublings_away(judges, photos):
    faint, strong = photos // 2, photos // 2 * 2
    subject = {"simple": PictureSet((PLAIN,), faint[None])}
    found = Sharpness().score(evidence(judges, strong, subject))
    assert found["simple.ratio"].value == pytest.approx(0.25)
    assert found["simple"].value == pytest.approx(2)
    flat = np.zeros_like(photos)
    assert not Sharpness().score(evidence(judges, flat, subject))


def toys_tinted(pictures, scene):
    """Pictures whose toy, and nothing else, has turned half green."""
    shown = pictures.images.copy()
    toy = true_renders(TEAPOT, asked(scene), SIZE, COUNT, 6_000_000).masks
    shown[0][toy] = (shown[0][toy] // 2 + np.array([0, 127, 0])).astype(np.uint8)
    return replace(pictures, images=shown)


def test_a_toy_recoloured_by_its_context_is_entangled(judges, photos, same):
    wrong = {
        "diverse": toys_tinted(same["diverse"], SNOW),
        "simple": toys_tinted(same["simple"], PLAIN),
    }
    right = Entanglement().score(evidence(judges, photos, same))
    assert right["diverse"].value == pytest.approx(right["diverse.ceiling"].value, abs=3)
    assert right["diverse"].value == pytest.approx(
        right["diverse.error"].value - right["simple.error"].value
    )
    in_snow = {**same, "diverse": wrong["diverse"]}
    entangled = Entanglement().score(evidence(judges, photos, in_snow))
    assert entangled["diverse"].value > right["diverse"].value + 15
    # Wrong everywhere is a poor likeness, but no entanglement.
    everywhere = Entanglement().score(evidence(judges, photos, wrong))
    assert everywhere["simple.error"].value > right["simple.error"].value + 15
    assert everywhere["diverse"].value < entangled["diverse"].value - 15


def test_entanglement_is_of_places_alone_and_needs_both_protocols(judges, photos, same):
    assert not Entanglement().score(evidence(judges, photos, {"diverse": same["diverse"]}))
    red = replace(same["diverse"], templates=("a red {}",))
    assert not Entanglement().score(evidence(judges, photos, {**same, "diverse": red}))


def test_parts_are_apart_and_of_the_toy():
    known, seen = parts(TEAPOT, asked(SNOW), SIZE), truth(TEAPOT, asked(SNOW), SIZE)
    assert len(known.masks) > 1
    assert known.masks.sum(axis=0).max() == 1
    assert not (known.masks.any(axis=0) & ~seen.toy).any()


def test_lab_of_known_colours():
    colours = np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]])
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]]
    assert lab(colours) == pytest.approx(np.array(expected), abs=0.05)


def test_following_worked_by_hand():
    row = {"class": "teapot", "context": "snow", "colour": "red", "property": "none"}
    reads = Given(row, {**row, "context": "beach", "class": "dog", "property": "shiny"})
    templates = (SNOW, "a red {}", "a shiny {}")
    subject = {"diverse": painted(templates, [[0, 1], [0, 0], [0, 1]])}
    found = Following().score(evidence(Judges(reads, reads, None, reads), subject=subject))
    assert found["diverse"].prompts == {SNOW: 0.5, "a red {}": 1, "a shiny {}": 0.5}
    assert found["diverse"].value == pytest.approx(2 / 3)
    assert found["diverse.class"].value == pytest.approx(4 / 6)
    assert found["diverse.context"].value == 0.5
    assert found["diverse.property"].value == 0.75
    assert "diverse.accessory" not in found


def test_true_renders_show_what_was_asked_for_and_nothing_else(judges, photos):
    templates = (SNOW, "a cube shaped {}")
    shown = np.stack([true_renders(TEAPOT, asked(each), 64, COUNT).images for each in templates])

    def followed(*claimed):
        subject = {"diverse": PictureSet(claimed, shown)}
        return Following().score(evidence(judges, photos, subject))

    right, wrong = followed(*templates), followed("a {} on the beach", "a wet {}")
    assert right["diverse.context"].value == 1
    assert right["diverse.property"].value > 0.7
    assert right["diverse.class"].value > 0.8
    assert wrong["diverse"].value == 0


@pytest.mark.parametrize(
    "metric", [Placed(), Entanglement(), Following(), Drift(), ClassQuality(), Sharpness()]
)
def test_conventions_name_who_looked(metric, judges):
    told = metric.convention(judges)
    assert told
    assert metric.convention(replace(judges, reader=None))
    if isinstance(metric, Following):
        assert told == "embedded/examiner"
