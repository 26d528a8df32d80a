"""Several questions about the same pictures in one sample: they are read once, and no question sees another.

This is the cheapest way to learn from many questions: of a record of 1,700 tokens 30 are the question's own.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch

from s3d_ros.train.batch import IGNORED, Batch, Sample
from s3d_ros.vlm.tokens import I64, common_prefix

Unit = int | tuple[int, ...]  # a record, or several that are learnt together


def grouped(order: Sequence[int], shares: Mapping[int, Hashable], most: int) -> list[Unit]:
    """Put records that share their pictures into groups of ``most``, in the order in which they come.

    >>> grouped([4, 1, 3, 2, 4], {1: "a", 2: "b", 3: "a", 4: "a"}, 2)
    [(4, 1), (3, 4), (2,)]
    """
    found: dict[Hashable, list[int]] = {}
    for index in order:
        found.setdefault(shares[index], []).append(index)
    return [tuple(held[k : k + most]) for held in found.values() for k in range(0, len(held), most)]


def together(samples: Sequence[Sample]) -> Sample:
    """Return one sample of several that begin alike; what is not shared gets segments 1, 2, ..., each apart."""
    first = samples[0]
    if len(samples) == 1 or not (first.labels != IGNORED).any():
        return first
    # an answer's first token is told by the last of its question, which must not be shared
    shared = min(int(np.argmax(s.labels != IGNORED)) for s in samples) - 1
    for s in samples[1:]:
        shared = min(shared, common_prefix(first.ids, s.ids))
    own = [np.full(len(s.ids) - shared, k + 1) for k, s in enumerate(samples)]

    def joined(name: str) -> I64:
        return np.concatenate([getattr(first, name)[:shared], *(getattr(s, name)[shared:] for s in samples)])

    return Sample(
        joined("ids"), joined("labels"), joined("types"),
        torch.cat([first.positions[:, :shared], *(s.positions[:, shared:] for s in samples)], dim=1),
        first.images, first.counts, np.concatenate([np.zeros(shared, np.int64), *own]),
    )  # fmt: skip


def attention_mask(batch: Batch) -> torch.Tensor | None:
    """Return which token may look at which, (b, 1, n, n) bool; without segments the batch's own mask."""
    if batch.segments is None:
        return batch.mask
    rows, n = batch.segments, batch.segments.shape[1]
    allowed = (rows[:, None, :] == 0) | (rows[:, None, :] == rows[:, :, None])
    allowed = allowed & torch.ones(n, n, dtype=torch.bool, device=rows.device).tril()
    if batch.mask is not None:
        allowed = allowed & batch.mask.bool()[:, None]
    allowed |= torch.eye(n, dtype=torch.bool, device=rows.device)  # filling looks at itself
    return allowed[:, None]
