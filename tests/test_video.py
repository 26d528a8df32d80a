"""Plain video: read as a recording, asked about, and what is told of bad ones."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from openai_servers import Scripted, says
from tiny_geometry import make_tiny_encoder
from typer.testing import CliRunner, Result

from s3d_ros import cli
from s3d_ros.geometry_tokens.encoder import FrameGeometry
from s3d_ros.offline.ask_video import frames_only, split_settings
from s3d_ros.offline.recording import RecordingError, open_recording
from s3d_ros.offline.video import VideoConfig, VideoRecording, full_depth, is_video
from s3d_ros.types import Intrinsics

RATE_HZ = 10
STEP_PX = 16


def write_video(path: Path, count: int = 30, size: tuple[int, int] = (320, 240)) -> Path:
    """A camera that slides along a wall with much on it, to the right."""
    rng = np.random.default_rng(5)
    wall = np.full((size[1], size[0] + STEP_PX * count, 3), 128, np.uint8)
    for _ in range(1500):
        a = rng.integers(0, (wall.shape[1], wall.shape[0]))
        color = tuple(int(c) for c in rng.integers(0, 255, 3))
        cv2.rectangle(wall, a.tolist(), (a + rng.integers(4, 24, 2)).tolist(), color, -1)
    out = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), RATE_HZ, size)
    for k in range(count):
        out.write(wall[:, STEP_PX * k : STEP_PX * k + size[0]])
    out.release()
    return path


class Wall:
    """An encoder that says "a wall, 2 m ahead", and counts what it sees."""

    name, dim, metric, recurrent, good_poses = "wall", 4, True, True, False

    def __init__(self) -> None:
        self.seen: list[int] = []

    def start(self) -> int:
        return 0

    def step(self, state: int, pixels: np.ndarray, intrinsics: Intrinsics | None = None) -> tuple[FrameGeometry, int]:
        self.seen.append(state)
        T = np.eye(4)
        T[2, 3] = float(state)
        depth = np.full((24, 32), 2.0, np.float32)
        camera = intrinsics or Intrinsics(32, 24, 32.0, 32.0, 15.5, 11.5)
        token = torch.zeros(1, 4)
        return FrameGeometry(token, token[0], depth, None, camera.scaled(32, 24), T), state + 1


def frames(path: Path, encoder: Wall | None = None, **config: object) -> list:
    return [a.frame for a in VideoRecording(path, VideoConfig(**config), encoder or Wall())]  # type: ignore[arg-type]


# --- read as a recording ------------------------------------------------------------------------------------------


def test_pictures_are_sampled_by_rate_and_at_most_so_many(tmp_path: Path) -> None:
    video = write_video(tmp_path / "way.mp4")
    made = frames(video, rate_hz=5)
    assert [f.stamp_ns for f in made] == [k * 200_000_000 for k in range(15)]
    few = frames(video, rate_hz=5, frames=3)
    assert [f.stamp_ns for f in few] == [0, 1_000_000_000, 2_000_000_000]  # spread over all of it
    assert VideoRecording(video, VideoConfig(rate_hz=60), Wall()).frame_count == 30  # no picture twice
    assert frames(video, frames=2, width_px=160)[0].color.shape == (120, 160, 3)


def test_depth_and_poses_come_from_the_encoder_and_shared_features(tmp_path: Path) -> None:
    video = write_video(tmp_path / "way.mp4")
    made = frames(video, rate_hz=10, frames=30)
    assert made[0].intrinsics == Intrinsics(320, 240, 320.0, 320.0, 159.5, 119.5)
    assert (made[0].depth_m == 2.0).all() and made[0].depth_m.shape == (240, 320)
    way = made[10].T_map_camera[:3, 3]
    assert way == pytest.approx((10 * STEP_PX / 320 * 2, 0, 0), abs=0.05)  # a pixel of a wall 2 m away: 6.25 mm
    told = frames(video, poses="encoder", rate_hz=10, frames=30)
    assert told[10].T_map_camera[2, 3] == 10.0
    sure = Wall()
    sure.good_poses = True
    assert frames(video, sure, rate_hz=10, frames=30)[10].T_map_camera[2, 3] == 10.0
    near = frames(video, rate_hz=10, frames=30, focal=2.0)[10]
    assert near.intrinsics.fx == 640 and near.T_map_camera[0, 3] == pytest.approx(way[0] / 2, abs=0.03)


def test_what_is_recognised_nowhere_is_left_out_and_told(tmp_path: Path) -> None:
    video = tmp_path / "cut.mp4"
    out = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for k in range(4):
        out.write(np.full((48, 64, 3), 60 * k, np.uint8))
    out.release()
    recording = VideoRecording(video, VideoConfig(rate_hz=10), Wall())
    assert len(list(recording)) == 1 and recording.drops["video_lost"] == 3
    assert "3 x video_lost: a picture of a video showed too little" in recording.sentences()[0]


def test_depth_is_left_out_where_it_is_unsure_or_smeared() -> None:
    depth = np.full((4, 6), 1.0, np.float32)
    depth[:, 3:] = 3.0
    sure = np.ones((4, 6), np.float32)
    sure[0] = 0.1
    token = torch.zeros(1, 4)
    full = full_depth(FrameGeometry(token, token[0], depth, sure), 60, 40)
    assert full.shape == (40, 60) and (full[:10] == 0).all()
    assert (full[10:, :20] == 1).all() and (full[10:, 20:40] == 0).all() and (full[10:, 40:] == 3).all()


def test_a_video_is_opened_as_any_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3d_ros.geometry_tokens.choose.SHIPPED", make_tiny_encoder(tmp_path / "encoder"))
    recording = open_recording(write_video(tmp_path / "way.mp4"))
    assert recording.name == "way.mp4" and not recording.z_up and recording.frame_count == 9
    assert is_video(tmp_path / "none.MOV") and not is_video(tmp_path)


# --- what is told of bad ones -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.mp4", None, r"none\.mp4 does not exist\. Give a video file"),
        ("empty.mp4", b"", r"empty\.mp4 is empty: copy the video anew"),
        ("text.mp4", b"this is no video" * 99, r"is no video that OpenCV can read: .*Convert it, such as by: ffmpeg"),
    ],
)
def test_bad_videos_are_refused_in_words(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordingError, match=said):
        VideoRecording(tmp_path / name, encoder=Wall())


def test_a_cut_or_short_video_is_refused_in_words(tmp_path: Path) -> None:
    short = write_video(tmp_path / "short.mp4", count=3)
    with pytest.raises(RecordingError, match=r"is too short: 3 pictures at 10 a second, .* looks at 1; 2 are needed"):
        VideoRecording(short, VideoConfig(rate_hz=2), Wall())
    whole = write_video(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordingError, match=r"cut\.mp4 is no video that OpenCV can read"):
        VideoRecording(tmp_path / "cut.mp4", encoder=Wall())


def test_wrong_settings_are_refused_by_name(tmp_path: Path) -> None:
    video = write_video(tmp_path / "way.mp4")
    for setting, said in (
        ("video.rate=3", "unknown config key 'video.rate'; did you mean 'rate_hz'?"),
        ("video.encoder=/none/vggt", "VGGT: neither s3d_ros nor Transformers has its network"),
    ):
        told = ask(video, "How large is the room?", "-a", "geometric", "--set", setting)
        assert told.exit_code == 2 and said in " ".join(told.stderr.split())
    with pytest.raises(RecordingError, match=r"the encoder wall tells no poses"):
        frames(video, Blind(), poses="encoder")


class Blind(Wall):
    def step(self, state: int, pixels: np.ndarray, intrinsics: Intrinsics | None = None) -> tuple[FrameGeometry, int]:
        from dataclasses import replace

        told, after = super().step(state, pixels, intrinsics)
        return replace(told, T_first_camera=None), after


# --- asked --------------------------------------------------------------------------------------------------------


def ask(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["ask", *(str(a) for a in arguments)])


def test_a_video_is_mapped_asked_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Wall()
    monkeypatch.setattr("s3d_ros.geometry_tokens.choose.load_encoder", lambda name: encoder)
    video = write_video(tmp_path / "way.mp4")
    told = ask(video, "How many chairs are there?", "-a", "geometric", "--save", tmp_path / "run")
    assert told.exit_code in (0, 1) and "by geometric" in told.stdout, told.output
    said = " ".join(told.stderr.split())
    assert "This is plain video: depth and the camera's way are guesses of the encoder 'small'" in said
    assert "The field of view was taken to be 53 degrees (video.focal sets it)." in said
    assert (tmp_path / "run" / "report.html").exists() and len(encoder.seen) == 9
    again = ask(video, "How many chairs are there?", "-a", "geometric", "--save", tmp_path / "run")
    assert len(encoder.seen) == 9 and "This is plain video" in again.stderr  # taken from what was kept
    ask(video, "How many?", "-a", "geometric", "--save", tmp_path / "run", "--set", "video.rate_hz=2")
    assert len(encoder.seen) == 15
    refused = ask(tmp_path / "run", "How many?", "--save", tmp_path / "other")
    assert refused.exit_code == 2 and "--save is for what is made of a video" in refused.stderr


def test_frames_alone_go_to_a_model_that_sees(tmp_path: Path) -> None:
    video = write_video(tmp_path / "way.mp4")
    with Scripted(says("A wall.")) as server:
        told = ask(video, "What is this?", "--server", server.url, "--json", "-a", "openai",
                   "--set", "prompt.frames=4")  # fmt: skip
        (row,) = [json.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]
        assert row["answer"] == "A wall."
        parts = server.requests[0]["messages"][1]["content"]
    assert [p["type"] for p in parts].count("image_url") == 4  # in the order of time, and no bird's-eye view
    captions = [p["text"] for p in parts if p["type"] == "text"][:4]
    assert [c.split(", ")[1] for c in captions] == ["0.0 s:", "0.7 s:", "1.5 s:", "2.2 s:"]


def test_settings_of_a_video_and_of_the_answerer_are_told_apart(tmp_path: Path) -> None:
    config, rest = split_settings({"video.frames": 8, "prompt.frames": 4, "answerer": "geometric"})
    assert config.frames == 8 and config.map == "always" and rest == {"prompt.frames": 4, "answerer": "geometric"}
    config, rest = split_settings({"model": "m", "prompt.markers": True})
    assert config.map == "never" and rest == {"model": "m", "prompt.bev": False, "prompt.markers": True}
    assert split_settings({"model": "m", "video.map": "always"}) == (VideoConfig(map="always"), {"model": "m"})
    scene = frames_only(write_video(tmp_path / "way.mp4"), VideoConfig(frames=5))
    assert len(scene.views) == 5 and scene.objects == () and scene.bev is None
