"""Where the camera went, by features that two frames share and the depth of the first: for encoders without poses.

SIFT (Lowe, 2004), the ratio test, and the pose of most agreement (RANSAC); in metres, because depth is.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from s3d_ros.types import F32, F64, U8, Intrinsics

_FEATURES = 1200
_WIDTH_PX = 640  # pictures are scaled down to this
_RATIO = 0.8
_LEAST = 12  # agreeing points, below which nothing is said
_LEAST_SHARE = 0.15  # of the matches that must agree
_ERROR_PX = 3.0
_MOST_SHIFT_M, _MOST_COSINE = 2.0, 0.25  # from picture to picture; more is a wrong match (75 degrees)
_PATIENCE = 4  # pictures in a row that are held against the last known one, before it is given up


@dataclass(frozen=True)
class Seen:
    """A frame's features: places (N, 2) in pixels, descriptors (N, 128), and points (N, 3) in metres, NaN unknown."""

    places: F32
    descriptors: F32
    points: F64
    camera: Intrinsics


class Odometry:
    """Follows a camera from frame to frame. T_first_camera: of the last frame; tracked: share of points that agreed."""

    def __init__(self) -> None:
        self._sift = cv2.SIFT.create(nfeatures=_FEATURES, contrastThreshold=0.02)
        self._before: Seen | None = None
        self.T_first_camera: F64 = np.eye(4)
        self.tracked = 1.0
        self._lost = 0

    def step(self, pixels: U8, depth_m: F32, intrinsics: Intrinsics) -> F64:
        """Return T_first_camera (4, 4) of a frame. depth_m: (h, w) of any size. intrinsics: of picture or depth.

        Where too little is recognised the camera is taken to stand still, and ``tracked`` is 0.
        """
        now = self._seen(pixels, depth_m, intrinsics)
        self.tracked = 1.0
        if self._before is not None:
            T_before_now = self._motion(self._before, now)
            if T_before_now is None and self._lost < _PATIENCE:
                self._lost += 1  # the next one may show again what the last known one showed
                return self.T_first_camera.copy()
            if T_before_now is not None:
                self.T_first_camera = self.T_first_camera @ T_before_now
        self._before, self._lost = now, 0
        return self.T_first_camera.copy()

    def _seen(self, pixels: U8, depth_m: F32, intrinsics: Intrinsics) -> Seen:
        scale = min(1.0, _WIDTH_PX / pixels.shape[1])
        size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
        grey = cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        camera = intrinsics.scaled(*size)
        found, descriptors = self._sift.detectAndCompute(grey, None)
        places = np.array([p.pt for p in found], np.float32).reshape(-1, 2)
        h, w = depth_m.shape
        at = (places + 0.5) * (w / size[0], h / size[1]) - 0.5
        d = cv2.remap(depth_m.astype(np.float32), at[None, :, 0].astype(np.float32), at[None, :, 1].astype(np.float32),
                      cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0] if len(at) else np.zeros(0)  # fmt: skip
        d = np.where(d > 0, d, np.nan)
        ray = (places - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
        points = np.concatenate([ray, np.ones((len(ray), 1))], axis=1) * d[:, None]
        empty = np.zeros((0, 128), np.float32)
        return Seen(places, empty if descriptors is None else descriptors, points.astype(np.float64), camera)

    def _motion(self, before: Seen, now: Seen) -> F64 | None:
        self.tracked = 0.0
        if len(before.places) < _LEAST or len(now.places) < _LEAST:
            return None
        pairs = cv2.BFMatcher().knnMatch(before.descriptors, now.descriptors, k=2)
        good = [(p[0].queryIdx, p[0].trainIdx) for p in pairs if len(p) == 2 and p[0].distance < _RATIO * p[1].distance]
        good = [(i, j) for i, j in good if np.isfinite(before.points[i]).all()]
        if len(good) < _LEAST:
            return None
        i, j = np.array(good).T
        solved, turn, shift, inliers = cv2.solvePnPRansac(
            before.points[i], now.places[j].astype(np.float64), now.camera.matrix(), None,
            iterationsCount=200, reprojectionError=_ERROR_PX, confidence=0.999,
        )  # fmt: skip
        if not solved or inliers is None or len(inliers) < max(_LEAST, _LEAST_SHARE * len(good)):
            return None
        k = inliers[:, 0]
        turn, shift = cv2.solvePnPRefineLM(
            before.points[i[k]], now.places[j[k]].astype(np.float64), now.camera.matrix(), None, turn, shift
        )
        T_now_before = np.eye(4)
        T_now_before[:3, :3] = cv2.Rodrigues(turn)[0]
        T_now_before[:3, 3] = shift[:, 0]
        T = np.linalg.inv(T_now_before)
        if not np.linalg.norm(T[:3, 3]) < _MOST_SHIFT_M or (np.trace(T[:3, :3]) - 1) / 2 < _MOST_COSINE:
            return None
        self.tracked = len(k) / len(good)
        return T
