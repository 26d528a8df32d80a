"""A set as other trainers take it: ``SPLIT.json`` of ShareGPT records, and the pictures as files beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from s3d_ros.train.problems import DatasetError
from s3d_ros.train.reader import TrainingSet


def export_set(
    folder: Path,
    out: Path,
    split: str = "train",
    *,
    marked: bool = True,
    progress: Callable[[int, int | None], None] | None = None,
) -> int:
    """Write a split's records and their pictures; return how many records. marked False: the unmarked twins.

    The JSON comes last: where it is, the pictures are. Raises DatasetError, RecordError.
    """
    training = TrainingSet(folder, split)
    listed = out / f"{split}.json"
    if listed.exists():
        raise DatasetError(f"{listed} is there already; remove it, or give another --out")
    rows = []
    for done, record in enumerate(training, 1):
        row = record.share_gpt()
        if not marked:
            row["images"] = [name.replace(".marked.", ".plain.") for name in row["images"]]
        for i, name in enumerate(row["images"]):
            path = Path("images") / record.scene.key / name
            if not (out / path).exists():
                (out / path).parent.mkdir(parents=True, exist_ok=True)
                (out / path).write_bytes(record.scene.read(name))
            row["images"][i] = str(path)
        rows.append(row)
        if progress:
            progress(done, len(training))
    out.mkdir(parents=True, exist_ok=True)
    listed.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return len(rows)
