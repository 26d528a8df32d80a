"""What things look like: for each category a shape that resembles it and fills a box of any size.

A builder gets a ``Spec`` and returns meshes in the shape's own frame (x right, y to the back, z up, about the origin);
``furnish`` stretches them to the box exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from s3d_ros.offline.simulate import appliances, fittings, furniture, household
from s3d_ros.offline.simulate.mesh import Color, Mesh, join
from s3d_ros.offline.simulate.spec import Spec
from s3d_ros.types import F64, OrientedBox

Builder = Callable[[Spec], list[Mesh]]


@dataclass(frozen=True)
class Category:
    """How to build a category. colors: to choose from. front: which horizontal edge its front and back lie across:

    "any", the "thin" (shorter) one, or the "long" one.
    """

    build: Builder
    colors: tuple[Color, ...]
    front: str = "any"


_WOODS: tuple[Color, ...] = ((0.72, 0.53, 0.34), (0.55, 0.37, 0.22), (0.85, 0.72, 0.52), (0.42, 0.29, 0.2))
_CLOTHS: tuple[Color, ...] = (
    (0.28, 0.4, 0.58), (0.62, 0.26, 0.22), (0.36, 0.5, 0.36), (0.75, 0.66, 0.5), (0.42, 0.36, 0.5), (0.8, 0.55, 0.2),
    (0.3, 0.52, 0.55), (0.45, 0.45, 0.47),
)  # fmt: skip
_BRIGHTS: tuple[Color, ...] = (
    (0.85, 0.25, 0.2), (0.95, 0.75, 0.2), (0.25, 0.55, 0.8), (0.35, 0.65, 0.35), (0.9, 0.5, 0.65), (0.9, 0.9, 0.85),
)  # fmt: skip
_WHITES: tuple[Color, ...] = ((0.9, 0.9, 0.88), (0.82, 0.84, 0.86), (0.88, 0.85, 0.8))
_DARKS: tuple[Color, ...] = ((0.16, 0.16, 0.18), (0.24, 0.24, 0.27), (0.3, 0.28, 0.27))
_STEELS: tuple[Color, ...] = ((0.7, 0.72, 0.74), (0.6, 0.61, 0.63))

CATEGORIES: dict[str, Category] = {
    "chair": Category(furniture.chair, _CLOTHS + _WOODS[:2]),
    "stool": Category(furniture.stool, _WOODS + _CLOTHS[:3]),
    "table": Category(furniture.table, _WOODS + _WHITES[:1]),
    "desk": Category(furniture.table, _WOODS + _WHITES[:1]),
    "sofa": Category(furniture.sofa, _CLOTHS, "thin"),
    "bed": Category(furniture.bed, _CLOTHS, "long"),
    "bookshelf": Category(furniture.bookshelf, _WOODS + _WHITES[:1], "thin"),
    "shelf": Category(furniture.bookshelf, _WOODS + _WHITES[:1], "thin"),
    "cabinet": Category(furniture.cabinet, _WOODS + _WHITES, "thin"),
    "wardrobe": Category(furniture.cabinet, _WOODS + _WHITES, "thin"),
    "nightstand": Category(furniture.cabinet, _WOODS),
    "shoe rack": Category(furniture.rack, _WOODS, "thin"),
    "bathtub": Category(fittings.bathtub, _WHITES),
    "sink": Category(fittings.bathtub, _WHITES),
    "toilet": Category(fittings.toilet, _WHITES),
    "fireplace": Category(fittings.fireplace, ((0.62, 0.4, 0.33), (0.7, 0.66, 0.6), (0.85, 0.83, 0.8)), "thin"),
    "heater": Category(fittings.heater, _WHITES, "thin"),
    "door": Category(fittings.door, _WOODS[:3] + _WHITES[:2], "thin"),
    "window": Category(fittings.window, _WHITES, "thin"),
    "whiteboard": Category(fittings.whiteboard, _STEELS, "thin"),
    "picture": Category(fittings.picture, _WOODS, "thin"),
    "ceiling light": Category(fittings.ceiling_light, _WHITES[:1]),
    "refrigerator": Category(appliances.refrigerator, _WHITES + _STEELS),
    "washer": Category(appliances.washer, _WHITES),
    "dishwasher": Category(appliances.dishwasher, _WHITES + _STEELS),
    "stove": Category(appliances.stove, _DARKS + _STEELS),
    "microwave": Category(appliances.microwave, _DARKS + _STEELS, "thin"),
    "exhaust fan": Category(appliances.exhaust_fan, _STEELS),
    "tv": Category(appliances.tv, _DARKS, "thin"),
    "monitor": Category(appliances.monitor, _DARKS, "thin"),
    "laptop": Category(appliances.laptop, _DARKS + _STEELS),
    "computer tower": Category(appliances.computer_tower, _DARKS, "long"),
    "printer": Category(appliances.printer, _WHITES + _DARKS[1:2]),
    "keyboard": Category(appliances.keyboard, _DARKS + _WHITES[:1], "thin"),
    "computer mouse": Category(appliances.mouse, _DARKS + _WHITES[:1], "long"),
    "telephone": Category(appliances.telephone, _DARKS),
    "power strip": Category(appliances.power_strip, _WHITES),
    "headphones": Category(appliances.headphones, _DARKS),
    "table lamp": Category(household.lamp, ((0.92, 0.84, 0.62), (0.85, 0.5, 0.4))),
    "clock": Category(household.clock, _DARKS + _WOODS[:1], "thin"),
    "plant": Category(household.plant, ((0.24, 0.48, 0.2), (0.33, 0.55, 0.25), (0.2, 0.4, 0.26))),
    "trash can": Category(household.bin, _DARKS + _STEELS + _BRIGHTS[2:4]),
    "bucket": Category(household.bin, _BRIGHTS),
    "basket": Category(household.basket, ((0.72, 0.55, 0.33), (0.6, 0.45, 0.3))),
    "crate": Category(household.crate, _BRIGHTS[:4] + _WOODS[:1]),
    "suitcase": Category(household.suitcase, _BRIGHTS[:3] + _DARKS[:1], "thin"),
    "paper bag": Category(household.paper_bag, ((0.75, 0.6, 0.42),), "thin"),
    "cup": Category(household.cup, _BRIGHTS),
    "bowl": Category(household.bowl, _BRIGHTS + _WHITES[:1]),
    "pan": Category(household.pan, _DARKS),
    "kettle": Category(household.kettle, _STEELS + _BRIGHTS[:1]),
    "cutting board": Category(household.slab, _WOODS),
    "pillow": Category(household.pillow, _WHITES + _CLOTHS),
    "cushion": Category(household.pillow, _BRIGHTS[:5]),
    "blanket": Category(household.blanket, _CLOTHS),
    "shoes": Category(household.shoes, _DARKS + _BRIGHTS[:3]),
    "coat hanger": Category(household.coat_hanger, _WOODS + _DARKS[:1]),
}
_OTHER = Category(household.parcel, _CLOTHS + _WOODS)


def category(label: str) -> Category:
    """Return how to build a label; unknown ones become a box with a lid."""
    return CATEGORIES.get(label, _OTHER)


def furnish(label: str, box: OrientedBox, facing: F64, rng: np.random.Generator, *, rests: float = 1.0) -> Mesh:
    """Make the mesh of a thing in the map frame, its own tight box along the box's axes exactly ``box``.

    facing: (3,) where its front should look; of the box's horizontal directions the nearest is taken. rests: on beds,
    sofas and tables, share of the box's height below which other things rest on it (1: nothing does).
    """
    kind = category(label)
    axes, size = own_frame(box, facing, kind.front)
    color = tuple(np.clip(np.array(kind.colors[rng.integers(len(kind.colors))]) + rng.normal(0, 0.025, 3), 0.03, 1.0))
    w, d, h = (float(s) for s in size)
    mesh = join(kind.build(Spec(w, d, h, (color[0], color[1], color[2]), rng, rests))).filling(size)
    return mesh.moved(axes, box.center)


def own_frame(box: OrientedBox, facing: F64, front: str) -> tuple[F64, F64]:
    """Return the axes (3, 3), rows right, back, up, and the sizes (3,) along them, of a box whose front looks along

    ``facing`` as nearly as ``front`` ("any", "thin", "long") allows. The axes are those of the box, reordered.
    """
    up = int(np.abs(box.axes[:, 2]).argmax())
    up_axis = box.axes[up] * np.sign(box.axes[up, 2])
    flat = [k for k in range(3) if k != up]
    if front != "any":
        short_first = sorted(flat, key=lambda k: float(box.size[k]))
        unequal = box.size[short_first[1]] > 1.15 * box.size[short_first[0]]
        if unequal:
            flat = short_first[:1] if front == "thin" else short_first[1:]
    candidates = [(sign * box.axes[k], k) for k in flat for sign in (1.0, -1.0)]
    direction, depth = max(candidates, key=lambda c: float(c[0] @ facing))
    back = -direction
    right = np.cross(back, up_axis)
    width = 3 - up - depth
    return np.stack([right, back, up_axis]), box.size[[width, depth, up]]
