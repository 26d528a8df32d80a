"""How a command of ``s3d`` ends when something is wrong: a line that says what, and the exit code."""

from __future__ import annotations

import sys
from typing import Any

from typer.core import TyperGroup

from s3d_ros.cli_support import complain, words_of

_FAILED_CHECK, _BAD_INPUT, _INTERRUPTED = 1, 2, 130


class Commands(TyperGroup):
    """Tells in one line what is wrong with the input. Anything else is a fault of the program and keeps its trace."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            complain("stopped")
            sys.exit(_INTERRUPTED)
        except BrokenPipeError:  # of `s3d ... | head`
            sys.stderr.close()
            sys.exit(_FAILED_CHECK)
        except ModuleNotFoundError as error:
            if not _is_of_ros(error.name or ""):
                raise
            complain(
                f"this needs ROS 2, and Python does not find {error.name}: source /opt/ros/jazzy/setup.bash and "
                "install/setup.bash of your workspace, or run `make setup` and use .venv/bin/s3d"
            )
        except OSError as error:
            complain(words_of(error))
        except ValueError as error:
            if not type(error).__module__.startswith("s3d_ros."):
                raise
            complain(str(error))
        sys.exit(_BAD_INPUT)


def _is_of_ros(module: str) -> bool:
    top = module.split(".")[0]
    messages = ("s3d_ros.msg", "s3d_ros.srv", "s3d_ros.action")
    return top in ("rclpy", "builtin_interfaces", "rcl_interfaces") or top.endswith("_msgs") or module in messages
