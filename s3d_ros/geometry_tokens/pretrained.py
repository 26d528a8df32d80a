"""Pretrained depth models of Transformers as geometry encoders: Depth Anything V2 (metric) and DepthPro.

Each frame is looked at alone; they tell no poses. Their tokens are those of their DINOv2 encoder.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from s3d_ros.geometry_tokens.encoder import FrameGeometry, GeometryError
from s3d_ros.types import F32, U8, Intrinsics

KINDS = ("depth_anything", "depth_pro")
_MEAN_STD = {
    "depth_anything": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "depth_pro": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
_ANYTHING_PX = 518  # the shorter side, as it was trained
_FAR_M = 1000.0


class PretrainedDepth:
    """A depth model of Transformers, frozen. See ``GeometryEncoder``; its state is nothing."""

    metric = True
    recurrent = False
    good_poses = False

    def __init__(self, model: Any, name: str) -> None:
        self.name = name
        self.model = model.eval().requires_grad_(False)
        self.kind = model.config.model_type
        self.device = next(model.parameters()).device
        self._tokens: list[torch.Tensor] = []
        encoder = model.backbone if self.kind == "depth_anything" else model.depth_pro.encoder.image_encoder.model
        encoder.register_forward_hook(self._keep)
        config = model.config
        own = config.backbone_config if self.kind == "depth_anything" else config.image_model_config
        self.dim = int(own.hidden_size)

    @classmethod
    def load(cls, directory: Path, device: str = "cpu") -> PretrainedDepth:
        """Load one from its folder (safetensors). Raises GeometryError."""
        from transformers import AutoModelForDepthEstimation

        told = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        if told.get("model_type") == "depth_anything" and told.get("depth_estimation_type") != "metric":
            raise GeometryError(
                f"{directory} tells relative depth only; take a metric one, as Depth-Anything-V2-Metric-Indoor-Small-hf"
            )
        try:
            model, said = AutoModelForDepthEstimation.from_pretrained(
                directory, local_files_only=True, use_safetensors=True, trust_remote_code=False,
                output_loading_info=True,
            )  # fmt: skip
        except Exception as error:  # a damaged file may lead to anything
            raise GeometryError(f"{directory} can't be loaded: {' '.join(str(error).split())[:300]}") from error
        said = said if isinstance(said, dict) else vars(said)
        wrong = sorted({*said.get("missing_keys", ()), *(m[0] for m in said.get("mismatched_keys", ()))})
        if wrong:
            raise GeometryError(f"the weights in {directory} do not fit its config.json: {', '.join(wrong[:5])} ...")
        return cls(model.to(device), directory.name)

    def start(self) -> None:
        """Return the state before the first frame: none."""

    def step(self, state: None, pixels: U8, intrinsics: Intrinsics | None = None) -> tuple[FrameGeometry, None]:
        """Take a frame in, RGB (H, W, 3) uint8."""
        height, width = pixels.shape[:2]
        self._tokens.clear()
        with torch.inference_mode():
            out = self.model(pixel_values=self._prepared(pixels))
        tokens = self._tokens[-1][0].float().cpu()
        depth = out.predicted_depth[0].float().cpu().numpy()
        if depth.ndim == 3:
            depth = depth[0]
        focal = None if intrinsics is None else intrinsics.fx / intrinsics.width  # in picture widths
        if self.kind == "depth_pro":
            told = getattr(out, "field_of_view", None)
            if focal is None and told is not None:
                focal = 0.5 / math.tan(math.radians(float(told.reshape(-1)[0])) / 2)
            depth = _metres(depth, 1.0 if focal is None else focal)
        h, w = depth.shape
        camera = None
        if intrinsics is not None:
            camera = intrinsics.scaled(w, h)
        elif focal is not None:
            camera = Intrinsics(w, h, focal * w, focal * w * (h / w) * (width / height), w / 2 - 0.5, h / 2 - 0.5)
        geometry = FrameGeometry(tokens[1:].clone(), tokens[0].clone(), depth.astype(np.float32), None, camera)
        return geometry, None

    def _keep(self, module: Any, args: Any, output: Any) -> None:
        maps = getattr(output, "feature_maps", None)
        self._tokens.append(maps[-1] if maps is not None else output.last_hidden_state)

    def _prepared(self, pixels: U8) -> torch.Tensor:
        if self.kind == "depth_pro":
            size = (side := int(self.model.config.patch_size) * 4, side)  # 1536: its finest level is 4 x 4 windows
        else:
            patch = int(self.model.config.patch_size)
            scale = min(_ANYTHING_PX, 37 * patch) / min(pixels.shape[:2])
            size = tuple(max(1, round(s * scale / patch)) * patch for s in pixels.shape[1::-1])
        mean, std = (np.array(v, np.float32) for v in _MEAN_STD[self.kind])
        x = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC).astype(np.float32) / 255
        return torch.from_numpy((x - mean) / std).permute(2, 0, 1)[None].to(self.device)


def _metres(canonical_inverse: F32, focal: float) -> F32:
    """Return depth of DepthPro's inverse depth for a camera whose focal length is one picture width."""
    return 1.0 / np.clip(canonical_inverse / focal, 1 / _FAR_M, 1e4)
