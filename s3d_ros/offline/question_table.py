"""What guessing and the geometric answerer get on generated questions, over many places: is the set sound?

    python -m s3d_ros.offline.question_table LAYOUTS.txt WORK [--runs DIR] [--seed N] [--kinds vsi,vsti]

LAYOUTS.txt names layouts, one a line, relative to it. WORK keeps the truth of a walk through each. The table gives for
each kind guessing at random, the most frequent answer, what the words alone tell (``guessing``), and the geometric
answerer over true maps: all wordings, and without the held-out ones, for which it was never fitted. With --runs also
over the maps that ``DIR/PLACE/run`` holds, asked about their own view frames.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from s3d_ros.answer.geometric import GeometricAnswerer
from s3d_ros.offline.answers import answer_json
from s3d_ros.offline.evaluate import box_ious
from s3d_ros.offline.guessing import Row, at_random, chance, from_words, most_frequent, scored
from s3d_ros.offline.questions import make_questions
from s3d_ros.offline.questions_record import ScoredQuestion, asked_row, key_row, question_of
from s3d_ros.offline.run import load_scene, view_stamps
from s3d_ros.offline.score import BoxOverlap, score, summarise
from s3d_ros.offline.simulate.walked import walked_truth
from s3d_ros.offline.true_scene import true_scene
from s3d_ros.offline.truth import Truth, load_truth, shown_frames
from s3d_ros.types import Intrinsics, Scene, ViewFrame

Result = dict[str, Any]


def question_table(
    truths: dict[str, Truth],
    kinds: Sequence[str] = ("vsi", "vsti", "situated", "grounding"),
    seed: int = 0,
    per_kind: int = 6,
    runs: Path | None = None,
) -> dict[str, Result]:
    """Return summaries (``score.summarise``) by column: random, frequent, words, geometric, and mapped where asked."""
    places = {name: make_questions(t, seed, per_kind, kinds=kinds) for name, t in truths.items()}
    answerer = GeometricAnswerer()

    def over_truth(name: str, questions: Sequence[ScoredQuestion]) -> list[Row]:
        return _answers(answerer, questions, true_scene(truths[name], shown_frames(truths[name])))

    even = chance(places)
    out: dict[str, Result] = {
        "chance": {"kinds": {kind: {"score": odds} for kind, odds in even.items()}, "families": {}},
        "random": at_random(places, seed),
        "frequent": most_frequent(places),
        "words": from_words(places),
        "geometric": scored(places, over_truth),
    }
    out["not held out"] = without_held_out(out["geometric"])
    if runs is not None:
        out["mapped"] = without_held_out(_over_maps(truths, kinds, seed, per_kind, runs, answerer))
    return out


def without_held_out(result: Result) -> Result:
    """Sum up anew what was not asked in held-out words."""
    return summarise([r for r in result["rows"] if r["wording"] != "held_out"])


def show_question_table(columns: dict[str, Result], console: Console | None = None) -> None:
    """Print one row a kind, and one a family."""
    table = Table("kind", "asked", *columns)
    first = columns["random"]
    for part in ("kinds", "families"):
        for name, row in first[part].items():
            if row["count"]:
                found = [c[part].get(name, {}).get("score") for c in columns.values()]
                table.add_row(name, str(row["count"]), *("-" if s is None else f"{s:.1f}" for s in found))
        table.add_section()
    (console or Console()).print(table)


def _over_maps(
    truths: dict[str, Truth], kinds: Sequence[str], seed: int, per_kind: int, runs: Path, answerer: GeometricAnswerer
) -> Result:
    rows = []
    for name, truth in truths.items():
        run = runs / name / "run"
        scene = replace(load_scene(run), views=_poses(run))
        shown = shown_frames(truth, stamps_ns=view_stamps(run))
        questions = make_questions(truth, seed, per_kind, kinds=kinds, shown=shown)
        iou = box_ious([o.box for o in scene.objects], [t.box for t in truth.objects])
        overlap = BoxOverlap(tuple(o.id for o in scene.objects), tuple(t.id for t in truth.objects), iou)
        found = score([key_row(q) for q in questions], _answers(answerer, questions, scene), overlap)
        rows += [row | {"id": f"{name}/{row['id']}"} for row in found["rows"]]
    return summarise(rows)


def _poses(run: Path) -> tuple[ViewFrame, ...]:
    """Return the view frames without their pictures, which geometry does not look at."""
    return tuple(
        ViewFrame(
            int(v["id"]),
            0,
            int(v["stamp_ns"]),
            b"",
            Intrinsics(v["width"], v["height"], *v["intrinsics"]),
            np.array(v["T_map_camera"], dtype=np.float64),
        )
        for v in json.loads((run / "views.json").read_text())
    )


def _answers(answerer: GeometricAnswerer, questions: Sequence[ScoredQuestion], scene: Scene) -> list[Row]:
    return [answer_json(q.id, answerer.answer(question_of(asked_row(q)), scene)) for q in questions]


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description="What guessing gets on generated questions, and what geometry does.")
    parser.add_argument("layouts", type=Path, help="file that names layouts, one a line")
    parser.add_argument("work", type=Path, help="folder for the truth of each place")
    parser.add_argument("--runs", type=Path, help="folder of PLACE/run, maps of recordings with the same seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-kind", type=int, default=6)
    parser.add_argument("--kinds", default="vsi,vsti,situated,grounding")
    options = parser.parse_args()
    truths = {}
    for line in track(options.layouts.read_text().split(), "walking"):
        layout = options.layouts.parent / line
        name = f"{layout.parent.name}-{layout.stem}"
        if not (options.work / name / "truth.json").exists():
            walked_truth([layout], options.work / name, seed=0)
        truths[name] = load_truth(options.work / name)
    columns = question_table(truths, options.kinds.split(","), options.seed, options.per_kind, options.runs)
    show_question_table(columns)
    (options.work / "table.json").write_text(json.dumps(columns, indent=1) + "\n")


if __name__ == "__main__":
    main()
