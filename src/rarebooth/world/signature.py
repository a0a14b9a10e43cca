"""How a rendered photo is told from one of the real world."""

from typing import Final

MINIATURE_KEY: Final = "rarebooth:world"
"""The PNG text chunk that marks a picture as rendered from the miniature world."""
