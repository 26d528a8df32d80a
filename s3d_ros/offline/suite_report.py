"""The rows of a suite of places summed up, and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from s3d_ros.offline.calibration import calibration
from s3d_ros.offline.evaluate_tables import NAMES, comparison, show_comparison, show_score
from s3d_ros.offline.mot import combined, figures
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
        "compared": compared([r["evaluation"] for r in done]),
        "class_agnostic": _class_agnostic([r["evaluation"] for r in done]),
        "questions": {k: v for k, v in summarise(asked).items() if k != "rows"},
        "not_geometric": {
            "asked": sum(x["asked"] for x in leaks),
            "answered": [a for x in leaks for a in x["answered"]],
        },
    }


def compared(evaluations: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return {"this map" or a yardstick: what they are compared by} over all places.

    Identities are TrackEval's over all sequences together, counts and shares those of all objects; APs are means over
    places.
    """
    known = [e for e in evaluations if "identity" in e]
    names = [name for name in NAMES if known and all((e["yardsticks"] or {}).get(name) for e in known)]
    runs = {"this map": known, **{name: [e["yardsticks"][name] for e in known] for name in names}}
    return {name: _together(r) for name, r in runs.items() if r}


def _together(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    rows = [comparison(r) for r in runs]
    for way in ("given", "rendered"):
        there = [r["identity"][way] for r in runs if r["identity"][way]]
        for name, ending in (("raw", ""), ("resolved", "_resolved")):
            if there:
                all_of_it = figures(combined([t[name]["counts"] for t in there]))
                out |= {f"{way}_{key}{ending}": value for key, value in all_of_it.items()}
    for key in rows[0]:
        values = [r[key] for r in rows if r[key] is not None]
        if "_ap" in key or key == "given_idf1":
            out.setdefault(key, round(float(np.mean(values)), 4) if values else None)
    objects = {key: sum(r["objects"][key] for r in runs) for key in (*_COUNTS, "surplus")}
    found, ghosts = objects["found"], objects["ghosts"]
    out |= {
        "missed": objects["missed"],
        "ghosts": ghosts,
        "per_true": round((found + objects["surplus"]) / found, 4) if found else None,
        "ghost_share": round(ghosts / objects["map"], 4) if objects["map"] else None,
        "label_share": round(objects["labelled_right"] / found, 4) if found else None,
    }
    said = [(c, bool(right)) for r in runs for c, right in r["calibration"]["said"]]
    return out | {"ece": calibration(said)["ece"]}


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
    title = "Shares in %; seen: well-seen objects; IDF1 over given instances, aliases resolved; area: how far off"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    compared = list(result["total"]["compared"])
    identities = [f"IDF1 {_SHORT[name]}" for name in compared]
    for name in ("place", "seen", "once", "IoU50", "ghosts", "label", *identities, "area", "score", "leaks"):
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
            *(_percent(_idf1(e, name)) for name in compared),
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
        *(_percent(row.get("given_idf1_resolved")) for row in t["compared"].values()),
        _percent(t["room_error_share_median"]),
        "-" if t["questions"]["mean"] is None else f"{t['questions']['mean']:.1f}",
        str(len(t["not_geometric"]["answered"])),
    )
    console.print(table)
    if t["compared"]:
        show_comparison(t["compared"], console)
    for name, error in t["failed"].items():
        console.print(f"{name} failed: {error}", style="red", markup=False)
    console.print(f"class-agnostic, mean over places: {t['class_agnostic']}")
    show_score(t["questions"], console)
    for question in sorted({a["question"] for a in t["not_geometric"]["answered"]}):
        console.print(f"not to be answered, but was: {question}")


_SHORT = {"this map": "map", "oracle": "oracle", "conceptgraphs": "3D", "bytetrack": "2D"}


def _idf1(evaluation: Mapping[str, Any], name: str) -> float | None:
    run = evaluation if name == "this map" else (evaluation["yardsticks"] or {}).get(name)
    given = run["identity"]["given"] if run else None
    return given["resolved"]["idf1"] if given else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
