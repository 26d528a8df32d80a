"""Where is X?"""

from __future__ import annotations

import re

from s3d_ros.answer.asked import SHOWN_AT_MOST, Asked
from s3d_ros.answer.kind import Kind
from s3d_ros.answer.refusal import Refusal
from s3d_ros.answer.relations import supports
from s3d_ros.answer.sectors import in_words
from s3d_ros.answer.wording import SEEN
from s3d_ros.answer.world import Standpoint, name_of, names_of
from s3d_ros.types import Answer, SceneObject


def where(asked: Asked) -> Answer | None:
    """Say where one thing is, or all of a plural: its box's centre in the map frame, and as seen from here.

    ``facts["positions"]``: ID -> [x, y, z] of the box centre, in metres in the map frame.
    """
    parsed, slots = asked.parsed, asked.parsed.slots
    listed = len(slots) == 1 or slots in parsed.groups
    if not listed or parsed.options or parsed.view.facing is not None or parsed.view.away is not None:
        return None
    things: list[SceneObject] = []
    for k in slots:
        mention = asked.mention(k)
        several = mention.plural or re.search(rf" (?:any|an?|all) @{k} ", parsed.text)
        things += asked.all(mention) if several and not mention.nearest else [asked.one(k)]
    try:
        here: Standpoint | None = asked.standpoint()
    except Refusal:
        if parsed.view or parsed.situation is not None:
            raise
        here = None  # no pose yet: the place in the map will do
    told = "; ".join(_placed(asked, thing, here) for thing in things[:SHOWN_AT_MOST])
    more = f"; and {len(things) - SHOWN_AT_MOST} more" if len(things) > SHOWN_AT_MOST else ""
    return asked.reply(
        f"{told}{more}.",
        things,
        viewpoint=here.words if here else "",
        positions={o.id: [float(x) for x in o.box.center] for o in things},
    )


def _placed(asked: Asked, thing: SceneObject, here: Standpoint | None) -> str:
    world = asked.world
    x, y, z = thing.box.center
    text = f"{name_of(thing)} is at ({x:.2f}, {y:.2f}, {z:.2f}) m in {world.scene.frame_id}"
    if below := supports(world, thing):
        text += f", on {names_of(below)}"
    if here is not None and here.place is not thing:
        text += f", {float(world.distances_from(here, [thing])[0]):.2f} m away"
        if here.heading is not None:
            text += f", {in_words(world.bearing_deg(here.position, here.heading, thing.box.center))}"
        text += f" ({here.words})"
    return text


WHERE = Kind(
    "where",
    where,
    asks=(
        r"(?:(?:where|whereabouts|in what place|what place)(?: exactly| abouts)?(?: is| are| was| were| can i find"
        r"| do i find| could i find| can you see| would i find| did you see| have you seen| do you have)?"
        r"(?: located| placed)? @|(?:location|position|coordinates|whereabouts|place|spot)(?=\sof\s) @"
        r"|where (?:can|could) @ be (?:found|seen|located)|(?:find|locate|pinpoint|point (?:to|out|at|me to)"
        r"|show me) @|@ (?:'s )?(?:location|position|coordinates|whereabouts)|@ (?:is |are )?where)",
    ),
    reads="where what which exactly located situated placed positioned found find locate can could i we you"
    " would position location coordinates whereabouts place its at in it out point and lies stands"
    " map relative me my have has kept abouts us see seen anywhere",
    phrases=(r"to be (?:found|seen)|(?:relative )?to me|@ (?:lie|stand)|be found", *SEEN),
    mentions=(1, 4),
)
