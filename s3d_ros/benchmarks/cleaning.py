"""How answers are made comparable before they are compared. Published figures differ in this more than in anything.

- ``official``: as the benchmark's own scorer. ScanQA compares texts as they are; SQA3D compares cleaned ones.
- ``gpt4scene`` (and Chat-Scene): a full stop at the end and a capital at the beginning go, the prediction is cleaned;
  ScanQA's references are *not* cleaned, SQA3D's are.
- ``leo``: both sides are cleaned; captions are compared without PTB tokenising.

*Cleaning* is SQA3D's, which all of them share: lower case, no punctuation but ``,'-:``, common misspellings put right,
digits to words, articles dropped.
"""

from __future__ import annotations

import re
from enum import StrEnum

_MISSPELT = {
    "let": "left", "letf": "left", "tehre": "there", "rigth": "right", "rght": "right", "behine": "behind",
    "tv": "TV", "chai": "chair", "wasing": "washing", "waslked": "walked", "oclock": "o'clock",
}  # fmt: skip
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
_WORDS = {**{str(n): word for n, word in enumerate(_NUMBERS)}, "23": "twenty-three", "none": "zero"}
_NOT_KEPT = re.compile(r"[^a-zA-Z0-9,'\s\-:]+")
_SPELLING = re.compile(r"\b(?:" + "|".join(sorted(_MISSPELT, key=len, reverse=True)) + r")\b")
_NUMBER = re.compile(r"\b(?:" + "|".join(sorted(_WORDS, key=len, reverse=True)) + r")\b")
_ARTICLES = tuple(re.compile(rf"\b{article}\b ([a-zA-Z]+)") for article in ("a", "an", "the"))


class Normalisation(StrEnum):
    """The presets by name."""

    official = "official"
    gpt4scene = "gpt4scene"
    leo = "leo"
    s3d = "s3d"  # of VSI-Bench and VSTI-Bench alone


def clean(text: str) -> str:
    """Clean an answer as SQA3D does. White space around it, line breaks too, goes first.

    >>> clean("On the  left, a TV stand."), clean("2"), clean("None")
    ('on left, TV stand', 'two', 'zero')
    """
    text = re.sub(" {2,}", " ", text.strip().lower())
    text = _NOT_KEPT.sub("", text)
    text = _SPELLING.sub(lambda m: _MISSPELT[m[0]], text)
    text = re.sub(r"\bo'[ ]+clock\b", "o'clock", text)
    text = _NUMBER.sub(lambda m: _WORDS[m[0]], text)
    text = re.sub(r"\b([a-zA-Z]+)[0-9]\b", r"\1", text)  # "mat2"
    for article in _ARTICLES:
        text = article.sub(r"\1", text)
    return re.sub(r"\bbackwards\b", "backward", text)


def without_stop(text: str) -> str:
    """Take the full stop off and the capital of the first letter down, as GPT4Scene does.

    >>> without_stop("Two chairs."), without_stop("A")
    ('two chairs', 'A')
    """
    if len(text) < 2:
        return text
    text = text.removesuffix(".")
    return text[:1].lower() + text[1:]


def squeezed(text: str) -> str:
    """Return a text without any white space."""
    return "".join(text.split())


def exact(prediction: str, answers: tuple[str, ...]) -> bool:
    """Say whether a prediction is one of the answers; an empty one never is."""
    return bool(prediction.strip()) and prediction in answers


def exact_first(prediction: str, answers: tuple[str, ...]) -> bool:
    """Say whether the first answer that holds a prediction, or that it holds, is exactly the prediction.

    So LEO's code finds exact matches, and misses one that comes after an answer that merely contains it.

    >>> exact_first("brown", ("dark brown", "brown")), exact("brown", ("dark brown", "brown"))
    (False, True)
    """
    holding = (a for a in answers if contained(prediction, (a,)))
    return next(holding, None) == prediction if prediction.strip() else False


def contained(prediction: str, answers: tuple[str, ...]) -> bool:
    """Say whether, white space left out, a prediction is within an answer or an answer within it; never if empty."""
    said = squeezed(prediction)
    return bool(said) and any(said in a or (a and a in said) for a in map(squeezed, answers))
