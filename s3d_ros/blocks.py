"""Blocks of voxels in Open3D's VoxelBlockGrids: in many small ones, because a large one takes long to make.

Open3D clears a grid's memory with Python's lock held, a tenth of a second for 20,000 blocks, and grows by making
another one of twice the size. Here a grid is full at some hundred blocks, and the next one is begun: 3 ms.
"""

from __future__ import annotations

import numpy as np
import open3d as o3d
import open3d.core as o3c

from s3d_ros.numbering import Numbering
from s3d_ros.types import F32, I32, I64

ATTRIBUTES = ("tsdf", "weight", "color")
_CHANNELS = (1, 1, 3)
_PAGE = 384  # blocks of a grid
# Open3D grows a grid to which it is told to add more than there is room for, though they be in it already.
_AT_ONCE = 128
_FIRST_BLOCKS = 1 << 15


class Blocks:
    """Signed distance, weight and colour of all voxels. A block's slot is its number: it holds until ``remove``."""

    def __init__(self, voxel_m: float, block_voxels: int, device: o3c.Device, blocks: int = 0) -> None:
        """blocks: that room is made for at once."""
        self._voxel_m, self._edge, self._device = voxel_m, block_voxels, device
        self._numbers = Numbering(_FIRST_BLOCKS)
        self._pages: list[o3d.t.geometry.VoxelBlockGrid] = []
        self._rows: list[I64] = []  # of each page: where in the grid its blocks are
        for _ in range(max(1, -(-blocks // _PAGE))):
            self._begin_page()

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def _on_cpu(self) -> bool:
        return bool(self._device.get_type() == o3c.Device.DeviceType.CPU)

    def find(self, coords: I32) -> I64:
        """Return the slots (N,) of blocks (N, 3), -1 for those that are not there."""
        return self._numbers.find(coords)

    def touched(self, depth: o3d.t.geometry.Image, *camera: o3c.Tensor | float) -> I32:
        """Return the blocks (N, 3) near the surface that a depth image shows. camera: as Open3D wants it."""
        blocks = self._pages[0].compute_unique_block_coordinates(depth, *camera)
        return np.asarray(blocks.cpu().numpy())

    def activate(self, coords: I32) -> I64:
        """Make those of some blocks (N, 3) that are not there yet; return the slots of all."""
        slots = self.find(coords)
        absent = slots < 0
        if not absent.any():
            return slots
        new = np.ascontiguousarray(coords[absent], dtype=np.int32)
        added = self._numbers.add(new)
        slots[absent] = added
        pages = added // _PAGE
        for page in np.unique(pages).tolist():
            while page >= len(self._pages):
                self._begin_page()
            mine = np.flatnonzero(pages == page)
            for start in range(0, len(mine), _AT_ONCE):
                part = mine[start : start + _AT_ONCE]
                rows, _ = self._pages[page].hashmap().activate(o3c.Tensor.from_numpy(new[part]).to(self._device))
                self._rows[page][added[part] - page * _PAGE] = rows.cpu().numpy()
        return slots

    def remove(self, slots: I64) -> None:
        """Forget the blocks in some slots (N,), no two of which are the same; the slots are given to others."""
        for name, channels in zip(ATTRIBUTES, _CHANNELS, strict=True):  # the next one begins with nothing
            self.scatter(name, slots, np.zeros((len(slots), *(self._edge,) * 3, channels), np.float32))
        pages = slots // _PAGE
        for page in np.unique(pages).tolist():
            coords = np.ascontiguousarray(self._numbers.keys[slots[pages == page]])
            self._pages[page].hashmap().erase(o3c.Tensor.from_numpy(coords).to(self._device))
        self._numbers.remove(slots)

    def integrate(
        self, coords: I32, depth: o3d.t.geometry.Image, color: o3d.t.geometry.Image, *camera: o3c.Tensor | float
    ) -> None:
        """Fuse a frame into blocks (N, 3); what there is not yet is made. camera: as Open3D wants it."""
        pages = self.activate(coords) // _PAGE
        for page in np.unique(pages).tolist():
            mine = np.ascontiguousarray(coords[pages == page])
            for start in range(0, len(mine), _AT_ONCE):
                part = o3c.Tensor.from_numpy(mine[start : start + _AT_ONCE]).to(self._device)
                self._pages[page].integrate(part, depth, color, *camera)

    def gather(self, name: str, slots: I64) -> F32:
        """Return an attribute (N, B, B, B, channels) of the blocks in some slots (N,); the axes are z, y, x."""
        pages = slots // _PAGE
        found = np.unique(pages).tolist()
        if len(found) == 1:
            return self._gather(found[0], name, slots)
        out = np.empty((len(slots), *(self._edge,) * 3, _CHANNELS[ATTRIBUTES.index(name)]), np.float32)
        for page in found:
            mine = pages == page
            out[mine] = self._gather(page, name, slots[mine])
        return out

    def scatter(self, name: str, slots: I64, data: F32) -> None:
        """Set an attribute of the blocks in some slots (N,)."""
        pages = slots // _PAGE
        for page in np.unique(pages).tolist():
            mine = pages == page
            rows, values = self._rows_of(page, slots[mine]), self._pages[page].attribute(name)
            if self._on_cpu:
                values.numpy()[rows] = data[mine]  # shares memory
            else:
                values[o3c.Tensor.from_numpy(rows).to(self._device)] = o3c.Tensor.from_numpy(data[mine]).to(
                    self._device
                )

    def colors(self, slots: I64, voxels: I64) -> F32:
        """Return the colours (N, 3) of single voxels, each named by its block's slot and its place there."""
        out = np.empty((len(slots), 3), np.float32)
        pages = slots // _PAGE
        for page in np.unique(pages).tolist():
            mine = pages == page
            rows = self._rows_of(page, slots[mine]) * self._edge**3 + voxels[mine]
            values = self._pages[page].attribute("color").reshape((-1, 3))
            if self._on_cpu:
                out[mine] = values.numpy()[rows]
            else:
                out[mine] = values[o3c.Tensor.from_numpy(rows).to(self._device)].cpu().numpy()
        return out

    def scale(self, name: str, factor: float) -> None:
        """Multiply an attribute of all blocks."""
        for page in self._pages:
            values = page.attribute(name)
            values *= factor

    def release_some(self) -> bool:
        """Give some of the memory back; nothing can be asked any longer. Return whether there is more."""
        if self._pages:
            self._pages.pop()
        return bool(self._pages)

    def whole(self) -> o3d.t.geometry.VoxelBlockGrid:
        """Return a copy of all in one grid, to extract the surface from. Costs time with the size of the map."""
        grid = _new_grid(self._voxel_m, self._edge, len(self) + _AT_ONCE, self._device)
        used = self._numbers.used
        for start in range(0, len(used), _AT_ONCE):
            slots = used[start : start + _AT_ONCE]
            part = np.ascontiguousarray(self._numbers.keys[slots])
            rows, _ = grid.hashmap().activate(o3c.Tensor.from_numpy(part).to(self._device))
            at = rows.cpu().numpy().astype(np.int64)
            for name in ATTRIBUTES:
                values, data = grid.attribute(name), self.gather(name, slots)
                if self._on_cpu:
                    values.numpy()[at] = data
                else:
                    values[o3c.Tensor.from_numpy(at).to(self._device)] = o3c.Tensor.from_numpy(data).to(self._device)
        return grid

    def _begin_page(self) -> None:
        self._pages.append(_new_grid(self._voxel_m, self._edge, _PAGE + _AT_ONCE, self._device))
        self._rows.append(np.zeros(_PAGE, np.int64))

    def _rows_of(self, page: int, slots: I64) -> I64:
        return np.asarray(self._rows[page][slots - page * _PAGE])

    def _gather(self, page: int, name: str, slots: I64) -> F32:
        values, rows = self._pages[page].attribute(name), self._rows_of(page, slots)
        if self._on_cpu:
            return np.asarray(values.numpy()[rows])
        return np.asarray(values[o3c.Tensor.from_numpy(rows).to(self._device)].cpu().numpy())


def _new_grid(voxel_m: float, block_voxels: int, capacity: int, device: o3c.Device) -> o3d.t.geometry.VoxelBlockGrid:
    sizes = tuple(o3c.SizeVector((n,)) for n in _CHANNELS)
    return o3d.t.geometry.VoxelBlockGrid(ATTRIBUTES, (o3c.float32,) * 3, sizes, voxel_m, block_voxels, capacity, device)
