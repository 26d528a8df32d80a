"""Words for directions: which ones a question or its options allow, and which one a bearing is.

Bearings are in degrees from where the person faces, left positive. With

- left, right: by the sign of the bearing;
- left, right, back: back from 135 degrees on;
- front-left, front-right, back-left, back-right: the quadrants;
- front, left, right, back: 90 degrees each, front centred on 0;
- front, back: front below 90 degrees.
"""

from __future__ import annotations

import re

_FRONT = r"(?:front|ahead|forward|forwards|straight)"
_BACK = r"(?:back|behind|rear|backward|backwards|around|round|u)"
_SIDE = r"(?:left|right)"
_FILL = r"(?:(?:to|and|on|of|in|the|my|me|your|hand|side|diagonally|slightly|it|at|turn|you|a) )*"
_PAIR = re.compile(
    rf"\b(?:(?P<a>{_FRONT}|{_BACK})[ -]*{_FILL}(?P<b>{_SIDE})|(?P<c>{_SIDE})[ -]*{_FILL}(?P<d>{_FRONT}|{_BACK}))\b"
)
_ONE = re.compile(rf"\b(?:(?P<front>{_FRONT})|(?P<back>{_BACK})|(?P<side>{_SIDE}))\b")

FULL_SURENESS_DEG = 10.0  # from the next direction; nearer to it the confidence falls, down to a half

HALVES = ("left", "right")
THIRDS = ("left", "right", "back")
QUADRANTS = ("front-left", "front-right", "back-left", "back-right")
FOUR = ("front", "left", "right", "back")
AHEAD_OR_NOT = ("front", "back")
_NAMED = {
    "left": "left",
    "right": "right",
    "back": "back behind rear backward backwards around",
    "front": "front ahead forward forwards",
}


def sector_of_words(text: str) -> str:
    """Return the one direction that a few words name, "" for none: "behind me, on the left" is back-left."""
    text = re.sub(r"[^a-z]+", " ", text.lower()).strip()
    pair = _PAIR.search(text)
    if pair:
        end = pair["a"] or pair["d"]
        return f"{'front' if re.fullmatch(_FRONT, end) else 'back'}-{pair['b'] or pair['c']}"
    found = {m["side"] or ("front" if m["front"] else "back") for m in _ONE.finditer(text)}
    found -= {"front"} if len(found) > 1 and "straight" in text else set()
    return found.pop() if len(found) == 1 else ""


def names_quadrant(text: str) -> bool:
    """Say whether a text names front or back together with a side, as "behind me to the left" does."""
    return _PAIR.search(text) is not None


def named_directions(text: str) -> list[str]:
    """Return which of left, right, back and front the words of a text name."""
    said = set(text.split())
    return [name for name, words in _NAMED.items() if not said.isdisjoint(words.split())]


def allowed(names: list[str]) -> tuple[str, ...]:
    """Return the system of directions that these names belong to, () for none."""
    held = set(names)
    if held & set(QUADRANTS):
        return QUADRANTS if held <= set(QUADRANTS) else ()
    for system in (HALVES, AHEAD_OR_NOT, THIRDS, FOUR):
        if held and held <= set(system):
            return system
    return ()


def sector(bearing_deg: float, system: tuple[str, ...]) -> tuple[str, float]:
    """Return the direction of a bearing in one of the systems, and how far in degrees it is from the next.

    ``sector(150, THIRDS)`` is ("back", 15); ``sector(150, QUADRANTS)`` is ("back-left", 30).
    """
    turn = abs(bearing_deg)
    side = "left" if bearing_deg > 0 else "right"
    if system == HALVES:
        return side, min(turn, 180 - turn)
    if system == THIRDS:
        return ("back", turn - 135) if turn >= 135 else (side, min(turn, 135 - turn))
    if system == QUADRANTS:
        return f"{'front' if turn < 90 else 'back'}-{side}", min(turn % 90, 90 - turn % 90)
    if system == AHEAD_OR_NOT:
        return "front" if turn < 90 else "back", abs(turn - 90)
    name = "front" if turn < 45 else "back" if turn >= 135 else side
    return name, min(abs(turn - 45), abs(turn - 135))


def in_words(bearing_deg: float) -> str:
    """Return a bearing as people say it, in eight steps: "ahead", "front-left", "left", ... "behind"."""
    names = ("ahead", "front-left", "left", "back-left", "behind", "back-right", "right", "front-right")
    return names[round(bearing_deg / 45) % 8]
