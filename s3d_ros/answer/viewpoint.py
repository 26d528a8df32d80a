"""Viewpoints that a question states: "standing by the @0 and facing the @1, ...".

A clause is taken as a viewpoint only where it states one: after a comma or a full stop, after "if",
"when", "imagine", or with nothing asked before it. "Which chair is facing the door?" states none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from s3d_ros.answer.language import pattern, words

_WHO = (
    r"(?:i|you|we|they|somebody|someone|anyone|one|person|robot|myself|yourself|me|it|camera|observer"
    r"|viewer)(?: who| that)?"
)
_POSE = (
    r"(?:stand|stands|stood|standing|sit|sits|sat|sitting|seated|positioned|position|placed|located|situated"
    r"|stationed|parked|commence|commences|commencing|start|starts|started|starting|begin|begins|began|beginning"
    r"|stop|stopped|waiting|wait|set|sets"
    r"|setting|leave|leaves|leaving|depart|departs|departing|find|finds|found"
    r"|go|went|walk|walked|move|moves|moved|moving|put|place|being|step|stepped|walking|going|lying|lie)"
    r"(?: (?:my|your|its|the) (?:journey|trip|route|way|tour|walk))?(?: off| out| up| over)?"
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
    r"(?: my gaze| my eyes| myself| yourself| straight| directly| right| now| around| round| over| out| across| ahead"
    r"| so that i face| so that you face| to face)*(?: at| to| toward| towards| in direction| on| onto| into)?"
)
_SPOT = r"(?:position|place|location|spot|point|pose|standpoint|viewpoint|origin)"
_LOOK = r"(?:look|face|turn|facing|looking)"

_CLAUSES = {
    # "looking from the @0 to the @1"
    "from to": (
        r"(?:(?:in|take|taking|with|given|for) )?(?:view|gaze|line sight) from (@)(?: out| over)*"
        r" (?:to|toward|towards|at|onto) (@)",
        rf"(?:{_LOOKING}|seen|viewed) from (@)(?: over| across| out| straight)*(?: to| toward| towards| at) (@)",
    ),
    # "seen from the @0", "from the point of view of someone standing at the @0"
    "seen": (
        r"(?:as )?(?:seen|viewed|looking|observed|watching|judged) (?:from|by (?:someone|me|you|us|somebody) (?:at"
        r"|by|near|next to))(?: where| someone at"
        r"| perspective)? (@)",
        r"(?:from )?(?:perspective|viewpoint|standpoint|vantage point|point view)(?!\s,\s(?:is|are|do|does|would"
        r"|which|what|where)\b)"
        r"(?: somebody| someone| person| robot| is)?"
        r"(?: standing| stood| sitting| positioned)?(?: at| by| from| near| beside| next to)* (@)",
    ),
    # "I am standing by the @0", "put yourself at the @0", "my position is the @0"
    "standing": (
        rf"(?:{_WHO}(?: am| are| is| was| were| have| has| had| would be| could be| will| to)? )?"
        rf"(?:just |now |currently |then )?{_POSE}(?: {_WHO})?(?:{_PLACE}| from(?: where)?) (@)",
        rf"(?:{_WHO} )?(?:go|walk|move|step|drive)(?: over| up| across)? to (@)(?= (?:and |then |, )*{_LOOK})",
        rf"(?:navigate|drive|travel|get|route|path|way|trip|heading|head) from (@)(?= (?:and |, )*{_LOOK})",
        rf"{_WHO} (?:am|are|is|was|were|be)(?: robot| now| currently)?{_PLACE} (@)",
        rf"(?:having taken|taking)(?: up)? (?:position|place|stand|spot){_PLACE} (@)",
        rf"{_WHO} leaves? (@)|(@) is where (?:i|you|we) (?:am|are|stand|sit|start|begin)(?: standing| sitting)?",
        rf"{_WHO} (?:take|takes|took|have|has|hold|with)(?: up)? (?:position|place|stand|standpoint"
        rf"|spot){_PLACE} (@)",
        rf"(?:{_WHO} )?(?:stand|standing|stood|positioned|am|are)(?: right)? where (@) (?:is|stands)",
        r"(?:with |have |having |has )(@)(?: right| directly| just)* (?:beside|next to|near|by)(?: me| you| us| it)",
        r"(?:with |have |having |has )(@) (?:at|by|on) (?:my|your|its|their) side",
        r"(?:my|your|its|their) feet(?: are)? (?:at|by|on|next to|beside) (@)",
        rf"(?:with |take |taking |using |consider |use )?(@) as (?:(?:my|your|its|their|starting|start"
        rf"|current) )*{_SPOT}(?: view| vision)?",
        r"(?:coordinate system|coordinates|axes|frame)(?: is)? cent(?:red|ered) (?:on|at|in) (@)",
        rf"(?:start|starting )?(?:{_SPOT}|standing|standing at|start|stood at|at|from)\s,\s(?:(?:at|by|next to"
        rf"|beside|near) )?(@)",
        rf"(?:imagine|picture|suppose|put|place|consider|have) (?:me|myself|yourself|you|us|someone"
        rf"|robot){_PLACE} (@)",
        r"(?:start|starting|begin|beginning)(?: point| position| place)?(?: is)? (@)",
        rf"(?:(?:my|your|its|their|'s|starting|start|current|initial|present) )+{_SPOT}(?: is)?"
        rf"(?:{_PLACE})?(?: center| centre)? (@)",
    ),
    # "... to someone standing at the @0"
    "someone": (
        r"(?:for|as|to|from|of|by|around|let|given|consider|imagine|suppose|with)? ?(?:somebody|someone|anyone"
        r"|person|observer"
        rf"|viewer|robot)(?: who| that| which)?(?: is| be)?(?: {_POSE})?{_PLACE} (@)",
    ),
    # "with my back to the @0"
    "away": (
        r"(?:with |and )?(?:my|your|its|his|our) back(?: is| are)?(?: turned| facing| pointed)?"
        r"(?: to| toward| towards| against) (@)",
        rf"(?:{_WHO} (?:am |are |is )?)?(?:facing|looking|turned) away from (@)",
    ),
    # "facing the @1", "with the @1 in front of me", "my eyes on the @1"
    "facing": (
        rf"(?:{_WHO} (?:am |are |is |was |were )?|who (?:is )?|which (?:is )?)?(?:now |then |initially "
        rf"|first )?{_LOOKING}{_TO} (@)",
        rf"{_WHO} turns? so that {_WHO} (?:face|faces|look at|looks at) (@)",
        r"and (@)(?: right| straight| directly)* ahead(?=\s[,~])",
        r"(@)(?: right| straight| directly)* ahead (?:me|you|it|us|robot)",
        r"what (?:i|you|we) (?:see|have|look at|face)(?: right| straight| directly)*(?: ahead| in front| before)?"
        r"(?: me| you| us)? is (@)",
        r"(?:with )?(@)(?: right| directly)? (?:before|in)(?: my| your| its)? (?:me|you|us|it|view|sight)(?=\s[,~])",
        r"with (?:clear |direct |full )?view (@)",
        r"in front (?:me|you|us|it|robot|camera)(?: there)? is (@)",
        r"(?:with )?(@) as (?:(?:my|your|its|their) )?(?:what (?:i|you) (?:face|look at|see)|direction view"
        r"|view direction"
        r"|heading|front|viewing direction|facing direction|thing faced|what is faced|object faced)",
        r"(@) is what (?:i|you|we) (?:am |are )?(?:face|facing|look at|looking at|see|seeing)",
        r"(?:my |your |its |their )?(?:orientation|heading|gaze|view direction|viewing direction|direction view"
        r"|line sight|view)"
        r"(?: is| goes| points)?(?: directed| turned| fixed| pointed)?(?:\s,|\sis|\sto|\stoward|\stowards|\sat"
        r"|\son) (?:to |towards? |at )?(@)",
        r"(?:with|have|having|has) (@)(?: right| straight| directly)*(?: in front| ahead| before)(?: me| you| us"
        r"| it)?",
        r"(?:with )?(?:my|your|its|his|our|their|one 's|'s)?"
        r" ?(?:front|face|eyes|gaze|nose|head|body|attention|view|camera|lens|chest)(?: is| are)?"
        r"(?: (?:fixed|turned|pointed|pointing|directed|aimed|points|looks|goes|trained))?(?: on| to| toward"
        r"| towards| at) (@)",
        r"(?:my|your|its|his|our|their) (?:camera|face|head|body|front|lens) faces (@)",
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
    # "@0 (facing @1) -> ..."
    "heading": (r"(?:(?<=^\s)|(?<=~\s))(@)\s, facing (@)",),
    # "to get from the @0"
    "travel": (
        r"(?:get|gets|go|goes|going|navigate|navigating|drive|drives|travel|travels|route|path|way|trip|heading"
        r"|journey|instructions|directions|plan"
        r"|guide|lead|bring"
        r"|take|steer|send|direct)(?: robot| me| you| it| us)? from (@)",
    ),
    # "From the @0, ..."
    "from": (
        r"(?:from|at|by|beside|position)(?: beside| next to| near| by| at)?(?: where| center| centre| middle"
        r"| position)? (@)",
    ),
}
_PRONOUN = re.compile(r"(?:i|you|we|one|they|someone|somebody)\b")
_PATTERNS = {name: [pattern(p) for p in group] for name, group in _CLAUSES.items()}

# What may stand before a clause that states a viewpoint, and words that may come between.
_TAKEN = "§"  # stands for a clause that was taken out, until all are
_OPENERS = words(
    f"~ {_TAKEN} , if when while once after as and suppose supposing imagine imagining picture assume assuming say"
    f" pretend"
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
    " position their observer viewer standpoint"
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
    for name in ("from to", "heading"):
        rest, both = _first(name, text)
        if both:
            return rest, View(both[0], both[1])
    rest, at = _first("seen", text, strict=False)
    if not at:
        rest, at = _first("standing", text)
    loose = False
    if not at:
        rest, at = _first("someone", text, strict=False)
        loose = bool(at)
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
    return rest, View(at=first[0], facing=first[1], away=first[2], loose=loose)


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
        does = _A_THING_DOES.search(before) and not _PRONOUN.match(match[0])
        return not does and not _IN_A_LIST_OR_PAIR.match(text, match.end())
    return not _IN_A_LIST.match(text, match.end())


def _opens_clause(before: str) -> bool:
    said = before.split()
    while said and said[-1] in _BETWEEN:
        said.pop()
    return not said or said[-1] in _OPENERS
