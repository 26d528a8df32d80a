"""A simulated home: from a layout to a recording of a camera's walk through it, and the truth about it."""

from s3d_ros.offline.simulate.config import Move, Remove, SimulateConfig
from s3d_ros.offline.simulate.run import simulate

__all__ = ["Move", "Remove", "SimulateConfig", "simulate"]
