"""The invented files in the benchmarks' own formats, and scoring them as the command does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from s3d_ros.benchmarks.bootstrap import BootstrapConfig
from s3d_ros.benchmarks.cleaning import Normalisation
from s3d_ros.benchmarks.score import score_benchmark
from s3d_ros.benchmarks.scored import ScoreSettings

DATA = Path(__file__).parent / "data" / "benchmarks"
FILES = {
    "scanqa": ("scanqa_predictions.json", "ScanQA_v1.0_val.json"),
    "sqa3d": ("sqa3d_predictions.jsonl", "v1_balanced_sqa_annotations_val_scannetv2.json"),
    "scan2cap": ("scan2cap_predictions.jsonl", "ScanRefer_filtered_val.json"),
    "scanrefer": ("scanrefer_predictions.json", "ScanRefer_filtered_val.json"),
    "multi3drefer": ("multi3drefer_predictions.json", "multi3drefer_val.json"),
    "vsi": ("vsi_predictions.json", "vsibench_test.jsonl"),
    "vsti": ("vsti_predictions.json", "vstibench_test.json"),
    "openeqa": ("openeqa_predictions.json", "open-eqa-v0.json"),
}
BOXES = {"boxes": DATA / "true_boxes.json", "proposals": DATA / "proposals.json"}
LABELS = DATA / "scannetv2-labels.combined.tsv"


def score_small(name: str, normalisation: str = "official", samples: int = 0, **settings: Any) -> dict[str, Any]:
    """Score the small files; predictions and annotations may be other paths."""
    predictions, annotations = FILES[name]
    where = settings.pop("predictions", DATA / predictions), settings.pop("annotations", DATA / annotations)
    if name in ("scan2cap", "scanrefer", "multi3drefer"):
        settings = {**BOXES, **settings}
    made = ScoreSettings(
        normalisation=Normalisation(normalisation), bootstrap=BootstrapConfig(samples=samples), **settings
    )
    return score_benchmark(name, where[0], [where[1]], made)


def values(result: dict[str, Any]) -> dict[str, float]:
    return {name: figure["value"] for name, figure in result["metrics"].items()}


def write(path: Path, data: Any) -> Path:
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path
