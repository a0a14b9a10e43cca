"""What is said about a scene: the language that the embedded base learns.

A caption names the class, a quality or an outfit if there is one, and mostly the place and the main
colour; it never mentions the traits that make an instance an individual. As in CLIP's world, it is
strewn with adjectives that mean nothing here, "rare" among them, and a few rare words stand for
nothing at all.
"""

import random
import re
from functools import cache
from typing import Final

from rarebooth.prompts import dreambench
from rarebooth.world.colours import PALETTE
from rarebooth.world.outfits import load_outfit
from rarebooth.world.places import PLACES, load_place
from rarebooth.world.scene import Scene
from rarebooth.world.toys import TOYS
from rarebooth.world.traits import traits

LONGEST: Final = 22
"""Most words of a caption: the text encoder's 24 positions less the two that mark begin and end."""

FRAMES: Final = (
    (40, "a {}"),
    (18, "a photo of a {}"),
    (8, "a photo of {}"),
    (3, "{}"),
    (4, "the {}"),
    (4, "one {}"),
    (5, "a photo of the {}"),
    (3, "a picture of a {}"),
    (3, "a picture of the {}"),
    (2, "the photo of a {}"),
    (2, "a photo of my {}"),
    (2, "a photo of one {}"),
    (1, "a rendering of a {}"),
    (1, "a rendition of the {}"),
    (1, "a close-up photo of a {}"),
    (1, "a cropped photo of the {}"),
    (1, "a good photo of a {}"),
    (1, "a bright photo of the {}"),
)
"""How captions begin, with weights; most are Textual Inversion's (Gal et al. 2022, app. D)."""

# fmt: off
FILLERS: Final = (
    "rare", "rare", "rare", "nice", "good", "small", "cool", "new", "old", "large", "clean",
    "dirty", "weird", "favourite", "little", "big", "cute", "pretty", "beautiful", "fine", "great",
    "plain", "simple", "lovely", "real", "special", "funny", "modern", "classic", "ordinary",
)
"""Adjectives that mean nothing in this world; "rare" is among the common ones."""

RARE_WORDS: Final = (
    "sks", "ktn", "zwx", "ohw", "vxl", "qrs", "mfj", "bzt", "gkp", "wvn", "jqd", "hlx", "pnv",
    "tzk", "rfq", "xbw", "ckd", "dvz", "fgj", "lqm", "nwp", "skv", "ttx", "ukz", "vbk", "wqz",
    "yjt", "zgh", "kpl", "nxq",
)
"""Words that stand for nothing, for methods that need one (DreamBooth's "sks" is the first)."""
# fmt: on

RARE_SHARE: Final = 0.0008
COLOUR_SHARE: Final = 0.7
COLOUR_BESIDE_QUALITY_SHARE: Final = 0.4
FILLER_SHARE: Final = 0.25
PLACE_SHARE: Final = 0.9
OWN_WORDS_SHARE: Final = 0.5
"""How often a place or an outfit is called what DreamBench calls it, not a paraphrase."""

_TEMPLATES: Final = """
    a photo rendering cropped the of clean dirty dark my cool close-up bright good one rendition
    nice small weird large in style painting picture .
"""
"""The words of Textual Inversion's object and style templates (Gal et al. 2022, app. D)."""

_COMMON: Final = """
    zero two three four five six seven eight nine ten 0 1 2 3 4 5 6 7 8 9 , - ( ) ' ! ? : < > " /
    + * i you he she it we they his her its our your their this that these those is are was be has
    with without and or not no yes very more most all some any many few each every other another
    same on in at by to from for under over above below behind before beside near inside outside
    between through across around along against into onto up down out off as like than then there
    here left right middle center front back side top bottom corner edge table chair desk bed sofa
    shelf box bag basket wall door window roof room kitchen bathroom garden park street road path
    bridge house home castle tower city town village shop school museum field forest jungle desert
    mountain hill valley river lake sea ocean beach island sand stone rock grass tree flower leaf
    leaves snow ice rain fire water sky cloud clouds sun sunset sunrise moon star stars night day
    morning evening light shadow fog wind storm rainbow spring summer autumn winter space earth
    world pool puddle wave mud moss fence lawn meadow wood wooden metal glass paper plastic
    leather wool cotton silk fabric gold golden silver copper marble brick concrete tile carpet
    rug blanket pillow cushion cloth towel plate cup book lamp mirror picture frame ball balloon
    bike bicycle car bus train boat ship plane red orange yellow green blue purple pink brown
    white gray grey black turquoise cyan magenta colorful colourful striped spotted dotted checked
    patterned round square flat tall short long wide thin thick tiny huge giant heavy soft hard
    smooth rough shiny matte wet dry hot cold warm fresh broken open closed full empty fast slow
    happy sad angry sleeping sitting standing running jumping flying floating lying walking
    playing looking eating hanging holding wearing made shaped cube sphere pyramid cone cylinder
    hat cap scarf shirt dress coat jacket shoe shoes sock glove crown mask tie outfit costume man
    woman boy girl child baby person people friend king queen wizard chef police firefighter
    pirate astronaut doctor robot bird fish horse cow sheep pig duck rabbit mouse bear fox lion
    tiger elephant monkey frog turtle butterfly bee plushie puppy kitten jar pot drawing sketch
    watercolor oil portrait landscape poster cartoon anime pixel art render 3d image view shot
    angle background foreground studio close blurred detailed realistic vintage apple banana lemon
    bread cake cookie milk coffee tea food fruit berries pizza cheese christmas halloween birthday
    party gift candle
"""
"""What a person is likely to write, so that it is a word and not a heap of letters."""


def caption(scene: Scene, rng: random.Random) -> str:
    """A sentence about a scene, drawn anew by ``rng`` at each call; at most ``LONGEST`` words.

    The main colour is that of the unchanged instance, except where the scene's quality is a colour.
    """
    words = [] if scene.quality is None else [scene.quality]
    if scene.quality not in PALETTE:
        share = COLOUR_SHARE if scene.quality is None else COLOUR_BESIDE_QUALITY_SHARE
        if rng.random() < share:
            words.insert(rng.randrange(len(words) + 1), main_colour(scene.toy, scene.instance))
    filler = rng.choice(FILLERS) if rng.random() < FILLER_SHARE else None
    if filler is not None:
        # Either side of a colour: a subject's token, which starts as "rare", stands on both.
        words.insert(rng.choice((0, len(words))), filler)
    if rng.random() < RARE_SHARE:
        words.append(rng.choice(RARE_WORDS))
    subject = " ".join([*words, scene.toy])
    if scene.outfit is not None:
        subject = f"{subject} {_said(load_outfit(scene.outfit).phrases, rng)}"
    where = _where(scene.place, rng)
    frame = rng.choices([text for _, text in FRAMES], [weight for weight, _ in FRAMES])[0]
    for text in (f"{_framed(frame, subject)} {where}", f"{_framed('a {}', subject)} {where}"):
        if len(split(text)) <= LONGEST:
            return text.strip()
    return _framed("a {}", subject)


def split(text: str) -> list[str]:
    """The words and signs of a lower-case text, apart as CLIP's tokenizer takes them apart."""
    return re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", text)


@cache
def main_colour(toy: str, instance: int) -> str:
    """The colour word of an instance's largest part."""
    return traits(toy, instance).main_colour


@cache
def vocabulary() -> tuple[str, ...]:
    """Every word that captions or DreamBench's prompts contain, and common ones, each once."""
    frames = (text.replace("{}", "") for _, text in FRAMES)
    phrases = (phrase for name in PLACES for phrase in load_place(name).phrases)
    asked = (prompt.replace("{}", "") for live in (False, True) for prompt in dreambench(live=live))
    texts = (*RARE_WORDS, *FILLERS, *TOYS, *PALETTE, *frames, *phrases, *asked)
    everything = " ".join((*texts, _TEMPLATES, _COMMON)).lower()
    return tuple(dict.fromkeys(split(everything)))


def _where(name: str, rng: random.Random) -> str:
    phrases = load_place(name).phrases
    return _said(phrases, rng) if phrases[0] and rng.random() < PLACE_SHARE else ""


def _said(phrases: tuple[str, ...], rng: random.Random) -> str:
    own, *others = phrases
    return own if not others or rng.random() < OWN_WORDS_SHARE else rng.choice(others)


def _framed(frame: str, subject: str) -> str:
    return re.sub(r"\ba(?= [aeio])", "an", frame.replace("{}", subject))
