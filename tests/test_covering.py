"""Whose a mask is that covers several objects."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from s3d_ros.association import Overlaps, assign
from s3d_ros.covering import bonus
from s3d_ros.seen import Seen
from s3d_ros.tracks import Tracks

_NOW_NS = 10_000_000_000


def _seen(tracks: Tracks, label: str, counts: list[int]) -> Seen:
    """One mask over all objects, none of which shows beside it."""
    under = np.array([counts], np.int64)
    nothing = cast(Any, None)
    return Seen(
        points=cast(Any, SimpleNamespace(stamp_ns=_NOW_NS)),
        numbers=np.array([1], np.int32),
        labels=[label],
        scores=[0.9],
        row_of_point=nothing,
        voxel_of_point=nothing,
        tracks=list(tracks),
        overlaps=Overlaps(under, under.sum(axis=1), under[0]),
        large=np.ones(1, bool),
        barely=np.zeros(1, bool),
        beside=np.zeros_like(under),
        continuous=set(),
    )


def _known(*labels: str) -> Tracks:
    tracks = Tracks(0.03)
    for label in labels:
        track = tracks.new(0)
        track.label = label
        tracks.confirm(track)
    return tracks


def _owner(tracks: Tracks, label: str, counts: list[int]) -> int:
    seen = _seen(tracks, label, counts)
    return assign(seen.overlaps, bonus(seen, tracks), 0.3)[0]


def test_of_two_parts_of_one_thing_the_oldest_has_the_mask_whichever_shows_more() -> None:
    tracks = _known("monitor", "monitor")
    assert [_owner(tracks, "monitor", shown) for shown in ([60, 40], [40, 60])] == [0, 0]


def test_a_merged_mask_is_the_largest_things_whatever_it_is_called() -> None:
    tracks = _known("cup", "sofa")
    first, second = tracks
    tracks.pairs.apart(first.slot, second.slot).add(0, 1.0)
    assert _owner(tracks, "cup", [45, 55]) == 1
    assert _owner(tracks, "sofa", [55, 45]) == 0


def test_who_had_the_merged_mask_just_before_keeps_it_where_both_are_about_as_large() -> None:
    tracks = _known("cup", "sofa")
    first, second = tracks
    tracks.pairs.apart(first.slot, second.slot).add(0, 1.0)
    second.last_seen_ns = _NOW_NS - 100_000_000
    assert _owner(tracks, "cup", [53, 47]) == 1
    assert _owner(tracks, "cup", [80, 20]) == 0


def test_what_was_seen_before_the_clock_went_back_was_not_seen_just_now() -> None:
    tracks = _known("cup", "sofa")
    first, second = tracks
    tracks.pairs.apart(first.slot, second.slot).add(0, 1.0)
    second.last_seen_ns = _NOW_NS + 60_000_000_000
    assert _owner(tracks, "cup", [53, 47]) == 0
