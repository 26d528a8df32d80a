"""An answerer hears of new scenes without keeping anybody waiting."""

import threading
import time

import numpy as np

from s3d_ros.ros.scene_updates import SceneUpdates
from s3d_ros.types import Scene


def scene_of(version: int) -> Scene:
    return Scene(version, 0, "map", np.array([0, 0, 1.0]))


class Reader:
    """Reads one scene at a time, as slowly as it is let; fails at version 1."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def update(self, scene: Scene) -> None:
        self.heard.append(scene.map_version)
        if scene.map_version == 1:
            raise RuntimeError("broken")
        self.begun.set()
        assert self.go.wait(5)


def test_the_newest_is_passed_on_and_a_fault_told() -> None:
    reader, faults, version = Reader(), [], 1
    updates = SceneUpdates(reader, lambda: scene_of(version), lambda: 1, faults.append)
    try:
        updates.notify()
        deadline = time.monotonic() + 5
        while not faults and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [str(f) for f in faults] == ["broken"]
        for newer in range(2, 9):
            version = newer
            updates.notify()
            assert reader.begun.wait(5)  # of version 2; the others come while it is read
        reader.go.set()
        while len(reader.heard) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert reader.heard == [1, 2, 8]
    finally:
        reader.go.set()
        updates.close()


class Forgetful:
    """Tells what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def update(self, scene: Scene) -> None:
        self.heard.append(f"version {scene.map_version}")

    def forget(self) -> None:
        self.heard.append("forget")


def test_another_map_makes_it_forget() -> None:
    answerer, map_id = Forgetful(), 5
    updates = SceneUpdates(answerer, lambda: scene_of(7), lambda: map_id, lambda error: None)
    try:
        for newer, count in ((5, 1), (5, 2), (6, 4)):
            map_id = newer
            updates.notify()
            deadline = time.monotonic() + 5
            while len(answerer.heard) < count and time.monotonic() < deadline:
                time.sleep(0.01)
        assert answerer.heard == ["version 7", "version 7", "forget", "version 7"]
    finally:
        updates.close()
