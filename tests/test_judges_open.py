"""Judges are opened for a base, and those that come with rarebooth see what they should."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rarebooth.errors import SettingsError
from rarebooth.metric import Evidence, PictureSet
from rarebooth.metrics.asked import Asked
from rarebooth.metrics.clip_i import ClipI
from rarebooth.metrics.clip_t import ClipT
from rarebooth.metrics.copying import Copying
from rarebooth.metrics.dino import Dino
from rarebooth.metrics.encoders import judges as opening
from rarebooth.metrics.encoders import lpips
from rarebooth.metrics.encoders.judges import open_judges
from rarebooth.metrics.placement import TRUTH_SHOTS, stranger_renders, true_renders
from rarebooth.world.subjects import find

SIZE, SHOWN = 64, 4
SNOW = "a {} in the snow"


@pytest.fixture(scope="module")
def judges():
    return open_judges("embedded")


@pytest.fixture(scope="module")
def photos():
    return true_renders(find("dog"), Asked(), SIZE, SHOWN, TRUTH_SHOTS + 100).images


@pytest.fixture(scope="module")
def drawn(judges, photos):
    """Evidence in which some pictures were drawn of a snowy scene."""
    renders = {
        "true": true_renders(find("dog"), Asked("snow"), SIZE, SHOWN).images,
        "strangers": stranger_renders(find("dog"), Asked("snow"), SIZE, SHOWN).images,
        "copies": photos,
    }
    sets = {name: PictureSet((SNOW,), images[None]) for name, images in renders.items()}
    return Evidence("dog", photos, sets, {}, {}, judges)


def test_the_embedded_base_has_judges_of_its_own(judges):
    assert (judges.clip.name, judges.dino.name) == ("embedded/clip", "embedded/dino")
    assert judges.lpips is None
    assert judges.reader is not None
    assert judges.reader.name == "embedded/examiner"
    assert ClipI().convention(judges) == (
        "embedded/clip, shorter side 64 bicubic, centre crop 64, projected"
    )
    assert Dino().convention(judges) == (
        "embedded/dino, resized to 64x64 bilinear, class token, last layer"
    )


def test_true_renders_are_more_like_the_photos_than_strangers(drawn):
    scores = Dino().score(drawn)
    assert scores["true"].value > scores["strangers"].value + 0.1
    assert scores["copies"].value > scores["true"].value


def test_copied_photos_light_the_copy_score(drawn):
    scores = Copying().score(drawn)
    assert scores["copies"].value == pytest.approx(1, abs=1e-5)
    assert scores["copies.above"].value == 1
    assert scores["true.above"].value == 0
    assert scores["true"].value < scores["real"].value < 1


def test_the_scene_that_was_asked_for_is_told_from_no_scene(drawn):
    scores = ClipT().score(drawn)
    assert scores["true"].value > scores["copies"].value + 0.1


def test_judges_that_cannot_be_had_are_said(monkeypatch):
    others = ("nobody/has-this-clip", opening.CLIP), opening.PUBLISHED[1]
    monkeypatch.setattr(opening, "PUBLISHED", others)
    with pytest.raises(SettingsError, match=r"judge 'nobody/has-this-clip' .*offline.*choose last"):
        open_judges("sd15")
    assert opening.pending("embedded") == []
    said = opening.pending("sd15")[0]
    assert said.startswith("nobody/has-this-clip would be downloaded")


class FakeNetwork(torch.nn.Module):
    """Stands for ``lpips.LPIPS``: keeps what it is given, and answers the mean difference."""

    def __init__(self, net, verbose):
        super().__init__()
        self.net = net
        self.given = []

    def forward(self, one, other):
        self.given.append((one, other))
        return (one - other).abs().mean(dim=(1, 2, 3), keepdim=True)


def test_lpips_is_alex_on_pictures_from_minus_one_to_one(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=FakeNetwork))
    distance = lpips.installed()
    assert distance is not None
    assert (distance.name, distance.network.net) == ("lpips alex", "alex")
    assert not distance.network.training
    many = lpips.PAIRS + 1
    one = np.zeros((many, 4, 4, 3), dtype=np.uint8)
    other = one.copy()
    other[-1, ..., 0] = 255
    expected = torch.zeros(many)
    expected[-1] = 2 / 3
    torch.testing.assert_close(distance.between(one, other), expected)
    first, second = distance.network.given[-1]
    assert first.shape == (1, 3, 4, 4)
    assert first.unique().tolist() == [-1.0]
    assert second[0, :, 0, 0].tolist() == [1.0, -1.0, -1.0]


@pytest.mark.parametrize("error", [ImportError, RuntimeError, OSError])
def test_without_lpips_there_is_none(monkeypatch, error):
    def fail(**_):
        raise error

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=fail))
    assert lpips.installed() is None
    monkeypatch.setitem(sys.modules, "lpips", None)
    assert lpips.installed() is None
