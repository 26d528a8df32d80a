"""The map made anew from its anchor frames, at corrected poses: by the same pipeline that made it.

Anchors from before the error are only fused; from the moment on that the objects are remembered of, their instances
are seen again. What comes out is a pipeline that the one that maps can take over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from s3d_ros.anchors import Anchor
from s3d_ros.config import Config
from s3d_ros.correction import Correction
from s3d_ros.past import Memory
from s3d_ros.reconciling import FIRST_NEW_ID, Sights
from s3d_ros.state import State
from s3d_ros.types import F64

if TYPE_CHECKING:
    from s3d_ros.pipeline import Pipeline
    from s3d_ros.views import MovedViews, ViewSelector

# Few frames stand for many: an anchor's sight of a voxel counts for as many frames.
_WEIGHT = 2.0
_SELDOM_S = 60.0  # nobody looks at the map while it is made


class Refusion:
    """Sees anchors again. ``pipeline`` is the map so far; ``sights`` says which ID each object had been given."""

    def __init__(self, config: Config, up: F64, memory: Memory | None) -> None:
        from s3d_ros.pipeline import Pipeline  # the pipeline knows this module

        seldom = dict.fromkeys(("bev.period_s", "views.period_s", "map.scene_period_s"), _SELDOM_S)
        seldom["fusion.initial_blocks"] = 100  # room is made as it is needed
        quiet = {**seldom, "map.up": ",".join(map(str, up))}
        self.pipeline: Pipeline = Pipeline(config.with_values(quiet), keeps_past=False)
        self.sights: Sights = Counter()
        self.last_ns = -1  # stamp of the last anchor that was seen
        self.moved: MovedViews = {}  # the view frames, as far as they were moved before the exchange
        self._is_prepared = False
        self._memory = memory
        self._remembers = self._settled = False

    def see(self, anchors: Iterable[Anchor]) -> None:
        """See anchors again, in the order of their stamps."""
        for anchor in anchors:
            frame, instances = anchor.unpack()
            if not self._remembers and (self._memory is None or anchor.stamp_ns > self._memory.stamp_ns):
                self._remember()
            result = self.pipeline.process(frame, instances if self._remembers else None)
            self.last_ns = anchor.stamp_ns
            if instances is None or not self._remembers:
                continue
            pixels = np.bincount(instances.image.ravel())
            for number, said in zip(anchor.numbers, anchor.ids, strict=True):
                now = result.instance_ids.get(number)
                if said and now and number < len(pixels):
                    self.sights[now, said] += int(pixels[number])

    def state(self) -> State:
        """Return all that another process needs to go on with it: see ``resumed``."""
        self.settle()
        return {"pipeline": self.pipeline.state(), "sights": self.sights, "last_ns": self.last_ns}

    @classmethod
    def resumed(cls, config: Config, up: F64, state: State, rest: Callable[[], None] = lambda: None) -> Refusion:
        """Go on with what ``state`` returned; ``prepare`` is left to be done. rest: called between short steps."""
        made = cls(config, up, None)
        made.pipeline.restore(state["pipeline"], rest, draw=False)
        made.sights, made.last_ns = state["sights"], state["last_ns"]
        made._remembers = made._settled = True
        return made

    def settle(self) -> None:
        """End the re-fusion: what was seen so far is the map. Anchors that are seen later count as other frames do."""
        if not self._settled:
            self._settled = True
            self.pipeline.fusion.scale_weights(_WEIGHT)
        if not self._remembers:
            self._remember()

    def prepare(
        self, views: ViewSelector | None, correction: Correction, rest: Callable[[], None] = lambda: None
    ) -> None:
        """Do all that takes time before the map can be exchanged. rest: called between short steps."""
        self._is_prepared = True
        for _ in self.pipeline.drawing():
            rest()
        objects = self.pipeline.objects
        while objects.fit_one(max(self.last_ns, 0)):
            rest()
        if views is not None:
            self.moved |= views.moved(correction, self.moved, rest)

    @property
    def is_prepared(self) -> bool:
        """Whether ``prepare`` was called."""
        return self._is_prepared

    def _remember(self) -> None:
        """From here on the objects are those of the memory."""
        self._remembers = True
        if self._memory is not None:
            self.pipeline.objects.up = self.pipeline.up
            self.pipeline.objects.restore(self._memory.objects)
        self.pipeline.objects.tracks.count_from(FIRST_NEW_ID)
