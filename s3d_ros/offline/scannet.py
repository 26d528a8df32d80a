"""ScanNet: a ``.sens`` file, or a folder that it was exported to (``color/``, ``depth/``, ``pose/``, ``intrinsic/``).

Colour (1296x968) is drawn into the depth camera's image, as the two have different intrinsics: then they fit pixel
for pixel. Where ``SCENE.txt`` with ``axisAlignment`` lies beside it, poses are aligned by it: the floor is level, z is
up, and the boxes of ScanRefer, Scan2Cap and Multi3DRefer are in the same frame. Without it, up is found as for other
scans.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from s3d_ros.config import FramesConfig
from s3d_ros.frames import FrameAssembler
from s3d_ros.images import ImageError, decode_compressed
from s3d_ros.offline.assembled import AssembledRecording, RecordingError
from s3d_ros.rgbd import Image
from s3d_ros.types import F64, U8, Intrinsics

_HZ = 30  # the files' own times are mostly 0
_SENS_VERSION = 4
_COLOR_FORMATS = {1: "png", 2: "jpeg"}
_DEPTH_RAW, _DEPTH_ZLIB = 0, 1
_MOST_PIXELS = 1 << 26


@dataclass(frozen=True)
class _Cameras:
    """K (3, 3) of both; depth_shape (H, W); units of depth in a metre."""

    color: F64
    depth: F64
    units_per_m: float


class ScanNetExport(AssembledRecording):
    """``color/0.jpg``, ``depth/0.png`` (uint16 mm), ``pose/0.txt`` (camera to world), ``intrinsic/intrinsic_*.txt``."""

    def __init__(self, path: Path, config: FramesConfig) -> None:
        self.path = path
        names = [p.stem for p in (path / "color").glob("*.[jp][pn]g")]
        if odd := [n for n in names if not n.isdigit()]:
            raise RecordingError(f"{path / 'color'}: frames are named by their number, as 0.jpg; {odd[0]!r} is not.")
        self._numbers = sorted(int(n) for n in names)
        for folder in ("color", "depth", "pose", "intrinsic"):
            if not (path / folder).is_dir() or not any((path / folder).iterdir()):
                raise RecordingError(
                    f"{path} looks like a scan exported from ScanNet, but has nothing in {folder}/; export it with "
                    "--export_color_images --export_depth_images --export_poses --export_intrinsics."
                )
        self._cameras = _Cameras(
            _matrix(path / "intrinsic" / "intrinsic_color.txt"),
            _matrix(path / "intrinsic" / "intrinsic_depth.txt"),
            1e3,
        )
        self._align = axis_alignment(path)
        self.z_up = self._align is not None
        super().__init__(path.name, _as_scannet(config, 1e3), len(self._numbers), "scan")

    def _feed(self, assembler: FrameAssembler) -> Iterator[None]:
        for number in self._numbers:
            color = next(p for s in (".jpg", ".png") if (p := self.path / "color" / f"{number}{s}").exists())
            pose = self.path / "pose" / f"{number}.txt"
            try:
                T = np.loadtxt(pose, dtype=np.float64) if pose.exists() else None
            except ValueError as error:
                assembler.tally.drop("pose_invalid", f"{pose.name}: {error}")
                T = None
            depth = _once(partial(_read_file, self.path / "depth" / f"{number}.png"))
            yield from _feed_frame(assembler, number, partial(_read_file, color), depth, T, self._cameras, self._align)


class ScanNetSens(AssembledRecording):
    """One ``.sens`` file, version 4: what ScanNet is distributed as. Read frame by frame, never as a whole."""

    def __init__(self, path: Path, config: FramesConfig) -> None:
        self.path = path
        with path.open("rb") as file:
            self._cameras, self._color, self._depth_kind, self._depth_shape, count = _sens_header(file, path)
        self._align = axis_alignment(path.parent)
        self.z_up = self._align is not None
        super().__init__(path.stem, _as_scannet(config, self._cameras.units_per_m), count, "scan")

    def _feed(self, assembler: FrameAssembler) -> Iterator[None]:
        with self.path.open("rb") as file:
            _sens_header(file, self.path)
            for number in range(self.frame_count or 0):
                head = file.read(96)
                if len(head) < 96:
                    assembler.tally.drop("color_unreadable", f"{self.path.name} ends in frame {number}")
                    return
                T = np.frombuffer(head[:64], "<f4").reshape(4, 4).astype(np.float64)
                sizes = struct.unpack("<QQ", head[80:96])
                if max(sizes) > _MOST_PIXELS:
                    assembler.tally.drop("color_unreadable", f"{self.path.name}, frame {number}: {max(sizes)} bytes")
                    return
                color, depth = (file.read(size) for size in sizes)
                read = partial(_sens_depth, depth, self._depth_kind, self._depth_shape)
                yield from _feed_frame(
                    assembler, number, partial(decode_compressed, self._color, color), _once(read), T,
                    self._cameras, self._align,
                )  # fmt: skip


def is_scannet_export(path: Path) -> bool:
    """Return whether a folder looks like a scan exported from ScanNet."""
    return sum((path / name).is_dir() for name in ("color", "depth", "pose", "intrinsic")) >= 3


def axis_alignment(folder: Path) -> F64 | None:
    """Return ``axisAlignment`` (4, 4) of the ``SCENE.txt`` in a folder, None without one. Raises RecordingError."""
    for file in sorted(folder.glob("scene*.txt")):
        for line in file.read_text(errors="replace").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "axisAlignment":
                try:
                    T = np.array([float(word) for word in value.split()]).reshape(4, 4)
                    assert np.isfinite(T).all()
                except (ValueError, AssertionError):
                    raise RecordingError(f"{file}: axisAlignment must be 16 numbers, not {value.strip()!r}.") from None
                return T
    return None


def _feed_frame(
    assembler: FrameAssembler,
    number: int,
    color: Callable[[], Image],
    depth: Callable[[], Image],
    T: F64 | None,
    cameras: _Cameras,
    align: F64 | None,
) -> Iterator[None]:
    stamp_ns = number * 1_000_000_000 // _HZ
    k = cameras.depth
    assembler.add_camera_info(stamp_ns, Intrinsics(0, 0, k[0, 0], k[1, 1], k[0, 2], k[1, 2]))
    if T is not None:
        if T.shape == (4, 4) and np.isfinite(T).all():
            assembler.add_pose(stamp_ns, T if align is None else align @ T, "scan")
        else:  # the camera's place was lost: ScanNet writes -inf
            assembler.tally.drop("pose_invalid", f"frame {number}: not finite")
    assembler.add_depth(stamp_ns, depth)
    assembler.add_color(stamp_ns, lambda: _registered(color(), depth().shape, cameras))
    yield


def _registered(color: Image, shape: tuple[int, ...], cameras: _Cameras) -> U8:
    """Return colour as the depth camera would see it, (H, W, 3)."""
    warp = (cameras.color @ np.linalg.inv(cameras.depth))[:2]  # from pixels of depth to those of colour
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(np.asarray(color), warp, (shape[1], shape[0]), flags=flags))


def _once(read: Callable[[], Image]) -> Callable[[], Image]:
    """Depth is wanted twice, for itself and for its size; it is decoded once."""
    kept: list[Image] = []

    def value() -> Image:
        if not kept:
            kept.append(read())
        return kept[0]

    return value


def _sens_header(file: BinaryIO, path: Path) -> tuple[_Cameras, str, int, tuple[int, int], int]:
    try:
        (version,) = struct.unpack("<I", file.read(4))
        if version != _SENS_VERSION:
            raise RecordingError(
                f"{path} is of version {version}; ScanNet's .sens files are of version {_SENS_VERSION}."
            )
        (length,) = struct.unpack("<Q", file.read(8))
        if length > 4096:
            raise RecordingError(f"{path} is damaged: a sensor's name of {length} bytes.")
        file.read(length)
        K = np.frombuffer(file.read(256), "<f4").reshape(4, 4, 4).astype(np.float64)  # colour, its place; depth, its
        color, depth, _, _, dw, dh, units, count = struct.unpack("<iiIIIIfQ", file.read(36))
    except (struct.error, ValueError) as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(f"{path} is cut off in its header; copy it anew.") from error
    if color not in _COLOR_FORMATS or depth not in (_DEPTH_RAW, _DEPTH_ZLIB) or units <= 0:
        raise RecordingError(f"{path} holds colour of kind {color} and depth of kind {depth}; JPEG or PNG and zlib do.")
    return _Cameras(K[0, :3, :3], K[2, :3, :3], float(units)), _COLOR_FORMATS[color], depth, (dh, dw), count


def _sens_depth(data: bytes, kind: int, shape: tuple[int, int]) -> NDArray[np.generic]:
    try:
        raw = zlib.decompress(data) if kind == _DEPTH_ZLIB else data
        return np.frombuffer(raw, "<u2").reshape(shape)
    except (zlib.error, ValueError) as error:
        raise ImageError(f"depth of a .sens file: {error}") from error


def _read_file(path: Path) -> Image:
    try:
        return decode_compressed(path.suffix[1:], path.read_bytes())
    except OSError as error:
        raise ImageError(f"{path.name} can't be read: {error.strerror}") from error
    except ImageError as error:
        raise ImageError(f"{path.name}: {error}") from error


def _matrix(file: Path) -> F64:
    try:
        K = np.loadtxt(file)[:3, :3]
        assert K.shape == (3, 3) and np.isfinite(K).all() and K[0, 0] > 0 and K[1, 1] > 0
    except (OSError, ValueError, IndexError, AssertionError) as error:
        raise RecordingError(f"{file} must hold the 4x4 (or 3x3) intrinsic matrix in pixels.") from error
    return np.asarray(K)


def _as_scannet(config: FramesConfig, units_per_m: float) -> FramesConfig:
    return replace(config, pose_gap_s=0.0, pose_source="topic", depth_scale=units_per_m)
