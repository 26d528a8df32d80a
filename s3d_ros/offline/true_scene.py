"""A scene as a perfect map would hold it: what an answerer can at best say, and whether a set of questions is sound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from s3d_ros.offline.truth import TrueFrame, Truth
from s3d_ros.types import Intrinsics, Marker, Scene, SceneObject, ViewFrame

_PLAIN = Intrinsics(640, 480, 525.0, 525.0, 319.5, 239.5)  # nothing is seen through it: the views hold no picture


def true_scene(truth: Truth, shown: Sequence[TrueFrame] = (), start_ns: int | None = None) -> Scene:
    """Return the scene of all objects that were ever seen, by their true boxes and ids, z up.

    shown: its view frames: poses and marks, no pictures. start_ns: of the recording; None: its first frame's stamp.
    """
    if start_ns is None:
        start_ns = truth.frames[0].stamp_ns if truth.frames else 0
    objects = tuple(
        SceneObject(
            o.id,
            o.label,
            o.box,
            {o.label: 1.0},
            first_seen_ns=start_ns + round(1e9 * o.first_seen_s),
            last_seen_ns=start_ns + round(1e9 * o.first_seen_s),
        )
        for o in truth.objects
        if o.first_seen_s is not None
    )
    views = tuple(
        ViewFrame(k, 0, f.stamp_ns, b"", _PLAIN, f.T_map_camera, tuple(Marker(i, 0.0, 0.0) for i in sorted(f.pixels)))
        for k, f in enumerate(sorted(shown, key=lambda f: f.stamp_ns), 1)
    )
    last = truth.frames[-1] if truth.frames else None
    return Scene(
        map_version=1,
        stamp_ns=start_ns if last is None else last.stamp_ns,
        frame_id="map",
        up=np.array([0.0, 0.0, 1.0]),
        objects=objects,
        views=views,
        floor_area_m2=truth.floor_area_m2,
        T_map_robot=None if last is None else last.T_map_camera,
    )
