"""What a question costs a vision-language model, on a scene that it has read and on one that it has not.

The model is a Qwen2.5-VL with random weights: small on a CPU, where only the ratios mean something, and with the shape
of the 7B one on a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from s3d_ros.chat import Chat, ChatError, ChatImage, ChatReply, Turn
from s3d_ros.offline.random_vlm import SEVEN_B, SMALL, random_vlm
from s3d_ros.vlm.config import ModelConfig
from s3d_ros.vlm.engine import Asked, Engine

_FRAMES = 32
_FRAME_HW, _BEV_HW = (384, 512), (512, 512)
_NEW_TOKENS = 24
_AT_ONCE = 8
_REPEATS = 3
_LIMIT_SECOND, _LIMIT_NEWEST, _LIMIT_BATCH, _LIMIT_CANCEL_S = 10.0, 3.0, 3.0, 0.2
_GPU_FIRST_TOKEN_S, _GPU_KEYFRAME_S = 0.1, 0.15
# Dense bfloat16, as the makers state it, by part of the name; longer names first
_PEAK_FLOPS = {"H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
_QUESTIONS = (
    "Where is the chair nearest to the table?",
    "How many mugs are on the desk, left of the lamp?",
    "Describe the corner by the window with its kettle.",
    "Is <OBJ012> in front of <OBJ007>?",
    "How many books lie on the shelf?",
    "Which chair could the robot sit on?",
    "What stands here, facing the window?",
    "Answer with a single word: is the lamp on?",
)


@dataclass
class _Pictures:
    """Makes pictures of noise, each with a key of its own."""

    random: np.random.Generator
    made: int = 0

    def __call__(self, height_width: tuple[int, int]) -> ChatImage:
        self.made += 1
        return ChatImage(f"{self.made}", self.random.integers(0, 256, (*height_width, 3), dtype=np.uint8))


def bench_vlm(console: Console) -> dict[str, Any]:
    """Measure; ``holds`` tells whether every limit does."""
    on_gpu = torch.cuda.is_available()
    shape = SEVEN_B if on_gpu else SMALL
    if not on_gpu:
        torch.set_num_threads(1)  # several wait for one another: on a machine with other work no ratio would be true
    with console.status("making the model"):
        model, processor, device = random_vlm(shape, "cuda:0" if on_gpu else "cpu")
    engine = Engine.of(ModelConfig(model=shape.name, scene_cache_gb=8.0), model, processor, device)
    make = _Pictures(np.random.default_rng(0))
    figures: dict[str, Any] = {"model": shape.name, "device": device, "threads": torch.get_num_threads()}
    with console.status("asking"):
        _ask(engine, _chat([make(_FRAME_HW)], make(_BEV_HW), _QUESTIONS[0]))  # the first kernels are slow
        rows = [_first_tokens(engine, make) for _ in range(_REPEATS)]
        for name in rows[0]:
            figures[name] = float(np.median([r[name] for r in rows]))
        figures |= _at_once(engine, make)
        figures |= _cancelled(engine, make)
        if on_gpu:
            figures |= _fraction_of_peak(engine, make, model)
    limits = _limits(figures, on_gpu)
    _show(console, figures, limits)
    return {**figures, "holds": all(good for _, _, good in limits)}


def _chat(frames: Sequence[ChatImage], bev: ChatImage, question: str) -> Chat:
    parts: list[str | ChatImage] = ["The robot looked around. "]
    for k, frame in enumerate(frames):
        parts += [f"Picture {k + 1}, seen 12.5 s ago: ", frame, "\n"]
    parts += ["The view from above: ", bev, "\n"]
    return Chat("You are a helpful assistant.", (Turn("user", (*parts, question)),), shared_parts=len(parts))


def _ask(engine: Engine, chat: Chat, tokens: int = 1, cancelled: Callable[[], bool] = lambda: False) -> ChatReply:
    return _ask_all(engine, [Asked(chat, tokens, cancelled)])[0]


def _ask_all(engine: Engine, asked: Sequence[Asked]) -> list[ChatReply]:
    replies: dict[int, ChatReply] = {}
    for index, event in engine.ask(asked):
        if isinstance(event, ChatError):
            raise event
        if isinstance(event, ChatReply):
            replies[index] = event
    return [replies[k] for k in range(len(asked))]


def _first_tokens(engine: Engine, make: _Pictures) -> dict[str, float]:
    """Time to the first token (s), as what changed since the last question grows."""
    clock = _clock(engine)

    def first_token(chat: Chat) -> float:
        started = clock()
        _ask(engine, chat)
        return clock() - started

    engine.forget()
    frames, bev = [make(_FRAME_HW) for _ in range(_FRAMES)], make(_BEV_HW)
    began = time.perf_counter()
    first = first_token(_chat(frames, bev, _QUESTIONS[0]))
    began = time.perf_counter() - began
    second = first_token(_chat(frames, bev, _QUESTIONS[1]))
    frames, bev = [*frames[:-1], make(_FRAME_HW)], make(_BEV_HW)
    newest = first_token(_chat(frames, bev, _QUESTIONS[3]))
    place = int(make.random.integers(1, _FRAMES - 1))
    frames = [*frames[:place], make(_FRAME_HW), *frames[place + 1 :]]
    anywhere = first_token(_chat(frames, bev, _QUESTIONS[4]))
    frames, bev = [*frames[1:], make(_FRAME_HW)], make(_BEV_HW)
    oldest_left = first_token(_chat(frames, bev, _QUESTIONS[2]))
    keyframe = _chat([*frames[:-1], make(_FRAME_HW)], bev, _QUESTIONS[5])
    started = clock()
    engine.warm(keyframe)
    return {
        "prompt_tokens": len(engine.prompts.make(keyframe)),
        "first_s": first,
        "first_wall_s": began,
        "second_s": second,
        "newest_and_bev_s": newest,
        "random_place_s": anywhere,
        "random_place": place,
        "oldest_left_s": oldest_left,
        "keyframe_s": clock() - started,
    }


def _clock(engine: Engine) -> Callable[[], float]:
    """Return what to time with: on a CPU what this process computes, so that other work there does not count."""
    return time.perf_counter if engine.device.startswith("cuda") else time.process_time


def _at_once(engine: Engine, make: _Pictures) -> dict[str, float]:
    """Time eight questions one after the other, and at once, on a scene that was read."""
    frames, bev = [make(_FRAME_HW) for _ in range(_FRAMES)], make(_BEV_HW)
    asked = [Asked(_chat(frames, bev, q), _NEW_TOKENS) for q in _QUESTIONS[:_AT_ONCE]]
    engine.warm(asked[0].chat)
    rows, clock = [], _clock(engine)
    for _ in range(_REPEATS):
        started = clock()
        alone = [_ask_all(engine, [one])[0] for one in asked]
        between = clock()
        together = _ask_all(engine, asked)
        rows.append((between - started, clock() - between))
    same = sum(a.text == b.text for a, b in zip(alone, together, strict=True))
    alone_s, together_s = np.median(rows, axis=0)
    return {
        "eight_alone_s": float(alone_s),
        "eight_together_s": float(together_s),
        "eight_same_answers": same,
        "reply_tokens": sum(r.new_tokens for r in together),
    }


def _cancelled(engine: Engine, make: _Pictures) -> dict[str, float]:
    """Cancel at moments spread over a question on a new scene, and over a long reply: the longest wait, and memory."""
    frames, bev = [make(_FRAME_HW) for _ in range(_FRAMES)], make(_BEV_HW)
    question = _chat(frames, bev, _QUESTIONS[0])
    engine.forget()
    whole = _ask(engine, question)
    waits, left = [], []
    for share in (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95):
        engine.forget()
        waits.append(_wait(engine, question, 1, share * whole.first_token_s))
    engine.warm(question)
    before = _memory(engine)
    for share in (0.2, 0.5, 1.0):
        waits.append(_wait(engine, question, 2000, share))
        left.append(_memory(engine) - before)
    return {"cancel_s": float(max(waits)), "left_after_cancel_bytes": float(max(left))}


def _wait(engine: Engine, chat: Chat, tokens: int, after_s: float) -> float:
    at = time.perf_counter() + after_s
    reply = _ask(engine, chat, tokens, lambda: time.perf_counter() >= at)
    return time.perf_counter() - at if reply.stopped == "cancelled" else 0.0


def _memory(engine: Engine) -> int:
    if engine.device.startswith("cuda"):
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated()
    stats = engine.stats()
    return int(stats["scene_cache_bytes"] + stats["image_cache_bytes"])


def _fraction_of_peak(engine: Engine, make: _Pictures, model: Any) -> dict[str, float]:
    """How much of the GPU's peak the language model's prefill reaches: pictures encoded already."""
    frames, bev = [make(_FRAME_HW) for _ in range(_FRAMES)], make(_BEV_HW)
    chat = _chat(frames, bev, _QUESTIONS[0])
    engine.warm(chat)
    engine.reads.clear()
    torch.cuda.synchronize()
    started = time.perf_counter()
    engine.warm(chat)
    torch.cuda.synchronize()
    took_s = time.perf_counter() - started
    text = model.config.get_text_config()
    tokens = int(engine.stats()["tokens_cached"])
    weights = sum(p.numel() for p in model.model.language_model.layers.parameters())
    attention = 2 * text.num_hidden_layers * text.hidden_size * tokens  # causal: half of 4 n d for each token
    flops = tokens * (2 * weights + attention)
    name = torch.cuda.get_device_name()
    peak = next((f for part, f in _PEAK_FLOPS.items() if part in name), float("nan"))
    return {"prefill_s": took_s, "prefill_tokens_per_s": tokens / took_s, "prefill_of_peak": flops / took_s / peak}


def _limits(figures: dict[str, Any], on_gpu: bool) -> list[tuple[str, str, bool]]:
    """Return what is limited, the limit, and whether it holds."""
    second = figures["first_s"] / figures["second_s"]
    newest = figures["first_s"] / figures["newest_and_bev_s"]
    batch = figures["eight_alone_s"] / figures["eight_together_s"]
    figures |= {"second_ratio": second, "newest_ratio": newest, "batch_ratio": batch}
    figures["random_place_ratio"] = figures["first_s"] / figures["random_place_s"]
    limits = [
        (f"second question: {second:.1f}x sooner", f"{_LIMIT_SECOND:.0f}x", second >= _LIMIT_SECOND),
        (f"newest frame and BEV new: {newest:.1f}x sooner", f"{_LIMIT_NEWEST:.0f}x", newest >= _LIMIT_NEWEST),
        (f"{_AT_ONCE} questions at once: {batch:.1f}x the throughput", f"{_LIMIT_BATCH:.0f}x", batch >= _LIMIT_BATCH),
        (
            f"cancel: {figures['cancel_s'] * 1e3:.0f} ms, {figures['left_after_cancel_bytes'] / 1e6:.1f} MB left",
            f"{_LIMIT_CANCEL_S * 1e3:.0f} ms",
            figures["cancel_s"] <= _LIMIT_CANCEL_S,
        ),
    ]
    if on_gpu:
        limits += [
            (
                f"{name}: {figures[key] * 1e3:.0f} ms",
                f"{limit * 1e3:.0f} ms",
                figures[key] <= limit,
            )
            for name, key, limit in (
                ("first token, scene unchanged", "second_s", _GPU_FIRST_TOKEN_S),
                ("a new keyframe", "keyframe_s", _GPU_KEYFRAME_S),
            )
        ]
    return limits


def _show(console: Console, figures: dict[str, Any], limits: list[tuple[str, str, bool]]) -> None:
    what = f"{figures['model']} on {figures['device']}, {figures['prompt_tokens']:.0f} tokens"
    table = Table(what, "first token" if figures["device"] != "cpu" else "first token, seconds of one core")
    for name, key in (
        ("first question, nothing read", "first_s"),
        ("second question", "second_s"),
        ("newest frame and BEV new", "newest_and_bev_s"),
        (f"frame {figures['random_place']:.0f} of {_FRAMES} new", "random_place_s"),
        ("oldest frame gone, newest and BEV new", "oldest_left_s"),
        ("a new keyframe, read ahead", "keyframe_s"),
    ):
        table.add_row(name, f"{figures[key] * 1e3:.0f} ms")
    table.add_row("first question, by the clock on the wall", f"{figures['first_wall_s'] * 1e3:.0f} ms")
    if "prefill_of_peak" in figures:
        table.add_row("prefill, of the GPU's peak", f"{figures['prefill_of_peak']:.0%}")
    console.print(table)
    table = Table("vision-language model", "limit", "holds")
    for what, limit, good in limits:
        table.add_row(what, limit, "yes" if good else "no")
    console.print(table)
