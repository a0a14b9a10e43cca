"""Exports, read by the programs they are for: the pictures are the ones that rarebooth draws."""

import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from safetensors.torch import load_file, save_file

from rarebooth import artifact, exporting, sample
from rarebooth.artifact import Header
from rarebooth.base import Session
from rarebooth.bases import open_base
from rarebooth.cli import run
from rarebooth.delta import Blend, Change, Delta, LowRank, Tail
from rarebooth.errors import ArtifactError, BaseModelError, BusyError, SettingsError
from rarebooth.exports.low_rank import truncated
from tiny import build_folder

SCENE = "a photo of {} on the beach"
WAYS: dict[str, Any] = {"steps": 4, "guidance": 7.5}


def vectors(count, seed=1):
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(seed)) * 2


def changes(base, part, names, rank=2, seed=3):
    """Full changes of low rank that leave a mark on every picture."""
    rng = torch.Generator().manual_seed(seed)
    found: dict[str, Any] = {}
    for name in names:
        before = base.original(part)(name)
        flat = before.flatten(1) if before.dim() > 1 else before[:, None]
        up = torch.randn(len(flat), rank, generator=rng)
        down = torch.randn(rank, flat.shape[1], generator=rng)
        change = (up @ down).view_as(before) * 0.1
        found[f"{part}.{name}"] = Change.between(before + change, before)
    return found


def both_parts(base):
    text = [name for name, _ in base.part("text").named_parameters()]
    return {
        **changes(base, "denoiser", ["conv_in.weight", "conv_in.bias", *base.cross_attention()]),
        **changes(base, "text", [name for name in text if ".fc1" in name]),
    }


@pytest.fixture
def written(tiny_base, tmp_path):
    """Writes a subject file of the tiny base."""

    def write(delta, base=None, nouns=("dog",), method="two-stage"):
        base = base or tiny_base()
        header = Header(base.identity, method, {}, 0, nouns, "a photo of {}", base.size, "400")
        path = tmp_path / "subject.safetensors"
        artifact.save(path, delta, header)
        return path

    return write


@pytest.fixture
def export(tiny_folder, tmp_path):
    def call(subject, to, **options):
        chosen: dict[str, Any] = {"base": str(tiny_folder()), **options}
        return exporting.export(subject, to, tmp_path / "out", **chosen)

    return call


def ours(base, file, prompt=SCENE):
    learnt = artifact.load(file).delta
    with Session(base) as session:
        session.wear(learnt)
        filled = prompt.replace("{}", learnt.phrases[0])
        return sample.draw(session, [filled], [7], sampler="ddim", **WAYS)[0]


def theirs(pipe: Any, prompt):
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
    drawn = pipe(
        prompt,
        num_inference_steps=WAYS["steps"],
        guidance_scale=WAYS["guidance"],
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).images[0]
    return (drawn * 255).round()


def apart(one, other):
    """The largest difference of two pictures, in grey levels."""
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize(
    ("token", "count", "weights"),
    [
        ("(rare)", 1, True),
        ("(rare)", 3, True),
        ("(rare)", 1, False),
        ("<cat-toy>", 2, False),
        ("<MyDog>", 2, False),
    ],
)
def test_the_pipeline_draws_the_same_picture(tiny_base, written, export, token, count, weights):
    base = tiny_base()
    phrase = f"{token} dog"
    delta = Delta((phrase,), {token: vectors(count)}, both_parts(base) if weights else {})
    file = written(delta)
    made = export(file, "diffusers")
    assert made.usage == f"pipe = DiffusionPipeline.from_pretrained({json.dumps(str(made.folder))})"
    pipe: Any = DiffusionPipeline.from_pretrained(made.folder)
    assert isinstance(pipe, StableDiffusionPipeline)
    drawn = ours(base, file)
    assert apart(theirs(pipe, SCENE.replace("{}", phrase)), drawn) <= 1
    assert apart(theirs(pipe, SCENE.replace("{}", "dog")), drawn) > 3, "the word must matter"
    if weights:
        plain = sample.draw(Session(base), [SCENE.replace("{}", "dog")], [7], **WAYS)[0]
        assert apart(theirs(pipe, SCENE.replace("{}", "dog")), plain) > 3, "weights must matter"


def test_a_subject_without_a_new_word_is_a_pipeline_too(tiny_base, written, export):
    base = tiny_base()
    file = written(Delta(("sks dog",), {}, both_parts(base)))
    made = export(file, "diffusers")
    drawn = theirs(StableDiffusionPipeline.from_pretrained(made.folder), "a photo of sks dog")
    assert apart(drawn, ours(base, file, "a photo of {}")) <= 1


def test_the_pipeline_has_one_row_and_one_id_for_each_vector(tiny_base, written, export):
    learnt = {"<a1>": vectors(3), "<b1>": vectors(1, seed=2)}
    file = written(Delta(("<a1> dog", "<b1> cat"), learnt), nouns=("dog", "cat"))
    made = export(file, "diffusers")
    pipe: Any = StableDiffusionPipeline.from_pretrained(made.folder)
    before = tiny_base().vocabulary()
    names = ["<a1>", "<a1>_1", "<a1>_2", "<b1>"]
    ids = pipe.tokenizer.convert_tokens_to_ids(names)
    assert ids == list(range(len(before), len(before) + 4))
    assert {k: v for k, v in pipe.tokenizer.get_vocab().items() if k not in names} == before
    table = pipe.text_encoder.get_input_embeddings().weight
    assert len(table) == len(before) + 4 == pipe.text_encoder.config.vocab_size
    assert torch.equal(table[ids], torch.cat([learnt["<a1>"], learnt["<b1>"]]))
    original = tiny_base().original("text")("embeddings.token_embedding.weight")
    assert torch.equal(table[: len(before)], original)
    expanded = pipe.maybe_convert_prompt("a photo of <a1> and <b1>", pipe.tokenizer)
    assert expanded == "a photo of <a1> <a1>_1 <a1>_2 and <b1>"


def test_the_files_are_those_that_other_programs_expect(tiny_folder, written, export):
    made = export(written(Delta(("(rare) dog",), {"(rare)": vectors(1)})), "diffusers")
    found = {p.relative_to(made.folder).as_posix() for p in made.folder.rglob("*") if p.is_file()}
    assert found >= {
        *("model_index.json", "scheduler/scheduler_config.json"),
        *("unet/config.json", "unet/diffusion_pytorch_model.safetensors"),
        *("vae/config.json", "vae/diffusion_pytorch_model.safetensors"),
        *("text_encoder/config.json", "text_encoder/model.safetensors"),
        *("tokenizer/vocab.json", "tokenizer/merges.txt", "tokenizer/tokenizer_config.json"),
    }
    keys = {key: load_file(tiny_folder() / key).keys() for key in found if "safetensors" in key}
    assert {key: load_file(made.folder / key).keys() for key in keys} == keys
    added = json.loads((made.folder / "tokenizer/added_tokens.json").read_text())
    assert list(added) == ["(rare)"]


def test_an_export_is_a_base_like_any_other(tiny_base, written, export, tmp_path):
    base = tiny_base()
    file = written(Delta(("(rare) dog",), {"(rare)": vectors(1)}, both_parts(base)))
    again = open_base(str(export(file, "diffusers").folder), device="cpu")
    drawn = sample.draw(Session(again), [SCENE.replace("{}", "(rare) dog")], [7], **WAYS)[0]
    assert apart(drawn, ours(base, file)) <= 1


def test_a_half_precision_base_with_a_safety_checker_becomes_a_whole_pipeline(
    written, export, tmp_path
):
    """As on the Hub: half precision, a folder that somebody else loaded, a part not fetched."""
    folder = build_folder(tmp_path / "model", dtype=torch.float16, variant=".fp16")
    for name, more in {
        "model_index.json": {
            "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
            "feature_extractor": ["transformers", "CLIPImageProcessor"],
            "requires_safety_checker": True,
        },
        "text_encoder/config.json": {"torch_dtype": "float16", "_name_or_path": "/data/somebody"},
        "unet/config.json": {"_name_or_path": "/data/somebody"},
    }.items():
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **more}))
    base = open_base(str(folder), device="cpu", resolution=64)
    file = written(Delta(("(rare) dog",), {"(rare)": vectors(2)}), base)
    made = export(file, "diffusers", base=str(folder))
    pipe: Any = StableDiffusionPipeline.from_pretrained(made.folder)
    assert {m.dtype for m in (pipe.unet, pipe.vae, pipe.text_encoder)} == {torch.float32}
    drawn = theirs(pipe, SCENE.replace("{}", "(rare) dog"))
    assert drawn.shape == (64, 64, 3)
    assert apart(drawn, ours(base, file)) <= 1
    written_json = [path.read_text("utf-8") for path in made.folder.rglob("*.json")]
    assert not any("somebody" in text for text in written_json)


def test_the_pipeline_names_only_what_it_is_read_as(written, export, tmp_path):
    folder = build_folder(tmp_path / "base")
    for name, changed in (
        ("model_index.json", {"tokenizer": ["transformers", "CLIPTokenizerFast"], "auto_map": "x"}),
        ("unet/config.json", {"auto_map": "owner/repo--x.Y"}),
        ("scheduler/scheduler_config.json", {"custom_pipelines": {"a": "b"}}),
    ):
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changed}), "utf-8")
    subject = written(Delta(("(rare) dog",), {"(rare)": vectors(1)}), open_base(str(folder)))
    out = export(subject, "diffusers", base=str(folder)).folder
    index = json.loads((out / "model_index.json").read_text("utf-8"))
    assert index["tokenizer"] == ["transformers", "CLIPTokenizer"]
    assert index["scheduler"] == ["diffusers", "PNDMScheduler"]
    assert not [path for path in out.rglob("*.json") if "auto_map" in path.read_text("utf-8")]
    assert "custom_pipelines" not in (out / "scheduler/scheduler_config.json").read_text("utf-8")
    path = folder / "model_index.json"
    path.write_text(path.read_text("utf-8").replace("CLIPTokenizerFast", "system"), "utf-8")
    with pytest.raises(BaseModelError, match="'system'"):
        exporting.export(subject, "diffusers", tmp_path / "other", base=str(folder))
    assert not (tmp_path / "other").exists()


def test_a_table_with_spare_rows_keeps_its_size(written, export, tmp_path, tiny_base):
    folder = build_folder(tmp_path / "model")
    rows = len(tiny_base().vocabulary())
    path, config = folder / "text_encoder/model.safetensors", folder / "text_encoder/config.json"
    tensors = load_file(path)
    key = "text_model.embeddings.token_embedding.weight"
    tensors[key] = torch.cat([tensors[key], torch.randn(8, 32)])
    save_file(tensors, path, {"format": "pt"})
    config.write_text(json.dumps({**json.loads(config.read_text()), "vocab_size": rows + 8}))
    base = open_base(str(folder), device="cpu")
    file = written(Delta(("(rare) dog",), {"(rare)": vectors(1)}), base)
    made = export(file, "diffusers", base=str(folder))
    assert len(load_file(made.folder / "text_encoder/model.safetensors")[key]) == rows + 8
    pipe = StableDiffusionPipeline.from_pretrained(made.folder)
    assert apart(theirs(pipe, SCENE.replace("{}", "(rare) dog")), ours(base, file)) <= 1


@pytest.mark.parametrize(
    "steer",
    [Tail("(that)", vectors(4), 0.8), Blend("(that)", vectors(77), 0.7)],
    ids=["tail", "blend"],
)
def test_a_steering_is_no_pipeline(written, export, steer, tmp_path):
    with pytest.raises(SettingsError, match=r"hiper .*after it is encoded.*rarebooth generate"):
        export(written(Delta(("(that) dog",), steer=steer), method="hiper"), "diffusers")
    assert not (tmp_path / "out").exists()


def test_words_that_diffusers_would_mix_up_are_refused(written, export):
    delta = Delta(("v dog", "v_1 cat"), {"v(x)": vectors(2), "V(X)_1": vectors(1)})
    with pytest.raises(SettingsError, match=r"'v\(x\)' is a part of the new word 'V\(X\)_1'"):
        export(written(delta), "diffusers")


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_numbers_that_are_not_finite_are_not_exported(
    copied_folder, written, export, tmp_path, part
):
    path = copied_folder / part / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    tensors[name].view(-1)[0] = torch.inf
    save_file(tensors, path, {"format": "pt"})
    base = open_base(str(copied_folder), device="cpu")
    file = written(Delta(("(rare) dog",), {"(rare)": vectors(1)}), base)
    with pytest.raises(
        ArtifactError, match=f"{part} would hold a number that is not finite in {name}"
    ):
        export(file, "diffusers", base=str(copied_folder))
    assert not (tmp_path / "out").exists()


def test_another_base_is_refused(written, export, tmp_path):
    other = build_folder(tmp_path / "other", seed=1)
    file = written(Delta(("(rare) dog",), {"(rare)": vectors(1)}))
    with pytest.raises(ArtifactError, match="trained on the base 'tiny'"):
        export(file, "diffusers", base=str(other))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("token", "count", "name", "word"),
    [
        ("(rare)", 1, "rare-dog", "<rare>"),
        ("(rare)", 3, "rare-dog", "<rare>"),
        ("<MyDog>", 2, "mydog-dog", "<mydog>"),
        ("(собака)", 2, "dog", "<собака>"),
    ],
)
def test_diffusers_draws_with_the_embedding(
    tiny_base, tiny_folder, written, export, token, count, name, word
):
    file = written(Delta((token,), {token: vectors(count)}), method="textual-inversion")
    made = export(file, "embedding", base="no such base")  # none is needed
    (path,) = made.folder.iterdir()
    assert path.name == f"{name}.safetensors"
    assert made.usage == f"pipe.load_textual_inversion({json.dumps(str(path))})"
    assert load_file(path).keys() == {word}
    assert torch.equal(load_file(path)[word], vectors(count))
    pipe: Any = StableDiffusionPipeline.from_pretrained(tiny_folder())
    pipe.load_textual_inversion(str(path), use_safetensors=True)
    assert apart(theirs(pipe, SCENE.replace("{}", word)), ours(tiny_base(), file)) <= 1
    assert apart(theirs(pipe, SCENE.replace("{}", "dog")), ours(tiny_base(), file)) > 3


def test_every_word_has_a_file_of_its_own(written, export):
    words = {"<new1>": vectors(1), "(new1)": vectors(1, 2), "<new2>": vectors(1, 3)}
    delta = Delta(("<new1> and (new1) dog", "<new2> cat"), words)
    made = export(written(delta, nouns=("dog", "cat")), "embedding")
    found = {path.stem: load_file(path) for path in made.folder.iterdir()}
    assert found.keys() == {"new1-dog", "new1-dog-2", "new2-cat"}
    assert torch.equal(found["new2-cat"]["<new2>"], words["<new2>"])
    same_word = [float(found[name]["<new1>"].sum()) for name in ("new1-dog", "new1-dog-2")]
    assert sorted(same_word) == sorted(float(words[w].sum()) for w in ("<new1>", "(new1)"))


def test_an_embedding_says_what_it_leaves_out(tiny_base, written, export):
    told: list[str] = []
    file = written(Delta(("(rare) dog",), {"(rare)": vectors(1)}, both_parts(tiny_base())))
    export(file, "embedding", notice=told.append)
    assert re.match(r"two-stage changed the network besides the word.*--to diffusers", told[0])


def test_a_subject_without_a_new_word_has_no_embedding(tiny_base, written, export):
    delta = Delta(("sks dog",), {}, both_parts(tiny_base()))
    with pytest.raises(
        SettingsError, match=r"learnt by dreambooth has no new word.*--to diffusers"
    ):
        export(written(delta, method="dreambooth"), "embedding")


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (7, 7)])
def test_the_kept_share_is_that_of_the_singular_values(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    for rank in range(1, min(shape) + 1):
        share = float(values[:rank].sum() / values.sum())
        expected = left[:, :rank] * values[:rank] @ right[:rank]
        found = truncated(matrix, share - 1e-4)
        assert len(found.down) == rank
        assert torch.allclose(found.expand(), expected, atol=1e-5)
    assert torch.allclose(truncated(matrix, 1.0).expand(), matrix, atol=1e-5)
    assert truncated(torch.zeros(shape), 0.6).expand().abs().max() == 0


def test_the_low_rank_subject_is_smaller_and_draws_the_same(tiny_base, written, export):
    base = tiny_base()
    delta = Delta(("(rare) dog",), {"(rare)": vectors(2)}, both_parts(base))
    file = written(delta)
    made = export(file, "low-rank", settings={"keep": 0.999}, base="no such base")  # none is needed
    small = artifact.load(made.folder / "subject.safetensors")
    assert small.header == artifact.load(file).header
    assert torch.equal(small.delta.tokens["(rare)"], delta.tokens["(rare)"])
    for name, change in delta.weights.items():
        found = small.delta.weights[name]
        assert isinstance(found, Change if name.endswith("bias") else LowRank), name
        kept = found.expand().view_as(change.expand()) - change.expand()
        assert kept.norm() <= 2e-3 * change.expand().norm()
    assert made.size < made.subject_size / 2
    assert apart(ours(base, made.folder / "subject.safetensors"), ours(base, file)) <= 2


def test_a_change_that_would_not_become_smaller_stays_as_it_is(tiny_base, written, export):
    base = tiny_base()
    low = changes(base, "denoiser", ["conv_in.weight"])
    (name,) = base.cross_attention()[:1]
    full = changes(base, "denoiser", [name], rank=32)
    file = written(Delta(("sks dog",), {}, {**low, **full}))
    made = export(file, "low-rank", settings={"keep": 0.99})
    found: Any = artifact.load(made.folder / "subject.safetensors").delta.weights
    assert torch.equal(found[f"denoiser.{name}"].values, full[f"denoiser.{name}"].values)
    assert isinstance(found["denoiser.conv_in.weight"], LowRank)


@pytest.mark.parametrize(
    ("keep", "match"),
    [(0.0, "--keep is 0"), (1.5, "--keep is 1.5"), (float("nan"), "--keep is nan")],
)
def test_a_share_that_is_none_is_refused(tiny_base, written, export, keep, match):
    file = written(Delta(("sks dog",), {}, both_parts(tiny_base())))
    with pytest.raises(SettingsError, match=match):
        export(file, "low-rank", settings={"keep": keep})


def test_a_subject_without_full_changes_is_not_compressed(written, export):
    file = written(Delta(("(rare)",), {"(rare)": vectors(1)}), method="textual-inversion")
    with pytest.raises(SettingsError, match="Nothing that textual-inversion learnt"):
        export(file, "low-rank")


@pytest.fixture
def finished(tiny_base, written, tmp_path):
    """A run folder with two checkpoints."""
    base = tiny_base()
    delta = Delta(("(rare) dog",), {"(rare)": vectors(1)}, both_parts(base))
    other = replace(delta, weights={})
    folder = tmp_path / "run"
    for path, learnt in (("", delta), ("checkpoints/stage-one/", other)):
        place = folder / path / "subject.safetensors"
        place.parent.mkdir(parents=True)
        written(learnt).rename(place)
    return folder


def test_the_command_exports_and_says_how_to_load_it(
    finished, tiny_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    more = ["--base", str(tiny_folder())]
    assert run(["export", "run", "--to", "diffusers", *more]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"run/exports/diffusers \([\d.]+ MB, from a subject file of [\d.]+ kB\): "
        r'pipe = DiffusionPipeline.from_pretrained\("run/exports/diffusers"\)',
        line,
    )
    assert run(["export", "run", "--to", "embedding", "--checkpoint", "stage-one", *more]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(
        'pipe.load_textual_inversion("run/exports/embedding/rare-dog.safetensors")'
    )
    assert run(["export", "run", "--to", "low-rank", "--keep", "0.9"]) == 0
    line = capsys.readouterr().out
    assert line.endswith("rarebooth generate run/exports/low-rank 'a photo of (rare) dog'\n")
    assert run(["generate", "run/exports/low-rank", "{}", "--steps", "2", *more]) == 0


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ("--to gguf", "Unknown export 'gguf'; known: diffusers, embedding, low-rank"),
        ("--to embedding --keep 0.5", "--keep does not go with --to embedding"),
        ("--to embedding --checkpoint 900", "has no 900 checkpoint; it has: stage-one"),
        ("--to embedding --out x.safetensors", "a file's name; an export is a folder"),
        ("--to diffusers", "give that folder with --base"),
        ("", "Missing option"),
    ],
)
def test_what_the_command_refuses(finished, tmp_path, monkeypatch, capsys, arguments, match):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert run(["export", "run", *arguments.split()]) == 2
    assert match in capsys.readouterr().err
    left = {"exports", ".diffusers.lock"}
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name not in left] == before


def test_what_a_killed_export_has_left_is_no_obstacle_and_goes(written, export, tmp_path):
    file = written(Delta(("(rare) dog",), {"(rare)": vectors(1)}, {}))
    child = os.fork()
    if not child:
        with exporting._appearing(tmp_path / "out") as beside:
            (beside / "half").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    (tmp_path / ".out.2.part").mkdir()  # of an export into out.2, which may be under way
    assert (tmp_path / ".out.part/half").is_file()
    made = export(file, "embedding")
    assert not (made.folder / "half").exists()
    left = {each.name for each in tmp_path.iterdir()}
    assert left == {file.name, "out", ".out.2.part"}


def test_two_exports_into_one_folder_are_not_mixed(written, export, tmp_path):
    file = written(Delta(("(rare) dog",), {"(rare)": vectors(1)}, {}))
    with exporting._appearing(tmp_path / "out") as beside:
        (beside / "theirs").write_bytes(b"")
        with pytest.raises(BusyError, match="Another process is exporting into"):
            export(file, "embedding")
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["theirs"]
    assert {each.name for each in tmp_path.iterdir()} == {file.name, "out"}


def test_an_export_is_on_the_disk_before_it_appears(written, export, tmp_path, monkeypatch):
    flushed: set[int] = set()
    rename = Path.rename

    def checked(beside, place):
        assert flushed >= {each.stat().st_ino for each in (beside, *beside.rglob("*"))}
        return rename(beside, place)

    monkeypatch.setattr(os, "fsync", lambda handle: flushed.add(os.fstat(handle).st_ino))
    monkeypatch.setattr(Path, "rename", checked)
    export(written(Delta(("(rare) dog",), {"(rare)": vectors(1)}, {})), "embedding")
    assert tmp_path.stat().st_ino in flushed
