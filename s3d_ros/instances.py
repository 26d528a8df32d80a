"""Brings instances and frames together by stamp, however late either comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from s3d_ros.camera import Rectifier
from s3d_ros.config import FramesConfig
from s3d_ros.drops import Tally
from s3d_ros.images import resize_nearest, same_aspect
from s3d_ros.types import Arrival, Frame, Instances

_NS = 1_000_000_000
# Instances carry the stamp of their image; a stamp that went through a float may be off by a little.
_SAME_NS = 1_000_000


class InstanceMatcher:
    """Takes complete frames and instances; gives arrivals.

    Live, a frame goes out at once and again with its instances when they come. Offline, it waits for them.
    """

    def __init__(self, config: FramesConfig, tally: Tally, *, offline: bool, expected: bool) -> None:
        self.rectifier: Rectifier | None = None
        self._tally = tally
        self._offline = offline
        self._expected = expected
        self._wait_ns = int(config.instances_wait_s * _NS)
        self._jump_ns = int(config.max_jump_back_s * _NS)
        self._limit = config.max_pending
        self._out: list[Arrival] = []
        self._waiting: deque[Frame] = deque()  # offline
        self._recent: deque[Frame] = deque()  # live
        self._held: dict[int, Instances] = {}
        self._newest: int | None = None
        self._served: deque[int] = deque(maxlen=4 * config.max_pending)
        self._skipped: deque[int] = deque(maxlen=4 * config.max_pending)

    def add(self, instances: Instances) -> None:
        """Add the instances of one image."""
        stamp = instances.stamp_ns
        self._expected = True
        if self._newest is not None and stamp < self._newest - self._jump_ns:
            self._newest = None
        self._newest = stamp if self._newest is None else max(stamp, self._newest)
        if stamp in self._held or _near(stamp, self._served):
            self._tally.drop("instances_duplicate", f"stamp {stamp / _NS:.3f}")
            return
        self._held[stamp] = instances
        if not self._offline and len(self._held) > self._limit:
            self._give_up(min(self._held))

    def add_frame(self, frame: Frame) -> None:
        """Add a complete frame."""
        if self._offline and self._expected:
            self._waiting.append(frame)
            return
        if self._expected and not _near(frame.stamp_ns, self._held):
            self._recent.append(frame)
        self._out.append(Arrival(frame, self._take(frame)))

    def skip(self, stamp_ns: int) -> None:
        """Remember that nobody wants the frame of this stamp, nor its instances."""
        self._skipped.append(stamp_ns)

    def pop(self, newest_color_ns: int | None, pending: Iterable[int], flush: bool) -> list[Arrival]:
        """Return what can be handed out. pending: stamps of images that may still become frames."""
        now = newest_color_ns or 0
        self._release_waiting(now, flush)
        recent = list(self._recent) if self._held else []
        late = [arrival for frame in recent if (arrival := self._late(frame)) is not None]
        while self._recent and (len(self._recent) > self._limit or now - self._recent[0].stamp_ns > self._wait_ns):
            self._recent.popleft()
        coming = [*pending, *(frame.stamp_ns for frame in self._waiting)]
        for stamp in [s for s in self._held if flush or (s + _SAME_NS < now and not _near(s, coming))]:
            self._give_up(stamp)
        out, self._out = late + self._out, []
        return out

    def restart(self, stamp_ns: int) -> None:
        """Start afresh at a stamp that went back; complete frames are handed out as they are."""
        self._out += [Arrival(frame, self._take(frame)) for frame in self._waiting]
        self._waiting.clear()
        self._recent.clear()
        self._served.clear()
        self._skipped.clear()
        for stamp in [s for s in self._held if s > stamp_ns + self._jump_ns]:
            del self._held[stamp]
            self._tally.drop("restart")
        self._newest = max(self._held, default=None)

    def _release_waiting(self, now: int, flush: bool) -> None:
        while self._waiting:
            frame = self._waiting[0]
            stamp = frame.stamp_ns
            passed = self._newest is not None and self._newest > stamp + _SAME_NS
            if not (flush or passed or _near(stamp, self._held) or now - stamp > self._wait_ns):
                return
            self._waiting.popleft()
            instances = self._take(frame)
            if instances is None:
                self._tally.note("instances_missing")
            self._out.append(Arrival(frame, instances))

    def _late(self, frame: Frame) -> Arrival | None:
        if not _near(frame.stamp_ns, self._held):
            return None
        self._recent.remove(frame)
        instances = self._take(frame)
        return None if instances is None else Arrival(frame, instances, is_new=False)

    def _take(self, frame: Frame) -> Instances | None:
        """Return the frame's instances, fitted to it, and forget them; None if there are none that fit."""
        stamp = _nearest(frame.stamp_ns, self._held)
        if stamp is None:
            return None
        self._served.append(frame.stamp_ns)
        return self._fitted(self._held.pop(stamp), frame)

    def _fitted(self, instances: Instances, frame: Frame) -> Instances | None:
        image, (height, width) = instances.image, frame.depth_m.shape
        if image.shape != (height, width):
            sizes = f"{image.shape[1]}x{image.shape[0]} for a frame of {width}x{height}"
            if not same_aspect(image.shape, (height, width)):
                self._tally.drop("instances_size", sizes)
                return None
            self._tally.note("instances_resized", sizes)
            image = resize_nearest(image, height, width)
        if self.rectifier is not None:
            image = self.rectifier.values(image)
        return Instances(frame.stamp_ns, image, instances.numbers, instances.labels, instances.scores)

    def _give_up(self, stamp: int) -> None:
        del self._held[stamp]
        if not _near(stamp, self._skipped):
            self._tally.drop("instances_without_frame", f"stamp {stamp / _NS:.3f}")


def _near(stamp_ns: int, stamps: Iterable[int]) -> bool:
    return _nearest(stamp_ns, stamps) is not None


def _nearest(stamp_ns: int, stamps: Iterable[int]) -> int | None:
    best = min(stamps, key=lambda s: abs(s - stamp_ns), default=None)
    return best if best is not None and abs(best - stamp_ns) <= _SAME_NS else None
