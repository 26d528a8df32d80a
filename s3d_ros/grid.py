"""A 2D grid of several layers that grows, in whole tiles, to where it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from s3d_ros.types import F64, I64

TILE_CELLS = 64


class GrowingGrid:
    """Layers over x (columns) and y (rows), row 0 at the smallest y. ``origin`` (2,) is the corner of cell (0, 0).

    Cells are centred on whole multiples of the resolution: the points of a surface lie on the lattice of its voxels,
    and must not fall on the border of two cells.
    """

    def __init__(self, resolution_m: float, layers: Mapping[str, tuple[tuple[int, ...], Any, Any]]) -> None:
        """layers: name -> (shape of one cell, dtype, value of an unknown cell)."""
        self.resolution_m = resolution_m
        self.tile_m = TILE_CELLS * resolution_m
        self._spec = dict(layers)
        self._low = np.zeros(2, np.int64)  # in tiles
        self._high = np.zeros(2, np.int64)
        self._layers = {k: np.full((0, 0, *s), fill, dtype) for k, (s, dtype, fill) in layers.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._layers[name]

    @property
    def size_bytes(self) -> int:
        """Of all layers."""
        return sum(layer.nbytes for layer in self._layers.values())

    def fill(self, name: str) -> Any:
        """Return the value of an unknown cell."""
        return self._spec[name][2]

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = (self._high - self._low)[::-1] * TILE_CELLS
        return int(rows), int(columns)

    @property
    def origin(self) -> F64:
        return self._low * self.tile_m - self.resolution_m / 2

    def tiles_at(self, xy: F64) -> I64:
        """Return the tiles (N, 2) x, y that points (N, 2) lie in."""
        return np.floor((xy + self.resolution_m / 2) / self.tile_m).astype(np.int64)

    def cover_tiles(self, tiles: Iterable[tuple[int, int]]) -> None:
        """Grow so that these tiles (x, y) lie inside."""
        self.cover(np.array(list(tiles), np.float64) * self.tile_m)

    def cover(self, xy: F64) -> None:
        """Grow so that the points (N, 2) lie inside."""
        tiles = self.tiles_at(xy)
        empty = self.shape[0] == 0
        low = tiles.min(axis=0) if empty else np.minimum(self._low, tiles.min(axis=0))
        high = tiles.max(axis=0) + 1 if empty else np.maximum(self._high, tiles.max(axis=0) + 1)
        if (low == self._low).all() and (high == self._high).all():
            return
        old_low, old_shape = self._low, self.shape
        self._low, self._high = low, high
        y, x = ((old_low - low)[::-1] * TILE_CELLS).tolist() if not empty else (0, 0)
        for name, (cell, dtype, fill) in self._spec.items():
            larger = np.full((*self.shape, *cell), fill, dtype)
            larger[y : y + old_shape[0], x : x + old_shape[1]] = self._layers[name]
            self._layers[name] = larger

    def cells(self, xy: F64) -> F64:
        """Return (column, row) of points (N, 2); whole numbers are the centres of cells."""
        return np.asarray((xy - self.origin) / self.resolution_m - 0.5)

    def tile_slices(self, tile: tuple[int, int]) -> tuple[slice, slice]:
        """Return the rows and columns of a tile (x, y)."""
        x, y = (np.array(tile) - self._low) * TILE_CELLS
        return slice(int(y), int(y) + TILE_CELLS), slice(int(x), int(x) + TILE_CELLS)
