"""What is said to a vision-language model and what comes back.

The same for a model in a child process, for a server, and for training; free of torch. The first turn begins with what
all questions about a scene share (``Chat.shared_parts``), so that a model may keep what it has read of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from s3d_ros.types import U8, ErrorCode


@dataclass(frozen=True)
class ChatImage:
    """A picture for a model. pixels: (H, W, 3) uint8 RGB. Equal ``key`` means equal pixels, for as long as we run.

    beside: arrays that a model with parts of its own needs beside the pixels, by name (``vlm.beside``); equal keys
    mean equal ones.
    """

    key: str
    pixels: U8
    beside: Mapping[str, Any] = field(default_factory=dict, compare=False)


Part = str | ChatImage  # a text is always plain text: control tokens written in it must not act as such


@dataclass(frozen=True)
class Turn:
    """What one side says."""

    role: Literal["user", "assistant"]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Chat:
    """A talk that waits for the model's next words; the last turn is the user's.

    shared_parts: so many parts of the first turn belong to the scene and come again with other questions.
    """

    system: str
    turns: tuple[Turn, ...]
    shared_parts: int = 0

    @property
    def images(self) -> tuple[ChatImage, ...]:
        return tuple(p for t in self.turns for p in t.parts if isinstance(p, ChatImage))


@dataclass(frozen=True)
class ChatReply:
    """The model's words, special tokens left out.

    confidence: geometric mean of the chosen tokens' probabilities, NaN where the model tells none.
    reused_tokens: of ``prompt_tokens``, those that had been read before. stopped: "end", "length" or "cancelled".
    """

    text: str
    confidence: float
    stopped: Literal["end", "length", "cancelled"] = "end"
    prompt_tokens: int = 0
    reused_tokens: int = 0
    new_tokens: int = 0
    first_token_s: float = 0.0
    total_s: float = 0.0


class ChatError(RuntimeError):
    """Why there is no reply; the message says what happened and how to mend it."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class ChatModel(Protocol):
    """A model that can be talked to. Its methods may be called from several threads at once."""

    name: str

    def missing(self) -> str:
        """Say why it can't be asked now ("loading the model: 40 %"), empty when it can."""
        ...

    def context_tokens(self) -> int:
        """Return how many tokens fit, prompt and reply together."""
        ...

    def count_tokens(self, part: Part) -> int:
        """Return how many tokens a part takes, at least roughly and never too few."""
        ...

    def warm(self, chat: Chat) -> None:
        """Read the shared parts of a chat ahead of its questions, if that helps; returns at once."""
        ...

    def ask(
        self,
        chat: Chat,
        max_new_tokens: int,
        on_text: Callable[[str], None] = lambda text: None,
        cancelled: threading.Event | None = None,
    ) -> ChatReply:
        """Return the reply, greedily chosen. Blocks; ``on_text`` gets the text so far. Raises ChatError."""
        ...

    def close(self) -> None:
        """Let go of the model."""
        ...
