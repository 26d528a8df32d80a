"""From the bytes of an image message to arrays, without a copy where the layout allows it.

Three steps that do not know of each other: :func:`decode_image` and :func:`decode_compressed` read what was sent,
:func:`as_color`, :func:`clean_depth` and :func:`as_numbers` say what it means, :func:`resize_nearest` fits sizes.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from s3d_ros.types import F32, U8, U16

# Sizes whose aspect differs by less are the same picture at another scale.
ASPECT_TOLERANCE = 0.01
_SMALLEST_M = 1e-6  # depth is above 0
_COMPRESSED_DEPTH_HEADER = 12  # int32 format, float32 a, float32 b


class ImageError(ValueError):
    """An image that can't be read; the message names what is wrong with it."""


@dataclass(frozen=True)
class _Layout:
    dtype: str  # of a sample, without byte order
    channels: int
    to_rgb: int | None = None  # OpenCV's colour conversion; None: the samples are what they are


_ENCODINGS = {
    "rgb8": _Layout("u1", 3),
    "bgr8": _Layout("u1", 3, cv2.COLOR_BGR2RGB),
    "8UC3": _Layout("u1", 3, cv2.COLOR_BGR2RGB),  # no order is stated; OpenCV's users mean BGR
    "rgba8": _Layout("u1", 4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Layout("u1", 4, cv2.COLOR_BGRA2RGB),
    "8UC4": _Layout("u1", 4, cv2.COLOR_BGRA2RGB),
    "mono8": _Layout("u1", 1),
    "8UC1": _Layout("u1", 1),
    "mono16": _Layout("u2", 1),
    "16UC1": _Layout("u2", 1),
    "32FC1": _Layout("f4", 1),
    "yuv422": _Layout("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": _Layout("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": _Layout("u1", 2, cv2.COLOR_YUV2RGB_YUYV),
    "yuyv": _Layout("u1", 2, cv2.COLOR_YUV2RGB_YUYV),
    # OpenCV names a Bayer pattern by its second row and column, ROS by its first.
    "bayer_rggb8": _Layout("u1", 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": _Layout("u1", 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": _Layout("u1", 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": _Layout("u1", 1, cv2.COLOR_BayerGB2RGB),
}


def decode_image(
    encoding: str, height: int, width: int, step: int, is_bigendian: bool | int, data: Any
) -> NDArray[np.generic]:
    """Read the fields of a ``sensor_msgs/Image``.

    Returns (H, W, 3) uint8 RGB for colour, (H, W) uint8 for mono8, (H, W) uint16 for 16UC1 and mono16, (H, W) float32
    for 32FC1; contiguous, in the machine's byte order, and a read-only view of ``data`` where no conversion is needed.

    encoding: as in ``sensor_msgs/image_encodings``. step: bytes from row to row (0: rows are not padded).
    data: bytes, array, memoryview, or anything else that holds unsigned bytes. Raises ImageError.
    """
    layout = _ENCODINGS.get(encoding)
    if layout is None:
        raise ImageError(f"the encoding {encoding!r} is not supported; supported are {', '.join(_ENCODINGS)}")
    if height <= 0 or width <= 0:
        raise ImageError(f"the image has no pixels: {width}x{height}")
    dtype = np.dtype(layout.dtype)
    row = width * layout.channels * dtype.itemsize
    step = step or row
    if step < row:
        raise ImageError(f"a row of {width} pixels of {encoding} takes {row} bytes, but step is {step}")
    flat = _bytes_of(data)
    needed = (height - 1) * step + row  # some senders leave out the last row's padding
    if flat.size < needed:
        raise ImageError(f"{width}x{height} {encoding} with step {step} needs {needed} bytes, but has {flat.size}")
    rows = np.lib.stride_tricks.as_strided(flat, (height, row), (step, 1), writeable=False)
    samples = np.ascontiguousarray(rows).view(dtype)
    if dtype.itemsize > 1 and bool(is_bigendian) != (sys.byteorder == "big"):
        samples = samples.byteswap()
    if dtype.itemsize > 1 and not samples.flags.aligned:
        samples = samples.copy()
    if layout.channels > 1:
        samples = samples.reshape(height, width, layout.channels)
    if layout.to_rgb is None:
        return samples
    try:
        return np.asarray(cv2.cvtColor(samples, layout.to_rgb))
    except cv2.error as error:  # packed and Bayer formats need even sizes
        raise ImageError(f"{width}x{height} pixels can't be {encoding}") from error


def _bytes_of(data: Any) -> U8:
    try:
        return np.frombuffer(data, np.uint8)
    except (TypeError, ValueError, BufferError):  # a list of numbers, or an empty or strided buffer
        pass
    try:
        values = np.asarray(data)
        if values.size and not (np.issubdtype(values.dtype, np.integer) and 0 <= values.min() <= values.max() < 256):
            raise ImageError(f"the image's data are not bytes, but {values.dtype}")
        return np.ascontiguousarray(values, dtype=np.uint8).reshape(-1)
    except (TypeError, ValueError) as error:
        raise ImageError(f"the image's data are not bytes: {error}") from error


def decode_compressed(image_format: str, data: Any) -> NDArray[np.generic]:
    """Read the fields of a ``sensor_msgs/CompressedImage``: JPEG, PNG, or compressedDepth with PNG inside.

    Returns arrays as :func:`decode_image` does. Raises ImageError.
    """
    flat = _bytes_of(data)
    if "compressedDepth" in image_format:
        return _decode_compressed_depth(image_format, flat)
    image = _imdecode(flat, image_format)
    if image.ndim == 3:
        code = cv2.COLOR_BGRA2RGB if image.shape[2] == 4 else cv2.COLOR_BGR2RGB
        image = cv2.cvtColor(image, code)
    if image.dtype not in (np.uint8, np.uint16, np.float32) or (image.ndim == 3 and image.dtype != np.uint8):
        raise ImageError(f"a compressed image of {image.dtype} with shape {image.shape} is not supported")
    return np.asarray(image)


def _decode_compressed_depth(image_format: str, flat: U8) -> NDArray[np.generic]:
    if "rvl" in image_format.lower():
        raise ImageError("compressedDepth in the format rvl is not supported: set the sender's format to png")
    if flat.size <= _COMPRESSED_DEPTH_HEADER:
        raise ImageError(f"compressedDepth of {flat.size} bytes holds no image")
    image = _imdecode(flat[_COMPRESSED_DEPTH_HEADER:], image_format)
    if image.ndim != 2 or image.dtype != np.uint16:
        raise ImageError(f"compressedDepth holds {image.dtype} of shape {image.shape}, not one 16-bit channel")
    if not image_format.startswith("32FC1"):
        return image
    # image_transport stores the quantised inverse of the depth: a / (q - b), 0 for unknown.
    a, b = np.frombuffer(flat[4:_COMPRESSED_DEPTH_HEADER].tobytes(), "<f4")
    with np.errstate(divide="ignore"):
        depth = np.where(image > 0, a / (image.astype(np.float32) - b), np.float32(0))
    return np.asarray(depth, dtype=np.float32)


def _imdecode(flat: U8, image_format: str) -> NDArray[Any]:
    try:
        image = cv2.imdecode(flat, cv2.IMREAD_UNCHANGED) if flat.size else None
    except cv2.error:  # sizes in its header that no image has
        image = None
    if image is None:
        raise ImageError(f"{flat.size} bytes with the format {image_format!r} are no readable JPEG or PNG")
    return np.asarray(image)


def as_color(image: NDArray[Any]) -> U8:
    """Return a decoded image as colour, (H, W, 3) uint8 RGB; grey becomes grey RGB. Raises ImageError."""
    if image.dtype == np.uint8 and image.ndim == 2:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"an image of {image.dtype} with shape {image.shape} is no colour image")
    return image


def as_depth(image: NDArray[Any]) -> U16 | F32:
    """Return a decoded image if it can be depth: (H, W) uint16 units or float32 metres. Raises ImageError."""
    if image.ndim != 2 or image.dtype not in (np.uint16, np.float32):
        raise ImageError(f"an image of {image.dtype} with shape {image.shape} is no depth image: use 16UC1 or 32FC1")
    return image


def as_numbers(image: NDArray[Any]) -> U16:
    """Return a decoded image as instance numbers, (H, W) uint16. Raises ImageError."""
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"an image of {image.dtype} with shape {image.shape} holds no instance numbers: use mono16")
    return image.astype(np.uint16, copy=False)


def clean_depth(depth: U16 | F32, units_per_m: float, min_m: float, max_m: float) -> F32:
    """Return depth (H, W) in metres, float32, with 0 wherever it is unknown.

    depth: uint16 in units of 1 / ``units_per_m`` metres, or float32 in metres. Unknown are NaN, infinity, 0 and
    below, 65535 of the integers, and what lies outside ``min_m`` to ``max_m`` (both included).

    >>> clean_depth(np.array([[0, 1000, 65535]], np.uint16), 1000.0, 0.15, 5.0)
    array([[0., 1., 0.]], dtype=float32)
    """
    if depth.dtype == np.uint16:
        low, high = _unit_range(units_per_m, min_m, max_m)
        _, kept = cv2.threshold(depth, high, 0, cv2.THRESH_TOZERO_INV)
        _, kept = cv2.threshold(kept, low - 1, 0, cv2.THRESH_TOZERO)
        return np.multiply(kept, np.float32(1 / units_per_m), dtype=np.float32)
    valid = cv2.inRange(depth, max(min_m, _SMALLEST_M), max_m)  # NaN is in no range
    return np.asarray(cv2.copyTo(depth, valid, np.zeros_like(depth)))


@functools.lru_cache(maxsize=16)
def _unit_range(units_per_m: float, min_m: float, max_m: float) -> tuple[int, int]:
    low = max(1, int(np.ceil(min_m * units_per_m - 1e-6)))
    high = min(65534, int(np.floor(max_m * units_per_m + 1e-6)))
    return low, high


def same_aspect(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Return whether two images (H, W, ...) can be the same picture at two scales."""
    ratio = (shape[1] * other[0]) / (shape[0] * other[1])
    return abs(ratio - 1) <= ASPECT_TOLERANCE


def resize_nearest(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Return an image (H, W) resized without mixing pixels; the same array when the size is right already."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))
