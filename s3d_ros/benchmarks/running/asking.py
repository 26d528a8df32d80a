"""Asks an answerer all questions of a set, scene by scene, several at once, and keeps each answer as it comes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any

from s3d_ros.answer.base import Progress as Watch
from s3d_ros.answer.choose import Chosen
from s3d_ros.benchmarks.files import BenchmarkError
from s3d_ros.benchmarks.running.items import Item, QuestionSet, Row, as_asked
from s3d_ros.benchmarks.running.journal import Journal
from s3d_ros.benchmarks.running.places import Place
from s3d_ros.chat import Chat, ChatImage
from s3d_ros.offline.answers import answer_json
from s3d_ros.types import Answer, ErrorCode, Question, Scene

Progress = Callable[[int, int | None], None]
# What says nothing about the question: it is asked again when the run goes on
PASSING = frozenset({ErrorCode.NOT_READY, ErrorCode.BUSY, ErrorCode.DEADLINE, ErrorCode.MODEL_FAILED})
MOST_FAILURES = 5  # one after another: then the model is gone, and asking on would only note that


class Heard:
    """What was said to a model, for the question that each thread is at."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def begin(self) -> None:
        """A question begins in this thread."""
        self._of_thread.chats = []

    def note(self, chat: Chat, reply: str) -> None:
        """Take note (``choose``'s on_prompt)."""
        self._of_thread.chats.append((chat, reply))

    def end(self) -> Row | None:
        """Return the last chat as plain values, pictures by key; None where no model was asked."""
        chats = self._of_thread.chats
        return None if not chats else plain_chat(*chats[-1])


def plain_chat(chat: Chat, reply: str) -> Row:
    """Return a chat and its reply as plain values, with a key for each picture."""
    turns = [
        {"role": t.role, "parts": [{"image": p.key} if isinstance(p, ChatImage) else p for p in t.parts]}
        for t in chat.turns
    ]
    return {"system": chat.system, "shared_parts": chat.shared_parts, "turns": turns, "reply": reply}


def ask_all(
    questions: QuestionSet,
    items: Sequence[Item],
    places: Mapping[str, Place],
    chosen: Chosen,
    journal: Journal,
    heard: Heard,
    *,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> None:
    """Ask what is not answered yet. Raises BenchmarkError where one answers another question, or a model is gone."""
    by_scene: dict[str, list[Item]] = {}
    for item in items:
        by_scene.setdefault(item.scene, []).append(item)
    run = _Run(questions, chosen, journal, heard, progress, len(items))
    for name, some in by_scene.items():
        place = places[name]
        scene = place.scene(pictures=chosen.chat is not None)
        _forget(chosen)  # numbers and order of frames are those of one map
        run.scene(some, scene, place, workers)


class _Run:
    def __init__(
        self, questions: QuestionSet, chosen: Chosen, journal: Journal, heard: Heard, progress: Progress, total: int
    ) -> None:
        self.questions, self.chosen, self.journal, self.heard = questions, chosen, journal, heard
        self._progress, self._total, self._done = progress, total, 0
        self._failures = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        progress(0, total)

    def skip(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._progress(self._done, self._total)

    def scene(self, items: Sequence[Item], scene: Scene, place: Place, workers: int) -> None:
        left = []
        for item in items:
            question = self.questions.question(item, scene)
            row = self.journal.rows.get(item.id)
            if row is not None:
                _check_asked(row, question, place, self.journal)
            if _is_kept(row):
                self.skip(1)
            else:
                left.append((item, question))
        with ThreadPoolExecutor(max_workers=workers) as pool:
            asked: list[Future[None]] = [pool.submit(self._one, i, q, scene, place) for i, q in left]
            try:
                done, _ = wait(asked, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            except BaseException:  # also Ctrl-C: what is under way is stopped and not kept
                self._stop.set()
                for future in asked:
                    future.cancel()
                raise

    def _one(self, item: Item, question: Question | None, scene: Scene, place: Place) -> None:
        if self._stop.is_set():
            return
        began = time.perf_counter()
        self.heard.begin()
        if question is None:
            answer = Answer("no object of the map lies where this one does", ErrorCode.NOT_IN_MAP)
        else:
            answer = self._answered(question, scene)
        if self._stop.is_set() or answer.error == ErrorCode.CANCELLED:
            return
        prompt = self.heard.end()
        row = answer_json(item.id, answer) | {
            "scene": item.scene,
            "kind": item.kind,
            "asked": None if question is None else as_asked(question),
            "map": place.digest,
            "seconds": round(time.perf_counter() - began, 3),
            "images": 0 if prompt is None else _images(prompt),
            **self.questions.more(item, answer, scene),
        }
        self.journal.add(row, prompt)
        with self._lock:
            failed = answer.error in PASSING and self.chosen.chat is not None
            self._failures = self._failures + 1 if failed else 0
            gone = self._failures >= MOST_FAILURES
        self.skip(1)
        if gone:
            self._stop.set()
            raise BenchmarkError(
                f"the model failed {MOST_FAILURES} times in a row: {answer.text} What was answered is kept: "
                "mend it, and run the same command again to go on"
            )

    def _answered(self, question: Question, scene: Scene) -> Answer:
        """Answer, after waiting for a model that is loading, or was started again."""
        wait_for_model(self.chosen, self._stop)
        answer = self.chosen.answerer.answer(question, scene, Watch(cancelled=self._stop))
        if answer.error == ErrorCode.NOT_READY and self.chosen.missing():
            wait_for_model(self.chosen, self._stop)
            answer = self.chosen.answerer.answer(question, scene, Watch(cancelled=self._stop))
        return answer


def wait_for_model(chosen: Chosen, stop: threading.Event | None = None) -> None:
    """Wait for a model that is loading. Raises BenchmarkError for one that can't be loaded."""
    while (missing := chosen.missing()) and "loaded" in (told := chosen.status()):
        if told.get("last_fault"):
            raise BenchmarkError(f"the model can't be asked: {missing}")
        if stop is not None and stop.wait(0.1):
            return
        time.sleep(0 if stop is not None else 0.1)


def errors_of(rows: Sequence[Row]) -> dict[str, int]:
    """Return how many answers failed, by code."""
    return dict(sorted(Counter(row["error"] for row in rows if row["error"]).items()))


def _is_kept(row: Row | None) -> bool:
    return row is not None and row["error"] not in PASSING


def _check_asked(row: Row, question: Question | None, place: Place, journal: Journal) -> None:
    asked: Any = None if question is None else as_asked(question)
    what = "map" if row["map"] != place.digest else "question" if row["asked"] != asked else ""
    if what == "map":
        raise BenchmarkError(
            f"{journal.folder} holds answers about another map of {place.name}: give another --out, "
            "or remove that folder"
        )
    if what:
        raise BenchmarkError(
            f"{journal.folder} holds an answer to {row['id']} when it was {_text(row['asked'])!r}, and now it is "
            f"{_text(asked)!r}: give another --out, or remove that folder"
        )


def _text(asked: Row | None) -> str:
    return "" if asked is None else str(asked["question"])


def _forget(chosen: Chosen) -> None:
    forget: Callable[[], None] = getattr(chosen.answerer, "forget", lambda: None)
    forget()


def _images(prompt: Row) -> int:
    return sum(isinstance(part, dict) for turn in prompt["turns"] for part in turn["parts"])
