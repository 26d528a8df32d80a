"""Runs the yardsticks over a recording; each leaves a run's files, so that one measure fits all.

A yardstick says which ID each given instance has, and which points are none of its. Its map is made from that in one
way for all (``lifted``): voxels that belong to whoever claimed them most often, upright boxes by the same fit as ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from s3d_ros.lifting import LiftedPoints, lift
from s3d_ros.offline.mot import MeasureError
from s3d_ros.offline.recording import Recording
from s3d_ros.offline.rendered import RenderedWriter
from s3d_ros.offline.run import RunWriter, track_mask
from s3d_ros.offline.truth import Truth
from s3d_ros.offline.yardsticks.bytetrack import ByteTrack
from s3d_ros.offline.yardsticks.conceptgraphs import ConceptGraphs
from s3d_ros.offline.yardsticks.lifted import LiftedMap
from s3d_ros.offline.yardsticks.oracle import Oracle
from s3d_ros.types import F64, Bools, Frame, Instances, Scene

YARDSTICKS = ("oracle", "conceptgraphs", "bytetrack")
_STRIDE = 4  # every n-th pixel is lifted, as in ObjectsConfig
_UP = np.array([0.0, 0.0, 1.0])


class Yardstick(Protocol):
    """Gives IDs to instances, frame by frame."""

    @property
    def least_sights(self) -> int:
        """So often must have been seen what is in its map at the end."""
        ...

    @property
    def merged(self) -> Mapping[int, int]:
        """Retired ID -> the ID that stands for it now."""
        ...

    def observe(self, points: LiftedPoints, instances: Instances, frame: Frame) -> dict[int, int | None]:
        """Return instance number -> ID, None without one. Numbers that are left out have none either."""
        ...

    def own(self, points: F64) -> Bools:
        """Return which of the points (N, 3) of one instance, or of a whole object, are really of it, (N,)."""
        ...


@dataclass
class _Running:
    yardstick: Yardstick
    writer: RunWriter
    rendered: RenderedWriter
    map: LiftedMap = field(default_factory=LiftedMap)


def run_yardsticks(
    recording: Recording,
    truth: Truth,
    out: Path,
    up: F64 = _UP,
    progress: Callable[[int, int | None], None] | None = None,
) -> dict[str, Path]:
    """Run all of them over a recording; return the directory of each, under ``out``. up: (3,) of the map.

    Raises MeasureError for a recording without instances, or without true ones.
    """
    if not recording.has_instances:
        raise MeasureError(f"{recording.name} brings no instances: there is nothing that yardsticks could identify")
    if not truth.has_instances:
        raise MeasureError(f"{truth.path} has no true instance images beside it: no oracle can be made of it")
    made: dict[str, Yardstick] = {"oracle": Oracle(truth), "conceptgraphs": ConceptGraphs(), "bytetrack": ByteTrack()}
    running = {name: _begin(out / name, y) for name, y in made.items()}
    last: Frame | None = None
    for done, arrival in enumerate(recording, 1):
        frame, instances = arrival.frame, arrival.instances
        points = lift(frame, None if instances is None else instances.image, _STRIDE)
        masks = {} if instances is None else {n: track_mask(instances.image, n) for n in instances.numbers}
        for r in running.values():
            _step(r, points, instances, frame, masks)
        last = frame
        if progress is not None:
            progress(done, recording.frame_count)
    if last is None:
        raise MeasureError(f"{recording.name} has no frame")
    for r in running.values():
        _finish(r, last, up)
    return {name: out / name for name in running}


def _begin(out: Path, yardstick: Yardstick) -> _Running:
    writer = RunWriter(out)
    return _Running(yardstick, writer, RenderedWriter(out, _STRIDE))


def _step(
    r: _Running, points: LiftedPoints, instances: Instances | None, frame: Frame, masks: Mapping[int, dict[str, object]]
) -> None:
    ids: dict[int, int | None] = {}
    if instances is not None:
        ids = r.yardstick.observe(points, instances, frame)
        r.map.add(points, instances, ids, r.yardstick.merged, r.yardstick.own)
    r.writer.line(frame.stamp_ns, frame.index, [{"id": ids.get(n), **mask} for n, mask in masks.items()])
    r.rendered.points(frame.index, points, r.map.ids_at(points.xyz, r.yardstick.merged))


def _finish(r: _Running, last: Frame, up: F64) -> None:
    r.rendered.close()
    merged = dict(r.yardstick.merged)
    objects = r.map.objects(up, merged, r.yardstick.least_sights, r.yardstick.own)
    points, ids = r.map.surface({o.id for o in objects}, merged)
    scene = Scene(1, last.stamp_ns, "map", up, objects, T_map_robot=last.T_map_camera, merged=merged)
    r.writer.finish(scene, points, np.zeros((len(points), 3), np.uint8), {}, ids=ids)
