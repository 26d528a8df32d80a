"""What the mapper tells about itself once a second: counts, drops by reason, times, sizes. Free of rclpy."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from s3d_ros.drops import DROPS, NOTES
from s3d_ros.messages import Role
from s3d_ros.ros.mapping_worker import LATE, MappingWorker
from s3d_ros.timing import Lasted

WARN_EVERY_S = 10.0
GRACE_S = 5.0  # for cameras to start
RECENT = 300  # calls of a stage that its times are taken from
NEEDED = (Role.COLOR, Role.DEPTH, Role.CAMERA_INFO)


class Status:
    """Follows a worker's counters. ``report()`` once a second; it also says what is to be warned of."""

    def __init__(
        self, worker: MappingWorker, topics: Mapping[Role, str], has_publisher: Callable[[Role], bool]
    ) -> None:
        """topics: where each input comes from. has_publisher: whether anybody publishes it."""
        self._worker, self._topics, self._has_publisher = worker, topics, has_publisher
        self._seen: Counter[str] = Counter()
        self._warned: dict[str, float] = {}
        self._fused, self._busy_s = 0, 0.0
        self._at = self._began = time.monotonic()
        self.summary = ""
        self.is_ok = False

    def report(self) -> tuple[dict[str, str], list[str]]:
        """Return the values to publish, and sentences for the log that were not said of late."""
        worker, assembler = self._worker, self._worker.assembler
        now = time.monotonic()
        elapsed = max(now - self._at, 1e-3)
        fused = worker.counts["fused"]
        fps, busy = (fused - self._fused) / elapsed, (worker.busy_s - self._busy_s) / elapsed
        self._fused, self._busy_s, self._at = fused, worker.busy_s, now

        dropped = dict(assembler.drops) | {k: worker.counts[k] for k in (*LATE, "failed") if worker.counts[k]}
        warnings = self._fresh(dropped, dict(assembler.notes), now)
        missing = self._missing() if fps == 0 else []
        if missing and fused == 0 and now - self._began > GRACE_S and self._may_say("missing", now):
            warnings.append(f"no frame yet: {'; '.join(missing)}")
        self.is_ok = fps > 0 and not warnings
        self.summary = f"{fps:.1f} frames/s" if fps > 0 else "; ".join(missing) or "no new frames"
        values = {
            "frames_per_second": f"{fps:.1f}",
            "frames_fused": str(fused),
            "frames_in_haste": str(worker.counts["in_haste"]),
            "busy_share": f"{busy:.2f}",
            **{f"received/{role}": str(count) for role, count in sorted(assembler.received.items())},
            **{f"dropped/{reason}": str(count) for reason, count in sorted(dropped.items())},
            **{f"noted/{what}": str(count) for what, count in sorted(assembler.notes.items())},
            **_times(worker.pipeline.times.seconds),
            **self._sizes(),
        }
        return values, warnings

    def _sizes(self) -> dict[str, str]:
        pipeline = self._worker.pipeline
        scene = pipeline.scene()
        sizes = pipeline.sizes_bytes()
        return {
            "map/version": str(scene.map_version),
            "map/objects": str(len(scene.objects)),
            "map/view_frames": str(len(scene.views)),
            "map/floor_area_m2": f"{scene.floor_area_m2:.1f}",
            "map/blocks": str(len(pipeline.fusion)),
            "map/anchors": str(0 if pipeline.past is None else len(pipeline.past.anchors)),
            "map/mb": f"{sum(sizes.values()) / 1e6:.1f}",
            "map/mb_per_m2": f"{sum(sizes.values()) / 1e6 / max(scene.floor_area_m2, 1.0):.2f}",
            **{f"map/mb/{part}": f"{size / 1e6:.1f}" for part, size in sizes.items()},
            "corrections": str(self._worker.counts["corrections"]),
            "remade": str(self._worker.counts["remade"]),
            "segmented": str(self._worker.counts["segmented"]),
            "memory/resident_mb": f"{_resident_mb():.0f}",
            "memory/peak_mb": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}",
        }

    def _missing(self) -> list[str]:
        received = self._worker.assembler.received
        lines = []
        for role in NEEDED:
            if not received[role]:
                lines.append(f"nothing on {self._where(role)}")
        if not received["pose"] and not received["transform"]:
            lines.append(f"no poses, neither on {self._where(Role.POSE)} nor on /tf")
        return lines

    def _where(self, role: Role) -> str:
        return self._topics.get(role, str(role)) + ("" if self._has_publisher(role) else " (nobody publishes it)")

    def _fresh(self, drops: Mapping[str, int], notes: Mapping[str, int], now: float) -> list[str]:
        """Return a sentence for each reason whose count rose, at most one in WARN_EVERY_S each."""
        lines = []
        words = {**LATE, "failed": "a fault of the pipeline", **DROPS}
        for prefix, counts, texts in (("dropped", drops, words), ("noted", notes, NOTES)):
            for key, count in counts.items():
                name = f"{prefix}/{key}"
                if count > self._seen[name] and self._may_say(name, now):
                    detail = self._worker.assembler.tally.details.get(key, "")
                    lines.append(f"{count} x {key}: {texts.get(key, '')}" + (f" (last: {detail})" if detail else ""))
                    self._seen[name] = count
        return lines

    def _may_say(self, what: str, now: float) -> bool:
        if now - self._warned.get(what, -WARN_EVERY_S) < WARN_EVERY_S:
            return False
        self._warned[what] = now
        return True


def _times(seconds: Mapping[str, Lasted]) -> dict[str, str]:
    out = {}
    for stage, values in list(seconds.items()):
        recent = values.last(RECENT)
        if len(recent):
            out[f"ms/{stage}"] = f"{np.median(recent) * 1e3:.1f} (p95 {np.percentile(recent, 95) * 1e3:.1f})"
    return out


def _resident_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20
