"""A vision-language model of Transformers in a process of its own, and the watchdog over it. Free of torch.

The process is started anew when it died, says nothing, or gets nowhere. Who asked is told; nobody waits for ever.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from s3d_ros.answer import model_wire as wire
from s3d_ros.answer.model_counts import TokenCounts
from s3d_ros.answer.model_process import ModelProcess
from s3d_ros.answer.model_requests import Request, Requests
from s3d_ros.answer.model_watch import WatchConfig
from s3d_ros.chat import Chat, ChatError, ChatImage, ChatReply, Part
from s3d_ros.types import ErrorCode

ENGINE = "s3d_ros.vlm.engine:Engine"
POLL_S = 0.01  # an asker looks so often whether the answer is still wanted
WATCH_S = 0.1
MAX_DEATHS = 3  # in a row, while loading; after that it is tried as seldom as one that can't be loaded


class TransformersChat:
    """A ChatModel. ``on_event`` is told in words what an operator should know (a death, a start); any thread."""

    name = "transformers"

    def __init__(
        self,
        config: Any,
        watch: WatchConfig | None = None,
        *,
        engine: str = ENGINE,
        on_event: Callable[[str], None] = lambda text: None,
    ) -> None:
        """config: a ``ModelConfig``; loading begins at once. engine: "module:class" of what runs it."""
        self._watch = watch or WatchConfig()
        self._start = wire.Start(engine, config, self._watch.beat_s)
        self._on_event = on_event
        self._model = str(getattr(config, "model", config))
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._process: ModelProcess | None = None
        self._ready: wire.Ready | None = None
        self._is_loaded = False
        self._state = f"loading the model {self._model}"
        self._why = ""  # it is started again
        self._load_failure = ""
        self._said_fault = self._last_fault = ""
        self._requests = Requests()
        self._counts = TokenCounts()
        self._warm: Chat | None = None
        self._may_warm = True  # not after it killed the model, until a question was answered
        self._beat = wire.Beat(0, False)
        self._ticked_at = time.monotonic()
        self._deaths = self._load_failures = self.restarts = 0
        self._tried_at = 0.0
        self._closing = threading.Event()
        self._retry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model watchdog", daemon=True)
        self._thread.start()

    # --- ChatModel

    def missing(self) -> str:
        """Say why it can't be asked now, empty when it can."""
        with self._lock:
            return "" if self._is_loaded else self._state

    def context_tokens(self) -> int:
        """Return how many tokens fit. Raises ChatError (NOT_READY) before the model was first loaded."""
        with self._lock:
            if self._ready is None:
                raise ChatError(ErrorCode.NOT_READY, self._state)
            return self._ready.context_tokens

    def count_tokens(self, part: Part) -> int:
        """Return how many tokens a part takes. Raises ChatError where the model can't tell now."""
        known = self._counts.known(part)
        if known is not None:
            return known
        with self._lock:
            if not self._is_loaded or self._process is None:
                raise ChatError(ErrorCode.NOT_READY, self._state)
            number = next(self._numbers)
            self._counts.begin(number)
            self._process.send(wire.Count(number, part))
        tokens = self._counts.wait(number, part, self._watch.stuck_s + self._watch.silent_s)  # the watchdog comes first
        if tokens < 0:
            kind = "an image" if isinstance(part, ChatImage) else "a text"
            raise ChatError(ErrorCode.MODEL_FAILED, f"the model could not count the tokens of {kind}: ask again later")
        return tokens

    def warm(self, chat: Chat) -> None:
        """Read the shared parts when no question waits; a newer chat takes an older one's place."""
        with self._lock:
            if not self._may_warm:
                return
            self._warm = chat
            if self._is_loaded and self._process is not None:
                self._process.send(wire.Warm(chat))

    def ask(
        self,
        chat: Chat,
        max_new_tokens: int,
        on_text: Callable[[str], None] = lambda text: None,
        cancelled: threading.Event | None = None,
    ) -> ChatReply:
        """Return the reply; see ChatModel."""
        request = self._submit(chat, max_new_tokens)
        text = ""
        while True:
            if cancelled is not None and cancelled.is_set():
                self._stop(request)
                return ChatReply(text, float("nan"), "cancelled")
            try:
                event = request.events.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if isinstance(event, ChatError):
                raise event
            if isinstance(event, ChatReply):
                return event
            text = event
            on_text(text)

    def close(self) -> None:
        """End the process; who still waits gets an error."""
        self._closing.set()
        self._retry.set()
        self._thread.join(timeout=10.0)

    def status(self) -> dict[str, str]:
        """Tell how the model is, for diagnostics."""
        with self._lock:
            told = {
                "model": self._model,
                "loaded": str(self._is_loaded).lower(),
                "device": self._ready.device if self._ready else "",
                "restarts": str(self.restarts),
                "in_work": str(len(self._requests.in_work)),
                "waiting": str(len(self._requests) - len(self._requests.in_work)),
                "last_fault": self._last_fault,
            }
            return told | {f"engine/{key}": value for key, value in self._beat.values.items()}

    # --- questions

    def _submit(self, chat: Chat, max_new_tokens: int) -> Request:
        with self._lock:
            if self._closing.is_set():
                raise ChatError(ErrorCode.CANCELLED, "the model is being shut down")
            if not self._is_loaded or self._process is None:
                if self._load_failure and time.monotonic() - self._tried_at > self._watch.retry_s:
                    self._retry.set()  # somebody needs it
                raise ChatError(ErrorCode.NOT_READY, self._state)
            request = Request(next(self._numbers), chat, max_new_tokens)
            self._requests.add(request)
            self._process.send(request.sent())
            return request

    def _stop(self, request: Request) -> None:
        """Make the process stop answering; it is watched until it did."""
        with self._lock:
            if not self._is_loaded or self._process is None:
                self._requests.drop(request)  # it would be asked again
            elif request in self._requests and not request.stopped_at:
                request.stopped_at = time.monotonic()
                self._process.send(wire.Cancel(request.number))

    # --- what the process says, on its reading thread

    def _on_message(self, process: ModelProcess, message: wire.FromModel) -> None:
        with self._lock:
            if process is not self._process:
                return
            if isinstance(message, wire.Beat):
                if message.ticks != self._beat.ticks or not (message.working or self._requests or self._counts):
                    self._ticked_at = time.monotonic()
                self._beat = message
            elif isinstance(message, wire.Said):
                self._requests.tell(message.number, message.text)
            elif isinstance(message, wire.Done):
                self._deaths, self._may_warm = 0, True
                self._requests.finish(message.number, message.reply)
            elif isinstance(message, wire.Wrong):
                self._requests.finish(message.number, ChatError(message.code, message.text))
            elif isinstance(message, wire.Begun):
                self._requests.begun(message.numbers)
            elif isinstance(message, wire.Counted):
                self._counts.done(message.number, message.tokens)
            elif isinstance(message, wire.Loading):
                self._state = f"{self._opening()}: {message.what}, {message.share:.0%}"
            elif isinstance(message, wire.LoadFailed):
                self._load_failure = message.text
            elif isinstance(message, wire.Fault):
                self._said_fault = message.text
            elif isinstance(message, wire.Ready):
                self._on_ready(message)

    def _on_ready(self, ready: wire.Ready) -> None:
        assert self._process is not None
        self._ready, self._is_loaded = ready, True
        self._load_failures = 0
        self._ticked_at = time.monotonic()
        if self._warm is not None:
            self._process.send(wire.Warm(self._warm))
        for request in self._requests:
            self._process.send(request.sent())
        self._on_event(f"the model {self._model} is loaded on {ready.device}")

    def _opening(self) -> str:
        return f"the model is being started again ({self._why})" if self._why else f"loading the model {self._model}"

    # --- the watchdog's thread

    def _run(self) -> None:
        while not self._closing.is_set():
            pause_s = self._live_once()
            self._retry.wait(pause_s)
            self._retry.clear()
        with self._lock:
            self._requests.finish_all(ErrorCode.CANCELLED, "the model is being shut down")
            self._counts.end_all()

    def _live_once(self) -> float:
        """Start the process and watch it until it is no more; return how long to wait before the next one."""
        with self._lock:
            self._tried_at = self._ticked_at = time.monotonic()
            self._state, self._load_failure, self._said_fault = self._opening(), "", ""
            self._beat = wire.Beat(0, True)
            try:
                self._process = process = ModelProcess(self._start, self._on_message)
            except OSError as error:
                self._load_failure = f"its process can't be started: {error}"
                return self._on_death("")
        reason = ""
        while not (self._closing.wait(WATCH_S) or process.has_ended() or reason):
            reason = self._lost(process)
        if self._closing.is_set():
            process.stop()
            return 0.0
        if process.has_ended():
            reason = reason or self._said_fault or process.how_it_ended()
        process.kill()
        with self._lock:
            return self._on_death(reason)

    def _lost(self, process: ModelProcess) -> str:
        """Say why the process is to be ended, empty while all is well."""
        now, watch = time.monotonic(), self._watch
        with self._lock:
            if now - process.heard_at > watch.silent_s:
                return f"there was no sign of life from it for {watch.silent_s:g} s"
            if not self._is_loaded:
                return f"it was not loaded within {watch.load_s:g} s" if now - process.started_at > watch.load_s else ""
            has_work = self._beat.working or self._requests or self._counts
            if has_work and now - self._ticked_at > watch.stuck_s:
                return f"it got nowhere for {watch.stuck_s:g} s"
            for number in self._requests.give_up_long(watch):
                process.send(wire.Cancel(number))
            if self._requests.are_unheard(watch):
                return f"it went on answering for {watch.stop_s:g} s after it was told to stop"
        return ""

    def _on_death(self, reason: str) -> float:
        """Tell those concerned; return how long to wait before it is started again."""
        was_loaded, self._is_loaded, self._process = self._is_loaded, False, None
        self._counts.end_all()
        watch = self._watch
        if not was_loaded and not self._load_failure:
            self._deaths += 1
            if self._deaths >= MAX_DEATHS:
                self._load_failure = f"it died {self._deaths} times while it was loaded, at last: {reason}"
        if self._load_failure:
            self._load_failures += 1
            pause_s = watch.retry_s * min(2.0 ** (self._load_failures - 1), 10.0)
            text = f"the model {self._model} could not be loaded: {self._load_failure}"
            self._last_fault = self._load_failure
            self._state = f"{text}; it is tried again in {pause_s:g} s"
            self._requests.finish_all(ErrorCode.MODEL_FAILED, text)
            self._on_event(self._state)
            return pause_s
        if was_loaded:
            self._deaths += 1
            self.restarts += 1
            if not self._requests.in_work and self._beat.working:
                self._warm, self._may_warm = None, False  # reading ahead may have done it
        self._last_fault = self._why = reason
        self._requests.after_death(reason)
        self._state = self._opening()
        self._on_event(f"{self._state}; its process ended")
        return min(watch.backoff_s * 2.0 ** (self._deaths - 1), watch.retry_s)
