"""Which objects does a description mean? "Find all chairs within 2 metres of the table", "the smaller of the two beds".

The reply's objects are those that fit and nothing else, none where nothing does. The nearest to and the farthest from
a thing are ``closest``'s.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from s3d_ros.answer.asked import Asked
from s3d_ros.answer.kind import Kind
from s3d_ros.answer.refusal import Refusal
from s3d_ros.answer.world import name_of, names_of
from s3d_ros.types import Answer, ErrorCode, SceneObject

SURE_M, SURE_SHARE = 0.1, 0.1  # closer calls lose confidence, down to a half
_LEFT_OUT = frozenset("the a an of this that these those , ~ there please".split())
_REQUEST = (
    r"(?:(?:which|what)(?: objects?| things?| items?| ones?)? (?:is|are)|where (?:is|are)"
    r"|(?:(?:can|could|would) you )?(?:find|locate|identify|select|list|name|highlight|mark|pick out|point (?:out|to)"
    r"|show|go to)(?: me)?(?: all| every| each)?|all"
    r"|are any objects match(?:ing)? description|(?:is|are) (?:any )?objects? match(?:es)? description)? ?"
)
_TAIL = r"(?: if so(?: list)?(?: which| their ids?)?| for me| if any)?"
_REACH = r"(?P<reach>\d{1,6}(?:\.\d{1,6})?) (?P<unit>metres|centimetres)"
_PLACED = re.compile(
    rf"{_REQUEST}@(?P<what>\d+) (?:(?P<within>within|less than|no more than|at most)|more than|further than|over)"
    rf" {_REACH} (?:from|to|away from)? ?(?:nearest )?@(?P<anchor>\d+){_TAIL}"
)
_MOST = {
    **dict.fromkeys(("smaller", "smallest"), ("size", False)),
    **dict.fromkeys(("bigger", "biggest", "larger", "largest"), ("size", True)),
    **dict.fromkeys(("lower", "lowest"), ("height", False)),
    **dict.fromkeys(("higher", "highest"), ("height", True)),
}
_RANKED = re.compile(rf"{_REQUEST}(?P<rank>{'|'.join(_MOST)})(?: one)?(?: among)? (?P<two>two )?@(?P<what>\d+){_TAIL}")


def described(asked: Asked) -> Answer | None:
    """Return what a description fits: by distance to a thing, by size (volume) or by height of the middle."""
    if asked.parsed.view or asked.parsed.options:
        return None
    plain = " ".join(w for w in asked.parsed.text.split() if w not in _LEFT_OUT)
    if found := _PLACED.fullmatch(plain):
        reach_m = float(found["reach"]) * (0.01 if found["unit"] == "centimetres" else 1.0)
        return _placed(asked, int(found["what"]), int(found["anchor"]), reach_m, bool(found["within"]))
    if found := _RANKED.fullmatch(plain):
        by, most = _MOST[found["rank"]]
        return _ranked(asked, int(found["what"]), by, most, 2 if found["two"] or found["rank"].endswith("r") else None)
    return None


def _placed(asked: Asked, what: int, anchor: int, reach_m: float, within: bool) -> Answer:
    thing = asked.one(anchor) if _held(asked, anchor) else None
    how = f"{'within' if within else 'more than'} {reach_m:g} m {'of' if within else 'from'}"
    word = asked.mention(what).word
    if thing is None or not _held(asked, what):
        lacking = asked.mention(anchor).word if thing is None else word
        return asked.reply(f"No: the map holds no {lacking} so far.")
    pool = [o for o in asked.all(asked.mention(what)) if o is not thing]
    far = asked.world.distances(thing, pool) if pool else np.zeros(0)
    fits = [o for o, d in zip(pool, far, strict=True) if (d <= reach_m) == within]
    lead_m = float(np.abs(far - reach_m).min()) if pool else np.inf
    text = f"Yes: {names_of(fits)}" if fits else f"No {word}"
    return asked.reply(f"{text}, {how} {name_of(thing)}.", fits, sureness=_sure(lead_m / SURE_M))


def _ranked(asked: Asked, what: int, by: str, most: bool, count: int | None) -> Answer:
    pool = asked.all(asked.mention(what))
    if len(pool) < 2 or (count is not None and len(pool) != count):
        word = asked.mention(what).word
        raise Refusal(
            ErrorCode.NOT_IN_MAP, f"The map holds {len(pool)} {word}: {names_of(pool)}.", [o.id for o in pool]
        )
    values = _volumes(pool) if by == "size" else [float(o.box.center @ asked.world.up) for o in pool]
    order = np.argsort([-v for v in values] if most else values, kind="stable")
    best, lead = pool[order[0]], abs(values[order[1]] - values[order[0]])
    sure = lead / (SURE_SHARE * max(values[order[0]], 1e-9)) if by == "size" else lead / SURE_M
    said = {("size", True): "biggest", ("size", False): "smallest", ("height", True): "highest"}.get(
        (by, most), "lowest"
    )
    return asked.reply(f"{name_of(best)} is the {said} of {names_of(pool)}.", (best,), sureness=_sure(sure))


def _held(asked: Asked, slot: int) -> bool:
    try:
        return bool(asked.all(asked.mention(slot)))
    except Refusal as refusal:
        if refusal.code != ErrorCode.NOT_IN_MAP:
            raise
        return False


def _volumes(things: Sequence[SceneObject]) -> list[float]:
    return [float(np.prod(o.box.size)) for o in things]


def _sure(share: float) -> float:
    return 0.5 + 0.5 * min(1.0, share)


GROUNDING = Kind(
    "grounding",
    described,
    asks=(
        r"(?:(?:within|less than|no more than|at most|more than|further than|over) [\d.]+ (?:metres|centimetres)"
        rf"|(?:{'|'.join(_MOST)})(?: one| among)*(?: two)? @)",
    ),
    reads="which what where objects object things thing items item ones one is are find locate identify select list"
    " name highlight mark pick point out show go to me all every each can could would you any match matching matches"
    " description if so their id ids for from away of two among there please within less than no more at most further"
    " over metres centimetres",
    mentions=(1, 2),
    polar=None,
)
