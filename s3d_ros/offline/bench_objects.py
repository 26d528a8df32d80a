"""How long the objects of a frame take, by how many there are in the map: of real objects, composed to a building.

A hall of forty boxes is mapped until all of them are known. The map of a building is that of the hall, again and
again, side by side: every object has its voxels, its box and its evidence. Then frames of the one hall go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import open3d as o3d
import open3d.core as o3c
from rich.console import Console
from rich.table import Table

from s3d_ros.config import Config
from s3d_ros.geometry import invert
from s3d_ros.lifting import lift
from s3d_ros.objects import ObjectMap
from s3d_ros.offline.simulate.trajectory import camera_pose
from s3d_ros.past import copied
from s3d_ros.state import State
from s3d_ros.types import F64, Frame, Instances, Intrinsics
from s3d_ros.visibility import EmptySpace

_ROWS, _COLUMNS = 5, 8
_IN_VIEW = _ROWS * _COLUMNS
_OBJECTS = (_IN_VIEW, 300, 3000)
_NAMES = ("box", "crate", "bin", "case", "chest", "trunk", "tin")
_K = Intrinsics(640, 480, 525.0, 525.0, 319.5, 239.5)
_FRAME_NS = 100_000_000
_MAPPED, _MEASURED = 60, 100  # frames
_PITCH_M = 9.0  # from hall to hall: a multiple of the voxels' edge
_NO_DEPTH = 2  # masks in each frame that have none: they are looked for by place and by bearing
_LIMIT_MS, _LIMIT_GROWTH = 8.0, 1.2


def bench_objects(console: Console) -> dict[str, Any]:
    """Time each step of a frame's objects, 40 instances in view, in maps of 40, 300 and 3,000 objects, in turn."""
    config = Config()
    world = _Hall()
    with console.status("mapping a hall"):
        hall = ObjectMap(config.objects, np.array([0.0, 0.0, 1.0]))
        for k in range(_MAPPED):
            _timed(hall, world.frame(k), {})
        hall.refresh(_MAPPED * _FRAME_NS, everything=True)
    known = len(hall.snapshot())
    if known != _IN_VIEW:
        raise RuntimeError(f"{known} of the hall's {_IN_VIEW} boxes are known after {_MAPPED} frames: all must be")
    maps: dict[int, ObjectMap] = {}
    for count in _OBJECTS:
        maps[count] = ObjectMap(config.objects, hall.up)
        maps[count].restore(composed(hall.state(), count, config.objects.voxel_size_m))
    times: dict[int, dict[str, list[float]]] = {count: {} for count in _OBJECTS}
    with console.status("measuring"):
        for k in range(_MAPPED, _MAPPED + _MEASURED):
            seen = world.frame(k)
            for count in _OBJECTS if k % 2 else _OBJECTS[::-1]:
                _timed(maps[count], seen, times[count])
    return _told(times, console)


def _told(times: dict[int, dict[str, list[float]]], console: Console) -> dict[str, Any]:
    few, some, many = _OBJECTS
    table = Table(
        f"ms per frame, {_IN_VIEW} instances in view", *(f"{n} objects" for n in _OBJECTS), f"{many} / {some}"
    )
    rows: dict[str, Any] = {}
    for step in times[few]:
        medians = [float(np.median(times[n][step])) for n in _OBJECTS]
        p95 = [float(np.percentile(times[n][step], 95)) for n in _OBJECTS]
        rows[step] = {"median_ms": medians, "p95_ms": p95, "growth": medians[2] / medians[1]}
        cells = (f"{m:.2f} (p95 {p:.2f})" for m, p in zip(medians, p95, strict=True))
        table.add_row(step, *cells, f"{medians[2] / medians[1]:.2f}")
    console.print(table)
    holds = rows["observe"]["median_ms"][1] <= _LIMIT_MS and rows["observe"]["growth"] <= _LIMIT_GROWTH
    return {"objects": list(_OBJECTS), "in_view": _IN_VIEW, "steps": rows, "holds": holds}


def _timed(objects: ObjectMap, seen: tuple[Frame, Instances], times: dict[str, list[float]]) -> None:
    """Do with a frame's objects what the pipeline does, and note how long each step took, in milliseconds.

    What counts is the time of the processor, all threads together: not what others do on it, and no second core.
    """
    frame, instances = seen
    config, total = Config(), 0.0
    points = lift(frame, instances.image, objects.config.stride)
    empty = EmptySpace(frame, config.fusion.carve_margin_voxels * config.fusion.voxel_size_m, 0.006)
    steps: dict[str, Callable[[], object]] = {
        "lift": lambda: lift(frame, instances.image, objects.config.stride),
        "observe": lambda: objects.observe(frame, points, instances),
        "refresh": lambda: objects.refresh(frame.stamp_ns),
        "look (at what is gone)": lambda: objects.look(empty),
        "snapshot": objects.snapshot,
        "ids_at (for views)": lambda: objects.ids_at(points.xyz),
    }
    for name, step in steps.items():
        start = time.process_time()
        step()
        took = (time.process_time() - start) * 1e3
        times.setdefault(name, []).append(took)
        total += took
    times.setdefault("all of it", []).append(total)


def composed(state: State, count: int, voxel_m: float) -> State:
    """Return the state of a map of ``count`` objects: those of one hall, in as many halls as it takes."""
    each = len(state["objects"])
    halls = -(-count // each)
    side = int(np.ceil(np.sqrt(halls)))
    places = [(x, y) for x in range(side) for y in range(side)][:halls]
    voxels, pairs = state["voxels"], state["pairs"]
    out = copied(state)
    parts: list[State] = []
    rows: list[State] = []
    kinds: dict[str, list[State]] = {"together": [], "apart": []}
    for h, (x, y) in enumerate(places):
        shift, slots, ids = np.array([x, y, 0]) * _PITCH_M, h * state["next_slot"], h * state["next_id"]
        kept = state["objects"][: count - h * each]
        there = [t["slot"] for t in kept]
        rows += [_shifted(t, shift, slots, ids) for t in kept]
        sums = voxels["sums"].copy()
        sums[:, :3] += shift * sums[:, 3:]
        owner = np.where(np.isin(voxels["owner"], there), voxels["owner"] + slots, 0).astype(np.int32)
        moved = (voxels["places"] + np.rint(shift / voxel_m)).astype(np.int32)
        parts.append({**voxels, "places": moved, "sums": sums, "owner": owner})
        for name, joined in kinds.items():
            first = sum(len(p["seconds"]) for p in joined)
            by_view = pairs[name]["by_view"] + [first, 0, 0]
            joined.append({**pairs[name], "pairs": pairs[name]["pairs"] + slots, "by_view": by_view})
    out["objects"], out["next_slot"] = rows, halls * state["next_slot"]
    out["next_id"] = halls * state["next_id"]
    out["voxels"] = {name: np.concatenate([p[name] for p in parts]) for name in voxels}
    out["pairs"] = {k: {n: np.concatenate([p[n] for p in ps]) for n in ps[0]} for k, ps in kinds.items()}
    gone = _shifted(state["objects"][0], np.array([0.0, 0.0, 50.0]), out["next_slot"], out["next_id"])
    out["movements"]["departed"] = [{"track": gone, "state": "CONFIRMED", "gone_ns": gone["last_sight_ns"]}]
    return {**out, "next_slot": out["next_slot"] + state["next_slot"], "next_id": out["next_id"] + state["next_id"]}


def _shifted(track: State, shift: F64, slots: int, ids: int) -> State:
    box = {**track["box"], "center": (np.array(track["box"]["center"]) + shift).tolist()}
    return {**copied(track), "box": box, "slot": track["slot"] + slots, "id": track["id"] + ids}


class _Hall:
    """Forty boxes on the floor before a camera that sways."""

    def __init__(self) -> None:
        self._scene = o3d.t.geometry.RaycastingScene()
        rng = np.random.default_rng(0)
        self._add((-3.0, -4.0, -0.1), (6.0, 4.0, 0.0))
        self._add((5.0, -4.0, 0.0), (5.1, 4.0, 2.5))
        for n in range(_IN_VIEW):
            row, column = divmod(n, _COLUMNS)
            x, y = 1.5 + 0.6 * row, (column - (_COLUMNS - 1) / 2) * (0.32 + 0.05 * row)
            w, d, h = rng.uniform(0.14, 0.24, 3)
            self._add((x - d / 2, y - w / 2, 0.0), (x + d / 2, y + w / 2, h))
        self._colors = rng.integers(40, 255, (_IN_VIEW + 3, 3)).astype(np.uint8)

    def _add(self, low: tuple[float, ...], high: tuple[float, ...]) -> None:
        mesh = o3d.geometry.TriangleMesh.create_box(*(np.array(high) - np.array(low)))
        mesh.translate(np.array(low, dtype=float))
        self._scene.add_triangles(o3d.t.geometry.TriangleMesh.from_legacy(mesh))

    def frame(self, index: int) -> tuple[Frame, Instances]:
        """Render one frame and its instances; two of these have no depth."""
        T = _pose(index)
        rays = self._scene.create_rays_pinhole(o3c.Tensor(_K.matrix()), o3c.Tensor(invert(T)), _K.width, _K.height)
        hit = self._scene.cast_rays(rays)
        depth = hit["t_hit"].numpy()
        what = np.where(np.isfinite(depth), hit["geometry_ids"].numpy().astype(np.int64) + 1, 0)
        depth = np.where(np.isfinite(depth) & (depth < 5.0), depth, 0).astype(np.float32)
        image = np.maximum(what - 2, 0).astype(np.uint16)
        for n in range(_NO_DEPTH if index >= _MAPPED else 0):
            depth[image == (index * 7 + n * 19) % _IN_VIEW + 1] = 0
        stamp_ns = (index + 1) * _FRAME_NS
        numbers = tuple(int(n) for n in np.unique(image) if n)
        labels = tuple(_NAMES[n % len(_NAMES)] for n in numbers)
        frame = Frame(index, stamp_ns, self._colors[what], depth, _K, T)
        return frame, Instances(stamp_ns, image, numbers, labels, tuple(0.9 for _ in numbers))


def _pose(index: int) -> F64:
    """Return T_map_camera (4, 4): two metres up, half a metre to and fro, looking at the boxes."""
    eye = np.array([0.0, 0.5 * np.sin(index / 8), 2.0])
    x, y, z = np.array([2.5, 0.0, 0.0]) - eye
    return camera_pose(eye, np.arctan2(y, x), np.arctan2(z, np.hypot(x, y)))
