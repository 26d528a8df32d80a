"""Further ways to ask what the small model is asked, for training alone: with a few of them it learns these few.

Made of parts that go with each other, so that there are dozens to hundreds of each kind. None is among the wordings
that are held out.
"""

from __future__ import annotations

from itertools import product

from s3d_ros.offline.questions_wordings import WORDINGS, Wording
from s3d_ros.train.small.wordings import ASKED

_TELL = (
    "Tell me ", "Please tell me ", "Say ", "Can you say ", "Could you find out ", "I wonder ", "Do you know ",
    "I need to know ", "Please say ", "Let me know ", "Work out ", "Try to tell ",
)  # fmt: skip
_WHO = (
    "I stand at the {stand}", "I am at the {stand}", "Imagine that I stand next to the {stand}",
    "I wait at the {stand}", "I put myself near the {stand}", "Let us say that you are by the {stand}",
    "People stand at the {stand}",
    "We stand beside the {stand}", "Assume that we are standing close to the {stand}", "You wait at the {stand}",
    "Here I am at the {stand}", "I have come to the {stand}",
)  # fmt: skip
_FACES = (
    " and face the {face}", " and look at the {face}", ", facing the {face}", ", turned to the {face}",
    ", with eyes on the {face}", " and turn towards the {face}", ", looking straight at the {face}",
    " with the {face} ahead",
)  # fmt: skip
_STANDS = (*map("".join, product(_WHO, _FACES)), "With the {stand} at the back and the {face} ahead",
           "Going from the {stand} to the {face}", "Seen by who goes from the {stand} straight to the {face}",
           "The {face} is ahead and the {stand} is where I stand")  # fmt: skip
_CALLED = ("is the {target}", "do I find the {target}", "would the {target} be", "does the {target} lie")
_LEFT_OR_RIGHT = ("left or right", "on the left or on the right", "to the left or to the right", "on which hand")
_SIDES = ("left, right or behind", "left, right or back", "to the left, to the right or behind",
          "on the left, on the right or at the back")  # fmt: skip
_QUARTERS = ("front-left, front-right, back-left or back-right",
             "at the front left, front right, back left or back right",
             "in front to the left, in front to the right, back-left or back-right",
             "front-right, front-left, back-right or back-left")  # fmt: skip


def _crossed(*parts: tuple[str, ...]) -> list[str]:
    return ["".join(p) for p in product(*parts)]


def _turned(ways: tuple[str, ...]) -> list[str]:
    """Return questions for directions: where somebody stands first, or last."""
    first = [f"{who}{sep}{call} {way}?" for who, (sep, call), way in product(
        _STANDS, [(". " if c[0].isupper() else ": ", c) for c in (*_CALLED, *(c[0].upper() + c[1:] for c in _CALLED))],
        ways)]  # fmt: skip
    last = _crossed(("Where is the {target}", "Which way is the {target}", "On which side is the {target}"),
                    (", ",), ways, (", for somebody ", ", for a visitor "),
                    ("at the {stand} who looks at the {face}", "next to the {stand} who faces the {face}",
                     "who stands by the {stand} and looks towards the {face}"), ("?",))  # fmt: skip
    return [*first, *last]


_FAR = (
    "how far the {a} is from the {b}", "how far apart the {a} and the {b} are",
    "how many metres part the {a} and the {b}", "what the distance between the {a} and the {b} is",
    "how much room there is between the {a} and the {b}, in metres",
    "how long the way from the {a} to the {b} is", "how wide the space between the {a} and the {b} is",
    "the distance of the {b} from the {a}", "the gap between the {a} and the {b}, in meters",
)  # fmt: skip
_MANY = ("how many {categories} there are", "how many {categories} you know", "the number of {categories}",
         "how often you find a {category}", "how many {categories} stand here",
         "how many {categories} this room holds")  # fmt: skip
_IS = ("what {a} is", "what kind of thing {a} is", "what {a} could be", "which category {a} has", "what stands at {a}",
       "what {a} shows", "what {a} is called", "the name of {a}", "what to call {a}", "what has been found at {a}",
       "what sort of furniture or thing {a} is")  # fmt: skip
_WHICH = ("which object is the {category}", "the number of the {category}", "which number the {category} has",
          "the ID of the {category}", "where the {category} is", "which one the {category} is")  # fmt: skip
_NEAR = ("is nearest to", "is closest to", "lies closest to", "stands nearest to", "has the shortest way to",
         "is the least far from")  # fmt: skip
_OF_THESE = ("{list}", "one of {list}", "among {list}")
_PLAN = ("On the map", "In the picture", "On this map", "As drawn", "In the view from above", "On the floor plan",
         "In the drawing", "Seen from the ceiling")  # fmt: skip

_MADE: dict[str, list[str]] = {
    "category": [
        *_crossed(_TELL, _IS, ("?", ".")), "What does {a} show?", "What is it that stands at {a}?",
        "What is {a} called?", "How is {a} called?", "{a} is what?", "What did you find at {a}?",
        "Under which name do you know {a}?",
        "Describe {a} in a word.", "What has the label of {a}?", "Which label has {a}?", "Label {a}.", "Is {a} a what?",
    ],
    "id": [
        *_crossed(_TELL, _WHICH, ("?", ".")), "Where do I find the {category}?", "The {category}, please.",
        "Look for the {category}.", "I am looking for the {category}.",
        "Go to the {category}.", "Search the {category}.",
        "Which one is the {category}?", "Take me to the {category}.", "Mark the {category}.", "Pick the {category}.",
    ],
    "map_side": [
        *_crossed(_PLAN, (", is {a} left or right of {b}?", ", does {a} stand to the left or the right of {b}?",
                          ": {a} is on which side of {b}?", ", would you say that {a} is left or right of {b}?",
                          ", on which side of {b} do I find {a}?", ": is {a} further left than {b}, or further right?",
                          ", left or right: where is {a} as seen from {b}?")),
        "Is {a} left or right of {b} on the map?", "Is {a} to the left or to the right of {b} in the picture?",
        "Does {a} lie left or right of {b} in the view from above?", "Which side of {b} is {a} on, on the map?",
    ],
    "closest": [
        *_crossed(_TELL, ("which of {list} ", "what of {list} "), _NEAR, (" {a}?", " {a}.")),
        *_crossed(("Which ", "Which one "), _NEAR, (" {a}: {list}?", " {a}, {list}?")),
        *_crossed(("Seen from {a}, what is nearest: {list}?", "From {a}, which one is the closest, {list}?",
                   "Starting at {a}, which is reached first: {list}?", "{list}: which is closest to {a}?",
                   "Going from {a}, which is the shortest way: to {list}?", "Choose from {list}: nearest to {a}.",
                   "What is next to {a}, {list}?", "I am at {a}. What is closest, {list}?")),
    ],
    "nearest": [
        *_crossed(_TELL, ("which object ", "which thing ", "what "), _NEAR, (" {a}?", " {a}.")),
        "What is next to {a}?", "Which thing is the neighbour of {a}?", "What is closest to {a}?",
        "Name the ID of what is nearest to {a}.", "Look for what lies nearest to {a}.",
    ],
    "two_hop": [
        *_crossed(_TELL, ("which {category} ",), _NEAR, (" {a}?", " {a}.")),
        *_crossed(("Which {category} ", "Which of the {category}s "), _NEAR, (" {a}?",)),
        *_crossed(("Find ", "Look for ", "Go to ", "I mean ", "Take ", "Pick "),
                  ("the {category} ", "that {category} which is "),
                  ("nearest to {a}.", "closest to {a}.", "next to {a}.", "by {a}.")),
        "From {a}, which {category} is the nearest?", "Seen from {a}, what {category} is closest?",
        "Near {a} there is a {category}: which one?", "{a} has a {category} close by: which one is nearest?",
    ],
    "object_counting": [
        *_crossed(_TELL, _MANY, ("?", ".")), "How many {categories} do you find?", "{categories}, how many?",
        "How many {categories} stand in this room?", "Say how many {categories} you know of.",
        "What number of {categories} is there?", "How many {categories} does the room have?", "Number of {categories}?",
        "How many {categories} are marked?", "How often is there a {category}?", "How many {categories} have we got?",
    ],
    "object_abs_distance": [
        *_crossed(_TELL, _FAR, ("?", ".")), "How many metres lie between the {a} and the {b}?",
        "How wide is the gap from the {a} to the {b}?", "Between the {a} and the {b}, how far is it?",
        "What is the shortest way from the {a} to the {b}, in metres?", "How far apart do the {a} and the {b} lie?",
        "How far away is the {b}, measured from the {a}?", "Say how far the {b} is from the {a}, in meters.",
        "How many meters is it from the {a} to the {b}?", "The {a} and the {b}: how far apart?",
        "Measure from the {a} to the {b}.", "Give me the metres from the {a} to the {b}.",
        "How close is the {a} to the {b}, in metres?", "From the {a} to the {b}, how far?",
    ],
    "object_rel_direction_easy": _turned(_LEFT_OR_RIGHT),
    "object_rel_direction_medium": _turned(_SIDES),
    "object_rel_direction_hard": _turned(_QUARTERS),
}  # fmt: skip
_held_out = {w.text.lower() for table in (ASKED, WORDINGS) for ways in table.values() for w in ways
             if w.split == "held_out"}  # fmt: skip
MORE: dict[str, tuple[Wording, ...]] = {
    kind: tuple(Wording(text, "open") for text in dict.fromkeys(texts) if text.lower() not in _held_out)
    for kind, texts in _MADE.items()
}
