"""The exam: its figures, its verdicts, its table, and its record."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import rarebooth
from rarebooth.cli import run
from rarebooth.errors import ResourceError, SettingsError
from rarebooth.exam import extent as extents
from rarebooth.exam import sitting
from rarebooth.exam.autoencoder import autoencoder_rows, psnr
from rarebooth.exam.candidate import Candidate
from rarebooth.exam.distance import distance_row
from rarebooth.exam.extent import Extent
from rarebooth.exam.following import asked, following_rows
from rarebooth.exam.footprint import resolution_row, size_rows
from rarebooth.exam.outlook import (
    NO_CURVE,
    answers_outlook,
    autoencoder_outlook,
    denoiser_outlook,
)
from rarebooth.exam.reading import BARS, reading_rows
from rarebooth.exam.record import exam_record
from rarebooth.exam.row import Row, absent, line
from rarebooth.exam.sitting import PACKAGE, PARTS, ROWS, Helpers, Part, sit
from rarebooth.exam.speed import speed_row
from rarebooth.exam.strangers import INSTANCES, with_and_without_outfit, with_and_without_property
from rarebooth.metrics.frechet import frechet_distance
from rarebooth.pretrain.examiner.labels import NONE, questions, truth
from rarebooth.prompts import dreambench
from rarebooth.world.render import Pictures
from rarebooth.world.toys import TOYS

TINY = Extent(coded=2, read=24, stride=60, steps=1, compared=3, compared_steps=1, judged=2, timed=1)

RECIPE = {
    "version": "embedded-0",
    "machine": "2 CPU cores",
    "autoencoder": {"pictures": 1000, "minutes": 10, "loss": [[10, 0.9], [100, 0.4], [200, 0.2]]},
    "denoiser": {"pictures": 3000, "minutes": 20, "loss": [[10, 0.5], [100, 0.4], [200, 0.38]]},
}


class World:
    """Renders nothing, but remembers what it was asked to photograph."""

    def __init__(self):
        self.scenes: Any = []

    def __call__(self, scenes, size):
        self.scenes = scenes
        noise = torch.Generator().manual_seed(len(scenes))
        images = torch.randint(0, 256, (len(scenes), size, size, 3), generator=noise)
        masks = torch.zeros(len(scenes), size, size, dtype=torch.bool)
        masks[:, :4] = True
        return Pictures(images.to(torch.uint8), masks)


class Perfect:
    """An examiner that knows which scenes were photographed."""

    size = 8

    def __init__(self, world):
        self.world = world

    def read(self, pictures):
        right = [truth(scene) for scene in self.world.scenes]
        return {name: [each[name] for each in right] for name in questions()}

    def features(self, pictures):
        return pictures.float().mean((1, 2))


class Blind(Perfect):
    """An examiner that says the same of every picture."""

    def read(self, pictures):
        return {name: [words[0]] * len(pictures) for name, words in questions().items()}


class Draws:
    """A base whose pictures carry the number of their prompt, and an examiner that reads it."""

    recipe = RECIPE
    guidance = 4.0

    def __init__(self, wrong=()):
        self.wrong = wrong
        self.prompts: Any = []

    def draw(self, prompts, seed, steps):
        self.prompts = prompts
        return torch.zeros(len(prompts), 8, 8, 3, dtype=torch.uint8)

    def read(self, pictures):
        assert len(pictures) == len(self.prompts)
        known = {each.prompt: each for each in asked()}
        answers = []
        for prompt in self.prompts:
            each = known[prompt]
            found = {name: NONE for name in questions()}
            found |= {"class": each.toy, each.question: each.answer}
            if any(word in prompt for word in self.wrong):
                found = {name: "something else" for name in found}
            answers.append(found)
        return {name: [found[name] for found in answers] for name in questions()}


@pytest.fixture
def tiny(tiny_base):
    base = tiny_base()
    return Candidate(base, Path("nowhere"), RECIPE, guidance=2.0)


def test_the_frechet_distance_of_two_normals_worked_by_hand():
    # Means (0, 0) and (3, 4), variances (1, 4) and (9, 1), uncorrelated:
    # 25 + (1 - 3)² + (2 - 1)² = 30.
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]).repeat(3, 1)
    unit = corners * math.sqrt(11 / 12)  # variance one, counted with N - 1
    one = unit * torch.tensor([1.0, 2.0])
    other = unit * torch.tensor([3.0, 1.0]) + torch.tensor([3.0, 4.0])
    assert frechet_distance(one, other) == pytest.approx(30, abs=1e-5)
    assert frechet_distance(other, one) == pytest.approx(30, abs=1e-5)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    assert frechet_distance(one @ turn, other @ turn) == pytest.approx(30, abs=1e-4)


def test_the_frechet_distance_of_a_set_to_itself_is_nothing():
    features = torch.randn(5, 20, generator=torch.Generator().manual_seed(0))  # fewer than wide
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    with pytest.raises(SettingsError, match="2 pictures or more"):
        frechet_distance(features[:1], features)


def test_psnr_worked_by_hand():
    pictures = torch.full((2, 4, 4, 3), 100, dtype=torch.uint8)
    again = pictures.clone()
    again[0] += 51  # a fifth of the range, in half of the pixels: the mean square is 0.02
    assert psnr(pictures, again) == pytest.approx(-10 * math.log10(0.02))
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0] = True
    assert psnr(pictures, again, mask) == pytest.approx(-10 * math.log10(0.04))
    assert psnr(pictures, pictures) == math.inf


def test_every_prompt_of_dreambench_and_every_colour_is_asked():
    questions_asked = asked()
    live = {"dog", "cat"}
    for toy in TOYS:
        mine = [each for each in questions_asked if each.toy == toy]
        prompts = [each.prompt for each in mine]
        templates = dreambench(live=toy in live)
        assert prompts[:25] == [template.format(toy) for template in templates]
        rows = [each.row for each in mine]
        counts = {row: rows.count(row) for row in dict.fromkeys(rows)}
        scenes = {"context": 10, "accessory": 10} if toy in live else {"context": 20}
        assert counts == {**scenes, "property": 5, "colour": 11}
        assert f"an orange {toy}" in prompts
    assert all(each.answer in questions()[each.question] for each in questions_asked)
    known = {each.prompt: each for each in questions_asked}
    assert known["a dog in a chef outfit"][2:] == ("accessory", "accessory", "chef")
    assert known["a can in the jungle"][2:] == ("context", "context", "jungle")
    assert known["a wet can"][2:] == ("property", "property", "wet")


def test_red_is_read_as_a_colour_because_a_caption_cannot_tell_why_it_is_red():
    found = [each for each in asked() if each.prompt == "a red vase"]
    assert [each[2:] for each in found] == [
        ("property", "colour", "red"),
        ("colour", "colour", "red"),
    ]


def test_a_base_that_draws_everything_passes_and_is_read_in_every_row():
    base: Any = Draws()
    rows = list(following_rows(base, base, Extent()))
    assert [row.verdict for row in rows] == ["pass"] * 5
    assert [row.values["pictures"] for row in rows] == [540, 280, 165, 75, 20]
    assert all(row.values["share"] == 1 and not row.wanted for row in rows)


def test_what_a_base_cannot_draw_is_missed_in_its_rows_and_named():
    base: Any = Draws(wrong=("wearing", " outfit", "pink "))
    extent = Extent(per_prompt=2)
    rows = {row.name: row for row in following_rows(base, base, extent)}
    assert rows["base, accessory"].verdict == "miss"
    assert rows["base, accessory"].values["share"] == 0
    assert rows["base, accessory"].values["pictures"] == 40
    assert rows["base, property"].verdict == "pass"
    # "on top of pink fabric" of fifteen toys, twice each.
    assert rows["base, context"].values["wrong"] == {"pink_fabric": 30}
    assert "worst: pink" in rows["base, colour"].figure
    assert "the loss fell by 5.0 % per doubling" in rows["base, accessory"].wanted


def test_a_perfect_examiner_passes_and_a_blind_one_does_not():
    world = World()
    perfect: Any = Perfect(world)
    rows = list(reading_rows(perfect, {}, TINY, world))
    assert [row.verdict for row in rows] == ["pass"] * len(BARS)
    blind: Any = Blind(world)
    rows = {row.name.split()[-1]: row for row in reading_rows(blind, {}, TINY, world)}
    assert {row.verdict for row in rows.values()} == {"miss"}
    assert rows["accessory"].values["shares"] == [0, 1]  # "none" is right where there is none
    assert rows["accessory"].values["share"] == 0.5
    assert rows["class"].wanted == NO_CURVE


def test_questions_with_a_none_are_asked_evenly_of_strangers():
    dressed, bare = with_and_without_outfit(40, "a")
    shiny, plain = with_and_without_property(40, "a")
    assert len(dressed) == len(bare) == len(shiny) == len(plain) == 20
    assert all(s.outfit is not None and s.quality is None for s in dressed)
    assert all(s.toy in {"dog", "cat"} and s.outfit is None for s in bare)
    assert all(s.quality is not None and s.outfit is None for s in shiny)
    assert all(s.quality is None and s.outfit is None for s in plain)
    assert {s.instance in INSTANCES for s in (*dressed, *bare, *shiny, *plain)} == {True}


def test_the_autoencoder_is_measured_in_the_picture_and_on_the_toy(tiny):
    whole, toy = autoencoder_rows(tiny, TINY, World())
    assert (whole.verdict, toy.verdict) == ("miss", "miss")  # it is random
    assert whole.values["decibels"] != toy.values["decibels"]
    assert "extrapolating 6.02 dB per doubling" in whole.wanted


def test_distances_are_measured_from_the_same_renders(tiny):
    world = World()
    examiner: Any = Perfect(world)
    row = distance_row(tiny, examiner, TINY, world)
    assert {"renders", "coded", "base"} < set(row.values)
    # This world photographs every set alike, so renders do not differ from renders.
    assert row.values["renders"] == pytest.approx(0, abs=1e-6)
    assert row.values["coded"] > 1
    again = distance_row(tiny, examiner, TINY, world)
    assert again == row
    assert distance_row(tiny, None, TINY, world).verdict == "absent"


def test_the_speed_is_a_median_of_pictures(tiny):
    row = speed_row(tiny, Extent(timed=3))
    assert row.values["seconds"] == pytest.approx(sorted(row.values["each"])[1])
    assert row.values["on"] == "1 thread"


def test_sizes_are_those_of_the_files(tmp_path):
    base, judges = tmp_path / "base", tmp_path / "judges"
    for folder, size in ((base / "unet", 44_000_001), (judges / "clip", 300)):
        folder.mkdir(parents=True)
        with (folder / "weights").open("wb") as file:
            file.truncate(size)
    candidate: Any = SimpleNamespace(folder=base)
    rows = list(size_rows(candidate, judges, tmp_path / "site" / "rarebooth"))
    assert [row.verdict for row in rows] == ["miss", "pass", "absent"]
    assert rows[0].values == {"bytes": 44_000_001, "files": 1}
    assert rows[1].values["bytes"] == 300
    assert rows[2].figure == "not a checkout"
    assert next(iter(size_rows(candidate, tmp_path / "none", PACKAGE))).verdict == "miss"
    assert list(size_rows(candidate, tmp_path / "none", PACKAGE))[1].verdict == "absent"


@pytest.mark.parametrize(
    ("size", "machine", "verdict"),
    [
        (64, "2 CPU cores", "pass"),
        (64, "an H200 GPU", "miss"),
        (128, "an H200 GPU", "pass"),
        (64, None, "absent"),
    ],
)
def test_the_resolution_is_judged_by_the_machine(size, machine, verdict):
    recipe = {} if machine is None else {"machine": machine}
    candidate: Any = SimpleNamespace(base=SimpleNamespace(size=size), recipe=recipe)
    row = resolution_row(candidate)
    assert row.verdict == verdict
    assert f"{size} px" in row.figure


def test_outlooks_extrapolate_the_last_doubling_and_say_so():
    # The loss halves from 100 to 200 steps: 6.02 dB.
    text = autoencoder_outlook(RECIPE, 20 * math.log10(2))
    assert text.startswith("6.0 dB; extrapolating 6.02 dB per doubling of pictures")
    assert "about 2,000 pictures in all, about 20 minutes, after 1,000 in 10 minutes" in text
    assert "6,000 pictures in all, about 40 minutes" in denoiser_outlook(RECIPE)
    recipe = {"pictures": 500, "minutes": 5, "machine": "a core"}
    text = answers_outlook(recipe, [(100, 0.5), (200, 0.8), (400, 0.9)], 0.9, 0.95)
    assert "50 % fewer errors" in text
    assert "1,000 pictures in all, about 10 minutes" in text
    assert "flat" in answers_outlook(recipe, [(200, 0.9), (400, 0.9)], 0.9, 0.95)
    assert "another recipe" in answers_outlook(recipe, [(200, 0.8), (400, 0.803)], 0.803, 0.99)
    assert answers_outlook(recipe, [], 0.9, 0.95) == autoencoder_outlook({}, 1) == NO_CURVE


def test_the_table_says_what_a_missed_row_would_take():
    missed = Row("base, class", "at least 97.0 %", "91.0 %", "miss", {}, "twice the pictures")
    first, second = line(missed).splitlines()
    assert first.split() == ["miss", "base,", "class", "at", "least", "97.0", "%", "91.0", "%"]
    assert second.strip() == "wanted: twice the pictures"
    assert "\n" not in line(absent("DINO judge", "at least 97.0 %", "absent"))


def test_what_is_missing_is_absent_and_the_record_tells_all(tiny, tmp_path):
    rows = list(sit(tiny, TINY, Helpers(tmp_path / "x", tmp_path / "y", World())))
    verdicts = {row.name: row.verdict for row in rows}
    assert [row.name for row in rows] == list(ROWS)
    assert len(verdicts) == len(rows) == 20
    for name in (
        *(f"examiner on renders, {question}" for question in BARS),
        *(f"base, {question}" for question in BARS),
        *("Fréchet distance", "DINO judge, triplets", "CLIP judge, 64 captions"),
        *("size of the base", "size of the judges"),
    ):
        assert verdicts[name] == "absent", name
    record = exam_record(tiny, TINY, rows, quick=True, seconds=1.26)
    content = json.loads(json.dumps(record))
    assert content == record
    assert content["base"]["version"] == "embedded-0"
    assert content["machine"]["threads"] == 1
    assert content["extent"]["compared_steps"] == 1
    assert content["drawing"] == {"sampler": "ddim", "guidance": 2.0}
    assert [row["name"] for row in content["rows"]] == list(verdicts)


@pytest.mark.usefixtures("not_installed")
def test_what_is_on_the_path_and_not_installed_tells_its_version_in_an_exam(tiny):
    record = exam_record(tiny, TINY, [], quick=True, seconds=0)
    assert record["versions"]["rarebooth"] == rarebooth.__version__


def test_the_command_prints_the_table_and_writes_the_record(
    tiny_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(extents, "QUICK", TINY)
    file = tmp_path / "records" / "exam.json"
    options = ["--exam", "--quick", "--base", str(tiny_folder()), "--record", str(file)]
    assert run(["doctor", *options, "--compared", "4", "--guidance", "3"]) == 0
    printed = capsys.readouterr()
    assert "figures nothing" in printed.err
    assert printed.out.splitlines()[0] == "tiny-epsilon, version unknown"
    content = json.loads(file.read_text("utf-8"))
    assert content["quick"] is True
    assert (content["extent"]["compared"], content["drawing"]["guidance"]) == (4, 3)
    for row in content["rows"]:
        assert any(row["name"] in text for text in printed.out.splitlines())


class Desk:
    """Parts that measure nothing; it counts the rows asked for, and fails at one that it is told.

    The exams asked of it are all into one file.
    """

    def __init__(self, base, file):
        self.options = ["doctor", "--exam", "--base", str(base), "--record", str(file)]
        self.file, self.asked, self.fails = file, [], ""
        self.parts = tuple(Part(part.names, self.part(part.names)) for part in PARTS)

    def part(self, names):
        def measure(at):
            for name in names:
                if name == self.fails:
                    raise ResourceError("no power")
                self.asked.append(name)
                yield Row(name, "a bar", f"figure {len(self.asked)}", "pass", {"a": [1, 2.5]})

        return measure

    def sit(self, *options):
        self.asked.clear()
        return run([*self.options, *options])

    def read(self):
        return json.loads(self.file.read_text("utf-8"))

    def rows(self):
        return {row["name"]: row for row in self.read()["rows"]}

    def edit(self, **changes):
        self.file.write_text(json.dumps(self.read() | changes), "utf-8")


@pytest.fixture
def desk(tiny_folder, tmp_path, monkeypatch):
    desk = Desk(tiny_folder(), tmp_path / "exam.json")
    monkeypatch.setattr(sitting, "PARTS", desk.parts)
    return desk


def test_an_exam_that_was_ended_goes_on_from_its_record(desk, capsys):
    desk.fails = "base, colour"
    assert desk.sit() == ResourceError.exit_code
    first = desk.rows()
    assert list(first) == list(ROWS[: ROWS.index("base, colour")])
    desk.edit(seconds=1000)
    desk.fails = ""
    capsys.readouterr()
    assert desk.sit() == 0
    # Rows that are measured together are measured again where one of them is missing.
    start = ROWS.index("base, class")
    assert desk.asked == list(ROWS[start:])
    assert list(desk.rows()) == list(ROWS)
    assert [desk.rows()[name] for name in ROWS[:start]] == list(first.values())[:start]
    assert 1000 < desk.read()["seconds"] < 1100
    printed = capsys.readouterr()
    assert f"{len(first)} of 20 rows" in printed.err
    assert [text[7:38].strip() for text in printed.out.splitlines()[2:]] == list(ROWS)


def test_only_a_row_that_was_deleted_or_absent_is_measured_again(desk):
    assert desk.sit() == 0
    before = desk.rows()
    speed = "generation, batch 4, 25 steps"
    kept = [row for name, row in before.items() if name != speed]
    kept[0]["verdict"] = "absent"
    desk.edit(rows=kept)
    desk.fails = speed
    assert desk.sit() == ResourceError.exit_code
    assert list(desk.rows()) == [name for name in ROWS if name != speed]  # later ones are not lost
    desk.fails = ""
    desk.edit(rows=kept)
    assert desk.sit() == 0
    assert desk.asked == ["resolution", speed]
    assert desk.rows() == before | {
        name: before[name] | {"figure": f"figure {number}", "verdict": "pass"}
        for number, name in enumerate(desk.asked, 1)
    }
    assert list(desk.rows()) == list(ROWS)
    assert desk.sit() == 0
    assert desk.asked == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--guidance", "3"], ["guidance 2.0 there, 3.0 here"]),
        (["--guidance", "2", "--compared", "7"], ["compared 5000 there, 7 here"]),
        (["--guidance", "2", "--quick"], ["quick False there, True here", "steps 50 there, 20"]),
    ],
)
def test_rows_of_another_exam_are_refused(desk, capsys, options, said):
    assert desk.sit("--guidance", "2") == 0
    before = desk.file.read_bytes()
    assert desk.sit(*options) == SettingsError.exit_code
    told = " ".join(capsys.readouterr().err.split())
    assert all(text in told for text in [*said, "name a new file with --record"])
    assert "world" not in told
    assert not desk.asked
    assert desk.file.read_bytes() == before


def test_a_record_of_another_base_world_or_sampler_is_refused(desk, capsys):
    assert desk.sit() == 0
    base, drawing = desk.read()["base"], desk.read()["drawing"]
    desk.edit(
        base=base | {"digest": "another"}, world="older", drawing=drawing | {"sampler": "euler"}
    )
    assert desk.sit() == SettingsError.exit_code
    told = " ".join(capsys.readouterr().err.split())
    for text in ("base another there", "world older there", "sampler euler there, ddim here"):
        assert text in told
    assert not desk.asked


@pytest.mark.parametrize("damage", ["[]", "{", '{"rows": []}', "rows"])
def test_a_file_that_is_no_record_is_refused_and_kept(desk, capsys, damage):
    if damage == "rows":
        assert desk.sit() == 0
        desk.edit(rows=[{"name": "resolution", "bar": "", "figure": "", "verdict": "fine"}])
    else:
        desk.file.write_text(damage, "utf-8")
    before = desk.file.read_bytes()
    assert desk.sit() == SettingsError.exit_code
    assert "holds no record of an exam" in " ".join(capsys.readouterr().err.split())
    assert desk.file.read_bytes() == before
