"""A model's words, read as the answer to a task."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from s3d_ros.prompt.numbers import LARGEST_NUMBER, Numbering, token
from s3d_ros.prompt.tasks import Task
from s3d_ros.prompt.text import Said, heard, objects_of

# However a model writes a scene number: <OBJ012>, <OBJ12>, OBJ012, (OBJ 12); not "< OBJ012 >", which somebody typed
_LOOSE = re.compile(r"<OBJ\s?([0-9]{1,9})\s*>?|(?<!< )\bOBJ[ _-]?([0-9]{1,9})\b>?", re.IGNORECASE)
_WORDED = re.compile(
    r"\b(?:object|marker|number|id|label(?:ed|led)?|no\.)(?:\s+(?:number|id|is))*\s*#?\s*([0-9]{1,3})\b(?![.,][0-9])"
    r"|#([0-9]{1,3})\b",
    re.IGNORECASE,
)
_BARE = re.compile(r"(?<![\w.,])([0-9]{1,3})(?![\w%]|[.,][0-9])")
_NONE = re.compile(
    r"^\W*(?:no\b(?!\.?\s*[0-9])|none\b|not (?:any|found|visible)\b|there (?:is|are) no\b|nothing\b|n/a\b)",
    re.IGNORECASE,
)
_ANSWER = re.compile(r"^.*?\b(?:final answer|answer|choice|option)\b(?:\s+is)?\s*[:=]?\s*", re.IGNORECASE | re.DOTALL)
_THOUGHT = re.compile(r"^\s*<think>.*?(?:</think>|$)", re.DOTALL | re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # a NUL would end a text in a ROS message
_NUMBER = r"[-+]?[0-9]{1,12}(?:,[0-9]{3})*(?:\.[0-9]{1,6})?"
_UNITS = (
    (r"(?:square\s+met(?:re|er)s?|sq\.?\s*(?:m|met(?:re|er)s?)|m\s?\^?\s?2|m²)", "m2"),
    (r"(?:square\s+f(?:ee|oo)t|sq\.?\s*(?:ft|feet)|ft\s?\^?\s?2|ft²)", "ft2"),
    (r"(?:centimet(?:re|er)s?|cms?)", "cm"),
    (r"(?:millimet(?:re|er)s?|mm)", "mm"),
    (r"(?:met(?:re|er)s?|m)", "m"),
    (r"(?:feet|foot|ft)", "ft"),
    (r"(?:inch(?:es)?|in(?!\s+\w))", "in"),
    (r"(?:degrees?|deg|°)", "deg"),
)
_WITH_UNIT = re.compile(
    rf"(?<![\w.])({_NUMBER})\s*(?:{'|'.join(f'(?P<{u}>{p})' for p, u in _UNITS)})(?![\w²])", re.IGNORECASE
)
_WORDS = dict(
    zip(("zero one two three four five six seven eight nine ten eleven twelve").split(), range(13), strict=True)
)
_COUNT = re.compile(
    r"^\W*(?:(?:about|around|approximately|roughly|there (?:are|is)|i (?:see|count|can see)|it is|it's|exactly"
    r"|at least)\s+)*"
    rf"({_NUMBER}|{'|'.join(_WORDS)})\b(?![.,]?[0-9]|\s*(?::|o'clock)|\s+of\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Reading:
    """What a reply says. said: its words, objects by ID. objects: those that it names, by ID; none for "No.".

    choice: letter of the option, "" when none could be told. value, unit: as ``Answer`` has them. unknown: how many
    scene numbers it named that stand for nothing.
    """

    said: Said
    objects: tuple[int, ...] = ()
    choice: str = ""
    value: float | None = None
    unit: str = ""
    unknown: int = 0


def read_reply(text: str, task: Task, numbering: Numbering, options: Sequence[tuple[str, str]] = ()) -> Reading:
    """Read a model's text. options: (letter, text) each. Never raises; what can't be read is left empty."""
    text = _THOUGHT.sub("", text).strip()
    choice = read_choice(text, options) if options else ""
    grounds = task in (Task.GROUND_ONE, Task.GROUND_MANY) and not options
    text = tidy(text)
    if grounds and _NONE.match(text):
        return Reading(heard(text, numbering))
    if grounds and not re.search(r"<OBJ", text):
        text = _worded(text)
    words = heard(text, numbering)
    objects = objects_of(words)
    unknown = len(set(re.findall(r"<OBJ([0-9]{3})>", text))) - len(set(numbering.objects_in(text)))
    if task == Task.GROUND_ONE and not options:
        objects = objects[:1]
    value, unit = (None, "") if grounds or options or task == Task.CAPTION else read_value(text)
    return Reading(words, objects, choice, value, unit, max(unknown, 0))


def grounded(task: Task, numbers: Sequence[int]) -> str:
    """Return the reply that names objects by their scene numbers: what ``read_reply`` reads, and training teaches.

    >>> grounded(Task.GROUND_ONE, [12]), grounded(Task.GROUND_MANY, [7, 3]), grounded(Task.GROUND_MANY, [])
    ('<OBJ012>.', 'Yes. <OBJ003> and <OBJ007>.', 'No.')
    """
    if not numbers:
        return "No."
    named = " and ".join(token(n) for n in sorted(set(numbers)))
    return f"{named}." if task == Task.GROUND_ONE else f"Yes. {named}."


def tidy(text: str) -> str:
    """Write every scene number as ``<OBJ012>``; those that can't be one (0, above 999) become words.

    Control characters are left out.
    """

    def as_token(match: re.Match[str]) -> str:
        number = int(match[1] or match[2])
        return token(number) if 1 <= number <= LARGEST_NUMBER else "an unknown object"

    return _LOOSE.sub(as_token, _CONTROLS.sub("", text))


def partial(text: str) -> str:
    """Return a text under way without the object, or thought, that is only half written at its end."""
    text = _THOUGHT.sub("", text).strip()
    return re.sub(r"<[^<>\s]{0,7}$", "", text)


def read_choice(text: str, options: Sequence[tuple[str, str]]) -> str:
    """Return the letter of the option that a text chooses: "B", "(b) left", "the answer is B", "left"; "" if none."""
    letters = {letter.upper(): letter for letter, _ in options}
    for told in (text, _ANSWER.sub("", text, count=1)):
        match = re.match(r"\W*([A-Za-z])(?=\s*$|\s*[.):,\]*\n]|\*)", told.strip())
        if match and match[1].upper() in letters:
            return letters[match[1].upper()]
    plain = _words(_ANSWER.sub("", text, count=1)), _words(text)
    for told in plain:
        same = [letter for letter, option in options if _words(option) and _words(option) == told]
        if len(same) == 1:
            return same[0]
    alone = set(re.findall(r"(?<![\w'])\(?([A-Z])\)?(?![\w'])(?=\W|$)", text)) & (set(letters) - {"A", "I"})
    alone |= set(re.findall(r"\(([A-Z])\)", text)) & set(letters)
    if len(alone) == 1:
        return letters[alone.pop()]
    held = [(letter, _words(option)) for letter, option in options if _words(option)]
    held = [(letter, option) for letter, option in held if f" {option} " in f" {plain[1]} "]
    # "left" is in "front left" as well: the longest one is meant if it holds the others
    letter, longest = max(held, key=lambda h: len(h[1]), default=("", ""))
    others = [option for other, option in held if other != letter]
    return letter if all(f" {o} " in f" {longest} " and o != longest for o in others) else ""


def read_value(text: str) -> tuple[float | None, str]:
    """Return the number that a short text gives, and its unit: "About 2.5 metres." -> 2.5, "m"; "three" -> 3, ""."""
    text = re.sub(r"<OBJ[0-9]{3}>", " object ", text)
    found = list(_WITH_UNIT.finditer(text))
    told = {(float(m[1].replace(",", "")), m.lastgroup or "") for m in found}
    if len(told) == 1:
        return told.pop()
    match = _COUNT.match(text)
    if told or not match or len(text.split()) > 12:
        return None, ""
    word = match[1].lower()
    return float(_WORDS[word]) if word in _WORDS else float(word.replace(",", "")), ""


def _worded(text: str) -> str:
    """Write "object 12", "#12", or, where nothing else is said, "12", as ``<OBJ012>``."""
    found = _WORDED.sub(lambda m: token(int(m[1] or m[2])), text)
    if found == text and len(re.sub(r"[0-9]+|\b(?:yes|and|the|it|is|answer)\b|\W", "", text.lower())) == 0:
        found = _BARE.sub(lambda m: token(int(m[1])), text)
    return found


def _words(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.lower()))
