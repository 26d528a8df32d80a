"""Examples become conversations about one scene, through the prompter that answers live."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s3d_ros.chat import ChatError, ChatImage
from s3d_ros.prompt.build import Prompt, Prompter
from s3d_ros.prompt.numbers import token
from s3d_ros.prompt.replies import grounded
from s3d_ros.prompt.tasks import Task
from s3d_ros.train.examples import Example, lettered
from s3d_ros.train.sharegpt import share_gpt
from s3d_ros.types import Question, Scene

NO_PROPOSAL = "an object that it is about is not in the map, or too unlike it (IoU)"
NO_NUMBER = "an object that it is about has no number"
_THING = re.compile(r"<OBJ(\d+)>")
_GROUNDS = (Task.GROUND_ONE, Task.GROUND_MANY)


@dataclass(frozen=True)
class Talked:
    """rows: the conversations, as they stand in a scene's JSON. left_out: why the others are none, how many."""

    rows: list[dict[str, Any]]
    left_out: Counter[str]


def conversations(
    scene: Scene,
    prompter: Prompter,
    examples: Sequence[Example],
    map_ids: Mapping[int, int],
    name_of: Callable[[ChatImage, Prompt], str],
    *,
    wordings: int = 10,
    seed: int = 0,
) -> Talked:
    """Put examples into prompts. map_ids: truth id -> ID in the map; an example that needs one that lacks is left out.

    Half of an answer would teach to leave things out, so all that an answer names must be there.
    """
    rows, left_out = [], Counter[str]()
    for example in examples:
        if any(i not in map_ids for i in example.named):
            left_out[NO_PROPOSAL] += 1
            continue
        question = Question(example.text_by_map(map_ids), situation=example.situation)
        options = lettered(example.options)
        variant = zlib.crc32(f"{seed}/{example.id}".encode()) % max(wordings, 1)
        try:
            prompt = prompter.build(
                question, scene, options=options, task=example.task, situation=example.situation_text, variant=variant
            )
        except ChatError as error:
            left_out[f"no prompt: {error}"] += 1
            continue
        ids = [map_ids[i] for i in example.objects]
        numbers = [prompt.numbering.number_of.get(i) for i in ids]
        if any(n is None for n in numbers):
            left_out[NO_NUMBER] += 1
            continue
        known = [n for n in numbers if n is not None]
        answer = grounded(example.task, known) if example.task in _GROUNDS else _by_number(example, map_ids, prompt)
        record = share_gpt(prompt.chat, answer, lambda image, prompt=prompt: name_of(image, prompt))  # type: ignore[misc]
        rows.append(
            {
                "id": example.id,
                "source": example.source,
                "kind": example.kind,
                "task": example.task.value,
                "objects": ids,
                "tokens": [token(n) for n in known],
                **record,
            }
        )
    return Talked(rows, left_out)


def _by_number(example: Example, map_ids: Mapping[int, int], prompt: Prompt) -> str:
    """Return an answer with the objects that it names as a model sees them: "<OBJ12>" of the truth as "<OBJ003>"."""
    number_of = prompt.numbering.number_of
    return _THING.sub(lambda m: token(number_of[map_ids[int(m[1])]]), example.answer)
