"""A recording of two visits, mapped: what the map held after each of them, and what was looked at in between."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from s3d_ros.config import Config
from s3d_ros.geometry import inside_box
from s3d_ros.offline.recording import open_recording
from s3d_ros.offline.truth import Truth, load_truth
from s3d_ros.pipeline import Pipeline
from s3d_ros.types import F32, F64, Bev, Bools, Frame, Instances, ObjectState, OrientedBox
from s3d_ros.visibility import EmptySpace

MARGIN_M = 0.04  # nearer to something else, a point may be that thing's
_PAUSE_S = 30.0  # a longer one between two frames parts the visits


@dataclass(frozen=True)
class Place:
    """Where a thing stood, without what else is or was there: the part of space that is to be empty now.

    others: boxes of all other things before and after. low, high: (3,) the room's interior.
    """

    box: OrientedBox
    others: tuple[OrientedBox, ...]
    low: F64
    high: F64

    def holds(self, points: F64 | F32) -> Bools:
        """Return which points (N, 3) are in it, (N,)."""
        inside = inside_box(points, self.box, 0.01)
        inside &= (points > self.low + MARGIN_M).all(axis=1) & (points < self.high - MARGIN_M).all(axis=1)
        for other in self.others:
            inside[inside] = ~inside_box(points[inside], other, MARGIN_M)
        return np.asarray(inside)

    def bev_cells(self, bev: Bev) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and columns of the cells below which nothing else is or was, wherever they stand."""
        h, w = bev.color.shape[:2]
        v, u = np.mgrid[:h, :w]
        x = bev.origin_xy[0] + (u + 0.5) * bev.resolution_m
        y = bev.origin_xy[1] + (h - v - 0.5) * bev.resolution_m
        flat = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
        inside = _over(flat, self.box, 0.0)
        inside &= (flat[:, :2] > self.low[:2] + MARGIN_M).all(axis=1)
        inside &= (flat[:, :2] < self.high[:2] - MARGIN_M).all(axis=1)
        for other in self.others:
            inside[inside] = ~_over(flat[inside], other, MARGIN_M)
        rows, columns = np.nonzero(inside.reshape(h, w))
        return rows, columns


@dataclass
class Moment:
    """What the map held at one moment: points (N, 3), the objects' voxels (M, 3), the bird's-eye view."""

    points: F32
    voxels: F64
    bev: Bev | None
    alive: dict[int, ObjectState]
    centers: dict[int, F64]


@dataclass
class Watched:
    """What a run showed: moments after the first visit and at the end, and which ID was given to which true object."""

    first: Moment | None = None
    last: Moment | None = None
    votes: dict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    first_votes: dict[int, Counter[int]] = field(default_factory=dict)
    merged: dict[int, int] = field(default_factory=dict)
    first_merged: dict[int, int] = field(default_factory=dict)
    looked: dict[int, float] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)


def watch(recording: Path, places: dict[int, Place], config: Config) -> Watched:
    """Map a recording with its two visits."""
    truth, out, pipeline = load_truth(recording), Watched(), Pipeline(config)
    frame: Frame | None = None
    targets: dict[int, F32] = {}
    through: dict[int, Bools] = {}
    for arrival in open_recording(recording, config.frames):
        if frame is not None and arrival.frame.stamp_ns - frame.stamp_ns > _PAUSE_S * 1e9:
            pipeline.finish(frame)
            out.first = _moment(pipeline)
            out.first_votes = {t: Counter(v) for t, v in out.votes.items()}
            out.first_merged = dict(pipeline.objects.merged)
            for number, place in places.items():
                held = out.first.points[place.holds(out.first.points)]
                targets[number] = held[:: max(1, len(held) // 400)]
                through[number] = np.zeros(len(targets[number]), bool)
        frame = arrival.frame
        result = pipeline.process(frame, arrival.instances, arrival.is_new)
        out.gone |= {i for i in result.removed if i not in pipeline.objects.merged}
        _vote(out, truth, frame, result.instances, result.instance_ids)
        if targets and frame.index % 2 == 0:
            empty = EmptySpace(frame, config.fusion.carve_margin_voxels * config.fusion.voxel_size_m, 0.006)
            for number, points in targets.items():
                through[number] |= empty.contains(points)
    assert frame is not None
    pipeline.finish(frame)
    out.last, out.merged = _moment(pipeline), dict(pipeline.objects.merged)
    out.looked = {n: float(t.mean()) if len(t) else 0.0 for n, t in through.items()}
    return out


def _moment(pipeline: Pipeline) -> Moment:
    tracks = pipeline.objects.tracks
    owned = [tracks.voxels.positions(tracks.voxels_of(t)) for t in tracks if t.public]
    scene = pipeline.scene()
    return Moment(
        pipeline.cloud()[0],
        np.concatenate([*owned, np.zeros((0, 3))]),
        scene.bev,
        {o.id: o.state for o in scene.objects if o.state is not ObjectState.GONE},
        {o.id: o.box.center for o in scene.objects},
    )


def _vote(out: Watched, truth: Truth, frame: Frame, instances: Instances | None, ids: dict[int, int | None]) -> None:
    true = truth.instances(frame.index)
    if instances is None or true is None:
        return
    for number, object_id in ids.items():
        if object_id is not None:
            counts = np.bincount(true[instances.image == number])
            if counts.size and counts.argmax():
                out.votes[int(counts.argmax())][object_id] += int(counts.max())


def _over(points: F64, box: OrientedBox, margin_m: float) -> Bools:
    """Return which points (N, 3) lie in a box's footprint, at whatever height."""
    up = int(np.abs(box.axes[:, 2]).argmax())
    flat = [k for k in range(3) if k != up]
    local = (points[:, :2] - box.center[:2]) @ box.axes[flat][:, :2].T
    return np.asarray((np.abs(local) < box.size[flat] / 2 + margin_m).all(axis=1))
