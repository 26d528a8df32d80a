"""VSI-style questions with known answers, made from the truth of a place.

The eight kinds and their definitions are VSI-Bench's:

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

Everything is drawn from one seed; right letters and right directions are dealt evenly.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3d_ros.geometry import box_distance
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
from s3d_ros.offline.questions_wordings import PLURAL_ONLY, ROUTE_STEPS, SYNONYMS, WORDINGS, Wording, plural
from s3d_ros.offline.truth import TrueObject, Truth

KINDS = tuple(WORDINGS)

SYNONYM_SHARE = 0.15  # of the things named in unofficial wordings
TRIES = 400
_SPLITS = ("official", "open", "held_out", "held_out")  # half of the questions are in held-out words


@dataclass(frozen=True)
class ScoredQuestion:
    """A question and its key. ``value`` where the answer is a number, ``choice`` where it is one of ``options``."""

    id: str
    type: str
    question: str
    answer: str
    options: tuple[str, ...] = ()
    value: float | None = None
    choice: str = ""
    wording: str = "official"  # official, open, held_out
    synonym: bool = False
    about: tuple[int, ...] = ()  # ids of the truth


def make_questions(
    truth: Truth, seed: int = 0, per_kind: int = 6, splits: Sequence[str] = ("official", "open", "held_out")
) -> list[ScoredQuestion]:
    """Make up to ``per_kind`` questions of each kind (and level of direction), fewer where the place has no more."""
    maker = _Maker(truth, seed, frozenset(splits))
    makers = {
        "object_counting": maker.counting,
        "object_abs_distance": maker.abs_distance,
        "object_size_estimation": maker.size,
        "room_size_estimation": maker.room,
        "object_rel_distance": maker.rel_distance,
        "object_rel_direction_easy": maker.direction,
        "object_rel_direction_medium": maker.direction,
        "object_rel_direction_hard": maker.direction,
        "route_planning": maker.route,
        "obj_appearance_order": maker.order,
    }
    return [q for kind in KINDS for q in itertools.islice(makers[kind](kind), per_kind)]


def write_questions(questions: Sequence[ScoredQuestion], path: Path, key_path: Path) -> None:
    """Write what is asked, for ``s3d replay --questions``, and apart from it the key, for ``s3d evaluate``."""
    asked = [
        {"id": q.id, "type": q.type, "question": q.question, **({"options": list(q.options)} if q.options else {})}
        for q in questions
    ]
    key: list[dict[str, Any]] = [
        {
            "id": q.id,
            "type": q.type,
            "answer": q.answer,
            "value": q.value,
            "choice": q.choice,
            "options": list(q.options),
            "wording": q.wording,
            "synonym": q.synonym,
            "about": list(q.about),
        }
        for q in questions
    ]
    for where, rows in ((path, asked), (key_path, key)):
        where.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


class _Maker:
    """Draws questions about one place."""

    def __init__(self, truth: Truth, seed: int, splits: frozenset[str]) -> None:
        self.truth, self.splits = truth, splits
        self.rng = random.Random(seed)
        self.by_label: dict[str, list[TrueObject]] = {}
        for o in truth.objects:
            self.by_label.setdefault(o.label, []).append(o)
        self.known = {k: os for k, os in sorted(self.by_label.items()) if k and all(o.well_seen for o in os)}
        self.unique = [os[0] for os in self.known.values() if len(os) == 1]
        self._decks: dict[Any, list[Any]] = {}
        self._distances: dict[tuple[int, int], float] = {}
        self._made: dict[str, int] = {}

    # The kinds; each draws for as long as it finds something new to ask.

    def counting(self, kind: str) -> Iterator[ScoredQuestion]:
        several = [label for label, os in self.known.items() if len(os) >= 2 and label not in PLURAL_ONLY]
        for label in self._shuffled(several):
            ask = self._ask(kind)
            names = ask.name(label)
            yield ask.number(len(self.known[label]), self.known[label], category=names, categories=plural(names))

    def abs_distance(self, kind: str) -> Iterator[ScoredQuestion]:
        for a, b in self._shuffled(list(itertools.combinations(self.unique, 2))):
            distance = self._distance(a, b)
            if distance >= MIN_DISTANCE_M:
                ask = self._ask(kind)
                a, b = self.rng.sample((a, b), 2)
                yield ask.number(distance, (a, b), a=ask.name(a.label), b=ask.name(b.label))

    def size(self, kind: str) -> Iterator[ScoredQuestion]:
        for o in self._shuffled(self.unique):
            if o.box.size.max() >= MIN_SIZE_M:
                ask = self._ask(kind)
                yield ask.number(100 * float(o.box.size.max()), (o,), a=ask.name(o.label))

    def room(self, kind: str) -> Iterator[ScoredQuestion]:
        for _ in range(2):  # there is one room to ask about
            yield self._ask(kind).number(self.truth.floor_area_m2, ())

    def rel_distance(self, kind: str) -> Iterator[ScoredQuestion]:
        asked = set()
        for _ in range(TRIES):
            if not self.unique:
                return
            anchor = self.rng.choice(self.unique)
            of_several = self.rng.random() < 0.35 or len(self.unique) < 5
            labels = [k for k in self.known if k != anchor.label] if of_several else [o.label for o in self.unique]
            labels = [label for label in labels if label != anchor.label]
            if len(labels) < 4:
                continue
            options = self.rng.sample(labels, 4)
            near = {k: min((self._distance(anchor, o), o.id) for o in self.known[k]) for k in options}
            best, second = sorted(options, key=lambda k: near[k])[:2]
            gap = near[second][0] - near[best][0]
            if gap <= max(CLOSER_BY_M, CLOSER_BY_SHARE * near[best][0]) or (anchor.id, best) in asked:
                continue
            asked.add((anchor.id, best))
            ask = self._ask(kind, of_several=any(len(self.known[k]) > 1 for k in options))
            about = (anchor, *(o for o in self.truth.objects if o.id == near[best][1]))
            yield ask.choice(best, options, about, target=ask.name(anchor.label), **self._lists(options))

    def direction(self, kind: str) -> Iterator[ScoredQuestion]:
        level = kind.rpartition("_")[2]
        by_class: dict[str, list[tuple[TrueObject, ...]]] = {name: [] for name in DIRECTIONS[level]}
        for three in itertools.permutations(self.unique, 3):
            stand, face, target = (o.box.center for o in three)
            if apart(stand, face) and apart(stand, target):
                name = direction_class(heading_angle_deg(stand, face, target), level)
                if name:
                    by_class[name].append(three)
        for name in self._even(by_class):
            chosen = by_class[name].pop(self.rng.randrange(len(by_class[name])))
            ask = self._ask(kind)
            stand_by, facing, sought = (ask.name(o.label) for o in chosen)
            yield ask.choice(name, DIRECTIONS[level], chosen, stand=stand_by, face=facing, target=sought)

    def route(self, kind: str) -> Iterator[ScoredQuestion]:
        asked = set()
        for _ in range(20 * TRIES):
            turns_wanted = self.rng.choice((1, 2, 2, 3))
            turn_first = self.rng.random() < 0.4
            count = turns_wanted + 2
            if len(self.unique) < count:
                continue
            stops = self.rng.sample(self.unique, count)
            turns = route_turns([o.box.center for o in stops], turn_first)
            if turns is None or tuple(o.id for o in stops) in asked:
                continue
            asked.add(tuple(o.id for o in stops))
            ask = self._ask(kind)
            names = [ask.name(o.label) for o in stops]
            actions = self._actions(names[2 if turn_first else 1 :], turn_first, ask.wording.split)
            all_turns = [", ".join(t).title() for t in itertools.product(TURNS, repeat=turns_wanted)]
            right = ", ".join(turns).title()
            wrong = self.rng.sample([t for t in all_turns if t != right], min(3, len(all_turns) - 1))
            yield ask.choice(
                right, [right, *wrong], stops, start=names[0], face=names[1], goal=names[-1], actions=actions
            )

    def order(self, kind: str) -> Iterator[ScoredQuestion]:
        first_of = {label: min(os, key=_first_s) for label, os in self.by_label.items() if label}
        first = {label: _first_s(o) for label, o in first_of.items() if o.well_seen}
        asked = set()
        for _ in range(TRIES):
            if len(first) < 4:
                return
            four = sorted(self.rng.sample(sorted(first), 4), key=lambda k: first[k])
            times = [first[k] for k in four]
            if min(np.diff(times)) < FIRST_SEEN_GAP_S or tuple(four) in asked:
                continue
            asked.add(tuple(four))
            right = ", ".join(four)
            wrong = self.rng.sample([", ".join(p) for p in itertools.permutations(four) if list(p) != four], 3)
            about = [first_of[k] for k in four]
            named = self._lists(self._shuffled(four))
            yield self._ask(kind).choice(right, [right, *wrong], about, **named)

    # How it is said

    def _ask(self, kind: str, of_several: bool = False) -> _Asking:
        ways = [w for w in WORDINGS[kind] if w.split in self.splits and (w.of_several or not of_several)]
        split = self._deal((kind, "split"), [s for s in _SPLITS if s in self.splits])
        wording = self._deal((kind, of_several, split), [w for w in ways if w.split == split])
        self._made[kind] = number = self._made.get(kind, 0) + 1
        return _Asking(self, kind, f"{kind}-{number:02d}", wording)

    def _lists(self, labels: Sequence[str]) -> dict[str, str]:
        things = [f"the {label if len(self.by_label[label]) == 1 else plural(label)}" for label in labels]
        head, last = ", ".join(things[:-1]), things[-1]
        return {"bare": ", ".join(labels), "any": f"{head} or {last}", "all": f"{head} and {last}"}

    def _actions(self, places: Sequence[str], turn_first: bool, split: str) -> str:
        step, gap = self.rng.choice(ROUTE_STEPS[split])
        go = [step.format(place=place) for place in places]
        steps = [s for pair in zip(itertools.repeat(gap), go, strict=False) for s in pair]
        return " ".join(f"{i}. {s}" for i, s in enumerate(steps if turn_first else steps[1:], 1)) + "."

    # Chance and measure

    def _shuffled(self, items: Sequence[Any]) -> list[Any]:
        return self.rng.sample(items, len(items))

    def _deal(self, deck: Any, cards: Sequence[Any]) -> Any:
        """Return a card of a shuffled deck; every card comes once before any comes again."""
        if not self._decks.get(deck):
            self._decks[deck] = self._shuffled(cards)
        return self._decks[deck].pop()

    def _even(self, by_class: dict[str, list[Any]]) -> Iterator[str]:
        """Yield names of classes that still hold something, all equally often for as long as they last."""
        while any(by_class.values()):
            yield self._deal("even", [name for name, rest in by_class.items() if rest])
            self._decks["even"] = [name for name in self._decks["even"] if by_class[name]]

    def _distance(self, a: TrueObject, b: TrueObject) -> float:
        pair = (min(a.id, b.id), max(a.id, b.id))
        if pair not in self._distances:
            self._distances[pair] = box_distance(a.box, b.box)[0]
        return self._distances[pair]


class _Asking:
    """One question in the making: its wording is chosen, its names are being."""

    def __init__(self, maker: _Maker, kind: str, name: str, wording: Wording) -> None:
        self.maker, self.kind, self.id, self.wording = maker, kind, name, wording
        self.synonym = False

    def name(self, label: str) -> str:
        """Return what a thing is called here: its label, or now and then another common name."""
        rng, official = self.maker.rng, self.wording.split == "official"
        others = (
            [] if official else [s for s in SYNONYMS.get(label, ()) if not any(s in k for k in self.maker.by_label)]
        )
        if others and rng.random() < SYNONYM_SHARE:
            self.synonym = True
            return rng.choice(others)
        return "TV" if label == "tv" and not official else label

    def number(self, value: float, about: Sequence[TrueObject], **names: str) -> ScoredQuestion:
        value = round(float(value), 4)
        return self._done(f"{value:g}", about, names, value=value)

    def choice(self, right: str, options: Sequence[str], about: Sequence[TrueObject], **names: str) -> ScoredQuestion:
        place = self.maker._deal(("letter", self.kind, len(options)), range(len(options)))
        rest = self.maker._shuffled([o for o in options if o != right])
        lettered = tuple(f"{'ABCD'[i]}. {o}" for i, o in enumerate([*rest[:place], right, *rest[place:]]))
        return self._done(right, about, names, options=lettered, choice="ABCD"[place])

    def _done(self, answer: str, about: Sequence[TrueObject], names: dict[str, str], **key: Any) -> ScoredQuestion:
        text = self.wording.text.format(**names)
        return ScoredQuestion(
            self.id,
            self.kind,
            text[0].upper() + text[1:],
            answer,
            wording=self.wording.split,
            synonym=self.synonym,
            about=tuple(o.id for o in about),
            **key,
        )


def _first_s(o: TrueObject) -> float:
    return math.inf if o.first_seen_s is None else o.first_seen_s
