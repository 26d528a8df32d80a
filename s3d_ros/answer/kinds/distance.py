"""How far apart are two things, or how far is one from me?"""

from __future__ import annotations

import re

import numpy as np

from s3d_ros.answer.asked import Asked
from s3d_ros.answer.kind import Kind
from s3d_ros.answer.wording import LENGTHS, ME, PLAIN, ROUGHLY
from s3d_ros.answer.world import name_of
from s3d_ros.types import Answer, SceneObject

# "How many inches is the tv" asks for no distance.
_APART = re.compile(r" (?:far|distance|distant|away|close|near|me|i|us|we|here)(?= )")
_OFF = re.compile(r" (?:gap|off|clearance|spacing|interval)(?= )")  # "how far off is the clock"
# "What is in the space between the bed and the door".
_WITHIN = re.compile(r" (?:in|through|into|fills?) (?:the |a )?(?:space|gap|room|area|clearance) ")
# "How far did you get from the door".
_IN_THE_PAST = re.compile(
    r"(?<! i)(?<! we)(?<! you) (?:did|have|has|had) (?:the |a )?(?:i|you|we|it|they|robot|@\d+) (?!to )"
)
# "How far is the bed or the sofa", "how far am I from the bed and the sofa": two questions in one.
_EITHER = re.compile(r"@\d+ or (?:the |an? )?@\d+")
_OF_ME = re.compile(
    r" (?:(?:from|to|between) (?:me|us|here|myself|you|my position|where i am)|(?:am|are) (?:i|we|you)) "
)
# "Which object has the smallest distance to the door".
_WHICH_THING = re.compile(
    r"\b(?:which|what) (?:one|of|(?:other )?(?:object|thing|item|option|candidate|choice)s?)\b|\bwhose\b"
    r"|\b(?:object|thing"
    r"|item|one)s? (?:with|at|that has|which has|having) the (?:smallest|shortest|least|minimum|largest|greatest"
    r"|longest)"
)
# "From edge to edge" is between the things themselves; "from the cup to the edge of the table" is not.
_PART = re.compile(r" (?:edges?|sides?|ends?|parts?|middle) (?:of )?(?:the |an? )?@")


def distance(asked: Asked) -> Answer | None:
    """Distance between the closest points of two objects, or from me to an object's closest point, in 3D.

    "The nearest chair" is the one nearest to the other thing named. "The two chairs" are both ends
    where there are just two. Centres are measured between where the question says so.
    """
    parsed, slots = asked.parsed, asked.parsed.slots
    if _IN_THE_PAST.search(parsed.text) or _WITHIN.search(parsed.text):
        return None
    if _names_things(asked) or _WHICH_THING.search(parsed.text):
        return None
    if len(slots) == 2 and (_EITHER.search(parsed.text) or _OF_ME.search(parsed.text)):
        return None
    if parsed.view.loose or (len(slots) == 2 and parsed.view) or len(_PART.findall(parsed.whole)) == 1:
        return None
    if len(slots) == 2:
        a, b = _ends(asked, *slots)
    elif asked.mention(slots[0]).plural and not parsed.has(*ME) and not parsed.view:
        found = asked.all(asked.mention(slots[0]))
        if len(found) != 2:
            raise asked.ambiguous(asked.mention(slots[0]).word, found)
        a, b = found
    elif parsed.view or (_APART.search(parsed.text) and (parsed.has(*ME) or not _OFF.search(parsed.text))):
        return _from_me(asked, asked.one(slots[0]))
    else:
        return None
    metres, where = asked.world.distance(a, b), "between their closest points"
    if parsed.has("centers", "centres", "center", "centre", "middles"):
        metres, where = float(np.linalg.norm(a.box.center - b.box.center)), "between their centres"
    value, unit, text = asked.length(metres)
    return asked.reply(f"{text} {where}: {name_of(a)} and {name_of(b)}.", (a, b), value, unit)


def _ends(asked: Asked, first: int, second: int) -> tuple[SceneObject, SceneObject]:
    if asked.mention(first).nearest:
        b = asked.one(second)
        near = [o for o in asked.all(asked.mention(first)) if o is not b] or [b]
        return near[int(np.argmin(asked.world.distances(b, near)))], b
    if asked.mention(second).nearest:
        b, a = _ends(asked, second, first)
        return a, b
    if asked.parsed.closest_counts:
        pairs = [
            (a, b) for a in asked.all(asked.mention(first)) for b in asked.all(asked.mention(second)) if a is not b
        ]
        if pairs:
            return min(pairs, key=lambda pair: asked.world.distance(*pair))
    return asked.one(first), asked.one(second)


def _names_things(asked: Asked) -> bool:
    """Say whether the options name things: then it asks which of them is how far."""
    parts = asked.parsed.option_parts
    return bool(parts) and all(part.mentions for part in parts)


def _from_me(asked: Asked, thing: SceneObject) -> Answer:
    here = asked.standpoint()
    value, unit, text = asked.length(float(asked.world.distances_from(here, [thing])[0]))
    if here.place is None:
        text = f"{text} to the closest point of {name_of(thing)}, {here.words}."
        return asked.reply(text, (thing,), value, unit, viewpoint=here.words)
    text = f"{text} between the closest points of {name_of(thing)} and {name_of(here.place)}."
    return asked.reply(text, (thing, here.place), value, unit, viewpoint=here.words)


DISTANCE = Kind(
    "distance",
    distance,
    asks=(
        r"(?:how (?:far|close|near|distant|remote)|distance|shortest way(?: across)?|gap|clearance|separation"
        r"|spacing|interval"
        r"|(?:how much|how many)(?=(?: \S+){0,5} (?:between|separates?|separated|separating|apart|away))"
        r"|shortest (?:straight )?line"
        r"|closest @ (?:gets|comes|is) to|(?:space|room|empty space|free space) between"
        r"|(?:measure|measured|measuring)(?: from)? @ to @|measure between"
        r"|how (?:wide|large|big|long|short)(?: is| a| would)? (?:gap|distance|space|stretch|shortest|line)"
        r"|(?:length|size|width) (?:gap|distance|space|stretch|line)"
        r"|what separates(?= .* (?:metres|centimetres|millimetres|feet|inches))|how great(?: is"
        r"| would)?(?: be)? distance|(?:gap|line|space)(?=[^@]* how (?:wide|long|large|big))"
        r"|(?:tape|ruler)(?: measure)?|how many (?:metres|centimetres|millimetres|feet|inches))",
    ),
    reads=PLAIN
    + " far off apart away distant distance gap line straight direct directly shortest minimum minimal smallest"
    " closest nearest least point points edge edges surface surfaces side sides part parts center centers centre"
    " centres middles ends outer outermost other another two both much many clearance separation spacing lies lying"
    " stands sits located situated positioned separate separates separated separating boundingbox box boxes crow"
    " flies way only stretched tape ruler end position location spot camera linear euclidean physical spatial actual"
    " real true"
    " interval exist exists great long wide express in stand stands have how length extent" + LENGTHS + ROUGHLY,
    phrases=(
        r"(?:free|empty) space|(?:must )?be bridged|joining|connecting|connect|joins|connects|(?:does one |do i "
        r"|do you |would i )have to go(?= .*straight line)"
        r"|if you go|(?:extent|length)(?= gap| distance| space| shortest| line| \w+ (?:of )?(?:the )?shortest| in)"
        r"|to other",
        r"@ (?:lie|stand|sit)|lie between|do i (?:stand|need to measure|have to measure)",
        r"to (?:reach|get to) @",
        r"close together|close to each|what (?:do|would|will) i get",
        r"(?:would|will|does) (?:it|tape|tape measure|ruler) (?:read|show|say)|stretch(?:ed)?(?: tape| line)?",
    ),
    mentions=(1, 2),
)
