"""The same number for the same object on the bird's-eye view and on every frame that sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import cv2
import numpy as np

from s3d_ros.types import I32, U8, Bev, Marker, SceneObject

# GPT4Scene draws bare digits; on real pictures these drown, so ours stand on a plate with a rim of the other tone.
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_PLATE, _RIM, _INK = (20, 20, 20), (255, 255, 255), (255, 255, 255)
_DIGIT_INKS = (  # a colour for each digit, 0 to 9: easier to tell apart than shapes of ten pixels
    (255, 255, 255), (255, 50, 50), (255, 150, 0), (255, 255, 0), (0, 210, 0), (0, 255, 255), (70, 110, 255),
    (255, 0, 255), (165, 105, 60), (140, 140, 140),
)  # fmt: skip
_MIN_PIXELS = 250  # of a 640x480 frame: less of a thing is no sight of it


def text_height_px(image_width: int) -> int:
    """Return how tall digits are drawn on an image of this width: 14 px at 640."""
    return max(9, round(image_width * 14 / 640))


def plate_size(number: int, height_px: int) -> tuple[int, int]:
    """Return (width, height) of a number's plate in pixels, rim included."""
    (w, h), _ = cv2.getTextSize(str(number), _FONT, height_px / 22, _thickness(height_px))
    return w + height_px // 2 + 4, h + height_px // 2 + 4


def place_in_view(ids: I32, pixels: I32, shape: tuple[int, int], stride: int) -> tuple[Marker, ...]:
    """Place one marker on each object of a view: well inside what is visible of it, no plate over another.

    ids: (N,) the object seen at each of pixels (N, 2) u, v, 0 for none; sampled every ``stride`` pixels of an image
    of ``shape`` (H, W). Objects of which too little shows, or whose plate finds no free place on them, get none.
    """
    rows, columns = -(-shape[0] // stride), -(-shape[1] // stride)
    grid = np.zeros((rows, columns), np.int32)
    grid[pixels[:, 1] // stride, pixels[:, 0] // stride] = ids
    present, sizes = np.unique(grid[grid > 0], return_counts=True)
    least = _MIN_PIXELS * (shape[0] * shape[1]) / (640 * 480) / stride**2
    inner = _distance_to_border(grid)
    height = text_height_px(shape[1])
    taken: list[tuple[float, float, float, float]] = []
    markers = []
    for i in np.argsort(sizes):  # small things first: they have the fewest places
        if sizes[i] < least:
            continue
        object_id = int(present[i])
        v, u = np.nonzero(grid == object_id)
        best = np.argsort(-inner[v, u], kind="stable")[:200]
        w, h = plate_size(object_id, height)
        x = np.clip((u[best] + 0.5) * stride, w / 2, shape[1] - w / 2)
        y = np.clip((v[best] + 0.5) * stride, h / 2, shape[0] - h / 2)
        spot = _first_free(x, y, w, h, taken)
        if spot is not None:
            taken.append((x[spot] - w / 2, y[spot] - h / 2, x[spot] + w / 2, y[spot] + h / 2))
            markers.append(Marker(object_id, float(x[spot]), float(y[spot])))
    return tuple(sorted(markers, key=lambda m: m.object_id))


def place_on_bev(
    bev: Bev,
    objects: Iterable[SceneObject],
    scale: float = 1.0,
    numbers: Mapping[int, int] | None = None,
    height_px: int | None = None,
    taken: Iterable[tuple[float, float, float, float]] = (),
    beside: bool = False,
    grid_px: int = 0,
) -> tuple[Marker, ...]:
    """Place a marker for each object on the BEV enlarged by ``scale``: on its box's middle, or as near as is free.

    numbers: as for ``draw``. taken: places (left, top, right, bottom) in pixels that no plate may cover. beside: no
    plate stands on a thing that it would mostly hide, where there is room elsewhere. grid_px: plates' upper left
    corners stand on multiples of it, if it is not 0.
    """
    markers = []
    taken = list(taken)
    objects = list(objects)
    shape = (bev.color.shape[0] * scale, bev.color.shape[1] * scale)
    height = height_px or text_height_px(640)
    step = height * 0.6
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    spiral = np.vstack([[(0.0, 0.0)], *[ring * step * k for k in range(1, 40)]])
    hidden = _small(bev, objects, scale, height) if beside else np.zeros((0, 4))
    for thing in sorted(objects, key=lambda o: float(np.prod(o.box.size))):
        w, h = plate_size((numbers or {}).get(thing.id, thing.id), height)
        u, v = (bev.to_pixels(thing.box.center)[0] + 0.5) * scale
        x = np.clip(u + spiral[:, 0], w / 2, shape[1] - w / 2)
        y = np.clip(v + spiral[:, 1], h / 2, shape[0] - h / 2)
        if grid_px:
            x, y = (_on_grid(at, n, limit, grid_px) for at, n, limit in ((x, w, shape[1]), (y, h, shape[0])))
        spot = _first_clear(x, y, w, h, taken, hidden) if beside else None
        spot = _first_free(x, y, w, h, taken) if spot is None else spot
        if spot is not None:
            taken.append((x[spot] - w / 2, y[spot] - h / 2, x[spot] + w / 2, y[spot] + h / 2))
            markers.append(Marker(thing.id, float(x[spot]), float(y[spot])))
    return tuple(sorted(markers, key=lambda m: m.object_id))


def draw(
    image: U8,
    markers: Iterable[Marker],
    numbers: Mapping[int, int] | None = None,
    height_px: int | None = None,
    anchors: Mapping[int, tuple[float, float]] | None = None,
    colored: bool = False,
) -> U8:
    """Return a copy of an RGB image with the markers on it.

    numbers: object ID -> number to draw (the ID itself where absent). anchors: object ID -> pixel that a thin line
    leads to when the plate had to stand aside. colored: each digit has its own colour, else all are white.
    """
    out = np.ascontiguousarray(image.copy())
    height = height_px or text_height_px(image.shape[1])
    markers = list(markers)
    for m in markers:
        anchor = (anchors or {}).get(m.object_id)
        if anchor is not None and np.hypot(anchor[0] - m.u, anchor[1] - m.v) > height:
            cv2.line(out, _px(*anchor), _px(m.u, m.v), _RIM, 3, cv2.LINE_AA)
            cv2.line(out, _px(*anchor), _px(m.u, m.v), _PLATE, 1, cv2.LINE_AA)
    for m in markers:
        number = (numbers or {}).get(m.object_id, m.object_id)
        w, h = plate_size(number, height)
        x0, y0 = round(m.u - w / 2), round(m.v - h / 2)
        cv2.rectangle(out, (x0, y0), (x0 + w - 1, y0 + h - 1), _RIM, -1)
        cv2.rectangle(out, (x0 + 1, y0 + 1), (x0 + w - 2, y0 + h - 2), _PLATE, -1)
        (tw, th), _ = cv2.getTextSize(str(number), _FONT, height / 22, _thickness(height))
        at = (round(m.u - tw / 2), round(m.v + th / 2))
        if not colored:
            cv2.putText(out, str(number), at, _FONT, height / 22, _INK, _thickness(height), cv2.LINE_AA)
            continue
        for k, digit in enumerate(str(number)):
            before = cv2.getTextSize(str(number)[:k], _FONT, height / 22, _thickness(height))[0][0] if k else 0
            spot, ink = (at[0] + before, at[1]), _DIGIT_INKS[int(digit)]
            cv2.putText(out, digit, spot, _FONT, height / 22, ink, _thickness(height), cv2.LINE_AA)
    return out


def draw_bev(bev: Bev, objects: Iterable[SceneObject], numbers: Mapping[int, int] | None = None) -> U8:
    """Return the BEV, enlarged to at least 900 pixels, with the numbers of the objects on it."""
    objects = list(objects)
    scale = max(1, round(900 / max(bev.color.shape[:2])))
    image = cv2.resize(bev.color, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    spots = {o.id: tuple((bev.to_pixels(o.box.center)[0] + 0.5) * scale) for o in objects}
    return draw(image, place_on_bev(bev, objects, scale), numbers, text_height_px(640), spots)


def _distance_to_border(grid: I32) -> np.ndarray:
    """Return how far each cell is from a cell of another object, (rows, columns)."""
    same = np.ones(grid.shape, np.uint8)
    same[:, 1:] &= grid[:, 1:] == grid[:, :-1]
    same[:, :-1] &= grid[:, 1:] == grid[:, :-1]
    same[1:] &= grid[1:] == grid[:-1]
    same[:-1] &= grid[1:] == grid[:-1]
    same[[0, -1]] = same[:, [0, -1]] = 0
    return cv2.distanceTransform(same, cv2.DIST_L2, 3)


def _on_grid(middles: np.ndarray, size: float, limit: float, step: int) -> np.ndarray:
    """Return middles of plates of a size that begin on multiples of ``step``, the nearest that end before ``limit``."""
    last = max(0.0, (limit - size) // step)
    return np.clip(np.round((middles - size / 2) / step), 0, last) * step + size / 2


def _first_free(
    x: np.ndarray, y: np.ndarray, w: float, h: float, taken: list[tuple[float, float, float, float]]
) -> int | None:
    """Return the first candidate centre whose plate touches none that is there, or None."""
    if not len(x):
        return None
    u, v = float(x[0]), float(y[0])  # mostly free, and found so without arrays
    if all(u + w / 2 < x0 or u - w / 2 > x1 or v + h / 2 < y0 or v - h / 2 > y1 for x0, y0, x1, y1 in taken):
        return 0
    free = np.ones(len(x), bool)
    for x0, y0, x1, y1 in taken:
        free &= (x + w / 2 < x0) | (x - w / 2 > x1) | (y + h / 2 < y0) | (y - h / 2 > y1)
    spots = np.flatnonzero(free)
    return int(spots[0]) if len(spots) else None


def _small(bev: Bev, objects: Iterable[SceneObject], scale: float, height_px: int) -> np.ndarray:
    """Return the places (N, 4) left, top, right, bottom of the things of which a plate would hide a third or more."""
    w, h = plate_size(10, height_px)
    places = []
    for thing in objects:
        box = thing.box
        along = box.axes @ bev.T_bev_map[:2, :3].T * box.size[:, None]  # (3, 2)
        reach = np.abs(along).sum(axis=0) / bev.resolution_m * scale
        if reach[0] * reach[1] < 3 * w * h:
            u, v = (bev.to_pixels(box.center)[0] + 0.5) * scale
            a, b = np.maximum(reach * 0.35, 2)  # what is at the rim may be covered
            places.append((u - a, v - b, u + a, v + b))
    return np.array(places, np.float64).reshape(-1, 4)


def _first_clear(
    x: np.ndarray, y: np.ndarray, w: float, h: float, taken: list[tuple[float, float, float, float]], hidden: np.ndarray
) -> int | None:
    """Return the first of the nearer candidates whose plate touches none and hides nothing, or None."""
    near = 16 * 12  # further away nobody sees what it marks
    rims = np.concatenate([np.reshape(taken, (-1, 4)), hidden])
    x, y = x[:near, None], y[:near, None]
    apart = (x + w / 2 < rims[:, 0]) | (x - w / 2 > rims[:, 2]) | (y + h / 2 < rims[:, 1]) | (y - h / 2 > rims[:, 3])
    spots = np.flatnonzero(apart.all(axis=1))
    return int(spots[0]) if len(spots) else None


def _thickness(height_px: int) -> int:
    return 2 if height_px >= 10 else 1  # thinner digits are hard to read on pictures


def _px(u: float, v: float) -> tuple[int, int]:
    return round(u), round(v)
