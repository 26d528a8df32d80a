"""How big is a thing, and how big is the room?"""

from __future__ import annotations

import numpy as np

from s3d_ros.answer.asked import Asked
from s3d_ros.answer.kind import Kind
from s3d_ros.answer.language import PER_SQUARE_METRE
from s3d_ros.answer.refusal import Refusal
from s3d_ros.answer.wording import LENGTHS, PLAIN, ROUGHLY, SEEN
from s3d_ros.answer.world import name_of
from s3d_ros.types import Answer, ErrorCode

_LONGEST = "longest largest biggest greatest maximum max maximal longer largest main major"


def size(asked: Asked) -> Answer | None:
    """Size of one object's oriented box, in cm unless asked otherwise.

    The longest of the three extents, unless the question asks for the height (the extent along up) or
    the width (the longer side of the footprint).
    """
    parsed, thing = asked.parsed, asked.one(asked.parsed.slots[0])
    rise = float(np.ptp(thing.box.corners() @ asked.world.up))
    vertical = int(np.argmax(np.abs(thing.box.axes @ asked.world.up)))
    sides = sorted((float(s) for s in np.delete(thing.box.size, vertical)), reverse=True)
    longest = parsed.has(*_LONGEST.split())
    if not longest and parsed.has("tall", "height", "high"):
        metres, what = rise, "high"
    elif not longest and parsed.has("wide", "width", "broad"):
        metres, what = sides[0], "wide (the longer side of its footprint)"
    else:
        metres, what = float(max(thing.box.size)), "along its longest side"
    value, unit, text = asked.length(metres, default="cm")
    x, y, z = (100 * s for s in (*sides, rise))
    measures = f"{name_of(thing)} measures {x:.0f} x {y:.0f} x {z:.0f} cm (length, width, height)"
    return asked.reply(f"{text} {what}: {measures}.", (thing,), value, unit)


def room(asked: Asked) -> Answer | None:
    """Floor area of the rooms seen, in m2 unless asked otherwise."""
    area = asked.world.scene.floor_area_m2
    if not np.isfinite(area):
        text = "The floor has not been seen well enough yet to say how large it is."
        raise Refusal(ErrorCode.NOT_READY, text)
    unit = next((u for u in PER_SQUARE_METRE if u in asked.parsed.units), "m2")
    value = float(area) * PER_SQUARE_METRE[unit]
    return asked.reply(f"{value:.1f} {unit} of floor have been seen.", (), value, unit)


LONGEST = Kind(
    "size",
    size,
    asks=(
        rf"(?:{_LONGEST.replace(' ', '|')}|end to end|at most)",
        r"(?:any direction|end to end|dimensions?|dimensional|sides?|edges?|extents?|measurements?|measures?|length"
        r"|size|axis|axes|span|extension|extends?|reach|how|height|width|stretch)",
    ),
    phrases=(
        r"(?:i )?mean|if you take|come to|comes to|up to|regardless (?:direction)?|out|put (?:ruler"
        r"|tape)(?: measure)?|(?:i am )?after"
        r"|(?:one|either) end to other|around @|across|that you can see",
        *SEEN,
    ),
    reads=PLAIN
    + " straight great widest tallest highest deepest orientation any axis upright wide long big large much many"
    " length width height depth tall wide high deep dimension dimensions dimensional side sides edge edges extent"
    " extents direction directions axis axes physical size sized box boundingbox along three over end ends tape"
    " ruler far extend extends reach reaches reading read reads most least point points part span spans stretch"
    " stretches linear extension its max happens greater only get gets" + LENGTHS + ROUGHLY + " " + _LONGEST,
    mentions=(1, 1),
    views=False,
)
SIZE = Kind(
    "size",
    size,
    asks=(
        r"(?:how (?:many (?:centimetres|metres|inches|feet|millimetres) )?(?:big|large|tall|high|wide|long|broad)"
        r"(?: is| are| was)? @|(?:size|height|width|length|dimensions|measurements|extent|extents) @"
        r"|@ (?:'s )?(?:size|height|width|length|dimensions|measurements)|how (?:big|large|tall|wide|long)"
        r"|how many \w+ (?:across|wide|long|tall) is @|how many \w+ is @ across"
        r"|@ (?:is )?how (?:big|large|tall|high|wide|long)|how (?:much|many \w+) does @ measure|what does @ measure)",
    ),
    reads="across what which how many measure physical overall its it in would has have you say" + LENGTHS + ROUGHLY,
    mentions=(1, 1),
    views=False,
)
ROOM = Kind(
    "room size",
    room,
    asks=(
        r"(?:how (?:big|large|spacious|roomy|much (?:floor|area|ground|floor space|floor area"
        r"|space(?=(?: \S+)* (?:room|place|flat|apartment|house|home|squaremetres|squarefeet))))"
        r"|size|sized|area|squaremetres|squarefeet|footprint|floor space|floorspace|surface|extent)",
        r"(?:rooms?|place|size space|combined space|big space|large space|space (?:we|i|you) (?:are|am) in|apartment"
        r"|flat"
        r"|house|home|floor|scene|does space|floorspace|here|environment|premises|interior|unit|property|dwelling"
        r"|squaremetres"
        r"|squarefeet|(?:total|whole|entire|overall|combined) area|area (?:here|shown|covered|seen|scanned|mapped))",
    ),
    reads=PLAIN
    + " house home flat apartment up across within out big large spacious roomy much many size sized area areas"
    " floor spaces squaremetres squarefeet footprint surface floorspace interior multiple several more than combined"
    " visible cover covers covered covering takes occupy occupies occupied add added adding sum summed complete"
    " usable full extent count counting premises property dwelling measures ground square plus indoor inside include"
    " includes including included put make makes made"
    " part parts different combine combining merge merged" + ROUGHLY,
    phrases=(
        r"in case(?: of)?|(?:would )?floor plan|(?:does|do|would) (?:room|rooms|flat|place|space|it) (?:offer"
        r"|provide|span)",
        r"add(?:s|ed|ing)?(?: them| these| all)* (?:up|together)|add(?:s|ed|ing)? up|tak(?:e|es|ing) up"
        r"|been (?:through|in|seen|scanned|mapped|shown)|out here",
        *SEEN,
    ),
    mentions=(0, 0),
    views=False,
)
