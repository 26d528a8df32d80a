"""Plain video as a recording: a camera's pictures alone, depth and poses by a geometry encoder.

What comes of it is a guess in metres, far worse than a depth camera's (docs/geometry_tokens.md has figures).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from s3d_ros.drops import Tally
from s3d_ros.keys import choice, from_dict, number, plain
from s3d_ros.offline.assembled import RecordingError
from s3d_ros.types import F32, U8, Arrival, Frame, Intrinsics, PoseNews

if TYPE_CHECKING:
    from s3d_ros.geometry_tokens.encoder import FrameGeometry, GeometryEncoder

SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ogv", ".wmv", ".3gp")
_CONVERT = "Convert it, such as by: ffmpeg -i IN -c:v libx264 OUT.mp4"
_USUAL_HZ = 30.0  # of a video that does not say its rate
_LEAST_FRAMES = 2
_EDGE = 0.12  # relative step of depth from cell to cell; what lies between is no surface
_LEAST_CONFIDENCE = 0.3  # of ``FrameGeometry``: for the small encoder, errors of a factor 1.8 and more are expected
_LEAST_TRACKED = 0.15


@dataclass(frozen=True)
class VideoConfig:
    """How a video is read: keys ``video.*`` of ``s3d ask``."""

    rate_hz: float = number(3.0, 0.01, 60, "pictures a second that are looked at")
    frames: int = number(300, 2, 100_000, "at most; of a longer video they lie further apart")
    width_px: int = number(640, 64, 4096, "wider pictures are scaled down")
    focal: float = number(0.0, 0, 10, "focal length in picture widths; 0: the encoder guesses")
    encoder: str = plain("small", "geometry encoder: small, or a folder (docs/geometry_tokens.md)")
    poses: str = choice("auto", ("auto", "encoder", "features"), "features: SIFT and depth; auto: what is better")
    map: str = choice("auto", ("auto", "always", "never"), "never: frames for a model that sees; auto: if there is one")

    @classmethod
    def from_flat(cls, values: dict[str, Any]) -> VideoConfig:
        """Make it of keys without their ``video.``. Raises ConfigError."""
        return from_dict(cls, values, "video.")


def is_video(path: Path) -> bool:
    """Whether a path names a video file, there or not."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


@dataclass(frozen=True)
class Shot:
    """A picture of a video: its number among all, time, and pixels (H, W, 3) RGB."""

    index: int
    stamp_ns: int
    pixels: U8


class VideoRecording:
    """A video's frames with the depth and poses that an encoder tells. See ``Recording``."""

    frame_id = "map"
    has_instances = False
    z_up = False
    restarts = 0
    late_news: tuple[PoseNews, ...] = ()

    def __init__(self, path: Path, config: VideoConfig | None = None, encoder: GeometryEncoder | None = None) -> None:
        """Raises RecordingError for what can't be read, GeometryError for an encoder that is not there."""
        self.path = path
        self.name = path.name
        self.config = config or VideoConfig()
        self._numbers, self._rate_hz = _sampled(path, self.config)
        self.frame_count: int | None = len(self._numbers)
        self._encoder = encoder
        self._tally = Tally()
        self.focal: list[float] = []  # focal lengths that were guessed, in picture widths
        if encoder is None:
            from s3d_ros.geometry_tokens.choose import load_encoder

            self._encoder = load_encoder(self.config.encoder)

    @property
    def drops(self) -> Counter[str]:
        return self._tally.drops

    @property
    def notes(self) -> Counter[str]:
        return self._tally.notes

    def sentences(self) -> list[str]:
        return self._tally.sentences()

    def __iter__(self) -> Iterator[Arrival]:
        return self.arrivals()

    def arrivals(self, keep: Callable[[int], bool] | None = None) -> Iterator[Arrival]:
        """Yield frames; all go through the encoder, also those that ``keep`` does not want."""
        from s3d_ros.geometry_tokens.odometry import Odometry

        encoder = self._encoder
        assert encoder is not None
        self._tally = Tally()
        self.focal.clear()
        state, odometry = encoder.start(), Odometry()
        for index, shot in enumerate(self.shots()):
            height, width = shot.pixels.shape[:2]
            given = self._camera(width, height)
            geometry, state = encoder.step(state, shot.pixels, given)
            camera = given or _resized(geometry.intrinsics, width, height)
            if geometry.depth_m is None or camera is None:
                raise RecordingError(
                    f"the encoder {encoder.name} tells {'no depth' if camera else 'no field of view'}, so {self.name} "
                    "can't be mapped with it: take another one, give video.focal, or set video.map=never"
                )
            self.focal.append(camera.fx / camera.width)
            T, tracked = odometry.step(shot.pixels, geometry.depth_m, camera), odometry.tracked
            if self._by_encoder(geometry, encoder):
                assert geometry.T_first_camera is not None
                T, tracked = geometry.T_first_camera, geometry.tracked
            if tracked < _LEAST_TRACKED:
                self._tally.drop("video_lost", f"picture {shot.index}")
                continue
            if keep is not None and not keep(index):
                continue
            yield Arrival(Frame(index, shot.stamp_ns, shot.pixels, full_depth(geometry, width, height), camera, T))

    def shots(self) -> Iterator[Shot]:
        """Yield the pictures that are looked at. Raises RecordingError where none can be decoded."""
        held = cv2.VideoCapture(str(self.path))
        wanted = set(self._numbers)
        decoded = 0
        try:
            for number in range(self._numbers[-1] + 1):
                if not held.grab():
                    break
                if number not in wanted:
                    continue
                good, bgr = held.retrieve()
                if not good or bgr is None:
                    self._tally.drop("color_unreadable", f"picture {number}")
                    continue
                decoded += 1
                yield Shot(number, round(number / self._rate_hz * 1e9), self._scaled(bgr[..., ::-1]))
        finally:
            held.release()
        if decoded < _LEAST_FRAMES:
            raise RecordingError(
                f"{self.path}: {decoded} of its pictures could be decoded: its codec is not known here, or it is cut "
                f"off. {_CONVERT}"
            )

    def _scaled(self, rgb: U8) -> U8:
        height, width = rgb.shape[:2]
        scale = min(1.0, self.config.width_px / width)
        if scale < 1:
            rgb = cv2.resize(rgb, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(rgb)

    def _camera(self, width: int, height: int) -> Intrinsics | None:
        f = self.config.focal * width
        return Intrinsics(width, height, f, f, width / 2 - 0.5, height / 2 - 0.5) if f else None

    def _by_encoder(self, geometry: FrameGeometry, encoder: GeometryEncoder) -> bool:
        if self.config.poses == "encoder" and geometry.T_first_camera is None:
            raise RecordingError(f"the encoder {encoder.name} tells no poses: set video.poses to features")
        return self.config.poses == "encoder" or (self.config.poses == "auto" and encoder.good_poses)


def full_depth(geometry: FrameGeometry, width: int, height: int) -> F32:
    """Return an encoder's depth (height, width), 0 where it is not sure and at its steps, which are smeared."""
    depth = geometry.depth_m
    assert depth is not None
    around = np.ones((3, 3), np.uint8)
    step = cv2.dilate(depth, around) - cv2.erode(depth, around)
    good = step < _EDGE * depth
    if geometry.confidence is not None:
        good &= geometry.confidence > _LEAST_CONFIDENCE
    full = cv2.resize(depth, (width, height), interpolation=cv2.INTER_LINEAR)
    sure = cv2.resize(good.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.where(sure > 0, full, 0).astype(np.float32)


def _resized(camera: Intrinsics | None, width: int, height: int) -> Intrinsics | None:
    return None if camera is None else replace(camera.scaled(width, height), width=width, height=height)


def _sampled(path: Path, config: VideoConfig) -> tuple[list[int], float]:
    """Return the numbers of the pictures to look at, and the video's rate. Raises RecordingError."""
    if not path.exists():
        raise RecordingError(f"{path} does not exist. Give a video file, such as {path.stem}.mp4")
    if path.stat().st_size == 0:
        raise RecordingError(f"{path} is empty: copy the video anew")
    held = cv2.VideoCapture(str(path))
    try:
        if not held.isOpened() or not held.grab():
            raise RecordingError(
                f"{path} is no video that OpenCV can read: a damaged file, or a container or codec that is not known "
                f"here. {_CONVERT}"
            )
        told_hz = float(held.get(cv2.CAP_PROP_FPS))
        count = int(held.get(cv2.CAP_PROP_FRAME_COUNT))
        if count < 1 or count > 10_000_000:  # some containers don't say: count
            count = 1
            while held.grab():
                count += 1
    finally:
        held.release()
    rate_hz = told_hz if math.isfinite(told_hz) and 0.1 <= told_hz <= 1000 else _USUAL_HZ
    wanted = min(config.frames, max(1, round(count / rate_hz * config.rate_hz)), count)
    if wanted < _LEAST_FRAMES:
        raise RecordingError(
            f"{path} is too short: {count} pictures at {rate_hz:.4g} a second, of which video.rate_hz = "
            f"{config.rate_hz:g} looks at {wanted}; {_LEAST_FRAMES} are needed. Set it higher, or give a longer video"
        )
    return [k * count // wanted for k in range(wanted)], rate_hz
