"""What full fine-tuning of Stable Diffusion 2.1 takes; this module imports nothing."""

from typing import Final

SD21_DOWNLOAD: Final = 5.2e9
"""Bytes of its fp32 weights."""

SD21_DISK: Final = 24e9
"""Bytes of a run of 400 steps at its largest: two states and two checkpoints."""

SD21_MEMORY_CPU: Final = 16.7e9
"""Bytes, measured on a CPU in fp32 at 256 pixels, everything included."""

SD21_MEMORY_GPU: Final = 24e9
"""Bytes of GPU memory in bf16 at 512 pixels: estimated from weights, moments and copies."""
