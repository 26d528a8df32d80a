"""Imported before Open3D: leave one core to those who feed the mapper and listen to it.

Open3D starts as many threads as there are cores and waits for the slowest. Beside a camera's driver, DDS and a planner
the slowest is the one whose core is taken: on two cores two threads map fewer frames than one. OMP_NUM_THREADS, where
it is set, holds.
"""

import os

import cv2

os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) - 1)))
cv2.setNumThreads(1)  # its workers spin between two calls, each of which is over in a millisecond
