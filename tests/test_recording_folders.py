"""Dataset folders in the 7-Scenes and TUM RGB-D layouts, what else a path may be, and playing recordings."""

from __future__ import annotations

from pathlib import Path

import bag_writing as bags
import cv2
import numpy as np
import pytest
from bag_writing import NS, at, merged, poses_along_x, walk, write_bag

from s3d_ros.config import FramesConfig
from s3d_ros.geometry import quaternion
from s3d_ros.offline.play import PlayRole, messages, millimetres
from s3d_ros.offline.recording import RecordingError, open_recording

KITCHEN = Path(__file__).resolve().parents[2] / "shared" / "data" / "redkitchen"
SHAPE = (12, 16)


def write_image(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), samples[..., ::-1] if samples.ndim == 3 else samples)


def seven_scenes(path: Path, count: int = 6, color: str = "png", intrinsics: bool = True) -> Path:
    for i in range(count):
        stem = path / f"frame-{i:06d}"
        write_image(stem.with_suffix(f".color.{color}"), np.full((*SHAPE, 3), (200, i, 0), np.uint8))
        depth = np.full(SHAPE, 1000 + i, np.uint16)
        depth[0, :2] = 0, 65535
        write_image(stem.with_suffix(".depth.png"), depth)
        np.savetxt(stem.with_suffix(".pose.txt"), at(i, 0.5))
    if intrinsics:
        np.savetxt(path / "camera-intrinsics.txt", [[20.0, 0, 7.5], [0, 21.0, 5.5], [0, 0, 1]])
    return path


@pytest.mark.parametrize("color", ["png", "jpg"])
def test_seven_scenes(tmp_path: Path, color: str) -> None:
    recording = open_recording(seven_scenes(tmp_path / "seq-01", color=color))
    frames = [a.frame for a in recording]
    assert (recording.name, recording.frame_count, recording.has_instances) == ("seq-01", 6, False)
    assert [f.index for f in frames] == list(range(6)) and not recording.drops and not recording.notes
    for i, frame in enumerate(frames):
        assert frame.stamp_ns == i * NS // 30 and np.allclose(frame.T_map_camera, at(i, 0.5))
        assert np.abs(frame.color[5, 5].astype(int) - (200, i, 0)).max() <= (0 if color == "png" else 4)
        assert frame.depth_m[0, 0] == frame.depth_m[0, 1] == 0
        assert np.allclose(frame.depth_m[1:], (1000 + i) / 1000)
    k = frames[0].intrinsics
    assert (k.width, k.height, k.fx, k.fy, k.cx, k.cy) == (16, 12, 20, 21, 7.5, 5.5)


def test_seven_scenes_without_intrinsics_has_the_datasets_own(tmp_path: Path) -> None:
    seven_scenes(tmp_path, intrinsics=False)
    k = next(iter(open_recording(tmp_path))).frame.intrinsics
    assert (k.width, k.height, k.fx) == (16, 12, 585 / 40)


def test_frames_with_parts_missing_are_counted(tmp_path: Path) -> None:
    seven_scenes(tmp_path, 8)
    (tmp_path / "frame-000001.depth.png").unlink()
    (tmp_path / "frame-000002.pose.txt").unlink()
    np.savetxt(tmp_path / "frame-000003.pose.txt", np.diag([2.0, 2, 2, 1]))
    (tmp_path / "frame-000004.pose.txt").write_text("nan is no pose")
    (tmp_path / "frame-000005.color.png").write_bytes(b"broken")
    (tmp_path / "frame-000006.depth.png").write_bytes(b"")
    recording = open_recording(tmp_path)
    assert [a.frame.index for a in recording] == [0, 7]
    assert recording.drops == {
        "depth_missing": 1,
        "pose_missing": 3,  # no other frame's pose is put in its place
        "pose_invalid": 2,
        "color_unreadable": 1,
        "depth_unreadable": 1,
    }
    assert "frame-000005.color.png" in "".join(recording.sentences())


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("*.color.png", r"no frame-\*.color.png or .color.jpg"),
        ("*.depth.png", r"no frame-\*.depth.png"),
        ("*.pose.txt", r"no frame-\*.pose.txt"),
    ],
)
def test_a_sequence_without_one_kind_of_file(tmp_path: Path, pattern: str, words: str) -> None:
    for file in seven_scenes(tmp_path).glob(pattern):
        file.unlink()
    with pytest.raises(RecordingError, match=words):
        open_recording(tmp_path)


@pytest.mark.parametrize("text", ["525 525 319.5 239.5", "a b c", "0 0 0\n0 0 0\n0 0 0"])
def test_intrinsics_that_are_none(tmp_path: Path, text: str) -> None:
    (seven_scenes(tmp_path) / "camera-intrinsics.txt").write_text(text)
    with pytest.raises(RecordingError, match=r"camera-intrinsics.txt must hold the 3x3 matrix"):
        open_recording(tmp_path)


@pytest.mark.skipif(not KITCHEN.exists(), reason=f"{KITCHEN} is not there")
def test_the_real_kitchen() -> None:
    recording = open_recording(KITCHEN)
    frames = [a.frame for a in recording.arrivals(lambda index: index % 50 == 0)]
    assert recording.frame_count == 300 and [f.index for f in frames] == [0, 50, 100, 150, 200, 250]
    assert not recording.drops
    for frame in frames:
        assert frame.color.shape == (480, 640, 3) and frame.intrinsics.fx == 585
        assert 0.5 < (frame.depth_m > 0).mean() < 1 and frame.depth_m.max() <= FramesConfig().max_depth_m
        assert np.linalg.det(frame.T_map_camera[:3, :3]) == pytest.approx(1, abs=1e-12)


# --- TUM --------------------------------------------------------------------------------------------------------


def tum(path: Path, count: int = 6) -> Path:
    """Colour at 10 Hz, depth 5 ms later, poses at 20 Hz, 2.5 ms beside the images."""
    start = 1305031102.175304
    lists: dict[str, list[str]] = {name: ["# a comment"] for name in ("rgb.txt", "depth.txt", "groundtruth.txt")}
    for i in range(count):
        t = start + i / 10
        write_image(path / "rgb" / f"{i}.png", np.full((*SHAPE, 3), (0, 0, i), np.uint8))
        write_image(path / "depth" / f"{i}.png", np.full(SHAPE, 5000 + i * 50, np.uint16))
        lists["rgb.txt"].append(f"{t:.6f} rgb/{i}.png")
        lists["depth.txt"].append(f"{t + 0.005:.6f} depth/{i}.png")
    for i in range(2 * count + 1):
        t = i / 20 - 0.0025
        x, y, z, w = quaternion(at())
        lists["groundtruth.txt"].append(f"{start + t:.6f} {t:.6f} 2 3 {x} {y} {z} {w}")
    for name, lines in lists.items():
        (path / name).write_text("\n".join(lines) + "\n")
    return path


def test_tum(tmp_path: Path) -> None:
    recording = open_recording(tum(tmp_path / "desk"))
    frames = [a.frame for a in recording]
    assert len(frames) == recording.frame_count == 6 and not recording.drops
    assert frames[0].stamp_ns == 1305031102_175304000
    for i, frame in enumerate(frames):
        assert frame.color[0, 0].tolist() == [0, 0, i] and np.allclose(frame.depth_m, 1 + i / 100)
        assert np.allclose(frame.T_map_camera, at(i / 10, 2, 3), atol=1e-6)
    assert frames[0].intrinsics.fx == pytest.approx(525 / 40)


def test_tum_knows_its_third_camera(tmp_path: Path) -> None:
    frame = next(iter(open_recording(tum(tmp_path / "rgbd_dataset_freiburg3_office")))).frame
    assert frame.intrinsics.fx == pytest.approx(535.4 / 40)


def test_tum_frames_before_the_first_pose_are_dropped(tmp_path: Path) -> None:
    path = tum(tmp_path)
    lines = (path / "groundtruth.txt").read_text().splitlines()
    (path / "groundtruth.txt").write_text("\n".join(lines[6:]))
    recording = open_recording(path)
    assert [a.frame.index for a in recording] == [3, 4, 5] and recording.drops == {"pose_before_first": 3}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("groundtruth.txt", None, r"has no groundtruth.txt"),
        ("depth.txt", None, r"has no depth.txt"),
        ("rgb.txt", "# nothing\n", r"rgb.txt lists nothing"),
        ("rgb.txt", "soon rgb/0.png\n", r"rgb.txt, line 1: 'soon rgb/0.png'"),
        ("depth.txt", "12.5\n", r"depth.txt, line 1"),
        ("groundtruth.txt", "1.0 0 0 0 0 0 0 2\n", r"is no tx ty tz qx qy qz qw"),
        ("groundtruth.txt", "1.0 0 0 0\n", r"is no tx ty tz qx qy qz qw"),
    ],
)
def test_tum_lists_that_can_not_be_used(tmp_path: Path, name: str, text: str | None, words: str) -> None:
    path = tum(tmp_path)
    if text is None:
        (path / name).unlink()
    else:
        (path / name).write_text(text)
    with pytest.raises(RecordingError, match=words):
        open_recording(path)


def test_a_list_that_names_files_which_are_not_there(tmp_path: Path) -> None:
    path = tum(tmp_path)
    (path / "rgb" / "2.png").unlink()
    recording = open_recording(path)
    assert len(list(recording)) == 5 and recording.drops == {"color_unreadable": 1}


# --- other paths ------------------------------------------------------------------------------------------------


def test_paths_that_are_no_recordings(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    (tmp_path / "empty.mcap").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for name, words in (
        ("nowhere", "does not exist. Give a rosbag2"),
        ("notes.txt", "is a file of no kind that can be read here"),
        ("old.bag", "ROS 1 bag. Convert it first: rosbags-convert"),
        ("empty.mcap", "whose file empty.mcap is empty"),
        ("folder", "It is empty. Give a rosbag2"),
    ):
        with pytest.raises(RecordingError, match=words):
            open_recording(tmp_path / name)


def test_a_folder_of_recordings_names_them(tmp_path: Path) -> None:
    for name in ("seq-01", "seq-02"):
        seven_scenes(tmp_path / name, 1)
    with pytest.raises(RecordingError, match=r"folder of recordings \(seq-01, seq-02\). Give one of them"):
        open_recording(tmp_path)


# --- playing ----------------------------------------------------------------------------------------------------


def test_what_is_played_is_what_is_replayed(tmp_path: Path) -> None:
    marks = np.full((bags.HEIGHT, bags.WIDTH), 3, np.uint16)
    found = [(t, "/s3d/instances", bags.instances(t, marks, {3: "cup"})) for t in (T0 + i * NS // 10 for i in range(4))]
    path = write_bag(tmp_path / "bag", merged(walk(4), poses_along_x(4), found))
    played = list(messages(path))
    frames = [a.frame for a in open_recording(path)]
    assert [p.stamp_ns for p in played] == sorted(p.stamp_ns for p in played) and len(played) == 4 * 5
    for i, frame in enumerate(frames):
        values = {p.role: p.payload for p in played if p.stamp_ns == frame.stamp_ns}
        assert np.array_equal(values[PlayRole.COLOR], frame.color)
        assert values[PlayRole.DEPTH].dtype == np.uint16 and (values[PlayRole.DEPTH] == 1000 + i).all()
        assert values[PlayRole.CAMERA_INFO] == frame.intrinsics
        assert np.array_equal(values[PlayRole.POSE], frame.T_map_camera)
        assert values[PlayRole.INSTANCES].labels == ("cup",)
        assert PlayRole.BASE not in values


def test_a_known_base_is_played_too(tmp_path: Path) -> None:
    mount = (T0, "/tf_static", bags.tf(bags.transform(0, "base_link", bags.OPTICAL, at(0, 0, 1))))
    path = write_bag(tmp_path / "bag", merged(walk(2), poses_along_x(2), [mount]))
    bases = [p.payload for p in messages(path) if p.role == PlayRole.BASE]
    assert np.allclose(bases, [at(0, 0, -1), at(0.1, 0, -1)])


def test_an_open_recording_and_a_folder_are_played(tmp_path: Path) -> None:
    recording = open_recording(seven_scenes(tmp_path))
    roles = [p.role for p in messages(recording)]
    assert roles == [PlayRole.POSE, PlayRole.CAMERA_INFO, PlayRole.COLOR, PlayRole.DEPTH] * 6
    with pytest.raises(RecordingError):
        next(messages(tmp_path / "nowhere"))


def test_millimetres() -> None:
    depth = np.array([[0, 0.0004, 0.0006, 1.2345, 65.534, 65.535, 80]], np.float32)
    assert millimetres(depth).tolist() == [[0, 0, 1, 1234, 65534, 0, 0]] or millimetres(depth)[0, 3] == 1235


T0 = 100 * NS
