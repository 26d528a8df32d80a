"""Find what a question names: categories ("the computer mouse", "chairs") and IDs ("chair 12", "#7").

Each mention becomes a slot in the text, so that the kinds of question match on structure alone:
"how far is the fridge from chair 12" reads "how far is the @0 from @1". "The closest chair" and "the
chair nearest to me" read "nearest @0".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from s3d_ros.answer.language import ARROW, tokenize
from s3d_ros.answer.lexicon import RESERVED, forms, labels_for, synonyms

_NEAREST = ("nearest", "closest", "nearby")
_ID_WORDS = ("object", "objects", "obj", "item", "thing", "id", "instance")
_NUMBER_WORDS = ("#", "number", "no", "nr", "id", "num")
_TO_ME = r"(?:me|us|here|myself|you|the robot|where i am|my position|the camera)(?= )"
_NEAREST_TO_ME = re.compile(rf" @(?P<k>\d+)(?: that is| which is| that| which)? (?:nearest|closest)(?: to)? {_TO_ME}")
_NEAREST_ONE_TO_ME = re.compile(rf" nearest @(?P<k>\d+) (?:to|near) {_TO_ME}")
_JOINTS = frozenset(", and or the a an then / | -> > ; - – — versus vs any some".split())
_OFTEN_NO_THING = frozenset("light iron throw display remote book mirror bath scale copier".split())
_BEFORE_NO_THING = frozenset("there how you i we they much enough more".split())
_HAVE = ("have", "take", "having", "taking")
_COUNTS = {"two": 2, "both": 2, "2": 2}
_WRITTEN = {
    **dict.fromkeys(".?!;\n", "~"),
    **dict.fromkeys((",", ":", "(", ")", "[", "]", "/", "-", "–", "—"), ","),
    "->": ARROW,
}


@dataclass(frozen=True)
class Mention:
    """One thing named. ``word`` as the question says it; ``labels`` of the map that it stands for, () for none.

    object_id: where an ID was given. plural: "chairs". nearest: "the nearest chair". count: "the two chairs".
    """

    word: str
    labels: tuple[str, ...] = ()
    object_id: int | None = None
    plural: bool = False
    nearest: bool = False
    count: int | None = None


@dataclass(frozen=True)
class Slotted:
    """Tokens of a question with mentions as slots.

    text: words and slots with a space around each; of the punctuation, "~" stands where a sentence
    ends and "," for the rest. groups: runs of slots that are listed together ("the bed, the sofa or
    the door").
    """

    text: str
    mentions: tuple[Mention, ...]
    groups: tuple[tuple[int, ...], ...]


Entries = dict[str, list[tuple[tuple[str, ...], str, bool]]]


def _entries(known: Iterable[str]) -> Entries:
    """Return (tokens, word, plural) of every form of the words, by first token, longest first."""
    entries: Entries = {}
    taken: set[tuple[str, ...]] = set()
    for word in known:
        name = tuple(tokenize(word))
        if not name or all(w in RESERVED for w in name):
            continue
        for form, is_plural in forms(name).items():
            if form not in taken:
                taken.add(form)
                entries.setdefault(form[0], []).append((form, word, is_plural))
    for found in entries.values():
        found.sort(key=lambda e: -len(e[0]))
    return entries


@cache
def _everyday() -> Entries:
    return _entries(synonyms())


class Lexicon:
    """All words for things that a question to one map may use: its labels, and everyday words."""

    def __init__(self, labels: frozenset[str]) -> None:
        self.labels = labels
        self._tables = (_entries(sorted(labels)), _everyday())

    def at(self, tokens: Sequence[str], i: int) -> tuple[int, str, bool] | None:
        """Return (length in tokens, word, plural) of the longest name that starts at token i, or None.

        Of two equally long ones the map's own wins: its "shoe" is no form of "shoes".
        """
        if tokens[i] in _OFTEN_NO_THING and i > 0 and tokens[i - 1] in _BEFORE_NO_THING:
            return None  # "is there light", "how remote is it"
        if tokens[i] in ("pan", "pans") and i > 0 and tokens[i - 1] == "camera":
            return None
        if i > 1 and tokens[i] in ("bath", "shower") and tokens[i - 1] == "a" and tokens[i - 2] in _HAVE:
            return None
        best: tuple[int, str, bool] | None = None
        for table in self._tables:
            for form, word, is_plural in table.get(tokens[i], ()):
                if (best is None or len(form) > best[0]) and tuple(tokens[i : i + len(form)]) == form:
                    best = (len(form), word, is_plural)
                    break
        return best


def slotted(tokens: Sequence[str], lexicon: Lexicon, ids: Mapping[int, object]) -> Slotted:
    """Replace names and IDs by slots. ``ids`` holds the IDs (and aliases) that the map knows."""
    mentions: list[Mention] = []
    out: list[str] = []
    i = 0
    while i < len(tokens):
        found = _mention_at(tokens, i, lexicon, ids, out)
        if found is None:
            out.append(tokens[i])
            i += 1
            continue
        length, mention = found
        mention, out = _with_determiner(mention, out)
        mentions.append(mention)
        out.append(f"@{len(mentions) - 1}")
        i += length
        i = _and_more_ids(tokens, i, mention, mentions, out)
    mentions, out = _nearest_to_me(mentions, out)
    return _assemble(out, mentions)


def _mention_at(
    tokens: Sequence[str], i: int, lexicon: Lexicon, ids: Mapping[int, object], before: list[str]
) -> tuple[int, Mention] | None:
    if tokens[i] == "#" and i + 1 < len(tokens) and tokens[i + 1].isdecimal():
        return 2, Mention(f"object {int(tokens[i + 1])}", object_id=int(tokens[i + 1]))
    name = lexicon.at(tokens, i)
    if name is None:
        if tokens[i] not in _ID_WORDS:
            return None
        length, number = _id_after(tokens, i + 1)
        if number is None:
            return None
        return 1 + length, Mention(f"object {number}", object_id=number)
    n, word, is_plural = name
    labels = labels_for(word, lexicon.labels)
    length, number = _id_after(tokens, i + n)
    if number is not None and (length > 1 or number in ids or not is_plural):
        return n + length, Mention(f"{word} {number}", labels, object_id=number)
    return n, Mention(word, labels, plural=is_plural)


def _id_after(tokens: Sequence[str], i: int) -> tuple[int, int | None]:
    """Read "12", "# 12", "number 12", "with id 12"; return (tokens read, ID or None)."""
    at = i
    while at < len(tokens) and at - i < 3 and tokens[at] in (*_NUMBER_WORDS, "with", "<"):
        at += 1
    if at < len(tokens) and re.fullmatch(r"\d{1,9}", tokens[at], re.ASCII):
        return at + 1 - i, int(tokens[at])
    return 0, None


def _with_determiner(mention: Mention, out: list[str]) -> tuple[Mention, list[str]]:
    """Take "nearest" and "two" in front of a mention into it."""
    nearest, count = False, None
    while out:
        if out[-1] in _NEAREST and mention.object_id is None:
            nearest = True
        elif out[-1] in _COUNTS and mention.plural:
            count = _COUNTS[out[-1]]
        else:
            break
        out = out[:-1]
    if nearest:
        out = [*out, "nearest"]
    if count:
        out = [*out, "two"]
    return replace(mention, nearest=nearest, count=count), out


def _and_more_ids(tokens: Sequence[str], i: int, mention: Mention, mentions: list[Mention], out: list[str]) -> int:
    """Read on in "chairs 3 and 5", "objects 3, 5 and 9"."""
    while mention.object_id is not None:
        at = i
        while at < len(tokens) and tokens[at] in (",", "and", "or", "#"):
            at += 1
        if at == i or at >= len(tokens) or not re.fullmatch(r"\d{1,9}", tokens[at], re.ASCII):
            break
        word = mention.word.rsplit(" ", 1)[0]
        number = int(tokens[at])
        out += [*(t for t in tokens[i:at] if t != "#"), f"@{len(mentions)}"]
        mentions.append(Mention(f"{word} {number}", mention.labels, object_id=number))
        i = at + 1
    return i


def _nearest_to_me(mentions: list[Mention], out: list[str]) -> tuple[list[Mention], list[str]]:
    """Take "nearest to me" behind a mention into it: "the chair that is closest to me"."""
    text = f" {' '.join(out)} "

    def taken(match: re.Match[str]) -> str:
        k = int(match["k"])
        mentions[k] = replace(mentions[k], nearest=mentions[k].object_id is None)
        return f" nearest @{k}"

    text = _NEAREST_TO_ME.sub(taken, text)
    text = _NEAREST_ONE_TO_ME.sub(r" nearest @\g<k>", text)
    return mentions, [token for token in text.split(" ") if token]  # a new line is a token, too


def _assemble(tokens: Sequence[str], mentions: Sequence[Mention]) -> Slotted:
    groups: list[list[int]] = []
    linked = False
    for token in tokens:
        if token.startswith("@"):
            if linked:
                groups[-1].append(int(token[1:]))
            else:
                groups.append([int(token[1:])])
            linked = True
        elif token not in _JOINTS:
            linked = False
    text = " ".join(_WRITTEN.get(t, t) for t in tokens if t in _WRITTEN or t[0].isalnum() or t[0] in "@'")
    return Slotted(f" {text} ", tuple(mentions), tuple(map(tuple, groups)))
