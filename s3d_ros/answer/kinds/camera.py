"""Where was the camera at a view frame, how far from things, and which way did it go?

"Frame i of N" is the i-th of the scene's view frames by time, counted from 1. The camera is at ``t`` of
``T_map_camera``; its axes are x right, y down, z forward.
"""

from __future__ import annotations

import re

import numpy as np

from s3d_ros.answer.asked import Asked
from s3d_ros.answer.choosing import candidates, letter_of, option_mentions
from s3d_ros.answer.kind import Kind
from s3d_ros.answer.refusal import Refusal
from s3d_ros.answer.wording import LENGTHS, PLAIN, ROUGHLY
from s3d_ros.answer.world import name_of, names_of
from s3d_ros.geometry import point_box_distance
from s3d_ros.types import F64, Answer, ErrorCode, SceneObject, ViewFrame

SURE_M = 0.1  # closer calls lose confidence, down to a half
_FRAME = re.compile(r" frame (?:number )?(\d{1,6})(?: (?:of|out of) (?:the )?(\d{1,6}))?(?= )")
_FAR = re.compile(r" (?:farthest|furthest|most distant|least close)(?= )")
_AXES = (
    (0, ("left", "right"), ("left", "right")),
    (1, ("up", "down"), ("above", "below", "higher", "lower", "up", "down", "over", "under")),
    (2, ("near", "far"), ("near", "far", "nearer", "farther", "further", "closer")),
)
_SAME = {
    "above": "up", "higher": "up", "over": "up", "below": "down", "lower": "down", "under": "down",
    "nearer": "near", "closer": "near", "farther": "far", "further": "far",
    "forwards": "forward", "ahead": "forward", "backwards": "backward", "back": "backward", "upwards": "up",
    "downwards": "down", "leftwards": "left", "rightwards": "right",
}  # fmt: skip
_REFERENCE = re.compile(
    r" (?:relative to|compared to|compared with|(?:in )?comparison (?:with|to)|than|(?:left|right|side) of|from|above"
    r"|below|over|under|left|right) (?:the |an? )*@(\d+)"
)


def camera_distance(asked: Asked) -> Answer | None:
    """Distance from the camera at a view frame to the closest point of a thing."""
    views = _frames(asked)
    if len(views) != 1:
        return None
    thing = asked.one(asked.parsed.slots[0])
    value, unit, text = asked.length(point_box_distance(_at(views[0]), thing.box))
    where = _said(asked, views[0])
    return asked.reply(
        f"{text} from the camera in {where} to {name_of(thing)}.", (thing,), value, unit, viewpoint=where
    )


def camera_closest(asked: Asked) -> Answer | None:
    """Which of the things named, or of the options, is closest to the camera at a view frame."""
    views = _frames(asked)
    if len(views) != 1:
        return None
    named = [asked.mention(k) for k in asked.parsed.slots]
    if not named and asked.parsed.options:
        named = [m for part in option_mentions(asked) for m in part]
    if len(named) < 2:
        return None
    pool = list({o.id: o for o in candidates(asked, named)}.values())
    far_off = np.array([point_box_distance(_at(views[0]), o.box) for o in pool])
    order = np.argsort(-far_off if _FAR.search(asked.parsed.text) else far_off, kind="stable")
    best, lead_m = pool[order[0]], abs(float(far_off[order[1]] - far_off[order[0]]))
    where = _said(asked, views[0])
    how = "farthest from" if _FAR.search(asked.parsed.text) else "closest to"
    text = f"{name_of(best)} is {how} the camera in {where}: {far_off[order[0]]:.2f} m"
    return asked.reply(
        f"{text}; then {names_of([pool[i] for i in order[1:4]])}.",
        [best],
        choice=letter_of(asked, best),
        viewpoint=where,
        sureness=_sure(lead_m),
    )


def camera_position(asked: Asked) -> Answer | None:
    """Is one thing left or right of another, above or below it, nearer or farther, in the camera's view at a frame?

    By the middles of the boxes' extents along that axis of the camera.
    """
    parsed = asked.parsed
    views, found = _frames(asked), _REFERENCE.search(parsed.text)
    said = {_SAME.get(w, w) for o in parsed.options for w in o.text.lower().split()} or set(parsed.text.split())
    axis = [(k, names) for k, names, words in _AXES if said.intersection(words)]
    if len(views) != 1 or len(axis) != 1 or found is None or int(found[1]) not in parsed.slots:
        return None
    reference = int(found[1])
    subject = next(k for k in parsed.slots if k != reference)
    a, b = asked.one(subject), asked.one(reference)
    k, names = axis[0]
    (low_a, high_a), (low_b, high_b) = (_extent(o, views[0], k) for o in (a, b))
    name = names[low_a + high_a > low_b + high_b]
    gap_m = max(low_a - high_b, low_b - high_a)
    where = _said(asked, views[0])
    text = f"{name}: {name_of(a)} in comparison with {name_of(b)}, in the camera's view of {where}."
    letter = _letter(asked, name)
    return asked.reply(text, (a, b), choice=letter, viewpoint=where, sureness=_sure(max(gap_m, 0.0)))


def camera_moved(asked: Asked) -> Answer | None:
    """Distance between the camera's positions at two view frames."""
    views = _frames(asked)
    if len(views) != 2:
        return None
    value, unit, text = asked.length(float(np.linalg.norm(_at(views[1]) - _at(views[0]))))
    return asked.reply(f"{text} from {_said(asked, views[0])} to {_said(asked, views[1])}.", (), value, unit)


def camera_way(asked: Asked) -> Answer | None:
    """Which way the camera moved between two view frames, along the axes that it had at the first."""
    views = _frames(asked)
    if len(views) != 2:
        return None
    step = views[0].T_map_camera[:3, :3].T @ (_at(views[1]) - _at(views[0]))
    ways = (("left", "right"), ("up", "down"), ("backward", "forward"))
    order = np.argsort(-np.abs(step))
    options = {_way(o.text) for o in asked.parsed.options}
    fits = [k for k in order if not options or options.intersection(ways[k])]
    if not fits:
        raise Refusal(ErrorCode.BAD_QUESTION, "None of the options says which way the camera went.")
    k = fits[0]
    name = ways[k][int(step[k] > 0)]
    x, y, z = step
    text = f"{name}: {x:+.2f} m right, {y:+.2f} m down, {z:+.2f} m forward from {_said(asked, views[0])} on."
    return asked.reply(text, (), choice=_letter(asked, name), sureness=_sure(abs(step[order[0]]) - abs(step[order[1]])))


def _frames(asked: Asked) -> list[ViewFrame]:
    """Return the view frames that a question names, in its order. Refuses (NOT_IN_MAP) those that are not there."""
    views = sorted(asked.world.scene.views, key=lambda v: (v.stamp_ns, v.id))
    out = []
    for index, count in dict.fromkeys(_FRAME.findall(asked.parsed.text)):  # "... as seen from frame 3" once more
        if (count and int(count) != len(views)) or not 1 <= int(index) <= len(views):
            named = f"frame {index}" + (f" of {count}" if count else "")
            raise Refusal(ErrorCode.NOT_IN_MAP, f"There is no {named}: the map holds {len(views)} view frames.")
        out.append(views[int(index) - 1])
    return out


def _at(view: ViewFrame) -> F64:
    return np.asarray(view.T_map_camera[:3, 3])


def _said(asked: Asked, view: ViewFrame) -> str:
    views = sorted(asked.world.scene.views, key=lambda v: (v.stamp_ns, v.id))
    return f"frame {views.index(view) + 1} of {len(views)}"


def _extent(thing: SceneObject, view: ViewFrame, axis: int) -> tuple[float, float]:
    along = (thing.box.corners() - _at(view)) @ view.T_map_camera[:3, axis]
    return float(along.min()), float(along.max())


def _way(text: str) -> str:
    said = [_SAME.get(w, w) for w in text.lower().strip(" .").split()]
    return next((w for w in said if w in ("left", "right", "up", "down", "near", "far", "forward", "backward")), "")


def _letter(asked: Asked, name: str) -> str:
    if not asked.parsed.options:
        return ""
    fits = [o.letter for o in asked.parsed.options if _way(o.text) == name]
    if len(fits) != 1:
        raise Refusal(ErrorCode.BAD_QUESTION, f"The answer is {name}, and not one of the options says that.")
    return fits[0]


def _sure(lead_m: float) -> float:
    return 0.5 + 0.5 * min(1.0, lead_m / SURE_M)


_ONE = r"frame(?: number)? \d+(?:(?: out)? \d+)?"
_WORDS = (
    PLAIN + " camera camera's filming person point view views seen frame frames was were when taken took looking"
    " appear appears appearing at orientation sequence during start end starts"
)
_LENGTH_WORDS = (
    LENGTHS + ROUGHLY + " far away off close distance separates lie lies straight line apart direct shortest near"
)
CAMERA_KINDS = (
    Kind(
        "camera movement",
        camera_way,
        asks=(
            rf"{_ONE}(?=.* {_ONE} )",
            r"(?:direction|(?:which|what) way|(?:forward|backward|left|right)(?=.* (?:forward|backward|left|right) ))",
            r"(?:camera|i|you|robot)",
            r"(?:move|moves|moved|moving|movement|motion|go|went|travel|travelled|traveled|head|headed)",
        ),
        reads=_WORDS + " direction way primary primarily main mainly mostly consistent relative first looked initial"
        " forward backward forwards backwards left right up down ahead back move moves moved moving movement motion go"
        " went travel travelled traveled head headed general",
        phrases=(_ONE,),
        mentions=(0, 0),
        polar=None,
    ),
    Kind(
        "camera displacement",
        camera_moved,
        asks=(
            rf"{_ONE}(?=.* {_ONE} )",
            r"(?:how far|how many (?:metres|centimetres|feet)|how much|distance|displacement)",
            r"(?:camera|camera's|i|you|robot)",
        ),
        reads=_WORDS + _LENGTH_WORDS + " move moves moved moving go went travel travelled traveled get got"
        " displacement displaced position positions change changed",
        phrases=(_ONE,),
        mentions=(0, 0),
    ),
    Kind(
        "camera to object, relative",
        camera_closest,
        asks=(
            _ONE,
            r"(?:closest|nearest|farthest|furthest|most distant|least far|least distant)",
            "(?:camera|camera's)",
        ),
        reads=_WORDS + _LENGTH_WORDS + " closest nearest farthest furthest most least distant lies lie other",
        phrases=(_ONE,),
        mentions=(0, 12),
        polar=None,
    ),
    Kind(
        "camera to object",
        camera_distance,
        asks=(
            _ONE,
            r"(?:how (?:far|close|distant)|distance|how many (?:metres|centimetres|feet|inches)|how much)",
            r"(?:camera|camera's|person filming|i|you|robot)",
        ),
        reads=_WORDS + _LENGTH_WORDS + " closest nearest surface edge lens",
        phrases=(_ONE,),
        mentions=(1, 1),
    ),
    Kind(
        "relative position in a view",
        camera_position,
        asks=(
            _ONE,
            r"(?:left|right|above|below|up|down|over|under|higher|lower|near|far|nearer|farther|further|closer)",
        ),
        reads=_WORDS + " left right above below up down over under higher lower near far nearer farther further closer"
        " relative compared comparison than side hand away located lies lie stands on",
        phrases=(_ONE,),
        mentions=(2, 2),
        polar=None,
    ),
)
