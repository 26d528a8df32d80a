"""Which identity was seen when, read from a run's ``tracks.jsonl``."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_LEAST_GAP_S = 0.25
Box = tuple[int, ...]


@dataclass(frozen=True)
class Timeline:
    """When each object was seen, in seconds from the first frame.

    spans: surviving ID -> [(from_s, to_s, ID it had then)], by time. frames_s: time of each frame. boxes: of the
    stamps that were asked for, surviving ID -> its (x, y, width, height) in the image, in pixels.
    """

    duration_s: float
    spans: Mapping[int, list[tuple[float, float, int]]]
    frames_s: list[float]
    boxes: Mapping[int, Mapping[int, Box]]


def read_timeline(tracks: Path, merged: Mapping[int, int], stamps: Collection[int] = ()) -> Timeline:
    """Read ``tracks.jsonl``; a missing file, and lines that were cut short, tell nothing.

    merged: retired ID -> surviving ID. stamps: of frames whose boxes are wanted. Sights closer together than two and a
    half of the usual steps are one span.
    """
    seen: dict[int, list[float]] = defaultdict(list)
    frames_s: list[float] = []
    looked_s: list[float] = []  # frames in which instances were looked for
    boxes: dict[int, dict[int, Box]] = {}
    first_ns: int | None = None
    if tracks.exists():
        with open(tracks, encoding="utf-8") as lines:
            for line in lines:
                try:
                    frame = json.loads(line)
                    stamp_ns, instances = int(frame["stamp_ns"]), frame["instances"]
                except (ValueError, KeyError, TypeError):
                    continue
                first_ns = stamp_ns if first_ns is None else first_ns
                now_s = (stamp_ns - first_ns) / 1e9
                frames_s.append(now_s)
                if instances:
                    looked_s.append(now_s)
                if stamp_ns in stamps:
                    boxes[stamp_ns] = {_survivor(i["id"], merged): tuple(i["bbox"]) for i in instances if i["id"]}
                for number in {i["id"] for i in instances if i["id"] is not None}:
                    seen[number].append(now_s)
    step_s = float(np.median(np.diff(looked_s))) if len(looked_s) > 1 else 0.0
    gap_s = max(2.5 * step_s, _LEAST_GAP_S)
    spans: dict[int, list[tuple[float, float, int]]] = defaultdict(list)
    for number, times in seen.items():
        spans[_survivor(number, merged)] += [(a, b, number) for a, b in _runs(times, gap_s, step_s)]
    return Timeline(max(frames_s, default=0.0), {k: sorted(v) for k, v in sorted(spans.items())}, frames_s, boxes)


def _runs(times: list[float], gap_s: float, step_s: float) -> list[tuple[float, float]]:
    """Join times that are at most ``gap_s`` apart; a run ends one step after its last time."""
    t = np.array(sorted(times))
    cuts = np.flatnonzero(np.diff(t) > gap_s)
    begins, ends = np.append(0, cuts + 1), np.append(cuts, len(t) - 1)
    return [(float(t[b]), float(t[e]) + step_s) for b, e in zip(begins, ends, strict=True)]


def _survivor(number: int, merged: Mapping[int, int]) -> int:
    known = set()
    while number in merged and number not in known:
        known.add(number)
        number = merged[number]
    return number
