"""A simulated home as a recording that is never written: frames are drawn as they are asked for.

A room's bag takes gigabytes; making a training set of hundreds of rooms needs none of them. The truth is written as
``simulate`` writes it, when all frames were drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from s3d_ros.offline.simulate.config import SimulateConfig
from s3d_ros.offline.simulate.frames import START_NS, iter_frames
from s3d_ros.offline.simulate.trajectory import tour
from s3d_ros.offline.simulate.truth import TruthWriter
from s3d_ros.offline.simulate.world import scene_from_layouts
from s3d_ros.types import Arrival, PoseNews


class SimulatedHome:
    """The recording of one walk through one home. truth: folder for ``truth.json`` and the true frames."""

    has_instances, z_up, frame_id, restarts = True, True, "map", 0
    late_news: tuple[PoseNews, ...] = ()

    def __init__(
        self,
        layouts: Sequence[Path],
        truth: Path,
        *,
        seed: int = 0,
        noise: str = "none",
        options: SimulateConfig | None = None,
    ) -> None:
        """Furnish the home and plan the walk. Raises LayoutError."""
        self._options, self._seed, self._noise, self._truth = options or SimulateConfig(), seed, noise, truth
        self.world = scene_from_layouts(list(layouts), seed=seed, twins=self._options.twins)
        walk = self._options
        self._way = tour(self.world, walk.tour, fps=walk.fps, seed=seed, max_s=walk.max_duration_s)
        self.name = self.world.name
        self.frame_count: int | None = len(self._way)
        self.drops: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()

    def sentences(self) -> list[str]:
        """Nothing is ever dropped."""
        return []

    def arrivals(self, keep: Callable[[int], bool] | None = None) -> Iterator[Arrival]:
        """Yield frames with their instances; the truth counts all, also those that nobody keeps."""
        self._truth.mkdir(parents=True, exist_ok=True)
        truth = TruthWriter(self._truth, self.world, images=False)
        for sample in iter_frames(self.world, self._way, self._options, noise=self._noise, seed=self._seed):
            frame = sample.frame
            truth.add(frame.index, (frame.stamp_ns - START_NS) / 1e9, sample.truth, sample.T_map_camera, frame.stamp_ns)
            if keep is None or keep(frame.index):
                whole_mm = np.round(frame.depth_m * 1000).astype(np.float32) / np.float32(1000)  # as a bag has it
                yield Arrival(replace(frame, depth_m=whole_mm), sample.instances)
        truth.finish()

    def __iter__(self) -> Iterator[Arrival]:
        return self.arrivals()
