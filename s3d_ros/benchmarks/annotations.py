"""The official annotation files of the benchmarks, read as they are.

One reader each, for scoring and for making training sets alike. Where a file lacks what is asked for, the message names
the file, the entry and the key. IDs of questions are unique within a file; one that comes twice is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3d_ros.benchmarks.files import (
    BenchmarkError,
    need,
    need_integer,
    need_texts,
    read_json,
    read_rows,
    refuse_doubled,
)

SQA3D_TYPES = ("what", "is", "how", "can", "which")  # by how the question begins; anything else is "other"


@dataclass(frozen=True)
class QaItem:
    """A question and all answers that count as right.

    kind: SQA3D's type, ScanQA's class, OpenEQA's category. objects: the ScanNet objects that ScanQA says it is about.
    position: (x, y, z) in metres and rotation: quaternion (x, y, z, w) of SQA3D's situation, in the scan's frame.
    """

    id: str
    scene: str
    question: str
    answers: tuple[str, ...]
    kind: str = ""
    situation: str = ""
    objects: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    position: tuple[float, float, float] | None = None
    rotation: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class GroundingItem:
    """A description and the ScanNet objects that it fits: one, several, or none.

    kind: "unique" or "multiple" (ScanRefer), "zt_w_d", "zt_wo_d", "st_w_d", "st_wo_d", "mt" (Multi3DRefer: zero, single
    or multiple targets, with or without distractors of the same class), "" where the file does not say.
    """

    id: str
    scene: str
    description: str
    objects: tuple[int, ...]
    kind: str = ""
    label: str = ""


@dataclass(frozen=True)
class CaptionItem:
    """An object and what people wrote about it.

    tokens: the same texts as Scan2Cap's own scorer takes them: ScanRefer's tokens, 30 at most, joined by spaces.
    """

    id: str
    scene: str
    object: int
    captions: tuple[str, ...]
    tokens: tuple[str, ...]
    label: str = ""


@dataclass(frozen=True)
class SpatialItem:
    """A question of VSI-Bench or VSTI-Bench. truth: the letter of the right option, or a number."""

    id: str
    scene: str
    type: str
    question: str
    options: tuple[str, ...]
    truth: str


def read_scanqa(path: Path) -> list[QaItem]:
    """Read ``ScanQA_v1.0_*.json``. The test files hold no answers and are refused."""
    items = []
    for i, row in enumerate(read_rows(path)):
        if "answers" not in row:
            raise BenchmarkError(f"{path} holds no answers (as ScanQA's test files): take ScanQA_v1.0_val.json")
        question = str(need(row, "question", path, i))
        items.append(
            QaItem(
                str(need(row, "question_id", path, i)),
                str(need(row, "scene_id", path, i)),
                question,
                need_texts(row, "answers", path, i),
                scanqa_class(question),
                objects=tuple(int(o) for o in row.get("object_ids") or ()),
                labels=tuple(str(o) for o in row.get("object_names") or ()),
            )
        )
    refuse_doubled((item.id for item in items), path)
    return items


def scanqa_class(question: str) -> str:
    """Return the class that ScanQA puts a question in, by its words as they are written.

    >>> scanqa_class("What color is the chair?")
    'color'
    """
    for words, name in (
        (("Where",), "place"),
        (("How many",), "number"),
        (("What color", "What is the color"), "color"),
        (("What shape", "What type", "What kind"), "object nature"),
        (("What is",), "object"),
    ):
        if any(w in question for w in words):
            return name
    return "other"


def sqa3d_type(question: str) -> str:
    """Return the type of an SQA3D question: its first word, if that is one of five.

    >>> sqa3d_type("Is the door open?"), sqa3d_type("If I turn around, what is left of me?")
    ('is', 'other')
    """
    begin = question.lstrip().lower()
    return next((kind for kind in SQA3D_TYPES if begin.startswith(kind)), "other")


def read_sqa3d(path: Path, questions: Path | None = None) -> list[QaItem]:
    """Read ``v1_balanced_sqa_annotations_*.json`` and the questions that belong to it.

    questions: ``v1_balanced_questions_*.json``; without it, the file of that name beside the annotations.
    """
    if questions is None:
        questions = path.with_name(path.name.replace("sqa_annotations", "questions"))
        if questions == path or not questions.exists():
            raise BenchmarkError(
                f"SQA3D keeps its questions apart from {path}: give v1_balanced_questions_*.json as well, "
                "with a second --annotations"
            )
    asked = {}
    rows = read_rows(questions, "questions")
    refuse_doubled((str(row.get("question_id")) for row in rows), questions)
    for i, row in enumerate(rows):
        asked[str(need(row, "question_id", questions, i))] = row
    items = []
    for i, row in enumerate(read_rows(path, "annotations")):
        one = str(need(row, "question_id", path, i))
        if one not in asked:
            raise BenchmarkError(f"{path}, entry {i}: question {one!r} is not in {questions}; are both of one split?")
        question = str(need(asked[one], "question", questions, i))
        answers = tuple(str(need(a, "answer", path, i)) for a in need(row, "answers", path, i))
        if not answers:
            raise BenchmarkError(f"{path}, entry {i}: question {one!r} has no answer")
        items.append(
            QaItem(
                one,
                str(need(row, "scene_id", path, i)),
                question,
                answers,
                sqa3d_type(question),
                str(asked[one].get("situation", "")),
                position=_numbers(row.get("position"), ("x", "y", "z")),
                rotation=_numbers(row.get("rotation"), ("_x", "_y", "_z", "_w")),
            )
        )
    refuse_doubled((item.id for item in items), path)
    return items


def _numbers(value: Any, keys: tuple[str, ...]) -> Any:
    if not isinstance(value, Mapping) or not all(key in value for key in keys):
        return None
    return tuple(float(value[key]) for key in keys)


def read_scan2cap(path: Path) -> list[CaptionItem]:
    """Read ``ScanRefer_filtered_*.json``, or a corpus: {"scene|object" or "scene|object|name": [captions]}."""
    data = read_json(path)
    if isinstance(data, dict):
        items = [_corpus_item(key, texts, path) for key, texts in data.items()]
    else:
        grouped: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
        for i, row in enumerate(read_rows(path)):
            need(row, "description", path, i)
            key = str(need(row, "scene_id", path, i)), need_integer(row, "object_id", path, i)
            grouped.setdefault(key, []).append(row)
        items = [
            CaptionItem(
                f"{scene}|{one}",
                scene,
                one,
                tuple(str(row["description"]) for row in rows),
                tuple(" ".join((row.get("token") or str(row["description"]).lower().split())[:30]) for row in rows),
                str(rows[0].get("object_name", "")).replace("_", " "),
            )
            for (scene, one), rows in grouped.items()
        ]
    if not items:
        raise BenchmarkError(f"{path} holds no captions")
    refuse_doubled((item.id for item in items), path)
    return items


def _corpus_item(key: str, texts: Any, path: Path) -> CaptionItem:
    scene, _, rest = key.partition("|")
    number, _, name = rest.partition("|")
    if not number.isdigit() or not isinstance(texts, list) or not texts:
        raise BenchmarkError(f'{path}: {key!r} must read "scene|object" and hold a list of captions')
    bare = tuple(str(text).removeprefix("sos ").removesuffix(" eos") for text in texts)
    return CaptionItem(f"{scene}|{number}", scene, int(number), bare, bare, name.replace("_", " "))


_SPATIAL_KEYS = ("question_type", "type")


def read_spatial(path: Path) -> list[SpatialItem]:
    """Read VSI-Bench's ``test.jsonl`` or VSTI-Bench's, as JSON or JSONL, or the key that ``s3d questions`` writes."""
    items = []
    for i, row in enumerate(read_rows(path)):
        kind = next((str(row[key]) for key in _SPATIAL_KEYS if row.get(key)), "")
        options = tuple(str(o) for o in row.get("options") or ())
        # VSTI-Bench keeps the letter in mc_answer and the words in ground_truth; s3d's key has choice and value
        letters = [row.get(key) for key in ("mc_answer", "choice", "ground_truth")]
        numbers = [row.get(key) for key in ("ground_truth", "value")]
        truth = next((str(v) for v in (letters if options else numbers) if v not in (None, "")), "")
        if not kind or not truth:
            raise BenchmarkError(f'{path}, entry {i}: needs a "question_type" and a "ground_truth"')
        items.append(
            SpatialItem(
                str(need(row, "id", path, i)),
                str(row.get("scene_name") or row.get("scene") or ""),
                kind,
                str(row.get("question", "")),
                options,
                truth.strip(),
            )
        )
    refuse_doubled((item.id for item in items), path)
    return items


def read_openeqa(path: Path) -> list[QaItem]:
    """Read ``open-eqa-v0.json``: the first answer is ``answer``, the others are ``extra_answers``."""
    items = [
        QaItem(
            str(need(row, "question_id", path, i)),
            str(row.get("episode_history", "")),
            str(need(row, "question", path, i)),
            (str(need(row, "answer", path, i)), *(str(a) for a in row.get("extra_answers") or ())),
            str(row.get("category", "")),
        )
        for i, row in enumerate(read_rows(path))
    ]
    refuse_doubled((item.id for item in items), path)
    return items
