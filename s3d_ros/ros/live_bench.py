"""The live half of ``make bench``: a 30 Hz camera into the two nodes, in processes of their own, over real ROS."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from s3d_ros.offline.processes import Processes
from s3d_ros.offline.recording import open_recording

_HOME = "living_room"
_FPS, _SECONDS = 30.0, 20.0
_ASK_EVERY_S = 0.5
_START_S = 60.0
_LIMITS = {"lost_share": 0.02, "objects_p95_ms": 150.0, "ask_median_ms": 50.0, "callback_delay_ms/max": 20.0}
_SEGMENTED_PER_S = 5.0


def measure_live(console: Console) -> dict[str, Any]:
    """Play a simulated home at 30 Hz, 640x480, with given instances; ask all the while.

    Returns frames played and mapped, their lost share, the time from a frame's publication to its ``objects`` message
    (median, p95), and from a question to its reply (median), in milliseconds; ``holds``: all within their limits.
    """
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    with tempfile.TemporaryDirectory(prefix="s3d-bench-") as folder:
        bag = Path(folder) / "home"
        with console.status("simulating a home at 30 Hz"):
            _record(bag)
        given = _play(bag, Path(folder) / "logs", console, "given")
        found = _play(bag, Path(folder) / "logs-geometric", console, "geometric")
    table = Table("live, 30 Hz, 640x480", "given instances", "depth alone", "limit")
    for name in given:
        limit = f">= {_SEGMENTED_PER_S}" if name == "segmented_per_s" else str(_LIMITS.get(name, ""))
        table.add_row(
            name, *(f"{v[name]:.3f}" if isinstance(v[name], float) else str(v[name]) for v in (given, found)), limit
        )
    console.print(table)
    enough = found["segmented_per_s"] >= _SEGMENTED_PER_S and found["lost_share"] <= _LIMITS["lost_share"]
    return {"given": given, "geometric": found, "holds": holds(given) and enough}


def holds(figures: Mapping[str, Any]) -> bool:
    """Whether every figure that has a limit keeps it."""
    return all(figures[name] <= limit for name, limit in _LIMITS.items())


def _record(bag: Path) -> None:
    from s3d_ros.offline.simulate.config import SimulateConfig
    from s3d_ros.offline.simulate.run import simulate

    simulate([Path(_HOME)], bag, options=SimulateConfig(fps=_FPS, max_duration_s=_SECONDS, truth_images=False))


def _play(bag: Path, logs: Path, console: Console, segmenter: str) -> dict[str, Any]:
    from s3d_ros.ros.watcher import Watcher

    asked_s: list[float] = []
    with Processes(logs, {"PYTHONUNBUFFERED": "1"}) as processes, Watcher(scenes=False) as watcher:
        namespace = ("--ros-args", "-r", "__ns:=/s3d")
        processes.start("mapper", "-m", "s3d_ros.ros.mapper", *namespace, "-p", f"segment.segmenter:={segmenter}")
        processes.start("answerer", "-m", "s3d_ros.ros.answerer", *namespace)
        with console.status("starting the nodes"):
            _wait(watcher.is_ready, _START_S, "the nodes did not come up")
        with console.status("playing"):
            processes.start("player", "-m", "s3d_ros.cli", "play", str(bag))
            while not processes.has_ended("player"):
                time.sleep(_ASK_EVERY_S)
                if watcher.frames:
                    asked_s.append(watcher.ask("How many chairs are there?").seconds)
            time.sleep(2.0)  # for what is on the way
        delays = np.array(watcher.delays_s) * 1e3
        mapped = watcher.frames
        told = watcher.diagnostics()
        seen_s = max(watcher.seen_s, 1e-3)
    played = open_recording(bag).frame_count or 0  # not what came of /clock: that may be lost on the way, too
    return {
        "frames_played": played,
        "frames_mapped": mapped,
        "lost_share": 1 - mapped / max(played, 1),
        "late_frames": int(told.get("dropped/late", 0)),
        "in_haste": int(told.get("frames_in_haste", 0)),
        "objects_median_ms": float(np.median(delays)) if len(delays) else float("inf"),
        "objects_p95_ms": float(np.percentile(delays, 95)) if len(delays) else float("inf"),
        "ask_median_ms": float(np.median(asked_s)) * 1e3 if asked_s else float("inf"),
        "asked": len(asked_s),
        "segmented_per_s": int(told.get("segmented", 0)) / seen_s,
        **{k: float(v) for k, v in told.items() if k.startswith("callback_delay_ms/")},
    }


def _wait(ready: Any, limit_s: float, complaint: str) -> None:
    end = time.monotonic() + limit_s
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(complaint)
        time.sleep(0.1)
