"""In which order did these categories first come into sight?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from s3d_ros.answer.asked import Asked
from s3d_ros.answer.choosing import option_mentions
from s3d_ros.answer.kind import Kind
from s3d_ros.answer.kinds.counting import yes_no
from s3d_ros.answer.mentions import Mention
from s3d_ros.answer.refusal import Refusal
from s3d_ros.answer.wording import PLAIN
from s3d_ros.answer.world import label_of, name_of
from s3d_ros.types import Answer, ErrorCode, SceneObject

FULL_SURENESS_S = 0.5  # between neighbours in the order; closer sights lose confidence, down to a half

# Asks for the whole order, not just for the first or the last.
_WHOLE = re.compile(
    r"\b(?:order\w*|sequen\w*|sort\w*|rank\w*|list\w*|arrang\w*|chrono\w*|timeline|line up|second|next|then|how|put"
    r"|(?:first|earliest)\b.*\b(?:last|latest))\b"
)
# "In which order did you last see them": only the first sights are kept.
_LAST_SEEN = re.compile(
    r"\b(?:last|final|latest) (?:time|see|saw|seen|sight\w*|appear\w*|show\w*|visible|spot\w*|disappear\w*|vanish\w*)"
)
_FIRST = re.compile(r"\b(?:first|earliest|initial\w*)\b")
_TWO_TOLD_APART = ("before", "or", "earlier", "sooner")


def appearance(asked: Asked) -> Answer | None:
    """Order categories by ``first_seen_ns`` of their earliest object (GONE ones were seen, too).

    Sights at the same instant go by ID, as IDs are given in order. With options that are whole orders
    the one that fits best is chosen, with options that are single things the first (or last) of them.
    ``facts["order"]``: the words in order.
    """
    parsed = asked.parsed
    yes_or_no = parsed.polar and not parsed.has("or", "which", "what")
    if parsed.has("who", "whom"):
        return None  # "who first saw them"
    if _LAST_SEEN.search(parsed.text) and not _FIRST.search(parsed.text):
        return None
    parts = option_mentions(asked) if parsed.options and not yes_or_no else []
    named = [asked.mention(k) for k in parsed.slots]
    if not named and parts:
        named = parts[0] if len(parts[0]) > 1 else [m for p in parts for m in p]
    listed = not parsed.slots or parsed.slots in parsed.groups
    if len(named) < 2 or any(m.nearest for m in named):
        return None
    if not listed and not (len(named) == 2 and parsed.has(*_TWO_TOLD_APART)):
        return None
    first = _earliest(asked, named)
    ranked = sorted(first, key=lambda m: (first[m].first_seen_ns, first[m].id))
    things = [first[m] for m in ranked]
    start = min(o.first_seen_ns for o in (*asked.world.objects, *asked.world.gone))
    told = ", ".join(f"{m.word} ({name_of(o)}) at {(o.first_seen_ns - start) / 1e9:.1f} s" for m, o in first.items())
    least_s = min(((b.first_seen_ns - a.first_seen_ns) / 1e9 for a, b in pairwise(things)), default=0.0)
    sureness = 0.5 + 0.5 * min(1.0, least_s / FULL_SURENESS_S)
    order = [m.word for m in ranked]
    if parsed.polar and parsed.has("before", "earlier", "sooner"):
        yes = ranked[0] is named[0]
        text = f"{'Yes' if yes else 'No'}, {order[0]} came first; first seen: {told}."
        return asked.reply(text, things, choice=yes_no(asked, yes), sureness=sureness, order=order)
    if all(len(p) == 1 for p in parts) if parts else not _WHOLE.search(parsed.text):
        last = parsed.has("last", "latest")
        best = ranked[-1 if last else 0]
        things.sort(key=lambda o: o is not first[best])
        text = f"{best.word} came {'last' if last else 'first'}; first seen: {told}."
        return asked.reply(text, things, choice=_single(asked, parts, best), sureness=sureness, order=order)
    letter, off_s = _fitting(asked, parts, first)
    note = f" No option is quite that order; {letter} is the nearest to it." if off_s > 0 else ""
    text = f"{', '.join(order)}. First seen: {told}.{note}"
    return asked.reply(text, things, choice=letter, sureness=sureness / (1 + off_s), order=order)


def _earliest(asked: Asked, named: Sequence[Mention]) -> dict[Mention, SceneObject]:
    """Return the object of each mention that was seen first. Refuses (NOT_IN_MAP), naming all that are missing."""
    out, missing = {}, []
    for mention in named:
        seen = [o for o in asked.world.gone if mention.object_id is None and label_of(o) in mention.labels]
        try:
            seen += asked.all(mention)
        except Refusal:
            if not seen:
                missing.append(mention.word)
                continue
        out[mention] = min(seen, key=lambda o: (o.first_seen_ns, o.id))
    if missing:
        raise Refusal(ErrorCode.NOT_IN_MAP, f"The map holds no {' and no '.join(missing)} so far.")
    return out


def _single(asked: Asked, parts: list[list[Mention]], best: Mention) -> str:
    if not parts:
        return ""
    for option, (mention, *_) in zip(asked.parsed.options, parts, strict=True):
        if (mention.labels, mention.object_id) == (best.labels, best.object_id):
            return option.letter
    raise Refusal(ErrorCode.BAD_QUESTION, f"The answer is {best.word}, and none of the options is that.")


def _fitting(asked: Asked, parts: list[list[Mention]], first: dict[Mention, SceneObject]) -> tuple[str, float]:
    """Return the letter of the order that the sights violate by the fewest seconds, and these seconds."""
    if not parts:
        return "", 0.0
    seen_ns = {(m.labels, m.object_id): o.first_seen_ns for m, o in first.items()}
    off = []
    for option, part in zip(asked.parsed.options, parts, strict=True):
        keys = [(m.labels, m.object_id) for m in part]
        if len(keys) != len(seen_ns) or set(keys) != set(seen_ns):
            text = f"Option {option.letter} ({option.text}) does not order just the things asked for."
            raise Refusal(ErrorCode.BAD_QUESTION, text)
        times = [seen_ns[k] for k in keys]
        late_ns = sum(max(0, a - b) for i, a in enumerate(times) for b in times[i + 1 :])
        off.append((late_ns / 1e9, option.letter))
    seconds, letter = min(off)
    return letter, seconds


_SIGHT = (
    r"(?:appear\w*|seen|see|saw|show(?:s|ed|n|ing)?(?: up)?|visible|visibility|views?|viewed|viewing|sight\w*|spot"
    r"|spots"
    r"|spotted|encounter\w*|notice\w*|observ\w*|turn(?:s|ed)? up|pop(?:s|ped)? up|come(?:s)? (?:up|across|first)"
    r"|came (?:up|across|first)|camera (?:first )?pick(?:s|ed)? up|(?:into|on) (?:view|sight|scene|screen|frame"
    r"|camera)|discover\w*|captur\w*|filmed|recorded|detect\w*|glimpse\w*"
    r"|debut\w*|perceiv\w*|regist\w*|reveal\w*|emerge\w*|occur\w*|introduc\w*|recogni\w+|identified|chronolog\w+"
    r"|timeline|eyes on|(?:i|you|we|camera|robot)(?: first)? (?:met|meet|pass|passed|find|found)|earliest|first time"
    r"|(?:enter|enters|entered) (?:video|view|frame|scene|clip|picture)|line sight|caught(?: on camera)?)"
)
APPEARANCE = Kind(
    "appearance order",
    appearance,
    asks=(
        r"(?:first|order\w*|sequence\w*|earliest|earlier|sort\w*|rank\w*|list\w*|arrang\w*|chronolog\w+|timeline|last"
        r"|latest|before|sooner|initial|initially)",
        _SIGHT,
    ),
    reads=PLAIN
    + " will can could types kinds first second third fourth fifth sixth last next time times order orders ordering"
    " orderings ordered sequence sequences sequential sort sorted rank ranked ranking lists arrange arranged"
    " arrangement chronological chronologically chronology timeline earliest earlier latest later sooner before"
    " after become becomes became visible visibility camera on screen proper correct right best true correctly frame"
    " beginning two three four five reveals who initial initially during over throughout full complete whole other"
    " reflects reflect lens successive succession seeing eye attention set only once till until end ended ending"
    " matches match world watching watch temporal temporally reconstruct work out progresses progress frames clip"
    " early first-time listing lists each detect shows scanning scans corresponds correspond paused pause stopped"
    " item viewer observer others"
    " below listing follow reveal get",
    phrases=(
        r"(?:(?:come|comes|came|coming)(?: first)? )?(?:into|on) (?:my |our |your )?"
        r"(?:view|sight|frame|shot|focus|scene|screen|video|clip|footage|line sight|camera)",
        r"(?:come|comes|came) first|(?:i|you|we|camera|robot) first (?:met|meet|pass|passed|find|found)",
        r"should(?=(?: \S+)* (?:arranged|ordered|sorted|ranked|listed|put))",
        r"(?:walk|walks|walking|move|moves|moving|go|goes|going|pan|pans|panning|come|coming) (?:through|along"
        r"|across|over)",
        r"(?:video|clip|footage|recording|film|tour|scene) (?:runs?|plays?|goes on|progresses|unfolds|moves|begins"
        r"|starts)",
        r"(?:make|makes|made)(?: their| its)?(?: first| initial)? (?:appearance|debut)s?",
        r"(?:lines? up|lined up|put|line)|(?:start|starts|starting|begin|begins|beginning|end|ending|ended) (?:with"
        r"|from|by)",
        r"from (?:its )?(?:start|beginning|first frame|opening)(?: (?:to|until|till) (?:finish|end|last frame"
        r"|close))?",
        r"(?:in|over|during|throughout|through) course|one (?:after|by) (?:another|one|other)|how early|(?:play"
        r"|plays|played|playing"
        r"|explores?|exploring|traverses?|tours?|touring|follow|follows|following)(?: back| camera)?",
        r"(?:note|notes|noted|write|wrote|written|jot|jotted|writing|noting)(?: down)?|look like|do (?:i|you|we) get"
        r"|resulting|after that|at some point|(?:lay|lays|laid|set|sets)(?: my| your)? eyes on|numbered"
        r"|frame by frame|chronologically|(?:point|moment) in time|to see|camera (?:pans|moves|sweeps|travels|goes)",
        r"camera (?:first )?pick(?:s|ed)? up|think back|thinking back|look back|looking back|on camera",
    ),
    mentions=(0, 12),
    views=False,
    polar=None,
)
