"""What the demo asks next: things that make sense for what the map holds just then."""

from __future__ import annotations

from collections import Counter

from s3d_ros.offline.questions_wordings import plural
from s3d_ros.types import Question, Scene

_SEEN_WELL = 0.8


class Asker:
    """Asks each kind of question once; the count that it began with it asks again at the end."""

    def __init__(self) -> None:
        self._asked: set[str] = set()
        self._count: Question | None = None

    def next(self, scene: Scene) -> Question | None:
        """Return the next question, None when the map gives none that is new."""
        for kind, question in self._ideas(scene).items():
            if kind not in self._asked:
                self._asked.add(kind)
                if kind == "count":
                    self._count = question
                return question
        return None

    def last(self) -> Question | None:
        """Return the count that was asked for first, None if none was."""
        return self._count

    def _ideas(self, scene: Scene) -> dict[str, Question]:
        """Return what could be asked of this map, by kind, in a good order."""
        sure = sorted((o for o in scene.objects if o.confidence >= _SEEN_WELL), key=lambda o: -float(o.box.size.prod()))
        counts = Counter(o.label for o in sure if o.label)
        if not counts:
            return _ideas_without_labels([o.id for o in sure])
        several = [label for label, n in counts.most_common() if n > 1]
        single = [label for label, n in counts.items() if n == 1]  # the largest first
        ideas = {}
        if several:
            ideas["count"] = Question(f"How many {plural(several[0])} are there?")
        if single:
            ideas["where"] = Question(f"Where is the {single[-1]}?")
        if several:
            ideas["nearest"] = Question(f"Which {several[0]} is nearest to me?")
        if len(single) > 1:
            text = f"What is the distance between the {single[0]} and the {single[1]} in meters?"
            ideas["distance"] = Question(text)
        if several:
            ideas["beyond"] = Question(f"How many {plural(several[0])} are occupied?")  # nothing that a map can know
        if len(single) > 3:
            a, b, c = single[0], single[1], single[2]
            text = f"If I am standing by the {a} and facing the {b}, is the {c} to my left or my right?"
            ideas["direction"] = Question(text, ("A. left", "B. right"))
        ideas["around"] = Question("What is around me?")
        if len(single) > 2:
            ideas["far"] = Question(f"How far am I from the {single[2]}?")
        if len(several) > 1:
            ideas["count more"] = Question(f"How many {plural(several[1])} are there?")
        ideas["room"] = Question("How big is the room in square meters?")
        return ideas


def _ideas_without_labels(ids: list[int]) -> dict[str, Question]:
    if not ids:
        return {}
    return {
        "count": Question("How many things are there?"),
        "where": Question(f"Where is object {ids[0]}?"),
        "on": Question(f"What is on object {ids[0]}?"),
        "far": Question(f"How far am I from object {ids[-1]}?"),
        "beyond": Question("Which thing is red?"),  # nothing that this map can know
        "around": Question("What is around me?"),
        "room": Question("How big is the room in square meters?"),
    }
