"""Questions about a plain video: a map made of it with guessed depth and poses, or its frames alone."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console

from s3d_ros.answer.settings import AnswererConfig
from s3d_ros.config import Config
from s3d_ros.offline.replay import Progress, run_recording
from s3d_ros.offline.run import load_scene
from s3d_ros.offline.video import VideoConfig, VideoRecording
from s3d_ros.types import Intrinsics, Scene, ViewFrame

_NOTE = "video.json"  # in a run: of which video it was made, and how
_JPEG_QUALITY = 92
_WITHOUT_MAP: Mapping[str, Any] = {"prompt.bev": False, "prompt.markers": False}


def split_settings(settings: Mapping[str, Any]) -> tuple[VideoConfig, dict[str, Any]]:
    """Return what ``video.*`` says, with or without a map decided, and the other settings.

    Without a map, pictures are asked about unmarked and with no view from above. Raises ConfigError.
    """
    own = {k.removeprefix("video."): v for k, v in settings.items() if k.startswith("video.")}
    rest = {k: v for k, v in settings.items() if not k.startswith("video.")}
    config = VideoConfig.from_flat(own)
    if config.map == "auto":  # a guessed map leads a model that sees astray; without one there is nothing else
        sees = AnswererConfig.from_flat(rest).chosen() != ""
        config = dataclasses.replace(config, map="never" if sees else "always")
    return config, rest if config.map == "always" else {**_WITHOUT_MAP, **rest}


@contextmanager
def video_scene(
    path: Path, config: VideoConfig, save: Path | None, frames: int, console: Console, progress: Progress | None = None
) -> Iterator[Scene]:
    """Give a video's scene. save: folder of the run, kept, and used again for the same video; None: it goes away.

    frames: so many, evenly spaced, where there is no map. Raises RecordingError, GeometryError, RunError.
    """
    if config.map == "never":
        yield frames_only(path, dataclasses.replace(config, frames=max(2, min(frames, config.frames))))
        return
    folder = Path(tempfile.mkdtemp(prefix="s3d-video-")) if save is None else save
    try:
        told = _told(path, config)
        if save is None or not _is_of(save, told):
            recording = VideoRecording(path, config)
            run_recording(recording, folder, Config(), progress=progress)
            (folder / _NOTE).write_text(json.dumps(told | {"focal": _median(recording.focal)}, indent=1) + "\n")
            for line in recording.sentences():
                console.print(line, style="dim", soft_wrap=True)
        console.print(
            warning(config, json.loads((folder / _NOTE).read_text())["focal"]), style="yellow", soft_wrap=True
        )
        yield load_scene(folder)
    finally:
        if save is None:
            shutil.rmtree(folder, ignore_errors=True)


def frames_only(path: Path, config: VideoConfig) -> Scene:
    """Return a scene that holds frames of a video and nothing else, for models that see. Raises RecordingError."""
    config = dataclasses.replace(config, rate_hz=60.0)  # all that there are, spread over the video
    views = []
    for number, shot in enumerate(VideoRecording(path, config, encoder=_Blind()).shots(), 1):
        height, width = shot.pixels.shape[:2]
        _, jpeg = cv2.imencode(".jpg", shot.pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        camera = Intrinsics(width, height, float(width), float(width), width / 2 - 0.5, height / 2 - 0.5)  # not used
        views.append(ViewFrame(number, 1, shot.stamp_ns + 1, jpeg.tobytes(), camera, np.eye(4)))
    return Scene(1, views[-1].stamp_ns, "map", np.array([0.0, 0.0, 1.0]), views=tuple(views))


def warning(config: VideoConfig, focal: float | None) -> str:
    """Return what must be said of a map of plain video."""
    from s3d_ros.geometry_tokens.choose import measured

    view = ""
    if not config.focal and focal:
        degrees = float(np.degrees(2 * np.arctan(0.5 / focal)))
        view = f" The field of view was taken to be {degrees:.0f} degrees (video.focal sets it)."
    return (
        f"This is plain video: depth and the camera's way are guesses of the encoder {config.encoder!r}, and so are "
        f"all lengths, areas and places. {measured(config.encoder)}{view}"
    )


def _told(path: Path, config: VideoConfig) -> dict[str, Any]:
    stat = path.stat() if path.exists() else None
    return {
        "video": str(path.resolve()),
        "bytes": stat.st_size if stat else 0,
        "changed_ns": stat.st_mtime_ns if stat else 0,
        "config": dataclasses.asdict(config),
    }


def _is_of(run: Path, told: Mapping[str, Any]) -> bool:
    try:
        held = json.loads((run / _NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(held, dict) and {k: v for k, v in held.items() if k != "focal"} == told


def _median(values: list[float]) -> float | None:
    return float(np.median(values)) if values else None


class _Blind:
    """No encoder at all, where only pictures are wanted."""

    name, dim, metric, recurrent, good_poses = "none", 0, False, False, False

    def start(self) -> Any:
        return None

    def step(self, state: Any, pixels: Any, intrinsics: Intrinsics | None = None) -> Any:
        raise NotImplementedError
