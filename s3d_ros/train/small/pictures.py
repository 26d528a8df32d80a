"""Pictures to learn reading from: furniture seen from above, marked by the pipeline's own code or in other styles.

Picture ``index`` of ``seed`` is always the same, so training goes on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from s3d_ros.markers import place_on_bev, plate_size
from s3d_ros.offline.simulate.textures import NEUTRAL, SIZE, Texture, atlas
from s3d_ros.prompt.config import PromptConfig
from s3d_ros.prompt.numbers import Numbering
from s3d_ros.prompt.overview import Overview, draw_overview
from s3d_ros.prompt.situation import Stand
from s3d_ros.train.small.model import CELL_PX, SmallModelError
from s3d_ros.train.small.sprites import CELL_M, LABELS, sprite
from s3d_ros.train.small.styles import PROJECT, Style, draw_marks, random_style
from s3d_ros.types import F32, F64, I32, U8, Bev, Bools, OrientedBox, SceneObject

_FLOORS = (Texture.PARQUET, Texture.TILES, Texture.CARPET, Texture.WOOD, Texture.PLAIN)
_VARIANTS, _HELD_OUT_VARIANTS = 40, 8  # looks of each category in training; further ones for evaluation


@dataclass(frozen=True)
class PictureSettings:
    """px: of the square pictures. px_per_m: smallest and largest. objects: on a picture, at most.

    largest_number: numbers are drawn from 1 to this, the small ones more often.
    """

    px: int = 128
    px_per_m: tuple[float, float] = (35.0, 90.0)
    objects: int = 9
    largest_number: int = 299

    def __post_init__(self) -> None:
        if self.px % CELL_PX or self.px < 128:
            raise SmallModelError(f"px = {self.px} must be a multiple of {CELL_PX}, 128 or more")
        if not 1 <= self.largest_number <= 999:
            raise SmallModelError(f"largest_number = {self.largest_number} must be 1 to 999")


@dataclass(frozen=True)
class Picture:
    """One marked picture with what is to be read, cell by cell (h, w) of CELL_PX.

    pixels: (H, W, 3). number: drawn there, 0 for none. label: index in LABELS of the marked object, -1 for none.
    marks: (N, 4) number, label, and the cell (row, column) that its plate's middle lies in; by number.
    spots: (N, 2) where the objects' middles are, u, v in pixels.
    """

    pixels: U8
    number: I32
    label: I32
    marks: I32
    spots: F64


def pictures(settings: PictureSettings, seed: int, start: int = 0, held_out: bool = False) -> Iterator[Picture]:
    """Yield pictures ``start``, ``start`` + 1, ... without end. held_out: looks and styles that training has not."""
    index = start
    while True:
        yield picture(settings, seed, index, held_out, held_out)
        index += 1


def picture(
    settings: PictureSettings,
    seed: int,
    index: int,
    held_out_looks: bool = False,
    held_out_style: bool = False,
    style: Style | None = None,
) -> Picture:
    """Return one picture. style: instead of a random one."""
    rng = np.random.default_rng([seed, index, int(held_out_looks)])
    bev, things, scale = _scene(settings, rng, held_out_looks)
    style = style or random_style(rng, held_out_style)
    numbers = {o.id: o.id for o in things}
    config = PromptConfig(bev_px=settings.px, marker_px=max(style.digits_px - 1, 9))
    blank = Overview("", bev, (), True, _stand(bev, rng))
    ground = _worn(draw_overview(blank, Numbering(numbers, numbers, {}), config), rng)
    marks = place_on_bev(bev, things, scale, numbers, style.digits_px)
    spots = {o.id: tuple((bev.to_pixels(o.box.center)[0] + 0.5) * scale) for o in things}
    image = draw_marks(ground, marks, numbers, style, {k: (float(u), float(v)) for k, (u, v) in spots.items()})
    image = _camera(image, rng)
    cells = settings.px // CELL_PX
    number, label = np.zeros((cells, cells), np.int32), np.full((cells, cells), -1, np.int32)
    kind = {o.id: LABELS.index(o.label) for o in things}
    middle = (np.arange(cells) + 0.5) * CELL_PX
    rows = []
    for m in marks:
        w, h = plate_size(m.object_id, style.digits_px)
        row, column = (min(int(x // CELL_PX), cells - 1) for x in (m.v, m.u))
        rows.append((m.object_id, kind[m.object_id], row, column))
        on = (np.abs(middle[:, None] - m.v) < h / 2) & (np.abs(middle[None] - m.u) < w / 2)
        number[on], label[on] = m.object_id, kind[m.object_id]
    for n, k, row, column in rows:  # last, so that no neighbour's plate takes the middle
        number[row, column], label[row, column] = n, k
    listed = np.array(rows, np.int32).reshape(-1, 4)
    return Picture(image, number, label, listed, np.array([spots[int(n)] for n in listed[:, 0]]).reshape(-1, 2))


def _scene(settings: PictureSettings, rng: np.random.Generator, held_out: bool) -> tuple[Bev, list[SceneObject], float]:
    """Return a furnished floor, its objects, and how much it is to be enlarged."""
    px_per_m = float(np.exp(rng.uniform(*np.log(settings.px_per_m))))
    extent_m = settings.px / px_per_m
    cells = round(extent_m / CELL_M)
    color = _floor(cells, rng)
    things: list[SceneObject] = []
    covered = np.zeros((cells, cells), bool)
    wanted = int(rng.integers(1, settings.objects + 1))
    numbers = _numbers(wanted, settings.largest_number, rng)
    for number in numbers:
        label = LABELS[rng.integers(len(LABELS))]
        variant = int(rng.integers(_HELD_OUT_VARIANTS) + _VARIANTS if held_out else rng.integers(_VARIANTS))
        seen = sprite(label, variant)
        turned = _turned(seen.color, rng)
        rows, columns = turned.shape[:2]
        for _ in range(6):
            v, u = (int(rng.integers(-n // 4, max(cells - n * 3 // 4, 1))) for n in (rows, columns))
            a, b, c, d = max(v, 0), min(v + rows, cells), max(u, 0), min(u + columns, cells)
            if b - a >= 2 and d - c >= 2 and covered[a:b, c:d].mean() < 0.15:
                break
        else:
            continue
        part = turned[a - v : b - v, c - u : d - u]
        alpha = part[..., 3:] / 255
        color[a:b, c:d] = color[a:b, c:d] * (1 - alpha) + part[..., :3] * alpha
        covered[a:b, c:d] = True
        x, y = ((c + d) / 2 * CELL_M, (cells - (a + b) / 2) * CELL_M)
        size = np.array([(d - c) * CELL_M, (b - a) * CELL_M, seen.size_m[2]])
        things.append(SceneObject(int(number), label, OrientedBox(np.array([x, y, 0.0]), size, np.eye(3))))
    bev = _bev(np.clip(color, 1, 255).astype(np.uint8))
    return bev, things, settings.px / cells


def _bev(color: U8) -> Bev:
    shape = color.shape[:2]
    nothing = np.zeros(shape, np.float32)
    return Bev(color, nothing, nothing.astype(np.int8), CELL_M, (0.0, 0.0), np.eye(4), 0.0, float("inf"))


def _floor(cells: int, rng: np.random.Generator) -> np.ndarray:
    """Return a textured floor (cells, cells, 3) float32, with a wall or two now and then."""
    layer = atlas()[_FLOORS[rng.integers(len(_FLOORS))]].astype(np.float32)
    step = rng.uniform(1.5, 6.0)  # texels a cell
    at = (np.arange(cells) * step + rng.uniform(0, SIZE)).astype(int) % SIZE
    grey, tint = rng.uniform(0.25, 0.95), rng.normal(0, 0.06, 3)
    floor = layer[at[:, None], at[None]] * (np.clip(grey + tint, 0.05, 1.0) * 255 / NEUTRAL).astype(np.float32)
    for _ in range(int(rng.integers(0, 3))):
        thick, place = max(2, round(rng.uniform(0.06, 0.2) / CELL_M)), int(rng.integers(cells))
        wall = rng.uniform(120, 250)
        if rng.random() < 0.5:
            floor[place : place + thick] = wall
        else:
            floor[:, place : place + thick] = wall
    return np.asarray(np.clip(floor, 1, 255))


def _turned(color: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a sprite as it stands in a room: mostly along the walls."""
    color = np.rot90(color, int(rng.integers(4)))
    if rng.random() < 0.75:
        return color
    rows, columns = color.shape[:2]
    angle = float(rng.uniform(-45, 45))
    turn = cv2.getRotationMatrix2D((columns / 2, rows / 2), angle, 1.0)
    width = int(np.ceil(rows * abs(turn[0, 1]) + columns * turn[0, 0]))
    height = int(np.ceil(rows * turn[0, 0] + columns * abs(turn[0, 1])))
    turn[:, 2] += ((width - columns) / 2, (height - rows) / 2)
    return np.asarray(cv2.warpAffine(np.ascontiguousarray(color), turn, (width, height)))


def _numbers(count: int, largest: int, rng: np.random.Generator) -> list[int]:
    """Return distinct numbers, half of them below 40."""
    found: list[int] = []
    while len(found) < min(count, largest):
        top = min(largest, 40) if rng.random() < 0.5 else largest
        n = int(rng.integers(1, top + 1))
        if n not in found:
            found.append(n)
    return found


def _stand(bev: Bev, rng: np.random.Generator) -> Stand | None:
    if rng.random() < 0.7:
        return None
    extent = bev.color.shape[0] * bev.resolution_m
    angle = rng.uniform(0, 2 * np.pi)
    heading = None if rng.random() < 0.2 else np.array([np.cos(angle), np.sin(angle), 0.0])
    return Stand(np.append(rng.uniform(0.1, 0.9, 2) * extent, 0.0), heading)


def _worn(image: U8, rng: np.random.Generator) -> U8:
    """Take pieces out, as of a map that is not yet known, and roughen the rest as fusion does."""
    out: F32 = image.astype(np.float32)
    if rng.random() < 0.5:
        out = out + rng.normal(0, rng.uniform(0, 12), (*out.shape[:2], 1)).astype(np.float32)
    if rng.random() < 0.4:
        out = np.asarray(cv2.blur(out, (3, 3)), np.float32)
    out = np.clip(out * rng.uniform(0.7, 1.2), 1, 255)
    if rng.random() < 0.4:
        out[_holes(image.shape[:2], rng)] = 0
    return np.asarray(out, np.uint8)


def _holes(shape: tuple[int, ...], rng: np.random.Generator) -> Bools:
    coarse = rng.random((shape[0] // 16 + 1, shape[1] // 16 + 1)).astype(np.float32)
    smooth = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth > rng.uniform(0.75, 1.0))


def _camera(image: U8, rng: np.random.Generator) -> U8:
    """Compress some pictures as JPEG."""
    if rng.random() < 0.7:
        return image
    quality = int(rng.integers(60, 96))
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded just now
    return np.asarray(decoded[..., ::-1])


__all__ = ["PROJECT", "Picture", "PictureSettings", "picture", "pictures"]
