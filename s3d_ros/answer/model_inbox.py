"""What a language model's process was sent and has not begun yet: questions first, then reading ahead."""

from __future__ import annotations

import threading
from collections import deque

from s3d_ros.answer import model_wire as wire
from s3d_ros.chat import Chat, ChatImage, ChatReply

MAX_BATCH = 16


class Request:
    """A question in this process."""

    def __init__(self, ask: wire.Ask, chat: Chat) -> None:
        self.number, self.max_new_tokens, self.alone, self.chat = ask.number, ask.max_new_tokens, ask.alone, chat
        self.cancelled = threading.Event()
        self.said_at = 0.0


class Inbox:
    """What came through the pipe and waits for the engine's thread."""

    def __init__(self) -> None:
        self.max_batch = MAX_BATCH
        self._pictures: dict[str, ChatImage] = {}
        self._asks: deque[Request] = deque()
        self._in_work: dict[int, Request] = {}
        self._counts: deque[wire.Count] = deque()
        self._warm: Chat | None = None
        self._there = threading.Condition()

    def take(self, message: wire.ToModel) -> wire.Done | None:
        """Take a message; return the reply to a question that was cancelled before it was begun."""
        with self._there:
            if isinstance(message, wire.Picture):
                self._pictures[message.key] = ChatImage(message.key, message.pixels, message.beside)
            elif isinstance(message, wire.Forget):
                for key in message.keys:
                    del self._pictures[key]
            elif isinstance(message, wire.Ask):
                self._asks.append(Request(message, wire.with_pixels(message.chat, self._pictures)))
            elif isinstance(message, wire.Warm):
                self._warm = wire.with_pixels(message.chat, self._pictures)
            elif isinstance(message, wire.Count):
                self._counts.append(message)
            elif isinstance(message, wire.Cancel):
                for request in [r for r in self._asks if r.number == message.number]:
                    self._asks.remove(request)
                    return wire.Done(request.number, ChatReply("", float("nan"), "cancelled"))
                if message.number in self._in_work:
                    self._in_work[message.number].cancelled.set()
            self._there.notify()
        return None

    def next(self) -> tuple[list[Request], Chat | None]:
        """Wait for something to do; return questions to be answered together, or a chat to read ahead, or neither."""
        with self._there:
            self._in_work.clear()
            self._there.wait_for(lambda: self._counts or self._asks or self._warm is not None)
            if self._asks:
                return self._take(), None
            warm, self._warm = self._warm, None
            return [], warm

    def more(self) -> list[Request]:
        """Return questions that came since and may be answered together with those in work."""
        with self._there:
            return self._take()

    def done(self, request: Request) -> None:
        """Note that a question has its reply."""
        with self._there:
            self._in_work.pop(request.number, None)

    def _take(self) -> list[Request]:
        """Take, in their order, as many as there is room for beside those in work."""
        taken: list[Request] = []
        while self._asks and len(self._in_work) < self.max_batch:
            if self._in_work and (self._asks[0].alone or any(r.alone for r in self._in_work.values())):
                break
            taken.append(self._asks.popleft())
            self._in_work[taken[-1].number] = taken[-1]
        return taken

    def counts(self) -> list[wire.Count]:
        """Take what is to be counted."""
        with self._there:
            counts = list(self._counts)
            self._counts.clear()
        return counts

    def has_questions(self) -> bool:
        """Whether questions wait: reading ahead is then broken off."""
        return bool(self._asks)

    def put_back(self, chat: Chat) -> None:
        """Go on reading this later, unless there is something newer."""
        with self._there:
            self._warm = self._warm or chat
