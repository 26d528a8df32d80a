"""`s3d bench --only corrections tour hour`: what a map is worth after jumps, a long way round, an hour of the same.

All frames are simulated as they are needed, nothing is written but the figures.
"""

from __future__ import annotations

import resource
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from scipy.spatial.transform import Rotation

from s3d_ros.config import Config
from s3d_ros.offline.simulate.config import SimulateConfig
from s3d_ros.offline.simulate.frames import Sample, iter_frames
from s3d_ros.offline.simulate.trajectory import Trajectory, tour
from s3d_ros.offline.simulate.world import World, scene_from_layouts
from s3d_ros.pipeline import Pipeline
from s3d_ros.types import F64, OrientedBox, PosePath, Scene, SceneObject

_JUMPS_S, _LAG_S = (12.0, 25.0), 30.0  # the second correction comes while the map is made anew after the first
_REMAKING_S = 15.0  # for so long frames come while it is made anew
_SHIFTS = ((0.4, 0.3, 10.0), (-0.3, 0.4, -10.0))  # metres, metres, degrees: half a metre each
_SAME_M, _BOX_M = 0.4, 0.05
_TOUR_S, _START_S = 300.0, 40.0
_HOUR_S, _LAP_S, _SLOW_FPS = 3600.0, 60.0, 5.0
LIMITS = {"ids_kept": 0.98, "boxes_within_5cm": 1.0, "tour_ids": 0.98, "hour_growth": 0.01}


@dataclass
class Followed:
    """What one run said. said: true ID -> IDs said of it; early, late: of that, in the first and the last seconds."""

    scene: Scene
    merged: dict[int, int]
    early: dict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    late: dict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))

    def resolved(self, counts: Counter[int]) -> int:
        """Return the ID that was said most often, as it stands at the end."""
        return self.merged.get(best := counts.most_common(1)[0][0], best)


def corrections(layouts: Sequence[Path | str], noise: str, console: Console) -> dict[str, Any]:
    """Jumps of 0.5 m and 10 degrees, each corrected by a path 30 s later; beside the same run without."""
    rows = []
    for path in layouts:
        with console.status(f"corrections: {Path(path).stem}"):
            rows.append(_corrected(path, noise))
    known = sum(r["known_before"] for r in rows)
    return {
        "noise": noise,
        "rows": rows,
        "ids_kept": sum(r["ids_kept"] for r in rows) / max(known, 1),
        "ids_kept_without": sum(r["ids_kept_without"] for r in rows) / max(known, 1),
        "objects": sum(r["objects"] for r in rows) / max(sum(r["objects_without"] for r in rows), 1),
        "boxes_within_5cm": float(np.mean([d <= _BOX_M for r in rows for d in r["box_errors_m"]])),
        "median_box_error_m": float(np.median([d for r in rows for d in r["box_errors_m"]])),
    }


def _corrected(path: Path | str, noise: str) -> dict[str, Any]:
    world, options = _world([path], noise)
    way = tour(world, options.tour, fps=options.fps, seed=0)
    without = _follow(_samples(world, way, options, noise), {}, _JUMPS_S[0])
    errors = _errors(way)
    with_jumps = _follow(_samples(world, way, options, noise), errors, _JUMPS_S[0])
    boxes = {t.id: t.box for t in world.things}
    kept, lost = _kept(with_jumps, boxes)
    distances = [_box_error(o, with_jumps.scene) for o in without.scene.objects]
    return {
        "name": Path(path).stem,
        "seconds": round(len(way) / way.fps, 1),
        "known_before": len(with_jumps.early),
        "ids_kept": kept,
        "ids_kept_without": _kept(without, boxes)[0],
        "lost": lost,
        "objects_without": len(without.scene.objects),
        "objects": len(with_jumps.scene.objects),
        "unmatched": sum(d is None for d in distances),
        "box_errors_m": [round(d, 4) for d in distances if d is not None],
    }


def _kept(run: Followed, boxes: dict[int, OrientedBox]) -> tuple[int, list[int]]:
    """Return of how many things the ID that was said of them early stands for them at the end, and the others."""
    lost = []
    for true_id, counts in run.early.items():
        o = run.scene.find(run.resolved(counts))
        if o is None or true_id not in boxes or not _near(o, boxes[true_id]):
            lost.append(true_id)
    return len(run.early) - len(lost), lost


def _follow(samples: Iterator[Sample], errors: dict[float, F64], early_s: float) -> Followed:
    """Map frames whose poses jump, tell the corrections, and make the map anew while frames come."""
    pipeline = Pipeline(Config())
    start_ns: int | None = None
    true_poses: dict[int, F64] = {}
    told: set[float] = set()
    working: tuple[float, Any] | None = None
    said = Followed(pipeline.scene(), {})
    frame = None
    for sample in samples:
        frame = sample.frame
        start_ns = frame.stamp_ns if start_ns is None else start_ns
        t = (frame.stamp_ns - start_ns) / 1e9
        true_poses[frame.stamp_ns] = frame.T_map_camera
        due = {at for at in errors if t >= at + _LAG_S}
        for _ in due - told:
            stamps = np.array(list(true_poses))[3::17]
            seconds = (stamps - start_ns) / 1e9
            poses = [_off(s, errors, due) @ true_poses[k] for s, k in zip(seconds, stamps.tolist(), strict=True)]
            pipeline.correct(PosePath(stamps, np.stack(poses)))
        told |= due
        error = _off(t, errors, told)
        base = None if frame.T_map_base is None else error @ frame.T_map_base
        frame = replace(frame, T_map_camera=error @ frame.T_map_camera, T_map_base=base)
        if working is None and (wanted := pipeline.refusion()) is not None:
            working = (t, wanted)
        if working is not None and t >= working[0] + _REMAKING_S:
            pipeline.remake(working[1])
            working = None
        ids = pipeline.process(frame, sample.instances).instance_ids
        if t < early_s:
            _note(sample, ids, said.early)
    for _ in range(3):
        pipeline.remake(None if working is None else working[1])
        working = None
    said.scene, said.merged = pipeline.finish(frame), dict(pipeline.objects.merged)
    return said


def _errors(way: Trajectory) -> dict[float, F64]:
    """Return at what time poses begin to be off by what (4, 4): about where the camera then is."""
    out = {}
    for at, (x, y, yaw) in zip(_JUMPS_S, _SHIFTS, strict=True):
        p = way.T_map_camera[min(round(at * way.fps), len(way) - 1)][:3, 3]
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_euler("z", yaw, degrees=True).as_matrix()
        turn[:3, 3] = p + (x, y, 0.0) - turn[:3, :3] @ p
        out[at] = turn
    return out


def _off(t: float, errors: dict[float, F64], corrected: set[float]) -> F64:
    T = np.eye(4)
    for at, error in errors.items():
        if at <= t and at not in corrected:
            T = error @ T
    return T


def tour_back(layouts: Sequence[Path | str], noise: str, console: Console) -> dict[str, Any]:
    """Five minutes through a flat and back to the start: which things have the ID they had?"""
    with console.status("tour"):
        world, options = _world(layouts, noise)
        there = tour(world, options.tour, fps=options.fps, seed=0, max_s=_TOUR_S / 2 - 1)
        way = _there_and_back(there, _START_S)
        pipeline, said = Pipeline(Config()), Followed(Scene(0, 0, "map", np.array([0.0, 0.0, 1.0])), {})
        frame, end = None, way.at_s(len(way) - 1)
        for k, sample in enumerate(_samples(world, way, options, noise)):
            frame = sample.frame
            ids = pipeline.process(frame, sample.instances).instance_ids
            if way.at_s(k) < _START_S:
                _note(sample, ids, said.early)
            elif way.at_s(k) > end - _START_S:
                _note(sample, ids, said.late)
        said.scene, said.merged = pipeline.finish(frame), dict(pipeline.objects.merged)
    both = [t for t in said.early if t in said.late and said.early[t].total() >= 5 and said.late[t].total() >= 5]
    same = [t for t in both if said.resolved(said.early[t]) == said.resolved(said.late[t])]
    raw = [t for t in both if said.early[t].most_common(1)[0][0] == said.late[t].most_common(1)[0][0]]
    return {
        "noise": noise,
        "seconds": round(end, 1),
        "seen_twice": len(both),
        "tour_ids": len(same) / max(len(both), 1),
        "without_aliases": len(raw) / max(len(both), 1),
        "others": sorted(set(both) - set(same)),
    }


def hour(layouts: Sequence[Path | str], noise: str, console: Console) -> dict[str, Any]:
    """An hour round the same loop, 5 frames of 320x240 a second: how the memory grows in the last half of it."""
    world, options = _world(layouts, noise)
    options = replace(options, fps=_SLOW_FPS, width=320, height=240)
    lap = _there_and_back(tour(world, options.tour, fps=_SLOW_FPS, seed=0, max_s=_LAP_S / 2), 0.0)
    laps = int(np.ceil(_HOUR_S * _SLOW_FPS / len(lap)))
    way = Trajectory(_SLOW_FPS, np.concatenate([lap.T_map_camera] * laps)[: int(_HOUR_S * _SLOW_FPS)], lap.floor_m)
    pipeline = Pipeline(Config())
    minutes: list[dict[str, float]] = []
    every = round(60 * _SLOW_FPS)
    started = time.perf_counter()
    for k, sample in enumerate(_samples(world, way, options, noise)):
        pipeline.process(sample.frame, sample.instances)
        if k % every == every - 1:
            sizes = {name: round(size / 1e6, 3) for name, size in pipeline.sizes_bytes().items()}
            things = len(pipeline.objects.snapshot())
            minutes.append({"resident_mb": _resident_mb(), "things": things, **sizes, "map": sum(sizes.values())})
            if len(minutes) % 10 == 0:
                console.print(f"minute {len(minutes)}: {minutes[-1]}")
    half, last = minutes[len(minutes) // 2 - 1], minutes[-1]
    area = pipeline.scene().floor_area_m2
    return {
        "noise": noise,
        "minutes": minutes,
        "hour_growth": last["resident_mb"] / half["resident_mb"] - 1,
        "map_growth": last["map"] / half["map"] - 1,
        "mb_per_m2": last["map"] / max(area, 1.0),
        "area_m2": area,
        "elapsed_s": round(time.perf_counter() - started),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _samples(world: World, way: Trajectory, options: SimulateConfig, noise: str) -> Iterator[Sample]:
    """Yield simulated frames as a robot's camera has them: without depth beyond its reach."""
    far_m = Config().frames.max_depth_m
    for sample in iter_frames(world, way, options, noise=noise):
        depth = np.where(sample.frame.depth_m <= far_m, sample.frame.depth_m, np.float32(0))
        yield replace(sample, frame=replace(sample.frame, depth_m=depth))


def _world(layouts: Sequence[Path | str], noise: str) -> tuple[World, SimulateConfig]:
    options = SimulateConfig(twins=noise in ("detector", "all"))
    return scene_from_layouts(layouts, seed=0, twins=options.twins), options


def _there_and_back(way: Trajectory, again_s: float) -> Trajectory:
    """Return a way, the same way backwards, and its beginning once more."""
    T = way.T_map_camera
    return Trajectory(way.fps, np.concatenate([T, T[::-1], T[: round(again_s * way.fps)]]), way.floor_m)


def _note(sample: Sample, ids: dict[int, int | None], counts: dict[int, Counter[int]]) -> None:
    """Count which ID was said of the thing that most of each instance shows."""
    image = sample.instances.image.astype(np.int64)
    most = int(sample.truth.max(initial=0)) + 1
    pixels = np.bincount((image * most + sample.truth).ravel(), minlength=(int(image.max()) + 1) * most)
    pixels = pixels.reshape(-1, most)
    for number, object_id in ids.items():
        if object_id and number < len(pixels) and pixels[number, 1:].any():
            counts[int(pixels[number, 1:].argmax()) + 1][object_id] += 1


def _near(o: SceneObject, box: OrientedBox) -> bool:
    return bool(np.linalg.norm(o.box.center - box.center) < max(_SAME_M, 0.3 * float(np.linalg.norm(box.size))))


def _box_error(o: SceneObject, scene: Scene) -> float | None:
    """Return by how much the sides of an object's upright box differ from those of the nearest one of its label."""
    near = [p for p in scene.objects if p.label == o.label and np.linalg.norm(p.box.center - o.box.center) < _SAME_M]
    if not near:
        return None
    a = o.box.corners()
    return float(min(np.abs([a.min(0) - b.min(0), a.max(0) - b.max(0)]).max() for b in (p.box.corners() for p in near)))


def _resident_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20
