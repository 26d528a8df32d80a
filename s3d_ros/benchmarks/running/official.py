"""The official benchmarks as sets of questions for an answerer: how each is put in words, and its answers laid down.

Situations of SQA3D are said in words, as its annotations do. Objects are found in the map by box: the maps have to lie
in the frame of the annotations' boxes, and the objects that an answer names are written down as boxes of the map.
"""

from __future__ import annotations

import random
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from s3d_ros.benchmarks.annotations import CaptionItem, GroundingItem, QaItem, SpatialItem
from s3d_ros.benchmarks.files import BenchmarkError
from s3d_ros.benchmarks.grounding import true_boxes
from s3d_ros.benchmarks.running.items import Item, Row
from s3d_ros.benchmarks.scene_boxes import iou_matrix
from s3d_ros.benchmarks.score import find_benchmark, score_benchmark
from s3d_ros.benchmarks.scored import ScoreSettings
from s3d_ros.offline.questions_record import write_rows
from s3d_ros.types import Answer, OrientedBox, Question, Scene

LEAST_IOU = 0.25  # an object of the map stands for a true one from here on: the lower of Scan2Cap's thresholds
_BEGINNING = re.compile(r"^(?:this|that|it|there) is (?=an? |the )", re.IGNORECASE)
_NOWHERE = {"center": [0.0, 0.0, 0.0], "size": [0.0, 0.0, 0.0], "axes": [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]}
_Asked = QaItem | GroundingItem | CaptionItem | SpatialItem


class OfficialSet:
    """A benchmark by its annotation files. limit: so many questions, drawn with ``seed`` from all; 0: all."""

    def __init__(
        self, name: str, annotations: Sequence[Path], settings: ScoreSettings, limit: int = 0, seed: int = 0
    ) -> None:
        """Read it. Raises BenchmarkError."""
        benchmark = find_benchmark(name)
        if not annotations:
            raise BenchmarkError(f"{benchmark.title} needs its official file: give --annotations FILE")
        self.title, self.name = benchmark.title, name
        self._annotations, self._settings, self._seed = list(annotations), settings, seed
        everything = list(benchmark.read(annotations, settings))
        some = sorted(random.Random(seed).sample(range(len(everything)), limit)) if 0 < limit < len(everything) else []
        self._known: dict[str, _Asked] = {a.id: a for a in ([everything[i] for i in some] or everything)}
        self._is_part = len(self._known) < len(everything)
        self._boxes = None
        captions = [(a.scene, a.object) for a in self._known.values() if isinstance(a, CaptionItem)]
        if captions:
            self._boxes = true_boxes(settings, captions)
        self.items = [
            Item(a.id, a.scene, _kind(a), not isinstance(a, QaItem | SpatialItem)) for a in self._known.values()
        ]

    def only(self, scenes: Sequence[str]) -> None:
        """Keep the questions about these scenes."""
        before = len(self.items)
        self.items = [item for item in self.items if item.scene in set(scenes)]
        self._known = {item.id: self._known[item.id] for item in self.items}
        self._is_part |= len(self.items) < before

    def told(self, item: Item) -> str:
        """Return all of an item, its truth too."""
        return repr(self._known[item.id])

    def question(self, item: Item, scene: Scene) -> Question | None:
        """Put a question. A caption is asked of the map's object that lies where the true one does; None: of none."""
        a = self._known[item.id]
        if isinstance(a, SpatialItem):
            return Question(a.question, a.options)
        if isinstance(a, QaItem):
            return Question(f"{a.situation} {a.question}".strip())
        if isinstance(a, GroundingItem):
            words = _BEGINNING.sub("", a.description.strip().rstrip(".?! "))
            if self.name == "scanrefer":
                return Question(f"Which object is {words}?")
            return Question(f'Are there any objects that match the description "{words}"? If so, which?')
        assert self._boxes is not None
        found = object_at(self._boxes[a.scene][a.object], scene, self._settings.oriented)
        return None if found is None else Question(f"Describe object {found}.")

    def more(self, item: Item, answer: Answer, scene: Scene) -> Row:
        """Return the boxes of what is named; of a caption, of what it was asked about."""
        a = self._known[item.id]
        by_id = {o.id: o.box for o in scene.objects}
        if isinstance(a, GroundingItem) and answer.success:
            return {"boxes": [_plain(by_id[i]) for i in answer.objects if i in by_id]}
        if isinstance(a, CaptionItem) and self._boxes is not None:
            found = object_at(self._boxes[a.scene][a.object], scene, self._settings.oriented)
            return {} if found is None else {"boxes": [_plain(by_id[found])]}
        return {}

    def score(self, rows: Sequence[Row], items: Sequence[Item]) -> Row:
        """Score with the benchmark's own scorer; of a part of the questions, that part alone."""
        wanted = {item.id for item in items}
        return self._scored([self._prediction(row) for row in rows if row["id"] in wanted], len(wanted))

    def baselines(self) -> Mapping[str, Row]:
        """Return *random* and *most frequent*, of answers of the same kind; of grounding a true box at random."""
        rng = random.Random(self._seed)
        known = list(self._known.values())
        if isinstance(known[0], CaptionItem):
            return {}  # a caption without its object's place is nothing, and with it half of the answer
        if isinstance(known[0], GroundingItem):
            boxes = true_boxes(self._settings, [(a.scene, i) for a in known for i in _objects(a)])
            rows = [{"id": a.id, "boxes": [_plain(rng.choice(list(boxes[a.scene].values())))]} for a in known]
            return {"random": self._scored(rows, len(rows))}
        pool: dict[tuple[str, int], list[str]] = defaultdict(list)
        for a in known:
            pool[_guess_kind(a)].append(_right(a))
        frequent = {kind: Counter(answers).most_common(1)[0][0] for kind, answers in pool.items()}
        guesses: dict[str, Callable[[_Asked], str]] = {
            "random": lambda a: rng.choice(_letters(a) or pool[_guess_kind(a)]),
            "most frequent": lambda a: frequent[_guess_kind(a)],
        }
        return {
            name: self._scored([{"id": a.id, "prediction": guess(a)} for a in known], len(known))
            for name, guess in guesses.items()
        }

    def _prediction(self, row: Row) -> Row:
        """Return an answer as the scorers read predictions; one that failed says nothing."""
        out: Row = {"id": row["id"]}
        if isinstance(self._known[row["id"]], CaptionItem):
            out["boxes"] = row.get("boxes") or [_NOWHERE]
        if not row["success"]:
            return {**out, "prediction": "", "success": False}
        number = row["value"] is not None and (isinstance(self._known[row["id"]], SpatialItem) or not row["unit"])
        text = row["choice"] or (f"{row['value']:g}" if number else row["answer"])
        out |= {"prediction": text, "choice": row["choice"], "value": row["value"]}
        return {**({"boxes": row["boxes"]} if "boxes" in row else {}), **out}

    def _scored(self, rows: Sequence[Row], count: int) -> Row:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "predictions.json"
            write_rows(rows, path)
            settings = replace(self._settings, answered_only=self._is_part)
            result = score_benchmark(self.name, path, self._annotations, settings)
        missing = count - len(rows)
        return {**result, "asked": count, **({"questions": count} if self._is_part and not missing else {})}


def object_at(box: OrientedBox, scene: Scene, oriented: bool = False) -> int | None:
    """Return the ID of the map's object whose box meets a true one most, None below an IoU of 0.25."""
    if not scene.objects:
        return None
    iou = iou_matrix([box], [o.box for o in scene.objects], oriented)[0]
    return scene.objects[int(iou.argmax())].id if iou.max() >= LEAST_IOU else None


def _kind(a: _Asked) -> str:
    if isinstance(a, SpatialItem):
        return a.type
    return a.label if isinstance(a, CaptionItem) else a.kind


def _guess_kind(a: _Asked) -> tuple[str, int]:
    return _kind(a), len(a.options) if isinstance(a, SpatialItem) else 0


def _right(a: _Asked) -> str:
    return a.truth if isinstance(a, SpatialItem) else a.answers[0] if isinstance(a, QaItem) else ""


def _letters(a: _Asked) -> list[str]:
    return [option[:1] for option in a.options] if isinstance(a, SpatialItem) else []


def _objects(a: _Asked) -> Sequence[int]:
    return a.objects if isinstance(a, GroundingItem) else ()


def _plain(box: OrientedBox) -> dict[str, Any]:
    return {"center": box.center.tolist(), "size": box.size.tolist(), "axes": box.axes.tolist()}
