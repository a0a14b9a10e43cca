"""Textual Inversion against diffusers' textual_inversion.py, which optimises the whole table."""

import pytest
import torch
from reference import Loop, Reference
from torch.nn.functional import mse_loss

from rarebooth.base import Session
from rarebooth.methods.textual_inversion import TextualInversion
from rarebooth.prompts import TEMPLATES
from rarebooth.run import Run
from toy_base import toy_subject

WORD = "<subject>"


def ours(base, method, watch=lambda session: None):
    with Session(base) as session:
        batches = []
        for step in method.fit(session, [toy_subject(base.size)], Run(3)):
            batches.append(step.batch)
            watch(session)
        return batches, session.tokens[WORD].detach().clone()


def script(folder, size, method, batches, *, decay, restore):
    """The whole table trained over the same batches; returns the loop and the new words' rows."""
    ref = Reference(folder)
    words = [WORD, *(f"{WORD}_{number}" for number in range(1, method.vectors))]
    new = ref.add_words(words, like="dog")
    images = toy_subject(size).images
    old = torch.ones(len(ref.table), 1, dtype=torch.bool)
    old[new] = False
    loop = Loop({"table": ref.table}, method.lr, decay)

    def only_the_new() -> None:
        assert ref.table.grad is not None
        ref.table.grad[old[:, 0]] = 0

    for batch in batches:
        clean = ref.latents(images, batch.photo, batch.encoding)
        said = [
            TEMPLATES["object"][number].replace("{}", " ".join(words)) for number in batch.prompt
        ]
        answer = ref.answer(clean, batch, ref.encode(said))
        loop.step(
            mse_loss(answer, batch.noise), correct=lambda: None if restore else only_the_new()
        )
        if restore:
            with torch.no_grad():
                ref.table.copy_(torch.where(old, loop.start["table"], ref.table))
    return loop, new


@pytest.mark.parametrize("vectors", [1, 2])
def test_the_vectors_end_where_the_restored_table_ends(vectors, tiny_base, tiny_folder):
    base = tiny_base()
    method = TextualInversion(steps=3, lr=1e-2, batch=2, vectors=vectors)
    batches, found = ours(base, method)
    loop, new = script(tiny_folder(), base.size, method, batches, decay=0.0, restore=True)
    expected, start = loop.weights["table"][new].detach(), loop.start["table"][new]
    assert (expected - start).abs().mean() > 1e-2
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    if vectors == 2:
        assert not torch.equal(found[0], found[1])


def test_decay_shrinks_a_table_whose_gradients_are_masked_and_never_ours(tiny_base, tiny_folder):
    base = tiny_base()
    method = TextualInversion(steps=3, lr=1e-2, batch=2)
    table = base.original("text")("embeddings.token_embedding.weight")
    rows = []

    def watch(session):
        rows.append(base.part("text").get_parameter("embeddings.token_embedding.weight").clone())

    batches, _ = ours(base, method, watch)
    assert len(rows) == 3
    assert all(torch.equal(seen, table) for seen in rows)
    loop, new = script(tiny_folder(), base.size, method, batches, decay=1e-2, restore=False)
    shrunk = loop.weights["table"][: new[0]].detach()
    torch.testing.assert_close(shrunk, table * (1 - 1e-2 * 1e-2) ** 3)
    assert (shrunk != table).float().mean() > 0.9


def test_a_word_of_two_vectors_takes_two_places(tiny_base, tiny_folder):
    base, ref = tiny_base(), Reference(tiny_folder())
    words = [WORD, f"{WORD}_1"]
    new = ref.add_words(words, like="dog")
    vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        ref.table[new] = vectors
        expected = ref.encode([f"a photo of {WORD} {WORD}_1 on the beach"])
        found = base.condition([f"a photo of {WORD} on the beach"], {WORD: vectors})
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        swapped = base.condition([f"a photo of {WORD} on the beach"], {WORD: vectors.flip(0)})
    assert not torch.allclose(found, swapped, atol=1e-3)
