"""The geometric answerer: settles spatial questions from the map's boxes alone, exactly, without a model.

A question counts as settled only if every content word of it was used. What it can't read, what the
map does not hold, and which of several things is meant, it says instead of guessing.
"""

from __future__ import annotations

from collections.abc import Iterator

from s3d_ros.answer.asked import NAME, Asked
from s3d_ros.answer.base import UNWATCHED, Progress
from s3d_ros.answer.kind import Kind
from s3d_ros.answer.kinds.camera import CAMERA_KINDS
from s3d_ros.answer.kinds.closest import CLOSEST
from s3d_ros.answer.kinds.counting import COUNT, COUNT_ALL, EXISTS
from s3d_ros.answer.kinds.direction import DIRECTION, WHERE_FROM
from s3d_ros.answer.kinds.distance import DISTANCE
from s3d_ros.answer.kinds.grounding import GROUNDING
from s3d_ros.answer.kinds.order import APPEARANCE
from s3d_ros.answer.kinds.relation import NEAREST_THERE, RELATION
from s3d_ros.answer.kinds.route import ROUTE
from s3d_ros.answer.kinds.size import LONGEST, ROOM, SIZE
from s3d_ros.answer.kinds.where import WHERE
from s3d_ros.answer.language import words
from s3d_ros.answer.mentions import Lexicon
from s3d_ros.answer.parsed import FILLERS, Parsed, parse, with_unknown
from s3d_ros.answer.refusal import Refusal
from s3d_ros.answer.wording import PLAIN
from s3d_ros.answer.world import World, label_of
from s3d_ros.types import Answer, ErrorCode, Question, Scene

# Tried in this order; the first that reads every word and takes the question answers it.
KINDS: tuple[Kind, ...] = (
    *CAMERA_KINDS, ROUTE, APPEARANCE, ROOM, COUNT, COUNT_ALL, LONGEST, GROUNDING, DISTANCE, SIZE,
    NEAREST_THERE, CLOSEST, DIRECTION, RELATION, EXISTS, WHERE, WHERE_FROM,
)  # fmt: skip

MAX_CHARACTERS = 2000
_AUXILIARY = " can could will would should must may might shall go take come"
_HELP = (
    "I settle counts, distances, sizes, floor area, which is closest, directions, routes, order of first"
    " appearance, and where things are."
)


class GeometricAnswerer:
    """Answers from ``Scene`` without a model; see the module. Safe to call from several threads."""

    name = NAME

    def __init__(self) -> None:
        self._last: tuple[Scene, World, Lexicon] | None = None
        Lexicon(frozenset())  # reads the everyday words now rather than at the first question

    def missing(self) -> str:
        """Return nothing: there is no model to wait for."""
        return ""

    def update(self, scene: Scene) -> None:
        """Do nothing: a scene is read when it is asked about."""

    def close(self) -> None:
        """Do nothing: nothing is held."""

    def answer(self, question: Question, scene: Scene, progress: Progress = UNWATCHED) -> Answer:
        """Answer one question from one scene. Never raises."""
        try:
            return self._answer(question, scene)
        except Refusal as refusal:
            return _refused(refusal, scene)
        except Exception as error:  # a robot must get a reply, whatever a scene holds
            text = f"This went wrong inside: {type(error).__name__}: {error}"
            return _refused(Refusal(ErrorCode.INTERNAL, text), scene)

    def _answer(self, question: Question, scene: Scene) -> Answer:
        _check(question)
        world, lexicon = self._known(scene)
        parsed = parse(question, lexicon, world.index)
        asked = Asked(parsed, world)
        refusals: list[Refusal] = []
        unread: list[list[str]] = []
        for kind, left_over in _fitting(parsed):
            if left_over:
                unread.append(left_over)
                continue
            try:
                reply = kind.answer(asked) if world.objects else _not_ready()
            except Refusal as refusal:
                refusals.append(refusal)
                break
            if reply is not None:
                return reply
        if refusals:
            raise refusals[0]
        raise self._unsettled(parsed, world, unread)

    def _known(self, scene: Scene) -> tuple[World, Lexicon]:
        last = self._last
        if last is None or last[0] is not scene:
            labels = frozenset(map(label_of, scene.objects)) - {""}
            lexicon = last[2] if last and last[2].labels == labels else Lexicon(labels)
            last = (scene, World(scene), lexicon)
            self._last = last
        return last[1], last[2]

    def _unsettled(self, parsed: Parsed, world: World, unread: list[list[str]]) -> Refusal:
        """Return why a question was not settled: words not read, a thing unknown, or just no such kind."""
        content = parsed.unread((), FILLERS | words(PLAIN + _AUXILIARY))
        for left_over in sorted([*unread, content], key=len):
            guess = with_unknown(parsed, left_over)
            if guess is None or not left_over:
                continue  # not a thing, but another word
            for kind, left in _fitting(guess):
                if left or kind.name == "existence":
                    continue
                try:
                    kind.answer(Asked(guess, world))
                except Refusal as refusal:
                    if refusal.code == ErrorCode.NOT_IN_MAP:
                        return refusal
        least = min(unread, key=len, default=content)
        telling = [w for w in least if w in content] or content or least
        named = ", ".join(map(repr, telling[:8]))
        why = f"I could not read {named}." if named else "I can't tell what is asked."
        return Refusal(ErrorCode.NOT_SETTLED, f"{why} {_HELP}")


def _fitting(parsed: Parsed) -> Iterator[tuple[Kind, list[str]]]:
    for kind in KINDS:
        left_over = kind.unread(parsed)
        if left_over is not None:
            yield kind, left_over


def _check(question: Question) -> None:
    text = question.text
    if not isinstance(text, str) or not any(c.isalpha() for c in text):
        raise Refusal(ErrorCode.BAD_QUESTION, "The question is empty: ask something in words.")
    if len(text) > MAX_CHARACTERS:
        raise Refusal(
            ErrorCode.BAD_QUESTION,
            f"The question is too long: {len(text)} characters; at most {MAX_CHARACTERS} can be read.",
        )


def _not_ready() -> Answer:
    raise Refusal(ErrorCode.NOT_READY, "The map holds no objects yet: look around first.")


def _refused(refusal: Refusal, scene: Scene) -> Answer:
    return Answer(
        text=refusal.text, error=refusal.code, objects=refusal.objects, answered_by=NAME,
        map_version=scene.map_version, stamp_ns=scene.stamp_ns,
    )  # fmt: skip
