"""ARKitScenes: ``lowres_wide/``, ``lowres_depth/``, ``lowres_wide_intrinsics/`` and ``lowres_wide.traj`` of one video.

Files are named ``VIDEO_SECONDS.png`` (intrinsics ``.pincam``: width height fx fy cx cy). A line of the trajectory is
``seconds rx ry rz tx ty tz``: world to camera, the rotation as axis times angle; so the camera's pose is its inverse.
The world is z-up. Depth is uint16 mm, of colour's size, 256x192. Poses come at another rate and are interpolated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from s3d_ros.config import FramesConfig
from s3d_ros.frames import FrameAssembler
from s3d_ros.geometry import invert
from s3d_ros.images import ImageError, decode_compressed
from s3d_ros.offline.assembled import AssembledRecording, RecordingError
from s3d_ros.rgbd import Image
from s3d_ros.types import F64, Intrinsics

_COLOR, _DEPTH, _CAMERAS, _TRAJECTORY = "lowres_wide", "lowres_depth", "lowres_wide_intrinsics", "lowres_wide.traj"
_CAMERA_GAP_NS = 60_000_000  # times of a frame's files differ by up to some ms


def is_arkitscenes(path: Path) -> bool:
    """Return whether a folder looks like a video of ARKitScenes, or the folder of its frames."""
    return (path / _COLOR).is_dir() or (_frames_folder(path) / _COLOR).is_dir()


def _frames_folder(path: Path) -> Path:
    return path / f"{path.name}_frames"  # as in its 3dod part; in the raw part they lie in the video's folder itself


class ArkitScenes(AssembledRecording):
    """One video, from its raw part or its 3D-detection part."""

    z_up = True

    def __init__(self, path: Path, config: FramesConfig) -> None:
        self.path = path if (path / _COLOR).is_dir() else _frames_folder(path)
        self._color, self._depth = (_by_time(self.path / name, ".png") for name in (_COLOR, _DEPTH))
        self._cameras = [(t, _pincam(p)) for t, p in _by_time(self.path / _CAMERAS, ".pincam")]
        file = self.path / _TRAJECTORY
        for what, found in ((_COLOR, self._color), (_DEPTH, self._depth), (_CAMERAS, self._cameras)):
            if not found:
                raise RecordingError(f"{self.path} looks like a video of ARKitScenes, but has nothing in {what}/.")
        if not file.exists():
            raise RecordingError(f"{self.path} has no {_TRAJECTORY}; download that asset of the video, too.")
        self._poses = [_pose(line, file, i) for i, line in enumerate(file.read_text().splitlines(), 1) if line.strip()]
        config = replace(config, pose_source="topic", depth_scale=1000.0)
        super().__init__(path.name.removesuffix("_frames"), config, len(self._color), "world")

    def _feed(self, assembler: FrameAssembler) -> Iterator[None]:
        times = np.array([t for t, _ in self._cameras])
        events: list[tuple[int, int, object]] = [(t, 0, T) for t, T in self._poses]
        events += [(t, 1, p) for t, p in self._depth] + [(t, 2, p) for t, p in self._color]
        for stamp_ns, kind, value in sorted(events, key=lambda event: event[:2]):
            if kind == 0:
                assembler.add_pose(stamp_ns, np.asarray(value), "world")
            elif kind == 1:
                assembler.add_depth(stamp_ns, partial(_read, Path(str(value))))
            else:
                nearest = int(np.argmin(np.abs(times - stamp_ns)))
                if abs(int(times[nearest]) - stamp_ns) <= _CAMERA_GAP_NS:
                    assembler.add_camera_info(stamp_ns, self._cameras[nearest][1])
                assembler.add_color(stamp_ns, partial(_read, Path(str(value))))
            yield


def _by_time(folder: Path, suffix: str) -> list[tuple[int, Path]]:
    out = []
    for file in folder.glob(f"*{suffix}"):
        try:
            out.append((round(float(file.stem.rpartition("_")[2]) * 1e9), file))
        except ValueError:
            raise RecordingError(f"{file}: files are named VIDEO_SECONDS{suffix}.") from None
    return sorted(out)


def _pincam(file: Path) -> Intrinsics:
    try:
        w, h, fx, fy, cx, cy = (float(word) for word in file.read_text().split())
        assert fx > 0 and fy > 0
    except (ValueError, AssertionError) as error:
        raise RecordingError(f"{file} must hold: width height fx fy cx cy.") from error
    return Intrinsics(int(w), int(h), fx, fy, cx, cy)


def _pose(line: str, file: Path, number: int) -> tuple[int, F64]:
    try:
        t, *values = (float(word) for word in line.split())
        assert len(values) == 6 and np.isfinite(values).all()
    except (ValueError, AssertionError) as error:
        raise RecordingError(f"{file}, line {number}: {line.strip()!r} is no: seconds rx ry rz tx ty tz.") from error
    T_camera_world = np.eye(4)
    T_camera_world[:3, :3] = cv2.Rodrigues(np.array(values[:3]))[0]
    T_camera_world[:3, 3] = values[3:]
    return round(t * 1e9), invert(T_camera_world)


def _read(path: Path) -> Image:
    try:
        return decode_compressed(path.suffix[1:], path.read_bytes())
    except (OSError, ImageError) as error:
        raise ImageError(f"{path.name}: {error}") from error
