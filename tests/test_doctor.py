"""The doctor tries things and says what is wrong with them."""

import json
import sys

import pytest

from rarebooth import doctor
from rarebooth.cli import run


@pytest.fixture
def tiny_embedded(tmp_path, monkeypatch):
    """A random tiny model in the place of the embedded base."""
    from rarebooth import hub
    from tiny import build_folder

    folder = build_folder(tmp_path / "embedded")
    monkeypatch.setattr(hub, "_embedded", lambda: folder)
    return folder


def test_all_is_well_here_and_a_picture_is_drawn(tiny_embedded, capsys):
    assert run(["doctor", "--json"]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert list(checks) == [
        *("python", "packages", "imports", "memory", "disk", "device", "picture", "hub"),
    ]
    assert all(check["verdict"] != "fail" for check in checks.values()), checks
    assert "torch 2." in checks["packages"]["found"]
    assert "drew 32 x 32 pixels in" in checks["picture"]["found"]
    assert "offline" in checks["hub"]["found"]


def test_a_damaged_embedded_base_is_found_out(tiny_embedded, capsys):
    weights = tiny_embedded / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert run(["doctor"]) == 2
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if line.startswith("fail"))
    assert line.split()[:2] == ["fail", "picture"]
    assert "Traceback" not in printed


def test_torchvision_of_another_build_is_named_as_the_cause(monkeypatch):
    def broken(module):
        try:
            raise RuntimeError("operator torchvision::nms does not exist")
        except RuntimeError as error:
            raise ImportError(f"cannot import names from {module}") from error

    monkeypatch.setattr(doctor, "import_module", broken)
    checks = list(doctor.examine())
    assert [check.name for check in checks if check.verdict == "fail"] == ["imports"]
    assert checks[-1].name == "disk"  # what needs the imports is not tried
    found = next(check.found for check in checks if check.name == "imports")
    assert "pip uninstall torchvision" in found
    assert "torchvision::nms" in found


def test_another_broken_import_is_not_blamed_on_torchvision(monkeypatch):
    def broken(module):
        raise ImportError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr(doctor, "import_module", broken)
    found = next(check.found for check in doctor.examine() if check.name == "imports")
    assert "torchvision" not in found
    assert "libcudart.so.13" in found


def test_packages_that_are_missing_or_too_old_are_named(monkeypatch):
    needed = ["torch>=2.11", "typer>=0.16", "absent>=1.0", 'ruff>=0.17; extra == "dev"']
    versions = {"torch": "2.9.1+cpu", "typer": "0.29.2"}

    def version(name):
        try:
            return versions[name]
        except KeyError:
            raise doctor.metadata.PackageNotFoundError(name) from None

    monkeypatch.setattr(doctor.metadata, "requires", lambda _: needed)
    monkeypatch.setattr(doctor.metadata, "version", version)
    packages = next(check for check in doctor.examine() if check.name == "packages")
    assert packages.verdict == "fail"
    assert packages.found.startswith("torch is 2.9.1+cpu, 2.11 or newer is needed; absent is missi")


def test_rarebooth_that_is_on_the_path_and_not_installed_is_a_warning(monkeypatch):
    def not_installed(name):
        raise doctor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "requires", not_installed)
    packages = next(check for check in doctor.examine() if check.name == "packages")
    assert packages.verdict == "warn"
    assert packages.found == "rarebooth is not installed, only on the path"


@pytest.mark.parametrize(
    ("found", "wanted", "enough"),
    [("2.13.0+cpu", "2.11", True), ("2.9", "2.11", False), ("1.32.0rc1", "1.32", True)],
)
def test_versions_are_compared_by_number(found, wanted, enough):
    assert (doctor._numbers(found) >= doctor._numbers(wanted)) == enough


def test_an_old_python_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    check = next(iter(doctor.examine()))
    assert (check.name, check.verdict) == ("python", "fail")
    assert "3.11 or newer" in check.found


def test_little_memory_and_disk_are_warnings(monkeypatch):
    monkeypatch.setattr(doctor, "_free_memory", lambda: 1e9)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 9e8}))
    assert doctor._memory().verdict == "warn"
    assert doctor._disk().verdict == "warn"


@pytest.mark.parametrize(("memory", "disk", "word"), [(15e9, 28e9, "not"), (17e9, 32e9, "")])
def test_enough_for_a_rehearsal_is_not_called_enough_for_a_real_base(
    memory, disk, word, monkeypatch
):
    monkeypatch.setattr(doctor, "_free_memory", lambda: memory)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("Usage", (), {"free": disk}))
    for check in (doctor._memory(), doctor._disk()):
        assert check.verdict == "ok"
        assert f"; {word} enough for full fine-tuning".replace("  ", " ") in check.found
    assert "24 GB while it trains" in doctor._disk().found
