"""The examiner: what it should answer, what it learns from, and that it learns."""

import json
from dataclasses import replace

import pytest
import torch

from rarebooth.errors import ResourceError
from rarebooth.metrics.encoders.examiner import Examiner
from rarebooth.pretrain.autoencoder import as_input
from rarebooth.pretrain.examiner.labels import NONE, UNASKED, questions, targets, truth
from rarebooth.pretrain.examiner.learning import FILE, examiner_loss, new_network, train_examiner
from rarebooth.pretrain.examiner.network import FEATURES, ExaminerNetwork
from rarebooth.pretrain.examiner.packing import WEIGHTS, pack_examiner
from rarebooth.pretrain.examiner.scenes import INSTANCES, draw_examiner_scenes, wearers
from rarebooth.pretrain.examiner.softening import SHIFT, soften
from rarebooth.pretrain.rendering import render_shards
from rarebooth.pretrain.training import read_averages, read_curve, read_progress
from rarebooth.world.render import Pictures, render
from rarebooth.world.scene import Scene
from rarebooth.world.toys import load_toy
from rarebooth.world.traits import traits

SECOND = 1 / 60


def painted(scenes, size, device):
    """Pictures whose colour tells the place, at no cost."""
    places = questions()["context"]
    shades = torch.tensor([places.index(scene.place) * 12 for scene in scenes], dtype=torch.uint8)
    images = shades[:, None, None, None].expand(-1, size, size, 3).contiguous()
    return Pictures(images, torch.zeros(len(scenes), size, size, dtype=torch.bool))


def bare(like):
    """The first red individual of a class for whose large parts ``like`` holds."""
    for instance in range(100_000):
        known = traits("backpack", instance)
        pairs = zip(load_toy("backpack").parts, known.colours, strict=True)
        large = {colour for part, colour in pairs if part.role in {"main", "second"}}
        if known.main_colour == "red" and like(large):
            return Scene("backpack", instance, "snow", 1)
    raise AssertionError("no such individual")


def test_the_truth_is_what_a_scene_says():
    scene = Scene("dog", 7, "jungle", 1, "purple")
    assert truth(scene) == {
        "class": "dog",
        "context": "jungle",
        "colour": "purple",
        "property": "purple",
        "accessory": NONE,
    }
    assert truth(replace(scene, quality=None, outfit="chef"))["accessory"] == "chef"
    wet = truth(replace(scene, quality="wet"))
    assert (wet["property"], wet["colour"]) == ("wet", traits("dog", 7).main_colour)


def test_a_toy_that_is_all_red_by_nature_counts_as_red_because_none_could_tell():
    natural, mixed = bare(lambda large: large == {"red"}), bare(lambda large: len(large) > 1)
    assert truth(natural)["property"] == "red"
    assert truth(mixed)["property"] == NONE
    assert truth(mixed)["colour"] == "red"
    assert truth(replace(natural, quality="shiny"))["property"] == "shiny"


def test_targets_are_the_positions_of_the_right_words():
    scenes = draw_examiner_scenes(0, 0, 20)
    assert any(scene.outfit for scene in scenes)
    for row, scene in zip(targets(scenes).tolist(), scenes, strict=True):
        right = truth(scene)
        for number, (name, words) in zip(row, questions().items(), strict=True):
            if name == "colour" and scene.outfit:
                assert number == UNASKED
            else:
                assert words[number] == right[name]


def test_scenes_show_every_answer_and_only_the_examiners_own_individuals():
    scenes = draw_examiner_scenes(0, 0, 3000)
    assert {scene.instance for scene in scenes} <= set(INSTANCES)
    assert all(scene.outfit is None or scene.quality is None for scene in scenes)
    assert all(scene.outfit is None or scene.toy in wearers() for scene in scenes)
    shown = targets(scenes)
    for number, (name, words) in enumerate(questions().items()):
        missing = {words[n] for n in set(range(len(words))) - set(shown[:, number].tolist())}
        assert missing <= {"gray"}, name
    assert scenes == draw_examiner_scenes(0, 0, 3000) != draw_examiner_scenes(0, 1, 3000)


def test_softening_is_mild_and_depends_on_its_generator_alone():
    pictures = render(draw_examiner_scenes(0, 0, 4), size=64).images.permute(0, 3, 1, 2)
    given = pictures.float() / 127.5 - 1

    def softened(seed):
        return soften(given, torch.Generator().manual_seed(seed))

    one = softened(1)
    assert one.shape == given.shape
    assert torch.equal(one, softened(1))
    assert not torch.equal(one, softened(2))
    nearest = torch.stack(
        [
            (one - side.roll((down, right), (2, 3))).abs().mean((1, 2, 3))
            for side in (given, given.flip(-1))
            for down in range(-SHIFT, SHIFT + 1)
            for right in range(-SHIFT, SHIFT + 1)
        ]
    ).amin(0)
    assert nearest.max() < 0.25


def test_answers_do_not_depend_on_the_batch():
    torch.manual_seed(0)
    network = ExaminerNetwork([3, 4])
    pictures = torch.randn(3, 3, 32, 32)
    together, alone = network(pictures), network(pictures[1:2])
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one[1:2], other, atol=1e-5, rtol=1e-4)
    assert network.features(pictures).shape == (3, FEATURES)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A state that has learnt for a few seconds, in two sittings."""
    folder = tmp_path_factory.mktemp("examiner")
    data, state = folder / "data", folder / "state"
    render_shards(
        data,
        [0],
        seed=0,
        size=16,
        renderer=painted,
        draw=draw_examiner_scenes,
        shard_size=200,
    )
    train_examiner(data, state, minutes=SECOND, batch=16)
    first = read_progress(state / FILE)
    train_examiner(data, state, minutes=3 * SECOND, batch=16)
    return folder, first


def test_training_goes_on_where_it_was(trained):
    folder, first = trained
    after = read_progress(folder / "state" / FILE)
    assert after["step"] > first["step"] > 0
    assert after["notes"]["answers"]["class"] == list(questions()["class"])
    curve = [line for line in read_curve(folder / "state" / FILE) if "context" in line]
    assert [line["step"] for line in curve] == [first["step"], after["step"]]
    assert set(questions()) < set(curve[-1])


def test_the_loss_teaches():
    torch.manual_seed(0)
    network = ExaminerNetwork([len(words) for words in questions().values()], (8, 16), 1)
    scenes = draw_examiner_scenes(0, 0, 32)
    pictures = painted(scenes, 16, "cpu").images.permute(0, 3, 1, 2) / 127.5 - 1
    right = targets(scenes)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(150):
        loss = examiner_loss(network(pictures), right)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = network(pictures)[list(questions()).index("context")].argmax(1)
    assert (found == right[:, 1]).float().mean() > 0.5


def test_what_is_packed_is_small_and_reads_as_the_average_did(trained):
    folder, _ = trained
    out = folder / "packed"
    pack_examiner(folder / "state", out, machine="a test")
    assert sum(file.stat().st_size for file in out.iterdir()) < 1.8e6
    recipe = json.loads((out / "recipe.json").read_text("utf-8"))
    assert recipe["machine"] == "a test"
    assert recipe["pictures"] == 16 * recipe["steps"]
    assert {"pictures", "loss", *questions()} == set(recipe["curve"][-1])

    examiner = Examiner.load(out)
    scenes = draw_examiner_scenes(9, 9, 60)
    pictures = painted(scenes, 16, "cpu").images
    found = examiner.read(pictures)
    network = new_network()
    read_averages(folder / "state" / FILE, network, "examiner")
    logits = network(as_input(pictures))
    for (name, words), scores in zip(questions().items(), logits, strict=True):
        same = [words[n] == found[name][row] for row, n in enumerate(scores.argmax(1).tolist())]
        assert sum(same) >= 57, name  # float16 may turn a tie
    assert examiner.features(pictures).shape == (60, FEATURES)
    larger = pictures.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert examiner.read(larger) == found


def test_a_folder_without_an_examiner_is_named(tmp_path, trained):
    with pytest.raises(ResourceError, match="holds no examiner"):
        Examiner.load(tmp_path)
    pack_examiner(trained[0] / "state", tmp_path / "cut", machine="a test")
    weights = tmp_path / "cut" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ResourceError, match="holds no examiner"):
        Examiner.load(tmp_path / "cut")
