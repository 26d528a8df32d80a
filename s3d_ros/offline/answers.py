"""Questions from a file, and answers as they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s3d_ros.answer.base import Answerer
from s3d_ros.offline.questions_record import QuestionsError, parse_rows, question_of
from s3d_ros.types import Answer, Question, Scene

__all__ = ["QuestionsError", "answer_all", "answer_json", "read_questions"]


def read_questions(path: Path) -> list[tuple[str, Question]]:
    """Read a list or JSON Lines of {id, type, question, options?, situation?}; return (id, question) pairs.

    Raises QuestionsError.
    """
    try:
        return [(str(q["id"]), question_of(q)) for q in parse_rows(path.read_text(encoding="utf-8"))]
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
