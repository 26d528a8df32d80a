"""Start a node, spin it, and end it cleanly on SIGINT or SIGTERM: exit code 0, no traceback.

Mistakes in the parameters are one line on the log and exit code 2.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.task import Future
    from rclpy.timer import Timer

T = TypeVar("T")

PROFILES = "FASTRTPS_DEFAULT_PROFILES_FILE"
SHARED_MEMORY = Path("/dev/shm")
ENOUGH_SHARED_MEMORY = 256 * 2**20
SWITCH_S = 0.0005  # of Python: no thread waits ten times as long for another, as it would by default


def use_large_messages() -> None:
    """Give this process's Fast DDS a shared memory that holds images; call it before ``rclpy.init``.

    Does nothing where the user brings a profile, or where shared memory is short (Docker gives 64 MiB).
    """
    if "FASTDDS_DEFAULT_PROFILES_FILE" in os.environ or not SHARED_MEMORY.is_dir():
        return
    if shutil.disk_usage(SHARED_MEMORY).free >= ENOUGH_SHARED_MEMORY:
        os.environ.setdefault(PROFILES, str(Path(__file__).with_name("fastdds.xml")))


def steady_timer(node: Node, period_s: float, callback: Callable[[], object]) -> Timer:
    """Call back periodically by this machine's clock: simulated time may stand still."""
    from rclpy.clock import Clock, ClockType

    return node.create_timer(period_s, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))


def soon(node: Node, start: Callable[[Callable[[T], None]], object]) -> Future[T]:
    """Return what a callback can await. start: is given what is to be called, from any thread, with the result."""
    from rclpy.task import Future

    future: Future[T] = Future()

    def done(result: T) -> None:
        future.set_result(result)
        if node.executor is not None:
            node.executor.wake()

    start(done)
    return future


class Heartbeat:
    """A callback ten times a second, and how late it came: so late may any other come.

    It also lets Python run signal handlers, which it does between two callbacks only.
    """

    PERIOD_S = 0.1

    def __init__(self, node: Node) -> None:
        self._late_s: deque[float] = deque(maxlen=600)  # of the last minute
        self._due: float | None = None
        self._timer = steady_timer(node, self.PERIOD_S, self._beat)

    def values(self) -> dict[str, str]:
        """Return the delays of the last minute for a diagnostics message, in milliseconds."""
        late_ms = sorted(1e3 * late for late in self._late_s) or [0.0]
        at = {"median": 0.5, "p95": 0.95, "max": 1.0}
        return {
            f"callback_delay_ms/{k}": f"{late_ms[min(int(v * len(late_ms)), len(late_ms) - 1)]:.1f}"
            for k, v in at.items()
        }

    def _beat(self) -> None:
        now = time.monotonic()
        if self._due is not None:
            self._late_s.append(max(0.0, now - self._due))
            missed = (now - self._due) // self.PERIOD_S  # the timer's beats are fixed: one that is late moves no other
            self._due += self.PERIOD_S * (max(missed, 0) + 1)
        else:
            self._due = now + self.PERIOD_S


def run(make_node: Callable[[], Node], args: Sequence[str] | None = None) -> None:
    """Initialise ROS, make the node, spin until a signal, clean up. Exits the process with 2 on a wrong parameter."""
    sys.exit(spin_node(make_node, args))


def spin_node(make_node: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """As ``run``; returns the exit code instead."""
    use_large_messages()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from s3d_ros.keys import ConfigError
    from s3d_ros.mapfile import MapFileError

    sys.setswitchinterval(SWITCH_S)
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    node: Node | None = None
    try:
        node = make_node()
        if not hasattr(node, "heartbeat"):
            Heartbeat(node)
        gc.collect()
        gc.freeze()  # what is there by now stays: looking through it for garbage stops all threads for 70 ms
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stop.is_set():
            executor.spin_once()
        node.get_logger().info("stopping")
        return 0
    except (ConfigError, MapFileError) as error:
        rclpy.logging.get_logger("s3d").fatal(f"{error}")
        return 2
    finally:
        if node is not None:
            close = getattr(node, "close", None)
            if close is not None:
                close()
            node.destroy_node()
        rclpy.try_shutdown()
        gc.unfreeze()  # what is left is to be freed in order, Open3D's memory too
