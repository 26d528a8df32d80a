"""ROSS3D's grounding head: which objects an answer means, told by comparing, not by writing numbers.

An answer that names objects begins with ``<ground>``. What the language model makes of that token is compared with each
object of the map: the mean of the visual features that went in, over cells that are at least half inside its box, and a
code of the box's middle. InfoNCE at 0.07, with a learned candidate for "none of them".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from s3d_ros.chat import ChatImage
from s3d_ros.geometry import level_rotation
from s3d_ros.images import resize_nearest
from s3d_ros.train.batch import Batch
from s3d_ros.train.config import GroundConfig, TrainError
from s3d_ros.train.parts.base import Example, RunPart, Tensors
from s3d_ros.train.reader import SceneData
from s3d_ros.types import Bools, Intrinsics, OrientedBox
from s3d_ros.vlm.beside import DEPTH
from s3d_ros.vlm.grid import TokenGrid
from s3d_ros.vlm.position import position_code, world_points

TOKEN = "<ground>"
TEMPERATURE = 0.07
SHARE = 0.4  # of several that are meant, take the likeliest until they have this share
_SAMPLES = 8  # places looked at along and down a cell
_MARGIN_M = 0.02  # boxes end where the surface is seen: half of its noise would be outside


class GroundHead(RunPart):
    """hidden: width of the language model. token: the number of ``<ground>``; tokenizer: that has it."""

    name = "ground"
    needs = frozenset({DEPTH})
    wants_output = True
    needs_grid = True
    told = ("ground",)

    def __init__(self, config: GroundConfig, hidden: int, token: int, tokenizer: Any) -> None:
        super().__init__()
        self.config, self.token, self.tokenizer = config, token, tokenizer
        self.asks = _projection(hidden, config.width)
        self.shows = _projection(hidden, config.width)
        self.none = nn.Parameter(torch.randn(config.width) * 0.02)

    def settings(self) -> dict[str, Any]:
        return {"width": self.config.width, "token": TOKEN, "temperature": TEMPERATURE, "share": SHARE}

    def write(self, path: Path) -> None:
        self.tokenizer.save_pretrained(path)

    def picture(self, scene: SceneData, image: ChatImage, grid: TokenGrid | None) -> Tensors:
        """Return which tokens (objects, tokens) show each object of the scene."""
        assert grid is not None
        boxes = list(scene.boxes().values())
        inside = np.zeros((len(boxes), grid.tokens), np.bool_)
        if "depth_mm" in image.beside and boxes:
            rows, columns = grid.rows * _SAMPLES, grid.columns * _SAMPLES
            height, width = image.pixels.shape[:2]
            k = Intrinsics(width, height, *image.beside["intrinsics"]).scaled(columns, rows)
            points = world_points(
                resize_nearest(image.beside["depth_mm"], rows, columns),
                (k.fx, k.fy, k.cx, k.cy),
                image.beside["T_level_camera"],
            )
            points = points @ level_rotation(scene.data["up"]).astype(np.float32)  # back into the map
            inside[:, : grid.cells] = cells_inside(points, boxes, grid.rows, grid.columns)
        return {"inside": torch.from_numpy(inside)}

    def example(self, example: Example) -> Tensors:
        if example.objects is None:
            return {}
        boxes = example.scene.boxes()
        meant = [i in example.objects for i in boxes]
        middles = np.reshape([b.center for b in boxes.values()], (-1, 3)) @ level_rotation(example.scene.data["up"]).T
        return {
            "meant": torch.tensor(meant, dtype=torch.bool),
            "none": torch.tensor(not example.objects),
            "middle_m": torch.from_numpy(middles.astype(np.float32)),
        }

    def losses(self, batch: Batch, features: torch.Tensor, output: torch.Tensor) -> Tensors:
        """Return the loss; in evaluation also ``ground_points``, F1 of the objects chosen."""
        errors, points = [], []
        for row, extra in enumerate(batch.extra):
            made = extra[self.name]
            at = (batch.ids[row] == self.token).nonzero()[:, 0]
            if not made or not len(at):
                continue
            shown, seen = self._objects(batch, row, features, made["middle_m"])
            meant = made["meant"][seen]
            if not meant.any() and not made["none"]:
                continue  # what is meant is in no picture that was given
            logits = ground_logits(self.asks(output[row, at[-1]]), self.shows(shown), self.none)
            errors.append(ground_loss(logits, meant))
            if batch.step < 0:
                chosen = choose(logits.softmax(-1))
                points.append(_f1(chosen, meant.nonzero()[:, 0].tolist()))
        if not errors:
            return {}
        told = {"ground": self.config.weight * torch.stack(errors).mean()}
        return told | ({"ground_points": torch.tensor(points).mean()} if points else {})

    def _objects(
        self, batch: Batch, row: int, features: torch.Tensor, middle_m: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what is seen of each object (m, d), and which objects these are (m,)."""
        sums = features.new_zeros((len(middle_m), features.shape[1]), dtype=torch.float32)
        counts = sums.new_zeros(len(middle_m))
        at = 0
        for picture in batch.pictures:
            inside = picture.made[self.name]["inside"]
            if picture.row == row and picture.tokens == inside.shape[1]:  # not one that was taken away
                weights = inside.float()
                sums = sums + weights @ features[at : at + picture.tokens].float()
                counts = counts + weights.sum(dim=1)
            at += picture.tokens
        seen = (counts > 0).nonzero()[:, 0]
        means = sums[seen] / counts[seen][:, None]
        return means + position_code(middle_m[seen], features.shape[1]), seen


def ground_logits(asked: torch.Tensor, shown: torch.Tensor, none: torch.Tensor) -> torch.Tensor:
    """Return (m + 1,) scores of objects, the last one of none. asked: (w,), shown: (m, w), none: (w,)."""
    candidates = F.normalize(torch.cat([shown, none[None]]).float(), dim=-1)
    return candidates @ F.normalize(asked.float(), dim=-1) / TEMPERATURE


def ground_loss(logits: torch.Tensor, meant: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy with those meant, (m,) bool, in equal shares; with "none" where none is."""
    wanted = torch.cat([meant, ~meant.any()[None]]).float()
    return -(wanted / wanted.sum() * logits.log_softmax(-1)).sum()


def choose(shares: torch.Tensor, share: float = SHARE) -> list[int]:
    """Return the likeliest objects until they have ``share`` together; [] where none comes first.

    shares: (m + 1,), the last one of none.

    >>> choose(torch.tensor([0.3, 0.05, 0.25, 0.4])), choose(torch.tensor([0.3, 0.05, 0.55, 0.1]))
    ([], [2])
    >>> choose(torch.tensor([0.3, 0.25, 0.24, 0.21]))
    [0, 1]
    """
    out: list[int] = []
    total = 0.0
    for index in shares.argsort(descending=True).tolist():
        if index == len(shares) - 1:
            break
        out.append(index)
        total += float(shares[index])
        if total >= share:
            break
    return out


def cells_inside(points: Any, boxes: Sequence[OrientedBox], rows: int, columns: int) -> Bools:
    """Return (boxes, rows * columns): whether at least half of a cell's known points are in a box.

    points: (rows * s, columns * s, 3) in the boxes' frame, NaN where unknown.
    """
    cells = points.reshape(rows, points.shape[0] // rows, columns, points.shape[1] // columns, 3)
    cells = cells.transpose(0, 2, 1, 3, 4).reshape(rows * columns, -1, 3)
    known = np.isfinite(cells).all(axis=2)
    out = []
    for box in boxes:
        local = np.abs((cells - box.center.astype(np.float32)) @ box.axes.T.astype(np.float32))
        with np.errstate(invalid="ignore"):
            within = (local <= box.size / 2 + _MARGIN_M).all(axis=2)
        out.append((2 * within.sum(axis=1) >= known.sum(axis=1)) & known.any(axis=1))
    return np.stack(out)


def add_token(model: Any, tokenizer: Any) -> int:
    """Put ``<ground>`` into a model's words, where it is not yet; return its number. Raises TrainError."""
    from transformers import AddedToken

    if TOKEN not in tokenizer.get_vocab():
        tokenizer.add_tokens([AddedToken(TOKEN, special=True)], special_tokens=True)
        words = model.get_input_embeddings().weight
        number = int(tokenizer.convert_tokens_to_ids(TOKEN))
        mean = words.detach().float().mean(dim=0)
        if number >= len(words):
            model.resize_token_embeddings(number + 1, mean_resizing=False)
        said, heard = model.get_output_embeddings().weight.data, model.get_input_embeddings().weight.data
        said[number] = 0
        heard[number] = mean.to(heard.dtype)  # the same where words are tied
    number = tokenizer.convert_tokens_to_ids(TOKEN)
    if not isinstance(number, int) or number >= len(model.get_input_embeddings().weight):
        raise TrainError(f"ground.head: {TOKEN} could not be put into the words of a {type(model).__name__}")
    return number


def _projection(hidden: int, width: int) -> nn.Module:
    return nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, width), nn.GELU(), nn.Linear(width, width))


def _f1(chosen: Sequence[int], meant: Sequence[int]) -> float:
    if not chosen or not meant:
        return float(not chosen and not meant)
    return 2 * len(set(chosen) & set(meant)) / (len(chosen) + len(meant))
