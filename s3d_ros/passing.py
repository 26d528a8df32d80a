"""What only passes through, told by its label: people and pets. They are no objects of the map and not part of it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from s3d_ros.types import Frame, Instances

_BORDER_SHARE = 1 / 160  # of the image's width: masks end a few pixels inside of what they show


def labels_of(listed: str) -> frozenset[str]:
    """Return the labels of a list "person, cat"."""
    return frozenset(part.strip().lower() for part in listed.split(",") if part.strip())


def is_passing(label: str, labels: frozenset[str]) -> bool:
    """Whether a label is one of them, however it is written."""
    return " ".join(label.lower().replace("_", " ").split()) in labels


def passing_numbers(instances: Instances, labels: frozenset[str]) -> list[int]:
    """Return the numbers of the instances that are labelled as passing through."""
    return [n for n, label in zip(instances.numbers, instances.labels, strict=True) if is_passing(label, labels)]


def without_passing(frame: Frame, instances: Instances, labels: frozenset[str]) -> Frame:
    """Return the frame with its depth unknown under the masks of what passes through, and some pixels around."""
    mine = passing_numbers(instances, labels)
    if not mine or instances.image.shape != frame.depth_m.shape:
        return frame
    r = max(1, round(frame.depth_m.shape[1] * _BORDER_SHARE))
    covered = np.isin(instances.image, mine).astype(np.uint8)
    wide = cv2.dilate(covered, np.ones((2 * r + 1, 2 * r + 1), np.uint8)) > 0
    return replace(frame, depth_m=np.where(wide, np.float32(0), frame.depth_m))
