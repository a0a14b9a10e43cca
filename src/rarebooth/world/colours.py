"""The named colours of the miniature world."""

PALETTE: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.07, 0.09),
    "orange": (0.98, 0.50, 0.05),
    "yellow": (0.98, 0.85, 0.10),
    "green": (0.08, 0.60, 0.18),
    "turquoise": (0.10, 0.78, 0.74),
    "blue": (0.10, 0.28, 0.88),
    "purple": (0.50, 0.13, 0.72),
    "pink": (0.99, 0.55, 0.74),
    "brown": (0.45, 0.25, 0.11),
    "white": (0.95, 0.95, 0.94),
    "gray": (0.52, 0.53, 0.55),
    "black": (0.08, 0.08, 0.09),
}
"""Display colours, 0..1, by the word a caption uses."""
