"""Everything but the sources that a training set depends on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3d_ros.config import Config
from s3d_ros.offline.questions_families import kinds_of
from s3d_ros.offline.simulate.config import NOISES
from s3d_ros.prompt.config import PromptConfig
from s3d_ros.train.problems import DatasetError
from s3d_ros.train.proposals import PROPOSAL_IOU

# As GPT4Scene trains: all images, then one text, in the fine-tuned wording
PROMPT = PromptConfig(wording="fine-tuned", captions=False)
FAMILIES = ("vsi", "vsti", "situated", "grounding", "caption")


@dataclass(frozen=True)
class BuildSettings:
    """homes: renders of each layout. every: of a recording's frames, each so many-th is mapped. fps, noise, size: of
    simulated homes. kinds, per_kind: of generated questions. small: questions of each
    kind that the small model learns. shares: of splits other than "train". lists: official
    splits, name -> file of scene names. annotations: (importer, files). boxes: of the true objects that these name.
    boxes_oriented: compare turned boxes as they are. wordings: how many of the prompt's wordings are dealt.
    """

    seed: int = 0
    homes: int = 1
    fps: float = 5.0
    noise: str = "all"
    size: tuple[int, int] = (640, 480)
    every: int = 1
    kinds: tuple[str, ...] = FAMILIES
    per_kind: int = 6
    small: int = 0
    proposal_iou: float = PROPOSAL_IOU
    shares: Mapping[str, float] = field(default_factory=lambda: {"val": 0.1})
    lists: Mapping[str, Path] = field(default_factory=dict)
    annotations: tuple[tuple[str, tuple[Path, ...]], ...] = ()
    boxes: Path | None = None
    boxes_oriented: bool = False
    licence: str = ""  # of what has none that is known
    jpeg_quality: int = 95
    shard_mb: float = 256.0
    wordings: int = 10
    config: Config = field(default_factory=Config)
    prompt: PromptConfig = PROMPT

    def __post_init__(self) -> None:
        if self.prompt.frames < self.config.views.count:
            raise DatasetError(
                f"prompt.frames = {self.prompt.frames} is less than views.count = {self.config.views.count}: "
                f"'frame 7 of {self.config.views.count}' would be another one; make both the same"
            )
        try:
            kinds_of(self.kinds)
        except ValueError as error:
            raise DatasetError(str(error)) from error
        if self.noise not in NOISES:
            raise DatasetError(f"noise = {self.noise!r} is none of {', '.join(NOISES)}")
        if any(not 0 <= share <= 1 for share in self.shares.values()) or sum(self.shares.values()) > 1:
            raise DatasetError(f"shares of splits are 0 to 1, and 1 at most together, not {dict(self.shares)}")
        if not 0 < self.proposal_iou <= 1 or self.homes < 1 or self.every < 1 or self.fps <= 0 or self.shard_mb <= 0:
            raise DatasetError("proposal_iou is above 0, up to 1; homes and every are 1 or more; fps, shard_mb above 0")

    def plain(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        return dict(json.loads(json.dumps(dataclasses.asdict(self), default=str, sort_keys=True)))

    def fingerprint(self) -> str:
        """Return a hash of what the pictures and texts depend on; files count by what is in them."""
        digest = hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode())
        for path in (*(p for _, paths in self.annotations for p in paths), *self.lists.values(), self.boxes):
            if path is not None:
                digest.update(_content(path))
        return digest.hexdigest()[:16]


def _content(path: Path) -> bytes:
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    return b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)
