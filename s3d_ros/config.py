"""One typed config per stage. The YAML file, the ROS parameters (``fusion.voxel_size_m``) and the code share the names.

``Config.from_dict`` rejects unknown keys, wrong types and values out of range, naming the key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3d_ros.keys import choice, from_dict, number, plain, read_keys, with_values


@dataclass(frozen=True)
class FramesConfig:
    """Pairing of colour, depth, camera_info and pose."""

    pair_tolerance_s: float = number(0.02, 0, 1, "colour and depth of one frame are at most this far apart")
    pose_gap_s: float = number(0.5, 0, 10, "poses further apart are not interpolated between")
    wait_s: float = number(1.0, 0, 30, "how long a frame waits for its pose and its camera_info")
    max_pending: int = number(60, 1, 10000, "frames waiting at most; the oldest goes first")
    depth_scale: float = number(1000.0, 1e-6, 1e6, "integer depth units per metre")
    min_depth_m: float = number(0.15, 0, 10, "nearer depth is taken as unknown")
    max_depth_m: float = number(5.0, 0.1, 100, "further depth is taken as unknown")
    max_jump_back_s: float = number(1.0, 0, 1e6, "stamps that go back further start afresh (a looping bag)")
    instances_wait_s: float = number(2.0, 0, 60, "offline a frame waits so long for its instances; live it is kept")
    pose_source: str = choice("auto", ("auto", "topic", "tf"), "auto: the pose topic where there is one, else /tf")
    pose_child_frame: str = plain("", "whose pose a PoseStamped is; empty: the colour camera's optical frame")
    camera_frame: str = plain("", "the colour camera's optical frame; empty: the frame_id of its images")
    base_frame: str = plain("", "the robot's base; empty: an Odometry's child, else base_link or base_footprint")
    extrinsic: str = plain("", 'camera in pose_child_frame, "x y z qx qy qz qw"; empty: from /tf_static')
    rectified: bool = plain(False, "images are rectified already: use P of camera_info, not K and D")


@dataclass(frozen=True)
class FusionConfig:
    """TSDF and colour in an Open3D VoxelBlockGrid."""

    voxel_size_m: float = number(0.02, 0.002, 0.5, "edge of a voxel")
    block_voxels: int = number(8, 4, 32, "voxels along the edge of a block")
    truncation_voxels: float = number(3.0, 1, 16, "TSDF truncation in voxels")
    initial_blocks: int = number(20000, 100, 10_000_000, "blocks allocated at the start; grows as needed")
    device: str = plain("CPU:0", "Open3D device: CPU:0 or CUDA:0")
    min_weight: float = number(2.0, 0, 1000, "frames that must have seen a voxel before it is surface")
    max_weight: float = number(40.0, 1, 1e6, "older evidence fades so that changes are followed")
    block_period_s: float = number(0.045, 0, 1, "frames closer than this fuse every second block each, in turns")
    carve_period_s: float = number(0.3, 0, 60, "how often space seen to be empty is carved")
    carve_margin_voxels: float = number(1.5, 0.5, 100, "seen through by more than this is empty ...")
    depth_noise_per_m: float = number(0.006, 0, 1, "... plus this times depth squared: 3 sigma of a Kinect")


@dataclass(frozen=True)
class SegmentConfig:
    """Instances from depth alone (``geometric``), from somebody else (``topic``/``given``), or none."""

    segmenter: str = choice("auto", ("auto", "given", "geometric", "none"), "auto: given where there are any")
    period_s: float = number(0.2, 0, 60, "geometric: at most one frame in this time is segmented")
    min_pixels: int = number(300, 10, 1_000_000, "geometric: smaller segments are left out (at 640x480)")
    min_plane_area_m2: float = number(
        0.3, 0.01, 100, "geometric: larger planes carry things; those with nothing behind are walls and floors"
    )
    max_behind: float = number(0.03, 0, 1, "geometric: share of the image behind a plane that counts as nothing")
    jump_per_m: float = number(0.015, 1e-4, 1, "geometric: depth step in 1/m of inverse depth (1.5 cm at 1 m)")
    groove_deg: float = number(25.0, 1, 90, "geometric: surfaces that meet more hollow than this are two things")
    noise_per_m: float = number(0.001, 0, 0.1, "geometric: noise of inverse depth in 1/m (1 mm at 1 m)")
    min_distinct: float = number(0.15, 0, 1, "geometric: share of its outline that a thing stands out with")

    @property
    def takes_given(self) -> bool:
        """Whether instances that somebody else found are used."""
        return self.segmenter in ("auto", "given")


@dataclass(frozen=True)
class ObjectsConfig:
    """From 2D instances to objects with IDs."""

    stride: int = number(4, 1, 16, "every n-th pixel is lifted")
    voxel_size_m: float = number(0.03, 0.005, 0.5, "resolution at which an object's surface is remembered")
    match_overlap: float = number(0.3, 0.01, 1, "share of what is visible of an object that a match needs")
    confirm_pixels: int = number(600, 1, 10_000_000, "pixels seen in all before an object is public")
    confirm_s: float = number(0.3, 0, 60, "time between first and last sight before an object is public")
    min_instance_pixels: int = number(80, 1, 1_000_000, "smaller instances are not looked at")
    tentative_s: float = number(5.0, 0, 3600, "an unconfirmed object not seen for so long is dropped")
    transient_labels: str = plain(
        "person, man, woman, child, dog, cat",
        "what passes through: never an object, not part of the map while it is seen",
    )
    gone_memory_s: float = number(3600.0, 0, 1e6, "how long what is gone can be recognised where it comes back")
    box_period_s: float = number(0.5, 0, 60, "how often a changed object's box is computed anew")


@dataclass(frozen=True)
class BevConfig:
    """The picture from above."""

    resolution_m: float = number(0.02, 0.005, 0.5, "edge of a BEV pixel")
    period_s: float = number(1.0, 0.1, 60, "how often it is brought up to date")
    robot_height_m: float = number(1.2, 0.05, 10, "surface between floor and this height is an obstacle")
    step_m: float = number(0.1, 0.0, 1, "lower things are no obstacle")


@dataclass(frozen=True)
class ViewsConfig:
    """The few frames that together show everything."""

    count: int = number(32, 1, 300, "view frames kept at most")
    min_distance_m: float = number(0.25, 0, 10, "a new view frame is this far from all others, or")
    min_angle_deg: float = number(15.0, 0, 180, "turned by this much")
    period_s: float = number(0.5, 0, 60, "at most one candidate in this time")
    cell_m: float = number(0.25, 0.02, 2, "coverage is counted in cells of this edge")
    jpeg_quality: int = number(90, 10, 100, "of the stored colour")


@dataclass(frozen=True)
class AnchorsConfig:
    """Frames kept with their depth, so that the map can be made anew when poses are corrected."""

    min_distance_m: float = number(0.12, 0, 10, "a frame is kept when the camera has moved by this, or")
    min_angle_deg: float = number(8.0, 0, 180, "turned by this")
    recent_s: float = number(300.0, 0, 86400, "older ones seen from the same place as a newer one are left out")
    max_count: int = number(3000, 10, 1_000_000, "kept at most, about 65 kB each; then the older half is thinned")


@dataclass(frozen=True)
class MapConfig:
    """The map as a whole."""

    frame_id: str = plain("map", "name of the map frame")
    up: str = plain(
        "default",
        '"z", "auto" (found from the floor), "x,y,z" in the map frame, or "default": z live and for bags, '
        "auto for dataset folders, whose maps are rarely z-up",
    )
    scene_period_s: float = number(1.0, 0.1, 60, "the scene's version advances at most this often")


@dataclass(frozen=True)
class Config:
    """Everything the pipeline needs to know."""

    map: MapConfig = field(default_factory=MapConfig)
    frames: FramesConfig = field(default_factory=FramesConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    segment: SegmentConfig = field(default_factory=SegmentConfig)
    objects: ObjectsConfig = field(default_factory=ObjectsConfig)
    bev: BevConfig = field(default_factory=BevConfig)
    views: ViewsConfig = field(default_factory=ViewsConfig)
    anchors: AnchorsConfig = field(default_factory=AnchorsConfig)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """Make a config from nested keys. Raises ConfigError naming the key."""
        return from_dict(cls, values)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Config:
        """Read a YAML file: nested keys, or a ROS parameter file (``/**: ros__parameters:``)."""
        data = read_keys(path)
        for node in data.values():
            if isinstance(node, dict) and "ros__parameters" in node:
                data = node["ros__parameters"]
                break
        return cls.from_dict(data)

    def flat(self) -> Iterator[tuple[str, Any, dataclasses.Field[Any]]]:
        """Yield (dotted key, value, field) of every value."""
        for stage in dataclasses.fields(self):
            part = getattr(self, stage.name)
            for item in dataclasses.fields(part):
                yield f"{stage.name}.{item.name}", getattr(part, item.name), item

    def with_values(self, values: Mapping[str, Any]) -> Config:
        """Return a copy with dotted keys replaced. Raises ConfigError naming the key."""
        return with_values(self, values)
