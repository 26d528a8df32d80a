"""When a model's process is taken for lost. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from s3d_ros.keys import number


def _seconds(default: float, doc: str) -> Any:
    return number(default, 0.05, 86400, doc)


@dataclass(frozen=True)
class WatchConfig:
    """When a model's process is taken for lost, and when it is started again."""

    silent_s: float = _seconds(20.0, "no sign of life for so long: the model's process is started again")
    load_s: float = _seconds(1800.0, "a model that is not loaded by then is given up")
    stuck_s: float = _seconds(60.0, "no token, and no piece of a prompt, for so long: it is started again")
    stop_s: float = _seconds(10.0, "an answer that goes on so long after it was cancelled: it is started again")
    answer_s: float = _seconds(600.0, "an answer that takes longer is stopped")
    backoff_s: float = _seconds(0.5, "before a model that died is started again; doubles each time")
    retry_s: float = _seconds(30.0, "before a model that could not be loaded is tried again; doubles, up to tenfold")
    beat_s: float = _seconds(0.25, "between signs of life")
