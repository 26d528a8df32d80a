"""Episodes: frames of a few clips in a row, augmented, with what is true of them. A function of seed and number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from s3d_ros.geometry_tokens.matching import cell_grid
from s3d_ros.geometry_tokens.recurrent import DEPTH_PX, MATCH_PX
from s3d_ros.train.geometry.clips import Clip
from s3d_ros.types import F64, U8

_STRIDES = (1, 1, 1, 2, 2, 3, 8)  # frames of a clip from one to the next; the last: as view frames lie apart
_ZOOM = (0.7, 1.0)  # share of the width that is cut out
_SAME_DEPTH = 0.08, 0.05  # relative, and metres: further behind what is seen there, a point is hidden


@dataclass(frozen=True)
class Episode:
    """L frames of B clips. pixels: (L, B, 3, H, W) of -1 to 1. depth_m: (L, B, h, w) at DEPTH_PX, 0 unknown.

    intrinsics: (L, B, 4) shares. T_map_camera: (L, B, 4, 4). given: whether the encoder is told the intrinsics.
    """

    pixels: torch.Tensor
    depth_m: torch.Tensor
    intrinsics: torch.Tensor
    T_map_camera: torch.Tensor
    given: bool = True

    def __len__(self) -> int:
        return len(self.pixels)

    def part(self, start: int, stop: int) -> Episode:
        """Return some of the frames."""
        held = {k: v[start:stop] for k, v in vars(self).items() if isinstance(v, torch.Tensor)}
        return replace(self, **held)


@dataclass(frozen=True)
class Truth:
    """Of the cells of a frame: where they were in the frame before, (B, N, 2), whether in view there, whether that is
    known. R, t: (B, 3, 3), (B, 3) into the frame before."""

    xy: torch.Tensor
    seen: torch.Tensor
    known: torch.Tensor
    R: torch.Tensor
    t: torch.Tensor


@dataclass(frozen=True)
class Look:
    """How pictures of one clip are changed: for all frames the same, so that motion stays what it is."""

    zoom: float = 1.0
    left: float = 0.0
    top: float = 0.0
    flip: bool = False
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    saturation: float = 1.0
    noise: float = 0.0
    blur: float = 0.0
    flicker: float = 0.0

    @classmethod
    def random(cls, rng: np.random.Generator) -> Look:
        """Return a look: colour jitter, zoom, flip, noise."""
        zoom = float(rng.uniform(*_ZOOM)) if rng.random() < 0.7 else 1.0
        gain = rng.uniform(0.7, 1.3) * rng.uniform(0.88, 1.12, 3)
        left, top = rng.uniform(0, 1 - zoom, 2).tolist()
        return cls(
            zoom,
            left,
            top,
            flip=bool(rng.random() < 0.5),
            gain=(float(gain[0]), float(gain[1]), float(gain[2])),
            gamma=float(np.exp(rng.uniform(-0.4, 0.4))),
            saturation=float(rng.uniform(0.4, 1.4)),
            noise=float(rng.uniform(0, 5)),
            blur=float(rng.choice([0.0, 0.0, 0.5, 0.9])),
            flicker=float(rng.uniform(0, 0.05)),
        )


def episode(clips: Sequence[Clip], seed: int, number: int, batch: int, length: int, size: tuple[int, int]) -> Episode:
    """Return one. size: (width, height) of the pictures."""
    rng = np.random.default_rng((seed, number, 7))
    weights = np.sqrt([len(c) for c in clips])
    chosen = rng.choice(len(clips), batch, p=weights / weights.sum())
    made = []
    for index in chosen.tolist():
        clip = clips[index]
        stride = min(int(rng.choice(_STRIDES)), max(1, (len(clip) - 1) // max(1, length - 1)))
        indices = walk(len(clip), int(rng.integers(len(clip))), stride, length)
        if rng.random() < 0.3:
            indices = indices[::-1]
        made.append(frames(clip, indices, size, Look.random(rng), rng))
    return replace(joined(made), given=bool(rng.random() < 0.6))


def walk(count: int, start: int, stride: int, length: int) -> list[int]:
    """Return indices that go on by ``stride``, and back again from the end.

    >>> walk(5, 3, 1, 4)
    [3, 4, 3, 2]
    """
    period = max(1, 2 * (count - 1))
    at = [(start + k * stride) % period for k in range(length)]
    return [i if i < count else period - i for i in at]


def joined(made: Sequence[Episode]) -> Episode:
    """Put episodes of one length side by side."""
    names = ("pixels", "depth_m", "intrinsics", "T_map_camera")
    return Episode(*(torch.cat([getattr(m, n) for m in made], dim=1) for n in names))


def frames(clip: Clip, indices: Sequence[int], size: tuple[int, int], look: Look = Look(),  # noqa: B008 frozen
           rng: np.random.Generator | None = None) -> Episode:  # fmt: skip
    """Return frames of a clip as an episode with B = 1."""
    width, height = size
    pixels, depths, cameras, poses = [], [], [], []
    for i in indices:
        color = _cut(clip.color(i), look, size, cv2.INTER_LINEAR)
        depth = _cut(clip.depth_mm[i], look, (width // DEPTH_PX, height // DEPTH_PX), cv2.INTER_NEAREST)
        fx, fy, cx, cy = clip.intrinsics[i]
        camera = [fx / look.zoom, fy / look.zoom, (cx - look.left) / look.zoom, (cy - look.top) / look.zoom]
        T = clip.T_map_camera[i]
        if look.flip:
            mirror = np.diag([-1.0, 1, 1, 1])
            color, depth, T = color[:, ::-1], depth[:, ::-1], mirror @ T @ mirror
            camera[2] = 1 - camera[2]
        pixels.append(_colored(color, look, rng))
        depths.append(depth.astype(np.float32) / 1000)
        cameras.append(camera)
        poses.append(T)
    as_tensor = lambda rows: torch.from_numpy(np.ascontiguousarray(np.stack(rows), dtype=np.float32))[:, None]  # noqa: E731
    values = as_tensor(pixels).permute(0, 1, 4, 2, 3) / 127.5 - 1
    base = np.linalg.inv(poses[0])  # near the origin, where float32 is exact enough
    return Episode(values, as_tensor(depths), as_tensor(cameras), as_tensor([base @ T for T in poses]))


def truth_of(now: Episode, before: Episode) -> Truth:
    """Return what is true of the cells of a frame (L = 1) and of its motion, by depth and poses."""
    depth, before_depth = now.depth_m[0], before.depth_m[0]
    b, h, w = depth.shape
    step = MATCH_PX // DEPTH_PX
    T = torch.linalg.solve(before.T_map_camera[0].double(), now.T_map_camera[0].double()).float()
    pixel = cell_grid(h // step, w // step) * step + step // 2  # the pixel of the depth nearest to a cell's middle
    d = depth[:, step // 2 :: step, step // 2 :: step].reshape(b, -1)
    span = torch.tensor([w, h])
    k, k_before = now.intrinsics[0], before.intrinsics[0]
    ray = ((pixel + 0.5) / span - k[:, None, 2:]) / k[:, None, :2]
    points = torch.cat([ray, torch.ones_like(ray[..., :1])], dim=-1) * d[..., None]
    moved = points @ T[:, :3, :3].transpose(1, 2) + T[:, None, :3, 3]
    z = moved[..., 2]
    share = moved[..., :2] / z.clamp_min(0.05)[..., None] * k_before[:, None, :2] + k_before[:, None, 2:]
    at = (share * span).floor().long()
    inside = (z > 0.1) & (at >= 0).all(dim=-1) & (at < span).all(dim=-1)
    index = at[..., 1].clamp(0, h - 1) * w + at[..., 0].clamp(0, w - 1)
    there = before_depth.reshape(b, -1).gather(1, index)
    relative, absolute = _SAME_DEPTH
    seen = inside & (z < there * (1 + relative) + absolute)
    known = (d > 0) & (~inside | (there > 0))
    # The match is asked for at the cell's middle, half a pixel of the depth away from where the point was taken
    middle = (cell_grid(h // step, w // step) + 0.5) * step - 0.5 - pixel
    xy = (share * span + middle) / step - 0.5
    return Truth(xy, seen & known, known, T[:, :3, :3], T[:, :3, 3])


def _cut(image: U8, look: Look, size: tuple[int, int], how: int) -> U8:
    h, w = image.shape[:2]
    matrix = np.array(
        [[look.zoom * w / size[0], 0, look.left * w], [0, look.zoom * h / size[1], look.top * h]], np.float64
    )
    matrix[:, 2] += (matrix[[0, 1], [0, 1]] - 1) / 2  # pixels' middles
    if how == cv2.INTER_LINEAR and matrix[0, 0] > 1.5:  # far smaller: no aliasing
        image = cv2.blur(image, (2, 2))
    return cv2.warpAffine(image, matrix, size, flags=how | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)


def _colored(color: U8, look: Look, rng: np.random.Generator | None) -> F64:
    if rng is None:
        return color.astype(np.float32)
    x: F64 = color.astype(np.float32)
    if look.blur:
        x = cv2.GaussianBlur(x, (0, 0), look.blur)
    grey = x.mean(axis=2, keepdims=True)
    x = grey + (x - grey) * look.saturation
    flicker = 1 + rng.normal(0, look.flicker) if look.flicker else 1.0
    x = 255 * (np.clip(x, 0, 255) / 255) ** look.gamma * np.array(look.gain, np.float32) * flicker
    if look.noise:
        x = x + rng.standard_normal(x.shape, np.float32) * look.noise
    return np.clip(x, 0, 255)
