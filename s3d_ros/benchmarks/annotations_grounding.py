"""ScanRefer's and Multi3DRefer's annotation files, and which of ScanRefer's objects are alone of their class."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s3d_ros.benchmarks.annotations import GroundingItem
from s3d_ros.benchmarks.files import BenchmarkError, need, need_integer, read_rows, refuse_doubled

MULTI3DREFER_TYPES = ("zt_w_d", "zt_wo_d", "st_w_d", "st_wo_d", "mt")
# ScanNet's benchmark classes; whatever is none of them counts as one class, "others"
_CLASSES = frozenset(
    "cabinet bed chair sofa table door window bookshelf picture counter desk curtain refrigerator toilet sink "
    "bathtub".split()
) | {"shower curtain"}


def read_scanrefer(path: Path, labels: Path | None = None) -> list[GroundingItem]:
    """Read ``ScanRefer_filtered_*.json``.

    labels: ``scannetv2-labels.combined.tsv``, which tells an object's class by its name. Without it, ``kind`` is what
    the file itself says ("eval_type", which M3DRef-CLIP adds, or "unique_multiple"), or nothing.
    """
    rows = read_rows(path)
    kinds = _unique_or_multiple(rows, path, read_label_classes(labels)) if labels else _said_kinds(rows)
    items = []
    for i, row in enumerate(rows):
        scene, one = str(need(row, "scene_id", path, i)), need_integer(row, "object_id", path, i)
        items.append(
            GroundingItem(
                f"{scene}|{one}|{need(row, 'ann_id', path, i)}",
                scene,
                str(need(row, "description", path, i)),
                (one,),
                kinds[i],
                str(row.get("object_name", "")).replace("_", " "),
            )
        )
    refuse_doubled((item.id for item in items), path)
    return items


def read_multi3drefer(path: Path) -> list[GroundingItem]:
    """Read ``multi3drefer_*.json``."""
    items = []
    for i, row in enumerate(read_rows(path)):
        scene, kind = str(need(row, "scene_id", path, i)), str(need(row, "eval_type", path, i))
        objects = tuple(int(o) for o in need(row, "object_ids", path, i))
        if kind not in MULTI3DREFER_TYPES:
            raise BenchmarkError(
                f'{path}, entry {i}: "eval_type" is {kind!r}; known are {", ".join(MULTI3DREFER_TYPES)}'
            )
        if kind.startswith("zt") == bool(objects):
            raise BenchmarkError(f"{path}, entry {i}: type {kind!r} does not go with {len(objects)} objects")
        items.append(
            GroundingItem(
                f"{scene}|{need(row, 'ann_id', path, i)}",
                scene,
                str(need(row, "description", path, i)),
                objects,
                kind,
                str(row.get("object_name", "")).replace("_", " "),
            )
        )
    refuse_doubled((item.id for item in items), path)
    return items


def read_label_classes(path: Path) -> dict[str, str]:
    """Read ScanNet's table of labels: {raw name: benchmark class, or "others"}."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"can't read {path}: {error}") from error
    if not rows or not {"raw_category", "nyu40class"} <= set(rows[0]):
        raise BenchmarkError(f"{path} is not scannetv2-labels.combined.tsv: no raw_category and nyu40class in it")
    return {row["raw_category"]: row["nyu40class"] if row["nyu40class"] in _CLASSES else "others" for row in rows}


def _unique_or_multiple(rows: Sequence[Mapping[str, Any]], path: Path, classes: Mapping[str, str]) -> list[str]:
    """ScanRefer's rule: is it the only object *described in this file* of its class in the scene?"""
    of_object: dict[tuple[str, str], str] = {}
    for i, row in enumerate(rows):
        name = str(need(row, "object_name", path, i)).replace("_", " ")
        of_object.setdefault((str(row.get("scene_id")), str(row.get("object_id"))), classes.get(name, "others"))
    count = Counter((scene, kind) for (scene, _), kind in of_object.items())
    kinds = []
    for row in rows:
        scene, name = str(row["scene_id"]), str(row["object_name"]).replace("_", " ")
        kinds.append("unique" if count[scene, classes.get(name, "others")] == 1 else "multiple")
    return kinds


def _said_kinds(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    numbered = {0: "unique", 1: "multiple"}
    return [str(row.get("eval_type") or numbered.get(row.get("unique_multiple", -1), "")) for row in rows]
