"""What is kept of the past so that the map can be made anew: anchor frames, the way taken, objects as they were."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from s3d_ros.anchors import Anchor, AnchorStore, corrected
from s3d_ros.config import AnchorsConfig
from s3d_ros.correction import Correction
from s3d_ros.corrector import Corrector
from s3d_ros.objects import ObjectMap
from s3d_ros.state import State
from s3d_ros.timing import Periodic
from s3d_ros.types import Frame, Instances, PoseNews

_MEMORY_PERIOD_S, _SPARSER = 10.0, 6.0
_BACK_NS = 1_000_000_000


@dataclass(frozen=True)
class Memory:
    """All objects as they were at a stamp."""

    stamp_ns: int
    objects: State


@dataclass(frozen=True)
class Remaking:
    """What is to be made anew: ``correction`` of the map as it is, the objects from ``memory`` on (None: all)."""

    correction: Correction
    memory: Memory | None


class Past:
    """Anchors, corrections and memories of one map."""

    def __init__(self, config: AnchorsConfig) -> None:
        self.config = config
        self.anchors = AnchorStore(config)
        self.corrector = Corrector()
        self._memories: list[Memory] = []  # oldest first, the further back the sparser
        self._newest_ns, self._clock_went_back = 0, False
        self._remembering = Periodic(_MEMORY_PERIOD_S)

    def keep(self, frame: Frame, instances: Instances | None, ids: dict[int, int | None], objects: ObjectMap) -> None:
        """Keep what is needed of a frame that was mapped, as it was placed."""
        self._clock_went_back |= frame.stamp_ns < self._newest_ns - _BACK_NS
        self._newest_ns = max(self._newest_ns, frame.stamp_ns)
        self.anchors.consider(frame, instances, ids)
        if self._remembering.due(frame.stamp_ns):
            self._memories.append(Memory(frame.stamp_ns, copied(objects.state())))
            self._thin(frame.stamp_ns)

    def sizes_bytes(self) -> dict[str, int]:
        """Return how much memory anchors and memories of objects take."""
        memories = sum(v.nbytes for m in list(self._memories) for v in m.objects["voxels"].values())
        return {"anchors": self.anchors.size_bytes, "memories": memories}

    def state(self) -> State:
        """Return the anchors and the way taken. Objects as they were are left out: all anchors will be seen again."""
        return {"anchors": [a.state() for a in self.anchors], "corrector": self.corrector.state()}

    def restore(self, state: State, stamp_ns: int, objects: ObjectMap) -> None:
        """Take over what ``state`` returned; ``objects`` are restored already, and were so at a stamp."""
        self.anchors.restore(Anchor.restored(a) for a in state["anchors"])
        self.corrector.restore(state["corrector"])
        self._newest_ns = stamp_ns
        self._memories = [Memory(stamp_ns, copied(objects.state()))]

    def hear(self, news: PoseNews) -> None:
        """Take in a correction of earlier poses. Raises ValueError if it corrects nothing that was mapped."""
        if self._clock_went_back:
            raise ValueError("the clock went back since the map was begun: which of its poses are meant can't be told")
        self.corrector.hear(news)

    def wanted(self) -> Remaking | None:
        """Return what is to be made anew, None: the map lies well."""
        begins_ns = self.corrector.begins_ns()
        correction = self.corrector.pending
        if begins_ns is None or correction is None:
            return None
        before = [m for m in self._memories if m.stamp_ns < begins_ns]
        return Remaking(correction, before[-1] if before else None)

    def anchors_of(self, remaking: Remaking, since_ns: int = -1) -> list[Anchor]:
        """Return the anchors after a stamp, where the correction has them."""
        return corrected(self.anchors.since(since_ns), remaking.correction)

    def remade(self, remaking: Remaking) -> None:
        """The map was made anew: it lies there now."""
        self.corrector.done(remaking.correction)
        self.anchors.move(remaking.correction)
        used = remaking.memory
        if used is None:
            self._memories = []
        else:  # what the later ones remember lay elsewhere
            self._memories = [*(m for m in self._memories if m.stamp_ns < used.stamp_ns), used]

    def _thin(self, now_ns: int) -> None:
        """Keep memories at twice the distance for twice the age, up to ``recent_s``: some fifteen."""
        kept: list[Memory] = []
        for memory in reversed(self._memories):
            age_ns = now_ns - memory.stamp_ns
            if age_ns > self.config.recent_s * 1e9:
                break
            if not kept or kept[-1].stamp_ns - memory.stamp_ns >= age_ns / _SPARSER or memory is self._memories[0]:
                kept.append(memory)
        self._memories = kept[::-1]


def copied(state: Any) -> Any:
    """Return a state whose arrays are its own."""
    if isinstance(state, dict):
        return {k: copied(v) for k, v in state.items()}
    if isinstance(state, list):
        return [copied(v) for v in state] if state and isinstance(state[0], dict) else list(state)
    return state.copy() if isinstance(state, np.ndarray) else copy.copy(state)
