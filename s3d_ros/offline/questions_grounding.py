"""Descriptions that one thing, several, or none fits, checked against all that is there; and captions by template.

A description names a category and what sets those meant apart:

- nearest to, or farthest from, a thing; the bigger or smaller of two, the biggest or smallest of more (by the box's
  volume); the highest or lowest; the only one within some metres of a thing: one fits;
- within some metres of a thing, or more than some metres from it: several, one or none fit.

What nothing fits is half of the time such a description of things that are there, and half of such as the place lacks.
Reaches are dealt alike whether something fits or not, and what is sought comes in several, so that words tell
little. Near calls are left out as for other kinds.

Captions first say what a thing is (its colour where the truth has it, its label, its size), then how it lies to its
neighbours.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from s3d_ros.answer.lexicon import labels_for
from s3d_ros.offline.questions_maker import Asking, Maker
from s3d_ros.offline.questions_record import ScoredQuestion
from s3d_ros.offline.questions_rules import (
    BIGGER_BY,
    CLOSER_BY_M,
    CLOSER_BY_SHARE,
    REACH_CLEAR,
    REACHES_M,
)
from s3d_ros.offline.questions_wordings import PLURAL_ONLY, plural
from s3d_ros.offline.truth import TrueObject

# What homes and offices have several of; of these, what a place lacks is asked for in vain.
COMMON = (
    "chair", "table", "door", "monitor", "pillow", "trash can", "plant", "keyboard", "cup", "ceiling light", "sofa",
    "bookshelf", "cushion", "stool", "whiteboard",
)  # fmt: skip
_Found = tuple[str, tuple[TrueObject, ...], TrueObject | None]  # description, what fits, what it refers to


def one(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    """Yield descriptions that one of several things of its kind fits; ways of describing are dealt evenly."""
    by_way: dict[str, list[_Found]] = {"nearest": [], "farthest": [], "size": [], "height": [], "within": []}
    for label, things in _several(maker):
        for way, name, values in (("size", _SIZES, _volumes(things)), ("height", _HEIGHTS, _heights(things))):
            by_way[way] += _extremes(label, things, values, name[len(things) > 2], way)
        for anchor in maker.unique:
            if anchor.label == label:
                continue
            far = [maker.distance(anchor, o) for o in things]
            order = np.argsort(far)
            if _clear(far[order[0]], far[order[1]]):
                by_way["nearest"].append((f"the {label} nearest to the {anchor.label}", (things[order[0]],), anchor))
            if _clear(far[order[-2]], far[order[-1]]):
                by_way["farthest"].append(
                    (f"the {label} farthest from the {anchor.label}", (things[order[-1]],), anchor)
                )
            for reach, near in _within(far):
                if len(near) == 1:
                    text = f"the {label} within {reach:g} metres of the {anchor.label}"
                    by_way["within"].append((text, (things[near[0]],), anchor))
    for way in maker.even(by_way):
        text, fits, about = by_way[way].pop(maker.rng.randrange(len(by_way[way])))
        yield _asked(maker, maker.ask(kind), "ground_one", text, fits, about)


def many(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    """Yield descriptions that several things fit, and not all of their kind."""
    yield from _in_groups(maker, kind, [g for g in _groups(maker) if 2 <= len(g.fits) < g.in_all])


def none(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    """Yield descriptions that nothing fits: of things as ``many`` asks for, or of such as the place lacks."""
    here = frozenset(maker.by_label)
    lacking = [k for k in COMMON if not labels_for(k, here) and not any(k in x or x in k for x in here)]
    anchors = maker.shuffled(maker.unique)[:3]
    pairs = itertools.product(lacking, REACHES_M, anchors, (False, True))
    absent = [_Group(_group_text(*p), (), p[2], 0, p[1], p[3]) for p in pairs]
    there = _in_groups(maker, kind, [g for g in _groups(maker) if not g.fits and g.in_all >= 3])
    never = _in_groups(maker, kind, absent)
    ways = [there, never]
    while ways:
        way = maker.deal("way", ways)
        found = next(way, None)
        if found is None:
            ways = [w for w in ways if w is not way]
            maker.forget("way")
        else:
            yield found


def _in_groups(maker: Maker, kind: str, groups: Sequence[_Group]) -> Iterator[ScoredQuestion]:
    """Ask about groups; reaches, and within or beyond, are dealt evenly: "within 1 metre" must not tell of nothing."""
    by_reach: dict[tuple[float, bool], list[_Group]] = {}
    for group in maker.shuffled(groups):
        by_reach.setdefault((group.reach, group.beyond), []).append(group)
    deck = ("reach", bool(groups) and not groups[0].in_all)
    for key in maker.even(dict(sorted(by_reach.items())), deck):
        g = by_reach[key].pop()
        yield _asked(maker, maker.ask(kind), "ground_many", g.text, g.fits, g.anchor)


def captions(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    """Yield requests for a description of one thing, and one."""
    for o in maker.shuffled([o for things in maker.known.values() for o in things]):
        text = caption(maker, o)
        ask = maker.ask(kind)
        yield ask.done(text, (o,), {"object": f"<OBJ{o.id:03d}>"}, task="caption", objects=(o.id,))


def caption(maker: Maker, o: TrueObject) -> str:
    """Describe a thing: itself, then how it lies to what is about it."""
    wide, deep, high = _measures(o)
    what = " ".join(filter(None, (o.color, o.label)))
    text = f"This is {_a(what)}, {100 * wide:.0f} cm wide, {100 * deep:.0f} cm deep and {100 * high:.0f} cm high."
    others = sorted((x for x in maker.unique if x is not o), key=lambda x: (maker.distance(o, x), x.id))
    said = [_relation(o, x, maker.distance(o, x)) for x in others[:2]]
    if said:
        text += f" It is {' and '.join(said)}."
    if len(maker.known.get(o.label, ())) > 1 and others:
        order = sorted(maker.known[o.label], key=lambda x: maker.distance(others[0], x))
        far = [maker.distance(others[0], x) for x in order[:2]]
        if order[0] is o and _clear(*far):
            text += f" Of the {plural(o.label)} it is the one nearest to the {others[0].label}."
    return text


def _several(maker: Maker) -> list[tuple[str, list[TrueObject]]]:
    return [(k, os) for k, os in maker.known.items() if len(os) >= 2 and k not in PLURAL_ONLY]


@dataclass(frozen=True)
class _Group:
    """A description of several things: what fits, what it refers to, and how many of the kind there are."""

    text: str
    fits: tuple[TrueObject, ...]
    anchor: TrueObject
    in_all: int
    reach: float
    beyond: bool


def _groups(maker: Maker) -> list[_Group]:
    out = []
    for label, things in maker.known.items():
        for anchor in maker.unique:
            if anchor.label == label or label in PLURAL_ONLY:
                continue
            for reach, near in _within([maker.distance(anchor, o) for o in things]):
                inside = tuple(things[i] for i in near)
                outside = tuple(o for o in things if o not in inside)
                for beyond, fits in ((False, inside), (True, outside)):
                    text = _group_text(label, reach, anchor, beyond)
                    out.append(_Group(text, fits, anchor, len(things), reach, beyond))
    return out


def _group_text(label: str, reach: float, anchor: TrueObject, beyond: bool) -> str:
    where = f"more than {reach:g} metres from" if beyond else f"within {reach:g} metres of"
    return f"{plural(label)} {where} the {anchor.label}"


def _within(far: Sequence[float]) -> Iterator[tuple[float, list[int]]]:
    """Yield reaches that no distance is close to, and which distances are within."""
    for reach in REACHES_M:
        if all(abs(d - reach) >= REACH_CLEAR * reach for d in far):
            yield reach, [i for i, d in enumerate(far) if d < reach]


_SIZES = {False: ("the smaller of the two {}", "the bigger of the two {}"),
          True: ("the smallest of the {}", "the biggest of the {}")}  # fmt: skip
_HEIGHTS = {False: ("the lower of the two {}", "the higher of the two {}"),
            True: ("the lowest of the {}", "the highest of the {}")}  # fmt: skip


def _extremes(
    label: str, things: Sequence[TrueObject], values: Sequence[float], names: tuple[str, str], way: str
) -> Iterator[_Found]:
    order = np.argsort(values)
    least, next_least, next_most, most = (values[order[i]] for i in (0, 1, -2, -1))
    ends = ((names[0], order[0], least, next_least), (names[1], order[-1], next_most, most))
    for name, i, low, high in ends:
        if high > BIGGER_BY * low if way == "size" else high - low > CLOSER_BY_M:
            yield name.format(plural(label)), (things[i],), None


def _volumes(things: Sequence[TrueObject]) -> list[float]:
    return [float(np.prod(o.box.size)) for o in things]


def _heights(things: Sequence[TrueObject]) -> list[float]:
    return [float(o.box.center[2]) for o in things]


def _clear(nearer: float, farther: float) -> bool:
    return bool(farther - nearer > max(CLOSER_BY_M, CLOSER_BY_SHARE * nearer))


def _asked(
    maker: Maker, ask: Asking, task: str, text: str, fits: Sequence[TrueObject], anchor: TrueObject | None
) -> ScoredQuestion:
    ids = tuple(sorted(o.id for o in fits))
    names = {"it": text, "them": text}
    tokens = [f"<OBJ{i:03d}>" for i in ids]
    if task == "ground_one":
        answer = f"{tokens[0]}."
    else:
        answer = f"Yes. {' and '.join(tokens)}." if tokens else "No."
    about: dict[int, TrueObject] = {o.id: o for o in (*fits, *([anchor] if anchor else []))}
    key: dict[str, Any] = {"task": task, "objects": ids, "description": text}
    return ask.done(answer, tuple(about.values()), names, **key)


def _measures(o: TrueObject) -> tuple[float, float, float]:
    """Return the longer and the shorter side seen from above, and the height, in metres."""
    upright = int(np.argmax(np.abs(o.box.axes[:, 2])))
    level = sorted((float(o.box.size[i]) for i in range(3) if i != upright), reverse=True)
    return level[0], level[1], float(o.box.size[upright])


def _relation(o: TrueObject, other: TrueObject, distance: float) -> str:
    low, high = (float(x) for x in np.sort(o.box.corners()[:, 2])[[0, -1]])
    other_low, other_high = (float(x) for x in np.sort(other.box.corners()[:, 2])[[0, -1]])
    offset = (o.box.center - other.box.center) @ other.box.axes.T
    over = bool((np.abs(offset) <= other.box.size / 2)[np.argsort(np.abs(other.box.axes[:, 2]))[:2]].all())
    if over and abs(low - other_high) < 0.1:
        return f"on the {other.label}"
    if over and low > other_high:
        return f"above the {other.label}"
    if over and high <= other_low + 0.1:
        return f"under the {other.label}"
    return f"next to the {other.label}" if distance < 0.3 else f"{distance:.1f} m from the {other.label}"


def _a(what: str) -> str:
    if what.rpartition(" ")[2] in PLURAL_ONLY:
        return what
    return f"an {what}" if what[0] in "aeiou" else f"a {what}"


GROUNDING: Mapping[str, Callable[[Maker, str], Iterator[ScoredQuestion]]] = {
    "grounding_one": one,
    "grounding_many": many,
    "grounding_none": none,
    "caption": captions,
}
