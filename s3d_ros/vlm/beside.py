"""What a picture may have beside its pixels, for models with parts of their own (``parts.json``). Free of torch.

``ChatImage.beside`` holds, for a view frame with depth: ``depth_mm`` (H, W) uint16, 0 where unknown, of the picture's
shape; ``intrinsics`` (4,) fx, fy, cx, cy of the picture; ``T_level_camera`` (4, 4), the level frame being the map
turned so that up is +z.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3d_ros.chat import ChatError, ChatImage
from s3d_ros.geometry import level_rotation
from s3d_ros.images import resize_nearest
from s3d_ros.types import F64, ErrorCode, Intrinsics, ViewFrame
from s3d_ros.vlm.config import ModelError

PARTS_JSON, PARTS_WEIGHTS = "parts.json", "parts.safetensors"
DEPTH = "depth"  # a need: depth and pose of each view frame


def read_parts(directory: Path) -> dict[str, dict[str, Any]]:
    """Return the parts that a checkpoint was trained with, by name; {} for other models.

    "answers": whether the model can't be asked without it. "needs": what view frames must have beside them.
    "settings": what the part is made of. Raises ModelError.
    """
    path = directory / PARTS_JSON
    if not path.is_file():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: {"answers": bool(p["answers"]), "needs": list(p["needs"]), "settings": dict(p["settings"])}
            for name, p in told.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} can't be read ({type(error).__name__}: {error}); copy the checkpoint anew") from error


def needs_of(model: str) -> frozenset[str]:
    """Return what view frames must have beside them to ask a model directory. Raises ModelError."""
    parts = read_parts(Path(model).expanduser()) if model else {}
    return frozenset(need for part in parts.values() if part["answers"] for need in part["needs"])


def beside_depth(depth_mm: Any, intrinsics: Intrinsics, T_map_camera: F64, up: F64) -> dict[str, Any]:
    """Return what a picture with depth has beside it. depth_mm: (H, W) uint16, of the picture's shape."""
    k = intrinsics
    T_level_map = np.eye(4)
    T_level_map[:3, :3] = level_rotation(up)
    return {
        "depth_mm": np.asarray(depth_mm, np.uint16),
        "intrinsics": np.array([k.fx, k.fy, k.cx, k.cy], np.float64),
        "T_level_camera": T_level_map @ T_map_camera,
    }


def with_depth(image: ChatImage, view: ViewFrame, up: F64) -> ChatImage:
    """Return a drawn view frame with its depth beside it. Raises ChatError where that was not kept."""
    if not view.depth_png:
        raise ChatError(
            ErrorCode.MODEL_FAILED,
            f"this model was trained with 3D positions and needs the depth of each view frame, which view {view.id} "
            "does not have. Runs of s3d replay keep it: ask one of those (s3d ask RUN); live maps and maps that were "
            "saved can't be asked with this model",
        )
    height, width = image.pixels.shape[:2]
    held, told = _decoded(view.depth_png, height, width)
    if held is None:
        raise ChatError(ErrorCode.MODEL_FAILED, f"the depth of view {view.id} is damaged: make the run anew")
    beside = beside_depth(held, view.intrinsics.scaled(width, height), view.T_map_camera, up)
    pose = hashlib.blake2b(told, digest_size=8)
    for name in ("intrinsics", "T_level_camera"):
        pose.update(np.asarray(beside[name], np.float64).round(9).tobytes())
    return ChatImage(f"{image.key}-{pose.hexdigest()}", image.pixels, beside)


@lru_cache(maxsize=64)  # Python keeps the hash of bytes: every question asks for the same ones
def _decoded(depth_png: bytes, height: int, width: int) -> tuple[Any, bytes]:
    """Return depth (height, width) in millimetres, None for a damaged one, and what tells it from others."""
    held = cv2.imdecode(np.frombuffer(depth_png, np.uint8), cv2.IMREAD_UNCHANGED)
    if held is None or held.dtype != np.uint16 or held.ndim != 2:
        return None, b""
    return resize_nearest(held, height, width), hashlib.blake2b(depth_png, digest_size=16).digest()
