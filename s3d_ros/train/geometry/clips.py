"""Clips: small pictures with depth and poses, in the order of time, which a geometry encoder learns from.

A clip is one file, ``NAME.npz``: made once of a recording, of a run's view frames or of a training set's, so that an
epoch needs not read gigabytes again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from s3d_ros.geometry_tokens.encoder import GeometryError
from s3d_ros.offline.recording import every_nth, open_recording
from s3d_ros.offline.run import load_scene
from s3d_ros.offline.view_depth import load_view_depth
from s3d_ros.train.reader import TrainingSet
from s3d_ros.types import F32, F64, U8, U16, Intrinsics

CLIP_PX = 176  # width of what is kept: room to zoom in, for pictures of 128
_JPEG_QUALITY = 92
_WANTED = "give recordings, runs of s3d replay, training sets, or folders of these"

Shot = tuple[int, U8, F32, Intrinsics, F64]  # stamp, colour, depth, camera, T_map_camera
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Clip:
    """N frames by time. jpegs: colour, width x height each. depth_mm: (N, h, w) uint16 of half that size, 0 unknown.

    intrinsics: (N, 4) fx, fy, cx, cy in shares of width, height, width, height. T_map_camera: (N, 4, 4).
    """

    name: str
    stamps_ns: F64
    jpegs: tuple[bytes, ...]
    depth_mm: U16
    intrinsics: F64
    T_map_camera: F64

    def __len__(self) -> int:
        return len(self.jpegs)

    def color(self, index: int) -> U8:
        """Return a frame's picture, RGB."""
        pixels = cv2.imdecode(np.frombuffer(self.jpegs[index], np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise GeometryError(f"frame {index} of the clip {self.name} is damaged; remove it, and it is made anew")
        return np.ascontiguousarray(pixels[..., ::-1])

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        data = np.frombuffer(b"".join(self.jpegs), np.uint8)
        sizes = np.array([len(j) for j in self.jpegs])
        half = path.with_name(f".{path.name}.half.npz")
        np.savez_compressed(half, stamps_ns=self.stamps_ns, jpeg=data, jpeg_bytes=sizes, depth_mm=self.depth_mm,
                            intrinsics=self.intrinsics, T_map_camera=self.T_map_camera)  # fmt: skip
        os.replace(half, path)

    @classmethod
    def read(cls, path: Path) -> Clip:
        """Read one. Raises GeometryError for what is none."""
        try:
            with np.load(path) as held:
                ends = np.cumsum(held["jpeg_bytes"])
                jpegs = tuple(part.tobytes() for part in np.split(held["jpeg"], ends[:-1]))
                return cls(
                    path.stem, held["stamps_ns"], jpegs, held["depth_mm"], held["intrinsics"], held["T_map_camera"]
                )
        except (OSError, ValueError, KeyError) as error:
            raise GeometryError(f"{path} is no clip, or damaged ({error}); remove it, and it is made anew") from error


def make_clips(
    sources: list[Path], folder: Path, rate_hz: float = 5.0, progress: Progress = lambda n, of: None
) -> list[Path]:
    """Make the clips of sources in a folder, those that are not there yet; return all of theirs, by name.

    rate_hz: frames a second that are kept of recordings. Raises GeometryError, RecordingError, RunError, DatasetError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for path in (p for source in sources for p in _expanded(source)):
        name = path.parent.name if path.name.startswith("recording") else path.name
        target = folder / f"{name}.npz"
        if not target.exists():
            shots = _shots(path, rate_hz)
            clip = clip_of(name, shots, progress)
            if len(clip) < 2:
                raise GeometryError(
                    f"{path} has {len(clip)} frames with depth and pose: it needs 2 at least; leave it out"
                )
            clip.write(target)
        made.append(target)
    return sorted(made)


def clip_of(name: str, shots: Iterator[Shot], progress: Progress = lambda n, of: None) -> Clip:
    """Return the clip of frames, scaled down."""
    rows = []
    for stamp_ns, color, depth_m, k, T in shots:
        width = min(CLIP_PX, color.shape[1] // 2 * 2)
        height = max(2, round(color.shape[0] * width / color.shape[1] / 2) * 2)
        small = cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA)
        ok, jpeg = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        assert ok
        v, u = (
            ((np.arange(n) + 0.5) * m / n).astype(int)
            for n, m in ((height // 2, depth_m.shape[0]), (width // 2, depth_m.shape[1]))
        )
        mm = np.clip(np.nan_to_num(depth_m[np.ix_(v, u)], posinf=0) * 1000, 0, 65535).astype(np.uint16)
        shares = [k.fx / k.width, k.fy / k.height, (k.cx + 0.5) / k.width, (k.cy + 0.5) / k.height]
        rows.append((stamp_ns, jpeg.tobytes(), mm, shares, T))
        progress(len(rows), None)
    if len({r[2].shape for r in rows}) > 1:
        raise GeometryError(f"the pictures of {name} differ in size; give such as are of one size")
    columns = list(zip(*rows, strict=True)) or [()] * 5
    return Clip(name, np.array(columns[0], np.int64), tuple(columns[1]), *(np.array(c) for c in columns[2:]))


def _shots(path: Path, rate_hz: float) -> Iterator[Shot]:
    if (path / "objects.json").exists():
        for view in sorted(load_scene(path).views, key=lambda v: v.stamp_ns):
            depth_m = load_view_depth(path, view.id)
            color = cv2.imdecode(np.frombuffer(view.jpeg, np.uint8), cv2.IMREAD_COLOR)
            if depth_m is not None and color is not None:
                yield view.stamp_ns, color[..., ::-1], depth_m, view.intrinsics, view.T_map_camera
    elif "#" in path.name:
        folder, _, key = path.name.partition("#")
        scene = next(s for s in TrainingSet(path.parent / folder, "").scenes() if s.key == key)
        for one in scene.views:
            depth_m = scene.depth_m(one)
            if depth_m is not None:
                yield one.stamp_ns, scene.image(one.plain), depth_m, one.intrinsics, one.T_map_camera
    else:
        recording = open_recording(path)
        stamps = [a.frame.stamp_ns for _, a in zip(range(5), recording, strict=False) if a.is_new]
        step_s = float(np.median(np.diff(stamps))) / 1e9 if len(stamps) > 1 else 1.0
        for arrival in every_nth(recording, max(1, round(1 / (rate_hz * step_s)))):
            if arrival.is_new:
                f = arrival.frame
                yield f.stamp_ns, f.color, f.depth_m, f.intrinsics, f.T_map_camera


def _expanded(source: Path) -> list[Path]:
    """Return the recordings, runs and scenes (as SET#KEY) that a path stands for."""
    if not source.exists():
        raise GeometryError(f"{source} is not there: {_WANTED}")
    if source.is_dir() and any(source.glob("*-?????.tar")):
        return [source.parent / f"{source.name}#{scene.key}" for scene in TrainingSet(source, "").scenes()]
    if source.is_file() or (source / "objects.json").exists() or (source / "metadata.yaml").exists():
        return [source]
    if any(source.glob("frame-*")) or any((source / n).exists() for n in ("rgb.txt", "color", "lowres_wide")):
        return [source]
    inside = [p for p in sorted(source.iterdir()) if p.is_dir() or p.suffix in (".mcap", ".db3", ".sens")]
    if not inside:
        raise GeometryError(f"{source} holds nothing to learn from: {_WANTED}")
    return [q for p in inside for q in _expanded(p)]


def split(paths: list[Path], held_out: int) -> tuple[list[Path], list[Path]]:
    """Return the clips to train on, and those held out: the last by name. Raises GeometryError where none is left."""
    paths = sorted(paths)
    if held_out >= len(paths):
        raise GeometryError(
            f"{held_out} of {len(paths)} sources are held out, which leaves none: give more, or hold out fewer"
        )
    return paths[: len(paths) - held_out], paths[len(paths) - held_out :]
