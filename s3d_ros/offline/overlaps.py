"""Which true object each of a run's instances is: pixels of ``tracks.jsonl`` counted against the true instances."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from s3d_ros.offline.maskscore import MaskPair
from s3d_ros.offline.run import RunError
from s3d_ros.offline.truth import Truth
from s3d_ros.types import I64

# In one frame, less than this of a thing is no thing to find (at 640x480; in proportion at other sizes).
MIN_PIXELS = 300
NOTHING = 0


@dataclass(frozen=True)
class FrameOverlap:
    """The instances of one frame against the truth.

    ids: published then, None while tentative. shared: (N, T) pixels of each on each true id, 0 being none. in_truth:
    (T,) pixels of each true id in the whole frame. codes: each mask as it stands in the file. pixels: of the image.
    """

    frame: int
    stamp_ns: int
    ids: tuple[int | None, ...]
    shared: I64
    in_truth: I64
    codes: tuple[str, ...]
    pixels: int

    @property
    def least(self) -> float:
        """Fewer pixels than this are no thing to find."""
        return MIN_PIXELS * self.pixels / (640 * 480)


@dataclass
class Overlaps:
    """Pixels over all frames that had instances.

    shared[map id, true id]: pixels of both; true id 0: of the map object on no true one. area and true_area: pixels of
    each. frames: instances of each frame against the truth, IDs left out of account.
    """

    shared: Counter[tuple[int, int]] = field(default_factory=Counter)
    area: Counter[int] = field(default_factory=Counter)
    true_area: Counter[int] = field(default_factory=Counter)
    frames: list[MaskPair] = field(default_factory=list)

    def of(self, map_id: int) -> dict[int, int]:
        """Return {true id: pixels} of a map object."""
        return {t: n for (m, t), n in self.shared.items() if m == map_id}


def read_lines(path: Path, *keys: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of JSON lines that hold ``keys``. Raises RunError naming the line that is damaged."""
    try:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    row = json.loads(line)
                    for key in keys:
                        _ = row[key]
                    row["frame"] = int(row["frame"])
                    yield row
                except (ValueError, KeyError, TypeError) as error:
                    raise RunError(f"{path}, line {number} is damaged ({type(error).__name__}: {error})") from error
    except OSError as error:
        raise RunError(f"can't read {path}: {error.strerror}") from error


def read_overlaps(tracks: Path, truth: Truth) -> list[FrameOverlap]:
    """Count the masks of ``tracks.jsonl`` against the truth's: of each frame that has a line and a true image.

    Raises RunError for damaged lines, and for masks of another size than the truth's.
    """
    out = []
    for row in read_lines(tracks, "frame", "instances"):
        true = truth.instances(row["frame"])
        if true is None:
            continue
        instances, labels = list(row["instances"]), true.ravel().astype(np.int64)
        highest = int(labels.max(initial=0)) + 1
        shared = np.zeros((len(instances), highest), np.int64)
        if instances:
            masks = coco_mask.decode([rle(i["mask"]) for i in instances])  # (H, W, N)
            if masks.shape[:2] != true.shape:
                raise RunError(
                    f"frame {row['frame']} of {tracks} has masks of {masks.shape[:2]}, the truth {true.shape}"
                )
            for k in range(len(instances)):
                shared[k] = np.bincount(labels[masks[..., k].ravel() > 0], minlength=highest)
        out.append(
            FrameOverlap(
                row["frame"],
                int(row.get("stamp_ns", 0)),
                tuple(i["id"] for i in instances),
                shared,
                np.bincount(labels, minlength=highest),
                tuple(i["mask"]["counts"] for i in instances),
                true.size,
            )
        )
    return out


def rle(mask: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mask of a file as pycocotools takes it."""
    return {"size": mask["size"], "counts": mask["counts"].encode("ascii")}


def count_overlaps(frames: Iterable[FrameOverlap], survivors: Mapping[int, int]) -> Overlaps:
    """Add frames up. ``survivors``: retired map ID -> the ID that it became."""
    out = Overlaps()
    for f in frames:
        if len(f.ids):
            _count(out, f, [None if i is None else survivors.get(i, i) for i in f.ids])
    return out


def _count(out: Overlaps, f: FrameOverlap, ids: list[int | None]) -> None:
    for map_id, row in zip(ids, f.shared, strict=True):
        if map_id is not None:
            for t in np.flatnonzero(row):
                out.shared[map_id, int(t)] += int(row[t])
            out.area[map_id] += int(row.sum())
    for t in np.flatnonzero(f.in_truth[1:]) + 1:
        out.true_area[int(t)] += int(f.in_truth[t])

    size = f.shared.sum(axis=1)
    found = np.flatnonzero(f.in_truth[1:] >= f.least) + 1
    barely = np.flatnonzero(f.in_truth[1:] < f.least) + 1
    kept = ~np.isin(np.where(size > 0, f.shared.argmax(axis=1), -1), barely)
    both = f.shared[:, found]
    iou = both / np.maximum(size[:, None] + f.in_truth[found] - both, 1)
    out.frames.append(MaskPair(iou[kept], np.ones(int(kept.sum())), found.astype(np.int64)))
