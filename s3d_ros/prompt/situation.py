"""Where the asker stands: found, and said in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from s3d_ros.geometry import point_box_distance
from s3d_ros.prompt.numbers import Numbering
from s3d_ros.prompt.text import label_of
from s3d_ros.types import F64, Question, Scene, SceneObject, Situation

_SIDES = ("in front of me", "on my left", "behind me", "on my right")
_NEAR_M = 4.0
_PER_SIDE = 2


@dataclass(frozen=True)
class Stand:
    """A place on the floor plan: position (3,) in the map, heading (3,) a level unit vector, None if it looks up."""

    position: F64
    heading: F64 | None


def stand_of(question: Question, scene: Scene) -> Stand | None:
    """Return where a question is asked from: its situation, else the robot's pose, None when neither is known."""
    if question.situation is not None:
        return _stand(question.situation, scene.up)
    T = scene.T_map_robot
    if T is None:
        return None
    return _stand(Situation(T[:3, 3], T[:3, 2] if scene.robot_is_camera else T[:3, 0]), scene.up)


def _stand(situation: Situation, up: F64) -> Stand:
    up = np.asarray(up, np.float64) / np.linalg.norm(up)
    level = np.asarray(situation.heading, np.float64)
    level = level - (level @ up) * up
    length = float(np.linalg.norm(level))
    return Stand(np.asarray(situation.position, np.float64), level / length if length > 1e-3 else None)


def in_words(
    stand: Stand,
    scene: Scene,
    numbering: Numbering,
    objects: Sequence[SceneObject],
    drawn: bool = True,
    marked: bool = True,
) -> str:
    """Say where somebody stands by what is about them: "... in front of me is <OBJ003> (table, 1.2 m)".

    drawn: whether an arrow shows it on the bird's-eye view. marked: whether objects can be named by number.
    """
    start = "I am standing where the arrow on the bird's-eye view is" if drawn else "I am standing in the scene"
    looking = ", and I look where it points" if drawn and stand.heading is not None else ""
    told = _about(stand, np.asarray(scene.up, np.float64), numbering, objects, marked)
    return f"{start}{looking}{': ' if told else ''}{'; '.join(told)}."


def _about(stand: Stand, up: F64, numbering: Numbering, objects: Sequence[SceneObject], marked: bool) -> list[str]:
    near = sorted((point_box_distance(stand.position, o.box), o.id, o) for o in objects if o.id in numbering.number_of)
    sides: dict[str, list[str]] = {}
    for distance, _, thing in near:
        if distance > _NEAR_M:
            break
        side = _side(stand, up, thing)
        told = sides.setdefault(side, [])
        if len(told) < _PER_SIDE:
            label = label_of(thing)
            if marked:
                told.append(f"{numbering.token_of(thing.id)} ({f'{label}, ' if label else ''}{distance:.1f} m)")
            else:
                told.append(f"{label or 'something'} ({distance:.1f} m)")
    order = (*_SIDES, "near me")
    return [f"{side} {'is' if len(sides[side]) == 1 else 'are'} {' and '.join(sides[side])}"
            for side in order if side in sides]  # fmt: skip


def _side(stand: Stand, up: F64, thing: SceneObject) -> str:
    if stand.heading is None:
        return "near me"
    way = np.asarray(thing.box.center, np.float64) - stand.position
    way = way - (way @ up) * up / (up @ up)
    turn = np.degrees(np.arctan2(np.cross(stand.heading, way) @ up, stand.heading @ way))  # left is positive
    return _SIDES[int(np.floor((turn + 45) / 90)) % 4]
