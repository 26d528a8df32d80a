"""What a training step gets: samples of one micro-batch as tensors, and what the parts of the run made for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch

from s3d_ros.chat import ChatImage
from s3d_ros.vlm.tokens import I64

_AHEAD = 4  # micro-batches made ahead
IGNORED = -100  # a label that is not learnt, as in PyTorch's cross-entropy
Made = Mapping[str, Mapping[str, torch.Tensor]]  # part, name of a value


@dataclass(frozen=True)
class Sample:
    """One record for the model. ids, labels: (n,), labels IGNORED but at the answer; positions: (k, n).

    counts: features of each picture. segments: (n,) 0 for what all questions of it share, 1, 2, ... for each one's own;
    None: there is one.
    """

    ids: I64
    labels: I64
    types: I64
    positions: torch.Tensor
    images: tuple[ChatImage, ...]
    counts: tuple[int, ...]
    segments: I64 | None = None


@dataclass(frozen=True)
class Seen:
    """A picture of a batch. row: its sample. tokens: its features. made: what parts made of it."""

    row: int
    name: str
    tokens: int
    made: Made


@dataclass(frozen=True)
class Batch:
    """Samples of one micro-batch. pixels: groups of the processor's inputs; encoded one after the other they are the
    pictures in order. mask: (b, n) bool, None where all are as long.

    pictures, extra: only where the run has parts; extra: of each sample. step: the optimiser's, -1 in evaluation.
    """

    ids: torch.Tensor  # (b, n)
    labels: torch.Tensor  # (b, n)
    types: torch.Tensor  # (b, n): 1 at a picture's tokens
    positions: torch.Tensor  # (k, b, n)
    mask: torch.Tensor | None
    pixels: list[dict[str, torch.Tensor]]
    pictures: tuple[Seen, ...] = ()
    extra: tuple[Made, ...] = ()
    step: int = -1
    segments: torch.Tensor | None = None  # (b, n), as of samples; -1 where it was filled up

    @property
    def answer_tokens(self) -> int:
        return int((self.labels[:, 1:] != IGNORED).sum())

    def to(self, device: torch.device) -> Batch:
        """Return it with all tensors on a device."""

        def moved(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(device, non_blocking=True)

        def all_moved(made: Made) -> Made:
            return {part: {k: moved(v) for k, v in held.items()} for part, held in made.items()}

        return Batch(
            moved(self.ids), moved(self.labels), moved(self.types), moved(self.positions),
            None if self.mask is None else moved(self.mask),
            [{k: moved(v) for k, v in group.items()} for group in self.pixels],
            tuple(replace(p, made=all_moved(p.made)) for p in self.pictures),
            tuple(all_moved(made) for made in self.extra), self.step,
            None if self.segments is None else moved(self.segments),
        )  # fmt: skip


def joined(samples: Sequence[Sample], pixels: list[dict[str, torch.Tensor]], blank: int) -> Batch:
    """Put samples into one batch, filled up on the right; the mask tells what is real."""
    n = max(len(s.ids) for s in samples)
    same = all(len(s.ids) == n for s in samples)

    def filled(rows: Sequence[I64], value: int) -> torch.Tensor:
        out = np.full((len(rows), n), value, dtype=np.int64)
        for out_row, row in zip(out, rows, strict=True):
            out_row[: len(row)] = row
        return torch.from_numpy(out)

    mask = filled([np.ones(len(s.ids), np.int64) for s in samples], 0)
    positions = torch.stack(
        [torch.nn.functional.pad(s.positions, (0, n - s.positions.shape[1])) for s in samples], dim=1
    )
    rows = [np.zeros(len(s.ids), np.int64) if s.segments is None else s.segments for s in samples]
    apart = any(s.segments is not None for s in samples)
    return Batch(
        filled([s.ids for s in samples], blank), filled([s.labels for s in samples], IGNORED),
        filled([s.types for s in samples], 0), positions, None if same else mask,
        pixels, segments=filled(rows, -1) if apart else None,
    )  # fmt: skip


def prefetched(make: Callable[[int], Batch], numbers: Sequence[int]) -> Iterator[Batch]:
    """Yield make(number) for each, a few made ahead in a thread; decoding and resizing let go of Python's lock."""
    with ThreadPoolExecutor(1, thread_name_prefix="data") as pool:
        waiting: list[Future[Batch]] = []
        try:
            for number in numbers:
                waiting.append(pool.submit(make, number))
                if len(waiting) > _AHEAD:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()
