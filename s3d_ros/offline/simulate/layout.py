"""Layouts: a furnished room as labelled oriented boxes, in a JSON file.

``{"name", "room": {"min", "max"}, "objects": [{"id", "label", "center", "size", "axes"}]}``: metres, z up; the rows of
``axes`` are the unit axes that ``size`` belongs to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3d_ros.types import F64, OrientedBox

PACKAGED = Path(__file__).resolve().parent.parent / "layouts"
_MAX_ID = 65535  # the truth's instance images are uint16


class LayoutError(ValueError):
    """A layout that can't be used; the message says what is wrong."""


@dataclass(frozen=True)
class LayoutObject:
    """A thing of a layout."""

    id: int
    label: str
    box: OrientedBox


@dataclass(frozen=True)
class Layout:
    """A room: what stands in it, and roughly how far it reaches. room_min, room_max: (3,) metres."""

    name: str
    objects: tuple[LayoutObject, ...]
    room_min: F64
    room_max: F64


def packaged_layouts() -> list[str]:
    """Return the names of the layouts that come with the package."""
    return sorted(p.stem for p in PACKAGED.glob("*.json"))


def load_layout(path: str | Path) -> Layout:
    """Read a layout: a JSON file, or the name of one that comes with the package. Raises LayoutError."""
    file = Path(path)
    if not file.exists() and str(path) in packaged_layouts():
        file = PACKAGED / f"{path}.json"
    try:
        data = json.loads(file.read_text())
    except OSError as error:
        known = ", ".join(packaged_layouts())
        raise LayoutError(f"can't read the layout {path} ({error.strerror}); packaged ones are {known}") from error
    except ValueError as error:
        raise LayoutError(f"{file} is no JSON: {error}") from error
    try:
        objects = tuple(_object(o) for o in data["objects"])
        room_min, room_max = (np.array(data["room"][key], dtype=np.float64) for key in ("min", "max"))
        if room_min.shape != (3,) or room_max.shape != (3,) or not (room_max > room_min).all():
            raise ValueError(f"the room from {room_min.tolist()} to {room_max.tolist()} has no volume")
    except KeyError as error:
        raise LayoutError(f"{file} is no layout: {error} is missing") from error
    except (TypeError, ValueError) as error:
        raise LayoutError(f"{file} is no layout: {error}") from error
    if not objects:
        raise LayoutError(f"{file} holds no objects")
    ids = [o.id for o in objects]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise LayoutError(f"{file} gives the ids {twice} to more than one object")
    return Layout(str(data.get("name", file.stem)), objects, room_min, room_max)


def _object(o: dict[str, Any]) -> LayoutObject:
    box = OrientedBox(*(np.array(o[key], dtype=np.float64) for key in ("center", "size", "axes")))
    number = int(o["id"])
    if not 1 <= number <= _MAX_ID:
        raise ValueError(f"the id {number} is not between 1 and {_MAX_ID}")
    if box.center.shape != (3,) or box.size.shape != (3,) or box.axes.shape != (3, 3):
        raise ValueError(f"object {number} has no box of center (3,), size (3,) and axes (3, 3)")
    if not (np.isfinite(box.center).all() and (box.size > 0).all() and (box.size < 100).all()):
        raise ValueError(f"the box of object {number} has the size {box.size.tolist()}")
    if not np.allclose(box.axes @ box.axes.T, np.eye(3), atol=1e-2):
        raise ValueError(f"the axes of object {number} are not at right angles, or not of length 1")
    return LayoutObject(number, str(o["label"]), OrientedBox(box.center, box.size, _orthonormal(box.axes)))


def _orthonormal(axes: F64) -> F64:
    """Return the nearest axes at exactly right angles: files round them."""
    u, _, vt = np.linalg.svd(axes)
    return np.asarray(u @ vt)
