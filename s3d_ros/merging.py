"""Make fragments one object again: what one mask covers from several sides is one, what shows several masks is not."""

from __future__ import annotations

import numpy as np

from s3d_ros.evidence import outweighs
from s3d_ros.geometry import box_distance
from s3d_ros.seen import Seen
from s3d_ros.track import Track
from s3d_ros.tracks import Tracks

# Part of an object that must be covered by another's mask to count as evidence that both are one.
_COVER = 0.7
# ... for so long, less twice the time that each had its own mask: nothing is known of what has no name, names that
# differ speak against it. A detector's merged masks last some seconds, but not from all sides.
_UNNAMED_S, _LIKE_S, _UNLIKE_S = 0.3, 1.0, 2.5
_EVIDENCE = {"weight": 2.0, "long_s": 4.0, "times": 5.0}
_SEEN_APART_S, _NEAR_M = 0.05, 0.1
# Two masks that go on in one another are one that was split, but not for long unless one mask covered both as well.
_SPLIT_S, _SPLIT_SHARE = 0.5, 4.0
_SHOWN_POINTS, _BESIDE_SHARE = 12, 0.2
_TOUCHING_M, _TOUCHING_AFTER_S = 0.03, 2.0


def weigh_merges(tracks: Tracks, seen: Seen, matched: dict[int, Track], steps_s: dict[int, float]) -> None:
    """Collect evidence that two objects are one, and merge: the mask of one covers what is visible of the other.

    matched: row -> object, brought up to date. steps_s: slot -> for how long this sight counts.
    """
    present = set(matched.values())
    for row, track in list(matched.items()):
        for c in seen.swallowed_by(row, track):
            other = seen.tracks[c]
            if seen.overlaps.of_object[row, c] < _COVER or other not in tracks or other is track:
                continue
            if other in present or track not in tracks:
                continue
            together = tracks.pairs.together(track.slot, other.slot)
            apart = tracks.pairs.apart(track.slot, other.slot)
            together.add(track.view_from(seen.points.camera), steps_s.get(track.slot, 0.0))
            # What is hidden says nothing: most of the smaller one must have been looked at.
            share = seen.overlaps.visible[c] / max(len(tracks.voxels_of(other)), 1)
            if outweighs(together, apart, _after_s(track, other), **_EVIDENCE) and (
                share > 0.3 or other.pixels < track.pixels
            ):
                keep, gone = tracks.merge(track, other)
                for r, t in matched.items():
                    if t is gone:
                        matched[r] = keep
                track = matched[row]


def note_apart(tracks: Tracks, seen: Seen, matched: dict[int, Track], steps_s: dict[int, float]) -> None:
    """Two masks of one frame are two things, and so is what shows beside a mask: it would be under it if it were one.

    Noted of those that may be taken for one: the like and the near.
    """
    slots = {t.slot for t in matched.values()}
    covered = _covered(seen, matched)
    shown = {t.slot: t for t, n in zip(seen.tracks, seen.overlaps.visible.tolist(), strict=True) if n >= _SHOWN_POINTS}
    present = sorted(({t.slot: t for t in matched.values()} | shown).values(), key=lambda t: t.slot)
    present = [t for t in present if t in tracks]
    if len(present) < 2:
        return
    labels = np.array([t.label for t in present], object)
    close = labels[:, None] == labels[None]
    boxes = [t.box for t in present]
    known = np.array([b is not None for b in boxes])
    centers = np.array([np.zeros(3) if b is None else b.center for b in boxes])
    reach = np.array([0.0 if b is None else np.linalg.norm(b.size) / 2 for b in boxes])
    distance = np.linalg.norm(centers[:, None] - centers[None], axis=2)
    close |= (distance < reach[:, None] + reach[None] + _NEAR_M) & known[:, None] & known[None]
    has_mask = np.array([t.slot in slots for t in present])
    close &= has_mask[:, None] | has_mask[None]
    parts = {_slots(matched[i], matched[j]) for i, j in seen.continuous if i in matched and j in matched}
    views = {t.slot: t.view_from(seen.points.camera) for t in present}
    for i, j in np.argwhere(np.triu(close, 1)).tolist():
        a, b = present[i], present[j]
        if not has_mask[i]:
            a, b = b, a
        if not (has_mask[i] and has_mask[j]) and covered.get((a.slot, b.slot), 0.0) > _BESIDE_SHARE:
            continue
        apart, step_s = tracks.pairs.apart(a.slot, b.slot), steps_s.get(a.slot, 0.0)
        if _slots(a, b) in parts:
            apart.add_weak(step_s)
        else:
            apart.add(views[a.slot], step_s)


def _covered(seen: Seen, matched: dict[int, Track]) -> dict[tuple[int, int], float]:
    """Return (slot of an object with masks, slot of another): share of what shows of the other under these masks."""
    out: dict[tuple[int, int], float] = {}
    share = seen.overlaps.of_object
    for row, column in np.argwhere(share > 0).tolist():
        if row in matched:
            key = matched[row].slot, seen.tracks[column].slot
            out[key] = out.get(key, 0.0) + float(share[row, column])
    return out


def merge_touching(tracks: Tracks, track: Track, now_ns: int) -> None:
    """Merge with what has the same label and touches, if both were never seen at once: sides of one thing."""
    if not track.label or track.box is None or abs(now_ns - track.first_sight_ns) < _TOUCHING_AFTER_S * 1e9:
        return
    for other in tracks.of(tracks.places.near(track.box.center, float(np.linalg.norm(track.box.size)) / 2)):
        if (
            other.label != track.label
            or other is track
            or other.box is None
            or abs(now_ns - other.first_sight_ns) < _TOUCHING_AFTER_S * 1e9
        ):
            continue
        together = tracks.pairs.together(track.slot, other.slot)
        apart = tracks.pairs.apart(track.slot, other.slot)
        touching = box_distance(track.box, other.box)[0] < _TOUCHING_M
        never_apart = (
            apart.total <= _SEEN_APART_S + 0.2 * together.total
            and apart.seconds <= _SPLIT_S + _SPLIT_SHARE * together.total
        )
        if touching and never_apart:
            tracks.merge(track, other)
            if track not in tracks:
                return


def _after_s(a: Track, b: Track) -> float:
    if not (a.id and b.id and a.label and b.label):
        return _UNNAMED_S
    return _LIKE_S if a.label == b.label else _UNLIKE_S


def _slots(a: Track, b: Track) -> tuple[int, int]:
    return (a.slot, b.slot) if a.slot < b.slot else (b.slot, a.slot)
