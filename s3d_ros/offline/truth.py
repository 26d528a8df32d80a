"""What is really there: ``truth.json`` of a simulated recording, and the true instances of its frames."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3d_ros.types import F32, I32, U16, OrientedBox

# An object is *well seen* with this many pixels in one frame, and as many frames.
WELL_SEEN_PIXELS = 2000
WELL_SEEN_FRAMES = 5


class TruthError(ValueError):
    """A truth file that can't be used; the message says what is wrong."""


@dataclass(frozen=True)
class TrueObject:
    """A thing that is there. ``pixels_seen``: most in one frame. ``first_seen_s``: None when never seen."""

    id: int
    label: str
    box: OrientedBox
    pixels_seen: int
    frames_seen: int
    first_seen_s: float | None

    @property
    def well_seen(self) -> bool:
        return self.pixels_seen >= WELL_SEEN_PIXELS and self.frames_seen >= WELL_SEEN_FRAMES


@dataclass(frozen=True)
class Truth:
    """A furnished place. ``path`` is the truth.json it was read from."""

    path: Path
    floor_area_m2: float
    objects: tuple[TrueObject, ...]

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
        truth = Truth(path, float(data["room"]["floor_area_m2"]), objects)
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
    )
