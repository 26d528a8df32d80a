"""What a frame shows of the objects: one look-up of its points gives every overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s3d_ros.association import Overlaps
from s3d_ros.contact import continuous
from s3d_ros.lifting import LiftedPoints
from s3d_ros.track import Track
from s3d_ros.tracks import Tracks
from s3d_ros.types import F32, I32, I64, Bools, Instances
from s3d_ros.voxels import NOBODY

_BARELY_SHARE = 0.1  # of a mask that has depth


@dataclass(frozen=True)
class Seen:
    """Instances of a frame (rows) over the objects that own what they lie on (columns).

    numbers, labels, scores: of each row. row_of_point: (N,), -1 under no mask. voxel_of_point: (N,), -1 where there is
    none yet. large: (rows,) enough pixels to vote, and to be a new object. barely: (rows,) next to nothing of the
    mask has depth: it is too near or too far, and what has depth may be beside it. beside: (rows, columns) counts of
    these. continuous: pairs of rows that may well be parts of one mask.
    """

    points: LiftedPoints
    numbers: I32
    labels: list[str]
    scores: list[float]
    row_of_point: I64
    voxel_of_point: I64
    tracks: list[Track]
    overlaps: Overlaps
    large: Bools
    barely: Bools
    beside: I64
    continuous: set[tuple[int, int]]

    def goes_on(self, row: int, other: int) -> bool:
        """Whether two rows touch like the parts of a split mask."""
        return (min(row, other), max(row, other)) in self.continuous

    def points_of(self, row: int) -> F32:
        """Return the points (N, 3) of an instance."""
        return np.asarray(self.points.xyz[self.row_of_point == row])

    def swallowed_by(self, row: int, track: Track) -> list[int]:
        """Return the columns of the other objects that lie under a track's mask."""
        return [c for c in self.overlaps.swallowed[row] if self.tracks[c] is not track]


def look_up(points: LiftedPoints, instances: Instances, tracks: Tracks, least_pixels: int) -> Seen:
    """Ask each point which object owns the voxel that it lies in, and count."""
    voxels = tracks.voxels.find(points.xyz)
    numbers, index = compact(points.instance)
    slots, owner_index = compact(tracks.voxels.owners_of(voxels))
    counts = np.bincount(index * len(slots) + owner_index, minlength=len(numbers) * len(slots))
    counts = counts.reshape(len(numbers), len(slots))  # points of instance i that object k owns
    visible = counts.sum(axis=0)
    first_row, first_column = (int(NOBODY in found[:1]) for found in (numbers, slots))
    sizes = counts.sum(axis=1)[first_row:]
    names = dict(zip(instances.numbers, zip(instances.labels, instances.scores, strict=True), strict=True))
    named = [names.get(int(n), ("", 0.0)) for n in numbers[first_row:]]
    labels = [label for label, _ in named]
    start = min(points.stride // 2, min(instances.image.shape) - 1)
    whole = np.bincount(instances.image[start :: points.stride, start :: points.stride].ravel())
    barely = sizes < _BARELY_SHARE * whole[numbers[first_row:]]
    beside = np.where(barely[:, None], counts[first_row:, first_column:], 0)
    counts[first_row:][barely] = 0
    return Seen(
        points=points,
        numbers=numbers[first_row:],
        labels=labels,
        scores=[score for _, score in named],
        row_of_point=index - first_row,
        voxel_of_point=voxels,
        tracks=[tracks[s] for s in slots[first_column:].tolist()],
        overlaps=Overlaps(counts[first_row:, first_column:], sizes, visible[first_column:]),
        large=(sizes * points.pixel_area >= least_pixels) & ~barely,
        barely=barely,
        beside=beside,
        continuous=continuous(points, index - first_row, labels),
    )


def compact(values: I32) -> tuple[I32, I64]:
    """Return the sorted distinct values and each value's index in them: ``np.unique`` without sorting."""
    present = np.flatnonzero(np.bincount(values))
    table = np.zeros(int(values.max(initial=0)) + 1, np.int64)
    table[present] = np.arange(len(present))
    return present, table[values]
