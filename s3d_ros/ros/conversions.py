"""Message fields that the nodes write or read back: stamps, poses, objects and scenes, to messages and back again.

Needs the message packages, not rclpy. What is seen of the map is in ``pictures``. (Sensor messages are read by
``s3d_ros/messages.py``, live and from bags.) Big arrays go into messages as ``array.array``: rclpy copies these at
once, and lists element by element.
"""

from __future__ import annotations

import array
import colorsys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Vector3
from scipy.spatial.transform import Rotation
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker as MarkerMsg
from visualization_msgs.msg import MarkerArray

from s3d_ros.geometry import ROTATION_TOLERANCE, PoseError, pose_matrix, quaternion
from s3d_ros.msg import SceneObject as SceneObjectMsg
from s3d_ros.msg import SceneObjectArray
from s3d_ros.types import F64, ObjectState, OrientedBox, Scene, SceneObject

MAX_LABELS = 5  # the leading categories that a message carries


# --- small ones --------------------------------------------------------------------------------


def time_msg(stamp_ns: int) -> Time:
    """Convert integer nanoseconds."""
    seconds, nanoseconds = divmod(int(stamp_ns), 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def stamp_ns(time: Time) -> int:
    """Return a message's stamp in nanoseconds."""
    return int(time.sec) * 1_000_000_000 + int(time.nanosec)


def header_msg(stamp: int, frame_id: str) -> Header:
    """Make a header of a stamp in nanoseconds."""
    return Header(stamp=time_msg(stamp), frame_id=frame_id)


def pose_msg(T: F64) -> Pose:
    """Convert a rigid transform (4, 4)."""
    x, y, z, w = (float(v) for v in quaternion(T))
    px, py, pz = (float(v) for v in T[:3, 3])
    return Pose(position=Point(x=px, y=py, z=pz), orientation=Quaternion(x=x, y=y, z=z, w=w))


def pose_of(pose: Pose) -> F64:
    """Return (4, 4). Raises PoseError for a quaternion that is none."""
    p, q = pose.position, pose.orientation
    return pose_matrix((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))


def buffer_of(values: np.ndarray, code: str) -> array.array[Any]:
    """Copy an array's memory into an ``array.array`` of the given type code."""
    out: array.array[Any] = array.array(code)
    out.frombytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return out


# --- objects -----------------------------------------------------------------------------------


def object_msgs(objects: Sequence[SceneObject]) -> list[SceneObjectMsg]:
    """Convert objects; of their labels the leading ones. 300 take about 8 ms, so send what changed."""
    if not objects:
        return []
    axes = np.stack([o.box.axes for o in objects])
    mirrored = np.linalg.det(axes) < 0
    axes[mirrored, 2] *= -1  # the same box, as a rotation can say it
    turns = Rotation.from_matrix(axes.transpose(0, 2, 1)).as_quat().tolist()
    return [_object_msg(o, turn) for o, turn in zip(objects, turns, strict=True)]


def _object_msg(thing: SceneObject, turn: Sequence[float]) -> SceneObjectMsg:
    msg = SceneObjectMsg()  # filled in place: keyword arguments build every nested message twice
    msg.id, msg.state = thing.id, int(thing.state)
    msg.aliases = array.array("I", thing.aliases)
    msg.label, msg.label_confidence = thing.label, thing.label_confidence
    scores = sorted(thing.label_scores.items(), key=lambda item: -item[1])[:MAX_LABELS]
    msg.labels = [label for label, _ in scores]
    msg.label_scores = array.array("f", [score for _, score in scores])
    p, q, s = msg.pose.position, msg.pose.orientation, msg.size
    p.x, p.y, p.z = thing.box.center.tolist()
    q.x, q.y, q.z, q.w = turn
    s.x, s.y, s.z = thing.box.size.tolist()
    msg.confidence = float(thing.confidence)
    msg.first_seen, msg.last_seen = time_msg(thing.first_seen_ns), time_msg(thing.last_seen_ns)
    msg.observations = thing.observations
    return msg


def objects_of(msgs: Sequence[SceneObjectMsg]) -> tuple[SceneObject, ...]:
    """Convert objects back. Raises PoseError for a quaternion that is none."""
    if not msgs:
        return ()
    turns = np.array([[getattr(m.pose.orientation, k) for k in "xyzw"] for m in msgs])
    bad = ~(np.abs(np.linalg.norm(turns, axis=1) - 1) < ROTATION_TOLERANCE)
    if bad.any():
        first = int(np.argmax(bad))
        raise PoseError(f"object {msgs[first].id}: the quaternion {turns[first].tolist()} is no rotation")
    axes = Rotation.from_quat(turns).as_matrix().transpose(0, 2, 1)
    return tuple(_object_of(m, a) for m, a in zip(msgs, axes, strict=True))


def _object_of(msg: SceneObjectMsg, axes: F64) -> SceneObject:
    p, s = msg.pose.position, msg.size
    return SceneObject(
        id=msg.id,
        label=msg.label,
        box=OrientedBox(np.array([p.x, p.y, p.z]), np.array([s.x, s.y, s.z]), axes),
        label_scores=dict(zip(msg.labels, msg.label_scores, strict=True)),
        aliases=tuple(msg.aliases),
        state=ObjectState(msg.state),
        confidence=msg.confidence,
        first_seen_ns=stamp_ns(msg.first_seen),
        last_seen_ns=stamp_ns(msg.last_seen),
        observations=msg.observations,
    )


def objects_msg(
    scene: Scene,
    map_id: int,
    objects: Sequence[SceneObject] | None = None,
    removed: Iterable[int] = (),
    bev_stamp_ns: int = 0,
    view_revisions: Mapping[int, int] | None = None,
) -> SceneObjectArray:
    """Make the array of a scene: all of it (``objects`` None), or only what changed.

    The scene's own stamp and robot pose are sent; for changes, pass a scene that carries the newest ones.
    """
    full = objects is None
    views = view_revisions or {}
    msg = SceneObjectArray(
        header=header_msg(scene.stamp_ns, scene.frame_id),
        map_id=map_id,
        map_version=scene.map_version,
        full=full,
        objects=object_msgs(scene.objects if objects is None else objects),
        removed_ids=sorted(removed),
        up=Vector3(x=float(scene.up[0]), y=float(scene.up[1]), z=float(scene.up[2])),
        floor_area_m2=float(scene.floor_area_m2),
        robot_is_camera=scene.robot_is_camera,
        bev_stamp=time_msg(bev_stamp_ns),
        view_ids=list(views) if full else [],
        view_revisions=list(views.values()) if full else [],
    )
    if scene.T_map_robot is not None:
        msg.robot_pose = PoseStamped(header=msg.header, pose=pose_msg(scene.T_map_robot))
    return msg


def scene_of(msg: SceneObjectArray) -> Scene:
    """Return the scene that an array tells of, without pictures: its objects are all, or those that changed."""
    objects = objects_of(msg.objects)
    return Scene(
        map_version=int(msg.map_version),
        stamp_ns=stamp_ns(msg.header.stamp),
        frame_id=msg.header.frame_id,
        up=np.array([msg.up.x, msg.up.y, msg.up.z]),
        objects=objects,
        floor_area_m2=float(msg.floor_area_m2),
        T_map_robot=pose_of(msg.robot_pose.pose) if msg.robot_pose.header.frame_id else None,
        robot_is_camera=bool(msg.robot_is_camera),
        merged={alias: o.id for o in objects for alias in o.aliases},
    )


def markers_msg(scene: Scene) -> MarkerArray:
    """Make what RViz draws: a box for each object, with its ID and label above. It replaces all that was drawn."""
    header = header_msg(scene.stamp_ns, scene.frame_id)
    here = [o for o in scene.objects if o.state is not ObjectState.GONE]
    out = [MarkerMsg(header=header, action=MarkerMsg.DELETEALL)]
    for thing, msg in zip(here, object_msgs(here), strict=True):
        hue = thing.id * 0.618034 % 1.0  # neighbours in number far apart in colour
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.6, 1.0)
        cube = MarkerMsg(header=header, ns="boxes", id=thing.id, type=MarkerMsg.CUBE, pose=msg.pose, scale=msg.size)
        cube.color = ColorRGBA(r=red, g=green, b=blue, a=0.35)
        text = MarkerMsg(header=header, ns="names", id=thing.id, type=MarkerMsg.TEXT_VIEW_FACING)
        top = thing.box.center + scene.up * (np.abs(thing.box.axes @ scene.up) @ thing.box.size / 2 + 0.1)
        text.pose.position.x, text.pose.position.y, text.pose.position.z = top.tolist()
        text.text, text.scale.z = f"{thing.id} {thing.label}".rstrip(), 0.15
        text.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
        out += [cube, text]
    return MarkerArray(markers=out)
