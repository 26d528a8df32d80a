"""Which blocks of voxels there are, and where: an index by tiles, so that a look costs what is in view, not the map."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from s3d_ros.types import F64, I32, I64, Intrinsics

_OFFSET = 1 << 20  # block coordinates lie in +-2^20: at 16 cm a block that is +-168 km
_BITS = 21
TILE_BLOCKS = 8


def block_keys(coords: I32) -> I64:
    """Return one int64 for each block's coordinates (N, 3)."""
    c = coords.astype(np.int64) + _OFFSET
    return np.asarray((c[:, 0] << (2 * _BITS)) | (c[:, 1] << _BITS) | c[:, 2])


def block_coordinates(keys: I64) -> I32:
    """Invert ``block_keys``: (N,) to (N, 3)."""
    mask = (1 << _BITS) - 1
    parts = [(keys >> (2 * _BITS)) & mask, (keys >> _BITS) & mask, keys & mask]
    return (np.stack(parts, axis=1) - _OFFSET).astype(np.int32)


class TileIndex:
    """The allocated blocks, grouped in cubes of ``TILE_BLOCKS`` blocks a side."""

    def __init__(self, block_m: float) -> None:
        self.block_m = block_m
        self._known: set[int] = set()
        self._blocks: dict[int, list[int]] = {}  # tile key -> block keys
        self._tiles = np.zeros((0, 3), np.int32)

    def __len__(self) -> int:
        return len(self._known)

    def add(self, coords: I32) -> None:
        """Make blocks (N, 3) known; those known already are left as they are."""
        keys = block_keys(coords)
        fresh = np.array([k not in self._known for k in keys.tolist()], dtype=bool)
        if not fresh.any():
            return
        tiles = block_keys(np.floor_divide(coords[fresh], TILE_BLOCKS))
        new_tiles = []
        for key, tile in zip(keys[fresh].tolist(), tiles.tolist(), strict=True):
            self._known.add(key)
            if tile not in self._blocks:
                self._blocks[tile] = []
                new_tiles.append(tile)
            self._blocks[tile].append(key)
        if new_tiles:
            self._tiles = np.concatenate([self._tiles, block_coordinates(np.array(new_tiles, np.int64))])

    def remove(self, coords: I32) -> None:
        """Forget blocks (N, 3), all of them known."""
        tiles = block_keys(np.floor_divide(coords, TILE_BLOCKS)).tolist()
        for key, tile in zip(block_keys(coords).tolist(), tiles, strict=True):
            self._known.remove(key)
            self._blocks[tile].remove(key)
        emptied = [tile for tile in dict.fromkeys(tiles) if not self._blocks[tile]]
        for tile in emptied:
            del self._blocks[tile]
        if emptied:
            self._tiles = block_coordinates(np.fromiter(self._blocks, np.int64))

    def all(self) -> I32:
        """Return the coordinates (N, 3) of all blocks, tile by tile."""
        return self.coordinates(k for keys in self._blocks.values() for k in keys)

    def coordinates(self, keys: Iterable[int]) -> I32:
        """Return the coordinates (N, 3) of block keys."""
        return block_coordinates(np.fromiter(keys, np.int64))

    def in_view(self, intrinsics: Intrinsics, T_camera_map: F64, far_m: float) -> I32:
        """Return the blocks (N, 3) whose centre a camera can see, at most ``far_m`` away, whatever hides them."""
        if not len(self._tiles) or far_m <= 0:
            return np.zeros((0, 3), np.int32)
        edge = TILE_BLOCKS * self.block_m
        centers = (self._tiles + 0.5) * edge
        near = self._visible(centers, intrinsics, T_camera_map, far_m, edge * 0.87)
        tiles = block_keys(self._tiles[near])
        keys = [k for tile in tiles.tolist() for k in self._blocks[tile]]
        if not keys:
            return np.zeros((0, 3), np.int32)
        coords = block_coordinates(np.array(keys, np.int64))
        centers = (coords + 0.5) * self.block_m
        return coords[self._visible(centers, intrinsics, T_camera_map, far_m, self.block_m * 0.87)]

    @staticmethod
    def _visible(points: F64, intrinsics: Intrinsics, T_camera_map: F64, far_m: float, radius_m: float) -> np.ndarray:
        """Which spheres around points (N, 3) meet the view's pyramid, (N,) bool."""
        p = points @ T_camera_map[:3, :3].T + T_camera_map[:3, 3]
        k = intrinsics
        inside = (p[:, 2] > -radius_m) & (p[:, 2] < far_m + radius_m)
        # Planes through the camera and the image's four edges: normals point inwards.
        for normal in (
            (k.fx, 0, k.cx + 0.5),
            (-k.fx, 0, k.width - 0.5 - k.cx),
            (0, k.fy, k.cy + 0.5),
            (0, -k.fy, k.height - 0.5 - k.cy),
        ):
            n = np.array(normal) / np.linalg.norm(normal)
            inside &= p @ n > -radius_m
        return np.asarray(inside)
