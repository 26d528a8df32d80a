"""The simulated frames one after another, without any bag."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from s3d_ros.offline.simulate.config import NOISES, SimulateConfig
from s3d_ros.offline.simulate.detector import Detector
from s3d_ros.offline.simulate.noise import PoseJitter, noisy_color, noisy_depth
from s3d_ros.offline.simulate.people import Passer, walks
from s3d_ros.offline.simulate.render import Renderer
from s3d_ros.offline.simulate.trajectory import Trajectory
from s3d_ros.offline.simulate.world import World
from s3d_ros.types import F32, F64, U16, Frame, Instances

START_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class Sample:
    """A frame, what a detector says about it, and what is true.

    frame: as the robot knows it, pose errors included. truth: (H, W) uint16, ids of the things, 0 for none.
    T_map_camera: where the camera really is. depth_m: (H, W) the true depth in metres, 0 where there is nothing.
    """

    frame: Frame
    instances: Instances
    truth: U16
    T_map_camera: F64
    depth_m: F32


def iter_frames(
    world: World,
    trajectory: Trajectory,
    options: SimulateConfig | None = None,
    *,
    noise: str = "none",
    seed: int = 0,
    passers: Sequence[Passer] | None = None,
) -> Iterator[Sample]:
    """Yield the frames of a camera that moves through a world.

    ``options.width`` and ``height`` give the size: 160x120 is quick, for tests. Raises ValueError for an unknown
    noise, KeyError for an event with an object that is not there. passers: who walks by, None: as the options say.
    """
    options = options or SimulateConfig()
    if noise not in NOISES:
        raise ValueError(f"noise = {noise!r} is none of {', '.join(NOISES)}")
    sensor = options.sensor if noise in ("sensor", "all") else None
    errors = options.detector if noise in ("detector", "all") else None
    intrinsics = options.intrinsics()
    duration_s = trajectory.at_s(len(trajectory))
    passers = walks(world, trajectory, options, seed) if passers is None else passers
    detector = Detector(
        (*world.things, *(p.thing for p in passers)), errors, duration_s, options.min_instance_pixels, seed
    )
    jitter = None if sensor is None else PoseJitter(sensor, trajectory.fps, np.random.default_rng([seed, 5]))
    for event in options.events:
        world.thing(event.object_id)
    due = sorted(options.events, key=lambda e: e.at_s)
    renderer = Renderer(world, intrinsics)
    for index, T in enumerate(trajectory.T_map_camera):
        at_s = trajectory.at_s(index)
        if due and due[0].at_s <= at_s:
            while due and due[0].at_s <= at_s:
                world = world.after(due.pop(0))
            renderer = Renderer(world, intrinsics)
        stamp_ns = START_NS + round(at_s * 1e9)
        view = renderer.render(T, facing=sensor is not None)
        for passer in passers:
            view = passer.before(view, T, at_s, intrinsics)
        color, depth_m, T_known = view.color, view.depth_m, T
        if sensor is not None:
            rng = np.random.default_rng([seed, 6, index])
            color, depth_m = noisy_color(color, sensor, rng), noisy_depth(view, sensor, rng)
        T_base = trajectory.base(index)
        if jitter is not None:
            T_known = jitter.apply(T)
            T_base = T_known @ np.linalg.inv(T) @ T_base
        frame = Frame(index, stamp_ns, color, depth_m, intrinsics, T_known, T_base)
        instances = detector.detect(index, stamp_ns, at_s, view.things, T[:3, 3])
        yield Sample(frame, instances, view.things, T, view.depth_m)
