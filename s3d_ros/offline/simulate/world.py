"""A furnished home: its rooms' shells, and the things in it with their meshes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from s3d_ros.offline.simulate.arrange import facing, rests
from s3d_ros.offline.simulate.compose import Doorway, Placed, compose, fit_room
from s3d_ros.offline.simulate.config import Event, Remove
from s3d_ros.offline.simulate.layout import Layout, LayoutObject, load_layout
from s3d_ros.offline.simulate.mesh import Mesh, join
from s3d_ros.offline.simulate.room import Opening, Room, build_shell, threshold, wall_length
from s3d_ros.offline.simulate.shapes import furnish
from s3d_ros.types import F64, OrientedBox


@dataclass(frozen=True)
class Thing:
    """An object of the home: the mesh, in the map frame, exactly fills ``box``."""

    id: int
    label: str
    box: OrientedBox
    mesh: Mesh

    def moved_by(self, offset: F64, turn_deg: float = 0.0) -> Thing:
        """Return the thing shifted by ``offset`` (3,) metres and turned about the vertical through its middle."""
        center = self.box.center + offset
        if not turn_deg:
            box = replace(self.box, center=center)
            return replace(self, box=box, mesh=replace(self.mesh, vertices=self.mesh.vertices + offset))
        c, s = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
        R = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        box = replace(self.box, center=center, axes=self.box.axes @ R.T)
        vertices = (self.mesh.vertices - self.box.center) @ R.T + center
        return replace(self, box=box, mesh=replace(self.mesh, vertices=vertices))


@dataclass(frozen=True)
class World:
    """What the camera sees. The map frame is the layout's own, or for a flat that of its first room; z is up."""

    name: str
    things: tuple[Thing, ...]
    shell: Mesh
    rooms: tuple[Room, ...]
    doorways: tuple[Doorway, ...] = ()

    @property
    def floor_area_m2(self) -> float:
        return sum(room.floor_area_m2 for room in self.rooms)

    @property
    def floor_m(self) -> float:
        return float(self.rooms[0].T_map_room[2, 3])

    @property
    def bounds(self) -> tuple[F64, F64]:
        """Return the corners (3,), (3,) of the upright box round all interiors."""
        corners = np.concatenate([room.corners() for room in self.rooms])
        low, high = corners.min(axis=0), corners.max(axis=0)
        high[2] += max(float(room.size[2]) for room in self.rooms)
        return low, high

    def thing(self, number: int) -> Thing:
        """Return the thing with this id. Raises KeyError."""
        found = next((t for t in self.things if t.id == number), None)
        if found is None:
            raise KeyError(f"there is no object {number} in {self.name}")
        return found

    def without(self, number: int) -> World:
        """Return the world after a thing was carried away."""
        self.thing(number)
        return replace(self, things=tuple(t for t in self.things if t.id != number))

    def after(self, event: Event) -> World:
        """Return the world after an event. Raises KeyError."""
        if isinstance(event, Remove):
            return self.without(event.object_id)
        return self.with_moved(event.object_id, np.array(event.by_m), event.turn_deg)

    def with_moved(self, number: int, offset: F64, turn_deg: float = 0.0) -> World:
        """Return the world after a thing was shifted by ``offset`` (3,) metres, and turned about the vertical."""
        thing = self.thing(number).moved_by(np.asarray(offset, dtype=np.float64), turn_deg)
        return replace(self, things=tuple(thing if t.id == number else t for t in self.things))


def scene_from_layouts(layouts: Sequence[str | Path | Layout], *, seed: int = 0, twins: bool = False) -> World:
    """Furnish one layout, or several as a flat. Names are those of packaged layouts. Raises LayoutError.

    twins: things of one kind look alike, in all rooms.

    One layout keeps its coordinates and ids. In a flat the things are numbered anew: first room first, in its order.
    """
    read = [item if isinstance(item, Layout) else load_layout(item) for item in layouts]
    if not read:
        raise ValueError("a home needs at least one layout")
    doorways: list[Doorway] = []
    if len(read) == 1:
        placed = [Placed(fit_room(read[0]), read[0].objects)]
    else:
        placed, doorways = compose(read)
    return _build("+".join(layout.name for layout in read), placed, doorways, seed, twins)


def _build(name: str, placed: Sequence[Placed], doorways: Sequence[Doorway], seed: int, twins: bool = False) -> World:
    things: list[Thing] = []
    shells: list[Mesh] = []
    for index, (room, objects) in enumerate((p.room, p.objects) for p in placed):
        chance = [seed, zlib.crc32(room.name.encode()), index]  # no room's look hangs on another's
        rng = np.random.default_rng(chance)
        holes = [o for door in doorways for i, o in door.openings if i == index]
        windows, pictures = _wall_decor(room, objects, holes, index, len(placed) > 1, rng)
        shells.append(build_shell(room, holes + windows, pictures, rng))
        for o in objects:
            look = facing(o, objects, room)
            own = [seed, zlib.crc32(o.label.encode())] if twins else [*chance, o.id]
            mesh = furnish(o.label, o.box, look, np.random.default_rng(own), rests=rests(o, objects))
            things.append(Thing(o.id, o.label, o.box, mesh))
    shells += [threshold(door.gap[0], door.gap[1]) for door in doorways]
    return World(name, tuple(things), join(shells), tuple(p.room for p in placed), tuple(doorways))


def _wall_decor(
    room: Room,
    objects: Sequence[LayoutObject],
    doors: Sequence[Opening],
    index: int,
    in_flat: bool,
    rng: np.random.Generator,
) -> tuple[list[Opening], list[Opening]]:
    """Choose places for windows (only on walls without doorways) and pictures, clear of what stands at the wall."""
    windows: list[Opening] = []
    pictures: list[Opening] = []
    for side in rng.permutation(4).tolist():
        outer = not in_flat or not any(d.side == side for d in doors)
        if outer and len(windows) < 2:
            spot = _free_spot(room, objects, doors, side, 1.2, (0.95, 2.1), rng)
            if spot is not None:
                windows.append(replace(spot, is_window=True))
                continue
        spot = _free_spot(room, objects, doors, side, 0.7, (1.25, 1.75), rng)
        if spot is not None and len(pictures) < 2:
            pictures.append(spot)
    return windows, pictures


def _free_spot(
    room: Room,
    objects: Sequence[LayoutObject],
    doors: Sequence[Opening],
    side: int,
    width: float,
    up: tuple[float, float],
    rng: np.random.Generator,
) -> Opening | None:
    length = wall_length(room.size, side)
    if length < width + 0.8 or room.size[2] < up[1] + 0.15:
        return None
    taken = [(d.low - 0.2, d.high + 0.2) for d in doors if d.side == side]
    run, across = (0, 1) if side % 2 == 0 else (1, 0)
    far = float(room.size[across]) if side in (1, 2) else 0.0
    for o in objects:
        c = room.to_room(o.box.corners())
        near_wall = np.abs(c[:, across] - far).min() < 0.45
        if near_wall and c[:, 2].max() > up[0] - 0.1 and c[:, 2].min() < up[1] + 0.1:
            taken.append((c[:, run].min() - 0.1, c[:, run].max() + 0.1))
    starts = np.arange(0.4, length - width - 0.4 + 1e-6, 0.1)
    free = [a for a in starts if all(a + width < low or a > high for low, high in taken)]
    if not free:
        return None
    start = float(free[rng.integers(len(free))])
    return Opening(side, start, start + width, up[0], up[1])
