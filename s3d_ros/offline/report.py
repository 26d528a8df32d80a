"""``report.html``: one self-contained page about a run, for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from s3d_ros.drops import DROPS
from s3d_ros.geometry import transform
from s3d_ros.offline.report_files import read_json
from s3d_ros.offline.report_map import draw_bev, read_bev
from s3d_ros.offline.report_views import read_views, thumbnail
from s3d_ros.offline.run import load_scene
from s3d_ros.offline.timeline import Timeline, read_timeline
from s3d_ros.types import Bev, Scene, SceneObject


def write_report(run: Path) -> None:
    """Write ``report.html`` from the other files of a run. What the run lacks is left out. Raises RunError."""
    scene = load_scene(run)
    bev = read_bev(run)
    views = read_views(run)
    hues = object_hues(scene.objects)
    page = _environment().get_template("report.html.j2")
    stats = read_json(run / "report.json") or {}
    first_ns = int(read_json(run / "objects.json").get("first_stamp_ns", 0))
    seen = read_timeline(run / "tracks.jsonl", scene.merged, {v.get("stamp_ns", -1) for v in views})
    html = page.render(
        name=stats.get("recording") or run.resolve().name,
        scene=scene,
        stats=stats,
        figures=_figures(scene, stats, seen),
        bev=None if bev is None else draw_bev(bev, scene, hues),
        objects=[_row(o, scene, bev, hues, first_ns, thumbnail(o, views, seen.boxes)) for o in scene.objects],
        views=[{k: v for k, v in view.items() if k != "image"} for view in views],
        answers=_answers(run, scene),
        timeline=_lives(scene, seen, hues, first_ns),
        stages=_stages(stats),
        drops=[(why, count, DROPS.get(why, "")) for why, count in _by_count(stats.get("drops"))],
        all_figures=list(_flat(stats)),
    )
    (run / "report.html").write_text(html, encoding="utf-8")


def object_hues(objects: Sequence[SceneObject]) -> dict[int, int]:
    """Return a hue in degrees for each ID: one for each label, -1 for unlabelled things among labelled ones."""
    labels = sorted({o.label for o in objects if o.label})
    if not labels:
        return {o.id: _hue(i) for i, o in enumerate(objects)}
    return {o.id: _hue(labels.index(o.label)) if o.label else -1 for o in objects}


def _hue(number: int) -> int:
    return round(205 + 137.508 * number) % 360  # the golden angle: far from all that came before


# --- what is shown ----------------------------------------------------------------------------------------------


def _figures(scene: Scene, stats: Mapping[str, Any], seen: Timeline) -> list[tuple[str, str, str]]:
    """Return (value, unit, caption) of the figures on top of the page."""
    frames, seconds = stats.get("frames", len(seen.frames_s)), stats.get("seconds", seen.duration_s)
    figures = [(str(len(scene.objects)), "", "object" if len(scene.objects) == 1 else "objects")]
    if not math.isnan(scene.floor_area_m2):
        figures.append((f"{scene.floor_area_m2:.1f}", "m²", "floor seen"))
    figures.append((f"{frames}", "", f"frames in {seconds:.0f} s" if seconds else "frames"))
    if "frames_per_second" in stats:
        figures.append((f"{stats['frames_per_second']:.1f}", "/s", "frames mapped"))
    dropped = sum((stats.get("drops") or {}).values())
    figures.append((str(dropped), "", "dropped"))
    if "peak_memory_mb" in stats:
        figures.append((f"{stats['peak_memory_mb'] / 1024:.1f}", "GB", "memory at most"))
    return figures


def _row(
    thing: SceneObject,
    scene: Scene,
    bev: Bev | None,
    hues: Mapping[int, int],
    first_ns: int,
    picture: str | None,
) -> dict[str, Any]:
    """Describe an object for the table."""
    upright = int(np.argmax(np.abs(thing.box.axes @ scene.up)))
    long, short = sorted(np.delete(thing.box.size, upright), reverse=True)
    above = math.nan
    if bev is not None:
        above = float((transform(bev.T_bev_map, thing.box.corners())[:, 2]).min()) - bev.floor_m
    others = [(k, v) for k, v in sorted(thing.label_scores.items(), key=lambda i: -i[1]) if k != thing.label]
    return {
        "id": thing.id,
        "aliases": list(thing.aliases),
        "label": thing.label,
        "hue": hues[thing.id],
        "share": thing.label_confidence,
        "others": [(k, v) for k, v in others if v >= 0.02][:3],
        "confidence": thing.confidence,
        "size": [float(long), float(short), float(thing.box.size[upright])],
        "center": thing.box.center.tolist(),
        "above_m": None if math.isnan(above) else round(above, 2) + 0.0,  # no -0.00
        "first_s": (thing.first_seen_ns - first_ns) / 1e9,
        "last_s": (thing.last_seen_ns - first_ns) / 1e9,
        "observations": thing.observations,
        "picture": picture,
    }


def _answers(run: Path, scene: Scene) -> list[dict[str, Any]]:
    """Read the answers, with the objects that are still on the map."""
    rows = read_json(run / "answers.json") or []
    labels = {o.id: o.label for o in scene.objects}
    for row in rows:
        named = [scene.find(i) for i in row.get("objects", ())]
        row["named"] = [(o.id, labels[o.id]) for o in named if o is not None]
    return rows


def _lives(scene: Scene, seen: Timeline, hues: Mapping[int, int], first_ns: int) -> dict[str, Any] | None:
    """Lay out who was seen when; a row for each object, by first sight. Without tracks: from first to last sight."""
    spans, duration_s = dict(seen.spans), seen.duration_s
    if not spans:
        spans = {
            o.id: [((o.first_seen_ns - first_ns) / 1e9, (o.last_seen_ns - first_ns) / 1e9, o.id)] for o in scene.objects
        }
        duration_s = max((b for life in spans.values() for _, b, _ in life), default=0.0)
    rows = [(o, spans[o.id]) for o in scene.objects if o.id in spans]
    if not rows or duration_s <= 0:
        return None
    step_s = next(
        s for s in (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, math.inf) if duration_s / s <= 12
    )
    return {
        "duration_s": duration_s,
        "exact": bool(seen.spans),
        "merged": any(i != o.id for o, life in rows for _, _, i in life),
        "ticks": [step_s * k for k in range(int(duration_s / step_s) + 1)] if math.isfinite(step_s) else [0],
        "rows": [
            {
                "id": o.id,
                "label": o.label,
                "hue": hues[o.id],
                "spans": [
                    {"left": 100 * a / duration_s, "width": 100 * (min(b, duration_s) - a) / duration_s, "id": i}
                    for a, b, i in life
                ],
            }
            for o, life in sorted(rows, key=lambda row: (row[1][0][0], row[0].id))
        ],
    }


def _stages(stats: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the stages in the order of the work, with bars in percent of the longest p95."""
    stages = stats.get("stages") or {}
    longest = max((s["p95_ms"] for s in stages.values()), default=0.0) or 1.0
    total = sum(s.get("total_s", 0.0) for s in stages.values())
    return [
        {
            "name": name,
            "median_ms": s["median_ms"],
            "p95_ms": s["p95_ms"],
            "calls": s.get("count"),
            "median": 100 * s["median_ms"] / longest,
            "p95": 100 * s["p95_ms"] / longest,
            "share": 100 * s["total_s"] / total if total else None,
        }
        for name, s in stages.items()
    ]


def _by_count(counts: Mapping[str, int] | None) -> list[tuple[str, int]]:
    return sorted((counts or {}).items(), key=lambda item: -item[1])


def _flat(values: Mapping[str, Any], prefix: str = "") -> Any:
    """Yield (dotted key, value) of all figures but the stages' and drops', which have pictures of their own."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            if prefix or key not in ("stages", "drops"):
                yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _environment() -> jinja2.Environment:
    folder = resources.files("s3d_ros.offline") / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,  # labels and questions come from elsewhere
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals["include_raw"] = lambda name: (folder / name).read_text(encoding="utf-8")
    return environment
