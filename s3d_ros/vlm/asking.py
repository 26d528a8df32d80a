"""One question under way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch

from s3d_ros.chat import Chat, ChatError, ChatReply
from s3d_ros.vlm.tokens import Prompt


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Asked:
    """A question to an engine. cancelled: looked at between tokens, and between pieces of the prompt."""

    chat: Chat
    max_new_tokens: int
    cancelled: Callable[[], bool] = _never


Event = tuple[int, str | ChatReply | ChatError]


@dataclass(eq=False)
class Member:
    """A question in a batch.

    positions: (k, n) of the prompt's tokens. shared: so many of these come again with other questions about the scene.
    tokens, log_probs: what was chosen so far.
    """

    index: int
    asked: Asked
    prompt: Prompt
    positions: torch.Tensor
    shared: int
    started: float = field(default_factory=time.perf_counter)
    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    text: str = ""
    reused: int = 0
    first_token_s: float = 0.0
    done: bool = False

    def restart(self) -> None:
        self.tokens, self.log_probs, self.text, self.first_token_s = [], [], "", 0.0

    @property
    def cancelled(self) -> bool:
        return self.asked.cancelled()

    @property
    def next_position(self) -> int:
        """Where the token chosen last stands: all axes go on from the largest."""
        return int(self.positions.max()) + len(self.tokens)

    def reply(self, text: str, stopped: Literal["end", "length", "cancelled"]) -> ChatReply:
        self.done = True
        sure = math.exp(sum(self.log_probs) / len(self.log_probs)) if self.log_probs else math.nan
        return ChatReply(
            text=text,
            confidence=sure,
            stopped=stopped,
            prompt_tokens=len(self.prompt),
            reused_tokens=self.reused,
            new_tokens=len(self.tokens),
            first_token_s=self.first_token_s,
            total_s=time.perf_counter() - self.started,
        )
