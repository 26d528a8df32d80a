"""Fill in the turns of a route: where it starts, what is faced, and the things gone to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from s3d_ros.answer.asked import Asked
from s3d_ros.answer.kind import Kind
from s3d_ros.answer.language import ARROW, BLANK, STEP
from s3d_ros.answer.refusal import Refusal
from s3d_ros.answer.sectors import FULL_SURENESS_DEG, THIRDS, sector, sector_of_words
from s3d_ros.answer.wording import PLAIN
from s3d_ros.answer.world import name_of
from s3d_ros.types import F64, Answer, ErrorCode, SceneObject

_SAID = {"back": "turn back", "left": "turn left", "right": "turn right"}
_GO = (
    r"(?:go|goes|going|walk|walks|walking|drive|drives|driving|move|moves|moving|proceed|proceeds|head|heads|continue"
    r"|continues|keep going|advance|advances|travel|travels|straight|forward|ahead|reach|roll|carry on)"
    r"(?: (?:go|walk|drive|move|forward|forwards|straight|ahead|on|directly|further|along|all the way|then|first"
    r"|next|finally|off|over|back))*"
)
_UNTIL = (
    r"(?:until you reach|until you get to|until you are at|until reaching|until|till|up to|to|towards|toward"
    r"|as far as"
    r"|(?P<past>past|passing)|you reach|reaching|you get to)"
)
_REACH = r"(?:reach|reaches|get to|gets to|arrive at|arrives at|hits?|pass|are at|am at|is at|see|meet|come to)"
_STEPS = re.compile(
    rf"\b(?:(?P<blank>{BLANK})|(?P<bare>turn(?:s|ing)?(?= ,| and| then))"
    r"|(?P<ask>turn (?:in )?which (?:way|direction)|which (?:way|turn|direction)|what turn|turn how|make a turn"
    r"|(?:do|take|make) what|what (?:do|should) (?:i|you|we) do)"
    r"|(?:turn|turning|rotate) (?P<fixed>left|right|back|around)(?! or\b| ,| left\b| right\b)"
    rf"|(?:{_GO} {_UNTIL}?(?: (?:you |i |we |it )?{_REACH})?|then(?: to)?|{ARROW})(?: the| a| an)* @(?P<slot>\d+)"
    r"(?P<beside> is (?:on|to|at) (?:your|my|its|the) (?:left|right))?)"
)
_GOAL = re.compile(
    r"(?:navigate|navigating|destination|goal|target|end up|bound|make it|get|getting|way|route|path|trip|heading"
    r"|headed"
    r"|(?:bring|brings|take|takes|lead|leads|guide|guides)(?: you| it| me| us| robot)?|finish|finishes|ends?|arrives?"
    r"|(?:want|wants|need|needs|must|has|have|should|like|trying|supposed|order|going) to"
    r"(?: get| go| navigate| reach| drive| walk| move| travel| arrive| be)+)"
    r"(?: (?:to|is|at|for|from here to|over|towards|be|by|of|the|a|an|in front of|near|location|position|point"
    r"|object|,))*"
    r" @(\d+)"
)
_EACH_BLANK = re.compile(
    rf"(?:for|in|at|replace|fill|what|where) (?:in )?(?:each|every|all|the|is)(?: of the)? {BLANK}"
)
_ASKS_TURN = re.compile(r"\b(?:which|what|how|missing|fill)\b[^~]* (?:turns?|way|direction|blanks?|gaps?|steps?)\b")
# "turn left, turn right or turn back" offers turns and takes none.
_OFFERED = re.compile(
    r"(?:turn(?:ing)? )?(?:left|right|back|around)"
    r"(?:(?: ,| or| either| and| to the| to)+ (?:turn(?:ing)? )?(?:left|right|back|around))+(?= )"
)


@dataclass(frozen=True)
class Step:
    """Go to a slot (beside: only until level with it), or, without a slot, turn: as told, or to be filled in ("")."""

    slot: int | None = None
    beside: bool = False
    told: str = ""

    @property
    def is_gap(self) -> bool:
        return self.slot is None and not self.told


@dataclass(frozen=True)
class Turn:
    """A turn filled in: left, right or back; its bearing in degrees, left positive; how far that is from another."""

    name: str
    bearing_deg: float
    margin_deg: float


def route(asked: Asked) -> Answer | None:
    """Fill in each turn so that the next leg leads to the next thing.

    Legs run from box centre to box centre; a turn of 135 degrees or more is a turn back. Where the
    question marks no gaps there is one before each leg, but for a first leg to the thing faced.
    ``facts["turns"]``: the turns in order.
    """
    parsed = asked.parsed
    if parsed.view.at is None or (parsed.view.facing is None and parsed.view.away is None):
        return None
    steps = _steps(asked)
    if not any(s.is_gap for s in steps) or not any(s.slot is not None for s in steps):
        return None
    if not (parsed.options or BLANK in parsed.text or _ASKS_TURN.search(parsed.text)):
        return None
    start = asked.standpoint()
    turns, things = _go(asked, steps, start.position, asked.heading(start))
    letter, off_deg = _choice(asked, turns)
    said = [_SAID[t.name] for t in turns]
    note = f" No option says just that; {letter} is off by {off_deg:.0f} degrees." if off_deg else ""
    return asked.reply(
        f"{', '.join(said)} (by way of {', then '.join(name_of(t) for t in things)}).{note}",
        [*things[::-1], *([start.place] if start.place else [])],
        choice=letter,
        viewpoint=start.words,
        sureness=(0.5 + 0.5 * min(1.0, *(t.margin_deg / FULL_SURENESS_DEG for t in turns))) / (1 + off_deg / 20),
        turns=said,
    )


def _steps(asked: Asked) -> list[Step]:
    """Read the steps in order; the destination is the last leg, gaps go before legs where none is marked."""
    parsed = asked.parsed
    text = _OFFERED.sub(" ", _EACH_BLANK.sub(" ", parsed.text))
    goal, numbered = _GOAL.search(text), re.search(STEP, text)
    begin = 0
    if numbered:
        begin = numbered.start()
    elif goal and "@" in text[goal.end() :] and BLANK not in text[: goal.start()]:
        begin = goal.end()  # "you want to get to the @2. Go ..."
    steps: list[Step] = []
    for m in _STEPS.finditer(text, begin):
        if m["blank"] or ((m["ask"] or m["bare"]) and BLANK not in text):
            if not (steps and steps[-1].is_gap):
                steps.append(Step())
        elif m["fixed"]:
            steps.append(Step(told="back" if m["fixed"] == "around" else m["fixed"]))
        elif m["slot"]:
            steps.append(Step(int(m["slot"]), beside=bool(m["beside"] or m["past"])))
    legs = [s.slot for s in steps if s.slot is not None]
    if goal and not (legs and asked.one(int(goal[1])) is asked.one(legs[-1])):
        if steps and steps[-1].slot is not None and BLANK not in text:
            steps.append(Step())
        steps.append(Step(int(goal[1])))
    gaps = sum(s.is_gap for s in steps)
    if steps and steps[-1].slot is None and gaps > 1:
        gaps -= steps.pop().is_gap  # "which way do I turn each time?" asks about the turns before it
    if BLANK in text or (parsed.options and gaps == len(_listed_turns(parsed.options[0].text))):
        return steps
    return _with_gaps(asked, [s for s in steps if s.slot is not None])


def _with_gaps(asked: Asked, legs: Sequence[Step]) -> list[Step]:
    out: list[Step] = []
    faced = asked.parsed.view.facing
    for i, leg in enumerate(legs):
        straight_on = i == 0 and faced is not None and asked.one(faced) is asked.one(leg.slot or 0)
        out += [leg] if straight_on else [Step(), leg]
    return out


def _go(asked: Asked, steps: Sequence[Step], position: F64, heading: F64) -> tuple[list[Turn], list[SceneObject]]:
    """Follow the steps; return the turns filled in and the things gone to."""
    turns: list[Turn] = []
    things: list[SceneObject] = []
    for i, step in enumerate(steps):
        ahead = next((s.slot for s in steps[i:] if s.slot is not None), None)
        if ahead is None:
            raise Refusal(ErrorCode.BAD_QUESTION, "The route ends with a turn: say where it leads.")
        goal = asked.one(ahead)
        way = asked.world.on_floor(goal.box.center - position)
        far = float(np.linalg.norm(way))
        if step.slot is None:
            if far < 1e-6:
                raise Refusal(ErrorCode.BAD_QUESTION, f"The route is already at {name_of(goal)}.")
            if step.is_gap:
                bearing_deg = asked.world.bearing_deg(position, heading, goal.box.center)
                name, margin_deg = sector(bearing_deg, THIRDS)
                turns.append(Turn(name, bearing_deg, margin_deg))
            heading = way / far
            continue
        things.append(goal)
        if step.beside:
            position = position + heading * float(heading @ way)
        else:
            position, heading = position + way, way / far if far > 1e-6 else heading
    return turns, things


def _listed_turns(text: str) -> list[str]:
    """Return the turns that an option lists: "Turn Left, Turn Back" is left, back."""
    parts = re.split(r",|;|/|\bthen\b|\band\b|->|→|\d[.)]", text.lower())
    return [sector_of_words(p) for p in parts if p.strip(" .")]


def _choice(asked: Asked, turns: Sequence[Turn]) -> tuple[str, float]:
    """Return the letter of the option that misses these turns by the fewest degrees, and the degrees."""
    if not asked.parsed.options:
        return "", 0.0
    off: list[tuple[float, str]] = []
    for option in asked.parsed.options:
        listed = _listed_turns(option.text)
        if not listed or any(t not in THIRDS for t in listed):
            text = f"Option {option.letter} ({option.text}) must list turns: turn left, turn right, turn back."
            raise Refusal(ErrorCode.BAD_QUESTION, text)
        if len(listed) != len(turns):
            text = f"The route has {len(turns)} turns to fill in, option {option.letter} has {len(listed)}."
            raise Refusal(ErrorCode.BAD_QUESTION, text)
        off.append((sum(_misfit_deg(t, name) for t, name in zip(turns, listed, strict=True)), option.letter))
    least_deg, letter = min(off)
    return letter, least_deg


def _misfit_deg(turn: Turn, name: str) -> float:
    """Return by how many degrees a turn is outside the range that the name stands for."""
    size = abs(turn.bearing_deg)
    if name == "back":
        return max(0.0, 135 - size)
    same_side = (turn.bearing_deg > 0) == (name == "left")
    return max(0.0, size - 135) if same_side else min(size, 180 - size)


ROUTE = Kind(
    "route planning",
    route,
    asks=(
        rf"(?:turn|turns|turning|{BLANK}|blank|gap|missing|rotate)",
        r"(?:go|goes|going|walk\w*|drives?|moves?|proceeds?|heads?|continues?|advances?|travels?|forward|straight"
        r"|reach\w*|get"
        r"|navigate|route"
        rf"|{STEP}|{ARROW}|then|path)",
    ),
    reads=PLAIN
    + f" {BLANK} {STEP} will can could go goes going come comes up out around take takes across through want wants"
    f" need needs wish should must supposed trying navigate navigating walk walks drive"
    " drives move moves proceed proceeds head heads heading continue continues advance advances travel travels"
    " forward forwards straight ahead reach reaches reaching reached till until far along further way then perform"
    " actions action note fill filled turn turns turned turning rotate back left right about complete completed"
    " correct final destination goal target bound route path step steps first second third next last finally before"
    " after direction directions missing blank blanks gap gaps sequence order where arrive arrives arrived end ends"
    " not plan planning instruction instructions make makes making needed into towards toward once starting start"
    " begin begins past passing pass via side hand using only how keep again finish two three four belong belongs"
    " carry roll directly stop words task trip lead leads leading each time like navigation fourth fifth sixth"
    " completion completes completing supply insert inserted replace filling bring brings bringing headed aim aims"
    " aiming getting goal initially initial done guide reads read position location list sequence options suitable"
    " matching provide delivery mobile service household cleaning small journey trip travelling traveling tour set"
    " sets off goes given order once there's leave leaves arriving reached stops ready complete incomplete"
    " unfinished open plans intend intends hope hopes would like decide decides asked told needed determine happens"
    " between itself self being currently standing looking facing view towards onwards onward on continue until when"
    " beside next near start starts choose select correspond corresponds mission outset whose ending navigates"
    " navigated tasked job assignment objective describe describes described whole rest remaining required require"
    " requires proper properly valid suitable 1 2 3 first one both two placed oriented heading travels moving"
    " walking driving advancing proceeding continuing reaches hits meets stops performs executes execute executed"
    " carried performed instructed instruct commands command moves movement movements robot's agent order to make"
    " sure so that works work leaves out left blank unknown question mark marks"
    " indoor path's ends up shown below above follow follows following",
    phrases=(r"been (?:told|asked|instructed|ordered|sent)|@ (?:stop|halt)|walk me through it",),
    mentions=(1, 14),
    polar=None,
)
