"""The small recurrent encoder as others use it: pictures in, NumPy and tokens out; its weights on disk."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from s3d_ros.geometry_tokens.config import CONFIG, KIND, WEIGHTS, RecurrentConfig
from s3d_ros.geometry_tokens.encoder import FrameGeometry, GeometryError
from s3d_ros.geometry_tokens.recurrent import RecurrentGeometry, State
from s3d_ros.types import U8, Intrinsics


class SmallGeometry:
    """A trained recurrent encoder, frozen, on the CPU. See ``GeometryEncoder``."""

    metric = True
    recurrent = True
    good_poses = False  # as measured: docs/geometry_tokens.md

    def __init__(self, model: RecurrentGeometry, name: str = "small") -> None:
        self.name = name
        self.model = model.float().eval().requires_grad_(False)
        self.dim = model.config.dim

    @classmethod
    def load(cls, directory: Path) -> SmallGeometry:
        """Load one from its folder. Raises GeometryError."""
        try:
            told = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
            assert told["kind"] == KIND
        except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
            raise GeometryError(f"{directory} holds no geometry encoder of s3d_ros: {error!r}") from error
        model = RecurrentGeometry(RecurrentConfig.from_dict(told, str(directory / CONFIG)))
        try:
            weights = load_file(directory / WEIGHTS)
            model.load_state_dict({k: v.float() for k, v in weights.items()})
        except (OSError, SafetensorError, RuntimeError) as error:
            text = " ".join(str(error).split())[:300]
            raise GeometryError(
                f"the weights in {directory / WEIGHTS} can't be used: {text}; copy them anew"
            ) from error
        return cls(model, directory.name)

    def start(self) -> State:
        """Return the state before the first frame."""
        with torch.inference_mode():
            return self.model.start(1)

    def step(self, state: State, pixels: U8, intrinsics: Intrinsics | None = None) -> tuple[FrameGeometry, State]:
        """Take a frame in, RGB (H, W, 3) uint8."""
        height, width = pixels.shape[:2]
        w, h = self.model.config.size(width, height)
        small = cv2.resize(pixels, (w, h), interpolation=cv2.INTER_AREA if w <= width else cv2.INTER_LINEAR)
        x = torch.from_numpy(np.ascontiguousarray(small)).permute(2, 0, 1)[None].float() / 127.5 - 1
        given = None if intrinsics is None else torch.tensor([_shares(intrinsics)], dtype=torch.float32)
        with torch.inference_mode():
            told, after = self.model.step(state, self.model.encode(x, given), given)
            b = told.log_b[0].exp().numpy()
            focal = self.model.config.focal * float((after.log_focal / after.frames).exp()[0])
        depth = told.log_depth[0].exp().numpy()
        dh, dw = depth.shape
        if intrinsics is None:
            camera = Intrinsics(
                dw, dh, focal * dw, focal * dw * (dh / dw) * (width / height), dw / 2 - 0.5, dh / 2 - 0.5
            )
        else:
            camera = intrinsics.scaled(dw, dh)
        tracked = 1.0 if told.matches is None else float(told.matches.weight.mean())
        geometry = FrameGeometry(
            told.tokens[0].clone(), told.camera[0].clone(), depth, np.exp(-2 * b), camera,
            after.T_first_camera[0].double().numpy(), tracked,
        )  # fmt: skip
        return geometry, after


def save_weights(model: RecurrentGeometry, directory: Path) -> None:
    """Write config and weights, these with 16 bits each."""
    directory.mkdir(parents=True, exist_ok=True)
    model.config.write(directory)
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, directory / WEIGHTS, {"format": "pt"})


def _shares(k: Intrinsics) -> list[float]:
    return [k.fx / k.width, k.fy / k.height, (k.cx + 0.5) / k.width, (k.cy + 0.5) / k.height]
