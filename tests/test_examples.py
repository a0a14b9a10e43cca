"""The subjects that come with rarebooth are what the world renders, and are known as its own."""

import tomllib

import numpy as np
import pytest
from PIL import Image

from rarebooth.examples import examples
from rarebooth.photos import world_mark
from rarebooth.subject import read_folder
from rarebooth.world.draw import TRAINING_INSTANCES
from rarebooth.world.render import render
from rarebooth.world.subjects import EXAMPLES, PHOTO_PLACES, VALIDATION_FROM, example
from rarebooth.world.traits import traits


@pytest.mark.parametrize("toy", EXAMPLES)
def test_photos_are_the_renders_of_an_individual_that_training_never_draws(toy: str):
    individual = example(toy)
    assert TRAINING_INSTANCES <= individual.instance < VALIDATION_FROM
    about = tomllib.loads((examples() / toy / "subject.toml").read_text("utf-8"))
    assert about == {"noun": toy, "instance": individual.instance}
    rendered = render(individual.scenes(PHOTO_PLACES, individual.instance), size=64).images.numpy()
    files = sorted((examples() / toy).glob("*.png"))
    shipped = np.stack([np.asarray(Image.open(file)) for file in files])
    # Machines round differently at the edges of toys, where a ray just hits or just misses.
    differing = (np.abs(shipped.astype(int) - rendered.astype(int)) > 2).mean()
    assert differing < 0.01


@pytest.mark.parametrize("toy", EXAMPLES)
def test_each_example_has_two_colours_and_a_pattern(toy: str):
    found = traits(toy, example(toy).instance)
    assert found.pattern != "none"
    assert found.main_colour != found.pattern_colour == found.second_colour


@pytest.mark.parametrize("toy", EXAMPLES)
def test_examples_are_read_as_miniature_photos(toy: str):
    folder = examples() / toy
    assert all(world_mark(file) for file in folder.glob("*.png"))
    subject = read_folder(folder, toy, 64)
    assert len(subject.photos) == len(PHOTO_PLACES)
    assert not subject.refused


def test_a_photo_of_the_real_world_is_not_miniature(tmp_path):
    Image.new("RGB", (80, 80), "red").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert not world_mark(tmp_path / "a.png")
    assert not world_mark(tmp_path / "b.png")
    assert not world_mark(tmp_path / "absent.png")


def test_photos_of_strangers_are_asked_for_their_mark_without_a_decoder(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("a decoder was started"))
    file = next((examples() / "dog").glob("*.png"))
    content = file.read_bytes()
    assert str(world_mark(file)).startswith("dog ")
    path = tmp_path / "a.png"
    for changed in (
        content.replace(b"rarebooth:world\0\0", b"rarebooth:world\0\1"),  # compressed
        content.replace(b"dog ", b"dig "),
        content.replace(b"\x89PNG", b"\x89PNX"),
        content[:8] + b"\xff\xff\xff\xffiTXtrarebooth:world\0\0\0\0\0" + b"dog 1" * 10**6,
        content[:60],
    ):
        path.write_bytes(changed)
        assert world_mark(path) is None
