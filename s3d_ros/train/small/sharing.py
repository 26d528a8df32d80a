"""Several processes of one machine that share the pictures of each step, a core each."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from torch import distributed

from s3d_ros.train.small.going_on import prepare
from s3d_ros.train.small.model import SmallModelError

_REFUSED = "refused"


@dataclass(frozen=True)
class Share:
    """Which process this is, and of how many."""

    index: int = 0
    of: int = 1

    @classmethod
    def own(cls) -> Share:
        """Return this process's."""
        return cls(distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else cls()

    @property
    def first(self) -> bool:
        """Whether it is this process that evaluates, writes and tells."""
        return self.index == 0

    def sum_up(self, trained: Sequence[torch.nn.Parameter]) -> None:
        """Replace the gradients by their sums over all processes, the same in each of them."""
        if self.of == 1:
            return
        own = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]  # others may have one
        total = torch.cat([g.flatten() for g in own])
        distributed.all_reduce(total)
        for p, part in zip(trained, total.split([g.numel() for g in own]), strict=True):
            p.grad = part.view_as(p)


def train_together(train: Callable[..., Any], processes: int, *given: Any) -> None:
    """Call ``train`` with what is given in several new processes, and wait.

    Raises SmallModelError if that is what one of them ends with, and what torch raises if it ends otherwise.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            torch.multiprocessing.spawn(_begin, (train, processes, folder, given), nprocs=processes)
        except Exception:
            refused = Path(folder) / _REFUSED
            if refused.is_file():  # said without the other process's trace
                raise SmallModelError(refused.read_text(encoding="utf-8")) from None
            raise


def _begin(index: int, train: Callable[..., Any], processes: int, folder: str, given: Sequence[Any]) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # nothing leaves the machine
    prepare(max(1, (os.cpu_count() or 1) // processes))
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=index, world_size=processes)
    try:
        train(*given)
    except SmallModelError as error:
        (Path(folder) / _REFUSED).write_text(str(error), encoding="utf-8")
        raise
    finally:
        distributed.destroy_process_group()
