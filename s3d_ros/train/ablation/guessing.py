"""What guessing gets of held-out records: the most frequent answer in training, or any one of what could be meant."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import numpy as np

from s3d_ros.train.ablation.table import GROUPS, Spread, group_of, spread
from s3d_ros.train.data import without_legend
from s3d_ros.train.evaluation import points
from s3d_ros.train.reader import TrainingRecord, TrainingSet
from s3d_ros.train.sharegpt import IMAGE

_TOKEN = re.compile(r"<OBJ(\d{3})>")
_OPTION = re.compile(r"^[A-Z]\. ", re.MULTILINE)
_LISTED = 3  # a thing, and two or more of which one is meant


def guessed(train: TrainingSet, held: TrainingSet) -> dict[str, Spread]:
    """Return it by group and kind."""
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for record in (train[i] for i in range(len(train))):
        answers[record.kind][record.conversations[-1]["value"]] += 1
    most = {kind: counts.most_common(1)[0][0] for kind, counts in answers.items()}
    scored = [(r.kind, _points(r, most.get(r.kind, ""))) for r in (held[i] for i in range(len(held)))]
    out = {}
    for name in (*GROUPS, "frames"):
        out[name] = spread(np.array([[p for kind, p in scored if group_of(kind) == name]]))
    for name in dict.fromkeys(kind for kind, _ in scored):
        out[name] = spread(np.array([[p for kind, p in scored if kind == name]]))
    return out


def _points(record: TrainingRecord, most: str) -> float:
    question, answer = record.conversations[-2]["value"], record.conversations[-1]["value"]
    own = without_legend(question[question.rfind(f"{IMAGE}\n") + len(IMAGE) + 1 :])
    options = len(_OPTION.findall(own))
    if options:
        return 1 / options
    if not _TOKEN.search(answer):
        return points(record, most)
    named = len(set(_TOKEN.findall(own)))
    if named >= _LISTED:
        return 1 / (named - 1)
    called = [o for o in record.scene.data["objects"] if o["label"] and o["label"].lower() in own.lower()]
    several = called if record.kind.startswith("two_hop") else []
    return 1 / max(len(several or record.scene.data["objects"]), 1)
