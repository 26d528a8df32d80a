"""Procedural textures that tile: an atlas of small pictures, each multiplied with the colour of what wears it."""

from __future__ import annotations

import enum
import functools

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from s3d_ros.types import F32, U8

SIZE = 256  # texels along the edge of a tile
NEUTRAL = 200  # a texel of this value leaves the colour as it is


class Texture(enum.IntEnum):
    """Layers of the atlas. Those marked *fit* are drawn once over a face, the others repeat."""

    PLAIN = 0
    WOOD = 1
    FABRIC = 2
    PLASTER = 3
    PARQUET = 4
    TILES = 5
    CARPET = 6
    METAL = 7
    LEAF = 8
    WICKER = 9
    SCREEN = 10  # fit
    KEYS = 11  # fit
    BOOKS = 12  # fit
    PICTURE = 13  # fit
    OUTDOORS = 14  # fit
    SCRIBBLE = 15  # fit
    DIAL = 16  # fit
    GRILLE = 17
    FIRE = 18  # fit
    STRIPES = 19


@functools.cache
def atlas() -> U8:
    """Return all textures, (layers, SIZE, SIZE, 3) uint8; always the same."""
    rng = np.random.default_rng(20)
    layers = np.empty((len(Texture), SIZE, SIZE, 3), dtype=np.float32)
    for texture in Texture:
        layers[texture] = _MAKERS[texture](rng)
    return np.clip(layers * NEUTRAL, 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, sigma: float | tuple[float, float], amount: float) -> F32:
    """Smooth noise that tiles, (SIZE, SIZE), of standard deviation ``amount``."""
    field = gaussian_filter(rng.standard_normal((SIZE, SIZE)), sigma, mode="wrap")
    return np.asarray(field / field.std() * amount, dtype=np.float32)


def _grey(value: NDArray[np.floating]) -> F32:
    return np.repeat(np.asarray(value, dtype=np.float32)[:, :, None], 3, axis=2)


def _plain(rng: np.random.Generator) -> F32:
    return _grey(1 + _noise(rng, 24, 0.03) + _noise(rng, 1.5, 0.015))


def _wood(rng: np.random.Generator) -> F32:
    grain = _noise(rng, (1.2, 40), 0.035) + _noise(rng, (6, 70), 0.05)
    return _grey(0.97 + grain) * np.array([1.0, 0.98, 0.95], dtype=np.float32)


def _fabric(rng: np.random.Generator) -> F32:
    y, x = np.mgrid[:SIZE, :SIZE]
    weave = 0.05 * (np.sin(x * 2 * np.pi / 8) * np.sin(y * 2 * np.pi / 8))
    return _grey(1 + weave + _noise(rng, 10, 0.06) + _noise(rng, 1, 0.03))


def _plaster(rng: np.random.Generator) -> F32:
    return _grey(1.02 + _noise(rng, 40, 0.012) + _noise(rng, 2.5, 0.008))


def _parquet(rng: np.random.Generator) -> F32:
    out = np.empty((SIZE, SIZE), dtype=np.float32)
    rows, length = SIZE // 8, SIZE // 2
    for i in range(8):
        offset = int(rng.integers(SIZE))
        for j in range(2):
            columns = (offset + j * length + np.arange(length)) % SIZE
            plank = 1 + rng.normal(0, 0.09) + _noise(rng, (1, 25), 0.04)[:rows, :length]
            plank[:, :1] *= 0.6
            plank[:1] *= 0.65
            out[i * rows : (i + 1) * rows, columns] = plank
    return _grey(out)


def _tiles(rng: np.random.Generator) -> F32:
    edge = SIZE // 4
    shade = np.kron(1 + rng.normal(0, 0.03, (4, 4)), np.ones((edge, edge)))
    y, x = np.mgrid[:SIZE, :SIZE] % edge
    shade[(x < 3) | (y < 3)] = 0.72
    return _grey(shade + _noise(rng, 6, 0.02))


def _carpet(rng: np.random.Generator) -> F32:
    return _grey(1 + _noise(rng, 0.8, 0.07) + _noise(rng, 18, 0.05))


def _metal(rng: np.random.Generator) -> F32:
    return _grey(1 + _noise(rng, (0.7, 60), 0.03) + _noise(rng, 40, 0.04))


def _leaf(rng: np.random.Generator) -> F32:
    return _grey(1 + _noise(rng, 6, 0.15) + _noise(rng, 1.2, 0.06))


def _wicker(rng: np.random.Generator) -> F32:
    y, x = np.mgrid[:SIZE, :SIZE]
    bands = np.sin(y * 2 * np.pi / 16) * np.where((x // 16 + y // 16) % 2, 1, -1)
    return _grey(0.95 + 0.16 * bands + _noise(rng, 2, 0.04))


def _screen(rng: np.random.Generator) -> F32:
    """A desktop with windows: bright, or a TV picture in the dark."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    out = np.stack([0.12 + 0.15 * x, 0.22 + 0.25 * y, 0.45 + 0.2 * x * y], axis=2).astype(np.float32)
    for _ in range(3):
        r, c = rng.integers(10, 120, 2)
        h, w = rng.integers(60, 120, 2)
        out[r : r + h, c : c + w] = rng.uniform(0.75, 1.1, 3)
        out[r : r + 10, c : c + w] = rng.uniform(0.2, 0.6, 3)
        for line in range(r + 18, r + h - 6, 9):
            out[line : line + 3, c + 8 : c + 8 + int(rng.integers(20, w - 12))] = 0.35
    out[-12:] = 0.15
    return out


def _keys(rng: np.random.Generator) -> F32:
    out = np.full((SIZE, SIZE), 0.55, dtype=np.float32)
    row = SIZE // 5
    for i in range(5):
        left = 0
        while left < SIZE - 8:
            width = int(rng.integers(14, 22)) if i < 4 or not 60 < left < 150 else 90
            out[i * row + 5 : (i + 1) * row - 4, left + 3 : min(left + width, SIZE - 3)] = 1.0
            left += width
    return _grey(out + _noise(rng, 3, 0.02))


def _books(rng: np.random.Generator) -> F32:
    out = np.full((SIZE, SIZE, 3), 0.18, dtype=np.float32)
    left = 0
    while left < SIZE:
        width, top = int(rng.integers(7, 20)), int(rng.integers(10, 70))
        cover = rng.uniform(0.2, 1.1, 3).astype(np.float32)
        out[top:, left : left + width - 1] = cover
        out[top + 20 : top + 32, left + 2 : left + width - 3] = np.clip(cover + 0.35, 0, 1.2)
        left += width
    return out


def _picture(rng: np.random.Generator) -> F32:
    """An abstract landscape in soft colours, framed."""
    y = np.mgrid[:SIZE, :SIZE][0] / SIZE
    palette = np.array([[0.95, 0.8, 0.6], [0.85, 0.5, 0.4], [0.35, 0.45, 0.6], [0.25, 0.35, 0.35]])
    band = np.clip(3.4 * (y + _noise(rng, (8, 40), 0.09)), 0, 2.999)
    low = band.astype(int)
    share = (band - low)[:, :, None] > 0.5 + _noise(rng, 10, 0.25)[:, :, None]
    out = np.where(share, palette[low + 1], palette[low]) + _noise(rng, 4, 0.03)[:, :, None]
    out[:10], out[-10:], out[:, :10], out[:, -10:] = 0.12, 0.12, 0.12, 0.12
    return np.clip(out, 0.05, 1.25).astype(np.float32)


def _outdoors(rng: np.random.Generator) -> F32:
    """What is seen through a window: sky, a hill, and the bars of the frame."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    sky = np.stack([0.75 + 0.3 * y, 0.9 + 0.2 * y, 1.2 - 0.05 * y], axis=2)
    hill = y > 0.62 + 0.1 * np.sin(x * 6.3) + _noise(rng, 12, 0.02)
    out = np.where(hill[:, :, None], np.array([0.42, 0.6, 0.33]), sky) + _noise(rng, 9, 0.04)[:, :, None]
    bars = (np.abs(x - 0.5) < 0.015) | (np.abs(y - 0.45) < 0.012) | (np.minimum(x, 1 - x) < 0.03)
    bars |= np.minimum(y, 1 - y) < 0.03
    out[bars] = 1.1
    return out.astype(np.float32)


def _scribble(rng: np.random.Generator) -> F32:
    out = np.full((SIZE, SIZE, 3), 1.12, dtype=np.float32)
    for _ in range(14):
        r, c = rng.integers(20, SIZE - 60, 2)
        ink = np.array([[0.2, 0.3, 0.8], [0.8, 0.2, 0.2], [0.15, 0.15, 0.15]][int(rng.integers(3))])
        walk = np.cumsum(rng.integers(-3, 4, 60))
        columns = np.clip(c + np.arange(60), 0, SIZE - 2)
        rows = np.clip(r + walk // 2, 1, SIZE - 3)
        out[rows, columns], out[rows + 1, columns] = ink, ink
    return out.astype(np.float32)


def _dial(rng: np.random.Generator) -> F32:
    y, x = np.mgrid[:SIZE, :SIZE] / (SIZE / 2) - 1
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    out = np.full((SIZE, SIZE), 1.15, dtype=np.float32)
    out[(radius > 0.75) & (radius < 0.9) & (np.abs(np.mod(angle * 6 / np.pi + 0.5, 1) - 0.5) < 0.12)] = 0.2
    out[(np.abs(x) < 0.04) & (y > -0.65) & (y < 0)] = 0.15
    out[(np.abs(y) < 0.05) & (x > 0) & (x < 0.45)] = 0.15
    return _grey(out + _noise(rng, 8, 0.02))


def _grille(rng: np.random.Generator) -> F32:
    y = np.mgrid[:SIZE, :SIZE][0]
    return _grey(np.where(y % 32 < 9, 0.55, 1.0) + _noise(rng, 12, 0.03))


def _fire(rng: np.random.Generator) -> F32:
    y = np.mgrid[:SIZE, :SIZE][0] / SIZE
    heat = np.clip(y * 1.3 - 0.35 + _noise(rng, (30, 9), 0.22), 0, 1)
    return np.stack([0.12 + 1.1 * heat, 0.08 + 0.65 * heat**1.5, 0.06 + 0.2 * heat**3], axis=2).astype(np.float32)


def _stripes(rng: np.random.Generator) -> F32:
    x = np.mgrid[:SIZE, :SIZE][1]
    return _grey(np.where((x // 32) % 2, 0.72, 1.08) + _noise(rng, 8, 0.04))


_MAKERS = {
    Texture.PLAIN: _plain,
    Texture.WOOD: _wood,
    Texture.FABRIC: _fabric,
    Texture.PLASTER: _plaster,
    Texture.PARQUET: _parquet,
    Texture.TILES: _tiles,
    Texture.CARPET: _carpet,
    Texture.METAL: _metal,
    Texture.LEAF: _leaf,
    Texture.WICKER: _wicker,
    Texture.SCREEN: _screen,
    Texture.KEYS: _keys,
    Texture.BOOKS: _books,
    Texture.PICTURE: _picture,
    Texture.OUTDOORS: _outdoors,
    Texture.SCRIBBLE: _scribble,
    Texture.DIAL: _dial,
    Texture.GRILLE: _grille,
    Texture.FIRE: _fire,
    Texture.STRIPES: _stripes,
}
