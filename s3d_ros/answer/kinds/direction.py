"""Standing by A, facing B: is C to the left, the right, behind?"""

from __future__ import annotations

import re

from s3d_ros.answer.asked import Asked
from s3d_ros.answer.kind import Kind
from s3d_ros.answer.refusal import Refusal
from s3d_ros.answer.sectors import (
    FOUR,
    FULL_SURENESS_DEG,
    HALVES,
    QUADRANTS,
    THIRDS,
    allowed,
    in_words,
    named_directions,
    names_quadrant,
    sector,
    sector_of_words,
)
from s3d_ros.answer.wording import PLAIN
from s3d_ros.answer.world import name_of
from s3d_ros.types import Answer, ErrorCode

# "Who left the cup", "which chair is left of the table".
_NOT_A_DIRECTION = re.compile(
    r" (?:left|what|which|how many|any) (?:the |an? |of )?@"
    r"|\b(?:what|which)(?: objects?| things?| items?| ones?)? (?:is|are|lies|lie|stands|sits|can|do)(?: \w+)?"
    r" (?:to|on|at|in|left|right|behind|there|above|near|directly|straight)\b"
)
_A_TURN_TAKEN = re.compile(r"\ba (?:left|right)\b")
# "Then I turn around. Is it left or right": that is no longer the viewpoint stated.
_TURNED_AROUND = re.compile(
    r"(?:(?:~|,|and|then|once|after|when|if)(?: i| you| we| having| they)?(?: then| now)?)"
    r" (?:turn|turns|turned|turning|rotate|rotated|spin|spun)(?: (?:all|the|way|myself|yourself|right))*"
    r" (?:around|round|back|about)(?= (?:~|,|and|once|by) )(?! , (?:turn |to |or )*(?:left|right))"
)
# Left of another thing there is not left of it as somebody stands
_ON_THE_MAP = re.compile(r"\b(?:on|in) the (?:\w+ )?(?:map|plan|floorplan|bird|overview|picture)\b")
_IS_THERE = re.compile(r"^[ ~,]*(?:is|are|was|were) there ")
_WHICH_WAY = re.compile(
    r"\b(?:which|what|where|how)\b[^~]*(?<!right) (?:side|direction|way|quadrant|hand|turn|rotate)\b|\bwhere\b[^~]*@"
)
_BESIDE_A_THING = re.compile(
    r"(?:left|right|behind|front)(?: hand)?(?: side)? (?:of |to )?(?:the |an? )*@|(?:side|end) of (?:the |an? )*@"
)
_REFERENCE = re.compile(
    r"(?:left|right|side|hand|relative to|respect to|compared to|relation to|from)"
    r"(?: (?:or|the|to|of|right|left|hand|side|on|,))* @(\d+)"
)


def direction(asked: Asked) -> Answer | None:
    """Direction of one object from the viewpoint that is stated, given, or the robot's latest pose.

    With a second object named ("left of the table") that one is faced. The system of directions is
    that of the options, else of the question's words (see sectors.py). ``facts``: bearing_deg (left
    positive) and direction.
    """
    parsed, world = asked.parsed, asked.world
    slots = list(parsed.slots)
    if not _asks_direction(asked):
        return None
    reference = None
    if len(slots) == 2:
        reference = _reference(asked)
        if reference not in slots:
            return None
        slots.remove(reference)
    system = _system(asked)
    if not system:
        return None
    target, here = asked.one(slots[0]), asked.standpoint()
    used, words = [target, *([here.place] if here.place else [])], here.words
    if reference is None:
        ahead = asked.heading(here)
    else:
        faced = asked.one(reference)
        used.insert(1, faced)
        words += "" if f"facing {name_of(faced)}" in words else f", facing {name_of(faced)}"
        ahead = asked.direction(faced.box.center - here.position, words)
    asked.direction(target.box.center - here.position, f"{here.words}, where {name_of(target)} is")
    bearing_deg = world.bearing_deg(here.position, ahead, target.box.center)
    name, margin_deg = sector(bearing_deg, system)
    side = "left" if bearing_deg > 0 else "right"
    return asked.reply(
        f"{name}: {name_of(target)} is {in_words(bearing_deg)}, {abs(bearing_deg):.0f} degrees to the {side}, {words}.",
        used,
        choice=_choice(asked, name),
        viewpoint=words,
        sureness=0.5 + 0.5 * min(1.0, margin_deg / FULL_SURENESS_DEG),
        bearing_deg=bearing_deg,
        direction=name,
    )


def _asks_direction(asked: Asked) -> bool:
    """Tell "is it left or right", "which way is it" from "is it on my left" and from "turn left"."""
    parsed = asked.parsed
    if (
        _TURNED_AROUND.search(parsed.text)
        or _ON_THE_MAP.search(parsed.text)
        or _NOT_A_DIRECTION.search(parsed.text)
        or (len(parsed.slots) == 1 and _BESIDE_A_THING.search(parsed.text))
    ):
        return False
    if parsed.options:
        return True
    if not (parsed.polar or parsed.view or parsed.has("which", "what", "where", "how", "or")):
        return False
    if _A_TURN_TAKEN.search(parsed.text) or (_IS_THERE.search(parsed.text) and not parsed.has("or")):
        return False
    named = len(named_directions(parsed.text))  # one alone says more of a thing: "which way is the chair behind me"
    return named > 1 or (named == 0 and _WHICH_WAY.search(parsed.text) is not None)


def _reference(asked: Asked) -> int | None:
    """Return the slot that "left of" or "relative to" refers to, or that names the thing faced once more."""
    if found := _REFERENCE.search(asked.parsed.text):
        return int(found[1])
    view = asked.parsed.view
    faced = view.facing if view.facing is not None else view.at
    if faced is None:
        return None
    same = [k for k in asked.parsed.slots if asked.mention(k).labels == asked.mention(faced).labels]
    return same[0] if len(same) == 1 else None


def _system(asked: Asked) -> tuple[str, ...]:
    """Return the system of directions: of the options, else of the words, else by how it is asked."""
    parsed = asked.parsed
    if parsed.options:
        names = [sector_of_words(o.text) for o in parsed.options]
        for option, name in zip(parsed.options, names, strict=True):
            if not name:
                text = f"Option {option.letter} ({option.text}) names no direction, such as left or behind."
                raise Refusal(ErrorCode.BAD_QUESTION, text)
        if not allowed(names):
            raise Refusal(ErrorCode.BAD_QUESTION, f"The options mix directions: {', '.join(names)}.")
        return allowed(names)
    if names_quadrant(parsed.text) or "quadrant" in parsed.whole:
        return QUADRANTS
    names = named_directions(parsed.text)
    if len(names) > 1:
        return allowed(names)
    if parsed.has("side", "hand"):
        return HALVES
    return THIRDS if parsed.has("turn", "rotate") else FOUR


def _choice(asked: Asked, name: str) -> str:
    if not asked.parsed.options:
        return ""
    letters = [o.letter for o in asked.parsed.options if sector_of_words(o.text) == name]
    if len(letters) != 1:
        text = f"The direction is {name}, and {'more than one' if letters else 'none'} of the options is that."
        raise Refusal(ErrorCode.BAD_QUESTION, text)
    return letters[0]


_DIRECTIONS = (
    " left right back behind rear front ahead forward forwards backward backwards around straight side sides"
    " direction directions way quadrant quadrants relative respect compared relation located turn rotate appears"
    " lies lying sits positioned position situated stands standing placed toward towards perspective over diagonally"
    " hand spot expect location whereabouts describes describe described four three two terms holds contains sides"
    " true round best decide fall falls part standpoint observer viewer into orientation oriented pointing rather"
    " view viewpoint degrees angle spatially words quarter using"
)
_TO_FACE = (
    r"(?:should|must|shall|need to|have to) (?:i |you |we )?(?:turn|look|rotate)",
    r"(?:to|should (?:i|you|we)|order to) (?:face|reach|get to|go to|see|look at|find|spot)",
    r"all the way|divide(?=.* into)|off to|back left|back right|@ (?:lie|sit|stand|appear|end up|be)|can (?:i|you"
    r"|we) (?:find|see|spot)|will @ be",
    r"(?:need|have|got) to (?:turn|look|face|rotate)",
    r"from (?:me|here|my position|where i am|where i stand)",
)
DIRECTION = Kind(
    "direction",
    direction,
    asks=(
        r"(?:left|right|behind|back|rear|ahead|quadrants?|direction(?: to)? @"
        r"|(?:which|what|in which|in what) (?:(?:my|your) )?(?:two )?(?:sides?|direction|way|quadrant|hand)"
        r"|@ 's direction)",
    ),
    reads=PLAIN + _DIRECTIONS,
    phrases=_TO_FACE,
    mentions=(1, 2),
    polar=None,
)
WHERE_FROM = Kind(
    "direction",
    direction,
    asks=(r"(?:where (?:is|are|would|will|do|can|could)|where @ (?:is|are|lies|would be))",),
    reads=" where which options option four describes describe tells best says i you we me my your it would will"
    " can could find look see to in on at and or as relative located"
    " respect position turn direction standing stand left right back behind front",
    phrases=_TO_FACE,
    mentions=(1, 1),
)
