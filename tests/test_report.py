"""The page of one run or several."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import pytest

from rarebooth.metric import PictureSet
from rarebooth.report import Nearest, RunView, report
from rarebooth.report.comparison import wins
from rarebooth.report.estimates import band, front, smooth

SECTIONS = (
    "Recommended checkpoint and key numbers",
    "Checkpoints by prompts",
    "Scores by checkpoint",
    "Likeness against prompt-following",
    "Drift",
    "Nearest photos",
    "Loss",
    "Cost",
)
VOID = {"meta", "img", "br", "link", "hr", "input"}
HOSTILE = "\"><script>alert(1)</script><b x='&"
NO_PHOTOS = np.zeros((0, 64, 64, 3), np.uint8)


def pictures(rng, templates, count=1, size=64):
    images = rng.integers(0, 256, (len(templates), count, size, size, 3), dtype=np.uint8)
    return PictureSet(tuple(templates), images)


def run_view(name="teapot-1", seed=0, checkpoints=("50", "100", "150", "200", "250"), size=64):
    """A run in which likeness rises and prompt-following falls from checkpoint to checkpoint."""
    rng = np.random.default_rng(seed)
    diverse = [f"a {{}} in scene {n}" for n in range(25)]
    plain, unrelated = ["a photo of {}", "a {}"], ["a photo of a vase", "a photo of a cat"]

    def scored(level, templates):
        prompts = {t: round(float(level + rng.normal(0, 0.03)), 4) for t in templates}
        return {"value": round(float(np.mean(list(prompts.values()))), 4), "prompts": prompts}

    def drawn():
        return {
            "diverse": pictures(rng, diverse, size=size),
            "class": pictures(rng, plain, 2, size=size),
            "unrelated": pictures(rng, unrelated, size=size),
        }

    scores = {
        name: {
            "validation": {"likeness": 0.6, "following": 0.3, "harmonic": 0.42 - 0.01 * abs(n - 2)},
            "scores": {
                "clip_i": {"diverse": scored(0.7 + 0.02 * n, diverse), "real": {"value": 0.9}},
                "dino": {"diverse": scored(0.4 + 0.05 * n, diverse), "real": {"value": 0.8}},
                "clip_t": {"diverse": scored(0.3 - 0.01 * n, diverse)},
                "pres": {"class.change": scored(0.02 * n, plain)},
                "drift": {
                    "class": scored(0.1 + 0.02 * n, plain),
                    "unrelated": scored(0.05, unrelated),
                },
                "div": {"simple.dino": scored(0.4 - 0.02 * n, plain)},
                "copying": {"diverse.above": scored(0.1, diverse), "real": {"value": 0.85}},
            },
        }
        for n, name in enumerate(checkpoints)
    }
    losses = [
        {
            "stage": stage,
            "step": step,
            "loss": float(values.mean()),
            "losses": values.tolist(),
            "timesteps": rng.integers(0, 1000, 2).tolist(),
            **({"probe": 0.5 - step / 1000} if stage == "denoiser" and step % 25 == 0 else {}),
        }
        for stage, steps in (("token", 100), ("denoiser", 250))
        for step in range(1, steps + 1)
        for values in [rng.gamma(2, 0.2, 2)]
    ]
    photos = rng.integers(0, 256, (5, size, size, 3), dtype=np.uint8)
    return RunView(
        name=name,
        record={
            "status": "finished",
            "settings": {"method": "two-stage", "noun": "teapot", "seed": seed},
            "base": {"name": "embedded", "digest": "ab"},
            "photos": {"digest": "cd"},
            "seconds": {"preparation": 0.5, "token": 46.5, "denoiser": 67.1},
        },
        scores={
            "noun": "teapot",
            "conventions": {"clip_i": "some/clip, 224 px", "dino": "some/dino, 224 px"},
            "recommended": "150",
            "rule": "held-out",
            "why": "150 is recommended: it has the highest harmonic mean.",
            "checkpoints": scores,
            "cost": {
                "unet_pictures_training": 1500,
                "unet_pictures_drawing": 40000,
                "seconds": {"training": 113.6, "drawing": 200.0, "scoring": 31.0},
            },
        },
        losses=losses,
        photos=photos,
        pictures={name: drawn() for name in ("base", *checkpoints)},
        nearest=[
            Nearest(photos[0], photos[0], 1.0, above=True),
            Nearest(photos[1], photos[2], 0.7, above=False),
        ],
    )


EMPTY = RunView("empty", {}, {}, [], NO_PHOTOS, {})


class Page(HTMLParser):
    """Reads a page: it must close what it opens, and may embed only what it holds."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.words: list[str] = []
        self.images: list[dict[str, str]] = []
        self.ids: list[str | None] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        assert len(found) == len(attrs)
        assert not any(name.startswith("on") for name in found)
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "img":
            self.images.append({name: value or "" for name, value in attrs})
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in {"path", "circle"}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.open and self.open[-1] == "h2":
            self.headings.append(data.lstrip("0123456789 "))

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture(scope="module")
def page():
    return report([run_view()])


def test_a_full_run_has_every_section_in_order_and_nothing_from_outside(page):
    parsed = Page(page)
    assert tuple(parsed.headings) == SECTIONS
    assert len(set(parsed.ids)) == len(parsed.ids) == len(SECTIONS)
    for part in ("http://", "https://", "<script", "url(", "@import"):
        assert part not in page
    assert parsed.images
    for image in parsed.images:
        assert image["alt"]
        assert image["src"].startswith("data:image/png;base64,")
    assert len(page.encode()) < 4_000_000


def test_pictures_of_real_size_still_fit():
    page = report([run_view(size=512)])
    assert len(page.encode()) < 8_000_000  # noise does not compress; photographs take half of it
    assert 'class="small"' not in page


def test_the_recommended_checkpoint_its_reason_and_the_conventions_are_told(page):
    text = Page(page).text
    assert "150 is recommended: it has the highest harmonic mean." in text
    assert "some/dino, 224 px" in text
    run = run_view()
    value = run.scores["checkpoints"]["150"]["scores"]["dino"]["diverse"]["value"]
    assert f"{value:.3f}" in text
    assert "40,000" in text


def test_the_grid_has_the_base_first_and_six_prompts(page):
    alts = [image["alt"] for image in Page(page).images]
    in_grid = [alt for alt in alts if "in scene" in alt]
    assert len(in_grid) == 6 * 6
    assert all(alt.startswith("base model: a teapot in scene") for alt in in_grid[:6])
    assert in_grid[6].startswith("checkpoint 50:")


def test_what_was_not_measured_is_named_and_left_out():
    run = replace(run_view(), losses=[], nearest=(), pictures={})
    parsed = Page(report([run]))
    assert parsed.headings == [
        SECTIONS[0], SECTIONS[2], SECTIONS[3], SECTIONS[7], "Not measured",
    ]  # fmt: skip
    for said in ("Loss: no losses.", "Nearest photos: no pictures compared", "Drift: no pictures"):
        assert said in parsed.text


def test_of_nothing_all_is_missing_and_of_two_runs_the_page_says_which():
    assert Page(report([EMPTY])).headings == ["Not measured"]
    text = Page(report([run_view(), EMPTY])).text
    assert "Loss: empty: no losses." in text
    assert "Loss: teapot-1" not in text


def test_scores_that_are_no_numbers_are_dashes():
    run = run_view(checkpoints=("50",))
    run.scores["checkpoints"]["50"]["scores"]["dino"]["diverse"]["value"] = None
    del run.scores["checkpoints"]["50"]["scores"]["drift"]
    page = report([run])
    assert not re.search(r"\b(nan|None)\b", Page(page).text)
    assert "<td>-</td>" in page
    assert "no checkpoint with both DINO and CLIP-T" in page


def test_stage_ends_stand_in_tables_and_not_among_steps():
    run = run_view(checkpoints=("100", "stage-one", "50"))
    assert run.checkpoints == ["stage-one", "50", "100"]
    Page(report([run]))


def test_hostile_data_stays_text():
    run = run_view(name=HOSTILE, checkpoints=(HOSTILE, "50"))
    hostile = PictureSet((HOSTILE,), run.photos[None, :1])
    checkpoint = run.scores["checkpoints"][HOSTILE]
    checkpoint["scores"]["drift"]["class"]["prompts"] = {HOSTILE: 0.1}
    run = replace(
        run,
        record={
            "status": HOSTILE,
            "settings": {"method": HOSTILE, "noun": HOSTILE},
            "base": {"name": HOSTILE},
            "seconds": {HOSTILE: 1.0},
        },
        scores={
            **run.scores,
            "noun": HOSTILE,
            "why": HOSTILE,
            "recommended": HOSTILE,
            "best_held_out": "50" + HOSTILE,
            "conventions": {"dino": HOSTILE},
            "cost": {"seconds": {HOSTILE: 1.0}},
        },
        losses=[{"stage": HOSTILE, "step": 1, "loss": 0.5}],
        pictures={name: {"diverse": hostile, "class": hostile} for name in ("base", HOSTILE, "50")},
    )
    for runs in ([run], [run, run, run]):
        page = report(runs)
        assert "<script" not in page
        assert "<b x" not in page
        assert Page(page).text.count("alert(1)") >= 20


def test_several_runs_are_compared_first_and_more_than_two_in_a_matrix():
    two = report([run_view("one"), run_view("two", seed=1)])
    assert Page(two).headings == ["Comparison", *SECTIONS]
    assert "Wins by metric" not in two
    three = report([run_view(name, seed) for seed, name in enumerate(("one", "two", "three"))])
    assert "Wins by metric" in three
    assert "not comparable" not in three


def test_runs_of_other_photos_are_called_not_comparable():
    one, two = run_view("one"), run_view("two")
    two = replace(two, record={**two.record, "photos": {"digest": "ef"}})
    assert "different photos: their numbers are not comparable" in report([one, two])


def test_wins_by_hand():
    values = [[0.5, 0.1, None], [0.4, 0.2, 0.3], [0.5, 0.3, 0.2]]
    table = wins(values, ["higher", "lower", "higher"])
    assert table[0][1] == ([0, 1], 2)
    assert table[1][0] == ([], 2)
    assert table[0][2] == ([1], 2)  # equal is no win
    assert table[2][1] == ([0], 3)


def test_of_what_has_no_better_way_nothing_is_best():
    runs = [run_view(name, checkpoints=("50", "150")) for name in ("one", "two", "three")]
    for n, run in enumerate(runs):
        for about in run.scores["checkpoints"].values():
            about["scores"]["entanglement"] = {"diverse": {"value": n - 11.5}}
    page = report(runs)
    assert "<td>-11.5" in page
    assert "<b>-11.5" not in page
    assert '<span class="unbroken">Entanglement</span>' in page
    assert "Entanglement, " not in page  # neither a chart's title nor a win
    assert wins([[0.1, 0.5], [0.2, 0.4]], [None, "higher"])[0][1] == ([1], 1)


def test_the_pareto_front_by_hand():
    points = [(0.30, 0.50), (0.28, 0.60), (0.29, 0.55), (0.27, 0.58), (0.30, 0.45), (0.25, 0.70)]
    assert front(points) == [5, 1, 2, 0]
    assert front([(0.3, 0.5), (0.3, 0.5)]) == [0]
    assert front([]) == []


def test_bands_are_the_same_at_every_call_and_hold_the_mean():
    values = list(np.random.default_rng(1).normal(0.5, 0.1, 25))
    found = band(values)
    assert found is not None
    assert found == band(values)
    low, high = found
    assert low < np.mean(values) < high
    # The standard error of 25 values with a deviation of 0.1 is 0.02: about 1.96 of it each way.
    assert high - low == pytest.approx(2 * 1.96 * np.std(values) / 5, rel=0.1)
    assert band([0.4, None]) is None
    assert band([0.4] * 4) is None, "too few to say anything of others"
    assert band([0.4] * 5) == pytest.approx((0.4, 0.4))


def test_smoothing_is_the_mean_of_neighbours():
    assert smooth([5.0]) == [5.0]
    assert smooth([0, 0, 10, 0, 0, 0]) == pytest.approx([2, *[10 / 6] * 4, 2])


def test_the_page_is_the_same_at_every_call(page):
    assert report([run_view()]) == page


def test_colours_can_be_told_from_what_they_stand_on():
    """Contrast as WCAG 2 defines it: 4.5 for text; the series are held to it as well."""
    style = resources.files("rarebooth.report").joinpath("page.css").read_text("utf-8")
    for scheme in re.findall(r":root \{(.*?)\}", style, re.DOTALL):
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        texts = [name for name in colours if name not in {"paper", "card", "edge"}]
        assert len(texts) == 4 + 6
        for name in texts:
            for ground in ("paper", "card"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


def contrast(one: str, other: str) -> float:
    lower, upper = sorted(luminance(colour) for colour in (one, other))
    return (upper + 0.05) / (lower + 0.05)


def luminance(colour: str) -> float:
    parts = np.array([int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
