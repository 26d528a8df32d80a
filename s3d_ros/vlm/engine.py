"""A chat model in this process: reads scenes ahead, answers several questions at once, and remembers what it has read.

One thread calls it. It belongs in a process of its own: after a fault of the GPU nothing in that process can be
trusted.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from s3d_ros.chat import Chat, ChatError, ChatReply, Part
from s3d_ros.types import ErrorCode
from s3d_ros.vlm.asking import Asked, Event, Member
from s3d_ros.vlm.beside import DEPTH
from s3d_ros.vlm.caches import ImageStore, ReadStore, uncuttable_layers
from s3d_ros.vlm.config import ModelConfig, ModelError
from s3d_ros.vlm.decoding import Decoder
from s3d_ros.vlm.family import Family
from s3d_ros.vlm.loading import load_model
from s3d_ros.vlm.parts import FeaturePart, load_parts
from s3d_ros.vlm.tokens import I64, PromptMaker, common_prefix
from s3d_ros.vlm.weights import find_model

_LOG = logging.getLogger(__name__)
_GB = 1e9
_OWN_TOKENS = 2048  # questions that need more than these beyond what they share are not read at once
_AGAIN_TOKENS = 256  # nor those of which the scene, which could be read once for all of them, is larger by so much


def prepare() -> None:
    """Set up the process that an engine has for itself, before it computes anything.

    Numbers below 1e-38 are taken for 0: sharp attention leaves many such shares, and a product with them takes ten
    times as long. Threads that are there already keep their way.
    """
    torch.set_flush_denormal(True)


class Engine:
    """A loaded model. Raises ModelError if it can't be loaded.

    context_tokens: prompt and reply together. uncached: why nothing that was read can be kept, "" if it can.
    """

    def __init__(self, config: ModelConfig, on_progress: Callable[[str, float], None] = lambda stage, done: None):
        model, processor, device = load_model(config, on_progress)
        parts = load_parts(find_model(config.model, True), model, device)
        self._setup(config, model, processor, device, parts)

    @classmethod
    def of(
        cls, config: ModelConfig, model: Any, processor: Any, device: str, parts: Sequence[FeaturePart] = ()
    ) -> Engine:
        """Return an engine for a model that is loaded already, with what changes its pictures' features."""
        engine = cls.__new__(cls)
        engine._setup(config, model, processor, device, parts)
        return engine

    def _setup(
        self, config: ModelConfig, model: Any, processor: Any, device: str, parts: Sequence[FeaturePart]
    ) -> None:
        self.name = Path(config.model).name or type(model).__name__
        self.device = device
        self._config = config
        self.family = family = Family(model, processor, config.tile_images, parts)
        text = model.config.get_text_config()
        own_limit = int(getattr(text, "max_position_embeddings", 0) or 0)
        asked_limit = config.max_context_tokens
        self.context_tokens = min(own_limit, asked_limit) if own_limit and asked_limit else own_limit or asked_limit
        self.prompts = PromptMaker(
            processor.tokenizer, processor.chat_template, family.placeholder, family.image_token_id, family.layout
        )
        kinds = uncuttable_layers(model.config)
        self.uncached = ""
        if kinds:
            self.uncached = f"{self.name} reads every question from nothing: its {', '.join(kinds)} can't be cut"
            _LOG.warning(self.uncached)
        self.reads = ReadStore(text.num_hidden_layers, int(config.scene_cache_gb * _GB), config.cached_scenes)
        self.images = ImageStore(int(config.image_cache_gb * _GB))
        self._decoder = Decoder(family, self.reads, self.images, not self.uncached)
        self._out_of_memory = 0

    def count_tokens(self, part: Part) -> int:
        """Return how many tokens a part takes, never too few."""
        return self.prompts.count(part)

    def warm(self, chat: Chat, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Read what all questions about a scene share; returns early when cancelled. Raises ChatError."""
        if self.uncached or not chat.shared_parts:
            return
        self._check_beside(chat)
        chat = self._prepared(chat)
        prompt = self.prompts.make(chat)
        shared = common_prefix(self.prompts.shared_tokens(chat), prompt.keys)
        if shared >= self.context_tokens:
            raise ChatError(ErrorCode.BAD_QUESTION, self._too_long(shared, 0))
        member = Member(0, Asked(chat, 0, cancelled), prompt, self.family.positions(prompt), shared)
        for attempt in range(2):
            try:
                self._decoder.warm(member)
                return
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                text = self._memory_text(error)
            self._drop_caches()
            if attempt:
                raise ChatError(ErrorCode.MODEL_FAILED, text)

    def ask(self, asked: Sequence[Asked], more: Callable[[], Sequence[Asked]] = lambda: ()) -> Iterator[Event]:
        """Answer several questions at once: yield (index, text so far), and last (index, ChatReply or ChatError).

        more: asked between tokens for new questions, whose indices go on from those of ``asked``. In their order they
        join the running batch; one that shares too little with it waits for the next, and those behind it with it.
        """
        queue = _Queue(self._member, self._config.max_batch, more)
        queue.add(asked)
        while True:
            yield from queue.refused()
            group = self._group(queue.waiting)
            if not group:
                return
            queue.waiting = [m for m in queue.waiting if m not in group]
            yield from self._answer(group, queue)
            queue.fetch()

    def forget(self) -> None:
        """Drop all that was read and encoded."""
        self.reads.clear()
        self.images.clear()
        self._decoder.forget()

    def stats(self) -> dict[str, Any]:
        """Return what the caches hold and what they were good for."""
        return {
            "scene_cache_bytes": self.reads.bytes,
            "scenes_cached": len(self.reads),
            "tokens_cached": self.reads.tokens,
            "scenes_evicted": self.reads.evicted,
            "image_cache_bytes": self.images.bytes,
            "images_cached": len(self.images),
            "out_of_memory": self._out_of_memory,
            "uncached": self.uncached,
            **self._decoder.counts,
        }

    def _member(self, index: int, asked: Asked) -> Member:
        started = time.perf_counter()
        if not asked.chat.turns or asked.chat.turns[-1].role != "user":
            raise ChatError(ErrorCode.BAD_QUESTION, "there is nothing to answer: the last turn must be the user's")
        self._check_beside(asked.chat)
        asked = replace(asked, chat=self._prepared(asked.chat))
        try:
            prompt = self.prompts.make(asked.chat)
        except ModelError as error:
            raise ChatError(ErrorCode.MODEL_FAILED, f"{self.name}: {error}") from error
        except ValueError as error:  # a picture that its processor does not take
            raise ChatError(ErrorCode.BAD_QUESTION, f"{self.name} can't take this: {error}") from error
        if self.context_tokens and len(prompt) + asked.max_new_tokens > self.context_tokens:
            raise ChatError(ErrorCode.BAD_QUESTION, self._too_long(len(prompt), asked.max_new_tokens))
        shared = 0
        if asked.chat.shared_parts:
            shared = common_prefix(self.prompts.shared_tokens(asked.chat), prompt.keys)
        return Member(index, asked, prompt, self.family.positions(prompt), shared, started)

    def _prepared(self, chat: Chat) -> Chat:
        for part in self.family.parts:
            chat = part.prepared(chat)
        return chat

    def _check_beside(self, chat: Chat) -> None:
        """Refuse pictures without what the model's parts need: it would answer, and not know where things are."""
        needing = [p.name for p in self.family.parts if DEPTH in p.needs]
        if needing and chat.images and not any("depth_mm" in image.beside for image in chat.images):
            raise ChatError(
                ErrorCode.MODEL_FAILED,
                f"{self.name} was trained with {', '.join(needing)} and needs depth and pose beside its pictures, "
                "which these have not: ask a run of s3d replay (s3d ask RUN), and name the model by its directory",
            )

    def _group(self, waiting: list[Member]) -> list[Member]:
        """Return the first question, and those that differ little enough from it to be read at once."""
        group, base = waiting[:1], len(waiting[0].prompt) - 1 if waiting else 0
        for member in waiting[1:]:
            together = min(base, _base(group[0].prompt.keys, member.prompt.keys))
            both = (*group, member)
            little = max(len(m.prompt) for m in both) - together <= _OWN_TOKENS
            little &= max(m.shared for m in both) - together <= _AGAIN_TOKENS
            if not self.uncached and len(group) < self._config.max_batch and little:
                group, base = [*group, member], together
        return group

    def _answer(self, group: list[Member], queue: _Queue) -> Iterator[Event]:
        """Answer a group. Out of memory: forget all that is kept, and once more, one after the other."""
        text = ""
        taken = list(group)

        def joining(shared: I64, active: int) -> Sequence[Member]:
            joined = queue.join(shared, active)
            taken.extend(joined)
            return joined

        try:
            for event in self._decoder.run(group, joining):
                yield event
                yield from queue.refused()
        except ModelError as error:
            text = f"{self.name}: {error}"
            yield from ((m.index, ChatError(ErrorCode.MODEL_FAILED, text)) for m in taken if not m.done)
            return
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            text = self._memory_text(error)
        if not text:
            return
        self._drop_caches()
        for member in taken:
            if member.done:
                continue
            member.restart()
            try:
                yield from self._decoder.run([member])
                continue
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
            self._drop_caches()
            yield member.index, ChatError(ErrorCode.MODEL_FAILED, text)

    def _drop_caches(self) -> None:
        self._out_of_memory += 1
        self.forget()
        gc.collect()
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def _memory_text(self, error: BaseException) -> str:
        _LOG.warning("out of memory on %s, dropping what was read: %s", self.device, error)
        return (
            f"{self.name} ran out of memory on {self.device}; use fewer or smaller pictures, a smaller "
            "scene_cache_gb, quantization, or a smaller model"
        )

    def _too_long(self, tokens: int, reply: int) -> str:
        return (
            f"the question and its pictures take {tokens:,} tokens and the reply up to {reply:,}, but {self.name} "
            f"reads at most {self.context_tokens:,}: use fewer or smaller pictures, or a shorter question"
        )


class _Queue:
    """Questions that wait for their batch. member: makes one of what was asked, or raises ChatError."""

    def __init__(self, member: Callable[[int, Asked], Member], most: int, more: Callable[[], Sequence[Asked]]) -> None:
        self.waiting: list[Member] = []
        self._member = member
        self._most = most
        self._more = more
        self._count = 0
        self._refused: list[Event] = []

    def add(self, asked: Sequence[Asked]) -> None:
        for one in asked:
            index, self._count = self._count, self._count + 1
            try:
                self.waiting.append(self._member(index, one))
            except ChatError as error:
                self._refused.append((index, error))

    def fetch(self) -> None:
        self.add(self._more())

    def join(self, read: I64, active: int) -> list[Member]:
        """Return who joins a running batch of so many that begins with these tokens; and who is to be told it ended."""
        self.fetch()
        joining = [m for m in self.waiting if m.cancelled]
        waiting = [m for m in self.waiting if m not in joining]
        for member in waiting[: max(0, self._most - active)]:
            base = _base(read, member.prompt.keys, 0)
            if len(member.prompt) - base > _OWN_TOKENS or _are_several(member, waiting, base):
                break  # nobody overtakes it, else it would wait for as long as others come
            member.start_from(base)
            member.reused = base
            joining.append(member)
        self.waiting = [m for m in waiting if m not in joining]
        return joining

    def refused(self) -> list[Event]:
        """Return, once, the errors of questions that can't be answered."""
        refused, self._refused = self._refused, []
        return refused


def _base(a: I64, b: I64, left: int = 1) -> int:
    """Return how much two prompts share, leaving b its last token, and a so many."""
    return min(common_prefix(a, b), len(a) - left, len(b) - 1)


def _are_several(member: Member, waiting: Sequence[Member], base: int) -> bool:
    """Tell whether others wait that ask about the same scene, and all would read it anew from ``base`` on.

    Who asks about a scene alone joins: it would read as much on its own.
    """
    if member.shared - base <= _AGAIN_TOKENS:
        return False
    return any(_base(member.prompt.keys, m.prompt.keys) >= member.shared for m in waiting if m is not member)


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "can't allocate memory" in str(error) or "CUDA out of memory" in str(error)


__all__ = ["Asked", "ChatReply", "Engine", "Event"]
