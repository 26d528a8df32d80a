"""What the map measured about what a question names, in a few lines for a language model. Objects are written "#12"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from s3d_ros.answer.asked import Asked
from s3d_ros.answer.geometric import MAX_CHARACTERS
from s3d_ros.answer.language import tokenize
from s3d_ros.answer.lexicon import plural
from s3d_ros.answer.mentions import Lexicon, Mention, slotted
from s3d_ros.answer.parsed import Parsed, parse
from s3d_ros.answer.refusal import Refusal
from s3d_ros.answer.relations import supports
from s3d_ros.answer.sectors import in_words
from s3d_ros.answer.viewpoint import View
from s3d_ros.answer.world import Standpoint, World, label_of
from s3d_ros.types import Question, Scene, SceneObject

MOST_LINES = 15
_MOST_OBJECTS, _MOST_OF_A_KIND, _MOST_PAIRS, _MOST_LISTED = 6, 4, 4, 10


@dataclass(frozen=True)
class Named:
    """What a question names. found: the present objects of each mention; here: where it is asked from, where known."""

    mentions: tuple[Mention, ...]
    found: tuple[tuple[SceneObject, ...], ...]
    here: Standpoint | None


class MapReader:
    """Reads scenes for facts and tools; remembers the last. Safe to use from several threads."""

    def __init__(self) -> None:
        self._last: tuple[Scene, World, Lexicon] | None = None

    def read(self, scene: Scene) -> tuple[World, Lexicon]:
        """Return the world of a scene, and the words that may name things in it."""
        last = self._last
        if last is None or last[0] is not scene:
            last = (scene, World(scene), Lexicon(frozenset(map(label_of, scene.objects)) - {""}))
            self._last = last
        return last[1], last[2]

    def named(self, question: Question, scene: Scene) -> Named:
        """Return what a question names, as far as the map's grammar reads."""
        world, lexicon = self.read(scene)
        question = replace(question, text=question.text[:MAX_CHARACTERS])
        parsed = _parsed(question, lexicon, world)
        asked = Asked(parsed, world)
        mentions = _distinct([*parsed.mentions, *(m for part in parsed.option_parts for m in part.mentions)])
        return Named(mentions, tuple(_present(m, world) for m in mentions), standpoint(asked))

    def facts(self, question: Question, scene: Scene) -> tuple[str, ...]:
        """Return at most 15 lines: what there is of what the question names, where, how large, and how far apart."""
        world, _ = self.read(scene)
        named = self.named(question, scene)
        lines = [_held(m, found) for m, found in zip(named.mentions, named.found, strict=True) if m.object_id is None]
        chosen = _chosen(named, world)
        lines += [described(world, thing, named.here) for thing in chosen]
        group = {o.id: k for k, found in enumerate(named.found) for o in found}
        pairs = sorted(combinations(chosen, 2), key=lambda p: group[p[0].id] == group[p[1].id])
        lines += [f"{tag(a)} and {tag(b)} are {metres(world.distance(a, b))} apart" for a, b in pairs[:_MOST_PAIRS]]
        return tuple(lines[:MOST_LINES])


def tag(thing: SceneObject) -> str:
    """Return how an object is written: "#12"."""
    return f"#{thing.id}"


def listed(things: Sequence[SceneObject], most: int = _MOST_LISTED) -> str:
    """Return "#1, #4 and 3 more"."""
    shown = ", ".join(map(tag, things[:most]))
    return f"{shown} and {len(things) - most} more" if len(things) > most else shown


def metres(length_m: float) -> str:
    """Return "1.24 m"."""
    return f"{length_m:.2f} m"


def described(world: World, thing: SceneObject, here: Standpoint | None) -> str:
    """Return a line on one object: label, size, what it is on, and where it is as seen from ``here``."""
    parts = [_size(world, thing)]
    below = supports(world, thing)
    if below:
        parts.append(f"on {listed(below)}")
    if here is not None and here.place is not thing:
        parts.append(placed(world, thing, here))
    return f"{tag(thing)} ({label_of(thing) or 'not named'}): {', '.join(parts)}"


def placed(world: World, thing: SceneObject, here: Standpoint) -> str:
    """Return "2.31 m from the robot, front-left of it", or from where the question says."""
    away = metres(float(world.distances_from(here, [thing])[0]))
    if here.place is not None:
        whose, of = tag(here.place), "as seen from there"
    elif here.words == "from the given pose":
        whose, of = "where I stand", "of me"
    else:
        whose, of = ("the camera", "of it") if world.scene.robot_is_camera else ("the robot", "of it")
    if here.heading is None:
        return f"{away} from {whose}"
    side = in_words(world.bearing_deg(here.position, here.heading, thing.box.center))
    return f"{away} from {whose}, {side} {of}"


def of_word(word: str, world: World, lexicon: Lexicon) -> tuple[SceneObject, ...]:
    """Return the present objects that a word stands for, by ID: its label, a plural, a synonym."""
    mentions = slotted(tokenize(word), lexicon, world.index).mentions
    labels = {label for m in mentions if m.object_id is None for label in m.labels} or {word.strip().lower()}
    return tuple(sorted((o for label in labels for o in world.by_label.get(label, [])), key=lambda o: o.id))


def standpoint(asked: Asked) -> Standpoint | None:
    """Return where a question is asked from, without asking back where that is not clear."""
    try:
        return asked.standpoint()
    except Refusal:
        pass
    try:
        return replace_view(asked).standpoint()
    except Refusal:
        return None


def replace_view(asked: Asked) -> Asked:
    """Return the same without what its words say of the viewpoint: its situation or the robot's pose count."""
    return Asked(replace(asked.parsed, view=View()), asked.world)


def _parsed(question: Question, lexicon: Lexicon, world: World) -> Parsed:
    try:
        return parse(question, lexicon, world.index)
    except Refusal:  # its options are no list of letters; the words name things all the same
        return parse(replace(question, options=()), lexicon, world.index)


def _distinct(mentions: Iterable[Mention]) -> tuple[Mention, ...]:
    return tuple({(m.object_id, m.labels or m.word): m for m in reversed(list(mentions))}.values())[::-1]


def _present(mention: Mention, world: World) -> tuple[SceneObject, ...]:
    if mention.object_id is not None:
        found = world.scene.find(mention.object_id)
        return (found,) if found is not None and found.id in world.index else ()
    return tuple(sorted((o for label in mention.labels for o in world.by_label.get(label, [])), key=lambda o: o.id))


def _held(mention: Mention, found: Sequence[SceneObject]) -> str:
    if not found:
        return f"the map names no {mention.word}"
    head, _, last = mention.word.rpartition(" ")
    noun = last if len(found) == 1 or last.endswith("s") else plural(last)
    return f"the map holds {len(found)} {f'{head} {noun}'.strip()}: {listed(found)}"


def _chosen(named: Named, world: World) -> list[SceneObject]:
    """Return the objects to tell of: those named by ID, then of each kind the nearest ones, in turns."""
    ranked = []
    for mention, found in zip(named.mentions, named.found, strict=True):
        if mention.object_id is None and named.here is not None and len(found) > 1:
            order = np.argsort(world.distances_from(named.here, found), kind="stable")
            found = tuple(found[int(k)] for k in order)
        ranked.append((mention.object_id is None, found[:_MOST_OF_A_KIND]))
    ranked.sort(key=lambda r: r[0])
    turns = [found[k] for k in range(_MOST_OF_A_KIND) for _, found in ranked if k < len(found)]
    return list({o.id: o for o in turns}.values())[:_MOST_OBJECTS]


def _size(world: World, thing: SceneObject) -> str:
    along_up = np.abs(thing.box.axes @ world.up)
    size = [float(s) for s in thing.box.size]
    vertical = int(along_up.argmax())
    if along_up[vertical] < 0.98:
        return " x ".join(f"{s:.2f}" for s in sorted(size, reverse=True)) + " m, tilted"
    a, b = sorted((s for k, s in enumerate(size) if k != vertical), reverse=True)
    return f"{a:.2f} x {b:.2f} m and {size[vertical]:.2f} m high"
