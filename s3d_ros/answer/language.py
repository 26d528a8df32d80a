"""From a person's sentence to plain tokens: case, contractions, units, blanks, step numbers.

``tokenize("What's the gap between the chair(s) & #12, in sq. m?")`` gives
``what is the gap between the chairs and # 12 , in squaremetres ?``
"""

from __future__ import annotations

import re
import unicodedata

UNITS = {"metres": "m", "centimetres": "cm", "millimetres": "mm", "feet": "ft", "inches": "in"}
AREA_UNITS = {"squaremetres": "m2", "squarefeet": "ft2"}
PER_METRE = {"m": 1.0, "cm": 100.0, "mm": 1000.0, "ft": 1 / 0.3048, "in": 1 / 0.0254}
PER_SQUARE_METRE = {"m2": 1.0, "ft2": 1 / 0.3048**2}

BLANK = "blankturn"  # a gap to fill in
STEP = "stepmark"  # "2." in a list of steps
ARROW = "arrowmark"  # "->"

_CONTRACTIONS = [
    (r"\bwon't\b", "will not"),
    (r"\bwere i to\b", "if i"),
    (r"\bi\.\s?e\.", " that is "),
    (r"\be\.\s?g\.", " such as "),
    (r"\bwere i to\b", "if i"),
    (r"\bcan't\b|\bcannot\b", "can not"),
    (r"n't\b", " not"),
    (r"\bi'm\b|\bim\b(?= (?:at|by|on|in|standing|sitting|facing|looking|next|near))", "i am"),
    (r"'re\b", " are"),
    (r"'ve\b", " have"),
    (r"'ll\b", " will"),
    (r"'d\b", " would"),
    (r"\blet's\b", "let us"),
    (r"\b(what|where|how|who|which|that|there|here|when)'?s\b", r"\1 is"),
    (r"\bit's\b", "it is"),
    (r"s\((?:s|es)\)", "s"),  # shoes(s)
    (r"(\w)\((?:s|es)\)", r"\1s"),  # chair(s)
]
# What may stand in the brackets of a gap: "[please fill in]", "<turn left, right or back?>", "(?)".
_IN_A_GAP = (
    r"(?:\b(?:please|fill|filled|in|insert|turn|turns|turning|action|choose|select|pick|your|blank|gap|missing|step"
    r"|move"
    r"|direction|which|what|way|here|the|a|one|to|be|is|left|right|back|around|or|answer|unknown|tbd)\b"
    r"|[?_.…:,/\s'-])"
)
_BLANKS = (
    rf"\[{_IN_A_GAP}{{0,40}}\]|<{_IN_A_GAP}{{1,40}}>|\{{{_IN_A_GAP}{{0,40}}\}}"
    r"|\(\s*(?:please\s+)?(?:turn\s*\?*|\?+|_+|\.{2,}|…|blank|gap|insert|(?:fill|choose|insert)(?:[\s-]*(?:in"
    r"|turn))?)\s*\)"
    r"|_{2,}|\bturn\s*\?+(?=\s*[,;])|(?<=\bturn)\s+[xyz]\b"
)
_UNITS = [
    (r"\b(?:square|sq\.?)\s*-?(?:met(?:re|er)s?|m)\b|\bm\s?\^\s?2|\bm2\b|\bsqm\b"
     r"|\bmet(?:re|er)s? squared\b", " squaremetres "),
    (r"\b(?:square|sq\.?)\s*-?(?:f(?:oo|ee)t|ft)\b|\bft\s?\^\s?2|\bft2\b|\bsqft\b"
     r"|\b(?:square|sq\.?) footage\b|\b(?:feet|foot) squared\b", " squarefeet "),
    (r"\bcent[ie]met(?:re|er)s?\b|\bcms?\b", " centimetres "),
    (r"\bmillimet(?:re|er)s?\b|\bmm\b", " millimetres "),
    (r"\bmet(?:re|er)s?\b|(?<![\w'])m\b(?!')", " metres "),
    (r"\b(?:feet|ft)\b", " feet "),
    (r"\binch(?:es)?\b", " inches "),
]  # fmt: skip
_TOKEN = re.compile(r"[^\W\d_]+|\d+(?:\.\d+)?|'s|->|#|[.,;:?!()\[\]/|\n&+=<>–—-]")
_OPEN_STEP = re.compile(rf"({STEP}|\bthen\b,?)\s*(?:\?+|\.{{3,}}|-{{2,}})")  # "2. ???"
_WORDS_FOR = {"&": "and", "+": "and"}


def plain(text: str) -> str:
    """Return lower-case text with straight quotes and no invisible characters."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = re.sub(r"[‘’ʼ`´]", "'", text)
    text = re.sub(r"[“”„«»\"]", " ", text)
    text = re.sub(r"→|⇒|=>|–>|—>|-+>", " -> ", text)
    return "".join(c for c in text if c == "\n" or unicodedata.category(c)[0] != "C")


def tokenize(text: str) -> list[str]:
    """Return the tokens of a sentence: words, numbers and punctuation, in order."""
    text = plain(text)
    text = re.sub(_BLANKS, f" {BLANK} ", text)
    text = re.sub(r"[{}]", ",", text)
    text = _mark_steps(text)
    text = _OPEN_STEP.sub(rf"\1 {BLANK} ", text)
    for found, instead in _CONTRACTIONS:
        text = re.sub(found, instead, text)
    text = re.sub(r"(?<=\d)(?=[^\W\d_])", " ", text)  # 2m
    for found, instead in _UNITS:
        text = re.sub(found, instead, text)
    text = re.sub(r"(?<=[^\W\d_])-(?=[^\W\d_])", " ", text)  # front-left, straight-line
    text = re.sub(r"(?<=[^\W\d_])'(?!s\b)", " ", text)  # the sofas' distance
    text = re.sub(r"(?<=obj)(?=\d)", " ", text)  # <obj012>
    text = re.sub(
        r"\b(in|into|on|onto) (?:(?:this|the) (?:picture|image|photo|frame)s?|screen|camera)\b", r"\1 scene", text
    )
    text = re.sub(r"\bpicture (?=your|my|standing|being|sitting|me\b|us\b|that\b|this\b)", "imagine ", text)
    text = re.sub(r"\bbounding box(?:es)?\b|\bbbox(?:es)?\b", " boundingbox ", text)
    return [_WORDS_FOR.get(t, t) for t in _TOKEN.findall(text)]


def _mark_steps(text: str) -> str:
    """Replace the numbers of a list of steps, "1. go ... 2. turn", by STEP.

    Only numbers that count up from 1 are steps: "go to chair 2. Then ..." keeps its chair.
    """
    marks = list(re.finditer(r"(?:\bsteps?\s*)?(?<![\w#.])(\d{1,2})\s?[.):](?!\d)", text))
    out, at, wanted = [], 0, 1
    for mark in marks:
        if int(mark[1]) == wanted and (wanted > 1 or any(int(m[1]) == 2 for m in marks)):
            out += [text[at : mark.start()], f" {STEP} "]
            at, wanted = mark.end(), wanted + 1
    return "".join(out) + text[at:]


def pattern(source: str) -> re.Pattern[str]:
    """Compile a phrase pattern for the slotted text of a question.

    A space stands for a space with any articles, commas or "nearest" between the words; ``@`` for a mention.
    ``pattern("how far(?: away)? is @")`` finds "how far is the @3". An optional group holds the space
    that goes with it.
    """
    # Takes all the fillers there are or none. Not as `*+`: Python before 3.11.5 matches that wrongly.
    filler = r" (?:the|an?|this|that|these|those|of|any|nearest|,)(?= )"
    gap = rf"(?:{filler})*(?!{filler}) "
    source = source.replace("@", r"@\d+")
    source = source.replace(" ", gap)
    return re.compile(rf"(?<= )(?:{source})(?= )")


def words(text: str) -> frozenset[str]:
    """Return the set of words in a string."""
    return frozenset(text.split())
