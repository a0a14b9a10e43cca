"""A recipe whose every setting shows in what is learnt, and what to hold each against."""

from rarebooth.run import Recipe

RECIPE = Recipe(
    lr=0.05, steps=6, weight_decay=0.2, clip=0.5, betas=(0.6, 0.8), eps=0.03, accumulate=1
)
TYPICAL = {
    "lr": 0.01,
    "weight_decay": 0.0,
    "clip": None,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
}
"""What a loop would use that ignored the setting."""

NO_EIGHT_BIT = "bitsandbytes is not installed; it comes with the extra rarebooth[low-memory]"
"""Why a test of moments in 8 bits is skipped."""
