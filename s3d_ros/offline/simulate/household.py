"""Shapes of small things of a household."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from s3d_ros.offline.simulate.mesh import Mesh, box, cushion, cylinder, lathe, leaf, panel
from s3d_ros.offline.simulate.spec import Spec
from s3d_ros.offline.simulate.textures import Texture as T

_STEEL = (0.62, 0.63, 0.65)
_DARK = (0.13, 0.13, 0.14)
_POT = (0.7, 0.42, 0.3)


def lamp(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    return [
        box((-x * 0.6, -y * 0.6, -z), (x * 0.6, y * 0.6, s.up(0.06)), _DARK, T.METAL),
        cylinder((0, 0, 0), 0.06 * min(s.w, s.d) + 0.005, -z, s.up(0.6), _STEEL),
        lathe([(1, s.up(0.5)), (0.7, z)], (x, y), s.color, T.FABRIC, square=0.5),
    ]


def clock(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    face = -y + 0.2 * s.d
    return [
        box((-x, -y, -z), (x, y, z), s.color, T.WOOD),
        panel((-x * 0.93, -y - 0.001, z * 0.93), (s.w * 0.93, 0, 0), (0, 0, -s.h * 0.93), T.DIAL),
        box((-x * 0.02, -y - 0.002, -z * 0.02), (x * 0.02, face, z * 0.02), _DARK),
    ]


def plant(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    pot = float(np.clip(0.28, 0.0, 0.45 / max(s.h, 0.1)))
    rim = s.up(pot)
    parts = [
        lathe([(0.72, -z), (0.95, rim), (0.85, rim), (0.82, rim - 0.03 * s.h)], (x * 0.8, y * 0.8), _POT, square=0.6),
        lathe([(0.5, rim - 0.04 * s.h), (1, s.up(pot + 0.2)), (0.85, s.up(0.8)), (0.3, s.up(0.97))],
              (x * 0.62, y * 0.62), s.shade(0.75), T.LEAF, square=0.9, sides=14),
    ]  # fmt: skip
    root_z = s.up(pot)
    tips = [(sx * x, sy * y, s.up(level)) for sx in (-1, 1) for sy in (-1, 1) for level in (0.45, 0.75)]
    tips += [(0.8 * x * np.cos(a), 0.8 * y * np.sin(a), s.up(s.rng.uniform(0.6, 1.0))) for a in np.arange(12) * 0.53]
    tips.append((0.1 * x, 0.1 * y, z))
    width = 0.3 * min(s.w, s.d)
    for k, tip in enumerate(tips):
        start = (0.15 * tip[0], 0.15 * tip[1], root_z if k % 2 else (root_z + tip[2]) / 2)
        parts.append(leaf(start, tip, width, s.shade(0.8 + 0.4 * s.rng.random())))
    return parts


def _open_vessel(s: Spec, profile: list[tuple[float, float]], texture: T, wall: float) -> Mesh:
    """Turn an outer profile [(share, height share)], and come back down inside."""
    inner = [(max(r - wall, 0.05), u) for r, u in reversed(profile)]
    inner[-1] = (inner[-1][0], profile[0][1] + 0.06)
    return lathe([(r, s.up(u)) for r, u in profile + inner], s.half[:2], s.color, texture, square=0.5)


def bin(s: Spec) -> list[Mesh]:
    return [_open_vessel(s, [(0.84, 0), (1, 1)], T.PLAIN, 0.07), _rim(s)]


def _rim(s: Spec) -> Mesh:
    x, y, _ = s.half
    return lathe(
        [(1, s.up(0.93)), (1, s.up(1.0)), (0.94, s.up(1.0)), (0.94, s.up(0.93))], (x, y), s.shade(0.8), square=0.5
    )


def basket(s: Spec) -> list[Mesh]:
    return [_open_vessel(s, [(0.88, 0), (1, 0.8), (0.98, 1)], T.WICKER, 0.07)]


def cup(s: Spec) -> list[Mesh]:
    x, y, _z = s.half
    body = Spec(s.w * 0.8, s.d, s.h, s.color, s.rng)
    vessel = _open_vessel(body, [(0.8, 0), (1, 0.25), (1, 1)], T.PLAIN, 0.12)
    handle = [box((x * 0.7, -0.1 * y, s.up(low)), (x, 0.1 * y, s.up(low + 0.1)), s.shade(0.9)) for low in (0.2, 0.7)]
    grip = box((x * 0.88, -0.1 * y, s.up(0.2)), (x, 0.1 * y, s.up(0.8)), s.shade(0.9))
    shifted = replace(vessel, vertices=vessel.vertices - [0.2 * x, 0, 0])
    return [shifted, *handle, grip]


def bowl(s: Spec) -> list[Mesh]:
    return [_open_vessel(s, [(0.45, 0), (0.75, 0.3), (0.95, 0.75), (1, 1)], T.PLAIN, 0.06)]


def pan(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    if s.w >= s.d:
        r = min(x * 0.62, y)
        dish = lathe([(0.85, -z), (1, z), (0.94, z), (0.8, s.up(0.25))], (r, y), s.color, T.METAL, square=0.7,
                     center=(-x + r, 0))  # fmt: skip
        return [dish, box((-x + 2 * r - 0.01, -0.08 * s.d, s.up(0.6)), (x, 0.08 * s.d, z), s.shade(0.7))]
    r = min(y * 0.62, x)
    dish = lathe([(0.85, -z), (1, z), (0.94, z), (0.8, s.up(0.25))], (x, r), s.color, T.METAL, square=0.7,
                 center=(0, y - r))  # fmt: skip
    return [dish, box((-0.08 * s.w, -y, s.up(0.6)), (0.08 * s.w, y - 2 * r + 0.01, z), s.shade(0.7))]


def kettle(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    return [
        lathe([(1, -z), (0.98, s.up(0.15)), (0.7, s.up(0.8)), (0.5, s.up(0.9)), (0.12, s.up(0.92)), (0.12, z)],
              (x * 0.8, y), s.color, T.METAL, square=0.5, center=(-x * 0.2, 0)),
        box((x * 0.75, -0.15 * y, s.up(0.25)), (x, 0.15 * y, s.up(0.85)), _DARK),
        box((0, -0.15 * y, s.up(0.77)), (x, 0.15 * y, s.up(0.85)), _DARK),
        box((0, -0.15 * y, s.up(0.22)), (x, 0.15 * y, s.up(0.28)), _DARK),
    ]  # fmt: skip


def slab(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    return [box((-x, -y, -z), (x, y, z), s.color, T.WOOD)]


def crate(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    t = min(0.02, s.w / 8, s.d / 8)
    return [
        box((-x, -y, -z), (x, y, -z + t), s.shade(0.8)),
        box((-x, -y, -z), (-x + t, y, z), s.color, T.GRILLE, 0.4),
        box((x - t, -y, -z), (x, y, z), s.color, T.GRILLE, 0.4),
        box((-x, -y, -z), (x, -y + t, z), s.color, T.GRILLE, 0.4),
        box((-x, y - t, -z), (x, y, z), s.color, T.GRILLE, 0.4),
    ]


def suitcase(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    wheel, handle = s.up(0.05), s.up(0.93)
    return [
        box((-x, -y, wheel), (x, y, handle), s.color, T.STRIPES, 0.5),
        *[box((sx, -y, -z), (sx + 0.15 * s.w, y, wheel), _DARK) for sx in (-x, x - 0.15 * s.w)],
        *[box((sx, -0.2 * y, handle), (sx + 0.06 * s.w, 0.2 * y, z), _STEEL) for sx in (-0.4 * x, 0.28 * x)],
        box((-0.4 * x, -0.2 * y, s.up(0.97)), (0.4 * x, 0.2 * y, z), _DARK),
    ]


def paper_bag(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    top = s.up(0.85)
    return [
        box((-x, -y, -z), (x, y, top), s.color, T.FABRIC),
        *[box((sx, -0.05 * s.d, top), (sx + 0.05 * s.w, 0.05 * s.d, z), s.shade(0.6)) for sx in (-x * 0.5, x * 0.4)],
        box((-x * 0.5, -0.05 * s.d, s.up(0.96)), (x * 0.5, 0.05 * s.d, z), s.shade(0.6)),
    ]


def pillow(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    return [cushion((-x, -y, -z), (x, y, z), s.color, T.STRIPES if s.rng.random() < 0.4 else T.FABRIC)]


def blanket(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    if s.h < 0.25:  # folded
        steps = np.linspace(-z, z, 4)
        shrink = (0.0, 0.01, 0.02)
        return [
            box((-x + q, -y + q, a), (x - q, y - q, b - 0.004), s.shade(1 - 2 * q), T.STRIPES, 0.6)
            for a, b, q in zip(steps[:-1], steps[1:], shrink, strict=True)
        ]
    thick = min(0.03, s.h * 0.1)  # spread out: a sheet that hangs down all round
    return [
        box((-x, -y, z - thick), (x, y, z), s.color, T.STRIPES, 0.6),
        box((-x, -y, -z), (x, -y + 0.015, z), s.color, T.STRIPES, 0.6),
        box((-x, y - 0.015, -z), (x, y, z), s.color, T.STRIPES, 0.6),
        box((-x, -y, -z), (-x + 0.015, y, z), s.color, T.STRIPES, 0.6),
        box((x - 0.015, -y, -z), (x, y, z), s.color, T.STRIPES, 0.6),
    ]


def shoes(s: Spec) -> list[Mesh]:
    """A pair, side by side across the wider edge."""
    parts = []
    for side in (-1, 1):
        if s.w >= s.d * 0.8:
            a, b = sorted((side * s.half[0], side * 0.06 * s.w))
            sole = ((a, -s.half[1]), (b, s.half[1]))
        else:
            a, b = sorted((side * s.half[1], side * 0.06 * s.d))
            sole = ((-s.half[0], a), (s.half[0], b))
        (x0, y0), (x1, y1) = sole
        parts.append(box((x0, y0, s.up(0)), (x1, y1, s.up(0.2)), (0.85, 0.85, 0.83)))
        parts.append(box((x0, y0 + 0.45 * (y1 - y0), s.up(0.2)), (x1, y1, s.up(1)), s.color, T.FABRIC))
        parts.append(box((x0, y0, s.up(0.2)), (x1, y1 - 0.4 * (y1 - y0), s.up(0.55)), s.color, T.FABRIC))
    return parts


def coat_hanger(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    if s.h < 0.6 or max(s.w, s.d) > 1.5 * s.h:  # a rail with hooks
        long_x = s.w >= s.d
        rail = box((-x, -y, s.up(0.6)), (x, y, z), s.color, T.WOOD)
        hooks = []
        for c in (-0.85, -0.4, 0.05, 0.5, 0.85):
            cx, cy, t = (c * x, 0.0, 0.02) if long_x else (0.0, c * y, 0.02)
            hooks.append(box((cx - t / 2, cy - t / 2, -z), (cx + t / 2, cy + t / 2, s.up(0.7)), _STEEL))
        return [rail, *hooks]
    coat = s.shade(0.8)
    return [
        box((-x, -y, -z), (x, y, s.up(0.03)), s.color, T.WOOD),
        cylinder((0, 0, 0), 0.03, -z, z, s.color),
        box((-x, -0.02, s.up(0.9)), (x, 0.02, s.up(0.92)), s.color, T.WOOD),
        box((-0.02, -y, s.up(0.9)), (0.02, y, s.up(0.92)), s.color, T.WOOD),
        lathe([(1, s.up(0.45)), (0.75, s.up(0.85)), (0.2, s.up(0.92))], (x * 0.9, y * 0.9), coat, T.FABRIC, square=0.6),
    ]


def parcel(s: Spec) -> list[Mesh]:
    """What any other thing becomes: a box with a lid."""
    x, y, z = s.half
    lid = s.up(0.85)
    return [
        box((-x * 0.985, -y * 0.985, -z), (x * 0.985, y * 0.985, lid), s.color, T.FABRIC),
        box((-x, -y, lid), (x, y, z), s.shade(0.85), T.FABRIC),
    ]
