"""Takes view frames away from a batch: of each a single token is left, which is learned."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch

from s3d_ros.train.batch import IGNORED, Batch


def without_views(
    batch: Batch, features: tuple[torch.Tensor, ...], masked: Collection[int], token: torch.Tensor
) -> tuple[Batch, tuple[torch.Tensor, ...]]:
    """Return batch and features without the pictures of these indices in ``batch.pictures``.

    The first token of each stays, as ``token`` (d,); further layers' features are 0 there. What is left keeps its
    positions. The mask is always given: Transformers takes gaps in positions without one for several sequences.
    """
    keep = torch.ones(len(features[0]), dtype=torch.bool)
    single = torch.zeros(len(features[0]), dtype=torch.bool)
    at, pictures = 0, []
    for index, picture in enumerate(batch.pictures):
        if index in masked:
            single[at] = True
            keep[at + 1 : at + picture.tokens] = False
        pictures.append(replace(picture, tokens=1) if index in masked else picture)
        at += picture.tokens
    keep, single = keep.to(features[0].device), single.to(features[0].device)
    first = torch.where(single[:, None], token.to(features[0].dtype), features[0])[keep]
    deep = tuple((f * ~single[:, None])[keep] for f in features[1:])

    stays = torch.ones_like(batch.types, dtype=torch.bool)
    stays[batch.types.bool()] = keep  # features come in the order of their tokens
    stays = stays if batch.mask is None else stays & batch.mask.bool()
    order = torch.argsort((~stays).int(), dim=1, stable=True)[:, : int(stays.sum(dim=1).max())]
    kept = stays.gather(1, order)
    ids, labels, types = (x.gather(1, order) for x in (batch.ids, batch.labels, batch.types))
    filler = batch.ids[:, -1:]  # a text's; it is masked
    positions = batch.positions.gather(2, order.expand(len(batch.positions), -1, -1))
    changed = replace(
        batch,
        ids=torch.where(kept, ids, filler),
        labels=labels.masked_fill(~kept, IGNORED),
        types=types * kept,
        positions=positions,
        mask=kept.long(),
        pictures=tuple(pictures),
        segments=None if batch.segments is None else batch.segments.gather(1, order).masked_fill(~kept, -1),
    )
    return changed, (first, *deep)
