"""The subjects that come with rarebooth: toys of the miniature world that no model saw."""

from importlib import resources
from pathlib import Path


def examples() -> Path:
    """The folder of the subjects that come with rarebooth, a folder of photos each."""
    return Path(str(resources.files("rarebooth") / "assets" / "examples"))
