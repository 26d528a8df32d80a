"""The shipped small model in the demo: one question to the map and to a model that sees, beside each other."""

from __future__ import annotations

import importlib.util
import itertools
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

from s3d_ros.answer.choose import choose
from s3d_ros.answer.geometric import GeometricAnswerer
from s3d_ros.answer.settings import AnswererConfig
from s3d_ros.offline.questions_rules import direction_class, heading_angle_deg
from s3d_ros.prompt.text import label_of
from s3d_ros.types import Answer, Question, Scene
from s3d_ros.vlm.config import local_directory

MODEL = "small"
_LOADING_S = 90.0
_NEEDED = ("torch", "transformers", "accelerate")
_LEAST_M2, _LARGEST, _APART_M = 0.15, 6, 1.0  # what is smaller from above is hard to see


@dataclass(frozen=True)
class Beside:
    """What both said to one question, and how long each took, the model's loading left out."""

    question: Question
    map: Answer
    model: Answer
    map_s: float
    model_s: float


def question_for_both(scene: Scene) -> Question | None:
    """Return a question that both can answer: left or right, of large things of which there is one; None without."""
    if scene.bev is None:
        return None
    labels = Counter(o.label for o in scene.objects)
    flat = [(float(o.box.size[0] * o.box.size[1]), -o.id, o) for o in scene.objects
            if o.confidence >= 0.5 and o.label and labels[o.label] == 1]  # fmt: skip
    large = [o for size, _, o in sorted(flat, reverse=True) if size >= _LEAST_M2][:_LARGEST]
    for three in itertools.permutations(large, 3):
        stand, face, target = (o.box.center for o in three)
        near = min(float(np.hypot(*(at - stand)[:2])) for at in (face, target))
        if near >= _APART_M and direction_class(heading_angle_deg(stand, face, target), "easy") is not None:
            a, b, c = (label_of(o) for o in three)
            return Question(f"Standing at the {a} and looking at the {b}, is the {c} on my left or on my right?")
    return None


def beside(scene: Scene) -> Beside | None:
    """Ask both; None where there is nothing to ask, no model, or not what it needs (the extra ``vlm``)."""
    question = question_for_both(scene)
    installed = all(importlib.util.find_spec(name) is not None for name in _NEEDED)
    if question is None or not installed or local_directory(MODEL) is None:
        return None
    settings = {"answerer": "transformers", "model": MODEL, "device": "cpu", "max_new_tokens": 24}
    chosen = choose(AnswererConfig.from_flat(settings))
    try:
        given_up = time.monotonic() + _LOADING_S
        while chosen.missing() and not chosen.status().get("last_fault") and time.monotonic() < given_up:
            time.sleep(0.1)
        asked = time.perf_counter()
        measured = GeometricAnswerer().answer(question, scene)
        between = time.perf_counter()
        seen = chosen.answerer.answer(question, scene)
        return Beside(question, measured, seen, between - asked, time.perf_counter() - between)
    finally:
        chosen.answerer.close()
