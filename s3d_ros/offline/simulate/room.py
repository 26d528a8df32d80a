"""A room's shell: floor, ceiling, walls with doorways and windows, and what is painted or laid on them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from s3d_ros.offline.simulate.mesh import Color, Mesh, box, join, panel, surface
from s3d_ros.offline.simulate.textures import Texture
from s3d_ros.types import F64

WALL_M = 0.06  # thickness of one room's walls: between two rooms there are two
DOOR_WIDTH_M = 0.9
DOOR_HEIGHT_M = 2.0
_FLOORS: tuple[tuple[Texture, Color, float], ...] = (
    (Texture.PARQUET, (0.72, 0.55, 0.38), 1.6),
    (Texture.PARQUET, (0.52, 0.38, 0.27), 1.6),
    (Texture.TILES, (0.78, 0.76, 0.72), 1.6),
    (Texture.CARPET, (0.5, 0.52, 0.56), 1.0),
)
_PAINTS: tuple[Color, ...] = (
    (0.93, 0.89, 0.78), (0.8, 0.88, 0.9), (0.93, 0.84, 0.75), (0.84, 0.9, 0.78), (0.9, 0.9, 0.9),
)  # fmt: skip
_ACCENTS: tuple[Color, ...] = (
    (0.52, 0.66, 0.72), (0.82, 0.66, 0.5), (0.6, 0.7, 0.54), (0.76, 0.6, 0.58), (0.72, 0.72, 0.7),
)  # fmt: skip


@dataclass(frozen=True)
class Room:
    """A room's interior: in its own frame the box from (0, 0, 0) to ``size``; T_map_room takes it to the map."""

    name: str
    T_map_room: F64
    size: F64

    def corners(self) -> F64:
        """Return the floor's corners in the map, (4, 3), in order."""
        w, d = self.size[:2]
        local = np.array([[0, 0, 0], [w, 0, 0], [w, d, 0], [0, d, 0]], dtype=np.float64)
        return np.asarray(local @ self.T_map_room[:3, :3].T + self.T_map_room[:3, 3])

    @property
    def floor_area_m2(self) -> float:
        return float(self.size[0] * self.size[1])

    def to_room(self, points: F64) -> F64:
        """Take points (N, 3) of the map into the room's frame."""
        return np.asarray((points - self.T_map_room[:3, 3]) @ self.T_map_room[:3, :3])


@dataclass(frozen=True)
class Opening:
    """A hole in wall ``side`` (0: y = 0, 1: x = width, 2: y = depth, 3: x = 0), along the wall and up, in metres.

    Walls 0 and 2 are measured along x, 1 and 3 along y.
    """

    side: int
    low: float
    high: float
    bottom: float
    top: float
    is_window: bool = False


def wall_length(size: F64, side: int) -> float:
    """Return the length of a wall of a room of ``size``."""
    return float(size[side % 2])


def build_shell(room: Room, openings: Sequence[Opening], pictures: Sequence[Opening], rng: np.random.Generator) -> Mesh:
    """Build the shell of a room, in the map frame. pictures: places on walls where one may hang, painted on."""
    w, d, h = (float(s) for s in room.size)
    t = WALL_M
    texture, color, tile_m = _FLOORS[rng.integers(len(_FLOORS))]
    paint = _PAINTS[rng.integers(len(_PAINTS))]
    parts = [
        box((-t, -t, -0.05), (w + t, d + t, 0), color, texture, tile_m),
        box((-t, -t, h), (w + t, d + t, h + 0.05), (0.93, 0.93, 0.92), Texture.PLASTER, 2.0),
    ]
    accent, strong = int(rng.integers(4)), _ACCENTS[rng.integers(len(_ACCENTS))]
    for side in range(4):
        holes = [o for o in openings if o.side == side]
        tone = strong if side == accent else paint
        parts += _wall(room.size, side, holes, tone)
        for picture in (p for p in pictures if p.side == side):
            corner, right, down = _rectangle(room.size, side, picture, -0.003)
            parts.append(panel(corner, right, down, Texture.PICTURE, _tint(rng)))
    if min(w, d) > 2.5:
        parts.append(_rug(w, d, rng))
    mesh = join(parts)
    return mesh.moved(room.T_map_room[:3, :3].T, room.T_map_room[:3, 3])


def threshold(a: F64, b: F64, color: Color = (0.45, 0.36, 0.28)) -> Mesh:
    """Build the floor of a doorway between corners (3,) a and b of the gap."""
    low, high = np.minimum(a, b), np.maximum(a, b)
    return box((low[0], low[1], low[2] - 0.04), (high[0], high[1], low[2] + 0.001), color, Texture.WOOD)


def _wall(size: F64, side: int, holes: Sequence[Opening], paint: Color) -> list[Mesh]:
    """The wall as boxes round its holes, window panes and a skirting board."""
    length, height = wall_length(size, side), float(size[2])
    along = sorted({-WALL_M, length + WALL_M, *(v for o in holes for v in (o.low, o.high))})
    parts: list[Mesh] = []
    for a, b in itertools.pairwise(along):
        here = sorted((o for o in holes if o.low <= a + 1e-9 and o.high >= b - 1e-9), key=lambda o: o.bottom)
        edges = [0.0, *(v for o in here for v in (o.bottom, o.top)), height]
        for bottom, top in zip(edges[::2], edges[1::2], strict=True):
            if top - bottom > 1e-6:
                parts.append(_slab(size, side, (a, b), (bottom, top), (0.0, WALL_M), paint, Texture.PLASTER))
        if not any(o.bottom < 0.01 for o in here):
            low, high = max(a, 0.0), min(b, length)
            parts.append(_slab(size, side, (low, high), (0.0, 0.07), (-0.012, 0.0), (0.86, 0.85, 0.82), Texture.WOOD))
    for hole in (o for o in holes if o.is_window):
        corner, right, down = _rectangle(size, side, hole, WALL_M * 0.95)
        parts.append(panel(corner, right, down, Texture.OUTDOORS))
        sill = (hole.bottom - 0.03, hole.bottom)
        parts.append(_slab(size, side, (hole.low - 0.04, hole.high + 0.04), sill, (-0.04, WALL_M), (0.93, 0.93, 0.92)))
    return parts


def _frame(size: F64, side: int) -> tuple[F64, F64, F64]:
    """Return a wall's start on the floor, the direction along it, and outwards."""
    w, d = float(size[0]), float(size[1])
    x, y = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    starts = [np.zeros(3), np.array([w, 0, 0]), np.array([0, d, 0]), np.zeros(3)]
    return starts[side], (x, y, x, y)[side], (-y, x, y, -x)[side]


def _slab(
    size: F64,
    side: int,
    along: tuple[float, float],
    up: tuple[float, float],
    out: tuple[float, float],
    color: Color,
    texture: Texture = Texture.PLAIN,
) -> Mesh:
    start, run, outward = _frame(size, side)
    z = np.array([0, 0, 1.0])
    a = start + run * along[0] + outward * out[0] + z * up[0]
    b = start + run * along[1] + outward * out[1] + z * up[1]
    return box(np.minimum(a, b), np.maximum(a, b), color, texture, 2.0)


def _rectangle(size: F64, side: int, hole: Opening, out: float) -> tuple[F64, F64, F64]:
    """Return corner, right and down of a rectangle on a wall as seen from inside, ``out`` metres behind its face."""
    start, run, outward = _frame(size, side)
    at = start + outward * out + np.array([0, 0, hole.top])
    down = np.array([0, 0, hole.bottom - hole.top])
    width = hole.high - hole.low
    if side in (1, 2):  # from inside, right is against the wall's direction for x = width, along it for y = depth
        flip = side == 1
    else:
        flip = side == 0
    first, right = (hole.high, -run * width) if flip else (hole.low, run * width)
    return at + run * first, right, down


def _rug(w: float, d: float, rng: np.random.Generator) -> Mesh:
    """A flat rug: a change of colour on the floor, not a thing."""
    half = np.array([w, d]) * rng.uniform(0.15, 0.22, 2)
    center = np.array([w, d]) * rng.uniform(0.4, 0.6, 2)
    (x0, y0), (x1, y1) = center - half, center + half
    corners = np.array([[x0, y0, 0.002], [x1, y0, 0.002], [x1, y1, 0.002], [x0, y1, 0.002]])
    return surface(corners, np.array([[0, 1, 2], [0, 2, 3]]), _tint(rng), Texture.STRIPES, 0.7)


def _tint(rng: np.random.Generator) -> Color:
    r, g, b = rng.uniform(0.35, 0.9, 3)
    return float(r), float(g), float(b)
