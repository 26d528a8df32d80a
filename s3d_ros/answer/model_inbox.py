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
        self.number, self.max_new_tokens, self.chat = ask.number, ask.max_new_tokens, chat
        self.cancelled = threading.Event()
        self.said_at = 0.0


class Inbox:
    """What came through the pipe and waits for the engine's thread."""

    def __init__(self) -> None:
        self.max_batch = MAX_BATCH
        self._pictures: dict[str, ChatImage] = {}
        self._asks: deque[Request] = deque()
        self._in_work: list[Request] = []
        self._counts: deque[wire.Count] = deque()
        self._warm: Chat | None = None
        self._there = threading.Condition()

    def take(self, message: wire.ToModel) -> wire.Done | None:
        """Take a message; return the reply to a question that was cancelled before it was begun."""
        with self._there:
            if isinstance(message, wire.Picture):
                self._pictures[message.key] = ChatImage(message.key, message.pixels)
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
                for request in self._in_work:
                    if request.number == message.number:
                        request.cancelled.set()
            self._there.notify()
        return None

    def next(self) -> tuple[list[Request], Chat | None]:
        """Wait for something to do; return questions to be answered together, or a chat to read ahead, or neither."""
        with self._there:
            self._in_work = []
            self._there.wait_for(lambda: self._counts or self._asks or self._warm is not None)
            if self._asks:
                self._in_work = [self._asks.popleft() for _ in range(min(len(self._asks), self.max_batch))]
                return self._in_work, None
            warm, self._warm = self._warm, None
            return [], warm

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
