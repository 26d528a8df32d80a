"""Start a node, spin it, and end it cleanly on SIGINT or SIGTERM: exit code 0, no traceback.

Mistakes in the parameters are one line on the log and exit code 2.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.timer import Timer

PROFILES = "FASTRTPS_DEFAULT_PROFILES_FILE"
SHARED_MEMORY = Path("/dev/shm")
ENOUGH_SHARED_MEMORY = 256 * 2**20


class Stoppable(Protocol):
    """What this module asks of a node besides being one."""

    def close(self) -> None:
        """End the node's threads and processes."""


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


def run(make_node: Callable[[], Node], args: Sequence[str] | None = None) -> None:
    """Initialise ROS, make the node, spin until a signal, clean up. Exits the process with 2 on a wrong parameter."""
    sys.exit(spin_node(make_node, args))


def spin_node(make_node: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """As ``run``; returns the exit code instead."""
    use_large_messages()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from s3d_ros.config import ConfigError

    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    node: Node | None = None
    try:
        node = make_node()
        steady_timer(node, 0.1, lambda: None)  # Python runs signal handlers between two callbacks only
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stop.is_set():
            executor.spin_once()
        node.get_logger().info("stopping")
        return 0
    except ConfigError as error:
        rclpy.logging.get_logger("s3d").fatal(f"{error}")
        return 2
    finally:
        if node is not None:
            close = getattr(node, "close", None)
            if close is not None:
                close()
            node.destroy_node()
        rclpy.try_shutdown()
