"""``s3d benchmark score``: predictions and official annotations in, figures with intervals out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3d_ros.benchmarks import annotations as read
from s3d_ros.benchmarks.annotations_grounding import read_multi3drefer, read_scanrefer
from s3d_ros.benchmarks.bootstrap import figures
from s3d_ros.benchmarks.cleaning import Normalisation
from s3d_ros.benchmarks.files import BenchmarkError, read_json
from s3d_ros.benchmarks.grounding import score_multi3drefer, score_scanrefer
from s3d_ros.benchmarks.openeqa import score_openeqa
from s3d_ros.benchmarks.predictions import MOST_LISTED, Matched, Prediction, match, read_predictions
from s3d_ros.benchmarks.qa import score_scanqa, score_sqa3d
from s3d_ros.benchmarks.scan2cap import score_scan2cap
from s3d_ros.benchmarks.scored import Progress, Scored, ScoreSettings
from s3d_ros.benchmarks.spatial import score_vsi, score_vsti

_THREE = (Normalisation.official, Normalisation.gpt4scene, Normalisation.leo)
_ONE = (Normalisation.official,)


@dataclass(frozen=True)
class Benchmark:
    """How one benchmark is read and scored. made_id: the id of a prediction that names its scene and object instead."""

    title: str
    read: Callable[[Sequence[Path], ScoreSettings], Sequence[Any]]
    score: Callable[[Any, Sequence[Prediction | None], ScoreSettings], Scored]
    presets: tuple[Normalisation, ...]
    made_id: Callable[[Mapping[str, Any]], str | None] = lambda row: None


def _joined(*keys: tuple[str, ...]) -> Callable[[Mapping[str, Any]], str | None]:
    """Return a function that joins one value of each group of keys by "|", or gives None when a group has none."""

    def made(row: Mapping[str, Any]) -> str | None:
        parts = [next((str(row[key]) for key in group if row.get(key) is not None), None) for group in keys]
        return None if None in parts else "|".join(p for p in parts if p is not None)

    return made


def _single(reader: Callable[[Path], Sequence[Any]]) -> Callable[[Sequence[Path], ScoreSettings], Sequence[Any]]:
    def read_one(paths: Sequence[Path], settings: ScoreSettings) -> Sequence[Any]:
        if len(paths) != 1:
            raise BenchmarkError(f"one file of annotations is enough, {len(paths)} were given")
        return reader(paths[0])

    return read_one


def _read_sqa3d(paths: Sequence[Path], settings: ScoreSettings) -> Sequence[Any]:
    if len(paths) == 1:
        return read.read_sqa3d(paths[0])
    by_key = {key: path for path in paths for key in ("questions", "annotations") if key in read_json(path)}
    if len(paths) != 2 or len(by_key) != 2:
        raise BenchmarkError("SQA3D needs two files of annotations: that of the questions and that of the answers")
    return read.read_sqa3d(by_key["annotations"], by_key["questions"])


def _read_scanrefer(paths: Sequence[Path], settings: ScoreSettings) -> Sequence[Any]:
    return _single(lambda path: read_scanrefer(path, settings.labels))(paths, settings)


_SCENE, _OBJECT = ("scene_id", "scene"), ("object_id", "gt_id", "obj_id")
BENCHMARKS: dict[str, Benchmark] = {
    "scanqa": Benchmark("ScanQA", _single(read.read_scanqa), score_scanqa, _THREE),
    "sqa3d": Benchmark("SQA3D", _read_sqa3d, score_sqa3d, _THREE),
    "scan2cap": Benchmark("Scan2Cap", _single(read.read_scan2cap), score_scan2cap, _THREE, _joined(_SCENE, _OBJECT)),
    "scanrefer": Benchmark("ScanRefer", _read_scanrefer, score_scanrefer, _ONE, _joined(_SCENE, _OBJECT, ("ann_id",))),
    "multi3drefer": Benchmark(
        "Multi3DRefer", _single(read_multi3drefer), score_multi3drefer, _THREE[:2], _joined(_SCENE, ("ann_id",))
    ),
    "vsi": Benchmark("VSI-Bench", _single(read.read_spatial), score_vsi, (*_ONE, Normalisation.s3d)),
    "vsti": Benchmark("VSTI-Bench", _single(read.read_spatial), score_vsti, (*_ONE, Normalisation.s3d)),
    "openeqa": Benchmark("OpenEQA", _single(read.read_openeqa), score_openeqa, _ONE),
}


def find_benchmark(name: str) -> Benchmark:
    """Return a benchmark by its name, however it is written. Raises BenchmarkError that names all of them."""
    plain = name.lower().replace("-", "").replace("_", "").removesuffix("bench")
    if plain not in BENCHMARKS:
        raise BenchmarkError(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    return BENCHMARKS[plain]


def score_benchmark(
    name: str,
    predictions: Path,
    annotations: Sequence[Path],
    settings: ScoreSettings | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score a file of predictions; returns what ``--out`` writes (docs/benchmarks.md). Raises BenchmarkError."""
    settings = settings or ScoreSettings()
    benchmark = find_benchmark(name)
    if settings.normalisation not in benchmark.presets:
        raise BenchmarkError(
            f"{benchmark.title} has no preset {settings.normalisation.value!r}; it has "
            + ", ".join(p.value for p in benchmark.presets)
        )
    items = list(benchmark.read(annotations, settings))
    matched = match([item.id for item in items], read_predictions(predictions, benchmark.made_id))
    asked, given = list(items), list(matched.predictions)
    if settings.answered_only:
        asked = [item for item, p in zip(items, given, strict=True) if p is not None]
        given = [p for p in given if p is not None]
    if progress is not None and benchmark.score is score_openeqa:
        scored = score_openeqa(asked, given, settings, progress)
    else:
        scored = benchmark.score(asked, given, settings)
    return _result(benchmark, name, asked, given, matched, scored, settings, len(items))


def _result(
    benchmark: Benchmark,
    name: str,
    items: Sequence[Any],
    given: Sequence[Prediction | None],
    matched: Matched,
    scored: Scored,
    settings: ScoreSettings,
    all_items: int,
) -> dict[str, Any]:
    made = figures(scored.metrics, scored.count, [item.scene for item in items], settings.bootstrap)
    unreadable = [item.id for item, bad in zip(items, scored.unreadable, strict=True) if bad]
    return {
        "benchmark": benchmark.title,
        "normalisation": settings.normalisation.value,
        "rules": dict(scored.rules),
        "metrics": {
            key: {
                "value": _rounded(figure.value),
                "low": _rounded(figure.low),
                "high": _rounded(figure.high),
                "count": figure.count,
            }
            for key, figure in made.items()
        },
        "not_computed": dict(scored.not_computed),
        "questions": all_items,
        "scored": len(items),
        "answered_only": settings.answered_only,
        "unreadable": {"count": len(unreadable), "ids": unreadable[:MOST_LISTED]},
        **matched.counts(),
        **scored.details,
        "bootstrap": {
            "samples": settings.bootstrap.samples,
            "seed": settings.bootstrap.seed,
            "confidence": settings.bootstrap.confidence,
            "by": settings.bootstrap.by,
        },
        "worst": _worst(items, given, scored, settings.worst),
    }


def _worst(items: Sequence[Any], given: Sequence[Prediction | None], scored: Scored, most: int) -> list[dict[str, Any]]:
    """Return the answers with the fewest points that were given and read; then those that could not be read."""
    answered = [i for i, p in enumerate(given) if p is not None and scored.points[i] < 1]
    order = sorted(answered, key=lambda i: (bool(scored.unreadable[i]), float(scored.points[i]), items[i].id))
    return [
        {
            "id": items[i].id,
            "scene": items[i].scene,
            "question": getattr(items[i], "question", "") or getattr(items[i], "description", ""),
            "said": scored.said[i],
            "right": scored.right[i],
            "points": round(float(scored.points[i]), 4),
        }
        for i in order[:most]
    ]


def _rounded(value: float) -> float | None:
    return None if not math.isfinite(value) else float(np.round(value, 6))
