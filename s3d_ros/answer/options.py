"""The options of a choice question: given beside it, or written behind it as "A. left B. right"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from s3d_ros.answer.refusal import Refusal
from s3d_ros.types import ErrorCode

MAX_OPTIONS = 26
MAX_OPTION_CHARACTERS = 300

_LETTERED = re.compile(r"^\s*[(\[]?\s*([A-Za-z])\s*(?:[.):\]]|-\s|\s[-–]\s)\s*(.*)$", re.DOTALL)
_INLINE = re.compile(r"(?:^|(?<=[\s,;:?.!]))[(\[]?([A-Za-z])\s?[.):\]](?=\s)\s*")
_HEADING = re.compile(
    r"[\s,;:.(\[]*\b(?:(?:the|your|possible|answer|given|following|multiple)\s+)*"
    r"(?:options?|choices?|candidates|answers)(?:\s+(?:are|is|given|below))?\s*[:.)\]-]*\s*$",
    re.IGNORECASE,
)
_LISTED = re.compile(r"\b(?:options?|choices?)(?:\s+are)?\s*:\s*(.+)$", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Option:
    """One option: its letter in the reply, and its text without the letter."""

    letter: str
    text: str


def read_options(text: str, given: tuple[str, ...]) -> tuple[str, tuple[Option, ...]]:
    """Return the question without options that were written into it, and the options.

    Options given beside the question win. Raises Refusal (BAD_QUESTION) where they can't be told apart.
    """
    stem, inline = _inline(text)
    if not given:
        return stem, inline
    return (stem if inline else text), _given(given)


def _given(given: tuple[str, ...]) -> tuple[Option, ...]:
    if not all(isinstance(o, str) for o in given):
        raise Refusal(ErrorCode.BAD_QUESTION, "Every option must be a text.")
    if len(given) > MAX_OPTIONS or any(len(o) > MAX_OPTION_CHARACTERS for o in given):
        raise Refusal(
            ErrorCode.BAD_QUESTION,
            f"At most {MAX_OPTIONS} options of {MAX_OPTION_CHARACTERS} characters each, please.",
        )
    if len(given) == 1:
        raise Refusal(ErrorCode.BAD_QUESTION, "One option is no choice: give two or more, or none.")
    marks = [_LETTERED.match(o) for o in given]
    lettered = [m for m in marks if m]
    if len(lettered) == len(given):
        options = tuple(Option(m[1].upper(), m[2].strip()) for m in lettered)
    elif lettered and len(lettered) > 1:
        odd = next(o for o, m in zip(given, marks, strict=True) if not m)
        raise Refusal(ErrorCode.BAD_QUESTION, f"Some options have a letter and {odd!r} has none.")
    else:
        options = tuple(Option(chr(ord("A") + i), o.strip()) for i, o in enumerate(given))
    return _checked(options)


def _checked(options: tuple[Option, ...]) -> tuple[Option, ...]:
    letters = [o.letter for o in options]
    if len(set(letters)) < len(letters):
        raise Refusal(ErrorCode.BAD_QUESTION, f"Two options have the same letter: {', '.join(letters)}.")
    texts = [" ".join(o.text.lower().split()).strip(" .") for o in options]
    for option, plain in zip(options, texts, strict=True):
        if not any(c.isalnum() for c in plain):
            raise Refusal(ErrorCode.BAD_QUESTION, f"Option {option.letter} is empty.")
    if len(set(texts)) < len(texts):
        raise Refusal(ErrorCode.BAD_QUESTION, "Two options say the same.")
    return options


def _inline(text: str) -> tuple[str, tuple[Option, ...]]:
    """Split "... ? A. left B. right" where the letters count up from A."""
    marks = list(_INLINE.finditer(text))
    for i, first in enumerate(marks):
        if first[1].upper() != "A":
            continue
        run = [first]
        for mark in marks[i + 1 :]:
            if mark[1].upper() == chr(ord(run[-1][1].upper()) + 1) and mark[1].isupper() == first[1].isupper():
                run.append(mark)
        if len(run) < 2:
            continue
        ends = [m.start() for m in run[1:]] + [len(text)]
        texts = [text[m.end() : end].strip(" \t\n,;)]") for m, end in zip(run, ends, strict=True)]
        last, tail = _split_last(texts[-1])
        options = tuple(
            Option(m[1].upper(), t.rstrip(".").strip()) for m, t in zip(run, [*texts[:-1], last], strict=True)
        )
        stem = _HEADING.sub(" ", text[: first.start()])
        return f"{stem.strip()}\n{tail}".strip(), _checked(options)
    listed = _LISTED.search(text)
    if listed and re.search(r"[;/|\n]", listed[1]):
        parts = [p.strip(" .\t") for p in re.split(r"[;/|\n]", listed[1]) if p.strip(" .\t")]
        if len(parts) > 1:
            return text[: listed.start()], _given(tuple(parts))
    return text, ()


def _split_last(text: str) -> tuple[str, str]:
    """Split what follows the options off the last one: a new line, or a new sentence behind it."""
    match = re.search(r"\n|[.?!]\s+(?=[A-Z])", text)
    return (text[: match.start()], text[match.end() :]) if match else (text, "")
