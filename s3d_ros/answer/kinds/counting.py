"""How many of a category are there? Is there one at all?"""

from __future__ import annotations

import re

from s3d_ros.answer.asked import Asked
from s3d_ros.answer.kind import Kind
from s3d_ros.answer.lexicon import plural
from s3d_ros.answer.refusal import Refusal
from s3d_ros.answer.wording import SEEN
from s3d_ros.answer.world import names_of
from s3d_ros.types import Answer, ErrorCode


def count(asked: Asked) -> Answer | None:
    """Count the present objects of one category, or of several listed together."""
    text, slots = asked.parsed.text, asked.parsed.slots
    if asked.parsed.polar and " how " not in text and "count" not in text:
        return None
    if _WISHED.search(text) and not re.search("count|tally|number|total", text):
        return None
    mentions = [asked.mention(k) for k in slots]
    if _NO_NUMBER.search(text) and not any(m.plural for m in mentions):
        return None
    if any(m.nearest or m.count or m.object_id is not None for m in mentions):
        return None
    if len(slots) > 1 and slots not in asked.parsed.groups:
        return None
    found = {m.word: asked.all(m) for m in mentions}
    things = [o for part in found.values() for o in part]
    parts = [f"{len(part)} {_noun(word, len(part))}" for word, part in found.items()]
    total = f"{len(things)} in all, " if len(parts) > 1 else ""
    return asked.reply(f"{total}{' and '.join(parts)}: {names_of(things)}.", things, value=float(len(things)))


def count_all(asked: Asked) -> Answer | None:
    """Count everything present."""
    things = asked.world.objects
    return asked.reply(f"{len(things)} objects in the map so far.", things, value=float(len(things)))


def exists(asked: Asked) -> Answer | None:
    """Say whether the map holds any of a category; of several joined by "and", whether it holds all.

    ``facts["lacking"]``: the words for which it holds nothing.
    """
    slots = asked.parsed.slots
    if len(slots) > 1 and slots not in asked.parsed.groups:
        return None
    found, missing = [], []
    for mention in map(asked.mention, slots):
        if mention.nearest or mention.count:
            return None
        try:
            found += asked.all(mention)
        except Refusal as refusal:
            if refusal.code != ErrorCode.NOT_IN_MAP:
                raise
            missing.append(mention.word)
    yes = bool(found) and (not missing or asked.parsed.has("or"))
    held = f"the map holds {names_of(found)}" if found else ""
    lacks = f"the map holds no {' and no '.join(missing)} so far" if missing else ""
    text = f"{'Yes' if yes else 'No'}, {' and '.join(t for t in (held, lacks) if t)}."
    return asked.reply(text, found, choice=yes_no(asked, yes), lacking=tuple(missing))


def yes_no(asked: Asked, yes: bool) -> str:
    """Return the letter of the option that says yes or no; "" without options."""
    if not asked.parsed.options:
        return ""
    for option in asked.parsed.options:
        said = option.text.lower().split()[0].strip(".,!")
        if said in (("yes", "true") if yes else ("no", "false")):
            return option.letter
    raise Refusal(ErrorCode.BAD_QUESTION, "None of the options says yes or no.")


def _noun(word: str, number: int) -> str:
    if number == 1 or word.endswith("s"):
        return word
    head, _, last = word.rpartition(" ")
    return f"{head} {plural(last)}".strip()


# "How many chairs can I get", "... for everybody": not those that there are, but those wished for.
_WISHED = re.compile(
    r" (?:can|could|would|may|might) (?:i|you|we|there|they|it|(?:this |the |our )?(?:room|house|home|flat|apartment"
    r"|place"
    r"|space)) (?:get|be|have|like|give|let|hold|contain|include|make|take)(?= )"
    r"| did (?:\S+ ){1,3}(?:have|hold|contain)(?= )| for (?:me|us|you|them|all|each|every\w*|one)(?= )"
)
# "How much carpet", "the number of the door": no counting, as "how much chairs" and "number of chairs" are.
_NO_NUMBER = re.compile(r" (?:how much|(?:number|total|amount) (?:of )?the) ")
_HOW_MANY = (
    " what is the how many much number count counts counted counting tally headcount total amount exact exactly"
    " precise precisely roughly about approximately instances in on this these those room rooms scene house flat"
    " apartment place map video footage clip recording home space walkthrough tour film scan layout environment "
    " exist exists existing appear appears appearing shown or and i you we us me from category categories would"
    " could can do did if ask asks asked find found see saw seen view visible robot camera overall all any present"
    " together altogether talking say spot spotted detect detected observed noticed recorded mapped identified up"
    " there here at so far already ever ones one give tell know answer figure whole entire combined various across"
    " throughout that which think guess estimate estimated looking look pieces curious please quick sum result"
)
COUNT = Kind(
    "counting",
    count,
    asks=(
        r"(?:how (?:many|much)(?: them)?(?: different| individual| separate| distinct| unique)?"
        r"(?: instances| examples| units| items| objects| pieces| members)?(?: (?:category|kind|type|class))? @"
        r"|(?:number|count|total|quantity|tally|amount|headcount(?: on)?)(?: up)?(?: for)?"
        r"(?: individual| separate| all)? @|(?:count|counted|counting|tally|total)(?: up| out)?(?: all| every| each"
        r"| distinct| different| separate)? @"
        r"|how many (?:objects|things|items)(?: (?:in|inside) (?:room|scene|video|map|house|place)| here)? (?:are"
        r"|is) @|@ (?:count|tally|total)"
        r"|@(?: ~|(?: in| on)(?: room| scene| map| video))*(?: what is)? (?:how many|number|count|total)"
        r"|how many are there @)",
    ),
    reads=_HOW_MANY,
    phrases=(
        r"(?:i|you|we) (?:count|counted) (?:every|each) @",
        r"if (?:someone|somebody|i) (?:asked|asks|ask)(?: you| me)?|for me|looking around|do a|make a|@ objects"
        r"|how many objects",
        r"as whole|(?:can|could|do) (?:you|i|we|one) (?:identify|recognise|recognize|make out|tell apart)"
        r"|would (?:someone|somebody|person|one|you|i|viewer) count|camera (?:captures?|films?|shows?|sees?)",
        r"without(?: counting)?(?: any)?(?: one| them)? (?:twice|double)|(?:count |counting )?each(?: one"
        r"| them)? (?:only|just) once|as whole number",
        r"(?:make|made|makes) out|com(?:e|es|ing) across|came across|(?:walk|walked|walking|go|going"
        r"|went) (?:through|around)"
        r"|(?:after|having) (?:seen|seeing|watched|watching)|over (?:course|video|whole video)|(?:have "
        r"|has )?been (?:captured|shown|filmed|counted)"
        r"|to(?= how many)|does total come|(?:do|would|will) (?:you|i|one) get(?: when)?",
        r"to be (?:found|seen)|(?:had|have) to count|(?:turn|turns|show|shows|come) up",
        r"(?:(?:your )?map|room|scene|place|house|home|flat|apartment|video|clip|footage|scan|it|there)"
        r" (?:have|has|had|hold|holds|got|contain|contains|include|includes|show|shows)",
        r"(?:do|did) (?:i|you|we|they) have|have (?:i|you|we) (?:got|here)",
        r"(?:do|would|could|can|may) (?:i|we) get",
        *SEEN,
    ),
    mentions=(1, 4),
    views=False,
    polar=None,
)
COUNT_ALL = Kind(
    "counting everything",
    count_all,
    asks=(r"(?:how many|number|count)(?: different| individual| all)? (?:objects|things|items)",),
    reads="how many number count different total in on this map scene room there all together altogether exist you",
    phrases=(r"does (?:map|scene|room|it) (?:hold|have|contain|show)|do you (?:know of|have)", *SEEN),
    mentions=(0, 0),
    views=False,
)
EXISTS = Kind(
    "existence",
    exists,
    asks=(
        r"(?:(?:is|are|was|were) there(?: some| at least one| also)? @|(?:is|are|was|were) @ there"
        r"|(?:do|did|can|could|have) (?:you|we)(?: also| ever)? (?:see|have|know|find|found|seen|spot"
        r"|spotted|detect|detected|map|mapped|notice|noticed)(?: some)? @"
        r"|does (?:room|scene|map|place|house|home|flat|apartment|it)"
        r" (?:have|contain|include|hold|show)(?: some)? @|do(?:es)? @ exist"
        r"|(?:is|are) @ (?:in|part|on|within) (?:room|scene|map|house|flat|apartment|place|video|home)"
        r"|(?:is|are) @ (?:present|visible|here)|any @"
        r"|has (?:room|scene|map|place|house|home|flat|apartment|it)(?: got)? @)",
    ),
    reads="some any at least also here in room scene or and exist either yes no anywhere",
    mentions=(1, 4),
    views=False,
    polar=True,
)
