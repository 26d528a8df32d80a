"""Reads prompts and chooses tokens, for several questions at once.

The questions of a batch stand in one sequence, after what they share; a mask keeps each from seeing the others. So
nothing of the shared part is copied, read twice or computed twice, and a batch is as exact as a question alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import DynamicCache

from s3d_ros.chat import ChatError, ChatImage
from s3d_ros.types import ErrorCode
from s3d_ros.vlm.asking import Event, Member
from s3d_ros.vlm.batch import Batch, Piece
from s3d_ros.vlm.caches import ImageStore, Read, ReadStore
from s3d_ros.vlm.family import Family
from s3d_ros.vlm.tokens import I64, Prompt, common_prefix

_CHUNK_S = 0.06  # a piece of a prompt takes about so long, so that a cancel is heard in time
_CHUNK_TOKENS = (64, 4096)
_FIRST_CHUNK = 256
_ROOM = 4096  # tokens of replies that memory is taken for beforehand; few replies are as long as they may be
_BATCH_TOKENS = 16384  # of questions' own; then nobody joins: those that have ended stay in the way until all have

# Called with the keys of what a batch has before its questions' own, and how many questions it holds: who joins it?
Joining = Callable[[I64, int], Sequence[Member]]


def _nobody(shared: I64, active: int) -> Sequence[Member]:
    return ()


class Decoder:
    """Runs batches. keep: what was read can be cut, so it is kept for the next question."""

    def __init__(self, family: Family, reads: ReadStore, images: ImageStore, keep: bool) -> None:
        self._family = family
        self._reads = reads
        self._images = images
        self._keep = keep
        self._chunk = _FIRST_CHUNK
        self._last_image: tuple[Any, tuple[torch.Tensor, ...]] | None = None
        self._stops = _stop_tokens(family)
        self.counts = dict.fromkeys(("prompt_tokens", "reused_tokens", "new_tokens", "encoded", "replies"), 0)

    def forget(self) -> None:
        self._last_image = None
        self._chunk = _FIRST_CHUNK

    def warm(self, member: Member) -> None:
        """Read the member's shared tokens and keep them."""
        keys = member.prompt.keys[: member.shared]
        if self._reads.longest(keys) == len(keys):
            return
        read, known = self._reads.take(keys)
        self._read_prompt(member, read, known, len(keys), lambda: member.cancelled)
        read.settle(read.keys, member.shared)
        self._reads.put(read)

    def run(self, members: Sequence[Member], joining: Joining = _nobody) -> Iterator[Event]:
        """Answer the members; they share their prompts up to a few tokens. joining: asked between tokens."""
        waiting = []
        for member in members:
            if member.cancelled:
                yield self._finished(member, "cancelled")
            else:
                waiting.append(member)
        if waiting and self._keep:
            yield from self._run_kept(waiting, joining)
        else:
            for member in waiting:
                yield from self._run_whole(member)

    def _run_kept(self, members: list[Member], joining: Joining) -> Iterator[Event]:
        leader, alone = members[0], len(members) == 1
        base = min(len(m.prompt) for m in members) - 1
        for member in members[1:]:
            base = min(base, common_prefix(leader.prompt.keys, member.prompt.keys))
        read, known = self._reads.take(leader.prompt.keys[:base])
        if alone:
            base = max(known, min(base, leader.shared))
        for member in members:
            member.reused = known
            member.start_from(base)
        replies = min(_ROOM, sum(m.asked.max_new_tokens for m in members))
        read.cache.reserve(max(len(m.prompt) for m in members) + replies)
        settled = read.keys, leader.shared
        try:
            read_on = self._read_prompt(leader, read, known, base, lambda: all(m.cancelled for m in members))
            settled = read.keys, leader.shared
            if read_on:
                batch = Batch(self._family, read.cache, base)
                yield from self._decode(batch, members, lambda active: joining(leader.prompt.keys[:base], active))
                if not batch.mixed and not leader.cancelled:
                    said = np.array(leader.tokens, dtype=np.int64)
                    settled = np.concatenate([leader.prompt.keys, said])[: read.cache.length], leader.shared
            else:
                for member in members:
                    yield self._finished(member, "cancelled")
        except GeneratorExit:
            pass
        except BaseException:
            settled = read.keys[:0], 0  # what the cache holds is not known
            raise
        finally:
            read.settle(*settled)
            self._reads.put(read)

    def _read_prompt(self, member: Member, read: Read, start: int, stop: int, cancelled: Callable[[], bool]) -> bool:
        """Read the prompt's tokens from start to stop, piece by piece; returns False when cancelled."""
        prompt = member.prompt
        at = start
        while at < stop:
            end = min(at + self._chunk, stop)
            features = self._features(prompt, at, end, cancelled)
            if features is None or cancelled():
                return False
            began = time.perf_counter()
            with torch.inference_mode():
                self._family.step(
                    self._on(torch.from_numpy(prompt.ids[at:end])),
                    self._on(member.positions[:, at:end]),
                    read.cache,
                    features,
                )
            self._took(end - at, began)
            read.keys = prompt.keys[:end]
            at = end
        return True

    def _decode(
        self, batch: Batch, members: list[Member], joining: Callable[[int], Sequence[Member]]
    ) -> Iterator[Event]:
        """Read what the members do not share, piece by piece, while those that are read choose tokens; until all end.

        Who joins reads beside the others' tokens, so that nobody waits for anybody's long prompt.
        """
        active = members
        while active:
            for member in [m for m in active if m.cancelled]:
                yield self._finished(member, "cancelled")
            active = [m for m in active if not m.done]
            pieces = self._pieces(active)
            if pieces:
                began = time.perf_counter()
                chosen = self._step(batch, pieces)
                self._took(sum(len(p.ids) for p in pieces), began)
                for member, token, log_prob in chosen:
                    yield from self._chosen(member, token, log_prob)
            active = [m for m in active if not m.done]
            if active and batch.own_tokens < _BATCH_TOKENS:
                active += joining(len(active))

    def _pieces(self, members: Sequence[Member]) -> list[Piece]:
        """Return what each reads next: a token, or, as long as there is room for it, a piece of its prompt.

        Who has the least left to read goes first: short questions don't wait for long ones.
        """
        pieces = []
        room = self._chunk
        for member in sorted(members, key=lambda m: len(m.prompt) - m.at):
            if member.is_read:
                pieces.append(Piece(member, member.at, *member.row(member.at)))
                continue
            stop = min(member.at + room, len(member.prompt))
            if stop == member.at:
                continue  # it waits for the others
            features = self._features(member.prompt, member.at, stop, lambda m=member: m.cancelled)  # type: ignore[misc]
            if features is None:
                continue  # cancelled
            room -= stop - member.at
            pieces.append(Piece(member, stop, *member.row(stop), features))
        return pieces

    def _step(self, batch: Batch, pieces: Sequence[Piece]) -> list[tuple[Member, int, float]]:
        """Read the pieces; return what those that are read by now choose."""
        with torch.inference_mode():
            tokens, log_probs = _choose(batch.step(pieces))
        for piece in pieces:
            piece.member.at = piece.stop
        return list(zip((p.member for p in pieces if p.member.is_read), tokens, log_probs, strict=True))

    def _run_whole(self, member: Member) -> Iterator[Event]:
        """Answer one question with the model's own cache, from nothing."""
        family, prompt = self._family, member.prompt
        features = self._features(prompt, 0, len(prompt), lambda: member.cancelled)
        if features is None:
            yield self._finished(member, "cancelled")
            return
        cache = DynamicCache(config=family.model.config)
        ids = self._on(torch.from_numpy(prompt.ids))
        positions = self._on(member.positions)
        more: dict[str, Any] = {}
        if family.needs_types:
            more[family.needs_types] = self._on(torch.from_numpy((prompt.image >= 0).astype(np.int64))[None])
        while not member.done:
            if member.cancelled:
                yield self._finished(member, "cancelled")
                return
            with torch.inference_mode():
                logits = family.step(ids, positions, cache, features, **more)
                tokens, log_probs = _choose(logits[-1:])
            features, more = (), {}
            yield from self._chosen(member, tokens[0], log_probs[0])
            member.at = len(prompt)
            ids, positions = (self._on(t) for t in member.row(member.at))

    def _chosen(self, member: Member, token: int, log_prob: float) -> Iterator[Event]:
        """Add a token; yield the text so far or the reply."""
        if not member.first_token_s:
            member.first_token_s = time.perf_counter() - member.started
        if log_prob != log_prob:
            member.done = True
            yield member.index, ChatError(ErrorCode.MODEL_FAILED, "the model's output is not a number; try float32")
        elif token in self._stops:
            if not member.tokens:
                member.log_probs.append(log_prob)
            yield self._finished(member, "end")
        else:
            member.tokens.append(token)
            member.log_probs.append(log_prob)
            if len(member.tokens) >= member.asked.max_new_tokens:
                yield self._finished(member, "length")
            elif member.cancelled:
                yield self._finished(member, "cancelled")
            else:
                text = self._text(member.tokens).rstrip("\ufffd")  # the rest of that character is still to come
                if text != member.text:
                    member.text = text
                    yield member.index, text

    def _finished(self, member: Member, stopped: Any) -> Event:
        reply = member.reply(self._text(member.tokens), stopped)
        for name in ("prompt_tokens", "reused_tokens", "new_tokens"):
            self.counts[name] += getattr(reply, name)
        self.counts["replies"] += 1
        return member.index, reply

    def _text(self, tokens: list[int]) -> str:
        text: str = self._family.processor.tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def _features(
        self, prompt: Prompt, start: int, stop: int, cancelled: Callable[[], bool]
    ) -> tuple[torch.Tensor, ...] | None:
        """Return the features of the pictures' tokens from start to stop; () if none are. None when cancelled."""
        of, row = prompt.image[start:stop], prompt.row[start:stop]
        parts = []
        for k in dict.fromkeys(of[of >= 0].tolist()):
            if cancelled():
                return None
            rows: I64 = row[of == k]
            features = self._image(prompt.images[k])
            parts.append(tuple(f[int(rows[0]) : int(rows[-1]) + 1] for f in features))
        return tuple(torch.cat(layer) for layer in zip(*parts, strict=True))

    def _image(self, image: ChatImage) -> tuple[torch.Tensor, ...]:
        key = image.key, image.pixels.shape
        if self._last_image is not None and self._last_image[0] == key:
            return self._last_image[1]
        features = self._images.get(key)
        if features is None:
            with torch.inference_mode():
                features = self._family.encode(image)
            self._images.put(key, features)
            self.counts["encoded"] += 1
        self._last_image = key, features  # where no picture may be kept, its tokens may still come in two pieces
        return features

    def _on(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self._family.device)

    def _took(self, tokens: int, began: float) -> None:
        """Make the next piece such that it takes about ``_CHUNK_S``. A small one tells little of a large one."""
        if self._family.device.type == "cuda":
            torch.cuda.synchronize()
        took_s = max(1e-6, time.perf_counter() - began)
        low, high = _CHUNK_TOKENS
        if tokens >= self._chunk or (tokens >= low and took_s > _CHUNK_S):
            self._chunk = int(min(high, max(low, min(2 * self._chunk, tokens / took_s * _CHUNK_S))))


def _choose(logits: torch.Tensor) -> tuple[list[int], list[float]]:
    """Return the likeliest token of each row and its log-probability."""
    best, token = logits.float().log_softmax(-1).max(-1)
    return token.tolist(), best.tolist()


def _stop_tokens(family: Family) -> set[int]:
    named = [family.model.generation_config.eos_token_id, family.processor.tokenizer.eos_token_id]
    return {int(t) for n in named if n is not None for t in (n if isinstance(n, list | tuple) else [n])}
