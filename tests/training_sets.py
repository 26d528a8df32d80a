"""Small training sets for tests, packed without mapping anything."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from small_run import write_small_run

from s3d_ros.offline.run import load_scene
from s3d_ros.offline.view_depth import depth_path, encode_depth
from s3d_ros.prompt.numbers import present
from s3d_ros.prompt.tasks import Task
from s3d_ros.train.examples import Example
from s3d_ros.train.pack import TrueThings, pack_scene
from s3d_ros.train.proposals import match_proposals
from s3d_ros.train.settings import PROMPT
from s3d_ros.train.shards import join_scenes, write_atomically, write_scene
from s3d_ros.types import OrientedBox, Situation

# The true things, by ids unlike the map's: 11 is table 1, 12 chair 2, 13 chair 3 moved so far that IoU is 0.6
TRUE_BOXES = {
    11: OrientedBox(np.array([2.0, 1.5, 0.35]), np.array([1.2, 0.8, 0.7]), np.eye(3)),
    12: OrientedBox(np.array([2.8, 1.5, 0.45]), np.array([0.5, 0.4, 0.9]), np.eye(3)),
    13: OrientedBox(np.array([1.125, 1.5, 0.45]), np.array([0.5, 0.5, 0.9]), np.eye(3)),
}
EXAMPLES = (
    Example("q1", "scanqa", "object", Task.QUESTION, "What is beside the table?", "A chair."),
    Example("q2", "vsi", "object_counting", Task.QUESTION, "How many chairs are there?", "A", options=("A. 2", "B. 3")),
    Example("q3", "scanrefer", "unique", Task.GROUND_ONE, "the brown table", objects=(11,)),
    Example("q4", "multi3drefer", "mt", Task.GROUND_MANY, "furniture", objects=(12, 11)),
    Example("q5", "multi3drefer", "zt", Task.GROUND_MANY, "a sofa", objects=()),
    Example("q6", "multi3drefer", "mt", Task.GROUND_MANY, "chairs", objects=(12, 13)),  # 13 is not in the map
    Example("q7", "scan2cap", "caption", Task.CAPTION, "<OBJ12>", "This is a chair.", (12,)),
    Example("q8", "sqa3d", "what", Task.SITUATED, "What is before me?", "Table.", situation_text="I sit on <OBJ003>."),
    Example("q9", "generated", "situated_is", Task.SITUATED, "Is there a table before me?", "yes",
            situation=Situation(np.array([2.0, 0.3, 0.0]), np.array([0.0, 1.0, 0.0]))),
)  # fmt: skip


def write_run(path: Path, depth: bool = True) -> Path:
    """Write the small run, with the depth of its view frame."""
    write_small_run(path)
    if depth:
        depth_m = np.full((48, 64), 1.5, np.float32)
        depth_m[:10] = 0
        depth_path(path, 1).write_bytes(encode_depth(depth_m))
    return path


def packed(key: str, run: Path, split: str = "train", examples: Sequence[Example] = EXAMPLES, **more: Any) -> Any:
    """Return a scene's members and summary."""
    truth = TrueThings(TRUE_BOXES, {11: "table"}, match_proposals(TRUE_BOXES, present(load_scene(run)), 0.75))
    about = {"group": key, "split": split, "made_from": "run", "dataset": "test", "licence": "none", "seed": 0}
    members, summary = pack_scene(key, run, examples, truth, PROMPT, about, **more)
    return members, {**summary, "frames": 21}


def write_set(out: Path, run: Path, keys: Sequence[tuple[str, str]] = (("one", "train"), ("two", "val"))) -> Path:
    """Write a set of one scene a shard."""
    out.mkdir(parents=True, exist_ok=True)
    for number, (key, split) in enumerate(keys):
        members, summary = packed(key, run, split)
        write_scene(out / f"{key}.tmp", members)
        join_scenes([(key, out / f"{key}.tmp", summary)], out / f"{split}-{number:05d}.tar")
        (out / f"{key}.tmp").unlink()
    return out


def spoil(folder: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None], shard: str = "train-00000") -> None:
    """Rewrite a shard of one scene after ``change`` was at its scene.json and its other members."""
    tar = folder / f"{shard}.tar"
    with tarfile.open(tar) as file:
        members = {i.name: file.extractfile(i).read() for i in file}  # type: ignore[union-attr]
    index = json.loads((folder / f"{shard}.json").read_text())
    (row,) = index["scenes"]
    name = f"{row['scene']}.scene.json"
    data = json.loads(members[name])
    change(data, members)
    members[name] = json.dumps(data).encode()
    write_scene(folder / "again.tmp", list(members.items()))
    about = {k: v for k, v in row.items() if k not in ("scene", "members")}
    join_scenes([(row["scene"], folder / "again.tmp", about)], tar)
    (folder / "again.tmp").unlink()


def members_of(tar: Path) -> dict[str, bytes]:
    """Return what Python's own tarfile finds in a shard."""
    with tarfile.open(fileobj=io.BytesIO(tar.read_bytes())) as file:
        return {i.name: file.extractfile(i).read() for i in file}  # type: ignore[union-attr]


def picture(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


__all__ = [
    "EXAMPLES",
    "TRUE_BOXES",
    "members_of",
    "packed",
    "picture",
    "spoil",
    "write_atomically",
    "write_run",
    "write_set",
]
