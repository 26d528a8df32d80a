"""Questions about marked things, with their answers: what the small model learns to answer, and is scored by.

Things are named by number ("object 12") or, where that is plain, by category ("the sofa"). What is asked follows the
rules of the project's generator for when a case is clear enough; the wordings are its own, and those of ``wordings``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from s3d_ros.offline.questions_rules import DIRECTIONS, direction_class, heading_angle_deg
from s3d_ros.offline.questions_wordings import WORDINGS, Wording, plural
from s3d_ros.prompt.numbers import token
from s3d_ros.prompt.replies import grounded
from s3d_ros.prompt.tasks import Task
from s3d_ros.train.small.measuring import Measured, gauges
from s3d_ros.train.small.paraphrases import MORE
from s3d_ros.train.small.wordings import ASKED
from s3d_ros.types import SceneObject

TRAINED, HELD_OUT = frozenset({"official", "open"}), frozenset({"held_out"})
_SIDE = "object_rel_direction_easy"
# kind: (its wordings' name, share in training)
KINDS: dict[str, tuple[str, float]] = {
    "category": ("category", 0.06),
    "id": ("id", 0.05),
    "map_side": ("map_side", 0.08),
    "left_right": (_SIDE, 0.20),
    "direction": ("object_rel_direction_medium", 0.07),
    "distance": ("object_abs_distance", 0.20),
    "closest": ("closest", 0.14),
    "count": ("object_counting", 0.08),
    "nearest": ("nearest", 0.04),
    "two_hop": ("two_hop", 0.08),
}
_LETTERED = 0.15  # of questions with options, those that list them by letter
_BY_CATEGORY = 0.25
_TRIES = 12
_TRIES_EACH = 3  # for each question that is wanted
_LONG = 90  # characters
_PARAPHRASED = 0.5  # share of training's questions in its own paraphrases
_T = TypeVar("_T")


@dataclass(frozen=True)
class AskedThing:
    """A question about things. answer: in words, where it names no object; objects: those that are the answer.

    named: it calls things by category, so that these must be told apart first. about: the things so called.
    candidates: among how many things the answer is. gauge: what is measured to answer it, see ``gauges``. anchor: what
    the sought thing is near to, 0 where that is not asked.
    """

    kind: str
    text: str
    answer: str = ""
    objects: tuple[int, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    value: float | None = None
    named: bool = False
    about: tuple[tuple[str, int], ...] = ()
    candidates: int = 0
    gauge: tuple[float, ...] = gauges()
    anchor: int = 0

    def reply(self, task: Task) -> str:
        """Return what a model should say, the question being put as that task."""
        if not self.objects:
            return self.answer
        if task in (Task.GROUND_ONE, Task.GROUND_MANY):
            return grounded(task, self.objects)
        return token(self.objects[0])


class Asker:
    """Draws questions about things; those without a label only by number. others: categories of what else is there.

    splits: of wordings that are used. by_category: share of questions that name things so, where they can. paraphrased:
    share of those in training's wordings that are put otherwise.
    """

    def __init__(
        self,
        things: Sequence[SceneObject],
        others: Collection[str],
        rng: np.random.Generator,
        splits: Collection[str] = TRAINED,
        by_category: float = _BY_CATEGORY,
        paraphrased: float = _PARAPHRASED,
    ) -> None:
        self.things, self.rng, self.splits, self._by_category = things, rng, splits, by_category
        self._paraphrased = paraphrased if splits == TRAINED else 0.0
        self._counts = Counter(o.label for o in things if o.label)
        self._others = set(others)
        self._unique = [o for o in things if self._counts[o.label] == 1 and o.label not in self._others]
        self._measured = Measured(things)

    def draw(self, count: int, kinds: Sequence[str] = tuple(KINDS)) -> list[AskedThing]:
        """Return at most so many questions, their kinds by the shares of training."""
        share = np.array([KINDS[k][1] for k in kinds])
        found = []
        for k in self.rng.choice(len(kinds), count, p=share / share.sum()):
            asked = self.one(kinds[k])
            if asked is not None:
                found.append(asked)
        return found

    def distinct(self, each: int, fits: Callable[[AskedThing], bool] = lambda asked: True) -> list[AskedThing]:
        """Return at most so many questions of each kind that fit, none twice."""
        found: dict[str, AskedThing] = {}
        for kind in KINDS:
            drawn = 0
            for _ in range(_TRIES_EACH * each):
                asked = self.one(kind)
                if asked is not None and drawn < each and asked.text not in found and fits(asked):
                    found[asked.text] = asked
                    drawn += 1
        return list(found.values())

    def one(self, kind: str) -> AskedThing | None:
        """Return a question of a kind; None where chance found none that is clear enough."""
        for _ in range(_TRIES):
            asked: AskedThing | None = getattr(self, f"_{kind}")()
            if asked is not None:
                return asked
        return None

    def _category(self) -> AskedThing | None:
        thing = self._any(1)
        if not thing or not thing[0].label:
            return None
        text = self._words("category").replace("{a}", f"object {thing[0].id}")
        return AskedThing("category", text, thing[0].label)

    def _id(self) -> AskedThing | None:
        if not self._unique:
            return None
        thing = self._pick(self._unique)
        text = self._words("id").replace("{category}", thing.label)
        return AskedThing("id", text, objects=(thing.id,), named=True, about=((thing.label, thing.id),),
                          candidates=len(self.things))  # fmt: skip

    def _map_side(self) -> AskedThing | None:
        pair, names, named = self._named(2)
        if not pair:
            return None
        away = pair[0].box.center[:2] - pair[1].box.center[:2]
        if abs(away[0]) < 0.3 or abs(away[0]) < 0.3 * abs(away[1]):
            return None
        text = self._words("map_side").replace("{a}", names[0]).replace("{b}", names[1])
        about = _about(pair) if named else ()
        side = "left" if away[0] < 0 else "right"
        return AskedThing("map_side", text, side, named=named, about=about, gauge=self._measured.laid(*pair))

    def _left_right(self) -> AskedThing | None:
        return self._turn("left_right", "easy")

    def _direction(self) -> AskedThing | None:
        return self._turn("direction", "medium" if self.rng.random() < 0.5 else "hard")

    def _turn(self, kind: str, level: str) -> AskedThing | None:
        three, names, named = self._named(3)
        if not three:
            return None
        stand, face, target = (o.box.center for o in three)
        if min(np.hypot(*(face - stand)[:2]), np.hypot(*(target - stand)[:2])) < 0.6:
            return None
        angle_deg = heading_angle_deg(stand, face, target)
        answer = direction_class(angle_deg, level)
        if answer is None:
            return None
        text = self._words(f"object_rel_direction_{level}")
        for slot, name in zip(("stand", "face", "target"), names, strict=True):
            text = text.replace(f"the {{{slot}}}", name)
        turn = math.radians(angle_deg)
        gauge = gauges(cosine=math.cos(turn), sine=math.sin(turn))
        return replace(self._chosen(kind, text, answer, DIRECTIONS[level], three if named else ()), gauge=gauge)

    def _distance(self) -> AskedThing | None:
        pair, names, named = self._named(2)
        if not pair:
            return None
        metres = self._measured.gap_m(*pair)
        if metres < 0.3:
            return None
        text = self._words("object_abs_distance")
        for slot, name in zip("ab", names, strict=True):
            text = text.replace(f"the {{{slot}}}", name).replace(f"{{{slot}}}", name)
        about = _about(pair) if named else ()
        gauge = self._measured.laid(*pair)
        return AskedThing("distance", text, f"{metres:.1f} m", value=metres, named=named, about=about, gauge=gauge)

    def _closest(self) -> AskedThing | None:
        if self.rng.random() < self._by_category * 0.6 and len(self._unique) >= 4:
            return self._closest_named()
        some = self._any(int(self.rng.integers(3, 6)))
        if not some:
            return None
        target, rest = some[0], some[1:]
        near = self._measured.clear_nearest(target, rest)
        if near is None:
            return None
        words = [f"object {o.id}" for o in rest]
        listed = f"{', '.join(words[:-1])} or {words[-1]}"
        text = self._words("closest").replace("{a}", f"object {target.id}").replace("{list}", listed)
        return AskedThing("closest", text, objects=(near.id,), candidates=len(rest), anchor=target.id)

    def _closest_named(self) -> AskedThing | None:
        some = self._pick_many(self._unique, int(self.rng.integers(3, 5)) + 1)
        if not some:
            return None
        target, rest = some[0], some[1:]
        near = self._measured.clear_nearest(target, rest)
        if near is None:
            return None
        labels = [o.label for o in rest]
        things = [f"the {label}" for label in labels]
        head, last = ", ".join(things[:-1]), things[-1]
        text = self._words("object_rel_distance", no_several=True).format(
            target=target.label, bare=", ".join(labels), any=f"{head} or {last}", all=f"{head} and {last}"
        )
        return replace(self._chosen("closest", text, near.label, labels, some), anchor=target.id)

    def _count(self) -> AskedThing | None:
        known = sorted(k for k in self._counts if k not in self._others)
        if not known:
            return None
        # Most categories are there once: those that are there more often are asked about as often
        several = [k for k in known if self._counts[k] > 1]
        label = self._pick(several if several and self.rng.random() < 0.65 else known)
        text = self._words("object_counting").format(category=label, categories=plural(label))
        count = self._counts[label]
        gauge = gauges(count=count)
        return AskedThing("count", text, str(count), value=count, named=True, gauge=gauge)

    def _nearest(self) -> AskedThing | None:
        target = self._any(1)
        if not target or len(self.things) < 3:
            return None
        near = self._measured.clear_nearest(target[0], [o for o in self.things if o is not target[0]])
        if near is None:
            return None
        text = self._words("nearest").replace("{a}", f"object {target[0].id}")
        others = len(self.things) - 1
        return AskedThing("nearest", text, objects=(near.id,), candidates=others, anchor=target[0].id)

    def _two_hop(self) -> AskedThing | None:
        several = [k for k, n in self._counts.items() if n > 1 and k not in self._others]
        if not several:
            return None
        label = self._pick(sorted(several))
        targets, names, named = self._named(1)
        if not targets or targets[0].label == label:
            return None
        near = self._measured.clear_nearest(targets[0], [o for o in self.things if o.label == label])
        if near is None:
            return None
        text = self._words("two_hop").replace("{category}", label).replace("{a}", names[0])
        about = _about(targets) if named else ()
        return AskedThing("two_hop", text, objects=(near.id,), named=named, about=about,
                          candidates=self._counts[label], anchor=targets[0].id)  # fmt: skip

    def _chosen(
        self, kind: str, text: str, answer: str, options: Sequence[str], called: Sequence[SceneObject]
    ) -> AskedThing:
        """Finish a question of which the options are known; some list them by letter. called: by their categories."""
        text = text[0].upper() + text[1:]
        listed: tuple[tuple[str, str], ...] = ()
        if self.rng.random() < _LETTERED:
            order = [options[i] for i in self.rng.permutation(len(options))]
            listed = tuple(zip("ABCDEF", order, strict=False))
            answer = "ABCDEF"[order.index(answer)]
        return AskedThing(kind, text, answer, options=listed, named=bool(called), about=_about(called))

    def _named(self, count: int) -> tuple[list[SceneObject], list[str], bool]:
        """Return things and what they are called, all by number or all by category."""
        if self.rng.random() < self._by_category:
            some = self._pick_many(self._unique, count)
            if some:
                return some, [f"the {o.label}" for o in some], True
        some = self._any(count)
        return some, [f"object {o.id}" for o in some], False

    def _any(self, count: int) -> list[SceneObject]:
        return self._pick_many(self.things, count)

    def _pick_many(self, things: Sequence[SceneObject], count: int) -> list[SceneObject]:
        if len(things) < count:
            return []
        return [things[i] for i in self.rng.choice(len(things), count, replace=False)]

    def _pick(self, things: Sequence[_T]) -> _T:
        return things[int(self.rng.integers(len(things)))]

    def _words(self, name: str, no_several: bool = False) -> str:
        paraphrased = name in MORE and self.rng.random() < self._paraphrased
        ways = MORE[name] if paraphrased else _ways(name, frozenset(self.splits), no_several)
        text = ways[int(self.rng.integers(len(ways)))].text
        if len(text) > _LONG and self.splits == TRAINED:  # long ones cost more, and teach no more
            text = ways[int(self.rng.integers(len(ways)))].text
        return text


def _about(things: Sequence[SceneObject]) -> tuple[tuple[str, int], ...]:
    return tuple((o.label, o.id) for o in things)


_WAYS: dict[tuple[str, frozenset[str], bool], list[Wording]] = {}


def _ways(name: str, splits: frozenset[str], no_several: bool) -> Sequence[Wording]:
    key = (name, splits, no_several)
    if key not in _WAYS:
        every = ASKED[name] if name in ASKED else WORDINGS[name]
        _WAYS[key] = [w for w in every if w.split in splits and "following" not in w.text
                      and "the options" not in w.text]  # fmt: skip
    return _WAYS[key]
