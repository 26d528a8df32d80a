"""Questions from a file, and answers as they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from s3d_ros.answer.base import Answerer
from s3d_ros.types import Answer, Question, Scene


class QuestionsError(ValueError):
    """A questions file that can't be used."""


def read_questions(path: Path) -> list[tuple[str, Question]]:
    """Read ``[{id, type, question, options?}]``; return (id, question) pairs. Raises QuestionsError."""
    try:
        data = json.loads(path.read_text())
        return [(str(q["id"]), Question(q["question"], tuple(str(o) for o in q.get("options") or ()))) for q in data]
    except OSError as error:
        raise QuestionsError(f"can't read the questions {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise QuestionsError(
            f"{path} is no questions file ({type(error).__name__}: {error}); "
            'it holds a list like [{"id": "1", "type": "count", "question": "How many chairs are there?"}]'
        ) from error


def answer_all(asked: list[tuple[str, Question]], scene: Scene, answerer: Answerer) -> list[dict[str, Any]]:
    """Answer each question; return the rows of ``answers.json``."""
    return [
        answer_json(name, answerer.answer(question, scene))
        | {"question": question.text, "options": list(question.options)}
        for name, question in asked
    ]


def answer_json(name: str, answer: Answer) -> dict[str, Any]:
    """Return one row of ``answers.json``."""
    return {
        "id": name,
        "success": answer.success,
        "error": str(answer.error),
        "answer": answer.text,
        "value": answer.value,
        "unit": answer.unit,
        "choice": answer.choice,
        "objects": list(answer.objects),
        "confidence": round(answer.confidence, 4),
        "answered_by": answer.answered_by,
        "viewpoint": answer.viewpoint,
        "map_version": answer.map_version,
        "measured": list(answer.measured),
    }
