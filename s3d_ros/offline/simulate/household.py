"""Shapes of appliances, electronics and small things."""

from __future__ import annotations

import numpy as np

from s3d_ros.offline.simulate.mesh import Mesh, box, cushion, cylinder, lathe, leaf, panel
from s3d_ros.offline.simulate.spec import Spec
from s3d_ros.offline.simulate.textures import Texture as T

_STEEL = (0.62, 0.63, 0.65)
_DARK = (0.13, 0.13, 0.14)
_POT = (0.7, 0.42, 0.3)


def _body(s: Spec, front: float = 0.0, texture: T = T.PLAIN) -> Mesh:
    """The whole box, its front set back by ``front`` metres."""
    x, y, z = s.half
    return box((-x, -y + front, -z), (x, y, z), s.color, texture)


def refrigerator(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    split = s.up(0.66)
    door = min(0.05, s.d * 0.1)
    grip = min(0.03, s.d * 0.05)
    parts = [_body(s, door + grip, T.METAL)]
    for low, high in ((-z, split - 0.008), (split + 0.008, z)):
        parts.append(box((-x, -y + grip, low), (x, -y + grip + door, high), s.shade(1.05), T.METAL))
        middle = (low + high) / 2
        parts.append(box((-x + 0.06, -y, middle - 0.12), (-x + 0.09, -y + grip, middle + 0.12), s.shade(0.6)))
    return parts


def washer(s: Spec) -> list[Mesh]:
    x, y, _z = s.half
    depth = min(0.03, s.d * 0.06)
    radius = min(s.w, s.h) * 0.3
    return [
        _body(s, depth),
        cylinder((0, 0, s.up(0.45)), radius, -y, -y + depth, _STEEL, axis=1),
        cylinder((0, 0, s.up(0.45)), radius * 0.8, -y - 0.002, -y + depth, _DARK, axis=1),
        box((-x * 0.9, -y + depth * 0.5, s.up(0.86)), (x * 0.9, -y + depth, s.up(0.96)), s.shade(0.75)),
    ]


def dishwasher(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    grip = min(0.035, s.d * 0.06)
    return [
        _body(s, grip, T.METAL),
        box((-x + 0.01, -y + grip * 0.5, s.up(0.14)), (x - 0.01, -y + grip, s.up(0.84)), s.shade(1.06), T.METAL),
        box((-x + 0.01, -y + grip * 0.5, s.up(0.87)), (x - 0.01, -y + grip, z), _DARK),
        box((-x * 0.7, -y, s.up(0.77)), (x * 0.7, -y + grip, s.up(0.8)), _STEEL, T.METAL),
    ]


def stove(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    high = s.h > 0.3
    ring = min(0.012, s.h * 0.15)
    grip = min(0.04, s.d * 0.07) if high else 0.0
    parts = [box((-x, -y + grip, -z), (x, y, z - ring), s.color, T.METAL)]
    for cx in (-0.45 * x, 0.45 * x):
        for cy in (-0.42 * y, 0.45 * y):
            parts.append(cylinder((cx, cy, 0), 0.16 * min(s.w, s.d), z - ring, z, _DARK))
    if high:
        parts.append(box((-x * 0.8, -y + grip * 0.4, s.up(0.15)), (x * 0.8, -y + grip, s.up(0.68)), (0.08, 0.08, 0.09)))
        parts.append(box((-x * 0.8, -y, s.up(0.72)), (x * 0.8, -y + grip, s.up(0.75)), _STEEL, T.METAL))
        for k in range(4):
            cx = -x * 0.6 + k * 0.4 * x
            parts.append(cylinder((cx, 0, s.up(0.87)), 0.02, -y, -y + grip, _STEEL, axis=1))
    return parts


def microwave(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    inset = min(0.02, s.d * 0.08)
    return [
        _body(s, inset, T.METAL),
        box((-x, -y + inset * 0.5, -z), (x * 0.45, -y + inset, z), (0.1, 0.1, 0.11)),
        box((x * 0.48, -y + inset * 0.5, -z), (x, -y + inset, z), s.shade(0.8)),
        box((x * 0.3, -y, -z * 0.8), (x * 0.38, -y + inset, z * 0.8), _STEEL, T.METAL),
    ]


def exhaust_fan(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    return [
        box((-x, -y, -z), (x, y, s.up(0.35)), s.color, T.GRILLE, 0.4),
        box((-x * 0.6, -y * 0.4, s.up(0.35)), (x * 0.6, y, z), s.color, T.METAL),
    ]


def tv(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    edge = min(0.02, s.w / 30)
    glass = -y + 0.1 * s.d
    return [
        box((-x, glass, -z), (x, y - 0.3 * s.d, z), s.color),
        box((-x * 0.6, y - 0.3 * s.d, -z * 0.8), (x * 0.6, y, z * 0.5), s.shade(0.8)),
        box((-x, -y, -z), (x, glass, -z + edge), s.color),
        box((-x, -y, z - edge), (x, glass, z), s.color),
        panel((-x + edge, glass - 0.001, z - edge), (s.w - 2 * edge, 0, 0), (0, 0, -s.h + 2 * edge), T.PICTURE,
              (0.75, 0.85, 1.0)),
    ]  # fmt: skip


def monitor(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    low = s.up(0.22)
    edge = min(0.015, s.w / 30)
    thick = min(0.05, s.d)
    glass = -thick / 2 if s.d > 0.08 else -y
    foot = x * (0.45 if s.d < 0.45 * s.w else 1.0)  # of a deep one as wide as the screen: its box is then no guess
    return [
        box((-x, glass, low), (x, glass + thick, z), s.color),
        panel((-x + edge, glass - 0.002, z - edge), (s.w - 2 * edge, 0, 0), (0, 0, -(z - low) + 2 * edge), T.SCREEN),
        box((-x * 0.1, glass + thick * 0.4, -z), (x * 0.1, glass + thick, low + 0.3 * s.h), s.shade(0.9)),
        box((-foot, -y, -z), (foot, y, -z + 0.04 * s.h), s.shade(0.9)),
    ]


def laptop(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    base = -z + max(0.12 * s.h, min(0.02, s.h))
    parts = [
        box((-x, -y, -z), (x, y, base), s.color, T.METAL),
        panel((-x * 0.9, y * 0.5, base + 0.001), (s.w * 0.9, 0, 0), (0, -y, 0), T.KEYS, (0.3, 0.3, 0.32)),
    ]
    if s.h > 0.06:
        lid = max(0.04 * s.d, 0.008)
        parts.append(box((-x, y - lid, base), (x, y, z), s.color, T.METAL))
        parts.append(
            panel((-x * 0.95, y - lid - 0.001, z * 0.95), (s.w * 0.95, 0, 0), (0, 0, base - z * 0.9), T.SCREEN)
        )
    return parts


def computer_tower(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    face = min(0.02, s.d * 0.05)
    return [
        _body(s, face, T.METAL),
        box((-x, -y, -z), (x, -y + face, z), s.shade(1.3), T.GRILLE, 0.3),
        cylinder((0, 0, s.up(0.85)), min(0.02, s.w * 0.15), -y - 0.002, -y + face, (0.3, 0.6, 0.9), axis=1),
    ]


def printer(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    return [
        box((-x, -y * 0.7, -z), (x, y, s.up(0.75)), s.color),
        box((-x * 0.9, -y * 0.3, s.up(0.75)), (x * 0.9, y, z), s.shade(0.85)),
        box((-x * 0.7, -y, s.up(0.3)), (x * 0.7, -y * 0.7, s.up(0.36)), (0.95, 0.95, 0.95)),
        box((-x, -y, -z), (x, y, s.up(0.12)), s.shade(0.7)),
        box((-x * 0.5, -y * 0.71, s.up(0.55)), (x * 0.1, -y * 0.69, s.up(0.68)), (0.15, 0.25, 0.3)),
    ]


def keyboard(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    top = s.up(0.7)
    return [
        box((-x, -y, -z), (x, y, top), s.color),
        box((-x * 0.97, -y * 0.9, top), (x * 0.97, y * 0.9, z), s.shade(1.2)),
        panel((-x * 0.97, y * 0.9, z + 0.0005), (s.w * 0.97, 0, 0), (0, -s.d * 0.9, 0), T.KEYS, s.shade(1.5)),
    ]


def mouse(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    return [
        lathe([(1, -z), (1, s.up(0.4)), (0.8, s.up(0.8)), (0.35, z)], (x, y), s.color, square=0.6),
        box((-x * 0.08, -y * 0.6, z * 0.6), (x * 0.08, -y * 0.2, z), s.shade(0.5)),
    ]


def telephone(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    body = s.up(0.6)
    return [
        box((-x, -y, -z), (x, y, body), s.color),
        box((-x, -y, body), (-x * 0.4, y, z), s.shade(1.4)),
        panel((-x * 0.2, y * 0.8, body + 0.001), (x * 1.1, 0, 0), (0, -y * 0.6, 0), T.SCREEN, (0.8, 0.95, 0.8)),
        panel((-x * 0.2, 0, body + 0.001), (x * 1.1, 0, 0), (0, -y * 0.85, 0), T.KEYS, (0.6, 0.6, 0.62)),
    ]


def power_strip(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    long_x = s.w >= s.d
    count = 4
    parts = [box((-x, -y, -z), (x, y, s.up(0.8)), s.color)]
    for k in range(count):
        c = -0.75 + 1.5 * k / (count - 1)
        cx, cy = (c * x, 0.0) if long_x else (0.0, c * y)
        parts.append(cylinder((cx, cy, 0), 0.32 * min(s.w, s.d), s.up(0.8), z, _DARK))
    return parts


def headphones(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    t = 0.18 * s.w
    return [
        box((-x, -y, -z), (-x + t, y, s.up(0.6)), s.color),
        box((x - t, -y, -z), (x, y, s.up(0.6)), s.color),
        box((-x, -y * 0.4, s.up(0.6)), (-x + t * 0.5, y * 0.4, z), s.shade(1.4)),
        box((x - t * 0.5, -y * 0.4, s.up(0.6)), (x, y * 0.4, z), s.shade(1.4)),
        box((-x, -y * 0.4, z - 0.12 * s.h), (x, y * 0.4, z), s.shade(1.4)),
    ]


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
    shifted = Mesh(vessel.vertices - [0.2 * x, 0, 0], *_rest(vessel))
    return [shifted, *handle, grip]


def _rest(m: Mesh) -> tuple:
    return m.triangles, m.color, m.texture, m.texcoords


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
    return [_body(s, texture=T.WOOD)]


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
