"""Our own questions about simulated homes as a set for an answerer, scored by the truth (``offline.score``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from s3d_ros.benchmarks.bootstrap import Metric, figures, mean_metric, mean_of_metrics
from s3d_ros.benchmarks.files import BenchmarkError
from s3d_ros.benchmarks.predictions import MOST_LISTED
from s3d_ros.benchmarks.running.items import WITHOUT_IDS, Item, Row
from s3d_ros.benchmarks.running.places import Place
from s3d_ros.benchmarks.scored import ScoreSettings
from s3d_ros.offline.evaluate import box_ious
from s3d_ros.offline.guessing import at_random, most_frequent
from s3d_ros.offline.questions import make_questions
from s3d_ros.offline.questions_families import FAMILIES, FAMILY_OF, kinds_of
from s3d_ros.offline.questions_record import ScoredQuestion, asked_row, key_row, question_of
from s3d_ros.offline.run import load_scene, view_stamps
from s3d_ros.offline.score import BoxOverlap, score
from s3d_ros.offline.truth import load_truth, shown_frames
from s3d_ros.prompt.frames import least_telling_first
from s3d_ros.prompt.numbers import Numbers
from s3d_ros.types import Answer, Question, Scene

_RULES = {
    "answers": "a letter, an option spelled out, a word, or the first number, wherever it stands",
    "numbers": "MRA over 0.50, 0.55 ... 0.95; counts have to be the same where they are situated",
    "grounding": "F1 of the objects named and those that fit, one to one by box IoU of 0.25",
}

_WORDINGS = {"official": "official wordings", "open": "other wordings", "held_out": "held-out wordings"}


@dataclass(frozen=True)
class GeneratedConfig:
    """kinds: families or kinds of question. per_kind: of each in each scene, at most. seed: of what is asked.

    fewest_frames: of all variants; only frames that are shown even then are named in questions. 0: any.
    """

    kinds: tuple[str, ...] = ("vsi", "vsti", "situated", "grounding")
    per_kind: int = 6
    seed: int = 0
    fewest_frames: int = 0


class GeneratedSet:
    """Questions about places whose truth is known; "frame i of N" counts the view frames of each place's run."""

    title = "generated"

    def __init__(self, places: Mapping[str, Place], config: GeneratedConfig, settings: ScoreSettings) -> None:
        """Make the questions. Raises BenchmarkError, TruthError."""
        self._settings, self._config = settings, config
        self._questions: dict[str, tuple[str, ScoredQuestion]] = {}
        self._overlaps: dict[str, BoxOverlap] = {}
        try:
            kinds = kinds_of(config.kinds)
        except ValueError as error:
            raise BenchmarkError(f"--kinds: {error}") from None
        if any(FAMILY_OF[kind] == "caption" for kind in kinds):
            raise BenchmarkError("--kinds: captions are scored by `s3d benchmark run scan2cap` alone")
        for name, place in places.items():
            if place.truth is None:
                raise BenchmarkError(f"{name} has no truth.json that questions could be made of")
            truth = load_truth(place.truth)
            scene = load_scene(place.run)
            needs_frames = any(FAMILY_OF[kind] == "vsti" for kind in kinds)
            shown = shown_frames(truth, stamps_ns=view_stamps(place.run)) if needs_frames else ()
            nameable = _shown_always(place, config.fewest_frames) if needs_frames and config.fewest_frames else None
            made = make_questions(truth, config.seed, config.per_kind, kinds=kinds, shown=shown, nameable=nameable)
            for q in made:
                self._questions[f"{name}/{q.id}"] = name, q
            iou = box_ious([o.box for o in scene.objects], [t.box for t in truth.objects])
            self._overlaps[name] = BoxOverlap(
                tuple(o.id for o in scene.objects), tuple(t.id for t in truth.objects), iou
            )
        if not self._questions:
            raise BenchmarkError("no question of these kinds can be made about these scenes")
        self.items = [
            Item(i, name, q.type, FAMILY_OF[q.type] == "grounding") for i, (name, q) in self._questions.items()
        ]

    def told(self, item: Item) -> str:
        """Return all of a question, its key too."""
        return repr(self._questions[item.id][1])

    def question(self, item: Item, scene: Scene) -> Question | None:
        """Put a question."""
        return question_of(asked_row(self._questions[item.id][1]))

    def more(self, item: Item, answer: Answer, scene: Scene) -> Row:
        """Return nothing: IDs of the map are enough."""
        return {}

    def score(self, rows: Sequence[Row], items: Sequence[Item]) -> Row:
        """Score answers to these items."""
        wanted = [item.id for item in items]
        given = {row["id"]: row for row in rows}
        scored: list[Row] = []
        for name, overlap in self._overlaps.items():
            ids = [i for i in wanted if self._questions[i][0] == name]
            key = [key_row(self._questions[i][1]) | {"id": i} for i in ids]
            scored += score(key, [given[i] for i in ids if i in given], overlap)["rows"]
        return self._result(scored, {i for i in wanted if i not in given})

    def baselines(self) -> Mapping[str, Row]:
        """Return guessing at random, and always the best single answer of each kind."""
        places: dict[str, list[ScoredQuestion]] = defaultdict(list)
        for name, q in self._questions.values():
            places[name].append(q)
        guesses = {"random": at_random(places, self._config.seed), "most frequent": most_frequent(places)}
        return {name: self._result(found["rows"], set()) for name, found in guesses.items()}

    def _result(self, rows: Sequence[Row], missing: set[str]) -> Row:
        metrics, count, left_out = _metrics(rows, [q.type for _, q in self._questions.values()])
        scenes = [self._questions[row["id"]][0] for row in rows]
        made = figures(metrics, count, scenes, self._settings.bootstrap)
        unread = [row["id"] for row in rows if row["unanswered"] and row["id"] not in missing]
        bootstrap = self._settings.bootstrap
        return {
            "benchmark": self.title,
            "normalisation": "s3d",
            "rules": _RULES,
            "metrics": {
                name: {
                    "value": _rounded(f.value), "low": _rounded(f.low), "high": _rounded(f.high), "count": f.count,
                } for name, f in made.items()
            },
            "not_computed": left_out,
            "questions": len(self._questions),
            "scored": len(rows),
            "answered_only": False,
            "unreadable": {"count": len(unread), "ids": unread[:MOST_LISTED]},
            "missing": {"count": len(missing), "ids": sorted(missing)[:MOST_LISTED]},
            **{name: {"count": 0, "ids": []} for name in ("unexpected", "doubled", "conflicting")},
            "bootstrap": {
                "samples": bootstrap.samples, "seed": bootstrap.seed, "confidence": bootstrap.confidence,
                "by": bootstrap.by,
            },
            "worst": self._worst(rows, self._settings.worst),
        }  # fmt: skip

    def _worst(self, rows: Sequence[Row], most: int) -> list[Row]:
        """Return the answers with the fewest points, of each kind in turn; then those that were not readable."""
        by_kind: dict[tuple[bool, str], list[Row]] = defaultdict(list)
        for row in rows:
            if row["points"] < 1:
                by_kind[bool(row["unanswered"]), row["type"]].append(row)
        turn = [
            (unanswered, place, row["points"], row)
            for (unanswered, _), some in by_kind.items()
            for place, row in enumerate(sorted(some, key=lambda r: (r["points"], r["id"])))
        ]
        return [
            {
                "id": row["id"],
                "scene": self._questions[row["id"]][0],
                "question": self._questions[row["id"]][1].question,
                "said": row["answer"] if row["unanswered"] else row["said"],
                "right": row["right"],
                "points": round(float(row["points"]), 4),
            }
            for *_, row in sorted(turn, key=lambda t: t[:3])[:most]
        ]


def _shown_always(place: Place, fewest: int) -> list[int]:
    """Return the indices, by time, of the view frames that a prompt of so few still shows."""
    scene = place.scene(pictures=False)
    order = least_telling_first(scene.views, Numbers().of(scene))
    return sorted(order[max(len(order) - fewest, 0) :])


def _metrics(rows: Sequence[Row], all_kinds: Sequence[str]) -> tuple[dict[str, Metric], dict[str, int], dict[str, str]]:
    """Return the mean of the families, each as the mean of its tasks, each kind, and each sort of wording; what is
    left out, and why.

    The three levels of direction are one task, as are the three relative positions.
    """
    of = np.array([row["type"] for row in rows])
    points = 100 * np.array([row["points"] for row in rows], dtype=np.float64)
    kinds = {kind: mean_metric(points, of == kind) for kind in FAMILY_OF if (of == kind).any()}
    count = {kind: int((of == kind).sum()) for kind in kinds}
    families: dict[str, Metric] = {}
    left_out: dict[str, str] = {}
    for family in FAMILIES:
        asked = {kind for kind in all_kinds if FAMILY_OF[kind] == family}
        there = [kind for kind in kinds if FAMILY_OF[kind] == family]
        if there:
            tasks: dict[str, list[Metric]] = defaultdict(list)
            for kind in there:
                tasks[_task(kind)].append(kinds[kind])
            families[family] = mean_of_metrics([mean_of_metrics(parts) for parts in tasks.values()])
            count[family] = sum(count[kind] for kind in there)
        elif asked:
            left_out[family] = WITHOUT_IDS
    said = np.array([row["wording"] for row in rows])
    wordings = {words: mean_metric(points, said == w) for w, words in _WORDINGS.items() if (said == w).any()}
    count |= {_WORDINGS[w]: int((said == w).sum()) for w in _WORDINGS if _WORDINGS[w] in wordings}
    out = {**families, **kinds, **wordings}
    if left_out:
        left_out["mean of the families"] = "not all of them were asked"
    elif len(families) > 1:
        out = {"mean of the families": mean_of_metrics(list(families.values())), **out}
    return out, count, left_out


def _task(kind: str) -> str:
    whole = ("object_rel_direction", "obj_obj_relative_pos")
    return next((task for task in whole if kind.startswith(task)), kind)


def _rounded(value: float) -> float | None:
    return None if not np.isfinite(value) else float(np.round(value, 6))
