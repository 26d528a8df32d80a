"""Which true object each of a run's instances is: pixels of ``tracks.jsonl`` counted against the true instances."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from s3d_ros.offline.maskscore import MaskPair
from s3d_ros.offline.run import RunError
from s3d_ros.offline.truth import Truth

# In one frame, less than this of a thing is no thing to find (at 640x480; in proportion at other sizes).
MIN_PIXELS = 300
NOTHING = 0


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


def read_tracks(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a ``tracks.jsonl``. Raises RunError naming the line that is damaged."""
    try:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    row = json.loads(line)
                    yield {"frame": int(row["frame"]), "instances": list(row["instances"])}
                except (ValueError, KeyError, TypeError) as error:
                    raise RunError(f"{path}, line {number} is damaged ({type(error).__name__}: {error})") from error
    except OSError as error:
        raise RunError(f"can't read {path}: {error.strerror}") from error


def count_overlaps(tracks: Path, truth: Truth, survivors: Mapping[int, int]) -> Overlaps:
    """Count a run's masks against the truth's. ``survivors``: retired map ID -> the ID that it became."""
    out = Overlaps()
    for row in read_tracks(tracks):
        if not row["instances"]:
            continue
        true = truth.instances(row["frame"])
        if true is None:
            continue
        ids = [survivors.get(i["id"], i["id"]) for i in row["instances"]]
        masks = coco_mask.decode([_rle(i["mask"]) for i in row["instances"]])  # (H, W, N)
        if masks.shape[:2] != true.shape:
            raise RunError(f"frame {row['frame']} of {tracks} has masks of {masks.shape[:2]}, the truth {true.shape}")
        _count(out, ids, masks, true.astype(np.int64))
    return out


def _rle(mask: dict[str, Any]) -> dict[str, Any]:
    return {"size": mask["size"], "counts": mask["counts"].encode("ascii")}


def _count(out: Overlaps, ids: list[int | None], masks: NDArray[np.uint8], true: NDArray[np.int64]) -> None:
    highest = int(true.max()) + 1
    in_truth = np.bincount(true.ravel(), minlength=highest)
    shared = np.stack([np.bincount(true[masks[..., k] > 0], minlength=highest) for k in range(len(ids))])  # (N, T)
    for map_id, row in zip(ids, shared, strict=True):
        if map_id is not None:
            for t in np.flatnonzero(row):
                out.shared[map_id, int(t)] += int(row[t])
            out.area[map_id] += int(row.sum())
    for t in np.flatnonzero(in_truth[1:]) + 1:
        out.true_area[int(t)] += int(in_truth[t])

    least = MIN_PIXELS * true.size / (640 * 480)
    size = shared.sum(axis=1)
    found = np.flatnonzero(in_truth[1:] >= least) + 1
    kept = ~np.isin(np.where(size > 0, shared.argmax(axis=1), -1), np.flatnonzero(in_truth[1:] < least) + 1)
    both = shared[:, found]
    iou = both / np.maximum(size[:, None] + in_truth[found] - both, 1)
    out.frames.append(MaskPair(iou[kept], np.ones(int(kept.sum())), found.astype(np.int64)))
