"""HiPer and Imagic, which learn what the text encoder says instead of a word."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from reference import Loop, Reference
from torch.nn.functional import mse_loss

from rarebooth.base import Session
from rarebooth.methods.hiper import HiPer
from rarebooth.methods.imagic import Imagic
from rarebooth.run import Run, generator_for
from toy_base import toy_subject

SEED = 4
HIPER = HiPer(steps=3, lr=1e-2, batch=2, positions=5, strength=0.8)
IMAGIC = Imagic(embedding_steps=3, embedding_lr=1e-2, steps=2, lr=1e-3, batch=2, eta=0.7)
PROMPTS = ["a photo of (this) dog on the beach", "a photo of dog on the beach", "(this) cat"]
MARKED, PLAIN, OTHER = range(3)


@pytest.fixture(scope="module")
def ref(tiny_folder):
    return Reference(tiny_folder())


@pytest.fixture
def said(ref):
    """What the untouched encoder says of the prompts without their mark."""
    with torch.no_grad():
        return ref.encode([PROMPTS[PLAIN], PROMPTS[PLAIN], "cat"])


def learn(method, base, watch=lambda session, step: None):
    """All batches by stage, and what was learnt."""
    batches = {stage: [] for stage in method.stages}
    with Session(base) as session:
        for step in method.fit(session, [toy_subject(base.size)], Run(SEED)):
            batches[step.stage].append(step.batch)
            watch(session, step)
        learnt: Any = step.snapshot()  # pyright: ignore[reportPossiblyUnboundVariable]
        return batches, learnt


def photo_latents(ref, size):
    """The first photo's latents, one draw that every sample repeats."""
    noise = torch.randn((1, 4, 8, 8), generator=generator_for(SEED, "latent"))
    return ref.latents(toy_subject(size).images[:1], torch.tensor([0]), noise)


def fit_photo(ref, size, loop, batches, condition):
    clean = photo_latents(ref, size)
    for batch in batches:
        count = len(batch.photo)
        answer = ref.answer(clean.repeat(count, 1, 1, 1), batch, condition().repeat(count, 1, 1))
        loop.step(mse_loss(answer, batch.noise))


def test_hiper_trains_the_last_positions_of_the_source_text(ref, tiny_base):
    base = tiny_base()
    batches, learnt = learn(HIPER, base)
    with torch.no_grad():
        source = ref.encode(["a photo of dog"])
    tail = source[:, -5:].clone()
    loop = Loop({"tail": tail}, HIPER.lr, 0.0)
    fit_photo(ref, base.size, loop, batches["tail"], lambda: torch.cat([source[:, :-5], tail], 1))
    loop.require_same_end({"tail": learnt.steer.vectors[None]}, least=1e-7)


def test_hiper_puts_its_tail_weakened_at_the_end_of_marked_prompts(said, tiny_base):
    base = tiny_base()
    _, learnt = learn(HIPER, base)
    with Session(base) as session, torch.no_grad():
        session.wear(learnt)
        found = session.condition(PROMPTS)
        plain = session.base.condition(PROMPTS[PLAIN : PLAIN + 1], {})
    tail = 0.8 * learnt.steer.vectors
    for row in (MARKED, OTHER):
        torch.testing.assert_close(found[row], torch.cat([said[row, :-5], tail]), rtol=0, atol=1e-6)
    assert torch.equal(found[PLAIN], plain[0])
    assert (tail - said[MARKED, -5:]).abs().max() > 1e-2


def test_imagic_fits_the_whole_embedding_then_the_network(tiny_folder, tiny_base):
    base, ref = tiny_base(), Reference(tiny_folder())
    learnt = {}

    def watch(session, step):
        learnt.update({n: p.detach().clone() for n, p in base.part("denoiser").named_parameters()})

    batches, delta = learn(IMAGIC, base, watch)
    with torch.no_grad():
        embedding = ref.encode(["a photo of dog"])
    first = Loop({"embedding": embedding}, IMAGIC.embedding_lr, 0.0)
    fit_photo(ref, base.size, first, batches["embedding"], lambda: embedding)
    first.require_same_end({"embedding": delta.steer.embedding[None]}, least=1e-7)
    embedding.requires_grad_(False)
    weights = dict(ref.unet.named_parameters())
    second = Loop(weights, IMAGIC.lr, IMAGIC.weight_decay, IMAGIC.clip)
    fit_photo(ref, base.size, second, batches["denoiser"], lambda: embedding)
    second.require_same_end(learnt)


def test_imagic_stages_leave_each_others_part_alone(tiny_base):
    base = tiny_base()
    before = {n: p.clone() for n, p in base.part("denoiser").named_parameters()}
    embeddings = {stage: [] for stage in IMAGIC.stages}

    def watch(session, step):
        same = [torch.equal(p, before[n]) for n, p in base.part("denoiser").named_parameters()]
        assert all(same) if step.stage == "embedding" else not any(same)
        embeddings[step.stage].append(step.snapshot().steer.embedding)

    learn(IMAGIC, base, watch)
    first, second = embeddings["embedding"], embeddings["denoiser"]
    assert len({tuple(e.flatten().tolist()) for e in first}) == 3
    assert all(torch.equal(embedding, first[-1]) for embedding in second)


@pytest.mark.parametrize("eta", [0.0, 0.7, 1.0, 1.2])
def test_imagic_mixes_the_prompt_with_the_embedding(eta, said, tiny_base):
    base = tiny_base()
    _, learnt = learn(replace(IMAGIC, embedding_steps=1, steps=1, eta=eta), base)
    assert learnt.steer.eta == eta
    with Session(base) as session, torch.no_grad():
        session.wear(replace(learnt, weights={}))
        found = session.condition(PROMPTS)
    for row in (MARKED, OTHER):
        mixture = eta * said[row] + (1 - eta) * learnt.steer.embedding
        torch.testing.assert_close(found[row], mixture, rtol=0, atol=1e-6)
    torch.testing.assert_close(found[PLAIN], said[PLAIN], rtol=0, atol=1e-6)
    if eta == 1:
        torch.testing.assert_close(found[MARKED], found[PLAIN], rtol=0, atol=1e-6)
    else:
        assert not np.allclose(found[MARKED], found[PLAIN], atol=1e-3)
