"""From a colour and a depth image as they came to two arrays of one pinhole camera and one size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from s3d_ros.camera import CameraInfoError, CameraModel, Rectifier
from s3d_ros.config import FramesConfig
from s3d_ros.drops import Lacking, Tally
from s3d_ros.images import ImageError, as_color, as_depth, clean_depth, resize_nearest, same_aspect
from s3d_ros.types import F32, U8, Intrinsics

Image = NDArray[Any]
LazyImage = Image | Callable[[], Image]


class ImagePreparer:
    """Decodes, fits, cleans and rectifies. ``rectifier`` is that of the last camera, None if it needs none."""

    def __init__(self, config: FramesConfig, tally: Tally) -> None:
        self.rectifier: Rectifier | None = None
        self._config = config
        self._tally = tally

    def prepare(self, color: LazyImage, depth: LazyImage, camera: CameraModel) -> tuple[U8, F32, Intrinsics]:
        """Return colour (H, W, 3) uint8 RGB, depth (H, W) float32 metres with 0 for unknown, and their intrinsics.

        Images are arrays or functions that return them. Depth of another size is resized to colour's, nearest pixel.
        Raises Lacking.
        """
        rgb = _checked(color, as_color, "color_unreadable")
        raw = _checked(depth, as_depth, "depth_unreadable")
        height, width = rgb.shape[:2]
        if not same_aspect(raw.shape, rgb.shape):
            raise Lacking("depth_size", f"depth {raw.shape[1]}x{raw.shape[0]}, colour {width}x{height}")
        try:
            camera = camera.fit(height, width)
        except CameraInfoError as error:
            raise Lacking("camera_info_size", error) from None
        if raw.shape != (height, width):
            self._tally.note("depth_resized", f"{raw.shape[1]}x{raw.shape[0]} to {width}x{height}")
        config = self._config
        depth_m = clean_depth(raw, config.depth_scale, config.min_depth_m, config.max_depth_m)
        depth_m = resize_nearest(depth_m, height, width)
        self.rectifier = self._rectifier_for(camera)
        if self.rectifier is not None:
            self._tally.note("undistorted", camera.model)
            rgb, depth_m = self.rectifier.color(rgb), self.rectifier.values(depth_m)
        return rgb, depth_m, camera.intrinsics

    def _rectifier_for(self, camera: CameraModel) -> Rectifier | None:
        if not camera.is_distorted:
            return None
        if self.rectifier is not None and self.rectifier.model == camera:
            return self.rectifier
        return Rectifier(camera)


def _checked(image: LazyImage, check: Callable[[Image], Image], reason: str) -> Image:
    try:
        return check(image() if callable(image) else image)
    except ImageError as error:
        raise Lacking(reason, error) from None
