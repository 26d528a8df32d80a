"""The model's process with the real engine and a tiny model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_vlm import make_endless, make_tiny

from s3d_ros.answer.model_problems import Problem
from s3d_ros.answer.transformers_chat import TransformersChat
from s3d_ros.chat import Chat, ChatImage, ChatReply, Turn
from s3d_ros.vlm.config import ModelConfig
from s3d_ros.vlm.engine import prepare

LONG = "where is the chair " * 2000  # seconds to read, even for a tiny model


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.005)


@contextmanager
def running(directory: Path) -> Iterator[TransformersChat]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        made = TransformersChat(ModelConfig(str(directory), device="cpu"))
        wait_for(lambda: not made.missing())
        yield made
        made.close()


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransformersChat]:
    with running(make_tiny("qwen2_5_vl", tmp_path_factory.mktemp("tiny"))) as made:
        yield made


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransformersChat]:
    with running(make_endless(tmp_path_factory.mktemp("endless"))) as made:
        yield made


def asked(*parts: str | ChatImage, shared: int = 0) -> Chat:
    return Chat("You see.", (Turn("user", parts),), shared)


def test_pictures_and_text_reach_the_model_and_are_reused(chat: TransformersChat) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 96, 128, 3), dtype=np.uint8)
    scene = [ChatImage(f"picture {k}", p) for k, p in enumerate(pixels)]
    first = chat.ask(asked(*scene, "left?", shared=3), 8)
    second = chat.ask(asked(*scene, "right?", shared=3), 8)
    assert first.reused_tokens == 0 and second.reused_tokens > 3 * 10
    assert chat.count_tokens(scene[0]) * 3 < first.prompt_tokens


@pytest.mark.parametrize("shared", [0, 1])
def test_cancelled_while_it_reads_it_stops_reading(chat: TransformersChat, shared: int) -> None:
    cancelled = threading.Event()
    timer = threading.Timer(0.2, cancelled.set)
    timer.start()
    reply = chat.ask(asked(f"{shared} {LONG}", "why?", shared=shared), 4, cancelled=cancelled)
    assert reply.stopped == "cancelled" and reply.text == ""
    wait_for(lambda: chat.status()["in_work"] == "0", 10)
    assert chat.ask(asked("later"), 4).new_tokens > 0
    assert chat.status()["restarts"] == "0"


def test_a_question_does_not_wait_for_a_scene_that_is_read_ahead(chat: TransformersChat) -> None:
    scene = asked("ahead " + LONG, "why?", shared=1)
    chat.warm(scene)
    time.sleep(0.2)
    assert chat.ask(asked("quick"), 2).new_tokens > 0
    reply = chat.ask(scene, 2)
    assert reply.reused_tokens > 0, "what was read of it before and after the question is not read again"


def test_a_short_question_does_not_wait_for_a_long_answer(endless: TransformersChat) -> None:
    scene = ChatImage("scene", np.random.default_rng(3).integers(0, 255, (96, 128, 3), dtype=np.uint8))
    long, short = asked(scene, "describe it", shared=1), asked(scene, "is it on?", shared=1)
    other = asked("where is the chair " * 60, "which one?", shared=1)  # of another scene
    said: list[str] = []
    replies: list[ChatReply] = []
    cancelled = threading.Event()
    asking = threading.Thread(target=lambda: replies.append(endless.ask(long, 30000, said.append, cancelled)))
    asking.start()
    wait_for(lambda: said)
    late = [endless.ask(q, 6) for q in (short, other)]
    assert endless.status()["in_work"] == "1" and not replies, "the long one goes on"
    wait_for(lambda: len(said) > 3)
    cancelled.set()
    asking.join()
    wait_for(lambda: endless.status()["in_work"] == "0")
    alone = [endless.ask(q, 6) for q in (short, other)]
    assert [r.text for r in late] == [r.text for r in alone]
    assert [r.confidence for r in late] == pytest.approx([r.confidence for r in alone], rel=1e-4)
    said_alone = endless.ask(long, len(replies[0].text)).text  # a token is a letter at least
    assert replies[0].stopped == "cancelled" and said_alone.startswith(replies[0].text)


@pytest.mark.parametrize(
    ("error", "words", "is_broken"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "ran out of memory", False),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] . DefaultCPUAllocator: can't allocate memory"), "memory", False),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), "device-side assert", True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "illegal memory access", True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "CUDNN_STATUS", True),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), "size of tensor", False),
    ],
)
def test_torchs_errors_are_told_apart(error: Exception, words: str, is_broken: bool) -> None:
    problem = Problem.of(error)
    assert words in problem.text and problem.is_broken == is_broken
    assert problem.is_odd == ("size of tensor" in words)


def test_only_a_process_of_its_own_is_set_up_for_an_engine(chat: TransformersChat) -> None:
    """Others count on exact small numbers: loading and asking an engine must leave this process as it is."""
    assert float(torch.tensor(1e-20) * 1e-20) > 0.0
    try:
        prepare()
        assert float(torch.tensor(1e-20) * 1e-20) == 0.0
    finally:
        torch.set_flush_denormal(False)
