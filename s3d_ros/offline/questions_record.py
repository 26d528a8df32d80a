"""One record for every kind of question with a known answer, and its files.

Files are JSON Lines, one question a line, where their name ends in ``.jsonl``; else one JSON list. Both are read
whatever they are called. What is asked and the key are two files, so that no answerer is handed the key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3d_ros.types import Question, Situation

TASKS = ("qa", "situated", "caption", "ground_one", "ground_many")


@dataclass(frozen=True)
class Pose:
    """Where the asker stands: position (x, y, z) in metres in the map, heading a unit vector (x, y, z)."""

    position: tuple[float, float, float]
    heading: tuple[float, float, float]


@dataclass(frozen=True)
class FrameRef:
    """A frame that a question names: "frame ``index`` of ``count``", counted from 1 by time; ``stamp_ns`` is its."""

    index: int
    count: int
    stamp_ns: int


@dataclass(frozen=True)
class ScoredQuestion:
    """A question and its key. ``value`` (in ``unit``) where the answer is a number, ``choice`` one of ``options``.

    task: how a prompt puts it (TASKS). about: ids of the truth that the question names or is about. objects: ids of
    the truth that are the answer (grounding: all that fit, () for none) or that it describes (captions).
    situation: where the asker stands, ``situation_text`` the same in words. description: what is looked for
    (grounding), without the request around it. frames: those the question names.
    """

    id: str
    type: str
    question: str
    answer: str
    options: tuple[str, ...] = ()
    value: float | None = None
    choice: str = ""
    wording: str = "official"  # official, open, held_out
    synonym: bool = False
    about: tuple[int, ...] = ()
    task: str = "qa"
    unit: str = ""
    objects: tuple[int, ...] = ()
    situation: Pose | None = None
    situation_text: str = ""
    description: str = ""
    frames: tuple[FrameRef, ...] = ()


class QuestionsError(ValueError):
    """A questions file that can't be used."""


def asked_row(q: ScoredQuestion) -> dict[str, Any]:
    """Return what an answerer may see of a question."""
    row: dict[str, Any] = {"id": q.id, "type": q.type, "question": q.question}
    if q.options:
        row["options"] = list(q.options)
    if q.task != "qa":
        row["task"] = q.task
    if q.situation is not None:
        row["situation"] = {"position": list(q.situation.position), "heading": list(q.situation.heading)}
        row["situation_text"] = q.situation_text
    if q.description:
        row["description"] = q.description
    if q.frames:
        row["frames"] = [vars(f) for f in q.frames]
    return row


def key_row(q: ScoredQuestion) -> dict[str, Any]:
    """Return what scores the answer to a question."""
    row: dict[str, Any] = {
        "id": q.id,
        "type": q.type,
        "answer": q.answer,
        "value": q.value,
        "choice": q.choice,
        "options": list(q.options),
        "wording": q.wording,
        "synonym": q.synonym,
        "about": list(q.about),
    }
    if q.unit:
        row["unit"] = q.unit
    if q.task != "qa":
        row["task"] = q.task
    if q.task in ("caption", "ground_one", "ground_many"):
        row["objects"] = list(q.objects)
    return row


def write_questions(questions: Sequence[ScoredQuestion], path: Path, key_path: Path) -> None:
    """Write what is asked, for ``s3d replay --questions``, and apart from it the key, for ``s3d evaluate``."""
    for where, rows in ((path, map(asked_row, questions)), (key_path, map(key_row, questions))):
        write_rows(list(rows), where)


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows as JSON Lines (``.jsonl``), else as one list."""
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        text = json.dumps(list(rows), indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def parse_rows(text: str) -> list[Any]:
    """Read a JSON list, or JSON Lines. Raises ValueError, naming the line."""
    if text.lstrip()[:1] != "{":
        data = json.loads(text)
        if not isinstance(data, list):
            raise ValueError("it holds no list")
        return data
    out = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            out += [json.loads(line)] if line.strip() else []
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return out


def load_questions(path: Path, key_path: Path) -> list[ScoredQuestion]:
    """Read what ``write_questions`` wrote, both files together. Raises QuestionsError."""
    rows: list[list[Any]] = []
    for where in (path, key_path):
        try:
            rows.append(parse_rows(where.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise QuestionsError(f"can't read {where}: {error}") from error
    try:
        asked = {str(row["id"]): row for row in rows[0]}
        keys = {str(row["id"]): row for row in rows[1]}
        if asked.keys() != keys.keys() or len(asked) < len(rows[0]) or len(keys) < len(rows[1]):
            odd = sorted(asked.keys() ^ keys.keys())[:3]
            raise QuestionsError(f"{path} and {key_path} are no pair: {', '.join(odd) or 'an id'} is not once in each")
        return [_joined(row, keys[name]) for name, row in asked.items()]
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, QuestionsError):
            raise
        raise QuestionsError(
            f"{path} and {key_path} hold something else than questions ({type(error).__name__}: {error})"
        ) from error


def question_of(row: Mapping[str, Any]) -> Question:
    """Return what is asked by a row of a questions file. Raises KeyError, TypeError or ValueError for a broken one."""
    pose = row.get("situation")
    situation = None
    if pose is not None:
        place, heading = (np.array(pose[k], dtype=np.float64) for k in ("position", "heading"))
        if place.shape != (3,) or heading.shape != (3,) or not np.isfinite([place, heading]).all():
            raise ValueError(f"question {row['id']!r}: a situation is a finite position and heading, 3 numbers each")
        situation = Situation(place, heading)
    return Question(row["question"], tuple(str(o) for o in row.get("options") or ()), situation)


def _joined(row: Mapping[str, Any], key: Mapping[str, Any]) -> ScoredQuestion:
    pose = row.get("situation")
    return ScoredQuestion(
        id=str(row["id"]),
        type=row["type"],
        question=row["question"],
        answer=key["answer"],
        options=tuple(row.get("options") or ()),
        value=key["value"],
        choice=key["choice"],
        wording=key["wording"],
        synonym=key["synonym"],
        about=tuple(key["about"]),
        task=row.get("task", "qa"),
        unit=key.get("unit", ""),
        objects=tuple(key.get("objects", ())),
        situation=None if pose is None else Pose(tuple(pose["position"]), tuple(pose["heading"])),
        situation_text=row.get("situation_text", ""),
        description=row.get("description", ""),
        frames=tuple(FrameRef(f["index"], f["count"], f["stamp_ns"]) for f in row.get("frames", ())),
    )
