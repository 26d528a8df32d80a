"""Shapes of what belongs to a building."""

from __future__ import annotations

import itertools

import numpy as np

from s3d_ros.offline.simulate.mesh import Mesh, box, cylinder, lathe, panel
from s3d_ros.offline.simulate.spec import Spec
from s3d_ros.offline.simulate.textures import Texture as T

_STEEL = (0.55, 0.56, 0.58)


def bathtub(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    rim = min(0.08, s.w / 6, s.d / 6)
    floor = s.up(0.3)
    white = s.color
    return [
        box((-x, -y, -z), (x, -y + rim, z), white, T.PLAIN),
        box((-x, y - rim, -z), (x, y, z), white, T.PLAIN),
        box((-x, -y + rim, -z), (-x + rim, y - rim, z), white, T.PLAIN),
        box((x - rim, -y + rim, -z), (x, y - rim, z), white, T.PLAIN),
        box((-x + rim, -y + rim, -z), (x - rim, y - rim, floor), s.shade(0.93), T.PLAIN),
        cylinder((-x + rim * 1.6, 0, 0), min(0.03, rim / 2), floor, floor + 0.01, _STEEL),
    ]


def toilet(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    seat, tank = s.up(0.52), y - 0.28 * s.d
    bowl_y = (-y + tank) / 2
    half_d = (tank + y) / 2
    return [
        box((-x, tank, s.up(0.45)), (x, y, z), s.color, T.PLAIN),
        box((-x * 0.25, tank + 0.08 * s.d, z - 0.004), (x * 0.25, y - 0.08 * s.d, z), _STEEL),
        lathe([(0.6, -z), (0.55, s.up(0.2)), (0.95, seat - 0.03), (1, seat)], (x, half_d), s.color, square=0.6,
              center=(0, bowl_y)),
        lathe([(0.97, seat), (0.97, seat + 0.03)], (x * 0.98, half_d * 0.98), s.shade(0.9), square=0.6,
              center=(0, bowl_y)),
        box((-x * 0.55, bowl_y, -z), (x * 0.55, y, s.up(0.45)), s.color, T.PLAIN),
    ]  # fmt: skip


def fireplace(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    side, top = 0.22 * s.w, s.up(0.72)
    deep = -y + 0.6 * s.d
    return [
        box((-x, -y, -z), (-x + side, y, top), s.color, T.TILES, 1.0),
        box((x - side, -y, -z), (x, y, top), s.color, T.TILES, 1.0),
        box((-x, -y, top), (x, y, z - 0.06 * s.h), s.color, T.TILES, 1.0),
        box((-x, -y, z - 0.06 * s.h), (x, y, z), s.shade(0.7), T.WOOD),
        box((-x + side, deep, -z), (x - side, y, top), (0.12, 0.11, 0.11), T.PLAIN),
        box((-x, -y, -z), (x, y, -z + 0.04 * s.h), s.shade(0.6), T.TILES),
        panel((-x + side, deep - 0.003, top), (s.w - 2 * side, 0, 0), (0, 0, -(top + z)), T.FIRE),
    ]


def heater(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    count = int(np.clip(round(s.w / 0.09), 2, 60))
    edges = np.linspace(-x, x, count + 1)
    gap = 0.12 * s.w / count
    ribs = [
        box((a + gap, -y, -z + 0.03 * s.h), (b - gap, y, z - 0.03 * s.h), s.color, T.PLAIN)
        for a, b in itertools.pairwise(edges)
    ]
    pipes = [box((-x, -y * 0.5, low), (x, y * 0.5, low + 0.1 * s.h), s.shade(0.92)) for low in (-z, z - 0.1 * s.h)]
    return ribs + pipes


def door(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    post = min(0.07, s.w * 0.1)
    leaf = -y + 0.25 * s.d
    parts = [
        box((-x, -y, -z), (-x + post, y, z), s.shade(0.75), T.WOOD),
        box((x - post, -y, -z), (x, y, z), s.shade(0.75), T.WOOD),
        box((-x, -y, z - post), (x, y, z), s.shade(0.75), T.WOOD),
        box((-x + post, leaf, -z), (x - post, y, z - post), s.color, T.WOOD, 1.4),
    ]
    for low, high in ((0.08, 0.42), (0.52, 0.92)):  # panels
        parts.append(
            box((-x * 0.62, leaf - 0.1 * s.d, s.up(low)), (x * 0.62, leaf, s.up(high)), s.shade(0.88), T.WOOD, 1.4)
        )
    handle = x - post - 0.12 * s.w
    parts.append(box((handle, -y, s.up(0.47)), (handle + 0.1 * s.w, leaf, s.up(0.485)), _STEEL, T.METAL))
    return parts


def window(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    post = min(0.06, s.w * 0.08)
    return [
        box((-x, -y, -z), (-x + post, y, z), s.color),
        box((x - post, -y, -z), (x, y, z), s.color),
        box((-x, -y, z - post), (x, y, z), s.color),
        box((-x, -y, -z), (x, y, -z + post), s.color),
        box((-x, 0, -z), (x, y, z), s.shade(0.9)),
        panel((-x + post, -0.002, z - post), (s.w - 2 * post, 0, 0), (0, 0, -s.h + 2 * post), T.OUTDOORS),
    ]


def _board(s: Spec, texture: T) -> list[Mesh]:
    x, y, z = s.half
    edge = min(0.03, s.w / 12, s.h / 12)
    inner = -y + 0.25 * s.d
    return [
        box((-x, inner, -z), (x, y, z), (0.9, 0.9, 0.9)),
        box((-x, -y, -z), (-x + edge, y, z), s.color, T.METAL),
        box((x - edge, -y, -z), (x, y, z), s.color, T.METAL),
        box((-x, -y, z - edge), (x, y, z), s.color, T.METAL),
        box((-x, -y, -z), (x, y, -z + edge), s.color, T.METAL),
        panel((-x + edge, inner - 0.001, z - edge), (s.w - 2 * edge, 0, 0), (0, 0, -s.h + 2 * edge), texture),
    ]


def whiteboard(s: Spec) -> list[Mesh]:
    return _board(s, T.SCRIBBLE)


def picture(s: Spec) -> list[Mesh]:
    return _board(s, T.PICTURE)


def ceiling_light(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    edge = min(0.03, s.w / 6, s.d / 6)
    return [
        box((-x, -y, s.up(0.15)), (x, y, z), s.shade(0.8), T.METAL),
        box((-x, -y, -z), (-x + edge, y, z), s.shade(0.65), T.METAL),
        box((x - edge, -y, -z), (x, y, z), s.shade(0.65), T.METAL),
        box((-x + edge, -y, -z), (x - edge, y, s.up(0.15)), (1.0, 1.0, 0.96), T.PLAIN),
    ]
