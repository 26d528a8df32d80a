"""Stage 1: the picture's encoder learns to read, cell by cell, before any question is asked.

Each cell of a picture tells whether a plate is there, its number (hundreds, tens, units), what it stands on, and where
the cell itself lies. The digits' and labels' classes are the decoder's own word vectors, so what is read here is what
the decoder says later.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from s3d_ros.train.small.model import (
    PIXEL_MEAN,
    PIXEL_STD,
    PLACES,
    ModelShape,
    SmallModelError,
    make_model,
    make_tokenizer,
    save_model,
)
from s3d_ros.train.small.pictures import Picture, PictureSettings, picture
from s3d_ros.train.small.sprites import LABELS

_STATE = "reading.pt"
_MAY_CHANGE = ("steps", "minutes", "every_steps", "workers")  # where a run goes on
_WORD_SCALE = 4.0  # word vectors start at 0.02
_EVALUATION_SEED = 1_000_003  # no picture of it is trained on


@dataclass(frozen=True)
class ReadingSettings:
    """A run of stage 1. A run that was stopped goes on where its last checkpoint was."""

    seed: int = 0
    batch: int = 16
    steps: int = 2000
    minutes: float = 0.0  # 0: no limit
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 0.02
    every_steps: int = 100  # look at held-out pictures, and write a checkpoint
    evaluated: int = 128  # pictures of each kind
    bf16: bool = True  # matrix products in bfloat16; weights stay float32
    workers: int = 1  # processes that draw; 0: this one does
    shape: ModelShape = field(default_factory=ModelShape)
    pictures: PictureSettings = field(default_factory=PictureSettings)


class ReadingHead(nn.Module):
    """What a cell's token shows. words: (3 x 10 + labels, d) are given anew each time: the decoder's vectors."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.slots = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(len(PLACES) + 1))
        self.plate = nn.Linear(hidden, 1)
        self.where = nn.Linear(hidden, 2)

    def forward(self, tokens: torch.Tensor, words: Sequence[torch.Tensor]) -> dict[str, Any]:
        """tokens: (B, h, w, d). Return plate (B, h, w), where (B, h, w, 2), slots: list of (B, h, w, classes)."""
        tokens = self.norm(tokens)
        slots = [functional.linear(slot(tokens), w * _WORD_SCALE) for slot, w in zip(self.slots, words, strict=True)]
        return {"plate": self.plate(tokens)[..., 0], "where": self.where(tokens).sigmoid(), "slots": slots}


class Words:
    """Which word vectors stand for the digits of each place and for the labels."""

    def __init__(self, tokenizer: Any) -> None:
        self._places = [torch.tensor(tokenizer.convert_tokens_to_ids(list(p))) for p in PLACES]
        self._labels = [tokenizer(f" {label}", add_special_tokens=False)["input_ids"] for label in LABELS]

    def vectors(self, embedding: torch.Tensor) -> list[torch.Tensor]:
        """Return (10, d) for each place, then (labels, d): the mean of a label's words."""
        labels = torch.stack([embedding[ids].mean(dim=0) for ids in self._labels])
        return [*(embedding[ids] for ids in self._places), labels]


def tokens_of(model: Any, pixels: torch.Tensor, bf16: bool = False) -> torch.Tensor:
    """Return pictures' tokens (B, h, w, d), float32, as the decoder gets them. pixels: as in Batch."""
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=bf16):
        tower = model.model.vision_tower(pixels).last_hidden_state
        projected: torch.Tensor = model.model.multi_modal_projector(tower.flatten(2).transpose(1, 2))
    return projected.float().reshape(len(pixels), tower.shape[2], tower.shape[3], -1)


@dataclass(frozen=True)
class Batch:
    """pixels: (B, 3, H, W), as the image processor gives them. number, label: (B, h, w), 0 and -1 where no plate is."""

    pixels: torch.Tensor
    number: torch.Tensor
    label: torch.Tensor

    @classmethod
    def of(cls, some: Sequence[Picture]) -> Batch:
        """Stack pictures of one size."""
        pixels = torch.from_numpy(np.stack([p.pixels for p in some])).permute(0, 3, 1, 2).float()
        pixels = (pixels / 255 - PIXEL_MEAN) / PIXEL_STD
        number = torch.from_numpy(np.stack([p.number for p in some])).long()
        return cls(pixels, number, torch.from_numpy(np.stack([p.label for p in some])).long())


def reading_loss(read: dict[str, Any], batch: Batch) -> torch.Tensor:
    """Return the sum of what is wrong about plates, digits, labels and places, a scalar."""
    marked = batch.number > 0
    plate = functional.binary_cross_entropy_with_logits(read["plate"], marked.float())
    h, w = marked.shape[1:]
    rows, columns = (torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w
    here = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    where = functional.smooth_l1_loss(read["where"], here.expand_as(read["where"]), beta=0.05)
    loss = plate + 2 * where
    if marked.any():
        number, label = batch.number[marked], batch.label[marked]
        wanted = [number // 100, number // 10 % 10, number % 10, label]
        weights = [0.5, 1.0, 1.0, 1.0]  # hundreds are mostly 0
        for logits, target, weight in zip(read["slots"], wanted, weights, strict=True):
            loss = loss + weight * functional.cross_entropy(logits[marked].float(), target)
    return loss


@torch.no_grad()
def score(model: Any, head: ReadingHead, words: Words, some: Sequence[Picture], batch: int = 16) -> dict[str, float]:
    """Return how much of marked pictures is read, shares of markers; where_px: median error of a cell's own place."""
    model.eval()
    vectors = words.vectors(model.get_input_embeddings().weight)
    right: list[np.ndarray] = []
    plates, off = [], []
    for start in range(0, len(some), batch):
        chunk = some[start : start + batch]
        given = Batch.of(chunk)
        read = head(tokens_of(model, given.pixels), vectors)
        said = torch.stack([s.argmax(dim=-1) for s in read["slots"]], dim=-1).numpy()  # (B, h, w, 4)
        plates.append(((read["plate"] > 0) == (given.number > 0)).float().mean().item())
        h, w = given.number.shape[1:]
        here = np.stack(np.meshgrid((np.arange(w) + 0.5) / w, (np.arange(h) + 0.5) / h), axis=-1)
        off.append(np.median(np.linalg.norm(read["where"].numpy() - here, axis=-1)) * given.pixels.shape[-1])
        for k, one in enumerate(chunk):
            n, label, row, column = one.marks.T
            true = np.stack([n // 100, n // 10 % 10, n % 10, label], axis=1)
            right.append(said[k, row, column] == true)
    model.train()
    all_right = np.concatenate(right)
    return {
        "number": float(all_right[:, :3].all(axis=1).mean()),
        "units": float(all_right[:, 2].mean()),
        "tens": float(all_right[:, 1].mean()),
        "label": float(all_right[:, 3].mean()),
        "plate_cells": float(np.mean(plates)),
        "where_px": float(np.mean(off)),
        "markers": float(len(all_right)),
    }


def guessing(some: Sequence[Picture]) -> dict[str, float]:
    """Return what the best constant answers get: the number and the label that these pictures show most often."""
    number, label = np.concatenate([p.marks for p in some]).T[:2]
    told = {"number": number, "units": number % 10, "tens": number // 10 % 10, "label": label}
    return {k: float(np.unique(v, return_counts=True)[1].max() / len(v)) for k, v in told.items()}


def held_out(settings: ReadingSettings) -> dict[str, list[Picture]]:
    """Return pictures to evaluate on: other homes with training's styles; held-out looks; held-out looks and styles."""

    def some(looks: bool, style: bool) -> list[Picture]:
        return [picture(settings.pictures, _EVALUATION_SEED, i, looks, style) for i in range(settings.evaluated)]

    return {
        "other scenes": some(False, False),
        "held-out looks": some(True, False),
        "held-out looks and styles": some(True, True),
    }


def train_reading(
    settings: ReadingSettings, out: Path, on_progress: Callable[[dict[str, Any]], None] = lambda row: None
) -> dict[str, Any]:
    """Train stage 1, or go on with it, and return the last row of its log.

    out: gets ``model`` (loads into the answerer), the state to go on from, and ``reading.jsonl``. Raises
    SmallModelError where out holds a run of other settings.
    """
    run = _Run(settings, out)
    evaluation = held_out(settings)
    started, row = time.perf_counter(), {}
    losses: list[float] = []
    for batch in _batches(settings, run.step):
        losses.append(run.advance(batch))
        spent = (time.perf_counter() - started) / 60
        over = bool(settings.minutes) and spent >= settings.minutes
        if run.step % settings.every_steps == 0 or run.step == settings.steps or over:
            scores = {k: score(run.model, run.head, run.words, v, settings.batch) for k, v in evaluation.items()}
            run.seconds += time.perf_counter() - started - run.counted
            run.counted = time.perf_counter() - started
            row = {"step": run.step, "pictures": run.step * settings.batch, "minutes": round(run.seconds / 60, 2),
                   "loss": float(np.mean(losses)), "scores": scores}  # fmt: skip
            losses.clear()
            run.save(row)
            on_progress(row)
        if over:
            break
    return row


class _Run:
    """Model, head and optimiser of a run, fresh or as they were when it was stopped."""

    def __init__(self, settings: ReadingSettings, out: Path) -> None:
        self.settings, self.out = settings, out
        self.tokenizer = make_tokenizer(settings.shape.vocabulary)
        self.words = Words(self.tokenizer)
        self.model = make_model(settings.shape, self.tokenizer, settings.seed).train()
        self.head = ReadingHead(settings.shape.hidden)
        core = self.model.model
        self._trained = [*core.vision_tower.parameters(), *core.multi_modal_projector.parameters(),
                         self.model.get_input_embeddings().weight, *self.head.parameters()]  # fmt: skip
        self.optimiser = torch.optim.AdamW(
            self._trained, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay
        )
        self.step, self.seconds, self.counted = 0, 0.0, 0.0
        self._told = {k: v for k, v in asdict(settings).items() if k not in _MAY_CHANGE}
        if (out / _STATE).is_file():
            self._restore(torch.load(out / _STATE, weights_only=True))

    def advance(self, batch: Batch) -> float:
        """Take one step; return the loss."""
        warm = min(1.0, (self.step + 1) / self.settings.warmup_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * warm
        vectors = self.words.vectors(self.model.get_input_embeddings().weight)
        loss = reading_loss(self.head(tokens_of(self.model, batch.pixels, self.settings.bf16), vectors), batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._trained, 1.0)
        self.optimiser.step()
        self.step += 1
        return loss.item()

    def save(self, row: dict[str, Any]) -> None:
        """Write the model, the state and a row of the log; the state last, at once or not at all."""
        save_model(self.model, self.tokenizer, self.out / "model")
        with (self.out / "reading.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        state = {
            "model": self.model.state_dict(),
            "head": self.head.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "settings": json.dumps(self._told),
        }
        torch.save(state, self.out / f"{_STATE}.part")
        os.replace(self.out / f"{_STATE}.part", self.out / _STATE)

    def _restore(self, state: dict[str, Any]) -> None:
        told, now = json.loads(state["settings"]), json.loads(json.dumps(self._told))
        other = [f"{k} is {told.get(k)}, not {now[k]}" for k in now if told.get(k) != now[k]]
        if other:
            raise SmallModelError(f"{self.out} holds a run of other settings: {'; '.join(other)}; take another folder")
        self.model.load_state_dict(state["model"])
        self.head.load_state_dict(state["head"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = int(state["step"]), float(state["seconds"])


@dataclass(frozen=True)
class _Batches(Dataset[Batch]):
    """Batch ``step`` of a run, always the same."""

    settings: ReadingSettings

    def __getitem__(self, step: int) -> Batch:
        size = self.settings.batch
        some = (picture(self.settings.pictures, self.settings.seed, step * size + k) for k in range(size))
        return Batch.of(list(some))


def _batches(settings: ReadingSettings, first: int) -> DataLoader[Batch]:
    steps = range(first, settings.steps)
    return DataLoader(_Batches(settings), batch_size=None, sampler=steps, num_workers=settings.workers)
