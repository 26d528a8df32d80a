"""What a ``camera_info`` says, and how to make its images those of a pinhole camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from s3d_ros.images import same_aspect
from s3d_ros.types import U8, Intrinsics

# Coefficients below this move no pixel by as much as a hundredth.
_NO_DISTORTION = 1e-6
_BROWN = ("plumb_bob", "rational_polynomial", "")
_FISHEYE = ("equidistant", "fisheye", "kannala_brandt4")


class CameraInfoError(ValueError):
    """A camera_info that can't be used; the message says why."""


@dataclass(frozen=True)
class CameraModel:
    """Pinhole intrinsics and, where the images are not rectified, the distortion that is to be taken out.

    distortion: OpenCV's coefficients, () for none. model: ROS's ``distortion_model``.
    """

    intrinsics: Intrinsics
    distortion: tuple[float, ...] = ()
    model: str = "plumb_bob"

    def __post_init__(self) -> None:
        k = self.intrinsics
        values = (k.fx, k.fy, k.cx, k.cy, *self.distortion)
        if not all(np.isfinite(values)):
            raise CameraInfoError("camera_info holds NaN or infinity")
        if k.fx <= 0 or k.fy <= 0:
            raise CameraInfoError(f"camera_info is not calibrated: fx = {k.fx:g}, fy = {k.fy:g}")
        if self.is_distorted and self.model not in _BROWN + _FISHEYE:
            raise CameraInfoError(
                f"the distortion model {self.model!r} is not known; rectify the images first "
                f"(known are plumb_bob, rational_polynomial, equidistant)"
            )

    @property
    def is_distorted(self) -> bool:
        return any(abs(c) > _NO_DISTORTION for c in self.distortion)

    def fit(self, height: int, width: int) -> CameraModel:
        """Return the model of the same image at another size. Raises CameraInfoError if the aspect differs."""
        k = self.intrinsics
        if (k.height, k.width) == (height, width):
            return self
        if k.width <= 0 or k.height <= 0:  # not stated: it can only mean the image's own size
            return CameraModel(Intrinsics(width, height, k.fx, k.fy, k.cx, k.cy), self.distortion, self.model)
        if not same_aspect((k.height, k.width), (height, width)):
            raise CameraInfoError(f"camera_info is for {k.width}x{k.height} images, but the image is {width}x{height}")
        return CameraModel(k.scaled(width, height), self.distortion, self.model)


class Rectifier:
    """Takes the distortion out of the images of one camera; the intrinsics stay. The maps are made once."""

    def __init__(self, model: CameraModel) -> None:
        self.model = model
        k = model.intrinsics
        size, K = (k.width, k.height), k.matrix()
        D = np.asarray(model.distortion, dtype=np.float64)
        if model.model in _FISHEYE:
            maps = cv2.fisheye.initUndistortRectifyMap(K, D[:4], np.eye(3), K, size, cv2.CV_32FC1)
        else:
            maps = cv2.initUndistortRectifyMap(K, D, np.eye(3), K, size, cv2.CV_32FC1)
        self._smooth = cv2.convertMaps(maps[0], maps[1], cv2.CV_16SC2)
        self._nearest = cv2.convertMaps(maps[0], maps[1], cv2.CV_16SC2, nninterpolation=True)

    def color(self, image: U8) -> U8:
        """Rectify colour (H, W, 3), black where the camera saw nothing."""
        return np.asarray(cv2.remap(image, *self._smooth, cv2.INTER_LINEAR))

    def values(self, image: NDArray[Any]) -> NDArray[Any]:
        """Rectify depth or instance numbers (H, W) without mixing pixels, 0 where the camera saw nothing."""
        return np.asarray(cv2.remap(image, *self._nearest, cv2.INTER_NEAREST))
