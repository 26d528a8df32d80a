"""Which object of the map is which of the truth: a label is kept only where both boxes agree (IoU of 0.75 or more)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from s3d_ros.benchmarks.scene_boxes import iou_matrix
from s3d_ros.types import OrientedBox, SceneObject

PROPOSAL_IOU = 0.75


@dataclass(frozen=True)
class Matches:
    """map_ids: truth id -> ID in the map, where it is good enough. iou: of the best partner of each truth id."""

    map_ids: Mapping[int, int]
    iou: Mapping[int, float]


def match_proposals(
    truth: Mapping[int, OrientedBox], objects: Sequence[SceneObject], least: float = PROPOSAL_IOU, oriented: bool = True
) -> Matches:
    """Match each true box to one object of the map, no object to two, so that the sum of IoU is largest.

    oriented: compare turned boxes as they are; else, as the official files and scorers do, the upright ones around.
    """
    ids = sorted(truth)
    if not ids or not objects:
        return Matches({}, dict.fromkeys(ids, 0.0))
    iou = iou_matrix([truth[i] for i in ids], [o.box for o in objects], oriented)
    rows, columns = linear_sum_assignment(np.where(iou >= least, iou, 0.0), maximize=True)
    found = {ids[r]: objects[c].id for r, c in zip(rows, columns, strict=True) if iou[r, c] >= least}
    return Matches(found, {i: float(iou[k].max()) for k, i in enumerate(ids)})
