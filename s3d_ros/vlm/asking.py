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
    base: so many it has from what the batch read for all. at: so many are read. tokens, log_probs: what was chosen.
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
    base: int = 0
    at: int = 0
    reused: int = 0
    first_token_s: float = 0.0
    done: bool = False

    def restart(self) -> None:
        self.tokens, self.log_probs, self.text, self.first_token_s = [], [], "", 0.0
        self.start_from(0)

    @property
    def cancelled(self) -> bool:
        return self.asked.cancelled()

    @property
    def is_read(self) -> bool:
        """Whether it has come to choosing tokens."""
        return self.at == len(self.prompt)

    def start_from(self, base: int) -> None:
        self.base = self.at = base

    def row(self, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what is to be read next, the prompt to ``stop`` or the last token: (n,), and its positions (k, n)."""
        if not self.is_read:
            return torch.from_numpy(self.prompt.ids[self.at : stop]), self.positions[:, self.at : stop]
        here = int(self.positions.max()) + len(self.tokens)  # all axes go on from the largest
        return torch.tensor(self.tokens[-1:]), torch.full((len(self.positions), 1), here)

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
