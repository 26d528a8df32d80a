"""What a detector says about a frame: instances with shuffled numbers, and with the errors that real ones make."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from s3d_ros.offline.simulate.config import DetectorNoise
from s3d_ros.offline.simulate.noise import Schedule, displaced
from s3d_ros.offline.simulate.world import Thing
from s3d_ros.types import F64, U16, Instances

# What is often taken for what; anything else is taken for something else that is in the home.
_ALIKE = {
    "chair": "stool", "stool": "chair", "sofa": "bed", "bed": "sofa", "tv": "monitor", "monitor": "tv",
    "table": "shelf", "pillow": "cushion", "cushion": "pillow", "bookshelf": "cabinet", "trash can": "bucket",
    "bucket": "trash can", "washer": "dishwasher", "dishwasher": "washer", "laptop": "monitor", "cup": "bowl",
    "bowl": "cup", "computer tower": "printer", "microwave": "printer", "keyboard": "laptop", "basket": "crate",
    "crate": "basket", "refrigerator": "cabinet", "stove": "washer", "door": "refrigerator",
}  # fmt: skip


_BROKEN = ("missed", "split", "merged")


class Detector:
    """Publishes instances of frames. Without noise every thing that shows is there, whole and with its label."""

    def __init__(
        self, things: Sequence[Thing], noise: DetectorNoise | None, duration_s: float, least_pixels: int, seed: int
    ) -> None:
        self._things = {t.id: t for t in things}
        self._noise = noise
        self._least = least_pixels
        self._seed = seed
        ids = list(self._things)
        rng = np.random.default_rng([seed, 3])
        self._confused: dict[int, float] = {}
        if noise is not None:
            # An object is either missed, split or merged: so each happens as often as stated.
            shares = np.array([noise.missed, noise.split, noise.merged])
            total = float(shares.sum())
            self._broken = Schedule(ids, total, noise.lasts_s, duration_s, rng)
            chances = shares / total if total else np.ones(3) / 3
            self._how = {n: rng.choice(_BROKEN, self._broken.pieces, p=chances) for n in ids}
            self._mislabelled = Schedule(ids, noise.wrong_label, noise.lasts_s, duration_s, rng)
            count = round(noise.confused_objects * len(ids))
            for number in rng.permutation(ids)[:count].tolist():
                self._confused[number] = float(rng.uniform(-np.pi, np.pi))

    def detect(self, index: int, stamp_ns: int, at_s: float, things: U16, camera: F64) -> Instances:
        """Return the instances of frame ``index``. things: (H, W) true ids. camera: (3,) where it is seen from."""
        rng = np.random.default_rng([self._seed, 4, index])
        image = things.astype(np.int32)
        labels: dict[int, tuple[str, float]] = {}
        seen = _seen(image, self._least)
        if self._noise is None:
            labels = {number: (self._things[number].label, 1.0) for number in seen}
        else:
            image, labels = self._erring(image, seen, at_s, camera, rng)
            seen = _seen(image, self._least)
        return _shuffled(image, [n for n in seen if n in labels], labels, stamp_ns, rng)

    def _erring(
        self, image: np.ndarray, seen: list[int], at_s: float, camera: F64, rng: np.random.Generator
    ) -> tuple[np.ndarray, dict[int, tuple[str, float]]]:
        assert self._noise is not None
        image = displaced(image.astype(np.uint16), self._noise.ragged_px, rng).astype(np.int32)
        labels = {number: self._label(number, at_s, camera, rng) for number in seen}
        for number in seen:
            if self._broken_now(number, at_s)[0] == "missed":
                image[image == number] = 0
                labels.pop(number, None)
        extra = 70_000  # beyond all true ids
        for number in [n for n in seen if n in labels]:
            how, piece = self._broken_now(number, at_s)
            if how == "merged" and (other := _touching(image, number)) in labels:
                image[image == number] = other
                labels.pop(number, None)
                continue
            if how == "split":
                image = _split(image, number, extra, angle=2.4 * piece + number)
                labels[extra] = labels[number]
                extra += 1
        return image, labels

    def _broken_now(self, number: int, at_s: float) -> tuple[str, int]:
        """Return how an object's mask is wrong, "" if it is not, and a number for this error."""
        piece = self._broken.on(number, at_s)
        return ("", 0) if piece is None else (str(self._how[number][piece]), piece)

    def _label(self, number: int, at_s: float, camera: F64, rng: np.random.Generator) -> tuple[str, float]:
        """Return what a thing is taken for, and with which score."""
        assert self._noise is not None
        thing = self._things[number]
        if number in self._confused:
            d = camera - thing.box.center
            off = np.angle(np.exp(1j * (np.arctan2(d[1], d[0]) - self._confused[number])))
            if abs(off) < np.deg2rad(self._noise.confused_side_deg) / 2:
                return self._other_label(thing.label, number), float(rng.uniform(0.5, 0.9))
        piece = self._mislabelled.on(number, at_s)
        if piece is not None:
            return self._other_label(thing.label, number + 7 * piece), float(rng.uniform(0.35, 0.8))
        return thing.label, float(rng.uniform(0.6, 0.98))

    def _other_label(self, label: str, pick: int) -> str:
        others = sorted({t.label for t in self._things.values()} - {label})
        if label in _ALIKE and (pick % 3 or not others):
            return _ALIKE[label]
        return others[pick % len(others)] if others else "box"


def _seen(image: np.ndarray, least: int) -> list[int]:
    numbers, counts = np.unique(image, return_counts=True)
    return [int(n) for n, c in zip(numbers, counts, strict=True) if n and c >= least]


def _touching(image: np.ndarray, number: int) -> int:
    """Return the neighbour with the longest common border, 0 if it touches none."""
    mask = (image == number).astype(np.uint8)
    if not mask.any():
        return 0
    ring = cv2.dilate(mask, np.ones((5, 5), np.uint8)).astype(bool) & (mask == 0)
    around = image[ring]
    around = around[around > 0]
    return int(np.bincount(around).argmax()) if len(around) else 0


def _split(image: np.ndarray, number: int, new: int, angle: float) -> np.ndarray:
    """Give the part of an instance beyond a line through its middle another number."""
    v, u = np.nonzero(image == number)
    if len(v):
        beyond = (u - u.mean()) * np.cos(angle) + (v - v.mean()) * np.sin(angle) > 0
        image = image.copy()
        image[v[beyond], u[beyond]] = new
    return image


def _shuffled(
    image: np.ndarray, seen: list[int], labels: dict[int, tuple[str, float]], stamp_ns: int, rng: np.random.Generator
) -> Instances:
    """Number what is seen anew, at random."""
    numbers = rng.permutation(np.arange(1, len(seen) + 1))
    lookup = np.zeros(int(image.max(initial=0)) + 1, dtype=np.uint16)
    lookup[seen] = numbers
    order = np.argsort(numbers)
    chosen = [labels[seen[k]] for k in order]
    return Instances(
        stamp_ns,
        lookup[image],
        tuple(int(numbers[k]) for k in order),
        tuple(label for label, _ in chosen),
        tuple(score for _, score in chosen),
    )
