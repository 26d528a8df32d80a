"""Which segmenter a config asks for."""

from __future__ import annotations

from s3d_ros.config import SegmentConfig
from s3d_ros.segment.geometric import GeometricSegmenter
from s3d_ros.segment.protocol import Segmenter


def make_segmenter(config: SegmentConfig, given: bool) -> Segmenter | None:
    """Return the segmenter for frames that come without instances, None where somebody else gives them.

    given: whether instances come with the recording, or on the topic.
    """
    if config.segmenter == "geometric" or (config.segmenter == "auto" and not given):
        return GeometricSegmenter(config)
    return None
