"""How people word situated questions, requests for objects, and for descriptions.

Placeholders: {a} is the name of a thing, {category} and {categories} of a kind of thing, {side} is "to my left" and the
like, {reach} a number of metres, {bare} and {any} lists, {it} a description of what is sought ("the chair nearest to
the sofa"), {them} of several ("chairs within 1.5 metres of the sofa"), {object} a marked object: <OBJ012>.
"""

from __future__ import annotations

from s3d_ros.offline.questions_wordings import Wording, wordings

# Said before a situated question; {stand} and {face} are names of things. Which is said plays no part in the answer.
SITUATIONS: dict[str, tuple[str, ...]] = {
    "official": ("I am standing by the {stand} and facing the {face}.",),
    "open": (
        "I am standing by the {stand}, facing the {face}.",
        "I'm next to the {stand} and I'm looking at the {face}.",
        "Standing beside the {stand}, I face the {face}.",
        "I stand close to the {stand} with the {face} in front of me.",
    ),
    "held_out": (
        "I have stopped by the {stand} and turned towards the {face}.",
        "My place is beside the {stand}, and I am looking towards the {face}.",
        "I am near the {stand}; straight ahead of me is the {face}.",
        "With the {stand} right beside me, I am looking at the {face}.",
        "I've walked up to the {stand} and am facing the {face} now.",
    ),
}
SIDES = {"left": "to my left", "right": "to my right", "behind": "behind me", "front": "in front of me"}

SITUATED: dict[str, tuple[Wording, ...]] = {
    "situated_direction": wordings(
        ["Is the {a} to my left, to my right, in front of me or behind me?"],
        [
            "Which way is the {a}: left, right, front or behind?",
            "On which side of me is the {a}: left, right, front or behind?",
            "Is the {a} on my left, on my right, in front of me or behind me?",
            "In which direction is the {a} from here, left, right, front or behind?",
        ],
        [
            "Where do I have the {a}: on my left, on my right, in front of me or behind me?",
            "Would I find the {a} in front of me, behind me, to my left or to my right?",
            "Front, behind, left or right: where is the {a} from where I am?",
            "In which direction do I have to look for the {a}: left, right, front or behind?",
            "Seen from here, is the {a} behind me, in front of me, left or right?",
            "Is it left, right, front or behind that I see the {a}?",
        ],
    ),
    "situated_distance": wordings(
        ["How far am I from the {a}, in meters?"],
        [
            "How far away from me is the {a}, in metres?",
            "How many metres is the {a} away from me?",
            "What is the distance from me to the {a} in metres?",
            "How far is it from here to the {a}, in metres?",
        ],
        [
            "What is the distance between me and the {a}, in meters?",
            "How close am I to the {a}, in metres?",
            "In metres, how far is the {a} from where I am?",
            "How many meters are there between me and the {a}?",
            "What distance separates me from the {a}, in metres?",
            "Tell me how far off the {a} is from me, in meters.",
        ],
    ),
    "situated_count": wordings(
        ["How many {categories} are {side}?"],
        [
            "How many {categories} are there {side}?",
            "What is the number of {categories} {side}?",
            "How many {categories} can I see {side}?",
            "How many {categories} do I have {side}?",
        ],
        [
            "Count the {categories} {side}, please.",
            "How many {categories} would I find {side}?",
            "{side}, how many {categories} are there?",
            "Tell me how many {categories} stand {side}.",
            "How many of the {categories} are {side}?",
            "What number of {categories} do you find {side}?",
        ],
    ),
    "situated_what": wordings(
        ["What is the closest thing {side}?"],
        [
            "What is the nearest thing {side}?",
            "Which object {side} is the closest to me?",
            "Which thing is nearest to me {side}?",
            "{side}, what is the closest object?",
        ],
        [
            "What do I come to first {side}?",
            "Of all things {side}, which is the nearest?",
            "Name the closest object {side}.",
            "What's the first thing {side}, going by distance?",
            "Which object do I find closest to me {side}?",
            "Tell me the nearest object {side}.",
        ],
    ),
    "situated_closest": wordings(
        ["Which of these objects is the closest to me: {bare}?"],
        [
            "Which is closest to me: {any}?",
            "Which of these is nearest to me: {bare}?",
            "Which one is closest to where I am, {any}?",
            "Of {all}, which one is the closest to me?",
        ],
        [
            "What am I nearest to: {any}?",
            "Among {all}, which is the closest one to me?",
            "Which of the following lies closest to me: {bare}?",
            "Which one is the least far from me: {any}?",
            "From here, which is the nearest: {any}?",
            "Which of {all} do I have closest to me?",
        ],
    ),
    "situated_is": wordings(
        ["Is there a {category} {side}?"],
        [
            "Is there any {category} {side}?",
            "Are there any {categories} {side}?",
            "Do I have a {category} {side}?",
            "{side}, is there a {category}?",
        ],
        [
            "Is a {category} {side}?",
            "Is there at least one {category} {side}?",
            "Would I find a {category} {side}?",
            "Does a {category} stand {side}?",
            "Tell me, is there a {category} {side}?",
            "Is it true that there is a {category} {side}?",
        ],
    ),
    "situated_can": wordings(
        ["Can I find a {category} within {reach} metres of me?"],
        [
            "Can I see a {category} within {reach} metres of me?",
            "Can I find any {category} within {reach} metres of me?",
            "Could I find a {category} within {reach} metres of me?",
            "Can I find a {category} within {reach} metres?",
        ],
        [
            "Can I reach a {category} by going no more than {reach} metres?",
            "Can I get to a {category} in less than {reach} metres?",
            "Can I get to a {category} within {reach} metres?",
            "Can a {category} be found within {reach} metres of me?",
            "Can I expect a {category} no more than {reach} metres from me?",
            "Can I come to a {category} without going further than {reach} metres?",
        ],
    ),
}

_FIND_ONE = wordings(
    ["Which object is {it}?"],
    [
        "Find {it}.",
        "Where is {it}?",
        "Which one is {it}?",
        "Show me {it}, please.",
        "Locate {it}.",
    ],
    [
        "What is the ID of {it}?",
        "I'm looking for {it}: which object is it?",
        "Point out {it}.",
        "Can you identify {it}?",
        "Pick out {it} for me.",
        "Go to {it}.",
    ],
)
_FIND_MANY = wordings(
    ['Are there any objects that match the description "{them}"? If so, which?'],
    [
        "Which objects are {them}?",
        "Find all {them}.",
        "Show me all {them}.",
        "List all {them}.",
        "Locate all {them}.",
    ],
    [
        "Which of the objects are {them}?",
        "Point out all {them}.",
        "I need every one of the {them}: which are they?",
        "Can you identify all {them}?",
        "Pick out all {them} for me.",
        "Name all {them}, if there are any.",
    ],
)
GROUNDING: dict[str, tuple[Wording, ...]] = {
    "grounding_one": _FIND_ONE,
    "grounding_many": _FIND_MANY,
    "grounding_none": _FIND_MANY,  # the words must not tell that nothing fits
}

CAPTIONS: dict[str, tuple[Wording, ...]] = {
    "caption": wordings(
        ["Describe {object}: how it looks, and then where it is among the other objects."],
        [
            "Describe {object} in the scene.",
            "What does {object} look like, and where is it?",
            "Tell me about {object}: its appearance, then its place.",
            "Give a description of {object} and of what is around it.",
        ],
        [
            "How would you describe {object} so that somebody finds it?",
            "Write a caption of {object}.",
            "Please describe {object}, first itself and then its neighbours.",
            "In one or two sentences, what is {object} and where is it?",
            "Describe how {object} looks and how it lies to the things about it.",
            "Give me a short description of {object} that fits no other object.",
        ],
    ),
}
