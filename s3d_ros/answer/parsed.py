"""A question read as far as words go: slots, stated viewpoint, units, options. No kind chosen yet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from s3d_ros.answer.cleaning import without_carriers, without_rules
from s3d_ros.answer.language import AREA_UNITS, ARROW, BLANK, STEP, UNITS, pattern, tokenize, words
from s3d_ros.answer.mentions import Lexicon, Mention, Slotted, slotted
from s3d_ros.answer.options import Option, read_options
from s3d_ros.answer.several import without_several
from s3d_ros.answer.viewpoint import View, take_view
from s3d_ros.types import Question, Situation

FILLERS = words("a an the this that these those is are was were be do does did of 's there please , ~").union({ARROW})
_POLAR = words("is are was were do does did can could will would has have am should may might any")

# What bounds a question to the map and to now; the map is all that there is to ask about.
_SCOPES = [
    pattern(p)
    for p in (
        r"(?:anywhere |somewhere |located |present |visible |shown |found |available )?"
        r"(?:in|inside|within|across|throughout|around|on|from|of|through) (?:our |my |your )?"
        r"(?:whole |entire |current |complete |scanned |mapped )?"
        r"(?:room|scene|video|map|house|home|place|apartment|flat|clip|footage|recording|area|environment|images?"
        r"|frames?|rooms|interior|premises)(?: shown| here| right now| in total)?",
        r"(?:just )?now|currently|in view|(?:at|for)(?: the)? (?:moment|present)|so far|in (?:total|all)|altogether"
        r"|(?:standing |lying )?around(?= ~)|in here|around here|over here|anywhere|to be (?:found|seen)|at all"
        r"|all in all|here|overall",
    )
]
# Words between "the" and a name, and those that are no adjectives there.
_MODIFIERS = re.compile(r"(?<= )(?:the|an?|this|that|these|those)((?: (?!the |~|,|@)\S+){1,2}) (?=@)")
_NO_MODIFIERS = words(
    "of is are was were be to from and or than nearest two both different individual separate distinct on by near"
    " at in as with about until till behind under above over below beside facing past between for has does do did"
    f" {STEP} {BLANK} {ARROW} toward towards into objects things items categories category following four three five"
    " overall total separates separate have shows show gives lists description"
)
_POINTED_AT = re.compile(r"(?<= )(my|your|his|her|our|their|this|that|these|those)(?= (?:nearest |two )?@)")
_RECORDED = re.compile(
    r"\b(?:video|clip|footage|recording|film|tour|walkthrough|scan|seen|see|saw|visible|view|sight\w*|appear\w*"
    r"|show\w*"
    r"|spotted|detected|found|count\w*|captured|recorded|observed|noticed|mapped|first|robot|camera|scann?ed)\b"
)
# "How many can you see now" is about the eye, not about the map.
_SEEN_NOW = re.compile(r"\b(?:see|visible|view)\b.* (now|currently|from here|at (?:the )?moment)(?= )")
_COMPOUND = re.compile(r"(?<= )@(\d+) (?=(?:nearest )?@\d)")
# Whoever stands in the map is no viewer: "is the person on the @0 to my left".
_SOMEBODY = re.compile(
    r" (?:is|are|was|does|do|will|would|did|from|between) (?:the |an? |any |that )?(person|people|somebody|someone"
    r"|anybody|anyone|man"
    r"|woman|child|who)(?= (?!see\b|say\b|find\b|count\b))"
)
_PAST = re.compile(r"@\d+ (?:that|which|who) (was|were|has|had|did)(?= )")
# Of a chair "standing by the door" says no more than "by the door"; of a person it is a posture, which no box tells.
_POSTURE = re.compile(
    r"@(\d+)(?: (?:is|are|who|that|currently|now))*"
    r" (sit|sits|sitting|seated|stand|stands|standing|lie|lies|lying|crouching|kneeling|leaning)\b"
)
_ALIVE = frozenset(
    "person persons people human humans man men woman women child children kid kids boy boys girl girls baby babies"
    " somebody someone anybody anyone guest guests visitor visitors dog dogs cat cats pet pets".split()
)
_STRANDED = re.compile(
    r"(?: is| are| was| were| be|@\d+) (on|off|up|out|over|down)(?= (?:[~,]|in|at|right|now|here|there|or|and)|\s*$)"
)
_NEAREST_SLOT = re.compile(r"(?<= )nearest (?=@)")


@dataclass(frozen=True)
class Parsed:
    """A question as the kinds see it.

    text: slotted (see mentions.py); "could you tell me" and the like are taken out, "~" stands for the
    stated viewpoint. whole: slotted, with nothing taken out. groups: slots listed together. units: those
    asked for, "m", "cm", "m2" ... option_parts: what each option names, slotted like the text.
    closest_counts: it says that of several of a kind the closest counts.
    """

    text: str
    whole: str
    mentions: tuple[Mention, ...]
    groups: tuple[tuple[int, ...], ...]
    view: View
    units: frozenset[str]
    options: tuple[Option, ...]
    option_parts: tuple[Slotted, ...]
    situation: Situation | None
    closest_counts: bool = False

    @property
    def slots(self) -> tuple[int, ...]:
        """Slots of the text in order, without those of the viewpoint."""
        return tuple(int(s) for s in re.findall(r"@(\d+)", self.text))

    @property
    def polar(self) -> bool:
        """Whether it asks for yes or no."""
        return next((w in _POLAR for w in self.text.split() if w not in "~,"), False)

    def has(self, *any_of: str) -> bool:
        """Say whether the text holds one of these words."""
        return not set(any_of).isdisjoint(self.text.split())

    def unread(self, consumed: Iterable[re.Pattern[str]], vocabulary: frozenset[str]) -> list[str]:
        """Return the content words that neither the patterns nor the vocabulary account for, in order."""
        rest = _NEAREST_SLOT.sub("", self.text)
        for found in (*consumed, *_SCOPES):
            rest = found.sub("|", rest)
        known = vocabulary | FILLERS
        left = [w for w in rest.replace("|", " | ").split() if w not in known and w[0] not in "@|"]
        return list(dict.fromkeys([*left, *self._more_of_a_thing()]))

    def _is_alive(self, slot: int) -> bool:
        mention = self.mentions[slot]
        return not _ALIVE.isdisjoint({mention.word, *mention.labels})

    def _more_of_a_thing(self) -> list[str]:
        """Words that say more of a thing than a map can tell: "the left chair", "that chair", "is the tv on"."""
        found = [m.split() for m in _MODIFIERS.findall(self.text)]
        adjectives = [w for said in found if said[-1] not in _NO_MODIFIERS for w in said]
        out = [w for w in adjectives if w not in _NO_MODIFIERS]
        out += [self.mentions[int(k)].word for k in _COMPOUND.findall(self.text)]  # "the bath mat"
        out += [posture for k, posture in _POSTURE.findall(self.text) if self._is_alive(int(k))]
        out += _SOMEBODY.findall(self.text)
        out += _POINTED_AT.findall(self.text) + _PAST.findall(self.text)
        out += _SEEN_NOW.findall(self.whole)
        if not self.view and not _RECORDED.search(self.whole):
            out += [w for w in ("was", "were") if self.has(w)]  # what was is not in the map
        return out if self.has("side", "hand") else out + _STRANDED.findall(self.text)


def parse(question: Question, lexicon: Lexicon, ids: Mapping[int, object]) -> Parsed:
    """Read a question. ``ids`` holds the IDs of the map. Raises Refusal (BAD_QUESTION) for broken options."""
    stem, options = read_options(question.text, question.options)
    main = slotted(tokenize(stem), lexicon, ids)
    names = {**UNITS, **AREA_UNITS}
    parts = tuple(slotted(tokenize(o.text), lexicon, ids) for o in options)

    def again(slot: int) -> bool:
        named = [m for k, m in enumerate(main.mentions) if k != slot] + [m for part in parts for m in part.mentions]
        return any(m.labels == main.mentions[slot].labels for m in named)

    text, closest_counts = without_several(without_rules(main.text), again)
    text, view = take_view(without_carriers(text))
    return Parsed(
        text=without_carriers(text),
        whole=main.text,
        mentions=main.mentions,
        groups=main.groups,
        view=view,
        units=frozenset(names[w] for w in main.text.split() if w in names),
        options=options,
        option_parts=parts,
        situation=question.situation,
        closest_counts=closest_counts,
    )


def with_unknown(parsed: Parsed, unknown: Sequence[str]) -> Parsed | None:
    """Take words where a noun belongs ("the zither") as things that the map lacks; None where one can't be."""
    text, mentions = parsed.text, list(parsed.mentions)
    for word in unknown:
        found = re.compile(rf"(?<= )(the|a|an|any|many|some) {re.escape(word)}(?= (?!@))")
        if not found.search(text):
            return None
        text = found.sub(rf"\1 @{len(mentions)}", text)
        mentions.append(Mention(word))
    return replace(parsed, text=text, mentions=tuple(mentions))
