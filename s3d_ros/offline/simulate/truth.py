"""The truth about a simulated recording: ``truth.json`` and an instance image a frame, beside the bag."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3d_ros.offline.simulate.changes import change_of
from s3d_ros.offline.simulate.config import Event, Remove
from s3d_ros.offline.simulate.people import Passer
from s3d_ros.offline.simulate.truth_surface import TruthSurface
from s3d_ros.offline.simulate.world import World
from s3d_ros.offline.truth import FRAMES, TrueFrame, write_frames
from s3d_ros.types import F32, F64, U16, Intrinsics, OrientedBox

FIRST_SEEN_PIXELS = 500


class TruthWriter:
    """Counts what each frame shows. Writes under ``folder``; ``images`` False leaves the instance images out.

    pixel_area: how many pixels each that is counted stands for, where frames come shrunk.
    """

    def __init__(self, folder: Path, world: World, *, images: bool = True, pixel_area: int = 1) -> None:
        self._folder = folder
        self._world = world
        self._images = images
        self._pixel_area = pixel_area
        self._most: dict[int, int] = {}
        self._frames: dict[int, int] = {}
        self._first: dict[int, float] = {}
        self._shown: list[TrueFrame] = []
        self._surface: TruthSurface | None = None
        self._surface_of: set[Event] = set()
        if images:
            (folder / "truth" / "instances").mkdir(parents=True, exist_ok=True)

    def add(
        self, index: int, at_s: float, truth: U16, T_map_camera: F64 | None = None, stamp_ns: int | None = None
    ) -> None:
        """Take a frame's true instances (H, W), and where the camera really was, (4, 4), at which stamp."""
        numbers, counts = np.unique(truth, return_counts=True)
        counts = counts * self._pixel_area
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            if number:
                self._most[number] = max(self._most.get(number, 0), count)
                self._frames[number] = self._frames.get(number, 0) + 1
                if count >= FIRST_SEEN_PIXELS:
                    self._first.setdefault(number, at_s)
        if T_map_camera is not None and stamp_ns is not None:
            pixels = dict(
                zip(numbers.tolist(), (counts * (640 * 480) // (truth.size * self._pixel_area)).tolist(), strict=True)
            )
            self._shown.append(TrueFrame(stamp_ns, T_map_camera, {k: n for k, n in pixels.items() if k}))
        if self._images:
            path = self._folder / "truth" / "instances" / f"{index:06d}.png"
            if not cv2.imwrite(str(path), truth, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
                raise OSError(f"can't write {path}")

    def add_surface(
        self, at_s: float, depth_m: F32, truth: U16, T_map_camera: F64, k: Intrinsics, events: Sequence[Event] = ()
    ) -> None:
        """Take a frame's true depth (H, W) in metres, true instances (H, W) and true camera-to-map."""
        if self._surface is None:
            self._surface = TruthSurface(k)
        for event in events:
            if event.at_s <= at_s and event not in self._surface_of:
                self._surface_of.add(event)
                self._surface.forget(event.object_id)
        self._surface.add(round(at_s * 1e9), depth_m, truth, T_map_camera)

    def finish(self, events: Sequence[Event] = (), passers: Sequence[Passer] = ()) -> dict[str, Any]:
        """Write and return ``truth.json``: boxes as they are at the end; a removed thing keeps its last one."""
        if self._surface is not None:
            self._surface.write(self._folder / "truth" / "surface.npz")
        if self._shown:
            write_frames(self._folder / "truth" / FRAMES, self._shown)
        removed = {e.object_id: e.at_s for e in events if isinstance(e, Remove)}
        moved = {e.object_id: e.at_s for e in events if not isinstance(e, Remove)}
        world = self._world
        for event in sorted(events, key=lambda e: e.at_s):
            if not isinstance(event, Remove) and event.at_s < removed.get(event.object_id, np.inf):
                world = world.after(event)
        low, high = world.bounds
        data: dict[str, Any] = {
            "name": world.name,
            "room": {"min": _rounded(low), "max": _rounded(high), "floor_area_m2": round(world.floor_area_m2, 3)},
            "objects": [],
        }
        for thing in world.things:
            entry: dict[str, Any] = {
                "id": thing.id,
                "label": thing.label,
                **_box_json(thing.box),
                "pixels_seen": self._most.get(thing.id, 0),
                "frames_seen": self._frames.get(thing.id, 0),
                "first_seen_s": self._first.get(thing.id),
            }
            if thing.id in removed:
                entry["removed_s"] = removed[thing.id]
            if thing.id in moved:
                entry["moved_s"] = moved[thing.id]
            if events:
                entry["change"] = change_of(thing.id, events)
            if entry.get("change") == "moved":
                entry["was"] = _box_json(self._world.thing(thing.id).box)
            data["objects"].append(entry)
        if passers:
            data["passers"] = [p.to_json() for p in passers]
        (self._folder / "truth.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        return data


def _box_json(box: OrientedBox) -> dict[str, Any]:
    return {
        "center": _rounded(box.center),
        "size": _rounded(box.size),
        "axes": [_rounded(row, 6) for row in box.axes],
    }


def _rounded(values: np.ndarray, digits: int = 4) -> list[float]:
    return [round(float(v), digits) for v in values]
