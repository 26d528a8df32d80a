"""The depth of a run's view frames, which the scene does not carry: ``views/view-NNNN.depth.png``, millimetres."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from s3d_ros.offline.run import RunError, view_name
from s3d_ros.types import F32, Frame, ViewFrame


class ViewDepths:
    """Remembers the depth of those frames that are view frames now; few at a time, compressed."""

    def __init__(self) -> None:
        self._png: dict[int, bytes] = {}

    def keep(self, frame: Frame, view_stamps: frozenset[int]) -> None:
        """Take a frame's depth if it became a view; forget what is none any longer."""
        if frame.stamp_ns in view_stamps and frame.stamp_ns not in self._png:
            self._png[frame.stamp_ns] = encode_depth(frame.depth_m)
        if len(self._png) > len(view_stamps):
            self._png = {stamp: png for stamp, png in self._png.items() if stamp in view_stamps}

    def write(self, run: Path, views: Iterable[ViewFrame]) -> None:
        """Write the depth of each view frame into a run."""
        for view in views:
            if view.stamp_ns in self._png:
                depth_path(run, view.id).write_bytes(self._png[view.stamp_ns])


def depth_path(run: Path, view_id: int) -> Path:
    """Return where the depth of a view frame lies."""
    return (run / "views" / view_name(view_id)).with_suffix(".depth.png")


def encode_depth(depth_m: F32) -> bytes:
    """Return depth (H, W) in metres as a 16-bit PNG of millimetres, 0 where unknown."""
    millimetres = np.clip(np.round(np.nan_to_num(depth_m, posinf=0, neginf=0) * 1000), 0, 65535).astype(np.uint16)
    ok, png = cv2.imencode(".png", millimetres, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not ok:
        raise RunError(f"depth of shape {depth_m.shape} can't be written as PNG")
    return png.tobytes()


def decode_depth(png: bytes) -> F32:
    """Return depth (H, W) float32 in metres, 0 where unknown. Raises RunError."""
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint16 or image.ndim != 2:
        raise RunError("this is no 16-bit depth image")
    return np.asarray(image, np.float32) / np.float32(1000)


def load_view_depth(run: Path, view_id: int) -> F32 | None:
    """Return the depth (H, W) of a run's view frame, None where it was not kept. Raises RunError for a damaged one."""
    path = depth_path(run, view_id)
    return decode_depth(path.read_bytes()) if path.exists() else None
