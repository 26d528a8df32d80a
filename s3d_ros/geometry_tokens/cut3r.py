"""CUT3R as a geometry encoder: the one that VLM-3R was made with. Metric, recurrent, and large (a GPU is advised)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from s3d_ros.geometry import pose_matrix
from s3d_ros.geometry_tokens.config import CONFIG
from s3d_ros.geometry_tokens.cut3r_depth import PointHead
from s3d_ros.geometry_tokens.cut3r_network import PATCH_PX, Cut3r, Cut3rState, Shape
from s3d_ros.geometry_tokens.encoder import FrameGeometry, GeometryError
from s3d_ros.types import F32, F64, U8, Intrinsics

MARK = "dec_blocks_state.0.norm1.weight"  # only its weights have this
_LONG_SIDE_PX = 512
_CONVERT = (
    "its released weights (.pth) are a pickle, which may run code. Convert them once where they are trusted: "
    "torch.load(FILE, weights_only=False)['model'], then safetensors.torch.save_file({k: v.contiguous().clone() for "
    "k, v in model.items()}, 'model.safetensors') into a folder of its own"
)


class Cut3rGeometry:
    """A frozen CUT3R. See ``GeometryEncoder``."""

    metric = True
    recurrent = True
    good_poses = True

    def __init__(self, model: Cut3r, head: PointHead, name: str = "cut3r", device: str = "cpu") -> None:
        self.name = name
        self.device = torch.device(device)
        self.model, self.head = (m.float().eval().requires_grad_(False).to(device) for m in (model, head))
        self.dim = model.shape.dim

    @classmethod
    def load(cls, directory: Path, device: str = "cpu") -> Cut3rGeometry:
        """Load one from a folder with its weights as safetensors, one file. Raises GeometryError."""
        file = weights_of(directory)
        assert file is not None
        try:
            told = (
                json.loads((directory / CONFIG).read_text(encoding="utf-8")) if (directory / CONFIG).is_file() else {}
            )
            weights = load_file(file)
            heads = {k: int(told[k]) for k in ("head_dim", "state_heads") if k in told}
            shape = Shape.of({k: tuple(v.shape) for k, v in weights.items()}, **heads)
            with torch.device("meta"):
                model, head = Cut3r(shape), PointHead(shape)
            _fill(model, weights, "")
            _fill(head, weights, "downstream_head.dpt_self.")
        except (OSError, SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
            text = " ".join(str(error).split())[:300]
            raise GeometryError(
                f"{file} can't be used as CUT3R's weights: {text}; convert or copy them anew"
            ) from error
        return cls(model, head, directory.name, device)

    def start(self) -> Cut3rState:
        """Return the state before the first frame."""
        with torch.inference_mode():
            return self.model.start()

    def step(
        self, state: Cut3rState, pixels: U8, intrinsics: Intrinsics | None = None
    ) -> tuple[FrameGeometry, Cut3rState]:
        """Take a frame in, RGB (H, W, 3) uint8; it is scaled so that its long side has 512 px."""
        height, width = pixels.shape[:2]
        scale = _LONG_SIDE_PX / max(height, width)
        w, h = (max(1, round(side * scale / PATCH_PX)) * PATCH_PX for side in (width, height))
        small = cv2.resize(pixels, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        x = torch.from_numpy(np.ascontiguousarray(small)).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.inference_mode():
            told, after = self.model.step(state, x)
            points, confidence = self.head(told.layers, (h, w))
        xyz = points[0].float().cpu().numpy()
        camera = intrinsics.scaled(w, h) if intrinsics is not None else camera_of(xyz, width / height)
        tokens = told.tokens[0].float().cpu()
        sure = 1 - 1 / confidence[0].cpu().numpy()
        pose = pose_of(told.pose[0].double().cpu().numpy())
        geometry = FrameGeometry(tokens[1:].clone(), tokens[0].clone(), np.maximum(xyz[..., 2], 0), sure, camera, pose)
        return geometry, after


def weights_of(directory: Path) -> Path | None:
    """Return the file with CUT3R's weights in a folder, None where there is none. Raises GeometryError for a pickle."""
    for file in sorted(directory.glob("*.safetensors")):
        try:
            with safe_open(file, "pt") as held:
                if MARK in held.keys():  # noqa: SIM118 no mapping
                    return file
        except (OSError, SafetensorError):
            continue
    if any("cut3r" in p.name.lower() for p in directory.glob("*.pth")):
        raise GeometryError(f"{directory} holds CUT3R: {_CONVERT}")
    return None


def camera_of(points: F32, aspect: float) -> Intrinsics:
    """Return the camera whose rays these points (h, w, 3) lie on best: the median over pixels away from the middle.

    aspect: width over height of the picture before it was scaled, whose pixels were square.
    """
    h, w = points.shape[:2]
    u, v = np.arange(w) - (w - 1) / 2, (np.arange(h) - (h - 1) / 2)[:, None] * (w / h / aspect)  # square pixels
    away, lateral = np.hypot(u, v), np.hypot(points[..., 0], points[..., 1])
    good = (away > w / 8) & (points[..., 2] > 0) & (lateral > 1e-6)
    f = float(np.median(away[good] * points[..., 2][good] / lateral[good])) if good.any() else float(w)
    f = f if math.isfinite(f) and f > 0 else float(w)
    return Intrinsics(w, h, f, f * (h / w) * aspect, (w - 1) / 2, (h - 1) / 2)


def pose_of(told: F64) -> F64:
    """Return T_first_camera (4, 4) of a shift and a quaternion, w first."""
    return pose_matrix(told[:3], (*told[4:7], told[3]))


def _fill(module: nn.Module, weights: dict[str, torch.Tensor], start: str) -> None:
    wanted = list(module.state_dict())
    missing = [start + k for k in wanted if start + k not in weights]
    if missing:
        raise KeyError(f"{', '.join(missing[:3])} and {max(0, len(missing) - 3)} more are missing")
    module.load_state_dict({k: weights[start + k] for k in wanted}, assign=True)
