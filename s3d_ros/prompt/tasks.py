"""Which of GPT4Scene's tasks a question is, told from its words alone."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from s3d_ros.prompt.text import Said, objects_of
from s3d_ros.types import Question


class Task(enum.StrEnum):
    """The forms that a question is put in, and its answer read by."""

    QUESTION = "question"
    SITUATED = "situated question"
    CAPTION = "caption"
    GROUND_ONE = "ground one"
    GROUND_MANY = "ground many"


@dataclass(frozen=True)
class Kind:
    """situated: the answer depends on where the asker stands. objects: IDs that the question names."""

    task: Task
    situated: bool
    objects: tuple[int, ...] = ()


_GREETING = r"^\W*(?:(?:please|hey|hi|hello|ok|okay|so|now|and|then|robot|kindly)\W+)*"
_POLITE = (
    rf"{_GREETING}"
    r"(?:(?:can|could|would|will) you\s+(?:please\s+)?|i(?: would|'d) like (?:you )?to\s+)?"
)
_SEEK = (
    r"(?:find|locate|identify|select|pick(?: out)?|point (?:out|to|at)|show(?: me)?|highlight|mark|list|name|give me)"
)
_NO_THING = (  # "which room", "which colour": no object is asked for
    r"(?:rooms?|colou?rs?|ways?|directions?|sides?|materials?|kinds?|types?|sorts?|shapes?|numbers?|corners?|walls?"
    r"|floors?|parts?|areas?|turns?|options?|statements?|order|distance|answers?|brands?|size|of the following)"
)
_CAPTION = re.compile(
    rf"{_POLITE}(?:describe|caption|tell (?:me|us) (?:more )?about|(?:give|write|provide) (?:me )?an? "
    r"(?:\w+ ){0,2}(?:description|caption) of|what does .{1,80} look like|what is .{1,40}\blike\b)",
    re.IGNORECASE,
)
_MANY = re.compile(
    rf"{_POLITE}(?:{_SEEK} (?:all|every|each|any|the \w+s\b(?! (?:that|which) (?:is|has)\b))"
    r"|(?:which|what) (?:are )?(?:all )?(?:of )?(?:the )?(?:objects|things|items|ones)\b"
    r"|which (?:of the )?(?!" + _NO_THING + r"\b)\w+(?:(?<!s)s|ses)(?: \w+)?? "
    r"(?:are|were|have|stand|lie|do|look|belong|could|can|match)\b"
    r"|(?:are|is) there any (?:objects?|things?|items?)\b"
    r"|all (?:of )?(?:the )?\w+s\b)",
    re.IGNORECASE,
)
_ONE = re.compile(
    rf"{_POLITE}(?:which (?!{_NO_THING}\b)(?!(?:is|are|was|were|of these|comes|came)\b)\w+"
    r"|what (?:object|thing|item|one)\b"
    rf"|{_SEEK} (?:the|a|an|my|something|somewhere|me)\b"
    r"|(?:what is|what's|give|tell me|say|share) the (?:id|number) of (?:the|an?)\b"
    r"|(?:go|drive|move|navigate|take me|bring me|lead me|walk) to (?:the|an?)\b)",
    re.IGNORECASE,
)
_SEEK_QUALITY = re.compile(
    r"^\W*(?:please\s+)?(?:name|list|give me|show me) (?:the |a |an )?(?:\w+ )?" + _NO_THING, re.IGNORECASE
)
# "Standing by the sofa and facing the tv": the question itself says where the asker is
_STATED = re.compile(
    r"\b(?:stand|stands|standing|sit|sits|sitting|seated|lying|facing|face|imagine|suppose)\b|\bif i (?:am|was|were)\b"
    r"|\bi(?: am|'m) (?:at|by|beside|next|in front|between|on|leaving|entering)\b|\b(?:from|as seen from) the\b",
    re.IGNORECASE,
)
_ASKER = re.compile(
    r"\b(?:left|right|behind|front|ahead|opposite|clockwise|o'?clock|back|side|facing|turn|near|nearest|close|closer"
    r"|closest|far|farther|farthest|furthest|further|away|next|reach|where|from|around|beside|toward|towards|looking)\b"
    r".{0,120}\b(?:me|us|my|your|you|i|we|robot|camera|here)\b"
    r"|\b(?:me|us|my|your|you|i|we|robot|camera|here)\b.{0,120}\b(?:left|right|behind|front|ahead|clockwise|o'?clock|back"
    r"|turn|facing|reach|nearest|closest|looking|away)\b",
    re.IGNORECASE,
)
# "Tell me ...", "I need to know ...": that somebody asks says nothing of where they stand
_ADDRESS = re.compile(
    rf"{_GREETING}(?:(?:can|could|would|will) you\s+"
    r"(?:please\s+)?)?(?:(?:tell|show|give) (?:me|us)|let (?:me|us) know|say|find out|work out"
    r"|i (?:need|want|wish|have|would like) to know|i'd like to know|i wonder|do you know)\b",
    re.IGNORECASE,
)
_DRAWN = re.compile(
    r"\b(?:on|in) (?:the|this|your) (?:\w+ )?(?:map|plan|floorplan|overview|picture|drawing|bird's-eye view)\b"
    r"|\b(?:seen )?from above\b",
    re.IGNORECASE,
)
_NEAREST = re.compile(r"\b(?:nearest|closest)\b(?!.{0,60}\b(?:to|from|of|together)\b)|\b(?:turn|go|on the|to the)"
                      r" (?:left|right)\b(?! of\b| side of\b)", re.IGNORECASE)  # fmt: skip


def kind_of(question: Question, words: Said) -> Kind:
    """Tell which task a question is.

    words: its text with the objects that it names as IDs. A situation given with the question always counts; the
    robot's own place does where the words depend on it ("to my left", "the nearest chair"), unless they say where
    the asker stands.
    """
    text = " ".join("".join(p if isinstance(p, str) else " it " for p in words).split())
    objects = objects_of(words)
    told = _ADDRESS.sub("", text, count=1)
    depends = _ASKER.search(told) or (_NEAREST.search(told) and not _DRAWN.search(told))
    situated = question.situation is not None or (not _STATED.search(text) and bool(depends))
    asks = Task.SITUATED if situated else Task.QUESTION
    if question.options:
        return Kind(asks, situated, objects)
    if _CAPTION.match(text):
        return Kind(Task.CAPTION if len(objects) == 1 else asks, situated, objects)
    if _SEEK_QUALITY.match(text):
        return Kind(asks, situated, objects)
    if _MANY.match(text):
        return Kind(Task.GROUND_MANY, situated, objects)
    if _ONE.match(text):
        return Kind(Task.GROUND_ONE, situated, objects)
    return Kind(asks, situated, objects)
