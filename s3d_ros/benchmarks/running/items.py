"""What is asked, of whichever benchmark: items, and what a set of them must be able to do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from s3d_ros.types import Answer, Question, Scene

Row = dict[str, Any]
WITHOUT_IDS = "objects can't be named by ID without markers"


@dataclass(frozen=True)
class Item:
    """A question of a benchmark. kind: its type there. by_id: it is answered by, or is about, objects by ID."""

    id: str
    scene: str
    kind: str
    by_id: bool = False


class QuestionSet(Protocol):
    """The questions of a benchmark, which knows how to put them and how to score answers."""

    title: str

    @property
    def items(self) -> Sequence[Item]:
        """All that is asked, in the order of asking within a scene."""
        ...

    def told(self, item: Item) -> str:
        """Return what makes the item what it is, in words: two sets that tell the same are the same."""
        ...

    def question(self, item: Item, scene: Scene) -> Question | None:
        """Return what an answerer is asked; None where the map does not hold what the question is about."""
        ...

    def more(self, item: Item, answer: Answer, scene: Scene) -> Row:
        """Return what belongs to a kept answer beside the answer itself: boxes of what it names."""
        ...

    def score(self, rows: Sequence[Row], items: Sequence[Item]) -> Row:
        """Score answers to these items; the form of ``score_benchmark``."""
        ...

    def baselines(self) -> Mapping[str, Row]:
        """Return scores of guessing, by name, in the same form."""
        ...


def as_asked(question: Question) -> Row:
    """Return a question as plain values."""
    situation = question.situation
    return {
        "question": question.text,
        "options": list(question.options),
        "situation": None if situation is None else [situation.position.tolist(), situation.heading.tolist()],
    }


def digest_of(questions: QuestionSet) -> str:
    """Return a hash of what is asked."""
    told = [(item.id, item.scene, questions.told(item)) for item in questions.items]
    return hashlib.blake2b(json.dumps(told, ensure_ascii=False).encode(), digest_size=8).hexdigest()
