"""Teach a text-to-image model one subject from a few photos, without making it forget the rest."""

__version__ = "0.1.0"
