"""Where objects are, in arrays: a ball around each one's box. Who is near is asked here, so that no frame asks all.

What is returned are slots, ascending: the order in which objects were begun.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from s3d_ros.types import F64, I64, Bools, Intrinsics, OrientedBox

_FEW = 64


class Places:
    """Balls by slot: centre (3,) and radius of an object's box, the radius of a disc as large as its widest side."""

    def __init__(self) -> None:
        self._row: dict[int, int] = {}
        self._slots: I64 = np.zeros(_FEW, np.int64)
        self._balls: F64 = np.zeros((_FEW, 5))  # x, y, z, radius, disc

    def __len__(self) -> int:
        return len(self._row)

    def put(self, slot: int, box: OrientedBox) -> None:
        """Note where an object is now."""
        row = self._row.setdefault(slot, len(self._row))
        if row == len(self._slots):
            self._slots = np.concatenate([self._slots, np.zeros_like(self._slots)])
            self._balls = np.concatenate([self._balls, np.zeros_like(self._balls)])
        long, middle = np.sort(box.size)[:0:-1].tolist()
        self._slots[row], self._balls[row, :3] = slot, box.center
        self._balls[row, 3:] = np.linalg.norm(box.size) / 2, np.sqrt(long * middle / np.pi)

    def forget(self, slot: int) -> None:
        """An object is no more, if it had a place at all."""
        row = self._row.pop(slot, None)
        last = len(self._row)
        if row is None or row == last:
            return
        self._slots[row], self._balls[row] = self._slots[last], self._balls[last]
        self._row[int(self._slots[row])] = row

    def near(self, point: F64, radius_m: float) -> list[int]:
        """Return whose ball a ball around a point (3,) comes nearer to than 10 cm."""
        return self._of(np.linalg.norm(self._centers - point, axis=1) < 0.1 + radius_m + self._radii)

    def in_view(self, T_camera_map: F64, intrinsics: Intrinsics, far_m: float) -> list[int]:
        """Return who may be in a camera's view, nearer than ``far_m``, with some room around the image."""
        p = self._seen_from(T_camera_map)
        wide = max(intrinsics.width / intrinsics.fx, intrinsics.height / intrinsics.fy)
        ahead = (-self._radii < p[:, 2]) & (p[:, 2] < far_m + self._radii)
        return self._of(ahead & (np.hypot(p[:, 0], p[:, 1]) < wide * np.maximum(p[:, 2], 0) + 2 * self._radii))

    def behind(
        self,
        T_camera_map: F64,
        intrinsics: Intrinsics,
        rectangles: Iterable[tuple[int, int, int, int]],
        margin_m: float,
    ) -> list[int]:
        """Return who may show in any of some rectangles (x, y, width, height) of an image, however far away."""
        p = self._seen_from(T_camera_map)
        reach = self._radii + margin_m
        out: Bools = np.zeros(len(p), bool)
        for x, y, width, height in rectangles:
            inside = p[:, 2] > -reach
            for normal in (
                (intrinsics.fx, 0, intrinsics.cx - x + 1),  # planes through the camera and the edges point inwards
                (-intrinsics.fx, 0, x + width - intrinsics.cx),
                (0, intrinsics.fy, intrinsics.cy - y + 1),
                (0, -intrinsics.fy, y + height - intrinsics.cy),
            ):
                inside &= p @ (np.array(normal) / np.linalg.norm(normal)) > -reach
            out |= inside
        return self._of(out)

    def along(self, point: F64, directions: F64, radii: F64, least_m: float, sizes: float, share: float, rad: float
              ) -> list[int]:  # fmt: skip
        """Return who is further than ``least_m`` from a point (3,) and seen from there about as a mask is.

        Masks are seen along ``directions`` (N, 3), their ``radii`` (N,) in radians. Who is meant differs from one by at
        most ``sizes`` times in size, and in direction by less than ``share`` of the larger radius plus ``rad``.
        """
        to = self._centers - point
        distance = np.maximum(np.linalg.norm(to, axis=1), 1e-6)
        mine = (self._balls[: len(self), 4] / distance)[:, None]
        larger, smaller = np.maximum(mine, radii[None]), np.minimum(mine, radii[None])
        off = np.arccos(np.clip(to @ directions.T / distance[:, None], -1, 1))
        about = (larger <= sizes * smaller * 1.001) & (off <= share * larger + rad + 1e-6)
        return self._of((distance >= least_m) & about.any(axis=1))

    @property
    def _centers(self) -> F64:
        return self._balls[: len(self), :3]

    @property
    def _radii(self) -> F64:
        return self._balls[: len(self), 3]

    def _seen_from(self, T_camera_map: F64) -> F64:
        return np.asarray(self._centers @ T_camera_map[:3, :3].T + T_camera_map[:3, 3])

    def _of(self, which: Bools) -> list[int]:
        slots: list[int] = np.sort(self._slots[: len(self)][which]).tolist()
        return slots
