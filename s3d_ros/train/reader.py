"""``TrainingSet``: the records of a training set, read when they are wanted and checked before they are given out.

    train = TrainingSet("sets/homes", "train")
    record = train[0]
    record.conversations[0]["value"], record.pictures()    # as many <image> as pictures
    record.scene.views[0].T_map_camera, record.scene.depth_m(record.scene.views[0])

A record that is not whole is refused by name, with the mend: ``train[i]`` raises RecordError, iterating with
``skip_bad`` leaves it out and notes it in ``refused``. Processes that load in parallel each open their own.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3d_ros.offline.run import RunError
from s3d_ros.offline.view_depth import decode_depth
from s3d_ros.train.check import check_record, check_scene
from s3d_ros.train.problems import DatasetError, Problem, RecordError
from s3d_ros.train.shards import shard_indices
from s3d_ros.types import F32, F64, U8, Intrinsics, OrientedBox

_SCENES_KEPT = 8
_REBUILD = "Remove {tar} and its .json and build on: its scenes are made anew"


@dataclass(frozen=True)
class View:
    """A view frame as a model gets it. marked, plain, depth: names of members; depth None where none was kept.

    markers: {"id", "number", "u", "v"} in pixels. T_map_camera: (4, 4).
    """

    id: int
    stamp_ns: int
    marked: str
    plain: str
    depth: str | None
    intrinsics: Intrinsics
    T_map_camera: F64
    markers: tuple[Mapping[str, Any], ...]


class SceneData:
    """One scene of a set. ``data`` is its ``scene.json``; pictures are read when asked for."""

    def __init__(self, key: str, shard: Shard, members: Mapping[str, list[int]]) -> None:
        self.key, self.members, self._shard = key, members, shard
        text = self.read(f"{key}.scene.json")
        try:
            self.data: dict[str, Any] = json.loads(text)
            assert self.data["scene"] == key
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            mend = _REBUILD.format(tar=shard.path.name)
            raise RecordError(
                f"{key} in {shard.path.name}", f"its scene.json can't be read ({error!r})", mend
            ) from error

    @cached_property
    def views(self) -> tuple[View, ...]:
        """View frames by time. Raises RecordError for a pose or a camera that is none."""
        check_scene(self.key, self.data)
        return tuple(
            View(
                v["id"], v["stamp_ns"], v["marked"], v["plain"], v["depth"],
                Intrinsics(v["width"], v["height"], *v["intrinsics"]),
                np.array(v["T_map_camera"], dtype=np.float64), tuple(v["markers"]),
            )
            for v in self.data["views"]
        )  # fmt: skip

    def boxes(self) -> dict[int, OrientedBox]:
        """Return the boxes of the map's objects by ID."""
        return {
            o["id"]: OrientedBox(*(np.array(o[k], dtype=np.float64) for k in ("center", "size", "axes")))
            for o in self.data["objects"]
        }

    def read(self, name: str) -> bytes:
        """Return a member's bytes. Raises RecordError where it is missing or cut off."""
        return self._shard.read(name, self.members.get(name))

    def image(self, name: str) -> U8:
        """Return a picture, RGB (H, W, 3). Raises RecordError."""
        pixels = cv2.imdecode(np.frombuffer(self.read(name), np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise RecordError(name, "the picture is damaged", _REBUILD.format(tar=self._shard.path.name))
        return np.ascontiguousarray(pixels[..., ::-1])

    def depth_m(self, view: View) -> F32 | None:
        """Return the depth (H, W) of a view in metres, 0 where unknown; None where it was not kept."""
        if view.depth is None:
            return None
        try:
            return decode_depth(self.read(view.depth))
        except RunError as error:
            raise RecordError(view.depth, str(error), _REBUILD.format(tar=self._shard.path.name)) from error


@dataclass(frozen=True)
class TrainingRecord:
    """One conversation. conversations, images: in ShareGPT form; images are names of the scene's members."""

    id: str
    scene: SceneData
    source: str
    kind: str
    task: str
    objects: tuple[int, ...]
    system: str
    conversations: tuple[Mapping[str, str], ...]
    images: tuple[str, ...]

    def pictures(self, marked: bool = True) -> list[U8]:
        """Return the pictures, RGB, in the order of ``<image>``; marked False: their unmarked twins."""
        return [self.scene.image(n if marked else n.replace(".marked.", ".plain.")) for n in self.images]

    def share_gpt(self) -> dict[str, Any]:
        """Return it as trainers read it: {"id", "system", "conversations", "images"}."""
        return {
            "id": f"{self.scene.key}/{self.id}",
            "system": self.system,
            "conversations": [dict(c) for c in self.conversations],
            "images": list(self.images),
        }


class Shard:
    """A tar and where its members lie. Opened anew in a forked process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._pid = 0

    def read(self, name: str, place: list[int] | None) -> bytes:
        """Return the bytes of a member. place: [offset, size]. Raises RecordError."""
        if place is None:
            raise RecordError(
                name,
                f"it is not in {self.path.name}",
                "The record names a file that was never packed; build the set anew",
            )
        if self._file is None or self._pid != os.getpid():
            try:
                self._file, self._pid = os.open(self.path, os.O_RDONLY), os.getpid()
            except OSError as error:
                raise RecordError(
                    name, f"{self.path} can't be read: {error.strerror}", "Copy the shard anew"
                ) from error
        data = os.pread(self._file, place[1], place[0])
        if len(data) < place[1]:
            raise RecordError(name, f"{self.path.name} ends before it", "The shard is cut off; copy it anew")
        return data

    def close(self) -> None:
        if self._file is not None and self._pid == os.getpid():
            os.close(self._file)
        self._file = None


class TrainingSet:
    """The records of one split, or of all (split ""). Indices alone are read at first."""

    def __init__(self, folder: str | Path, split: str = "train") -> None:
        """Raises DatasetError for what is no set, a split that it has not, a shard that is cut off."""
        self.folder = Path(folder)
        self.refused: list[Problem] = []
        self._scenes: list[tuple[str, Shard, Mapping[str, list[int]]]] = []
        self._rows: list[tuple[int, int]] = []  # scene, conversation in it
        self._kept: OrderedDict[int, SceneData] = OrderedDict()
        splits = set()
        for path, index in shard_indices(self.folder):
            shard = Shard(path.with_suffix(".tar"))
            names = {row["split"] for row in index["scenes"]}
            splits |= names
            if split and split not in names:
                continue
            _check_whole(shard.path, index["bytes"])
            for row in index["scenes"]:
                self._rows += [(len(self._scenes), k) for k in range(row["conversations"])]
                self._scenes.append((row["scene"], shard, row["members"]))
        if not splits:
            raise DatasetError(f"{self.folder} holds no shards; make a set with: s3d dataset build SOURCE --out DIR")
        if split and split not in splits:
            raise DatasetError(f"{self.folder} has no split {split!r}; it has {', '.join(sorted(splits))}")
        self._members = {key: members for key, _, members in self._scenes}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> TrainingRecord:
        """Return a record, checked. Raises RecordError, IndexError."""
        at, row = self._rows[index]
        scene = self.scene(at)
        try:
            told = scene.data["conversations"][row]
        except (IndexError, KeyError, TypeError):
            raise RecordError(
                f"{scene.key}, conversation {row}",
                "the index lists it, the scene has fewer",
                _REBUILD.format(tar="its .tar"),
            ) from None
        check_record(scene.key, told, scene.data, scene.members)
        return TrainingRecord(
            told["id"], scene, told["source"], told["kind"], told["task"], tuple(told["objects"]), told["system"],
            tuple(told["conversations"]), tuple(told["images"]),
        )  # fmt: skip

    def __iter__(self) -> Iterator[TrainingRecord]:
        return (self[i] for i in range(len(self)))

    def records(self, skip_bad: bool = False) -> Iterator[TrainingRecord]:
        """Yield records; with ``skip_bad`` bad ones are left out and noted in ``refused``."""
        for i in range(len(self)):
            try:
                yield self[i]
            except RecordError as error:
                if not skip_bad:
                    raise
                self.refused.append(error.problem)

    def records_of(self, scene: int) -> Iterator[TrainingRecord]:
        """Yield the records of one scene. Raises RecordError."""
        return (self[i] for i, (at, _) in enumerate(self._rows) if at == scene)

    @property
    def scene_count(self) -> int:
        return len(self._scenes)

    def scene_of(self, index: int) -> int:
        """Return the number of the scene that a record is about."""
        return self._rows[index][0]

    def key_of(self, scene: int) -> str:
        """Return a scene's name by its number."""
        return self._scenes[scene][0]

    def scene(self, index: int) -> SceneData:
        """Return a scene, also one without conversations: for losses that need none. Raises RecordError."""
        if index not in self._kept:
            key, shard, members = self._scenes[index]
            data = SceneData(key, shard, members)
            check_scene(key, data.data)
            self._kept[index] = data
            while len(self._kept) > _SCENES_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(index)
        return self._kept[index]

    def scenes(self) -> Iterator[SceneData]:
        """Yield all scenes. Raises RecordError."""
        return (self.scene(i) for i in range(len(self._scenes)))

    def check(self, pictures: bool = True) -> list[Problem]:
        """Look at everything, and return what is wrong. pictures: decode each of them, too."""
        problems: list[Problem] = []
        for i in range(len(self._scenes)):
            try:
                scene = self.scene(i)
            except RecordError as error:
                problems.append(error.problem)
                continue
            for name in scene.members if pictures else ():
                try:
                    if name.endswith(".depth.png"):
                        decode_depth(scene.read(name))
                    elif not name.endswith(".json"):
                        scene.image(name)
                except RunError as error:
                    problems.append(Problem(name, str(error), "Build the set anew"))
                except RecordError as error:
                    problems.append(error.problem)
        for i in range(len(self)):
            try:
                self[i]
            except RecordError as error:
                if error.problem not in problems:
                    problems.append(error.problem)
        return problems

    def close(self) -> None:
        """Close the shards."""
        for _, shard, _ in self._scenes:
            shard.close()


def _check_whole(path: Path, size: int) -> None:
    if not path.exists():
        raise DatasetError(f"{path} is missing, though its index is there; copy it, too, or build on to make it anew")
    found = path.stat().st_size
    if found != size:
        raise DatasetError(
            f"{path} is cut off: {found} bytes of {size}. Copy it anew; or remove it and its .json, and build on"
        )
