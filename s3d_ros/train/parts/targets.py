"""What is reconstructed: plain view frames and the plain bird's-eye view of a scene, as squares."""

from __future__ import annotations

import cv2
import numpy as np

from s3d_ros.geometry import level_rotation
from s3d_ros.train.parts.autoencoder import CELL_PX
from s3d_ros.train.reader import SceneData, View
from s3d_ros.types import F32, U8, Bools


def is_view(name: str) -> bool:
    """Say whether a picture's member is a view frame (else it is a view from above)."""
    return ".view" in name


def scene_bev(scene: SceneData) -> str | None:
    """Return the plain member of the scene's own bird's-eye view, which is exact; None where there is none."""
    return next((n.replace(".marked.", ".plain.") for n in scene.data["bevs"] if n.endswith(".png")), None)


def view_pixels(scene: SceneData, name: str, px: int) -> U8:
    """Return a view frame without marks, RGB (px, px, 3), squeezed into a square."""
    image = scene.image(name.replace(".marked.", ".plain."))
    return np.asarray(cv2.resize(image, (px, px), interpolation=cv2.INTER_AREA))


def bev_pixels(scene: SceneData, name: str, px: int) -> tuple[U8, Bools]:
    """Return the view from above, RGB (px, px, 3), its longer side ``px``, black below and right of it; and which of
    its cells of 16 px (px / 16 squared,) show anything."""
    image = scene.image(name)
    known = (image > 0).any(axis=2)
    height, width = (max(1, round(n * px / max(image.shape[:2]))) for n in image.shape[:2])
    out, seen = np.zeros((px, px, 3), np.uint8), np.zeros((px, px), np.uint8)
    out[:height, :width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    shown = np.asarray(known, np.uint8) * np.uint8(255)
    seen[:height, :width] = cv2.resize(shown, (width, height), interpolation=cv2.INTER_AREA)
    side = px // CELL_PX
    cells = seen.reshape(side, CELL_PX, side, CELL_PX).max(axis=(1, 3)) > 0
    return out, cells.ravel()


def rays(scene: SceneData, view: View, px: int) -> F32:
    """Return for each cell of a view's square, (px / 16 squared, 6): the camera's place, metres, in the level frame
    (+z up), and the unit direction in which the cell is seen."""
    side = px // CELL_PX
    R = level_rotation(scene.data["up"])
    k = view.intrinsics.scaled(side, side)
    u, v = np.meshgrid(np.arange(side), np.arange(side))
    ahead = np.stack([(u - k.cx) / k.fx, (v - k.cy) / k.fy, np.ones_like(u, dtype=np.float64)], axis=-1).reshape(-1, 3)
    ahead = ahead @ (R @ view.T_map_camera[:3, :3]).T
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    place = np.broadcast_to(R @ view.T_map_camera[:3, 3], ahead.shape)
    return np.concatenate([place, ahead], axis=1).astype(np.float32)
