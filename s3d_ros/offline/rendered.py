"""What the map shows in each frame, as it happens: ``rendered.jsonl`` of a run (``docs/run.md``)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from s3d_ros.lifting import LiftedPoints, lift
from s3d_ros.types import F32, I32, Bools, Frame

RENDERED = "rendered.jsonl"


class RenderedWriter:
    """Writes a line a frame: where each published object was, by every ``stride``-th pixel that had depth."""

    def __init__(self, run: Path, stride: int) -> None:
        """Begin the file in a run's directory. stride: as in ``ObjectsConfig``."""
        self._file = open(run / RENDERED, "w", encoding="utf-8")  # noqa: SIM115 open for the whole run
        self._stride = stride

    def frame(self, frame: Frame, ids_at: Callable[[F32], I32]) -> None:
        """Append a frame. ids_at: gives the public ID of each point (N, 3) of the map, (N,), 0 for none."""
        points = lift(frame, None, self._stride)
        self.points(frame.index, points, ids_at(points.xyz))

    def points(self, index: int, points: LiftedPoints, ids: I32) -> None:
        """Append a frame whose points (N) were lifted, with the public IDs (N,) there."""
        self._file.write(json.dumps(_line(index, points, ids), separators=(",", ":")) + "\n")

    def close(self) -> None:
        """End the file."""
        self._file.close()


def _line(index: int, points: LiftedPoints, ids: I32) -> dict[str, Any]:
    height, width = points.shape
    start = min(points.stride // 2, height - 1, width - 1)  # as ``lift`` samples
    small = (-(-(height - start) // points.stride), -(-(width - start) // points.stride))
    u, v = (points.pixels[:, 0] - start) // points.stride, (points.pixels[:, 1] - start) // points.stride
    image, seen = np.zeros(small, np.int32), np.zeros(small, bool)
    image[v, u], seen[v, u] = ids, True
    return {
        "stamp_ns": points.stamp_ns,
        "frame": index,
        "stride": points.stride,
        "start": start,
        "seen": _code(seen),
        "objects": [_object(int(i), image == i, points.stride, start) for i in np.unique(ids[ids > 0])],
    }


def _object(number: int, mask: Bools, stride: int, start: int) -> dict[str, Any]:
    v, u = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = (int(a[0]) * stride + start for a in (u, v))
    size = [int(a[-1] - a[0]) * stride + 1 for a in (u, v)]
    return {"id": number, "bbox": [left, top, *size], "mask": _code(mask)}


def _code(mask: Bools) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}
