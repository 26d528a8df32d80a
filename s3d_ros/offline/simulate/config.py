"""How a home is simulated; every magnitude in its unit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from s3d_ros.types import Intrinsics

NOISES = ("none", "sensor", "detector", "all")


@dataclass(frozen=True)
class SensorNoise:
    """A Kinect-like depth camera, and the localisation that tells where it is."""

    axial_m: tuple[float, float] = (0.0012, 0.0019)  # sigma(z) = a + b (z - 0.4)^2 metres
    disparity_step_px: float = 0.125  # depth comes in steps of this disparity ...
    baseline_focal_m_px: float = 43.5  # ... where disparity = this / depth
    range_m: tuple[float, float] = (0.4, 8.0)  # nothing is measured nearer or further
    grazing: float = 0.12  # cosine to the surface's normal below which depth is missing
    edge_jump: float = 0.04  # relative step in depth that counts as an edge
    edge_px: int = 2  # depth is missing up to so far from an edge ...
    edge_share: float = 0.6  # ... for this share of the pixels
    speckle_share: float = 0.003  # pixels missing anywhere
    color_sigma: float = 3.0  # of 255
    position_m: float = 0.005  # root mean square length of the pose's error
    rotation_deg: float = 0.3  # root mean square angle of the pose's error
    correlation_s: float = 0.5  # errors of the pose fade over this time


@dataclass(frozen=True)
class DetectorNoise:
    """A detector with masks. Shares are of the time that an object is seen; each error lasts ``lasts_s``."""

    missed: float = 0.20
    split: float = 0.10
    merged: float = 0.05
    wrong_label: float = 0.15
    ragged_px: float = 3.0  # outlines are displaced by up to this
    lasts_s: tuple[float, float] = (1.0, 3.0)
    confused_objects: float = 0.10  # objects that are always given one same wrong label when seen from one side
    confused_side_deg: float = 120.0  # width of that side


@dataclass(frozen=True)
class Remove:
    """Somebody carries an object away."""

    object_id: int
    at_s: float


@dataclass(frozen=True)
class Move:
    """Somebody shifts an object, and turns it about the vertical through its middle."""

    object_id: int
    at_s: float
    by_m: tuple[float, float, float]
    turn_deg: float = 0.0


Event = Remove | Move


@dataclass(frozen=True)
class TourConfig:
    """How the camera walks: as a person with it in the hand, or a small robot with it on a neck."""

    max_speed_m_s: float = 0.5
    max_turn_deg_s: float = 45.0
    heights_m: tuple[float, ...] = (0.85, 1.4)  # looked from; the way between them is smooth
    pitches_deg: tuple[float, ...] = (-35.0, -10.0, 18.0)  # up from the horizon; one of each: a camera fixed to a robot
    radius_m: float = 0.22  # kept from furniture and walls
    dwell_s: float = 0.35  # rest on each view
    # Longest tour of all rooms together: so much a room, a square metre, an object; and the most a room on average
    budget_s: tuple[float, float, float, float] = (30.0, 0.5, 0.8, 150.0)
    max_range_m: float = 4.5  # further things don't count as seen

    def __post_init__(self) -> None:
        _check(
            len(self.heights_m) > 0 and all(0.6 <= h <= 1.5 for h in self.heights_m),
            f"heights_m = {self.heights_m}: 0.6 to 1.5 m each",
        )
        _check(
            len(self.pitches_deg) > 0 and all(-80 <= p <= 60 for p in self.pitches_deg),
            f"pitches_deg = {self.pitches_deg}: -80 to 60 degrees each",
        )
        _check(0 < self.max_speed_m_s <= 5, f"max_speed_m_s = {self.max_speed_m_s} is out of range: above 0, up to 5")
        _check(0 < self.max_turn_deg_s <= 360, f"max_turn_deg_s = {self.max_turn_deg_s} is out of range: up to 360")


@dataclass(frozen=True)
class SimulateConfig:
    """Everything but the layout, the seed and the kind of noise."""

    width: int = 640
    height: int = 480
    focal_px: float = 525.0  # for 640 pixels of width; scaled with it
    fps: float = 10.0
    max_duration_s: float = math.inf
    min_instance_pixels: int = 20  # smaller instances are not published
    storage: str = "mcap"  # or sqlite3
    compression: str = "none"  # or zstd, each message
    # "dynamic": map -> base_link -> camera on /tf; "static": the camera is fixed to the base, base_link -> camera on
    # /tf_static (one height and one pitch); "camera": map -> camera; "none"
    transforms: str = "dynamic"
    publish_pose: bool = True
    truth_images: bool = True
    twins: bool = False  # things of one kind look alike: same shape and colours, but for the sizes in the layout
    tour: TourConfig = field(default_factory=TourConfig)
    sensor: SensorNoise = field(default_factory=SensorNoise)
    detector: DetectorNoise = field(default_factory=DetectorNoise)
    events: tuple[Event, ...] = ()
    # Above 0: a second visit, before which this share of the movable things was removed (half) or moved (half) ...
    changed_share: float = 0.0
    changed_after_s: float = 90.0  # ... while nothing was recorded for so long
    people: int = 0  # how often, in each visit, somebody walks through the view

    def __post_init__(self) -> None:
        _check(8 <= self.width <= 4096 and 8 <= self.height <= 4096, f"{self.width}x{self.height} is no image size")
        _check(0 < self.fps <= 120, f"fps = {self.fps} is out of range: above 0, up to 120")
        _check(self.storage in ("mcap", "sqlite3"), f"storage = {self.storage!r} is none of mcap, sqlite3")
        _check(self.compression in ("none", "zstd"), f"compression = {self.compression!r} is none of none, zstd")
        _check(
            self.transforms in ("dynamic", "static", "camera", "none"),
            f"transforms = {self.transforms!r} is none of dynamic, static, camera, none",
        )
        _check(
            self.transforms != "static" or len(self.tour.heights_m) == len(self.tour.pitches_deg) == 1,
            "transforms = 'static' needs one height in tour.heights_m and one pitch in tour.pitches_deg",
        )
        _check(0 <= self.changed_share <= 1, f"changed_share = {self.changed_share} is out of range: 0 to 1")
        _check(self.changed_after_s >= 60, f"changed_after_s = {self.changed_after_s} is too short: 60 or more")
        _check(0 <= self.people <= 50, f"people = {self.people} is out of range: 0 to 50")
        _check(self.publish_pose or self.transforms != "none", "a bag needs a pose topic or transforms")

    def intrinsics(self) -> Intrinsics:
        """Return the camera; its middle is that of the image."""
        f = self.focal_px * self.width / 640
        return Intrinsics(self.width, self.height, f, f, (self.width - 1) / 2, (self.height - 1) / 2)


def _check(good: bool, message: str) -> None:
    if not good:
        raise ValueError(message)
