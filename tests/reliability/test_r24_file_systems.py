"""File systems and clocks as they are: odd names, read-only photos, slow disks, odd clocks."""

import hashlib
import os
import shutil
import time

import pytest

from rarebooth.plan import plan
from training_jobs import SMALL, files, finish, same_result, stop_after

NAMES = (
    "with spaces",
    "ünïcödé 犬 \N{DOG FACE}",
    "x" * 200,
    "quotes ' and \" here",
    "new\nline",
    "trailing.",
    "-starts-with-a-dash",
    "percent%20and#hash?",
    "deep/" * 20 + "end",
    ".hidden",
    os.fsdecode(b"no UTF-8 \xff\xfe"),
)


def printed(folder):
    """Names, contents and times of all files, and the times of their folder."""
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    times = {path: path.stat() for path in (folder, *digests)}
    return digests, {path: (each.st_mtime_ns, each.st_ctime_ns) for path, each in times.items()}


@pytest.mark.trials(
    "R24", "odd names of the run's and the photos' folders", quick=3, full=len(NAMES)
)
def test_odd_names(job, toy, photos, trials, tmp_path):
    finish(job("straight"))
    for trial in trials:
        with trial as number:
            name = NAMES[-1 - number]
            place = tmp_path / f"at {number}" / name
            shutil.copytree(photos, place / "photos")
            finish(plan(place / "photos", SMALL, out=place / "run"))
            same_result(tmp_path / "straight", place / "run")


@pytest.mark.trials(
    "R24", "photos are read only: nothing is written, touched or locked", quick=2, full=10
)
def test_photos_are_never_written(job, photos, trials, tmp_path):
    for photo in photos.iterdir():
        photo.chmod(0o444)
    photos.chmod(0o555)
    before = printed(photos)
    for trial in trials:
        with trial as number:
            finish(job(f"run-{number}", seed=number))
            assert printed(photos) == before
    photos.chmod(0o755)


@pytest.mark.trials("R24", "a clock that is set back, a slow rename, umask 077", quick=3, full=9)
def test_clocks_disks_and_masks(job, trials, tmp_path, monkeypatch):

    finish(job("straight"))
    replace, clock = os.replace, time.time
    for trial in trials:
        with trial as number:
            kind = ("clock", "rename", "mask")[number % 3]
            name = f"run-{number}"
            mask = os.umask(0o077 if kind == "mask" else 0o022)
            with monkeypatch.context() as patch:
                if kind == "clock":
                    began = clock()
                    patch.setattr(time, "time", lambda began=began: 2 * began - clock())
                if kind == "rename":
                    patch.setattr(
                        os, "replace", lambda *given: (time.sleep(0.01), replace(*given))[1]
                    )
                stop_after(job(name), 6 + number // 3)
                if kind == "clock":  # the older state looks newer
                    for age, state in enumerate(sorted((tmp_path / name / "state").iterdir())):
                        os.utime(state, (1e9 - age, 1e9 - age))
                finish(job(name))
            os.umask(mask)
            same_result(tmp_path / "straight", tmp_path / name)
            if kind == "mask":
                modes = {path.stat().st_mode & 0o077 for path in (tmp_path / name).rglob("*")}
                assert modes == {0}


@pytest.mark.trials("R24", "names that differ only in their case", quick=1, full=1)
def test_no_two_files_differ_only_in_case(job, trials, tmp_path):
    for trial in trials:
        with trial:
            finish(job(previews="sheet"))
            names = [name.lower() for name in files(tmp_path / "run")]
            assert len(names) == len(set(names))
