"""A run touches its own files and nobody else's, and goes on from its own state alone."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rarebooth import store, training
from rarebooth.errors import SettingsError
from rarebooth.folder import RunFolder
from rarebooth.plan import plan
from training_jobs import SMALL, files, finish, record, same_result, stop_after


@pytest.mark.parametrize("above", [".", "run/photos of rex", "run/state", "run"])
def test_photos_in_the_run_folder_are_refused_and_untouched(photos, toy, tmp_path, above):
    inside = tmp_path / above
    if inside != photos.parent:
        inside.parent.mkdir(exist_ok=True)
        photos = shutil.copytree(photos, inside)
    out = tmp_path if above == "." else tmp_path / "run"
    before = files(tmp_path)
    with pytest.raises(SettingsError, match=r"photos"):
        plan(photos, SMALL, out=out)
    assert files(tmp_path) == before


def test_class_photos_in_the_run_folder_are_refused(photos, toy, tmp_path):
    inside = shutil.copytree(photos, tmp_path / "run" / "photos")
    flags = {**SMALL, "method": "dreambooth", "prior": True, "class_images": 2}
    for unused in ("token_steps", "token_lr"):
        del flags[unused]
    with pytest.raises(SettingsError, match="lie in the run folder"):
        plan(photos, flags, out=tmp_path / "run", class_photos=inside)


@pytest.mark.parametrize(
    "theirs", ["state/precious/thesis.txt", "checkpoints/mine", "photos/a.png", "scores.json"]
)
def test_a_folder_that_holds_something_else_is_refused(job, tmp_path, theirs):
    path = tmp_path / "run" / theirs
    path.parent.mkdir(parents=True)
    path.write_text("years of work", "utf-8")
    with pytest.raises(SettingsError, match=rf"holds {theirs.split('/')[0]}.*no run\.json"):
        job()
    assert path.read_text("utf-8") == "years of work"


def test_what_else_lies_among_states_stays_there(job, tmp_path):
    stop_after(job(), 3)
    theirs = tmp_path / "run" / "state" / "precious" / "thesis.txt"
    theirs.parent.mkdir()
    theirs.write_text("years of work", "utf-8")
    stop_after(job(), 4)
    assert theirs.read_text("utf-8") == "years of work"


def test_two_plans_for_one_folder_do_not_mix(job, tmp_path):
    one, other = job(seed=0), job(seed=1)
    stop_after(one, 6)
    with pytest.raises(SettingsError, match="seed: 0 -> 1"):
        finish(other)
    finish(one)
    finish(job("straight", seed=0))
    same_result(tmp_path / "straight", tmp_path / "run")


def test_a_run_that_another_process_finished_is_left_alone(job, tmp_path):
    late = job()
    finish(job())
    before = files(tmp_path / "run")
    assert finish(late) == []
    assert files(tmp_path / "run") == before


def test_a_state_without_its_record_is_not_gone_on_from(job, tmp_path):
    stop_after(job(), 6)
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(SettingsError, match=r"no run\.json"):
        job(seed=1)


@pytest.mark.parametrize("change", ["rename", "reshape", "optimiser"])
def test_a_state_of_something_else_is_not_gone_on_from(job, tmp_path, change):
    stop_after(job(), 6)
    folder = tmp_path / "run" / "state"
    state, _ = store.load_state(folder)
    assert state is not None
    weights, optimiser = dict(state.weights), {k: dict(v) for k, v in state.optimiser.items()}
    name = min(weights)
    if change == "rename":
        weights["other"] = weights.pop(name)
    elif change == "reshape":
        weights[name] = weights[name][None]
    else:
        del optimiser["exp_avg"][name]
    shutil.rmtree(folder)
    store.save_state(folder, replace(state, weights=weights, optimiser=optimiser))
    with pytest.raises(SettingsError, match="not one of this run"):
        finish(job())


@pytest.mark.parametrize("entry", [path.name for path in RunFolder(Path("run")).entries])
def test_a_link_in_the_run_folder_is_refused(job, tmp_path, entry):
    made, link = job(), tmp_path / "run" / entry
    link.parent.mkdir()
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="is a link to"):
        finish(made)
    assert not (tmp_path / "elsewhere").exists()


def test_nothing_is_written_through_a_link_with_a_name_of_our_own(job, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.write_text("years of work", "utf-8")
    made, folder = job(), tmp_path / "run"
    folder.mkdir()
    (folder / store.OWNER).symlink_to(theirs)
    list(training.train(made))
    assert record(folder)["status"] == "finished"
    assert theirs.read_text("utf-8") == "years of work"
