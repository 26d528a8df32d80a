"""What mapping suffers while its map is made anew beside it: frames, and callbacks, before and during.

A map of some thousand frames; the poses of the last of them were wrong, which is told while frames go on coming in
real time. A thread that wants to run every 5 ms stands for the callbacks: how late does it run?
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.spatial.transform import Rotation

from s3d_ros.config import Config
from s3d_ros.pipeline import Pipeline
from s3d_ros.ros.refusion_process import RefusionProcess
from s3d_ros.ros.running import SWITCH_S
from s3d_ros.types import F64, Frame, Instances, PosePath

Observed = tuple[Frame, Instances]

_HOMES = ("living_room", "office", "studio")
_FPS = 10.0
_STEP_NS = round(1e9 / _FPS)
_DISTINCT, _MAPPED = 500, 2000  # frames rendered, frames that the map was made of: to and fro
_WRONG_S = 30.0  # of the map's last frames have poses that are off
_BEFORE_S, _AFTER_S, _LONGEST_S = 20.0, 5.0, 900.0
_BEAT_S = 0.005
_LIMIT_RATIO, _LIMIT_LATE_MS = 1.5, 20.0


@dataclass
class _Phase:
    """Milliseconds: of each frame in the pipeline, and by how much each heartbeat came late."""

    frames_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)


class Heartbeat:
    """A thread that wakes every 5 ms, as callbacks do, and notes by how much it came late."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            due = time.perf_counter() + _BEAT_S
            time.sleep(_BEAT_S)
            self.late_ms.append((time.perf_counter() - due) * 1e3)


def bench_refusion(console: Console) -> dict[str, Any]:
    """Map, go on in real time, tell a correction, and measure until some seconds after the map was exchanged."""
    with console.status("rendering"):
        observed = rendered(_DISTINCT)
    return measured(observed, _MAPPED, console)


def rendered(count: int) -> list[Observed]:
    """Render a tour of a flat, 640x480, five frames a second."""
    from s3d_ros.offline.simulate.config import SimulateConfig
    from s3d_ros.offline.simulate.frames import iter_frames
    from s3d_ros.offline.simulate.trajectory import tour
    from s3d_ros.offline.simulate.world import scene_from_layouts

    options = SimulateConfig(fps=_FPS / 2)
    world = scene_from_layouts(list(_HOMES))
    way = tour(world, options.tour, fps=options.fps, seed=0, max_s=count / options.fps)
    far_m = Config().frames.max_depth_m
    out = []
    for sample in iter_frames(world, way, options):
        depth = np.where(sample.frame.depth_m <= far_m, sample.frame.depth_m, np.float32(0))
        out.append((replace(sample.frame, depth_m=depth), sample.instances))
    return out[:count]


def _laps(observed: Sequence[Observed]) -> Iterator[Observed]:
    """Yield the frames to and fro for ever, ten a second."""
    k = 0
    while True:
        for frame, instances in observed if (k // len(observed)) % 2 == 0 else observed[::-1]:
            k += 1
            stamp_ns = k * _STEP_NS
            yield replace(frame, index=k, stamp_ns=stamp_ns), replace(instances, stamp_ns=stamp_ns)


def measured(observed: Sequence[Observed], mapped: int, console: Console) -> dict[str, Any]:
    """Run it; return the figures."""
    config = Config()
    pipeline = Pipeline(config)
    faults: list[str] = []
    remaker = RefusionProcess(config, faults.append)
    frames = _laps(observed)
    poses: dict[int, F64] = {}
    error: F64 | None = None
    with console.status(f"mapping {mapped} frames"):
        for k in range(mapped):
            frame, instances = next(frames)
            poses[frame.stamp_ns] = frame.T_map_camera
            if k == mapped - round(_WRONG_S * _FPS):
                error = _jump(frame.T_map_camera)
            pipeline.process(_off(frame, error), instances)
    blocks, things = len(pipeline.fusion), len(pipeline.scene().objects)
    phases = {name: _Phase() for name in ("before", "during", "after")}
    swap_ms: float | None = None
    phase, until, told_at = "before", _BEFORE_S, 0.0
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)  # as in the node
    heart = Heartbeat()
    start = time.perf_counter()
    with console.status("mapping in real time"):
        for k in range(round((_BEFORE_S + _LONGEST_S) * _FPS)):
            frame, instances = next(frames)
            poses[frame.stamp_ns] = frame.T_map_camera
            _sleep_until(start + k / _FPS)
            now = time.perf_counter() - start
            if phase == "before" and now >= until:
                phases[phase].late_ms, heart.late_ms = heart.late_ms, []
                pipeline.correct(_path(poses))
                phase, error, told_at = "during", None, now
            at = time.perf_counter()
            pipeline.process(_off(frame, error), instances)
            if (made := remaker.take()) is not None:
                exchange = time.perf_counter()
                pipeline.replace_by(*made)
                remaker.forget(made[0])
                del made
                swap_ms = (time.perf_counter() - exchange) * 1e3
                until = time.perf_counter() - start + _AFTER_S
            phases[phase].frames_ms.append((time.perf_counter() - at) * 1e3)
            past = pipeline.past
            assert past is not None
            if phase == "during" and swap_ms is None and not remaker.is_busy and (wanted := past.wanted()) is not None:
                remaker.begin(past, wanted, pipeline.up, pipeline.views)
            if phase == "during" and swap_ms is not None:
                time.sleep(2 * _BEAT_S)
                phases[phase].late_ms, heart.late_ms = heart.late_ms, []
                took_s, phase = time.perf_counter() - start - told_at, "after"
            if (phase == "after" and now >= until) or faults:
                break
    heart.stop()
    remaker.close()
    sys.setswitchinterval(switch_s)
    if swap_ms is None:
        raise RuntimeError(f"the map was not made anew within {_LONGEST_S:g} s: {faults}")
    phases[phase].late_ms = heart.late_ms
    return _told(phases, swap_ms, took_s, {"frames": mapped, "blocks": blocks, "objects": things}, console)


def _told(
    phases: dict[str, _Phase], swap_ms: float, took_s: float, sizes: dict[str, int], console: Console
) -> dict[str, Any]:
    table = Table(f"a map of {sizes['frames']} frames, {sizes['blocks']} blocks", *phases)
    rows: dict[str, list[float]] = {
        "frame, median (ms)": [float(np.median(p.frames_ms)) for p in phases.values()],
        "frame, p95 (ms)": [float(np.percentile(p.frames_ms, 95)) for p in phases.values()],
        "frame, latest (ms)": [float(np.max(p.frames_ms)) for p in phases.values()],
        "callback late by, p99 (ms)": [float(np.percentile(p.late_ms, 99)) for p in phases.values()],
        "callback late by, most (ms)": [float(np.max(p.late_ms)) for p in phases.values()],
        "callbacks later than 20 ms": [float(np.sum(np.array(p.late_ms) > _LIMIT_LATE_MS)) for p in phases.values()],
    }
    for name, values in rows.items():
        table.add_row(name, *(f"{v:.1f}" for v in values))
    console.print(table)
    p95 = rows["frame, p95 (ms)"]
    ratio, latest = p95[1] / p95[0], rows["callback late by, most (ms)"][1]
    console.print(f"p95 during / before {ratio:.2f}; made anew in {took_s:.1f} s; exchanged in {swap_ms:.0f} ms")
    holds = ratio <= _LIMIT_RATIO and latest <= _LIMIT_LATE_MS
    return {**sizes, "rows": rows, "p95_ratio": ratio, "took_s": took_s, "swap_ms": swap_ms, "holds": holds}


def _sleep_until(at: float) -> None:
    left_s = at - time.perf_counter()
    if left_s > 0:
        time.sleep(left_s)


def _jump(T_map_camera: F64) -> F64:
    """Return an error (4, 4): 0.3 m, and 5 degrees about where the camera is."""
    error = np.eye(4)
    error[:3, :3] = Rotation.from_euler("z", 5, degrees=True).as_matrix()
    at = T_map_camera[:3, 3]
    error[:3, 3] = at + (0.2, 0.2, 0.0) - error[:3, :3] @ at
    return error


def _off(frame: Frame, error: F64 | None) -> Frame:
    if error is None:
        return frame
    base = None if frame.T_map_base is None else error @ frame.T_map_base
    return replace(frame, T_map_camera=error @ frame.T_map_camera, T_map_base=base)


def _path(poses: dict[int, F64]) -> PosePath:
    stamps = np.array(list(poses), np.int64)[::5]
    return PosePath(stamps, np.stack([poses[s] for s in stamps.tolist()]))
