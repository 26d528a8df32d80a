"""Scores answers to generated questions, each family as its benchmark does.

VSI-Bench and VSTI-Bench:

Choices by accuracy. Numbers by mean relative accuracy: the mean over t = 0.50, 0.55 ... 0.95 of
[|answer - truth| / truth < 1 - t]. The three levels of direction are averaged into one kind; the score is the mean of
the kinds of each family. A question that was not answered, or not readably, counts as wrong.

Situated: choices and numbers of metres likewise, counts and words by being the same (yes and no: the first word).
Grounding: the F1 of the objects named and those that fit, one to one by box IoU (0.25 and 0.5; the score is that at
0.25); for one that is sought only the first that is named counts; where nothing fits, 1 for naming nothing. Captions
are counted and not scored here: ``s3d benchmark`` has the metrics for them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from s3d_ros.offline.questions_families import FAMILIES, FAMILY_OF, WORDINGS
from s3d_ros.offline.questions_record import parse_rows
from s3d_ros.types import F64

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
_EXACT = ("situated_count", "situated_what", "situated_is", "situated_can")
IOUS = (0.25, 0.5)


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


@dataclass(frozen=True)
class BoxOverlap:
    """IoU of the boxes of a map's objects with those of the truth: ids of either, iou (N, M)."""

    map_ids: tuple[int, ...]
    true_ids: tuple[int, ...]
    iou: F64

    def of(self, named: Sequence[int], fits: Sequence[int]) -> F64:
        """Return the IoU of named map objects with true ones, (K, L); 0 for what is not there."""
        rows = {i: k for k, i in enumerate(self.map_ids)}
        columns = {i: k for k, i in enumerate(self.true_ids)}
        return np.array(
            [[self.iou[rows[n], columns[t]] if n in rows and t in columns else 0.0 for t in fits] for n in named]
        ).reshape(len(named), len(fits))


def grounding_f1(iou: F64, threshold: float) -> float:
    """Return the F1 of named objects against those that fit, by their IoU (K, L), matched one to one; 1 for 0 of 0.

    >>> grounding_f1(np.array([[0.6, 0.1], [0.3, 0.0]]), 0.5)  # one of two found, and one named that does not fit
    0.5
    """
    named, fits = iou.shape
    if not named or not fits:
        return float(named == fits)
    enough = iou >= threshold
    hits = int(enough[linear_sum_assignment(-enough.astype(float))].sum())
    return 2 * hits / (named + fits)


def score(
    key: Sequence[Mapping[str, Any]], answers: Iterable[Mapping[str, Any]], overlap: BoxOverlap | None = None
) -> dict[str, Any]:
    """Score answers (rows of ``answers.json``) by a key; ids without an answer count as unanswered.

    overlap: of the map that was asked with the truth; None: the map's IDs are the truth's.
    Returns ``mean`` (of the kinds that were asked), ``families`` and ``kinds`` {name: {score, count, unanswered}}, the
    same of ``levels`` of direction and of ``wordings``, ``count``, ``unanswered``, and ``wrong``: a list of what was
    not fully right. Scores are 0..100. Raises ScoreError for an unknown type or an id that is given twice.
    """
    given = {}
    for row in answers:
        if str(row["id"]) in given:
            raise ScoreError(f"the question {row['id']!r} has two answers")
        given[str(row["id"])] = row
    rows = [_scored(item, given.get(str(item["id"]), {}), overlap) for item in key]
    if len({row["id"] for row in rows}) != len(rows):
        raise ScoreError("the key gives an id to more than one question")
    return summarise(rows)


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum up scored rows (``rows`` of ``score``'s result), of one place or of many together."""
    levels = {kind: _sum([r for r in rows if r["type"] == kind]) for kind in _LEVELS}
    kinds = {}
    asked_too = tuple(k for k in WORDINGS if FAMILY_OF[k] != "vsi" and any(r["type"] == k for r in rows))
    for kind in EIGHT + asked_too:
        of_kind = [r for r in rows if r["type"] == kind or (kind == "object_rel_direction" and r["type"] in _LEVELS)]
        kinds[kind] = _sum(of_kind)
        if kind == "object_rel_direction":
            asked = [level["score"] for level in levels.values() if level["count"]]
            kinds[kind]["score"] = _mean(asked)
    families = {}
    for family in FAMILIES:
        of_family = {k: v for k, v in kinds.items() if family == FAMILY_OF.get(k, "vsi") and v["count"]}
        if of_family:
            families[family] = {
                "score": _mean(_by_task(of_family)),
                "count": sum(v["count"] for v in of_family.values()),
                "unanswered": sum(v["unanswered"] for v in of_family.values()),
            }
    return {
        "mean": _mean([k["score"] for k in kinds.values() if k["count"]]),
        "families": families,
        "kinds": kinds,
        "levels": levels,
        "wordings": {
            name: _sum([r for r in rows if r["wording"] == name]) for name in sorted({r["wording"] for r in rows})
        },
        "count": len(rows),
        "unanswered": sum(r["unanswered"] for r in rows),
        "wrong": [r for r in rows if r["points"] is not None and r["points"] < 1],
        "rows": list(rows),
    }


def _by_task(kinds: Mapping[str, Mapping[str, Any]]) -> list[float | None]:
    """Return the scores of a family's tasks: the three relative positions are one in VSTI-Bench."""
    position = [v["score"] for k, v in kinds.items() if k.startswith("obj_obj_relative_pos")]
    rest = [v["score"] for k, v in kinds.items() if not k.startswith("obj_obj_relative_pos")]
    return [*rest, *([_mean(position)] if position else [])]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a key or ``answers.json``: a list, or JSON Lines, of objects with an id. Raises ScoreError."""
    try:
        rows = parse_rows(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ScoreError(f"can't read {path}: {error}") from error
    if not all(isinstance(r, dict) and "id" in r for r in rows):
        raise ScoreError(f'{path} must hold a list of objects with an "id"')
    return rows


def _scored(item: Mapping[str, Any], row: Mapping[str, Any], overlap: BoxOverlap | None) -> dict[str, Any]:
    kind = item.get("type")
    if kind not in WORDINGS:
        raise ScoreError(f"question {item['id']!r} is of unknown type {kind!r}; known are {', '.join(WORDINGS)}")
    said: float | str | list[int] | None
    points: float | None
    more: dict[str, Any] = {}
    right: Any = item["answer"]
    if kind == "caption":
        said, points = str(row.get("answer") or "") if row.get("success", True) else "", None
    elif FAMILY_OF[kind] == "grounding":
        said, more = _grounded(item, row, overlap)
        points, right = (more["f1"][IOUS[0]] if said is not None else 0.0), item["objects"]
    elif item.get("choice"):
        said = read_choice(row, item.get("options") or ())
        points, right = float(said == item["choice"]), f"{item['choice']}. {item['answer']}"
    elif kind in _EXACT:
        said = read_value(row) if item["value"] is not None else read_words(row, str(item["answer"]))
        wanted = item["answer"] if item["value"] is None else float(item["value"])
        points = float(said == wanted)
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
        **more,
    }


def _grounded(
    item: Mapping[str, Any], row: Mapping[str, Any], overlap: BoxOverlap | None
) -> tuple[list[int] | None, dict[str, Any]]:
    """Return the objects named (None: no answer), and the F1 of them at each IoU."""
    fits = [int(i) for i in item["objects"]]
    if not row or not row.get("success", True):
        return None, {"f1": dict.fromkeys(IOUS, 0.0)}
    named = list(dict.fromkeys(int(i) for i in row.get("objects") or ()))
    named = named[:1] if item.get("task") == "ground_one" else named
    if overlap is None:
        iou = np.array([[float(n == t) for t in fits] for n in named]).reshape(len(named), len(fits))
    else:
        iou = overlap.of(named, fits)
    return named, {"f1": {threshold: grounding_f1(iou, threshold) for threshold in IOUS}}


def read_words(row: Mapping[str, Any], right: str = "") -> str:
    """Return the words of an answer as a key holds them: small, no article, nothing behind them; "" for none.

    Where the key is yes or no, only the answer's first word counts. Else what comes before a comma, a number or "is":
    "The tv." and "tv 12, 1.20 m away, is the closest ..." both say "tv".
    """
    text = str(row.get("answer") or "") if row.get("success", True) else ""
    said = re.sub(r"^(?:the|an?) ", "", " ".join(text.lower().split()).strip(" .!"))
    return re.split(r"[ ,.:;]" if right in ("yes", "no") else r"\s*[,.:;(<]|\s+\d|\s+is\s", said)[0]


def _sum(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "score": _mean([None if r["points"] is None else 100 * r["points"] for r in rows]),
        "count": len(rows),
        "unanswered": sum(r["unanswered"] for r in rows),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [v for v in values if v is not None]
    return round(sum(numbers) / len(numbers), 3) if numbers else None
