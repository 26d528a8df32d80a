"""Which of several is closest to (or farthest from) something, or to me?"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from s3d_ros.answer.asked import Asked
from s3d_ros.answer.choosing import candidates, letter_of, option_mentions
from s3d_ros.answer.kind import Kind
from s3d_ros.answer.language import words
from s3d_ros.answer.mentions import Mention
from s3d_ros.answer.refusal import Refusal
from s3d_ros.answer.wording import ME, PLAIN
from s3d_ros.answer.world import name_of, names_of
from s3d_ros.types import F64, Answer, ErrorCode, SceneObject

FULL_SURENESS_M = 0.1  # ahead of the next; closer calls lose confidence, down to a half

_NEAR = ("closest", "nearest", "closer", "nearer")
_FAR = ("farthest", "furthest", "farther", "further", "distant", "longest", "largest", "greatest")
_CUE = (
    r"(?:(?:closest|nearest)(?! (?:points?|edges?|surfaces?|sides?|parts?))|closer|nearer|farthest|furthest|farther"
    r"|further|most distant|least distant"
    r"|(?:shortest|smallest|least|minimum|minimal|longest|greatest|largest) (?:distance|gap|separation|way)"
    r"|distance (?:to|from) @ (?:is )?(?:shortest|smallest|least)|least far|less far)"
)


def closest(asked: Asked) -> Answer | None:
    """Among the things named (or all things), find the one whose closest point is nearest.

    Where a category occurs several times its nearest object counts. Without something to measure to,
    it is the viewpoint. ``facts["distances_m"]``: ID -> distance, of all candidates.
    """
    parsed, slots = asked.parsed, list(asked.parsed.slots)
    chosen = parsed.has("or") and parsed.has(*_NEAR, *_FAR)  # "is the bed or the sofa closer"
    faces_only = parsed.view.at is None and bool(parsed.view)
    if parsed.view.loose or faces_only or _HOW_FAR.search(parsed.text) or (parsed.polar and not chosen):
        return None
    reference = _reference(asked, slots)
    if reference is not None:
        slots.remove(reference)
    named = _named(asked, slots)
    if named is None or (len(slots) > 1 and not any(set(slots) <= set(g) for g in parsed.groups)):
        return None
    target = asked.one(reference) if reference is not None else None
    try:
        pool = candidates(asked, named) if named else asked.world.objects
    except Refusal as refusal:
        raise _with_best_known(asked, refusal, target) from None
    far = parsed.has(*_FAR) and not parsed.has("least")
    if target is not None:
        pool = [o for o in pool if o is not target]
        return _reply(asked, pool, asked.world.distances(target, pool), name_of(target), [target], "", far)
    here = asked.standpoint()
    pool = [o for o in pool if o is not here.place]
    used = [here.place] if here.place else []
    return _reply(asked, pool, asked.world.distances_from(here, pool), "you", used, here.words, far)


def _reply(
    asked: Asked,
    pool: Sequence[SceneObject],
    distances: F64,
    origin: str,
    used: list[SceneObject],
    viewpoint: str,
    far: bool,
) -> Answer:
    if not pool:
        raise Refusal(ErrorCode.NOT_IN_MAP, "The map holds nothing else to compare with.")
    ranked = [int(i) for i in np.argsort(-distances if far else distances, kind="stable")]
    best = pool[ranked[0]]
    letter = letter_of(asked, best)
    rivals = [i for i in ranked[1:] if not letter or letter_of(asked, pool[i]) != letter]
    lead_m = abs(float(distances[rivals[0]] - distances[ranked[0]])) if rivals else np.inf
    _, _, text = asked.length(float(distances[ranked[0]]))
    then = f"; then {names_of([pool[i] for i in ranked[1:4]])}" if len(pool) > 1 else ""
    return asked.reply(
        f"{name_of(best)} is the {'farthest from' if far else 'closest to'} {origin}: {text}{then}.",
        [best, *used],
        choice=letter,
        viewpoint=viewpoint,
        sureness=0.5 + 0.5 * min(1.0, lead_m / FULL_SURENESS_M),
        distances_m={o.id: float(d) for o, d in zip(pool, distances, strict=True)},
    )


def _with_best_known(asked: Asked, refusal: Refusal, target: SceneObject | None) -> Refusal:
    """Add to "the map holds no x" which of those that it does hold is the closest."""
    known = [o for o in asked.world.objects if o.id in refusal.objects and o is not target]
    if target is None or not known:
        return refusal
    distances = asked.world.distances(target, known)
    k = int(np.argmin(distances))
    best = f"Of the others, {name_of(known[k])} is the closest to {name_of(target)}: {distances[k]:.2f} m."
    return Refusal(refusal.code, f"{refusal.text} {best}", [known[k].id])


def _reference(asked: Asked, slots: Sequence[int]) -> int | None:
    """Return the slot that is measured to: behind "closest to", or the one outside the list."""
    text, groups = asked.parsed.text, asked.parsed.groups
    for cue in _REFERENCES:
        found = cue.search(text)
        if found and int(found[1]) in slots and not asked.mention(int(found[1])).nearest:
            either = re.search(rf"@{found[1]} or ", text)  # "am I closer to the @0 or the @1"
            return None if either else int(found[1])
    to = [int(k) for k in re.findall(r"(?:to|from) (?:the |an? )?@(\d+)", text) if int(k) in slots]
    if len(to) == 1 and (len(slots) > 1 or asked.parsed.options):
        return to[0]
    alone = [g[0] for g in groups if len(g) == 1 and g[0] in slots]
    if len(alone) == 1 and len(slots) > 2:
        return alone[0]
    one_of_options = asked.parsed.options and len(slots) == 1 and not asked.parsed.has(*ME)
    return slots[0] if one_of_options else None


def _named(asked: Asked, slots: Sequence[int]) -> list[Mention] | None:
    """Return the things to choose from, [] for all that the map holds; None where that is not what is asked."""
    named = [asked.mention(k) for k in slots]
    if named:
        return named
    if asked.parsed.options:
        parts = option_mentions(asked)
        if any(len(p) != 1 for p in parts):
            raise Refusal(ErrorCode.BAD_QUESTION, "Every option must name one thing of the map.")
        return [p[0] for p in parts]
    if not asked.parsed.has("what", "which", "where", "find", "name", "show"):
        return None
    said = {w for w in asked.parsed.text.split() if w[0] != "@"}
    return [] if said <= _ANYTHING else None  # not "the closest you have been to the sofa"


_HOW_FAR = re.compile(r"\bhow (?:far|close|near|big|long|many|much)\b")
_REFERENCES = [
    re.compile(p)
    for p in (
        r"@(\d+) (?:'s|has) (?:the |as |its |a )*(?:closest|nearest|farthest|furthest)",
        r"(?:with|using|taking|for) (?:the |an? )?@(\d+)(?: as| ,)",
        rf" {_CUE}(?: @\d+)?(?: (?!to |from |of |@)\S+){{0,4}} (?:away )?(?:to|from) (?:the |an? )?@(\d+)",
        r"(?:closest|nearest|nearer) (?:the |an? )?@(\d+)",  # "which stands nearest the door"
    )
]
# "What is the closest thing to the @0" and no more: then anything may be the answer.
_ANYTHING = words(
    "which what where is are find name show tell list the object objects thing things item items one of all any other"
    " every everything from to in on me my i us robot camera here map room scene closest nearest farthest furthest most"
    " distant lies stands sits located placed positioned neighbour neighbor has have a an with shortest smallest least"
    " longest greatest largest distance gap , ~ 's its it there that among between as by am"
)
CLOSEST = Kind(
    "relative distance",
    closest,
    asks=(_CUE,),
    reads=PLAIN + " located lies lying sits stands standing positioned situated distance distances shortest smallest"
    " least longest greatest largest minimum minimal gap separation point points edge edges surface surfaces side sides"
    " neighbour neighbor neighbours neighbors away far close near nearest closest closer nearer farthest furthest"
    " farther further distant candidates physically spatially straight line whose box boxes boundingbox four three two"
    " five out rest nearby position location proximity spot neighbouring adjacent"
    " set group possibilities off most",
    phrases=(r"(?:all |than )?(?:others|(?:any |all )?other (?:objects|things|items|ones|one|two|three))",),
    mentions=(0, 12),
    polar=None,
)
