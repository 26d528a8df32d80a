"""Pictures to learn from: furnished rooms from above, marked by the pipeline's own code or in other styles.

Picture ``index`` of ``seed`` is always the same, so training goes on where it was stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from s3d_ros.markers import place_on_bev, plate_size
from s3d_ros.offline.simulate.textures import NEUTRAL, SIZE, Texture, atlas
from s3d_ros.prompt.config import PromptConfig
from s3d_ros.prompt.numbers import Numbering
from s3d_ros.prompt.overview import Overview, dot_plates, dotted, draw_overview, squared
from s3d_ros.prompt.situation import Stand
from s3d_ros.train.small.homes import Room, Thing, furnished
from s3d_ros.train.small.model import CELL_PX, PROMPT, SmallModelError
from s3d_ros.train.small.sprites import CELL_M, LABELS, sprite
from s3d_ros.train.small.styles import PROJECT, Style, draw_marks, random_style
from s3d_ros.types import F32, F64, I32, U8, Bev, Bools, OrientedBox, SceneObject

FLOOR, NOTHING = len(LABELS), len(LABELS) + 1  # what a cell may show beside things
_FLOORS = (
    (Texture.PARQUET, (0.72, 0.55, 0.38), 1.6), (Texture.PARQUET, (0.52, 0.38, 0.27), 1.6),
    (Texture.TILES, (0.78, 0.76, 0.72), 1.6), (Texture.CARPET, (0.5, 0.52, 0.56), 1.0),
    (Texture.WOOD, (0.6, 0.5, 0.4), 1.4), (Texture.PLAIN, (0.6, 0.6, 0.6), 1.0),
)  # fmt: skip
_WALL_CELLS = 4
_CEILING_M = 2.1  # what begins above this is not drawn, as in the pipeline
_LOOKS, _HELD_OUT_LOOKS = range(40), range(40, 48)  # of each category: in training; for evaluation only


@dataclass(frozen=True)
class PictureSettings:
    """px: of the square pictures. objects: marked on a picture, at most. largest_number: that is drawn.

    arrows: share of pictures with the asker's arrow.
    """

    px: int = PROMPT.bev_px
    side_m: float = PROMPT.bev_square_m
    objects: int = PROMPT.bev_markers
    largest_number: int = 299
    arrows: float = 0.1

    def __post_init__(self) -> None:
        if self.px % CELL_PX or self.px < 128:
            raise SmallModelError(f"px = {self.px} must be a multiple of {CELL_PX}, 128 or more")
        if not 1 <= self.largest_number <= 999:
            raise SmallModelError(f"largest_number = {self.largest_number} must be 1 to 999")


@dataclass(frozen=True)
class Picture:
    """One marked picture with what is to be read, cell by cell (h, w) of CELL_PX.

    pixels: (H, W, 3). number: drawn there, 0 for none. label: index in LABELS of the marked object, -1 for none.
    ground: what the cell's middle shows: index in LABELS, FLOOR or NOTHING; -1 under a plate.
    marks: (N, 4) number, label, and the cell (row, column) that its plate's middle lies in; by number.
    spots: (N, 2) where the objects' middles are, u, v as shares of the picture. sizes: (N, 2) how far they reach
    along u and v, likewise. things: the marked objects, by number. others: categories of what is there and not marked.
    side_m: how wide the picture is. corner: of a part, the row and column that it begins at, of ``cells`` each way;
    spots and sizes of a part are shares of the whole.
    """

    pixels: U8
    number: I32
    label: I32
    ground: I32
    marks: I32
    spots: F64
    sizes: F64
    things: tuple[SceneObject, ...]
    others: frozenset[str]
    side_m: float
    corner: tuple[int, int] = (0, 0)
    cells: int = 0

    def part(self, cells: int, rng: np.random.Generator) -> Picture:
        """Return a square part of so many cells, about a marked thing."""
        whole = len(self.number)
        if cells >= whole or not len(self.marks):
            return replace(self, cells=whole)
        row, column = self.marks[rng.integers(len(self.marks)), 2:] + rng.integers(-2, 3, 2) - cells // 2
        r, c = int(np.clip(row, 0, whole - cells)), int(np.clip(column, 0, whole - cells))
        here = (slice(r, r + cells), slice(c, c + cells))
        px = tuple(slice(x.start * CELL_PX, x.stop * CELL_PX) for x in here)
        at = self.marks[:, 2:] - (r, c)
        kept = np.flatnonzero(((at >= 0) & (at < cells)).all(axis=1))
        marks = np.concatenate([self.marks[kept, :2], at[kept]], axis=1).astype(np.int32)
        return replace(
            self, pixels=self.pixels[px], number=self.number[here], label=self.label[here], ground=self.ground[here],
            marks=marks, spots=self.spots[kept], sizes=self.sizes[kept],
            things=tuple(self.things[k] for k in kept), corner=(r, c), cells=whole,
        )  # fmt: skip


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
    drawn: bool = True,
) -> Picture:
    """Return one picture. style: instead of a random one. drawn: if not, its pixels are black, which is faster."""
    rng = np.random.default_rng([seed, index, int(held_out_looks)])
    room = furnished(rng, _HELD_OUT_LOOKS if held_out_looks else _LOOKS)
    while not room.things:
        room = furnished(rng, _HELD_OUT_LOOKS if held_out_looks else _LOOKS)
    shown, ground, things = _from_above(room, rng, drawn)
    bev = squared(_bev(shown), settings.side_m)
    side = bev.color.shape[0]
    scale = settings.px / side
    style = style or random_style(rng, held_out_style)
    marked = _marked(things, settings, rng)
    numbers = {o.id: o.id for o in marked}
    config = PromptConfig(bev_px=settings.px, marker_px=max(style.digits_px - 1, 7))
    stand = _stand(shown.shape[:2], rng) if rng.random() < settings.arrows else None
    blank = Overview("", bev, (), True, stand)
    image = np.zeros((settings.px, settings.px, 3), np.uint8)
    if drawn:
        image = _worn(draw_overview(blank, Numbering(numbers, numbers, {}), config), rng)
    marks = place_on_bev(
        bev, marked, scale, numbers, style.digits_px, beside=PROMPT.bev_beside, grid_px=PROMPT.bev_dots_px
    )
    spots = {o.id: (bev.to_pixels(o.box.center)[0] + 0.5) * scale for o in marked}
    anchors = {k: (float(u), float(v)) for k, (u, v) in spots.items()}
    if drawn:
        image = draw_marks(dotted(image, CELL_PX), marks, numbers, style, anchors)
        dot_plates(image, marks, numbers, style.digits_px, anchors, CELL_PX)

    above, left = ((side - n) // 2 for n in shown.shape[:2])
    whole = np.full((side, side), NOTHING, np.int32)
    whole[above : above + shown.shape[0], left : left + shown.shape[1]] = ground
    cells = settings.px // CELL_PX
    middle = (np.arange(cells) + 0.5) * CELL_PX
    at = (middle / scale).astype(int)
    seen = whole[np.ix_(at, at)]
    number, label = np.zeros((cells, cells), np.int32), np.full((cells, cells), -1, np.int32)
    kind = {o.id: LABELS.index(o.label) for o in marked}
    rows = []
    for m in marks:
        w, h = plate_size(m.object_id, style.digits_px)
        row, column = (min(int(x // CELL_PX), cells - 1) for x in (m.v, m.u))
        rows.append((m.object_id, kind[m.object_id], row, column))
        on = (np.abs(middle[:, None] - m.v) < h / 2) & (np.abs(middle[None] - m.u) < w / 2)
        number[on], label[on] = m.object_id, kind[m.object_id]
    for n, k, row, column in rows:  # last, so that no neighbour's plate takes the middle
        number[row, column], label[row, column] = n, k
    seen[number > 0] = -1
    listed = np.array(rows, np.int32).reshape(-1, 4)
    by_id = {o.id: o for o in marked}
    kept = tuple(by_id[int(n)] for n in listed[:, 0])
    reach = np.array([np.abs(o.box.axes[:, :2] * o.box.size[:, None]).sum(axis=0) for o in kept]).reshape(-1, 2)
    where = np.array([spots[o.id] for o in kept]).reshape(-1, 2) / settings.px
    side_m = side * CELL_M
    unmarked = Counter(o.label for o in things) - Counter(o.label for o in kept)
    return Picture(
        image, number, label, seen, listed, where, reach / side_m, kept, frozenset(unmarked), side_m, cells=cells
    )


def _marked(things: list[SceneObject], settings: PictureSettings, rng: np.random.Generator) -> list[SceneObject]:
    """Return some of a room's things, numbered."""
    count = min(len(things), settings.objects, settings.largest_number)
    if rng.random() < 0.35:
        count = int(rng.integers(1, count + 1))
    chosen = [things[i] for i in rng.permutation(len(things))[:count]]
    numbers = _numbers(count, settings.largest_number, rng)
    return [SceneObject(n, o.label, o.box) for n, o in zip(numbers, chosen, strict=True)]


def _from_above(room: Room, rng: np.random.Generator, drawn: bool = True) -> tuple[U8, I32, list[SceneObject]]:
    """Return a room turned by chance: its picture (H, W, 3), what each cell shows (H, W), and its things."""
    cells = round(room.depth_m / CELL_M), round(room.width_m / CELL_M)
    edge = _WALL_CELLS
    shape = cells[0] + 2 * edge, cells[1] + 2 * edge
    color = np.empty((*shape, 3), np.float32)
    color[:] = rng.uniform(150, 245) + rng.normal(0, 8, 3)
    if drawn:
        color[edge:-edge, edge:-edge] = _floor(cells, rng)
    kinds = np.full(shape, FLOOR, np.uint8)
    for thing in sorted(room.things, key=lambda t: t.high[2]):
        if thing.low[2] < _CEILING_M:
            _paste(thing, color, kinds, edge)
    if drawn:
        _ragged(color, rng)
    color = np.clip(color, 0, 255).astype(np.uint8)
    angle = float(rng.uniform(-45, 45)) + 90 * int(rng.integers(4))
    return _turned_room(room, color, kinds, angle, edge)


def _turned_room(room: Room, color: U8, kinds: U8, angle_deg: float, edge: int) -> tuple[U8, I32, list[SceneObject]]:
    rows, columns = kinds.shape
    turn = cv2.getRotationMatrix2D((columns / 2 - 0.5, rows / 2 - 0.5), angle_deg, 1.0)
    c, s = abs(turn[0, 0]), abs(turn[0, 1])
    step = round(0.5 / CELL_M)  # the pipeline's pictures end on steps of half a metre
    width, height = (-(-int(n + 0.5 / CELL_M) // step) * step for n in (rows * s + columns * c, rows * c + columns * s))
    turn[:, 2] += ((width - columns) / 2, (height - rows) / 2)
    seen = cv2.warpAffine(color, turn, (width, height), flags=cv2.INTER_LINEAR)
    outside = cv2.BORDER_CONSTANT
    shows = cv2.warpAffine(
        kinds, turn, (width, height), flags=cv2.INTER_NEAREST, borderMode=outside, borderValue=(NOTHING,)
    )
    shows = shows.astype(np.int32)
    shows[~_known(seen)] = NOTHING
    a = np.radians(angle_deg)
    R = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    half = np.array([room.width_m, room.depth_m, 0]) / 2
    center = np.array([width, height, 0]) * CELL_M / 2
    things = []
    for k, t in enumerate(room.things, 1):
        low, high = np.array(t.low), np.array(t.high)
        box = OrientedBox(R @ ((low + high) / 2 - half) + center, high - low, R.T)
        things.append(SceneObject(k, t.label, box))
    return np.asarray(seen), shows, things


def _paste(thing: Thing, color: F32, kinds: U8, edge: int) -> None:
    seen = _look(thing.label, thing.look, thing.turns % 4, round(thing.askew_deg))
    rows, columns = seen.shape[:2]
    v = kinds.shape[0] - edge - round((thing.low[1] + thing.high[1]) / 2 / CELL_M + rows / 2)
    u = edge + round((thing.low[0] + thing.high[0]) / 2 / CELL_M - columns / 2)
    a, b, c, d = max(v, 0), min(v + rows, kinds.shape[0]), max(u, 0), min(u + columns, kinds.shape[1])
    if a >= b or c >= d:
        return
    part = seen[a - v : b - v, c - u : d - u]
    on = part[..., 3] > 127
    color[a:b, c:d][on] = part[..., :3][on]
    kinds[a:b, c:d][on] = LABELS.index(thing.label)


@lru_cache(maxsize=30_000)
def _look(label: str, look: int, turns: int, askew_deg: int) -> F32:
    """Return a sprite turned counterclockwise, (H, W, 4)."""
    color = np.rot90(sprite(label, look).color, turns)
    if not askew_deg:
        return np.ascontiguousarray(color)
    rows, columns = color.shape[:2]
    turn = cv2.getRotationMatrix2D((columns / 2 - 0.5, rows / 2 - 0.5), float(askew_deg), 1.0)
    c, s = abs(turn[0, 0]), abs(turn[0, 1])
    width, height = int(np.ceil(rows * s + columns * c)), int(np.ceil(rows * c + columns * s))
    turn[:, 2] += ((width - columns) / 2, (height - rows) / 2)
    return np.asarray(cv2.warpAffine(np.ascontiguousarray(color), turn, (width, height)), np.float32)


def _bev(color: U8) -> Bev:
    nothing = np.zeros((1, 1), np.float32)  # heights are no part of the picture
    return Bev(color, nothing, nothing.astype(np.int8), CELL_M, (0.0, 0.0), np.eye(4), 0.0, float("inf"))


def _floor(cells: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a textured floor (rows, columns, 3) float32, mostly with a rug."""
    texture, tone, tile_m = _FLOORS[rng.integers(len(_FLOORS))]
    tint = np.array(tone) + rng.normal(0, 0.05, 3) + rng.normal(0, 0.06)
    floor = _tiled(texture, tile_m * rng.uniform(0.7, 1.4), cells, np.clip(tint, 0.1, 1.0), rng)
    if min(cells) > 100 and rng.random() < 0.8:
        half = np.array(cells) * rng.uniform(0.13, 0.24, 2)
        middle = np.array(cells) * rng.uniform(0.35, 0.65, 2)
        (a, c), (b, d) = (middle - half).astype(int), (middle + half).astype(int)
        kind = Texture.STRIPES if rng.random() < 0.8 else Texture.CARPET
        floor[a:b, c:d] = _tiled(kind, 0.7 * rng.uniform(0.7, 1.5), (b - a, d - c), rng.uniform(0.3, 0.95, 3), rng)
    return floor


def _tiled(texture: Texture, tile_m: float, cells: tuple[int, int], tint: np.ndarray, rng: np.random.Generator) -> F32:
    layer = atlas()[texture]
    step = SIZE * CELL_M / tile_m
    rows, columns = ((np.arange(n) * step + rng.uniform(0, SIZE)).astype(int) % SIZE for n in cells)
    drawn = layer[rows[:, None], columns[None]]
    if rng.random() < 0.5:
        drawn = layer[columns[None], rows[:, None]]
    return np.asarray(drawn * (tint * 255 / NEUTRAL).astype(np.float32), np.float32)


def _ragged(color: F32, rng: np.random.Generator) -> None:
    """Take pieces out along the walls, where furniture hides what is behind it, and specks anywhere."""
    rows, columns = color.shape[:2]
    for _ in range(int(rng.integers(0, 9))):
        long, thin = int(rng.integers(4, 60)), int(rng.integers(2, 14))
        h, w = (thin, long) if rng.random() < 0.5 else (long, thin)
        v = int(rng.choice([0, rows - h, rng.integers(max(rows - h, 1))]))
        u = int(rng.choice([0, columns - w, rng.integers(max(columns - w, 1))]))
        u, v = (u, int(rng.choice([0, max(rows - h, 0)]))) if h < w else (int(rng.choice([0, max(columns - w, 0)])), v)
        color[max(v, 0) : v + h, max(u, 0) : u + w] = 0
    if rng.random() < 0.5:
        count = int(rng.integers(1, 150))
        color[rng.integers(rows, size=count), rng.integers(columns, size=count)] *= rng.uniform(0.3, 0.8)


def _numbers(count: int, largest: int, rng: np.random.Generator) -> list[int]:
    """Return distinct numbers: mostly those of a map of that size, else any."""
    style = rng.random()
    top = count if style < 0.35 else round(count * 1.5) if style < 0.65 else 99 if style < 0.9 else largest
    top = min(max(top, count), largest)
    return [int(n) + 1 for n in rng.permutation(top)[:count]]


def _stand(shape: tuple[int, ...], rng: np.random.Generator) -> Stand:
    angle = rng.uniform(0, 2 * np.pi)
    heading = None if rng.random() < 0.2 else np.array([np.cos(angle), np.sin(angle), 0.0])
    x, y = rng.uniform(0.2, 0.8, 2) * shape[::-1] * CELL_M
    return Stand(np.array([x, y, 0.0]), heading)


def _worn(image: U8, rng: np.random.Generator) -> U8:
    """Roughen what is known as fusion does."""
    if rng.random() < 0.3:
        return image
    known = _known(image)
    out: F32 = image.astype(np.float32)
    if rng.random() < 0.6:
        out = np.asarray(cv2.GaussianBlur(out, (3, 3), float(rng.uniform(0.3, 0.8))), np.float32)
    coarse = rng.normal(0, rng.uniform(0, 8), (40, 40)).astype(np.float32)
    out = out * np.float32(rng.uniform(0.8, 1.15)) + cv2.resize(coarse, image.shape[1::-1])[..., None]
    if rng.random() < 0.15:
        known &= ~_holes(image.shape[:2], rng)
    out = np.clip(out, 1, 255)
    out[~known] = 0
    return np.asarray(out, np.uint8)


def _known(image: np.ndarray) -> Bools:
    return np.asarray((image[..., 0] | image[..., 1] | image[..., 2]) > 0)


def _holes(shape: tuple[int, ...], rng: np.random.Generator) -> Bools:
    coarse = rng.random((shape[0] // 16 + 1, shape[1] // 16 + 1)).astype(np.float32)
    smooth = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth > rng.uniform(0.85, 1.0))


__all__ = ["PROJECT", "Picture", "PictureSettings", "picture", "pictures"]
