"""Shapes of appliances and electronics."""

from __future__ import annotations

from s3d_ros.offline.simulate.mesh import Mesh, box, cylinder, lathe, panel
from s3d_ros.offline.simulate.spec import Spec
from s3d_ros.offline.simulate.textures import Texture as T

_STEEL = (0.62, 0.63, 0.65)
_DARK = (0.13, 0.13, 0.14)


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
