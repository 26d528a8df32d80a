"""A bounded queue of questions and the threads that answer them. Free of rclpy.

Executor callbacks only put a question in and are told when its answer is there; they never wait for the work. Several
questions are in work together, so that a model may answer them together. Fair: conversations take turns, so that who
asks a hundred questions keeps nobody else waiting for more than one of them; those of one conversation keep their
order.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from s3d_ros.answer.base import Progress
from s3d_ros.types import Answer, ErrorCode, Question, Scene

END_S = 1.0  # for questions in work, when the node ends


class Answerer(Protocol):
    """What this module needs of an answerer (``answer.base.Answerer``)."""

    name: str

    def missing(self) -> str:
        """Say what it can't answer without."""
        ...

    def answer(self, question: Question, scene: Scene, progress: Progress) -> Answer:
        """Answer from the scene."""
        ...


class Ticket:
    """One question under way. It gets one answer: the first of the answerer's, the deadline's, the asker's cancel."""

    def __init__(
        self,
        question: Question,
        deadline: float,
        on_done: Callable[[Answer, Scene | None], None],
        on_stage: Callable[[str, str], None],
    ) -> None:
        self.question = question
        self.deadline = deadline  # of time.monotonic()
        self.progress = Progress(self._tell)
        self._on_done = on_done
        self._on_stage = on_stage
        self._told = ("", "")
        self._lock = threading.Lock()
        self.done = False

    def finish(self, answer: Answer, scene: Scene | None = None) -> bool:
        """Hand out the answer, once, and stop the work on any other. Return whether this was the first."""
        with self._lock:
            if self.done:
                return False
            self.done = True
        self.progress.cancelled.set()
        self._on_done(answer, scene)
        return True

    def fail(self, error: ErrorCode, text: str) -> bool:
        """Finish without an answer."""
        return self.finish(Answer(text=text, error=error))

    def _tell(self, stage: str, partial: str) -> None:
        if not self.done and (stage, partial) != self._told:
            self._told = (stage, partial)
            self._on_stage(stage, partial)


class Lanes:
    """What waits, by conversation. They take turns, and one is left out while a question of it is in work."""

    ALONE = ""  # the conversation of questions that belong to none: they don't wait for each other

    def __init__(self) -> None:
        self._lanes: OrderedDict[str, deque[Ticket]] = OrderedDict()
        self._in_work: set[str] = set()

    def put(self, ticket: Ticket) -> None:
        """Add a question."""
        self._lanes.setdefault(ticket.question.conversation_id, deque()).append(ticket)

    def take(self) -> Ticket | None:
        """Return whose turn it is, None where nobody's. Call ``done`` when it is answered."""
        for name in list(self._lanes):
            lane = self._lanes[name]
            while lane and lane[0].done:
                lane.popleft()
            if not lane:
                del self._lanes[name]
            elif name == self.ALONE or name not in self._in_work:
                self._in_work.add(name)
                self._lanes.move_to_end(name)
                return lane.popleft()
        return None

    def done(self, ticket: Ticket) -> None:
        """Let the next question of this conversation be begun."""
        self._in_work.discard(ticket.question.conversation_id)


class QuestionQueue:
    """Answers questions, each from the scene as it is when its turn comes."""

    def __init__(
        self,
        answerer: Answerer,
        scene: Callable[[], Scene | None],
        missing: Callable[[], str],
        *,
        max_waiting: int = 32,
        deadline_s: float = 30.0,
        workers: int = 8,
        on_fault: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        """missing: what the scene lacks. workers: so many questions are in work at the same time."""
        self._answerer = answerer
        self._scene = scene
        self._scene_missing = missing
        self._deadline_s = deadline_s
        self._on_fault = on_fault
        self._max_waiting = max_waiting
        self._lanes = Lanes()
        self._open: list[Ticket] = []
        self._lock = threading.Lock()
        self._there = threading.Condition(self._lock)
        self._is_closing = False
        self._threads = [threading.Thread(target=self._run, name=f"answers {k}", daemon=True) for k in range(workers)]
        for thread in self._threads:
            thread.start()

    def missing(self) -> str:
        """Say what questions have to wait for: a scene, or a model."""
        return self._scene_missing() or self._answerer.missing()

    def submit(
        self,
        question: Question,
        on_done: Callable[[Answer, Scene | None], None],
        on_stage: Callable[[str, str], None] = lambda stage, partial: None,
    ) -> Ticket:
        """Put a question in. ``on_done`` is called once, from any thread; at once when it can't be asked now.

        on_stage: gets the stage and the answer's text so far, from any thread.
        """
        deadline = time.monotonic() + (question.deadline_s or self._deadline_s)
        ticket = Ticket(question, deadline, on_done, on_stage)
        missing = self.missing()
        with self._there:
            self._open = [t for t in self._open if not t.done]
            full = len(self._open) >= self._max_waiting
            if not missing and not full and not self._is_closing:
                self._open.append(ticket)
                self._lanes.put(ticket)
                self._there.notify()
                return ticket
        if missing:
            ticket.fail(ErrorCode.NOT_READY, missing)
        elif full:
            ticket.fail(ErrorCode.BUSY, f"{self._max_waiting} questions are waiting already; ask again later")
        else:
            ticket.fail(ErrorCode.CANCELLED, "the answerer is shutting down")
        return ticket

    def expire(self) -> int:
        """Answer those whose deadline has passed; call it every few milliseconds. Return how many are open."""
        now = time.monotonic()
        with self._lock:
            self._open = [t for t in self._open if not t.done]
            tickets = list(self._open)
        for ticket in tickets:
            if now > ticket.deadline:
                ticket.fail(ErrorCode.DEADLINE, "the deadline passed before there was an answer")
        return len(tickets)

    def close(self) -> None:
        """Answer what is open with an error and end the threads; waits for questions in work at most END_S."""
        with self._there:
            self._is_closing = True
            tickets = list(self._open)
            self._there.notify_all()
        for ticket in tickets:
            ticket.fail(ErrorCode.CANCELLED, "the answerer is shutting down")
        deadline = time.monotonic() + END_S
        for thread in self._threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while (ticket := self._next()) is not None:
            try:
                self._answer(ticket)
            finally:
                with self._there:
                    self._lanes.done(ticket)
                    self._there.notify_all()

    def _next(self) -> Ticket | None:
        with self._there:
            while not self._is_closing:
                ticket = self._lanes.take()
                if ticket is not None:
                    return ticket
                self._there.wait()
        return None

    def _answer(self, ticket: Ticket) -> None:
        scene = self._scene()
        if scene is None:  # was there when the question was taken: a mapper's reset
            ticket.fail(ErrorCode.NOT_READY, self._scene_missing() or "the map was reset")
            return
        ticket.progress.on_stage("reading", "")
        try:
            answer = self._answerer.answer(ticket.question, scene, ticket.progress)
        except Exception as error:
            self._on_fault(error)
            text = f"a fault of the answerer {self._answerer.name}: {type(error).__name__}: {error}"
            answer = Answer(text=text, error=ErrorCode.INTERNAL)
        if not answer.answered_by:
            answer = replace(answer, answered_by=self._answerer.name)
        ticket.finish(answer, scene)
