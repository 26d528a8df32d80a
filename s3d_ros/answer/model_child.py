"""The process that holds a language model: ``python -m s3d_ros.answer.model_child HANDLE OWNER``, see model_process.

Three threads: one reads the pipe, so that a cancel counts at once; one sends signs of life; the main one alone calls
the engine. Questions that come while others are in work join them where the engine can take them. It ends with its
owner, however that ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import importlib
import itertools
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Protocol

from s3d_ros.answer import model_wire as wire
from s3d_ros.answer.model_inbox import MAX_BATCH, Inbox, Request
from s3d_ros.answer.model_problems import Problem, load_failure
from s3d_ros.chat import Chat, ChatError, ChatReply, Part

NICENESS = 5  # mapping goes first
OOM_SCORE = 500  # of 1000: short of memory, the kernel ends the model and not the mapper
MAX_ODD_FAULTS = 3  # in a row, then the engine is not trusted any longer
SAY_EVERY_S = 0.05
EXIT_FAULT = 70
_PR_SET_PDEATHSIG = 1


class Engine(Protocol):
    """What is needed of an engine (``s3d_ros.vlm.engine.Engine``)."""

    name: str
    context_tokens: int
    device: str

    def count_tokens(self, part: Part) -> int:
        """Count."""
        ...

    def warm(self, chat: Chat, cancelled: Callable[[], bool]) -> None:
        """Read shared parts."""
        ...

    def ask(
        self, asked: Sequence[Any], more: Callable[[], Sequence[Any]]
    ) -> Iterator[tuple[int, str | ChatReply | ChatError]]:
        """Answer; ``more`` returns questions that came since."""
        ...


class Child:
    """Serves one engine. ``leave`` ends the process at once, whatever its threads are in."""

    def __init__(self, pipe: Connection, leave: Callable[[int], None] = os._exit) -> None:
        self._pipe = pipe
        self._leave = leave
        self._inbox = Inbox()
        self._writing = threading.Lock()
        self._ticks = 0
        self._working = True  # loading
        self._odd_faults = 0
        self._stats: dict[str, str] = {}
        self._engine: Engine
        self._asked: Any = None

    def run(self) -> None:
        """Load, then serve; returns only when the model can't be loaded."""
        start = self._pipe.recv()
        self._inbox.max_batch = getattr(start.config, "max_batch", MAX_BATCH)
        threading.Thread(target=self._beat, args=(start.beat_s,), name="beat", daemon=True).start()
        threading.Thread(target=self._read, name="pipe", daemon=True).start()
        try:
            module, _, name = start.engine.partition(":")
            found = importlib.import_module(module)
            getattr(found, "prepare", lambda: None)()
            self._asked = found.Asked
            self._engine = getattr(found, name)(start.config, self._on_loading)
        except Exception as error:  # told; then there is nothing to do
            self._send(wire.LoadFailed(load_failure(error)))
            return
        engine = self._engine
        self._send(wire.Ready(str(engine.name), int(engine.context_tokens), str(engine.device)))
        while True:
            self._note_stats()
            self._working = False
            batch, warm = self._inbox.next()
            self._ticks += 1
            self._working = True
            self._count()
            if batch:
                self._answer(batch)
            elif warm is not None:
                self._warm(warm)

    def _on_loading(self, what: str, share: float) -> None:
        self._ticks += 1
        self._send(wire.Loading(what, share))

    def _send(self, message: wire.FromModel) -> None:
        try:
            with self._writing:
                self._pipe.send(message)
        except OSError:  # nobody listens any longer
            self._leave(0)

    def _read(self) -> None:
        code = EXIT_FAULT
        try:
            while True:
                reply = self._inbox.take(self._pipe.recv())
                if reply is not None:
                    self._send(reply)
        except (EOFError, OSError):
            code = 0  # the owner is no more
        except Exception:
            traceback.print_exc()
        finally:
            self._leave(code)

    def _beat(self, period_s: float) -> None:
        while True:
            self._send(wire.Beat(self._ticks, self._working, self._stats | {"process_mb": f"{resident_mb():.0f}"}))
            time.sleep(period_s)

    def _note_stats(self) -> None:
        stats = getattr(self._engine, "stats", None)
        if stats is not None:
            told = stats()
            torch: Any = sys.modules.get("torch")
            if torch is not None and torch.cuda.is_initialized():
                told["gpu_mb"] = round(torch.cuda.memory_allocated() / 2**20)
            self._stats = {key: str(value) for key, value in told.items()}

    def _goes_on(self) -> None:
        """Called by the engine's thread between tokens, and between pieces of a prompt."""
        self._ticks += 1
        self._count()

    def _stopped(self, request: Request) -> bool:
        self._goes_on()
        return request.cancelled.is_set()

    def _count(self) -> None:
        for count in self._inbox.counts():
            try:
                tokens = self._engine.count_tokens(count.part)
            except Exception as error:
                print(f"tokens could not be counted: {type(error).__name__}: {error}", file=sys.stderr)
                tokens = -1
            self._send(wire.Counted(count.number, tokens))

    def _warm(self, chat: Chat) -> None:
        broken_off = False

        def stop() -> bool:
            nonlocal broken_off
            self._goes_on()
            broken_off = broken_off or self._inbox.has_questions()
            return broken_off

        problem = None
        try:
            self._engine.warm(chat, stop)
        except Exception as error:
            problem = Problem.of(error)
        if problem is not None:  # a question about this scene will tell; after a CUDA fault there is none
            self._free_memory()
            self._handle(problem, ())
            print(f"the scene could not be read ahead: {problem.text}", file=sys.stderr)
        elif broken_off:
            self._inbox.put_back(chat)

    def _answer(self, batch: Sequence[Request], may_join: bool = True) -> None:
        """Answer together; where that fails, those that got no reply one by one: it may be one's fault."""
        numbers = itertools.count()
        left: dict[int, Request] = {}

        def begin(requests: Sequence[Request]) -> list[Any]:
            left.update((next(numbers), r) for r in requests)
            if requests:
                self._send(wire.Begun(tuple(r.number for r in left.values())))
            return [self._asked(r.chat, r.max_new_tokens, partial(self._stopped, r)) for r in requests]

        problem = None
        try:
            for index, event in self._engine.ask(begin(batch), lambda: begin(self._inbox.more() if may_join else ())):
                self._ticks += 1
                if isinstance(event, str):
                    self._say(left[index], event)
                else:
                    self._end(left.pop(index), event)
            if left:
                raise RuntimeError("the engine gave no reply")
        except Exception as error:  # not kept: it holds on to the memory of where it was raised
            problem = Problem.of(error)
        if problem is None:
            return
        self._free_memory()
        if len(left) > 1 and not problem.is_broken:
            for request in left.values():
                self._answer([request], may_join=False)
        else:
            self._handle(problem, left.values())

    def _end(self, request: Request, event: ChatReply | ChatError) -> None:
        self._inbox.done(request)
        self._note_stats()
        if isinstance(event, ChatReply):
            self._odd_faults = 0
            self._send(wire.Done(request.number, event))
        else:
            self._send(wire.Wrong(request.number, event.code, str(event)))

    def _handle(self, problem: Problem, requests: Iterable[Request]) -> None:
        """Tell those who asked; end where the engine can't be trusted any longer."""
        if problem.is_broken:  # the owner tells who asked, or asks again
            self._give_up(problem.text)
            return
        for request in requests:
            self._end(request, ChatError(problem.code, problem.text))
        self._odd_faults += problem.is_odd
        if self._odd_faults >= MAX_ODD_FAULTS:
            self._give_up(f"{MAX_ODD_FAULTS} faults in a row, the last: {problem.text}")

    def _give_up(self, text: str) -> None:
        self._send(wire.Fault(text))
        self._leave(EXIT_FAULT)  # at once: what CUDA has left may hang

    def _free_memory(self) -> None:
        torch: Any = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _say(self, request: Request, text: str) -> None:
        now = time.monotonic()
        if now - request.said_at >= SAY_EVERY_S:
            request.said_at = now
            self._send(wire.Said(request.number, text))


def resident_mb() -> float:
    """Return this process's memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def _be_a_good_child(owner: int) -> None:
    """End with the owner even where no thread of ours can run, step back for others, say where a crash was."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the owner ends us
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != owner:
        os._exit(0)
    os.nice(NICENESS)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(OOM_SCORE))
    faulthandler.enable()
    # A core is left to mapping: threads wait for each other in loops, and with one too many an answer takes eight times
    # as long
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) - 1)))
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")


if __name__ == "__main__":
    _be_a_good_child(int(sys.argv[2]))
    with contextlib.suppress(EOFError, OSError):  # the owner closed its end, or is no more
        Child(Connection(int(sys.argv[1]))).run()
