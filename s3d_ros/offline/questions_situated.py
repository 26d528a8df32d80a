"""Situated questions: the asker stands somewhere and looks somewhere, given as a pose and in words.

The asker stands on the floor beside one thing, 0.4 m off one of its sides and in nothing else, and faces another. The
answer goes by the pose; the words say the same less exactly. Sides (left, right, front, behind) are 90 degrees wide,
by the centres of things seen from above. A case is left out where anything that it is about lies near the border
between two sides, or on the side in question but so far off (``relations.SIDE_M``) that people may or may not count it.
Distances are to the closest point of a box.

Yes and no come in pairs: the same question from where it is so and from where it is not, so that its words tell
nothing. Counts, sides and labels are dealt evenly.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from s3d_ros.answer.relations import SIDE_M
from s3d_ros.geometry import inside_box, point_box_distance
from s3d_ros.offline.questions_maker import Asking, Maker
from s3d_ros.offline.questions_record import Pose, ScoredQuestion
from s3d_ros.offline.questions_rules import (
    CLOSER_BY_M,
    CLOSER_BY_SHARE,
    LEVEL_SHARE,
    MIN_DISTANCE_M,
    NEAR_STAND_M,
    REACH_CLEAR,
    REACHES_M,
    apart,
    side_of,
)
from s3d_ros.offline.questions_wordings import PLURAL_ONLY, plural
from s3d_ros.offline.questions_wordings_places import SIDES, SITUATIONS
from s3d_ros.offline.truth import TrueObject
from s3d_ros.types import F64

_EYES_M = 1.5  # whoever stands there must not stand in anything up to this height
MOST_STANDS, SETS_OF_A_STAND = 150, 20
_WAYS = ("left", "right", "in front", "behind")


@dataclass(frozen=True)
class Stand:
    """Where somebody stands (3,), which way they look (3,) of length 1, by what, and facing what."""

    position: F64
    heading: F64
    by: TrueObject
    facing: TrueObject

    def far(self, o: TrueObject) -> float:
        """Return how far the closest point of a thing is, in metres."""
        return point_box_distance(self.position, o.box)

    def side(self, o: TrueObject) -> str | None:
        """Return on which side a thing is, None where that is not clear."""
        return side_of((o.box.center - self.position)[:2], self.heading[:2])

    def holds(self, o: TrueObject, side: str) -> bool | None:
        """Say whether a thing is on a side and near enough to count; None where that is not clear."""
        found = self.side(o)
        if found == side and self.far(o) > (1 - REACH_CLEAR) * SIDE_M:
            return None
        return None if found is None else found == side


def stands(maker: Maker) -> list[Stand]:
    """Return places to stand at: beside things that can be named alone, facing other ones; at most MOST_STANDS."""
    if "stands" not in maker.notes:
        found = _stands(maker)
        rng = random.Random(maker.seed)
        maker.notes["stands"] = rng.sample(found, min(MOST_STANDS, len(found)))
    return list(maker.notes["stands"])


def _stands(maker: Maker) -> list[Stand]:
    solid = [o for o in maker.truth.objects if o.frames_seen]
    if not solid:
        return []
    floor_m = min(float(o.box.corners()[:, 2].min()) for o in solid)
    corners = np.concatenate([o.box.corners() for o in solid])
    low, high = corners.min(axis=0)[:2], corners.max(axis=0)[:2]
    heights = np.arange(0.1, _EYES_M, 0.2)
    out = []
    for by in maker.unique:
        for spot in _beside(by):
            column = np.column_stack([np.tile(spot, (len(heights), 1)), floor_m + heights])
            if (spot < low).any() or (spot > high).any() or any(inside_box(column, o.box, 0.1).any() for o in solid):
                continue
            position = np.array([*spot, floor_m])
            for facing in maker.unique:
                way = facing.box.center[:2] - spot
                if facing is not by and apart(facing.box.center, position):
                    heading = np.array([*(way / np.linalg.norm(way)), 0.0])
                    out.append(Stand(position, heading, by, facing))
    return out


def direction(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    by_class: dict[str, list[tuple[Stand, TrueObject]]] = {name: [] for name in SIDES}
    for here in stands(maker):
        for o in maker.unique:
            side = here.side(o)
            if side and o is not here.by and o is not here.facing and apart(here.position, o.box.center):
                by_class[side].append((here, o))
    for side in maker.even(by_class):
        here, o = by_class[side].pop(maker.rng.randrange(len(by_class[side])))
        ask = maker.ask(kind)
        said = dict(zip(("left", "right", "front", "behind"), _WAYS, strict=True))[side]
        yield ask.choice(said, _WAYS, (o,), {"a": ask.name(o.label)}, **_told(maker, ask, here))


def distance(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    found = []
    for here in stands(maker):
        for o in maker.unique:
            far, level = here.far(o), _over_the_floor(here, o)
            if far >= MIN_DISTANCE_M and o is not here.by and far <= (1 + LEVEL_SHARE) * level:
                found.append((here, o, far))
    for here, o, far in maker.spread(found, [x[2] for x in found]):
        ask = maker.ask(kind)
        yield ask.number(far, (o,), {"a": ask.name(o.label)}, "m", **_told(maker, ask, here))


def count(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    several = [k for k, os in maker.known.items() if len(os) >= 2 and k not in PLURAL_ONLY]
    by_number: dict[int, list[tuple[Stand, str, str]]] = {}
    for here in stands(maker):
        for label in several:
            for side in SIDES:
                on = [here.holds(o, side) for o in maker.known[label]]
                if None not in on and label not in (here.by.label, here.facing.label):
                    by_number.setdefault(sum(map(bool, on)), []).append((here, label, side))
    for number in maker.even(dict(sorted(by_number.items()))):
        here, label, side = by_number[number].pop(maker.rng.randrange(len(by_number[number])))
        ask = maker.ask(kind)
        about = [o for o in maker.known[label] if here.holds(o, side)]
        name = ask.name(label)
        names = {"category": name, "categories": plural(name), "side": SIDES[side]}
        yield ask.number(number, about, names, **_told(maker, ask, here))


def nearest_there(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    by_label: dict[str, list[tuple[Stand, str, TrueObject]]] = {}
    for here in stands(maker):
        things = [o for o in maker.truth.objects if o.frames_seen]
        for side in SIDES:
            there = sorted((o for o in things if here.holds(o, side) is not False), key=here.far)
            told = (here.by, here.facing)  # the words of the situation say where these are
            clear = len(there) == 1 or (len(there) > 1 and here.far(there[1]) - here.far(there[0]) > CLOSER_BY_M)
            if clear and here.holds(there[0], side) and there[0].label in maker.known and there[0] not in told:
                by_label.setdefault(there[0].label, []).append((here, side, there[0]))
    for label in maker.even(dict(sorted(by_label.items()))):
        here, side, o = by_label[label].pop(maker.rng.randrange(len(by_label[label])))
        ask = maker.ask(kind)
        yield ask.done(label, (o,), {"side": SIDES[side]}, **_told(maker, ask, here))


def closest(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    cases: dict[tuple[str, ...], dict[str, list[tuple[Stand, TrueObject]]]] = {}
    for here in stands(maker):
        things = [o for o in maker.unique if o is not here.by]
        chosen = maker.shuffled(list(itertools.combinations(things, 4)))[:SETS_OF_A_STAND]
        far = {o.id: here.far(o) for o in things}
        for four in chosen:
            best, second = sorted(four, key=lambda o: far[o.id])[:2]
            if far[second.id] - far[best.id] > max(CLOSER_BY_M, CLOSER_BY_SHARE * far[best.id]):
                labels = tuple(sorted(o.label for o in four))
                cases.setdefault(labels, {}).setdefault(best.label, []).append((here, best))
    for labels, winner in maker.two_ways(cases):
        here, best = maker.rng.choice(cases[labels][winner])
        ask = maker.ask(kind)
        names = maker.lists(maker.shuffled(labels))
        yield ask.choice(winner, labels, (best,), names, **_told(maker, ask, here))


def is_there(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    cases: dict[tuple[str, str], dict[bool, list[Stand]]] = {}
    for here in stands(maker):
        for label, things in maker.known.items():
            for side in SIDES:
                on = [here.holds(o, side) for o in things]
                if None not in on and label not in (here.by.label, here.facing.label):
                    cases.setdefault((label, side), {}).setdefault(any(on), []).append(here)
    for (label, side), yes in maker.two_ways(cases):
        here = maker.rng.choice(cases[label, side][yes])
        ask = maker.ask(kind)
        name = ask.name(label)
        names = {"category": name, "categories": plural(name), "side": SIDES[side]}
        yield ask.done("yes" if yes else "no", maker.known[label], names, **_told(maker, ask, here))


def can_i(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    cases: dict[tuple[str, float], dict[bool, list[Stand]]] = {}
    for here in stands(maker):
        for label, things in maker.known.items():
            far = min(map(here.far, things))
            for reach in REACHES_M:
                if abs(far - reach) >= REACH_CLEAR * reach and label not in (here.by.label, here.facing.label):
                    cases.setdefault((label, reach), {}).setdefault(far < reach, []).append(here)
    for (label, reach), yes in maker.two_ways(cases):
        here = maker.rng.choice(cases[label, reach][yes])
        ask = maker.ask(kind)
        names = {"category": ask.name(label), "reach": f"{reach:g}"}
        yield ask.done("yes" if yes else "no", maker.known[label], names, **_told(maker, ask, here))


def _told(maker: Maker, ask: Asking, here: Stand) -> dict[str, Any]:
    """Return the fields of the record that say where the asker stands."""
    text = maker.rng.choice(SITUATIONS[ask.wording.split])
    x, y, z = (round(float(v), 4) for v in here.position)
    hx, hy, hz = (round(float(v), 6) for v in here.heading)
    return {
        "task": "situated",
        "situation": Pose((x, y, z), (hx, hy, hz)),
        "situation_text": text.format(stand=here.by.label, face=here.facing.label),
    }


def _beside(o: TrueObject) -> list[F64]:
    """Return the places (2,) beside the four upright sides of a box."""
    upright = int(np.argmax(np.abs(o.box.axes[:, 2])))
    sides = [i for i in range(3) if i != upright]
    steps = [sign * o.box.axes[i, :2] * (o.box.size[i] / 2 + NEAR_STAND_M) for i in sides for sign in (1, -1)]
    return [o.box.center[:2] + step for step in steps]


def _over_the_floor(here: Stand, o: TrueObject) -> float:
    """Return how far a thing is over the floor: as if it hung at the height of the asker's feet."""
    low, high = o.box.corners()[:, 2].min(), o.box.corners()[:, 2].max()
    level = np.clip(here.position[2], low, high)
    return point_box_distance(np.array([*here.position[:2], level]), o.box)


SITUATED: Mapping[str, Callable[[Maker, str], Iterator[ScoredQuestion]]] = {
    "situated_direction": direction,
    "situated_distance": distance,
    "situated_count": count,
    "situated_what": nearest_there,
    "situated_closest": closest,
    "situated_is": is_there,
    "situated_can": can_i,
}
