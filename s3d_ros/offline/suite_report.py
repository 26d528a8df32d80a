"""The rows of a suite of places summed up, and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from s3d_ros.offline.evaluate import show_score
from s3d_ros.offline.score import summarise

# Counts that add up over places
_COUNTS = (
    "truth",
    "well_seen",
    "map",
    "once",
    "missed",
    "duplicated",
    "ghosts",
    "iou25",
    "iou50",
    "labelled_right",
    "found",
)


def total(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum rows up: objects and questions of all places count the same, wherever they are."""
    done = [r for r in rows if "error" not in r]
    objects = {name: sum(r["evaluation"]["objects"][name] for r in done) for name in _COUNTS}
    seen, found = objects["well_seen"], objects["found"]
    ious = [o["iou"] for r in done for o in r["evaluation"]["per_object"]]
    rooms = [r["evaluation"]["room"]["error_share"] for r in done]
    asked = [row | {"id": f"{r['name']}/{row['id']}"} for r in done for row in r["evaluation"]["questions"]["rows"]]
    leaks = [r["not_geometric"] for r in done if r["not_geometric"]]
    return {
        "places": len(rows),
        "failed": {r["name"]: r["error"] for r in rows if "error" in r},
        "objects": objects,
        **{f"{name}_share": round(objects[name] / seen, 4) if seen else None for name in ("once", "iou25", "iou50")},
        "label_share": round(objects["labelled_right"] / found, 4) if found else None,
        "mean_iou": round(float(np.mean(ious)), 4) if ious else None,
        "room_error_share_median": _median([e for e in rooms if e is not None]),
        "pipeline_frames_per_second_median": _median([r["pipeline_frames_per_second"] for r in done]),
        "frames": sum(r["frames"] for r in done),
        "class_agnostic": _class_agnostic([r["evaluation"] for r in done]),
        "questions": {k: v for k, v in summarise(asked).items() if k != "rows"},
        "not_geometric": {
            "asked": sum(x["asked"] for x in leaks),
            "answered": [a for x in leaks for a in x["answered"]],
        },
    }


def _class_agnostic(evaluations: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return means over places of what is measured without labels."""
    found: dict[str, list[float]] = {}
    for e in evaluations:
        for name in ("boxes", "tubes"):
            for at in ("iou25", "iou50") if e[name] else ():
                found.setdefault(f"{name}_ap_{at}", []).append(e[name][at]["ap"])
        for name in ("mean_iou", "f1") if e["frames"] else ():
            found.setdefault(f"frames_{name}", []).append(e["frames"][name])
    known = {name: [v for v in values if v is not None] for name, values in found.items()}
    return {name: round(float(np.mean(v)), 4) if v else None for name, v in known.items()}


def _median(values: Sequence[float]) -> float | None:
    return round(float(np.median(values)), 4) if values else None


def show_suite(result: Mapping[str, Any], console: Console | None = None) -> None:
    """Print a row for each place, then the sums."""
    console = console or Console()
    title = "Shares in %; seen: well-seen objects; area: how far off"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("place", "seen", "once", "IoU50", "ghosts", "label", "area", "score", "leaks"):
        table.add_column(name, no_wrap=True, justify="left" if name == "place" else "right")
    for row in result["rows"]:
        if "error" in row:
            table.add_row(row["name"], "[red]failed")
            continue
        e, leaks = row["evaluation"], row["not_geometric"]
        o, room, asked = e["objects"], e["room"]["error_share"], e["questions"]
        table.add_row(
            row["name"],
            str(o["well_seen"]),
            *(_percent(o[f"{name}_share"]) for name in ("once", "iou50")),
            str(o["ghosts"]),
            _percent(o["label_share"]),
            _percent(room),
            "-" if asked["mean"] is None else f"{asked['mean']:.1f}",
            "-" if leaks is None else str(len(leaks["answered"])),
        )
    t = result["total"]
    table.add_section()
    table.add_row(
        f"all {t['places']}",
        str(t["objects"]["well_seen"]),
        *(_percent(t[f"{name}_share"]) for name in ("once", "iou50")),
        str(t["objects"]["ghosts"]),
        _percent(t["label_share"]),
        _percent(t["room_error_share_median"]),
        "-" if t["questions"]["mean"] is None else f"{t['questions']['mean']:.1f}",
        str(len(t["not_geometric"]["answered"])),
    )
    console.print(table)
    for name, error in t["failed"].items():
        console.print(f"{name} failed: {error}", style="red", markup=False)
    console.print(f"class-agnostic, mean over places: {t['class_agnostic']}")
    show_score(t["questions"], console)
    for question in sorted({a["question"] for a in t["not_geometric"]["answered"]}):
        console.print(f"not to be answered, but was: {question}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
