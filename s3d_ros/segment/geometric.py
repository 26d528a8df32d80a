"""Instances from depth alone: large planes out, then connected smooth surfaces.

Things are convex, mostly, and meet what they stand on in a groove. So the image is cut at depth steps and at grooves,
the planes of the room are set aside (large, and nothing is seen behind them), and what still hangs together is a thing.
A large plane with something behind it (a table top, a cabinet's front) is a thing itself, and what rises from it is
another. Ideas: locally convex connected patches (Stein et al., CVPR 2014); planes in inverse depth.
"""

from __future__ import annotations

import math

import numpy as np

from s3d_ros.config import SegmentConfig
from s3d_ros.segment.borders import find_borders
from s3d_ros.segment.merge import Groups, distinctness, merge, planes_and_risers
from s3d_ros.segment.planes import PlaneRule, find_planes
from s3d_ros.segment.protocol import no_instances
from s3d_ros.segment.refine import to_full
from s3d_ros.segment.regions import find_regions
from s3d_ros.segment.surface import fit_surface, halve, inverse
from s3d_ros.types import F64, Frame, Instances

WORKING_WIDTH = 320
SMALLEST = 16  # pixels; a smaller working image holds no window to fit in
FLAT_DEG = 12  # a surface that bends less is flat
THICKNESS_M = 0.008  # of a plane, beside the noise
MEETING = 0.4  # of a depth step; surfaces that miss each other by less meet


class GeometricSegmenter:
    """Segments by shape; keeps nothing from frame to frame, the same frame gives the same instances."""

    def __init__(self, config: SegmentConfig) -> None:
        self.config = config
        self.rule = PlaneRule(
            config.min_plane_area_m2, math.radians(FLAT_DEG), config.noise_per_m, THICKNESS_M, config.max_behind
        )

    def segment(self, frame: Frame, up: F64) -> Instances:
        """Return the things in a frame; labels are "", pixels without depth belong to none.

        A score is how much of the thing's outline stands out, less for small things. Never raises for bad depth: what
        holds nothing to go by (all unknown, tiny) has no instances.
        """
        c = self.config
        factor = 2 ** max(0, round(math.log2(max(frame.depth_m.shape[1], 1) / WORKING_WIDTH)))
        full_q = inverse(frame.depth_m)
        q = full_q
        for _ in range(int(math.log2(factor))):
            q = halve(q, c.jump_per_m)
        if min(q.shape) < SMALLEST or not q.any():
            return no_instances(frame)
        K = frame.intrinsics.scaled(q.shape[1], q.shape[0])
        up_camera = frame.T_map_camera[:3, :3].T @ up
        surface = fit_surface(q, K, c.jump_per_m, c.noise_per_m)
        planes = find_planes(surface, up_camera, self.rule)
        groove = math.radians(c.groove_deg)
        regions = find_regions(surface, planes, groove, c.jump_per_m)
        borders = find_borders(regions, surface, MEETING * c.jump_per_m)
        scale = frame.depth_m.size / (640 * 480)
        small = c.min_pixels * scale / factor**2
        groups = Groups(regions.count, *planes_and_risers(regions, planes, surface, self.rule))
        things = merge(regions, borders, surface, groups, up_camera, groove, round(small / 4))
        stands_out = distinctness(regions, borders, things)
        labels = to_full(things[regions.labels], regions.source, surface, full_q, factor)

        size = np.bincount(labels.ravel(), minlength=regions.count + 1)
        keep = (size >= c.min_pixels * scale) & (stands_out >= c.min_distinct)
        keep[: regions.rooms + 1] = False
        kept = np.flatnonzero(keep)
        number = np.zeros(regions.count + 1, np.uint16)
        number[kept] = np.arange(1, kept.size + 1)
        score = stands_out * size / (size + c.min_pixels * scale)
        return Instances(
            frame.stamp_ns,
            number[labels],
            tuple(range(1, kept.size + 1)),
            ("",) * kept.size,
            tuple(float(s) for s in score[kept]),
        )
