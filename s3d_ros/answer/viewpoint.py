"""Viewpoints that a question states: "standing by the @0 and facing the @1, ...".

A clause is taken as a viewpoint only where it states one: after a comma or a full stop, after "if",
"when", "imagine", or with nothing asked before it. "Which chair is facing the door?" states none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from s3d_ros.answer.language import pattern, words

_WHO = r"(?:i|you|we|somebody|someone|one|person|robot|myself|yourself|me|it|camera|observer|viewer)"
_POSE = (
    r"(?:stand|stands|stood|standing|sit|sits|sat|sitting|seated|positioned|position|placed|located|situated"
    r"|stationed|parked|start|starts|started|starting|begin|begins|began|beginning|stop|stopped|waiting|wait"
    r"|go|went|walk|walked|move|moves|moved|moving|put|place|being|step|stepped|walking|going|lying|lie)"
    r"(?: off| out| up| over)?"
)
_PLACE = (
    r"(?: right| directly| just| close| back| out| here| there| over)*"
    r"(?: at| by| beside| next to| near| close to| on| in| in front of| alongside| with| against)"
    r"(?: center| centre| middle| position| location| side| spot| edge)?"
)
_LOOKING = (
    r"(?:facing|faces|faced|looking|looks|looked|turned|turning|oriented|orienting|orientated|pointed|pointing"
    r"|headed|heading|gazing|staring|aimed|directed|watching|viewing|face|look|turn|gaze|turns|facing is)"
)
_TO = (
    r"(?: my gaze| my eyes| myself| yourself| straight| directly| right| now| around| round| over| out| across"
    r"| to face)*(?: at| to| toward| towards| in direction| on| onto| into)?"
)
_LOOK = r"(?:look|face|turn|facing|looking)"

_CLAUSES = {
    # "looking from the @0 to the @1"
    "from to": (
        rf"(?:{_LOOKING}|seen|viewed) from (@)(?: over| across| out| straight)*(?: to| toward| towards| at) (@)",
    ),
    # "seen from the @0", "from the point of view of someone standing at the @0"
    "seen": (
        r"(?:as )?(?:seen|viewed|looking|observed|watching|judged) (?:from|by someone at)(?: where| someone at"
        r"| perspective)? (@)",
        r"(?:from )?(?:perspective|viewpoint|vantage point|point view)(?: somebody| someone| person| robot| is)?"
        r"(?: standing| stood| sitting| positioned)?(?: at| by| from| near| beside| next to)* (@)",
    ),
    # "I am standing by the @0", "put yourself at the @0", "my position is the @0"
    "standing": (
        rf"(?:{_WHO}(?: am| are| is| was| were| have| has| had| would be| could be| will| to)? )?"
        rf"(?:just |now |currently |then )?{_POSE}(?: {_WHO})?(?:{_PLACE}| from(?: where)?) (@)",
        rf"(?:go|walk|move|step|drive) to (@)(?= (?:and |then |, )*{_LOOK})",
        rf"(?:navigate|drive|travel|get|route|path|way|trip|heading|head) from (@)(?= (?:and |, )*{_LOOK})",
        rf"{_WHO} (?:am|are|is|was|were)(?: robot| now| currently)?{_PLACE} (@)",
        rf"(?:imagine|picture|suppose|put|place|consider|have) (?:me|myself|yourself|you|us|someone|robot){_PLACE} (@)",
        r"(?:start|starting|begin|beginning)(?: point| position| place)?(?: is)? (@)",
        r"(?:my|your|its|starting|start|current) (?:position|place|location|spot|point)(?: is)?(?: at| by| beside)?"
        r"(?: center| centre)? (@)",
    ),
    # "with my back to the @0"
    "away": (
        r"(?:with |and )?(?:my|your|its|his|our) back(?: is| are)?(?: turned| facing| pointed)?"
        r"(?: to| toward| towards| against) (@)",
        rf"(?:{_WHO} (?:am |are |is )?)?(?:facing|looking|turned) away from (@)",
    ),
    # "facing the @1", "with the @1 in front of me", "my eyes on the @1"
    "facing": (
        rf"(?:{_WHO} (?:am |are |is |was |were )?)?(?:now |then )?{_LOOKING}{_TO} (@)",
        r"(?:with|have|having|has) (@)(?: right| straight| directly)*(?: in front| ahead| before)(?: me| you| us| it)?",
        r"(?:with )?(?:my|your|its|his|our) (?:front|face|eyes|gaze|nose|head|body|attention|view)(?: is| are)?"
        r"(?: fixed| turned| pointed| pointing| directed)?(?: on| to| toward| towards| at) (@)",
        rf"(@) is(?: right| straight| directly)*(?: in front| ahead)(?: {_WHO})?",
        rf"{_WHO} (?:can )?see (@)",
    ),
    # "at the @0 looking at the @1", "from the @0 with the @1 ahead"
    "both": (
        r"(?:at|by|beside|next to|near|from|on|in front of|position|in)(?: where| center| centre| position)? (@)"
        rf"(?: is)?(?: and| while| now| then| ,| {_WHO} am| {_WHO} are)*"
        rf" (?:{_LOOKING}{_TO}|with(?: my| your| its)? \w+ (?:on|to|toward|towards|at)) (@)",
        r"(?:at|by|beside|next to|near|from)(?: center| centre| position)? (@)(?: and| ,)* with (@)"
        r"(?: right| straight| directly)*(?: in front| ahead| before)(?: me| you| us| it)?",
    ),
    # "to get from the @0"
    "travel": (
        r"(?:get|gets|go|goes|going|navigate|navigating|drive|drives|travel|travels|route|path|way|trip|heading)"
        r"(?: robot| me| you| it| us)? from (@)",
    ),
    # "From the @0, ..."
    "from": (r"(?:from|at|by|beside|position)(?: where| center| centre| middle| position)? (@)",),
}
_PATTERNS = {name: [pattern(p) for p in group] for name, group in _CLAUSES.items()}

# What may stand before a clause that states a viewpoint, and words that may come between.
_TAKEN = "§"  # stands for a clause that was taken out, until all are
_OPENERS = words(
    f"~ {_TAKEN} , if when while once after as and suppose supposing imagine imagining picture assume assuming say"
    " given now with then but so where because having be"
)
_BETWEEN = words("that the a an me you i we us there robot")
_ASKS = re.compile(
    r"\b(?:what|which|where|how|who|whether|tell|name|list|count)\b"
    r"|(?:^|[~,]) ?(?:is|are|was|were|does|do|did|can|could|should|would|must|will|am|has|have)\b"
)
_A_THING_DOES = re.compile(r"@\d+(?: (?:that|which))?(?: (?:is|are|was|were))?(?: \w+ly)? $")
_LISTED = r" , (?:the |an? )?@\d+ (?:,|and|or)"
_IN_A_LIST = re.compile(_LISTED)
_IN_A_LIST_OR_PAIR = re.compile(rf" (?:and|or) (?:the |an? )?@|{_LISTED}")
_LED_IN = re.compile(
    r"(?: (?:if|when|while|once|as|and|suppose|supposing|imagine|imagining|picture|assume|assuming|say|given|let us"
    rf"|that|so|for|,|i|you|we|the|a|robot|is|am|are))+ {_TAKEN}"
)

# Said around such a clause; none of these words asks anything.
CLAUSE_WORDS = words(
    "if when while suppose supposing imagine imagining assume assuming say picture let us as with i you we am are is"
    " was were be being robot camera person someone somebody one me my myself your yourself now just currently that"
    " so and then given where perspective viewpoint view point first once having after orientation from located want"
    " position"
)


@dataclass(frozen=True)
class View:
    """Slots of a stated viewpoint: stood by, faced, turned away from; None where not stated.

    loose: it was read from within a sentence ("... from the chair facing the door"), where it may
    as well describe an object; only questions that need a viewpoint may use it.
    """

    at: int | None = None
    facing: int | None = None
    away: int | None = None
    loose: bool = False

    def __bool__(self) -> bool:
        return (self.at, self.facing, self.away) != (None, None, None)


def take_view(text: str) -> tuple[str, View]:
    """Find the stated viewpoint in a slotted text; return the text with "~" for it, and the view.

    ``" if i am standing by the @0 and facing the @1 , is the @2 left "`` gives
    ``" ~ ~ , is the @2 left "`` and View(at=0, facing=1).
    """
    rest, view = _take(text)
    return _LED_IN.sub(" ~", rest).replace(_TAKEN, "~"), view


def _take(text: str) -> tuple[str, View]:
    rest, both = _first("from to", text)
    if both:
        return rest, View(both[0], both[1])
    rest, at = _first("seen", text, strict=False)
    if not at:
        rest, at = _first("standing", text)
    rest, away = _first("away", rest)
    rest, facing = _first("facing", rest)
    if not at and not facing:
        for strict in (True, False):
            without_both, both = _first("both", text, strict)
            if both:
                return without_both, View(both[0], both[1], loose=not strict)
    if not at and facing:
        rest, at = _first("travel", rest, strict=False)
    if not at:
        rest, at = _first("from", rest)
    first = [found[0] if found else None for found in (at, facing, away)]
    return rest, View(at=first[0], facing=first[1], away=first[2])


def _first(name: str, text: str, strict: bool = True) -> tuple[str, tuple[int, ...]]:
    """Return the text with _TAKEN for the first clause that matches and states a viewpoint, and its slots.

    strict: where something was asked before it, the clause must be opened by a word or a comma.
    """
    found = [m for p in _PATTERNS[name] for m in p.finditer(text) if _states(name, text, m, strict)]
    if not found:
        return text, ()
    first = min(found, key=lambda m: m.start())
    return f"{text[: first.start()]}{_TAKEN}{text[first.end() :]}", tuple(int(g[1:]) for g in first.groups() if g)


def _states(name: str, text: str, match: re.Match[str], strict: bool) -> bool:
    before = text[: match.start()]
    asked = name == "from" or _ASKS.search(before[max(before.rfind("~"), before.rfind(_TAKEN)) + 1 :])
    if strict and asked and not _opens_clause(before):
        return False
    if name == "both":
        return True
    if name == "facing":  # not "the @0 is facing the @1", nor "looking at the @0 and the @1, which ..."
        return not _A_THING_DOES.search(before) and not _IN_A_LIST_OR_PAIR.match(text, match.end())
    return not _IN_A_LIST.match(text, match.end())


def _opens_clause(before: str) -> bool:
    said = before.split()
    while said and said[-1] in _BETWEEN:
        said.pop()
    return not said or said[-1] in _OPENERS
