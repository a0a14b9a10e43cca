"""Names that are chosen for a user who names none; this module imports nothing."""

from typing import Final

METHOD: Final = "two-stage"
"""The method of ``train``."""

EMBEDDED: Final = "embedded"
"""The base that comes in the package: for photos of its own miniature world only."""
