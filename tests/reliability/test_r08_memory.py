"""Too little memory, raised or real: advice and code 4, and the next job runs."""

import resource
from dataclasses import dataclass

import pytest

from children import ended, started
from rarebooth.cli.app import run
from test_little_memory import assert_nearly_equal, limited
from training_jobs import finish

DRAWING_HELPS = ("--precision bf16", "--device", "--count 1")
HELPS = ("--gradient-checkpointing", "--batch 1", "--resolution")
QUICK = ["--token-steps", "2", "--steps", "2", "--checkpoint-every", "1", "--lr", "1e-3"]


def gpu_error():
    """What torch raises when a GPU's memory is used up."""
    import torch

    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


ERRORS = (
    MemoryError,
    gpu_error,
    lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate "
        "memory: you tried to allocate 68719476736 bytes."
    ),
)
WHERE = ("denoise", "decode", "posterior", "condition")


@dataclass(frozen=True)
class Hungry:
    """A base that, the ``call``-th time that it does something, works on more than there is room.

    What is refused is a tensor's memory, by the system: nothing is raised in its place.
    """

    where: str
    call: int

    def take(self, room: int) -> None:
        """Make this process' bases so."""
        import torch

        from rarebooth.bases.sd import StableDiffusion

        whole, calls = getattr(StableDiffusion, self.where), 0

        def hungry(*given, **named):
            nonlocal calls
            calls += 1
            work = torch.ones(room, dtype=torch.uint8) if calls == self.call else None
            return whole(*given, **named), work

        setattr(StableDiffusion, self.where, lambda *given, **named: hungry(*given, **named)[0])


def short_of_memory(monkeypatch, where, call, error):
    """Makes one of the base's own calls raise, the ``call``-th time."""
    from rarebooth.bases.sd import StableDiffusion

    whole, calls = getattr(StableDiffusion, where), 0

    def failing(*given, **named):
        nonlocal calls
        calls += 1
        if calls == call:
            raise error()
        return whole(*given, **named)

    monkeypatch.setattr(StableDiffusion, where, failing)


@pytest.mark.trials(
    "R8", "memory runs out while training, drawing, encoding or decoding", quick=4, full=24
)
@pytest.mark.usefixtures("quick_drawing")
def test_a_job_without_memory_ends_and_the_next_one_runs(
    trials, photos, tiny_folder, tmp_path, monkeypatch, capsys
):
    for trial in trials:
        with trial as number:
            where = WHERE[number % len(WHERE)]
            late = number // 12  # while quoting, or in the run itself
            call = 1 if not late else {"denoise": 12, "decode": 1, "posterior": 2}.get(where, 14)
            words = ["train", str(photos), "--noun", "dog", "--base", str(tiny_folder())]
            words += ["--device", "cpu", "--choose", "last", *QUICK]
            words += ["--out", str(tmp_path / str(number))]
            with monkeypatch.context() as patch:
                short_of_memory(patch, where, call, ERRORS[number // 4 % len(ERRORS)])
                assert run(words) == 4, where
            said = capsys.readouterr().err
            assert all(help in said for help in HELPS)
            assert "Traceback" not in said
            assert run(words) == 0
            capsys.readouterr()


@pytest.mark.trials("R8", "memory runs out while a subject is drawn", quick=1, full=9)
@pytest.mark.usefixtures("quick_drawing")
def test_a_drawing_without_memory_ends_and_the_next_one_runs(
    trials, photos, tiny_folder, tmp_path, monkeypatch, capsys
):
    base, home = ["--base", str(tiny_folder()), "--device", "cpu"], tmp_path / "run"
    words = ["train", str(photos), "--noun", "dog", *base, "--choose", "last"]
    assert run([*words, "--previews", "none", *QUICK, "--out", str(home)]) == 0
    words = ["generate", str(home), "a photo of {}", *base, "--steps", "1"]
    capsys.readouterr()
    for trial in trials:
        with trial as number:
            place = tmp_path / str(number)
            with monkeypatch.context() as patch:
                where = ("condition", "denoise", "decode")[number % 3]
                short_of_memory(patch, where, 1, ERRORS[number // 3])
                assert run([*words, "--out", str(place)]) == 4, where
            said = capsys.readouterr().err
            assert "memory" in said
            assert "Traceback" not in said
            assert not any(place.rglob("*")), "half a picture"
            assert run([*words, "--out", str(place)]) == 0
            assert len(list(place.iterdir())) == 1
            capsys.readouterr()


@pytest.mark.trials(
    "R8", "a batch that does not fit, worked off in pieces (--split-batches)", quick=1, full=6
)
def test_batches_are_split_until_they_fit(trials, job, toy, tmp_path, monkeypatch):
    split = 0
    for trial in trials:
        with trial as number:
            most, seed = (1, 2, 3)[number % 3], number // 3
            flags = {"batch": 4, "token_batch": 4, "split_batches": "true", "seed": seed}
            finish(job(f"whole-{number}", **flags))
            told: list[str] = []
            with monkeypatch.context() as patch:
                limited(patch, toy, most)
                finish(job(f"split-{number}", **flags), notice=told.append)
            assert all("pieces" in each for each in told)
            split += len(told)
            learnt = [tmp_path / f"{kind}-{number}" for kind in ("whole", "split")]
            assert_nearly_equal(*(folder / "subject.safetensors" for folder in learnt))
    trials.figure(f"{split} times smaller, with the result of the whole batch but for rounding")


def within(words: list[str], room: int, said: str, hungry: Hungry | None = None) -> None:
    """Runs a command in a process that may only take ``room`` bytes more than it has."""
    import contextlib
    import io
    import sys
    from pathlib import Path

    import torch

    torch.set_num_threads(1)
    if hungry is not None:
        hungry.take(room)
    taken = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + room, taken + room))
    with io.StringIO() as out, contextlib.redirect_stderr(out), contextlib.redirect_stdout(out):
        code = run(words)
        text = out.getvalue()
    Path(said).write_text(text, "utf-8")
    sys.exit(code)


@pytest.mark.slow
@pytest.mark.trials("R8", "a process with a hard limit on its memory (RLIMIT_AS)", quick=1, full=10)
def test_a_hard_limit_is_told_like_any_other(trials, photos, tiny_folder, tmp_path):
    for trial in trials:
        with trial as number:
            words = ["train", str(photos), "--noun", "dog", "--base", str(tiny_folder())]
            words += ["--device", "cpu", "--choose", "last", "--previews", "none", *QUICK]
            words += ["--batch", "256", "--token-batch", "256"]
            said = tmp_path / f"{number}.txt"
            out = ["--out", str(tmp_path / str(number))]
            room = (200 + 10 * number) * 2**20
            assert ended(started(within, [*words, *out], room, str(said))) == 4
            text = said.read_text("utf-8")
            assert all(help in text for help in HELPS), text
            assert "Traceback" not in text


DRAWN_WITHIN = (
    # what takes too much, and when: the U-Net, the autoencoder's decoder
    Hungry("denoise", 1),
    Hungry("decode", 1),
    Hungry("denoise", 3),
    Hungry("decode", 2),
    Hungry("condition", 1),
)


@pytest.mark.slow
@pytest.mark.trials(
    "R8", "drawing and decoding in a process with a hard limit (RLIMIT_AS)", quick=2, full=10
)
@pytest.mark.usefixtures("quick_drawing")
def test_a_hard_limit_on_drawing_is_told_and_the_next_job_runs(
    trials, photos, tiny_folder, tmp_path, capsys
):
    base, home = ["--base", str(tiny_folder()), "--device", "cpu"], tmp_path / "run"
    words = ["train", str(photos), "--noun", "dog", *base, "--choose", "last"]
    assert run([*words, "--previews", "none", *QUICK, "--out", str(home)]) == 0
    capsys.readouterr()
    # Two batches: of sixteen pictures, and of one.
    words = ["generate", str(home), "a photo of {}", *base, "--steps", "2", "--count", "17"]
    for trial in trials:
        with trial as number:
            hungry, room = DRAWN_WITHIN[number % 5], (300 + 40 * number) * 2**20
            place, said = tmp_path / str(number), tmp_path / f"{number}.txt"
            given = [*words, "--out", str(place)]
            assert ended(started(within, given, room, str(said), hungry)) == 4, hungry
            text = said.read_text("utf-8")
            assert all(help in text for help in DRAWING_HELPS), text
            assert "Traceback" not in text
            # The pictures of batches before it are whole, and of no other are there any.
            whole = 16 if hungry.call > 1 else 0
            assert len(list(place.rglob("*"))) == whole
            # Within the same limit, a base that is not hungry draws them all.
            assert ended(started(within, given, room, str(said))) == 0, said.read_text("utf-8")
            assert len(list(place.iterdir())) == 17
