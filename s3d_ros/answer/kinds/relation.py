"""What is near, on, under, left of X, or around me? Which of them, how many, and is it so?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from s3d_ros.answer.asked import SHOWN_AT_MOST, Asked
from s3d_ros.answer.kind import Kind
from s3d_ros.answer.kinds.closest import FULL_SURENESS_M
from s3d_ros.answer.kinds.counting import yes_no
from s3d_ros.answer.language import pattern
from s3d_ros.answer.relations import DIRECTED, around, related
from s3d_ros.answer.world import name_of, names_of
from s3d_ros.types import Answer, SceneObject

_JUST = r"(?:directly |right |straight |just |immediately )?"
_REACH = r"within (?P<reach>\d{1,6}(?:\.\d{1,6})?) (?P<unit>metres|centimetres)"
_TO_A_THING = {
    "left": r"(?:(?:to|on|at) )?left(?: hand)?(?: side)?(?=\s(?:of|from)\s)",
    "right": r"(?:(?:to|on|at) )?right(?: hand)?(?: side)?(?=\s(?:of|from)\s)",
    "behind": r"(?:behind|in back|to rear)",
    "front": r"in front",
    "under": r"(?:under|underneath|below|beneath)",
    "above": r"(?:above|over)",
    "on": r"(?:(?:lying |standing |sitting |placed |resting )?on|on top|onto|upon|atop)",
    "near": r"(?:(?:next to|near|nearby|near to|close to|beside|by|around|adjacent to|alongside|at"
    rf"|in vicinity|in proximity to|surrounding|close by)|{_REACH}(?: to| from)?)",
}
_TO_ME = {
    "left": r"(?:(?:to|on|at) (?:(?:my|your|our|its) )?left(?: hand)?(?: side)?(?: me| you| us)?"
    r"|left (?:me|you|us))",
    "right": r"(?:(?:to|on|at) (?:(?:my|your|our|its) )?right(?: hand)?(?: side)?(?: me| you| us)?"
    r"|right (?:me|you|us))",
    "behind": r"(?:behind (?:me|you|us|robot|camera)|(?:at|to|on|in) (?:my|your) (?:back|rear)|behind my back)",
    "front": r"(?:(?:in front|ahead)(?: me| you| us| robot| camera)?|in my front)",
    "near": r"(?:(?:near|around|surrounding|surround|surrounds|close to|next to|beside|by|nearby"
    r"|in vicinity) (?:me|you|us|robot|camera|my vicinity|your vicinity|here)|nearby|close by"
    rf"|in (?:my|your) (?:vicinity|surroundings)|(?:my|your) surroundings|{_REACH}(?:(?: from| to)?(?: me| you| us)"
    r"|(?= [~,])))",
}
_SAID = {"near": "near", "on": "on", "under": "under", "above": "above", "left": "to the left of"} | {
    "right": "to the right of",
    "behind": "behind",
    "front": "in front of",
}
_PATTERNS = [(name, pattern(rf"{_JUST}{phrase} (?P<slot>@)")) for name, phrase in _TO_A_THING.items()]
_PATTERNS_ME = [(name, pattern(_JUST + phrase)) for name, phrase in _TO_ME.items()]

# How the rest of the question may read, with | for the relation and articles left out.
_LIES = (
    r"(?:(?:lie|lies|lying|stand|stands|standing|sit|sits|sitting|is|are|was|were|placed|located|situated|positioned"
    r"|found|kept)\s?)*"
)
_THINGS = r"(?:objects?|things?|items?|stuff|furniture|pieces furniture|else)"
_SEE = r"(?: (?:do|can) (?:you|i|we) (?:see|have|find))?"
_HAVE_I = r"(?: do (?:i|we|you) have)?"
_FORMS = {
    "how many": re.compile(
        rf"(?:what is )?(?:how many|number|count)(?: {_THINGS}| @\d+){_SEE}{_HAVE_I}(?: {_LIES})? ?\|"
        rf"|\| ?how many(?: {_THINGS}| @\d+) {_LIES}"
    ),
    "is it": re.compile(
        rf"(?:is|are|was|were|do|does|can|will|would)(?: you see| you have| i have| it| be)? (?:all )?"
        rf"(?:@\d+|anything|something|{_THINGS})(?: {_LIES})? ?\|(?: ?or not)?"
        rf"|(?:do|can|could) (?:i|we) (?:have|see|find) (?:@\d+|anything|something|{_THINGS}) ?\|"
        rf"|\| ?(?:is|are)(?: any)? (?:@\d+|anything|something|{_THINGS})"
    ),
    "which": re.compile(
        rf"(?:(?:what|which|list|name|show|tell|find|everything|anything|all|other)\s?)+"
        rf"(?: ?(?:other|kinds?|sorts?|everything|{_THINGS}|@\d+))*{_SEE}(?: ?{_LIES})? ?\|"
        rf"|(?:everything|{_THINGS})(?: that are| which are)? ?\||(?:what|which) {_LIES} ?\|"
        rf"|\| ?(?:what|which)(?: {_THINGS}| @\d+)? ?{_LIES}(?:do (?:i|you|we) (?:see|have|find))?"
    ),
}
_LEFT_OUT = frozenset("the a an this that these those , ~ there any some of please".split())
# "What is on the tv" asks for a programme or a text, not for a box.
_SHOW_PICTURES = frozenset(
    "tv television telly monitor screen display laptop whiteboard blackboard picture poster painting clock telephone"
    " phone projector calendar tablet book computer".split()
)


_WHAT = rf"(?:(?:what|which|name|tell me|find)(?: {_THINGS}| @\d+)?(?: is)?)"
_NEAREST = re.compile(
    rf"{_WHAT} (?:closest|nearest)(?: {_THINGS}| one| @\d+)?(?: to me)? ?\|(?: to me)?"
    rf"|{_WHAT} ?\| (?:is )?(?:closest|nearest)(?: {_THINGS}| one| @\d+)?(?: to me)?"
    rf"|\| {_WHAT} (?:closest|nearest)(?: {_THINGS}| one| @\d+)?(?: to me)?"
)
# "Is the chair near it", "are the chairs near it", "is chair 6 near it", but not "is there a chair near it".
_DEFINITE = re.compile(r"^[ ~,]*(?:is|are|was|were) (?:the |all |these |those |this |that )*@\d+ ")


@dataclass(frozen=True)
class Relation:
    """A relation that a question states. slot: what it is related to, None for the asker. reach_m: "within 2 m"."""

    name: str
    slot: int | None
    reach_m: float | None


@dataclass(frozen=True)
class Found:
    """What holds: the objects for which it does, to what in words, the objects used for it, and from where seen."""

    hits: list[SceneObject]
    to: str
    used: list[SceneObject]
    viewpoint: str


def placed(asked: Asked) -> Answer | None:
    """Answer what is in a relation to a thing or to me, as defined in relations.py: list, count, or yes and no."""
    parsed = asked.parsed
    relation, rest = _relation(parsed.text)
    if relation is None or parsed.view.loose:
        return None
    subjects = [k for k in parsed.slots if k != relation.slot]
    plain = " ".join(w for w in rest.split() if w not in _LEFT_OUT)
    form = next((name for name, reads in _FORMS.items() if reads.fullmatch(plain)), "")
    if not form or len(subjects) > 1:
        return None
    on_a_screen = relation.name == "on" and relation.slot is not None and _shows_pictures(asked, relation.slot)
    if on_a_screen and form != "is it":
        return None
    if not subjects:
        pool = list(asked.world.objects)
    elif form == "is it" and _DEFINITE.search(parsed.text) and not asked.mention(subjects[0]).plural:
        pool = [asked.one(subjects[0])]
    else:
        pool = asked.all(asked.mention(subjects[0]))
    found = _find(asked, relation, pool)
    if form == "is it":
        return _yes_or_no(asked, relation, pool, found, every=bool(subjects) and _all_meant(asked, subjects[0]))
    return _list(asked, relation, found, counted=form == "how many")


def nearest_there(asked: Asked) -> Answer | None:
    """Find the closest of all things, or of one kind, that are left, right, behind or in front of me."""
    relation, rest = _relation(asked.parsed.text)
    if relation is None or relation.name not in DIRECTED or relation.slot is not None or asked.parsed.view.loose:
        return None
    plain = " ".join(w for w in rest.split() if w not in _LEFT_OUT)
    match = _NEAREST.fullmatch(plain)
    if match is None or asked.parsed.options:
        return None
    named = re.findall(r"@(\d+)", plain)
    pool = asked.all(asked.mention(int(named[0]))) if named else list(asked.world.objects)
    found = _find(asked, relation, pool)
    if not found.hits:
        return _list(asked, relation, found, counted=False)
    here, best = asked.standpoint(), found.hits[0]
    far = asked.world.distances_from(here, found.hits[:2])
    sure = 0.5 + 0.5 * min(1.0, float(far[-1] - far[0]) / FULL_SURENESS_M) if len(far) > 1 else 1.0
    text = f"{name_of(best)}, {far[0]:.2f} m away, is the closest {_how(relation, found)}."
    return asked.reply(text, [best, *found.used], viewpoint=found.viewpoint, sureness=sure)


def _relation(text: str) -> tuple[Relation | None, str]:
    """Return the relation in the text and the text with | for it: to a thing before to me; the longest phrase."""
    for table in (_PATTERNS, _PATTERNS_ME):
        found = [(m, name) for name, p in table if (m := p.search(text))]
        if found:
            match, name = max(found, key=lambda f: len(f[0][0].split()))
            said = match.groupdict()
            reach_m = None
            if said.get("reach"):
                reach_m = float(said["reach"]) * (0.01 if said["unit"] == "centimetres" else 1)
            slot = int(said["slot"][1:]) if said.get("slot") else None
            return Relation(name, slot, reach_m), f"{text[: match.start()]} | {text[match.end() :]}"
    return None, text


def _find(asked: Asked, relation: Relation, pool: list[SceneObject]) -> Found:
    world, directed = asked.world, relation.name in DIRECTED
    if relation.slot is None:
        here = asked.standpoint()
        if directed:
            asked.heading(here)
        hits = around(world, relation.name, here, pool, relation.reach_m)
        return Found(hits, "you", [here.place] if here.place else [], here.words)
    thing = asked.one(relation.slot)
    if not directed:
        return Found(related(world, relation.name, thing, pool, relation.reach_m), name_of(thing), [thing], "")
    here = asked.standpoint()
    ahead = asked.direction(thing.box.center - here.position, f"{here.words}, looking at {name_of(thing)}")
    return Found(related(world, relation.name, thing, pool, ahead=ahead), name_of(thing), [thing], here.words)


def _yes_or_no(asked: Asked, relation: Relation, pool: list[SceneObject], found: Found, every: bool) -> Answer:
    off = [o for o in pool if o not in found.hits]
    yes = not off if every else bool(found.hits)
    told = found.hits if yes else off if len(off) <= SHOWN_AT_MOST else []
    which = f"{names_of(told)} {_are(told)}" if told else "nothing is"
    no = "" if yes or not told else " not"
    return asked.reply(
        f"{'Yes' if yes else 'No'}, {which}{no} {_how(relation, found)}.",
        [*told, *found.used],
        choice=yes_no(asked, yes),
        viewpoint=found.viewpoint,
    )


def _list(asked: Asked, relation: Relation, found: Found, counted: bool) -> Answer:
    things, how = [*found.hits, *found.used], _how(relation, found)
    if counted:
        listed = f": {names_of(found.hits)}" if found.hits else ""
        number = len(found.hits)
        return asked.reply(f"{number} {how}{listed}.", things, value=float(number), viewpoint=found.viewpoint)
    if not found.hits:
        return asked.reply(f"Nothing that the map holds so far is {how}.", things, viewpoint=found.viewpoint)
    return asked.reply(f"{names_of(found.hits)} {_are(found.hits)} {how}.", things, viewpoint=found.viewpoint)


def _how(relation: Relation, found: Found) -> str:
    reach = "" if relation.reach_m is None else f"within {relation.reach_m:g} m of {found.to}"
    seen = f", {found.viewpoint}" if found.viewpoint else ""
    return (reach or f"{_SAID[relation.name]} {found.to}") + seen


def _are(things: Sequence[SceneObject]) -> str:
    return "is" if len(things) == 1 else "are"


def _all_meant(asked: Asked, slot: int) -> bool:
    """Say whether all are asked about, as in "are the chairs near it", or any, as in "are there chairs near it"."""
    return asked.mention(slot).plural and _DEFINITE.search(asked.parsed.text) is not None


def _shows_pictures(asked: Asked, slot: int) -> bool:
    return not _SHOW_PICTURES.isdisjoint((*asked.mention(slot).labels, asked.mention(slot).word))


RELATION = Kind(
    "relation",
    placed,
    asks=(
        r"(?:within [\d.]+ (?:metres|centimetres)|left|right|behind|front|rear|back|under|underneath|below|beneath"
        r"|above|over|on|onto|upon|atop|near|nearby|next to|close to|beside|by|around|adjacent|alongside|vicinity|at"
        r"|proximity|surrounding|surrounds|surroundings|surround|ahead|within)",
    ),
    reads="what which how many number count list name show tell find everything anything something all objects object"
    " things thing items item stuff furniture pieces else other kind kinds sort sorts can i you we me us see have lie"
    " lies lying stand stands standing sit sits sitting placed located situated positioned found kept to on at my your"
    " our its left right hand side behind in front back rear under underneath below beneath above over top onto upon"
    " resting atop near nearby next close beside by around adjacent alongside vicinity proximity surrounding surround"
    " surrounds surroundings straight ahead within metres centimetres from here robot camera or not it directly just"
    " immediately will any do could"
    " would",
    mentions=(0, 2),
    polar=None,
)
NEAREST_THERE = Kind(
    "nearest on a side",
    nearest_there,
    asks=(r"(?:closest|nearest)", r"(?:left|right|behind|front|rear|back|ahead)"),
    reads="what which name tell me find thing things object objects item items one is to on at my in of left right hand"
    " side behind front rear back ahead closest nearest i you us here robot camera",
    mentions=(0, 1),
)
