"""Read what a question says of several things of one kind: "if there are multiple instances, measure to the closest".

Such a clause can stand anywhere: as a sentence, in brackets, before or behind what is asked. It is known by its
words: all of them from a small vocabulary, with one that speaks of several ("multiple", "more than one") and one
that says which of them counts ("the closest"), here or in a clause beside it. Any other rule (the average, the
largest) has other words and so stays in the text, unread.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby

from s3d_ros.answer.language import ARROW, words

_SEVERAL = re.compile(
    r" (?:multiple|several|duplicat\w+|copy|copies|instances?|occurrences?|repeat\w*|twice|many|a few|various"
    r"|numerous"
    r"|(?:two|2|three) or more|more often than once|more than (?:once|one|1|an?|a single)"
    r"|(?:each|every|per)(?: single| object)? (?:category|kind|type|class|sort))(?= )"
)
_COUNTS = re.compile(
    r" (?:closest|nearest|nearer|closer|minimum|minimal|min|smallest|shortest|least)(?! (?:points?|edges?"
    r"|sides?))(?= )"
)
_SMALL = words(
    "if where when whenever wherever should in case cases that event there is are be being exist exists occur occurs"
    " appear appears appearing present found given for with within of the a an any each every all some certain only"
    " just simply always take takes taken taking use uses used using measure measures measured measuring go goes"
    " going gone by count counts counted counting consider considers considered considering pick picks picked"
    " picking choose chooses chosen choosing assume assumed assuming treat treated note noting bear bearing keep"
    " keeping mind remember please then to from at on as it its their them they those these this one ones same"
    " object objects category categories kind kinds type types class classes item items thing things label labels"
    " sort single individual instance instances copy copies duplicate duplicates duplicated distance distances"
    " minimum minimal min smallest shortest least closest nearest nearer closer near what whichever whatever which"
    " matter matters meant relevant respective corresponding tie ties settled decide decides decided between among"
    " so do does has have having may might can could will shall must needs show shows up more than two three 2 1 or"
    " and but also multiple several many few various numerous once twice repeat repeats repeated repeatedly often"
    " times time over own point points based determined computed calculated you i we see find scene room video"
    " different us let applies apply here particular group would mean means rather lies located belonging belong"
    " identical such about latter place places spot spots member members per purpose purposes question look looking"
    " represent represents represented share shares sharing possible decides occurrence occurrences listed mentioned"
    " named say whole entire"
).union({ARROW})
_NEAREST_TO = re.compile(r"(?<= )(closest|nearest|nearer)(?: to)?(?: the)? @(\d+)(?= )")
_ASKS = "which|what|whose|who|how|where|tell|find|name|among|out|is|are"
_STARTS = (
    "if|where|when|whenever|should|in|given|for|with|taking|take|use|using|considering|counting|measuring|measured|and"
    "|but|only|whichever|based|assuming|to"
)
_OF_SEVERAL = re.compile(
    r"(?<= )(multiple|several|many|few|duplicate|(?:more than|at least) (?:one|two)|two or more|any) @(\d+)(?= )"
)


def without_several(text: str, again: Callable[[int], bool]) -> tuple[str, bool]:
    """Take out the clauses on several of a kind; say whether there were any: then the closest of them counts.

    again: whether the question names the thing of a slot once more; else "if there are several chairs" must stay.
    """

    def unnamed(match: re.Match[str]) -> str:
        return f"{match[1]} objects" if again(int(match[2])) else match[0]

    segments = [s for part in re.split(r"(?<= )(?=[~,] )", text) for s in _segments(part, unnamed)]
    kept, found = "", False
    for small, run in groupby(segments, key=lambda s: s[1] is not None):
        members = list(run)
        said = "".join(plain or "" for _, plain in members)
        if small and _SEVERAL.search(said) and _COUNTS.search(said):
            kept, found = f"{kept} , ", True
            continue
        kept += "".join(part for part, _ in members)
    return (f" {' '.join(kept.split())} ", True) if found else (text, False)


def _segments(part: str, unnamed: Callable[[re.Match[str]], str]) -> list[tuple[str, str | None]]:
    """Split a clause into what it asks and what it may say of several; (text, plain words of the latter or None)."""
    if (plain := _plain(part, unnamed)) is not None and not re.match(rf" ?[~,]? ?(?:{_ASKS}) ", plain):
        return [(part, plain)]
    for start in re.finditer(rf" (?=(?:{_STARTS}) )", part):
        plain = _plain(part[start.start() :], unnamed)
        if plain is not None and _SEVERAL.search(plain):
            return [(part[: start.start()] + " ", None), (part[start.start() :], plain)]
    for end in re.finditer(rf" (?=(?:{_ASKS}) )", part):
        plain = _plain(part[: end.start()] + " ", unnamed)
        if plain is not None and _SEVERAL.search(plain):
            return [(part[: end.start()] + " ", plain), (part[end.start() :], None)]
    return [(part, None)]


def _plain(part: str, unnamed: Callable[[re.Match[str]], str]) -> str | None:
    """Return the clause if all its words are of the small vocabulary, with "several objects" for several of a name."""
    said = _OF_SEVERAL.sub(unnamed, f" {part.strip(' ~,')} ")
    if _SEVERAL.search(said):  # "the instance nearest to the door counts"
        said = _NEAREST_TO.sub(lambda match: unnamed(match).replace(" objects", ""), said)
    return said if _SMALL.issuperset(said.split()) and said.strip() else None
