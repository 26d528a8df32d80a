"""The bird's-eye view as a model sees it: what is known of the map, or what a question needs of it, and its numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from s3d_ros.markers import draw, place_on_bev, plate_size
from s3d_ros.prompt.config import PromptConfig
from s3d_ros.prompt.numbers import Numbering, present
from s3d_ros.prompt.situation import Stand
from s3d_ros.prompt.text import label_of
from s3d_ros.types import U8, Bev, Marker, OrientedBox, Scene, SceneObject

_STEP_M = 0.5  # the picture's borders lie on a grid of this, so that it rarely shifts
_MARGIN_M = 0.25
_ROBOT_MARGIN_M = 2.0  # so far outside what is known somebody is still drawn
_ABOUT_M = 1.5  # shown around what a question is about
_LARGEST_SCALE = 8.0
_DOT_PX = 4
_GROWTH = 1.5  # of ``bev_square_m``, until all fits
_ARROW = (230, 0, 200)  # a colour that homes lack


@dataclass(frozen=True)
class Overview:
    """A bird's-eye view that is still to be drawn. key: equal keys mean equal pixels. marked: by ID."""

    key: str
    bev: Bev  # the part to be shown
    marked: tuple[SceneObject, ...]
    whole: bool  # shows all that is known
    stand: Stand | None = None


def whole(scene: Scene, numbering: Numbering, config: PromptConfig) -> Overview | None:
    """Return the view of all that is known, marked with what is most prominent; None where that would be too much."""
    bev = scene.bev
    if bev is None:
        return None
    things = _numbered(scene, numbering)
    box = _known(bev, things)
    if len(things) > config.bev_markers and (box[2:] - box[:2]).max() > config.bev_whole_m:
        return None
    return _overview(bev, box, _prominent(scene, things)[: config.bev_markers], numbering, config, True, None)


def around(
    scene: Scene,
    numbering: Numbering,
    config: PromptConfig,
    wanted: Sequence[int],
    stand: Stand | None,
    near: Stand | None = None,
) -> Overview | None:
    """Return the view that a question needs: all where that is little enough, else what is about it and the asker.

    wanted: IDs, the most important first. stand: drawn as an arrow, None: none. near: shown and not drawn.
    """
    bev = scene.bev
    if bev is None:
        return None
    things = _numbered(scene, numbering)
    known = _known(bev, things)
    by_id = {o.id: o for o in things}
    first = [by_id[i] for i in dict.fromkeys(wanted) if i in by_id][: config.bev_markers]
    place = stand or near
    here = None if place is None else _plan(bev, place.position[None])[0]
    if here is not None and ((here < known[:2] - _ROBOT_MARGIN_M) | (here > known[2:] + _ROBOT_MARGIN_M)).any():
        here, stand = None, None
    full = len(things) > config.bev_markers and (known[2:] - known[:2]).max() > config.bev_whole_m
    box = _needed(bev, known, first, here, config) if full else known
    if here is not None:
        box = np.concatenate([np.minimum(box[:2], here - 0.5), np.maximum(box[2:], here + 0.5)])
    middles = _plan(bev, np.reshape([o.box.center for o in things], (-1, 3)))
    inside = np.all((middles >= box[:2]) & (middles <= box[2:]), axis=1)
    rest = [things[i] for i in np.flatnonzero(inside)]
    if full and rest:
        focus = _plan(bev, np.reshape([o.box.center for o in first], (-1, 3))) if first else np.zeros((0, 2))
        focus = focus if here is None else np.vstack([focus, here])
        focus = focus if len(focus) else (box[:2] + box[2:])[None] / 2
        at = _plan(bev, np.reshape([o.box.center for o in rest], (-1, 3)))
        away = np.linalg.norm(at[:, None] - focus[None], axis=2).min(axis=1)
        rest = [rest[i] for i in np.lexsort(([o.id for o in rest], away))]
    else:
        rest = _prominent(scene, rest)
    marked = list({o.id: o for o in [*first, *rest]}.values())[: config.bev_markers]
    return _overview(bev, box, marked, numbering, config, not full, stand)


def draw_overview(view: Overview, numbering: Numbering, config: PromptConfig) -> U8:
    """Draw it: (H, W, 3), the longer side ``bev_px`` unless the map is tiny."""
    bev, scale = view.bev, _scale(view.bev, config)
    size = tuple(max(1, round(n * scale)) for n in bev.color.shape[1::-1])
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = cv2.resize(_closed(bev.color), size, interpolation=smooth)
    image = dotted(image, config.bev_dots_px) if config.bev_dots_px else image
    digits_px = config.marker_px + 1
    taken, arrow = [], None
    if view.stand is not None:
        arrow = _arrow(view, scale, 1.5 * digits_px)
        u, v = arrow[:, 0], arrow[:, 1]
        taken.append((float(u.min()) - 2, float(v.min()) - 2, float(u.max()) + 2, float(v.max()) + 2))
    beside, dots_px = config.bev_beside, config.bev_dots_px
    marks = place_on_bev(bev, view.marked, scale, numbering.number_of, digits_px, taken, beside, dots_px)
    spots = {o.id: tuple((bev.to_pixels(o.box.center)[0] + 0.5) * scale) for o in view.marked}
    image = draw(image, marks, numbering.number_of, digits_px, spots, config.marker_colors)
    if dots_px:
        dot_plates(image, marks, numbering.number_of, digits_px, spots, dots_px)
    if arrow is not None:
        points = np.round(arrow * 16).astype(np.int32)
        cv2.polylines(image, [points], True, (255, 255, 255), 5, cv2.LINE_AA, 4)
        cv2.fillPoly(image, [points], _ARROW, cv2.LINE_AA, 4)
    return np.asarray(image)


def legend(marked: Sequence[SceneObject], numbering: Numbering) -> str:
    """Return lines with labels and numbers of what is marked, ``trash-can=<OBJ012>``; what has no label is left out.

    In this order for a small model's sake: who looks for a chair finds what follows that word. And without blanks, so
    that in its tokens these words are told from those of the question.
    """
    told = [f"{label_of(o).replace(' ', '-')}={numbering.token_of(o.id)}\n" for o in marked if label_of(o)]
    return "".join(["Marked:\n", *told]) if told else ""


def dotted(image: U8, every_px: int) -> U8:
    """Return a copy with a dot of 4x4 px in the upper left of each square of ``every_px``.

    Its colour tells the place of the square's middle, as of ``_place_color``.
    """
    out = image.copy()
    height, width = image.shape[:2]
    rows, columns = np.arange(0, height - _DOT_PX + 1, every_px), np.arange(0, width - _DOT_PX + 1, every_px)
    color = np.zeros((len(rows), len(columns), 3), np.uint8)
    color[..., 0] = np.round(255 * np.minimum((columns + every_px / 2) / width, 1))
    color[..., 1] = np.round(255 * np.minimum((rows + every_px / 2) / height, 1))[:, None]
    for a in range(_DOT_PX):
        for b in range(_DOT_PX):
            out[a::every_px, b::every_px][: len(rows), : len(columns)] = color
    return out


def dot_plates(
    image: U8,
    marks: Sequence[Marker],
    numbers: Mapping[int, int],
    height_px: int,
    spots: Mapping[int, tuple[float, float]],
    every_px: int,
) -> None:
    """Draw the dots on plates that ``place_on_bev`` put on the grid, each with the colour of the marked thing's place.

    Only of squares whose middle the plate covers, along its upper edge, where no digits are. spots: by ID, in pixels.
    """
    height, width = image.shape[:2]
    for m in marks:
        w, h = plate_size(numbers.get(m.object_id, m.object_id), height_px)
        left, top = round(m.u - w / 2), round(m.v - h / 2)
        u, v = spots[m.object_id]
        for x in range(left, left + w - every_px // 2, every_px):
            image[top : top + _DOT_PX, x : x + _DOT_PX] = _place_color(u / width, v / height)


def _place_color(u: float, v: float) -> tuple[int, int, int]:
    """Return the colour of a place, given as shares of the picture: red along it, green down, blue none."""
    red, green = (round(255 * min(max(x, 0.0), 1.0)) for x in (u, v))
    return red, green, 0


def _overview(
    bev: Bev,
    box: np.ndarray,
    marked: Sequence[SceneObject],
    numbering: Numbering,
    config: PromptConfig,
    is_whole: bool,
    stand: Stand | None,
) -> Overview:
    part = crop(bev, box)
    if config.bev_square_m:
        part = squared(part, config.bev_square_m)
    marked = _steady(part, marked if config.markers else (), _scale(part, config))
    digest = hashlib.blake2b(np.ascontiguousarray(part.color).tobytes(), digest_size=16)
    boxes = [(numbering.number_of[o.id], o.box.center.tolist(), o.box.size.tolist()) for o in marked]
    there = None if stand is None else (stand.position.tolist(), stand.heading is None or stand.heading.tolist())
    told = (part.color.shape, part.resolution_m, part.origin_xy, part.T_bev_map.tolist(), config.bev_px)
    drawn = (config.marker_px, config.marker_colors, config.bev_beside, config.bev_dots_px)
    digest.update(repr((told, drawn, boxes, there)).encode())
    return Overview(f"bev-{digest.hexdigest()}", part, marked, is_whole, stand)


def _steady(bev: Bev, things: Sequence[SceneObject], scale: float) -> tuple[SceneObject, ...]:
    """Return objects, by ID, on a grid of two of the picture's pixels: a box's noise makes no new picture."""
    step_m = 2 * bev.resolution_m / scale
    out = []
    for thing in sorted(things, key=lambda o: o.id):
        place = np.zeros(3)
        place[:2] = np.round(_plan(bev, thing.box.center[None])[0] / step_m) * step_m
        axes = bev.T_bev_map[:3, :3]
        along = np.abs(thing.box.axes @ axes.T * thing.box.size[:, None]).sum(axis=0)  # as seen on the picture
        box = OrientedBox(place @ axes, np.round(along, 1), axes)
        out.append(replace(thing, box=box))
    return tuple(out)


def crop(bev: Bev, box: np.ndarray) -> Bev:
    """Return the part of a BEV within (x0, y0, x1, y1) in metres of its frame, widened to whole steps."""
    low = np.floor((box[:2] - _MARGIN_M) / _STEP_M) * _STEP_M
    high = np.ceil((box[2:] + _MARGIN_M) / _STEP_M) * _STEP_M
    rows, columns = bev.color.shape[:2]
    c0, d0 = np.round((low - bev.origin_xy) / bev.resolution_m).astype(int)
    c1, d1 = np.round((high - bev.origin_xy) / bev.resolution_m).astype(int)
    r0, r1 = rows - d1, rows - d0  # row 0 is at the largest y
    color = np.zeros((max(r1 - r0, 1), max(c1 - c0, 1), 3), np.uint8)
    a, b, c, d = max(r0, 0), min(r1, rows), max(c0, 0), min(c1, columns)
    if a < b and c < d:
        color[a - r0 : b - r0, c - c0 : d - c0] = bev.color[a:b, c:d]
    origin = (bev.origin_xy[0] + c0 * bev.resolution_m, bev.origin_xy[1] + d0 * bev.resolution_m)
    return replace(bev, color=color, origin_xy=origin)


def squared(bev: Bev, side_m: float) -> Bev:
    """Return a BEV in the middle of a black square of ``side_m``, or of the next larger size that holds it."""
    rows, columns = bev.color.shape[:2]
    while round(side_m / bev.resolution_m) < max(rows, columns):
        side_m *= _GROWTH
    side = round(side_m / bev.resolution_m)
    above, left = (side - rows) // 2, (side - columns) // 2
    color = np.zeros((side, side, 3), np.uint8)
    color[above : above + rows, left : left + columns] = bev.color
    below = side - rows - above
    origin = (bev.origin_xy[0] - left * bev.resolution_m, bev.origin_xy[1] - below * bev.resolution_m)
    return replace(bev, color=color, origin_xy=origin)


def _numbered(scene: Scene, numbering: Numbering) -> list[SceneObject]:
    return [o for o in present(scene) if o.id in numbering.number_of]


def _plan(bev: Bev, points: np.ndarray) -> np.ndarray:
    """Return points (N, 3) of the map on the floor plan, (N, 2) metres of the bev frame."""
    return np.asarray(points @ bev.T_bev_map[:2, :3].T + bev.T_bev_map[:2, 3])


def _known(bev: Bev, things: Sequence[SceneObject]) -> np.ndarray:
    """Return the bounds (x0, y0, x1, y1) in metres of what is drawn and of the objects' middles."""
    known = _drawn(bev.color)
    rows, columns = np.flatnonzero(np.any(known, axis=1)), np.flatnonzero(np.any(known, axis=0))
    points = [_plan(bev, np.reshape([o.box.center for o in things], (-1, 3)))]
    if len(rows):
        r = bev.color.shape[0] - rows[[-1, 0]] + np.array([-1, 0])
        c = columns[[0, -1]] + np.array([0, 1])
        points.append(np.stack([c, r], axis=1) * bev.resolution_m + bev.origin_xy)
    at = np.vstack(points)
    if not len(at):
        size = np.array(bev.color.shape[1::-1]) * bev.resolution_m
        at = np.array([bev.origin_xy, bev.origin_xy + size])
    return np.concatenate([at.min(axis=0), at.max(axis=0)])


def _needed(
    bev: Bev, known: np.ndarray, first: Sequence[SceneObject], here: np.ndarray | None, config: PromptConfig
) -> np.ndarray:
    """Return the bounds of what is about some objects and the asker, at least a third of ``bev_whole_m`` wide."""
    corners = [_plan(bev, o.box.corners()) for o in first]
    if here is not None or not corners:
        corners.append((known[:2] + known[2:])[None] / 2 if here is None else here[None])
    at = np.vstack(corners)
    low, high = at.min(axis=0) - _ABOUT_M, at.max(axis=0) + _ABOUT_M
    short = np.maximum(config.bev_whole_m / 3 - (high - low), 0) / 2
    return np.concatenate([np.maximum(low - short, known[:2]), np.minimum(high + short, known[2:])])


def _prominent(scene: Scene, things: Sequence[SceneObject]) -> list[SceneObject]:
    """Sort objects: those that most views show first, then the larger ones."""
    views: dict[int, int] = {}
    for view in scene.views:
        for mark in view.markers:
            views[mark.object_id] = views.get(mark.object_id, 0) + 1
    return sorted(things, key=lambda o: (-views.get(o.id, 0), -round(float(np.prod(o.box.size)), 3), o.id))


def _drawn(color: U8) -> np.ndarray:
    """Return where a picture (H, W, 3) is not black, (H, W)."""
    return np.asarray((color[..., 0] | color[..., 1] | color[..., 2]) > 0)


def _scale(bev: Bev, config: PromptConfig) -> float:
    return min(config.bev_px / max(bev.color.shape[:2]), _LARGEST_SCALE)


def _closed(color: U8) -> U8:
    """Fill single unknown cells among known ones with what is about them: they only look like pepper."""
    known = _drawn(color)
    weight = cv2.blur(np.asarray(known, np.float32), (3, 3), borderType=cv2.BORDER_CONSTANT)
    mean = cv2.blur(color.astype(np.float32), (3, 3), borderType=cv2.BORDER_CONSTANT)
    holes = ~known & (weight > 0.5)
    out = color.copy()
    out[holes] = np.round(mean[holes] / weight[holes][:, None])
    return out


def _arrow(view: Overview, scale: float, length_px: float) -> np.ndarray:
    """Return the outline (N, 2) of the asker's arrow, or of a square where no heading is known, in pixels."""
    assert view.stand is not None
    bev, stand = view.bev, view.stand
    at = (bev.to_pixels(stand.position[None])[0] + 0.5) * scale
    if stand.heading is None:
        return np.asarray(at + np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * length_px / 3)
    tip = (bev.to_pixels((stand.position + stand.heading)[None])[0] + 0.5) * scale - at
    ahead = tip / max(float(np.linalg.norm(tip)), 1e-9)
    aside = np.array([-ahead[1], ahead[0]])
    shape = np.array([(1.0, 0.0), (-0.7, 0.65), (-0.35, 0.0), (-0.7, -0.65)]) * length_px
    return np.asarray(at + shape[:, :1] * ahead + shape[:, 1:] * aside)
