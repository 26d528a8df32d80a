"""What is to be asked about a scene and what is right, before it is put into a prompt: one shape for all sources."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from s3d_ros.offline.questions_record import ScoredQuestion
from s3d_ros.prompt.tasks import Task
from s3d_ros.types import Situation

_TASKS = {
    "qa": Task.QUESTION,
    "situated": Task.SITUATED,
    "caption": Task.CAPTION,
    "ground_one": Task.GROUND_ONE,
    "ground_many": Task.GROUND_MANY,
}
_TOKEN = re.compile(r"<OBJ(\d+)>")


@dataclass(frozen=True)
class Example:
    """One question with its answer; objects are those of the truth, by its ids.

    source: which generator or file it is from; kind: its type there. text: the question; for grounding, the
    description; a truth's object is written <OBJ12> in it. answer: the text to be learnt, "" for grounding, where
    ``objects`` are the answer (() for none); for a caption they are what it describes. options as they were given.
    situation: where the asker stands, situation_text the same in words where no pose is known.
    """

    id: str
    source: str
    kind: str
    task: Task
    text: str
    answer: str = ""
    objects: tuple[int, ...] = ()
    options: tuple[str, ...] = ()
    situation: Situation | None = None
    situation_text: str = ""

    @property
    def named(self) -> tuple[int, ...]:
        """Objects of the truth that have to be in the map: those of the answer and those that the text names."""
        said = (int(n) for n in _TOKEN.findall(self.text))
        return tuple(dict.fromkeys((*self.objects, *said)))

    def text_by_map(self, map_ids: Mapping[int, int]) -> str:
        """Return the text with the truth's objects named as the map does: "object 7". Raises KeyError."""
        return _TOKEN.sub(lambda m: f"object {map_ids[int(m[1])]}", self.text)


def from_question(q: ScoredQuestion) -> Example:
    """Return a generated question as an example."""
    task = _TASKS[q.task]
    grounds = task in (Task.GROUND_ONE, Task.GROUND_MANY)
    place = q.situation
    return Example(
        id=q.id,
        source="generated",
        kind=q.type,
        task=task,
        text=q.description if grounds else q.question,
        answer="" if grounds else q.choice or _number(q.value, q.unit) or q.answer,
        objects=q.objects,
        options=q.options,
        situation=None if place is None else Situation(np.array(place.position), np.array(place.heading)),
    )


def _number(value: float | None, unit: str) -> str:
    """Return a measure with as many digits as VSI-Bench's truths have; a count as it is; "" for none."""
    if value is None:
        return ""
    digits = {"m": 1 if value >= 0.95 else 2, "m2": 1}.get(unit, 0)
    return f"{value:.{digits}f}" if unit else f"{value:g}"


def sentence(text: str) -> str:
    """Return an answer as GPT4Scene's training has it: a first capital and a full stop.

    >>> sentence("on the left"), sentence("Yes.")
    ('On the left.', 'Yes.')
    """
    text = " ".join(text.split())
    if not text:
        return ""
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?" else f"{text}."


def lettered(options: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return options as (letter, text): "A. left" -> ("A", "left"); bare ones get letters in order."""
    out = []
    for i, option in enumerate(options):
        match = re.match(r"\s*([A-Z])\s*[.):]\s*(.*)", option, re.DOTALL)
        out.append((match[1], match[2].strip()) if match else (chr(ord("A") + i), option.strip()))
    return tuple(out)
