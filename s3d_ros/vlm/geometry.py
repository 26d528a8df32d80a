"""Geometry tokens in a model that sees: VLM-3R's fusion as a part, in training and answering alike.

A frame's geometry tokens depend on the frames before it, as the keys and values of a language model do. So a frame's
key, in a chat, names all frames before it, too: what is kept of pictures and of prompts is good exactly where they are
the same, and a question answered from what was kept gets the tokens that it would get from nothing.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from s3d_ros.chat import Chat, ChatImage, Part
from s3d_ros.geometry_tokens.choose import load_encoder
from s3d_ros.geometry_tokens.encoder import FrameGeometry, GeometryEncoder, GeometryError
from s3d_ros.geometry_tokens.fusion import GeometryFusion
from s3d_ros.types import U8
from s3d_ros.vlm.config import ModelError
from s3d_ros.vlm.parts import FeaturePart

ENCODER_FOLDER = "geometry"  # in a checkpoint: the encoder that it was tuned with
_FRAME = re.compile(r"^view-|\.view\d")  # keys of frames; bird's-eye views have others
# Remembered, with their states: 0.1 MB each for the small encoder, 4 MB for CUT3R
_MOST_FRAMES, _MOST_BYTES = 1024, 1_000_000_000
_LEAST_FRAMES = 64
Read = Callable[[], U8]


def is_frame(key: str) -> bool:
    """Whether a picture is a camera's, by its key; a bird's-eye view has no geometry of its own."""
    return _FRAME.search(key) is not None


def _bytes(held: Any) -> int:
    return sum(int(getattr(v, "nbytes", 0)) for v in vars(held).values()) if hasattr(held, "__dict__") else 0


def _pixels(image: ChatImage) -> U8:
    return image.pixels


@dataclass
class _Known:
    """A frame after those before it. before: the key of the last of them, "" for none. read: gives its pixels."""

    read: Read | None
    before: str
    geometry: FrameGeometry | None = None
    state: Any = None


class GeometryTokens:
    """The geometry of frames, each looked at once for each history. Safe to use from several threads."""

    def __init__(self, encoder: GeometryEncoder) -> None:
        self.encoder = encoder
        self.looked = 0  # frames that went through the encoder
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._most = _MOST_FRAMES
        self._lock = threading.Lock()

    def chained(self, frames: Sequence[tuple[str, Read]]) -> list[str]:
        """Note frames, key and pixels, in the order in which they are seen; return for each a key that also names those
        before it."""
        keys, before = [], ""
        with self._lock:
            for key, read in frames:
                if self.encoder.recurrent and before:
                    told = hashlib.blake2b(f"{before} {key}".encode(), digest_size=10)
                    key = f"{key}~{told.hexdigest()}"
                if key not in self._known:
                    self._known[key] = _Known(read, before if self.encoder.recurrent else "")
                self._known.move_to_end(key)
                keys.append(key)
                before = key
            while len(self._known) > max(self._most, len(frames)):
                self._known.popitem(last=False)
        return keys

    def of(self, key: str) -> FrameGeometry:
        """Return the geometry of a frame by its key. Raises KeyError for one that was never noted, or long ago."""
        with self._lock:
            waiting = [key]
            while self._known[waiting[-1]].geometry is None and self._known[waiting[-1]].before:
                before = self._known[waiting[-1]].before
                if self._known[before].geometry is not None:
                    break
                waiting.append(before)
            for name in reversed(waiting):
                known = self._known[name]
                if known.geometry is None:
                    assert known.read is not None
                    state = self._known[known.before].state if known.before else self.encoder.start()
                    known.geometry, known.state = self.encoder.step(state, known.read())
                    known.read = None  # the pixels are wanted no longer
                    held = _bytes(known.state) + _bytes(known.geometry)
                    self._most = max(_LEAST_FRAMES, min(_MOST_FRAMES, _MOST_BYTES // max(1, held)))
                    self.looked += 1
            found = self._known[key].geometry
            assert found is not None
            return found


class GeometryPart(FeaturePart):
    """Fuses the geometry tokens of frames into their vision tokens before the projector.

    settings: "encoder" as ``load_encoder`` takes it, "vision_width", "dim", "heads".
    """

    name = "geometry"
    early = True

    def __init__(self, width: int, settings: Mapping[str, Any]) -> None:
        super().__init__(width, settings)
        self.fusion = GeometryFusion(settings["vision_width"], settings["dim"], settings["heads"])
        self._held: list[GeometryTokens] = []  # in a list: its weights are not this part's

    @property
    def tokens(self) -> GeometryTokens:
        if not self._held:
            self.opened(Path())
        return self._held[0]

    def opened(self, directory: Path) -> None:
        """Load the encoder: the checkpoint's own, or the one that the settings name. Raises ModelError."""
        own = directory / ENCODER_FOLDER
        name = str(own) if own.is_dir() else str(self.settings["encoder"])
        try:
            encoder = load_encoder(name, "cuda" if torch.cuda.is_available() else "cpu")
        except GeometryError as error:
            raise ModelError(f"geometry: {error}") from error
        if encoder.dim != self.settings["dim"]:
            raise ModelError(
                f"geometry: the encoder {name} makes tokens of {encoder.dim}, and the model was tuned with "
                f"{self.settings['dim']}; take the encoder that it was tuned with"
            )
        self._held = [GeometryTokens(encoder)]

    def prepared(self, chat: Chat) -> Chat:
        """Return the chat with frames' keys that name the frames before them."""
        frames = [i for i in chat.images if is_frame(i.key)]
        keys = iter(self.tokens.chained([(i.key, partial(_pixels, i)) for i in frames]))

        def renamed(part: Part) -> Part:
            return replace(part, key=next(keys)) if isinstance(part, ChatImage) and is_frame(part.key) else part

        return replace(chat, turns=tuple(replace(t, parts=tuple(map(renamed, t.parts))) for t in chat.turns))

    def tokens_of(self, image: ChatImage) -> torch.Tensor | None:
        """Return the geometry tokens (M, dim) of a picture of a prepared chat, None for one that is no frame."""
        return self.tokens.of(image.key).tokens if is_frame(image.key) else None

    def fused(
        self, vision: torch.Tensor, counts: Sequence[int], geometry: Sequence[torch.Tensor | None]
    ) -> torch.Tensor:
        """Return vision tokens (n, d) of pictures one behind the other. counts: the tokens of each."""
        if sum(counts) != len(vision):
            raise ModelError(
                f"geometry: {len(vision)} vision tokens of pictures with {sum(counts)}: pictures in tiles can't be "
                "used with it; set tile_images to false"
            )
        if len(set(counts)) == 1:
            return self.fusion(vision.reshape(len(counts), counts[0], -1), geometry).reshape(vision.shape)
        parts = vision.split(list(counts))
        return torch.cat([self.fusion(x[None], [g])[0] for x, g in zip(parts, geometry, strict=True)])
