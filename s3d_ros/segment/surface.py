"""What one depth image says about the surfaces in it: inverse depth, local planes, where surfaces end.

Everything is done in inverse depth q = 1/z. A plane is linear in q over the image, q noise of a structured-light or
stereo camera is the same near and far, and q keeps convexity: where q bends towards the camera the surface does too.
So plain box filters fit planes, and second differences tell a ridge (parts of one thing) from a groove (where one
thing ends and the next begins).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from s3d_ros.types import F32, F64, Bools, Intrinsics

# Fit windows are 2k+1 pixels wide, k growing with depth so that the normals are about equally sure everywhere.
MIN_K, MAX_K = 1, 6
NEAREST_M, FURTHEST_M = 0.05, 100.0
SLANT_SHARE = 1.0
# A fit that can't tell a groove from noise must not connect what is on its two sides.
MAX_BEND_NOISE_RAD = 0.35


@dataclass(frozen=True)
class Surface:
    """Local surface of a depth image, all (h, w) arrays at the working resolution of ``intrinsics``.

    q: inverse depth in 1/m, 0 where unknown. fit, slope_u, slope_v: smoothed q and its change per pixel.
    smooth: there is a fit (its window holds no jump and no hole). jump: pixels beside a depth step.
    concave, convex: bend of the surface in radians over the fit window, 0 where there is none. bend_noise: its
    standard deviation from depth noise alone. points (h, w, 3) metres and normals (h, w, 3), unit and towards the
    camera (zero where not smooth), in the camera frame.
    """

    intrinsics: Intrinsics
    q: F32
    fit: F32
    slope_u: F32
    slope_v: F32
    smooth: Bools
    jump: Bools
    concave: F32
    convex: F32
    bend_noise: F32
    points: F32
    normals: F32

    def carried_on(self) -> F32:
        """Return (h * w, 3): q of each pixel's plane anywhere in the image is [0] + column * [1] + row * [2]."""
        h, w = self.q.shape
        u, v = np.arange(w, dtype=np.float32)[None, :], np.arange(h, dtype=np.float32)[:, None]
        at_zero = self.fit - self.slope_u * u - self.slope_v * v
        return cv2.merge([at_zero, self.slope_u, self.slope_v]).reshape(-1, 3)

    def height(self, normal: F64, distance_m: float) -> F32:
        """Return (h, w): how far in front of a plane each pixel's point is, in metres."""
        return cv2.transform(self.points, np.append(normal, distance_m).astype(np.float32)[None, :])

    def facing(self, normal: F64) -> F32:
        """Return (h, w): cosine between each pixel's normal and another, 0 where not smooth."""
        return cv2.transform(self.normals, normal.astype(np.float32)[None, :])


def halve(q: F32, jump_per_m: float) -> F32:
    """Return inverse depth q (h, w) at half the resolution: the mean of the known pixels of each 2x2 block.

    An odd last row or column is left out. Where a block holds a depth step the nearer side wins, so that nothing
    lies between two surfaces.
    """
    h, w = q.shape[0] // 2 * 2, q.shape[1] // 2 * 2
    q = q[:h, :w]
    a, b, c, d = q[::2, ::2], q[1::2, ::2], q[::2, 1::2], q[1::2, 1::2]
    known = (a > 0).astype(np.float32) + (b > 0) + (c > 0) + (d > 0)
    mean = (a + b + c + d) / np.maximum(known, 1)
    near = np.maximum(np.maximum(a, b), np.maximum(c, d))
    return np.where(near - mean < jump_per_m / 2, mean, near).astype(np.float32)


def inverse(depth_m: F32) -> F32:
    """Return 1/depth, 0 where the depth is unknown."""
    return np.where(depth_m > NEAREST_M, 1 / np.maximum(depth_m, NEAREST_M), 0).astype(np.float32)


def find_jumps(q: F32, jump_per_m: float) -> Bools:
    """Mark both pixels of each step in q (h, w) that the slopes on its two sides do not explain."""
    jump = np.zeros(q.shape, bool)
    for image, mark in ((q, jump), (q.T, jump.T)):
        step = np.diff(image, axis=0)
        before, here, after = step[:-2], step[1:-1], step[2:]
        # Where a surface is seen slantingly all steps are large, and uneven in proportion.
        limit = jump_per_m + SLANT_SHARE * np.minimum(np.abs(before), np.abs(after))
        odd = np.minimum(np.abs(here - before), np.abs(here - after)) > limit
        mark[1:-2] |= odd
        mark[2:-1] |= odd
    return jump & (q > 0)


def fit_surface(q: F32, intrinsics: Intrinsics, jump_per_m: float, noise_per_m: float) -> Surface:
    """Fit a plane around every pixel of an inverse depth image (h, w), in windows that never cross a depth step."""
    jump = find_jumps(q, jump_per_m)
    room = _distance_to(jump | (q <= 0))
    z = 1 / np.maximum(q, 1 / FURTHEST_M)
    k = np.minimum(np.round(np.clip(1.5 + 1.1 * z, 2, MAX_K)), room - 1).astype(np.int8)
    kk = np.maximum(k, 1).astype(np.float32)
    noise = 1.5 * noise_per_m * intrinsics.fx * z * (np.sqrt(3) / (kk * (2 * kk + 1)))
    smooth = (k >= MIN_K) & (noise < MAX_BEND_NOISE_RAD)
    fit, slope_u, slope_v = q.copy(), np.zeros_like(q), np.zeros_like(q)
    for size in range(MIN_K, MAX_K + 1):
        here = (k == size).view(np.uint8)
        ramp = np.arange(-size, size + 1, dtype=np.float32)
        box = np.full(2 * size + 1, 1 / (2 * size + 1), np.float32)
        ramp /= (ramp**2).sum()
        cv2.copyTo(cv2.sepFilter2D(q, -1, box, box), here, fit)
        cv2.copyTo(cv2.sepFilter2D(q, -1, ramp, box), here, slope_u)
        cv2.copyTo(cv2.sepFilter2D(q, -1, box, ramp), here, slope_v)

    u, v = pixel_grid(intrinsics)
    a, b = slope_u * intrinsics.fx, slope_v * intrinsics.fy
    c = fit - slope_u * u - slope_v * v
    normals = -cv2.merge([a, b, c])
    normals *= (1 / np.maximum(np.sqrt(a * a + b * b + c * c), 1e-9))[..., None]
    normals[~smooth] = 0
    z = 1 / np.maximum(fit, 1 / FURTHEST_M)
    points = cv2.merge([z * (u / intrinsics.fx), z * (v / intrinsics.fy), z])

    # The cut of the surface with the plane through the camera and an image row is a line; this is the direction of
    # its normal. Along a row it grows where the surface is hollow. The same down a column.
    along_u = cv2.phase(fit - slope_u * u, a)
    along_v = cv2.phase(fit - slope_v * v, b)
    bend_u = _bend(along_u, k)
    bend_v = _bend(along_v.T, k.T).T
    return Surface(
        intrinsics,
        q,
        fit,
        slope_u,
        slope_v,
        smooth,
        jump,
        np.maximum(np.maximum(bend_u, bend_v), 0),
        np.maximum(np.maximum(-bend_u, -bend_v), 0),
        noise.astype(np.float32),
        points,
        normals,
    )


def pixel_grid(intrinsics: Intrinsics) -> tuple[F32, F32]:
    """Return column (1, w) and row (h, 1) coordinates from the principal point, in pixels."""
    u = np.arange(intrinsics.width, dtype=np.float32) - np.float32(intrinsics.cx)
    v = np.arange(intrinsics.height, dtype=np.float32) - np.float32(intrinsics.cy)
    return u[None, :], v[:, None]


def _distance_to(barrier: Bools) -> F32:
    """Chessboard distance of every pixel to the nearest barrier; the image border is one."""
    free = cv2.copyMakeBorder((~barrier).view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return cv2.distanceTransform(free, cv2.DIST_C, 3)[1:-1, 1:-1]


def _bend(angle: F32, k: np.ndarray) -> F32:
    """Turn of the direction ``angle`` (h, w) from k pixels before to k pixels after each pixel of a row, (-pi, pi)."""
    bend = np.zeros_like(angle)
    for size in range(MIN_K, MAX_K + 1):
        turn = angle[:, 2 * size :] - angle[:, : -2 * size]
        here = k[:, size:-size] == size
        np.copyto(bend[:, size:-size], turn, where=here)
    bend = np.where(bend > np.pi, bend - 2 * np.pi, bend)
    return np.where(bend < -np.pi, bend + 2 * np.pi, bend).astype(np.float32)
