"""Who answers what: the map what it can settle exactly, a language model the rest.

The map is asked first, which costs milliseconds. By what it replies:

- an answer: that is it. A "no" only because the map names no such thing goes on to the model: a detector has a list of
  words, and eyes have not.
- NOT_SETTLED: the model, which is told what the map measured about what the question names.
- NOT_IN_MAP: the model, which may see what nobody named; the reply says that the map does not hold it. Not so where
  the question names an object by an ID that is not there: that is not to be seen in any picture.
- AMBIGUOUS ("the chair" is one of three): asked back. Every word of the question was read and several things fit, so
  that a model could only choose one silently. Within a conversation the model is asked: what was said tells which.
- anything else (no pose yet, a broken question): the map's reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from s3d_ros.answer.base import UNWATCHED, Answerer, Progress
from s3d_ros.answer.facts import MapReader
from s3d_ros.answer.geometric import MAX_CHARACTERS
from s3d_ros.types import Answer, ErrorCode, Question, Scene

NAME = "auto"


class Looker(Answerer, Protocol):
    """What is needed of an answerer that sees (``answer.vlm.VlmAnswerer``)."""

    def ask(
        self, question: Question, scene: Scene, progress: Progress = UNWATCHED, *, measured: Sequence[str] = ()
    ) -> Answer:
        """Answer, knowing what was measured."""
        ...

    def heed(self, question: Question, answer: Answer, scene: Scene) -> None:
        """Take note of what somebody else answered in a conversation."""
        ...

    def has_talked(self, conversation_id: str) -> bool:
        """Say whether something was said in a conversation."""
        ...

    def forget(self) -> None:
        """Forget the map and what was said about it."""
        ...


class AutoAnswerer:
    """Asks the map, then the language model if there is one. ``Answer.answered_by`` says who answered."""

    name = NAME

    def __init__(self, geometric: Answerer, vlm: Looker | None = None) -> None:
        self._geometric = geometric
        self._vlm = vlm
        self._reader = MapReader()

    def missing(self) -> str:
        """Return nothing: the map can be asked while a model is loading."""
        return self._geometric.missing()

    def update(self, scene: Scene) -> None:
        """Hear of a newer scene, and have the model read it ahead."""
        self._geometric.update(scene)
        if self._vlm is not None:
            self._vlm.update(scene)

    def forget(self) -> None:
        """Forget what was said about the map: another one takes its place."""
        if self._vlm is not None:
            self._vlm.forget()

    def close(self) -> None:
        """Let go of the model."""
        self._geometric.close()
        if self._vlm is not None:
            self._vlm.close()

    def answer(self, question: Question, scene: Scene, progress: Progress = UNWATCHED) -> Answer:
        """Answer one question from one scene. Never raises."""
        known = self._geometric.answer(question, scene, progress)
        if self._vlm is None or not self._goes_on(question, scene, known):
            if self._vlm is not None:
                self._vlm.heed(question, known, scene)
            return known
        if lacking := self._vlm.missing():
            return _without_model(known, lacking)
        answer = self._vlm.ask(question, scene, progress, measured=self._facts(question, scene))
        return _joined(known, answer)

    def _facts(self, question: Question, scene: Scene) -> tuple[str, ...]:
        try:
            return self._reader.facts(question, scene)
        except Exception:  # a scene that can't be measured can still be looked at
            return ()

    def _goes_on(self, question: Question, scene: Scene, known: Answer) -> bool:
        """Say whether a question goes to the model after what the map replied."""
        if known.success:
            return _is_no_for_lack_of_a_name(known)
        if known.error == ErrorCode.NOT_IN_MAP:
            return not self._names_a_missing_id(question, scene)
        if known.error == ErrorCode.AMBIGUOUS:
            return self._vlm is not None and self._vlm.has_talked(question.conversation_id)
        if known.error == ErrorCode.BAD_QUESTION:  # too long for the map's grammar, or options that it can't compare
            return bool(question.options) or len(question.text) > MAX_CHARACTERS
        return known.error == ErrorCode.NOT_SETTLED

    def _names_a_missing_id(self, question: Question, scene: Scene) -> bool:
        world, _ = self._reader.read(scene)
        named = self._reader.named(question, scene)
        for mention, found in zip(named.mentions, named.found, strict=True):
            if mention.object_id is None:
                continue
            called = not mention.word.startswith("object ")
            if not found or (called and not any(found[0] in world.by_label.get(n, ()) for n in mention.labels)):
                return True
        return False


def _is_no_for_lack_of_a_name(known: Answer) -> bool:
    return bool(known.facts.get("lacking")) and not known.objects


def _without_model(known: Answer, lacking: str) -> Answer:
    """Return the reply while the model can't be asked: the map's, if that says something."""
    if known.success or known.error == ErrorCode.NOT_IN_MAP:
        return known
    text = f"The language model can't be asked now: {lacking}. The map alone: {known.text}"
    return replace(known, text=text, error=ErrorCode.NOT_READY)


def _joined(known: Answer, answer: Answer) -> Answer:
    """Return the model's answer, with what the map said where the two differ in what they know."""
    unnamed = known.error == ErrorCode.NOT_IN_MAP or known.success
    if answer.error in (ErrorCode.CANCELLED, ErrorCode.BAD_QUESTION):
        return answer
    if not answer.success:
        if unnamed:  # the map's reply is true, whatever became of the model
            return replace(known, text=f"{known.text} The language model was asked as well: {answer.text}")
        return replace(answer, text=f"{answer.text} The map alone: {known.text}")
    if unnamed:
        lacks = known.text if known.error else known.text.partition(", ")[2]
        text = f"{answer.text} (From the pictures alone: {lacks[:1].lower()}{lacks[1:]})"
        return replace(answer, text=text)
    return answer
