"""A small room whose answers are known by hand, for the tests of the answerers.

Plan, in metres, x to the right, y up; the camera C at (2.5, 0.2) looks along +y:

    y 5          whiteboard 18
      4   sofa 3 (1, 4)                  tv 4 (4, 4)     plant 17 (5.2, 4.6)
      3                                              trash can 12 (5, 3)
     2.5  refrigerator 11 (0.5)  chair 6 (2)  table 5 (3)  chair 7 (4.3)
     1.5                                  chair 8 (3)
      1   bed 1 (1, 1)                                   door 2 (5, 1)
      0                             C
"""

from __future__ import annotations

import numpy as np

from s3d_ros.types import F64, ObjectState, OrientedBox, Scene, SceneObject

ROWS = (  # id, label, center, size, first seen in s
    (1, "bed", (1.0, 1.0, 0.25), (2.0, 1.0, 0.5), 1.0),
    (2, "door", (5.0, 1.0, 1.0), (0.2, 1.0, 2.0), 9.0),
    (3, "sofa", (1.0, 4.0, 0.4), (2.0, 1.0, 0.8), 4.0),
    (4, "tv", (4.0, 4.0, 1.0), (0.1, 1.2, 0.7), 6.0),
    (5, "table", (3.0, 2.5, 0.375), (1.2, 0.8, 0.75), 2.0),
    (6, "chair", (2.0, 2.5, 0.45), (0.5, 0.5, 0.9), 2.5),
    (7, "chair", (4.3, 2.5, 0.45), (0.5, 0.5, 0.9), 5.0),
    (8, "chair", (3.0, 1.5, 0.45), (0.5, 0.5, 0.9), 3.0),
    (9, "laptop", (3.0, 2.5, 0.85), (0.35, 0.25, 0.2), 3.5),
    (10, "cup", (3.4, 2.7, 0.8), (0.08, 0.08, 0.1), 7.0),
    (11, "refrigerator", (0.5, 2.5, 0.9), (0.6, 0.6, 1.8), 8.0),
    (12, "trash_can", (5.0, 3.0, 0.2), (0.3, 0.3, 0.4), 10.0),
    (13, "computer mouse", (2.6, 2.4, 0.77), (0.1, 0.06, 0.04), 11.0),
    (14, "ceiling light", (1.5, 1.5, 2.5), (0.4, 0.4, 0.1), 12.0),
    (15, "ceiling light", (3.5, 3.5, 2.5), (0.4, 0.4, 0.1), 13.0),
    (16, "suitcase", (3.0, 2.6, 0.2), (0.5, 0.3, 0.4), 14.0),
    (17, "plant", (5.2, 4.6, 0.4), (0.4, 0.4, 0.8), 15.0),
    (18, "whiteboard", (2.5, 4.95, 1.5), (1.5, 0.05, 1.0), 16.0),
    (19, "stove", (0.5, 3.2, 0.45), (0.6, 0.6, 0.9), 0.5),  # GONE
)
MERGED = {30: 7}


def kitchen_like(R: F64 | None = None, shift: tuple[float, float, float] = (0, 0, 0)) -> Scene:
    """Make the scene, turned by R (3, 3) and moved by ``shift``: up is then R's third column."""
    R = np.eye(3) if R is None else R
    move = np.asarray(shift, dtype=np.float64)
    objects = tuple(
        SceneObject(
            id=number,
            label=label,
            box=OrientedBox(R @ np.asarray(center) + move, np.asarray(size, float), R.T.copy()),
            label_scores={label: 0.9, "thing": 0.1},
            aliases=(30,) if number == 7 else (),
            state=ObjectState.GONE if label == "stove" else ObjectState.CONFIRMED,
            confidence=0.95,
            first_seen_ns=int(first_s * 1e9),
            last_seen_ns=int(20e9),
            observations=10,
        )
        for number, label, center, size, first_s in ROWS
    )
    camera = np.eye(4)
    camera[:3, :3] = R @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=np.float64)
    camera[:3, 3] = R @ np.array([2.5, 0.2, 1.2]) + move
    return Scene(
        map_version=7,
        stamp_ns=123,
        frame_id="map",
        up=R[:, 2].copy(),
        objects=objects,
        floor_area_m2=26.4,
        T_map_robot=camera,
        merged=MERGED,
    )
