"""Tells an answerer of new scenes, from a thread of its own: reading ahead may draw pictures. Free of rclpy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from s3d_ros.types import Scene


def _nothing() -> None:
    pass


class Answerer(Protocol):
    """What this module needs of an answerer (``answer.base.Answerer``)."""

    def update(self, scene: Scene) -> None:
        """Hear of a newer scene."""
        ...


class SceneUpdates:
    """Passes on the scene when told to; where that is faster than it is taken, the newest alone.

    map_id: of the scene. When it changes, an answerer that can ``forget`` does: the IDs are another map's.
    """

    def __init__(
        self,
        answerer: Answerer,
        scene: Callable[[], Scene | None],
        map_id: Callable[[], int],
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self._answerer, self._scene, self._on_fault = answerer, scene, on_fault
        self._map_id = map_id
        self._last_map = 0
        self._there = threading.Event()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="scene updates", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Say that there may be something new; returns at once."""
        self._there.set()

    def close(self) -> None:
        """End the thread."""
        self._is_closing = True
        self._there.set()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while self._there.wait() and not self._is_closing:
            self._there.clear()
            scene = self._scene()
            if scene is None:
                continue
            try:
                if self._last_map not in (0, self._map_id()):
                    getattr(self._answerer, "forget", _nothing)()
                self._last_map = self._map_id()
                self._answerer.update(scene)
            except Exception as error:  # told; the next scene is passed on all the same
                self._on_fault(error)
