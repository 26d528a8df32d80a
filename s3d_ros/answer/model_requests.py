"""Questions to a language model's process, as its owner keeps them.

Free of torch, and of locks: the caller holds one.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from dataclasses import replace

from s3d_ros.answer import model_wire as wire
from s3d_ros.answer.model_watch import WatchConfig
from s3d_ros.chat import Chat, ChatError, ChatReply
from s3d_ros.types import ErrorCode

MAX_TRIES = 4  # of a question that only waited whenever the process died


class Request:
    """A question under way. ``events``: text so far, then a reply or an error."""

    def __init__(self, number: int, chat: Chat, max_new_tokens: int) -> None:
        self.message = wire.Ask(number, chat, max_new_tokens)
        self.events: queue.SimpleQueue[str | ChatReply | ChatError] = queue.SimpleQueue()
        self.tries = 0
        self.begun_at = 0.0  # 0: not in work
        self.stopped_at = 0.0  # 0: still wanted

    @property
    def number(self) -> int:
        """What the process calls it."""
        return self.message.number

    def sent(self) -> wire.Ask:
        """Return what to send, and note that it is."""
        self.tries += 1
        self.begun_at = 0.0
        return self.message


class Requests:
    """Those that have no reply yet, by number."""

    def __init__(self) -> None:
        self._open: dict[int, Request] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._open)

    def __iter__(self) -> Iterator[Request]:
        return iter(list(self._open.values()))

    def __contains__(self, request: Request) -> bool:
        return request.number in self._open

    @property
    def in_work(self) -> list[Request]:
        """Return those that the process has begun."""
        return [r for r in self if r.begun_at]

    def add(self, request: Request) -> None:
        """Keep it until it has its reply."""
        self._open[request.number] = request

    def drop(self, request: Request) -> None:
        """Nobody waits for it."""
        self._open.pop(request.number, None)

    def begun(self, numbers: tuple[int, ...]) -> None:
        """Note that these, and no others, are in work."""
        for request in self:
            request.begun_at = (request.begun_at or time.monotonic()) if request.number in numbers else 0.0

    def tell(self, number: int, text: str) -> None:
        """Pass on the text so far."""
        if number in self._open:
            self._open[number].events.put(text)

    def finish(self, number: int, event: ChatReply | ChatError) -> None:
        """Pass on the reply."""
        request = self._open.pop(number, None)
        if request is not None:
            request.events.put(event)

    def finish_all(self, code: ErrorCode, text: str) -> None:
        """There will be no replies."""
        for request in self:
            self.finish(request.number, ChatError(code, text))

    def give_up_long(self, watch: WatchConfig) -> list[int]:
        """Tell those that take too long; return the numbers of which the process is to be told."""
        now = time.monotonic()
        long = [r for r in self.in_work if not r.stopped_at and now - r.begun_at > watch.answer_s]
        for request in long:
            text = f"the answer took longer than {watch.answer_s:g} s and was stopped; ask something shorter"
            request.events.put(ChatError(ErrorCode.MODEL_FAILED, text))
            request.stopped_at = now
        return [r.number for r in long]

    def are_unheard(self, watch: WatchConfig) -> bool:
        """Whether all in work should have ended: while some should not, it may be slow to hear of the others."""
        now, in_work = time.monotonic(), self.in_work
        return bool(in_work) and all(r.stopped_at and now - r.stopped_at > watch.stop_s for r in in_work)

    def after_death(self, reason: str) -> None:
        """Keep those that are to be asked again, tell the others.

        Of several in work it is not known whose fault it was: the next time each is alone.
        """
        in_work = len(self.in_work)
        for request in self:
            if request.stopped_at:
                self.drop(request)
            elif request.begun_at and in_work > 1:
                request.message = replace(request.message, alone=True)
            elif request.begun_at or request.tries >= MAX_TRIES:
                text = f"the model failed while it answered: {reason}; it is started again: ask again later"
                self.finish(request.number, ChatError(ErrorCode.MODEL_FAILED, text))
