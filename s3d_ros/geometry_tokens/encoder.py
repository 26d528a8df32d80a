"""What a geometry encoder is: frames go in one by one, and for each come tokens that know of space.

    state = encoder.start()
    for pixels in frames:
        geometry, state = encoder.step(state, pixels, intrinsics)

After Wang et al., "Continuous 3D Perception Model with Persistent State" (CUT3R, 2025), whose state is updated frame by
frame. A state is a value: nothing writes to it, so one may go on from it twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from s3d_ros.types import F32, F64, U8, Intrinsics


class GeometryError(ValueError):
    """Why there is no such encoder; the message says what is wrong and how to mend it."""


@dataclass(frozen=True)
class FrameGeometry:
    """What an encoder makes of one frame, given the frames before it.

    patch_tokens: (N, D) float32. camera_token: (D,). depth_m: (h, w) float32 metres along the optical axis, at the
    encoder's own size, None where it has no such head. confidence: (h, w), 0 to 1, to be compared within one encoder
    only. intrinsics: of that depth, the encoder's guess where none were given. T_first_camera: (4, 4) camera to the
    first frame's camera, None where it does not tell poses. tracked: 0 to 1, how much of the frame was found again in
    the one before it; 1 for the first.
    """

    patch_tokens: torch.Tensor
    camera_token: torch.Tensor
    depth_m: F32 | None = None
    confidence: F32 | None = None
    intrinsics: Intrinsics | None = None
    T_first_camera: F64 | None = None
    tracked: float = 1.0

    @property
    def tokens(self) -> torch.Tensor:
        """Return patch tokens and camera token, (N + 1, D)."""
        return torch.cat([self.patch_tokens, self.camera_token[None]])


class GeometryEncoder(Protocol):
    """Frozen: its weights don't move while a model is tuned with its tokens.

    dim: D of its tokens. metric: whether its depth is in metres. recurrent: whether a frame's tokens depend on the
    frames before it. good_poses: whether its poses are better than those of features (``odometry``) with its depth.
    """

    name: str
    dim: int
    metric: bool
    recurrent: bool
    good_poses: bool

    def start(self) -> Any:
        """Return the state before the first frame."""
        ...

    def step(self, state: Any, pixels: U8, intrinsics: Intrinsics | None = None) -> tuple[FrameGeometry, Any]:
        """Take a frame, RGB (H, W, 3) uint8, in; return what it makes of it, and the state after it."""
        ...
