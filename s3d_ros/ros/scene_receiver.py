"""Build the newest complete ``Scene`` from the mapper's messages, in whatever order they arrive.

A full array of objects says what belongs to its version: a bird's-eye view by stamp, view frames by revision. The
version is swapped in when all of that is there. Changes of objects and of the robot's pose are laid over it at once.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping

from nav_msgs.msg import OccupancyGrid
from sensor_msgs.msg import Image

from s3d_ros.msg import BevInfo, SceneObjectArray
from s3d_ros.msg import ViewFrame as ViewFrameMsg
from s3d_ros.ros import conversions, pictures
from s3d_ros.types import Bev, Scene, SceneObject, ViewFrame

MAX_WAITING = 4  # versions that wait for their pictures
MAX_PARTS = 8  # bird's-eye views whose parts are kept


@dataclasses.dataclass(frozen=True)
class Version:
    """A full set of objects and what else belongs to it."""

    map_id: int
    sent_ns: int
    scene: Scene
    bev_stamp_ns: int
    revisions: Mapping[int, int]


class SceneReceiver:
    """Collects messages; ``scene()`` is the newest that is complete. Safe to use from several threads.

    on_version: called when another version is complete; it must not keep the caller.
    """

    def __init__(self, on_version: Callable[[], None] = lambda: None) -> None:
        self._on_version = on_version
        self._lock = threading.Lock()
        self._waiting: deque[Version] = deque(maxlen=MAX_WAITING)
        self._current: Version | None = None
        self._views: dict[int, dict[int, ViewFrame]] = defaultdict(dict)  # by map, by ID
        self._bev_parts: dict[int, dict[type, BevInfo | Image | OccupancyGrid]] = {}  # by stamp
        self._bevs: dict[int, Bev] = {}
        self._changes: dict[int, tuple[int, SceneObject | None]] = {}  # by ID: when sent; None: removed
        self._latest: tuple[int, Scene] | None = None  # the newest array of either kind: when sent
        self._made: Scene | None = None
        self.map_id = 0

    def add_objects(self, msg: SceneObjectArray, sent_ns: int) -> None:
        """Take an array. ``sent_ns`` orders full ones and changes; the images' stamps may go backwards.

        Raises PoseError for a box that is none.
        """
        scene = conversions.scene_of(msg)
        with self._lock:
            if msg.full:
                revisions = dict(zip(msg.view_ids, msg.view_revisions, strict=True))
                stamp = conversions.stamp_ns(msg.bev_stamp)
                self._waiting.append(Version(int(msg.map_id), sent_ns, scene, stamp, revisions))
            elif self._current is None or msg.map_id == self._newest_map():
                news = {o.id: o for o in scene.objects} | dict.fromkeys(msg.removed_ids)
                for number, thing in news.items():
                    if number not in self._changes or self._changes[number][0] <= sent_ns:
                        self._changes[number] = (sent_ns, thing)
            if self._latest is None or sent_ns >= self._latest[0]:
                self._latest = (sent_ns, scene)
            self._swap()

    def add_view(self, msg: ViewFrameMsg) -> None:
        """Take a view frame."""
        with self._lock:
            views = self._views[int(msg.map_id)]
            known = views.get(int(msg.id))
            if known is None or msg.revision > known.revision:
                views[int(msg.id)] = pictures.view_of(msg)
                self._swap()

    def add_bev(self, part: BevInfo | Image | OccupancyGrid) -> None:
        """Take a part of the bird's-eye view: the picture, the grid, or where they lie. Raises ValueError."""
        stamp = conversions.stamp_ns(part.header.stamp)
        with self._lock:
            parts = self._bev_parts.setdefault(stamp, {})
            parts[type(part)] = part
            if len(parts) == 3:
                del self._bev_parts[stamp]
                self._bevs[stamp] = pictures.bev_of(parts[BevInfo], parts[Image], parts[OccupancyGrid])
                self._swap()
            for kept in (self._bev_parts, self._bevs):
                while len(kept) > MAX_PARTS:
                    del kept[next(iter(kept))]

    def scene(self) -> Scene | None:
        """Return the newest complete scene with the newest changes, None before there is one."""
        with self._lock:
            if self._current is None:
                return None
            if self._made is None:
                self._made = self._overlaid(self._current)
            return self._made

    def missing(self) -> str:
        """Say what questions have to wait for; empty when a map and a pose are there."""
        scene = self.scene()
        with self._lock:
            if scene is None and self._latest is None:
                return "no map yet: nothing has arrived from the mapper on the topic objects; is it running?"
            if scene is None:
                return "no complete map yet: the objects are here, their pictures are still on the way"
            if scene.T_map_robot is None:
                return (
                    "no pose yet: the mapper runs, but no image with depth, camera_info and pose has reached it; "
                    "its topic diagnostics counts what it got and what it dropped"
                )
        return ""

    def _newest_map(self) -> int:
        newest = self._waiting[-1] if self._waiting else self._current
        return newest.map_id if newest else 0

    def _is_complete(self, version: Version) -> bool:
        views = self._views[version.map_id]
        return (version.bev_stamp_ns == 0 or version.bev_stamp_ns in self._bevs) and all(
            number in views and views[number].revision >= revision for number, revision in version.revisions.items()
        )

    def _swap(self) -> None:
        """Make the newest complete version the current one; forget what it replaces."""
        self._made = None
        for version in reversed(self._waiting):
            if not self._is_complete(version):
                continue
            while self._waiting and self._waiting.popleft() is not version:
                pass
            views = self._views[version.map_id]
            scene = dataclasses.replace(
                version.scene,
                bev=self._bevs.get(version.bev_stamp_ns),
                views=tuple(views[number] for number in version.revisions),
            )
            self._current = dataclasses.replace(version, scene=scene)
            self.map_id = version.map_id
            self._changes = {k: c for k, c in self._changes.items() if c[0] > version.sent_ns}
            self._forget(version)
            self._on_version()
            return

    def _forget(self, version: Version) -> None:
        """Drop the view frames of older maps, and those that this version no longer uses."""
        for map_id in [m for m in self._views if m < version.map_id]:  # IDs of maps rise with time
            del self._views[map_id]
        if not self._waiting:
            views = self._views[version.map_id]
            newest = max(version.revisions, default=0)  # newer ones belong to a version that is on its way
            for number in [n for n in views if n not in version.revisions and n < newest]:
                del views[number]

    def _overlaid(self, version: Version) -> Scene:
        objects = {o.id: o for o in version.scene.objects}
        for number, (sent_ns, thing) in self._changes.items():
            if sent_ns <= version.sent_ns:  # was overtaken on its way
                continue
            if thing is None:
                objects.pop(number, None)
            else:
                objects[number] = thing
        scene = dataclasses.replace(
            version.scene,
            objects=tuple(objects.values()),
            merged={alias: o.id for o in objects.values() for alias in o.aliases},
        )
        if self._latest is not None and self._latest[0] > version.sent_ns:
            newer = self._latest[1]
            scene = dataclasses.replace(scene, T_map_robot=newer.T_map_robot, stamp_ns=newer.stamp_ns)
        return scene
