"""Measures of pictures against what they should show."""
