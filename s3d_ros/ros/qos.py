"""Quality of service of every topic and service, in one place.

Inputs are sensor data: a late image is worth less than the next one. What describes the map is reliable and latched
(transient local), so that whoever comes late gets it. Services hold many requests: beyond a reader's depth DDS drops
silently, and a question must get an answer, even if it is "too many".
"""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

# Deep enough for what arrives while a callback is held up: 30 Hz for a third of a second
SENSOR = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
# What we publish as a camera or a detector would: reliable, so that either kind of subscriber gets it
CAMERA = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
# tf is small and one lost transform costs many frames: as tf2 does it
TF = QoSProfile(depth=100)


def latched(depth: int) -> QoSProfile:
    """Reliable and transient local: the newest ``depth`` messages reach those who come later."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


TF_STATIC = latched(100)
CHANGES_DEPTH = 30  # changes kept beside the full set of objects
OBJECTS_READER = latched(4 * CHANGES_DEPTH)
VIEWS_READER = latched(1000)
QUESTIONS = QoSProfile(depth=1000)
STATUS = QoSProfile(depth=10)
