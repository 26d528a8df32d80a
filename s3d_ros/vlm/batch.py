"""Several questions in one sequence, and the mask that keeps them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from s3d_ros.vlm.asking import Member
from s3d_ros.vlm.family import Family


@dataclass(frozen=True)
class Piece:
    """What a member reads in one step: its prompt up to ``stop``, or its last token."""

    member: Member
    stop: int
    ids: torch.Tensor
    positions: torch.Tensor
    features: tuple[torch.Tensor, ...] = ()


class Batch:
    """The questions' own tokens, behind ``base`` tokens that were read before. mixed: there were several questions."""

    def __init__(self, family: Family, cache: Any, base: int) -> None:
        self._family = family
        self._cache = cache
        self._before = torch.arange(base, device=family.device)
        self._owners = torch.zeros(0, dtype=torch.long, device=family.device)
        self._seen: set[int] = set()

    @property
    def mixed(self) -> bool:
        return len(self._seen) > 1

    @property
    def own_tokens(self) -> int:
        return len(self._owners)

    def step(self, pieces: Sequence[Piece]) -> torch.Tensor:
        """Read pieces; return the logits (m, vocabulary) of the last tokens of those m that end their prompts."""
        device = self._family.device
        lengths = torch.tensor([len(p.ids) for p in pieces])
        self._seen.update(p.member.index for p in pieces)
        owners = torch.repeat_interleave(torch.tensor([p.member.index for p in pieces]), lengths).to(device)
        begin = len(self._owners)
        self._owners = torch.cat([self._owners, owners])
        mask = None
        if self.mixed:
            mine = self._owners[None, :] == owners[:, None]
            here = torch.arange(begin, len(self._owners), device=device)
            mine &= torch.arange(len(self._owners), device=device) <= here[:, None]
            bases = torch.repeat_interleave(torch.tensor([p.member.base for p in pieces]), lengths).to(device)
            mask = torch.cat([self._before < bases[:, None], mine], dim=1)
        ends = [p.stop == len(p.member.prompt) for p in pieces]
        return self._family.step(
            torch.cat([p.ids for p in pieces]).to(device),
            torch.cat([p.positions for p in pieces], dim=1).to(device),
            self._cache,
            tuple(torch.cat(layer) for layer in zip(*(p.features for p in pieces if p.features), strict=True)),
            mask,
            (lengths.cumsum(0) - 1)[torch.tensor(ends)].to(device),
        )
