"""Stage 1: the picture's encoder learns to read, cell by cell, before any question is asked.

Each cell of a picture tells where it lies itself and what it shows: a thing, floor, nothing. A cell under a plate tells
the plate's number (hundreds, tens, units), where what it marks is and how large. Its digits are told by the vectors
that the words for numbers have, so that the decoder's look-up finds them from the start.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from s3d_ros.train.small.going_on import check_settings, go_on, has_fast_bf16, tell_nobody, weights_of, write_state
from s3d_ros.train.small.lookup import (
    PLACE_SCALE,
    TURN_SCALE,
    seen_digits,
    seen_places,
    seen_turns,
    turns_of,
    unmark_cells,
)
from s3d_ros.train.small.model import (
    CELL_PX,
    ModelShape,
    make_model,
    make_tokenizer,
    pixel_values,
    save_model,
)
from s3d_ros.train.small.pictures import FLOOR, NOTHING, Picture, PictureSettings, picture

_STATE = "reading.pt"
_MAY_CHANGE = ("steps", "fixed_norms", "minutes", "every_steps", "workers", "bf16")  # where a run goes on
_EVALUATION_SEED = 1_000_003  # no picture of it is trained on
_SHARP = 6.0  # a token that holds a digit's vector once gives it so many logits
_HELD = 5.0
_PLACED = 60.0
_TURNED = 15.0
_GROUND = 0.2  # weight of what cells show: only labels need it, and these are listed
_PLAIN_WEIGHT = 0.05  # of a cell that shows floor or nothing, beside one that shows a thing: most do


@dataclass(frozen=True)
class ReadingSettings:
    """A run of stage 1. A run that was stopped goes on where its last checkpoint was.

    The learning rate rises over warmup_steps, and falls to nothing along half a cosine at ``steps``.
    """

    seed: int = 0
    batch: int = 16
    part: int = 10  # cells each way of the parts of pictures that it learns from: what is black teaches little
    parts: int = 2  # of each picture
    steps: int = 4000
    minutes: float = 0.0  # 0: no limit
    learning_rate: float = 2e-3
    warmup_steps: int = 150
    weight_decay: float = 0.02
    fixed_norms: float = 0.5  # share of the steps after which batch norms stay as they are: places need steady colours
    every_steps: int = 250  # look at held-out pictures, and write a checkpoint
    evaluated: int = 64  # pictures of each kind
    bf16: bool = field(default_factory=has_fast_bf16)  # matrix products in bfloat16; weights stay float32
    workers: int = 1  # processes that draw; 0: this one does
    begin: str = ""  # folder of a model whose encoder it begins with
    shape: ModelShape = field(default_factory=ModelShape)
    pictures: PictureSettings = field(default_factory=PictureSettings)


class ReadingHead(nn.Module):
    """What a cell's token shows."""

    def __init__(self, hidden: int, cells: int) -> None:
        """cells: of a whole picture each way."""
        super().__init__()
        self.cells = cells
        self.register_buffer("digits", seen_digits(hidden), persistent=False)
        self.register_buffer("places", seen_places(hidden), persistent=False)
        self.register_buffer("turns", seen_turns(hidden), persistent=False)
        self.ground = nn.Linear(hidden, NOTHING + 1)
        self.plate = nn.Linear(hidden, 1)
        self.where = nn.Linear(hidden, 2 * cells)
        self.spot = nn.Linear(hidden, 4)

    def forward(self, tokens: torch.Tensor) -> dict[str, Any]:
        """tokens: (B, h, w, d). Return, each (B, h, w, ...): plate (), where (2, cells: which column, which row),

        spot (4: how far away the marked thing's middle is, in cells along u and v; how far it reaches along both),
        ground (labels + 2), digits (3, 10), place (4: the same as spot, as shares of the whole picture), and turns (8:
        the middle of place once more). The last three are no layer's: a token must hold vectors that words know.
        """
        return {
            "plate": self.plate(tokens)[..., 0],
            "where": self.where(tokens).unflatten(-1, (2, self.cells)),
            "spot": self.spot(tokens),
            "ground": self.ground(tokens),
            "place": torch.einsum("bhwd,pd->bhwp", tokens, self.places) / PLACE_SCALE + 0.5,
            "turns": torch.einsum("bhwd,td->bhwt", tokens, self.turns) / TURN_SCALE,
            "digits": _SHARP * torch.einsum("bhwd,pnd->bhwpn", tokens, self.digits),
        }


def digits_of(number: Any) -> Any:
    """Return the digits (..., 3) of numbers (...), hundreds first; an array or a tensor as given."""
    of = [number // 100, number // 10 % 10, number % 10]
    return torch.stack(of, dim=-1) if isinstance(number, torch.Tensor) else np.stack(of, axis=-1)


def tokens_of(model: Any, pixels: torch.Tensor, bf16: bool = False) -> torch.Tensor:
    """Return pictures' tokens (B, h, w, d), float32, as the decoder gets them. pixels: as in Batch."""
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=bf16):
        tower = model.model.vision_tower(pixels.contiguous(memory_format=torch.channels_last)).last_hidden_state
        projected: torch.Tensor = model.model.multi_modal_projector(tower.flatten(2).transpose(1, 2))
    return projected.float().reshape(len(pixels), tower.shape[2], tower.shape[3], -1)


@dataclass(frozen=True)
class Batch:
    """pixels: (B, 3, H, W), as the image processor gives them. The rest (B, h, w): as of Picture.

    spot: (B, h, w, 4) how far the marked object's middle is from the cell's, and how far it reaches, in cells. place:
    (B, h, w, 4) where its middle is, and how far it reaches, as shares of the whole picture. where: (B, h, w, 2) which
    column and row of the whole picture the cell is.
    """

    pixels: torch.Tensor
    number: torch.Tensor
    ground: torch.Tensor
    spot: torch.Tensor
    place: torch.Tensor
    where: torch.Tensor

    @classmethod
    def of(cls, some: Sequence[Picture]) -> Batch:
        """Stack pictures of one size."""
        pixels = pixel_values([p.pixels for p in some])
        number, ground = (
            torch.from_numpy(np.stack([getattr(p, k) for p in some])).long() for k in ("number", "ground")
        )
        spot, shares = (np.zeros((*number.shape, 4), np.float32) for _ in range(2))
        where = np.zeros((*number.shape, 2), np.int64)
        h, w = number.shape[1:]
        for k, p in enumerate(some):
            rows, columns = (np.arange(n) + at for n, at in zip((h, w), p.corner, strict=True))
            where[k] = np.stack(np.meshgrid(columns, rows), axis=-1)
            for n, place, size in zip(p.marks[:, 0], p.spots, p.sizes, strict=True):
                here = p.number == n
                spot[k][here, :2] = place * p.cells - 0.5 - where[k][here]
                spot[k][here, 2:] = size * p.cells
                shares[k][here] = [*place, *size]
        return cls(pixels, number, ground, *map(torch.from_numpy, (spot, shares, where)))


def reading_loss(read: dict[str, Any], batch: Batch) -> torch.Tensor:
    """Return the sum of what is wrong about plates, digits and places, a scalar."""
    marked = batch.number > 0
    digits, wanted = read["digits"], digits_of(batch.number)
    held = functional.one_hot(wanted, 10) * marked[..., None, None]
    # Told apart is not enough: what looks for a number by its vectors must find it, and nothing of it elsewhere
    off = functional.smooth_l1_loss(digits / _SHARP, held.float(), beta=0.1, reduction="none").mean(dim=(-1, -2))
    plate = functional.binary_cross_entropy_with_logits(read["plate"], marked.float())
    where = functional.cross_entropy(read["where"][~marked].float().flatten(0, -2), batch.where[~marked].flatten())
    loss = plate + where + _HELD * off[~marked].mean()
    seen = batch.ground >= 0
    if seen.any():
        weight = torch.ones(NOTHING + 1)
        weight[FLOOR:] = _PLAIN_WEIGHT
        loss = loss + _GROUND * functional.cross_entropy(
            read["ground"][seen].float(), batch.ground[seen], weight=weight
        )
    if marked.any():
        loss = loss + _HELD * off[marked].mean()
        for place, share in enumerate((0.5, 1.0, 1.0)):  # hundreds are mostly 0
            loss = loss + share * functional.cross_entropy(digits[marked][:, place], wanted[marked][:, place])
        loss = loss + 2 * functional.smooth_l1_loss(read["spot"][marked].float(), batch.spot[marked], beta=0.2)
        place = batch.place[marked]
        loss = loss + _PLACED * functional.smooth_l1_loss(read["place"][marked].float(), place, beta=0.01)
        turned = turns_of(place[:, :2])
        loss = loss + _TURNED * functional.smooth_l1_loss(read["turns"][marked].float(), turned, beta=0.05)
    return loss


@torch.no_grad()
def score(model: Any, head: ReadingHead, some: Sequence[Picture], batch: int = 16) -> dict[str, float]:
    """Return how much of marked pictures is read, shares of markers; ground: of cells that show things.

    where: of cells whose own column and row are told. spot_px: median error of the marked object's place.
    """
    model.eval()
    right: list[np.ndarray] = []
    plates, own, away, ground = [], [], [], []
    for start in range(0, len(some), batch):
        chunk = list(some[start : start + batch])
        given = Batch.of(chunk)
        read = head(tokens_of(model, given.pixels))
        said = read["digits"].argmax(dim=-1).numpy()  # (B, h, w, 3)
        plates.append(((read["plate"] > 0) == (given.number > 0)).float().mean().item())
        things = (given.ground >= 0) & (given.ground < FLOOR)
        ground.append((read["ground"].argmax(dim=-1)[things] == given.ground[things]).numpy())
        bare = given.number == 0
        own.append((read["where"].argmax(dim=-1) == given.where)[bare].all(dim=-1).float().mean().item())
        for k, one in enumerate(chunk):
            number, _, row, column = one.marks.T
            right.append(said[k, row, column] == digits_of(number))
            off = (read["place"] - given.place)[k].numpy()[row, column, :2] * one.cells
            away.append(np.linalg.norm(off, axis=1) * CELL_PX)
    model.train()
    all_right = np.concatenate(right)
    return {
        "number": float(all_right.all(axis=1).mean()),
        "units": float(all_right[:, 2].mean()),
        "tens": float(all_right[:, 1].mean()),
        "ground": float(np.concatenate(ground).mean()),
        "plate_cells": float(np.mean(plates)),
        "where": float(np.mean(own)),
        "spot_px": float(np.median(np.concatenate(away))),
        "markers": float(len(all_right)),
    }


def guessing(some: Sequence[Picture]) -> dict[str, float]:
    """Return what the best constant answers get: the number that these pictures show most often."""
    number = np.concatenate([p.marks for p in some])[:, 0]
    told = {"number": number, "units": number % 10, "tens": number // 10 % 10}
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
    settings: ReadingSettings, out: Path, on_progress: Callable[[dict[str, Any]], None] = tell_nobody
) -> dict[str, Any]:
    """Train stage 1, or go on with it, and return the last row of its log.

    out: gets ``model`` (loads into the answerer), the state to go on from, and ``reading.jsonl``. Raises
    SmallModelError where out holds a run of other settings.
    """
    run = _Run(settings, out)
    evaluation = held_out(settings)

    def told() -> dict[str, Any]:
        scores = {k: score(run.model, run.head, v, settings.batch) for k, v in evaluation.items()}
        return {"pictures": run.step * settings.batch // settings.parts, "scores": scores}

    return go_on(run, _batches(settings, run.step), settings, told, on_progress)


def pace(step: int, warmup: int, steps: int) -> float:
    """Return the share of the learning rate at a step: it rises, then falls along half a cosine."""
    along = min(1.0, max(0.0, (step - warmup) / max(1, steps - warmup)))
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + float(np.cos(np.pi * along)))


class _Run:
    """Model, head and optimiser of a run, fresh or as they were when it was stopped."""

    def __init__(self, settings: ReadingSettings, out: Path) -> None:
        self.settings, self.out = settings, out
        self.tokenizer = make_tokenizer(settings.shape.vocabulary)
        self.model = make_model(settings.shape, self.tokenizer, settings.seed).train()
        if settings.begin:
            self.model.load_state_dict(weights_of(Path(settings.begin), self.model))
            unmark_cells(self.model.model.multi_modal_projector)
        self.model.model.vision_tower.to(memory_format=torch.channels_last)  # a fifth faster
        self.head = ReadingHead(settings.shape.hidden, settings.pictures.px // CELL_PX)
        core = self.model.model
        self._trained = [*core.vision_tower.parameters(), *core.multi_modal_projector.parameters(),
                         *self.head.parameters()]  # fmt: skip
        self.optimiser = torch.optim.AdamW(
            self._trained, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay
        )
        self.step, self.seconds = 0, 0.0
        self._told = {k: v for k, v in asdict(settings).items() if k not in _MAY_CHANGE}
        if (out / _STATE).is_file():
            self._restore(torch.load(out / _STATE, weights_only=True))

    def advance(self, batch: Batch) -> float:
        """Take one step; return the loss."""
        if self.step >= self.settings.fixed_norms * self.settings.steps:
            for part in self.model.model.vision_tower.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.eval()
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * pace(self.step, self.settings.warmup_steps, self.settings.steps)
        loss = reading_loss(self.head(tokens_of(self.model, batch.pixels, self.settings.bf16)), batch)
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
        }
        write_state(self.out / _STATE, state, self._told)

    def _restore(self, state: dict[str, Any]) -> None:
        check_settings(self.out, state, self._told)
        self.model.load_state_dict(state["model"])
        self.head.load_state_dict(state["head"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = int(state["step"]), float(state["seconds"])


@dataclass(frozen=True)
class _Batches(Dataset[Batch]):
    """Batch ``step`` of a run, always the same."""

    settings: ReadingSettings

    def __getitem__(self, step: int) -> Batch:
        s = self.settings
        count = -(-s.batch // s.parts)
        rng = np.random.default_rng([s.seed, step, 11])
        some = [picture(s.pictures, s.seed, step * count + k) for k in range(count)]
        return Batch.of([some[k // s.parts].part(s.part, rng) for k in range(s.batch)])


def _batches(settings: ReadingSettings, first: int) -> DataLoader[Batch]:
    steps = range(first, settings.steps)
    return DataLoader(_Batches(settings), batch_size=None, sampler=steps, num_workers=settings.workers)
