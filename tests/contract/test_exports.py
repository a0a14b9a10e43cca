"""What every export owes its users, for every export in the table: a new one is tested by its line.

The subject is one that all of them can write: a word, and full changes of low rank.
"""

import getpass
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from rarebooth import artifact, exporting
from rarebooth.artifact import Header
from rarebooth.delta import Change, Delta
from rarebooth.errors import SettingsError
from rarebooth.exports import TABLE, find

every_export = pytest.mark.parametrize("name", TABLE)


@pytest.fixture(scope="module")
def subject(tiny_base, tmp_path_factory):
    base = tiny_base()
    rng = torch.Generator().manual_seed(0)
    weights: dict[str, Any] = {}
    for name in base.cross_attention():
        before = base.original("denoiser")(name)
        change = torch.randn(len(before), 1, generator=rng) @ torch.randn(
            1, before.shape[1], generator=rng
        )
        weights[f"denoiser.{name}"] = Change.between(before + change, before)
    word = torch.randn(1, 32, generator=rng)
    delta = Delta(("(rare) dog",), {"(rare)": word}, weights)
    header = Header(base.identity, "two-stage", {}, 0, ("dog",), "a photo of {}", base.size, "400")
    path = tmp_path_factory.mktemp("subject") / "subject.safetensors"
    artifact.save(path, delta, header)
    return path


@pytest.fixture
def export(subject, tiny_folder):
    def run(name, out, **options):
        return exporting.export(subject, name, out, base=str(tiny_folder()), **options)

    return run


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@every_export
def test_it_writes_inside_its_folder_only_and_the_same_bytes_each_time(
    name, export, subject, tiny_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    before = contents(subject.parent), contents(tiny_folder())
    made = export(name, Path("deep/one"))
    torch.manual_seed(5)
    export(name, Path("deep/two"))
    found = contents(Path("deep/one"))
    assert found
    assert found == contents(Path("deep/two"))
    assert {path.parts[0] for path in map(Path, contents(Path("deep")))} == {"one", "two"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep"]
    assert (contents(subject.parent), contents(tiny_folder())) == before
    assert made.folder == Path("deep/one")
    assert made.size == sum((made.folder / file).stat().st_size for file in found)
    assert made.subject_size == subject.stat().st_size
    assert "deep/one" in made.usage
    assert "\n" not in made.usage


@every_export
def test_nothing_in_it_can_run_or_tells_where_it_was_made(name, export, tiny_folder, tmp_path):
    out = export(name, tmp_path / "out").folder
    secrets = [tmp_path, tiny_folder(), tiny_folder().parent, Path.home(), Path.cwd()]
    words = [str(secret).encode() for secret in secrets if secret != Path("/")]
    words.append(f"/{getpass.getuser()}/".encode())
    for path in out.rglob("*"):
        if path.is_file():
            assert path.suffix in {".safetensors", ".json", ".txt"}
            content = path.read_bytes()
            assert [word for word in words if word in content] == [], path.name


@every_export
def test_an_occupied_place_is_refused_and_an_empty_folder_is_not(name, export, tmp_path):
    full, file, empty = tmp_path / "full", tmp_path / "file", tmp_path / "empty"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    file.write_text("mine")
    for taken in (full, file):
        with pytest.raises(SettingsError, match="replaces nothing"):
            export(name, taken)
    assert [path.name for path in full.iterdir()] == ["mine.txt"]
    empty.mkdir()
    export(name, empty)
    with pytest.raises(SettingsError, match="replaces nothing"):
        export(name, empty)


@every_export
def test_what_fails_on_the_way_leaves_nothing(name, export, tmp_path, monkeypatch):
    whole = find(name).write

    def failing(self, source, folder):
        whole(self, source, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(find(name), "write", failing)
    with pytest.raises(KeyboardInterrupt):
        export(name, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@every_export
def test_a_setting_of_another_export_is_refused(name, export, tmp_path):
    with pytest.raises(SettingsError, match=f"--colour does not go with --to {name}"):
        export(name, tmp_path / "out", settings={"colour": 1})
    assert list(tmp_path.iterdir()) == []
