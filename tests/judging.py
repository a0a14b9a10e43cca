"""Judges that need no network, for tests."""

import numpy as np
import torch

from rarebooth.metric import Judges


class Brightness:
    """A judge that sees of a picture how bright it is, and of a text whether it names a dog."""

    name = "brightness"
    fed = "pixels"

    def images(self, pictures):
        level = torch.as_tensor(np.asarray(pictures, dtype=np.float32).mean(axis=(1, 2, 3)) / 255)
        return torch.stack([level.sqrt(), (1 - level).sqrt()], dim=1)

    def texts(self, texts):
        return torch.tensor(
            [[1.0, 0.0] if "a photo of dog" in text else [0.0, 1.0] for text in texts]
        )


JUDGES = Judges(clip=Brightness(), dino=Brightness())
