"""Whose is a mask that covers several objects: parts of one thing, or several things that the detector merged.

Parts of one thing have the ID of the oldest, whichever of them shows more from here: else its ID would change to and
fro until they merge. Of several things it is the largest one's, whatever the mask is called.
"""

from __future__ import annotations

import numpy as np

from s3d_ros.seen import Seen
from s3d_ros.tracks import Tracks
from s3d_ros.types import F64

_HELD_SHARE, _PART_SHARE, _LEAST_POINTS = 0.5, 0.25, 3  # of an object under a mask; of a mask that is an object
_LABEL_BONUS = 0.1  # label evidence helps a match, it never gates one
_JUST_NS, _STAY_BONUS = 250_000_000, 0.1  # who had a mask in the last frames keeps it, where shares are near
_KNOWN_APART_S = 0.2  # longer than errors at an edge of the image last


def bonus(seen: Seen, tracks: Tracks) -> F64:
    """Return what is added to the score of each match, (rows, columns): for the label, and for the oldest part."""
    mine, theirs = np.array(seen.labels, object), np.array([t.label for t in seen.tracks], object)
    out = _LABEL_BONUS * ((mine[:, None] == theirs[None]) & (mine[:, None] != "")).astype(np.float64)
    of_object, of_instance = seen.overlaps.of_object, seen.overlaps.of_instance
    just = np.array([abs(seen.points.stamp_ns - t.last_seen_ns) <= _JUST_NS for t in seen.tracks], bool)
    held = (of_object >= _HELD_SHARE) | (of_instance >= _PART_SHARE)
    held &= seen.overlaps.counts >= _LEAST_POINTS
    for row in np.flatnonzero(held.sum(axis=1) > 1).tolist():
        under = np.flatnonzero(held[row]).tolist()
        out[row, under] = _STAY_BONUS * just[under]  # what several things are called by says nothing
        under.sort(key=lambda c: seen.tracks[c].seniority)
        for k, younger in enumerate(under[1:], start=1):
            if of_object[row, younger] < _HELD_SHARE:
                continue
            older = next((c for c in under[:k] if _may_be_one(seen, tracks, c, younger)), None)
            if older is not None:
                lead = (of_object[row, younger] - of_object[row, older]) / 2 + out[row, younger] - out[row, older]
                out[row, older] += max(lead, 0.0) + of_instance[row, younger] / 2
    return out


def _may_be_one(seen: Seen, tracks: Tracks, a: int, b: int) -> bool:
    """Whether two objects that one mask holds may be parts of one thing, for all that was seen of them."""
    one, other = seen.tracks[a], seen.tracks[b]
    together_s, apart_s = tracks.pairs.totals(one.slot, other.slot)
    if one.id and other.id and one.label != other.label:
        return apart_s == 0 and together_s > 0
    return apart_s <= max(together_s, _KNOWN_APART_S)
