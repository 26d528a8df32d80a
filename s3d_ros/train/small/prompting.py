"""Questions about a picture as the tokens that the engine makes of them: by the prompter and the engine's own code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from s3d_ros.chat import Chat, ChatImage, Turn
from s3d_ros.offline.questions_wordings import plural
from s3d_ros.prompt.build import Prompter
from s3d_ros.prompt.numbers import Numbering
from s3d_ros.prompt.overview import legend
from s3d_ros.train.small.lookup import BLANK, number_ids
from s3d_ros.train.small.model import CELL_PX, PROMPT, TEMPLATE
from s3d_ros.train.small.pictures import Picture
from s3d_ros.train.small.questions import AskedThing
from s3d_ros.train.small.sprites import LABELS
from s3d_ros.vlm.tokens import ImageLayout, PromptMaker

_IMAGE = "<image>"
_WORDED = 10  # wordings of a task to choose from
_BLURRED, _BLURRED_WORDS = 0.4, 0.15  # share of questions with other words in them, and of the words of these
_SIDES = {"left", "right", "front", "back", "behind"}
_NAMES = {w for label in LABELS for name in (label, plural(label)) for w in name.split()} | _SIDES


@dataclass(frozen=True)
class Asked:
    """A question as tokens, its answer among them.

    ids: what follows the picture and its legend, up to the token that ends the answer. answer: where in it the answer
    begins. points: (N, 2) token, and place among the picture's things of what it names there.
    """

    ids: list[int]
    answer: int
    points: list[tuple[int, int]]
    question: AskedThing


class Prompts:
    """Makes tokens of questions about pictures of one size."""

    def __init__(self, tokenizer: Any, px: int = PROMPT.bev_px) -> None:
        self.tokenizer = tokenizer
        self.image_id = int(tokenizer.convert_tokens_to_ids(_IMAGE))
        self.stop_id = int(tokenizer.eos_token_id)
        tokens = (px // CELL_PX) ** 2
        layout = ImageLayout(np.full(tokens, self.image_id), np.ones(tokens, bool))
        self.maker = PromptMaker(tokenizer, TEMPLATE, _IMAGE, self.image_id, lambda image: layout)
        self._picture = ChatImage("picture", np.zeros((px, px, 3), np.uint8))
        self._prompter = Prompter(PROMPT)
        self._prefixes: dict[float, list[int]] = {}
        self._number = {int(i): n % 1000 for n, i in enumerate(number_ids(tokenizer).flatten())}
        self._after = self._ids("")[len(self.prefix(8.0)) :]
        named = {re.sub(f"^{BLANK}", "", w) for w in tokenizer.get_vocab()} & _NAMES
        self._words = {i for w, i in tokenizer.get_vocab().items()
                       if re.fullmatch(f"{BLANK}[A-Za-z]{{2,}}", w) and w[1:] not in named}  # fmt: skip
        self._any_word = sorted(self._words)

    def prefix(self, side_m: float) -> list[int]:
        """Return the tokens up to the end of the picture, of which those of the picture are ``image_id``."""
        if side_m not in self._prefixes:
            ids = self._ids("", side_m)
            self._prefixes[side_m] = ids[: len(ids) - ids[::-1].index(self.image_id)]
        return self._prefixes[side_m]

    def legend(self, picture: Picture) -> list[int]:
        """Return the tokens that follow a picture for all questions: what its numbers stand for."""
        same = {o.id: o.id for o in picture.things}
        return self.maker.plain(legend(picture.things, Numbering(same, same, {})))

    def asked(self, picture: Picture, question: AskedThing, rng: np.random.Generator) -> Asked | None:
        """Return a question's tokens, in one of its task's wordings; None where it depends on the asker's place."""
        by_id = {o.id: o for o in picture.things}
        same = {k: k for k in by_id}
        numbering = Numbering(same, same, {})
        variant = int(rng.integers(_WORDED)) if rng.random() < 0.6 else 0
        kind, text = self._prompter.text(question.text, by_id, numbering, question.options, variant)
        if kind.situated:
            return None
        ids = self.maker.plain(text)
        row = {o.id: k for k, o in enumerate(picture.things)}
        points = self._numbers(ids, row) + self._names(ids, question, row)
        ids += self._after
        answer = len(ids)
        points += [(answer - 1, row[i]) for i in question.objects[:1]]  # what is sought is found before it is named
        ids += [*self.maker.plain(question.reply(kind.task)), self.stop_id]
        return Asked(ids, answer, points, question)

    def blurred(self, asked: Asked, rng: np.random.Generator) -> Asked:
        """Return a question, now and then with some words replaced by others, as if they were not known.

        Who answers it still does not depend on single words, so words that training never had harm less.
        """
        if rng.random() >= _BLURRED:
            return asked
        ids = list(asked.ids)
        for at in range(asked.answer):
            if ids[at] in self._words and rng.random() < _BLURRED_WORDS:
                ids[at] = self._any_word[int(rng.integers(len(self._any_word)))]
        return replace(asked, ids=ids)

    def _numbers(self, ids: Sequence[int], row: dict[int, int]) -> list[tuple[int, int]]:
        named = ((at, self._number.get(token)) for at, token in enumerate(ids))
        return [(at, row[n]) for at, n in named if n in row]

    def _names(self, ids: Sequence[int], question: AskedThing, row: dict[int, int]) -> list[tuple[int, int]]:
        out = []
        for label, number in question.about:
            name = self.maker.plain(f" {label}")
            for at in range(len(ids) - len(name) + 1):
                if list(ids[at : at + len(name)]) == name and number in row:
                    out.append((at + len(name) - 1, row[number]))
        return out

    def _ids(self, text: str, side_m: float = 8.0) -> list[int]:
        caption = f"Bird's-eye view of the whole scene, {side_m:g} m wide:"
        chat = Chat(self._prompter.system, (Turn("user", (caption, self._picture, text)),))
        return [int(i) for i in self.maker.make(chat).ids]


def padded(rows: Sequence[Sequence[int]], pad: int) -> torch.Tensor:
    """Return rows of tokens as one (N, longest), padded at the end."""
    out = torch.full((len(rows), max(map(len, rows))), pad)
    for k, row in enumerate(rows):
        out[k, : len(row)] = torch.tensor(row)
    return out
