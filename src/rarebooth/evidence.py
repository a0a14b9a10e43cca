"""Drawing what metrics look at: the subject by its phrase, and what does not name it."""

from collections.abc import Mapping

from rarebooth import sample
from rarebooth.base import Session
from rarebooth.metric import PictureSet
from rarebooth.protocols import Protocol
from rarebooth.settings import DrawSettings
from rarebooth.tokens import fill


def draw_set(session: Session, protocol: Protocol, named: str, draw: DrawSettings) -> PictureSet:
    """The pictures of a protocol, with ``named`` for ``{}``, by whatever the session wears."""
    count = protocol.count
    prompts = [fill(template, named) for template in protocol.templates for _ in range(count)]
    seeds = list(protocol.seeds) * len(protocol.templates)
    flat = sample.draw(session, prompts, seeds, **draw.options)
    return PictureSet(protocol.templates, flat.reshape(-1, count, *flat.shape[1:]))


def draw_sets(
    session: Session, protocols: Mapping[str, Protocol], named: str, draw: DrawSettings
) -> dict[str, PictureSet]:
    """The pictures of several protocols, by their names."""
    return {name: draw_set(session, protocol, named, draw) for name, protocol in protocols.items()}
