"""A walk round a room whose poses are wrong for a while: what a map is to be made of, and what is to come out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation
from synthetic import SMALL, BoxWorld, look_at, room

from s3d_ros.config import Config
from s3d_ros.geometry import invert
from s3d_ros.pipeline import Pipeline
from s3d_ros.types import F64, Frame, Instances, PosePath, Scene

S = 1_000_000_000
CONFIG = Config().with_values(
    {
        "objects.confirm_pixels": 50,
        "objects.min_instance_pixels": 10,
        "objects.stride": 2,
        "fusion.voxel_size_m": 0.04,
        "bev.resolution_m": 0.04,
    }
)
THINGS = {
    "crate1": ((1.7, 1.7, 0.0), (2.3, 2.3, 0.5)),
    "bin2": ((3.0, 0.6, 0.0), (3.6, 1.2, 1.0)),
    "crate3": ((0.5, 3.2, 0.0), (1.1, 3.6, 0.6)),
    "crate4": ((1.4, 3.2, 0.0), (2.0, 3.6, 0.6)),
    "lamp5": ((3.3, 3.2, 0.0), (3.6, 3.5, 1.4)),
}
JUMP_AT, CORRECTED_AT, END = 80, 150, 190  # frames, ten a second


def true_pose(k: int) -> F64:
    angle = 2 * np.pi * k / 80
    eye = (2 + 1.75 * np.cos(angle), 2 + 1.75 * np.sin(angle), 1.3)
    return look_at(eye, (2.0, 2.0, 0.4))


def jump() -> F64:
    """The error: 0.5 m, and 10 degrees about where the camera then is."""
    to, turn, shift = np.eye(4), np.eye(4), np.eye(4)
    to[:3, 3] = true_pose(JUMP_AT)[:3, 3]
    turn[:3, :3] = Rotation.from_euler("z", 10, degrees=True).as_matrix()
    shift[:3, 3] = 0.4, 0.3, 0.0
    return shift @ to @ turn @ invert(to)


def walk() -> list[tuple[Frame, Instances]]:
    """The frames as they are."""
    world = BoxWorld(room(**THINGS))
    return [world.frame(true_pose(k), k, SMALL) for k in range(END)]


def mapped(frames: list[tuple[Frame, Instances]]) -> Scene:
    """What comes of frames whose poses are right."""
    pipeline = Pipeline(CONFIG)
    for frame, instances in frames:
        pipeline.process(frame, instances)
    return pipeline.finish(frames[-1][0])


def wrong(frames: list[tuple[Frame, Instances]]) -> Iterator[tuple[Frame, Instances]]:
    for k, (frame, instances) in enumerate(frames):
        off = JUMP_AT <= k < CORRECTED_AT
        yield (replace(frame, T_map_camera=jump() @ frame.T_map_camera) if off else frame), instances


def path_until(frames: list[tuple[Frame, Instances]], end: int) -> PosePath:
    """Corrected poses twice a second; none has the stamp of a frame."""
    stamps = np.arange(0.13, end / 10 - 0.05, 0.5)
    world_poses = []
    for t in stamps:
        k = int(t * 10)
        T_a, T_b = true_pose(k), true_pose(min(k + 1, END))
        share = t * 10 - k
        T = T_a.copy()
        T[:3, 3] = (1 - share) * T_a[:3, 3] + share * T_b[:3, 3]
        rotvec = Rotation.from_matrix(T_a[:3, :3].T @ T_b[:3, :3]).as_rotvec()
        T[:3, :3] = T_a[:3, :3] @ Rotation.from_rotvec(share * rotvec).as_matrix()
        world_poses.append(T)
    return PosePath((stamps * S).astype(np.int64), np.stack(world_poses))


def check(scene: Scene, should: Scene, early: Mapping[int, int], merged: Mapping[int, int]) -> None:
    """The same objects as without a jump, at the same places; those known before it under the IDs they had."""
    assert len(scene.objects) == len(should.objects) == len(THINGS)
    found = {}
    for o in should.objects:
        near = [p for p in scene.objects if np.linalg.norm(p.box.center - o.box.center) < 0.1]
        assert len(near) == 1, (o.label, o.box.center)
        assert near[0].label == o.label
        low, high = near[0].box.corners(), o.box.corners()
        assert np.abs(low.min(0) - high.min(0)).max() < 0.05
        assert np.abs(low.max(0) - high.max(0)).max() < 0.05
        found[o.id] = near[0].id
    for number, said in early.items():
        thing = np.mean(THINGS[list(THINGS)[number - 1]], axis=0)
        o = next(o for o in scene.objects if o.id == merged.get(said, said))
        assert np.linalg.norm((o.box.center - thing)[:2]) < 0.15, (number, said)
