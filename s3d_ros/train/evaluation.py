"""A model's answers to a few records while it is trained, scored with the benchmarks' own rules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from s3d_ros.benchmarks.cleaning import clean, exact
from s3d_ros.chat import ChatReply
from s3d_ros.offline.score import mean_relative_accuracy
from s3d_ros.prompt.replies import read_choice, read_value, tidy
from s3d_ros.prompt.tasks import Task
from s3d_ros.train.data import Samples
from s3d_ros.train.parts.base import feature_parts
from s3d_ros.train.reader import TrainingRecord
from s3d_ros.vlm.config import ModelConfig
from s3d_ros.vlm.engine import Asked, Engine

_TOKEN = re.compile(r"<OBJ(\d{3})>")
_OPTION = re.compile(r"^([A-Z])\. (.+)$", re.MULTILINE)


def points(record: TrainingRecord, said: str) -> float:
    """Return how right a reply is, 0 to 1.

    Grounding: F1 of the objects named, 1 for naming none where there is none. Choices: the letter. Numbers: VSI-Bench's
    mean relative accuracy. Anything else: the same text after SQA3D's cleaning.
    """
    right = record.conversations[-1]["value"]
    if record.task in (Task.GROUND_ONE, Task.GROUND_MANY):
        named, wanted = set(_TOKEN.findall(tidy(said))), set(_TOKEN.findall(right))
        if not named or not wanted:
            return float(not named and not wanted)
        return 2 * len(named & wanted) / (len(named) + len(wanted))
    options = _OPTION.findall(record.conversations[-2]["value"])
    if right in dict(options):
        return float(read_choice(said, options) == right)
    try:
        return mean_relative_accuracy(read_value(said)[0], float(right.removesuffix(" m")))
    except ValueError:
        return float(exact(clean(said), (clean(right),)))


def answered(model: Any, processor: Any, device: str, samples: Samples, indices: Sequence[int]) -> dict[str, Any]:
    """Ask some records through the engine; return mean points, those of each task, and each reply."""
    parts = feature_parts(samples.parts)
    engine = Engine.of(ModelConfig(tile_images=samples.family.tile), model, processor, device, parts)
    rows = list(ask_records(engine, samples, indices))  # one after the other: memory is the training's
    engine.forget()
    tasks = sorted({r["task"] for r in rows})
    by_task = {t: float(np.mean([r["points"] for r in rows if r["task"] == t])) for t in tasks}
    return {"points": float(np.mean([r["points"] for r in rows])), "by_task": by_task, "replies": rows}


def ask_records(engine: Engine, samples: Samples, indices: Sequence[int], at_once: int = 1) -> Iterator[dict[str, Any]]:
    """Ask some records; yield for each its id, task, what was said, what is right, and the points.

    at_once: so many that follow each other and show the same pictures.
    """
    alike = [list(held) for _, held in groupby(indices, lambda i: samples.records[i].images)]
    for some in (held[k : k + at_once] for held in alike for k in range(0, len(held), at_once)):
        chats = [samples.chat(index) for index in some]
        events = engine.ask([Asked(chat, samples.config.max_answer_tokens) for chat, _ in chats])
        ends = {k: e for k, e in events if not isinstance(e, str)}
        for k, (index, (_, right)) in enumerate(zip(some, chats, strict=True)):
            record, event = samples.records[index], ends[k]
            said = event.text if isinstance(event, ChatReply) else ""
            told = {"id": f"{record.scene.key}/{record.id}", "task": record.task, "said": said, "right": right}
            yield told | {"points": points(record, said)}
