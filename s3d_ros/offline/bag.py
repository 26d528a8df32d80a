"""A rosbag2, sqlite3 or mcap, read with ``rosbags``: no ROS is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.serde import SerdeError
from rosbags.typesys.store import Typestore

from s3d_ros.config import FramesConfig
from s3d_ros.frames import FrameAssembler
from s3d_ros.messages import MessageRouter, Role, frame_of
from s3d_ros.offline.assembled import AssembledRecording, RecordingError
from s3d_ros.offline.topics import TYPES, Topic, TopicError, TopicNames, Tree, choose_images, choose_pose
from s3d_ros.typestore import make_typestore

# So many messages of /tf are looked at to learn how the frames are connected.
_TF_PROBE = 2000


class BagRecording(AssembledRecording):
    """A rosbag2 folder or file. ``topics`` are those that are used. Raises RecordingError."""

    def __init__(self, path: Path, config: FramesConfig, topics: TopicNames) -> None:
        self.path = path
        with _Bag(path) as bag:
            try:
                chosen = choose_images(bag.topics, topics)
                camera = config.camera_frame or bag.topic(chosen.color).frame
                tree = bag.tree(chosen)
                source, pose = choose_pose(bag.topics, chosen, tree, camera, config.pose_source)
            except TopicError as error:
                raise RecordingError(
                    f"{path} is a rosbag2, but {error}. Name the topics if they are called otherwise, or record "
                    "what is missing."
                ) from None
            self.topics = replace(chosen, pose=pose)
            count = min(bag.topic(chosen.color).count, bag.topic(chosen.depth).count)
            frame_id = bag.topic(pose).frame if pose else tree.fixed_frame(camera)
        rectified = config.rectified or "image_rect" in chosen.color
        config = replace(config, pose_source=source, rectified=rectified)
        super().__init__(path.name, config, count, frame_id)

    @property
    def has_instances(self) -> bool:
        return bool(self.topics.instances)

    def _feed(self, assembler: FrameAssembler) -> Iterator[None]:
        router = MessageRouter(assembler)
        roles = self.topics.roles()
        with _Bag(self.path) as bag:
            # Latched before the recording began: it holds from the start, wherever it was written.
            for message in bag.messages([self.topics.tf_static], assembler):
                router.feed(Role.TF_STATIC, message[1])
            for topic, message in bag.messages([t for t in roles if t != self.topics.tf_static], assembler):
                router.feed(roles[topic], message)
                yield


class _Bag:
    """The files of one bag, open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        self._readers: list[Reader] = []
        self._store: Typestore
        self.topics: list[Topic] = []

    def __enter__(self) -> _Bag:
        try:
            for file in _files(self.path):
                self._readers.append(self._stack.enter_context(Reader(file)))
            self._readers.sort(key=lambda reader: reader.start_time)
            self._store = make_typestore(self._connections())
            self.topics = [self._probe(name) for name in sorted({c.topic for c in self._connections()})]
        except BaseException as error:
            self._stack.close()
            if isinstance(error, Exception) and not isinstance(error, RecordingError | PermissionError):
                raise RecordingError(_why(self.path, error)) from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def topic(self, name: str) -> Topic:
        """Return a topic by its name."""
        return next(t for t in self.topics if t.name == name)

    def tree(self, topics: TopicNames) -> Tree:
        """Return how /tf_static and the beginning of /tf connect the frames."""
        parents: dict[str, str] = {}
        moving: set[str] = set()
        for name in filter(None, (topics.tf_static, topics.tf)):
            for count, (_, message) in enumerate(self.messages([name])):
                for item in message.transforms:
                    child = frame_of(item.child_frame_id)
                    parents[child] = frame_of(item.header.frame_id)
                    if name == topics.tf:
                        moving.add(child)
                if count >= _TF_PROBE:
                    break
        return Tree(parents, frozenset(moving))

    def messages(self, names: list[str], assembler: FrameAssembler | None = None) -> Iterator[tuple[str, Any]]:
        """Yield (topic, message) of some topics in the order they were recorded.

        What can't be read is counted by the assembler; without one it is left out.
        """
        for reader in self._readers:
            wanted = [c for c in reader.connections if c.topic in names and c.msgtype in _READABLE]
            if not wanted:
                continue
            stream = reader.messages(wanted)
            while True:
                try:
                    item = next(stream, None)
                except Exception as error:  # sqlite's, zstd's, rosbags' own: the file's end is damaged
                    if assembler is not None:
                        assembler.tally.drop("recording_damaged", error)
                    break
                if item is None:
                    break
                connection, _, data = item
                try:
                    yield connection.topic, self._store.deserialize_cdr(data, connection.msgtype)
                except (SerdeError, AssertionError) as error:
                    if assembler is not None:
                        assembler.tally.drop("message_unreadable", f"{connection.topic}: {error}")

    def _connections(self) -> list[Connection]:
        return [c for reader in self._readers for c in reader.connections]

    def _probe(self, name: str) -> Topic:
        """Look at a topic's first message."""
        same = [c for c in self._connections() if c.topic == name]
        count = sum(c.msgcount for c in same)
        topic = Topic(name, same[0].msgtype, count)
        if not count or same[0].msgtype not in _READABLE:
            return topic
        first = next((message for _, message in self.messages([name])), None)
        if first is None or not hasattr(first, "header"):
            return topic
        return replace(
            topic,
            content=getattr(first, "encoding", "") or getattr(first, "format", ""),
            frame=frame_of(first.header.frame_id),
            child=frame_of(getattr(first, "child_frame_id", "")),
        )


_READABLE = frozenset(name for types in TYPES.values() for name in types)


def _files(path: Path) -> list[Path]:
    """Return what is to be opened: the folder, or the files in it where the recorder did not finish it."""
    if path.is_file() or (path / "metadata.yaml").exists():
        return [path]
    return sorted(p for p in path.iterdir() if p.suffix in (".mcap", ".db3"))


def _why(path: Path, error: Exception) -> str:
    """Say what is wrong with a bag, and what can be done."""
    text = str(error)
    files = [p for p in (path.iterdir() if path.is_dir() else [path]) if p.suffix in (".mcap", ".db3")]
    empty = [p.name for p in files if p.stat().st_size == 0]
    if empty:
        return f"{path} is a rosbag2 whose file {empty[0]} is empty: nothing was recorded, or it was not copied wholly."
    if "Serialization format" in text:
        return f"{path} is a rosbag2 in a serialization format other than cdr ({text}) Record it with a usual RMW."
    if "files are missing" in text:
        return f"{path} is a rosbag2 whose metadata.yaml names files that are not there: {text} Copy the whole folder."
    if any(word in text for word in ("metadata", "Rosbag2 version", "YAML")):
        return (
            f"{path} is a rosbag2 with a metadata.yaml that can't be used ({text}) "
            f"Write it anew: ros2 bag reindex {path}"
        )
    if any(p.suffix == ".mcap" for p in files):
        return (
            f"{path} is a damaged mcap ({text}) The recorder was probably cut off. "
            f"Repair it with the mcap tool: mcap recover {files[0]} -o repaired.mcap"
        )
    return (
        f"{path} is a damaged sqlite3 bag ({text}) Save what is left with: "
        f'sqlite3 {files[0] if files else path} ".recover" | sqlite3 repaired.db3'
    )
