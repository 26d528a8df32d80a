"""Dataset folders: the 7-Scenes layout and the TUM RGB-D layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from s3d_ros.config import FramesConfig
from s3d_ros.frames import FrameAssembler
from s3d_ros.geometry import PoseError, pose_matrix
from s3d_ros.images import ImageError, decode_compressed
from s3d_ros.offline.assembled import AssembledRecording, RecordingError
from s3d_ros.rgbd import Image
from s3d_ros.types import F64, Intrinsics

_INTRINSICS = "camera-intrinsics.txt"
_SEVEN_SCENES_K = (585.0, 585.0, 320.0, 240.0)  # as its authors give them
_SEVEN_SCENES_HZ = 30
_TUM_LISTS = ("rgb.txt", "depth.txt", "groundtruth.txt")
# The authors advise the sensor's default for their freiburg1 and 2, whose registered depth is made with it.
_TUM_K = (525.0, 525.0, 319.5, 239.5)
_TUM_FREIBURG3_K = (535.4, 539.2, 320.1, 247.6)
_TUM_UNITS_PER_M = 5000.0
_COLOR_SUFFIXES = (".color.png", ".color.jpg", ".color.jpeg")


def is_seven_scenes(path: Path) -> bool:
    """Return whether a folder looks like a sequence in the 7-Scenes layout."""
    return any(_color_files(path)) or any(path.glob("frame-*.depth.png"))


def is_tum(path: Path) -> bool:
    """Return whether a folder looks like a sequence in the TUM RGB-D layout."""
    return any((path / name).exists() for name in _TUM_LISTS[:2])


class SevenScenes(AssembledRecording):
    """frame-NNNNNN.color.png (or .jpg), .depth.png (uint16 mm; 0 and 65535 unknown), .pose.txt (camera to world).

    ``camera-intrinsics.txt`` (3x3) is used where it is there. The files have no times: frames come at 30 Hz, by the
    number in their name. A frame without a pose of its own is dropped, nothing is interpolated.
    """

    z_up = False

    def __init__(self, path: Path, config: FramesConfig) -> None:
        self.path = path
        self._colors = sorted(_color_files(path))
        for suffix, files in (
            ("color.png or .color.jpg", self._colors),
            ("depth.png", any(path.glob("frame-*.depth.png"))),
            ("pose.txt", any(path.glob("frame-*.pose.txt"))),
        ):
            if not files:
                raise RecordingError(
                    f"{path} looks like a sequence in the 7-Scenes layout, but has no frame-*.{suffix}: "
                    "each frame needs its colour, its depth and its pose."
                )
        self._intrinsics = _read_intrinsics(path)
        config = replace(config, pose_gap_s=0.0, pose_source="topic", depth_scale=1000.0)
        super().__init__(path.name, config, len(self._colors), "world")

    def _feed(self, assembler: FrameAssembler) -> Iterator[None]:
        for file in self._colors:
            stem = file.name.split(".")[0]
            stamp_ns = _frame_number(stem) * 1_000_000_000 // _SEVEN_SCENES_HZ
            camera = self._intrinsics or _default_intrinsics(_SEVEN_SCENES_K)
            assembler.add_camera_info(stamp_ns, camera)
            T = _pose_file(self.path / f"{stem}.pose.txt", assembler)
            if T is not None:
                assembler.add_pose(stamp_ns, T, "world")
            depth = self.path / f"{stem}.depth.png"
            if depth.exists():
                assembler.add_depth(stamp_ns, partial(_read_image, depth))
            assembler.add_color(stamp_ns, partial(_read_image, file))
            yield


class Tum(AssembledRecording):
    """rgb.txt, depth.txt (lines "time file"), groundtruth.txt (lines "time tx ty tz qx qy qz qw"); depth in 1/5000 m.

    ``camera-intrinsics.txt`` (3x3) is used where it is there, else the dataset's own for its cameras.
    """

    z_up = False

    def __init__(self, path: Path, config: FramesConfig) -> None:
        self.path = path
        if missing := [name for name in _TUM_LISTS if not (path / name).exists()]:
            raise RecordingError(
                f"{path} looks like a sequence in the TUM RGB-D layout, but has no {' and no '.join(missing)}."
            )
        self._colors, self._depths, poses = (_read_list(path / name) for name in _TUM_LISTS)
        self._poses = [(stamp_ns, _tum_pose(path, words)) for stamp_ns, words in poses]
        for name, rows in zip(_TUM_LISTS, (self._colors, self._depths, self._poses), strict=True):
            if not rows:
                raise RecordingError(f"{path / name} lists nothing.")
        self._intrinsics = _read_intrinsics(path)
        config = replace(config, pose_source="topic", depth_scale=_TUM_UNITS_PER_M)
        super().__init__(path.name, config, min(len(self._colors), len(self._depths)), "world")

    def _feed(self, assembler: FrameAssembler) -> Iterator[None]:
        k = _TUM_FREIBURG3_K if "freiburg3" in str(self.path.resolve()) else _TUM_K
        events = (
            [(stamp_ns, 0, T) for stamp_ns, T in self._poses]
            + [(stamp_ns, 1, words[0]) for stamp_ns, words in self._depths]
            + [(stamp_ns, 2, words[0]) for stamp_ns, words in self._colors]
        )
        assembler.add_camera_info(0, self._intrinsics or _default_intrinsics(k))
        for stamp_ns, kind, value in sorted(events, key=lambda event: event[:2]):
            if kind == 0:
                assembler.add_pose(stamp_ns, value, "world")
            elif kind == 1:
                assembler.add_depth(stamp_ns, partial(_read_image, self.path / str(value)))
            else:
                assembler.add_color(stamp_ns, partial(_read_image, self.path / str(value)))
            yield


def _color_files(path: Path) -> Iterator[Path]:
    return (p for p in path.glob("frame-*.color.*") if p.name.endswith(_COLOR_SUFFIXES))


def _frame_number(stem: str) -> int:
    digits = stem.removeprefix("frame-")
    if not digits.isdigit():
        raise RecordingError(f"{stem}: frames are named frame- and a number, as in frame-000000.color.png")
    return int(digits)


def _read_image(path: Path) -> Image:
    try:
        return decode_compressed(path.suffix[1:], path.read_bytes())
    except OSError as error:
        raise ImageError(f"{path.name} can't be read: {error.strerror}") from error
    except ImageError as error:
        raise ImageError(f"{path.name}: {error}") from error


def _default_intrinsics(k: tuple[float, float, float, float]) -> Intrinsics:
    return Intrinsics(640, 480, *k)


def _read_intrinsics(path: Path) -> Intrinsics | None:
    """Read camera-intrinsics.txt, of images of any size; None if there is none. Raises RecordingError."""
    file = path / _INTRINSICS
    if not file.exists():
        return None
    try:
        K = np.loadtxt(file)
        assert K.shape == (3, 3) and np.isfinite(K).all() and K[0, 0] > 0 and K[1, 1] > 0
    except (ValueError, AssertionError) as error:
        raise RecordingError(f"{file} must hold the 3x3 matrix fx 0 cx / 0 fy cy / 0 0 1 in pixels.") from error
    return Intrinsics(0, 0, float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]))


def _pose_file(file: Path, assembler: FrameAssembler) -> F64 | None:
    """Read a 4x4 matrix; a file that is not there gives None, one that holds something else is counted."""
    try:
        return np.loadtxt(file, dtype=np.float64)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        assembler.tally.drop("pose_invalid", f"{file.name}: {error}")
        return None


def _read_list(file: Path) -> list[tuple[int, list[str]]]:
    """Read lines of a time in seconds and words; return stamps in nanoseconds and the words. Raises RecordingError."""
    rows = []
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        try:
            rows.append((_nanoseconds(words[0]), words[1:]))
            assert len(words) > 1
        except (ValueError, AssertionError) as error:
            raise RecordingError(
                f"{file}, line {number}: {line.strip()!r} is no time and what belongs to it."
            ) from error
    return sorted(rows, key=lambda row: row[0])


def _nanoseconds(seconds: str) -> int:
    """Exactly: a float of seconds since 1970 is good to a tenth of a microsecond only."""
    whole, _, part = seconds.partition(".")
    return int(whole) * 1_000_000_000 + int((part + "0" * 9)[:9])


def _tum_pose(path: Path, words: list[str]) -> F64:
    try:
        values = [float(word) for word in words]
        assert len(values) == 7
        return pose_matrix(values[:3], values[3:])
    except (ValueError, AssertionError, PoseError) as error:
        raise RecordingError(f"{path / _TUM_LISTS[2]}: {' '.join(words)!r} is no tx ty tz qx qy qz qw.") from error
