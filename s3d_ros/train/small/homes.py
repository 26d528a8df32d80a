"""Furnished rooms for the small model to look down on: what stands in groups in homes and offices, drawn by chance.

A room is laid out along its own axes: x along its width, y along its depth, z up from the floor. Nothing of any real
or recorded place goes in, so every one of those is unseen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from s3d_ros.train.small.sprites import sprite, sprite_size

_TRIES = 8
_GAP_M = 0.03


@dataclass(frozen=True)
class Thing:
    """A thing in its room. low, high: (3,) corners in metres. turns: its back is to +y, turned by so many quarters.

    askew_deg: turned further by a few degrees, which its box leaves out.
    """

    label: str
    look: int
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    turns: int
    askew_deg: float = 0.0


@dataclass(frozen=True)
class Room:
    """width_m, depth_m: of its floor. things: in the order in which they were put down."""

    width_m: float
    depth_m: float
    things: tuple[Thing, ...]


class _Builder:
    """Puts things down where they have room. looks: numbers of the looks to choose from."""

    def __init__(self, rng: np.random.Generator, looks: range, size: tuple[float, float]) -> None:
        self.rng, self.looks, self.size = rng, looks, size
        self.things: list[Thing] = []
        self._taken: list[tuple[float, float, float, float]] = []

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def look(self, label: str, turns: int) -> tuple[int, float, float, float]:
        """Return a look of a category and its width, depth and height as it is turned."""
        look = int(self.rng.integers(self.looks.start, self.looks.stop))
        w, d, h = sprite_size(label, look)
        return (look, w, d, h) if turns % 2 == 0 else (look, d, w, h)

    def free(self, x: float, y: float, w: float, d: float) -> bool:
        """Tell whether a footprint about (x, y) is in the room and on nothing."""
        a, b, c, e = x - w / 2, y - d / 2, x + w / 2, y + d / 2
        if a < -0.01 or b < -0.01 or c > self.size[0] + 0.01 or e > self.size[1] + 0.01:
            return False
        return all(
            c <= p + _GAP_M or a >= r - _GAP_M or e <= q + _GAP_M or b >= s - _GAP_M for p, q, r, s in self._taken
        )

    def put(
        self, label: str, x: float, y: float, turns: int, z: float = 0.0, solid: bool = True, askew: float = 0.0
    ) -> Thing | None:
        """Put a thing's middle at (x, y). solid: only where nothing is, and nothing else goes there then."""
        look, w, d, h = self.look(label, turns)
        return self._put(label, look, (w, d, h), x, y, turns, z, solid, askew)

    def _put(
        self, label: str, look: int, size: tuple[float, float, float], x: float, y: float, turns: int, z: float,
        solid: bool, askew: float,
    ) -> Thing | None:  # fmt: skip
        w, d, h = size
        if solid and not self.free(x, y, w, d):
            return None
        if solid:
            self._taken.append((x - w / 2, y - d / 2, x + w / 2, y + d / 2))
        thing = Thing(label, look, (x - w / 2, y - d / 2, z), (x + w / 2, y + d / 2, z + h), turns, askew)
        self.things.append(thing)
        return thing

    def at_wall(self, label: str, z: float = 0.0, side: int | None = None, solid: bool = True) -> Thing | None:
        """Put a thing with its back to a wall. side: 0 at y = depth, then counterclockwise (1: x = 0)."""
        for _ in range(_TRIES):
            turns = int(self.rng.integers(4)) if side is None else side
            look, w, d, h = self.look(label, turns)
            gap = float(self.rng.uniform(0.0, 0.06))
            along = float(self.rng.random())
            x, y = along * max(self.size[0] - w, 0) + w / 2, along * max(self.size[1] - d, 0) + d / 2
            if turns == 0:
                y = self.size[1] - d / 2 - gap
            elif turns == 2:
                y = d / 2 + gap
            elif turns == 1:
                x = w / 2 + gap
            else:
                x = self.size[0] - w / 2 - gap
            placed = self._put(label, look, (w, d, h), x, y, turns, z, solid, 0.0)
            if placed is not None:
                return placed
        return None

    def anywhere(self, label: str, z: float = 0.0, solid: bool = True, askew: bool = True) -> Thing | None:
        for _ in range(_TRIES):
            x, y = (float(self.rng.uniform(0.2, max(s - 0.2, 0.3))) for s in self.size)
            turn = float(self.rng.uniform(-40, 40)) if askew and self.chance(0.4) else 0.0
            placed = self.put(label, x, y, int(self.rng.integers(4)), z, solid, turn)
            if placed is not None:
                return placed
        return None

    def on(self, support: Thing, label: str, right: float, back: float, turn: int = 0) -> Thing:
        """Put a thing on another, at shares -1..1 of its half width to its right and half depth to its back."""
        x, y = _spot(support, right, back)
        jitter = self.rng.normal(0, 0.02, 2)
        askew = float(self.rng.normal(0, 8)) if self.chance(0.4) else 0.0
        placed = self.put(
            label, x + jitter[0], y + jitter[1], (support.turns + turn) % 4, support.high[2], False, askew
        )
        assert placed is not None  # what is not solid always finds its place
        return placed

    def before(self, support: Thing, label: str, right: float, gap: float, turn: int = 2) -> Thing | None:
        """Put a thing before the front of another. gap: between the two, below 0: pushed under it."""
        turns = (support.turns + turn) % 4
        look, w, d, h = self.look(label, turns)
        deep = d if support.turns % 2 == 0 else w
        half = _half_depth(support)
        x, y = _spot(support, right, -(half + gap + deep / 2) / half)
        if not (w / 2 < x < self.size[0] - w / 2 and d / 2 < y < self.size[1] - d / 2):
            return None
        if gap >= 0:
            return self._put(label, look, (w, d, h), x, y, turns, 0.0, True, 0.0)
        askew = float(self.rng.normal(0, 18))
        return self._put(label, look, (w, d, h), x, y, turns, 0.0, False, askew)


def _half_depth(thing: Thing) -> float:
    axis = 1 if thing.turns % 2 == 0 else 0
    return (thing.high[axis] - thing.low[axis]) / 2


def _spot(thing: Thing, right: float, back: float) -> tuple[float, float]:
    """Return the place at shares of a thing's half width and half depth, as it is turned."""
    x, y = ((thing.low[k] + thing.high[k]) / 2 for k in (0, 1))
    w, d = ((thing.high[k] - thing.low[k]) / 2 for k in (0, 1))
    if thing.turns % 2:
        w, d = d, w
    u, v = right * w, back * d
    return {0: (x + u, y + v), 1: (x - v, y + u), 2: (x - u, y - v), 3: (x + v, y - u)}[thing.turns % 4]


def _desk(b: _Builder) -> None:
    table = b.at_wall("table") if b.chance(0.75) else b.anywhere("table", askew=False)
    if table is None:
        return
    kind = b.rng.random()
    if kind < 0.7:
        many = 2 if b.chance(0.35) else 1
        for k in range(many):
            b.on(table, "monitor", (k - (many - 1) / 2) * 0.8 + b.rng.uniform(-0.1, 0.1), 0.5, 0)
        if b.chance(0.8):
            b.on(table, "keyboard", b.rng.uniform(-0.2, 0.1), -0.4)
            if b.chance(0.8):
                b.on(table, "computer mouse", b.rng.uniform(0.3, 0.5), -0.4)
        if b.chance(0.7):
            tower = b.on(table, "computer tower", b.rng.choice([-0.8, 0.8]), b.rng.uniform(-0.2, 0.4))
            _to_floor(b, tower)
    elif kind < 0.85:
        b.on(table, "laptop", b.rng.uniform(-0.3, 0.3), b.rng.uniform(-0.3, 0.2))
    for label, share in _ON_DESKS:
        if b.chance(share):
            b.on(table, label, b.rng.uniform(-0.85, 0.85), b.rng.uniform(-0.6, 0.7), int(b.rng.integers(4)))
    if b.chance(0.15):
        _to_floor(b, b.on(table, "power strip", b.rng.uniform(-0.6, 0.6), 0.6))
    if b.chance(0.9):
        b.before(table, "chair", b.rng.uniform(-0.25, 0.25), b.rng.uniform(-0.35, -0.02))
    if b.chance(0.1):
        b.before(table, "stool", b.rng.uniform(-0.8, 0.8), 0.05)


_ON_DESKS = (
    ("telephone", 0.22), ("cup", 0.15), ("laptop", 0.06), ("headphones", 0.05), ("table lamp", 0.1), ("printer", 0.08),
    ("plant", 0.05), ("bowl", 0.03), ("clock", 0.03), ("power strip", 0.03),
)  # fmt: skip


def _to_floor(b: _Builder, thing: Thing) -> None:
    height = thing.high[2] - thing.low[2]
    low, high = (*thing.low[:2], 0.0), (*thing.high[:2], height)
    b.things[-1] = Thing(thing.label, thing.look, low, high, thing.turns, thing.askew_deg)


def _dining(b: _Builder) -> None:
    table = b.anywhere("table", askew=False)
    if table is None:
        return
    for right in (-0.5, 0.5) if b.chance(0.7) else (0.0,):
        for turn in (0, 2) if b.chance(0.8) else (0,):
            side = Thing(table.label, table.look, table.low, table.high, (table.turns + turn) % 4)
            b.before(side, "stool" if b.chance(0.12) else "chair", right, b.rng.uniform(-0.3, -0.03))
    for label, share in (("cup", 0.3), ("bowl", 0.25), ("laptop", 0.15), ("plant", 0.12), ("cutting board", 0.1)):
        if b.chance(share):
            b.on(table, label, b.rng.uniform(-0.7, 0.7), b.rng.uniform(-0.6, 0.6), int(b.rng.integers(4)))


def _bed(b: _Builder) -> None:
    bed = b.at_wall("bed")
    if bed is None:
        return
    for right in (-0.45, 0.45) if b.chance(0.5) else (0.0,):
        if b.chance(0.7):
            b.on(bed, "pillow", right, 0.7)
    if b.chance(0.3):
        b.on(bed, "blanket", b.rng.uniform(-0.2, 0.2), b.rng.uniform(-0.6, 0.0))
    if b.chance(0.25):
        b.on(bed, "cushion", b.rng.uniform(-0.4, 0.4), b.rng.uniform(-0.3, 0.4), int(b.rng.integers(4)))
    if b.chance(0.3):
        stand = b.at_wall("nightstand", side=bed.turns)
        if stand is not None and b.chance(0.6):
            b.on(stand, "table lamp", 0.0, 0.0)


def _sofa(b: _Builder) -> None:
    sofa = b.at_wall("sofa")
    if sofa is None:
        return
    for _ in range(int(b.rng.integers(0, 4))):
        label = "cushion" if b.chance(0.5) else "pillow"
        b.on(sofa, label, b.rng.uniform(-0.8, 0.8), b.rng.uniform(-0.2, 0.3), int(b.rng.integers(4)))
    if b.chance(0.15):
        b.on(sofa, "blanket", b.rng.uniform(-0.4, 0.4), 0.0)
    if b.chance(0.7):
        b.before(sofa, "table", b.rng.uniform(-0.2, 0.2), b.rng.uniform(0.2, 0.5))
    if b.chance(0.6):
        b.at_wall("tv", z=float(b.rng.uniform(0.4, 1.0)), side=(sofa.turns + 2) % 4)


def _kitchen(b: _Builder) -> None:
    side = int(b.rng.integers(4))
    for label, share in (("refrigerator", 0.8), ("stove", 0.8), ("washer", 0.3), ("dishwasher", 0.35), ("sink", 0.5),
                         ("cabinet", 0.6)):  # fmt: skip
        base = b.at_wall(label, side=side) if b.chance(share) else None
        if base is None:
            continue
        if label == "stove" and b.chance(0.4):
            b.on(base, "exhaust fan", 0.0, 0.0)
        for above, often in (("microwave", 0.2), ("kettle", 0.15), ("pan", 0.25 if label == "stove" else 0.1),
                             ("cutting board", 0.15), ("bowl", 0.12), ("cup", 0.15)):  # fmt: skip
            if label not in ("refrigerator", "sink") and b.chance(often):
                b.on(base, above, b.rng.uniform(-0.5, 0.5), b.rng.uniform(-0.5, 0.5), int(b.rng.integers(4)))


def _bath(b: _Builder) -> None:
    for label, share in (("bathtub", 0.8), ("toilet", 0.9), ("sink", 0.7), ("washer", 0.3), ("basket", 0.3)):
        if b.chance(share):
            b.at_wall(label)


def _storage(b: _Builder) -> None:
    for label, share in (("bookshelf", 0.5), ("shelf", 0.15), ("wardrobe", 0.25), ("cabinet", 0.25),
                         ("shoe rack", 0.2), ("fireplace", 0.08), ("tv", 0.15)):  # fmt: skip
        if b.chance(share):
            b.at_wall(label)


def _walls(b: _Builder) -> None:
    for label, share, z in (("door", 0.8, 0.0), ("door", 0.3, 0.0), ("whiteboard", 0.4, 0.9), ("heater", 0.4, 0.1),
                            ("heater", 0.2, 0.1), ("clock", 0.08, 1.8), ("tv", 0.08, 1.0), ("coat hanger", 0.1, 1.2),
                            ("whiteboard", 0.12, 0.9)):  # fmt: skip
        if b.chance(share):
            b.at_wall(label, z=z, solid=label != "clock")


_ABOUT = (
    ("trash can", 0.5), ("trash can", 0.2), ("plant", 0.35), ("plant", 0.15), ("suitcase", 0.2), ("shoes", 0.2),
    ("shoes", 0.1), ("basket", 0.15), ("crate", 0.15), ("crate", 0.08), ("bucket", 0.1), ("paper bag", 0.12),
    ("stool", 0.2), ("chair", 0.35), ("chair", 0.15), ("pillow", 0.06), ("cushion", 0.08), ("blanket", 0.06),
    ("printer", 0.06), ("power strip", 0.1), ("computer tower", 0.12), ("table lamp", 0.08), ("kettle", 0.03),
    ("microwave", 0.05), ("bowl", 0.04), ("pan", 0.04), ("headphones", 0.02), ("cup", 0.05), ("laptop", 0.04),
    ("exhaust fan", 0.02), ("monitor", 0.05), ("keyboard", 0.03), ("cutting board", 0.03), ("telephone", 0.03),
    ("washer", 0.05), ("toilet", 0.03), ("coat hanger", 0.03), ("clock", 0.02), ("shoe rack", 0.05),
)  # fmt: skip
_GROUPS: dict[str, tuple[tuple[Callable[[_Builder], None], float], ...]] = {
    "office": ((_desk, 3.0), (_storage, 0.5), (_dining, 0.3), (_sofa, 0.2)),
    "bedroom": ((_bed, 1.2), (_desk, 1.0), (_storage, 0.8), (_sofa, 0.2)),
    "living": ((_sofa, 1.2), (_dining, 0.7), (_storage, 0.7), (_desk, 0.4)),
    "kitchen": ((_kitchen, 1.2), (_dining, 1.0), (_storage, 0.3)),
    "bath": ((_bath, 1.2),),
    "studio": ((_bed, 0.9), (_kitchen, 0.5), (_desk, 1.0), (_sofa, 0.5), (_dining, 0.5), (_storage, 0.5)),
}
_KINDS = ("office", "office", "bedroom", "bedroom", "living", "kitchen", "bath", "studio", "studio")


def furnished(rng: np.random.Generator, looks: range, most: int = 60) -> Room:
    """Return a room. looks: numbers of the looks that its things may have. most: things at most."""
    kind = str(rng.choice(_KINDS))
    size = rng.uniform(2.6, 6.3, 2)
    if kind == "bath":
        size = rng.uniform(1.8, 3.4, 2)
    elif rng.random() < 0.25:
        size = rng.uniform(4.0, 11.0, 2)
    elif rng.random() < 0.06:
        size = rng.uniform(7.0, 14.0, 2)
    b = _Builder(rng, looks, (float(size[0]), float(size[1])))
    roomy = float(np.prod(size)) / 20
    for group, mean in _GROUPS[kind]:
        for _ in range(min(int(rng.poisson(mean * min(max(roomy, 0.8), 3.0))), 8)):
            group(b)
    _walls(b)
    for label, share in _ABOUT:
        if b.chance(share * 0.8):
            b.at_wall(label, solid=True) if b.chance(0.4) else b.anywhere(label)
    if b.chance(0.5):
        for _ in range(int(rng.integers(1, 5))):
            b.anywhere("ceiling light", z=2.4, solid=False, askew=False)
    things = b.things
    if len(things) > most:
        things = [things[i] for i in sorted(rng.choice(len(things), most, replace=False))]
    return Room(float(size[0]), float(size[1]), tuple(things))


__all__ = ["Room", "Thing", "furnished", "sprite"]
