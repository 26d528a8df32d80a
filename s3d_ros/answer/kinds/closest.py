"""Which of several is closest to (or farthest from) something, or to me?"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from s3d_ros.answer.asked import Asked
from s3d_ros.answer.choosing import candidates, letter_of, option_mentions
from s3d_ros.answer.kind import Kind
from s3d_ros.answer.language import pattern, words
from s3d_ros.answer.mentions import Mention
from s3d_ros.answer.refusal import Refusal
from s3d_ros.answer.wording import ME, PLAIN
from s3d_ros.answer.world import name_of, names_of
from s3d_ros.types import F64, Answer, ErrorCode, SceneObject

FULL_SURENESS_M = 0.1  # ahead of the next; closer calls lose confidence, down to a half

_NEAR = ("closest", "nearest", "closer", "nearer")
_FAR = ("farthest", "furthest", "farther", "further", "distant", "longest", "largest", "greatest")
_SHORT = "shortest|smallest|least|lowest|minimum|minimal"
_LONG = "longest|greatest|largest|maximum|maximal"
_LENGTH = "distances?|gaps?|separations?|way|space|measure|measurements?|straight lines?|number metres"
_CUE = (
    r"(?:(?:closest|nearest)(?! (?:points?|edges?|surfaces?|sides?|parts?))|closer|nearer|farthest|furthest|farther"
    r"|further|most distant|least distant"
    rf"|(?:{_SHORT}|{_LONG}) (?:tape )?(?:{_LENGTH})|least far|less far)"
)
# "Which distance to the @0 is smallest", "ranked by distance, which comes first": the words stand apart.
_CUES = (
    rf"(?:{_CUE[3:-1]}|(?:{_LENGTH})(?=(?: \S+)* (?:{_SHORT}|{_LONG}))"
    rf"|(?:{_SHORT}|{_LONG})(?=(?: (?!points?|edges?|sides?|@)\S+)* (?:{_LENGTH}))"
    rf"|(?:rank\w*|sort\w*|order\w*|list\w*)(?=(?: \S+)* by(?: \w+)? (?:{_LENGTH})(?: \S+)* first)"
    rf"|minimi[sz]es (?:{_LENGTH}))"
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
    if reference is None and not parsed.view and not _CUE_TOGETHER.search(parsed.text):
        return None  # "which line of the book is the shortest"
    targets = _targets(asked, reference)
    target = targets[0] if targets else None
    try:
        pool = candidates(asked, named) if named else asked.world.objects
    except Refusal as refusal:
        raise _with_best_known(asked, refusal, target) from None
    said = set(_NEAR_TO_FAR.sub(" ", parsed.text).split())
    far = not said.isdisjoint(_FAR) and "least" not in said
    if target is not None:
        pool = [o for o in pool if all(o is not t for t in targets)]
        far_off = np.min([asked.world.distances(t, pool) for t in targets], axis=0)
        if parsed.closest_counts and named:
            pool, far_off = _one_of_each(asked, named, pool, far_off)
        whom = name_of(target) if len(targets) == 1 else asked.mention(reference or 0).word
        return _reply(asked, pool, far_off, whom, targets, "", far)
    here = asked.standpoint()
    pool = [o for o in pool if o is not here.place]
    used = [here.place] if here.place else []
    return _reply(asked, pool, asked.world.distances_from(here, pool), "you", used, here.words, far)


def _targets(asked: Asked, reference: int | None) -> list[SceneObject]:
    """Return what is measured to, [] for the viewpoint; several where the question lets the closest of them count."""
    if reference is None:
        return []
    return asked.all(asked.mention(reference)) if asked.parsed.closest_counts else [asked.one(reference)]


def _one_of_each(
    asked: Asked, named: Sequence[Mention], pool: Sequence[SceneObject], distances: F64
) -> tuple[list[SceneObject], F64]:
    """Keep the closest object of each thing named: what is farthest goes by these."""
    kept = set()
    for mention in named:
        own = {o.id for o in asked.all(mention)}
        ranked = [int(i) for i in np.argsort(distances, kind="stable") if pool[int(i)].id in own]
        kept.update(ranked[:1])
    rows = sorted(kept)
    return [pool[i] for i in rows], distances[rows]


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


_HOW_FAR = re.compile(r"(?<!compare )(?<!by )\bhow (?:far|close|near|big|long|many|much)\b")
_CUE_TOGETHER = pattern(_CUE)
_NEAR_TO_FAR = re.compile(r"(?:nearest|closest) to (?:the )?(?:farthest|furthest|most distant)")  # a ranking
_REFERENCES = [
    re.compile(p)
    for p in (
        r"@(\d+) (?:'s|has) (?:the |as |its |a )*(?:closest|nearest|farthest|furthest)(?! points?| edges?)",
        r"(?:with|using|taking|for) (?:the |an? )?@(\d+)(?: as| ,)",
        r" (?:target|reference|anchor)(?: object| item| thing| point)?(?: is)?(?: ,)* (?:the |an? )?@(\d+)",
        r" (?:consider|interested in|think of|there is) (?:the |an? )?@(\d+)(?! ,| and| or)",
        rf" {_CUE}(?: @\d+)?(?: (?!to |from |of |@)\S+){{0,4}} (?:away )?(?:to|from) (?:the |an? )?@(\d+)",
        r"(?:closest|nearest|nearer) (?:the |an? )?@(\d+)",  # "which stands nearest the door"
    )
]
# "What is the closest thing to the @0" and no more: then anything may be the answer.
_ANYTHING = words(
    "which what where is are find name show tell list the object objects thing things item items one of all any"
    " other every everything from to in on me my i us robot camera here map room scene closest nearest farthest"
    " furthest most distant lies stands sits located placed positioned neighbour neighbor has have a an with"
    " shortest smallest least"
    " longest greatest largest distance gap , ~ 's its it there that among between as by am"
)
CLOSEST = Kind(
    "relative distance",
    closest,
    asks=(_CUES,),
    reads=PLAIN + " located lies lying sits stands standing positioned situated distance distances shortest smallest"
    " least longest greatest largest minimum minimal gap separation point points edge edges surface surfaces side"
    " sides neighbour neighbor neighbours neighbors away far close near nearest closest closer nearer farthest"
    " furthest farther further distant candidates physically spatially straight line whose box boxes boundingbox"
    " four three two five out rest nearby position location proximity spot neighbouring adjacent set group"
    " possibilities off most candidate target reference only itself separated space distances separations"
    " gaps lowest maximal maximum locate",
    phrases=(
        r"rank(?=.* from(?: nearest| closest)? to)|is first(?= [,~])",
        rf"(?:rank|ranks|ranked|ranking|sort|sorted|order|ordered|list|listed|arranged)(?=(?: \S+)* (?:{_LENGTH}))",
        r"(?:come|comes|coming|is|be|reach|reached)(?: out)? first|distance wise|@ minimi[sz]es|(?:comes"
        r"|come) closest",
        r"(?:listed |given )?(?:below|above)(?! @)|(?:with )?that in mind|if i want|smallest number metres"
        r"|in distance"
        r"|be first to be (?:met|reached)|went outward|going outward|from(?: nearest| closest)? to (?:farthest"
        r"|furthest)",
        r"going from|object closest|draw(?:n|ing)?|which line|(?:you|i|we) can (?:choose|pick|select)|interested in"
        r"|belongs to|tape measure|(?:after|having) (?:seeing"
        r"|seen|watching|watched)|would need",
        r"how far(?=.* (?:nearest|closest|nearer|closer|farthest|furthest))",
        r"(?:all |than )?(?:others|(?:any |all )?other (?:objects|things|items|ones|one|two|three))",
    ),
    mentions=(0, 12),
    polar=None,
)
