"""Prompts with their sources: DreamBench's, and the scenes of a contact sheet.

In every template ``{}`` stands for the subject's phrase, or for the plain class noun.
"""

from typing import Final

PLAIN: Final = "a photo of {}"
"""The prompt a subject is learnt with, and the first picture that is drawn of it."""

TEMPLATES: Final = {
    "object": (
        "a photo of a {}",
        "a rendering of a {}",
        "a cropped photo of the {}",
        "the photo of a {}",
        "a photo of a clean {}",
        "a photo of a dirty {}",
        "a dark photo of the {}",
        "a photo of my {}",
        "a photo of the cool {}",
        "a close-up photo of a {}",
        "a bright photo of the {}",
        "a cropped photo of a {}",
        "a photo of the {}",
        "a good photo of the {}",
        "a photo of one {}",
        "a close-up photo of the {}",
        "a rendition of the {}",
        "a photo of the clean {}",
        "a rendition of a {}",
        "a photo of a nice {}",
        "a good photo of a {}",
        "a photo of the nice {}",
        "a photo of the small {}",
        "a photo of the weird {}",
        "a photo of the large {}",
        "a photo of a cool {}",
        "a photo of a small {}",
    ),
    "style": tuple(
        f"{picture} in the style of {{}}"
        for picture in (
            "a painting",
            "a rendering",
            "a cropped painting",
            "the painting",
            "a clean painting",
            "a dirty painting",
            "a dark painting",
            "a picture",
            "a cool painting",
            "a close-up painting",
            "a bright painting",
            "a cropped painting",
            "a good painting",
            "a close-up painting",
            "a rendition",
            "a nice painting",
            "a small painting",
            "a weird painting",
            "a large painting",
        )
    ),
}
"""What Textual Inversion tells photos by (Gal et al. 2023, app. D; two styles stand twice)."""

SHARED_SCENES: Final = (
    "in the jungle",
    "in the snow",
    "on the beach",
    "on a cobblestone street",
    "on top of pink fabric",
    "on top of a wooden floor",
    "with a city in the background",
    "with a mountain in the background",
    "with a blue house in the background",
    "on top of a purple rug in a forest",
)
"""Scenes that DreamBench asks of objects and of live subjects (Ruiz et al. 2023, data set)."""

OBJECT_SCENES: Final = (
    "with a wheat field in the background",
    "with a tree and autumn leaves in the background",
    "with the Eiffel Tower in the background",
    "floating on top of water",
    "floating in an ocean of milk",
    "on top of green grass with sunflowers around it",
    "on top of a mirror",
    "on top of the sidewalk in a crowded street",
    "on top of a dirt road",
    "on top of a white rug",
)
"""Scenes that DreamBench asks of objects only (Ruiz et al. 2023, data set)."""

LIVE_SCENES: Final = (
    "wearing a red hat",
    "wearing a santa hat",
    "wearing a rainbow scarf",
    "wearing a black top hat and a monocle",
    "in a chef outfit",
    "in a firefighter outfit",
    "in a police outfit",
    "wearing pink glasses",
    "wearing a yellow shirt",
    "in a purple wizard outfit",
)
"""Accessories and outfits that DreamBench asks of live subjects only (Ruiz et al. 2023)."""

CUBE: Final = "cube shaped"
QUALITIES: Final = ("red", "purple", "shiny", "wet", CUBE)
"""Properties that DreamBench asks of every subject (Ruiz et al. 2023, data set)."""


def dreambench(*, live: bool) -> tuple[str, ...]:
    """DreamBench's 25 prompts for an object, or for a live subject, in its order."""
    scenes = SHARED_SCENES + (LIVE_SCENES if live else OBJECT_SCENES)
    return tuple(f"a {{}} {scene}" for scene in scenes) + tuple(f"a {q} {{}}" for q in QUALITIES)


SHEET_SCENES: Final = tuple(
    f"{PLAIN} {scene}"
    for scene in (
        "in the jungle",
        "in the snow",
        "on the beach",
        "on a cobblestone street",
        "on top of a wooden floor",
        "on top of green grass with sunflowers around it",
    )
)
"""The six scenes of a contact sheet."""
