"""Point masks of a run on the true surface that was seen (``truth/surface.npz`` of a simulated recording).

Each point of that surface belongs to the map object that owns the nearest point of ``cloud.ply`` (``cloud_ids.npy``),
to none if that is further than 5 cm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from s3d_ros.offline.run import CLOUD_IDS, RunError, read_ply
from s3d_ros.offline.scannet_ap import PointMasks, point_ap
from s3d_ros.offline.truth import Truth
from s3d_ros.types import F32, I32, Scene

_NEAR_M = 0.05


def ids_on(points: F32, run: Path) -> I32 | None:
    """Return the map object that each point (N, 3) belongs to, (N,), 0 for none; None for a run without such IDs."""
    if not (run / CLOUD_IDS).exists() or not (run / "cloud.ply").exists():
        return None
    cloud, _ = read_ply(run / "cloud.ply")
    try:
        ids = np.load(run / CLOUD_IDS, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise RunError(f"{run / CLOUD_IDS} is damaged: {error}") from error
    if len(ids) != len(cloud):
        raise RunError(f"{run / CLOUD_IDS} tells of {len(ids)} points, cloud.ply of {len(cloud)}")
    out = np.zeros(len(points), np.int32)
    if len(cloud) and len(points):
        distance, nearest = cKDTree(cloud).query(points, distance_upper_bound=_NEAR_M)
        near = np.isfinite(distance)
        out[near] = ids[nearest[near]]
    return out


def point_masks(scene: Scene, run: Path, truth: Truth) -> PointMasks | None:
    """Compare the map's objects with the true ones, point by point; None where either has no points."""
    surface = truth.surface()
    found = None if surface is None else ids_on(surface[0], run)
    if surface is None or found is None:
        return None
    _, true = surface
    known = np.array([t.id for t in truth.objects], np.int64)
    mine = np.array([o.id for o in scene.objects], np.int64)
    both = np.zeros((len(mine), len(known)), np.int64)
    for k, i in enumerate(mine):
        on = true[found == i]
        both[k] = [(on == t).sum() for t in known]
    return PointMasks(
        both,
        np.array([(found == i).sum() for i in mine], np.int64),
        np.array([(true == t).sum() for t in known], np.int64),
        np.array([t.well_seen for t in truth.objects], bool),
        np.array([o.confidence for o in scene.objects], np.float64),
        [o.label for o in scene.objects],
        [t.label for t in truth.objects],
    )


def point_quality(scene: Scene, run: Path, truth: Truth) -> dict[str, Any] | None:
    """Return {points, agnostic, labelled}: AP of point masks, whatever their labels, and by label. None: see above."""
    masks = point_masks(scene, run, truth)
    if masks is None:
        return None
    agnostic = point_ap(masks.agnostic())
    del agnostic["classes"]
    return {"points": int(masks.true.sum()), "agnostic": agnostic, "labelled": point_ap(masks)}
