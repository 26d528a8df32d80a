"""What a scene and a record must be like before a trainer gets them."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any

import numpy as np

from s3d_ros.train.problems import RecordError
from s3d_ros.train.sharegpt import IMAGE

_TOKEN = re.compile(r"<OBJ([0-9]{3})>")
_BUILD = "Remove its shard and build on: the scene is made anew"


def check_scene(key: str, data: Mapping[str, Any]) -> None:
    """Raise RecordError for a pose that is no rigid one, a camera or a box that is none, or a marker of no object."""
    try:
        ids = {o["id"] for o in data["objects"]}
        for o in data["objects"]:
            shapes = [
                (np.asarray(o[k], np.float64), s) for k, s in (("center", (3,)), ("size", (3,)), ("axes", (3, 3)))
            ]
            if any(a.shape != s or not np.isfinite(a).all() for a, s in shapes):
                raise RecordError(f"{key}, object {o['id']}", "its box is not of finite numbers", _BUILD)
        for v in data["views"]:
            where = f"{key}, view {v['id']}"
            T = np.asarray(v["T_map_camera"], np.float64)
            if T.shape != (4, 4) or not np.isfinite(T).all():
                raise RecordError(where, "its pose is not of finite numbers (NaN, or not 4x4)", _BUILD)
            if not np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-3) or np.linalg.det(T[:3, :3]) < 0:
                raise RecordError(where, "its pose is no rigid motion", _BUILD)
            k = np.asarray(v["intrinsics"], np.float64)
            if k.shape != (4,) or not np.isfinite(k).all() or min(k[0], k[1], v["width"], v["height"]) <= 0:
                raise RecordError(where, f"its intrinsics {v['intrinsics']} are no camera's", _BUILD)
            for m in v["markers"]:
                if m["id"] not in ids:
                    raise RecordError(where, f"it marks object {m['id']}, which the scene does not have", _BUILD)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(key, f"its scene.json lacks something ({type(error).__name__}: {error})", _BUILD) from error


def check_record(key: str, row: Mapping[str, Any], data: Mapping[str, Any], members: Container[str]) -> None:
    """Raise RecordError for a picture that is not there, an ID that stands for nothing, turns that don't alternate."""
    where = f"{key}/{row.get('id', '?')}"
    try:
        turns, images = row["conversations"], row["images"]
        for name in images:
            if name not in members:
                raise RecordError(where, f"its picture {name} is missing from the shard", _BUILD)
            if name.replace(".marked.", ".plain.") not in members:
                raise RecordError(where, f"the unmarked twin of {name} is missing from the shard", _BUILD)
        held = sum(turn["value"].count(IMAGE) for turn in turns)
        if held != len(images):
            raise RecordError(where, f"its text has {held} {IMAGE}, and there are {len(images)} pictures", _BUILD)
        sides = [turn["from"] for turn in turns]
        if len(sides) < 2 or len(sides) % 2 or any(s != ("human", "gpt")[i % 2] for i, s in enumerate(sides)):
            raise RecordError(where, f"its turns are {', '.join(sides) or 'none'}, not human and gpt in turns", _BUILD)
        if not turns[-1]["value"].strip():
            raise RecordError(where, "its answer is empty", _BUILD)
        numbers = {o["number"] for o in data["objects"]}
        for turn in turns:
            for token in _TOKEN.findall(turn["value"]):
                if int(token) not in numbers:
                    raise RecordError(where, f"<OBJ{token}> stands for no object of the scene", _BUILD)
        ids = {o["id"] for o in data["objects"]}
        for i in row["objects"]:
            if i not in ids:
                raise RecordError(where, f"object {i} is not in the scene", _BUILD)
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordError(where, f"it lacks something ({type(error).__name__}: {error})", _BUILD) from error
