"""Scores answers as VSI-Bench does.

Choices by accuracy. Numbers by mean relative accuracy: the mean over t = 0.50, 0.55 ... 0.95 of
[|answer - truth| / truth < 1 - t]. The three levels of direction are averaged into one kind; the score is the mean of
the eight kinds. A question that was not answered, or not readably, counts as wrong.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from s3d_ros.offline.questions_wordings import WORDINGS

EIGHT = (
    "object_counting",
    "object_abs_distance",
    "object_size_estimation",
    "room_size_estimation",
    "object_rel_distance",
    "object_rel_direction",
    "route_planning",
    "obj_appearance_order",
)
_LEVELS = tuple(kind for kind in WORDINGS if kind.startswith("object_rel_direction"))


class ScoreError(ValueError):
    """Answers or a key that can't be scored; the message says why."""


def mean_relative_accuracy(answer: float | None, truth: float) -> float:
    """Return the share of the ten thresholds that an answer meets; None and NaN meet none.

    >>> mean_relative_accuracy(1.12, 1.0)  # off by 12 %: within 50, 45 ... 15 %
    0.8
    """
    if answer is None or not math.isfinite(answer):
        return 0.0
    if truth == 0:
        return float(answer == 0)
    off = round(abs(answer - truth) / abs(truth), 9)  # so that 5 % off is 5 % off
    return sum(off < percent / 100 for percent in range(5, 55, 5)) / 10


def read_value(row: Mapping[str, Any]) -> float | None:
    """Return the number of an answer: its ``value``, else the first number in its text; None when unreadable."""
    value = row.get("value")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    found = re.search(r"-?\d+(?:\.\d+)?", str(row.get("answer") or "")) if row.get("success", True) else None
    return float(found[0]) if found else None


def read_choice(row: Mapping[str, Any], options: Sequence[str] = ()) -> str:
    """Return the letter of an answer: its ``choice``, else what its text begins with or spells out; "" for none."""
    if row.get("choice"):
        return str(row["choice"]).strip().upper()[:1]
    text = str(row.get("answer") or "").strip() if row.get("success", True) else ""
    found = re.match(r"\(?([A-Za-z])(?:[).:]+(?:\s|$)|$)", text)  # "B", "b.", "(B) left"; not "a chair"
    if found and found[1].upper() in {o[:1] for o in options}:
        return found[1].upper()
    said = text.lower().strip(" .")
    return next((o[:1] for o in options if o.partition(". ")[2].lower() == said), "")


def score(key: Sequence[Mapping[str, Any]], answers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Score answers (rows of ``answers.json``) by a key; ids without an answer count as unanswered.

    Returns ``mean`` (of the kinds that were asked), ``kinds`` {kind: {score, count, unanswered}}, the same of
    ``levels`` of direction and of ``wordings``, ``count``, ``unanswered``, and ``wrong``: a list of what was not
    fully right. Scores are 0..100. Raises ScoreError for an unknown type or an id that is given twice.
    """
    given = {}
    for row in answers:
        if str(row["id"]) in given:
            raise ScoreError(f"the question {row['id']!r} has two answers")
        given[str(row["id"])] = row
    rows = [_scored(item, given.get(str(item["id"]), {})) for item in key]
    if len({row["id"] for row in rows}) != len(rows):
        raise ScoreError("the key gives an id to more than one question")
    return summarise(rows)


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum up scored rows (``rows`` of ``score``'s result), of one place or of many together."""
    levels = {kind: _sum([r for r in rows if r["type"] == kind]) for kind in _LEVELS}
    kinds = {}
    for kind in EIGHT:
        of_kind = [r for r in rows if r["type"] == kind or (kind == "object_rel_direction" and r["type"] in _LEVELS)]
        kinds[kind] = _sum(of_kind)
        if kind == "object_rel_direction":
            asked = [level["score"] for level in levels.values() if level["count"]]
            kinds[kind]["score"] = _mean(asked)
    return {
        "mean": _mean([k["score"] for k in kinds.values() if k["count"]]),
        "kinds": kinds,
        "levels": levels,
        "wordings": {
            name: _sum([r for r in rows if r["wording"] == name]) for name in sorted({r["wording"] for r in rows})
        },
        "count": len(rows),
        "unanswered": sum(r["unanswered"] for r in rows),
        "wrong": [r for r in rows if r["points"] < 1],
        "rows": list(rows),
    }


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a key or ``answers.json``: a list of objects with an id. Raises ScoreError."""
    try:
        rows = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ScoreError(f"can't read {path}: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(r, dict) and "id" in r for r in rows):
        raise ScoreError(f'{path} must hold a list of objects with an "id"')
    return rows


def _scored(item: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    kind = item.get("type")
    if kind not in WORDINGS:
        raise ScoreError(f"question {item['id']!r} is of unknown type {kind!r}; known are {', '.join(WORDINGS)}")
    said: float | str | None
    if item.get("choice"):
        said = read_choice(row, item.get("options") or ())
        points, right = float(said == item["choice"]), f"{item['choice']}. {item['answer']}"
    else:
        said = read_value(row)
        points, right = mean_relative_accuracy(said, float(item["value"])), item["value"]
    return {
        "id": str(item["id"]),
        "type": kind,
        "wording": item.get("wording", ""),
        "points": points,
        "unanswered": said is None or said == "",
        "said": said,
        "right": right,
        "answer": row.get("answer", ""),
    }


def _sum(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "score": _mean([100 * r["points"] for r in rows]),
        "count": len(rows),
        "unanswered": sum(r["unanswered"] for r in rows),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [v for v in values if v is not None]
    return round(sum(numbers) / len(numbers), 3) if numbers else None
