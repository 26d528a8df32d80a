"""Identity over time in the figures that trackers are compared by, computed by TrackEval: its classes, in memory.

IDF1, IDP, IDR: Ristani et al., "Performance measures and a data set for multi-target, multi-camera tracking", ECCVW
2016. HOTA, DetA, AssA: Luiten et al., "HOTA: a higher order metric for evaluating multi-object tracking", IJCV 2021.
MOTA, switches, fragmentations: Bernardin and Stiefelhagen, "Evaluating multiple object tracking performance: the CLEAR
MOT metrics", 2008.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from s3d_ros.types import F64, I64

# Why it is installed without what it asks for is told in scripts/without_dependencies.txt
_INSTALL = "pip install --no-deps trackeval==1.3.0"


class MeasureError(ValueError):
    """What is needed to measure is not there; the message says how to get it."""


@dataclass(frozen=True)
class Moment:
    """One frame. true (G,) and said (P,): ids, none twice. similarity: (G, P), 0..1. stamp_ns: of the frame."""

    stamp_ns: int
    true: Sequence[int]
    said: Sequence[int]
    similarity: F64


def track_counts(moments: Sequence[Moment]) -> dict[str, Any]:
    """Return what TrackEval counts over one sequence, as JSON can hold it; ``combined`` adds up several."""
    data = _sequence(moments)
    return {
        **{name: _plain(metric.eval_sequence(data)) for name, metric in _metrics().items()},
        "time": _time(moments),
    }


def combined(counts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the counts of several sequences together, as TrackEval combines sequences."""
    parts = list(counts)
    out: dict[str, Any] = {"time": {}}
    for name, metric in _metrics().items():
        out[name] = _plain(metric.combine_sequences({str(k): _arrays(p[name]) for k, p in enumerate(parts)}))
    for p in parts:
        for key, value in p["time"].items():
            out["time"][key] = out["time"].get(key, 0) + value
    return out


def figures(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures that are reported; None where there is nothing to divide by. HOTA: mean over its 19 alphas."""
    clear, identity, hota, time = (counts[name] for name in ("clear", "identity", "hota", "time"))
    true = int(clear["CLR_TP"] + clear["CLR_FN"])
    said = int(clear["CLR_TP"] + clear["CLR_FP"])
    out: dict[str, Any] = {
        **{key: round(float(identity[key.upper()]), 4) if true else None for key in ("idf1", "idp", "idr")},
        **{key: round(float(np.mean(hota[name])), 4) if true else None for key, name in _HOTA},
        "mota": round(float(clear["MOTA"]), 4) if true else None,
        "switches": int(clear["IDSW"]),
        "fragmentations": int(clear["Frag"]),
    }
    minutes, seen = time["object_minutes"], time["object_minutes_seen"]
    out["switches_per_object_minute"] = round(out["switches"] / minutes, 4) if minutes else None
    out["switches_per_object_minute_seen"] = round(out["switches"] / seen, 4) if seen else None
    return out | {"true": true, "said": said, "objects": int(time["objects"]), "minutes": round(time["minutes"], 3)}


_HOTA = (("hota", "HOTA"), ("deta", "DetA"), ("assa", "AssA"))


@cache
def _metrics() -> dict[str, Any]:
    try:
        from trackeval.metrics import CLEAR, HOTA, Identity
    except ImportError as error:
        raise MeasureError(f"identities are measured by TrackEval, and it is not there ({error}): {_INSTALL}") from None
    quiet = {"PRINT_CONFIG": False}  # the threshold of both is an IoU of 0.5
    return {"clear": CLEAR(quiet), "identity": Identity(quiet), "hota": HOTA()}


def _sequence(moments: Sequence[Moment]) -> dict[str, Any]:
    """Return what TrackEval's ``eval_sequence`` takes: ids numbered from 0 without gaps."""
    true = sorted({i for m in moments for i in m.true})
    said = sorted({i for m in moments for i in m.said})
    return {
        "num_timesteps": len(moments),
        "num_gt_ids": len(true),
        "num_tracker_ids": len(said),
        "num_gt_dets": sum(len(m.true) for m in moments),
        "num_tracker_dets": sum(len(m.said) for m in moments),
        "gt_ids": [_numbered(m.true, true) for m in moments],
        "tracker_ids": [_numbered(m.said, said) for m in moments],
        "similarity_scores": [np.asarray(m.similarity, np.float64).reshape(len(m.true), len(m.said)) for m in moments],
    }


def _numbered(ids: Sequence[int], known: Sequence[int]) -> I64:
    return np.searchsorted(known, np.asarray(ids, np.int64)).astype(np.int64)


def _time(moments: Sequence[Moment]) -> dict[str, float]:
    """Return how long it took, in minutes: of the recording, times the objects in it, and of sights of objects."""
    stamps = np.array([m.stamp_ns for m in moments], dtype=np.float64)
    step = float(np.median(np.diff(stamps))) / 60e9 if len(stamps) > 1 else 0.0
    minutes = float(stamps[-1] - stamps[0]) / 60e9 + step if len(stamps) else 0.0
    objects = len({i for m in moments for i in m.true})
    return {
        "objects": objects,
        "minutes": minutes,
        "object_minutes": objects * minutes,
        "object_minutes_seen": step * sum(len(m.true) for m in moments),
    }


def _plain(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: np.asarray(value, dtype=np.float64).tolist() for key, value in result.items()}


def _arrays(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: np.array(value) if isinstance(value, list) else value for key, value in result.items()}
