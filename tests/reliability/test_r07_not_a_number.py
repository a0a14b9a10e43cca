"""A loss or gradient that is no number: stopped at once, and what was saved is sound."""

import re

import pytest
import torch

from rarebooth import artifact, store
from rarebooth.errors import DivergedError
from rarebooth.folder import RunFolder
from training_jobs import PLACES, finish, record, same_result

KINDS = ("nan", "inf", "gradient")


def spoilt(answer, kind):
    """An answer that is no number, or one whose gradient is none."""
    if kind == "gradient":
        return answer + torch.sqrt(answer.detach() * 0 + (answer - answer.detach()))
    return answer * float(kind)


@pytest.mark.trials(
    "R7", "NaN, Inf or a NaN gradient at a step: stopped there, code 5", quick=6, full=27
)
def test_what_is_not_a_number_stops_the_run(job, toy, photos, trials, tmp_path, monkeypatch):
    finish(job("straight"))
    written = 0
    for trial in trials:
        with trial as number:
            kind, at = KINDS[number % 3], number // 3 * (1 if trials.count == 27 else 4)
            stage, step = PLACES[at]
            name, whole, calls = f"run-{kind}-{at}", toy.denoise, 0

            def denoise(*given, kind=kind, at=at, whole=whole):
                nonlocal calls
                calls += 1
                answer = whole(*given)
                return spoilt(answer, kind) if calls == at + 1 else answer

            with monkeypatch.context() as patch:
                patch.setattr(toy, "denoise", denoise)
                with pytest.raises(DivergedError) as caught:
                    finish(job(name))
            said = str(caught.value)
            assert caught.value.exit_code == 5
            _, place, rest = said.partition(f"at step {step} of stage {stage!r} (")
            shown = re.findall(r"photo '(\S+)' at timestep \d+", rest)
            assert place
            assert shown
            assert {*shown} <= {file.name for file in photos.iterdir()}
            assert "Lower the learning rate" in said
            assert "--precision fp32" in said
            assert calls == at + 1  # no step was taken after it
            folder = RunFolder(tmp_path / name)
            assert record(folder.path)["status"] == "failed"
            for checkpoint in folder.checkpoints():
                artifact.load(folder.checkpoint(checkpoint))  # which takes finite numbers alone
                written += 1
            assert store.load_state(folder.state)[1] == []
            assert not folder.subject.exists()
            finish(job(name))
            same_result(tmp_path / "straight", folder.path)
    trials.figure(f"{written} checkpoints kept, all finite")
