"""A full disk: what was saved stays sound, the message says what to do, and the run goes on."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from faults import faults, operations
from judging import JUDGES
from rarebooth import drawing, evaluation, exporting, store, training
from rarebooth.errors import ResourceError
from rarebooth.folder import RunFolder
from rarebooth.protocols import Extent
from training_jobs import files, finish, same_result
from trials import FULL as IN_FULL

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.trials(
    "R3", "the disk is full at the k-th write, for every k: code 4, then continued", quick=6, full=0
)
def test_a_full_disk_at_every_write(job, trials, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # thousands of them, to no use here
    finish(job("straight"))
    writes = operations(lambda: finish(job("counted")))
    places = range(1, writes + 1)
    trials.count = min(trials.count or writes, writes)
    named = 0
    for trial in trials:
        with trial as number:
            at = places[-1 - number] if trials.count == writes else places[number * writes // 6]
            raised = None
            try:
                with faults(at, FULL):
                    finish(job(f"run-{at}"))
            except ResourceError as error:
                raised = error
            if raised is not None:
                assert raised.exit_code == 4
                assert re.search(r"[\d,]+ bytes are free", str(raised)), raised
                assert f"run-{at}" in str(raised)
                named += 1
            folder = RunFolder(tmp_path / f"run-{at}")
            if (folder.read() or {}).get("recommended") is None:  # else no state is needed
                assert store.load_state(folder.state)[1] == []
            finish(job(f"run-{at}"))
            same_result(tmp_path / "straight", folder.path)
    trials.figure(f"{named} told, the others did no harm")


EXTENT = Extent(diverse=1, simple=2, validation=1, others=4)
WORK = ("the choice and the sheet of train", "generate", "evaluate", "export")


@pytest.fixture
def work(job, toy, quick_drawing, tmp_path, monkeypatch):
    """Gives each of ``WORK`` as a function of the folder that it writes into."""
    for module in (drawing, evaluation, exporting):
        monkeypatch.setattr(module, "open_base", lambda *_, **__: toy)
    for module in (training, evaluation):
        monkeypatch.setattr(module, "open_judges", lambda *_: JUDGES)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    finish(job("finished"))
    run = tmp_path / "finished"

    def evaluated(folder):
        evaluation.evaluate(folder, extent=EXTENT)

    acts = (
        lambda folder: finish(job(folder.name, previews="sheet", choose="held-out")),
        lambda folder: drawing.generate(
            run, ["{} in snow", "{} at sea"], folder, drawing={"sampler_steps": 1}
        ),
        evaluated,
        lambda folder: exporting.export(run, "embedding", folder),
    )

    def place(name, number):
        """A folder to write into; to evaluate, a finished run's."""
        folder = tmp_path / f"{name}-{number}"
        if name == "evaluate":
            shutil.copytree(run, folder)
        return folder

    return dict(zip(WORK, acts, strict=True)), place


def written(folder):
    """All that the work has left, but for what tells how long it took."""
    found = files(folder)
    for name in ("run.json", ".owner"):
        found.pop(name, None)
    if "scores.json" in found:
        said = json.loads(found["scores.json"])
        del said["cost"]
        found["scores.json"] = json.dumps(said).encode()
    return found


@pytest.mark.parametrize("what", WORK)
@pytest.mark.trials("R3", "the disk is full at the k-th write, for every k", quick=3, full=0)
def test_a_full_disk_beside_training(what, work, trials):
    acts, place = work
    act, straight = acts[what], place(what, "straight")
    act(straight)
    counted = place(what, "counted")
    writes = operations(lambda: act(counted))
    trials.count, apart = (trials.count, writes // 4) if trials.count else (writes, 1)
    named = 0
    for trial in trials:
        with trial as number:
            at, folder = writes - number * apart, place(what, number)
            raised = None
            try:
                with faults(at, FULL):
                    act(folder)
            except ResourceError as error:
                raised = error
            if raised is not None:
                said = str(raised)
                assert raised.exit_code == 4
                assert re.search(r"[\d,]+ bytes are free", said), said
                assert folder.name in said
                assert "the same command again: train, evaluate and bench" in said
                assert ".part" not in said
                named += 1
            if what != "export" or not folder.exists():  # an export replaces nothing
                act(folder)
            assert written(folder) == written(straight)
    trials.figure(f"{named} told, the others did no harm")


SCRIPT = """
import errno, os, subprocess, sys, time
place, photos, base = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", place], check=True)
words = [sys.executable, "-m", "rarebooth", "train", photos, "--noun", "dog", "--base", base]
words += ["--device", "cpu", "--choose", "last", "--previews", "none", "--token-steps", "2"]
words += ["--steps", "300", "--checkpoint-every", "300", "--save-state-every", "1"]
words += ["--out", f"{place}/run"]
first = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
while first.poll() is None and not os.path.isdir(f"{place}/run/state/denoiser-00000001"):
    time.sleep(0.01)
filler = open(f"{place}/filler", "wb", buffering=0)
while first.poll() is None:  # somebody else's download, which takes all that is left
    try:
        filler.write(bytes(1 << 16))
    except OSError:
        time.sleep(0.01)
print("first", first.wait(), first.stderr.read())
filler.close()
os.unlink(f"{place}/filler")
second = subprocess.run(words, capture_output=True, text=True)
print("second", second.returncode, second.stderr)
import json
print("resumed", json.load(open(f"{place}/run/run.json"))["resumed_from"])
"""


def can_mount() -> bool:
    """Whether this system lets a test have a small file system of its own."""
    found = shutil.which("unshare")
    return found is not None and (
        subprocess.run([found, "-rm", "true"], check=False, capture_output=True).returncode == 0
    )


@pytest.mark.slow
@pytest.mark.skipif(not (IN_FULL and can_mount()), reason="in full only, and needs unshare -rm")
@pytest.mark.trials(
    "R3", "a file system that fills up beside a run, then has room", quick=1, full=5
)
def test_a_file_system_that_fills_up(trials, photos, tiny_folder, tmp_path):
    for trial in trials:
        with trial as number:
            place = tmp_path / str(number)
            place.mkdir()
            words = [sys.executable, "-c", SCRIPT, str(place), str(photos), str(tiny_folder())]
            done = subprocess.run(
                ["unshare", "-rm", *words], check=True, capture_output=True, text=True
            )
            assert "first 4" in done.stdout, done.stdout
            assert re.search(r"takes [\d,]+ bytes, and [\d,]+ bytes are free", done.stdout)
            assert "second 0" in done.stdout, done.stdout
            assert "'stage': 'denoiser'" in done.stdout
