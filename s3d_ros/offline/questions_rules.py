"""What the questions are about: directions, turns, and how clear a case must be to be asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

# Margins: nearer calls than these are not asked.
MIN_DISTANCE_M = 0.3  # absolute distance: of things that nearly touch a relative error means nothing
MIN_SIZE_M = 0.1  # nor of very small ones
CLOSER_BY_M, CLOSER_BY_SHARE = 0.15, 0.1  # relative distance: the second closest is further by this much, both
APART_M = 0.8  # directions and routes: centres seen from above, of places between which a direction is taken
BORDER_DEG = 10.0  # directions: from the border of any class
SIDE_TURN_DEG = (45.0, 120.0)  # routes: what is clearly a turn to the left or right,
BACK_TURN_DEG = 150.0  # and at least this, back
FIRST_SEEN_GAP_S = 0.5  # appearance order: between one category and the next
VISIBLE_PIXELS = 1000  # camera: of 640x480, that a frame must show of a thing to be asked about it
CAMERA_DISTANCE_M = 0.5  # camera: least distance and displacement; answers are rounded to 0.1 m
EXTENTS_APART_M = 0.15  # camera: between the extents of two boxes along an axis of the camera
MOVED_M, MOVED_MAINLY, MOVED_STRAIGHT = 0.25, 2.0, 0.7  # camera: least move; by how much its axis leads; of the path
NEAR_STAND_M = 0.4  # situated: from the side of the thing stood by
CLEAR_SIDE_DEG = 10.0  # situated: centres from the border between two sides
REACHES_M = (1.0, 1.5, 2.0, 2.5)  # within how many metres
REACH_CLEAR = 0.15  # of a reach: so far from its end nothing may lie that it is about
LEVEL_SHARE = 0.05  # situated distances: by so much the way through the air may be longer than that over the floor
BIGGER_BY = 1.3  # grounding: of two boxes, in volume

DIRECTIONS = {
    "easy": ("left", "right"),
    "medium": ("left", "right", "back"),
    "hard": ("front-left", "front-right", "back-left", "back-right"),
}
TURNS = ("turn left", "turn right", "turn back")


def heading_angle_deg(stand: ArrayLike, face: ArrayLike, target: ArrayLike) -> float:
    """Return by how much one turns, standing at a place and facing another, to face a third: right is positive.

    Seen from above (x, y; z up), -180..180.
    """
    ahead, there = np.subtract(face, stand)[:2], np.subtract(target, stand)[:2]
    cross = ahead[0] * there[1] - ahead[1] * there[0]
    return float(np.degrees(np.arctan2(-cross, ahead @ there)))


def direction_class(angle_deg: float, level: str) -> str | None:
    """Return the name of a direction at a level (easy, medium, hard); None within BORDER_DEG of a border."""
    borders = {"easy": (0, 180), "medium": (0, 135), "hard": (0, 90, 180)}[level]
    if any(abs(abs(angle_deg) - border) < BORDER_DEG for border in borders):
        return None
    side = "right" if angle_deg > 0 else "left"
    if level == "easy":
        return side
    if level == "medium":
        return "back" if abs(angle_deg) >= 135 else side
    return f"{'front' if abs(angle_deg) < 90 else 'back'}-{side}"


def turn_of(angle_deg: float) -> str | None:
    """Return "turn left", "turn right" or "turn back"; None for what is not clearly one of them."""
    if abs(angle_deg) >= BACK_TURN_DEG:
        return "turn back"
    if SIDE_TURN_DEG[0] <= abs(angle_deg) <= SIDE_TURN_DEG[1]:
        return "turn right" if angle_deg > 0 else "turn left"
    return None


def route_turns(stops: Sequence[ArrayLike], turn_first: bool) -> list[str] | None:
    """Return the turns of a route, None where one is not clear or two places lie too near each other.

    ``stops``: where it starts, what is faced there, and the places to go to. Unless ``turn_first``, what is faced is
    the first of these, and there is no turn before it.
    """
    start, face, *rest = (np.asarray(s, dtype=float) for s in stops)
    if not apart(start, face):
        return None
    here, ahead = (start, face - start) if turn_first else (face, face - start)
    turns = []
    for place in rest:
        turn = turn_of(heading_angle_deg(here, here + ahead, place)) if apart(here, place) else None
        if turn is None:
            return None
        turns.append(turn)
        here, ahead = place, place - here
    return turns


def apart(a: ArrayLike, b: ArrayLike) -> bool:
    """Return whether two places lie far enough from each other, seen from above, to give a direction."""
    return bool(np.hypot(*np.subtract(a, b)[:2]) >= APART_M)


def side_of(offset: ArrayLike, heading: ArrayLike) -> str | None:
    """Return on which side of somebody a place lies: "front", "left", "right", "behind"; None near a border.

    offset, heading: seen from above (x, y; z up). Each side is 90 degrees wide.
    """
    turn_deg = heading_angle_deg((0.0, 0.0), heading, offset)
    if min(abs(abs(turn_deg) - border) for border in (45.0, 135.0)) < CLEAR_SIDE_DEG:
        return None
    if abs(turn_deg) < 45:
        return "front"
    return "behind" if abs(turn_deg) > 135 else "right" if turn_deg > 0 else "left"


def movement_class(step: ArrayLike) -> str | None:
    """Return the main direction of a move (x right, y down, z forward); None where none leads clearly, or up or down.

    >>> movement_class((0.1, 0.0, 0.9)), movement_class((-0.5, 0.1, 0.1)), movement_class((0.5, 0.0, 0.4))
    ('Forward', 'Left', None)
    """
    x, y, z = np.asarray(step, dtype=float)
    first, second = sorted((abs(x), abs(y), abs(z)))[:0:-1]
    if first < MOVED_M or first < MOVED_MAINLY * second or abs(y) == first:
        return None
    if abs(z) == first:
        return "Forward" if z > 0 else "Backward"
    return "Right" if x > 0 else "Left"
