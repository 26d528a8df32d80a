"""Predictions, however they were written down: by id, in a list, or a line each.

``{id: text}``, ``{id: {...}}``, a list of objects with an id, or JSONL of such. Grounding and captions may add
``objects`` (IDs of proposals) or ``boxes``; without them IDs are read from the text, as ``<OBJ012>``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3d_ros.benchmarks.files import BenchmarkError, Pairs, read_json
from s3d_ros.benchmarks.scene_boxes import read_box
from s3d_ros.types import OrientedBox

_TEXT_KEYS = ("prediction", "answer", "pred", "caption", "text", "response")
_ID_KEYS = ("id", "question_id", "qid")
_OBJECT = re.compile(r"<OBJ(\d+)>")
MOST_LISTED = 20


@dataclass(frozen=True)
class Prediction:
    """What was answered. objects and boxes: None where the prediction does not give them apart from its text."""

    text: str
    objects: tuple[int, ...] | None = None
    boxes: tuple[OrientedBox, ...] | None = None
    row: Mapping[str, Any] = field(default_factory=dict)

    def named(self) -> tuple[int, ...]:
        """Return the IDs that are given, else those in the text, each once, in the order they are named.

        >>> Prediction("Yes. <OBJ012> and <OBJ003>, <OBJ012>.").named()
        (12, 3)
        """
        found = self.objects if self.objects is not None else [int(n) for n in _OBJECT.findall(self.text)]
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Matched:
    """Predictions in the order of the questions, None for one that has none.

    doubled: ids with more than one prediction, of which the first counts; conflicting: those of them that differ.
    """

    predictions: tuple[Prediction | None, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    doubled: tuple[str, ...]
    conflicting: tuple[str, ...]

    def counts(self) -> dict[str, Any]:
        """Return how many of each, and the first few ids."""
        return {
            name: {"count": len(ids), "ids": list(ids[:MOST_LISTED])}
            for name, ids in (
                ("missing", self.missing),
                ("unexpected", self.unexpected),
                ("doubled", self.doubled),
                ("conflicting", self.conflicting),
            )
        }


def read_predictions(
    path: Path, made_id: Callable[[Mapping[str, Any]], str | None] = lambda row: None
) -> list[tuple[str, Prediction]]:
    """Read predictions as (id, prediction), doubled ones too.

    made_id: makes the id of an object that has none of its own, from its scene and object. Raises BenchmarkError.
    """
    data = read_json(path)
    pairs: list[tuple[str, Any]]
    if isinstance(data, Pairs) and not any(key in data for key in _ID_KEYS):
        pairs = [(str(key), value) for key, value in data.pairs]
    else:
        rows = [data] if isinstance(data, Pairs) else data
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            raise BenchmarkError(f"{path} must hold {{id: answer}} or a list of objects with an id")
        pairs = [(_id(row, made_id, path, i), row) for i, row in enumerate(rows)]
    if not pairs:
        raise BenchmarkError(f"{path} holds no predictions")
    return [(one, _prediction(value, path, one)) for one, value in pairs]


def match(ids: Sequence[str], predictions: Sequence[tuple[str, Prediction]]) -> Matched:
    """Lay predictions beside questions. Raises BenchmarkError when not a single one belongs to any question."""
    given: dict[str, list[Prediction]] = {}
    for one, prediction in predictions:
        given.setdefault(one, []).append(prediction)
    known = set(ids)
    if not known & set(given):
        raise BenchmarkError(
            f"no prediction belongs to any question: predictions have ids such as {next(iter(given))!r}, "
            f"annotations such as {ids[0]!r}"
        )
    twice = tuple(one for one, several in given.items() if len(several) > 1)
    return Matched(
        tuple(given[one][0] if one in given else None for one in ids),
        tuple(one for one in ids if one not in given),
        tuple(one for one in given if one not in known),
        twice,
        tuple(one for one in twice if any(_differ(given[one][0], p) for p in given[one][1:])),
    )


def _differ(a: Prediction, b: Prediction) -> bool:
    boxes = [p.boxes and [box.corners().tolist() for box in p.boxes] for p in (a, b)]
    return (a.text, a.objects) != (b.text, b.objects) or boxes[0] != boxes[1]


def _id(row: Mapping[str, Any], made_id: Callable[[Mapping[str, Any]], str | None], path: Path, index: int) -> str:
    own = next((str(row[key]) for key in _ID_KEYS if row.get(key) is not None), None)
    one = made_id(row) or own
    if one is None:
        raise BenchmarkError(f'{path}, entry {index}: no "id" (it has {", ".join(sorted(row)) or "nothing"})')
    return one


def _prediction(value: Any, path: Path, one: str) -> Prediction:
    if not isinstance(value, Mapping):
        return Prediction(_text(value))
    if isinstance(value.get("answer_top10"), list):  # ScanQA's own
        return Prediction(_text((value["answer_top10"] or [""])[0]), row=value)
    text = next((_text(value[key]) for key in _TEXT_KEYS if value.get(key) is not None), "")
    if value.get("success") is False:  # s3d's answers: the words say why there is none
        text = ""
    try:
        objects = value.get("objects", value.get("object", value.get("pred_id")))
        ids = None if objects is None else tuple(int(o) for o in (objects if isinstance(objects, list) else [objects]))
        boxes = value.get("boxes", [value[key] for key in ("box", "bbox") if value.get(key) is not None] or None)
        return Prediction(text, ids, None if boxes is None else tuple(read_box(box) for box in boxes), value)
    except (TypeError, ValueError) as error:
        raise BenchmarkError(f"{path}, prediction {one!r}: {error}") from error


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return _text(value[0]) if value else ""
    return str(value)
