"""The command line: what it accepts, refuses, prints and leaves behind."""

import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import rarebooth
from rarebooth import decoder
from rarebooth.cli import console, flags, main, run
from rarebooth.cli import job as screen
from rarebooth.cli.pace import Pace
from rarebooth.errors import SettingsError
from rarebooth.plan import CHECKPOINT_BYTES
from rarebooth.settings import preset_for

QUICK = [
    *("--steps", "4", "--token-steps", "3", "--token-batch", "1", "--lr", "1e-4"),
    *("--checkpoint-every", "2", "--save-state-every", "2", "--previews", "none"),
]
SHEET = ["--previews", "sheet"]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    from tiny import build_folder

    return build_folder(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("somebody") / "pets"
    folder.mkdir()
    dice = np.random.default_rng(0)
    for number in range(3):
        pixels = dice.integers(0, 255, (64, 72, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xffnothing more")
    (folder / "notes.txt").write_text("the dog is called [bold]Rex", encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """Every test works in a folder of its own, without settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("RAREBOOTH_")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture(scope="module")
def finished(base, photos, tmp_path_factory) -> Path:
    """A finished run of the quick settings."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert run(train(photos, base, "--out", str(folder), *QUICK)) == 0
    return folder


def train(photos: Path, base: Path, *more: str) -> list[str]:
    return ["train", str(photos), "--noun", "dog", "--base", str(base), *more]


def listing(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def origins(printed: str) -> dict[str, tuple[str, str]]:
    """The settings that --dry-run prints: name -> (value, origin)."""
    rows = re.findall(r"^  (\w+) +(.+?)  +(\w.*)$", printed, re.MULTILINE)
    return {name: (value, origin) for name, value, origin in rows}


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"rarebooth {rarebooth.__version__}\n"


def test_help_lists_the_verbs_that_work(capsys):
    assert run(["--help"]) == 0
    printed = capsys.readouterr().out
    assert re.findall(r"^  (\w+)  ", printed.partition("Commands:")[2], re.MULTILINE) == [
        "train",
        "generate",
        "evaluate",
        "report",
        "bench",
        "merge",
        "export",
        "check",
        "demo",
        "doctor",
        "tokens",
        "methods",
    ]


def test_help_of_train_lists_a_methods_settings_once_it_is_named(capsys):
    assert run(["train", "--help"]) == 0
    assert "--token-steps" not in capsys.readouterr().out
    assert run(["train", "--method", "two-stage", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "--lr, --learning_rate\n" in printed
    assert "Updates of the adjective (stage one). Default 100.\n" in printed
    assert "Source: paper, section 3.2" in printed


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("train --noun dog", 2, "No folder of photos was named"),
        ("train PHOTOS more --noun dog --base BASE", 2, "there is no more"),
        ("train PHOTOS PHOTOS --noun dog,cat --base BASE", 2, "one subject at a time"),
        (
            "train PHOTOS PHOTOS --noun dog --base BASE --method custom-diffusion",
            2,
            "2 folders of photos were named and 1 nouns",
        ),
        ("train nowhere --noun dog --base BASE", 3, "no folder 'nowhere'"),
        ("train EMPTY --noun dog --base BASE", 3, "is empty"),
        ("train BROKEN --noun dog --base BASE", 3, "a.jpg: this JPEG file is damaged"),
        ("train nowhere --noun dog", 3, "no folder 'nowhere'"),
        ("train EMPTY --noun dog", 3, "is empty"),
        ("train BROKEN --noun dog", 3, "a.jpg: this JPEG file is damaged"),
        ("train PHOTOS --base BASE", 2, "--noun is missing"),
        ("train PHOTOS --noun  --base BASE", 2, "the class noun is empty"),
        ("train PHOTOS --noun (rare)_dog --base BASE", 2, "holds a placeholder"),
        ("train PHOTOS --noun (sks)_dog --token (SKS) --base BASE", 2, "the word that is to be"),
        ("train PHOTOS --noun dog --token do --base BASE", 2, "'dog' holds 'do'"),
        ("train PHOTOS --noun dog --token <rare> --base BASE", 2, "--token '(rare)'"),
        ("train PHOTOS --noun dog --prompt {}_(rare)_{} --base BASE", 2, "3 times once it is fill"),
        ("train PHOTOS --noun dog", 2, "--base sd21"),
        ("train PHOTOS --noun dog --base nobodys", 2, "Unknown base 'nobodys'"),
        ("train PHOTOS --noun dog --base nobodys --dry-run", 2, "Unknown base 'nobodys'"),
        ("train PHOTOS --noun dog --base EMPTY", 2, "model_index.json"),
        ("train PHOTOS --noun dog --base BASE --method magic", 2, "known: two-stage"),
        ("train PHOTOS --noun dog --base BASE --stepz 4", 2, "Did you mean --steps?"),
        ("train PHOTOS --noun dog --base BASE --steps", 2, "--steps wants a value"),
        ("train PHOTOS --noun dog --base BASE --steps many", 2, "steps (flag) is 'many'"),
        ("train PHOTOS --noun dog --base BASE --steps 0", 2, "steps is 0; it must be at least 1"),
        ("train PHOTOS --noun dog --base BASE --seed x", 2, "--seed"),
        (f"train PHOTOS --noun dog --base BASE --seed {10**20}", 2, "it must be from 0 to"),
        ("train PHOTOS --noun dog --base BASE --seed -1", 2, "seed is -1; it must be from 0"),
        ("train PHOTOS --noun dog --base BASE --device tpu", 2, "auto, cpu, cuda, cuda:N or mps"),
        ("train PHOTOS --noun dog --base sd21 --device tpu", 2, "device is 'tpu'"),
        ("train PHOTOS --noun dog --base BASE --out PHOTOS", 2, "is the folder of photos"),
        ("train PHOTOS --noun dog --base BASE --out PHOTOS/run", 2, "lies in it"),
        ("train PHOTOS --noun dog --base BASE --out PHOTOS/0.png", 2, "lies in it"),
        ("train PHOTOS --noun dog --base BASE --previews all", 2, "previews (flag) is 'all'"),
        ("train PHOTOS --noun dog --base BASE --checkpoint-every 500", 2, "longer than the run"),
        ("train PHOTOS --noun dog --base BASE --save_state_every 0", 2, "at least 1"),
        ("train PHOTOS --noun dog --base BASE --prompt dog", 2, "must hold {}"),
        ("train PHOTOS --noun dog --base BASE --token cat", 2, "already a word"),
        ("train PHOTOS --noun dog --base BASE --initial-word zzz", 2, "must be one"),
        ("train PHOTOS --noun dog --base BASE --out FILE", 4, "cannot be written"),
        ("train PHOTOS --noun dog --base BASE --out FILE/run", 4, "cannot be written"),
        ("train PHOTOS --noun dog --base BASE --config no.toml", 2, "no settings file no.toml"),
        (
            "train PHOTOS --noun dog --base BASE --method hiper --with_prior_preservation",
            2,
            "which hiper does without",
        ),
        ("train PHOTOS --noun dog --base BASE --class_data_dir x", 2, "trains on none here"),
        ("train PHOTOS --noun dog --base BASE --method hiper --rank 4", 2, "with adapters"),
        (
            "train PHOTOS --noun dog --base BASE --rank 4 --constraint l1",
            2,
            "Leave one out",
        ),
        ("train PHOTOS --noun dog --base BASE --mixed_precision fp16", 2, "must be no or bf16"),
        ("train PHOTOS --noun dog --base BASE --resume_from_checkpoint 40", 2, "only latest"),
        ("train PHOTOS --noun dog --base BASE --lr_scheduler cosine", 2, "only constant is known"),
        ("train PHOTOS --noun dog --base BASE --lr_warmup_steps=10", 2, "only 0 is known"),
        ("train PHOTOS --noun dog --base BASE --checkpoints_total_limit 2", 2, "every checkpoint"),
        ("train PHOTOS --noun dog --base BASE --report_to wandb", 2, "steps.jsonl"),
        ("train PHOTOS --noun dog --base BASE --push_to_hub", 2, "never does"),
        (
            "train PHOTOS --noun dog --base BASE --method hiper --train_text_encoder",
            2,
            "leaves as it is",
        ),
        ("train PHOTOS --noun dog --base BASE --revision main", 2, "Give a folder with --base"),
        (f"generate PHOTOS {{}} --seed {2**62} --count 2", 2, "must be from 0 to"),
        ("generate nowhere {}", 2, "no run folder or subject file"),
        ("generate PHOTOS/notes.txt {}", 2, "cannot be read as a subject file"),
        ("generate PHOTOS", 2, "Missing argument"),
        ("generate PHOTOS {} --count 0", 2, "--count is 0"),
        ("demo --example unicorn", 2, "no example 'unicorn'"),
        ("demo --example ..", 2, "no example '..'"),
        ("demo --example LONG", 2, "no example"),
        ("demo --example NUL", 2, r"no example 'a\x00b'"),
        ("generate LONG {}", 2, "File name too long. Check the path"),
        ("export LONG --to embedding", 2, "File name too long. Check the path"),
        ("merge LONG LONG --out new", 2, "File name too long. Check the path"),
        ("train LONG --noun dog --base BASE", 3, "(File name too long)"),
        ("train LONG LONG --noun dog --base BASE", 2, "File name too long. Check the path"),
        ("generate LOCKED/run {}", 2, "LOCKED/run cannot be used: Permission denied"),
        ("export LOCKED/run --to embedding", 2, "LOCKED/run cannot be used: Permission denied"),
        ("merge LOCKED/a LOCKED/b --out new", 2, "LOCKED/a cannot be used: Permission denied"),
        ("train LOCKED/a --noun dog --base BASE", 3, "'LOCKED/a' cannot be read (Permission"),
        ("paint", 2, "No such command"),
    ],
)
def test_what_cannot_work_is_refused_in_plain_words(
    arguments, code, message, base, photos, place, monkeypatch, capsys
):
    stat = Path.stat

    def locked(path, **given):
        if path.parts[:1] == ("LOCKED",):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, **given)

    monkeypatch.setattr(Path, "stat", locked)  # whoever owns all files may enter any folder
    kept = listing(photos)
    (place / "FILE").write_text("")
    (place / "EMPTY").mkdir()
    (place / "BROKEN").mkdir()
    (place / "BROKEN" / "a.jpg").write_bytes(b"\xff\xd8\xffnothing more")
    before = listing(place)
    places = {"BASE": str(base), "PHOTOS": str(photos), "LONG": "a" * 5000, "NUL": "a\0b"}
    words: list[str] = []
    for word in arguments.split(" "):
        spaced = word if word.startswith("--") else word.replace("_", " ")
        words.append(re.sub("|".join(places), lambda found: places[found[0]], spaced))
    assert run(words) == code
    printed = capsys.readouterr()
    assert message in " ".join(printed.err.split())
    assert "Traceback" not in printed.out + printed.err
    written = listing(place) - before
    assert all(name.startswith("runs") for name in written)
    assert not {name for name in written if name.endswith(".safetensors")}
    assert listing(photos) == kept


def test_the_folder_of_photos_is_not_written_to_from_inside_it(
    base, photos, place, monkeypatch, capsys
):
    monkeypatch.chdir(photos)
    kept = listing(photos)
    assert run(["train", ".", "--noun", "dog", "--base", str(base)]) == 2
    assert f"--out {photos.parent / 'runs' / 'pets-two-stage'}" in capsys.readouterr().err
    assert listing(photos) == kept


def test_dry_run_of_a_base_that_is_not_here_fetches_nothing(photos, place, monkeypatch, capsys):
    from rarebooth import hub, plan

    monkeypatch.setattr(hub, "_cached", lambda *_: None)
    monkeypatch.setattr(plan, "open_base", lambda *_, **__: pytest.fail("the base was opened"))
    words = ["train", str(photos), "--noun", "dog", "--base", "sd21", "--dry-run"]
    assert run(words) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "base sd21, not on this machine" in printed
    assert "download stabilityai/stable-diffusion-2-1-base would be downloaded" in printed
    assert "judges openai/clip-vit-base-patch32 would be downloaded" in printed
    assert "facebook/dino-vits16 would be downloaded" in printed
    assert "checkpoints stage-one, 200, 400" in printed
    assert "preset default (source: the methods' papers)" in printed
    assert not listing(place)


def test_a_run_that_does_not_fit_on_the_disk_is_refused_before_it_begins(
    base, photos, place, monkeypatch, capsys
):
    from rarebooth import plan

    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda _: usage)
    assert run(train(photos, base)) == 4
    assert "GB of disk while it trains" in capsys.readouterr().err
    assert not listing(place)
    assert run(train(photos, base, "--dry-run")) == 0
    assert "keep fewer checkpoints" in capsys.readouterr().err


def test_a_method_from_elsewhere_needs_no_setting_of_ours(base, photos, place, monkeypatch, capsys):
    from rarebooth import cli, methods, plan
    from rarebooth.method import Method

    class Plain(Method):
        name = "plain"
        summary = "nothing is known about its steps"
        changes = frozenset({"denoiser"})
        stages = ("all",)

        def fit(self, session, subjects, run):
            raise NotImplementedError

    for module in (methods, plan):
        name = "find" if module is methods else "find_method"
        monkeypatch.setattr(module, name, lambda _: Plain)
    assert cli.run(train(photos, base, "--method", "plain", "--dry-run")) == 0
    assert "as many of the all as it takes" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["{}", "[]", '{"settings": {}, "base": 1}', "7"])
def test_a_record_of_something_else_is_refused(content, base, photos, place, capsys):
    (place / "run").mkdir()
    (place / "run" / "run.json").write_text(content)
    assert run(train(photos, base, "--out", "run", *QUICK)) == 2
    assert "Choose another folder with --out" in capsys.readouterr().err


def test_what_does_not_change_the_result_may_change_when_a_run_continues(base, photos, place):
    from rarebooth.api import Interrupted, plan
    from rarebooth.api import train as go

    given: dict[str, object] = {"noun": "dog", "base": str(base), "steps": 2, "token_steps": 2}
    first = plan(photos, {**given, "previews": "none"}, out=place / "run")
    with pytest.raises(Interrupted):
        list(go(first, stop=lambda: True))
    other = {"previews": "sheet", "save_state_every": 1, "device": "cpu"}
    assert plan(photos, {**given, **other}, out=place / "run").earlier is not None
    assert plan(photos, {**given, "precision": "fp32"}, out=place / "run").earlier is not None
    with pytest.raises(SettingsError, match="precision: fp32 -> bf16"):
        plan(photos, {**given, "precision": "bf16"}, out=place / "run")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory: 5 GB")])
def test_too_little_memory_for_the_base_does_not_blame_its_files(
    error, base, photos, monkeypatch, capsys
):
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(UNet2DConditionModel, "from_pretrained", fail)
    assert run(train(photos, base)) == 4
    message = capsys.readouterr().err
    assert "memory is not enough to load the base" in message
    assert "etch" not in message


def test_a_prompt_that_is_cut_is_told_once(base, finished, place, capsys):
    long = "a photo of {}" + " on the beach" * 30
    more = ["--base", str(base), "--count", "2", "--steps", "1", "--out", "drawn"]
    assert run(["generate", str(finished), long, *more]) == 0
    assert capsys.readouterr().err.count("are not read") == 1


def test_dry_run_says_what_would_be_done_and_writes_nothing(
    base, photos, place, monkeypatch, capsys
):
    monkeypatch.setenv("RAREBOOTH_LR", "2e-6")
    (place / "my.toml").write_text('lr = 1e-3\nseed = 7\nprompt = "a picture of {}"\n')
    more = ["--config", "my.toml", "--token_steps=5", "--compile", "--dry-run"]
    assert run(train(photos, base, *more)) == 0
    printed = capsys.readouterr().out
    assert listing(place) == {"my.toml"}
    assert "3 used: 0.png (72 x 64), 1.png (72 x 64), 2.png (72 x 64)" in printed
    assert f"preset   default (source: {preset_for('default').source})" in printed
    assert re.search(r"^memory +[\d.]+ MB for weights", printed, re.MULTILINE)
    assert "refused broken.jpg: this JPEG file is damaged" in printed
    assert "skipped, no photos: notes.txt" in printed
    assert "5 of the token, 400 of the denoiser" in printed
    assert "compiled, which takes a minute or more" in printed
    assert "runs/pets-two-stage: checkpoints stage-one, 200, 400" in printed
    assert re.search(r"^disk +about [\d.]+ MB while it trains", printed, re.MULTILINE)
    shown = origins(printed)
    assert shown["token_steps"] == ("5", "flag")
    assert shown["lr"] == ("2e-06", "environment")
    assert shown["seed"] == ("7", "file")
    assert shown["compile"] == ("True", "flag")
    assert shown["prompt"] == ("a picture of {}", "file")
    assert shown["method"] == ("two-stage", "default")
    assert shown["base"] == (base.name, "flag")
    assert shown["weight_decay"] == ("0.01", "default")


def test_disk_estimate_is_what_a_run_takes(base, photos, finished):
    from rarebooth.api import plan

    given = {"noun": "dog", "base": str(base), "steps": 4, "checkpoint_every": 2}
    job = plan(photos, given)
    assert job.checkpoints == ["stage-one", "2", "4"]
    left = sum(file.stat().st_size for file in finished.rglob("*.safetensors"))
    # Two checkpoints and the copy of one; the state of an interruption, which was counted, is gone.
    assert left == pytest.approx(3 * CHECKPOINT_BYTES * job.trained, rel=0.1)
    assert left < job.disk_needed


def test_the_photo_that_a_probe_looks_on_is_named(base, photos, place, capsys):
    five = place / "five"
    shutil.copytree(photos, five)
    for number in (3, 4):
        Image.new("RGB", (64, 64), (number * 40, 0, 90)).save(five / f"{number}.png")
    assert run(train(five, base, "--dry-run")) == 0
    assert "not learnt from" not in capsys.readouterr().out
    assert run(train(five, base, "--probe-every", "50", "--dry-run")) == 0
    assert "4.png is not learnt from: the probe looks on it" in capsys.readouterr().out


def test_names_of_diffusers_scripts_mean_the_same_settings(base, photos, capsys):
    ours = [
        *("train", str(photos), "--noun", "dog", "--base", str(base), "--out", "mine"),
        *("--lr", "1e-5", "--steps", "8", "--batch", "2", "--accumulate", "3", "--seed", "5"),
        *("--checkpoint-every", "4", "--precision", "fp32", "--resolution", "64", "--dry-run"),
    ]
    theirs = [
        *("train", "--instance_data_dir", str(photos), "--instance_prompt", "a photo of sks dog"),
        *("--pretrained_model_name_or_path", str(base), "--output_dir=mine"),
        *("--learning_rate=1e-5", "--max_train_steps", "8", "--train_batch_size", "2"),
        *("--gradient_accumulation_steps", "3", "--seed", "5", "--checkpointing_steps", "4"),
        *("--mixed_precision", "no", "--resolution", "64"),
        *("--lr_scheduler=constant", "--lr_warmup_steps=0"),
        *("--resume_from_checkpoint", "latest", "--dry-run"),
    ]
    assert run(ours) == 0
    first = capsys.readouterr()
    assert run(theirs) == 0
    second = capsys.readouterr()
    without_disk = re.compile(r"^disk .*$", re.MULTILINE)
    assert without_disk.sub("", first.out) == without_disk.sub("", second.out)
    assert "Took the noun 'dog'" in second.err


@pytest.mark.parametrize(
    ("text", "noun", "expected"),
    [
        ("a photo of sks dog", None, (None, "dog")),
        ("A photo of  <cat-toy> stuffed animal", None, (None, "stuffed animal")),
        ("a photo of sks dog", "dog", (None, "dog")),
        ("a picture of sks dog", None, ("a picture of {}", "dog")),
        ("a studio photo of {}", None, ("a studio photo of {}", None)),
        ("a studio photo of {}", "dog", ("a studio photo of {}", None)),
    ],
)
def test_instance_prompts(text, noun, expected):
    found = flags.read_instance_prompt(text, noun)
    assert (found.prompt, found.noun) == expected


@pytest.mark.parametrize(
    ("text", "noun"),
    [
        ("a photo of a dog", None),
        ("a photo of sks", None),
        ("sks dog", None),
        ("a photo of sks dog", "cat"),
        ("", None),
    ],
)
def test_instance_prompts_that_could_mean_anything_are_refused(text, noun):
    with pytest.raises(SettingsError, match="with --noun"):
        flags.read_instance_prompt(text, noun)


@pytest.mark.usefixtures("quick_drawing")
def test_a_run_says_what_it_does_and_leaves_its_folder(base, photos, place, capsys):
    assert run(train(photos, base, *QUICK, *SHEET)) == 0
    assert decoder._shared.child is None  # it has no more to decode
    printed = capsys.readouterr().out
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", printed)
    assert 'called "(rare) dog"' in printed
    assert "token 3/3  loss " in printed
    assert "denoiser 4/4  loss " in printed
    assert "wrote runs/pets-two-stage/first-picture.png" in printed
    assert "wrote runs/pets-two-stage/checkpoints/2/subject.safetensors" in printed
    assert "sheet    runs/pets-two-stage/contact-sheet.png" in printed
    last = printed.splitlines()[-1]
    assert last == (
        f'  rarebooth generate runs/pets-two-stage "a photo of {{}} on the beach" --base {base}'
    )
    folder = place / "runs" / "pets-two-stage"
    with Image.open(folder / "contact-sheet.png") as sheet:
        assert sheet.width > 6 * 128
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["checkpoints"] == ["stage-one", "2", "4"]
    assert record["origin"]["lr"] == "flag"
    assert str(base.parent) not in json.dumps(record)


def test_a_finished_run_is_shown_again_and_not_repeated(base, photos, finished, capsys):
    before = {file: file.stat().st_mtime_ns for file in finished.rglob("*") if file.is_file()}
    assert run(train(photos, base, "--out", str(finished), *QUICK)) == 0
    printed = capsys.readouterr().out
    assert "finished already" in printed
    assert f"subject  {finished}/subject.safetensors" in printed
    assert before == {file: file.stat().st_mtime_ns for file in before}


def test_other_settings_in_the_same_folder_are_refused_by_name(base, photos, finished, capsys):
    more = ["--out", str(finished), *QUICK, "--lr", "1e-3", "--seed", "4"]
    assert run(train(photos, base, *more)) == 2
    message = capsys.readouterr().err
    assert "seed: 0 -> 4; lr: 0.0001 -> 0.001" in message
    assert "--out" in message


def test_an_interrupted_run_continues_as_if_nothing_had_happened(
    base, photos, place, finished, capsys
):
    command = train(photos, base, "--out", "run", *QUICK)
    process = subprocess.Popen(
        [sys.executable, "-m", "rarebooth", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("token 2/3"):
            process.send_signal(signal.SIGINT)
            break
    _, errors = process.communicate()
    watchdog.cancel()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "The same command continues." in errors.splitlines()[-1]
    assert json.loads((place / "run/run.json").read_text())["status"] == "interrupted"

    assert run(command) == 0
    assert "continues the run that was begun there" in capsys.readouterr().out
    record = json.loads((place / "run/run.json").read_text())
    assert record["status"] == "finished"
    assert record["resumed_from"][0]["stage"] in {"token", "denoiser"}
    again = (place / "run/subject.safetensors").read_bytes()
    assert again == (finished / "subject.safetensors").read_bytes()


def test_a_signal_while_a_kept_picture_is_read_is_not_taken_for_damage_to_it(tmp_path, monkeypatch):
    from rarebooth import evaluation
    from rarebooth.cli.stopper import DRAWING, Stopper
    from rarebooth.errors import Interrupted
    from rarebooth.protocols import Extent

    def open_picture(*_, **__):
        signal.raise_signal(signal.SIGINT)

    def read():
        with Stopper() as stopper:
            stopper.at_once = DRAWING
            evaluation.read_set(tmp_path / "validation.png", Extent().choosing(), 64)

    monkeypatch.setattr(evaluation.Image, "open", open_picture)
    with pytest.raises(Interrupted, match="draws what is left"):
        read()


@pytest.mark.usefixtures("quick_drawing")
def test_sigterm_while_the_sheet_is_drawn_ends_the_run_and_it_can_be_continued(
    base, photos, place, monkeypatch, capsys
):
    from rarebooth import training

    def interrupted_sheet(job, notice):
        signal.raise_signal(signal.SIGTERM)
        time.sleep(5)
        pytest.fail("the signal did not end the drawing")

    before = signal.getsignal(signal.SIGTERM)
    command = train(photos, base, "--out", "run", *QUICK, *SHEET)
    with monkeypatch.context() as patch:
        patch.setattr(training, "draw_sheet", interrupted_sheet)
        assert run(command) == 130
    assert signal.getsignal(signal.SIGTERM) == before
    assert "The same command draws what is left." in capsys.readouterr().err
    assert json.loads((place / "run/run.json").read_text())["status"] == "interrupted"
    assert run(command) == 0
    assert "denoiser" not in re.findall(r"^\w+ \d+/\d+", capsys.readouterr().out)
    assert (place / "run/contact-sheet.png").is_file()


def test_a_second_signal_leaves_at_once():
    code = (
        "import signal, time\n"
        "from rarebooth.cli.stopper import Stopper\n"
        "with Stopper() as stopper:\n"
        "    stopper.at_once = None\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    assert stopper.is_asked()\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    time.sleep(60)\n"
    )
    left = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert left.returncode == 130
    assert left.stderr.strip() == "Saving the state after this step; once more leaves at once."


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ...")],
)
@pytest.mark.parametrize("probed", [False, True])
def test_too_little_memory_is_advice_and_exit_code_4(
    error, probed, base, photos, place, monkeypatch, capsys
):
    from rarebooth.methods.two_stage import TwoStage

    learn, calls = TwoStage.fit, 0

    def greedy(*given):
        nonlocal calls
        calls += 1
        if probed and calls == 1:
            return (yield from learn(*given))
        raise error

    monkeypatch.setattr(TwoStage, "fit", greedy)
    assert run(train(photos, base, "--out", "run", *QUICK)) == 4
    message = capsys.readouterr().err
    helps = ("--gradient-checkpointing", "--batch 1", "--precision bf16", "--resolution")
    assert all(flag in message for flag in helps)
    # Where the quote's steps do not fit, the run does not even begin.
    assert calls == (2 if probed else 1)
    assert (place / "run").exists() == probed
    if probed:
        assert json.loads((place / "run/run.json").read_text())["status"] == "failed"


def test_a_defect_of_rarebooth_is_not_dressed_up(base, photos, monkeypatch):
    from rarebooth.methods.two_stage import TwoStage

    def defective(*_):
        raise RuntimeError("shapes cannot be multiplied")
        yield

    monkeypatch.setattr(TwoStage, "fit", defective)
    with pytest.raises(RuntimeError, match="shapes"):
        run(train(photos, base, "--out", "run", *QUICK))


def test_on_a_terminal_every_stage_has_a_bar(base, photos, monkeypatch, capsys):
    terminal = io.StringIO()
    live = Console(file=terminal, force_terminal=True, width=100, markup=False)
    monkeypatch.setattr(screen, "out", lambda: live)
    monkeypatch.setattr(screen, "is_live", lambda: True)
    assert run(train(photos, base, "--out", "run", *QUICK)) == 0
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", terminal.getvalue())
    assert re.search(r"token +━+ 3/3 loss \d\.\d+", shown)
    assert re.search(r"denoiser +━+ 4/4 loss \d\.\d+", shown)
    assert "wrote run/checkpoints/4/subject.safetensors" in shown
    assert terminal.getvalue().rfind("\x1b[?25h") > terminal.getvalue().rfind("\x1b[?25l")


def test_time_left_is_said_after_a_few_steps_of_the_stage_and_follows_their_pace():
    moments = iter([0.0, 2.0, 4.0, 6.0, 100.0, 101.0, 102.0, 103.0])
    pace = Pace(clock=lambda: next(moments))
    said: list[float | None] = []
    for done in (1, 2, 3, 4):
        pace.step("token", done, 10, lambda: 1.0)
        said.append(pace.seconds_left)
    for done in (11, 12, 13, 14):  # a resumed stage; the wait before it is not its pace
        pace.step("denoiser", done, 20, lambda: 0.5)
        said.append(pace.seconds_left)
    assert said == [None, None, None, 12.0, None, None, None, 6.0]
    assert pace.loss == pytest.approx(0.5)


def test_pictures_say_how_they_were_made_and_nothing_of_this_machine(base, finished, place, capsys):
    prompts = ["a photo of {} on the beach", "a red <rare> dog"]
    more = ["--base", str(base), "--count", "2", "--seed", "5", "--steps", "2", "--out", "drawn"]
    assert run(["generate", str(finished), *prompts, *more]) == 0
    printed = capsys.readouterr()
    paths = [place / line for line in printed.out.splitlines()]
    assert [re.sub("-[0-9a-f]{8}.png$", "", path.name) for path in paths] == [
        "a-photo-of-rare-dog-on-the-beach-4-5",
        "a-photo-of-rare-dog-on-the-beach-4-6",
        "a-red-rare-dog-4-5",
        "a-red-rare-dog-4-6",
    ]
    assert printed.err == ""
    with Image.open(paths[1]) as picture:
        text = dict(picture.info)
    assert text["rarebooth:prompt"] == "a photo of (rare) dog on the beach"
    assert text["rarebooth:seed"] == "6"
    assert text["rarebooth:base"].startswith(base.name)
    assert re.fullmatch(r"[0-9a-f]{16}", text["rarebooth:subject"])
    assert text["rarebooth:checkpoint"] == "4"
    for path in paths:
        content = path.read_bytes()
        assert str(base.parent).encode() not in content
        assert str(place).encode() not in content


def test_pictures_go_into_the_run_folder_and_a_checkpoint_can_be_chosen(base, finished, capsys):
    more = ["--base", str(base), "--steps", "1", "--checkpoint", "stage-one"]
    assert run(["generate", str(finished), "a photo", *more]) == 0
    printed = capsys.readouterr()
    (path,) = map(Path, printed.out.splitlines())
    assert path.parent == finished / "pictures"
    assert path.name.startswith("a-photo-stage-one-0-")
    assert "does not name the subject" in printed.err
    with Image.open(path) as picture:
        assert picture.info["rarebooth:checkpoint"] == "stage-one"


def test_a_base_that_was_a_folder_is_asked_for(finished, capsys):
    assert run(["generate", str(finished), "{}"]) == 2
    assert "give that folder with --base" in capsys.readouterr().err


def test_demo_takes_a_new_folder_each_time(base, photos, place, monkeypatch, capsys):
    from rarebooth import bases, examples, plan

    example = place / "examples" / "backpack"
    example.mkdir(parents=True)
    for file in photos.glob("*.png"):
        (example / file.name).write_bytes(file.read_bytes())
    (example / "subject.toml").write_text('noun = "backpack"\n')

    def quick_preset(name):
        assert name == "embedded"
        steps = {"token_steps": 1, "token_batch": 1, "steps": 1}
        train = {"previews": "none"}
        return replace(preset_for("default"), train=train, methods={"two-stage": steps})

    preset_for = plan.preset_for
    monkeypatch.setattr(examples, "examples", lambda: place / "examples")
    monkeypatch.setattr(plan, "preset_for", quick_preset)
    monkeypatch.setattr(
        plan, "open_base", lambda name, **given: bases.open_base(str(base), **given)
    )
    assert run(["demo"]) == 0
    assert run(["demo"]) == 0
    assert run(["demo", "--out", "elsewhere"]) == 0
    assert (place / "runs/demo-1/subject.safetensors").is_file()
    assert (place / "runs/demo-2/subject.safetensors").is_file()
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "elsewhere/contact-sheet.png"
    assert 'called "(rare) backpack"' in printed


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3600, "1 h 0 min")]
)
def test_durations(seconds, text):
    assert console.duration(seconds) == text


@pytest.mark.parametrize(
    ("words", "helps"),
    [
        (["generate", "run", "{}"], {"--precision", "--device", "--count"}),
        (["evaluate", "run"], {"--precision", "--device"}),
        (["export", "run", "--to", "embedding"], set()),
    ],
)
def test_advice_on_memory_names_what_the_verb_takes(words, helps, monkeypatch, capsys):
    def greedy(*_, **__):
        raise MemoryError

    monkeypatch.setattr(f"rarebooth.api.{words[0]}", greedy)
    monkeypatch.setattr("rarebooth.cli.early.check_runs", lambda *_: None)
    assert run(words) == 4
    message = capsys.readouterr().err
    assert set(re.findall(r"--[a-z-]+", message)) == helps
    assert "Close other programs" in message
    assert "saved state" not in message


MISSING_LIBRARY = "libtorch_cpu.so: failed to map segment from shared object"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOMEM, "Cannot allocate memory", "FILE"), "The memory is not enough"),
        (ImportError(MISSING_LIBRARY), "The memory is not enough"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space is left to write a file"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "FILE"), "No space is left to write FILE"),
    ],
)
def test_what_the_system_has_too_little_of_is_exit_code_4(
    error, message, tmp_path, monkeypatch, capsys
):
    def refused(*_, **__):
        raise error

    monkeypatch.setattr("rarebooth.api.make_report", refused)
    assert run(["report", str(tmp_path)]) == 4
    assert message in capsys.readouterr().err


def test_memory_that_ends_while_a_subject_is_read_is_not_damage(finished, monkeypatch, capsys):
    from rarebooth import artifact

    def greedy(*_, **__):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(artifact, "safe_open", greedy)
    assert run(["generate", str(finished), "{}"]) == 4
    assert "The memory is not enough" in capsys.readouterr().err


def test_names_that_a_pipe_has_no_letters_for_are_spelt_out(tmp_path, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    monkeypatch.setattr(sys, "argv", ["rarebooth", "report", str(tmp_path)])
    monkeypatch.setattr("rarebooth.api.make_report", lambda *_: Path("\u72ac/\udcff.html"))
    with pytest.raises(SystemExit) as leaving:
        main()
    sys.stdout.flush()
    assert (leaving.value.code, written.getvalue()) == (0, rb"\u72ac/\udcff.html" + b"\n")
