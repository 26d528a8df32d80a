"""A page of a training set's scenes for people: marked frames with boxes, bird's-eye view, conversations."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3d_ros.geometry import invert, transform
from s3d_ros.train.pack import jpeg
from s3d_ros.train.problems import DatasetError
from s3d_ros.train.reader import SceneData, TrainingRecord, TrainingSet, View
from s3d_ros.types import F64, U8, Intrinsics, OrientedBox

_NEAR_M = 0.05
_MAP, _TRUE = (255, 170, 0), (40, 220, 60)
_EDGES = tuple((a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4))
_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:1280px;margin:2em auto;padding:0 1em;color:#222}h1,h2,h3{line-height:1.2}"
    ".views{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:10px}figure{margin:0}"
    "figcaption{font-size:12px;color:#666}img{max-width:100%;display:block}table{border-collapse:collapse}"
    "td,th{border-bottom:1px solid #ddd;padding:3px 8px;text-align:left;vertical-align:top}"
    ".bev{display:flex;gap:10px;flex-wrap:wrap}.bev img{max-width:49%}pre{white-space:pre-wrap;font:inherit;margin:0}"
    ".note{color:#666}"
)


def show_set(folder: Path, out: Path, *, split: str = "", scenes: int = 4, records: int = 24) -> Path:
    """Write one HTML file: some scenes, spread over the set, and some conversations of each, one of each kind first.

    Raises DatasetError.
    """
    training = TrainingSet(folder, split)
    count = training.scene_count
    chosen = sorted({round(i) for i in np.linspace(0, count - 1, min(scenes, count))})
    body = [f"<h1>{html.escape(folder.resolve().name)}</h1>", f"<p>{count} scenes, {len(training)} conversations"]
    body.append(f" of split {html.escape(split) or 'any'}; shown: {len(chosen)} scenes. Boxes: ")
    body.append('<b style="color:#ffaa00">of the map</b>, <b style="color:#28dc3c">true ones</b> where known.</p>')
    for i in chosen:
        scene = training.scene(i)
        body.append(_scene(scene, list(training.records_of(i)), records))
    if out.is_dir():
        raise DatasetError(f"{out} is a folder; give a file, such as {out / 'page.html'}")
    out.parent.mkdir(parents=True, exist_ok=True)
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Training set</title><style>{_STYLE}</style>'
    out.write_text(head + "".join(body) + "</html>\n", encoding="utf-8")
    return out


def draw_view(scene: SceneData, view: View, boxes: bool = True) -> U8:
    """Return a marked view frame with the boxes of the objects that are marked in it, and the true ones of these."""
    image = scene.image(view.marked)
    if not boxes:
        return image
    shown = {m["id"] for m in view.markers}
    for thing in scene.data["objects"]:
        if thing["id"] in shown:
            if thing["truth"] is not None:
                draw_box(image, _box(thing["truth"]), view.T_map_camera, view.intrinsics, _TRUE)
            draw_box(image, _box(thing), view.T_map_camera, view.intrinsics, _MAP)
    return image


def draw_box(image: U8, box: OrientedBox, T_map_camera: F64, k: Intrinsics, color: tuple[int, int, int]) -> None:
    """Draw a box's edges, as far as they are before the camera, into an image (H, W, 3)."""
    corners = transform(invert(T_map_camera), box.corners())
    for a, b in _EDGES:
        p, q = corners[a], corners[b]
        if p[2] < _NEAR_M and q[2] < _NEAR_M:
            continue
        if p[2] < _NEAR_M or q[2] < _NEAR_M:
            cut = p + (q - p) * (_NEAR_M - p[2]) / (q[2] - p[2])
            p, q = (cut, q) if p[2] < _NEAR_M else (p, cut)
        ends = [(x * k.fx / z + k.cx, y * k.fy / z + k.cy) for x, y, z in (p, q)]
        u, v = (tuple(int(np.clip(round(c), -9999, 9999)) for c in end) for end in ends)
        cv2.line(image, u, v, color, 1, cv2.LINE_AA)


def _scene(scene: SceneData, records: list[TrainingRecord], most: int) -> str:
    data = scene.data
    matched = sum(o["truth"] is not None for o in data["objects"])
    facts = [f"split {data['split']}", f"place {data['group']}", data["dataset"], f"{len(data['objects'])} objects",
             f"{len(data['views'])} view frames", f"{len(data['conversations'])} conversations"]  # fmt: skip
    if matched or data["missed"]:
        facts.append(f"{matched} objects have their true box, {len(data['missed'])} true objects have none")
    note = html.escape(f"{', '.join(facts)}. {data['licence']}")
    out = [f"<h2>{html.escape(scene.key)}</h2><p class=note>{note}</p>"]
    bev = next((name for name, b in data["bevs"].items() if name.endswith(".bev.marked.png")), None)
    if bev is not None:
        pictures = "".join(_img(scene.image(n), n) for n in (bev, bev.replace(".marked.", ".plain.")))
        out.append(f"<h3>Bird's-eye view and its unmarked twin</h3><div class=bev>{pictures}</div>")
    labels = {o["id"]: o["label"] for o in data["objects"]}
    out.append("<h3>View frames</h3><div class=views>")
    for i, view in enumerate(scene.views, 1):
        said = ", ".join(f"{m['number']} {labels[m['id']]}".strip() for m in view.markers)
        caption = f"frame {i} of {len(scene.views)} (view {view.id}): {said or 'no markers'}"
        picture = _img(draw_view(scene, view), view.marked)
        out.append(f"<figure>{picture}<figcaption>{html.escape(caption)}</figcaption></figure>")
    out.append("</div>")
    if scene.views:
        out.append(
            f"<h3>One frame, all of it</h3><div class=views>{_one(scene, scene.views[len(scene.views) // 2])}</div>"
        )
    out.append("<h3>Conversations</h3>")
    out.append(_table(records, most) if records else "<p>None: a scene for losses that need no text.</p>")
    return "".join(out)


def _one(scene: SceneData, view: View) -> str:
    pictures = [("marked", scene.image(view.marked)), ("unmarked twin", scene.image(view.plain))]
    depth = scene.depth_m(view)
    if depth is not None:
        scaled = np.clip(depth / max(float(depth.max()), 1e-6) * 255, 0, 255).astype(np.uint8)
        coloured = cv2.applyColorMap(255 - scaled, cv2.COLORMAP_TURBO)[..., ::-1].copy()
        coloured[depth <= 0] = 0
        pictures.append((f"depth to {depth.max():.1f} m, black: unknown", coloured))
    return "".join(f"<figure>{_img(p, n)}<figcaption>{html.escape(n)}</figcaption></figure>" for n, p in pictures)


def _table(records: list[TrainingRecord], most: int) -> str:
    first = list({(r.source, r.kind): r for r in reversed(records)}.values())[::-1]
    rest = [r for r in records if r not in first]
    rows = []
    for r in [*first, *rest][:most]:
        asked = r.conversations[0]["value"].replace("<image>\n", "").strip()
        own = next((n for n in r.images if ".bev-" in n), None)
        picture = "" if own is None else _img(cv2.resize(r.scene.image(own), None, fx=0.5, fy=0.5), own)
        cells = (html.escape(f"{r.source} {r.kind}"), f"<pre>{html.escape(asked)}</pre>{picture}",
                 f"<pre>{html.escape(r.conversations[-1]['value'])}</pre>", str(len(r.images)))  # fmt: skip
        rows.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
    return "<table><tr><th>kind<th>asked, after the pictures<th>answer<th>pictures</tr>" + "".join(rows) + "</table>"


def _box(row: Mapping[str, Any]) -> OrientedBox:
    return OrientedBox(*(np.array(row[key], dtype=np.float64) for key in ("center", "size", "axes")))


def _img(pixels: U8, name: str) -> str:
    data = base64.b64encode(jpeg(pixels, 85)).decode()
    return f'<img alt="{html.escape(name)}" src="data:image/jpeg;base64,{data}">'
