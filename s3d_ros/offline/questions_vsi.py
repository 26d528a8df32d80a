"""Questions of VSI-Bench's eight kinds.

The kinds and their definitions:

- counting: how many of a category, of which there are two or more.
- absolute distance: metres between the closest points of two oriented boxes.
- object size: longest of the box's three extents, in cm. Room size: floor area in m2.
- relative distance: which of four categories is closest to a thing, between closest points, nearest of its kind.
- relative direction: standing at the centre of one thing and facing that of another, seen from above: left or right
  of the line of sight (easy); left, right, or back, which is a turn of 135 degrees or more (medium); quadrant (hard).
- route: from a thing, facing another, straight from centre to centre; the turns in between are asked for. What stands
  in the way plays no part.
- appearance order: of four categories, by the first sight of any object of each.

A category takes part only when *all* its objects were well seen (2,000 pixels in one frame, and 5 frames): otherwise
nobody who only saw the recording could know how many there are, or which is the closest. (For the order of appearance
it is enough that the one seen first was well seen.) A thing is named alone
("the bed") only when it is the only one of its label in the truth. Near ties are left out (`questions_rules`).

Right letters, directions, and bands of distances and sizes are dealt evenly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from s3d_ros.offline.questions_maker import TRIES, Maker
from s3d_ros.offline.questions_record import ScoredQuestion
from s3d_ros.offline.questions_rules import (
    CLOSER_BY_M,
    CLOSER_BY_SHARE,
    DIRECTIONS,
    FIRST_SEEN_GAP_S,
    MIN_DISTANCE_M,
    MIN_SIZE_M,
    TURNS,
    apart,
    direction_class,
    heading_angle_deg,
    route_turns,
)
from s3d_ros.offline.questions_wordings import PLURAL_ONLY, ROUTE_STEPS, plural
from s3d_ros.offline.truth import TrueObject


def counting(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    several = [label for label, os in maker.known.items() if len(os) >= 2 and label not in PLURAL_ONLY]
    for label in maker.shuffled(several):
        ask = maker.ask(kind)
        names = ask.name(label)
        named = {"category": names, "categories": plural(names)}
        yield ask.number(len(maker.known[label]), maker.known[label], named)


def abs_distance(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    pairs = [p for p in itertools.combinations(maker.unique, 2) if maker.distance(*p) >= MIN_DISTANCE_M]
    for pair in maker.spread(pairs, [maker.distance(*p) for p in pairs]):
        ask = maker.ask(kind)
        a, b = maker.rng.sample(pair, 2)
        yield ask.number(maker.distance(a, b), (a, b), {"a": ask.name(a.label), "b": ask.name(b.label)}, "m")


def size(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    things = [o for o in maker.unique if o.box.size.max() >= MIN_SIZE_M]
    for o in maker.spread(things, [float(o.box.size.max()) for o in things]):
        ask = maker.ask(kind)
        yield ask.number(100 * float(o.box.size.max()), (o,), {"a": ask.name(o.label)}, "cm")


def room(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    for _ in range(2):  # there is one room to ask about
        yield maker.ask(kind).number(maker.truth.floor_area_m2, (), {}, "m2")


def rel_distance(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    asked = set()
    for _ in range(TRIES):
        if not maker.unique:
            return
        anchor = maker.rng.choice(maker.unique)
        of_several = maker.rng.random() < 0.35 or len(maker.unique) < 5
        labels = [k for k in maker.known if k != anchor.label] if of_several else [o.label for o in maker.unique]
        labels = [label for label in labels if label != anchor.label]
        if len(labels) < 4:
            continue
        options = maker.rng.sample(labels, 4)
        near = {k: min((maker.distance(anchor, o), o.id) for o in maker.known[k]) for k in options}
        best, second = sorted(options, key=lambda k: near[k])[:2]
        gap = near[second][0] - near[best][0]
        if gap <= max(CLOSER_BY_M, CLOSER_BY_SHARE * near[best][0]) or (anchor.id, best) in asked:
            continue
        asked.add((anchor.id, best))
        ask = maker.ask(kind, of_several=any(len(maker.known[k]) > 1 for k in options))
        about = (anchor, *(o for o in maker.truth.objects if o.id == near[best][1]))
        yield ask.choice(best, options, about, {"target": ask.name(anchor.label), **maker.lists(options)})


def direction(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    level = kind.rpartition("_")[2]
    by_class: dict[str, list[tuple[TrueObject, ...]]] = {name: [] for name in DIRECTIONS[level]}
    for three in itertools.permutations(maker.unique, 3):
        stand, face, target = (o.box.center for o in three)
        if apart(stand, face) and apart(stand, target):
            name = direction_class(heading_angle_deg(stand, face, target), level)
            if name:
                by_class[name].append(three)
    for name in maker.even(by_class):
        chosen = by_class[name].pop(maker.rng.randrange(len(by_class[name])))
        ask = maker.ask(kind)
        stand_by, facing, sought = (ask.name(o.label) for o in chosen)
        yield ask.choice(name, DIRECTIONS[level], chosen, {"stand": stand_by, "face": facing, "target": sought})


def route(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    """Number of turns and, for each number, the turns themselves are dealt evenly: "turn back" is rare among all."""
    found: dict[int, dict[tuple[str, ...], list[tuple[list[TrueObject], bool]]]] = {1: {}, 2: {}, 3: {}}
    drawn = set()
    for _ in range(10 * TRIES):
        number, turn_first = maker.rng.choice((1, 2, 3)), maker.rng.random() < 0.4
        if len(maker.unique) < number + 2:
            continue
        stops = maker.rng.sample(maker.unique, number + 2)
        turns = route_turns([o.box.center for o in stops], turn_first)
        if turns is not None and tuple(o.id for o in stops) not in drawn:
            drawn.add(tuple(o.id for o in stops))
            found[number].setdefault(tuple(turns), []).append((stops, turn_first))
    dealt = {number: maker.even(dict(sorted(found[number].items())), ("turns", number)) for number in found}
    while any(some for by_turns in found.values() for some in by_turns.values()):
        number = maker.deal("number", [n for n in (1, 2, 2, 3) if any(found[n].values())])
        right_turns = next(dealt[number], None)
        if right_turns is None:
            continue  # a card from before that number was used up
        stops, turn_first = found[number][right_turns].pop()
        ask = maker.ask(kind)
        names = [ask.name(o.label) for o in stops]
        actions = _actions(maker, names[2 if turn_first else 1 :], turn_first, ask.wording.split)
        all_turns = [", ".join(t).title() for t in itertools.product(TURNS, repeat=number)]
        right = ", ".join(right_turns).title()
        wrong = maker.rng.sample([t for t in all_turns if t != right], min(3, len(all_turns) - 1))
        named = {"start": names[0], "face": names[1], "goal": names[-1], "actions": actions}
        yield ask.choice(right, [right, *wrong], stops, named)


def order(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    first_of = {label: min(os, key=_first_s) for label, os in maker.by_label.items() if label}
    first = {label: _first_s(o) for label, o in first_of.items() if o.well_seen}
    asked = set()
    for _ in range(TRIES):
        if len(first) < 4:
            return
        four = sorted(maker.rng.sample(sorted(first), 4), key=lambda k: first[k])
        times = [first[k] for k in four]
        if min(np.diff(times)) < FIRST_SEEN_GAP_S or tuple(four) in asked:
            continue
        asked.add(tuple(four))
        right = ", ".join(four)
        wrong = maker.rng.sample([", ".join(p) for p in itertools.permutations(four) if list(p) != four], 3)
        about = [first_of[k] for k in four]
        named = maker.lists(maker.shuffled(four))
        yield maker.ask(kind).choice(right, [right, *wrong], about, named)


def _actions(maker: Maker, places: Sequence[str], turn_first: bool, split: str) -> str:
    step, gap = maker.rng.choice(ROUTE_STEPS[split])
    go = [step.format(place=place) for place in places]
    steps = [s for pair in zip(itertools.repeat(gap), go, strict=False) for s in pair]
    return " ".join(f"{i}. {s}" for i, s in enumerate(steps if turn_first else steps[1:], 1)) + "."


def _first_s(o: TrueObject) -> float:
    return math.inf if o.first_seen_s is None else o.first_seen_s


VSI: Mapping[str, Callable[[Maker, str], Iterator[ScoredQuestion]]] = {
    "object_counting": counting,
    "object_abs_distance": abs_distance,
    "object_size_estimation": size,
    "room_size_estimation": room,
    "object_rel_distance": rel_distance,
    "object_rel_direction_easy": direction,
    "object_rel_direction_medium": direction,
    "object_rel_direction_hard": direction,
    "route_planning": route,
    "obj_appearance_order": order,
}
