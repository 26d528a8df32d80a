"""TSDF and colour fusion in an Open3D VoxelBlockGrid, with space that is seen to be empty carved away.

Open3D's own integration touches only blocks near the observed depth (Dong et al., ASH, TPAMI 2022), so what was
mapped and then removed would stay for ever: ``carve`` visits the allocated blocks in the view as well.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import open3d as o3d
import open3d.core as o3c

from s3d_ros.blocks import Blocks
from s3d_ros.config import FusionConfig
from s3d_ros.geometry import invert, millimetres
from s3d_ros.state import State, joined, put, taken
from s3d_ros.tiles import TileIndex, block_keys
from s3d_ros.types import F32, I32, I64, U8, Bools, Frame
from s3d_ros.visibility import EmptySpace

# Whole millimetres and 8-bit colour: Open3D's integer kernel takes half the time of the float one.
DEPTH_SCALE = 1000.0

# In states: signed distance in steps of a 32767th of the truncation, which is 2 micrometres
_TSDF_STEPS = 32767.0
_MOST_WEIGHT = 60000.0
_NO_MORE = -1.0  # weight in a block that was given back
_AT_ONCE = 256  # blocks
_REMEMBERED = ("_last_ns", "_turn")
# A voxel with more is free space, as far from the surface as distances are kept
_FREE = 0.99
# A block in which after so long no voxel near a surface was seen as often as surface must be: noise of depth
_DOUBTFUL_S = 30.0
_DOUBTED_AT_ONCE = 4096  # blocks, so that no frame waits for all of a map that was loaded

# Where a block is probed for being seen through, in units of its edge: its corners and its middle.
_PROBES = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)] + [[0.5] * 3], np.float32)

_BALL = np.array([[x, y, z] for x in range(-2, 3) for y in range(-2, 3) for z in range(-2, 3)
                  if x * x + y * y + z * z <= 5], np.int32)  # fmt: skip


class Fusion:
    """The surface as signed distance in blocks of voxels.

    Blocks are named by their integer coordinates (x, y, z) in units of the block's edge, or by one int64 key
    (``tiles.block_keys``). Weights count the frames that saw a voxel; ``carve`` cuts them to ``max_weight`` in blocks
    that a frame looks through somewhere.
    """

    def __init__(self, config: FusionConfig) -> None:
        self.config = config
        self.block_m = config.voxel_size_m * config.block_voxels
        # Open3D asks for more than the threshold, and weights are whole but where they faded.
        self.weight_threshold = config.min_weight - 0.5
        self._device = o3c.Device(config.device)
        self.reset()

    def reset(self, blocks: int | None = None) -> None:
        """Forget everything; there is room for so many blocks at once."""
        c = self.config
        self._blocks = Blocks(
            c.voxel_size_m, c.block_voxels, self._device, c.initial_blocks if blocks is None else blocks
        )
        self.index = TileIndex(self.block_m)
        self._dirty: set[int] = set()
        self._watched: set[int] | None = None
        self._emptied: set[int] = set()  # by carving: to be given back
        self._opened_ns: dict[int, int] = {}  # of blocks that may be noise, oldest first: when they were opened
        self._last_ns: int | None = None
        self._turn = 0

    def __len__(self) -> int:
        """Number of blocks allocated."""
        return len(self._blocks)

    @property
    def size_bytes(self) -> int:
        """Of the blocks in use: distance, weight and colour as float32."""
        return len(self) * self.config.block_voxels**3 * 5 * 4

    def integrate(self, frame: Frame) -> None:
        """Fuse one frame. Frames without any valid depth change nothing."""
        depth_mm = millimetres(frame.depth_m)
        if not depth_mm.any():
            return
        depth = o3d.t.geometry.Image(o3c.Tensor.from_numpy(depth_mm)).to(self._device)
        color = o3d.t.geometry.Image(o3c.Tensor.from_numpy(np.ascontiguousarray(frame.color)))
        K = o3c.Tensor(frame.intrinsics.matrix())
        T_camera_map = o3c.Tensor(invert(frame.T_map_camera))
        max_m = float(depth_mm.max()) / DEPTH_SCALE + 1.0  # the frame assembler has cut the depth already
        trunc = self.config.truncation_voxels
        coords = self._blocks.touched(depth, K, T_camera_map, DEPTH_SCALE, max_m, trunc)
        turn = self._whose_turn(coords, frame.stamp_ns)
        if not turn.any():
            return
        coords = coords[turn]
        self._opened_ns |= dict.fromkeys(block_keys(coords[self.slots(coords) < 0]).tolist(), frame.stamp_ns)
        self._blocks.integrate(coords, depth, color.to(self._device), K, T_camera_map, DEPTH_SCALE, max_m, trunc)
        self.index.add(coords)
        self._note(coords)

    def _whose_turn(self, coords: I32, stamp_ns: int) -> Bools:
        """Return which blocks (N, 3) take part, (N,): of a fast camera's frames each fuses every second block.

        Two frames in ``block_period_s`` show nearly the same, and fusing is most of a frame's cost. New blocks, and
        frames that come slower, wait for no turn.
        """
        is_fast = self._last_ns is not None and 0 <= stamp_ns - self._last_ns < self.config.block_period_s * 1e9
        self._last_ns, self._turn = stamp_ns, 1 - self._turn
        if not is_fast:
            return np.ones(len(coords), bool)
        return np.asarray((coords.sum(axis=1) % 2 == self._turn) | (self.slots(coords) < 0))

    def carve(self, empty: EmptySpace, part: int = 0, parts: int = 1) -> int:
        """Let evidence fade where a frame looks through it; return the number of voxels that faded.

        Three sights suffice to take a voxel off the surface, one doesn't. part: only every ``parts``-th block.
        """
        coords = self.index.in_view(empty.frame.intrinsics, empty.T_camera_map, empty.far_m)
        coords = coords[coords.sum(axis=1) % parts == part]
        if not len(coords):
            return 0
        probes = (coords[:, None, :] + _PROBES[None]) * np.float32(self.block_m)
        through = empty.contains(probes.reshape(-1, 3))
        coords = coords[through.reshape(len(coords), -1).any(axis=1)]
        if not len(coords):
            return 0
        slots = self.slots(coords)
        weight, tsdf = self._blocks.gather("weight", slots), self._blocks.gather("tsdf", slots)
        flat = np.minimum(weight, self.config.max_weight).reshape(len(slots), -1)
        rows, voxels = np.nonzero((tsdf.reshape(flat.shape) < _FREE) & (flat > 0))
        points = (coords[rows] * np.float32(self.block_m)) + self._voxel_offsets()[voxels]
        gone = empty.contains(points)
        rows, voxels = rows[gone], voxels[gone]
        faded = np.minimum(flat[rows, voxels], 4 * self.config.min_weight) / 2
        flat[rows, voxels] = np.where(faded < 0.5, 0, faded)
        self._blocks.scatter("weight", slots, flat.reshape(weight.shape))
        changed = np.unique(rows)
        self._note(coords[changed])
        left = (flat[changed] > 0) & (tsdf.reshape(flat.shape)[changed] < _FREE)
        self._emptied.update(block_keys(coords[changed[~left.any(axis=1)]]).tolist())
        return len(rows)

    def _note(self, coords: I32) -> None:
        keys = block_keys(coords).tolist()
        self._dirty.update(keys)
        if self._watched is not None:
            self._watched.update(keys)

    def erase(self, points: F32) -> None:
        """Forget the surface around points (N, 3): what is known to be no more, though nobody has seen through it."""
        if not len(points):
            return
        b, voxel_m = self.config.block_voxels, np.float32(self.config.voxel_size_m)
        near = np.rint(points / voxel_m).astype(np.int32)[:, None] + _BALL[None]
        cells = near.reshape(-1, 3)
        cells = cells[np.unique(block_keys(cells), return_index=True)[1]]
        coords = np.floor_divide(cells, b)
        slots = self.slots(coords)
        cells, coords, slots = cells[slots >= 0], coords[slots >= 0], slots[slots >= 0]
        if not len(slots):
            return
        unique, row = np.unique(slots, return_inverse=True)
        weight = self._blocks.gather("weight", unique)
        x, y, z = (cells - coords * b).T
        weight[row, z, y, x] = 0
        self._blocks.scatter("weight", unique, weight)
        self._note(coords)
        self._emptied.update(block_keys(coords).tolist())

    def release(self, rest: Callable[[], None]) -> None:
        """Give the memory back of a map that nobody needs any longer. rest: called between short steps."""
        while self._blocks.release_some():
            rest()

    def _give_back(self) -> None:
        """Let go of blocks that hold no surface any longer, and of those that after ``_DOUBTFUL_S`` hold none yet.

        They change by that once more, so whoever is told of changes learns that nothing is there.
        """
        emptied, self._emptied = sorted(self._emptied), set()
        self._let_go(emptied, 0.0)
        now_ns, old = self._last_ns or 0, []
        for key, opened_ns in islice(self._opened_ns.items(), _DOUBTED_AT_ONCE):
            if abs(now_ns - opened_ns) < _DOUBTFUL_S * 1e9:  # a clock may go back
                break
            old.append(key)
        for key in old:
            del self._opened_ns[key]
        self._let_go(old, self.weight_threshold)

    def _let_go(self, keys: list[int], weight: float) -> None:
        """Forget those of some blocks in which no voxel near a surface has more than this weight."""
        for coords in _parts(self.index.coordinates(keys)):
            slots = self.slots(coords)
            coords, slots = coords[slots >= 0], slots[slots >= 0]
            near = self._blocks.gather("tsdf", slots) < _FREE
            strongest = (self._blocks.gather("weight", slots) * near).reshape(len(slots), -1).max(axis=1, initial=0)
            coords, slots = coords[strongest <= weight], slots[strongest <= weight]
            if len(slots):
                self._blocks.remove(slots)
                self.index.remove(coords)
                self._note(coords)
                for key in block_keys(coords).tolist():
                    self._opened_ns.pop(key, None)

    def take_dirty(self) -> I32:
        """Return the coordinates (N, 3) of the blocks changed since the last call; some of them are no more."""
        self._give_back()
        keys, self._dirty = self._dirty, set()
        return self.index.coordinates(keys)

    def watch(self, on: bool) -> I32:
        """Begin, go on, or end noting which blocks change; return the coordinates (N, 3) of those noted so far."""
        keys, self._watched = self._watched or set(), set() if on else None
        return self.index.coordinates(keys)

    def state(self, coords: I32 | None = None) -> State:
        """Return blocks (N, 3), all if None, with int16 distances, float16 weights and uint8 colours: 3.5 kB a block.

        States of parts make that of all: see ``joined``. A block that is no more is said to be so.
        """
        if coords is None:
            parts = [self.state(part) for part in _parts(self.index.all())]
            return joined(parts) if parts else self.state(np.zeros((0, 3), np.int32))
        slots = self.slots(coords)
        there = slots >= 0
        weight = self._blocks.gather("weight", np.maximum(slots, 0))
        known = (weight > 0) & there[:, None, None, None, None]
        weight[~there] = _NO_MORE
        tsdf = self._blocks.gather("tsdf", np.maximum(slots, 0))
        steps = np.maximum(np.rint(np.abs(tsdf) * np.float32(_TSDF_STEPS)), 1)  # what lies inside stays inside
        tsdf = np.copysign(steps, tsdf) * (known & (tsdf != 0))
        color = np.clip(self._blocks.gather("color", np.maximum(slots, 0)) * known + np.float32(0.5), 0, 255)
        return {
            **taken(self, _REMEMBERED),
            "blocks": coords,
            "tsdf": tsdf[..., 0].astype(np.int16),
            "weight": np.minimum(weight[..., 0], np.float32(_MOST_WEIGHT)).astype(np.float16),
            "color": color.astype(np.uint8),
        }

    def scale_weights(self, factor: float) -> None:
        """Make every sight so far count for so many."""
        self._blocks.scale("weight", factor)

    def restore(self, state: State, rest: Callable[[], None] = lambda: None) -> None:
        """Forget what there is and take over what ``state`` returned. rest: called between short steps."""
        coords = np.ascontiguousarray(state["blocks"], dtype=np.int32)
        self.reset(0)
        put(self, state, _REMEMBERED)
        self.index.add(coords)
        self._dirty = set(block_keys(coords).tolist())
        self._opened_ns = dict.fromkeys(block_keys(coords).tolist(), self._last_ns or 0)
        done = 0
        for part in _parts(coords):  # in parts, because Python's lock is held meanwhile
            rows = slice(done, done + len(part))
            done += len(part)
            where = self._blocks.activate(part)
            self._blocks.scatter("tsdf", where, state["tsdf"][rows, ..., None] / np.float32(_TSDF_STEPS))
            self._blocks.scatter("weight", where, state["weight"][rows, ..., None].astype(np.float32))
            self._blocks.scatter("color", where, state["color"][rows].astype(np.float32))
            rest()

    def inside_counts(self, coords: I32) -> tuple[I64, I64]:
        """Return how many voxels of each block (N,) lie inside of things, and how many are known at all.

        Of a block that is no more -1 is known.
        """
        slots = self.slots(coords)
        tsdf, weight = self.blocks(slots)
        known = weight > self.weight_threshold
        inside = known & (tsdf < 0)
        counts = [a.reshape(len(slots), -1).sum(axis=1) for a in (inside, known)]
        return counts[0], np.where(slots < 0, -1, counts[1])

    def slots(self, coords: I32) -> I64:
        """Return where blocks (N, 3) are kept, (N,), -1 for those not allocated."""
        return self._blocks.find(coords)

    def blocks(self, slots: I64) -> tuple[F32, F32]:
        """Return tsdf and weight (N, B, B, B) of blocks, axes z, y, x; where the slot is -1, the weight is 0."""
        known = np.maximum(slots, 0)
        tsdf, weight = self._blocks.gather("tsdf", known)[..., 0], self._blocks.gather("weight", known)[..., 0]
        weight[slots < 0] = 0
        return tsdf, weight

    def colors(self, slots: I64, voxels: I64) -> F32:
        """Return the colours (N, 3) in 0..255 of single voxels, each named by its block's slot and its place there."""
        return self._blocks.colors(slots, voxels)

    def extract(self) -> tuple[F32, U8]:
        """Return the whole surface: points (N, 3) and colours (N, 3). Costs time with the size of the map."""
        if len(self) == 0:
            return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8)
        cloud = self._blocks.whole().extract_point_cloud(self.weight_threshold).cpu()
        colors = cloud.point.colors.numpy() * 255 + 0.5
        return cloud.point.positions.numpy(), np.clip(colors, 0, 255).astype(np.uint8)

    def mesh(self) -> o3d.t.geometry.TriangleMesh:
        """Return the whole surface as triangles, on the CPU."""
        return self._blocks.whole().extract_triangle_mesh(self.weight_threshold).cpu()

    def _voxel_offsets(self) -> F32:
        """Positions (B^3, 3) of a block's voxels relative to its corner; x runs fastest."""
        b = self.config.block_voxels
        z, y, x = np.meshgrid(*[np.arange(b, dtype=np.float32)] * 3, indexing="ij")
        return np.stack([x, y, z], axis=-1).reshape(-1, 3) * np.float32(self.config.voxel_size_m)


def _parts(coords: I32) -> list[I32]:
    return [coords[start : start + _AT_ONCE] for start in range(0, len(coords), _AT_ONCE)]
