"""A run and what is asked about it become the members of one sample of a shard.

``KEY.scene.json`` holds all but pictures; ``KEY.viewNNNN.marked.jpg``, ``.plain.jpg`` and ``.depth.png`` (mm, of the
same size, pixel for pixel), ``KEY.bev.marked.png`` and ``.plain.png``. Questions with a place to stand at have a
bird's-eye view with an arrow of their own: ``KEY.bev-XXXXXXXX.marked.jpg`` and ``.plain.jpg``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3d_ros.chat import ChatImage
from s3d_ros.images import resize_nearest
from s3d_ros.offline.run import load_scene
from s3d_ros.offline.view_depth import encode_depth, load_view_depth
from s3d_ros.prompt.build import Prompt, Prompter
from s3d_ros.prompt.config import PromptConfig
from s3d_ros.prompt.frames import draw_frame, fitted_marks, fitted_size, marks_of
from s3d_ros.prompt.overview import Overview, draw_overview
from s3d_ros.prompt.tasks import Task
from s3d_ros.train.conversations import conversations
from s3d_ros.train.examples import Example
from s3d_ros.train.problems import DatasetError
from s3d_ros.train.proposals import Matches
from s3d_ros.types import U8, OrientedBox, Question, SceneObject, ViewFrame

SCENE_JSON = "scene.json"


@dataclass(frozen=True)
class TrueThings:
    """What is really there, where that is known: boxes and labels by true id; which is which in the map."""

    boxes: Mapping[int, OrientedBox]
    labels: Mapping[int, str]
    matches: Matches


class _Pictures:
    """Names pictures, and keeps each once, encoded."""

    def __init__(self, key: str, config: PromptConfig, quality: int) -> None:
        self.key, self.config, self.quality = key, config, quality
        self.members: dict[str, bytes] = {}
        self.bevs: dict[str, dict[str, Any]] = {}
        self._names: dict[str, str] = {}

    def name_of(self, image: ChatImage, prompt: Prompt) -> str:
        """Return the member that a picture of a prompt is, encoded at its first use."""
        if image.key in self._names:
            return self._names[image.key]
        kind, _, rest = image.key.partition("-")
        if kind == "view":
            stem = f"view{int(rest.partition('-')[0]):04d}"
            if f"{self.key}.{stem}.marked.jpg" in self.members:  # numbers passed on within a scene of over 999 objects
                stem += f"-{rest.rpartition('-')[2][:8]}"
            name = f"{self.key}.{stem}.marked.jpg"
            self.members[name] = jpeg(image.pixels, self.quality)
        else:
            assert prompt.bev is not None
            # The scene's own exactly, as what is black in it is unknown; those of single questions are many
            name = f"{self.key}.bev.marked.png" if not self.bevs else f"{self.key}.bev-{rest[:8]}.marked.jpg"
            plain = draw_overview(replace(prompt.bev, marked=()), prompt.numbering, self.config)
            encode = png if name.endswith(".png") else lambda pixels: jpeg(pixels, self.quality)
            self.members[name] = encode(image.pixels)
            self.members[name.replace(".marked.", ".plain.")] = encode(plain)
            self.bevs[name] = _bev_json(prompt.bev, image.pixels)
        self._names[image.key] = name
        return name


def pack_scene(
    key: str,
    run: Path,
    examples: Sequence[Example],
    truth: TrueThings | None,
    config: PromptConfig,
    about: Mapping[str, Any],
    *,
    quality: int = 95,
    wordings: int = 10,
    seed: int = 0,
) -> tuple[list[tuple[str, bytes]], dict[str, Any]]:
    """Return the members of a scene's sample, and what the index and the card say of it.

    about: group, split and the like, which go into both. Raises RunError, DatasetError.
    """
    scene = load_scene(run)
    if not scene.views or scene.bev is None:
        raise DatasetError(f"{run} has no view frames or no bird's-eye view (an older run?); make it anew: s3d replay")
    prompter = Prompter(config)
    pictures = _Pictures(key, config, quality)
    base = prompter.build(Question("What is in the scene?"), scene, task=Task.QUESTION)
    for image in base.chat.images:
        pictures.name_of(image, base)
    map_ids = {} if truth is None else truth.matches.map_ids
    talked = conversations(scene, prompter, examples, map_ids, pictures.name_of, wordings=wordings, seed=seed)
    by_id = {v.id: v for v in scene.views}
    views = [_view(by_id[i], run, base, pictures) for i in base.views]
    data = {
        "scene": key,
        **about,
        "frame_id": scene.frame_id,
        "up": scene.up.tolist(),
        "map_version": scene.map_version,
        "floor_area_m2": None if np.isnan(scene.floor_area_m2) else float(scene.floor_area_m2),
        "views": views,
        "bevs": pictures.bevs,
        "objects": [_object(o, base, truth) for o in base.objects.values()],
        "missed": [] if truth is None else _missed(truth),
        "conversations": talked.rows,
    }
    kinds: dict[str, int] = {}
    for row in talked.rows:
        name = f"{row['source']}/{row['kind']}" if row["kind"] else row["source"]
        kinds[name] = kinds.get(name, 0) + 1
    summary = {
        **about,
        "conversations": len(talked.rows),
        "kinds": kinds,
        "left_out": dict(talked.left_out),
        "views": len(views),
        "depths": sum(v["depth"] is not None for v in views),
        "objects": len(base.objects),
        "true_objects": 0 if truth is None else len(truth.boxes),
        "matched": len(map_ids),
    }
    text = json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
    return [(f"{key}.{SCENE_JSON}", text), *sorted(pictures.members.items())], summary


def _view(view: ViewFrame, run: Path, prompt: Prompt, pictures: _Pictures) -> dict[str, Any]:
    config, numbering = pictures.config, prompt.numbering
    size = (view.intrinsics.width, view.intrinsics.height)
    width, height = fitted_size(size, config)
    stem = f"{pictures.key}.view{view.id:04d}"
    pictures.members[f"{stem}.plain.jpg"] = jpeg(draw_frame(view, [], {}, config), pictures.quality)
    depth = load_view_depth(run, view.id)
    if depth is not None:
        pictures.members[f"{stem}.depth.png"] = encode_depth(resize_nearest(depth, height, width))
    marks, digits_px = fitted_marks(marks_of(view, numbering), numbering.number_of, size, config)
    k = view.intrinsics.scaled(width, height)
    return {
        "id": view.id,
        "stamp_ns": view.stamp_ns,
        "marked": f"{stem}.marked.jpg",
        "plain": f"{stem}.plain.jpg",
        "depth": None if depth is None else f"{stem}.depth.png",
        "width": width,
        "height": height,
        "intrinsics": [k.fx, k.fy, k.cx, k.cy],
        "T_map_camera": view.T_map_camera.tolist(),
        "digits_px": digits_px,
        "markers": [
            {"id": m.object_id, "number": numbering.number_of[m.object_id], "u": round(m.u, 2), "v": round(m.v, 2)}
            for m in marks
        ],
    }


def _bev_json(view: Overview, pixels: U8) -> dict[str, Any]:
    bev = view.bev
    height, width = pixels.shape[:2]
    return {
        "width": width,
        "height": height,
        "resolution_m": bev.resolution_m * bev.color.shape[1] / width,
        "origin": list(bev.origin_xy),
        "T_bev_map": bev.T_bev_map.tolist(),
        "whole": view.whole,
        "marked": [o.id for o in view.marked],
        "stand": None if view.stand is None else view.stand.position.tolist(),
    }


def _object(thing: SceneObject, prompt: Prompt, truth: TrueThings | None) -> dict[str, Any]:
    out = {
        "id": thing.id,
        "number": prompt.numbering.number_of.get(thing.id),
        "label": thing.label,
        "state": thing.state.name,
        **_box(thing.box),
        "truth": None,
    }
    if truth is not None:
        true_id = next((t for t, i in truth.matches.map_ids.items() if i == thing.id), None)
        if true_id is not None:
            iou = round(truth.matches.iou[true_id], 4)
            label = truth.labels.get(true_id, "")
            out["truth"] = {"id": true_id, "label": label, "iou": iou, **_box(truth.boxes[true_id])}
    return out


def _missed(truth: TrueThings) -> list[dict[str, Any]]:
    """Return the true objects that no object of the map is near enough to."""
    return [
        {"id": i, "label": truth.labels.get(i, ""), "iou": round(truth.matches.iou[i], 4), **_box(box)}
        for i, box in truth.boxes.items()
        if i not in truth.matches.map_ids
    ]


def _box(box: OrientedBox) -> dict[str, Any]:
    return {"center": box.center.tolist(), "size": box.size.tolist(), "axes": box.axes.tolist()}


def jpeg(pixels: U8, quality: int) -> bytes:
    """Return RGB (H, W, 3) as JPEG whose colours are not thinned out: digits stay sharp."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    return _encoded(".jpg", pixels, options)


def png(pixels: U8) -> bytes:
    """Return RGB (H, W, 3) as PNG."""
    return _encoded(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 6])


def _encoded(suffix: str, pixels: U8, options: Sequence[int]) -> bytes:
    ok, data = cv2.imencode(suffix, np.ascontiguousarray(pixels[..., ::-1]), list(options))
    if not ok:
        raise DatasetError(f"a picture of shape {pixels.shape} can't be written as {suffix}")
    return data.tobytes()
