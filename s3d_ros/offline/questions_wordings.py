"""How people word the questions: the eight kinds of VSI-Bench, each in many ways.

Three sets, scored apart: ``official`` as in VSI-Bench (Yang et al., "Thinking in Space", and the released training
generators that follow it), ``open`` for everybody to look at, and ``held_out``: what is asked in these words is
scored, but no answerer may be fitted to them.

Placeholders: {category} and {categories}, {a} and {b}, {target}, {stand}, {face}, {start}, {goal} are names of things;
{bare} is "chair, bed, tv", {any} is "the chair, the bed or the tv", {all} is "the chair, the bed and the tv";
{actions} are the numbered steps of a route.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """One way to ask. ``of_several``: of a category with several things it plainly means the nearest one."""

    text: str
    split: str
    of_several: bool = False


def wordings(official: list[str], open_: list[str], held_out: list[str]) -> tuple[Wording, ...]:
    """Return the three sets together; "*" before a text: ``of_several``."""
    sets = {"official": official, "open": open_, "held_out": held_out}
    return tuple(
        Wording(text.removeprefix("*"), split, text.startswith("*")) for split, texts in sets.items() for text in texts
    )


BACK_IS = "An object is to my back if I would have to turn at least 135 degrees in order to face it."
QUADRANTS_ARE = (
    "The directions refer to the quadrants of a Cartesian plane "
    "(if I am standing at the origin and facing along the positive y-axis)."
)

WORDINGS: dict[str, tuple[Wording, ...]] = {
    "object_counting": wordings(
        ["How many {category}(s) are in this room?"],
        [
            "How many {categories} are there?",
            "How many {categories} can you see in here?",
            "What is the number of {categories} in the room?",
            "Count the {categories}, please.",
            "Tell me how many {categories} this place has.",
        ],
        [
            "I'd like to know how many {categories} there are in total.",
            "How many {categories} did you come across altogether?",
            "Could you count up all the {categories} for me?",
            "What's the total count of {categories} here?",
            "Give me the number of {categories} in this space.",
            "If I counted every {category} in the room, what number would I get?",
            "{categories}: how many are there?",
            "How many {categories} have you found so far?",
            "Exactly how many {categories} does the room contain?",
            "There are how many {categories} around here?",
        ],
    ),
    "object_abs_distance": wordings(
        [
            "Measuring from the closest point of each object, what is the distance between the {a} and the {b} "
            "(in meters)?",
            "Measuring from the closest point of each object, what is the direct distance between the {a} and the {b} "
            "(in meters)?",
        ],
        [
            "How far is the {a} from the {b}?",
            "How many metres are there between the {a} and the {b}?",
            "What is the distance from the {a} to the {b} in metres?",
            "How far apart are the {a} and the {b}?",
            "Give the shortest distance between the {a} and the {b}, in meters.",
        ],
        [
            "How much space is there between the {a} and the {b}, in metres?",
            "What's the gap between the {a} and the {b} (in m)?",
            "From the nearest edge of the {a} to the nearest edge of the {b}, how many meters is it?",
            "In meters, how far away from the {a} is the {b}?",
            "Can you measure the straight-line distance between the {a} and the {b} for me?",
            "What distance separates the {a} from the {b}?",
            "Roughly how many metres away is the {a} from the {b}?",
            "Tell me the distance between {a} and {b}.",
            "How close is the {a} to the {b}, in metres?",
            "At their closest, how many meters lie between the {a} and the {b}?",
        ],
    ),
    "object_size_estimation": wordings(
        [
            "What is the length of the longest dimension (length, width, or height) of the {a}, measured in "
            "centimeters?",
        ],
        [
            "How long is the longest side of the {a}, in centimetres?",
            "What is the largest dimension of the {a} in cm?",
            "How many centimeters does the {a} measure along its longest side?",
            "In centimetres, what's the longest dimension of the {a}?",
            "How big is the {a} at its longest, in cm?",
        ],
        [
            "Take the length, width and height of the {a}: what is the biggest of the three in centimetres?",
            "What's the maximum extent of the {a}, in cm?",
            "Tell me the size of the {a} along its longest dimension, in centimeters.",
            "How many cm is the {a} across its longest dimension?",
            "Can you give me the {a}'s longest dimension in centimetres?",
            "Whichever is greatest of the {a}'s width, depth and height, how many centimeters is it?",
            "The longest edge of the {a} is how many centimetres?",
            "How large is the greatest dimension of the {a}, measured in cm?",
            "Of its length, width and height, how long is the longest for the {a}, in centimeters?",
            "I need the length of the {a} along its longest axis, in cm.",
        ],
    ),
    "room_size_estimation": wordings(
        [
            "What is the size of this room (in square meters)? \n"
            "If multiple rooms are shown, estimate the size of the combined space.",
            "What is the size of this room (in square meters)?",
        ],
        [
            "How big is this room in square metres?",
            "What is the floor area of the room?",
            "How many square meters does this room have?",
            "What's the area of this place in m2?",
            "How large is the room, in square metres?",
        ],
        [
            "Give me the total floor space here in square meters.",
            "What is the area of the floor, in m²?",
            "How many square metres of floor are there in all?",
            "Can you tell me how spacious this room is, in square metres?",
            "What's the room's footprint in square meters?",
            "In square metres, how big is the whole place?",
            "Tell me the size of the room in sq m.",
            "What area does the room cover (square meters)?",
            "Roughly how many square meters is this room?",
            "Please estimate the room's size in square metres.",
        ],
    ),
    "object_rel_distance": wordings(
        [
            "*Measuring from the closest point of each object, which of these objects ({bare}) is the closest to the "
            "{target}?",
            "*Measuring from the closest point of each object, which of these objects ({bare}) is the closest to the "
            "{target}?\nIf there are multiple instances of an object category, measure to the closest.",
        ],
        [
            "Which of these is nearest to the {target}: {any}?",
            "Which object is closest to the {target}, {any}?",
            "What is the closest thing to the {target} among {all}?",
            "Out of {all}, which one is nearest the {target}?",
            "*Which one of the options is the closest to the {target}?",
            "*Which is nearer to the {target} than the others: {bare}?",
            "*Which of these is nearest to the {target}: {bare}? Take the closest one where there are several.",
        ],
        [
            "Is it {any} that is closest to the {target}?",
            "Of {all}, which stands nearest to the {target}?",
            "Which is the least far from the {target}: {any}?",
            "Looking at {all}, which of them has the shortest distance to the {target}?",
            "*Pick the object that is nearest to the {target} from these: {bare}.",
            "What's closest to the {target}: {any}?",
            "*Which of the following is at the smallest distance from the {target}?",
            "What is the {target} closest to: {any}?",
            "Tell me which of {all} lies nearest the {target}.",
            "*Among {bare}, which is closest to the {target}, counting the nearest one of each kind?",
            "*If a kind occurs more than once, use the nearest one: which of {bare} is the closest to the {target}?",
        ],
    ),
    "object_rel_direction_easy": wordings(
        [
            "If I am standing by the {stand} and facing the {face}, is the {target} to the left or the right of the "
            "{face}?"
        ],
        [
            "Standing at the {stand} and looking at the {face}, is the {target} on my left or on my right?",
            "If I stand next to the {stand} and look towards the {face}, is the {target} left or right of the {face}?",
            "I am standing by the {stand}, facing the {face}. Is the {target} to my left or to my right?",
            "From the {stand}, facing the {face}, is the {target} on the left or on the right?",
        ],
        [
            "Suppose I'm beside the {stand}, looking at the {face}: which side is the {target} on, left or right?",
            "When I stand by the {stand} and face the {face}, does the {target} lie to the left or the right?",
            "You stand at the {stand} and look over to the {face}. Is the {target} to your left or your right?",
            "If someone at the {stand} turns to face the {face}, will the {target} be on their left or on their right?",
            "Facing the {face} from the {stand}, on which side is the {target}, left or right?",
            "Imagine standing at the {stand} with your eyes on the {face}. Left or right: where is the {target}?",
            "Is the {target} on my left or right if I'm at the {stand} and facing towards the {face}?",
            "Seen from the {stand} while facing the {face}, is the {target} left or right?",
        ],
    ),
    "object_rel_direction_medium": wordings(
        [
            "If I am standing by the {stand} and facing the {face}, is the {target} to my left, right, or back?\n"
            + BACK_IS,
        ],
        [
            "I'm standing by the {stand} and facing the {face}: is the {target} to my left, to my right or behind me?",
            "Standing at the {stand} and looking at the {face}, is the {target} on my left, on my right or at my back?",
            "From the {stand}, facing the {face}, is the {target} left, right or behind? "
            "Behind means a turn of at least 135 degrees.",
            "If I stand next to the {stand} and look towards the {face}, where is the {target}: left, right or back?",
        ],
        [
            "Suppose I'm beside the {stand}, looking at the {face}. Is the {target} left of me, right of me or behind "
            "me?",
            "When I face the {face} from the {stand}, do I have the {target} to my left, to my right or at my back?",
            "You stand at the {stand} and look over to the {face}. Is the {target} to your left, to your right or "
            "behind you?",
            "Would I turn left, turn right or turn back to face the {target} if I'm at the {stand} looking at the "
            "{face}?",
            "Imagine standing at the {stand} with your eyes on the {face}: left, right or behind, where is the "
            "{target}?",
            "Is the {target} to my left, right, or back if I'm by the {stand}, facing towards the {face}? " + BACK_IS,
            "Facing the {face} from the {stand}, on which side is the {target}: left, right, or back?",
            "If someone at the {stand} faces the {face}, is the {target} to their left, to their right or behind them?",
        ],
    ),
    "object_rel_direction_hard": wordings(
        [
            "If I am standing by the {stand} and facing the {face}, is the {target} to my front-left, front-right, "
            "back-left, or back-right?\n" + QUADRANTS_ARE,
        ],
        [
            "Standing at the {stand} and looking at the {face}, is the {target} to my front-left, front-right, "
            "back-left or back-right?",
            "I'm standing by the {stand}, facing the {face}. In which quadrant is the {target}: front-left, "
            "front-right, back-left or back-right?",
            "From the {stand}, facing the {face}, is the {target} at the front left, front right, back left or back "
            "right?",
            "If I stand next to the {stand} and look towards the {face}, where is the {target}: front-left, "
            "front-right, back-left or back-right?",
        ],
        [
            "Suppose I'm beside the {stand}, looking at the {face}: is the {target} ahead to the left, ahead to the "
            "right, behind to the left or behind to the right?",
            "You stand at the {stand} and look over to the {face}. Is the {target} to your front left, front right, "
            "back left or back right?",
            "Facing the {face} from the {stand}, in which of the four quadrants around me is the {target}?",
            "Imagine standing at the {stand} with your eyes on the {face}: which way is the {target}, front-left, "
            "front-right, back-left or back-right?",
            "Is the {target} to my front-left, front-right, back-left, or back-right if I'm by the {stand}, facing "
            "towards the {face}?",
            "When I stand by the {stand} and face the {face}, does the {target} lie front-left, front-right, "
            "back-left or back-right of me?",
            "If someone at the {stand} turns to face the {face}, will the {target} be front-left, front-right, "
            "back-left or back-right of them?",
            "Seen from the {stand} while facing the {face}, is the {target} front-left, front-right, back-left or "
            "back-right?",
        ],
    ),
    "route_planning": wordings(
        [
            "You are a robot beginning at the {start} and facing the {face}. You want to navigate to the {goal}. You "
            "will perform the following actions (Note: for each [please fill in], choose either 'turn back,' 'turn "
            "left,' or 'turn right.'): {actions} You have reached the final destination.",
            "You are a robot beginning at the {start} facing the {face}. You want to navigate to the {goal}. You "
            "will perform the following actions (Note: for each [please fill in], choose either 'turn back,' 'turn "
            "left,' or 'turn right.'): {actions} You have reached the final destination.",
        ],
        [
            "A robot starts at the {start}, facing the {face}, and has to get to the {goal}. Fill in the turns: "
            "{actions}",
            "You begin at the {start} and look at the {face}. Which turns are missing on the way to the {goal}? "
            "{actions}",
            "Starting at the {start} and facing the {face}, I want to go to the {goal}. What turns do I need? "
            "{actions}",
            "You are at the {start}, facing the {face}. To reach the {goal}, complete the route: {actions}",
        ],
        [
            "I'm standing at the {start} facing the {face} and I need to get to the {goal}. Complete these "
            "directions for me: {actions}",
            "Here is a route from the {start} to the {goal}, beginning with a view of the {face}. "
            "Which turn belongs in each gap? {actions}",
            "Plan my way: I start by the {start}, I face the {face} and I'm heading for the {goal}. {actions} "
            "What goes in the gaps?",
            "The robot stands by the {start} and faces the {face}; its goal is the {goal}. Choose turn left, turn "
            "right or turn back for every gap: {actions}",
            "Let's say you leave from the {start}, facing the {face}, and your destination is the {goal}. How must "
            "you turn? {actions}",
            "From the {start}, facing the {face}, guide me to the {goal} by filling in what is missing: {actions}",
            "Which turns take a robot from the {start}, where it faces the {face}, to the {goal}? {actions}",
            "Your starting point is the {start} and you are looking towards the {face}. Fill in the blanks to end up "
            "at the {goal}: {actions}",
        ],
    ),
    "obj_appearance_order": wordings(
        ["What will be the first-time appearance order of the following categories in the video: {bare}?"],
        [
            "In which order did {all} first come into view?",
            "What did you see first, second, third and fourth: {bare}?",
            "Put these in the order in which you first saw them: {bare}.",
            "Which order did these first appear in: {bare}?",
            "In what order have you first seen the following: {bare}?",
        ],
        [
            "Sort {all} by when they first showed up.",
            "Going by first sight, what is the order of {all}?",
            "As the camera moved through the room, in what sequence did {bare} turn up for the first time?",
            "Which came into sight first, and what followed: {bare}?",
            "List {bare} from the first one spotted to the last one spotted.",
            "What's the chronological order in which {all} were first noticed?",
            "Order of first appearance, please: {bare}.",
            "Starting with the one you saw earliest, how would you order {bare}?",
            "Tell me the sequence in which you first encountered {all}.",
            "When did each of these first appear, earliest to latest: {bare}?",
        ],
    ),
}

# How a step of a route and a gap in it are written; the first is VSI-Bench's.
ROUTE_STEPS = {
    "official": (("Go forward until the {place}", "[please fill in]"),),
    "open": (
        ("Go forward until the {place}", "[please fill in]"),
        ("Go straight to the {place}", "[please fill in]"),
        ("Walk forward to the {place}", "[fill in]"),
    ),
    "held_out": (
        ("Go forward until you reach the {place}", "[please fill in]"),
        ("Drive straight ahead to the {place}", "[?]"),
        ("Walk up to the {place}", "____"),
        ("Move forward until the {place}", "[turn]"),
    ),
}

# What people also call things. Used now and then, but in official wordings, where no other thing there goes by it.
SYNONYMS = {
    "sofa": ("couch",),
    "tv": ("television",),
    "refrigerator": ("fridge",),
    "trash can": ("bin", "garbage can", "trash bin"),
    "telephone": ("phone",),
    "computer mouse": ("mouse",),
    "heater": ("radiator",),
    "bookshelf": ("bookcase",),
    "washer": ("washing machine",),
    "stove": ("cooker",),
    "monitor": ("computer monitor",),
    "microwave": ("microwave oven",),
    "plant": ("potted plant",),
    "ceiling light": ("ceiling lamp",),
    "exhaust fan": ("extractor fan",),
    "coat hanger": ("clothes hanger",),
    "laptop": ("laptop computer",),
}

# Names that are plural already; nobody agrees on how many "shoes" there are.
PLURAL_ONLY = frozenset({"shoes", "headphones", "scissors", "glasses", "blinds", "curtains", "stairs"})

_PLURALS = {"shelf": "shelves", "mouse": "mice", "knife": "knives", "person": "people"}


def plural(label: str) -> str:
    """Return the plural of a thing's name.

    >>> plural("computer mouse"), plural("couch"), plural("toy box"), plural("tv")
    ('computer mice', 'couches', 'toy boxes', 'TVs')
    """
    if label in PLURAL_ONLY:
        return label
    if label == "tv":
        return "TVs"
    for ending, many in _PLURALS.items():
        if label.endswith(ending):
            return label.removesuffix(ending) + many
    if label.endswith(("s", "x", "ch", "sh", "z")):
        return label + "es"
    if label.endswith("y") and label[-2:-1] not in "aeiou":
        return label[:-1] + "ies"
    return label + "s"
