"""A bounded queue of questions and the thread that answers them. Free of rclpy.

Executor callbacks only put a question in and are told when its answer is there; they never wait for the work.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from s3d_ros.types import Answer, ErrorCode, Question, Scene


class Answerer(Protocol):
    """What this module needs of an answerer (``answer.base.Answerer``)."""

    name: str

    def answer(self, question: Question, scene: Scene) -> Answer:
        """Answer from the scene."""
        ...


class Ticket:
    """One question under way. It gets one answer: the first of the answerer's, the deadline's, the asker's cancel."""

    def __init__(
        self,
        question: Question,
        deadline: float,
        on_done: Callable[[Answer, Scene | None], None],
        on_stage: Callable[[str], None],
    ) -> None:
        self.question = question
        self.deadline = deadline  # of time.monotonic()
        self.on_stage = on_stage
        self._on_done = on_done
        self._lock = threading.Lock()
        self.done = False

    def finish(self, answer: Answer, scene: Scene | None = None) -> bool:
        """Hand out the answer, once. Return whether this was the first."""
        with self._lock:
            if self.done:
                return False
            self.done = True
        self._on_done(answer, scene)
        return True

    def fail(self, error: ErrorCode, text: str) -> bool:
        """Finish without an answer."""
        return self.finish(Answer(text=text, error=error))


class QuestionQueue:
    """Answers one question after the other, from the scene as it is when its turn comes."""

    def __init__(
        self,
        answerer: Answerer,
        scene: Callable[[], Scene | None],
        missing: Callable[[], str],
        *,
        max_waiting: int = 32,
        deadline_s: float = 30.0,
        on_fault: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        self._answerer = answerer
        self._scene = scene
        self._missing = missing
        self._deadline_s = deadline_s
        self._on_fault = on_fault
        self._queue: queue.Queue[Ticket | None] = queue.Queue()
        self._max_waiting = max_waiting
        self._open: list[Ticket] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)
        self._thread.start()

    def submit(
        self,
        question: Question,
        on_done: Callable[[Answer, Scene | None], None],
        on_stage: Callable[[str], None] = lambda stage: None,
    ) -> Ticket:
        """Put a question in. ``on_done`` is called once, from any thread; at once when it can't be asked now."""
        deadline = time.monotonic() + (question.deadline_s or self._deadline_s)
        ticket = Ticket(question, deadline, on_done, on_stage)
        missing = self._missing()
        with self._lock:
            self._open = [t for t in self._open if not t.done]
            full = len(self._open) >= self._max_waiting
            if not missing and not full:
                self._open.append(ticket)
        if missing:
            ticket.fail(ErrorCode.NOT_READY, missing)
        elif full:
            ticket.fail(ErrorCode.BUSY, f"{self._max_waiting} questions are waiting already; ask again later")
        else:
            self._queue.put(ticket)
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
        """Answer what is open with an error and end the thread; waits for a question in work at most a second."""
        self._queue.put(None)
        with self._lock:
            tickets = list(self._open)
        for ticket in tickets:
            ticket.fail(ErrorCode.CANCELLED, "the answerer is shutting down")
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while (ticket := self._queue.get()) is not None:
            if ticket.done:
                continue
            scene = self._scene()
            if scene is None:  # was there when the question was taken: a mapper's reset
                ticket.fail(ErrorCode.NOT_READY, self._missing() or "the map was reset")
                continue
            ticket.on_stage("answering")
            try:
                answer = self._answerer.answer(ticket.question, scene)
            except Exception as error:
                self._on_fault(error)
                text = f"a fault of the answerer {self._answerer.name}: {type(error).__name__}: {error}"
                answer = Answer(text=text, error=ErrorCode.INTERNAL)
            if not answer.answered_by:
                answer = replace(answer, answered_by=self._answerer.name)
            ticket.finish(answer, scene)
