"""GPT4Scene's images and text: view frames and one bird's-eye view that carry the same numbers, then one question.

After Qi et al., "GPT4Scene: Understand 3D Scenes from Videos with Vision-Language Models" (ICLR 2026): one user turn,
all images first, then the text; objects are named ``<OBJ012>`` in it. A scene-local number 1-999 stands for an
object; it stays the same for a conversation and is mapped back to the object's ID on parsing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from s3d_ros.markers import draw, draw_bev
from s3d_ros.types import U8, Question, Scene, ViewFrame

LARGEST_NUMBER = 999
_OBJECT = re.compile(r"<OBJ(\d{1,3})>")


@dataclass(frozen=True)
class PromptConfig:
    """How much of the scene a model gets to see."""

    frames: int = 32
    frame_width: int = 512
    frame_height: int = 384


@dataclass(frozen=True)
class Prompt:
    """images: RGB, the view frames by time, then the BEV. captions: one line each. text: what follows the images.

    numbers: object ID -> the number drawn in the images and used in the text.
    """

    images: tuple[U8, ...]
    captions: tuple[str, ...]
    text: str
    numbers: Mapping[int, int] = field(default_factory=dict)


def assign_numbers(ids: Iterable[int], known: Mapping[int, int] | None = None) -> dict[int, int]:
    """Return ID -> number 1-999. Numbers in ``known`` stay; an ID below 1000 is its own number where that is free.

    With more than 999 objects the ones that come last get none.
    """
    numbers = dict(known or {})
    taken = set(numbers.values())
    free = iter(n for n in range(1, LARGEST_NUMBER + 1))
    late = []
    for i in ids:
        if i in numbers:
            continue
        if 1 <= i <= LARGEST_NUMBER and i not in taken:
            numbers[i] = i
            taken.add(i)
        else:
            late.append(i)
    for i in late:
        number = next((n for n in free if n not in taken), None)
        if number is None:
            break
        numbers[i] = number
        taken.add(number)
    return numbers


def token(number: int) -> str:
    """Return how a number is written in text: 12 -> ``<OBJ012>``."""
    return f"<OBJ{number:03d}>"


def parse_objects(text: str, numbers: Mapping[int, int]) -> tuple[int, ...]:
    """Return the IDs of the objects named in a model's text, each once, in order; unknown numbers are left out."""
    by_number = {number: object_id for object_id, number in numbers.items()}
    found = (by_number.get(int(n)) for n in _OBJECT.findall(text))
    return tuple(dict.fromkeys(i for i in found if i is not None))


def build_prompt(
    scene: Scene, question: Question, config: PromptConfig | None = None, numbers: Mapping[int, int] | None = None
) -> Prompt:
    """Make the images and the text for a question about a scene.

    numbers: those of the conversation so far. A question is quoted as plain text: object names and control tokens in
    it are taken apart, so that it can't speak as the system or as the scene.
    """
    config = config or PromptConfig()
    numbers = assign_numbers((o.id for o in scene.objects), numbers)
    views = spread(scene.views, config.frames)
    images, captions = [], []
    first_ns = min((v.stamp_ns for v in scene.views), default=0)
    for i, view in enumerate(views):
        images.append(marked_view(view, numbers, (config.frame_width, config.frame_height)))
        captions.append(f"Frame {i + 1} of {len(views)}, {(view.stamp_ns - first_ns) / 1e9:.1f} s")
    if scene.bev is not None:
        images.append(draw_bev(scene.bev, [o for o in scene.objects if o.id in numbers], numbers))
        captions.append("Bird's-eye view of the whole scene")
    lines = [
        "The images are frames of a video of one scene and its bird's-eye view. "
        "The same number marks the same object in all of them; number 12 is written <OBJ012>.",
        plain(question.text),
    ]
    if question.options:
        lines += [f"{chr(ord('A') + i)}. {plain(_unlettered(o))}" for i, o in enumerate(question.options)]
        lines.append("Answer with the option's letter from the given choices directly.")
    else:
        lines.append("Answer the question using a single word or phrase.")
    return Prompt(tuple(images), tuple(captions), "\n".join(lines), numbers)


def spread(views: tuple[ViewFrame, ...], count: int) -> tuple[ViewFrame, ...]:
    """Return at most ``count`` views, evenly spread."""
    if len(views) <= count:
        return views
    return tuple(views[i] for i in np.linspace(0, len(views) - 1, count).round().astype(int))


def marked_view(view: ViewFrame, numbers: Mapping[int, int], size: tuple[int, int]) -> U8:
    """Return a view frame, scaled to fit in ``size`` (width, height), with the numbers of its objects on it."""
    image = cv2.imdecode(np.frombuffer(view.jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"the JPEG of view frame {view.id} is damaged")
    marked = draw(image[..., ::-1], [m for m in view.markers if m.object_id in numbers], numbers)
    scale = min(size[0] / marked.shape[1], size[1] / marked.shape[0])
    shape = (max(1, round(marked.shape[1] * scale)), max(1, round(marked.shape[0] * scale)))
    return np.asarray(cv2.resize(marked, shape, interpolation=cv2.INTER_AREA))


def plain(text: str) -> str:
    """Take control and object tokens apart: ``<|im_start|>`` -> ``< |im_start| >``, ``<OBJ007>`` -> ``< OBJ007 >``."""
    return re.sub(r"<(?=\S)", "< ", re.sub(r"(?<=\S)>", " >", text)).strip()


def _unlettered(option: str) -> str:
    return re.sub(r"^\s*\(?[A-Za-z][.):]\s+", "", option)
