"""A Chat as chat-completion messages: pictures as data URLs, texts without control tokens."""

from __future__ import annotations

import base64
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from math import ceil
from typing import Any

import cv2

from s3d_ros.chat import Chat, ChatImage, Part

# A server tokenises control tokens wherever they stand: <|im_start|>, </s>, <image>, <start_of_turn>, [INST], [IMG].
_CONTROL = re.compile(r"<(?!OBJ\d{1,3}>)(?=[^<>\s]{1,100}>)")
_BRACKETED = re.compile(r"\[(?=/?[A-Z][A-Z_]{1,30}\])")
_PIECES = re.compile(r"[A-Za-z]+|\s+|.", re.DOTALL)
_PIXELS_PER_TOKEN = 28  # along an edge: Qwen2-VL and Qwen2.5-VL; most others take fewer tokens
_TURN_TOKENS = 8


def harmless(text: str) -> str:
    """Take control tokens apart: ``<|im_start|>`` -> ``< |im_start|>``. ``<OBJ012>`` is ours and stays."""
    return _BRACKETED.sub("[ ", _CONTROL.sub("< ", text))


class ImageEncoder:
    """Data URLs of pictures, each encoded once for as long as ``capacity_bytes`` of them suffice."""

    def __init__(self, image_format: str, jpeg_quality: int, capacity_bytes: int) -> None:
        self._format = image_format
        self._settings = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if image_format == "jpeg" else []
        self._capacity = capacity_bytes
        self._urls: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()
        self.size_bytes = 0

    def url(self, image: ChatImage) -> str:
        """Return ``data:image/...;base64,...``."""
        with self._lock:
            if image.key in self._urls:
                self._urls.move_to_end(image.key)
                return self._urls[image.key]
        ok, data = cv2.imencode(f".{self._format}", image.pixels[..., ::-1], self._settings)
        if not ok:
            raise ValueError(f"the picture {image.key} of shape {image.pixels.shape} can't be encoded")
        url = f"data:image/{self._format};base64,{base64.b64encode(data.tobytes()).decode()}"
        with self._lock:
            if image.key not in self._urls:
                self._urls[image.key] = url
                self.size_bytes += len(url)
            while self.size_bytes > self._capacity and len(self._urls) > 1:
                self.size_bytes -= len(self._urls.popitem(last=False)[1])
        return url


def messages_of(chat: Chat, encoder: ImageEncoder) -> list[dict[str, Any]]:
    """Return the messages: system, then the turns in order, so that what is shared comes first."""
    out: list[dict[str, Any]] = []
    if chat.system:
        out.append({"role": "system", "content": harmless(chat.system)})
    for turn in chat.turns:
        content = _content(turn.parts, encoder)
        if all(c["type"] == "text" for c in content):  # some servers take nothing else of an assistant
            out.append({"role": turn.role, "content": "".join(c["text"] for c in content)})
        else:
            out.append({"role": turn.role, "content": content})
    return out


def shared_chat(chat: Chat) -> Chat:
    """Return the chat cut after the parts that all questions about the scene share."""
    first = chat.turns[0]
    return Chat(chat.system, (type(first)(first.role, first.parts[: chat.shared_parts]),), chat.shared_parts)


def _content(parts: Sequence[Part], encoder: ImageEncoder) -> list[dict[str, Any]]:
    """Return content parts. Texts side by side become one, or halves of a control token would meet on the server."""
    out: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, ChatImage):
            out.append({"type": "image_url", "image_url": {"url": encoder.url(part)}})
        elif out and out[-1]["type"] == "text":
            out[-1]["text"] += part
        else:
            out.append({"type": "text", "text": part})
    for content in out:
        if content["type"] == "text":
            content["text"] = harmless(content["text"])
    return out


def estimated_tokens(part: Part) -> int:
    """Return about how many tokens a part takes, rather too many: another tokenizer does the counting."""
    if isinstance(part, ChatImage):
        height, width = part.pixels.shape[:2]
        return ceil(height / _PIXELS_PER_TOKEN) * ceil(width / _PIXELS_PER_TOKEN) + 2
    return sum(_piece_tokens(piece) for piece in _PIECES.findall(part))


def estimated_chat_tokens(chat: Chat) -> int:
    """Return the sum over a chat, its turns' control tokens included."""
    parts = [chat.system, *(p for turn in chat.turns for p in turn.parts)]
    return sum(map(estimated_tokens, parts)) + _TURN_TOKENS * (len(chat.turns) + 2)


def _piece_tokens(piece: str) -> int:
    if piece.isspace():
        return piece.count("\n")  # a blank belongs to the word after it
    return ceil(len(piece) / 4) if piece[0].isascii() and piece[0].isalpha() else len(piece.encode())
