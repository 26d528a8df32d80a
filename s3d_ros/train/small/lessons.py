"""What stages 2 and 3 learn from: pictures with many questions each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from s3d_ros.train.small.model import pixel_values
from s3d_ros.train.small.pictures import Picture, PictureSettings, picture
from s3d_ros.train.small.prompting import Asked, Prompts
from s3d_ros.train.small.questions import HELD_OUT, TRAINED, Asker
from s3d_ros.train.small.sharing import Share

_EVALUATION_SEED = 1_000_004
_FURTHER = 10_000_000


@dataclass(frozen=True)
class Lesson:
    """A picture with its questions."""

    picture: Picture
    pixels: torch.Tensor
    asked: list[Asked]


@dataclass(frozen=True)
class Teacher:
    """Makes lessons: lesson ``index`` of a seed is always the same. drawn: if not, its pictures are black."""

    prompts: Prompts
    pictures: PictureSettings
    questions: int
    drawn: bool = True

    def lesson(
        self,
        seed: int,
        index: int,
        held_out_looks: bool = False,
        held_out_style: bool = False,
        words: Collection[str] = TRAINED,
        blurred: bool = False,
    ) -> Lesson:
        """Return one. words: sets of wordings. blurred: some words are replaced by others."""
        one = picture(self.pictures, seed, index, held_out_looks, held_out_style, drawn=self.drawn)
        while len(one.things) < 2:
            index += _FURTHER  # of nothing or of one thing there is little to ask
            one = picture(self.pictures, seed, index, held_out_looks, held_out_style, drawn=self.drawn)
        rng = np.random.default_rng([seed, index, 7])
        asker = Asker(one.things, one.others, rng, words)
        made = (self.prompts.asked(one, q, rng) for q in asker.draw(self.questions))
        asked = [a for a in made if a is not None]
        if blurred:
            asked = [self.prompts.blurred(a, rng) for a in asked]
        return Lesson(one, pixel_values([one.pixels]), asked)

    def held_out(self, count: int) -> dict[str, list[Lesson]]:
        """Return lessons to evaluate on: other homes; in other words; with looks and styles of marks not trained on."""
        kinds = {
            "other homes": (False, False, TRAINED),
            "in other words": (False, False, HELD_OUT),
            "and other looks and styles": (True, True, HELD_OUT),
        }
        return {name: [self.lesson(_EVALUATION_SEED, i, *kind) for i in range(count)] for name, kind in kinds.items()}


@dataclass(frozen=True)
class _Lessons(Dataset[list[Lesson]]):
    """Lessons of step ``step`` of a run, always the same."""

    teacher: Teacher
    seed: int
    batch: int
    share: Share

    def __getitem__(self, step: int) -> list[Lesson]:
        own = range(step * self.batch + self.share.index, (step + 1) * self.batch, self.share.of)
        return [self.teacher.lesson(self.seed, k, blurred=True) for k in own]


def lessons(
    teacher: Teacher, seed: int, batch: int, steps: range, workers: int, share: Share | None = None
) -> DataLoader[list[Lesson]]:
    """Yield the lessons of some steps, a share of ``batch`` each; ``workers`` processes make them ahead."""
    made = _Lessons(teacher, seed, batch, share or Share())
    return DataLoader(made, batch_size=None, sampler=steps, num_workers=workers)
