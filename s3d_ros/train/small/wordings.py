"""How the small model is asked what the project's generator of questions does not ask: by numbers, about pictures.

Sets as there: ``open`` is trained on, ``held_out`` never. Placeholders: {a}, {b} are things ("object 12" or "sofa"),
{category} is a kind of thing, {list} is "object 3, object 5 or object 12".
"""

from __future__ import annotations

from s3d_ros.offline.questions_wordings import Wording, wordings

ASKED: dict[str, tuple[Wording, ...]] = {
    "category": wordings(
        [],
        [
            "What is {a}?",
            "What kind of thing is {a}?",
            "What is the category of {a}?",
            "Name {a}.",
            "Say what {a} is.",
            "Tell me what {a} is.",
            "What sort of object is {a}?",
            "Which kind of thing do you find at {a}?",
            "I want to know what {a} is.",
        ],
        [
            "Can you tell what sort of thing {a} is?",
            "What would you call {a}?",
            "{a}: what is it?",
            "What do you see at {a}?",
            "I'd like to know what {a} is.",
        ],
    ),
    "id": wordings(
        [],
        [
            "Which object is the {category}?",
            "Find the {category}.",
            "What is the number of the {category}?",
            "What is the ID of the {category}?",
            "Locate the {category}.",
            "Which number has the {category}?",
            "Where is the {category}?",
            "Tell me the ID of the {category}.",
        ],
        [
            "Point out the {category}.",
            "Give me the ID of the {category}.",
            "Show me the {category}.",
            "Identify the {category}.",
        ],
    ),
    "map_side": wordings(
        [],
        [
            "On the map, is {a} left or right of {b}?",
            "In the picture of the floor, is {a} to the left or to the right of {b}?",
            "In the bird's-eye view, does {a} lie left or right of {b}?",
            "Seen from above, is {a} left or right of {b}?",
            "On the map, on which side of {b} is {a}?",
            "Compared with {b}, is {a} further left or further right on the map?",
        ],
        [
            "Looking at the map, on which side of {b} is {a}, left or right?",
            "On the plan, does {a} lie to the left or to the right of {b}?",
        ],
    ),
    "closest": wordings(
        [],
        [
            "Which of these is nearest to {a}: {list}?",
            "Which is closest to {a}, {list}?",
            "Out of {list}, which one is nearest to {a}?",
            "{a}: which is nearest to it, {list}?",
            "Among {list}, what is closest to {a}?",
            "Say which lies nearest to {a}: {list}.",
        ],
        [
            "Is it {list} that is closest to {a}?",
            "Of {list}, which stands nearest to {a}?",
            "What is {a} closest to: {list}?",
        ],
    ),
    "two_hop": wordings(
        [],
        [
            "Which object is the {category} nearest to {a}?",
            "Find the {category} closest to {a}.",
            "What is the ID of the {category} that is nearest to {a}?",
            "Locate the {category} next to {a}.",
            "Which {category} is closest to {a}?",
            "Which number has the {category} nearest to {a}?",
            "Take {a}: which {category} is nearest to it?",
        ],
        [
            "Identify the {category} that stands closest to {a}.",
            "Point out the {category} nearest to {a}.",
            "Show me the {category} with the shortest distance to {a}.",
        ],
    ),
    "nearest": wordings(
        [],
        [
            "Which object is closest to {a}?",
            "What is the ID of the object nearest to {a}?",
            "Find the object nearest to {a}.",
            "What lies closest to {a}?",
            "Tell me the ID of what is next to {a}.",
        ],
        [
            "Identify the object that is closest to {a}.",
            "Point out the object with the shortest distance to {a}.",
        ],
    ),
}

# Further ways to ask what the project's generator asks, for training alone: with few of them a model learns these few
MORE: dict[str, tuple[Wording, ...]] = {
    "object_counting": wordings(
        [],
        [
            "How many {categories} do you find?",
            "How many {categories} stand in this room?",
            "Say how many {categories} you know of.",
            "What number of {categories} is there?",
            "{categories}, how many?",
        ],
        [],
    ),
    "object_abs_distance": wordings(
        [],
        [
            "How many metres lie between the {a} and the {b}?",
            "How wide is the gap from the {a} to the {b}?",
            "Between the {a} and the {b}, how far is it?",
            "What is the shortest way from the {a} to the {b}, in metres?",
            "How far apart do the {a} and the {b} lie?",
            "How far away is the {b}, measured from the {a}?",
            "Say how far the {b} is from the {a}, in meters.",
        ],
        [],
    ),
    "object_rel_direction_easy": wordings(
        [],
        [
            "I face the {face} and stand by the {stand}. Is the {target} left or right?",
            "Facing the {face}, with the {stand} behind me: is the {target} on my left or my right?",
            "Is the {target} left or right for somebody at the {stand} who looks at the {face}?",
            "On which hand is the {target}, left or right, when I go from the {stand} to the {face}?",
            "Somebody stands at the {stand} and faces the {face}. On which side of them is the {target}, "
            "left or right?",
            "With my back to the {stand} I look at the {face}. Left or right: on which side is the {target}?",
            "Looking from the {stand} to the {face}, do I see the {target} to the left or to the right?",
            "At the {stand}, facing the {face}: is the {target} left or right?",
        ],
        [],
    ),
    "object_rel_direction_medium": wordings(
        [],
        [
            "I face the {face} and stand by the {stand}. Is the {target} left, right or behind?",
            "Is the {target} left, right or behind for somebody at the {stand} who looks at the {face}?",
            "Looking from the {stand} to the {face}, is the {target} to the left, to the right or at the back?",
            "At the {stand}, facing the {face}: is the {target} left, right or back?",
        ],
        [],
    ),
    "object_rel_direction_hard": wordings(
        [],
        [
            "I face the {face} and stand by the {stand}. Is the {target} front-left, front-right, back-left or "
            "back-right?",
            "For somebody at the {stand} who looks at the {face}, is the {target} front-left, front-right, back-left "
            "or back-right?",
            "Looking from the {stand} to the {face}, is the {target} front-left, front-right, back-left or back-right?",
        ],
        [],
    ),
}
