"""One face for everything that was recorded: rosbag2 and dataset folders give the same arrivals as a live robot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from s3d_ros.config import FramesConfig
from s3d_ros.offline.arkitscenes import ArkitScenes, is_arkitscenes
from s3d_ros.offline.assembled import RecordingError
from s3d_ros.offline.bag import BagRecording
from s3d_ros.offline.dataset import SevenScenes, Tum, is_seven_scenes, is_tum
from s3d_ros.offline.scannet import ScanNetExport, ScanNetSens, is_scannet_export
from s3d_ros.offline.topics import TopicNames
from s3d_ros.offline.video import VideoRecording, is_video
from s3d_ros.types import Arrival, PoseNews

__all__ = ["Recording", "RecordingError", "TopicNames", "every_nth", "open_recording"]

_BAG_FILES = (".mcap", ".db3")
_WANTED = (
    "Give a rosbag2 (a folder with metadata.yaml, or one .mcap or .db3 file), a folder in the 7-Scenes layout "
    "(frame-000000.color.png, .depth.png, .pose.txt), one in the TUM RGB-D layout (rgb.txt, depth.txt, "
    "groundtruth.txt), a scan of ScanNet (.sens, or exported: color, depth, pose, intrinsic), or a video of "
    "ARKitScenes (lowres_wide, lowres_depth, lowres_wide_intrinsics, lowres_wide.traj); or a video file, which has "
    "neither depth nor poses: they are guessed."
)


class Recording(Protocol):
    """Frames of the past, in order. Iterating again starts again, with fresh counts."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def frame_id(self) -> str:
        """Name of the frame that its poses are in."""
        ...

    @property
    def frame_count(self) -> int | None:
        """How many frames to expect at most, None if that is unknown."""
        ...

    @property
    def has_instances(self) -> bool:
        """Whether it brings 2D instances."""
        ...

    @property
    def z_up(self) -> bool:
        """Whether the map's z is up; if not, up has to be found."""
        ...

    @property
    def drops(self) -> Counter[str]:
        """What was given up so far, by reason (:data:`s3d_ros.drops.DROPS`)."""
        ...

    @property
    def notes(self) -> Counter[str]:
        """What was odd so far (:data:`s3d_ros.drops.NOTES`)."""
        ...

    @property
    def restarts(self) -> int:
        """How often the stamps went back so far (a looping bag)."""
        ...

    @property
    def late_news(self) -> tuple[PoseNews, ...]:
        """Corrections of poses that came after the last frame."""
        ...

    def sentences(self) -> list[str]:
        """Return drops and notes as sentences for a person."""
        ...

    def arrivals(self, keep: Callable[[int], bool] | None = None) -> Iterator[Arrival]:
        """Yield arrivals, in order; of the frames whose index ``keep`` wants, the others are not even decoded."""
        ...

    def __iter__(self) -> Iterator[Arrival]: ...


class _Selection:
    """Some of a recording's frames; everything else is the recording's own."""

    def __init__(self, recording: Recording, keep: Callable[[int], bool], frame_count: int | None) -> None:
        self._recording = recording
        self._keep = keep
        self.frame_count = frame_count

    @property
    def name(self) -> str:
        return self._recording.name

    @property
    def frame_id(self) -> str:
        return self._recording.frame_id

    @property
    def has_instances(self) -> bool:
        return self._recording.has_instances

    @property
    def z_up(self) -> bool:
        return self._recording.z_up

    @property
    def drops(self) -> Counter[str]:
        return self._recording.drops

    @property
    def notes(self) -> Counter[str]:
        return self._recording.notes

    @property
    def restarts(self) -> int:
        return self._recording.restarts

    @property
    def late_news(self) -> tuple[PoseNews, ...]:
        return self._recording.late_news

    def sentences(self) -> list[str]:
        return self._recording.sentences()

    def arrivals(self, keep: Callable[[int], bool] | None = None) -> Iterator[Arrival]:
        mine = self._keep
        return self._recording.arrivals(mine if keep is None else lambda index: mine(index) and keep(index))

    def __iter__(self) -> Iterator[Arrival]:
        return self.arrivals()


def every_nth(recording: Recording, n: int, *, held_out: bool = False) -> Recording:
    """Return a recording of the frames 0, n, 2 n, ... of another; ``held_out``: of all the others instead.

    To hold every tenth frame out of a map and test with it: fuse ``every_nth(r, 10, held_out=True)``, test with
    ``every_nth(r, 10)``. Frames keep their index.
    """
    if n < 1:
        raise ValueError(f"every {n}th frame makes no sense: n must be 1 or more")
    count = recording.frame_count
    if count is not None:
        chosen = -(-count // n)
        count = count - chosen if held_out else chosen
    return _Selection(recording, lambda index: (index % n != 0) if held_out else (index % n == 0), count)


def open_recording(path: str | Path, config: FramesConfig | None = None, topics: TopicNames | None = None) -> Recording:
    """Open whatever is there: a rosbag2, or a dataset in the layout of 7-Scenes, TUM RGB-D, ScanNet or ARKitScenes.

    topics: names of a bag's topics where they can't be found by themselves. Raises RecordingError.
    """
    path = Path(path)
    config = config or FramesConfig()
    try:
        return _open(path, config, topics or TopicNames())
    except PermissionError as error:
        raise RecordingError(f"{path} may not be read: {error.strerror} ({error.filename}).") from error


def _open(path: Path, config: FramesConfig, topics: TopicNames) -> Recording:
    if not path.exists():
        raise RecordingError(f"{path} does not exist. {_WANTED}")
    if path.is_file():
        if path.suffix in _BAG_FILES:
            return BagRecording(path, config, topics)
        if path.suffix == ".sens":
            return ScanNetSens(path, config)
        if path.name == "metadata.yaml":
            return BagRecording(path.parent, config, topics)
        if is_video(path):
            return VideoRecording(path)
        if path.suffix == ".bag":
            raise RecordingError(
                f"{path} is a ROS 1 bag. Convert it first: rosbags-convert --src {path} --dst {path.with_suffix('')}"
            )
        raise RecordingError(f"{path} is a file of no kind that can be read here. {_WANTED}")
    if (path / "metadata.yaml").exists() or any(p.suffix in _BAG_FILES for p in path.iterdir()):
        return BagRecording(path, config, topics)
    if topics.roles():
        raise RecordingError(f"{path} is no rosbag2, and only a rosbag2 has topics to choose. {_WANTED}")
    if is_seven_scenes(path):
        return SevenScenes(path, config)
    if is_tum(path):
        return Tum(path, config)
    if is_scannet_export(path):
        return ScanNetExport(path, config)
    if is_arkitscenes(path):
        return ArkitScenes(path, config)
    if len(scans := sorted(path.glob("*.sens"))) == 1:
        return ScanNetSens(scans[0], config)
    inside = sorted(p for p in path.iterdir() if p.is_dir() and _is_recording(p))
    if inside:
        names = ", ".join(p.name for p in inside[:8])
        raise RecordingError(f"{path} is a folder of recordings ({names}). Give one of them: {inside[0]}")
    held = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
    content = f"It holds {', '.join(held[:5])}{', ...' if len(held) > 5 else ''}." if held else "It is empty."
    raise RecordingError(f"{path} is no recording. {content} {_WANTED}")


def _is_recording(path: Path) -> bool:
    kinds = (is_seven_scenes, is_tum, is_scannet_export, is_arkitscenes)
    return (path / "metadata.yaml").exists() or any(path.glob("*.sens")) or any(kind(path) for kind in kinds)
