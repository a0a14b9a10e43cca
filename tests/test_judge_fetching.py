"""Judges of real bases are fetched as bases are: told before, pinned, held to what was first."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rarebooth import hub, reporting
from rarebooth.errors import BaseModelError
from rarebooth.metric import PictureSet
from rarebooth.metrics.encoders import judges
from rarebooth.metrics.encoders.fetching import CLIP, DINO, fetched
from test_hub import COMMIT, FakeHub, flip, pretend

CONVERTED = "d" * 40
PULL = "refs/pr/7"


class HubOfJudges(FakeHub):
    """One that may hold conversions of its repositories, which somebody proposed."""

    proposed = ()

    def get_repo_discussions(self, repository, *, author, discussion_type, discussion_status):
        assert (discussion_type, discussion_status) == ("pull_request", "open")
        return [each for each in self.proposed if each.author == author]

    def model_info(self, repository, *, revision=None, files_metadata=False):
        if revision == PULL:
            repository, revision = f"{repository} converted", CONVERTED
        return super().model_info(repository, revision=revision, files_metadata=files_metadata)

    def snapshot_download(self, repository, *, revision, allow_patterns):
        if revision == CONVERTED:
            held = {**self.repositories}
            self.repositories[repository] = held[f"{repository} converted"]
            try:
                return super().snapshot_download(
                    repository, revision=revision, allow_patterns=allow_patterns
                )
            finally:
                self.repositories = held
        return super().snapshot_download(
            repository, revision=revision, allow_patterns=allow_patterns
        )


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in ("config.json", "preprocessor_config.json", "vocab.json"):
        (folder / name).write_text("{}", "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    save_file({"weights": torch.ones(9)}, folder / "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    return folder


@pytest.fixture
def fake(tmp_path, repository, monkeypatch):
    fake = HubOfJudges(tmp_path / "cache")
    names = ("owner/clip", "owner/dino", judges.VIT_B32, judges.VIT_S16)
    fake.repositories = dict.fromkeys(names, (repository, COMMIT))
    pretend(fake, monkeypatch, tmp_path)
    return fake


def pulled(author, status="open"):
    return SimpleNamespace(author=author, title=hub.CONVERSION, status=status, git_reference=PULL)


def test_a_judge_is_announced_small_and_recorded(fake):
    notices = []
    folder = fetched("owner/dino", DINO, notices.append)
    assert folder == fake.snapshot("owner/dino", COMMIT)
    (_, _, files) = fake.downloads[0]
    assert files == ("config.json", "model.safetensors", "preprocessor_config.json")
    assert "licence openrail++" in notices[0]
    assert "SHA-256 of 3 files is recorded" in notices[1]
    fake.offline = True
    assert fetched("owner/dino", DINO, pytest.fail) == folder


def test_a_clip_brings_its_vocabulary(fake):
    fetched("owner/clip", CLIP, print)
    assert {"vocab.json", "merges.txt"} <= {*fake.downloads[0][2]}
    assert "pytorch_model.bin" not in fake.downloads[0][2]


def test_what_was_recorded_of_a_judge_is_enforced(fake):
    flip(fetched("owner/dino", DINO, print) / "model.safetensors")
    with pytest.raises(BaseModelError, match="not what was first downloaded: model"):
        fetched("owner/dino", DINO, print)


def test_half_a_file_is_refused_by_name(fake, monkeypatch):
    weights = fetched("owner/dino", DINO, print) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: True)
    with pytest.raises(BaseModelError, match=r"judge is damaged.*Delete .*model.safetensors"):
        fetched("owner/dino", DINO, print)


def test_pickles_are_taken_as_the_hub_converted_them(fake, repository, tmp_path):
    pickled = Path(shutil.copytree(repository, tmp_path / "pickled"))
    (pickled / "model.safetensors").unlink()
    fake.repositories["owner/dino"] = (pickled, COMMIT)
    fake.repositories["owner/dino converted"] = (repository, CONVERTED)
    fake.proposed = (pulled("somebody"), pulled(hub.CONVERTER, "closed"))
    with pytest.raises(BaseModelError, match=r"no model.safetensors.*--choose last"):
        fetched("owner/dino", DINO, print)
    fake.proposed = (pulled("somebody"), pulled(hub.CONVERTER))
    assert fetched("owner/dino", DINO, print).name == CONVERTED
    fake.offline = True
    assert fetched("owner/dino", DINO, pytest.fail).name == CONVERTED


def test_the_clip_of_published_tables_is_its_conversion(fake):
    folder = fetched(judges.VIT_B32, CLIP, print)
    assert folder.name == CLIP.revisions[judges.VIT_B32]


def test_what_would_be_downloaded_is_told(fake):
    said = judges.pending("sd15")
    assert [each.partition(" would")[0] for each in said] == [judges.VIT_B32, judges.VIT_S16]
    assert all("licence openrail++" in each for each in said)
    fetched(judges.VIT_B32, CLIP, print)
    assert len(judges.pending("sd15")) == 1
    assert len(fake.downloads) == 1


def test_a_report_does_without_judges_that_are_not_here(fake, monkeypatch):
    photos = np.zeros((2, 8, 8, 3), np.uint8)
    shown = {"diverse": PictureSet(("a {}",), photos[None])}
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: pytest.fail("the network is asked"))
    assert reporting._nearest("sd15", shown, photos) == []
    assert not fake.downloads


def test_judges_are_fetched_before_the_jobs_of_a_benchmark(fake):
    notices = []
    judges.fetch_judges("sd15", notices.append)
    assert [each[0] for each in fake.downloads] == [judges.VIT_B32, judges.VIT_S16]
    assert "licence openrail++" in notices[0]
    judges.fetch_judges("embedded", pytest.fail)


def test_a_damaged_list_of_pins_is_refused_and_named(fake):
    fetched("owner/dino", DINO, print)
    path = hub.user_folder() / "bases.json"
    whole = path.read_text("utf-8")
    for content in (
        whole[: len(whole) // 2],
        "[" * 99_999,
        "[]",
        '{"x/y": 3}',
        '{"x/y": {"a": {"b": 1}}}',
    ):
        path.write_text(content, "utf-8")
        with pytest.raises(
            BaseModelError, match=r"bases.json, which says what was first downloaded"
        ):
            fetched("owner/dino", DINO, print)
        assert path.read_text("utf-8") == content
    path.write_text(whole, "utf-8")
    fetched("owner/dino", DINO, pytest.fail)
    fetched("owner/clip", CLIP, print)
    assert {*json.loads(path.read_text("utf-8"))} == {"owner/dino", "owner/clip"}
