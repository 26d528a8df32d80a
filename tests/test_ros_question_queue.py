"""Questions wait their turn, no longer than their deadline, and never without an answer."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from s3d_ros.answer.base import Progress
from s3d_ros.ros.question_queue import Lanes, QuestionQueue, Ticket
from s3d_ros.types import Answer, ErrorCode, Question, Scene

SCENE = Scene(7, 0, "map", np.array([0, 0, 1.0]))


class SlowAnswerer:
    """Answers when it is let."""

    name = "slow"

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Event()
        self.lacks = ""
        self.order: list[str] = []

    def missing(self) -> str:
        return self.lacks

    def answer(self, question: Question, scene: Scene, progress: Progress) -> Answer:
        self.order.append(question.text)
        if question.text == "watched":
            progress.on_stage("answering", "The")
            progress.on_stage("answering", "The")
            progress.on_stage("answering", "The kettle")
            self.begun.set()
            assert progress.cancelled.wait(10), "nobody stops it"
            progress.on_stage("answering", "too late")
        if question.text == "fail":
            raise RuntimeError("broken")
        self.begun.set()
        assert self.go.wait(10)
        return Answer(text=question.text)


class Collector:
    """Keeps what a question got."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.stages: list[tuple[str, str]] = []
        self._there = threading.Event()

    def __call__(self, answer: Answer, scene: Scene | None) -> None:
        self.answers.append(answer)
        self._there.set()

    def on_stage(self, stage: str, partial: str) -> None:
        self.stages.append((stage, partial))

    def wait(self) -> Answer:
        assert self._there.wait(5), "no answer"
        return self.answers[0]


@contextmanager
def queue_of(answerer: SlowAnswerer, missing: str = "", **options) -> Iterator[QuestionQueue]:
    options = {"workers": 1} | options
    queue = QuestionQueue(answerer, lambda: SCENE, lambda: missing, **options)
    try:
        yield queue
    finally:
        answerer.go.set()
        queue.close()


def test_answers_come_in_order_and_name_their_maker() -> None:
    answerer = SlowAnswerer()
    answerer.go.set()
    with queue_of(answerer) as queue:
        got = [Collector() for _ in range(5)]
        for k, collector in enumerate(got):
            queue.submit(Question(str(k)), collector, collector.on_stage)
        assert [c.wait().text for c in got] == list("01234")
        assert got[0].wait().answered_by == "slow" and got[0].stages == [("reading", "")]


def test_more_questions_than_the_bound_are_told_so_at_once() -> None:
    answerer = SlowAnswerer()
    with queue_of(answerer, max_waiting=32) as queue:
        got = [Collector() for _ in range(200)]
        for collector in got:
            queue.submit(Question("?"), collector)
        busy = [c for c in got if c.answers and c.answers[0].error == ErrorCode.BUSY]
        assert len(busy) == 168
        assert "32 questions are waiting" in busy[0].answers[0].text
        answerer.go.set()
        assert sum(c.wait().success for c in got) == 32
        late = Collector()
        queue.submit(Question("again"), late)
        assert late.wait().success, "room again once the others are answered"


def test_nothing_is_asked_before_there_is_a_map() -> None:
    with queue_of(SlowAnswerer(), missing="no pose yet") as queue:
        collector = Collector()
        queue.submit(Question("?"), collector)
        assert collector.wait().error == ErrorCode.NOT_READY and collector.wait().text == "no pose yet"


def test_the_deadline_holds_while_another_question_is_in_work() -> None:
    answerer = SlowAnswerer()
    with queue_of(answerer) as queue:
        first, second = Collector(), Collector()
        queue.submit(Question("first", deadline_s=0.05), first)
        assert answerer.begun.wait(5)
        queue.submit(Question("second", deadline_s=0.05), second)
        time.sleep(0.1)
        assert queue.expire() == 2
        assert first.wait().error == second.wait().error == ErrorCode.DEADLINE
        answerer.go.set()
        third = Collector()
        queue.submit(Question("third"), third)
        assert third.wait().text == "third"
        assert len(first.answers) == 1, "the answer that came after its deadline is not given"


def test_a_cancelled_question_is_never_begun() -> None:
    answerer = SlowAnswerer()
    with queue_of(answerer) as queue:
        first, second = Collector(), Collector()
        queue.submit(Question("first"), first)
        ticket = queue.submit(Question("second"), second, second.on_stage)
        assert ticket.fail(ErrorCode.CANCELLED, "by the asker")
        assert not ticket.fail(ErrorCode.CANCELLED, "twice")
        answerer.go.set()
        assert first.wait().success and second.wait().error == ErrorCode.CANCELLED
        assert second.stages == []


def test_questions_are_in_work_together() -> None:
    answerer = SlowAnswerer()
    with queue_of(answerer, workers=4) as queue:
        got = [Collector() for _ in range(6)]
        for k, collector in enumerate(got):
            queue.submit(Question(str(k)), collector)
        deadline = time.monotonic() + 5
        while len(answerer.order) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sorted(answerer.order) == list("0123")
        answerer.go.set()
        assert all(c.wait().success for c in got)


@pytest.mark.parametrize("why", ["cancelled", "late", "closed"])
def test_what_nobody_waits_for_any_longer_is_stopped(why: str) -> None:
    answerer = SlowAnswerer()
    answerer.go.set()
    with queue_of(answerer, deadline_s=0.05 if why == "late" else 30.0) as queue:
        collector, later = Collector(), Collector()
        ticket = queue.submit(Question("watched"), collector, collector.on_stage)
        assert answerer.begun.wait(5)
        if why == "cancelled":
            ticket.fail(ErrorCode.CANCELLED, "by the asker")
        elif why == "late":
            time.sleep(0.1)
            queue.expire()
        else:
            queue.close()
        assert collector.wait().error == (ErrorCode.DEADLINE if why == "late" else ErrorCode.CANCELLED)
        if why != "closed":
            queue.submit(Question("later"), later)
            assert later.wait().text == "later", "the worker is free again"
        queue.close()
        said = [("reading", ""), ("answering", "The"), ("answering", "The kettle")]
        assert collector.stages == said, "each once, and nothing after the end"


def test_conversations_take_turns_and_keep_their_order() -> None:
    lanes = Lanes()

    def put(*texts: str) -> None:
        for text in texts:
            lanes.put(
                Ticket(Question(text, conversation_id=text[0].strip("-")), 1e9, lambda a, s: None, lambda s, p: None)
            )

    def take() -> Ticket:
        ticket = lanes.take()
        assert ticket is not None
        return ticket

    put("a1", "a2", "a3", "b1", "b2", "-1", "-2")
    first, second = take(), take()
    assert (first.question.text, second.question.text) == ("a1", "b1")
    alone = [take().question.text for _ in range(2)]
    assert alone == ["-1", "-2"], "questions of no conversation wait for none"
    assert lanes.take() is None, "a's and b's next ones wait for the answers before them"
    lanes.done(second)
    assert take().question.text == "b2" and lanes.take() is None
    lanes.done(first)
    put("c1")
    cancelled, third = take(), take()
    assert (cancelled.question.text, third.question.text) == ("a2", "c1")


def test_a_model_that_is_not_there_yet_is_a_reason() -> None:
    answerer = SlowAnswerer()
    answerer.go.set()
    answerer.lacks = "loading the model: 40 %"
    with queue_of(answerer) as queue:
        early, late = Collector(), Collector()
        queue.submit(Question("?"), early)
        assert early.wait().error == ErrorCode.NOT_READY and early.wait().text == "loading the model: 40 %"
        answerer.lacks = ""
        queue.submit(Question("?"), late)
        assert late.wait().success


def test_a_fault_is_told_and_the_next_question_answered() -> None:
    answerer, faults = SlowAnswerer(), []
    answerer.go.set()
    with queue_of(answerer, on_fault=faults.append) as queue:
        bad, good = Collector(), Collector()
        queue.submit(Question("fail"), bad)
        queue.submit(Question("fine"), good)
        assert bad.wait().error == ErrorCode.INTERNAL and "broken" in bad.wait().text
        assert good.wait().text == "fine" and str(faults[0]) == "broken"


def test_closing_leaves_nobody_waiting() -> None:
    answerer = SlowAnswerer()
    queue = QuestionQueue(answerer, lambda: SCENE, lambda: "")
    got = [Collector() for _ in range(3)]
    for collector in got:
        queue.submit(Question("?"), collector)
    threading.Timer(0.1, answerer.go.set).start()
    queue.close()
    assert all(c.wait().error == ErrorCode.CANCELLED for c in got)


@pytest.mark.parametrize("seconds", [0.0, 5.0])
def test_questions_without_a_deadline_get_the_answerers(seconds: float) -> None:
    answerer = SlowAnswerer()
    with queue_of(answerer, deadline_s=0.02) as queue:
        collector = Collector()
        queue.submit(Question("?", deadline_s=seconds), collector)
        time.sleep(0.05)
        queue.expire()
        assert bool(collector.answers) == (seconds == 0.0)
