"""The model's process: what is asked is answered or told why not, whatever becomes of the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_engine import Config

from s3d_ros.answer import model_wire as wire
from s3d_ros.answer.model_process import Shelf
from s3d_ros.answer.model_watch import WatchConfig
from s3d_ros.answer.transformers_chat import TransformersChat
from s3d_ros.chat import Chat, ChatError, ChatImage, ChatReply, Turn
from s3d_ros.types import ErrorCode

ENGINE = "fake_engine:Engine"
PATIENT = WatchConfig(backoff_s=0.05, retry_s=60.0, beat_s=0.05)


def chat_of(text: str, *images: ChatImage) -> Chat:
    return Chat("system", (Turn("user", (*images, text)),), shared_parts=len(images))


def picture(key: str, value: int) -> ChatImage:
    return ChatImage(key, np.full((4, 4, 3), value, np.uint8))


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)
    return value


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, str(tmp_path), os.environ.get("PYTHONPATH", "")]))


@contextmanager
def model(config: Config | None = None, watch: WatchConfig = PATIENT, ready: bool = True) -> Iterator[TransformersChat]:
    made = TransformersChat(config or Config(), watch, engine=ENGINE)
    try:
        if ready:
            wait_for(lambda: not made.missing())
        yield made
    finally:
        made.close()


class Asking(threading.Thread):
    """A question in a thread of its own."""

    def __init__(self, chat: TransformersChat, text: str, *images: ChatImage) -> None:
        super().__init__(daemon=True)
        self.chat, self.question = chat, chat_of(text, *images)
        self.cancelled = threading.Event()
        self.texts: list[str] = []
        self.reply: ChatReply | None = None
        self.error: ChatError | None = None
        self.start()

    def run(self) -> None:
        try:
            self.reply = self.chat.ask(self.question, 50, self.texts.append, self.cancelled)
        except ChatError as error:
            self.error = error

    def wait(self) -> Asking:
        self.join(20)
        assert not self.is_alive(), "it waits for ever"
        return self


def said(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def test_a_question_is_answered_and_its_text_comes_word_by_word() -> None:
    with model() as chat:
        asked = Asking(chat, "one two three four five six seven eight").wait()
        assert (
            asked.reply is not None and asked.reply.text.startswith("one two three") and asked.reply.confidence == 0.5
        )
        assert asked.texts[0] == "one" and asked.texts == sorted(set(asked.texts), key=len)
        assert chat.count_tokens("three words here") == 3 and chat.count_tokens(picture("a", 1)) == 7
        assert chat.context_tokens() == 1000
        status = wait_for(lambda: (s := chat.status()).get("engine/cached_tokens") and s)
        assert status["loaded"] == "true" and status["restarts"] == "0" and float(status["engine/process_mb"]) > 5


def test_pictures_come_whole_though_each_is_sent_once() -> None:
    a, b = picture("a", 1), picture("b", 2)
    with model() as chat:
        assert Asking(chat, "x", a).wait().reply.text == "x [a=48]"
        # Were it sent again, its other pixels would show: equal keys mean equal pixels
        assert Asking(chat, "x", picture("a", 9), b).wait().reply.text == "x [a=48 b=96]"


def test_the_shelf_is_bounded_and_keeps_what_is_needed() -> None:
    shelf = Shelf(100)
    assert [shelf.add(k, 40) for k in "abca"] == [True, True, True, False]  # a is the newest again
    assert shelf.surplus({"a", "c"}) == ("b",) and shelf.surplus({"a", "c"}) == ()
    assert shelf.add("b", 200) and shelf.surplus({"b"}) == ("c", "a"), "the needed one stays, too large or not"


def test_questions_that_wait_are_taken_together(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with model(Config(log=str(log))) as chat:
        first = Asking(chat, "first " * 10)
        wait_for(lambda: first.texts)
        others = [Asking(chat, f"q{k}") for k in range(5)]
        assert all(a.wait().reply.text.startswith(f"q{k}") for k, a in enumerate(others))
        assert len([line for line in said(log) if line.startswith("ask")]) == 2


def test_who_comes_late_joins_those_in_work_and_may_be_cancelled_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with model(Config(log=str(log), joins=True)) as chat:
        first = Asking(chat, "loop")
        wait_for(lambda: first.texts)
        second = Asking(chat, "loop too")
        wait_for(lambda: second.texts)
        assert Asking(chat, "short").wait().reply.text.startswith("short")
        assert chat.status()["in_work"] == "2" and len(said(log)) == 4, "one batch"
        for asked in (second, first):
            asked.cancelled.set()
            assert asked.wait().reply.stopped == "cancelled"
        wait_for(lambda: chat.status()["in_work"] == "0")
        assert Asking(chat, "next").wait().reply.text.startswith("next")
        assert chat.status()["restarts"] == "0"


@pytest.mark.parametrize("killer", ["die", "cuda"])
def test_after_a_crash_of_several_they_are_asked_again_one_by_one(tmp_path: Path, killer: str) -> None:
    log = tmp_path / "log"
    with model(Config(log=str(log), joins=True)) as chat:
        slow = [Asking(chat, f"slow{k} " * 50) for k in range(3)]
        wait_for(lambda: all(a.texts for a in slow))
        guilty = Asking(chat, killer)
        assert [a.wait().reply.text[:5] for a in slow] == ["slow0", "slow1", "slow2"]
        assert guilty.wait().error.code == ErrorCode.MODEL_FAILED
        wait_for(lambda: not chat.missing())
        assert chat.status()["restarts"] == "2", "with the others, and alone"
        again = said(log)[said(log).index(f"joined {killer}") :]
        assert not [line for line in again[1:] if line.startswith("joined") or "|" in line]


def test_what_one_question_does_to_those_in_work_costs_them_nothing(tmp_path: Path) -> None:
    with model(Config(joins=True)) as chat:
        slow = Asking(chat, "slow " * 20)
        wait_for(lambda: slow.texts)
        assert "nobody thought of this" in str(Asking(chat, "odd").wait().error)
        assert slow.wait().reply.text.startswith("slow slow")
        assert chat.status()["restarts"] == "0"


def test_who_does_not_hear_is_not_ended_while_others_are_answered() -> None:
    with model(Config(joins=True), WatchConfig(stop_s=0.3, backoff_s=0.05, beat_s=0.05)) as chat:
        deaf = Asking(chat, "deaf")
        wait_for(lambda: deaf.texts)
        other = Asking(chat, "other " * 40)
        wait_for(lambda: other.texts)
        deaf.cancelled.set()
        assert deaf.wait().reply.stopped == "cancelled"
        assert other.wait().reply.text.startswith("other other")
        wait_for(lambda: "went on answering for 0.3 s" in chat.status()["last_fault"])


def test_questions_go_before_reading_ahead_which_is_taken_up_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with model(Config(log=str(log))) as chat:
        chat.warm(chat_of("long"))
        wait_for(lambda: "warm long" in said(log))
        assert Asking(chat, "quick").wait().reply is not None
        wait_for(lambda: said(log).count("warm long") == 2)
        assert said(log)[1:5] == ["warm long", "broken off", "ask quick", "warm long"]


def test_of_scenes_that_wait_only_the_newest_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with model(Config(log=str(log))) as chat:
        busy = Asking(chat, "busy " * 20)
        wait_for(lambda: busy.texts)
        for k in range(5):
            chat.warm(chat_of(f"scene{k}"))
        wait_for(lambda: "warmed" in said(log))
        assert [line for line in said(log) if line.startswith("warm ")] == ["warm scene4"]


@pytest.mark.parametrize("is_in_work", [True, False])
def test_cancel_stops_it_at_once(is_in_work: bool) -> None:
    with model() as chat:
        looping = Asking(chat, "loop")
        wait_for(lambda: looping.texts)
        asked = looping if is_in_work else Asking(chat, "waiting")
        time.sleep(0.1)
        asked.cancelled.set()
        assert asked.wait().reply.stopped == "cancelled"
        looping.cancelled.set()
        assert Asking(chat, "next").wait().reply.text.startswith("next"), "the loop has ended in the process, too"
        assert chat.status()["restarts"] == "0" and chat.status()["in_work"] == "0"


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("die", "SIGKILL, which the kernel does when memory is short"),
        ("segfault", "SIGSEGV"),
        ("cuda", "CUDA error: an illegal memory access"),
    ],
)
def test_after_a_crash_it_is_started_again_and_the_asker_told(question: str, words: str) -> None:
    with model() as chat:
        error = Asking(chat, question).wait().error
        assert error is not None and error.code == ErrorCode.MODEL_FAILED
        assert words in str(error) and "started again" in str(error)
        wait_for(lambda: "started again" in chat.missing())
        wait_for(lambda: not chat.missing())
        assert Asking(chat, "later").wait().reply.text.startswith("later")
        assert chat.status()["restarts"] == "1" and words in chat.status()["last_fault"]


def test_those_that_only_waited_are_asked_again_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with model(Config(log=str(log))) as chat:
        first = Asking(chat, "loop")
        wait_for(lambda: first.texts)
        waiting = Asking(chat, "patient")
        wait_for(lambda: chat.status()["waiting"] == "1")
        os.kill(chat._process.pid, signal.SIGKILL)
        assert first.wait().error.code == ErrorCode.MODEL_FAILED
        assert waiting.wait().reply.text.startswith("patient")
        assert len([line for line in said(log) if line.startswith("loaded")]) == 2


def test_who_gives_up_while_it_is_started_again_is_not_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with model(Config(log=str(log), load_s=0.5)) as chat:
        first = Asking(chat, "loop")
        wait_for(lambda: first.texts)
        waiting = Asking(chat, "patient")
        wait_for(lambda: chat.status()["waiting"] == "1")
        os.kill(chat._process.pid, signal.SIGKILL)
        wait_for(lambda: chat.missing())
        waiting.cancelled.set()
        assert waiting.wait().reply.stopped == "cancelled"
        wait_for(lambda: not chat.missing())
        assert Asking(chat, "later").wait().reply is not None
        assert "ask patient" not in said(log)


def test_they_are_not_asked_a_third_time() -> None:
    with model() as chat:
        first = Asking(chat, "loop")
        wait_for(lambda: first.texts)
        waiting = Asking(chat, "patient " * 500)
        for text in (first.texts, waiting.texts):
            wait_for(lambda: chat.status()["in_work"] == "1" and text)  # noqa: B023
            os.kill(chat._process.pid, signal.SIGKILL)
            wait_for(lambda: chat.missing())
        assert waiting.wait().error.code == ErrorCode.MODEL_FAILED
        wait_for(lambda: not chat.missing())
        assert chat.status()["restarts"] == "2"


@pytest.mark.parametrize(
    ("question", "watch", "words"),
    [
        ("stuck", {"stuck_s": 0.5}, "got nowhere for 0.5 s"),
        ("halt " * 20, {"silent_s": 1.0}, "no sign of life from it for 1 s"),
        ("loop", {"answer_s": 0.5}, "took longer than 0.5 s"),
        ("deaf", {"answer_s": 0.5, "stop_s": 0.3}, "took longer than 0.5 s"),
    ],
)
def test_who_is_stuck_is_ended_and_the_asker_told(question: str, watch: dict[str, float], words: str) -> None:
    with model(watch=WatchConfig(backoff_s=0.05, beat_s=0.05, **watch)) as chat:
        pid = chat._process.pid
        error = Asking(chat, question).wait().error
        assert error is not None and error.code == ErrorCode.MODEL_FAILED and words in str(error)
        if question != "loop":
            wait_for(lambda: chat.missing())
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        wait_for(lambda: not chat.missing())
        assert Asking(chat, "later").wait().reply.text.startswith("later")
        assert chat.status()["restarts"] == ("0" if question == "loop" else "1")


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("oom", "ran out of memory (CUDA out of memory. Tried to allocate 2.00 GiB.); give it fewer or smaller images"),
        ("odd", "ValueError: nobody thought of this"),
        ("refuse", "9000 tokens; 1000 fit"),
    ],
)
def test_what_one_question_does_costs_no_restart(question: str, words: str) -> None:
    with model() as chat:
        for _ in range(2):
            error = Asking(chat, question).wait().error
            assert error is not None and error.code == ErrorCode.MODEL_FAILED and words in str(error)
        assert Asking(chat, "later").wait().reply is not None
        assert chat.status()["restarts"] == "0"


def test_faults_without_end_are_a_reason_to_start_again() -> None:
    with model() as chat:
        for _ in range(3):
            assert Asking(chat, "odd").wait().error is not None
        wait_for(lambda: chat.missing())
        assert "3 faults in a row" in chat.missing()
        wait_for(lambda: not chat.missing())


def test_memory_for_all_together_is_short_so_they_go_one_by_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with model(Config(log=str(log))) as chat:
        busy = Asking(chat, "busy " * 10)
        wait_for(lambda: busy.texts)
        both = [Asking(chat, "together"), Asking(chat, "oom"), Asking(chat, "fine")]
        assert both[0].wait().reply and both[1].wait().error and both[2].wait().reply
        assert "memory" in str(both[1].error)


def test_reading_ahead_that_kills_is_not_tried_for_ever(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with model(Config(log=str(log))) as chat:
        chat.warm(chat_of("die"))
        wait_for(lambda: chat.status()["restarts"] == "1" and not chat.missing())
        chat.warm(chat_of("die"))
        assert Asking(chat, "question").wait().reply is not None
        chat.warm(chat_of("scene"))
        wait_for(lambda: "warm scene" in said(log))
        assert said(log).count("warm die") == 1


def test_a_model_that_cannot_be_loaded_says_why_and_is_tried_when_asked(tmp_path: Path) -> None:
    watch = WatchConfig(backoff_s=0.05, retry_s=0.3, beat_s=0.05)
    with model(Config("missing"), watch, ready=False) as chat:
        wait_for(lambda: "could not be loaded" in chat.missing())
        assert "/nowhere: it holds no config.json" in chat.missing() and "tried again in" in chat.missing()
        with pytest.raises(ChatError, match="it holds no config") as caught:
            chat.ask(chat_of("x"), 5)
        assert caught.value.code == ErrorCode.NOT_READY


def test_a_model_that_dies_while_it_is_loaded_is_left_alone_until_there_is_a_mend(tmp_path: Path) -> None:
    mend = tmp_path / "mend"
    watch = WatchConfig(backoff_s=0.05, retry_s=0.5, beat_s=0.05)
    with model(Config(str(mend)), watch, ready=False) as chat:
        wait_for(lambda: "died 3 times while it was loaded" in chat.missing())
        mend.touch()
        wait_for(lambda: not chat.missing())
        assert Asking(chat, "later").wait().reply is not None


def test_loading_without_end_is_given_up() -> None:
    with model(Config(load_s=100.0), WatchConfig(load_s=0.3, backoff_s=0.05), ready=False) as chat:
        wait_for(lambda: "could not be loaded" in chat.missing())
        assert "died 3 times while it was loaded, at last: it was not loaded within 0.3 s" in chat.missing()


def test_what_is_not_installed_is_named(tmp_path: Path) -> None:
    (tmp_path / "engine_without_torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')")
    made = TransformersChat(Config(), PATIENT, engine="engine_without_torch:Engine")
    try:
        wait_for(lambda: "could not be loaded" in made.missing())
        assert "the Python package torch is not installed: pip install torch" in made.missing()
    finally:
        made.close()


def test_loading_tells_how_far_it_is() -> None:
    with model(Config(load_s=1.0), ready=False) as chat:
        assert wait_for(lambda: "40%" in chat.missing() and chat.missing()).startswith("loading the model")
        with pytest.raises(ChatError, match="loading the model"):
            chat.ask(chat_of("x"), 5)
        wait_for(lambda: not chat.missing())


def test_what_it_cannot_read_ends_it_rather_than_leaving_it_deaf() -> None:
    with model() as chat:
        chat._process.send(wire.Forget(("never sent",)))
        wait_for(lambda: chat.status()["restarts"] == "1" and not chat.missing())
        assert "exit code 70" in chat.status()["last_fault"]
        assert Asking(chat, "later").wait().reply is not None


def test_a_question_that_got_lost_on_the_way_is_asked_again() -> None:
    with model(watch=WatchConfig(stuck_s=0.5, backoff_s=0.05, beat_s=0.05)) as chat:
        time.sleep(1.0)  # nothing to do for longer than stuck_s is no reason
        assert chat.status()["restarts"] == "0"
        chat._process.send = lambda message: None
        assert Asking(chat, "lost").wait().reply is not None
        assert "got nowhere for 0.5 s" in chat.status()["last_fault"]


@pytest.mark.parametrize("question", ["loop", "stuck", "halt " * 50])
def test_closing_ends_the_process_within_seconds_whatever_it_does(question: str) -> None:
    with model() as chat:
        pid = chat._process.pid
        asked = Asking(chat, question)
        wait_for(lambda: chat.status()["in_work"] == "1")
        time.sleep(0.2)
        start = time.monotonic()
        chat.close()
        assert time.monotonic() - start < 4
        assert asked.wait().error.code == ErrorCode.CANCELLED
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_no_process_is_left_when_its_owner_is_killed(tmp_path: Path) -> None:
    """Also when no thread of it can notice: the engine hangs, and all its threads stand still."""
    log = tmp_path / "log"
    code = f"""
import threading, time
from fake_engine import Config
from s3d_ros.answer.transformers_chat import TransformersChat
from test_model_process import chat_of
chat = TransformersChat(Config(log={str(log)!r}), engine="fake_engine:Engine")
while chat.missing(): time.sleep(0.01)
chat.ask(chat_of("stuck"), 5)
"""
    owner = subprocess.Popen([sys.executable, "-c", code])
    pid = int(wait_for(lambda: [line for line in said(log) if line.startswith("loaded")])[0].split()[1])
    wait_for(lambda: "ask stuck" in said(log))
    os.kill(pid, signal.SIGSTOP)
    owner.kill()
    owner.wait()
    wait_for(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2], 10)
