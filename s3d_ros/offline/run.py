"""What a run leaves behind: files that people and programs can read (``docs/run.md``)."""

from __future__ import annotations

import json
import math
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
    OrientedBox,
    Scene,
    SceneObject,
    ViewFrame,
)

CLOUD_IDS = "cloud_ids.npy"
_NOT_IN_EVERY_RUN = (CLOUD_IDS, "rendered.jsonl")  # those of an older run must not be taken for this one's


class RunError(ValueError):
    """A directory that is no run, or a damaged one."""


class RunWriter:
    """Writes a run directory. ``tracks.jsonl`` grows as it happens and is never rewritten."""

    def __init__(self, out: Path) -> None:
        """Make the directory. Raises RunError where something else than an older run is in the way."""
        if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "tracks.jsonl").exists())):
            raise RunError(f"{out} exists and is no run; give another --out, or remove it")
        (out / "frames").mkdir(parents=True, exist_ok=True)
        for old in (*(out / "frames").glob("*.jpg"), *(out / name for name in _NOT_IN_EVERY_RUN)):
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
        area = None if math.isnan(scene.floor_area_m2) else round(scene.floor_area_m2, 3)
        _write_json(
            self.out / "objects.json",
            {
                "frame_id": scene.frame_id,
                "up": _rounded(scene.up, 6),
                "map_version": scene.map_version,
                "room": {"floor_area_m2": area},
                "robot": None if scene.T_map_robot is None else _rounded(scene.T_map_robot, 6),
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
        _write_json(self.out / "views.json", [_view_json(v, first_ns) for v in scene.views])
        _write_json(self.out / "report.json", report)


def write_bev(out: Path, bev: Bev, scene: Scene) -> None:
    """Write ``bev.png``, ``bev.json``, and ``bev_marked.png`` with the objects' numbers."""
    cv2.imwrite(str(out / "bev.png"), bev.color[..., ::-1])
    cv2.imwrite(str(out / "bev_marked.png"), draw_bev(bev, scene.objects)[..., ::-1])
    height, width = bev.color.shape[:2]
    _write_json(
        out / "bev.json",
        {
            "resolution_m": bev.resolution_m,
            "origin": list(bev.origin_xy),
            "width": width,
            "height": height,
            "up": _rounded(scene.up, 6),
            "T_bev_map": _rounded(bev.T_bev_map, 9),
            "floor_m": round(bev.floor_m, 4),
            "ceiling_cut_m": None if math.isinf(bev.ceiling_cut_m) else round(bev.ceiling_cut_m, 4),
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
    """Read a run's scene: objects, room and poses, as an answerer needs them. Raises RunError."""
    path = run / "objects.json"
    try:
        data = json.loads(path.read_text())
        first_ns = int(data.get("first_stamp_ns", 0))
        robot = data.get("robot")
        area = data["room"]["floor_area_m2"]
        return Scene(
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
    except FileNotFoundError:
        raise RunError(
            f"{run} is no run: it holds no objects.json. Make one with: s3d replay PATH --out {run}"
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}: {error})") from error


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
        "label_scores": {k: round(v, 4) for k, v in o.label_scores.items()},
        "center": _rounded(o.box.center, 4),
        "size": _rounded(o.box.size, 4),
        "axes": _rounded(o.box.axes, 6),
        "confidence": round(o.confidence, 4),
        "observations": o.observations,
        "first_seen_s": round((o.first_seen_ns - first_ns) / 1e9, 6),
        "last_seen_s": round((o.last_seen_ns - first_ns) / 1e9, 6),
    }


def _view_json(view: ViewFrame, first_ns: int) -> dict[str, Any]:
    k = view.intrinsics
    return {
        "id": view.id,
        "file": f"frames/{view_name(view.id)}",
        "stamp_ns": view.stamp_ns,
        "time_s": round((view.stamp_ns - first_ns) / 1e9, 6),
        "width": k.width,
        "height": k.height,
        "intrinsics": [k.fx, k.fy, k.cx, k.cy],
        "T_map_camera": _rounded(view.T_map_camera, 6),
        "markers": [{"id": m.object_id, "u": round(m.u, 1), "v": round(m.v, 1)} for m in view.markers],
    }


def _object_from(o: dict[str, Any], first_ns: int) -> SceneObject:
    box = OrientedBox(*(np.array(o[k], dtype=np.float64) for k in ("center", "size", "axes")))
    return SceneObject(
        id=int(o["id"]),
        label=o["label"],
        box=box,
        label_scores=o["label_scores"],
        aliases=tuple(o["aliases"]),
        confidence=o["confidence"],
        first_seen_ns=first_ns + round(o["first_seen_s"] * 1e9),
        last_seen_ns=first_ns + round(o["last_seen_s"] * 1e9),
        observations=o["observations"],
    )


def _rounded(values: np.ndarray, digits: int) -> Any:
    return np.round(values, digits).tolist()


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
