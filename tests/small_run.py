"""A small run with known content: a room of 4 x 3 m with a table, two chairs, and a merged ID."""

from pathlib import Path

import cv2
import numpy as np

from s3d_ros.offline.run import RunWriter
from s3d_ros.types import (
    Bev,
    Frame,
    Instances,
    Intrinsics,
    Marker,
    OrientedBox,
    Scene,
    SceneObject,
    ViewFrame,
)

CAMERA = Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5)
# At (2, 0.2, 1.2), looking along +y: right is +x, down is -z
T_MAP_CAMERA = np.array([[1, 0, 0, 2.0], [0, 0, 1, 0.2], [0, -1, 0, 1.2], [0, 0, 0, 1.0]])
STEP_NS = 100_000_000
FIRST_NS = 5_000_000_000


def small_scene(label: str = "chair") -> Scene:
    """Table 1, chairs 2 (once also 4) and 3."""

    def thing(number: int, name: str, center: tuple, size: tuple, aliases: tuple = ()) -> SceneObject:
        box = OrientedBox(np.array(center), np.array(size), np.eye(3))
        return SceneObject(
            number, name, box, {name: 0.8, "stool": 0.2}, aliases, first_seen_ns=FIRST_NS + STEP_NS * number,
            last_seen_ns=FIRST_NS + 20 * STEP_NS, observations=7 * number, confidence=0.9,
        )  # fmt: skip

    color = np.zeros((256, 320, 3), np.uint8)
    color[50:200, 40:240] = (150, 120, 90)
    bev = Bev(
        color, np.zeros((256, 320), np.float32), np.zeros((256, 320), np.int8), 0.02, (-0.8, -1.12), np.eye(4), 0.0, 2.2
    )
    ok, jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 128, np.uint8))
    assert ok
    view = ViewFrame(
        1, 1, FIRST_NS, jpeg.tobytes(), CAMERA, T_MAP_CAMERA, (Marker(1, 30.0, 30.0), Marker(2, 50.0, 30.0))
    )
    return Scene(
        map_version=3,
        stamp_ns=FIRST_NS + 20 * STEP_NS,
        frame_id="map",
        up=np.array([0.0, 0.0, 1.0]),
        objects=(
            thing(1, "table", (2.0, 1.5, 0.35), (1.2, 0.8, 0.7)),
            thing(2, label, (2.8, 1.5, 0.45), (0.5, 0.4, 0.9), (4,)),
            thing(3, label, (1.0, 1.5, 0.45), (0.5, 0.5, 0.9)),
        ),
        bev=bev,
        views=(view,),
        floor_area_m2=12.0,
        T_map_robot=T_MAP_CAMERA,
        merged={4: 2},
    )


def write_small_run(out: Path, scene: Scene | None = None) -> Scene:
    """Write the run: 1 seen throughout, 2 in two parts of which the later was called 4 at first, 3 never in tracks."""
    scene = scene or small_scene()
    writer = RunWriter(out)
    image = np.zeros((48, 64), np.uint16)
    image[20:40, 10:30], image[20:40, 40:60] = 7, 8
    for k in range(21):
        color, depth_m = np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), np.float32)
        frame = Frame(k, FIRST_NS + k * STEP_NS, color, depth_m, CAMERA, T_MAP_CAMERA)
        second = {8: 2} if k < 5 else {8: 4} if 10 <= k < 15 else {8: None}
        writer.frame(frame, Instances(frame.stamp_ns, image, (7, 8), ("", ""), (1.0, 1.0)), {7: 1} | second)
    stages = {"fusion": {"count": 21, "median_ms": 12.0, "p95_ms": 20.0, "total_s": 0.3}}
    report = {"recording": "small", "frames": 21, "drops": {"pose_missing": 3}, "stages": stages,
              "frames_per_second": 30.0, "peak_memory_mb": 512.0}  # fmt: skip
    writer.finish(scene, np.zeros((5, 3), np.float32), np.zeros((5, 3), np.uint8), report)
    return scene
