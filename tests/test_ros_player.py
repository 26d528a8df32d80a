"""A recording played on the live topics: in its own time, and with the map that replay makes of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import bag_writing as bags
import numpy as np
import pytest
import ros_live  # first: it keeps ROS on this machine
from geometry_msgs.msg import PoseStamped
from ros_live import NodeProcess, Spinning, wait_for
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from synthetic import SMALL, BoxWorld, look_at, room
from tf2_msgs.msg import TFMessage

from s3d_ros.config import Config
from s3d_ros.geometry import box_iou
from s3d_ros.messages import image_of, pose_of
from s3d_ros.offline.play import PlayRole, Published
from s3d_ros.offline.recording import open_recording
from s3d_ros.pipeline import Pipeline
from s3d_ros.ros import conversions
from s3d_ros.ros.client import SceneClient
from s3d_ros.ros.player import BASE_FRAME, OPTICAL_FRAME, PlayerNode, _paced, play
from s3d_ros.transforms import TransformBuffer

CONFIG = {
    "objects.confirm_pixels": 50,
    "objects.min_instance_pixels": 10,
    "objects.stride": 2,
    "fusion.voxel_size_m": 0.04,
    "bev.resolution_m": 0.04,
    "map.scene_period_s": 0.3,
}
FRAMES, PERIOD_NS, FIRST_NS = 40, 50_000_000, 100 * 10**9


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a room with three things; their numbers change from frame to frame."""
    world = BoxWorld(
        room(
            crate1=((1.6, 1.6, 0), (2.4, 2.4, 0.8)),
            bin2=((3, 0.6, 0), (3.6, 1.2, 1)),
            stool3=((0.9, 2.6, 0), (1.3, 3, 0.5)),
        )
    )
    rng, rows = np.random.default_rng(5), []
    k = SMALL
    for i in range(FRAMES):
        angle = 2 * np.pi * i / FRAMES
        T = look_at((2 + 1.7 * np.cos(angle), 2 + 1.7 * np.sin(angle), 1.3), (2.0, 2.0, 0.4))
        frame, found = world.frame(T, i, k)
        t = FIRST_NS + i * PERIOD_NS
        numbers = dict(zip(found.numbers, rng.permutation(50)[: len(found.numbers)] + 1, strict=True))
        image = np.zeros_like(found.image)
        for old, new in numbers.items():
            image[found.image == old] = new
        labels = {int(numbers[n]): label for n, label in zip(found.numbers, found.labels, strict=True)}
        depth = (frame.depth_m * 1000).astype(np.uint16)
        rows += [
            (t, "/pose", bags.pose(t, T)),
            (t, bags.INFO, bags.camera_info(t, (k.fx, k.fy, k.cx, k.cy), (k.width, k.height))),
            (t, bags.COLOR, bags.image(t, frame.color, "rgb8")),
            (t, bags.DEPTH, bags.image(t, depth, "16UC1")),
            (t, "/instances", bags.instances(t, image, labels)),
        ]
    return bags.write_bag(tmp_path_factory.mktemp("played") / "bag", rows)


def test_played_live_it_gives_the_map_that_replay_gives(bag: Path) -> None:
    pipeline, last = Pipeline(Config().with_values(CONFIG)), None
    for arrival in open_recording(bag):
        pipeline.process(arrival.frame, arrival.instances, arrival.is_new)
        last = arrival.frame
    offline = {o.label: o for o in pipeline.finish(last).objects}
    assert set(offline) == {"crate", "bin", "stool"}

    parameters = {key.replace(".", "__"): value for key, value in CONFIG.items()}
    command = [sys.executable, "-m", "s3d_ros.cli", "play", str(bag), "--rate", "0.7"]
    with (
        NodeProcess("s3d_ros.ros.mapper", "/s3d", use_sim_time=True, max_late_frames=100, **parameters) as mapper,
        SceneClient() as client,
    ):
        mapper.wait_until_says("waiting for images")
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        wait_for(lambda: client.diagnostics().get("frames_fused") == str(FRAMES), 10, "every frame")
        live = wait_for(lambda: (s := client.scene()) and len(s.objects) == 3 and s, what="three objects")
        values = client.diagnostics()
        assert not [key for key in values if key.startswith("dropped/")], values
        assert mapper.stop() == 0
    for thing in live.objects:
        assert box_iou(thing.box, offline[thing.label].box) > 0.75, thing.label


def test_stamps_and_values_are_the_recordings(bag: Path) -> None:
    """On the wire: poses, images and the clock, as the recording has them, at the rate that was asked for."""
    frames = [a.frame for a in open_recording(bag)]
    with Spinning("/s3d") as tester:
        got: dict[str, list] = {"clock": [], "pose": [], "depth": [], "color": [], "tf": []}
        create = tester.node.create_subscription
        create(Clock, "/clock", lambda m: got["clock"].append((time.monotonic(), conversions.stamp_ns(m.clock))), 1000)
        create(PoseStamped, "pose", got["pose"].append, 1000)
        create(Image, "depth/image_raw", got["depth"].append, 1000)
        create(Image, "color/image_raw", got["color"].append, 1000)
        create(TFMessage, "/tf", got["tf"].append, 1000)
        assert _play(bag, rate=2.0, wait_s=1.0) == FRAMES  # nobody listens to camera_info: it starts all the same
        wait_for(lambda: all(len(rows) == FRAMES for rows in got.values()), 5, "every message")
    stamps = [f.stamp_ns for f in frames]
    assert [stamp for _, stamp in got["clock"]] == stamps
    assert [conversions.stamp_ns(m.header.stamp) for m in got["depth"]] == stamps
    for k in (0, FRAMES - 1):
        np.testing.assert_allclose(pose_of(got["pose"][k]).T, frames[k].T_map_camera, atol=1e-9)
        np.testing.assert_array_equal(image_of(got["color"][k]), frames[k].color)
        np.testing.assert_allclose(image_of(got["depth"][k]) / 1000, frames[k].depth_m, atol=6e-4)
    (edge,) = got["tf"][3].transforms
    assert (edge.header.frame_id, edge.child_frame_id) == ("map", OPTICAL_FRAME)
    took = got["clock"][-1][0] - got["clock"][0][0]
    wanted = (stamps[-1] - stamps[0]) / 1e9 / 2.0
    assert wanted - 0.1 < took < wanted + 2.0, "a busy machine may delay it, nothing makes it faster"


def _play(path: Path, **options) -> int:
    return play(path, progress=lambda done, total: None, **options)


def test_a_known_base_is_a_frame_of_its_own() -> None:
    """Map to base to camera on /tf, so that a robot's own tools find it."""
    T_map_base, T_map_camera = bags.at(1, 2, 0), look_at((1.1, 2.0, 1.2), (3.0, 2.0, 0.5))
    ns, edges = ros_live.namespace(), []
    with Spinning(ns) as tester:
        tester.node.create_subscription(TFMessage, "/tf", lambda m: edges.extend(m.transforms), 10)
        node = PlayerNode("map", ns, tester.context)
        wait_for(lambda: node.count_subscribers("/tf"))
        time.sleep(0.5)
        node.publish(Published(5, PlayRole.BASE, T_map_base))
        node.publish(Published(5, PlayRole.POSE, T_map_camera))
        wait_for(lambda: len(edges) == 2, 5, "two transforms")
        node.destroy_node()
    assert [(e.header.frame_id, e.child_frame_id) for e in edges] == [("map", BASE_FRAME), (BASE_FRAME, OPTICAL_FRAME)]
    tree = TransformBuffer()
    for item in edges:
        read = pose_of(item)
        tree.add(read.parent, read.child, read.stamp_ns, read.T, False)
    np.testing.assert_allclose(tree.lookup("map", OPTICAL_FRAME, 5), T_map_camera, atol=1e-9)


def items(stamps: list[int]) -> Iterator[Published]:
    for stamp in stamps:
        yield Published(stamp, PlayRole.POSE, np.eye(4))


def test_the_clock_ticks_once_for_each_stamp_and_the_limit_holds() -> None:
    ticks: list[int] = []
    played = list(_paced(items([0, 0, 10_000_000, 20_000_000, 900_000_000]), 1.0, 0.5, ticks.append))
    assert ticks == [0, 10_000_000, 20_000_000] and len(played) == 4


def test_a_slow_reader_is_not_made_up_for() -> None:
    """After a pause of 0.2 s what follows comes 10 ms apart again, not all at once."""
    times: list[float] = []
    for k, _ in enumerate(_paced(items([i * 10_000_000 for i in range(20)]), 1.0, 10.0, lambda stamp: None)):
        times.append(time.monotonic())
        if k == 5:
            time.sleep(0.2)
    assert times[-1] - times[6] > 0.07


def test_what_can_not_be_played_is_told_in_a_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "s3d_ros.cli", "play", str(tmp_path / "nothing")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ)
    assert done.returncode == 2 and "nothing" in done.stderr and "Traceback" not in done.stderr
