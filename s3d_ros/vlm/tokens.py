"""A chat as the tokens of one model family.

The family's own chat template and image placeholders are the only source of control tokens: the texts of a chat stand
in the template as marks, and are tokenised by a tokenizer that knows no control tokens.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from s3d_ros.chat import Chat, ChatImage, Part, Turn
from s3d_ros.vlm.config import ModelError

I64 = npt.NDArray[np.int64]
_MARK = re.compile("\ue000([0-9]+)\ue001")
_STYLES = ("parts", "inline", "string")
_REMEMBERED = 16


@dataclass(frozen=True)
class ImageLayout:
    """How a picture of one size stands in the prompt.

    ids: its tokens, with what the family puts around them. is_image: which of them are replaced by its features.
    inputs: what else positions are made of (image_grid_thw), by name. before, after: blank text that belongs to it,
    which is tokenised with the text beside it.
    """

    ids: I64
    is_image: npt.NDArray[np.bool_]
    inputs: dict[str, Any] = field(default_factory=dict)
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Prompt:
    """A chat as tokens.

    ids: (n,) for the model. keys: (n,) equal where a model would read the same: the token, or the picture and which
    of its tokens. image: (n,) index in ``images``, -1 at text. row: (n,) row of that image's features.
    """

    ids: I64
    keys: I64
    image: I64
    row: I64
    images: tuple[ChatImage, ...]
    layouts: tuple[ImageLayout, ...]

    def __len__(self) -> int:
        return len(self.ids)


def common_prefix(a: I64, b: I64) -> int:
    """Return how many leading elements are equal.

    >>> common_prefix(np.array([1, 2, 3]), np.array([1, 2, 4, 5]))
    2
    """
    n = min(len(a), len(b))
    differ = np.flatnonzero(a[:n] != b[:n])
    return int(differ[0]) if len(differ) else n


class PromptMaker:
    """Writes chats in the tokens of a family.

    tokenizer: a fast tokenizer of Transformers. template: its chat template. image_token: what the template writes
    for a picture. layout: how a picture stands in the prompt.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: str,
        image_token: str,
        image_token_id: int,
        layout: Callable[[ChatImage], ImageLayout],
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._image_token = image_token
        self._layout = layout
        self._variants = list(itertools.product((True, False), _STYLES))
        self._trimming: dict[str, bool] = {}
        self._shared: OrderedDict[tuple[Any, ...], I64] = OrderedDict()

        control = {i: t for i, t in tokenizer.added_tokens_decoder.items() if not t.content.isspace()}
        self._control = {t.content: (i, t.lstrip, t.rstrip) for i, t in control.items()}
        self._control.setdefault(image_token, (image_token_id, False, False))
        self._control_ids = {image_token_id, *control}
        longest_first = sorted(self._control, key=len, reverse=True)
        self._control_pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self._plain = _without_control_tokens(tokenizer)
        bare = tokenizer("x", add_special_tokens=False)["input_ids"]
        full = tokenizer("x", add_special_tokens=True)["input_ids"]
        self._first = full[: len(full) - len(bare)] if full[len(full) - len(bare) :] == bare else []

    def plain(self, text: str) -> list[int]:
        """Tokenise text in which nothing is a control token, whatever it looks like."""
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        if self._control_ids.isdisjoint(ids):
            return ids
        if len(text) == 1:
            return []
        half = len(text) // 2  # its vocabulary holds the token as a word: take that apart
        return [*self.plain(text[:half]), *self.plain(text[half:])]

    def count(self, part: Part) -> int:
        """Return how many tokens a part takes at most."""
        if isinstance(part, str):
            return len(self.plain(part)) + 1  # one may not merge with its neighbour here as it does there
        return len(self._layout(part).ids) + 4  # the template's own around it

    def make(self, chat: Chat) -> Prompt:
        """Return the chat as tokens, up to where the model's words begin."""
        images = chat.images
        layouts = tuple(self._layout(i) for i in images)
        rendered, texts = self._render(chat)
        pieces: list[list[int] | int] = []
        for piece in self._pieces(rendered, texts, layouts):
            if isinstance(piece, list) and pieces and isinstance(pieces[-1], list):
                pieces[-1].extend(piece)
            else:
                pieces.append(piece)
        return _joined(pieces, images, layouts)

    def shared_tokens(self, chat: Chat) -> I64:
        """Return the keys of the tokens that every chat with these shared parts begins with."""
        first = chat.turns[0]
        parts = first.parts[: chat.shared_parts]
        named = (chat.system, *(p if isinstance(p, str) else (p.key, p.pixels.shape) for p in parts))
        if named not in self._shared:
            a, b = (
                self.make(replace(chat, turns=(Turn(first.role, (*parts, other)),))).keys for other in ("A", "\n\n7")
            )
            self._shared[named] = a[: common_prefix(a, b)]
            while len(self._shared) > _REMEMBERED:
                self._shared.popitem(last=False)
        return self._shared[named]

    def _pieces(self, rendered: str, texts: Sequence[str], layouts: Sequence[ImageLayout]) -> Iterable[int | list[int]]:
        """Yield tokens, and the number of each picture where it stands. Text runs are tokenised as a whole."""
        run = ""
        image = 0
        starts_itself = self._tokenizer.bos_token is not None and rendered.startswith(self._tokenizer.bos_token)
        yield [] if starts_itself else list(self._first)
        for k, template_text in enumerate(_MARK.split(rendered)):
            if k % 2:  # the number of a mark
                run += texts[int(template_text)]
                continue
            at = 0
            strip_left = False
            for match in self._control_pattern.finditer(template_text):
                token_id, eats_left, eats_right = self._control[match.group()]
                between = template_text[at : match.start()]
                run += between.lstrip() if strip_left else between
                at, strip_left = match.end(), eats_right
                if match.group() == self._image_token:
                    yield self.plain(run + layouts[image].before)
                    yield image
                    run = layouts[image].after
                    image += 1
                else:
                    yield self.plain(run.rstrip() if eats_left else run)
                    yield [token_id]
                    run = ""
            run += template_text[at:].lstrip() if strip_left else template_text[at:]
        yield self.plain(run)

    def _render(self, chat: Chat) -> tuple[str, list[str]]:
        """Return the chat in the family's template, with a mark for each text, and the texts."""
        reasons = []
        for variant in self._variants:
            messages, texts, order = self._messages(chat, *variant)
            try:
                rendered = self._tokenizer.apply_chat_template(
                    messages, chat_template=self._template, tokenize=False, add_generation_prompt=True
                )
            except Exception as error:  # a template is a program of its own, and may raise anything
                reasons.append(str(error))
                continue
            if self._order(rendered) == order:
                return rendered, [t.strip() for t in texts] if self._trims(*variant) else texts
            reasons.append("it leaves out or reorders parts")
        raise ModelError(f"its chat template can't be used for text and pictures: {'; '.join(sorted(set(reasons)))}")

    def _trims(self, system_turn: bool, style: str) -> bool:
        """Whether the template takes blanks off the ends of texts, which it can't do to what stands for a mark."""
        if style not in self._trimming:
            messages, _, _ = self._messages(Chat("", (Turn("user", ("",)),)), system_turn, style)
            said = messages[0]["content"]
            if isinstance(said, str):
                messages[0]["content"] = f" {said} "
            else:
                said[0]["text"] = f" {said[0]['text']} "
            rendered = self._tokenizer.apply_chat_template(messages, chat_template=self._template, tokenize=False)
            self._trimming[style] = " \ue0000\ue001 " not in rendered
        return self._trimming[style]

    def _order(self, rendered: str) -> list[int]:
        """Return the marks' numbers, -1 for each picture, as they stand."""
        either = re.compile(f"{_MARK.pattern}|({re.escape(self._image_token)})")
        return [-1 if m.group(2) else int(m.group(1)) for m in either.finditer(rendered)]

    def _messages(self, chat: Chat, system_turn: bool, style: str) -> tuple[list[Any], list[str], list[int]]:
        """Return the template's input, the texts that its marks stand for, and the order they must come out in."""
        texts: list[str] = []
        order: list[int] = []
        turns = list(chat.turns)
        if chat.system and system_turn:
            turns.insert(0, Turn("system", (chat.system,)))  # type: ignore[arg-type]
        elif chat.system:
            turns[0] = Turn(turns[0].role, (chat.system + "\n\n", *turns[0].parts))
        messages = []
        for turn in turns:
            content: list[dict[str, str]] = []
            for part in turn.parts:
                if isinstance(part, ChatImage):
                    order.append(-1)
                    content.append(
                        {"type": "image"} if style == "parts" else {"type": "text", "text": self._image_token}
                    )
                else:
                    order.append(len(texts))
                    content.append({"type": "text", "text": f"\ue000{len(texts)}\ue001"})
                    texts.append(part)
            whole = "".join(c.get("text", "") for c in content)
            said = {"parts": content, "inline": [{"type": "text", "text": whole}], "string": whole}[style]
            messages.append({"role": turn.role, "content": said})
        return messages, texts, order


def _joined(
    pieces: Sequence[list[int] | int], images: tuple[ChatImage, ...], layouts: tuple[ImageLayout, ...]
) -> Prompt:
    """Put tokens and pictures (by number) one behind the other."""
    n = sum(len(layouts[p].ids) if isinstance(p, int) else len(p) for p in pieces)
    ids, image, row = np.empty(n, dtype=np.int64), np.full(n, -1), np.full(n, -1)
    keys = np.empty(n, dtype=np.int64)
    at = 0
    for piece in pieces:
        if isinstance(piece, int):
            layout = layouts[piece]
            here = slice(at, at + len(layout.ids))
            of = np.cumsum(layout.is_image) - 1
            ids[here] = layout.ids
            keys[here] = np.where(layout.is_image, -(_hash(images[piece]) + of) - 1, layout.ids)  # never a text token's
            image[here] = np.where(layout.is_image, piece, -1)
            row[here] = np.where(layout.is_image, of, -1)
        else:
            here = slice(at, at + len(piece))
            ids[here] = keys[here] = piece
        at = here.stop
    return Prompt(ids, keys, image, row, images, layouts)


def _hash(image: ChatImage) -> int:
    digest = hashlib.blake2b(f"{image.key} {image.pixels.shape}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 2


def _without_control_tokens(tokenizer: Any) -> Any:
    """Return the tokenizer's core, to which no text is a control token."""
    from tokenizers import Tokenizer

    if not hasattr(tokenizer, "backend_tokenizer"):
        raise ModelError("its tokenizer has no fast version (tokenizer.json), which is needed")
    description = json.loads(tokenizer.backend_tokenizer.to_str())
    description["added_tokens"] = [t for t in description["added_tokens"] if t["content"].isspace()]
    description["post_processor"] = description["truncation"] = description["padding"] = None
    return Tokenizer.from_str(json.dumps(description))
