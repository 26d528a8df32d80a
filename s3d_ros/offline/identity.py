"""Whether things keep their IDs, twice: as what the detector gave, and as what the map shows in every frame.

Both are causal: an ID counts in the frame for which it was published, whatever became known later. *raw* takes it as
it was; *resolved* takes the ID that it stands for at the end of the run (``merged`` and aliases in ``objects.json``).

**Given**: over the instances that the detector gave. Each is the true object it covers most of; one that covers more
of nothing than of any object counts nowhere, nor does one of fewer than 300 pixels. A true object of which nothing
was given in a frame is not lost there. Pieces of one object that were given one ID are one; an object that was given
no ID (tentative) is missed; a second ID on an object, and an ID that another object has as well, is wrong.

**Rendered**: over the masks of all published objects in all frames (``rendered.jsonl``) against the true ones, matched
by IoU, over the pixels that had depth. A true object of fewer than 300 pixels in a frame need not be there, and what
is drawn there is not wrong; neither is a smaller drawn one that fits nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from s3d_ros.offline.mot import Moment, figures, track_counts
from s3d_ros.offline.overlaps import MIN_PIXELS, NOTHING, FrameOverlap, read_lines, rle
from s3d_ros.offline.run import RunError
from s3d_ros.offline.truth import Truth

_MATCH_IOU = 0.5


@dataclass(frozen=True)
class Sight:
    """One frame: (true id, published ID or None) of each given instance, and the code of its mask."""

    frame: int
    stamp_ns: int
    said: tuple[tuple[int, int | None], ...]
    codes: tuple[str, ...] = ()


def sights(frames: Iterable[FrameOverlap]) -> list[Sight]:
    """Return what was said of the instances of each frame, of those that count."""
    out = []
    for f in frames:
        rows = [
            (int(row.argmax()), published, code)
            for row, published, code in zip(f.shared, f.ids, f.codes, strict=True)
            if row.sum() >= f.least and row.argmax() != NOTHING
        ]
        out.append(Sight(f.frame, f.stamp_ns, tuple((t, i) for t, i, _ in rows), tuple(c for _, _, c in rows)))
    return out


def with_all_given(mine: Iterable[Sight], all_given: Iterable[Sight]) -> list[Sight]:
    """Add what the detector gave and a run passed over in silence: it has no ID. all_given: of the oracle."""
    known = {s.frame: s for s in mine}
    out = []
    for g in all_given:
        s = known.get(g.frame, Sight(g.frame, g.stamp_ns, ()))
        unsaid = [(t, None) for (t, _), code in zip(g.said, g.codes, strict=True) if code not in s.codes]
        out.append(Sight(g.frame, g.stamp_ns, (*s.said, *unsaid), g.codes))
    return out


def given_moments(frames: Iterable[Sight], survivors: Mapping[int, int]) -> list[Moment]:
    """Return frames as they are scored over the given instances. ``survivors``: retired ID -> the one it became."""
    out = []
    for s in frames:
        pairs = {(t, survivors.get(i, i)) for t, i in s.said if i is not None}
        true = sorted({t for t, _ in s.said})
        said = sorted({i for _, i in pairs})
        similarity = np.array([[float((t, i) in pairs) for i in said] for t in true]).reshape(len(true), len(said))
        out.append(Moment(s.stamp_ns, true, said, similarity))
    return out


def rendered_moments(path: Path, truth: Truth, *ways: Mapping[int, int]) -> list[list[Moment]]:
    """Return the frames of a ``rendered.jsonl`` against the true instances, once for each of several survivors.

    Raises RunError.
    """
    out: list[list[Moment]] = [[] for _ in ways]
    for row in read_lines(path, "frame", "objects", "seen", "start", "stride"):
        true = truth.instances(row["frame"])
        if true is None:
            continue
        small = true[row["start"] :: row["stride"], row["start"] :: row["stride"]]
        seen = coco_mask.decode(rle(row["seen"])) > 0
        if seen.shape != small.shape:
            raise RunError(f"frame {row['frame']} of {path} was drawn {seen.shape}, the truth there is {small.shape}")
        drawn = np.zeros(seen.shape, np.int64)
        for o in row["objects"]:
            drawn[coco_mask.decode(rle(o["mask"])) > 0] = o["id"]
        least = MIN_PIXELS * true.size / (640 * 480) / row["stride"] ** 2
        shown, there = drawn[seen], small[seen].astype(np.int64)
        for moments, survivors in zip(out, ways, strict=True):
            stands = {o["id"]: survivors.get(o["id"], o["id"]) for o in row["objects"]}
            table = np.zeros(max(stands, default=0) + 1, np.int64)
            table[list(stands)] = list(stands.values())
            moments.append(_rendered(int(row.get("stamp_ns", 0)), there, table[shown], least))
    return out


def _rendered(stamp_ns: int, true: np.ndarray, drawn: np.ndarray, least: float) -> Moment:
    """true, drawn: (N,) ids of the same pixels."""
    if not len(true):
        return Moment(stamp_ns, [], [], np.zeros((0, 0)))
    t_ids, d_ids = (np.flatnonzero(np.bincount(ids)) for ids in (true, drawn))
    t, d = np.searchsorted(t_ids, true), np.searchsorted(d_ids, drawn)
    both = np.bincount(t * len(d_ids) + d, minlength=len(t_ids) * len(d_ids)).reshape(len(t_ids), len(d_ids))
    t_size, d_size = both.sum(axis=1), both.sum(axis=0)
    iou = both / np.maximum(t_size[:, None] + d_size[None] - both, 1)
    t_kept = (t_ids != NOTHING) & (t_size >= least)
    fits = (iou[t_kept] >= _MATCH_IOU).any(axis=0)
    on_barely_seen = ((t_ids != NOTHING) & ~t_kept)[both.argmax(axis=0)]
    d_kept = (d_ids != NOTHING) & (fits | ((d_size >= least) & ~on_barely_seen))
    return Moment(stamp_ns, t_ids[t_kept].tolist(), d_ids[d_kept].tolist(), iou[np.ix_(t_kept, d_kept)])


def identity(
    frames: list[Sight], rendered: Path | None, truth: Truth, survivors: Mapping[int, int]
) -> dict[str, dict[str, Any] | None]:
    """Return {given, rendered: {raw, resolved: figures and the counts behind them}}; rendered None without the file."""
    ways = {"raw": {}, "resolved": survivors}
    out: dict[str, dict[str, Any] | None] = {"given": None, "rendered": None}
    if frames:
        out["given"] = {name: _scored(given_moments(frames, s)) for name, s in ways.items()}
    if rendered is not None and rendered.exists():
        moments = rendered_moments(rendered, truth, *ways.values())
        out["rendered"] = {name: _scored(m) for name, m in zip(ways, moments, strict=True)}
    return out


def _scored(moments: list[Moment]) -> dict[str, Any]:
    counts = track_counts(moments)
    return {**figures(counts), "counts": counts}


def changes(frames: Iterable[Sight], survivors: Mapping[int, int]) -> list[tuple[int, int, int, int]]:
    """Return (frame, true id, ID before, ID now) wherever a true object's ID is not the one that it had last.

    For pictures; the figures' switches are TrackEval's.
    """
    last: dict[int, set[int]] = {}
    out = []
    for s in frames:
        now: dict[int, set[int]] = {}
        for t, i in s.said:
            if i is not None:
                now.setdefault(t, set()).add(survivors.get(i, i))
        for t, ids in now.items():
            if t in last and not ids & last[t]:
                out.append((s.frame, t, min(last[t]), min(ids)))
            last[t] = ids
    return out
