"""The truth of a walk through a layout, without recording it: what questions and their keys need, in seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from s3d_ros.offline.simulate.config import SimulateConfig
from s3d_ros.offline.simulate.frames import START_NS
from s3d_ros.offline.simulate.render import Renderer
from s3d_ros.offline.simulate.trajectory import tour
from s3d_ros.offline.simulate.truth import TruthWriter
from s3d_ros.offline.simulate.world import scene_from_layouts

_SHRUNK = 4  # seen at a quarter of the size: pixels are counted as of 640x480, and 16 of these are one there


def walked_truth(
    layouts: Sequence[Path],
    out: Path,
    *,
    seed: int = 0,
    options: SimulateConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write to ``out`` the ``truth.json`` and the true frames that ``simulate`` with the same seed would write.

    Poses, boxes and stamps are the same; pixels are counted in small images, so that small things may come out
    a little larger or smaller. No bag, no images. Raises LayoutError.
    """
    options = options or SimulateConfig()
    world = scene_from_layouts(layouts, seed=seed, twins=options.twins)
    way = tour(world, options.tour, fps=options.fps, seed=seed, max_s=options.max_duration_s)
    small = replace(options, width=640 // _SHRUNK, height=480 // _SHRUNK)
    renderer = Renderer(world, small.intrinsics())
    out.mkdir(parents=True, exist_ok=True)
    truth = TruthWriter(out, world, images=False, pixel_area=_SHRUNK**2)
    for index, T in enumerate(way.T_map_camera):
        at_s = way.at_s(index)
        shown = renderer.render(T, facing=False).things
        truth.add(index, at_s, shown, T, START_NS + round(at_s * 1e9))
        if progress is not None:
            progress(index + 1, len(way))
    truth.finish()
