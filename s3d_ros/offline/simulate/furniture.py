"""Shapes of furniture."""

from __future__ import annotations

import itertools

import numpy as np

from s3d_ros.offline.simulate.mesh import Mesh, box, cushion, cylinder, panel
from s3d_ros.offline.simulate.spec import Spec
from s3d_ros.offline.simulate.textures import Texture as T

_STEEL = (0.55, 0.56, 0.58)
_DARK = (0.14, 0.14, 0.15)


def _legs(s: Spec, top: float, thick: float, color: tuple[float, float, float], texture: T = T.WOOD) -> list[Mesh]:
    """Four legs at the corners, from the bottom to z = top."""
    x, y, z = s.half
    t = min(thick, s.w / 3, s.d / 3)
    corners = [(sx, sy) for sx in (-x, x - t) for sy in (-y, y - t)]
    return [box((cx, cy, -z), (cx + t, cy + t, top), color, texture, 0.5) for cx, cy in corners]


def chair(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    seat = s.up(0.5 if s.h > 0.6 else 0.62)
    thick = min(0.07, s.h * 0.14)
    back = min(0.08, s.d * 0.18)
    low_back = seat + 0.25 * (z - seat) if s.h > 0.6 else seat
    parts = [
        box((-x, -y, seat - thick), (x, y, seat), s.color, T.FABRIC),
        box((-x, y - back, low_back), (x, y, z), s.color, T.FABRIC),
        *[
            box((sx, y - back * 0.8, seat), (sx + 0.05 * s.w, y - back * 0.2, low_back + 0.01), _STEEL)
            for sx in (-x * 0.7, x * 0.6)
        ],
    ]
    under = seat - thick
    if s.w > 0.55 and s.h > 0.8:  # an office chair: a column on a star of feet, and arms
        parts.append(cylinder((0, 0, 0), 0.035, -z + 0.07, under, _DARK))
        parts.append(box((-x, -0.03, -z), (x, 0.03, -z + 0.07), _DARK))
        parts.append(box((-0.03, -y, -z), (0.03, -0.03, -z + 0.065), _DARK))
        parts.append(box((-0.03, 0.03, -z), (0.03, y, -z + 0.065), _DARK))
        arm = seat + 0.4 * (z - seat)
        for sx in (-x, x - 0.05):
            parts.append(box((sx, -y * 0.5, arm - 0.03), (sx + 0.05, y - back, arm), _DARK))
            parts.append(box((sx, -y * 0.3, seat), (sx + 0.05, -y * 0.3 + 0.05, arm - 0.03), _DARK))
    else:
        parts += _legs(s, under, 0.045, s.shade(0.55))
    return parts


def stool(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    thick = min(0.06, s.h * 0.2)
    bar = s.up(0.3)
    return [
        box((-x, -y, z - thick), (x, y, z), s.color, T.FABRIC),
        *_legs(s, z - thick, 0.04, s.shade(0.6)),
        box((-x, -0.02, bar), (x, 0.02, bar + 0.03), s.shade(0.6), T.WOOD),
    ]


def table(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    thick = min(0.04, s.h * 0.25)
    top = s.up(s.rests) if s.rests < 1 else z
    parts = [box((-x, -y, top - thick), (x, y, top), s.color, T.WOOD, 1.2), *_legs(s, top - thick, 0.06, s.shade(0.7))]
    if top < z - 0.01:  # what stands on it is part of its box: a low rail round the back carries the height
        parts.append(box((-x, y - 0.025, top), (x, y, z), s.shade(0.8), T.WOOD))
        parts += [box((sx, y - 0.12, top), (sx + 0.02, y, z), s.shade(0.8), T.WOOD) for sx in (-x, x - 0.02)]
    elif s.h > 0.5:
        inset = min(0.05, s.w / 8, s.d / 8)
        parts.append(
            box((-x + inset, -y + inset, top - thick - 0.07), (x - inset, -y + inset + 0.02, top - thick), s.shade(0.8))
        )
        parts.append(
            box((-x + inset, y - inset - 0.02, top - thick - 0.07), (x - inset, y - inset, top - thick), s.shade(0.8))
        )
    return parts


def sofa(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    arm, back = min(0.2, s.w * 0.14), min(0.25, s.d * 0.3)
    seat = s.up(float(np.clip(s.rests, 0.4, 0.75)) if s.rests < 1 else 0.5)
    foot = -z + min(0.06, s.h * 0.1)
    parts = [
        box((-x, -y, foot), (x, y, s.up(0.28)), s.shade(0.85), T.FABRIC),
        box((-x, y - back, foot), (x, y, z), s.color, T.FABRIC),
        *[box((sx, -y, foot), (sx + arm, y, s.up(0.7)), s.shade(0.92), T.FABRIC) for sx in (-x, x - arm)],
        *_legs(s, foot, 0.06, _DARK),
    ]
    count = max(1, round((s.w - 2 * arm) / 0.75))
    edges = np.linspace(-x + arm, x - arm, count + 1)
    for left, right in itertools.pairwise(edges):
        parts.append(box((left + 0.005, -y, s.up(0.28)), (right - 0.005, y - back, seat), s.color, T.FABRIC))
        parts.append(
            cushion((left + 0.02, y - back - 0.1, seat), (right - 0.02, y - back + 0.03, s.up(0.96)), s.shade(1.08))
        )
    return parts


def bed(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    high = s.h > 0.55
    top = s.up(float(np.clip(s.rests, 0.35, 0.95)) if s.rests < 1 else (0.6 if high else 0.85))
    frame = s.up(0.3)
    parts = [
        box((-x, -y, s.up(0.1)), (x, y, frame), (0.5, 0.36, 0.24), T.WOOD),
        box((-x + 0.02, -y + 0.02, frame), (x - 0.02, y - 0.05, top - 0.04), (0.9, 0.89, 0.86), T.FABRIC),
        box((-x, -y, top - 0.1), (x, y * 0.45, top), s.color, T.FABRIC),  # the cover
        box((-x + 0.02, y * 0.45, top - 0.08), (x - 0.02, y - 0.05, top - 0.015), (0.93, 0.92, 0.9), T.FABRIC),
        box((-x, y - 0.06, -z), (x, y, z), (0.45, 0.31, 0.2), T.WOOD),  # headboard
        *_legs(s, s.up(0.1), 0.08, (0.4, 0.28, 0.18)),
    ]
    if s.rests >= 1 and high:  # no pillows of its own in the layout
        for left, right in [(-x * 0.85, -x * 0.08), (x * 0.08, x * 0.85)] if s.w > 1.1 else [(-x * 0.7, x * 0.7)]:
            parts.append(
                cushion(
                    (left, y - 0.06 - min(0.4, s.d / 4), top - 0.03), (right, y - 0.08, s.up(0.85)), (0.95, 0.95, 0.93)
                )
            )
    return parts


def bookshelf(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    t = min(0.025, s.w / 10)
    parts = [
        box((-x, -y, -z), (-x + t, y, z), s.color, T.WOOD),
        box((x - t, -y, -z), (x, y, z), s.color, T.WOOD),
        box((-x, y - 0.015, -z), (x, y, z), s.shade(0.75), T.WOOD),
        box((-x, -y, z - t), (x, y, z), s.color, T.WOOD),
        box((-x, -y, -z), (x, y, -z + min(0.06, s.h / 10)), s.color, T.WOOD),
    ]
    count = max(1, round(s.h / 0.36))
    levels = np.linspace(-z, z, count + 1)
    front = -y + 0.3 * s.d
    for k, (low, high) in enumerate(itertools.pairwise(levels)):
        if k:
            parts.append(box((-x, -y, low - t / 2), (x, y, low + t / 2), s.color, T.WOOD))
        if s.rests >= 1 or s.rng.random() < 0.4:  # a row of books, not always a full one
            right = x - t - s.rng.uniform(0, 0.5) * s.w
            tall = low + t / 2 + s.rng.uniform(0.6, 0.85) * (high - low - t)
            parts.append(box((-x + t, front, low), (right, y, tall - 0.04), (0.5, 0.45, 0.4), T.FABRIC))
            parts.append(panel((-x + t, front - 0.002, tall), (right + x - t, 0, 0), (0, 0, low - tall), T.BOOKS))
    return parts


def rack(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    levels = np.linspace(-z + 0.04, z, max(2, round(s.h / 0.25) + 1))
    boards = [box((-x, -y, level - 0.02), (x, y, level), s.color, T.WOOD) for level in levels]
    return boards + _legs(s, z, 0.03, s.shade(0.7))


def cabinet(s: Spec) -> list[Mesh]:
    x, y, z = s.half
    parts = [box((-x, -y + 0.02, -z), (x, y, z), s.color, T.WOOD, 1.5)]
    columns, rows = max(1, round(s.w / 0.55)), max(1, round(s.h / 0.8))
    for i in range(columns):
        for j in range(rows):
            left, low = -x + i * s.w / columns, -z + j * s.h / rows
            right, high = left + s.w / columns, low + s.h / rows
            parts.append(
                box(
                    (left + 0.006, -y + 0.005, low + 0.006),
                    (right - 0.006, -y + 0.02, high - 0.006),
                    s.shade(1.07),
                    T.WOOD,
                )
            )
            knob = right - 0.07 if i % 2 == 0 else left + 0.05
            parts.append(
                box((knob, -y, (low + high) / 2 - 0.06), (knob + 0.02, -y + 0.01, (low + high) / 2 + 0.06), _STEEL)
            )
    return parts
