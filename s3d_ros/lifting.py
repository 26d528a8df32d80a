"""From pixels to points: the sampled pixels of a frame as points of the map, without flying ones."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from s3d_ros.strays import strays
from s3d_ros.types import F32, F64, I32, U16, Bools, Frame

# Numbers of pixels in configs are those of a 640x480 image.
REFERENCE_WIDTH, REFERENCE_HEIGHT = 640, 480

# A pixel between two surfaces: nearer than one neighbour and further than the opposite one by this share of its depth.
_FLYING_SHARE = 0.03
_FLYING_REACH_PX = 2


@dataclass(frozen=True)
class LiftedPoints:
    """Points of one frame: xyz (N, 3) float32 in the map, instance (N,) uint16, pixels (N, 2) int32 (u, v).

    Every ``stride``-th pixel of an image of ``shape`` (H, W) was sampled.
    """

    stamp_ns: int
    xyz: F32
    instance: U16
    pixels: I32
    camera: F64  # (3,) position of the camera in the map
    shape: tuple[int, int]
    stride: int

    @property
    def pixel_area(self) -> float:
        """How many pixels of a 640x480 image one point stands for."""
        height, width = self.shape
        return self.stride**2 * REFERENCE_WIDTH * REFERENCE_HEIGHT / (width * height)


def lift(frame: Frame, instance_image: U16 | None, stride: int) -> LiftedPoints:
    """Lift every ``stride``-th pixel that has depth; of images that are not 640 wide as many, not every n-th.

    instance_image: (H, W), None: no instances.
    """
    stride = max(1, round(stride * frame.depth_m.shape[1] / REFERENCE_WIDTH))
    k = frame.intrinsics
    start = min(stride // 2, min(frame.depth_m.shape) - 1)
    depth = frame.depth_m[start::stride, start::stride]
    v, u = np.nonzero((depth > 0) & ~_flying(frame.depth_m, start, stride))
    z = depth[v, u]
    u, v = u * stride + start, v * stride + start
    T = frame.T_map_camera.astype(np.float32)
    x = (u - np.float32(k.cx)) * z * np.float32(1 / k.fx)
    y = (v - np.float32(k.cy)) * z * np.float32(1 / k.fy)
    xyz = np.stack([x, y, z], axis=1).astype(np.float32) @ T[:3, :3].T + T[:3, 3]
    pixels = np.stack([u, v], axis=1).astype(np.int32)
    if instance_image is None:
        instance = np.zeros(len(u), np.uint16)
    else:
        instance = instance_image[v, u]
        keep = ~strays(
            instance,
            z,
            xyz,
            v // stride,
            u // stride,
            (-(-frame.depth_m.shape[0] // stride), -(-frame.depth_m.shape[1] // stride)),
        )
        xyz, instance, pixels = xyz[keep], instance[keep], pixels[keep]
    shape = (frame.depth_m.shape[0], frame.depth_m.shape[1])
    return LiftedPoints(frame.stamp_ns, xyz, instance, pixels, frame.T_map_camera[:3, 3], shape, stride)


def _flying(depth: F32, start: int, stride: int) -> Bools:
    """Which of the sampled pixels hang between two surfaces: real cameras smear depth across an edge."""
    r = _FLYING_REACH_PX
    padded = cv2.copyMakeBorder(depth, r, r, r, r, cv2.BORDER_REPLICATE)
    here = depth[start::stride, start::stride]

    def neighbour(dv: int, du: int) -> F32:
        return padded[start + r + dv :: stride, start + r + du :: stride][: here.shape[0], : here.shape[1]]

    limit = here * np.float32(_FLYING_SHARE)
    out = np.zeros(here.shape, bool)
    for before, after in ((neighbour(0, -r), neighbour(0, r)), (neighbour(-r, 0), neighbour(r, 0))):
        a, b = here - before, after - here
        out |= (a > limit) & (b > limit)
        out |= (a < -limit) & (b < -limit) & (after > 0)
    return out
