"""``report.html``: one self-contained page about a run, for people."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from s3d_ros.drops import DROPS
from s3d_ros.geometry import invert, project, transform
from s3d_ros.markers import place_on_bev, plate_size, text_height_px
from s3d_ros.offline.run import RunError, load_scene
from s3d_ros.offline.timeline import Timeline, read_timeline
from s3d_ros.types import U8, Bev, Intrinsics, Scene, SceneObject

_BEV_WIDTH = 1000  # units of the drawing
_BEV_LARGEST_SCALE = 12.0
_BEV_MARGIN_M = 0.25
_VIEW_WIDTH = 640
_THUMBNAIL = (88, 64)


def write_report(run: Path) -> None:
    """Write ``report.html`` from the other files of a run. What the run lacks is left out. Raises RunError."""
    scene = load_scene(run)
    bev = _read_bev(run)
    views = _views(run)
    hues = object_hues(scene.objects)
    page = _environment().get_template("report.html.j2")
    stats = _read_json(run / "report.json") or {}
    first_ns = int(_read_json(run / "objects.json").get("first_stamp_ns", 0))
    seen = read_timeline(run / "tracks.jsonl", scene.merged)
    html = page.render(
        name=stats.get("recording") or run.resolve().name,
        scene=scene,
        stats=stats,
        figures=_figures(scene, stats, seen),
        bev=None if bev is None else _draw_bev(bev, scene, hues),
        objects=[_row(o, scene, bev, views, hues, first_ns) for o in scene.objects],
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


# --- what was read ----------------------------------------------------------------------------------------------


def _read_json(path: Path) -> Any:
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error})") from error


def _read_bev(run: Path) -> Bev | None:
    """Read the bird's-eye view, cut to what is known; None when there is none."""
    data = _read_json(run / "bev.json")
    image = cv2.imread(str(run / "bev.png")) if data else None
    if data is None or image is None or not image.any():
        return None
    color, edge_m = image[..., ::-1], float(data["resolution_m"])
    margin = math.ceil(_BEV_MARGIN_M / edge_m)
    v, u = np.nonzero(color.max(axis=2))
    top, bottom = max(v.min() - margin, 0), min(v.max() + 1 + margin, color.shape[0])
    left, right = max(u.min() - margin, 0), min(u.max() + 1 + margin, color.shape[1])
    color = np.ascontiguousarray(color[top:bottom, left:right])
    x, y = data["origin"]
    return Bev(
        color=color,
        height_m=np.full(color.shape[:2], np.nan, np.float32),
        occupancy=np.full(color.shape[:2], -1, np.int8),
        resolution_m=edge_m,
        origin_xy=(x + left * edge_m, y + (image.shape[0] - bottom) * edge_m),
        T_bev_map=np.array(data.get("T_bev_map", np.eye(4)), dtype=np.float64),
        floor_m=float(data.get("floor_m", math.nan)),
        ceiling_cut_m=math.inf,
    )


def _views(run: Path) -> list[dict[str, Any]]:
    """Read the marked view frames, by time."""
    views = []
    for view in sorted(_read_json(run / "views.json") or [], key=lambda v: v["time_s"]):
        image = cv2.imread(str(run / view["file"]))
        if image is None:
            continue
        scale = min(1.0, _VIEW_WIDTH / image.shape[1])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
        ids = sorted(m["id"] for m in view["markers"])
        views.append({**view, "image": image, "uri": _uri(small, ".jpg", 82), "ids": ids})
    return views


# --- what is shown ----------------------------------------------------------------------------------------------


def _figures(scene: Scene, stats: Mapping[str, Any], seen: Timeline) -> list[tuple[str, str, str]]:
    """Return (value, unit, caption) of the figures on top of the page."""
    frames = stats.get("frames", len(seen.frames_s))
    figures = [(str(len(scene.objects)), "", "object" if len(scene.objects) == 1 else "objects")]
    if not math.isnan(scene.floor_area_m2):
        figures.append((f"{scene.floor_area_m2:.1f}", "m²", "floor seen"))
    figures.append((f"{frames}", "", f"frames in {seen.duration_s:.0f} s" if seen.duration_s else "frames"))
    if "frames_per_second" in stats:
        figures.append((f"{stats['frames_per_second']:.1f}", "/s", "frames mapped"))
    dropped = sum((stats.get("drops") or {}).values())
    figures.append((str(dropped), "", "dropped"))
    if "peak_memory_mb" in stats:
        figures.append((f"{stats['peak_memory_mb'] / 1024:.1f}", "GB", "memory at most"))
    return figures


def _draw_bev(bev: Bev, scene: Scene, hues: Mapping[int, int]) -> dict[str, Any]:
    """Lay out the bird's-eye view as a drawing: picture, footprints, numbers, grid of metres, robot."""
    height, width = bev.color.shape[:2]
    scale = min(_BEV_WIDTH / width, _BEV_LARGEST_SCALE)
    known = bev.color.any(axis=2)
    rgba = np.dstack([bev.color[..., ::-1], np.where(known, 255, 0).astype(np.uint8)])

    def drawn(points_map: Any) -> np.ndarray:
        return (bev.to_pixels(points_map) + 0.5) * scale

    text_px = text_height_px(640)
    by_id = {o.id: o for o in scene.objects}
    marks = []
    for m in place_on_bev(bev, scene.objects, scale):
        thing = by_id[m.object_id]
        w, h = plate_size(m.object_id, text_px)
        outline = cv2.convexHull(drawn(thing.box.corners()).astype(np.float32))[:, 0]
        anchor = drawn(thing.box.center)[0]
        aside = bool(np.hypot(anchor[0] - m.u, anchor[1] - m.v) > text_px)
        marks.append(
            {
                "id": m.object_id,
                "label": thing.label,
                "hue": hues[thing.id],
                "outline": " ".join(f"{x:.1f},{y:.1f}" for x, y in outline.tolist()),
                "area": float(cv2.contourArea(outline)),
                "x": round(m.u, 1),
                "y": round(m.v, 1),
                "w": w,
                "h": h,
                "anchor": [round(float(v), 1) for v in anchor] if aside else None,
            }
        )
    x0, y0 = bev.origin_xy
    metre = scale / bev.resolution_m
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100) if metre * s > 50)
    x_lines = range(math.ceil(x0 / step) * step, math.floor(x0 + width * bev.resolution_m) + 1, step)
    y_lines = range(math.ceil(y0 / step) * step, math.floor(y0 + height * bev.resolution_m) + 1, step)
    return {
        "uri": _uri(rgba, ".png"),
        "width": round(width * scale),
        "height": round(height * scale),
        "marks": sorted(marks, key=lambda m: -m["area"]),
        "x_lines": [(x, round((x - x0) * metre, 1)) for x in x_lines],
        "y_lines": [(y, round((height * bev.resolution_m - (y - y0)) * metre, 1)) for y in y_lines],
        "metre": round(metre, 2),
        "robot": _robot(scene, bev, drawn),
        "size_m": (width * bev.resolution_m, height * bev.resolution_m),
    }


def _robot(scene: Scene, bev: Bev, drawn: Any) -> dict[str, float] | None:
    """Return where the last pose is on the drawing and where it heads, in degrees clockwise from up."""
    if scene.T_map_robot is None:
        return None
    forward = scene.T_map_robot[:3, 2 if scene.robot_is_camera else 0]
    (u, v), (ahead_u, ahead_v) = drawn(np.stack([scene.T_map_robot[:3, 3], scene.T_map_robot[:3, 3] + forward]))
    heading = math.degrees(math.atan2(ahead_u - u, v - ahead_v))
    return {"x": round(float(u), 1), "y": round(float(v), 1), "heading": round(heading, 1)}


def _row(
    thing: SceneObject,
    scene: Scene,
    bev: Bev | None,
    views: list[dict[str, Any]],
    hues: Mapping[int, int],
    first_ns: int,
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
        "above_m": None if math.isnan(above) else above,
        "first_s": (thing.first_seen_ns - first_ns) / 1e9,
        "last_s": (thing.last_seen_ns - first_ns) / 1e9,
        "observations": thing.observations,
        "picture": _thumbnail(thing, views),
    }


def _thumbnail(thing: SceneObject, views: list[dict[str, Any]]) -> str | None:
    """Cut the object from the view frame that shows it largest, among those that mark it."""
    best: tuple[float, Any] = (0.0, None)
    for view in views:
        if thing.id not in view["ids"]:
            continue
        k = Intrinsics(view["width"], view["height"], *view["intrinsics"])
        corners = transform(invert(np.array(view["T_map_camera"])), thing.box.corners())
        pixels, depth = project(corners, k)
        mark = next(m for m in view["markers"] if m["id"] == thing.id)
        if (depth <= 0.05).any():  # partly behind the camera
            low, high = np.array([0.0, 0.0]), np.array([k.width, k.height], dtype=float)
        else:
            low, high = pixels.min(axis=0), pixels.max(axis=0)
        low, high = np.minimum(low, (mark["u"], mark["v"])), np.maximum(high, (mark["u"], mark["v"]))
        size = np.clip(high, 0, (k.width, k.height)) - np.clip(low, 0, (k.width, k.height))
        visible = float(np.prod(size) / max(np.prod(high - low), 1.0))
        if np.prod(size) * visible**2 > best[0]:
            best = (float(np.prod(size) * visible**2), (view, low, high))
    if best[1] is None:
        return None
    return _cut(*best[1])


def _cut(view: Mapping[str, Any], low: np.ndarray, high: np.ndarray) -> str:
    """Cut a rectangle with some air around it, in the thumbnail's shape, from a view's picture."""
    image: U8 = view["image"]
    rows, columns = image.shape[:2]
    middle, (w, h) = (low + high) / 2, np.maximum((high - low) * 1.2, 60)
    aspect = _THUMBNAIL[0] / _THUMBNAIL[1]
    w, h = min(max(w, h * aspect), columns), min(max(h, w / aspect), rows)
    w, h = min(w, h * aspect), min(h, w / aspect)
    left = int(np.clip(middle[0] - w / 2, 0, columns - w))
    top = int(np.clip(middle[1] - h / 2, 0, rows - h))
    cut = image[top : top + int(h), left : left + int(w)]
    size = (2 * _THUMBNAIL[0], 2 * _THUMBNAIL[1])
    return _uri(cv2.resize(cut, size, interpolation=cv2.INTER_AREA), ".jpg", 72)


def _answers(run: Path, scene: Scene) -> list[dict[str, Any]]:
    """Read the answers, with the objects that are still on the map."""
    rows = _read_json(run / "answers.json") or []
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
    total = sum(s["total_s"] for s in stages.values()) or 1.0
    return [
        {
            "name": name,
            **s,
            "median": 100 * s["median_ms"] / longest,
            "p95": 100 * s["p95_ms"] / longest,
            "share": 100 * s["total_s"] / total,
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


def _uri(image: U8, kind: str, quality: int = 0) -> str:
    """Encode a picture (BGR or BGRA) as a data URI."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 9]
    _, data = cv2.imencode(kind, image, options)
    mime = {".jpg": "image/jpeg", ".png": "image/png"}[kind]
    return f"data:{mime};base64,{base64.b64encode(data.tobytes()).decode('ascii')}"


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
