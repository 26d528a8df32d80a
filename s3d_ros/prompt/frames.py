"""View frames as a model sees them: scaled, marked with scene numbers, drawn once; and which of them tell most."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import cv2
import numpy as np

from s3d_ros.chat import ChatError, ChatImage
from s3d_ros.markers import draw, plate_size
from s3d_ros.prompt.config import PromptConfig
from s3d_ros.prompt.numbers import Numbering
from s3d_ros.types import U8, ErrorCode, Marker, ViewFrame

_LEAST_PX = 9  # digits smaller than this can't be read
_GAP_PX = 1
_TURN = np.linspace(0, 2 * np.pi, 12, endpoint=False)
_RING = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)
_STEPS = np.vstack([np.zeros((1, 2)), *(_RING * k for k in (0.25, 0.5, 0.75, 1.0))])  # of the digits' height


class Drawn:
    """Pictures by key, the latest used; each is drawn once. Safe to use from several threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._images: OrderedDict[str, ChatImage] = OrderedDict()
        self.drawn = 0  # pictures made so far

    def get(self, key: str, make: Callable[[], U8]) -> ChatImage:
        """Return the picture of a key, made if it isn't there."""
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
                return self._images[key]
        pixels = np.ascontiguousarray(make())
        pixels.setflags(write=False)
        image = ChatImage(key, pixels)
        with self._lock:
            self.drawn += 1
            self._images[key] = image
            while len(self._images) > self._most:
                self._images.popitem(last=False)
        return image


class FrameOrder:
    """Remembers the order in which pictures came to be, so that what has changed comes last."""

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._places: OrderedDict[str, int] = OrderedDict()
        self._next = itertools.count()

    def sort(self, keys: Sequence[str]) -> list[int]:
        """Return the indices of keys (given by time) in order of change, oldest first."""
        with self._lock:
            for key in keys:
                if key not in self._places:
                    self._places[key] = next(self._next)
                self._places.move_to_end(key)
            while len(self._places) > self._most:
                self._places.popitem(last=False)
            return sorted(range(len(keys)), key=lambda i: self._places.get(keys[i], -1))


def marks_of(view: ViewFrame, numbering: Numbering) -> tuple[Marker, ...]:
    """Return a view's markers of objects that have a number, each once, with their present IDs, by ID."""
    found: dict[int, Marker] = {}
    for m in view.markers:
        object_id = numbering.resolve(m.object_id)
        if object_id is not None and object_id not in found:
            found[object_id] = Marker(object_id, round(m.u, 1), round(m.v, 1))
    return tuple(found[i] for i in sorted(found))


@lru_cache(maxsize=256)  # Python keeps the hash of bytes: the same JPEG is not read again
def _digest(jpeg: bytes) -> bytes:
    return hashlib.blake2b(jpeg, digest_size=16).digest()


def frame_key(view: ViewFrame, marks: Sequence[Marker], numbering: Numbering, config: PromptConfig) -> str:
    """Return what tells one drawn frame from another: equal keys mean equal pixels."""
    drawn = [(numbering.number_of[m.object_id], m.u, m.v) for m in marks]
    size = (config.frame_width, config.frame_height, config.marker_px, config.marker_colors)
    digest = hashlib.blake2b(_digest(view.jpeg) + repr((size, drawn)).encode(), digest_size=16)
    return f"view-{view.id}-{digest.hexdigest()}"


def draw_frame(view: ViewFrame, marks: Sequence[Marker], number_of: Mapping[int, int], config: PromptConfig) -> U8:
    """Return a view (H, W, 3) scaled to fit, then marked, so that digits keep their size. Raises ChatError."""
    image = cv2.imdecode(np.frombuffer(view.jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ChatError(ErrorCode.INTERNAL, f"the JPEG of view frame {view.id} is damaged")
    size = (image.shape[1], image.shape[0])
    fitted = fitted_size(size, config)
    if fitted != size:
        image = cv2.resize(image, fitted, interpolation=cv2.INTER_AREA)
    marked, digits_px = fitted_marks(marks, number_of, size, config)
    return draw(image[..., ::-1], marked, number_of, digits_px, colored=config.marker_colors)


def fitted_size(size: tuple[int, int], config: PromptConfig) -> tuple[int, int]:
    """Return (width, height) of a view frame of ``size`` as a model gets it."""
    scale = min(config.frame_width / size[0], config.frame_height / size[1], 1.0)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def fitted_marks(
    marks: Sequence[Marker], number_of: Mapping[int, int], size: tuple[int, int], config: PromptConfig
) -> tuple[list[Marker], int]:
    """Return the marks of a view frame of ``size`` (width, height) as they are drawn, and the digits' height."""
    width, height = fitted_size(size, config)
    sx, sy = width / size[0], height / size[1]
    placed = [Marker(m.object_id, (m.u + 0.5) * sx - 0.5, (m.v + 0.5) * sy - 0.5) for m in marks]
    return readable(placed, number_of, config.marker_px, (width, height))


def readable(
    marks: Sequence[Marker], number_of: Mapping[int, int], wanted_px: int, size: tuple[int, int]
) -> tuple[list[Marker], int]:
    """Return the marks within an image of ``size`` (width, height), no plate on another, and the digits' height.

    A plate may step aside by its digits' height; where that is not enough, all digits become smaller, down to 9 px,
    and there the marks without a free place are left out.
    """
    for digits_px in range(wanted_px, _LEAST_PX, -1):
        placed = _placed(marks, number_of, digits_px, size)
        if len(placed) == len(marks):
            return placed, digits_px
    digits_px = min(wanted_px, _LEAST_PX)
    return _placed(marks, number_of, digits_px, size), digits_px


def _placed(
    marks: Sequence[Marker], number_of: Mapping[int, int], digits_px: int, size: tuple[int, int]
) -> list[Marker]:
    """Place what fits, one after the other, as near to its place as is free."""
    out: list[Marker] = []
    taken = np.zeros((0, 4))
    steps = _STEPS * digits_px
    for m in marks:
        w, h = plate_size(number_of[m.object_id], digits_px)
        u = np.clip(m.u + steps[:, 0], w / 2, max(size[0] - w / 2, w / 2))
        v = np.clip(m.v + steps[:, 1], h / 2, max(size[1] - h / 2, h / 2))
        apart = np.abs(u[:, None] - taken[:, 0]) >= (w + taken[:, 2]) / 2 + _GAP_PX
        apart |= np.abs(v[:, None] - taken[:, 1]) >= (h + taken[:, 3]) / 2 + _GAP_PX
        free = np.flatnonzero(apart.all(axis=1))
        if len(free):
            at = int(free[0])
            taken = np.vstack([taken, (u[at], v[at], w, h)])
            out.append(Marker(m.object_id, float(u[at]), float(v[at])))
    return out


def least_telling_first(views: Sequence[ViewFrame], numbering: Numbering) -> list[int]:
    """Return the indices of views in the order in which they are best left out.

    What is lost of a view is, first, objects that no other of those left shows, then how many it shows; an older one
    goes before a newer one.
    """
    seen = [{m.object_id for m in marks_of(v, numbering)} for v in views]
    ids = sorted(set().union(*seen)) if seen else []
    column = {i: k for k, i in enumerate(ids)}
    shows = np.zeros((len(views), max(len(ids), 1)), np.int64)
    for row, objects in enumerate(seen):
        shows[row, [column[i] for i in objects]] = 1
    age = sorted(range(len(views)), key=lambda i: (views[i].stamp_ns, views[i].id))
    left = list(age)
    out = []
    while left:
        alone = shows[left].sum(axis=0) == 1
        loss = shows[left][:, alone].sum(axis=1)
        out.append(left.pop(int(np.lexsort((np.arange(len(left)), shows[left].sum(axis=1), loss))[0])))
    return out
