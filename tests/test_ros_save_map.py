"""Maps that outlive the mapper, over real ROS: saved, killed, started, loaded; damaged ones; autosave; a last save."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ros_live  # first: it keeps ROS on this machine
from ros_live import Camera, NodeProcess, wait_for
from test_ros_mapper import FAST, MAPPER, Rig, frames  # noqa: F401

from s3d_ros.mapfile import newest_map, read_map
from s3d_ros.ros.client import SceneClient
from s3d_ros.srv import LoadMap, SaveMap

Walk = list


def call(rig: Rig, kind: type, name: str, directory: Path | str) -> tuple[bool, str]:
    """Ask, and again if no reply comes: for a while the killed mapper's service is still taken for the one to ask."""
    client = rig.camera.node.create_client(kind, name)
    assert client.wait_for_service(10)
    futures = []

    def reply() -> Any:
        if not futures or time.monotonic() - asked_at[0] > 10:
            futures.append(client.call_async(kind.Request(directory=str(directory))))
            asked_at[0] = time.monotonic()
        return next((f.result() for f in futures if f.done()), None)

    asked_at = [0.0]
    result = wait_for(reply, 45, "the reply")
    rig.camera.node.destroy_client(client)
    return result.success, result.message


def ids(rig: Rig) -> dict[str, int]:
    scene = wait_for(lambda: (s := rig.client.scene()) and len(s.objects) == 2 and s, 20, "two objects")
    return {o.label: o.id for o in scene.objects}


@pytest.fixture
def camera() -> Iterator[tuple[str, Camera, SceneClient]]:
    """A camera and a client that stay while mappers come and go."""
    ns = ros_live.namespace()
    with Camera(ns) as camera, SceneClient(ns) as client:
        yield ns, camera, client


def test_a_map_that_was_saved_outlives_a_killed_mapper(camera, frames: Walk, tmp_path: Path) -> None:  # noqa: F811
    ns, eye, client = camera
    saved = tmp_path / "map"
    rig = Rig(frames, eye, client)
    with NodeProcess(MAPPER, ns, **FAST) as process:
        eye.wait()
        rig.walk()
        before = ids(rig)
        success, text = call(rig, SaveMap, "save_map", saved)
        assert success and f"{saved}/map-000001: 2 objects" in text, text
        assert {o["id"] for o in read_map(saved)["objects"]["objects"]} >= set(before.values())
        process.process.send_signal(signal.SIGKILL)
        process.process.wait()
    old_map = client._scenes.map_id

    with NodeProcess(MAPPER, ns, **FAST) as process:
        eye.wait()
        wait_for(lambda: client._scenes.map_id > old_map, 10, "the new mapper's map")
        wait_for(lambda: client.scene().objects == (), 10, "an empty map")
        rig.walk(count=6)
        success, text = call(rig, LoadMap, "load_map", tmp_path / "nowhere")
        assert not success and "holds no map" in text
        success, text = call(rig, SaveMap, "save_map", "")
        assert not success and "map_directory" in text
        old_map = client._scenes.map_id
        success, text = call(rig, LoadMap, "load_map", saved)
        assert success and "2 objects" in text
        wait_for(lambda: client._scenes.map_id > old_map, 10, "the loaded map")
        assert ids(rig) == before
        scene = client.scene()
        assert scene.bev is not None and scene.views and scene.T_map_robot is None
        rig.walk()
        assert ids(rig) == before and client.scene().T_map_robot is not None
        fused = rig.count("frames_fused")

        path = newest_map(saved) / "objects.npz"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data)
        success, text = call(rig, LoadMap, "load_map", saved)
        assert not success and f"{path} is not what was written" in text
        rig.walk(count=5)
        rig.wait_count("frames_fused", fused + 5)
        assert ids(rig) == before, "the present map stays"
        assert process.stop() == 0


def test_with_autosave_the_next_mapper_goes_on(camera, frames: Walk, tmp_path: Path) -> None:  # noqa: F811
    ns, eye, client = camera
    rig = Rig(frames, eye, client)
    keeping = {**FAST, "map_directory": tmp_path / "map", "autosave_period_s": 1.0}
    with NodeProcess(MAPPER, ns, **keeping) as process:
        eye.wait()
        rig.walk()
        before = ids(rig)
        wait_for(lambda: newest_map(tmp_path / "map") is not None, 15, "the first autosave")
        rig.walk(count=3)
        rig.wait_count("frames_fused", 43)
        assert process.stop(signal.SIGTERM) == 0
        assert "Traceback" not in process.said()
    assert {o["id"] for o in read_map(tmp_path / "map")["objects"]["objects"] if o["id"]} == set(before.values())
    last_ns = read_map(tmp_path / "map")["stamp_ns"]
    assert last_ns == eye.first_ns + int((rig.next_s - 0.1) * 1e9 + 0.5), "saved at the end, with the last frame"

    old_map = client._scenes.map_id
    with NodeProcess(MAPPER, ns, **keeping) as process:
        eye.wait()
        wait_for(lambda: client._scenes.map_id > old_map, 10, "the map that was kept")
        assert ids(rig) == before and "going on with" in process.said()
        rig.walk()
        assert ids(rig) == before
        assert process.stop() == 0

    (newest_map(tmp_path / "map") / "surface.npz").unlink()
    with NodeProcess(MAPPER, ns, **keeping) as process:
        assert process.process.wait(timeout=ros_live.START_S) == 2, "a damaged map is not replaced by an empty one"
        assert "surface.npz is missing" in process.said() and "Traceback" not in process.said()
    with NodeProcess(MAPPER, ns, autosave_period_s=5.0) as process:
        assert process.process.wait(timeout=ros_live.START_S) == 2
        assert "map_directory is empty" in process.said()
