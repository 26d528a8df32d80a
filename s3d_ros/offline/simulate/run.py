"""From layouts to a recording and its truth."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from s3d_ros.offline.simulate.changes import second_visit
from s3d_ros.offline.simulate.config import NOISES, SimulateConfig
from s3d_ros.offline.simulate.frames import START_NS, iter_frames
from s3d_ros.offline.simulate.people import walks
from s3d_ros.offline.simulate.recorder import Recorder
from s3d_ros.offline.simulate.trajectory import tour
from s3d_ros.offline.simulate.truth import TruthWriter
from s3d_ros.offline.simulate.world import scene_from_layouts

Progress = Callable[[int, int], None]


def simulate(
    layout_paths: Sequence[Path],
    out: Path,
    *,
    seed: int = 0,
    noise: str = "none",
    options: SimulateConfig | None = None,
    progress: Progress | None = None,
) -> None:
    """Furnish a layout (several: a flat), walk a camera through it, and write a rosbag2 with its truth to ``out``.

    ``out`` becomes the bag's folder; ``truth.json`` and ``truth/`` lie in it, and no reader of bags looks at them. The
    same arguments give the same recording. With ``options.changed_share`` there is a second visit (``changes``), with
    ``options.people`` somebody walks by (``people``). ``progress`` is called with (frames done, frames in all).
    Raises LayoutError, ValueError for an unknown noise, FileExistsError if ``out`` is there.
    """
    options = options or SimulateConfig()
    if noise not in NOISES:
        raise ValueError(f"noise = {noise!r} is none of {', '.join(NOISES)}")
    world = scene_from_layouts(layout_paths, seed=seed, twins=options.twins)
    for event in options.events:
        world.thing(event.object_id)
    trajectory = tour(world, options.tour, fps=options.fps, seed=seed, max_s=options.max_duration_s)
    if options.changed_share:
        trajectory, changes = second_visit(world, trajectory, options, seed)
        options = replace(options, events=(*options.events, *changes))
    passers = walks(world, trajectory, options, seed)
    out = Path(out)
    recorder = Recorder(out, options)
    passing = [p.thing.id for p in passers]
    try:
        with recorder:
            truth = TruthWriter(out, world, images=options.truth_images)
            for sample in iter_frames(world, trajectory, options, noise=noise, seed=seed, passers=passers):
                recorder.write(sample.frame, sample.instances)
                at_s = (sample.frame.stamp_ns - START_NS) / 1e9
                truth.add(sample.frame.index, at_s, sample.truth, sample.T_map_camera, sample.frame.stamp_ns)
                if options.truth_images:
                    lasting = np.where(np.isin(sample.truth, passing), 0, sample.depth_m) if passing else sample.depth_m
                    truth.add_surface(
                        at_s, lasting, sample.truth, sample.T_map_camera, sample.frame.intrinsics, options.events
                    )
                if progress is not None:
                    progress(sample.frame.index + 1, len(trajectory))
            truth.finish(options.events, passers)
    except BaseException:  # half a recording would be taken for a whole one
        shutil.rmtree(out, ignore_errors=True)
        raise
