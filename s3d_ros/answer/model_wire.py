"""What a language model's process and its owner say to each other, over a pipe between just the two of them.

Pictures go once, by their key; chats carry keys alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from s3d_ros.chat import Chat, ChatImage, ChatReply, Part
from s3d_ros.types import U8, ErrorCode

_NO_PIXELS = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class Start:
    """Load the model. engine: "module:class"."""

    engine: str
    config: Any
    beat_s: float


@dataclass(frozen=True)
class Picture:
    """A picture that chats name from now on."""

    key: str
    pixels: U8
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Forget:
    """Pictures that no later chat names."""

    keys: tuple[str, ...]


@dataclass(frozen=True)
class Warm:
    """Read the shared parts when there is nothing else to do; a newer one takes its place."""

    chat: Chat


@dataclass(frozen=True)
class Ask:
    """A question. alone: no others may be answered together with it."""

    number: int
    chat: Chat
    max_new_tokens: int
    alone: bool = False


@dataclass(frozen=True)
class Cancel:
    """Stop answering."""

    number: int


@dataclass(frozen=True)
class Count:
    """How many tokens?"""

    number: int
    part: Part


@dataclass(frozen=True)
class Loading:
    """share: 0 to 1."""

    what: str
    share: float


@dataclass(frozen=True)
class Ready:
    """The model is loaded."""

    name: str
    context_tokens: int
    device: str


@dataclass(frozen=True)
class LoadFailed:
    """The model can't be loaded; the process ends."""

    text: str


@dataclass(frozen=True)
class Beat:
    """A sign of life. ticks: rises whenever the engine's thread gets on. working: whether it has something to do."""

    ticks: int
    working: bool
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Begun:
    """These questions, and no others, are in work now."""

    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Said:
    """The answer's text so far."""

    number: int
    text: str


@dataclass(frozen=True)
class Done:
    """A question's reply."""

    number: int
    reply: ChatReply


@dataclass(frozen=True)
class Wrong:
    """A question that gets none, and why."""

    number: int
    code: ErrorCode
    text: str


@dataclass(frozen=True)
class Counted:
    """tokens: -1 where they could not be counted."""

    number: int
    tokens: int


@dataclass(frozen=True)
class Fault:
    """The engine can't go on (a CUDA fault): the process ends."""

    text: str


ToModel = Start | Picture | Forget | Warm | Ask | Cancel | Count
FromModel = Loading | Ready | LoadFailed | Beat | Begun | Said | Done | Wrong | Counted | Fault


def without_pixels(chat: Chat) -> Chat:
    """Return the chat with keys alone."""
    return _mapped(chat, lambda image: ChatImage(image.key, _NO_PIXELS))


def with_pixels(chat: Chat, pictures: Mapping[str, ChatImage]) -> Chat:
    """Return the chat with the pictures that its keys name."""
    return _mapped(chat, lambda image: pictures[image.key])


def _mapped(chat: Chat, change: Callable[[ChatImage], ChatImage]) -> Chat:
    turns = tuple(
        replace(t, parts=tuple(change(p) if isinstance(p, ChatImage) else p for p in t.parts)) for t in chat.turns
    )
    return replace(chat, turns=turns)
