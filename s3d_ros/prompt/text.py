"""Texts of a prompt: what people typed is made plain, objects that they name get their numbers, and back again.

``Said`` is a text whose objects are IDs, so that it stays true when numbers change: ("is ", 12, " free?").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from s3d_ros.prompt.numbers import Numbering
from s3d_ros.types import SceneObject

Said = tuple[str | int, ...]

# "object 12", "object number 12", "#12", "chair #12"; "chair 12" only where object 12 is a chair
_NAMED = re.compile(
    r"(?<![\w#.])(?:(?:objects?|id|thing|item|instance)(?:\s+(?:number|no\.?|nr\.?|id))?(?:\s+|\s*#\s*)|#\s*)"
    r"(\d{1,9})(?![\w%]|[.,]\d)",
    re.IGNORECASE,
)
_LABELLED = re.compile(
    r"(?<![\w#])([^\W\d_]+)\s+#?(\d{1,9})(?![\w%]|[.,]\d|\s*(?:m|cm|mm|ft|in|meters?|metres?|feet|inch(?:es)?|times)\b)"
)
_TOKEN = re.compile(r"<OBJ([0-9]{1,3})>")


def plain(text: str) -> str:
    """Take control and object tokens apart: ``<|im_start|>`` -> ``< |im_start| >``, ``<OBJ007>``, ``[INST]`` likewise.

    Invisible control characters become spaces.
    """
    text = re.sub(r"[^\S\n]|[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]", " ", text)
    text = re.sub(r"\[(/?[A-Z_]{2,24})\]", r"[ \1 ]", text)
    return re.sub(r"<(?=\S)", "< ", re.sub(r"(?<=\S)>", " >", text)).strip()


def label_of(thing: SceneObject) -> str:
    """Return an object's label as plain words."""
    return _plain_label(thing.label)


@lru_cache(maxsize=4096)
def _plain_label(label: str) -> str:
    return " ".join(plain(label).lower().replace("_", " ").split())[:60]


def said(text: str, objects: Mapping[int, SceneObject], resolved: Mapping[int, int] | None = None) -> Said:
    """Return what a person typed, plain, with the objects that it names by ID ("#12", "object 12", "chair 12")."""
    resolved = resolved or {}

    def known(match: re.Match[str], group: int) -> int | None:
        number = int(match[group])
        number = resolved.get(number, number)
        return number if number in objects else None

    text = plain(text)
    marks: list[tuple[int, int, int]] = []
    for match in _NAMED.finditer(text):
        if (found := known(match, 1)) is not None:
            marks.append((match.start(), match.end(), found))
    for match in _LABELLED.finditer(text):
        found = known(match, 2)
        if found is not None and _is_called(match[1], label_of(objects[found])):
            marks.append((match.start(2), match.end(2), found))
    out: list[str | int] = []
    at = 0
    for start, end, object_id in sorted(marks):
        if start < at:
            continue
        start -= int(text[start - 1 : start] == "#" and start > at)
        out += [text[at:start], object_id]
        at = end
    return tuple(p for p in (*out, text[at:]) if p != "")


def heard(text: str, numbering: Numbering) -> Said:
    """Return what a model said, with its objects by ID; tokens that stand for nothing are left as words."""
    out: list[str | int] = []
    at = 0
    for match in _TOKEN.finditer(text):
        object_id = numbering.id_of.get(int(match[1]))
        out += [text[at : match.start()], "an unknown object" if object_id is None else object_id]
        at = match.end()
    return tuple(p for p in (*out, text[at:]) if p != "")


def for_model(words: Said, numbering: Numbering) -> str:
    """Write objects as ``<OBJ012>``; one that has no number is gone."""
    return "".join(p if isinstance(p, str) else numbering.token_of(p) or "an object that is gone" for p in words)


def for_people(words: Said, objects: Mapping[int, SceneObject]) -> str:
    """Write objects as "chair 12", or "object 12" without a label; a label that stands before it is not said twice."""

    def named(told: str, object_id: int, label: str) -> str:
        before = told.rstrip(" (").lower()
        return told + (f"{object_id}" if before.endswith((label, "object")) else f"{label} {object_id}")

    return _written(words, objects, named)


def by_label(words: Said, objects: Mapping[int, SceneObject]) -> str:
    """Write objects as their labels, "object" without one, for whom no number is shown; none is said twice."""

    def named(told: str, object_id: int, label: str) -> str:
        before = told.rstrip(" (")
        return before if before.lower().endswith(label) else told + label

    return _written(words, objects, named)


def _written(words: Said, objects: Mapping[int, SceneObject], named: Callable[[str, int, str], str]) -> str:
    """Write out a text. named: (text so far, ID, label or "object") -> the text with that object."""
    out = ""
    for part in words:
        out = out + part if isinstance(part, str) else named(out, part, _label(part, objects))
    return out


def _label(object_id: int, objects: Mapping[int, SceneObject]) -> str:
    thing = objects.get(object_id)
    return (label_of(thing) if thing else "") or "object"


def by_id(words: Said) -> str:
    """Write objects as "#12", as those who ask the map by ID read them."""
    return "".join(p if isinstance(p, str) else f"#{p}" for p in words)


def objects_of(words: Said) -> tuple[int, ...]:
    """Return the IDs in a text, each once, in order."""
    return tuple(dict.fromkeys(p for p in words if isinstance(p, int)))


def labels_named(text: str, objects: Sequence[SceneObject]) -> tuple[int, ...]:
    """Return the IDs of the objects whose label, or its plural, a text says, by ID."""
    told = " " + " ".join(re.findall(r"[^\W_]+", text.lower())) + " "
    says: dict[str, bool] = {}
    for thing in objects:
        label = label_of(thing)
        if label and label not in says:
            says[label] = any(f" {form} " in told for form in (label, f"{label}s", f"{label}es"))
    return tuple(o.id for o in objects if says.get(label_of(o), False))


def _is_called(word: str, label: str) -> bool:
    """Tell whether a word is a label's last ("mouse" of "computer mouse")."""
    return bool(label) and word.lower() == label.split()[-1]
