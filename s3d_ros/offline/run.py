"""What a run leaves behind: files that people and programs can read (``docs/run.md``)."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from s3d_ros.markers import draw, draw_bev
from s3d_ros.types import (
    F32,
    I32,
    U8,
    Bev,
    Frame,
    Instances,
    Intrinsics,
    Marker,
    ObjectState,
    OrientedBox,
    Scene,
    SceneObject,
    ViewFrame,
)

CLOUD_IDS = "cloud_ids.npy"
BEV_CELLS = "bev.npz"
# Those of an older run must not be taken for this one's
_NOT_IN_EVERY_RUN = (CLOUD_IDS, BEV_CELLS, "rendered.jsonl", "bev.png", "bev.json", "bev_marked.png")


class RunError(ValueError):
    """A directory that is no run, or a damaged one."""


class RunWriter:
    """Writes a run directory. ``tracks.jsonl`` grows as it happens and is never rewritten."""

    def __init__(self, out: Path) -> None:
        """Make the directory. Raises RunError where something else than an older run is in the way."""
        if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "tracks.jsonl").exists())):
            raise RunError(f"{out} exists and is no run; give another --out, or remove it")
        for folder in ("frames", "views"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        old_pictures = [path for folder in ("frames", "views") for path in (out / folder).glob("view-*.[jp][pn]g")]
        for old in (*old_pictures, *(out / name for name in _NOT_IN_EVERY_RUN)):
            old.unlink(missing_ok=True)
        self.out = out
        self._tracks = open(out / "tracks.jsonl", "w", encoding="utf-8")  # noqa: SIM115 open for the whole run
        self._first_ns: int | None = None

    def frame(self, frame: Frame, instances: Instances | None, ids: dict[int, int | None]) -> None:
        """Append what was published for one frame."""
        if self._first_ns is None:
            self._first_ns = frame.stamp_ns
        found = [] if instances is None else [{"id": i, **track_mask(instances.image, n)} for n, i in ids.items()]
        self.line(frame.stamp_ns, frame.index, found)

    def line(self, stamp_ns: int, index: int, found: list[dict[str, Any]]) -> None:
        """Append a line of ``tracks.jsonl``. found: {id, bbox, mask} of each instance."""
        line = {"stamp_ns": stamp_ns, "frame": index, "instances": found}
        self._tracks.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._tracks.flush()

    def finish(
        self,
        scene: Scene,
        points: F32,
        colors: U8,
        report: dict[str, Any],
        first_ns: int | None = None,
        ids: I32 | None = None,
    ) -> None:
        """Write everything that stands at the end. first_ns: of the first frame, where none was written.

        points: (N, 3) of the surface; colors: (N, 3); ids: (N,) the object that each belongs to, 0 for none.
        """
        self._tracks.close()
        first_ns = first_ns or self._first_ns or 0
        objects = [_object_json(o, first_ns) for o in scene.objects]
        area = None if math.isnan(scene.floor_area_m2) else float(scene.floor_area_m2)
        _write_json(
            self.out / "objects.json",
            {
                "frame_id": scene.frame_id,
                "up": scene.up.tolist(),
                "map_version": scene.map_version,
                "room": {"floor_area_m2": area},
                "robot": None if scene.T_map_robot is None else scene.T_map_robot.tolist(),
                "robot_is_camera": scene.robot_is_camera,
                "stamp_ns": scene.stamp_ns,
                "first_stamp_ns": first_ns,
                "merged": {str(old): new for old, new in scene.merged.items()},
                "objects": objects,
            },
        )
        write_ply(self.out / "cloud.ply", points, colors)
        if ids is not None:
            np.save(self.out / CLOUD_IDS, np.asarray(ids, dtype=np.int32))
        if scene.bev is not None:
            write_bev(self.out, scene.bev, scene)
        for view in scene.views:
            write_view(self.out / "frames", view, scene)
            (self.out / "views" / view_name(view.id)).write_bytes(view.jpeg)
        _write_json(self.out / "views.json", [_view_json(v, first_ns) for v in scene.views])
        _write_json(self.out / "report.json", report)


def write_bev(out: Path, bev: Bev, scene: Scene) -> None:
    """Write ``bev.png``, ``bev.json``, ``bev.npz``, and ``bev_marked.png`` with the objects' numbers."""
    cv2.imwrite(str(out / "bev.png"), bev.color[..., ::-1])
    cv2.imwrite(str(out / "bev_marked.png"), draw_bev(bev, scene.objects)[..., ::-1])
    np.savez_compressed(out / BEV_CELLS, height_m=bev.height_m, occupancy=bev.occupancy)
    height, width = bev.color.shape[:2]
    _write_json(
        out / "bev.json",
        {
            "resolution_m": bev.resolution_m,
            "origin": list(bev.origin_xy),
            "width": width,
            "height": height,
            "up": scene.up.tolist(),
            "T_bev_map": bev.T_bev_map.tolist(),
            "floor_m": bev.floor_m,
            "ceiling_cut_m": None if math.isinf(bev.ceiling_cut_m) else bev.ceiling_cut_m,
        },
    )


def write_view(folder: Path, view: ViewFrame, scene: Scene) -> None:
    """Write one marked view frame, named by its number."""
    image = decode_jpeg(view.jpeg)
    alive = {o.id for o in scene.objects}
    marked = draw(image, [m for m in view.markers if m.object_id in alive])
    cv2.imwrite(str(folder / view_name(view.id)), marked[..., ::-1])


def view_name(view_id: int) -> str:
    """Return the file name of a marked view frame."""
    return f"view-{view_id:04d}.jpg"


def decode_jpeg(jpeg: bytes) -> U8:
    """Return the RGB image (H, W, 3) of a view frame's JPEG."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise RunError("a view frame's JPEG is damaged")
    return image[..., ::-1]


def write_ply(path: Path, points: F32, colors: U8) -> None:
    """Write points (N, 3) and colours (N, 3) as binary PLY."""
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"element vertex {len(points)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
    )
    rows = np.empty(len(points), dtype=[("p", "<f4", 3), ("c", "u1", 3)])
    rows["p"], rows["c"] = points, colors
    path.write_bytes(header.encode() + rows.tobytes())


def read_ply(path: Path) -> tuple[F32, U8]:
    """Read what ``write_ply`` wrote."""
    data = path.read_bytes()
    head, _, body = data.partition(b"end_header\n")
    count = int(next(line.split()[2] for line in head.decode().splitlines() if line.startswith("element vertex")))
    rows = np.frombuffer(body, dtype=[("p", "<f4", 3), ("c", "u1", 3)], count=count)
    return rows["p"].copy(), rows["c"].copy()


def load_scene(run: Path) -> Scene:
    """Read a run's scene as it was: what an answerer gets from it is what it would have got live.

    Older runs hold no unmarked view frames and no cells of the BEV; a scene of theirs comes without views and BEV, as
    does one whose files somebody took away. Raises RunError.
    """
    path = run / "objects.json"
    try:
        data = json.loads(path.read_text())
        first_ns = int(data.get("first_stamp_ns", 0))
        robot = data.get("robot")
        area = data["room"]["floor_area_m2"]
        scene = Scene(
            map_version=data["map_version"],
            stamp_ns=data.get("stamp_ns", 0),
            frame_id=data["frame_id"],
            up=np.array(data["up"], dtype=np.float64),
            objects=tuple(_object_from(o, first_ns) for o in data["objects"]),
            floor_area_m2=math.nan if area is None else float(area),
            T_map_robot=None if robot is None else np.array(robot, dtype=np.float64),
            robot_is_camera=data.get("robot_is_camera", True),
            merged={int(old): new for old, new in data.get("merged", {}).items()},
        )
        path = run / "bev.json"
        bev = _load_bev(run) if path.exists() and (run / BEV_CELLS).exists() else None
        path = run / "views.json"
        listed = json.loads(path.read_text()) if path.exists() else []
        views = tuple(_view_from(v, run) for v in listed if "picture" in v)
        return replace(scene, bev=bev, views=views)
    except FileNotFoundError as error:
        if path.name == "objects.json":
            raise RunError(
                f"{run} is no run: it holds no objects.json. Make one with: s3d replay PATH --out {run}"
            ) from None
        raise RunError(f"{error.filename} is missing, though {path} names it; make the run anew") from None
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}: {error})") from error


def _load_bev(run: Path) -> Bev:
    about = json.loads((run / "bev.json").read_text())
    color = cv2.imread(str(run / "bev.png"), cv2.IMREAD_COLOR)
    if color is None:
        raise ValueError("bev.png is missing or damaged")
    with np.load(run / BEV_CELLS, allow_pickle=False) as cells:
        height_m, occupancy = cells["height_m"], cells["occupancy"]
    if not color.shape[:2] == height_m.shape == occupancy.shape:
        raise ValueError(f"bev.png is {color.shape[:2]}, the cells of {BEV_CELLS} {height_m.shape}, {occupancy.shape}")
    cut = about["ceiling_cut_m"]
    return Bev(
        color=np.ascontiguousarray(color[..., ::-1]),
        height_m=height_m,
        occupancy=occupancy,
        resolution_m=about["resolution_m"],
        origin_xy=(about["origin"][0], about["origin"][1]),
        T_bev_map=np.array(about["T_bev_map"], dtype=np.float64),
        floor_m=about["floor_m"],
        ceiling_cut_m=math.inf if cut is None else cut,
    )


def view_stamps(run: Path) -> list[int]:
    """Return the stamps of a run's view frames, by time. Raises RunError."""
    try:
        return sorted(int(v["stamp_ns"]) for v in json.loads((run / "views.json").read_text()))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run} holds no views.json that can be read ({type(error).__name__}: {error})") from error


def track_mask(image: np.ndarray, number: int) -> dict[str, Any]:
    """Return {bbox, mask} of one instance of an image (H, W), as they stand in ``tracks.jsonl``."""
    mask = image == number
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    box = coco_mask.toBbox(rle).astype(int).tolist()
    return {
        "bbox": box,
        "mask": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
    }


def _object_json(o: SceneObject, first_ns: int) -> dict[str, Any]:
    return {
        "id": o.id,
        "aliases": list(o.aliases),
        "label": o.label,
        "label_scores": {k: float(v) for k, v in o.label_scores.items()},
        "state": o.state.name,
        "center": o.box.center.tolist(),
        "size": o.box.size.tolist(),
        "axes": o.box.axes.tolist(),
        "confidence": float(o.confidence),
        "observations": o.observations,
        "first_seen_s": _seconds(o.first_seen_ns, first_ns),
        "last_seen_s": _seconds(o.last_seen_ns, first_ns),
    }


def _view_json(view: ViewFrame, first_ns: int) -> dict[str, Any]:
    k = view.intrinsics
    return {
        "id": view.id,
        "revision": view.revision,
        "file": f"frames/{view_name(view.id)}",
        "picture": f"views/{view_name(view.id)}",
        "stamp_ns": view.stamp_ns,
        "time_s": _seconds(view.stamp_ns, first_ns),
        "width": k.width,
        "height": k.height,
        "intrinsics": [k.fx, k.fy, k.cx, k.cy],
        "T_map_camera": view.T_map_camera.tolist(),
        "markers": [{"id": m.object_id, "u": float(m.u), "v": float(m.v)} for m in view.markers],
    }


def _view_from(v: dict[str, Any], run: Path) -> ViewFrame:
    depth = (run / "views" / view_name(int(v["id"]))).with_suffix(".depth.png")  # view_depth.depth_path
    return ViewFrame(
        id=int(v["id"]),
        revision=int(v["revision"]),
        stamp_ns=int(v["stamp_ns"]),
        jpeg=(run / v["picture"]).read_bytes(),
        intrinsics=Intrinsics(v["width"], v["height"], *v["intrinsics"]),
        T_map_camera=np.array(v["T_map_camera"], dtype=np.float64),
        markers=tuple(Marker(int(m["id"]), m["u"], m["v"]) for m in v["markers"]),
        depth_png=depth.read_bytes() if depth.exists() else b"",
    )


def _object_from(o: dict[str, Any], first_ns: int) -> SceneObject:
    box = OrientedBox(*(np.array(o[k], dtype=np.float64) for k in ("center", "size", "axes")))
    return SceneObject(
        id=int(o["id"]),
        label=o["label"],
        box=box,
        label_scores=o["label_scores"],
        aliases=tuple(o["aliases"]),
        state=ObjectState[o.get("state", "CONFIRMED")],
        confidence=o["confidence"],
        first_seen_ns=first_ns + round(o["first_seen_s"] * 1e9),
        last_seen_ns=first_ns + round(o["last_seen_s"] * 1e9),
        observations=o["observations"],
    )


def _seconds(stamp_ns: int, first_ns: int) -> float:
    """Return seconds that tell the nanosecond again."""
    return round((stamp_ns - first_ns) / 1e9, 9)


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
