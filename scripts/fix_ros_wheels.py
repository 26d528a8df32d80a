"""Put right what the ROS wheels' CMake files say about the machine they were built on.

Run by `make setup` with the virtual environment's Python; running it again does no harm.
"""

import re
import sys
import sysconfig
from pathlib import Path

import numpy

BUILD_PYTHON = r"/opt/python/cp3\d+-cp3\d+"
REPLACEMENTS = (
    (rf"{BUILD_PYTHON}/include/python3\.\d+", sysconfig.get_path("include")),
    (rf"{BUILD_PYTHON}/lib/python3\.\d+/site-packages/numpy/_?core/include", numpy.get_include()),
)


def main() -> None:
    fixed = 0
    for path in Path(sys.prefix, "share").rglob("*.cmake"):
        text = old = path.read_text()
        for pattern, here in REPLACEMENTS:
            text = re.sub(pattern, here.replace("\\", r"\\"), text)
        if text != old:
            path.write_text(text)
            fixed += 1
    print(f"corrected the paths in {fixed} CMake files of the ROS wheels")


if __name__ == "__main__":
    main()
