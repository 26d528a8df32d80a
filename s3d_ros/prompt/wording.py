"""The words around the images and the question.

zero-shot: for a model that never saw such images, all is explained. fine-tuned: as Chat-Scene and GPT4Scene word their
five tasks, short, and always alike; further wordings, which training chooses among, go behind the first of each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from s3d_ros.prompt.tasks import Task

ZERO_SHOT, FINE_TUNED = "zero-shot", "fine-tuned"

_PLATES = (
    " White numbers on dark plates mark objects: the same number is the same object in all images. In text, the object "
    "with number 12 is written <OBJ012>, always with three digits."
)
_FINE_TUNED_MARKS = (
    " The same number marks the same object in all of them; the object with number 12 is written <OBJ012>."
)
SHORT = "Answer the question using a single word or phrase."
LETTER = "Answer with the option's letter from the given choices directly."

# {question}, {situation}: as said; {description}: what is looked for; {object}: <OBJ012>.
WORDINGS: Mapping[str, Mapping[Task, Sequence[str]]] = {
    FINE_TUNED: {
        Task.QUESTION: ("{question} {how}",),
        Task.SITUATED: ("{situation} {question} {how}",),
        Task.CAPTION: (
            "Describe how {object} looks, and then where it is among the other objects of the scene.",
            "First say what {object} looks like. Then say how it lies to the things about it.",
            "What does {object} look like, and where in the scene is it?",
            "Give the appearance of {object}, followed by its place relative to other objects.",
            "Write a description of {object}: its looks first, its surroundings second.",
            "Tell me about {object}. Begin with its appearance and end with its spatial relations.",
            "How would you describe {object} so that somebody finds it? Looks first, then its place.",
            "Caption {object}: how it appears, and how it stands to the objects near it.",
            "Look at {object} in the frames. Describe it, and then its position among the others.",
            "Put {object} into words: its appearance, then its relations to what is around it.",
        ),
        Task.GROUND_ONE: (
            'What is the ID of the object that matches the description "{description}"?',
            'Give the ID of the object that is described so: "{description}"',
            'Which object is meant by "{description}"? Reply with its ID.',
            'Find the object that fits the description "{description}" and name its ID.',
            'Somebody says: "{description}" Which ID has the object?',
            'Identify the one object described as "{description}" by its ID.',
            'Here is a description of an object: "{description}" Share the ID of that object.',
            'According to the description "{description}", which object ID is it?',
            'Match the description "{description}" to one of the marked objects. What is its ID?',
            '"{description}" Tell the ID of the object that this is about.',
        ),
        Task.GROUND_MANY: (
            'Are there any objects that match the description "{description}"? If so, list their IDs.',
            'List the IDs of all objects that fit the description "{description}", if there are any.',
            'Does anything in the scene match "{description}"? Give the IDs of all that do.',
            'Find all objects described by "{description}" and name their IDs, or say that there is none.',
            'Is there something that fits "{description}"? If yes, which IDs?',
            'Which objects, if any, are meant by "{description}"? Reply with their IDs.',
            'Here is a description: "{description}" Share the IDs of every object that it fits, if any does.',
            'Look for objects that match "{description}". If you find some, list their IDs.',
            'Do any of the marked objects fit the description "{description}"? Tell the ID of each.',
            '"{description}" Are there such objects? If so, give all of their IDs.',
        ),
    },
    ZERO_SHOT: {
        Task.QUESTION: ("{question}\n{how}",),
        Task.SITUATED: ("{situation}\n{question}\n{how}",),
        Task.CAPTION: (
            "{situation}\n{question}\nIn one or two sentences, say how {object} looks, and then where it is among the "
            "other objects. Write the objects you mean like <OBJ012>.",
        ),
        Task.GROUND_ONE: (
            "{situation}\n{question}\nReply with the one marked object that fits best, written like <OBJ012>, and "
            "nothing else. If there is none, reply: No.",
        ),
        Task.GROUND_MANY: (
            "{situation}\n{question}\nReply with all marked objects that fit, like: Yes. <OBJ001> and <OBJ002>. "
            "If there are none, reply: No.",
        ),
    },
}
_FREE = "Answer in a few words; give a number with its unit. Where you mean a marked object, write it like <OBJ012>."
_AT_LENGTH = "Answer in one to three sentences. Where you mean a marked object, write it like <OBJ012>."
_MARKED = " Where you mean a marked object, write it like <OBJ012>."


_BLIND = (
    "You are asked about one indoor scene, without any image of it. Answer from what was measured, if anything was; "
    "else give your best guess."
)


def system_text(style: str, bev: bool = True, markers: bool = True, frames: bool = True) -> str:
    """Return what a model is told before all else, of the images that it gets: without what they don't show."""
    if not frames and not bev:
        return _BLIND
    if style == FINE_TUNED:
        above = " and its bird's-eye view" if bev else ""
        return f"The images are frames of a video of one indoor scene{above}.{_FINE_TUNED_MARKS if markers else ''}"
    above = ", and a bird's-eye view of the scene, seen from above" if bev else ""
    return (
        "You are the eyes and the memory of a robot. You get frames of a video that its camera took of one indoor "
        f"scene, oldest change first{above}.{_PLATES if markers else ''} Answer from the images and from what was "
        f"measured{'; never name a number that no image shows' if markers else ''}. If the images don't tell, say so."
    )


def wording(
    style: str,
    task: Task,
    *,
    question: str,
    situation: str = "",
    description: str = "",
    object_token: str = "",
    options: Sequence[tuple[str, str]] = (),
    at_length: bool = False,
    variant: int = 0,
    markers: bool = True,
) -> str:
    """Return the text that ends a prompt. options: (letter, text) each. variant: which of the task's wordings.

    markers: whether objects are marked, and can be named.
    """
    if options:
        question = "\n".join([question, *(f"{letter}. {text}" for letter, text in options)])
    how = LETTER if options else SHORT
    if style == ZERO_SHOT and not options:
        how = _AT_LENGTH if at_length else _FREE
        how = how if markers else how.removesuffix(_MARKED)
    choices = WORDINGS[style][task]
    text = choices[variant % len(choices)]
    if options:
        text = text.replace(" {how}", "\n{how}")
    values = {
        "question": question, "situation": situation, "description": description, "object": object_token, "how": how,
    }  # fmt: skip
    return re.sub(r"\{(\w+)\}", lambda slot: values[slot[1]], text).strip()  # once: "{how}" in a question is text
