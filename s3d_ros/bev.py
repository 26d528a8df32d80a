"""The map seen from above, without the ceiling: brought up to date tile by tile, where the surface changed."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from s3d_ros.config import BevConfig
from s3d_ros.geometry import backproject, level_rotation, transform
from s3d_ros.grid import TILE_CELLS, GrowingGrid
from s3d_ros.heights import Heights
from s3d_ros.state import State
from s3d_ros.surface import Surface
from s3d_ros.tiles import block_coordinates
from s3d_ros.types import F32, F64, I64, U8, Bev, Frame

_AZIMUTHS = 480  # 0.75 degrees: one or more sampled columns each
_FLOOR_BAND_M = 0.06
_TILES_AT_ONCE = 4
_PASSING_NS = 2_000_000_000
_DRAWN = ("color", "height", "obstacle", "floor")
UNKNOWN, FREE, OCCUPIED = -1, 0, 100


class BevMap:
    """Colour, height and occupancy from above, in the ``bev`` frame (see ``types.Bev``)."""

    def __init__(self, config: BevConfig, surface: Surface, block_m: float, up: F64) -> None:
        self.config = config
        self._surface = surface
        self._block_m = block_m
        self.set_up(up)

    def set_up(self, up: F64) -> None:
        """Start anew with another direction of up, (3,) in the map frame. ``update`` must be told of every block."""
        self.T_bev_map = np.eye(4)
        self.T_bev_map[:3, :3] = level_rotation(up)
        self._grid = GrowingGrid(
            self.config.resolution_m,
            {
                "color": ((3,), np.uint8, 0),
                "height": ((), np.float32, np.nan),
                "obstacle": ((), np.bool_, False),
                "floor": ((), np.bool_, False),
                "seen": ((), np.uint8, 0),
            },
        )
        self._tile_blocks: dict[tuple[int, int], set[int]] = {}
        self._dirty: set[tuple[int, int]] = set()
        self._heights = Heights()
        self._passing: list[tuple[int, F64]] = []

    def state(self) -> State:
        """Return what can't be drawn anew from the surface: the floor plan looked over, and the heights found.

        seen: (rows y, columns x) bool, row 0 at the smallest y; its corner is at ``seen_origin_xy``.
        """
        seen = self._grid["seen"]
        return {"seen": seen > 0, "seen_origin_xy": self._grid.origin.tolist(), "heights": self._heights.state()}

    def restore(self, state: State, up: F64) -> None:
        """Start anew with what ``state`` returned when up was the same. ``update`` must be told of every block."""
        self.set_up(up)
        seen = np.asarray(state["seen"])
        if seen.size:
            first = np.array(state["seen_origin_xy"]) + self.config.resolution_m / 2  # middle of the first cell
            self._grid.cover(np.stack([first, first + (np.array(seen.shape[::-1]) - 1) * self.config.resolution_m]))
            self._grid["seen"][: seen.shape[0], : seen.shape[1]] = seen
        self._heights.restore(state["heights"])

    @property
    def size_bytes(self) -> int:
        """Of the picture's layers."""
        return self._grid.size_bytes

    def see(self, frame: Frame) -> None:
        """Note the floor plan that a frame looks over: all between the camera and the furthest point each way."""
        camera = transform(self.T_bev_map, frame.T_map_camera[None, :3, 3])[0]
        self._heights.note_camera(camera[2])
        step = max(1, frame.depth_m.shape[1] // 80)
        depth = np.ascontiguousarray(frame.depth_m[step // 2 :: step, step // 2 :: step])
        points = backproject(depth, frame.intrinsics.scaled(depth.shape[1], depth.shape[0]))[depth > 0]
        if not len(points):
            return
        ray = points @ (self.T_bev_map[:2, :3] @ frame.T_map_camera[:3, :3]).astype(np.float32).T
        reach = np.hypot(ray[:, 0], ray[:, 1])
        bins = ((np.arctan2(ray[:, 1], ray[:, 0]) / (2 * np.pi) + 0.5) * _AZIMUTHS).astype(np.int64) % _AZIMUTHS
        order = np.argsort(reach)
        furthest = np.full(_AZIMUTHS, -1)
        furthest[bins[order]] = order  # the last assignment wins: the furthest point
        used = np.flatnonzero(furthest >= 0)
        # The points themselves are the corners: along a wall they give the wall, where arcs would reach beyond it.
        rim = camera[:2] + ray[furthest[used]]
        self._grid.cover(np.vstack([rim, camera[None, :2]]))
        for run in np.split(np.arange(len(used)), np.flatnonzero(np.diff(used) > 2) + 1):
            outline = self._grid.cells(np.vstack([camera[None, :2], rim[run]]))
            cv2.fillPoly(self._grid["seen"], [np.rint(outline).astype(np.int32)], 1)

    def update(self, changed: Iterable[int]) -> None:
        """Draw anew what lies above the changed blocks (keys)."""
        self.note(changed)
        while self.has_work:
            self.step()

    def note(self, changed: Iterable[int]) -> None:
        """Note that these blocks (keys) changed; ``step`` draws."""
        keys = np.fromiter(changed, np.int64)
        if len(keys):
            self._dirty |= self._register(keys)

    @property
    def has_work(self) -> bool:
        """Whether a ``step`` has anything to do."""
        return bool(self._dirty)

    def step(self) -> None:
        """Draw some of the tiles that are to be drawn, a few milliseconds' work."""
        if not self._dirty:
            return
        self._grid.cover_tiles(self._dirty)
        for _ in range(min(_TILES_AT_ONCE, len(self._dirty))):
            self._draw(self._dirty.pop())
        if self._dirty:
            return
        floor, cut = self._heights.floor_m, self._heights.ceiling_cut_m
        if self._heights.settle(self.config.resolution_m) and (
            abs(self._heights.floor_m - floor) > 0.05 or not np.isclose(self._heights.ceiling_cut_m, cut, atol=0.1)
        ):
            self._dirty = set(self._tile_blocks)

    def note_passing(self, points: F32, now_ns: int) -> None:
        """Note where somebody is now who is not part of the map: points (N, 3) of the map. They stay for 2 seconds."""
        self._passing = [(t, p) for t, p in self._passing if 0 <= now_ns - t <= _PASSING_NS]
        if len(points):
            self._passing.append((now_ns, transform(self.T_bev_map, points)))

    def _block_by_passing(self, occupancy: np.ndarray, now_ns: int) -> None:
        for stamp_ns, p in self._passing:
            above = p[:, 2] - self._heights.floor_m
            inside = (above > self.config.step_m) & (above < self.config.robot_height_m)
            column, row = np.rint(self._grid.cells(p[inside, :2])).astype(np.int64).T
            known = (row >= 0) & (column >= 0) & (row < occupancy.shape[0]) & (column < occupancy.shape[1])
            if 0 <= now_ns - stamp_ns <= _PASSING_NS:
                occupancy[row[known], column[known]] = OCCUPIED

    def snapshot(self, now_ns: int = 0) -> Bev | None:
        """Return a copy of the picture, None before anything was drawn. now_ns: who passes by now is in the grid."""
        if not self._tile_blocks:
            return None
        g = self._grid
        # Free is where the floor itself was seen: what was only looked over may hide a step or a cable behind a box.
        gaps = np.ones((5, 5), np.uint8)
        obstacle, known = g["obstacle"], cv2.morphologyEx(g["floor"].astype(np.uint8), cv2.MORPH_CLOSE, gaps) > 0
        occupancy = np.where(obstacle, OCCUPIED, np.where(known, FREE, UNKNOWN)).astype(np.int8)
        self._block_by_passing(occupancy, now_ns)
        color, height = _fill_gaps(g["color"], g["height"])
        return Bev(
            color=np.flipud(color).copy(),
            height_m=np.flipud(height).copy(),
            occupancy=np.flipud(occupancy).copy(),
            resolution_m=self.config.resolution_m,
            origin_xy=(float(g.origin[0]), float(g.origin[1])),
            T_bev_map=self.T_bev_map.copy(),
            floor_m=self._heights.floor_m,
            ceiling_cut_m=self._heights.ceiling_cut_m,
        )

    def seen_mask(self) -> tuple[np.ndarray, F64]:
        """Return the floor plan looked over so far, (rows y, columns x) bool, and the xy (2,) of its corner."""
        return (self._grid["seen"] > 0) | self._grid["floor"], self._grid.origin

    def _register(self, keys: I64) -> set[tuple[int, int]]:
        """Note which tiles the blocks may touch; return these tiles."""
        centers = transform(self.T_bev_map, (block_coordinates(keys) + 0.5) * self._block_m)[:, :2]
        reach = self._block_m * 0.87
        low = self._grid.tiles_at(centers - reach)
        high = self._grid.tiles_at(centers + reach)
        dirty: set[tuple[int, int]] = set()
        for key, (x0, y0), (x1, y1) in zip(keys.tolist(), low.tolist(), high.tolist(), strict=True):
            for tile in {(x0, y0), (x0, y1), (x1, y0), (x1, y1)}:
                self._tile_blocks.setdefault(tile, set()).add(key)
                dirty.add(tile)
        return dirty

    def _draw(self, tile: tuple[int, int]) -> None:
        g = self._grid
        self._tile_blocks[tile] = self._surface.holding(self._tile_blocks[tile])
        points, colors = self._surface.get(sorted(self._tile_blocks[tile]))
        p = points @ self.T_bev_map[:3, :3].T.astype(np.float32)
        rows, columns = g.tile_slices(tile)
        x, y = (np.floor(g.cells(p[:, :2]) + 0.5).astype(np.int64) - (columns.start, rows.start)).T
        inside = (x >= 0) & (x < TILE_CELLS) & (y >= 0) & (y < TILE_CELLS)
        flat, height, colors = (y * TILE_CELLS + x)[inside], p[inside, 2], colors[inside]
        self._heights.count(tile, height)
        drawn = {k: np.full((TILE_CELLS**2, *g[k].shape[2:]), g.fill(k), g[k].dtype) for k in _DRAWN}

        above = height - self._heights.floor_m
        drawn["floor"][flat[np.abs(above) < _FLOOR_BAND_M]] = True
        drawn["obstacle"][flat[(above > self.config.step_m) & (above < self.config.robot_height_m)]] = True
        order = np.argsort(height)
        order = order[height[order] < self._heights.ceiling_cut_m]
        drawn["height"][flat[order]] = height[order]  # the last one wins: the highest
        drawn["color"][flat[order]] = colors[order]
        for name, values in drawn.items():
            g[name][rows, columns] = values.reshape(TILE_CELLS, TILE_CELLS, *values.shape[1:])


def _fill_gaps(color: U8, height: F32) -> tuple[U8, F32]:
    """Fill small unknown spots from their tallest neighbours: gaps of sampling, at grazing views, not of knowledge."""
    known = np.isfinite(height)
    closed = cv2.morphologyEx(known.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) > 0
    kernel = np.ones((3, 3), np.uint8)
    for _ in range(2):
        hole = closed & ~np.isfinite(height)
        height = np.where(hole, cv2.dilate(np.nan_to_num(height, nan=-np.inf), kernel), height)
        height = np.where(np.isinf(height), np.nan, height)
        color = np.where(hole[..., None], cv2.dilate(color, kernel), color)
    return color, height
