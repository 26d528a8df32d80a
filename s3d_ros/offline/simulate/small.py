"""Small worlds for tests: a box-shaped room with a few things, whose geometry is known by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from s3d_ros.offline.simulate.layout import LayoutObject
from s3d_ros.offline.simulate.mesh import box
from s3d_ros.offline.simulate.room import Room, build_shell
from s3d_ros.offline.simulate.shapes import furnish
from s3d_ros.offline.simulate.textures import Texture
from s3d_ros.offline.simulate.world import Thing, World
from s3d_ros.types import OrientedBox

# (label, centre, size): metres, axes those of the room
Entry = tuple[str, tuple[float, float, float], tuple[float, float, float]]


def make_box_room(
    size: tuple[float, float, float] = (4.0, 3.0, 2.5),
    things: Sequence[Entry] = (),
    *,
    plain: bool = False,
    seed: int = 0,
) -> World:
    """Return a room from (0, 0, 0) to ``size`` without windows, its things numbered from 1 in their order.

    plain: things are exact boxes instead of shapes that resemble their label.
    """
    room = Room("box room", np.eye(4), np.array(size, dtype=np.float64))
    rng = np.random.default_rng([seed, 7])
    made = []
    for number, (label, center, extent) in enumerate(things, 1):
        o = LayoutObject(number, label, OrientedBox(np.array(center, float), np.array(extent, float), np.eye(3)))
        if plain:
            half = o.box.size / 2
            r, g, b = rng.uniform(0.2, 0.9, 3)
            mesh = box(o.box.center - half, o.box.center + half, (float(r), float(g), float(b)), Texture.FABRIC)
        else:
            mesh = furnish(label, o.box, np.array([0.0, -1.0, 0.0]), rng)
        made.append(Thing(number, label, o.box, mesh))
    return World("box room", tuple(made), build_shell(room, (), (), rng), (room,))
