"""What the demo asks next: things that make sense for what the map holds just then."""

from __future__ import annotations

from collections import Counter

from s3d_ros.offline.questions_wordings import plural
from s3d_ros.types import Question, Scene

_SEEN_WELL = 0.8


class Asker:
    """Never asks the same twice, but for the count that it began with, which it asks again at the end."""

    def __init__(self) -> None:
        self._asked: set[str] = set()
        self._counted = ""

    def next(self, scene: Scene) -> Question | None:
        """Return the next question, None when the map gives none that is new."""
        for question in self._ideas(scene):
            if question.text not in self._asked:
                self._asked.add(question.text)
                return question
        return None

    def last(self) -> Question | None:
        """Return the count that was asked for first, once more."""
        return Question(self._counted) if self._counted else None

    def _ideas(self, scene: Scene) -> list[Question]:
        sure = [o for o in scene.objects if o.confidence >= _SEEN_WELL]
        counts = Counter(o.label for o in sure if o.label)
        several = [label for label, n in counts.most_common() if n > 1]
        single = sorted(label for label, n in counts.items() if n == 1)
        ideas = []
        if several and not self._counted:
            self._counted = f"How many {plural(several[0])} are there?"
        if not several and not single and sure:
            self._counted = self._counted or "How many things are there?"
        if self._counted:
            ideas.append(Question(self._counted))
        if single:
            ideas.append(Question(f"Where is the {single[0]}?"))
        if several:
            ideas.append(Question(f"Which {several[0]} is nearest to me?"))
        if len(single) > 1:
            ideas.append(Question(f"What is the distance between the {single[0]} and the {single[1]} in meters?"))
        if len(single) > 2:
            a, b, c = single[-1], single[0], single[1]
            text = f"If I am standing by the {a} and facing the {b}, is the {c} to my left or my right?"
            ideas.append(Question(text, ("A. left", "B. right")))
        if several:
            ideas.append(Question(f"How many {plural(several[0])} are occupied?"))  # nothing that a map can know
        if not single and sure:
            big = max(sure, key=lambda o: float(o.box.size.prod()))
            ideas += [Question(f"Where is object {big.id}?"), Question(f"What is on object {big.id}?")]
        ideas += [Question("What is around me?"), Question("How big is the room in square meters?")]
        ideas += [Question(f"Where is the {label}?") for label in single[1:3]]
        ideas += [Question(f"How far am I from the {label}?") for label in single[3:5]]
        ideas += [Question(f"How many {plural(label)} are there?") for label in several[1:3]]
        return ideas
