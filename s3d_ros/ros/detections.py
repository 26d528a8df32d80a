"""Detections with masks, as other packages publish them, as instances. Reads fields by name; imports no messages.

yolo_msgs/DetectionArray (yolo_ros): each detection brings the outline of its mask.
vision_msgs/Detection2DArray: boxes alone; the masks come as an image of the same stamp, pixel k for the k-th detection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from s3d_ros.images import as_numbers
from s3d_ros.messages import MessageError, image_of, stamp_ns_of
from s3d_ros.types import U16, Instances


def instances_of_outlines(msg: Any, size: tuple[int, int] | None = None) -> tuple[Instances, int]:
    """Fill the outlines of a yolo_msgs/DetectionArray; return the instances and how many had no outline.

    size: (height, width) of the image, taken where no detection says so. Where masks overlap, the smaller is on top:
    a cup is in front of its table. Raises MessageError when the size is unknown, or differs between detections.
    """
    sizes = {(int(d.mask.height), int(d.mask.width)) for d in msg.detections if d.mask.height and d.mask.width}
    if len(sizes) > 1:
        raise MessageError(f"the masks of one image have different sizes: {sorted(sizes)}")
    shape = next(iter(sizes), size)
    if shape is None:
        raise MessageError("no detection has a mask (is the detector's model one for segmentation, such as *-seg?)")
    outlined = [d for d in msg.detections if len(d.mask.data) >= 3]
    outlines = [np.array([[p.x, p.y] for p in d.mask.data]) for d in outlined]
    areas = [cv2.contourArea(outline.astype(np.float32)) for outline in outlines]
    image: U16 = np.zeros(shape, np.uint16)
    for k in sorted(range(len(outlines)), key=lambda k: -areas[k]):
        cv2.fillPoly(image, [np.rint(outlines[k]).astype(np.int32)], k + 1)
    labels = [str(d.class_name) for d in outlined]
    scores = [float(d.score) for d in outlined]
    return _instances(stamp_ns_of(msg), image, labels, scores), len(msg.detections) - len(outlined)


def instances_of_boxes(msg: Any, masks: Any, class_names: Sequence[str] = ()) -> Instances:
    """Join a vision_msgs/Detection2DArray and the image of its masks.

    class_names: of the classes 0, 1, ... where class_id is a number. Raises MessageError, or ImageError for the image.
    """
    image = as_numbers(image_of(masks))
    largest = int(image.max(initial=0))
    if largest > len(msg.detections):
        raise MessageError(
            f"the image of masks has number {largest}, but there are {len(msg.detections)} detections: "
            "pixel k must belong to the k-th detection, 0 to none"
        )
    best = [max(d.results, key=lambda r: r.hypothesis.score, default=None) for d in msg.detections]
    labels = [_label(str(b.hypothesis.class_id), class_names) if b is not None else "" for b in best]
    scores = [float(b.hypothesis.score) if b is not None else 0.0 for b in best]
    return _instances(stamp_ns_of(msg), image, labels, scores)


def _label(class_id: str, class_names: Sequence[str]) -> str:
    """Return a class's name; a number that nobody explains says nothing."""
    if not class_id.isdecimal():
        return class_id
    return class_names[int(class_id)] if int(class_id) < len(class_names) else ""


def _instances(stamp_ns: int, image: U16, labels: list[str], scores: list[float]) -> Instances:
    seen = np.bincount(image.reshape(-1), minlength=len(labels) + 1)
    numbers = [k for k in range(1, len(labels) + 1) if seen[k]]
    return Instances(
        stamp_ns,
        image,
        tuple(numbers),
        tuple(labels[k - 1] for k in numbers),
        tuple(min(max(scores[k - 1], 0.0), 1.0) for k in numbers),
    )
