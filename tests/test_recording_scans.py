"""Scans of ScanNet (.sens and exported) and videos of ARKitScenes, from small invented files."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_writing import NS, at

from s3d_ros.geometry import invert
from s3d_ros.offline.recording import RecordingError, open_recording

K_COLOR = np.array([[40.0, 0, 15.0], [0, 42.0, 11.0], [0, 0, 1]])
K_DEPTH = np.array([[20.0, 0, 7.5], [0, 21.0, 5.5], [0, 0, 1]])  # color = 2 x depth: u_c = 2 (u_d - 7.5) + 15
ALIGN = np.array([[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 0.5], [0, 0, 0, 1]])
DEPTH = np.full((12, 16), 1500, np.uint16)
DEPTH[0, 0] = 0


def color_image(number: int) -> np.ndarray:
    """A red dot where the depth camera's pixel (10, 4) looks: (2 * 2.5 + 15, 2 * -1.5 + 11) = (20, 8)."""
    image = np.full((24, 32, 3), (0, 0, number), np.uint8)
    image[7:10, 19:22] = (255, 0, 0)
    return image


def encoded(image: np.ndarray, suffix: str) -> bytes:
    ok, data = cv2.imencode(suffix, image[..., ::-1] if image.ndim == 3 else image)
    assert ok
    return data.tobytes()


def write_sens(path: Path, poses: list[np.ndarray], version: int = 4) -> Path:
    def k4(K: np.ndarray) -> bytes:
        out = np.eye(4)
        out[:3, :3] = K
        return out.astype("<f4").tobytes()

    data = struct.pack("<IQ", version, 4) + b"test" + k4(K_COLOR) + k4(np.eye(3)) + k4(K_DEPTH) + k4(np.eye(3))
    data += struct.pack("<iiIIIIfQ", 1, 1, 32, 24, 16, 12, 1000.0, len(poses))
    for i, T in enumerate(poses):
        color, depth = encoded(color_image(i), ".png"), zlib.compress(DEPTH.tobytes())
        data += T.astype("<f4").tobytes() + struct.pack("<QQQQ", 0, 0, len(color), len(depth)) + color + depth
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def write_export(path: Path, poses: list[np.ndarray]) -> Path:
    for name in ("color", "depth", "pose", "intrinsic"):
        (path / name).mkdir(parents=True)
    for i, T in enumerate(poses):
        (path / "color" / f"{i}.png").write_bytes(encoded(color_image(i), ".png"))
        (path / "depth" / f"{i}.png").write_bytes(encoded(DEPTH, ".png"))
        np.savetxt(path / "pose" / f"{i}.txt", T)
    for name, K in (("color", K_COLOR), ("depth", K_DEPTH)):
        k4 = np.eye(4)
        k4[:3, :3] = K
        np.savetxt(path / "intrinsic" / f"intrinsic_{name}.txt", k4)
    return path


@pytest.mark.parametrize("kind", ["sens", "export"])
@pytest.mark.parametrize("aligned", [True, False])
def test_scannet(tmp_path: Path, kind: str, aligned: bool) -> None:
    poses = [at(i, 0.5) for i in range(11)]  # the 11th: numbers are sorted as numbers
    folder = tmp_path / "scene0000_00"
    path = write_sens(folder / "scene0000_00.sens", poses) if kind == "sens" else write_export(folder, poses)
    if aligned:
        text = "axisAlignment = " + " ".join(f"{x:g}" for x in ALIGN.ravel()) + "\ncolorWidth = 32\n"
        (folder / "scene0000_00.txt").write_text(text)
    recording = open_recording(path)
    frames = [a.frame for a in recording]
    assert (recording.name, recording.frame_count, recording.z_up) == ("scene0000_00", 11, aligned)
    assert not recording.drops and [f.index for f in frames] == list(range(11))
    for i, frame in enumerate(frames):
        assert frame.stamp_ns == i * NS // 30
        assert np.allclose(frame.T_map_camera, (ALIGN if aligned else np.eye(4)) @ poses[i], atol=1e-6)
        assert frame.color.shape == (12, 16, 3) and frame.depth_m.shape == (12, 16)
        assert frame.color[4, 10].tolist() == [255, 0, 0] and frame.color[9, 3].tolist() == [0, 0, i]
        assert frame.depth_m[0, 0] == 0 and frame.depth_m[4, 10] == pytest.approx(1.5)
        k = frame.intrinsics
        assert (k.fx, k.fy, k.cx, k.cy) == (20, 21, 7.5, 5.5)


def test_scannet_folder_with_one_sens_file(tmp_path: Path) -> None:
    write_sens(tmp_path / "scene0001_00" / "scene0001_00.sens", [np.eye(4)])
    assert open_recording(tmp_path / "scene0001_00").name == "scene0001_00"


def test_lost_poses_and_cut_off_files_are_counted(tmp_path: Path) -> None:
    poses = [np.eye(4), np.full((4, 4), -np.inf), np.eye(4)]
    path = write_sens(tmp_path / "a.sens", poses)
    recording = open_recording(path)
    assert [a.frame.index for a in recording] == [0, 2] and recording.drops["pose_invalid"] == 1
    path.write_bytes(path.read_bytes()[:-40])  # the last frame's depth
    assert [a.frame.index for a in recording] == [0]
    assert recording.drops["pose_invalid"] == 1 and sum(recording.drops.values()) >= 2


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:100]), "cut off in its header"),
        (lambda p: write_sens(p, [np.eye(4)], version=3), "version 3"),
    ],
)
def test_bad_sens_files_are_refused(tmp_path: Path, spoil, said: str) -> None:
    path = write_sens(tmp_path / "a.sens", [np.eye(4)])
    spoil(path)
    with pytest.raises(RecordingError, match=said):
        open_recording(path)


def test_bad_exports_are_refused(tmp_path: Path) -> None:
    path = write_export(tmp_path / "scan", [np.eye(4)])
    (path / "scene0000_00.txt").write_text("axisAlignment = 1 2 3\n")
    with pytest.raises(RecordingError, match="16 numbers"):
        open_recording(path)
    (path / "scene0000_00.txt").unlink()
    (path / "intrinsic" / "intrinsic_depth.txt").write_text("none")
    with pytest.raises(RecordingError, match="intrinsic_depth"):
        open_recording(path)
    (path / "color" / "left.png").write_bytes(b"")
    with pytest.raises(RecordingError, match="'left'"):
        open_recording(path)


def write_arkit(path: Path, frames: Path) -> Path:
    for name in ("lowres_wide", "lowres_depth", "lowres_wide_intrinsics"):
        (frames / name).mkdir(parents=True)
    lines = []
    for i in range(5):
        t = f"{100 + 0.1 * i:.3f}"
        (frames / "lowres_wide" / f"{path.name}_{t}.png").write_bytes(encoded(color_image(i), ".png"))
        (frames / "lowres_depth" / f"{path.name}_{t}.png").write_bytes(
            encoded(np.full((24, 32), 2000, np.uint16), ".png")
        )
        (frames / "lowres_wide_intrinsics" / f"{path.name}_{t}.pincam").write_text("32 24 40 42 15.5 11.5")
        T = invert(turned(0.2 * i))  # world to camera
        axis_angle = cv2.Rodrigues(T[:3, :3])[0].ravel()
        lines.append(" ".join(f"{x:.9f}" for x in (100 + 0.1 * i, *axis_angle, *T[:3, 3])))
    (frames / "lowres_wide.traj").write_text("\n".join(lines) + "\n")
    return path


def turned(angle: float) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(np.array([0.0, 0.0, angle]))[0]
    T[:3, 3] = (1.0, 2.0, angle)
    return T


@pytest.mark.parametrize("part", ["raw", "3dod"])
def test_arkitscenes(tmp_path: Path, part: str) -> None:
    path = tmp_path / "47331970"
    write_arkit(path, path if part == "raw" else path / "47331970_frames")
    recording = open_recording(path)
    frames = [a.frame for a in recording]
    assert recording.name == "47331970" and recording.z_up and len(frames) == 5 and not recording.drops
    for i, frame in enumerate(frames):
        assert np.allclose(frame.T_map_camera, turned(0.2 * i), atol=1e-6)  # its inverse is what the file holds
        assert frame.depth_m[3, 3] == pytest.approx(2.0) and frame.intrinsics.fx == 40
    (path / "lowres_wide.traj" if part == "raw" else path / "47331970_frames" / "lowres_wide.traj").unlink()
    with pytest.raises(RecordingError, match=r"no lowres_wide\.traj"):
        open_recording(path)
