"""The figures of an evaluation as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

# How the runs that are compared are called
NAMES = {
    "oracle": "oracle",
    "conceptgraphs": "3D overlap",
    "bytetrack": "2D boxes",
}


def show_evaluation(result: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the figures as tables."""
    console = console or Console()
    o = result["objects"]
    table = Table("objects", "", title=f"{result['run']} against {result['truth']}", title_justify="left")
    seen = o["well_seen"]
    table.add_row("well seen, of all there are", f"{seen} of {o['truth']}")
    for name, key in (("in the map once", "once"), ("box IoU >= 0.25", "iou25"), ("box IoU >= 0.5", "iou50")):
        table.add_row(name, f"{o[key]} of {seen}  {_percent(o[key + '_share'])}")
    table.add_row(
        "labelled right, of those found", f"{o['labelled_right']} of {o['found']}  {_percent(o['label_share'])}"
    )
    table.add_row("missed / duplicated / ghosts", f"{o['missed']} / {o['duplicated']} / {o['ghosts']}")
    table.add_row("mean box IoU", str(o["mean_iou"]))
    table.add_row("median error of centre / size", f"{o['center_error_m']} m / {o['size_error_m']} m")
    for name in ("boxes", "tubes"):
        if result[name]:
            at = result[name]
            table.add_row(f"class-agnostic AP25 / AP50, {name}", f"{at['iou25']['ap']} / {at['iou50']['ap']}")
    room = result["room"]
    table.add_row("floor area", f"{room['floor_area_m2']} m2, really {room['truth_m2']} m2")
    console.print(table)
    if result["calibration"]["table"]:
        show_calibration(result["calibration"], console)
    show_comparison({"this map": result, **(result["yardsticks"] or {})}, console)
    if result["questions"]:
        show_score(result["questions"], console)


def show_comparison(runs: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Print a column for each run: what ``comparison`` gives of it, or the same of many places together."""
    rows = {name: run if "given_idf1" in run else comparison(run) for name, run in runs.items()}
    about = "3D overlap: as ConceptGraphs does it; 2D boxes: as ByteTrack" if len(rows) > 1 else None
    table = Table(
        title="Identities and map", title_justify="left", caption=about, box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("", no_wrap=True)
    for name in rows:
        table.add_column(NAMES.get(name, name), justify="right")
    for key, words in _ROWS.items():
        values = [row.get(key) for row in rows.values()]
        if any(v is not None for v in values):
            table.add_row(words, *(_number(v) for v in values))
        if key in _SECTIONS:
            table.add_section()
    console.print(table)


_ROWS = {
    "given_idf1": "given instances: IDF1, as published",
    "given_idf1_resolved": "   aliases resolved",
    "given_idp": "   IDP",
    "given_idr": "   IDR",
    "given_hota": "   HOTA",
    "given_deta": "   DetA",
    "given_assa": "   AssA",
    "given_mota": "   MOTA",
    "given_switches": "   switches",
    "given_fragmentations": "   fragmentations",
    "given_switches_per_object_minute": "   switches per object and minute",
    "given_switches_per_object_minute_resolved": "   aliases resolved",
    "given_switches_per_object_minute_seen_resolved": "   and minute that it was in sight",
    "rendered_idf1": "map in every frame: IDF1, as published",
    "rendered_idf1_resolved": "   aliases resolved",
    "rendered_hota": "   HOTA",
    "rendered_deta": "   DetA",
    "rendered_assa": "   AssA",
    "rendered_mota": "   MOTA",
    "rendered_switches_per_object_minute": "   switches per object and minute",
    "rendered_switches_per_object_minute_resolved": "   aliases resolved",
    "per_true": "map objects per true object found",
    "missed": "missed",
    "ghosts": "ghosts",
    "ghost_share": "   share of the map",
    "box_ap25": "box AP25",
    "box_ap50": "box AP50",
    "point_ap25": "points on the true surface: AP25",
    "point_ap50": "   AP50",
    "point_ap": "   AP",
    "class_ap25": "   by class: AP25",
    "class_ap50": "   AP50",
    "class_ap": "   AP",
    "label_share": "labels right, of those found",
    "ece": "   expected calibration error",
}
_SECTIONS = (
    "given_switches_per_object_minute_seen_resolved",
    "rendered_switches_per_object_minute_resolved",
    "ghost_share",
    "box_ap50",
    "class_ap",
)


def comparison(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures that runs are compared by, by name; None for what was not measured."""
    out: dict[str, Any] = {}
    for way, ways in run["identity"].items():
        for key in _IDENTITY:
            out[f"{way}_{key}"] = ways["raw"][key] if ways else None
            out[f"{way}_{key}_resolved"] = ways["resolved"][key] if ways else None
    o, points = run["objects"], run["points"]
    for key in ("per_true", "missed", "ghosts", "ghost_share", "label_share"):
        out[key] = o[key]
    for key in ("ap25", "ap50"):
        out[f"box_{key}"] = run["boxes"][f"iou{key[2:]}"]["ap"]
    for key in ("ap25", "ap50", "ap"):
        out[f"point_{key}"] = points["agnostic"][key] if points else None
        out[f"class_{key}"] = points["labelled"][key] if points else None
    return out | {"ece": run["calibration"]["ece"]}


_IDENTITY = (
    "idf1", "idp", "idr", "hota", "deta", "assa", "mota", "switches", "fragmentations",
    "switches_per_object_minute", "switches_per_object_minute_seen",
)  # fmt: skip


def show_calibration(result: Mapping[str, Any], console: Console) -> None:
    """Print how often labels of each confidence are right."""
    table = Table("label's confidence", "objects", "mean", "right", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for row in result["table"]:
        numbers = (f"{row['confidence']:.2f}", f"{row['right']:.2f}")
        table.add_row(f"{row['from']:.1f} to {row['to']:.1f}", str(row["count"]), *numbers)
    console.print(table)


def show_score(scored: Mapping[str, Any], console: Console) -> None:
    """Print the score of answers by kind, level and wording."""
    table = Table("questions", "score", "asked", "unanswered")
    for name, row in scored["kinds"].items():
        table.add_row(name, _figure(row["score"]), str(row["count"]), str(row["unanswered"]))
    if len(scored.get("families", {})) > 1:
        table.add_section()
        for name, row in scored["families"].items():
            table.add_row(name, _figure(row["score"]), str(row["count"]), str(row["unanswered"]))
    table.add_row("mean of the kinds", _figure(scored["mean"]), str(scored["count"]), str(scored["unanswered"]))
    table.add_section()
    for name, row in (*scored["levels"].items(), *((f"worded: {k}", v) for k, v in scored["wordings"].items())):
        table.add_row(name, _figure(row["score"]), str(row["count"]), str(row["unanswered"]))
    console.print(table)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"({100 * share:.1f} %)"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"
