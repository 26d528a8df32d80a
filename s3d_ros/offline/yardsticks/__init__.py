"""What else could have been done with the same frames and instances, measured by the same code: see ``compare``."""

from s3d_ros.offline.yardsticks.compare import YARDSTICKS, run_yardsticks

__all__ = ["YARDSTICKS", "run_yardsticks"]
