"""What was learnt, written in every form and read back: the same numbers."""

import pytest
import torch
from safetensors.torch import load_file

from rarebooth import artifact
from rarebooth.base import Session
from rarebooth.bases import open_base
from rarebooth.exporting import export
from rarebooth.plan import plan
from training_jobs import finish

METHODS = {
    "two-stage": {"token_steps": 2, "steps": 2, "lr": 1e-3},
    "textual-inversion": {"steps": 3, "vectors": 2},
    "dreambooth-lora": {"steps": 3, "lr": 1e-3, "rank": 3, "alpha": 7},
    "custom-diffusion": {"steps": 3, "prior": "false", "initial_word": "sks"},
}
PREDICTIONS = ("epsilon", "v_prediction")
TOLERANCE = 1e-5


def answer(base, condition):
    generator = torch.Generator().manual_seed(1)
    noisy = torch.randn((1, *base.latent_shape), generator=generator)
    with torch.no_grad():
        return base.denoise(noisy, torch.tensor([500]), condition)


@pytest.mark.trials(
    "R23", "subject file, diffusers folder and embedding, written and read back", quick=1, full=2
)
@pytest.mark.parametrize("method", METHODS)
def test_every_form_is_the_same_subject(method, trials, photos, tiny_folder, tmp_path):
    worst = 0.0
    for trial in trials:
        with trial as number:
            folder = tiny_folder(PREDICTIONS[number])
            flags = {"noun": "dog", "base": str(folder), "method": method, "device": "cpu"}
            flags |= {"checkpoint_every": 1, "previews": "none", "choose": "last"}
            run = tmp_path / f"run-{number}"
            finish(plan(photos, {**flags, **METHODS[method]}, out=run))
            learnt = artifact.load(run / "subject.safetensors")
            again = tmp_path / f"again-{number}.safetensors"
            artifact.save(again, learnt.delta, learnt.header)
            assert again.read_bytes() == (run / "subject.safetensors").read_bytes()

            base = open_base(str(folder), device="cpu")
            (phrase,) = learnt.delta.phrases
            prompt = f"a photo of {phrase}"
            with Session(base) as session:
                session.wear(learnt.delta)
                condition = session.condition([prompt])
                expected = answer(base, condition)

            made = export(run, "diffusers", tmp_path / f"folder-{number}", base=str(folder))
            exported = open_base(str(made.folder), device="cpu")
            apart = (answer(exported, condition) - expected).abs().max().item()
            worst = max(worst, apart)
            assert apart <= TOLERANCE

            if learnt.delta.tokens:
                words = tmp_path / f"words-{number}"
                export(run, "embedding", words, base=str(folder))
                (file,) = words.glob("*.safetensors")
                (vectors,) = load_file(file).values()
                (token,) = learnt.delta.tokens
                assert torch.equal(vectors, learnt.delta.tokens[token])
    trials.figure(f"at most {worst:.0e} apart")
