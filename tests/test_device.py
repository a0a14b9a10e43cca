"""Which device and precision a base is opened with."""

import pytest
import torch

from rarebooth.bases.device import hold_to

GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture(autouse=True)
def given_back():
    before = torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cudnn.allow_tf32 = before


def test_fp32_is_not_tf32_on_a_gpu():
    torch.backends.cudnn.allow_tf32 = True
    hold_to("fp32", CPU)
    assert torch.backends.cudnn.allow_tf32
    hold_to("fp32", GPU)
    assert not torch.backends.cudnn.allow_tf32
    # What bf16 leaves in fp32, the autoencoder, need not be exact.
    hold_to("bf16", GPU)
    assert torch.backends.cudnn.allow_tf32
