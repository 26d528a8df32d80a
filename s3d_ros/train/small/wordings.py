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
