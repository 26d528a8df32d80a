"""Which topic of a recording is for what: by type and content first, by name only where several would do."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from s3d_ros.messages import Role

_IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_POSES = ("geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/PoseWithCovarianceStamped")
_ODOMETRY = ("nav_msgs/msg/Odometry",)
_TF = ("tf2_msgs/msg/TFMessage",)
TYPES: Mapping[Role, tuple[str, ...]] = {
    Role.COLOR: _IMAGES,
    Role.DEPTH: _IMAGES,
    Role.CAMERA_INFO: ("sensor_msgs/msg/CameraInfo",),
    Role.POSE: (*_POSES, *_ODOMETRY, "geometry_msgs/msg/TransformStamped"),
    Role.PATH: ("nav_msgs/msg/Path",),
    Role.TF: _TF,
    Role.TF_STATIC: _TF,
    Role.INSTANCES: ("s3d_ros/msg/Instances",),
}
# Images that are made from others, or seen by another camera.
_NOT_THE_CAMERA = ("infra", "/ir", "thermal", "mask", "label", "segment", "semantic", "instance", "bev", "debug")
_DEPTH_ENCODINGS = ("16uc1", "32fc1", "mono16", "compresseddepth")
# Poses of something else than what carries the camera, or of which nobody can say what they are of.
_NOT_THE_ROBOT = ("goal", "initial", "target", "waypoint", "marker", "object", "setpoint")


class TopicError(ValueError):
    """Topics that can't be found or do not fit; the message says what there is."""


@dataclass(frozen=True)
class TopicNames:
    """Names of a recording's topics; an empty one is found by type and content."""

    color: str = ""
    depth: str = ""
    camera_info: str = ""
    pose: str = ""
    path: str = ""
    tf: str = ""
    tf_static: str = ""
    instances: str = ""

    def of(self, role: Role) -> str:
        """Return the name for a role, empty for none."""
        return str(getattr(self, role.value))

    def roles(self) -> dict[str, Role]:
        """Return the role of each named topic."""
        return {self.of(Role(f.name)): Role(f.name) for f in fields(self) if self.of(Role(f.name))}


@dataclass(frozen=True)
class Topic:
    """A topic that a recording holds. content: an image's encoding or format. frame: its first message's frame_id.

    child: an Odometry's child_frame_id.
    """

    name: str
    type: str
    count: int
    content: str = ""
    frame: str = ""
    child: str = ""

    @property
    def is_depth(self) -> bool:
        content = self.content.lower()
        return any(word in content for word in _DEPTH_ENCODINGS) if content else "depth" in self.name.lower()


@dataclass(frozen=True)
class Tree:
    """The frames that a recording's transforms connect: parent of each child, and the children that move."""

    parents: Mapping[str, str]
    moving: frozenset[str] = frozenset()

    def chain(self, frame: str) -> list[str]:
        """Return a frame and all above it."""
        chain = [frame]
        while (parent := self.parents.get(chain[-1])) is not None and parent not in chain:
            chain.append(parent)
        return chain

    def fixed_frame(self, frame: str) -> str:
        """Return the frame that is taken as fixed for what is seen in ``frame``: "map", or the topmost one."""
        chain = self.chain(frame)
        return "map" if "map" in chain else chain[-1]

    def moves(self, frame: str) -> bool:
        """Return whether anything above the frame moves."""
        return any(f in self.moving for f in self.chain(frame))


def choose_images(topics: Sequence[Topic], wanted: TopicNames) -> TopicNames:
    """Choose colour, depth, camera_info, instances and the transforms' topics. Raises TopicError."""
    for role in Role:
        _check_wanted(topics, wanted.of(role), role)
    filled = [t for t in topics if t.count]
    color = wanted.color or _best(_color_scores(filled))
    if not color:
        raise TopicError(f"it holds no colour images (sensor_msgs/msg/Image or CompressedImage); {listing(topics)}")
    depth = wanted.depth or _best(_depth_scores(filled, color))
    if not depth:
        raise TopicError(
            f"it holds no depth images (sensor_msgs/msg/Image with 16UC1 or 32FC1, registered to colour); "
            f"{listing(topics)}"
        )
    info = wanted.camera_info or _best(_info_scores(filled, color))
    if not info:
        raise TopicError(f"it holds no camera_info (sensor_msgs/msg/CameraInfo) for {color}; {listing(topics)}")
    return replace(
        wanted,
        color=color,
        depth=depth,
        camera_info=info,
        instances=wanted.instances or _best({t.name: t.count for t in filled if t.type in TYPES[Role.INSTANCES]}),
        # A planner's paths have the same type: only the name tells.
        path=wanted.path or _best({t.name: 1 for t in filled if t.type in TYPES[Role.PATH] and _is_corrected(t.name)}),
        tf=wanted.tf or _best({t.name: 1 for t in filled if t.type in _TF and not t.name.endswith("static")}),
        tf_static=wanted.tf_static or _best({t.name: 1 for t in filled if t.type in _TF and "static" in t.name}),
    )


def _is_corrected(name: str) -> bool:
    return name.rpartition("/")[2] == "corrected_path"


def choose_pose(topics: Sequence[Topic], chosen: TopicNames, tree: Tree, camera: str, source: str) -> tuple[str, str]:
    """Choose where poses come from; return ("topic", its name) or ("tf", "").

    camera: the optical frame of the colour images. source: ``pose_source``, "auto", "topic" or "tf". A topic's pose
    is that of the camera only if its name or its child says so; where /tf leads to "map", it is the safer choice.
    Raises TopicError.
    """
    poses = [t for t in topics if t.count and t.type in TYPES[Role.POSE] and t.type not in _ODOMETRY]
    poses = [t for t in poses if not any(word in t.name.lower() for word in _NOT_THE_ROBOT)]
    odometry = [t for t in topics if t.count and t.type in _ODOMETRY]
    if chosen.pose:
        return "topic", chosen.pose
    above = tree.chain(camera)[1:] if camera else []
    ours = [t for t in poses if t.name.startswith("/s3d/") or "cam" in t.name.lower() or t.child == camera != ""]
    by_tree = [("tf", "")] if tree.moves(camera) else []
    choices = (
        [("topic", t.name) for t in _busiest(ours)]
        + (by_tree if "map" in above else [])
        + [("topic", t.name) for t in _busiest(poses)]
        + by_tree
        + [("topic", t.name) for t in _busiest(odometry) if t.child == camera or _related(tree, t.child, camera)]
        + ([("tf", "")] if above else [])
        + [("topic", t.name) for t in _busiest(odometry)]
    )
    usable = [choice for choice in choices if source in ("auto", choice[0])]
    if usable:
        return usable[0]
    looked_for = {
        "topic": "a topic of PoseStamped, PoseWithCovarianceStamped or Odometry",
        "tf": f"transforms on /tf that lead to the camera's frame {camera!r}",
    }
    wanted = " or ".join(looked_for.values()) if source == "auto" else looked_for[source]
    raise TopicError(f"it holds no camera poses: {wanted} is needed; {listing(topics)}")


def listing(topics: Sequence[Topic]) -> str:
    """Return what a recording holds, in words."""
    if not topics:
        return "it holds no topics at all"
    return "found: " + ", ".join(f"{t.name} ({t.type}, {t.count})" for t in sorted(topics, key=lambda t: t.name))


def _check_wanted(topics: Sequence[Topic], name: str, role: Role) -> None:
    if not name:
        return
    topic = next((t for t in topics if t.name == name), None)
    if topic is None:
        near = difflib.get_close_matches(name, [t.name for t in topics], 1)
        raise TopicError(
            f"it holds no topic {name}{f', did you mean {near[0]}?' if near else ''} (for {role}); {listing(topics)}"
        )
    if topic.type not in TYPES[role]:
        raise TopicError(f"{name} is a {topic.type}, but for {role} it must be one of {', '.join(TYPES[role])}")
    if not topic.count:
        raise TopicError(f"{name} (for {role}) holds no messages")


def _color_scores(topics: Sequence[Topic]) -> dict[str, float]:
    scores = {}
    for t in topics:
        if t.type in _IMAGES and not t.is_depth:
            name = t.name.lower()
            score = 4.0 * any(word in name for word in ("color", "colour", "rgb"))
            score -= 8.0 * any(word in name for word in _NOT_THE_CAMERA)
            score -= 2.0 * t.content.lower().startswith(("mono", "8uc1"))
            scores[t.name] = score + _plainness(t)
    return scores


def _depth_scores(topics: Sequence[Topic], color: str) -> dict[str, float]:
    scores = {}
    for t in topics:
        if t.type in _IMAGES and t.is_depth and t.name != color:
            name = t.name.lower()
            score = 4.0 * any(word in name for word in ("aligned", "registered", "depth_to_rgb", "depth_to_color"))
            score += 2.0 * ("depth" in name) + _shared(t.name, color)
            score -= 8.0 * any(word in name for word in _NOT_THE_CAMERA)
            scores[t.name] = score + _plainness(t)
    return {name: score for name, score in scores.items() if score > -4}


def _info_scores(topics: Sequence[Topic], color: str) -> dict[str, float]:
    folder = _image_base(color).rpartition("/")[0]
    scores = {}
    for t in topics:
        if t.type in TYPES[Role.CAMERA_INFO]:
            name = t.name.lower()
            score = 4.0 * (t.name == f"{folder}/camera_info") + _shared(t.name, color)
            score -= 2.0 * any(word in name for word in ("depth", *_NOT_THE_CAMERA))
            scores[t.name] = score
    return scores


def _image_base(name: str) -> str:
    """Return the name of the raw topic that image_transport made a compressed one from."""
    return name.removesuffix("/compressed").removesuffix("/compressedDepth")


def _plainness(topic: Topic) -> float:
    """Uncompressed, and much of it."""
    return 0.5 * (topic.type == _IMAGES[0]) + 0.4 * min(topic.count, 10_000) / 10_000


def _shared(a: str, b: str) -> float:
    """Return which share of the words of b, from the left, a begins with."""
    words_a, words_b = a.split("/"), b.split("/")
    same = next((i for i, (x, y) in enumerate(zip(words_a, words_b, strict=False)) if x != y), len(words_b))
    return same / len(words_b)


def _busiest(topics: Sequence[Topic]) -> list[Topic]:
    return sorted(topics, key=lambda t: (-t.count, t.name))


def _related(tree: Tree, a: str, b: str) -> bool:
    return bool(a) and tree.chain(a)[-1] == tree.chain(b)[-1]


def _best(scores: Mapping[str, float]) -> str:
    return min(scores, key=lambda name: (-scores[name], name)) if scores else ""
