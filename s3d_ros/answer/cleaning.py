"""Take out of a slotted text what asks nothing: polite and leading phrases, instructions on how to answer."""

from __future__ import annotations

import re

from s3d_ros.answer.language import AREA_UNITS, UNITS, pattern, words

# Words and phrases that a clause may start with.
_LEADING = re.compile(
    r"(?:(?<=^)|(?<=~)|(?<=,)) (?:(?:hey|hi|hello|ok|okay|so|well|um|uh|hmm|please|sorry|excuse me|thanks|thank you"
    r"|cheers|alright|by the way|good morning|listen|now|and|also|then|but|robot|just|still"
    r"|taking|take|if (?:i|you|we) take|going by|considering|judging by|counting|given|if (?:i|you"
    r"|we) had to (?:pick|choose|say|give|guess|measure)"
    r"|(?:i|we) (?:have )?got"
    r"|(?:i|we) (?:need|want|would like)(?! to)|(?:quick|one|simple|another) question)"
    r"(?: there| robot| buddy| mate)?(?= )"
    r"|(?:can|could|may|might) (?:i|we) (?:ask|know|have|get)(?: you)?(?= )"
    r"|(?:can|could|would|will) you(?: please| kindly| maybe| just| quickly)*"
    r"(?= (?:tell|show|give|let|say|estimate|measure|work|figure|calculate|compute|determine|check|name|list"
    r"|put|sort|rank|arrange|count|order|state|identify|report|find|help|remind|locate|point|describe) ))"
)
# What it may hold anywhere.
_CARRIERS = [
    pattern(p)
    for p in (
        r"(?:tell|show|give|let|inform|remind|help)(?: me| us)(?: know| see)?(?: about)?",
        r"(?:i|we) (?:would |do )?(?:really |just )?(?:like|want|need|wish|have)(?: to)?"
        r" (?:know|find out|understand|learn)",
        r"(?:i|we) (?:am|are|was|were) (?:just )?(?:wondering|curious|trying to (?:find|figure|work) out)(?: about)?",
        r"(?:i|we) (?:just )?wonder(?:ed)?|wondering|thanks|thank you|(?:right|just) now",
        r"do you (?:happen to )?(?:know|remember|recall)|any (?:idea|clue|guess)|you know",
        r"what is(?: your)?(?: best| rough)? (?:guess|estimate)(?: for| on| at)?",
        r"(?:would|do|can) you (?:say|think|reckon|tell|know)|in your (?:opinion|view|estimation)",
        r"as (?:precisely|exactly|accurately) as (?:you can|possible)|if you (?:can|would|could)|will you",
        r"according to (?:you|map|your map|scene)|(?:these are |from the )?frames (?:a )?video",
        r"based on (?:map|your map|video|scene|what you (?:saw|have seen|know))",
        r"(?:go ahead and|work out|figure out|find out|calculate|determine|estimate|compute|identify|state|report"
        r"|specify|provide|name|give|tell|say|decide|express|judge|indicate|establish|assess|reconstruct)(?= (?:how"
        r"|what|which|where|whether|if|distance|size|length|number|count"
        r"|area|order|direction|height|width|gap|longest|largest|biggest|greatest|maximum|minimum|shortest|smallest"
        r"|total|combined|overall|floor|room|object|first|full|exact|approximate|straight|sequence|turns?|missing"
        r"|@))",
    )
]
_WHETHER = re.compile(
    r"(?<= )(?:if|whether) (?P<subject>(?:(?:the|an?|any|there|some) )*(?:@\d+|there|anything))"
    r" (?P<verb>is|are|was|were)(?= )"
)
# "Answer with the option's letter": a sentence of such words that names nothing.
_HOW_TO_ANSWER = re.compile(
    r"(?<=~) (?:please )?(?:answer|respond|reply|select|choose|pick|use|give|your|output|write|return|provide|only"
    r"|just|one|a|in|state|keep|letter|number) [^~@]*(?=~)"
)
_ANSWER_WORDS = words(
    "please answer respond reply select choose pick use give your output write return provide only just state with"
    " using in by a an the single one word phrase number numeric numerical value letter letters option options choice"
    " choices from given directly correct right appropriate response following as of and or nothing else integer"
    " 's question questions so finally then after thinking simple short only must my your do any add further reasoning"
    " best is be should either yes no to me it for unit units answers brief short keep exact plain no text"
    " explanation all list below above these that is out what you think which fits most likely ,"
).union(UNITS, AREA_UNITS)
# "An object is to my back if I would have to turn at least 135 degrees": explains the words for directions.
_RULE = re.compile(
    r"(?<=[~,])(?: (?!~|,|@)\S+)* (?:135|cartesian|quadrants plane|positive y|y axis)(?: (?!~|@)\S+)*(?= ~)"
)
_RULE_SENTENCE = re.compile(r"(?<=~)(?= [^~@]*\b(?:135|cartesian|quadrants?|origin|y axis|axes|axis) )[^~@]*(?=~)")
# A turn that is taken, and a question, are no such rule.
_NO_RULE = re.compile(
    r" (?:(?:and|then|now|next|after|before|having|first|i|you|we|please|just|so|if|when) )*"
    r"(?:turn|turns|turned|turning|rotate|rotated|rotating|spin|swivel|go|walk)\b"
    r"(?!.* (?:at least|more|over|beyond|further|exceeds?|counts?) )"
)


# "Should several rooms be shown, ..." is a condition, no question.
_INVERTED = re.compile(
    r"(?<=[~,]) should(?= (?:several|multiple|more than one|more|two|there|any|you|video|the video)\b[^~@]*,)"
)


def without_rules(text: str) -> str:
    """Take out sentences that only say how to answer, or that explain the words for directions."""

    def unless_it_asks(match: re.Match[str]) -> str:
        return " " if _ANSWER_WORDS.issuperset(match[0].split()) else match[0]

    def unless_it_acts(match: re.Match[str]) -> str:
        return match[0] if _NO_RULE.match(match[0]) or " what " in match[0] or " which " in match[0] else " "

    text = _INVERTED.sub(" if", _HOW_TO_ANSWER.sub(unless_it_asks, tidy(f" ~{text}~ ")))
    text = tidy(_RULE_SENTENCE.sub(unless_it_acts, text))
    return tidy(_RULE.sub(lambda match: match[0] if _NO_RULE.match(match[0]) else "", text))


def without_carriers(text: str) -> str:
    """Take out polite and leading phrases; "could you tell me whether the @0 is on" then asks "is the @0 on"."""
    cleaned = text
    for _ in range(3):
        before = cleaned
        for carrier in (_LEADING, *_CARRIERS):
            cleaned = carrier.sub("", cleaned)
        if cleaned == before:
            break
    cleaned = tidy(cleaned)
    return cleaned if cleaned == tidy(text) else _WHETHER.sub(r"\g<verb> \g<subject>", cleaned, count=1)


def tidy(text: str) -> str:
    """Return the text with single spaces and no "~" twice in a row."""
    return re.sub(r"~(?: [~,])+(?= )", "~", f" {' '.join(text.split())} ")
