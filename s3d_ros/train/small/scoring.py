"""How many questions about mapped homes an answerer gets right, kind by kind, beside what guessing gets.

The scenes are runs of the pipeline; what is right goes by the truth of the simulated home: an object of the map is the
true thing whose box agrees best with its own.
"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3d_ros.answer.choose import choose
from s3d_ros.answer.settings import AnswererConfig
from s3d_ros.offline.run import load_scene
from s3d_ros.offline.truth import Truth, load_truth
from s3d_ros.prompt.numbers import present
from s3d_ros.train.proposals import match_proposals
from s3d_ros.train.small.model import SmallModelError
from s3d_ros.train.small.questions import HELD_OUT, KINDS, TRAINED, AskedThing, Asker
from s3d_ros.types import Answer, Question, Scene, SceneObject

_LEAST_IOU = 0.25


@dataclass(frozen=True)
class Mapped:
    """A mapped home: its scene, the true things that the map holds, under the map's IDs, and what else is there."""

    name: str
    scene: Scene
    things: tuple[SceneObject, ...]
    others: frozenset[str]


def mapped(name: str, scene: Scene, truth: Truth) -> Mapped:
    """Return a mapped home; things that moved meanwhile are left out, and so are those that nobody saw well."""
    boxes = {o.id: o.box for o in truth.objects if o.first_seen_s is not None and not o.changed}
    found = match_proposals(boxes, present(scene), _LEAST_IOU).map_ids
    by_id = {o.id: o for o in truth.objects}
    things = [SceneObject(found[i], by_id[i].label, by_id[i].box) for i in sorted(found, key=lambda i: found[i])]
    seen = {o.id for o in things}
    missed = {o.label for o in truth.objects if o.id not in found}
    return Mapped(name, scene, tuple(things), frozenset(missed | {o.label for o in present(scene) if o.id not in seen}))


def questions(home: Mapped, each: int, seed: int = 0, words: frozenset[str] = HELD_OUT) -> list[AskedThing]:
    """Return so many questions of each kind about a home, half of them by number where they can be, none twice."""
    rng = np.random.default_rng([seed, len(home.things)])
    return Asker(home.things, home.others, rng, words, by_category=0.5).distinct(each)


def is_right(asked: AskedThing, answer: Answer) -> bool:
    """Tell whether an answer is right: the object, the option, the distance within a fifth, the number, or the word."""
    if not answer.success:
        return False
    if asked.options:
        return answer.choice == asked.answer
    if asked.objects:
        return bool(answer.objects) and answer.objects[0] == asked.objects[0]
    if asked.value is not None:
        slack = 0.2 * asked.value if asked.kind == "distance" else 0.0
        return answer.value is not None and abs(answer.value - asked.value) <= slack + 1e-9
    said = re.sub(r"[^a-z -]", " ", answer.text.lower())
    rest = {"left": "right", "right": "left"}.get(asked.answer)
    return re.search(rf"\b{re.escape(asked.answer.lower())}\b", said) is not None and not (
        rest and re.search(rf"\b{rest}\b", said)
    )


def guessed(asked: Sequence[AskedThing], pool: Sequence[AskedThing]) -> dict[str, float]:
    """Return what guessing gets: the most frequent answer of ``pool``, or any one of those that could be meant."""
    most: dict[str, str] = {}
    for kind in KINDS:
        counts = Counter(a.answer for a in pool if a.kind == kind and not a.objects and not a.options)
        most[kind] = counts.most_common(1)[0][0] if counts else ""
    scores: dict[str, list[float]] = defaultdict(list)
    for a in asked:
        if a.options:
            scores[a.kind].append(1 / len(a.options))
        elif a.objects:
            scores[a.kind].append(1 / max(2, a.candidates))
        elif a.kind == "distance" and a.value is not None:
            scores[a.kind].append(float(abs(float(most[a.kind].split()[0]) - a.value) <= 0.2 * a.value))
        else:
            scores[a.kind].append(float(a.answer == most[a.kind]))
    return {k: float(np.mean(v)) for k, v in scores.items()}


def table(
    homes: Sequence[Mapped],
    asked: Sequence[Sequence[AskedThing]],
    answer: Callable[[Question, Scene], Answer],
    on_answer: Callable[[Mapped, AskedThing, Answer, bool], None] = lambda home, asked, answer, right: None,
) -> dict[str, tuple[float, int]]:
    """Ask all, and return for each kind, and for each by number and by name, the share that is right and how many."""
    right: dict[str, list[bool]] = defaultdict(list)
    for home, some in zip(homes, asked, strict=True):
        for one in some:
            options = tuple(f"{letter}. {text}" for letter, text in one.options)
            said = answer(Question(one.text, options), home.scene)
            good = is_right(one, said)
            on_answer(home, one, said, good)
            right[one.kind].append(good)
            right[f"{one.kind} by {'name' if one.named else 'number'}"].append(good)
    return {k: (float(np.mean(v)), len(v)) for k, v in sorted(right.items())}


def score_homes(
    places: Sequence[tuple[Path, Path]], model: str, each: int, seed: int = 0, trained: bool = False
) -> Iterator[str]:
    """Yield the lines of a table. places: (run, recording with its truth). model: "" for the geometric answerer.

    Raises SmallModelError where the model can't be loaded, and what ``load_scene`` and ``load_truth`` raise.
    """
    homes = [mapped(run.name, load_scene(run), load_truth(recording)) for run, recording in places]
    asked = [questions(home, each, seed, TRAINED if trained else HELD_OUT) for home in homes]
    settings = {"answerer": "transformers", "model": model, "device": "cpu", "max_new_tokens": 24}
    chosen = choose(AnswererConfig.from_flat(settings if model else {"answerer": "geometric"}))
    try:
        while chosen.missing():
            if fault := chosen.status().get("last_fault"):
                raise SmallModelError(f"{model} can't be asked: {fault}")
            time.sleep(0.1)
        rows = table(homes, asked, chosen.answerer.answer)
    finally:
        chosen.answerer.close()
    pool = [one for some in asked for one in some]
    guess = guessed(pool, pool)
    yield f"{len(homes)} homes, {len(pool)} questions"
    for kind, (share, count) in rows.items():
        told = f"  guessing {100 * guess[kind]:.1f} %" if kind in guess else ""
        yield f"{kind:24} {100 * share:5.1f} % of {count}{told}"
