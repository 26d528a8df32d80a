"""What is to be published when a recording is played live, in order: values, no messages.

A recording is played as ``s3d replay`` sees it: paired, rectified, depth cleaned, the camera's pose at each image's
stamp. So a mapper that listens gets what it would have got offline, from any kind of recording.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3d_ros.config import FramesConfig
from s3d_ros.offline.recording import Recording, TopicNames, open_recording
from s3d_ros.types import F32, F64, U8, U16, Instances, Intrinsics

Payload = U8 | U16 | F32 | Intrinsics | F64 | Instances
_MM_PER_M = 1000


class PlayRole(enum.StrEnum):
    """What a published value is, and its type: see :class:`Published`."""

    POSE = "pose"
    BASE = "base"
    CAMERA_INFO = "camera_info"
    COLOR = "color"
    DEPTH = "depth"
    INSTANCES = "instances"


@dataclass(frozen=True)
class Published:
    """One value to publish.

    payload by role: pose: T_map_camera (4, 4), the camera's optical frame in the map; base: T_map_base (4, 4), only
    where the recording knows it; camera_info: Intrinsics; color: (H, W, 3) uint8 RGB; depth: (H, W) uint16 mm, 0
    unknown; instances: Instances.
    """

    stamp_ns: int
    role: PlayRole
    payload: Payload


def messages(
    path: str | Path | Recording, topics: TopicNames | None = None, config: FramesConfig | None = None
) -> Iterator[Published]:
    """Yield what to publish, by rising stamp; of one frame first pose and camera_info, then the images.

    path: of a recording, or an open one. Poses come first so that a frame never waits for the next one's pose.
    Raises RecordingError.
    """
    recording = open_recording(path, config, topics) if isinstance(path, str | Path) else path
    for arrival in recording:
        frame, stamp_ns = arrival.frame, arrival.frame.stamp_ns
        if frame.T_map_base is not None:
            yield Published(stamp_ns, PlayRole.BASE, frame.T_map_base)
        yield Published(stamp_ns, PlayRole.POSE, frame.T_map_camera)
        yield Published(stamp_ns, PlayRole.CAMERA_INFO, frame.intrinsics)
        yield Published(stamp_ns, PlayRole.COLOR, frame.color)
        yield Published(stamp_ns, PlayRole.DEPTH, millimetres(frame.depth_m))
        if arrival.instances is not None:
            yield Published(stamp_ns, PlayRole.INSTANCES, arrival.instances)


def millimetres(depth_m: F32) -> U16:
    """Return depth (H, W) in whole millimetres, uint16, 0 for unknown; beyond 65.534 m it is unknown too."""
    mm = depth_m * np.float32(_MM_PER_M) + np.float32(0.5)  # and cut off: faster than rounding
    if mm.max(initial=0) >= 65535:
        mm[mm >= 65535] = 0
    return mm.astype(np.uint16)
