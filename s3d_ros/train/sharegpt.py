"""Chats as ShareGPT records: ``conversations`` of {"from", "value"}, ``<image>`` where a picture is, ``images``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from s3d_ros.chat import Chat, ChatImage, Part

IMAGE = "<image>"


def share_gpt(chat: Chat, answer: str, name_of: Callable[[ChatImage], str]) -> dict[str, Any]:
    """Return a chat and the reply to be learnt: {"system", "conversations", "images"}.

    The texts are the prompt's own, one part a line, adjacent ones as one; typed text can't hold ``<image>``: prompts
    take it apart.
    """
    turns, images = [], []
    for turn in chat.turns:
        parts: list[str] = []
        for part in turn.parts:
            if isinstance(part, ChatImage):
                images.append(name_of(part))
                parts.append(IMAGE)
            elif parts and parts[-1] != IMAGE:
                parts[-1] += part  # templates put nothing between texts either
            else:
                parts.append(part)
        turns.append({"from": "human" if turn.role == "user" else "gpt", "value": "\n".join(parts)})
    turns.append({"from": "gpt", "value": answer})
    return {"system": chat.system, "conversations": turns, "images": images}


def chat_parts(text: str, pictures: Iterator[ChatImage]) -> tuple[Part, ...]:
    """Return the parts that a turn's value was made of: the inverse of ``share_gpt``, adjacent texts being one.

    pictures: one is taken for each ``<image>``.
    """
    parts: list[Part] = []
    lines: list[str] = []
    for line in text.split("\n"):
        if line != IMAGE:
            lines.append(line)
            continue
        if lines:
            parts.append("\n".join(lines))
            lines = []
        parts.append(next(pictures))
    if lines:
        parts.append("\n".join(lines))
    return tuple(parts)
