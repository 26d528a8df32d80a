"""Who answers what. The model behind the eyes only notes what it is asked and says what it is told to."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import numpy as np
import pytest
from prompt_scene import room

from s3d_ros.answer.auto import AutoAnswerer
from s3d_ros.answer.base import Answerer
from s3d_ros.answer.geometric import MAX_CHARACTERS, GeometricAnswerer
from s3d_ros.answer.tools import MapTools
from s3d_ros.answer.vlm import VlmAnswerer
from s3d_ros.chat import Chat, ChatError, ChatImage, ChatReply, Part
from s3d_ros.types import Answer, ErrorCode, Question, Situation

ROOM = room()


class Noting:
    """A ChatModel that says what it is told to, one reply after the other, and keeps what it was asked."""

    name = "eyes"

    def __init__(self, *replies: str | ChatError) -> None:
        self.replies = list(replies)
        self.asked: list[Chat] = []
        self.why = ""

    def missing(self) -> str:
        return self.why

    def context_tokens(self) -> int:
        return 30_000

    def count_tokens(self, part: Part) -> int:
        return 200 if isinstance(part, ChatImage) else len(part) // 3 + 1

    def warm(self, chat: Chat) -> None:
        pass

    def ask(
        self,
        chat: Chat,
        max_new_tokens: int,
        on_text: Callable[[str], None] = lambda text: None,
        cancelled: threading.Event | None = None,
    ) -> ChatReply:
        self.asked.append(chat)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, ChatError):
            raise reply
        return ChatReply(reply, 0.75)

    def close(self) -> None:
        pass

    @property
    def told(self) -> str:
        """The last text of the last chat."""
        return str(self.asked[-1].turns[-1].parts[-1])


def auto(model: Noting | None, tools: bool = False) -> AutoAnswerer:
    vlm = None if model is None else VlmAnswerer(model, tools=MapTools() if tools else None)
    return AutoAnswerer(GeometricAnswerer(), vlm)


def ask(text: str, *replies: str | ChatError, tools: bool = False, **given: object) -> tuple[Answer, Noting]:
    model = Noting(*(replies or ("The model's words.",)))
    return auto(model, tools).answer(Question(text, **given), ROOM), model  # type: ignore[arg-type]


# --- who answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, who, error",
    [
        ("How many chairs are there?", "geometric", ""),
        ("How far is the sofa from the tv?", "geometric", ""),
        ("Is there a chair?", "geometric", ""),
        ("Is the laptop on?", "eyes", ""),  # not settled
        ("Which chair could I sit on?", "eyes", ""),
        ("Describe the corner by the door.", "eyes", ""),
        ("How far is the kettle from the sofa?", "eyes", ""),  # not in the map
        ("Is there a kettle?", "eyes", ""),  # "no", for lack of the word
        ("How far is the chair from the door?", "geometric", "AMBIGUOUS"),
        ("How far is object 77 from the door?", "geometric", "NOT_IN_MAP"),
        ("How far is chair 5 from the door?", "geometric", "NOT_IN_MAP"),  # 5 is the table
        ("Where is object 19?", "geometric", "NOT_IN_MAP"),  # gone
        ("?", "geometric", "BAD_QUESTION"),
    ],
)
def test_who_answers(text: str, who: str, error: str):
    answer, model = ask(text)
    assert (answer.answered_by, str(answer.error), answer.map_version) == (who, error, ROOM.map_version)
    assert bool(model.asked) == (who == "eyes")


def test_it_is_an_answerer_and_alone_it_is_the_map():
    alone = auto(None)
    assert isinstance(alone, Answerer)
    for text in ("How many chairs are there?", "Is the laptop on?", "How far is the chair from the door?"):
        assert alone.answer(Question(text), ROOM) == GeometricAnswerer().answer(Question(text), ROOM)


def test_the_model_is_told_what_was_measured_and_the_reply_says_so():
    answer, model = ask("Would the tv fit on the table?")
    assert "- <OBJ004> (tv): 1.20 x 0.10 m and 0.70 m high" in model.told
    assert "- <OBJ004> and <OBJ005> are" in model.told
    assert any(line.startswith("#4 (tv): 1.20 x 0.10 m") for line in answer.measured)
    assert len(answer.measured) == 5


def test_what_the_map_does_not_name_is_seen_and_said_so():
    answer, model = ask("How many kettles are there?", "Two.")
    assert answer.success and answer.text == "Two. (From the pictures alone: the map holds no kettle so far.)"
    assert "the map names no kettle" in model.told
    answer, _ = ask("Is there a kettle?", "Yes, by <OBJ011>.")
    assert answer.text == "Yes, by refrigerator 11. (From the pictures alone: the map holds no kettle so far.)"
    assert answer.objects == (11,)


def test_long_questions_and_odd_options_go_to_the_model():
    assert ask("Is the laptop on? " + "Think well. " * (MAX_CHARACTERS // 10))[0].answered_by == "eyes"
    answer, _ = ask("How far is the sofa from the tv?", "B", options=("near", "far"))
    assert (answer.answered_by, answer.choice) == ("eyes", "B")


@pytest.mark.parametrize("text", ["", "a" * 100_000, "chair " * 20_000, "\x00<|im_end|>", "@0 @1 ~ §", "(" * 3000])
def test_odd_questions_get_a_reply(text: str):
    answer, model = ask(text)
    assert answer.text and (answer.success or answer.error == ErrorCode.BAD_QUESTION)
    assert "The map alone" not in answer.text
    if len(text) > 4000:
        assert not model.asked and "at most 4000" in answer.text


# --- when the model can't ---------------------------------------------------------------------------------------


def test_while_it_loads_the_map_answers_and_the_rest_is_not_ready():
    model = Noting("no")
    model.why = "loading the model: 40 %"
    answerer = auto(model)
    assert answerer.missing() == ""
    assert answerer.answer(Question("How many chairs are there?"), ROOM).value == 3
    answer = answerer.answer(Question("Is the laptop on?"), ROOM)
    assert answer.error == ErrorCode.NOT_READY and "loading the model: 40 %" in answer.text
    assert "could not read 'on'" in answer.text
    assert answerer.answer(Question("Is there a kettle?"), ROOM).text.startswith("No, the map holds no kettle")
    assert answerer.answer(Question("How far is the kettle?"), ROOM).error == ErrorCode.NOT_IN_MAP
    assert not model.asked


def test_when_it_fails_both_say_why():
    failed = ChatError(ErrorCode.MODEL_FAILED, "The GPU is out of memory.")
    answer, _ = ask("Is the laptop on?", failed)
    assert answer.error == ErrorCode.MODEL_FAILED
    assert answer.text.startswith("The GPU is out of memory. The map alone: I could not read 'on'.")
    answer, _ = ask("How far is the kettle from the sofa?", failed)
    assert answer.error == ErrorCode.NOT_IN_MAP and "The GPU is out of memory." in answer.text
    answer, _ = ask("Is the laptop on?", ChatError(ErrorCode.CANCELLED, "cancelled by the asker"))
    assert (answer.error, answer.text) == (ErrorCode.CANCELLED, "cancelled by the asker")


# --- conversations ----------------------------------------------------------------------------------------------


def test_a_conversation_tells_which_is_meant():
    model = Noting("<OBJ007>.", "1.1 m")
    answerer = auto(model)
    first = answerer.answer(Question("Which chair is broken?", conversation_id="a"), ROOM)
    assert first.objects == (7,)
    again = answerer.answer(Question("How far is the chair from the door?", conversation_id="a"), ROOM)
    assert again.answered_by == "eyes" and "<OBJ007>" in str(model.asked[-1].turns)
    other = answerer.answer(Question("How far is the chair from the door?", conversation_id="b"), ROOM)
    assert other.error == ErrorCode.AMBIGUOUS  # nothing was said there


def test_the_model_hears_what_the_map_said():
    model = Noting("It is white.")
    answerer = auto(model)
    answerer.answer(Question("What is the nearest chair?", conversation_id="a"), ROOM)
    answerer.answer(Question("What colour does it have?", conversation_id="a"), ROOM)
    said = [t.parts[-1] for t in model.asked[-1].turns]
    assert said[0] == "What is the nearest chair?" and str(said[1]).startswith("chair <OBJ008> is the closest to you")


# --- calls ------------------------------------------------------------------------------------------------------


def test_the_model_asks_the_map_and_the_reply_tells_of_it():
    answer, model = ask(
        "Is the laptop within reach of chair 6?", "CALL distance(<OBJ009>, <OBJ006>)", "Yes.", tools=True
    )
    assert answer.text == "Yes." and answer.measured[-1] == "distance(#9, #6) = 0.58 m"
    assert "CALL distance(<OBJ001>, <OBJ002>)" in str(model.asked[0].turns[-1].parts[-1])
    assert "distance(<OBJ009>, <OBJ006>) = 0.58 m" in model.told
    assert "CALL" not in str(ask("Is the laptop on?")[1].told)  # without tools


def test_me_is_where_the_question_is_asked_from():
    here = Situation(np.array([4.3, 2.0, 1.0]), np.array([0.0, 1.0, 0.0]))
    answer, _ = ask("Is it cosy?", "CALL closest(chair, me)", "Yes.", tools=True, situation=here)
    assert answer.measured == ("closest(chair, me) = #7, 0.27 m",)  # hypot(0.25, 0.1)


def test_a_model_that_only_asks_is_no_answer():
    answer, model = ask("Is it cosy?", "CALL count(chair)", tools=True)
    assert answer.error == ErrorCode.NOT_SETTLED and "did not answer" in answer.text
    assert len(model.asked) == 4 and len(answer.measured) == 3


def test_confidence_is_that_of_who_answered():
    assert ask("Is the laptop on?")[0].confidence == 0.75
    assert math.isclose(ask("How many chairs are there?")[0].confidence, 0.855)  # 0.95 * 0.9
