"""`s3d bench --only changes`: two visits to rooms in which things were removed or moved meanwhile, and people walk by.

How much of it the map notices, whether it takes what stayed for gone, and what is left of what went: in the surface's
points, the bird's-eye view, the grid, the objects' voxels. Only things count that the map held after the first visit.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree

from s3d_ros.config import Config
from s3d_ros.geometry import inside_box
from s3d_ros.offline import suite
from s3d_ros.offline.simulate import SimulateConfig, simulate
from s3d_ros.offline.truth import Truth, load_truth
from s3d_ros.offline.visits import MARGIN_M, Moment, Place, Watched, watch
from s3d_ros.types import F64, ObjectState, OrientedBox

_NEAR_M = 0.3  # a moved object is recognised when its box's middle comes so near
_LOOKED_SHARE = 0.5  # of a thing's points that must be seen through for its place to be looked at
_GHOST_M = 0.1  # a point is on no true surface, where so far from the nearest 5 cm of it
_LEFT = ("points", "bev", "grid", "voxels")
_FPS, _CHANGED, _PEOPLE = 5.0, 0.2, 2
LIMITS = {"noticed": 0.9, "untouched_gone": 0.01, "left": 0.02}


def measure_changes(recording: Path, config: Config | None = None) -> dict[str, Any]:
    """Map a recording of two visits (``s3d simulate --changed``) and compare with its truth. Raises ValueError."""
    data = json.loads((recording / "truth.json").read_text())
    if not any("change" in o for o in data["objects"]):
        raise ValueError(f"{recording} shows no changes; record one with: s3d simulate LAYOUT --changed 0.2 --out BAG")
    places = _places(data)
    seen = watch(recording, places, config or Config())
    assert seen.first is not None and seen.last is not None
    known = _known(seen)
    rows = []
    for o in data["objects"]:
        if o["id"] not in known:
            continue
        was = known[o["id"]]
        now = seen.merged.get(was, was)
        row: dict[str, Any] = {"id": o["id"], "label": o["label"], "change": o["change"], "map_id": was}
        row["ever_gone"], row["alive"] = was in seen.gone, now in seen.last.alive
        if o["change"] == "moved":
            middle = seen.last.centers.get(now)
            row["recognised"] = middle is not None and float(np.linalg.norm(middle - o["center"])) < _NEAR_M
            row["marked"] = row["recognised"] and seen.last.alive[now] == ObjectState.MOVED
        if o["change"] != "untouched":
            row["looked"] = seen.looked[o["id"]]
            row["left_there"] = row["alive"] and _near_place(seen.last.centers[now], places[o["id"]].box)
            row |= _left(places[o["id"]], seen.first, seen.last)
        elif row["alive"]:
            row["marked"] = seen.last.alive[now] == ObjectState.MOVED
        rows.append(row)
    objects = [o for o in data["objects"] if o["change"] != "untouched"]
    return {
        "name": data["name"],
        "changed": len(objects),
        "rows": rows,
        "people": _people(data, seen, load_truth(recording)),
    }


def total(places: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Sum the rows of all places."""
    places = list(places)
    rows = [r for p in places for r in p["rows"]]
    of = {c: [r for r in rows if r["change"] == c] for c in ("untouched", "removed", "moved")}
    changed = of["removed"] + of["moved"]
    looked = [r for r in changed if r["looked"] >= _LOOKED_SHARE]
    out: dict[str, Any] = {
        "places": len(places),
        "changed_in_truth": sum(p["changed"] for p in places),
        **{c: len(r) for c, r in of.items()},
        "looked_at": len(looked),
        "noticed": _share(_noticed(r) for r in changed),
        "noticed_of_looked_at": _share(_noticed(r) for r in looked),
        "removed_gone": _share(not r["alive"] for r in of["removed"]),
        "removed_taken_for_moved": sum(r["alive"] and not r["left_there"] for r in of["removed"]),
        "moved_recognised": _share(r["recognised"] for r in of["moved"]),
        "moved_gone_and_new": _share(not r["alive"] for r in of["moved"]),
        "moved_elsewhere": sum(r["alive"] and not r["recognised"] and not r["left_there"] for r in of["moved"]),
        "untouched_gone": _share(r["ever_gone"] for r in of["untouched"]),
        "untouched_taken_for_moved": sum(bool(r.get("marked")) for r in of["untouched"]),
        "person_objects": sum(p["people"]["objects"] for p in places),
        "person_points": sum(p["people"]["points"] for p in places),
        "passes": sum(p["people"]["passes"] for p in places),
    }
    for what in _LEFT:
        before, after = (sum(r[f"{what}_{when}"] for r in looked) for when in ("before", "after"))
        out[f"{what}_left"] = after / max(before, 1)
    return out


def run_changes(rooms: Sequence[suite.Place], work: Path, noise: str, console: Console) -> dict[str, Any]:
    """Simulate two visits to each room, map them, and show what was noticed; ``changes.json`` in ``work``.

    A recording that is there already is not made again; it takes about a gigabyte.
    """
    options = SimulateConfig(
        fps=_FPS, changed_share=_CHANGED, people=_PEOPLE, compression="zstd", twins=noise in ("detector", "all")
    )
    places = []
    for room in rooms:
        bag = work / f"{room.name}-{noise}"
        if not (bag / "truth.json").exists():
            console.print(f"{room.name}: simulating two visits")
            simulate(room.layouts, bag, noise=noise, options=options)
        places.append({**measure_changes(bag), "name": room.name})
        console.print(f"{room.name}: {json.dumps(total(places[-1:]))}", soft_wrap=True)
    figures = total(places)
    show(figures, console)
    result = {"noise": noise, "places": places, "total": figures, "holds": holds(figures)}
    work.mkdir(parents=True, exist_ok=True)
    (work / "changes.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def holds(figures: dict[str, Any]) -> bool:
    """Whether all limits hold."""
    left = [figures[f"{what}_left"] for what in _LEFT]
    return bool(
        figures["noticed"] >= LIMITS["noticed"]
        and figures["untouched_gone"] <= LIMITS["untouched_gone"]
        and max(left) <= LIMITS["left"]
    )


def show(figures: dict[str, Any], console: Console) -> None:
    """Print the sum as a table."""
    table = Table("two visits", "", "limit")
    limits = {"noticed": f">= {LIMITS['noticed']}", "untouched_gone": f"<= {LIMITS['untouched_gone']}"}
    for name, value in figures.items():
        limit = f"<= {LIMITS['left']}" if name.endswith("_left") else limits.get(name, "")
        table.add_row(name.replace("_", " "), f"{value:.3f}" if isinstance(value, float) else str(value), limit)
    console.print(table)


def _noticed(row: dict[str, Any]) -> bool:
    """Removed: gone. Moved: recognised at its new place, or gone."""
    return not row["alive"] or (row["change"] == "moved" and row["recognised"])


def _share(values: Iterable[bool]) -> float:
    found = list(values)
    return float(np.mean(found)) if found else float("nan")


def _places(data: dict[str, Any]) -> dict[int, Place]:
    now = {o["id"]: _box(o) for o in data["objects"] if o["change"] != "removed"}
    was = {o["id"]: _box(o.get("was", o)) for o in data["objects"]}
    low, high = (np.array(data["room"][k]) for k in ("min", "max"))
    out = {}
    for o in data["objects"]:
        if o["change"] != "untouched":
            others = [b for i, b in was.items() if i != o["id"]] + list(now.values())
            out[o["id"]] = Place(was[o["id"]], tuple(others), low, high)
    return out


def _box(o: dict[str, Any]) -> OrientedBox:
    return OrientedBox(*(np.array(o[k], dtype=np.float64) for k in ("center", "size", "axes")))


def _known(seen: Watched) -> dict[int, int]:
    """Return true object -> its ID after the first visit, of those that have one to themselves."""
    assert seen.first is not None
    best: dict[int, tuple[int, int]] = {}
    for true, votes in seen.first_votes.items():
        resolved: Counter[int] = Counter()
        for object_id, count in votes.items():
            resolved[seen.first_merged.get(object_id, object_id)] += count
        alive = [(c, i) for i, c in resolved.items() if i in seen.first.alive]
        if alive:
            count, object_id = max(alive)
            if count > best.get(object_id, (0, 0))[0]:
                best[object_id] = (count, true)
    return {true: object_id for object_id, (_, true) in best.items()}


def _near_place(center: F64, box: OrientedBox) -> bool:
    return bool(inside_box(center[None], box, 0.1)[0])


def _left(place: Place, first: Moment, last: Moment) -> dict[str, int]:
    out = {}
    for when, moment in (("before", first), ("after", last)):
        out[f"points_{when}"] = int(place.holds(moment.points).sum())
        out[f"voxels_{when}"] = int(place.holds(moment.voxels).sum())
        out[f"bev_{when}"] = out[f"grid_{when}"] = 0
        if moment.bev is not None:
            rows, columns = place.bev_cells(moment.bev)
            z = moment.bev.height_m[rows, columns]
            corners = place.box.corners()[:, 2]
            of_it = (z > max(corners.min(), moment.bev.floor_m) + MARGIN_M) & (z < corners.max() + MARGIN_M)
            out[f"bev_{when}"] = int(of_it.sum())
            out[f"grid_{when}"] = int((moment.bev.occupancy[rows, columns] == 100).sum())
    return out


def _people(data: dict[str, Any], seen: Watched, truth: Truth) -> dict[str, int]:
    """Count what is left of those who walked by: objects that were mostly them, and points along their ways that are

    of no true surface.
    """
    passers = data.get("passers", [])
    ids = {p["id"] for p in passers}
    of: dict[int, Counter[int]] = defaultdict(Counter)
    for true, votes in seen.votes.items():
        for object_id, count in votes.items():
            of[seen.merged.get(object_id, object_id)][true] += count
    assert seen.last is not None
    objects = sum(i in seen.last.alive and c.most_common(1)[0][0] in ids for i, c in of.items())
    low, high = (np.array(data["room"][k]) for k in ("min", "max"))
    points, surface = seen.last.points, truth.surface()
    if surface is not None and len(surface[0]):
        points = points[cKDTree(surface[0]).query(points, distance_upper_bound=_GHOST_M)[0] > _GHOST_M]
    inside = (points > low + 0.1).all(axis=1) & (points < high - 0.1).all(axis=1) & (points[:, 2] < low[2] + 1.8)
    for o in data["objects"]:
        for box in {id(o): _box(o), -1: _box(o.get("was", o))}.values():
            inside[inside] = ~inside_box(points[inside], box, 0.06)
    points = points[inside]
    near = np.zeros(len(points), bool)
    for p in passers:
        for _, x, y in p["way"]:
            near |= np.hypot(points[:, 0] - x, points[:, 1] - y) < 0.35
    return {"passes": len(passers), "objects": objects, "points": int(near.sum())}
