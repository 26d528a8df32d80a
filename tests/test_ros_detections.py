"""Other packages' detections become instances; and the node that does it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import ros_live  # first: it keeps ROS on this machine
from ros_live import NodeProcess, Spinning, wait_for

from s3d_ros.messages import MessageError, instances_of
from s3d_ros.msg import Instances as InstancesMsg
from s3d_ros.ros import conversions, pictures, qos
from s3d_ros.ros.detections import instances_of_boxes, instances_of_outlines

CONVERTER = "s3d_ros.ros.detections_converter"
HEADER = conversions.header_msg(7_000_000_009, "camera")


def outline(name: str, x0: float, y0: float, x1: float, y1: float, size: tuple[int, int] = (40, 60)) -> SimpleNamespace:
    points = [SimpleNamespace(x=x, y=y) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
    mask = SimpleNamespace(height=size[0], width=size[1], data=points)
    return SimpleNamespace(class_name=name, score=0.75, mask=mask)


def box(class_id: str, score: float = 0.5) -> SimpleNamespace:
    worse = SimpleNamespace(hypothesis=SimpleNamespace(class_id="worse", score=score / 2))
    return SimpleNamespace(results=[worse, SimpleNamespace(hypothesis=SimpleNamespace(class_id=class_id, score=score))])


def test_outlines_are_filled_the_smaller_on_top() -> None:
    msg = SimpleNamespace(header=HEADER, detections=[outline("cup", 10, 10, 19, 19), outline("table", 0, 5, 50, 35)])
    found, without = instances_of_outlines(msg)
    assert (found.stamp_ns, found.numbers, found.labels, without) == (7_000_000_009, (1, 2), ("cup", "table"), 0)
    assert found.image.shape == (40, 60) and found.scores == (0.75, 0.75)
    assert np.count_nonzero(found.image == 1) == 100, "10 x 10 pixels, borders included"
    assert np.count_nonzero(found.image == 2) == 51 * 31 - 100
    assert found.image[4].max() == 0 and found.image[5, 0] == 2


def test_outlines_may_leave_the_image() -> None:
    msg = SimpleNamespace(header=HEADER, detections=[outline("cup", -20, -20, 4, 4)])
    assert np.count_nonzero(instances_of_outlines(msg)[0].image) == 25


def test_detections_without_outline_are_counted() -> None:
    bare = SimpleNamespace(class_name="cup", score=1.0, mask=SimpleNamespace(height=0, width=0, data=[]))
    found, without = instances_of_outlines(SimpleNamespace(header=HEADER, detections=[bare]), (40, 60))
    assert (found.numbers, without, found.image.shape) == ((), 1, (40, 60))
    with pytest.raises(MessageError, match="-seg"):
        instances_of_outlines(SimpleNamespace(header=HEADER, detections=[bare]))
    two = [outline("a", 0, 0, 5, 5), outline("b", 0, 0, 5, 5, (41, 60))]
    with pytest.raises(MessageError, match="different sizes"):
        instances_of_outlines(SimpleNamespace(header=HEADER, detections=two))


def test_what_is_hidden_altogether_is_left_out() -> None:
    same = [outline("below", 0, 0, 9, 9), outline("above", 0, 0, 9, 9)]
    found, _ = instances_of_outlines(SimpleNamespace(header=HEADER, detections=same))
    assert found.labels == ("above",) and found.numbers == (2,)


@pytest.mark.parametrize("encoding", ["mono8", "mono16"])
def test_boxes_take_their_masks_from_the_image(encoding: str) -> None:
    image = np.zeros((4, 6), np.uint8 if encoding == "mono8" else np.uint16)
    image[0], image[2] = 1, 3
    msg = SimpleNamespace(header=HEADER, detections=[box("cup"), box("unseen"), box("1", 2.0)])
    found = instances_of_boxes(msg, pictures.image_msg(image, HEADER, encoding), ("zero", "one"))
    assert (found.numbers, found.labels, found.scores) == ((1, 3), ("cup", "one"), (0.5, 1.0))
    np.testing.assert_array_equal(found.image, image)
    assert instances_of_boxes(msg, pictures.image_msg(image, HEADER, encoding)).labels == ("cup", "")
    with pytest.raises(MessageError, match="number 3, but there are 1 detections"):
        instances_of_boxes(
            SimpleNamespace(header=HEADER, detections=[box("cup")]), pictures.image_msg(image, HEADER, encoding)
        )


@pytest.mark.parametrize("package", ["yolo_msgs", "vision_msgs"])
def test_a_missing_package_is_named(package: str) -> None:
    try:
        __import__(package)
    except ImportError:
        pass
    else:
        pytest.skip(f"{package} is installed here")
    with NodeProcess(CONVERTER, ros_live.namespace(), detections_type=package) as process:
        assert process.process.wait(timeout=ros_live.START_S) == 2
        assert f"the package {package} is missing" in process.said() and "Traceback" not in process.said()


# The fields that are read, as the packages name them; only for this test, where they are not installed
PACKAGES = {
    "yolo_msgs": {
        "Point2D": "float64 x\nfloat64 y",
        "Mask": "int32 height\nint32 width\nyolo_msgs/Point2D[] data",
        "Detection": "int32 class_id\nstring class_name\nfloat64 score\nyolo_msgs/Mask mask",
        "DetectionArray": "std_msgs/Header header\nyolo_msgs/Detection[] detections",
    },
    "vision_msgs": {
        "ObjectHypothesis": "string class_id\nfloat64 score",
        "ObjectHypothesisWithPose": "vision_msgs/ObjectHypothesis hypothesis",
        "Detection2D": "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results",
        "Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections",
    },
}
PROJECT = """cmake_minimum_required(VERSION 3.22)
project({name})
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
find_package(std_msgs REQUIRED)
rosidl_generate_interfaces({name} {files} DEPENDENCIES std_msgs)
ament_package()
"""
MANIFEST = """<package format="3"><name>{name}</name><version>0.0.0</version><description>a test</description>
<maintainer email="a@b.org">test</maintainer><license>Apache-2.0</license>
<buildtool_depend>ament_cmake</buildtool_depend><buildtool_depend>rosidl_default_generators</buildtool_depend>
<depend>std_msgs</depend><member_of_group>rosidl_interface_packages</member_of_group></package>
"""
TALKER = """
import sys, time
import rclpy, numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image
from s3d_ros.ros import conversions, pictures
rclpy.init()
node = Node("detector", namespace=sys.argv[1])
header = conversions.header_msg(7_000_000_009, "camera")
image = np.zeros((40, 60), np.uint8)
image[10:20, 10:20] = 1
masks = None
if sys.argv[2] == "yolo_msgs":
    from yolo_msgs.msg import Detection, DetectionArray as Array, Mask, Point2D
    corners = [Point2D(x=float(x), y=float(y)) for x, y in ((10, 10), (19, 10), (19, 19), (10, 19))]
    mask = Mask(height=40, width=60, data=corners)
    array = Array(header=header, detections=[Detection(class_name="cup", score=0.75, mask=mask)])
else:
    from vision_msgs.msg import Detection2D, Detection2DArray as Array, ObjectHypothesis, ObjectHypothesisWithPose
    result = ObjectHypothesisWithPose(hypothesis=ObjectHypothesis(class_id="cup", score=0.75))
    array = Array(header=header, detections=[Detection2D(results=[result])])
    masks = node.create_publisher(Image, "masks", 10)
detections = node.create_publisher(Array, "detections", 10)
for _ in range(300):
    if masks is not None:
        masks.publish(pictures.image_msg(image, header, "mono8"))
    detections.publish(array)
    time.sleep(0.1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("package", list(PACKAGES))
def test_detections_are_converted_over_ros(package: str, tmp_path: Path) -> None:
    """With the real generators: a package of the name is built, a detector publishes it, the node finds the type."""
    if shutil.which("cmake", path=f"{sys.prefix}/bin:{os.environ['PATH']}") is None:
        pytest.skip("no cmake: `make setup` brings one")
    environment = _build(package, tmp_path)
    ns = ros_live.namespace()
    got: list[InstancesMsg] = []
    talker = tmp_path / "talker.py"
    talker.write_text(TALKER)
    with Spinning(ns) as tester, NodeProcess(CONVERTER, ns, environment=environment) as process:
        tester.node.create_subscription(InstancesMsg, "instances", got.append, qos.SENSOR)
        detector = subprocess.Popen([sys.executable, str(talker), ns, package], env=environment)
        try:
            wait_for(lambda: got, what="instances")
        finally:
            detector.kill()
            detector.wait()
        found = instances_of(got[0])
        assert (found.stamp_ns, found.numbers, found.labels) == (7_000_000_009, (1,), ("cup",))
        assert np.count_nonzero(found.image) == 100 and found.image[10, 10] == 1
        assert process.stop() == 0


def _build(package: str, folder: Path) -> dict[str, str]:
    """Generate a package of messages; return the environment in which it is found."""
    (folder / "msg").mkdir()
    for name, text in PACKAGES[package].items():
        (folder / "msg" / f"{name}.msg").write_text(text + "\n")
    files = " ".join(f"msg/{name}.msg" for name in PACKAGES[package])
    (folder / "CMakeLists.txt").write_text(PROJECT.format(name=package, files=files))
    (folder / "package.xml").write_text(MANIFEST.format(name=package))
    venv, out = sys.prefix, folder / "out"
    environment = dict(os.environ, AMENT_PREFIX_PATH=venv, CMAKE_PREFIX_PATH=venv)
    environment["PATH"] = f"{venv}/bin:{environment['PATH']}"
    options = [f"-DPython3_EXECUTABLE={sys.executable}", f"-DCMAKE_INSTALL_PREFIX={out}", "-DBUILD_TESTING=OFF"]
    for command in (
        ["cmake", "-G", "Ninja", "-S", str(folder), "-B", str(folder / "build"), *options],
        ["cmake", "--build", str(folder / "build"), "--target", "install"],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    modules = next(out.glob("lib/python3*/site-packages"))
    for variable, value in (("PYTHONPATH", modules), ("LD_LIBRARY_PATH", out / "lib"), ("AMENT_PREFIX_PATH", out)):
        environment[variable] = f"{value}:{environment.get(variable, '')}"
    return environment
