"""Scenes of which only the pictures are learnt from: those without text, and those whose text is left out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from s3d_ros.chat import Chat, ChatImage, Turn
from s3d_ros.train.reader import SceneData


def with_text(keys: Iterable[str], share: float, seed: int) -> set[str]:
    """Return the scenes that keep their texts: so large a share of them, chosen by a hash of their names."""
    ranked = sorted(set(keys), key=lambda k: hashlib.blake2b(f"{seed}/text/{k}".encode(), digest_size=8).digest())
    return set(ranked[: round(share * len(ranked))])


def silent_chat(scene: SceneData, system: str, picture: Callable[[str], ChatImage]) -> Chat:
    """Return a chat of a scene's view frames, by time, and its view from above: nothing is asked."""
    bev = next((name for name in scene.data["bevs"] if name.endswith(".png")), None)
    names = [view.marked for view in scene.views] + ([] if bev is None else [bev])
    return Chat(system, (Turn("user", tuple(picture(name) for name in names)),))
