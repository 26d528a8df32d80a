"""What is really there: ``truth.json`` of a simulated recording, and the true instances of its frames."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3d_ros.types import F32, F64, I32, U16, OrientedBox

FRAMES = "frames.jsonl"

# An object is *well seen* with this many pixels in one frame, and as many frames.
WELL_SEEN_PIXELS = 2000
WELL_SEEN_FRAMES = 5


class TruthError(ValueError):
    """A truth file that can't be used; the message says what is wrong."""


@dataclass(frozen=True)
class TrueObject:
    """A thing that is there. ``pixels_seen``: most in one frame. ``first_seen_s``: None when never seen.

    color: in a word, "" where the truth does not tell. changed: it was moved or carried away meanwhile.
    """

    id: int
    label: str
    box: OrientedBox
    pixels_seen: int
    frames_seen: int
    first_seen_s: float | None
    color: str = ""
    changed: bool = False

    @property
    def well_seen(self) -> bool:
        return self.pixels_seen >= WELL_SEEN_PIXELS and self.frames_seen >= WELL_SEEN_FRAMES


@dataclass(frozen=True)
class TrueFrame:
    """Where the camera was at a frame, camera-to-map (4, 4), and how many pixels (of 640x480) each object id shows."""

    stamp_ns: int
    T_map_camera: F64
    pixels: Mapping[int, int]

    @property
    def position(self) -> F64:
        """Where the camera was, (3,) in the map."""
        return np.asarray(self.T_map_camera[:3, 3])


@dataclass(frozen=True)
class Truth:
    """A furnished place, z up. ``path`` is the truth.json it was read from. frames: by time, () where not kept."""

    path: Path
    floor_area_m2: float
    objects: tuple[TrueObject, ...]
    frames: tuple[TrueFrame, ...] = ()

    def instances(self, frame: int) -> U16 | None:
        """Return the true instances (H, W) of a frame, 0 for none, else the object's id; None where not kept."""
        path = self.path.parent / "truth" / "instances" / f"{frame:06d}.png"
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.exists() else None
        return None if image is None else np.asarray(image, dtype=np.uint16)

    def surface(self) -> tuple[F32, I32] | None:
        """Return the true surface that was seen: points (N, 3) of the map, and the object (N,) of each, 0 for none.

        None where it was not kept. Raises TruthError for a damaged file.
        """
        path = self.path.parent / "truth" / "surface.npz"
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as data:
                return data["points"], data["ids"]
        except (OSError, KeyError, ValueError) as error:
            raise TruthError(f"{path} is no true surface ({type(error).__name__}: {error})") from error

    @property
    def has_instances(self) -> bool:
        return (self.path.parent / "truth" / "instances").is_dir()


def load_truth(path: Path) -> Truth:
    """Read a ``truth.json``, or the one in a directory. Raises TruthError."""
    if path.is_dir():
        path = path / "truth.json"
    try:
        data = json.loads(path.read_text())
        objects = tuple(_object(o) for o in data["objects"])
        truth = Truth(path, float(data["room"]["floor_area_m2"]), objects, _frames(path.parent / "truth" / FRAMES))
    except FileNotFoundError:
        raise TruthError(f"there is no {path}; a simulated recording keeps its truth beside it") from None
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise TruthError(f"{path} is no truth file ({type(error).__name__}: {error})") from error
    ids = [o.id for o in objects]
    if len(set(ids)) != len(ids):
        raise TruthError(f"{path} gives an id to more than one object")
    return truth


def _object(o: dict[str, Any]) -> TrueObject:
    box = OrientedBox(*(np.array(o[key], dtype=np.float64) for key in ("center", "size", "axes")))
    if box.center.shape != (3,) or box.size.shape != (3,) or box.axes.shape != (3, 3):
        raise ValueError(f"object {o['id']} has no box of center (3,), size (3,) and axes (3, 3)")
    first = o["first_seen_s"]
    return TrueObject(
        int(o["id"]),
        str(o["label"]),
        box,
        int(o["pixels_seen"]),
        int(o["frames_seen"]),
        None if first is None else float(first),
        str(o.get("color", "")),
        any(key in o for key in ("moved_s", "removed_s")),
    )


def shown_frames(truth: Truth, count: int = 32, stamps_ns: Sequence[int] | None = None) -> tuple[TrueFrame, ...]:
    """Return the frames that "frame i of N" counts, by time: ``count`` evenly spaced ones, or those at given stamps.

    Raises TruthError where a stamp is none of the recording's.
    """
    frames = truth.frames
    if stamps_ns is None:
        count = min(count, len(frames))
        return tuple(frames[int(i)] for i in np.linspace(0, len(frames) - 1, count).round()) if count else ()
    at = {f.stamp_ns: f for f in frames}
    missing = [s for s in stamps_ns if s not in at]
    if missing:
        raise TruthError(f"{truth.path} knows no frame of stamp {missing[0]} ns: those views are of another recording")
    return tuple(at[s] for s in sorted(stamps_ns))


def write_frames(path: Path, frames: Sequence[TrueFrame]) -> None:
    """Write frames as JSON lines."""
    rows = [
        {
            "stamp_ns": f.stamp_ns,
            "T_map_camera": np.round(f.T_map_camera, 9).tolist(),
            "pixels": {str(k): n for k, n in f.pixels.items()},
        }
        for f in frames
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _frames(path: Path) -> tuple[TrueFrame, ...]:
    """Read frames, by time; none where they were not kept."""
    if not path.exists():
        return ()
    out = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            row = json.loads(line)
            T = np.array(row["T_map_camera"], dtype=np.float64)
            if T.shape != (4, 4) or not np.isfinite(T).all():
                raise ValueError("T_map_camera is no finite 4x4 matrix")
            out.append(TrueFrame(int(row["stamp_ns"]), T, {int(k): int(n) for k, n in row["pixels"].items()}))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TruthError(f"{path}, line {number}, is no frame ({type(error).__name__}: {error})") from error
    return tuple(sorted(out, key=lambda f: f.stamp_ns))
