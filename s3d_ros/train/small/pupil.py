"""The small model while it learns to answer: many questions to a picture in one pass, and what only training needs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from s3d_ros.prompt.replies import read_value
from s3d_ros.train.small.decoding import KeysValues, read_prefix, read_questions
from s3d_ros.train.small.lessons import Lesson
from s3d_ros.train.small.lookup import TURN_SCALE, codes, number_ids, turns_of
from s3d_ros.train.small.measuring import GAUGES
from s3d_ros.train.small.pictures import Picture
from s3d_ros.train.small.prompting import Asked, Prompts, padded
from s3d_ros.train.small.questions import AskedThing
from s3d_ros.train.small.reading import tokens_of
from s3d_ros.train.small.sprites import LABELS

_GROUP = 20  # questions of about the same length that go through the decoder together
_POINTING, _WHICH, _GAUGE = 10.0, 0.5, 2.0  # weights of where a named thing is, of what it is, and of how two lie
_BESIDE = 0.3  # of all of these, beside the answers
_PLAIN_KEPT = 0.15
_RECALLED = 3
_TALLIED, _TALLY = 0.3, 4.0
_ANCHORED = 1.0
_READ = 0.6  # so much of what the look-up leaves of a place gives the place


class Pointer(nn.Module):
    """What a token that names a thing tells of it: where it is and how far it reaches (4), and its category."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.spot = nn.Linear(hidden, 4)
        self.which = nn.Linear(hidden, hidden)

    def loss(self, hidden: torch.Tensor, rows: Sequence[int], one: Picture, labels: torch.Tensor) -> torch.Tensor:
        """hidden: (N, d) of naming tokens; rows: the things that they name; labels: (L, d) the categories' words."""
        spot = torch.from_numpy(np.concatenate([one.spots, one.sizes], axis=1)[list(rows)]).float()
        which = torch.tensor([LABELS.index(one.things[k].label) for k in rows])
        where = functional.smooth_l1_loss(self.spot(hidden).float().sigmoid(), spot, beta=0.02)
        told = functional.cross_entropy(functional.linear(self.which(hidden), labels * 4).float(), which)
        return _POINTING * where + _WHICH * told


class Pupil(nn.Module):
    """The model, with what only training needs. blind: it gets no picture, only the words."""

    def __init__(self, model: Any, tokenizer: Any, prompts: Prompts, blind: bool = False, bf16: bool = True) -> None:
        super().__init__()
        self.model, self.prompts, self.blind, self.bf16 = model, prompts, blind, bf16
        hidden = model.config.text_config.hidden_size
        self.pointer = Pointer(hidden)
        self.gauge = nn.Linear(hidden, GAUGES)
        self.recall = nn.Linear(hidden, 2 * _RECALLED)
        self.anchor = nn.Linear(hidden, len(codes(hidden).turns))
        self.tally = nn.Linear(hidden, 1)
        self._read_places(codes(hidden).places)
        self.chance = torch.Generator()  # of what is left out of pictures
        self.labels = codes(hidden).labels
        self.numbers = number_ids(tokenizer)[0]
        fixed = number_ids(tokenizer).flatten()  # their vectors hold digits: numbers never trained on are alike
        model.get_input_embeddings().weight.register_hook(lambda grad: grad.index_fill(0, fixed, 0.0))

    @torch.no_grad()
    def _read_places(self, places: torch.Tensor) -> None:
        """Let what only training needs begin where the look-up leaves places; else it takes longest to learn."""
        for read, held in ((self.pointer.spot, places[0]), (self.recall, places[:, :2].flatten(0, 1))):
            read.weight.copy_(_READ * held)
            read.bias.zero_()
        self.anchor.weight.copy_(_READ / TURN_SCALE * codes(places.shape[-1]).turns)
        self.anchor.bias.zero_()
        self.pointer.spot.bias[2:] = -2.0  # most things reach over a tenth of the picture

    @property
    def decoder(self) -> Any:
        return self.model.model.language_model

    def train(self, mode: bool = True) -> Pupil:
        """Set the mode of all but the tower, which stays as it was read with."""
        super().train(mode)
        self.model.model.vision_tower.eval()
        return self

    def seen(self, lessons: Sequence[Lesson]) -> torch.Tensor | None:
        """Return pictures' tokens (B, n, d)."""
        if self.blind:
            return None
        return tokens_of(self.model, torch.cat([x.pixels for x in lessons]), self.bf16).flatten(1, 2)

    def read(
        self, one: Picture, tokens: torch.Tensor | None, sparse: bool = False
    ) -> tuple[KeysValues, int, torch.Tensor]:
        """Return the decoder's keys and values of all before a picture's questions, how long that is, and a loss.

        The loss is of what the legend's lines tell: how many of their category there are up to them. tokens: (n, d).
        sparse: most of the cells that no plate covers are left out.
        """
        ids = torch.tensor([*self.prompts.prefix(one.side_m), *self.prompts.legend(one)])
        image = ids == self.prompts.image_id
        keep = torch.ones(len(ids), dtype=torch.bool)
        if tokens is None:
            keep = ~image
        elif sparse:
            marked = torch.from_numpy(one.number > 0).flatten()
            keep[image] = marked | (torch.rand(len(marked), generator=self.chance) < _PLAIN_KEPT)
        places = torch.arange(len(ids))[keep]
        embedded = self.decoder.embed_tokens(ids.masked_fill(image, 0)[keep])
        if tokens is not None:
            spread = torch.zeros_like(embedded)
            spread[image[keep]] = tokens[keep[image]].to(embedded.dtype)
            embedded = torch.where(image[keep][:, None], spread, embedded)
        kept, hidden = read_prefix(self.decoder, embedded, places)
        return kept, len(ids), _TALLIED * self._tallied(hidden, ids[keep], one)

    def answers(
        self, lesson: Lesson, tokens: torch.Tensor | None, sparse: bool = False, words: float = 1.0
    ) -> tuple[torch.Tensor, list[tuple[AskedThing, list[int]]]]:
        """Return the loss of a lesson's questions, and for each what was said, token by token after the right ones.

        words: weight of the answers, beside what questions' tokens must tell.
        """
        kept, start, tallied = self.read(lesson.picture, tokens, sparse)
        embedding = self.decoder.embed_tokens
        asked = sorted(lesson.asked, key=lambda a: len(a.ids))
        total = torch.zeros(())
        said: list[tuple[AskedThing, list[int]]] = []
        for first in range(0, len(asked), _GROUP):
            group = asked[first : first + _GROUP]
            rows = padded([a.ids for a in group], self.prompts.stop_id)
            hidden = read_questions(self.decoder, kept, embedding(rows), start)
            at = [(k, i) for k, a in enumerate(group) for i in range(a.answer, len(a.ids))]
            row, column = (torch.tensor(x) for x in zip(*at, strict=True))
            wanted = torch.tensor([group[k].ids[i] for k, i in at])
            logits = functional.linear(hidden[row, column - 1], embedding.weight).float()
            total = total + words * functional.cross_entropy(logits, wanted, reduction="sum")
            best = logits.argmax(dim=-1).tolist()
            for k, a in enumerate(group):
                said.append((a.question, [b for b, (r, _) in zip(best, at, strict=True) if r == k]))
            if tokens is not None:
                total = total + _BESIDE * len(group) * self._beside(hidden, group, lesson.picture)
        return total / max(1, len(asked)) + tallied, said

    def _beside(self, hidden: torch.Tensor, group: Sequence[Asked], one: Picture) -> torch.Tensor:
        """Return the loss of what questions' tokens tell: where things lie, and how to each other."""
        loss = torch.zeros(())
        points = [(k, i, thing) for k, a in enumerate(group) for i, thing in a.points]
        if points:
            row, column, things = (list(x) for x in zip(*points, strict=True))
            loss = loss + self.pointer.loss(hidden[row, column], things, one, self.labels)
        wanted = torch.tensor([a.question.gauge for a in group])
        ends = hidden[range(len(group)), [a.answer - 1 for a in group]]
        told = self.gauge(ends).float()
        asked = ~wanted.isnan()
        if points:
            loss = loss + _POINTING * self._recalled(ends, group, one)
        loss = loss + _ANCHORED * self._anchored(ends, group, one)
        if asked.any():
            loss = loss + _GAUGE * functional.smooth_l1_loss(told[asked], wanted[asked], beta=0.1)
        return loss

    def _tallied(self, hidden: torch.Tensor, ids: torch.Tensor, one: Picture) -> torch.Tensor:
        """hidden: (P, d) of the tokens ids (P,) before the questions."""
        rows = (ids[:, None] == self.numbers[None]).nonzero()
        if not len(rows):
            return torch.zeros(())
        label_of = {o.id: o.label for o in one.things}
        counts: Counter[str] = Counter()
        wanted = []
        for n in rows[:, 1].tolist():
            counts[label_of[n]] += 1
            wanted.append(counts[label_of[n]] / _TALLY)
        told = self.tally(hidden[rows[:, 0]])[:, 0].float()
        return functional.smooth_l1_loss(told, torch.tensor(wanted), beta=0.1)

    def _anchored(self, ends: torch.Tensor, group: Sequence[Asked], one: Picture) -> torch.Tensor:
        """Return the loss of what questions' ends tell of the place that the sought thing is near to."""
        row = {o.id: k for k, o in enumerate(one.things)}
        asked = [k for k, a in enumerate(group) if a.question.anchor]
        if not asked:
            return torch.zeros(())
        spots = torch.from_numpy(one.spots[[row[group[k].question.anchor] for k in asked]]).float()
        return functional.smooth_l1_loss(self.anchor(ends[asked]).float(), turns_of(spots), beta=0.1)

    def _recalled(self, ends: torch.Tensor, group: Sequence[Asked], one: Picture) -> torch.Tensor:
        """Return the loss of what the ends of questions tell of where the last things are that they name."""
        wanted = torch.full((len(group), _RECALLED, 2), torch.nan)
        for k, a in enumerate(group):
            named = [thing for i, thing in sorted(a.points) if i < a.answer - 1][::-1][:_RECALLED]
            wanted[k, : len(named)] = torch.from_numpy(one.spots[named]).float()
        wanted = wanted.flatten(1)
        asked = ~wanted.isnan()
        return functional.smooth_l1_loss(self.recall(ends).float().sigmoid()[asked], wanted[asked], beta=0.02)


@torch.no_grad()
def score(pupil: Pupil, lessons: Sequence[Lesson]) -> dict[str, float]:
    """Return the share of right answers of each kind, each token being foretold after the right ones.

    Distances are right within a fifth. "KIND named": of those that call things by category.
    """
    pupil.eval()
    right: dict[str, list[bool]] = defaultdict(list)
    for lesson in lessons:
        seen = pupil.seen([lesson])
        _, said = pupil.answers(lesson, None if seen is None else seen[0])
        for question, ids in said:
            told = list(takewhile(lambda token: token != pupil.prompts.stop_id, ids))  # nothing is said after it
            good = is_right(question, pupil.prompts.tokenizer.decode(told, skip_special_tokens=True))
            right[question.kind + (" named" if question.named and question.kind not in _ALWAYS else "")].append(good)
    pupil.train()
    return {kind: float(np.mean(right[kind])) for kind in sorted(right)}


_ALWAYS = ("id", "count")  # name categories anyway


def is_right(question: AskedThing, said: str) -> bool:
    """Tell whether a reply is right: a distance within a fifth, all else to the letter, but for a full stop."""
    said = said.strip().rstrip(".").lower()
    if question.kind == "distance" and question.value is not None:
        value, _ = read_value(said)
        return value is not None and abs(value - question.value) <= 0.2 * question.value
    if question.objects:
        return said == f"<obj{question.objects[0]:03d}>"
    return said == question.answer.lower()
