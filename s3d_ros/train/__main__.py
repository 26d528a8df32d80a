"""``python -m s3d_ros.train CONFIG``, also below ``accelerate launch -m``: the same as ``s3d train``."""

import sys

from s3d_ros.cli import app

if __name__ == "__main__":
    app(["train", *sys.argv[1:]])
