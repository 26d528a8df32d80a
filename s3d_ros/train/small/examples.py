"""The small model's kinds of question about a simulated home, as examples of a training set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np

from s3d_ros.prompt.asked import description
from s3d_ros.prompt.tasks import Kind, Task, kind_of
from s3d_ros.train.examples import Example
from s3d_ros.train.small.questions import TRAINED, AskedThing, Asker
from s3d_ros.types import OrientedBox, Question, SceneObject

SOURCE = "small"
_THING = re.compile(r"\bobject (\d+)\b")


def examples(
    boxes: Mapping[int, OrientedBox],
    labels: Mapping[int, str],
    known: Collection[int],
    each: int,
    seed: int,
) -> list[Example]:
    """Return so many questions of each kind at most, half of them by number where they can be, none twice.

    boxes, labels: of all true things, by the truth's ids; known: those that the map holds, which alone are asked about.
    """
    things = [SceneObject(i, labels[i], boxes[i]) for i in sorted(known)]
    others = {labels[i] for i in boxes if i not in known}
    asker = Asker(things, others, np.random.default_rng([seed, len(things)]), TRAINED, by_category=0.5)
    count: Counter[str] = Counter()
    found = []
    for one in asker.distinct(each, lambda asked: not _put(asked).situated):
        count[one.kind] += 1
        found.append(_example(one, f"{one.kind}-{count[one.kind]:02d}"))
    return found


def _put(asked: AskedThing) -> Kind:
    """Return how a question is put, as its words would have it; situated ones need a place to stand at."""
    words = tuple(int(part) if i % 2 else part for i, part in enumerate(_THING.split(asked.text)))
    return kind_of(Question(asked.text, tuple(text for _, text in asked.options)), words)


def _example(asked: AskedThing, name: str) -> Example:
    kind = _put(asked)
    seeks = kind.task in (Task.GROUND_ONE, Task.GROUND_MANY)
    text = _THING.sub(r"<OBJ\1>", description(asked.text) if seeks and asked.objects else asked.text)
    task = kind.task if asked.objects or not seeks else Task.QUESTION
    return Example(
        id=f"{SOURCE}-{name}",
        source=SOURCE,
        kind=f"{asked.kind} named" if asked.named else asked.kind,
        task=task,
        text=text,
        answer="" if seeks and asked.objects else asked.answer or "".join(f"<OBJ{i}>" for i in asked.objects[:1]),
        objects=asked.objects,
        options=tuple(f"{letter}. {words}" for letter, words in asked.options),
    )
