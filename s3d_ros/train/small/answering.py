"""Stages 2 and 3: the decoder learns where things are that questions name, then to answer these questions.

The picture's encoder is as stage 1 left it. In stage 2 what is named in a question, by number or category, must tell
where it is, and the question's end how these things lie; in stage 3 this goes on beside the answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from s3d_ros.train.small.going_on import check_settings, go_on, has_fast_bf16, tell_nobody, weights_of, write_state
from s3d_ros.train.small.lessons import Lesson, Teacher, lessons
from s3d_ros.train.small.lookup import LOOKED_UP, mark_cells
from s3d_ros.train.small.model import ModelShape, SmallModelError, make_model, make_tokenizer, save_model
from s3d_ros.train.small.pictures import PictureSettings
from s3d_ros.train.small.prompting import Prompts
from s3d_ros.train.small.pupil import Pupil, score
from s3d_ros.train.small.reading import pace
from s3d_ros.train.small.sharing import Share, train_together

_STATE, _LOG = "answering.pt", "answering.jsonl"
_MAY_CHANGE = ("steps", "minutes", "every_steps", "workers", "processes", "reading", "bf16")
_BEGUN_PACE, _WORDS_PACE = 0.1, 0.3  # of the learning rate
_LOOKS_STILL = 0.12  # share of the steps in which who looks at whom stays as it begins
_SEED = 100  # other pictures than stage 1's


@dataclass(frozen=True)
class AnsweringSettings:
    """A run of stages 2 and 3. reading: folder of stage 1's run. begin: of a model whose weights it begins with.

    pointing_steps: of ``steps``, those of stage 2, without answers; in as many more answers come to count in full.

    blind: the twin that gets no picture, only the words. batch: pictures a step; questions: on each. sparse: share of
    the steps in which most of the cells without a plate are left out, which saves a quarter. processes: that share each
    step's pictures, a core each: for matrices as small as these faster than as many threads.
    """

    reading: str = ""
    begin: str = ""
    seed: int = 0
    batch: int = 4
    questions: int = 40
    steps: int = 2500
    pointing_steps: int = 300
    sparse: float = 0.85
    minutes: float = 0.0
    learning_rate: float = 8e-4
    warmup_steps: int = 100
    weight_decay: float = 0.02
    every_steps: int = 250
    evaluated: int = 12  # pictures of each kind
    bf16: bool = field(default_factory=has_fast_bf16)
    blind: bool = False
    workers: int = 0
    processes: int = 1
    shape: ModelShape = field(default_factory=ModelShape)
    pictures: PictureSettings = field(default_factory=PictureSettings)


def train_answering(
    settings: AnsweringSettings, out: Path, on_progress: Callable[[dict[str, Any]], None] = tell_nobody
) -> dict[str, Any]:
    """Train stages 2 and 3, or go on with them, and return the last row of the log.

    out: gets ``model`` (loads into the answerer), the state to go on from, and ``answering.jsonl``. Raises
    SmallModelError where out holds a run of other settings, or there is no run of stage 1.
    """
    if settings.processes > 1:
        train_together(_train, settings.processes, settings, out, on_progress)
        return json.loads((out / _LOG).read_text(encoding="utf-8").splitlines()[-1])
    return _train(settings, out, on_progress)


def _train(settings: AnsweringSettings, out: Path, on_progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    run = _Run(settings, out)
    evaluation = run.teacher.held_out(settings.evaluated) if run.share.first else {}
    steps = range(run.step, settings.steps)
    batches = lessons(run.teacher, settings.seed + _SEED, settings.batch, steps, settings.workers, run.share)

    def told() -> dict[str, Any]:
        scores = {k: score(run.pupil, v) for k, v in evaluation.items()}
        return {"pictures": run.step * settings.batch, "questions": run.questions, "scores": scores}

    return go_on(run, batches, settings, told, on_progress if run.share.first else tell_nobody)


class _Run:
    """A run, fresh or as it was when it was stopped; in each of its processes the same, but for the lessons."""

    def __init__(self, settings: AnsweringSettings, out: Path) -> None:
        self.settings, self.out, self.share = settings, out, Share.own()
        if settings.batch % self.share.of:
            raise SmallModelError(f"{settings.batch} pictures a step can't be shared by {self.share.of} processes")
        if settings.minutes and self.share.of > 1:
            raise SmallModelError("several processes must end at the same step: give steps, not minutes")
        self.tokenizer = make_tokenizer(settings.shape.vocabulary)
        prompts = Prompts(self.tokenizer, settings.pictures.px)
        self.teacher = Teacher(prompts, settings.pictures, settings.questions, drawn=not settings.blind)
        model = make_model(settings.shape, self.tokenizer, settings.seed)
        self.step, self.seconds, self.questions = 0, 0.0, 0
        torch.manual_seed(settings.seed + 1)
        self.pupil = Pupil(model, self.tokenizer, prompts, settings.blind, settings.bf16)
        if settings.begin:
            model.load_state_dict(weights_of(Path(settings.begin), model))
        if settings.reading:
            self._take_over(Path(settings.reading))
        model.model.vision_tower.to(memory_format=torch.channels_last)
        model.model.requires_grad_(False)
        self.pupil.decoder.requires_grad_(True)
        look_up = self.pupil.decoder.layers[0].self_attn  # stays as it begins: the first steps would undo it
        for part in (look_up.q_proj, look_up.k_proj, look_up.q_norm, look_up.k_norm):
            part.requires_grad_(False)
        self.pupil.train()
        self._trained = [p for p in self.pupil.parameters() if p.requires_grad]
        words = [self.pupil.decoder.embed_tokens.weight]
        begun = [layer.self_attn for layer in self.pupil.decoder.layers[:LOOKED_UP]]
        looks = [p for at in begun for part in (at.q_proj, at.k_proj, at.q_norm, at.k_norm) for p in part.parameters()]
        takes = [p for at in begun for part in (at.v_proj, at.o_proj) for p in part.parameters()]
        slow = {id(p) for p in (*words, *looks, *takes)}
        # Most of the first steps' loss is which words are said at all: it would undo what the look-up begins with
        groups = [
            {"params": [p for p in self._trained if id(p) not in slow], "weight_decay": settings.weight_decay},
            {"params": takes, "weight_decay": 0.0},
            {"params": [p for p in looks if p.requires_grad], "weight_decay": 0.0},
            {"params": words, "weight_decay": 0.0},  # what no gradient reaches must stay
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))
        self._told = {k: v for k, v in asdict(settings).items() if k not in _MAY_CHANGE}
        if (out / _STATE).is_file():
            self._restore(torch.load(out / _STATE, weights_only=True))

    def advance(self, lessons: Sequence[Lesson]) -> float:
        """Take one step over lessons, this process's share of them; return the loss."""
        s = self.settings
        looks = _BEGUN_PACE if self.step >= _LOOKS_STILL * s.steps else 0.0
        for group, share in zip(self.optimiser.param_groups, (1.0, _BEGUN_PACE, looks, _WORDS_PACE), strict=True):
            group["lr"] = share * s.learning_rate * pace(self.step, s.warmup_steps, s.steps)
        self.optimiser.zero_grad(set_to_none=True)
        sparse = self.step < s.sparse * s.steps
        with torch.no_grad():
            seen = self.pupil.seen(lessons)
        words = 1.0 if seen is None else min(1.0, max(0.0, self.step / max(1, s.pointing_steps) - 1))
        total = 0.0
        for k, lesson in enumerate(lessons):
            tokens = None if seen is None else seen[k]
            number = self.step * s.batch + self.share.index + k * self.share.of
            self.pupil.chance.manual_seed(s.seed * 1_000_003 + number)  # the same where a run goes on, or is shared
            with torch.autocast("cpu", torch.bfloat16, enabled=s.bf16):
                loss, said = self.pupil.answers(lesson, tokens, sparse, words)
                self.questions += len(said) * self.share.of if words > 0 else 0
            (loss / s.batch).backward()
            total += loss.item() / len(lessons)
        self.share.sum_up(self._trained)
        nn.utils.clip_grad_norm_(self._trained, 1.0)
        self.optimiser.step()
        self.step += 1
        return total

    def save(self, row: dict[str, Any]) -> None:
        """Write the model, the state and a row of the log; the state last, at once or not at all."""
        if not self.share.first:
            return
        save_model(self.pupil.model, self.tokenizer, self.out / "model")
        with (self.out / _LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        state = {
            "pupil": self.pupil.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "questions": self.questions,
        }
        write_state(self.out / _STATE, state, self._told)

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
        mark_cells(self.pupil.model.model.multi_modal_projector)
        if unknown:
            raise SmallModelError(f"{file} is of another shape: it has {unknown[0]}, which this model lacks")

    def _restore(self, state: dict[str, Any]) -> None:
        check_settings(self.out, state, self._told)
        self.pupil.load_state_dict(state["pupil"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds, self.questions = int(state["step"]), float(state["seconds"]), int(state["questions"])
