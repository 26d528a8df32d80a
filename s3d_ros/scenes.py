"""Versions of the scene: a new one only when there is news."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from s3d_ros.types import F64, Bev, Scene, SceneObject, ViewFrame

_BOX_NEWS_M = 0.05
# Fewer changed pixels of the BEV are noise; a thing that came or went is news by its object.
_BEV_NEWS_CELLS, _BEV_NEWS_SHARE = 100, 0.004


class SceneBuilder:
    """Holds the current version."""

    def __init__(self, frame_id: str) -> None:
        self.current = Scene(-1, 0, frame_id, np.array([0.0, 0.0, 1.0]))

    def start_anew(self) -> None:
        """Forget the scene; its versions go on being counted."""
        self.go_on_after(self.current.map_version)

    def go_on_after(self, version: int) -> None:
        """Forget the scene; versions are counted from another map's, or from this one's if that is higher."""
        version = max(self.current.map_version, version) + 1
        self.current = Scene(version, 0, self.current.frame_id, np.array([0.0, 0.0, 1.0]))

    def take_over(self, scene: Scene) -> None:
        """Make another map's scene the current one, with the next version."""
        self.current = replace(scene, map_version=self.current.map_version + 1)

    def update(
        self,
        *,
        stamp_ns: int,
        up: F64,
        objects: tuple[SceneObject, ...],
        bev: Bev | None,
        views: tuple[ViewFrame, ...],
        floor_area_m2: float,
        T_map_robot: F64 | None,
        robot_is_camera: bool,
        merged: Mapping[int, int],
    ) -> Scene | None:
        """Replace the current version; return it if its number rose, None if only the robot moved."""
        old = self.current
        news = (
            _object_news(old.objects, objects)
            or [(v.id, v.revision) for v in old.views] != [(v.id, v.revision) for v in views]
            or _bev_news(old.bev, bev)
            or bool(old.up @ up < 0.9999)
        )
        self.current = Scene(
            map_version=old.map_version + int(news),
            stamp_ns=stamp_ns,
            frame_id=old.frame_id,
            up=up,
            objects=objects,
            bev=bev,
            views=views,
            floor_area_m2=floor_area_m2,
            T_map_robot=T_map_robot,
            robot_is_camera=robot_is_camera,
            merged=merged,
        )
        return self.current if news else None


def _object_news(old: tuple[SceneObject, ...], new: tuple[SceneObject, ...]) -> bool:
    before = {o.id: o for o in old}
    if set(before) != {o.id for o in new}:
        return True
    for thing in new:
        was = before[thing.id]
        if was is thing:
            continue
        if (was.label, was.aliases, was.state) != (thing.label, thing.aliases, thing.state):
            return True
        # Corners, not centre and size: the axes of a box may change their order without any news.
        low, high = was.box.corners(), thing.box.corners()
        span = np.abs(np.array([low.min(0) - high.min(0), low.max(0) - high.max(0)]))
        if span.max() > _BOX_NEWS_M:
            return True
    return False


def _bev_news(old: Bev | None, new: Bev | None) -> bool:
    if old is None or new is None:
        return old is not new
    if old.color.shape != new.color.shape:
        return True
    change = np.abs(old.color.astype(np.int16) - new.color).max(axis=2) > 24
    change |= (old.occupancy == 100) != (new.occupancy == 100)  # somebody came, or left
    known = np.count_nonzero(np.isfinite(new.height_m))
    return bool(np.count_nonzero(change) >= max(_BEV_NEWS_CELLS, _BEV_NEWS_SHARE * known))
