"""What a question asks: which of the tasks it is, which objects it names, what it looks for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from s3d_ros.prompt.situation import Stand
from s3d_ros.prompt.tasks import Kind, Task, kind_of
from s3d_ros.prompt.text import Said, objects_of, plain, said
from s3d_ros.types import Question, SceneObject


@dataclass(frozen=True)
class Asked:
    """A question as it was understood. question: plain, with objects by ID. options: (letter, text) each.

    given_situation: it brought its own place to stand at.
    """

    kind: Kind
    question: Said
    options: tuple[tuple[str, str], ...]
    given_situation: bool = False


def understood(
    question: Question,
    objects: Mapping[int, SceneObject],
    resolved: Mapping[int, int],
    options: Sequence[tuple[str, str]],
    task: Task | None,
    markers: bool,
) -> Asked:
    """Return what is asked. objects: by ID. resolved: retired ID -> the one that stands for it.

    task: as of ``Prompter.build``. markers: whether the model sees numbers, and can name objects by them.
    """
    words = said(question.text, objects, resolved)
    choices = tuple((letter, " ".join(plain(text).split())) for letter, text in options)
    kind = kind_of(question, words) if task is None else Kind(task, task == Task.SITUATED, objects_of(words))
    if not markers and kind.task in (Task.CAPTION, Task.GROUND_ONE, Task.GROUND_MANY):  # answered in words alone
        kind = replace(kind, task=Task.SITUATED if kind.situated else Task.QUESTION)
    return Asked(kind, words, choices, question.situation is not None)


def nearest_first(
    ids: Sequence[int], objects: Mapping[int, SceneObject], named: Sequence[int], place: Stand | None
) -> list[int]:
    """Sort objects by how far they are from those that a question names, else from the asker, else by ID."""
    there = [objects[i].box.center for i in named] or ([] if place is None else [place.position])
    if not ids or not there:
        return sorted(ids)
    at = np.reshape([objects[i].box.center for i in ids], (-1, 1, 3))
    away = np.linalg.norm(at - np.reshape(there, (1, -1, 3)), axis=2).min(axis=1)
    return [ids[i] for i in np.lexsort((ids, np.round(away, 2)))]


def description(question: str) -> str:
    """Return what a grounding question looks for: "Which object is the red mug?" -> "the red mug"."""
    quoted = re.search(r'\bdescription\s+"(.+)"', question)
    if quoted:
        return quoted[1].strip()
    text = question.strip().rstrip("?.! ")
    text = re.sub(r"^(?:please\s+)?(?:can|could|would|will) you\s+(?:please\s+)?", "", text, flags=re.IGNORECASE)
    text = re.sub(
        r"^(?:please\s+)?(?:(?:which|what) (?:objects?|things?|items?|ones?) (?:is|are|matche?s?|fits?|shows?)"
        r"|(?:find|locate|identify|select|point (?:out|to)|show(?: me)?|highlight|list|name)(?: all| every| each)?"
        r"|(?:what is|give me|tell me) the (?:id|number) of|are there any|is there any)\s+(?:of )?",
        "", text, flags=re.IGNORECASE,
    )  # fmt: skip
    return text or question
