"""Stages 2 and 3: the decoder learns where things are that are named, then to answer questions about them.

The picture's encoder is as stage 1 left it. In stage 2 a thing's name alone, its number or its category, must tell
where it is; in stage 3 this goes on beside the questions, many to a picture in one pass.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from s3d_ros.prompt.replies import read_value
from s3d_ros.train.small.decoding import read_prefix, read_questions
from s3d_ros.train.small.going_on import check_settings, write_state
from s3d_ros.train.small.ideal import Ideal
from s3d_ros.train.small.model import (
    PIXEL_MEAN,
    PIXEL_STD,
    ModelShape,
    SmallModelError,
    codes,
    make_model,
    make_tokenizer,
    number_ids,
    save_model,
)
from s3d_ros.train.small.pictures import NOTHING, Picture, PictureSettings, picture
from s3d_ros.train.small.prompting import Asked, Prompts, padded
from s3d_ros.train.small.questions import HELD_OUT, TRAINED, AskedThing, Asker
from s3d_ros.train.small.reading import pace, tokens_of
from s3d_ros.train.small.sprites import LABELS

_STATE = "answering.pt"
_MAY_CHANGE = ("steps", "minutes", "every_steps", "workers", "reading", "begun", "fitted")
_EVALUATION_SEED = 1_000_004
_GROUP = 20  # questions of about the same length that go through the decoder together
_POINTING, _WHICH = 10.0, 0.5  # weights of where a named thing is, and of what it is
_BESIDE = 0.3  # of both, beside the answers
_EMPTY_KEPT = 0.25
_MATCHING = 50.0


@dataclass(frozen=True)
class AnsweringSettings:
    """A run of stages 2 and 3. reading: folder of stage 1's run. pointing_steps: of ``steps``, those of stage 2.

    ideal: with the tokens of a perfect encoder instead, so that both halves can be trained at the same time. begun:
    folder of such a run, which is then gone on with; matching_steps: first the projector alone is taught to give
    those tokens.

    blind: the twin that gets no picture, only the words. batch: pictures a step; questions: on each. sparse: share of
    the steps in which most of a picture's black cells are left out, which halves the costs.
    """

    reading: str = ""
    seed: int = 0
    batch: int = 4
    questions: int = 40
    steps: int = 2500
    pointing_steps: int = 300
    sparse: float = 0.85
    minutes: float = 0.0
    learning_rate: float = 1.5e-3
    warmup_steps: int = 100
    weight_decay: float = 0.02
    every_steps: int = 250
    evaluated: int = 12  # pictures of each kind
    bf16: bool = True
    blind: bool = False
    ideal: bool = False
    begun: str = ""
    matching_steps: int = 0
    fitted: int = 100  # lessons that the projector is first fitted to
    workers: int = 0
    shape: ModelShape = field(default_factory=ModelShape)
    pictures: PictureSettings = field(default_factory=PictureSettings)


@dataclass(frozen=True)
class Lesson:
    """A picture with its questions. names: tokens that name a thing alone, and its place among the picture's things."""

    picture: Picture
    pixels: torch.Tensor
    asked: list[Asked]
    names: list[tuple[list[int], int]]


class Teacher:
    """Makes lessons: lesson ``index`` of a seed is always the same."""

    def __init__(self, prompts: Prompts, settings: AnsweringSettings) -> None:
        self.prompts, self.settings = prompts, settings

    def lesson(
        self, seed: int, index: int, held_out_looks: bool = False, held_out_style: bool = False, words: Any = TRAINED
    ) -> Lesson:
        """Return one. words: sets of wordings."""
        s = self.settings
        drawn = not s.ideal and not s.blind
        one = picture(s.pictures, seed, index, held_out_looks, held_out_style, drawn=drawn)
        while len(one.things) < 2:
            index += 10_000_000  # of nothing or of one thing there is little to ask
            one = picture(s.pictures, seed, index, held_out_looks, held_out_style, drawn=drawn)
        rng = np.random.default_rng([seed, index, 7])
        asker = Asker(one.things, one.others, rng, words)
        made = (self.prompts.asked(one, q, rng) for q in asker.draw(s.questions))
        pixels = torch.from_numpy(one.pixels).permute(2, 0, 1)[None].float()
        return Lesson(
            one, (pixels / 255 - PIXEL_MEAN) / PIXEL_STD, [a for a in made if a is not None], self._named(one)
        )

    def _named(self, one: Picture) -> list[tuple[list[int], int]]:
        labels = [o.label for o in one.things]
        names = [(self.prompts.number(o.id), k) for k, o in enumerate(one.things)]
        for k, label in enumerate(labels):
            if labels.count(label) == 1 and label not in one.others:
                names.append((self.prompts.maker.plain(f" {label}"), k))
        return names


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
    """The model, with what only training needs."""

    def __init__(self, model: Any, tokenizer: Any, prompts: Prompts, settings: AnsweringSettings) -> None:
        super().__init__()
        self.model, self.prompts, self.settings = model, prompts, settings
        self.pointer = Pointer(settings.shape.hidden)
        self.ideal = Ideal(settings.shape.hidden)
        self.chance = torch.Generator()  # of what is left out of pictures
        self.labels = codes(settings.shape.hidden).labels
        fixed = number_ids(tokenizer).flatten()  # their vectors hold digits: numbers never trained on are alike
        model.get_input_embeddings().weight.register_hook(lambda grad: grad.index_fill(0, fixed, 0.0))

    @property
    def decoder(self) -> Any:
        return self.model.model.language_model

    def seen(self, lessons: Sequence[Lesson], rng: np.random.Generator | None = None) -> torch.Tensor:
        """Return pictures' tokens (B, n, d). rng: for the mistakes of ideal ones."""
        if self.settings.ideal:
            return torch.stack([self.ideal.tokens(x.picture, rng) for x in lessons])
        return tokens_of(self.model, torch.cat([x.pixels for x in lessons]), self.settings.bf16).flatten(1, 2)

    @torch.no_grad()
    def fit_projector(self, lessons: Sequence[Lesson]) -> None:
        """Set the projector's last layer so that it gives the ideal tokens of some lessons as nearly as it can."""
        projector = self.model.model.multi_modal_projector
        width = projector.linear_2.in_features + 1
        inner, outer = torch.zeros(width, width).double(), torch.zeros(width, projector.linear_2.out_features).double()
        for lesson in lessons:
            seen = self.model.model.vision_tower(lesson.pixels).last_hidden_state.flatten(2)[0].T
            known = projector.act(projector.linear_1(seen))
            known = torch.cat([known, torch.ones(len(known), 1)], dim=1).double()
            weight = torch.from_numpy(np.where(lesson.picture.number > 0, 1.0, 0.1)).flatten()[:, None]
            inner += (known * weight).T @ known
            outer += (known * weight).T @ self.ideal.tokens(lesson.picture).double()
        found = torch.linalg.solve(inner + 1e-4 * inner.diagonal().mean() * torch.eye(width).double(), outer)
        projector.linear_2.weight.copy_(found[:-1].T.float())
        projector.linear_2.bias.copy_(found[-1].float())

    def matching(self, lessons: Sequence[Lesson], tokens: torch.Tensor) -> torch.Tensor:
        """Return by how much the encoder's tokens miss the ideal ones; those of plates count most."""
        wanted = torch.stack([self.ideal.tokens(x.picture) for x in lessons])
        marked = torch.from_numpy(np.stack([x.picture.number > 0 for x in lessons])).flatten(1)
        miss = (tokens - wanted).square().mean(dim=-1)
        loss = _MATCHING * (miss[marked].mean() + 0.2 * miss[~marked].mean())
        number, label = (
            torch.from_numpy(np.stack([getattr(x.picture, k) for x in lessons])).flatten(1)[marked].long()
            for k in ("number", "label")
        )
        told = (number // 100, number // 10 % 10, number % 10, label)
        for logits, target in zip(self.ideal.classes(tokens[marked]), told, strict=True):
            loss = loss + functional.cross_entropy(logits, target)
        return loss

    def read(self, one: Picture, tokens: torch.Tensor | None, sparse: bool = False) -> tuple[Any, int]:
        """Return the decoder's keys and values of a picture's prompt, and how long it is. tokens: (n, d).

        sparse: most of the cells that show nothing are left out.
        """
        ids = torch.tensor(self.prompts.prefix(one.side_m))
        image = ids == self.prompts.image_id
        keep = torch.ones(len(ids), dtype=torch.bool)
        if self.settings.blind:
            keep = ~image
        elif sparse:
            empty = torch.from_numpy((one.ground == NOTHING) & (one.number == 0)).flatten()
            keep[image] = ~empty | (torch.rand(len(empty), generator=self.chance) < _EMPTY_KEPT)
        places = torch.arange(len(ids))[keep]
        embedded = self.decoder.embed_tokens(ids.masked_fill(image, 0)[keep])
        if tokens is not None:
            spread = torch.zeros_like(embedded)
            spread[image[keep]] = tokens[keep[image]].to(embedded.dtype)
            embedded = torch.where(image[keep][:, None], spread, embedded)
        return read_prefix(self.decoder, embedded, places), len(ids)

    def pointing(self, lesson: Lesson, tokens: torch.Tensor | None, sparse: bool = False) -> torch.Tensor:
        """Return the loss of names alone."""
        kept, start = self.read(lesson.picture, tokens, sparse)
        rows = padded([ids for ids, _ in lesson.names], self.prompts.stop_id)
        hidden = read_questions(self.decoder, kept, self.decoder.embed_tokens(rows), start)
        last = hidden[torch.arange(len(rows)), torch.tensor([len(ids) - 1 for ids, _ in lesson.names])]
        return self.pointer.loss(last, [k for _, k in lesson.names], lesson.picture, self.labels)

    def answers(
        self, lesson: Lesson, tokens: torch.Tensor | None, sparse: bool = False
    ) -> tuple[torch.Tensor, list[tuple[AskedThing, list[int]]]]:
        """Return the loss of a lesson's questions, and for each what was said, token by token after the right ones."""
        kept, start = self.read(lesson.picture, tokens, sparse)
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
            total = total + functional.cross_entropy(logits, wanted, reduction="sum")
            best = logits.argmax(dim=-1).tolist()
            for k, a in enumerate(group):
                said.append((a.question, [b for b, (r, _) in zip(best, at, strict=True) if r == k]))
            points = [(k, i, thing) for k, a in enumerate(group) for i, thing in a.points]
            if points and not self.settings.blind:
                row, column, things = (list(x) for x in zip(*points, strict=True))
                loss = self.pointer.loss(hidden[row, column], things, lesson.picture, self.labels)
                total = total + _BESIDE * len(group) * loss
        return total / max(1, len(asked)), said


def train_answering(
    settings: AnsweringSettings, out: Path, on_progress: Callable[[dict[str, Any]], None] = lambda row: None
) -> dict[str, Any]:
    """Train stages 2 and 3, or go on with them, and return the last row of the log.

    out: gets ``model`` (loads into the answerer), the state to go on from, and ``answering.jsonl``. Raises
    SmallModelError where out holds a run of other settings, or there is no run of stage 1.
    """
    run = _Run(settings, out)
    evaluation = held_out(run.teacher, settings)
    started, row = time.perf_counter(), {}
    losses: list[float] = []
    for lessons in _lessons(run.teacher, settings, run.step):
        losses.append(run.advance(lessons))
        spent = (time.perf_counter() - started) / 60
        over = bool(settings.minutes) and spent >= settings.minutes
        if run.step % settings.every_steps == 0 or run.step == settings.steps or over:
            scores = {k: score(run.pupil, v) for k, v in evaluation.items()}
            run.seconds += time.perf_counter() - started - run.counted
            run.counted = time.perf_counter() - started
            row = {"step": run.step, "pictures": run.step * settings.batch, "questions": run.questions,
                   "minutes": round(run.seconds / 60, 2), "loss": float(np.mean(losses)), "scores": scores}  # fmt: skip
            losses.clear()
            run.save(row)
            on_progress(row)
        if over:
            break
    return row


def held_out(teacher: Teacher, settings: AnsweringSettings) -> dict[str, list[Lesson]]:
    """Return lessons to evaluate on: other homes; in other words; and with looks and styles of marks not trained on."""
    kinds = {
        "other homes": (False, False, TRAINED),
        "in other words": (False, False, HELD_OUT),
        "and other looks and styles": (True, True, HELD_OUT),
    }
    n = settings.evaluated
    return {name: [teacher.lesson(_EVALUATION_SEED, i, *kind) for i in range(n)] for name, kind in kinds.items()}


@torch.no_grad()
def score(pupil: Pupil, lessons: Sequence[Lesson]) -> dict[str, float]:
    """Return the share of right answers of each kind, each token being foretold after the right ones.

    Distances are right within a fifth. "KIND named": of those that call things by category.
    """
    pupil.eval()
    right: dict[str, list[bool]] = defaultdict(list)
    for lesson in lessons:
        _, said = pupil.answers(lesson, None if pupil.settings.blind else pupil.seen([lesson])[0])
        for question, ids in said:
            good = is_right(question, pupil.prompts.tokenizer.decode(ids, skip_special_tokens=True))
            right[question.kind + (" named" if question.named and question.kind not in _ALWAYS else "")].append(good)
    pupil.train()
    pupil.model.model.vision_tower.eval()
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


class _Run:
    """A run, fresh or as it was when it was stopped."""

    def __init__(self, settings: AnsweringSettings, out: Path) -> None:
        self.settings, self.out = settings, out
        self.tokenizer = make_tokenizer(settings.shape.vocabulary)
        prompts = Prompts(self.tokenizer, settings.pictures.px)
        self.teacher = Teacher(prompts, settings)
        model = make_model(settings.shape, self.tokenizer, settings.seed)
        self.step, self.seconds, self.counted, self.questions = 0, 0.0, 0.0, 0
        torch.manual_seed(settings.seed + 1)
        self.pupil = Pupil(model, self.tokenizer, prompts, settings)
        if settings.begun:
            self._begin(Path(settings.begun))
        if settings.reading:
            self._take_over(Path(settings.reading))
        model.model.vision_tower.to(memory_format=torch.channels_last).requires_grad_(False)
        self.pupil.train()
        model.model.vision_tower.eval()
        still = [self.pupil.decoder.embed_tokens.weight]
        self._trained = [*self.pupil.decoder.parameters(), *self.pupil.pointer.parameters(),
                         *model.model.multi_modal_projector.parameters()]  # fmt: skip
        groups = [
            {"params": [p for p in self._trained if p is not still[0]], "weight_decay": settings.weight_decay},
            {"params": still, "weight_decay": 0.0},  # what no gradient reaches must stay
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))
        self._told = {k: v for k, v in asdict(settings).items() if k not in _MAY_CHANGE}
        if (out / _STATE).is_file():
            self._restore(torch.load(out / _STATE, weights_only=True))
        elif settings.begun and settings.reading:
            some = (self.teacher.lesson(settings.seed + 50, k) for k in range(settings.fitted))
            self.pupil.fit_projector(list(some))

    def advance(self, lessons: Sequence[Lesson]) -> float:
        """Take one step; return the loss."""
        s = self.settings
        for group in self.optimiser.param_groups:
            group["lr"] = s.learning_rate * pace(self.step, s.warmup_steps, s.steps)
        self.optimiser.zero_grad(set_to_none=True)
        sparse = self.step < s.sparse * s.steps
        self.pupil.chance.manual_seed(s.seed * 1_000_003 + self.step)  # the same where a run goes on
        seen = self.pupil.seen(lessons, np.random.default_rng([s.seed, self.step])) if not s.blind else None
        given = None if seen is None else seen.detach().requires_grad_(seen.requires_grad)
        total = 0.0
        for k, lesson in enumerate(lessons):
            if self.step < s.matching_steps:
                break
            tokens = None if given is None else given[k]
            with torch.autocast("cpu", torch.bfloat16, enabled=s.bf16):
                if self.step < s.matching_steps + s.pointing_steps and not s.blind:
                    loss = self.pupil.pointing(lesson, tokens, sparse)
                else:
                    loss, said = self.pupil.answers(lesson, tokens, sparse)
                    self.questions += len(said)
            (loss / len(lessons)).backward()
            total += loss.item() / len(lessons)
        if s.begun and seen is not None:
            missed = self.pupil.matching(lessons, seen)
            total += missed.item() if self.step < s.matching_steps else 0.0
            missed.backward(retain_graph=True)
        if seen is not None and given is not None and given.grad is not None:
            seen.backward(given.grad)
        nn.utils.clip_grad_norm_(self._trained, 1.0)
        self.optimiser.step()
        self.step += 1
        return total

    def save(self, row: dict[str, Any]) -> None:
        """Write the model, the state and a row of the log; the state last, at once or not at all."""
        save_model(self.pupil.model, self.tokenizer, self.out / "model")
        with (self.out / "answering.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        state = {
            "pupil": self.pupil.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "questions": self.questions,
        }
        write_state(self.out / _STATE, state, self._told)

    def _begin(self, folder: Path) -> None:
        """Take the decoder from a run with ideal tokens."""
        file = folder / _STATE
        if not file.is_file():
            raise SmallModelError(f"{folder} holds no run of stages 2 and 3 to go on with")
        self.pupil.load_state_dict(torch.load(file, weights_only=True)["pupil"])

    @torch.no_grad()
    def _take_over(self, folder: Path) -> None:
        """Take the encoder from stage 1."""
        file = folder / "reading.pt"
        if not file.is_file():
            raise SmallModelError(f"{folder} holds no run of stage 1: make one with s3d train-small read -o {folder}")
        held = torch.load(file, weights_only=True)["model"]
        kept = {k: v for k, v in held.items() if "vision_tower." in k or "multi_modal_projector." in k}
        try:
            unknown = self.pupil.model.load_state_dict(kept, strict=False).unexpected_keys
        except RuntimeError as error:
            raise SmallModelError(f"{file} is of another shape: {' '.join(str(error).split())[:200]}") from error
        if unknown:
            raise SmallModelError(f"{file} is of another shape: it has {unknown[0]}, which this model lacks")

    def _restore(self, state: dict[str, Any]) -> None:
        check_settings(self.out, state, self._told)
        self.pupil.load_state_dict(state["pupil"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds, self.questions = int(state["step"]), float(state["seconds"]), int(state["questions"])


@dataclass(frozen=True)
class _Lessons(Dataset[list[Lesson]]):
    """Lessons of step ``step`` of a run, always the same."""

    teacher: Teacher

    def __getitem__(self, step: int) -> list[Lesson]:
        s = self.teacher.settings
        return [self.teacher.lesson(s.seed + 100, step * s.batch + k) for k in range(s.batch)]


def _lessons(teacher: Teacher, settings: AnsweringSettings, first: int) -> DataLoader[list[Lesson]]:
    steps = range(first, settings.steps)
    return DataLoader(_Lessons(teacher), batch_size=None, sampler=steps, num_workers=settings.workers)
